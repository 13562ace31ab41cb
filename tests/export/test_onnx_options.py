"""`--static`, `--qdq` and `--photos` of `export`: bundles that answer as in float, and refusals in a line."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto
from support import Ran, iou

from samclip_edge import SamClip, data
from samclip_edge.accuracy.synthetic import scenes
from samclip_edge.bundle.folder import Bundle
from samclip_edge.bundle.verify import verify
from samclip_edge.cli.exporting import order_of
from samclip_edge.errors import InputError
from samclip_edge.export.costs import rendered
from samclip_edge.export.options import CoreMLOptions, OnnxOptions, TensorRTOptions
from samclip_edge.export.order import Order
from samclip_edge.export.parity import Photos
from samclip_edge.export.targets.onnx import export_onnx
from samclip_edge.export.targets.tensorrt_builders import choose

NAMES = ["red circle", "blue square"]  # in place of the text encoder, which is traced for nothing here


def sides(bundle: Bundle, graph: str) -> dict[str, list[int | str]]:
    """The shapes that a graph's own file declares."""
    proto = onnx.load(bundle.folder / f"{graph}_128.onnx", load_external_data=False).graph
    return {
        each.name: [side.dim_param or side.dim_value for side in each.type.tensor_type.shape.dim]
        for each in (*proto.input, *proto.output)
    }


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """`tiny`, static and in Q and DQ pairs."""
    folder = tmp_path_factory.mktemp("options") / "bundle"
    options, photos = OnnxOptions(static=True, qdq=True), Photos("rendered scenes", rendered)
    return export_onnx(data.CHECKPOINTS["tiny"], folder, [128], NAMES, precision="int8", photos=photos, options=options)


def test_a_static_bundle_has_no_open_side(made: Bundle) -> None:
    assert sides(made, "prompt_encoder") == {
        "points": [1, 2, 2],
        "labels": [1, 2],
        "mask": [1, 1, 32, 32],
        "has_mask": [1],
        "sparse": [1, 2, 256],
        "dense": [1, 256, 8, 8],
    }
    assert all(isinstance(side, int) for shape in sides(made, "mask_decoder").values() for side in shape)
    assert {graph.name: graph.points for graph in made.manifest.graphs if graph.points} == {
        "prompt_encoder": 2,
        "mask_decoder": 2,
    }


def test_qdq_writes_symmetric_pairs_around_every_product(made: Bundle) -> None:
    assert made.manifest.quantisation == "qdq"
    pairs = 0
    for path in made.folder.glob("*.onnx"):
        graph = onnx.load(path, load_external_data=False).graph
        kinds = [node.op_type for node in graph.node]
        assert "MatMulInteger" not in kinds
        assert "DynamicQuantizeLinear" not in kinds
        pairs += kinds.count("QuantizeLinear")
        zeros = [each for each in graph.initializer if each.name == "int8_zero"]
        assert all(each.data_type == TensorProto.INT8 and not any(each.raw_data) for each in zeros)
    assert pairs > 30


def test_it_verifies_and_answers_as_in_float(made: Bundle) -> None:
    assert all(row.ok for row in verify(made))
    whole, small = SamClip.load(data.TINY), SamClip(made)
    for scene in scenes(40_000, 3, 128, most=2):
        ys, xs = np.nonzero(scene.things[0].mask)
        middle = len(xs) // 2
        click = [[float(xs[middle]), float(ys[middle])]]
        (wanted,) = whole.look(scene.image, 128).segment(points=click)
        looked = small.look(scene.image, 128)
        (got,) = looked.segment(points=click)
        assert iou(got.bits, wanted.bits) > 0.95
        assert len(looked.segment(boxes=[[10, 10, 60, 60], [40, 40, 100, 100]])) == 2, "one call after another"
        with pytest.raises(InputError, match="export without --static or --points"):
            looked.segment(points=click * 2)


def test_info_says_what_kind_a_bundle_is(made: Bundle, run: Callable[..., Ran]) -> None:
    ran = run("info", made.folder)
    assert "int8: fixed scales, in pairs of Q and DQ; measured on rendered scenes" in ran.out
    assert "prompts: one a call, of 2 points" in ran.out


def test_bad_options_are_one_line(run: Callable[..., Ran], tmp_path: Path) -> None:
    empty, bad = tmp_path / "empty", tmp_path / "bad"
    empty.mkdir()
    bad.mkdir()
    (empty / "notes.txt").write_text("no photo")
    shutil.copy(data.photos()[0], bad / "a.jpg")
    (bad / "b.JPG").write_text("no photo")
    int8 = ("--precision", "int8")
    for arguments, wanted in (
        (("--qdq",), "--qdq: is of precision int8, not of fp32"),
        (("--target", "tensorrt", "--static"), "--static: is of --target onnx only"),
        (("--target", "coreml", "--qdq"), "--qdq: is of --target onnx only"),
        (("--photos", bad), f"--photos {bad}: only --precision int8"),
        ((*int8, "--photos", empty), f"--photos {empty}: holds no photos"),
        ((*int8, "--photos", tmp_path / "none"), f"--photos {tmp_path / 'none'}: cannot be read"),
        ((*int8, "--photos", bad), f"{bad / 'b.JPG'}: not a JPEG"),
    ):
        ran = run("export", "--model", "tiny", *arguments, "-o", tmp_path / "bundle")
        assert (ran.code, ran.err.count("\n")) == (2, 1), ran.err
        assert wanted in ran.err
        assert not (tmp_path / "bundle").exists()


