"""Pretraining the DAMSM encoders."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import nn

from gancli.build_encoders import build_damsm, encoder_arguments
from gancli.config import DamsmRecipe
from gancli.data.loader import BatchSource, batches, evaluation_batches
from gancli.data.shards import Dataset, Split
from gancli.encoders.damsm import DamsmPretraining, save_damsm
from gancli.engine.checkpoint import seed_everything
from gancli.engine.device import pick_device
from gancli.engine.events import Events
from gancli.engine.loop import Loop
from gancli.losses.matching import cosine_similarity_matrix
from gancli.scores.retrieval import CANDIDATES, r_precision
from gancli.training.run import RunResult, loop_settings, open_run, set_rate
from gancli.version import __version__

HELD_OUT_IMAGES = 1000  # at most, for the encoder's report after each epoch


def pretrain_damsm(
    recipe: DamsmRecipe,
    *,
    out: Path,
    runs: Path = Path("runs"),
    resume: Path | None = None,
    weights: Path | None = None,
    events: Events | None = None,
) -> RunResult:
    """Trains the DAMSM encoders as a recipe says, and reports after each epoch how well they retrieve held-out pairs.

    Arguments, result and errors as `gancli.pretrain_encoder`.
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
            "gancli": __version__,
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
        set_rate(self.optimizer, self.optim.lr * self.optim.lr_decay**decays)
        if self.optim.reset_each_epoch and epoch > 0:
            self.optimizer.state.clear()


@torch.no_grad()
def retrieval_report(
    model: DamsmPretraining, split: Split, size: int, batch: int, words: int, device: torch.device
) -> dict[str, float]:
    """How well held-out images and captions find each other by their global codes, in per cent.

    Args:
        model: Networks in eval mode.
        split: Held-out pairs; the first `HELD_OUT_IMAGES` are used.
        size: Side of the images.
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
