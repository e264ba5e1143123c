"""`gancli train`: one command a model, made from its row of the registry."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from gancli.cli.app import train_app
from gancli.cli.console import Output
from gancli.cli.launch import Processes, launch, set_rank
from gancli.cli.options import options
from gancli.cli.train_options import RunOptions, finish, followed, register, show_plan
from gancli.errors import UsageError
from gancli.registry import MODELS, Row

NOTE = "Ctrl-C and SIGTERM save a checkpoint at the next step; --resume continues bit for bit."


@options()
class TrainOptions(RunOptions):
    """Options of every model's training."""

    init_from: Annotated[
        Path | None,
        typer.Option(
            metavar="MODEL|RUN",
            help="Start a new run from the weights of a model or run, or of the latest run.",
        ),
    ] = None
    nproc: Processes = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.resume is not None and self.init_from is not None:
            raise UsageError(
                "--resume and --init-from: a run is either continued or started anew",
                "leave one of them out",
            )


def run_train(
    out: Output,
    row: Row,
    *,
    overrides: list[str] | None,
    recipe: str | None,
    training: TrainOptions,
    weights: Path | None = None,
) -> None:
    """Train a model."""
    set_rank(out, training.nproc)
    name, resolved, resume = training.resolve(row.name, recipe, overrides)
    if training.dry_run:
        show_plan(out, name, resolved, {"run": resume or training.runs})
        return
    if training.nproc is not None and training.nproc > 1:
        raise typer.Exit(launch(out, resolved, training.nproc))
    from gancli.training import train

    out.note(f"recipe {name}")
    with followed(out) as events:
        result = train(
            resolved,
            runs=training.runs,
            name=training.name,
            resume=resume,
            init_from=training.init_from,
            weights=weights,
            events=events,
        )
    world = out.process.world_size
    all_here = world > 1 and os.environ.get("LOCAL_WORLD_SIZE") == str(world)
    again = f"gancli train {row.name} --resume {{run}}" + f" --nproc {world}" * all_here
    finish(out, "model", result, again)


for _row in MODELS.values():
    register(train_app, _row, TrainOptions, run_train, note=NOTE)
