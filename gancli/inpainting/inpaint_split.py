"""`inpaint_split`: holes cut into the images of a split and filled again, into a samples folder for `gancli score`.

The folder is that of `gancli sample`: one image for each image of the split, named in `samples.csv` with its first
caption and with the PNG of its hole.
"""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from PIL import Image

from gancli.data.holes import Hole, Holes, holes_from_folder
from gancli.data.loader import evaluation_batches
from gancli.data.shards import Dataset
from gancli.errors import DataError, UsageError
from gancli.figures import to_uint8
from gancli.inference.csfgan import Inpainter, load_inpainter
from gancli.inpainting.inpaint import (
    CENTER,
    InpaintReport,
    Progress,
    check_attention,
    check_numbers,
    fill,
    save_attention,
)
from gancli.sampling.requests import captions_hash, file_names, in_turn
from gancli.sampling.samples_folder import GeneratedImage, Sampling, write_samples
from gancli.sampling.samples_writer import open_folder, save_image, save_pixels
from gancli.version import __version__

HoleRule = Literal["center", "irregular", "mix"]

HOLES, ATTENTION = "holes", "attention"  # folders beside the images
_RATIO = (0.1, 0.5)  # share of the image that irregular holes cover unless said otherwise


def inpaint_split(
    model: Path,
    data: Path,
    *,
    out: Path,
    split: str = "test",
    n: int | None = None,
    hole: HoleRule | None = None,
    center: float | None = None,
    hole_ratio: tuple[float, float] | None = None,
    masks: Path | None = None,
    invert_mask: bool = False,
    hole_seed: int = 0,
    attention: bool = False,
    seed: int = 0,
    batch: int = 8,
    device: str | torch.device = "cpu",
    overwrite: bool = False,
    progress: Progress | None = None,
) -> InpaintReport:
    """Fills a hole in every image of a split: its centre window at the model's side, with its first caption.

    Args:
        model: A model folder of CSF-GAN, or a run folder with one.
        data: A prepared dataset.
        out: Folder for images, `samples.csv`, `sampling.json` and `holes/`. Made if need be. The same call again
            continues where an interrupted one stopped.
        split: Of the dataset.
        n: Only the first images; None: all.
        hole: "center", "irregular" or "mix"; None: "center".
        center: Side of the central hole over the image's; None: that of the model's training, if it had one, else
            `CENTER`.
        hole_ratio: Share of the image that irregular holes cover, from and to; None: 0.1 to 0.5.
        masks: A folder of masks, white in the hole, of any size: each image gets one of them by chance.
        invert_mask: Black is the hole in these.
        hole_seed: Of irregular holes and of that choice. An image has the same hole in every call of one seed.
        attention: For each image a figure of the words that count most in its hole, and the raw maps, in
            `attention/`.
        seed: Of the noise.
        batch: Images at a time; it does not change them.
        device: Where to run.
        overwrite: Replace what an earlier call wrote to `out`.
        progress: Called after each batch.

    Raises:
        UsageError: What is asked for does not go together; `out` holds something else.
        DataError: Model, dataset or masks are missing or broken or do not fit, or no word of a caption is known.
        RunError: The system refuses to write; what was finished before is kept.
    """
    started = time.perf_counter()
    check_numbers(n=(n, 1), hole_seed=(hole_seed, 0), seed=(seed, 0), batch=(batch, 1))
    inpainter = load_inpainter(Path(model), device)
    if attention:
        check_attention(inpainter)
    holes = choose_holes(inpainter, hole, center, hole_ratio, masks, invert_mask)
    dataset = Dataset.open(data)
    opened = dataset.split(split)
    if len(opened) == 0:
        raise DataError(f"{data}: the split {split!r} is empty")
    side = inpainter.size
    if side > dataset.image_size:
        raise DataError(
            f"{data}: was prepared at {dataset.image_size} pixels, {model} fills images of {side}",
            f"Prepare the data with --image-size {side}.",
        )
    requests = in_turn(opened, np.arange(len(opened))[:n], 1)
    warnings = inpainter.check([request.caption for request in requests])
    trained = inpainter.holes.central_share
    if trained is not None and holes.settings != inpainter.holes:
        warnings.append(
            f"{model}: was trained with one hole, center {trained:g}, and fills others badly; train with "
            "holes.kind=irregular or mix for holes of other shapes"
        )
    sampling = Sampling(
        model=str(model),
        model_hash=inpainter.hash,
        encoder_hash=str(inpainter.settings.get("encoder_hash", "")),
        method=inpainter.method,
        data=str(data),
        dataset=dataset.name,
        split=split,
        images=len(requests),
        variants=1,
        seed=seed,
        words=inpainter.words,
        stages=(side,),
        captions_sha256=captions_hash(requests),
        figures=(ATTENTION,) if attention else (),
        gancli_version=__version__,
        holes=holes.settings,
        hole_seed=None if holes.kind == "center" else hole_seed,
    )
    open_folder(out, sampling, overwrite)
    files = file_names(requests)
    for name in (HOLES, *sampling.figures):
        (out / name).mkdir(exist_ok=True)

    def written(file: str) -> list[Path]:
        every = [out / file, out / HOLES / file]
        return [*every, *_attention_files(out, file)] if attention else every

    todo = [number for number, file in enumerate(files) if not all(path.is_file() for path in written(file))]
    batches = evaluation_batches(
        opened,
        sizes=[side],
        batch=batch,
        words=1,
        images=np.array(todo, np.int64),
        holes=holes,
        seed=hole_seed,
    )
    model_seconds, done = 0.0, len(files) - len(todo)
    with ThreadPoolExecutor() as pool:
        for real in batches:
            assert real.holes is not None  # asked for
            numbers = real.indices.tolist()  # places in the split: it is taken from its first image on
            squares, cut = to_uint8(real.images[0]), real.holes[:, 0].numpy() > 0.5
            filled = fill(inpainter, squares, cut, [requests[number] for number in numbers], seed)
            model_seconds += filled.seconds
            if attention:
                for row, number in enumerate(numbers):
                    paths = _attention_files(out, files[number])
                    save_attention(inpainter, filled, row, cut[row], requests[number].caption, paths)
            names = [files[number] for number in numbers]
            list(pool.map(_save_hole, cut, (out / HOLES / name for name in names)))
            list(pool.map(save_pixels, filled.squares, (out / name for name in names)))
            done += len(numbers)
            if progress is not None:
                progress(done, len(files))
    rows = [
        GeneratedImage(
            file, request.caption, request.key, request.class_id, seed, 0, side, hole=f"{HOLES}/{file}"
        )
        for file, request in zip(files, requests, strict=True)
    ]
    write_samples(out, rows)
    return InpaintReport(
        out,
        tuple(out / file for file in files),
        tuple(_attention_files(out, file)[0] for file in files) if attention else (),
        len(todo),
        model_seconds,
        time.perf_counter() - started,
        tuple(warnings),
        inpainter.hash,
        sampling,
    )


