"""Feature networks: pictures to vectors, always with a name, a hash and the rule by which pictures are resized.

A Fréchet distance means nothing without these three, so no score is computed without them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from gancli.encoders.damsm import Damsm, load_damsm
from gancli.errors import DataError, UsageError
from gancli.weights import load_weights

Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class FeatureNetwork:
    """A network in eval mode with the preparation of its input.

    Attributes:
        name: As score rows give it ("inception", "encoder:runs/damsm (small)").
        sha256: Of its weights file.
        dim: F, length of a feature vector.
        resize: The preparation in words, for the score row.
        prepare: (B, 3, H, W) float32 in [0, 255] to the network's input, of one side whatever H and W are.
        network: The input to (B, F).
        device: Where both run.
    """

    name: str
    sha256: str
    dim: int
    resize: str
    prepare: Callable[[Tensor], Tensor]
    network: Callable[[Tensor], Tensor]
    device: torch.device

    @torch.no_grad()
    def __call__(self, pictures: Sequence[Pixels]) -> Tensor:
        """Features of a batch.

        Args:
            pictures: B arrays (H, W, 3) uint8 RGB. Their sizes may differ: each is resized on its own.

        Returns:
            (B, F) float32 on the CPU, in the order of the pictures.
        """
        by_shape: dict[tuple[int, ...], list[int]] = {}
        for index, picture in enumerate(pictures):
            by_shape.setdefault(picture.shape, []).append(index)
        inputs = []
        for indices in by_shape.values():
            same = torch.from_numpy(np.stack([pictures[index] for index in indices]))  # (b, H, W, 3)
            inputs.append(self.prepare(same.to(self.device).permute(0, 3, 1, 2).float()))
        order = [index for indices in by_shape.values() for index in indices]
        batch = torch.cat(inputs)[np.argsort(order)]  # (B, 3, S, S)
        return self.network(batch.contiguous(memory_format=torch.channels_last)).float().cpu()


def load_features(
    name: str, *, weights: Path | None = None, device: str | torch.device = "cpu"
) -> FeatureNetwork:
    """A feature network by name.

    Args:
        name: "inception", the network of published FIDs, or "encoder:DIR", the image encoder of an encoder
            folder, whose distances compare models on one dataset but with no published number.
        weights: File or folder of the Inception weights; None: where `gancli.weights` looks.
        device: Where to run.

    Raises:
        UsageError: There is no such network.
        DataError: Its weights are not to be had or are broken.
    """
    kind, _, folder = name.partition(":")
    if name == "inception":
        return _fid_inception(weights, torch.device(device))
    if kind == "encoder" and folder:
        return encoder_network(load_damsm(Path(folder), device), "features")
    raise UsageError(
        f"{name!r} is not a feature network",
        "Say inception, or encoder:DIR with a folder of gancli pretrain-encoder.",
    )


def _fid_inception(weights: Path | None, device: torch.device) -> FeatureNetwork:
    from gancli.scores.inception import DIM, SIDE, build_fid_inception, features_only

    state, digest = load_weights("fid_inception", weights)
    network = build_fid_inception()
    try:
        network.load_state_dict(state)
    except RuntimeError as error:  # cannot happen with the published file, whose sha256 was checked
        raise DataError(f"the weights of the FID Inception network do not fit: {error}") from error
    features_only(network).to(device)

    def prepare(pictures: Tensor) -> Tensor:
        pictures = F.interpolate(pictures / 255, size=(SIDE, SIDE), mode="bilinear", align_corners=False)
        return 2 * pictures - 1

    return FeatureNetwork(
        name="inception",
        sha256=digest,
        dim=DIM,
        resize=f"bilinear without antialiasing to {SIDE}x{SIDE}, aspect ignored (as pytorch-fid)",
        prepare=prepare,
        network=network,
        device=device,
    )


def encoder_network(encoder: Damsm, output: Literal["features", "code"]) -> FeatureNetwork:
    """The image encoder of a DAMSM as a feature network.

    Args:
        encoder: In eval mode; it runs where it lies.
        output: "features" for the backbone's pooled features (Fréchet distances), "code" for the projected
            global code that shares a space with sentences (R-precision).
    """
    image = encoder.image
    side = image.backbone.size

    def prepare(pictures: Tensor) -> Tensor:
        pictures = pictures / 127.5 - 1
        if pictures.shape[2:] == (side, side):
            return pictures
        if min(pictures.shape[2:]) >= side:  # as the loader makes small pictures from large ones
            return F.interpolate(pictures, size=(side, side), mode="bilinear", antialias=True)
        # as the encoder itself enlarges the generator's pictures in training
        return F.interpolate(pictures, size=(side, side), mode="bilinear", align_corners=True)

    return FeatureNetwork(
        name=f"encoder:{encoder.folder} ({encoder.settings['image']['backbone']})",
        sha256=encoder.hash,
        dim=image.backbone.global_channels if output == "features" else image.code.out_features,
        resize=f"bilinear to {side}x{side}, antialiased where it shrinks",
        prepare=prepare,
        network=image.features if output == "features" else lambda pictures: image(pictures)[1],
        device=image.code.weight.device,
    )
