"""Checks a bundle on a machine without its engine: slowly, op by op, with torch.

`mil` runs Core ML's programs, `mil_ops/` says what each op does, `steps` compares each op with its answer at export.
TensorRT's graphs need no interpreter of ours: they are ONNX, which ONNX Runtime runs.
"""
