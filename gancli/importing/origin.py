"""Provenance of imported weights, and the folder they go into."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from gancli.config.load import differences_from_paper, paper_recipe
from gancli.config.sections import BaseRecipe
from gancli.errors import UsageError
from gancli.importing.reading import PublicFile
from gancli.version import __version__


@dataclass(frozen=True)
class Imported:
    """Folder that an import wrote.

    Attributes:
        folder: Encoder or model folder.
        files: Files it was made from.
        dropped: Names of the tensors that the public code never uses, which were left out.
    """

    folder: Path
    files: tuple[PublicFile, ...]
    dropped: tuple[str, ...] = ()


def origin(
    recipe: BaseRecipe, code: str, files: Sequence[PublicFile], dropped: Sequence[str]
) -> dict[str, object]:
    """Return the part of config.yaml about the weights' origin.

    The dataset is the recipe's, by name only: a public file does not say which release or split it learned from.

    Args:
        recipe: Recipe that describes the networks.
        code: Public code that the files come from.
        files: Files.
        dropped: Names of the tensors left out.
    """
    data = recipe.data.name
    return {
        "gancli": __version__,
        "imported": {
            "code": code,
            "files": [{"name": file.path.name, "sha256": file.sha256} for file in files],
            "dropped": list(dropped),
        },
        "dataset": {
            "name": data,
            "release": "",
            "split_rule": "",
            "crop_rule": "",
            "image_size": None,
        },
        "step": None,
        "images_seen": None,
        "seed": None,
        "paper_recipe": paper_recipe(recipe, data),
        "differences": differences_from_paper(recipe, data),
    }


def refuse_existing(folder: Path, *, overwrite: bool) -> None:
    """Refuse to write into a folder that holds something.

    Raises:
        UsageError: It does, and `overwrite` is not set, or it is a file.
    """
    if folder.is_file():
        raise UsageError(f"{folder}: is a file; the import writes a folder")
    if folder.is_dir() and any(folder.iterdir()) and not overwrite:
        raise UsageError(f"{folder}: is not empty", "Name another folder with --out, or say --overwrite.")
