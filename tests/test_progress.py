"""Progress of library calls: where a person watches there is a display, a callback gets every number."""

from __future__ import annotations

import sys
import types
from collections.abc import Callable

import pytest

from gancli import progress
from gancli.progress import Progress, lines, reporting


def work(report: Progress | None, total: int = 3) -> None:
    for done in range(1, total + 1):
        if report is not None:
            report(done, total)


def terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make stderr a terminal: called in the test, as pytest replaces stderr after the fixtures."""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv("FORCE_COLOR", "1")  # rich asks the file descriptor


def notebook(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make this a notebook."""
    monkeypatch.setitem(sys.modules, "ipykernel", types.ModuleType("ipykernel"))
    monkeypatch.setattr(progress, "_NOTEBOOK_INTERVAL", 0.0)


watched = pytest.mark.parametrize("watch", [terminal, notebook])
Watch = Callable[[pytest.MonkeyPatch], None]


def test_a_callback_gets_every_number(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal(monkeypatch)
    numbers: list[tuple[int, int]] = []
    with reporting(lambda done, total: numbers.append((done, total)), "drawing", "images") as report:
        work(report)
    assert numbers == [(1, 3), (2, 3), (3, 3)]
    assert capsys.readouterr() == ("", "")


def test_in_a_terminal_there_is_a_bar(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal(monkeypatch)
    with reporting(True, "drawing [1/2]", "images") as report:
        work(report)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "drawing [1/2]" in captured.err  # not markup
    assert "3/3" in captured.err


def test_in_a_notebook_there_is_a_line_that_is_written_over(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    notebook(monkeypatch)
    with reporting(True, "drawing", "images") as report:
        work(report)
    captured = capsys.readouterr()
    assert captured.out == ""
    first, *_, last = captured.err.split("\r")[1:]
    assert first.startswith("drawing: 1 of 3 images, ")
    assert last.startswith("drawing: 3 of 3 images, ")
    assert captured.err.count("\n") == 1
    assert captured.err.endswith("\n")


def test_a_shorter_line_leaves_nothing_of_a_longer_one(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    notebook(monkeypatch)
    with reporting(True, "fetching", "bytes") as report:
        assert report is not None
        report(1, 1_000_000_000)
        report(2, 2)
    long, short = capsys.readouterr().err.rstrip("\n").split("\r")[1:]
    assert len(short) == len(long)


@watched
def test_false_is_silent(
    watch: Watch, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    watch(monkeypatch)
    with reporting(False, "drawing", "images") as report:
        work(report)
    assert report is None
    assert capsys.readouterr() == ("", "")


def test_where_nobody_watches_it_is_silent(capsys: pytest.CaptureFixture[str]) -> None:
    with reporting(True, "drawing", "images") as report:
        work(report)
    assert report is None
    assert capsys.readouterr() == ("", "")


@watched
def test_an_error_ends_the_display(watch: Watch, monkeypatch: pytest.MonkeyPatch) -> None:
    watch(monkeypatch)
    for _ in range(2):  # a second bar is refused while the first one is shown
        with pytest.raises(ZeroDivisionError), reporting(True, "drawing", "images"):
            1 / 0  # noqa: B018


def test_lines_come_at_intervals_and_at_the_end() -> None:
    written: list[str] = []
    report = lines("drawing", "images", written.append, interval=1000.0)
    work(report)
    (line,) = written
    assert line.startswith("drawing: 3 of 3 images, ")


def test_the_time_left_is_told_where_the_total_is_known() -> None:
    written: list[str] = []
    report = lines("drawing", "images", written.append, interval=0.0)
    report(1, 2)
    report(1, 0)
    assert "s left" in written[0]
    assert written[1].startswith("drawing: 1 images, ")
    assert "left" not in written[1]
