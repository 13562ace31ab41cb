"""What runs a bundle where its engine is not, to check it: slow, op by op, on any machine; over torch.

`mil` runs Core ML's programs, `mil_ops/` says what each op does, `steps` holds them against their answers at export.
TensorRT's graphs need no interpreter of ours: they are ONNX, which ONNX Runtime runs.
"""
