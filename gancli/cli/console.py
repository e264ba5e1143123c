"""The one output object of the command line: the result goes to stdout, everything else to stderr.

`--json` makes stdout one JSON object in its last line, `-q` only the bare result; progress is a bar on a terminal and
plain lines elsewhere. Colours follow rich's rules (NO_COLOR, FORCE_COLOR, TERM=dumb, not a terminal).
"""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gancli.engine.ranks import Place
from gancli.progress import Progress

if TYPE_CHECKING:
    from rich.console import Console

PLAIN_INTERVAL = 10.0  # seconds between two plain progress lines


class ProgressMode(StrEnum):
    """How progress is shown: a bar on a terminal and lines elsewhere (auto), or always one of them."""

    AUTO = "auto"
    BAR = "bar"
    PLAIN = "plain"
    NONE = "none"


class Output:
    """Renders what a command has to say.

    Args:
        json: stdout becomes one JSON object.
        quiet: stdout is the bare result, stderr holds only warnings and errors.
        verbose: 1 adds details.
        progress: Under `auto` there is none with `quiet` or `json`.

    Attributes:
        place: Of this process among several that do the same; only process 0 says what all would say.
    """

    def __init__(
        self,
        *,
        json: bool = False,
        quiet: bool = False,
        verbose: int = 0,
        progress: ProgressMode = ProgressMode.AUTO,
    ) -> None:
        self.json = json
        self.quiet = quiet
        self.verbose = verbose
        self.place = Place()
        if progress is not ProgressMode.AUTO:
            self.progress_mode = progress
        elif json or quiet:
            self.progress_mode = ProgressMode.NONE
        else:
            self.progress_mode = ProgressMode.BAR if sys.stderr.isatty() else ProgressMode.PLAIN

    # ------------------------------------------------------------------------------------------- the result

    def result(self, data: Mapping[str, Any], text: str = "", *, quiet: str = "") -> None:
        """The command's result, said once at its end.

        Args:
            data: The JSON object of `--json`; paths become strings, NaN and infinity null.
            text: For a reader.
            quiet: The bare result of `-q`: values a script wants, one per line.
        """
        if self.json:
            self._stdout(json.dumps(_plain(data), ensure_ascii=False))
        elif self.quiet:
            if quiet:
                self._stdout(quiet)
        elif text:
            self._stdout(text)

    def table(
        self, columns: Sequence[str], rows: Sequence[Sequence[object]], *, right: Sequence[str] = ()
    ) -> str:
        """Rows as text in aligned columns, for `result`; the columns named in `right` are set to the right."""
        cells = [list(columns), *([str(cell) for cell in row] for row in rows)]
        widths = [max(len(row[i]) for row in cells) for i in range(len(columns))]
        lines = [
            "  ".join(
                cell.rjust(width) if name in right else cell.ljust(width)
                for cell, width, name in zip(row, widths, columns, strict=True)
            ).rstrip()
            for row in cells
        ]
        lines.insert(1, "  ".join("─" * width for width in widths))
        return "\n".join(lines)

    # ------------------------------------------------------------------------------------- everything beside

    def note(self, text: str) -> None:
        """One line about what is going on; not with `quiet`."""
        if not self.quiet:
            self._stderr(text)

    def detail(self, text: str) -> None:
        """A line that only `-v` shows."""
        if self.verbose and not self.quiet:
            self._stderr(text, style="dim")

    def warn(self, text: str) -> None:
        """Something the user should know although the command goes on."""
        self._stderr(text, label="warning", style="yellow")

    def fail(self, message: str, hint: str | None, exit_code: int) -> None:
        """The error that ends the command, from whichever process; with `json` also as an object on stdout."""
        self.place = Place()
        self._stderr(message, label="error", style="bold red")
        if hint:
            self._stderr(hint, label="hint", style="cyan")
        if self.json:
            self._stdout(
                json.dumps({"error": message, "hint": hint, "exit_code": exit_code}, ensure_ascii=False)
            )

    @contextmanager
    def progress(self, what: str, unit: str = "images") -> Iterator[Progress]:
        """Shows how far a long piece of work has come.

        Args:
            what: Its name, for example "preparing".
            unit: What is counted.

        Yields:
            A function to call with (done, in all); in all is 0 where that is not known.
        """
        if self.place.rank > 0:
            yield _nothing
        elif self.progress_mode is ProgressMode.BAR:
            with self._bar(what, unit) as advance:
                yield advance
        elif self.progress_mode is ProgressMode.PLAIN:
            yield self._lines(what, unit)
        else:
            yield _nothing

    @contextmanager
    def status(self) -> Iterator[Callable[[str], None]]:
        """Shows the newest of many lines: in place on a terminal, one below the other elsewhere.

        Yields:
            A function to call with the line.
        """
        if self.progress_mode is ProgressMode.BAR and self.place.rank == 0:
            from rich.markup import escape

            with self._console().status("") as status:
                yield lambda line: status.update(escape(line))
        else:
            yield self._stderr if self.progress_mode is ProgressMode.PLAIN else _silent

    @contextmanager
    def _bar(self, what: str, unit: str) -> Iterator[Progress]:
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as Bar

        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn(unit),
            TimeRemainingColumn(),
        )
        with Bar(*columns, console=self._console(), transient=True) as bar:
            task = bar.add_task(what, total=None)
            yield lambda done, total: bar.update(task, completed=done, total=total or None)

    def _lines(self, what: str, unit: str) -> Progress:
        """Plain lines, at most one in `PLAIN_INTERVAL` seconds, and one at the end."""
        started = last = time.monotonic()

        def show(done: int, total: int) -> None:
            nonlocal last
            now = time.monotonic()
            if now - last < PLAIN_INTERVAL and not (total and done >= total):
                return
            last = now
            rate = done / max(now - started, 1e-9)
            left = f", {math.ceil((total - done) / rate)} s left" if total > done and rate else ""
            self._stderr(f"{what}: {done:,}{f' of {total:,}' if total else ''} {unit}, {rate:,.0f}/s{left}")

        return show

    # -------------------------------------------------------------------------------------------------- pipes

    def _console(self) -> Console:
        from rich.console import Console

        return Console(stderr=True, highlight=False)  # made when used: a test may have changed sys.stderr

    def _stderr(self, text: str, *, label: str = "", style: str = "") -> None:
        if self.place.rank > 0:
            return
        if not sys.stderr.isatty():  # never wrapped, so that a path in a log stays in one piece
            print(f"{label}: {text}" if label else text, file=sys.stderr, flush=True)  # noqa: T201
            return
        from rich.text import Text

        line = Text.assemble((f"{label}: ", style), text) if label else Text(text, style)
        self._console().print(line, soft_wrap=True)

    def _stdout(self, text: str) -> None:
        if self.place.rank == 0:
            print(text, flush=True)  # noqa: T201 - the one place that writes to stdout


def _nothing(done: int, total: int) -> None:
    """Progress that nobody sees."""


def _silent(line: str) -> None:
    """A status that nobody sees."""


def _plain(value: Any) -> Any:
    """What json.dumps writes as strict JSON."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Path):
        return str(value)
    return value
