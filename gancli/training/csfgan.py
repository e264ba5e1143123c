"""Training of CSF-GAN."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from gancli.config.arguments import arguments_of, construct
from gancli.config.csfgan import CSFGANRecipe
from gancli.data.holes import Holes
from gancli.data.loader import Batch, BatchSource, evaluation_batches
from gancli.encoders.damsm import Damsm, TextEncoder
from gancli.encoders.vgg16 import Vgg16, load_vgg16
from gancli.engine.checkpoint import seed_everything
from gancli.engine.distributed import main_first
from gancli.engine.loop import Networks
from gancli.engine.phases import AdamSettings
from gancli.errors import DataError
from gancli.figures import grid
from gancli.inference.csfgan import save_csfgan
from gancli.losses.matching import DamsmGammas, padding_mask
from gancli.models import csfgan
from gancli.training.caption_vectors import grid_images
from gancli.training.parameters import TEXT_DIMS, CountedNetworks
from gancli.training.projected import projected_discriminator
from gancli.training.run import Hooks, Prepared, Request, RunResult, prepare_run, run_training, share_of

GRID_IMAGES = 12  # each with its hole, filled, and as it was
GRID_COLUMNS = 6


def train_csfgan(request: Request[CSFGANRecipe]) -> RunResult:
    """Train CSF-GAN. Result and errors are those of `gancli.train`."""
    run = prepare_run(request)
    recipe, encoder, holes = run.recipe, run.condition, run.holes
    assert isinstance(encoder, Damsm)
    assert holes is not None
    perceptual = main_first(lambda: perceptual_network(recipe, request.weights))  # which may download them
    seed_everything(recipe.train.seed)
    arguments = generator_arguments(recipe, int(encoder.settings["text"]["dim"]))
    model = build_csfgan(recipe, arguments, encoder, perceptual, run.device)
    source = BatchSource(
        run.split,
        sizes=[recipe.model.size],
        **share_of(recipe),
        words=recipe.loader.words,
        holes=holes,
        grayscale=recipe.loader.grayscale,
        window=recipe.loader.window,
    )
    shown = GridImages.choose(run, holes, encoder.text)

    def export(networks: Networks, folder: Path, settings: dict[str, object]) -> None:
        settings |= model_settings(recipe, arguments, holes)
        save_csfgan(folder, networks["generator"], encoder, settings)

    return run_training(run, model, source, Hooks(export, shown.draw))


def generator_arguments(recipe: CSFGANRecipe, text_dim: int) -> dict[str, object]:
    """Return the generator's arguments, as a model folder's config.yaml keeps them."""
    return arguments_of(csfgan.Generator, recipe.model, text_dim=text_dim)


def model_settings(recipe: CSFGANRecipe, arguments: dict[str, object], holes: Holes) -> dict[str, object]:
    """Return the part of a model folder's config.yaml that the recipe gives.

    Args:
        recipe: Recipe.
        arguments: Arguments of the generator.
        holes: Holes of the recipe.
    """
    return {
        "words": recipe.loader.words,
        "holes": holes.settings.to_dict(),
        "window": recipe.loader.window,
        "word_discriminator": recipe.model.word_discriminator,
        "edge": recipe.loss.edge,
        "generator": arguments,
    }


def build_networks(
    recipe: CSFGANRecipe, arguments: dict[str, object], *, pretrained: bool = True
) -> dict[str, nn.Module]:
    """Return generator, discriminator and, unless the recipe leaves it out, word discriminator with fresh weights.

    `pretrained` loads the weights below projected discriminators.
    """
    model, text_dim = recipe.model, arguments["text_dim"]
    assert isinstance(text_dim, int)

    def projected() -> nn.Module | None:
        return projected_discriminator(recipe.discriminator, text_dim, pretrained=pretrained)

    built: dict[str, nn.Module] = {
        "generator": construct(csfgan.Generator, **arguments),
        "discriminator": projected() or construct(csfgan.Discriminator, model),
    }
    if model.word_discriminator:
        built["word_discriminator"] = projected() or construct(
            csfgan.WordLocalDiscriminator, model, text_dim=text_dim
        )
    return built


def build_csfgan(
    recipe: CSFGANRecipe,
    arguments: dict[str, object],
    encoder: Damsm,
    perceptual: Vgg16 | None,
    device: torch.device,
) -> csfgan.CSFGAN:
    """Return CSF-GAN with fresh weights on a device, ready for the engine.

    The text half of the encoder conditions, its image half compares in the matching loss.
    """
    built = {name: each.to(device) for name, each in build_networks(recipe, arguments).items()}
    return construct(
        csfgan.CSFGAN,
        recipe.loss,
        generator=built["generator"],
        discriminator=built["discriminator"],
        word_discriminator=built.get("word_discriminator"),
        text_encoder=encoder.text,
        image_encoder=encoder.image,
        perceptual_network=None if perceptual is None else perceptual.to(device),
        weights=construct(csfgan.LossWeights, recipe.loss),
        gammas=construct(DamsmGammas, recipe.loss),
        adam=construct(AdamSettings, recipe.optim),
    )


def networks(recipe: CSFGANRecipe) -> CountedNetworks:
    """Return the networks of a recipe, for counting parameters."""
    dim = TEXT_DIMS["damsm"]
    built = build_networks(recipe, generator_arguments(recipe, dim), pretrained=False)
    return CountedNetworks(built, f"word and sentence features of {dim:,} numbers")


def perceptual_network(recipe: CSFGANRecipe, weights: Path | None) -> Vgg16 | None:
    """Return VGG-16 of the perceptual and the style loss; None where both have weight 0.

    Raises:
        DataError: Its weights cannot be found.
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
    """Held-out images of the sample grids, with fixed holes, captions and noise.

    Attributes:
        batch: Images, their captions and holes.
        noise: (N, Z).
        condition_noise: (N, C).
        text_encoder: Encoder of the captions.
    """

    batch: Batch
    noise: Tensor
    condition_noise: Tensor
    text_encoder: TextEncoder

    @classmethod
    def choose(cls, run: Prepared[CSFGANRecipe], holes: Holes, text_encoder: TextEncoder) -> GridImages:
        """Take images spread over the held-out split, each with the hole that evaluation gives it."""
        recipe, device = run.recipe, run.device
        split, indices = grid_images(run.dataset, GRID_IMAGES)
        images = np.array(indices, np.int64)
        side, seed = recipe.model.size, recipe.train.seed
        (batch,) = evaluation_batches(
            split,
            sizes=[side],
            batch=len(images),
            words=recipe.loader.words,
            images=images,
            holes=holes,
            seed=seed,
            window=recipe.loader.window,
        )
        random = torch.Generator().manual_seed(seed)
        noise = torch.randn(len(images), recipe.model.noise_dim, generator=random)
        condition_noise = torch.randn(len(images), recipe.model.condition_dim, generator=random)
        return cls(batch.to(device), noise.to(device), condition_noise.to(device), text_encoder)

    @torch.no_grad()
    def draw(self, networks: Networks, step: int) -> Image.Image:
        """Draw each image with its hole, filled, and as it was."""
        (images,), holes = self.batch.images, self.batch.holes
        assert holes is not None
        words, sentence = self.text_encoder(self.batch.tokens, self.batch.lengths)
        mask = padding_mask(self.batch.lengths, self.batch.tokens.shape[1])
        conditions = (sentence, words, mask, self.noise, self.condition_noise)
        output = networks["generator"](images, holes, *conditions)
        panels = torch.stack([images * (1 - holes), output.composite, images], dim=1)  # (N, 3, 3, S, S)
        return grid(panels.flatten(0, 1), GRID_COLUMNS)
