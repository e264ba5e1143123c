"""Training of the DAMSM encoders."""

from __future__ import annotations

import copy
import hashlib
import math
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from gancli.config.arguments import arguments_of, construct
from gancli.config.damsm import DamsmRecipe
from gancli.data.loader import BatchSource, evaluation_batches
from gancli.data.shards import Split
from gancli.encoders.backbones import fold_batch_norms, load_imagenet
from gancli.encoders.damsm import DamsmPretraining, ImageEncoder, TextEncoder, flat_output, save_damsm
from gancli.encoders.image_features import FrozenNetwork, ViewBatches, extract_features
from gancli.encoders.vectors import VectorFile
from gancli.engine.checkpoint import seed_everything
from gancli.engine.loop import Networks
from gancli.hashes import file_hash
from gancli.losses.matching import DamsmGammas, cosine_similarity_matrix
from gancli.scores.retrieval import CANDIDATES, r_precision
from gancli.training.caption_vectors import reporter
from gancli.training.parameters import CUB_VOCABULARY, PUBLISHED_SIDE, CountedNetworks
from gancli.training.run import (
    Hooks,
    Request,
    RunResult,
    backbone_side,
    prepare_run,
    run_training,
    set_rate,
    share_of,
)
from gancli.weights import find_weights
from gancli.weights_folder import read_settings

HELD_OUT_IMAGES = 1000  # at most, for the encoder's report after each epoch
ACCURACY = {
    "accuracy": "r_precision",
    "chance": "chance",
}  # entries of config.yaml, and figures of the report


def pretrain_damsm(request: Request[DamsmRecipe]) -> RunResult:
    """Train the DAMSM encoders, and report after each epoch how well they retrieve held-out pairs.

    Result and errors are those of `gancli.pretrain_encoder`.
    """
    run = prepare_run(request)
    recipe, dataset, words = run.recipe, run.dataset, run.recipe.loader.words
    arguments = encoder_arguments(recipe, dataset.image_size)
    seed_everything(recipe.train.seed)
    model = build_damsm(recipe, arguments, len(dataset.vocabulary), run.device, request.weights)
    size = min(backbone_side(recipe.model, dataset.image_size), dataset.image_size)
    source: BatchSource | ViewBatches
    kept = recipe.loader.views == "ten"
    source = BatchSource(run.split, sizes=[] if kept else [size], **share_of(recipe), words=words)
    held_out = dataset.split("test") if "test" in dataset.split_names else run.split
    centres: VectorFile | None = None
    if kept:
        frozen = frozen_backbone(model.image, size, run.device, request.weights)
        progress = reporter(run.events, "image features", "images")
        source = ViewBatches(source, extract_features(run.split, frozen, "ten", progress=progress))
        centres = extract_features(held_out, frozen, "centre", progress=progress)

    def evaluate(networks: Networks, step: int) -> dict[str, float]:
        return retrieval_report(model, held_out, size, recipe.loader.batch, words, run.device, centres)

    def export(networks: Networks, folder: Path, settings: dict[str, object]) -> None:
        save_damsm(
            folder, model.text, model.image, dataset.vocabulary, settings | {"words": words, **arguments}
        )

    schedule = EpochSchedule(model.optimizer, recipe)
    hooks = Hooks(export, evaluate=evaluate, evaluate_every=len(source), on_epoch=schedule)
    result = run_training(run, model, source, hooks)
    if result.loop.interrupted is None:
        model.text.eval()
        model.image.eval()
        found = evaluate({}, result.loop.step)
        measured: dict[str, object] = {name: found[key] for name, key in ACCURACY.items() if key in found}
        if measured:
            measured |= {"held_out": min(len(held_out), HELD_OUT_IMAGES), "split": held_out.name}
        export({}, result.output, read_settings(result.run / "model") | measured)
    return result


