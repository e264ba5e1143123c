"""`gancli score human`: let people rank images of several models, and tally their rankings."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gancli.cli.app import command, human_app, score_app
from gancli.cli.console import Output
from gancli.cli.options import options

if TYPE_CHECKING:
    from gancli.human.page import PageReport

score_app.add_typer(human_app, name="human")


@options("Images of model folders")
class Drawing:
    """Options of images that model folders draw."""

    data: Annotated[
        str | None, typer.Option(metavar="DIR:SPLIT", help="Dataset whose captions are drawn.")
    ] = None
    captions: Annotated[Path | None, typer.Option(help="Text file with one caption per line.")] = None
    batch: Annotated[int, typer.Option(min=1, help="Images drawn at a time.")] = 32
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1 or mps.")] = "auto"


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
            help="Folders of gancli sample, or model or run folders, which draw --data or --captions first.",
            show_default=False,
        ),
    ],
    folder: Annotated[
        Path, typer.Option("--out", "-o", help="Folder for index.html and key.json.", show_default=False)
    ],
    drawing: Drawing,
    name: Annotated[
        list[str] | None,
        typer.Option(
            help="Name of a model in the tables; repeat for each model, in order.",
            show_default="its method or folder",
        ),
    ] = None,
    count: Annotated[int, typer.Option("-n", min=1, help="Number of captions.")] = 50,
    seed: Annotated[
        int,
        typer.Option(min=0, help="Seed of the captions, the hidden order and the drawn images."),
    ] = 0,
    ask: Annotated[
        str | None,
        typer.Option(help="Instruction for the judges.", show_default="rank by text and realism"),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the page of another study.")
    ] = False,
) -> None:
    """Write an HTML page on which people rank the models' images of the same captions in hidden order.

    Give the judges index.html, which needs no network, and keep key.json, which says which model made which image.
    The judges open the page in a browser and send back the CSV file that it saves.
    """
    from gancli.human.page import TASK, make_ranking_page

    with out.progress("drawing", "images") as progress:
        report = make_ranking_page(
            models,
            out=folder,
            names=name or (),
            n=count,
            seed=seed,
            task=TASK if ask is None else ask,
            data=drawing.data,
            captions_file=drawing.captions,
            batch=drawing.batch,
            device=drawing.device,
            overwrite=overwrite,
            progress=progress,
        )
    _show_page(out, report)


def _show_page(out: Output, report: PageReport) -> None:
    for warning in report.warnings:
        out.warn(warning)
    study = report.study
    names = [model.name for model in study.models]
    size = report.page.stat().st_size / 1024
    lines = [
        f"{report.page}: {len(study.questions)} of {report.shared} shared captions, {len(names)} models "
        f"({', '.join(names)}), {size:,.0f} KiB: give it to the judges",
        f"{report.key}: the models of the images: keep it, and tally with",
        f"  gancli score human tally answers*.csv --key {report.key}",
    ]
    result = {
        "page": report.page,
        "key": report.key,
        "study": study.study,
        "models": names,
        "captions": len(study.questions),
        "shared": report.shared,
        "warnings": report.warnings,
    }
    out.result(result, "\n".join(lines), quiet=str(report.page))


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
    key: Annotated[Path, typer.Option(help="The page's key.json.", show_default=False)],
    results: Annotated[Path, typer.Option(help="CSV file that gets two rows per model.")] = Path(
        "results.csv"
    ),
    folder: Annotated[
        Path, typer.Option("--out", "-o", help="Folder for the table as CSV and Markdown.")
    ] = Path("tables"),
) -> None:
    """Compute the mean rank ± standard error and the share of first places of each model.

    The standard error is s/√N over all rankings (captions times judges). If a judge answered a question twice, the
    last answer counts.
    """
    from gancli.human.tally import tally_rankings
    from gancli.scores.results import append_rows

    report = tally_rankings(answers, key=key, out=folder)
    append_rows(results, report.rows)
    for warning in report.warnings:
        out.warn(warning)
    found = report.tally
    files = "\n".join(str(file) for file in report.files)
    result = {
        "study": found.study.study,
        "judges": found.judges,
        "questions": found.questions,
        "rankings": found.rankings,
        "kendall_w": None if found.agreement is None else found.agreement.w,
        "rows": [row.to_json() for row in report.rows],
        "results": results,
        "files": report.files,
        "warnings": report.warnings,
    }
    quiet = "\n".join(f"{model.mean_rank:.6g}" for model in found.models)
    out.result(result, f"{report.markdown}\n{files}\nwritten to {results}", quiet=quiet)
