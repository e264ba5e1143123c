"""Progress of long calls: one type of callback for the whole library, and the displays behind it."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

# Called with the number of things done and their total, which is 0 where it is unknown.
Progress = Callable[[int, int], None]

_NOTEBOOK_INTERVAL = 0.5  # seconds between two updates of a line in a notebook


@contextmanager
def reporting(progress: Progress | bool, what: str, unit: str) -> Iterator[Progress | None]:
    """Yield the callback that a public function passes to the work it does, or None.

    Args:
        progress: Callback to yield. True shows a display in a terminal or a notebook and nothing elsewhere; False
            shows nothing.
        what: Name of the work ("drawing").
        unit: Things that are counted ("images").
    """
    if callable(progress):
        yield progress
    elif progress and "ipykernel" in sys.modules:
        with _notebook_line(what, unit) as report:
            yield report
    elif progress and sys.stderr.isatty():
        with bar(what, unit) as report:
            yield report
    else:
        yield None


@contextmanager
def bar(what: str, unit: str, console: Console | None = None) -> Iterator[Progress]:
    """Show a bar that disappears at the end.

    Args:
        what: Name of the work.
        unit: Things that are counted.
        console: rich console to draw on; None for stderr.
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    description = TextColumn("{task.description}", markup=False)
    columns = (description, BarColumn(), MofNCompleteColumn(), TextColumn(unit), TimeRemainingColumn())
    with Bar(*columns, console=console or Console(stderr=True), transient=True) as display:
        task = display.add_task(what, total=None)
        yield lambda done, total: display.update(task, completed=done, total=total or None)


def lines(what: str, unit: str, write: Callable[[str], object], interval: float) -> Progress:
    """Return a callback that writes a line of text at most every `interval` seconds, and one at the end."""
    started = last = time.monotonic()

    def report(done: int, total: int) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last < interval and not (total and done >= total):
            return
        last = now
        rate = done / max(now - started, 1e-9)
        left = f", {math.ceil((total - done) / rate)} s left" if total > done and rate else ""
        write(f"{what}: {done:,}{f' of {total:,}' if total else ''} {unit}, {rate:,.0f}/s{left}")

    return report


@contextmanager
def _notebook_line(what: str, unit: str) -> Iterator[Progress]:
    """Show a single line that is written over: rich's bar needs ipywidgets in a notebook."""
    width = 0

    def write(text: str) -> None:
        nonlocal width
        sys.stderr.write("\r" + text.ljust(width))
        sys.stderr.flush()
        width = len(text)

    try:
        yield lines(what, unit, write, _NOTEBOOK_INTERVAL)
    finally:
        if width:
            sys.stderr.write("\n")
