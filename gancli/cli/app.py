"""Application, command groups, and the decorator `command` that registers a subcommand.

`command` adds the shared options (`--json`, `-q`, `-v`, `--progress`), the examples at the top of the help, the output
object and the handling of errors. The function of a subcommand has only its own options.
"""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable, Sequence
from typing import Annotated

import typer
import typer.core

from gancli.cli.console import Output, ProgressMode
from gancli.cli.errors import reported
from gancli.cli.options import flattened, grouped, options
from gancli.engine.ranks import is_local_main_process
from gancli.version import __version__


@options("Output")
class OutputOptions:
    """Options of every command."""

    json: Annotated[bool, typer.Option("--json", help="stdout is one JSON object.")] = False
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Only the bare result.")] = False
    verbose: Annotated[
        int, typer.Option("--verbose", "-v", count=True, help="More details.", show_default=False)
    ] = 0


@options("Output")
class ProgressOptions(OutputOptions):
    """Options of the commands that show progress."""

    progress: Annotated[ProgressMode, typer.Option(help="Bar on a terminal, lines elsewhere (auto).")] = (
        ProgressMode.AUTO
    )


class Root(typer.core.TyperGroup):
    """Root of the command tree, which reports Typer's own usage errors like all other errors."""

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        windows_expand_args: bool = True,
        **extra: object,
    ) -> object:
        run = functools.partial(
            super().main, args, prog_name, complete_var, False, windows_expand_args, **extra
        )
        if not standalone_mode:
            return run()
        try:
            code = run()
        except typer.TyperException as error:
            code = error.exit_code
            # For `gancli` alone the help has been printed and the message is empty.
            if (message := error.format_message()) and is_local_main_process():
                context = getattr(error, "ctx", None)
                hint = f"{context.command_path if context else 'gancli'} --help"
                out = Output(json="--json" in (sys.argv[1:] if args is None else args))
                out.fail(message, hint, code)
        sys.exit(code or 0)


def _group(text: str, cls: type[typer.core.TyperGroup] | None = None) -> typer.Typer:
    return typer.Typer(
        help=text,
        cls=cls,
        no_args_is_help=True,
        rich_markup_mode="rich",
        pretty_exceptions_show_locals=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )


def _show_version(value: bool) -> None:
    if value:
        typer.echo(f"gancli {__version__}")
        raise typer.Exit


app = _group(
    """Conditional image synthesis, from raw data to scored images and the papers' tables.

    \b
    From data to scores:
      $ gancli prepare demo --out data/demo
      $ gancli pretrain-encoder damsm data=data/demo --out encoders/demo
      $ gancli train ffgan data=data/demo encoder=encoders/demo
      $ gancli sample latest --text "a small red bird with blue wings"
      $ gancli sample latest --data data/demo --out images/test
      $ gancli score fid data/demo:test images/test --features encoder:encoders/demo
    """,
    Root,
)

PREPARE, TRAIN, USE, LOOK = "Data", "Training", "Images and scores", "Recipes and this machine"

prepare_app = _group("Turn raw data into a dataset folder of HDF5 shards.")
data_app = _group("Check and show a dataset folder.")
encoder_app = _group("Train an encoder of texts, speech or images on a dataset.")
train_app = _group("Train a model on a dataset.")
import_app = _group("Make encoder and model folders from the files of public codes.")
score_app = _group("Score images (FID, Inception score, R-precision, …) and write the papers' tables.")
human_app = _group("Let people rank the images of several models, and tally their rankings.")
recipes_app = _group("List, show, validate and compare training recipes.")

app.add_typer(prepare_app, name="prepare", rich_help_panel=PREPARE)
app.add_typer(data_app, name="data", rich_help_panel=PREPARE)
app.add_typer(encoder_app, name="pretrain-encoder", rich_help_panel=TRAIN)
app.add_typer(train_app, name="train", rich_help_panel=TRAIN)
app.add_typer(import_app, name="import", rich_help_panel=TRAIN)


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_show_version, help="Print the version.")
    ] = False,
) -> None:
    """Define the options of `gancli` itself."""


def command(
    group: typer.Typer,
    name: str,
    *,
    examples: Sequence[str],
    panel: str | None = None,
    progress: bool = False,
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Register a function as a subcommand.

    Args:
        group: Group of the subcommand.
        name: Name that the user types.
        examples: Command lines for the top of the help.
        panel: Panel in the help of the group.
        progress: Add the option `--progress`.

    Returns:
        A decorator, which returns the function unchanged. The function's first parameter receives the `Output`; the
        others are Typer parameters or groups of them (`gancli.cli.options`).
    """
    shared = inspect.Parameter(
        "shared", inspect.Parameter.KEYWORD_ONLY, annotation=ProgressOptions if progress else OutputOptions
    )

    def register(function: Callable[..., None]) -> Callable[..., None]:
        own = list(inspect.signature(function, eval_str=True).parameters.values())[1:]
        parameters = flattened([*own, shared])

        @functools.wraps(function)
        def run(**values: object) -> None:
            out = Output(**vars(grouped([shared], values)["shared"]))
            with reported(out):
                function(out, **grouped(own, values))

        # Typer reads the options from the signature and their types from the annotations.
        run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
        del run.__wrapped__
        group.command(name, help=_help(function, examples), rich_help_panel=panel, no_args_is_help=False)(run)
        return function

    return register


def _help(function: Callable[..., None], examples: Sequence[str]) -> str:
    """Return a docstring with the examples after its first paragraph; \\b keeps Typer from joining their lines."""
    summary, _, rest = inspect.cleandoc(function.__doc__ or "").partition("\n\n")
    lines = "\n".join(f"  $ {example}" for example in examples).replace("[", r"\[")
    return "\n\n".join(part for part in (summary, f"\b\nExamples:\n{lines}", rest) if part)
