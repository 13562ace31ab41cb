"""ONNX Runtime's execution providers: whether they are here, and a session on them that says when it is not."""

from __future__ import annotations

import contextlib
import functools
import io
import logging
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import onnxruntime

from samclip_edge.bundle.device import CPU, KNOWN, Device, Provider, providers_of, spoken
from samclip_edge.errors import InputError
from samclip_edge.native import native_lines
from samclip_edge.runtimes import plugins

log = logging.getLogger(__name__)

_NVIDIA = {"CUDAExecutionProvider", "TensorrtExecutionProvider"}
# What ONNX Runtime writes around its message: colours, where the line is from, its own error code, a place in C++.
_AROUND = re.compile(
    r"\x1b\[[\d;]*m|^.*\[ONNXRuntimeError\] : \d+ : \w+ : |^.*\[ERROR\] |^[^\[]*\[E:onnxruntime[^\]]*\] "
    r"|^/\S+:\d+ (?:.*?[)>\]] (?=[A-Z]))?|^\[OpenVINO\] "
)


def available() -> list[str]:
    """The names of the providers that are here: of ONNX Runtime's build, and of installed plugins."""
    return list(dict.fromkeys([*onnxruntime.get_available_providers(), *plugins.names()]))


def ready(device: Device) -> tuple[Provider, ...]:
    """The providers of a device, once it is sure that all of them are here.

    Raises InputError where one is not, saying what is here and what to install.
    """
    wanted = providers_of(device)
    for provider in wanted:
        if provider.name in _NVIDIA:
            _preload()
        if provider.name not in onnxruntime.get_available_providers():
            plugins.register(provider.name)
        if provider.name not in onnxruntime.get_available_providers():
            have = ", ".join(available())
            brought_by = [known.brought_by for known in KNOWN.values() if known.providers[0].name == provider.name]
            mend = f"install {brought_by[0]}" if brought_by else "install a build of ONNX Runtime, or a plugin, with it"
            here = f"onnxruntime {onnxruntime.__version__} here has no {provider.name}, only {have}"
            raise InputError(f" {spoken(device)}: {here}; {mend}", "device")
    return wanted


@functools.cache
def _preload() -> None:
    """Load CUDA and cuDNN from NVIDIA's wheels, where they were installed so. ONNX Runtime prints what it misses."""
    if hasattr(onnxruntime, "preload_dlls"):
        with contextlib.redirect_stdout(io.StringIO()) as said:
            onnxruntime.preload_dlls()
        log.debug("preload_dlls: %s", said.getvalue())


def open_on(
    path: Path, options: onnxruntime.SessionOptions, device: Device, threads: int | None
) -> onnxruntime.InferenceSession:
    """A session on a device that is not the CPU. The CPU takes what the device's providers do not.

    ONNX Runtime goes on on the CPU by itself where a provider does not start. Raises InputError then, and where a
    provider is not here or refuses its options. Logs a warning where a provider takes nothing of the graph.
    """
    wanted = ready(device)
    options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")  # older versions do not know it
    given = _add(options, wanted, threads)
    with native_lines() as lines:
        try:
            session = onnxruntime.InferenceSession(path, options, providers=given, enable_fallback=0)
        except Exception as error:  # onnxruntime raises classes of its own that share no base
            raise InputError(
                f" {spoken(device)}: refuses {path.name} or its options ({said([str(error)])}); mend them, or leave "
                "the device out",
                "device",
            ) from None
    for line in lines:
        log.debug("%s", line)
    for provider in wanted:
        if provider.name not in session.get_providers():
            why = said(lines) or "ONNX Runtime does not say why"
            raise InputError(
                f" {spoken(device)}: {provider.name} does not start ({why}); mend that, or leave the device out",
                "device",
            )
    if hasattr(session, "get_provider_graph_assignment_info"):
        takers = {each.ep_name for each in session.get_provider_graph_assignment_info()}
        if takers and not takers & {provider.name for provider in wanted if provider.name != CPU}:
            log.warning("device %s takes nothing of %s; the CPU runs it", spoken(device), path.name)
    return session


def _add(options: Any, wanted: Sequence[Provider], threads: int | None) -> list[tuple[str, dict[str, str]]] | None:
    """Providers as `InferenceSession` takes them; None where they went into `options`, as plugins must."""
    on_devices = [plugins.device_of(provider, threads) for provider in wanted]
    if not any(on_devices):
        return [(each.name, _options_of(each, threads)) for each in wanted]
    for provider, chosen in zip(wanted, on_devices, strict=True):
        if chosen is not None:
            options.add_provider_for_devices(*chosen)
        elif provider.name != CPU:  # which comes last by itself
            options.add_provider(provider.name, _options_of(provider, threads))
    return None


def _options_of(provider: Provider, threads: int | None) -> dict[str, str]:
    """What a provider of ONNX Runtime's build takes. OpenVINO's threads are its own; the session's do not count."""
    own = {"num_of_threads": str(threads)} if threads and provider.name.startswith("OpenVINO") else {}
    return own | dict(provider.options)


def said(lines: Sequence[str]) -> str:
    """What ONNX Runtime's lines say, in one line: its first error. Empty where they say nothing."""
    errors = [line for line in lines if "[E:onnxruntime" in line] or [line for line in lines if line.strip()]
    first = errors[0].strip().splitlines()[0] if errors else ""
    shorter = None
    while first != shorter:  # they are put around each other
        first, shorter = _AROUND.sub("", first, count=1), first
    return first.strip()[:200]
