"""What sampling knows of a model: the contract that the loaded model of each paper keeps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

NOISE = "noise"  # z; every other noise of a model is the conditioning augmentation's


@dataclass(frozen=True)
class Drawing:
    """A batch of images.

    Attributes:
        images: (B, 3, S, S) in [-1, 1] per stage, smallest first.
        attention: (B, L, H, W) per refinement stage, each pixel's weights summing to 1 over the words; empty where a
            model does not attend to words.
    """

    images: tuple[Tensor, ...]
    attention: tuple[Tensor, ...] = ()


class LoadedModel(Protocol):
    """A model ready to sample: networks in eval mode, frozen.

    Attributes:
        name: The paper's model ("ffgan", "stackgan", "fusion-s2igan", "attr2image").
        method: What the paper's tables call it and its ablations; untrained ones are told apart.
        settings: config.yaml.
        hash: sha256 of the weights file.
        folder: Where it lies.
        stages: Sides of the images it makes, smallest first.
        stage_names: What the paper calls each of them.
        noise_dims: Length of each noise that `draw` takes, in the order in which they are drawn.
        words: Most words of a caption that it reads; None where it does not read words.
    """

    @property
    def name(self) -> str: ...
    @property
    def method(self) -> str: ...
    @property
    def settings(self) -> Mapping[str, Any]: ...
    @property
    def hash(self) -> str: ...
    @property
    def folder(self) -> Path: ...
    @property
    def stages(self) -> tuple[int, ...]: ...
    @property
    def stage_names(self) -> tuple[str, ...]: ...
    @property
    def noise_dims(self) -> Mapping[str, int]: ...
    @property
    def words(self) -> int | None: ...

    def check(self, captions: Sequence[str]) -> list[str]:
        """What to warn a user of: unknown words or characters, captions that are cut.

        Raises:
            DataError: Nothing of a caption is known.
            UsageError: The model reads no captions.
        """

    def draw(self, captions: Sequence[str], noises: Mapping[str, Tensor]) -> Drawing:
        """Images of B captions; no image depends on the others.

        Args:
            captions: B of them.
            noises: (B, dim) standard normal for each of `noise_dims`, on any device.
        """


def told_apart(name: str, settings: Mapping[str, Any]) -> str:
    """A model's name in tables; one that was never trained is told apart."""
    return f"{name}, untrained" if settings.get("step") == 0 else name


def freeze(device: str | torch.device, *networks: nn.Module) -> None:
    """Networks as they are used: on a device, in eval mode, without gradients."""
    for network in networks:
        network.to(device).eval().requires_grad_(False)
