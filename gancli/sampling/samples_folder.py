"""The samples folder, which `gancli sample` and `gancli inpaint` write and `gancli score` reads.

It holds PNG files, `samples.csv` with one row per file, and `sampling.json` with the settings that made them.
`sampling.json` is written first and `samples.csv` last: a folder without the latter was interrupted.
"""

from __future__ import annotations

import dataclasses
import json
import typing
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gancli.atomic import atomic_file
from gancli.csv_files import read_csv, write_csv
from gancli.data.hole_settings import HoleSettings
from gancli.errors import DataError

if TYPE_CHECKING:  # which would load torch
    from gancli.data.loader import Window

SAMPLES = "samples.csv"
SAMPLING = "sampling.json"


class Vary(StrEnum):
    """Noise that differs between the variants of a caption; the rest is the first variant's."""

    ALL = "all"  # noise and conditioning augmentation
    CONDITION = "condition"  # the conditioning augmentation alone (StackGAN's figure)
    NOISE = "noise"  # z alone


class Figure(StrEnum):
    """Figures beside the images."""

    STAGES = "stages"  # one per image: all stages side by side
    ATTENTION = "attention"  # one per image: word attention of each refinement stage (FF-GAN Fig. 6)
    VARIANTS = "variants"  # a row per caption, its variants along it
    SAME_SHAPE = "same-shape"  # the silhouette of the first attributes under all of them (attr2image Fig. 4)
    SAME_ATTRIBUTES = "same-attributes"  # each set of attributes on several silhouettes (attr2image Fig. 5)
    INTERPOLATION = "interpolation"  # from one sentence to another; every interpolation has it


class Silhouettes(StrEnum):
    """Origin of the silhouettes that images were painted on."""

    DRAWN = "drawn"  # by a model
    DATASET = "dataset"  # of the dataset's images
    FILES = "files"  # of the user


@dataclass(frozen=True)
class GeneratedImage:
    """A row of samples.csv. The columns without default have to be there.

    Attributes:
        file: Path below the folder.
        caption: Text that was asked for.
        key: Image the caption belongs to; empty for a text that is no dataset's.
        class_id: Class of that image; None for a text that is no dataset's.
        seed: Seed of the sampling. With caption, key and variant it determines the image.
        variant: Number of the image among those of one caption, or of the pass over a split, from 0.
        size: Side of the image in pixels.
        second_caption: Second sentence of an image between two; else empty.
        weight: Weight of the second sentence's vector against the first one's, in [0, 1]; else None.
        audio: Audio file it was drawn from, as it was given; else empty. Its words are not known.
        audio_sha256: Hash of that file, or of the samples of a spoken text; else empty.
        voice: Voice that spoke the caption for it; else empty.
        utterance: Number of the dataset's utterance that was heard, among those of its image; else None.
        heard_key: Image whose speech was heard where it is not `key`; else empty.
        hole: Path below the folder of a PNG of the image's size, white where the image was filled; empty where the
            whole image was drawn.
        silhouette: Path below the folder of a PNG of the silhouette that the image was painted on, white on the bird;
            the image itself where it is a silhouette; empty where there was none.
    """

    file: str
    caption: str
    key: str
    class_id: int | None
    seed: int
    variant: int
    size: int
    second_caption: str = ""
    weight: float | None = None
    audio: str = ""
    audio_sha256: str = ""
    voice: str = ""
    utterance: int | None = None
    heard_key: str = ""
    hole: str = ""
    silhouette: str = ""


@dataclass(frozen=True)
class Sampling:
    """Content of sampling.json: the settings that made the images of the folder. Equal settings give equal images.

    Attributes:
        model: Model folder, as it was given.
        model_hash: sha256 of its weights.
        encoder_hash: sha256 of the encoder it was trained with; empty where the model does not say.
        method: Name of the model and its ablation in the paper's tables.
        data: Dataset folder of the captions, as it was given; None for texts that are no dataset's.
        dataset: Name of that dataset.
        split: Split of that dataset.
        images: Number of images.
        variants: Images per caption.
        seed: Seed of captions, order and noise.
        words: Words of a caption that are read, counted from the first; None where the model does not read words.
        stages: Sides in pixels, the last one the images'.
        captions_sha256: Hash of all captions in order.
        figures: Figures beside the images (`Figure`).
        gancli_version: Version that made them.
        vary: Noise that differs between the variants of a caption.
        interpolation: The two sentences between which the images lie; None for images of single sentences.
        steps: Images from the first sentence to the second; None without interpolation.
        embeddings: File of sentence vectors, as it was given; None where the model reads the captions itself.
        embeddings_hash: sha256 of that file.
        images_per_class: First images of each class that were taken; None for all of the split.
        captions_per_image: First captions of each image that were taken; None for random ones.
        synthesizer: Program that spoke the texts, with its version; None where none was spoken.
        mismatched: Whether each image was drawn from the speech of another image.
        holes: Settings of the holes that were cut and filled; None where whole images were drawn.
        hole_seed: Seed of the holes; None where they are not random.
        window: Part of the dataset's images that was filled: "center", or "whole", its sides made equal.
        silhouettes: Origin of the silhouettes that images were painted on; None where there were none.
        silhouette_source: Model that drew them, or their file or folder; None where there is no such thing.
        kind: Model ("ffgan").
        ablation: Settings of the paper's ablations in which the model differs from the paper's own model.
        trained_steps: Training steps of the model, 0 if it is untrained; None where the model does not say.
        differences: Keys in which the model's recipe differs from the paper's, each with the values `paper` and `here`.
        train_seed: Seed of the training; None where the model does not say.
        release: Release of the dataset ("CUB-200-2011").
        split_rule: Rule that split it ("zero-shot 150/50").
        crop_rule: Rule that cropped its images ("box 1.5x").
    """

    model: str
    model_hash: str
    encoder_hash: str
    method: str
    data: str | None
    dataset: str | None
    split: str | None
    images: int
    variants: int
    seed: int
    words: int | None
    stages: tuple[int, ...]
    captions_sha256: str
    figures: tuple[str, ...]
    gancli_version: str
    vary: Vary = Vary.ALL
    interpolation: tuple[str, str] | None = None
    steps: int | None = None
    embeddings: str | None = None
    embeddings_hash: str | None = None
    images_per_class: int | None = None
    captions_per_image: int | None = None
    synthesizer: str | None = None
    mismatched: bool = False
    holes: HoleSettings | None = None
    hole_seed: int | None = None
    window: Window = "center"
    silhouettes: Silhouettes | None = None
    silhouette_source: str | None = None
    kind: str = ""
    ablation: Mapping[str, object] = dataclasses.field(default_factory=dict)
    trained_steps: int | None = None
    differences: tuple[Mapping[str, object], ...] = ()
    train_seed: int | None = None
    release: str | None = None
    split_rule: str | None = None
    crop_rule: str | None = None

    @property
    def described_method(self) -> str:
        """The method, with a note where each image was drawn from the speech of another one."""
        return f"{self.method}, speech of other images" if self.mismatched else self.method


