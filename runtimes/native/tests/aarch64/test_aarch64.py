"""The native runtime for 64-bit ARM, under QEMU: integer products, graphs, and the answers of the pipeline.

`make test-native-aarch64` runs it. SAMCLIP_EDGE_NATIVE_BUILD is the build for this machine, SAMCLIP_EDGE_AARCH64_BUILD
that for ARM, by default build/native and build/native-aarch64.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from samclip_edge import data
from samclip_edge.benchmarks.integer_products import product
from samclip_edge.bundle.contract import sample
from samclip_edge.bundle.folder import Bundle
from samclip_edge.bundle.manifest import Graph
from samclip_edge.bundle.verify import compare_to, passes, question
from samclip_edge.photo.masks import decode_rle
from samclip_edge.rendered import render

ROOT = Path(__file__).parents[4]
NATIVE = Path(os.environ.get("SAMCLIP_EDGE_NATIVE_BUILD", ROOT / "build" / "native"))
AARCH64 = Path(os.environ.get("SAMCLIP_EDGE_AARCH64_BUILD", ROOT / "build" / "native-aarch64"))
LIBRARIES = ROOT / "build" / "aarch64" / "usr" / "lib" / "aarch64-linux-gnu"
EMULATOR = ("qemu-aarch64", "-L", "/usr/aarch64-linux-gnu", "-E", f"LD_LIBRARY_PATH={LIBRARIES}")
# ONNX Runtime has products of its own for a CPU without dot products (as in a Raspberry Pi 4), with them (as in a
# Jetson Orin), and with products of small matrices (I8MM, in newer phones), which `max` has.
CPUS = ("cortex-a72", "cortex-a76", "max")
BUNDLES = ("photo", "tiny fp32", "tiny int8")
CAT = data.FOLDER / "photos" / "chelsea.jpg"
Array = npt.NDArray[Any]


def said(*command: str | Path) -> str:
    """Run a command; what it wrote on stdout."""
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return done.stdout


def run_graph(model: onnx.ModelProto, inputs: list[Array], folder: Path, cpu: str = "max") -> dict[str, Array]:
    """The outputs of a graph, by ONNX Runtime on the ARM CPU that QEMU plays. folder: where the graph's weights lie."""
    onnx.save(model, folder / "graph.onnx")
    for number, array in enumerate(inputs):
        (folder / f"in{number}").write_bytes(array.tobytes())
    dims = ["x".join(map(str, array.shape)) or "-" for array in inputs]
    program = AARCH64 / "run_graph"
    told = said(*EMULATOR, "-cpu", cpu, program, folder / "graph.onnx", folder, *dims).splitlines()
    outputs = {}
    for number, (output, line) in enumerate(zip(model.graph.output, told, strict=True)):
        kind, *shape = map(int, line.split())
        dtype = helper.tensor_dtype_to_np_dtype(kind)
        outputs[output.name] = np.fromfile(folder / f"out{number}", dtype).reshape(shape)
    return outputs


def exposed(model: onnx.ModelProto) -> list[onnx.NodeProto]:
    """Make the inputs and the output of each integer product outputs of the graph. Returns these products' nodes."""
    products = [node for node in model.graph.node if node.op_type in ("MatMulInteger", "ConvInteger")]
    told = {each.name for each in model.graph.output}
    for node in products:
        for name, kind in (
            (node.input[0], TensorProto.UINT8),
            (node.input[2], TensorProto.UINT8),
            (node.output[0], TensorProto.INT32),
        ):
            if name not in told:
                told.add(name)
                model.graph.output.append(helper.make_tensor_value_info(name, kind, None))
    return products


def hold_products(model: onnx.ModelProto, nodes: list[onnx.NodeProto], outputs: dict[str, Array]) -> None:
    """Each product is numpy's, of the very integers that went in."""
    weights = {each.name: numpy_helper.to_array(each) for each in model.graph.initializer}
    for node in nodes:
        assert node.op_type == "MatMulInteger"
        x, w, x_zero, w_zero = node.input
        wanted = (outputs[x].astype(np.int64) - outputs[x_zero]) @ (weights[w].astype(np.int64) - weights[w_zero])
        assert outputs[node.output[0]].dtype == np.int32
        assert np.array_equal(outputs[node.output[0]], wanted), node.output[0]


