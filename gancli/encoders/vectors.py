"""Files of vectors that an encoder computes once, kept in the dataset folder and mapped into memory for reading."""

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
from gancli.data.shards import Split
from gancli.errors import DataError
from gancli.hashes import file_hash


@dataclass(frozen=True)
class VectorFile:
    """Array in an .npy file.

    Only the path is pickled, so each loader process maps the file for itself.

    Attributes:
        path: The .npy file.
    """

    path: Path

    @cached_property
    def vectors(self) -> NDArray[Any]:
        """Array mapped from the file."""
        mapped: NDArray[Any] = np.load(self.path, mmap_mode="r")
        return mapped

    def __getstate__(self) -> dict[str, object]:
        return {"path": self.path}


def split_hash(split: Split) -> str:
    """Return a text that identifies the content of a split: sha256 of the manifest, and the split's name."""
    return f"{file_hash(split.folder / MANIFEST)}:{split.name}"


def write_vectors(
    path: Path, shape: tuple[int, ...], dtype: DTypeLike, chunks: Iterable[NDArray[np.generic]]
) -> None:
    """Write an array that comes in parts, whole or not at all.

    Args:
        path: File to write (.npy). Its folder is made if it is missing.
        shape: Shape of the whole array.
        dtype: Type of the numbers in the file.
        chunks: Consecutive parts of the array, of any shape.

    Raises:
        RunError: The disk is full or not writable.
    """
    with atomic_file(path) as temporary:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Written in order, because a memory map would end the process with SIGBUS on a full disk
        with temporary.open("wb") as file:
            kind = np.dtype(dtype)
            header = {"descr": np.lib.format.dtype_to_descr(kind), "fortran_order": False, "shape": shape}
            np.lib.format.write_array_header_1_0(file, header)
            for chunk in chunks:
                file.write(np.ascontiguousarray(chunk, kind).tobytes())


def open_vectors(path: Path, shape: tuple[int, ...]) -> VectorFile:
    """Open a file of `write_vectors`.

    Raises:
        DataError: The file is damaged, or its array has another shape.
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
