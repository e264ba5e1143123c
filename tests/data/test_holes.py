"""Holes are True and white in files, drawn ones cover the share asked for, and none is lost on the way."""

from __future__ import annotations

import hashlib
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw
from scipy import ndimage

from gancli.data.holes import (
    Hole,
    Holes,
    bounding_box,
    central_hole,
    check_hole,
    feather_weights,
    grow_hole,
    holes_from_folder,
    irregular_hole,
    polarity_warning,
    preview,
    read_hole,
    resize_hole,
)
from gancli.errors import DataError, UsageError

SIDE = 16


def some_hole() -> Hole:
    """Return an L that touches the border, so that turning and mirroring change it."""
    hole = np.zeros((SIDE, SIDE + 4), np.bool_)
    hole[2:9, 0:5] = True
    hole[6:9, 5:12] = True
    return hole


def as_image(hole: Hole) -> Image.Image:
    return Image.fromarray(hole.astype(np.uint8) * 255)


def save(image: Image.Image, path: Path, **options: object) -> Path:
    image.save(path, **options)
    return path


def short_hash(hole: Hole) -> str:
    return hashlib.sha256(np.packbits(hole).tobytes()).hexdigest()[:16]


# Drawn holes


@pytest.mark.parametrize(
    ("side", "share", "first", "end"),
    [(256, 0.5, 64, 192), (64, 0.25, 24, 40), (255, 0.5, 64, 191), (256, 0.999, 1, 255), (5, 0.01, 2, 3)],
)
def test_central_hole(side: int, share: float, first: int, end: int) -> None:
    hole = central_hole(side, share)
    assert hole.shape == (side, side)
    assert hole.dtype == np.bool_
    assert bounding_box(hole) == (first, first, end, end)
    assert hole[first:end, first:end].all()


@given(st.integers(3, 300), st.floats(0, 1, exclude_min=True, exclude_max=True))
def test_a_central_hole_is_central_and_as_large_as_asked(side: int, share: float) -> None:
    hole = central_hole(side, share)
    assert np.array_equal(hole, hole[::-1, ::-1])
    assert np.array_equal(hole, hole.T)
    assert 0 < hole.sum() < hole.size
    assert abs(hole[side // 2].sum() - side * share) <= 2


@pytest.mark.parametrize(("side", "share"), [(2, 0.5), (256, 0.0), (256, 1.0), (256, float("nan"))])
def test_no_central_hole(side: int, share: float) -> None:
    with pytest.raises(ValueError, match="no central hole"):
        central_hole(side, share)


@settings(max_examples=60)
@given(st.integers(2, 80), st.integers(0, 2**32), st.floats(0, 1), st.floats(0, 1))
def test_an_irregular_hole_covers_what_was_asked_for(side: int, seed: int, one: float, other: float) -> None:
    least, most = sorted((one, other))
    hole = irregular_hole(side, np.random.default_rng(seed), least=least, most=most)
    assert hole.shape == (side, side)
    assert hole.dtype == np.bool_
    assert 0 < hole.sum() < hole.size
    assert least - 1 / hole.size <= hole.mean() <= most + 1 / hole.size


@pytest.mark.parametrize(
    "bounds", [(0.01, 0.1), (0.1, 0.5), (0.3, 0.32), (0.3, 0.3), (0.5, 0.6), (0.95, 0.96)]
)
@pytest.mark.parametrize("seed", range(3))
def test_narrow_ranges_at_256(bounds: tuple[float, float], seed: int) -> None:
    hole = irregular_hole(256, np.random.default_rng(seed), least=bounds[0], most=bounds[1])
    assert bounds[0] - 1 / hole.size < hole.mean() < bounds[1] + 1 / hole.size


def test_irregular_holes_scale_with_the_image() -> None:
    """Small and large images have the same share to fill, in shapes of the same relative thickness."""
    shares, depths = [], []
    for side in (64, 256):
        rng = np.random.default_rng(0)
        holes = [irregular_hole(side, rng, least=0.1, most=0.9) for _ in range(60)]
        shares.append(np.mean(holes))
        depths.append(np.mean([ndimage.distance_transform_edt(hole).max() / side for hole in holes]))
    assert shares[0] == pytest.approx(shares[1], rel=0.15)
    assert depths[0] == pytest.approx(depths[1], rel=0.15)


def test_irregular_holes_differ() -> None:
    rng = np.random.default_rng(0)
    assert len({short_hash(irregular_hole(64, rng)) for _ in range(20)}) == 20


@pytest.mark.parametrize(("least", "most"), [(0.5, 0.4), (-0.1, 0.5), (0.1, 1.1), (float("nan"), 0.5)])
def test_no_irregular_hole(least: float, most: float) -> None:
    with pytest.raises(ValueError, match="no irregular hole"):
        irregular_hole(64, np.random.default_rng(0), least=least, most=most)


# Settings


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"kind": "round"}, "'round' is not a kind"),
        ({"center": 0}, "side is 0 of"),
        ({"center": 1.0}, r"side is 1\.0"),
        ({"center": float("nan")}, "side is nan"),
        ({"least": 0.5, "most": 0.4}, r"0\.5 to 0\.4"),
        ({"least": -0.1}, r"-0\.1 to 0\.5"),
        ({"least": 0, "most": 0}, "0 to 0"),
        ({"most": 1.0}, r"0\.1 to 1\.0"),
        ({"kind": "folder"}, "'folder' with 0 mask files"),
        ({"files": (Path("a.png"),)}, "'center' with 1 mask files"),
    ],
)
def test_nonsense_is_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Holes(**values)


