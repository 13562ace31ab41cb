"""Bundles from strangers: what is missing, cut, swapped, edited, newer or climbing out is told in one line."""

from __future__ import annotations

import copy
import json
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from support import TOLERANCE, Ran, off

from samclip_edge import SamClip, data
from samclip_edge.bundle.contract import Signature, Tensor, fixed_sides
from samclip_edge.bundle.folder import Bundle, describe
from samclip_edge.bundle.verify import verify
from samclip_edge.export.export import text_features
from samclip_edge.model import checkpoint

PHOTO = data.photos()[0]


def edit(folder: Path, change: Callable[[dict], object]) -> None:
    path = folder / "manifest.json"
    manifest = json.loads(path.read_text())
    change(manifest)
    path.write_text(json.dumps(manifest))


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))


def swap(folder: Path) -> None:
    a, b = folder / "image_encoder_128.onnx", folder / "image_encoder_256.onnx"
    one, other = a.read_bytes(), b.read_bytes()
    a.write_bytes(other)
    b.write_bytes(one)


FILE_FAULTS = {
    "missing": (lambda folder: (folder / "image_encoder_256.onnx").unlink(), "image_encoder_256.onnx: missing"),
    "truncated": (lambda folder: cut(folder / "image_encoder.weights"), "image_encoder.weights: "),
    "swapped": (swap, "image_encoder_256.onnx: "),
    "edited": (lambda folder: flip(folder / "image_encoder_256.onnx"), "image_encoder_256.onnx: its sha256"),
    "edited weights": (lambda folder: flip(folder / "image_encoder.weights"), "image_encoder.weights: its sha256"),
    "edited templates": (lambda folder: flip(folder / "templates.json"), "templates.json: its sha256"),
}


@pytest.mark.parametrize("fault", FILE_FAULTS)
def test_a_damaged_file_stops_every_verb_that_needs_it(run: Callable[..., Ran], bundle_copy: Path, fault: str) -> None:
    damage, said = FILE_FAULTS[fault]
    damage(bundle_copy)
    out = bundle_copy.parent / "out.png"
    ran = run("segment", PHOTO, "--point", "10,10", "--bundle", bundle_copy, "-o", out, "--json")
    assert (ran.code, ran.out) == (2, "")
    assert said in ran.err.splitlines()[-1]
    assert "Traceback" not in ran.err
    assert not out.exists()

    ran = run("verify", bundle_copy, "--json")
    assert ran.code == 1
    failed = [check for check in ran.json["checks"] if not check["ok"]]
    assert failed
    assert not ran.json["ok"]
    assert any(said.rstrip(" :").split(":")[0] in check["what"] for check in failed)


MANIFEST_FAULTS = {
    "newer": (lambda m: m.update(format=3), "format 3 is newer than 2"),
    "absolute": (lambda m: m["graphs"][0]["files"][0].update(path="/etc/passwd"), "leaves the bundle"),
    "climbing": (lambda m: m["graphs"][0]["files"][0].update(path="../x.onnx"), "leaves the bundle"),
    "climbing inside": (lambda m: m["graphs"][0]["files"][0].update(path="a/../../x.onnx"), "leaves the bundle"),
    "windows": (lambda m: m["text"]["tokenizer"].update(path="..\\x.json"), "leaves the bundle"),
    "drive": (lambda m: m["text"]["templates"].update(path="C:x.json"), "leaves the bundle"),
    "no graphs": (lambda m: m.update(graphs=[]), "manifest.json"),
    "a graph twice": (lambda m: m["graphs"].append(m["graphs"][0]), "are not one each of"),
    "other names": (lambda m: m["graphs"][0]["signature"]["inputs"][0].update(name="x"), "signature of image_encoder"),
    "other size": (lambda m: m.update(sizes=[128]), "are not one each of"),
    "unknown target": (lambda m: m.update(target="abacus"), "target"),
    "unknown key": (lambda m: m.update(surprise=1), "surprise"),
    "no format": (lambda m: m.pop("spec"), "spec"),
    "bad spec": (lambda m: m["spec"]["encoder"].update(heads=7), "not a multiple"),
}


@pytest.mark.parametrize("fault", MANIFEST_FAULTS)
@pytest.mark.parametrize("verb", ["info", "verify", "classify"])
def test_a_bad_manifest_is_named(run: Callable[..., Ran], bundle_copy: Path, fault: str, verb: str) -> None:
    change, said = MANIFEST_FAULTS[fault]
    edit(bundle_copy, change)
    arguments = (PHOTO, "--label", "cat", "--bundle", bundle_copy) if verb == "classify" else (bundle_copy,)
    ran = run(verb, *arguments)
    assert (ran.code, ran.err.count("\n"), ran.out) == (2, 1, "")
    assert said in ran.err
    assert str(bundle_copy) in ran.err


