"""Networks that look at images, for features or for classes, each with a name, a hash and its resize rule.

A Fréchet distance or an Inception score means nothing without these three, so no score is computed without them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from gancli.encoders.classifier import ClassifierFolder, load_classifier
from gancli.encoders.damsm import Damsm, load_damsm
from gancli.errors import UsageError
from gancli.progress import Progress
from gancli.run_paths import weights_folder_of
from gancli.scores.across_ranks import by_parts
from gancli.scores.results import NetworkFields
from gancli.weights import load_weights
from gancli.weights_folder import read_settings

if TYPE_CHECKING:
    from gancli.scores.image_sets import Images

Pixels = NDArray[np.uint8]
_RESIZE = "bilinear to {side}x{side}, antialiased where it shrinks"  # for networks trained by gancli


@dataclass(frozen=True)
class FeatureNetwork:
    """A network in eval mode with the preparation of its input.

    Attributes:
        name: Name in score rows ("inception", "encoder:runs/damsm (small)", "classifier:runs/birds (small)").
        sha256: sha256 of its weights file.
        dim: Length F of a feature vector, or number of classes.
        resize: Preparation of the input in words, for score rows.
        prepare: Function from (B, 3, H, W) float32 in [0, 255] to the network's input, of one side whatever H and W
            are.
        network: Function from that input to (B, F).
        device: Device of both.
        class_names: Names of the classes, where it is a classifier of gancli and gives logits.
        kind: "inception", "imagenet", "damsm", "classifier" or "pixels".
        output: "features", "logits" or "code".
        backbone: Architecture.
        transform: Short name of the preparation.
    """

    name: str
    sha256: str
    dim: int
    resize: str
    prepare: Callable[[Tensor], Tensor]
    network: Callable[[Tensor], Tensor]
    device: torch.device
    class_names: tuple[str, ...] = ()
    kind: str = ""
    output: str = "features"
    backbone: str = ""
    transform: str = ""

    @property
    def fields(self) -> NetworkFields:
        """The network as a score row names it."""
        return NetworkFields(
            network=self.name,
            network_kind=self.kind,
            network_output=self.output,
            backbone=self.backbone,
            network_sha256=self.sha256,
            transform=self.transform,
            resize=self.resize,
        )

    @torch.no_grad()
    def __call__(self, images: Sequence[Pixels]) -> Tensor:
        """Features, or logits, of a batch.

        Args:
            images: B arrays (H, W, 3) uint8 RGB. Their sizes may differ: each is resized on its own.

        Returns:
            (B, F) float32 on the CPU, in the order of the images.
        """
        by_shape: dict[tuple[int, ...], list[int]] = {}
        for index, image in enumerate(images):
            by_shape.setdefault(image.shape, []).append(index)
        inputs = []
        for indices in by_shape.values():
            same = torch.from_numpy(np.stack([images[index] for index in indices]))  # (b, H, W, 3)
            inputs.append(self.prepare(same.to(self.device).permute(0, 3, 1, 2).float()))
        order = [index for indices in by_shape.values() for index in indices]
        batch = torch.cat(inputs)[np.argsort(order)]  # (B, 3, S, S)
        return self.network(batch.contiguous(memory_format=torch.channels_last)).float().cpu()


def all_features(
    images: Images, network: FeatureNetwork, *, batch: int = 50, progress: Progress | None = None
) -> Tensor:
    """Return the features of all images, of which there is one at least, (N, F) float32 on the CPU."""

    def work(rows: slice) -> Iterator[Tensor]:
        return map(network, images.part(rows).batches(batch))

    return torch.cat(by_parts(len(images), batch, work, progress))


def load_features(
    name: FeatureNetwork | str, *, weights: str | Path | None = None, device: str | torch.device = "cpu"
) -> FeatureNetwork:
    """Load a feature network by name.

    Args:
        name: "inception", the network of published FIDs; "imagenet", torchvision's Inception-v3, whose last average
            pooling gives the features of published mAP and R@k; or "encoder:DIR", a classifier or the image encoder of
            a DAMSM, whose distances compare models on one dataset but not with published numbers. A loaded network is
            returned as it is.
        weights: File or folder of the Inception weights; None for the places where `gancli.weights` looks.
        device: Device to run on.

    Raises:
        UsageError: There is no such network.
        DataError: Its weights are missing or broken.
    """
    if isinstance(name, FeatureNetwork):
        return name
    kind, _, folder = name.partition(":")
    if name == "inception":
        return _fid_inception(weights, torch.device(device))
    if name == "imagenet":
        return _imagenet(weights, torch.device(device), "features")
    if kind in ("encoder", "classifier") and folder:
        if read_settings(weights_folder_of(folder, ("damsm", "classifier")))["kind"] == "classifier":
            return classifier_network(load_classifier(Path(folder), device), "features")
        return encoder_network(load_damsm(Path(folder), device), "features")
    raise UsageError(
        f"{name!r} is not a feature network",
        "Use inception, imagenet, or encoder:DIR with a folder of gancli pretrain-encoder damsm or classifier.",
    )


def load_logits(
    name: FeatureNetwork | str, *, weights: str | Path | None = None, device: str | torch.device = "cpu"
) -> FeatureNetwork:
    """Load a network that tells classes apart, by name. Its output are logits.

    Args:
        name: "classifier:DIR", a classifier of `gancli pretrain-encoder`; "imagenet", torchvision's Inception-v3 with
            its 1000 classes; or "inception", the network of published FIDs with the 1008 outputs of TensorFlow's graph.
            A loaded network is returned as it is.
        weights: File or folder of the weights of the last two; None for the places where `gancli.weights` looks.
        device: Device to run on.

    Raises:
        UsageError: There is no such network.
        DataError: Its weights are missing or broken, or the folder holds no classifier.
    """
    if isinstance(name, FeatureNetwork):
        return name
    kind, _, folder = name.partition(":")
    if name == "inception":
        return _fid_logits(weights, torch.device(device))
    if name == "imagenet":
        return _imagenet(weights, torch.device(device), "logits")
    if kind in ("classifier", "encoder") and folder:
        return classifier_network(load_classifier(Path(folder), device), "logits")
    raise UsageError(
        f"{name!r} is not a network that tells classes apart",
        "Use classifier:DIR with a folder of gancli pretrain-encoder classifier, imagenet or inception.",
    )


def _load_published(network: nn.Module, name: str, weights: str | Path | None) -> str:
    """Load published weights, whose sha256 is checked, and return that sha256."""
    state, digest = load_weights(name, weights)
    network.load_state_dict(state)
    return digest


def _fid_inception(weights: str | Path | None, device: torch.device) -> FeatureNetwork:
    from gancli.scores.inception import DIM, SIDE, build_fid_inception, features_only

    network = build_fid_inception()
    digest = _load_published(network, "fid_inception", weights)
    features_only(network).to(device)

    def prepare(images: Tensor) -> Tensor:
        images = F.interpolate(images / 255, size=(SIDE, SIDE), mode="bilinear", align_corners=False)
        return 2 * images - 1

    return FeatureNetwork(
        name="inception",
        sha256=digest,
        dim=DIM,
        resize=f"bilinear without antialiasing to {SIDE}x{SIDE}, aspect ignored (as pytorch-fid)",
        prepare=prepare,
        network=network,
        device=device,
        kind="inception",
        backbone="inception_v3",
        transform="pytorch-fid",
    )


def _fid_logits(weights: str | Path | None, device: torch.device) -> FeatureNetwork:
    from gancli.scores.inception import CLASSES, SIDE, build_fid_inception, tf1_bilinear, without_bias

    network = build_fid_inception()
    digest = _load_published(network, "fid_inception", weights)
    without_bias(network).to(device)
    return FeatureNetwork(
        name=f"inception ({CLASSES} classes)",
        sha256=digest,
        dim=CLASSES,
        resize=f"bilinear as TensorFlow 1 to {SIDE}x{SIDE}, aspect ignored; (x - 128) / 128 (as torch-fidelity)",
        prepare=lambda images: (tf1_bilinear(images, SIDE) - 128) / 128,
        network=network,
        device=device,
        kind="inception",
        output="logits",
        backbone="inception_v3",
        transform="tensorflow1",
    )


def _imagenet(
    weights: str | Path | None, device: torch.device, output: Literal["features", "logits"]
) -> FeatureNetwork:
    from torchvision.models import inception_v3

    from gancli.scores.inception import frozen

    network = inception_v3(weights=None, transform_input=False, init_weights=False)
    digest = _load_published(network, "inception_v3", weights)
    dim, what = network.fc.out_features, f"{network.fc.out_features} classes"
    if output == "features":
        dim, what = network.fc.in_features, f"{network.fc.in_features} features"
        network.fc = nn.Identity()
    frozen(network).to(device)
    side = 299

    def prepare(images: Tensor) -> Tensor:
        images = images / 127.5 - 1
        return F.interpolate(images, size=(side, side), mode="bilinear", align_corners=False)

    return FeatureNetwork(
        name=f"imagenet (inception_v3, {what})",
        sha256=digest,
        dim=dim,
        resize=f"bilinear without antialiasing to {side}x{side}, aspect ignored",
        prepare=prepare,
        network=network,
        device=device,
        kind="imagenet",
        output=output,
        backbone="inception_v3",
        transform="torchvision",
    )


def classifier_network(classifier: ClassifierFolder, output: Literal["features", "logits"]) -> FeatureNetwork:
    """Return a classifier in eval mode as a feature network, on the device it is on.

    Its output are the backbone's pooled features (Fréchet distances), or the logits of its classes.
    """
    network = classifier.network
    side = network.backbone.size
    logits = output == "logits"
    backbone = str(classifier.settings["classifier"]["backbone"])
    return FeatureNetwork(
        name=f"classifier:{classifier.folder} ({backbone})",
        sha256=classifier.hash,
        dim=len(classifier.class_names) if logits else network.backbone.global_channels,
        resize=_RESIZE.format(side=side),
        prepare=partial(_to_side, side=side),
        network=network if logits else network.features,
        device=network.head.weight.device,
        class_names=classifier.class_names if logits else (),
        kind="classifier",
        output=output,
        backbone=backbone,
        transform="antialiased",
    )


def encoder_network(encoder: Damsm, output: Literal["features", "code"]) -> FeatureNetwork:
    """Return the image encoder of a DAMSM in eval mode as a feature network, on the device it is on.

    Its output are the backbone's pooled features (Fréchet distances), or the projected global code that shares a space
    with sentences (R-precision).
    """
    image = encoder.image
    side = image.backbone.size
    backbone = str(encoder.settings["image"]["backbone"])
    return FeatureNetwork(
        name=f"encoder:{encoder.folder} ({backbone})",
        sha256=encoder.hash,
        dim=image.backbone.global_channels if output == "features" else image.code.out_features,
        resize=_RESIZE.format(side=side),
        prepare=partial(_to_side, side=side),
        network=image.features if output == "features" else lambda images: image(images)[1],
        device=image.code.weight.device,
        kind="damsm",
        output=output,
        backbone=backbone,
        transform="antialiased",
    )


def _to_side(images: Tensor, side: int) -> Tensor:
    """Resize (B, 3, H, W) in [0, 255] to (B, 3, side, side) in [-1, 1], as gancli's networks see them in training."""
    images = images / 127.5 - 1
    if images.shape[2:] == (side, side):
        return images
    if min(images.shape[2:]) >= side:  # as the loader shrinks images
        return F.interpolate(images, size=(side, side), mode="bilinear", antialias=True)
    # as the backbone itself enlarges small images
    return F.interpolate(images, size=(side, side), mode="bilinear", align_corners=True)
