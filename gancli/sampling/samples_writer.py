"""The samples folder while it is written: opened or continued, images in it whole or not at all."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from PIL import Image

from gancli.errors import RunError, UsageError
from gancli.figures import Pixels
from gancli.sampling.samples_folder import SAMPLES, Sampling, read_sampling, write_sampling


def open_folder(out: Path, sampling: Sampling, overwrite: bool) -> None:
    """Makes the folder, or finds in it what an interrupted call with the same settings left.

    Raises:
        UsageError: It holds something else, or images that are not to be replaced.
    """
    if out.exists() and not out.is_dir():
        raise UsageError(f"{out}: is a file", "Name a folder for the images.")
    if out.is_dir() and any(out.iterdir()):
        earlier = read_sampling(out)
        if earlier is None:
            raise UsageError(f"{out}: is not empty, and gancli did not write it", "Name a new folder.")
        if overwrite:
            shutil.rmtree(out)
        elif earlier != sampling or (out / SAMPLES).exists():
            raise UsageError(
                f"{out}: holds images already ({earlier.images} of {earlier.model}, seed {earlier.seed})",
                "Name a new folder, or say --overwrite.",
            )
    out.mkdir(parents=True, exist_ok=True)
    write_sampling(out, sampling)


def write_missing(
    out: Path,
    files: Sequence[str],
    folders: Sequence[str],
    batch: int,
    draw: Callable[[Sequence[int]], Sequence[Mapping[str, Image.Image]]],
    progress: Callable[[int, int], None] | None,
) -> int:
    """Draws what an interrupted call has not drawn yet, and writes it; how many images that was.

    Args:
        out: The folder.
        files: Names of all images.
        folders: Below `out`, in which each image has something of the same name beside it.
        batch: Images to draw at a time.
        draw: From places among `files` to what is written of each: by folder, under "" the image itself.
        progress: Called with the images that are there and all of them.

    Raises:
        RunError: The system refuses to write.
    """
    every = ("", *folders)
    todo = [
        index for index, file in enumerate(files) if not all((out / name / file).is_file() for name in every)
    ]
    done = len(files) - len(todo)
    with ThreadPoolExecutor() as pool:
        for start in range(0, len(todo), batch):
            indices = todo[start : start + batch]
            parts = draw(indices)
            for name in (*folders, ""):  # the image last
                written = [out / name / files[index] for index in indices]
                list(pool.map(save_image, [part[name] for part in parts], written))
            done += len(indices)
            if progress is not None:
                progress(done, len(files))
    return len(todo)


def save_pixels(pixels: Pixels, path: Path) -> None:
    """Writes an image (H, W, 3) as PNG, as `save_image` does."""
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
            f"{path}: cannot be written ({error.strerror or error}); the images before it are kept",
            "Free some space, then run the same command again: it continues.",
        ) from error
