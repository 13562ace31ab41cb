"""TensorRT and TensorRT-RTX: `session` runs built engines; `cuda` is the GPU, `library` loads NVIDIA's libraries."""

from samclip_edge.moved import old_names

__getattr__ = old_names(__name__)
