"""The estimated outline follows the bird and stays in its box; files of any mode are read; faults are named."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from gancli.data.images import UnusableImage
from gancli.data.sample import BoundingBox
from gancli.data.segmentation import (
    LARGEST_PIECE,
    LEAST_SHARE,
    METHOD,
    MOST_BORDER,
    MOST_SHARE,
    REASONS,
    Fault,
    estimate_segmentation,
    faults,
    read_segmentation,
)
from gancli.data.sources import demo
from gancli.data.sources.demo_drawing import BACKGROUNDS, draw_bird

Mask = NDArray[np.bool_]
Pixels = NDArray[np.uint8]
GREEN, RED, BLUE = (60, 130, 60), (190, 50, 40), (60, 80, 200)


def ellipse(height: int, width: int, x: float, y: float, a: float, b: float) -> Mask:
    rows, columns = np.ogrid[:height, :width]
    found: Mask = ((columns - x) / a) ** 2 + ((rows - y) / b) ** 2 <= 1
    return found


def painted(
    mask: Mask, bird: tuple[int, ...] = RED, ground: tuple[int, ...] = GREEN, noise: float = 18
) -> Pixels:
    """Bird and ground of one colour each, with coarse and fine noise on both."""
    rng = np.random.default_rng(3)
    height, width = mask.shape
    coarse = rng.normal(0, noise, (height // 4 + 1, width // 4 + 1, 1)).repeat(4, 0).repeat(4, 1)
    image = np.where(mask[..., None], bird, ground) + coarse[:height, :width]
    return (image + rng.normal(0, noise / 2, image.shape)).clip(0, 255).astype(np.uint8)


def box_around(mask: Mask) -> BoundingBox:
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return BoundingBox(columns[0], rows[0], columns[-1] + 1 - columns[0], rows[-1] + 1 - rows[0])


def overlap(probability: Pixels, mask: Mask) -> float:
    bird = probability >= 128
    return float(np.count_nonzero(bird & mask) / np.count_nonzero(bird | mask))


def outside(probability: Pixels, box: BoundingBox) -> Pixels:
    """What is left when the box's pixels are blanked."""
    rest = probability.copy()
    top, left = max(0, int(box.y)), max(0, int(box.x))
    rest[top : int(np.ceil(box.y + box.height)), left : int(np.ceil(box.x + box.width))] = 0
    return rest


OVAL = ellipse(200, 260, 130, 100, 70, 42)
POINTS = [(90.0, 100.0), (130.0, 85.0), (165.0, 104.0), (130.0, 120.0)]


# The estimate


@pytest.mark.parametrize(
    ("bird", "ground"),
    [(RED, GREEN), (BLUE, GREEN), ((235,) * 3, (150, 170, 190)), ((40,) * 3, (120,) * 3)],
    ids=["red", "blue", "white on sky", "grey"],
)
def test_an_ellipse_is_found(bird: tuple[int, ...], ground: tuple[int, ...]) -> None:
    image = painted(OVAL, bird, ground)
    box = box_around(OVAL)
    probability = estimate_segmentation(image, box, POINTS)
    assert probability.shape == OVAL.shape
    assert probability.dtype == np.uint8
    assert overlap(probability, OVAL) > 0.9
    assert not outside(probability, box).any()


def test_it_is_the_same_every_time_and_leaves_its_arguments_alone() -> None:
    image = painted(OVAL)
    before = image.copy()
    first, second = (estimate_segmentation(image, box_around(OVAL), POINTS) for _ in range(2))
    np.testing.assert_array_equal(first, second)
    np.testing.assert_array_equal(image, before)
    image.flags.writeable = False
    np.testing.assert_array_equal(estimate_segmentation(image, box_around(OVAL), POINTS), first)


def test_the_pictures_resolution_does_not_matter() -> None:
    image, box = painted(OVAL), box_around(OVAL)
    large = np.asarray(Image.fromarray(image).resize((780, 600), Image.Resampling.BICUBIC))
    probability = estimate_segmentation(
        large,
        BoundingBox(3 * box.x, 3 * box.y, 3 * box.width, 3 * box.height),
        [(3 * x + 1, 3 * y + 1) for x, y in POINTS],
    )
    small = estimate_segmentation(image, box, POINTS) >= 128
    assert overlap(probability, small.repeat(3, 0).repeat(3, 1)) > 0.95


def test_parts_outside_the_box_are_ignored() -> None:
    image, box = painted(OVAL), box_around(OVAL)
    inside = estimate_segmentation(image, box, POINTS)
    stray = [(5.0, 5.0), (-40.0, 900.0), (box.x + box.width, 100.0), (float("nan"), 100.0)]
    np.testing.assert_array_equal(estimate_segmentation(image, box, [*stray, *POINTS]), inside)


