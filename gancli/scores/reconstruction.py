"""PSNR and SSIM of filled images against their originals.

Both compare an image with its original in the whole image and in the hole alone. As the known pixels are the
original's, they raise a score without any merit of the model: where the hole is a quarter of the image, the whole has
6.02 dB more than the hole. So a score says little by itself. Beside each stands that of a fill without a model, the
mean colour of the hole's surroundings.
"""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import StrEnum
from itertools import chain
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from gancli.data.holes import Hole, check_hole, grow_hole, hole_files_by_image, image_name, read_hole
from gancli.errors import DataError, UsageError
from gancli.progress import Progress
from gancli.sampling.samples_folder import SAMPLES, read_samples, read_sampling
from gancli.scores.across_ranks import by_parts
from gancli.scores.image_sets import (
    FileImages,
    Origin,
    Pixels,
    SplitImages,
    holes_of,
    open_images,
    open_samples,
    origin_of,
)
from gancli.scores.results import HOLES, ScoreRow

CAP = 100.0  # dB; identical images have no PSNR
MEAN_FILL = "hole filled with the mean colour of its surroundings"
_LEVELS = 255  # range of the pixels
_LISTED = 10  # files named in a message


class Window(StrEnum):
    """Over which neighbours SSIM takes its means and variances."""

    UNIFORM = "uniform"  # 7 x 7, sample variances: the public code of this family of papers
    WANG = "wang"  # 11 x 11 Gaussian, population variances: Wang et al., 2004


_RADIUS = {Window.UNIFORM: 3, Window.WANG: 5}
_SETTINGS = {
    Window.UNIFORM: "uniform 7x7 window, sample covariance (n - 1)",
    Window.WANG: "Gaussian 11x11 window of sigma 1.5, population covariance",
}


def psnr(image: Pixels, original: Pixels, hole: Hole | None = None) -> float:
    """Peak signal-to-noise ratio in dB: 10 log10(255² / MSE), all channels together; at most `CAP`.

    Args:
        image: (H, W, 3) uint8.
        original: Likewise.
        hole: (H, W); the pixels to look at, None: all.
    """
    if hole is not None:
        image, original = image[hole], original[hole]
    if np.array_equal(image, original):
        return CAP
    return min(CAP, float(peak_signal_noise_ratio(original, image, data_range=_LEVELS)))


def ssim_map(image: Pixels, original: Pixels, window: Window = Window.UNIFORM) -> NDArray[np.float64]:
    """Structural similarity around each pixel, (H, W), at most 1, the mean of the channels (Wang et al., 2004).

    K1 0.01, K2 0.03, data range 255; windows that leave the image see it mirrored.

    Args:
        image: (H, W, 3) uint8, no side shorter than the window.
        original: Likewise.
        window: Over which neighbours.
    """
    settings = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    _, similarity = structural_similarity(
        original,
        image,
        data_range=_LEVELS,
        channel_axis=-1,
        full=True,
        **(settings if window is Window.WANG else {}),
    )
    mean: NDArray[np.float64] = similarity.mean(axis=-1)
    return mean


def ssim(image: Pixels, original: Pixels, hole: Hole | None = None, window: Window = Window.UNIFORM) -> float:
    """Mean structural similarity of an image, at most 1.

    Args:
        image: As `ssim_map` takes it.
        original: Likewise.
        hole: (H, W); the mean is over the windows around its pixels. None: over all windows inside the image.
        window: Over which neighbours.
    """
    similarity = ssim_map(image, original, window)
    return _mean_ssim(similarity, hole, window)


def _mean_ssim(similarity: NDArray[np.float64], hole: Hole | None, window: Window) -> float:
    edge = _RADIUS[window]
    return float((similarity[edge:-edge, edge:-edge] if hole is None else similarity[hole]).mean())


