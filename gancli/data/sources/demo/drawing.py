"""Drawings of the demo dataset: birds in side view, made of smooth outlines and coloured by their attributes.

The attributes and one random generator (for pose and scenery) determine the image. Backgrounds are muted. Everything
is drawn at four times the resolution and averaged down.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageChops, ImageDraw

Points = NDArray[np.float64]  # (N, 2) x to the right, y down
Color = tuple[int, int, int]

# Colour names of CUB-200-2011. In CIELAB they are at least 44 apart, and at least 20 from every tone of the scenery.
PALETTE: Mapping[str, Color] = {
    "blue": (32, 76, 216),
    "yellow": (250, 224, 44),
    "green": (28, 142, 52),
    "pink": (246, 112, 186),
    "orange": (248, 132, 16),
    "black": (22, 22, 26),
    "white": (252, 252, 250),
    "red": (206, 26, 36),
}
COLORS = tuple(PALETTE)

# sRGB tones of everything but the plumage: desaturated, neither nearly white nor nearly black.
SKIES: tuple[tuple[Color, Color], ...] = (  # top, bottom of the gradient
    ((128, 148, 168), (160, 170, 176)),
    ((148, 150, 158), (172, 166, 158)),
    ((132, 152, 154), (162, 170, 162)),
    ((142, 138, 154), (170, 164, 166)),
)
GRASS: tuple[Color, ...] = ((116, 130, 104), (128, 140, 112), (106, 122, 102))
WATER: tuple[Color, ...] = ((112, 130, 142), (126, 142, 150), (104, 122, 136))
BRANCH: tuple[Color, ...] = ((108, 96, 86), (122, 108, 96), (98, 90, 84))
ROCK: tuple[Color, ...] = ((118, 116, 116), (130, 126, 122), (110, 112, 116))
HORN: Color = (70, 66, 70)  # bill, legs
EYE: Color = (18, 16, 18)
SCENERY: tuple[Color, ...] = (
    tuple(tone for sky in SKIES for tone in sky) + GRASS + WATER + BRANCH + ROCK + (HORN,)
)

OVERSAMPLING = 4


@dataclass(frozen=True)
class Plumage:
    """Look of a species. Every value is the part after `::` of an attribute name.

    Attributes:
        primary, belly, wing, crown: Keys of `PALETTE`. The first three differ, and the crown differs from the primary.
        wing_pattern: "solid", "spotted", "striped" or "multi-colored".
    """

    primary: str
    belly: str
    wing: str
    crown: str
    wing_pattern: str
    bill_shape: str
    bill_length: str
    tail_shape: str
    size: str


@dataclass(frozen=True)
class Drawing:
    """One finished image.

    Attributes:
        image: RGB.
        silhouette: Mode L, coverage of each pixel by the bird, 0 to 255.
        box: (x, y, width, height) in pixels, the smallest box around all pixels that the bird covers by half or more.
        parts: Location of each of CUB's 15 parts in pixels, None for a part on the side that is out of sight.
    """

    image: Image.Image
    silhouette: Image.Image
    box: tuple[int, int, int, int]
    parts: dict[str, tuple[float, float] | None]


BACKGROUNDS = ("branch", "grass", "water", "rock")

# ----------------------------------------------------------------------------------------------------------
# Outlines in the bird's own frame: it looks to the right, its body is about 1.1 wide and centred on the origin

_BODY = np.array(
    [
        (0.575, -0.475),  # base of the bill, above
        (0.50, -0.60),
        (0.38, -0.645),  # top of the head
        (0.25, -0.60),
        (0.155, -0.48),
        (0.06, -0.35),  # nape
        (-0.18, -0.23),  # back
        (-0.42, -0.06),
        (-0.60, 0.09),  # rump
        (-0.60, 0.20),
        (-0.42, 0.30),  # vent
        (-0.16, 0.42),
        (0.12, 0.455),
        (0.36, 0.34),
        (0.505, 0.12),  # breast
        (0.54, -0.12),
        (0.53, -0.28),  # throat
        (0.575, -0.385),  # base of the bill, below
    ]
)
# Share of each point of the body that belongs to the head
_HEAD_SHARES = np.array([0.9, 1, 1, 1, 1, 0.4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0.1, 0.5, 0.9])
_HEAD_CENTER = np.array([0.36, -0.42])

# The belly reaches beyond the body, whose outline cuts it.
_BELLY = np.array([
    (0.62, -0.16), (0.45, -0.06), (0.27, 0.10), (0.02, 0.19), (-0.24, 0.195), (-0.48, 0.235),
    (-0.50, 0.42), (0.05, 0.60), (0.50, 0.50), (0.68, 0.20)
])  # fmt: skip
_WING = np.array(
    [
        (0.13, -0.12),  # shoulder
        (0.03, -0.165),
        (-0.16, -0.12),
        (-0.40, 0.02),
        (-0.64, 0.185),  # tip
        (-0.40, 0.13),
        (-0.14, 0.125),
        (0.07, 0.065),
        (0.145, -0.02),
    ]
)
_CROWN = np.array([
    (0.66, -0.53), (0.47, -0.535), (0.30, -0.52), (0.19, -0.44), (0.04, -0.42), (0.06, -0.66),
    (0.36, -0.78), (0.62, -0.70)
])  # fmt: skip
_EYE = np.array([(0.435, -0.46)])
_LEGS = ((0.01, 0.36), (0.155, 0.36))  # x and upper end; the size sets the foot's y
_TAIL_BASE = np.array([-0.50, 0.13])
_TAIL_DIRECTION = np.array([-0.90, 0.43])

_STONE = np.array(
    [(-0.62, 0.55), (-0.5, 0.18), (-0.26, 0.02), (0.0, -0.005), (0.28, 0.02), (0.46, 0.2), (0.64, 0.55)]
)


class _Proportions(NamedTuple):
    """Proportions that show a bird's size after the crop to its box: small birds are slender, large ones stout.

    The legs have a length; head, height of the body ("stout") and scenery have a scale.
    """

    head: float
    leg: float
    stout: float
    scenery: float


_PROPORTIONS: Mapping[str, _Proportions] = {
    "small_(5_-_9_in)": _Proportions(1.20, 0.16, 0.80, 1.5),
    "medium_(9_-_16_in)": _Proportions(1.05, 0.20, 1.02, 1.0),
    "large_(16_-_32_in)": _Proportions(0.90, 0.28, 1.28, 0.6),
}
_BILL_LENGTHS = {"shorter_than_head": 0.14, "about_the_same_as_head": 0.23, "longer_than_head": 0.36}


def _bill(shape: str, length: float) -> Points:
    """Return the bill, with its base at the origin, pointing to the right."""
    if shape == "cone":
        top, bottom = [(0, -0.085), (0.45 * length, -0.06)], [(0.5 * length, 0.055), (0, 0.085)]
    elif shape == "dagger":
        top, bottom = [(0, -0.055), (0.6 * length, -0.032)], [(0.6 * length, 0.04), (0, 0.06)]
    elif shape == "hooked":
        top = [(0, -0.065), (0.6 * length, -0.065), (0.92 * length, -0.03), (length, 0.045)]
        bottom = [(0.96 * length, 0.105), (0.84 * length, 0.05), (0.5 * length, 0.05), (0, 0.065)]
        return np.array([*top, *bottom])
    elif shape == "needle":
        top, bottom = [(0, -0.026), (0.5 * length, -0.018)], [(0.5 * length, 0.024), (0, 0.032)]
    else:  # curved_(up_or_down)
        top = [(0, -0.05), (0.35 * length, -0.065), (0.7 * length, -0.01), (length, 0.15)]
        return np.array([*top, (0.62 * length, 0.065), (0.3 * length, 0.03), (0, 0.05)])
    return np.array([*top, (length, 0.02), *bottom])


def _tail(shape: str) -> Points:
    """Return the tail, with its base at the origin, pointing to the right."""
    if shape == "forked_tail":
        half = [(0, 0.085), (0.30, 0.10), (0.60, 0.19), (0.34, 0.015)]
    elif shape == "rounded_tail":
        half = [(0, 0.085), (0.34, 0.12), (0.44, 0.105), (0.51, 0.06), (0.53, 0.0)]
    elif shape == "fan-shaped_tail":
        half = [(0, 0.085), (0.40, 0.27), (0.46, 0.19), (0.50, 0.10), (0.52, 0.0)]
    elif shape == "pointed_tail":
        half = [(0, 0.085), (0.26, 0.09), (0.66, 0.0)]
    else:  # squared_tail
        half = [(0, 0.085), (0.50, 0.115), (0.505, 0.0)]
    upper = np.array(half)
    lower = upper[::-1] * (1, -1)
    return np.concatenate([upper, lower])


def _smooth(points: Points, steps: int = 8) -> Points:
    """Return a closed Catmull-Rom curve through the points: (N, 2) -> (N * steps, 2)."""
    before, after, next_after = np.roll(points, 1, 0), np.roll(points, -1, 0), np.roll(points, -2, 0)
    t = (np.arange(steps) / steps)[None, :, None]
    a, b, c, d = (p[:, None, :] for p in (before, points, after, next_after))
    curve: Points = 0.5 * (
        2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2 + (3 * b - a - 3 * c + d) * t**3
    )
    return curve.reshape(-1, 2)


def _disc(center: Points, radius: float | tuple[float, float], steps: int = 24) -> Points:
    angle = np.linspace(0, 2 * np.pi, steps, endpoint=False)
    return center + np.stack([np.cos(angle), np.sin(angle)], 1) * radius


def _turn(points: Points, angle: float) -> Points:
    c, s = np.cos(angle), np.sin(angle)
    turned: Points = points @ np.array([(c, s), (-s, c)])
    return turned


# Polygons and lines of one bird by name; "parts" holds one (12, 2) array with the locations of `_PARTS`
Outlines = dict[str, list[Points]]
_PARTS = (
    "back", "beak", "belly", "breast", "crown", "forehead", "nape", "throat", "tail", "eye", "leg", "wing",
)  # fmt: skip


def _moved(outlines: Outlines, move: Callable[[Points], Points]) -> Outlines:
    return {name: [move(points) for points in group] for name, group in outlines.items()}


def _outlines(plumage: Plumage, rng: np.random.Generator) -> Outlines:
    """Return the outlines of a bird in its own frame, with small random differences in proportion."""
    proportions = _PROPORTIONS[plumage.size]
    head = proportions.head * rng.uniform(0.96, 1.04)
    plump = proportions.stout * rng.uniform(0.95, 1.05)
    bill_length = _BILL_LENGTHS[plumage.bill_length] * rng.uniform(0.93, 1.07)

    def grow_head(points: Points, share: float | NDArray[np.float64] = 1.0) -> Points:
        grown: Points = points + (points - _HEAD_CENTER) * (head - 1) * np.reshape(share, (-1, 1))
        return grown * (1, plump)

    body = grow_head(_BODY, _HEAD_SHARES)
    bill_base = (body[0] + body[-1]) / 2
    bill = _turn(_bill(plumage.bill_shape, bill_length) * (1, head), 0.10) + bill_base - (0.035, 0)
    tail = _tail(plumage.tail_shape) * (rng.uniform(0.94, 1.06), 1)
    angle = np.arctan2(_TAIL_DIRECTION[1], _TAIL_DIRECTION[0]) + rng.uniform(-0.10, 0.10)
    tail = _turn(tail, angle) + _TAIL_BASE * (1, plump)
    legs, feet = [], []
    for x, top in _LEGS:
        foot = np.array([x, 0.43 * plump + proportions.leg])
        legs.append(np.array([(x, top * plump), foot]))
        feet.append(foot + np.array([(-0.07, 0.015), (0, 0), (0.10, 0.015)]))
    eye = grow_head(_EYE)
    parts = [
        (-0.18, -0.19 * plump), bill_base + np.array([0.05, 0.005]), (0.08, 0.34 * plump), (0.46, 0.05 * plump),
        body[2] + (0, 0.04), body[1] + (-0.02, 0.03), body[5] + (0.05, 0.02), body[-2] + (-0.05, 0), tail.mean(0),
        eye[0], legs[1].mean(0), (-0.15, 0.03 * plump),
    ]  # fmt: skip
    return {
        "body": [_smooth(body)],
        "belly": [_smooth(_BELLY * (1, plump))],
        "wing": [_smooth(_WING * (1, plump))],
        "crown": [_smooth(grow_head(_CROWN))],
        "tail": [tail if plumage.tail_shape in ("squared_tail", "forked_tail") else _soften(tail)],
        "bill": [bill],
        "eye": [_disc(eye, 0.044 * head**0.5)],
        "legs": legs,
        "feet": feet,
        "marks": _marks(plumage.wing_pattern),
        "parts": [np.array(parts)],
    }


def _soften(points: Points) -> Points:
    """Round the corners of a closed polygon by two rounds of Chaikin's corner cutting."""
    for _ in range(2):
        after = np.roll(points, -1, 0)
        points = np.stack([0.75 * points + 0.25 * after, 0.25 * points + 0.75 * after], 1).reshape(-1, 2)
    return points


