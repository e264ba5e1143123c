"""The model folder of an inpainting model: the generator of CSF-GAN with the text encoder it was trained with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gancli.data.hole_settings import HoleSettings
from gancli.data.text import Vocabulary, crop_tokens, pad_tokens, tokenize
from gancli.encoders.backbones import fold_batch_norms
from gancli.encoders.damsm import TextEncoder
from gancli.encoders.sentence import check_words
from gancli.errors import DataError
from gancli.inference.loaded import NOISE, told_apart
from gancli.losses.matching import padding_mask
from gancli.models.csfgan import Generator, box_of_all, hole_boxes
from gancli.registry import FILLING
from gancli.run_paths import weights_folder_of
from gancli.weights_folder import load_part, read_folder, read_settings, reading_settings

PAPER_EDGE = 0.5  # lambda_edge


@dataclass(frozen=True)
class Filling:
    """A batch of filled images.

    Attributes:
        composite: (B, 3, S, S) in [-1, 1], painted in the hole only.
        attention: (B, L, H, W) per layer that attends to words, outermost first; each place's weights sum to 1 over
            the words. Empty where a model does not attend to words.
    """

    composite: Tensor
    attention: tuple[Tensor, ...]


@dataclass(frozen=True)
class Inpainter:
    """CSF-GAN ready to fill holes: its networks are put into eval mode and frozen, its batch norms are folded.

    Attributes:
        generator: EMA weights where the run averaged them.
        text_encoder: The one it was trained with.
        vocabulary: Its words.
        words: Longest caption it was trained with; of longer ones the first words are read.
        holes: Holes that it was trained to fill.
        settings: config.yaml.
        hash: sha256 of the weights file.
        folder: Where it lies.
    """

    generator: Generator
    text_encoder: TextEncoder
    vocabulary: Vocabulary
    words: int
    holes: HoleSettings
    settings: Mapping[str, Any]
    hash: str
    folder: Path
    name: str = "csfgan"

    def __post_init__(self) -> None:
        for network in (self.generator, self.text_encoder):
            network.eval().requires_grad_(False)
        fold_batch_norms(self.generator)
        self.generator.to(memory_format=torch.channels_last)  # about three quarters of the time on a CPU

    @property
    def method(self) -> str:
        """CSF-GAN, or its ablation as the paper's Tables 3 and 4 have it."""
        fusion, local = str(self.settings["generator"]["fusion"]), bool(self.settings["word_discriminator"])
        names = {
            ("both", True): "CSF-GAN",
            ("both", False): "baseline+SFM",
            ("none", True): "baseline+WLD",
            ("none", False): "baseline",
        }
        name = names.get((fusion, local), f"CSF-GAN, {fusion} fusion" + ("" if local else ", no WLD"))
        edge = float(self.settings["edge_weight"])
        if edge != PAPER_EDGE:
            name += f", lambda_edge {edge:g}"
        return told_apart(name, self.settings)

    @property
    def size(self) -> int:
        """Side in pixels of the images that it fills."""
        return self.generator.size

    @property
    def noise_dims(self) -> Mapping[str, int]:
        """Length of each noise that `fill` takes, in the order in which they are drawn."""
        return {NOISE: self.generator.noise_dim, "condition_noise": self.generator.condition_dim}

    def check(self, captions: Sequence[str]) -> list[str]:
        """What to warn a user of: unknown words, captions that are cut.

        Raises:
            DataError: No word of a caption is known.
        """
        return check_words(captions, self.vocabulary, self.words, self.folder)

    def tokens(self, caption: str) -> list[str]:
        """The words of a caption that the model reads, in order: those its attention is over."""
        numbers = crop_tokens(self.vocabulary.encode(tokenize(caption)), self.words, None)
        return [self.vocabulary.words[number] for number in numbers]

    @torch.no_grad()
    def fill(
        self, images: Tensor, holes: Tensor, captions: Sequence[str], noises: Mapping[str, Tensor]
    ) -> Filling:
        """Fills the holes of B images; none depends on the others.

        Args:
            images: (B, 3, S, S) in [-1, 1], on any device; what is in the hole does not matter.
            holes: (B, 1, S, S), 1 in the hole and 0 elsewhere.
            captions: B of them.
            noises: (B, dim) standard normal for each of `noise_dims`.
        """
        device = self.generator.last.weight.device
        numbers = [crop_tokens(self.vocabulary.encode(tokenize(text)), self.words, None) for text in captions]
        # Padded to one length whatever the batch: the same sums in the same order
        tokens, lengths = pad_tokens(numbers, self.words)
        lengths_tensor = torch.from_numpy(lengths).to(device)
        words, sentence = self.text_encoder(torch.from_numpy(tokens).to(device), lengths_tensor)
        output = self.generator(
            images.to(device, memory_format=torch.channels_last),
            holes.to(device),
            sentence,
            words,
            padding_mask(lengths_tensor, self.words),
            *(noises[name].to(device) for name in self.noise_dims),
            window=box_of_all(hole_boxes(holes), self.size),
        )
        return Filling(output.composite, output.attention)


def load_inpainter(folder: str | Path, device: str | torch.device = "cpu") -> Inpainter:
    """Reads the model folder of an inpainting model, or the `model/` of its run folder.

    Raises:
        DataError: The folder is incomplete, broken or holds another kind of model.
    """
    folder = weights_folder_of(folder, FILLING)
    kind = read_settings(folder)["kind"]
    if kind != "csfgan":
        raise DataError(
            f"{folder}: is a folder of kind {kind!r}, which fills no holes",
            "Name a run folder of gancli train csfgan, or the model/ in it; gancli sample draws whole images.",
        )
    settings, tensors, digest = read_folder(folder, "csfgan")
    vocabulary = Vocabulary.load(folder / "vocabulary.json")
    with reading_settings(folder):
        generator = Generator(**settings["generator"])
        text_encoder = TextEncoder(len(vocabulary), **settings["text"])
        words = int(settings["words"])
        holes = HoleSettings.from_dict(settings["holes"])
        for name in ("word_discriminator", "edge_weight"):  # which `method` asks for
            settings[name]
    load_part(generator, tensors, "generator.", folder)
    load_part(text_encoder, tensors, "text_encoder.", folder)
    return Inpainter(
        generator.to(device), text_encoder.to(device), vocabulary, words, holes, settings, digest, folder
    )
