"""Reads own images with own captions: text files, a CSV table or JSON lines; docs/data.md shows them."""

from __future__ import annotations

import csv
import difflib
import io
import os
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, ValidationError

from gancli.data.source import BadSample, BoundingBox, Sample, Source
from gancli.data.sources.reading import (
    check_share,
    draw_test,
    drawn_rule,
    fingerprint,
    inner_path,
    list_files,
    read_captions,
    read_text,
    reason,
)
from gancli.errors import DataError, UsageError

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff")

_BOX_COLUMNS = ("x", "y", "width", "height")
_COLUMNS = ("file", "caption", "class", "split", *_BOX_COLUMNS)
_FORMS = (
    "captions may stand in image.txt beside each image.jpg, in text/image.txt, in captions.csv (columns"
    ' file,caption), in captions.jsonl ({"file": …, "caption": …}), or in what --captions names'
)


def read(
    root: Path,
    *,
    captions: Path | None = None,
    test_share: float = 0.1,
    seed: int = 0,
    folder_classes: bool = False,
    name: str | None = None,
) -> Source:
    """Opens a folder of own images and captions.

    Images lie anywhere below `root/images`, or below `root` where there is no such folder; hidden files
    are passed over. Captions are the first of these that is there: what `captions` names,
    `root/captions.csv` or `root/captions.jsonl`, text files below `root/text` at the same relative path,
    text files beside the images.

    The split of an image is the one its table states; else the folder `train/` or `test/` it lies in, where
    both exist; else the images with the smallest hash of seed and key become the test split, so that few
    change sides when images are added. Classes play no part in that: class-disjoint splits are stated in
    a table.

    Args:
        root: The folder.
        captions: A .csv or .jsonl file, or a folder of text files; the path as it stands or below `root`.
        test_share: Share of the images, in [0, 1), that becomes "test" where neither table nor folders say
            it; above 0 it is at least one image.
        seed: Another seed draws another test split.
        folder_classes: The folder an image lies in (below `train/` and `test/`) is its class where no table
            says so.
        name: Short name of the dataset; by default that of the folder.

    Returns:
        Samples in the order of their paths; class names sorted.

    Raises:
        DataError: There are no images or no captions, or a table is malformed.
        UsageError: `test_share` is out of range, or `captions` is neither a table nor a folder.
    """
    check_share(test_share)
    if not root.is_dir():
        raise DataError(f"{root} is not a folder")
    image_root = root / "images" if (root / "images").is_dir() else root
    records, defining = _read_records(root, image_root, list_images(image_root), captions)
    records = dict(sorted(records.items(), key=lambda item: item[0].as_posix()))
    has_parts = (image_root / "train").is_dir() and (image_root / "test").is_dir()
    split_rule = _assign_splits(records, has_parts, test_share, seed)
    class_names = _assign_classes(records, has_parts, folder_classes)
    class_ids = {class_name: index for index, class_name in enumerate(class_names)}

    def samples() -> Iterator[Sample | BadSample]:
        for path, record in records.items():
            if record.problems:
                yield BadSample(_key(path), "; ".join(record.problems))
                continue
            assert record.split is not None  # _assign_splits left a problem where it is
            yield Sample(
                key=_key(path),
                split=record.split,
                image=image_root / path,
                captions=tuple(record.captions),
                class_id=None if record.class_name is None else class_ids[record.class_name],
                box=record.box,
            )

    return Source(
        name=name or root.resolve().name,
        samples=samples(),
        release="own images",
        split_rule=split_rule,
        class_names=class_names,
        fingerprint=fingerprint(defining, root),
    )


def captions_of(
    folder: Path, images: set[PurePosixPath], captions: Path | None = None
) -> tuple[dict[PurePosixPath, list[str]], dict[PurePosixPath, str]]:
    """The captions of some images of a folder, from where `read` looks for them.

    Args:
        folder: Where the images lie.
        images: Paths of at least one image below it.
        captions: As `read` takes it.

    Returns:
        The captions of each image in order; and of those that have none, the reason.

    Raises:
        DataError: No image has a caption file, or a table is malformed.
        UsageError: `captions` is neither a table nor a folder.
    """
    records, _ = _read_records(folder, folder, images, captions)
    problems = {path: "; ".join(records[path].problems) for path in images if records[path].problems}
    return {path: records[path].captions for path in images - problems.keys()}, problems


@dataclass(slots=True)
class _Record:
    """What is known of one image, and why it cannot be used, if so."""

    captions: list[str] = field(default_factory=list)
    class_name: str | None = None
    split: str | None = None
    box: BoundingBox | None = None
    problems: list[str] = field(default_factory=list)


_Records = dict[PurePosixPath, _Record]  # by path below the folder of images


