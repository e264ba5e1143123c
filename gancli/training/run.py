"""What all trainings share: the run folder, the engine's settings, weights to start from, the result."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

import numpy as np
import torch
import yaml
from PIL import Image
from torch import nn

from gancli.config import ModelRecipe, Recipe, TrainSection, dump_recipe, load_recipe
from gancli.data.loader import BatchSource, Rank, batches
from gancli.data.shards import Dataset, Split
from gancli.engine import distributed
from gancli.engine.checkpoint import RunFolder, load_tensors, read_checkpoint, refuse_changes
from gancli.engine.events import Events
from gancli.engine.loop import Loop, LoopResult, LoopSettings, Networks
from gancli.engine.phases import Phase, Trainable
from gancli.errors import ConfigError, DataError, UsageError
from gancli.weights_folder import read_folder

GRID_CAPTIONS = 36  # images of a sample grid
REPORT_SECONDS = 10.0  # from one report of what is computed before a training to the next


@dataclass(frozen=True)
class RunResult:
    """What a training run leaves.

    Attributes:
        run: The run folder.
        output: The model folder (`train`) or encoder folder (`pretrain_encoder`).
        loop: Steps, images, seconds, last losses, and the signal that stopped it, if any.
    """

    run: Path
    output: Path
    loop: LoopResult


def open_run(recipe: Recipe, runs: Path, label: str, resume: Path | None) -> RunFolder:
    """A new numbered run folder with the resolved recipe, or the one to be resumed after comparing recipes.

    A key that recipes did not have when the run was made counts as its default.

    Raises:
        UsageError: The run to be resumed has another recipe or no checkpoint.
    """
    text = dump_recipe(recipe)

    def opened() -> RunFolder:
        if resume is None:
            run = RunFolder.create(runs, label)
        else:
            run = RunFolder.open(resume)
            refuse_changes(yaml.safe_load(dump_recipe(load_recipe(run.recipe))), yaml.safe_load(text))
            if run.resume_point() is None:
                raise UsageError(f"{run.path}: has no checkpoint to resume from", "Start a new run instead.")
        run.write_recipe(text)
        return run

    return distributed.from_main(opened)


class Share(TypedDict):
    """What a `BatchSource` takes of the recipe and of this process's place among several."""

    batch: int
    seed: int
    rank: Rank


def share_of(recipe: Recipe) -> Share:
    """This process's part of every batch."""
    return {
        "batch": recipe.loader.batch,
        "seed": recipe.train.seed,
        "rank": Rank(distributed.rank(), distributed.world_size()),
    }


def with_synced_norms(networks: Mapping[str, nn.Module], device: torch.device) -> None:
    """Batch norm over the images of all processes: makes it torch's SyncBatchNorm, in place, parameters kept.

    Raises:
        ConfigError: The device is no GPU.
    """
    if device.type != "cuda":
        raise ConfigError(
            f"train.sync_batch_norm: torch's SyncBatchNorm runs on CUDA only, this training on {device.type}",
            "Leave it out: each process then takes the statistics of its own images.",
        )
    for network in networks.values():
        nn.SyncBatchNorm.convert_sync_batchnorm(network)


