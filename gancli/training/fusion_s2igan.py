"""Training of Fusion-S2iGan, and of DF-GAN with it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor, nn

from gancli.config.arguments import arguments_of, construct
from gancli.config.fusion_s2igan import FusionS2iGanRecipe
from gancli.data.loader import BatchSource, Sentences
from gancli.encoders.damsm import load_damsm
from gancli.encoders.sentence import SentenceEncoder
from gancli.encoders.speech import Speech
from gancli.engine.checkpoint import seed_everything
from gancli.engine.loop import Networks
from gancli.engine.phases import AdamSettings
from gancli.errors import ConfigError
from gancli.figures import grid
from gancli.inference.fusion_s2igan import save_fusion_s2igan
from gancli.models.fusion_s2igan import Discriminator, FusionS2iGan, Generator
from gancli.training.caption_vectors import CaptionVectors
from gancli.training.parameters import TEXT_DIMS, CountedNetworks
from gancli.training.projected import projected_discriminator
from gancli.training.run import Hooks, Request, RunResult, prepare_run, run_training, share_of

CONDITION_DIMS = {"speech": 1024, "sentence": TEXT_DIMS["damsm"]}  # widths of the published vectors


def train_fusion_s2igan(request: Request[FusionS2iGanRecipe]) -> RunResult:
    """Train Fusion-S2iGan or DF-GAN. Result and errors are those of `gancli.train`."""
    run = prepare_run(request)
    recipe, vectors = run.recipe, run.condition
    assert isinstance(vectors, CaptionVectors)
    encoder = vectors.encoder
    assert encoder is not None
    compared = image_encoder(recipe, encoder, run.device)
    seed_everything(recipe.train.seed)
    arguments = generator_arguments(recipe, encoder.dim)
    model = build_fusion_s2igan(recipe, arguments, compared, run.device)
    source = BatchSource(
        run.split,
        sizes=[recipe.model.size],
        **share_of(recipe),
        words=0,
        sentences=Sentences(vectors.train, wrong="text" if recipe.loader.mismatch == "class-aware" else None),
    )
    random = torch.Generator().manual_seed(recipe.train.seed)
    noise = torch.randn(len(vectors.grid), recipe.model.noise_dim, generator=random).to(run.device)

    def sample(networks: Networks, step: int) -> Image.Image:
        with torch.no_grad():
            return grid(networks["generator"](noise, vectors.grid))

    def export(networks: Networks, folder: Path, settings: dict[str, object]) -> None:
        save_fusion_s2igan(folder, networks["generator"], encoder, settings | {"generator": arguments})

    return run_training(run, model, source, Hooks(export, sample))


def generator_arguments(recipe: FusionS2iGanRecipe, condition_dim: int) -> dict[str, object]:
    """Return the generator's arguments, as a model folder's config.yaml keeps them."""
    return arguments_of(Generator, recipe.model, condition_dim=condition_dim)


def build_networks(
    recipe: FusionS2iGanRecipe, arguments: dict[str, object], *, pretrained: bool = True
) -> dict[str, nn.Module]:
    """Return generator and discriminator with fresh weights.

    `pretrained` loads the weights below a projected discriminator.

    Raises:
        ConfigError: The width does not suit the attention module.
    """
    try:
        generator = construct(Generator, **arguments)
    except ValueError as error:
        raise ConfigError(
            f"model.generator_width: received {recipe.model.generator_width}: {error}",
            "Choose a multiple of 8, or another model.attention.",
        ) from error
    dim = generator.condition_dim
    projected = projected_discriminator(recipe.discriminator, dim, pretrained=pretrained)
    discriminator = projected or construct(Discriminator, recipe.model, condition_dim=dim)
    return {"generator": generator, "discriminator": discriminator}


def build_fusion_s2igan(
    recipe: FusionS2iGanRecipe,
    arguments: dict[str, object],
    compared: Callable[[Tensor], Tensor] | None,
    device: torch.device,
) -> FusionS2iGan:
    """Return Fusion-S2iGan with fresh weights on a device, ready for the engine; `compared` is from `image_encoder`."""
    return construct(
        FusionS2iGan,
        recipe.loss,
        **{name: each.to(device) for name, each in build_networks(recipe, arguments).items()},
        image_encoder=compared,
        adam=construct(AdamSettings, recipe.optim),
    )


def networks(recipe: FusionS2iGanRecipe) -> CountedNetworks:
    """Return the networks of a recipe, for counting parameters."""
    dim = CONDITION_DIMS[recipe.condition]
    built = build_networks(recipe, generator_arguments(recipe, dim), pretrained=False)
    return CountedNetworks(built, f"{recipe.condition} vectors of {dim:,} numbers")


def image_encoder(
    recipe: FusionS2iGanRecipe, encoder: SentenceEncoder | Speech, device: torch.device
) -> Callable[[Tensor], Tensor] | None:
    """Return the image half of the encoder for the matching loss; None where its weight is 0.

    Raises:
        ConfigError: The encoder has no image half.
    """
    if recipe.loss.damsm == 0:
        return None
    if isinstance(encoder, Speech):
        if encoder.image is None:
            raise ConfigError(
                f"loss.damsm: received {recipe.loss.damsm}, but {encoder.folder} was imported without an image half to "
                "compare images with",
                "Set loss.damsm=0, or import it with --image.",
            )
        return encoder.image
    if encoder.kind != "damsm":
        raise ConfigError(
            f"loss.damsm: received {recipe.loss.damsm}, but {encoder.folder} is a {encoder.kind} encoder, which has no "
            "image half to compare images with",
            "Set loss.damsm=0, or name an encoder of gancli pretrain-encoder damsm.",
        )
    image = load_damsm(encoder.folder, device).image

    return lambda images: image(images)[1]
