"""Files of weights: what people have goes in, whatever it is wrapped in; what is no weights is named and refused."""

from __future__ import annotations

import gzip
import io
import json
import pickle
import tarfile
import zipfile
from argparse import Namespace
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from safetensors.torch import save_file
from support import Ran

from samclip_edge.bundle.presets import PRESETS
from samclip_edge.data import TINY
from samclip_edge.errors import InputError
from samclip_edge.model import checkpoint
from samclip_edge.model.merged import MergedModel

State = dict[str, torch.Tensor]
PARTS = ("image_encoder", "prompt_encoder", "mask_decoder")


@pytest.fixture(scope="module")
def model(tiny_checkpoint: Path) -> MergedModel:
    return checkpoint.load(tiny_checkpoint)[0]


@pytest.fixture(scope="module")
def sam(model: MergedModel) -> State:
    return {name: each for name, each in model.state_dict().items() if name.startswith(PARTS)}


@pytest.fixture(scope="module")
def clip(model: MergedModel) -> State:
    return {**model.text_encoder.state_dict(), "visual.conv1.weight": torch.zeros(64, 3, 16, 16)}


def prefixed(state: State, prefix: str) -> State:
    return {f"{prefix}{name}": each for name, each in state.items()}


def as_sam(path: Path) -> State:
    """What of SAM a model takes from a file."""
    built = checkpoint.build(PRESETS["tiny"], sam=path).state_dict()
    return {name: each for name, each in built.items() if name.startswith(PARTS)}


def same(a: State, b: State) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


PREFIXES = ["module.", "_orig_mod.", "model.", "sam.", "net."]


@pytest.mark.parametrize(
    "prefix", [*PREFIXES, "module._orig_mod.", "_orig_mod.module.model.", "net.sam.module.", "model.model."]
)
def test_prefixes_of_names_come_off_alone_and_combined(tmp_path: Path, sam: State, clip: State, prefix: str) -> None:
    torch.save(prefixed(sam, prefix), tmp_path / "sam.pth")
    assert same(as_sam(tmp_path / "sam.pth"), sam)
    torch.save(prefixed(clip, prefix), tmp_path / "clip.pt")
    assert same(checkpoint.read_state(tmp_path / "clip.pt"), clip)


def test_a_part_that_was_wrapped_alone_loses_its_wrapper(tmp_path: Path, sam: State) -> None:
    """As after `sam.image_encoder = torch.compile(sam.image_encoder)`."""
    for wrapper in ("_orig_mod", "module"):
        torch.save(
            {k.replace("image_encoder.", f"image_encoder.{wrapper}."): v for k, v in sam.items()}, tmp_path / "a"
        )
        assert same(as_sam(tmp_path / "a"), sam)


def test_a_prefix_comes_off_beside_weights_of_a_loss(tmp_path: Path, sam: State) -> None:
    torch.save({**prefixed(sam, "model."), "loss.pos_weight": torch.ones(1)}, tmp_path / "lightning.ckpt")
    with pytest.raises(InputError, match=r"preset tiny\. 1 left over: loss\.pos_weight\. "):
        as_sam(tmp_path / "lightning.ckpt")


def test_names_that_only_look_wrapped_stay(tmp_path: Path) -> None:
    """Neither where other names have no such prefix, nor where two would become one."""
    for state in (
        {"model.weight": torch.ones(1), "bias": torch.ones(1)},
        {"model.visual.proj": torch.ones(1), "net.visual.proj": torch.zeros(1)},
    ):
        torch.save(state, tmp_path / "a.pth")
        assert same(checkpoint.read_state(tmp_path / "a.pth"), state)