def _marks(pattern: str) -> list[Points]:
    """Return the polygons painted on the wing in a second colour."""
    along = np.array([-0.84, 0.36])  # the wing's long axis
    across = np.array([0.40, 0.92])
    start = np.array([0.005, -0.042])
    if pattern == "spotted":
        spots = [(0.03, -0.05), (0.03, 0.06), (0.18, 0.005), (0.31, -0.05), (0.32, 0.06), (0.47, 0.005)]
        return [_disc(start + a * along + b * across, 0.036, 14) for a, b in spots]
    if pattern == "striped":
        bar = np.array([-0.2 * across - 0.034 * along, -0.2 * across + 0.034 * along])
        return [start + a * along + np.concatenate([bar, -bar]) for a in (0.10, 0.30, 0.50)]
    if pattern == "multi-colored":  # the outer half
        near, far = start + 0.30 * along, start + 1.0 * along
        return [np.array([near - 0.3 * across, far - 0.3 * across, far + 0.3 * across, near + 0.3 * across])]
    return []


# ----------------------------------------------------------------------------------------------------------
# Painting


class _Canvas:
    """An oversampled RGB image and the bird's silhouette. Coordinates are in output pixels."""

    def __init__(self, width: int, height: int) -> None:
        self.size = (width, height)
        large = (width * OVERSAMPLING, height * OVERSAMPLING)
        self.image = Image.new("RGB", large)
        self.silhouette = Image.new("L", large)
        self._draw, self._draw_silhouette = ImageDraw.Draw(self.image), ImageDraw.Draw(self.silhouette)

    def fill(self, color: Color, points: Points, bird: bool = False) -> None:
        """Paint a polygon; `bird` adds it to the silhouette."""
        self._draw.polygon(_flat(points), fill=color)
        if bird:
            self._draw_silhouette.polygon(_flat(points), fill=255)

    def line(self, color: Color, points: Points, width: float, bird: bool = False) -> None:
        """Paint a line; `bird` adds it to the silhouette."""
        pixels = max(1, round(width * OVERSAMPLING))
        self._draw.line(_flat(points), fill=color, width=pixels, joint="curve")
        if bird:
            self._draw_silhouette.line(_flat(points), fill=255, width=pixels, joint="curve")

    def fill_within(self, color: Color, points: Points, outline: Points) -> None:
        """Paint the part of a polygon that lies within an outline."""
        low = np.floor(outline.min(0)).astype(int)
        width, height = ((np.ceil(outline.max(0)).astype(int) - low + 1) * OVERSAMPLING).tolist()
        areas = []
        for shape in (points, outline):
            area = Image.new("L", (width, height))
            ImageDraw.Draw(area).polygon(_flat(shape - low), fill=255)
            areas.append(area)
        corner = (int(low[0]) * OVERSAMPLING, int(low[1]) * OVERSAMPLING)
        self.image.paste(color, (*corner, corner[0] + width, corner[1] + height), ImageChops.darker(*areas))


