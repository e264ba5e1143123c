"""The model folder: generators with the encoder of their condition, without which they cannot work.

Each model is loaded as a class of its own with one interface, `LoadedModel`, so that sampling knows none of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from gancli.data.audio import MelSettings
from gancli.data.shards import Split
from gancli.data.text import Vocabulary, crop_tokens, pad_tokens, tokenize
from gancli.encoders.damsm import TextEncoder
from gancli.encoders.embeddings import CaptionEmbeddings
from gancli.encoders.sentence import SentenceEncoder, check_words, restore_sentence_encoder
from gancli.encoders.speech import Speech, SpeechEncoder, refuse_other_features
from gancli.errors import DataError, UsageError
from gancli.inference.attr2image import load_attr2image
from gancli.inference.loaded import NOISE, Drawing, LoadedModel, freeze, told_apart
from gancli.losses.matching import padding_mask
from gancli.models.ffgan import Generator
from gancli.models.fusion_s2igan import Generator as FusionS2iGanGenerator
from gancli.models.stackgan import StageOneGenerator, StageTwoGenerator
from gancli.registry import DRAWING
from gancli.run_paths import weights_folder_of
from gancli.weights_folder import (
    load_part,
    read_folder,
    read_settings,
    reading_settings,
    write_folder,
)

PRECOMPUTED = "precomputed"  # text.kind of a model whose sentence vectors were brought in from a file


# --- FF-GAN ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class LoadedFFGAN:
    """FF-GAN as a `LoadedModel`.

    Attributes:
        generator: EMA weights.
        text_encoder: The one it was trained with.
        vocabulary: Its words.
        words: Longest caption it was trained with.
        settings: config.yaml.
        hash: sha256 of the weights file.
        folder: Where it lies.
    """

    generator: Generator
    text_encoder: TextEncoder
    vocabulary: Vocabulary
    words: int
    settings: Mapping[str, Any]
    hash: str
    folder: Path
    name: str = "ffgan"

    @property
    def method(self) -> str:
        """FF-GAN, or its ablation (FF-GAN Fig. 7)."""
        generator = self.settings["generator"]
        names = {
            (True, True): "FF-GAN",
            (True, False): "baseline+FF-Block",
            (False, True): "baseline+GSR",
            (False, False): "baseline",
        }
        name = names[bool(generator.get("ff_block", True)), bool(generator.get("gsr", True))]
        return told_apart(name, self.settings)

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
        """The words of a caption that the model reads, in order: those its attention is over."""
        return [self.vocabulary.words[number] for number in self._encode(caption)]

    @torch.no_grad()
    def draw(self, captions: Sequence[str], noises: Mapping[str, Tensor]) -> Drawing:
        device = _device(self.generator)
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


def save_model(
    folder: Path,
    generator: nn.Module,
    text_encoder: nn.Module,
    vocabulary: Vocabulary,
    settings: Mapping[str, Any],
) -> None:
    """Writes a model folder of FF-GAN.

    Args:
        folder: Made if need be.
        generator: With the weights to publish (EMA).
        text_encoder: The one it was trained with.
        vocabulary: The text encoder's.
        settings: config.yaml: `kind`, `generator` and `text` (arguments of both networks), `words`, and where the
            weights come from.
    """
    write_folder(folder, {"generator": generator, "text_encoder": text_encoder}, vocabulary, settings)


def _load_ffgan(folder: Path, device: str | torch.device) -> LoadedFFGAN:
    settings, tensors, digest = read_folder(folder, "ffgan")
    vocabulary = Vocabulary.load(folder / "vocabulary.json")
    with reading_settings(folder):
        generator = Generator(**settings["generator"])
        text_encoder = TextEncoder(len(vocabulary), **settings["text"])
        words = int(settings["words"])
    load_part(generator, tensors, "generator.", folder)
    load_part(text_encoder, tensors, "text_encoder.", folder)
    freeze(device, generator, text_encoder)
    return LoadedFFGAN(generator, text_encoder, vocabulary, words, settings, digest, folder)


# --- StackGAN -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class LoadedStackGAN:
    """StackGAN as a `LoadedModel`: Stage I alone, or both stages.

    Attributes:
        stage1: EMA weights.
        stage2: EMA weights; None for a model of Stage I.
        encoder: The sentence encoder it was trained with; None where its vectors were brought in from a file, so that
            only `draw_sentences` can draw.
        settings: config.yaml.
        hash: sha256 of the weights file.
        folder: Where it lies.
    """

    stage1: StageOneGenerator
    stage2: StageTwoGenerator | None
    encoder: SentenceEncoder | None
    settings: Mapping[str, Any]
    hash: str
    folder: Path
    name: str = "stackgan"

    @property
    def method(self) -> str:
        return told_apart("StackGAN Stage-I" if self.stage2 is None else "StackGAN", self.settings)

    @property
    def stages(self) -> tuple[int, ...]:
        return (self.stage1.size,) if self.stage2 is None else (self.stage1.size, self.stage2.size)

    @property
    def stage_names(self) -> tuple[str, ...]:
        return ("Stage-I", "Stage-II")[: len(self.stages)]

    @property
    def noise_dims(self) -> Mapping[str, int]:
        """Stage I's come first: with the same seed both models of a run draw on the same Stage-I image."""
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
        """Captions to sentence vectors (B, E) on the model's device.

        Raises:
            UsageError: The model has no text encoder.
        """
        return self._reader().encode(captions)

    def draw(self, captions: Sequence[str], noises: Mapping[str, Tensor]) -> Drawing:
        return self.draw_sentences(self.encode(captions), noises)

    @torch.no_grad()
    def draw_sentences(self, sentences: Tensor, noises: Mapping[str, Tensor]) -> Drawing:
        """Images of sentence vectors (B, E) on any device, with noises as `draw` takes them."""
        device = _device(self.stage1)
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
    settings: Mapping[str, Any],
) -> None:
    """Writes a model folder of StackGAN.

    Args:
        folder: Made if need be.
        stage1: With the weights to publish (EMA).
        stage2: The same; None while only Stage I is trained.
        encoder: What it was trained with; goes into the folder unless it is vectors from a file.
        settings: config.yaml: `stage1` and, with Stage II, `stage2` (arguments of both networks), and where the
            weights come from. `kind`, `stage`, `encoder_hash` and `text` are added here.
    """
    networks = {"stage1": stage1}
    if stage2 is not None:
        networks["stage2"] = stage2
    vocabulary: Vocabulary | None = None
    text: dict[str, Any] = {"kind": PRECOMPUTED, "dim": encoder.dim}
    if not isinstance(encoder, CaptionEmbeddings):
        networks["text_encoder"] = encoder.network
        vocabulary = encoder.vocabulary
        text = _text_settings(encoder)
    head = {"kind": "stackgan", "stage": 1 if stage2 is None else 2}
    content = {**head, **settings, **head, "encoder_hash": encoder.hash, "text": text}
    write_folder(folder, networks, vocabulary, content)


