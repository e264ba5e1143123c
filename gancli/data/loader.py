"""Batches of a dataset split as a pure function of (seed, step): crop, flip, image pyramid and captions.

Pixels stay uint8 for cropping, flipping and resizing in whole batches, and become float once at the end. Torch's
antialiased bilinear resize of uint8 gives the same bytes as Pillow's, which the published models were trained with.
The random numbers of a step are drawn for all ranks, and each rank takes its part. So N processes with batches of B
see exactly what one process with batches of N * B sees.
"""

from __future__ import annotations

import itertools
import math
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from typing import Literal, Protocol, Self, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset

from gancli.data.holes import Hole, Holes
from gancli.data.shards import FOREGROUND, Split
from gancli.data.text import crop_tokens, pad_tokens
from gancli.errors import DataError, GancliError

B = TypeVar("B")  # any kind of batch

Crop = Callable[[int, int, int, int], NDArray[np.uint8]]  # window of an image by index, top, left and size
Window = Literal[
    "center", "whole"
]  # part of a stored image, at the centre or in training anywhere | all of it

# Purposes of random streams. Beside the seed, they keep the streams apart.
_ORDER, _VIEW, _WORDS, _SENTENCE, _WRONG, _WRONG_SENTENCE, _HOLE, _GREY = range(8)


class SentenceVectors(Protocol):
    """Sentence vectors of a split's captions, each of E numbers."""

    def mean_of(self, index: int, number: int, rng: np.random.Generator) -> NDArray[np.float32]:
        """Return the mean of `number` randomly chosen vectors of an image, (E,)."""


@dataclass(frozen=True)
class Sentences:
    """Sentence vectors for the images of a batch.

    Attributes:
        vectors: Vectors to draw from.
        averaged: Vectors to average per image, drawn without replacement (4 in StackGAN's code).
        wrong: Wrong pair to draw for each image from the images of other classes, all equally likely: an "image" with
            a window and a flip of its own, or only its sentence vector ("text"). None draws no wrong pairs.
    """

    vectors: SentenceVectors
    averaged: int = 1
    wrong: Literal["image", "text"] | None = None


@dataclass(frozen=True)
class Rank:
    """Rank of this process among those that train together."""

    number: int = 0
    world: int = 1


@dataclass(frozen=True)
class TensorBatch:
    """Batch whose fields are tensors, tuples of tensors or None."""

    def to(self, device: torch.device | str) -> Self:
        """Return the batch on a device."""
        return self._each(lambda tensor: tensor.to(device, non_blocking=True))

    def pin_memory(self) -> Self:
        """Return the batch in page-locked memory. Torch's DataLoader calls this by name."""
        return self._each(lambda tensor: tensor.pin_memory())

    def _each(self, change: Callable[[Tensor], Tensor]) -> Self:
        changed = {}
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, tuple):
                value = tuple(map(change, value))
            elif value is not None:
                value = change(value)
            changed[field.name] = value
        return replace(self, **changed)


@dataclass(frozen=True)
class Batch(TensorBatch):
    """Images with one caption each.

    Attributes:
        images: One tensor per size S, in the order asked for: (B, 3, S, S) float32 in [-1, 1], channels_last in memory.
        tokens: Word indices, (B, L) int64, padded with 0 on the right. L is the number of words asked for.
        lengths: Words of each caption, (B,) int64 in [1, L].
        class_ids: Classes, (B,) int64.
        indices: Positions in the split, (B,) int64.
        sentences: Sentence vectors, (B, E) float32, if asked for.
        wrong_images: Images of other classes, like `images`, if wrong pairs are drawn by image.
        wrong_sentences: Sentence vectors of images of other classes, (B, E), if wrong pairs are drawn by text.
        holes: Holes at the largest size S, (B, 1, S, S) float32, 1 in the hole and 0 elsewhere, if asked for.
        silhouettes: One tensor per size S of the silhouettes, cut from the same windows as the images:
            (B, 1, S, S) float32, 1 on the object and -1 elsewhere.
        attributes: Attributes, (B, A) float32 in [0, 1], if asked for.
        wrong_attributes: Attributes of images whose attributes differ, (B, A).
        features: Features of the images by a network that does not learn, (B, F) float32, in place of `images`.
    """

    images: tuple[Tensor, ...]
    tokens: Tensor
    lengths: Tensor
    class_ids: Tensor
    indices: Tensor
    sentences: Tensor | None = None
    wrong_images: tuple[Tensor, ...] = ()
    wrong_sentences: Tensor | None = None
    holes: Tensor | None = None
    silhouettes: tuple[Tensor, ...] = ()
    attributes: Tensor | None = None
    wrong_attributes: Tensor | None = None
    features: Tensor | None = None

    def __len__(self) -> int:
        return len(self.indices)


