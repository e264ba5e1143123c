"""Check of a dataset folder against its manifest, file by file: `gancli data check`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

from gancli.data.audio import FEWEST_FRAMES
from gancli.data.manifest import MANIFEST, Manifest, ShardEntry, SplitEntry, stored_side
from gancli.data.shards import Dataset, Split, _OpenShard
from gancli.errors import DataError
from gancli.hashes import file_hash
from gancli.progress import Progress, reporting


def verify(path: str | Path, progress: Progress | bool = True) -> list[str]:
    """Check a dataset folder against its manifest: every hash, count, offset, token and name.

    Args:
        path: Dataset folder.
        progress: Callback for the number of shards done and in all. True shows a bar where a person watches.

    Returns:
        One line per problem. Empty if the folder is sound.

    Raises:
        DataError: The folder has no readable manifest or vocabulary at all.
    """
    dataset = Dataset.open(Path(path))
    problems: list[str] = []
    seen: dict[str, str] = {}
    listed = [(name, entry) for name, split in dataset.manifest.splits.items() for entry in split.shards]
    with reporting(progress, "checking", "shards") as report:
        for done, (split_name, entry) in enumerate(listed, start=1):
            found = _shard_problems(dataset, split_name, entry, seen)
            problems += [f"{entry.file}: {problem}" for problem in found]
            if report is not None:
                report(done, len(listed))
    problems += [f"{MANIFEST}: {problem}" for problem in _sum_problems(dataset.manifest)]
    if not problems:
        problems += [f"{MANIFEST}: {problem}" for problem in _total_problems(dataset)]
    names = {entry.file for _, entry in listed}
    stray = sorted(file.name for file in dataset.path.glob("*.h5") if file.name not in names)
    return problems + [f"{name}: not listed in {MANIFEST}" for name in stray]


def _sum_problems(manifest: Manifest) -> Iterator[str]:
    """Compare the counts of each split with the counts of its shards."""
    for name, split in manifest.splits.items():
        for counted in ("images", "captions"):
            total = sum(getattr(entry, counted) for entry in split.shards)
            if total != getattr(split, counted):
                yield f"split {name} says {getattr(split, counted)} {counted}, its shards {total}"


def _total_problems(dataset: Dataset) -> Iterator[str]:
    """Compare the counts of utterances and good silhouettes with the content of the shards."""
    manifest = dataset.manifest
    if manifest.speech is not None:
        spoken = {name: int(dataset.split(name).speech_counts().sum()) for name in manifest.splits}
        if spoken != manifest.speech.utterances:
            yield f"says {manifest.speech.utterances} utterances, the shards {spoken}"
    if manifest.silhouettes is not None:
        for name, usable in manifest.silhouettes.usable.items():
            good = int((dataset.split(name).silhouette_faults == 0).sum())
            if good != usable:
                yield f"says {usable} silhouettes of {name} are good, the shards {good}"


def _shard_problems(dataset: Dataset, split_name: str, entry: ShardEntry, seen: dict[str, str]) -> list[str]:
    """List the problems of a shard, and add its names to those `seen`."""
    path = dataset.path / entry.file
    if not path.is_file():
        return ["missing"]
    if file_hash(path) != entry.sha256:
        return ["its content is not what was written (sha256 differs)"]
    alone = SplitEntry(images=entry.images, captions=entry.captions, shards=(entry,))
    split = Split(
        dataset.path, split_name, dataset.manifest.model_copy(update={"splits": {split_name: alone}})
    )
    try:
        return list(_content_problems(dataset, split, entry, seen))
    except (DataError, OSError, KeyError, ValueError, IndexError) as error:
        return [f"its content does not follow the schema ({error})"]


def _content_problems(
    dataset: Dataset, split: Split, entry: ShardEntry, seen: dict[str, str]
) -> Iterator[str]:
    """Check a split of a single shard."""
    shard = split._shard(0)
    counts = {
        "images": len(shard.shapes),
        "image offsets": len(shard.image_offsets) - 1,
        "names": len(shard.file["keys/offsets"]) - 1,
        "caption ranges": len(shard.caption_ranges) - 1,
        "class ids": len(shard.file["class_ids"]),
    }
    wrong = {name: count for name, count in counts.items() if count != entry.images}
    if wrong:
        yield f"{MANIFEST} says {entry.images} images, the shard holds {wrong}"
        return
    yield from _image_problems(dataset, split, shard)
    yield from _label_problems(dataset, split, shard)
    if split.mel is not None:
        yield from _speech_problems(shard.file, split.mel.bands, shard.caption_ranges, split.has_audio)
    for key in split.keys:
        if key in seen:
            yield f"the name {key!r} is also in {seen[key]}"
        seen[key] = entry.file


def _image_problems(dataset: Dataset, split: Split, shard: _OpenShard) -> Iterator[str]:
    """Check images and silhouettes."""
    areas = shard.shapes.astype(np.int64).prod(axis=1)
    if split.codec == "raw" and not np.array_equal(np.diff(shard.image_offsets), areas * 3):
        yield "images and their shapes do not agree"
    if len(shard.shapes) and shard.shapes.min() != stored_side(dataset.image_size):
        yield f"an image's shorter side is {shard.shapes.min()}, not {stored_side(dataset.image_size)}"
    if split.has_silhouettes:
        if not np.array_equal(np.diff(shard.file["silhouettes/offsets"]), areas):
            yield "silhouettes are not as large as their images"
        faults = len(shard.file["silhouettes/faults"])
        if faults != len(shard.shapes):
            yield f"{faults} silhouettes of {len(shard.shapes)} images"


def _label_problems(dataset: Dataset, split: Split, shard: _OpenShard) -> Iterator[str]:
    """Check captions, classes and attributes."""
    tokens = shard.file["tokens/data"][()]
    if len(tokens) and not (tokens.min() >= 1 and tokens.max() < len(dataset.vocabulary)):
        yield "a caption has tokens outside the vocabulary"
    if len(shard.shapes) and np.diff(shard.caption_ranges).min() < 1:
        yield "an image has no caption"
    class_ids = split.class_ids
    if dataset.class_names and not np.isin(class_ids, np.arange(len(dataset.class_names))).all():
        yield f"a class id is outside the {len(dataset.class_names)} classes"
    if dataset.attribute_names:
        attributes, shape = shard.file["attributes"][()], (len(shard.shapes), len(dataset.attribute_names))
        if attributes.shape != shape:
            yield f"attributes are {attributes.shape}, not {shape}"
        elif not ((attributes >= 0) & (attributes <= 1)).all():
            yield "an attribute is outside [0, 1]"


def _speech_problems(
    file: h5py.File, bands: int, caption_ranges: NDArray[np.int64], has_audio: bool
) -> Iterator[str]:
    ranges, offsets, captions = (file[f"speech/{name}"][()] for name in ("ranges", "offsets", "captions"))
    if len(ranges) != len(caption_ranges) or not len(captions) == len(offsets) - 1 == ranges[-1]:
        yield f"{len(captions)} utterances, their offsets and ranges say otherwise"
        return
    if (np.diff(offsets) % bands).any() or (len(captions) and np.diff(offsets).min() < bands * FEWEST_FRAMES):
        yield f"an utterance is not {FEWEST_FRAMES} or more frames of {bands} bands"
    spoken = np.repeat(caption_ranges[:-1], np.diff(ranges)) + captions  # caption numbers in the shard
    limits = np.repeat(caption_ranges[1:], np.diff(ranges))
    if (captions < 0).any() or (spoken >= limits).any():
        yield "an utterance speaks a caption that its image does not have"
    elif len(np.unique(spoken)) != caption_ranges[-1]:
        yield "a caption is not spoken"
    if has_audio and not len(file["audio/rates"]) == len(file["audio/offsets"]) - 1 == len(captions):
        yield "not every utterance has its waveform"
