"""Memory stays with the process."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

COUNT = """
import resource
from gancli.ops.memory import keep_freed_memory
import torch
{call}
for _ in range(40):  # small objects come to lie in the first ones' place
    torch.ones({floats})
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range({times}):
    torch.ones({floats})
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""
FLOATS = 2**24  # 64 MB
TIMES = 10
HUGE_PAGES = TIMES * FLOATS * 4 // 2**21  # the fewest that the kernel maps for so much new memory


def page_faults(call: str) -> int:
    code = COUNT.format(call=call, floats=FLOATS, times=TIMES)
    return int(
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    )


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc can be told")
def test_large_tensors_are_allocated_from_memory_that_the_process_has() -> None:
    assert page_faults("assert keep_freed_memory()") < HUGE_PAGES / 2


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc is known to give it back")
def test_left_alone_it_maps_their_pages_anew() -> None:
    assert page_faults("") >= HUGE_PAGES


def test_another_c_library_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    from gancli.ops.memory import keep_freed_memory

    monkeypatch.setattr(platform, "libc_ver", lambda: ("", ""))
    assert not keep_freed_memory()