def test_what_is_no_bundle_is_named(run: Callable[..., Ran], tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "text").mkdir()
    (tmp_path / "text" / "manifest.json").write_text("hello")
    (tmp_path / "list").mkdir()
    (tmp_path / "list" / "manifest.json").write_text("[]")
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "manifest.json").write_text("[" * 100_000)
    for name in ("nowhere", "empty", "text", "list", "deep"):
        ran = run("info", tmp_path / name)
        assert (ran.code, ran.err.count("\n"), ran.out) == (2, 1, "")
        assert str(tmp_path / name) in ran.err


def test_a_graph_that_gives_other_answers_fails_verification(run: Callable[..., Ran], bundle_copy: Path) -> None:
    """Checksums in order, answers not: what a bundle made on a faulty machine looks like."""

    def shift(manifest: dict) -> None:
        for graph in manifest["graphs"]:
            if graph["name"] == "mask_decoder" and graph["size"] == 256:
                graph["reference"]["scores"]["values"][0] += 0.1

    edit(bundle_copy, shift)
    ran = run("verify", bundle_copy, "--json")
    assert ran.code == 1
    assert [check["what"] for check in ran.json["checks"] if not check["ok"]] == ["mask_decoder 256: scores"]


def test_info_shows_the_contract(run: Callable[..., Ran], tiny_folder: Path, vocabulary_folder: Path) -> None:
    ran = run("info", tiny_folder, "--json")
    assert ran.code == 0
    manifest = ran.json["manifest"]
    assert manifest["sizes"] == [128, 256]
    assert ran.json["bytes"] == sum(p.stat().st_size for p in tiny_folder.iterdir() if p.name != "manifest.json")
    encoder = next(g for g in manifest["graphs"] if (g["name"], g["size"]) == ("image_encoder", 256))
    assert encoder["signature"]["inputs"] == [{"name": "image", "dtype": "float32", "shape": ["I", 3, 256, 256]}]
    assert [(t["name"], t["shape"]) for t in encoder["signature"]["outputs"]] == [
        ("tokens", ["I", 128, 16, 16]),
        ("embedding", ["I", 256, 16, 16]),
    ]
    assert "untrained" in run("info", tiny_folder).out
    assert "cup of coffee" in run("info", vocabulary_folder).out


def test_a_bundle_can_be_moved(bundle_copy: Path) -> None:
    moved = bundle_copy.rename(bundle_copy.with_name("with spaces é"))
    assert SamClip.load(moved).look(PHOTO, 128).classify(["a", "b"])
    assert Bundle.open(moved).manifest.trained is False


