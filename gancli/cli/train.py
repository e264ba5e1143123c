"""`gancli train`: a model on a dataset and its encoder."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from gancli.cli.app import command, train_app
from gancli.cli.console import Output
from gancli.cli.launch import Processes, launch, set_rank
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
from gancli.errors import UsageError

if TYPE_CHECKING:
    from gancli.config import ModelRecipe

InitFrom = Annotated[
    Path | None,
    typer.Option(
        "--init-from", metavar="MODEL|RUN", help="Start anew from the weights of a model or run folder."
    ),
]


@command(
    train_app,
    "ffgan",
    examples=(
        "gancli train ffgan data=data/demo encoder=encoders/damsm-demo",
        "gancli train ffgan --resume runs/0001-ffgan-demo",
    ),
    progress=True,
)
def ffgan(
    out: Output,
    overrides: Overrides = None,
    recipe: Annotated[str | None, recipe_option("ffgan")] = None,
    resume: Resume = None,
    init_from: InitFrom = None,
    runs: Runs = Path("runs"),
    device: Device = None,
    seed: Seed = None,
    nproc: Processes = None,
    dry_run: DryRun = False,
) -> None:
    """FF-GAN: text to image in stages, the words fused into the features.

    Ctrl-C and SIGTERM save a checkpoint at the next step; --resume continues bit for bit.
    """
    _train(out, "ffgan", overrides, recipe, resume, init_from, runs, device, seed, nproc, dry_run)


@command(
    train_app,
    "stackgan",
    examples=(
        "gancli train stackgan stage=1 data=data/demo encoder=encoders/char-cnn-rnn-demo",
        "gancli train stackgan stage=2 init.stage1=runs/0001-stackgan-demo-stage1 data=data/demo "
        "encoder=encoders/char-cnn-rnn-demo",
    ),
    progress=True,
)
def stackgan(
    out: Output,
    overrides: Overrides = None,
    recipe: Annotated[str | None, recipe_option("stackgan")] = None,
    resume: Resume = None,
    init_from: InitFrom = None,
    runs: Runs = Path("runs"),
    device: Device = None,
    seed: Seed = None,
    nproc: Processes = None,
    dry_run: DryRun = False,
) -> None:
    """StackGAN: Stage I sketches a sentence, Stage II redraws the sketch four times as large.

    text=damsm takes the sentence vectors of a DAMSM encoder, text=precomputed those of a file (embeddings=FILE.npz).

    Ctrl-C and SIGTERM save a checkpoint at the next step; --resume continues bit for bit.
    """
    stage = _stage(overrides, ("1", "2"), "Stage II stands on a trained Stage I.")
    _train(
        out,
        "stackgan",
        overrides,
        recipe,
        resume,
        init_from,
        runs,
        device,
        seed,
        nproc,
        dry_run,
        f"-stage{stage}",
    )


@command(
    train_app,
    "attr2image",
    examples=(
        "gancli train attr2image stage=shape data=data/demo",
        "gancli train attr2image stage=image init.shape=runs/0001-attr2image-demo-shape data=data/demo",
        "gancli train attr2image stage=shape data=data/cub model.conditional=false model.local=false",
    ),
    progress=True,
)
def attr2image(
    out: Output,
    overrides: Overrides = None,
    recipe: Annotated[str | None, recipe_option("attr2image")] = None,
    resume: Resume = None,
    init_from: InitFrom = None,
    runs: Runs = Path("runs"),
    device: Device = None,
    seed: Seed = None,
    nproc: Processes = None,
    dry_run: DryRun = False,
) -> None:
    """attr2image: attributes to a silhouette (stage=shape), silhouette and attributes to an image (stage=image).

    Needs a dataset with attributes and silhouettes: gancli prepare cub --silhouettes …, or gancli prepare demo. With
    init.shape the model folder of stage=image holds both stages.

    Ctrl-C and SIGTERM save a checkpoint at the next step; --resume continues bit for bit.
    """
    stage = _stage(
        overrides, ("shape", "image"), "stage=image paints the silhouettes that stage=shape draws."
    )
    _train(
        out,
        "attr2image",
        overrides,
        recipe,
        resume,
        init_from,
        runs,
        device,
        seed,
        nproc,
        dry_run,
        f"-{stage}",
    )


@command(
    train_app,
    "fusion-s2igan",
    examples=(
        "gancli train fusion-s2igan data=data/demo encoder=encoders/speech-demo",
        "gancli train fusion-s2igan condition=sentence data=data/demo encoder=encoders/damsm-demo",
        "gancli train fusion-s2igan --recipe dfgan/cub data=data/cub encoder=encoders/damsm-cub",
    ),
    progress=True,
)
def fusion_s2igan(
    out: Output,
    overrides: Overrides = None,
    recipe: Annotated[str | None, recipe_option("fusion-s2igan")] = None,
    resume: Resume = None,
    init_from: InitFrom = None,
    runs: Runs = Path("runs"),
    device: Device = None,
    seed: Seed = None,
    nproc: Processes = None,
    dry_run: DryRun = False,
) -> None:
    """Fusion-S2iGan: speech to image in one stage. With the recipe dfgan/cub it is DF-GAN, text to image.

    condition=sentence takes the sentence vectors of a DAMSM or char-CNN-RNN encoder instead of speech.

    Ctrl-C and SIGTERM save a checkpoint at the next step; --resume continues bit for bit.
    """
    _train(out, "fusion-s2igan", overrides, recipe, resume, init_from, runs, device, seed, nproc, dry_run)


@command(
    train_app,
    "csfgan",
    examples=(
        "gancli train csfgan data=data/demo encoder=encoders/damsm-demo",
        "gancli train csfgan data=data/cub encoder=encoders/damsm-cub holes.kind=mix",
        "gancli train csfgan data=data/cub encoder=encoders/damsm-cub loss.perceptual=0",
    ),
    progress=True,
)
def csfgan(
    out: Output,
    overrides: Overrides = None,
    recipe: Annotated[str | None, recipe_option("csfgan")] = None,
    resume: Resume = None,
    init_from: InitFrom = None,
    weights: Annotated[
        Path | None,
        typer.Option(
            "--weights",
            help="File or folder of the VGG-16 weights of the perceptual loss.",
            show_default="downloaded and checked",
        ),
    ] = None,
    runs: Runs = Path("runs"),
    device: Device = None,
    seed: Seed = None,
    nproc: Processes = None,
    dry_run: DryRun = False,
) -> None:
    """CSF-GAN: fills the hole of an image as a sentence says. gancli inpaint uses it.

    The perceptual loss compares features of VGG-16; loss.perceptual=0 trains without it and its weights.

    Ctrl-C and SIGTERM save a checkpoint at the next step; --resume continues bit for bit.
    """
    _train(
        out,
        "csfgan",
        overrides,
        recipe,
        resume,
        init_from,
        runs,
        device,
        seed,
        nproc,
        dry_run,
        weights=weights,
    )


def _stage(overrides: Sequence[str] | None, stages: tuple[str, str], hint: str) -> str:
    """The stage that the overrides name, or the first one: it decides which recipe is taken.

    Raises:
        UsageError: They name none of the two.
    """
    stage = next((text.partition("=")[2] for text in overrides or () if text.startswith("stage=")), stages[0])
    if stage not in stages:
        raise UsageError(f"stage: received {stage!r}, allowed: {', '.join(stages)}", hint)
    return stage


def _train(
    out: Output,
    kind: str,
    overrides: Sequence[str] | None,
    recipe: str | None,
    resume: Path | None,
    init_from: Path | None,
    runs: Path,
    device: str | None,
    seed: int | None,
    nproc: int | None,
    dry_run: bool,
    variant: str = "",
    weights: Path | None = None,
) -> None:
    """What every model's command does; `variant` follows the dataset's name in the recipe's."""
    set_rank(out, nproc)
    if resume is not None and init_from is not None:
        raise UsageError(
            "--resume and --init-from: a run is either continued or started anew", "leave one of them out"
        )
    resume = find_run(resume, kind, runs, overrides)
    name, resolved = find_recipe(kind, recipe, resume, overrides, device, seed, variant)
    if dry_run:
        show_plan(out, name, resolved, {"run": resume or runs})
        return
    if nproc is not None and nproc > 1:
        raise typer.Exit(launch(out, cast("ModelRecipe", resolved), nproc))
    from gancli.training import train

    out.note(f"recipe {name}")
    with followed(out) as events:
        result = train(
            cast("ModelRecipe", resolved),
            runs=runs,
            resume=resume,
            init_from=init_from,
            weights=weights,
            events=events,
        )
    world = out.process.world_size
    all_here = world > 1 and os.environ.get("LOCAL_WORLD_SIZE") == str(world)
    finish(out, "model", result, f"gancli train {kind} --resume {{run}}" + f" --nproc {world}" * all_here)
