"""Holes cut into the images of a dataset split and filled again, as a samples folder for `gancli score`.

The folder is that of `gancli sample`, with one image for each image of the split. `samples.csv` names each with its
first caption and the PNG of its hole.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import torch
from PIL import Image

from gancli.data.hole_settings import HoleSettings
from gancli.data.holes import Holes, holes_from_folder
from gancli.data.loader import evaluation_batches
from gancli.data.shards import Dataset, Split
from gancli.errors import DataError, UsageError, check_least
from gancli.figures import to_uint8
from gancli.inference.csfgan import Inpainter, load_inpainter
from gancli.inpainting.filling import CENTER, InpaintReport, check_attention, fill, save_attention
from gancli.progress import Progress, reporting
from gancli.sampling.requests import Request, file_names, in_turn
from gancli.sampling.samples_folder import GeneratedImage, write_samples
from gancli.sampling.samples_writer import open_folder, save_image, save_pixels, settings_of

HoleRule = Literal["center", "irregular", "mix"]

HOLES, ATTENTION = "holes", "attention"  # folders beside the images
_RATIO = (0.1, 0.5)  # default share of the image that irregular holes cover


@dataclass(frozen=True)
class SplitHoles:
    """Holes to cut into the images of a split.

    Attributes:
        rule: "center", "irregular" or "mix". None cuts central holes.
        center: Side of the central hole as a share of the image's side. None takes that of the model's training, if it
            was trained with central holes, else `CENTER`.
        ratio: Smallest and largest share of the image that irregular holes cover. None takes 0.1 and 0.5.
        folder: Folder of mask files of any size, in place of a rule. Each image gets one of them at random.
        inverted: True where black is the hole in the mask files.
        seed: Seed of holes that are random. An image has the same hole in every call with one seed.
    """

    rule: HoleRule | None = None
    center: float | None = None
    ratio: tuple[float, float] | None = None
    folder: str | Path | None = None
    inverted: bool = False
    seed: int = 0

    def choose(self, trained: HoleSettings) -> Holes:
        """Return the holes for a model that was trained with others or the same.

        Raises:
            UsageError: Fields contradict each other, or a number is out of its range.
            DataError: The folder of mask files is missing or empty.
        """
        check_least(hole_seed=(self.seed, 0))
        if self.folder is not None:
            if (self.rule, self.center, self.ratio) != (None, None, None):
                raise UsageError(
                    "holes come either from a folder of mask files or are cut by a rule, not both",
                    "Leave out --mask, or --hole, --center and --hole-ratio.",
                )
            return holes_from_folder(self.folder, inverted=self.inverted)
        if self.inverted:
            raise UsageError("there are no masks to invert", "Name a folder of mask files with --mask.")
        rule = self.rule or "center"
        if rule not in get_args(HoleRule):
            raise UsageError(
                f"{rule!r} is not a kind of hole", "There are center, irregular, mix; and --mask DIR."
            )
        if self.center is not None and rule == "irregular":
            raise UsageError(
                "irregular holes have no central share", "Leave out --center, or say --hole mix."
            )
        if self.ratio is not None and rule == "center":
            raise UsageError(
                "a central hole has one size, which --center gives",
                "Say --hole irregular for a range of sizes.",
            )
        center = self.center if self.center is not None else trained.central_share or CENTER
        return Holes(rule, center, *(self.ratio or _RATIO))


def inpaint_split(
    model: str | Path,
    data: str | Path,
    *,
    out: str | Path,
    split: str = "test",
    n: int | None = None,
    holes: SplitHoles | HoleRule = "center",
    attention: bool = False,
    seed: int = 0,
    batch: int = 8,
    device: str | torch.device = "cpu",
    overwrite: bool = False,
    progress: Progress | bool = True,
) -> InpaintReport:
    """Fill a hole in every image of a split at the model's side, with its first caption.

    The part of each image is that of the model's training: its centre window, or the whole image, made square.

    Args:
        model: Model folder, run folder or checkpoint of CSF-GAN, or "latest".
        data: Dataset folder.
        out: Folder to write: images, `samples.csv`, `sampling.json` and `holes/`. The same call continues what an
            interrupted one left there.
        split: Name of the split.
        n: Number of images to fill, from the first on. None fills all.
        holes: Holes to cut: a `SplitHoles`, or only its rule ("center", "irregular", "mix").
        attention: Write a figure of the words that weigh most in the hole, and the raw maps, to `attention/`.
        seed: Seed of the noise.
        batch: Images at a time, which does not change them.
        device: Device to run on.
        overwrite: Replace what an earlier call wrote to `out`.
        progress: Callback for the number of images done and in all. True shows a bar where a person watches.

    Raises:
        UsageError: Arguments contradict each other, or `out` holds something else.
        DataError: Model, dataset or mask files are missing, broken or do not fit, or no word of a caption is known.
        RunError: The system refuses to write. Results finished before are kept.
    """
    started = time.perf_counter()
    out = Path(out)
    check_least(n=(n, 1), seed=(seed, 0), batch=(batch, 1))
    asked = holes if isinstance(holes, SplitHoles) else SplitHoles(holes)
    inpainter = load_inpainter(model, device)
    if attention:
        check_attention(inpainter)
    cut = asked.choose(inpainter.holes)
    dataset, opened = _open_split(data, split, inpainter)
    requests = in_turn(opened, np.arange(len(opened))[:n], 1)
    warnings = inpainter.check([request.caption for request in requests])
    trained = inpainter.holes.central_share
    if trained is not None and cut.settings != inpainter.holes:
        warnings.append(
            f"{model}: was trained with one hole, center {trained:g}, and fills others badly; train with "
            "holes.kind=irregular or mix for holes of other shapes"
        )
    sampling = replace(
        settings_of(inpainter, requests, dataset, opened, seed),
        stages=(inpainter.size,),
        captions_per_image=1,
        figures=(ATTENTION,) if attention else (),
        holes=cut.settings,
        window=inpainter.window,
        hole_seed=None if cut.kind == "center" else asked.seed,
    )
    open_folder(out, sampling, overwrite)
    filler = _SplitFiller(inpainter, opened, cut, asked.seed, requests, out, attention)
    with reporting(progress, "filling", "images") as report:
        made, model_seconds = filler.fill(seed, batch, report)
    filler.write_table(seed)
    return InpaintReport(
        out,
        tuple(out / file for file in filler.files),
        tuple(filler.attention_files(file)[0] for file in filler.files) if attention else (),
        made,
        model_seconds,
        time.perf_counter() - started,
        tuple(warnings),
        inpainter.hash,
        sampling,
    )


def _open_split(data: str | Path, name: str, inpainter: Inpainter) -> tuple[Dataset, Split]:
    """Open a split whose images are large enough for a model."""
    dataset = Dataset.open(data)
    split = dataset.split(name)
    if len(split) == 0:
        raise DataError(f"{data}: the split {name!r} is empty")
    if inpainter.size > dataset.image_size:
        raise DataError(
            f"{data}: was prepared at {dataset.image_size} pixels, {inpainter.folder} fills images of {inpainter.size}",
            f"Prepare the data with --image-size {inpainter.size}.",
        )
    return dataset, split


@dataclass(frozen=True)
class _SplitFiller:
    """Filling of the images of a split by one model."""

    inpainter: Inpainter
    split: Split
    holes: Holes
    hole_seed: int
    requests: Sequence[Request]  # captions of the images, from the first image of the split on
    out: Path
    attention: bool  # write attention figures and maps

    @cached_property
    def files(self) -> Sequence[str]:
        """Names of the image files."""
        return file_names(self.requests)

    def attention_files(self, file: str) -> tuple[Path, Path]:
        """Return the files of the attention figure and of the raw maps of an image."""
        figure = self.out / ATTENTION / file
        return figure, figure.with_suffix(".npz")

    def fill(self, seed: int, batch: int, report: Progress | None) -> tuple[int, float]:
        """Fill the images that are not there yet; return their number, and the seconds spent in the model."""
        for name in (HOLES, ATTENTION) if self.attention else (HOLES,):
            (self.out / name).mkdir(exist_ok=True)
        todo = [number for number, file in enumerate(self.files) if not self._written(file)]
        batches = evaluation_batches(
            self.split,
            sizes=[self.inpainter.size],
            batch=batch,
            words=1,
            images=np.array(todo, np.int64),
            holes=self.holes,
            seed=self.hole_seed,
            window=self.inpainter.window,
        )
        seconds, done = 0.0, len(self.files) - len(todo)
        with ThreadPoolExecutor() as pool:
            for real in batches:
                assert real.holes is not None  # asked for
                numbers = real.indices.tolist()  # also those of requests, which start at the first image
                cut = real.holes[:, 0].numpy() > 0.5
                requests = [self.requests[number] for number in numbers]
                filled = fill(self.inpainter, to_uint8(real.images[0]), cut, requests, seed)
                seconds += filled.seconds
                names = [self.files[number] for number in numbers]
                if self.attention:
                    for row, (request, name) in enumerate(zip(requests, names, strict=True)):
                        files = self.attention_files(name)
                        save_attention(self.inpainter, filled, row, cut[row], request.caption, files)
                list(
                    pool.map(
                        save_image, map(Image.fromarray, cut), (self.out / HOLES / name for name in names)
                    )
                )
                list(pool.map(save_pixels, filled.squares, (self.out / name for name in names)))
                done += len(numbers)
                if report is not None:
                    report(done, len(self.files))
        return len(todo), seconds

    def write_table(self, seed: int) -> None:
        """Write samples.csv, which makes the folder a finished one."""

        def row(file: str, of: Request) -> GeneratedImage:
            size, hole = self.inpainter.size, f"{HOLES}/{file}"
            return GeneratedImage(file, of.caption, of.key, of.class_id, seed, 0, size, hole=hole)

        write_samples(self.out, list(map(row, self.files, self.requests)))

    def _written(self, file: str) -> bool:
        attention = self.attention_files(file) if self.attention else ()
        return all(path.is_file() for path in (self.out / file, self.out / HOLES / file, *attention))
