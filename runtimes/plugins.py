"""Execution providers that are packages of their own: libraries which ONNX Runtime 1.23 or later loads by their path.

OpenVINO's, Qualcomm's and others follow one convention: a module with `get_library_path` and `get_ep_name(s)`.
"""

from __future__ import annotations

import pkgutil
import threading
from collections.abc import Iterator
from importlib import import_module
from types import ModuleType
from typing import Any

import onnxruntime

from samclip_edge.bundle.device import CPU, Provider
from samclip_edge.errors import InputError, one_line

_PREFIX, _OTHERS = "onnxruntime_ep_", ("onnxruntime_qnn",)
# Which kind of device a provider runs on where the option `device_type` does not say.
_USUAL = {"OpenVINOExecutionProvider": "CPU", "QNNExecutionProvider": "NPU"}
_LOCK = threading.Lock()


def modules() -> list[str]:
    """The names of the plugins' modules that are installed, whether or not they load."""
    found = {module.name for module in pkgutil.iter_modules()}
    return sorted(name for name in found if name.startswith(_PREFIX) or name in _OTHERS)


def register(provider: str) -> None:
    """Load the library of the plugin that brings a provider, once in a process; do nothing where none brings it.

    Raises InputError when ONNX Runtime is too old for plugins, or refuses the library.
    """
    with _LOCK:
        for name, module in _loaded():
            if provider not in _brought(module) or provider in onnxruntime.get_available_providers():
                continue
            if not hasattr(onnxruntime, "register_execution_provider_library"):
                here = onnxruntime.__version__
                raise InputError(f" {provider}: {name} needs onnxruntime 1.23 or later; here is {here}", "device")
            try:
                onnxruntime.register_execution_provider_library(name, module.get_library_path())
            except Exception as error:  # a library that is missing, or of another version
                raise InputError(
                    f" {provider}: ONNX Runtime refuses {name} ({one_line(error)}); install it again", "device"
                ) from None


def _loaded() -> Iterator[tuple[str, ModuleType]]:
    for name in modules():
        try:
            yield name, import_module(name)
        except Exception:  # a broken package is no reason not to run; who asks for it is told that it is not there
            continue


def _brought(module: ModuleType) -> list[str]:
    """The names of the providers that a plugin brings, without loading its library."""
    if hasattr(module, "get_ep_names"):
        return [str(name) for name in module.get_ep_names()]
    return [str(module.get_ep_name())] if hasattr(module, "get_ep_name") else []


def names() -> list[str]:
    """The providers that installed plugins bring."""
    return [provider for _, module in _loaded() for provider in _brought(module)]


def device_of(provider: Provider, threads: int | None) -> tuple[list[Any], dict[str, str]] | None:
    """The device that a plugin's provider runs on, as ONNX Runtime lists it, and the options left for the provider.

    None for a provider that is part of ONNX Runtime's own build. The options `device_type` (CPU, GPU, NPU) and
    `device_id` choose among several devices. Raises InputError for a device that there is not.
    """
    listed = onnxruntime.get_ep_devices() if hasattr(onnxruntime, "get_ep_devices") else []
    devices = [each for each in listed if each.ep_name == provider.name and provider.name != CPU]
    if not devices:
        return None
    options = dict(provider.options)
    asked = options.pop("device_type", None)
    kind = (asked or _USUAL.get(provider.name, "")).upper()
    fitting = [each for each in devices if kind in _kinds(each)]
    if asked and not fitting:
        have = ", ".join(sorted({_kinds(each)[0] for each in devices}))
        raise InputError(f" {provider.name}: has no {asked} here, only {have}; give device_type={have}", "device")
    fitting = fitting or devices
    number = options.pop("device_id", "0")
    if not number.isdecimal() or int(number) >= len(fitting):
        raise InputError(f" {provider.name}: device_id {number}: there are {len(fitting)}, counted from 0", "device")
    if threads and provider.name.startswith("OpenVINO") and "load_config" not in options:
        options["load_config"] = f'{{"CPU": {{"INFERENCE_NUM_THREADS": {threads}}}}}'
    return [fitting[int(number)]], options


def _kinds(device: Any) -> tuple[str, ...]:
    """What a device may be called: its kind, and OpenVINO's own name of it."""
    return device.device.type.name.upper(), str(device.ep_metadata.get("ov_device", "")).upper()
