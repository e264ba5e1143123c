"""`gancli pretrain-encoder`: the encoders that a model is trained with, and the classifier it is judged by."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, cast

import typer

from gancli.cli.app import command, encoder_app
from gancli.cli.console import Output
from gancli.cli.launch import set_rank
from gancli.cli.train_options import (
    Device,
    DryRun,
    Overrides,
    Resume,
    Runs,
    Seed,
    find_recipe,
    find_run,
    finish,
    followed,
    recipe_option,
    show_plan,
)

Weights = Annotated[
    Path | None,
    typer.Option(
        "--weights",
        help="File or folder of the backbone's ImageNet weights.",
        show_default="downloaded and checked",
    ),
]


@command(
    encoder_app,
    "damsm",
    examples=(
        "gancli pretrain-encoder damsm data=data/demo --out encoders/damsm-demo",
        "gancli pretrain-encoder damsm --recipe damsm/cub-small data=data/cub-64 train.minutes=20",
    ),
    progress=True,
)
def damsm(
    out: Output,
    overrides: Overrides = None,
    recipe: Annotated[str | None, recipe_option("damsm")] = None,
    folder: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="Encoder folder to write.", show_default="encoders/damsm-NAME"),
    ] = None,
    resume: Resume = None,
    runs: Runs = Path("runs"),
    weights: Weights = None,
    device: Device = None,
    seed: Seed = None,
    dry_run: DryRun = False,
) -> None:
    """DAMSM (AttnGAN): words and sentences beside image regions and images in one space.

    Reports after every epoch how often held-out images and captions find each other.
    """
    _pretrain(out, "damsm", overrides, recipe, folder, resume, runs, weights, device, seed, dry_run)


@command(
    encoder_app,
    "char-cnn-rnn",
    examples=(
        "gancli pretrain-encoder char-cnn-rnn data=data/demo features.encoder=encoders/damsm-demo",
        "gancli pretrain-encoder char-cnn-rnn data=data/cub --export cub.npz",
    ),
    progress=True,
)
def char_cnn_rnn(
    out: Output,
    overrides: Overrides = None,
    recipe: Annotated[str | None, recipe_option("char-cnn-rnn")] = None,
    folder: Annotated[
        Path | None,
        typer.Option(
            "--out", "-o", help="Encoder folder to write.", show_default="encoders/char-cnn-rnn-NAME"
        ),
    ] = None,
    export: Annotated[
        Path | None,
        typer.Option(
            "--export", metavar="FILE.npz", help="Also write the vectors of all the dataset's captions."
        ),
    ] = None,
    resume: Resume = None,
    runs: Runs = Path("runs"),
    weights: Weights = None,
    device: Device = None,
    seed: Seed = None,
    dry_run: DryRun = False,
) -> None:
    """The character encoder (Reed et al. 2016) that StackGAN reads captions with.

    Learns beside frozen image features, which are computed once and kept in the dataset folder. Reports after every
    epoch how often held-out images and captions find their class, with chance beside. `gancli embed` writes the
    vectors of another dataset's captions.
    """
    _pretrain(
        out, "char-cnn-rnn", overrides, recipe, folder, resume, runs, weights, device, seed, dry_run, export
    )


@command(
    encoder_app,
    "speech",
    examples=(
        "gancli pretrain-encoder speech data=data/demo --out encoders/speech-demo",
        "gancli pretrain-encoder speech data=data/cub",
        "gancli pretrain-encoder speech data=data/cub validation.select_on=test model.mask_padding=false",
    ),
    progress=True,
)
def speech(
    out: Output,
    overrides: Overrides = None,
    recipe: Annotated[str | None, recipe_option("speech")] = None,
    folder: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="Encoder folder to write.", show_default="encoders/speech-NAME"),
    ] = None,
    resume: Resume = None,
    runs: Runs = Path("runs"),
    weights: Weights = None,
    device: Device = None,
    seed: Seed = None,
    dry_run: DryRun = False,
) -> None:
    """The speech encoder (S2IGAN, Fusion-S2iGan): spoken captions beside images in one space.

    Needs a dataset prepared with speech. Reports every few epochs how well held-out images and spoken captions find
    each other, with chance beside, and keeps the vectors of all spoken captions in the dataset folder.
    """
    _pretrain(out, "speech", overrides, recipe, folder, resume, runs, weights, device, seed, dry_run)


@command(
    encoder_app,
    "classifier",
    examples=(
        "gancli pretrain-encoder classifier data=data/demo split=test --out encoders/judge-demo",
        "gancli pretrain-encoder classifier data=data/cub",
        "gancli pretrain-encoder classifier --recipe classifier/cub-small data=data/cub-64 train.minutes=20",
    ),
    progress=True,
)
def classifier(
    out: Output,
    overrides: Overrides = None,
    recipe: Annotated[str | None, recipe_option("classifier")] = None,
    folder: Annotated[
        Path | None,
        typer.Option(
            "--out", "-o", help="Encoder folder to write.", show_default="encoders/classifier-NAME-SPLIT"
        ),
    ] = None,
    resume: Resume = None,
    runs: Runs = Path("runs"),
    weights: Weights = None,
    device: Device = None,
    seed: Seed = None,
    dry_run: DryRun = False,
) -> None:
    """A classifier of a split's classes: the judge of the Inception score, and image features.

    Reports after every epoch how many held-out images it gets right, in per cent, with chance beside.
    """
    _pretrain(out, "classifier", overrides, recipe, folder, resume, runs, weights, device, seed, dry_run)


def _pretrain(
    out: Output,
    kind: str,
    overrides: Sequence[str] | None,
    recipe: str | None,
    folder: Path | None,
    resume: Path | None,
    runs: Path,
    weights: Path | None,
    device: str | None,
    seed: int | None,
    dry_run: bool,
    export: Path | None = None,
) -> None:
    """What every encoder's command does; `export` names a file for the vectors of all captions."""
    from gancli.config import ClassifierRecipe, EncoderRecipe

    set_rank(out)
    resume = find_run(resume, kind, runs, overrides)
    name, found = find_recipe(kind, recipe, resume, overrides, device, seed)
    resolved = cast(EncoderRecipe, found)
    # "cub-small" of the recipe damsm/cub-small or of the run runs/0003-damsm-cub-small
    short = Path(name).stem if resume is None else resume.name.partition(f"-{kind}-")[2] or resume.name
    if isinstance(resolved, ClassifierRecipe):
        short += f"-{resolved.split}"
    target = folder or Path("encoders") / f"{kind}-{short}"
    if dry_run:
        written = {"run": runs, "encoder": target}
        show_plan(out, name, resolved, written if export is None else {**written, "embeddings": export})
        return
    from gancli.cli.embed import write_embeddings
    from gancli.training import pretrain_encoder

    out.note(f"recipe {name}")
    with followed(out) as events:
        result = pretrain_encoder(
            resolved, out=target, runs=runs, resume=resume, weights=weights, events=events
        )
    if export is not None and result.loop.interrupted is None:
        count = write_embeddings(out, resolved.data, result.output, export, resolved.train.device)
        out.note(f"vectors of {count:,} captions: {export}")
    again = f"gancli pretrain-encoder {kind} --resume {{run}} --out {target}"
    finish(out, "encoder", result, again if export is None else f"{again} --export {export}")
