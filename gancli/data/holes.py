"""Holes for inpainting: central, irregular or from files; read, checked, resized, grown, feathered and shown.

One convention everywhere: a hole is a boolean array, True where an image is to be filled. In a file that is
white, in a tensor 1.
"""

from __future__ import annotations

import hashlib
import math
import os
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageOps
from scipy import ndimage

from gancli.data.images import load_image
from gancli.data.sources.image_folder import IMAGE_SUFFIXES
from gancli.data.sources.reading import fingerprint, list_files
from gancli.errors import DataError, UsageError

Hole = NDArray[np.bool_]  # (H, W), True = hole
HoleKind = Literal["center", "irregular", "mix", "folder"]

_HALF = 128  # grey levels and alpha from here on count as white and as opaque

# Irregular holes; lengths in pixels of an image of 256
_REFERENCE = 256
_STROKES = (1, 8)
_VERTICES = (4, 12)
_STEP = (10.0, 60.0)
_WIDTH = (10.0, 40.0)
_TURN = math.radians(70)  # the most a stroke turns at a vertex, to either side
_RECTANGLES = (0, 2)
_RECTANGLE_SIDE = (16.0, 96.0)
_TRIES = 60  # shapes drawn before the share is brought about by thinning or thickening

_SAME_COLOUR = 16  # levels that one colour may vary by, as lossy WebP makes it
# A mask is suspected to be upside down from these shares of hole on. Real holes seldom run along the border; of
# the inpainting masks of two public repositories none is suspected the right way round, and most are inverted.
_SUSPECT_BORDER = 0.75
_SUSPECT_HOLE = 0.4

_POLARITY = (
    "A mask is white where the image is to be filled and black where it is kept; --invert-mask swaps the two."
)
# What may end a mask's name where it is not the image's own: photo_mask001.png
_MARK = re.compile(r"[_-]mask\d*$")
_TINT = np.array([255, 0, 255], np.uint8)


@dataclass(frozen=True)
class Holes:
    """Which holes are cut into images.

    Attributes:
        kind: "center", "irregular", "mix" (each as likely as the other) or "folder".
        center: Side of the central hole as a share of the image's side, in (0, 1).
        least: Smallest share of the image that irregular holes cover, in [0, most].
        most: Largest share of the image that irregular holes cover, in [least, 1).
        files: Images of holes; of kind "folder" only, one or more. See `holes_from_folder`.
        inverted: Black is the hole in the files.

    Raises:
        UsageError: A value is out of its range; the message holds it.
    """

    kind: HoleKind = "center"
    center: float = 0.5
    least: float = 0.1
    most: float = 0.5
    files: tuple[Path, ...] = ()
    inverted: bool = False

    def __post_init__(self) -> None:
        if self.kind not in get_args(HoleKind):
            raise UsageError(
                f"{self.kind!r} is not a kind of hole", f"There are {', '.join(get_args(HoleKind))}."
            )
        if not 0 < self.center < 1:
            raise UsageError(
                f"a central hole whose side is {self.center} of the image's side",
                "Name a share between 0 and 1, both excluded.",
            )
        if not (0 <= self.least <= self.most < 1 and self.most > 0):
            raise UsageError(
                f"irregular holes that cover from {self.least} to {self.most} of the image",
                "Name two shares, the smaller one first, 0 or more and less than 1.",
            )
        if (self.kind == "folder") != bool(self.files):
            raise UsageError(
                f"holes of kind {self.kind!r} with {len(self.files)} mask files",
                'Files belong to the kind "folder", which needs at least one.',
            )

    @cached_property
    def description(self) -> str:
        """The settings in words, the same for equal ones and for no others: `center 0.5`.

        Of a folder it holds a hash of the files' names and contents, and nothing of where the folder lies; the
        files are read for it once.

        Raises:
            DataError: A file of the folder cannot be read.
        """
        center = f"center {float(self.center)}"
        irregular = f"irregular {float(self.least)} to {float(self.most)}"
        if self.kind == "center":
            return center
        if self.kind == "irregular":
            return irregular
        if self.kind == "mix":
            return f"mix of {center} and {irregular}"
        files = [path.absolute() for path in self.files]
        root = Path(os.path.commonpath([path.parent for path in files]))
        listed = "".join(f"{digest} {name}\n" for name, digest in fingerprint(files, root).items())
        digest = hashlib.sha256(listed.encode()).hexdigest()[:12]
        inverted = ", inverted" if self.inverted else ""
        return f"folder {root.name}, {len(files)} files, sha256 {digest}{inverted}"

    def draw(self, side: int, rng: np.random.Generator) -> Hole:
        """One hole, from the numbers of `rng`.

        A file is stretched to the square, whatever its shape.

        Returns:
            (side, side), neither empty nor full.

        Raises:
            DataError: A file cannot be read, or is no hole or all hole.
            ValueError: The image has less than 3 pixels on a side.
        """
        kind = self.kind
        if kind == "mix":
            kind = "center" if rng.random() < 0.5 else "irregular"
        if kind == "center":
            return central_hole(side, self.center)
        if kind == "irregular":
            return irregular_hole(side, rng, least=self.least, most=self.most)
        path = self.files[rng.integers(len(self.files))]
        hole = read_hole(path, inverted=self.inverted)
        check_hole(hole, str(path))
        hole = resize_hole(hole, side, side)
        check_hole(hole, f"{path} at {side} x {side} pixels")
        return hole

    def for_image(self, side: int, seed: int, key: str) -> Hole:
        """The hole of one image in an evaluation: the same in every run, whatever is drawn before it.

        Args:
            side: Of the image, in pixels.
            seed: Another seed gives other holes.
            key: What identifies the image in its dataset.

        Returns:
            (side, side), neither empty nor full.

        Raises:
            DataError: As `draw`.
            ValueError: As `draw`.
        """
        number = int.from_bytes(hashlib.sha256(f"{seed}\0{key}".encode()).digest()[:16])
        return self.draw(side, np.random.default_rng(number))


