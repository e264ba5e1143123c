"""Files of vectors that an encoder computes once: kept in the dataset folder, mapped into memory when they are read."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from gancli.atomic import atomic_file
from gancli.data.manifest import MANIFEST
from gancli.data.shards import Split, file_hash
from gancli.errors import DataError


@dataclass(frozen=True)
class VectorFile:
    """An array in an .npy file.

    Pickled, it is only the path: each loader process maps the file for itself.

    Attributes:
        path: The file.
    """

    path: Path

    @cached_property
    def vectors(self) -> NDArray[Any]:
        """The array, mapped from the file."""
        mapped: NDArray[Any] = np.load(self.path, mmap_mode="r")
        return mapped

    def __getstate__(self) -> dict[str, object]:
        return {"path": self.path}


def split_hash(split: Split) -> str:
    """sha256 of what a split holds: its manifest, with the hash of every shard, and its name."""
    return f"{file_hash(split.folder / MANIFEST)}:{split.name}"


def write_vectors(
    path: Path, shape: tuple[int, ...], dtype: DTypeLike, chunks: Iterable[NDArray[Any]]
) -> None:
    """Writes an array that comes in parts, whole or not at all.

    Args:
        path: The .npy file; its folder is made if need be.
        shape: Of the whole array.
        dtype: Of the file.
        chunks: Consecutive parts of the array, of any shape.

    Raises:
        RunError: The disk is full or not writable.
    """
    with atomic_file(path) as temporary:
        path.parent.mkdir(parents=True, exist_ok=True)
        # In order and not through a memory map: on a full disk that would end the process with SIGBUS
        with temporary.open("wb") as file:
            kind = np.dtype(dtype)
            header = {"descr": np.lib.format.dtype_to_descr(kind), "fortran_order": False, "shape": shape}
            np.lib.format.write_array_header_1_0(file, header)
            for chunk in chunks:
                file.write(np.ascontiguousarray(chunk, kind).tobytes())


def open_vectors(path: Path, shape: tuple[int, ...]) -> VectorFile:
    """The array of a file that `write_vectors` wrote.

    Raises:
        DataError: It is damaged, or of another shape.
    """
    again = "Delete it, and it is computed again."
    opened = VectorFile(path)
    try:
        found = opened.vectors.shape
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot be read ({error})", again) from error
    if found != shape:
        raise DataError(f"{path}: holds vectors of shape {found} instead of {shape}", again)
    return opened
