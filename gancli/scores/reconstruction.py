"""PSNR, SSIM, MS-SSIM, L1 and L2 of images against their originals."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from gancli.data.holes import Hole
from gancli.errors import UsageError
from gancli.progress import Progress, reporting
from gancli.scores.image_sets import Pixels
from gancli.scores.pairs import CAP, PairMetric, Pairs, pair_images, score_pairs
from gancli.scores.results import MetricSettings, ScoreRow

_LEVELS = 255  # range of the pixels


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

    pairs = pair_images(images, data, real, mask, invert_mask)
    rule = "PSNR of {region} in dB: 10 log10(255^2 / MSE) over its pixels and channels, uint8; at most 100 dB"
    with reporting(progress, "comparing", "images") as report:
        return score_pairs(PairMetric("psnr", rule, measure), pairs, batch, report)


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

    pairs = pair_images(images, data, real, mask, invert_mask)
    rule = f"SSIM of {{region}}: {_SETTINGS[window]}, K1 0.01, K2 0.03, data range 255, uint8, mean over channels"
    metric = PairMetric(
        "ssim", rule, measure, 2 * _RADIUS[window] + 1, MetricSettings(ssim_window=window.value)
    )
    with reporting(progress, "comparing", "images") as report:
        return score_pairs(metric, pairs, batch, report)


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
    return _score_pixels(
        "l1", rule, np.abs, pair_images(images, data, real, mask, invert_mask), batch, progress
    )


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
    return _score_pixels(
        "l2", rule, np.square, pair_images(images, data, real, mask, invert_mask), batch, progress
    )


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
    metric = PairMetric("ms_ssim", rule, measure, MS_SSIM_SIDE)
    pairs = pair_images(images, data, real, mask, invert_mask)
    with reporting(progress, "comparing", "images") as report:
        return score_pairs(metric, pairs, batch, report)


def _score_pixels(
    name: str,
    rule: str,
    of: Callable[[NDArray[np.float64]], NDArray[np.float64]],
    pairs: Pairs,
    batch: int,
    progress: Progress | bool,
) -> tuple[ScoreRow, ...]:
    """Return the rows of a mean over pixels; `of` makes a cost of the differences in [-1, 1]."""

    def measure(image: Pixels, original: Pixels, hole: Hole | None) -> tuple[float, ...]:
        costs = of((image.astype(np.float64) - original) / _LEVELS)
        whole = 100 * float(costs.mean())
        return (whole,) if hole is None else (whole, 100 * float(costs[hole].mean()))

    with reporting(progress, "comparing", "images") as report:
        return score_pairs(PairMetric(name, rule, measure), pairs, batch, report)
