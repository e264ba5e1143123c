"""The workflows behind `gancli train` and `gancli pretrain-encoder`: from a recipe to a run folder.

Here recipe, data, networks and engine meet; each of them knows nothing of the others. One module per recipe.
"""

from __future__ import annotations

import signal
import threading
from pathlib import Path

import torch

from gancli.config import (
    Attr2ImageRecipe,
    CharCnnRnnRecipe,
    ClassifierRecipe,
    CSFGANRecipe,
    EncoderRecipe,
    FusionS2iGanRecipe,
    ModelRecipe,
    SpeechRecipe,
    StackGANRecipe,
)
from gancli.data.loader import refuse_small_split
from gancli.data.shards import Dataset
from gancli.engine import distributed
from gancli.engine.compiling import check_compiler
from gancli.engine.device import pick_device
from gancli.engine.events import Events
from gancli.engine.ranks import process_rank
from gancli.errors import ConfigError, UsageError
from gancli.training.attr2image import train_attr2image
from gancli.training.char_cnn_rnn import pretrain_char_cnn_rnn
from gancli.training.classifier import pretrain_classifier
from gancli.training.csfgan import train_csfgan
from gancli.training.damsm import pretrain_damsm
from gancli.training.ffgan import train_ffgan
from gancli.training.fusion_s2igan import train_fusion_s2igan
from gancli.training.run import RunResult
from gancli.training.speech import pretrain_speech
from gancli.training.stackgan import train_stackgan

__all__ = ["RunResult", "pretrain_encoder", "train"]


def train(
    recipe: ModelRecipe,
    *,
    runs: Path = Path("runs"),
    resume: Path | None = None,
    init_from: Path | None = None,
    weights: Path | None = None,
    events: Events | None = None,
) -> RunResult:
    """Trains the model that a recipe describes, on one process or, under torchrun or srun, on several.

    Each of the processes calls this with the same arguments. They take the batches of one step together, so that a step
    of N processes learns from N * loader.batch images; process 0 writes the run folder and reports.

    Args:
        recipe: From `gancli.config.load_recipe`.
        runs: A new numbered run folder is made here.
        resume: Continue this run folder instead, from its newest checkpoint; the recipe must be the same.
        init_from: Start anew from the weights of a model folder (generator) or a run folder (all networks).
        weights: File of the VGG-16 weights of CSF-GAN's perceptual loss; None looks where `gancli.weights` looks.
        events: Where progress goes.

    Returns:
        The run folder, with `model/` (EMA weights), `initial/` (the same before the first step), `log.csv`,
        `samples/` and `checkpoints/`.

    Raises:
        DataError: Dataset or encoder are missing, broken, or do not belong together.
        ConfigError: The recipe does not fit the encoder or the machine.
        UsageError: The run to be resumed had another recipe.
        RunError: A loss became NaN or infinite, a checkpoint cannot be read or written, or another process has ended.
    """
    try:
        with distributed.process_group(pick_device(recipe.train.device)) as device:
            if recipe.train.compile:
                check_compiler(device)
            reported = events if events and distributed.rank() == 0 else Events()
            return _train(recipe, device, reported, runs, resume, init_from, weights)
    except distributed.LostProcess:
        # torchrun sends SIGTERM to the others as soon as one has gone: the message comes first
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
        raise


def _train(
    recipe: ModelRecipe,
    device: torch.device,
    events: Events,
    runs: Path,
    resume: Path | None,
    init_from: Path | None,
    weights: Path | None,
) -> RunResult:
    dataset = Dataset.open(recipe.data)
    # before anything is computed for it; BatchSource, which may take a part of the split, looks again
    split = dataset.split("train")
    refuse_small_split(split, len(split), recipe.loader.batch, distributed.world_size())
    given = (dataset, device, events)
    if isinstance(recipe, StackGANRecipe):
        return train_stackgan(recipe, *given, runs=runs, resume=resume, init_from=init_from)
    if isinstance(recipe, Attr2ImageRecipe):
        return train_attr2image(recipe, *given, runs=runs, resume=resume, init_from=init_from)
    if isinstance(recipe, FusionS2iGanRecipe):
        return train_fusion_s2igan(recipe, *given, runs=runs, resume=resume, init_from=init_from)
    if isinstance(recipe, CSFGANRecipe):
        return train_csfgan(recipe, *given, runs=runs, resume=resume, init_from=init_from, weights=weights)
    return train_ffgan(recipe, *given, runs=runs, resume=resume, init_from=init_from)


def pretrain_encoder(
    recipe: EncoderRecipe,
    *,
    out: Path,
    runs: Path = Path("runs"),
    resume: Path | None = None,
    weights: Path | None = None,
    events: Events | None = None,
) -> RunResult:
    """Trains the encoder that a recipe describes, on one process.

    Args:
        recipe: From `gancli.config.load_recipe`.
        out: The encoder folder to write.
        runs: A new numbered run folder is made here.
        resume: Continue this run folder instead.
        weights: File of the backbone's ImageNet weights; None looks where `gancli.weights` looks.
        events: Where progress goes.

    Raises:
        UsageError: There are several processes.
        Otherwise as `train`.
    """
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
    if recipe.train.compile:
        check_compiler(pick_device(recipe.train.device))
    if isinstance(recipe, CharCnnRnnRecipe):
        return pretrain_char_cnn_rnn(
            recipe, out=out, runs=runs, resume=resume, weights=weights, events=events
        )
    if isinstance(recipe, SpeechRecipe):
        return pretrain_speech(recipe, out=out, runs=runs, resume=resume, weights=weights, events=events)
    if isinstance(recipe, ClassifierRecipe):
        return pretrain_classifier(recipe, out=out, runs=runs, resume=resume, weights=weights, events=events)
    return pretrain_damsm(recipe, out=out, runs=runs, resume=resume, weights=weights, events=events)
