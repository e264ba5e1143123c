"""The model folder of StackGAN: Stage I or both stages, with the sentence encoder they were trained with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from gancli.data.text import Vocabulary
from gancli.encoders.embeddings import CaptionEmbeddings
from gancli.encoders.sentence import SentenceEncoder, restore_from_settings, text_settings
from gancli.errors import UsageError
from gancli.inference.loaded import NOISE, Ablation, Drawing, Provenance, check_provenance, device_of, freeze
from gancli.models.stackgan import StageOneGenerator, StageTwoGenerator
from gancli.run_paths import weights_folder_of
from gancli.weights_folder import load_part, read_folder, reading_settings, write_folder

KIND = "stackgan"
PRECOMPUTED = "precomputed"  # text.kind of a model whose sentence vectors were brought in from a file


@dataclass(frozen=True)
class LoadedStackGAN(Provenance):
    """StackGAN as a `LoadedModel`: Stage I alone, or both stages.

    Attributes:
        stage1: Generator of Stage I.
        stage2: Generator of Stage II; None for a model of Stage I.
        encoder: Sentence encoder it was trained with; None where its vectors were brought in from a file, so that only
            `draw_sentences` can draw.
    """

    stage1: StageOneGenerator
    stage2: StageTwoGenerator | None
    encoder: SentenceEncoder | None
    name: str = KIND

    @property
    def ablation(self) -> Ablation:
        return {"stage": 1} if self.stage2 is None else {}

    @property
    def paper_name(self) -> str:
        return "StackGAN Stage-I" if self.ablation else "StackGAN"

    @property
    def stages(self) -> tuple[int, ...]:
        return (self.stage1.size,) if self.stage2 is None else (self.stage1.size, self.stage2.size)

    @property
    def stage_names(self) -> tuple[str, ...]:
        return ("Stage-I", "Stage-II")[: len(self.stages)]

    @property
    def noise_dims(self) -> Mapping[str, int]:
        """Noises of Stage I come first: with the same seed both models of a run draw on the same Stage-I image."""
        dims = {NOISE: self.stage1.noise_dim, "condition_noise": self.stage1.condition_dim}
        if self.stage2 is not None:
            dims["second_condition_noise"] = self.stage2.condition_dim
        return dims

    @property
    def words(self) -> int | None:
        return None if self.encoder is None else self.encoder.arguments.get("words")

    @property
    def text_dim(self) -> int:
        """E, length of a sentence vector."""
        return int(self.settings["text"]["dim"])

    def check(self, captions: Sequence[str]) -> list[str]:
        return self._reader().check(captions)

    def encode(self, captions: Sequence[str]) -> Tensor:
        """Encode captions as sentence vectors (B, E) on the model's device.

        Raises:
            UsageError: The model has no text encoder.
        """
        return self._reader().encode(captions)

    def draw(self, captions: Sequence[str], noises: Mapping[str, Tensor]) -> Drawing:
        return self.draw_sentences(self.encode(captions), noises)

    @torch.no_grad()
    def draw_sentences(self, sentences: Tensor, noises: Mapping[str, Tensor]) -> Drawing:
        """Draw images of sentence vectors (B, E) on any device, with noises as `draw` takes them."""
        device = device_of(self.stage1)
        sentences = sentences.to(device)
        noise = {name: noises[name].to(device) for name in self.noise_dims}
        small = self.stage1(sentences, noise[NOISE], noise["condition_noise"]).images
        if self.stage2 is None:
            return Drawing((small,))
        return Drawing((small, self.stage2(small, sentences, noise["second_condition_noise"]).images))

    def _reader(self) -> SentenceEncoder:
        if self.encoder is None:
            raise UsageError(
                f"{self.folder}: cannot read sentences: it was trained on vectors brought in from a file "
                f"({self.text_dim} numbers each), and has no text encoder",
                "Say --data DIR --embeddings FILE.npz: captions of a dataset with a vector for each.",
            )
        return self.encoder


def save_stackgan(
    folder: Path,
    stage1: nn.Module,
    stage2: nn.Module | None,
    encoder: SentenceEncoder | CaptionEmbeddings,
    settings: Mapping[str, object],
) -> None:
    """Write a model folder of StackGAN.

    Args:
        folder: Folder to write.
        stage1: Generator of Stage I with the weights to publish.
        stage2: Generator of Stage II; None while only Stage I is trained.
        encoder: Encoder or vectors it was trained with; an encoder goes into the folder.
        settings: Content of config.yaml: `stage1` and, with Stage II, `stage2` (arguments of both networks), and where
            the weights come from. `kind`, `stage`, `encoder_hash` and `text` are added here.
    """
    networks = {"stage1": stage1}
    if stage2 is not None:
        networks["stage2"] = stage2
    vocabulary: Vocabulary | None = None
    text: dict[str, Any] = {"kind": PRECOMPUTED, "dim": encoder.dim}
    if not isinstance(encoder, CaptionEmbeddings):
        networks["text_encoder"] = encoder.network
        vocabulary = encoder.vocabulary
        text = text_settings(encoder)
    head = {"kind": KIND, "stage": 1 if stage2 is None else 2}
    content = {**head, **settings, **head, "encoder_hash": encoder.hash, "text": text}
    write_folder(folder, networks, vocabulary, content)


def load_stackgan(folder: str | Path, device: str | torch.device = "cpu") -> LoadedStackGAN:
    """Load a model folder of StackGAN, or a run's.

    Raises:
        DataError: The folder is incomplete, broken or holds something else.
    """
    folder = weights_folder_of(folder, (KIND,))
    settings, tensors, digest = read_folder(folder, KIND)
    stage2: StageTwoGenerator | None = None
    encoder: SentenceEncoder | None = None
    with reading_settings(folder):
        check_provenance(settings)
        stage1 = StageOneGenerator(**settings["stage1"])
        if int(settings["stage"]) == 2:
            stage2 = StageTwoGenerator(**settings["stage2"])
        text = settings["text"]
        text["dim"] = int(text["dim"])
        if text["kind"] != PRECOMPUTED:
            encoder = restore_from_settings(settings, tensors, folder, device)
    load_part(stage1, tensors, "stage1.", folder)
    freeze(device, stage1)
    if stage2 is not None:
        load_part(stage2, tensors, "stage2.", folder)
        freeze(device, stage2)
    return LoadedStackGAN(stage1, stage2, encoder, settings=settings, hash=digest, folder=folder)
