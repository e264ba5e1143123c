"""Mark for tests that compile networks."""

from __future__ import annotations

import shutil

import pytest

needs_compiler = pytest.mark.skipif(
    not any(map(shutil.which, ("g++", "clang++"))),
    reason="there is no C++ compiler, which torch.compile needs",
)
