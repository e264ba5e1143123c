"""What the commands that train have in common: finding the recipe, showing the plan, following the run, its end."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gancli.cli.completion import recipes_of
from gancli.cli.console import Output
from gancli.errors import UsageError
from gancli.run_paths import resume_path_of, run_folder_of

if TYPE_CHECKING:
    from gancli.config import Recipe
    from gancli.engine.events import Events
    from gancli.training import RunResult

Overrides = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="KEY=VALUE",
        help="Values that replace the recipe's, as data=data/demo or loader.batch=16.",
        show_default=False,
    ),
]


def recipe_option(kind: str) -> typer.models.OptionInfo:
    """`--recipe`, completed with the shipped recipes of one kind."""
    option: typer.models.OptionInfo = typer.Option(
        "--recipe",
        help="Shipped recipe, or path of a YAML file.",
        show_default="by the dataset's name",
        autocompletion=recipes_of(kind),
    )
    return option


Resume = Annotated[
    Path | None,
    typer.Option(
        "--resume",
        metavar="RUN",
        help="Run to continue: its folder, the model/ or a checkpoint in it, or latest.",
    ),
]
Runs = Annotated[Path, typer.Option("--runs", help="Where the numbered run folder is made.")]
Device = Annotated[
    str | None, typer.Option("--device", help="auto, cpu, cuda, cuda:1 or mps.", show_default="the recipe's")
]
Seed = Annotated[
    int | None, typer.Option("--seed", min=0, help="Of every random number.", show_default="the recipe's")
]
DryRun = Annotated[
    bool, typer.Option("--dry-run", "-n", help="Show recipe, networks and output paths; touch nothing.")
]


def find_run(resume: Path | None, kind: str, runs: Path, overrides: Sequence[str] | None) -> Path | None:
    """Return the run folder or checkpoint that `--resume` means.

    Raises:
        UsageError: There is no such run.
    """
    return None if resume is None else resume_path_of(resume, (kind,), runs=runs, data=dataset_of(overrides))


def dataset_of(overrides: Sequence[str] | None) -> str | None:
    """Return the dataset folder that the overrides name as `data=DIR`."""
    return (
        next((text.partition("=")[2] for text in overrides or () if text.startswith("data=")), None) or None
    )


def find_recipe(
    kind: str,
    recipe: str | None,
    resume: Path | None,
    overrides: Sequence[str] | None,
    device: str | None,
    seed: int | None,
    variant: str = "",
) -> tuple[str, Recipe]:
    """The recipe a training command is asked for, and its name.

    It is the one named, that of the run to be resumed, or the one for the name of the dataset in `data=DIR`, followed
    by the variant.

    Raises:
        UsageError: Both a recipe and a run are named, or there is nothing to tell the recipe from.
        ConfigError: The recipe has mistakes.
        DataError: `data` is no dataset folder, `resume` no run folder.
    """
    from gancli.config import load_recipe, resolve_recipe_name

    changes = list(overrides or ())
    if device is not None:
        changes.append(f"train.device={device}")
    if seed is not None:
        changes.append(f"train.seed={seed}")
    if resume is not None:
        if recipe is not None:
            raise UsageError(
                "--resume and --recipe: a run is continued with its own recipe", "leave --recipe out"
            )
        run = run_folder_of(resume)
        assert run is not None  # from find_run
        file = run / "recipe.yaml"
        return str(file), load_recipe(file, changes, kind)
    if recipe is None:
        data = dataset_of(changes)
        if not data:
            raise UsageError(
                "nothing says which dataset to train on",
                "name the dataset folder, as data=data/demo, or a recipe with --recipe; "
                "`gancli recipes ls` lists them",
            )
        from gancli.data.manifest import read_manifest

        recipe = resolve_recipe_name(kind, read_manifest(Path(data)).name, variant)
    return recipe, load_recipe(recipe, changes, kind)


def show_plan(out: Output, name: str, recipe: Recipe, paths: Mapping[str, Path]) -> None:
    """The result of `--dry-run`.

    Args:
        out: Where to.
        name: The recipe's.
        recipe: As resolved.
        paths: What would be written, by what it is.
    """
    from gancli.build import assumptions, parameter_table
    from gancli.config import dump_recipe

    parameters = parameter_table(recipe)
    table = out.table(
        ("network", "parameters"), [(k, f"{v:,}") for k, v in parameters], right=("parameters",)
    )
    assumed = assumptions(recipe)
    if assumed:
        table += f"\ncounted with {assumed}"
    written = "\n".join(f"would write {what}: {path}" for what, path in paths.items())
    out.result(
        {
            "dry_run": True,
            "name": name,
            "recipe": recipe.model_dump(mode="json"),
            "parameters": dict(parameters),
            "counted_with": assumed,
            "paths": dict(paths),
        },
        f"{dump_recipe(recipe)}\n{table}\n\n{written}",
    )


@contextmanager
def followed(out: Output) -> Iterator[Events]:
    """Shows a run's events: a line that changes in place on a terminal, lines elsewhere, JSON lines with `--json`."""
    import sys

    from gancli.engine.events import Event, Events

    with out.status() as show:

        def sink(event: Event) -> None:
            if event.kind == "warning":
                out.warn(event.text)
            elif event.kind == "progress":
                show(event.text)
            elif event.kind != "end":  # which the result says better
                out.note(event.text)

        yield Events(sink, sys.stdout if out.json else None)


def finish(out: Output, kind: str, result: RunResult, again: str) -> None:
    """Says where everything is; a run that was interrupted ends with 130 or 143.

    Args:
        out: Where to.
        kind: What the output folder is, "model" or "encoder".
        result: How the run ended.
        again: The command that continues it, with {run} for its folder.

    Raises:
        typer.Exit: The run was interrupted.
    """
    loop = result.loop
    data = {
        "run": result.run,
        "output": result.output,
        "step": loop.step,
        "images": loop.images,
        "seconds": round(loop.seconds, 1),
        "losses": dict(loop.last),
        "interrupted": loop.interrupted,
        "exit_code": loop.exit_code,
    }
    how = f"stopped by {loop.interrupted}" if loop.interrupted else "finished"
    text = (
        f"{how} at step {loop.step:,}, {loop.images:,} images, {loop.seconds / 60:.1f} minutes\n"
        f"run: {result.run}"
    )
    if loop.interrupted:
        out.result(data, text, quiet=str(result.run))
        out.note(f"continue with: {again.format(run=result.run)}")
        # process 0 is the last to end, when all is written: torchrun ends the others as soon as one has failed
        raise typer.Exit(loop.exit_code if out.process.rank == 0 else 0)
    out.result(data, f"{text}\n{kind}: {result.output}", quiet=str(result.output))
