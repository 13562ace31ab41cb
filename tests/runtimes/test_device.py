"""What `device` chooses: ONNX Runtime's providers by name, and what is said where one is not here or does not start.

The CPU's wheel has one other provider, AzureExecutionProvider, which takes no operation of any graph.
"""

from __future__ import annotations

import logging
import os
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import onnxruntime
import pytest
from support import Ran

from samclip_edge import SamClip, data
from samclip_edge.bundle.device import providers_of
from samclip_edge.bundle.folder import Bundle
from samclip_edge.bundle.sessions import SessionOptions, Sessions
from samclip_edge.bundle.verify import question
from samclip_edge.errors import InputError
from samclip_edge.runtimes import providers

CUDA, CPU, AZURE = "CUDAExecutionProvider", "CPUExecutionProvider", "AzureExecutionProvider"
OPENVINO, TENSORRT = "OpenVINOExecutionProvider", "TensorrtExecutionProvider"
BUNDLE = Bundle.open(data.TINY)
HERE = [CPU, AZURE]


def plain(device: Any) -> list[tuple[str, dict[str, str]]]:
    return [(name, dict(options)) for name, options in providers_of(device)]


def clip_head(device: Any, threads: int | None = None) -> Any:
    """The smallest graph of floats of `tiny`, opened on a device."""
    return Sessions(BUNDLE, SessionOptions(threads, device=device)).open("clip_head", 128)


def probe() -> dict[str, np.ndarray]:
    return question(BUNDLE.manifest.spec, BUNDLE.graph("clip_head", 128))


@pytest.mark.parametrize(
    ("device", "wanted"),
    [
        ("cpu", [(CPU, {})]),
        ("cuda", [(CUDA, {})]),
        ("CUDA", [(CUDA, {})]),
        ("cuda:1", [(CUDA, {"device_id": "1"})]),
        ("tensorrt:1", [(TENSORRT, {"device_id": "1"}), (CUDA, {"device_id": "1"})]),
        ("tensorrt:trt_fp16_enable=1", [(TENSORRT, {"trt_fp16_enable": "1"}), (CUDA, {})]),
        ("coreml", [("CoreMLExecutionProvider", {"ModelFormat": "MLProgram"})]),
        ("directml", [("DmlExecutionProvider", {})]),
        ("qnn", [("QNNExecutionProvider", {})]),
        (f"{CUDA}:device_id=1,do_copy_in=0", [(CUDA, {"device_id": "1", "do_copy_in": "0"})]),
        (
            'openvino:load_config={"CPU":{"A":"b","C":"d"}},device_type=CPU',
            [(OPENVINO, {"load_config": '{"CPU":{"A":"b","C":"d"}}', "device_type": "CPU"})],
        ),
        (f"{CUDA}; cpu", [(CUDA, {}), (CPU, {})]),
        ([CUDA, CPU], [(CUDA, {}), (CPU, {})]),
        ([("cuda", {"device_id": 1}), CUDA], [(CUDA, {"device_id": "1"})]),
    ],
)
def test_a_device_names_providers(device: Any, wanted: list[tuple[str, dict[str, str]]]) -> None:
    assert plain(device) == wanted
    assert plain(providers_of(device)) == wanted, "what it returns is a device too"
    assert pickle.loads(pickle.dumps(SessionOptions(device=device))) == SessionOptions(device=device)


@pytest.mark.parametrize("device", ["gpu", "", "cuda:fast", "cuda:=1", [], [3], [("cuda", 1)], 5, None])
def test_what_is_no_device_is_refused_in_a_line(device: Any) -> None:
    with pytest.raises(InputError, match=r"^device.*give|^device.*options of cuda are KEY=VALUE") as caught:
        Sessions(BUNDLE, SessionOptions(device=device))
    assert "\n" not in str(caught.value)


