"""Reads CUB-200-2011 as published (Wah et al. 2011), with the captions of Reed et al. 2016 and either split.

Caltech's archive unpacks to `CUB_200_2011/` with `attributes.txt` beside it; the captions come separately,
as a folder `text/` or `text_c10/` of `<class>/<image>.txt`. Partial copies are welcome: image ids may have
gaps. Any other dataset in this layout (the demo dataset is one) is read by the same code.
"""

from __future__ import annotations

import math
import os
from collections.abc import Container, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from gancli.data.sample import BadSample, BoundingBox, Sample, Source
from gancli.data.sources.files import (
    fingerprint,
    inner_path,
    open_bytes,
    read_captions,
    read_fields,
    read_text,
    reason,
)
from gancli.errors import DataError, UsageError

ZERO_SHOT_TEST_CLASSES = Path(__file__).with_name("cub_test_classes.txt")
"""The 50 test classes of the class-disjoint split that StackGAN, AttnGAN and their successors use."""

CUB_PAGE = (
    "CUB-200-2011: https://data.caltech.edu/records/65de6-vp158; unpack CUB_200_2011.tgz into this folder"
)
CAPTIONS_PAGE = (
    "the captions are those of Reed et al. 2016 (https://github.com/reedscot/cvpr2016): put their folder text"
    " or text_c10 (<class>/<image>.txt, one caption per line) beside CUB_200_2011"
)

# Certainties: 1 not visible, 2 guessing, 3 probably, 4 definitely. What cannot be seen is not present.
_LEAST_CERTAINTY = 2
_UNSEEN = 255


def read(
    root: Path,
    *,
    split: Literal["zero-shot", "official"] = "zero-shot",
    name: str = "cub",
    test_classes: Path | None = None,
) -> Source:
    """Opens a copy of CUB-200-2011, whole or in part.

    Args:
        root: The folder that holds `CUB_200_2011`, or that folder itself.
        split: "zero-shot" sends whole classes to test (of the full dataset 8,855 / 2,933 images, 150 / 50
            classes); "official" follows `train_test_split.txt` (5,994 / 5,794), where both parts show the
            same classes.
        name: Short name of the dataset.
        test_classes: For "zero-shot": another list of test classes, one name of `classes.txt` per line.

    Returns:
        Samples in the order of `images.txt`, classes and attribute names in the order of their ids.
        Attributes are 1 where an annotator saw them (present, certainty of at least "guessing"); there are
        none in the whole dataset without `attributes/image_attribute_labels.txt`. Boxes are passed on as
        they stand in the file.

    Raises:
        DataError: A file that describes the whole dataset is missing or malformed.
        UsageError: `split` is unknown, or `test_classes` comes with the official split.
    """
    if split not in ("zero-shot", "official"):
        raise UsageError(f"unknown split {split!r} of {name}", hint="choose zero-shot or official")
    if test_classes is not None and split == "official":
        raise UsageError("a list of test classes goes with the zero-shot split, not with the official one")

    base = _find_base(root)
    captions = _find_captions(base)
    images_file = _required(base / "images.txt")
    classes_file = _required(base / "classes.txt")
    labels_file = _required(base / "image_class_labels.txt")
    boxes_file = _required(base / "bounding_boxes.txt")

    images = _read_images(images_file)
    class_ids, class_names = _read_classes(classes_file)
    labels = _read_labels(labels_file, class_ids)
    boxes = _read_boxes(boxes_file)
    attribute_files = _find_attributes(base)
    attributes = _read_attributes(*attribute_files, images) if attribute_files else None

    tables: dict[str, Container[int]] = {labels_file.name: labels, boxes_file.name: boxes}
    if split == "official":
        split_file = _required(base / "train_test_split.txt")
        image_splits = _read_image_splits(split_file)
        tables[split_file.name] = image_splits
    else:
        split_file = test_classes or ZERO_SHOT_TEST_CLASSES
        held_out = _read_test_classes(split_file, classes_file, class_names, strict=test_classes is not None)
        in_test = [class_name in held_out for class_name in class_names]
        image_splits = {image: "test" if in_test[class_id] else "train" for image, class_id in labels.items()}

    def samples() -> Iterator[Sample | BadSample]:
        for image_id, relative in images.items():
            key = relative.with_suffix("").as_posix()
            image = base / "images" / relative
            missing = [
                f"image {image_id} is not in {file}" for file in tables if image_id not in tables[file]
            ]
            if not os.path.isfile(image):  # unlike Path.is_file, False for a name too long
                missing.append(f"images/{relative} is listed in images.txt but absent")
            try:
                sentences = read_captions(captions / f"{key}.txt")
            except DataError as error:
                missing.append(reason(error, captions.parent))
            row = attributes.row(image_id) if attributes else None
            if row is not None and (count := int((row == _UNSEEN).sum())):
                missing.append(f"{count} of its {row.size} attributes are not in image_attribute_labels.txt")
            if missing:
                yield BadSample(key, "; ".join(missing))
                continue
            yield Sample(
                key=key,
                split=image_splits[image_id],
                image=image,
                captions=sentences,
                class_id=labels[image_id],
                box=boxes[image_id],
                attributes=row,
            )

    defining = [images_file, classes_file, labels_file, boxes_file, split_file, *(attribute_files or ())]
    return Source(
        name=name,
        samples=samples(),
        class_names=class_names,
        attribute_names=attributes.names if attributes else (),
        fingerprint=fingerprint(defining, base),
    )


