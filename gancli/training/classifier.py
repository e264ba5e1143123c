"""Training of a classifier of a dataset's classes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import nn

from gancli.config.arguments import arguments_of, construct
from gancli.config.classifier import ClassifierRecipe
from gancli.data.loader import BatchSource, evaluation_batches
from gancli.data.shards import Split
from gancli.encoders.backbones import load_imagenet
from gancli.encoders.classifier import Classifier, ClassifierTraining, load_classifier, save_classifier
from gancli.engine.checkpoint import seed_everything
from gancli.engine.events import Events
from gancli.engine.loop import Networks
from gancli.errors import DataError
from gancli.training.parameters import CUB_TEST_CLASSES, PUBLISHED_SIDE, CountedNetworks
from gancli.training.run import (
    Hooks,
    Request,
    RunResult,
    StepDecay,
    backbone_side,
    prepare_run,
    run_training,
    share_of,
)

Report = Callable[[nn.Module], dict[str, float]]

_HELD_OUT = 1  # purpose of a random stream, beside the seed


def pretrain_classifier(request: Request[ClassifierRecipe]) -> RunResult:
    """Train a classifier, and report after each epoch how many held-out images it gets right.

    The encoder folder gets the averaged weights of the epoch with the lowest cross entropy on them, of the last one
    where none are held out. Result and errors are those of `gancli.pretrain_encoder`.
    """
    run = prepare_run(request)
    recipe, dataset, split = run.recipe, run.dataset, run.split
    class_ids = np.unique(split.class_ids)
    if len(class_ids) < 2:
        raise DataError(
            f"{dataset.path}: all images of split {split.name!r} are of one class", "Take another split."
        )
    arguments = classifier_arguments(recipe, dataset.image_size)
    size = min(backbone_side(recipe.model, dataset.image_size), dataset.image_size)
    training, held_out = hold_out(split.class_ids, recipe.held_out, recipe.train.seed)
    seed_everything(recipe.train.seed)
    model = build_classifier(recipe, arguments, class_ids, run.device, request.weights)
    source = BatchSource(split, sizes=[size], **share_of(recipe), words=0, images=training)

    def report(network: nn.Module) -> dict[str, float]:
        batch = recipe.loader.batch
        return classification_report(network, split, held_out, class_ids, size, batch, run.device)

    def export(networks: Networks, folder: Path, settings: dict[str, object]) -> None:
        settings |= {
            "split": split.name,
            "images": len(training),
            "held_out": len(held_out),
            "classifier": arguments,
        }
        names = [dataset.class_names[number] for number in class_ids]
        save_classifier(folder, networks["classifier"], names, settings)

    hooks = Hooks(
        export,
        evaluate=(lambda networks, step: report(networks["classifier"])) if len(held_out) else None,
        evaluate_every=len(source) if len(held_out) else None,
        best=("cross_entropy", "min"),
        on_epoch=StepDecay(model.phases, recipe.optim.lr_decay, every=1),
    )
    result = run_training(run, model, source, hooks)
    if result.loop.interrupted is None:
        _keep_best(result, run.device, report if len(held_out) else None, run.events)
    return result


def classifier_arguments(recipe: ClassifierRecipe, image_size: int) -> dict[str, object]:
    """Return the arguments of `Classifier` but for the classes, as its folder's config.yaml keeps them.

    Raises:
        ConfigError: The small backbone cannot work at the side of the images.
    """
    return arguments_of(Classifier, recipe.model, size=backbone_side(recipe.model, image_size))


def build_classifier(
    recipe: ClassifierRecipe,
    arguments: dict[str, object],
    class_ids: NDArray[np.int64],
    device: torch.device,
    weights: Path | None = None,
) -> ClassifierTraining:
    """Return a classifier, ready for the engine. A pretrained backbone gets its ImageNet weights.

    `class_ids` (C,) are the dataset's numbers of the classes, ascending.
    """
    network = construct(Classifier, **arguments, classes=len(class_ids))
    if recipe.model.pretrained:
        load_imagenet(network.backbone, weights)
    return construct(
        ClassifierTraining, recipe.loss, recipe.optim, network=network.to(device), class_ids=class_ids
    )


def networks(recipe: ClassifierRecipe) -> CountedNetworks:
    """Return the network of a recipe, for counting parameters."""
    arguments = classifier_arguments(recipe, PUBLISHED_SIDE)
    classifier = construct(Classifier, **arguments, classes=CUB_TEST_CLASSES)
    return CountedNetworks({"classifier": classifier}, f"{CUB_TEST_CLASSES} classes")


def _keep_best(result: RunResult, device: torch.device, report: Report | None, events: Events) -> None:
    """Write the run's best classifier to the encoder folder, with the accuracy it has as written."""
    best = load_classifier(result.run, device)
    settings = dict(best.settings)
    if report is not None:
        settings |= (measured := report(best.network))
        text = f"{{accuracy:.1f}} % of {settings['held_out']} held-out images right, chance {{chance:.1f}} %"
        events.emit("metrics", text.format(**measured), step=settings["step"], **measured)
    save_classifier(result.output, best.network, best.class_names, settings)


def hold_out(
    class_ids: NDArray[np.int64], share: float, seed: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Divide images into those to train on and those to test with, class by class.

    Args:
        class_ids: (N,) class of each image.
        share: Share of each class's images to hold out, in [0, 1); rounded, at least one and never all of a class, so
            that a class of one image is only trained on. 0 holds out nothing.
        seed: Seed of the division.

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
    """Measure a classifier on some images.

    Args:
        network: Classifier in eval mode.
        split: Split of the images.
        images: Indices of the images.
        class_ids: (C,) the dataset's number of each of the network's classes, ascending.
        size: Side of the images in pixels; the centre window is taken, without flip.
        batch: Images at a time.
        device: Device of the network.

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