def mean_fill(original: Pixels, hole: Hole) -> Pixels:
    """The image with its hole in one colour, the mean of the known pixels around it.

    Around it are the known pixels whose centre is at most max(1, S // 16) pixels from that of one of the hole's, S the
    image's shorter side: 16 in an image of 256. A hole of several pieces gets one colour.

    Args:
        original: (H, W, 3) uint8.
        hole: (H, W), neither empty nor all of the image.
    """
    around = grow_hole(hole, max(1, min(hole.shape) // 16)) & ~hole
    filled = original.copy()
    filled[hole] = np.rint(original[around].mean(axis=0)).astype(np.uint8)
    return filled


def score_psnr(
    images: str,
    *,
    data: str | None = None,
    real: str | None = None,
    mask: str | None = None,
    invert_mask: bool = False,
    batch: int = 50,
    progress: Progress | None = None,
) -> tuple[ScoreRow, ...]:
    """PSNR of filled images, and that of the mean fill beside it.

    Args:
        images: A folder of `gancli inpaint` with images of a dataset, or with `real` any folder of images.
        data: "DIR:split" the images are of; None: where sampling.json says.
        real: Folder of the originals: of the same names as the images, whatever both end in.
        mask: Image of the hole of all, or a folder of one for each, of the same names or these with _mask behind;
            None: those of samples.csv.
        invert_mask: The masks are white where the image is known.
        batch: Images held in memory at once.
        progress: Called after each batch with images done and in all.

    Returns:
        `psnr` of the whole images and, where their holes are known, `psnr_hole` of the holes alone; then both of the
        mean fill. Each is a mean over the images, with the standard deviation over them (population).

    Raises:
        DataError: Images, originals or masks are missing, broken, or of different size.
        UsageError: It is not known what the images are of, or two things say what their holes are.
    """

    def measure(image: Pixels, original: Pixels, hole: Hole | None) -> tuple[float, ...]:
        whole = psnr(image, original)
        return (whole,) if hole is None else (whole, psnr(image, original, hole))

    pairs = _pair(images, data, real, mask, invert_mask)
    rule = "PSNR of {region} in dB: 10 log10(255^2 / MSE) over its pixels and channels, uint8; at most 100 dB"
    return _score("psnr", rule, pairs, measure, 1, batch, progress)


def score_ssim(
    images: str,
    *,
    window: Window | str = Window.UNIFORM,
    data: str | None = None,
    real: str | None = None,
    mask: str | None = None,
    invert_mask: bool = False,
    batch: int = 50,
    progress: Progress | None = None,
) -> tuple[ScoreRow, ...]:
    """SSIM of filled images, and that of the mean fill beside it.

    Args:
        images: As `score_psnr` takes them.
        window: Over which neighbours; the values of different windows are different quantities.
        data: As for `score_psnr`, and so are the others.
        real: Likewise.
        mask: Likewise.
        invert_mask: Likewise.
        batch: Likewise.
        progress: Likewise.

    Returns:
        `ssim` and, where the holes are known, `ssim_hole`, as `score_psnr` returns its rows.

    Raises:
        DataError: As `score_psnr`, or an image is smaller than the window.
        UsageError: As `score_psnr`.
        ValueError: There is no such window.
    """
    window = Window(window)

    def measure(image: Pixels, original: Pixels, hole: Hole | None) -> tuple[float, ...]:
        similarity = ssim_map(image, original, window)
        whole = _mean_ssim(similarity, None, window)
        return (whole,) if hole is None else (whole, _mean_ssim(similarity, hole, window))

    pairs = _pair(images, data, real, mask, invert_mask)
    rule = f"SSIM of {{region}}: {_SETTINGS[window]}, K1 0.01, K2 0.03, data range 255, uint8, mean over channels"
    return _score("ssim", rule, pairs, measure, 2 * _RADIUS[window] + 1, batch, progress)


# --- what is compared with what -------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Pairs:
    """Images with their originals and holes, all three in the same order.

    Attributes:
        images: The filled ones.
        originals: As many.
        names: What messages call each original.
        holes: File of each image's hole; None where holes are not known.
        inverted: Whether the holes' files are white where the image is known.
        cut: What holes were cut, as a protocol ends with it; empty where they are not known.
        dataset: Of the originals.
        split: Likewise; empty for a folder.
        pool: Originals there are, those without an image included.
    """

    images: FileImages
    originals: SplitImages | FileImages
    names: Sequence[str]
    holes: Sequence[Path] | None
    inverted: bool
    cut: str
    dataset: str
    split: str
    pool: int


def _pair(images: str, data: str | None, real: str | None, mask: str | None, inverted: bool) -> _Pairs:
    if real is not None and data is not None:
        raise UsageError("the originals are either those of a dataset or a folder of files: both are named")
    if inverted and mask is None:
        raise UsageError("there is no mask to invert", "Name it with --mask.")
    originals: SplitImages | FileImages
    if real is not None:
        filled, files = _open_files(images), _open_files(real)
        matched = _same_name(filled, files)
        originals, pool = dataclasses.replace(files, files=matched), len(files)
        names, dataset, split = [str(file) for file in matched], real, ""
    else:
        sampling = read_sampling(Path(images))
        if data is None and (sampling is None or sampling.data is None):
            raise UsageError(
                f"{images}: does not say what its images are of",
                "Name the folder of the originals with --real DIR, or the split of a dataset with --data DIR:SPLIT.",
            )
        filled, records, every = open_samples(images, data)
        originals, pool = every.only([every.split.find(record.key) for record in records]), len(every)
        names = [f"{every.name} {record.key}" for record in records]
        dataset, split = every.dataset, every.split.name
    holes, cut = _holes(filled, mask, inverted)
    return _Pairs(filled, originals, names, holes, inverted, cut, dataset, split, pool)


def _open_files(name: str) -> FileImages:
    images = open_images(name)
    if isinstance(images, SplitImages):
        raise UsageError(
            f"{name}: is a dataset, and images in folders belong together by the names of their files",
            "Name a folder of images; for a folder of gancli inpaint say --data DIR:SPLIT.",
        )
    return images


def _holes(images: FileImages, mask: str | None, inverted: bool) -> tuple[Sequence[Path] | None, str]:
    """File of each image's hole, and which they are, as a protocol says it; None where nothing tells."""
    table = images.folder / SAMPLES
    recorded = [record.hole for record in read_samples(images.folder)] if table.is_file() else []
    if mask is None:
        if not any(recorded):
            return None, ""
        if not all(recorded):
            raise DataError(f"{table}: names the holes of some images only")
        return [images.folder / hole for hole in recorded], holes_of(images)
    if any(recorded):
        raise UsageError(f"{table}: says already which holes were cut", "Leave --mask out.")
    files: Sequence[Path] = [Path(mask)] * len(images)
    if Path(mask).is_dir():
        files = _same_name(images, _open_files(mask), masks=True)
    return files, f"{HOLES}{mask}{', inverted' if inverted else ''}"


def _same_name(images: FileImages, others: FileImages, *, masks: bool = False) -> tuple[Path, ...]:
    """The file of the same path as each image, but for its ending; of masks also with _mask behind it."""
    by_name: dict[str, list[PurePosixPath]] = defaultdict(list)
    if masks:
        by_name |= hole_files_by_image(_path(file, others) for file in others.files)
    else:
        for file in others.files:
            by_name[image_name(_path(file, others))].append(_path(file, others))
    names = [image_name(_path(file, images)) for file in images.files]
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
                "It takes one file of the image's name, whatever both end in; a mask may have _mask behind it.",
            )
    return tuple(others.folder / path for paths in found for path in paths)


def _path(file: Path, images: FileImages) -> PurePosixPath:
    return PurePosixPath(file.relative_to(images.folder).as_posix())


# --- measuring ------------------------------------------------------------------------------------------------

Measure = Callable[[Pixels, Pixels, Hole | None], tuple[float, ...]]


@dataclass(frozen=True)
class _Values:
    """What an image scores: in the whole image and, where its hole is known, in the hole.

    Attributes:
        filled: Of the image.
        mean_fill: Of the original with the mean fill; empty where the hole is not known.
        share: Of the image that is hole.
        composite: Whether all known pixels are the original's.
    """

    filled: tuple[float, ...]
    mean_fill: tuple[float, ...] = ()
    share: float = 1.0
    composite: bool = True


def _score(
    metric: str,
    rule: str,
    pairs: _Pairs,
    measure: Measure,
    least: int,
    batch: int,
    progress: Progress | None,
) -> tuple[ScoreRow, ...]:
    """The rows of a metric; `least` is the shortest side that it can measure."""

    def values(number: int, image: Pixels, original: Pixels) -> _Values:
        file = pairs.images.files[number]
        _same_size(f"{file}", image, f"its original {pairs.names[number]}", original)
        if min(image.shape[:2]) < least:
            raise DataError(f"{file}: has {_size(image)} pixels, {metric} needs {least} on a side")
        if pairs.holes is None:
            return _Values(measure(image, original, None))
        hole = read_hole(pairs.holes[number], inverted=pairs.inverted)
        _same_size(f"{file}", image, f"its hole {pairs.holes[number]}", hole)
        check_hole(hole, str(pairs.holes[number]))
        return _Values(
            measure(image, original, hole),
            measure(mean_fill(original, hole), original, hole),
            float(hole.mean()),
            np.array_equal(image[~hole], original[~hole]),
        )

    def work(rows: slice) -> Iterator[list[_Values]]:
        parts = (images.part(rows).batches(batch) for images in (pairs.images, pairs.originals))
        numbers = range(count)[rows]
        with ThreadPoolExecutor() as pool:
            for images, originals in zip(*parts, strict=True):
                yield list(pool.map(values, numbers, images, originals))
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
            f"the known pixels of {others:,} images are not the original's: blended, compressed, or of another one"
        )
    rows = _rows(metric, rule, pairs, origin_of(pairs.images), [each.filled for each in done], notes)
    if pairs.holes is not None:
        fill = Origin(MEAN_FILL, pairs.originals.name, pairs.originals.fingerprint, pairs.images.side)
        notes = [*common, "no model: what a score is to be compared with"]
        rows += _rows(metric, rule, pairs, fill, [each.mean_fill for each in done], notes)
    return tuple(rows)


