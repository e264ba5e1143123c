"""Draws the birds of the demo dataset: a side view built from smooth outlines, coloured by its attributes, before a
muted background. Everything is a function of the attributes and of one random generator for pose and scenery, drawn
at four times the resolution and averaged down."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageChops, ImageDraw

Points = NDArray[np.float64]  # (N, 2) x to the right, y down
Color = tuple[int, int, int]

# Eight names of CUB-200-2011, at least 45 apart in CIELAB from one another and 20 from every tone of the scenery.
PALETTE: Mapping[str, Color] = {
    "red": (206, 26, 36),
    "orange": (248, 132, 16),
    "yellow": (250, 224, 44),
    "green": (28, 142, 52),
    "blue": (32, 76, 216),
    "pink": (246, 112, 186),
    "black": (22, 22, 26),
    "white": (252, 252, 250),
}
COLORS = tuple(PALETTE)

# sRGB tones of everything that is not plumage: desaturated, neither nearly white nor nearly black.
SKIES: tuple[tuple[Color, Color], ...] = (  # top, bottom of the gradient
    ((134, 152, 170), (170, 178, 182)),
    ((158, 160, 168), (182, 176, 168)),
    ((140, 158, 160), (172, 178, 170)),
    ((150, 146, 160), (178, 172, 174)),
)
GRASS: tuple[Color, ...] = ((116, 130, 104), (128, 140, 112), (106, 122, 102))
WATER: tuple[Color, ...] = ((112, 130, 142), (126, 142, 150), (104, 122, 136))
BRANCH: tuple[Color, ...] = ((108, 96, 86), (122, 108, 96), (98, 90, 84))
ROCK: tuple[Color, ...] = ((118, 116, 116), (130, 126, 122), (110, 112, 116))
HORN: Color = (70, 66, 70)  # bill, legs
EYE: Color = (18, 16, 18)
SCENERY: tuple[Color, ...] = tuple(tone for sky in SKIES for tone in sky) + GRASS + WATER + BRANCH + ROCK + (HORN,)

OVERSAMPLING = 4


@dataclass(frozen=True)
class Plumage:
    """What a species looks like; every value is the part after `::` of an attribute name.

    Attributes:
        primary, belly, wing, crown: A key of `PALETTE` each; the first three differ, and the crown is not the primary.
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
    """One finished picture.

    Attributes:
        image: RGB.
        mask: Mode L, the coverage of each pixel by the bird, 0 to 255.
        box: (x, y, width, height) in pixels, the smallest box around the mask where it is at least one half.
        parts: Place of each of CUB's 15 parts in pixels, None where the bird's other side hides it.
    """

    image: Image.Image
    mask: Image.Image
    box: tuple[int, int, int, int]
    parts: dict[str, tuple[float, float] | None]


# ----------------------------------------------------------------------------------------------------------------
# Outlines, in the bird's own frame: it looks to the right, its body is about 1.1 wide and centred on the origin

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
_HEAD_POINTS = np.array([0.9, 1, 1, 1, 1, 0.4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0.1, 0.5, 0.9])  # how far each is the head's
_HEAD_CENTER = np.array([0.36, -0.42])

# The belly reaches beyond the body and is cut by its outline.
_BELLY = np.array(
    [
        (0.62, -0.04),
        (0.44, 0.03),
        (0.26, 0.17),
        (0.02, 0.235),
        (-0.24, 0.22),
        (-0.46, 0.24),
        (-0.50, 0.42),
        (0.05, 0.60),
        (0.50, 0.50),
        (0.68, 0.20),
    ]
)
_WING = np.array(
    [
        (0.19, -0.11),  # shoulder
        (0.08, -0.165),
        (-0.14, -0.12),
        (-0.40, 0.03),
        (-0.66, 0.215),  # tip
        (-0.40, 0.165),
        (-0.12, 0.175),
        (0.12, 0.11),
        (0.205, 0.0),
    ]
)
_CROWN = np.array(
    [(0.66, -0.53), (0.47, -0.535), (0.30, -0.52), (0.19, -0.44), (0.04, -0.42), (0.06, -0.66), (0.36, -0.78), (0.62, -0.70)]
)
_EYE = np.array([0.435, -0.46])
_LEGS = (np.array([(0.02, 0.36), (0.00, 1.0)]), np.array([(0.15, 0.36), (0.16, 1.0)]))  # y of the foot is set by size
_TAIL_BASE = np.array([-0.50, 0.13])
_TAIL_DIRECTION = np.array([-0.90, 0.43])

