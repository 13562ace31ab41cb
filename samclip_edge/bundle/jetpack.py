"""Which JetPack a Jetson has, and what comes with it: the table of docs/jetson.md, which says where it is from."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

RELEASE = Path("/etc/nv_tegra_release")
_WRITTEN = re.compile(r"# R([0-9]{1,4}) \(release\), REVISION: ([0-9]{1,4}(?:\.[0-9]{1,4})*)[,\s]")


class JetPack(NamedTuple):
    """Versions of JetPack that bring the same CUDA and TensorRT."""

    releases: Mapping[str, str]  # Jetson Linux, as the file names it: the version of JetPack that it is part of
    modules: Mapping[str, str]  # Jetsons that it is for: their compute capability
    cuda: str
    tensorrt: str
    cudnn: str
    ubuntu: str
    python: str
    glibc: str
    bindings: str  # what to ask pip for
    onnxruntime: str  # the newest wheel for this Python and glibc


JETPACKS = (
    JetPack(
        releases={
            "R36.4.0": "6.1",
            "R36.4.3": "6.2",
            "R36.4.4": "6.2.1",
            "R36.4.7": "6.2.1",
            "R36.5.0": "6.2.2",
            "R36.5.2": "6.2.3",
        },
        modules={"Orin": "8.7"},
        cuda="12.6",
        tensorrt="10.3",
        cudnn="9.3",
        ubuntu="22.04",
        python="3.10",
        glibc="2.35",
        bindings="cuda-bindings<13",
        onnxruntime="1.23.2",
    ),
    JetPack(
        releases={"R38.2.0": "7.0", "R38.2.1": "7.0", "R38.2.2": "7.0", "R38.4.0": "7.1"},
        modules={"Thor": "11.0"},
        cuda="13.0",
        tensorrt="10.13",
        cudnn="9.12",
        ubuntu="24.04",
        python="3.12",
        glibc="2.39",
        bindings="cuda-bindings>=13,<14",
        onnxruntime="1.32.0",
    ),
    JetPack(
        releases={"R39.2.0": "7.2", "R39.2.1": "7.2.1"},
        modules={"Orin": "8.7", "Thor": "11.0"},
        cuda="13.2",
        tensorrt="10.16",
        cudnn="9.20",
        ubuntu="24.04",
        python="3.12",
        glibc="2.39",
        bindings="cuda-bindings>=13,<14",
        onnxruntime="1.32.0",
    ),
)


def told() -> str | None:
    """What RELEASE says of this Jetson, in a line; None where there is no such file, as on all that is no Jetson."""
    try:
        with RELEASE.open("rb") as file:
            found = _WRITTEN.match(file.read(4096).decode("utf-8", "replace"))
    except FileNotFoundError:
        return None
    except OSError as error:
        return f"{RELEASE}: {error.strerror}"
    if found is None:
        return f"{RELEASE}: names no release of Jetson Linux"
    release = f"R{found[1]}.{found[2]}"
    for jetpack in JETPACKS:
        if release in jetpack.releases:
            return (
                f"JetPack {jetpack.releases[release]} ({release}), CUDA {jetpack.cuda}, TensorRT {jetpack.tensorrt}, "
                f"cuDNN {jetpack.cudnn}, Python {jetpack.python}, {jetpack.bindings}: see docs/jetson.md"
            )
    return f"Jetson Linux {release}, which is not in the table of docs/jetson.md"
