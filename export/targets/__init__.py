"""Targets: for each one, a file that writes its bundle with the tools of its engine.

`onnx`; `coreml`, which uses `coreml_conversion`; `tensorrt`, which uses `tensorrt_builders` and `tensorrt_script`.
`tracing` makes the ONNX graphs of `onnx` and `tensorrt`.
"""