class _Line(BaseModel):
    """A line of a table, CSV or JSON."""

    model_config = ConfigDict(extra="forbid", coerce_numbers_to_str=True)

    file: str = Field(min_length=1)
    caption: str | None = None
    captions: list[str] = []
    class_name: str | None = Field(None, alias="class", min_length=1)
    split: Literal["train", "test"] | None = None
    box: tuple[FiniteFloat, FiniteFloat, FiniteFloat, FiniteFloat] | None = None


def _key(path: PurePosixPath) -> str:
    return path.with_suffix("").as_posix()


def list_images(folder: Path) -> set[PurePosixPath]:
    """Paths of the images below `folder`, relative to it; nothing hidden.

    Raises:
        DataError: There are none; the message says what was found instead.
    """
    files = list(list_files(folder))
    images = {path for path in files if path.suffix.lower() in IMAGE_SUFFIXES}
    if not images:
        found = Counter(path.suffix.lower() or "without extension" for path in files)
        commonest = sorted(found.items(), key=lambda item: (-item[1], item[0]))[:5]
        listed = ", ".join(f"{count} {suffix}" for suffix, count in commonest) or "no file at all"
        raise DataError(f"{folder} holds no image: looked for *{', *'.join(IMAGE_SUFFIXES)}; found {listed}")
    return images


def _read_records(
    root: Path, image_root: Path, images: set[PurePosixPath], captions: Path | None
) -> tuple[_Records, list[Path]]:
    """What the captions' files say of each image, and the table where there is one."""
    table_or_folder = _find_captions(root, image_root, captions)
    if table_or_folder is not None and table_or_folder.is_file():
        return _read_table(table_or_folder, root, image_root, images), [table_or_folder]
    return _read_text_files(root, table_or_folder, image_root, images), []


def _find_captions(root: Path, image_root: Path, captions: Path | None) -> Path | None:
    """The table or the folder of text files; None for text files beside the images."""
    if captions is not None:
        captions = captions if captions.exists() else root / captions
        if captions.is_dir():
            return None if captions.samefile(image_root) else captions
        if captions.is_file() and captions.suffix.lower() in (".csv", ".jsonl"):
            return captions
        if not captions.exists():
            raise UsageError(f"{captions}: no such file or folder", hint=_FORMS)
        raise UsageError(
            f"{captions} is neither a .csv nor a .jsonl file nor a folder of text files", hint=_FORMS
        )
    tables = [path for path in (root / "captions.csv", root / "captions.jsonl") if path.is_file()]
    if len(tables) > 1:
        raise UsageError(f"{root} holds captions.csv and captions.jsonl", hint="choose one with --captions")
    if tables:
        return tables[0]
    return root / "text" if (root / "text").is_dir() else None


def _read_text_files(
    root: Path, folder: Path | None, image_root: Path, images: set[PurePosixPath]
) -> _Records:
    """Captions from text files, one caption per line, below `folder` or (None) beside the images."""
    records: _Records = {}
    for path in images:
        record = records[path] = _Record()
        file = (folder or image_root) / f"{_key(path)}.txt"
        if not file.is_file():
            shown = file.relative_to(root) if file.is_relative_to(root) else file
            record.problems.append(f"no caption file {shown}")
            continue
        try:
            record.captions += read_captions(file)
        except DataError as error:
            record.problems.append(reason(error, root))
    if all(record.problems for record in records.values()):
        looked = f"below {folder}" if folder else "beside them, and no captions.csv, captions.jsonl or text/"
        first = records[min(records, key=PurePosixPath.as_posix)].problems[0]
        raise DataError(
            f"{root}: {len(images)} images, but no captions {looked}; the first: {first}",
            hint=_FORMS,
        )
    if folder:  # beside the images a text file may be anything, a licence for instance
        keys = {_key(path) for path in images}
        for path in list_files(folder):
            if path.suffix == ".txt" and _key(path) not in keys:
                records[path] = _Record(problems=["a caption file without an image of that name"])
    return records


def _read_table(table: Path, root: Path, image_root: Path, images: set[PurePosixPath]) -> _Records:
    """Captions, classes, splits and boxes from a CSV or JSON lines table; several lines of a file add up."""
    records: _Records = {}
    lines = _read_csv(table) if table.suffix.lower() == ".csv" else _read_jsonl(table)
    for number, line in lines:
        path = inner_path(line.file, f"{table}:{number}")
        # Files are named relative to the dataset's folder or to its folder of images.
        if image_root != root and path.parts[0] == "images" and path not in images and len(path.parts) > 1:
            path = PurePosixPath(*path.parts[1:])
        record = records.setdefault(path, _Record())
        record.captions += [text.strip() for text in (line.caption or "", *line.captions) if text.strip()]
        box = BoundingBox(*line.box) if line.box else None
        for attribute, value in (("class_name", line.class_name), ("split", line.split), ("box", box)):
            known = getattr(record, attribute)
            if known is None:
                setattr(record, attribute, value)
            elif value is not None and value != known:
                what = attribute.removesuffix("_name")
                record.problems.append(f"{table.name}:{number} gives another {what} than a line before")
    if not records:
        raise DataError(f"{table} holds no line", hint=_FORMS)
    for path, record in records.items():
        if path not in images and not os.path.isfile(image_root / path):  # of another suffix, perhaps
            record.problems.insert(0, f"{table.name} names {path}, but there is no such image")
        if not record.captions:
            record.problems.append(f"no caption in {table.name}")
    for path in images - records.keys():
        records[path] = _Record(problems=[f"no caption in {table.name}"])
    return records