def holes_from_folder(folder: Path, *, inverted: bool = False) -> Holes:
    """The holes that the images below a folder show, in the order of their names; nothing hidden.

    Args:
        folder: Images of any size, in it or in folders below it.
        inverted: Black is the hole.

    Raises:
        DataError: The folder is missing or holds no image; the message says what was looked for.
    """
    if not folder.is_dir():
        problem = "is a file" if folder.exists() else "is missing"
        raise DataError(f"{folder}: {problem}", "Name a folder of masks.")
    files = sorted(list_files(folder))
    masks = tuple(folder / path for path in files if path.suffix.lower() in IMAGE_SUFFIXES)
    if not masks:
        found = Counter(path.suffix.lower() or "without extension" for path in files)
        listed = ", ".join(f"{count} {suffix}" for suffix, count in found.most_common(5)) or "no file at all"
        raise DataError(
            f"{folder}: no masks in it (found {listed})",
            f"Looked for {', '.join(IMAGE_SUFFIXES)}, in any case, here and in the folders below.",
        )
    return Holes("folder", files=masks, inverted=inverted)


def central_hole(side: int, share: float = 0.5) -> Hole:
    """A square hole in the middle: of 256 pixels and 0.5, exactly rows and columns 64 to 191.

    The margin is the same on all four sides, so the hole's side is the share rounded to what allows that.

    Args:
        side: Of the image, at least 3 pixels.
        share: Side of the hole over side of the image, in (0, 1).

    Returns:
        (side, side), neither empty nor full.

    Raises:
        ValueError: The image is too small, or the share out of range.
    """
    if side < 3 or not 0 < share < 1:
        raise ValueError(f"no central hole of {share} of the side in an image of {side} pixels")
    margin = min(max(round(side * (1 - share) / 2), 1), (side - 1) // 2)
    hole = np.zeros((side, side), np.bool_)
    hole[margin : side - margin, margin : side - margin] = True
    return hole


def irregular_hole(side: int, rng: np.random.Generator, *, least: float = 0.1, most: float = 0.5) -> Hole:
    """Strokes of a round brush and rectangles, drawn at random until they cover a share in [least, most].

    The papers show such holes without saying how they were drawn. At first 0 to 2 rectangles and 1 to 8
    strokes are planned; a stroke has 4 to 12 vertices, 10 to 60 pixels apart in an image of 256, is 10 to 40
    wide, and turns by up to 70 degrees at each vertex. A shape that would cover more than `most` is left out,
    and strokes are added while less than `least` is covered. Where that does not lead into the range (a narrow
    one), the hole closest above it is made thinner, or the hole thicker, by exactly the pixels that it takes.

    Args:
        side: Of the image, at least 2 pixels.
        rng: Where the numbers come from.
        least: Smallest share of the image.
        most: Largest share of the image; may be equal to `least`.

    Returns:
        (side, side), neither empty nor full; the share is in the range as far as a whole number of pixels is.

    Raises:
        ValueError: The image is too small, or the range is none.
    """
    if side < 2 or not 0 <= least <= most <= 1:
        raise ValueError(f"no irregular hole of {least} to {most} of an image of {side} pixels")
    low, high = _pixel_range(side * side, least, most)
    rectangles = int(rng.integers(_RECTANGLES[0], _RECTANGLES[1] + 1))
    planned = rectangles + int(rng.integers(_STROKES[0], _STROKES[1] + 1))
    canvas, covered = Image.new("L", (side, side)), 0
    over, over_covered = canvas, side * side + 1  # the hole that covers the least of those above the range
    for number in range(_TRIES):
        if number >= planned and covered >= low:
            break
        candidate = canvas.copy()
        if number < rectangles:
            _draw_rectangle(candidate, rng)
        else:
            _draw_stroke(candidate, rng)
        candidate_covered = int(np.count_nonzero(_pixels(candidate)))
        if candidate_covered <= high:
            canvas, covered = candidate, candidate_covered
        elif candidate_covered < over_covered:
            over, over_covered = candidate, candidate_covered
    if covered >= low:
        return _pixels(canvas).copy()
    source = over if over_covered <= side * side else canvas
    return _with_pixels(_pixels(source), int(rng.integers(low, high + 1)))


def _pixel_range(total: int, least: float, most: float) -> tuple[int, int]:
    """The fewest and the most pixels of a hole that covers a share in [least, most] of `total` pixels."""
    low, high = max(1, math.ceil(least * total)), min(total - 1, math.floor(most * total))
    if low > high:  # no whole number lies between: the nearest one
        low = high = min(max(1, round((least + most) / 2 * total)), total - 1)
    return low, high


def _pixels(canvas: Image.Image) -> Hole:
    """The canvas, of bytes that are 0 or 1, as a hole; read-only."""
    return np.asarray(canvas).view(np.bool_)


def _draw_rectangle(canvas: Image.Image, rng: np.random.Generator) -> None:
    side = canvas.width
    width, height = np.rint(rng.uniform(*_RECTANGLE_SIDE, 2) * side / _REFERENCE).astype(int).clip(1)
    left, top = rng.integers(0, side - width + 1), rng.integers(0, side - height + 1)
    box = (int(left), int(top), int(left + width) - 1, int(top + height) - 1)
    ImageDraw.Draw(canvas).rectangle(box, fill=1)


def _draw_stroke(canvas: Image.Image, rng: np.random.Generator) -> None:
    """One stroke that starts inside the image; it may leave it."""
    side = canvas.width
    scale = side / _REFERENCE
    segments = int(rng.integers(_VERTICES[0], _VERTICES[1] + 1)) - 1
    headings = rng.uniform(0, 2 * math.pi) + np.cumsum(rng.uniform(-_TURN, _TURN, segments))
    steps = rng.uniform(*_STEP, segments) * scale
    radius = rng.uniform(*_WIDTH) * scale / 2
    start = rng.integers(0, side, 2)
    moves = np.cumsum(steps * np.stack([np.cos(headings), np.sin(headings)]), axis=1)  # (2, segments)
    # Whole pixels: the last bit of a cosine differs between processors, and the hole must not
    vertices = np.column_stack([start, start[:, None] + np.rint(moves).astype(int)]).T.tolist()
    draw = ImageDraw.Draw(canvas)
    draw.line([(x, y) for x, y in vertices], fill=1, width=max(1, round(2 * radius)))
    for x, y in vertices:  # a round brush: neither gaps at the joints nor square ends
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=1)