@dataclass(frozen=True, slots=True)
class _Attributes:
    """Attributes of all images: `values` is (N, A) uint8 in {0, 1}, `_UNSEEN` where the file says nothing."""

    names: tuple[str, ...]
    rows: dict[int, int]
    values: NDArray[np.uint8]

    def row(self, image_id: int) -> NDArray[np.uint8]:
        return self.values[self.rows[image_id]]  # (A,)


def _find_base(root: Path) -> Path:
    """The folder with images.txt: `root/CUB_200_2011`, or `root` itself."""
    inner = root / "CUB_200_2011"
    if inner.is_dir():
        return inner
    if (root / "images.txt").is_file():
        return root
    if not root.is_dir():
        raise DataError(f"{root} is not a folder", hint=CUB_PAGE)
    raise DataError(f"{root} holds neither CUB_200_2011/images.txt nor images.txt", hint=CUB_PAGE)


def _find_captions(base: Path) -> Path:
    """The folder of captions, inside `base` or beside it."""
    parents = (base, base.absolute().parent)
    candidates = [parent / folder for parent in parents for folder in ("text", "text_c10")]
    for candidate in candidates:
        if candidate.is_dir():
            return candidate
    looked = ", ".join(map(str, candidates))
    raise DataError(f"no captions: none of these folders exists: {looked}", hint=CAPTIONS_PAGE)


def _required(path: Path) -> Path:
    if not path.is_file():
        raise DataError(f"{path} is missing", hint=CUB_PAGE)
    return path