def _load_stackgan(folder: Path, device: str | torch.device) -> LoadedStackGAN:
    settings, tensors, digest = read_folder(folder, "stackgan")
    stage2: StageTwoGenerator | None = None
    encoder: SentenceEncoder | None = None
    with reading_settings(folder):
        stage1 = StageOneGenerator(**settings["stage1"])
        if int(settings["stage"]) == 2:
            stage2 = StageTwoGenerator(**settings["stage2"])
        text = settings["text"]
        text["dim"] = int(text["dim"])
        if text["kind"] != PRECOMPUTED:
            encoder = _restore_encoder(settings, tensors, folder, device)
    load_part(stage1, tensors, "stage1.", folder)
    freeze(device, stage1)
    if stage2 is not None:
        load_part(stage2, tensors, "stage2.", folder)
        freeze(device, stage2)
    return LoadedStackGAN(stage1, stage2, encoder, settings, digest, folder)


# --- Fusion-S2iGan --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class LoadedFusionS2iGan:
    """Fusion-S2iGan, or DF-GAN, as a `LoadedModel`.

    Attributes:
        generator: EMA weights where the run averaged them.
        encoder: The sentence encoder it was trained with; None for a model of speech.
        speech: The speech encoder it was trained with; None for a model of sentences.
        mel: Settings of the features that the speech encoder hears; None for a model of sentences.
        settings: config.yaml.
        hash: sha256 of the weights file.
        folder: Where it lies.
    """

    generator: FusionS2iGanGenerator
    encoder: SentenceEncoder | None
    speech: SpeechEncoder | None
    mel: MelSettings | None
    settings: Mapping[str, Any]
    hash: str
    folder: Path
    name: str = "fusion-s2igan"

    @property
    def method(self) -> str:
        """DF-GAN, which is sentences and its blocks, or Fusion-S2iGan with what differs from the paper's model."""
        arguments = {**_PAPER, **self.settings["generator"]}
        if self.encoder is not None and arguments["block"] == "dfgan":
            return told_apart("DF-GAN", self.settings)
        parts = ("block", "modules") if arguments["block"] != "vsfm" else ("attention", "fusion", "modules")
        differing = [f"{part} {arguments[part]}" for part in parts if arguments[part] != _PAPER[part]]
        if self.encoder is not None:
            differing.append("text")
        return told_apart(", ".join(["Fusion-S2iGan", *differing]), self.settings)

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
        """Captions to sentence vectors (B, E) on the model's device.

        Raises:
            UsageError: The model hears captions, it reads none.
        """
        return self._reader().encode(captions)

    def check_speech(self, split: Split) -> None:
        """Refuses a split that the model cannot hear.

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
        """Images of speech or sentence vectors (B, E) on any device, with noises as `draw` takes them."""
        device = _device(self.generator)
        return Drawing((self.generator(noises[NOISE].to(device), sentences.to(device)),))

    def _reader(self) -> SentenceEncoder:
        if self.encoder is None:
            raise UsageError(
                f"{self.folder}: cannot read sentences: it was trained on spoken captions",
                'Say --speak "a small red bird", --wav FILE, or --data DIR with a dataset of speech.',
            )
        return self.encoder


_PAPER = {"block": "vsfm", "attention": "pam", "fusion": "wfm", "modules": 2}  # its own model


def save_fusion_s2igan(
    folder: Path, generator: nn.Module, encoder: SentenceEncoder | Speech, settings: Mapping[str, Any]
) -> None:
    """Writes a model folder of Fusion-S2iGan.

    Args:
        folder: Made if need be.
        generator: With the weights to publish.
        encoder: What it was trained with; goes into the folder, of a speech encoder only what hears.
        settings: config.yaml: `generator` (its arguments) and where the weights come from. `kind`, `condition`,
            `encoder_hash` and `speech` or `text` are added here.
    """
    head: dict[str, Any] = {"kind": "fusion-s2igan"}
    if isinstance(encoder, Speech):
        head["condition"] = "speech"
        tail = {"speech": dict(encoder.settings["speech"]), "mel": encoder.mel.model_dump(mode="json")}
        networks, vocabulary = {"generator": generator, "speech": encoder.network}, None
    else:
        head["condition"] = "sentence"
        tail = {"text": _text_settings(encoder)}
        networks, vocabulary = {"generator": generator, "text_encoder": encoder.network}, encoder.vocabulary
    write_folder(folder, networks, vocabulary, {**head, **settings, "encoder_hash": encoder.hash, **tail})


def _load_fusion_s2igan(folder: Path, device: str | torch.device) -> LoadedFusionS2iGan:
    settings, tensors, digest = read_folder(folder, "fusion-s2igan")
    encoder: SentenceEncoder | None = None
    speech: SpeechEncoder | None = None
    mel: MelSettings | None = None
    with reading_settings(folder):
        generator = FusionS2iGanGenerator(**settings["generator"])
        if settings["condition"] == "speech":
            speech = SpeechEncoder(**settings["speech"])
            mel = MelSettings(**settings["mel"])
        else:
            encoder = _restore_encoder(settings, tensors, folder, device)
    load_part(generator, tensors, "generator.", folder)
    freeze(device, generator)
    if speech is not None:
        load_part(speech, tensors, "speech.", folder)
        freeze(device, speech)
    return LoadedFusionS2iGan(generator, encoder, speech, mel, settings, digest, folder)


# --- any model ------------------------------------------------------------------------------------------------


def load_model(folder: str | Path, device: str | torch.device = "cpu") -> LoadedModel:
    """Reads a model folder, or the `model/` of a run folder, whichever model it holds.

    Raises:
        DataError: The folder is incomplete, broken or holds no model.
        UsageError: It holds a model that fills holes.
    """
    folder = weights_folder_of(folder, DRAWING)
    kind = read_settings(folder)["kind"]
    if kind == "ffgan":
        return _load_ffgan(folder, device)
    if kind == "stackgan":
        return _load_stackgan(folder, device)
    if kind == "fusion-s2igan":
        return _load_fusion_s2igan(folder, device)
    if kind == "attr2image":
        return load_attr2image(folder, device)
    if kind == "csfgan":
        raise UsageError(
            f"{folder}: fills holes of images and draws none of its own",
            'gancli inpaint MODEL --image photo.jpg --mask hole.png --text "a small red bird"',
        )
    raise DataError(
        f"{folder}: is a folder of kind {kind!r}, which draws no images",
        "Name a run folder of gancli train, or the model/ in it.",
    )


def _text_settings(encoder: SentenceEncoder) -> dict[str, Any]:
    """What config.yaml says of a sentence encoder in the folder."""
    return {"kind": encoder.kind, "dim": encoder.dim, "arguments": dict(encoder.arguments)}


def _restore_encoder(
    settings: Mapping[str, Any], tensors: Mapping[str, Tensor], folder: Path, device: str | torch.device
) -> SentenceEncoder:
    """The sentence encoder in a model folder."""
    text = settings["text"]
    words = Vocabulary.load(folder / "vocabulary.json") if text["kind"] == "damsm" else None
    digest = str(settings["encoder_hash"])
    return restore_sentence_encoder(
        text["kind"], text["arguments"], words, tensors, "text_encoder.", folder, digest, device
    )


def _device(network: nn.Module) -> torch.device:
    return next(network.parameters()).device
