"""Atomic writing of files: under a temporary name, synced to disk, then renamed."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gancli.errors import RunError


@contextmanager
def atomic_file(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path, and rename it to `path` when the block succeeds.

    Every call has its own temporary path, so two processes that write the same file do not mix their bytes.

    Raises:
        RunError: The file cannot be written (disk full, no permission). The temporary file is removed.
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
    """Return a hidden path beside `path` that no other process uses, even on another machine with the same disk."""
    return path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}.tmp")


def sync(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
