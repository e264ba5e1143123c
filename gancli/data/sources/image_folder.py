"""Reader of a user's own images with captions in text files, a CSV table or JSON lines (see docs/data.md)."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, ValidationError

from gancli.data.source import BadSample, BoundingBox, Sample, Source
from gancli.data.sources.reading import (
    check_share,
    draw_test,
    drawn_rule,
    fingerprint,
    inner_path,
    is_file,
    key_of,
    list_files,
    nearest,
    open_root,
    read_lines,
    read_text,
    try_captions,
)
from gancli.errors import DataError, UsageError

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff")

_BOX_COLUMNS = ("x", "y", "width", "height")
_COLUMNS = ("file", "caption", "class", "split", *_BOX_COLUMNS)
_FORMS = (
    "captions may be in image.txt beside each image.jpg, in text/image.txt, in captions.csv (columns"
    ' file,caption), in captions.jsonl ({"file": …, "caption": …}), or in the file or folder of --captions'
)


def read(
    root: str | Path,
    *,
    captions: str | Path | None = None,
    test_share: float = 0.1,
    seed: int = 0,
    folder_classes: bool = False,
    name: str | None = None,
) -> Source:
    """Open a folder of images and captions.

    The images lie anywhere below `root/images`, or below `root` if there is no such folder. Hidden files are ignored.
    Captions come from the first of these that exists: the file or folder that `captions` names, `root/captions.csv` or
    `root/captions.jsonl`, text files below `root/text` at the same relative path, text files beside the images.

    The split of an image comes from its table, or else from the folder `train/` or `test/` it lies in, if both exist.
    Otherwise the images with the smallest hash of seed and key become the test split, so that few images change sides
    when images are added. A drawn split ignores classes; for a class-disjoint split, state it in a table.

    Args:
        root: The folder.
        captions: A .csv or .jsonl file or a folder of text files, as a path or relative to `root`.
        test_share: Share of the images, in [0, 1), that becomes "test" if neither table nor folders give the split.
            Above 0 it is at least one image.
        seed: Seed of the drawn split.
        folder_classes: Take the folder of an image (below `train/` and `test/`) as its class, unless a table gives one.
        name: Short name of the dataset; by default the name of the folder.

    Returns:
        Samples in the order of their paths, with class names sorted.

    Raises:
        DataError: There are no images or no captions, or a table is malformed.
        UsageError: `test_share` is out of range, or `captions` is neither a table nor a folder.
    """
    check_share(test_share)
    root = open_root(root)
    image_root = root / "images" if (root / "images").is_dir() else root
    records, defining = _read_records(root, image_root, list_images(image_root), captions)
    records = dict(sorted(records.items(), key=lambda item: item[0].as_posix()))
    has_parts = (image_root / "train").is_dir() and (image_root / "test").is_dir()
    split_rule = _assign_splits(records, has_parts, test_share, seed)
    class_names = _assign_classes(records, has_parts, folder_classes)
    class_ids = {class_name: index for index, class_name in enumerate(class_names)}

    def sample(path: PurePosixPath, record: _Record) -> Sample | BadSample:
        if record.problems or record.split is None:
            return BadSample(key_of(path), "; ".join(record.problems))
        return Sample(
            key=key_of(path),
            split=record.split,
            image=image_root / path,
            captions=tuple(record.captions),
            class_id=None if record.class_name is None else class_ids[record.class_name],
            box=record.box,
        )

    return Source(
        name=name or root.resolve().name,
        samples=(sample(path, record) for path, record in records.items()),
        release="own images",
        split_rule=split_rule,
        class_names=class_names,
        fingerprint=fingerprint(defining, root),
    )


def captions_of(
    folder: str | Path, images: set[PurePosixPath], captions: str | Path | None = None
) -> tuple[dict[PurePosixPath, list[str]], dict[PurePosixPath, str]]:
    """Return the captions of some images of a folder, from the same places as `read`.

    Args:
        folder: Folder of the images.
        images: Paths of at least one image below it.
        captions: A .csv or .jsonl file or a folder of text files, as a path or relative to `folder`.

    Returns:
        The captions of each image in order, and for images without captions the reason.

    Raises:
        DataError: No image has a caption file, or a table is malformed.
        UsageError: `captions` is neither a table nor a folder.
    """
    folder = Path(folder)
    records, _ = _read_records(folder, folder, images, captions)
    problems = {path: "; ".join(records[path].problems) for path in images if records[path].problems}
    return {path: records[path].captions for path in images - problems.keys()}, problems


@dataclass(slots=True)
class _Record:
    """An image as the files describe it, and the reasons why it cannot be used, if any."""

    captions: list[str] = field(default_factory=list)
    class_name: str | None = None
    split: str | None = None
    box: BoundingBox | None = None
    problems: list[str] = field(default_factory=list)


_Records = dict[PurePosixPath, _Record]  # by path below the folder of images


class _Line(BaseModel):
    """A line of a CSV or JSON table."""

    model_config = ConfigDict(extra="forbid", coerce_numbers_to_str=True)

    file: str = Field(min_length=1)
    caption: str | None = None
    captions: list[str] = []
    class_name: str | None = Field(None, alias="class", min_length=1)
    split: Literal["train", "test"] | None = None
    box: tuple[FiniteFloat, FiniteFloat, FiniteFloat, FiniteFloat] | None = None


def list_images(folder: str | Path) -> set[PurePosixPath]:
    """Return the relative paths of the images below a folder, except hidden ones.

    Raises:
        DataError: There are none; the message lists what was found instead.
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
    root: Path, image_root: Path, images: set[PurePosixPath], captions: str | Path | None
) -> tuple[_Records, list[Path]]:
    """Return a record of each image, and the table if there is one."""
    table_or_folder = _find_captions(root, image_root, captions)
    if table_or_folder is not None and table_or_folder.is_file():
        return _read_table(table_or_folder, root, image_root, images), [table_or_folder]
    return _read_text_files(root, table_or_folder, image_root, images), []


