"""LPIPS (Zhang et al., 2018): perceptual distance of images from their originals, and between images of one caption.

The distance is the `lpips` package's, version 0.1 on AlexNet, whose own weights come with the package. Those of AlexNet
are torchvision's, checked like all published weights.
"""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
import torch
from torch import Tensor

from gancli.data.holes import Hole
from gancli.errors import DataError, UsageError
from gancli.progress import Progress, reporting
from gancli.sampling.samples_folder import read_samples
from gancli.scores.across_ranks import by_parts
from gancli.scores.image_sets import FileImages, Pixels, open_images, origin_of
from gancli.scores.pairs import PairMetric, pair_images, score_pairs
from gancli.scores.results import NetworkFields, RealData, ScoreRow
from gancli.weights import load_weights

SMALLEST_SIDE = 32  # pixels; AlexNet pools smaller images away


@dataclass(frozen=True)
class PerceptualDistance:
    """LPIPS on a device.

    Attributes:
        network: Function from two batches (B, 3, S, S) in [-1, 1] to distances (B, 1, 1, 1).
        sha256: Hash of AlexNet's weights.
        device: Device of the network.
    """

    network: Callable[[Tensor, Tensor], Tensor]
    sha256: str
    device: torch.device

    @property
    def fields(self) -> NetworkFields:
        """The network as a score row names it."""
        return NetworkFields(
            network="AlexNet with LPIPS 0.1",
            network_kind="lpips",
            network_output="features",
            backbone="alexnet",
            network_sha256=self.sha256,
            transform="lpips",
            resize="at their own side",
        )

    @torch.no_grad()
    def __call__(self, images: Pixels, others: Pixels) -> list[float]:
        """Return the distances of images (B, H, W, 3) uint8 from others of the same shape."""
        first, second = (
            torch.from_numpy(np.array(each)).to(self.device).permute(0, 3, 1, 2).float() / 127.5 - 1
            for each in (images, others)
        )
        distances: list[float] = self.network(first, second).flatten().tolist()
        return distances


def load_lpips(
    weights: str | Path | None = None, *, device: str | torch.device = "cpu"
) -> PerceptualDistance:
    """Load LPIPS.

    Args:
        weights: File or folder of AlexNet's weights; None for the places where `gancli.weights` looks.
        device: Device of the network.

    Raises:
        DataError: The weights are missing or broken.
    """
    import lpips

    tensors, digest = load_weights("alexnet", weights)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of the package's way to ask torchvision for a network
        network = lpips.LPIPS(net="alex", pnet_rand=True, verbose=False)
    # The package splits AlexNet into slices and keeps the numbers of its layers
    slices = {name.split(".", 2)[2]: name for name in network.state_dict() if name.startswith("net.slice")}
    trunk = {slices[layer]: tensors[f"features.{layer}"] for layer in slices}
    network.load_state_dict(trunk, strict=False)
    network.eval().requires_grad_(False).to(device)
    return PerceptualDistance(
        cast("Callable[[Tensor, Tensor], Tensor]", network), digest, torch.device(device)
    )


def score_lpips(
    images: str | Path,
    *,
    weights: str | Path | None = None,
    data: str | Path | None = None,
    real: str | Path | None = None,
    mask: str | Path | None = None,
    invert_mask: bool = False,
    batch: int = 50,
    device: str | torch.device = "cpu",
    progress: Progress | bool = True,
) -> tuple[ScoreRow, ...]:
    """Measure the perceptual distance of filled images, whole, and that of the mean fill.

    Arguments, rows and errors are those of `score_psnr`, and images with a side below 32 pixels are a DataError.

    Args:
        weights: File or folder of AlexNet's weights; None for the places where `gancli.weights` looks.
        device: Device of the network.
    """
    pairs = pair_images(images, data, real, mask, invert_mask)
    distance = load_lpips(weights, device=device)

    def measure(image: Pixels, original: Pixels, hole: Hole | None) -> tuple[float, ...]:
        return tuple(distance(image[None], original[None]))

    rule = "LPIPS 0.1 of {region} on AlexNet's features, in [-1, 1]"
    metric = PairMetric("lpips", rule, measure, SMALLEST_SIDE, network=distance.fields)
    with reporting(progress, "comparing", "images") as report:
        return score_pairs(metric, pairs, batch, report)


def score_diversity(
    samples: str | Path,
    *,
    weights: str | Path | None = None,
    device: str | torch.device = "cpu",
    progress: Progress | bool = True,
) -> ScoreRow:
    """Measure the perceptual distance between the images of one caption, which differ in their noise alone.

    0 means that the noise changes nothing. What real images of one caption would have is not known.

    Args:
        samples: Folder of `gancli sample` with several variants of each caption.
        weights: File or folder of AlexNet's weights; None for the places where `gancli.weights` looks.
        device: Device of the network.
        progress: Callback after each caption with captions done and in all, or True for a bar.

    Raises:
        DataError: Images or weights are missing or broken, no caption has two images, or these are too small.
        UsageError: The folder is no folder of samples.
    """
    images = open_images(samples)
    if not isinstance(images, FileImages):
        raise UsageError(f"{samples}: is a dataset; this score takes a folder of gancli sample")
    groups: dict[tuple[str, str], list[int]] = {}
    for number, record in enumerate(read_samples(images.folder)):
        groups.setdefault((record.key, record.caption), []).append(number)
    several = [group for group in groups.values() if len(group) > 1]
    if not several:
        raise DataError(
            f"{samples}: has one image of each caption, which differs from no other",
            "Draw several: gancli sample … --variants 4.",
        )
    distance = load_lpips(weights, device=device)

    def work(rows: slice) -> Iterator[float]:
        for group in several[rows]:
            (drawn,) = images.only(group).batches(len(group))
            if min(drawn[0].shape[:2]) < SMALLEST_SIDE:
                raise DataError(f"{samples}: images of {len(drawn[0])} pixels, LPIPS needs {SMALLEST_SIDE}")
            first, second = zip(*itertools.combinations(drawn, 2), strict=True)
            yield float(np.mean(distance(np.stack(first), np.stack(second))))

    with reporting(progress, "comparing", "captions") as report:
        values = np.array(by_parts(len(several), 1, work, report))
    data = images.data or RealData(dataset="")
    return ScoreRow(
        **vars(data),
        **vars(origin_of(images)),
        **vars(distance.fields),
        metric="diversity",
        value=float(values.mean()),
        std=float(values.std()),
        n_real=0,
        n_fake=sum(map(len, several)),
        protocol="LPIPS 0.1 on AlexNet's features of all pairs of images of one caption; mean and std over captions",
        note=f"{len(several):,} captions",
    )
