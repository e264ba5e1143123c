"""Images from files: decoded to upright RGB, cropped around their object and resized for storage."""

from __future__ import annotations

import io
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from gancli.data.manifest import Codec
from gancli.data.source import BoundingBox
from gancli.errors import DataError

Crop = Literal["stackgan", "ratio75"]
CROP_RULES: Mapping[Crop, str] = {"stackgan": "box 1.5×", "ratio75": "ratio75"}
"""The `crop_rule` in dataset.json of each crop; docs/data.md describes them."""
NO_CROP = "none"  # the `crop_rule` of a dataset without bounding boxes
OBJECT_SHARE = 0.75  # object's longer side over the side of the crop ratio75
JPEG_QUALITY = 95  # without chroma subsampling
LONGEST = 16  # largest aspect ratio: a longer image would take the memory of a shard

Window = tuple[int, int, int, int]  # left, top, right and bottom in pixels; may reach beyond the image


class UnusableImage(Exception):
    """An image cannot be used. The text is the reason without the path, which may differ between machines."""


def load_image(path: str | Path) -> Image.Image:
    """Decode an image to upright RGB.

    The EXIF orientation is applied, so boxes count in the upright image. Transparency is laid over white, 16-bit grey
    becomes 8-bit, and of an animation the first frame is taken.

    Raises:
        DataError: The file is missing, no image, cut short, too large or of an unsupported mode.
    """
    path = Path(path)
    try:
        return decode(path)
    except UnusableImage as error:
        raise DataError(f"{path}: {error}") from None


def decode(path: Path) -> Image.Image:
    """Decode an image like `load_image`, but raise the reason as `UnusableImage`, without the path."""
    with opened(path) as file:
        image = ImageOps.exif_transpose(file)
    return to_rgb(eight_bit(image, path.name))


@contextmanager
def opened(path: Path) -> Iterator[Image.Image]:
    """Open an image file. Any error that Pillow raises on a broken file while it is open becomes an `UnusableImage`."""
    try:
        with Image.open(path) as file:
            yield file
    except FileNotFoundError:
        raise UnusableImage(f"image file {path.name} is missing") from None
    except UnidentifiedImageError:
        raise UnusableImage(f"{path.name} is not an image in a known format") from None
    except Image.DecompressionBombError as error:
        raise UnusableImage(f"{path.name} is too large ({error})") from None
    except (OSError, SyntaxError, ValueError, EOFError) as error:  # all raised by Pillow on broken files
        reason = getattr(error, "strerror", None) or str(error)
        raise UnusableImage(f"{path.name} cannot be decoded ({reason})") from None


def eight_bit(image: Image.Image, name: str) -> Image.Image:
    """Reduce 16-bit grey to its upper 8 bits; `name` is that of the file, for the reason.

    Raises:
        UnusableImage: The pixels have 32 bits and no defined range.
    """
    if image.mode.startswith("I;16"):
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if image.mode in ("I", "F"):
        raise UnusableImage(f"{name} has 32-bit pixels of unknown range; save it with 8 bits a channel")
    return image


def to_rgb(image: Image.Image) -> Image.Image:
    """Convert an image with 8 bits per channel to RGB, with transparency laid over white."""
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert("RGB")


def crop_window(size: tuple[int, int], box: BoundingBox, crop: Crop = "stackgan") -> Window:
    """Return the window to cut out of an image around the box of its object.

    "stackgan" is the crop of StackGAN's and AttnGAN's public code (get_imgs). The object takes about two thirds of the
    side, and a window that is clipped to the image is not square. "ratio75" is the crop of the attribute GAN's paper.
    The object takes three quarters or more, and the window is always square, so it may reach beyond the image.

    Args:
        size: Width and height of the image.
        box: Bounding box of the object in pixels.
        crop: Crop rule.

    Raises:
        UnusableImage: The box has no area, lies outside the image, or leaves too few pixels.
    """
    numbers = f"({box.x:g}, {box.y:g}, {box.width:g}, {box.height:g})"
    finite = all(map(math.isfinite, (box.x, box.y, box.width, box.height)))
    if not finite or box.width <= 0 or box.height <= 0:
        raise UnusableImage(f"bounding box {numbers} has no area")
    x, y, width, height = int(box.x), int(box.y), int(box.width), int(box.height)
    if x >= size[0] or y >= size[1] or x + width <= 0 or y + height <= 0:
        raise UnusableImage(f"bounding box {numbers} lies outside the image of {size[0]} x {size[1]} pixels")
    if crop == "ratio75":
        x, width = _clipped(x, width, size[0])
        y, height = _clipped(y, height, size[1])
        side = round(max(width, height) / OBJECT_SHARE)
        left, right = _shifted(x + width / 2, side, size[0])
        top, bottom = _shifted(y + height / 2, side, size[1])
    else:
        half = int(max(width, height) * 0.75)
        centre_x, centre_y = int((2 * x + width) / 2), int((2 * y + height) / 2)
        left, top = max(0, centre_x - half), max(0, centre_y - half)
        right, bottom = min(size[0], centre_x + half), min(size[1], centre_y + half)
    if right - left < 2 or bottom - top < 2:
        raise UnusableImage(f"bounding box {numbers} leaves less than 2 pixels on a side")
    return left, top, right, bottom


