"""The interface of a loaded model, the same for the models of all papers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

Ablation = dict[str, object]  # values under their recipe keys ({"model.gsr": False})

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
        name: Name of the model ("ffgan", "stackgan", "fusion-s2igan", "attr2image").
        ablation: Settings of its paper's ablations in which it differs from the paper's own model.
        method: Name in the paper's tables, of an ablation too; untrained models are marked.
        settings: Content of config.yaml.
        dataset: Dataset it was trained on, as fields.
        differences: Settings in which its recipe differs from its paper's, as fields.
        hash: sha256 of the weights file.
        folder: Model folder.
        stages: Sides of its images in pixels, smallest first.
        stage_names: Names of the stages in the paper.
        noise_dims: Length of each noise that `draw` takes, in the order in which they are drawn.
        words: Most words of a caption that it reads; None where it does not read words.
    """

    @property
    def name(self) -> str: ...
    @property
    def ablation(self) -> Ablation: ...
    @property
    def method(self) -> str: ...
    @property
    def settings(self) -> Mapping[str, Any]: ...
    @property
    def dataset(self) -> Mapping[str, object]: ...
    @property
    def differences(self) -> Sequence[Mapping[str, object]]: ...
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
        """Return warnings for a user: unknown words or characters, captions that are cut.

        Raises:
            DataError: Nothing of a caption is known.
            UsageError: The model reads no captions.
        """

    def draw(self, captions: Sequence[str], noises: Mapping[str, Tensor]) -> Drawing:
        """Draw images of B captions. No image depends on the others.

        Args:
            captions: B captions.
            noises: (B, dim) standard normal for each of `noise_dims`, on any device.
        """


NAMED = 3  # differences from the paper that a name spells out


@dataclass(frozen=True, kw_only=True)
class Provenance(ABC):
    """Origin of a loaded model: the ablation that it is, what it was trained on and how.

    Attributes:
        settings: Content of config.yaml.
        hash: sha256 of the weights file.
        folder: Model folder.
    """

    settings: Mapping[str, Any]
    hash: str
    folder: Path

    @property
    @abstractmethod
    def ablation(self) -> Ablation:
        """Settings of its paper's ablations in which it differs from the paper's own model; empty for that."""

    @property
    @abstractmethod
    def paper_name(self) -> str:
        """Name of `ablation` in the paper's tables."""

    @property
    def method(self) -> str:
        """Name for tables: `paper_name`, other differences from the paper's recipe, and whether it is untrained."""
        other = [
            f"{each['key']}={each['here']}" for each in self.differences if each["key"] not in self.ablation
        ]
        more = [f"{len(other) - NAMED} more"] if len(other) > NAMED else []
        changed = f" [{', '.join([*other[:NAMED], *more])}]" if other else ""
        untrained = ", untrained" if self.settings.get("step") == 0 else ""
        return f"{self.paper_name}{changed}{untrained}"

    @property
    def dataset(self) -> Mapping[str, object]:
        """Dataset it was trained on: `name`, `release`, `split_rule`, `crop_rule`, `image_size`."""
        fields: Mapping[str, object] = self.settings["dataset"]
        return fields

    @property
    def differences(self) -> Sequence[Mapping[str, object]]:
        """Settings in which its recipe differs from its paper's, as `{key, paper, here}`."""
        fields: Sequence[Mapping[str, object]] = self.settings["differences"]
        return fields

    @property
    def paper_recipe(self) -> str | None:
        """Recipe with the paper's values for the dataset; None where the paper has none."""
        name: str | None = self.settings["paper_recipe"]
        return name


def check_provenance(settings: Mapping[str, Any]) -> None:
    """Look up the fields that `Provenance` reads, for use within `reading_settings`.

    Raises:
        KeyError: One is missing.
        TypeError: One is of another type.
    """
    settings["dataset"]["name"]
    settings["paper_recipe"]
    for entry in settings["differences"]:
        entry["key"], entry["paper"], entry["here"]


def freeze(device: str | torch.device, *networks: nn.Module) -> None:
    """Move networks to a device, in eval mode and without gradients."""
    for network in networks:
        network.to(device).eval().requires_grad_(False)


def device_of(network: nn.Module) -> torch.device:
    """Return the device of a network."""
    return next(network.parameters()).device
