"""Checkpoints: what fits is read, what does not is named, what is dangerous is refused."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from support import Ran, as_model

from samclip_edge.bundle.presets import PRESETS
from samclip_edge.errors import InputError
from samclip_edge.model import checkpoint
from samclip_edge.model.merged import MergedModel


def sam_part(model: MergedModel) -> dict[str, torch.Tensor]:
    return {
        k: v
        for k, v in model.state_dict().items()
        if k.split(".")[0] in ("image_encoder", "prompt_encoder", "mask_decoder")
    }


@pytest.fixture(scope="module")
def model(tiny_checkpoint: Path) -> MergedModel:
    return checkpoint.load(tiny_checkpoint)[0]


def test_a_checkpoint_carries_its_spec_and_its_origin(tiny_checkpoint: Path, model: MergedModel) -> None:
    again, origin = checkpoint.load(tiny_checkpoint)
    assert again.spec == PRESETS["tiny"]
    assert origin == checkpoint.Origin(trained=False, note="spread at random for tests")
    assert all(torch.equal(a, b) for a, b in zip(model.state_dict().values(), again.state_dict().values(), strict=True))


def test_an_older_checkpoint_says_whether_it_was_trained_on_rendered_scenes(tmp_path: Path, model: MergedModel) -> None:
    """Before the field, only `tiny` was ever trained, and on those; a merged checkpoint never was."""
    path = tmp_path / "old.safetensors"
    for trained in (True, False):
        old = {"spec": model.spec.model_dump(), "origin": {"trained": trained, "note": ""}}
        save_file(model.state_dict(), path, {"samclip_edge": json.dumps(old)})
        origin = checkpoint.read_spec(path)[1]
        assert origin.rendered is trained
        assert origin.trained_at == ((128, 256) if trained else None)
    new = checkpoint.Origin(trained=True, rendered=False, note="", trained_at=(128,))
    assert checkpoint.load(checkpoint.save(model, path, new))[1] == new


def test_init_is_reproducible_and_starts_the_head(run: Callable[..., Ran], tmp_path: Path) -> None:
    files = [tmp_path / f"{name}.safetensors" for name in ("a", "b", "c")]
    for file, seed in zip(files, (4, 4, 5), strict=True):
        ran = run("init", "--preset", "tiny", "--seed", seed, "-o", file, "--json")
        assert ran.code == 0
        assert ran.json["parameters"]["image_encoder"] == sum(
            p.numel() for p in MergedModel(PRESETS["tiny"]).image_encoder.parameters()
        )
    a, b, c = (load_file(file) for file in files)
    assert all(torch.equal(a[name], b[name]) for name in a)
    assert not torch.equal(a["image_encoder.pos_embed"], c["image_encoder.pos_embed"])
    for layer in (0, 1, 2):
        assert torch.equal(a[f"clip_head.blocks.{layer}.attn.qkv.weight"], a["image_encoder.blocks.3.attn.qkv.weight"])


def test_public_weights_land_key_for_key(run: Callable[..., Ran], tmp_path: Path, model: MergedModel) -> None:
    text = {**model.text_encoder.state_dict(), "visual.proj": torch.zeros(3)}
    torch.save({f"module.{k}": v for k, v in sam_part(model).items()}, tmp_path / "sam.pth")
    torch.save({"state_dict": text}, tmp_path / "clip.pt")
    out = tmp_path / "merged.safetensors"
    config = {"embed_dim": 128, "quick_gelu": True, "vision_cfg": {}}
    config["text_cfg"] = {"vocab_size": 2562, "width": 128, "heads": 4, "layers": 3}
    clip = f"{as_model(tmp_path, 'of-tiny-quickgelu', config)}:{tmp_path / 'clip.pt'}"
    assert run("init", "--preset", "tiny", "--sam", tmp_path / "sam.pth", "--clip", clip, "-o", out).code == 0
    merged, origin = checkpoint.load(out)
    for name, tensor in merged.state_dict().items():
        if not name.startswith("clip_head."):
            assert torch.equal(tensor, model.state_dict()[name]), name
    assert merged.spec.text.activation == "quick_gelu"
    assert "sam.pth" in origin.note


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda s: s.pop("mask_decoder.iou_token.weight"), "1 missing: mask_decoder.iou_token.weight"),
        (lambda s: s.update(extra=torch.zeros(1)), "1 left over: extra"),
        (
            lambda s: s.update({"image_encoder.pos_embed": torch.zeros(1, 2, 2, 128)}),
            "1 of another shape: image_encoder.pos_embed",
        ),
    ],
)
def test_keys_that_do_not_fit_are_listed(
    run: Callable[..., Ran],
    tmp_path: Path,
    model: MergedModel,
    change: Callable[[dict[str, torch.Tensor]], object],
    said: str,
) -> None:
    state = sam_part(model)
    change(state)
    torch.save(state, tmp_path / "sam.pth")
    ran = run("init", "--preset", "tiny", "--sam", tmp_path / "sam.pth", "-o", tmp_path / "out.safetensors")
    assert ran.code == 2
    assert said in ran.err
    assert ran.err.count("\n") == 1
    assert not (tmp_path / "out.safetensors").exists()


class Evil:
    """What runs when a careless program unpickles it."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (f"touch {self.mark}",)


