"""What tests of compiled networks need."""

from __future__ import annotations

import shutil

import pytest

needs_compiler = pytest.mark.skipif(
    not any(map(shutil.which, ("g++", "clang++"))), reason="torch compiles with a C++ compiler, here is none"
)
