"""Silhouettes of birds, read from files of probabilities and checked for faults."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import IntFlag
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from gancli.data.images import UnusableImage, eight_bit, opened

LEAST_SHARE = 0.08  # share of the crop that the bird has to cover
MOST_SHARE = 0.80
LARGEST_PIECE = 0.95  # least share of the largest piece in the bird
MOST_BORDER = 0.02  # share of the crop's outermost pixels

_HALF = 128  # least grey level of a bird pixel


class Fault(IntFlag):
    """Faults of a silhouette; 0 for one that shapes may be learned from."""

    MISSING = 1
    EMPTY = 2
    SMALL = 4
    LARGE = 8
    PIECES = 16
    BORDER = 32
    UNLISTED = 64


REASONS: Mapping[Fault, str] = MappingProxyType(
    {
        Fault.MISSING: "there is no file of it",
        Fault.EMPTY: "it shows nothing",
        Fault.SMALL: f"the bird covers less than {LEAST_SHARE * 100:g} % of the crop",
        Fault.LARGE: f"the bird covers more than {MOST_SHARE * 100:g} % of the crop",
        Fault.PIECES: f"its largest piece is less than {LARGEST_PIECE * 100:g} % of the bird",
        Fault.BORDER: f"the bird covers more than {MOST_BORDER * 100:g} % of the crop's border",
        Fault.UNLISTED: "the list of good ones does not name it",
    }
)


def faults(probability: NDArray[np.uint8]) -> Fault:
    """Return the faults of the silhouette in a crop: EMPTY alone, or any of SMALL, LARGE, PIECES and BORDER.

    The bird is where its `probability` (H, W) uint8 is one half of 255 or more. Pixels that touch at a corner belong to
    one piece.
    """
    bird = probability >= _HALF
    area = np.count_nonzero(bird)
    if area == 0:
        return Fault.EMPTY
    found = Fault(0)
    if area < LEAST_SHARE * bird.size:
        found |= Fault.SMALL
    if area > MOST_SHARE * bird.size:
        found |= Fault.LARGE
    from skimage import measure  # imports scipy, half a second that other workers save

    label: Callable[[NDArray[np.bool_]], NDArray[np.int_]] = measure.label
    if np.bincount(label(bird)[bird]).max() < LARGEST_PIECE * area:
        found |= Fault.PIECES
    edge = np.ones_like(bird)
    edge[1:-1, 1:-1] = False
    if np.count_nonzero(bird & edge) > MOST_BORDER * np.count_nonzero(edge):
        found |= Fault.BORDER
    return found


def read_silhouette(path: str | Path, size: tuple[int, int]) -> NDArray[np.uint8]:
    """Read the probabilities (H, W) uint8 from an image file of any mode, such as those of CUB's segmentations.tgz.

    Several channels become their luminance, which is the channel itself where all are equal. Transparency counts only
    if nothing else varies. 16 bits become 8. If only 0 and 1 occur, 1 means certain. `size` is the width and height of
    the image that the silhouette belongs to, upright.

    Raises:
        UnusableImage: The file is missing or broken, or has pixels of unknown range or another size than its image.
    """
    path = Path(path)
    with opened(path) as file:
        upright = ImageOps.exif_transpose(file)
        if upright.size != size:
            raise UnusableImage(
                f"silhouette {path.name} is {upright.width} x {upright.height} pixels, "
                f"its image {size[0]} x {size[1]}"
            )
        if upright.mode.startswith("I;16"):
            values = np.asarray(upright)
            if values.max() == 1:
                return (values * 255).astype(np.uint8)
        image = eight_bit(upright, path.name)
        values = np.asarray(_one_channel(image))
    return values * np.uint8(255) if values.max() == 1 else values.copy()


def _one_channel(image: Image.Image) -> Image.Image:
    """Return mode L of an image with 8 bits a channel."""
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        colours = rgba.convert("RGB")
        low_high: Any = colours.getextrema()
        if all(low == high for low, high in low_high):
            alpha = rgba.getchannel("A")
            low, high = np.asarray(alpha).min(), np.asarray(alpha).max()
            if low != high:
                return alpha
        image = colours
    if image.mode in ("1", "L"):
        return image.convert("L")
    rgb = image.convert("RGB")
    red, green, blue = rgb.split()
    same = red.tobytes() == green.tobytes() == blue.tobytes()
    return red if same else rgb.convert("L")
