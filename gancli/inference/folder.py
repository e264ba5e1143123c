"""The samples folder while it is written: opened or continued, pictures in it whole or not at all."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from PIL import Image

from gancli.errors import RunError, UsageError
from gancli.inference.figures import Pixels
from gancli.samples import SAMPLES, Sampling, read_sampling, write_sampling


def open_folder(out: Path, sampling: Sampling, overwrite: bool) -> None:
    """Makes the folder, or finds in it what an interrupted call with the same settings left.

    Raises:
        UsageError: It holds something else, or pictures that are not to be replaced.
    """
    if out.exists() and not out.is_dir():
        raise UsageError(f"{out}: is a file", "Name a folder for the pictures.")
    if out.is_dir() and any(out.iterdir()):
        earlier = read_sampling(out)
        if earlier is None:
            raise UsageError(f"{out}: is not empty, and gancli did not write it", "Name a new folder.")
        if overwrite:
            shutil.rmtree(out)
        elif earlier != sampling or (out / SAMPLES).exists():
            raise UsageError(
                f"{out}: holds pictures already ({earlier.pictures} of {earlier.model}, seed {earlier.seed})",
                "Name a new folder, or say --overwrite.",
            )
    out.mkdir(parents=True, exist_ok=True)
    write_sampling(out, sampling)


def save_pixels(pixels: Pixels, path: Path) -> None:
    """Writes a picture (H, W, 3) as PNG, as `save_image` does."""
    save_image(Image.fromarray(pixels), path)


def save_image(image: Image.Image, path: Path) -> None:
    """Writes a PNG whole or not at all.

    Not synced to the disk: of many thousand files one lost to a power cut is made again.

    Raises:
        RunError: The system refuses to write.
    """
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        path.parent.mkdir(exist_ok=True)
        image.save(temporary, format="PNG")
        os.replace(temporary, path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise RunError(
            f"{path}: cannot be written ({error.strerror or error}); the pictures before it are kept",
            "Free some space, then run the same command again: it continues.",
        ) from error
