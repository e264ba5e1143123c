"""Score rows, each a number with the fields that say how it was measured, and the results.csv that collects them.

Numbers are compared by these fields. `method`, `protocol` and `note` are prose for a reader: they are made from the
fields and never read back.
"""

from __future__ import annotations

import dataclasses
import fcntl
import json
import math
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_type_hints

from gancli.csv_files import read_csv, write_csv
from gancli.errors import DataError, UsageError
from gancli.version import __version__

if TYPE_CHECKING:
    import pandas as pd

# "mean_fill" is a hole filled without a model; "none" where no image is scored, as for the cost of a run
ScoredImages = Literal["generated", "real", "mean_fill", "none"]


@dataclass(frozen=True, kw_only=True)
class RealData:
    """The dataset that real images and captions come from.

    Attributes:
        dataset: Short name ("cub"), or the folder of images that are not a prepared dataset.
        release: Published release ("CUB-200-2011"); empty where it is unknown, as the next two.
        split_rule: Rule that made the splits ("zero-shot 150/50").
        crop_rule: Rule by which the dataset's images were cropped ("box 1.5×").
        split: Split of the real images and captions; empty where there is none.
        window: Part of each stored image that is used ("center"); empty for files, which are used whole.
    """

    dataset: str
    release: str = ""
    split_rule: str = ""
    crop_rule: str = ""
    split: str = ""
    window: str = ""


@dataclass(frozen=True, kw_only=True)
class HoleFields:
    """The holes that were filled.

    Attributes:
        hole_kind: "center", "irregular", "mix" or "folder", or "files" for mask files named to the score; empty for
            images drawn whole.
        hole_center: Side of the central hole over the image's.
        hole_least: Smallest share of the image that irregular holes cover.
        hole_most: Largest share.
        hole_folder: Mask file or folder, for the kinds "folder" and "files".
        hole_sha256: Hash of the folder's mask files.
        hole_inverted: Black is the hole in the mask files.
        hole_seed: Seed of random holes.
    """

    hole_kind: str = ""
    hole_center: float | None = None
    hole_least: float | None = None
    hole_most: float | None = None
    hole_folder: str = ""
    hole_sha256: str = ""
    hole_inverted: bool = False
    hole_seed: int | None = None

    @property
    def filled(self) -> bool:
        """True for filled images, whose scores have nothing in common with those of images drawn whole."""
        return bool(self.hole_kind)

    @property
    def holes(self) -> str:
        """The holes in words: "center 0.5", "irregular 0.1 to 0.5, seed 3"; empty for images drawn whole."""
        center, irregular = f"center {self.hole_center}", f"irregular {self.hole_least} to {self.hole_most}"
        kinds = {"": "", "center": center, "irregular": irregular, "mix": f"mix of {center} and {irregular}"}
        files = self.hole_folder if self.hole_kind == "files" else f"folder {self.hole_folder}"
        if self.hole_sha256:
            files += f", sha256 {self.hole_sha256}"
        if self.hole_inverted:
            files += ", inverted"
        seed = "" if self.hole_seed is None else f", seed {self.hole_seed}"
        return kinds.get(self.hole_kind, files) + seed

    @property
    def holes_clause(self) -> str:
        """End of the protocol of filled images; empty for images drawn whole."""
        return f"; holes: {self.holes}" if self.filled else ""


@dataclass(frozen=True, kw_only=True)
class Origin(HoleFields):
    """The scored images, and the model that made them.

    Attributes:
        images: Kind of the images.
        method: Name in tables ("FF-GAN", "baseline+GSR"); "real" for a dataset's own images.
        model: Model folder, or the images' name where no model is known.
        model_hash: sha256 of the model's weights, or of the list of images.
        kind: Kind of model ("ffgan"); empty where it is unknown.
        ablation: Settings of the paper's ablations in which the model differs from the paper's own, under their recipe
            keys ({"model.gsr": False}); empty for the paper's own model.
        differences: All settings in which its recipe differs from the paper's, each with `key`, `paper` and `here`.
        trained_steps: Training steps of the model, 0 if it is untrained; None where that is unknown.
        mismatched: Each image was drawn from the speech of another one.
        caption_words: Words of a caption that the model reads; None where it reads none.
        captions_per_image: Captions of each real image that were drawn from; None for random ones.
        image_size: Side in pixels; None where sides differ.
        seed: Seed of the sampling; None where it is unknown.
        train_seed: Seed of the training; None where it is unknown.
        files_left_out: Files of the images' folder that are not images and were not scored.
    """

    images: ScoredImages = "generated"
    method: str
    model: str
    model_hash: str
    kind: str = ""
    ablation: Mapping[str, object] = field(default_factory=dict)
    differences: Sequence[Mapping[str, object]] = ()
    trained_steps: int | None = None
    mismatched: bool = False
    caption_words: int | None = None
    captions_per_image: int | None = None
    image_size: int | None = None
    seed: int | None = None
    train_seed: int | None = None
    files_left_out: int | None = None

    @property
    def settings(self) -> dict[str, object]:
        """All settings in which the model differs from the paper's own, by recipe key."""
        return {str(each["key"]): each["here"] for each in self.differences} | dict(self.ablation)

    @property
    def as_trained(self) -> bool:
        """True for a trained model that was given its own conditions."""
        return self.trained_steps != 0 and not self.mismatched


