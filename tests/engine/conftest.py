"""Puts toy.py of this folder within reach of the tests, whatever pytest's import mode."""

import sys
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent))

from gancli.engine.checkpoint import RunFolder


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> None:
    """Networks of a few hundred parameters only wait for more threads."""
    torch.set_num_threads(1)


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    """A fresh run folder."""
    return RunFolder.create(tmp_path / "runs", "toy")
