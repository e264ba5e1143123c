"""How far a long call is: one type of callback for the whole library, and a display where a person watches."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

# Called with the number done so far and the number in all; 0 in all where that is not known.
Progress = Callable[[int, int], None]


@contextmanager
def reporting(progress: Progress | bool, what: str, unit: str) -> Iterator[Progress | None]:
    """Yield the callback that a public function hands to the work it does.

    Args:
        progress: A callback, which is yielded as it is; True for a bar where a person watches, in a terminal or a
            notebook; False for silence.
        what: The work ("drawing").
        unit: The things counted ("images").
    """
    if callable(progress):
        yield progress
    elif progress and _watched():
        with _bar(what, unit) as report:
            yield report
    else:
        yield None


def _watched() -> bool:
    return sys.stderr.isatty() or "ipykernel" in sys.modules


@contextmanager
def _bar(what: str, unit: str) -> Iterator[Progress]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    columns = (TextColumn(what), BarColumn(), MofNCompleteColumn(), TextColumn(unit), TimeRemainingColumn())
    with Bar(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(what, total=None)

        def report(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total or None)

        yield report