def pyramid(windows: Tensor, sizes: Sequence[int]) -> tuple[Tensor, ...]:
    """Resize square windows to each size, from the window itself, and scale them to [-1, 1].

    Args:
        windows: (B, 3, W, W) uint8, channels_last.
        sizes: Sides S to resize to, bilinear with antialiasing like Pillow's.

    Returns:
        One tensor per size, (B, 3, S, S) float32, channels_last.
    """
    return tuple(_resize(windows, size).float().div_(127.5).sub_(1.0) for size in sizes)


def silhouette_pyramid(windows: Tensor, sizes: Sequence[int]) -> tuple[Tensor, ...]:
    """Resize probabilities like images, then threshold them: 1 where the object is at least as likely as not, else -1.

    Args:
        windows: (B, 1, W, W) uint8.
        sizes: Sides S to resize to; gives one tensor each, (B, 1, S, S) float32.
    """
    return tuple((_resize(windows, size) >= FOREGROUND).float().mul_(2).sub_(1) for size in sizes)


def _resize(windows: Tensor, size: int) -> Tensor:
    if windows.shape[-2:] == (size, size):
        return windows
    return functional.interpolate(windows, size=(size, size), mode="bilinear", antialias=True)


def refuse_small_split(split: Split, usable: int, batch: int, world: int) -> None:
    """Refuse to train on fewer images than one step takes.

    Args:
        split: Split to train on, `usable` images of which are trained on.
        batch: Batch size per process of `world` processes.

    Raises:
        DataError: There are fewer images than one batch of all processes.
    """
    if usable >= batch * world:
        return
    processes = f" on each of {world} processes" if world > 1 else ""
    aside = f", {usable} of them to train on" if usable < len(split) else ""
    most = usable // world
    raise DataError(
        f"{split.folder}: split {split.name!r} holds {len(split)} images{aside}, a batch takes {batch}{processes}",
        hint=f"set loader.batch to {max(1, most)} or less" + ", or start fewer processes" * (most < 2),
    )


