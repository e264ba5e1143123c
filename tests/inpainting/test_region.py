"""The model sees nothing of a hole's content, and pasting changes nothing but the hole."""

import numpy as np
import pytest

from gancli.data.holes import central_hole
from gancli.inpainting.region import central_region, central_view, paste, region_around, shrink


def hole_of(height, width, top, left, bottom, right):
    hole = np.zeros((height, width), bool)
    hole[top:bottom, left:right] = True
    return hole


def noise(height, width, channels=3, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, channels), dtype=np.uint8)


def box(region):
    return tuple((part.start, part.stop) for part in region.inside)


@pytest.mark.parametrize(
    ("hole", "share", "feather", "expected"),
    [
        ((40, 50, 80, 90), 0.5, 0, ((20, 100), (30, 110))),  # twice the hole, around its centre
        ((40, 50, 60, 90), 0.5, 0, ((10, 90), (30, 110))),  # its longer side counts
        ((40, 50, 76, 86), 0.75, 0, ((34, 82), (44, 92))),  # as large a share as in training
        ((40, 50, 44, 54), 0.5, 0, ((26, 58), (36, 68))),  # at least the model's side
        ((0, 190, 20, 200), 0.5, 0, ((0, 40), (160, 200))),  # moved into the image
        ((10, 20, 130, 140), 0.5, 0, ((0, 150), (0, 200))),  # clipped to it: no square
        ((40, 50, 80, 90), 0.75, 30, ((10, 110), (20, 120))),  # all that is blended is in it
    ],
)
def test_where_the_region_lies(hole, share, feather, expected):
    region = region_around(hole_of(150, 200, *hole), 32, share, feather)
    assert box(region) == expected
    covered = np.zeros((150, 200), bool)
    covered[region.inside] = True
    assert covered[hole_of(150, 200, *hole)].all()


def test_the_hole_of_training_is_seen_as_in_training():
    """An image of the model's size with its central half missing is not resized on the way to the model and back."""
    image, hole = noise(32, 32), hole_of(32, 32, 8, 8, 24, 24)
    region = region_around(hole, 32, 0.5)
    square, small = shrink(image[region.inside], hole[region.inside], 32)
    assert (square == image).all()
    assert (small == hole).all()
    painted = noise(32, 32, seed=1)
    result = paste(image, region, hole, painted)
    assert (result[hole] == painted[hole]).all()
    assert (result[~hole] == image[~hole]).all()


def random_cases():
    rng = np.random.default_rng(3)
    for _ in range(200):
        height, width = rng.integers(1, 150, 2)
        hole = rng.random((height, width)) < 0.05 if rng.random() < 0.3 else np.zeros((height, width), bool)
        top, left = rng.integers(0, height), rng.integers(0, width)
        hole[top : top + rng.integers(1, 60), left : left + rng.integers(1, 60)] = True
        yield noise(height, width, seed=int(rng.integers(1000))), hole


def test_what_was_in_the_hole_leaves_no_trace():
    for image, hole in random_cases():
        other = image.copy()
        other[hole] = 255 - other[hole]
        region = region_around(hole, 32, 0.5)
        first, second = (shrink(each[region.inside], hole[region.inside], 32) for each in (image, other))
        assert (first[1] == second[1]).all()
        assert (first[0][~first[1]] == second[0][~second[1]]).all()


def test_nothing_but_the_hole_changes():
    painted = np.full((32, 32, 3), 77, np.uint8)
    for image, hole in random_cases():
        result = paste(image, region_around(hole, 32, 0.5), hole, painted)
        assert (result[~hole] == image[~hole]).all()
        assert (result[hole] == 77).all()


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_grey_and_alpha_stay_what_they_are(channels):
    image, hole = noise(60, 80, channels), hole_of(60, 80, 20, 20, 40, 50)
    result = paste(image, region_around(hole, 32, 0.5), hole, np.full((32, 32, 3), 200, np.uint8))
    assert result.shape == image.shape
    colours = channels - (channels + 1) % 2
    assert (result[hole][:, :colours] == 200).all()
    assert (result[..., colours:] == image[..., colours:]).all()


