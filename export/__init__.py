"""From a checkpoint to a bundle.

`export` does what all targets share, `parity` compares graphs with torch, `vectors` writes test vectors, and `costs`
measures what int8 costs in accuracy. Three rooms: `forms/` (the export-friendly form of each module), `targets/` (onnx,
coreml, tensorrt), `precision/` (half, int8).
"""
