"""Holes for inpainting: drawn or read from mask files, checked, resized, grown, feathered and shown.

A hole is a boolean array that is True where an image is to be filled. In a mask file that is white, in a tensor 1.
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
from typing import get_args

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageOps
from scipy import ndimage

from gancli.data.hole_settings import HoleKind, HoleSettings
from gancli.data.images import load_image
from gancli.data.sources.image_folder import IMAGE_SUFFIXES
from gancli.data.sources.reading import fingerprint, list_files
from gancli.errors import DataError, UsageError

Hole = NDArray[np.bool_]  # (H, W), True = hole

_HALF = 128  # smallest grey level that counts as white, and smallest alpha that counts as opaque

# Irregular holes, with lengths in pixels of an image of 256 x 256
_REFERENCE = 256
_STROKES = (1, 8)
_VERTICES = (4, 12)
_STEP = (10.0, 60.0)
_WIDTH = (10.0, 40.0)
_TURN = math.radians(70)  # largest turn of a stroke at a vertex, to either side
_RECTANGLES = (0, 2)
_RECTANGLE_SIDE = (16.0, 96.0)
_TRIES = 60  # shapes drawn before the hole is made thinner or thicker instead

_SAME_COLOUR = 16  # levels that lossy WebP may vary a single colour by
# From these shares of hole on, hole and background of a mask file may be swapped. Real holes seldom run along the
# border: of the masks of two public repositories, none is suspected the right way round, and most are when inverted.
_SUSPECT_BORDER = 0.75
_SUSPECT_HOLE = 0.4

_POLARITY = (
    "A mask file is white where the image is filled, black where it is kept. --invert-mask swaps the two."
)
# Ending that marks a file as the mask file of the image named before it: photo_mask001.png
_MARK = re.compile(r"[_-]mask\d*$")
_TINT = np.array([255, 0, 255], np.uint8)


@dataclass(frozen=True)
class Holes:
    """Holes to cut into images.

    Attributes:
        kind: "center", "irregular", "mix" (either one, equally likely) or "folder".
        center: Side of the central hole as a share of the image's side, in (0, 1).
        least: Smallest share of the image that irregular holes cover, in [0, most].
        most: Largest share of the image that irregular holes cover, in [least, 1).
        files: Mask files, for kind "folder" only. See `holes_from_folder`.
        inverted: True where black is the hole in the files.

    Raises:
        UsageError: A value is out of its range.
    """

    kind: HoleKind = "center"
    center: float = 0.5
    least: float = 0.1
    most: float = 0.5
    files: tuple[Path, ...] = ()
    inverted: bool = False

    def __post_init__(self) -> None:
        kinds = get_args(HoleKind)
        if self.kind not in kinds:
            raise UsageError(f"{self.kind!r} is not a kind of hole", f"There are {', '.join(kinds)}.")
        if not 0 < self.center < 1:
            hint = "Name a share between 0 and 1, both excluded."
            raise UsageError(f"a central hole whose side is {self.center} of the image's side", hint)
        if not (0 <= self.least <= self.most < 1 and self.most > 0):
            hint = "Name two shares, the smaller one first, 0 or more and less than 1."
            raise UsageError(
                f"irregular holes that cover from {self.least} to {self.most} of the image", hint
            )
        if (self.kind == "folder") != bool(self.files):
            hint = 'Files belong to the kind "folder", which needs at least one.'
            raise UsageError(f"holes of kind {self.kind!r} with {len(self.files)} mask files", hint)

    @cached_property
    def settings(self) -> HoleSettings:
        """Fields that tell these holes from others, without the path of the folder.

        Raises:
            DataError: A file of the folder cannot be read.
        """
        center = float(self.center) if self.kind in ("center", "mix") else None
        if self.kind == "center":
            return HoleSettings("center", center)
        if self.kind != "folder":
            return HoleSettings(self.kind, center, float(self.least), float(self.most))
        files = [path.absolute() for path in self.files]
        root = Path(os.path.commonpath([path.parent for path in files]))
        listed = "".join(f"{digest} {name}\n" for name, digest in fingerprint(files, root).items())
        digest = hashlib.sha256(listed.encode()).hexdigest()[:12]
        return HoleSettings(
            "folder", folder=root.name, files=len(files), sha256=digest, inverted=self.inverted
        )

    def draw(self, side: int, rng: np.random.Generator) -> Hole:
        """Draw one hole, (side, side), neither empty nor full. A mask file of any shape is stretched to the square.

        Args:
            side: Side of the image in pixels, at least 3.
            rng: Source of the random numbers.

        Raises:
            DataError: A mask file cannot be read, or is empty or full.
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
        """Draw the hole of one image for an evaluation. It depends on the seed and the image's key alone.

        Args:
            side: Side of the image in pixels, at least 3.
            seed: Seed of the holes.
            key: Key of the image in its dataset.

        Raises:
            DataError: A mask file cannot be read, or is empty or full.
        """
        number = int.from_bytes(hashlib.sha256(f"{seed}\0{key}".encode()).digest()[:16])
        return self.draw(side, np.random.default_rng(number))


