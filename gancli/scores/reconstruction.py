"""PSNR, SSIM, MS-SSIM, L1 and L2 of filled images against their originals.

Each image is compared with its original as a whole and in the hole alone. Known pixels are the original's, so they
raise a score without any merit of the model: where the hole is a quarter of the image, the whole has 6.02 dB more than
the hole. Each score is therefore reported with that of a fill without a model, the mean colour of the hole's
surroundings.
"""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from enum import StrEnum
from functools import partial
from itertools import chain
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from gancli.data.holes import Hole, check_hole, grow_hole, hole_files_by_image, image_name, read_hole
from gancli.errors import DataError, UsageError
from gancli.progress import Progress, reporting
from gancli.sampling.samples_folder import SAMPLES, read_samples, read_sampling
from gancli.scores.across_ranks import by_parts
from gancli.scores.image_sets import (
    FileImages,
    Pixels,
    SplitImages,
    holes_of,
    open_images,
    open_samples,
    origin_of,
)
from gancli.scores.results import HoleFields, MetricSettings, Origin, RealData, ScoreRow

CAP = 100.0  # dB; identical images have no PSNR
MEAN_FILL = "hole filled with the mean colour of its surroundings"
_LEVELS = 255  # range of the pixels
_LISTED = 10  # files named in a message


class Window(StrEnum):
    """Neighbourhood over which SSIM takes its means and variances."""

    UNIFORM = "uniform"  # 7 x 7, sample variances: the public code of this family of papers
    WANG = "wang"  # 11 x 11 Gaussian, population variances: Wang et al., 2004


_RADIUS = {Window.UNIFORM: 3, Window.WANG: 5}
_SETTINGS = {
    Window.UNIFORM: "uniform 7x7 window, sample covariance (n - 1)",
    Window.WANG: "Gaussian 11x11 window of sigma 1.5, population covariance",
}


def psnr(image: Pixels, original: Pixels, hole: Hole | None = None) -> float:
    """Return the peak signal-to-noise ratio in dB: 10 log10(255² / MSE) over all channels together, at most `CAP`.

    Args:
        image: Image (H, W, 3) uint8.
        original: Image of the same shape.
        hole: Pixels to compare (H, W); None for all.
    """
    if hole is not None:
        image, original = image[hole], original[hole]
    if np.array_equal(image, original):
        return CAP
    return min(CAP, float(peak_signal_noise_ratio(original, image, data_range=_LEVELS)))


