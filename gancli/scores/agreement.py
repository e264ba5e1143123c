"""The agreement oracle of the demo dataset: do images show the colours of their captions, and the silhouettes that they
were painted on?

It needs no neural network. Every point of an image is assigned the nearest tone in CIELAB among the birds' colours and
the scenery's tones. The coloured points locate the bird. Each of them votes for the primary or the belly colour as
often as birds of the dataset have that part at this position, and against it as often as they have another part there.
These frequencies are counted on newly drawn birds. The foreground is everything darker, lighter or more colourful than
any scenery.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from itertools import chain
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage
from skimage.color import rgb2lab

from gancli.data.loader import evaluation_batches
from gancli.data.shards import FOREGROUND, Split
from gancli.data.sources.demo.dataset import asked_colors, species
from gancli.data.sources.demo.drawing import BACKGROUNDS, COLORS, PALETTE, SCENERY, SKIES, draw_bird
from gancli.errors import DataError
from gancli.progress import Progress, reporting
from gancli.sampling.samples_folder import GeneratedImage, read_samples
from gancli.scores.across_ranks import by_parts
from gancli.scores.image_sets import FileImages, Pixels, SplitImages, open_images, open_split, origin_of
from gancli.scores.results import RealData, ScoreRow

CHANCE = 1 / len(COLORS)
NONE = "none"  # colour where no bird is found

_GRID = 32  # side that images are averaged to, so the measure is the same at every resolution
_RADIUS = 28.0  # CIELAB distance beyond which a point is neither plumage nor scenery
_SHADES = (1.05, 0.97, 0.88)  # brightness of a colour in light from above
_LEAST_BIRD = 0.03  # share of the image; birds cover 0.1 to 0.2
_BINS = 14  # bins of the position relative to the bird, for each half of [-_REACH, _REACH]
_REACH = 1.4  # in units of the square root of the bird's area
_CHUNK = 128  # images measured at once

# CIELAB lightness of the scenery ranges from 38.8 to 72, its chroma to 17. Everything beyond is the bird: plumage, dark
# outline, bill and legs. A point that is half bird and half scenery has a chroma of about 30. These limits give the
# highest intersection over union on 500 training images of the demo dataset at 64 pixels.
_DARK, _LIGHT, _COLOURFUL = 38.0, 73.0, 30.0
_GAP_SIDE = 64  # side at which gaps of one pixel are closed; wider ones in larger images


@dataclass(frozen=True)
class Agreement:
    """Share of images whose measured colour is the one asked for.

    Attributes:
        primary: Share of the images whose caption names a primary colour, in [0, 1]; None where none does.
        primary_n: Number of captions that name it.
        primary_shuffled: Expected share when the captions are dealt to the images at random.
        belly: The same of the belly's colour, as the next two.
        belly_n: Number of captions that name it.
        belly_shuffled: Expected share when the captions are dealt to the images at random.
        without_bird: Images in which no bird was found, which count as wrong.
        chance: Expected share of images of one random colour, 1/8.
    """

    primary: float | None
    primary_n: int
    primary_shuffled: float | None
    belly: float | None
    belly_n: int
    belly_shuffled: float | None
    without_bird: int
    chance: float = CHANCE


def measure_agreement(
    images: SplitImages | FileImages, *, batch: int = _CHUNK, progress: Progress | None = None
) -> Agreement:
    """Measure the agreement of generated images with their captions, or of a split with each image's first caption.

    Args:
        images: A folder of `gancli sample`, or a split of the demo dataset.
        batch: Images held in memory at once.
        progress: Callback after each batch with images done and in all.

    Raises:
        DataError: The folder has no samples.csv or holds silhouettes, or the captions are of another dataset or name no
            colour of the demo's birds.
    """
    if images.data is not None and images.data.dataset != "demo":  # its captions may name the same colours
        raise DataError(
            f"{images.name}: its captions are of {images.data.dataset}",
            "Agreement knows the birds of the demo dataset only.",
        )
    if isinstance(images, SplitImages):
        captions = [images.split.captions(index)[0] for index in range(len(images))]
    else:
        records = read_samples(images.folder)
        if all(record.silhouette == record.file for record in records):
            raise DataError(
                f"{images.name}: holds silhouettes, which have no colours",
                f"Use gancli score shapes {images.name}.",
            )
        captions = [record.caption for record in records]
    asked = [_asked(caption) for caption in captions]
    if not any("primary" in colors or "belly" in colors for colors in asked):
        raise DataError(
            f"{images.name}: no caption names the colour of a bird or of its belly",
            f"Agreement is for captions of the demo dataset; the colours are {', '.join(COLORS)}.",
        )
    found = by_parts(
        len(images), batch, lambda rows: map(measure_colors, images.part(rows).batches(batch)), progress
    )
    measured = {part: [color for colors in found for color in colors[part]] for part in ("primary", "belly")}
    return _compare(measured, asked)


def score_agreement(
    samples: str | Path, *, data: str | Path | None = None, progress: Progress | bool = True
) -> tuple[ScoreRow, ...]:
    """Measure the agreement of images with their captions, and that of the real images: the oracle's own accuracy.

    Where images were painted on silhouettes, their agreement with these is `silhouette_iou`; where a split has
    silhouettes, that of its images with their own.

    Args:
        samples: Folder of `gancli sample` with captions of the demo dataset, or "DIR:split" of that dataset.
        data: Real images as "DIR:split"; None for the split in sampling.json, if that dataset is still there.
        progress: Callback with images done and in all for each set of images, or True for a bar.

    Returns:
        Up to three rows for each set of images: primary colour, belly colour, silhouette.

    Raises:
        DataError: The images cannot be scored, see `measure_agreement`.
        UsageError: A dataset is named without its split.
    """
    images = open_images(samples)
    if data is None and isinstance(images, FileImages):
        sampling = images.sampling
        if sampling is not None and sampling.data is not None and Path(sampling.data).is_dir():
            data = f"{sampling.data}:{sampling.split}"
    real = None if data is None else open_split(data)
    about = (images.data if real is None else real.data) or RealData(dataset="demo")
    with reporting(progress, "measuring", "images") as report:
        rows = _color_rows(images, about, report)
        rows += _silhouette_rows(images, about, report)
        if real is not None and isinstance(images, FileImages):
            painted = any(row.metric == "silhouette_iou" for row in rows)
            rows += _color_rows(real, about, report)
            if painted:
                rows += _silhouette_rows(real, about, report)
    return tuple(rows)


def _color_rows(
    images: SplitImages | FileImages, data: RealData, progress: Progress | None
) -> list[ScoreRow]:
    result = measure_agreement(images, progress=progress)
    real = isinstance(images, SplitImages)
    rows = []
    for part, value, count, shuffled in (
        ("primary", result.primary, result.primary_n, result.primary_shuffled),
        ("belly", result.belly, result.belly_n, result.belly_shuffled),
    ):
        if value is None or shuffled is None:
            continue
        rows.append(
            ScoreRow(
                **vars(data),
                **vars(origin_of(images)),
                metric=f"agreement_{part}_colour",
                value=100 * value,
                n_real=count if real else 0,
                n_fake=0 if real else count,
                chance=100 * CHANCE,
                protocol=f"share of images whose {part} colour, one of {len(COLORS)} by the nearest tone in "
                f"CIELAB, is the one that the caption names, per cent; chance {100 * CHANCE:.3g}",
                resize=f"area to {_GRID}x{_GRID}",
                note=("the oracle's own accuracy; " if real else "")
                + f"{100 * shuffled:.1f} with the captions dealt at random; "
                f"{result.without_bird} images without a bird",
            )
        )
    return rows


def _silhouette_rows(
    image_set: SplitImages | FileImages, data: RealData, progress: Progress | None
) -> list[ScoreRow]:
    """Measure how well the birds fill their silhouettes; no row where there are no silhouettes."""
    silhouettes: Callable[[slice], Iterator[list[NDArray[np.bool_]]]]
    if isinstance(image_set, SplitImages):
        if not image_set.split.has_silhouettes:
            return []
        kept = np.flatnonzero(image_set.split.silhouette_faults == 0)
        image_set = image_set.only(kept.tolist())
        silhouettes = partial(_split_silhouettes, image_set.split, kept, image_set.side)
    else:
        records = read_samples(image_set.folder)
        if not all(record.silhouette and record.silhouette != record.file for record in records):
            return []
        silhouettes = partial(_silhouettes, image_set, records)
    if not len(image_set):
        return []
    painted = image_set

    def work(rows: slice) -> Iterator[list[float]]:
        for images, given in zip(painted.part(rows).batches(_CHUNK), silhouettes(rows), strict=True):
            found = measure_foreground(images)
            yield [_iou(bird, _at_size(shape, *bird.shape)) for bird, shape in zip(found, given, strict=True)]

    values = list(chain.from_iterable(by_parts(len(image_set), _CHUNK, work, progress)))
    real = isinstance(image_set, SplitImages)
    return [
        ScoreRow(
            **vars(data),
            **vars(origin_of(image_set)),
            metric="silhouette_iou",
            value=100 * float(np.mean(values)),
            std=100 * float(np.std(values)),
            n_real=len(values) if real else 0,
            n_fake=0 if real else len(values),
            protocol="intersection over union of the given silhouette with the bird that is found in the image: all "
            "that is darker, lighter or more colourful than any scenery, gaps closed, the largest piece; per cent, "
            "mean and std over images",
            resize="the silhouette bilinear to the image's side",
            note="the oracle's own accuracy: real images and their silhouettes" if real else "",
        )
    ]


def _split_silhouettes(
    split: Split, images: NDArray[np.int64], side: int, rows: slice
) -> Iterator[list[NDArray[np.bool_]]]:
    """Yield the silhouettes of some images of a split, (side, side) each, in the batches of their images."""
    for batch in evaluation_batches(
        split, sizes=(), batch=_CHUNK, words=0, images=images[rows], silhouette_sizes=(side,)
    ):
        yield list(batch.silhouettes[0][:, 0].numpy() > 0)


def _silhouettes(
    images: FileImages, records: Sequence[GeneratedImage], rows: slice
) -> Iterator[list[NDArray[np.bool_]]]:
    """Yield the silhouettes that images were painted on, (s, s) each, in the batches of the images."""
    shapes = replace(images, files=tuple(images.folder / record.silhouette for record in records[rows]))
    for batch in shapes.batches(_CHUNK):
        yield [shape.mean(-1) >= FOREGROUND for shape in batch]


def _at_size(silhouette: NDArray[np.bool_], height: int, width: int) -> NDArray[np.bool_]:
    if silhouette.shape == (height, width):
        return silhouette
    image = Image.fromarray(silhouette.astype(np.uint8) * 255)
    return np.asarray(image.resize((width, height), Image.Resampling.BILINEAR)) >= FOREGROUND


def _iou(first: NDArray[np.bool_], second: NDArray[np.bool_]) -> float:
    union = int((first | second).sum())
    return int((first & second).sum()) / union if union else 1.0


def _asked(caption: str) -> dict[str, str]:
    """Return the colours by part that a sentence or a text of attributes names ("primary_color=red, belly_color=blue").

    In attributes, a part counts only if it has one colour.
    """
    if "=" not in caption:
        return asked_colors(caption)
    colors: dict[str, list[str]] = {}
    for pair in caption.split(","):
        group, _, color = pair.strip().partition("=")
        colors.setdefault(group, []).append(color)
    parts = {part: colors.get(f"{part}_color", []) for part in ("primary", "belly")}
    return {part: named[0] for part, named in parts.items() if len(named) == 1 and named[0] in COLORS}


def agreement(images: Sequence[Pixels], asked: Sequence[dict[str, str]]) -> Agreement:
    """Measure the agreement of images, see `measure_colors`, with the colours by part that `asked_colors` finds."""
    return _compare(measure_colors(images), asked)


def _compare(measured: dict[str, list[str]], asked: Sequence[dict[str, str]]) -> Agreement:
    def share(part: str) -> tuple[float | None, int, float | None]:
        pairs = [(m, a[part]) for m, a in zip(measured[part], asked, strict=True) if part in a]
        if not pairs:
            return None, 0, None
        found, named = np.array(pairs).T
        # The mean over all permutations, like the expected agreement of Cohen's kappa
        shuffled = sum(float((found == color).mean() * (named == color).mean()) for color in COLORS)
        return float((found == named).mean()), len(pairs), shuffled

    return Agreement(*share("primary"), *share("belly"), without_bird=measured["primary"].count(NONE))


def measure_colors(images: Sequence[Pixels]) -> dict[str, list[str]]:
    """Measure the primary and the belly colour of each image.

    Args:
        images: Images (N, H, W, 3) uint8 RGB or a list of (H, W, 3), at any resolution, with the bird in about the
            middle two thirds, facing either way.

    Returns:
        {"primary": N names, "belly": N names}: keys of the demo's `PALETTE`, or "none" where no bird is found.
    """
    weights = _vote_weights()  # (2, 2 * _BINS, _BINS)
    result: dict[str, list[str]] = {"primary": [], "belly": []}
    for start in range(0, len(images), _CHUNK):
        plumage = _plumage(_shrink(images[start : start + _CHUNK]))  # (N, G, G, 8)
        found = plumage.any(-1).mean((1, 2)) >= _LEAST_BIRD  # (N,)
        position = _positions(plumage)
        for part, table in zip(("primary", "belly"), weights, strict=True):
            votes = np.einsum("nhw,nhwc->nc", table[position], plumage)  # (N, 8)
            names = np.array(COLORS)[votes.argmax(1)]
            result[part] += np.where(found & (votes.max(1) > 0), names, NONE).tolist()
    return result


def measure_foreground(images: Sequence[Pixels]) -> list[NDArray[np.bool_]]:
    """Find the bird of each image, at full resolution.

    On the demo's real images at 64 pixels, the mean intersection over union with their silhouettes is 0.95.

    Args:
        images: Images (N, H, W, 3) uint8 RGB or a list of (H, W, 3).

    Returns:
        One (H, W) for each image, a single piece without gaps; all False where nothing differs from scenery.
    """
    birds = []
    for image in images:
        lightness, a, b = np.moveaxis(_lab(image.astype(np.float32)), -1, 0)
        differing = (lightness < _DARK) | (lightness > _LIGHT) | (np.hypot(a, b) > _COLOURFUL)
        birds.append(_largest(differing, max(1, round(min(image.shape[:2]) / _GAP_SIDE))))
    return birds


def _largest(points: NDArray[np.bool_], gap: int) -> NDArray[np.bool_]:
    """Return the largest connected piece after gaps of `gap` pixels are closed and holes filled. (H, W) -> (H, W)."""
    around = np.ones((3, 3), bool)  # corners connect, so legs do not come off
    closed = ndimage.binary_closing(np.pad(points, 2 * gap), around, iterations=gap)
    filled = ndimage.binary_fill_holes(closed[2 * gap : -2 * gap, 2 * gap : -2 * gap])
    labels, pieces = ndimage.label(filled, around)
    if not pieces:
        return np.zeros_like(points)
    largest: NDArray[np.bool_] = labels == 1 + np.bincount(labels[labels > 0] - 1).argmax()
    return largest


def _shrink(images: Sequence[Pixels]) -> NDArray[np.float32]:
    """Average each image to _GRID x _GRID. N times (H, W, 3) -> (N, G, G, 3) in [0, 255]."""
    result = np.empty((len(images), _GRID, _GRID, 3), dtype=np.float32)
    for shape in {image.shape for image in images}:
        alike = [index for index, image in enumerate(images) if image.shape == shape]
        rows, columns = _averaging(shape[0]), _averaging(shape[1])
        pixels = np.stack([images[index] for index in alike]).astype(np.float32)
        result[alike] = np.einsum("gh,nhwc,kw->ngkc", rows, pixels, columns, optimize=True)
    return result


def _averaging(side: int) -> NDArray[np.float32]:
    """Return (G, side), whose row g holds the share of each pixel in the g-th of G equal stretches."""
    edges = np.linspace(0, side, _GRID + 1)
    pixels = np.arange(side)
    overlap = np.minimum(edges[1:, None], pixels + 1) - np.maximum(edges[:-1, None], pixels)
    shares: NDArray[np.float32] = (np.clip(overlap, 0, None) * _GRID / side).astype(np.float32)
    return shares


def _lab(rgb: NDArray[np.float32]) -> NDArray[np.float32]:
    """Convert sRGB in [0, 255] to CIELAB under D65. (..., 3) -> (..., 3)."""
    lab: NDArray[np.float32] = rgb2lab(np.clip(rgb / 255, 0, 1).astype(np.float32))
    return lab


@lru_cache(1)
def _tones() -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Return CIELAB tones (T, 3) and the colour of each (T,): an index into COLORS, or len(COLORS) for scenery."""
    colors = [np.array(color) * shade for color in PALETTE.values() for shade in _SHADES]
    scenery = [np.array(tone) * shade for tone in SCENERY for shade in (1.0, 1.1)]
    scenery += [np.array(a) * (1 - t) + np.array(b) * t for a, b in SKIES for t in (0.25, 0.5, 0.75)]
    labels = np.repeat(np.arange(len(COLORS)), len(_SHADES)).tolist() + [len(COLORS)] * len(scenery)
    return _lab(np.array(colors + scenery, dtype=np.float32)), np.array(labels)


