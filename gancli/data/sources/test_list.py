"""Splits by a list of test images, such as the filenames.pickle of public codes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from gancli.data.source import BadSample, Sample, Source
from gancli.data.sources.reading import fingerprint, read_names
from gancli.errors import DataError

SPLIT_RULE = "test list"


def with_test_list(source: Source, path: str | Path, *, partial: bool = False) -> Source:
    """Return a source whose test split are the images that a list names; all others train.

    Args:
        source: Source.
        path: List of names (see `reading.read_names`).
        partial: Pass over names of images that the source lacks.

    Raises:
        DataError: The list cannot be read, or, when the samples have been read, it names images that are not there.
    """
    path = Path(path)
    names = read_names(path)

    def samples() -> Iterator[Sample | BadSample]:
        missing = dict.fromkeys(names)
        for sample in source.samples:
            listed = sample.key in missing
            missing.pop(sample.key, None)
            yield (
                replace(sample, split="test" if listed else "train") if isinstance(sample, Sample) else sample
            )
        if len(missing) == len(names) or (missing and not partial):
            raise DataError(
                f"{path}: {len(missing):,} of its {len(names):,} names are no images of {source.name}, the first is "
                f"{next(iter(missing))!r}",
                "Name the list of this dataset; --skip-bad passes over names of images that a part of it lacks.",
            )

    prints = {**source.fingerprint, **fingerprint([path], path.parent)}
    return replace(source, samples=samples(), split_rule=SPLIT_RULE, fingerprint=prints)
