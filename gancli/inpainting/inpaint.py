"""`inpaint`: fills the holes of photographs with what a text says.

A photograph keeps everything but its hole: the model sees the region around it (`gancli.inpainting.region`), and what
it paints is pasted into the hole alone. `inpaint_split` fills the images of a dataset to score them.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from gancli.atomic import atomic_file
from gancli.data.holes import Hole, preview
from gancli.data.images import load_image
from gancli.errors import DataError, UsageError
from gancli.figures import Pixels, filling_figure, texts_figure, to_uint8
from gancli.inference.csfgan import Inpainter, load_inpainter
from gancli.inpainting.match_files import Task, beside, check_inputs, find_tasks, open_hole, some, to_do
from gancli.inpainting.photo import FORMATS, Photo, read_photo, rgb, write_photo
from gancli.inpainting.region import Region, central_region, central_view, paste, region_around, shrink
from gancli.progress import Progress
from gancli.sampling.noise import image_noise
from gancli.sampling.requests import Request
from gancli.sampling.samples_folder import Sampling
from gancli.sampling.samples_writer import save_image

CENTER = 0.5  # side of the hole over that of the image, where the model was trained with other holes


@dataclass(frozen=True)
class InpaintReport:
    """What was filled.

    Attributes:
        out: The file, or the folder.
        files: Filled images in order, those that were there already among them.
        figures: Attention figures in order, and last that of several texts.
        made: Images filled by this call.
        model_seconds: How long the model took for all of these together.
        seconds: How long the call took.
        warnings: What the user should know.
        model_hash: sha256 of the model's weights; empty where it was not needed.
        sampling: What made the images of a samples folder.
    """

    out: Path
    files: tuple[Path, ...]
    figures: tuple[Path, ...]
    made: int
    model_seconds: float
    seconds: float
    warnings: tuple[str, ...]
    model_hash: str = ""
    sampling: Sampling | None = None


def inpaint(
    model: Path,
    image: Path,
    mask: Path,
    *,
    texts: Sequence[str] = (),
    captions: Path | None = None,
    out: Path | None = None,
    invert_mask: bool = False,
    dilate: int = 0,
    feather: int = 0,
    attention: bool = False,
    seed: int = 0,
    batch: int = 8,
    device: str | torch.device = "cpu",
    skip_existing: bool = False,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> InpaintReport:
    """Fills the hole of an image, or of each image of a folder; of any size and format.

    Masks and the sizes of all images are checked before the first image is written.

    Args:
        model: A model folder of CSF-GAN, or a run folder with one.
        image: An image, or a folder of images.
        mask: White where the image is to be filled, and of its size: a file, or a folder of masks with the images'
            names, also with `_mask` or `-mask` behind them.
        texts: What is to be in the hole. Several give a result each and a figure of all, `NAME-texts.png`; for a
            folder at most one, which is for all images.
        captions: For a folder: a table `file,caption` (.csv, .jsonl) or a folder of text files; None: text files or
            `captions.csv` beside the images. Of several captions of an image the first is taken.
        out: The file to write, `NAME-1.png`, `NAME-2.png` where there are several texts; for a folder a folder, in
            which images keep name and format. Made if need be. None: `NAME-inpainted.EXT`, or `images`.
        invert_mask: Black is the hole.
        dilate: Grow the holes by so many pixels first.
        feather: Blend over so many pixels outside the holes, which then change; 0 changes nothing outside them.
        attention: For each result also `NAME-attention.png`, the words that count most in its hole, and
            `NAME-attention.npz` with the raw maps.
        seed: Of the noise; with text and name of the image it determines the result, in any batch.
        batch: Images at a time, all in memory.
        device: Where to run.
        skip_existing: Leave results that are there already.
        overwrite: Replace them.
        progress: Called after each batch.

    Raises:
        UsageError: What is asked for does not go together, or a result is there already.
        DataError: Model, images, masks or captions are missing, broken or do not fit, or no word of a text is known.
        RunError: The system refuses to write; what was finished before is kept.
    """
    started = time.perf_counter()
    check_numbers(dilate=(dilate, 0), feather=(feather, 0), seed=(seed, 0), batch=(batch, 1))
    tasks = find_tasks(Path(image), Path(mask), texts, captions, out)
    files = [[task.out, *(attention_files(task.out) if attention else ())] for task in tasks]
    sheet = _texts_file(tasks[0].out) if len(texts) > 1 else None
    if sheet is not None:  # one figure shows them all: they are made together
        files = [[*(file for each in files for file in each), sheet]]
    inputs = {path for task in tasks for path in (task.image, task.mask)}
    left = to_do(files, inputs, skip_existing=skip_existing, overwrite=overwrite)
    todo = tasks if sheet is not None and left else [tasks[index] for index in left]
    figures = [attention_files(task.out)[0] for task in tasks] if attention else []
    if sheet is not None:
        figures.append(sheet)
    warnings: list[str] = []
    model_seconds, digest = 0.0, ""
    if todo:
        inpainter = load_inpainter(Path(model), device)
        if attention:
            check_attention(inpainter)
        warnings += inpainter.check([task.caption for task in todo])
        warnings += check_inputs(todo, invert_mask, dilate)
        model_seconds, more = _fill_photos(
            inpainter,
            todo,
            inverted=invert_mask,
            dilate=dilate,
            feather=feather,
            attention=attention,
            seed=seed,
            batch=batch,
            sheet=sheet,
            progress=progress,
        )
        warnings += more
        digest = inpainter.hash
    return InpaintReport(
        _where(tasks, Path(image), out),
        tuple(task.out for task in tasks),
        tuple(figures),
        len(todo),
        model_seconds,
        time.perf_counter() - started,
        tuple(warnings),
        digest,
    )


def preview_holes(
    image: Path,
    mask: Path,
    out: Path,
    *,
    invert_mask: bool = False,
    dilate: int = 0,
    skip_existing: bool = False,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> InpaintReport:
    """Shows what would be filled: each image with its hole tinted and outlined. Needs no model.

    Arguments and errors are those of `inpaint`.
    """
    started = time.perf_counter()
    check_numbers(dilate=(dilate, 0))
    tasks = find_tasks(Path(image), Path(mask), None, None, out)
    inputs = {path for task in tasks for path in (task.image, task.mask)}
    left = to_do([[task.out] for task in tasks], inputs, skip_existing=skip_existing, overwrite=overwrite)
    todo = [tasks[index] for index in left]
    warnings = check_inputs(todo, invert_mask, dilate, transparent=False)
    for done, task in enumerate(todo, start=1):
        pixels = np.asarray(load_image(task.image))
        shown = preview(pixels, open_hole(task.mask, invert_mask, dilate))
        write_photo(Photo(pixels, {}, {}, None), shown, task.out)
        if progress is not None:
            progress(done, len(todo))
    return InpaintReport(
        _where(tasks, Path(image), out),
        tuple(task.out for task in tasks),
        (),
        len(todo),
        0.0,
        time.perf_counter() - started,
        tuple(warnings),
    )


def _where(tasks: Sequence[Task], image: Path, out: Path | None) -> Path:
    """The file of one result, or the folder of many."""
    if image.is_file():
        return tasks[0].out if len(tasks) == 1 else tasks[0].out.parent
    return out or Path("images")


def _texts_file(first: Path) -> Path:
    """The figure that goes with out-1.png, out-2.png and so on."""
    return first.with_name(f"{first.stem.removesuffix('-1')}-texts.png")


# --- the model ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Filled:
    """A batch of filled squares.

    Attributes:
        squares: (B, S, S, 3), painted in the hole only; every other pixel is the one that was given.
        attention: (B, L, H, W) per layer that attends to words, the finest first.
        seconds: How long the model took.
    """

    squares: Pixels
    attention: tuple[NDArray[np.float32], ...]
    seconds: float


def fill(
    inpainter: Inpainter,
    squares: Pixels,
    holes: NDArray[np.bool_],
    requests: Sequence[Request],
    seed: int,
) -> Filled:
    """Fills a batch.

    Args:
        inpainter: The model, of side S.
        squares: (B, S, S, 3).
        holes: (B, S, S).
        requests: B captions, each with what its noise is drawn from.
        seed: Of the noise.
    """
    noises = image_noise(requests, inpainter.noise_dims, seed)
    images = torch.from_numpy(squares).permute(0, 3, 1, 2).float().div_(127.5).sub_(1.0)
    started = time.perf_counter()
    filling = inpainter.fill(
        images,
        torch.from_numpy(holes[:, None]).float(),
        [request.caption for request in requests],
        noises,
    )
    painted = to_uint8(filling.composite)  # waits for the device, too
    seconds = time.perf_counter() - started
    attention = tuple(maps.float().cpu().numpy() for maps in filling.attention)
    # In bytes: known pixels make no detour over what the network computes with
    return Filled(np.where(holes[..., None], painted, squares), attention, seconds)


def check_attention(inpainter: Inpainter) -> None:
    """Refuses a model that attends to no words.

    Raises:
        UsageError: It is such an ablation.
    """
    fusion = inpainter.settings["generator"]["fusion"]
    if fusion not in ("both", "word"):
        raise UsageError(
            f"{inpainter.folder}: {inpainter.method} has no word attention to show: it was trained with "
            f"model.fusion={fusion}",
            "Leave out --attention.",
        )


def save_attention(
    inpainter: Inpainter, filled: Filled, row: int, hole: Hole, caption: str, files: tuple[Path, Path]
) -> None:
    """Writes the attention of one image of a batch: the figure of its finest layer, and the maps of all.

    Args:
        inpainter: The model.
        filled: The batch.
        row: Of the image in it.
        hole: (S, S).
        caption: What was asked for.
        files: The figure's, and the .npz with `words` (L,), `hole` (S, S) and `attention_H` (L, H, W) per layer.
    """
    figure, arrays = files
    words = inpainter.tokens(caption)
    maps = [attention[row, : len(words)] for attention in filled.attention]
    save_image(filling_figure(filled.squares[row], hole, maps[0], words, caption), figure)
    named: dict[str, Any] = {f"attention_{each.shape[-1]}": each for each in maps}
    with atomic_file(arrays) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, words=np.array(words), hole=hole, **named)


def attention_files(out: Path) -> tuple[Path, Path]:
    """The figure and the raw maps that go with a result."""
    return beside(out, "attention", ".png"), beside(out, "attention", ".npz")


def check_numbers(**numbers: tuple[int | None, int]) -> None:
    """Refuses numbers below what they may be, each given with its least.

    Raises:
        UsageError: One is.
    """
    for name, (number, least) in numbers.items():
        if number is not None and number < least:
            raise UsageError(f"{name} has to be at least {least}. Received: {number}")


# --- photographs -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Opened:
    """A photograph, its hole, and what of both the model sees."""

    photo: Photo
    hole: Hole  # (H, W)
    region: Region
    square: Pixels  # (S, S, 3)
    small_hole: Hole  # (S, S)


def _fill_photos(
    inpainter: Inpainter,
    tasks: Sequence[Task],
    *,
    inverted: bool,
    dilate: int,
    feather: int,
    attention: bool,
    seed: int,
    batch: int,
    sheet: Path | None,
    progress: Progress | None,
) -> tuple[float, list[str]]:
    """Fills photographs batch by batch, and makes the figure of several texts of one.

    Returns:
        The seconds that the model took, and what to warn of.
    """
    share = inpainter.holes.central_share
    unseen: set[Path] = set()

    def open_one(files: tuple[Path, Path]) -> _Opened:
        image, mask = files
        photo, hole = read_photo(image), open_hole(mask, inverted, dilate)
        if photo.alpha is not None and not photo.alpha[hole].any():
            unseen.add(image)
        side = inpainter.size
        if share is None:
            region = region_around(hole, side, CENTER, feather)
            square, small = shrink(rgb(photo.pixels[region.inside]), hole[region.inside], side)
        else:
            region = central_region(hole, side, share, feather)
            part = rgb(photo.pixels[region.inside])
            square, small = central_view(part, hole[region.inside], region, side, share)
        if small.all():
            raise DataError(
                f"{mask}: of {image} nothing is left beside the hole at the model's {side} pixels",
                "What is kept is too thin, or mixed too finely with the hole, to be seen at that size.",
            )
        return _Opened(photo, hole, region, square, small)

    def finish(task: Task, view: _Opened, filled: Filled, row: int) -> Pixels | None:
        result = paste(view.photo.pixels, view.region, view.hole, filled.squares[row], feather)
        write_photo(view.photo, result, task.out)
        if attention:
            save_attention(inpainter, filled, row, view.small_hole, task.caption, attention_files(task.out))
        return None if sheet is None else rgb(result[view.region.inside])

    seconds = 0.0
    panels: list[Pixels] = []
    with ThreadPoolExecutor() as pool:
        for start in range(0, len(tasks), batch):
            part = tasks[start : start + batch]
            files = list(dict.fromkeys((task.image, task.mask) for task in part))
            opened = dict(zip(files, pool.map(open_one, files), strict=True))
            views = [opened[task.image, task.mask] for task in part]
            filled = fill(
                inpainter,
                np.stack([view.square for view in views]),
                np.stack([view.small_hole for view in views]),
                [Request(task.caption, key=task.key) for task in part],
                seed,
            )
            seconds += filled.seconds
            results = pool.map(finish, part, views, [filled] * len(part), range(len(part)))
            panels += [panel for panel in results if panel is not None]
            if progress is not None:
                progress(start + len(part), len(tasks))
    if sheet is not None:
        view = views[0]  # of one image, in any batch
        original = rgb(view.photo.pixels[view.region.inside])
        figure = texts_figure(
            original, view.hole[view.region.inside], panels, [task.caption for task in tasks]
        )
        save_image(figure, sheet)
    warnings = []
    if unseen:
        warnings.append(
            f"{some(sorted(unseen))}: transparent where it was filled, so the filling does not show"
        )
    if any(FORMATS[task.out.suffix.lower()] == "JPEG" for task in tasks):
        warnings.append(
            "JPEG compresses the whole image anew, so known pixels change a little; a .png keeps them exactly"
        )
    return seconds, warnings
