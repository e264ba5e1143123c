"""`gancli score human`: let people rank images of several models, and tally what they say."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gancli.cli.app import command, human_app, score_app
from gancli.cli.console import Output

score_app.add_typer(human_app, name="human")

DRAWING = "Images of model folders"


@command(
    human_app,
    "make",
    examples=(
        "gancli score human make images/an images/b --out page --name StackGAN --name FF-GAN",
        "gancli score human make runs/0002-stackgan-cub runs/0003-ffgan-cub --data data/cub:test --out page",
    ),
    progress=True,
)
def make(
    out: Output,
    models: Annotated[
        list[Path],
        typer.Argument(
            metavar="MODELS",
            help="Folders of gancli sample; model or run folders draw --data or --captions first.",
            show_default=False,
        ),
    ],
    folder: Annotated[
        Path, typer.Option("--out", "-o", help="Folder for index.html and key.json.", show_default=False)
    ],
    name: Annotated[
        list[str] | None,
        typer.Option(
            "--name",
            help="Of a model in the tables; once for each, in order.",
            show_default="its method or folder",
        ),
    ] = None,
    count: Annotated[int, typer.Option("-n", min=1, help="Captions that every judge sees.")] = 50,
    seed: Annotated[
        int, typer.Option("--seed", min=0, help="Of captions, hidden order and drawn images.")
    ] = 0,
    ask: Annotated[
        str | None,
        typer.Option(
            "--ask", help="What the judges are asked to do.", show_default="rank by text and realism"
        ),
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(
            "--data", metavar="DIR:SPLIT", help="Captions of this dataset.", rich_help_panel=DRAWING
        ),
    ] = None,
    captions: Annotated[
        Path | None,
        typer.Option("--captions", help="Text file, one sentence a line.", rich_help_panel=DRAWING),
    ] = None,
    batch: Annotated[
        int, typer.Option("--batch", min=1, help="Images at a time.", rich_help_panel=DRAWING)
    ] = 32,
    device: Annotated[
        str, typer.Option("--device", help="auto, cpu, cuda, cuda:1 or mps.", rich_help_panel=DRAWING)
    ] = "auto",
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the page of another study.")
    ] = False,
) -> None:
    """Write one HTML file on which people rank the models' images of the same captions in hidden order.

    Give judges index.html alone: it needs no network, and key.json, which says whose image is whose, stays with you.
    They open it in a browser and send back the CSV file that it saves.
    """
    from gancli.engine.device import pick_device
    from gancli.human.page import QUESTION, make_page

    with out.progress("drawing", "images") as advance:
        report = make_page(
            models,
            out=folder,
            names=name or (),
            n=count,
            seed=seed,
            asked=QUESTION if ask is None else ask,
            data=data,
            captions_file=captions,
            batch=batch,
            device=pick_device(device),
            overwrite=overwrite,
            progress=advance,
        )
    for warning in report.warnings:
        out.warn(warning)
    study = report.study
    names = [model.name for model in study.models]
    size = report.page.stat().st_size / 1024
    lines = [
        f"{report.page}: {len(study.questions)} of {report.shared} shared captions, {len(names)} models "
        f"({', '.join(names)}), {size:,.0f} KiB: give it to the judges",
        f"{report.key}: whose image is whose: keep it, and tally with",
        f"  gancli score human tally answers*.csv --key {report.key}",
    ]
    out.result(
        {
            "page": report.page,
            "key": report.key,
            "study": study.study,
            "models": names,
            "captions": len(study.questions),
            "shared": report.shared,
            "warnings": report.warnings,
        },
        "\n".join(lines),
        quiet=str(report.page),
    )


@command(
    human_app,
    "tally",
    examples=(
        "gancli score human tally answers*.csv --key page/key.json",
        "gancli score human tally answers-anna.csv answers-ben.csv --key page/key.json --out tables --json",
    ),
)
def tally(
    out: Output,
    answers: Annotated[
        list[Path],
        typer.Argument(metavar="ANSWERS", help="CSV files that judges saved.", show_default=False),
    ],
    key: Annotated[Path, typer.Option("--key", help="The page's key.json.", show_default=False)],
    results: Annotated[Path, typer.Option("--results", help="CSV file that gets two rows per model.")] = Path(
        "results.csv"
    ),
    folder: Annotated[
        Path, typer.Option("--out", "-o", help="Folder for the table as CSV and Markdown.")
    ] = Path("tables"),
) -> None:
    """Mean rank ± standard error and share of first places of each model, from the judges' answers.

    The standard error is s/√N over all rankings (captions times judges). Where a judge answered twice, the last
    answer counts.
    """
    from gancli.human.tally import tally as tally_answers
    from gancli.scores.results import append_row

    report = tally_answers(answers, key=key, out=folder)
    for row in report.rows:
        append_row(results, row)
    for warning in report.warnings:
        out.warn(warning)
    found = report.tally
    files = "\n".join(str(file) for file in report.files)
    out.result(
        {
            "study": found.study.study,
            "judges": found.judges,
            "questions": found.questions,
            "rankings": found.rankings,
            "kendall_w": None if found.agreement is None else found.agreement.w,
            "rows": [row.to_json() for row in report.rows],
            "results": results,
            "files": report.files,
            "warnings": report.warnings,
        },
        f"{report.markdown}\n{files}\nwritten to {results}",
        quiet="\n".join(f"{model.mean_rank:.6g}" for model in found.models),
    )