class BatchSource(TorchDataset[Batch]):
    """Training batches by step number. `source[step]` is the same batch whenever it is asked for.

    Each epoch goes through its own permutation of the split and leaves out an incomplete last batch. A step gives
    every image a random window of `split.image_size` pixels, a flip with probability 1/2 and one of its captions.
    Of a caption longer than `words`, a random subsequence of that many words is kept (AttnGAN's training).

    Args:
        split: Split to take images from.
        sizes: Sides of the image pyramid in pixels, in the order of `Batch.images`. All are resized from the same
            window. None of them reads no pixels.
        batch: Batch size per process.
        words: Most words of a caption, and the width L of `Batch.tokens`. 0 reads no captions.
        seed: Seed of order, windows, flips, captions and all else that is random.
        rank: Rank of this process. Each rank gets its own images of a step.
        images: Indices of the images to take. None takes all.
        sentences: Sentence vectors, and how wrong pairs are drawn.
        attributes: Attributes of all images of the split that the model is to know, (N, A). Each image also gets those
            of another image that differ from its own, all such images equally likely.
        holes: Holes to cut, drawn anew for each image and step.
        window: "whole" takes whole stored images, their sides made equal, in place of a part of them. Such images have
            no silhouettes.
        grayscale: Share of the images that lose their colours.
        silhouette_sizes: Sides of the silhouettes, in the order of `Batch.silhouettes`.

    Raises:
        DataError: The split holds fewer images than one batch of all processes, lacks the silhouettes asked for, or
            has no wrong pairs: a single class, or no two images with different attributes.
    """

    def __init__(
        self,
        split: Split,
        *,
        sizes: Sequence[int],
        batch: int,
        words: int,
        seed: int,
        rank: Rank = Rank(),
        images: NDArray[np.int64] | None = None,
        sentences: Sentences | None = None,
        attributes: NDArray[np.float32] | None = None,
        holes: Holes | None = None,
        window: Window = "center",
        grayscale: float = 0.0,
        silhouette_sizes: Sequence[int] = (),
    ) -> None:
        self.images = np.arange(len(split)) if images is None else images
        refuse_small_split(split, len(self.images), batch, rank.world)
        self.split = split
        self.sizes = tuple(sizes)
        self.batch = batch
        self.words = words
        self.seed = seed
        self.sentences = sentences
        self.attributes = attributes
        self.holes = holes
        self.window = window
        self.grayscale = grayscale
        self.silhouette_sizes = tuple(silhouette_sizes)
        self._everyone = batch * rank.world
        self._mine = slice(rank.number * batch, (rank.number + 1) * batch)
        if self.silhouette_sizes:
            split.need_silhouettes()
        self._others = self._strangers = None
        if sentences is not None and sentences.wrong is not None:
            self._others = _other_classes(split)
        if attributes is not None:
            self._strangers = _other_attributes(split, attributes, self.images)
        self._epoch = -1
        self._order: NDArray[np.int64] = np.empty(0, np.int64)

    def __len__(self) -> int:
        """Return the number of steps per epoch."""
        return len(self.images) // self._everyone

    def __getitem__(self, step: int) -> Batch:
        """Return the batch of a step, counted from 0 over all epochs."""
        epoch, position = divmod(step, len(self))
        indices = self._permutation(epoch)[position * self._everyone :][self._mine]
        chances = self._chances(_VIEW, step, 4)  # top, left, flip and caption
        windows = self._windows(self.split.crop, indices, chances, self.window) if self.sizes else None
        if self.grayscale and windows is not None:
            grey = torch.from_numpy(self._chances(_GREY, step) < self.grayscale)
            windows[grey] = _without_colour(windows[grey])
        captions = self._captions(step, indices, chances[:, 3]) if self.words else []
        batch = _assemble(self.split, self.sizes, self.words, indices, windows, captions)
        if self.sentences is not None:
            batch = self._with_sentences(batch, self.sentences, step, indices)
        if self.silhouette_sizes:
            silhouettes = self._windows(self.split.silhouette_crop, indices, chances)
            batch = replace(batch, silhouettes=silhouette_pyramid(silhouettes, self.silhouette_sizes))
        if self.attributes is not None and self._strangers is not None:
            # The stream of wrong classes: no model draws both
            strangers = self._strangers.draw(indices, self._chances(_WRONG, step, 4)[:, 3])
            own, wrong = (torch.from_numpy(self.attributes[rows]) for rows in (indices, strangers))
            batch = replace(batch, attributes=own, wrong_attributes=wrong)
        if self.holes is not None:
            drawn = [self.holes.draw(max(self.sizes), rng) for rng in self._rngs(_HOLE, step)]
            batch = replace(batch, holes=_stack(drawn))
        return batch

    def draw_views(self, step: int, count: int) -> NDArray[np.int64]:
        """Draw one of `count` views for each image of a step, (B,)."""
        return (self._chances(_VIEW, step) * count).astype(np.int64)

    def _permutation(self, epoch: int) -> NDArray[np.int64]:
        if epoch != self._epoch:
            generator = np.random.default_rng([_ORDER, self.seed, epoch])
            self._epoch, self._order = epoch, generator.permutation(self.images)
        return self._order

    def _chances(self, purpose: int, step: int, *columns: int) -> NDArray[np.float64]:
        """Draw uniform numbers in [0, 1) for each image of this rank, (B, *columns)."""
        rng = np.random.default_rng([purpose, self.seed, step])
        return rng.random((self._everyone, *columns))[self._mine]

    def _rngs(self, purpose: int, step: int) -> Iterator[np.random.Generator]:
        """Yield a generator for each image of this rank."""
        for row in range(self._mine.start, self._mine.stop):
            yield np.random.default_rng([purpose, self.seed, step, row])

    def _windows(
        self,
        crop: Crop,
        indices: NDArray[np.int64],
        chances: NDArray[np.float64],
        window: Window = "center",
    ) -> Tensor:
        """Cut windows and flip some, as `chances` (B, 3 or more) decide: top, left and flip."""
        if window == "whole":
            windows = _whole(self.split, indices, max(self.sizes))
        else:
            windows = _windows(self.split, crop, indices, chances)
        flipped = torch.from_numpy(chances[:, 2] < 0.5)
        windows[flipped] = windows[flipped].flip(-1)
        return windows

    def _captions(
        self, step: int, indices: NDArray[np.int64], chances: NDArray[np.float64]
    ) -> list[NDArray[np.int32]]:
        """Choose a caption of each image by `chances` (B,), and shorten it where it is too long."""
        captions = []
        for index, chance, rng in zip(indices.tolist(), chances, self._rngs(_WORDS, step), strict=True):
            tokens = self.split.tokens(index)
            captions.append(crop_tokens(tokens[int(chance * len(tokens))], self.words, rng))
        return captions

    def _with_sentences(
        self, batch: Batch, sentences: Sentences, step: int, indices: NDArray[np.int64]
    ) -> Batch:
        """Add the sentence vectors, and a wrong pair of each image where that is asked for."""

        def vectors(purpose: int, of: NDArray[np.int64]) -> Tensor:
            pairs = zip(of.tolist(), self._rngs(purpose, step), strict=True)
            rows = [sentences.vectors.mean_of(index, sentences.averaged, rng) for index, rng in pairs]
            return torch.from_numpy(np.stack(rows))

        batch = replace(batch, sentences=vectors(_SENTENCE, indices))
        if self._others is None:
            return batch
        chances = self._chances(_WRONG, step, 4)
        others = self._others.draw(indices, chances[:, 3])
        if sentences.wrong == "image":
            windows = self._windows(self.split.crop, others, chances)
            return replace(batch, wrong_images=pyramid(windows, self.sizes))
        return replace(batch, wrong_sentences=vectors(_WRONG_SENTENCE, others))


