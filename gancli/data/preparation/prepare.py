"""`prepare`: a raw dataset, as one of `gancli.data.sources` reads it, becomes a dataset folder of shards.

Two passes. The first takes the source's records without their pixels and makes the plan: vocabulary, which
images go into which shard. The second decodes, crops and resizes in worker processes, speaks the captions where
that is asked for, and writes one shard after the other. Every shard is a function of the plan alone, so any
number of jobs gives the same bytes, and a run that was killed is continued by the same command: a shard under
its final name is complete and is kept. For the same reason several machines can each make a part of the shards,
also in one folder at the same time; `finish` then needs no more than the shards and the outline beside them.
"""

from __future__ import annotations

import csv
import io
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gancli.atomic import atomic_file
from gancli.data import shards
from gancli.data.images import Crop
from gancli.data.manifest import (
    MANIFEST,
    SCHEMA_VERSION,
    VOCABULARY,
    Codec,
    Manifest,
    SilhouetteEntry,
    SplitEntry,
    TokenizerEntry,
    read_manifest,
    stored_side,
    write_manifest,
)
from gancli.data.preparation.plan import Part, Record, make_plan
from gancli.data.preparation.plan_file import OUTLINE, Outline, read_outline, write_outline
from gancli.data.preparation.workers import Renderer, Result, SpeechOptions, Work
from gancli.data.shards import ShardSummary, ShardWriter
from gancli.data.silhouettes import Fault
from gancli.data.source import BadSample, Source
from gancli.data.text import RULE, Vocabulary
from gancli.errors import DataError, RunError, UsageError
from gancli.version import __version__

REJECTED = "rejected.csv"


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
        silhouettes: What the images' silhouettes are and how many have which fault; None where there are none.
        part: What was asked for where it was not all; the counts are of this part then, there is no manifest yet, and
            records without a usable caption or box count as bad ones of the first part.
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
    silhouettes: SilhouetteEntry | None = None
    part: Part | None = None
    warnings: tuple[str, ...] = ()

    @classmethod
    def of(
        cls,
        out: Path,
        manifest: Manifest,
        bad: list[BadSample],
        warnings: tuple[str, ...],
        *,
        reused_shards: int,
        images_per_second: float = 0.0,
        already_complete: bool = False,
    ) -> PrepareReport:
        """What there is to say of a finished folder."""
        return cls(
            out=out,
            counts={name: split.images for name, split in manifest.splits.items()},
            captions={name: split.captions for name, split in manifest.splits.items()},
            utterances=manifest.speech.utterances if manifest.speech else {},
            bad=bad,
            vocabulary=manifest.tokenizer.words,
            images_per_second=images_per_second,
            reused_shards=reused_shards,
            already_complete=already_complete,
            silhouettes=manifest.silhouettes,
            warnings=warnings,
        )


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
    silhouette_list: Collection[str] | None = None,
    part: Part | None = None,
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
        shard_images: Most images in a shard; None for what the folder was begun with, in a new one as in `make_plan`.
        vocabulary, speech, crop, silhouette_list: As in `make_plan`.
        part: Write only the shards of these parts and no manifest; `merge_parts` makes it when all parts are there, and
            says what cannot be used. There are at least as many shards as parts, as far as images reach.
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
    refuse_foreign(out)
    if shard_images is None and part is None:
        shard_images = _shard_images_there(out)
    plan = make_plan(
        source,
        image_size=image_size,
        codec=codec,
        shard_images=shard_images,
        fewest_shards=part.of if part else 1,
        vocabulary=vocabulary,
        speech=speech,
        crop=crop,
        silhouette_list=silhouette_list,
    )
    outline = Outline.of(plan, part.of if part else None)
    if finished := _finished(out, outline):
        bad = read_rejected(out) if finished.rejected else []
        report = PrepareReport.of(
            out, finished, bad, plan.warnings, reused_shards=len(plan.shards), already_complete=True
        )
        return replace(report, part=part)

    begin(out, outline)
    if part is None:  # another part may be writing there
        remove_leftovers(out)
    planned = plan.shards if part is None else part.choose(plan.shards)
    started, decoded, reused, done = time.perf_counter(), 0, 0, 0
    total = sum(len(shard.records) for shard in planned)
    written: list[ShardSummary | Future[ShardSummary]] = []
    keep_audio = speech is not None and speech.keep_audio
    found = [shards.shard_summary(out / shard.file, shard.plan) for shard in planned]
    # One stream for all shards: the workers go on while a shard is written.
    work = (
        Work(record.sample, record.captions, record.recordings, record.listed)
        for shard, summary in zip(planned, found, strict=True)
        if summary is None
        for record in shard.records
    )
    with (
        Renderer(stored_side(image_size), codec, jobs, crop, speech) as renderer,
        ThreadPoolExecutor(1) as disk,
    ):
        results = renderer.render(work)
        pending: Future[ShardSummary] | None = None
        for shard, summary in zip(planned, found, strict=True):
            if summary is not None:
                reused += 1
                written.append(summary)
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
                    silhouettes=plan.silhouettes is not None,
                )
                for record in shard.records:
                    _add(writer, record, next(results))
                    decoded += 1
                    done += 1
                    if progress:
                        progress(done, total)
                if pending:
                    pending.result()  # so that no more than two shards are in memory
                pending = disk.submit(writer.write, out / shard.file)
                if jobs == 1:
                    pending.result()
                written.append(pending)
    summaries = [one.result() if isinstance(one, Future) else one for one in written]
    seconds = time.perf_counter() - started
    speed = decoded / seconds if decoded else 0.0

    if part is None:
        manifest, bad = finish(out, outline, summaries, skip_bad=skip_bad)
        return PrepareReport.of(
            out, manifest, bad, plan.warnings, reused_shards=reused, images_per_second=speed
        )
    made = _splits([shard.split for shard in planned], summaries)
    bad = [BadSample(*entry) for entry in outline.bad] if part.first == 1 else []
    return PrepareReport(
        out=out,
        counts={name: split.entry.images for name, split in made.items()},
        captions={name: split.entry.captions for name, split in made.items()},
        utterances={name: split.utterances for name, split in made.items()} if speech else {},
        bad=bad + [sample for summary in summaries for sample in summary.rejected],
        vocabulary=len(plan.vocabulary),
        images_per_second=speed,
        reused_shards=reused,
        already_complete=False,
        silhouettes=_silhouette_entry(plan.silhouettes, made),
        part=part,
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
        rendered.silhouette,
    )


