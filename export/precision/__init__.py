"""Precisions of ONNX graphs: half and int8 as passes over a graph, and what int8 costs in answers."""