MENDS = {
    "cuda": "install onnxruntime-gpu in place of onnxruntime",
    "tensorrt": "install onnxruntime-gpu in place of onnxruntime, and TensorRT",
    "directml": "install onnxruntime-directml in place of onnxruntime",
    "openvino": "install onnxruntime-ep-openvino beside onnxruntime",
    "qnn": "install onnxruntime-qnn beside onnxruntime",
    "coreml": "install onnxruntime on a Mac",
    "OtherExecutionProvider": "install a build of ONNX Runtime, or a plugin, with it",
}


@pytest.mark.parametrize("device", MENDS)
def test_what_is_not_installed_is_said_at_load(device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: HERE)
    monkeypatch.setattr("samclip_edge.runtimes.plugins.modules", list)
    with pytest.raises(InputError) as caught:
        SamClip(BUNDLE, SessionOptions(device=device))
    assert str(caught.value).startswith(f"device {device}: onnxruntime {onnxruntime.__version__} here has no ")
    assert f"only {CPU}, {AZURE}; {MENDS[device]}" in str(caught.value)


def test_the_command_line_names_its_option(run: Callable[..., Ran]) -> None:
    for arguments in (("verify", data.TINY), ("eval", "synthetic"), ("classify", data.photos()[0], "--label", "cat")):
        ran = run(*arguments, "--device", "FooExecutionProvider")
        assert (ran.code, ran.out) == (2, "")
        assert ran.err.startswith("error: --device FooExecutionProvider: ")
        assert ran.err.count("\n") == 1


def test_a_provider_that_silently_does_not_start_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """ONNX Runtime itself: asked for a provider that it has not, it goes on on the CPU."""
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [*HERE, CUDA])
    with pytest.raises(InputError, match=rf"^device cuda: {CUDA} does not start \(.*\); mend that"):
        clip_head("cuda")


def test_its_error_says_why_and_the_native_line_is_not_printed(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    line = (  # as the OpenVINO build of ONNX Runtime 1.24.1 prints it
        "\x1b[1;31m2026-11-26 13:55:49.53 [E:onnxruntime:Default, provider_bridge_ort.cc:2310 Create] /onnxruntime/"
        "openvino_provider_factory.cc:141 std::string onnxruntime::openvino_ep::ParseDeviceType(std::shared_ptr<OVCore>"
        ", const onnxruntime::ProviderOptions&) [ERROR] [OpenVINO] Device GPU is not available\n\x1b[m\n"
    )
    real = onnxruntime.InferenceSession

    def printing(path: Any, options: Any, **given: Any) -> Any:
        if OPENVINO in dict(given["providers"]):
            os.write(2, line.encode())
        return real(path, options, providers=[CPU])

    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [*HERE, OPENVINO])
    monkeypatch.setattr(onnxruntime, "InferenceSession", printing)
    with pytest.raises(InputError) as caught:
        clip_head("openvino:device_type=GPU")
    assert str(caught.value) == (
        f"device openvino:device_type=GPU: {OPENVINO} does not start (Device GPU is not available); mend that, or "
        "leave the device out"
    )
    assert capfd.readouterr().err == ""
    os.write(2, b"afterwards\n")
    assert capfd.readouterr().err == "afterwards\n"


def test_an_option_that_a_provider_refuses_is_told_in_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    real = onnxruntime.InferenceSession

    def refusing(path: Any, options: Any, **given: Any) -> Any:
        if OPENVINO in dict(given["providers"]):
            raise RuntimeError(
                "/onnxruntime/onnxruntime/python/onnxruntime_pybind_state.cc:1053 std::shared_ptr<onnxruntime::"
                "IExecutionProviderFactory> onnxruntime::python::CreateExecutionProviderFactoryInstance(const std::"
                "string&, const onnxruntime::ProviderOptionsMap&) Invalid OpenVINO EP option: bogus\n"
            )
        return real(path, options, **given)

    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [*HERE, OPENVINO])
    monkeypatch.setattr(onnxruntime, "InferenceSession", refusing)
    with pytest.raises(InputError) as caught:
        clip_head("openvino:bogus=1")
    assert str(caught.value) == (
        "device openvino:bogus=1: refuses clip_head_128.onnx or its options (Invalid OpenVINO EP option: bogus); mend "
        "them, or leave the device out"
    )


