"""`init --preset radio`: a checkpoint of C-RADIO's folder and of SAM's file, and what the two are licensed under."""

from __future__ import annotations

from pathlib import Path

import pytest
import radio
import torch
from support import cli

from samclip_edge.bundle.presets import PRESETS
from samclip_edge.bundle.weights import weights_of
from samclip_edge.model import checkpoint
from samclip_edge.model.radio_files import read_radio


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return radio.write(tmp_path / "C-RADIO", radio.state())


def test_init_makes_a_checkpoint_of_the_folder_and_of_sams_file(
    folder: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(PRESETS, "radio", radio.SPEC)
    (folder / "README.md").write_text("---\nlicense: other\nlicense_name: nvidia-open-model-license\n---\n")
    other = checkpoint.build(radio.SPEC, seed=9)
    sam = {name: each for name, each in other.state_dict().items() if name.startswith(("prompt_", "mask_"))}
    sam |= {f"image_encoder.neck.{name}": each for name, each in other.image_encoder.neck.state_dict().items()}
    sam["image_encoder.pos_embed"] = torch.zeros(1, 8, 8, 40)  # and what else there is of SAM's own trunk
    torch.save(sam, tmp_path / "sam.pth")
    output = tmp_path / "made.safetensors"
    asked = ("init", "--preset", "radio", "--radio", folder, "--sam", tmp_path / "sam.pth", "-o", output, "--json")
    said = cli(capfd, monkeypatch, *asked)
    assert said.code == 0, said.err
    assert [(each["what"], each["license"]) for each in said.json["weights"]] == [
        ("image encoder and adaptors", "nvidia-open-model-license"),
        ("image encoder and masks", None),
    ]
    made, origin = checkpoint.load(output)
    assert origin.note.startswith(f"C-RADIO from {folder}, SAM from ")
    state = made.state_dict()
    assert all(torch.equal(each, state[name]) for name, each in sam.items() if name in state)
    assert all(torch.equal(each, state[name]) for name, each in read_radio(folder).state.items())
    assert sum(said.json["parameters"].values()) == sum(each.numel() for each in made.parameters())


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (("--preset", "radio", "--clip", "{folder}"), "--clip {folder}: does not say which of C-RADIO's teachers it"),
        (("--preset", "tiny"), "--radio {folder}: is for the preset radio, and tiny has an encoder of its own"),
        (("-o", "{folder}/made.safetensors"), "-o {folder}/made.safetensors: lies in the folder of --radio, whose"),
    ],
)
def test_init_says_what_does_not_go_with_the_folder(
    folder: Path,
    tmp_path: Path,
    asked: tuple[str, ...],
    message: str,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    given = ("-o", str(tmp_path / "made.safetensors"), *(each.format(folder=folder) for each in asked))
    said = cli(capfd, monkeypatch, "init", "--radio", folder, *given)
    assert said.code == 2
    assert message.format(folder=folder) in said.err


@pytest.mark.parametrize(
    ("page", "license"),
    [
        ('license: other\nlicense_name: "nsclv1"\n', "nsclv1"),
        ("license_name:\nlicense_link: LICENSE\nlicense: cc-by-nc-4.0\n", "cc-by-nc-4.0"),
        ("no licence\n", None),
    ],
)
def test_the_licence_is_that_of_the_hubs_page(folder: Path, page: str, license: str | None) -> None:
    (folder / "README.md").write_text(f"---\n{page}---\n")
    assert {each.license for each in weights_of(None, None, folder)} == {license}