def _find_captions(root: Path, image_root: Path, captions: str | Path | None) -> Path | None:
    """Return the table or the folder of text files; None for text files beside the images."""
    if captions is not None:
        path = Path(captions) if Path(captions).exists() else root / captions
        if path.is_dir():
            return None if path.samefile(image_root) else path
        if path.is_file() and path.suffix.lower() in (".csv", ".jsonl"):
            return path
        if not path.exists():
            raise UsageError(f"{path}: no such file or folder", hint=_FORMS)
        forms = "neither a .csv nor a .jsonl file nor a folder of text files"
        raise UsageError(f"{path} is {forms}", hint=_FORMS)
    tables = [path for path in (root / "captions.csv", root / "captions.jsonl") if path.is_file()]
    if len(tables) > 1:
        raise UsageError(f"{root} holds captions.csv and captions.jsonl", hint="choose one with --captions")
    if tables:
        return tables[0]
    return root / "text" if (root / "text").is_dir() else None


def _read_text_files(
    root: Path, folder: Path | None, image_root: Path, images: set[PurePosixPath]
) -> _Records:
    """Read text files with one caption per line, below `folder` or, if None, beside the images."""
    records: _Records = {}
    for path in images:
        record = records[path] = _Record()
        file = (folder or image_root) / f"{key_of(path)}.txt"
        if file.is_file():
            record.captions += try_captions(file, root, record.problems)
        else:
            shown = file.relative_to(root) if file.is_relative_to(root) else file
            record.problems.append(f"no caption file {shown}")
    if all(record.problems for record in records.values()):
        looked = f"below {folder}" if folder else "beside them, and no captions.csv, captions.jsonl or text/"
        first = records[min(records, key=PurePosixPath.as_posix)].problems[0]
        said = f"{len(images)} images, but no captions {looked}; the first: {first}"
        raise DataError(f"{root}: {said}", hint=_FORMS)
    if folder:  # a text file beside the images may be anything, such as a licence
        keys = {key_of(path) for path in images}
        for path in list_files(folder):
            if path.suffix == ".txt" and key_of(path) not in keys:
                records[path] = _Record(problems=["a caption file without an image of that name"])
    return records