def test_feather_fades_over_its_width_and_no_further():
    image, hole = np.zeros((100, 100, 3), np.uint8), hole_of(100, 100, 40, 40, 60, 60)
    result = paste(image, region_around(hole, 32, 0.5, 8), hole, np.full((32, 32, 3), 240, np.uint8), 8)
    row = result[50, :, 0].astype(int)
    assert (row[40:60] == 240).all()
    assert row[60:68].tolist() == [210, 180, 150, 120, 90, 60, 30, 0]
    assert (row[:32] == 0).all()
    assert (row[68:] == 0).all()


def test_one_row_of_pixels():
    image, hole = noise(1, 90), hole_of(1, 90, 0, 40, 1, 50)
    region = region_around(hole, 32, 0.5)
    square, small = shrink(image[region.inside], hole[region.inside], 32)
    assert square.shape == (32, 32, 3)
    assert not small.all()
    assert paste(image, region, hole, square).shape == image.shape


# --- models of central holes ------------------------------------------------------------------------------------


def seen(image, hole, share, feather=0):
    region = central_region(hole, 32, share, feather)
    return central_view(image[region.inside], hole[region.inside], region, 32, share)


@pytest.mark.parametrize("share", [0.5, 0.75])
def test_a_model_of_central_holes_is_given_no_other(share):
    """The painted part covers all of the hole: no pixel outside the model's hole has a part of the image's hole."""
    for image, hole in random_cases():
        if hole.all():  # which is refused before
            continue
        square, small = seen(image, hole, share)
        assert (small == central_hole(32, share)).all()
        other = image.copy()
        other[hole] = 255 - other[hole]
        assert (square[~small] == seen(other, hole, share)[0][~small]).all()


def test_the_central_hole_itself_is_not_resized():
    image, hole = noise(32, 32), central_hole(32, 0.5)
    region = central_region(hole, 32, 0.5)
    assert (box(region), region.outside) == (((0, 32), (0, 32)), ((0, 0), (0, 0)))
    assert (seen(image, hole, 0.5)[0] == image).all()


def test_a_region_that_leaves_the_image():
    """A hole in the corner is in the middle of the model's view, and beyond the image is its mirror image."""
    image, hole = noise(100, 100), hole_of(100, 100, 0, 70, 20, 100)
    region = central_region(hole, 32, 0.5)
    assert region.size[0] == region.size[1] > 60
    assert region.outside[0][0] > 0
    assert region.outside[1][1] > 0
    painted = np.full((32, 32, 3), 77, np.uint8)
    result = paste(image, region, hole, painted)
    assert (result[hole] == 77).all()
    assert (result[~hole] == image[~hole]).all()


def test_the_filling_lies_where_it_was_seen():
    """Painted pixels return to their position in the image, padded or not."""
    for top, left in ((40, 40), (0, 5), (75, 80)):
        image, hole = np.zeros((120, 120, 3), np.uint8), hole_of(120, 120, top, left, top + 40, left + 40)
        region = central_region(hole, 32, 0.5)
        ramp = np.zeros((32, 32, 3), np.uint8)
        ramp[..., 0], ramp[..., 1] = np.meshgrid(np.arange(32) * 4, np.arange(32) * 4)
        filled = paste(image, region, hole, ramp)[hole].reshape(40, 40, 3).astype(int)
        scale = region.size[0] / 32
        middle = filled[20, 20, :2] / 4
        assert middle == pytest.approx([16, 16], abs=1)
        assert (np.diff(filled[20, :, 0]) >= 0).all()
        assert filled[20, 39, 0] - filled[20, 0, 0] == pytest.approx(4 * 39 / scale, abs=4)


def test_feather_is_in_the_region():
    hole = hole_of(100, 100, 40, 40, 60, 60)
    region = central_region(hole, 32, 0.75, 20)
    rows, columns = region.inside
    assert rows.start <= 20
    assert rows.stop >= 80
    assert columns.start <= 20
    assert columns.stop >= 80
