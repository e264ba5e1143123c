"""Common behaviour of all commands: help with examples, suggestions, --json, -q, exit codes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main

import gancli as package
from gancli.cli.main import app
from tests.cli.conftest import Gancli, call_process


def leaves(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    children = getattr(command, "commands", None)
    if children is None:
        yield path
    else:
        for name, child in children.items():
            yield from leaves(child, (*path, name))


COMMANDS = sorted(leaves(typer.main.get_command(app)))


def test_the_commands_are_those_of_the_guide() -> None:
    assert {" ".join(command) for command in COMMANDS} >= {
        "prepare demo", "prepare cub", "prepare coco", "prepare folder", "data check", "data show",
        "pretrain-encoder damsm", "train ffgan", "sample", "score fid", "score r-precision", "score agreement",
        "score table", "recipes ls", "recipes show", "recipes validate", "recipes diff", "doctor",
    }  # fmt: skip


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
@pytest.mark.parametrize("flag", ["-h", "--help"])
def test_help_begins_with_two_examples(gancli: Gancli, command: tuple[str, ...], flag: str) -> None:
    answer = gancli(*command, flag)
    assert answer.code == 0
    head, _, options = answer.stdout.partition("─ ")
    assert head.count(f"$ gancli {' '.join(command)}") >= 2
    for option in ("--json", "--quiet", "--verbose"):
        assert option in options


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_examples_use_options_that_exist(gancli: Gancli, command: tuple[str, ...]) -> None:
    text = gancli(*command, "--help").stdout
    head, _, options = text.partition("─ ")
    used = {
        word for line in head.splitlines() if "$ gancli" in line for word in line.split() if word[:2] == "--"
    }
    assert all(f" {option} " in options for option in used)


def test_version(gancli: Gancli) -> None:
    assert gancli("--version").stdout == f"gancli {package.__version__}\n"


def test_without_arguments_it_shows_help_and_is_a_usage_error(gancli: Gancli) -> None:
    for arguments in ((), ("prepare",), ("score",)):
        answer = gancli(*arguments)
        assert answer.code == 2
        assert "Usage: gancli" in answer.stdout
        assert answer.stderr == ""


@pytest.mark.parametrize(
    ("arguments", "suggestion"),
    [
        (("prepaer",), "prepare"),
        (("prepare", "cup"), "cub"),
        (("prepare", "cub", "--image-sise", "64"), "--image-size"),
        (("train", "ffgan", "--recpie", "x"), "--recipe"),
    ],
)
def test_a_typing_mistake_names_what_was_meant(
    gancli: Gancli, arguments: tuple[str, ...], suggestion: str
) -> None:
    answer = gancli(*arguments)
    assert answer.code == 2
    assert suggestion in answer.stderr
    assert answer.stderr.startswith("error: ")
    assert "hint: gancli" in answer.stderr


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("prepare", "cub"), 2),
        (("prepare", "cub", "--root", "nowhere", "--out", "out"), 3),
        (("prepare", "cub", "--root", "nowhere", "--out", "out", "--image-size", "two"), 2),
        (("data", "check", "nowhere"), 3),
        (("data", "show", "nowhere"), 3),
        (("train", "ffgan"), 2),
        (("train", "ffgan", "data=nowhere"), 3),
        (("train", "ffgan", "--resume", "nowhere"), 3),
        (("pretrain-encoder", "damsm", "--recipe", "nothing"), 2),
        (("sample", "nowhere", "--text", "a bird"), 3),
        (("score", "fid", "nowhere:test", "nowhere", "--features", "encoder:nowhere"), 3),
        (("score", "fid", "a", "b", "--features", "vgg"), 3),
        (("score", "r-precision", "nowhere", "--encoder", "nowhere"), 3),
        (("score", "table", "ffgan", "--results", "nowhere.csv"), 3),
        (("recipes", "show", "ffgan/cup"), 2),
        (("recipes", "validate", "nothing.yaml"), 2),
        (("no-such-command",), 2),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_errors_are_one_message_and_with_json_one_object(
    gancli: Gancli, arguments: tuple[str, ...], code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    plain = gancli(*arguments)
    assert plain.code == code
    assert plain.stdout == ""
    assert plain.stderr.startswith("error: ")

    answer = gancli(*arguments, "--json")
    assert answer.code == code
    assert json.loads(answer.stdout).keys() == {"error", "hint", "exit_code"}
    assert answer.json["exit_code"] == code
    assert answer.json["error"] in answer.stderr
    assert list(tmp_path.iterdir()) == []  # nothing was written


def test_stdout_is_one_json_object_and_the_rest_is_on_stderr(
    gancli: Gancli, tiny_dataset: Path, tmp_path: Path
) -> None:
    for arguments in (
        ("recipes", "ls"),
        ("recipes", "show", "ffgan/demo"),
        ("recipes", "validate"),
        ("recipes", "diff", "ffgan/cub", "ffgan/coco"),
        ("data", "check", tiny_dataset),
        ("data", "show", tiny_dataset, "--sheet", tmp_path / "sheet.png"),
        ("prepare", "demo", "--out", tmp_path / "demo", "--images", "4", "--image-size", "16", "--jobs", "1"),
        ("doctor",),
    ):
        answer = (
            gancli(*arguments, "--json", "--progress", "plain")
            if arguments[0] == "prepare"
            else gancli(*arguments, "--json")
        )
        assert answer.code == 0, answer.stderr
        assert len(answer.stdout.splitlines()) == 1
        assert "error" not in answer.json


def test_quiet_is_the_bare_result(gancli: Gancli, tiny_dataset: Path) -> None:
    answer = gancli("data", "check", tiny_dataset, "-q")
    assert (answer.stdout, answer.stderr) == (f"{tiny_dataset}\n", "")
    names = gancli("recipes", "ls", "--quiet").stdout.splitlines()
    assert "ffgan/cub" in names
    assert all("/" in name and " " not in name for name in names)


def test_a_reader_that_goes_away_is_no_error() -> None:
    program = f"{sys.executable} -m gancli recipes show ffgan/cub -q | head -n 1; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[0] == "model:"
    assert done.stderr == ""
    assert done.stdout.splitlines()[1] in ("0", "141")  # 0 where all of it fitted into the pipe


def test_debug_shows_the_traceback_and_keeps_the_exit_code(tmp_path: Path) -> None:
    answer = call_process(["data", "check", tmp_path], {"GANCLI_DEBUG": "1"})
    assert answer.code == 3
    assert "Traceback (most recent call last)" in answer.stderr
    assert "error: " in answer.stderr


def test_shell_completion_offers_recipes() -> None:
    environment = {
        **os.environ,
        "_GANCLI_COMPLETE": "complete_bash",
        "COMP_WORDS": "gancli recipes show ffgan/c",
        "COMP_CWORD": "3",
    }
    program = "import sys; sys.argv = ['gancli']; from gancli.cli.main import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=False
    )
    assert {"ffgan/cub", "ffgan/coco"} <= set(done.stdout.split())
    assert "damsm/cub" not in done.stdout
