"""Which images to draw: sentences of one's own, the captions of a dataset, or the way between two sentences."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gancli.data.shards import Split
from gancli.errors import DataError, UsageError

_SLUG = re.compile(r"[^A-Za-z0-9]+")


@dataclass(frozen=True)
class Request:
    """An image to be drawn, and where its caption comes from.

    Attributes:
        caption: What is asked for.
        key: The image the caption belongs to; empty for a text of one's own.
        class_id: That image's class.
        variant: Counts the images of one caption, or the passes over a split, from 0.
        held: The variant whose noise this one keeps where not all of it varies.
        index: That image's place in its split.
        position: The caption's place among the image's captions, or the utterance's among its utterances.
        second_caption: Where the image lies between two sentences: the other one; else empty.
        weight: Of the second sentence against the first, in [0, 1].
        audio: The audio file it is drawn from, as it was given; else empty.
        audio_sha256: Of that file, or of the samples of a text that was spoken; else empty.
        voice: Who spoke the caption for it; else empty.
        heard: Where it is drawn from the speech of another image: that image's place, and the utterance's.
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
        """What to call it: its caption, or its file where nobody has written down what is said."""
        return self.caption or Path(self.audio).name


def given(texts: Sequence[str], captions_file: Path | None) -> list[Request]:
    """Sentences, then those of a UTF-8 text file with one a line; empty lines are skipped.

    Raises:
        DataError: The file is missing, not UTF-8, or empty.
        UsageError: There are none.
    """
    captions = [text.strip() for text in texts]
    if captions_file is not None:
        try:
            lines = captions_file.read_text(encoding="utf-8-sig").splitlines()
        except FileNotFoundError:
            raise DataError(f"{captions_file}: no such file") from None
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(f"{captions_file}: cannot be read as UTF-8 text ({error})") from error
        lines = [line.strip() for line in lines if line.strip()]
        if not lines:
            raise DataError(f"{captions_file}: holds no caption", "Write one sentence per line.")
        captions += lines
    if not captions:
        raise UsageError(
            "nothing to draw", 'Say --text "a small red bird", --captions FILE, or --data DIR --split test.'
        )
    return [Request(caption) for caption in captions]


def first_of_classes(split: Split, count: int) -> NDArray[np.int64]:
    """The first `count` images of each class by name (all of a class that has fewer): their places, in order."""
    order = np.lexsort((np.array(split.keys), split.class_ids))  # class by class, names in order
    in_order = split.class_ids[order]
    number = np.arange(len(order)) - np.searchsorted(in_order, in_order)  # of each image in its class
    first: NDArray[np.int64] = np.sort(order[number < count])
    return first


def of_dataset(
    split: Split,
    *,
    n: int | None,
    seed: int,
    images_per_class: int | None,
    captions_per_image: int | None,
    spoken: bool = False,
) -> list[Request]:
    """Captions of a split: random ones of images in random order, or the first ones of each image in turn.

    Args:
        split: Where they are.
        n: How many random ones; None: one of each image.
        seed: Of order and captions.
        images_per_class: Take only the first images of each class by name; None: all.
        captions_per_image: Take the first captions of each image, in order; None: random ones.
        spoken: Only captions that are spoken; where several voices speak one, in turn its first.

    Raises:
        DataError: The split is empty, or an image has no caption of that kind.
    """
    if len(split) == 0:
        raise DataError(f"{split.folder}: the split {split.name!r} is empty")
    images = np.arange(len(split)) if images_per_class is None else first_of_classes(split, images_per_class)
    captions = _spoken if spoken else _written
    if captions_per_image is None:
        return walk(split, images, n, seed, captions)
    return in_turn(split, images, captions_per_image, captions)


# The captions that an image of a split can be drawn from, each with its number among all captions of the image
Captions = Callable[[Split, int], list[tuple[int, str]]]


def _written(split: Split, index: int) -> list[tuple[int, str]]:
    return list(enumerate(split.captions(index)))


