"""SAM and CLIP side by side behind the same pipeline: CLIP's tower and its view of a photo are open_clip's."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from support import TOLERANCE, Ran, off, spread

from samclip_edge import SamClip, data
from samclip_edge.bundle.folder import Bundle
from samclip_edge.bundle.presets import PRESETS
from samclip_edge.bundle.spec import ClipVisionSpec, ModelSpec
from samclip_edge.bundle.verify import verify
from samclip_edge.errors import InputError
from samclip_edge.export.targets.onnx import export_onnx
from samclip_edge.library import Library
from samclip_edge.library import things as things_of
from samclip_edge.model import checkpoint
from samclip_edge.photo.resize import clip_square
from samclip_edge.tasks.everything import Settings

SIDE = 64  # what the small CLIP here sees
PHOTO = data.FOLDER / "photos" / "coffee.jpg"  # 600 x 400


@pytest.fixture(scope="module")
def clip() -> open_clip.CLIP:
    """A small CLIP of open_clip, whose text tower has the sizes of `tiny`."""
    vision = {"image_size": SIDE, "layers": 2, "width": 64, "head_width": 16, "patch_size": 16}
    text = {"context_length": 77, "vocab_size": 2562, "width": 128, "heads": 4, "layers": 3}
    model = open_clip.CLIP(embed_dim=128, vision_cfg=vision, text_cfg=text).eval()
    spread(model, seed=8)
    return model


@pytest.fixture(scope="module")
def spec() -> ModelSpec:
    """`tiny`'s SAM beside that CLIP."""
    vision = ClipVisionSpec.vit(width=64, depth=2, heads=4, patch=16, size=SIDE)
    return PRESETS["tiny"].model_copy(update={"name": "sam+clip", "clip_vision": vision})


