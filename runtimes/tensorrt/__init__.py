"""TensorRT and TensorRT-RTX: `session` runs built engines; `cuda` is the GPU, `library` loads NVIDIA's libraries."""
