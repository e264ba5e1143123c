"""`sample` of a model of attributes: silhouettes drawn or given, and images painted on them.

One PNG each, with its silhouette of the same name in `shapes/`, and the figures of the paper: one shape with many
attributes (Fig. 4), one set of attributes on many shapes (Fig. 5).
"""

from __future__ import annotations

from collections.abc import Sequence
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
from gancli.errors import DataError, UsageError
from gancli.figures import Pixels, shapes_figure, stages_figure, to_uint8
from gancli.inference.attr2image import SECOND_CONDITION, LoadedAttr2Image
from gancli.inference.load import load_model
from gancli.progress import Progress
from gancli.sampling.noise import image_noise
from gancli.sampling.requests import (
    Request,
    captions_hash,
    file_names,
    first_of_classes,
    walk,
    with_variants,
)
from gancli.sampling.sample import SHEETS, SampleReport
from gancli.sampling.samples_folder import GeneratedImage, Grid, Sampling, Vary, write_samples
from gancli.sampling.samples_writer import open_folder, save_image, write_missing
from gancli.version import __version__

SHAPES = "shapes"  # folder of the silhouettes
OF_DATA = "data"  # the silhouettes of the dataset's images
_GRIDS = (Grid.SAME_SHAPE, Grid.SAME_ATTRIBUTES)
MOST_SHAPES = 16  # rows or columns of a figure


def sample_attributes(
    model: Path,
    *,
    out: Path,
    attributes: Sequence[str] = (),
    attribute_file: Path | None = None,
    data: Path | None = None,
    split: str = "test",
    key: str | None = None,
    n: int | None = None,
    images_per_class: int | None = None,
    shape: str | Path | None = None,
    shape_model: Path | None = None,
    variants: int = 1,
    seed: int = 0,
    stages: bool = False,
    grid: Grid | str | None = None,
    batch: int = 32,
    device: str | torch.device = "cpu",
    overwrite: bool = False,
    progress: Progress | None = None,
) -> SampleReport:
    """Draws sets of attributes: a silhouette from those that a silhouette shows, an image on it from the others.

    Args:
        model: A model folder of attr2image, or a run folder with one. A model of stage=shape draws silhouettes alone.
        out: Folder for the images, `samples.csv`, `sampling.json`, and the folders `shapes/`, `stages/` and
            `figures/`. Made if need be; the same call again continues where an interrupted one stopped.
        attributes: `group=value`, all of one bird ("primary_color=red").
        attribute_file: A text file with such a set of attributes a line.
        data: A prepared dataset: the attributes of its images.
        split: Of the dataset.
        key: The name of a single image of the split.
        n: Images to take, in random order; None: each one once.
        images_per_class: Only the first images of each class by name; None: all of the split.
        shape: Silhouettes to paint instead of drawing some: an image, white on the bird, or a folder of such, of which
            each set of attributes is painted on each; or "data" for those of the dataset's images.
        shape_model: A model or run folder of stage=shape that draws the silhouettes in place of the model's own.
        variants: Images of each set of attributes, each with noise of its own.
        seed: Of everything random.
        stages: A figure per image with its silhouette beside it.
        grid: One figure in which the silhouette stays, or the attributes do: `figures/same-shape.png`.
        batch: Images at a time; it does not change them.
        device: Where to run.
        overwrite: Replace what an earlier call wrote to `out`.
        progress: Called after each batch.

    Returns:
        The files and what to warn of.

    Raises:
        UsageError: No attributes or two kinds of them, an attribute that there is not, no silhouettes, a number below
            1, something the model does not do; `out` holds something else.
        DataError: Model, dataset or files are missing or broken, or the dataset has other attributes than the model.
    """
    for name, number in (("n", n), ("images_per_class", images_per_class), ("variants", variants)):
        if number is not None and number < 1:
            raise UsageError(f"{name} has to be at least 1. Received: {number}")
    loaded = _open_model(Path(model), shape_model, device)
    asked = _Asked.of(
        loaded,
        attributes,
        attribute_file,
        data,
        split,
        key=key,
        n=n,
        images_per_class=images_per_class,
        seed=seed,
    )
    given = _given_shapes(loaded, shape, asked, variants)
    if given is not None and not given.of_data:
        variants = len(given.shapes)
    grid = _check_grid(grid, loaded, len(asked.requests), variants)
    requests = with_variants(asked.requests, variants)
    painted = loaded.image is not None
    folders = tuple(name for name, wanted in ((SHAPES, painted), ("stages", stages and painted)) if wanted)
    if stages and not painted:
        raise UsageError(
            f"{model}: draws silhouettes alone, there are no stages to compare", "Leave out --stages."
        )
    sampling = Sampling(
        model=str(model),
        model_hash=loaded.hash,
        encoder_hash="",
        method=loaded.method,
        data=None if data is None else str(data),
        dataset=None if asked.dataset is None else asked.dataset.name,
        split=None if asked.dataset is None else split,
        images=len(requests),
        variants=variants,
        seed=seed,
        words=None,
        stages=loaded.stages,
        captions_sha256=captions_hash(requests),
        figures=folders if grid is None else (*folders, grid.value),
        gancli_version=__version__,
        images_per_class=images_per_class,
        shapes=given.name if given is not None else f"drawn by {shape_model or model}" if painted else "",
    )
    open_folder(out, sampling, overwrite)
    files = file_names(requests)

    def draw(indices: Sequence[int]) -> list[dict[str, Image.Image]]:
        chosen = [requests[index] for index in indices]
        silhouettes, images = _draw(loaded, asked, chosen, given, grid, seed)
        parts = []
        for row, request in enumerate(chosen):
            part = {"": Image.fromarray(images[row]), SHAPES: Image.fromarray(silhouettes[row][:, :, 0])}
            if "stages" in folders:
                both = [silhouettes[row], images[row]]
                part["stages"] = stages_figure(both, request.caption, names=("shape", "image"))
            parts.append(part)
        return parts

    made = write_missing(out, files, folders, batch, draw, progress)
    figures = [out / name / file for name in folders for file in files]
    warnings = loaded.check([request.caption for request in asked.requests]) if data is None else []
    if grid is not None:
        warnings += _save_grid(out, grid, files, requests, variants)
        figures.append(out / SHEETS / f"{grid.value}.png")
    write_samples(
        out,
        [
            GeneratedImage(
                file,
                request.caption,
                request.key,
                request.class_id,
                seed,
                request.variant,
                loaded.stages[-1],
                shape=f"{SHAPES}/{file}" if painted else file,
            )
            for file, request in zip(files, requests, strict=True)
        ],
    )
    return SampleReport(
        out, tuple(out / file for file in files), tuple(figures), made, tuple(warnings), sampling
    )


