"""Whose weights a model is made of, and under which licence: from the files of `init` to what `info` prints."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import pytest
import torch
from support import Ran

from samclip_edge import data
from samclip_edge.bundle import weights
from samclip_edge.bundle.folder import Bundle
from samclip_edge.bundle.weights import MASKS, NAMES, Weights, research_only, weights_of
from samclip_edge.model import checkpoint
from samclip_edge.model.merged import MergedModel

RESEARCH = Weights(what=NAMES, file="a.pt", repository="org/clip", revision="c0ffee" * 6 + "abcd", license="apple-amlr")
FREE = Weights(what=MASKS, file="sam.pth", sha256="0" * 64, license="Apache-2.0")


@pytest.fixture
def sam(tmp_path: Path, tiny_checkpoint: Path) -> Path:
    """A SAM's file."""
    model: MergedModel = checkpoint.load(tiny_checkpoint)[0]
    parts = ("image_encoder", "prompt_encoder", "mask_decoder")
    state = {name: each for name, each in model.state_dict().items() if name.startswith(parts)}
    torch.save(state, tmp_path / "sam.pth")
    return tmp_path / "sam.pth"


def test_init_writes_down_the_files_that_it_read(run: Callable[..., Ran], sam: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.safetensors"
    ran = run("init", "--preset", "tiny", "--sam", sam, "-o", out, "--json")
    assert ran.code == 0, ran.err
    wanted = Weights(what=MASKS, file="sam.pth", sha256=sha256(sam.read_bytes()).hexdigest())
    assert checkpoint.read_spec(out)[1].weights == (wanted,)
    assert ran.json["weights"] == [wanted.model_dump()]


def test_a_licence_is_known_by_the_bytes_of_a_published_file(sam: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert weights_of(sam, None)[0].license is None
    monkeypatch.setattr(weights, "LICENSES", {sha256(sam.read_bytes()).hexdigest(): "Apache-2.0"})
    assert weights_of(sam, f"ViT-B-16:{sam}") == (
        Weights(what=MASKS, file="sam.pth", sha256=sha256(sam.read_bytes()).hexdigest(), license="Apache-2.0"),
        Weights(what=NAMES, file="sam.pth", sha256=sha256(sam.read_bytes()).hexdigest(), license="Apache-2.0"),
    )


def test_weights_that_open_clip_fetches_go_by_their_tag() -> None:
    assert weights_of(None, "ViT-L-14:datacomp_xl") == (Weights(what=NAMES, file="ViT-L-14:datacomp_xl"),)


def test_a_licence_for_research_is_told_from_others() -> None:
    assert research_only((FREE,)) is None
    assert research_only((FREE, RESEARCH)) == "for research only, by the licence of org/clip (apple-amlr)"


def test_info_prints_whose_weights_they_are(run: Callable[..., Ran], tmp_path: Path) -> None:
    bundle = shutil.copytree(data.TINY, tmp_path / "bundle")
    path = bundle / "manifest.json"
    manifest = json.loads(path.read_text())
    path.write_text(json.dumps({**manifest, "weights": [FREE.model_dump(), RESEARCH.model_dump()]}))
    told = run("info", bundle).out.splitlines()
    assert f"{MASKS}: sam.pth; licence Apache-2.0; sha256 0000000000000000" in told
    assert f"{NAMES}: org/clip at c0ffeec0ffee, a.pt; licence apple-amlr, FOR RESEARCH ONLY" in told
    assert "for research only, by the licence of org/clip (apple-amlr)" in told
    assert [each["license"] for each in run("info", bundle, "--json").json["manifest"]["weights"]] == [
        "Apache-2.0",
        "apple-amlr",
    ]


def test_older_bundles_do_not_say(run: Callable[..., Ran]) -> None:
    assert Bundle.open(data.TINY).manifest.weights == ()
    assert "licence" not in run("info", data.TINY).out
