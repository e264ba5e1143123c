"""The model folder of an inpainting model: the generator of CSF-GAN with the text encoder it was trained with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from gancli.data.hole_settings import HoleSettings
from gancli.data.loader import Window
from gancli.data.text import Vocabulary
from gancli.encoders.backbones import fold_batch_norms
from gancli.encoders.damsm import Damsm, TextEncoder
from gancli.errors import DataError
from gancli.inference.loaded import NOISE, Ablation, check_provenance
from gancli.inference.word_reader import WordReader
from gancli.models.csfgan import Generator, box_of_all, hole_boxes
from gancli.registry import FILLING
from gancli.run_paths import weights_folder_of
from gancli.weights_folder import load_part, read_folder, read_settings, reading_settings, write_folder

KIND = "csfgan"
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
class Inpainter(WordReader):
    """CSF-GAN ready to fill holes: its networks are put into eval mode and frozen, its batch norms are folded.

    Attributes:
        generator: Generator, with averaged weights where the run averaged them.
        holes: Holes that it was trained to fill.
        window: Part of the stored images that it was trained on: "center", a part, or "whole".
    """

    generator: Generator
    holes: HoleSettings
    window: Window
    name: str = KIND

    def __post_init__(self) -> None:
        for network in (self.generator, self.text_encoder):
            network.eval().requires_grad_(False)
        fold_batch_norms(self.generator)
        self.generator.to(memory_format=torch.channels_last)  # about three quarters of the time on a CPU

    @property
    def ablation(self) -> Ablation:
        found: Ablation = {}
        if self.settings["generator"]["fusion"] != "both":
            found["model.fusion"] = self.settings["generator"]["fusion"]
        if not self.settings["word_discriminator"]:
            found["model.word_discriminator"] = False
        if float(self.settings["edge"]) != PAPER_EDGE:
            found["loss.edge"] = float(self.settings["edge"])
        return found

    @property
    def paper_name(self) -> str:
        """CSF-GAN, or its ablation as in the paper's Tables 3 and 4."""
        found = self.ablation
        fusion, local = str(found.get("model.fusion", "both")), "model.word_discriminator" not in found
        names = {
            ("both", True): "CSF-GAN",
            ("both", False): "baseline+SFM",
            ("none", True): "baseline+WLD",
            ("none", False): "baseline",
        }
        name = names.get((fusion, local), f"CSF-GAN, {fusion} fusion" + ("" if local else ", no WLD"))
        return f"{name}, lambda_edge {found['loss.edge']:g}" if "loss.edge" in found else name

    @property
    def size(self) -> int:
        """Side of the images that it fills, in pixels."""
        return self.generator.size

    @property
    def noise_dims(self) -> Mapping[str, int]:
        """Lengths of the noises that `fill` takes, in the order in which they are drawn."""
        return {NOISE: self.generator.noise_dim, "condition_noise": self.generator.condition_dim}

    @torch.no_grad()
    def fill(
        self, images: Tensor, holes: Tensor, captions: Sequence[str], noises: Mapping[str, Tensor]
    ) -> Filling:
        """Fill the holes of B images. None depends on the others.

        Args:
            images: (B, 3, S, S) in [-1, 1], on any device; pixels in the hole do not matter.
            holes: (B, 1, S, S), 1 in the hole and 0 elsewhere.
            captions: B captions.
            noises: (B, dim) standard normal for each of `noise_dims`.
        """
        device = self.generator.last.weight.device
        words, sentence, mask = self.read(captions, device)
        output = self.generator(
            images.to(device, memory_format=torch.channels_last),
            holes.to(device),
            sentence,
            words,
            mask,
            *(noises[name].to(device) for name in self.noise_dims),
            window=box_of_all(hole_boxes(holes), self.size),
        )
        return Filling(output.composite, output.attention)


def save_csfgan(folder: Path, generator: nn.Module, encoder: Damsm, settings: Mapping[str, object]) -> None:
    """Write a model folder of CSF-GAN.

    Args:
        folder: Folder to write.
        generator: Generator with the weights to publish.
        encoder: Encoder it was trained with; its text half goes into the folder.
        settings: Content of config.yaml: `generator` (its arguments), `words`, `holes`, `window`,
            `word_discriminator`, `edge`, and where the weights come from. `kind` and `text` (arguments of the text
            encoder) are added here.
    """
    parts = {"generator": generator, "text_encoder": encoder.text}
    content = {"kind": KIND, **settings, "encoder_hash": encoder.hash, "text": dict(encoder.settings["text"])}
    write_folder(folder, parts, encoder.vocabulary, content)


def load_inpainter(folder: str | Path, device: str | torch.device = "cpu") -> Inpainter:
    """Load a model that fills holes.

    Args:
        folder: Model folder, run, checkpoint, or `latest`.
        device: Device of the networks.

    Raises:
        DataError: The folder is incomplete, broken or holds another kind of model.
    """
    folder = weights_folder_of(folder, FILLING)
    kind = read_settings(folder)["kind"]
    if kind != KIND:
        raise DataError(
            f"{folder}: is a folder of kind {kind!r}, which fills no holes",
            "Name a run folder of gancli train csfgan, or the model/ in it; gancli sample draws whole images.",
        )
    settings, tensors, digest = read_folder(folder, KIND)
    vocabulary = Vocabulary.load(folder / "vocabulary.json")
    with reading_settings(folder):
        generator = Generator(**settings["generator"])
        text_encoder = TextEncoder(len(vocabulary), **settings["text"])
        words = int(settings["words"])
        holes = HoleSettings.from_dict(settings["holes"])
        window = settings["window"]
        check_provenance(settings)
        for name in ("word_discriminator", "edge"):  # which `ablation` asks for
            settings[name]
    load_part(generator, tensors, "generator.", folder)
    load_part(text_encoder, tensors, "text_encoder.", folder)
    return Inpainter(
        generator.to(device),
        holes,
        window,
        text_encoder=text_encoder.to(device),
        vocabulary=vocabulary,
        words=words,
        settings=settings,
        hash=digest,
        folder=folder,
    )
