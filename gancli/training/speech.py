"""Pretraining the speech encoder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.data import Dataset as TorchDataset

from gancli.build_encoders import build_speech, speech_arguments
from gancli.config import SpeechRecipe
from gancli.data.loader import BatchSource, batches, evaluation_batches
from gancli.data.shards import Dataset, Split
from gancli.encoders.speech import (
    SpeechBatch,
    SpeechEncoder,
    embed_speech,
    encode_mels,
    load_speech,
    pad_mels,
    save_speech,
)
from gancli.engine.checkpoint import RunFolder, seed_everything
from gancli.engine.device import pick_device
from gancli.engine.events import Events
from gancli.engine.loop import Loop
from gancli.errors import ConfigError
from gancli.scores.retrieval import average_precisions, chance_precision, first_hits
from gancli.training.run import RunResult, loop_settings, open_run, reporter, set_rate
from gancli.version import __version__

RECALLS = (1, 5, 10)
_BEST_OF = 10  # the k of the recall that a checkpoint is chosen by
_ONLY_AT_THE_END = ("_1", "_5")  # of the report's figures
_CHUNK = 256  # spoken captions read at a time for a report

# What a random stream is for, beside the seed; the loader's own are the numbers below
_HELD_OUT, _UTTERANCE = 100, 101


def pretrain_speech(
    recipe: SpeechRecipe,
    *,
    out: Path,
    runs: Path = Path("runs"),
    resume: Path | None = None,
    weights: Path | None = None,
    events: Events | None = None,
) -> RunResult:
    """Trains the speech encoder as a recipe says, and reports from time to time how well held-out images and spoken
    captions find each other.

    The folder `out` gets the weights that did best on the validation images. At the end their vectors of all spoken
    captions are computed and kept in the dataset folder, and what they reach on the test split is reported. Arguments,
    result and errors as `gancli.pretrain_encoder`.
    """
    events = events or Events()
    device = pick_device(recipe.train.device)
    dataset = Dataset.open(recipe.data)
    train = dataset.split("train")
    mel = train.need_speech()
    training, held_out = np.arange(len(train)), train
    chosen: NDArray[np.int64] | None = None  # the images of `held_out` that validate; None takes all
    if recipe.validation.select_on == "test":
        held_out = dataset.split("test")
    else:
        groups = train.class_ids if recipe.validation.by == "class" else training
        training, chosen = set_aside(groups, recipe.validation.share, recipe.train.seed)
    shown = np.arange(len(held_out)) if chosen is None else chosen
    by_class = recipe.validation.metric == "map"
    ranked = len(np.unique(held_out.class_ids[shown])) if by_class else len(shown)
    selects = ranked > (1 if by_class else _BEST_OF)
    if not selects:
        events.emit(
            "warning",
            f"the {len(shown):,} images to validate with{' are of one class' if by_class else ''}: every checkpoint "
            "does as well on them, the last one is kept (see validation.share, validation.by, validation.metric)",
        )
    arguments = speech_arguments(recipe.model, dataset.image_size, mel.bands)
    size = min(arguments["image"]["size"], dataset.image_size)
    seed_everything(recipe.train.seed)
    model = build_speech(recipe, arguments, _classes(recipe, dataset, train, training), device, weights)
    images = BatchSource(
        train, sizes=[size], batch=recipe.loader.batch, words=0, seed=recipe.train.seed, images=training
    )
    source = SpokenPairs(images, recipe.loader.max_frames)

    def evaluate(networks: Mapping[str, nn.Module], step: int) -> dict[str, float]:
        spoken = first_captions(cast(SpeechEncoder, networks["speech"]), held_out, shown)
        report = retrieval_report(spoken, networks["image"], held_out, shown, size, recipe.loader.batch)
        return {name: value for name, value in report.items() if not name.endswith(_ONLY_AT_THE_END)}

    def export(networks: Mapping[str, nn.Module], folder: Path, step: int) -> None:
        settings = {
            "gancli": __version__,
            "dataset": dataset.name,
            "step": step,
            "seed": recipe.train.seed,
            "images": len(training),
            "held_out": 0 if chosen is None else len(chosen),
            **arguments,
        }
        save_speech(folder, networks["speech"], networks["image"], mel, settings)

    run = open_run(recipe, runs, f"speech-{dataset.name}", resume)
    optim = recipe.optim
    loop = Loop(
        model,
        lambda start: batches(source, start, None, recipe.loader.workers),
        run,
        loop_settings(recipe.train, len(source), recipe.loader.batch, None),
        device,
        evaluate=evaluate,
        evaluate_every=recipe.validation.every * len(source),
        best=("map" if by_class else f"recall_{_BEST_OF}", "max") if selects else None,
        export=export,
        on_epoch=lambda epoch: set_rate(
            model.optimizer, optim.lr * optim.lr_decay ** (epoch // optim.decay_every)
        ),
        events=events,
    )
    result = loop.run()
    if result.interrupted is None:
        _finish(run, out, dataset, held_out, chosen, size, recipe.loader.batch, device, events)
    return RunResult(run.path, out, result)


def _classes(
    recipe: SpeechRecipe, dataset: Dataset, train: Split, training: NDArray[np.int64]
) -> NDArray[np.int64] | None:
    """The classes that training shows, ascending, where the distinctive loss is asked for.

    Raises:
        ConfigError: The dataset has no classes.
    """
    if recipe.loss.distinctive == 0:
        return None
    if not dataset.class_names:
        raise ConfigError(
            f"loss.distinctive: received {recipe.loss.distinctive}, but the images of {dataset.path} have no classes",
            "Set loss.distinctive=0, as for Flickr8k and Places.",
        )
    return np.unique(train.class_ids[training])


def _finish(
    run: RunFolder,
    out: Path,
    dataset: Dataset,
    held_out: Split,
    chosen: NDArray[np.int64] | None,
    size: int,
    batch: int,
    device: torch.device,
    events: Events,
) -> None:
    """Writes the run's best encoder to `out`, and keeps its vectors of all spoken captions in the dataset folder.

    Reports what it reaches on the test split, or on the validation images where there is none.
    """
    best = load_speech(run.best_model if run.best_model.is_dir() else run.model, device)
    kept = {
        name: embed_speech(
            dataset.split(name),
            best,
            progress=reporter(events, f"vectors of split {name!r}", "spoken captions"),
        )
        for name in dataset.split_names
    }
    if "test" in kept:
        held_out, chosen = dataset.split("test"), None
    indices = np.arange(len(held_out)) if chosen is None else chosen
    vectors = kept[held_out.name]
    spoken = torch.from_numpy(vectors.file.vectors[vectors.starts[:-1][indices]]).to(device)
    report = retrieval_report(spoken, best.image, held_out, indices, size, batch)
    events.emit(
        "metrics",
        f"{len(indices):,} images of split {held_out.name!r}: mAP {report['map']:.1f} % "
        f"(chance {report['map_chance']:.1f} %); R@10 speech to image {report['speech_to_image_10']:.1f} %, image to "
        f"speech {report['image_to_speech_10']:.1f} % (chance {report['chance_10']:.1f} %)",
        step=best.settings["step"],
        **report,
    )
    measured: dict[str, Any] = {"split": held_out.name, "images": len(indices)}
    measured |= {name: round(value, 2) for name, value in report.items()}
    save_speech(out, best.network, best.image, best.mel, {**best.settings, "retrieval": measured})


def set_aside(
    groups: NDArray[np.int64], share: float, seed: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Divides images into those to train on and those to validate with, no group in both.

    Args:
        groups: (N,) group of each image: its class, or a number of its own.
        share: Of the groups to set aside, rounded; at least two, which can be told apart, and never all.
        seed: The same seed divides in the same way.

    Returns:
        Indices to train on and indices set aside, each ascending.
    """
    names = np.unique(groups)
    count = min(max(2, round(share * len(names))), len(names) - 1)
    drawn = np.random.default_rng([_HELD_OUT, seed]).permutation(names)[:count]
    aside = np.isin(groups, drawn)
    return np.flatnonzero(~aside), np.flatnonzero(aside)


