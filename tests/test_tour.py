"""The tour of README.md, typed in order: a few drawn birds and two training steps in place of thousands."""

from __future__ import annotations

import re
import shlex
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import soundfile
from PIL import Image, ImageDraw

from tests.cli.conftest import call
from tests.conftest import ROOT, write_raw_cub
from tests.data.sources.test_oxford102 import write_raw_oxford102

SHORT = ("train.minutes=null", "train.steps=2", "train.log_every=1", "train.device=cpu", "loader.batch=4")
# Added to the commands that begin so; the longest beginning counts
ADDED = {
    "prepare demo": ("--images", "48", "--jobs", "1"),
    "pretrain-encoder": SHORT,
    "train": SHORT,
    "train ffgan --resume": ("train.steps=3",),
    "sample": ("--device", "cpu"),
    "inpaint": ("--device", "cpu"),
    "score fid": ("--device", "cpu"),
    "score r-precision": ("--device", "cpu", "--candidates", "4"),  # of too few classes for 100
    "score shapes": ("--device", "cpu"),
}


def sections() -> list[tuple[str, list[list[str]]]]:
    """Return the tour's sections by title with the command lines of each, as the shell splits them."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    tour = text.partition("\n## A tour\n")[2].partition("\n## ")[0]
    found = []
    for title, block in re.findall(r"^\*\*(.*?)\.\*\*.*?^```sh\n(.*?)^```", tour, re.DOTALL | re.MULTILINE):
        lines = block.replace("\\\n", " ").splitlines()
        words = [shlex.split(part, comments=True) for line in lines for part in line.split("&&")]
        found.append((title, [each for each in words if each]))
    return found


def added(arguments: list[str]) -> tuple[str, ...]:
    beginnings = [beginning for beginning in ADDED if f"{' '.join(arguments)} ".startswith(f"{beginning} ")]
    return ADDED[max(beginnings, key=len)] if beginnings else ()


def write_stand_ins(folder: Path) -> None:
    """Write small stand-ins for what a user downloads or brings along."""
    write_raw_cub(folder / "raw")
    write_raw_oxford102(folder / "raw/flowers")
    (folder / "my-images").mkdir()
    for name in ("first", "second", "third", "fourth"):
        Image.new("RGB", (80, 90), "red").save(folder / f"my-images/{name}.png")
        (folder / f"my-images/{name}.txt").write_text(f"the {name} red square\n", encoding="utf-8")
    soundfile.write(folder / "recording.wav", np.sin(np.arange(16000) / 10) / 2, 16000)
    Image.new("RGB", (64, 64), "green").save(folder / "photo.png")
    hole = Image.new("L", (64, 64))
    ImageDraw.Draw(hole).rectangle((20, 20, 40, 40), fill=255)
    hole.save(folder / "hole.png")


def test_there_is_a_tour() -> None:
    commands = [command for _, block in sections() for command in block]
    assert len(sections()) >= 6
    assert len(commands) >= 30
    assert all(command[0] == "gancli" for command in commands)


@pytest.mark.slow
@pytest.mark.usefixtures("judges_at_chance")
def test_the_tour_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_stand_ins(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GANCLI_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("GANCLI_OFFLINE", "1")
    monkeypatch.setenv("NO_COLOR", "1")
    for title, commands in sections():
        if title == "Speech" and find_spec("espeakng_loader") is None:
            continue  # the extra `speech` is not installed
        for _, *arguments in commands:
            answer = call(*arguments, *added(arguments))
            assert answer.code == 0, f"gancli {shlex.join(arguments)}\n{answer.stdout}{answer.stderr}"
    for file in ("tables", "results.csv", "images/test/samples.csv", "images/between", "filled/test"):
        assert (tmp_path / file).exists(), file
