"""Training either stage of StackGAN."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn

from gancli.build import build_stackgan, stackgan_arguments
from gancli.config import StackGANRecipe
from gancli.data.loader import BatchSource, Sentences
from gancli.data.shards import Dataset
from gancli.encoders.sentence import SentenceEncoder, load_sentence_encoder
from gancli.engine.checkpoint import RunFolder, seed_everything
from gancli.engine.events import Events
from gancli.errors import ConfigError, DataError
from gancli.figures import grid
from gancli.inference.load import save_stackgan
from gancli.models.stackgan import StageOneGenerator, StageTwoGenerator
from gancli.run_paths import weights_folder_of
from gancli.training.caption_vectors import (
    Conditions,
    precomputed_conditions,
    refuse_other_encoder,
    sentence_conditions,
)
from gancli.training.run import RunResult, StepDecay, load_initial_weights, share_of, train_model
from gancli.version import __version__
from gancli.weights_folder import load_part, read_folder, read_settings, reading_settings


def train_stackgan(
    recipe: StackGANRecipe,
    dataset: Dataset,
    device: torch.device,
    events: Events,
    *,
    runs: Path = Path("runs"),
    resume: Path | None = None,
    init_from: Path | None = None,
) -> RunResult:
    """Trains the stage that a recipe says on a dataset; further arguments, result and errors as `gancli.train`."""
    text = open_text(recipe, dataset, device, events)
    own = None if resume is None else RunFolder.open(resume).model
    if own is not None and own.is_dir():
        refuse_other_encoder(own, read_settings(own), text)
    first = StageOne.of(recipe, own, text, device)
    seed_everything(recipe.train.seed)
    arguments = stackgan_arguments(recipe, text.train.dim, first.generator.size if first else 0)
    model = build_stackgan(recipe, arguments, first.generator if first else None, device)
    if init_from is not None:
        load_initial_weights(model.networks, init_from, "stackgan", f"stage{recipe.stage}.")
    source = BatchSource(
        dataset.split("train"),
        sizes=[recipe.model.size],
        **share_of(recipe),
        words=0,
        sentences=Sentences(text.train, recipe.loader.averaged, recipe.loader.wrong_pair),
    )
    conditions = GridConditions.choose(text.grid, model.generator, first, recipe.train.seed)

    def sample(networks: Mapping[str, nn.Module], step: int) -> Image.Image:
        return conditions.draw(networks["generator"])

    def export(networks: Mapping[str, nn.Module], folder: Path, step: int, images: int) -> None:
        settings = {
            "gancli": __version__,
            "dataset": dataset.name,
            "step": step,
            "images_seen": images,
            **({"stage1": arguments} if first is None else {"stage1": first.arguments, "stage2": arguments}),
        }
        stage1, stage2 = (
            (networks["generator"], None) if first is None else (first.generator, networks["generator"])
        )
        save_stackgan(folder, stage1, stage2, text.encoder or text.train, settings)

    return train_model(
        recipe,
        model,
        source,
        device,
        runs=runs,
        label=f"stackgan-{dataset.name}-stage{recipe.stage}",
        resume=resume,
        sample=sample,
        export=export,
        events=events,
        on_epoch=StepDecay(model.phases, recipe.optim.lr_decay, recipe.optim.lr_decay_epochs),
    )


# --- text -----------------------------------------------------------------------------------------------------

Text = Conditions[SentenceEncoder | None]


def open_text(recipe: StackGANRecipe, dataset: Dataset, device: torch.device, events: Events) -> Text:
    """The sentence vectors from the recipe's encoder or file; computing them for the first time is reported.

    Raises:
        ConfigError: The encoder is of another kind than `text` says.
        DataError: It is missing, broken or of another dataset.
    """
    if recipe.text == "precomputed":
        assert recipe.embeddings is not None
        return precomputed_conditions(recipe.embeddings, dataset, device)
    assert recipe.encoder is not None
    encoder = load_sentence_encoder(recipe.encoder, device)
    if encoder.kind != recipe.text:
        raise ConfigError(
            f"text: received {recipe.text!r}, but {recipe.encoder} holds an encoder of kind {encoder.kind!r}",
            f"Set text={encoder.kind}, or name an encoder of gancli pretrain-encoder {recipe.text}.",
        )
    return sentence_conditions(encoder, dataset, events)


# --- Stage I under Stage II -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class StageOne:
    """A trained Stage I for Stage II to draw on.

    Attributes:
        generator: Frozen, in eval mode.
        arguments: Of the generator.
    """

    generator: StageOneGenerator
    arguments: dict[str, Any]

    @classmethod
    def of(
        cls, recipe: StackGANRecipe, own: Path | None, text: Text, device: torch.device
    ) -> StageOne | None:
        """What a recipe of Stage II stands on; None for Stage I.

        A resumed run keeps the Stage I it began with: the recipe's may have been trained further since, or be gone.

        Args:
            recipe: Of either stage.
            own: Model folder of the run that is resumed.
            text: Both stages read the same.
            device: Where to.

        Raises:
            As `load`.
        """
        if recipe.init.stage1 is None:
            return None
        if own is not None and own.is_dir():
            settings, tensors, _ = read_folder(own, "stackgan")
            return cls._built(own, settings, tensors, device)
        return cls.load(recipe.init.stage1, text, device)

    @classmethod
    def load(cls, folder: Path, text: Text, device: torch.device) -> StageOne:
        """The generator of a run or model folder of Stage I.

        Raises:
            DataError: There is no such folder, or it holds something else.
            ConfigError: It holds both stages, or was trained with another text encoder.
        """
        if not folder.exists():
            raise DataError(
                f"init.stage1: {folder}: no such run or model folder",
                "Train it first: gancli train stackgan stage=1 …",
            )
        folder = weights_folder_of(folder, ("stackgan",))
        settings, tensors, _ = read_folder(folder, "stackgan")
        with reading_settings(folder):
            if settings["stage"] != 1:
                raise ConfigError(
                    f"init.stage1: {folder} holds a model of stage {settings['stage']}, not of stage 1"
                )
        refuse_other_encoder(folder, settings, text)
        return cls._built(folder, settings, tensors, device)

    @classmethod
    def _built(
        cls, folder: Path, settings: Mapping[str, Any], tensors: Mapping[str, Tensor], device: torch.device
    ) -> StageOne:
        with reading_settings(folder):
            arguments = dict(settings["stage1"])
            generator = StageOneGenerator(**arguments)
        load_part(generator, tensors, "stage1.", folder)
        generator.to(device).to(memory_format=torch.channels_last).eval().requires_grad_(False)
        return cls(generator, arguments)


@dataclass(frozen=True)
class GridConditions:
    """The sentences and the noise of a run's sample grids: the same from the first grid to the last.

    Attributes:
        inputs: What the trained generator takes: sentences (N, E) with noise, before them Stage I's images in Stage
            II.
    """

    inputs: tuple[Tensor, ...]

    @classmethod
    def choose(
        cls, sentences: Tensor, generator: nn.Module, first: StageOne | None, seed: int
    ) -> GridConditions:
        """Noise from the recipe's seed."""
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
    def draw(self, generator: nn.Module) -> Image.Image:
        """One image per sentence."""
        return grid(generator(*self.inputs).images)
