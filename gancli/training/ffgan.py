"""Training of FF-GAN."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor, nn

from gancli.config.arguments import arguments_of, construct
from gancli.config.ffgan import FFGANRecipe
from gancli.data.loader import BatchSource
from gancli.data.text import pad_tokens
from gancli.encoders.damsm import Damsm
from gancli.engine.checkpoint import seed_everything
from gancli.engine.loop import Networks
from gancli.engine.phases import AdamSettings
from gancli.figures import grid
from gancli.inference.ffgan import save_ffgan
from gancli.losses.matching import DamsmGammas, padding_mask
from gancli.models.ffgan import FFGAN, Discriminator, Generator
from gancli.models.layers import ConditionalDiscriminator
from gancli.training.caption_vectors import grid_images
from gancli.training.parameters import CountedNetworks
from gancli.training.projected import projected_discriminator
from gancli.training.run import Hooks, Prepared, Request, RunResult, prepare_run, run_training, share_of


def train_ffgan(request: Request[FFGANRecipe]) -> RunResult:
    """Train FF-GAN. Result and errors are those of `gancli.train`."""
    run = prepare_run(request)
    recipe, encoder = run.recipe, run.condition
    assert isinstance(encoder, Damsm)
    seed_everything(recipe.train.seed)
    model = build_ffgan(recipe, encoder, run.device)
    source = BatchSource(run.split, sizes=recipe.model.stages, **share_of(recipe), words=recipe.loader.words)
    shown = GridConditions.choose(run, encoder.text)

    def export(networks: Networks, folder: Path, settings: dict[str, object]) -> None:
        settings |= {"words": recipe.loader.words, "generator": generator_arguments(recipe)}
        save_ffgan(folder, networks["generator"], encoder, settings)

    return run_training(run, model, source, Hooks(export, shown.draw))


def generator_arguments(recipe: FFGANRecipe) -> dict[str, object]:
    """Return the generator's arguments, as a model folder's config.yaml keeps them."""
    return arguments_of(Generator, recipe.model, stages=list(recipe.model.stages))


def build_discriminators(
    recipe: FFGANRecipe, *, pretrained: bool = True
) -> dict[int, ConditionalDiscriminator]:
    """Return the discriminators with fresh weights by image side: one for each stage, or a projected one for the last.

    `pretrained` loads the weights below projected ones.
    """
    model = recipe.model
    projected = projected_discriminator(recipe.discriminator, model.text_dim, pretrained=pretrained)
    if projected is not None:
        return {model.stages[-1]: projected}
    return {side: construct(Discriminator, model, size=side) for side in model.stages}


def build_ffgan(recipe: FFGANRecipe, encoder: Damsm, device: torch.device) -> FFGAN:
    """Return FF-GAN with fresh weights on a device, ready for the engine."""
    return construct(
        FFGAN,
        recipe.loss,
        generator=construct(Generator, **generator_arguments(recipe)).to(device),
        discriminators={side: each.to(device) for side, each in build_discriminators(recipe).items()},
        text_encoder=encoder.text,
        image_encoder=encoder.image,
        gammas=construct(DamsmGammas, recipe.loss),
        adam=construct(AdamSettings, recipe.optim),
    )


def networks(recipe: FFGANRecipe) -> CountedNetworks:
    """Return the networks of a recipe, for counting parameters."""
    found: dict[str, nn.Module] = {"generator": construct(Generator, **generator_arguments(recipe))}
    found |= {
        f"discriminator_{side}": each for side, each in build_discriminators(recipe, pretrained=False).items()
    }
    return CountedNetworks(found)


@dataclass(frozen=True)
class GridConditions:
    """Captions and noise of a run's sample grids, the same from the first grid to the last.

    Attributes:
        tokens: (N, L) word indices.
        lengths: (N,) words of each caption.
        noise: (N, Z).
        condition_noise: (N, C).
        text_encoder: Encoder of the captions.
    """

    tokens: Tensor
    lengths: Tensor
    noise: Tensor
    condition_noise: Tensor
    text_encoder: nn.Module

    @classmethod
    def choose(cls, run: Prepared[FFGANRecipe], text_encoder: nn.Module) -> GridConditions:
        """Take the first captions of `grid_images`, and noise from the recipe's seed."""
        split, indices = grid_images(run.dataset)
        recipe, device = run.recipe, run.device
        count, words = len(indices), recipe.loader.words
        tokens, lengths = pad_tokens([split.tokens(index)[0][:words] for index in indices], words)
        random = torch.Generator().manual_seed(recipe.train.seed)
        noise = torch.randn(count, recipe.model.noise_dim, generator=random)
        condition_noise = torch.randn(count, recipe.model.condition_dim, generator=random)
        return cls(
            torch.from_numpy(tokens).to(device),
            torch.from_numpy(lengths).to(device),
            noise.to(device),
            condition_noise.to(device),
            text_encoder,
        )

    @torch.no_grad()
    def draw(self, networks: Networks, step: int) -> Image.Image:
        """Draw one image per caption, of the largest stage."""
        words, sentence = self.text_encoder(self.tokens, self.lengths)
        mask = padding_mask(self.lengths, self.tokens.shape[1])
        output = networks["generator"](sentence, words, mask, self.noise, self.condition_noise)
        return grid(output.images[-1])
