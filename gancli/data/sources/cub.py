"""Reads CUB-200-2011 as published (Wah et al. 2011), with the captions of Reed et al. 2016 and either split.

Caltech's archive unpacks to `CUB_200_2011/` with `attributes.txt` beside it; the captions come separately,
as a folder `text/` or `text_c10/` of `<class>/<image>.txt`. Partial copies are welcome: image ids may have
gaps. Any other dataset in this layout (the demo dataset is one) is read by the same code.
"""

from __future__ import annotations

import math
import os
from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from gancli.data.source import BadSample, BoundingBox, PartLocations, Sample, Source
from gancli.data.sources.reading import (
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

RELEASE = "CUB-200-2011"
SPLIT_RULES = {"zero-shot": "zero-shot 150/50", "official": "official"}  # the manifest's name of each split
CLASS_LIST = "class list"  # the split rule of another list of test classes

CUB_PAGE = (
    "CUB-200-2011: https://data.caltech.edu/records/65de6-vp158; unpack CUB_200_2011.tgz into this folder"
)
CAPTIONS_PAGE = (
    "the captions are those of Reed et al. 2016 (https://github.com/reedscot/cvpr2016): put their folder text"
    " or text_c10 (<class>/<image>.txt, one caption per line) beside CUB_200_2011"
)

SEGMENTATIONS_PAGE = (
    "the masks are a download of their own, https://data.caltech.edu/records/w9d68-gec53: unpack segmentations.tgz"
    " beside CUB_200_2011; or make masks from the locations of the parts with --silhouettes estimate"
)

Encoding = Literal["binary", "soft", "class"]
Silhouettes = Literal["official", "estimate", "none"]

# {present 0 or 1, then certainty 1 not visible, 2 guessing, 3 probably, 4 definitely: number in quarters}. What
# cannot be seen is not present.
_QUARTERS: dict[Encoding, dict[bytes, int]] = {
    "binary": {b"01": 0, b"02": 0, b"03": 0, b"04": 0, b"11": 0, b"12": 4, b"13": 4, b"14": 4},
    "soft": {b"01": 0, b"02": 2, b"03": 1, b"04": 0, b"11": 0, b"12": 2, b"13": 3, b"14": 4},
}
_UNSEEN = 255


def read(
    root: Path,
    *,
    split: Literal["zero-shot", "official"] = "zero-shot",
    name: str = "cub",
    test_classes: Path | None = None,
    attributes: Encoding | None = None,
    silhouettes: Silhouettes | None = None,
) -> Source:
    """Opens a copy of CUB-200-2011, whole or in part.

    Args:
        root: The folder that holds `CUB_200_2011`, or that folder itself.
        split: "zero-shot" sends whole classes to test (of the full dataset 8,855 / 2,933 images, 150 / 50
            classes); "official" follows `train_test_split.txt` (5,994 / 5,794), where both parts show the
            same classes.
        name: Short name of the dataset.
        test_classes: For "zero-shot": another list of test classes, one name of `classes.txt` per line.
        attributes: What an attribute's number means. "binary": 1 where an annotator of the image saw it, be
            it at a guess. "soft": 1, .75, .5 where it is definitely, probably, at a guess present, 0, .25, .5
            where it is absent, 0 where it is out of sight. "class": the share of annotators who saw it in
            images of the class, the same for all of them. None: "binary" where there is
            `attributes/image_attribute_labels.txt`, else "class" where there are the percentages of the classes
            and the names, else no attributes.
        silhouettes: "official": the masks of `segmentations/`, inside CUB_200_2011 or beside it; a single one
            may be absent, which `prepare` notes. "estimate": the visible parts of `parts/part_locs.txt`, for
            `prepare` to estimate a mask from. "none": neither. None: "official" where there is the folder.

    Returns:
        Samples in the order of `images.txt`, classes and attribute names in the order of their ids. Boxes are
        passed on as they stand in the file.

    Raises:
        DataError: A file that describes the whole dataset is missing or malformed.
        UsageError: `split`, `attributes` or `silhouettes` is unknown, or `test_classes` comes with the official
            split.
    """
    if split not in ("zero-shot", "official"):
        raise UsageError(f"unknown split {split!r} of {name}", hint="choose zero-shot or official")
    if test_classes is not None and split == "official":
        raise UsageError("a list of test classes goes with the zero-shot split, not with the official one")

    for what, choice, choices in (
        ("attributes", attributes, get_args(Encoding)),
        ("silhouettes", silhouettes, get_args(Silhouettes)),
    ):
        if choice is not None and choice not in choices:
            raise UsageError(
                f"unknown {what} {choice!r} of {name}",
                hint=f"choose {', '.join(choices[:-1])} or {choices[-1]}",
            )

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
    attribute_files = _find_attributes(base, attributes)
    table = _read_attributes(attribute_files, images, labels, len(class_names)) if attribute_files else None
    masks = _find_silhouettes(base, required=True) if silhouettes == "official" else None
    if silhouettes is None:
        masks = _find_silhouettes(base, required=False)
    parts_file = base / "parts" / "part_locs.txt"
    parts = _read_parts(parts_file, images) if silhouettes == "estimate" else None

    tables: dict[str, Container[int]] = {labels_file.name: labels, boxes_file.name: boxes}
    if parts is not None:
        tables["parts/part_locs.txt"] = parts
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
            row = table.row(image_id) if table else None
            if row is not None and (count := int(np.isnan(row).sum())):
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
                silhouette=parts[image_id]
                if parts is not None
                else masks and masks / relative.with_suffix(".png"),
            )

    defining = [images_file, classes_file, labels_file, boxes_file, split_file]
    if attribute_files:
        defining += [attribute_files.values, attribute_files.names]
    if parts is not None:
        defining.append(parts_file)
    return Source(
        name=name,
        samples=samples(),
        release=RELEASE,
        split_rule=SPLIT_RULES[split] if test_classes is None else CLASS_LIST,
        class_names=class_names,
        attribute_names=table.names if table else (),
        attribute_encoding=attribute_files.encoding if attribute_files else "",
        fingerprint=fingerprint(defining, base),
    )


