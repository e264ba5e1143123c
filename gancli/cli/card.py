"""`gancli card`: the card of a model folder with its scores."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gancli.cli.app import USE, app, command
from gancli.cli.console import Output


@command(
    app,
    "card",
    examples=("gancli card latest", "gancli card models/ffgan-cub --results results.csv"),
    panel=USE,
)
def card(
    out: Output,
    model: Annotated[
        Path,
        typer.Argument(
            metavar="MODEL", help="Model or encoder folder, run folder, or latest.", show_default=False
        ),
    ],
    results: Annotated[Path, typer.Option(help="Scores.")] = Path("results.csv"),
) -> None:
    """Write the scores of a model into its card, README.md in its folder, in the form that model hubs read.

    Every model, encoder and dataset folder has a card from the start; this adds the scores of these very weights.
    """
    from gancli.scores.card import card as write

    file, scores = write(model, results)
    out.result({"card": file, "scores": scores}, f"{file}: {scores} scores", quiet=str(file))