def _with_pixels(hole: Hole, count: int) -> Hole:
    """The hole made thinner or thicker along its edge until it has `count` pixels exactly."""
    depth = ndimage.distance_transform_edt(hole) - ndimage.distance_transform_edt(~hole)
    changed = np.zeros(hole.size, np.bool_)
    changed[np.argsort(-depth, axis=None, kind="stable")[:count]] = True
    return changed.reshape(hole.shape)


def image_name(path: PurePosixPath) -> str:
    """What images, masks and originals that belong together share: the path without ending, in lower case."""
    return path.with_suffix("").as_posix().casefold()


def unmarked(path: PurePosixPath) -> str:
    """The name of the image whose mask a file is where it is marked so, as photo_mask001.png; else its own."""
    return _MARK.sub("", image_name(path))


def masks_by_image(masks: Iterable[PurePosixPath]) -> dict[str, list[PurePosixPath]]:
    """The masks for each name of an image: those that are marked as its masks, else those of that very name.

    Args:
        masks: Paths below a folder.

    Returns:
        By `image_name`.
    """
    named: dict[str, list[PurePosixPath]] = defaultdict(list)
    marked: dict[str, list[PurePosixPath]] = defaultdict(list)
    for path in sorted(masks):
        named[image_name(path)].append(path)
        if (bare := unmarked(path)) != image_name(path):
            marked[bare].append(path)
    return {**named, **marked}


