"""Inception score (Salimans et al., 2016): is each image clearly of one class, and are all classes drawn?

The classes are those of some network, and so is the scale of the score: StackGAN's numbers on birds and flowers come
from an Inception-v3 fine-tuned on the test classes, others from the 1008 outputs of TensorFlow's graph. The network is
therefore named with every number, and numbers of different networks are never compared.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gancli.data.manifest import MANIFEST
from gancli.engine import distributed
from gancli.errors import DataError, UsageError
from gancli.progress import Progress, reporting
from gancli.scores.across_ranks import by_parts, own_part
from gancli.scores.features import FeatureNetwork, load_logits
from gancli.scores.image_sets import FileImages, SplitImages, open_images, open_split, origin_of, remarks_on
from gancli.scores.results import RealData, ScoreRow

SPLITS = 10
# Images of a split per class; with fewer, the mean over images misses classes and the score is too low
ENOUGH = 5
SELF_FINETUNED = (
    "IS (self-finetuned): measured with a classifier of gancli, so on another scale than published scores, which come "
    "from StackGAN's fine-tuned Inception, whose checkpoint is not available"
)


@dataclass(frozen=True)
class InceptionScore:
    """The result for one set of images.

    Attributes:
        value: Mean over the splits, in [1, C].
        std: Population standard deviation over the splits.
        scores: (splits,).
    """

    value: float
    std: float
    scores: NDArray[np.float64]


class InceptionScoreAccumulator:
    """The Inception score of logits, accumulated batch by batch.

    The mean divergence of a split is mean(sum p log p) - sum(q log q) with q the mean of p, so a split needs only two
    sums, however many images it has. Everything from the logits on is in float64.

    Args:
        count: Number N of all images: the splits are drawn before the first one is seen.
        classes: Number C of classes.
        splits: Parts of the shuffled images. Part i goes from i * N // splits to (i + 1) * N // splits.
        seed: Seed of the shuffle; None leaves the order as it is.
        first: Index of the first image; each of several processes begins elsewhere.

    Raises:
        DataError: There are fewer images than splits.
    """

    def __init__(
        self, count: int, classes: int, *, splits: int = SPLITS, seed: int | None = 0, first: int = 0
    ) -> None:
        if count < splits:
            raise DataError(
                f"the Inception score of {splits} splits needs at least {splits} images. Received: {count}",
                "Draw more images, or ask for fewer splits.",
            )
        order = np.arange(count) if seed is None else np.random.default_rng(seed).permutation(count)
        bounds = np.arange(splits + 1) * count // splits
        self._split_of = np.empty(count, np.int64)
        self._split_of[order] = np.repeat(np.arange(splits), np.diff(bounds))
        self._sizes = np.diff(bounds)
        self._probabilities = np.zeros((splits, classes))  # sums of p
        self._negentropy = np.zeros(splits)  # sums of sum p log p
        self._first = first
        self.n = 0

    def update(self, logits: Tensor) -> None:
        """Add the logits (B, C) of the next B images."""
        log_p = torch.log_softmax(logits.double(), dim=1)
        p = log_p.exp()
        start = self._first + self.n
        into = self._split_of[start : start + len(logits)]
        np.add.at(self._probabilities, into, p.cpu().numpy())
        np.add.at(self._negentropy, into, (p * log_p).sum(dim=1).cpu().numpy())
        self.n += len(logits)

    def combine(self) -> None:
        """Merge the images of all processes, in each of them."""
        self._probabilities = distributed.total(torch.from_numpy(self._probabilities)).numpy()
        self._negentropy = distributed.total(torch.from_numpy(self._negentropy)).numpy()
        self.n = int(distributed.total(torch.tensor(self.n)))

    def result(self) -> InceptionScore:
        """Return the score of all images.

        Raises:
            DataError: The logits are not finite.
            ValueError: Fewer or more images were added than announced.
        """
        if self.n != len(self._split_of):
            raise ValueError(f"{self.n} images were added, {len(self._split_of)} were announced")
        q = torch.from_numpy(self._probabilities / self._sizes[:, None])  # (splits, C)
        divergence = self._negentropy / self._sizes - torch.xlogy(q, q).sum(dim=1).numpy()
        if not np.isfinite(divergence).all():
            raise DataError("the network gave NaN or infinite logits", "Its weights may be broken.")
        # A divergence from a mean lies between 0 and log C, up to rounding of some 1e-15
        scores = np.exp(divergence).clip(1.0, q.shape[1])
        return InceptionScore(float(scores.mean()), float(scores.std()), scores)


def inception_score(logits: Tensor, *, splits: int = SPLITS, seed: int | None = 0) -> InceptionScore:
    """Return the Inception score of images from their logits (N, C), see `InceptionScoreAccumulator`.

    Raises:
        DataError: N is below `splits`, or a logit is not finite.
    """
    accumulator = InceptionScoreAccumulator(len(logits), logits.shape[1], splits=splits, seed=seed)
    accumulator.update(logits)
    return accumulator.result()


def score_is(
    images: str | Path,
    network: FeatureNetwork | str,
    *,
    weights: str | Path | None = None,
    data: str | Path | None = None,
    splits: int = SPLITS,
    seed: int = 0,
    batch: int = 50,
    device: str | torch.device = "cpu",
    progress: Progress | bool = True,
) -> tuple[ScoreRow, ...]:
    """Measure the Inception score of images and, where their dataset is available, that of its real images.

    Args:
        images: Folder of generated images, or "DIR:split" for the real ones alone.
        network: Classifying network or its name, see `load_logits`.
        weights: File or folder of the network's weights; None for the places where `gancli.weights` looks.
        data: Real images as "DIR:split", taken at the side of the generated ones; None for the split in sampling.json,
            if that dataset is still there.
        splits: Parts of the shuffled images over which mean and standard deviation are taken.
        seed: Seed of the shuffle.
        batch: Images at a time, which does not change the result.
        device: Device of the network.
        progress: Callback after each batch with images done and in all, or True for a bar.

    Returns:
        The row of the images and, after it, the row of the real ones, whose method is "real".

    Raises:
        DataError: Images are missing or broken, fewer than splits, or of classes that the classifier does not know.
        UsageError: A dataset is named without its split.
    """
    scored = open_images(images)
    network = load_logits(network, weights=weights, device=device)
    real, notes = _real_images(scored, data)
    if real is not None:
        notes += _check_classes(real, network)
    with reporting(progress, "classes", "images") as report:
        measure = partial(_measure, network=network, splits=splits, seed=seed, batch=batch, progress=report)
        row = measure(scored, real, notes)
        if isinstance(scored, SplitImages) or real is None:
            return (row,)
        ceiling = "ceiling: the real images"
        if network.class_names:
            ceiling += ", which the classifier has learned from if they are its training split"
        return row, measure(real.at(min(scored.side or real.side, real.side)), real, [ceiling])


def _real_images(
    scored: SplitImages | FileImages, data: str | Path | None
) -> tuple[SplitImages | None, list[str]]:
    """Return the real images that go with the scored ones, and the notes where there are none."""
    if isinstance(scored, SplitImages):
        if data is not None:
            raise UsageError(f"{scored.name}: are real images themselves", "Leave --data out.")
        return scored, []
    if data is not None:
        return open_split(data).beside(scored), []
    sampling = scored.sampling
    if sampling is None or sampling.data is None:
        return None, ["the classes of the images are unknown"]
    if not Path(sampling.data, MANIFEST).is_file():
        return None, [f"the classes of the images are unknown: their dataset {sampling.data} does not exist"]
    return open_split(f"{sampling.data}:{sampling.split}").beside(scored), []


def _check_classes(real: SplitImages, network: FeatureNetwork) -> list[str]:
    """Return notes on the images' classes; refuse those that a classifier of gancli was not trained to tell apart."""
    if not network.class_names:
        return []
    names = real.dataset.class_names
    present = [names[number] for number in np.unique(real.split.class_ids)] if names else []
    unknown = [name for name in present if name not in network.class_names]
    if unknown or not present:
        what = f"{real.name} has no classes"
        if present:
            what = f"it does not know {len(unknown)} of the {len(present)} classes of {real.name}, such as {unknown[0]}"
        raise DataError(
            f"{network.name}: is a classifier of other classes: {what}",
            f"Train one on them (gancli pretrain-encoder classifier data={real.split.folder} "
            f"split={real.split.name}), or score with --network imagenet or inception.",
        )
    if len(network.class_names) > len(present):
        return [f"the classifier knows {len(network.class_names)} classes, the images are of {len(present)}"]
    return []


