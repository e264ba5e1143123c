"""Shared parts of the readers: options, paths, text files, lists of images, hashes.

A file or folder that is missing, unreadable or malformed raises a `DataError` that names it, and the line if there is
one. A wrong option raises a `UsageError`.
"""

from __future__ import annotations

import difflib
import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path, PurePosixPath
from typing import TypeVar

from pydantic import TypeAdapter, ValidationError

from gancli.errors import DataError, UsageError
from gancli.pickles import read_plain_pickle

T = TypeVar("T")


# ----------------------------------------------------------------------------------------------------------
# Options


def check_choice(what: str, choice: str | None, choices: Sequence[str], dataset: str) -> None:
    """Raise UsageError unless `choice` is None or one of at least two `choices`."""
    if choice is not None and choice not in choices:
        known = f"{', '.join(choices[:-1])} or {choices[-1]}"
        raise UsageError(f"unknown {what} {choice!r} of {dataset}", hint=f"choose {known}")


def check_share(share: float) -> None:
    """Raise UsageError unless `share` is in [0, 1)."""
    if not 0 <= share < 1:
        raise UsageError(f"a test share of {share} is not in [0, 1)")


def nearest(name: str, known: Iterable[str]) -> str | None:
    """Return the known name that is most like a misspelt one, if any is."""
    return next(iter(difflib.get_close_matches(name, list(known), n=1)), None)


def draw_test(keys: Sequence[str], share: float, seed: int) -> set[str]:
    """Draw a share in [0, 1) of the keys for the test split, above 0 at least one: the smallest hashes of seed and key.

    So the split is the same on every machine, and few images change sides when images are added.
    """
    count = min(max(1, round(share * len(keys))), len(keys) - 1) if share else 0
    ranked = sorted(keys, key=lambda key: hashlib.sha256(f"{seed}:{key}".encode()).digest())
    return set(ranked[:count])


def drawn_rule(share: float, seed: int) -> str:
    """Return the split rule of a split that `draw_test` made."""
    return f"drawn {share:g}, seed {seed}"


# ----------------------------------------------------------------------------------------------------------
# Folders and paths


def open_root(root: str | Path, hint: str | None = None) -> Path:
    """Return the folder of a dataset, which has to exist."""
    root = Path(root)
    if not root.is_dir():
        raise DataError(f"{root} is not a folder", hint=hint)
    return root


def is_file(path: Path) -> bool:
    """Return True if the file exists. Unlike `Path.is_file`, accept names that are too long for the file system."""
    return os.path.isfile(path)


def required(path: Path, hint: str) -> Path:
    """Return the path of a file, which has to exist."""
    if not path.is_file():
        raise DataError(f"{path} is missing", hint=hint)
    return path


def key_of(path: PurePosixPath) -> str:
    """Return the key of an image: its path without the extension."""
    return path.with_suffix("").as_posix()


def inner_path(name: str, where: str, what: str = "images") -> PurePosixPath:
    """Return a relative path that the dataset names at `where`. It may not lead out of the folder of `what`."""
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or not path.name or "\0" in name:
        raise DataError(f"{where}: {name!r} is not a path inside the folder of {what}")
    return path


def list_files(folder: str | Path) -> Iterator[PurePosixPath]:
    """Yield the relative paths of all files below a folder except hidden ones (.git, macOS's ._image.jpg).

    Links are followed, but no folder is entered twice: a link to a folder above would otherwise never end.
    """
    entered: set[str] = set()
    for parent, folders, files in os.walk(folder, followlinks=True):
        real = os.path.realpath(parent)
        if real in entered:
            folders.clear()
            continue
        entered.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        relative = PurePosixPath(Path(parent).relative_to(folder).as_posix())
        for name in files:
            if name.startswith("."):
                continue
            path = relative / name
            # Python's sign for other bytes
            if any("\udc80" <= character <= "\udcff" for character in path.as_posix()):
                raise DataError(f"{folder}: the file name {path.as_posix()!r} is not UTF-8", hint="rename it")
            yield path


