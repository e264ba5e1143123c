"""Trainings behind `gancli train` and `gancli pretrain-encoder`: from a recipe to a run folder.

Recipe, data, networks and engine meet here and know nothing of each other. One module per model and encoder; `run.py`
holds what they share.
"""

from __future__ import annotations

import signal
import threading
from pathlib import Path

from gancli.config import BaseRecipe, load_recipe
from gancli.engine import distributed
from gancli.engine.compiling import check_compiler
from gancli.engine.device import pick_device
from gancli.engine.events import Events
from gancli.engine.ranks import process_rank
from gancli.errors import ConfigError, UsageError
from gancli.registry import ENCODERS, MODELS, Row, resolve
from gancli.run_paths import resume_path_of
from gancli.training.run import Request, RunResult

__all__ = ["RunResult", "pretrain_encoder", "train"]


def train(
    recipe: BaseRecipe | str | Path,
    *,
    runs: str | Path = Path("runs"),
    name: str | None = None,
    resume: str | Path | None = None,
    init_from: str | Path | None = None,
    weights: str | Path | None = None,
    events: Events | None = None,
) -> RunResult:
    """Train the model of a recipe, on one process or, under torchrun or srun, on several.

    Each process calls this with the same arguments. They take the batches of a step together, so that a step of N
    processes learns from N * loader.batch images; process 0 writes the run folder and reports.

    Args:
        recipe: Recipe from `gancli.load_recipe`, or name or file of one.
        runs: Folder in which a numbered run folder is made.
        name: End of the run folder's name, which is `0003-NAME`; None for model and dataset.
        resume: Run to continue: its folder, the `model/` or a checkpoint in it, or `latest`. The recipe must be the
            same.
        init_from: Model folder (generator) or run (all networks) to take the first weights from.
        weights: File of the VGG-16 weights of CSF-GAN's perceptual loss; None looks where `gancli.weights` looks.
        events: Receiver of progress.

    Returns:
        The run folder, with `model/` (averaged weights), `initial/` (the same before the first step), `log.csv`,
        `samples/` and `checkpoints/`.

    Raises:
        DataError: Dataset or encoder are missing, broken, or do not belong together.
        ConfigError: The recipe does not fit the dataset, the encoder or the machine.
        UsageError: The run to be resumed had another recipe.
        RunError: A loss became NaN or infinite, a checkpoint cannot be read or written, or another process has ended.
    """
    recipe, row = _recipe_and_row(recipe, MODELS)
    try:
        with distributed.process_group(pick_device(recipe.train.device)) as device:
            if recipe.train.compile:
                check_compiler(device)
            request = Request(
                recipe,
                device,
                events if events and distributed.rank() == 0 else Events(),
                Path(runs),
                _resumed(recipe, resume, runs),
                name,
                init_from,
                None if weights is None else Path(weights),
            )
            result: RunResult = resolve(row.train)(request)
            return result
    except distributed.LostProcess:
        # torchrun sends SIGTERM to the others as soon as one has gone: the message comes first
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
        raise


def pretrain_encoder(
    recipe: BaseRecipe | str | Path,
    *,
    out: str | Path,
    runs: str | Path = Path("runs"),
    name: str | None = None,
    resume: str | Path | None = None,
    weights: str | Path | None = None,
    events: Events | None = None,
) -> RunResult:
    """Train the encoder of a recipe, on one process.

    Args:
        recipe: Recipe from `gancli.load_recipe`, or name or file of one.
        out: Encoder folder to write.
        runs: Folder in which a numbered run folder is made.
        name: End of the run folder's name, which is `0003-NAME`; None for encoder and dataset.
        resume: Run to continue: its folder, a checkpoint in it, the encoder folder it wrote, or `latest`.
        weights: File of the backbone's published weights; None looks where `gancli.weights` looks.
        events: Receiver of progress.

    Returns:
        The run folder and the encoder folder.

    Raises:
        DataError: The dataset is missing, broken, or lacks what the encoder learns from.
        ConfigError: The recipe does not fit the dataset or the machine.
        UsageError: There are several processes, or the run to be resumed had another recipe.
        RunError: A loss became NaN or infinite, or a checkpoint cannot be read or written.
    """
    recipe, row = _recipe_and_row(recipe, ENCODERS)
    if (processes := process_rank().world_size) > 1:
        raise UsageError(
            f"encoders are trained on one process, here are {processes}",
            "start it without --nproc, torchrun or srun; gancli train takes several",
        )
    if recipe.train.sync_batch_norm:
        raise ConfigError("train.sync_batch_norm: encoders are trained on one process", "Leave it out.")
    if recipe.train.activation_checkpointing:
        raise ConfigError(
            "train.activation_checkpointing: no block of an encoder is recomputed",
            "Leave it out; a smaller loader.batch takes less memory.",
        )
    device = pick_device(recipe.train.device)
    if recipe.train.compile:
        check_compiler(device)
    request = Request(
        recipe,
        device,
        events or Events(),
        Path(runs),
        _resumed(recipe, resume, runs),
        name,
        weights=None if weights is None else Path(weights),
        out=Path(out),
    )
    result: RunResult = resolve(row.train)(request)
    return result


def _recipe_and_row(recipe: BaseRecipe | str | Path, rows: dict[str, Row]) -> tuple[BaseRecipe, Row]:
    if not isinstance(recipe, BaseRecipe):
        recipe = load_recipe(recipe)
    if recipe.kind not in rows:
        function = "pretrain_encoder" if rows is MODELS else "train"
        raise UsageError(f"{recipe.kind} is trained by gancli.{function}")
    return recipe, rows[recipe.kind]


def _resumed(recipe: BaseRecipe, resume: str | Path | None, runs: str | Path) -> Path | None:
    if resume is None:
        return None
    stage = getattr(recipe, "stage", None)
    return resume_path_of(resume, (recipe.kind,), runs=runs, data=recipe.data, stage=stage)
