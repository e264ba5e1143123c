"""`prepare`: a raw dataset, as one of `gancli.data.sources` reads it, becomes a dataset folder of shards.

Two passes. The first takes the source's records without their pixels and makes the plan: vocabulary, which
images go into which shard. The second decodes, crops and resizes in worker processes, speaks the captions where
that is asked for, and writes one shard after the other. Every shard is a function of the plan alone, so any
number of jobs gives the same bytes, and a run that was killed is continued by the same command: a shard under
its final name is complete and is kept.
"""

from __future__ import annotations

import csv
import io
import json
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gancli import __version__
from gancli.data import shards
from gancli.data.images import Crop
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
from gancli.data.plan import Plan, Record, make_plan
from gancli.data.rendering import Renderer, Result, SpeechOptions, Work
from gancli.data.sample import BadSample, Source
from gancli.data.segmentation import Fault
from gancli.data.shards import ShardWriter
from gancli.data.text import RULE, Vocabulary
from gancli.errors import DataError, RunError, UsageError
from gancli.files import atomic_file

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
