"""`samclip-edge get`: from the name of a pair to answers, from a hub on this machine with small random files."""

from __future__ import annotations

import errno
import io
import os
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path

import huggingface_hub
import open_clip
import pytest
import torch
from safetensors.torch import save
from standin_hub import Hub, serving
from support import TOLERANCE, Ran, off, spread

from samclip_edge import SamClip, data
from samclip_edge.bundle.folder import Bundle
from samclip_edge.bundle.pairs import PAIRS, Pair, Remote
from samclip_edge.bundle.presets import PRESETS
from samclip_edge.bundle.spec import ClipVisionSpec
from samclip_edge.bundle.weights import MASKS, NAMES
from samclip_edge.model import checkpoint
from samclip_edge.model.merged import MergedModel
from samclip_edge.text.tokenizer import Tokenizer

COMMIT = "c0ffee" * 6 + "abcd"
VISION = {"image_size": 32, "layers": 1, "width": 64, "head_width": 16, "patch_size": 16}
TEXT = {"context_length": 77, "vocab_size": 2562, "width": 64, "heads": 4, "layers": 1}
SAM, CLIP = (
    Remote("org/sam", "sam.pt", 1, "Apache-2.0"),
    Remote("org/clip", "clip.safetensors", 1, "MIT", model="small"),
)
RESEARCH = CLIP._replace(license="apple-amlr")


@pytest.fixture(scope="module")
def clip() -> open_clip.CLIP:
    model = open_clip.CLIP(embed_dim=48, vision_cfg=VISION, text_cfg=TEXT).eval()
    spread(model, seed=1)
    return model


