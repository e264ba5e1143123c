"""Reader of the MS COCO captions (Lin et al. 2014; Chen et al. 2015), release 2014 or 2017.

The annotation archive unpacks to `annotations/captions_{train,val}<year>.json`, the images to `train<year>/` and
`val<year>/`. The literature on text-to-image synthesis trains on train and tests on val.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Annotated, Literal, get_args

from pydantic import FailFast, TypeAdapter

from gancli.data.source import BadSample, Sample, Source
from gancli.data.sources.reading import (
    check_choice,
    fingerprint,
    inner_path,
    is_file,
    key_of,
    open_root,
    read_json,
)
from gancli.errors import DataError, UsageError

COCO_PAGE = (
    "COCO is at https://cocodataset.org/#download: unpack annotations_trainval<year>.zip, train<year>.zip and"
    " val<year>.zip into this folder"
)

Year = Literal["auto", "2014", "2017"]

_PARTS = {"train": "train", "test": "val"}  # COCO's name of each of our splits


def read(root: str | Path, *, year: Year = "auto", name: str = "coco") -> Source:
    """Open a copy of COCO's captions, whole or in part.

    Args:
        root: Folder that holds `annotations/` and the images: in `train2014/`, in `images/train2014/`, or all in one
            folder `images/` as for AttnGAN (likewise for val and 2017).
        year: Release; "auto" takes the one that is there.
        name: Short name of the dataset.

    Returns:
        Training images, then val as "test", each in the order of image ids, with captions in the order of annotation
        ids. There are no classes, boxes or attributes.

    Raises:
        DataError: An annotation file is missing or malformed, or a folder of images is missing.
        UsageError: `year` is unknown, or "auto" finds both releases.
    """
    check_choice("release", year, get_args(Year), name)
    root = open_root(root, COCO_PAGE)
    release = _find_year(root) if year == "auto" else year
    files = {split: root / "annotations" / f"captions_{part}{release}.json" for split, part in _PARTS.items()}
    folders = {split: _find_images(root, f"{part}{release}") for split, part in _PARTS.items()}
    records = {split: _read_captions(file) for split, file in files.items()}

    def samples() -> Iterator[Sample | BadSample]:
        for split, file in files.items():
            for image_id, record in sorted(records[split].items()):
                if record.file is None:
                    reason = f"has captions in {file.name}, but is not listed there"
                    yield BadSample(f"image {image_id}", reason)
                    continue
                key = key_of(record.file)
                image = folders[split] / record.file
                captions = tuple(record.captions[annotation_id] for annotation_id in sorted(record.captions))
                if not is_file(image):
                    yield BadSample(key, f"{image.relative_to(root)} is listed in {file.name} but absent")
                elif not captions:
                    yield BadSample(key, f"no caption in {file.name}")
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


_CAPTIONS = TypeAdapter(_Captions)  # keeps only these fields of train2014's 66 MB


@dataclass(slots=True)
class _Record:
    """An image: its file below the folder of images (None if only captions name it) and its captions by id."""

    file: PurePosixPath | None = None
    captions: dict[int, str] = field(default_factory=dict)


def _find_year(root: Path) -> str:
    """Return the release that has an annotation file."""
    folder = root / "annotations"
    found = [year for year in ("2014", "2017") if any(folder.glob(f"captions_*{year}.json"))]
    if not found:
        files = "neither captions_train2014.json nor captions_train2017.json"
        raise DataError(f"{folder} holds {files}", hint=COCO_PAGE)
    if len(found) > 1:
        raise UsageError(f"{folder} holds the captions of 2014 and of 2017", hint="choose one with --year")
    return found[0]


def _find_images(root: Path, part: str) -> Path:
    """Return the folder of images of a part ("train2014")."""
    own, inner, merged = root / part, root / "images" / part, root / "images"
    for candidate in (own, inner):
        if candidate.is_dir():
            return candidate
    if any(merged.glob("*.jpg")):
        return merged
    problem = f"neither {own} nor {inner} exists, and no *.jpg lies in {merged}"
    raise DataError(f"no images of {part}: {problem}", hint=COCO_PAGE)


def _read_captions(path: Path) -> dict[int, _Record]:
    """Read an annotation file: {image id: record}."""
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
