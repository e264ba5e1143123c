"""log.csv, progress lines, JSON lines."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gancli.engine.events import Event, Events, LogFile, progress_line
from gancli.errors import RunError


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_the_progress_line() -> None:
    line = progress_line(1200, 3.21, {"d": 1.324, "g": 4.1}, 51.23, 310.2)
    assert line == "step 1200 · 3.2 epochs · d 1.32 · g 4.1 · 51.2 img/s · 0:05:10 left"
    assert not progress_line(1, 0, {}, 1, None).endswith("left")


def test_events_reach_the_sink_and_the_stream() -> None:
    seen: list[Event] = []
    stream = io.StringIO()
    Events(seen.append, stream).emit("metrics", "é", step=3, fid=float("nan"), terms={"a": float("inf")})
    assert [(event.kind, event.text, event.data["step"]) for event in seen] == [("metrics", "é", 3)]
    record = json.loads(stream.getvalue())
    assert record == {"event": "metrics", "text": "é", "step": 3, "fid": None, "terms": {"a": None}}
    Events().emit("end", "nobody listens")


def test_rows_are_appended_with_columns_as_they_turn_up(tmp_path: Path) -> None:
    log = LogFile(tmp_path / "log.csv", 0)
    log.append({"step": 1, "a": 0.123456789})
    log.append({"step": 2, "a": 1.0, "b": None})
    log.append({"step": 3, "b": 7})
    assert rows(log.path) == [
        {"step": "1", "a": "0.123457", "b": ""},
        {"step": "2", "a": "1", "b": ""},
        {"step": "3", "a": "", "b": "7"},
    ]


@given(
    last=st.integers(0, 12),
    resumed=st.integers(0, 12),
    cut=st.integers(0, 30),
)
def test_resuming_drops_later_rows_and_a_row_cut_short(
    tmp_path_factory: pytest.TempPathFactory, last: int, resumed: int, cut: int
) -> None:
    path = tmp_path_factory.mktemp("log") / "log.csv"
    log = LogFile(path, 0)
    for step in range(1, last + 1):
        log.append({"step": step, "a": step / 10})
    whole = path.read_bytes() if path.exists() else b""
    path.write_bytes(whole[: max(0, len(whole) - cut)])
    complete = [row for row in whole[: max(0, len(whole) - cut)].decode().split("\n")[1:-1] if row]
    resumed_log = LogFile(path, resumed)
    resumed_log.append({"step": resumed + 1, "a": 9.0})
    assert [int(row["step"]) for row in rows(path)] == [
        *(int(row.split(",")[0]) for row in complete if int(row.split(",")[0]) <= resumed),
        resumed + 1,
    ]


def test_a_log_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    log = LogFile(tmp_path / "log.csv", 0)
    log.append({"step": 1})
    log.path.unlink()
    log.path.mkdir()
    with pytest.raises(RunError, match=r"log\.csv: cannot be written"):
        log.append({"step": 2})


def test_events_need_no_torch_and_no_terminal_library() -> None:
    code = "import sys, gancli.engine.events; print({'torch', 'rich', 'typer'} & set(sys.modules))"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "set()"
