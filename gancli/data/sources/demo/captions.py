"""Captions of the demo dataset: the writer, and the parser that finds the colours a caption asks for."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gancli.data.sources.demo.drawing import COLORS, Plumage
from gancli.data.text import tokenize

MAX_WORDS = 18  # the caption length of AttnGAN's configuration for birds
BELLY_SHARE = 0.8  # share of the captions that name the belly's colour


@dataclass(frozen=True)
class Caption:
    """A sentence and the colours it names, by part: "primary" always, "belly", "wing" and "crown" where named."""

    text: str
    named: dict[str, str]


# ----------------------------------------------------------------------------------------------------------
# Writing

# Beginnings of a sentence. A second entry is listed among the parts that follow.
_OPENINGS: tuple[tuple[str, str | None], ...] = (
    ("this {size}bird has", "a {primary} body"),
    ("this {size}bird has", "{primary} feathers"),
    ("a {size}bird with", "a {primary} body"),
    ("a {size}bird with", "{primary} feathers"),
    ("a {size}{primary} bird with", None),
    ("this {size}{primary} bird has", None),
    ("this is a {size}{primary} bird with", None),
    ("this {size}bird is {primary} with", None),
    ("this {size}bird is {primary} and has", None),
    ("the {size}bird is mostly {primary} and has", None),
    ("a {size}bird that is {primary} with", None),
    ("the body of this {size}bird is {primary} and it has", None),
    ("{size}{primary} bird with", None),
    ("this bird is {size}and {primary} with", None),
)
_NEEDS_SIZE = len(_OPENINGS) - 1
_SIZES = {
    "small_(5_-_9_in)": ("small", "little"),
    "medium_(9_-_16_in)": ("medium sized",),
    "large_(16_-_32_in)": ("large", "big"),
}
_BILL_SHAPES = {
    "cone": ("thick", "cone shaped"),
    "dagger": ("pointed", "sharp"),
    "hooked": ("hooked",),
    "needle": ("thin", "narrow"),
    "curved_(up_or_down)": ("curved",),
}
_BILL_LENGTHS = {"shorter_than_head": "short ", "about_the_same_as_head": "", "longer_than_head": "long "}
_TAILS = {
    "forked_tail": "forked",
    "rounded_tail": "rounded",
    "fan-shaped_tail": "fan shaped",
    "pointed_tail": "pointed",
    "squared_tail": "square",
}
_WINGS = {
    "solid": ("{color} wings", "plain {color} wings"),
    "spotted": ("spotted {color} wings", "{color} wings with spots"),
    "striped": ("striped {color} wings", "{color} wings with bars"),
    "multi-colored": ("multicolored {color} wings", "{color} wings with contrasting tips"),
}
_WINGS_WITHOUT_COLOR = {
    "solid": "plain wings",
    "spotted": "spotted wings",
    "striped": "striped wings",
    "multi-colored": "multicolored wings",
}
_SCENES = {
    "branch": ("sitting on a branch", "perched on a branch"),
    "grass": ("standing in the grass", "in the grass"),
    "water": ("standing by the water", "near the water"),
    "rock": ("standing on a rock", "sitting on a rock"),
}
_BELLIES = ("a {color} belly", "a {color} belly", "a {color} underside", "a {color} stomach")
_CROWNS = ("a {color} crown", "a {color} cap")
_BILLS = ("bill", "beak")


@dataclass(frozen=True)
class _Part:
    """One item of a caption's list, with the colour it names, if any."""

    text: str
    key: str = ""
    color: str = ""


def write_captions(
    plumage: Plumage, background: str, rng: np.random.Generator, count: int = 10
) -> list[Caption]:
    """Write the captions of one image, of at most `MAX_WORDS` words, in front of one of `BACKGROUNDS`.

    Openings repeat only after all of them were used. Every caption names the primary colour, four of five name the
    belly's colour, and each mentions some of crown, wings, bill, tail, size and background.
    """
    rounds = -(-count // len(_OPENINGS))
    openings = np.concatenate([rng.permutation(len(_OPENINGS)) for _ in range(rounds)])[:count]
    with_belly = rng.permutation(count) < round(BELLY_SHARE * count)
    return [
        _write(int(opening), bool(belly), plumage, background, rng)
        for opening, belly in zip(openings, with_belly, strict=True)
    ]


def _write(opening: int, belly: bool, plumage: Plumage, background: str, rng: np.random.Generator) -> Caption:
    extra_count = 1 if belly and rng.random() < 0.6 else 2
    extras = [_extra(kind, plumage, rng) for kind in rng.permutation(4)[:extra_count]]
    parts = list(extras)
    if belly:
        part = _Part(_one_of(_BELLIES, rng).format(color=plumage.belly), "belly", plumage.belly)
        parts.insert(0 if rng.random() < 0.7 else len(parts), part)
    size = ""
    if opening == _NEEDS_SIZE or rng.random() < 0.45:
        size = _one_of(_SIZES[plumage.size], rng) + " "
    scene = _one_of(_SCENES[background], rng) if rng.random() < 0.25 else ""
    primary_last = rng.random() < 0.2

    text = _sentence(opening, plumage.primary, primary_last, size, parts, scene)
    while len(tokenize(text)) > MAX_WORDS:  # drop the scene first, then the extras
        if scene:
            scene = ""
        else:
            parts.remove(extras.pop())
        text = _sentence(opening, plumage.primary, primary_last, size, parts, scene)
    return Caption(text, {"primary": plumage.primary} | {part.key: part.color for part in parts if part.key})


def _one_of(options: Sequence[str], rng: np.random.Generator) -> str:
    return options[int(rng.integers(len(options)))]


def _extra(kind: int, plumage: Plumage, rng: np.random.Generator) -> _Part:
    if kind == 0:
        return _Part(_one_of(_CROWNS, rng).format(color=plumage.crown), "crown", plumage.crown)
    if kind == 1:
        if rng.random() < 0.2:
            return _Part(_WINGS_WITHOUT_COLOR[plumage.wing_pattern])
        wings = _one_of(_WINGS[plumage.wing_pattern], rng).format(color=plumage.wing)
        return _Part(wings, "wing", plumage.wing)
    if kind == 2:
        shape = _one_of(_BILL_SHAPES[plumage.bill_shape], rng)
        return _Part(f"a {_BILL_LENGTHS[plumage.bill_length]}{shape} {_one_of(_BILLS, rng)}")
    return _Part(f"a {_TAILS[plumage.tail_shape]} tail")


def _sentence(
    opening: int, primary: str, primary_last: bool, size: str, parts: Sequence[_Part], scene: str
) -> str:
    start, listed = _OPENINGS[opening]
    items = [part.text for part in parts]
    if listed is not None:
        items.insert(len(items) if primary_last else 0, listed.format(primary=primary))
    listing = items[-1] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}"
    text = f"{start.format(size=size, primary=primary)} {listing}{' ' if scene else ''}{scene}"
    return re.sub(r"\ba(?= orange\b)", "an", text)