@pytest.mark.parametrize(
    "wrap",
    [
        lambda s: {"model": s},
        lambda s: {"model_state_dict": s, "optimizer_state_dict": {"state": {0: {"step": torch.ones(1)}}}},
        lambda s: {"state_dict": s, "epoch": 3, "args": {"lr": 1e-4, "name": "a", "sizes": [1, 2]}},
        lambda s: {"epoch": 3, "model": {"state_dict": prefixed(s, "module.")}, "loss": torch.ones(1)},
        lambda s: {
            "model": s,
            "args": Namespace(lr=1e-4, out=Path("runs")),
            "best": defaultdict(dict),
        },
        lambda s: {"module": s, "dp_world_size": 8},  # DeepSpeed's
        lambda s: {**s, "epoch": 3},
    ],
)
def test_the_model_is_found_in_the_checkpoint_of_a_training(
    tmp_path: Path, sam: State, wrap: Callable[[State], dict[str, Any]]
) -> None:
    torch.save(wrap(sam), tmp_path / "last.pt")
    assert same(as_sam(tmp_path / "last.pt"), sam)


def test_persistent_means_are_no_fault(tmp_path: Path, sam: State, caplog: pytest.LogCaptureFixture) -> None:
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in ([123.675, 116.28, 103.53], [58.395, 57.12, 57.375]))
    torch.save({**prefixed(sam, "sam."), "sam.pixel_mean": mean, "pixel_std": std}, tmp_path / "sam.pth")
    assert same(as_sam(tmp_path / "sam.pth"), sam)
    assert not caplog.records
    torch.save({**sam, "pixel_mean": 0 * mean, "pixel_std": std / 255}, tmp_path / "sam.pth")
    assert same(as_sam(tmp_path / "sam.pth"), sam)
    assert [record.message.partition(": ")[2][:22] for record in caplog.records] == ["has another pixel_mean"]


def test_bytes_tell_the_format_and_not_the_name(
    tmp_path: Path, sam: State, tiny_checkpoint: Path, run: Callable[..., Ran]
) -> None:
    save_file(sam, tmp_path / "sam.pth")
    torch.save(sam, tmp_path / "sam.safetensors")
    torch.save(sam, tmp_path / "old.bin", _use_new_zipfile_serialization=False)
    for name in ("sam.pth", "sam.safetensors", "old.bin"):
        out = tmp_path / "out.safetensors"
        assert run("init", "--preset", "tiny", "--sam", tmp_path / name, "-o", out).code == 0
        taken = checkpoint.load(out)[0].state_dict()
        assert all(torch.equal(taken[key], sam[key]) for key in sam)
    (tmp_path / "mine.ckpt").write_bytes(tiny_checkpoint.read_bytes())
    assert checkpoint.load(tmp_path / "mine.ckpt")[0].spec.name == "tiny"


def zipped(**files: bytes) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        for name, data in files.items():
            archive.writestr(name.replace("__", "."), data)
    return made.getvalue()


def tarred() -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("storages"))
    return made.getvalue()


def an_array() -> bytes:
    made = io.BytesIO()
    np.save(made, np.zeros(3))
    return made.getvalue()


def a_graph() -> bytes:
    graph = onnx.helper.make_graph([], "g", [], [])
    return onnx.helper.make_model(graph, producer_name="pytorch").SerializeToString()


FOREIGN = {
    "a web page": b"\n<!DOCTYPE html><html><body>Quota exceeded</body></html>",
    "an XML file": b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>',
    "a Git LFS pointer": b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 375042383\n",
    "an ONNX graph": a_graph(),
    "a TensorFlow SavedModel": b"\x08\x01\x12\x04abcd",
    "a TensorFlow Lite model": b"\x1c\0\0\0TFL3\0\0",
    "a gzip archive": gzip.compress(b"abc"),
    "a tar archive": tarred(),
    "a zip archive around a file of weights": zipped(sam__pth=b"abc"),
    "an archive of NumPy arrays": zipped(a__npy=b"abc"),
    "a zip archive that torch did not write": zipped(readme__txt=b"abc"),
    "a zip archive that is damaged or ends too soon": zipped(a=b"abc")[:20],
    "a GGUF file": b"GGUF\x03\0\0\0",
    "an HDF5 file": b"\x89HDF\r\n\x1a\n\0",
    "a NumPy array": an_array(),
    "a MessagePack file": b"\x82\xa6params\x81\xa5layer\xc0",
    "the index of a checkpoint in several files": json.dumps({"metadata": {}, "weight_map": {"a": "b"}}).encode(),
    "a JSON file": b'{"architectures": ["SamModel"]}',
    "a text file": b"Not found\n",
    "an empty file": b"",
    "no file of weights that is known here": bytes(range(200, 256)),
}


