"""The region around a hole: found in an image of any size, shrunk to the model's square, and pasted back.

What the model sees depends on the holes that it was trained with. A model of central holes knows that one hole and no
other: with a hole two pixels wider it fails (docs/csfgan.md has the numbers). So it is always given a square around the
hole with its own central hole in it (`central_region`, `central_view`), whatever the shape of what is to be filled. A
model of holes of many shapes is given the hole itself (`region_around`, `shrink`). Nothing of the image outside the
region is seen or touched.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from PIL import Image
from scipy import ndimage

from gancli.data.holes import Hole, bounding_box, central_hole, feather_weights
from gancli.figures import Pixels
from gancli.inpainting.photo import like


@dataclass(frozen=True)
class Region:
    """A rectangle around a hole, of which a part may lie outside the image.

    Attributes:
        inside: Rows and columns of the image that are in it.
        outside: Of the rows, then of the columns: how many lie before the image, and how many behind it.
    """

    inside: tuple[slice, slice]
    outside: tuple[tuple[int, int], tuple[int, int]] = ((0, 0), (0, 0))

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the whole, in pixels."""
        (rows, columns), (tall, wide) = self.inside, self.outside
        return columns.stop - columns.start + sum(wide), rows.stop - rows.start + sum(tall)


# --- for models of central holes --------------------------------------------------------------------------------


def central_region(hole: Hole, side: int, share: float, feather: int = 0) -> Region:
    """The square around the hole's bounding box in which the central hole of training covers it.

    Resized to the model's side, no pixel outside that central hole has a part of the hole in it.

    Args:
        hole: (H, W), not empty.
        side: Of the model's square, in pixels.
        share: Side of the central hole over the image's in training.
        feather: Pixels outside the hole that are blended, which are in the square too.
    """
    top, left, bottom, right = bounding_box(hole)
    longest = max(bottom - top, right - left)
    first, _, last, _ = bounding_box(central_hole(side, share))
    length = side  # nothing is resized where that is enough
    if longest > last - first or longest + 2 * feather > side:
        # A pixel for the resizing filter, which reaches over half of one, and one for odd numbers
        covering = math.ceil(side * (longest + 1) / max(last - first - 1, 1))
        length = max(side, covering, longest + 2 * feather)

    def around(begin: int, end: int, extent: int) -> tuple[slice, tuple[int, int]]:
        start = (begin + end - length) // 2
        inside = slice(max(start, 0), min(start + length, extent))
        return inside, (inside.start - start, start + length - inside.stop)

    (rows, above_below), (columns, left_right) = (
        around(top, bottom, hole.shape[0]),
        around(left, right, hole.shape[1]),
    )
    return Region((rows, columns), (above_below, left_right))


def central_view(image: Pixels, hole: Hole, region: Region, side: int, share: float) -> tuple[Pixels, Hole]:
    """A region as a model of central holes sees it.

    Outside the image lies its mirror image, in which the hole has the colours of the known pixels next to it.

    Args:
        image: (h, w, 3), what of the image is in the region.
        hole: (h, w), likewise; not all of it.
        region: From `central_region`.
        side: S.
        share: As there.

    Returns:
        (S, S, 3), and the central hole (S, S).
    """
    if np.any(region.outside):
        nearest = ndimage.distance_transform_edt(hole, return_distances=False, return_indices=True)
        image = np.pad(image[tuple(nearest)], (*region.outside, (0, 0)), mode="symmetric")
    square = image
    if region.size != (side, side):
        square = np.asarray(Image.fromarray(image).resize((side, side), Image.Resampling.BILINEAR))
    return square, central_hole(side, share)


# --- for models of holes of many shapes -------------------------------------------------------------------------


def region_around(hole: Hole, side: int, share: float, feather: int = 0) -> Region:
    """The square around the hole's bounding box that the model is to see.

    The box's longer side takes `share` of the square's, which is at least the model's side, and large enough for what
    is blended around the hole. It is moved into the image, and clipped where it is larger: then it is no square.

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

    return Region((around(top, bottom, hole.shape[0]), around(left, right, hole.shape[1])))


def shrink(image: Pixels, hole: Hole, side: int) -> tuple[Pixels, Hole]:
    """A region and its hole as the model sees them; aspect ratio is not kept, as it is not in training.

    Every pixel is hole that anything in the hole has a part in, by the very filter that resizes the image: so what
    is in the hole leaves no trace around it.

    Args:
        image: (h, w, 3).
        hole: (h, w).
        side: S.

    Returns:
        (S, S, 3) and (S, S), by Pillow's antialiased bilinear filter. All of it may be hole where hole and image are
        finely mixed.
    """
    if image.shape[:2] == (side, side):
        return image, hole
    square = Image.fromarray(image).resize((side, side), Image.Resampling.BILINEAR)
    parts = Image.fromarray(hole.astype(np.float32)).resize((side, side), Image.Resampling.BILINEAR)
    return np.asarray(square), np.asarray(parts) > 0


# --- for all ----------------------------------------------------------------------------------------------------


def paste(pixels: Pixels, region: Region, hole: Hole, square: Pixels, feather: int = 0) -> Pixels:
    """The image with its hole filled.

    Args:
        pixels: (H, W, C) as in `Photo`; alpha stays as it is.
        region: What the square shows.
        hole: (H, W).
        square: (S, S, 3), filled, and around the hole what was known: it blends in where sizes differ.
        feather: Pixels outside the hole over which the filling fades out; 0 changes nothing outside the hole.

    Returns:
        (H, W, C), a new array; outside the hole and what is blended every pixel is as it was.
    """
    filled = square
    if region.size != square.shape[1::-1]:
        filled = np.asarray(Image.fromarray(square).resize(region.size, Image.Resampling.BICUBIC))
    (above, below), (left, right) = region.outside
    filled = filled[above : len(filled) - below, left : filled.shape[1] - right]
    filled = like(filled, pixels)
    result = pixels.copy()
    # views; alpha left out
    known, inside = result[region.inside][..., : filled.shape[2]], hole[region.inside]
    known[inside] = filled[inside]
    if feather:
        weights = feather_weights(inside, feather)
        edge = (weights > 0) & ~inside
        before, part = known[edge], weights[edge][:, None]
        known[edge] = np.rint(before + part * (filled[edge].astype(np.float32) - before)).astype(np.uint8)
    return result
