"""The model folder: a generator with the text encoder and the vocabulary it cannot work without."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from gancli.data.text import Vocabulary
from gancli.encoders.damsm import TextEncoder
from gancli.folders import load_part, read_folder, reading_settings, write_folder
from gancli.models.ffgan import Generator


@dataclass(frozen=True)
class LoadedModel:
    """A model ready to sample: networks in eval mode, frozen.

    Attributes:
        name: The paper's model ("ffgan").
        generator: EMA weights.
        text_encoder: The one it was trained with.
        vocabulary: Its words.
        words: Longest caption it was trained with.
        settings: config.yaml.
        hash: sha256 of the weights file.
        folder: Where it lies.
    """

    name: str
    generator: Generator
    text_encoder: TextEncoder
    vocabulary: Vocabulary
    words: int
    settings: Mapping[str, Any]
    hash: str
    folder: Path

    @property
    def stages(self) -> tuple[int, ...]:
        """Sides of the pictures it makes, smallest first."""
        return self.generator.stages


def save_model(
    folder: Path,
    generator: nn.Module,
    text_encoder: nn.Module,
    vocabulary: Vocabulary,
    settings: Mapping[str, Any],
) -> None:
    """Writes a model folder.

    Args:
        folder: Made if need be.
        generator: With the weights to publish (EMA).
        text_encoder: The one it was trained with.
        vocabulary: The text encoder's.
        settings: config.yaml: `kind`, `generator` and `text` (arguments of both networks), `words`, and where the
            weights come from.
    """
    write_folder(folder, {"generator": generator, "text_encoder": text_encoder}, vocabulary, settings)


def load_model(folder: Path, device: str | torch.device = "cpu") -> LoadedModel:
    """Reads a model folder, or the `model/` of a run folder.

    Raises:
        DataError: The folder is incomplete, broken or of another kind.
    """
    folder = Path(folder)
    if not (folder / "config.yaml").is_file() and (folder / "model" / "config.yaml").is_file():
        folder = folder / "model"
    settings, tensors, digest = read_folder(folder, "ffgan")
    vocabulary = Vocabulary.load(folder / "vocabulary.json")
    with reading_settings(folder):
        generator = Generator(**settings["generator"])
        text_encoder = TextEncoder(len(vocabulary), **settings["text"])
        words = int(settings["words"])
    load_part(generator, tensors, "generator.", folder)
    load_part(text_encoder, tensors, "text_encoder.", folder)
    for network in (generator, text_encoder):
        network.to(device).eval().requires_grad_(False)
    return LoadedModel(settings["kind"], generator, text_encoder, vocabulary, words, settings, digest, folder)
