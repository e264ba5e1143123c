"""Options of a command in frozen dataclasses."""

from __future__ import annotations

import dataclasses
import inspect
from pathlib import Path
from typing import Annotated, Any

import pytest
import typer
from typer.testing import CliRunner

from gancli.cli.app import command
from gancli.cli.console import Output
from gancli.cli.options import flattened, given, options
from gancli.errors import UsageError

Seed = Annotated[int, typer.Option("--seed", min=0, help="Seed of every random number.")]


@options("Holes")
class Hole:
    seed: Seed = 0
    hole_seed: Annotated[int, typer.Option("--hole-seed", help="Seed of the holes.")] = 0
    preview: Annotated[Path | None, typer.Option("--preview", help="Image to write.")] = None
    text: Annotated[list[str] | None, typer.Option("--text", "-t", help="May repeat.")] = None
    n: Annotated[int, typer.Option("-n", default_factory=lambda: 7, help="Images.", rich_help_panel="Other")]

    def __post_init__(self) -> None:
        if self.n > 100:
            raise UsageError("-n 101: too many")


@options()
class Wider(Hole):
    seed: Seed = 1
    wide: Annotated[bool, typer.Option("--wide", help="Wide.")] = False


def run(group: type[Any], *arguments: str) -> tuple[list[Any], str]:
    app = typer.Typer()
    seen: list[Any] = []

    def function(
        out: Output,
        model: Annotated[Path, typer.Argument()],
        hole: Hole,
        other: Annotated[int, typer.Option()] = 3,
    ) -> None:
        """Do it."""
        seen.extend([model, hole, other])

    function.__annotations__["hole"] = group
    command(app, "do", examples=("a", "b"))(function)
    result = CliRunner().invoke(app, arguments, env={"NO_COLOR": "1", "TERMINAL_WIDTH": "160"})
    return seen, result.output


def test_a_group_becomes_options_and_comes_back_as_an_object() -> None:
    seen, _ = run(Hole, "m", "--hole-seed", "4", "-t", "a", "--text", "b", "--other", "9")
    assert seen == [Path("m"), Hole(hole_seed=4, text=["a", "b"], n=7), 9]
    with pytest.raises(dataclasses.FrozenInstanceError):
        seen[1].hole_seed = 5


def test_defaults_and_required_options() -> None:
    assert run(Hole, "m")[0] == [Path("m"), Hole(n=7, text=run(Hole, "m")[0][1].text), 3]

    @options()
    class Needs:
        key: Annotated[str, typer.Option("--key")]

    seen, output = run(Needs, "m")
    assert not seen
    assert "Missing option '--key'" in output


def test_inherited_options_keep_their_panel_and_may_be_replaced() -> None:
    seen, _ = run(Wider, "m", "--wide", "--text", "a")
    assert seen[1] == Wider(seed=1, text=["a"], n=7, wide=True)
    lines = run(Hole, "--help")[1].splitlines()
    panel = ""
    where = {}
    for line in lines:
        if line.startswith("╭─"):
            panel = line.split()[1]
        where.update({word: panel for word in line.split() if word.startswith("-") and word.strip("-")})
    assert (where["--preview"], where["--text"], where["-n"], where["--other"]) == (
        "Holes",
        "Holes",
        "Other",
        "Options",
    )


def test_an_alias_keeps_its_own_panel_elsewhere() -> None:
    option = Seed.__metadata__[0]  # type: ignore[attr-defined]
    assert option.rich_help_panel is None


def test_a_group_checks_itself_and_the_error_is_one_message() -> None:
    seen, output = run(Hole, "m", "-n", "101")
    assert not seen
    assert "-n 101: too many" in output
    assert "Traceback" not in output


def test_given_names_the_options_that_were_used() -> None:
    assert given(Hole(n=7)) == ["-n"]  # no default of its own: always given
    assert given(Hole(n=7, hole_seed=1, text=[]), "hole_seed", "text", "preview") == ["--hole-seed"]


def test_an_option_of_two_groups_is_refused() -> None:
    def function(first: Hole, second: Wider) -> None: ...

    parameters = inspect.signature(function, eval_str=True).parameters.values()
    with pytest.raises(TypeError, match="'seed' appears twice"):
        flattened(parameters)


def test_a_field_is_named_as_its_option() -> None:
    """Messages name an option by its field."""
    with pytest.raises(TypeError, match="count: its option has to be --count"):

        @options()
        class Wrong:
            count: Annotated[int, typer.Option("-n", "--number")] = 0
