"""docs/cli.md says what the commands say."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

DOCS = Path(__file__).parents[2] / "docs"


def options(text: str) -> set[tuple[str, ...]]:
    """Every option with its command and its help; how Typer words types and defaults differs between versions."""
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