def _flat(points: Points) -> list[float]:
    flat: list[float] = (points * OVERSAMPLING).ravel().tolist()
    return flat


def _shade(color: Color, factor: float) -> Color:
    return (int(color[0] * factor), int(color[1] * factor), int(color[2] * factor))


def _edge(color: Color) -> Color:
    """Return the colour of the line around a part: darker than the part, but lighter for black."""
    return (58, 58, 64) if max(color) < 60 else _shade(color, 0.62)


def _second_color(wing: str) -> Color:
    """Return the colour of the wing's pattern: white on dark and bright wings, black on pale ones."""
    return PALETTE["black"] if wing in ("white", "yellow", "pink", "orange") else PALETTE["white"]


def _paint_bird(canvas: _Canvas, outlines: Outlines, plumage: Plumage, unit: float) -> None:
    primary, wing_color = PALETTE[plumage.primary], PALETTE[plumage.wing]
    (body,), (wing,), (tail,), (eye,) = (outlines[name] for name in ("body", "wing", "tail", "eye"))
    hair = 0.014 * unit
    for leg, foot in zip(outlines["legs"], outlines["feet"], strict=True):
        canvas.line(HORN, leg, 0.036 * unit, bird=True)
        canvas.line(HORN, foot, 0.03 * unit, bird=True)
    canvas.fill(_shade(primary, 0.92), tail, bird=True)
    canvas.line(_edge(primary), _closed(tail), hair)
    canvas.fill(HORN, outlines["bill"][0], bird=True)
    canvas.fill(primary, body, bird=True)
    canvas.fill_within(PALETTE[plumage.belly], outlines["belly"][0], body)
    canvas.fill_within(PALETTE[plumage.crown], outlines["crown"][0], body)
    canvas.line(_edge(primary), _closed(body), hair)
    canvas.fill(wing_color, wing, bird=True)
    for mark in outlines["marks"]:
        canvas.fill_within(_second_color(plumage.wing), mark, wing)
    canvas.line(_edge(wing_color), _closed(wing), 1.3 * hair)
    center = eye.mean(0)
    canvas.fill((236, 234, 228), center + (eye - center) * 1.32)
    canvas.fill(EYE, eye)
    canvas.fill((250, 250, 250), center + (eye - center) * 0.3 - 0.014 * unit)


