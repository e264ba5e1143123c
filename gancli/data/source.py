"""Raw datasets as their readers hand them over: plain Python and NumPy, no HDF5, no torch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class BoundingBox:
    """A box in pixels of the original image; `x`, `y` is its top left corner (CUB's bounding_boxes.txt)."""

    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True, slots=True)
class Recording:
    """An audio file in which somebody speaks the caption of that number, from 0, of its image; `prepare` decodes it."""

    caption: int
    path: Path


@dataclass(frozen=True, slots=True)
class PartLocations:
    """Locations of the visible parts of an object, (x, y) in pixels of the original image; may be empty."""

    points: tuple[tuple[float, float], ...]


@dataclass(frozen=True, slots=True)
class Sample:
    """An image with everything that its dataset says about it.

    Attributes:
        key: Unique name in the dataset, without extension ("002.Laysan_Albatross/Laysan_Albatross_0002_1027").
        split: Split of the image, "train", "test" or "val".
        image: Image file; `prepare` decodes it, never the reader.
        captions: At least one sentence, in file order.
        class_id: Index into `Source.class_names`; None where the dataset has no classes.
        box: Bounding box of the object; None to keep the whole image.
        attributes: (A,) float32 in [0, 1], in the order of `Source.attribute_names`.
        silhouette: Image of the same size whose grey levels are the probability of the object, or the locations from
            which a silhouette is estimated; None for no silhouette.
        recordings: Recordings in the order of the captions, several of one caption one after the other; empty without
            recordings.
    """

    key: str
    split: str
    image: Path
    captions: tuple[str, ...]
    class_id: int | None = None
    box: BoundingBox | None = None
    attributes: NDArray[np.float32] | None = None
    silhouette: Path | PartLocations | None = None
    recordings: tuple[Recording, ...] = ()


@dataclass(frozen=True, slots=True)
class BadSample:
    """An image that cannot be used, with the reason; `prepare` lists all of them."""

    key: str
    reason: str


@dataclass(frozen=True, slots=True)
class Source:
    """An opened raw dataset: facts about all of it, and its samples one by one in a fixed order.

    Attributes:
        name: The dataset's short name, which also selects its recipes ("cub").
        samples: Samples, read lazily and once. A record that is wrong becomes a `BadSample`.
        release: Published dataset ("CUB-200-2011"), or "own images". Scores of different releases do not compare.
        split_rule: Rule that divides the images into splits ("zero-shot 150/50"). Scores of different rules do not
            compare.
        class_names, attribute_names: Empty without classes or attributes.
        attribute_encoding: Meaning of an attribute's number: "binary", "soft" or "class"; "" without attributes.
        fingerprint: Hashes of the files that define the dataset, {relative path: sha256}.
    """

    name: str
    samples: Iterator[Sample | BadSample]
    release: str = field(kw_only=True)
    split_rule: str = field(kw_only=True)
    class_names: tuple[str, ...] = ()
    attribute_names: tuple[str, ...] = ()
    attribute_encoding: str = ""
    fingerprint: Mapping[str, str] = field(default_factory=dict)
