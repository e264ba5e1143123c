"""The plan of a dataset folder: the images of a source, their shards, and their captions as tokens."""

from __future__ import annotations

import hashlib
import json
import math
import re
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from gancli.data.attributes import contradictory_groups
from gancli.data.images import CROP_RULES, NO_CROP
from gancli.data.manifest import SCHEMA_VERSION, stored_side
from gancli.data.preparation.options import PrepareOptions, SpeechOptions
from gancli.data.source import BadSample, PartLocations, Recording, Sample, Source
from gancli.data.sources.reading import read_text
from gancli.data.text import Vocabulary, clean_caption, tokenize
from gancli.errors import DataError, UsageError

SHARD_BYTES = 2**28  # about 256 MiB of raw pixels in a shard
CLIP_SECONDS = 4  # estimated length of a spoken caption


@dataclass(frozen=True, slots=True)
class Record:
    """An image of the plan.

    Attributes:
        sample: The sample as the source hands it over.
        captions: Cleaned captions, without those that hold no known word.
        tokens: Word indices of each caption, (T,) int32.
        class_id: Index of the class; a running index where the dataset has no classes.
        recordings: Recordings of these captions; empty where none are asked for.
        listed: True where the list of good silhouettes names the image; None where there is no list.
    """

    sample: Sample
    captions: tuple[str, ...]
    tokens: tuple[NDArray[np.int32], ...]
    class_id: int
    recordings: tuple[Recording, ...] = ()
    listed: bool | None = None


@dataclass(frozen=True, slots=True)
class ShardPlan:
    """A shard to write; `plan` is the hash of everything that determines its bytes."""

    file: str
    split: str
    records: tuple[Record, ...]
    plan: str


@dataclass(frozen=True, slots=True)
class Plan:
    """The shards that `prepare` is going to write.

    Attributes:
        options: Settings that were asked for.
        shard_images: Most images in a shard.
        shards: Shards in order, train first.
        silhouettes: "official", or the name of the estimate; None without silhouettes.
        bad: Records that cannot be used. Images that cannot be decoded are only found later.
    """

    source: Source
    options: PrepareOptions
    vocabulary: Vocabulary
    shard_images: int
    shards: tuple[ShardPlan, ...]
    crop_rule: str
    silhouettes: str | None
    bad: list[BadSample]

    @property
    def warnings(self) -> tuple[str, ...]:
        """Warnings about attributes that contradict each other."""
        samples = [record.sample for shard in self.shards for record in shard.records]
        rows = [sample.attributes for sample in samples if sample.attributes is not None]
        if not self.source.attribute_names:
            return ()
        found = contradictory_groups(np.stack(rows), self.source.attribute_names)
        said = ", ".join(f"{group} ({number:,})" for group, number in found.items())
        return (f"images with two values of an attribute that has one: {said}",) if said else ()

    @property
    def counts(self) -> dict[str, int]:
        """Images per split."""
        return split_counts((shard.split, len(shard.records)) for shard in self.shards)

    @property
    def bytes(self) -> int:
        """Estimated size of the shards for raw pixels of the usual 4:3 and four seconds of speech per caption."""
        pixels = sum(self.counts.values()) * image_bytes(self.options.image_size)
        if self.silhouettes is not None:
            pixels += pixels // 3
        return pixels + sum(self.utterances.values()) * clip_bytes(self.options.speech)

    @property
    def utterances(self) -> dict[str, int]:
        """Spoken captions per split."""
        spoken = self.options.speech
        return split_counts(
            (shard.split, _utterances(record, spoken)) for shard in self.shards for record in shard.records
        )

    @property
    def hash(self) -> str:
        """Hexadecimal sha256 of all shards' plans, of the class names and of the records left out."""
        listed = [[shard.file, shard.plan] for shard in self.shards]
        return _hash([listed, self.source.class_names, [sample.key for sample in self.bad]])


def split_counts(counted: Iterable[tuple[str, int]]) -> dict[str, int]:
    """Add up the numbers of each split, in the order in which the splits come."""
    counts: dict[str, int] = {}
    for split, number in counted:
        counts[split] = counts.get(split, 0) + number
    return counts


def read_silhouette_list(path: str | Path) -> frozenset[str]:
    """Read the names of images, one a line, with or without extension; empty lines are skipped.

    Raises:
        DataError: The file is missing, not UTF-8, or names no image.
    """
    path = Path(path)
    names = [name for line in read_text(path).split("\n") if (name := line.strip())]
    if not names:
        raise DataError(f"{path}: names no image", hint="write names as in images.txt, one a line")
    return frozenset(names) | {str(PurePosixPath(name).with_suffix("")) for name in names}