def _closed(points: Points) -> Points:
    return np.concatenate([points, points[:1]])


def _paint_scenery(
    canvas: _Canvas, background: str, feet: Points, unit: float, rng: np.random.Generator
) -> None:
    """Paint the sky and the ground that the bird stands on with the middle of its feet (2,).

    `unit` is the number of pixels per unit of length of the scenery, larger for a small bird.
    """
    width, height = canvas.size
    top, bottom = SKIES[rng.integers(len(SKIES))]
    ramp = np.linspace(0, 1, height * OVERSAMPLING)[:, None, None]
    rows = np.round(np.array(top) * (1 - ramp) + np.array(bottom) * ramp).astype(np.uint8)
    canvas.image.paste(Image.fromarray(rows).resize(canvas.image.size, Image.Resampling.NEAREST))
    x = np.linspace(-0.1 * width, 1.1 * width, 40)

    def ground(color: Color, y: NDArray[np.float64]) -> None:
        corners = [(1.1 * width, height), (-0.1 * width, height)]
        canvas.fill(color, np.concatenate([np.stack([x, y], 1), corners]))

    if background == "branch":
        tone = BRANCH[rng.integers(len(BRANCH))]
        slope, thick = rng.uniform(-0.12, 0.12), 0.075 * unit
        wave = 0.03 * unit * np.sin(x / (0.5 * unit) + rng.uniform(0, 6))
        wave -= np.interp(feet[0], x, wave)
        middle = np.stack([x, feet[1] + thick + (x - feet[0]) * slope + wave], 1)
        canvas.line(tone, middle, 2 * thick)
        canvas.line(_shade(tone, 1.12), middle - (0, 0.5 * thick), 0.5 * thick)
        for side in (-1, 1):
            start = middle[np.argmin(np.abs(x - feet[0] - side * rng.uniform(0.6, 0.9) * unit))]
            twig = start + np.array([(0, 0), (side * 0.25 * unit, -0.22 * unit * rng.uniform(0.7, 1.2))])
            canvas.line(tone, twig, 0.6 * thick)
            leaf = _turn(_disc(np.zeros(2), (0.13 * unit, 0.055 * unit)), -side * 0.8)
            canvas.fill(GRASS[rng.integers(len(GRASS))], leaf + twig[1])
    elif background == "grass":
        ground(GRASS[0], feet[1] + 0.02 * unit + 0.03 * unit * np.sin(x / unit + rng.uniform(0, 6)))
        blades = 46
        base = np.stack([rng.uniform(0, width, blades), feet[1] + rng.uniform(0.0, 0.5, blades) * unit], 1)
        tip = base + np.stack([rng.uniform(-0.12, 0.12, blades), -rng.uniform(0.14, 0.30, blades)], 1) * unit
        for i in np.argsort(base[:, 1]):
            half = (0.028 * unit, 0)
            canvas.fill(GRASS[i % len(GRASS)], np.array([base[i] - half, tip[i], base[i] + half]))
    elif background == "water":
        shore = feet[1] - 0.16 * unit
        ground(WATER[0], np.full_like(x, shore))
        for _ in range(12):
            center = np.array([rng.uniform(0, width), shore + rng.uniform(0.05, 0.7) * unit])
            tone = WATER[1 + rng.integers(2)]
            canvas.fill(tone, _disc(center, (rng.uniform(0.15, 0.4) * unit, 0.018 * unit)))
        canvas.fill(ROCK[1], _disc(feet + np.array([0, 0.07 * unit]), (0.34 * unit, 0.085 * unit), 40))
    else:  # rock
        tone = ROCK[rng.integers(len(ROCK))]
        ground(GRASS[rng.integers(len(GRASS))], feet[1] + 0.30 * unit + 0.02 * unit * np.sin(x / unit))
        stone = _STONE * (rng.uniform(0.9, 1.15), 1) * unit
        canvas.fill(tone, feet + _soften(stone))
        canvas.fill(_shade(tone, 1.10), feet + _soften(stone[1:6] * (0.8, 0.55)) + (0, 0.01 * unit))


