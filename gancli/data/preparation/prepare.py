"""`prepare`: a raw dataset, read by one of `gancli.data.sources`, becomes a dataset folder of shards.

The first pass reads the source's records without their pixels and makes the plan: the vocabulary, and the images of
each shard. The second pass decodes, crops and resizes in worker processes, speaks the captions if asked to, and writes
one shard after the other. The plan alone determines the bytes of a shard. So any number of jobs gives the same bytes,
the same command continues a run that was killed (a shard under its final name is complete and is kept), and several
machines can each make a part of the shards, even in one folder at the same time.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from gancli.data.manifest import MANIFEST, Manifest, read_manifest
from gancli.data.preparation.finish import (
    PrepareReport,
    begin,
    finish,
    read_rejected,
    refuse_foreign,
    remove_leftovers,
)
from gancli.data.preparation.options import Part, PrepareOptions
from gancli.data.preparation.plan import Plan, Record, ShardPlan, make_plan
from gancli.data.preparation.plan_file import Outline, read_outline
from gancli.data.preparation.workers import Rendered, Renderer
from gancli.data.shards import ShardSummary, ShardWriter, shard_summary
from gancli.data.source import BadSample, Source
from gancli.errors import UsageError
from gancli.progress import Progress, reporting


def prepare(
    source: Source,
    out: str | Path,
    options: PrepareOptions | None = None,
    *,
    jobs: int = 1,
    skip_bad: bool = False,
    part: Part | None = None,
    progress: Progress | bool = True,
) -> PrepareReport:
    """Write the dataset folder of a source; continue it where an earlier run was stopped.

    Args:
        source: The raw dataset; its samples are consumed.
        out: Dataset folder to write.
        options: Settings of the dataset; None for the defaults.
        jobs: Number of processes that decode and speak. More than 1 starts fresh interpreters, so a script needs the
            usual `if __name__ == "__main__":`.
        skip_bad: Leave out images that cannot be used instead of failing at the end.
        part: Parts to write, without a manifest; None for all shards. `merge_parts` makes the manifest when all parts
            are there, and reports the images that cannot be used. There are at least as many shards as parts, as far
            as the images reach.
        progress: Callback for (images done, images in all); True for a bar, False for silence.

    Raises:
        UsageError: `out` is another dataset, or one of other settings; the message names the differences.
        DataError: There are bad images and not `skip_bad` (rejected.csv lists all of them, and finished shards are
            kept for a second run), or there is no usable image at all.
        RunError: The disk is full or a worker died; a second run continues.
    """
    out = Path(out)
    options = _checked(source, options)
    if jobs < 1:
        raise UsageError(f"--jobs {jobs}: at least 1")
    refuse_foreign(out)
    if options.shard_images is None and part is None:
        options = replace(options, shard_images=_shard_images_there(out))
    plan = make_plan(source, options, fewest_shards=part.of if part else 1)
    outline = Outline.of(plan, part.of if part else None)
    if finished := _finished(out, outline):
        bad = read_rejected(out) if finished.rejected else []
        complete = PrepareReport.of_folder(out, finished, bad, plan.warnings)
        return replace(complete, reused_shards=len(plan.shards), already_complete=True, part=part)

    begin(out, outline)
    if part is None:  # another part may be writing there
        remove_leftovers(out)
    planned = plan.shards if part is None else part.choose(plan.shards)
    with reporting(progress, "preparing", "images") as report:
        written = _write_shards(out, plan, planned, jobs, report)
    if part is not None:
        made = PrepareReport.of_part(out, outline, part, written.summaries)
    else:
        manifest, bad = finish(out, outline, written.summaries, skip_bad=skip_bad)
        made = PrepareReport.of_folder(out, manifest, bad, plan.warnings)
    return replace(made, reused_shards=written.reused, images_per_second=written.images_per_second)


def _checked(source: object, options: object) -> PrepareOptions:
    """Return the options, or the defaults for None. Raise UsageError if an argument is something else."""
    if not isinstance(source, Source):
        raise UsageError(
            f"source {source!r}: has to be a Source",
            hint='a reader makes it, such as gancli.data.sources.cub.read("raw/birds")',
        )
    if not isinstance(options, PrepareOptions | None):
        hint = "write PrepareOptions(image_size=64)"
        raise UsageError(f"options {options!r}: have to be PrepareOptions", hint=hint)
    return options or PrepareOptions()


@dataclass(frozen=True, slots=True)
class _Written:
    """Shards of a run: their summaries in order, the number of those kept, and the speed of decoding the others."""

    summaries: list[ShardSummary]
    reused: int
    images_per_second: float


def _write_shards(
    out: Path, plan: Plan, planned: Sequence[ShardPlan], jobs: int, progress: Progress | None
) -> _Written:
    """Write the shards that are not there yet."""
    started, done = time.perf_counter(), 0
    total = sum(len(shard.records) for shard in planned)
    found = [shard_summary(out / shard.file, shard.plan) for shard in planned]
    missing = [shard for shard, summary in zip(planned, found, strict=True) if summary is None]

    def advance(images: int) -> None:
        nonlocal done
        done += images
        if progress:
            progress(done, total)

    written: list[ShardSummary | Future[ShardSummary]] = []
    with Renderer(plan.options, jobs) as renderer, ThreadPoolExecutor(1) as disk:
        # One stream for all shards: the workers go on while a shard is written
        results = renderer.render(record for shard in missing for record in shard.records)
        pending: Future[ShardSummary] | None = None
        for shard, summary in zip(planned, found, strict=True):
            if summary is not None:
                written.append(summary)
                advance(len(shard.records))
                continue
            writer = _writer(plan, shard)
            for record in shard.records:
                _add(writer, record, next(results))
                advance(1)
            if pending:
                pending.result()  # so that no more than two shards are in memory
            pending = disk.submit(writer.write, out / shard.file)
            if jobs == 1:
                pending.result()
            written.append(pending)
    summaries = [one.result() if isinstance(one, Future) else one for one in written]
    decoded = sum(len(shard.records) for shard in missing)
    return _Written(summaries, len(planned) - len(missing), decoded / (time.perf_counter() - started))


def _writer(plan: Plan, shard: ShardPlan) -> ShardWriter:
    speech = plan.options.speech
    return ShardWriter(
        plan.options.codec,
        shard.plan,
        len(plan.source.attribute_names),
        speech=speech is not None,
        audio=speech is not None and speech.keep_audio,
        silhouettes=plan.silhouettes is not None,
    )


def _add(writer: ShardWriter, record: Record, rendered: Rendered | str) -> None:
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


def _shard_images_there(out: Path) -> int | None:
    """Return the length of shards that a folder was begun with; None in a new one."""
    if (out / MANIFEST).exists():
        return read_manifest(out).shard_images
    outline = read_outline(out)
    return outline.shard_images if outline else None


def _finished(out: Path, outline: Outline) -> Manifest | None:
    """Return the manifest of a folder that is finished as the outline says; None where there is work to do.

    Raise UsageError if the folder is finished or begun with other settings.
    """
    manifest = read_manifest(out) if (out / MANIFEST).exists() else None
    there = manifest or read_outline(out)
    # The raw data of an unfinished folder may change, for example when an image was mended
    differences = outline.differences(there, raw_data=manifest is not None) if there else []
    if differences:
        raise UsageError(
            f"{out}: holds a dataset of other settings\n  " + "\n  ".join(differences),
            hint="choose another --out, ask for the settings it has, or delete the folder",
        )
    return manifest