def _plumage(pixels: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the colour of each point, one-hot among eight, all zero for scenery and unknown tones.

    (N, H, W, 3) in [0, 255] -> (N, H, W, 8).
    """
    tones, labels = _tones()
    lab = _lab(pixels)
    distance = (lab**2).sum(-1)[..., None] - 2 * lab @ tones.T + (tones**2).sum(-1)  # (N, H, W, T)
    nearest = labels[distance.argmin(-1)]  # (N, H, W)
    nearest[distance.min(-1) > _RADIUS**2] = len(COLORS)
    one_hot: NDArray[np.float32] = np.eye(len(COLORS) + 1, len(COLORS), dtype=np.float32)[nearest]
    return one_hot


def _positions(plumage: NDArray[np.float32]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the position of each point on the bird, both (N, H, W); left and right are the same.

    Positions are bins of height and of sideways distance from the middle of the coloured points, in units of the square
    root of their area.
    """
    bird = plumage.any(-1).astype(np.float32)  # (N, H, W)
    area = np.maximum(bird.sum((1, 2)), 1)  # (N,)
    points = np.arange(_GRID)
    middle_y = (bird.sum(2) * points).sum(1) / area
    middle_x = (bird.sum(1) * points).sum(1) / area
    scale = _BINS / (_REACH * np.sqrt(area))[:, None]
    down = (points - middle_y[:, None]) * scale + _BINS  # (N, H)
    aside = np.abs(points - middle_x[:, None]) * scale  # (N, W)
    rows = np.clip(down, 0, 2 * _BINS - 1).astype(np.int64)
    columns = np.clip(aside, 0, _BINS - 1).astype(np.int64)
    shape = bird.shape
    return np.broadcast_to(rows[:, :, None], shape), np.broadcast_to(columns[:, None, :], shape)


@lru_cache(1)
def _vote_weights(birds: int = 160) -> NDArray[np.float64]:
    """Return the votes of a point at each position for the primary and the belly colour, (2, 2 * _BINS, _BINS).

    A vote is the share of birds that have the part there, less half the share that has another part there.
    """
    drawn = ("red", "blue", "green", "yellow")  # primary, belly, wing, crown
    looks = dict(zip(("primary", "belly", "wing", "crown"), drawn, strict=True), wing_pattern="solid")
    images = []
    for index, one in enumerate(species(birds, seed=0)):
        plumage = replace(one.plumage, **looks)
        background = BACKGROUNDS[index % len(BACKGROUNDS)]
        drawing = draw_bird(plumage, background, _GRID, np.random.default_rng(index))
        x, y, width, height = drawing.box
        half = 0.75 * max(width, height) * 64 / 76
        middle_x, middle_y = x + width / 2, y + height / 2
        window = (middle_x - half, middle_y - half, middle_x + half, middle_y + half)
        images.append(np.asarray(drawing.image.resize((_GRID, _GRID), Image.Resampling.BILINEAR, window)))
    plumage_map = _plumage(np.stack(images).astype(np.float32))
    counts = np.zeros((len(drawn) + 1, 2 * _BINS, _BINS))
    parts = plumage_map[..., [COLORS.index(color) for color in drawn]]
    shares = np.concatenate([parts, 1 - parts.sum(-1, keepdims=True)], -1)  # the last is no plumage
    for count, share in zip(counts, np.moveaxis(shares, -1, 0), strict=True):
        np.add.at(count, _positions(plumage_map), share)
    primary, belly, wing, _, _ = counts / (counts.sum(0) + 0.05 * birds)
    return np.stack([primary - (belly + wing) / 2, belly - (primary + wing) / 2])
