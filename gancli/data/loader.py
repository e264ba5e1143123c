"""Batches of a prepared split: crop, flip, image pyramid and captions as a pure function of (seed, step).

Pixels stay uint8 for cropping, flipping and resizing, in whole batches, and become float once at the end:
torch's antialiased bilinear resize of uint8 gives the same bytes as Pillow's, which the published models were
trained with. The random numbers of a step are drawn for all ranks and each takes its part, so N processes
with batches of B see exactly what one process with batches of N * B sees.
"""

from __future__ import annotations

import itertools
import math
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Literal, Protocol, TypeVar

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

B = TypeVar("B")  # a batch, of whatever kind

# What a random stream is for, beside the seed: streams of different purpose never overlap
_ORDER, _VIEW, _WORDS, _SENTENCE, _WRONG, _WRONG_SENTENCE, _HOLE, _GREY = range(8)


class SentenceVectors(Protocol):
    """Sentence vectors of a split's captions, E numbers each."""

    def mean_of(self, index: int, number: int, rng: np.random.Generator) -> NDArray[np.float32]:
        """The mean of `number` randomly chosen vectors of the image with that index, (E,)."""


@dataclass(frozen=True)
class Batch:
    """Images with one caption each.

    Attributes:
        images: Per size S, in the order asked for: (B, 3, S, S) float32 in [-1, 1], channels_last in memory.
        tokens: (B, L) int64 word indices, 0 on the right of each caption; L is the `words` asked for.
        lengths: (B,) int64 in [1, L].
        class_ids: (B,) int64.
        indices: (B,) int64 positions in the split.
        sentences: (B, E) float32 sentence vectors of the images, where the source has vectors.
        wrong_images: As `images`, of other classes, where the source draws wrong pairs by image.
        wrong_sentences: (B, E), of images of other classes, where it draws them by text.
        holes: (B, 1, S, S) float32 of the largest size S, 1 in the hole and 0 elsewhere, where the source cuts holes.
        silhouettes: Per size S of the silhouettes (B, 1, S, S) float32, 1 on the object and -1 elsewhere, of the same
            windows as the images.
        attributes: (B, A) float32 in [0, 1], where the source has attributes.
        wrong_attributes: (B, A), of images whose attributes are others.
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

    def __len__(self) -> int:
        return len(self.indices)

    def to(self, device: torch.device | str) -> Batch:
        """The batch on that device."""
        return self._each(lambda tensor: tensor.to(device, non_blocking=True))

    def pin_memory(self) -> Batch:
        """The batch in page-locked memory; the name is the one torch's DataLoader looks for."""
        return self._each(lambda tensor: tensor.pin_memory())

    def _each(self, change: Callable[[Tensor], Tensor]) -> Batch:
        def changed(value: Any) -> Any:
            return (
                tuple(map(change, value))
                if isinstance(value, tuple)
                else None
                if value is None
                else change(value)
            )

        return Batch(*(changed(getattr(self, field.name)) for field in fields(self)))


def pyramid(windows: Tensor, sizes: Sequence[int]) -> tuple[Tensor, ...]:
    """Resize square windows to each size and scale them to [-1, 1].

    Args:
        windows: (B, 3, W, W) uint8, channels_last.
        sizes: Sides to resize to; bilinear with antialiasing, as Pillow does it, each from the window itself.

    Returns:
        Per size (B, 3, S, S) float32, channels_last.
    """
    return tuple(_resize(windows, size).float().div_(127.5).sub_(1.0) for size in sizes)


def silhouette_pyramid(windows: Tensor, sizes: Sequence[int]) -> tuple[Tensor, ...]:
    """Resize probabilities as `pyramid` does images, then decide: 1 where the object is as likely as not, else -1.

    Args:
        windows: (B, 1, W, W) uint8.
        sizes: Sides to resize to.

    Returns:
        Per size (B, 1, S, S) float32.
    """
    return tuple((_resize(windows, size) >= FOREGROUND).float().mul_(2).sub_(1) for size in sizes)


def _resize(windows: Tensor, size: int) -> Tensor:
    if windows.shape[-1] == size:
        return windows
    return functional.interpolate(windows, size=(size, size), mode="bilinear", antialias=True)


