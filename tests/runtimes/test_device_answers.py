"""Once at load, a device's answers to the probe are compared with the CPU's: far off is refused, off is told."""

from __future__ import annotations

import gc
import logging
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

from samclip_edge import data
from samclip_edge.bundle.folder import Bundle
from samclip_edge.bundle.sessions import SessionOptions, Sessions
from samclip_edge.bundle.verify import question
from samclip_edge.errors import InputError
from samclip_edge.runtimes import onnxruntime as runtime

CPU, CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"
BUNDLE = Bundle.open(data.TINY)


class Altered:
    """A session whose answers are changed, as those of a device may be."""

    def __init__(self, session: Any, change: Callable[[np.ndarray], np.ndarray]) -> None:
        self.session, self.change = session, change

    def __getattr__(self, name: str) -> Any:
        return getattr(self.session, name)

    def run(self, outputs: Any, inputs: Any) -> list[np.ndarray]:
        return [self.change(each) for each in self.session.run(outputs, inputs)]


def on(monkeypatch: pytest.MonkeyPatch, change: Callable[[np.ndarray], np.ndarray]) -> list[Any]:
    """Make `cuda` a device whose answers are changed. Returns a list that gets each session opened on the CPU."""
    real, cpu = onnxruntime.InferenceSession, []

    def opened(path: Any, options: Any, **given: Any) -> Any:
        session = real(path, options, **given)
        cpu.append(weakref.ref(session))
        return session

    def open_on(path: Path, options: Any, device: Any, threads: Any) -> Any:
        gc.collect()
        assert [each() for each in cpu] == [None], "the CPU's session is gone before the device's opens"
        return Altered(real(path, options, providers=[CPU]), change)

    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [CPU, CUDA])
    monkeypatch.setattr(onnxruntime, "InferenceSession", opened)
    monkeypatch.setattr(runtime, "open_on", open_on)
    return cpu


def tilted(cosine: float) -> Callable[[np.ndarray], np.ndarray]:
    """Turn values by an angle of that cosine, by hand: towards something at right angles and of their length."""

    def change(values: np.ndarray) -> np.ndarray:
        flat = values.astype(np.float64).ravel()
        other = np.random.RandomState(0).standard_normal(flat.size)
        other -= flat * (flat @ other) / (flat @ flat)
        other *= np.linalg.norm(flat) / np.linalg.norm(other)
        return (cosine * flat + (1 - cosine**2) ** 0.5 * other).reshape(values.shape).astype(np.float32)

    return change


@pytest.mark.parametrize(
    "change", [tilted(1 - 1e-7), tilted(0.9996), lambda v: v.astype(np.float16).astype(np.float32)]
)
def test_a_device_may_round_to_half_precision(
    change: Callable[[np.ndarray], np.ndarray], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    cpu = on(monkeypatch, change)
    sessions = Sessions(BUNDLE, SessionOptions(device="cuda"))
    for _ in range(3):
        sessions.run("clip_head", 128, **question(BUNDLE.manifest.spec, BUNDLE.graph("clip_head", 128)))
    assert len(cpu) == 1, "compared once, at load"
    assert not [each for each in caplog.records if each.levelno >= logging.WARNING]


def test_a_device_that_is_further_off_is_told(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    on(monkeypatch, tilted(0.998))
    Sessions(BUNDLE, SessionOptions(device="cuda")).open("clip_head", 128)
    told = [each.message for each in caplog.records if each.levelno == logging.WARNING]
    assert [each.split(" with the CPU's")[0] for each in told] == [
        f"device cuda: {output} of clip_head has a cosine of 0.998000"
        for output in ("image_features", "patch_features")
    ]


@pytest.mark.parametrize("change", [tilted(0.98), lambda values: np.full_like(values, np.nan), np.zeros_like])
def test_a_device_whose_answers_are_not_the_cpus_is_refused(
    change: Callable[[np.ndarray], np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    on(monkeypatch, change)
    with pytest.raises(InputError, match=r"^device cuda: its image_features of clip_head is not the CPU's \(cosine 0"):
        Sessions(BUNDLE, SessionOptions(device="cuda")).open("clip_head", 128)
