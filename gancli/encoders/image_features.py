"""Frozen image features of a split: a few views of every image through a network that does not learn.

The character encoder is trained against such features (Reed et al. 2016), with a random view of an image each time.
They are computed once and kept in the dataset folder, under a name made of everything that they depend on.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from gancli.data.loader import Batch, BatchSource
from gancli.data.shards import Split
from gancli.encoders.backbones import (
    IMAGENET_SIDE,
    BackboneName,
    build_backbone,
    fold_batch_norms,
    load_imagenet,
)
from gancli.encoders.classifier import Classifier, load_classifier
from gancli.encoders.damsm import ImageEncoder, load_damsm
from gancli.encoders.vectors import VectorFile, open_vectors, split_hash, write_vectors
from gancli.errors import DataError
from gancli.hashes import file_hash
from gancli.progress import Progress, reporting
from gancli.run_paths import weights_folder_of
from gancli.weights_folder import read_settings

Views = Literal["ten", "centre"]

FOLDER = "features"  # in the dataset folder
VIEWS: dict[Views, int] = {"ten": 10, "centre": 1}
VIEW_RULE = (
    "windows of image_size of the stored image: ten = top left, top right, bottom left, bottom right and centre, "
    "then the same mirrored; centre = the centre"
)
_VIEWS_AT_ONCE = 64


@dataclass(frozen=True)
class FrozenNetwork:
    """Frozen image network.

    Attributes:
        name: Backbone and origin of its weights: "googlenet (ImageNet)", "small (damsm)".
        hash: sha256 of its weights file.
        dim: Length F of a feature vector.
        network: Function from images (B, 3, S, S) in [-1, 1] to features (B, F).
        device: Device of the network.
    """

    name: str
    hash: str
    dim: int
    network: Callable[[Tensor], Tensor]
    device: torch.device


def frozen_imagenet(
    backbone: BackboneName,
    device: torch.device,
    weights: str | Path | None = None,
    *,
    size: int = IMAGENET_SIDE,
) -> FrozenNetwork:
    """Return the network of a backbone's pooled features, with ImageNet weights.

    Args:
        backbone: Name of any backbone but `small`.
        device: Device to load to.
        weights: Weights file, or a folder that holds it. None looks where `gancli.weights` looks.
        size: Side of the input in pixels. Inception-v3 always works at 299.

    Raises:
        DataError: The weights cannot be found or downloaded.
    """
    module = build_backbone(backbone, size=size)
    path = load_imagenet(module, weights)
    module.to(device).eval().requires_grad_(False)
    fold_batch_norms(module)
    module.to(memory_format=torch.channels_last)
    return FrozenNetwork(
        f"{backbone} (ImageNet)", file_hash(path), module.global_channels, lambda x: module(x)[1], device
    )


def frozen_encoder(folder: str | Path, device: torch.device) -> FrozenNetwork:
    """Return the network of the pooled features of a DAMSM's or a classifier's backbone.

    Raises:
        DataError: The folder holds neither, or is incomplete or broken.
    """
    folder = weights_folder_of(folder, ("damsm", "classifier"))
    kind = read_settings(folder)["kind"]
    if kind not in ("damsm", "classifier"):
        raise DataError(
            f"{folder}: is a folder of kind {kind!r}, which has no image features",
            "Name one of gancli pretrain-encoder damsm or classifier.",
        )
    network: ImageEncoder | Classifier
    if kind == "damsm":
        damsm = load_damsm(folder, device)
        network, digest, name = damsm.image, damsm.hash, damsm.settings["image"]["backbone"]
    else:
        classifier = load_classifier(folder, device)
        network, digest = classifier.network, classifier.hash
        name = classifier.settings["classifier"]["backbone"]
    return FrozenNetwork(
        f"{name} ({kind})", digest, network.backbone.global_channels, network.features, device
    )


def extract_features(
    split: Split, source: FrozenNetwork, views: Views, *, progress: Progress | bool = True
) -> VectorFile:
    """Return the features of a split's images, read from the dataset's `features/` or written there.

    They are kept as float16, which halves the file. Its rounding, a two-thousandth, is far smaller than the difference
    between two views of an image.

    Args:
        split: Split of the images.
        source: Image network.
        views: Views of each image, see `VIEW_RULE`.
        progress: Callback for the number of images done and in all. True shows a bar where a person watches.

    Returns:
        Features of V views of each image, (N, V, F) float16.

    Raises:
        DataError: The kept file is damaged, or a feature is too large for float16 or not finite.
        RunError: The disk is full or not writable.
    """
    key = hashlib.sha256("\n".join([split_hash(split), source.hash, views, VIEW_RULE]).encode()).hexdigest()
    path = split.folder / FOLDER / f"{split.name}-{views}-{key[:16]}.npy"
    shape = (len(split), VIEWS[views], source.dim)
    if not path.is_file():
        with reporting(progress, "looking at", "images") as report:
            write_vectors(path, shape, "<f2", _batches(split, source, views, report))
    return open_vectors(path, shape)


@dataclass(frozen=True)
class ViewBatches(Dataset[Batch]):
    """Training batches whose images are features of a random one of their views, computed once.

    Attributes:
        captions: Batches of the same images without pixels.
        views: Features (N, V, F) of all images, from `extract_features`.
    """

    captions: BatchSource
    views: VectorFile

    @property
    def batch(self) -> int:
        """Images per step of this process."""
        return self.captions.batch

    def __len__(self) -> int:
        return len(self.captions)

    def __getitem__(self, step: int) -> Batch:
        batch, vectors = self.captions[step], self.views.vectors
        chosen = vectors[batch.indices.numpy(), self.captions.draw_views(step, vectors.shape[1])]
        return replace(batch, features=torch.from_numpy(chosen.astype(np.float32)))


def _batches(
    split: Split, source: FrozenNetwork, views: Views, progress: Progress | None
) -> Iterator[NDArray[np.float16]]:
    """Yield the features of a few images after the others, (b * V, F)."""
    at_once = max(1, _VIEWS_AT_ONCE // VIEWS[views])
    for start in range(0, len(split), at_once):
        stop = min(start + at_once, len(split))
        windows = np.concatenate([_windows(split, index, views) for index in range(start, stop)])
        # (b * V, 3, S, S), channels_last
        images = torch.from_numpy(windows).to(source.device).permute(0, 3, 1, 2)
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
    """Return the views of one image, (V, S, S, 3)."""
    image, size = split.image(index), split.image_size
    bottom, right = image.shape[0] - size, image.shape[1] - size
    corners = [(0, 0), (0, right), (bottom, 0), (bottom, right), (bottom // 2, right // 2)]
    if views == "centre":
        corners = corners[-1:]
    windows = np.stack([image[top : top + size, left : left + size] for top, left in corners])
    return windows if views == "centre" else np.concatenate([windows, windows[:, :, ::-1]])
