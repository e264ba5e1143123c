"""The estimated outline follows the bird and stays in its box."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from gancli.data.silhouette_estimate import estimate_silhouette
from gancli.data.silhouettes import Fault, faults
from gancli.data.source import BoundingBox
from gancli.data.sources.demo import dataset as demo
from gancli.data.sources.demo.drawing import BACKGROUNDS, draw_bird

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
    probability = estimate_silhouette(image, box, POINTS)
    assert probability.shape == OVAL.shape
    assert probability.dtype == np.uint8
    assert overlap(probability, OVAL) > 0.9
    assert not outside(probability, box).any()


def test_it_is_the_same_every_time_and_leaves_its_arguments_alone() -> None:
    image = painted(OVAL)
    before = image.copy()
    first, second = (estimate_silhouette(image, box_around(OVAL), POINTS) for _ in range(2))
    np.testing.assert_array_equal(first, second)
    np.testing.assert_array_equal(image, before)
    image.flags.writeable = False
    np.testing.assert_array_equal(estimate_silhouette(image, box_around(OVAL), POINTS), first)


def test_the_images_resolution_does_not_matter() -> None:
    image, box = painted(OVAL), box_around(OVAL)
    large = np.asarray(Image.fromarray(image).resize((780, 600), Image.Resampling.BICUBIC))
    probability = estimate_silhouette(
        large,
        BoundingBox(3 * box.x, 3 * box.y, 3 * box.width, 3 * box.height),
        [(3 * x + 1, 3 * y + 1) for x, y in POINTS],
    )
    small = estimate_silhouette(image, box, POINTS) >= 128
    assert overlap(probability, small.repeat(3, 0).repeat(3, 1)) > 0.95


def test_parts_outside_the_box_are_ignored() -> None:
    image, box = painted(OVAL), box_around(OVAL)
    inside = estimate_silhouette(image, box, POINTS)
    stray = [(5.0, 5.0), (-40.0, 900.0), (box.x + box.width, 100.0), (float("nan"), 100.0)]
    np.testing.assert_array_equal(estimate_silhouette(image, box, [*stray, *POINTS]), inside)


@pytest.mark.parametrize("count", [0, 1, 2])
def test_with_few_parts_the_middle_of_the_box_is_the_start(count: int) -> None:
    probability = estimate_silhouette(painted(OVAL), box_around(OVAL), POINTS[:count])
    assert overlap(probability, OVAL) > 0.85


def test_parts_in_one_place_count_once() -> None:
    image, box = painted(OVAL), box_around(OVAL)
    twice = estimate_silhouette(image, box, [*POINTS, *POINTS])
    np.testing.assert_array_equal(twice, estimate_silhouette(image, box, POINTS))


@pytest.mark.parametrize(("x", "y"), [(40, 100), (225, 100), (130, 20), (130, 185), (30, 20)])
def test_a_bird_at_the_images_edge(x: int, y: int) -> None:
    bird = ellipse(200, 260, x, y, 70, 42)
    points = [(px + x - 130, py + y - 100) for px, py in POINTS]
    box = BoundingBox(x - 70, y - 42, 141, 85)  # reaches beyond the image, as boxes may
    probability = estimate_silhouette(painted(bird), box, points)
    assert overlap(probability, bird) > 0.85
    assert not outside(probability, box).any()


def test_a_box_that_is_the_image() -> None:
    bird = ellipse(120, 160, 80, 60, 78, 58)
    probability = estimate_silhouette(
        painted(bird), BoundingBox(0, 0, 160, 120), [(40, 60), (80, 40), (120, 64), (80, 90)]
    )
    assert overlap(probability, bird) > 0.85


def test_a_thin_tail_reaches_the_side_of_the_box() -> None:
    bird = OVAL.copy()
    bird[96:104, 190:245] = True
    probability = estimate_silhouette(painted(bird), box_around(bird), POINTS)
    assert (probability[100, 195:243] >= 128).all()


def test_ground_of_another_colour_inside_the_box_is_left_out() -> None:
    """A bill and a tail make the box large: most of it is ground."""
    bird = ellipse(200, 260, 130, 100, 50, 30)
    bird[96:104, 30:230] = True
    bird[30:170, 126:134] = True
    probability = estimate_silhouette(painted(bird), box_around(bird), [(100, 100), (130, 90), (160, 100)])
    assert overlap(probability, bird) > 0.8


def test_a_bird_behind_a_branch_stays_one() -> None:
    """Parts on both sides of it: the piece that is kept holds them all."""
    image = painted(OVAL)
    image[:, 120:132] = (90, 70, 30)
    points = [(80, 100), (95, 90), (100, 112), (150, 85), (165, 104), (172, 100)]
    probability = estimate_silhouette(image, box_around(OVAL), points)
    assert overlap(probability, OVAL) > 0.85
    assert not faults(probability) & Fault.PIECES


def test_one_colour_is_no_error() -> None:
    image = np.full((60, 80, 3), 127, np.uint8)
    box = BoundingBox(20, 15, 40, 30)
    probability = estimate_silhouette(image, box, [(30, 30), (40, 25), (50, 30)])
    assert probability[30, 40] >= 128
    assert not outside(probability, box).any()


@pytest.mark.parametrize("points", [[], [(17.0, 12.0)]])
@pytest.mark.parametrize("size", [(1, 1), (1, 9), (9, 1), (2, 2)])
def test_tiny_boxes(size: tuple[int, int], points: list[tuple[float, float]]) -> None:
    image = painted(ellipse(30, 40, 20, 15, 10, 8))
    box = BoundingBox(17, 12, *size)
    probability = estimate_silhouette(image, box, points)
    assert probability.shape == (30, 40)
    assert not outside(probability, box).any()


def test_a_image_of_one_pixel() -> None:
    image = np.full((1, 1, 3), 9, np.uint8)
    assert estimate_silhouette(image, BoundingBox(0, 0, 1, 1), [(0, 0)]).shape == (1, 1)


@pytest.mark.parametrize("box", [BoundingBox(50, 5, 9, 9), BoundingBox(-9, 0, 9, 9), BoundingBox(5, 5, 0, 9)])
def test_a_box_without_pixels_holds_no_bird(box: BoundingBox) -> None:
    assert not estimate_silhouette(np.zeros((40, 50, 3), np.uint8), box, [(5, 5)]).any()


def test_drawn_birds() -> None:
    """Their masks are known; the mean is what is asked for, single ones may be worse."""
    overlaps = []
    for index, one in enumerate(demo.species(12, seed=5)):
        drawing = draw_bird(
            one.plumage, BACKGROUNDS[index % len(BACKGROUNDS)], 64, np.random.default_rng([5, index])
        )
        places = [place for place in drawing.parts.values() if place is not None]
        probability = estimate_silhouette(np.asarray(drawing.image), BoundingBox(*drawing.box), places)
        overlaps.append(overlap(probability, np.asarray(drawing.silhouette) >= 128))
    assert np.mean(overlaps) >= 0.85
    assert np.min(overlaps) >= 0.5
