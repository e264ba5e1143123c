"""Summaries of a results.csv: means over seeds, comparisons of two methods, and bounds that a score must keep."""

from __future__ import annotations

import operator
import re
import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from gancli.csv_files import write_csv
from gancli.errors import CheckError, DataError, UsageError
from gancli.scores.comparability import disagreements, protocol_of
from gancli.scores.results import ScoreRow, latest, read_rows

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Mean:
    """Scores of one method that differ in their seeds only.

    Attributes:
        scores: Scores in the order of the file.
        value: Their mean.
        std: Their standard deviation (n - 1); None of a single score.
    """

    scores: tuple[ScoreRow, ...]
    value: float
    std: float | None

    @property
    def first(self) -> ScoreRow:
        """The first of the scores, which stands for all in everything but seed and value."""
        return self.scores[0]

    @property
    def seeds(self) -> str:
        """Seeds of the trainings where they are known and differ, else those of the samplings."""
        trained = [score.train_seed for score in self.scores]
        drawn = [score.seed for score in self.scores]
        seeds = trained if len(set(trained)) > 1 else drawn
        return " ".join("?" if seed is None else str(seed) for seed in seeds)


def means(scores: Iterable[ScoreRow]) -> list[Mean]:
    """Return the means of scores that agree in method and protocol, in the order of their first scores."""
    groups: dict[tuple[str, str], list[ScoreRow]] = {}
    for score in latest(scores):
        groups.setdefault((score.method, str(protocol_of(score))), []).append(score)
    return [
        Mean(
            tuple(group),
            statistics.fmean(score.value for score in group),
            statistics.stdev(score.value for score in group) if len(group) > 1 else None,
        )
        for group in groups.values()
    ]


def score_summary(results: str | Path = "results.csv", out: str | Path | None = None) -> pd.DataFrame:
    """Return the mean and the standard deviation over seeds of every method and metric of a results.csv.

    Args:
        results: A results.csv.
        out: CSV file to write the summary to; None writes none.

    Returns:
        A line for each method, dataset, metric and protocol with `mean`, `std` (n - 1), `n` and `seeds`.

    Raises:
        DataError: results.csv is missing or broken.
    """
    import pandas as pd

    columns = (
        "method",
        "dataset",
        "split",
        "metric",
        "mean",
        "std",
        "n",
        "seeds",
        "n_real",
        "n_fake",
        "network",
    )
    table = pd.DataFrame(
        [
            {
                **{name: getattr(each.first, name, None) for name in columns},
                "mean": each.value,
                "std": each.std,
                "n": len(each.scores),
                "seeds": each.seeds,
            }
            for each in means(read_rows(results))
        ],
        columns=list(columns),
    )
    if out is not None:
        write_csv(out, table)
    return table


@dataclass(frozen=True)
class Comparison:
    """Scores of two methods on one metric.

    Attributes:
        metric: Name.
        dataset: Short name.
        first: Mean of the first method.
        second: Mean of the second.
        reasons: Fields in which they were measured differently, in words; empty where they can be compared.
    """

    metric: str
    dataset: str
    first: Mean
    second: Mean
    reasons: tuple[str, ...]

    @property
    def difference(self) -> float | None:
        """Mean of the second minus that of the first; None where they cannot be compared."""
        return None if self.reasons else self.second.value - self.first.value


def compare_scores(
    first: str | Path, second: str | Path, results: str | Path = "results.csv"
) -> tuple[Comparison, ...]:
    """Compare two methods metric by metric, where both were measured in the same way.

    Args:
        first: Method or model folder in results.csv, or a results.csv of its own.
        second: The other, in the same forms.
        results: A results.csv.

    Raises:
        DataError: A file is missing or broken, one of both has no scores, or nothing can be compared: the message names
            the fields that differ.
    """
    ours, theirs = (means(_scores_of(str(name), results)) for name in (first, second))
    found = []
    for one in ours:
        others = [other for other in theirs if (other.first.metric, other.first.dataset) == _about(one)]
        if others:
            wanted = protocol_of(one.first)
            reasons = {id(other): tuple(disagreements(other.first, wanted)) for other in others}
            nearest = min(others, key=lambda other: len(reasons[id(other)]))
            found.append(Comparison(*_about(one), one, nearest, reasons[id(nearest)]))
    if not found:
        raise DataError(
            f"{first} and {second} have no metric in common", "gancli score summary lists what there is."
        )
    if all(each.reasons for each in found):
        lines = [f"  {each.metric} on {each.dataset}: {'; '.join(each.reasons)}" for each in found]
        raise DataError(
            f"{first} and {second} were measured in different ways (found of the second, not of the first):\n"
            + "\n".join(lines),
            "Score both with the same command.",
        )
    return tuple(found)


def _about(mean: Mean) -> tuple[str, str]:
    return mean.first.metric, mean.first.dataset


def _scores_of(name: str, results: str | Path) -> list[ScoreRow]:
    if name.endswith(".csv"):
        return read_rows(name)
    rows = read_rows(results)
    found = [row for row in rows if name in (row.method, row.model)]
    if not found:
        methods = ", ".join(dict.fromkeys(row.method for row in rows))
        raise DataError(f"{results}: no score of {name!r}", f"It has scores of: {methods or 'nothing'}.")
    return found


# --- bounds ---------------------------------------------------------------------------------------------------

_SIGNS: dict[str, Callable[[float, float], bool]] = {
    "<=": operator.le,
    ">=": operator.ge,
    "<": operator.lt,
    ">": operator.gt,
}


@dataclass(frozen=True)
class Bound:
    """Bound that a score must keep, such as "fid<20".

    Attributes:
        text: Bound as the user wrote it.
        metric: Metric.
        sign: "<", "<=", ">" or ">=".
        limit: Limit.
    """

    text: str
    metric: str
    sign: str
    limit: float

    @classmethod
    def parse(cls, text: str) -> Bound:
        """Read a bound.

        Raises:
            UsageError: The text is not a metric, a sign and a number.
        """
        match = re.fullmatch(r"\s*(\w+)\s*(<=|>=|<|>)\s*([-+.\deE]+)\s*", text)
        try:
            if match is None:
                raise ValueError(text)
            return cls(text, match[1], match[2], float(match[3]))
        except ValueError:
            raise UsageError(
                f"--check: {text!r} is not a bound", 'Write it as "fid<20" or "psnr>=25".'
            ) from None


def check_bounds(bounds: Sequence[Bound], rows: Sequence[ScoreRow]) -> None:
    """Check bounds on scores of generated images. Real images and mean fills are not checked.

    Raises:
        CheckError: A score does not keep its bound.
        UsageError: There is no score of a bound's metric.
    """
    scored = [row for row in rows if row.images in ("generated", "none")] or list(rows)
    broken = []
    for bound in bounds:
        values = [row.value for row in scored if row.metric == bound.metric]
        if not values:
            known = ", ".join(dict.fromkeys(row.metric for row in scored))
            raise UsageError(f"--check {bound.text}: this score has no {bound.metric}", f"It has: {known}.")
        broken += [
            f"{bound.metric} is {v:.6g}, not {bound.sign} {bound.limit:g}"
            for v in values
            if not _SIGNS[bound.sign](v, bound.limit)
        ]
    if broken:
        raise CheckError(f"check failed: {'; '.join(broken)}")