def _spoken(split: Split, index: int) -> list[tuple[int, str]]:
    """One for each utterance."""
    captions = split.captions(index)
    spoken = [(number, captions[number]) for number in split.speech_captions(index).tolist()]
    if not spoken:
        raise DataError(f"{split.folder}: no caption of the image {split.keys[index]!r} is spoken")
    return spoken


def walk(
    split: Split,
    images: NDArray[np.int64],
    n: int | None,
    seed: int,
    captions_of: Captions = _written,
) -> list[Request]:
    """`n` captions: pass by pass over images of a split in random order, one random caption each time.

    Args:
        split: Where the images are.
        images: At least one place in it.
        n: How many; None: one of each image.
        seed: Of order and captions.
        captions_of: What an image of the split can be drawn from.
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
            requests.append(
                Request(
                    captions[position][1], keys[index], int(class_ids[index]), number, number, index, position
                )
            )
    return requests


def in_turn(
    split: Split, images: NDArray[np.int64], captions_each: int, captions_of: Captions = _written
) -> list[Request]:
    """The first captions of each image of a split, image by image; all where an image has fewer.

    An image that has a sentence twice gets two different images of it; one that several voices speak counts once.
    """
    requests = []
    for index in images.tolist():
        key, class_id = split.keys[index], int(split.class_ids[index])
        first: dict[int, tuple[int, str]] = {}  # by the caption's number
        for position, (number, caption) in enumerate(captions_of(split, index)):
            first.setdefault(number, (position, caption))
        chosen = list(first.values())[:captions_each]
        texts = [caption for _, caption in chosen]
        for place, (position, caption) in enumerate(chosen):
            earlier = texts[:place].count(caption)
            requests.append(Request(caption, key, class_id, earlier, earlier, index, position))
    return requests


def between(first: str, second: str, steps: int, variants: int) -> list[Request]:
    """The way from one sentence to another in even steps, both ends included, once for each variant.

    All images of a variant share the noise of the first sentence's.

    Raises:
        UsageError: A sentence is empty.
    """
    first, second = first.strip(), second.strip()
    if not first or not second:
        raise UsageError("an interpolation needs two sentences, one of them is empty")
    return [
        Request(first, variant=variant, second_caption=second, weight=step / (steps - 1))
        for variant in range(variants)
        for step in range(steps)
    ]


def with_variants(requests: Sequence[Request], variants: int) -> list[Request]:
    """Each request `variants` times in a row.

    A dataset's request carries its pass as variant already; further variants are numbered on from there.
    """
    passes = 1 + max(request.variant for request in requests)
    return [
        replace(request, variant=request.variant + passes * number)
        for request in requests
        for number in range(variants)
    ]


def captions_hash(requests: Sequence[Request]) -> str:
    """sha256 of all captions in order, and of how the spoken ones sound."""
    digest = hashlib.sha256()
    for request in requests:
        sound = f"\0{request.audio_sha256}" if request.voice else ""
        digest.update(f"{identity(request, request.variant)}{sound}\n".encode())
    return digest.hexdigest()


def identity(request: Request, variant: int) -> str:
    """What tells an image's noise from that of others."""
    return f"{request.caption}\0{request.key}\0{variant}{_of_audio(request)}"


def _of_audio(request: Request) -> str:
    """The file an image is drawn from; nothing for a spoken text, which its words tell from others."""
    return f"\0{request.audio_sha256}" if request.audio else ""


def file_names(requests: Sequence[Request]) -> list[str]:
    """Numbered, so that no two are the same, with the key or the caption's first words to recognise them by."""
    digits = max(4, len(str(len(requests) - 1)))
    names = []
    for number, request in enumerate(requests):
        text = f"between {request.weight:.3f}" if request.second_caption else request.caption
        text = text or Path(request.audio).stem
        slug = _SLUG.sub("-", request.key.rpartition("/")[2] or text).strip("-")[:48]
        names.append(f"{number:0{digits}d}-{slug or 'image'}.png")
    return names
