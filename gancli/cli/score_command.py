"""Registration of scores as commands, and the options of several of them."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gancli.cli.app import command, score_app
from gancli.cli.console import Output
from gancli.cli.launch import set_rank
from gancli.registry import resolve

if TYPE_CHECKING:
    from gancli.scores.results import ScoreRow
    from gancli.scores.summary import Bound

Results = Annotated[Path, typer.Option(help="CSV file that gets one row per number.")]
Method = Annotated[
    str | None,
    typer.Option(
        metavar="NAME", help="Name of the images of a model of other people.", show_default="the folder's"
    ),
]
Check = Annotated[
    list[str] | None,
    typer.Option(
        metavar="BOUND", help='Bound such as "fid<20"; exit code 4 if the score breaks it. May repeat.'
    ),
]


def score_command(
    name: str, function: str, *, examples: Sequence[str], work: str = "", unit: str = "images"
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Register a score: the function's signature declares the options, its docstring is the help.

    The library function gets the options by their names, without those that were not given. It runs on all processes
    that torchrun or srun started, each on its own device and its own part of the images. Process 0 reports the rows and
    appends them to results.csv.

    Args:
        name: Name of the command.
        function: Library function, as "module:attribute".
        examples: Command lines for the top of the help.
        work: The work in the progress display; without it, there is none.
        unit: The things it counts.
    """

    def register(declaration: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(declaration)
        def run(
            out: Output, *, results: Path, method: str | None, check: list[str] | None, **options: object
        ) -> None:
            from gancli.engine.device import pick_device
            from gancli.engine.distributed import process_group

            bounds = bounds_of(check)
            set_rank(out)
            arguments = {key: value for key, value in options.items() if value is not None}
            with process_group(pick_device(str(arguments.get("device", "cpu")))) as device:
                if "device" in arguments:
                    arguments["device"] = str(device)
                if not work:
                    rows = resolve(function)(**arguments)
                else:
                    with out.progress(work, unit) as progress:
                        rows = resolve(function)(**arguments, progress=progress)
                record(out, rows if isinstance(rows, tuple) else (rows,), results, method, bounds)

        own = inspect.signature(declaration, eval_str=True).parameters.values()
        keyword = inspect.Parameter.KEYWORD_ONLY
        run.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
            [
                inspect.Parameter("out", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=Output),
                *(parameter.replace(kind=keyword) for parameter in own),
                inspect.Parameter("results", keyword, default=Path("results.csv"), annotation=Results),
                inspect.Parameter("method", keyword, default=None, annotation=Method),
                inspect.Parameter("check", keyword, default=None, annotation=Check),
            ]
        )
        return command(score_app, name, examples=examples, progress=bool(work))(run)

    return register


def bounds_of(check: Sequence[str] | None) -> list[Bound]:
    """Return the bounds of `--check`."""
    from gancli.scores.summary import Bound

    return [Bound.parse(text) for text in check or ()]


def record(
    out: Output, rows: Sequence[ScoreRow], results: Path, method: str | None, bounds: Sequence[Bound]
) -> None:
    """Append rows to results.csv, show them, and check the bounds.

    Args:
        out: Output of the command.
        rows: Rows.
        results: CSV file.
        method: Name of the images instead of the rows' own; None leaves them.
        bounds: Bounds of `--check`.
    """
    from gancli.engine.distributed import from_main
    from gancli.scores.results import append_rows, named
    from gancli.scores.summary import check_bounds

    rows = rows if method is None else named(rows, method)
    from_main(functools.partial(append_rows, results, rows))
    columns = ("metric", "of", "value", "±", "real", "generated", "network")
    cells = [
        (
            row.metric,
            row.method,
            f"{row.value:.4g}",
            "" if row.std is None else f"{row.std:.2f}",
            "?" if row.n_real is None else f"{row.n_real:,}",
            "?" if row.n_fake is None else f"{row.n_fake:,}",
            row.network or "–",
        )
        for row in rows
    ]
    table = out.table(columns, cells, right=("value", "±", "real", "generated"))
    protocol = dict.fromkeys(row.protocol for row in rows)
    text = "\n".join([table, "", *(f"protocol: {rule}" for rule in protocol), f"written to {results}"])
    for note in dict.fromkeys(f"note: {row.method}: {row.note}" for row in rows if row.note):
        out.note(note)
    out.result(
        {"rows": [row.to_json() for row in rows], "results": results},
        text,
        quiet="\n".join(f"{row.value:.6g}" for row in rows),
    )
    check_bounds(bounds, rows)


# --- options of several scores --------------------------------------------------------------------------------

Samples = Annotated[
    str, typer.Argument(metavar="SAMPLES", help="Folder of gancli sample --data.", show_default=False)
]
Batch = Annotated[int, typer.Option(min=1, help="Images at a time; changes no number.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1 or mps.")]
Seed = Annotated[int, typer.Option(min=0, help="Seed of everything the metric draws.")]
InceptionWeights = Annotated[
    Path | None,
    typer.Option(help="File or folder of the Inception weights.", show_default="downloaded and checked"),
]
RetrievalFeatures = Annotated[
    str,
    typer.Option(
        help="imagenet (Inception-v3) as published, inception (the FID's), or encoder:DIR (DAMSM or classifier)."
    ),
]
CompatS2igan = Annotated[
    bool,
    typer.Option(
        "--compat-s2igan",
        help="Generated images enter the network in [0, 1], as in S2IGAN's code, real ones in [-1, 1].",
    ),
]


def split_option(help: str, default: str = "as sampled") -> typer.models.OptionInfo:
    option: typer.models.OptionInfo = typer.Option(metavar="DIR:SPLIT", help=help, show_default=default)
    return option


CaptionData = Annotated[str | None, split_option("Split that the captions come from.")]
RealData = Annotated[str | None, split_option("Split of the real images.")]
Features = Annotated[str, typer.Option(help="Feature network, one of those of gancli score fid.")]
RealImages = Annotated[
    str, typer.Argument(metavar="REAL", help="Dataset as DIR:split, or folder of images.", show_default=False)
]
FakeImages = Annotated[
    str,
    typer.Argument(metavar="FAKE", help="Generated images, in one of the same forms.", show_default=False),
]
Cache = Annotated[bool, typer.Option(help="Keep the features of all images for the next time.")]
PerceptualWeights = Annotated[
    Path | None,
    typer.Option(help="File or folder of AlexNet's weights.", show_default="downloaded and checked"),
]
