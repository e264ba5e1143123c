"""The model folder of FF-GAN: the generator with the text encoder it was trained with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from gancli.data.text import Vocabulary, crop_tokens, pad_tokens, tokenize
from gancli.encoders.damsm import Damsm, TextEncoder
from gancli.encoders.sentence import check_words
from gancli.inference.loaded import NOISE, Ablation, Drawing, Provenance, check_provenance, device_of, freeze
from gancli.losses.matching import padding_mask
from gancli.models.ffgan import Generator
from gancli.run_paths import weights_folder_of
from gancli.weights_folder import load_part, read_folder, reading_settings, write_folder

KIND = "ffgan"


@dataclass(frozen=True)
class LoadedFFGAN(Provenance):
    """FF-GAN as a `LoadedModel`.

    Attributes:
        generator: Generator with averaged weights.
        text_encoder: Text encoder it was trained with.
        vocabulary: Words of the text encoder.
        words: Most words of a caption that it was trained with.
        settings: Content of config.yaml.
        hash: sha256 of the weights file.
        folder: Model folder.
    """

    generator: Generator
    text_encoder: TextEncoder
    vocabulary: Vocabulary
    words: int
    settings: Mapping[str, Any]
    hash: str
    folder: Path
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

    def check(self, captions: Sequence[str]) -> list[str]:
        return check_words(captions, self.vocabulary, self.words, self.folder)

    def tokens(self, caption: str) -> list[str]:
        """Return the words of a caption that the model reads and attends to, in order."""
        return [self.vocabulary.words[number] for number in self._encode(caption)]

    @torch.no_grad()
    def draw(self, captions: Sequence[str], noises: Mapping[str, Tensor]) -> Drawing:
        device = device_of(self.generator)
        # Padded to one length whatever the batch: the same sums in the same order
        tokens, lengths = pad_tokens([self._encode(caption) for caption in captions], self.words)
        lengths_tensor = torch.from_numpy(lengths).to(device)
        words, sentence = self.text_encoder(torch.from_numpy(tokens).to(device), lengths_tensor)
        mask = padding_mask(lengths_tensor, self.words)
        noise = (noises[name].to(device) for name in self.noise_dims)
        output = self.generator(sentence, words, mask, *noise)
        return Drawing(output.images, output.attention)

    def _encode(self, caption: str) -> NDArray[np.int32]:
        return crop_tokens(self.vocabulary.encode(tokenize(caption)), self.words, None)


def save_ffgan(folder: Path, generator: nn.Module, encoder: Damsm, settings: Mapping[str, Any]) -> None:
    """Write a model folder of FF-GAN.

    Args:
        folder: Folder to write; made if need be.
        generator: Generator with the weights to publish.
        encoder: Encoder it was trained with; its text half goes into the folder.
        settings: Content of config.yaml: `generator` (its arguments), `words`, and where the weights come from. `kind`
            and `text` (arguments of the text encoder) are added here.
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
    return LoadedFFGAN(generator, text_encoder, vocabulary, words, settings, digest, folder)