@pytest.mark.parametrize("what", FOREIGN)
def test_a_file_of_another_kind_is_named(tmp_path: Path, what: str, run: Callable[..., Ran]) -> None:
    for name in ("sam.pth", "sam.safetensors"):
        path = tmp_path / name
        path.write_bytes(FOREIGN[what])
        ran = run("init", "--preset", "tiny", "--sam", path, "-o", tmp_path / "out.safetensors")
        assert (ran.code, ran.err.count("\n")) == (2, 1)
        assert ran.err.startswith(f"error: {path}: {what}")
    with pytest.raises(InputError, match=what):
        checkpoint.load(path)


def test_a_folder_says_what_to_pass(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"")
    with pytest.raises(InputError, match=r"a folder; pass a file in it, as model\.safetensors"):
        checkpoint.read_state(tmp_path)
    with pytest.raises(InputError, match="a bundle, which holds graphs"):
        checkpoint.read_state(TINY)


def test_a_file_that_cannot_be_read_is_named() -> None:
    with pytest.raises(InputError, match="/proc/self/mem: cannot be read"):
        checkpoint.read_state(Path("/proc/self/mem"))


@pytest.mark.parametrize(
    ("loaded", "said"),
    [
        ({0: torch.ones(1)}, "names a tensor 0, which is no text"),
        ({("a", 1): torch.ones(1)}, r"names a tensor \('a', 1\)"),
        ({"model": {1: torch.ones(1)}}, "names a tensor 1, "),
        ({"image_encoder": {"a": torch.ones(1)}}, r"holds no state dict of tensors \(it holds image_encoder\)"),
        ({}, "holds no state dict"),
        (torch.ones(1), "holds no state dict"),
        ({"a": torch.eye(9).to_sparse()}, "a is a sparse tensor"),
        ({"a": torch.quantize_per_tensor(torch.ones(9), 0.1, 0, torch.qint8)}, "a is quantised"),
        ({"a": torch.ones(9, device="meta")}, "a is without values"),
        ({"a": torch.ones(1).expand(10**15)}, "a claims 1000000000000000 values"),
        (torch.nn.Linear(1, 1), r"refused, the pickle holds torch\.nn\.modules\.linear\.Linear, "),
    ],
)
def test_what_is_no_state_dict_of_arrays_is_refused(tmp_path: Path, loaded: Any, said: str) -> None:
    torch.save(loaded, tmp_path / "a.pth")
    with pytest.raises(InputError, match=said) as caught:
        checkpoint.read_state(tmp_path / "a.pth")
    assert "\n" not in str(caught.value)


def test_a_pickle_that_holds_itself_is_refused(tmp_path: Path) -> None:
    loop: dict[str, Any] = {}
    loop["model"] = loop
    torch.save(loop, tmp_path / "a.pth")
    with pytest.raises(InputError, match="holds no state dict"):
        checkpoint.read_state(tmp_path / "a.pth")


def test_damaged_pickles_are_told_from_dangerous_ones(tmp_path: Path, sam: State) -> None:
    path = tmp_path / "a.pth"
    torch.save(sam, path, _use_new_zipfile_serialization=False)
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(InputError, match=r"not a whole torch checkpoint .*; fetch it again"):
        checkpoint.read_state(path)
    for data in (pickle.dumps({"a": 1})[:-4], b"\x80\x02garbage"):
        path.write_bytes(data)
        with pytest.raises(InputError, match="refused, the pickle holds more than plain data, or is damaged"):
            checkpoint.read_state(path)


def test_a_spec_that_claims_petabytes_or_nests_without_end_is_refused(tmp_path: Path, model: MergedModel) -> None:
    spec = model.spec.model_dump() | {"features": 10**13}
    path, origin = tmp_path / "a.safetensors", checkpoint.Origin(note="").model_dump()
    for text in (json.dumps({"spec": spec, "origin": origin}), "[" * 100_000):
        save_file({"a": torch.ones(1)}, path, {"samclip_edge": text})
        with pytest.raises(InputError, match=r"a\.safetensors: "):
            checkpoint.load(path)