@pytest.mark.parametrize("count", [0, 1, 2])
def test_with_few_parts_the_middle_of_the_box_is_the_start(count: int) -> None:
    probability = estimate_segmentation(painted(OVAL), box_around(OVAL), POINTS[:count])
    assert overlap(probability, OVAL) > 0.85


def test_parts_in_one_place_count_once() -> None:
    image, box = painted(OVAL), box_around(OVAL)
    twice = estimate_segmentation(image, box, [*POINTS, *POINTS])
    np.testing.assert_array_equal(twice, estimate_segmentation(image, box, POINTS))


@pytest.mark.parametrize(("x", "y"), [(40, 100), (225, 100), (130, 20), (130, 185), (30, 20)])
def test_a_bird_at_the_pictures_edge(x: int, y: int) -> None:
    bird = ellipse(200, 260, x, y, 70, 42)
    points = [(px + x - 130, py + y - 100) for px, py in POINTS]
    box = BoundingBox(x - 70, y - 42, 141, 85)  # reaches beyond the picture, as boxes may
    probability = estimate_segmentation(painted(bird), box, points)
    assert overlap(probability, bird) > 0.85
    assert not outside(probability, box).any()


def test_a_box_that_is_the_picture() -> None:
    bird = ellipse(120, 160, 80, 60, 78, 58)
    probability = estimate_segmentation(
        painted(bird), BoundingBox(0, 0, 160, 120), [(40, 60), (80, 40), (120, 64), (80, 90)]
    )
    assert overlap(probability, bird) > 0.85


def test_a_thin_tail_reaches_the_side_of_the_box() -> None:
    bird = OVAL.copy()
    bird[96:104, 190:245] = True
    probability = estimate_segmentation(painted(bird), box_around(bird), POINTS)
    assert (probability[100, 195:243] >= 128).all()


def test_ground_of_another_colour_inside_the_box_is_left_out() -> None:
    """A bill and a tail make the box large: most of it is ground."""
    bird = ellipse(200, 260, 130, 100, 50, 30)
    bird[96:104, 30:230] = True
    bird[30:170, 126:134] = True
    probability = estimate_segmentation(painted(bird), box_around(bird), [(100, 100), (130, 90), (160, 100)])
    assert overlap(probability, bird) > 0.8


def test_a_bird_behind_a_branch_stays_one() -> None:
    """Parts on both sides of it: the piece that is kept holds them all."""
    image = painted(OVAL)
    image[:, 120:132] = (90, 70, 30)
    points = [(80, 100), (95, 90), (100, 112), (150, 85), (165, 104), (172, 100)]
    probability = estimate_segmentation(image, box_around(OVAL), points)
    assert overlap(probability, OVAL) > 0.85
    assert not faults(probability) & Fault.PIECES


def test_one_colour_is_no_error() -> None:
    image = np.full((60, 80, 3), 127, np.uint8)
    box = BoundingBox(20, 15, 40, 30)
    probability = estimate_segmentation(image, box, [(30, 30), (40, 25), (50, 30)])
    assert probability[30, 40] >= 128
    assert not outside(probability, box).any()


@pytest.mark.parametrize("points", [[], [(17.0, 12.0)]])
@pytest.mark.parametrize("size", [(1, 1), (1, 9), (9, 1), (2, 2)])
def test_tiny_boxes(size: tuple[int, int], points: list[tuple[float, float]]) -> None:
    image = painted(ellipse(30, 40, 20, 15, 10, 8))
    box = BoundingBox(17, 12, *size)
    probability = estimate_segmentation(image, box, points)
    assert probability.shape == (30, 40)
    assert not outside(probability, box).any()


def test_a_picture_of_one_pixel() -> None:
    image = np.full((1, 1, 3), 9, np.uint8)
    assert estimate_segmentation(image, BoundingBox(0, 0, 1, 1), [(0, 0)]).shape == (1, 1)


@pytest.mark.parametrize("box", [BoundingBox(50, 5, 9, 9), BoundingBox(-9, 0, 9, 9), BoundingBox(5, 5, 0, 9)])
def test_a_box_without_pixels_holds_no_bird(box: BoundingBox) -> None:
    assert not estimate_segmentation(np.zeros((40, 50, 3), np.uint8), box, [(5, 5)]).any()


def test_drawn_birds() -> None:
    """Their masks are known; the mean is what is asked for, single ones may be worse."""
    overlaps = []
    for index, one in enumerate(demo.species(12, seed=5)):
        drawing = draw_bird(
            one.plumage, BACKGROUNDS[index % len(BACKGROUNDS)], 64, np.random.default_rng([5, index])
        )
        places = [place for place in drawing.parts.values() if place is not None]
        probability = estimate_segmentation(np.asarray(drawing.image), BoundingBox(*drawing.box), places)
        overlaps.append(overlap(probability, np.asarray(drawing.mask) >= 128))
    assert np.mean(overlaps) >= 0.85
    assert np.min(overlaps) >= 0.5


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
    assert METHOD.startswith("estimated")