@pytest.mark.parametrize("cpu", CPUS)
@pytest.mark.parametrize("values", ["random", "extreme"])
@pytest.mark.parametrize(("rows", "inside", "outside"), [(1, 33, 17), (50, 768, 100)])
def test_a_product_is_numpy_s(values: str, rows: int, inside: int, outside: int, cpu: str, tmp_path: Path) -> None:
    """A layer as an int8 bundle has it. Pairs of extreme values would saturate where sums have 16 bits only."""
    random = np.random.default_rng(0)
    weight, x = (random.standard_normal(shape).astype(np.float32) for shape in ((inside, outside), (rows, inside)))
    if values == "extreme":
        x = np.where((x < 0) & (np.arange(rows)[:, None] % 2 == 0), -1, 254).astype(np.float32)  # by a scale of 1
    fused = product(rows, weight, signed=False)
    model = onnx.ModelProto()
    model.CopyFrom(fused)
    if values == "extreme":  # weights over all that uint8 holds, which exports do not use: 0 and 255
        for each in (model, fused):
            stored = next(one for one in each.graph.initializer if one.name == "w")
            stored.CopyFrom(numpy_helper.from_array(np.where(weight > 0, 255, 0).astype(np.uint8), "w"))
    nodes = exposed(model)
    outputs = run_graph(model, [x], tmp_path, cpu)
    assert len(nodes) == 1
    assert {0, 255} <= {*outputs["x_uint8"].ravel()}
    hold_products(model, nodes, outputs)
    # As a bundle runs it: where nobody asks for the integers, the five nodes are one.
    scale = next(numpy_helper.to_array(each) for each in model.graph.initializer if each.name == "w_scale")
    x_scale = np.float32((max(x.max(), 0) - min(x.min(), 0)) / 255)
    wanted = outputs["y_int32"].astype(np.float64) * (x_scale * scale)
    np.testing.assert_allclose(run_graph(fused, [x], tmp_path, cpu)["y"], wanted, rtol=1e-5, atol=1e-30)


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    found = {"photo": data.PHOTO}
    for kind in BUNDLES[1:]:
        found[kind] = tmp_path_factory.mktemp("bundle") / "bundle"
        model, precision = kind.split()
        command = [sys.executable, "-m", "samclip_edge.cli", "export", "--model", model, "--precision", precision]
        subprocess.run([*command, "-o", str(found[kind])], check=True, capture_output=True)
    return found


def with_weights(bundle: Path, graph: Graph, folder: Path) -> onnx.ModelProto:
    """A graph whose other files lie in `folder` too."""
    for file in graph.files[1:]:
        if not (folder / file.path).exists():
            (folder / file.path).symlink_to(bundle / file.path)
    return onnx.load(bundle / graph.files[0].path, load_external_data=False)


@pytest.mark.parametrize("kind", BUNDLES)
def test_graphs_are_torch_s(kind: str, bundles: dict[str, Path], tmp_path: Path) -> None:
    """Each output of each graph of the smaller size, by what `samclip-edge verify` allows at this precision."""
    manifest = (bundle := Bundle.open(bundles[kind])).manifest
    for graph in manifest.graphs:
        if graph.size in (None, min(manifest.sizes)):
            inputs = question(manifest.spec, graph)
            model = with_weights(bundle.folder, graph, tmp_path)
            outputs = run_graph(model, [inputs[each.name] for each in model.graph.input], tmp_path)
            for output, reference in graph.reference.items():
                parity = compare_to(reference.std, np.array(reference.values), sample(outputs[output]))
                assert passes(parity, manifest.precision, graph.parity[output]), (graph.name, output, parity)


def test_products_of_a_bundle_are_numpy_s(bundles: dict[str, Path], tmp_path: Path) -> None:
    """Every integer product of every graph in int8, of the inputs that it meets when the graph is asked the probe."""
    manifest = (bundle := Bundle.open(bundles["tiny int8"])).manifest
    met = 0
    for graph in manifest.graphs:
        model = with_weights(bundle.folder, graph, tmp_path)
        nodes = exposed(model)
        inputs = question(manifest.spec, graph)
        outputs = run_graph(model, [inputs[each.name] for each in model.graph.input], tmp_path)
        onnx.load_external_data_for_model(model, str(bundle.folder))
        hold_products(model, nodes, outputs)
        met += len(nodes)
    assert met > 100


