"""`prepare`: a raw dataset, as one of `gancli.data.sources` reads it, becomes a dataset folder of shards.

Two passes. The first takes the source's records without their pixels and makes the plan: vocabulary, which
images go into which shard. The second decodes, crops and resizes in worker processes, speaks the captions where
that is asked for, and writes one shard after the other. Every shard is a function of the plan alone, so any
number of jobs gives the same bytes, and a run that was killed is continued by the same command: a shard under
its final name is complete and is kept.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import math
import re
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gancli import __version__
from gancli.data import shards
from gancli.data.images import CROP_RULES, Crop
from gancli.data.manifest import (
    MANIFEST,
    SCHEMA_VERSION,
    VOCABULARY,
    Codec,
    Manifest,
    SegmentationEntry,
    ShardEntry,
    SpeechEntry,
    SplitEntry,
    TokenizerEntry,
    read_manifest,
    stored_side,
    write_manifest,
)
from gancli.data.rendering import Renderer, Result, SpeechOptions, Work
from gancli.data.sample import BadSample, PartLocations, Recording, Sample, Source
from gancli.data.segmentation import METHOD, Fault
from gancli.data.shards import ShardWriter
from gancli.data.sources.files import read_text
from gancli.data.text import RULE, Vocabulary, clean_caption, tokenize
from gancli.errors import DataError, RunError, UsageError
from gancli.files import atomic_file

SHARD_BYTES = 2**28  # about 256 MiB of raw pixels a shard
CLIP_SECONDS = 4  # of a spoken caption, as an estimate
REJECTED = "rejected.csv"
PLAN = ".plan.json"  # the settings of an unfinished folder


@dataclass(frozen=True, slots=True)
class PrepareReport:
    """What `prepare` did.

    Attributes:
        out: The dataset folder.
        counts: Images per split.
        captions: Captions per split.
        utterances: Spoken captions per split; empty where they are not spoken.
        bad: Images left out, with the reason; also in rejected.csv.
        vocabulary: Entries of the vocabulary, with index 0.
        images_per_second: Of the images decoded in this run; 0 where none was.
        reused_shards: Shards that an earlier run had finished.
        already_complete: The folder was finished before, nothing was written.
        segmentations: What the images' segmentations are and how many have which fault; None where there are none.
        warnings: What the user should know of the source: attributes that contradict each other.
    """

    out: Path
    counts: dict[str, int]
    captions: dict[str, int]
    utterances: dict[str, int]
    bad: list[BadSample]
    vocabulary: int
    images_per_second: float
    reused_shards: int
    already_complete: bool
    segmentations: SegmentationEntry | None = None
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Record:
    """An image of the plan: its sample with captions cleaned and those without a known word left out.

    `recordings` count these captions; there are none where recordings are not asked for. `listed` says whether the
    list of good segmentations names the image; None where there is no list.
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
        speech: How captions are spoken; None where they are not.
        segmentations: Where segmentations come from: "official", or how they are estimated; None where there are none.
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
    bad: list[BadSample] = field(default_factory=list)
    segmentations: str | None = None
    speech: SpeechOptions | None = None

    @property
    def warnings(self) -> tuple[str, ...]:
        """Attributes that contradict each other."""
        from gancli.data.attributes import contradictory_groups

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
        if self.segmentations is not None:
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

    def settings(self) -> dict[str, Any]:
        """What a second run has to ask for again, under the manifest's names; speech comes on top."""
        return {
            "name": self.source.name,
            "image_size": self.image_size,
            "codec": self.codec,
            "shard_images": self.shard_images,
            "crop": CROP_RULES[self.crop],
        }


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
    """Of a picture of 4:3 as raw pixels."""
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
    vocabulary: Vocabulary | None = None,
    speech: SpeechOptions | None = None,
    crop: Crop = "stackgan",
    mask_list: Collection[str] | None = None,
) -> Plan:
    """Read the source's records (no pixels) and lay out the shards; nothing is written.

    Args:
        source: The raw dataset; its samples are consumed.
        image_size: Side of the largest crop in training, pixels; at least 4.
        shard_images: Most images in a shard; None for about 256 MiB of raw pixels and speech.
        vocabulary: Encode captions with this one, for example that of an existing encoder; None builds it
            from all captions, of every split, in the order of the source.
        speech: How captions are spoken. Without a synthesizer the source has to bring a recording of each.
        crop: What is cut out around a box, see `images.crop_window`.
        mask_list: Names of the images whose segmentations are good; None lets the quality filter judge.

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
        listed = None if mask_list is None else sample.key in mask_list
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
    if mask_list is not None and not any(record.listed for block in by_split.values() for record in block):
        raise DataError(
            f"{source.name}: the list of masks names none of its images",
            hint="write names as in images.txt, one a line, with or without extension",
        )
    segmented = [sample.segmentation for sample in samples if sample.segmentation is not None]
    segmentations = None
    if segmented:
        segmentations = METHOD if isinstance(segmented[0], PartLocations) else "official"
    elif mask_list is not None:
        raise UsageError(
            f"{source.name}: a list of masks is given, but no masks are asked for",
            hint="say --segmentations official or --segmentations estimate beside --mask-list",
        )
    if shard_images is None:
        records = [record for block in by_split.values() for record in block]
        spoken = sum(_utterances(record, speech) for record in records) * clip_bytes(speech)
        shard_images = max(1, SHARD_BYTES // (image_bytes(image_size) + spoken // len(records)))

    common: list[Any] = [
        SCHEMA_VERSION,
        image_size,
        codec,
        CROP_RULES[crop],
        vocabulary.hash,
        list(source.attribute_names),
    ]
    if speech is not None:
        common.append(speech.entry({}).model_dump(mode="json"))
    if segmentations is not None:
        common.append(segmentations)
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
        bad=bad,
        segmentations=segmentations,
        speech=speech,
    )


def _fault(sample: Sample, source: Source, keys: set[str]) -> str | None:
    """What makes a record unusable, as far as it shows without its picture; None if nothing does."""
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
    if isinstance(sample.segmentation, PartLocations):
        described.append([sample.segmentation.points, record.listed])
    elif sample.segmentation is not None:
        described.append([_size(sample.segmentation), record.listed])
    return described


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return -1  # decoding says what is wrong


def _hash(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, separators=(",", ":")).encode()).hexdigest()


def prepare(
    source: Source,
    out: Path,
    *,
    image_size: int = 256,
    codec: Codec = "raw",
    jobs: int = 1,
    skip_bad: bool = False,
    shard_images: int | None = None,
    vocabulary: Vocabulary | None = None,
    speech: SpeechOptions | None = None,
    crop: Crop = "stackgan",
    mask_list: Collection[str] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> PrepareReport:
    """Write the dataset folder of a source; continue it where an earlier run was stopped.

    Args:
        source: The raw dataset; its samples are consumed.
        out: The folder to make.
        image_size: Side of the largest crop in training; stored images are larger (`stored_side`).
        codec: "raw" pixels, or "jpeg" (quality 95, no chroma subsampling): a sixth of the space, slower.
        jobs: Processes that decode and speak. More than 1 starts fresh interpreters, so a script needs the usual
            `if __name__ == "__main__":`.
        skip_bad: Leave out images that cannot be used instead of failing at the end.
        shard_images, vocabulary, speech, crop, mask_list: As in `make_plan`.
        progress: Called with (images done, images in all).

    Returns:
        Counts, bad images and speed.

    Raises:
        UsageError: `out` is another dataset, or one of other settings; the message names the differences.
        DataError: There are bad images and not `skip_bad` (all of them are in rejected.csv, what was written
            is kept for a second run), or no usable image at all.
        RunError: The disk is full or a worker died; a second run continues.
    """
    out = Path(out)
    if jobs < 1:
        raise UsageError(f"--jobs {jobs}: at least 1")
    plan = make_plan(
        source,
        image_size=image_size,
        codec=codec,
        shard_images=shard_images,
        vocabulary=vocabulary,
        speech=speech,
        crop=crop,
        mask_list=mask_list,
    )
    finished = _existing(out, plan)
    if finished is not None:
        counts = {name: split.images for name, split in finished.splits.items()}
        captions = {name: split.captions for name, split in finished.splits.items()}
        bad = _read_rejected(out) if finished.rejected else []
        utterances = finished.speech.utterances if finished.speech else {}
        return PrepareReport(
            out,
            counts,
            captions,
            utterances,
            bad,
            len(plan.vocabulary),
            0.0,
            len(plan.shards),
            True,
            finished.segmentations,
            plan.warnings,
        )

    _begin(out, plan)
    started, decoded, reused, done = time.perf_counter(), 0, 0, 0
    total = sum(len(shard.records) for shard in plan.shards)
    entries: dict[str, list[ShardEntry]] = {split: [] for split in plan.counts}
    bad = list(plan.bad)
    utterances = dict.fromkeys(plan.counts, 0)
    faults: dict[str, list[int]] = {split: [] for split in plan.counts}
    keep_audio = speech is not None and speech.keep_audio
    with Renderer(stored_side(image_size), codec, jobs, crop, speech) as renderer:
        for shard in plan.shards:
            summary = shards.shard_summary(out / shard.file, shard.plan)
            if summary is not None:
                reused += 1
                done += len(shard.records)
                if progress:
                    progress(done, total)
            else:
                writer = ShardWriter(
                    codec,
                    shard.plan,
                    len(source.attribute_names),
                    speech=speech is not None,
                    audio=keep_audio,
                    segmentations=plan.segmentations is not None,
                )
                work = (
                    Work(record.sample, record.captions, record.recordings, record.listed)
                    for record in shard.records
                )
                for record, rendered in zip(shard.records, renderer.render(work), strict=True):
                    _add(writer, record, rendered)
                    decoded += 1
                    done += 1
                    if progress:
                        progress(done, total)
                summary = writer.write(out / shard.file)
            entries[shard.split].append(summary.entry)
            utterances[shard.split] += summary.utterances
            faults[shard.split] += summary.faults
            bad += summary.rejected
    seconds = time.perf_counter() - started

    _write_rejected(out, bad)
    if bad and not skip_bad:
        raise _bad_images(out, bad, total + len(plan.bad))
    manifest = _manifest(
        plan,
        entries,
        len(bad),
        speech.entry(utterances) if speech else None,
        _segmentation_entry(plan.segmentations, faults),
    )
    plan.vocabulary.save(out / VOCABULARY)
    write_manifest(out, manifest)
    (out / PLAN).unlink(missing_ok=True)
    return PrepareReport(
        out=out,
        counts={name: split.images for name, split in manifest.splits.items()},
        captions={name: split.captions for name, split in manifest.splits.items()},
        utterances=utterances if speech else {},
        bad=bad,
        vocabulary=len(plan.vocabulary),
        images_per_second=decoded / seconds if decoded else 0.0,
        reused_shards=reused,
        already_complete=False,
        segmentations=manifest.segmentations,
        warnings=plan.warnings,
    )


def _add(writer: ShardWriter, record: Record, rendered: Result | str) -> None:
    if isinstance(rendered, str):
        writer.rejected.append(BadSample(record.sample.key, rendered))
        return
    writer.add(
        record.sample.key,
        rendered.image,
        rendered.shape,
        record.captions,
        record.tokens,
        record.class_id,
        record.sample.attributes,
        rendered.utterances,
        rendered.segmentation,
    )


def _segmentation_entry(method: str | None, faults: Mapping[str, Sequence[int]]) -> SegmentationEntry | None:
    """What the manifest says of the segmentations of each split."""
    if method is None:
        return None
    counts = {split: np.array(bits, np.uint8) for split, bits in faults.items()}
    return SegmentationEntry(
        method=method,
        usable={split: int((bits == 0).sum()) for split, bits in counts.items()},
        faults={
            split: {
                str(fault.name).lower(): number
                for fault in Fault
                if (number := int((bits & fault.value > 0).sum()))
            }
            for split, bits in counts.items()
        },
    )


def _manifest(
    plan: Plan,
    entries: dict[str, list[ShardEntry]],
    rejected: int,
    speech: SpeechEntry | None,
    segmentations: SegmentationEntry | None,
) -> Manifest:
    splits = {
        name: SplitEntry(
            images=sum(entry.images for entry in listed),
            captions=sum(entry.captions for entry in listed),
            shards=tuple(listed),
        )
        for name, listed in entries.items()
    }
    if not any(split.images for split in splits.values()):
        raise DataError(f"{plan.source.name}: none of its {rejected} images can be used, see {REJECTED}")
    return Manifest(
        schema_version=SCHEMA_VERSION,
        **plan.settings(),
        splits=splits,
        class_names=plan.source.class_names or None,
        attribute_names=plan.source.attribute_names,
        tokenizer=TokenizerEntry(rule=RULE, vocabulary_hash=plan.vocabulary.hash, words=len(plan.vocabulary)),
        rejected=rejected,
        source=dict(sorted(plan.source.fingerprint.items())),
        plan=plan.hash,
        gancli_version=__version__,
        speech=speech,
        attribute_encoding=plan.source.attribute_encoding or None,
        segmentations=segmentations,
    )


def refuse_foreign(out: Path) -> None:
    """Refuses an output path that holds something other than a dataset, finished or begun.

    Raises:
        UsageError: It is a file, or a folder of other things.
    """
    if out.exists() and not out.is_dir():
        raise UsageError(f"{out}: is a file, the dataset needs a folder", hint="choose another --out")
    begun = (out / MANIFEST).exists() or (out / PLAN).exists()
    if out.is_dir() and not begun and any(not file.name.endswith(".tmp") for file in out.iterdir()):
        raise UsageError(
            f"{out}: is not empty and not a dataset folder",
            hint="choose a folder that is new or empty as --out",
        )


def _existing(out: Path, plan: Plan) -> Manifest | None:
    """The manifest of a folder that is finished and as the plan asks; None where there is work to do."""
    refuse_foreign(out)
    if (out / MANIFEST).exists():
        manifest = read_manifest(out)
        there = {
            **manifest.model_dump(),
            "attribute_encoding": manifest.attribute_encoding or "none",
            "segmentations": manifest.segmentations.method if manifest.segmentations else "none",
            **_speech_settings(manifest.speech),
        }
        differences = _differences(there, plan)
        if manifest.tokenizer.vocabulary_hash != plan.vocabulary.hash:
            differences.append(
                f"vocabulary: {manifest.tokenizer.words} words with hash "
                f"{manifest.tokenizer.vocabulary_hash[:12]} there, "
                f"{len(plan.vocabulary)} with {plan.vocabulary.hash[:12]} asked for"
            )
        counts = {
            name: sum(entry.images for entry in split.shards) for name, split in manifest.splits.items()
        }
        if manifest.rejected == len(plan.bad) and counts != plan.counts:
            differences.append(f"images: {counts} there, {plan.counts} asked for")
        if not differences and manifest.plan != plan.hash:
            differences.append(
                "source: its images, captions, recordings, boxes, classes or attributes have changed since"
            )
        _refuse(out, differences)
        return manifest
    if (out / PLAN).exists():
        try:
            there = json.loads((out / PLAN).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise DataError(
                f"{out / PLAN}: cannot be read ({error})", hint=f"delete {out} and run again"
            ) from error
        _refuse(out, _differences(there, plan))
    return None


def _asked(plan: Plan) -> dict[str, Any]:
    """All settings of a plan."""
    return {
        **plan.settings(),
        "attribute_encoding": plan.source.attribute_encoding or "none",
        "segmentations": plan.segmentations or "none",
        **_speech_settings(plan.speech.entry({}) if plan.speech else None),
    }


def _speech_settings(entry: SpeechEntry | None) -> dict[str, Any]:
    """What a second run has to ask for again about speech, one level deep, as JSON gives it back."""
    if entry is None:
        return {"speech": "none"}
    return {
        "speech": f"{entry.backend} {entry.version}".strip(),
        "voices": list(entry.voices),
        "speeds": list(entry.speeds),
        "keep_audio": entry.audio,
        **entry.mel.model_dump(),
    }


def _differences(there: Mapping[str, Any], plan: Plan) -> list[str]:
    """A line for every setting that is asked for and not there; `there` may lack those added since."""
    asked = _asked(plan)
    wrong = [name for name, value in asked.items() if there.get(name, "none") != value]
    if "speech" in wrong and "none" in (there.get("speech", "none"), asked["speech"]):
        wrong = [
            name for name in wrong if name == "speech" or name in plan.settings()
        ]  # its details say no more
    if len(wrong) > 1 and "shard_images" in wrong:
        wrong.remove("shard_images")  # follows from the others, unless it was asked for
    return [f"{name}: {there.get(name, 'none')} there, {asked[name]} asked for" for name in wrong]


def _refuse(out: Path, differences: list[str]) -> None:
    if differences:
        raise UsageError(
            f"{out}: holds a dataset of other settings\n  " + "\n  ".join(differences),
            hint="choose another --out, ask for the settings it has, or delete the folder",
        )


def _begin(out: Path, plan: Plan) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
        for leftover in out.glob(".*.tmp"):
            leftover.unlink(missing_ok=True)
    except OSError as error:
        raise RunError(f"{out}: cannot be made ({error.strerror})", hint="choose another --out") from error
    with atomic_file(out / PLAN) as temporary:
        temporary.write_text(json.dumps(_asked(plan), indent=1) + "\n", encoding="utf-8")


def _write_rejected(out: Path, bad: Sequence[BadSample]) -> None:
    if not bad:
        (out / REJECTED).unlink(missing_ok=True)
        return
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(["key", "reason"])
    rows.writerows([sample.key, sample.reason] for sample in bad)
    with atomic_file(out / REJECTED) as temporary:
        temporary.write_bytes(text.getvalue().encode("utf-8", "backslashreplace"))  # names may not be UTF-8


def _read_rejected(out: Path) -> list[BadSample]:
    try:
        with open(out / REJECTED, newline="", encoding="utf-8") as file:
            return [BadSample(row["key"], row["reason"]) for row in csv.DictReader(file)]
    except (OSError, KeyError):  # somebody tidied up; the dataset itself is complete without it
        return []


def _bad_images(out: Path, bad: Sequence[BadSample], total: int) -> DataError:
    lines = [f"{sample.key}: {sample.reason}" for sample in bad[:10]]
    if len(bad) > 10:
        lines.append(f"and {len(bad) - 10} more")
    return DataError(
        f"{len(bad)} of {total} images cannot be used (all in {out / REJECTED})\n  " + "\n  ".join(lines),
        hint="mend them, or run the same command with --skip-bad to leave them out; finished shards are kept",
    )
