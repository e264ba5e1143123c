"""What the readers of raw layouts share: text read with errors that name file and line, paths, hashes."""

from __future__ import annotations

import hashlib
import io
import os
import pickle
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from gancli.errors import DataError, UsageError

T = TypeVar("T")


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


def read_json(path: Path, adapter: TypeAdapter[T], what: str, hint: str) -> T:
    """A JSON file of a known form.

    Args:
        adapter: The form; what it does not name is passed over.
        what: The kind of file ("COCO captions"), for the message.
        hint: What to do where it is missing or of another form.

    Raises:
        DataError: It is missing, cannot be read, or is of another form; the message names the first fault.
    """
    if not path.is_file():
        raise DataError(f"{path} is missing", hint=hint)
    try:
        return adapter.validate_json(read_bytes(path))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise DataError(
            f"{path} is not a file of {what}: {where + ': ' if where else ''}{first['msg']}", hint=hint
        ) from None


def read_names(path: Path) -> tuple[str, ...]:
    """The images that a list names, without `.jpg`, in its order.

    Args:
        path: A text file with a name on each line, or a pickled list of names, as AttnGAN's and S2IGAN's
            `filenames.pickle` are. Of a pickle, nothing but plain values is made: it can run no code.

    Raises:
        DataError: It cannot be read, holds no name or something other than names, or a name twice.
    """
    if path.suffix in (".pickle", ".pkl"):
        try:
            listed = _PlainUnpickler(io.BytesIO(read_bytes(path)), encoding="utf-8").load()
        except DataError:
            raise
        except Exception as error:  # the unpickler passes on whatever it meets in damaged bytes
            raise DataError(f"{path} is not a pickled list of image names ({error})") from None
    else:
        listed = [line.strip() for line in read_text(path).split("\n") if line.strip()]
    if not isinstance(listed, list) or not all(isinstance(name, str) for name in listed):
        raise DataError(f"{path} is not a list of image names")
    if not listed:
        raise DataError(f"{path} names no image")
    names = dict.fromkeys(name.removesuffix(".jpg") for name in listed)
    if len(names) < len(listed):
        twice = next(
            name for name in names if sum(other.removesuffix(".jpg") == name for other in listed) > 1
        )
        raise DataError(f"{path} names {twice!r} twice")
    return tuple(names)


class _PlainUnpickler(pickle.Unpickler):
    """Makes lists, strings and numbers; refuses whatever needs a class or function."""

    def find_class(self, module_name: str, global_name: str, /) -> Any:
        raise pickle.UnpicklingError(f"it asks for {module_name}.{global_name}")


def check_share(share: float) -> None:
    """Raises UsageError unless `share` is in [0, 1), as `draw_test` needs it."""
    if not 0 <= share < 1:
        raise UsageError(f"a test share of {share} is not in [0, 1)")


def draw_test(keys: Sequence[str], share: float, seed: int) -> set[str]:
    """The images that become the test split where nothing says which: those with the smallest hash.

    So few change sides when images are added, and the split is the same on every machine.

    Args:
        keys: Of all images, in any order.
        share: In [0, 1); above 0 it is at least one image.
        seed: Another seed draws another split.
    """
    count = min(max(1, round(share * len(keys))), len(keys) - 1) if share else 0
    ranked = sorted(keys, key=lambda key: hashlib.sha256(f"{seed}:{key}".encode()).digest())
    return set(ranked[:count])


def drawn_rule(share: float, seed: int) -> str:
    """Return the split rule of a split that `draw_test` made."""
    return f"drawn {share:g}, seed {seed}"


def inner_path(name: str, where: str, what: str = "images") -> PurePosixPath:
    """The relative path that a file of the dataset names.

    Args:
        name: As it stands in the file.
        where: The file, and the line if there is one, for the message.
        what: What it should be one of, for the message.

    Raises:
        DataError: It is empty, absolute or leads upwards, out of the folder it is meant to lie in.
    """
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or not path.name or "\0" in name:
        raise DataError(f"{where}: {name!r} is not a path inside the folder of {what}")
    return path


def list_files(folder: Path) -> Iterator[PurePosixPath]:
    """Paths of all files below `folder`, relative to it; nothing hidden (.git, macOS's ._image.jpg).

    Raises:
        DataError: A name is not UTF-8.
    """
    for parent, folders, files in os.walk(folder, followlinks=True):
        folders[:] = [name for name in folders if not name.startswith(".")]
        relative = PurePosixPath(Path(parent).relative_to(folder).as_posix())
        for name in files:
            if name.startswith("."):
                continue
            path = relative / name
            if not _is_utf8(path):
                raise DataError(f"{folder}: the file name {path.as_posix()!r} is not UTF-8", hint="rename it")
            yield path


def _is_utf8(path: PurePosixPath) -> bool:
    """Whether a path from the file system is UTF-8; Python puts lone surrogates for what is not."""
    return not any("\udc80" <= character <= "\udcff" for character in path.as_posix())


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
