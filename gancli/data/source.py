"""What one image brings, as every reader of a raw layout hands it over: plain Python and NumPy, no HDF5, no torch."""

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
    """An audio file in which somebody speaks a caption.

    Attributes:
        caption: Number of the caption among those of its image, from 0.
        path: The file; like images it is decoded by `prepare`.
    """

    caption: int
    path: Path


@dataclass(frozen=True, slots=True)
class PartLocations:
    """Where the visible parts of an object lie, from which its outline is estimated.

    Attributes:
        points: (x, y) of each in pixels of the original image; there may be none.
    """

    points: tuple[tuple[float, float], ...]


@dataclass(frozen=True, slots=True)
class Sample:
    """One image with everything its dataset says about it.

    Attributes:
        key: Name unique in the dataset, without extension ("002.Laysan_Albatross/Laysan_Albatross_0002_1027").
        split: The part it belongs to, "train" or "test".
        image: The file; it is decoded by `prepare`, never by the reader.
        captions: At least one sentence, in file order.
        class_id: Index into `Source.class_names`, None where the dataset has no classes.
        box: The object, None to keep the whole image.
        attributes: (A,) float32 in [0, 1], in the order of `Source.attribute_names`.
        silhouette: An image of the same size whose grey levels are the probability of the object, or what an
            outline is estimated from; None where neither is wanted.
        recordings: Of the captions, in their order, several of a caption one after the other; empty where nobody
            recorded them.
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
    """An image that cannot be used, and why; `prepare` lists all of them."""

    key: str
    reason: str


@dataclass(frozen=True, slots=True)
class Source:
    """A raw dataset, opened: what holds for all of it, and its samples one by one in a fixed order.

    Attributes:
        name: The dataset's short name, which also selects its recipes ("cub").
        samples: Samples, read lazily and once. A record that is wrong becomes a `BadSample`.
        release: Published dataset ("CUB-200-2011"), or "own images". Scores of different releases do not compare.
        split_rule: Rule that divides the images into splits ("zero-shot 150/50"). Scores of different rules do not
            compare.
        class_names: Empty where there are no classes.
        attribute_names: Empty where there are no attributes.
        attribute_encoding: What an attribute's number means: "binary", "soft" or "class"; "" where there are none.
        fingerprint: Hashes of the files that define the dataset, for the manifest: {relative path: sha256}.
    """

    name: str
    samples: Iterator[Sample | BadSample]
    release: str = field(kw_only=True)
    split_rule: str = field(kw_only=True)
    class_names: tuple[str, ...] = ()
    attribute_names: tuple[str, ...] = ()
    attribute_encoding: str = ""
    fingerprint: Mapping[str, str] = field(default_factory=dict)
