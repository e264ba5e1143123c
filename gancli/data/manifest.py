"""`dataset.json`, the manifest of a dataset folder: written last and read first."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, StringConstraints, ValidationError

from gancli.atomic import atomic_file
from gancli.data.audio import MelSettings
from gancli.errors import DataError

SCHEMA_VERSION = 2
MANIFEST = "dataset.json"
VOCABULARY = "vocabulary.json"

Codec = Literal["raw", "jpeg"]
Filled = Annotated[str, StringConstraints(min_length=1)]


def stored_side(image_size: int) -> int:
    """Return the shorter side of a stored image in pixels: 76/64 of the training size, room for random crops."""
    return image_size * 76 // 64


class StrictModel(BaseModel):
    """Immutable model that refuses unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class ShardEntry(StrictModel):
    """A shard of a split; `sha256` is the hash of its file."""

    file: str
    images: int
    captions: int
    sha256: str


class SplitEntry(StrictModel):
    """Counts of a split, and its shards in order."""

    images: int
    captions: int
    shards: tuple[ShardEntry, ...]


class TokenizerEntry(StrictModel):
    """Tokenizer of the captions; `words` is the number of entries of the vocabulary, with index 0."""

    rule: str
    vocabulary_hash: str
    words: int


class SpeechEntry(StrictModel):
    """The spoken captions of a dataset.

    Attributes:
        mel: Settings of the features.
        backend: Speaker: "espeak-ng library", "espeak-ng program", "command", or "recorded" for people.
        version: Version of the backend; the command line of a command, empty for recordings.
        voices: Voices of the backend, in order; empty for recordings.
        speeds: Words per minute, in order. Every caption is spoken by every voice at every speed.
        audio: True where the waveforms are kept.
        utterances: Number of utterances per split.
    """

    mel: MelSettings
    backend: str
    version: str
    voices: tuple[str, ...]
    speeds: tuple[int, ...]
    audio: bool
    utterances: dict[str, int]

    @property
    def speaker(self) -> str:
        """Description of the speaker."""
        if self.backend == "recorded":
            return "recorded"
        voices = f", voices {', '.join(self.voices)}" if self.voices else ""
        speeds = f", {' and '.join(map(str, self.speeds))} words a minute" if self.speeds else ""
        return f"spoken by {self.backend} {self.version}{voices}{speeds}"


class SilhouetteEntry(StrictModel):
    """The silhouettes of a dataset.

    Attributes:
        method: "official" for the dataset's own, or the name of the estimate.
        usable: Number of silhouettes without a fault per split.
        faults: Number of silhouettes with each fault, by its name, per split; a silhouette may have several faults.
    """

    method: str
    usable: dict[str, int]
    faults: dict[str, dict[str, int]]


class Manifest(StrictModel):
    """Manifest of a dataset folder: everything but the images. No dates and no absolute paths.

    Attributes:
        name, release, split_rule: See `gancli.data.source.Source`.
        crop_rule: Crop around the bounding boxes: "box 1.5×", "ratio75", or "none" in a dataset without boxes.
        image_size: Side of the largest crop in pixels; the stored shorter side is `stored_side(image_size)`.
        class_names: Names of the classes; None in a dataset without classes, whose class ids are a running index.
        rejected: Number of images left out because they could not be used (rejected.csv lists them).
        source: Hashes of the files that define the raw dataset, {relative path: sha256}.
        plan: sha256 of everything that went into the shards; the same plan gives the same bytes.
        speech, silhouettes: None, and absent from the file, in a dataset without them.
        attribute_encoding: Meaning of an attribute's number: "binary", "soft" or "class"; None without attributes.
    """

    schema_version: int
    name: str
    release: Filled
    split_rule: Filled
    crop_rule: Filled
    image_size: int
    codec: Codec
    shard_images: int
    splits: dict[str, SplitEntry]
    class_names: tuple[str, ...] | None
    attribute_names: tuple[str, ...]
    tokenizer: TokenizerEntry
    rejected: int
    source: dict[str, str]
    plan: str
    gancli_version: str
    speech: SpeechEntry | None = None
    attribute_encoding: str | None = None
    silhouettes: SilhouetteEntry | None = None


def write_manifest(folder: str | Path, manifest: Manifest) -> None:
    """Write `dataset.json`, the last file of a dataset folder: where it exists, the folder is complete."""
    with atomic_file(Path(folder) / MANIFEST) as temporary:
        optional = ("speech", "attribute_encoding", "silhouettes")
        absent = {name for name in optional if getattr(manifest, name) is None}
        temporary.write_text(manifest.model_dump_json(indent=1, exclude=absent) + "\n", encoding="utf-8")


def read_manifest(folder: str | Path) -> Manifest:
    """Read and check `dataset.json`.

    Raises:
        DataError: The file is missing, of another schema version, or not a manifest.
    """
    path = Path(folder) / MANIFEST
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        raise DataError(
            f"{folder}: not a dataset folder, there is no {MANIFEST}",
            hint="`gancli prepare` makes one; if it was interrupted there, the same command continues, and where "
            "it made parts, `gancli data merge` puts them together",
        ) from None
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot be read ({error})") from error
    version = content.get("schema_version") if isinstance(content, dict) else None
    if version != SCHEMA_VERSION:
        raise DataError(
            f"{path}: schema version {version!r}, this gancli reads version {SCHEMA_VERSION}",
            hint="prepare the dataset again with this gancli, or use the gancli that wrote it",
        )
    try:
        return Manifest.model_validate(content)
    except ValidationError as error:
        lines = [f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors()]
        raise DataError(f"{path}: not a valid manifest\n  " + "\n  ".join(lines)) from None
