"""Sources of conditions and the settings of a drawing: the contract between `sample` and all that it can draw."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Protocol, TypeVar

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from gancli.data.shards import Dataset, Split
from gancli.errors import UsageError, check_least
from gancli.figures import Pixels
from gancli.inference.attr2image import LoadedAttr2Image
from gancli.inference.fusion_s2igan import LoadedFusionS2iGan
from gancli.inference.loaded import Drawing, LoadedModel
from gancli.sampling.requests import Request
from gancli.sampling.samples_folder import Figure, Vary

T = TypeVar("T")
E = TypeVar("E", bound=StrEnum)

PER_IMAGE = (Figure.STAGES, Figure.ATTENTION)


@dataclass(frozen=True)
class DrawSettings:
    """Settings of a drawing, whatever is drawn.

    Attributes:
        variants: Images per caption.
        vary: Noise that differs between them.
        seed: Seed of captions, order and noise.
        batch: Images at a time.
        figures: Figures beside the images.
        device: Device of the networks.

    Raises:
        UsageError: A number is too small, or a name is unknown.
    """

    variants: int = 1
    vary: Vary = Vary.ALL
    seed: int = 0
    batch: int = 32
    figures: tuple[Figure, ...] = ()
    device: str | torch.device = "cpu"

    def __post_init__(self) -> None:
        check_least(variants=(self.variants, 1), batch=(self.batch, 1), seed=(self.seed, 0))
        if self.variants == 1 and self.vary != Vary.ALL:
            raise nothing_to_compare()
        if len(self.figures) - len(self.per_image) > 1:
            raise UsageError(f"one figure of many images at a time. Received: {', '.join(self.figures)}")

    @property
    def per_image(self) -> tuple[Figure, ...]:
        """The figures of each image, in the order in which they are written."""
        return tuple(figure for figure in PER_IMAGE if figure in self.figures)

    @property
    def sheet(self) -> Figure | None:
        """The figure of many images."""
        return next((figure for figure in self.figures if figure not in PER_IMAGE), None)


class Source(Protocol):
    """Something to draw. Sentences, speech, captions of a dataset, attributes and interpolations are sources."""

    def open(self, model: LoadedModel, settings: DrawSettings) -> Conditions:
        """Return the images to draw, and the way their conditions reach the model.

        Raises:
            UsageError: There is nothing to draw, or the model cannot draw it.
            DataError: A file or dataset is missing or broken.
        """


@dataclass(frozen=True)
class Table:
    """Images of a finished folder in rows and columns, for a figure of many images.

    Attributes:
        out: The folder.
        files: Names of all images, row by row.
        requests: One for each file.
        width: Images in a row.
        most: Most rows and columns to show.
    """

    out: Path
    files: Sequence[str]
    requests: Sequence[Request]
    width: int
    most: int

    @property
    def height(self) -> int:
        """Number of rows."""
        return len(self.files) // self.width

    @property
    def rows(self) -> range:
        """The rows to show: the first ones."""
        return range(min(self.height, self.most))

    @property
    def columns(self) -> list[int]:
        """The columns to show: evenly spaced, the first and the last among them."""
        shown = min(self.width, self.most)
        return [int(column) for column in np.linspace(0, self.width - 1, shown).round()]

    def image(self, row: int, column: int, folder: str = "") -> Pixels:
        """Return an image (H, W, 3), or the one of the same name in a folder beside the images."""
        with Image.open(self.out / folder / self.files[row * self.width + column]) as image:
            return np.asarray(image.convert("RGB"))

    def request(self, row: int, column: int = 0) -> Request:
        """Return the request of an image."""
        return self.requests[row * self.width + column]


@dataclass(frozen=True)
class Sheet:
    """A figure of many images.

    Attributes:
        figure: Its name.
        width: Images in a row.
        draw: Function from the images to the figure.
        most: Most rows and columns to show.
    """

    figure: Figure
    width: int
    draw: Callable[[Table], Image.Image]
    most: int = 32


@dataclass(frozen=True)
class Conditions:
    """An opened source.

    Attributes:
        model: Model that draws it: the one given, or one joined with the Stage I of another.
        requests: One for each image, in order.
        draw: Function from B requests and their noises to their images.
        warnings: Messages for the user.
        dataset: Dataset of the captions.
        split: Its split.
        sheet: Figure of many images.
        record: Fields of sampling.json that only some sources have.
        heard: Split whose speech is heard.
        painted: Whether the first stage is a silhouette, to be kept beside each image.
        stage_names: Names of the stages; None for the model's own.
    """

    model: LoadedModel
    requests: Sequence[Request]
    draw: Callable[[Sequence[Request], Mapping[str, Tensor]], Drawing]
    warnings: Sequence[str] = ()
    dataset: Dataset | None = None
    split: Split | None = None
    sheet: Sheet | None = None
    record: Mapping[str, object] = field(default_factory=dict)
    heard: Split | None = None
    painted: bool = False
    stage_names: Sequence[str] | None = None


def hears(model: LoadedModel) -> LoadedFusionS2iGan | None:
    """Return a model that hears captions; None for one that reads them."""
    return model if isinstance(model, LoadedFusionS2iGan) and model.speech is not None else None


def refuse_attributes(model: LoadedModel) -> None:
    """Refuse a model of attributes, with a UsageError."""
    if isinstance(model, LoadedAttr2Image):
        raise UsageError(
            f"{model.folder}: is a model of attributes", "Say --attr primary_color=red, or --data DIR."
        )


def nothing_to_draw(model: LoadedModel) -> UsageError:
    """Return the error of a call that asks for nothing, with a hint of what the model draws."""
    if isinstance(model, LoadedAttr2Image):
        hint = "Say --attr primary_color=red, --attr-file FILE, or --data DIR --split test."
    elif hears(model) is not None:
        hint = 'Say --wav FILE, --speak "a small red bird", or --data DIR.'
    else:
        hint = 'Say --text "a small red bird", --captions FILE, or --data DIR --split test.'
    return UsageError("nothing to draw", hint)


def nothing_to_compare() -> UsageError:
    """Return the error of a call that compares the variants of a caption where there is one."""
    return UsageError("with one image per caption there is nothing to compare", "Say --variants 8.")


def one_or_many(values: str | Path | Sequence[T]) -> list[T]:
    """Return values as a list; a single string or path is one value."""
    return [values] if isinstance(values, str | Path) else list(values)  # type: ignore[list-item]


def named(kind: type[E], what: str, name: str) -> E:
    """Return the member of an enumeration that a name stands for; raise UsageError if there is none."""
    if name not in set(kind):
        raise UsageError(f"{what} has to be one of {', '.join(kind)}. Received: {name}")
    return kind(name)
