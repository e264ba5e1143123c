"""`gancli data check`: a dataset folder compared with its manifest, file by file."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

from gancli.data.audio import FEWEST_FRAMES
from gancli.data.manifest import MANIFEST, ShardEntry, SplitEntry, stored_side
from gancli.data.shards import Dataset, Split, file_hash
from gancli.errors import DataError


def verify(path: Path | str, progress: Callable[[int, int], None] | None = None) -> list[str]:
    """Check a dataset folder against its manifest, file by file: every hash, count, offset, token and name.

    Args:
        progress: Called with (shards done, shards in all).

    Returns:
        One line per problem; empty if the folder is sound.

    Raises:
        DataError: The folder has no readable manifest or vocabulary at all.
    """
    dataset = Dataset.open(path)
    manifest = dataset.manifest
    problems: list[str] = []
    seen: dict[str, str] = {}
    listed = [(name, entry) for name, split in manifest.splits.items() for entry in split.shards]
    for done, (split_name, entry) in enumerate(listed, start=1):
        problems += [f"{entry.file}: {text}" for text in _shard_problems(dataset, split_name, entry, seen)]
        if progress:
            progress(done, len(listed))
    for name, split in manifest.splits.items():
        for what in ("images", "captions"):
            total = sum(getattr(entry, what) for entry in split.shards)
            if total != getattr(split, what):
                problems.append(
                    f"{MANIFEST}: split {name} says {getattr(split, what)} {what}, its shards {total}"
                )
    if manifest.speech is not None and not problems:
        spoken = {name: int(dataset.split(name).speech_counts().sum()) for name in manifest.splits}
        if spoken != manifest.speech.utterances:
            problems.append(f"{MANIFEST}: says {manifest.speech.utterances} utterances, the shards {spoken}")
    if manifest.silhouettes is not None and not problems:
        for name, usable in manifest.silhouettes.usable.items():
            good = int((dataset.split(name).silhouette_faults == 0).sum())
            if good != usable:
                problems.append(
                    f"{MANIFEST}: says {usable} silhouettes of {name} are good, the shards {good}"
                )
    names = {entry.file for _, entry in listed}
    stray = sorted(file.name for file in dataset.path.glob("*.h5") if file.name not in names)
    return problems + [f"{name}: not listed in {MANIFEST}" for name in stray]


def _shard_problems(
    dataset: Dataset, split_name: str, entry: ShardEntry, seen: dict[str, str]
) -> Iterable[str]:
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
) -> Iterable[str]:
    shard = split._shard(0)
    file = shard.file
    counts: Mapping[str, int] = {
        "images": len(shard.shapes),
        "image offsets": len(shard.image_offsets) - 1,
        "names": len(file["keys/offsets"]) - 1,
        "caption ranges": len(shard.caption_ranges) - 1,
        "class ids": len(file["class_ids"]),
    }
    wrong = {what: count for what, count in counts.items() if count != entry.images}
    if wrong:
        yield f"{MANIFEST} says {entry.images} images, the shard holds {wrong}"
        return
    if dataset.manifest.codec == "raw":
        sizes = shard.shapes.astype(np.int64).prod(axis=1) * 3
        if not np.array_equal(np.diff(shard.image_offsets), sizes):
            yield "images and their shapes do not agree"
    if len(shard.shapes) and shard.shapes.min() != stored_side(dataset.image_size):
        yield f"an image's shorter side is {shard.shapes.min()}, not {stored_side(dataset.image_size)}"
    tokens = file["tokens/data"][()]
    if len(tokens) and not (tokens.min() >= 1 and tokens.max() < len(dataset.vocabulary)):
        yield "a caption has tokens outside the vocabulary"
    if entry.images and np.diff(shard.caption_ranges).min() < 1:
        yield "an image has no caption"
    if dataset.class_names and len(file["class_ids"]):
        class_ids = split.class_ids
        if class_ids.min() < 0 or class_ids.max() >= len(dataset.class_names):
            yield f"a class id is outside the {len(dataset.class_names)} classes"
    if dataset.attribute_names:
        attributes = file["attributes"][()]
        if attributes.shape != (entry.images, len(dataset.attribute_names)):
            yield f"attributes are {attributes.shape}, not {(entry.images, len(dataset.attribute_names))}"
        elif not ((attributes >= 0) & (attributes <= 1)).all():
            yield "an attribute is outside [0, 1]"
    if split.has_silhouettes:
        areas = shard.shapes.astype(np.int64).prod(axis=1)
        if not np.array_equal(np.diff(file["silhouettes/offsets"]), areas):
            yield "silhouettes are not as large as their images"
        if len(file["silhouettes/faults"]) != entry.images:
            yield f"{len(file['silhouettes/faults'])} silhouettes of {entry.images} images"
    if split.mel is not None:
        yield from _speech_problems(file, split.mel.bands, shard.caption_ranges, split.has_audio)
    for key in split.keys:
        if key in seen:
            yield f"the name {key!r} is also in {seen[key]}"
        seen[key] = entry.file


def _speech_problems(
    file: h5py.File, bands: int, caption_ranges: NDArray[np.int64], has_audio: bool
) -> Iterable[str]:
    ranges, offsets, captions = (file[f"speech/{name}"][()] for name in ("ranges", "offsets", "captions"))
    if len(ranges) != len(caption_ranges) or not len(captions) == len(offsets) - 1 == ranges[-1]:
        yield f"{len(captions)} utterances, their offsets and ranges say otherwise"
        return
    if (np.diff(offsets) % bands).any() or (len(captions) and np.diff(offsets).min() < bands * FEWEST_FRAMES):
        yield f"an utterance is not {FEWEST_FRAMES} or more frames of {bands} bands"
    spoken = np.repeat(caption_ranges[:-1], np.diff(ranges)) + captions  # which caption of the shard
    limits = np.repeat(caption_ranges[1:], np.diff(ranges))
    if (captions < 0).any() or (spoken >= limits).any():
        yield "an utterance speaks a caption that its image does not have"
    elif len(np.unique(spoken)) != caption_ranges[-1]:
        yield "a caption is not spoken"
    if has_audio and not len(file["audio/rates"]) == len(file["audio/offsets"]) - 1 == len(captions):
        yield "not every utterance has its waveform"