_PROPORTIONS: Mapping[str, tuple[float, float, float]] = {  # head, leg length, scale of the scenery around the bird
    "small_(5_-_9_in)": (1.20, 0.16, 1.5),
    "medium_(9_-_16_in)": (1.05, 0.20, 1.0),
    "large_(16_-_32_in)": (0.90, 0.28, 0.6),
}
_BILL_LENGTHS: Mapping[str, float] = {
    "shorter_than_head": 0.14,
    "about_the_same_as_head": 0.23,
    "longer_than_head": 0.36,
}


def _bill(shape: str, length: float) -> Points:
    """The bill from its base at the origin, pointing to the right."""
    if shape == "cone":
        top, bottom = [(0, -0.085), (0.45 * length, -0.06)], [(0.5 * length, 0.055), (0, 0.085)]
    elif shape == "dagger":
        top, bottom = [(0, -0.055), (0.6 * length, -0.032)], [(0.6 * length, 0.04), (0, 0.06)]
    elif shape == "hooked":
        top = [(0, -0.065), (0.6 * length, -0.065), (0.92 * length, -0.03), (length, 0.045), (0.96 * length, 0.105)]
        return np.array([*top, (0.84 * length, 0.05), (0.5 * length, 0.05), (0, 0.065)])
    elif shape == "needle":
        top, bottom = [(0, -0.026), (0.5 * length, -0.018)], [(0.5 * length, 0.024), (0, 0.032)]
    else:  # curved_(up_or_down)
        top = [(0, -0.05), (0.35 * length, -0.065), (0.7 * length, -0.01), (length, 0.15)]
        return np.array([*top, (0.62 * length, 0.065), (0.3 * length, 0.03), (0, 0.05)])
    return np.array([*top, (length, 0.02), *bottom])


def _tail(shape: str) -> Points:
    """The tail from its base at the origin, pointing to the right; the second half mirrors the first."""
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
    """A closed Catmull-Rom curve through the points. (N, 2) -> (N * steps, 2)."""
    before, after, next_after = np.roll(points, 1, 0), np.roll(points, -1, 0), np.roll(points, -2, 0)
    t = (np.arange(steps) / steps)[None, :, None]
    a, b, c, d = (p[:, None, :] for p in (before, points, after, next_after))
    curve = 0.5 * (2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2 + (3 * b - a - 3 * c + d) * t**3)
    return curve.reshape(-1, 2)


def _disc(center: Points, radius: float | tuple[float, float], steps: int = 24) -> Points:
    angle = np.linspace(0, 2 * np.pi, steps, endpoint=False)
    return center + np.stack([np.cos(angle), np.sin(angle)], 1) * radius


def _turn(points: Points, angle: float) -> Points:
    c, s = np.cos(angle), np.sin(angle)
    return points @ np.array([(c, s), (-s, c)])


@dataclass(frozen=True)
class _Shapes:
    """All outlines of one bird, before it is placed in the picture."""

    body: Points
    belly: Points
    wing: Points
    crown: Points
    tail: Points
    bill: Points
    eye: Points
    legs: list[Points]
    feet: list[Points]
    marks: list[Points]  # the wing's pattern
    parts: dict[str, Points]

    def moved(self, move: Callable[[Points], Points]) -> _Shapes:
        """The same bird with every point passed through `move`."""
        values = {}
        for name, value in vars(self).items():
            if isinstance(value, list):
                values[name] = [move(points) for points in value]
            elif isinstance(value, dict):
                values[name] = {key: move(points) for key, points in value.items()}
            else:
                values[name] = move(value)
        return _Shapes(**values)

    def extent(self) -> tuple[Points, Points]:
        """Upper left and lower right corner of everything."""
        points = np.concatenate([self.body, self.tail, self.bill, *self.legs, *self.feet])
        return points.min(0), points.max(0)


