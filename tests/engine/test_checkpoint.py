"""Run folders, checkpoints, messages about damaged ones, and the changes that a resumed run may make."""

from __future__ import annotations

import errno
import json
import os
import random
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from gancli.engine import checkpoint as module
from gancli.engine.checkpoint import (
    Checkpoint,
    RunFolder,
    checkpoints_in,
    damage,
    prune,
    random_state,
    read_checkpoint,
    refuse_changes,
    seed_everything,
    set_random_state,
    step_of,
    write_checkpoint,
)
from gancli.errors import RunError, UsageError


def make(folder: Path, step: int) -> Path:
    path = folder / f"step-{step:08d}"
    state = {"random": [random_state()], "note": ("a", 1.5, None)}
    write_checkpoint(path, Checkpoint(step, {"g.w": torch.arange(6.0) + step}, {}, state))
    return path


def draws() -> tuple[Any, ...]:
    return random.random(), np.random.normal(), np.random.randint(9), torch.rand(3).tolist()


# --- checkpoints


def test_a_checkpoint_reads_back(tmp_path: Path) -> None:
    read = read_checkpoint(make(tmp_path, 7))
    assert read.step == 7
    assert torch.equal(read.networks["g.w"], torch.arange(6.0) + 7)
    assert read.state["note"] == ("a", 1.5, None)


def test_random_numbers_continue_after_a_round_trip_through_the_file(tmp_path: Path) -> None:
    np.random.normal()  # leaves the generator's second normal number waiting
    path = make(tmp_path, 1)
    expected = draws()
    seed_everything(99)
    set_random_state(read_checkpoint(path).state["random"][0])
    assert draws() == expected


def test_streams_of_a_seed_differ_and_repeat() -> None:
    before = random_state()
    try:
        seen = []
        for seed, stream in [(1, 0), (1, 1), (2, 0), (1, 0)]:
            seed_everything(seed, stream)
            seen.append(draws())
        assert seen[0] == seen[3]
        assert len({str(values) for values in seen}) == 3
    finally:
        set_random_state(before)


@pytest.mark.parametrize(
    "name", ["networks.safetensors", "averaged.safetensors", "state.pt", "checkpoint.json"]
)
def test_one_byte_less_is_noticed_and_the_newest_good_one_named(tmp_path: Path, name: str) -> None:
    make(tmp_path, 1)
    good, bad = make(tmp_path, 2), make(tmp_path, 3)
    with (bad / name).open("r+b") as file:
        file.truncate((bad / name).stat().st_size - 1)
    with pytest.raises(RunError) as caught:
        read_checkpoint(bad)
    assert str(bad / name) in str(caught.value)
    assert str(good) in (caught.value.hint or "")


