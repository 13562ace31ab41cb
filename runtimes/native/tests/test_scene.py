"""What an app asks of the native library beside the test vectors: bad input, with Python's lines; files in others."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import native
import numpy as np
import pytest
from pycocotools import mask as coco

from samclip_edge import InputError, SamClip, data
from samclip_edge import Scene as PythonScene
from samclip_edge.photo.masks import decode_rle
from samclip_edge.photo.read import read_photo
from samclip_edge.tasks.everything import Settings

INPUT, CHECKSUM = 1, 2
PHOTO = np.ascontiguousarray(read_photo(data.photos()[1]))
SIZE = 256


@pytest.fixture(scope="module")
def model() -> native.Model:
    return native.Model(data.PHOTO)


@pytest.fixture(scope="module")
def scene(model: native.Model) -> native.Scene:
    return model.look(PHOTO, SIZE)


@pytest.fixture(scope="module")
def python() -> PythonScene:
    return SamClip.load().look(PHOTO, SIZE)


def line_of(what: Callable[[], Any], kind: type[Exception]) -> str:
    with pytest.raises(kind) as caught:
        what()
    return str(caught.value)


@pytest.mark.parametrize(
    ("ask", "given"),
    [
        ("segment", {"points": [[-1, 20]]}),
        ("segment", {"points": [[20, 300.6]]}),
        ("segment", {"points": [[20, 1e30]]}),
        ("segment", {"points": [[float("nan"), 20]]}),
        ("segment", {"points": [[20, 20]], "labels": [2]}),
        ("segment", {"boxes": [30, 20, 20, 40]}),
        ("segment", {"boxes": [20, 20, 20, 40]}),
        ("segment", {"boxes": [500, 20, 600, 40]}),
        ("segment", {"boxes": [float("inf"), 20, 600, 40]}),
        ("segment", {"labels": [1]}),
        ("segment", {}),
        ("classify", {"labels": []}),
        ("classify", {"labels": ["dog", "  "]}),
        ("classify", {"labels": ["dog", "caf\udce9"]}),
        ("classify", {"labels": ["dog"], "background": [" "]}),
        ("find", {"labels": ["dog"], "min_score": 1.5}),
        ("find", {"labels": ["dog"], "min_score": -0.25}),
        ("find", {"labels": ["dog"], "points": 4}),
        ("find", {"labels": []}),
    ],
)
def test_bad_input_is_told_as_in_python(
    ask: str, given: dict[str, Any], scene: native.Scene, python: PythonScene
) -> None:
    told = line_of(lambda: getattr(scene, ask)(**given), native.NativeError)
    assert told == line_of(lambda: getattr(python, ask)(**given), InputError)


def test_a_size_that_there_is_not(model: native.Model) -> None:
    told = line_of(lambda: model.look(PHOTO, (320, 240)), native.NativeError)
    assert told == line_of(lambda: SamClip.load().look(PHOTO, "320x240"), InputError)


@pytest.mark.parametrize(("field", "value"), [("points_per_side", 300), ("overlap", float("nan"))])
def test_bad_grids(field: str, value: float, scene: native.Scene) -> None:
    told = line_of(lambda: scene.everything(grid=native.Grid(**{field: value})), native.NativeError)
    assert told == line_of(lambda: Settings(**{field: value}), InputError)  # type: ignore[arg-type]


def test_points_on_the_border_are_taken(scene: native.Scene, python: PythonScene) -> None:
    for point in ([-0.4, 20], [451.4, 300.4], [0, 0]):
        (ours,), (theirs,) = scene.segment([point]).all(), python.segment([point])
        assert ours.rle == theirs.rle["counts"]


def test_no_prompts_give_no_masks(scene: native.Scene) -> None:
    assert scene.segment(boxes=np.zeros((0, 4))).all() == []


def test_many_prompts_are_answered_as_one_by_one(scene: native.Scene) -> None:
    points = np.random.default_rng(0).uniform(0, 300, (37, 1, 2))
    together = scene.segment(points).all()
    for mask, point in zip(together, points, strict=True):
        (alone,) = scene.segment(point).all()
        assert np.count_nonzero(mask.bits ^ alone.bits) <= 0.005 * max(alone.area, 400)
        assert mask.predicted_iou == pytest.approx(alone.predicted_iou, abs=1e-3)


def test_features_and_ranking(model: native.Model) -> None:
    python = SamClip.load()
    photos = [np.ascontiguousarray(read_photo(path)) for path in data.photos()]
    assert np.allclose(model.embed(photos), python.embed(photos), atol=1e-4)
    texts = ["a photo of a temple", "two cats"]
    assert np.allclose(model.embed_text(texts), python.embed_text(texts), atol=1e-4)
    ours, theirs = model.rank(photos, "a temple"), python.rank(photos, "a temple")
    assert [place for place, _ in ours] == [place for place, _ in theirs]
    assert np.allclose([cosine for _, cosine in ours], [cosine for _, cosine in theirs], atol=1e-4)


def test_what_is_under_a_mask(scene: native.Scene, python: PythonScene) -> None:
    masks = scene.segment(boxes=[90, 20, 360, 280])
    (mask,) = masks.all()
    assert np.allclose(masks.features()[0], python.features_under(mask.bits), atol=1e-5)


def test_tiny_masks_have_features_too(scene: native.Scene, python: PythonScene) -> None:
    bits = np.zeros((300, 451), bool)
    bits[299, 450] = True
    assert np.allclose(scene.take([mask_of(bits)]).features()[0], python.features_under(bits), atol=1e-5)


def mask_of(bits: np.ndarray) -> str:
    return str(coco.encode(np.asfortranarray(bits.astype(np.uint8)))["counts"].decode())


@pytest.mark.parametrize("seed", range(8))
def test_run_lengths_are_cocos(seed: int, scene: native.Scene) -> None:
    random = np.random.default_rng(seed)
    low = random.random((30, 45)) < (0.5, 0.02, 0.98, 0.5, 0, 1, 0.2, 0.8)[seed]
    bits = np.kron(low, np.ones((10, 11), bool))[:300, :451]
    bits = np.pad(bits, ((0, 300 - bits.shape[0]), (0, 451 - bits.shape[1])))
    (mask,) = scene.take([mask_of(bits)]).all()
    assert (mask.bits == bits).all()
    assert mask.rle == mask_of(bits)
    y, x = np.nonzero(bits)
    assert mask.area == len(x)
    assert mask.box == ((x.min(), y.min(), x.max() + 1, y.max() + 1) if len(x) else (0, 0, 0, 0))


@pytest.mark.parametrize("counts", ["", "0", "`", "\x7f", "PPPPPPPPPPPPPPPP0", "0" * 40, "1" * 9 + "o"])
def test_bad_run_lengths(counts: str, scene: native.Scene) -> None:
    told = line_of(lambda: scene.take([counts]), native.NativeError)
    known = line_of(lambda: decode_rle({"size": [300, 451], "counts": counts}), InputError)
    assert told == known


@pytest.fixture
def packed(tmp_path: Path) -> Iterator[list[tuple[str, int, int, int]]]:
    """The files of the shipped bundle in one file, as in an Android package, each at some offset."""
    place, parts = tmp_path / "assets", []
    with place.open("wb") as file:
        for path in sorted(data.PHOTO.iterdir()):
            file.write(b"x" * 3)
            parts.append((path.name, file.tell(), path.stat().st_size))
            file.write(path.read_bytes())
    descriptor = os.open(place, os.O_RDONLY)
    yield [(name, descriptor, offset, length) for name, offset, length in parts]
    os.close(descriptor)


def test_a_bundle_that_lies_in_another_file(packed: list[tuple[str, int, int, int]], scene: native.Scene) -> None:
    other = native.Model(packed).look(PHOTO, SIZE)
    assert [mask.rle for mask in other.segment([[200, 150]]).all()] == [
        mask.rle for mask in scene.segment([[200, 150]]).all()
    ]
    assert [guess.label for guess in other.classify(["dog", "temple"])] == [
        guess.label for guess in scene.classify(["dog", "temple"])
    ]


def test_a_changed_byte_in_another_file(packed: list[tuple[str, int, int, int]]) -> None:
    moved = [(name, d, at + (name == "image_encoder_256.onnx"), length) for name, d, at, length in packed]
    with pytest.raises(native.NativeError, match=r"encoder_256\.onnx: its sha256 is not the manifest's") as caught:
        native.Model(moved).look(PHOTO, SIZE)
    assert caught.value.status == CHECKSUM


def test_files_that_are_links_to_folders_of_their_own(tmp_path: Path, scene: native.Scene) -> None:
    """As DVC and git-annex have them: ONNX Runtime itself would refuse the weights."""
    bundle = tmp_path / "bundle"
    bundle.mkdir()
    for number, path in enumerate(sorted(data.PHOTO.iterdir())):
        own = tmp_path / str(number)
        own.mkdir()
        shutil.copy(path, own / "content")
        (bundle / path.name).symlink_to(own / "content")
    (mask,) = native.Model(bundle).look(PHOTO, SIZE).segment([[200, 150]]).all()
    assert mask.rle == scene.segment([[200, 150]]).all()[0].rle


def test_a_tokenizer_that_is_not_clips(tmp_path: Path) -> None:
    bundle = tmp_path / "bundle"
    shutil.copytree(data.PHOTO, bundle)
    manifest = json.loads((bundle / "manifest.json").read_text("utf-8"))
    manifest["spec"]["text"]["tokenizer"] = "own"
    (bundle / "manifest.json").write_text(json.dumps(manifest), "utf-8")
    scene = native.Model(bundle).look(PHOTO, SIZE)  # masks need no words
    told = line_of(lambda: scene.classify(["dog"]), native.NativeError)
    assert (
        told == f"{bundle}: its tokenizer is not CLIP's, which this library does not read; export it with a vocabulary"
    )


@pytest.mark.parametrize(
    ("device", "says"),
    [
        ("gpu", "there is no gpu device; give cpu, cuda"),
        ("cpu:threads=1", "the CPU takes no options; see threads"),
        ("cuda:1,x", "options of cuda are KEY=VALUE, with commas between"),
    ],
)
def test_devices_that_there_are_not(device: str, says: str) -> None:
    told = line_of(lambda: native.Model(data.PHOTO, device=device), native.NativeError)
    assert told.startswith(f"device {device}: ")
    assert says in told


def test_a_device_that_this_build_does_not_have() -> None:
    with pytest.raises(native.NativeError, match=r"here has no CUDAExecutionProvider, only .*CPUExecutionProvider"):
        native.Model(data.PHOTO, device="cuda:device_id=1").look(PHOTO, SIZE)


def test_progress_and_cancelling(scene: native.Scene) -> None:
    told: list[tuple[str, int, int]] = []

    def stop(what: str, done: int, total: int) -> int:
        told.append((what, done, total))
        return int(done >= 5)

    def listen(what: str, done: int, total: int) -> int:
        told.append((what, done, total))
        return 0

    grid = native.Grid(points_per_side=16)
    with pytest.raises(native.NativeError, match="the call was cancelled"):
        scene.everything(grid=grid, task=native.Task(stop))
    assert {(what, total) for what, _, total in told} == {("clicking everywhere", 16)}
    counts = [done for _, done, _ in told]
    assert counts == sorted(counts)
    assert counts[0] == 0
    assert 5 <= counts[-1] < 16
    told.clear()
    scene.everything(grid=grid, task=native.Task(listen))
    assert told[-1] == ("clicking everywhere", 16, 16)
    cancelled = native.Task()
    cancelled.cancel()
    for call in (
        lambda: scene.segment([[20, 20]], task=cancelled),
        lambda: scene.model.look(PHOTO, SIZE, task=cancelled),
        lambda: scene.everything(task=cancelled),
    ):
        with pytest.raises(native.NativeError, match="the call was cancelled"):
            call()


def test_an_older_app_passes_shorter_structures(scene: native.Scene) -> None:
    """The last fields of a structure count as 0 where its size says that they are not there."""
    grid = native.Grid(size=16, points_per_side=4, stability=float("nan"))  # size ends before stability
    assert isinstance(scene.everything(grid=grid).all(), list)
