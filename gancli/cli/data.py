"""`gancli data`: check a dataset folder, show it, or merge it from its parts."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gancli.cli.app import command, data_app
from gancli.cli.console import Output
from gancli.errors import DataError

if TYPE_CHECKING:
    from gancli.data.inspect import Summary

Folder = Annotated[Path, typer.Argument(metavar="DIR", help="Dataset folder.", show_default=False)]


@command(
    data_app,
    "check",
    examples=("gancli data check data/cub", "gancli data check data/cub --json"),
    progress=True,
)
def check(out: Output, folder: Folder) -> None:
    """Compare every shard with the manifest: hashes, counts, offsets, words.

    Ends with exit code 3 where something is wrong.
    """
    from gancli.data.verify import verify

    with out.progress("checking", "shards") as advance:
        problems = verify(folder, advance)
    if problems:
        count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
        raise DataError(
            "\n  ".join([f"{folder}: {count}", *problems]),
            "remove the named files and run gancli prepare again",
        )
    out.result({"dataset": folder, "problems": []}, f"{folder}: sound", quiet=str(folder))


@command(
    data_app,
    "merge",
    examples=("gancli data merge data/cub", "gancli data merge data/cub parts/cub-* --skip-bad"),
    progress=True,
)
def merge(
    out: Output,
    folder: Annotated[
        Path, typer.Argument(metavar="OUT", help="Dataset folder to make.", show_default=False)
    ],
    parts: Annotated[
        list[Path] | None,
        typer.Argument(metavar="PART", help="Folders of parts.", show_default="those in OUT"),
    ] = None,
    skip_bad: Annotated[
        bool, typer.Option("--skip-bad", help="Leave out images that cannot be used instead of failing.")
    ] = False,
) -> None:
    """Make one dataset of the parts that `gancli prepare --shards` wrote into OUT or into other folders.

    The folders of parts stay as they are: shards are hard-linked, or copied where OUT lies on another disk. If shards
    are missing, the command names the parts that make them and ends with exit code 3.
    """
    from gancli.cli.prepare_report import print_report
    from gancli.data.preparation.merge import merge_parts

    with out.progress("reading", "shards") as advance:
        report = merge_parts(folder, parts or (), skip_bad=skip_bad, progress=advance)
    print_report(out, report, f"{report.reused_shards} shards")


@command(
    data_app,
    "show",
    examples=("gancli data show data/cub", "gancli data show data/cub --split test -n 40 --sheet birds.png"),
)
def show(
    out: Output,
    folder: Folder,
    split: Annotated[
        str | None, typer.Option(help="Split of the contact sheet.", show_default="the first")
    ] = None,
    count: Annotated[int, typer.Option("-n", min=1, help="Images on the contact sheet.")] = 24,
    sheet: Annotated[
        Path | None,
        typer.Option(help="Contact sheet to write.", show_default="DIR/contact-sheet.png"),
    ] = None,
    outlines: Annotated[
        bool,
        typer.Option(
            "--outlines", help="Draw outlines of the silhouettes: yellow for good ones, red for others."
        ),
    ] = False,
) -> None:
    """Summarize a dataset folder, and write a contact sheet of its images with a caption each."""
    from dataclasses import asdict

    from gancli.atomic import atomic_file
    from gancli.data.inspect import contact_sheet, describe
    from gancli.data.shards import Dataset

    dataset = Dataset.open(folder)
    summary = describe(dataset)
    sheet = sheet or folder / "contact-sheet.png"
    with atomic_file(sheet) as temporary:
        contact_sheet(dataset, split=split, images=count, outlines=outlines).save(temporary, format="PNG")

    rows = [
        (
            name,
            f"{part.images:,}",
            f"{part.captions:,}",
            f"{part.words_per_caption:.1f}",
            f"{part.classes:,}",
            f"{part.shards:,}",
            f"{part.bytes / 2**20:,.1f}",
        )
        for name, part in summary.splits.items()
    ]
    columns = ("split", "images", "captions", "words each", "classes", "shards", "MiB")
    text = (
        f"{summary.name}: {summary.release}, split {summary.split_rule}, crop {summary.crop_rule}, "
        f"{summary.image_size} pixels, {summary.codec}\n\n"
        f"{out.table(columns, rows, right=columns[1:])}\n\n"
        f"{summary.classes:,} classes, {summary.attributes:,} attributes, vocabulary of {summary.vocabulary:,}, "
        f"{summary.rejected:,} images rejected\n"
        f"{_speech(summary)}"
        f"{_silhouettes(summary)}"
        f"contact sheet: {sheet}"
    )
    out.result({**asdict(summary), "sheet": sheet}, text, quiet=str(sheet))


def _speech(summary: Summary) -> str:
    """Return a line about spoken captions; empty without speech."""
    if not summary.speech:
        return ""
    clips = [
        f"{part.utterances:,} {name} clips of {part.utterance_seconds:.1f} s"
        for name, part in summary.splits.items()
    ]
    return f"captions {summary.speech}: {', '.join(clips)} on average\n"


def _silhouettes(summary: Summary) -> str:
    """Return a line about silhouettes; empty without them."""
    if not summary.silhouettes:
        return ""
    usable = [
        f"{number:,} of {summary.splits[name].images:,} {name}"
        for name, number in summary.usable_silhouettes.items()
    ]
    return f"silhouettes ({summary.silhouettes}): {', '.join(usable)} are good\n"
