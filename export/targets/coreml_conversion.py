"""Converts a torch module to a Core ML model with coremltools, and records torch's value at every node."""

from __future__ import annotations

import contextlib
import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

import samclip_edge
from samclip_edge.bundle.contract import MEANINGS, Arrays, GraphName, Signature, sample
from samclip_edge.bundle.manifest import Precision
from samclip_edge.export.options import POINTS, PROMPTS, TOKENS, Minimum
from samclip_edge.export.targets.tracing import quiet
from samclip_edge.model.checkpoint import Origin
from samclip_edge.runtimes.interpreters.mil import coremltools as ct
from samclip_edge.runtimes.interpreters.steps import SAMPLES

Recorded = dict[str, tuple[float, tuple[float, ...]]]  # of each node, by name: its value's standard deviation, samples


@contextlib.contextmanager
def quieter() -> Iterator[None]:
    """Hide from the user coremltools' progress bars and what torch and coremltools print."""
    with quiet(), contextlib.redirect_stderr(io.StringIO()):
        yield


def sampled(values: np.ndarray) -> tuple[float, ...]:
    """Samples of a value, rounded to the seven digits that are kept."""
    return tuple(float(f"{each:.7g}") for each in sample(values, SAMPLES))


def exported_program(module: nn.Module, sides: Signature, inputs: Arrays, ranged: bool) -> torch.export.ExportedProgram:
    """A graph's module as a program of torch's own ops.

    ranged: the numbers of prompts (B), points (N) and tokens (L) stay open, up to `PROMPTS`, `POINTS` and `TOKENS`.
    """
    dims = {
        "B": torch.export.Dim("B", min=1, max=PROMPTS),
        "N": torch.export.Dim("N", min=1, max=POINTS),
        "L": torch.export.Dim("L", min=1, max=TOKENS),
    }
    shapes = tuple(
        {axis: dims[side] for axis, side in enumerate(tensor.shape) if isinstance(side, str) and ranged}
        for tensor in sides.inputs
    )
    given = tuple(torch.from_numpy(inputs[tensor.name]) for tensor in sides.inputs)
    with quiet():
        program = torch.export.export(module, given, dynamic_shapes=shapes).run_decompositions({})
    graph = program.graph_module.graph
    for node in list(graph.nodes):
        if node.target is torch.ops.aten.alias.default:  # which coremltools 9.0 does not know
            node.replace_all_uses_with(node.args[0])
            graph.erase_node(node)
    program.graph_module.recompile()
    return program


def record(program: torch.export.ExportedProgram, inputs: Arrays) -> Recorded:
    """Run a program. Returns the standard deviation and samples of every node's value, by the node's name."""
    found: Recorded = {}

    class Recorder(torch.fx.Interpreter):
        def run_node(self, n: torch.fx.Node) -> Any:
            value = super().run_node(n)
            if isinstance(value, torch.Tensor) and value.is_floating_point():
                array = value.detach().numpy()
                found[n.name] = (float(array.std()), sampled(array))
            return value

    with torch.inference_mode():
        Recorder(program.module()).run(*(torch.from_numpy(values) for values in inputs.values()))
    return found


def convert(
    program: torch.export.ExportedProgram, sides: Signature, precision: Precision, name: GraphName, minimum: Minimum
) -> ct.models.MLModel:
    """Convert a torch program to a Core ML model whose weights are in `precision`."""
    whole = precision == "fp32" or name == "prompt_encoder"
    with quieter():
        model = ct.convert(
            program,
            outputs=[ct.TensorType(name=tensor.name, dtype=np.float32) for tensor in sides.outputs],
            minimum_deployment_target=ct.target[minimum],
            compute_precision=ct.precision.FLOAT32 if whole else ct.precision.FLOAT16,
            skip_model_load=True,
        )
        optimize = ct.optimize.coreml
        if precision == "int8":
            linear = optimize.OpLinearQuantizerConfig(mode="linear_symmetric", dtype="int8", granularity="per_channel")
            model = optimize.linear_quantize_weights(model, optimize.OptimizationConfig(global_config=linear))
        elif precision in ("palette8", "palette6"):
            palette = optimize.OpPalettizerConfig(mode="kmeans", nbits=int(precision[-1]))
            model = optimize.palettize_weights(model, optimize.OptimizationConfig(global_config=palette))
    return model


def describe_sides(model: ct.models.MLModel, sides: Signature) -> None:
    """Write what each input and output means into the model; Xcode shows it."""
    for tensor in sides.inputs:
        model.input_description[tensor.name] = MEANINGS[tensor.name]
    for tensor in sides.outputs:
        model.output_description[tensor.name] = MEANINGS[tensor.name]


def finish_description(package: Path, origin: Origin, image_input: bool) -> None:
    """Write author, licence and version into a saved package.

    image_input: also declare that the `image` of the image encoder is a picture, not an array.
    """
    spec = ct.utils.load_spec(str(package))
    about = spec.description.metadata
    name = re.sub(r"_\d+$", "", package.stem)
    about.shortDescription = f"SAM-CLIP, {name.replace('_', ' ')} ({'trained' if origin.trained else 'untrained'})"
    about.author = f"samclip-edge; weights: {origin.note}"
    about.license = "samclip-edge: Apache-2.0; the weights: as where they came from"
    about.versionString = samclip_edge.__version__
    if name == "image_encoder" and image_input:
        for described in spec.description.functions or [spec.description]:
            (image,) = described.input
            side = image.type.multiArrayType.shape[-1]
            image.type.imageType.width = image.type.imageType.height = side
            image.type.imageType.colorSpace = ct.proto.FeatureTypes_pb2.ImageFeatureType.RGB
    (package / "Data" / "com.apple.CoreML" / "model.mlmodel").write_bytes(spec.SerializeToString())
