"""Reads the captions of MS COCO (Lin et al. 2014; Chen et al. 2015), release 2014 or 2017, as published.

The annotation archive unpacks to `annotations/captions_{train,val}<year>.json`, the images to
`train<year>/` and `val<year>/`. The literature on text-to-image synthesis trains on train and tests on val.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Annotated, Literal

from pydantic import FailFast, TypeAdapter

from gancli.data.source import BadSample, Sample, Source
from gancli.data.sources.reading import fingerprint, inner_path, read_json
from gancli.errors import DataError, UsageError

COCO_PAGE = (
    "COCO is at https://cocodataset.org/#download: unpack annotations_trainval<year>.zip, train<year>.zip and"
    " val<year>.zip into this folder"
)

_YEARS = ("2014", "2017")
_PARTS = {"train": "train", "test": "val"}  # our split: COCO's


def read(root: Path, *, year: Literal["auto", "2014", "2017"] = "auto", name: str = "coco") -> Source:
    """Opens a copy of COCO's captions, whole or in part.

    Args:
        root: The folder that holds `annotations/` and the images: `train2014/`, `images/train2014/`, or
            all in one folder `images/`, as AttnGAN has them (alike for val and for 2017).
        year: The release; "auto" takes the one that is there.
        name: Short name of the dataset.

    Returns:
        Training images, then val as "test", each in the order of image ids, the captions of an image in the
        order of annotation ids. No classes, boxes or attributes.

    Raises:
        DataError: An annotation file is missing or malformed, or a folder of images is missing.
        UsageError: `year` is unknown, or "auto" finds both releases.
    """
    if year not in ("auto", *_YEARS):
        raise UsageError(f"unknown release {year!r} of COCO", hint="choose auto, 2014 or 2017")
    if not root.is_dir():
        raise DataError(f"{root} is not a folder", hint=COCO_PAGE)
    release = _find_year(root) if year == "auto" else year
    files = {split: root / "annotations" / f"captions_{part}{release}.json" for split, part in _PARTS.items()}
    folders = {split: _find_images(root, f"{part}{release}") for split, part in _PARTS.items()}
    records = {split: _read_captions(file) for split, file in files.items()}

    def samples() -> Iterator[Sample | BadSample]:
        for split in _PARTS:
            for image_id, record in sorted(records[split].items()):
                if record.file is None:
                    yield BadSample(
                        f"image {image_id}", f"has captions in {files[split].name}, but is not listed there"
                    )
                    continue
                key = record.file.with_suffix("").as_posix()
                image = folders[split] / record.file
                captions = tuple(record.captions[annotation_id] for annotation_id in sorted(record.captions))
                if not os.path.isfile(image):  # unlike Path.is_file, False for a name too long
                    absent = f"{image.relative_to(root)} is listed in {files[split].name} but absent"
                    yield BadSample(key, absent)
                elif not captions:
                    yield BadSample(key, f"no caption in {files[split].name}")
                else:
                    yield Sample(key=key, split=split, image=image, captions=captions)

    return Source(
        name=name,
        samples=samples(),
        release=f"COCO {release}",
        split_rule="train/val",
        fingerprint=fingerprint(files.values(), root),
    )


@dataclass(slots=True)
class _Image:
    id: int
    file_name: str


@dataclass(slots=True)
class _Annotation:
    id: int
    image_id: int
    caption: str


@dataclass(slots=True)
class _Captions:
    images: Annotated[list[_Image], FailFast()]
    annotations: Annotated[list[_Annotation], FailFast()]


_CAPTIONS = TypeAdapter(_Captions)  # keeps only the fields above of train2014's 66 MB


@dataclass(slots=True)
class _Record:
    """An image: its file below the folder of images (None: only captions name it), {id: caption}."""

    file: PurePosixPath | None = None
    captions: dict[int, str] = field(default_factory=dict)


def _find_year(root: Path) -> str:
    """The release of which there is at least one annotation file."""
    folder = root / "annotations"
    found = [year for year in _YEARS if any(folder.glob(f"captions_*{year}.json"))]
    if not found:
        raise DataError(
            f"{folder} holds neither captions_train2014.json nor captions_train2017.json", hint=COCO_PAGE
        )
    if len(found) > 1:
        raise UsageError(f"{folder} holds the captions of 2014 and of 2017", hint="choose one with --year")
    return found[0]


def _find_images(root: Path, part: str) -> Path:
    """The folder of images of a part ("train2014")."""
    own, inner, merged = root / part, root / "images" / part, root / "images"
    for candidate in (own, inner):
        if candidate.is_dir():
            return candidate
    if any(merged.glob("*.jpg")):
        return merged
    raise DataError(
        f"no images of {part}: neither {own} nor {inner} exists, and no *.jpg lies in {merged}",
        hint=COCO_PAGE,
    )


def _read_captions(path: Path) -> dict[int, _Record]:
    """{image id: record} of an annotation file."""
    content = read_json(path, _CAPTIONS, "COCO captions", COCO_PAGE)
    records: dict[int, _Record] = {}
    for image in content.images:
        if image.id in records:
            raise DataError(f"{path}: image {image.id} is listed twice")
        records[image.id] = _Record(inner_path(image.file_name, str(path)))
    for annotation in content.annotations:
        caption = annotation.caption.strip()
        if caption:
            records.setdefault(annotation.image_id, _Record()).captions[annotation.id] = caption
    return records
