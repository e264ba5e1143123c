"""The region around a hole: found in a picture of any size, shrunk to the model's square, and pasted back.

The model fills squares of one side, of which the hole took a share in training; the region is as much larger than the
hole. Nothing of the picture outside it is seen or touched.
"""

from __future__ import annotations

import math

import numpy as np
from PIL import Image

from gancli.data.masks import Hole, bounding_box, feather_weights
from gancli.inference.figures import Pixels
from gancli.inference.photo import like

Region = tuple[slice, slice]  # rows and columns


def region_around(hole: Hole, side: int, share: float, feather: int = 0) -> Region:
    """The square around the hole's bounding box that the model is to see.

    The box's longer side takes `share` of the square's, which is at least the model's side, and large enough for what
    is blended around the hole. It is moved into the picture, and clipped where it is larger: then it is no square.

    Args:
        hole: (H, W), not empty.
        side: Of the model's square, in pixels.
        share: In (0, 1).
        feather: Pixels outside the hole that are blended.
    """
    top, left, bottom, right = bounding_box(hole)
    longest = max(bottom - top, right - left)
    wanted = max(math.ceil(longest / share), side, longest + 2 * feather)

    def around(first: int, last: int, extent: int) -> slice:
        length = min(wanted, extent)
        start = min(max((first + last - length) // 2, 0), extent - length)
        return slice(start, start + length)

    return around(top, bottom, hole.shape[0]), around(left, right, hole.shape[1])


def shrink(picture: Pixels, hole: Hole, side: int) -> tuple[Pixels, Hole]:
    """A region and its hole as the model sees them; aspect ratio is not kept, as it is not in training.

    Every pixel is hole that anything in the hole has a part in, by the very filter that resizes the picture: so what
    is in the hole leaves no trace around it.

    Args:
        picture: (h, w, 3).
        hole: (h, w).
        side: S.

    Returns:
        (S, S, 3) and (S, S), by Pillow's antialiased bilinear filter. All of it may be hole where hole and picture are
        finely mixed.
    """
    if picture.shape[:2] == (side, side):
        return picture, hole
    square = Image.fromarray(picture).resize((side, side), Image.Resampling.BILINEAR)
    parts = Image.fromarray(hole.astype(np.float32)).resize((side, side), Image.Resampling.BILINEAR)
    return np.asarray(square), np.asarray(parts) > 0


def paste(pixels: Pixels, region: Region, hole: Hole, square: Pixels, feather: int = 0) -> Pixels:
    """The picture with its hole filled.

    Args:
        pixels: (H, W, C) as in `Photo`; alpha stays as it is.
        region: Where the square was taken from.
        hole: (H, W).
        square: (S, S, 3), filled, and around the hole what was known: it blends in where sizes differ.
        feather: Pixels outside the hole over which the filling fades out; 0 changes nothing outside the hole.

    Returns:
        (H, W, C), a new array; outside the hole and what is blended every pixel is as it was.
    """
    rows, columns = region
    size = (columns.stop - columns.start, rows.stop - rows.start)
    filled = square
    if size != square.shape[1::-1]:
        filled = np.asarray(Image.fromarray(square).resize(size, Image.Resampling.BICUBIC))
    filled = like(filled, pixels)
    result = pixels.copy()
    known, inside = result[region][..., : filled.shape[2]], hole[region]  # views; alpha left out
    known[inside] = filled[inside]
    if feather:
        weights = feather_weights(inside, feather)
        edge = (weights > 0) & ~inside
        before, part = known[edge], weights[edge][:, None]
        known[edge] = np.rint(before + part * (filled[edge].astype(np.float32) - before)).astype(np.uint8)
    return result
