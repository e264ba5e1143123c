"""Every exception of a command has a message, an exit code, and a hint where there is a remedy."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
import torch
import typer

from gancli.cli.console import Output
from gancli.cli.errors import explain, reported
from gancli.errors import ConfigError, DataError, GancliError, RunError, UsageError


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (GancliError("it broke", "mend it"), 1, "it broke"),
        (RunError("NaN"), 1, "NaN"),
        (UsageError("no"), 2, "no"),
        (ConfigError("train.seed: received 'x'"), 2, "train.seed"),
        (DataError("images.txt is missing"), 3, "images.txt"),
        (KeyboardInterrupt(), 130, "interrupted"),
        (FileNotFoundError(errno.ENOENT, "No such file", "a.txt"), 3, "a.txt: no such file"),
        (NotADirectoryError(errno.ENOTDIR, "x", "a.txt"), 3, "not a folder"),
        (IsADirectoryError(errno.EISDIR, "x", "a"), 3, "not a file"),
        (PermissionError(errno.EACCES, "x", "a.txt"), 1, "a.txt: permission denied"),
        (OSError(errno.ENOSPC, "x", "a.h5"), 1, "a.h5: no space left"),
        (OSError(errno.EIO, "Input/output error", "a.h5"), 1, "a.h5: Input/output error"),
        (MemoryError(), 1, "out of memory"),
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"), 1, "Tried to allocate 2 GiB"),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: x"), 1, "out of memory"),
        (RuntimeError("operator torchvision::nms does not exist"), 1, "torchvision does not fit"),
        (ZeroDivisionError("division by zero"), 1, "unexpected ZeroDivisionError: division by zero"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else "",
)
def test_what_the_user_reads(error: BaseException, code: int, words: str) -> None:
    failure = explain(error)
    assert failure.exit_code == code
    assert words in failure.message


def test_out_of_memory_and_a_full_disk_say_what_to_do() -> None:
    assert "smaller batch" in (explain(MemoryError()).hint or "")
    assert "run the same command again" in (explain(OSError(errno.ENOSPC, "x")).hint or "")
    assert "GANCLI_DEBUG=1" in (explain(ZeroDivisionError()).hint or "")


def test_the_hint_of_our_errors_is_kept(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(typer.Exit) as ended, reported(Output()):
        raise DataError("a.h5: cut short", "copy it again")
    assert ended.value.exit_code == 3
    assert capsys.readouterr().err == "error: a.h5: cut short\nhint: copy it again\n"


def test_an_exit_code_passes_through() -> None:
    with pytest.raises(typer.Exit) as ended, reported(Output()):
        raise typer.Exit(143)
    assert ended.value.exit_code == 143


def test_no_permission_through_the_command_line(
    gancli: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), "data/dataset.json")

    monkeypatch.setattr("gancli.data.verify.verify", refuse)
    answer = gancli("data", "check", tmp_path)  # type: ignore[operator]
    assert answer.code == 1
    assert "data/dataset.json: permission denied" in answer.stderr
