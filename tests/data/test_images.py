"""Images of every kind become upright RGB, crops follow AttnGAN's rule, and broken images are named."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from gancli.data.images import Crop, Frame, UnusableImage, crop_to_box, crop_window, cut, encode, load_image
from gancli.data.source import BoundingBox
from gancli.errors import DataError


def save(image: Image.Image, path: Path, **options: object) -> Path:
    image.save(path, **options)
    return path


def test_grey(tmp_path: Path) -> None:
    image = load_image(save(Image.new("L", (5, 4), 77), tmp_path / "grey.png"))
    assert image.mode == "RGB"
    assert image.size == (5, 4)
    assert image.getpixel((2, 2)) == (77, 77, 77)


def test_transparency_lies_over_white(tmp_path: Path) -> None:
    original = Image.new("RGBA", (4, 4), (255, 0, 0, 0))
    original.putpixel((1, 1), (255, 0, 0, 255))
    image = load_image(save(original, tmp_path / "alpha.png"))
    assert image.getpixel((0, 0)) == (255, 255, 255)
    assert image.getpixel((1, 1)) == (255, 0, 0)


def test_palette_with_transparent_colour(tmp_path: Path) -> None:
    original = Image.new("P", (4, 4), 0)
    original.putpalette([0, 0, 0, 0, 255, 0])
    original.putpixel((1, 1), 1)
    image = load_image(save(original, tmp_path / "palette.png", transparency=0))
    assert image.getpixel((0, 0)) == (255, 255, 255)
    assert image.getpixel((1, 1)) == (0, 255, 0)


def test_cmyk(tmp_path: Path) -> None:
    path = save(Image.new("CMYK", (8, 8), (0, 255, 255, 0)), tmp_path / "print.jpg", quality=95)
    red, green, blue = np.asarray(load_image(path))[4, 4]
    assert red > 240
    assert max(green, blue) < 15


def test_sixteen_bit_grey(tmp_path: Path) -> None:
    image = Image.fromarray(np.full((4, 4), 0x8000, np.uint16))
    assert load_image(save(image, tmp_path / "deep.png")).getpixel((0, 0)) == (128, 128, 128)


def test_exif_orientation(tmp_path: Path) -> None:
    image = Image.new("RGB", (8, 4))
    exif = Image.Exif()
    exif[0x0112] = 6  # rotate by 90 degrees to display
    assert load_image(save(image, tmp_path / "turned.jpg", exif=exif)).size == (4, 8)


def half(path: Path) -> Path:
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    return path


def noise(side: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (side, side, 3)).astype(np.uint8))


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp"])
def test_file_cut_in_half(tmp_path: Path, suffix: str) -> None:
    path = half(save(noise(32), tmp_path / f"half.{suffix}"))
    with pytest.raises(DataError, match=f"half.{suffix}.*cannot be decoded|not an image"):
        load_image(path)


def test_missing_and_foreign_files(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"absent\.jpg is missing"):
        load_image(tmp_path / "absent.jpg")
    (tmp_path / "text.jpg").write_text("no image")
    with pytest.raises(DataError, match=r"text\.jpg is not an image"):
        load_image(tmp_path / "text.jpg")
    with pytest.raises(DataError, match="cannot be decoded"):
        load_image(tmp_path)


def test_floating_point_pixels(tmp_path: Path) -> None:
    path = save(Image.fromarray(np.ones((4, 4), np.float32)), tmp_path / "float.tiff")
    with pytest.raises(DataError, match="32-bit"):
        load_image(path)


def test_decompression_bomb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save(Image.new("L", (100, 100)), tmp_path / "bomb.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(DataError, match="too large"):
        load_image(path)


@pytest.mark.parametrize(
    ("box", "size"),
    [
        (BoundingBox(40, 30, 20, 10), (30, 30)),  # half side int(0.75 * 20) around (50, 35)
        (BoundingBox(0, 0, 20, 20), (25, 25)),  # clipped at the corner
        (BoundingBox(90, 70, 40, 40), (20, 20)),  # runs over the edge, which happens in CUB
        (BoundingBox(-30, -30, 60, 60), (45, 45)),
        (BoundingBox(10.9, 10.9, 20.9, 20.9), (30, 30)),  # numbers are cut to integers, as AttnGAN does
        (BoundingBox(0, 0, 1000, 1000), (100, 80)),
    ],
)
def test_crop(box: BoundingBox, size: tuple[int, int]) -> None:
    assert crop_to_box(Image.new("RGB", (100, 80)), box).size == size


@pytest.mark.parametrize(
    ("box", "message"),
    [
        (BoundingBox(10, 10, 0, 20), "no area"),
        (BoundingBox(10, 10, 20, -1), "no area"),
        (BoundingBox(10, float("nan"), 20, 20), "no area"),
        (BoundingBox(10, 10, float("inf"), 20), "no area"),
        (BoundingBox(100, 10, 20, 20), "outside the image of 100 x 80"),
        (BoundingBox(-30, 10, 20, 20), "outside"),
        (BoundingBox(10, 10, 1, 1), "less than 2 pixels"),
    ],
)
def test_useless_box(box: BoundingBox, message: str) -> None:
    with pytest.raises(UnusableImage, match=message):
        crop_to_box(Image.new("RGB", (100, 80)), box)


@given(st.floats(), st.floats(), st.floats(), st.floats(), st.sampled_from(["stackgan", "ratio75"]))
def test_any_box_gives_a_image_or_a_reason(
    x: float, y: float, width: float, height: float, crop: Crop
) -> None:
    try:
        cropped = crop_to_box(Image.new("RGB", (30, 20)), BoundingBox(x, y, width, height), crop)
    except UnusableImage:
        return
    assert min(cropped.size) >= 2


@pytest.mark.parametrize(
    ("box", "window"),
    [
        (BoundingBox(40, 30, 24, 12), (36, 20, 68, 52)),  # side 24 / 0.75 around (52, 36)
        (BoundingBox(0, 0, 30, 30), (0, 0, 40, 40)),  # shifted into the image
        (BoundingBox(80, 60, 30, 30), (73, 53, 100, 80)),  # what lies outside is no part of the bird
        (BoundingBox(10, 0, 75, 80), (-6, -14, 101, 93)),  # larger than the image
        (BoundingBox(0, 0, 1000, 1000), (-16, -26, 117, 107)),
    ],
)
def test_three_quarters_crop(box: BoundingBox, window: tuple[int, int, int, int]) -> None:
    assert crop_window((100, 80), box, "ratio75") == window
    cropped = crop_to_box(Image.new("RGB", (100, 80)), box, "ratio75")
    assert cropped.width == cropped.height


def test_a_image_is_mirrored_beyond_its_edges() -> None:
    image = noise(6)
    pixels = np.asarray(image)
    grown = np.asarray(cut(image, (-4, -2, 9, 7)))
    assert np.array_equal(grown, np.pad(pixels, ((2, 1), (4, 3), (0, 0)), mode="symmetric"))
    assert np.array_equal(np.asarray(cut(image, (1, 2, 5, 6))), pixels[2:6, 1:5])


def stored(path: Path, side: int) -> Image.Image:
    """Return the part of an image without a box that a shard holds."""
    image = load_image(path)
    return Frame.of(path.name, image.size, None, side, "stackgan").apply(image)


@pytest.mark.parametrize(
    ("size", "shape"), [((90, 60), (38, 57)), ((60, 90), (57, 38)), ((10, 10), (38, 38))]
)
def test_shorter_side_is_as_asked(tmp_path: Path, size: tuple[int, int], shape: tuple[int, int]) -> None:
    path = save(noise(max(size)).crop((0, 0, *size)), tmp_path / "image.png")
    image = stored(path, 38)
    assert (image.height, image.width) == shape
    expected = load_image(path).resize(shape[::-1], Image.Resampling.BILINEAR)
    assert np.array_equal(encode(image, "raw").reshape(*shape, 3), np.asarray(expected))


def test_jpeg_codec_is_close_to_raw(tmp_path: Path) -> None:
    image = stored(save(noise(8).resize((80, 60), Image.Resampling.BICUBIC), tmp_path / "image.png"), 38)
    (tmp_path / "stored.jpg").write_bytes(encode(image, "jpeg").tobytes())
    decoded = np.asarray(Image.open(tmp_path / "stored.jpg")).astype(float)
    assert decoded.shape == np.asarray(image).shape
    assert np.abs(decoded.reshape(-1) - encode(image, "raw")).mean() < 3


@pytest.mark.parametrize(
    ("size", "message"), [((1, 50), "less than 2 on a side"), ((2, 50), "more than 16 to 1")]
)
def test_useless_shape(tmp_path: Path, size: tuple[int, int], message: str) -> None:
    with pytest.raises(UnusableImage, match=message):
        stored(save(Image.new("RGB", size), tmp_path / "thin.png"), 38)
