"""`gancli score table`, `summary` and `compare`: numbers of a results.csv."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gancli.cli.app import command, score_app
from gancli.cli.console import Output
from gancli.registry import MODELS

Results = Annotated[Path, typer.Option(help="Our scores.")]


@command(
    score_app,
    "table",
    examples=(
        "gancli score table ffgan",
        "gancli score table stackgan --results results.csv --out tables --json",
    ),
)
def table(
    out: Output,
    paper: Annotated[
        str,
        typer.Argument(metavar=f"[{'|'.join(MODELS)}]", help="Model of the paper.", show_default=False),
    ],
    results: Annotated[
        Path | None, typer.Option(help="Our scores.", show_default="results.csv, if there is one")
    ] = None,
    folder: Annotated[Path, typer.Option("--out", "-o", help="Folder for the files.")] = Path("tables"),
) -> None:
    """The paper's tables as CSV, Markdown and LaTeX: its rows, ours with their provenance, and the differences.

    A difference is given only where both numbers were measured in the same way; elsewhere a note holds the reason.
    Scores of several seeds become mean ± standard deviation. Scores that belong to no row have a table of their own.
    """
    from gancli.scores.tables import score_table

    report = score_table(paper, results, folder)
    ours = sum(len(entry.scores) for entries in report.entries.values() for entry in entries)
    files = "\n".join(str(file) for file in report.files)
    out.result(
        {"paper": paper, "files": report.files, "ours": ours}, f"{report.markdown}\n{files}", quiet=files
    )


@command(
    score_app,
    "summary",
    examples=("gancli score summary", "gancli score summary --results results.csv --out summary.csv --json"),
)
def summary(
    out: Output,
    results: Results = Path("results.csv"),
    file: Annotated[
        Path | None, typer.Option("--out", "-o", help="CSV file for the summary.", show_default="none")
    ] = None,
) -> None:
    """Mean and standard deviation over seeds of every method and metric.

    Scores are put together where everything but the seeds agrees: dataset, counts, network, protocol.
    """
    from gancli.scores.metrics import shown
    from gancli.scores.summary import score_summary

    found = score_summary(results, file)
    lines = found.to_dict("records")
    rows = [
        (
            line["method"],
            f"{line['dataset']} {line['split']}".strip(),
            line["metric"],
            shown(line["metric"], line["mean"]),
            shown(line["metric"], line["std"]) if line["n"] > 1 else "",
            line["n"],
            line["seeds"],
        )
        for line in lines
    ]
    heads = ("method", "images of", "metric", "mean", "± over seeds", "n", "seeds")
    text = out.table(heads, rows, right=("mean", "± over seeds", "n"))
    out.result(
        {"summary": lines, "file": file}, text, quiet="\n".join(f"{line['mean']:.6g}" for line in lines)
    )


@command(
    score_app,
    "compare",
    examples=(
        'gancli score compare "FF-GAN" "FF-GAN [loss.damsm=1.0]"',
        "gancli score compare old/results.csv new/results.csv --json",
    ),
)
def compare(
    out: Output,
    first: Annotated[
        str,
        typer.Argument(
            metavar="A", help="Method or model folder in the results, or a results.csv.", show_default=False
        ),
    ],
    second: Annotated[str, typer.Argument(metavar="B", help="The other one.", show_default=False)],
    results: Results = Path("results.csv"),
) -> None:
    """Compare two methods metric by metric, as far as both were measured in the same way.

    Where they were not, the fields that differ stand in place of the difference.
    """
    from gancli.scores.metrics import shown, shown_difference
    from gancli.scores.summary import compare_scores

    found = compare_scores(first, second, results)
    rows = [
        (
            each.dataset,
            each.metric,
            shown(each.metric, each.first.value),
            shown(each.metric, each.second.value),
            f"not comparable: {'; '.join(each.reasons)}"
            if each.difference is None
            else shown_difference(each.metric, each.difference),
        )
        for each in found
    ]
    data = [
        {
            "metric": each.metric,
            "dataset": each.dataset,
            "first": each.first.value,
            "second": each.second.value,
            "difference": each.difference,
            "reasons": each.reasons,
        }
        for each in found
    ]
    text = out.table(("dataset", "metric", first, second, "B - A"), rows, right=(first, second))
    quiet = "\n".join(f"{each.difference:.6g}" for each in found if each.difference is not None)
    out.result({"comparisons": data}, text, quiet=quiet)
