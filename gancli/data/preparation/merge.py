"""`gancli data merge`: one dataset from the parts that `prepare --shards` made, in one folder or in several."""

from __future__ import annotations

import math
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from gancli.atomic import atomic_file
from gancli.data.manifest import MANIFEST, Manifest, read_manifest
from gancli.data.preparation.finish import (
    PrepareReport,
    begin,
    finish,
    read_rejected,
    refuse_foreign,
    remove_leftovers,
)
from gancli.data.preparation.plan_file import OUTLINE, Outline, read_outline
from gancli.data.shards import ShardSummary, shard_fault, shard_summary
from gancli.errors import DataError, UsageError
from gancli.progress import Progress, reporting

MOST_LINES = 20  # missing parts in a message


def merge_parts(
    out: str | Path,
    parts: str | Path | Sequence[str | Path] = (),
    *,
    skip_bad: bool = False,
    progress: Progress | bool = True,
) -> PrepareReport:
    """Make one dataset folder of parts, with the same bytes as a single `prepare` gives.

    Args:
        out: Dataset folder to make, with or without parts in it.
        parts: Folder or folders of further parts. They are only read: shards are linked into `out` where it lies on
            the same disk, else copied.
        skip_bad: Leave out images that cannot be used instead of failing.
        progress: Callback for (shards looked at, shards in all); True for a bar, False for silence.

    Raises:
        UsageError: `out` is something else, or the parts are not of one dataset; the message names the differences.
        DataError: Shards are missing, damaged or of another plan (the message names the parts that make them), there
            are bad images and not `skip_bad`, or a folder holds no parts. Nothing is removed.
        RunError: The disk is full; a second run continues.
    """
    out = Path(out)
    if isinstance(parts, str | Path):
        parts = (parts,)
    folders = [Path(folder) for folder in parts if Path(folder).resolve() != out.resolve()]
    outlines = {folder: _part_outline(folder) for folder in folders}
    if folders:
        refuse_foreign(out)
    if (out / MANIFEST).exists():
        manifest = read_manifest(out)
        _refuse_others(manifest, out, outlines)
        bad = read_rejected(out) if manifest.rejected else []
        shards = sum(len(split.shards) for split in manifest.splits.values())
        complete = PrepareReport.of_folder(out, manifest, bad)
        return replace(complete, reused_shards=shards, already_complete=True)

    if folders:
        first, outline = next(iter(outlines.items()))
        _refuse_others(outline, first, outlines)
        if there := read_outline(out):  # raw data may have changed since an earlier merge, as in `prepare`
            _refuse(out, first, outline.differences(there, raw_data=False, wanted=f"in {first}"))
    else:
        outline = _part_outline(out)
    with reporting(progress, "reading", "shards") as report:
        found = _find(outline, [out, *folders], report)
    _refuse_missing(out, outline, [out, *folders], found)
    _refuse_strays(out, outline)

    begin(out, outline)
    for folder, summary in found:
        if folder != out:
            _link(folder / summary.entry.file, out / summary.entry.file)
    manifest, bad = finish(
        out,
        outline,
        [summary for _, summary in found],
        skip_bad=skip_bad,
        mend="mend them and run every part again (sound shards are kept), or merge with --skip-bad to leave them out",
    )
    remove_leftovers(out)
    return replace(PrepareReport.of_folder(out, manifest, bad, outline.warnings), reused_shards=len(found))


def _part_outline(folder: Path) -> Outline:
    if outline := read_outline(folder):
        return outline
    if (folder / MANIFEST).exists():
        raise UsageError(f"{folder}: is a finished dataset, not a part of one", hint="leave it out")
    if not folder.is_dir():
        hint = "`gancli prepare … --shards 1/16` makes a part"
        raise DataError(f"{folder}: there is no such folder", hint=hint)
    raise DataError(
        f"{folder}: holds no part of a dataset, there is no {OUTLINE}",
        hint=f"copy {OUTLINE} and all .h5 files of every part, or name the folders of the parts behind OUT",
    )