# ----------------------------------------------------------------------------------------------------------
# Reading

_NOUNS = {
    "primary": "bird body bodied feathers feathered plumage coat one",
    "belly": "belly bellied underbelly underside underparts stomach abdomen tummy",
    "wing": "wing wings winged",
    "crown": "crown crowned cap capped",
    # Parts without a colour of their own in the drawings
    "": "back beak bill breast breasted chest eye eyed eyes eyering face feet foot head headed leg legged legs neck"
    " nape throat throated tail tailed tip tips tipped spot spots bar bars wingbars stripe stripes patch band cheek"
    " cheeks crest eyebrow",
}
_PARTS = {noun: part for part, nouns in _NOUNS.items() for noun in nouns.split()}
_COPULAS = frozenset(("is", "are", "was", "were", "of"))
_RELATIVES = frozenset(("that", "which", "all"))  # may stand before a copula
_ENDS = frozenset(  # words that end a noun phrase
    (
        *("a", "an", "the", "its", "it", "this", "that", "which", "whose", "their", "with", "without", "has", "have"),
        *("having", "in", "on", "by", "near", "at", "and", "or", "but", "while", "sitting", "standing", "perched"),
        "flying",
    )
)  # fmt: skip


def asked_colors(caption: str) -> dict[str, str]:
    """Return the names of the colours that an English sentence asks for, by part ("primary", "belly", "wing", "crown").

    Understands "a red bird with a blue belly", "red-bellied", "its belly is red", "a belly that is red", "the belly
    of the bird is red" and "red body and belly". The first of several colours of a part counts. A colour without a
    part is the primary colour, unless the sentence names another. Only the names in `drawing.PALETTE` count as colours.
    """
    tokens = tokenize(caption)
    asked: dict[str, str] = {}
    loose: list[str] = []
    for position, color in enumerate(tokens):
        if color not in COLORS:
            continue
        part = _part_before(tokens, position, through_and=False)
        if part is None and (noun := _noun_after(tokens, position)) is not None:
            part = _PARTS[tokens[noun]]
            match tokens[noun + 1 : noun + 3]:
                case ["and", other] if _PARTS.get(other):  # "red body and belly"
                    asked.setdefault(_PARTS[other], color)
        if part is None:
            part = _part_before(tokens, position, through_and=True)
        if part:
            asked.setdefault(part, color)
        elif part is None and (position + 1 == len(tokens) or tokens[position + 1] in _ENDS):
            loose.append(color)
    if loose:
        asked.setdefault("primary", loose[0])
    return asked


def _noun_after(tokens: list[str], color: int) -> int | None:
    """Return the index of the noun described by the colour at index `color`: "red wings", "red and blue wings"."""
    for index in range(color + 1, len(tokens)):
        word = tokens[index]
        if word in _PARTS:
            return index
        between_colors = word == "and" and index + 1 < len(tokens) and tokens[index + 1] in COLORS
        if (word in _ENDS or word in _COPULAS) and not between_colors:
            return None
    return None


def _part_before(tokens: list[str], color: int, *, through_and: bool) -> str | None:
    """Return the part that a copula gives the colour at index `color`: "belly is red", "body of red".

    With `through_and` also "is small and red". The empty string is a part that has no colour of its own.
    """
    subject = _copula_before(tokens, color, through_and)
    while subject >= 0 and (tokens[subject] in _COPULAS or tokens[subject] in _RELATIVES):
        subject -= 1
    if subject < 0:
        return None
    if tokens[subject] in ("this", "it"):
        return "primary"
    owner = subject - 1
    while owner >= 0 and tokens[owner] not in _PARTS and tokens[owner] not in ("of", "with", "and"):
        owner -= 1
    # "the belly of this small bird is red"
    if owner >= 1 and tokens[owner] == "of" and tokens[owner - 1] in _PARTS:
        return _PARTS[tokens[owner - 1]]
    return _PARTS.get(tokens[subject])


def _copula_before(tokens: list[str], color: int, through_and: bool) -> int:
    """Return the index of the copula whose phrase reaches the colour at index `color`; -1 if there is none."""
    for index in range(color - 1, -1, -1):
        word = tokens[index]
        if word in _COPULAS:
            return index
        if word in _PARTS or (word in _ENDS and not (through_and and word == "and")):
            return -1
    return -1