def _open_model(model: Path, shape_model: Path | None, device: str | torch.device) -> LoadedAttr2Image:
    """The model, with the Stage I of another one where one is named."""
    loaded = load_model(model, device)
    if not isinstance(loaded, LoadedAttr2Image):
        raise UsageError(
            f"{model}: is no model of attributes",
            'Say --text "a small red bird", --captions FILE, or --data DIR.',
        )
    if shape_model is None:
        return loaded
    other = load_model(shape_model, device)
    if not isinstance(other, LoadedAttr2Image):
        raise UsageError(f"{shape_model}: is no model of attributes", "Name a run of attr2image stage=shape.")
    return loaded.with_shape(other)


# --- what to draw -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Asked:
    """The sets of attributes to draw.

    Attributes:
        requests: One of each, the attributes as its caption.
        vectors: (A,) by caption and key.
        dataset, split: Where they come from; None for attributes of the user's own.
    """

    requests: list[Request]
    vectors: dict[tuple[str, str], NDArray[np.float32]]
    dataset: Dataset | None = None
    split: Split | None = None

    @classmethod
    def of(
        cls,
        model: LoadedAttr2Image,
        attributes: Sequence[str],
        attribute_file: Path | None,
        data: Path | None,
        split_name: str,
        *,
        key: str | None,
        n: int | None,
        images_per_class: int | None,
        seed: int,
    ) -> _Asked:
        """Attributes of the user's own, or those of a dataset's images."""
        if data is None:
            if (key, n, images_per_class) != (None, None, None):
                raise UsageError(
                    "images and how many of them are those of a dataset", "Say --data DIR with it."
                )
            rows = [model.vector(", ".join(attributes))] if attributes else []
            if attribute_file is not None:
                rows += read_attribute_file(attribute_file, model.names)
            if not rows:
                raise UsageError(
                    "nothing to draw",
                    "Say --attr primary_color=red, --attr-file FILE, or --data DIR --split test.",
                )
            requests = [Request(attributes_text(row, model.names)) for row in rows]
            return cls(requests, {(r.caption, ""): row for r, row in zip(requests, rows, strict=True)})
        if attributes or attribute_file is not None:
            raise UsageError("attributes come either from a dataset or from options and files, not from both")
        dataset = Dataset.open(data)
        model.check_dataset(dataset)
        split = dataset.split(split_name)
        if len(split) == 0:
            raise DataError(f"{data}: the split {split_name!r} is empty")
        table = split.attributes
        assert table is not None  # the model's own attributes
        if images_per_class is not None and not dataset.class_names:
            raise UsageError(f"{data}: has no classes to take images of", "Leave out the images per class.")
        images = np.arange(len(split))
        if key is not None:
            images = np.array([split.find(key)])
        elif images_per_class is not None:
            images = first_of_classes(split, images_per_class)
        requests = walk(
            split,
            images,
            n,
            seed,
            lambda _, index: [(0, attributes_text(table[index], model.names))],
        )
        vectors = {(r.caption, r.key): table[r.index] for r in requests if r.index is not None}
        return cls(requests, vectors, dataset, split)

    def rows(self, requests: Sequence[Request]) -> NDArray[np.float32]:
        """(B, A) of these requests."""
        return np.stack([self.vectors[request.caption, request.key] for request in requests])