def _shapes(plumage: Plumage, rng: np.random.Generator) -> _Shapes:
    head, leg, _ = _PROPORTIONS[plumage.size]
    head *= rng.uniform(0.96, 1.04)
    plump = rng.uniform(0.95, 1.05)
    bill_length = _BILL_LENGTHS[plumage.bill_length] * rng.uniform(0.93, 1.07)

    def grow_head(points: Points, share: float | NDArray[np.float64] = 1.0) -> Points:
        return points + (points - _HEAD_CENTER) * (head - 1) * np.reshape(share, (-1, 1))

    body = grow_head(_BODY, _HEAD_POINTS) * (1, plump)
    bill_base = (body[0] + body[-1]) / 2
    bill = _turn(_bill(plumage.bill_shape, bill_length) * (1, head), 0.10) + bill_base - (0.035, 0)
    tail = _tail(plumage.tail_shape) * (rng.uniform(0.94, 1.06), 1)
    angle = np.arctan2(_TAIL_DIRECTION[1], _TAIL_DIRECTION[0]) + rng.uniform(-0.10, 0.10)
    tail = _turn(tail, angle) + _TAIL_BASE
    legs, feet = [], []
    for line in _LEGS:
        foot = np.array([line[1, 0], 0.43 + leg])
        legs.append(np.stack([line[0], foot]))
        feet.append(np.array([foot + (-0.07, 0.015), foot, foot + (0.10, 0.015)]))
    eye = grow_head(_EYE[None])[0] * (1, plump)
    parts = {
        "back": np.array([-0.18, -0.19]), "beak": bill_base + (bill_length / 2, 0), "belly": np.array([0.08, 0.34]),
        "breast": np.array([0.46, 0.05]), "crown": body[2] + (0, 0.04), "forehead": body[1] + (-0.02, 0.03),
        "nape": body[5] + (0.05, 0.02), "throat": body[-2] + (-0.05, 0), "eye": eye, "leg": legs[1].mean(0),
        "wing": np.array([-0.15, 0.03]), "tail": tail.mean(0),
    }  # fmt: skip
    return _Shapes(
        body=_smooth(body),
        belly=_smooth(_BELLY * (1, plump)),
        wing=_smooth(_WING * (1, plump)),
        crown=_smooth(grow_head(_CROWN) * (1, plump)),
        tail=tail if plumage.tail_shape in ("squared_tail", "forked_tail") else _soften(tail),
        bill=bill,
        eye=_disc(eye, 0.044 * head**0.5),
        legs=legs,
        feet=feet,
        marks=_marks(plumage.wing_pattern),
        parts={name: point[None] for name, point in parts.items()},
    )


def _soften(points: Points) -> Points:
    """Round the corners of a closed polygon by Chaikin's corner cutting, twice."""
    for _ in range(2):
        after = np.roll(points, -1, 0)
        points = np.stack([0.75 * points + 0.25 * after, 0.25 * points + 0.75 * after], 1).reshape(-1, 2)
    return points


