"""Kernel inception distance, and precision and recall: distances of two sets of images without a Gaussian.

Both look at the features of each image, which `all_features` keeps, so they need no second pass after an FID.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from gancli.errors import DataError, UsageError, check_least
from gancli.progress import Progress, reporting
from gancli.scores.features import FeatureNetwork, all_features, load_features
from gancli.scores.fid import real_side
from gancli.scores.image_sets import Images, SplitImages, open_images, origin_of, remarks_on
from gancli.scores.results import RealData, ScoreRow

SUBSETS, SUBSET_SIZE = 100, 1000  # of the KID
NEIGHBOURS = 3  # k of precision and recall
_CHUNK = 1024  # rows of a matrix of distances at a time


def kernel_distance(
    real: Tensor, fake: Tensor, *, subsets: int = SUBSETS, subset_size: int = SUBSET_SIZE, seed: int = 0
) -> tuple[float, float]:
    """Return the kernel inception distance, mean and standard deviation over subsets (Binkowski et al., 2018).

    It is the unbiased squared maximum mean discrepancy under the kernel (x·y / F + 1)³, and may be below zero.

    Args:
        real: Features (N, F).
        fake: Features (M, F).
        subsets: Number of random subsets.
        subset_size: Images of each subset, at most N and M and at least 2.
        seed: Seed of the subsets.
    """
    random = np.random.default_rng(seed)
    values = []
    for _ in range(subsets):
        x, y = (
            features[random.choice(len(features), subset_size, replace=False)].double()
            for features in (real, fake)
        )
        within = sum(
            (kernel.sum() - kernel.diagonal().sum()) / (subset_size * (subset_size - 1))
            for kernel in (_kernel(x, x), _kernel(y, y))
        )
        values.append(float(within - 2 * _kernel(x, y).mean()))
    return float(np.mean(values)), float(np.std(values))


def _kernel(x: Tensor, y: Tensor) -> Tensor:
    return (x @ y.T / x.shape[1] + 1) ** 3


def precision_recall(real: Tensor, fake: Tensor, *, k: int = NEIGHBOURS) -> tuple[float, float]:
    """Return improved precision and recall, both from 0 to 1 (Kynkäänniemi et al., 2019).

    Precision is the share of generated images that lie within the ball around a real image which reaches to its k-th
    nearest real neighbour; recall the reverse.

    Args:
        real: Features (N, F), N > k.
        fake: Features (M, F), M > k.
        k: Neighbour that sets the radius.
    """
    return _covered(fake, real, _radii(real, k)), _covered(real, fake, _radii(fake, k))


def _radii(features: Tensor, k: int) -> Tensor:
    """Return the distance of each of (N, F) to its k-th nearest neighbour other than itself, (N,)."""
    return torch.cat([_distances(rows, features).kthvalue(k + 1).values for rows in features.split(_CHUNK)])


def _covered(points: Tensor, centres: Tensor, radii: Tensor) -> float:
    inside = [(_distances(rows, centres) <= radii).any(dim=1) for rows in points.split(_CHUNK)]
    return float(torch.cat(inside).double().mean())


def _distances(rows: Tensor, others: Tensor) -> Tensor:
    # The distance by a matrix product would lose the digits that tell near points apart
    return torch.cdist(rows, others, compute_mode="donot_use_mm_for_euclid_dist")


def score_kid(
    real: str | Path,
    fake: str | Path,
    features: FeatureNetwork | str = "inception",
    *,
    subsets: int = SUBSETS,
    subset_size: int = SUBSET_SIZE,
    weights: str | Path | None = None,
    cache: bool = True,
    seed: int = 0,
    batch: int = 50,
    device: str | torch.device = "cpu",
    progress: Progress | bool = True,
) -> ScoreRow:
    """Measure the kernel inception distance of generated images. It has no bias from the number of images.

    Args:
        real: Reference: "DIR:split" of a dataset or a folder of images.
        fake: Generated images, in the same forms.
        features: Feature network or its name, see `load_features`.
        subsets: Number of random subsets.
        subset_size: Images of each. With fewer images, all of the smaller side.
        weights: File or folder of the network's weights; None for the places where `gancli.weights` looks.
        cache: Keep the features in gancli's own folder for the next time.
        seed: Seed of the subsets.
        batch: Images at a time, which does not change the result.
        device: Device of the network.
        progress: Callback after each batch with images done and in all, or True for a bar.

    Raises:
        DataError: Images are missing or broken, or fewer than two.
        UsageError: A dataset is named without its split, or a number is too small.
    """
    check_least(subsets=(subsets, 1), subset_size=(subset_size, 2))
    pair = _Pair(real, fake, features, weights, cache, batch, device, progress)
    size = min(subset_size, *pair.counts)
    if size < 2:
        raise DataError(f"KID needs at least 2 images on each side. Received: {min(pair.counts)}")
    value, std = kernel_distance(pair.real, pair.fake, subsets=subsets, subset_size=size, seed=seed)
    notes = [] if size == subset_size else [f"subsets of {size:,} images: there are no more"]
    rule = f"unbiased, kernel (x.y/{pair.network.dim} + 1)^3, {subsets} subsets of {size:,}, float64, std over subsets"
    return pair.row("kid", value, rule, notes, std=std, seed=seed)


def score_precision_recall(
    real: str | Path,
    fake: str | Path,
    features: FeatureNetwork | str = "inception",
    *,
    k: int = NEIGHBOURS,
    weights: str | Path | None = None,
    cache: bool = True,
    batch: int = 50,
    device: str | torch.device = "cpu",
    progress: Progress | bool = True,
) -> tuple[ScoreRow, ScoreRow]:
    """Measure improved precision and recall of generated images in per cent: are they real, and are they all.

    Args:
        real: Reference: "DIR:split" of a dataset or a folder of images.
        fake: Generated images, in the same forms.
        features: Feature network or its name, see `load_features`.
        k: Neighbour that sets the radius around each image.
        weights: File or folder of the network's weights; None for the places where `gancli.weights` looks.
        cache: Keep the features in gancli's own folder for the next time.
        batch: Images at a time, which does not change the result.
        device: Device of the network.
        progress: Callback after each batch with images done and in all, or True for a bar.

    Raises:
        DataError: Images are missing or broken, or at most k.
        UsageError: A dataset is named without its split, or k is below 1.
    """
    check_least(k=(k, 1))
    pair = _Pair(real, fake, features, weights, cache, batch, device, progress)
    if min(pair.counts) <= k:
        raise DataError(
            f"precision and recall need more than k = {k} images on each side. Received: {min(pair.counts)}"
        )
    precision, recall = precision_recall(pair.real, pair.fake, k=k)
    reals, fakes = pair.counts
    notes = (
        [] if reals == fakes else [f"{reals:,} real and {fakes:,} generated images: equal numbers are usual"]
    )
    rule = f"share of {{}} images within the ball of {{}} ones to their {k}. neighbour, Euclidean"
    return (
        pair.row("precision", 100 * precision, rule.format("generated", "real"), notes, k=k),
        pair.row("recall", 100 * recall, rule.format("real", "generated"), notes, k=k),
    )


class _Pair:
    """Features of real and generated images, and what a row says of them."""

    def __init__(
        self,
        real: str | Path,
        fake: str | Path,
        features: FeatureNetwork | str,
        weights: str | Path | None,
        cache: bool,
        batch: int,
        device: str | torch.device,
        progress: Progress | bool,
    ) -> None:
        if any(str(name).lower().endswith(".npz") for name in (real, fake)):
            raise UsageError("a file of statistics has no images", "Only gancli score fid takes one.")
        generated, reference = open_images(fake), open_images(real)
        if isinstance(reference, SplitImages):
            reference = reference.at(real_side(reference, None, generated)).beside(generated)
        self.network = load_features(features, weights=weights, device=device)

        def of(images: Images) -> Tensor:
            return all_features(images, self.network, batch=batch, cache=cache, progress=report)

        with reporting(progress, "features", "images") as report:
            self.real, self.fake = of(reference), of(generated)
        self.data = reference.data if isinstance(reference, SplitImages) else RealData(dataset=str(real))
        self.origin = origin_of(generated)
        self.remarks = [note for images in (reference, generated) for note in remarks_on(images)]

    @property
    def counts(self) -> tuple[int, int]:
        """Numbers of real and of generated images."""
        return len(self.real), len(self.fake)

    def row(
        self,
        metric: str,
        value: float,
        rule: str,
        notes: list[str],
        *,
        std: float | None = None,
        k: int | None = None,
        seed: int | None = None,
    ) -> ScoreRow:
        """Return a row of a metric."""
        return ScoreRow(
            **vars(self.data),
            **vars(self.origin),
            **vars(self.network.fields),
            metric=metric,
            value=value,
            std=std,
            n_real=self.counts[0],
            n_fake=self.counts[1],
            k=k,
            metric_seed=seed,
            protocol=rule + self.origin.holes_clause,
            note="; ".join([*self.remarks, *notes]),
        )