def _clipped(first: int, length: int, end: int) -> tuple[int, int]:
    """Return first and length of the part of a stretch inside [0, end]."""
    return max(0, first), min(end, first + length) - max(0, first)


def _shifted(centre: float, side: int, length: int) -> tuple[int, int]:
    """Return a stretch around `centre` inside [0, length], or around all of it if the stretch is longer."""
    first = round(centre - side / 2)
    first = max(min(first, max(0, length - side)), min(0, length - side))
    return first, first + side


def cut(image: Image.Image, window: Window) -> Image.Image:
    """Cut a window out of an image, which is mirrored beyond its edges."""
    left, top, right, bottom = window
    if left >= 0 and top >= 0 and right <= image.width and bottom <= image.height:
        return image.crop(window)
    rows = _mirrored(np.arange(top, bottom), image.height)
    columns = _mirrored(np.arange(left, right), image.width)
    return Image.fromarray(np.asarray(image)[rows][:, columns])


def _mirrored(positions: NDArray[np.int64], length: int) -> NDArray[np.int64]:
    """Map positions on a line that is mirrored at both ends again and again to [0, length)."""
    folded = positions % (2 * length)
    return np.where(folded < length, folded, 2 * length - 1 - folded)


def crop_to_box(image: Image.Image, box: BoundingBox, crop: Crop = "stackgan") -> Image.Image:
    """Cut the window of `crop_window` out of an image."""
    return cut(image, crop_window(image.size, box, crop))


@dataclass(frozen=True)
class Frame:
    """Part of an image to store, and the size to store it at.

    Attributes:
        window: Window to cut out. None for the whole image.
        size: Width and height of the stored image.
    """

    window: Window | None
    size: tuple[int, int]

    @classmethod
    def of(cls, name: str, size: tuple[int, int], box: BoundingBox | None, side: int, crop: Crop) -> Frame:
        """Return the frame of an image.

        Args:
            box: Bounding box of its object. None keeps the whole image.
            side: Stored shorter side.

        Raises:
            UnusableImage: Too few pixels are left, or the part is too long and narrow.
        """
        said = f"{name} is {size[0]} x {size[1]} pixels"
        if min(size) < 2:
            raise UnusableImage(f"{said}, less than 2 on a side")
        window = None if box is None else crop_window(size, box, crop)
        width, height = size if window is None else (window[2] - window[0], window[3] - window[1])
        short, long = sorted((width, height))
        if long > LONGEST * short:
            raise UnusableImage(f"{said}, {long} x {short} of which are used: more than {LONGEST} to 1")
        long = int(side * long / short)
        return cls(window, (side, long) if width <= height else (long, side))

    def apply(self, image: Image.Image) -> Image.Image:
        """Cut and resize an image or its silhouette."""
        part = image if self.window is None else cut(image, self.window)
        return part.resize(self.size, Image.Resampling.BILINEAR)


def encode(image: Image.Image, codec: Codec) -> NDArray[np.uint8]:
    """Return the bytes to store: H * W * 3 pixels, or a JPEG file."""
    if codec == "raw":
        return np.asarray(image).reshape(-1)
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=JPEG_QUALITY, subsampling=0)
    return np.frombuffer(buffer.getvalue(), np.uint8)
