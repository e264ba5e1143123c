"""The output object: stdout and stderr as text, as JSON and quietly, on a terminal and in a pipe."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path

import pytest

from gancli.cli import console
from gancli.cli.console import Output, ProgressMode
from gancli.engine.ranks import ProcessRank


def test_text_json_and_quiet(capsys: pytest.CaptureFixture[str]) -> None:
    data = {"path": Path("a/b"), "value": math.nan, "nested": {"list": (1, math.inf)}}
    for out, stdout in (
        (Output(), "all is well\n"),
        (Output(quiet=True), "a/b\n"),
        (Output(json=True), '{"path": "a/b", "value": null, "nested": {"list": [1, null]}}\n'),
        (Output(json=True, quiet=True), '{"path": "a/b", "value": null, "nested": {"list": [1, null]}}\n'),
    ):
        out.result(data, "all is well", quiet="a/b")
        assert capsys.readouterr() == (stdout, "")


def test_everything_beside_the_result_is_on_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    out = Output(verbose=1)
    out.note("note")
    out.detail("detail")
    out.warn("[bold]not markup")
    assert capsys.readouterr() == ("", "note\ndetail\nwarning: [bold]not markup\n")


def test_quiet_keeps_warnings_and_errors_only(capsys: pytest.CaptureFixture[str]) -> None:
    out = Output(quiet=True, verbose=1)
    out.note("note")
    out.detail("detail")
    out.warn("careful")
    out.fail("broken", None, 1)
    assert capsys.readouterr() == ("", "warning: careful\nerror: broken\n")


def test_an_error_is_an_object_with_json(capsys: pytest.CaptureFixture[str]) -> None:
    Output(json=True).fail("broken", "mend it", 3)
    stdout, stderr = capsys.readouterr()
    assert json.loads(stdout) == {"error": "broken", "hint": "mend it", "exit_code": 3}
    assert stderr == "error: broken\nhint: mend it\n"


def test_progress_in_a_pipe_is_lines(capsys: pytest.CaptureFixture[str]) -> None:
    with Output().progress("preparing") as advance:
        advance(1, 2000)
        advance(2000, 2000)
    stdout, stderr = capsys.readouterr()
    assert stdout == ""
    assert stderr.startswith("preparing: 2,000 of 2,000 images, ")
    assert stderr.count("\n") == 1


def test_progress_of_unknown_length(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(console, "PLAIN_INTERVAL", 0.0)
    with Output().progress("fetching", "bytes") as advance:
        advance(5, 0)
    assert capsys.readouterr().err.startswith("fetching: 5 bytes, ")


@pytest.mark.parametrize("out", [Output(json=True), Output(quiet=True), Output(progress=ProgressMode.NONE)])
def test_no_progress(out: Output, capsys: pytest.CaptureFixture[str]) -> None:
    with out.progress("preparing") as advance, out.status() as show:
        advance(1, 1)
        show("step 1")
    assert capsys.readouterr() == ("", "")


def test_a_bar_leaves_stdout_alone(capsys: pytest.CaptureFixture[str]) -> None:
    out = Output(json=True, progress=ProgressMode.BAR)
    with out.progress("preparing") as advance:
        advance(1, 2)
    with out.status() as show:
        show("step 1 [discriminator 1.3]")
    assert capsys.readouterr().out == ""


def test_no_colour_on_a_terminal(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("FORCE_COLOR", "1")
    Output().warn("careful")
    assert "\x1b[" in capsys.readouterr().err
    monkeypatch.delenv("FORCE_COLOR")
    monkeypatch.setenv("NO_COLOR", "1")
    Output().warn("careful")
    assert "\x1b[3" not in capsys.readouterr().err


def test_a_table_is_aligned() -> None:
    table = Output().table(("name", "n"), [("a", 1), ("longer", 200)], right=("n",))
    assert table == "name       n\n────────────\na          1\nlonger   200"


def test_a_table_is_neither_wrapped_nor_read_as_markup_and_counts_wide_characters_twice() -> None:
    table = Output().table(("name", "n"), [("[red]" + "x" * 300, 1), ("鳥", 2)], right=("n",))
    assert table.splitlines()[2:] == ["[red]" + "x" * 300 + "   1", "鳥" + " " * 306 + "2"]


@pytest.mark.parametrize("mode", ["bar", "plain"])
def test_of_several_processes_only_the_first_shows_progress(
    mode: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")  # a bar is drawn even where there is no terminal
    for rank in (0, 1):
        out = Output(progress=ProgressMode(mode))
        out.process = ProcessRank(rank, 2, rank, "localhost", 1)
        with out.progress("features", "images") as advance:
            advance(3, 3)
        assert ("features" in capsys.readouterr().err) == (rank == 0)
