"""On which processors ONNX Runtime packs weights at load."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import onnxruntime
import pytest

from samclip_edge import SamClip
from samclip_edge.bundle import machine
from samclip_edge.bundle.sessions import Sessions


@pytest.mark.parametrize(
    ("told", "packed"),
    [
        ("processor\t: 0\nflags\t\t: fpu sse4_2 avx2 fma\n", True),
        ("processor\t: 0\nflags\t\t: fpu avx2 avx512f avx512_vnni\n", False),
        ("processor\t: 0\nFeatures\t: fp asimd asimddp\n", False),
        (None, False),
    ],
    ids=["AVX2 alone", "AVX-512", "ARM", "not Linux"],
)
def test_weights_in_float_are_packed_where_avx2_is_all(
    tiny: SamClip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, told: str | None, packed: bool
) -> None:
    if told is not None:
        (tmp_path / "cpuinfo").write_text(told)
    monkeypatch.setattr(machine, "CPUINFO", tmp_path / "cpuinfo")
    unpacked: list[bool] = []
    real = onnxruntime.InferenceSession

    def opened(path: Any, options: onnxruntime.SessionOptions, **rest: Any) -> onnxruntime.InferenceSession:
        try:
            unpacked.append(options.get_session_config_entry("session.disable_prepacking") == "1")
        except RuntimeError:  # nobody said
            unpacked.append(False)
        return real(path, options, **rest)

    monkeypatch.setattr(onnxruntime, "InferenceSession", opened)
    Sessions(tiny.bundle).open("clip_head", 128)
    assert unpacked == [not packed]