def _rows(
    metric: str,
    rule: str,
    pairs: _Pairs,
    origin: Origin,
    values: Sequence[tuple[float, ...]],
    notes: Sequence[str],
) -> list[ScoreRow]:
    """A row for the whole images and, where the values (N, 1 or 2) have it, one for the holes."""
    rows = []
    regions = ((metric, "the whole image"), (f"{metric}_hole", "the hole alone"))
    for (name, region), scores in zip(regions, np.array(values).T, strict=False):
        capped = int((scores == CAP).sum()) if metric == "psnr" else 0
        cap = [f"{capped:,} at the cap of {CAP:g} dB, which identical images are given"] if capped else []
        rows.append(
            ScoreRow(
                dataset=pairs.dataset,
                split=pairs.split,
                metric=name,
                value=float(scores.mean()),
                std=float(scores.std()),
                n_real=len(set(pairs.names)),
                n_fake=len(scores),
                protocol=f"{rule.format(region=region)}; mean and std over images{pairs.cut}",
                network="",
                network_sha256="",
                resize="",
                note="; ".join([*notes, *cap]),
                **dataclasses.asdict(origin),
            )
        )
    return rows


def _same_size(name: str, image: Pixels, other_name: str, other: Pixels | Hole) -> None:
    if image.shape[:2] != other.shape[:2]:
        raise DataError(
            f"{name}: has {_size(image)} pixels, {other_name} {_size(other)}",
            "They are compared pixel by pixel, and nothing is resized.",
        )


def _size(image: Pixels | Hole) -> str:
    return f"{image.shape[1]} x {image.shape[0]}"
