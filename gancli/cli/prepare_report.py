"""Output of `gancli prepare` and `gancli data merge`: a dataset before it is written, and afterwards."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from gancli.cli.console import Output

if TYPE_CHECKING:
    from gancli.data.manifest import SilhouetteEntry
    from gancli.data.preparation.finish import PrepareReport
    from gancli.data.preparation.options import Part
    from gancli.data.preparation.plan import Plan

MOST_LINES = 20  # images that cannot be used, in the text of a dry run


def print_plan(out: Output, plan: Plan, folder: Path, part: Part | None) -> None:
    """Print what a plan, or a part of it, would write."""
    shards = f"{len(plan.shards)} shards"
    if part:
        plan = replace(plan, shards=tuple(part.choose(plan.shards)))
        shards = f"{len(plan.shards)} of {shards}"
    spoken = sum(plan.utterances.values())
    data = {
        "dry_run": True,
        "out": folder,
        "part": part and str(part),
        "splits": plan.counts,
        "utterances": spoken,
        "shards": len(plan.shards),
        "bytes": plan.bytes,
        "vocabulary": len(plan.vocabulary),
        "bad": [{"key": sample.key, "reason": sample.reason} for sample in plan.bad],
    }
    lines = [
        f"would write {folder}{_part(part)}: {_counts(plan.counts)} in {shards}, about {mib(plan.bytes)}"
        + (" as raw pixels, a sixth of it as JPEG" if plan.options.codec == "jpeg" else ""),
        f"vocabulary: {len(plan.vocabulary):,} words" + (f"; {spoken:,} spoken captions" if spoken else ""),
        *(f"cannot be used: {sample.key}: {sample.reason}" for sample in plan.bad[:MOST_LINES]),
    ]
    if len(plan.bad) > MOST_LINES:
        lines.append(f"cannot be used: {len(plan.bad) - MOST_LINES:,} more (--json lists all)")
    out.result(data, "\n".join(lines))


def print_report(out: Output, report: PrepareReport, how: str | None = None) -> None:
    """Print a dataset or part that is written, with a remark behind the counts, or else the speed of `prepare`."""
    for warning in report.warnings:
        out.warn(warning)
    for sample in report.bad:
        out.detail(f"left out: {sample.key}: {sample.reason}")
    data = {
        "out": report.out,
        "part": report.part and str(report.part),
        "splits": {
            name: {"images": count, "captions": report.captions[name]}
            | ({"utterances": report.utterances[name]} if report.utterances else {})
            for name, count in report.counts.items()
        },
        "vocabulary": report.vocabulary,
        "rejected": len(report.bad),
        "images_per_second": round(report.images_per_second, 1),
        "reused_shards": report.reused_shards,
        "already_complete": report.already_complete,
        "silhouettes": report.silhouettes and report.silhouettes.model_dump(),
        "warnings": report.warnings,
    }
    if report.already_complete:
        how = "was complete already"
    elif how is None:
        how = f"{report.images_per_second:,.0f} images/s"
        if report.reused_shards:
            how += f", {report.reused_shards} shards kept from an earlier run"
    spoken = sum(report.utterances.values())
    speech = f", {spoken:,} spoken captions" if spoken else ""
    part = None if report.already_complete else report.part
    text = f"{report.out}{_part(part)}: {_counts(report.counts)}, {report.vocabulary:,} words{speech} ({how})"
    if report.silhouettes is not None:
        text += f"\n{_silhouettes(report.silhouettes, report.counts)}"
    if part:
        text += f"\nwhen all parts are there: gancli data merge {report.out}"
    elif report.bad:
        text += f"\n{len(report.bad)} left out, listed in {report.out / 'rejected.csv'}"
    out.result(data, text, quiet=str(report.out))


def _silhouettes(entry: SilhouetteEntry, counts: dict[str, int]) -> str:
    """Return a line with the good silhouettes of each split and the faults of the others."""
    from gancli.data.silhouettes import REASONS, Fault

    parts = []
    for split, usable in entry.usable.items():
        faults = ", ".join(
            f"{REASONS[Fault[name.upper()]]}: {number:,}" for name, number in entry.faults[split].items()
        )
        parts.append(f"{usable:,} of {counts[split]:,} {split} are good" + (f" ({faults})" if faults else ""))
    return f"silhouettes ({entry.method}): {'; '.join(parts)}"


def _part(part: Part | None) -> str:
    return f", part {part}" if part else ""


def _counts(counts: dict[str, int]) -> str:
    return (
        ", ".join(f"{count:,} {name}" for name, count in counts.items()) + " images"
        if counts
        else "no images"
    )


def mib(size: int) -> str:
    """Return a number of bytes in MiB, as text."""
    return f"{size / 2**20:,.0f} MiB"
