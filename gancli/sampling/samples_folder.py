"""The samples folder: what `gancli sample` hands to `gancli score`.

PNG files, `samples.csv` with one row per file (which caption, of which image, which seed), and `sampling.json`, which
says what model made them. `sampling.json` is written first and `samples.csv` last: a folder without the latter
was interrupted. Inpainting writes the same folder; beside each image lies the hole that was filled.
"""

from __future__ import annotations

import csv
import dataclasses
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from gancli.atomic import atomic_file
from gancli.data.hole_settings import HoleSettings
from gancli.errors import DataError

SAMPLES = "samples.csv"
SAMPLING = "sampling.json"


class Vary(StrEnum):
    """Which noise tells the variants of a caption apart; the rest of it is the first variant's."""

    ALL = "all"  # noise and conditioning augmentation
    CONDITION = "condition"  # the conditioning augmentation alone (StackGAN's figure)
    NOISE = "noise"  # z alone


class Grid(StrEnum):
    """One figure of many images."""

    VARIANTS = "variants"  # a row per caption, its variants along it
    SAME_SHAPE = "same-shape"  # the silhouette of the first attributes, under all of them (attr2image Fig. 4)
    SAME_ATTRIBUTES = "same-attributes"  # each set of attributes on several silhouettes (Fig. 5)


@dataclass(frozen=True)
class GeneratedImage:
    """A row of samples.csv.

    Attributes:
        file: Path below the folder.
        caption: What was asked for.
        key: The image the caption belongs to; empty for a text of one's own.
        class_id: That image's class; None for a text of one's own.
        seed: Of the sampling. With caption, key and variant it determines the image.
        variant: Counts the images of one caption, or the passes over a split, from 0.
        stage: Side of the image in pixels.
        second_caption: Where the image lies between two sentences: the other one; else empty.
        weight: Of the second caption's sentence vector against the first one's, in [0, 1]; else None.
        audio: The audio file it was drawn from, as it was given; else empty. What it says is not known.
        audio_sha256: Of that file, or of the samples of a text that was spoken; else empty.
        voice: Who spoke the caption for it; else empty.
        utterance: Number of the spoken caption of a dataset that was heard, among those of its image; else None.
        heard_key: The image that was heard where it is another one than `key`; else empty.
        hole: Path below the folder of a PNG of the image's size, white where the image was filled; empty where the
            whole image was drawn.
        shape: Path below the folder of a PNG of the silhouette that the image was painted on, white on the bird; the
            image itself where it is one; empty where there was none.
    """

    file: str
    caption: str
    key: str
    class_id: int | None
    seed: int
    variant: int
    stage: int
    second_caption: str = ""
    weight: float | None = None
    audio: str = ""
    audio_sha256: str = ""
    voice: str = ""
    utterance: int | None = None
    heard_key: str = ""
    hole: str = ""
    shape: str = ""


