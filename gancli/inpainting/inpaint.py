"""Holes in photographs, filled with what a text says.

A photograph keeps everything but its hole. The model sees the region around the hole (`gancli.inpainting.region`), and
only the hole takes what it paints. `gancli.inpainting.inpaint_split` fills the images of a dataset to score them.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from gancli.csv_files import read_csv, write_csv
from gancli.data.holes import Hole, preview
from gancli.data.images import load_image
from gancli.errors import DataError, check_least
from gancli.figures import Pixels, texts_figure
from gancli.inference.csfgan import Inpainter, load_inpainter
from gancli.inpainting.filling import CENTER, Filled, InpaintReport, check_attention, fill, save_attention
from gancli.inpainting.match_files import (
    Existing,
    MaskFile,
    Task,
    beside,
    check_inputs,
    find_tasks,
    some,
    to_do,
)
from gancli.inpainting.photo import FORMATS, Photo, read_photo, rgb, write_photo
from gancli.inpainting.region import Region, central_region, central_view, paste, region_around, shrink
from gancli.progress import Progress, reporting
from gancli.sampling.requests import Request
from gancli.sampling.samples_writer import save_image

INPAINTED = "inpainted.csv"


def inpaint(
    model: str | Path,
    image: str | Path,
    mask: str | Path | MaskFile,
    texts: str | Sequence[str] = (),
    *,
    captions: str | Path | None = None,
    out: str | Path | None = None,
    attention: bool = False,
    seed: int = 0,
    batch: int = 8,
    device: str | torch.device = "cpu",
    existing: Existing = "refuse",
    progress: Progress | bool = True,
) -> InpaintReport:
    """Fill the hole of an image, or of each image of a folder, of any size and format.

    Mask files and the sizes of all images are checked before the first image is written. `inpainted.csv` beside the
    results says how each was made: image, mask, text, seed, share of the hole.

    Args:
        model: Model folder, run folder or checkpoint of CSF-GAN, or "latest".
        image: Image, or folder of images.
        mask: Mask file of the image's size, white where the image is to be filled. For a folder of images, one mask
            file for all, or a folder of mask files with the images' names, also with `_mask` or `-mask` behind them. A
            `MaskFile` also says whether black is the hole, and whether the hole is grown and feathered.
        texts: Text for the hole. Several texts give a result each and a figure of all, `NAME-texts.png`. For a folder,
            at most one text, which is used for all images.
        captions: Captions for a folder of images: a table `file,caption` (.csv, .jsonl) or a folder of text files. The
            first caption of an image is used. None reads text files or `captions.csv` beside the images.
        out: File to write, or `NAME-1.png`, `NAME-2.png` for several texts. For a folder of images, the folder to
            write, in which images keep name and format. None writes `NAME-inpainted.EXT`, or `images`.
        attention: Write the words that weigh most in the hole as `NAME-attention.png`, and the raw maps as
            `NAME-attention.npz`.
        seed: Seed of the noise. With text and name of the image it determines the result, in any batch.
        batch: Images at a time, all of them in memory.
        device: Device to run on.
        existing: Treatment of results that are there already: "refuse", "skip" or "overwrite".
        progress: Callback for the number of images done and in all. True shows a bar where a person watches.

    Raises:
        UsageError: Arguments contradict each other, or a result is there already.
        DataError: Model, images, mask files or captions are missing, broken or do not fit, or no word of a text is
            known.
        RunError: The system refuses to write. Results finished before are kept.
    """
    started = time.perf_counter()
    check_least(seed=(seed, 0), batch=(batch, 1))
    mask = mask if isinstance(mask, MaskFile) else MaskFile(mask)
    texts = [texts] if isinstance(texts, str) else list(texts)
    tasks = find_tasks(image, mask.path, texts, captions, out)
    first = tasks[0].out
    sheet = first.with_name(f"{first.stem.removesuffix('-1')}-texts.png") if len(texts) > 1 else None
    figures = [attention_files(task.out)[0] for task in tasks] if attention else []
    todo = _unfinished(tasks, existing, attention, sheet)
    warnings: list[str] = []
    model_seconds, digest = 0.0, ""
    if todo:
        inpainter = load_inpainter(model, device)
        if attention:
            check_attention(inpainter)
        warnings += inpainter.check([task.caption for task in todo])
        warnings += check_inputs(todo, mask)
        filler = _Filler(inpainter, mask, attention, keep=sheet is not None)
        with reporting(progress, "filling", "images") as report:
            filled = filler.fill(todo, seed, batch, report)
        _record(_written_to(tasks, Path(image), out), todo, filled.shares, inpainter.hash, seed)
        if sheet is not None:
            captions_shown = [task.caption for task in todo]
            save_image(texts_figure(*filled.original, filled.panels, captions_shown), sheet)
        warnings += _warnings(todo, filled.hidden)
        model_seconds, digest = filled.seconds, inpainter.hash
    return InpaintReport(
        _written_to(tasks, Path(image), out),
        tuple(task.out for task in tasks),
        tuple(figures if sheet is None else [*figures, sheet]),
        len(todo),
        model_seconds,
        time.perf_counter() - started,
        tuple(warnings),
        digest,
    )


def preview_holes(
    image: str | Path,
    mask: str | Path | MaskFile,
    out: str | Path,
    *,
    existing: Existing = "refuse",
    progress: Progress | bool = True,
) -> InpaintReport:
    """Show what `inpaint` would fill: write each image with its hole tinted and outlined. Needs no model.

    Args:
        image: Image, or folder of images.
        mask: Mask file or files, as `inpaint` takes them.
        out: File to write, or folder for a folder of images.
        existing: Treatment of results that are there already: "refuse", "skip" or "overwrite".
        progress: Callback for the number of images done and in all. True shows a bar where a person watches.

    Raises:
        UsageError: A result is there already.
        DataError: Images or mask files are missing, broken or do not fit.
        RunError: The system refuses to write.
    """
    started = time.perf_counter()
    mask = mask if isinstance(mask, MaskFile) else MaskFile(mask)
    tasks = find_tasks(image, mask.path, None, None, out)
    todo = _unfinished(tasks, existing)
    warnings = check_inputs(todo, mask, transparent=False)
    with reporting(progress, "tinting", "images") as report:
        for done, task in enumerate(todo, start=1):
            pixels = np.asarray(load_image(task.image))
            shown = preview(pixels, mask.read_hole(task.mask))
            write_photo(Photo(pixels, {}, {}, None), shown, task.out)
            if report is not None:
                report(done, len(todo))
    return InpaintReport(
        _written_to(tasks, Path(image), out),
        tuple(task.out for task in tasks),
        (),
        len(todo),
        0.0,
        time.perf_counter() - started,
        tuple(warnings),
    )


def attention_files(out: Path) -> tuple[Path, Path]:
    """Return the files of the attention figure and of the raw maps of a result."""
    return beside(out, "attention", ".png"), beside(out, "attention", ".npz")


def _written_to(tasks: Sequence[Task], image: Path, out: str | Path | None) -> Path:
    """Return the file of one result, or the folder of many."""
    if image.is_file():
        return tasks[0].out if len(tasks) == 1 else tasks[0].out.parent
    return Path(out or "images")


def _record(
    written: Path, tasks: Sequence[Task], shares: Sequence[float], model_hash: str, seed: int
) -> None:
    """Write what was filled to inpainted.csv beside the results, with the rows of other results that are there."""
    import pandas as pd

    folder = written if written.is_dir() else written.parent
    rows = pd.DataFrame(
        {
            "file": os.path.relpath(task.out, folder),
            "image": task.image,
            "mask": task.mask,
            "text": task.caption,
            "seed": seed,
            "hole_share": f"{share:.6f}",
            "model_hash": model_hash,
        }
        for task, share in zip(tasks, shares, strict=True)
    ).astype(str)
    table = folder / INPAINTED
    if table.is_file():
        earlier = read_csv(table, "Move it away: it is no table of gancli inpaint.")
        if "file" in earlier:
            rows = pd.concat([earlier[~earlier["file"].isin(rows["file"])], rows])
    write_csv(table, rows)


def _unfinished(
    tasks: Sequence[Task], existing: Existing, attention: bool = False, sheet: Path | None = None
) -> list[Task]:
    """Return the tasks whose files are still to be written. The texts of one figure are filled together."""
    files = [[task.out, *(attention_files(task.out) if attention else ())] for task in tasks]
    inputs = {path for task in tasks for path in (task.image, task.mask)}
    if sheet is not None:
        together = [*(file for each in files for file in each), sheet]
        return list(tasks) if to_do([together], inputs, existing) else []
    return [tasks[number] for number in to_do(files, inputs, existing)]


def _warnings(tasks: Sequence[Task], hidden: Sequence[Path]) -> list[str]:
    warnings = []
    if hidden:
        warnings.append(f"{some(hidden)}: transparent where it was filled, so the filling does not show")
    if any(FORMATS[task.out.suffix.lower()] == "JPEG" for task in tasks):
        warnings.append(
            "JPEG compresses the whole image anew, so known pixels change a little; a .png keeps them exactly"
        )
    return warnings


@dataclass(frozen=True)
class _View:
    """A photograph, its hole, and the part of both that the model sees."""

    photo: Photo
    hole: Hole  # (H, W)
    region: Region
    square: Pixels  # (S, S, 3)
    small_hole: Hole  # (S, S)

    @property
    def hidden(self) -> bool:
        """True if the photograph is transparent wherever it is filled."""
        return self.photo.alpha is not None and not self.photo.alpha[self.hole].any()


@dataclass(frozen=True)
class _FilledPhotos:
    """Results of filling photographs."""

    seconds: float  # spent in the model
    hidden: list[Path]  # photographs whose filling does not show, sorted
    panels: list[Pixels]  # filled regions, if they are kept
    shares: list[float]  # of each photograph that was filled
    original: tuple[Pixels, Hole]  # region of the last photograph, and its hole


@dataclass(frozen=True)
class _Filler:
    """Filling of photographs by one model.

    Attributes:
        inpainter: Model.
        mask: Mask files, and how their holes are grown and feathered.
        attention: Write attention figures and maps.
        keep: Keep the filled regions for the figure of several texts.
    """

    inpainter: Inpainter
    mask: MaskFile
    attention: bool
    keep: bool

    def fill(self, tasks: Sequence[Task], seed: int, batch: int, report: Progress | None) -> _FilledPhotos:
        """Fill photographs batch by batch and write them."""
        seconds, hidden, panels, shares = 0.0, set(), [], []
        with ThreadPoolExecutor() as pool:
            for start in range(0, len(tasks), batch):
                part = tasks[start : start + batch]
                files = list(dict.fromkeys((task.image, task.mask) for task in part))
                opened = dict(zip(files, pool.map(self._open, *zip(*files, strict=True)), strict=True))
                hidden |= {image for (image, _), view in opened.items() if view.hidden}
                views = [opened[task.image, task.mask] for task in part]
                filled = fill(
                    self.inpainter,
                    np.stack([view.square for view in views]),
                    np.stack([view.small_hole for view in views]),
                    [Request(task.caption, key=task.key) for task in part],
                    seed,
                )
                seconds += filled.seconds
                shares += [float(view.hole.mean()) for view in views]
                regions = list(pool.map(self._finish, part, views, [filled] * len(part), range(len(part))))
                panels += regions if self.keep else []
                if report is not None:
                    report(start + len(part), len(tasks))
        inside = views[-1].region.inside
        original = rgb(views[-1].photo.pixels[inside]), views[-1].hole[inside]
        return _FilledPhotos(seconds, sorted(hidden), panels, shares, original)

    def _open(self, image: Path, mask_file: Path) -> _View:
        photo, hole = read_photo(image), self.mask.read_hole(mask_file)
        side, share, feather = self.inpainter.size, self.inpainter.holes.central_share, self.mask.feather
        if share is None:
            region = region_around(hole, side, CENTER, feather)
            square, small = shrink(rgb(photo.pixels[region.inside]), hole[region.inside], side)
        else:
            region = central_region(hole, side, share, feather)
            part = rgb(photo.pixels[region.inside])
            square, small = central_view(part, hole[region.inside], region, side, share)
        if small.all():
            raise DataError(
                f"{mask_file}: of {image} nothing is left beside the hole at the model's {side} pixels",
                "The kept part is too thin, or too finely mixed with the hole, to be seen at that size.",
            )
        return _View(photo, hole, region, square, small)

    def _finish(self, task: Task, view: _View, filled: Filled, row: int) -> Pixels:
        """Write one result, and return its filled region."""
        result = paste(view.photo.pixels, view.region, view.hole, filled.squares[row], self.mask.feather)
        write_photo(view.photo, result, task.out)
        if self.attention:
            files = attention_files(task.out)
            save_attention(self.inpainter, filled, row, view.small_hole, task.caption, files)
        return rgb(result[view.region.inside])