def test_a_bundle_opened_by_a_relative_path_works_from_anywhere(
    bundle_copy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its graphs are opened later, when they are first asked for."""
    monkeypatch.chdir(bundle_copy.parent)
    for given in (bundle_copy.name, f"./{bundle_copy.name}/"):
        model = SamClip.load(given)
        assert model.bundle.given == given
        monkeypatch.chdir("/")
        assert model.look(PHOTO, 128).classify(["a", "b"])
        monkeypatch.chdir(bundle_copy.parent)


def test_a_link_that_is_turned_to_another_bundle_does_not_mix_two(bundle_copy: Path, tmp_path: Path) -> None:
    """As a deployment does it while a server runs."""
    link = tmp_path / "current"
    link.symlink_to(bundle_copy)
    model = SamClip.load(link)
    link.unlink()
    link.symlink_to(tmp_path)
    assert model.look(PHOTO, 128).classify(["a", "b"])


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda bundle: pickle.loads(pickle.dumps(bundle))])
def test_a_bundle_can_be_copied_and_sent_to_another_process(
    tiny_folder: Path, monkeypatch: pytest.MonkeyPatch, copied: Callable[[Bundle], Bundle]
) -> None:
    monkeypatch.chdir(tiny_folder.parent)
    bundle = Bundle.open(tiny_folder.name)
    monkeypatch.chdir("/")
    again = copied(bundle)
    assert (again.folder, again.given, again.manifest) == (tiny_folder, tiny_folder.name, bundle.manifest)
    assert again.checked(again.files()[0]).is_file()


def test_built_engines_keep_their_keys_in_the_manifest(bundle_copy: Path) -> None:
    """Format 1 calls them `engine` and `engines`; apps in other languages read these."""

    def build(fields: dict) -> None:
        for graph in fields["graphs"]:
            graph["engine"] = graph["files"][0]
        fields["engines"] = {"builder": "tensorrt", "version": "10.3.0", "capabilities": ["8.7"]}

    edit(bundle_copy, build)
    fields = json.loads((bundle_copy / "manifest.json").read_text())
    manifest = Bundle.open(bundle_copy).manifest
    assert manifest.built_engines is not None
    assert all(graph.built_engine == graph.files[0] for graph in manifest.graphs)
    written = json.loads(manifest.model_dump_json(by_alias=True))
    assert {"engine", "engines"} <= {*written, *written["graphs"][0]}
    assert [graph["engine"] for graph in written["graphs"]] == [graph["engine"] for graph in fields["graphs"]]


TEXTS = ["a dog", "", "an orange arrow on a striped purple crescent", "cat", "x " * 200]


def fix_sides(folder: Path, sides: dict[str, int]) -> None:
    """Make a bundle's text encoder one that takes no other numbers of texts (B) and of tokens (L)."""
    model = onnx.load(folder / "text_encoder.onnx", load_external_data=False)
    for tensor in (*model.graph.input, *model.graph.output):
        for side in tensor.type.tensor_type.shape.dim:
            if side.dim_param in sides:
                side.dim_value = sides[side.dim_param]
    model.graph.ClearField("value_info")
    onnx.save(model, folder / "text_encoder.onnx")

    def change(fields: dict) -> None:
        (graph,) = (each for each in fields["graphs"] if each["name"] == "text_encoder")
        graph["files"][0] = describe(folder, folder / "text_encoder.onnx").model_dump()
        for tensor in (*graph["signature"]["inputs"], *graph["signature"]["outputs"]):
            tensor["shape"] = [sides.get(side, side) for side in tensor["shape"]]

    edit(folder, change)


@pytest.mark.parametrize("sides", [{"L": 77}, {"B": 2, "L": 77}], ids=["the older length", "two texts a call"])
def test_a_text_encoder_of_fixed_numbers_verifies_and_gives_the_same_features(
    bundle_copy: Path, tiny: SamClip, sides: dict[str, int]
) -> None:
    """ONNX Runtime takes no other numbers where a graph fixes them, so texts must have been padded to these."""
    fix_sides(bundle_copy, sides)
    older = SamClip.load(bundle_copy)
    with pytest.raises(Exception, match="INVALID_ARGUMENT"):
        older.sessions.run("text_encoder", tokens=np.ones((2, 12), np.int32))
    assert all(row.ok for row in verify(older.bundle))
    assert off(tiny.words.encode(TEXTS), older.words.encode(TEXTS)) < 1e-5


def test_texts_are_read_at_their_own_length(
    tiny: SamClip, tiny_checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Forty texts of three and six tokens: a call for each length; the answers are torch's, in the texts' order."""
    shapes, run = [], tiny.sessions.run

    def watched(*where: object, tokens: np.ndarray) -> dict[str, np.ndarray]:
        shapes.append(tokens.shape)
        return run(*where, tokens=tokens)

    monkeypatch.setattr(tiny.sessions, "run", watched)
    texts = ["a photo of a", "a"] * 20
    got = tiny.words.encode(texts)
    assert shapes == [(20, 3), (20, 6)]
    model, _ = checkpoint.load(tiny_checkpoint)
    assert off(text_features(model, texts, ["{}"]), got) < TOLERANCE


def test_a_fixed_number_satisfies_an_open_side_of_the_contract() -> None:
    def made(*shapes: tuple[int | str, ...]) -> Signature:
        x, y = (Tensor(name=name, shape=shape) for name, shape in zip("xy", shapes, strict=True))
        return Signature(inputs=(x,), outputs=(y,))

    contract = made(("B", "N", 2), ("B", 8))
    assert fixed_sides(contract, contract) == {}
    assert fixed_sides(made(("B", 3, 2), ("B", 8)), contract) == {"N": 3}
    assert fixed_sides(made((1, 3, 2), (1, 8)), contract) == {"B": 1, "N": 3}
    for wrong in (
        made(("B", "N", 3), ("B", 8)),  # another number
        made(("B", "N", "N"), ("B", 8)),  # a letter for a number
        made(("N", "N", 2), ("N", 8)),  # another letter
        made((1, "N", 2), (2, 8)),  # two numbers for one letter
        made((1, "N", 2), ("B", 8)),  # a number here and open there
        made(("B", 0, 2), ("B", 8)),
        made(("B", "N"), ("B", 8)),
    ):
        with pytest.raises(ValueError, match=r"not|for"):
            fixed_sides(wrong, contract)
    shared = made(("M", 2), ("M", 8))
    assert fixed_sides(made(("B", 2), ("B", 8)), shared) == {}, "an older bundle: a mask for each prompt"
    assert fixed_sides(made((1, 2), (1, 8)), shared) == {"M": 1}
    with pytest.raises(ValueError, match="not"):
        fixed_sides(made(("M", 2), ("B", 8)), shared)
