"""Images to score: a split of a prepared dataset, or a folder of files.

Both yield uint8 images batch by batch, so memory does not grow with their number. Nothing is skipped: a folder without
images and a file that cannot be decoded are errors, because a score of fewer images than it claims would be wrong.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from gancli.data.images import load_image
from gancli.data.loader import Window, evaluation_batches
from gancli.data.manifest import MANIFEST
from gancli.data.shards import Dataset, Split
from gancli.data.sources.reading import list_files
from gancli.errors import DataError, UsageError
from gancli.figures import to_uint8
from gancli.hashes import file_hash
from gancli.inference.csfgan import Inpainter
from gancli.inference.loaded import LoadedModel
from gancli.sampling.samples_folder import (
    SAMPLES,
    SAMPLING,
    GeneratedImage,
    Sampling,
    read_samples,
    read_sampling,
)
from gancli.scores.results import HoleFields, Origin, RealData

Pixels = NDArray[np.uint8]

# Formats that Pillow knows by name but reads with programs of other people, if at all
_FOREIGN = {"BUFR", "EPS", "GRIB", "HDF5", "MPEG", "WMF"}
_LISTED = 10  # unreadable files named in the message


class Images(Protocol):
    """A known number of images in a fixed order.

    Attributes:
        name: Name as the user gave it.
        fingerprint: sha256 over what the images are.
        side: Side in pixels where all are squares of one size, as far as is known without reading them.
    """

    @property
    def name(self) -> str: ...

    @property
    def fingerprint(self) -> str: ...

    @property
    def side(self) -> int | None: ...

    def __len__(self) -> int: ...

    def batches(self, size: int) -> Iterator[list[Pixels]]:
        """Yield all images in order as (H, W, 3) uint8 RGB, `size` at a time. The last batch may be smaller.

        Raises:
            DataError: A file cannot be decoded. The message names every such file, not only the first.
        """

    def part(self, rows: slice) -> Images:
        """Return some of the images alone, in the same order."""


@dataclass(frozen=True)
class SplitImages:
    """A split's images at one side: their centre windows, or whole images whose sides are made equal.

    Attributes:
        name: Name as the user gave it.
        dataset: The dataset.
        split: The split.
        side: Side in pixels.
        images: Indices within the split, in order; None for all of it.
        window: "center" or "whole".
    """

    name: str
    dataset: Dataset
    split: Split
    side: int
    images: tuple[int, ...] | None = None
    window: Window = "center"

    def __len__(self) -> int:
        return len(self.split) if self.images is None else len(self.images)

    @property
    def data(self) -> RealData:
        """The dataset and the rules behind the images, for a score row."""
        manifest = self.dataset.manifest
        return RealData(
            dataset=manifest.name,
            release=manifest.release,
            split_rule=manifest.split_rule,
            crop_rule=manifest.crop_rule,
            split=self.split.name,
            window=self.window,
        )

    def beside(self, other: Images | None) -> SplitImages:
        """Return the part of the same images that other images show, where these were made from whole ones."""
        sampling = other.sampling if isinstance(other, FileImages) else None
        return self if sampling is None else dataclasses.replace(self, window=sampling.window)

    def at(self, side: int) -> SplitImages:
        """Return the same images at another side."""
        return dataclasses.replace(self, side=side)

    def only(self, images: Sequence[int]) -> SplitImages:
        """Return some images of the split alone, in the order given."""
        return dataclasses.replace(self, images=tuple(images))

    def part(self, rows: slice) -> SplitImages:
        return self.only(range(len(self.split))[rows] if self.images is None else self.images[rows])

    @cached_property
    def fingerprint(self) -> str:
        """sha256 over the manifest, which holds the hash of every shard, the split, its images and the side."""
        text = f"{file_hash(self.split.folder / MANIFEST)}:{self.split.name}:{self.side}"
        if self.window != "center":
            text += f":{self.window}"
        if self.images is not None:
            text += f":{','.join(map(str, self.images))}"
        return hashlib.sha256(text.encode()).hexdigest()

    def batches(self, size: int) -> Iterator[list[Pixels]]:
        images = None if self.images is None else np.array(self.images, np.int64)
        of = evaluation_batches(
            self.split, sizes=(self.side,), batch=size, words=1, images=images, window=self.window
        )
        for batch in of:
            yield list(to_uint8(batch.images[0]))


@dataclass(frozen=True)
class FileImages:
    """Images in files, decoded when they are asked for. Grey and transparent ones become RGB.

    Attributes:
        name: Name as the user gave it.
        folder: Their folder.
        files: Paths in order.
        side: Side in pixels, where the folder says so.
        sampling: The model that made them and its settings, where the folder says so.
        left_out: Files beside them that are not images.
    """

    name: str
    folder: Path
    files: tuple[Path, ...]
    side: int | None
    sampling: Sampling | None
    left_out: tuple[Path, ...] = ()

    def __len__(self) -> int:
        return len(self.files)

    @cached_property
    def fingerprint(self) -> str:
        """sha256 over the contents of the files, in order."""
        with ThreadPoolExecutor() as pool:
            return hashlib.sha256("\n".join(pool.map(file_hash, self.files)).encode()).hexdigest()

    @property
    def data(self) -> RealData | None:
        """The dataset that the images were drawn for; None where the folder does not say."""
        sampling = self.sampling
        if sampling is None or sampling.dataset is None:
            return None
        return RealData(
            dataset=sampling.dataset,
            release=sampling.release or "",
            split_rule=sampling.split_rule or "",
            crop_rule=sampling.crop_rule or "",
            split=sampling.split or "",
        )

    def part(self, rows: slice) -> FileImages:
        return dataclasses.replace(self, files=self.files[rows])

    def only(self, images: Sequence[int]) -> FileImages:
        """Return some of the images alone, in the order given."""
        return dataclasses.replace(self, files=tuple(self.files[index] for index in images))

    def batches(self, size: int) -> Iterator[list[Pixels]]:
        with ThreadPoolExecutor() as pool:
            ahead = pool.map(_decode, self.files[:size])
            for start in range(0, len(self.files), size):
                results = list(ahead)
                # Decoded while the caller looks at this batch
                ahead = pool.map(_decode, self.files[start + size : start + 2 * size])
                images = [image for image in results if not isinstance(image, DataError)]
                if len(images) < len(results):
                    # Look at the remaining files now, so that the user learns of all bad ones at once
                    rest = pool.map(_decode_only, self.files[start + size :])
                    errors = [each for each in (*results, *rest) if isinstance(each, DataError)]
                    raise _unreadable(self.folder, errors)
                yield images


def _decode(path: Path) -> Pixels | DataError:
    try:
        return np.asarray(load_image(path))
    except DataError as error:
        return error


def _decode_only(path: Path) -> DataError | None:
    result = _decode(path)
    return result if isinstance(result, DataError) else None


def _unreadable(folder: Path, errors: Sequence[DataError]) -> DataError:
    lines = [f"  {error}" for error in errors[:_LISTED]]
    if len(errors) > _LISTED:
        lines.append(f"  … and {len(errors) - _LISTED} more")
    return DataError(
        f"{folder}: {len(errors)} images cannot be read:\n" + "\n".join(lines),
        "Repair or remove them, then score again.",
    )


def open_images(name: str | Path) -> SplitImages | FileImages:
    """Open the images that a user names.

    Args:
        name: "DIR:split" of a prepared dataset, whose images are taken at its image size, or a folder of images,
            searched with its subfolders for every format that Pillow reads. Links are followed once, and hidden files
            are passed over. In a folder of `gancli sample`, exactly the files of samples.csv are taken.

    Raises:
        DataError: There is no such folder or split, or no image in it.
        UsageError: A prepared dataset is named without a split.
    """
    name = str(name)
    folder, colon, _ = name.rpartition(":")
    path = Path(name)
    if colon and folder and not path.exists():
        return open_split(name)
    if not path.is_dir():
        raise DataError(f"{name}: no such folder", "Name a folder of images, or a dataset as DIR:split.")
    if (path / MANIFEST).is_file():
        raise UsageError(
            f"{name}: is a prepared dataset; say which split",
            f"One of: {', '.join(f'{name}:{split}' for split in Dataset.open(path).split_names)}",
        )
    return _file_images(name, path)


def open_split(name: str | Path) -> SplitImages:
    """Open a split of a prepared dataset, named "DIR:split".

    Raises:
        DataError: There is no such dataset or split, or it is empty.
        UsageError: No split is named.
    """
    name = str(name)
    folder, colon, split_name = name.rpartition(":")
    if not colon or not folder or Path(name).exists():
        raise UsageError(f"{name}: is not a split of a dataset", "Name it as DIR:split.")
    dataset = Dataset.open(Path(folder))
    split = dataset.split(split_name)
    if len(split) == 0:
        raise DataError(f"{name}: the split is empty")
    return SplitImages(name, dataset, split, dataset.image_size)


def open_samples(
    samples: str | Path, data: str | Path | None
) -> tuple[FileImages, list[GeneratedImage], SplitImages]:
    """Open generated images, a record of each in the same order, and the real images whose captions they drew.

    Args:
        samples: Folder of `gancli sample`.
        data: Split of the captions as "DIR:split"; None for the one in sampling.json.

    Returns:
        The generated images, their records, and the real images at the side of the generated ones or, where the dataset
        is smaller, its own.

    Raises:
        DataError: Images, samples.csv or the split are missing or broken.
        UsageError: `samples` is a dataset, or the split of the captions is unknown.
    """
    fake = open_images(samples)
    if not isinstance(fake, FileImages):
        raise UsageError(f"{samples}: is a dataset; this score takes a folder of gancli sample")
    records = read_samples(fake.folder)
    if data is None:
        if fake.sampling is None or fake.sampling.data is None:
            raise UsageError(
                f"{samples}: does not say which dataset its captions come from",
                "Sample with --data DIR --split SPLIT, or name the split with --data DIR:SPLIT.",
            )
        data = f"{fake.sampling.data}:{fake.sampling.split}"
    real = open_split(data).beside(fake)
    return fake, records, real.at(min(records[0].size, real.side))


def _file_images(name: str, folder: Path) -> FileImages:
    side = None
    every: list[Path] = []
    if (folder / SAMPLES).is_file() or (folder / SAMPLING).is_file():
        samples = read_samples(folder)
        if samples[0].second_caption:
            raise UsageError(
                f"{name}: holds images between two sentences, which no score is defined for",
                "Score images of captions: gancli sample … --data DIR --split SPLIT.",
            )
        files = tuple(folder / sample.file for sample in samples)
        side = samples[0].size
    else:
        every = [folder / path for path in sorted(list_files(folder))]
        files = tuple(path for path in every if path.suffix.lower() in image_extensions())
    left_out = tuple(path for path in every if path not in set(files))
    if not files:
        found = f"only {_endings(left_out)}" if left_out else "it is empty"
        raise DataError(
            f"{folder}: no images in it ({found})",
            "Every format that Pillow reads is taken, from the endings of its files, in any case.",
        )
    return FileImages(name, folder, files, side, read_sampling(folder), left_out)


@functools.cache
def image_extensions() -> frozenset[str]:
    """Return the endings, in small letters, of the files that are taken as images."""
    known = Image.registered_extensions()  # which loads Pillow's plugins
    return frozenset(end for end, kind in known.items() if kind in Image.OPEN and kind not in _FOREIGN)


def _endings(files: Sequence[Path]) -> str:
    """Return the kinds of files that are no images, in words."""
    counts = Counter(path.suffix or path.name for path in files)
    return "files of kind " + ", ".join(
        f"{end} ({count:,})" for end, count in sorted(counts.items())[:_LISTED]
    )


def remarks_on(images: Images) -> list[str]:
    """Return the note on files of a folder that were not taken as images."""
    left_out = images.left_out if isinstance(images, FileImages) else ()
    if not left_out:
        return []
    names = ", ".join(path.name for path in left_out[:_LISTED])
    more = f" and {len(left_out) - _LISTED:,} more" if len(left_out) > _LISTED else ""
    return [f"{len(left_out):,} files of {images.name} are not images and were not scored: {names}{more}"]


def origin_of(images: SplitImages | FileImages) -> Origin:
    """Return where images come from, as far as the folder says."""
    name, side = images.name, images.side
    if isinstance(images, SplitImages):
        return Origin(
            images="real", method="real", model=name, model_hash=images.fingerprint, image_size=side
        )
    sampling = images.sampling
    if sampling is None:
        return Origin(
            method=images.folder.name,
            model=name,
            model_hash=images.fingerprint,
            image_size=side,
            files_left_out=len(images.left_out),
        )
    return Origin(
        method=sampling.described_method,
        model=sampling.model,
        model_hash=sampling.model_hash,
        kind=sampling.kind,
        ablation=sampling.ablation,
        differences=sampling.differences,
        trained_steps=sampling.trained_steps,
        **vars(holes_of(images)),
        mismatched=sampling.mismatched,
        caption_words=sampling.words,
        captions_per_image=sampling.captions_per_image,
        image_size=sampling.stages[-1],
        seed=sampling.seed,
        train_seed=sampling.train_seed,
    )


def origin_of_model(model: LoadedModel | Inpainter, name: str) -> Origin:
    """Return a model as the origin of a score without images, such as its cost."""
    return Origin(
        images="none",
        method=model.method,
        model=name,
        model_hash=model.hash,
        kind=model.settings["kind"],
        ablation=model.ablation,
        differences=model.differences,
        trained_steps=model.settings.get("step"),
        train_seed=model.settings.get("seed"),
        image_size=model.size if isinstance(model, Inpainter) else model.stages[-1],
    )


def holes_of(images: SplitImages | FileImages) -> HoleFields:
    """Return the holes that were filled in images, as far as the folder says."""
    sampling = images.sampling if isinstance(images, FileImages) else None
    if sampling is None or sampling.holes is None:
        return HoleFields()
    holes = sampling.holes
    return HoleFields(
        hole_kind=holes.kind,
        hole_center=holes.center,
        hole_least=holes.least,
        hole_most=holes.most,
        hole_folder=holes.folder or "",
        hole_sha256=holes.sha256 or "",
        hole_inverted=bool(holes.inverted),
        hole_seed=sampling.hole_seed,
    )


def learned_from(images: FileImages, network_sha256: str) -> list[str]:
    """Return the note on generated images scored by the network that their model was trained with."""
    if images.sampling is not None and images.sampling.encoder_hash == network_sha256:
        return ["the generator learned from this very encoder, so the number is inflated"]
    return []