def same(own: Any, wanted: Any, near: float, iou: float) -> None:
    """Keys, names and their order are the same, numbers and masks nearly. near: how far a score may be."""
    if isinstance(wanted, dict):
        assert own.keys() == wanted.keys()
        if "counts" in wanted:
            mine, theirs = decode_rle(own), decode_rle(wanted)
            assert (mine & theirs).sum() >= iou * (mine | theirs).sum()
            return
        for key in wanted.keys() - {"area", "box", "bundle"}:  # area and box follow from the mask
            same(own[key], wanted[key], near, iou)
    elif isinstance(wanted, list):
        assert len(own) == len(wanted)
        for each, other in zip(own, wanted, strict=True):
            same(each, other, near, iou)
    elif isinstance(wanted, float):
        assert own == pytest.approx(wanted, abs=near)
    else:
        assert own == wanted


@pytest.mark.parametrize("kind", BUNDLES)
@pytest.mark.parametrize("asked", ["classify", "point", "box", "text"])
def test_answers_are_those_of_this_machine(asked: str, kind: str, bundles: dict[str, Path], tmp_path: Path) -> None:
    """The command line tool of both builds. The numbers that int8 moves are held by the tests above."""
    photo, names, click, box = CAT, ["dog", "cat", "zebra"], "200,150", "90,10,400,290"
    if kind != "photo":
        scene = render(3, fewest=3)
        photo = tmp_path / "scene.png"
        Image.fromarray(scene.image).save(photo)
        names = [*(f"{thing.colour} {thing.shape}" for thing in scene.things), "orange crescent"]
        y, x = np.nonzero(scene.things[0].mask)
        click, box = f"{x[len(x) // 2]},{y[len(y) // 2]}", f"{x.min()},{y.min()},{x.max() + 1},{y.max() + 1}"
    words = {
        "classify": ["classify", str(photo), *(word for name in names for word in ("--label", name))],
        "point": ["segment", str(photo), "--point", click],
        "box": ["segment", str(photo), "--box", box],
        "text": ["segment", str(photo), *(word for name in names for word in ("--text", name))],
    }[asked]
    command = ["--bundle", str(bundles[kind]), *words, "--size", "256"]
    wanted = json.loads(said(NATIVE / "samclip-edge-cli", *command))
    own = json.loads(said(*EMULATOR, AARCH64 / "samclip-edge-cli", *command))
    assert wanted.get("photos") or wanted["masks"]
    same(own, wanted, *((0.02, 0.95) if kind == "tiny int8" else (1e-3, 0.995)))


# LiteRT reads the CPU's description as its library is loaded, and crashes on that of another processor. QEMU takes a
# file of this root where there is one: a Cortex-A76, which it plays.
CPUINFO = """processor\t: {}
Features\t: fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm lrcpc dcpop asimddp
CPU implementer\t: 0x41
CPU architecture: 8
CPU variant\t: 0x4
CPU part\t: 0xd0b
CPU revision\t: 1

"""


@pytest.fixture(scope="module")
def lite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bundle") / "lite"
    export = [sys.executable, "-m", "samclip_edge.cli", "export", "--target", "litert", "--points", "2"]
    subprocess.run([*export, "--model", "tiny", "--size", "128", "-o", str(folder)], check=True, capture_output=True)
    return folder


@pytest.mark.parametrize("asked", [["--point", "200,150"], ["--box", "90,10,400,290"]])
def test_litert_s_answers_are_those_of_this_machine(asked: list[str], lite: Path, tmp_path: Path) -> None:
    """LiteRT's own library for aarch64, and its kernels for it, in the command line tool."""
    (tmp_path / "lib").symlink_to("/usr/aarch64-linux-gnu/lib")
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc" / "cpuinfo").write_text("".join(map(CPUINFO.format, range(2))), "utf-8")
    library = ROOT / "build" / "aarch64" / "litert" / "ai_edge_litert" / "libLiteRt.so"
    emulator = ["qemu-aarch64", "-cpu", "cortex-a76", "-L", tmp_path, "-E", f"LD_LIBRARY_PATH={LIBRARIES}"]
    command = ["--bundle", lite, "segment", CAT, *asked]
    found = []
    for program in ([NATIVE], [*emulator, "-E", f"SAMCLIP_EDGE_LITERT={library}", AARCH64]):
        run = [*program[:-1], program[-1] / "samclip-edge-cli", *command]
        done = subprocess.run(run, capture_output=True, text=True)  # LiteRT's notes are on stderr
        assert done.returncode == 0, done.stderr
        found.append(json.loads(done.stdout))
    assert found[0]["masks"]
    same(found[1], found[0], 1e-3, 0.995)
