"""A tiny encoder and a tiny run, made once through the command line, and functions that call it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from gancli.cli.main import app
from tests.conftest import forget_accuracy

ENCODER = (
    "train.minutes=null",
    "train.steps=2",
    "train.log_every=1",
    "loader.batch=4",
    "model.dim=16",
    "model.embedding_dim=16",
    "model.width=8",
)
MODEL = (
    "train.minutes=null",
    "train.steps=2",
    "train.log_every=1",
    "train.checkpoint_every=1",
    "loader.batch=4",
    "model.stages=[16,32]",
    "model.text_dim=16",
    "model.generator_width=8",
    "model.discriminator_width=8",
)


@dataclass(frozen=True)
class Answer:
    """Output and exit code of a command."""

    code: int
    stdout: str
    stderr: str

    @property
    def json(self) -> dict[str, Any]:
        """The JSON object in the last line of stdout."""
        value = json.loads(self.stdout.splitlines()[-1])
        assert isinstance(value, dict)
        return value


Gancli = Callable[..., Answer]


def call(*arguments: str | Path) -> Answer:
    """Run a command in this process."""
    result = CliRunner().invoke(app, [str(argument) for argument in arguments], prog_name="gancli")
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    assert "Traceback" not in result.output
    return Answer(result.exit_code, result.stdout, result.stderr)


def call_process(
    arguments: Sequence[str | Path], environment: dict[str, str] | None = None, **options: Any
) -> Answer:
    """Run a command in a new process."""
    done = subprocess.run(
        [sys.executable, "-m", "gancli", *map(str, arguments)],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", **(environment or {})},
        check=False,
        **options,
    )
    return Answer(done.returncode, done.stdout, done.stderr)


def signalled_training(arguments: Sequence[str | Path], number: signal.Signals) -> Answer:
    """Run a training (`--progress plain`, a line for each step) and send it a signal after its first step."""
    process = subprocess.Popen(
        [sys.executable, "-m", "gancli", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith("step 1 "):
            break
    process.send_signal(number)
    stdout, stderr = process.communicate()
    return Answer(process.returncode, stdout, stderr)


@pytest.fixture
def gancli(monkeypatch: pytest.MonkeyPatch) -> Gancli:
    """Function that runs a command in this process, not as a terminal, so that nothing is coloured or cut."""
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("TERMINAL_WIDTH", "200")
    monkeypatch.delenv("GANCLI_DEBUG", raising=False)
    return call


@pytest.fixture
def large_cub(tiny_dataset: Path, tmp_path: Path) -> Path:
    """A dataset named cub that says it was prepared at 256 pixels, for choosing recipes by; its shards are missing."""
    manifest = json.loads((tiny_dataset / "dataset.json").read_text(encoding="utf-8"))
    folder = tmp_path / "large-cub"
    folder.mkdir()
    (folder / "dataset.json").write_text(json.dumps({**manifest, "image_size": 256}), encoding="utf-8")
    return folder


@pytest.fixture(scope="session")
def encoder(tiny_dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An encoder folder of two training steps, read-only."""
    folder = tmp_path_factory.mktemp("encoder")
    answer = call(
        "pretrain-encoder", "damsm", "--recipe", "damsm/demo", f"data={tiny_dataset}", *ENCODER,
        "--out", folder / "damsm", "--runs", folder / "runs", "--device", "cpu",
    )  # fmt: skip
    assert answer.code == 0, answer.stderr
    return forget_accuracy(folder / "damsm")


@pytest.fixture(scope="session")
def run(tiny_dataset: Path, encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder of two training steps of FF-GAN, read-only."""
    folder = tmp_path_factory.mktemp("runs")
    answer = call(
        "train", "ffgan", "--recipe", "ffgan/demo", f"data={tiny_dataset}", f"encoder={encoder}", *MODEL,
        "--runs", folder, "--device", "cpu", "--json",
    )  # fmt: skip
    assert answer.code == 0, answer.stderr
    return Path(answer.json["run"])


@pytest.fixture(scope="session")
def images(tiny_dataset: Path, run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images of the test captions, read-only."""
    folder = tmp_path_factory.mktemp("samples") / "images"
    answer = call("sample", run, "--data", tiny_dataset, "--out", folder, "--device", "cpu")
    assert answer.code == 0, answer.stderr
    return folder
