"""TensorRT and TensorRT-RTX: `session` runs built engines, over the GPU of `cuda` and the libraries of `library`."""
