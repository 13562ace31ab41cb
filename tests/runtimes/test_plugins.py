"""Providers that are packages of their own, over a stand-in of a plugin: which library, which of its devices."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import onnxruntime
import pytest

from samclip_edge import data
from samclip_edge.bundle.device import Provider
from samclip_edge.bundle.folder import Bundle
from samclip_edge.bundle.sessions import SessionOptions, Sessions
from samclip_edge.errors import InputError
from samclip_edge.runtimes import plugins
from samclip_edge.runtimes.providers import available, ready

NAME, OPENVINO, CPU = "StandinExecutionProvider", "OpenVINOExecutionProvider", "CPUExecutionProvider"
MODULE = f"""
def get_library_path():
    return "/a/libstandin.so"

def get_ep_names():
    return ["{NAME}"]
"""


@pytest.fixture
def registered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[str, str]]]:
    """The libraries that were registered, each (name, path); the plugin and a broken one are installed."""
    (tmp_path / "onnxruntime_ep_standin.py").write_text(MODULE)
    (tmp_path / "onnxruntime_ep_broken.py").write_text("import no_such_module_at_all")
    monkeypatch.syspath_prepend(tmp_path)
    made: list[tuple[str, str]] = []
    monkeypatch.setattr(onnxruntime, "register_execution_provider_library", lambda *given: made.append(given))
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [CPU, *([NAME] if made else [])])
    yield made
    sys.modules.pop("onnxruntime_ep_standin", None)


def test_a_plugin_that_is_installed_is_registered_once_when_it_is_asked_for(registered: list[tuple[str, str]]) -> None:
    assert NAME in available()
    assert registered == [], "it is only listed"
    for _ in range(2):
        assert ready(NAME) == (Provider(NAME),)
    assert registered == [("onnxruntime_ep_standin", "/a/libstandin.so")]


@pytest.mark.usefixtures("registered")
def test_a_plugin_that_onnx_runtime_refuses_is_told_in_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(name: str, path: str) -> None:
        raise RuntimeError("[ONNXRuntimeError] : 1 : FAIL : Failed to load library\nmore")

    bundle = Bundle.open(data.TINY)
    monkeypatch.setattr(onnxruntime, "register_execution_provider_library", refuse)
    with pytest.raises(InputError, match=rf"^device {NAME}: ONNX Runtime refuses onnxruntime_ep_standin \(.*library\)"):
        Sessions(bundle, SessionOptions(device=NAME))
    monkeypatch.delattr(onnxruntime, "register_execution_provider_library")
    with pytest.raises(InputError, match=rf"^device {NAME}: onnxruntime_ep_standin needs onnxruntime 1.23 or later"):
        Sessions(bundle, SessionOptions(device=NAME))


def device(kind: str, ov_device: str, name: str = OPENVINO) -> Any:
    return SimpleNamespace(
        ep_name=name, ep_metadata={"ov_device": ov_device}, device=SimpleNamespace(type=SimpleNamespace(name=kind))
    )


GPUS, CPUS = [device("GPU", "GPU.0"), device("GPU", "GPU.1")], [device("CPU", "CPU")]


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        ({}, CPUS[0]),
        ({"device_type": "GPU"}, GPUS[0]),
        ({"device_type": "gpu", "device_id": "1"}, GPUS[1]),
        ({"device_type": "GPU.1"}, GPUS[1]),
    ],
)
def test_a_plugin_runs_on_the_device_that_is_asked_for(
    options: dict[str, str], wanted: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnxruntime, "get_ep_devices", lambda: [device("CPU", "", CPU), *GPUS, *CPUS])
    given = Provider(OPENVINO, (*options.items(), ("cache_dir", "x")))
    assert plugins.device_of(given, None) == ([wanted], {"cache_dir": "x"})


@pytest.mark.parametrize("options", [{"device_type": "NPU"}, {"device_id": "3"}, {"device_id": "x"}])
def test_a_device_that_a_plugin_has_not_is_told(options: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnxruntime, "get_ep_devices", lambda: [*GPUS, *CPUS])
    with pytest.raises(
        InputError, match=rf"^device {OPENVINO}: (has no NPU here, only CPU, GPU|device_id .: there are)"
    ):
        plugins.device_of(Provider(OPENVINO, tuple(options.items())), None)


def test_threads_reach_openvino_unless_its_own_options_say(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnxruntime, "get_ep_devices", lambda: CPUS)
    _, options = plugins.device_of(Provider(OPENVINO), 3) or ([], {})
    assert json.loads(options["load_config"]) == {"CPU": {"INFERENCE_NUM_THREADS": 3}}
    assert plugins.device_of(Provider(OPENVINO, (("load_config", "{}"),)), 3) == (CPUS, {"load_config": "{}"})


def test_a_provider_of_onnx_runtimes_own_build_is_no_plugin() -> None:
    assert plugins.device_of(Provider(CPU), 1) is None
    assert plugins.device_of(Provider("CUDAExecutionProvider"), 1) is None