@pytest.fixture(scope="module")
def folder(spec: ModelSpec, clip: open_clip.CLIP, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle of the two."""
    where = tmp_path_factory.mktemp("two")
    model = checkpoint.build(spec)
    spread(model, seed=9)
    checkpoint.load_clip(model, clip.state_dict(), "open_clip")
    path = checkpoint.save(model, where / "two.safetensors", checkpoint.Origin(note="spread at random"))
    return export_onnx(path, where / "bundle", [128]).folder


@pytest.fixture(scope="module")
def two(folder: Path) -> SamClip:
    return SamClip.load(folder)


def theirs(clip: open_clip.CLIP, pixels: np.ndarray) -> torch.Tensor:
    """open_clip's image feature of a photo."""
    prepare = open_clip.image_transform(SIDE, is_train=False)
    with torch.no_grad():
        return clip.encode_image(prepare(Image.fromarray(pixels))[None], normalize=True)[0]


@pytest.mark.parametrize("shape", ["landscape", "portrait", "tiny"])
def test_a_photo_is_prepared_as_open_clip_prepares_it(photos: dict[str, np.ndarray], shape: str) -> None:
    prepare = open_clip.image_transform(224, is_train=False, mean=(0, 0, 0), std=(1, 1, 1))
    wanted = prepare(Image.fromarray(photos[shape])).numpy() * 255
    np.testing.assert_allclose(clip_square(photos[shape], 224), wanted, atol=1e-3)


def test_names_are_those_of_open_clip(two: SamClip, clip: open_clip.CLIP, photos: dict[str, np.ndarray]) -> None:
    pixels = photos["landscape"]
    assert off(theirs(clip, pixels), two.look(pixels).image_features) < TOLERANCE
    guesses = two.look(pixels).classify(["cat", "cup"])
    words = two.words.features(["cat", "cup"])
    cosines = words @ theirs(clip, pixels).numpy()
    assert (guesses[0].label == "cat") == (cosines[0] > cosines[1])


def test_each_model_runs_once_and_only_when_it_is_asked(two: SamClip, monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[str] = []
    run = two.sessions.run
    monkeypatch.setattr(two.sessions, "run", lambda name, *rest, **given: ran.append(name) or run(name, *rest, **given))
    scene = two.look(PHOTO)
    assert ran == []
    scene.classify(["cat"])
    scene.classify(["cup"])
    assert (ran.count("clip_image_encoder"), ran.count("image_encoder")) == (1, 0)
    scene.segment(points=[[300, 200]])
    scene.segment(points=[[100, 200]])
    assert (ran.count("clip_image_encoder"), ran.count("image_encoder")) == (1, 1)


def test_a_mask_is_named_by_the_square_around_its_box(two: SamClip, clip: open_clip.CLIP) -> None:
    scene = two.look(PHOTO)
    mask = np.zeros((400, 600), bool)
    mask[100:140, 500:590] = True  # box 500..590, 100..140: a square of 90, 25 pixels more above and below
    assert off(theirs(clip, scene.pixels[75:165, 500:590]), scene.features_under(mask)) < TOLERANCE
    mask[:] = False
    mask[0:10, 500:600] = True  # in the corner the square is moved into the photo
    assert off(theirs(clip, scene.pixels[:100, 500:600]), scene.features_under(mask)) < TOLERANCE


def test_words_are_found_among_all_masks(two: SamClip, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name claims every mask whose chance reaches the least; a pixel goes to the name with the higher chance."""
    scene = two.look(PHOTO)
    every = scene.everything(settings=Settings(4, score=-99, stability=0.0, overlap=1.0))
    monkeypatch.setattr("samclip_edge.tasks.find.everything", lambda *_: every)
    names = ("cat", "cup")
    chances = {
        name: [two.judge.log_odds(scene.features_under(mask.bits), [name], ["background"])[0] for mask in every]
        for name in names
    }
    least = float(two.judge.chance("mask", 128, min(max(of_one) for of_one in chances.values()))) - 1e-6
    wanted, best = {}, {}
    for name in names:
        fit = [two.judge.chance("mask", 128, value) >= least for value in chances[name]]
        wanted[name] = np.any([mask.bits for mask, fits in zip(every, fit, strict=True) if fits], axis=0)
        best[name] = max(chances[name])
    weak, strong = sorted(names, key=lambda name: best[name])
    found = {mask.label: mask for mask in scene.find(names, min_score=least)}
    assert np.array_equal(found[strong].bits, wanted[strong])
    assert np.array_equal(found[weak].bits, wanted[weak] & ~wanted[strong])
    for name, mask in found.items():
        assert mask.score == pytest.approx(two.judge.chance("mask", 128, best[name]), rel=1e-5)
    with pytest.raises(InputError, match="map of patches"):
        scene.find(["cat"], refine=False)


def test_words_are_said_to_take_long(folder: Path, run: Callable[..., Ran]) -> None:
    ran = run("segment", data.photos()[0], "--text", "cat", "--bundle", folder)
    assert "SAM + CLIP: finds every mask of a photo before it looks for a name" in ran.err
    assert "before it looks" not in run("segment", data.photos()[0], "--point", "9,9", "--bundle", folder).err


def test_the_bundle_says_what_it_is_and_verifies(folder: Path) -> None:
    manifest = Bundle.open(folder).manifest
    assert manifest.kind == "sam+clip"
    names = {"image_encoder", "prompt_encoder", "mask_decoder", "clip_image_encoder", "text_encoder"}
    assert {graph.name for graph in manifest.graphs} == names
    assert all(row.ok for row in verify(Bundle.open(folder)))


def test_init_puts_both_towers_of_clip_into_a_checkpoint(
    run: Callable[..., Ran], spec: ModelSpec, clip: open_clip.CLIP, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(PRESETS, "sam+clip", spec)
    given, made = tmp_path / "clip.safetensors", tmp_path / "two.safetensors"
    state = {name: tensor.contiguous() for name, tensor in clip.state_dict().items()}
    save_file(state, given)
    ran = run("init", "--preset", "sam+clip", "--clip", given, "-o", made)
    assert ran.code == 0
    assert ran.err.endswith(f"untrained: CLIP from {given}, the rest random with seed 0\n")
    model, _ = checkpoint.load(made)
    for name, tensor in model.visual.state_dict().items():
        assert torch.equal(tensor, state[f"visual.{name}"])
    del state["visual.proj"]
    save_file(state, given)
    ran = run("init", "--preset", "sam+clip", "--clip", given, "-o", tmp_path / "other.safetensors")
    assert (ran.code, ran.err.count("\n")) == (2, 1)
    assert "1 missing: visual.proj" in ran.err


def test_the_preset_is_of_sam_vit_b_and_openclip_vit_b_16() -> None:
    """Key for key and shape for shape."""
    spec, config = PRESETS["sam+clip"], open_clip.get_model_config("ViT-B-16")
    with torch.device("meta"):
        ours = checkpoint.MergedModel(spec)
        clip = open_clip.CLIP(config["embed_dim"], config["vision_cfg"], config["text_cfg"])
    wanted = {name: tensor.shape for name, tensor in clip.state_dict().items() if name != "attn_mask"}
    visual = {f"visual.{name}": tensor.shape for name, tensor in ours.visual.state_dict().items()}
    assert visual | {name: tensor.shape for name, tensor in ours.text_encoder.state_dict().items()} == wanted
    assert (spec.encoder, spec.decoder) == (PRESETS["vit_b"].encoder, PRESETS["vit_b"].decoder)


def test_many_photos_go_through_clips_encoder_together(two: SamClip, monkeypatch: pytest.MonkeyPatch) -> None:
    photos, run, calls = [*data.photos(), *data.photos()], two.sessions.run, []

    def counted(name: str, *size: object, **inputs: np.ndarray) -> object:
        calls.append((name, len(inputs["image"])))
        return run(name, *size, **inputs)

    monkeypatch.setattr(two.sessions, "run", counted)
    many = list(two.look_many(photos, named=True))
    assert calls == [("clip_image_encoder", len(photos))]
    for photo, scene in zip(photos, many, strict=True):
        assert off(two.look(photo).image_features, scene.image_features) < TOLERANCE
    assert len(calls) == 1 + len(photos)  # and SAM's encoder ran for none


def test_the_things_of_a_library_have_what_clip_says_of_their_boxes(
    two: SamClip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(things_of, "PREDICTED_IOU", -np.inf)  # of random weights
    monkeypatch.setattr(things_of, "STABILITY", 0)
    library = Library.open(tmp_path / "library.db", two, things=True)
    library.add([PHOTO])
    store, scene = library.store, two.look(PHOTO)
    with store.file.reading():
        rows = store.rows("thing")
        things = [store.thing(id_) for id_ in rows.ids.tolist()]
        features = rows.features(np.arange(len(things)))
        (photo,) = store.rows("photo").features(np.arange(1))
    assert photo @ scene.image_features > 0.999
    assert things
    for thing, feature in zip(things, features, strict=True):
        x0, y0, x1, y1 = thing.box
        bits = np.zeros((scene.frame.height, scene.frame.width), bool)
        bits[y0:y1, x0:x1] = True
        assert feature @ scene.features_under(bits) > 0.97, "of a box that was rounded to a mask's pixels"
