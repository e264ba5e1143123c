"""`train` and `pretrain_encoder`: from a recipe to a run folder and what it leaves behind, a model or encoder folder.

Here recipe, data, networks and engine meet; each of them knows nothing of the others.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import yaml
from PIL import Image
from torch import Tensor, nn

import gancli
from gancli.build import (
    build_damsm,
    build_ffgan,
    encoder_arguments,
    generator_arguments,
    pick_device,
)
from gancli.config import DamsmRecipe, FFGANRecipe, Recipe, TrainSection, dump_recipe
from gancli.data.loader import BatchSource, batches, evaluation_batches
from gancli.data.shards import Dataset, Split
from gancli.data.text import pad_tokens
from gancli.encoders.damsm import DamsmPretraining, load_damsm, save_damsm
from gancli.engine.checkpoint import (
    RunFolder,
    load_tensors,
    read_checkpoint,
    refuse_changes,
    seed_everything,
)
from gancli.engine.events import Events
from gancli.engine.loop import Loop, LoopResult, LoopSettings
from gancli.errors import DataError, UsageError
from gancli.inference.figures import grid
from gancli.inference.model_folder import load_model, save_model
from gancli.losses.matching import cosine_similarity_matrix, word_mask
from gancli.scores.retrieval import CANDIDATES, r_precision

GRID_CAPTIONS = 36  # pictures of the sample grid
HELD_OUT_IMAGES = 1000  # at most, for the encoder's report after each epoch


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


def train(
    recipe: FFGANRecipe,
    *,
    runs: Path = Path("runs"),
    resume: Path | None = None,
    init_from: Path | None = None,
    events: Events | None = None,
) -> RunResult:
    """Trains FF-GAN as a recipe says.

    Args:
        recipe: From `gancli.config.load_recipe`.
        runs: A new numbered run folder is made here.
        resume: Continue this run folder instead, from its newest checkpoint; the recipe must be the same.
        init_from: Start anew from the weights of a model folder (generator) or a run folder (all networks).
        events: Where progress goes.

    Returns:
        The run folder, with `model/` (EMA weights), `initial/` (the same before the first step), `log.csv`,
        `samples/` and `checkpoints/`.

    Raises:
        DataError: Dataset or encoder are missing, broken, or do not belong together.
        ConfigError: The recipe does not fit the encoder or the machine.
        UsageError: The run to be resumed had another recipe.
        RunError: A loss became NaN or infinite, or a checkpoint cannot be read or written.
    """
    device = pick_device(recipe.train.device)
    dataset = Dataset.open(recipe.data)
    encoder = load_damsm(recipe.encoder, device)
    encoder.check_vocabulary(dataset.vocabulary, dataset.path)
    seed_everything(recipe.train.seed)
    model = build_ffgan(recipe, encoder, device)
    if init_from is not None:
        load_initial_weights(model.networks, init_from, device)
    source = BatchSource(
        dataset.split("train"),
        sizes=recipe.model.stages,
        batch=recipe.loader.batch,
        words=recipe.loader.words,
        seed=recipe.train.seed,
    )
    conditions = GridConditions.choose(dataset, recipe, device)

    def sample(networks: Mapping[str, nn.Module], step: int) -> Image.Image:
        return conditions.draw(networks["generator"], encoder.text)

    def export(networks: Mapping[str, nn.Module], folder: Path, step: int) -> None:
        settings = {
            "kind": "ffgan",
            "gancli": gancli.__version__,
            "dataset": dataset.name,
            "words": recipe.loader.words,
            "step": step,
            "images_seen": step * recipe.loader.batch,
            "encoder_hash": encoder.hash,
            "generator": generator_arguments(recipe.model),
            "text": dict(encoder.settings["text"]),
        }
        save_model(folder, networks["generator"], encoder.text, encoder.vocabulary, settings)

    run = open_run(recipe, runs, f"ffgan-{dataset.name}", resume)
    if resume is None:
        export(model.networks, run.path / "initial", 0)  # to score "before training" with
    loop = Loop(
        model,
        lambda start: batches(source, start, None, recipe.loader.workers),
        run,
        loop_settings(recipe.train, len(source), recipe.loader.batch, recipe.optim.ema_decay),
        device,
        sample=sample,
        export=export,
        events=events or Events(),
    )
    return RunResult(run.path, run.path / "model", loop.run())


def pretrain_encoder(
    recipe: DamsmRecipe,
    *,
    out: Path,
    runs: Path = Path("runs"),
    resume: Path | None = None,
    weights: Path | None = None,
    events: Events | None = None,
) -> RunResult:
    """Trains the DAMSM encoders as a recipe says, and reports after each epoch how well they retrieve held-out pairs.

    Args:
        recipe: From `gancli.config.load_recipe`.
        out: The encoder folder to write.
        runs: A new numbered run folder is made here.
        resume: Continue this run folder instead.
        weights: File of the backbone's ImageNet weights; None looks where `gancli.weights` looks.
        events: Where progress goes.

    Raises:
        As `train`.
    """
    device = pick_device(recipe.train.device)
    dataset = Dataset.open(recipe.data)
    arguments = encoder_arguments(recipe.model, dataset.image_size)
    seed_everything(recipe.train.seed)
    model = build_damsm(recipe, arguments, len(dataset.vocabulary), device, weights)
    size = min(arguments["image"]["size"], dataset.image_size)
    source = BatchSource(
        dataset.split("train"),
        sizes=[size],
        batch=recipe.loader.batch,
        words=recipe.loader.words,
        seed=recipe.train.seed,
    )
    held_out = dataset.split("test") if "test" in dataset.split_names else dataset.split("train")
    schedule = EpochSchedule(model.optimizer, recipe)

    def evaluate(networks: Mapping[str, nn.Module], step: int) -> dict[str, float]:
        return retrieval_report(model, held_out, size, recipe.loader.batch, recipe.loader.words, device)

    def export(networks: Mapping[str, nn.Module], folder: Path, step: int) -> None:
        settings = {
            "gancli": gancli.__version__,
            "dataset": dataset.name,
            "words": recipe.loader.words,
            "step": step,
            "seed": recipe.train.seed,
            **arguments,
        }
        save_damsm(folder, model.text, model.image, dataset.vocabulary, settings)

    run = open_run(recipe, runs, f"damsm-{dataset.name}", resume)
    loop = Loop(
        model,
        lambda start: batches(source, start, None, recipe.loader.workers),
        run,
        loop_settings(recipe.train, len(source), recipe.loader.batch, None),
        device,
        sample=None,
        evaluate=evaluate,
        evaluate_every=len(source),
        export=export,
        on_epoch=schedule,
        events=events or Events(),
    )
    result = loop.run()
    if result.interrupted is None:
        export({}, out, result.step)
    return RunResult(run.path, out, result)


# --- pieces of both -------------------------------------------------------------------------------------------


def open_run(recipe: Recipe, runs: Path, label: str, resume: Path | None) -> RunFolder:
    """A new numbered run folder with the resolved recipe, or the one to be resumed after comparing recipes.

    Raises:
        UsageError: The run to be resumed has another recipe or no checkpoint.
    """
    text = dump_recipe(recipe)
    if resume is None:
        run = RunFolder.create(runs, label)
    else:
        run = RunFolder.open(resume)
        refuse_changes(yaml.safe_load(run.recipe.read_text(encoding="utf-8")), yaml.safe_load(text))
        if run.resume_point() is None:
            raise UsageError(f"{run.path}: has no checkpoint to resume from", "Start a new run instead.")
    run.write_recipe(text)
    return run


def loop_settings(
    section: TrainSection, steps_per_epoch: int, batch: int, ema_decay: float | None
) -> LoopSettings:
    """The recipe's `train` section as the engine takes it; epochs become steps."""
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
        deterministic=section.deterministic,
        seed=section.seed,
        ema_decay=ema_decay,
        steps_per_epoch=steps_per_epoch,
        batch=batch,
    )


