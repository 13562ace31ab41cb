"""Manifests read by the native code and by Python: of every kind, and what may be wrong with them."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from bundle_answers import python_answer
from manifest_cases import Case, bases, changed, everywhere, file

from samclip_edge.bundle.sizes import in_order

Ask = Callable[..., Any]
BASES = bases()


def same(ask: Ask, folder: Path, case: Case) -> bool:
    """Whether both sides take a manifest and read the same, or refuse it in the same words."""
    (folder / "manifest.json").write_text(case.text)
    wanted, found = python_answer(folder), ask("open", folder=folder)
    assert found == wanted, case.what
    return "error" not in wanted


@pytest.mark.parametrize("name", BASES)
def test_manifests_of_every_kind_and_what_may_be_wrong_with_them(ask: Ask, tmp_path: Path, name: str) -> None:
    assert same(ask, tmp_path, Case(name, json.dumps(BASES[name])))
    cases = random.Random(name).sample(list(everywhere(BASES[name])), 150)
    taken = [same(ask, tmp_path, case) for case in cases]
    assert 5 < sum(taken) < 140  # both happen


FIRST = ("graphs", 0, "files", 0, "path")
SHAPE = ("graphs", 0, "signature", "inputs", 0, "shape")
ODD: dict[tuple[str | int, ...], list[Any]] = {
    FIRST: [
        "/etc/passwd", "//x", "../x.onnx", "a/../x", "a/..", "..", "", ".", "a/./b", "a//b", "a/...", "C:x", "a\\b",
        "..\n'\u200bé😀/../x", "a'b/..\"", "a'b/\"/../.", "\x00/../\x7f\x80\u2028\ue000\U000e0001", "a\x00b",
        "x" * 5000,
    ],
    ("graphs", 0, "files", 0, "sha256"): ["5E" * 32, "5e" * 31, "5e" * 32 + "\n", "ge" * 32],
    ("graphs", 0, "files", 0, "bytes"): [-1, 0, 1 << 62, 2.5, 3.0, "", True],
    ("format",): [0, 1, 3, 2.0, 3.0, True, 1 << 63, "2", None, "deleted"],
    SHAPE: [["I", 3, 128, 128], ["I", 3, 128], ["B", 3, 128, 128], [0, 3, 128, 128], [-1, 3, 128, 128], ["I", "3"],
            [True, 3, 128.0, 128], ["é\n'", 3, 128, 128], [1, 3, 128, 256], []],
    ("graphs", 0, "signature", "inputs", 0, "dtype"): ["int32", "int64"],
    ("graphs", 0, "signature", "inputs", 0, "name"): ["images", "i'm\"", ""],
    ("graphs", 0, "name"): ["clip_image_encoder", "text_encoder", "encoder"],
    ("graphs", 0, "size"): [None, 256, "128", "256x128", "128x", "x128", "1x2x3", "0128", "128 ", "1234567", 0, -16, 17,
                            1234567, 999984, 128.5],
    ("sizes",): [[256, "256x128", 128], [128, 128, 256], [128], [], [128, "256x128", 256, 512], "128", ["256x256"]],
    ("spec", "sizes"): [[256, 128], [128, 128], [], [128, "256x128", "128x256"], ["128x256", "256x128"], [15]],
    ("spec", "encoder", "global_layers"): [[], [0, 4], [-1], [1.0, 3], 3],
    ("spec", "encoder", "heads"): [3, 5, 128],
    ("spec", "text", "context"): [0, 1, 512, 513],
    ("spec", "text", "vocab"): [513, 514, 49408, 49409],
    ("spec", "text", "end"): [2561, 2562, -1],
    ("spec", "text", "eps"): [0, 1e-300, -1],
    ("spec", "max_grid"): [4],
    ("spec", "clip_head", "max_grid"): [4, 7, 8, 16],
    ("spec", "clip_head", "kind"): ["adaptor", "classes", "a'b"],
    ("spec", "encoder", "kind"): ["swin", ""],
    ("spec", "guidance"): [8, -1],
    ("text", "logit_scale"): [1e308, -0.0, 10**30],
    ("calibration", "sizes", 0, "mask", "slope"): [0, -1, 1e-9],
}  # fmt: skip


@pytest.mark.parametrize("path", ODD, ids=lambda path: ".".join(map(str, path)))
def test_odd_values(ask: Ask, tmp_path: Path, path: tuple[str | int, ...]) -> None:
    for value in ODD[path]:
        same(ask, tmp_path, changed(BASES["vit"], path, value))


TOWERS: list[Any] = [
    {}, [], {"width": 64}, {"width": 64, "depth": 2, "heads": 0}, {"width": 64, "depth": 257, "heads": 4},
    {"width": 64, "depth": 256, "heads": 4, "size": 64}, {"width": 64, "depth": 2, "heads": 4, "size": 64.0},
    {"width": 64, "depth": 2, "heads": 4, "patch": 32}, {"width": 64, "depth": 2, "heads": 4, "eyes": 2},
    {"tower": {}, "size": 64}, {"tower": []}, {"tower": {"layers": 257}}, {"tower": {"layers": 1 << 63}},
    {"tower": {"layers": 257.5}, "size": 64},
    {"tower": {"timm_model_name": "hf-hub:x"}}, {"tower": {"timm_model_name": "vit"}, "size": 64},
    {"tower": {"timm_model_name": ["a"]}, "size": 64}, {"tower": {}, "size": 64, "mean": [1, 2]},
    {"tower": {}, "size": 64, "mean": [1, 2, 3, 4]}, {"tower": {}, "size": 64, "std": [1, 2, 0]},
    {"tower": {}, "size": 64, "std": [1, 2.5, 3], "resize": "longest"}, {"tower": {}, "size": 64, "resize": "crop"},
]  # fmt: skip


@pytest.mark.parametrize("tower", TOWERS, ids=str)
def test_towers_of_a_separate_clip(ask: Ask, tmp_path: Path, tower: Any) -> None:
    same(ask, tmp_path, changed(BASES["two models"], ("spec", "clip_vision"), tower))


def test_kinds_that_do_not_fit(ask: Ask, tmp_path: Path) -> None:
    assert not same(ask, tmp_path, changed(BASES["two models"], ("kind",), "merged"))
    assert not same(ask, tmp_path, changed(BASES["vit"], ("kind",), "sam+clip"))
    assert not same(ask, tmp_path, changed(BASES["vit"], ("engines",), BASES["engines"]["engines"]))
    assert not same(ask, tmp_path, changed(BASES["engines"], ("engines", "capabilities"), ["8.7", "9"]))
    assert not same(ask, tmp_path, changed(BASES["vit"], ("text", "names"), file("names.json")))


DEEP = '{"tower": {"x": ' + "[" * 254 + "1" + "]" * 254 + '}, "size": 64}'


def test_what_is_no_json(ask: Ask, tmp_path: Path) -> None:
    good = json.dumps(BASES["two models"])
    vision = json.dumps(BASES["two models"]["spec"]["clip_vision"])
    assert good.count(vision) == 1
    assert same(ask, tmp_path, Case("a byte-order mark", "\ufeff" + good))
    assert same(ask, tmp_path, Case("deep", good.replace(vision, DEEP)))
    assert same(ask, tmp_path, Case("a key twice, the last counts", good[:-1] + ', "format": 1}'))
    for text in ("[]", "1", "-1", "1.5", "null", "true", '"a"', "[" * 100_000):
        assert not same(ask, tmp_path, Case(text[:9], text))
    deeper = good.replace(vision, DEEP.replace("[" * 254, "[" * 255).replace("]" * 254, "]" * 255))
    for content in (b"", b"{", b"hello", good.encode()[:-1], good.encode() + b"}", b"\xff" + good.encode(),
                 good.replace("a test", "a\ntest").encode(), good.encode().replace(b"a test", b"\xc3\x28"),
                 deeper.encode()):  # fmt: skip
        (tmp_path / "manifest.json").write_bytes(content)
        for answer in (python_answer(tmp_path), ask("open", folder=tmp_path)):
            assert answer["error"].startswith(f"{tmp_path}/manifest.json: ")
            assert answer["error"].endswith("; export the bundle again")


STRICTER = {
    "NaN": (("graphs", 0, "parity", "out", "error"), float("nan")),
    "an infinite number": (("graphs", 0, "parity", "out", "error"), float("inf")),
    "half a pair of surrogates": (("origin",), "\ud800"),
    "a number in a text": (("spec", "features"), "128"),
    "more than 31 bits": (("spec", "decoder", "mlp"), 1 << 31),
}


@pytest.mark.parametrize("what", STRICTER)
def test_what_only_python_takes(ask: Ask, tmp_path: Path, what: str) -> None:
    """None of it is written by an exporter; `checked_json.hpp` says so."""
    path, value = STRICTER[what]
    (tmp_path / "manifest.json").write_text(changed(BASES["vit"], path, value).text)
    assert "manifest" in python_answer(tmp_path)
    assert ask("open", folder=tmp_path)["status"] == 1


def test_sizes(ask: Ask) -> None:
    sizes = ["64", "128x64", "64x128", "256", "256x128", "96", "999984", "999984x16"]
    for one in sizes:
        for other in sizes:
            assert ask("sizes", size=one, other=other) == (in_order(one) < in_order(other))


def test_texts_in_messages(ask: Ask) -> None:
    every = [chr(code) for code in range(0x3000)] + ["\ufeff", "\ue000", "😀", "\U000e0001", "\U0010ffff", "\u3000"]
    assigned = [each for each in every if each.isprintable() or ord(each) < 0x300]  # newer tables have more characters
    for text in (*assigned, "it's", 'say "it"', "both ' and \"", "back\\slash", "a\r\n\tb", ""):
        assert ask("repr", text=text) == repr(text)
