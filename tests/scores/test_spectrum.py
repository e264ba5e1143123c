"""Fine detail: a slow transcription, and what blur and a lattice do to it."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import gaussian_filter

from gancli.errors import DataError
from gancli.scores.spectrum import fine_power, score_spectrum


def picture(seed: int, side: int = 32, blur: float = 1.0) -> np.ndarray:
    noise = gaussian_filter(np.random.default_rng(seed).normal(size=(side, side, 3)), (blur, blur, 0))
    return np.clip(128 + 200 * noise, 0, 255).astype(np.uint8)


def save(folder: Path, images: list[np.ndarray]) -> str:
    folder.mkdir()
    for number, image in enumerate(images):
        Image.fromarray(image).save(folder / f"{number}.png")
    return str(folder)


@pytest.mark.parametrize("side", [16, 17, 32])
def test_power_is_a_slow_transcription(side: int) -> None:
    """The two-dimensional Fourier transform by its definition, ring by ring."""
    image = picture(0, side)
    brightness = (image.astype(float) @ [0.299, 0.587, 0.114]) / 255
    hann = [0.5 - 0.5 * math.cos(2 * math.pi * (n + 1) / (side + 1)) for n in range(side)]
    windowed = (brightness - brightness.mean()) * np.outer(hann, hann)
    rings: dict[int, list[float]] = {}
    frequencies = range(-(side // 2), (side + 1) // 2)
    steps = np.arange(side)
    for v in frequencies:
        for u in range(side // 2 + 1):
            wave = np.exp(-2j * math.pi * (v * steps[:, None] + u * steps) / side)
            rings.setdefault(round(math.hypot(u, v)), []).append(abs((windowed * wave).sum()) ** 2)
    fine = [np.mean(rings[ring]) for ring in range(math.ceil(side / 4), max(rings) + 1)]
    expected = np.mean(fine) / (np.outer(hann, hann) ** 2).sum()
    assert fine_power(image) == pytest.approx(expected, rel=1e-9)


def test_as_much_detail_as_the_real_ones_is_one(tmp_path: Path) -> None:
    images = [picture(seed) for seed in range(3)]
    row = score_spectrum(save(tmp_path / "a", images), save(tmp_path / "b", images[::-1]), progress=False)
    assert row.value == pytest.approx(1)
    assert (row.metric, row.n_real, row.n_fake) == ("spectrum", 3, 3)


def test_a_lattice_is_more_and_blur_is_less(tmp_path: Path) -> None:
    images = [picture(seed) for seed in range(3)]
    real = save(tmp_path / "real", images)
    board = 20 * (np.indices((32, 32)).sum(axis=0) % 2)[..., None]
    dotted = [np.clip(image.astype(int) + board, 0, 255).astype(np.uint8) for image in images]
    blurred = [gaussian_filter(image, (2, 2, 0)) for image in images]
    assert score_spectrum(real, save(tmp_path / "dotted", dotted), progress=False).value > 2
    assert score_spectrum(real, save(tmp_path / "blurred", blurred), progress=False).value < 0.2


def test_images_that_cannot_be_compared(tmp_path: Path) -> None:
    real = save(tmp_path / "real", [picture(0)])
    for name, images, message in (
        ("large", [picture(0, 64)], "images of 32 pixels"),
        ("mixed", [picture(0), picture(0, 64)], "several sides"),
        ("wide", [picture(0)[:16]], "not square"),
    ):
        with pytest.raises(DataError, match=message):
            score_spectrum(real, save(tmp_path / name, images), progress=False)
    grey = save(tmp_path / "grey", [np.full((32, 32, 3), 7, np.uint8)])
    with pytest.raises(DataError, match="no detail"):
        score_spectrum(grey, real, progress=False)
