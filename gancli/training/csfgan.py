"""Training CSF-GAN."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from gancli.build import build_csfgan, build_holes, csfgan_arguments
from gancli.config import CSFGANRecipe
from gancli.data.holes import Holes
from gancli.data.loader import Batch, BatchSource, evaluation_batches
from gancli.data.shards import Dataset
from gancli.encoders.damsm import TextEncoder, load_damsm
from gancli.encoders.vgg16 import Vgg16, load_vgg16
from gancli.engine.checkpoint import seed_everything
from gancli.engine.distributed import main_first
from gancli.engine.events import Events
from gancli.errors import ConfigError, DataError
from gancli.figures import grid
from gancli.losses.matching import padding_mask
from gancli.training.run import RunResult, grid_images, load_initial_weights, share_of, train_model
from gancli.version import __version__
from gancli.weights_folder import write_folder

GRID_IMAGES = 12  # each with its hole, filled, and as it was
GRID_COLUMNS = 6


def train_csfgan(
    recipe: CSFGANRecipe,
    dataset: Dataset,
    device: torch.device,
    events: Events,
    *,
    runs: Path = Path("runs"),
    resume: Path | None = None,
    init_from: Path | None = None,
    weights: Path | None = None,
) -> RunResult:
    """Trains CSF-GAN on a dataset as a recipe says; further arguments, result and errors as `gancli.train`."""
    if recipe.model.size > dataset.image_size:
        raise ConfigError(
            f"model.size: received {recipe.model.size}, but {recipe.data} was prepared at {dataset.image_size} pixels",
            f"Set model.size={dataset.image_size} or less, or prepare the data with --image-size {recipe.model.size}.",
        )
    encoder = load_damsm(recipe.encoder, device)
    encoder.check_vocabulary(dataset.vocabulary, dataset.path)
    perceptual = main_first(lambda: perceptual_network(recipe, weights))  # which may download them
    holes = build_holes(recipe.holes)
    seed_everything(recipe.train.seed)
    arguments = csfgan_arguments(recipe, int(encoder.settings["text"]["dim"]))
    model = build_csfgan(recipe, arguments, encoder, perceptual, device)
    if init_from is not None:
        load_initial_weights(model.networks, init_from, recipe.model.name)
    source = BatchSource(
        dataset.split("train"),
        sizes=[recipe.model.size],
        **share_of(recipe),
        words=recipe.loader.words,
        holes=holes,
        grayscale=recipe.loader.grayscale,
    )
    shown = GridImages.choose(dataset, recipe, holes, device)

    def sample(networks: Mapping[str, nn.Module], step: int) -> Image.Image:
        return shown.draw(networks["generator"], encoder.text)

    def export(networks: Mapping[str, nn.Module], folder: Path, step: int, images: int) -> None:
        settings = {
            "kind": "csfgan",
            "gancli": __version__,
            "dataset": dataset.name,
            "words": recipe.loader.words,
            "step": step,
            "images_seen": images,
            "encoder_hash": encoder.hash,
            "holes": holes.settings.to_dict(),
            "word_discriminator": recipe.model.word_discriminator,
            "edge_weight": recipe.loss.edge,
            "generator": arguments,
            "text": dict(encoder.settings["text"]),
        }
        parts = {"generator": networks["generator"], "text_encoder": encoder.text}
        write_folder(folder, parts, encoder.vocabulary, settings)

    return train_model(
        recipe,
        model,
        source,
        device,
        runs=runs,
        label=f"{recipe.model.name}-{dataset.name}",
        resume=resume,
        sample=sample,
        export=export,
        events=events,
    )


def perceptual_network(recipe: CSFGANRecipe, weights: Path | None) -> Vgg16 | None:
    """VGG-16 of the perceptual and the style loss; None where both have weight 0.

    Raises:
        DataError: Its weights are not to be had.
    """
    loss = recipe.loss
    if loss.perceptual + loss.style == 0:
        return None
    try:
        return load_vgg16(weights, normalise=loss.vgg_input == "imagenet")
    except DataError as error:
        without = "loss.perceptual=0 trains without them."
        raise DataError(str(error), f"{error.hint} {without}" if error.hint else without) from error


@dataclass(frozen=True)
class GridImages:
    """What the sample grids show: held-out images with fixed holes, captions and noise.

    Attributes:
        batch: The images, their captions and holes.
        noise: (N, Z).
        condition_noise: (N, Z).
    """

    batch: Batch
    noise: Tensor
    condition_noise: Tensor

    @classmethod
    def choose(cls, dataset: Dataset, recipe: CSFGANRecipe, holes: Holes, device: torch.device) -> GridImages:
        """Images spread over the held-out split, each with the hole that evaluation gives it."""
        split, indices = grid_images(dataset)
        few = np.linspace(0, len(indices) - 1, min(GRID_IMAGES, len(indices))).astype(int)
        images = np.array(indices, np.int64)[few]
        side, seed = recipe.model.size, recipe.train.seed
        (batch,) = evaluation_batches(
            split,
            sizes=[side],
            batch=len(images),
            words=recipe.loader.words,
            images=images,
            holes=holes,
            seed=seed,
        )
        random = torch.Generator().manual_seed(seed)
        noise = torch.randn(len(images), recipe.model.noise_dim, generator=random)
        condition_noise = torch.randn(len(images), recipe.model.condition_dim, generator=random)
        return cls(batch.to(device), noise.to(device), condition_noise.to(device))

    @torch.no_grad()
    def draw(self, generator: nn.Module, text_encoder: TextEncoder) -> Image.Image:
        """Each image with its hole, filled, and as it was."""
        (images,), holes = self.batch.images, self.batch.holes
        assert holes is not None
        words, sentence = text_encoder(self.batch.tokens, self.batch.lengths)
        mask = padding_mask(self.batch.lengths, self.batch.tokens.shape[1])
        output = generator(images, holes, sentence, words, mask, self.noise, self.condition_noise)
        panels = torch.stack([images * (1 - holes), output.composite, images], dim=1)  # (N, 3, 3, S, S)
        return grid(panels.flatten(0, 1), GRID_COLUMNS)