def test_a_mix_draws_both() -> None:
    mix = Holes("mix")
    central = central_hole(32)
    rng = np.random.default_rng(0)
    same = [np.array_equal(mix.draw(32, rng), central) for _ in range(60)]
    assert 15 < sum(same) < 45


def test_the_hole_of_an_image_is_its_own() -> None:
    holes = Holes("irregular")
    first = holes.for_image(64, 0, "bird")
    assert np.array_equal(first, Holes("irregular").for_image(64, 0, "bird"))
    assert not np.array_equal(first, holes.for_image(64, 0, "other bird"))
    assert not np.array_equal(first, holes.for_image(64, 1, "bird"))


@pytest.mark.parametrize(
    ("holes", "side", "expected"),
    [
        (Holes("irregular"), 256, "44de8f1178fdb282"),
        (Holes("irregular", least=0.3, most=0.3), 64, "20192044cc6c9716"),
        (Holes("mix"), 128, "e5308808d463474b"),
    ],
)
def test_evaluation_holes_are_the_same_ones_for_ever(holes: Holes, side: int, expected: str) -> None:
    """Otherwise scores of different versions of gancli, Pillow or NumPy could not be compared."""
    assert short_hash(holes.for_image(side, 0, "001.Black_footed_Albatross/a")) == expected


# Folders of masks


@pytest.fixture
def mask_folder(tmp_path: Path) -> Path:
    folder = tmp_path / "masks"
    (folder / "more").mkdir(parents=True)
    hole = some_hole()
    save(as_image(hole), folder / "b.PNG")
    save(as_image(hole[::-1]), folder / "a.bmp")
    save(as_image(hole[:, ::-1]), folder / "more" / "c.png")
    (folder / "readme.txt").write_text("masks")
    (folder / "._b.png").write_text("what macOS leaves")
    return folder


def test_a_folder_of_masks(mask_folder: Path) -> None:
    holes = holes_from_folder(mask_folder)
    assert [path.relative_to(mask_folder).as_posix() for path in holes.files] == [
        "a.bmp",
        "b.PNG",
        "more/c.png",
    ]
    expected = {short_hash(resize_hole(read_hole(path), 32, 32)) for path in holes.files}
    rng = np.random.default_rng(0)
    assert {short_hash(holes.draw(32, rng)) for _ in range(40)} == expected
    assert np.array_equal(
        holes_from_folder(mask_folder, inverted=True).for_image(32, 0, "key"), ~holes.for_image(32, 0, "key")
    )


