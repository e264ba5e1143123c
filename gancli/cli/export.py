"""`gancli export`: a model as one file for other programs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from gancli.cli.app import USE, app, command
from gancli.cli.console import Output


@command(
    app,
    "export",
    examples=(
        "gancli export latest",
        "gancli export models/ffgan-cub --format onnx --out bird.onnx",
        "gancli export runs/0001-ffgan-demo --format safetensors --json",
    ),
    panel=USE,
)
def export(
    out: Output,
    model: Annotated[
        Path, typer.Argument(metavar="MODEL", help="Model folder, run folder, or latest.", show_default=False)
    ],
    format: Annotated[
        Literal["onnx", "torchscript", "safetensors"],
        typer.Option("--format", "-f", help="Kind of file; safetensors holds the tensors alone."),
    ] = "onnx",
    file: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="File to write.", show_default="the model's name, in this folder"),
    ] = None,
    opset: Annotated[int, typer.Option(min=13, help="Version of ONNX's operators.")] = 17,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing file.")] = False,
) -> None:
    """One file from word numbers (or speech, attributes, an image and its hole) and noise to images.

    A JSON beside it names the inputs and outputs with their ranges, and holds the vocabulary. The file is run on other
    batch sizes and lengths, and kept only if its images are PyTorch's. Needs the extra `export` for ONNX.
    """
    from gancli.exporting.export import export as write

    written = write(model, file, format=format, opset=opset, overwrite=overwrite)
    checked = (
        ""
        if written.difference is None
        else f"\nlargest difference from PyTorch: {written.difference:.2g} of [-1, 1]"
    )
    out.result(
        {"file": written.file, "description": written.description, "largest_difference": written.difference},
        f"{written.file} and {written.description}{checked}",
        quiet=str(written.file),
    )
