"""CSV files through pandas: read as text, whatever program wrote them, and written whole or not at all."""

from __future__ import annotations

import io
import os
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from gancli.atomic import atomic_file
from gancli.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

SEPARATORS = ",;\t"  # spreadsheets write the last two in some languages


def read_csv(path: str | Path, hint: str = "", *, finished: bool = True) -> pd.DataFrame:
    """Return a CSV file as text, with "" for empty cells. An empty file has no columns.

    The separator may be a comma, a semicolon or a tab, and a byte order mark is passed over.

    Args:
        path: File to read.
        hint: Hint of the errors.
        finished: False passes over a last line without its end, which somebody may be writing.

    Raises:
        DataError: The file is missing or is not CSV.
    """
    import pandas as pd

    try:
        with Path(path).open(encoding="utf-8-sig", newline="") as file:
            text = file.read()
        text = text if finished else text[: text.rfind("\n") + 1]
        header = text.partition("\n")[0]
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)  # a line with too many cells
            return pd.read_csv(
                io.StringIO(text),
                sep=max(SEPARATORS, key=header.count),
                dtype=str,
                keep_default_na=False,
                index_col=False,
                lineterminator=None if "\r" in text else "\n",
            )
    except pd.errors.EmptyDataError:
        return pd.DataFrame()
    except FileNotFoundError:
        raise DataError(f"{path}: no such file", hint) from None
    except (OSError, UnicodeDecodeError, pd.errors.ParserError, pd.errors.ParserWarning) as error:
        raise DataError(f"{path}: cannot be read as CSV ({error})", hint) from error


def lines_of(frame: pd.DataFrame) -> list[int]:
    """Return the line on which each row of a table that `read_csv` read begins, counted from 1."""
    if frame.empty:
        return []
    # Quoted cells may hold line breaks
    within = frame.apply(lambda column: column.str.count("\n")).sum(axis=1)
    return [2 + row + int(breaks) for row, breaks in enumerate(within.cumsum().shift(fill_value=0))]


def write_csv(path: str | Path, frame: pd.DataFrame) -> None:
    """Write a table without its index. The target of a link is written, a device like /dev/null is written to.

    Raises:
        RunError: The file cannot be written.
    """
    path = Path(os.path.realpath(path))
    if path.exists() and not path.is_file():
        frame.to_csv(path, index=False, lineterminator="\n")
        return
    with atomic_file(path) as temporary:
        frame.to_csv(temporary, index=False, lineterminator="\n", encoding="utf-8")
