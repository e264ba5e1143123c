"""Attributes as a source: a silhouette is drawn or given, then an image is painted on it (attr2image).

The silhouette of each image lies beside it in `silhouettes/`. The figures are the paper's: one shape with many sets of
attributes (Fig. 4), one set of attributes on many shapes (Fig. 5).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from gancli.data.attributes import attributes_text, read_attribute_file
from gancli.data.images import load_image
from gancli.data.loader import evaluation_batches
from gancli.data.shards import FOREGROUND, Dataset, Split
from gancli.errors import DataError, UsageError, check_least
from gancli.figures import shapes_figure
from gancli.inference.attr2image import SECOND_CONDITION, LoadedAttr2Image
from gancli.inference.load import load_model
from gancli.inference.loaded import Drawing, LoadedModel
from gancli.sampling.captions import images_of
from gancli.sampling.conditions import Conditions, DrawSettings, Sheet, Table, nothing_to_draw, one_or_many
from gancli.sampling.noise import image_noise
from gancli.sampling.requests import Request, walk, with_variants
from gancli.sampling.samples_folder import Figure, Silhouettes, Vary

SILHOUETTES = "silhouettes"  # folder beside the images
OF_DATA = "data"  # stands for the silhouettes of the dataset's images
MOST = 16  # rows or columns of a figure


@dataclass(frozen=True)
class Attributes:
    """Sets of attributes to draw, those of the file last.

    Attributes:
        texts: Sets of attributes, each a text such as "primary_color=red, size=small".
        file: Text file with such a set a line.
        silhouettes: Silhouettes to paint on: an image, white on the bird, or a folder of such, of which each set of
            attributes is painted on each; None to draw them.
        shape_model: Model or run of stage=shape that draws the silhouettes; None for the model itself.
    """

    texts: str | Sequence[str] = ()
    file: str | Path | None = None
    silhouettes: str | Path | None = None
    shape_model: str | Path | None = None

    def open(self, model: LoadedModel, settings: DrawSettings) -> Conditions:
        painter = _open_painter(model, self.shape_model, settings.device)
        rows = [painter.vector(text) for text in one_or_many(self.texts)]
        if self.file is not None:
            rows += read_attribute_file(Path(self.file), painter.names)
        if not rows:
            raise nothing_to_draw(model)
        requests = [Request(attributes_text(row, painter.names)) for row in rows]
        warnings = painter.check([request.caption for request in requests])
        asked = _Asked(requests, {(r.caption, ""): row for r, row in zip(requests, rows, strict=True)})
        return _conditions(painter, asked, settings, self, warnings)


@dataclass(frozen=True)
class DatasetAttributes:
    """Attributes of a dataset's images.

    Attributes:
        data: Dataset folder.
        split: Split of the dataset.
        key: Name of a single image to take; None for all.
        n: Number of images, in random order; None for each one once.
        images_per_class: First images of each class by name to take; None for all of the split.
        silhouettes: Silhouettes to paint on: "data" for those of the images, an image or a folder; None to draw them.
        shape_model: Model or run of stage=shape that draws the silhouettes; None for the model itself.
    """

    data: str | Path
    split: str = "test"
    key: str | None = None
    n: int | None = None
    images_per_class: int | None = None
    silhouettes: str | Path | None = None
    shape_model: str | Path | None = None

    def __post_init__(self) -> None:
        check_least(n=(self.n, 1), images_per_class=(self.images_per_class, 1))

    def open(self, model: LoadedModel, settings: DrawSettings) -> Conditions:
        painter = _open_painter(model, self.shape_model, settings.device)
        dataset = Dataset.open(self.data)
        painter.check_dataset(dataset)
        split = dataset.split(self.split)
        images = images_of(dataset, split, self.images_per_class)
        if self.key is not None:
            images = np.array([split.find(self.key)])
        table = split.attributes
        assert table is not None  # the model's own attributes

        def captions(_: Split, index: int) -> list[tuple[int, str]]:
            return [(0, attributes_text(table[index], painter.names))]

        requests = walk(split, images, self.n, settings.seed, captions)
        vectors = {(r.caption, r.key): table[r.index] for r in requests if r.index is not None}
        conditions = _conditions(painter, _Asked(requests, vectors, split), settings, self, [])
        record = {**conditions.record, "images_per_class": self.images_per_class}
        return replace(conditions, dataset=dataset, split=split, record=record)


@dataclass(frozen=True)
class _Asked:
    """Sets of attributes to draw."""

    requests: list[Request]  # one for each set, the attributes as its caption
    vectors: dict[tuple[str, str], NDArray[np.float32]]  # (A,) by caption and key
    split: Split | None = None  # of the images; None for attributes that are no dataset's

    def rows(self, requests: Sequence[Request]) -> NDArray[np.float32]:
        """Return the attributes (B, A) of requests."""
        return np.stack([self.vectors[request.caption, request.key] for request in requests])


def _open_painter(
    model: LoadedModel, shape_model: str | Path | None, device: str | torch.device
) -> LoadedAttr2Image:
    """Return a model of attributes, with the Stage I of another one where one is named."""
    if not isinstance(model, LoadedAttr2Image):
        raise UsageError(
            f"{model.folder}: is no model of attributes",
            'Say --text "a small red bird", --captions FILE, or --data DIR.',
        )
    if shape_model is None:
        return model
    other = load_model(shape_model, device)
    if not isinstance(other, LoadedAttr2Image):
        raise UsageError(f"{shape_model}: is no model of attributes", "Name a run of attr2image stage=shape.")
    return model.with_shape(other)


def _conditions(
    model: LoadedAttr2Image,
    asked: _Asked,
    settings: DrawSettings,
    source: Attributes | DatasetAttributes,
    warnings: Sequence[str],
) -> Conditions:
    if settings.vary != Vary.ALL:
        raise UsageError(f"{model.folder}: varies in all of its noise", "Leave out --vary.")
    if Figure.STAGES in settings.figures and model.image is None:
        raise UsageError(
            f"{model.folder}: draws silhouettes alone, there are no stages to compare", "Leave out --stages."
        )
    given = None if source.silhouettes is None else _given(model, source.silhouettes, asked, settings)
    if given is None and model.shape is None:
        model.draw_shapes(np.empty((0, 0), np.float32), {})  # says what is missing
    variants = len(given.files) if given is not None and given.files else settings.variants
    sheet = _sheet(model, settings, len(asked.requests), variants)
    record: dict[str, object] = {}
    if given is not None:
        record = {"silhouettes": given.kind, "silhouette_source": given.source}
    elif model.image is not None:
        drawn_by = source.shape_model or model.folder
        record = {"silhouettes": Silhouettes.DRAWN, "silhouette_source": str(drawn_by)}
    return Conditions(
        model,
        with_variants(asked.requests, variants),
        _drawn(model, asked, given, sheet, settings.seed),
        warnings,
        sheet=sheet,
        record={"variants": variants, **record},
        painted=model.image is not None,
        stage_names=("shape", "image"),
    )


def _drawn(
    model: LoadedAttr2Image, asked: _Asked, given: _Given | None, sheet: Sheet | None, seed: int
) -> Callable[[Sequence[Request], Mapping[str, Tensor]], Drawing]:
    """Return the drawing of attributes: a silhouette first, the image last, the same where there is no Stage II."""
    figure = None if sheet is None else sheet.figure

    def draw(requests: Sequence[Request], noises: Mapping[str, Tensor]) -> Drawing:
        shapes = None if given is None else given.of(requests)
        if given is None and figure == Figure.SAME_SHAPE:
            first = [replace(asked.requests[0], variant=request.variant) for request in requests]
            shapes = model.draw_shapes(asked.rows(first), image_noise(first, model.noise_dims, seed))
        if figure == Figure.SAME_ATTRIBUTES:  # the silhouette alone varies
            held = image_noise(requests, model.noise_dims, seed, Vary.NOISE)
            noises = {**noises, SECOND_CONDITION: held[SECOND_CONDITION]}
        return model.draw_vectors(asked.rows(requests), noises, shapes)

    return draw


# --- silhouettes that are given ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Given:
    """Silhouettes that no model draws."""

    kind: Silhouettes
    source: str | None  # file or folder, as it was given; None for those of a dataset
    files: list[Tensor]  # (1, S, S) in {-1, 1} of each file; empty for those of a dataset
    split: Split | None
    size: int  # S
    passes: int  # over the dataset: a request's variant counts them first, then the files

    def of(self, requests: Sequence[Request]) -> Tensor:
        """Return the silhouettes (B, 1, S, S) of requests."""
        if self.files:
            return torch.stack([self.files[request.variant // self.passes] for request in requests])
        assert self.split is not None
        indices = np.array([request.index for request in requests], np.int64)
        side = min(self.size, self.split.image_size)
        (batch,) = evaluation_batches(
            self.split, sizes=(), batch=len(indices), words=0, images=indices, silhouette_sizes=(side,)
        )
        return batch.silhouettes[0]


def _given(model: LoadedAttr2Image, silhouettes: str | Path, asked: _Asked, settings: DrawSettings) -> _Given:
    """Return the silhouettes that a user names."""
    if model.image is None:
        raise UsageError(f"{model.folder}: draws silhouettes and paints none", "Leave out --shape.")
    size = model.image.size
    passes = 1 + max(request.variant for request in asked.requests)
    if str(silhouettes) == OF_DATA:
        if asked.split is None:
            raise UsageError("the silhouettes of a dataset go with its attributes", "Say --data DIR with it.")
        asked.split.need_silhouettes()
        return _Given(Silhouettes.DATASET, None, [], asked.split, size, passes)
    path = Path(silhouettes)
    files = sorted(path.glob("*.png")) if path.is_dir() else [path]
    if not files:
        raise DataError(f"{path}: no .png file in it", "Name a folder of silhouettes, white on the bird.")
    if settings.variants > 1:
        raise UsageError(
            "each set of attributes is painted once on each silhouette given", "Leave out --variants."
        )
    shapes = [_read_silhouette(file, size) for file in files]
    return _Given(Silhouettes.FILES, str(silhouettes), shapes, None, size, passes)


def _read_silhouette(path: Path, size: int) -> Tensor:
    """Return an image as a silhouette (1, size, size): 1 where it is white, else -1."""
    image = load_image(path).convert("L")
    if image.width != image.height:
        raise DataError(
            f"{path}: is {image.width} x {image.height} pixels, a silhouette is square",
            "Crop it, or pad it with black.",
        )
    white = np.asarray(image.resize((size, size), Image.Resampling.BILINEAR)) >= FOREGROUND
    if white.all() or not white.any():
        what = "white" if white.all() else "black"
        raise DataError(f"{path}: is all {what}", "A silhouette is white on the bird and black around it.")
    return torch.where(torch.from_numpy(white), 1.0, -1.0)[None]


# --- figures ----------------------------------------------------------------------------------------------------


def _sheet(model: LoadedAttr2Image, settings: DrawSettings, sets: int, variants: int) -> Sheet | None:
    """Return the figure that is asked for."""
    figure = settings.sheet
    if figure is None:
        return None
    drawings = {Figure.SAME_SHAPE: _same_shape, Figure.SAME_ATTRIBUTES: _same_attributes}
    if figure not in drawings:
        raise UsageError(
            f"the grid of a model of attributes is one of {', '.join(drawings)}. Received: {figure}"
        )
    if model.image is None:
        raise UsageError(
            f"{model.folder}: draws silhouettes alone, which no grid compares", "Leave out --grid."
        )
    if figure == Figure.SAME_SHAPE and sets < 2:
        raise UsageError(
            "one shape under many attributes needs several sets of them",
            "Write one set a line and say --attr-file FILE, or take those of a dataset: --data DIR -n 6.",
        )
    if figure == Figure.SAME_ATTRIBUTES and variants < 2:
        raise UsageError("one set of attributes on many shapes needs several shapes", "Say --variants 8.")
    return Sheet(figure, variants, drawings[figure], MOST)


def _same_shape(table: Table) -> Image.Image:
    """Draw each silhouette of the first set of attributes, and all sets on it along its row (Fig. 4)."""
    rows = [
        [table.image(0, column, SILHOUETTES), *(table.image(row, column) for row in table.rows)]
        for column in table.columns
    ]
    return shapes_figure(rows, columns=["shape", *_differences(table)])


def _same_attributes(table: Table) -> Image.Image:
    """Draw the silhouettes, and below them each set of attributes on all of them (Fig. 5)."""
    painted = [[table.image(row, column) for column in table.columns] for row in table.rows]
    own = [[table.image(row, column, SILHOUETTES) for column in table.columns] for row in table.rows]
    labels = _differences(table)
    if all(np.array_equal(a, b) for line in own for a, b in zip(line, own[0], strict=True)):
        return shapes_figure([own[0], *painted], lines=["shape", *labels])
    rows = [line for pair in zip(own, painted, strict=True) for line in pair]
    return shapes_figure(rows, lines=[text for label in labels for text in ("shape", label)])


def _differences(table: Table) -> list[str]:
    """Return the attributes of each row without those that all of them have; one alone keeps all."""
    captions = [table.request(row).caption for row in table.rows]
    parts = [caption.split(", ") for caption in captions]
    common = set.intersection(*map(set, parts)) if len(parts) > 1 else set()
    return [
        ", ".join(part for part in each if part not in common) or caption
        for each, caption in zip(parts, captions, strict=True)
    ]