@dataclass(frozen=True, slots=True)
class _AttributeFiles:
    """Where attributes come from: the labels of the images, or for "class" the percentages, and the names."""

    encoding: Encoding
    values: Path
    names: Path


@dataclass(frozen=True, slots=True)
class _Attributes:
    """`values` is (images or classes, A) float32 in [0, 1], NaN where the file says nothing."""

    names: tuple[str, ...]
    rows: Mapping[int, int]  # {image id: row}
    values: NDArray[np.float32]

    def row(self, image_id: int) -> NDArray[np.float32] | None:
        row = self.rows.get(image_id)
        return None if row is None else self.values[row]  # (A,)


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


def _find_attributes(base: Path, encoding: Encoding | None) -> _AttributeFiles | None:
    """The files of attributes as `encoding` asks; None where it does not ask and there are none."""
    folder = base / "attributes"
    labels_file = folder / "image_attribute_labels.txt"
    shares_file = folder / "class_attribute_labels_continuous.txt"
    candidates = [parent / "attributes.txt" for parent in (base.absolute().parent, base, folder)]
    names_file = next((candidate for candidate in candidates if candidate.is_file()), None)
    asked = encoding is not None
    if encoding is None:
        encoding = "binary" if labels_file.is_file() else "class"
    values_file = shares_file if encoding == "class" else labels_file
    if not values_file.is_file():
        if not asked:
            return None
        other = labels_file if encoding == "class" else shares_file
        alternative = "binary (or soft)" if encoding == "class" else "class"
        raise DataError(
            f"{values_file} is missing, which {encoding} attributes are read from",
            hint=f"there is {other.name}: choose --attributes {alternative}" if other.is_file() else CUB_PAGE,
        )
    if names_file is None:
        if encoding == "class" and not asked:
            return None
        looked = " and no ".join(map(str, candidates))
        raise DataError(f"{values_file} comes without the attributes' names: no {looked}", hint=CUB_PAGE)
    return _AttributeFiles(encoding, values_file, names_file)


def _read_attributes(
    files: _AttributeFiles, images: Iterable[int], labels: Mapping[int, int], classes: int
) -> _Attributes:
    """The attributes of `images`, given by their ids, which are of the classes that `labels` says."""
    names = _read_attribute_names(files.names)
    if files.encoding == "class":
        shares = _read_shares(files.values, classes, files.names, len(names))
        return _Attributes(tuple(names.values()), labels, shares)
    rows = {image_id: row for row, image_id in enumerate(images)}
    quarters = _read_image_labels(files, rows, {identity: column for column, identity in enumerate(names)})
    values = np.where(quarters == _UNSEEN, np.float32(np.nan), quarters / np.float32(4))
    return _Attributes(tuple(names.values()), rows, values)


def _read_attribute_names(path: Path) -> dict[int, str]:
    """{attribute id: name} of `attributes.txt`, in the order of the ids."""
    names: dict[int, str] = {}
    listed = set()
    for number, (attribute_id, name) in read_fields(path, 2):
        identity = _integer(attribute_id, path, number, "the attribute id")
        if identity in names or name in listed:
            raise DataError(f"{path}:{number}: attribute {identity} ({name}) is listed twice")
        names[identity] = name
        listed.add(name)
    if not names:
        raise DataError(f"{path} lists no attribute", hint=CUB_PAGE)
    return dict(sorted(names.items()))


