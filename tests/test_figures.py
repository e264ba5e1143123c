"""Figures: the rounding rule, the positions of images in a grid, labels inside their cells."""

import numpy as np
import pytest
import torch

from gancli.figures import (
    BACKGROUND,
    attention_figure,
    attention_in_hole,
    filling_figure,
    grid,
    heat_overlay,
    interpolation_figure,
    stages_figure,
    texts_figure,
    to_uint8,
    variants_figure,
)


def plain(side, level):
    return np.full((side, side, 3), level, np.uint8)


def test_images_are_rounded_and_clipped():
    values = torch.tensor([-2, -1, -0.5, 0, 1, 2, float("nan"), 2 / 255 - 1 - 1e-4])
    pixels = to_uint8(values.view(1, 1, 1, -1).expand(1, 3, 1, -1))
    assert pixels.shape == (1, 1, 8, 3)
    assert pixels[0, 0, :, 0].tolist() == [0, 0, 64, 128, 255, 255, 0, 1]


def test_every_level_survives_the_round_trip():
    levels = torch.arange(256.0)
    pixels = to_uint8((levels / 127.5 - 1).view(1, 1, 1, -1).expand(1, 3, 1, -1))
    assert pixels[0, 0, :, 2].tolist() == list(range(256))


@pytest.mark.parametrize("columns", [1, 2, 3, 10])
def test_grid_in_reading_order(columns):
    images = [plain(8, 10 * number) for number in range(5)]
    sheet = np.asarray(grid(images, columns, pad=3))
    columns = min(columns, 5)
    assert sheet.shape == (-(-5 // columns) * 11 + 3, columns * 11 + 3, 3)
    for number in range(5):
        row, column = divmod(number, columns)
        top, left = 3 + row * 11, 3 + column * 11
        assert (sheet[top : top + 8, left : left + 8] == 10 * number).all()
    assert (sheet[:3] == BACKGROUND).all()


def test_grid_of_a_tensor_is_square_by_default():
    assert grid(torch.zeros(9, 3, 4, 4), pad=0).size == (12, 12)
    assert grid(torch.zeros(7, 3, 4, 4), pad=0).size == (12, 12)


def test_smaller_images_are_centred():
    sheet = np.asarray(grid([plain(8, 0), plain(4, 0)], 2, pad=0))
    assert (sheet[2:6, 10:14] == 0).all()
    assert (sheet[:2, 8:] == BACKGROUND).all()


def test_labels_lie_below_and_do_not_change_the_images():
    label = "a bird with an unbelievablyextraordinarilylongwordthatfitsnowhere and " * 5
    labelled = grid([plain(64, 90)] * 4, 2, pad=2, labels=[label] * 4)
    without = grid([plain(64, 90)] * 4, 2, pad=2)
    assert labelled.width == without.width
    assert labelled.height > without.height
    pixels = np.asarray(labelled)
    assert (pixels[2:66, 2:66] == 90).all()
    assert (pixels[66:100, 2:66] != BACKGROUND).any()
    assert (pixels[:, -2:] == BACKGROUND).all()


def test_grid_refuses_what_it_cannot_draw():
    with pytest.raises(ValueError, match="at least one"):
        grid([])
    with pytest.raises(ValueError, match="1 labels for 2"):
        grid([plain(4, 0)] * 2, labels=["a"])


def test_stages_are_enlarged_to_one_size():
    images = [plain(16, 10), plain(32, 20), plain(64, 30)]
    figure = stages_figure(images, "a small bird", names=["first", "second", "third"])
    pixels = np.asarray(figure)
    assert figure.width == 3 * (128 + 6) + 6
    for level in (10, 20, 30):
        assert (pixels == level).all(axis=-1).sum() >= 128 * 128


def test_attention_is_brightest_where_it_is_strongest():
    maps = np.zeros((1, 8, 8), np.float32)
    maps[0, :4, :4] = 0.5
    bright = heat_overlay(plain(64, 128), maps[0] / 0.5).astype(int).sum(axis=-1)
    assert bright[:24, :24].min() > bright[40:, 40:].max() + 100


def test_attention_figure_has_a_row_per_stage_and_a_panel_per_word():
    images = [plain(side, 50) for side in (8, 16, 32)]
    maps = [np.full((5, side, side), 0.2, np.float32) for side in (8, 16)]  # two of five columns are padding
    figure = attention_figure(images, maps, ["small", "red", "bird"], "small red bird", size=64)
    assert figure.width == 4 * (64 + 4) + 4
    assert figure.height > 2 * 64


def test_one_stage_alone():
    figure = stages_figure([plain(64, 10)], "a bird", names=["Stage-I"])
    assert (np.asarray(figure) == 10).all(axis=-1).sum() >= 128 * 128


def coloured(side, row, column):
    """An image of a colour that no letter has."""
    return np.full((side, side, 3), (255, 10 * row, 10 * column), np.uint8)


def corner(figure, row, column):
    """Top and left of that image in a figure, and how many of its pixels show."""
    ys, xs = np.nonzero((np.asarray(figure) == coloured(1, row, column)[0, 0]).all(axis=-1))
    return ys.min(), xs.min(), len(ys)


def test_variants_lie_along_their_captions_row():
    rows = [[coloured(80, row, column) for column in range(3)] for row in range(2)]
    figure = variants_figure(rows, ["a red bird", "a blue bird"])
    assert figure.width == 3 * (80 + 2) + 2
    found = [[corner(figure, row, column) for column in range(3)] for row in range(2)]
    for row in range(2):
        assert [left for _, left, _ in found[row]] == [2, 84, 166]
        assert len({top for top, _, _ in found[row]}) == 1
        assert {count for _, _, count in found[row]} == {80 * 80}
    first, second = found[0][0][0], found[1][0][0]
    assert second > first + 80
    assert (np.asarray(figure)[:first] != BACKGROUND).any()  # the caption stands above its row


def test_an_interpolation_goes_from_left_to_right():
    rows = [[coloured(64, row, column) for column in range(4)] for row in range(2)]
    figure = interpolation_figure(rows, [0, 1 / 3, 2 / 3, 1], "a red bird", "a blue bird")
    assert figure.width == 4 * (64 + 2) + 2
    for row in range(2):
        assert [corner(figure, row, column)[1] for column in range(4)] == [2, 68, 134, 200]


def test_small_images_are_enlarged_on_sheets():
    figure = variants_figure([[plain(16, 90), plain(16, 91)]], ["a bird"])
    assert figure.width == 2 * (64 + 2) + 2


# --- filled images ----------------------------------------------------------------------------------------------


def hole_in(height, width, box):
    hole = np.zeros((height, width), bool)
    hole[box[0] : box[2], box[1] : box[3]] = True
    return hole


def test_texts_stand_beside_the_image_with_its_hole():
    image, hole = plain(64, 10), hole_in(64, 64, (16, 16, 48, 48))
    results = [np.where(hole[..., None], level, image).astype(np.uint8) for level in (100, 200)]
    sheet = np.asarray(texts_figure(image, hole, results, ["a bird", "another"], size=64))
    assert sheet.shape[1] == 3 * 64 + 4 * 6
    assert [int(sheet[38, 6 + number * 70 + 32, 0]) for number in range(3)] == [128, 100, 200]
    assert (image == 10).all(), "what is given is not changed"
    wide = texts_figure(
        plain(8, 10)[:4], hole_in(4, 8, (1, 1, 3, 3)), [plain(8, 0)[:4]] * 9, ["a"] * 9, size=64
    )
    assert wide.width == 6 * 70 + 6, "long rows are broken"


def test_words_are_ranked_by_what_they_weigh_in_the_hole():
    """Two places: the left one is the hole and heeds the second word, the right one the first."""
    attention = np.array([[[0.1, 0.9]], [[0.7, 0.05]], [[0.2, 0.05]]], np.float32).repeat(2, axis=1)
    hole = hole_in(8, 8, (0, 0, 8, 4))
    np.testing.assert_allclose(attention_in_hole(attention, hole), [0.1, 0.7, 0.2], rtol=1e-6)
    np.testing.assert_allclose(
        attention_in_hole(attention, hole_in(8, 8, (0, 0, 8, 6)))[0], 1.1 / 3, rtol=1e-6
    )
    figure = np.asarray(
        filling_figure(plain(8, 10), hole, attention, ["a", "red", "bird"], "a red bird", most=2)
    )
    assert figure.shape[1] == 3 * 128 + 4 * 4
    first = figure[-80:-60, 4 + 132 : 4 + 132 + 128]  # the panel of "red", bright in the hole
    assert first[:, :32].mean() > 2 * first[:, -32:].mean()


def test_a_word_that_counts_the_same_everywhere():
    figure = filling_figure(
        plain(8, 10), hole_in(8, 8, (2, 2, 6, 6)), np.ones((1, 2, 2), np.float32), ["bird"], "bird"
    )
    assert figure.width == 2 * 128 + 3 * 4
