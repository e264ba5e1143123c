"""The papers' tables with our numbers beside the published ones, as CSV, Markdown and LaTeX.

A difference is computed only where a score agrees with the paper in all fields that recipes/tables names. Elsewhere the
fields that differ are printed as the reason. Scores that belong to no row of the paper have a table of their own.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from gancli.atomic import atomic_file
from gancli.csv_files import write_csv
from gancli.scores.metrics import METRICS
from gancli.scores.results import COLUMNS, ScoreRow, cells, latest, read_rows
from gancli.scores.tables.layout import Column, Layout, latex, lay_out, markdown, wide
from gancli.scores.tables.paper import Paper, PaperTable, Published, papers, read_paper, read_published
from gancli.scores.tables.placing import REAL, Entry, our_entries, published_entries, row_name

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["TableReport", "papers", "read_paper", "read_published", "score_table"]

OTHERS = "others"  # stem of the table of scores that belong to no row


@dataclass(frozen=True)
class TableReport:
    """The tables that `score_table` wrote.

    Attributes:
        files: CSV, Markdown and LaTeX files.
        entries: All numbers by the stem of their table: "table1", "fig7", "others".
        markdown: Text of all Markdown files.
    """

    files: tuple[Path, ...]
    entries: dict[str, tuple[Entry, ...]]
    markdown: str


def score_table(paper: str, results: str | Path | None = None, out: str | Path = "tables") -> TableReport:
    """Write the tables of a paper with our scores.

    Each table becomes four files: NAME.csv, as the paper prints it; NAME-scores.csv, a line for each number with all
    its fields; NAME.md and NAME.tex.

    Args:
        paper: Name of the paper's model.
        results: A results.csv. Of several scores of the same thing, the last one counts. None takes results.csv of the
            current folder if there is one; without it, the tables hold the paper's numbers alone.
        out: Folder for the files, created if need be.

    Raises:
        DataError: results.csv is missing or broken.
        UsageError: There is no such paper.
    """
    description = read_paper(paper)
    if results is None and Path("results.csv").is_file():
        results = "results.csv"
    scores = [] if results is None else latest(read_rows(results))
    scores = [score for score in scores if score.images == "none" or score.filled == description.filled]
    published = read_published(paper)
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    placed: set[int] = set()
    files: list[Path] = []
    texts: list[str] = []
    entries: dict[str, tuple[Entry, ...]] = {}
    for table in description.tables:
        theirs = [number for number in published if number.table == table.number]
        layout, found = _fill(description, table, theirs, scores)
        placed |= {id(score) for entry in found for score in entry.scores}
        entries[table.stem] = tuple(found)
        files += _write(out / f"{paper}-{table.stem}", layout, found)
        texts.append(markdown(layout))
    rest = [score for score in scores if id(score) not in placed and _concerns(score, description)]
    if rest:
        layout, found = _others(description, rest)
        entries[OTHERS] = tuple(found)
        files += _write(out / f"{paper}-{OTHERS}", layout, found)
        texts.append(markdown(layout))
    return TableReport(tuple(files), entries, "\n".join(texts))


def _fill(
    paper: Paper, table: PaperTable, published: Sequence[Published], scores: Sequence[ScoreRow]
) -> tuple[Layout, list[Entry]]:
    """Return a table of the paper, and its numbers."""
    names = dict.fromkeys([*(number.method for number in published), *table.rows])
    datasets = table.datasets or tuple(dict.fromkeys(number.dataset for number in published))
    groups: dict[tuple[str, str, str], list[ScoreRow]] = {}
    for score in scores:
        if score.metric in table.metrics and (not datasets or score.dataset in datasets):
            name = row_name(score, paper, table, names)
            if name is not None:
                groups.setdefault((name, score.dataset, score.metric), []).append(score)
    values = {(number.method, number.dataset, number.metric): number.value for number in published}
    found = published_entries(published)
    for (name, dataset, metric), group in groups.items():
        found += our_entries(name, group, paper, values.get((name, dataset, metric)))
    every = datasets or tuple(dict.fromkeys(dataset for _, dataset, _ in groups))
    columns = [(dataset, metric) for dataset in every for metric in table.metrics]
    return lay_out(table.heading, found, columns, [name for name in names if name != REAL]), found


def _concerns(score: ScoreRow, paper: Paper) -> bool:
    """Return whether a score that stands in no table of the paper is about its model or measures what it measures."""
    metrics = {metric for table in paper.tables for metric in table.metrics}
    return score.kind == paper.kind or score.metric in metrics


def _others(paper: Paper, scores: Sequence[ScoreRow]) -> tuple[Layout, list[Entry]]:
    """Return the table of scores that belong to no row of the paper, and its numbers."""
    groups: dict[tuple[str, str, str], list[ScoreRow]] = {}
    for score in scores:
        name = REAL if score.images == "real" else score.method
        groups.setdefault((name, score.dataset, score.metric), []).append(score)
    found: list[Entry] = []
    for (name, _, _), group in groups.items():
        found += our_entries(name, group, paper, None)
    order = [*METRICS, *(entry.metric for entry in found)]
    columns: list[Column] = sorted(
        {entry.column for entry in found}, key=lambda column: (column[0], order.index(column[1]))
    )
    return lay_out("Scores of ours that belong to no row of the paper", found, columns), found


def _write(stem: Path, layout: Layout, entries: Sequence[Entry]) -> Iterator[Path]:
    """Write a table in its four forms, and yield the files."""
    for end, frame in ((".csv", wide(layout)), ("-scores.csv", _long(entries))):
        write_csv(path := stem.with_name(f"{stem.name}{end}"), frame)
        yield path
    for end, text in ((".md", markdown(layout)), (".tex", latex(layout))):
        with atomic_file(path := stem.with_name(f"{stem.name}{end}")) as temporary:
            temporary.write_text(text, encoding="utf-8")
        yield path


def _long(entries: Sequence[Entry]) -> pd.DataFrame:
    """Return a line for each published number and each score of ours, with all its fields."""
    import pandas as pd

    own = ("row", "source", "input", "delta", "not_comparable")
    records = []
    for entry in entries:
        shared = {
            "row": entry.method,
            "source": entry.source,
            "input": entry.input,
            "delta": entry.delta,
            "not_comparable": entry.not_comparable,
        }
        if entry.scores:
            records += [{**shared, **cells(score)} for score in entry.scores]
        else:
            fields = {
                name: getattr(entry, name) for name in ("method", "dataset", "metric", "value", "std", "note")
            }
            records.append({**shared, **fields})
    return pd.DataFrame(records, columns=[*own, *COLUMNS])