class SpokenPairs(TorchDataset[SpeechBatch]):
    """Training batches by step number: images, and of each a random one of its spoken captions.

    Args:
        images: Draws the images; it reads no captions.
        max_frames: A longer spoken caption gives a random window of that length; None has no limit.
    """

    def __init__(self, images: BatchSource, max_frames: int | None = None) -> None:
        self.images = images
        self.max_frames = max_frames
        self.counts = images.split.speech_counts()

    def __len__(self) -> int:
        """Steps per epoch."""
        return len(self.images)

    def __getitem__(self, step: int) -> SpeechBatch:
        """The batch of a step, counted from 0 over all epochs."""
        batch = self.images[step]
        chances = np.random.default_rng([_UTTERANCE, self.images.seed, step]).random((len(batch), 2))
        mels = []
        for index, (which, where) in zip(batch.indices.tolist(), chances, strict=True):
            mel = self.images.split.utterance(index, int(which * self.counts[index]))
            if self.max_frames is not None and len(mel) > self.max_frames:
                start = int(where * (len(mel) - self.max_frames + 1))
                mel = mel[start : start + self.max_frames]
            mels.append(mel)
        padded, lengths = pad_mels(mels)
        return SpeechBatch(batch.images[0], padded, lengths, batch.class_ids)


