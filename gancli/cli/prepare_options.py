"""Options that `gancli prepare` commands share."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from gancli.cli.options import options
from gancli.errors import UsageError
from gancli.run_paths import weights_folder_of

if TYPE_CHECKING:
    from gancli.cli.speech_options import SpeechArguments
    from gancli.data.preparation.options import PrepareOptions

MOST_JOBS = 16  # more processes rarely help: the disk is the limit

Codec = Literal["raw", "jpeg"]
Crop = Literal["stackgan", "ratio75"]
Silhouettes = Literal["official", "estimate", "none"]
Encoding = Literal["binary", "soft", "class"]


def _cores() -> int:
    return min(
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1, MOST_JOBS
    )


def _read_part(text: str | None) -> str | None:
    """Refuse parts that do not exist before any raw data are read."""
    if text is not None:
        from gancli.data.preparation.options import Part

        try:
            Part.parse(text)
        except UsageError as error:
            raise typer.BadParameter(str(error).removeprefix("--shards ")) from error
    return text


Root = Annotated[Path, typer.Option(help="Folder of the raw data.", show_default=False)]
ImageSize = Annotated[int, typer.Option(min=4, help="Side of the largest image in training, in pixels.")]
TestList = Annotated[
    Path | None,
    typer.Option(
        help="Names of the test images, one a line, or a public filenames.pickle; all others train.",
        show_default=False,
    ),
]
FromClassNames = Annotated[
    bool,
    typer.Option("--captions-from-class-names", help="Make captions from the class names instead."),
]


@options()
class DatasetArguments:
    """Options about the dataset folder to make."""

    out: Annotated[Path, typer.Option("--out", "-o", help="Dataset folder to make.", show_default=False)]
    image_size: ImageSize = 256
    codec: Annotated[
        Codec,
        typer.Option(help="raw: fast, lossless pixels; jpeg: a sixth of the space, slower to read."),
    ] = "raw"
    jobs: Annotated[
        int,
        typer.Option(
            "--jobs",
            "-j",
            min=1,
            default_factory=_cores,
            show_default="all cores",
            help="Number of processes that decode images.",
        ),
    ]
    shards: Annotated[
        str | None,
        typer.Option(
            metavar="PART",
            callback=_read_part,
            help="Make part 3/16 of the shards, or parts 3-5/16; `gancli data merge` joins the parts.",
            show_default="all",
        ),
    ] = None
    dry_run: Annotated[
        bool, typer.Option("--dry-run", "-n", help="Report what would be written, and write nothing.")
    ] = False

    def prepare_options(
        self, speech: SpeechArguments, birds: BirdArguments | None, silhouette_list: Path | None
    ) -> PrepareOptions:
        """Return the settings for `prepare`."""
        from gancli.data.preparation.options import PrepareOptions
        from gancli.data.preparation.plan import read_silhouette_list
        from gancli.importing.vocabulary import read_vocabulary

        file = self.vocabulary if isinstance(self, RawDatasetArguments) else None
        if file is not None and not file.is_file():
            file = weights_folder_of(file, ("damsm",)) / "vocabulary.json"
        return PrepareOptions(
            image_size=self.image_size,
            codec=self.codec,
            crop=birds.crop if birds else "stackgan",
            vocabulary=read_vocabulary(file) if file else None,
            speech=speech.options,
            silhouette_list=read_silhouette_list(silhouette_list) if silhouette_list else None,
        )


@options()
class DemoDatasetArguments(DatasetArguments):
    """Options about the demo dataset's folder."""

    image_size: ImageSize = 64


@options()
class RawDatasetArguments(DatasetArguments):
    """Options about the folder of a dataset that is read from raw data."""

    skip_bad: Annotated[
        bool, typer.Option("--skip-bad", help="Leave out images that cannot be used instead of failing.")
    ] = False
    vocabulary: Annotated[
        Path | None,
        typer.Option(
            help="Encoder folder, vocabulary.json or AttnGAN's captions.pickle whose word numbers to use.",
            show_default="all words of the captions",
        ),
    ] = None


@options()
class BirdArguments:
    """Options about birds with boxes, silhouettes and attributes."""

    crop: Annotated[
        Crop,
        typer.Option(
            help="stackgan: the bird takes about 2/3 of the side, as published; ratio75: 3/4, always square."
        ),
    ] = "stackgan"
    silhouettes: Annotated[
        Silhouettes | None,
        typer.Option(
            help="Silhouettes for attr2image: official files, or estimates from box, parts and colours.",
            show_default="official where the files exist, else none",
        ),
    ] = None
    attributes: Annotated[
        Encoding | None,
        typer.Option(
            help="binary or soft (with certainties): labels of each image; class: percentages of its class.",
            show_default="binary where each image has labels, else class",
        ),
    ] = None
