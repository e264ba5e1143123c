"""`gancli pretrain-encoder`: the text and image encoder that a model is trained with."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, cast

import typer

from gancli.cli.app import command, encoder_app
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


@command(
    encoder_app,
    "damsm",
    examples=(
        "gancli pretrain-encoder damsm data=data/demo --out encoders/damsm-demo",
        "gancli pretrain-encoder damsm --recipe damsm/cub-small data=data/cub-64 train.minutes=20",
    ),
    progress=True,
)
def damsm(
    out: Output,
    overrides: Overrides = None,
    recipe: Annotated[str | None, recipe_option("damsm")] = None,
    folder: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="Encoder folder to write.", show_default="encoders/damsm-NAME"),
    ] = None,
    resume: Resume = None,
    runs: Runs = Path("runs"),
    weights: Annotated[
        Path | None,
        typer.Option(
            "--weights",
            help="File or folder of the backbone's ImageNet weights.",
            show_default="downloaded and checked",
        ),
    ] = None,
    device: Device = None,
    seed: Seed = None,
    dry_run: DryRun = False,
) -> None:
    """DAMSM (AttnGAN): words and sentences beside image regions and images in one space.

    Reports after every epoch how often held-out pictures and captions find each other.
    """
    from gancli.config import DamsmRecipe

    name, resolved = find_recipe("damsm", recipe, resume, overrides, device, seed)
    target = folder or Path("encoders") / f"damsm-{_short(name, resume)}"
    if dry_run:
        show_plan(out, name, resolved, {"run": runs, "encoder": target})
        return
    from gancli.training import pretrain_encoder

    out.note(f"recipe {name}")
    with followed(out) as events:
        result = pretrain_encoder(
            cast(DamsmRecipe, resolved), out=target, runs=runs, resume=resume, weights=weights, events=events
        )
    finish(out, "encoder", result, f"gancli pretrain-encoder damsm --resume {{run}} --out {target}")


def _short(name: str, resume: Path | None) -> str:
    """What follows `damsm-` in the default folder's name: "cub-small" of the recipe damsm/cub-small."""
    if resume is not None:
        return resume.name.partition("-damsm-")[2] or resume.name  # runs/0003-damsm-cub
    return Path(name).stem