def refuse_small_split(split: Split, usable: int, batch: int, world: int) -> None:
    """Refuses to train on fewer images than one step takes.

    Args:
        split: The images.
        usable: How many of them are trained on.
        batch: Images per step and process.
        world: Number of processes.

    Raises:
        DataError: There are fewer than one batch of all processes.
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
    """Training batches by step number: `source[step]` is the same batch whenever it is asked for.

    Each epoch goes through its own permutation of the split; an incomplete last batch is left out. A step
    gives every image a random window of `split.image_size` pixels, a flip with probability 1/2 and one of its
    captions, of which, if it is too long, a random subsequence of `words` words is kept (AttnGAN's training).

    Args:
        split: The images.
        sizes: Sides of the image pyramid in pixels, in the order of `Batch.images`. The window is the same
            for all: sizes below or above the dataset's image size are resized from it. None reads no pixels.
        batch: Images per step of this process.
        words: Most words of a caption, and the width L of `Batch.tokens`; 0 reads no captions (L = 0).
        seed: Of order, windows, flips and captions.
        rank, world: This process and the number of processes; each gets its own images of a step.
        augment: False takes the centre window without flip, for validation; captions stay random.
        sentences: Sentence vectors; each image gets the mean of some of its own.
        averaged: How many vectors that mean takes, drawn without replacement (4 in StackGAN's code).
        wrong: Draw for each image one of another class, uniformly among all of them, with a window and flip of its
            own ("image"), or only that image's sentence vector ("text").
        images: The images to take, by their index in the split; None takes all.
        holes: Which holes to cut, anew for each image and step.
        grayscale: Share of the images that lose their colours.
        silhouette_sizes: Sides of the silhouettes, in the order of `Batch.silhouettes`.
        attributes: (N, A) of the images of the split, those that the model is to know; each image also gets the
            attributes of another one that differ from its own, uniformly among all of them.

    Raises:
        DataError: The split holds fewer images than one batch of all processes, or, with `wrong`, a single class, or
            no two images with different attributes, or silhouettes are asked for and there are none.
    """

    def __init__(
        self,
        split: Split,
        *,
        sizes: Sequence[int],
        batch: int,
        words: int,
        seed: int,
        rank: int = 0,
        world: int = 1,
        augment: bool = True,
        sentences: SentenceVectors | None = None,
        averaged: int = 1,
        wrong: Literal["image", "text"] | None = None,
        images: NDArray[np.int64] | None = None,
        holes: Holes | None = None,
        grayscale: float = 0.0,
        silhouette_sizes: Sequence[int] = (),
        attributes: NDArray[np.float32] | None = None,
    ) -> None:
        self.images = np.arange(len(split)) if images is None else images
        refuse_small_split(split, len(self.images), batch, world)
        self.split = split
        self.sizes = tuple(sizes)
        self.batch = batch
        self.words = words
        self.seed = seed
        self.rank = rank
        self.world = world
        self.augment = augment
        self.sentences = sentences
        self.averaged = averaged
        self.wrong = wrong
        self.holes = holes
        self.grayscale = grayscale
        self.silhouette_sizes = tuple(silhouette_sizes)
        self.attributes = attributes
        if self.silhouette_sizes:
            split.need_silhouettes()
        self._others = self._strangers = None
        if wrong:
            self._others = _Others(split.class_ids, np.arange(len(split)))
            if not self._others.possible:
                raise DataError(
                    f"{split.folder}: all images of split {split.name!r} are of one class, so there is no wrong image "
                    "for a sentence",
                    hint="prepare a dataset with two classes or more, or without classes",
                )
        if attributes is not None:
            _, kinds = np.unique(attributes, axis=0, return_inverse=True)
            self._kinds: NDArray[np.int64] = kinds.reshape(-1)  # images of one kind have the same attributes
            self._strangers = _Others(self._kinds, self.images)
            if not self._strangers.possible:
                raise DataError(
                    f"{split.folder}: all images of split {split.name!r} have the same attributes: none is wrong",
                    hint="gancli data show says what is in the dataset; name other groups with attributes.shape_groups",
                )
        self._epoch = -1
        self._order: NDArray[np.int64] = np.empty(0, np.int64)

    def __len__(self) -> int:
        """Steps per epoch."""
        return len(self.images) // (self.batch * self.world)

    def _permutation(self, epoch: int) -> NDArray[np.int64]:
        if epoch != self._epoch:
            generator = np.random.default_rng([_ORDER, self.seed, epoch])
            self._epoch, self._order = epoch, generator.permutation(self.images)
        return self._order

    def __getitem__(self, step: int) -> Batch:
        """The batch of a step, counted from 0 over all epochs."""
        epoch, position = divmod(step, len(self))
        everyone = self.batch * self.world
        mine = slice(self.rank * self.batch, (self.rank + 1) * self.batch)
        indices = self._permutation(epoch)[position * everyone : (position + 1) * everyone][mine]
        # top, left, flip, caption: uniform in [0, 1)
        chances = np.random.default_rng([_VIEW, self.seed, step]).random((everyone, 4))[mine]
        windows = self._view(indices, chances) if self.sizes else None
        if self.grayscale and windows is not None:
            grey = np.random.default_rng([_GREY, self.seed, step]).random(everyone)[mine] < self.grayscale
            windows[torch.from_numpy(grey)] = _without_colour(windows[torch.from_numpy(grey)])
        captions = []
        for row, (index, chance) in enumerate(zip(indices.tolist(), chances[:, 3], strict=True)):
            if self.words == 0:
                break
            sentences = self.split.tokens(index)
            caption = sentences[int(chance * len(sentences))]
            if len(caption) > self.words:
                generator = np.random.default_rng([_WORDS, self.seed, step, mine.start + row])
                caption = crop_tokens(caption, self.words, generator)
            captions.append(caption)
        batch = _assemble(self.split, self.sizes, self.words, indices, windows, captions)
        if self.sentences is not None:
            batch = replace(batch, sentences=self._vectors(_SENTENCE, step, indices))
        if self._others is not None:
            chances = np.random.default_rng([_WRONG, self.seed, step]).random((everyone, 4))[mine]
            others = self._others.draw(batch.class_ids.numpy(), chances[:, 3])
            if self.wrong == "image":
                batch = replace(batch, wrong_images=pyramid(self._view(others, chances), self.sizes))
            else:
                batch = replace(batch, wrong_sentences=self._vectors(_WRONG_SENTENCE, step, others))
        if self.silhouette_sizes:
            silhouettes = self._view(indices, chances, silhouettes=True)
            batch = replace(batch, silhouettes=silhouette_pyramid(silhouettes, self.silhouette_sizes))
        if self.attributes is not None and self._strangers is not None:
            # the chances of a wrong class: no model draws both
            chances = np.random.default_rng([_WRONG, self.seed, step]).random((everyone, 4))[mine]
            strangers = self._strangers.draw(self._kinds[indices], chances[:, 3])
            batch = replace(
                batch,
                attributes=torch.from_numpy(self.attributes[indices]),
                wrong_attributes=torch.from_numpy(self.attributes[strangers]),
            )
        if self.holes is not None:
            side = max(self.sizes)
            drawn = [
                self.holes.draw(side, np.random.default_rng([_HOLE, self.seed, step, mine.start + row]))
                for row in range(self.batch)
            ]
            batch = replace(batch, holes=_stack(drawn))
        return batch

    def _view(
        self, indices: NDArray[np.int64], chances: NDArray[np.float64], *, silhouettes: bool = False
    ) -> Tensor:
        """Windows as `_windows`, flipped or not; `chances` (B, 3 or more) say top, left and flip."""
        if not self.augment:
            return _windows(self.split, indices, None, silhouettes=silhouettes)
        windows = _windows(self.split, indices, chances[:, :2], silhouettes=silhouettes)
        flipped = torch.from_numpy(chances[:, 2] < 0.5)
        windows[flipped] = windows[flipped].flip(-1)
        return windows

    def _vectors(self, purpose: int, step: int, indices: NDArray[np.int64]) -> Tensor:
        """Sentence vectors (B, E) of the images."""
        assert self.sentences is not None, "wrong pairs by text need sentence vectors"
        first = self.rank * self.batch
        rows = [
            self.sentences.mean_of(
                index, self.averaged, np.random.default_rng([purpose, self.seed, step, first + row])
            )
            for row, index in enumerate(indices.tolist())
        ]
        return torch.from_numpy(np.stack(rows))


def _without_colour(windows: Tensor) -> Tensor:
    """Every channel the luma (ITU-R 601). (B, 3, H, W) uint8 -> same."""
    luma = torch.tensor([0.299, 0.587, 0.114])[:, None, None]
    return (windows * luma).sum(dim=1, keepdim=True).round().to(torch.uint8).expand_as(windows)


class _Others:
    """Draws images of another class than a given one, each as likely as any other.

    With the images in order of their class those of one class are one run: a number among the rest becomes a position
    by stepping over that run, so that no draw has to be repeated.

    Args:
        classes: (N,) of all images.
        images: Those to draw from, by their index.
    """

    def __init__(self, classes: NDArray[np.int64], images: NDArray[np.int64]) -> None:
        self._by_class = images[np.argsort(classes[images], kind="stable")]
        self._ordered = classes[self._by_class]

    @property
    def possible(self) -> bool:
        """Whether there are two classes at all."""
        return bool(self._ordered[0] != self._ordered[-1])

    def draw(self, class_ids: NDArray[np.int64], chances: NDArray[np.float64]) -> NDArray[np.int64]:
        """Indices (B,) of images of other classes than `class_ids` (B,), by `chances` (B,) in [0, 1)."""
        first = np.searchsorted(self._ordered, class_ids, side="left")
        length = np.searchsorted(self._ordered, class_ids, side="right") - first
        position = (chances * (len(self._ordered) - length)).astype(np.int64)
        position += np.where(position >= first, length, 0)
        drawn: NDArray[np.int64] = self._by_class[position]
        return drawn


def _windows(
    split: Split,
    indices: NDArray[np.int64],
    chances: NDArray[np.float64] | None,
    *,
    silhouettes: bool = False,
) -> Tensor:
    """Windows of `image_size` pixels, at random or (`chances` None) in the centre.

    Returns:
        (B, 3, W, W) uint8, or with `silhouettes` the probabilities of the same windows (B, 1, W, W); channels_last.
    """
    size = split.image_size
    crop = split.silhouette_crop if silhouettes else split.crop
    windows = np.empty((len(indices), size, size, 1 if silhouettes else 3), dtype=np.uint8)
    for row, index in enumerate(indices.tolist()):
        height, width = split.shape(index)
        if chances is None:
            top, left = (height - size) // 2, (width - size) // 2
        else:
            top, left = int(chances[row, 0] * (height - size + 1)), int(chances[row, 1] * (width - size + 1))
        windows[row] = crop(index, top, left, size).reshape(windows.shape[1:])
    return torch.from_numpy(windows).permute(0, 3, 1, 2)  # channels_last, as the memory lies


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
    """The batches of steps `start` to `stop` (None: without end), made ahead of use by worker processes.

    Args:
        source: Gives a step's batch by its number.
        workers: Processes; 0 makes each batch in this process when it is asked for. The batches are the same.
    """
    steps = itertools.count(start) if stop is None else range(start, stop)
    if workers == 0:
        return (source[step] for step in steps)
    # its own generator: DataLoader seeds its workers from one, and taking the global one would make a resumed
    # training, which starts one loader more, differ from an uninterrupted one
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
    """Keeps a signal to the training's process group (torchrun's SIGTERM, Ctrl-C) from killing its loader too: the
    training saves at the end of its step, and ends its loader itself.
    """
    os.setpgrp()


def _with_plain_errors(loaded: Iterator[B]) -> Iterator[B]:
    """Takes torch's report of a worker's traceback off our own errors, whose last line is the whole message."""
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
    silhouette_sizes: Sequence[int] = (),
) -> Iterator[Batch]:
    """Every image of the split once, in order, without chance: centre window, no flip, first `words` words.

    Args:
        sizes: As in `BatchSource`.
        batch: Images per batch; the last one may hold fewer.
        limit: Take only the first images.
        caption: Number of the caption to take, modulo the number that an image has.
        images: As in `BatchSource`, in the order to take them.
        holes: Which holes to cut; each image gets the same one whatever else is evaluated with it.
        seed: Of the holes.
        silhouette_sizes: As in `BatchSource`.
    """
    taken = (np.arange(len(split)) if images is None else images)[:limit]
    for number in range(math.ceil(len(taken) / batch)):
        indices = taken[number * batch : (number + 1) * batch]
        sentences = [split.tokens(index) for index in indices.tolist()] if words else []
        captions = [crop_tokens(tokens[caption % len(tokens)], words, None) for tokens in sentences]
        windows = _windows(split, indices, None) if sizes else None
        taken_now = _assemble(split, sizes, words, indices, windows, captions)
        if silhouette_sizes:
            silhouettes = silhouette_pyramid(
                _windows(split, indices, None, silhouettes=True), silhouette_sizes
            )
            taken_now = replace(taken_now, silhouettes=silhouettes)
        if holes is not None:
            drawn = [holes.for_image(max(sizes), seed, split.keys[index]) for index in indices.tolist()]
            taken_now = replace(taken_now, holes=_stack(drawn))
        yield taken_now


def _stack(holes: Sequence[Hole]) -> Tensor:
    """Boolean (S, S) holes as (B, 1, S, S) float32."""
    return torch.from_numpy(np.stack(holes)[:, None]).float()