def _marks(pattern: str) -> list[Points]:
    """What is painted on the wing in its second colour."""
    along = np.array([-0.84, 0.36])  # the wing's long axis
    across = np.array([0.40, 0.92])
    start = np.array([0.06, -0.03])
    if pattern == "spotted":
        places = [(0.06, -0.055), (0.05, 0.075), (0.22, 0.01), (0.36, -0.06), (0.37, 0.075), (0.52, 0.01)]
        return [_disc(start + a * along + b * across, 0.036, 14) for a, b in places]
    if pattern == "striped":
        bars = []
        for a in (0.10, 0.30, 0.50):
            middle = start + a * along
            bars.append(np.array([middle - 0.2 * across - 0.034 * along, middle - 0.2 * across + 0.034 * along,
                                  middle + 0.2 * across + 0.034 * along, middle + 0.2 * across - 0.034 * along]))  # fmt: skip
        return bars
    if pattern == "multi-colored":  # the outer half
        near, far = start + 0.30 * along, start + 1.0 * along
        return [np.array([near - 0.3 * across, far - 0.3 * across, far + 0.3 * across, near + 0.3 * across])]
    return []


# ----------------------------------------------------------------------------------------------------------------
# Painting


class _Canvas:
    """An RGB picture at the oversampled resolution, painted with polygons in output pixels, and the bird's mask."""

    def __init__(self, width: int, height: int) -> None:
        self.size = (width, height)
        self._large = (width * OVERSAMPLING, height * OVERSAMPLING)
        self.image = Image.new("RGB", self._large)
        self.mask = Image.new("L", self._large)

    def area(self, points: Points) -> Image.Image:
        """The inside of a polygon as a mask."""
        area = Image.new("L", self._large)
        ImageDraw.Draw(area).polygon(self._flat(points), fill=255)
        return area

    def paint(self, color: Color, points: Points, within: Image.Image | None = None) -> Image.Image:
        """Fill a polygon, where `within` is given only the part of it inside, and return what was filled."""
        area = self.area(points)
        if within is not None:
            area = ImageChops.darker(area, within)
        self.image.paste(color, mask=area)
        return area

    def polygon(self, color: Color, points: Points) -> None:
        ImageDraw.Draw(self.image).polygon(self._flat(points), fill=color)

    def line(self, color: Color, points: Points, width: float, bird: bool = False) -> None:
        pixels = max(1, round(width * OVERSAMPLING))
        for layer, fill in ((self.image, color), (self.mask, 255)) if bird else ((self.image, color),):
            ImageDraw.Draw(layer).line(self._flat(points), fill=fill, width=pixels, joint="curve")

    def add_to_bird(self, area: Image.Image) -> None:
        self.mask.paste(255, mask=area)

    def _flat(self, points: Points) -> list[float]:
        return (points * OVERSAMPLING).ravel().tolist()


def _shade(color: Color, factor: float) -> Color:
    return (int(color[0] * factor), int(color[1] * factor), int(color[2] * factor))


def _edge(color: Color) -> Color:
    """The line around a part: darker than it, or lighter for black."""
    return (58, 58, 64) if max(color) < 60 else _shade(color, 0.62)


def _second_color(wing: str) -> Color:
    """The pattern on the wing: white on dark and bright wings, black on pale ones."""
    return PALETTE["black"] if wing in ("white", "yellow", "pink", "orange") else PALETTE["white"]


def _paint_bird(canvas: _Canvas, shapes: _Shapes, plumage: Plumage, unit: float) -> None:
    primary, belly = PALETTE[plumage.primary], PALETTE[plumage.belly]
    wing, crown = PALETTE[plumage.wing], PALETTE[plumage.crown]
    hair = 0.014 * unit
    for leg, foot in zip(shapes.legs, shapes.feet, strict=True):
        canvas.line(HORN, leg, 0.036 * unit, bird=True)
        canvas.line(HORN, foot, 0.03 * unit, bird=True)
    tail = canvas.paint(_shade(primary, 0.92), shapes.tail)
    canvas.line(_edge(primary), np.concatenate([shapes.tail, shapes.tail[:1]]), hair)
    bill = canvas.paint(HORN, shapes.bill)
    body = canvas.paint(primary, shapes.body)
    canvas.paint(belly, shapes.belly, within=body)
    canvas.paint(crown, shapes.crown, within=body)
    canvas.line(_edge(primary), np.concatenate([shapes.body, shapes.body[:1]]), hair)
    inside = canvas.paint(wing, shapes.wing)
    for mark in shapes.marks:
        canvas.paint(_second_color(plumage.wing), mark, within=inside)
    canvas.line(_edge(wing), np.concatenate([shapes.wing, shapes.wing[:1]]), 1.3 * hair)
    center = shapes.eye.mean(0)
    canvas.paint((236, 234, 228), center + (shapes.eye - center) * 1.32)
    canvas.paint(EYE, shapes.eye)
    canvas.paint((250, 250, 250), center + (shapes.eye - center) * 0.3 - 0.014 * unit)
    for area in (tail, bill, body, inside):
        canvas.add_to_bird(area)