def holes_from_folder(folder: str | Path, *, inverted: bool = False) -> Holes:
    """Return the holes of the mask files in a folder and the folders below it, in the order of their names.

    Args:
        folder: Folder of mask files of any size. Hidden files are left out.
        inverted: True where black is the hole.

    Raises:
        DataError: The folder is missing or holds no image.
    """
    folder = Path(folder)
    if not folder.is_dir():
        problem = "is a file" if folder.exists() else "is missing"
        raise DataError(f"{folder}: {problem}", "Name a folder of mask files.")
    paths = sorted(list_files(folder))
    files = tuple(folder / path for path in paths if path.suffix.lower() in IMAGE_SUFFIXES)
    if not files:
        found = Counter(path.suffix.lower() or "without extension" for path in paths)
        listed = ", ".join(f"{count} {suffix}" for suffix, count in found.most_common(5)) or "no file at all"
        raise DataError(
            f"{folder}: no mask files in it (found {listed})",
            f"Files ending in {', '.join(IMAGE_SUFFIXES)} are read, in any case, here and in the folders below.",
        )
    return Holes("folder", files=files, inverted=inverted)


def central_hole(side: int, share: float = 0.5) -> Hole:
    """Return a square hole in the middle, (side, side). For 256 pixels and 0.5, it has rows and columns 64 to 191.

    The margin is the same on all four sides, so the side of the hole is rounded to allow that.

    Args:
        side: Side of the image, at least 3 pixels.
        share: Side of the hole over the side of the image, in (0, 1).

    Raises:
        ValueError: The image is too small, or the share is out of range.
    """
    if side < 3 or not 0 < share < 1:
        raise ValueError(f"no central hole of {share} of the side in an image of {side} pixels")
    margin = min(max(round(side * (1 - share) / 2), 1), (side - 1) // 2)
    hole = np.zeros((side, side), np.bool_)
    hole[margin : side - margin, margin : side - margin] = True
    return hole


def irregular_hole(side: int, rng: np.random.Generator, *, least: float = 0.1, most: float = 0.5) -> Hole:
    """Draw strokes of a round brush and rectangles at random until they cover a share in [least, most].

    The papers show such holes without saying how they were drawn. Here 0 to 2 rectangles and 1 to 8 strokes are
    planned. A stroke has 4 to 12 vertices, 10 to 60 pixels apart in an image of 256, is 10 to 40 pixels wide, and
    turns by up to 70 degrees at each vertex. A shape that would cover more than `most` is left out, and strokes are
    added while less than `least` is covered. If that misses the range, as it can where the range is narrow, the hole
    closest above it is made thinner, or else the hole is made thicker, to an exact number of pixels.

    Args:
        side: Side of the image, at least 2 pixels.
        rng: Source of the random numbers.
        least, most: Smallest and largest share of the image.

    Returns:
        (side, side), neither empty nor full. The share is in the range if some whole number of pixels is.

    Raises:
        ValueError: The image is too small, or the range is impossible.
    """
    if side < 2 or not 0 <= least <= most <= 1:
        raise ValueError(f"no irregular hole of {least} to {most} of an image of {side} pixels")
    low, high = _pixel_range(side * side, least, most)
    rectangles = int(rng.integers(_RECTANGLES[0], _RECTANGLES[1] + 1))
    planned = rectangles + int(rng.integers(_STROKES[0], _STROKES[1] + 1))
    canvas, covered = Image.new("L", (side, side)), 0
    over, over_covered = canvas, side * side + 1  # smallest hole above the range
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
    """Return the fewest and the most pixels of a hole that covers a share in [least, most] of `total` pixels."""
    low, high = max(1, math.ceil(least * total)), min(total - 1, math.floor(most * total))
    if low > high:  # no whole number lies between them: take the nearest
        low = high = min(max(1, round((least + most) / 2 * total)), total - 1)
    return low, high


def _pixels(canvas: Image.Image) -> Hole:
    """Return a canvas of bytes that are 0 or 1 as a read-only hole."""
    return np.asarray(canvas).view(np.bool_)


def _draw_rectangle(canvas: Image.Image, rng: np.random.Generator) -> None:
    side = canvas.width
    width, height = np.rint(rng.uniform(*_RECTANGLE_SIDE, 2) * side / _REFERENCE).astype(int).clip(1)
    left, top = rng.integers(0, side - width + 1), rng.integers(0, side - height + 1)
    box = (int(left), int(top), int(left + width) - 1, int(top + height) - 1)
    ImageDraw.Draw(canvas).rectangle(box, fill=1)


def _draw_stroke(canvas: Image.Image, rng: np.random.Generator) -> None:
    """Draw one stroke that starts inside the image and may leave it."""
    side = canvas.width
    scale = side / _REFERENCE
    segments = int(rng.integers(_VERTICES[0], _VERTICES[1] + 1)) - 1
    headings = rng.uniform(0, 2 * math.pi) + np.cumsum(rng.uniform(-_TURN, _TURN, segments))
    steps = rng.uniform(*_STEP, segments) * scale
    radius = rng.uniform(*_WIDTH) * scale / 2
    start = rng.integers(0, side, 2)
    moves = np.cumsum(steps * np.stack([np.cos(headings), np.sin(headings)]), axis=1)  # (2, segments)
    # Rounded, because the last bit of a cosine differs between processors and the hole must not
    vertices = np.column_stack([start, start[:, None] + np.rint(moves).astype(int)]).T.tolist()
    draw = ImageDraw.Draw(canvas)
    draw.line([(x, y) for x, y in vertices], fill=1, width=max(1, round(2 * radius)))
    for x, y in vertices:  # closes gaps at the joints and rounds the ends
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=1)


