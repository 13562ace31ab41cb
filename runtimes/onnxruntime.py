"""ONNX Runtime, on the CPU or on what else it has a provider for."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import onnxruntime

from samclip_edge.bundle.contract import Arrays, Signature
from samclip_edge.bundle.device import Device, on_cpu, spoken
from samclip_edge.bundle.folder import Bundle
from samclip_edge.bundle.machine import avx2_alone
from samclip_edge.bundle.manifest import Graph, Precision
from samclip_edge.bundle.sessions import SessionOptions
from samclip_edge.bundle.sizes import photos_in_a_call, sides
from samclip_edge.bundle.verify import MIN_COSINE, compare, question
from samclip_edge.errors import InputError, one_line
from samclip_edge.runtimes.base import OpenSession
from samclip_edge.runtimes.providers import open_on, ready

log = logging.getLogger(__name__)

# How near a provider's answers must be to the CPU's: below the first cosine it is refused, below the second a warning
# says so. Providers may compute floats in half precision, so the second is what fp16 bundles are held to.
_LEAST, _ENOUGH = 0.99, MIN_COSINE
_LEAST_INT8, _ENOUGH_INT8 = 0.9, 0.99  # rounding to integers moves values further


class OrtSession:
    """An ONNX graph in ONNX Runtime."""

    def __init__(
        self,
        path: Path,
        signature: Signature,
        precision: Precision,
        threads: int | None,
        device: Device = "cpu",
        one_photo: bool = False,
    ) -> None:
        """one_photo: each call has one, which ONNX Runtime can do better for if it knows.

        Raises InputError when ONNX Runtime refuses the graph, and when its names are not the signature's.

        Also when a device is not here, does not start, or refuses its options; see `providers.open_on`.
        """
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3  # errors only: they are raised as well
        options.intra_op_num_threads = threads or 0
        # Each session has threads of its own. By default they go on asking for work in a loop after a run, and so take
        # the cores from the session that runs next.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        if one_photo:  # then a product and its bias become one op: less time, and at 1024 a tenth less memory
            options.add_free_dimension_override_by_name("I", 1)
        self._path, self._device = path, device
        if on_cpu(device):
            self._session = _on_the_cpu(path, options, precision, device)
        else:
            self._session = open_on(path, options, device, threads)
        ours = [[t.name for t in side] for side in (signature.inputs, signature.outputs)]
        theirs = [[t.name for t in side] for side in (self._session.get_inputs(), self._session.get_outputs())]
        if ours != theirs:
            raise InputError(f"{path}: takes and gives {theirs}, not {ours} as the manifest says; export it again")
        self._outputs = ours[1]

    def run(self, inputs: Arrays) -> Arrays:
        """See `Session.run`. Raises InputError where ONNX Runtime fails, as it does when memory is short."""
        try:
            return dict(zip(self._outputs, self._session.run(self._outputs, inputs), strict=True))
        except Exception as error:  # onnxruntime raises classes of its own that share no base
            where = f"{self._path}: ONNX Runtime did not run it on {spoken(self._device)}"
            raise InputError(f"{where} ({one_line(error)}); free memory, or ask for less at once") from error


def _on_the_cpu(
    path: Path, options: onnxruntime.SessionOptions, precision: Precision, device: Device
) -> onnxruntime.InferenceSession:
    # With these on, ONNX Runtime lets tensors of one size share a buffer, and holds it from the first to the last of
    # them. At 1024 pixels that is many times what is in use at any time. With them off, memory is freed at once, and
    # the arena gives it to tensors of any size.
    options.enable_mem_reuse = False
    options.enable_mem_pattern = False
    # QuantizeLinear and DequantizeLinear pairs are for TensorRT, which fuses them into integer products. Here they run
    # as the graph says: values are rounded and put back to float.
    options.add_session_config_entry("session.disable_quant_qdq", "1")
    if precision != "int8" and not avx2_alone():
        # Weights packed for the product are a second copy in memory; unpacked they stay pages of the file. Packing
        # saves a fifth in int8, an eighth in float on AVX2, and nothing in float on AVX-512 (docs/performance.md).
        options.add_session_config_entry("session.disable_prepacking", "1")
    providers = [(each.name, dict(each.options)) for each in ready(device)]
    try:
        return onnxruntime.InferenceSession(path, options, providers=providers)
    except Exception as error:  # onnxruntime raises classes of its own that share no base
        raise InputError(f"{path}: ONNX Runtime refuses it ({one_line(error)}); export the bundle again") from None


def held_to_the_cpu(got: Arrays, wanted: Arrays, name: str, precision: Precision, device: Device) -> None:
    """Compare what a device answered to the probe with what the CPU did. name: the graph's.

    A cosine below 0.9995 is logged as a warning, and one below 0.99 raises InputError, or whatever is not finite; of
    int8 below 0.99 and 0.9. So a device that computes in half precision passes.
    """
    least, enough = (_LEAST_INT8, _ENOUGH_INT8) if precision == "int8" else (_LEAST, _ENOUGH)
    for output, values in wanted.items():
        near = compare(values, np.asarray(got[output]))
        if near.cosine < least:
            raise InputError(
                f" {spoken(device)}: its {output} of {name} is not the CPU's (cosine {near.cosine:.4f}); its driver or "
                "its options are at fault: update it, or leave the device out",
                "device",
            )
        level = logging.WARNING if near.cosine < enough else logging.INFO
        log.log(
            level,
            "device %s: %s of %s has a cosine of %.6f with the CPU's, and an error of %.1e",
            *(spoken(device), output, name, near.cosine, near.error),
        )


def _open(bundle: Bundle, graph: Graph, options: SessionOptions) -> OrtSession:
    precision = bundle.manifest.precision
    one_photo = graph.size is not None and photos_in_a_call(*sides(graph.size)) == 1

    def opened(device: Device) -> OrtSession:
        with bundle.together(graph.files) as folder:
            path = folder / graph.files[0].path
            return OrtSession(path, graph.signature, precision, options.threads, device, one_photo)

    if on_cpu(options.device):
        return opened(options.device)
    inputs = question(bundle.manifest.spec, graph)
    wanted = opened("cpu").run(inputs)  # whose session is gone before the other comes, so that memory holds one
    session = opened(options.device)
    held_to_the_cpu(session.run(inputs), wanted, graph.name, precision, options.device)
    return session


open_session: OpenSession = _open
