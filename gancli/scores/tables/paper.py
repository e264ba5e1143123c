"""A paper's tables as data: their rows, the published numbers, and how these were measured.

Everything stands in recipes/tables: NAME.csv holds the published numbers, NAME.yaml the rest.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError, field_validator

from gancli.config import recipes_folder
from gancli.csv_files import read_csv
from gancli.errors import DataError, UsageError
from gancli.scores.comparability import Wanted, disagreements
from gancli.scores.results import COLUMNS, ScoreRow

Settings = Mapping[str, object]  # recipe keys in which a model differs from its paper's own


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Model(_Part):
    """Model as a row of a table.

    Attributes:
        kind: Model of the toolkit.
        settings: Settings in which it differs from the paper's own model.
    """

    kind: str
    settings: Settings = {}

    def made(self, score: ScoreRow) -> bool:
        """Return whether a score is of this model, trained and drawing from its own conditions."""
        return score.kind == self.kind and score.settings == self.settings and score.as_trained


class MetricProtocol(_Part):
    """Measure behind a paper's numbers of a metric.

    Attributes:
        fields: Score fields and the values that they must have.
        datasets: Further fields for single datasets. They replace those of `fields`.
        alone: `fields` are all; nothing that is said of the paper's images counts.
        never: Reason why there is no difference to any score; empty where there may be.
        caveat: Remark on every difference.
    """

    fields: Settings = {}
    datasets: Mapping[str, Settings] = {}
    alone: bool = False
    never: str = ""
    caveat: str = ""


class PaperTable(_Part):
    """One table of a paper.

    Attributes:
        number: "1", "2" or "fig7", as in the published numbers.
        title: Title, without the number.
        metrics: Its metrics, in order.
        datasets: Its datasets, in order; empty for those of the published numbers.
        rows: Models of the toolkit under the names that the table gives them, as their settings. Null is another model.
            Empty for the names that all tables of papers share.
    """

    number: str
    title: str
    metrics: tuple[str, ...]
    datasets: tuple[str, ...] = ()
    rows: Mapping[str, Settings | None] = {}

    @property
    def stem(self) -> str:
        """Name of its files after the paper's name."""
        return self.number if self.number.startswith("fig") else f"table{self.number}"

    @property
    def heading(self) -> str:
        """Number and title."""
        number = self.number.removeprefix("fig")
        return f"{'Figure' if self.number.startswith('fig') else 'Table'} {number}: {self.title}"


@dataclass(frozen=True)
class Published:
    """A number of a paper's table.

    Attributes:
        table: Number of the table.
        method: Name in the table.
        dataset: Short name.
        metric: Name.
        value: Value.
        std: Its standard deviation; None where there is none.
        note: Note on it.
        input: Input of the method, "text", "speech" or "image".
    """

    table: str
    method: str
    dataset: str
    metric: str
    value: float
    std: float | None
    note: str
    input: str


class Paper(_Part):
    """A paper whose tables can be written.

    Attributes:
        kind: Its model.
        models: Its models under the names that every paper's tables give them.
        tables: Tables in order.
        metrics: Measure behind the numbers of each metric.
        shared: Fields that hold for every metric.
        datasets: Fields that hold for every metric of a dataset.
        filled: It is about filled images.
    """

    kind: str
    models: Mapping[str, Model]
    tables: tuple[PaperTable, ...]
    metrics: Mapping[str, MetricProtocol]
    shared: Settings = {}
    datasets: Mapping[str, Settings] = {}
    filled: bool = False

    @field_validator("shared", "datasets", "metrics")
    @classmethod
    def _fields_exist(cls, part: Mapping[str, object]) -> Mapping[str, object]:
        if unknown := sorted(set(_field_names(part)) - set(COLUMNS)):
            raise ValueError(f"a score row has no field {', '.join(unknown)}")
        return part

    def protocol(self, metric: str, dataset: str) -> Wanted:
        """Return the fields in which a score must agree with a published number."""
        own = self.metrics[metric]
        if own.alone:
            return own.fields
        of_dataset = self.datasets.get(dataset, {})
        return {**self.shared, **of_dataset, **own.fields, **own.datasets.get(dataset, {})}

    def why_not_comparable(self, score: ScoreRow) -> str:
        """Return what keeps a score from being compared with published numbers; empty where nothing does."""
        if score.metric not in self.metrics:
            return "the paper reports no numbers"
        own = self.metrics[score.metric]
        if own.never:
            return own.never
        if not own.alone and score.dataset not in self.datasets:
            return f"the paper has no numbers on {score.dataset}"
        if score.images == "real":
            return "real images: the ceiling of this measure"
        return "; ".join(disagreements(score, self.protocol(score.metric, score.dataset)))


def _field_names(part: Mapping[str, object]) -> Iterator[str]:
    for name, value in part.items():
        if isinstance(value, MetricProtocol):
            yield from (*value.fields, *(key for each in value.datasets.values() for key in each))
        elif isinstance(value, Mapping) and not value.keys() <= {"least", "most"}:
            yield from _field_names(value)
        else:
            yield name


@functools.cache
def read_paper(name: str) -> Paper:
    """Return a paper's tables.

    Args:
        name: Name of the paper's model.

    Raises:
        UsageError: There is no paper of that name with tables.
        DataError: Its file is broken.
    """
    path = _file(name, ".yaml")
    if not path.is_file():
        raise UsageError(f"{name!r} is not a paper with tables", f"One of: {', '.join(papers())}.")
    try:
        return Paper.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, yaml.YAMLError, ValidationError) as error:
        raise DataError(f"{path}: cannot be read ({error})", "Install gancli again.") from error


def read_published(name: str) -> list[Published]:
    """Return the published numbers of a paper; none where it reports none.

    Raises:
        DataError: Its file is missing or broken.
    """
    path = _file(name, ".csv")
    hint = "Install gancli again."
    try:
        return [
            Published(
                **{key: record[key] for key in ("table", "method", "dataset", "metric", "note", "input")},
                value=float(record["value"]),
                std=float(record["std"]) if record["std"] else None,
            )
            for record in read_csv(path, hint).to_dict("records")
        ]
    except (KeyError, ValueError) as error:
        raise DataError(f"{path}: cannot be read ({error})", hint) from error


def papers() -> list[str]:
    """Return the names of the models whose papers have tables."""
    files = (recipes_folder() / "tables").glob("*.yaml")
    return sorted(file.stem.replace("_", "-") for file in files)


def _file(name: str, end: str) -> Path:
    return recipes_folder() / "tables" / f"{name.replace('-', '_')}{end}"
