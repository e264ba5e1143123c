"""The model folder of Fusion-S2iGan and DF-GAN: the generator with the encoder of its condition."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from gancli.data.audio import MelSettings
from gancli.data.shards import Split
from gancli.encoders.sentence import SentenceEncoder, restore_from_settings, text_settings
from gancli.encoders.speech import Speech, SpeechEncoder, refuse_other_features
from gancli.errors import UsageError
from gancli.inference.loaded import NOISE, Ablation, Drawing, Provenance, check_provenance, device_of, freeze
from gancli.models.fusion_s2igan import Generator
from gancli.run_paths import weights_folder_of
from gancli.weights_folder import load_part, read_folder, reading_settings, write_folder

KIND = "fusion-s2igan"
DFGAN: Ablation = {"condition": "sentence", "model.block": "dfgan"}
_PAPER = {"block": "vsfm", "attention": "pam", "fusion": "wfm", "modules": 2}  # its own model


@dataclass(frozen=True)
class LoadedFusionS2iGan(Provenance):
    """Fusion-S2iGan, or DF-GAN, as a `LoadedModel`.

    Attributes:
        generator: Generator, with averaged weights where the run averaged them.
        encoder: Sentence encoder it was trained with; None for a model of speech.
        speech: Speech encoder it was trained with; None for a model of sentences.
        mel: Settings of the speech encoder's features; None for a model of sentences.
    """

    generator: Generator
    encoder: SentenceEncoder | None
    speech: SpeechEncoder | None
    mel: MelSettings | None
    name: str = KIND

    @property
    def ablation(self) -> Ablation:
        arguments = self.settings["generator"]
        condition: Ablation = {} if self.encoder is None else {"condition": "sentence"}
        if condition and arguments["block"] == "dfgan":
            return DFGAN
        # Another block has neither the attention nor the fusion of the paper's
        parts = tuple(_PAPER) if arguments["block"] == _PAPER["block"] else ("block", "modules")
        found = {f"model.{part}": arguments[part] for part in parts if arguments[part] != _PAPER[part]}
        return {**found, **condition}

    @property
    def paper_name(self) -> str:
        """DF-GAN, or Fusion-S2iGan with its differences from the paper's model."""
        found = self.ablation
        if found == DFGAN:
            return "DF-GAN"
        parts = [
            "text" if key == "condition" else f"{key.removeprefix('model.')} {value}"
            for key, value in found.items()
        ]
        return ", ".join(["Fusion-S2iGan", *parts])

    @property
    def stages(self) -> tuple[int, ...]:
        return (self.generator.size,)

    @property
    def stage_names(self) -> tuple[str, ...]:
        return ("image",)

    @property
    def noise_dims(self) -> Mapping[str, int]:
        return {NOISE: self.generator.noise_dim}

    @property
    def words(self) -> int | None:
        return None if self.encoder is None else self.encoder.arguments.get("words")

    def check(self, captions: Sequence[str]) -> list[str]:
        return self._reader().check(captions)

    def encode(self, captions: Sequence[str]) -> Tensor:
        """Encode captions as sentence vectors (B, E) on the model's device.

        Raises:
            UsageError: The model hears captions, it reads none.
        """
        return self._reader().encode(captions)

    def check_speech(self, split: Split) -> None:
        """Refuse a split that the model cannot hear.

        Raises:
            DataError: The split has no speech, or its features have other settings than the encoder was trained with.
            UsageError: The model reads captions, it hears none.
        """
        if self.mel is None:
            raise UsageError(f"{self.folder}: cannot hear: it was trained on written captions")
        refuse_other_features(self.mel, split, self.folder)

    def draw(self, captions: Sequence[str], noises: Mapping[str, Tensor]) -> Drawing:
        return self.draw_sentences(self.encode(captions), noises)

    @torch.no_grad()
    def draw_sentences(self, sentences: Tensor, noises: Mapping[str, Tensor]) -> Drawing:
        """Draw images of speech or sentence vectors (B, E) on any device, with noises as `draw` takes them."""
        device = device_of(self.generator)
        return Drawing((self.generator(noises[NOISE].to(device), sentences.to(device)),))

    def _reader(self) -> SentenceEncoder:
        if self.encoder is None:
            raise UsageError(
                f"{self.folder}: cannot read sentences: it was trained on spoken captions",
                'Say --speak "a small red bird", --wav FILE, or --data DIR with a dataset of speech.',
            )
        return self.encoder


def save_fusion_s2igan(
    folder: Path, generator: nn.Module, encoder: SentenceEncoder | Speech, settings: Mapping[str, object]
) -> None:
    """Write a model folder of Fusion-S2iGan.

    Args:
        folder: Folder to write.
        generator: Generator with the weights to publish.
        encoder: Encoder it was trained with; it goes into the folder, without the image half of a speech encoder.
        settings: Content of config.yaml: `generator` (its arguments) and where the weights come from. `kind`,
            `condition`, `encoder_hash` and `speech` or `text` are added here.
    """
    head: dict[str, Any] = {"kind": KIND}
    if isinstance(encoder, Speech):
        head["condition"] = "speech"
        tail = {"speech": dict(encoder.settings["speech"]), "mel": encoder.mel.model_dump(mode="json")}
        networks, vocabulary = {"generator": generator, "speech": encoder.network}, None
    else:
        head["condition"] = "sentence"
        tail = {"text": text_settings(encoder)}
        networks, vocabulary = {"generator": generator, "text_encoder": encoder.network}, encoder.vocabulary
    write_folder(folder, networks, vocabulary, {**head, **settings, "encoder_hash": encoder.hash, **tail})


def load_fusion_s2igan(folder: str | Path, device: str | torch.device = "cpu") -> LoadedFusionS2iGan:
    """Load a model folder of Fusion-S2iGan or DF-GAN, or a run's.

    Raises:
        DataError: The folder is incomplete, broken or holds something else.
    """
    folder = weights_folder_of(folder, (KIND,))
    settings, tensors, digest = read_folder(folder, KIND)
    encoder: SentenceEncoder | None = None
    speech: SpeechEncoder | None = None
    mel: MelSettings | None = None
    with reading_settings(folder):
        check_provenance(settings)
        generator = Generator(**settings["generator"])
        if settings["condition"] == "speech":
            speech = SpeechEncoder(**settings["speech"])
            mel = MelSettings(**settings["mel"])
        else:
            encoder = restore_from_settings(settings, tensors, folder, device)
    load_part(generator, tensors, "generator.", folder)
    freeze(device, generator)
    if speech is not None:
        load_part(speech, tensors, "speech.", folder)
        freeze(device, speech)
    return LoadedFusionS2iGan(generator, encoder, speech, mel, settings=settings, hash=digest, folder=folder)