def test_a_changed_byte_and_a_missing_file_are_noticed(tmp_path: Path) -> None:
    flipped, missing = make(tmp_path, 1), make(tmp_path, 2)
    data = bytearray((flipped / "state.pt").read_bytes())
    data[len(data) // 2] ^= 1
    (flipped / "state.pt").write_bytes(data)
    (missing / "networks.safetensors").unlink()
    assert "sha256" in (damage(flipped) or "")
    assert "networks.safetensors" in (damage(missing) or "")
    with pytest.raises(RunError) as caught:
        read_checkpoint(missing)
    assert "no other checkpoint is good" in (caught.value.hint or "")


def test_a_pickle_that_would_run_code_is_refused(tmp_path: Path) -> None:
    class Malice:
        def __reduce__(self) -> tuple[Any, ...]:
            return os.mkdir, (str(tmp_path / "owned"),)

    path = make(tmp_path, 1)
    torch.save({"evil": Malice()}, path / "state.pt")
    manifest = json.loads((path / "checkpoint.json").read_text())
    manifest["files"]["state.pt"] = module._fingerprint(path / "state.pt")  # even with a matching checksum
    (path / "checkpoint.json").write_text(json.dumps(manifest))
    with pytest.raises(RunError, match=r"state\.pt"):
        read_checkpoint(path)
    assert not (tmp_path / "owned").exists()


def test_a_full_disk_leaves_the_earlier_checkpoints_alone(tmp_path: Path) -> None:
    """A new process gets the limit, which the second checkpoint exceeds."""
    code = (
        "import resource, signal, sys, torch\n"
        "from pathlib import Path\n"
        "from gancli.engine.checkpoint import Checkpoint, write_checkpoint\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, resource.RLIM_INFINITY))\n"
        "folder = Path(sys.argv[1])\n"
        "write_checkpoint(folder / 'step-00000001', Checkpoint(1, {'w': torch.zeros(9)}, {}, {}))\n"
        "large = {'w': torch.zeros(99_999)}\n"
        "state, network = (large, {}) if sys.argv[2] == 'state' else ({}, large)\n"
        "try:\n"
        "    write_checkpoint(folder / 'step-00000002', Checkpoint(2, network, {}, state))\n"
        "except Exception as error:\n"
        "    print(type(error).__name__, error)\n"
    )
    for part in ("state", "networks"):
        folder = tmp_path / part
        output = subprocess.check_output([sys.executable, "-c", code, str(folder), part], text=True)
        assert output.startswith("RunError")
        assert "step-00000002: the checkpoint cannot be written" in output
        assert os.strerror(errno.EFBIG) in output
        assert [path.name for path in folder.iterdir()] == ["step-00000001"]
        assert damage(folder / "step-00000001") is None


def test_the_last_ones_and_the_best_are_kept_and_an_abandoned_course_goes(tmp_path: Path) -> None:
    for step in (1, 2, 3, 4, 5, 9):
        make(tmp_path, step)
    prune(tmp_path, newest=5, keep=2, best=1)
    assert [step_of(path) for path in checkpoints_in(tmp_path)] == [1, 4, 5]
    assert len(list(tmp_path.iterdir())) == 3


# --- run folders


def test_runs_are_numbered_from_one_past_the_last(tmp_path: Path) -> None:
    (tmp_path / "0007-old").mkdir()
    (tmp_path / "notes").mkdir()
    assert RunFolder.create(tmp_path, "a").path.name == "0008-a"
    assert RunFolder.create(tmp_path, "b").path.name == "0009-b"


def test_no_two_runs_get_the_same_number(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        runs = list(pool.map(lambda i: RunFolder.create(tmp_path, f"r{i}").path, range(24)))
    assert len({path.name[:4] for path in runs}) == 24
    assert sorted(tmp_path.iterdir()) == sorted(runs)  # and no claim is left behind


def test_a_claim_left_by_a_kill_costs_a_number_only(tmp_path: Path) -> None:
    (tmp_path / ".0001.claim").mkdir()
    assert RunFolder.create(tmp_path, "a").path.name == "0002-a"


def test_a_run_folder_where_none_can_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="no run folder can be made here"):
        RunFolder.create(tmp_path / "file", "a")


def test_open_takes_a_run_or_one_of_its_checkpoints(tmp_path: Path) -> None:
    run = RunFolder.create(tmp_path, "a")
    with pytest.raises(UsageError, match=r"no recipe\.yaml"):
        RunFolder.open(run.path)
    run.write_recipe("train: {}\n")
    assert RunFolder.open(run.path).resume_point() is None
    first, last = make(run.checkpoints, 1), make(run.checkpoints, 2)
    assert RunFolder.open(run.path).resume_point() == last
    opened = RunFolder.open(first)
    assert (opened.path, opened.resume_point()) == (run.path, first)


def test_two_processes_never_train_one_run_and_leftovers_are_removed(run: RunFolder) -> None:
    (run.checkpoints / ".step-00000001.tmp").mkdir(parents=True)
    code = (
        "import sys; from pathlib import Path; from gancli.engine.checkpoint import RunFolder\n"
        "try:\n"
        "    with RunFolder(Path(sys.argv[1])).locked(): print('free')\n"
        "except Exception as error: print(error)\n"
    )
    command = [sys.executable, "-c", code, str(run.path)]
    with run.locked():
        assert list(run.checkpoints.iterdir()) == []
        assert "another process is training this run" in subprocess.check_output(command, text=True)
    assert subprocess.check_output(command, text=True) == "free\n"


def test_the_environment_lists_every_session(run: RunFolder) -> None:
    run.record_environment(0)
    run.record_environment(20)
    sessions = json.loads((run.path / "environment.json").read_text())["sessions"]
    assert [session["from_step"] for session in sessions] == [0, 20]
    assert sessions[0]["packages"]["torch"] == torch.__version__.split("+")[0]
    assert sessions[0]["command"] == sys.argv


def test_an_export_that_fails_keeps_the_old_folder(run: RunFolder) -> None:
    run.export(run.model, lambda into: (into / "weights").write_text("1"))

    def full(into: Path) -> None:
        (into / "weights").write_text("2")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(RunError, match="No space left"):
        run.export(run.model, full)
    assert (run.model / "weights").read_text() == "1"
    assert sorted(path.name for path in run.path.iterdir()) == ["model"]


# --- resuming with another recipe


def test_changes_of_length_reports_and_place_are_allowed() -> None:
    stored = {"train": {"epochs": 1, "log_every": 5, "device": "cuda", "seed": 0}, "loader": {"workers": 1}}
    now = {"train": {"epochs": 9, "log_every": 1, "device": "cpu", "seed": 0}, "loader": {"workers": 4}}
    refuse_changes(stored, now)


def test_every_other_change_is_listed() -> None:
    stored = {"model": {"stages": (16, 32), "gsr": True}, "train": {"seed": 0, "steps": 5}}
    now = {"model": {"stages": [16, 32], "gsr": False}, "train": {"seed": 1, "steps": 9}, "new": 3}
    with pytest.raises(UsageError) as caught:
        refuse_changes(stored, now)
    assert str(caught.value).splitlines()[1:] == [
        "  model.gsr: True → False",
        "  train.seed: 0 → 1",
        "  new: (absent) → 3",
    ]
    assert "--init-from" in (caught.value.hint or "")


def test_changeable_keys_exist() -> None:
    from gancli.config import flatten, load_recipe

    assert set(flatten(load_recipe("ffgan/cub"))) >= module.CHANGEABLE