@dataclass(frozen=True)
class GridConditions:
    """The captions and the noise of a run's sample grids: the same from the first grid to the last.

    Attributes:
        tokens: (N, L).
        lengths: (N,).
        noise: (N, Z).
        condition_noise: (N, C).
    """

    tokens: Tensor
    lengths: Tensor
    noise: Tensor
    condition_noise: Tensor

    @classmethod
    def choose(cls, dataset: Dataset, recipe: FFGANRecipe, device: torch.device) -> GridConditions:
        """Captions of held-out images spread evenly over the split, noise from the recipe's seed."""
        split = dataset.split("test" if "test" in dataset.split_names else "train")
        count = min(GRID_CAPTIONS, len(split))
        indices = np.linspace(0, len(split) - 1, count).astype(int)
        words = recipe.loader.words
        tokens, lengths = pad_tokens([split.tokens(int(i))[0][:words] for i in indices], words)
        generator = torch.Generator().manual_seed(recipe.train.seed)
        noise = torch.randn(count, recipe.model.noise_dim, generator=generator)
        condition_noise = torch.randn(count, recipe.model.condition_dim, generator=generator)
        return cls(
            torch.from_numpy(tokens).to(device),
            torch.from_numpy(lengths).to(device),
            noise.to(device),
            condition_noise.to(device),
        )

    @torch.no_grad()
    def draw(self, generator: nn.Module, text_encoder: nn.Module) -> Image.Image:
        """One picture per caption, of the largest stage."""
        words, sentence = text_encoder(self.tokens, self.lengths)
        mask = word_mask(self.lengths, self.tokens.shape[1])
        output = generator(sentence, words, mask, self.noise, self.condition_noise)
        return grid(output.images[-1])