def order(precision: str, vocabulary: Path | None = None, photos: Path | None = None) -> Order:
    """What `export` makes of two of its options, all others left out."""
    given = {"onnx": {"--static": False, "--qdq": False}, "coreml": {}, "tensorrt": {}}
    return order_of("tiny", "onnx", precision, None, vocabulary, None, ([], photos), False, given)


def test_a_vocabulary_may_begin_with_a_byte_order_mark(tmp_path: Path) -> None:
    """As Windows' editors write it. The mark must not become a letter of the first name."""
    path = tmp_path / "names.txt"
    path.write_bytes(b"\xef\xbb\xbfcat\r\ncaf\xc3\xa9\r\n\r\n")
    assert order("fp32", path).vocabulary == ["cat", "café"]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-be", "latin-1"])
def test_a_vocabulary_in_another_encoding_is_told_in_a_line(
    tmp_path: Path, run: Callable[..., Ran], encoding: str
) -> None:
    """UTF-16 is what PowerShell's `>` writes."""
    path = tmp_path / "names.txt"
    path.write_bytes((b"\xfe\xff" if encoding == "utf-16-be" else b"") + "café\n".encode(encoding))
    ran = run("export", "--model", "tiny", "--vocabulary", path, "-o", tmp_path / "bundle")
    assert (ran.code, ran.err.count("\n")) == (2, 1)
    assert f"--vocabulary {path}: cannot be read (" in ran.err
    assert ("it is UTF-16; save it as UTF-8" in ran.err) == encoding.startswith("utf-16")


def test_hidden_files_in_a_folder_of_photos_are_no_photos(tmp_path: Path) -> None:
    """macOS puts `._a.jpg`, which holds no picture, beside `a.jpg` on disks of others."""
    shutil.copy(data.photos()[0], tmp_path / "a.jpg")
    (tmp_path / "._a.jpg").write_bytes(b"\0\5\x16\7")
    (tmp_path / ".trash.jpg").mkdir()
    assert order("int8", photos=tmp_path).photos == [tmp_path / "a.jpg"]


def test_an_empty_name_is_no_folder(run: Callable[..., Ran], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`-o "$OUT"` where OUT is not set: not the current directory."""
    monkeypatch.chdir(tmp_path)
    ran = run("export", "--model", "tiny", "-o", "")
    assert (ran.code, ran.err) == (2, "error: -o: is empty; name the folder to write\n")
    assert not list(tmp_path.iterdir())


def test_the_library_names_arguments_and_not_options(tmp_path: Path) -> None:
    for made, said in (
        (lambda: export_onnx(data.CHECKPOINTS["tiny"], tmp_path / "b", [100]), "sizes 100: "),
        (lambda: OnnxOptions(qdq=True).check("fp32"), "qdq: is of precision int8"),
        (lambda: CoreMLOptions(minimum="iOS15"), "minimum iOS15: give"),
        (lambda: CoreMLOptions(points=0), "points 0: give"),
        (lambda: TensorRTOptions(builder="tvm"), "builder tvm: no such builder"),
        (lambda: TensorRTOptions(capabilities=("x",)), "capabilities x: give a number"),
        (lambda: TensorRTOptions(builder="tensorrt", only_onnx=True), "builder: is for engines"),
        (lambda: choose(TensorRTOptions(portable=True)), "portable: TensorRT-RTX has no such thing"),
    ):
        with pytest.raises(InputError) as error:
            made()
        assert str(error.value).startswith(said)
        assert "--" not in str(error.value)


def test_a_folder_of_photos_is_measured_and_what_moved_is_said(
    run: Callable[..., Ran], tiny_checkpoint: Path, tmp_path: Path
) -> None:
    """For a model that was not trained on rendered scenes, these stand in place of `eval synthetic`."""
    names = tmp_path / "names.txt"
    names.write_text("cat\n")
    photos = data.FOLDER / "photos"
    given = ("--model", tiny_checkpoint, "--size", 128, "--vocabulary", names, "--precision", "int8")
    ran = run("export", *given, "--photos", photos, "-o", tmp_path / "bundle", "--json")
    assert ran.code == 0, ran.err
    assert ran.json["measured_on"] == "3 photos that the export was given"
    assert "cost" not in ran.json
    moved = {graph["name"]: set(graph.get("moved", ())) for graph in ran.json["graphs"]}
    assert moved["image_encoder"] == {"tokens", "embedding"}
    assert moved["mask_decoder"] == {"masks", "scores"}


def test_scenes_are_drawn_at_the_size() -> None:
    assert [image.shape for image in rendered(192, 2)] == [(192, 192, 3)] * 2