def loop_settings(
    section: TrainSection, batches_per_epoch: int, batch: int, ema_decay: float | None
) -> LoopSettings:
    """The recipe's `train` section as the engine takes it; epochs become steps.

    Args:
        section: Of a recipe.
        batches_per_epoch: Of a process.
        batch: Images in each.
        ema_decay: None averages nothing.
    """
    steps_per_epoch = max(1, batches_per_epoch // section.grad_accumulation)
    limits = [section.steps, None if section.epochs is None else section.epochs * steps_per_epoch]
    steps = min((limit for limit in limits if limit is not None), default=None)
    return LoopSettings(
        steps=steps,
        minutes=section.minutes,
        log_every=section.log_every,
        sample_every=section.sample_every,
        checkpoint_every=section.checkpoint_every,
        keep=section.keep,
        precision=section.precision,
        channels_last=section.channels_last,
        compile=section.compile,
        activation_checkpointing=section.activation_checkpointing,
        deterministic=section.deterministic,
        seed=section.seed,
        ema_decay=ema_decay,
        steps_per_epoch=steps_per_epoch,
        batch=batch * section.grad_accumulation,
        grad_accumulation=section.grad_accumulation,
    )


def train_model(
    recipe: ModelRecipe,
    model: Trainable,
    source: BatchSource,
    device: torch.device,
    *,
    runs: Path,
    label: str,
    resume: Path | None,
    sample: Callable[[Networks, int], Image.Image],
    export: Callable[[Networks, Path, int, int], None],
    events: Events,
    on_epoch: Callable[[int], None] | None = None,
) -> RunResult:
    """The run itself, the same for all models once networks and data are there.

    Args:
        recipe: Of any model.
        model: As the engine trains it.
        source: Its batches.
        device: Where to.
        runs: A new numbered run folder is made here.
        label: What the folder's name ends in.
        resume: Continue this run folder instead.
        sample: From the networks and the step to a sample grid.
        export: Writes a model folder; called with the networks, an empty folder, the step and the number of images
            seen.
        events: Where progress goes.
        on_epoch: As `Loop` takes it.

    Raises:
        ConfigError: Batch norm cannot be synchronised on this device.
    """
    if recipe.train.sync_batch_norm:
        with_synced_norms(model.networks, device)
    run = open_run(recipe, runs, label, resume)
    if resume is None:  # to score "before training" with
        distributed.from_main(lambda: export(model.networks, run.path / "initial", 0, 0))
    loop = Loop(
        model,
        lambda start: batches(source, start, None, recipe.loader.workers),
        run,
        loop_settings(recipe.train, len(source), recipe.loader.batch, recipe.optim.ema_decay or None),
        device,
        sample=sample,
        export=lambda networks, folder, step: export(networks, folder, step, loop.images),
        on_epoch=on_epoch,
        events=events,
    )
    return RunResult(run.path, run.path / "model", loop.run())


def load_initial_weights(
    networks: Mapping[str, nn.Module], folder: Path, kind: str, prefix: str = "generator."
) -> None:
    """Weights to start from: all networks of a run's newest checkpoint, or the generator of a model folder.

    Args:
        networks: By name, with "generator".
        folder: Run or model folder.
        kind: That a model folder has to be of.
        prefix: Of the generator's tensors in a model folder.

    Raises:
        DataError: The folder is neither, or its networks have other shapes.
    """
    if (folder / "recipe.yaml").is_file():
        checkpoint = RunFolder.open(folder).resume_point()
        if checkpoint is None:
            raise DataError(f"{folder}: has no checkpoint to take weights from")
        load_tensors(networks, read_checkpoint(checkpoint).networks, checkpoint)
        return
    _, tensors, _ = read_folder(folder, kind)
    part = {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
    try:
        networks["generator"].load_state_dict(part)
    except RuntimeError as error:
        raise DataError(
            f"{folder}: its generator is not the recipe's: {error}",
            "Use the recipe it was trained with (gancli recipes show), or train from the start.",
        ) from error


class StepDecay:
    """Learning rates that are multiplied by `decay` after every `every` epochs.

    Called with the number of finished epochs, it sets the rates for the next; so a resumed run needs no state.

    Args:
        phases: Their optimizers, which have the rates of the first epoch now.
        decay: In (0, 1].
        every: Epochs from one decay to the next.
    """

    def __init__(self, phases: Sequence[Phase], decay: float, every: int) -> None:
        self.rates = [(phase.optimizer, float(phase.optimizer.param_groups[0]["lr"])) for phase in phases]
        self.decay = decay
        self.every = every

    def __call__(self, epoch: int) -> None:
        factor = self.decay ** (epoch // self.every)
        for optimizer, rate in self.rates:
            set_rate(optimizer, rate * factor)


def set_rate(optimizer: torch.optim.Optimizer, lr: float) -> None:
    """Sets the learning rate of all parameters."""
    for group in optimizer.param_groups:
        group["lr"] = lr


def grid_images(dataset: Dataset) -> tuple[Split, list[int]]:
    """The held-out images whose captions a run's sample grids show: spread evenly over the split."""
    split = dataset.split("test" if "test" in dataset.split_names else "train")
    count = min(GRID_CAPTIONS, len(split))
    return split, np.linspace(0, len(split) - 1, count).astype(int).tolist()


def reporter(events: Events, what: str, unit: str) -> Callable[[int, int], None]:
    """Tells from time to time, and at the end, how far what a training begins with is.

    Args:
        events: Where to.
        what: Is computed ("image features").
        unit: What is counted ("images").

    Returns:
        To be called with the numbers done and in all.
    """
    last = time.monotonic()

    def report(done: int, total: int) -> None:
        nonlocal last
        if done == total or time.monotonic() - last >= REPORT_SECONDS:
            last = time.monotonic()
            events.emit("progress", f"{what}: {done:,} of {total:,} {unit}", done=done, total=total)

    return report
