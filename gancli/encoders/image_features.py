"""Frozen image features of a split: a few views of every image through a network that does not learn.

The character encoder learns beside such features (Reed et al. 2016), drawing a random view of an image each time. They
are computed once and kept in the dataset folder, under a name made of everything they depend on.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gancli.data.shards import Split, file_hash
from gancli.encoders.backbones import (
    IMAGENET_SIDE,
    BackboneName,
    build_backbone,
    fold_batch_norms,
    load_imagenet,
)
from gancli.encoders.classifier import load_classifier
from gancli.encoders.damsm import load_damsm
from gancli.encoders.vectors import VectorFile, open_vectors, split_hash, write_vectors
from gancli.errors import DataError
from gancli.progress import Progress
from gancli.run_paths import weights_folder_of
from gancli.weights_folder import read_settings

Views = Literal["ten", "centre"]

FOLDER = "features"  # in the dataset folder
VIEWS: dict[Views, int] = {"ten": 10, "centre": 1}
VIEW_RULE = (
    "windows of image_size of the stored image: ten = top left, top right, bottom left, bottom right and centre, "
    "then the same mirrored; centre = the centre"
)
_VIEWS_AT_ONCE = 64  # through the network


@dataclass(frozen=True)
class FrozenNetwork:
    """A frozen image network.

    Attributes:
        name: The backbone, and where it is from: "googlenet (ImageNet)", "small (damsm)".
        hash: sha256 of its weights file.
        dim: F, length of a feature vector.
        network: Images (B, 3, S, S) in [-1, 1] to (B, F).
        device: Where it lies.
    """

    name: str
    hash: str
    dim: int
    network: Callable[[Tensor], Tensor]
    device: torch.device


def frozen_imagenet(
    backbone: BackboneName, device: torch.device, weights: Path | None = None
) -> FrozenNetwork:
    """The pooled features of a backbone with ImageNet weights.

    Args:
        backbone: Any but `small`.
        device: Where to.
        weights: File or folder of the weights; None looks where `gancli.weights` looks.

    Raises:
        DataError: The weights are not to be had.
    """
    module = build_backbone(backbone, size=IMAGENET_SIDE)
    path = load_imagenet(module, weights)
    module.to(device).eval().requires_grad_(False)
    fold_batch_norms(module)
    module.to(memory_format=torch.channels_last)
    return FrozenNetwork(
        f"{backbone} (ImageNet)", file_hash(path), module.global_channels, lambda x: module(x)[1], device
    )


def frozen_encoder(folder: str | Path, device: torch.device) -> FrozenNetwork:
    """The pooled features of an encoder folder's backbone: a DAMSM's or a classifier's.

    Raises:
        DataError: The folder is neither, is incomplete or broken.
    """
    folder = weights_folder_of(folder, ("damsm", "classifier"))
    kind = read_settings(folder)["kind"]
    if kind == "damsm":
        damsm = load_damsm(folder, device)
        image, digest, backbone = damsm.image, damsm.hash, damsm.settings["image"]["backbone"]
        return FrozenNetwork(
            f"{backbone} (damsm)", digest, image.backbone.global_channels, image.features, device
        )
    if kind == "classifier":
        classifier = load_classifier(folder, device)
        backbone = classifier.settings["classifier"]["backbone"]
        return FrozenNetwork(
            f"{backbone} (classifier)",
            classifier.hash,
            classifier.network.backbone.global_channels,
            classifier.network.features,
            device,
        )
    raise DataError(
        f"{folder}: is a folder of kind {kind!r}, which has no image features",
        "Name one of gancli pretrain-encoder damsm or classifier.",
    )


def extract_features(
    split: Split, source: FrozenNetwork, views: Views, *, progress: Progress | None = None
) -> VectorFile:
    """The features of a split's images, from the dataset's `features/` or computed and kept there.

    They are kept as float16, which halves the file: its rounding, a two-thousandth, is far below what one view of an
    image differs from the next.

    Args:
        split: Its images.
        source: The network.
        views: Of each image, see `VIEW_RULE`.
        progress: Called after each batch.

    Returns:
        (N, V, F) float16 of V views each.

    Raises:
        DataError: The kept file is damaged, or a feature is too large for float16 or not finite.
        RunError: The disk is full or not writable.
    """
    key = hashlib.sha256("\n".join([split_hash(split), source.hash, views, VIEW_RULE]).encode()).hexdigest()
    path = split.folder / FOLDER / f"{split.name}-{views}-{key[:16]}.npy"
    shape = (len(split), VIEWS[views], source.dim)
    if not path.is_file():
        write_vectors(path, shape, "<f2", _batches(split, source, views, progress))
    return open_vectors(path, shape)


def _batches(
    split: Split, source: FrozenNetwork, views: Views, progress: Progress | None
) -> Iterator[NDArray[np.float16]]:
    """(b * V, F) for a few images after the other."""
    at_once = max(1, _VIEWS_AT_ONCE // VIEWS[views])
    for start in range(0, len(split), at_once):
        stop = min(start + at_once, len(split))
        windows = np.concatenate([_windows(split, index, views) for index in range(start, stop)])
        images = (
            torch.from_numpy(windows).to(source.device).permute(0, 3, 1, 2)
        )  # (b * V, 3, S, S), channels_last
        with torch.no_grad():
            vectors = source.network(images.float().div_(127.5).sub_(1.0)).half().cpu().numpy()
        if not np.isfinite(vectors).all():
            raise DataError(
                f"{split.folder}: {source.name} gives features that are infinite or above 65504 for an image among "
                f"{start} to {stop - 1} of split {split.name!r}",
                "Use another network.",
            )
        yield vectors
        if progress is not None:
            progress(stop, len(split))


def _windows(split: Split, index: int, views: Views) -> NDArray[np.uint8]:
    """The views of one image, (V, S, S, 3)."""
    image, size = split.image(index), split.image_size
    bottom, right = image.shape[0] - size, image.shape[1] - size
    corners = [(0, 0), (0, right), (bottom, 0), (bottom, right), (bottom // 2, right // 2)]
    if views == "centre":
        corners = corners[-1:]
    windows = np.stack([image[top : top + size, left : left + size] for top, left in corners])
    return windows if views == "centre" else np.concatenate([windows, windows[:, :, ::-1]])
