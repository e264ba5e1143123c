"""Scores of ours in the rows of a paper's tables: which row, which protocol, mean and deviation over seeds."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from gancli.scores.metrics import metric_of
from gancli.scores.results import ScoreRow
from gancli.scores.summary import Mean, means
from gancli.scores.tables.paper import Model, Paper, PaperTable, Published, papers, read_paper


@dataclass(frozen=True)
class Entry:
    """A number in a cell of a table: the paper's, or the mean of our scores that differ in their seeds only.

    Attributes:
        method: Name of the row.
        dataset: Short name.
        metric: Name.
        value: Published value, or mean.
        std: Published deviation; deviation of our scores over seeds; or, of a single score, its own.
        source: "paper" or "gancli".
        input: Input of the paper's method; empty for ours.
        delta: Our mean minus the paper's value; None where the two cannot be compared.
        not_comparable: Reason why there is no delta; empty for the paper's and where there is one.
        note: Notes.
        scores: Scores behind the mean, in order; empty for the paper's.
        variant: 0 for the first protocol of a row's scores in this cell, 1 for the next, …
    """

    method: str
    dataset: str
    metric: str
    value: float
    std: float | None
    source: str
    input: str = ""
    delta: float | None = None
    not_comparable: str = ""
    note: str = ""
    scores: tuple[ScoreRow, ...] = ()
    variant: int = 0

    @property
    def column(self) -> tuple[str, str]:
        """Dataset and metric, which share a column."""
        return self.dataset, self.metric

    @property
    def competes(self) -> bool:
        """True where the number may be the best of its column."""
        return self.source == "paper" or self.delta is not None

    @property
    def spread(self) -> str:
        """The things over which `std` is taken, in words."""
        if len(self.scores) < 2:
            return metric_of(self.metric).spread
        trainings = len({score.model_hash for score in self.scores})
        drawings = "" if trainings == len(self.scores) else f" of {trainings} trained models"
        return f"{len(self.scores)} {'trainings' if not drawings else 'drawings'}{drawings}"


REAL = "real images"


def row_name(score: ScoreRow, paper: Paper, table: PaperTable, names: Collection[str]) -> str | None:
    """Return the row of a paper's table that a score belongs to; None where it has none.

    Images of unknown models go by the name that the user gave them.

    Args:
        score: Score of ours.
        paper: The paper.
        table: One of its tables.
        names: Names of the table's rows.
    """
    if score.images == "real":
        return REAL
    if not score.kind:
        return score.method if score.method in names else None
    own = {
        name: Model(kind=paper.kind, settings=settings)
        for name, settings in table.rows.items()
        if settings is not None
    }
    every = {name: model for each in map(read_paper, papers()) for name, model in each.models.items()}
    rows = own.items() if table.rows else [(name, model) for name, model in every.items() if name in names]
    return next((name for name, model in rows if model.made(score)), None)


def published_entries(numbers: Sequence[Published]) -> list[Entry]:
    """Return the published numbers of a table."""
    return [
        Entry(
            each.method,
            each.dataset,
            each.metric,
            each.value,
            each.std,
            "paper",
            each.input,
            note=each.note,
        )
        for each in numbers
    ]


def our_entries(
    method: str, scores: Sequence[ScoreRow], paper: Paper, published: float | None
) -> list[Entry]:
    """Return the means of scores of one method, dataset and metric, one for each protocol, comparable ones first.

    Args:
        method: Name of the row.
        scores: Scores of ours.
        paper: Paper of the table.
        published: Published value; None where there is none.
    """
    entries = [_entry(method, mean, paper, published) for mean in means(scores)]
    entries.sort(key=lambda entry: entry.delta is None)
    return [replace(entry, variant=variant) for variant, entry in enumerate(entries)]


def _entry(method: str, mean: Mean, paper: Paper, published: float | None) -> Entry:
    first = mean.first
    reason = paper.why_not_comparable(first)
    delta: float | None = None
    if not reason and published is None:
        reason = f"the paper gives no value of {method} on {first.dataset}"
    elif not reason and published is not None:
        delta = mean.value - published
    caveat = paper.metrics[first.metric].caveat if delta is not None else ""
    notes = dict.fromkeys([*(score.note for score in mean.scores), caveat])
    return Entry(
        method,
        first.dataset,
        first.metric,
        mean.value,
        first.std if mean.std is None else mean.std,
        "gancli",
        delta=delta,
        not_comparable=reason,
        note="; ".join(filter(None, notes)),
        scores=mean.scores,
    )
