"""Targets: one file writes the bundle of each, with the tools of its engine.

`onnx`; `coreml`, over `coreml_conversion`; `tensorrt`, over `tensorrt_builders` and `tensorrt_script`. `tracing` makes
the ONNX graphs of two of them.
"""
