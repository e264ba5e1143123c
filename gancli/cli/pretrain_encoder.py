"""`gancli pretrain-encoder`: the encoders that a model is trained with, and the classifier it is judged by."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, cast

import typer

from gancli.cli.app import command, encoder_app
from gancli.cli.console import Output
from gancli.cli.training import (
    Device,
    DryRun,
    Overrides,
    Resume,
    Runs,
    Seed,
    find_recipe,
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

    Reports after every epoch how often held-out pictures and captions find each other.
    """
    from gancli.config import DamsmRecipe

    name, resolved = find_recipe("damsm", recipe, resume, overrides, device, seed)
    target = folder or Path("encoders") / f"damsm-{_short('damsm', name, resume)}"
    if dry_run:
        show_plan(out, name, resolved, {"run": runs, "encoder": target})
        return
    from gancli.training import pretrain_encoder

    out.note(f"recipe {name}")
    with followed(out) as events:
        result = pretrain_encoder(
            cast(DamsmRecipe, resolved), out=target, runs=runs, resume=resume, weights=weights, events=events
        )
    finish(out, "encoder", result, f"gancli pretrain-encoder damsm --resume {{run}} --out {target}")


@command(
    encoder_app,
    "char-cnn-rnn",
    examples=(
        "gancli pretrain-encoder char-cnn-rnn data=data/demo features.encoder=encoders/damsm-demo",
        "gancli pretrain-encoder char-cnn-rnn data=data/cub --export cub.npz",
        "gancli embed data/cub --encoder encoders/char-cnn-rnn-cub --out cub.npz",
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
    epoch how often held-out images and captions find their class, with chance beside.
    """
    from gancli.config import CharCnnRnnRecipe

    name, resolved = find_recipe("char-cnn-rnn", recipe, resume, overrides, device, seed)
    resolved = cast(CharCnnRnnRecipe, resolved)
    target = folder or Path("encoders") / f"char-cnn-rnn-{_short('char-cnn-rnn', name, resume)}"
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
    again = f"gancli pretrain-encoder char-cnn-rnn --resume {{run}} --out {target}"
    finish(out, "encoder", result, again if export is None else f"{again} --export {export}")


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
    from gancli.config import ClassifierRecipe

    name, resolved = find_recipe("classifier", recipe, resume, overrides, device, seed)
    resolved = cast(ClassifierRecipe, resolved)
    short = _short("classifier", name, resume)
    target = folder or Path("encoders") / f"classifier-{short}-{resolved.split}"
    if dry_run:
        show_plan(out, name, resolved, {"run": runs, "encoder": target})
        return
    from gancli.training import pretrain_encoder

    out.note(f"recipe {name}, classes of split {resolved.split}")
    with followed(out) as events:
        result = pretrain_encoder(
            resolved, out=target, runs=runs, resume=resume, weights=weights, events=events
        )
    finish(out, "encoder", result, f"gancli pretrain-encoder classifier --resume {{run}} --out {target}")


def _short(kind: str, name: str, resume: Path | None) -> str:
    """What follows the kind in the default folder's name: "cub-small" of the recipe damsm/cub-small."""
    if resume is not None:
        return resume.name.partition(f"-{kind}-")[2] or resume.name  # runs/0003-damsm-cub
    return Path(name).stem
