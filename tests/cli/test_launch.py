"""`gancli train` on several processes: --nproc, torchrun and srun; one report, one message, one exit code."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from gancli.cli.console import Output
from gancli.cli.launch import _exit_code, _without_nproc
from tests.cli.conftest import MODEL, Gancli, call_process, signalled_training
from tests.distributed.ranks import environment, free_port


@pytest.fixture
def arguments(tiny_dataset: Path, encoder: Path, tmp_path: Path) -> list[str | Path]:
    return [
        "train", "ffgan", "--recipe", "ffgan/demo", f"data={tiny_dataset}", f"encoder={encoder}", *MODEL,
        "train.device=cpu", "loader.workers=0", "--runs", tmp_path / "runs",
    ]  # fmt: skip


@pytest.mark.slow
def test_a_run_on_two_processes(arguments: list[str | Path], tmp_path: Path) -> None:
    answer = call_process([*arguments, "--nproc", "2", "--json"])
    assert answer.code == 0, answer.stderr
    run = tmp_path / "runs/0001-ffgan-cub"
    assert answer.json["run"] == str(run)
    assert answer.json["images"] == 2 * 2 * 4
    assert answer.stdout.count('"event": "end"') == 1  # only process 0 speaks
    assert answer.stderr.count("recipe ffgan/demo") == 1
    assert "torch" not in answer.stderr
    assert [path.name for path in (tmp_path / "runs").iterdir()] == [run.name]

    answer = call_process([*arguments, "--nproc=2", "loader.batch=7"])
    assert answer.code == 3  # the message of one process, and nothing of torchrun's
    assert answer.stderr.count("error: ") == 1
    assert "on each of 2 processes" in answer.stderr
    assert "Traceback" not in answer.stderr
    assert len(list((tmp_path / "runs").iterdir())) == 1


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_to_one_command_stops_both_and_saves(
    arguments: list[str | Path], tmp_path: Path, number: signal.Signals, code: int
) -> None:
    command = [
        *arguments,
        "train.steps=100000",
        "train.checkpoint_every=100000",
        "--progress",
        "plain",
        "--nproc",
        "2",
    ]
    answer = signalled_training(command, number)
    assert answer.code == code, answer.stderr
    run = tmp_path / "runs/0001-ffgan-cub"
    assert f"stopped by {number.name}" in answer.stdout
    assert f"gancli train ffgan --resume {run} --nproc 2" in answer.stderr
    assert "Traceback" not in answer.stderr
    assert len(list((run / "checkpoints").iterdir())) == 1


def two(arguments: list[str | Path], environments: list[dict[str, str]]) -> list[tuple[int, str, str]]:
    """Return exit code, stdout and stderr of two processes, as a launcher starts them."""
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", "gancli", *map(str, arguments)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1", **variables},
        )
        for variables in environments
    ]
    return [(process.wait(), *process.communicate()) for process in processes]


@pytest.mark.slow
def test_tasks_of_srun_train_together(arguments: list[str | Path], tmp_path: Path) -> None:
    port = str(free_port())
    job = {
        "SLURM_JOB_ID": "7",
        "SLURM_STEP_NUM_TASKS": "2",
        "SLURM_STEP_NODELIST": "localhost",
        "MASTER_PORT": port,
    }
    tasks = [{**job, "SLURM_PROCID": str(task), "SLURM_LOCALID": str(task)} for task in (0, 1)]
    first, second = two(arguments, tasks)
    assert first[0] == second[0] == 0, first[2] + second[2]
    assert "finished at step 2, 16 images" in first[1]
    assert second[1] == second[2] == ""
    assert len(list((tmp_path / "runs").iterdir())) == 1


@pytest.mark.slow
def test_encoders_are_trained_on_one_process(tiny_dataset: Path, tmp_path: Path) -> None:
    command: list[str | Path] = [
        "pretrain-encoder",
        "damsm",
        f"data={tiny_dataset}",
        "--recipe",
        "damsm/demo",
    ]
    first, second = two(command, [environment(rank, 2, free_port()) for rank in (0, 1)])
    assert first[0] == second[0] == 2
    assert "encoders are trained on one process, here are 2" in first[2]
    assert second[1] == second[2] == ""


# --- refusals


def test_nproc_is_a_number_from_one_on(gancli: Gancli, tiny_dataset: Path) -> None:
    for number in ("0", "-1", "many"):
        answer = gancli("train", "ffgan", f"data={tiny_dataset}", "--nproc", number)
        assert answer.code == 2
        assert "--nproc" in answer.stderr


def test_one_process_is_nothing_special(gancli: Gancli, arguments: list[str | Path]) -> None:
    answer = gancli(*arguments, "--nproc", "1", "--json")
    assert answer.code == 0, answer.stderr
    assert answer.json["images"] == 2 * 4


def test_nproc_and_torchrun_do_not_go_together(
    gancli: Gancli, arguments: list[str | Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment(0, 2, 29500).items():
        monkeypatch.setenv(name, value)
    answer = gancli(*arguments, "--nproc", "2")
    assert answer.code == 2
    assert "torchrun or srun has already started this process" in answer.stderr


def test_more_processes_than_gpus(
    gancli: Gancli, arguments: list[str | Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cuda.device_count", lambda: 1)
    answer = gancli(*arguments, "train.device=cuda", "--nproc", "2")
    assert answer.code == 2
    assert "more processes than GPUs on this machine: 1" in answer.stderr
    answer = gancli(*arguments, "train.device=cuda:0", "--nproc", "2")
    assert answer.code == 2
    assert "cuda:0 is one GPU" in answer.stderr


def test_a_dry_run_starts_nothing(gancli: Gancli, arguments: list[str | Path], tmp_path: Path) -> None:
    assert gancli(*arguments, "--nproc", "2", "--dry-run").code == 0
    assert not (tmp_path / "runs").exists()


# --- exit codes


@pytest.mark.parametrize(
    ("codes", "received", "code", "said"),
    [
        ({}, [], 0, ""),
        ({0: 3, 1: 3}, [], 3, ""),
        ({0: 130}, [signal.SIGINT], 130, ""),
        ({0: -2, 1: -2}, [signal.SIGINT], 130, ""),
        ({0: -15, 1: -15}, [signal.SIGTERM], 143, ""),
        ({0: 1, 1: -9}, [], 1, "process 1 of 2 was ended by SIGKILL"),
        ({0: -15, 1: -9}, [], 1, "error: process 1 of 2 was ended by SIGKILL"),
    ],
)
def test_the_exit_code_of_all(
    codes: dict[int, int],
    received: list[signal.Signals],
    code: int,
    said: str,
    capsys: pytest.CaptureFixture[Any],
) -> None:
    assert _exit_code(Output(), codes, 2, received) == code
    stderr = capsys.readouterr().err
    assert stderr.startswith(said) if said else not stderr


def test_the_processes_get_the_command_without_nproc() -> None:
    for option in (["--nproc", "2"], ["--nproc=2"]):
        assert _without_nproc(["train", *option, "ffgan", "data=x"]) == ["train", "ffgan", "data=x"]