def _paint_scenery(canvas: _Canvas, background: str, feet: Points, unit: float, rng: np.random.Generator) -> None:
    """Sky, and what the bird stands on. `feet` (2,) is the middle of its feet, `unit` the scale of the things around."""
    width, height = canvas.size
    top, bottom = SKIES[rng.integers(len(SKIES))]
    ramp = np.linspace(0, 1, height * OVERSAMPLING)[:, None, None]
    rows = np.round(np.array(top) * (1 - ramp) + np.array(bottom) * ramp).astype(np.uint8)
    canvas.image.paste(Image.fromarray(rows).resize(canvas.image.size, Image.Resampling.NEAREST))
    x = np.linspace(-0.1 * width, 1.1 * width, 40)

    def ground(color: Color, y: NDArray[np.float64]) -> None:
        canvas.polygon(color, np.concatenate([np.stack([x, y], 1), [(1.1 * width, height), (-0.1 * width, height)]]))

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
            twig = np.array([start, start + (side * 0.25 * unit, -0.22 * unit * rng.uniform(0.7, 1.2))])
            canvas.line(tone, twig, 0.6 * thick)
            leaf = _turn(_disc(np.zeros(2), (0.13 * unit, 0.055 * unit)), -side * 0.8)
            canvas.polygon(GRASS[rng.integers(len(GRASS))], leaf + twig[1])
    elif background == "grass":
        ground(GRASS[0], feet[1] + 0.02 * unit + 0.03 * unit * np.sin(x / unit + rng.uniform(0, 6)))
        blades = 46
        base = np.stack([rng.uniform(0, width, blades), feet[1] + rng.uniform(0.0, 0.5, blades) * unit], 1)
        tip = base + np.stack([rng.uniform(-0.12, 0.12, blades), -rng.uniform(0.14, 0.30, blades)], 1) * unit
        for i in np.argsort(base[:, 1]):
            half = (0.028 * unit, 0)
            canvas.polygon(GRASS[i % len(GRASS)], np.array([base[i] - half, tip[i], base[i] + half]))
    elif background == "water":
        shore = feet[1] - 0.16 * unit
        ground(WATER[0], np.full_like(x, shore))
        for _ in range(12):
            center = np.array([rng.uniform(0, width), shore + rng.uniform(0.05, 0.7) * unit])
            canvas.polygon(WATER[1 + rng.integers(2)], _disc(center, (rng.uniform(0.15, 0.4) * unit, 0.018 * unit)))
        canvas.polygon(ROCK[1], _disc(feet + (0, 0.07 * unit), (0.34 * unit, 0.085 * unit), 40))
    else:  # rock
        tone = ROCK[rng.integers(len(ROCK))]
        ground(GRASS[rng.integers(len(GRASS))], feet[1] + 0.30 * unit + 0.02 * unit * np.sin(x / unit))
        outline = [(-0.62, 0.55), (-0.5, 0.18), (-0.26, 0.02), (0.0, -0.005), (0.28, 0.02), (0.46, 0.2), (0.64, 0.55)]
        stone = np.array(outline) * (rng.uniform(0.9, 1.15), 1) * unit
        canvas.polygon(tone, feet + _soften(stone))
        canvas.polygon(_shade(tone, 1.10), feet + _soften(np.array(outline[1:6]) * (0.8, 0.55) * unit + (0, 0.01 * unit)))


