"""Captions of a dataset: read, heard, or given as vectors in a file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from gancli.data.shards import Dataset, Split
from gancli.encoders.embeddings import CaptionEmbeddings, load_embeddings
from gancli.errors import DataError, UsageError, check_least
from gancli.inference.loaded import LoadedModel
from gancli.inference.stackgan import LoadedStackGAN
from gancli.sampling.conditions import Conditions, DrawSettings, hears, refuse_attributes
from gancli.sampling.requests import (
    Request,
    first_of_classes,
    in_turn,
    spoken_captions,
    walk,
    with_variants,
    written_captions,
)
from gancli.sampling.sentences import drawn_from, read_by, variants_sheet
from gancli.sampling.speech import mismatched_speech, need_listener, utterances


@dataclass(frozen=True)
class DatasetCaptions:
    """Captions of a dataset split; a model of spoken captions hears them.

    By default the split is walked in a random order of the seed, one random caption of each image, again and again
    until there are `n` (the protocol of the AttnGAN family, whose scores use 30,000 images). With `captions_per_image`
    it is walked image by image (the protocol of mAP and R@k in S2IGAN).

    Attributes:
        data: Dataset folder; prepared with speech for a model of spoken captions.
        split: Split of the dataset.
        n: Number of random captions; None for one per image.
        images_per_class: First images of each class by name to take; None for all of the split.
        captions_per_image: First captions of each image to take, in order; None for random ones.
        embeddings: File of sentence vectors for the captions, for a model that was trained on such a file and cannot
            read captions itself.
        mismatched: Whether to draw each image from the speech of another image, as a control: agreement with the
            caption is then chance.
    """

    data: str | Path
    split: str = "test"
    n: int | None = None
    images_per_class: int | None = None
    captions_per_image: int | None = None
    embeddings: str | Path | None = None
    mismatched: bool = False

    def __post_init__(self) -> None:
        check_least(
            n=(self.n, 1),
            images_per_class=(self.images_per_class, 1),
            captions_per_image=(self.captions_per_image, 1),
        )
        if self.n is not None and self.captions_per_image is not None:
            raise UsageError(
                "a number of random captions and the first captions of each image are two ways to choose",
                "Say -n or --captions-per-image.",
            )

    def open(self, model: LoadedModel, settings: DrawSettings) -> Conditions:
        refuse_attributes(model)
        listener = need_listener(model) if self.mismatched else hears(model)
        dataset = Dataset.open(self.data)
        split = dataset.split(self.split)
        if listener is not None:
            listener.check_speech(split)
        drawn = self.choose(dataset, settings.seed, spoken=listener is not None)
        if self.mismatched:
            drawn = mismatched_speech(drawn, split, settings.seed)
        record: dict[str, object] = {
            "images_per_class": self.images_per_class,
            "captions_per_image": self.captions_per_image,
            "mismatched": self.mismatched,
        }
        warnings: Sequence[str] = ()
        if self.embeddings is not None:
            vectors, warnings = _open_embeddings(model, Path(self.embeddings), split)
            draw = drawn_from(model, _looked_up(vectors))
            record |= {"embeddings": str(self.embeddings), "embeddings_hash": vectors.hash}
        elif listener is not None:
            draw = drawn_from(model, utterances(split, listener))
        else:
            warnings = model.check([request.caption for request in drawn])
            draw = read_by(model)
        return Conditions(
            model,
            with_variants(drawn, settings.variants),
            draw,
            warnings,
            dataset,
            split,
            sheet=variants_sheet(settings),
            record=record,
            heard=None if listener is None else split,
        )

    def choose(self, dataset: Dataset, seed: int, *, spoken: bool = False) -> list[Request]:
        """Return the captions to draw, one request each.

        Args:
            dataset: The opened dataset.
            seed: Seed of order and captions.
            spoken: Whether to take spoken captions only; where several voices speak one, its first counts in turn.

        Raises:
            UsageError: The dataset has no classes to take images of.
            DataError: The split is empty, or an image has no caption of that kind.
        """
        split = dataset.split(self.split)
        images = images_of(dataset, split, self.images_per_class)
        captions = spoken_captions if spoken else written_captions
        if self.captions_per_image is None:
            return walk(split, images, self.n, seed, captions)
        return in_turn(split, images, self.captions_per_image, captions)


def images_of(
    dataset: Dataset, split: Split, per_class: int | None
) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Return the indices of a split's images, or of the first of each class.

    Raises:
        UsageError: The dataset has no classes.
        DataError: The split is empty.
    """
    if len(split) == 0:
        raise DataError(f"{split.folder}: the split {split.name!r} is empty")
    if per_class is None:
        return np.arange(len(split))
    if not dataset.class_names:
        raise UsageError(
            f"{dataset.path}: has no classes to take images of", "Leave out the images per class."
        )
    return first_of_classes(split, per_class)


def _open_embeddings(model: LoadedModel, path: Path, split: Split) -> tuple[CaptionEmbeddings, list[str]]:
    """Return the vectors of a split's captions, and warnings."""
    if not isinstance(model, LoadedStackGAN) or model.encoder is not None:
        raise UsageError(
            f"{path}: is not needed: {model.folder} has the encoder it was trained with",
            "Leave out --embeddings.",
        )
    vectors = load_embeddings(path, split)
    if vectors.dim != model.text_dim:
        raise DataError(
            f"{path}: its vectors have {vectors.dim} numbers, {model.folder} was trained on vectors of "
            f"{model.text_dim}",
            "Use vectors of the encoder that made those of its training.",
        )
    other = f"{path} is another file than the model was trained on; the same encoder has to have made both"
    return vectors, [] if vectors.hash == model.settings["encoder_hash"] else [other]


def _looked_up(vectors: CaptionEmbeddings) -> Callable[[Sequence[Request]], Tensor]:
    def look_up(requests: Sequence[Request]) -> Tensor:
        rows = []
        for request in requests:
            assert request.index is not None  # a dataset's request
            rows.append(vectors.of(request.index)[request.position])
        return torch.from_numpy(np.stack(rows))

    return look_up
