"""Training a classifier of a dataset's classes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import nn

from gancli.build_encoders import build_classifier, classifier_arguments
from gancli.config import ClassifierRecipe
from gancli.data.loader import BatchSource, batches, evaluation_batches
from gancli.data.shards import Dataset, Split
from gancli.encoders.classifier import load_classifier, save_classifier
from gancli.engine.checkpoint import RunFolder, seed_everything
from gancli.engine.device import pick_device
from gancli.engine.events import Events
from gancli.engine.loop import Loop
from gancli.errors import DataError
from gancli.training.run import RunResult, loop_settings, open_run, set_rate
from gancli.version import __version__

Report = Callable[[nn.Module], dict[str, float]]

_HELD_OUT = 1  # purpose of a random stream, beside the seed


def pretrain_classifier(
    recipe: ClassifierRecipe,
    *,
    out: Path,
    runs: Path = Path("runs"),
    resume: Path | None = None,
    weights: Path | None = None,
    events: Events | None = None,
) -> RunResult:
    """Trains a classifier as a recipe says, and reports after each epoch how many held-out images it gets right.

    The folder `out` gets the averaged weights of the epoch with the lowest cross entropy on them, of the last one
    where none are held out. Arguments, result and errors as `gancli.pretrain_encoder`.
    """
    events = events or Events()
    device = pick_device(recipe.train.device)
    dataset = Dataset.open(recipe.data)
    if not dataset.class_names:
        raise DataError(
            f"{dataset.path}: its images have no classes, so there is nothing to classify",
            "Take a dataset with classes: cub, oxford102, demo, or a folder prepared with one subfolder per class.",
        )
    split = dataset.whole() if recipe.split == "all" else dataset.split(recipe.split)
    class_ids = np.unique(split.class_ids)
    if len(class_ids) < 2:
        raise DataError(
            f"{dataset.path}: all images of split {split.name!r} are of one class", "Take another split."
        )
    arguments = classifier_arguments(recipe.model, dataset.image_size)
    size = min(arguments["size"], dataset.image_size)
    training, held_out = hold_out(split.class_ids, recipe.held_out, recipe.train.seed)
    seed_everything(recipe.train.seed)
    model = build_classifier(recipe, arguments, class_ids, device, weights)
    source = BatchSource(
        split, sizes=[size], batch=recipe.loader.batch, words=0, seed=recipe.train.seed, images=training
    )

    def report(network: nn.Module) -> dict[str, float]:
        return classification_report(network, split, held_out, class_ids, size, recipe.loader.batch, device)

    def evaluate(networks: Mapping[str, nn.Module], step: int) -> dict[str, float]:
        return report(networks["classifier"])

    def export(networks: Mapping[str, nn.Module], folder: Path, step: int) -> None:
        settings = {
            "gancli": __version__,
            "dataset": dataset.name,
            "split": split.name,
            "step": step,
            "seed": recipe.train.seed,
            "images": len(training),
            "held_out": len(held_out),
            "classifier": arguments,
        }
        names = [dataset.class_names[number] for number in class_ids]
        save_classifier(folder, networks["classifier"], names, settings)

    run = open_run(recipe, runs, f"classifier-{dataset.name}", resume)
    loop = Loop(
        model,
        lambda start: batches(source, start, None, recipe.loader.workers),
        run,
        loop_settings(recipe.train, len(source), recipe.loader.batch, recipe.optim.ema_decay),
        device,
        evaluate=evaluate if len(held_out) else None,
        evaluate_every=len(source) if len(held_out) else None,
        best=("cross_entropy", "min"),
        export=export,
        on_epoch=lambda epoch: set_rate(model.optimizer, recipe.optim.lr * recipe.optim.lr_decay**epoch),
        events=events,
    )
    result = loop.run()
    if result.interrupted is None:
        _keep_best(run, out, device, report if len(held_out) else None, events)
    return RunResult(run.path, out, result)


def _keep_best(
    run: RunFolder, out: Path, device: torch.device, report: Report | None, events: Events
) -> None:
    """Writes the run's best classifier to `out`, with the accuracy it has as written."""
    best = load_classifier(run.best_model if run.best_model.is_dir() else run.model, device)
    settings = dict(best.settings)
    if report is not None:
        settings |= (measured := report(best.network))
        text = f"{{accuracy:.1f}} % of {settings['held_out']} held-out images right, chance {{chance:.1f}} %"
        events.emit("metrics", text.format(**measured), step=settings["step"], **measured)
    save_classifier(out, best.network, best.class_names, settings)


def hold_out(
    class_ids: NDArray[np.int64], share: float, seed: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Divides images into those to train on and those to test with, class by class.

    Args:
        class_ids: (N,) class of each image.
        share: Of each class's images to hold out, in [0, 1); rounded, at least one and never all of a class, so that
            a class of one image is only trained on. 0 holds out nothing.
        seed: The same seed divides in the same way.

    Returns:
        Indices to train on and indices held out, each ascending.
    """
    order = np.random.default_rng([_HELD_OUT, seed]).permutation(len(class_ids))
    order = order[np.argsort(class_ids[order], kind="stable")]  # by class, in random order within each
    _, starts, counts = np.unique(class_ids[order], return_index=True, return_counts=True)
    rank = np.arange(len(order)) - np.repeat(starts, counts)  # within its class
    taken = np.minimum(np.maximum(np.rint(share * counts), 1), counts - 1) if share else np.zeros(len(counts))
    aside = rank < np.repeat(taken, counts)
    return np.sort(order[~aside]), np.sort(order[aside])


@torch.no_grad()
def classification_report(
    network: nn.Module,
    split: Split,
    images: NDArray[np.int64],
    class_ids: NDArray[np.int64],
    size: int,
    batch: int,
    device: torch.device,
) -> dict[str, float]:
    """How well a classifier does on some images.

    Args:
        network: Classifier in eval mode.
        split: Where the images lie.
        images: Their indices.
        class_ids: (C,) the dataset's number of each of the network's classes, ascending.
        size: Side of the images; the centre window is taken, without flip.
        batch: Images at a time.
        device: Of the network.

    Returns:
        `accuracy`, per cent of images whose class comes first, `chance`, what guessing would reach, and
        `cross_entropy` in nats.
    """
    right, surprise = 0, 0.0
    for each in evaluation_batches(split, sizes=[size], batch=batch, words=0, images=images):
        logits = network(each.images[0].to(device)).double().cpu()
        targets = torch.from_numpy(np.searchsorted(class_ids, each.class_ids.numpy()))
        right += int((logits.argmax(dim=1) == targets).sum())
        surprise += float(F.cross_entropy(logits, targets, reduction="sum"))
    return {
        "accuracy": 100 * right / len(images),
        "chance": 100 / len(class_ids),
        "cross_entropy": surprise / len(images),
    }
