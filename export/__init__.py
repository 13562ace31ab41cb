"""From a checkpoint to a bundle.

`export` does what every target does, `parity` holds graphs against torch, `vectors` writes test vectors. Three rooms:
`forms/` (the export-friendly form of each module), `targets/` (onnx, coreml, tensorrt), `precision/` (half, int8).
"""
