"""Written sentences, and the way from one sentence to another."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from gancli.errors import DataError, UsageError, check_least
from gancli.figures import interpolation_figure, variants_figure
from gancli.inference.fusion_s2igan import LoadedFusionS2iGan
from gancli.inference.loaded import Drawing, LoadedModel
from gancli.inference.stackgan import LoadedStackGAN
from gancli.sampling.conditions import (
    Conditions,
    DrawSettings,
    Sheet,
    Table,
    hears,
    nothing_to_compare,
    nothing_to_draw,
    one_or_many,
    refuse_attributes,
)
from gancli.sampling.requests import Request, with_variants
from gancli.sampling.samples_folder import Figure

Draw = Callable[[Sequence[Request], Mapping[str, Tensor]], Drawing]


@dataclass(frozen=True)
class Sentences:
    """Sentences to draw, in the order given, those of the file last.

    Attributes:
        texts: Sentences.
        file: UTF-8 text file with one sentence per line; empty lines are skipped.
    """

    texts: str | Sequence[str] = ()
    file: str | Path | None = None

    def open(self, model: LoadedModel, settings: DrawSettings) -> Conditions:
        captions = [text.strip() for text in one_or_many(self.texts)]
        if not captions and self.file is None:
            raise nothing_to_draw(model)
        refuse_text(model)
        if self.file is not None:
            captions += read_captions(self.file)
        requests = with_variants([Request(caption) for caption in captions], settings.variants)
        warnings = model.check(captions)
        return Conditions(model, requests, read_by(model), warnings, sheet=variants_sheet(settings))


@dataclass(frozen=True)
class Interpolation:
    """The way from one sentence to another, for a model that one sentence vector conditions.

    The vectors lie on the straight line between those of both sentences. All images of a variant have the noise of the
    first sentence's image.

    Attributes:
        first: Sentence of the first image.
        second: Sentence of the last image.
        steps: Number of images, both ends included.
    """

    first: str
    second: str
    steps: int = 8

    def __post_init__(self) -> None:
        check_least(steps=(self.steps, 2))
        if not self.first.strip() or not self.second.strip():
            raise UsageError("an interpolation needs two sentences, one of them is empty")

    def open(self, model: LoadedModel, settings: DrawSettings) -> Conditions:
        refuse_text(model)
        first, second = self.first.strip(), self.second.strip()
        warnings = model.check([first, second])
        requests = [
            Request(first, variant=variant, second_caption=second, weight=step / (self.steps - 1))
            for variant in range(settings.variants)
            for step in range(self.steps)
        ]
        sheet = Sheet(Figure.INTERPOLATION, self.steps, _interpolation_sheet)
        record = {"interpolation": (self.first, self.second), "steps": self.steps}
        draw = _drawn_between(model, first, second)
        return Conditions(model, requests, draw, warnings, sheet=sheet, record=record)


def read_captions(file: str | Path) -> list[str]:
    """Return the sentences of a UTF-8 text file, one a line.

    Raises:
        DataError: The file is missing, not UTF-8, or empty.
    """
    path = Path(file)
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read as UTF-8 text ({error})") from error
    captions = [line.strip() for line in lines if line.strip()]
    if not captions:
        raise DataError(f"{path}: holds no caption", "Write one sentence per line.")
    return captions


def refuse_text(model: LoadedModel) -> None:
    """Refuse a model that reads no sentences.

    Raises:
        UsageError: It hears them, or draws attributes.
    """
    refuse_attributes(model)
    if hears(model) is not None:
        raise UsageError(
            f"{model.folder}: hears captions and reads none: it was trained on speech",
            'Say --speak "a small red bird" to have a text spoken for it, --wav FILE, or --data DIR.',
        )


def read_by(model: LoadedModel) -> Draw:
    """Return the drawing of captions that the model reads itself."""
    return lambda requests, noises: model.draw([request.caption for request in requests], noises)


def drawn_from(model: LoadedModel, vectors: Callable[[Sequence[Request]], Tensor]) -> Draw:
    """Return the drawing of captions by their vectors (B, E)."""
    assert isinstance(model, LoadedStackGAN | LoadedFusionS2iGan)
    return lambda requests, noises: model.draw_sentences(vectors(requests), noises)


def variants_sheet(settings: DrawSettings) -> Sheet | None:
    """Return the figure with a row per caption and its variants along it, where it is asked for.

    Raises:
        UsageError: Another figure is asked for, or there is one image per caption.
    """
    if settings.sheet is None:
        return None
    if settings.sheet != Figure.VARIANTS:
        raise UsageError(f"the figure {settings.sheet} is not for captions", "Say --grid variants.")
    if settings.variants == 1:
        raise nothing_to_compare()

    def draw(table: Table) -> Image.Image:
        rows = [[table.image(row, column) for column in table.columns] for row in table.rows]
        return variants_figure(rows, [table.request(row).label for row in table.rows])

    return Sheet(Figure.VARIANTS, settings.variants, draw)


def _interpolation_sheet(table: Table) -> Image.Image:
    rows = [[table.image(row, column) for column in table.columns] for row in table.rows]
    weights = [table.request(0, column).weight for column in table.columns]
    first = table.request(0)
    return interpolation_figure(rows, weights, first.caption, first.second_caption)


def _drawn_between(model: LoadedModel, first: str, second: str) -> Draw:
    """Return the drawing of vectors on the straight line between those of two sentences."""
    if not isinstance(model, LoadedStackGAN | LoadedFusionS2iGan):
        raise UsageError(
            f"{model.folder}: {model.method} cannot go from one sentence to another: it attends to the words of a "
            "sentence, and the words of two sentences have no line between them",
            "Interpolate with StackGAN, or Fusion-S2iGan with sentences, which one vector conditions.",
        )
    vectors = model.encode([first, second])
    start, end = vectors[:1], vectors[1:]

    def mix(requests: Sequence[Request]) -> Tensor:
        weights = torch.tensor([request.weight for request in requests], device=start.device)
        return torch.lerp(start, end, weights[:, None])  # exact at both ends

    return drawn_from(model, mix)
