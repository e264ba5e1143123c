"""What the readers of raw layouts share: text read with errors that name file and line, paths, hashes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path, PurePosixPath

from gancli.errors import DataError


@contextmanager
def open_bytes(path: Path) -> Iterator[BufferedReader]:
    """A file, open for reading.

    Raises:
        DataError: It cannot be opened or read; the message names it.
    """
    try:
        with path.open("rb") as stream:
            yield stream
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}") from None


def read_bytes(path: Path) -> bytes:
    """The whole of a file.

    Raises:
        DataError: It cannot be read; the message names it.
    """
    with open_bytes(path) as stream:
        return stream.read()


def read_text(path: Path) -> str:
    """The whole of a UTF-8 file, with or without a byte order mark; line ends become newlines.

    Raises:
        DataError: It cannot be read or is not UTF-8; the message names it.
    """
    content = read_bytes(path)
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise DataError(
            f"{path}:{line}: not UTF-8 text (byte 0x{content[error.start]:02x})",
            hint="save it as UTF-8; for a file from Windows: iconv -f WINDOWS-1252 -t UTF-8",
        ) from None
    return text.replace("\r\n", "\n").replace("\r", "\n")


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
            raise DataError(
                f"{path}:{number}: {count} fields expected, found {len(fields)}: {line.strip()!r}"
            )
        yield number, [field.strip() for field in fields]


def inner_path(name: str, where: str) -> PurePosixPath:
    """The relative path that a file of the dataset names.

    Args:
        name: As it stands in the file.
        where: The file, and the line if there is one, for the message.

    Raises:
        DataError: It is empty, absolute or leads upwards, out of the folder it is meant to lie in.
    """
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or not path.name or "\0" in name:
        raise DataError(f"{where}: {name!r} is not a path inside the folder of pictures")
    return path


def reason(error: DataError, root: Path) -> str:
    """The message of `error` as the reason of a bad sample, its paths written relative to `root`."""
    return str(error).replace(f"{root}/", "")


def fingerprint(files: Iterable[Path], root: Path) -> Mapping[str, str]:
    """The hashes for `Source.fingerprint`.

    Returns:
        {path relative to `root`: sha256}; a file outside `root` goes by its name.

    Raises:
        DataError: A file cannot be read.
    """
    hashes = {}
    for path in files:
        with open_bytes(path) as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
        hashes[path.relative_to(root).as_posix() if path.is_relative_to(root) else path.name] = digest
    return hashes
