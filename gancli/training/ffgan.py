"""Training FF-GAN."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor, nn

from gancli.build import build_ffgan, generator_arguments
from gancli.config import FFGANRecipe
from gancli.data.loader import BatchSource
from gancli.data.shards import Dataset
from gancli.data.text import pad_tokens
from gancli.encoders.damsm import load_damsm
from gancli.engine.checkpoint import seed_everything
from gancli.engine.events import Events
from gancli.figures import grid
from gancli.inference.load import save_model
from gancli.losses.matching import padding_mask
from gancli.training.run import RunResult, grid_images, load_initial_weights, share_of, train_model
from gancli.version import __version__


def train_ffgan(
    recipe: FFGANRecipe,
    dataset: Dataset,
    device: torch.device,
    events: Events,
    *,
    runs: Path = Path("runs"),
    resume: Path | None = None,
    init_from: Path | None = None,
) -> RunResult:
    """Trains FF-GAN on a dataset as a recipe says; further arguments, result and errors as `gancli.train`."""
    encoder = load_damsm(recipe.encoder, device)
    encoder.check_vocabulary(dataset.vocabulary, dataset.path)
    seed_everything(recipe.train.seed)
    model = build_ffgan(recipe, encoder, device)
    if init_from is not None:
        load_initial_weights(model.networks, init_from, "ffgan")
    source = BatchSource(
        dataset.split("train"),
        sizes=recipe.model.stages,
        **share_of(recipe),
        words=recipe.loader.words,
    )
    conditions = GridConditions.choose(dataset, recipe, device)

    def sample(networks: Mapping[str, nn.Module], step: int) -> Image.Image:
        return conditions.draw(networks["generator"], encoder.text)

    def export(networks: Mapping[str, nn.Module], folder: Path, step: int, images: int) -> None:
        settings = {
            "kind": "ffgan",
            "gancli": __version__,
            "dataset": dataset.name,
            "words": recipe.loader.words,
            "step": step,
            "images_seen": images,
            "encoder_hash": encoder.hash,
            "generator": generator_arguments(recipe.model),
            "text": dict(encoder.settings["text"]),
        }
        save_model(folder, networks["generator"], encoder.text, encoder.vocabulary, settings)

    return train_model(
        recipe,
        model,
        source,
        device,
        runs=runs,
        label=f"ffgan-{dataset.name}",
        resume=resume,
        sample=sample,
        export=export,
        events=events,
    )


@dataclass(frozen=True)
class GridConditions:
    """The captions and the noise of a run's sample grids: the same from the first grid to the last.

    Attributes:
        tokens: (N, L).
        lengths: (N,).
        noise: (N, Z).
        condition_noise: (N, C).
    """

    tokens: Tensor
    lengths: Tensor
    noise: Tensor
    condition_noise: Tensor

    @classmethod
    def choose(cls, dataset: Dataset, recipe: FFGANRecipe, device: torch.device) -> GridConditions:
        """First captions of `grid_images`, noise from the recipe's seed."""
        split, indices = grid_images(dataset)
        count, words = len(indices), recipe.loader.words
        tokens, lengths = pad_tokens([split.tokens(index)[0][:words] for index in indices], words)
        generator = torch.Generator().manual_seed(recipe.train.seed)
        noise = torch.randn(count, recipe.model.noise_dim, generator=generator)
        condition_noise = torch.randn(count, recipe.model.condition_dim, generator=generator)
        return cls(
            torch.from_numpy(tokens).to(device),
            torch.from_numpy(lengths).to(device),
            noise.to(device),
            condition_noise.to(device),
        )

    @torch.no_grad()
    def draw(self, generator: nn.Module, text_encoder: nn.Module) -> Image.Image:
        """One image per caption, of the largest stage."""
        words, sentence = text_encoder(self.tokens, self.lengths)
        mask = padding_mask(self.lengths, self.tokens.shape[1])
        output = generator(sentence, words, mask, self.noise, self.condition_noise)
        return grid(output.images[-1])