@dataclass(frozen=True)
class Sampling:
    """sampling.json: what made the images of the folder. Equal settings give equal images.

    Attributes:
        model: The model folder, as it was given.
        model_hash: sha256 of its weights.
        encoder_hash: sha256 of the encoder it was trained with; empty where the model does not say.
        method: What the paper's tables call the model and its ablations.
        data: The dataset folder the captions come from, as it was given; None for texts of one's own.
        dataset: Its name.
        split: Its split.
        images: How many.
        variants: Images per caption.
        seed: Of captions, order and noise.
        words: Words of a caption that are used, counted from the first; None where the model does not read words.
        stages: Sides in pixels, the last one the images'.
        captions_sha256: Of all captions in order.
        figures: Which figures go with the images ("stages", "attention", "variants", "interpolation").
        gancli_version: That made them.
        vary: Which noise tells the variants of a caption apart.
        interpolation: The two sentences between which the images lie; None for images of single sentences.
        steps: Images from the first sentence to the second; None without interpolation.
        embeddings: The file of sentence vectors, as it was given; None where the model reads the captions itself.
        embeddings_hash: sha256 of that file.
        images_per_class: Only the first images of each class by name; None: all of the split.
        captions_per_image: The first captions of each image; None: random ones.
        synthesizer: What spoke the texts, with its version; None where nothing was.
        mismatched: Whether each image was drawn from the speech of another image.
        holes: Settings of the holes that were cut and filled; None where whole images were drawn.
        hole_seed: Seed of the holes; None where they are not random.
        shapes: Where the silhouettes come from that images were painted on: a model that drew them, "data" for the
            dataset's own, or files; empty where there were none.
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
    shapes: str = ""


_COLUMNS = tuple(column.name for column in dataclasses.fields(GeneratedImage))
# Columns that files of gancli before StackGAN, speech, inpainting and attributes do not have
_LATER = (
    "second_caption",
    "weight",
    "audio",
    "audio_sha256",
    "voice",
    "utterance",
    "heard_key",
    "hole",
    "shape",
)


def write_samples(folder: Path, images: Sequence[GeneratedImage]) -> None:
    """Writes samples.csv, whole or not at all."""
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(_COLUMNS)
    for image in images:
        row = dataclasses.astuple(image)
        writer.writerow("" if value is None else value for value in row)
    with atomic_file(folder / SAMPLES) as temporary:
        temporary.write_text(buffer.getvalue(), encoding="utf-8")


def read_samples(folder: Path) -> list[GeneratedImage]:
    """The generated images of a folder, in order; where there are several stages, those of the last.

    Raises:
        DataError: There is no samples.csv, it is not one, it lists nothing, or an image, hole or shape that it lists
            is not there.
    """
    path = Path(folder) / SAMPLES
    again = "Run gancli sample or gancli inpaint again; the same command continues where it stopped."
    try:
        with path.open(encoding="utf-8", newline="") as file:
            reader = csv.DictReader(file)
            missing = set(_COLUMNS) - set(_LATER) - set(reader.fieldnames or ())
            if missing:
                raise DataError(f"{path}: the column {', '.join(sorted(missing))} is missing", again)
            images = [
                GeneratedImage(
                    row["file"],
                    row["caption"],
                    row["key"],
                    int(row["class_id"]) if row["class_id"] else None,
                    int(row["seed"]),
                    int(row["variant"]),
                    int(row["stage"]),
                    row.get("second_caption") or "",
                    float(row["weight"]) if row.get("weight") else None,
                    row.get("audio") or "",
                    row.get("audio_sha256") or "",
                    row.get("voice") or "",
                    int(row["utterance"]) if row.get("utterance") else None,
                    row.get("heard_key") or "",
                    row.get("hole") or "",
                    row.get("shape") or "",
                )
                for row in reader
            ]
    except FileNotFoundError:
        raise DataError(
            f"{path}: no such file; {folder} is not a finished folder of gancli sample", again
        ) from None
    except (UnicodeDecodeError, csv.Error, ValueError, TypeError) as error:
        raise DataError(f"{path}: cannot be read ({error})", again) from error
    if not images:
        raise DataError(f"{path}: lists no images", again)
    last = max(image.stage for image in images)
    images = [image for image in images if image.stage == last]
    listed = [file for image in images for file in (image.file, image.hole, image.shape) if file]
    absent = [file for file in listed if not (path.parent / file).is_file()]
    if absent:
        raise DataError(
            f"{path}: lists {len(absent)} files that are not there, the first is {absent[0]}", again
        )
    return images


def write_sampling(folder: Path, sampling: Sampling) -> None:
    """Writes sampling.json, whole or not at all."""
    with atomic_file(folder / SAMPLING) as temporary:
        text = json.dumps(dataclasses.asdict(sampling), indent=1, ensure_ascii=False)
        temporary.write_text(text + "\n", encoding="utf-8")


def read_sampling(folder: Path) -> Sampling | None:
    """What made the images of a folder; None where no sampling.json says so.

    Raises:
        DataError: It cannot be read.
    """
    path = Path(folder) / SAMPLING
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        for name in ("stages", "figures", "interpolation"):
            if content.get(name) is not None:
                content[name] = tuple(content[name])
        if content.get("holes") is not None:
            content["holes"] = HoleSettings.from_dict(content["holes"])
        return Sampling(**{**content, "vary": Vary(content.get("vary", Vary.ALL))})
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise DataError(
            f"{path}: cannot be read ({error!r})", "Run gancli sample into a new folder."
        ) from error
