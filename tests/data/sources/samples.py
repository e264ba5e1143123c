"""Helpers for tests of the readers."""

from __future__ import annotations

from pathlib import Path

from gancli.data.source import BadSample, Sample, Source


def good(source: Source) -> list[Sample]:
    """All samples. A bad one fails the test."""
    samples = list(source.samples)
    assert not [sample for sample in samples if isinstance(sample, BadSample)]
    return [sample for sample in samples if isinstance(sample, Sample)]


def bad(source: Source) -> dict[str, str]:
    """The reason of each bad sample, by key."""
    return {sample.key: sample.reason for sample in source.samples if isinstance(sample, BadSample)}


def touch(root: Path, *files: str) -> Path:
    """Make empty files, which a reader takes for images or recordings because it only looks at their names."""
    for file in files:
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).touch()
    return root
