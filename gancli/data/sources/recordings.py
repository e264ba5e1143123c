"""Recorded captions of any dataset: audio files in a folder, matched to images by name.

Two layouts are supported, even mixed. S2IGAN's has a folder for each image and a file for each caption,
`<class>/<image>/<n>.wav` below `audio/`. The other has all files of an image side by side, `<image>_<n>.wav`, or
`<image>.wav` for an image with one caption. Numbers count the captions of the image from 0 or from 1.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path, PurePosixPath

from gancli.data.source import BadSample, Recording, Sample, Source
from gancli.data.sources.reading import list_files, open_root
from gancli.errors import DataError

AUDIO_SUFFIXES = (".wav", ".flac", ".ogg", ".mp3")
LAYOUTS = (
    "recordings are named <class>/<image>/<n>.wav or <image>_<n>.wav, n counting the captions of the image from 0 or"
    " from 1"
)

_NUMBERED = re.compile(r"(.+)_(\d+)")

_Files = dict[str, dict[int, Path]]  # by image, by number


def with_recordings(source: Source, folder: str | Path) -> Source:
    """Add the recordings found in a folder, directly or in a folder `audio` or `wavs` of it, to a source.

    A sample becomes a `BadSample` if a caption has no recording, or if there are more recordings than captions.

    Raises:
        DataError: The folder does not exist, holds no audio file, or has two for the same caption.
    """
    folder = open_root(folder, LAYOUTS)
    files = _find(next((folder / inner for inner in ("audio", "wavs") if (folder / inner).is_dir()), folder))

    def samples() -> Iterator[Sample | BadSample]:
        taken: dict[str, str] = {}
        for sample in source.samples:
            if isinstance(sample, BadSample):
                yield sample
                continue
            # In a flat folder files are named without the folders of the images
            names = (sample.key, PurePosixPath(sample.key).name)
            name = next((name for name in names if name in files), None)
            if name is None:
                yield BadSample(sample.key, "no caption is recorded: there is no audio file of that name")
            elif name in taken:
                yield BadSample(sample.key, f"its recordings {name}_… are also those of {taken[name]}")
            else:
                taken[name] = sample.key
                yield _attach(sample, name, files[name])

    return replace(source, samples=samples())


def _attach(sample: Sample, name: str, recorded: dict[int, Path]) -> Sample | BadSample:
    count = len(sample.captions)
    first = 0 if 0 in recorded else 1
    expected = range(first, first + count)
    missing = [number for number in expected if number not in recorded]
    if missing:
        listed = ", ".join(map(str, missing[:5])) + (", …" if len(missing) > 5 else "")
        which = f"number {listed}" if len(missing) == 1 else f"numbers {listed}"
        some = f"{count - len(missing)} of {count} captions are recorded"
        return BadSample(sample.key, f"{some}: {name} has no recording with {which}")
    surplus = sorted(set(recorded) - set(expected))
    if surplus:
        many = f"{len(recorded)} recordings for {count} captions"
        return BadSample(sample.key, f"{many}: {recorded[surplus[0]].name} is one too many")
    recordings = tuple(Recording(caption, recorded[number]) for caption, number in enumerate(expected))
    return replace(sample, recordings=recordings)


def _find(folder: Path) -> _Files:
    """Return the audio files below a folder, by the image and the number in their names."""
    files: _Files = {}
    for path in sorted(list_files(folder)):
        if path.suffix.lower() not in AUDIO_SUFFIXES:
            continue
        inner = path.with_suffix("")
        names = [(inner, 0)]  # an image's only caption or a numbered one, depending on the image
        if inner.name.isdecimal() and len(inner.parts) > 1:
            names.append((inner.parent, int(inner.name)))
        elif numbered := _NUMBERED.fullmatch(inner.name):
            names.append((inner.with_name(numbered[1]), int(numbered[2])))
        for image, number in names:
            recorded = files.setdefault(image.as_posix(), {})
            if number in recorded:
                both = f"{recorded[number].relative_to(folder)} and {path}"
                raise DataError(f"{folder}: {both} are the same caption of the same image", hint="remove one")
            recorded[number] = folder / path
    if not files:
        raise DataError(f"{folder} holds no audio file (*{', *'.join(AUDIO_SUFFIXES)})", hint=LAYOUTS)
    return files
