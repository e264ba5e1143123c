"""What the readers of raw layouts share: text files read with errors that name the file and line, and file hashes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from gancli.errors import DataError

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff")


def read_text(path: Path) -> str:
    """The whole of a UTF-8 file, with or without a byte order mark.

    Raises:
        DataError: It cannot be read or is not UTF-8; the message names the file.
    """
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path} is not UTF-8 text: byte {error.start} is 0x{error.object[error.start]:02x}",
            hint=f"convert it, for instance: iconv -f WINDOWS-1252 -t UTF-8 {path.name}",
        ) from None
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}") from None


def read_captions(path: Path) -> tuple[str, ...]:
    """The captions of a file that holds one per line; empty lines are left out.

    Only newlines separate: `str.splitlines` would also cut a sentence at U+2028, U+0085 and the like.

    Raises:
        DataError: It cannot be read, is not UTF-8 or holds no caption.
    """
    captions = tuple(line.strip() for line in read_text(path).split("\n") if line.strip())
    if not captions:
        raise DataError(f"{path} holds no caption")
    return captions


def read_fields(path: Path, count: int) -> Iterator[tuple[int, list[str]]]:
    """Number and `count` fields of each line of a table separated by blanks; the last field keeps its blanks.

    Raises:
        DataError: It cannot be read, is not UTF-8, or a line has fewer fields.
    """
    for number, line in enumerate(read_text(path).split("\n"), 1):
        fields = line.split(maxsplit=count - 1)
        if not fields:
            continue
        if len(fields) < count:
            raise DataError(f"{path}:{number}: {count} fields expected, found {len(fields)}: {line.strip()!r}")
        yield number, [field.strip() for field in fields]


def reason(error: DataError, root: Path) -> str:
    """The message of `error` as the reason of a bad sample, its paths written relative to `root`."""
    return str(error).replace(f"{root}/", "")


def fingerprint(files: Iterable[Path], root: Path) -> Mapping[str, str]:
    """{path relative to `root`: sha256} of the files that define a dataset; a file outside `root` goes by its name.

    Raises:
        DataError: A file cannot be read.
    """
    hashes = {}
    for path in files:
        try:
            with path.open("rb") as stream:
                digest = hashlib.file_digest(stream, "sha256").hexdigest()
        except OSError as error:
            raise DataError(f"{path} cannot be read: {error.strerror or error}") from None
        hashes[path.relative_to(root).as_posix() if path.is_relative_to(root) else path.name] = digest
    return hashes