def _with_pixels(hole: Hole, count: int) -> Hole:
    """Make a hole thinner or thicker along its edge until it has exactly `count` pixels."""
    depth = ndimage.distance_transform_edt(hole) - ndimage.distance_transform_edt(~hole)
    changed = np.zeros(hole.size, np.bool_)
    changed[np.argsort(-depth, axis=None, kind="stable")[:count]] = True
    return changed.reshape(hole.shape)


def image_name(path: PurePosixPath) -> str:
    """Return the name that an image, its mask file and its original share: the path without ending, in lower case."""
    return path.with_suffix("").as_posix().casefold()


def unmarked(path: PurePosixPath) -> str:
    """Return the image name of a file without an ending like `_mask` or `-mask001`."""
    return _MARK.sub("", image_name(path))


def hole_files_by_image(files: Iterable[PurePosixPath]) -> dict[str, list[PurePosixPath]]:
    """Group mask files by the name of their image: those marked as its mask files, else those of the same name."""
    named: dict[str, list[PurePosixPath]] = defaultdict(list)
    marked: dict[str, list[PurePosixPath]] = defaultdict(list)
    for path in sorted(files):
        named[image_name(path)].append(path)
        if (bare := unmarked(path)) != image_name(path):
            marked[bare].append(path)
    return {**named, **marked}


def read_hole(path: str | Path, *, inverted: bool = False) -> Hole:
    """Read the hole (H, W) of a mask file of any mode and size, upright. It may be empty or full.

    The hole is white: every pixel whose luminance is at least half of full brightness, which also cuts blurred edges
    and the noise of JPEG. In a file with transparent parts, the opaque part is the hole if all of it has one colour,
    like strokes painted on an empty layer. Else the hole is white and opaque. With `inverted`, black is the hole.

    Raises:
        DataError: The file is missing, no image, cut short, too large or of an unsupported mode.
    """
    path = Path(path)
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
    """Refuse an empty or a full hole (H, W); `name` is that of its file, for the message.

    Raises:
        DataError: No pixel is hole, or every pixel is.
    """
    share = np.count_nonzero(hole) / hole.size
    if share == 0:
        raise DataError(f"{name}: no hole in it, 0 % of the image is to be filled", _POLARITY)
    if share == 1:
        raise DataError(f"{name}: all of it is hole, 100 % of the image is to be filled", _POLARITY)


