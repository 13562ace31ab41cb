"""What ONNX Runtime runs a bundle's graphs on: its execution providers, by short names or by their own.

Imports no engine: `runtimes.providers` finds out which of them are here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from samclip_edge.errors import InputError

CPU = "CPUExecutionProvider"
_OPTION = re.compile(r",(?=\w[\w.]*=)")  # a comma inside a value, as in JSON, is not followed by KEY=


class Provider(NamedTuple):
    """An execution provider of ONNX Runtime."""

    name: str
    options: tuple[tuple[str, str], ...] = ()


# "cpu", "cuda:1", "openvino:device_type=GPU", "CUDAExecutionProvider:device_id=1,do_copy_in_default_stream=0", several
# of them with ";" between; or ONNX Runtime's own form: a list of names, and of pairs of a name and its options.
Device = str | Sequence[str | tuple[str, Mapping[str, Any]] | Provider]


class Known(NamedTuple):
    """What a short name stands for."""

    providers: tuple[Provider, ...]  # the first is asked first; the CPU takes what none of them does
    brought_by: str  # what to install


KNOWN = {
    "cpu": Known((Provider(CPU),), "onnxruntime"),
    "cuda": Known((Provider("CUDAExecutionProvider"),), "onnxruntime-gpu in place of onnxruntime"),
    "tensorrt": Known(
        (Provider("TensorrtExecutionProvider"), Provider("CUDAExecutionProvider")),
        "onnxruntime-gpu in place of onnxruntime, and TensorRT",
    ),
    "coreml": Known(  # the older format of Core ML's models knows few operations
        (Provider("CoreMLExecutionProvider", (("ModelFormat", "MLProgram"),)),), "onnxruntime on a Mac"
    ),
    "directml": Known((Provider("DmlExecutionProvider"),), "onnxruntime-directml in place of onnxruntime, on Windows"),
    "openvino": Known(
        (Provider("OpenVINOExecutionProvider"),), "onnxruntime-ep-openvino beside onnxruntime 1.23 or later"
    ),
    "qnn": Known((Provider("QNNExecutionProvider"),), "onnxruntime-qnn beside onnxruntime, on Qualcomm's chips"),
}


def providers_of(device: Device) -> tuple[Provider, ...]:
    """The providers that a device names, the first to be asked first, each once. The CPU need not be among them.

    What this returns is a `Device` too. Raises InputError for a short name that there is not, and for options that
    are not KEY=VALUE.
    """
    if isinstance(device, str):
        named = [provider for text in device.split(";") for provider in _parsed(text.strip(), device)]
    elif isinstance(device, Sequence):
        named = [provider for each in device for provider in _given(each)]
    else:
        raise InputError(f" {device!r}: give a name, or a list of names and of (name, options)", "device")
    if not named:
        raise InputError(f": names nothing; give {', '.join(KNOWN)} or a provider of ONNX Runtime", "device")
    return tuple({provider.name: provider for provider in reversed(named)}.values())[::-1]


def _given(each: Any) -> tuple[Provider, ...]:
    """One entry of a list."""
    if isinstance(each, Provider):
        return (each,)
    if isinstance(each, str):
        return _parsed(each.strip(), each)
    if isinstance(each, tuple) and len(each) == 2 and isinstance(each[0], str) and isinstance(each[1], Mapping):
        return _with_options(each[0], {str(key): str(value) for key, value in each[1].items()}, each[0])
    raise InputError(f" {each!r}: give a name, or (name, options)", "device")


def _parsed(text: str, given: str) -> tuple[Provider, ...]:
    """NAME or NAME:KEY=VALUE,KEY=VALUE; or NAME:N for the GPU of that number."""
    name, _, rest = text.partition(":")
    if rest.isdecimal():
        rest = f"device_id={rest}"
    pairs = [pair.partition("=") for pair in _OPTION.split(rest)] if rest else []
    if any(not key or not equals for key, equals, _ in pairs):
        raise InputError(f" {given}: options of {name} are KEY=VALUE, with commas between", "device")
    return _with_options(name, {key: value for key, _, value in pairs}, given)


def _with_options(name: str, options: dict[str, str], given: str) -> tuple[Provider, ...]:
    known = KNOWN.get(name.lower())
    if known is None:
        if not name.endswith("ExecutionProvider") and "ExecutionProvider." not in name:
            mend = f"give {', '.join(KNOWN)}, or a provider of ONNX Runtime such as CUDAExecutionProvider"
            raise InputError(f" {given}: there is no {name or 'such'} device; {mend}", "device")
        return (Provider(name, tuple(options.items())),)
    first, *others = known.providers
    if first.name == CPU and options:
        raise InputError(f" {given}: the CPU takes no options; see threads", "device")
    number = tuple(item for item in options.items() if item[0] == "device_id")  # all of them run on the same GPU
    together = tuple((dict(first.options) | options).items())
    return (Provider(first.name, together), *(Provider(each.name, number) for each in others))


def on_cpu(device: Device) -> bool:
    """Whether a device is the CPU, as ONNX Runtime runs it by itself, and nothing else."""
    return all(provider.name == CPU for provider in providers_of(device))


def spoken(device: Device) -> str:
    """A device as messages name it."""
    return device if isinstance(device, str) else ", ".join(provider.name for provider in providers_of(device))