def _measure(
    images: SplitImages | FileImages,
    real: SplitImages | None,
    notes: Sequence[str],
    *,
    network: FeatureNetwork,
    splits: int,
    seed: int,
    batch: int,
    progress: Progress | None,
) -> ScoreRow:
    """Return the score of one set of images as a row."""
    count = len(images)
    first = own_part(count, batch).start
    accumulator = InceptionScoreAccumulator(count, network.dim, splits=splits, seed=seed, first=first)

    def work(rows: slice) -> Iterator[None]:
        for chunk in images.part(rows).batches(batch):
            accumulator.update(network(chunk))
            yield

    by_parts(count, batch, work, progress)
    accumulator.combine()
    result = accumulator.result()
    notes = [*([SELF_FINETUNED] if network.class_names else []), *notes, *remarks_on(images)]
    if count // splits < ENOUGH * network.dim:
        notes.append(
            f"only {count // splits} images in a split for {network.dim} classes (< {ENOUGH} each): biased downward"
        )
    over = f"{splits} splits shuffled by seed {seed}, population std" if splits > 1 else "all images at once"
    data = images.data if real is None else real.data
    origin = origin_of(images)
    generated = isinstance(images, FileImages)
    return ScoreRow(
        **vars(data or RealData(dataset=images.name)),
        **vars(origin),
        **vars(network.fields),
        metric="inception_score",
        value=result.value,
        std=result.std if splits > 1 else None,
        n_real=0 if generated else count,
        n_fake=count if generated else 0,
        splits=splits,
        metric_seed=seed,
        protocol=f"exp of the mean divergence of an image's classes from their mean, over {over}, float64"
        + origin.holes_clause,
        note="; ".join(notes),
    )
