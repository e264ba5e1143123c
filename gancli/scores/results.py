"""The score row: one number with everything that says how it was measured, and the results.csv that collects them."""

from __future__ import annotations

import csv
import dataclasses
import fcntl
import io
import json
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from gancli.atomic import atomic_file
from gancli.errors import DataError
from gancli.version import __version__

# In the protocol of a score of filled images, at its end; what follows says which holes were cut
HOLES = "; holes: "


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


@dataclass(frozen=True, kw_only=True)
class ScoreRow:
    """One measured number and its provenance.

    Attributes:
        dataset: Short name ("cub"), or the folder where the images are not a prepared dataset.
        split: Of the real images and captions; empty where there is none.
        method: What the tables call it ("FF-GAN", "baseline+GSR"); "real" for the real images' own value.
        model: The model folder, or what the images were given as where no model is known.
        model_hash: sha256 of the model's weights, or of the list of images where no model is known.
        metric: "fid", "r_precision", "agreement_primary_colour" …
        value: In the metric's usual unit: squared feature distance for FID, per cent for the others.
        std: Over folds or images, in the unit of `value`; None where the metric has none.
        n_real: Real images used; None where a file of statistics does not say.
        n_fake: Generated images used, likewise.
        protocol: The rule of the metric in a line, with its parameters.
        network: The network that gives features ("inception", "encoder:runs/damsm"); empty where none is used.
        network_sha256: Of its weights file.
        resize: How images come to the network's input.
        image_size: Side of the generated images in pixels; None where they differ.
        seed: Of the sampling; None where it is not known.
        note: What a reader has to know before comparing the number with another.
        gancli_version: Filled in.
        date: Filled in; UTC, ISO 8601.
    """

    dataset: str
    split: str
    method: str
    model: str
    model_hash: str
    metric: str
    value: float
    std: float | None = None
    n_real: int | None
    n_fake: int | None
    protocol: str
    network: str
    network_sha256: str
    resize: str
    image_size: int | None = None
    seed: int | None = None
    note: str = ""
    gancli_version: str = __version__
    date: str = field(default_factory=_now)

    def __post_init__(self) -> None:
        if not math.isfinite(self.value):
            raise ValueError(
                f"{self.metric} of {self.model} is {self.value}: not a number that can be reported"
            )
        for name in ("model", "model_hash", "metric", "protocol"):
            if not getattr(self, name):
                raise ValueError(f"a score row needs its {name}")

    def to_json(self) -> dict[str, Any]:
        """The row as plain JSON values; what is not known is null."""
        return dataclasses.asdict(self)


COLUMNS = tuple(column.name for column in dataclasses.fields(ScoreRow))
_INTEGERS = ("n_real", "n_fake", "image_size", "seed")


def append_row(path: Path, row: ScoreRow) -> None:
    """Adds a row to a results.csv, which is made if need be.

    The file is replaced as a whole, so a reader never sees half a row; several processes may append at once.

    Raises:
        DataError: The file there is not a results.csv of this version.
        RunError: It cannot be written.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with _lock(path):
        rows = read_rows(path) if path.exists() else []
        buffer = io.StringIO(newline="")
        writer = csv.DictWriter(buffer, COLUMNS, lineterminator="\n")
        writer.writeheader()
        for each in [*rows, row]:
            writer.writerow({name: "" if value is None else value for name, value in each.to_json().items()})
        with atomic_file(path) as temporary:
            temporary.write_text(buffer.getvalue(), encoding="utf-8")


def read_rows(path: Path) -> list[ScoreRow]:
    """The rows of a results.csv, in order.

    Raises:
        DataError: The file is missing, has other columns, or holds a value that is none.
    """
    path = Path(path)
    try:
        with path.open(encoding="utf-8", newline="") as file:
            reader = csv.DictReader(file)
            if tuple(reader.fieldnames or ()) != COLUMNS:
                raise DataError(
                    f"{path}: its columns are not those of a results.csv ({', '.join(reader.fieldnames or ())})",
                    f"Expected: {', '.join(COLUMNS)}. Move the file away, or name another one.",
                )
            return [_parse(path, number, record) for number, record in enumerate(reader, start=2)]
    except FileNotFoundError:
        raise DataError(f"{path}: no such file", "gancli score writes it.") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: cannot be read as CSV ({error})") from error


def write_json(path: Path, rows: list[ScoreRow]) -> None:
    """Writes rows as a JSON list, whole or not at all."""
    with atomic_file(path) as temporary:
        text = json.dumps([row.to_json() for row in rows], indent=1, ensure_ascii=False)
        temporary.write_text(text + "\n", encoding="utf-8")


def _parse(path: Path, number: int, record: dict[str, str]) -> ScoreRow:
    try:
        values: dict[str, Any] = dict(record)
        for name in _INTEGERS:
            values[name] = int(record[name]) if record[name] else None
        values["value"] = float(record["value"])
        values["std"] = float(record["std"]) if record["std"] else None
        return ScoreRow(**values)
    except (TypeError, ValueError) as error:
        raise DataError(f"{path}: line {number} is not a score row ({error})") from error


@contextmanager
def _lock(path: Path) -> Iterator[None]:
    with path.with_name(f".{path.name}.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
