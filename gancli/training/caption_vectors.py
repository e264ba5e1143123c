"""Vectors that a training reads: features of words, one vector per written or spoken caption, features of images.

Of several processes the first computes what is kept in the dataset folder, the others read it there.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar, cast

import numpy as np
import torch
from torch import Tensor

from gancli.config import Conditioning
from gancli.data.shards import Dataset, Split
from gancli.encoders.backbones import BackboneName
from gancli.encoders.damsm import Damsm, load_damsm
from gancli.encoders.embeddings import CaptionEmbeddings, embed_split, load_embeddings
from gancli.encoders.image_features import FrozenNetwork, frozen_encoder, frozen_imagenet
from gancli.encoders.sentence import SentenceEncoder, load_sentence_encoder
from gancli.encoders.speech import Speech, embed_speech, load_speech
from gancli.engine.distributed import main_first
from gancli.engine.events import Events
from gancli.errors import ConfigError
from gancli.run_paths import weights_folder_of
from gancli.weights_folder import read_settings

GRID_CAPTIONS = 36  # images of a sample grid
REPORT_SECONDS = 10.0  # from one report of what is computed before a training to the next

E = TypeVar("E", bound=SentenceEncoder | Speech | None, covariant=True)


@dataclass(frozen=True)
class CaptionVectors(Generic[E]):
    """One vector for each caption.

    Attributes:
        train: Vectors of the training split.
        grid: (N, E) vectors of the captions of the sample grids.
        encoder: Encoder that made them; None where they came from a file.
    """

    train: CaptionEmbeddings
    grid: Tensor
    encoder: E

    @property
    def hash(self) -> str:
        """Hash of the encoder or file."""
        return self.train.hash

    @property
    def name(self) -> str:
        """Encoder or file, for messages."""
        return self.train.name


Condition = Damsm | CaptionVectors[SentenceEncoder | Speech | None] | FrozenNetwork


def open_condition(
    source: Conditioning, dataset: Dataset, device: torch.device, events: Events, weights: Path | None = None
) -> Condition:
    """Open what a recipe conditions on, and compute its vectors where they are not kept yet.

    Args:
        source: Source that the recipe names.
        dataset: Dataset of the training.
        device: Device of the encoder.
        events: Receives the progress of what is computed.
        weights: File of a backbone's published weights; None looks for it.

    Raises:
        ConfigError: The encoder gives features of another width than the recipe says.
        DataError: The encoder or file is missing, broken, or of another vocabulary, dataset or speech.
    """
    if source.form == "features":
        if not source.kinds:
            return frozen_imagenet(cast(BackboneName, source.path), device, weights)
        return frozen_encoder(source.path, device)
    path = Path(source.path)
    if source.form == "file":
        return _from_file(path, dataset, device)
    if source.form == "words":
        damsm = load_damsm(path, device)
        damsm.check_vocabulary(dataset.vocabulary, dataset.path)
        _refuse_other_width(source, int(damsm.settings["text"]["dim"]))
        return damsm
    if source.form == "speech":
        return _of_speech(load_speech(path, device), dataset, events)
    return _of_sentences(load_sentence_encoder(path, device), dataset, events)


def refuse_other_kind(source: Conditioning) -> None:
    """Refuse an encoder folder of another kind than the recipe needs.

    Raises:
        ConfigError: It is of another kind.
        DataError: It is no encoder folder.
    """
    if not source.kinds:
        return
    kind = read_settings(weights_folder_of(source.path, source.kinds))["kind"]
    if kind not in source.kinds:
        names = " or ".join(source.kinds)
        other = source.instead.get(kind)
        raise ConfigError(
            f"{source.path} is a folder of kind {kind!r}, the recipe needs an encoder of kind {names}",
            (f"Set {other}, or name" if other else "Name") + f" one of gancli pretrain-encoder {names}.",
        )


def _refuse_other_width(source: Conditioning, dim: int) -> None:
    if source.dim is not None and dim != source.dim:
        raise ConfigError(
            f"model.text_dim: received {source.dim}, but the encoder {source.path} gives features of width {dim}",
            f"Set model.text_dim={dim}, or train another encoder.",
        )


def _of_sentences(
    encoder: SentenceEncoder, dataset: Dataset, events: Events
) -> CaptionVectors[SentenceEncoder]:
    split, indices = grid_images(dataset)
    captions = [split.captions(index)[0] for index in indices]
    encoder.check(captions)
    told = reporter(events, "sentence vectors", "captions")
    train = main_first(lambda: embed_split(dataset.split("train"), encoder, progress=told))
    return CaptionVectors(train, encoder.encode(captions), encoder)


def _of_speech(encoder: Speech, dataset: Dataset, events: Events) -> CaptionVectors[Speech]:
    told = reporter(events, "speech vectors", "spoken captions")
    train = main_first(lambda: embed_speech(dataset.split("train"), encoder, progress=told))
    split, indices = grid_images(dataset)
    heard = encoder.encode_mels([split.speech(index)[0] for index in indices])
    return CaptionVectors(train, heard, encoder)


def _from_file(path: Path, dataset: Dataset, device: torch.device) -> CaptionVectors[None]:
    split, indices = grid_images(dataset)
    held_out, train = main_first(
        lambda: [load_embeddings(path, part) for part in (split, dataset.split("train"))]
    )
    grid = torch.from_numpy(np.stack([held_out.of(index)[0] for index in indices]))
    return CaptionVectors(train, grid.to(device), None)


def grid_images(dataset: Dataset, most: int = GRID_CAPTIONS) -> tuple[Split, list[int]]:
    """Return the held-out images of a run's sample grids, spread evenly over their split, at most `GRID_CAPTIONS`."""
    split = dataset.split("test" if "test" in dataset.split_names else "train")
    spread = np.linspace(0, len(split) - 1, min(GRID_CAPTIONS, len(split))).astype(int)
    return split, spread[np.linspace(0, len(spread) - 1, min(most, len(spread))).astype(int)].tolist()


def reporter(events: Events, what: str, unit: str) -> Callable[[int, int], None]:
    """Return a callback that reports the progress of a work ("image features"), from time to time and at its end."""
    last = time.monotonic()

    def report(done: int, total: int) -> None:
        nonlocal last
        if done == total or time.monotonic() - last >= REPORT_SECONDS:
            last = time.monotonic()
            events.emit("progress", f"{what}: {done:,} of {total:,} {unit}", done=done, total=total)

    return report