def _without_colour(windows: Tensor) -> Tensor:
    """Set every channel of (B, 3, H, W) uint8 to the luma (ITU-R 601)."""
    luma = torch.tensor([0.299, 0.587, 0.114])[:, None, None]
    return (windows * luma).sum(dim=1, keepdim=True).round().to(torch.uint8).expand_as(windows)


class _Others:
    """Images of another class than a given image, each as likely as any other.

    Images of one class are a run in the order of classes. A random number among the rest becomes a position by
    stepping over that run, so no draw has to be repeated. `classes` (N,) holds the class of each image of the split,
    `images` the indices of those to draw from.
    """

    def __init__(self, classes: NDArray[np.int64], images: NDArray[np.int64]) -> None:
        self._classes = classes
        self._by_class = images[np.argsort(classes[images], kind="stable")]
        self._ordered = classes[self._by_class]

    @property
    def possible(self) -> bool:
        """True if there are two classes at least."""
        return bool(self._ordered[0] != self._ordered[-1])

    def draw(self, indices: NDArray[np.int64], chances: NDArray[np.float64]) -> NDArray[np.int64]:
        """Return indices (B,) of images of other classes than those of `indices` (B,), by `chances` (B,) in [0, 1)."""
        own = self._classes[indices]
        first = np.searchsorted(self._ordered, own, side="left")
        length = np.searchsorted(self._ordered, own, side="right") - first
        position = (chances * (len(self._ordered) - length)).astype(np.int64)
        position += np.where(position >= first, length, 0)
        drawn: NDArray[np.int64] = self._by_class[position]
        return drawn


def _other_classes(split: Split) -> _Others:
    others = _Others(split.class_ids, np.arange(len(split)))
    if not others.possible:
        raise DataError(
            f"{split.folder}: all images of split {split.name!r} are of one class, so no image is wrong for a sentence",
            hint="prepare a dataset with two classes or more, or without classes",
        )
    return others


def _other_attributes(split: Split, attributes: NDArray[np.float32], images: NDArray[np.int64]) -> _Others:
    _, kinds = np.unique(attributes, axis=0, return_inverse=True)  # images of one kind share their attributes
    others = _Others(kinds.reshape(-1), images)
    if not others.possible:
        raise DataError(
            f"{split.folder}: all images of split {split.name!r} have the same attributes, so none are wrong",
            hint="gancli data show says what is in the dataset; name other groups with attributes.shape_groups",
        )
    return others


def _windows(
    split: Split, crop: Crop, indices: NDArray[np.int64], chances: NDArray[np.float64] | None
) -> Tensor:
    """Cut windows of `image_size` pixels with `split.crop` or `split.silhouette_crop`.

    Args:
        split: Split of the images.
        crop: Function that cuts a window.
        indices: Images to cut from, (B,).
        chances: Uniform numbers for top and left, (B, 2 or more), or None for the centre.

    Returns:
        (B, 3 or 1, W, W) uint8, channels_last.
    """
    size = split.image_size
    windows = []
    for row, index in enumerate(indices.tolist()):
        height, width = split.shape(index)
        top, left = (height - size) // 2, (width - size) // 2
        if chances is not None:
            top, left = int(chances[row, 0] * (height - size + 1)), int(chances[row, 1] * (width - size + 1))
        windows.append(crop(index, top, left, size))
    stacked = np.stack(windows).reshape(len(windows), size, size, -1)
    return torch.from_numpy(stacked).permute(0, 3, 1, 2)  # channels_last, as the memory lies


