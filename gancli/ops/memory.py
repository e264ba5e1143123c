"""How the process's memory comes from the operating system and goes back to it."""

from __future__ import annotations

import ctypes
import platform

# Parameters of glibc's mallopt, from its malloc.h.
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX = -1, -2, -4


def keep_freed_memory() -> bool:
    """Lets the C library keep what is freed for the next allocation, for the whole process and until it ends.

    Left alone, glibc takes every tensor of more than 32 MB from the operating system and gives it back at once. All
    its pages are then mapped and zeroed anew at each use, which is a quarter of a training step on a CPU
    (docs/benchmarks.md). A process keeps as much as it once needed.

    Returns:
        False where the C library is none that can be told.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    settings = {_MMAP_MAX: 0, _TRIM_THRESHOLD: 2**31 - 1, _TOP_PAD: 2**26}
    return all(mallopt(parameter, value) == 1 for parameter, value in settings.items())