def _integer(text: str, path: Path, number: int, what: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise DataError(f"{path}:{number}: {what} should be a whole number, not {text!r}") from None


def _read_images(path: Path) -> dict[int, PurePosixPath]:
    """{image id: path below images/} of `images.txt`, in file order."""
    images: dict[int, PurePosixPath] = {}
    keys = set()
    for number, (image_id, name) in read_fields(path, 2):
        identity = _integer(image_id, path, number, "the image id")
        relative = inner_path(name, f"{path}:{number}")
        if identity in images or relative.with_suffix("") in keys:
            raise DataError(f"{path}:{number}: image {identity} ({name}) is listed twice")
        keys.add(relative.with_suffix(""))
        images[identity] = relative
    if not images:
        raise DataError(f"{path} lists no image", hint=CUB_PAGE)
    return images


def _read_classes(path: Path) -> tuple[dict[int, int], tuple[str, ...]]:
    """{class id of the file: index} and the class names in the order of their ids."""
    names: dict[int, str] = {}
    for number, (class_id, name) in read_fields(path, 2):
        identity = _integer(class_id, path, number, "the class id")
        if identity in names or name in names.values():
            raise DataError(f"{path}:{number}: class {identity} ({name}) is listed twice")
        names[identity] = name
    if not names:
        raise DataError(f"{path} lists no class", hint=CUB_PAGE)
    ordered = sorted(names)
    indices = {identity: index for index, identity in enumerate(ordered)}
    return indices, tuple(names[identity] for identity in ordered)


def _read_labels(path: Path, class_ids: dict[int, int]) -> dict[int, int]:
    """{image id: index of its class} of `image_class_labels.txt`."""
    labels = {}
    for number, (image_id, class_id) in read_fields(path, 2):
        identity = _integer(class_id, path, number, "the class id")
        if identity not in class_ids:
            raise DataError(f"{path}:{number}: class {identity} is not in classes.txt")
        labels[_integer(image_id, path, number, "the image id")] = class_ids[identity]
    return labels


def _read_boxes(path: Path) -> dict[int, BoundingBox]:
    """{image id: box in pixels} of `bounding_boxes.txt`."""
    boxes = {}
    for number, (image_id, *numbers) in read_fields(path, 5):
        try:
            x, y, width, height = map(float, numbers)
        except ValueError:
            found = " ".join(numbers)
            raise DataError(f"{path}:{number}: x, y, width and height expected, found {found!r}") from None
        if not all(map(math.isfinite, (x, y, width, height))):
            raise DataError(f"{path}:{number}: the box is not finite: {' '.join(numbers)}")
        boxes[_integer(image_id, path, number, "the image id")] = BoundingBox(x, y, width, height)
    return boxes


def _read_image_splits(path: Path) -> dict[int, str]:
    """{image id: "train" or "test"} of `train_test_split.txt`, where 1 means train."""
    splits = {}
    for number, (image_id, is_training) in read_fields(path, 2):
        if is_training not in ("0", "1"):
            raise DataError(f"{path}:{number}: 1 (train) or 0 (test) expected, found {is_training!r}")
        splits[_integer(image_id, path, number, "the image id")] = "train" if is_training == "1" else "test"
    return splits


def _read_test_classes(
    path: Path, classes_file: Path, class_names: tuple[str, ...], *, strict: bool
) -> set[str]:
    """The names in the list `path`. All must be classes when `strict`; at least one must be in any case."""
    listed = {line.strip() for line in read_text(path).split("\n") if line.strip()}
    unknown = sorted(listed.difference(class_names))
    if strict and unknown:
        raise DataError(f"{path}: not in {classes_file}: {', '.join(unknown)}")
    if len(unknown) == len(listed):
        raise DataError(
            f"none of the {len(class_names)} classes of {classes_file} is a test class of {path.name}",
            hint="use --split official, or in Python test_classes=… with a list of your own",
        )
    return listed


def _find_attributes(base: Path) -> tuple[Path, Path] | None:
    """The files of attribute labels and attribute names; None where the copy has no labels."""
    labels_file = base / "attributes" / "image_attribute_labels.txt"
    if not labels_file.is_file():
        return None
    candidates = [folder / "attributes.txt" for folder in (base.absolute().parent, base, labels_file.parent)]
    names_file = next((candidate for candidate in candidates if candidate.is_file()), None)
    if names_file is None:
        looked = " and no ".join(map(str, candidates))
        raise DataError(f"{labels_file} comes without the attributes' names: no {looked}", hint=CUB_PAGE)
    return labels_file, names_file


def _read_attributes(labels_file: Path, names_file: Path, images: Iterable[int]) -> _Attributes:
    """The attributes of `images`, given by their ids; lines about other images are passed over."""
    names = {}
    for number, (identity, name) in read_fields(names_file, 2):
        names[_integer(identity, names_file, number, "the attribute id")] = name
    ordered = sorted(names)
    columns = {attribute_id: column for column, attribute_id in enumerate(ordered)}
    rows = {image_id: row for row, image_id in enumerate(images)}
    # 3.7 million lines: assigning an item of a bytearray is several times faster than one of a NumPy array.
    values = bytearray([_UNSEEN]) * (len(rows) * len(columns))
    with open_bytes(labels_file) as stream:
        for number, line in enumerate(stream, 1):
            # image id, attribute id, is present, certainty, seconds; a few lines of CUB have more columns.
            fields = line.split(maxsplit=4)
            if not fields:
                continue
            try:
                image_id, attribute_id, present, certainty = map(int, fields[:4])
                column = columns[attribute_id]
            except (ValueError, KeyError):
                column = present = certainty = -1
            if column < 0 or present not in (0, 1) or not 1 <= certainty <= 4:
                text = line.decode(errors="replace").strip()
                raise DataError(
                    f"{labels_file}:{number}: expected image id, attribute id (of {names_file.name}),"
                    f" 0 or 1, certainty 1 to 4; found {text!r}"
                )
            if (row := rows.get(image_id)) is not None:
                values[row * len(columns) + column] = present and certainty >= _LEAST_CERTAINTY
    table = np.frombuffer(values, dtype=np.uint8).reshape(len(rows), len(columns))  # (N, A)
    return _Attributes(tuple(names[attribute_id] for attribute_id in ordered), rows, table)
