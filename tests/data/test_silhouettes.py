"""Files of any mode are read; faults are named."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from gancli.data.images import UnusableImage
from gancli.data.silhouettes import (
    LARGEST_PIECE,
    LEAST_SHARE,
    MOST_BORDER,
    MOST_SHARE,
    REASONS,
    Fault,
    faults,
    read_silhouette,
)

Pixels = NDArray[np.uint8]


# Faults


def crop(*rectangles: tuple[int, int, int, int], side: int = 100) -> Pixels:
    """Birds of rectangles: top, left, bottom, right."""
    pixels = np.zeros((side, side), np.uint8)
    for top, left, bottom, right in rectangles:
        pixels[top:bottom, left:right] = 255
    return pixels


@pytest.mark.parametrize(
    ("probability", "found"),
    [
        (crop((20, 20, 70, 70)), Fault(0)),
        (crop(), Fault.EMPTY),
        (crop((20, 20, 40, 60)), Fault(0)),  # 8 % exactly
        (crop((20, 20, 40, 59)), Fault.SMALL),
        (crop((5, 5, 95, 95)), Fault.LARGE),
        (
            crop((10, 10, 90, 90), (2, 10, 10, 90), (90, 10, 98, 90), (10, 2, 90, 4), (10, 96, 90, 98)),
            Fault(0),
        ),
        (crop((20, 20, 58, 70), (60, 20, 62, 70)), Fault(0)),  # 95 % in one piece
        (crop((20, 20, 57, 70), (60, 20, 62, 70)), Fault.PIECES),
        (crop((20, 20, 50, 50), (50, 50, 80, 80)), Fault(0)),  # touch at a corner
        (crop((0, 20, 70, 27), (20, 20, 70, 70)), Fault(0)),  # 7 of 396 pixels
        (crop((0, 20, 70, 28), (20, 20, 70, 70)), Fault.BORDER),
        (crop((0, 0, 100, 100)), Fault.LARGE | Fault.BORDER),
        (crop((0, 0, 10, 10), (50, 50, 60, 60)), Fault.SMALL | Fault.PIECES | Fault.BORDER),
    ],
)
def test_faults(probability: Pixels, found: Fault) -> None:
    if found != faults(probability):
        pytest.fail(f"{faults(probability)!r} instead of {found!r}")
    assert faults(np.ascontiguousarray(probability.T)) == found


@pytest.mark.parametrize(("level", "found"), [(127, Fault.EMPTY), (128, Fault(0))])
def test_half_is_bird(level: int, found: Fault) -> None:
    assert faults(crop((20, 20, 70, 70)) // 255 * np.uint8(level)) == found


def test_the_bits_are_those_of_the_shards_and_each_has_a_reason() -> None:
    assert {fault.name: fault.value for fault in Fault} == {
        "MISSING": 1,
        "EMPTY": 2,
        "SMALL": 4,
        "LARGE": 8,
        "PIECES": 16,
        "BORDER": 32,
        "UNLISTED": 64,
    }
    assert (LEAST_SHARE, MOST_SHARE, LARGEST_PIECE, MOST_BORDER) == (0.08, 0.80, 0.95, 0.02)
    assert set(REASONS) == set(Fault)
    assert len(set(REASONS.values())) == len(Fault)
    assert "8 %" in REASONS[Fault.SMALL]


# Files

RAMP = np.linspace(0, 255, 48).astype(np.uint8).reshape(6, 8)


def save(image: Image.Image, folder: Path, suffix: str = ".png") -> Path:
    path = folder / f"bird{suffix}"
    image.save(path)
    return path


@pytest.mark.parametrize("mode", ["L", "RGB", "LA", "RGBA", "P"])
def test_the_channel_of_any_mode(mode: str, tmp_path: Path) -> None:
    read = read_silhouette(save(Image.fromarray(RAMP).convert(mode), tmp_path), (8, 6))
    np.testing.assert_array_equal(read, RAMP)
    assert read.dtype == np.uint8


@pytest.mark.parametrize("mode", ["LA", "RGBA"])
def test_alpha_is_ignored_where_the_colour_varies(mode: str, tmp_path: Path) -> None:
    image = Image.fromarray(RAMP).convert(mode)
    image.putalpha(Image.fromarray(RAMP[::-1].copy()))
    np.testing.assert_array_equal(read_silhouette(save(image, tmp_path), (8, 6)), RAMP)


@pytest.mark.parametrize("mode", ["LA", "RGBA"])
def test_alpha_counts_where_only_it_varies(mode: str, tmp_path: Path) -> None:
    image = Image.new("L", (8, 6), 255).convert(mode)
    image.putalpha(Image.fromarray(RAMP))
    np.testing.assert_array_equal(read_silhouette(save(image, tmp_path), (8, 6)), RAMP)


def test_one_opaque_colour_is_that_colour(tmp_path: Path) -> None:
    path = save(Image.new("RGBA", (8, 6), (200, 200, 200, 255)), tmp_path)
    assert (read_silhouette(path, (8, 6)) == 200).all()


def test_colours_count_by_luminance(tmp_path: Path) -> None:
    path = save(Image.new("RGB", (8, 6), (0, 255, 0)), tmp_path)
    assert (read_silhouette(path, (8, 6)) == 150).all()


def test_palette_colours_count_not_their_numbers(tmp_path: Path) -> None:
    image = Image.fromarray((RAMP > 99).astype(np.uint8), "L").convert("P")
    image.putpalette([255, 255, 255, 0, 0, 0])
    read = read_silhouette(save(image, tmp_path), (8, 6))
    np.testing.assert_array_equal(read, np.where(RAMP > 99, 0, 255))


def test_sixteen_bits_become_eight(tmp_path: Path) -> None:
    path = save(Image.fromarray(RAMP.astype(np.uint16) * 257), tmp_path)
    np.testing.assert_array_equal(read_silhouette(path, (8, 6)), RAMP)


@pytest.mark.parametrize("kind", ["1 bit", "8 bits", "16 bits", "RGB"])
def test_zeros_and_ones_are_certain(kind: str, tmp_path: Path) -> None:
    bird = RAMP > 99
    image = {
        "1 bit": Image.fromarray(bird),
        "8 bits": Image.fromarray(bird.astype(np.uint8)),
        "16 bits": Image.fromarray(bird.astype(np.uint16)),
        "RGB": Image.fromarray(bird.astype(np.uint8)).convert("RGB"),
    }[kind]
    read = read_silhouette(save(image, tmp_path), (8, 6))
    np.testing.assert_array_equal(read, np.where(bird, 255, 0))
    assert read.dtype == np.uint8


def test_nothing_stays_nothing(tmp_path: Path) -> None:
    assert not read_silhouette(save(Image.new("L", (8, 6)), tmp_path), (8, 6)).any()


def test_jpeg(tmp_path: Path) -> None:
    read = read_silhouette(save(Image.fromarray(RAMP), tmp_path, ".jpg"), (8, 6))
    assert np.abs(read.astype(int) - RAMP).max() < 32


def test_another_size_than_its_image(tmp_path: Path) -> None:
    path = save(Image.new("L", (30, 40)), tmp_path)
    with pytest.raises(UnusableImage) as caught:
        read_silhouette(path, (60, 40))
    assert str(caught.value) == "silhouette bird.png is 30 x 40 pixels, its image 60 x 40"


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(UnusableImage, match=r"bird\.png is missing"):
        read_silhouette(tmp_path / "bird.png", (8, 6))
    whole = save(Image.fromarray(np.random.default_rng(0).integers(0, 255, (60, 80), np.uint8)), tmp_path)
    whole.write_bytes(whole.read_bytes()[:900])
    with pytest.raises(UnusableImage, match=r"bird\.png cannot be decoded"):
        read_silhouette(whole, (80, 60))
    whole.write_text("no image")
    with pytest.raises(UnusableImage, match="not an image"):
        read_silhouette(whole, (80, 60))
    floats = save(Image.fromarray(RAMP.astype(np.float32)), tmp_path, ".tif")
    with pytest.raises(UnusableImage, match="unknown range"):
        read_silhouette(floats, (8, 6))