@dataclass(frozen=True, kw_only=True)
class MetricSettings:
    """Settings of a metric; None or empty where the metric has no such setting.

    Attributes:
        k: R of R-precision, k of recall at k.
        candidates: Captions that an image chooses from in R-precision.
        encoder_words: Words of a caption that the encoder of R-precision reads.
        r_precision_rule: "fixed" or "official", how R-precision draws, ties and folds.
        n_classes: Classes of the images, for metrics of classes.
        splits: Parts of the images over which mean and standard deviation are taken.
        queries: Real images that query.
        queries_per_class: Real images of each class that query, where they are chosen by class.
        queries_file: List of the querying images, where they are listed.
        queries_sha256: Its hash.
        gallery: Images that are ranked.
        gallery_images: "generated" or "real".
        gallery_least: Fewest images in the gallery of one querying image, where the gallery is generated.
        gallery_most: Most of them.
        ssim_window: "uniform" or "wang".
        chance: Value to be expected of images that have nothing to do with their conditions.
        metric_seed: Seed of what the metric draws.
    """

    k: int | None = None
    candidates: int | None = None
    encoder_words: int | None = None
    r_precision_rule: str = ""
    n_classes: int | None = None
    splits: int | None = None
    queries: int | None = None
    queries_per_class: int | None = None
    queries_file: str = ""
    queries_sha256: str = ""
    gallery: int | None = None
    gallery_images: str = ""
    gallery_least: int | None = None
    gallery_most: int | None = None
    ssim_window: str = ""
    chance: float | None = None
    metric_seed: int | None = None


@dataclass(frozen=True, kw_only=True)
class NetworkFields:
    """The network whose features or classes a metric compares; all empty where it uses none.

    Attributes:
        network: Name for a reader ("encoder:encoders/damsm (small)").
        network_kind: "inception" (published FIDs), "imagenet", "damsm", "classifier" or "pixels".
        network_output: "features", "logits" or "code".
        backbone: Architecture ("inception_v3", "small").
        network_sha256: sha256 of its weights file.
        transform: Preparation of its input ("pytorch-fid", "tensorflow1", "torchvision", "antialiased", "area").
        resize: The same in words.
        encoder_accuracy: Held-out images that an encoder of gancli got right, in per cent; None where it does not say.
        encoder_chance: Share that guessing would have reached.
    """

    network: str = ""
    network_kind: str = ""
    network_output: str = ""
    backbone: str = ""
    network_sha256: str = ""
    transform: str = ""
    resize: str = ""
    encoder_accuracy: float | None = None
    encoder_chance: float | None = None


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


@dataclass(frozen=True, kw_only=True)
class ScoreRow(NetworkFields, MetricSettings, Origin, RealData):
    """One measured number and its provenance.

    Attributes:
        metric: Name ("fid", "r_precision", "agreement_primary_colour").
        value: Squared feature distance for FID, dB for PSNR, per cent for shares.
        std: Standard deviation over folds, splits or images in the unit of `value`; None where the metric has none.
        n_real: Real images used; None where a file of statistics does not say.
        n_fake: Generated images used; None where a file of statistics does not say.
        protocol: Rule of the metric in a line.
        note: Remarks a reader needs before comparing the number with another.
        gancli_version: Version that measured it.
        date: UTC, ISO 8601.
    """

    metric: str
    value: float
    std: float | None = None
    n_real: int | None
    n_fake: int | None
    protocol: str
    note: str = ""
    gancli_version: str = __version__
    date: str = field(default_factory=_now)

    def __post_init__(self) -> None:
        if not math.isfinite(self.value):
            raise ValueError(f"{self.metric} of {self.model} is {self.value}, which is not a finite number")
        for name in ("model", "model_hash", "metric", "protocol"):
            if not getattr(self, name):
                raise ValueError(f"a score row needs its {name}")

    def to_json(self) -> dict[str, object]:
        """Return the row as plain JSON values, null for what is unknown."""
        return dataclasses.asdict(self)


COLUMNS = tuple(column.name for column in dataclasses.fields(ScoreRow))
REQUIRED = ("dataset", "method", "model", "model_hash", "metric", "value", "protocol")
_HINT = "gancli score writes it. Name another file, or move this one away."


def append_row(path: str | Path, row: ScoreRow) -> None:
    """Append a row to a results.csv, as `append_rows` does."""
    append_rows(path, [row])


