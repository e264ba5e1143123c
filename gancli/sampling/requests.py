"""Images to draw: their captions, and the order in which those of a dataset are taken."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gancli.data.shards import Split
from gancli.errors import DataError

_UNSAFE = re.compile(r"[^A-Za-z0-9]+")


@dataclass(frozen=True)
class Request:
    """An image to be drawn, and the origin of its caption.

    Attributes:
        caption: Text that is asked for.
        key: Image the caption belongs to; empty for a text that is no dataset's.
        class_id: Class of that image.
        variant: Number of the image among those of one caption, or of the pass over a split, from 0.
        held: Variant whose noise this one keeps where not all of it varies.
        index: Index of that image in its split.
        position: Index of the caption among the image's captions, or of the utterance among its utterances.
        second_caption: Second sentence of an image between two; else empty.
        weight: Weight of the second sentence against the first, in [0, 1].
        audio: Audio file it is drawn from, as it was given; else empty.
        audio_sha256: Hash of that file, or of the samples of a spoken text; else empty.
        voice: Voice that spoke the caption for it; else empty.
        heard: Index of the other image whose speech it is drawn from, and of the utterance; else None.
    """

    caption: str
    key: str = ""
    class_id: int | None = None
    variant: int = 0
    held: int = 0
    index: int | None = None
    position: int | None = None
    second_caption: str = ""
    weight: float = 0.0
    audio: str = ""
    audio_sha256: str = ""
    voice: str = ""
    heard: tuple[int, int] | None = None

    @property
    def label(self) -> str:
        """The caption, or the name of the audio file where its words are not known."""
        return self.caption or Path(self.audio).name


# Captions that an image of a split can be drawn from, each with its number among all captions of the image
Captions = Callable[[Split, int], list[tuple[int, str]]]


def written_captions(split: Split, index: int) -> list[tuple[int, str]]:
    """Return the captions of an image, numbered."""
    return list(enumerate(split.captions(index)))


def spoken_captions(split: Split, index: int) -> list[tuple[int, str]]:
    """Return the caption of each utterance of an image, with its number.

    Raises:
        DataError: No caption of the image is spoken.
    """
    captions = split.captions(index)
    spoken = [(number, captions[number]) for number in split.speech_captions(index).tolist()]
    if not spoken:
        raise DataError(f"{split.folder}: no caption of the image {split.keys[index]!r} is spoken")
    return spoken


def first_of_classes(split: Split, count: int) -> NDArray[np.int64]:
    """Return the indices of the first `count` images of each class by name, in order."""
    order = np.lexsort((np.array(split.keys), split.class_ids))  # class by class, names in order
    in_order = split.class_ids[order]
    number = np.arange(len(order)) - np.searchsorted(in_order, in_order)  # of each image in its class
    first: NDArray[np.int64] = np.sort(order[number < count])
    return first


def walk(
    split: Split,
    images: NDArray[np.int64],
    n: int | None,
    seed: int,
    captions_of: Captions = written_captions,
) -> list[Request]:
    """Return `n` requests: pass by pass over images in random order, one random caption of each.

    Args:
        split: Split of the images.
        images: Indices of at least one image.
        n: Number of requests; None for one of each image.
        seed: Seed of order and captions.
        captions_of: Captions that an image can be drawn from.
    """
    n = len(images) if n is None else n
    keys, class_ids = split.keys, split.class_ids
    requests = []
    for start in range(0, n, len(images)):
        number = start // len(images)
        rng = np.random.default_rng([seed, number])
        order = images[rng.permutation(len(images))[: n - start]]
        for index, chance in zip(order.tolist(), rng.random(len(order)), strict=True):
            captions = captions_of(split, index)
            position = int(chance * len(captions))
            caption = captions[position][1]
            requests.append(
                Request(caption, keys[index], int(class_ids[index]), number, number, index, position)
            )
    return requests


def in_turn(
    split: Split, images: NDArray[np.int64], captions_each: int, captions_of: Captions = written_captions
) -> list[Request]:
    """Return the first captions of each image, image by image; all where an image has fewer.

    A sentence that an image has twice gives two different images. One that several voices speak counts once.
    """
    requests = []
    for index in images.tolist():
        key, class_id = split.keys[index], int(split.class_ids[index])
        first: dict[int, tuple[int, str]] = {}  # by the caption's number
        for position, (number, caption) in enumerate(captions_of(split, index)):
            first.setdefault(number, (position, caption))
        chosen = list(first.values())[:captions_each]
        texts = [caption for _, caption in chosen]
        for rank, (position, caption) in enumerate(chosen):
            earlier = texts[:rank].count(caption)
            requests.append(Request(caption, key, class_id, earlier, earlier, index, position))
    return requests


def with_variants(requests: Sequence[Request], variants: int) -> list[Request]:
    """Return each request `variants` times in a row.

    The variant of a dataset's request is its pass over the split; further variants are numbered on from there.
    """
    passes = 1 + max(request.variant for request in requests)
    return [
        replace(request, variant=request.variant + passes * number)
        for request in requests
        for number in range(variants)
    ]


def captions_hash(requests: Sequence[Request]) -> str:
    """Return the sha256 of all captions in order, and of the sound of the spoken ones."""
    digest = hashlib.sha256()
    for request in requests:
        sound = f"\0{request.audio_sha256}" if request.voice else ""
        digest.update(f"{identity(request, request.variant)}{sound}\n".encode())
    return digest.hexdigest()


def identity(request: Request, variant: int) -> str:
    """Return the text from which an image's noise is drawn."""
    # A spoken text is told from others by its words, a recording by its sound
    audio = f"\0{request.audio_sha256}" if request.audio else ""
    return f"{request.caption}\0{request.key}\0{variant}{audio}"


def file_names(requests: Sequence[Request]) -> list[str]:
    """Return a numbered file name for each image, with its key or the first words of its caption."""
    digits = max(4, len(str(len(requests) - 1)))
    names = []
    for number, request in enumerate(requests):
        text = f"between {request.weight:.3f}" if request.second_caption else request.caption
        text = request.key.rpartition("/")[2] or text or Path(request.audio).stem
        names.append(f"{number:0{digits}d}-{slug(text) or 'image'}.png")
    return names


def slug(text: str, most: int = 48) -> str:
    """Return the first letters and digits of a text with hyphens between, as part of a file name."""
    return _UNSAFE.sub("-", text).strip("-")[:most]