@pytest.fixture(scope="module")
def hub(clip: open_clip.CLIP, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    """A hub with the small pair, and a program that knows it."""
    tiny = PRESETS["tiny"]
    tiny = tiny.model_copy(update={"encoder": tiny.encoder.model_copy(update={"depth": 1, "global_layers": (0,)})})
    sam, file = MergedModel(tiny), io.BytesIO()
    spread(sam, seed=2)
    parts = ("image_encoder", "prompt_encoder", "mask_decoder")
    torch.save({name: each for name, each in sam.state_dict().items() if name.startswith(parts)}, file)
    templates = tmp_path_factory.mktemp("templates") / "two.json"
    templates.write_text('["a photo of a {}.", "a {}."]')
    two = tiny.model_copy(update={"name": "sam+clip", "clip_vision": ClipVisionSpec.vit(64, 1, 4)})
    with serving() as hub, pytest.MonkeyPatch.context() as patch:
        hub.stand_in(tmp_path_factory.mktemp("cache"), patch)
        hub.put("org/sam", "sam.pt", file.getvalue(), COMMIT)
        hub.put("org/clip", "clip.safetensors", save(dict(clip.state_dict())), COMMIT)
        patch.setattr(data, "TEMPLATES", templates)
        patch.setattr(
            open_clip, "get_model_config", lambda _: {"embed_dim": 48, "vision_cfg": VISION, "text_cfg": TEXT}
        )
        patch.setitem(PRESETS, "tiny", tiny)
        patch.setitem(PRESETS, "sam+clip", two)
        patch.setitem(PAIRS, "small", Pair(SAM, CLIP, "tests"))
        patch.setitem(PAIRS, "bound", Pair(SAM, RESEARCH, "tests"))
        yield hub


@pytest.fixture(scope="module")
def made(hub: Hub, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of what `get` wrote: the bundle, and the checkpoint."""
    from samclip_edge.export.get import get

    folder = tmp_path_factory.mktemp("made")
    get("small", folder / "bundle", [128], vocabulary=["cat"], kept=folder / "pair.safetensors")
    return folder


def test_the_bundle_answers_as_the_two_models(made: Path, clip: open_clip.CLIP) -> None:
    bundle = Bundle.open(made / "bundle")
    assert (bundle.manifest.kind, bundle.manifest.trained) == ("sam+clip", True)
    model = SamClip.load(made / "bundle")
    tokens = torch.from_numpy(Tokenizer.of(bundle.manifest.spec.text)(["a photo of a cat.", "a cat."]))
    with torch.no_grad():
        padded = torch.nn.functional.pad(tokens, (0, 77 - tokens.shape[1]))
        wanted = torch.nn.functional.normalize(clip.encode_text(padded, normalize=True).mean(0), dim=0)
    assert off(wanted, model.words.features(["cat"])[0]) < TOLERANCE
    assert model.look(data.photos()[0]).segment(points=[[60, 80]])


def test_the_manifest_says_what_was_fetched(hub: Hub, made: Path) -> None:
    digests = {name: sha256(content).hexdigest() for (_, name), content in hub.files.items()}
    weights = Bundle.open(made / "bundle").manifest.weights
    assert [(w.what, w.repository, w.file, w.revision, w.sha256, w.license) for w in weights] == [
        (MASKS, "org/sam", "sam.pt", COMMIT, digests["sam.pt"], "Apache-2.0"),
        (NAMES, "org/clip", "clip.safetensors", COMMIT, digests["clip.safetensors"], "MIT"),
    ]


def test_the_checkpoint_stays_where_it_is_asked_for(made: Path) -> None:
    spec, origin = checkpoint.read_spec(made / "pair.safetensors")
    assert spec == Bundle.open(made / "bundle").manifest.spec
    assert origin.weights == Bundle.open(made / "bundle").manifest.weights


def test_init_of_the_same_files_is_trained_too_but_not_of_one_alone(
    hub: Hub, run: Callable[..., Ran], tmp_path: Path
) -> None:
    """Names mean something where both models are there."""
    for (_, name), content in hub.files.items():
        (tmp_path / name).write_bytes(content)
    both = ["--preset", "sam+clip", "--sam", tmp_path / "sam.pt", "--clip", f"small:{tmp_path / 'clip.safetensors'}"]
    out = tmp_path / "out.safetensors"
    for options, trained in ((both, True), (both[:4], False)):
        ran = run("init", *options, "-o", out, "--json")
        assert ran.code == 0, ran.err
        assert ran.json["trained"] is checkpoint.read_spec(out)[1].trained is trained


def test_options_go_where_export_has_them_and_the_answer_is_that_of_export(
    hub: Hub, made: Path, run: Callable[..., Ran], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names, asked = tmp_path / "names.txt", []
    names.write_text("cat\ndog\n")

    def get(*options: object) -> Bundle:
        asked.extend(options[:-1])
        return Bundle.open(made / "bundle")

    monkeypatch.setattr("samclip_edge.export.get.get", get)
    options = ["--size", 128, "--precision", "int8", "--vocabulary", names, "-o", tmp_path / "x"]
    ran = run("get", "small", *options, "--json")
    assert asked == ["small", tmp_path / "x", ["128"], "int8", ["cat", "dog"], None, None]
    assert (ran.code, ran.err.splitlines()[0]) == (0, "small: 2 MB from the hub, or from its cache")
    assert {each["name"] for each in ran.json["graphs"]} >= {"image_encoder", "clip_image_encoder"}


def refused(ran: Ran, told: str, folder: Path, code: int = 2) -> None:
    """It ended with one line that says what and nothing was written."""
    lines = [line for line in ran.err.splitlines() if line.startswith("error: ")]
    assert (ran.code, len(lines), ran.out) == (code, 1, ""), ran.err
    assert told in lines[0]
    assert not list(folder.iterdir())


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["-o", "x"], "PAIR: name one; `samclip-edge get --list` shows them"),
        (["nothing", "-o", "x"], "PAIR nothing: no such pair; choose mobilesam+vit-b-32, "),
        (["small"], "-o: name the folder to write"),
        (["small", "-o", "x", "--precision", "palette8"], "--precision palette8: choose fp32, fp16, int8"),
        (["small", "-o", "x", "--checkpoint", "x.pt"], "--checkpoint x.pt: end the name in .safetensors"),
        (["small", "-o", "x", "--vocabulary", "none.txt"], "--vocabulary none.txt: cannot be read"),
        (["bound", "-o", "x"], "--accept: org/clip is under apple-amlr, for research only; accept apple-amlr"),
        (["bound", "-o", "x", "--accept", "MIT"], "--accept MIT: org/clip is under apple-amlr"),
    ],
)
def test_nothing_is_fetched_for_what_cannot_be_made(
    hub: Hub, run: Callable[..., Ran], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], told: str
) -> None:
    monkeypatch.chdir(tmp_path)
    before = hub.asked_for_files()
    refused(run("get", *arguments), told, tmp_path)
    assert hub.asked_for_files() == before


def test_nothing_is_fetched_for_a_folder_of_other_files(hub: Hub, run: Callable[..., Ran], tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    before = hub.asked_for_files()
    ran = run("get", "small", "-o", tmp_path)
    assert (ran.code, hub.asked_for_files(), os.listdir(tmp_path)) == (2, before, ["notes.txt"])
    assert "holds other files" in ran.err


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(("answer", "fetched"), [("y\n", True), ("n\n", False)])
def test_at_a_terminal_the_licence_is_shown_and_asked_for(
    hub: Hub, run: Callable[..., Ran], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: str, fetched: bool
) -> None:
    monkeypatch.setattr("sys.stdin", Terminal(answer))
    monkeypatch.setitem(hub.refused, "org/sam", (404, "EntryNotFound"))  # far enough
    before = hub.asked_for_files()
    ran = run("get", "bound", "-o", tmp_path / "x")
    assert "org/clip is under apple-amlr, for research only" in ran.err
    assert (hub.asked_for_files() > before) is fetched
    refused(ran, "its repository has no such file" if fetched else "--accept: ", tmp_path)


@pytest.mark.parametrize(
    ("refusal", "told"),
    [
        ((401, "RepoNotFound"), "org/sam/sam.pt: no repository of the hub that you may read"),
        ((403, "GatedRepo"), "org/sam/sam.pt: its repository asks for consent"),
    ],
)
def test_what_the_hub_refuses_is_told_and_nothing_is_written(
    hub: Hub,
    run: Callable[..., Ran],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    refusal: tuple[int, str],
    told: str,
) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setitem(hub.refused, "org/sam", refusal)
    (tmp_path / "out").mkdir()
    refused(run("get", "small", "-o", tmp_path / "out" / "x"), told, tmp_path / "out")


def test_another_file_than_the_published_one_is_a_no(
    hub: Hub, run: Callable[..., Ran], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(PAIRS, "small", Pair(SAM._replace(sha256=64 * "a"), CLIP, "tests"))
    refused(run("get", "small", "-o", tmp_path / "x"), "org/sam/sam.pt: its sha256 is ", tmp_path, code=1)


def test_a_full_disk_leaves_nothing_half_written(
    hub: Hub, run: Callable[..., Ran], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(checkpoint, "save_file", full)
    refused(run("get", "small", "-o", tmp_path / "x"), "No space left on device", tmp_path)


def test_pairs_are_listed_with_their_licences(run: Callable[..., Ran]) -> None:
    told = run("get", "--list")
    assert told.code == 0
    for name, pair in PAIRS.items():
        assert f"{name}: {pair.megabytes} MB; for {pair.good_for}" in told.out
    assert "timm/MobileCLIP2-S0-OpenCLIP, 299 MB, licence apple-amlr, FOR RESEARCH ONLY" in told.out
    document = run("get", "--list", "--json").json["pairs"]
    assert [each["pair"] for each in document] == list(PAIRS)
    assert {each["pair"] for each in document if any(f["research_only"] for f in each["files"])} == {
        "mobilesam+mobileclip2-s0"
    } | ({"bound"} & PAIRS.keys())