def append_rows(path: str | Path, rows: Sequence[ScoreRow]) -> None:
    """Append rows to a results.csv, created if need be. Columns of the user's own are kept.

    The file is replaced as a whole. Several processes may append at once.

    Raises:
        DataError: The file is not a results.csv.
        RunError: The file cannot be written.
    """
    import pandas as pd

    path = Path(os.path.realpath(path))
    path.parent.mkdir(parents=True, exist_ok=True)
    regular = path.is_file() or not path.exists()
    with _lock(path) if regular else nullcontext():
        known = _read(path) if path.is_file() else pd.DataFrame()
        added = pd.DataFrame([cells(row) for row in rows], columns=list(COLUMNS), dtype=str)
        own = [name for name in known.columns if name not in COLUMNS]
        table = pd.concat([known, added]).reindex(columns=[*COLUMNS, *own])
        write_csv(path, table.fillna(""))


def read_rows(path: str | Path) -> list[ScoreRow]:
    """Return the rows of a results.csv, in order.

    The file may have passed through pandas or a spreadsheet: columns may be missing, added or in another order, and
    whole numbers written as 0.0.

    Raises:
        DataError: The file is missing, lacks a column that every score has, or holds a broken value.
    """
    path = Path(path)
    table = _read(path)
    known = table[[name for name in COLUMNS if name in table.columns]]
    return [_parse(path, number, record) for number, record in enumerate(known.to_dict("records"), start=2)]


def named(rows: Sequence[ScoreRow], method: str) -> tuple[ScoreRow, ...]:
    """Return rows with a name for the images of an unknown model.

    Raises:
        UsageError: A model of the toolkit made the images, which has its own name.
    """
    if known := [row.method for row in rows if row.images == "generated" and row.kind]:
        raise UsageError(
            f"the images were made by {known[0]}, whose name comes from its recipe",
            "--method names the images of other people's models.",
        )
    return tuple(
        dataclasses.replace(row, method=method) if row.images == "generated" else row for row in rows
    )


def cells(row: ScoreRow) -> dict[str, str]:
    """Return a row as the cells of a CSV file, empty for what is unknown; mappings and lists are JSON."""
    return {name: _cell(getattr(row, name)) for name in COLUMNS}


def latest(scores: Iterable[ScoreRow]) -> list[ScoreRow]:
    """Return the last of all scores that agree in every field but the number itself."""
    passing = {"value", "std", "date", "note", "gancli_version"}
    kept: dict[tuple[str, ...], ScoreRow] = {}
    for score in scores:
        key = tuple(value for name, value in cells(score).items() if name not in passing)
        kept.pop(key, None)  # so that a repeated score stands at the position of its last one
        kept[key] = score
    return list(kept.values())


def _read(path: Path) -> pd.DataFrame:
    """Return a results.csv as text, without the index that pandas may have written; empty for an empty file."""
    table = read_csv(path, _HINT)
    if len(table.columns) and (missing := [name for name in REQUIRED if name not in table.columns]):
        raise DataError(f"{path}: is no results.csv, it lacks the columns {', '.join(missing)}", _HINT)
    return table[[name for name in table.columns if name and not name.startswith("Unnamed: ")]]


def _cell(value: object) -> str:
    if value is None or (not isinstance(value, (str, bool, int, float)) and not value):
        return ""
    if isinstance(value, (str, float)):
        return str(value)
    return json.dumps(value, ensure_ascii=False)


def _from_json(text: str) -> object:
    value = json.loads(text)
    return tuple(value) if isinstance(value, list) else value


def _number(text: str) -> float:
    """Return a number with a decimal point or, as spreadsheets write in some languages, a decimal comma."""
    return float(text.replace(",", ".") if "." not in text else text)


def _whole(text: str) -> int:
    number = _number(text)
    if not number.is_integer():
        raise ValueError(f"{text} is no whole number")
    return int(text) if re.fullmatch(r"-?[0-9]+", text) else int(number)


def _truth(text: str) -> bool:
    return {"true": True, "1": True, "1.0": True, "false": False, "0": False, "0.0": False}[text.lower()]


_READERS: dict[object, Callable[[str], object]] = {
    int | None: _whole,
    float | None: _number,
    float: _number,
    bool: _truth,
}


def _parse(path: Path, number: int, record: Mapping[Any, str]) -> ScoreRow:
    types = get_type_hints(ScoreRow)
    try:
        values: dict[str, Any] = {"n_real": None, "n_fake": None}
        for name, text in record.items():
            kind = types[name]
            if kind is str or kind == ScoredImages:
                values[name] = text
            elif text:
                values[name] = _READERS.get(kind, _from_json)(text)
            elif kind in (int | None, float | None):
                values[name] = None
        return ScoreRow(**values)
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"{path}: line {number} is not a score row ({error})") from error


@contextmanager
def _lock(path: Path) -> Iterator[None]:
    with path.with_name(f".{path.name}.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