def test_a_folder_is_known_by_its_files(mask_folder: Path, tmp_path: Path) -> None:
    settings = holes_from_folder(mask_folder).settings
    assert (settings.kind, settings.folder, settings.files, settings.inverted) == (
        "folder",
        "masks",
        3,
        False,
    )
    assert holes_from_folder(mask_folder, inverted=True).settings == replace(settings, inverted=True)
    copied = shutil.copytree(mask_folder, tmp_path / "elsewhere" / "masks")
    assert holes_from_folder(copied).settings == settings
    save(as_image(~some_hole()), copied / "a.bmp")
    assert holes_from_folder(copied).settings.sha256 != settings.sha256


def test_a_folder_without_masks(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="absent: is missing"):
        holes_from_folder(tmp_path / "absent")
    with pytest.raises(DataError, match="no file at all"):
        holes_from_folder(tmp_path)
    file = tmp_path / "list.txt"
    file.write_text("a.png")
    with pytest.raises(DataError, match=r"no mask files in it \(found 1 \.txt\)") as raised:
        holes_from_folder(tmp_path)
    assert ".png" in str(raised.value.hint)
    with pytest.raises(DataError, match=r"list\.txt: is a file"):
        holes_from_folder(file)


@pytest.mark.parametrize(("level", "message"), [(0, "no hole in it"), (255, "all of it is hole")])
def test_a_useless_file_is_named(tmp_path: Path, level: int, message: str) -> None:
    save(Image.new("L", (8, 8), level), tmp_path / "even.png")
    with pytest.raises(DataError, match=rf"even\.png: {message}"):
        holes_from_folder(tmp_path).for_image(32, 0, "key")


def test_a_mask_that_cannot_be_drawn_so_small_is_named(tmp_path: Path) -> None:
    board = np.indices((16, 16)).sum(axis=0) % 2 == 0
    save(as_image(board), tmp_path / "board.png")
    with pytest.raises(DataError, match=r"board\.png at 4 x 4 pixels: all of it is hole"):
        holes_from_folder(tmp_path).for_image(4, 0, "key")


# Mask files


@pytest.mark.parametrize("mode", ["1", "L", "RGB", "RGBA", "P", "LA"])
def test_modes(tmp_path: Path, mode: str) -> None:
    path = save(as_image(some_hole()).convert(mode), tmp_path / "mask.png")
    assert np.array_equal(read_hole(path), some_hole())
    assert np.array_equal(read_hole(path, inverted=True), ~some_hole())


def test_sixteen_bits(tmp_path: Path) -> None:
    deep = np.where(some_hole(), 0xFFFF, 300).astype(np.uint16)
    assert np.array_equal(read_hole(save(Image.fromarray(deep), tmp_path / "deep.png")), some_hole())


def test_the_threshold_is_half(tmp_path: Path) -> None:
    levels = np.array([[0, 100, 127, 128, 200, 255]], np.uint8)
    hole = read_hole(save(Image.fromarray(levels), tmp_path / "levels.png"))
    assert hole.tolist() == [[False, False, False, True, True, True]]


def test_jpeg_noise_and_soft_edges(tmp_path: Path) -> None:
    hole = np.kron(some_hole(), np.ones((7, 7), np.bool_))
    path = save(as_image(hole).convert("RGB"), tmp_path / "mask.jpg", quality=60)
    assert len(np.unique(np.asarray(Image.open(path)))) > 2
    assert np.array_equal(read_hole(path), hole)


def test_colours_count_by_luminance(tmp_path: Path) -> None:
    image = Image.new("RGB", (3, 1))
    for x, colour in enumerate(["yellow", "red", "blue"]):
        image.putpixel((x, 0), tuple(Image.new("RGB", (1, 1), colour).tobytes()))
    assert read_hole(save(image, tmp_path / "colours.png")).tolist() == [[True, False, False]]