def _read_jsonl(table: Path) -> Iterator[tuple[int, _Line]]:
    for number, text in enumerate(read_text(table).split("\n"), 1):
        if text.strip():
            try:
                yield number, _Line.model_validate_json(text)
            except ValidationError as error:
                known = [field.alias or name for name, field in _Line.model_fields.items()]
                raise _malformed(table, number, error, known) from None


def _read_csv(table: Path) -> Iterator[tuple[int, _Line]]:
    rows = csv.reader(io.StringIO(read_text(table)), strict=True)
    try:
        header = [column.strip().lower() for column in next(rows, [])]
        _check_header(table, header)
        for row in rows:
            if not row:
                continue
            if len(row) != len(header):
                raise DataError(
                    f"{table}:{rows.line_num}: {len(header)} fields expected, found {len(row)}",
                    hint='a caption with commas stands in double quotes: bird.jpg,"red, with black wings"',
                )
            values: dict[str, Any] = {
                column: value for column, value in zip(header, row, strict=True) if value
            }
            box = [values.pop(column) for column in _BOX_COLUMNS if column in values]
            if box and len(box) < len(_BOX_COLUMNS):
                raise DataError(f"{table}:{rows.line_num}: a box needs all of x, y, width and height")
            if box:
                values["box"] = box
            try:
                yield rows.line_num, _Line.model_validate(values)
            except ValidationError as error:
                raise _malformed(table, rows.line_num, error, _COLUMNS) from None
    except csv.Error as error:
        raise DataError(f"{table}:{rows.line_num}: not CSV: {error}") from None


def _check_header(table: Path, header: list[str]) -> None:
    hint = f"the first line names the columns, separated by commas: file,caption[,{','.join(_COLUMNS[2:])}]"
    for column in header:
        if column not in _COLUMNS:
            raise DataError(f"{table}:1: unknown column {column!r}{_nearest(column, _COLUMNS)}", hint=hint)
        if header.count(column) > 1:
            raise DataError(f"{table}:1: the column {column!r} stands twice", hint=hint)
    boxes = _BOX_COLUMNS if any(column in header for column in _BOX_COLUMNS) else ()
    for column in ("file", "caption", *boxes):
        if column not in header:
            raise DataError(f"{table}:1: there is no column {column!r}", hint=hint)


def _malformed(table: Path, number: int, error: ValidationError, known: Iterable[str]) -> DataError:
    first = error.errors(include_url=False)[0]
    where = ".".join(map(str, first["loc"]))
    if first["type"] == "extra_forbidden":
        return DataError(f"{table}:{number}: unknown key {where!r}{_nearest(where, known)}")
    if first["type"] == "missing":
        return DataError(f"{table}:{number}: {where!r} is missing")
    found = str(first["input"])[:60]
    return DataError(f"{table}:{number}: {where + ': ' if where else ''}{first['msg']}, found {found!r}")


def _nearest(name: str, known: Iterable[str]) -> str:
    names = difflib.get_close_matches(name.strip().lower(), list(known), n=1)
    return f"; did you mean {names[0]!r}?" if names else f"; known are {', '.join(known)}"


def _assign_splits(records: _Records, has_parts: bool, test_share: float, seed: int) -> str:
    """Give every record its split, or a problem where others have one and it has none; return the split rule."""
    if any(record.split for record in records.values()):
        for record in records.values():
            if record.split is None:
                record.problems.append("no split, though other images have one")
        return "table"
    if has_parts:
        for path, record in records.items():
            if path.parts[0] in ("train", "test"):
                record.split = path.parts[0]
            else:
                record.problems.append("lies neither in train/ nor in test/")
        return "folders"
    test = draw_test([_key(path) for path in records], test_share, seed)
    for path, record in records.items():
        record.split = "test" if _key(path) in test else "train"
    return drawn_rule(test_share, seed)


def _assign_classes(records: _Records, has_parts: bool, folder_classes: bool) -> tuple[str, ...]:
    """Gives every record its class where there are classes, or a problem; returns their names, sorted."""
    if folder_classes:
        for path, record in records.items():
            folders = path.parts[1:-1] if has_parts else path.parts[:-1]
            if record.class_name is None and folders:
                record.class_name = "/".join(folders)
    names = {record.class_name for record in records.values() if record.class_name is not None}
    for record in records.values():
        if names and record.class_name is None:
            record.problems.append("no class, though other images have one")
    return tuple(sorted(names))
