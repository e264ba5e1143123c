"""The papers' tables with our numbers beside the published ones, as CSV and Markdown.

A difference is computed only where a score agrees with the paper in all fields that the paper's module names. Elsewhere
the fields that differ are printed as the reason.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from gancli.atomic import atomic_file
from gancli.config import recipes_folder
from gancli.errors import DataError, UsageError
from gancli.registry import MODELS, resolve
from gancli.scores.results import ScoreRow, cells, read_rows
from gancli.scores.tables.paper import Paper, PaperTable
from gancli.scores.tables.writing import DATASETS, METRICS, TableRow, csv_text, markdown

__all__ = ["DATASETS", "METRICS", "PAPERS", "TableReport", "TableRow", "read_paper", "score_table"]

PAPERS: dict[str, Paper] = {name: resolve(row.table) for name, row in MODELS.items() if row.table is not None}
_MODELS = {name: model for paper in PAPERS.values() for name, model in paper.models.items()}


@dataclass(frozen=True)
class TableReport:
    """The tables that `score_table` wrote.

    Attributes:
        files: CSV and Markdown files.
        rows: All lines of all tables.
        markdown: Text of all Markdown files.
    """

    files: tuple[Path, ...]
    rows: tuple[TableRow, ...]
    markdown: str


def score_table(paper: str, results: str | Path = "results.csv", out: str | Path = "tables") -> TableReport:
    """Write the tables of a paper with our scores.

    Args:
        paper: Name of the paper's model, a key of `PAPERS`.
        results: A results.csv. Of several scores of the same thing, the last one counts.
        out: Folder for a CSV and a Markdown file of each table, created if need be.

    Raises:
        DataError: results.csv is missing or broken.
        UsageError: There is no such paper.
    """
    if paper not in PAPERS:
        raise UsageError(f"{paper!r} is not a paper with tables", f"One of: {', '.join(PAPERS)}.")
    out = Path(out)
    published = read_paper(paper)
    scores = _latest(read_rows(results))
    out.mkdir(parents=True, exist_ok=True)
    rows: list[TableRow] = []
    files, texts = [], []
    everywhere = {row.dataset for row in published}
    for each in PAPERS[paper].tables:
        theirs = [row for row in published if row.table == each.number]
        elsewhere = everywhere - {row.dataset for row in theirs}  # which have tables of their own
        lines = theirs + [
            _ours(each, score, theirs, PAPERS[paper])
            for score in filter(PAPERS[paper].takes, scores)
            if score.metric in each.metrics and each.takes(score) and score.dataset not in elsewhere
        ]
        rows += lines
        texts.append(markdown(each.title, lines))
        stem = out / f"{paper}-{each.stem}"
        for path, text in ((stem.with_suffix(".csv"), csv_text(lines)), (stem.with_suffix(".md"), texts[-1])):
            with atomic_file(path) as temporary:
                temporary.write_text(text, encoding="utf-8")
            files.append(path)
    return TableReport(tuple(files), tuple(rows), "\n".join(texts))


def read_paper(name: str) -> list[TableRow]:
    """Return the published numbers of a paper, from recipes/tables; none where it reports none.

    Raises:
        DataError: There is no such file for that paper, or the file is broken.
    """
    path = recipes_folder() / "tables" / f"{name.replace('-', '_')}.csv"
    try:
        with path.open(encoding="utf-8", newline="") as file:
            return [
                TableRow(
                    record["table"],
                    record["method"],
                    record["dataset"],
                    record["metric"],
                    float(record["value"]),
                    float(record["std"]) if record["std"] else None,
                    "paper",
                    note=record["note"],
                    input=record["input"],
                )
                for record in csv.DictReader(file)
            ]
    except (OSError, KeyError, TypeError, ValueError) as error:
        problem = f"{path}: the paper's numbers cannot be read ({error})"
        raise DataError(problem, "Install gancli again.") from error


def _latest(scores: Sequence[ScoreRow]) -> list[ScoreRow]:
    """Return the last of all scores that agree in every field but the number itself."""
    passing = {"value", "std", "date", "note", "gancli_version"}
    kept: dict[tuple[str, ...], ScoreRow] = {}
    for score in scores:
        key = tuple(value for name, value in cells(score).items() if name not in passing)
        kept.pop(key, None)  # so that a repeated score stands at the position of its last one
        kept[key] = score
    return list(kept.values())


def _ours(table: PaperTable, score: ScoreRow, published: Sequence[TableRow], paper: Paper) -> TableRow:
    reason = paper.why_not_comparable(score)
    delta, note = None, score.note
    if not reason:
        same = (table.published_name(score, _MODELS), score.dataset, score.metric)
        value = next((row.value for row in published if (row.method, row.dataset, row.metric) == same), None)
        if value is None:
            reason = f"the paper gives no value of {score.method} on {score.dataset}"
        else:
            delta = score.value - value
            note = "; ".join(filter(None, (note, paper.caveats.get(score.metric))))
    return TableRow(
        table=table.number,
        method=score.method,
        dataset=score.dataset,
        metric=score.metric,
        value=score.value,
        std=score.std,
        source="gancli",
        delta=delta,
        not_comparable=reason,
        note=note,
        score=score,
    )