def _whole(split: Split, indices: NDArray[np.int64], side: int) -> Tensor:
    """Resize whole stored images to squares, whatever their shape: (B, 3, side, side) uint8, channels_last."""
    images = (torch.from_numpy(split.image(index)).permute(2, 0, 1)[None] for index in indices.tolist())
    return torch.cat([_resize(image, side) for image in images]).to(memory_format=torch.channels_last)


def _assemble(
    split: Split,
    sizes: Sequence[int],
    words: int,
    indices: NDArray[np.int64],
    windows: Tensor | None,
    captions: Sequence[NDArray[np.int32]],
) -> Batch:
    tokens, lengths = pad_tokens(captions or [np.empty(0, np.int32)] * len(indices), words)
    return Batch(
        images=() if windows is None else pyramid(windows, sizes),
        tokens=torch.from_numpy(tokens),
        lengths=torch.from_numpy(lengths),
        class_ids=torch.from_numpy(split.class_ids[indices]),
        indices=torch.from_numpy(np.array(indices, dtype=np.int64)),
    )


def batches(source: TorchDataset[B], start: int, stop: int | None, workers: int) -> Iterator[B]:
    """Yield the batches of steps `start` to `stop` (None: never stops), made ahead of use by worker processes.

    Without `workers`, each batch is made in this process when it is asked for. The batches are the same.
    """
    steps = itertools.count(start) if stop is None else range(start, stop)
    if workers == 0:
        return (source[step] for step in steps)
    # Its own generator, because DataLoader seeds its workers from one. The global one would make a resumed training,
    # which starts one loader more, differ from an uninterrupted one.
    loader = DataLoader(
        source,
        batch_size=None,
        sampler=steps,
        num_workers=workers,
        generator=torch.Generator(),
        pin_memory=torch.cuda.is_available(),
        worker_init_fn=_leave_group,
    )
    return _with_plain_errors(iter(loader))


def _leave_group(_: int) -> None:
    """Keep signals to the training's process group (torchrun's SIGTERM, Ctrl-C) from killing its loader.

    The training saves at the end of its step and ends its loader itself.
    """
    os.setpgrp()


def _with_plain_errors(loaded: Iterator[B]) -> Iterator[B]:
    """Strip torch's report of a worker's traceback from our own errors. Its last line is the whole message."""
    try:
        yield from loaded
    except GancliError as error:
        message = str(error).rpartition(f"{type(error).__name__}: ")[2].strip()
        raise type(error)(message) from None


def evaluation_batches(
    split: Split,
    *,
    sizes: Sequence[int],
    batch: int,
    words: int,
    limit: int | None = None,
    caption: int = 0,
    images: NDArray[np.int64] | None = None,
    holes: Holes | None = None,
    seed: int = 0,
    window: Window = "center",
    silhouette_sizes: Sequence[int] = (),
) -> Iterator[Batch]:
    """Yield every image of the split once, in order, with its centre window and the first `words` words of a caption.

    Args:
        split, sizes, words, images, silhouette_sizes: See `BatchSource`.
        batch: Batch size. The last batch may be smaller.
        limit: Number of images to take, from the first on. None takes all.
        caption: Number of the caption to take, modulo the number that an image has.
        holes: Holes to cut. An image gets the same one whatever else is evaluated with it.
        seed: Seed of the holes.
        window: "whole" takes whole stored images, their sides made equal.
    """
    taken = (np.arange(len(split)) if images is None else images)[:limit]
    for number in range(math.ceil(len(taken) / batch)):
        indices = taken[number * batch : (number + 1) * batch]
        sentences = [split.tokens(index) for index in indices.tolist()] if words else []
        captions = [crop_tokens(tokens[caption % len(tokens)], words, None) for tokens in sentences]
        windows = None
        if sizes and window == "whole":
            windows = _whole(split, indices, max(sizes))
        elif sizes:
            windows = _windows(split, split.crop, indices, None)
        made = _assemble(split, sizes, words, indices, windows, captions)
        if silhouette_sizes:
            silhouettes = _windows(split, split.silhouette_crop, indices, None)
            made = replace(made, silhouettes=silhouette_pyramid(silhouettes, silhouette_sizes))
        if holes is not None:
            drawn = [holes.for_image(max(sizes), seed, split.keys[index]) for index in indices.tolist()]
            made = replace(made, holes=_stack(drawn))
        yield made


def _stack(holes: Sequence[Hole]) -> Tensor:
    """Turn holes (S, S) into a tensor (B, 1, S, S) float32."""
    return torch.from_numpy(np.stack(holes)[:, None]).float()
