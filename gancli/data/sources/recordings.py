"""Recorded captions of any dataset: finds the audio files of its images in a folder, by their names.

Two layouts, also mixed. S2IGAN's has a folder an image and a file a caption, `<class>/<image>/<n>.wav` below
`audio/`; the other has all files of an image side by side, `<image>_<n>.wav`, or `<image>.wav` where an image
has one caption. The numbers count the captions of the image from 0 or from 1, in their order.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path, PurePosixPath

from gancli.data.source import BadSample, Recording, Sample, Source
from gancli.data.sources.reading import list_files
from gancli.errors import DataError

AUDIO_SUFFIXES = (".wav", ".flac", ".ogg", ".mp3")
LAYOUTS = (
    "recordings are named <class>/<image>/<n>.wav or <image>_<n>.wav, n counting the captions of the image from 0 or"
    " from 1"
)

_NUMBERED = re.compile(r"(.+)_(\d+)")

_Files = dict[str, dict[int, Path]]  # by image, by number


def with_recordings(source: Source, folder: Path) -> Source:
    """The source with the recordings found in a folder.

    Args:
        folder: Where the audio files lie, or a folder `audio` or `wavs` with them.

    Returns:
        Its samples with their recordings. A sample becomes a `BadSample` where a caption has none, or there are more
        than captions.

    Raises:
        DataError: It is no folder, holds no audio file, or has two for the same caption.
    """
    if not folder.is_dir():
        raise DataError(f"{folder} is not a folder", hint=LAYOUTS)
    for inner in ("audio", "wavs"):
        if (folder / inner).is_dir():
            folder = folder / inner
            break
    files = _find(folder)

    def samples() -> Iterator[Sample | BadSample]:
        taken: dict[str, str] = {}
        for sample in source.samples:
            if isinstance(sample, BadSample):
                yield sample
                continue
            # A flat folder names images without the folders they lie in
            name = next(
                (name for name in (sample.key, PurePosixPath(sample.key).name) if name in files), None
            )
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
        return BadSample(
            sample.key,
            f"{count - len(missing)} of {count} captions are recorded: {name} has no recording with {which}",
        )
    surplus = sorted(set(recorded) - set(expected))
    if surplus:
        return BadSample(
            sample.key,
            f"{len(recorded)} recordings for {count} captions: {recorded[surplus[0]].name} is one too many",
        )
    recordings = tuple(Recording(caption, recorded[number]) for caption, number in enumerate(expected))
    return replace(sample, recordings=recordings)


def _find(folder: Path) -> _Files:
    """Audio files below a folder, by the image and the number they are named after."""
    files: _Files = {}
    for path in sorted(list_files(folder)):
        if path.suffix.lower() not in AUDIO_SUFFIXES:
            continue
        inner = path.with_suffix("")
        names = [(inner, 0)]  # whether it is one image's only caption, or a numbered one, the images tell
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
