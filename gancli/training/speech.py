"""Training of the speech encoder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.data import Dataset as TorchDataset

from gancli.config.arguments import arguments_of, construct
from gancli.config.speech import SpeechRecipe
from gancli.data.audio import MelSettings
from gancli.data.loader import BatchSource, evaluation_batches
from gancli.data.shards import Split
from gancli.encoders.backbones import load_imagenet, load_places365
from gancli.encoders.speech import (
    ImageBranch,
    SpeechBatch,
    SpeechEncoder,
    SpeechPretraining,
    embed_speech,
    encode_mels,
    load_speech,
    pad_mels,
    save_speech,
)
from gancli.engine.checkpoint import seed_everything
from gancli.engine.loop import Networks
from gancli.scores.retrieval import average_precisions, chance_precision, first_hits
from gancli.training.caption_vectors import reporter
from gancli.training.parameters import PUBLISHED_SIDE, CountedNetworks
from gancli.training.run import (
    Hooks,
    Prepared,
    Request,
    RunResult,
    StepDecay,
    backbone_side,
    prepare_run,
    run_training,
    share_of,
)

RECALLS = (1, 5, 10)
_BEST_OF = 10  # the k of the recall that a checkpoint is chosen by
_ONLY_AT_THE_END = ("_1", "_5")  # of the report's figures
_CHUNK = 256  # spoken captions read at a time for a report

# Purposes of random streams, beside the seed; the loader's own are the numbers below
_HELD_OUT, _UTTERANCE = 100, 101


def pretrain_speech(request: Request[SpeechRecipe]) -> RunResult:
    """Train the speech encoder, and report from time to time how well held-out images and spoken captions match.

    The encoder folder gets the weights that did best on the validation images. At the end their vectors of all spoken
    captions are computed and kept in the dataset folder, and what they reach on the test split is reported. Result and
    errors are those of `gancli.pretrain_encoder`.
    """
    run = prepare_run(request)
    recipe, train, optim = run.recipe, run.split, run.recipe.optim
    mel = train.need_speech()
    validation = Validation.choose(run)
    arguments = speech_arguments(recipe, run.dataset.image_size, mel.bands)
    size = min(backbone_side(recipe.model, run.dataset.image_size), run.dataset.image_size)
    batch = recipe.loader.batch
    seed_everything(recipe.train.seed)
    classes = np.unique(train.class_ids[validation.training]) if recipe.loss.distinctive else None
    model = build_speech(recipe, arguments, classes, run.device, request.weights)
    images = BatchSource(train, sizes=[size], **share_of(recipe), words=0, images=validation.training)
    source = SpokenPairs(images, recipe.loader.max_frames)

    def evaluate(networks: Networks, step: int) -> dict[str, float]:
        held_out, shown = validation.split, validation.images
        spoken = first_captions(cast(SpeechEncoder, networks["speech"]), held_out, shown)
        report = retrieval_report(spoken, networks["image"], held_out, shown, size, batch)
        return {name: value for name, value in report.items() if not name.endswith(_ONLY_AT_THE_END)}

    def export(networks: Networks, folder: Path, settings: dict[str, object]) -> None:
        settings |= {
            "images": len(validation.training),
            "held_out": len(validation.images) if validation.split is train else 0,
            **arguments,
        }
        save_speech(folder, networks["speech"], networks["image"], mel, settings)

    hooks = Hooks(
        export,
        evaluate=evaluate,
        evaluate_every=recipe.validation.every * len(source),
        best=validation.best,
        on_epoch=StepDecay(model.phases, optim.lr_decay, optim.decay_every),
    )
    result = run_training(run, model, source, hooks)
    if result.loop.interrupted is None:
        _finish(run, result, validation, size, batch)
    return result


def speech_arguments(recipe: SpeechRecipe, image_size: int, bands: int) -> dict[str, dict[str, object]]:
    """Return the arguments of both networks, as an encoder folder's config.yaml keeps them.

    Raises:
        ConfigError: The small backbone cannot work at the side of the images.
    """
    model, size = recipe.model, backbone_side(recipe.model, image_size)
    image = {"dim": 2 * model.hidden, "size": size, "frozen_backbone": model.pretrained}
    return {
        "speech": arguments_of(SpeechEncoder, model, bands=bands, channels=list(model.channels)),
        "image": arguments_of(ImageBranch, model, **image),
    }


def build_speech(
    recipe: SpeechRecipe,
    arguments: dict[str, dict[str, object]],
    class_ids: NDArray[np.int64] | None,
    device: torch.device,
    weights: Path | None = None,
) -> SpeechPretraining:
    """Return speech encoder and image branch, ready for the engine. A pretrained backbone has its published weights.

    `class_ids` (C,) are the dataset's numbers of the classes that training shows, ascending; None leaves the
    distinctive loss out.
    """
    image = construct(ImageBranch, **arguments["image"])
    if recipe.model.pretrained:
        load = load_places365 if recipe.model.pretrained_on == "places365" else load_imagenet
        load(image.backbone, weights)
    return construct(
        SpeechPretraining,
        recipe.loss,
        recipe.optim,
        speech=construct(SpeechEncoder, **arguments["speech"]).to(device),
        image=image.to(device),
        class_ids=class_ids,
    )


def networks(recipe: SpeechRecipe) -> CountedNetworks:
    """Return the networks of a recipe, for counting parameters."""
    bands = MelSettings().bands
    arguments = speech_arguments(recipe, PUBLISHED_SIDE, bands)
    speech = construct(SpeechEncoder, **arguments["speech"])
    image = construct(ImageBranch, **arguments["image"])
    return CountedNetworks({"speech": speech, "image": image}, f"{bands} mel bands")


@dataclass(frozen=True)
class Validation:
    """Division of the images into those to train on and those that choose the best checkpoint.

    Attributes:
        training: Images of the training split to train on, by index.
        split: Split of the validation images.
        images: Validation images, by index.
        best: Metric and direction of the choice; None where the images cannot tell checkpoints apart.
    """

    training: NDArray[np.int64]
    split: Split
    images: NDArray[np.int64]
    best: tuple[str, Literal["min", "max"]] | None

    @classmethod
    def choose(cls, run: Prepared[SpeechRecipe]) -> Validation:
        """Divide the images as the recipe says, with a warning where they cannot tell checkpoints apart."""
        settings, train = run.recipe.validation, run.split
        training = np.arange(len(train))
        if settings.select_on == "test":
            split = run.dataset.split("test")
            images = np.arange(len(split))
        else:
            split = train
            groups = train.class_ids if settings.by == "class" else training
            training, images = set_aside(groups, settings.share, run.recipe.train.seed)
        by_class = settings.metric == "map"
        ranked = len(np.unique(split.class_ids[images])) if by_class else len(images)
        if ranked > (1 if by_class else _BEST_OF):
            return cls(training, split, images, ("map" if by_class else f"recall_{_BEST_OF}", "max"))
        run.events.emit(
            "warning",
            f"the {len(images):,} images to validate with{' are of one class' if by_class else ''}: every checkpoint "
            "does as well on them, the last one is kept (see validation.share, validation.by, validation.metric)",
        )
        return cls(training, split, images, None)


def _finish(
    run: Prepared[SpeechRecipe], result: RunResult, validation: Validation, size: int, batch: int
) -> None:
    """Write the run's best encoder, and keep its vectors of all spoken captions in the dataset folder.

    Reports the retrieval on the test split, or on the validation images where there is none.
    """
    dataset, best = run.dataset, load_speech(result.run, run.device)
    assert best.image is not None  # it was trained with one
    kept = {}
    for name in dataset.split_names:
        told = reporter(run.events, f"vectors of split {name!r}", "spoken captions")
        kept[name] = embed_speech(dataset.split(name), best, progress=told)
    held_out, indices = validation.split, validation.images
    if "test" in kept:
        held_out = dataset.split("test")
        indices = np.arange(len(held_out))
    vectors = kept[held_out.name]
    spoken = torch.from_numpy(vectors.file.vectors[vectors.starts[:-1][indices]]).to(run.device)
    report = retrieval_report(spoken, best.image, held_out, indices, size, batch)
    run.events.emit(
        "metrics",
        f"{len(indices):,} images of split {held_out.name!r}: mAP {report['map']:.1f} % "
        f"(chance {report['map_chance']:.1f} %); R@10 speech to image {report['speech_to_image_10']:.1f} %, image to "
        f"speech {report['image_to_speech_10']:.1f} % (chance {report['chance_10']:.1f} %)",
        step=best.settings["step"],
        **report,
    )
    measured: dict[str, object] = {"split": held_out.name, "images": len(indices)}
    measured |= {name: round(value, 2) for name, value in report.items()}
    settings = {**best.settings, "retrieval": measured}
    save_speech(result.output, best.network, best.image, best.mel, settings)


def set_aside(
    groups: NDArray[np.int64], share: float, seed: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Divide images into those to train on and those to validate with, no group in both.

    Args:
        groups: (N,) group of each image: its class, or a number of its own.
        share: Share of the groups to set aside, rounded; at least two, which can be told apart, and never all.
        seed: Seed of the division.

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
        images: Source of the images; it reads no captions.
        max_frames: A longer spoken caption gives a random window of that length; None has no limit.
    """

    def __init__(self, images: BatchSource, max_frames: int | None = None) -> None:
        self.images = images
        self.max_frames = max_frames
        self.batch = images.batch
        self.counts = images.split.speech_counts()

    def __len__(self) -> int:
        """Steps per epoch."""
        return len(self.images)

    def __getitem__(self, step: int) -> SpeechBatch:
        """Return the batch of a step, counted from 0 over all epochs."""
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
    """Return the vectors (N, D) of the first spoken caption of each image, on the network's device."""
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
    """Measure how well spoken captions and images find each other, in per cent, with chance beside.

    Args:
        spoken: (N, D) vectors of the first spoken caption of each image.
        branch: The image branch, in eval mode.
        split: Split of the images.
        indices: (N,) indices of the images.
        size: Side of the images in pixels; the centre window is taken, without flip.
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
