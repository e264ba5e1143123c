"""Memory through which worker processes hand images to the process that started them.

The pipe of a process pool copies an image five times, 64 KB at a time, which takes a fifth of the time of decoding it
(docs/benchmarks.md).
"""

from __future__ import annotations

import mmap
import os
import sys
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


class SharedSlots:
    """Slots of memory that a process shares with its workers; pickling it to a worker shares the memory.

    The memory is anonymous (Linux's memfd): nothing is left behind however a process ends, and the size of /dev/shm,
    which is small in containers, does not matter. On other systems, or where memfd is forbidden, nothing fits into a
    slot.

    Args:
        count: Number of slots.
        size: Bytes per slot; a slot that is never written to costs nothing.
    """

    def __init__(self, count: int, size: int) -> None:
        self._size = size
        self._memory: mmap.mmap | None = None
        self._descriptor: int | None = None
        if sys.platform == "linux":
            try:
                self._descriptor = os.memfd_create("gancli")
                os.ftruncate(self._descriptor, count * size)
                self._memory = mmap.mmap(self._descriptor, count * size)
            except OSError:
                self.close()

    def close(self) -> None:
        """Free the memory, once the workers have ended."""
        if self._memory is not None:
            self._memory.close()
        if self._descriptor is not None:
            os.close(self._descriptor)
        self._memory = self._descriptor = None

    def put(self, slot: int, arrays: Sequence[NDArray[np.uint8]]) -> int:
        """Copy flat arrays into a slot, one after the other, until one does not fit; return the number copied."""
        if self._memory is None:
            return 0
        first, end = slot * self._size, (slot + 1) * self._size
        for number, array in enumerate(arrays):
            if first + array.size > end:
                return number
            np.frombuffer(self._memory, np.uint8, array.size, first)[:] = array
            first += array.size
        return len(arrays)

    def take(self, slot: int, sizes: Sequence[int]) -> list[NDArray[np.uint8]]:
        """Return copies of the arrays of these sizes that `put` left in a slot."""
        if not sizes:
            return []
        assert self._memory is not None
        ends = np.cumsum(sizes)
        whole = np.frombuffer(self._memory, np.uint8, int(ends[-1]), slot * self._size)
        return [part.copy() for part in np.split(whole, ends[:-1])]

    def __getstate__(self) -> tuple[int, str | None]:
        there = None if self._descriptor is None else f"/proc/{os.getpid()}/fd/{self._descriptor}"
        return self._size, there

    def __setstate__(self, state: tuple[int, str | None]) -> None:
        self._size, there = state
        self._memory = self._descriptor = None
        if there is not None:
            try:
                with open(there, "r+b") as file:
                    self._memory = mmap.mmap(file.fileno(), 0)
            except OSError:  # no access to /proc
                pass
