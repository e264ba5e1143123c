"""Published weight files that a user has already, put where gancli looks for them."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable
from pathlib import Path

from gancli.atomic import atomic_file
from gancli.errors import DataError
from gancli.hashes import file_hash
from gancli.weights import WEIGHTS, home

LEAST_DIGITS = 8  # of a sha256 that its authors publish in part


def import_weights(files: str | Path | Iterable[str | Path]) -> dict[str, Path]:
    """Copy published weight files to gancli's folder, each known by its sha256, whatever its name is.

    Args:
        files: One file or many, of torchvision, pytorch-fid or EfficientNet-Lite.

    Returns:
        Path of each copy by the name of its weights.

    Raises:
        DataError: A file is missing, or it is none that gancli uses.
    """
    chosen = [files] if isinstance(files, str | os.PathLike) else list(files)
    known = {name: entry for name, entry in WEIGHTS.items() if len(entry.sha256) >= LEAST_DIGITS}
    found: dict[str, Path] = {}
    for file in map(Path, chosen):
        if not file.is_file():
            raise DataError(f"{file}: no such file")
        digest = file_hash(file)
        name = next((name for name, entry in known.items() if digest.startswith(entry.sha256)), None)
        if name is None:
            raise DataError(
                f"{file}: is none of the published files that gancli uses; its sha256 is {digest}",
                f"Those are {', '.join(known)}. A network of Fréchet distances with other weights: gancli import "
                "inception.",
            )
        found[name] = file
    copies = {}
    for name, file in found.items():
        copies[name] = home() / "weights" / WEIGHTS[name].file
        copies[name].parent.mkdir(parents=True, exist_ok=True)
        with atomic_file(copies[name]) as temporary:
            shutil.copyfile(file, temporary)
    return copies
