"""Output of the command line: the result goes to stdout, everything else to stderr.

With `--json` the last line of stdout is one JSON object, with `-q` stdout is the bare result. Progress is a bar on a
terminal and plain lines elsewhere. Colours follow rich's rules (NO_COLOR, FORCE_COLOR, TERM=dumb, no terminal).
"""

from __future__ import annotations

import io
import json
import math
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

from gancli.engine.ranks import ProcessRank
from gancli.progress import Progress, bar, lines

if TYPE_CHECKING:
    from rich.console import Console

UNBOUNDED = 100_000  # characters in a line of a table, so that none is wrapped or cut
PLAIN_INTERVAL = 10.0  # seconds between two plain progress lines


class ProgressMode(StrEnum):
    """Display of progress: a bar on a terminal and lines elsewhere (auto), or always the same."""

    AUTO = "auto"
    BAR = "bar"
    PLAIN = "plain"
    NONE = "none"


class Output:
    """Output of a command.

    Args:
        json: Write the result as one JSON object.
        quiet: Write only the bare result to stdout, and only warnings and errors to stderr.
        verbose: Level of detail; 1 shows details.
        progress: Display of progress. `auto` shows none with `quiet` or `json`.

    Attributes:
        process: Rank of this process. Only rank 0 writes.
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
        self.process = ProcessRank()
        if progress is not ProgressMode.AUTO:
            self.progress_mode = progress
        elif json or quiet:
            self.progress_mode = ProgressMode.NONE
        else:
            self.progress_mode = ProgressMode.BAR if sys.stderr.isatty() else ProgressMode.PLAIN

    # ------------------------------------------------------------------------------------------- the result

    def result(self, data: Mapping[str, object], text: str = "", *, quiet: str = "") -> None:
        """Write the command's result, once, at its end.

        Args:
            data: JSON object for `--json`. Paths become strings, NaN and infinity null.
            text: Text for a reader.
            quiet: Bare result for `-q`: values that a script needs, one per line.
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
        """Return rows as text in aligned columns; columns named in `right` are aligned to the right."""
        from rich import box
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text

        grid = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
        for name in columns:
            grid.add_column(Text(name), justify="right" if name in right else "left", no_wrap=True)
        for row in rows:
            grid.add_row(*(Text(str(cell)) for cell in row))
        text = io.StringIO()
        Console(file=text, width=UNBOUNDED, color_system=None).print(grid)
        return "\n".join(line.rstrip() for line in text.getvalue().splitlines())

    # ------------------------------------------------------------------------------------- everything beside

    def note(self, text: str) -> None:
        """Write a line to stderr, except with `quiet`."""
        if not self.quiet:
            self._stderr(text)

    def detail(self, text: str) -> None:
        """Write a line to stderr that only `-v` shows."""
        if self.verbose and not self.quiet:
            self._stderr(text, style="dim")

    def warn(self, text: str) -> None:
        """Write a warning; the command continues."""
        self._stderr(text, label="warning", style="yellow")

    def fail(self, message: str, hint: str | None, exit_code: int) -> None:
        """Write the error that ends the command, from any rank; with `json` also as an object on stdout."""
        self.process = ProcessRank()
        self._stderr(message, label="error", style="bold red")
        if hint:
            self._stderr(hint, label="hint", style="cyan")
        if self.json:
            self._stdout(
                json.dumps({"error": message, "hint": hint, "exit_code": exit_code}, ensure_ascii=False)
            )

    @contextmanager
    def progress(self, what: str, unit: str = "images") -> Iterator[Progress]:
        """Show the progress of a long piece of work, such as "preparing", counted in a unit."""
        if self.process.rank > 0:
            yield _nothing
        elif self.progress_mode is ProgressMode.BAR:
            with bar(what, unit, self._console()) as report:
                yield report
        elif self.progress_mode is ProgressMode.PLAIN:
            yield lines(what, unit, self._stderr, PLAIN_INTERVAL)
        else:
            yield _nothing

    @contextmanager
    def status(self) -> Iterator[Callable[[str], None]]:
        """Yield a function that shows a line of text: in place of the last one on a terminal, below it elsewhere."""
        if self.progress_mode is ProgressMode.BAR and self.process.rank == 0:
            from rich.markup import escape

            with self._console().status("") as status:
                yield lambda line: status.update(escape(line))
        else:
            yield self._stderr if self.progress_mode is ProgressMode.PLAIN else _silent

    # -------------------------------------------------------------------------------------------------- pipes

    def _console(self) -> Console:
        from rich.console import Console

        return Console(stderr=True, highlight=False)

    def _stderr(self, text: str, *, label: str = "", style: str = "") -> None:
        if self.process.rank > 0:
            return
        if not sys.stderr.isatty():  # without rich, which would wrap long paths in a log
            print(f"{label}: {text}" if label else text, file=sys.stderr, flush=True)  # noqa: T201
            return
        from rich.text import Text

        line = Text.assemble((f"{label}: ", style), text) if label else Text(text, style)
        self._console().print(line, soft_wrap=True)

    def _stdout(self, text: str) -> None:
        if self.process.rank == 0:
            print(text, flush=True)  # noqa: T201 - the only code that writes to stdout


def _nothing(done: int, total: int) -> None:
    """Show no progress."""


def _silent(line: str) -> None:
    """Show no status."""


def _plain(value: object) -> object:
    """Return a value that json.dumps writes as strict JSON."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Path):
        return str(value)
    return value