@dataclass(frozen=True)
class _GivenShapes:
    """Silhouettes that are not drawn by a model.

    Attributes:
        name: What sampling.json calls them.
        shapes: (1, s, s) in {-1, 1} of each file; empty where they are the dataset's.
        of_data: Whether each image of the dataset brings its own.
    """

    name: str
    shapes: list[Tensor]
    of_data: bool = False


def _given_shapes(
    model: LoadedAttr2Image, shape: str | Path | None, asked: _Asked, variants: int
) -> _GivenShapes | None:
    if shape is None:
        if model.shape is None:
            model.draw_shapes(np.empty((0, 0), np.float32), {})  # says what is missing
        return None
    if model.image is None:
        raise UsageError(f"{model.folder}: draws silhouettes and paints none", "Leave out --shape.")
    if str(shape) == OF_DATA:
        if asked.split is None:
            raise UsageError("the silhouettes of a dataset go with its attributes", "Say --data DIR with it.")
        asked.split.need_silhouettes()
        return _GivenShapes(OF_DATA, [], of_data=True)
    path = Path(shape)
    files = sorted(path.glob("*.png")) if path.is_dir() else [path]
    if not files:
        raise DataError(f"{path}: no .png file in it", "Name a folder of silhouettes, white on the bird.")
    if variants > 1:
        raise UsageError(
            "each set of attributes is painted once on each silhouette given", "Leave out --variants."
        )
    return _GivenShapes(str(shape), [_read_shape(file, model.image.size) for file in files])


def _read_shape(path: Path, size: int) -> Tensor:
    """An image as a silhouette (1, size, size): 1 where it is white, else -1.

    Raises:
        DataError: It cannot be read, is not square, or shows nothing or nothing else.
    """
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


def _data_shapes(split: Split, requests: Sequence[Request], size: int) -> Tensor:
    """The silhouettes of the images that requests are of, (B, 1, S, S) of the centre window."""
    indices = np.array([request.index for request in requests], np.int64)
    side = min(size, split.image_size)
    (batch,) = evaluation_batches(
        split, sizes=(), batch=len(indices), words=0, images=indices, silhouette_sizes=(side,)
    )
    return batch.silhouettes[0]


