"""`gancli score psnr`, `ssim` and others: filled images against their originals."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from gancli.cli.score_command import (
    Batch,
    Cache,
    Device,
    Features,
    InceptionWeights,
    PerceptualWeights,
    score_command,
    split_option,
)


class Window(StrEnum):
    """Windows of SSIM."""

    UNIFORM = "uniform"
    WANG = "wang"


Filled = Annotated[
    str,
    typer.Argument(
        metavar="IMAGES",
        help="Folder of gancli inpaint --data, or any folder of filled images with --real.",
        show_default=False,
    ),
]
OriginalData = Annotated[str | None, split_option("Split of the originals.", "as inpainted")]
Originals = Annotated[
    str | None,
    typer.Option(metavar="DIR", help="Folder of the originals, with the same file names."),
]
Masks = Annotated[
    str | None,
    typer.Option(
        metavar="FILE|DIR",
        help="White where the images were filled: one for all, or a folder with one for each.",
        show_default="as inpainted",
    ),
]
InvertMask = Annotated[bool, typer.Option("--invert-mask", help="White is the part that was kept.")]


@score_command(
    "psnr",
    "gancli.scores.reconstruction:score_psnr",
    work="comparing",
    examples=("gancli score psnr filled", "gancli score psnr results --real photos --mask hole.png --json"),
)
def psnr(
    images: Filled,
    data: OriginalData = None,
    real: Originals = None,
    mask: Masks = None,
    invert_mask: InvertMask = False,
    batch: Batch = 50,
) -> None:
    """Peak signal-to-noise ratio of filled images against their originals in dB: whole, and their holes alone.

    That of holes filled with the mean colour of their surroundings is reported with it.
    """


@score_command(
    "ssim",
    "gancli.scores.reconstruction:score_ssim",
    work="comparing",
    examples=(
        "gancli score ssim filled",
        "gancli score ssim results --real photos --mask masks --window wang --json",
    ),
)
def ssim(
    images: Filled,
    window: Annotated[
        Window,
        typer.Option(help="uniform, 7 x 7, as in the public code of this family, or wang, Gaussian."),
    ] = Window.UNIFORM,
    data: OriginalData = None,
    real: Originals = None,
    mask: Masks = None,
    invert_mask: InvertMask = False,
    batch: Batch = 50,
) -> None:
    """Structural similarity of filled images and their originals, at most 1: whole, and their holes alone.

    That of holes filled with the mean colour of their surroundings is reported with it. Values of different windows
    cannot be compared.
    """


@score_command(
    "ms-ssim",
    "gancli.scores.reconstruction:score_ms_ssim",
    work="comparing",
    examples=(
        "gancli score ms-ssim filled",
        "gancli score ms-ssim results --real photos --mask hole.png --json",
    ),
)
def ms_ssim(
    images: Filled,
    data: OriginalData = None,
    real: Originals = None,
    mask: Masks = None,
    invert_mask: InvertMask = False,
    batch: Batch = 50,
) -> None:
    """Multi-scale structural similarity of filled images and their originals, whole; at most 1.

    That of holes filled with the mean colour of their surroundings is reported with it. Needs sides of 161 pixels.
    """


@score_command(
    "l1",
    "gancli.scores.reconstruction:score_l1",
    work="comparing",
    examples=("gancli score l1 filled", "gancli score l1 results --real photos --mask hole.png --json"),
)
def l1(
    images: Filled,
    data: OriginalData = None,
    real: Originals = None,
    mask: Masks = None,
    invert_mask: InvertMask = False,
    batch: Batch = 50,
) -> None:
    """Mean absolute difference of filled images and their originals in per cent: whole, and their holes alone.

    That of holes filled with the mean colour of their surroundings is reported with it.
    """


@score_command(
    "l2",
    "gancli.scores.reconstruction:score_l2",
    work="comparing",
    examples=("gancli score l2 filled", "gancli score l2 results --real photos --mask hole.png --json"),
)
def l2(
    images: Filled,
    data: OriginalData = None,
    real: Originals = None,
    mask: Masks = None,
    invert_mask: InvertMask = False,
    batch: Batch = 50,
) -> None:
    """Mean squared difference of filled images and their originals in per cent: whole, and their holes alone.

    That of holes filled with the mean colour of their surroundings is reported with it.
    """


@score_command(
    "lpips",
    "gancli.scores.perceptual:score_lpips",
    work="comparing",
    examples=("gancli score lpips filled", "gancli score lpips results --real photos --mask hole.png --json"),
)
def lpips(
    images: Filled,
    weights: PerceptualWeights = None,
    data: OriginalData = None,
    real: Originals = None,
    mask: Masks = None,
    invert_mask: InvertMask = False,
    batch: Batch = 50,
    device: Device = "auto",
) -> None:
    """Perceptual distance (LPIPS) of filled images from their originals, whole; 0 is the same.

    That of holes filled with the mean colour of their surroundings is reported with it.
    """


@score_command(
    "hole-fid",
    "gancli.scores.hole_fid:score_hole_fid",
    work="features",
    examples=(
        "gancli score hole-fid filled",
        "gancli score hole-fid filled --features efficientnet_lite1 --json",
    ),
)
def hole_fid(
    images: Filled,
    features: Features = "inception",
    weights: InceptionWeights = None,
    data: OriginalData = None,
    real: Originals = None,
    mask: Masks = None,
    invert_mask: InvertMask = False,
    cache: Cache = True,
    batch: Batch = 50,
    device: Device = "auto",
) -> None:
    """FID of the holes alone: their bounding boxes in filled images against those in the originals.

    The known pixels of a filled image are real, so its FID is low whatever fills the hole.
    """