def image_bytes(image_size: int) -> int:
    """Return the bytes of a stored 4:3 image as raw pixels."""
    return stored_side(image_size) ** 2 * 4


def clip_bytes(speech: SpeechOptions | None) -> int:
    """Return the estimated bytes of a spoken caption."""
    if speech is None:
        return 0
    mel = CLIP_SECONDS * 1000 // speech.mel.hop_ms * speech.mel.bands * 2
    return mel + CLIP_SECONDS * (speech.mel.sample_rate or 22050) * 2 * speech.keep_audio


def _utterances(record: Record, speech: SpeechOptions | None) -> int:
    if speech is None:
        return 0
    return len(record.captions) * len(speech.voices) if speech.synthesizer else len(record.recordings)


def make_plan(source: Source, options: PrepareOptions | None = None, *, fewest_shards: int = 1) -> Plan:
    """Read the records of a source, without their pixels, and lay out the shards; nothing is written.

    Args:
        source: The raw dataset; its samples are consumed.
        options: Settings; None for the defaults.
        fewest_shards: Least number of shards. Shards are made shorter until there are as many, or one for each image.

    Raises:
        UsageError: There is a list of good silhouettes, but no silhouettes.
        DataError: The source holds no usable image, needs recordings that it does not have, or holds none of the images
            of the silhouette list.
    """
    options = options or PrepareOptions()
    samples, bad = _read_samples(source)
    vocabulary = options.vocabulary
    if vocabulary is None:
        vocabulary = Vocabulary.build(caption for sample in samples for caption in sample.captions)
    by_split, mute = _encode_all(samples, vocabulary, options)
    bad += mute
    records = [record for block in by_split.values() for record in block]
    if not records:
        raise _nothing_usable(source.name, bad, options)
    silhouettes = _silhouette_method(samples)
    _check_silhouette_list(source.name, silhouettes, records, options)
    shard_images = options.shard_images or _usual_length(records, options)
    shard_images = _shorter(shard_images, fewest_shards, [len(block) for block in by_split.values()])
    boxed = any(record.sample.box is not None for record in records)
    crop_rule = CROP_RULES[options.crop] if boxed else NO_CROP
    common = [
        *(SCHEMA_VERSION, options.image_size, options.codec, crop_rule, vocabulary.hash),
        list(source.attribute_names),
        *([options.speech.entry({}).model_dump(mode="json")] if options.speech else []),
        *([silhouettes] if silhouettes else []),
    ]
    shards = _lay_out(by_split, shard_images, common)
    return Plan(source, options, vocabulary, shard_images, shards, crop_rule, silhouettes, bad)


def _nothing_usable(name: str, bad: Sequence[BadSample], options: PrepareOptions) -> DataError:
    first = f"; the first: {bad[0].key}: {bad[0].reason}" if bad else ""
    return DataError(
        f"{name}: no usable image among {len(bad)} records{first}",
        hint="name the folder of recordings with --speech-root" if _needs_recordings(options) else None,
    )


def _read_samples(source: Source) -> tuple[list[Sample], list[BadSample]]:
    """Return the samples of a source that are usable as far as their records tell, and the others."""
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
    return samples, bad


def _fault(sample: Sample, source: Source, keys: set[str]) -> str | None:
    """Return the reason why a record is unusable, without a look at its image; None where it is fine."""
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


def _encode_all(
    samples: Sequence[Sample], vocabulary: Vocabulary, options: PrepareOptions
) -> tuple[dict[str, list[Record]], list[BadSample]]:
    """Return the records of each split, and the samples whose captions cannot be used."""
    by_split: dict[str, list[Record]] = {}
    bad: list[BadSample] = []
    for index, sample in enumerate(samples):
        record = _encode(sample, vocabulary, index, options)
        if isinstance(record, BadSample):
            bad.append(record)
        else:
            by_split.setdefault(sample.split, []).append(record)
    return by_split, bad


def _needs_recordings(options: PrepareOptions) -> bool:
    return options.speech is not None and options.speech.synthesizer is None