def first_captions(network: SpeechEncoder, split: Split, indices: NDArray[np.int64]) -> Tensor:
    """The vectors (N, D) of the first spoken caption of each image, on the network's device."""
    vectors = [
        encode_mels(
            network, [split.utterance(index, 0) for index in indices[start : start + _CHUNK].tolist()]
        )
        for start in range(0, len(indices), _CHUNK)
    ]
    return torch.cat(vectors)


@torch.no_grad()
def retrieval_report(
    spoken: Tensor, branch: nn.Module, split: Split, indices: NDArray[np.int64], size: int, batch: int
) -> dict[str, float]:
    """How well spoken captions and images find each other, in per cent, with what chance would reach beside.

    Args:
        spoken: (N, D), of the first spoken caption of each image.
        branch: The image branch, in eval mode.
        split: Where the images lie.
        indices: (N,) their indices.
        size: Side of the images; the centre window is taken, without flip.
        batch: Images at a time.

    Returns:
        `map`: the first spoken caption of each class ranks all images, relevant are those of its class (S2IGAN code);
        `map_chance`. For k in `RECALLS` `speech_to_image_<k>` and `image_to_speech_<k>`, R@k of the one image or
        spoken caption that belongs to it, and `chance_<k>`; `recall_10`, the mean of both R@10. The medians of the
        ranks, `speech_to_image_median`, `image_to_speech_median` and `chance_median`, are no per cents.
    """
    device = spoken.device
    images = torch.cat(
        [
            branch(each.images[0].to(device)).float()
            for each in evaluation_batches(split, sizes=[size], batch=batch, words=0, images=indices)
        ]
    )
    class_ids = split.class_ids[indices]
    classes, queries = np.unique(class_ids, return_index=True)  # the first image of each class
    own = np.arange(len(indices))
    precision = average_precisions(spoken[torch.from_numpy(queries).to(device)], images, classes, class_ids)
    report = {
        "map": 100 * float(precision.mean()),
        "map_chance": 100 * chance_precision(classes, class_ids),
    }
    for direction, ranks in (
        ("speech_to_image", first_hits(spoken, images, own, own)),
        ("image_to_speech", first_hits(images, spoken, own, own)),
    ):
        report |= {f"{direction}_{k}": 100 * float((ranks <= k).mean()) for k in RECALLS}
        report[f"{direction}_median"] = float(np.median(ranks))
    report["recall_10"] = (report["speech_to_image_10"] + report["image_to_speech_10"]) / 2
    report |= {f"chance_{k}": 100 * min(1.0, k / len(own)) for k in RECALLS}
    report["chance_median"] = (len(own) + 1) / 2
    return report
