"""What `prepare` is going to write: which images of a source go into which shard, and with what words."""

from __future__ import annotations

import hashlib
import json
import math
import re
from bisect import bisect_right
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from gancli.data.attributes import contradictory_groups
from gancli.data.images import CROP_RULES, NO_CROP, Crop
from gancli.data.manifest import SCHEMA_VERSION, Codec, stored_side
from gancli.data.preparation.workers import SpeechOptions
from gancli.data.source import BadSample, PartLocations, Recording, Sample, Source
from gancli.data.sources.reading import read_text
from gancli.data.text import Vocabulary, clean_caption, tokenize
from gancli.errors import DataError, UsageError

SHARD_BYTES = 2**28  # about 256 MiB of raw pixels a shard
CLIP_SECONDS = 4  # of a spoken caption, as an estimate

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Part:
    """Some of the equal parts into which the list of a dataset's shards falls, counted from 1.

    Attributes:
        first: The first of them.
        last: The last of them.
        of: All parts.

    Raises:
        UsageError: There are no such parts.
    """

    first: int
    last: int
    of: int

    def __post_init__(self) -> None:
        if self.first < 1:
            raise UsageError(f"--shards {self}: parts are counted from 1")
        if self.last > self.of:
            raise UsageError(f"--shards {self}: there is no part {self.last} of {self.of}")
        if self.first > self.last:
            raise UsageError(f"--shards {self}: the first part comes after the last")

    @classmethod
    def parse(cls, text: str) -> Part:
        """Read `3/16` or `3-5/16`.

        Raises:
            UsageError: It is neither, or there are no such parts.
        """
        match = re.fullmatch(r"([0-9]{1,9})(?:-([0-9]{1,9}))?/([0-9]{1,9})", text.strip())
        if match is None:
            raise UsageError(f"--shards {text}: cannot be read, write 3/16 for a part or 3-5/16 for several")
        return cls(int(match[1]), int(match[2] or match[1]), int(match[3]))

    def __str__(self) -> str:
        numbers = str(self.first) if self.first == self.last else f"{self.first}-{self.last}"
        return f"{numbers}/{self.of}"

    def choose(self, shards: Sequence[T]) -> Sequence[T]:
        """Those of all shards that are in these parts; every shard is in exactly one part."""
        return shards[len(shards) * (self.first - 1) // self.of : len(shards) * self.last // self.of]


@dataclass(frozen=True, slots=True)
class Record:
    """An image of the plan: its sample with captions cleaned and those without a known word left out.

    `recordings` count these captions; there are none where recordings are not asked for. `listed` says whether the
    list of good silhouettes names the image; None where there is no list.
    """

    sample: Sample
    captions: tuple[str, ...]
    tokens: tuple[NDArray[np.int32], ...]
    class_id: int
    recordings: tuple[Recording, ...] = ()
    listed: bool | None = None


@dataclass(frozen=True, slots=True)
class ShardPlan:
    """One shard to be written; `plan` is the hash of all that determines its bytes."""

    file: str
    split: str
    records: tuple[Record, ...]
    plan: str


@dataclass(frozen=True, slots=True)
class Plan:
    """What `prepare` is going to write, for `--dry-run` and for `prepare` itself.

    Attributes:
        bad: Records the source could not use; images that cannot be decoded are only known later.
        crop: What is cut out around a box.
        crop_rule: The manifest's name of it; "none" where no image has a box.
        speech: How captions are spoken; None where they are not.
        silhouettes: Where silhouettes come from: "official", or how they are estimated; None where there are none.
        bytes: Size of the shards for raw pixels of the usual 4:3, as an estimate; JPEG takes about a sixth. Speech
            counts with four seconds a clip.
    """

    source: Source
    image_size: int
    codec: Codec
    shard_images: int
    vocabulary: Vocabulary
    shards: tuple[ShardPlan, ...]
    crop: Crop = "stackgan"
    crop_rule: str = NO_CROP
    bad: list[BadSample] = field(default_factory=list)
    silhouettes: str | None = None
    speech: SpeechOptions | None = None

    @property
    def warnings(self) -> tuple[str, ...]:
        """Attributes that contradict each other."""
        rows = [record.sample.attributes for shard in self.shards for record in shard.records]
        if not self.source.attribute_names:
            return ()
        found = contradictory_groups(
            np.stack([row for row in rows if row is not None]), self.source.attribute_names
        )
        said = ", ".join(f"{group} ({number:,})" for group, number in found.items())
        return (f"images with two values of an attribute that has one: {said}",) if said else ()

    @property
    def counts(self) -> dict[str, int]:
        """Images per split."""
        counts: dict[str, int] = {}
        for shard in self.shards:
            counts[shard.split] = counts.get(shard.split, 0) + len(shard.records)
        return counts

    @property
    def bytes(self) -> int:
        pixels = sum(self.counts.values()) * image_bytes(self.image_size)
        if self.silhouettes is not None:
            pixels += pixels // 3
        return pixels + sum(self.utterances.values()) * clip_bytes(self.speech)

    @property
    def utterances(self) -> dict[str, int]:
        """Spoken captions per split."""
        counts = dict.fromkeys(self.counts, 0)
        for shard in self.shards:
            counts[shard.split] += sum(_utterances(record, self.speech) for record in shard.records)
        return counts

    @property
    def hash(self) -> str:
        """sha256 of all shards' plans, of the class names and of the records left out."""
        listed = [[shard.file, shard.plan] for shard in self.shards]
        return _hash([listed, self.source.class_names, [sample.key for sample in self.bad]])


def read_mask_list(path: Path) -> frozenset[str]:
    """Names of images, a line each, with or without extension; empty lines are skipped.

    Raises:
        DataError: The file is missing, not UTF-8, or names nothing.
    """
    names = [name for line in read_text(path).split("\n") if (name := line.strip())]
    if not names:
        raise DataError(f"{path}: names no image", hint="write names as in images.txt, one a line")
    return frozenset(names) | {str(PurePosixPath(name).with_suffix("")) for name in names}


def image_bytes(image_size: int) -> int:
    """Of an image of 4:3 as raw pixels."""
    return stored_side(image_size) ** 2 * 4


def clip_bytes(speech: SpeechOptions | None) -> int:
    """Of a spoken caption, as an estimate."""
    if speech is None:
        return 0
    mel = CLIP_SECONDS * 1000 // speech.mel.hop_ms * speech.mel.bands * 2
    return mel + CLIP_SECONDS * (speech.mel.sample_rate or 22050) * 2 * speech.keep_audio


def _utterances(record: Record, speech: SpeechOptions | None) -> int:
    if speech is None:
        return 0
    return len(record.captions) * len(speech.voices) if speech.synthesizer else len(record.recordings)


def make_plan(
    source: Source,
    *,
    image_size: int = 256,
    codec: Codec = "raw",
    shard_images: int | None = None,
    fewest_shards: int = 1,
    vocabulary: Vocabulary | None = None,
    speech: SpeechOptions | None = None,
    crop: Crop = "stackgan",
    silhouette_list: Collection[str] | None = None,
) -> Plan:
    """Read the source's records (no pixels) and lay out the shards; nothing is written.

    Args:
        source: The raw dataset; its samples are consumed.
        image_size: Side of the largest crop in training, pixels; at least 4.
        shard_images: Most images in a shard; None for about 256 MiB of raw pixels and speech.
        fewest_shards: Where there were fewer, shards are made shorter until there are as many, or one for each image.
        vocabulary: Encode captions with this one, for example that of an existing encoder; None builds it
            from all captions, of every split, in the order of the source.
        speech: How captions are spoken. Without a synthesizer the source has to bring a recording of each.
        crop: What is cut out around a box, see `images.crop_window`.
        silhouette_list: Names of the images whose silhouettes are good; None lets the quality filter judge.

    Raises:
        UsageError: A setting is out of range.
        DataError: The source holds no usable image, or none of those that the list names.
    """
    if image_size < 4:
        raise UsageError(f"image size {image_size}: at least 4 pixels")
    if codec not in ("raw", "jpeg"):
        raise UsageError(f"codec {codec!r}: has to be raw or jpeg")
    if crop not in CROP_RULES:
        raise UsageError(f"crop {crop!r}: has to be {' or '.join(CROP_RULES)}")
    if shard_images is not None and shard_images < 1:
        raise UsageError(f"{shard_images} images in a shard: at least 1")

    samples: list[Sample] = []
    bad: list[BadSample] = []
    keys: set[str] = set()
    for sample in source.samples:
        if isinstance(sample, BadSample):
            bad.append(sample)
        elif fault := _fault(sample, source, keys):
            bad.append(BadSample(sample.key, fault))
        else:
            samples.append(sample)
        keys.add(sample.key)
    if vocabulary is None:
        vocabulary = Vocabulary.build(caption for sample in samples for caption in sample.captions)

    recorded = speech is not None and speech.synthesizer is None
    by_split: dict[str, list[Record]] = {}
    for index, sample in enumerate(samples):
        listed = None if silhouette_list is None else sample.key in silhouette_list
        record = _encode(sample, vocabulary, index, recorded=recorded, listed=listed)
        if isinstance(record, BadSample):
            bad.append(record)
        else:
            by_split.setdefault(sample.split, []).append(record)
    if not by_split:
        first = f"; the first: {bad[0].key}: {bad[0].reason}" if bad else ""
        raise DataError(
            f"{source.name}: no usable image among {len(bad)} records{first}",
            hint="name the folder of recordings with --speech-root" if recorded else None,
        )
    if silhouette_list is not None and not any(
        record.listed for block in by_split.values() for record in block
    ):
        raise DataError(
            f"{source.name}: the list of masks names none of its images",
            hint="write names as in images.txt, one a line, with or without extension",
        )
    segmented = [sample.silhouette for sample in samples if sample.silhouette is not None]
    silhouettes = None
    if segmented:
        silhouettes = "official"
        if isinstance(segmented[0], PartLocations):
            from gancli.data.silhouette_estimate import METHOD  # brings scipy with it, half a second

            silhouettes = METHOD
    elif silhouette_list is not None:
        raise UsageError(
            f"{source.name}: a list of masks is given, but no masks are asked for",
            hint="say --silhouettes official or --silhouettes estimate beside --silhouette-list",
        )
    if shard_images is None:
        records = [record for block in by_split.values() for record in block]
        spoken = sum(_utterances(record, speech) for record in records) * clip_bytes(speech)
        shard_images = max(1, SHARD_BYTES // (image_bytes(image_size) + spoken // len(records)))
    shard_images = _shorter(shard_images, fewest_shards, [len(records) for records in by_split.values()])

    boxed = any(record.sample.box is not None for block in by_split.values() for record in block)
    crop_rule = CROP_RULES[crop] if boxed else NO_CROP
    common: list[Any] = [
        SCHEMA_VERSION,
        image_size,
        codec,
        crop_rule,
        vocabulary.hash,
        list(source.attribute_names),
    ]
    if speech is not None:
        common.append(speech.entry({}).model_dump(mode="json"))
    if silhouettes is not None:
        common.append(silhouettes)
    layout: list[ShardPlan] = []
    for split, records in sorted(by_split.items(), key=lambda item: (item[0] != "train", item[0])):
        number = math.ceil(len(records) / shard_images)
        bounds = [len(records) * index // number for index in range(number + 1)]  # shards of equal length
        for index, (start, stop) in enumerate(pairwise(bounds)):
            block = tuple(records[start:stop])
            layout.append(
                ShardPlan(
                    file=f"{split}-{index:05d}-of-{number:05d}.h5",
                    split=split,
                    records=block,
                    plan=_hash([common, [_describe(record) for record in block]]),
                )
            )
    return Plan(
        source,
        image_size,
        codec,
        shard_images,
        vocabulary,
        tuple(layout),
        crop=crop,
        crop_rule=crop_rule,
        bad=bad,
        silhouettes=silhouettes,
        speech=speech,
    )


def _shorter(shard_images: int, fewest: int, images: Sequence[int]) -> int:
    """The greatest length of a shard, up to `shard_images`, with which splits of so many images need `fewest`."""
    longest = min(shard_images, max(images))
    enough = bisect_right(
        range(1, longest + 1), -fewest, key=lambda length: -sum(math.ceil(count / length) for count in images)
    )
    return shard_images if enough == longest else max(1, enough)


def _fault(sample: Sample, source: Source, keys: set[str]) -> str | None:
    """What makes a record unusable, as far as it shows without its image; None if nothing does."""
    if sample.key in keys:
        return "the name stands twice in the dataset"
    if sample.key.encode("utf-8", "replace").decode() != sample.key:  # such bytes come as lone surrogates
        return "its name holds bytes that are not UTF-8; rename the file"
    if not re.fullmatch(r"[A-Za-z0-9_]+", sample.split):
        return f"split {sample.split!r} is not a word of letters, digits and underscores"
    classes = len(source.class_names)
    if classes and not (sample.class_id is not None and 0 <= sample.class_id < classes):
        return f"class {sample.class_id} is none of the {classes} classes"
    count = 0 if sample.attributes is None else len(sample.attributes)
    if count != len(source.attribute_names):
        return f"{count} attributes, the dataset has {len(source.attribute_names)}"
    return None


def _encode(
    sample: Sample, vocabulary: Vocabulary, index: int, *, recorded: bool, listed: bool | None
) -> Record | BadSample:
    encoded = [(clean_caption(caption), vocabulary.encode(tokenize(caption))) for caption in sample.captions]
    usable = [number for number, (_, tokens) in enumerate(encoded) if len(tokens)]
    if not usable:
        said = " / ".join(caption for caption, _ in encoded if caption)[:80]
        return BadSample(sample.key, f"no known word in its captions ({said})" if said else "no caption")
    recordings: list[Recording] = []
    if recorded:
        mute = set(usable) - {recording.caption for recording in sample.recordings}
        if mute:
            first = encoded[min(mute)][0][:60]
            which = f"caption {min(mute) + 1} of {len(encoded)} ({first!r})"
            others = f", nor are {len(mute) - 1} others" if len(mute) > 1 else ""
            return BadSample(sample.key, f"{which} is not recorded{others}")
        places = {number: place for place, number in enumerate(usable)}
        recordings = [
            replace(recording, caption=places[recording.caption])
            for recording in sorted(sample.recordings, key=lambda recording: recording.caption)
            if recording.caption in places
        ]
    captions, tokens = zip(*(encoded[number] for number in usable), strict=True)
    class_id = index if sample.class_id is None else sample.class_id
    return Record(sample, captions, tokens, class_id, tuple(recordings), listed)


def _describe(record: Record) -> list[Any]:
    """All of a record that its bytes in the shard depend on; of files only their names and sizes."""
    sample = record.sample
    box = sample.box and [sample.box.x, sample.box.y, sample.box.width, sample.box.height]
    attributes = (
        None if sample.attributes is None else np.asarray(sample.attributes, np.float32).tobytes().hex()
    )
    described = [
        sample.key,
        sample.image.name,
        _size(sample.image),
        record.captions,
        record.class_id,
        box,
        attributes,
    ]
    if record.recordings:
        described.append([[each.caption, each.path.name, _size(each.path)] for each in record.recordings])
    if isinstance(sample.silhouette, PartLocations):
        described.append([sample.silhouette.points, record.listed])
    elif sample.silhouette is not None:
        described.append([_size(sample.silhouette), record.listed])
    return described


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return -1  # decoding says what is wrong


def _hash(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, separators=(",", ":")).encode()).hexdigest()