def read_hole(path: Path, *, inverted: bool = False) -> Hole:
    """The hole that a mask file shows, of any mode and size; it may be empty or full.

    White is the hole, from half of full brightness on: colours count by their luminance, blurred edges and
    JPEG's noise are cut at the half. Where parts are transparent, what is opaque is the hole if all of it has one
    colour (strokes painted on an empty layer, whatever the colour); else white is, and what is transparent is
    not.

    Args:
        path: An image file.
        inverted: Swaps hole and not hole.

    Returns:
        (H, W), upright.

    Raises:
        DataError: The file is missing, no image, cut short, too large or of a mode without defined range.
    """
    hole = np.asarray(load_image(path).convert("L")) >= _HALF
    with Image.open(path) as file:
        layered = file.has_transparency_data and not file.mode.startswith("I;16")
        rgba = np.asarray(ImageOps.exif_transpose(file).convert("RGBA")) if layered else None
    if rgba is not None:
        opaque = rgba[..., 3] >= _HALF
        if not opaque.all():
            colours = rgba[opaque, :3]
            flat = len(colours) > 0 and np.ptp(colours, axis=0).max() <= _SAME_COLOUR
            hole = opaque if flat else hole & opaque
    return ~hole if inverted else hole


def check_hole(hole: Hole, name: str) -> None:
    """Refuses a hole with nothing to fill, and one with nothing to start from.

    Args:
        hole: (H, W).
        name: The file, for the message.

    Raises:
        DataError: No pixel is hole, or all are.
    """
    share = np.count_nonzero(hole) / hole.size
    if share == 0:
        raise DataError(f"{name}: no hole in it, 0 % of the image is to be filled", _POLARITY)
    if share == 1:
        raise DataError(f"{name}: all of it is hole, 100 % of the image is to be filled", _POLARITY)


def polarity_warning(hole: Hole, name: str) -> str | None:
    """A sentence to warn with where hole and not hole look swapped, else None.

    They do where at least 40 % of the image is hole, and at least 75 % of its outermost pixels. It is a guess:
    an image that is to be continued outwards has such a hole, too.

    Args:
        hole: (H, W).
        name: The file, for the sentence.
    """
    border = np.concatenate([hole[0], hole[-1], hole[1:-1, 0], hole[1:-1, -1]])
    share, border_share = np.count_nonzero(hole) / hole.size, np.count_nonzero(border) / border.size
    if share < _SUSPECT_HOLE or border_share < _SUSPECT_BORDER:
        return None
    return (
        f"{name}: {share:.0%} of the image is hole, and {border_share:.0%} of its border: "
        f"the mask may be the wrong way round. {_POLARITY}"
    )


def resize_hole(hole: Hole, height: int, width: int) -> Hole:
    """The hole at another size, by the nearest pixel.

    Where that would leave no hole of one that there was, every pixel becomes hole that any of it falls on; where
    it would leave nothing but hole, every pixel is kept that anything kept falls on. So neither vanishes, unless
    the two are so finely mixed that every new pixel holds some of both.

    Args:
        hole: (H, W).
        height: New H, at least 1.
        width: New W, at least 1.

    Returns:
        (height, width).
    """
    rows, columns = _centres(hole.shape[0], height), _centres(hole.shape[1], width)
    resized = hole[rows[:, None], columns]
    if not resized.any():
        return _touched(hole, height, width)
    if resized.all():
        return ~_touched(~hole, height, width)
    return resized