def _read_table(table: Path, root: Path, image_root: Path, images: set[PurePosixPath]) -> _Records:
    """Read captions, classes, splits and boxes from a CSV or JSON lines table. A file may have several lines."""
    records: _Records = {}
    for number, line in _read_csv(table) if table.suffix.lower() == ".csv" else _read_jsonl(table):
        path = inner_path(line.file, f"{table}:{number}")
        # Names are relative to the dataset's folder or to its folder of images
        if image_root != root and path.parts[0] == "images" and path not in images and len(path.parts) > 1:
            path = PurePosixPath(*path.parts[1:])
        _add_line(records.setdefault(path, _Record()), line, f"{table.name}:{number}")
    if not records:
        raise DataError(f"{table} holds no line", hint=_FORMS)
    for path, record in records.items():
        if path not in images and not is_file(image_root / path):  # perhaps an image of another suffix
            record.problems.insert(0, f"{table.name} names {path}, but there is no such image")
        if not record.captions:
            record.problems.append(f"no caption in {table.name}")
    for path in images - records.keys():
        records[path] = _Record(problems=[f"no caption in {table.name}"])
    return records


def _add_line(record: _Record, line: _Line, where: str) -> None:
    """Add a line of a table to the record of its image."""
    record.captions += [text.strip() for text in (line.caption or "", *line.captions) if text.strip()]
    values: dict[str, object] = {
        "class_name": line.class_name,
        "split": line.split,
        "box": BoundingBox(*line.box) if line.box else None,
    }
    for attribute, value in values.items():
        known = getattr(record, attribute)
        if known is None:
            setattr(record, attribute, value)
        elif value is not None and value != known:
            what = attribute.removesuffix("_name")
            record.problems.append(f"{where} gives another {what} than a line before")


def _read_jsonl(table: Path) -> Iterator[tuple[int, _Line]]:
    for number, text in read_lines(table):
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
                    hint='put a caption with commas in double quotes: bird.jpg,"red, with black wings"',
                )
            filled = ((column, value) for column, value in zip(header, row, strict=True) if value)
            values: dict[str, object] = dict(filled)
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
            near = _suggestion(column, _COLUMNS)
            raise DataError(f"{table}:1: unknown column {column!r}; {near}", hint=hint)
        if header.count(column) > 1:
            raise DataError(f"{table}:1: the column {column!r} is listed twice", hint=hint)
    boxes = _BOX_COLUMNS if any(column in header for column in _BOX_COLUMNS) else ()
    for column in ("file", "caption", *boxes):
        if column not in header:
            raise DataError(f"{table}:1: there is no column {column!r}", hint=hint)


def _malformed(table: Path, number: int, error: ValidationError, known: Collection[str]) -> DataError:
    first = error.errors(include_url=False)[0]
    where = ".".join(map(str, first["loc"]))
    if first["type"] == "extra_forbidden":
        return DataError(f"{table}:{number}: unknown key {where!r}; {_suggestion(where, known)}")
    if first["type"] == "missing":
        return DataError(f"{table}:{number}: {where!r} is missing")
    found = str(first["input"])[:60]
    return DataError(f"{table}:{number}: {where + ': ' if where else ''}{first['msg']}, found {found!r}")


def _suggestion(name: str, known: Collection[str]) -> str:
    near = nearest(name.strip().lower(), known)
    return f"did you mean {near!r}?" if near else f"known are {', '.join(known)}"


def _assign_splits(records: _Records, has_parts: bool, test_share: float, seed: int) -> str:
    """Give every record its split, or a problem if others have one and it has none. Return the split rule."""
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
    test = draw_test([key_of(path) for path in records], test_share, seed)
    for path, record in records.items():
        record.split = "test" if key_of(path) in test else "train"
    return drawn_rule(test_share, seed)


def _assign_classes(records: _Records, has_parts: bool, folder_classes: bool) -> tuple[str, ...]:
    """Give every record its class, or a problem if others have one and it has none. Return the names, sorted."""
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
