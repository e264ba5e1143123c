"""What conditions a model that reads one vector per caption, written or spoken: the vectors, and what made them.

Of several processes the first computes what is kept in the dataset folder, the others read it there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
import torch
from torch import Tensor

from gancli.data.shards import Dataset
from gancli.encoders.embeddings import CaptionEmbeddings, embed_split, load_embeddings
from gancli.encoders.sentence import SentenceEncoder
from gancli.encoders.speech import Speech, embed_speech
from gancli.engine.distributed import main_first
from gancli.engine.events import Events
from gancli.errors import ConfigError
from gancli.training.run import grid_images, reporter
from gancli.weights_folder import reading_settings

E = TypeVar("E", bound=SentenceEncoder | Speech | None, covariant=True)


@dataclass(frozen=True)
class Conditions(Generic[E]):
    """The vectors that a run reads.

    Attributes:
        train: Of the training split.
        grid: (N, E), of the captions of the sample grids.
        encoder: What made them; None where they came from a file.
    """

    train: CaptionEmbeddings
    grid: Tensor
    encoder: E


def sentence_conditions(
    encoder: SentenceEncoder, dataset: Dataset, events: Events
) -> Conditions[SentenceEncoder]:
    """The vectors of written captions; computing them for the first time is reported.

    Raises:
        DataError: The encoder knows no word of a caption.
    """
    split, indices = grid_images(dataset)
    captions = [split.captions(index)[0] for index in indices]
    encoder.check(captions)
    told = reporter(events, "sentence vectors", "captions")
    train = main_first(lambda: embed_split(dataset.split("train"), encoder, progress=told))
    return Conditions(train, encoder.encode(captions), encoder)


def speech_conditions(encoder: Speech, dataset: Dataset, events: Events) -> Conditions[Speech]:
    """The vectors of spoken captions; computing them for the first time is reported.

    Raises:
        DataError: The dataset has no speech, or its features have other settings than the encoder was trained with.
    """
    told = reporter(events, "speech vectors", "spoken captions")
    train = main_first(lambda: embed_speech(dataset.split("train"), encoder, progress=told))
    split, indices = grid_images(dataset)
    return Conditions(train, encoder.encode_mels([split.speech(index)[0] for index in indices]), encoder)


def precomputed_conditions(path: Path, dataset: Dataset, device: torch.device) -> Conditions[None]:
    """Vectors from a file.

    Raises:
        DataError: It is missing, broken or of another dataset.
    """
    split, indices = grid_images(dataset)
    held_out, train = main_first(
        lambda: [load_embeddings(path, part) for part in (split, dataset.split("train"))]
    )
    grid = torch.from_numpy(np.stack([held_out.of(index)[0] for index in indices]))
    return Conditions(train, grid.to(device), None)


def refuse_other_encoder(
    folder: Path, settings: Mapping[str, Any], conditions: Conditions[SentenceEncoder | Speech | None]
) -> None:
    """Refuses a model that was trained with other vectors than those at hand.

    Args:
        folder: The model's, for the message.
        settings: Its config.yaml.
        conditions: The vectors at hand.

    Raises:
        ConfigError: They are of another encoder or file.
    """
    with reading_settings(folder):
        digest = str(settings["encoder_hash"])
    train = conditions.train
    if digest != train.hash:
        raise ConfigError(
            f"{folder} was trained with another encoder ({digest[:12]}) than {train.name} ({train.hash[:12]})",
            "A run from its start to its end, and both stages of a model, read the same vectors: name the encoder or "
            "file that this one was trained with.",
        )