def draw_bird(plumage: Plumage, background: str, image_size: int, rng: np.random.Generator) -> Drawing:
    """Draw one bird of a species in front of one of `BACKGROUNDS`.

    The image has room for the crop that `prepare` makes: the square of 1.5 times the box lies inside the image and is
    at least int(image_size * 76/64) pixels wide, so that resizing never enlarges. `image_size` is the side in pixels
    after `prepare` and the loader's crop.
    """
    load = image_size * 76 / 64
    width, height = round(1.6 * load) + 8, round(1.4 * load) + 8
    left = bool(rng.random() < 0.5)
    angle = rng.uniform(-0.09, 0.09)
    outlines = _moved(_outlines(plumage, rng), lambda points: _turn(points, angle) * (-1 if left else 1, 1))
    everything = np.concatenate(
        [points for name in ("body", "tail", "bill", "legs", "feet") for points in outlines[name]]
    )
    low, high = everything.min(0), everything.max(0)
    # Five pixels more: thin tips that cover less than half a pixel do not count for the box
    unit = (load / 1.5 * rng.uniform(1.0, 1.15) + 5) / (high - low).max()
    center = np.array([width, height]) / 2 + rng.uniform(-1, 1, 2) * (0.12 * load, 0.06 * load)
    outlines = _moved(outlines, lambda points: (points - (low + high) / 2) * unit + center)

    canvas = _Canvas(width, height)
    feet = np.concatenate(outlines["feet"])
    stand = np.array([feet[:, 0].mean(), feet[:, 1].max()])
    _paint_scenery(canvas, background, stand, unit * _PROPORTIONS[plumage.size].scenery, rng)
    _paint_bird(canvas, outlines, plumage, unit)
    image, silhouette = canvas.image.reduce(OVERSAMPLING), canvas.silhouette.reduce(OVERSAMPLING)
    box = _box(silhouette)
    parts = _visible_parts(outlines["parts"][0], left)
    return Drawing(_light(image, silhouette, box), silhouette, box, parts)