def frozen_backbone(
    image: ImageEncoder, size: int, device: torch.device, weights: Path | None
) -> FrozenNetwork:
    """Return the network of an image encoder's backbone, whose output `ImageEncoder.from_backbone` takes.

    Args:
        image: Image encoder with ImageNet weights.
        size: Side of the images in pixels.
        device: Device of the network.
        weights: File or folder of the weights; None for the places where `gancli.weights` looks.
    """
    backbone = copy.deepcopy(image.backbone).eval().requires_grad_(False)
    fold_batch_norms(backbone)
    backbone.to(memory_format=torch.channels_last)
    file = find_weights(backbone.imagenet, weights)
    name = f"{backbone.imagenet} (ImageNet)"
    digest = hashlib.sha256(f"{file_hash(file)}:{backbone.imagenet}:{size}:flat".encode()).hexdigest()

    def network(images: Tensor) -> Tensor:
        if images.shape[-1] != size:
            images = F.interpolate(images, size=(size, size), mode="bilinear", antialias=True)
        return flat_output(backbone, images)

    with torch.no_grad():
        dim = network(torch.zeros(1, 3, size, size, device=device)).shape[1]
    return FrozenNetwork(name, digest, dim, network, device)


def encoder_arguments(recipe: DamsmRecipe, image_size: int) -> dict[str, dict[str, object]]:
    """Return the arguments of both encoders, as an encoder folder's config.yaml keeps them.

    Raises:
        ConfigError: The small backbone cannot work at the side of the images.
    """
    model, size = recipe.model, backbone_side(recipe.model, image_size)
    return {
        "text": arguments_of(TextEncoder, model),
        "image": arguments_of(ImageEncoder, model, size=size, frozen_backbone=model.pretrained),
    }


def build_damsm(
    recipe: DamsmRecipe,
    arguments: dict[str, dict[str, object]],
    vocabulary_size: int,
    device: torch.device,
    weights: Path | None = None,
) -> DamsmPretraining:
    """Return both encoders, ready for the engine. A pretrained backbone gets its ImageNet weights."""
    image = construct(ImageEncoder, **arguments["image"])
    if recipe.model.pretrained:
        load_imagenet(image.backbone, weights)
    return construct(
        DamsmPretraining,
        recipe.optim,
        text=construct(TextEncoder, vocabulary_size=vocabulary_size, **arguments["text"]).to(device),
        image=image.to(device),
        gammas=construct(DamsmGammas, recipe.loss),
    )


def networks(recipe: DamsmRecipe) -> CountedNetworks:
    """Return the networks of a recipe, for counting parameters."""
    arguments = encoder_arguments(recipe, PUBLISHED_SIDE)
    text = construct(TextEncoder, vocabulary_size=CUB_VOCABULARY, **arguments["text"])
    image = construct(ImageEncoder, **arguments["image"])
    return CountedNetworks({"text": text, "image": image}, f"a vocabulary of {CUB_VOCABULARY:,} entries")


class EpochSchedule:
    """Schedule that multiplies the learning rate after each epoch while it is above a floor (AttnGAN code).

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
    model: DamsmPretraining,
    split: Split,
    size: int,
    batch: int,
    words: int,
    device: torch.device,
    centres: VectorFile | None = None,
) -> dict[str, float]:
    """Measure how well held-out images and captions find each other by their global codes, in per cent.

    Args:
        model: Networks in eval mode.
        split: Held-out pairs; the first `HELD_OUT_IMAGES` are used.
        size: Side of the images in pixels.
        batch: Pairs that compete in the top-1 figures; a last smaller batch does not count.
        words: Most words of a caption.
        device: Device of the networks.
        centres: The backbone's output for the centre of each image, (N, 1, F), where it is kept.

    Returns:
        `image_to_text` and `text_to_image`, top-1 within a batch, and `r_precision`, own caption first of
        `CANDIDATES` (of as many as other classes give, where they are fewer), with `chance`, what guessing would reach.
    """
    codes, sentences, class_ids = [], [], []
    sizes = [size] if centres is None else []
    for held_out in evaluation_batches(split, sizes=sizes, batch=batch, words=words, limit=HELD_OUT_IMAGES):
        moved = held_out.to(device)
        sentences.append(model.text(moved.tokens, moved.lengths)[1].float().cpu())
        if centres is None:
            code = model.image(moved.images[0])[1]
        else:
            output = centres.vectors[held_out.indices.numpy(), 0].astype(np.float32)
            code = model.image.from_backbone(torch.from_numpy(output).to(device))[1]
        codes.append(code.float().cpu())
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
        report["chance"] = 100 / candidates
    return report