BACKGROUNDS = ("branch", "grass", "water", "rock")
_PAIRED_PARTS = ("eye", "leg", "wing")


def draw_bird(plumage: Plumage, background: str, image_size: int, rng: np.random.Generator) -> Drawing:
    """Draw one bird of a species.

    The picture is somewhat larger than what `prepare` cuts out of it: the box's longer side is 1.03 to 1.2 times two
    thirds of image_size * 76/64, so that the square of 1.5 times the box is inside the picture and is never enlarged.

    Args:
        plumage: The species.
        background: One of `BACKGROUNDS`.
        image_size: Side of the picture after `prepare` and the loader's crop, in pixels.
        rng: Decides the pose, the small differences in proportion, the place in the picture and the scenery.
    """
    load = image_size * 76 / 64
    width, height = round(1.6 * load), round(1.4 * load)
    shapes = _shapes(plumage, rng)
    left = rng.random() < 0.5
    angle = rng.uniform(-0.09, 0.09)
    shapes = shapes.moved(lambda p: _turn(p, angle) * ((-1, 1) if left else (1, 1)))
    low, high = shapes.extent()
    unit = load / 1.5 * rng.uniform(1.03, 1.2) / (high - low).max()
    place = np.array([width, height]) / 2 + rng.uniform(-1, 1, 2) * (0.12 * load, 0.06 * load)
    shapes = shapes.moved(lambda p: (p - (low + high) / 2) * unit + place)

    canvas = _Canvas(width, height)
    feet = np.array([np.mean([foot[1, 0] for foot in shapes.feet]), max(foot[:, 1].max() for foot in shapes.feet)])
    _paint_scenery(canvas, background, feet, unit * _PROPORTIONS[plumage.size][2], rng)
    _paint_bird(canvas, shapes, plumage, unit)
    image, mask = canvas.image.reduce(OVERSAMPLING), canvas.mask.reduce(OVERSAMPLING)
    rows, columns = np.nonzero(np.asarray(mask) >= 128)
    x, y = int(columns.min()), int(rows.min())
    box = (x, y, int(columns.max()) - x + 1, int(rows.max()) - y + 1)
    return Drawing(_light(image, mask, box), mask, box, _visible_parts(shapes, left))


def _light(image: Image.Image, mask: Image.Image, box: tuple[int, int, int, int]) -> Image.Image:
    """Light from above: the bird is a little brighter at the top and darker below."""
    x, y, width, height = box
    pixels = np.asarray(image, dtype=np.float32)
    down = np.clip((np.arange(image.height, dtype=np.float32) - y) / height, 0, 1)[:, None]
    cover = np.asarray(mask, dtype=np.float32) / 255
    factor = 1 + cover * (0.06 - 0.20 * down**1.5)
    return Image.fromarray(np.clip(pixels * factor[:, :, None] + 0.5, 0, 255).astype(np.uint8))


def _visible_parts(shapes: _Shapes, left: bool) -> dict[str, tuple[float, float] | None]:
    parts: dict[str, tuple[float, float] | None] = {}
    near, far = ("left", "right") if left else ("right", "left")  # a bird that looks left shows its left side
    for name, point in shapes.parts.items():
        place = (float(point[0, 0]), float(point[0, 1]))
        if name in _PAIRED_PARTS:
            parts[f"{near} {name}"] = place
            parts[f"{far} {name}"] = None
        else:
            parts[name] = place
    return parts


def draw_many(species: Sequence[Plumage], background: Sequence[str], image_size: int, seed: int) -> list[Drawing]:
    """Draw one picture for each pair of species and background."""
    return [
        draw_bird(p, b, image_size, np.random.default_rng([seed, i]))
        for i, (p, b) in enumerate(zip(species, background, strict=True))
    ]