def _refuse_others(wanted: Outline | Manifest, where: Path, outlines: Mapping[Path, Outline]) -> None:
    """Refuse parts of another dataset than the one in `where`."""
    for folder, outline in outlines.items():
        if isinstance(wanted, Outline):
            _refuse(folder, where, wanted.differences(outline, raw_data=True, wanted=f"in {where}"))
        else:
            _refuse(where, folder, outline.differences(wanted, raw_data=True, wanted=f"in {folder}"))


def _refuse(folder: Path, other: Path, differences: Sequence[str]) -> None:
    if differences:
        raise UsageError(
            f"{folder}: not of the same dataset as {other}\n  " + "\n  ".join(differences),
            hint="make all parts from the same raw data with the same options; --shards alone differs",
        )


def _find(
    outline: Outline, folders: Sequence[Path], progress: Progress | None
) -> list[tuple[Path, ShardSummary]]:
    """Return every sound shard of the outline with the first folder that holds it."""
    found = []
    for number, shard in enumerate(outline.shards, start=1):
        for folder in folders:
            if summary := shard_summary(folder / shard.file, shard.plan):
                found.append((folder, summary))
                break
        if progress:
            progress(number, len(outline.shards))
    return found


def _refuse_missing(
    out: Path, outline: Outline, folders: Sequence[Path], found: Sequence[tuple[Path, ShardSummary]]
) -> None:
    """Refuse to go on without all shards; the message names the missing ones and the commands that make them."""
    there = {summary.entry.file for _, summary in found}
    makers = _makers(outline)
    lines: dict[str, list[str]] = {}
    for shard in outline.shards:
        if shard.file not in there:
            holders = [folder for folder in folders if (folder / shard.file).exists()]
            name = str(holders[0] / shard.file) if holders else shard.file
            fault = shard_fault((holders or folders)[0] / shard.file, shard.plan)
            lines.setdefault(makers.get(shard.file, ""), []).append(f"{name}: {fault}")
    if not lines:
        return
    texts = [
        f"part {part}: gancli prepare … --shards {part}  ({'; '.join(faults)})" if part else "; ".join(faults)
        for part, faults in lines.items()
    ]
    if len(texts) > MOST_LINES:
        texts[MOST_LINES:] = [f"and {len(texts) - MOST_LINES} more parts"]
    missing = len(outline.shards) - len(found)
    raise DataError(
        f"{out}: {missing} of {len(outline.shards)} shards are not there\n  " + "\n  ".join(texts),
        hint="run that with the options of the other parts, then merge again; what is there is kept"
        if makers
        else "run the same gancli prepare again: it continues",
    )


def _makers(outline: Outline) -> dict[str, str]:
    """Return the part that makes each shard, as `--shards` names it; empty where one command makes all."""
    if outline.parts is None:
        return {}
    shards, parts = len(outline.shards), outline.parts
    return {
        shard.file: f"{math.ceil(parts * number / shards)}/{parts}"  # as `Part.choose` divides them
        for number, shard in enumerate(outline.shards, start=1)
    }


def _refuse_strays(out: Path, outline: Outline) -> None:
    names = {shard.file for shard in outline.shards}
    strays = sorted(file.name for file in out.glob("*.h5") if file.name not in names)
    if strays:
        raise DataError(
            f"{out}: {', '.join(strays[:MOST_LINES])}: no shards of this dataset; parts with other options or of "
            "another number were copied together",
            hint="move these files away, then merge again",
        )


def _link(source: Path, target: Path) -> None:
    """Link a file under another name, or copy it where links are impossible."""
    with atomic_file(target) as temporary:
        try:
            os.link(source.resolve(), temporary)
        except OSError:  # another disk, or one without links
            shutil.copyfile(source, temporary)
