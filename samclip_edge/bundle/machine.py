"""What this machine has to run graphs on, asked of the system itself and of no engine."""

from __future__ import annotations

import ctypes
import platform


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
