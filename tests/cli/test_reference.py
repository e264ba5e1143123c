"""docs/cli.md agrees with the help of the commands, and commands in other files exist."""

from __future__ import annotations

import importlib.util
import re
import shlex
from pathlib import Path

import pytest

from tests.cli.conftest import Gancli

DOCS = Path(__file__).parents[2] / "docs"
# cli.md is compared as a whole; results.md lists commands of earlier versions
WRITTEN = sorted(
    {*DOCS.glob("*.md"), DOCS.parent / "README.md", *DOCS.parent.glob("recipes/*.sh")}
    - {DOCS / "cli.md", DOCS / "results.md"}
)


def options(text: str) -> set[tuple[str, ...]]:
    """Return all options with their commands and help, without types and defaults, which depend on Typer's version."""
    found = set()
    command = ""
    for line in text.splitlines():
        if heading := re.match(r"#+ `(.*)`", line):
            command = heading[1]
        elif option := re.match(r"\* `([^`]*)`: (.*)", line):
            names = " ".join(re.findall(r"-{1,2}[a-z][\w-]*", option[1]))
            found.add((command, names, option[2].partition("  [")[0]))
    return found


def test_the_reference_is_up_to_date() -> None:
    spec = importlib.util.spec_from_file_location("generate_cli", DOCS / "generate_cli.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    written = options((DOCS / "cli.md").read_text(encoding="utf-8"))
    assert len(written) > 100
    assert written == options(module.reference()), "run `make docs`"


def commands(text: str) -> list[list[str]]:
    """Return the gancli command lines of a text, with continued lines joined and without comments."""
    lines = text.replace("\\\n", " ").splitlines()
    found = [re.search(r"(?:^|[|$;&(] ?|\s{4})(gancli [a-z-]+ .*)", line) for line in lines]
    return [shlex.split(match[1], comments=True) for match in found if match]


@pytest.mark.parametrize("path", WRITTEN, ids=lambda path: path.name)
def test_written_commands_use_options_that_exist(gancli: Gancli, path: Path) -> None:
    for words in commands(path.read_text(encoding="utf-8")):
        names = [word for word in words[1:4] if re.fullmatch(r"[a-z][a-z0-9-]*", word)]
        help_text = gancli(*names, "--help")
        if help_text.code != 0:  # a word after the first is an argument
            help_text = gancli(names[0], "--help")
        assert help_text.code == 0, words
        for word in words:
            if word.startswith("--"):
                assert f" {word.partition('=')[0]} " in help_text.stdout, words


def test_there_are_commands_to_check() -> None:
    assert len(commands((DOCS.parent / "README.md").read_text(encoding="utf-8"))) >= 10
    assert len(commands((DOCS.parent / "recipes/quickstart.sh").read_text(encoding="utf-8"))) >= 8
