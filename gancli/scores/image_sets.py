"""Where the images of a score come from: a split of a prepared dataset, or a folder of files.

Both hand out uint8 images batch by batch, so memory does not grow with their number. Nothing is skipped: a folder
without images and a file that cannot be decoded are errors, for a score over fewer images than it says would be
wrong.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from gancli.data.images import load_image
from gancli.data.loader import evaluation_batches
from gancli.data.manifest import MANIFEST
from gancli.data.shards import Dataset, Split, file_hash
from gancli.errors import DataError, UsageError
from gancli.figures import to_uint8
from gancli.sampling.samples_folder import (
    SAMPLES,
    SAMPLING,
    GeneratedImage,
    Sampling,
    read_samples,
    read_sampling,
)
from gancli.scores.results import HOLES

Pixels = NDArray[np.uint8]

EXTENSIONS = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff", ".ppm", ".pgm"})
_LISTED = 10  # unreadable files named in the message


class Images(Protocol):
    """A known number of images in a fixed order.

    Attributes:
        name: As the user gave them.
        fingerprint: sha256 over what they are; the same images have the same one.
        side: Their side in pixels where all are squares of one size, as far as is known without reading them.
    """

    @property
    def name(self) -> str: ...

    @property
    def fingerprint(self) -> str: ...

    @property
    def side(self) -> int | None: ...

    def __len__(self) -> int: ...

    def batches(self, size: int) -> Iterator[list[Pixels]]:
        """All images once, in order, each (H, W, 3) uint8 RGB; the last batch may be smaller."""
        ...

    def part(self, rows: slice) -> Images:
        """Some of them alone."""
        ...


@dataclass(frozen=True)
class SplitImages:
    """The real images of a split: the centre window of each, as in evaluation, at one side.

    Attributes:
        name: As the user gave it.
        dataset: The dataset's name.
        split: The split.
        side: Pixels; the window of the dataset's image size is resized to it where they differ.
        images: Their places in the split, in order; None for all of it.
    """

    name: str
    dataset: str
    split: Split
    side: int
    images: tuple[int, ...] | None = None

    def __len__(self) -> int:
        return len(self.split) if self.images is None else len(self.images)

    def at(self, side: int) -> SplitImages:
        """The same images at another side."""
        return dataclasses.replace(self, side=side)

    def only(self, images: Sequence[int]) -> SplitImages:
        """Those of some images of the split alone, in the order given."""
        return dataclasses.replace(self, images=tuple(images))

    def part(self, rows: slice) -> SplitImages:
        return self.only(range(len(self.split))[rows] if self.images is None else self.images[rows])

    @cached_property
    def fingerprint(self) -> str:
        """sha256 over the manifest, which holds the hash of every shard, the split, its images and the side."""
        text = f"{file_hash(self.split.folder / MANIFEST)}:{self.split.name}:{self.side}"
        if self.images is not None:
            text += f":{','.join(map(str, self.images))}"
        return hashlib.sha256(text.encode()).hexdigest()

    def batches(self, size: int) -> Iterator[list[Pixels]]:
        images = None if self.images is None else np.array(self.images, np.int64)
        for batch in evaluation_batches(self.split, sizes=(self.side,), batch=size, words=1, images=images):
            yield list(to_uint8(batch.images[0]))


@dataclass(frozen=True)
class FileImages:
    """Images in files, decoded as they are asked for; grey and transparent ones become RGB.

    Attributes:
        name: As the user gave it.
        fingerprint: sha256 over the files' names, sizes and times.
        folder: Where they lie.
        files: In order.
        sampling: What made them, where the folder says so.
    """

    name: str
    fingerprint: str
    folder: Path
    files: tuple[Path, ...]
    side: int | None
    sampling: Sampling | None

    def __len__(self) -> int:
        return len(self.files)

    def part(self, rows: slice) -> FileImages:
        return dataclasses.replace(self, files=self.files[rows])

    def batches(self, size: int) -> Iterator[list[Pixels]]:
        with ThreadPoolExecutor() as pool:
            ahead = pool.map(_decode, self.files[:size])
            for start in range(0, len(self.files), size):
                results = list(ahead)
                # Decoded while the caller looks at this batch
                ahead = pool.map(_decode, self.files[start + size : start + 2 * size])
                images = [image for image in results if not isinstance(image, DataError)]
                if len(images) < len(results):
                    # One is bad: look at the rest now, so that the user learns of all at once
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
        "Mend or remove them, then score again.",
    )


def open_images(name: str) -> SplitImages | FileImages:
    """The images that a user names.

    Args:
        name: "DIR:split" of a prepared dataset, whose images are taken at its image size, or a folder of
            images (looked through with its subfolders, any case of extension). In a folder of `gancli sample`
            exactly the files of samples.csv are taken.

    Raises:
        DataError: There is no such folder or split, or no image in it.
        UsageError: A prepared dataset is named without a split.
    """
    folder, colon, split_name = name.rpartition(":")
    if colon and not Path(name).exists():
        dataset = Dataset.open(folder)
        split = dataset.split(split_name)
        if len(split) == 0:
            raise DataError(f"{name}: the split is empty")
        return SplitImages(name, dataset.name, split, dataset.image_size)
    path = Path(name)
    if not path.is_dir():
        raise DataError(f"{name}: no such folder", "Name a folder of images, or a dataset as DIR:split.")
    if (path / MANIFEST).is_file():
        raise UsageError(
            f"{name}: is a prepared dataset; say which split",
            f"One of: {', '.join(f'{name}:{split}' for split in Dataset.open(path).split_names)}",
        )
    return _file_images(name, path)


def open_samples(samples: str, data: str | None) -> tuple[FileImages, list[GeneratedImage], SplitImages]:
    """Generated images, what each is of, and the real images of the split that their captions come from.

    Args:
        samples: A folder of `gancli sample`.
        data: "DIR:split" of the captions; None: where sampling.json says.

    Returns:
        The generated images, a record of each in the same order, and the real images at the side of the
        generated ones or, where the dataset is smaller, its own.

    Raises:
        DataError: Images, samples.csv or the split are missing or broken.
        UsageError: `samples` is a dataset, or it is not known which split the captions come from.
    """
    fake = open_images(samples)
    if not isinstance(fake, FileImages):
        raise UsageError(f"{samples}: is a dataset; this score is of a folder of gancli sample")
    records = read_samples(fake.folder)
    if data is None:
        if fake.sampling is None or fake.sampling.data is None:
            raise UsageError(
                f"{samples}: does not say which dataset its captions come from",
                "Sample with --data DIR --split SPLIT, or name the split with --data DIR:SPLIT.",
            )
        data = f"{fake.sampling.data}:{fake.sampling.split}"
    real = open_images(data)
    if not isinstance(real, SplitImages):
        raise UsageError(f"{data}: is not a split of a dataset", "Say it as DIR:split.")
    return fake, records, real.at(min(records[0].size, real.side))


def _file_images(name: str, folder: Path) -> FileImages:
    side = None
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
        files = tuple(
            sorted(path for path in folder.rglob("*") if path.suffix.lower() in EXTENSIONS and path.is_file())
        )
    if not files:
        others = sorted({path.suffix or path.name for path in folder.rglob("*") if path.is_file()})
        found = f"only files of kind {', '.join(others[:8])}" if others else "it is empty"
        raise DataError(
            f"{folder}: no images in it ({found})",
            f"Looked for {', '.join(sorted(EXTENSIONS))}, in any case.",
        )
    digest = hashlib.sha256()
    for file in files:
        status = file.stat()
        digest.update(f"{file.relative_to(folder)}\0{status.st_size}\0{status.st_mtime_ns}\n".encode())
    return FileImages(name, digest.hexdigest(), folder, files, side, read_sampling(folder))


@dataclass(frozen=True)
class Origin:
    """Who made the images: the fields of a score row that say so.

    Attributes:
        method: What the tables call the model; "real" for a dataset's own images.
        model: The model folder, or the images' name where no model is known.
        model_hash: sha256 of the model's weights, or the images' fingerprint.
        image_size: Side in pixels, where it is one.
        seed: Of the sampling, where it is known.
    """

    method: str
    model: str
    model_hash: str
    image_size: int | None = None
    seed: int | None = None


def origin_of(images: SplitImages | FileImages) -> Origin:
    """Who made the images, as far as the folder says."""
    if isinstance(images, SplitImages):
        return Origin("real", images.name, images.fingerprint, images.side)
    sampling = images.sampling
    if sampling is None:
        return Origin(images.folder.name, images.name, images.fingerprint, images.side)
    return Origin(
        sampling.described_method, sampling.model, sampling.model_hash, sampling.stages[-1], sampling.seed
    )


def holes_of(images: SplitImages | FileImages) -> str:
    """What a protocol ends with where the images are filled ones: `HOLES` and which; else nothing."""
    sampling = images.sampling if isinstance(images, FileImages) else None
    if sampling is None or sampling.holes is None:
        return ""
    seed = "" if sampling.hole_seed is None else f", seed {sampling.hole_seed}"
    return f"{HOLES}{sampling.holes}{seed}"


def note_on(images: FileImages, network_sha256: str) -> str:
    """What to know of generated images that are judged by a network: whether they were trained to please it."""
    if images.sampling is not None and images.sampling.encoder_hash == network_sha256:
        return "the generator learned from this very encoder: the number is inflated"
    return ""