def _encode(
    sample: Sample, vocabulary: Vocabulary, index: int, options: PrepareOptions
) -> Record | BadSample:
    encoded = [(clean_caption(caption), vocabulary.encode(tokenize(caption))) for caption in sample.captions]
    usable = [number for number, (_, tokens) in enumerate(encoded) if len(tokens)]
    if not usable:
        said = " / ".join(caption for caption, _ in encoded if caption)[:80]
        return BadSample(sample.key, f"no known word in its captions ({said})" if said else "no caption")
    recordings: list[Recording] = []
    if _needs_recordings(options):
        mute = set(usable) - {recording.caption for recording in sample.recordings}
        if mute:
            first = encoded[min(mute)][0][:60]
            which = f"caption {min(mute) + 1} of {len(encoded)} ({first!r})"
            others = f", nor are {len(mute) - 1} others" if len(mute) > 1 else ""
            return BadSample(sample.key, f"{which} is not recorded{others}")
        numbers = {old: new for new, old in enumerate(usable)}
        recordings = [
            replace(recording, caption=numbers[recording.caption])
            for recording in sorted(sample.recordings, key=lambda recording: recording.caption)
            if recording.caption in numbers
        ]
    captions, tokens = zip(*(encoded[number] for number in usable), strict=True)
    class_id = index if sample.class_id is None else sample.class_id
    listed = None if options.silhouette_list is None else sample.key in options.silhouette_list
    return Record(sample, captions, tokens, class_id, tuple(recordings), listed)


def _silhouette_method(samples: Sequence[Sample]) -> str | None:
    """Return the manifest's name of the samples' silhouettes; None where there are none."""
    first = next((sample.silhouette for sample in samples if sample.silhouette is not None), None)
    if first is None:
        return None
    if isinstance(first, PartLocations):
        from gancli.data.silhouette_estimate import METHOD  # imports scipy, which takes half a second

        return METHOD
    return "official"


def _check_silhouette_list(
    name: str, silhouettes: str | None, records: Sequence[Record], options: PrepareOptions
) -> None:
    if options.silhouette_list is None:
        return
    if not any(record.listed for record in records):
        raise DataError(
            f"{name}: the silhouette list names none of its images",
            hint="write names as in images.txt, one a line, with or without extension",
        )
    if silhouettes is None:
        raise UsageError(
            f"{name}: there is a silhouette list, but no silhouettes are asked for",
            hint="say --silhouettes official or --silhouettes estimate beside --silhouette-list",
        )


def _usual_length(records: Sequence[Record], options: PrepareOptions) -> int:
    """Return the number of images that make a shard of about 256 MiB."""
    spoken = sum(_utterances(record, options.speech) for record in records) * clip_bytes(options.speech)
    return max(1, SHARD_BYTES // (image_bytes(options.image_size) + spoken // len(records)))


def _shorter(shard_images: int, fewest: int, images: Sequence[int]) -> int:
    """Return the greatest length of a shard, up to `shard_images`, that gives at least `fewest` shards.

    `images` is the number of images of each split.
    """
    longest = min(shard_images, max(images))
    enough = bisect_right(
        range(1, longest + 1), -fewest, key=lambda length: -sum(math.ceil(count / length) for count in images)
    )
    return shard_images if enough == longest else max(1, enough)


def _lay_out(
    by_split: Mapping[str, Sequence[Record]], shard_images: int, common: Sequence[object]
) -> tuple[ShardPlan, ...]:
    """Divide the records of each split into shards of equal length; `common` enters the hash of every shard."""
    shards: list[ShardPlan] = []
    for split, records in sorted(by_split.items(), key=lambda item: (item[0] != "train", item[0])):
        number = math.ceil(len(records) / shard_images)
        bounds = [len(records) * index // number for index in range(number + 1)]
        for index, (start, stop) in enumerate(pairwise(bounds)):
            block = tuple(records[start:stop])
            plan = _hash([common, [_describe(record) for record in block]])
            shards.append(ShardPlan(f"{split}-{index:05d}-of-{number:05d}.h5", split, block, plan))
    return tuple(shards)


def _describe(record: Record) -> list[object]:
    """Return everything that a record's bytes in the shard depend on; of files only their names and sizes."""
    sample = record.sample
    box = sample.box and [sample.box.x, sample.box.y, sample.box.width, sample.box.height]
    described = [sample.key, sample.image.name, _size(sample.image), record.captions, record.class_id, box]
    described.append(
        None if sample.attributes is None else np.asarray(sample.attributes, np.float32).tobytes().hex()
    )
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
        return -1  # decoding reports the reason


def _hash(content: object) -> str:
    return hashlib.sha256(json.dumps(content, separators=(",", ":")).encode()).hexdigest()