def polarity_warning(hole: Hole, name: str) -> str | None:
    """Return a warning if black and white of a mask file look swapped in its hole (H, W), else None.

    They look swapped where at least 40 % of the image and 75 % of its outermost pixels are hole. This is a guess:
    an image that is to be extended outwards has such a hole, too.
    """
    border = np.concatenate([hole[0], hole[-1], hole[1:-1, 0], hole[1:-1, -1]])
    share, border_share = np.count_nonzero(hole) / hole.size, np.count_nonzero(border) / border.size
    if share < _SUSPECT_HOLE or border_share < _SUSPECT_BORDER:
        return None
    return (
        f"{name}: {share:.0%} of the image is hole, and {border_share:.0%} of its border: "
        f"black and white may be swapped. {_POLARITY}"
    )


def resize_hole(hole: Hole, height: int, width: int) -> Hole:
    """Resize a hole (H, W) by the nearest pixel to (height, width).

    Where a hole would vanish, every new pixel that any of it falls on becomes hole. Where the rest of the image would
    vanish, every new pixel that any of the rest falls on stays. So neither vanishes, unless both are so finely mixed
    that every new pixel holds some of each: then all is hole.
    """
    rows, columns = _centres(hole.shape[0], height), _centres(hole.shape[1], width)
    resized = hole[rows[:, None], columns]
    if not resized.any():
        return _touched(hole, height, width)
    if resized.all():
        kept = ~_touched(~hole, height, width)
        return kept if kept.any() else resized
    return resized


def _centres(old: int, new: int) -> NDArray[np.int64]:
    """Return the old pixel that the centre of each new one lies in, (new,)."""
    return (2 * np.arange(new) + 1) * old // (2 * new)


def _touched(hole: Hole, height: int, width: int) -> Hole:
    """Return the new pixels that any hole falls on, (height, width). An old pixel falls on one or more."""
    rows = np.arange(height) * hole.shape[0] // height
    columns = np.arange(width) * hole.shape[1] // width
    touched: Hole = np.logical_or.reduceat(np.logical_or.reduceat(hole, rows, axis=0), columns, axis=1)
    return touched


def grow_hole(hole: Hole, pixels: int) -> Hole:
    """Grow a hole (H, W) by a Euclidean distance between pixel centres, at least 0; return a new array."""
    grown = hole.copy()
    for tile, distance in _distances(hole, pixels):
        grown[tile] = distance <= pixels
    return grown


def feather_weights(hole: Hole, pixels: int) -> NDArray[np.float32]:
    """Return the weight of the filled image: 1 in the hole, falling linearly outside it.

    Args:
        hole: (H, W).
        pixels: Distance from the hole at which the weight reaches 0. With 0 or 1, all weight is in the hole.

    Returns:
        (H, W) in [0, 1].
    """
    weights = hole.astype(np.float32)
    for tile, distance in _distances(hole, pixels):
        weights[tile] = np.clip(1 - distance / pixels, 0, 1)
    return weights


def _distances(hole: Hole, reach: int) -> Iterator[tuple[tuple[slice, slice], NDArray[np.float64]]]:
    """Yield tiles where the hole is near but does not fill them, with each pixel's distance to the nearest hole pixel.

    A large photograph as a whole would take seconds and hundreds of megabytes. A distance larger than `reach` may come
    out too large.
    """
    if reach < 0:
        raise ValueError(f"a distance of {reach} pixels")
    if reach == 0:
        return
    height, width = hole.shape
    edge = max(256, 4 * reach)  # the margin of a tile costs less in a larger one
    for top in range(0, height, edge):
        for left in range(0, width, edge):
            tile = slice(top, min(top + edge, height)), slice(left, min(left + edge, width))
            y, x = max(0, top - reach), max(0, left - reach)
            window = hole[y : top + edge + reach, x : left + edge + reach]
            if window.any() and not hole[tile].all():
                distance = ndimage.distance_transform_edt(~window)
                yield tile, distance[top - y : tile[0].stop - y, left - x : tile[1].stop - x]


def bounding_box(hole: Hole) -> tuple[int, int, int, int]:
    """Return top, left, bottom and right of the smallest box around a hole (H, W), the last two exclusive.

    Raises:
        ValueError: The hole is empty.
    """
    rows, columns = np.flatnonzero(hole.any(axis=1)), np.flatnonzero(hole.any(axis=0))
    if not len(rows):
        raise ValueError("no hole to put a box around")
    return int(rows[0]), int(columns[0]), int(rows[-1]) + 1, int(columns[-1]) + 1


def preview(image: NDArray[np.uint8], hole: Hole) -> NDArray[np.uint8]:
    """Return an image (H, W, 3) RGB with its hole (H, W) tinted magenta and outlined in white, a new array.

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
