"""`gancli inpaint`: holes in images filled with what a text says."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from gancli.cli.app import USE, app, command
from gancli.cli.console import Output
from gancli.errors import UsageError

if TYPE_CHECKING:
    from gancli.inpainting.inpaint import InpaintReport

NAMED = 6  # results that are named one by one; of more only the folder is
IMAGES, HOLE, DATASET = "Images of your own", "Their holes", "Images of a dataset, to score them"


@command(
    app,
    "inpaint",
    examples=(
        'gancli inpaint runs/0001-csfgan-cub --image photo.jpg --mask hole.png --text "a small red bird" --out out.png',
        "gancli inpaint runs/0001-csfgan-cub --image photos --mask masks --captions captions.csv --out filled",
        "gancli inpaint runs/0001-csfgan-cub --image photo.jpg --mask hole.png --preview preview.png",
        "gancli inpaint runs/0001-csfgan-cub --data data/cub --split test --out filled/cub",
    ),
    panel=USE,
    progress=True,
)
def inpaint(
    out: Output,
    model: Annotated[
        Path, typer.Argument(help="Model folder of CSF-GAN, or a run folder with one.", show_default=False)
    ],
    image: Annotated[
        Path | None,
        typer.Option(
            "--image",
            metavar="FILE|DIR",
            help="An image of any size, or a folder.",
            rich_help_panel=IMAGES,
        ),
    ] = None,
    mask: Annotated[
        Path | None,
        typer.Option(
            "--mask",
            metavar="FILE|DIR",
            help="What to fill: white is the hole, black is kept. A mask of the image's size; for a folder one for "
            "all, or a folder of masks of the same names (photo.png or photo_mask.png).",
            rich_help_panel=IMAGES,
        ),
    ] = None,
    text: Annotated[
        list[str] | None,
        typer.Option(
            "--text",
            "-t",
            help="What is to be in the hole; say it again for more results of one image.",
            rich_help_panel=IMAGES,
        ),
    ] = None,
    captions: Annotated[
        Path | None,
        typer.Option(
            "--captions",
            metavar="FILE|DIR",
            help="For a folder: a table file,caption (.csv, .jsonl), or a folder of text files.",
            show_default="text files beside the images",
            rich_help_panel=IMAGES,
        ),
    ] = None,
    skip_existing: Annotated[
        bool,
        typer.Option("--skip-existing", help="Leave results that are there already.", rich_help_panel=IMAGES),
    ] = False,
    invert_mask: Annotated[
        bool, typer.Option("--invert-mask", help="Black is the hole in the masks.", rich_help_panel=HOLE)
    ] = False,
    dilate: Annotated[
        int,
        typer.Option("--dilate", min=0, help="Grow the hole by so many pixels first.", rich_help_panel=HOLE),
    ] = 0,
    feather: Annotated[
        int,
        typer.Option(
            "--feather",
            min=0,
            help="Blend over so many pixels outside the hole, which then change.",
            rich_help_panel=HOLE,
        ),
    ] = 0,
    preview: Annotated[
        Path | None,
        typer.Option(
            "--preview",
            metavar="FILE|DIR",
            help="Only write the image with its hole tinted; no text needed.",
            rich_help_panel=HOLE,
        ),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(
            "--data",
            help="Fill the images of this dataset folder, each with its first caption.",
            rich_help_panel=DATASET,
        ),
    ] = None,
    split: Annotated[
        str, typer.Option("--split", help="Split of the dataset.", rich_help_panel=DATASET)
    ] = "test",
    count: Annotated[
        int | None,
        typer.Option(
            "-n",
            min=1,
            help="Only the first images.",
            show_default="all of the split",
            rich_help_panel=DATASET,
        ),
    ] = None,
    hole: Annotated[
        Literal["center", "irregular", "mix"] | None,
        typer.Option(
            "--hole",
            help="Which holes to cut; or a folder of masks with --mask.",
            show_default="center",
            rich_help_panel=DATASET,
        ),
    ] = None,
    center: Annotated[
        float | None,
        typer.Option(
            "--center",
            help="Side of the central hole over the image's.",
            show_default="as in training, else 0.5",
            rich_help_panel=DATASET,
        ),
    ] = None,
    hole_ratio: Annotated[
        tuple[float, float] | None,
        typer.Option(
            "--hole-ratio",
            metavar="FROM TO",
            help="Share of the image that irregular holes cover.",
            show_default="0.1 0.5",
            rich_help_panel=DATASET,
        ),
    ] = None,
    hole_seed: Annotated[
        int,
        typer.Option("--hole-seed", min=0, help="Of holes that are not central.", rich_help_panel=DATASET),
    ] = 0,
    to: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            metavar="FILE|DIR",
            help="File to write; for many a folder.",
            show_default="NAME-inpainted.EXT, or images",
        ),
    ] = None,
    attention: Annotated[
        bool,
        typer.Option(
            "--attention", help="Also the words that count most in the hole: a figure, and all maps as .npz."
        ),
    ] = False,
    seed: Annotated[
        int, typer.Option("--seed", min=0, help="The same seed gives the same images, in any batch.")
    ] = 0,
    batch: Annotated[int, typer.Option("--batch", min=1, help="Images at a time.")] = 8,
    device: Annotated[str, typer.Option("--device", help="auto, cpu, cuda, cuda:1 or mps.")] = "auto",
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace results that are there already.")
    ] = False,
) -> None:
    """Fill the holes of images with what a text says; everything outside a hole stays as it is.

    In a mask white is the hole. Images of your own (--image, --mask) have any size and keep it; those of a dataset
    (--data) are filled at the model's size, into a folder for gancli score.
    """
    photo_options = {
        "--text": text,
        "--captions": captions,
        "--dilate": dilate,
        "--feather": feather,
        "--preview": preview,
        "--skip-existing": skip_existing,
    }
    data_options = {
        "-n": count,
        "--hole": hole,
        "--center": center,
        "--hole-ratio": hole_ratio,
        "--hole-seed": hole_seed,
    }
    if data is not None:
        if image is not None:
            raise UsageError(
                "images come either from files or from a dataset, not from both", "Say --image or --data."
            )
        _refuse(photo_options, "--data")
    elif image is None:
        raise UsageError(
            "nothing to fill",
            'Say --image photo.jpg --mask hole.png --text "a small red bird", or --data DIR --split test.',
        )
    else:
        _refuse(data_options, "--image")
        if mask is None:
            raise UsageError(
                "nothing says what to fill", "Say --mask hole.png, an image that is white in the hole."
            )
        if preview is not None:
            _refuse(
                {"--text": text, "--captions": captions, "--out": to, "--attention": attention}, "--preview"
            )
    from gancli.engine.device import pick_device
    from gancli.inpainting.inpaint import inpaint as fill
    from gancli.inpainting.inpaint import preview_holes
    from gancli.inpainting.inpaint_split import inpaint_split

    finished = (0, 0)

    def count_up(done: int, total: int) -> None:
        nonlocal finished
        finished = done, total
        advance(done, total)

    try:
        with out.progress("filling", "images") as advance:
            if data is not None:
                report = inpaint_split(
                    model,
                    data,
                    out=to or Path("images"),
                    split=split,
                    n=count,
                    hole=hole,
                    center=center,
                    hole_ratio=hole_ratio,
                    masks=mask,
                    invert_mask=invert_mask,
                    hole_seed=hole_seed,
                    attention=attention,
                    seed=seed,
                    batch=batch,
                    device=pick_device(device),
                    overwrite=overwrite,
                    progress=count_up,
                )
            elif image is None or mask is None:
                raise AssertionError("refused above")
            elif preview is not None:
                report = preview_holes(
                    image,
                    mask,
                    preview,
                    invert_mask=invert_mask,
                    dilate=dilate,
                    skip_existing=skip_existing,
                    overwrite=overwrite,
                    progress=count_up,
                )
            else:
                report = fill(
                    model,
                    image,
                    mask,
                    texts=text or (),
                    captions=captions,
                    out=to,
                    invert_mask=invert_mask,
                    dilate=dilate,
                    feather=feather,
                    attention=attention,
                    seed=seed,
                    batch=batch,
                    device=pick_device(device),
                    skip_existing=skip_existing,
                    overwrite=overwrite,
                    progress=count_up,
                )
    except KeyboardInterrupt:
        if finished[0]:
            again = "the same command" if data is not None else "--skip-existing"
            out.note(f"{finished[0]:,} of {finished[1]:,} images are finished; {again} goes on with the rest")
        raise
    for warning in report.warnings:
        out.warn(warning)
    _show(out, report, seed)


def _show(out: Output, report: InpaintReport, seed: int) -> None:
    """Says what was made, and how long an image took."""
    whole = report.seconds / report.made if report.made else None
    in_model = report.model_seconds / report.made if report.made else None
    there = len(report.files) - report.made
    lines = [f"{report.out}: {report.made:,} made, {there:,} there already"]
    if not there:
        sampling = report.sampling
        what = f" of {sampling.stages[-1]} pixels, holes {sampling.holes}, samples.csv" if sampling else ""
        few = sampling is None and len(report.files) <= NAMED
        where = ", ".join(map(str, report.files)) if few else report.out
        lines = [f"{where}: {report.made:,} image{'s' * (report.made != 1)}{what}"]
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
            "holes": report.sampling.holes.to_dict() if report.sampling and report.sampling.holes else None,
            "seed": seed,
            "warnings": report.warnings,
        },
        "\n".join(lines),
        quiet="\n".join(str(file) for file in report.files),
    )


def _refuse(options: Mapping[str, object], beside: str) -> None:
    """Refuses options that make no sense beside another one."""
    named = [name for name, value in options.items() if value not in (None, [], 0, False)]
    if named:
        raise UsageError(f"{', '.join(named)}: of no use with {beside}", "Leave one or the other out.")
