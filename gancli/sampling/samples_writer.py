"""The samples folder while it is written: opened or continued, images in it whole or not at all."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from PIL import Image

from gancli.data.shards import Dataset, Split
from gancli.engine.checkpoint import make_numbered
from gancli.errors import DataError, RunError, UsageError
from gancli.figures import Pixels
from gancli.inference.csfgan import Inpainter
from gancli.inference.loaded import LoadedModel
from gancli.progress import Progress
from gancli.sampling.requests import Request, captions_hash
from gancli.sampling.samples_folder import SAMPLES, Sampling, read_sampling, write_sampling
from gancli.version import __version__


def settings_of(
    model: LoadedModel | Inpainter,
    requests: Sequence[Request],
    dataset: Dataset | None,
    split: Split | None,
    seed: int,
) -> Sampling:
    """Return sampling.json as far as model, captions and dataset determine it: one image for each request."""
    manifest = None if dataset is None else dataset.manifest
    return Sampling(
        model=str(model.folder),
        model_hash=model.hash,
        encoder_hash=str(model.settings.get("encoder_hash", "")),
        method=model.method,
        data=None if dataset is None else str(dataset.path),
        dataset=None if dataset is None else dataset.name,
        split=None if split is None else split.name,
        images=len(requests),
        variants=1,
        seed=seed,
        words=model.words,
        stages=(),
        captions_sha256=captions_hash(requests),
        figures=(),
        gancli_version=__version__,
        kind=str(model.settings["kind"]),
        ablation=model.ablation,
        trained_steps=model.settings.get("step"),
        differences=tuple(model.settings.get("differences", ())),
        train_seed=model.settings.get("seed"),
        release=None if manifest is None else manifest.release,
        split_rule=None if manifest is None else manifest.split_rule,
        crop_rule=None if manifest is None else manifest.crop_rule,
    )


def open_folder(out: Path, sampling: Sampling, overwrite: bool) -> Path:
    """Make the folder, or find in it what an interrupted call with the same settings left.

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
    return out


def new_folder(root: Path, label: str, sampling: Sampling) -> Path:
    """Make the next numbered folder below `root`, or find that of an interrupted call with the same settings.

    Raises:
        UsageError: No folder can be made there.
    """
    for folder in sorted(root.glob("[0-9]*-*/"), reverse=True):
        with suppress(DataError):  # of a broken one
            if not (folder / SAMPLES).exists() and read_sampling(folder) == sampling:
                return folder
    try:
        folder = make_numbered(root, label)
    except OSError as error:
        raise UsageError(
            f"{root}: no folder can be made here ({error.strerror})", "Say --out DIR."
        ) from error
    write_sampling(folder, sampling)
    return folder


def write_missing(
    out: Path,
    files: Sequence[str],
    folders: Sequence[str],
    batch: int,
    draw: Callable[[Sequence[int]], Sequence[Mapping[str, Image.Image]]],
    progress: Progress | None,
) -> int:
    """Draw and write the images that are not there yet; return their number.

    Args:
        out: Folder to write.
        files: Names of all images.
        folders: Folders below `out` with a file of the same name for each image.
        batch: Images to draw at a time.
        draw: Function from indices of `files` to the images to write for each, by folder; "" is the image itself.
        progress: Callback with the number of images there and in all.

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
    """Write an image (H, W, 3) as PNG, whole or not at all."""
    save_image(Image.fromarray(pixels), path)


def save_image(image: Image.Image, path: Path) -> None:
    """Write a PNG, whole or not at all.

    It is not synced to the disk: a file that a power cut loses is drawn again.

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
