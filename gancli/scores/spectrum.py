"""Radially averaged power spectrum: do images have as much fine detail as real ones, or a lattice of dots?

Strided and transposed convolutions leave regular patterns whose energy lies at frequencies where photographs have
little. A ratio above 1 is a lattice or noise, below 1 blur.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gancli.errors import DataError
from gancli.progress import Progress, reporting
from gancli.scores.across_ranks import by_parts
from gancli.scores.fid import real_side
from gancli.scores.image_sets import Images, Pixels, SplitImages, open_images, origin_of, remarks_on
from gancli.scores.results import RealData, ScoreRow

HALF_OF_NYQUIST = 0.25  # cycles per pixel
ROUNDING = 1e-12  # power of an image without any detail, at most
_LUMA = np.array([0.299, 0.587, 0.114])


def fine_power(image: Pixels) -> float:
    """Return the mean power of an image's brightness above half of the Nyquist frequency, radially averaged.

    Brightness has the range 0 to 1 and is windowed (Hann), so that the edges of the image are no detail. Rings of
    frequencies one wide are averaged on their own, then over all rings from half of Nyquist on, with those beyond it
    that diagonal patterns have.

    Args:
        image: Image (S, S, 3) uint8.
    """
    side = len(image)
    rings, counts, window = _rings(side)
    brightness = image @ _LUMA / 255
    spectrum = np.fft.rfft2((brightness - brightness.mean()) * window)
    power = np.bincount(rings.ravel(), (np.abs(spectrum) ** 2).ravel(), len(counts)) / counts
    fine = power[math.ceil(HALF_OF_NYQUIST * side) :]
    return float(fine.mean() / (window**2).sum())


@functools.lru_cache(maxsize=8)
def _rings(side: int) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Return the ring of each frequency of `rfft2`, the frequencies of each ring, and the window (S, S)."""
    rows, columns = np.fft.fftfreq(side) * side, np.fft.rfftfreq(side) * side
    rings = np.rint(np.hypot(rows[:, None], columns)).astype(np.int64)
    hann = np.hanning(side + 2)[1:-1]
    return rings, np.maximum(np.bincount(rings.ravel()), 1), np.outer(hann, hann)


def score_spectrum(
    real: str | Path, fake: str | Path, *, batch: int = 50, progress: Progress | bool = True
) -> ScoreRow:
    """Measure the fine detail of generated images over that of real ones: 1 is as much, more a lattice, less blur.

    Args:
        real: Reference: "DIR:split" of a dataset or a folder of images. Those of a dataset are taken at the side of the
            generated ones.
        fake: Generated images, in the same forms.
        batch: Images at a time.
        progress: Callback after each batch with images done and in all, or True for a bar.

    Raises:
        DataError: Images are missing, broken, not square, or of several sides.
        UsageError: A dataset is named without its split.
    """
    generated, reference = open_images(fake), open_images(real)
    if isinstance(reference, SplitImages):
        reference = reference.at(real_side(reference, None, generated)).beside(generated)
    with reporting(progress, "transforming", "images") as report:
        powers, sides = zip(
            *(_mean_power(each, batch, report) for each in (reference, generated)), strict=True
        )
    if len(set(sides)) > 1:
        raise DataError(
            f"{real}: has images of {sides[0]} pixels, {fake} of {sides[1]}", "Compare images of one side."
        )
    if powers[0] < ROUNDING:
        raise DataError(f"{real}: its images have no detail at all")
    return ScoreRow(
        **vars(reference.data if isinstance(reference, SplitImages) else RealData(dataset=str(real))),
        **vars(origin_of(generated)),
        metric="spectrum",
        value=powers[1] / powers[0],
        n_real=len(reference),
        n_fake=len(generated),
        protocol="mean power of the brightness from half of the Nyquist frequency on, radially averaged, Hann window: "
        "generated over real images",
        note="; ".join(note for images in (reference, generated) for note in remarks_on(images)),
    )


def _mean_power(images: Images, batch: int, progress: Progress | None) -> tuple[float, int]:
    """Return the mean fine power of images and their side."""

    def work(rows: slice) -> Iterator[list[tuple[float, int]]]:
        for part in images.part(rows).batches(batch):
            for image in part:
                if image.shape[0] != image.shape[1]:
                    raise DataError(
                        f"{images.name}: has an image of {image.shape[1]} x {image.shape[0]} pixels, not square"
                    )
            yield [(fine_power(image), len(image)) for image in part]

    found = [each for part in by_parts(len(images), batch, work, progress) for each in part]
    sides = {side for _, side in found}
    if len(sides) > 1:
        raise DataError(f"{images.name}: has images of several sides: {', '.join(map(str, sorted(sides)))}")
    return float(np.mean([power for power, _ in found])), sides.pop()