def test_a_pickle_with_code_in_it_is_refused_and_not_run(run: Callable[..., Ran], tmp_path: Path) -> None:
    mark = tmp_path / "it-ran"
    for name, write in {
        "plain.pth": lambda path: path.write_bytes(pickle.dumps(Evil(mark))),
        "zip.pth": lambda path: torch.save({"weight": Evil(mark)}, path),
    }.items():
        write(tmp_path / name)
        ran = run("init", "--preset", "tiny", "--sam", tmp_path / name, "-o", tmp_path / "out.safetensors")
        assert ran.code == 2
        assert ran.err.startswith(f"error: {tmp_path / name}: refused")
        assert ran.err.count("\n") == 1
    assert not mark.exists()
    assert not (tmp_path / "out.safetensors").exists()


def test_a_torchscript_archive_is_refused_with_the_way_to_convert_it(run: Callable[..., Ran], tmp_path: Path) -> None:
    """OpenAI's own files are such archives. What the printed command writes is read, with all its tensors."""
    linear = torch.nn.Linear(3, 2)
    torch.jit.trace(linear, torch.zeros(1, 3)).save(str(tmp_path / "ViT-L-14.pt"))
    ran = run("init", "--preset", "tiny", "--clip", tmp_path / "ViT-L-14.pt", "-o", tmp_path / "out.safetensors")
    assert (ran.code, ran.err.count("\n")) == (2, 1)
    assert "TorchScript" in ran.err
    command = ran.err.strip().partition("python -c ")[2].strip('"')
    subprocess.run([sys.executable, "-c", command], check=True, cwd=tmp_path)
    state = checkpoint.read_state(tmp_path / "clip.pt")
    assert {name: tensor.tolist() for name, tensor in state.items()} == {
        name: tensor.tolist() for name, tensor in linear.state_dict().items()
    }


def test_damaged_and_foreign_checkpoints_are_named(tmp_path: Path, tiny_checkpoint: Path) -> None:
    data = tiny_checkpoint.read_bytes()
    foreign, bad_spec = tmp_path / "foreign.safetensors", tmp_path / "spec.safetensors"
    save_file({"a": torch.zeros(2)}, foreign)
    save_file({"a": torch.zeros(2)}, bad_spec, {"samclip_edge": '{"spec": {"name": 3}}'})
    cases = {
        "short.safetensors": data[: len(data) // 2],
        "empty.safetensors": b"",
        "text.pth": b"hello",
        "empty.pth": b"",
    }
    for name, content in cases.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(InputError, match=name):
            checkpoint.read_state(tmp_path / name)
    for path in (foreign, bad_spec, tmp_path / "text.pth", tmp_path / "nowhere.safetensors", tmp_path):
        with pytest.raises(InputError, match=path.name):
            checkpoint.load(path)
    torch.save([1, 2], tmp_path / "list.pth")
    with pytest.raises(InputError, match="state dict"):
        checkpoint.read_state(tmp_path / "list.pth")


def test_a_failed_save_leaves_the_old_checkpoint(
    tmp_path: Path, model: MergedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(b"old")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint, "save_file", full)
    with pytest.raises(InputError, match="No space left"):
        checkpoint.save(model, path, checkpoint.Origin(note=""))
    assert [file.name for file in tmp_path.iterdir()] == ["model.safetensors"]
    assert path.read_bytes() == b"old"


def test_init_names_bad_options(run: Callable[..., Ran], tmp_path: Path) -> None:
    out = tmp_path / "o.safetensors"
    for arguments, named in (
        (("--preset", "huge", "-o", out), "--preset huge"),
        (("--preset", "tiny", "-o", tmp_path / "o.bin"), "-o"),
        (("--preset", "tiny", "--clip", "nothing", "-o", out), "--clip nothing"),
        (("--preset", "tiny", "--clip", "ViT-L-14:no_such_tag", "-o", out), "--clip ViT-L-14:no_such_tag"),
        (("--preset", "tiny", "--sam", tmp_path / "no.pth", "-o", out), "no.pth"),
        (("--preset", "tiny"), "-o"),
    ):
        ran = run("init", *arguments)
        assert (ran.code, ran.err.count("\n"), ran.out) == (2, 1, "")
        assert named in ran.err
    assert not list(tmp_path.iterdir())