def _read_image_labels(
    files: _AttributeFiles, rows: Mapping[int, int], columns: Mapping[int, int]
) -> NDArray[np.uint8]:
    """Quarters of each attribute of each image: (N, A), `_UNSEEN` where the file says nothing.

    Args:
        rows: {image id: row}; lines about other images are passed over.
        columns: {attribute id: column}.
    """
    # 3.7 million lines: comparing the text of a field is faster than making a number of it, and assigning an item
    # of a bytearray is several times faster than one of a NumPy array.
    offsets = {b"%d" % image_id: row * len(columns) for image_id, row in rows.items()}
    column_of = {b"%d" % identity: column for identity, column in columns.items()}
    quarters_of = _QUARTERS[files.encoding]
    values = bytearray([_UNSEEN]) * (len(rows) * len(columns))
    with open_bytes(files.values) as stream:
        for number, line in enumerate(stream, 1):
            # image id, attribute id, is present, certainty, seconds; a few lines of CUB have more columns.
            fields = line.split(maxsplit=4)
            try:
                values[offsets[fields[0]] + column_of[fields[1]]] = quarters_of[fields[2] + fields[3]]
            except (KeyError, IndexError):
                if not fields:
                    continue
                # Of an image that is not here, of numbers written otherwise ("01"), or wrong
                try:
                    image_id, *others = (b"%d" % int(field) for field in fields[:4])
                    attribute_id, present, certainty = others
                    column, quarters = column_of[attribute_id], quarters_of[present + certainty]
                except (ValueError, KeyError):
                    text = line.decode(errors="replace").strip()
                    raise DataError(
                        f"{files.values}:{number}: expected image id, attribute id (of {files.names.name}),"
                        f" 0 or 1, certainty 1 to 4; found {text!r}"
                    ) from None
                if image_id in offsets:
                    values[offsets[image_id] + column] = quarters
    table = np.frombuffer(values, dtype=np.uint8).reshape(len(rows), len(columns))
    held = int((table != _UNSEEN).any(axis=0).sum())
    if 0 < held < len(columns):
        raise DataError(
            f"{files.values} holds {held} attributes, {files.names} names {len(columns)}",
            hint="the two files come from different versions of CUB: take both from one archive",
        )
    return table


def _read_shares(path: Path, classes: int, names_file: Path, count: int) -> NDArray[np.float32]:
    """(classes, count) in [0, 1]: a line for each class in the order of their ids, with a percentage of each name."""
    shares: list[list[float]] = []
    for number, line in enumerate(read_text(path).split("\n"), 1):
        fields = line.split()
        if not fields:
            continue
        if len(fields) != count:
            raise DataError(
                f"{path}:{number}: holds {len(fields)} attributes, {names_file} names {count}",
                hint="the two files come from different versions of CUB: take both from one archive",
            )
        try:
            row = [float(field) for field in fields]
        except ValueError as error:
            raise DataError(f"{path}:{number}: percentages expected ({error})") from None
        for share in row:
            if not 0 <= share <= 100:  # nor is NaN
                raise DataError(f"{path}:{number}: percentages of 0 to 100 expected, found {share:g}")
        shares.append(row)
    if len(shares) != classes:
        raise DataError(
            f"{path} holds {len(shares)} classes, classes.txt lists {classes}",
            hint="its lines are the classes in the order of their ids: take both files from one archive",
        )
    return (np.array(shares) / 100).astype(np.float32)


def _find_silhouettes(base: Path, *, required: bool) -> Path | None:
    """The folder of masks, inside `base` or beside it; None where there is none and it is not `required`."""
    candidates = [parent / "segmentations" for parent in (base, base.absolute().parent)]
    for candidate in candidates:
        if candidate.is_dir():
            return candidate
    if not required:
        return None
    looked = " nor ".join(map(str, candidates))
    raise DataError(f"no segmentations: neither {looked} exists", hint=SEGMENTATIONS_PAGE)


def _read_parts(path: Path, images: Container[int]) -> dict[int, PartLocations]:
    """{image id: its visible parts} of `parts/part_locs.txt`; lines about other images are passed over."""
    if not path.is_file():
        raise DataError(f"{path} is missing, which masks are estimated from", hint=CUB_PAGE)
    points: dict[int, list[tuple[float, float]]] = {}
    for number, (image_id, part_id, *place, visible) in read_fields(path, 5):
        identity = _integer(image_id, path, number, "the image id")
        _integer(part_id, path, number, "the part id")
        try:
            x, y = map(float, place)
        except ValueError:
            found = " ".join(place)
            raise DataError(f"{path}:{number}: x and y expected, found {found!r}") from None
        if not (math.isfinite(x) and math.isfinite(y)):
            raise DataError(f"{path}:{number}: the location is not finite: {x} {y}")
        if visible not in ("0", "1"):
            raise DataError(f"{path}:{number}: 1 (visible) or 0 expected, found {visible!r}")
        if identity in images:
            places = points.setdefault(identity, [])
            if visible == "1":
                places.append((x, y))
    return {identity: PartLocations(tuple(places)) for identity, places in points.items()}
