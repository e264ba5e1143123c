"""The house rules that no linter knows: who may import whom, and the tone of docstrings."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "gancli"
FILES = sorted(PACKAGE.rglob("*.py"))

# From the ground up; a room imports from its own floor and from those below it.
FLOORS = (
    (
        *("errors", "progress", "atomic", "cards", "csv_files", "hashes", "pickles"),
        *("version", "registry", "run_paths", "__init__"),
    ),
    ("ops",),
    ("config", "losses", "weights"),
    ("data", "engine", "weights_folder"),
    ("models",),
    ("encoders",),
    ("inference", "figures"),
    ("sampling", "inpainting", "exporting"),
    ("scores", "human"),
    ("training",),
    ("importing",),
    ("cli", "__main__"),
)
FLOOR = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}


def room_of(file: Path) -> str:
    return file.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(file: Path) -> Iterator[tuple[str, int]]:
    """The rooms that a file imports when it is loaded or called, with the line; typing-only imports count too."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("gancli."):
            yield node.module.split(".")[1], node.lineno
        elif isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.startswith("gancli."):
                    yield alias.name.split(".")[1], node.lineno


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(PACKAGE)))
def test_nobody_imports_upwards(file: Path) -> None:
    floor = FLOOR[room_of(file)]
    upwards = [f"line {line}: {room}" for room, line in imports(file) if FLOOR[room] > floor]
    assert not upwards


def docstrings(file: Path) -> Iterator[tuple[str, str]]:
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
            text = ast.get_docstring(node)
            if text:
                yield f"{getattr(node, 'name', 'module')}:{getattr(node, 'lineno', 1)}", text


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(PACKAGE)))
def test_docstrings_open_plainly(file: Path) -> None:
    """Imperatives and noun phrases, as CONTRIBUTING.md says; no "What …", no argument that opens with "Of …"."""
    riddles = []
    for where, text in docstrings(file):
        if re.match(r"(What|How|Which|Whether|Likewise|Of)\b", text):
            riddles.append(f"{where}: {text.splitlines()[0]}")
        riddles += [
            f"{where}: {entry.strip()}"
            for entry in re.findall(
                r"^ {4,}\*{0,2}\w+: (?:Of|Likewise|As|What|How|Where to)\b.*", text, re.MULTILINE
            )
        ]
    assert not riddles
