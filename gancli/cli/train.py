"""`gancli train`: a model on a dataset and its encoder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, cast

import typer

from gancli.cli.app import command, train_app
from gancli.cli.console import Output
from gancli.cli.training import (
    Device,
    DryRun,
    Overrides,
    Resume,
    Runs,
    Seed,
    find_recipe,
    finish,
    followed,
    recipe_option,
    show_plan,
)
from gancli.errors import UsageError


@command(
    train_app,
    "ffgan",
    examples=(
        "gancli train ffgan data=data/demo encoder=encoders/damsm-demo",
        "gancli train ffgan --resume runs/0001-ffgan-demo",
    ),
    progress=True,
)
def ffgan(
    out: Output,
    overrides: Overrides = None,
    recipe: Annotated[str | None, recipe_option("ffgan")] = None,
    resume: Resume = None,
    init_from: Annotated[
        Path | None,
        typer.Option(
            "--init-from", metavar="MODEL|RUN", help="Start anew from the weights of a model or run folder."
        ),
    ] = None,
    runs: Runs = Path("runs"),
    device: Device = None,
    seed: Seed = None,
    dry_run: DryRun = False,
) -> None:
    """FF-GAN: text to image in stages, the words fused into the features.

    Ctrl-C and SIGTERM save a checkpoint at the next step; --resume continues bit for bit.
    """
    from gancli.config import FFGANRecipe

    if resume is not None and init_from is not None:
        raise UsageError(
            "--resume and --init-from: a run is either continued or started anew", "leave one of them out"
        )
    name, resolved = find_recipe("ffgan", recipe, resume, overrides, device, seed)
    if dry_run:
        show_plan(out, name, resolved, {"run": resume or runs})
        return
    from gancli.training import train

    out.note(f"recipe {name}")
    with followed(out) as events:
        result = train(
            cast(FFGANRecipe, resolved), runs=runs, resume=resume, init_from=init_from, events=events
        )
    finish(out, "model", result, "gancli train ffgan --resume {run}")