def _centres(old: int, new: int) -> NDArray[np.int64]:
    """(new,): the old pixel that each new one's centre lies in."""
    return (2 * np.arange(new) + 1) * old // (2 * new)


def _touched(hole: Hole, height: int, width: int) -> Hole:
    """(height, width): the new pixels that any hole falls on, each old pixel falling on one or more."""
    rows, columns = (
        np.arange(new) * old // new for old, new in zip(hole.shape, (height, width), strict=True)
    )
    touched: Hole = np.logical_or.reduceat(np.logical_or.reduceat(hole, rows, axis=0), columns, axis=1)
    return touched


def grow_hole(hole: Hole, pixels: int) -> Hole:
    """The hole with all that lies within a distance of it.

    Args:
        hole: (H, W).
        pixels: Euclidean, from pixel centre to pixel centre; 0 leaves the hole as it is.

    Returns:
        (H, W), a new array.

    Raises:
        ValueError: The distance is negative.
    """
    grown = hole.copy()
    for tile, distance in _distances(hole, pixels):
        grown[tile] = distance <= pixels
    return grown


def feather_weights(hole: Hole, pixels: int) -> NDArray[np.float32]:
    """How much of the filled image to show: all in the hole, linearly less outside it.

    Args:
        hole: (H, W).
        pixels: The distance from the hole at which the weight reaches 0; with 0 and 1 only the hole has any.

    Returns:
        (H, W) in [0, 1], 1 in the hole.

    Raises:
        ValueError: The distance is negative.
    """
    weights = hole.astype(np.float32)
    for tile, distance in _distances(hole, pixels):
        weights[tile] = np.clip(1 - distance / pixels, 0, 1)
    return weights


def _distances(hole: Hole, reach: int) -> Iterator[tuple[tuple[slice, slice], NDArray[np.float64]]]:
    """Distances to the hole in the parts of the image where it is near but not everywhere.

    Tile by tile: the whole of a large photograph takes seconds and hundreds of megabytes.

    Yields:
        A tile of the image, and each of its pixels' distance to the nearest hole pixel; one larger than
        `reach` may come out larger than it is.
    """
    if reach < 0:
        raise ValueError(f"a distance of {reach} pixels")
    if reach == 0:
        return
    height, width = hole.shape
    edge = max(256, 4 * reach)  # tiles overlap by 2 * reach: larger ones overlap less
    for top in range(0, height, edge):
        for left in range(0, width, edge):
            tile = slice(top, min(top + edge, height)), slice(left, min(left + edge, width))
            start = max(0, top - reach), max(0, left - reach)
            window = hole[start[0] : top + edge + reach, start[1] : left + edge + reach]
            if not window.any() or hole[tile].all():
                continue
            distance = ndimage.distance_transform_edt(~window)
            rows, columns = (
                slice(part.start - first, part.stop - first) for part, first in zip(tile, start, strict=True)
            )
            yield tile, distance[rows, columns]


def bounding_box(hole: Hole) -> tuple[int, int, int, int]:
    """The smallest box that holds the hole.

    Args:
        hole: (H, W), not empty.

    Returns:
        top, left, bottom, right, the last two excluded.

    Raises:
        ValueError: There is no hole.
    """
    rows, columns = np.flatnonzero(hole.any(axis=1)), np.flatnonzero(hole.any(axis=0))
    if not len(rows):
        raise ValueError("no hole to put a box around")
    return int(rows[0]), int(columns[0]), int(rows[-1]) + 1, int(columns[-1]) + 1


def preview(image: NDArray[np.uint8], hole: Hole) -> NDArray[np.uint8]:
    """The image with the hole in half magenta and a white line around it: what will be filled.

    Args:
        image: (H, W, 3) RGB.
        hole: (H, W).

    Returns:
        (H, W, 3) RGB, a new array.

    Raises:
        ValueError: Image and hole differ in size.
    """
    if image.shape != (*hole.shape, 3):
        raise ValueError(f"an image of shape {image.shape} and a hole of {hole.shape}")
    shown = image.copy()
    shown[hole] = image[hole] // 2 + _TINT // 2
    line = max(1, round(min(hole.shape) / 256))
    shown[grow_hole(hole, line) & ~hole] = 255
    return shown