@dataclass(frozen=True, slots=True)
class _Split:
    """What a split's shards come to."""

    entry: SplitEntry
    utterances: int
    faults: NDArray[np.uint8]


def _splits(names: Sequence[str], summaries: Sequence[ShardSummary]) -> dict[str, _Split]:
    """The splits of shards, in their order; `names` are those of the shards' splits."""
    grouped: dict[str, list[ShardSummary]] = {}
    for name, summary in zip(names, summaries, strict=True):
        grouped.setdefault(name, []).append(summary)
    return {
        name: _Split(
            entry=SplitEntry(
                images=sum(summary.entry.images for summary in listed),
                captions=sum(summary.entry.captions for summary in listed),
                shards=tuple(summary.entry for summary in listed),
            ),
            utterances=sum(summary.utterances for summary in listed),
            faults=np.array([bits for summary in listed for bits in summary.faults], np.uint8),
        )
        for name, listed in grouped.items()
    }


def _silhouette_entry(method: str | None, splits: Mapping[str, _Split]) -> SilhouetteEntry | None:
    """What the manifest says of the silhouettes of each split."""
    if method is None:
        return None
    return SilhouetteEntry(
        method=method,
        usable={name: int((split.faults == 0).sum()) for name, split in splits.items()},
        faults={
            name: {
                str(fault.name).lower(): number
                for fault in Fault
                if (number := int((split.faults & fault.value > 0).sum()))
            }
            for name, split in splits.items()
        },
    )


