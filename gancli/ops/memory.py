"""Exchange of memory between the process and the operating system."""

from __future__ import annotations

import ctypes
import platform

# Parameters of glibc's mallopt, from its malloc.h.
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX = -1, -2, -4


def keep_freed_memory() -> bool:
    """Make the C library keep freed memory for later allocations, in the whole process and until it ends.

    By default glibc takes every tensor above 32 MB from the operating system and returns it at once. Its pages are
    then mapped and zeroed at each use, which is a quarter of a training step on a CPU (docs/benchmarks.md). The process
    keeps as much memory as it ever needed.

    Returns:
        False where the C library has no such setting.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    settings = {_MMAP_MAX: 0, _TRIM_THRESHOLD: 2**31 - 1, _TOP_PAD: 2**26}
    return all(mallopt(parameter, value) == 1 for parameter, value in settings.items())