_COLUMNS = {column.name: column for column in dataclasses.fields(GeneratedImage)}
_REQUIRED = {name for name, column in _COLUMNS.items() if column.default is dataclasses.MISSING}
_KINDS = typing.get_type_hints(GeneratedImage)
_JSON_KINDS: dict[str, Callable[[Any], object]] = {
    "stages": tuple,
    "figures": tuple,
    "interpolation": tuple,
    "differences": tuple,
    "vary": Vary,
    "holes": HoleSettings.from_dict,
    "silhouettes": Silhouettes,
}
_AGAIN = "Run gancli sample or gancli inpaint again; the same command continues where it stopped."


def write_samples(folder: Path, images: Sequence[GeneratedImage]) -> None:
    """Write samples.csv, whole or not at all."""
    import pandas as pd

    rows = [vars(image) for image in images]
    write_csv(folder / SAMPLES, pd.DataFrame(rows, columns=list(_COLUMNS), dtype=object))


def read_samples(folder: str | Path) -> list[GeneratedImage]:
    """Return the generated images of a folder, in order; where there are several sizes, those of the largest.

    Raises:
        DataError: samples.csv is missing, broken or empty, or a file that it lists is missing.
    """
    path = Path(folder) / SAMPLES
    if not path.exists():
        raise DataError(f"{path}: no such file; {folder} is not a finished folder of gancli sample", _AGAIN)
    frame = read_csv(path, _AGAIN)
    missing = _REQUIRED - set(frame.columns)
    if missing:
        raise DataError(f"{path}: the column {', '.join(sorted(missing))} is missing", _AGAIN)
    try:
        images = [_read_row(row) for row in frame.to_dict("records")]
    except (ValueError, TypeError) as error:
        raise DataError(f"{path}: cannot be read ({error})", _AGAIN) from error
    if not images:
        raise DataError(f"{path}: lists no images", _AGAIN)
    largest = max(image.size for image in images)
    images = [image for image in images if image.size == largest]
    listed = [file for image in images for file in (image.file, image.hole, image.silhouette) if file]
    absent = [file for file in listed if not (path.parent / file).is_file()]
    if absent:
        raise DataError(
            f"{path}: lists {len(absent)} files that are not there, the first is {absent[0]}", _AGAIN
        )
    return images


def _read_row(row: Mapping[Hashable, object]) -> GeneratedImage:
    values: dict[str, Any] = {
        name: _read_cell(row[name], kind) for name, kind in _KINDS.items() if name in row
    }
    return GeneratedImage(**values)


def _read_cell(text: object, kind: object) -> object:
    if not isinstance(text, str):
        raise ValueError("a row is too short")
    if kind is str:
        return text
    if not text and kind is not int:
        return None
    return float(text) if kind == float | None else int(text)


def write_sampling(folder: Path, sampling: Sampling) -> None:
    """Write sampling.json, whole or not at all."""
    with atomic_file(folder / SAMPLING) as temporary:
        text = json.dumps(dataclasses.asdict(sampling), indent=1, ensure_ascii=False)
        temporary.write_text(text + "\n", encoding="utf-8")


def read_sampling(folder: str | Path) -> Sampling | None:
    """Return the settings that made the images of a folder; None where there is no sampling.json.

    Raises:
        DataError: It cannot be read.
    """
    path = Path(folder) / SAMPLING
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        for name, kind in _JSON_KINDS.items():
            if content.get(name) is not None:
                content[name] = kind(content[name])
        return Sampling(**content)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise DataError(
            f"{path}: cannot be read ({error!r})", "Run gancli sample into a new folder."
        ) from error