@pytest.mark.parametrize("colour", ["black", "white", "red"])
def test_strokes_on_an_empty_layer(tmp_path: Path, colour: str) -> None:
    layer = Image.new("RGBA", (SIDE + 4, SIDE), (0, 0, 0, 0))
    layer.paste(colour, mask=as_image(some_hole()))
    assert np.array_equal(read_hole(save(layer, tmp_path / "layer.png")), some_hole())


def test_transparent_parts_of_a_mask_are_no_hole(tmp_path: Path) -> None:
    layer = as_image(some_hole()).convert("RGBA")
    ImageDraw.Draw(layer).rectangle((0, 0, 2, 15), fill=(255, 255, 255, 0))
    expected = some_hole()
    expected[:, :3] = False
    assert np.array_equal(read_hole(save(layer, tmp_path / "layer.png")), expected)


def test_an_empty_layer(tmp_path: Path) -> None:
    assert not read_hole(save(Image.new("RGBA", (4, 4)), tmp_path / "layer.png")).any()


def test_a_turned_mask_is_read_upright(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # rotate by 90 degrees to display
    path = save(as_image(some_hole()), tmp_path / "turned.png", exif=exif)
    assert np.array_equal(read_hole(path), np.rot90(some_hole(), -1))


def test_unreadable_masks(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"absent\.png is missing"):
        read_hole(tmp_path / "absent.png")
    path = save(as_image(central_hole(64)), tmp_path / "half.png")
    path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(DataError, match=r"half\.png"):
        read_hole(path)


def test_empty_and_full_holes_are_refused() -> None:
    hole = np.zeros((4, 4), np.bool_)
    with pytest.raises(DataError, match=r"m\.png: no hole in it, 0 %") as raised:
        check_hole(hole, "m.png")
    assert "--invert-mask" in str(raised.value.hint)
    with pytest.raises(DataError, match=r"m\.png: all of it is hole, 100 %"):
        check_hole(~hole, "m.png")
    hole[1, 2] = True
    check_hole(hole, "m.png")
    check_hole(~hole, "m.png")


def test_polarity() -> None:
    assert polarity_warning(central_hole(64), "m.png") is None
    assert polarity_warning(central_hole(64, 0.9), "m.png") is None
    sentence = polarity_warning(~central_hole(64), "m.png")
    assert sentence is not None
    assert sentence.startswith("m.png: 75% of the image is hole, and 100% of its border")
    assert "--invert-mask" in sentence
    for seed in range(20):
        hole = irregular_hole(64, np.random.default_rng(seed), least=0.1, most=0.6)
        assert polarity_warning(hole, "m.png") is None


def test_published_masks(shared_data: Path) -> None:
    """All of them have black holes. Those of one repository are named after the share that they cover."""
    files = [path for path in sorted((shared_data / "masks").rglob("*")) if path.is_file()]
    assert files
    holes = [read_hole(path, inverted=True) for path in files]
    for path, hole in zip(files, holes, strict=True):
        check_hole(hole, str(path))
        if path.parent.name == "mr0.5_0.6":
            assert 0.5 <= hole.mean() <= 0.6
        else:
            assert hole.mean() < 0.6
    assert [polarity_warning(hole, "m") for hole in holes] == [None] * len(holes)
    assert sum(polarity_warning(~hole, "m") is not None for hole in holes) > 0.7 * len(holes)


# Sizes


def test_resizing_takes_the_nearest_pixel() -> None:
    hole = some_hole()
    doubled = resize_hole(hole, 2 * hole.shape[0], 3 * hole.shape[1])
    assert np.array_equal(doubled, np.kron(hole, np.ones((2, 3), np.bool_)))
    assert np.array_equal(resize_hole(doubled, *hole.shape), hole)
    for height, width in ((7, 31), (5, 5), (40, 11)):
        nearest = as_image(hole).resize((width, height), Image.Resampling.NEAREST)
        assert np.array_equal(resize_hole(hole, height, width), np.asarray(nearest) > 0)


@given(st.data())
def test_a_hole_never_vanishes(data: st.DataObject) -> None:
    height, width, new_height, new_width = (data.draw(st.integers(1, 40)) for _ in range(4))
    hole = np.zeros((height, width), np.bool_)
    hole[data.draw(st.integers(0, height - 1)), data.draw(st.integers(0, width - 1))] = True
    resized = resize_hole(hole, new_height, new_width)
    assert resized.shape == (new_height, new_width)
    assert resized.any()
    if max(min(height, new_height), min(width, new_width)) > 1:  # else one pixel would have to be both
        assert not resize_hole(~hole, new_height, new_width).all()
    assert not resize_hole(np.zeros_like(hole), new_height, new_width).any()
    assert resize_hole(np.ones_like(hole), new_height, new_width).all()


def test_a_thin_line_becomes_a_line() -> None:
    hole = np.zeros((256, 256), np.bool_)
    hole[128] = True
    resized = resize_hole(hole, 32, 32)
    assert np.array_equal(np.flatnonzero(resized.any(axis=1)), [16])
    assert resized[16].all()


# Growing, feathering, boxes, preview


def slow_distances(hole: Hole) -> np.ndarray:
    """Return every pixel's distance to the nearest hole pixel, (H, W), by trying all."""
    points = np.argwhere(hole)
    grid = np.moveaxis(np.indices(hole.shape), 0, -1)[:, :, None]
    return np.sqrt(((grid - points) ** 2).sum(-1)).min(-1)


@pytest.mark.parametrize("pixels", [0, 1, 2, 3, 5, 40])
def test_growing_and_feathering(pixels: int) -> None:
    hole = some_hole()
    distances = slow_distances(hole)
    assert np.array_equal(grow_hole(hole, pixels), distances <= pixels)
    weights = feather_weights(hole, pixels)
    assert weights.dtype == np.float32
    expected = np.clip(1 - distances / pixels, 0, 1) if pixels else hole
    np.testing.assert_allclose(weights, expected, atol=1e-6)
    assert (weights[hole] == 1).all()


@pytest.mark.parametrize("pixels", [1, 30, 90])
def test_tiles_leave_no_seam(pixels: int) -> None:
    """The image is larger than a tile, with holes at the edges of tiles."""
    hole = np.zeros((700, 900), np.bool_)
    for row, column in ((255, 256), (10, 511), (512, 700), (699, 0), (359, 361)):
        hole[row, column] = True
    hole[300:650, 500:890] = True
    distances = ndimage.distance_transform_edt(~hole)
    assert np.array_equal(grow_hole(hole, pixels), distances <= pixels)
    np.testing.assert_allclose(
        feather_weights(hole, pixels), np.clip(1 - distances / pixels, 0, 1), atol=1e-6
    )


def test_no_hole_grows_into_none() -> None:
    nothing = np.zeros((20, 30), np.bool_)
    assert not grow_hole(nothing, 5).any()
    assert not feather_weights(nothing, 5).any()
    assert grow_hole(~nothing, 5).all()


def test_growing_leaves_the_argument_alone() -> None:
    hole = some_hole()
    for pixels in (0, 3):
        grow_hole(hole, pixels)[:] = True
        feather_weights(hole, pixels)[:] = 7
    assert np.array_equal(hole, some_hole())


def test_a_negative_distance() -> None:
    with pytest.raises(ValueError, match="-1"):
        grow_hole(some_hole(), -1)
    with pytest.raises(ValueError, match="-1"):
        feather_weights(some_hole(), -1)


def test_bounding_box() -> None:
    assert bounding_box(some_hole()) == (2, 0, 9, 12)
    with pytest.raises(ValueError, match="no hole"):
        bounding_box(np.zeros((4, 4), np.bool_))


def test_preview_shows_the_hole_and_keeps_the_rest() -> None:
    image = np.full((64, 64, 3), 100, np.uint8)
    hole = central_hole(64)
    shown = preview(image, hole)
    assert shown[32, 32].tolist() == [177, 50, 177]
    assert shown[15, 32].tolist() == [255, 255, 255]  # the line, just outside the hole
    assert (shown[:15] == 100).all()
    assert (image == 100).all()
    with pytest.raises(ValueError, match="64, 64, 3"):
        preview(image, central_hole(32))
