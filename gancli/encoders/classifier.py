"""Classifier of a dataset's classes, for the Inception score and as a source of image features.

It is a backbone with one linear layer on its global features. StackGAN's Inception scores on birds and flowers come
from such a network, an Inception-v3 fine-tuned on the classes of the evaluation split. Its folder names the classes, so
that it is not used on others.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from gancli.data.loader import Batch
from gancli.encoders.backbones import BackboneName, build_backbone
from gancli.engine.phases import Phase
from gancli.run_paths import weights_folder_of
from gancli.weights_folder import load_part, read_folder, reading_settings, write_folder


class Classifier(nn.Module):
    """Backbone with one linear layer from its global features to classes.

    Args:
        backbone: Name of the backbone.
        classes: Number C of classes.
        size: Side in pixels of the images that the backbone works on (Inception-v3: always 299).
        width: Channels of the first layers of the small backbone.
        dropout: Dropout on the global features.
    """

    def __init__(
        self, backbone: BackboneName, *, classes: int, size: int = 299, width: int = 32, dropout: float = 0.0
    ) -> None:
        super().__init__()
        if classes < 2:
            raise ValueError(f"a classifier needs at least 2 classes. Received: {classes}")
        self.backbone = build_backbone(backbone, size=size, width=width)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(self.backbone.global_channels, classes)

    def forward(self, images: Tensor) -> Tensor:
        """Map images (B, 3, S, S) in [-1, 1] to logits (B, C)."""
        logits: Tensor = self.head(self.dropout(self.features(images)))
        return logits

    def features(self, images: Tensor) -> Tensor:
        """Map images (B, 3, S, S) in [-1, 1] to the backbone's global features (B, F)."""
        whole: Tensor = self.backbone(images)[1]
        return whole


class ClassifierTraining:
    """Training of the classifier: cross entropy in one phase, with averaged weights.

    Args:
        network: Classifier to train, including its backbone.
        class_ids: The dataset's number of each class, (C,) ascending.
        lr: Learning rate of AdamW.
        weight_decay: Weight decay of AdamW, on weight matrices and kernels only.
        label_smoothing: Share of the target that is spread over all classes.
    """

    averaged: tuple[str, ...] = ("classifier",)

    def __init__(
        self,
        network: Classifier,
        class_ids: NDArray[np.int64],
        *,
        lr: float,
        weight_decay: float,
        label_smoothing: float,
    ) -> None:
        self.network = network
        self.networks: dict[str, nn.Module] = {"classifier": network}
        self.label_smoothing = label_smoothing
        self.class_ids = torch.from_numpy(class_ids).to(network.head.weight.device)
        # Biases and batch norms do not decay: they gain nothing from being close to zero
        weights = [p for p in network.parameters() if p.ndim > 1]
        others = [p for p in network.parameters() if p.ndim <= 1]
        self.optimizer = torch.optim.AdamW(
            [{"params": weights, "weight_decay": weight_decay}, {"params": others, "weight_decay": 0.0}],
            lr=lr,
        )
        self.phases = [Phase("classifier", self.networks, self.optimizer, self.terms)]

    def begin(self, batch: Batch) -> Batch:
        """Return the batch as it is: a single phase has nothing to share."""
        return batch

    def targets(self, batch: Batch) -> Tensor:
        """Return the classes by the network's own numbers, (B,) int64 in [0, C)."""
        return torch.searchsorted(self.class_ids, batch.class_ids.to(self.class_ids.device))

    def terms(self, batch: Batch) -> dict[str, Tensor]:
        """Return the cross entropy with label smoothing."""
        logits = self.network(batch.images[-1])
        loss = F.cross_entropy(logits.float(), self.targets(batch), label_smoothing=self.label_smoothing)
        return {"cross_entropy": loss}


# --- the encoder folder ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ClassifierFolder:
    """Trained classifier, frozen and in eval mode.

    Attributes:
        network: Classifier.
        class_names: Names of its C outputs, in order.
        settings: Content of `config.yaml`: arguments of the network, dataset, split and training.
        hash: sha256 of the weights file.
        folder: Folder of the classifier.
    """

    network: Classifier
    class_names: tuple[str, ...]
    settings: Mapping[str, Any]
    hash: str
    folder: Path


def save_classifier(
    folder: str | Path, network: nn.Module, class_names: Sequence[str], settings: Mapping[str, object]
) -> None:
    """Write a classifier's folder.

    `settings` have a section `classifier`, the arguments of `Classifier` without the number of classes.
    """
    everything = {**settings, "kind": "classifier", "class_names": list(class_names)}
    write_folder(folder, {"classifier": network}, None, everything)


def load_classifier(folder: str | Path, device: str | torch.device = "cpu") -> ClassifierFolder:
    """Load a classifier from its folder, a run, a checkpoint or "latest", frozen and in eval mode.

    Raises:
        DataError: The folder is incomplete, broken, or of another kind.
    """
    folder = weights_folder_of(folder, ("classifier",))
    settings, tensors, digest = read_folder(folder, "classifier")
    with reading_settings(folder):
        names = settings["class_names"]
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise TypeError("`class_names` is no list of names")
        network = Classifier(**settings["classifier"], classes=len(names))
    load_part(network, tensors, "classifier.", folder)
    network.to(device).eval().requires_grad_(False)
    return ClassifierFolder(network, tuple(names), settings, digest, folder)
