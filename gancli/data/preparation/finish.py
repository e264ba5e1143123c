"""The start and the end of a dataset folder: what `prepare` and `gancli data merge` share.

A folder begins with its outline (`plan.json`) and ends with its manifest (`dataset.json`), which is made from the
outline and the shards alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gancli import __version__
from gancli.cards import dataset_card, write_card
from gancli.csv_files import read_csv, write_csv
from gancli.data.manifest import (
    MANIFEST,
    SCHEMA_VERSION,
    VOCABULARY,
    Manifest,
    SilhouetteEntry,
    SplitEntry,
    TokenizerEntry,
    write_manifest,
)
from gancli.data.preparation.options import Part
from gancli.data.preparation.plan_file import OUTLINE, Outline, write_outline
from gancli.data.shards import ShardSummary
from gancli.data.silhouettes import Fault
from gancli.data.source import BadSample
from gancli.data.text import RULE, Vocabulary
from gancli.errors import DataError, RunError, UsageError

REJECTED = "rejected.csv"
SPLITS = "splits.csv"
MOST_NAMED = 10  # unusable images in an error message
MEND = "mend them, or run the same command with --skip-bad to leave them out; finished shards are kept"


@dataclass(frozen=True, slots=True, kw_only=True)
class PrepareReport:
    """Result of `prepare` or `merge_parts`.

    Attributes:
        counts, captions, utterances: Images, captions and spoken captions per split; no utterances without speech.
        bad: Images left out, with the reason; also in rejected.csv.
        vocabulary: Number of words of the vocabulary, with index 0.
        images_per_second: Speed of decoding in this run; 0 where no image was decoded.
        reused_shards: Number of shards that an earlier run had finished.
        already_complete: True where the folder was finished before and nothing was written.
        silhouettes: Origin and faults of the silhouettes; None without silhouettes.
        part: Parts that were made; None for all shards. Of a part there is no manifest yet, the counts are those of
            the part, and records without a usable caption or box count as bad ones of the first part.
        warnings: Warnings about the source, such as attributes that contradict each other.
    """

    out: Path
    counts: dict[str, int]
    captions: dict[str, int]
    utterances: dict[str, int]
    bad: list[BadSample]
    vocabulary: int
    images_per_second: float = 0.0
    reused_shards: int = 0
    already_complete: bool = False
    silhouettes: SilhouetteEntry | None = None
    part: Part | None = None
    warnings: tuple[str, ...] = ()

    @classmethod
    def of_folder(
        cls, out: Path, manifest: Manifest, bad: list[BadSample], warnings: tuple[str, ...] = ()
    ) -> PrepareReport:
        """Return the report of a finished folder, without the facts of this run."""
        return cls(
            out=out,
            counts={name: split.images for name, split in manifest.splits.items()},
            captions={name: split.captions for name, split in manifest.splits.items()},
            utterances=manifest.speech.utterances if manifest.speech else {},
            bad=bad,
            vocabulary=manifest.tokenizer.words,
            silhouettes=manifest.silhouettes,
            warnings=warnings,
        )

    @classmethod
    def of_part(
        cls, out: Path, outline: Outline, part: Part, summaries: Sequence[ShardSummary]
    ) -> PrepareReport:
        """Return the report of some parts, without the facts of this run.

        Args:
            out: Dataset folder.
            outline: Outline of the whole dataset.
            part: Parts that were made.
            summaries: Summaries of the parts' shards.
        """
        made = _splits([shard.split for shard in part.choose(outline.shards)], summaries)
        bad = outline.bad_samples if part.first == 1 else []
        return cls(
            out=out,
            counts={name: split.entry.images for name, split in made.items()},
            captions={name: split.entry.captions for name, split in made.items()},
            utterances={name: split.utterances for name, split in made.items()} if outline.speech else {},
            bad=bad + [sample for summary in summaries for sample in summary.rejected],
            vocabulary=len(outline.vocabulary),
            silhouettes=_silhouette_entry(outline.silhouettes, made),
            part=part,
            warnings=outline.warnings,
        )


@dataclass(frozen=True, slots=True)
class _Split:
    """Totals of a split's shards."""

    entry: SplitEntry
    utterances: int
    faults: NDArray[np.uint8]


