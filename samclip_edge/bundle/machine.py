"""What this machine has to run graphs on, asked of the system itself and of no engine."""

from __future__ import annotations

import ctypes
import platform
from pathlib import Path

CPUINFO = Path("/proc/cpuinfo")


def on_a_mac() -> bool:
    """Whether Core ML is there."""
    return platform.system() == "Darwin"


def gpus() -> int:
    """How many NVIDIA GPUs the driver has; 0 where there is no driver."""
    try:
        driver = ctypes.CDLL("nvcuda.dll" if platform.system() == "Windows" else "libcuda.so.1")
    except OSError:
        return 0
    count = ctypes.c_int()
    found = driver.cuInit(0) == 0 and driver.cuDeviceGetCount(ctypes.byref(count)) == 0
    return count.value if found else 0


def avx2_alone() -> bool:
    """Whether the processor has AVX2 and not AVX-512, as far as Linux tells; False on other systems."""
    lines = CPUINFO.read_text("utf-8", "replace").splitlines() if CPUINFO.is_file() else []
    flags = next((line.partition(":")[2].split() for line in lines if line.startswith("flags")), [])
    return "avx2" in flags and "avx512f" not in flags
