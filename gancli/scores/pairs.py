"""Images beside their originals: how they are matched, and how a metric of pairs becomes rows.

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
from functools import partial
from itertools import chain
from pathlib import Path, PurePosixPath

import numpy as np

from gancli.data.holes import Hole, check_hole, grow_hole, hole_files_by_image, image_name, read_hole
from gancli.errors import DataError, UsageError
from gancli.progress import Progress
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
from gancli.scores.results import HoleFields, MetricSettings, NetworkFields, Origin, RealData, ScoreRow

CAP = 100.0  # dB; identical images have no PSNR
MEAN_FILL = "hole filled with the mean colour of its surroundings"
_LISTED = 10  # files named in a message


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


@dataclass(frozen=True)
class Pairs:
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


def pair_images(
    images: str | Path,
    data: str | Path | None,
    real: str | Path | None,
    mask: str | Path | None,
    inverted: bool,
) -> Pairs:
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
    return Pairs(filled, originals, names, holes, inverted, cut, of, pool)


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
class PairMetric:
    """A metric of images and their originals.

    Attributes:
        name: Name, such as "psnr".
        rule: Protocol, with {region} for the part of the image that is compared.
        measure: Function from image, original and hole to the values of the whole image and, with a hole, of the hole.
        least: Shortest side that it can measure.
        settings: Its settings in score rows.
        network: Network that it compares by; all empty without one.
    """

    name: str
    rule: str
    measure: Callable[[Pixels, Pixels, Hole | None], tuple[float, ...]]
    least: int = 1
    settings: MetricSettings = field(default_factory=MetricSettings)
    network: NetworkFields = field(default_factory=NetworkFields)


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


def score_pairs(
    metric: PairMetric, pairs: Pairs, batch: int, progress: Progress | None
) -> tuple[ScoreRow, ...]:
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


def _measure_pair(metric: PairMetric, pairs: Pairs, number: int, image: Pixels, original: Pixels) -> _Values:
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
    metric: PairMetric,
    pairs: Pairs,
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
                **vars(metric.network),
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