def _draw(
    model: LoadedAttr2Image,
    asked: _Asked,
    requests: Sequence[Request],
    given: _GivenShapes | None,
    grid: Grid | None,
    seed: int,
) -> tuple[Pixels, Pixels]:
    """Silhouettes (B, s, s, 3) and images (B, S, S, 3), the same where there is no Stage II."""
    noises = image_noise(requests, model.noise_dims, seed)
    shapes: Tensor | None = None
    if given is not None and given.of_data:
        assert model.image is not None
        assert asked.split is not None
        shapes = _data_shapes(asked.split, requests, model.image.size)
    elif given is not None:
        shapes = torch.stack([given.shapes[request.variant] for request in requests])
    elif grid == Grid.SAME_SHAPE:
        first = [replace(asked.requests[0], variant=request.variant) for request in requests]
        shapes = model.draw_shapes(asked.rows(first), image_noise(first, model.noise_dims, seed))
    if grid == Grid.SAME_ATTRIBUTES:  # whatever varies, varies with the silhouette alone
        held = image_noise(requests, model.noise_dims, seed, Vary.NOISE)
        noises[SECOND_CONDITION] = held[SECOND_CONDITION]
    drawing = model.draw_vectors(asked.rows(requests), noises, shapes)
    return to_uint8(drawing.images[0]), to_uint8(drawing.images[-1])


# --- figures ----------------------------------------------------------------------------------------------------


def _check_grid(grid: Grid | str | None, model: LoadedAttr2Image, sets: int, variants: int) -> Grid | None:
    """The figure asked for, if there is anything to compare in it."""
    if grid is None:
        return None
    if grid not in _GRIDS:
        raise UsageError(f"the grid of a model of attributes is one of {', '.join(_GRIDS)}. Received: {grid}")
    if model.image is None:
        raise UsageError(
            f"{model.folder}: draws silhouettes alone, which no grid compares", "Leave out --grid."
        )
    if grid == Grid.SAME_SHAPE and sets < 2:
        raise UsageError(
            "one shape under many attributes needs several sets of them",
            "Write one set a line and say --attr-file FILE, or take those of a dataset: --data DIR -n 6.",
        )
    if grid == Grid.SAME_ATTRIBUTES and variants < 2:
        raise UsageError("one set of attributes on many shapes needs several shapes", "Say --variants 8.")
    return Grid(grid)


def _save_grid(
    out: Path, grid: Grid, files: Sequence[str], requests: Sequence[Request], variants: int
) -> list[str]:
    """The figure from the files; gives back what to warn of."""
    count = len(files) // variants
    sets = range(min(count, MOST_SHAPES))
    shapes = range(min(variants, MOST_SHAPES))
    labels = _differences([requests[number * variants].caption for number in sets])

    def image(number: int, shape: int, folder: str = "") -> Pixels:
        return np.asarray(Image.open(out / folder / files[number * variants + shape]).convert("RGB"))

    if grid == Grid.SAME_SHAPE:
        rows = [[image(0, shape, SHAPES), *(image(number, shape) for number in sets)] for shape in shapes]
        figure = shapes_figure(rows, columns=["shape", *labels])
    else:
        rows = [[image(0, shape, SHAPES) for shape in shapes]]
        rows += [[image(number, shape) for shape in shapes] for number in sets]
        own = [[image(number, shape, SHAPES) for shape in shapes] for number in sets]
        same = all(np.array_equal(a, b) for line in own for a, b in zip(line, own[0], strict=True))
        if not same:  # each set drew silhouettes of its own
            rows = [line for pair in zip(own, rows[1:], strict=True) for line in pair]
        lines = ["shape", *labels] if same else [text for label in labels for text in ("shape", label)]
        figure = shapes_figure(rows, lines=lines)
    save_image(figure, out / SHEETS / f"{grid.value}.png")
    if len(sets) == count and len(shapes) == variants:
        return []
    return [
        f"{out / SHEETS / grid.value}.png: shows {len(sets):,} of {count:,} sets of attributes and {len(shapes)} of "
        f"{variants} shapes"
    ]


def _differences(captions: Sequence[str]) -> list[str]:
    """Each text of attributes without those that all of them have; one alone keeps all."""
    parts = [caption.split(", ") for caption in captions]
    common = set.intersection(*map(set, parts)) if len(parts) > 1 else set()
    return [
        ", ".join(part for part in each if part not in common) or caption
        for each, caption in zip(parts, captions, strict=True)
    ]
