"""Region around a hole: cut from an image of any size, resized for the model, and pasted back.

The region depends on the holes that the model was trained with. A model of central holes knows that one hole and no
other, and fails where a hole is two pixels wider (docs/csfgan.md has the numbers). So it always sees a square around
the hole with its own central hole in it (`central_region`, `central_view`), whatever the shape of the hole to fill. A
model of holes of many shapes sees the hole itself (`region_around`, `shrink`). Nothing outside the region is seen or
touched.
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
    """Rectangle around a hole, which may reach beyond the image.

    Attributes:
        inside: Rows and columns of the image that are in the rectangle.
        outside: Number of rows above and below the image, and of columns left and right of it.
    """

    inside: tuple[slice, slice]
    outside: tuple[tuple[int, int], tuple[int, int]] = ((0, 0), (0, 0))

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the whole rectangle, in pixels."""
        (rows, columns), (tall, wide) = self.inside, self.outside
        return columns.stop - columns.start + sum(wide), rows.stop - rows.start + sum(tall)


def central_region(hole: Hole, side: int, share: float, feather: int = 0) -> Region:
    """Return the square around a hole in which the central hole of training covers the hole.

    When the square is resized to the model's side, no pixel outside the central hole has a part of the hole in it.

    Args:
        hole: (H, W), not empty.
        side: Side of the model's images in pixels.
        share: Side of the central hole over the image's side in training.
        feather: Pixels outside the hole that are blended. The square holds them, too.
    """
    top, left, bottom, right = bounding_box(hole)
    longest = max(bottom - top, right - left)
    first, _, last, _ = bounding_box(central_hole(side, share))
    length = side  # needs no resizing
    if longest > last - first or longest + 2 * feather > side:
        # One pixel for the resizing filter, which reaches over half a pixel, and one for odd numbers
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
    """Return a region as a model of central holes sees it.

    Beyond the image lies its mirror image, in which the hole has the colours of the nearest known pixels.

    Args:
        image: Part of the image inside the region, (h, w, 3).
        hole: Hole in that part, (h, w), not full.
        region: Region from `central_region`.
        side: Side S of the model's images in pixels.
        share: Side of the central hole over the image's side in training.

    Returns:
        The square (S, S, 3) and the central hole (S, S).
    """
    if np.any(region.outside):
        nearest = ndimage.distance_transform_edt(hole, return_distances=False, return_indices=True)
        image = np.pad(image[tuple(nearest)], (*region.outside, (0, 0)), mode="symmetric")
    square = image
    if region.size != (side, side):
        square = np.asarray(Image.fromarray(image).resize((side, side), Image.Resampling.BILINEAR))
    return square, central_hole(side, share)


def region_around(hole: Hole, side: int, share: float, feather: int = 0) -> Region:
    """Return the square around a hole for a model of holes of many shapes.

    The longer side of the hole's bounding box takes `share` of the side of the square. The square is at least as large
    as the model's images and as the blended pixels need. It is moved into the image, and clipped if it is larger than
    the image; then it is no square.

    Args:
        hole: (H, W), not empty.
        side: Side of the model's images in pixels.
        share: Side of the box over the side of the square, in (0, 1).
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
    """Resize a region and its hole for the model. The aspect ratio is not kept, as in training.

    Every pixel that any of the hole has a part in becomes hole, by the same filter that resizes the image. So the
    content of the hole leaves no trace around it.

    Args:
        image: Region, (h, w, 3).
        hole: Hole in the region, (h, w).
        side: Side S of the model's images in pixels.

    Returns:
        The square (S, S, 3) and its hole (S, S), by Pillow's antialiased bilinear filter. The hole may be full if hole
        and image are finely mixed.
    """
    if image.shape[:2] == (side, side):
        return image, hole
    square = Image.fromarray(image).resize((side, side), Image.Resampling.BILINEAR)
    parts = Image.fromarray(hole.astype(np.float32)).resize((side, side), Image.Resampling.BILINEAR)
    return np.asarray(square), np.asarray(parts) > 0


def paste(pixels: Pixels, region: Region, hole: Hole, square: Pixels, feather: int = 0) -> Pixels:
    """Paste a filled square into the hole of an image.

    Args:
        pixels: Pixels of a `Photo`, (H, W, C). Alpha stays as it is.
        region: Region that the square shows.
        hole: (H, W).
        square: Filled region, (S, S, 3), with the known pixels around its hole, which blend in where sizes differ.
        feather: Pixels outside the hole over which the filling fades out. 0 changes nothing outside the hole.

    Returns:
        A new array (H, W, C). Outside the hole and the blended pixels, nothing has changed.
    """
    filled = square
    if region.size != square.shape[1::-1]:
        filled = np.asarray(Image.fromarray(square).resize(region.size, Image.Resampling.BICUBIC))
    (above, below), (left, right) = region.outside
    filled = filled[above : len(filled) - below, left : filled.shape[1] - right]
    filled = like(filled, pixels)
    result = pixels.copy()
    # Views without alpha
    known, inside = result[region.inside][..., : filled.shape[2]], hole[region.inside]
    known[inside] = filled[inside]
    if feather:
        weights = feather_weights(inside, feather)
        edge = (weights > 0) & ~inside
        before, part = known[edge], weights[edge][:, None]
        known[edge] = np.rint(before + part * (filled[edge].astype(np.float32) - before)).astype(np.uint8)
    return result
