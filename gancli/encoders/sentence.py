"""Sentence encoders: one interface for the networks that turn a caption into a vector.

StackGAN's condition is a sentence vector, of the character encoder or of the sentence half of a DAMSM.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from gancli.data.text import Vocabulary, crop_tokens, pad_tokens, some_of, tokenize
from gancli.encoders.char_cnn_rnn import CharCnnRnn, CharCnnRnnEncoder, load_char_cnn_rnn
from gancli.encoders.damsm import TextEncoder, load_damsm
from gancli.errors import DataError
from gancli.run_paths import weights_folder_of
from gancli.weights_folder import load_part, read_settings, reading_settings


class SentenceEncoder(Protocol):
    """Trained text encoder, frozen and in eval mode.

    Attributes:
        kind: "char-cnn-rnn" or "damsm".
        network: Text network.
        arguments: Arguments with which `restore_from_settings` builds the network again.
        vocabulary: Vocabulary of an encoder that reads words. None for one that reads characters.
        dim: Length E of a sentence vector.
        hash: sha256 of the encoder's weights file.
        folder: Folder of the encoder.
    """

    @property
    def kind(self) -> str: ...
    @property
    def network(self) -> nn.Module: ...
    @property
    def arguments(self) -> Mapping[str, Any]: ...
    @property
    def vocabulary(self) -> Vocabulary | None: ...
    @property
    def dim(self) -> int: ...
    @property
    def hash(self) -> str: ...
    @property
    def folder(self) -> Path: ...

    def encode(self, captions: Sequence[str]) -> Tensor:
        """Map captions to vectors (B, E) float32 on the encoder's device, each independent of the others."""

    def check(self, captions: Sequence[str]) -> list[str]:
        """Return warnings of unknown words or characters and of captions that are cut.

        Raises:
            DataError: Nothing of a caption is known.
        """


@dataclass(frozen=True)
class DamsmSentenceEncoder:
    """Sentence half of a DAMSM as a `SentenceEncoder`."""

    network: TextEncoder
    arguments: Mapping[str, Any]  # of `TextEncoder`, and `words`, the most words of a caption that are read
    vocabulary: Vocabulary
    hash: str
    folder: Path
    kind: str = "damsm"

    @property
    def dim(self) -> int:
        return int(self.arguments["dim"])

    @torch.no_grad()
    def encode(self, captions: Sequence[str]) -> Tensor:
        """Map captions to vectors (B, E), without words outside the vocabulary or beyond the most that are read."""
        words = self.arguments["words"]
        numbers = [crop_tokens(self.vocabulary.encode(tokenize(text)), words, None) for text in captions]
        tokens, lengths = pad_tokens(numbers, words)
        device = self.network.embedding.weight.device
        sentence: Tensor = self.network(
            torch.from_numpy(tokens).to(device), torch.from_numpy(lengths).to(device)
        )[1]
        return sentence

    def check(self, captions: Sequence[str]) -> list[str]:
        return check_words(captions, self.vocabulary, self.arguments["words"], self.folder)


def check_words(captions: Sequence[str], vocabulary: Vocabulary, words: int, folder: Path) -> list[str]:
    """Return warnings of unknown words and of captions that are cut.

    Args:
        captions: Captions to check.
        vocabulary: Known words.
        words: Most words of a caption that are read.
        folder: Folder that the message names.

    Raises:
        DataError: No word of a caption is known.
    """
    unknown, cut, empty = [], [], []
    for caption in dict.fromkeys(captions):
        tokens = tokenize(caption)
        known = len(vocabulary.encode(tokens))
        if known == 0:
            empty.append(repr(caption))
        elif missing := vocabulary.unknown(tokens):
            unknown.append(f"{', '.join(missing)} in {caption!r}")
        if known > words:
            cut.append(f"{caption!r} has {known} words")
    if empty:
        raise DataError(
            f"no word of {some_of(empty)} is in the vocabulary of {folder}",
            f"It was trained with {len(vocabulary) - 1} words, listed in {folder / 'vocabulary.json'}.",
        )
    found = {
        "words outside the vocabulary are left out": unknown,
        f"only the first {words} words are used": cut,
    }
    return [f"{message}: {some_of(those)}" for message, those in found.items() if those]


def load_sentence_encoder(folder: str | Path, device: str | torch.device = "cpu") -> SentenceEncoder:
    """Load the sentence encoder of an encoder folder of any kind, of a run, a checkpoint or "latest".

    Raises:
        DataError: The folder holds no text encoder, or is incomplete or broken.
    """
    folder = weights_folder_of(folder, ("damsm", "char-cnn-rnn"))
    kind = read_settings(folder)["kind"]
    if kind == "char-cnn-rnn":
        return load_char_cnn_rnn(folder, device)
    if kind == "damsm":
        damsm = load_damsm(folder, device)
        with reading_settings(folder):
            arguments = {**damsm.settings["text"], "words": int(damsm.settings["words"])}
        return DamsmSentenceEncoder(damsm.text, arguments, damsm.vocabulary, damsm.hash, damsm.folder)
    raise DataError(
        f"{folder}: is a folder of kind {kind!r}, which reads no captions",
        "Name one of gancli pretrain-encoder char-cnn-rnn or damsm.",
    )


def text_settings(encoder: SentenceEncoder) -> dict[str, object]:
    """Return the entry of a sentence encoder in a model folder's config.yaml."""
    return {"kind": encoder.kind, "dim": encoder.dim, "arguments": dict(encoder.arguments)}


def restore_from_settings(
    settings: Mapping[str, Any], tensors: Mapping[str, Tensor], folder: Path, device: str | torch.device
) -> SentenceEncoder:
    """Restore the sentence encoder in a model folder, from the content of its config.yaml and its tensors.

    Raises:
        DataError: The tensors do not fit.
        ValueError: The kind is unknown.
    """
    kind, arguments = settings["text"]["kind"], settings["text"]["arguments"]
    digest = str(settings["encoder_hash"])
    network: CharCnnRnn | TextEncoder
    encoder: SentenceEncoder
    if kind == "char-cnn-rnn":
        network = CharCnnRnn(**arguments)
        encoder = CharCnnRnnEncoder(network, arguments, digest, folder)
    elif kind == "damsm":
        vocabulary = Vocabulary.load(folder / "vocabulary.json")
        own = {name: value for name, value in arguments.items() if name != "words"}
        network = TextEncoder(len(vocabulary), **own)
        encoder = DamsmSentenceEncoder(network, arguments, vocabulary, digest, folder)
    else:
        raise ValueError(f"text.kind is {kind!r}")
    load_part(network, tensors, "text_encoder.", folder)
    network.to(device).eval().requires_grad_(False)
    return encoder