def finish(
    out: Path,
    outline: Outline,
    summaries: Sequence[ShardSummary],
    *,
    skip_bad: bool,
    mend: str = "mend them, or run the same command with --skip-bad to leave them out; finished shards are kept",
) -> tuple[Manifest, list[BadSample]]:
    """Write the vocabulary, the list of rejected images and the manifest of a folder whose shards are all there.

    Args:
        summaries: Of all shards of the outline, in its order.
        mend: What to do about bad images.

    Returns:
        The manifest, and all images left out.

    Raises:
        DataError: There are bad images and not `skip_bad`, or no usable image at all.
    """
    bad = [BadSample(*entry) for entry in outline.bad]
    bad += [sample for summary in summaries for sample in summary.rejected]
    _write_rejected(out, bad)
    if bad and not skip_bad:
        raise _bad_images(out, bad, sum(outline.counts.values()) + len(outline.bad), mend)
    splits = _splits([shard.split for shard in outline.shards], summaries)
    if not any(split.entry.images for split in splits.values()):
        raise DataError(f"{outline.name}: none of its {len(bad)} images can be used, see {REJECTED}")
    vocabulary = Vocabulary(outline.vocabulary)
    utterances = {name: split.utterances for name, split in splits.items()}
    manifest = Manifest(
        schema_version=SCHEMA_VERSION,
        name=outline.name,
        release=outline.release,
        split_rule=outline.split_rule,
        crop_rule=outline.crop_rule,
        image_size=outline.image_size,
        codec=outline.codec,
        shard_images=outline.shard_images,
        splits={name: split.entry for name, split in splits.items()},
        class_names=outline.class_names or None,
        attribute_names=outline.attribute_names,
        tokenizer=TokenizerEntry(rule=RULE, vocabulary_hash=vocabulary.hash, words=len(vocabulary)),
        rejected=len(bad),
        source=outline.source,
        plan=outline.plan,
        gancli_version=__version__,
        speech=outline.speech and outline.speech.model_copy(update={"utterances": utterances}),
        attribute_encoding=outline.attribute_encoding,
        silhouettes=_silhouette_entry(outline.silhouettes, splits),
    )
    vocabulary.save(out / VOCABULARY)
    write_manifest(out, manifest)
    (out / OUTLINE).unlink(missing_ok=True)
    return manifest, bad


def refuse_foreign(out: Path) -> None:
    """Refuses an output path that holds something other than a dataset, finished or begun.

    Raises:
        UsageError: It is a file, or a folder of other things.
    """
    if out.exists() and not out.is_dir():
        raise UsageError(f"{out}: is a file, the dataset needs a folder", hint="choose another --out")
    # In this order: other parts may begin and finish the folder meanwhile, and the outline is the first to come and
    # goes only when the manifest is there
    foreign = out.is_dir() and any(not file.name.endswith(".tmp") for file in out.iterdir())
    if foreign and not (out / OUTLINE).exists() and not (out / MANIFEST).exists():
        raise UsageError(
            f"{out}: is not empty and not a dataset folder",
            hint="choose a folder that is new or empty as --out",
        )


def _shard_images_there(out: Path) -> int | None:
    """The length of shards that a folder was begun with; None in a new one."""
    if (out / MANIFEST).exists():
        return read_manifest(out).shard_images
    outline = read_outline(out)
    return outline.shard_images if outline else None


def _finished(out: Path, outline: Outline) -> Manifest | None:
    """The manifest of a folder that is finished and as the outline says; None where there is work to do.

    Raises:
        UsageError: It is finished or begun with other settings.
    """
    manifest = read_manifest(out) if (out / MANIFEST).exists() else None
    there = manifest or read_outline(out)
    # Of an unfinished folder the raw data may change, for example when an image was mended
    differences = outline.differences(there, raw_data=manifest is not None) if there else []
    if differences:
        raise UsageError(
            f"{out}: holds a dataset of other settings\n  " + "\n  ".join(differences),
            hint="choose another --out, ask for the settings it has, or delete the folder",
        )
    return manifest


def begin(out: Path, outline: Outline) -> None:
    """Make the folder with its outline.

    Raises:
        RunError: The system refuses.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(f"{out}: cannot be made ({error.strerror})", hint="choose another --out") from error
    write_outline(out, outline)


def remove_leftovers(out: Path) -> None:
    """Remove what killed processes had half written."""
    for leftover in out.glob(".*.tmp"):
        leftover.unlink(missing_ok=True)


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


def read_rejected(out: Path) -> list[BadSample]:
    """The images that a finished folder leaves out."""
    try:
        with open(out / REJECTED, newline="", encoding="utf-8") as file:
            return [BadSample(row["key"], row["reason"]) for row in csv.DictReader(file)]
    except (OSError, KeyError):  # somebody tidied up; the dataset itself is complete without it
        return []


def _bad_images(out: Path, bad: Sequence[BadSample], total: int, mend: str) -> DataError:
    lines = [f"{sample.key}: {sample.reason}" for sample in bad[:10]]
    if len(bad) > 10:
        lines.append(f"and {len(bad) - 10} more")
    return DataError(
        f"{len(bad)} of {total} images cannot be used (all in {out / REJECTED})\n  " + "\n  ".join(lines),
        hint=mend,
    )
