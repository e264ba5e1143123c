"""Reader of CUB-200-2011 as published (Wah et al. 2011), with the captions of Reed et al. 2016.

Caltech's archive unpacks to `CUB_200_2011/` with `attributes.txt` beside it. The captions are a separate folder `text/`
or `text_c10/` of `<class>/<image>.txt`. Partial copies are accepted: image ids may have gaps. The reader also serves
other datasets in this layout, such as the demo dataset.
"""

from __future__ import annotations

import math
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from gancli.data.source import BadSample, BoundingBox, PartLocations, Sample, Source
from gancli.data.sources.reading import (
    check_choice,
    fingerprint,
    inner_path,
    is_file,
    key_of,
    open_bytes,
    open_root,
    read_fields,
    read_lines,
    required,
    try_captions,
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
SILHOUETTES_PAGE = (
    "the silhouettes are a separate download, https://data.caltech.edu/records/w9d68-gec53: unpack segmentations.tgz"
    " beside CUB_200_2011; or estimate silhouettes from the locations of the parts with --silhouettes estimate"
)

Split = Literal["zero-shot", "official"]
Encoding = Literal["binary", "soft", "class"]
Silhouettes = Literal["official", "estimate", "none"]

_PARTS = "parts/part_locs.txt"
# Quarters by presence (0 or 1) and certainty (1 not visible, 2 guessing, 3 probably, 4 definitely). An attribute that
# is not visible counts as absent.
_QUARTERS: dict[Encoding, dict[bytes, int]] = {
    "binary": {b"01": 0, b"02": 0, b"03": 0, b"04": 0, b"11": 0, b"12": 4, b"13": 4, b"14": 4},
    "soft": {b"01": 0, b"02": 2, b"03": 1, b"04": 0, b"11": 0, b"12": 2, b"13": 3, b"14": 4},
}
_UNKNOWN = 255


def read(
    root: str | Path,
    *,
    split: Split = "zero-shot",
    name: str = "cub",
    test_classes: str | Path | None = None,
    attributes: Encoding | None = None,
    silhouettes: Silhouettes | None = None,
) -> Source:
    """Open a copy of CUB-200-2011, whole or in part.

    Args:
        root: Folder that holds `CUB_200_2011`, or that folder itself.
        split: "zero-shot" puts whole classes into test (8,855 / 2,933 images and 150 / 50 classes of the full
            dataset). "official" follows `train_test_split.txt` (5,994 / 5,794 images), with all classes in both parts.
        name: Short name of the dataset.
        test_classes: Other list of test classes for "zero-shot", one name of `classes.txt` per line.
        attributes: Meaning of an attribute's number. "binary": 1 if an annotator of the image saw it, even at a guess.
            "soft": 1, .75, .5 if it is definitely, probably, at a guess present; 0, .25, .5 if it is absent; 0 if it
            is not visible. "class": share of annotators who saw it in images of the class, equal for all of them.
            None: "binary" if there is `attributes/image_attribute_labels.txt`, else "class" if there are the classes'
            percentages and the names, else no attributes.
        silhouettes: "official": the images in `segmentations/`, inside CUB_200_2011 or beside it. `prepare` checks the
            single files. "estimate": the visible parts in `parts/part_locs.txt`, from which `prepare` estimates a
            silhouette. "none": no silhouettes. None: "official" if the folder exists, else "none".

    Returns:
        Samples in the order of `images.txt`, with classes and attribute names in the order of their ids. Boxes are not
        checked.

    Raises:
        DataError: A file that describes the whole dataset is missing or malformed.
        UsageError: `split`, `attributes` or `silhouettes` is unknown, or `test_classes` is combined with the official
            split.
    """
    check_choice("split", split, get_args(Split), name)
    check_choice("attributes", attributes, get_args(Encoding), name)
    check_choice("silhouettes", silhouettes, get_args(Silhouettes), name)
    if test_classes is not None and split == "official":
        raise UsageError("a list of test classes is for the zero-shot split, not for the official one")

    base = _find_base(Path(root))
    captions = _find_captions(base)
    images = _read_images(base / "images.txt")
    names = _read_names(base / "classes.txt", "class")
    class_names = tuple(names.values())
    labels = _read_labels(base / "image_class_labels.txt", list(names))
    boxes = _read_boxes(base / "bounding_boxes.txt")
    table = _read_attributes(base, attributes, images, labels, len(names))
    outlines = _read_silhouettes(base, silhouettes, images)
    split_file, splits = _read_splits(base, split, test_classes, class_names, labels)
    tables: dict[str, Container[int]] = {"image_class_labels.txt": labels, "bounding_boxes.txt": boxes}
    defining = [base / file for file in ("images.txt", "classes.txt", *tables)]
    defining += [split_file, *(table.files if table else ())]
    if isinstance(outlines, dict):
        tables[_PARTS] = outlines
        defining.append(base / _PARTS)
    if split == "official":
        tables[split_file.name] = splits
    copy = _Copy(base, captions, images, labels, boxes, splits, table, outlines, tables)
    return Source(
        name=name,
        samples=map(copy.sample, images),
        release=RELEASE,
        split_rule=SPLIT_RULES[split] if test_classes is None else CLASS_LIST,
        class_names=class_names,
        attribute_names=table.names if table else (),
        attribute_encoding=table.encoding if table else "",
        fingerprint=fingerprint(defining, base),
    )


@dataclass(frozen=True, slots=True)
class _Attributes:
    """Attributes of the images, with the encoding of the numbers and the files that define them.

    Attributes:
        names: Names in the order of their ids.
        rows: {image id: row of `values`}.
        values: (images or classes, A) float32 in [0, 1], NaN if the file has no such line.
    """

    encoding: Encoding
    files: tuple[Path, ...]
    names: tuple[str, ...]
    rows: Mapping[int, int]
    values: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class _Copy:
    """A copy of the dataset. Mappings are by image id; every image needs a line in each of `tables` {file: table}."""

    base: Path
    captions: Path
    images: Mapping[int, PurePosixPath]
    labels: Mapping[int, int]
    boxes: Mapping[int, BoundingBox]
    splits: Mapping[int, str]
    attributes: _Attributes | None
    silhouettes: Mapping[int, PartLocations] | Path | None
    tables: Mapping[str, Container[int]]

    def sample(self, image_id: int) -> Sample | BadSample:
        """Return an image with everything the tables say about it."""
        path = self.images[image_id]
        key = key_of(path)
        image = self.base / "images" / path
        missing = (file for file, table in self.tables.items() if image_id not in table)
        problems = [f"image {image_id} is not in {file}" for file in missing]
        if not is_file(image):
            problems.append(f"images/{path} is listed in images.txt but absent")
        captions = try_captions(self.captions / f"{key}.txt", self.captions.parent, problems)
        attributes = self._attributes(image_id, problems)
        if problems:
            return BadSample(key, "; ".join(problems))
        return Sample(
            key=key,
            split=self.splits[image_id],
            image=image,
            captions=captions,
            class_id=self.labels[image_id],
            box=self.boxes[image_id],
            attributes=attributes,
            silhouette=self._silhouette(image_id),
        )

    def _silhouette(self, image_id: int) -> Path | PartLocations | None:
        if isinstance(self.silhouettes, Path):
            return self.silhouettes / self.images[image_id].with_suffix(".png")
        return None if self.silhouettes is None else self.silhouettes[image_id]

    def _attributes(self, image_id: int, problems: list[str]) -> NDArray[np.float32] | None:
        if self.attributes is None or image_id not in self.attributes.rows:
            return None
        row: NDArray[np.float32] = self.attributes.values[self.attributes.rows[image_id]]  # (A,)
        if missing := int(np.isnan(row).sum()):
            problems.append(f"{missing} of its {row.size} attributes are not in image_attribute_labels.txt")
        return row


# ----------------------------------------------------------------------------------------------------------
# Folders


def _find_base(root: Path) -> Path:
    """Return the folder with images.txt: `root/CUB_200_2011`, or `root` itself."""
    inner = root / "CUB_200_2011"
    if inner.is_dir():
        return inner
    if (open_root(root, CUB_PAGE) / "images.txt").is_file():
        return root
    raise DataError(f"{root} holds neither CUB_200_2011/images.txt nor images.txt", hint=CUB_PAGE)


def _inside_or_beside(base: Path, *folders: str) -> tuple[Path | None, list[str]]:
    """Return the first of the folders that exists inside `base` or beside it, and the places looked at."""
    candidates = [parent / folder for parent in (base, base.absolute().parent) for folder in folders]
    return next((each for each in candidates if each.is_dir()), None), list(map(str, candidates))


def _find_captions(base: Path) -> Path:
    """Return the folder of captions."""
    found, looked = _inside_or_beside(base, "text", "text_c10")
    if found is None:
        raise DataError(f"no captions: none of these folders exists: {', '.join(looked)}", hint=CAPTIONS_PAGE)
    return found


def _read_silhouettes(
    base: Path, choice: Silhouettes | None, images: Container[int]
) -> dict[int, PartLocations] | Path | None:
    """Return the visible parts of each image, the folder of official silhouettes, or None."""
    if choice == "estimate":
        return _read_parts(base / _PARTS, images)
    if choice == "none":
        return None
    found, looked = _inside_or_beside(base, "segmentations")
    if found is None and choice == "official":
        places = " nor ".join(looked)
        raise DataError(f"no official silhouettes: neither {places} exists", hint=SILHOUETTES_PAGE)
    return found


# ----------------------------------------------------------------------------------------------------------
# Tables


def _read_rows(path: Path, count: int, kind: str = "image") -> Iterator[tuple[str, int, list[str]]]:
    """Yield "file:line", the id of a `kind` in the first column and the other fields of each line of a table."""
    for number, (first, *others) in read_fields(required(path, CUB_PAGE), count):
        where = f"{path}:{number}"
        yield where, _integer(first, where, f"the {kind} id"), others


def _integer(text: str, where: str, what: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise DataError(f"{where}: {what} should be a whole number, not {text!r}") from None


def _numbers(fields: Sequence[str], where: str, what: str) -> list[float]:
    try:
        numbers = [float(field) for field in fields]
    except ValueError:
        raise DataError(f"{where}: {what} expected, found {' '.join(fields)!r}") from None
    if not all(map(math.isfinite, numbers)):
        raise DataError(f"{where}: {what} are not finite: {' '.join(fields)}")
    return numbers


def _flag(text: str, where: str, expected: str) -> bool:
    if text not in ("0", "1"):
        raise DataError(f"{where}: {expected} expected, found {text!r}")
    return text == "1"


def _read_images(path: Path) -> dict[int, PurePosixPath]:
    """Read `images.txt`: {image id: path below images/}, in file order."""
    images: dict[int, PurePosixPath] = {}
    keys = set()
    for where, image_id, (name,) in _read_rows(path, 2):
        relative = inner_path(name, where)
        if image_id in images or key_of(relative) in keys:
            raise DataError(f"{where}: image {image_id} ({name}) is listed twice")
        keys.add(key_of(relative))
        images[image_id] = relative
    if not images:
        raise DataError(f"{path} lists no image", hint=CUB_PAGE)
    return images


def _read_names(path: Path, kind: str) -> dict[int, str]:
    """Read a table of classes or attributes: {id: name}, in the order of the ids."""
    names: dict[int, str] = {}
    listed = set()
    for where, identity, (name,) in _read_rows(path, 2, kind):
        if identity in names or name in listed:
            raise DataError(f"{where}: {kind} {identity} ({name}) is listed twice")
        names[identity] = name
        listed.add(name)
    if not names:
        raise DataError(f"{path} lists no {kind}", hint=CUB_PAGE)
    return dict(sorted(names.items()))


def _read_labels(path: Path, class_ids: Sequence[int]) -> dict[int, int]:
    """Read `image_class_labels.txt`: {image id: index of its class}."""
    indices = {class_id: index for index, class_id in enumerate(class_ids)}
    labels = {}
    for where, image_id, (text,) in _read_rows(path, 2):
        class_id = _integer(text, where, "the class id")
        if class_id not in indices:
            raise DataError(f"{where}: class {class_id} is not in classes.txt")
        labels[image_id] = indices[class_id]
    return labels


def _read_boxes(path: Path) -> dict[int, BoundingBox]:
    """Read `bounding_boxes.txt`: {image id: box in pixels}."""
    return {
        image_id: BoundingBox(*_numbers(fields, where, "x, y, width and height"))
        for where, image_id, fields in _read_rows(path, 5)
    }


def _read_parts(path: Path, images: Container[int]) -> dict[int, PartLocations]:
    """Read `parts/part_locs.txt`: {image id: its visible parts}. Lines about other images are ignored."""
    points: dict[int, list[tuple[float, float]]] = {}
    for where, image_id, (part_id, *location, visible) in _read_rows(path, 5):
        _integer(part_id, where, "the part id")
        x, y = _numbers(location, where, "x and y")
        is_visible = _flag(visible, where, "1 (visible) or 0")
        if image_id in images:
            of_image = points.setdefault(image_id, [])
            if is_visible:
                of_image.append((x, y))
    return {image_id: PartLocations(tuple(of_image)) for image_id, of_image in points.items()}


def _read_splits(
    base: Path, split: Split, test_classes: str | Path | None, names: Sequence[str], labels: Mapping[int, int]
) -> tuple[Path, dict[int, str]]:
    """Return the file that defines the split and {image id: "train" or "test"}."""
    if split == "official":
        path = base / "train_test_split.txt"
        return path, {
            image_id: "train" if _flag(in_train, where, "1 (train) or 0 (test)") else "test"
            for where, image_id, (in_train,) in _read_rows(path, 2)
        }
    path = Path(test_classes or ZERO_SHOT_TEST_CLASSES)
    held_out = _read_test_classes(path, base / "classes.txt", names, strict=test_classes is not None)
    in_test = [name in held_out for name in names]
    return path, {image_id: "test" if in_test[class_id] else "train" for image_id, class_id in labels.items()}


def _read_test_classes(
    path: Path, classes_file: Path, class_names: Sequence[str], *, strict: bool
) -> set[str]:
    """Read a list of test classes. All must be classes if `strict`, else at least one."""
    listed = {line.strip() for _, line in read_lines(path)}
    unknown = sorted(listed.difference(class_names))
    if strict and unknown:
        raise DataError(f"{path}: not in {classes_file}: {', '.join(unknown)}")
    if len(unknown) == len(listed):
        raise DataError(
            f"none of the {len(class_names)} classes of {classes_file} is a test class of {path.name}",
            hint="use --split official, or in Python test_classes=… with a list of your own",
        )
    return listed


# ----------------------------------------------------------------------------------------------------------
# Attributes


def _find_attributes(base: Path, choice: Encoding | None) -> tuple[Encoding, Path, Path] | None:
    """Return the encoding, the file of values and the file of names; None if there are none and none are asked for."""
    folder = base / "attributes"
    labels_file = folder / "image_attribute_labels.txt"
    shares_file = folder / "class_attribute_labels_continuous.txt"
    candidates = [parent / "attributes.txt" for parent in (base.absolute().parent, base, folder)]
    names_file = next((candidate for candidate in candidates if candidate.is_file()), None)
    encoding = choice or ("binary" if labels_file.is_file() else "class")
    values_file, other_file = labels_file, shares_file
    if encoding == "class":
        values_file, other_file = shares_file, labels_file
    if choice is None and encoding == "class" and not (values_file.is_file() and names_file):
        return None
    if not values_file.is_file():
        alternative = "binary (or soft)" if encoding == "class" else "class"
        other = f"there is {other_file.name}: choose --attributes {alternative}"
        hint = other if other_file.is_file() else CUB_PAGE
        raise DataError(f"{values_file} is missing, the file of {encoding} attributes", hint=hint)
    if names_file is None:
        looked = " and no ".join(map(str, candidates))
        raise DataError(f"{values_file} comes without the attributes' names: no {looked}", hint=CUB_PAGE)
    return encoding, values_file, names_file


def _read_attributes(
    base: Path, choice: Encoding | None, images: Iterable[int], labels: Mapping[int, int], classes: int
) -> _Attributes | None:
    """Read the attributes of `images`, given their class indices `labels`."""
    found = _find_attributes(base, choice)
    if found is None:
        return None
    encoding, values_file, names_file = found
    names = _read_names(names_file, "attribute")
    rows = labels
    if encoding == "class":
        values = _read_shares(values_file, classes, names_file, len(names))
    else:
        rows = {image_id: row for row, image_id in enumerate(images)}
        columns = {attribute_id: column for column, attribute_id in enumerate(names)}
        quarters = _read_image_labels(values_file, names_file, _QUARTERS[encoding], rows, columns)
        values = np.where(quarters == _UNKNOWN, np.float32(np.nan), quarters / np.float32(4))
    return _Attributes(encoding, (values_file, names_file), tuple(names.values()), rows, values)


def _read_image_labels(
    path: Path,
    names_file: Path,
    quarters_of: Mapping[bytes, int],
    rows: Mapping[int, int],
    columns: Mapping[int, int],
) -> NDArray[np.uint8]:
    """Return the quarters of each attribute of each image, (N, A), from `image_attribute_labels.txt`.

    A quarter is `_UNKNOWN` if the file has no such line. Lines about images without a row are ignored.

    Args:
        path: The file.
        names_file: File of the attributes' names, for messages.
        quarters_of: Quarters by presence and certainty.
        rows: {image id: row}.
        columns: {attribute id: column}.
    """
    # The file has 3.7 million lines. Comparing the text of a field is faster than parsing it, and assigning to a
    # bytearray is several times faster than assigning to a NumPy array.
    offsets = {b"%d" % image_id: row * len(columns) for image_id, row in rows.items()}
    column_of = {b"%d" % attribute_id: column for attribute_id, column in columns.items()}
    values = bytearray([_UNKNOWN]) * (len(rows) * len(columns))
    with open_bytes(path) as stream:
        for number, line in enumerate(stream, 1):
            # Image id, attribute id, is present, certainty, seconds; a few lines of CUB have more columns
            fields = line.split(maxsplit=4)
            try:
                values[offsets[fields[0]] + column_of[fields[1]]] = quarters_of[fields[2] + fields[3]]
            except (KeyError, IndexError):
                if not fields:
                    continue
                # An image that is not here, numbers written otherwise ("01"), or a malformed line
                try:
                    image_id, *others = (b"%d" % int(field) for field in fields[:4])
                    attribute_id, present, certainty = others
                    column, quarters = column_of[attribute_id], quarters_of[present + certainty]
                except (ValueError, KeyError):
                    text = line.decode(errors="replace").strip()
                    raise DataError(
                        f"{path}:{number}: expected image id, attribute id (of {names_file.name}),"
                        f" 0 or 1, certainty 1 to 4; found {text!r}"
                    ) from None
                if image_id in offsets:
                    values[offsets[image_id] + column] = quarters
    table = np.frombuffer(values, dtype=np.uint8).reshape(len(rows), len(columns))
    held = int((table != _UNKNOWN).any(axis=0).sum())
    if 0 < held < len(columns):
        raise _other_version(f"{path} holds {held} attributes, {names_file} names {len(columns)}")
    return table


def _read_shares(path: Path, classes: int, names_file: Path, count: int) -> NDArray[np.float32]:
    """Return the shares in [0, 1], (classes, count), from `class_attribute_labels_continuous.txt`.

    The file holds a line of percentages for each class, in the order of class ids.
    """
    shares: list[list[float]] = []
    for number, line in read_lines(path):
        fields = line.split()
        if len(fields) != count:
            said = f"{path}:{number}: holds {len(fields)} attributes, {names_file} names {count}"
            raise _other_version(said)
        try:
            row = [float(field) for field in fields]
        except ValueError as error:
            raise DataError(f"{path}:{number}: percentages expected ({error})") from None
        for share in row:
            if not 0 <= share <= 100:  # also true for NaN
                raise DataError(f"{path}:{number}: percentages of 0 to 100 expected, found {share:g}")
        shares.append(row)
    if len(shares) != classes:
        raise DataError(
            f"{path} holds {len(shares)} classes, classes.txt lists {classes}",
            hint="its lines are the classes in the order of their ids: take both files from one archive",
        )
    return (np.array(shares) / 100).astype(np.float32)


def _other_version(message: str) -> DataError:
    hint = "the two files come from different versions of CUB: take both from one archive"
    return DataError(message, hint=hint)