def load_initial_weights(networks: Mapping[str, nn.Module], folder: Path, device: torch.device) -> None:
    """Weights to start from: all networks of a run's newest checkpoint, or the generator of a model folder.

    Raises:
        DataError: The folder is neither, or its networks have other shapes.
    """
    if (folder / "recipe.yaml").is_file():
        checkpoint = RunFolder.open(folder).resume_point()
        if checkpoint is None:
            raise DataError(f"{folder}: has no checkpoint to take weights from")
        load_tensors(networks, read_checkpoint(checkpoint).networks, checkpoint)
        return
    loaded = load_model(folder, device)
    try:
        networks["generator"].load_state_dict(loaded.generator.state_dict())
    except RuntimeError as error:
        raise DataError(
            f"{folder}: its generator is not the recipe's: {error}",
            "Use the recipe it was trained with (gancli recipes show), or train from the start.",
        ) from error


class EpochSchedule:
    """The learning rate of DAMSM: multiplied after each epoch while above a floor (AttnGAN code).

    Called with the number of finished epochs, it sets the rate for the next; so a resumed run needs no state.
    """

    def __init__(self, optimizer: torch.optim.Optimizer, recipe: DamsmRecipe) -> None:
        self.optimizer = optimizer
        self.optim = recipe.optim

    def __call__(self, epoch: int) -> None:
        decays = epoch
        if self.optim.lr_decay < 1 and self.optim.lr > self.optim.lr_floor > 0:
            most = math.ceil(math.log(self.optim.lr_floor / self.optim.lr) / math.log(self.optim.lr_decay))
            decays = min(epoch, most)
        for group in self.optimizer.param_groups:
            group["lr"] = self.optim.lr * self.optim.lr_decay**decays
        if self.optim.reset_each_epoch and epoch > 0:
            self.optimizer.state.clear()


@torch.no_grad()
def retrieval_report(
    model: DamsmPretraining, split: Split, size: int, batch: int, words: int, device: torch.device
) -> dict[str, float]:
    """How well held-out pictures and captions find each other by their global codes, in per cent.

    Args:
        model: Networks in eval mode.
        split: Held-out pairs; the first `HELD_OUT_IMAGES` are used.
        size: Side of the pictures.
        batch: Pairs that compete in the top-1 figures; a last smaller batch does not count.
        words: Longest caption.
        device: Of the networks.

    Returns:
        `image_to_text` and `text_to_image`, top-1 within a batch, and `r_precision`, own caption first of
        `CANDIDATES` (of as many as other classes give, where they are fewer).
    """
    codes, sentences, class_ids = [], [], []
    for held_out in evaluation_batches(split, sizes=[size], batch=batch, words=words, limit=HELD_OUT_IMAGES):
        moved = held_out.to(device)
        sentences.append(model.text(moved.tokens, moved.lengths)[1].float().cpu())
        codes.append(model.image(moved.images[0])[1].float().cpu())
        class_ids.append(held_out.class_ids.numpy())
    report: dict[str, float] = {}
    full = [(c, s) for c, s in zip(codes, sentences, strict=True) if len(c) == batch]
    if full:
        similarity = torch.stack([cosine_similarity_matrix(c, s) for c, s in full])  # (N, B, B)
        right = torch.arange(batch)
        report["image_to_text"] = 100 * (similarity.argmax(dim=2) == right).float().mean().item()
        report["text_to_image"] = 100 * (similarity.argmax(dim=1) == right).float().mean().item()
    groups = np.concatenate(class_ids)
    rivals = len(groups) - int(np.unique(groups, return_counts=True)[1].max())
    if rivals > 0:
        candidates = min(CANDIDATES, rivals + 1)
        all_codes, all_sentences = torch.cat(codes), torch.cat(sentences)
        result = r_precision(all_codes, all_sentences, groups, all_sentences, groups, candidates=candidates)
        report["r_precision"] = result.value
    return report
