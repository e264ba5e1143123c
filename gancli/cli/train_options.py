"""Common parts of the commands that train: their options, finding the recipe, the plan, following the run, its end."""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gancli.cli.app import command
from gancli.cli.completion import recipes_of
from gancli.cli.console import Output
from gancli.cli.options import options
from gancli.errors import UsageError
from gancli.registry import Row
from gancli.run_paths import resume_path_of, run_folder_of

if TYPE_CHECKING:
    from gancli.config import BaseRecipe
    from gancli.engine.events import Events
    from gancli.training import RunResult

Overrides = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="KEY=VALUE",
        help="Values that replace the recipe's, such as data=data/demo or loader.batch=16.",
        show_default=False,
    ),
]


@options()
class RunOptions:
    """Options of every training."""

    resume: Annotated[
        Path | None,
        typer.Option(
            metavar="RUN", help="Run to continue: its folder, the model/ or a checkpoint in it, or latest."
        ),
    ] = None
    name: Annotated[
        str | None,
        typer.Option(help="End of the run folder's name: 0003-NAME.", show_default="model and dataset"),
    ] = None
    runs: Annotated[Path, typer.Option(help="Folder in which the numbered run folder is made.")] = Path(
        "runs"
    )
    device: Annotated[
        str | None,
        typer.Option(help="auto, cpu, cuda, cuda:1 or mps.", show_default="the recipe's"),
    ] = None
    seed: Annotated[
        int | None,
        typer.Option(min=0, help="Seed of every random number.", show_default="the recipe's"),
    ] = None
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", "-n", help="Show recipe, networks and output paths, and write nothing."),
    ] = False

    def __post_init__(self) -> None:
        if self.name is not None and (not self.name or Path(self.name).name != self.name):
            raise UsageError(f"--name: received {self.name!r}, which is no name of a folder")
        if self.name is not None and self.resume is not None:
            raise UsageError("--resume and --name: a run keeps its name", "leave --name out")

    def resolve(
        self, kind: str, recipe: str | None, overrides: Sequence[str] | None
    ) -> tuple[str, BaseRecipe, Path | None]:
        """Return the recipe's name, the recipe, and the run folder or checkpoint that `--resume` names."""
        changes = list(overrides or ())
        if self.device is not None:
            changes.append(f"train.device={self.device}")
        if self.seed is not None:
            changes.append(f"train.seed={self.seed}")
        resume = None
        if self.resume is not None:
            data, stage = override(changes, "data"), override(changes, "stage")
            resume = resume_path_of(self.resume, (kind,), runs=self.runs, data=data, stage=stage)
        return *find_recipe(kind, recipe, resume, changes), resume


def register(
    group: typer.Typer,
    row: Row,
    common: type[RunOptions],
    run: Callable[..., None],
    *,
    own: Mapping[str, tuple[object, object]] | None = None,
    note: str = "",
) -> None:
    """Make the training command of a model or an encoder.

    Args:
        group: Group that it joins.
        row: Model or encoder.
        common: Options of all commands of the group.
        run: Function that does the work, called with the output, the row and the options by name.
        own: Annotation and default of further options, by name.
        note: Last paragraph of the help.
    """
    recipe = typer.Option(
        "--recipe",
        help="Shipped recipe, or path of a YAML file.",
        show_default="by the dataset's name and image size",
        autocompletion=recipes_of(row.name),
    )
    parameters: dict[str, tuple[object, object]] = {
        "out": (Output, inspect.Parameter.empty),
        "overrides": (Overrides, None),
        "recipe": (Annotated[str | None, recipe], None),
        **(own or {}),
    }
    if "weights" in row.options:
        weights = typer.Option(help=row.weights_help, show_default="downloaded and checked")
        parameters["weights"] = (Annotated[Path | None, weights], None)
    parameters["training"] = (common, inspect.Parameter.empty)

    def function(out: Output, **arguments: object) -> None:
        run(out, row, **arguments)

    kind = inspect.Parameter.KEYWORD_ONLY
    function.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [
            inspect.Parameter(name, kind, default=default, annotation=annotation)
            for name, (annotation, default) in parameters.items()
        ]
    )
    summary, _, rest = row.help.partition("\n")
    function.__doc__ = "\n\n".join(filter(None, (summary, textwrap.dedent(rest).strip(), note)))
    command(group, row.name, examples=row.examples, progress=True)(function)


def override(overrides: Sequence[str], key: str) -> str | None:
    """Return the value that overrides give to a key."""
    return next((text.partition("=")[2] for text in overrides if text.startswith(f"{key}=")), None) or None


def find_recipe(
    kind: str, recipe: str | None, resume: Path | None, overrides: Sequence[str]
) -> tuple[str, BaseRecipe]:
    """Return the recipe that a training command is asked for, and its name.

    It is the one named, that of the run to be resumed, or the one for the dataset in `data=DIR`, by its name and the
    size of its images.

    Raises:
        UsageError: Both a recipe and a run are named, or nothing says which recipe is meant.
    """
    from gancli.config import choose_recipe, load_recipe

    if resume is not None:
        if recipe is not None:
            raise UsageError(
                "--resume and --recipe: a run is continued with its own recipe", "leave --recipe out"
            )
        run = run_folder_of(resume)
        assert run is not None  # or it would not have been found
        file = run / "recipe.yaml"
        return str(file), load_recipe(file, overrides, kind)
    if recipe is not None:
        return recipe, load_recipe(recipe, overrides, kind)
    data = override(overrides, "data")
    if data is None:
        raise UsageError(
            "nothing says which dataset to train on",
            "name the dataset folder, as data=data/demo, or a recipe with --recipe; "
            "`gancli recipes ls` lists them",
        )
    from gancli.data.manifest import read_manifest

    manifest = read_manifest(Path(data))
    return choose_recipe(kind, manifest.name, manifest.image_size, overrides)


def show_plan(out: Output, name: str, recipe: BaseRecipe, paths: Mapping[str, Path]) -> None:
    """Show the result of `--dry-run`: the resolved recipe, its networks, and the paths that would be written."""
    from gancli.config import dump_recipe
    from gancli.training.parameters import count_parameters

    count = count_parameters(recipe)
    rows = [(network, f"{number:,}") for network, number in count.networks.items()]
    table = out.table(("network", "parameters"), rows, right=("parameters",))
    if count.assumed:
        table += f"\ncounted with {count.assumed}"
    written = "\n".join(f"would write {what}: {path}" for what, path in paths.items())
    out.result(
        {
            "dry_run": True,
            "name": name,
            "recipe": recipe.model_dump(mode="json"),
            "parameters": count.networks,
            "counted_with": count.assumed,
            "paths": dict(paths),
        },
        f"{dump_recipe(recipe)}\n{table}\n\n{written}",
    )


@contextmanager
def followed(out: Output) -> Iterator[Events]:
    """Show a run's events: a line that changes in place on a terminal, lines elsewhere, JSON lines with `--json`."""
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
    """Show where everything is. A run that was interrupted ends with 130 or 143.

    Args:
        out: Output.
        kind: Kind of the output folder, "model" or "encoder".
        result: Outcome of the training.
        again: Command that continues it, with {run} for its folder.
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