def _box(silhouette: Image.Image) -> tuple[int, int, int, int]:
    rows, columns = np.nonzero(np.asarray(silhouette) >= 128)
    x, y = int(columns.min()), int(rows.min())
    return x, y, int(columns.max()) - x + 1, int(rows.max()) - y + 1


def _light(image: Image.Image, silhouette: Image.Image, box: tuple[int, int, int, int]) -> Image.Image:
    """Light the bird from above: a little brighter at the top, darker below."""
    _, y, _, height = box
    pixels = np.asarray(image, dtype=np.float32)
    down = np.clip((np.arange(image.height, dtype=np.float32) - y) / height, 0, 1)[:, None]
    cover = np.asarray(silhouette, dtype=np.float32) / 255
    factor = 1 + cover * (0.06 - 0.18 * down**1.5)
    return Image.fromarray(np.clip(pixels * factor[:, :, None] + 0.5, 0, 255).astype(np.uint8))


def _visible_parts(locations: Points, left: bool) -> dict[str, tuple[float, float] | None]:
    parts: dict[str, tuple[float, float] | None] = {}
    near, far = ("left", "right") if left else ("right", "left")  # a bird that looks left shows its left side
    for name, (x, y) in zip(_PARTS, locations.tolist(), strict=True):
        if name in ("eye", "leg", "wing"):
            parts[f"{near} {name}"] = (x, y)
            parts[f"{far} {name}"] = None
        else:
            parts[name] = (x, y)
    return parts
