"""Models and scenes that are copied, pickled, saved, and opened somewhere else."""

from __future__ import annotations

import copy
import json
import os
import pickle
import stat
from pathlib import Path

import numpy as np
import pytest
from support import TEMPLATES

from samclip_edge import SamClip, Scene, data
from samclip_edge.bundle.folder import Bundle
from samclip_edge.bundle.presets import PRESETS
from samclip_edge.bundle.sessions import Sessions
from samclip_edge.bundle.spec import ClipVisionSpec
from samclip_edge.errors import InputError
from samclip_edge.export.targets.onnx import export_onnx
from samclip_edge.model import checkpoint

PHOTO = data.FOLDER / "photos" / "coffee.jpg"


class Counting(Sessions):
    """Sessions that say which graphs ran."""

    def run(self, name, size=None, /, **inputs):
        self.ran = [*getattr(self, "ran", ()), name]
        return super().run(name, size, **inputs)


@pytest.fixture
def counted(tiny_folder: Path) -> SamClip:
    bundle = Bundle.open(tiny_folder)
    return SamClip(bundle, sessions=Counting(bundle))


@pytest.mark.parametrize("way", [copy.deepcopy, lambda each: pickle.loads(pickle.dumps(each))], ids=["copy", "pickle"])
def test_a_loaded_model_and_its_scenes_are_copied(tiny: SamClip, way) -> None:
    scene = tiny.look(PHOTO, size=128)
    wanted = scene.segment(points=[[300, 200]])
    model, other = way((tiny, scene))
    assert other.segment(points=[[300, 200]]) == wanted
    assert model.look(PHOTO, size=128).classify(["cat", "cup"]) == scene.classify(["cat", "cup"])
    assert other.model is model
    assert way(wanted) == wanted


def test_a_saved_scene_answers_elsewhere_without_its_encoder(tiny: SamClip, counted: SamClip, tmp_path: Path) -> None:
    scene = tiny.look(PHOTO, size=128)
    scene.save(tmp_path / "photo.scene")
    loaded = Scene.load(tmp_path / "photo.scene", counted)
    assert np.array_equal(loaded.pixels, scene.pixels)
    assert loaded.segment(boxes=[10, 10, 300, 300]) == scene.segment(boxes=[10, 10, 300, 300])
    assert loaded.classify(["cat", "cup"]) == scene.classify(["cat", "cup"])
    assert "image_encoder" not in counted.sessions.ran
    assert [path.name for path in tmp_path.iterdir()] == ["photo.scene"]


def test_a_scene_of_half_precision_goes_into_full(tiny_checkpoint: Path, tiny: SamClip, tmp_path: Path) -> None:
    half = SamClip.load(
        export_onnx(tiny_checkpoint, tmp_path / "half", [128], precision="fp16", templates=TEMPLATES).folder
    )
    half.look(PHOTO).save(tmp_path / "scene")
    (mask,), (wanted,) = (
        s.segment(points=[[300, 200]]) for s in (Scene.load(tmp_path / "scene", tiny), tiny.look(PHOTO, 128))
    )
    assert (mask.bits & wanted.bits).sum() > 0.98 * (mask.bits | wanted.bits).sum()


def test_a_scene_of_two_models_is_saved_whole(tmp_path: Path, side_by_side: SamClip) -> None:
    scene = side_by_side.look(PHOTO)
    scene.save(tmp_path / "scene")
    loaded = Scene.load(tmp_path / "scene", side_by_side)
    assert loaded.encoded.known().keys() == {"image_encoder", "clip_image_encoder"}
    assert loaded.segment(points=[[30, 20]]) == scene.segment(points=[[30, 20]])


@pytest.fixture(scope="module")
def side_by_side(tmp_path_factory: pytest.TempPathFactory) -> SamClip:
    vision = ClipVisionSpec.vit(width=64, depth=1, heads=2, size=32)
    spec = PRESETS["tiny"].model_copy(update={"clip_vision": vision, "sizes": (128,)})
    folder = tmp_path_factory.mktemp("two")
    checkpoint.save(checkpoint.build(spec), folder / "two.safetensors", checkpoint.Origin(note="random"))
    return SamClip.load(export_onnx(folder / "two.safetensors", folder / "bundle", templates=TEMPLATES).folder)


def test_a_scene_of_another_model_is_refused(tiny: SamClip, tmp_path: Path) -> None:
    tiny.look(PHOTO, size=128).save(tmp_path / "scene")
    with pytest.raises(InputError, match="another model"):
        Scene.load(tmp_path / "scene", SamClip.load(data.TINY))


def test_what_is_no_scene_is_named(tiny: SamClip, tmp_path: Path) -> None:
    tiny.look(PHOTO, size=128).save(tmp_path / "scene")
    whole = (tmp_path / "scene").read_bytes()
    (tmp_path / "half").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "photo").write_bytes(PHOTO.read_bytes())
    (tmp_path / "empty").touch()
    np.savez(tmp_path / "objects.npz", about=np.array([{}], object))
    for name in ("half", "photo", "empty", "objects.npz", "none"):
        with pytest.raises(InputError, match=name):
            Scene.load(tmp_path / name, tiny)
    stored = dict(np.load(tmp_path / "scene"))
    for name, array in (("image_encoder.tokens", np.zeros((1, 2), np.float32)), ("text_encoder.x", np.zeros(1))):
        np.savez(tmp_path / "odd.npz", **{**stored, name: array})
        with pytest.raises(InputError, match=name.partition(".")[0]):
            Scene.load(tmp_path / "odd.npz", tiny)
    about = json.loads(stored["about"].tobytes())
    about["model"]["image_features"]["values"][0] = 10**400
    for name, changed in (
        ("image_encoder.tokens", None),
        ("image_encoder.embedding", None),
        ("about", json.dumps({**about, "format": 99})),
        ("about", json.dumps(about)),
    ):
        other = {key: each for key, each in stored.items() if key != name}
        if changed is not None:
            other["about"] = np.frombuffer(changed.encode(), np.uint8)
        np.savez(tmp_path / "odd.npz", **other)
        with pytest.raises(InputError, match=r"odd\.npz: "):
            Scene.load(tmp_path / "odd.npz", tiny)
    with pytest.raises(InputError, match=r"^max_pixels 9"):
        Scene.load(tmp_path / "scene", tiny, max_pixels=9)
    with pytest.raises(InputError, match="cannot be written"):
        tiny.look(PHOTO, size=128).save(tmp_path / "nowhere" / "scene")
    os.mkfifo(tmp_path / "fifo")  # or a device
    for name in ("fifo", "nul\0"):
        with pytest.raises(InputError, match="cannot be written"):
            tiny.look(PHOTO, size=128).save(tmp_path / name)
    assert stat.S_ISFIFO((tmp_path / "fifo").stat().st_mode)
