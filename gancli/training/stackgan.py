"""Training of either stage of StackGAN."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor, nn

from gancli.config.arguments import arguments_of, construct
from gancli.config.stackgan import StackGANRecipe
from gancli.data.loader import BatchSource, Sentences
from gancli.encoders.speech import Speech
from gancli.engine.checkpoint import seed_everything
from gancli.engine.loop import Networks
from gancli.engine.phases import AdamSettings
from gancli.errors import ConfigError
from gancli.figures import grid
from gancli.inference.stackgan import save_stackgan
from gancli.models import stackgan
from gancli.models.stackgan import StageOneGenerator, StageTwoGenerator
from gancli.run_paths import weights_folder_of
from gancli.training.caption_vectors import CaptionVectors, Condition
from gancli.training.parameters import TEXT_DIMS, CountedNetworks
from gancli.training.projected import projected_discriminator
from gancli.training.run import (
    Hooks,
    Prepared,
    Request,
    RunResult,
    StepDecay,
    prepare_run,
    refuse_other_encoder,
    run_training,
    share_of,
)
from gancli.weights_folder import load_part, read_folder, reading_settings


def train_stackgan(request: Request[StackGANRecipe]) -> RunResult:
    """Train the stage that the recipe says. Result and errors are those of `gancli.train`."""
    run = prepare_run(request)
    recipe, vectors = run.recipe, run.condition
    assert isinstance(vectors, CaptionVectors)
    first = StageOne.of(run, vectors)
    seed_everything(recipe.train.seed)
    arguments = generator_arguments(recipe, vectors.train.dim, first.generator.size if first else 0)
    model = build_stackgan(recipe, arguments, first.generator if first else None, run.device)
    source = BatchSource(
        run.split,
        sizes=[recipe.model.size],
        **share_of(recipe),
        words=0,
        sentences=Sentences(vectors.train, recipe.loader.averaged, recipe.loader.wrong_pair),
    )
    shown = GridConditions.choose(vectors.grid, model.generator, first, recipe.train.seed)

    def export(networks: Networks, folder: Path, settings: dict[str, object]) -> None:
        stage1: nn.Module = networks["generator"]
        stage2: nn.Module | None = None
        if first is None:
            settings["stage1"] = arguments
        else:
            settings |= {"stage1": first.arguments, "stage2": arguments}
            stage1, stage2 = first.generator, networks["generator"]
        encoder = vectors.encoder
        assert not isinstance(encoder, Speech)
        save_stackgan(folder, stage1, stage2, encoder or vectors.train, settings)

    decay = StepDecay(model.phases, recipe.optim.lr_decay, recipe.optim.lr_decay_epochs)
    hooks = Hooks(export, shown.draw, on_epoch=decay, prefix=f"stage{recipe.stage}.")
    return run_training(run, model, source, hooks)


def generator_arguments(recipe: StackGANRecipe, text_dim: int, input_size: int) -> dict[str, object]:
    """Return the arguments of the stage's generator, as a model folder's config.yaml keeps them.

    `input_size` is the side in pixels of Stage I's images; Stage I does not look at it.
    """
    if recipe.stage == 1:
        return arguments_of(StageOneGenerator, recipe.model, text_dim=text_dim)
    return arguments_of(StageTwoGenerator, recipe.model, text_dim=text_dim, input_size=input_size)


def build_networks(
    recipe: StackGANRecipe, arguments: dict[str, object], *, pretrained: bool = True
) -> dict[str, nn.Module]:
    """Return generator and discriminator of the recipe's stage with fresh weights.

    `pretrained` loads the weights below a projected discriminator.

    Raises:
        ConfigError: The sides do not fit each other.
    """
    one = recipe.stage == 1
    discriminator = stackgan.stage_one_discriminator if one else stackgan.stage_two_discriminator
    text_dim = arguments["text_dim"]
    assert isinstance(text_dim, int)
    projected = projected_discriminator(recipe.discriminator, text_dim, pretrained=pretrained)
    try:
        return {
            "generator": construct(StageOneGenerator if one else StageTwoGenerator, **arguments),
            "discriminator": projected or construct(discriminator, recipe.model, text_dim=text_dim),
        }
    except ValueError as error:
        raise ConfigError(f"model.size: received {recipe.model.size}: {error}") from error


def build_stackgan(
    recipe: StackGANRecipe,
    arguments: dict[str, object],
    stage_one: StageOneGenerator | None,
    device: torch.device,
) -> stackgan.StackGAN:
    """Return a stage of StackGAN with fresh weights on a device, ready for the engine. Stage II needs `stage_one`."""
    return construct(
        stackgan.StackGAN,
        recipe.loss,
        **{name: each.to(device) for name, each in build_networks(recipe, arguments).items()},
        stage_one=stage_one,
        adam=construct(AdamSettings, recipe.optim),
    )


def networks(recipe: StackGANRecipe) -> CountedNetworks:
    """Return the networks of a recipe, for counting parameters."""
    dim, small = TEXT_DIMS[recipe.text], recipe.model.size // 4
    assumed = f"sentence vectors of {dim:,} numbers"
    if recipe.stage == 2:
        assumed += f" and Stage-I images of {small} pixels"
    arguments = generator_arguments(recipe, dim, small)
    return CountedNetworks(build_networks(recipe, arguments, pretrained=False), assumed)


# --- Stage I under Stage II -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class StageOne:
    """A trained Stage I for Stage II to draw on.

    Attributes:
        generator: Generator, frozen and in eval mode.
        arguments: Arguments of the generator.
    """

    generator: StageOneGenerator
    arguments: dict[str, object]

    @classmethod
    def of(cls, run: Prepared[StackGANRecipe], vectors: Condition) -> StageOne | None:
        """Return the Stage I under a recipe of Stage II; None for Stage I.

        A resumed run keeps the Stage I it began with: the recipe's may have been trained further since, or be gone.

        Raises:
            DataError: The folder holds something else.
            ConfigError: It holds both stages, or was trained with another text encoder.
        """
        if run.recipe.init.stage1 is None:
            return None
        folder = run.own or weights_folder_of(run.recipe.init.stage1, ("stackgan",))
        settings, tensors, _ = read_folder(folder, "stackgan")
        if run.own is None:
            with reading_settings(folder):
                if settings["stage"] != 1:
                    raise ConfigError(
                        f"init.stage1: {folder} holds a model of stage {settings['stage']}, not of stage 1"
                    )
            refuse_other_encoder(folder, settings, vectors)
        with reading_settings(folder):
            arguments = dict(settings["stage1"])
            generator = StageOneGenerator(**arguments)
        load_part(generator, tensors, "stage1.", folder)
        generator.to(run.device).to(memory_format=torch.channels_last).eval().requires_grad_(False)
        return cls(generator, arguments)


@dataclass(frozen=True)
class GridConditions:
    """Sentences and noise of a run's sample grids, the same from the first grid to the last.

    Attributes:
        inputs: Inputs of the trained generator: in Stage II Stage I's images, then sentences (N, E) and noise.
    """

    inputs: tuple[Tensor, ...]

    @classmethod
    def choose(
        cls, sentences: Tensor, generator: nn.Module, first: StageOne | None, seed: int
    ) -> GridConditions:
        """Draw the noise from the recipe's seed."""
        random = torch.Generator().manual_seed(seed)

        def noise(dim: int) -> Tensor:
            return torch.randn(len(sentences), dim, generator=random).to(sentences.device)

        small = first.generator if first else generator
        assert isinstance(small, StageOneGenerator)
        inputs = (sentences, noise(small.noise_dim), noise(small.condition_dim))
        if first is None:
            return cls(inputs)
        with torch.no_grad():
            images = first.generator(*inputs).images
        assert isinstance(generator, StageTwoGenerator)
        return cls((images, sentences, noise(generator.condition_dim)))

    @torch.no_grad()
    def draw(self, networks: Networks, step: int) -> Image.Image:
        """Draw one image per sentence."""
        return grid(networks["generator"](*self.inputs).images)
