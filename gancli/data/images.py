"""Pictures from files: decoding of whatever people have to upright RGB, crop to the box, stored size."""

from __future__ import annotations

import io
import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from gancli.data.sample import BoundingBox
from gancli.data.shards import Codec
from gancli.errors import DataError

CROP_RULE = (
    "square of half side int(0.75 max(w, h)) around the centre of the bounding box, clipped to the picture, "
    "where there is a box; then the shorter side to int(76/64 image_size), Pillow bilinear"
)
JPEG_QUALITY = 95  # without chroma subsampling
LONGEST = 16  # times as long as wide: beyond that, one picture would take the memory of a shard

Rendered = tuple[NDArray[np.uint8], tuple[int, int]]  # the stored bytes, (H, W)


class UnusableImage(Exception):
    """An image cannot be used; the text is the reason without the path, which may differ between machines."""


def load_image(path: Path) -> Image.Image:
    """Decode a picture to upright RGB.

    The EXIF orientation is applied (boxes count in the upright picture), transparency is laid over white,
    16-bit grey becomes 8-bit, of an animation the first frame is taken.

    Raises:
        DataError: The file is missing, no picture, cut short, too large or of a mode without defined range.
    """
    try:
        return _load(path)
    except UnusableImage as error:
        raise DataError(f"{path}: {error}") from None


def _load(path: Path) -> Image.Image:
    with opened(path) as file:
        image = ImageOps.exif_transpose(file)
    return to_rgb(eight_bit(image, path.name))


@contextmanager
def opened(path: Path) -> Iterator[Image.Image]:
    """A picture file while it is open; what Pillow says of a broken one, at whatever point, becomes a reason.

    Raises:
        UnusableImage: The file is missing, no picture, cut short or too large.
    """
    try:
        with Image.open(path) as file:
            yield file
    except FileNotFoundError:
        raise UnusableImage(f"image file {path.name} is missing") from None
    except Image.UnidentifiedImageError:
        raise UnusableImage(f"{path.name} is not a picture in a known format") from None
    except Image.DecompressionBombError as error:
        raise UnusableImage(f"{path.name} is too large ({error})") from None
    except (
        OSError,
        SyntaxError,
        ValueError,
        EOFError,
    ) as error:  # Pillow raises all of these on broken files
        reason = getattr(error, "strerror", None) or str(error)
        raise UnusableImage(f"{path.name} cannot be decoded ({reason})") from None


def eight_bit(image: Image.Image, name: str) -> Image.Image:
    """A picture with 8 bits a channel: of 16-bit grey the upper ones.

    Raises:
        UnusableImage: Its pixels have 32 bits and no defined range; the reason calls it `name`.
    """
    if image.mode.startswith("I;16"):
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if image.mode in ("I", "F"):
        raise UnusableImage(f"{name} has 32-bit pixels of unknown range; save it with 8 bits a channel")
    return image


def to_rgb(image: Image.Image) -> Image.Image:
    """A picture of any mode with 8 bits a channel as RGB; what is transparent is laid over white."""
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert("RGB")


def crop_to_box(image: Image.Image, box: BoundingBox) -> Image.Image:
    """The square of half side int(0.75 max(w, h)) around the box's centre, clipped to the picture.

    The crop of StackGAN's and AttnGAN's public code (get_imgs): the object takes about two thirds of the
    side. Clipped crops are not square.

    Raises:
        UnusableImage: The box has no area or lies outside the picture, or nothing is left after rounding.
    """
    numbers = f"({box.x:g}, {box.y:g}, {box.width:g}, {box.height:g})"
    if not (
        all(map(math.isfinite, (box.x, box.y))) and 0 < box.width < math.inf and 0 < box.height < math.inf
    ):
        raise UnusableImage(f"bounding box {numbers} has no area")
    x, y, width, height = int(box.x), int(box.y), int(box.width), int(box.height)
    if x >= image.width or y >= image.height or x + width <= 0 or y + height <= 0:
        raise UnusableImage(
            f"bounding box {numbers} lies outside the picture of {image.width} x {image.height} pixels"
        )
    half = int(max(width, height) * 0.75)
    centre_x, centre_y = int((2 * x + width) / 2), int((2 * y + height) / 2)
    left, top = max(0, centre_x - half), max(0, centre_y - half)
    right, bottom = min(image.width, centre_x + half), min(image.height, centre_y + half)
    if right - left < 2 or bottom - top < 2:
        raise UnusableImage(f"bounding box {numbers} leaves less than 2 pixels on a side")
    return image.crop((left, top, right, bottom))


def render(path: Path, box: BoundingBox | None, side: int, codec: Codec) -> Rendered:
    """Decode a picture, crop it to the box and resize its shorter side.

    Returns:
        The bytes as they are stored (H * W * 3 pixels, or a JPEG file) and (H, W).

    Raises:
        UnusableImage: It cannot be decoded, or too little of it is left.
    """
    image = _load(path)
    size = f"{path.name} is {image.width} x {image.height} pixels"
    if min(image.size) < 2:
        raise UnusableImage(f"{size}, less than 2 on a side")
    if box is not None:
        image = crop_to_box(image, box)
    short, long = sorted(image.size)
    if long > LONGEST * short:
        raise UnusableImage(f"{size}, {long} x {short} of which are used: more than {LONGEST} to 1")
    long = int(side * long / short)
    width, height = (side, long) if image.width <= image.height else (long, side)
    image = image.resize((width, height), Image.Resampling.BILINEAR)
    if codec == "raw":
        return np.asarray(image).reshape(-1), (height, width)
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=JPEG_QUALITY, subsampling=0)
    return np.frombuffer(buffer.getvalue(), np.uint8), (height, width)