def _splits(names: Sequence[str], summaries: Sequence[ShardSummary]) -> dict[str, _Split]:
    """Return the splits of shards, in their order; `names` is the split of each shard."""
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


def begin(out: Path, outline: Outline) -> None:
    """Make the folder and write its outline. Raise RunError if it cannot be made or written."""
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(f"{out}: cannot be made ({error.strerror})", hint="choose another --out") from error
    write_outline(out, outline)


def finish(
    out: Path, outline: Outline, summaries: Sequence[ShardSummary], *, skip_bad: bool, mend: str = MEND
) -> tuple[Manifest, list[BadSample]]:
    """Write vocabulary, tables of splits and of rejected images, and manifest of a folder whose shards are all there.

    Args:
        out: Dataset folder.
        outline: Outline of the folder.
        summaries: Summaries of all shards of the outline, in its order.
        skip_bad: Leave out unusable images instead of failing.
        mend: Hint of the error about unusable images.

    Returns:
        The manifest, and all images left out.

    Raises:
        DataError: There are unusable images and not `skip_bad`, or there is no usable image at all.
    """
    bad = outline.bad_samples + [sample for summary in summaries for sample in summary.rejected]
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
    _write_splits(out, splits)
    card = dataset_card(
        name=manifest.name,
        release=manifest.release,
        split_rule=manifest.split_rule,
        crop_rule=manifest.crop_rule,
        image_size=manifest.image_size,
        images={name: entry.images for name, entry in manifest.splits.items()},
        words=manifest.tokenizer.words,
    )
    write_card(out, card)
    write_manifest(out, manifest)
    (out / OUTLINE).unlink(missing_ok=True)
    return manifest, bad


def refuse_foreign(out: Path) -> None:
    """Raise UsageError for an output path that is a file, or a folder of something other than a (begun) dataset."""
    if out.exists() and not out.is_dir():
        raise UsageError(f"{out}: is a file, the dataset needs a folder", hint="choose another --out")
    # In this order: other parts may begin and finish the folder meanwhile, and the outline is the first to come and
    # goes only when the manifest is there
    foreign = out.is_dir() and any(not file.name.endswith(".tmp") for file in out.iterdir())
    if foreign and not (out / OUTLINE).exists() and not (out / MANIFEST).exists():
        hint = "choose a folder that is new or empty as --out"
        raise UsageError(f"{out}: is not empty and not a dataset folder", hint=hint)


def remove_leftovers(out: Path) -> None:
    """Remove the half-written files of killed processes."""
    for leftover in out.glob(".*.tmp"):
        leftover.unlink(missing_ok=True)


def _write_splits(out: Path, splits: Mapping[str, _Split]) -> None:
    import pandas as pd

    rows = [
        {
            "split": name,
            "images": split.entry.images,
            "captions": split.entry.captions,
            "spoken_captions": split.utterances,
            "shards": len(split.entry.shards),
        }
        for name, split in splits.items()
    ]
    write_csv(out / SPLITS, pd.DataFrame(rows))


def _write_rejected(out: Path, bad: Sequence[BadSample]) -> None:
    if not bad:
        (out / REJECTED).unlink(missing_ok=True)
        return
    import pandas as pd

    # Names of files may not be UTF-8
    rows = [
        [text.encode("utf-8", "backslashreplace").decode() for text in (each.key, each.reason)]
        for each in bad
    ]
    write_csv(out / REJECTED, pd.DataFrame(rows, columns=["key", "reason"]))


def read_rejected(out: Path) -> list[BadSample]:
    """Read the images that a finished folder leaves out; none where somebody removed the list."""
    try:
        rows = read_csv(out / REJECTED).to_dict("records")
        return [BadSample(str(row["key"]), str(row["reason"])) for row in rows]
    except (DataError, KeyError):  # the dataset itself is complete without it
        return []


def _bad_images(out: Path, bad: Sequence[BadSample], total: int, mend: str) -> DataError:
    lines = [f"{sample.key}: {sample.reason}" for sample in bad[:MOST_NAMED]]
    if len(bad) > MOST_NAMED:
        lines.append(f"and {len(bad) - MOST_NAMED} more")
    said = f"{len(bad)} of {total} images cannot be used (all in {out / REJECTED})"
    return DataError("\n  ".join([said, *lines]), hint=mend)