@pytest.mark.skipif(AZURE not in onnxruntime.get_available_providers(), reason="only in the CPU's wheel")
def test_a_provider_that_takes_nothing_is_told_and_the_cpu_answers(caplog: pytest.LogCaptureFixture) -> None:
    named = [AZURE]
    sessions = Sessions(BUNDLE, SessionOptions(device=named))
    named[0] = "an app's list, changed later"
    got = sessions.run("clip_head", 128, **probe())
    assert [each.message for each in caplog.records if each.levelno == logging.WARNING] == [
        f"device {AZURE} takes nothing of clip_head_128.onnx; the CPU runs it"
    ]
    for output, values in clip_head("cpu").run(probe()).items():
        np.testing.assert_allclose(got[output], values, atol=1e-5)


def test_memory_is_saved_on_the_cpu_and_left_to_other_providers(monkeypatch: pytest.MonkeyPatch) -> None:
    real, seen = onnxruntime.InferenceSession, []

    def opened(path: Any, options: Any, **given: Any) -> Any:
        seen.append((options.enable_mem_reuse, options.enable_mem_pattern, options.intra_op_num_threads))
        return real(path, options, **given)

    monkeypatch.setattr(onnxruntime, "InferenceSession", opened)
    clip_head("cpu", threads=1)
    clip_head([(CPU, {})], threads=1)
    clip_head(AZURE, threads=1)
    assert seen == [(False, False, 1)] * 3 + [(True, True, 1)]  # for Azure, the CPU first


@pytest.mark.parametrize("target", ["coreml", "tensorrt"])
def test_a_bundle_of_another_engine_takes_no_provider(target: str) -> None:
    bundle = Bundle(BUNDLE.folder, BUNDLE.manifest.model_copy(update={"target": target}))
    for device in ("cpu", target):
        Sessions(bundle, SessionOptions(device=device))
    for device in ("cuda", [CUDA], AZURE):
        with pytest.raises(
            InputError, match=rf"^device .*: .* is for target {target}; leave the device out, or export"
        ):
            Sessions(bundle, SessionOptions(device=device))


def test_what_fails_inside_onnx_runtime_is_told_in_a_line() -> None:
    with pytest.raises(InputError, match=r"clip_head_128.onnx: ONNX Runtime did not run it on cpu \(.*\); free memory"):
        clip_head("cpu").run({"tokens": np.zeros((1, 7, 8, 8), np.float32)})


def test_there_may_be_no_stderr() -> None:
    kept = os.dup(2)
    os.close(2)
    try:
        clip_head(AZURE)
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def test_lines_of_onnx_runtime_are_cut_to_what_they_say() -> None:
    cuda = (
        "2026-01-01 [E:onnxruntime:Default, provider_bridge_ort.cc:2195 TryGetProviderInfo_CUDA] /onnxruntime/x.cc"
        ":1778 onnxruntime::Provider& onnxruntime::ProviderLibrary::Get() [ONNXRuntimeError] : 1 : FAIL : Failed to "
        "load library libonnxruntime_providers_cuda.so with error: libcublasLt.so.12: cannot open shared object file"
    )
    warning = "2026-01-01 [W:onnxruntime:Default, x.cc:1 Create] Failed to create CUDAExecutionProvider."
    wanted = "Failed to load library libonnxruntime_providers_cuda.so with error: libcublasLt.so.12: cannot open"
    assert providers.said([warning, cuda]) == f"{wanted} shared object file"
    assert providers.said(["Out of memory (of 8 GB)"]) == "Out of memory (of 8 GB)"
    assert providers.said(["", " "]) == ""
