"""`gancli pretrain-encoder`: one command an encoder, made from its row of the registry."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gancli.cli.app import encoder_app
from gancli.cli.console import Output
from gancli.cli.launch import set_rank
from gancli.cli.train_options import RunOptions, finish, followed, register, show_plan
from gancli.registry import ENCODERS, Row

if TYPE_CHECKING:
    from gancli.config import BaseRecipe

Results = Annotated[
    Path | None,
    typer.Option(
        help="CSV file that gets the held-out figures.", show_default="results.csv in the encoder folder"
    ),
]
Export = Annotated[
    Path | None,
    typer.Option(metavar="FILE.npz", help="Also write the vectors of all the dataset's captions."),
]


def run_pretrain(
    out: Output,
    row: Row,
    *,
    overrides: list[str] | None,
    recipe: str | None,
    training: RunOptions,
    folder: Path | None,
    results: Path | None,
    weights: Path | None = None,
    export: Path | None = None,
) -> None:
    """Train an encoder, and export the vectors of all captions where a file is named."""
    set_rank(out)
    name, resolved, resume = training.resolve(row.name, recipe, overrides)
    target = folder or _encoder_folder(row, name, resolved, training.resume)
    if training.dry_run:
        written = {"run": training.runs, "encoder": target}
        show_plan(out, name, resolved, written if export is None else {**written, "embeddings": export})
        return
    from gancli.cli.embed import write_embeddings
    from gancli.training import pretrain_encoder

    out.note(f"recipe {name}")
    with followed(out) as events:
        result = pretrain_encoder(
            resolved,
            out=target,
            runs=training.runs,
            name=training.name,
            resume=resume,
            weights=weights,
            events=events,
        )
    if result.loop.interrupted is None:
        from gancli.engine.ranks import is_local_main_process
        from gancli.scores.encoders import encoder_rows
        from gancli.scores.results import append_rows

        rows = encoder_rows(result.output)
        if rows and is_local_main_process():
            append_rows(results or result.output / "results.csv", rows)
    if export is not None and result.loop.interrupted is None:
        count = write_embeddings(out, resolved.data, result.output, export, resolved.train.device)
        out.note(f"vectors of {count:,} captions: {export}")
    again = f"gancli pretrain-encoder {row.name} --resume {{run}} --out {target}"
    finish(out, "encoder", result, again if export is None else f"{again} --export {export}")


def _encoder_folder(row: Row, name: str, recipe: BaseRecipe, resume: Path | None) -> Path:
    """Return the encoder folder to write where none is named: that of the run, or one by the recipe's name."""
    if (
        resume is not None
        and (resume / "config.yaml").is_file()
        and not (resume.parent / "recipe.yaml").is_file()
    ):
        return resume  # the encoder folder that the run wrote
    path = Path(name)
    # "cub-small" of the recipe damsm/cub-small or of the run runs/0003-damsm-cub-small
    short = path.parent.name.partition(f"-{row.name}-")[2] or path.parent.name if path.suffix else path.name
    if row.names_split:
        short += f"-{recipe.training_split}"
    return Path("encoders") / f"{row.name}-{short}"


def _own(row: Row) -> dict[str, tuple[object, object]]:
    shown = f"encoders/{row.name}-NAME" + "-SPLIT" * row.names_split
    out = typer.Option("--out", "-o", help="Encoder folder to write.", show_default=shown)
    own: dict[str, tuple[object, object]] = {
        "folder": (Annotated[Path | None, out], None),
        "results": (Results, None),
    }
    if "export" in row.options:
        own["export"] = (Export, None)
    return own


for _row in ENCODERS.values():
    register(encoder_app, _row, RunOptions, run_pretrain, own=_own(_row))
