"""Files that are there whole or not at all: written under a temporary name, synced to disk, then renamed."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gancli.errors import RunError


@contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; what the block wrote there becomes `path` when it ends well.

    The temporary name is `temporary_name`, so two processes that write the same file never mix their bytes.

    Raises:
        RunError: The system refuses to write (disk full, no permission); the temporary file is removed.
    """
    path = Path(path)
    temporary = temporary_name(path)
    try:
        yield temporary
        sync(temporary)
        os.replace(temporary, path)
        sync(path.parent)
    except OSError as error:
        raise RunError(
            f"{path}: cannot be written ({error.strerror or error}); what was complete before is kept",
            hint="free some space or choose another folder, then run the same command again: it continues",
        ) from error
    finally:
        temporary.unlink(missing_ok=True)


def temporary_name(path: Path) -> Path:
    """A hidden name beside `path` that no other process takes, on this machine or on one that shares the disk."""
    return path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}.tmp")


def sync(path: Path) -> None:
    """Waits until a file, or the names in a folder, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
