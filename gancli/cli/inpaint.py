"""`gancli inpaint`: holes in images filled with what a text says."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from gancli.cli.app import USE, app, command
from gancli.cli.console import Output
from gancli.cli.options import given, options
from gancli.errors import UsageError
from gancli.progress import Progress

if TYPE_CHECKING:
    from gancli.inpainting.filling import InpaintReport
    from gancli.inpainting.match_files import Existing, MaskFile

NAMED = 6  # results that are named one by one; of more, only the folder is named


@options("Images of your own")
class OwnImages:
    """Options for images of the user's own."""

    image: Annotated[
        Path | None, typer.Option(metavar="FILE|DIR", help="An image of any size, or a folder.")
    ] = None
    mask: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE|DIR",
            help="Mask file of the image's size: white is the hole, black is kept. For a folder, one mask file for "
            "all images, or a folder of mask files with the same names (photo.png or photo_mask.png).",
        ),
    ] = None
    text: Annotated[
        list[str] | None,
        typer.Option("--text", "-t", help="Text for the hole; may repeat for more results of one image."),
    ] = None
    captions: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE|DIR",
            help="Captions for a folder: a table file,caption (.csv, .jsonl), or a folder of text files.",
            show_default="text files beside the images",
        ),
    ] = None
    skip_existing: Annotated[
        bool, typer.Option("--skip-existing", help="Leave results that are there already.")
    ] = False


@options("Their holes")
class HoleOptions:
    """Options for the holes of these images."""

    invert_mask: Annotated[
        bool, typer.Option("--invert-mask", help="Black is the hole in the mask files.")
    ] = False
    dilate: Annotated[int, typer.Option(min=0, help="Pixels to grow the hole by.")] = 0
    feather: Annotated[
        int,
        typer.Option(min=0, help="Pixels outside the hole to blend over, which then change."),
    ] = 0
    preview: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE|DIR",
            help="Only write the image with its hole tinted, to this file or folder. Needs no text.",
        ),
    ] = None

    def mask_file(self, path: Path) -> MaskFile:
        """Return the mask file or files with these options."""
        from gancli.inpainting.match_files import MaskFile

        return MaskFile(path, self.invert_mask, self.dilate, self.feather)


@options("Images of a dataset, to score them")
class SplitOptions:
    """Options for the images of a dataset split."""

    data: Annotated[
        Path | None,
        typer.Option(help="Dataset folder whose images to fill, each with its first caption."),
    ] = None
    split: Annotated[str, typer.Option(help="Split of the dataset.")] = "test"
    n: Annotated[
        int | None,
        typer.Option("-n", min=1, help="Images to fill, from the first on.", show_default="all of the split"),
    ] = None
    hole: Annotated[
        Literal["center", "irregular", "mix"] | None,
        typer.Option(
            help="Holes to cut. A folder of mask files with --mask is used instead.", show_default="center"
        ),
    ] = None
    center: Annotated[
        float | None,
        typer.Option(
            help="Side of the central hole over the image's.", show_default="as in training, else 0.5"
        ),
    ] = None
    hole_ratio: Annotated[
        tuple[float, float] | None,
        typer.Option(
            metavar="FROM TO", help="Share of the image that irregular holes cover.", show_default="0.1 0.5"
        ),
    ] = None
    hole_seed: Annotated[int, typer.Option(min=0, help="Seed of holes that are not central.")] = 0


@options()
class FillOptions:
    """Options for all images."""

    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            metavar="FILE|DIR",
            help="File to write, or folder for many.",
            show_default="NAME-inpainted.EXT, or images",
        ),
    ] = None
    attention: Annotated[
        bool,
        typer.Option(
            "--attention", help="Show the words that weigh most in the hole, and write all maps as .npz."
        ),
    ] = False
    seed: Annotated[
        int,
        typer.Option(min=0, help="Seed of the noise. The same seed gives the same images, in any batch."),
    ] = 0
    batch: Annotated[int, typer.Option(min=1, help="Images at a time.")] = 8
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1 or mps.")] = "auto"
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace results that are there already.")
    ] = False


@command(
    app,
    "inpaint",
    examples=(
        'gancli inpaint runs/0001-csfgan-cub --image photo.jpg --mask hole.png --text "a small red bird" --out out.png',
        "gancli inpaint runs/0001-csfgan-cub --image photos --mask masks --captions captions.csv --out filled",
        "gancli inpaint runs/0001-csfgan-cub --image photo.jpg --mask hole.png --preview preview.png",
        "gancli inpaint latest --data data/cub --split test --out filled/cub",
    ),
    panel=USE,
    progress=True,
)
def inpaint(
    out: Output,
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL",
            help="Run folder, model folder or checkpoint of CSF-GAN, or latest.",
            show_default=False,
        ),
    ],
    images: OwnImages,
    holes: HoleOptions,
    split: SplitOptions,
    fill: FillOptions,
) -> None:
    """Fill the holes of images with what a text says; everything outside a hole stays as it is.

    In a mask file white is the hole. Images of your own (--image, --mask) have any size and keep it. Those of a
    dataset (--data) are filled at the model's size, into a folder for gancli score.
    """
    _check(images, holes, split, fill)
    finished = (0, 0)

    def count_up(done: int, total: int) -> None:
        nonlocal finished
        finished = done, total
        advance(done, total)

    try:
        with out.progress("filling", "images") as advance:
            if split.data is not None:
                report = _fill_split(model, split.data, images, holes, split, fill, count_up)
            else:
                report = _fill_images(model, images, holes, fill, count_up)
    except KeyboardInterrupt:
        if finished[0]:
            again = "the same command" if split.data is not None else "--skip-existing"
            out.note(f"{finished[0]:,} of {finished[1]:,} images are finished; {again} goes on with the rest")
        raise
    for warning in report.warnings:
        out.warn(warning)
    _show(out, report, fill.seed)


