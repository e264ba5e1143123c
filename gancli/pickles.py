"""Pickles of others, read without running any code: lists, dicts, strings and numbers, and nothing else."""

from __future__ import annotations

import io
import pickle
from pathlib import Path

from gancli.errors import DataError


class _PlainUnpickler(pickle.Unpickler):
    """Unpickler that refuses everything that needs a class or function."""

    def find_class(self, module_name: str, global_name: str, /) -> object:
        raise pickle.UnpicklingError(f"it asks for {module_name}.{global_name}, and nothing of it was run")


def read_plain_pickle(path: str | Path, what: str) -> object:
    """Read a pickle of plain values, of Python 3 or 2.

    Args:
        path: File.
        what: Noun phrase for the content, for messages ("a pickled list of image names").

    Raises:
        DataError: The file is missing or damaged, or it holds more than plain values.
    """
    path = Path(path)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})") from None
    if not content:
        raise DataError(f"{path}: is empty (0 bytes)", "Copy the file again.")
    try:
        plain: object = _PlainUnpickler(io.BytesIO(content), encoding="utf-8").load()
    except Exception as error:  # the unpickler may raise anything on damaged bytes
        raise DataError(f"{path} is not {what} ({error})") from None
    return plain
