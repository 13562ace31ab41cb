"""ONNX Runtime, on the CPU."""

from __future__ import annotations

from pathlib import Path

import onnxruntime

from samclip_edge.bundle.contract import Arrays, Signature
from samclip_edge.bundle.folder import Bundle
from samclip_edge.bundle.manifest import Graph, Precision
from samclip_edge.bundle.sessions import SessionOptions
from samclip_edge.errors import InputError, one_line
from samclip_edge.runtimes.base import OpenSession


class OrtSession:
    """An ONNX graph in ONNX Runtime."""

    def __init__(self, path: Path, signature: Signature, precision: Precision, threads: int | None) -> None:
        """Raises InputError when ONNX Runtime refuses the graph, and when its names are not the signature's."""
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3  # errors only: they are raised as well
        options.intra_op_num_threads = threads or 0
        # With these on, ONNX Runtime lets tensors of one size share a buffer, and holds it from the first to the last
        # of them. At 1024 pixels that is many times what is in use at any time. With them off, memory is freed at once,
        # and the arena gives it to tensors of any size.
        options.enable_mem_reuse = False
        options.enable_mem_pattern = False
        # QuantizeLinear and DequantizeLinear pairs are for TensorRT, which fuses them into integer products. Here they
        # run as the graph says: values are rounded and put back to float.
        options.add_session_config_entry("session.disable_quant_qdq", "1")
        if precision != "int8":
            # Weights packed for the product are a second copy in memory; unpacked they stay pages of the file. Packing
            # saves no time in float, but about a fifth in int8.
            options.add_session_config_entry("session.disable_prepacking", "1")
        try:
            self._session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime raises classes of its own that share no base
            raise InputError(f"{path}: ONNX Runtime refuses it ({one_line(error)}); export the bundle again") from None
        ours = [[t.name for t in side] for side in (signature.inputs, signature.outputs)]
        theirs = [[t.name for t in side] for side in (self._session.get_inputs(), self._session.get_outputs())]
        if ours != theirs:
            raise InputError(f"{path}: takes and gives {theirs}, not {ours} as the manifest says; export it again")
        self._outputs = ours[1]

    def run(self, inputs: Arrays) -> Arrays:
        """See `Session.run`."""
        return dict(zip(self._outputs, self._session.run(self._outputs, inputs), strict=True))


def _open(bundle: Bundle, graph: Graph, options: SessionOptions) -> OrtSession:
    path = bundle.folder / graph.files[0].path
    return OrtSession(path, graph.signature, bundle.manifest.precision, options.threads)


open_session: OpenSession = _open
