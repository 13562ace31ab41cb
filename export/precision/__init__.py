"""Passes over an ONNX graph: into half precision (`half`), int8 (`int8`), and int8 as TensorRT takes it (`qdq`)."""