def ssim_map(image: Pixels, original: Pixels, window: Window = Window.UNIFORM) -> NDArray[np.float64]:
    """Return the structural similarity around each pixel, (H, W), at most 1 (Wang et al., 2004).

    It is the mean of the channels, with K1 0.01, K2 0.03 and data range 255. Windows that leave the image see it
    mirrored.

    Args:
        image: Image (H, W, 3) uint8, with no side shorter than the window.
        original: Image of the same shape.
        window: Neighbourhood of a pixel.
    """
    settings: dict[str, object] = {"data_range": _LEVELS, "channel_axis": -1, "full": True}
    if window is Window.WANG:
        settings |= {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    _, similarity = structural_similarity(original, image, **settings)
    mean: NDArray[np.float64] = similarity.mean(axis=-1)
    return mean


def ssim(image: Pixels, original: Pixels, hole: Hole | None = None, window: Window = Window.UNIFORM) -> float:
    """Return the mean structural similarity of an image, at most 1.

    Args:
        image: Image (H, W, 3) uint8, with no side shorter than the window.
        original: Image of the same shape.
        hole: Pixels (H, W) whose windows are averaged; None for all windows inside the image.
        window: Neighbourhood of a pixel.
    """
    return _mean_ssim(ssim_map(image, original, window), hole, window)


MS_SSIM_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
MS_SSIM_SIDE = (11 - 1) * 2 ** (
    len(MS_SSIM_WEIGHTS) - 1
) + 1  # pixels that the window needs at the smallest scale


def ms_ssim(image: Pixels, original: Pixels) -> float:
    """Return the multi-scale structural similarity of an image, from 0 to 1 (Wang, Simoncelli and Bovik, 2003).

    Contrast and structure are compared at five scales, luminance at the smallest, each by a Gaussian window of 11 x 11
    that stays inside the image. Negative parts count as 0.

    Args:
        image: Image (H, W, 3) uint8, no side shorter than `MS_SSIM_SIDE`.
        original: Image of the same shape.
    """
    x, y = (each.astype(np.float64).transpose(2, 0, 1) for each in (image, original))  # (3, H, W)
    product = np.ones(len(x))
    for scale, weight in enumerate(MS_SSIM_WEIGHTS):
        if scale > 0:
            x, y = _halved(x), _halved(y)
        luminance, contrast = _compared(x, y)
        last = scale == len(MS_SSIM_WEIGHTS) - 1
        similarity = (luminance * contrast if last else contrast).mean(axis=(1, 2))
        product *= similarity.clip(min=0) ** weight
    return float(product.mean())


def _halved(maps: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return maps (C, H, W) averaged over 2 x 2 pixels; an odd side gets a border of zeros, as in the public code."""
    odd = [(0, 0), *((side % 2, 0) for side in maps.shape[1:])]
    even = np.pad(maps, odd)[:, : 2 * ((maps.shape[1] + 1) // 2), : 2 * ((maps.shape[2] + 1) // 2)]
    halves: NDArray[np.float64] = even.reshape(len(even), even.shape[1] // 2, 2, even.shape[2] // 2, 2).mean(
        axis=(2, 4)
    )
    return halves


def _compared(
    x: NDArray[np.float64], y: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the similarity of luminance, and that of contrast and structure, of windows inside maps (C, H, W)."""

    def blurred(maps: NDArray[np.float64]) -> NDArray[np.float64]:
        smooth: NDArray[np.float64] = gaussian_filter(maps, sigma=(0, 1.5, 1.5), radius=(0, 5, 5))
        return smooth[:, 5:-5, 5:-5]

    least, more = (0.01 * _LEVELS) ** 2, (0.03 * _LEVELS) ** 2
    mean_x, mean_y = blurred(x), blurred(y)
    luminance = (2 * mean_x * mean_y + least) / (mean_x**2 + mean_y**2 + least)
    variances = blurred(x**2) - mean_x**2 + blurred(y**2) - mean_y**2
    contrast = (2 * (blurred(x * y) - mean_x * mean_y) + more) / (variances + more)
    return luminance, contrast


def _mean_ssim(similarity: NDArray[np.float64], hole: Hole | None, window: Window) -> float:
    edge = _RADIUS[window]
    return float((similarity[edge:-edge, edge:-edge] if hole is None else similarity[hole]).mean())


def mean_fill(original: Pixels, hole: Hole) -> Pixels:
    """Fill the hole of an image with one colour, the mean of the known pixels around it.

    These are the known pixels at most max(1, S // 16) pixels away from the hole, with S the image's shorter side: 16 in
    an image of 256. A hole of several pieces gets one colour.

    Args:
        original: Image (H, W, 3) uint8.
        hole: Hole (H, W), neither empty nor all of the image.
    """
    around = grow_hole(hole, max(1, min(hole.shape) // 16)) & ~hole
    filled = original.copy()
    filled[hole] = np.rint(original[around].mean(axis=0)).astype(np.uint8)
    return filled


def score_psnr(
    images: str | Path,
    *,
    data: str | Path | None = None,
    real: str | Path | None = None,
    mask: str | Path | None = None,
    invert_mask: bool = False,
    batch: int = 50,
    progress: Progress | bool = True,
) -> tuple[ScoreRow, ...]:
    """Measure the PSNR of filled images, and that of the mean fill.

    Args:
        images: Folder of `gancli inpaint` with images of a dataset, or with `real` any folder of images.
        data: Split of the originals as "DIR:split"; None for the one in sampling.json.
        real: Folder of the originals, whose files have the same names as the images up to their extensions.
        mask: Image of the hole of all, or a folder with one for each, of the same names or with _mask appended; None
            for the holes of samples.csv.
        invert_mask: The masks are white where the image is known.
        batch: Images held in memory at once.
        progress: Callback after each batch with images done and in all, or True for a bar.

    Returns:
        `psnr` of the whole images and, where their holes are known, `psnr_hole` of the holes alone; then both for the
        mean fill. Each is a mean over the images, with the population standard deviation over them.

    Raises:
        DataError: Images, originals or masks are missing, broken, or of different sizes.
        UsageError: The originals are unknown, or the holes are given twice.
    """

    def measure(image: Pixels, original: Pixels, hole: Hole | None) -> tuple[float, ...]:
        whole = psnr(image, original)
        return (whole,) if hole is None else (whole, psnr(image, original, hole))

    pairs = _pair(images, data, real, mask, invert_mask)
    rule = "PSNR of {region} in dB: 10 log10(255^2 / MSE) over its pixels and channels, uint8; at most 100 dB"
    with reporting(progress, "comparing", "images") as report:
        return _score(_Metric("psnr", rule, measure), pairs, batch, report)


def score_ssim(
    images: str | Path,
    *,
    window: Window | str = Window.UNIFORM,
    data: str | Path | None = None,
    real: str | Path | None = None,
    mask: str | Path | None = None,
    invert_mask: bool = False,
    batch: int = 50,
    progress: Progress | bool = True,
) -> tuple[ScoreRow, ...]:
    """Measure the SSIM of filled images, and that of the mean fill.

    Arguments, rows and errors are those of `score_psnr`, and images smaller than the window are a DataError.

    Args:
        window: Neighbourhood of a pixel. Values of different windows are different quantities.

    Raises:
        UsageError: There is no such window.
    """
    if window not in list(Window):
        raise UsageError(f"{window!r} is not a window of SSIM", f"One of: {', '.join(Window)}.")
    window = Window(window)

    def measure(image: Pixels, original: Pixels, hole: Hole | None) -> tuple[float, ...]:
        similarity = ssim_map(image, original, window)
        whole = _mean_ssim(similarity, None, window)
        return (whole,) if hole is None else (whole, _mean_ssim(similarity, hole, window))

    pairs = _pair(images, data, real, mask, invert_mask)
    rule = f"SSIM of {{region}}: {_SETTINGS[window]}, K1 0.01, K2 0.03, data range 255, uint8, mean over channels"
    metric = _Metric("ssim", rule, measure, 2 * _RADIUS[window] + 1, MetricSettings(ssim_window=window.value))
    with reporting(progress, "comparing", "images") as report:
        return _score(metric, pairs, batch, report)


def score_l1(
    images: str | Path,
    *,
    data: str | Path | None = None,
    real: str | Path | None = None,
    mask: str | Path | None = None,
    invert_mask: bool = False,
    batch: int = 50,
    progress: Progress | bool = True,
) -> tuple[ScoreRow, ...]:
    """Measure the mean absolute difference of filled images in per cent of the range, and that of the mean fill.

    Arguments, rows and errors are those of `score_psnr`.
    """
    rule = "mean absolute difference of {region} in per cent of 255, uint8"
    return _score_pixels("l1", rule, np.abs, _pair(images, data, real, mask, invert_mask), batch, progress)


def score_l2(
    images: str | Path,
    *,
    data: str | Path | None = None,
    real: str | Path | None = None,
    mask: str | Path | None = None,
    invert_mask: bool = False,
    batch: int = 50,
    progress: Progress | bool = True,
) -> tuple[ScoreRow, ...]:
    """Measure the mean squared difference of filled images in per cent of the squared range, and that of the mean fill.

    Arguments, rows and errors are those of `score_psnr`.
    """
    rule = "mean squared difference of {region} in per cent of 255^2, uint8"
    return _score_pixels("l2", rule, np.square, _pair(images, data, real, mask, invert_mask), batch, progress)


def score_ms_ssim(
    images: str | Path,
    *,
    data: str | Path | None = None,
    real: str | Path | None = None,
    mask: str | Path | None = None,
    invert_mask: bool = False,
    batch: int = 50,
    progress: Progress | bool = True,
) -> tuple[ScoreRow, ...]:
    """Measure the multi-scale structural similarity of filled images, whole, and that of the mean fill.

    Arguments, rows and errors are those of `score_psnr`, and images with a side below 161 pixels are a DataError.
    """

    def measure(image: Pixels, original: Pixels, hole: Hole | None) -> tuple[float, ...]:
        return (ms_ssim(image, original),)

    rule = (
        "MS-SSIM of {region}: 5 scales with the weights of Wang et al. (2003), Gaussian 11x11 window of sigma 1.5 "
        "inside the image, K1 0.01, K2 0.03, data range 255, uint8, mean over channels"
    )
    metric = _Metric("ms_ssim", rule, measure, MS_SSIM_SIDE)
    pairs = _pair(images, data, real, mask, invert_mask)
    with reporting(progress, "comparing", "images") as report:
        return _score(metric, pairs, batch, report)


def _score_pixels(
    name: str,
    rule: str,
    of: Callable[[NDArray[np.float64]], NDArray[np.float64]],
    pairs: _Pairs,
    batch: int,
    progress: Progress | bool,
) -> tuple[ScoreRow, ...]:
    """Return the rows of a mean over pixels; `of` makes a cost of the differences in [-1, 1]."""

    def measure(image: Pixels, original: Pixels, hole: Hole | None) -> tuple[float, ...]:
        costs = of((image.astype(np.float64) - original) / _LEVELS)
        whole = 100 * float(costs.mean())
        return (whole,) if hole is None else (whole, 100 * float(costs[hole].mean()))

    with reporting(progress, "comparing", "images") as report:
        return _score(_Metric(name, rule, measure), pairs, batch, report)


# --- images and their originals ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Pairs:
    """Images with their originals and holes, all three in the same order.

    Attributes:
        images: Filled images.
        originals: Originals, one for each.
        names: Name of each original in messages.
        holes: File of each image's hole; None where holes are unknown.
        inverted: The holes' files are white where the image is known.
        cut: Rule that cut the holes.
        data: Dataset of the originals, or their folder.
        pool: Number of all originals, with those that have no image.
    """

    images: FileImages
    originals: SplitImages | FileImages
    names: Sequence[str]
    holes: Sequence[Path] | None
    inverted: bool
    cut: HoleFields
    data: RealData
    pool: int


def _pair(
    images: str | Path,
    data: str | Path | None,
    real: str | Path | None,
    mask: str | Path | None,
    inverted: bool,
) -> _Pairs:
    if real is not None and data is not None:
        raise UsageError("the originals are either those of a dataset or a folder of files: both are named")
    if inverted and mask is None:
        raise UsageError("there is no mask to invert", "Name it with --mask.")
    originals: SplitImages | FileImages
    if real is not None:
        filled, files = _open_files(images), _open_files(real)
        matched = _same_name(filled, files)
        originals, pool = dataclasses.replace(files, files=matched), len(files)
        names, of = [str(file) for file in matched], RealData(dataset=str(real))
    else:
        sampling = read_sampling(Path(images))
        if data is None and (sampling is None or sampling.data is None):
            raise UsageError(
                f"{images}: does not name the originals of its images",
                "Name the folder of the originals with --real DIR, or the split of a dataset with --data DIR:SPLIT.",
            )
        filled, records, every = open_samples(images, data)
        originals, pool = every.only([every.split.find(record.key) for record in records]), len(every)
        names, of = [f"{every.name} {record.key}" for record in records], every.data
    holes, cut = _holes(filled, mask, inverted)
    return _Pairs(filled, originals, names, holes, inverted, cut, of, pool)


def _open_files(name: str | Path) -> FileImages:
    images = open_images(name)
    if isinstance(images, SplitImages):
        raise UsageError(
            f"{name}: is a dataset, but images in folders are matched by the names of their files",
            "Name a folder of images; for a folder of gancli inpaint use --data DIR:SPLIT.",
        )
    return images


def _holes(
    images: FileImages, mask: str | Path | None, inverted: bool
) -> tuple[Sequence[Path] | None, HoleFields]:
    """Return the file of each image's hole, None where nothing tells, and the rule that cut them."""
    table = images.folder / SAMPLES
    recorded = [record.hole for record in read_samples(images.folder)] if table.is_file() else []
    if mask is None and not any(recorded):
        return None, HoleFields()
    if mask is None:
        if not all(recorded):
            raise DataError(f"{table}: names the holes of some images only")
        return [images.folder / hole for hole in recorded], holes_of(images)
    if any(recorded):
        raise UsageError(f"{table}: names the holes already", "Leave --mask out.")
    files: Sequence[Path] = [Path(mask)] * len(images)
    if Path(mask).is_dir():
        files = _same_name(images, _open_files(mask), masks=True)
    return files, HoleFields(hole_kind="files", hole_folder=str(mask), hole_inverted=inverted)


def _same_name(images: FileImages, others: FileImages, *, masks: bool = False) -> tuple[Path, ...]:
    """Return the file of the same path as each image up to its extension; a mask's may have _mask appended."""
    by_name: dict[str, list[PurePosixPath]] = defaultdict(list)
    if masks:
        by_name |= hole_files_by_image(_paths(others))
    else:
        for path in _paths(others):
            by_name[image_name(path)].append(path)
    names = [image_name(path) for path in _paths(images)]
    found = [by_name.get(name, []) for name in names]
    for wrong, what in (
        ([name for name, files in zip(names, found, strict=True) if not files], "no file"),
        ([name for name, files in zip(names, found, strict=True) if len(files) > 1], "several files"),
    ):
        if wrong:
            rest = f" and {len(wrong) - _LISTED:,} more" if len(wrong) > _LISTED else ""
            raise DataError(
                f"{others.name}: has {what} for {len(wrong):,} of the {len(names):,} images of {images.name}: "
                f"{', '.join(wrong[:_LISTED])}{rest}",
                "Each image needs one file of its name, with any extension; a mask may have _mask appended.",
            )
    return tuple(others.folder / path for paths in found for path in paths)


def _paths(images: FileImages) -> list[PurePosixPath]:
    return [PurePosixPath(file.relative_to(images.folder).as_posix()) for file in images.files]


# --- measuring ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Metric:
    """A metric of images and their originals.

    Attributes:
        name: Name, such as "psnr".
        rule: Protocol, with {region} for the part of the image that is compared.
        measure: Function from image, original and hole to the values of the whole image and, with a hole, of the hole.
        least: Shortest side that it can measure.
        settings: Its settings in score rows.
    """

    name: str
    rule: str
    measure: Callable[[Pixels, Pixels, Hole | None], tuple[float, ...]]
    least: int = 1
    settings: MetricSettings = field(default_factory=MetricSettings)


@dataclass(frozen=True)
class _Values:
    """The scores of an image as a whole and, where its hole is known, in the hole.

    Attributes:
        filled: Scores of the filled image.
        mean_fill: Scores of the original with the mean fill; empty where the hole is unknown.
        share: Share of the image that is hole.
        composite: All known pixels are the original's.
    """

    filled: tuple[float, ...]
    mean_fill: tuple[float, ...] = ()
    share: float = 1.0
    composite: bool = True


def _score(metric: _Metric, pairs: _Pairs, batch: int, progress: Progress | None) -> tuple[ScoreRow, ...]:
    """Return the rows of a metric."""

    def work(rows: slice) -> Iterator[list[_Values]]:
        parts = (images.part(rows).batches(batch) for images in (pairs.images, pairs.originals))
        numbers = range(count)[rows]
        with ThreadPoolExecutor() as pool:
            for images, originals in zip(*parts, strict=True):
                yield list(pool.map(partial(_measure_pair, metric, pairs), numbers, images, originals))
                numbers = numbers[len(images) :]

    count = len(pairs.images)
    done = list(chain.from_iterable(by_parts(count, batch, work, progress)))
    common = []
    if left := pairs.pool - len(set(pairs.names)):
        common.append(f"{left:,} of {pairs.pool:,} originals have no image")
    if pairs.holes is not None:
        common.append(f"{100 * np.mean([each.share for each in done]):.3g} % of the pixels are hole")
    notes = list(common)
    if others := sum(not each.composite for each in done):
        notes.append(
            f"the known pixels of {others:,} images differ from the original's: blended, compressed, or of another one"
        )
    cut = vars(pairs.cut)
    origin = dataclasses.replace(origin_of(pairs.images), **cut)
    rows = _rows(metric, pairs, origin, [each.filled for each in done], notes)
    if pairs.holes is not None:
        fill = Origin(
            images="mean_fill",
            method=MEAN_FILL,
            model=pairs.originals.name,
            model_hash=pairs.originals.fingerprint,
            image_size=pairs.images.side,
            **cut,
        )
        notes = [*common, "no model: a baseline for the scores of models"]
        rows += _rows(metric, pairs, fill, [each.mean_fill for each in done], notes)
    return tuple(rows)


def _measure_pair(metric: _Metric, pairs: _Pairs, number: int, image: Pixels, original: Pixels) -> _Values:
    """Compare the image of a number with its original."""
    file = pairs.images.files[number]
    _same_size(f"{file}", image, f"its original {pairs.names[number]}", original)
    if min(image.shape[:2]) < metric.least:
        raise DataError(f"{file}: has {_size(image)} pixels, {metric.name} needs {metric.least} on a side")
    if pairs.holes is None:
        return _Values(metric.measure(image, original, None))
    hole = read_hole(pairs.holes[number], inverted=pairs.inverted)
    _same_size(f"{file}", image, f"its hole {pairs.holes[number]}", hole)
    check_hole(hole, str(pairs.holes[number]))
    return _Values(
        metric.measure(image, original, hole),
        metric.measure(mean_fill(original, hole), original, hole),
        float(hole.mean()),
        np.array_equal(image[~hole], original[~hole]),
    )


def _rows(
    metric: _Metric,
    pairs: _Pairs,
    origin: Origin,
    values: Sequence[tuple[float, ...]],
    notes: Sequence[str],
) -> list[ScoreRow]:
    """Return a row for the whole images and, where the values (N, 1 or 2) have it, one for the holes."""
    rows = []
    regions = ((metric.name, "the whole image"), (f"{metric.name}_hole", "the hole alone"))
    for (name, region), scores in zip(regions, np.array(values).T, strict=False):
        capped = int((scores == CAP).sum()) if metric.name == "psnr" else 0
        cap = [f"{capped:,} at the cap of {CAP:g} dB, the value of identical images"] if capped else []
        rows.append(
            ScoreRow(
                **vars(pairs.data),
                **vars(origin),
                **vars(metric.settings),
                metric=name,
                value=float(scores.mean()),
                std=float(scores.std()),
                n_real=len(set(pairs.names)),
                n_fake=len(scores),
                protocol=f"{metric.rule.format(region=region)}; mean and std over images{origin.holes_clause}",
                note="; ".join([*notes, *cap]),
            )
        )
    return rows


def _same_size(name: str, image: Pixels, other_name: str, other: Pixels | Hole) -> None:
    if image.shape[:2] != other.shape[:2]:
        raise DataError(
            f"{name}: has {_size(image)} pixels, {other_name} {_size(other)}",
            "They are compared pixel by pixel, without resizing.",
        )


def _size(image: Pixels | Hole) -> str:
    return f"{image.shape[1]} x {image.shape[0]}"
