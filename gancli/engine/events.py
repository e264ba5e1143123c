"""Reports of a training run: log.csv, one progress line per interval, and events as JSON lines.

Nothing here prints. The caller's sink decides how a line is shown.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Literal, TextIO

from gancli.csv_files import read_csv, write_csv
from gancli.errors import RunError

Kind = Literal["start", "progress", "checkpoint", "sample", "metrics", "warning", "end"]


@dataclass(frozen=True)
class Event:
    """Event of a run.

    Attributes:
        kind: Kind of event.
        text: One line for a reader.
        data: The same information for a program, as plain values.
    """

    kind: Kind
    text: str
    data: Mapping[str, object] = field(default_factory=dict)


Sink = Callable[[Event], None]


class Events:
    """Passes each event to a sink and, as a line of JSON, to a stream.

    Args:
        sink: Function called with every event, in order, from the training process; None shows nothing.
        json_lines: Open text stream, or None. It gets one object per line: `event`, `text`, then the data.
    """

    def __init__(self, sink: Sink | None = None, json_lines: TextIO | None = None) -> None:
        self._sink = sink
        self._json_lines = json_lines

    def emit(self, kind: Kind, text: str, **data: object) -> None:
        """Report an event."""
        if self._sink:
            self._sink(Event(kind, text, data))
        if self._json_lines:
            finite = {key: _finite(value) for key, value in data.items()}
            self._json_lines.write(json.dumps({"event": kind, "text": text, **finite}) + "\n")
            self._json_lines.flush()


def _finite(value: object) -> object:
    """Replace NaN and infinity, which JSON does not have, by None."""
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value


def progress_line(
    step: int,
    epochs: float,
    losses: Mapping[str, float],
    images_per_second: float,
    seconds_left: float | None,
) -> str:
    """Return `step 1200 · 3.2 epochs · discriminator 1.32 · generator 4.1 · 51.2 img/s · 0:05:10 left`."""
    parts = [f"step {step}", f"{epochs:.1f} epochs"]
    parts += [f"{name} {value:.3g}" for name, value in losses.items()]
    parts.append(f"{images_per_second:.1f} img/s")
    if seconds_left is not None:
        parts.append(f"{timedelta(seconds=round(seconds_left))} left")
    return " · ".join(parts)


class LogFile:
    """CSV file with one row per interval and the step as its first column.

    A row is appended in one write. Columns that turn up later (of a phase that runs rarely) are added to the header
    and left empty in earlier rows.

    Args:
        path: File to write; its rows are kept if it exists.
        resumed_step: Step from which training resumes. Later rows, and a row cut short by a kill, are dropped because
            training repeats them.
    """

    def __init__(self, path: Path, resumed_step: int) -> None:
        self.path = path
        self._columns: list[str] = []
        if not path.exists():
            return
        rows = read_csv(path, finished=False)
        self._columns = list(rows.columns)
        if self._columns:
            steps = rows["step"] if "step" in rows else rows.iloc[:, 0]
            kept = [text.isdigit() and int(text) <= resumed_step for text in steps]
            write_csv(path, rows.loc[kept])

    def append(self, row: Mapping[str, float | int | None]) -> None:
        """Append a row, which must hold `step`.

        Raises:
            RunError: The file cannot be written.
        """
        import pandas as pd

        new = [column for column in row if column not in self._columns]
        if new:
            rows = read_csv(self.path) if self.path.exists() else pd.DataFrame(dtype=str)
            self._columns += new
            write_csv(self.path, rows.reindex(columns=self._columns, fill_value=""))
        cells = {key: _cell(value) for key, value in row.items()}
        line = pd.DataFrame([cells], columns=self._columns).to_csv(
            index=False, header=False, lineterminator="\n"
        )
        try:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(line)
        except OSError as error:
            problem = f"{self.path}: cannot be written ({error.strerror})"
            raise RunError(problem, "Free some space, then resume.") from error


def _cell(value: float | int | None) -> str:
    """Format a value with six significant digits, which is enough for plots and keeps the file readable."""
    if value is None:
        return ""
    return str(value) if isinstance(value, int) else f"{value:.6g}"
