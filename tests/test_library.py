"""The public functions: one for each command, typed, and docs/library.md shows calls that work."""

from __future__ import annotations

import inspect
import re
import typing
from pathlib import Path

import pytest

import gancli
from gancli.cli.main import app
from tests.conftest import ROOT

PAGE = (ROOT / "docs/library.md").read_text(encoding="utf-8")
FUNCTIONS = [name for name in gancli.__all__ if inspect.isfunction(getattr(gancli, name))]
SHORT = ["train.steps=2", "train.minutes=null", "train.device=cpu", "loader.batch=4", "loader.workers=0"]


def command_names(group: typing.Any, prefix: str = "") -> set[str]:
    """The commands below a Typer application or a group of it, as `score fid`."""
    names = {f"{prefix}{command.name or command.callback.__name__}" for command in group.registered_commands}
    for below in group.registered_groups:
        names |= command_names(
            below.typer_instance, f"{prefix}{below.name or below.typer_instance.info.name} "
        )
    return names


def documented() -> dict[str, list[str]]:
    """Commands of the table of docs/library.md with the functions beside them."""
    table = {}
    for commands, functions in re.findall(r"^\| (`gancli .*?) \| (.*) \|$", PAGE, re.MULTILINE):
        first, *others = re.findall(r"`([^`]+)`", commands)
        words = first.removeprefix("gancli ").split()
        for last in [words[-1], *others]:
            table[" ".join([*words[:-1], last])] = re.findall(r"gancli\.(\w+)", functions)
    return table


def test_every_command_has_its_function() -> None:
    table = documented()
    assert command_names(app) - {"doctor"} == table.keys()
    missing = {name for names in table.values() for name in names if not hasattr(gancli, name)}
    assert missing <= {"config", "data"}  # rooms, which are not functions


def test_every_public_name_is_documented() -> None:
    assert {name for name in gancli.__all__ if not name.startswith("_") and f"gancli.{name}" not in PAGE} <= {
        "MaskFile",
        "SplitHoles",
    }


@pytest.mark.parametrize("name", FUNCTIONS)
def test_signatures_say_what_they_take(name: str) -> None:
    """Nothing is `Any`, and a path may be a str."""
    signature = inspect.signature(getattr(gancli, name))
    for parameter in signature.parameters.values():
        annotation = str(parameter.annotation)
        assert annotation != str(inspect.Parameter.empty)
        assert "Any" not in annotation.split()
        if re.search(r"\bPath\b", annotation):
            assert re.search(r"\bstr\b", annotation), f"{parameter.name}: {annotation}"
    assert "Any" not in str(signature.return_annotation)


@pytest.mark.slow
@pytest.mark.usefixtures("judges_at_chance")
def test_the_page_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything that docs/library.md shows, with 48 birds and two steps."""
    monkeypatch.chdir(tmp_path)
    code = "\n".join(re.findall(r"^```python\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE))
    code = code.replace("images=2000", "images=48")
    code = re.sub(r"(load_recipe\(\"[^\"]+\", \[)", rf"\1*{SHORT!r}, ", code)
    exec(compile(code, "docs/library.md", "exec"), {})  # noqa: S102
    assert (tmp_path / "tables").is_dir()
    assert len(gancli.read_rows("results.csv")) >= 3


def test_the_files_that_contributing_names_exist() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    named = re.findall(r"`((?:gancli|tests|recipes|docs)/[^`<*]+\.\w+)`", text)
    assert len(named) >= 15
    assert [name for name in named if not (ROOT / name).is_file()] == []
