"""Training of the character encoder beside frozen image features."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.data import Dataset as TorchDataset

from gancli.config.arguments import arguments_of, construct
from gancli.config.char_cnn_rnn import CharCnnRnnRecipe
from gancli.data.shards import Split
from gancli.encoders.char_cnn_rnn import (
    ALPHABET,
    LENGTH,
    CharCnnRnn,
    CharCnnRnnPretraining,
    JointBatch,
    encode_characters,
    save_char_cnn_rnn,
)
from gancli.encoders.image_features import VIEW_RULE, FrozenNetwork, extract_features
from gancli.encoders.vectors import VectorFile
from gancli.engine.checkpoint import seed_everything
from gancli.engine.events import Events
from gancli.engine.loop import Networks
from gancli.errors import DataError
from gancli.training.caption_vectors import reporter
from gancli.training.parameters import CountedNetworks
from gancli.training.run import (
    Hooks,
    Prepared,
    Request,
    RunResult,
    StepDecay,
    prepare_run,
    run_training,
)
from gancli.weights_folder import read_settings

HELD_OUT_IMAGES = 1000  # at most, with one caption each, for the encoder's report after each epoch
_CHUNK = 256  # captions encoded at a time


def pretrain_char_cnn_rnn(request: Request[CharCnnRnnRecipe]) -> RunResult:
    """Train the character encoder, and report after each epoch how well held-out images and captions find their class.

    Result and errors are those of `gancli.pretrain_encoder`.
    """
    run = prepare_run(request)
    recipe, train, features = run.recipe, run.split, run.condition
    assert isinstance(features, FrozenNetwork)
    held_out = run.dataset.split("test") if "test" in run.dataset.split_names else train
    _tell_of_captions(train, run.events)
    shown = reporter(run.events, "image features", "images")
    views = extract_features(train, features, "ten", progress=shown)
    centres = extract_features(held_out, features, "centre", progress=shown)
    seed_everything(recipe.train.seed)
    model = build_char_cnn_rnn(recipe, features.dim, run.device)
    pairs = ClassPairs(train, views, batch=recipe.loader.batch, seed=recipe.train.seed)

    def evaluate(networks: Networks, step: int) -> dict[str, float]:
        return class_retrieval(model, held_out, centres, run.device, images=HELD_OUT_IMAGES, captions=1)

    def export(networks: Networks, folder: Path, settings: dict[str, object]) -> None:
        settings |= {
            "text": arguments_of(CharCnnRnn, recipe.model),
            "features": {"network": features.name, "dim": features.dim, "views": VIEW_RULE},
        }
        save_char_cnn_rnn(folder, model.text, settings, model.image)

    decay = StepDecay(model.phases, recipe.optim.lr_decay, every=1)
    hooks = Hooks(export, evaluate=evaluate, evaluate_every=len(pairs), on_epoch=decay)
    result = run_training(run, model, pairs, hooks)
    if result.loop.interrupted is None:
        report = _report_at_the_end(run, model, held_out, centres, result.loop.step)
        export({}, result.output, read_settings(result.run / "model") | {"retrieval": report})
    return result


def build_char_cnn_rnn(
    recipe: CharCnnRnnRecipe, feature_dim: int, device: torch.device
) -> CharCnnRnnPretraining:
    """Return the character encoder with fresh weights on a device, ready for the engine.

    Image features of another width than the sentence vectors are mapped to theirs.
    """
    dim = recipe.model.dim
    text = construct(CharCnnRnn, recipe.model).to(device)
    image = None if feature_dim == dim else nn.Linear(feature_dim, dim).to(device)
    return construct(CharCnnRnnPretraining, recipe.optim, text=text, image=image)


def networks(recipe: CharCnnRnnRecipe) -> CountedNetworks:
    """Return the network of a recipe, for counting parameters."""
    return CountedNetworks({"text": construct(CharCnnRnn, recipe.model)})


def _report_at_the_end(
    run: Prepared[CharCnnRnnRecipe],
    model: CharCnnRnnPretraining,
    held_out: Split,
    centres: VectorFile,
    step: int,
) -> dict[str, object]:
    """Report the retrieval of all held-out images and captions, and return it for config.yaml."""
    for network in model.networks.values():
        network.eval()
    report = class_retrieval(model, held_out, centres, run.device)
    run.events.emit(
        "metrics",
        f"all {len(held_out):,} images and their captions of split {held_out.name!r}: own class first for "
        f"{report['image_to_class']:.1f} % of the images, {report['text_to_class']:.1f} % of the captions; "
        f"chance {report['chance']:.1f} %",
        step=step,
        **report,
    )
    return {"split": held_out.name, **{name: round(value, 2) for name, value in report.items()}}


def _tell_of_captions(split: Split, events: Events) -> None:
    """Warn of captions that are not read as they are written."""
    total, cut, unknown = count_captions(split)
    if cut:
        fault = f"are longer than {LENGTH} characters: the rest of each is not read"
        events.emit("warning", f"{cut:,} of {total:,} captions {fault}", captions=total, cut=cut)
    if unknown:
        fault = "hold characters outside the alphabet, which are read as blanks"
        events.emit("warning", f"{unknown:,} of {total:,} captions {fault}", captions=total, unknown=unknown)


def count_captions(split: Split) -> tuple[int, int, int]:
    """Count the captions of a split, those longer than what is read, and those with unknown characters."""
    total = cut = unknown = 0
    known = set(ALPHABET)
    for index in range(len(split)):
        for caption in split.captions(index):
            text = caption.lower()
            total += 1
            cut += len(text) > LENGTH
            unknown += not known.issuperset(text)
    return total, cut, unknown


class ClassPairs(TorchDataset[JointBatch]):
    """Training batches by step number: `pairs[step]` is the same batch whenever it is asked for.

    A step draws different classes, and for each a random image, a random view of it and a random one of its captions.
    Where the dataset has no classes, each image counts as one.

    Args:
        split: Split of the images and captions.
        features: Features of its images.
        batch: Classes per step; all where there are fewer.
        seed: Seed of every draw.

    Raises:
        DataError: There are fewer than two classes.
    """

    def __init__(self, split: Split, features: VectorFile, *, batch: int, seed: int) -> None:
        _, first, self.counts = np.unique(np.sort(split.class_ids), return_index=True, return_counts=True)
        if len(first) < 2:
            raise DataError(
                f"{split.folder}: all images of split {split.name!r} are of one class; the encoder learns what tells "
                "classes apart",
                "Take a dataset with classes, such as cub, oxford102 or demo.",
            )
        self.first = first
        self.by_class = np.argsort(split.class_ids, kind="stable")  # of class c: counts[c] from first[c] on
        self.split = split
        self.features = features
        self.batch = min(batch, len(first))
        self.seed = seed

    def __len__(self) -> int:
        """Steps per epoch, by definition the number of classes (public code)."""
        return len(self.first)

    def __getitem__(self, step: int) -> JointBatch:
        """Return the batch of a step, counted from 0 over all epochs."""
        rng = np.random.default_rng([self.seed, step])
        classes = rng.choice(len(self.first), self.batch, replace=False)
        image, view, caption = rng.random((3, self.batch))
        indices = self.by_class[self.first[classes] + (image * self.counts[classes]).astype(np.int64)]
        views = (view * self.features.vectors.shape[1]).astype(np.int64)
        texts = []
        for index, chance in zip(indices.tolist(), caption, strict=True):
            captions = self.split.captions(index)
            texts.append(captions[int(chance * len(captions))])
        vectors = self.features.vectors[indices, views].astype(np.float32)  # (B, F)
        return JointBatch(torch.from_numpy(vectors), torch.from_numpy(encode_characters(texts)))


@torch.no_grad()
def class_retrieval(
    model: CharCnnRnnPretraining,
    split: Split,
    features: VectorFile,
    device: torch.device,
    *,
    images: int | None = None,
    captions: int | None = None,
) -> dict[str, float]:
    """Measure how often an image finds its class by captions, and a caption by images, in per cent.

    A class is the mean of its captions' vectors, or of its images' vectors; the nearest one has the largest dot product
    (the public code's zero-shot classification, and the same the other way round).

    Args:
        model: Networks in eval mode.
        split: Held-out images and captions.
        features: Features of its images, one view each.
        device: Device of the networks.
        images: Most images to look at, spread evenly over the split; None takes all.
        captions: Most captions of each; None takes all.

    Returns:
        `image_to_class`, `text_to_class`, and `chance`, what guessing would reach.
    """
    total = len(split) if images is None else min(images, len(split))
    indices = np.linspace(0, len(split) - 1, total).astype(np.int64)
    names, found = np.unique(split.class_ids[indices], return_inverse=True)
    classes = torch.from_numpy(found).to(device)  # (N,), numbered from 0

    def image_vectors() -> Iterator[tuple[Tensor, Tensor]]:
        for start in range(0, total, _CHUNK):
            rows = slice(start, start + _CHUNK)
            vectors = torch.from_numpy(features.vectors[indices[rows], 0].astype(np.float32))
            yield model.embed_images(vectors.to(device)), classes[rows]

    by_image = _ClassMeans(len(names))
    for vectors, truth in image_vectors():
        by_image.add(vectors, truth)
    image_means = by_image.means()
    by_caption = _ClassMeans(len(names))
    texts_right = texts_read = 0
    for texts, owners in _caption_chunks(split, indices, captions):
        vectors = model.text(torch.from_numpy(encode_characters(texts)).to(device))
        truth = classes[torch.from_numpy(owners).to(device)]
        texts_right += _nearest_is_own(vectors, truth, image_means)
        texts_read += len(texts)
        by_caption.add(vectors, truth)
    caption_means = by_caption.means()
    images_right = sum(_nearest_is_own(vectors, truth, caption_means) for vectors, truth in image_vectors())
    return {
        "image_to_class": 100 * images_right / total,
        "text_to_class": 100 * texts_right / texts_read,
        "chance": 100 / len(names),
    }


def _caption_chunks(
    split: Split, indices: NDArray[np.int64], captions: int | None
) -> Iterator[tuple[list[str], NDArray[np.int64]]]:
    """Yield the captions of images, some at a time, with the position of each one's image in `indices`."""
    texts: list[str] = []
    owners: list[int] = []
    for position, index in enumerate(indices.tolist()):
        own = split.captions(index)[:captions]
        texts += own
        owners += [position] * len(own)
        if len(texts) >= _CHUNK:
            yield texts, np.array(owners)
            texts, owners = [], []
    if texts:
        yield texts, np.array(owners)


class _ClassMeans:
    """Mean vectors of classes, gathered chunk by chunk."""

    def __init__(self, classes: int) -> None:
        self.counts = torch.zeros(classes)
        self.sums = torch.zeros(classes, 0)

    def add(self, vectors: Tensor, classes: Tensor) -> None:
        """Add vectors (b, E) of classes (b,)."""
        if not self.sums.numel():
            self.counts = self.counts.to(vectors.device)
            self.sums = vectors.new_zeros(len(self.counts), vectors.shape[1])
        self.counts.index_add_(0, classes, torch.ones_like(classes, dtype=self.counts.dtype))
        self.sums.index_add_(0, classes, vectors)

    def means(self) -> Tensor:
        """Return the means, (C, E)."""
        return self.sums / self.counts[:, None]


def _nearest_is_own(vectors: Tensor, classes: Tensor, means: Tensor) -> int:
    """Count the vectors (b, E) that have the largest dot product with the mean of their own class."""
    return int(((vectors @ means.T).argmax(dim=1) == classes).sum())