# Files

RAMP = np.linspace(0, 255, 48).astype(np.uint8).reshape(6, 8)


def save(image: Image.Image, folder: Path, suffix: str = ".png") -> Path:
    path = folder / f"bird{suffix}"
    image.save(path)
    return path


@pytest.mark.parametrize("mode", ["L", "RGB", "LA", "RGBA", "P"])
def test_the_channel_of_any_mode(mode: str, tmp_path: Path) -> None:
    read = read_segmentation(save(Image.fromarray(RAMP).convert(mode), tmp_path), (8, 6))
    np.testing.assert_array_equal(read, RAMP)
    assert read.dtype == np.uint8


@pytest.mark.parametrize("mode", ["LA", "RGBA"])
def test_alpha_is_ignored_where_the_colour_varies(mode: str, tmp_path: Path) -> None:
    image = Image.fromarray(RAMP).convert(mode)
    image.putalpha(Image.fromarray(RAMP[::-1].copy()))
    np.testing.assert_array_equal(read_segmentation(save(image, tmp_path), (8, 6)), RAMP)


@pytest.mark.parametrize("mode", ["LA", "RGBA"])
def test_alpha_counts_where_only_it_varies(mode: str, tmp_path: Path) -> None:
    image = Image.new("L", (8, 6), 255).convert(mode)
    image.putalpha(Image.fromarray(RAMP))
    np.testing.assert_array_equal(read_segmentation(save(image, tmp_path), (8, 6)), RAMP)


def test_one_opaque_colour_is_that_colour(tmp_path: Path) -> None:
    path = save(Image.new("RGBA", (8, 6), (200, 200, 200, 255)), tmp_path)
    assert (read_segmentation(path, (8, 6)) == 200).all()


def test_colours_count_by_luminance(tmp_path: Path) -> None:
    path = save(Image.new("RGB", (8, 6), (0, 255, 0)), tmp_path)
    assert (read_segmentation(path, (8, 6)) == 150).all()


def test_palette_colours_count_not_their_numbers(tmp_path: Path) -> None:
    image = Image.fromarray((RAMP > 99).astype(np.uint8), "L").convert("P")
    image.putpalette([255, 255, 255, 0, 0, 0])
    read = read_segmentation(save(image, tmp_path), (8, 6))
    np.testing.assert_array_equal(read, np.where(RAMP > 99, 0, 255))


def test_sixteen_bits_become_eight(tmp_path: Path) -> None:
    path = save(Image.fromarray(RAMP.astype(np.uint16) * 257), tmp_path)
    np.testing.assert_array_equal(read_segmentation(path, (8, 6)), RAMP)


@pytest.mark.parametrize("kind", ["1 bit", "8 bits", "16 bits", "RGB"])
def test_zeros_and_ones_are_certain(kind: str, tmp_path: Path) -> None:
    bird = RAMP > 99
    image = {
        "1 bit": Image.fromarray(bird),
        "8 bits": Image.fromarray(bird.astype(np.uint8)),
        "16 bits": Image.fromarray(bird.astype(np.uint16)),
        "RGB": Image.fromarray(bird.astype(np.uint8)).convert("RGB"),
    }[kind]
    read = read_segmentation(save(image, tmp_path), (8, 6))
    np.testing.assert_array_equal(read, np.where(bird, 255, 0))
    assert read.dtype == np.uint8


def test_nothing_stays_nothing(tmp_path: Path) -> None:
    assert not read_segmentation(save(Image.new("L", (8, 6)), tmp_path), (8, 6)).any()


def test_jpeg(tmp_path: Path) -> None:
    read = read_segmentation(save(Image.fromarray(RAMP), tmp_path, ".jpg"), (8, 6))
    assert np.abs(read.astype(int) - RAMP).max() < 32


def test_another_size_than_its_image(tmp_path: Path) -> None:
    path = save(Image.new("L", (30, 40)), tmp_path)
    with pytest.raises(UnusableImage) as caught:
        read_segmentation(path, (60, 40))
    assert str(caught.value) == "segmentation bird.png is 30 x 40 pixels, its image 60 x 40"


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(UnusableImage, match=r"bird\.png is missing"):
        read_segmentation(tmp_path / "bird.png", (8, 6))
    whole = save(Image.fromarray(np.random.default_rng(0).integers(0, 255, (60, 80), np.uint8)), tmp_path)
    whole.write_bytes(whole.read_bytes()[:900])
    with pytest.raises(UnusableImage, match=r"bird\.png cannot be decoded"):
        read_segmentation(whole, (80, 60))
    whole.write_text("no picture")
    with pytest.raises(UnusableImage, match="not a picture"):
        read_segmentation(whole, (80, 60))
    floats = save(Image.fromarray(RAMP.astype(np.float32)), tmp_path, ".tif")
    with pytest.raises(UnusableImage, match="unknown range"):
        read_segmentation(floats, (8, 6))