def choose_holes(
    inpainter: Inpainter,
    hole: HoleRule | None,
    center: float | None,
    ratio: tuple[float, float] | None,
    masks: Path | None,
    inverted: bool,
) -> Holes:
    """The holes that are asked for; by default those that the model was trained with, if these are central.

    Raises:
        UsageError: What is asked for does not go together, or a number is out of its range.
        DataError: The folder of masks is missing or empty.
    """
    if masks is not None:
        if (hole, center, ratio) != (None, None, None):
            raise UsageError(
                "holes come either from a folder of masks or are cut by a rule, not both",
                "Leave out --mask, or --hole, --center and --hole-ratio.",
            )
        return holes_from_folder(masks, inverted=inverted)
    if inverted:
        raise UsageError("there are no masks to invert", "Name a folder of masks with --mask.")
    kind = hole or "center"
    if kind not in ("center", "irregular", "mix"):
        raise UsageError(
            f"{kind!r} is not a kind of hole", "There are center, irregular, mix; and --mask DIR."
        )
    if center is not None and kind == "irregular":
        raise UsageError("irregular holes have no central share", "Leave out --center, or say --hole mix.")
    if ratio is not None and kind == "center":
        raise UsageError(
            "a central hole has one size, which --center gives", "Say --hole irregular for a range of sizes."
        )
    least, most = ratio or _RATIO
    share = center if center is not None else inpainter.holes.central_share or CENTER
    return Holes(kind, share, least, most)


def _attention_files(out: Path, file: str) -> tuple[Path, Path]:
    path = out / ATTENTION / file
    return path, path.with_suffix(".npz")


def _save_hole(hole: Hole, path: Path) -> None:
    save_image(Image.fromarray(hole), path)
