"""Put toy.py of this folder on the import path, whatever pytest's import mode."""

import sys
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent))

from gancli.engine.checkpoint import RunFolder


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> None:
    """Use one thread: more only slow down networks of a few hundred parameters."""
    torch.set_num_threads(1)


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    """A fresh run folder."""
    return RunFolder.create(tmp_path / "runs", "toy")
