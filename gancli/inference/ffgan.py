"""The model folder of FF-GAN: the generator with the text encoder it was trained with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from gancli.data.text import Vocabulary
from gancli.encoders.damsm import Damsm, TextEncoder
from gancli.inference.loaded import NOISE, Ablation, Drawing, check_provenance, device_of, freeze
from gancli.inference.word_reader import WordReader
from gancli.models.ffgan import Generator
from gancli.run_paths import weights_folder_of
from gancli.weights_folder import load_part, read_folder, reading_settings, write_folder

KIND = "ffgan"


@dataclass(frozen=True)
class LoadedFFGAN(WordReader):
    """FF-GAN as a `LoadedModel`.

    Attributes:
        generator: Generator with averaged weights.
    """

    generator: Generator
    name: str = KIND

    @property
    def ablation(self) -> Ablation:
        generator = self.settings["generator"]
        return {f"model.{part}": False for part in ("ff_block", "gsr") if not generator[part]}

    @property
    def paper_name(self) -> str:
        """FF-GAN, or the name of its ablation (Fig. 7)."""
        without = self.ablation
        if not without:
            return "FF-GAN"
        parts = {"model.gsr": "GSR", "model.ff_block": "FF-Block"}
        return "+".join(["baseline", *(name for key, name in parts.items() if key not in without)])

    @property
    def stages(self) -> tuple[int, ...]:
        return self.generator.stages

    @property
    def stage_names(self) -> tuple[str, ...]:
        return tuple(f"stage {number}" for number in range(len(self.stages)))

    @property
    def noise_dims(self) -> Mapping[str, int]:
        return {NOISE: self.generator.noise_dim, "condition_noise": self.generator.condition_dim}

    @torch.no_grad()
    def draw(self, captions: Sequence[str], noises: Mapping[str, Tensor]) -> Drawing:
        device = device_of(self.generator)
        words, sentence, mask = self.read(captions, device)
        noise = (noises[name].to(device) for name in self.noise_dims)
        output = self.generator(sentence, words, mask, *noise)
        return Drawing(output.images, output.attention)


def save_ffgan(folder: Path, generator: nn.Module, encoder: Damsm, settings: Mapping[str, object]) -> None:
    """Write a model folder of FF-GAN.

    Args:
        folder: Folder to write.
        generator: Generator with the weights to publish.
        encoder: Encoder it was trained with; its text half goes into the folder.
        settings: Content of config.yaml without `kind` and `text`: `generator` (its arguments), `words`, and the origin
            of the weights.
    """
    parts = {"generator": generator, "text_encoder": encoder.text}
    content = {"kind": KIND, **settings, "encoder_hash": encoder.hash, "text": dict(encoder.settings["text"])}
    write_folder(folder, parts, encoder.vocabulary, content)


def load_ffgan(folder: str | Path, device: str | torch.device = "cpu") -> LoadedFFGAN:
    """Load a model folder of FF-GAN, or a run's.

    Raises:
        DataError: The folder is incomplete, broken or holds something else.
    """
    folder = weights_folder_of(folder, (KIND,))
    settings, tensors, digest = read_folder(folder, KIND)
    vocabulary = Vocabulary.load(folder / "vocabulary.json")
    with reading_settings(folder):
        generator = Generator(**settings["generator"])
        text_encoder = TextEncoder(len(vocabulary), **settings["text"])
        words = int(settings["words"])
        check_provenance(settings)
    load_part(generator, tensors, "generator.", folder)
    load_part(text_encoder, tensors, "text_encoder.", folder)
    freeze(device, generator, text_encoder)
    return LoadedFFGAN(
        generator,
        text_encoder=text_encoder,
        vocabulary=vocabulary,
        words=words,
        settings=settings,
        hash=digest,
        folder=folder,
    )