def _check(images: OwnImages, holes: HoleOptions, split: SplitOptions, fill: FillOptions) -> None:
    """Refuse options that make no sense together, or that lack another one."""
    if split.data is not None:
        if images.image is not None:
            raise UsageError(
                "images come either from files or from a dataset, not from both", "Say --image or --data."
            )
        _refuse(
            [
                *given(images, "text", "captions", "skip_existing"),
                *given(holes, "dilate", "feather", "preview"),
            ],
            "--data",
        )
    elif images.image is None:
        raise UsageError(
            "nothing to fill",
            'Say --image photo.jpg --mask hole.png --text "a small red bird", or --data DIR --split test.',
        )
    else:
        _refuse(given(split, "n", "hole", "center", "hole_ratio", "hole_seed"), "--image")
        if images.mask is None:
            raise UsageError(
                "nothing says what to fill", "Say --mask hole.png, an image that is white in the hole."
            )
        if holes.preview is not None:
            _refuse([*given(images, "text", "captions"), *given(fill, "out", "attention")], "--preview")
        if images.skip_existing and fill.overwrite:
            raise UsageError(
                "existing images are either left or replaced", "Say --skip-existing or --overwrite."
            )


def _refuse(named: list[str], beside: str) -> None:
    if named:
        raise UsageError(f"{', '.join(named)}: of no use with {beside}", "Leave one or the other out.")


def _fill_split(
    model: str,
    data: Path,
    images: OwnImages,
    holes: HoleOptions,
    split: SplitOptions,
    fill: FillOptions,
    progress: Progress,
) -> InpaintReport:
    from gancli.engine.device import pick_device
    from gancli.inpainting.inpaint_split import SplitHoles, inpaint_split

    cut = SplitHoles(
        split.hole, split.center, split.hole_ratio, images.mask, holes.invert_mask, split.hole_seed
    )
    drawing = asdict(fill) | {"out": fill.out or Path("images"), "device": pick_device(fill.device)}
    return inpaint_split(model, data, split=split.split, n=split.n, holes=cut, **drawing, progress=progress)


def _fill_images(
    model: str, images: OwnImages, holes: HoleOptions, fill: FillOptions, progress: Progress
) -> InpaintReport:
    from gancli.engine.device import pick_device
    from gancli.inpainting.inpaint import inpaint, preview_holes

    assert images.image is not None and images.mask is not None  # noqa: PT018 - both are checked before
    mask = holes.mask_file(images.mask)
    existing: Existing = "skip" if images.skip_existing else "overwrite" if fill.overwrite else "refuse"
    if holes.preview is not None:
        return preview_holes(images.image, mask, holes.preview, existing=existing, progress=progress)
    return inpaint(
        model,
        images.image,
        mask,
        images.text or (),
        captions=images.captions,
        out=fill.out,
        attention=fill.attention,
        seed=fill.seed,
        batch=fill.batch,
        device=pick_device(fill.device),
        existing=existing,
        progress=progress,
    )


def _show(out: Output, report: InpaintReport, seed: int) -> None:
    """Print what was made, and the time that an image took."""
    whole = report.seconds / report.made if report.made else None
    in_model = report.model_seconds / report.made if report.made else None
    there = len(report.files) - report.made
    sampling = report.sampling
    lines = [f"{report.out}: {report.made:,} made, {there:,} there already"]
    if not there:
        filled = f" of {sampling.stages[-1]} pixels, holes {sampling.holes}, samples.csv" if sampling else ""
        few = sampling is None and len(report.files) <= NAMED
        where = ", ".join(map(str, report.files)) if few else report.out
        lines = [f"{where}: {report.made:,} image{'s' * (report.made != 1)}{filled}"]
    if report.figures:
        more = f" and {len(report.figures) - 1:,} more" if len(report.figures) > 1 else ""
        lines.append(f"figures: {report.figures[0]}{more}")
    if whole is not None and in_model is not None and report.model_hash:
        lines.append(f"{whole:.2f} s an image, {in_model:.2f} s of it in the model")
    out.result(
        {
            "out": report.out,
            "images": len(report.files),
            "made": report.made,
            "files": report.files[:100],
            "figures": report.figures[:100],
            "seconds_per_image": whole,
            "model_seconds_per_image": in_model,
            "model_hash": report.model_hash,
            "holes": sampling.holes.to_dict() if sampling and sampling.holes else None,
            "seed": seed,
            "warnings": report.warnings,
        },
        "\n".join(lines),
        quiet="\n".join(str(file) for file in report.files),
    )