# ----------------------------------------------------------------------------------------------------------
# Files


@contextmanager
def open_bytes(path: str | Path) -> Iterator[BufferedReader]:
    """Open a file for reading."""
    try:
        with open(path, "rb") as stream:
            yield stream
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}") from None


def read_bytes(path: str | Path) -> bytes:
    """Read a file."""
    with open_bytes(path) as stream:
        return stream.read()


def read_text(path: str | Path) -> str:
    """Read a UTF-8 file with or without a byte order mark. All line ends become newlines."""
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


def read_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yield number and text of each line of a UTF-8 file that is not blank.

    Only newlines separate: `str.splitlines` would also cut a sentence at U+2028, U+0085 and others.
    """
    for number, line in enumerate(read_text(path).split("\n"), 1):
        if line.strip():
            yield number, line


def read_fields(path: Path, count: int) -> Iterator[tuple[int, list[str]]]:
    """Yield number and `count` fields of each line of a table separated by white space. The last may contain some."""
    for number, line in read_lines(path):
        fields = line.split(maxsplit=count - 1)
        if len(fields) < count:
            found = f"{len(fields)}: {line.strip()!r}"
            raise DataError(f"{path}:{number}: {count} fields expected, found {found}")
        yield number, [field.strip() for field in fields]


def read_captions(path: Path) -> tuple[str, ...]:
    """Read a file with one caption per line."""
    captions = tuple(line.strip() for _, line in read_lines(path))
    if not captions:
        raise DataError(f"{path} holds no caption")
    return captions


def try_captions(path: Path, root: Path, problems: list[str]) -> tuple[str, ...]:
    """Read captions like `read_captions`, but append an error to `problems`, with its paths relative to `root`."""
    try:
        return read_captions(path)
    except DataError as error:
        problems.append(str(error).replace(f"{root}/", ""))
        return ()


def read_json(path: Path, adapter: TypeAdapter[T], what: str, hint: str) -> T:
    """Read a JSON file.

    Args:
        path: The file.
        adapter: Form of the content. Other keys are ignored.
        what: Kind of file ("COCO captions"), for the message.
        hint: Remedy if the file is missing or has another form.
    """
    try:
        return adapter.validate_json(read_bytes(required(path, hint)))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise DataError(
            f"{path} is not a file of {what}: {where + ': ' if where else ''}{first['msg']}", hint=hint
        ) from None


def read_names(path: Path) -> tuple[str, ...]:
    """Return the names in a list of images, without `.jpg`, in the order of the file.

    The list is a text file with a name on each line, or a pickled list of names, such as the `filenames.pickle` of
    AttnGAN and S2IGAN. Pickles are read without running any code.
    """
    listed: object
    if path.suffix in (".pickle", ".pkl"):
        listed = read_plain_pickle(path, "a pickled list of image names")
    else:
        listed = [line.strip() for _, line in read_lines(path)]
    if not isinstance(listed, list) or not all(isinstance(name, str) for name in listed):
        raise DataError(f"{path} is not a list of image names")
    if not listed:
        raise DataError(f"{path} names no image")
    names: dict[str, None] = {}  # a set that keeps its order
    for name in (name.removesuffix(".jpg") for name in listed):
        if name in names:
            raise DataError(f"{path} names {name!r} twice")
        names[name] = None
    return tuple(names)


def fingerprint(files: Iterable[Path], root: Path) -> Mapping[str, str]:
    """Return `Source.fingerprint`: {path relative to `root`: sha256}. A file outside `root` goes by its name."""
    hashes = {}
    for path in files:
        with open_bytes(path) as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
        hashes[path.relative_to(root).as_posix() if path.is_relative_to(root) else path.name] = digest
    return hashes


def with_article(name: str) -> str:
    """Return a name in the singular behind its article: "an orange dahlia"."""
    return f"{'an' if name[0] in 'aeiou' else 'a'} {name}"
