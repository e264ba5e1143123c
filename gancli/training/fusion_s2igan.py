"""Training Fusion-S2iGan, and DF-GAN with it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor, nn

from gancli.build import build_fusion_s2igan, fusion_s2igan_arguments
from gancli.config import FusionS2iGanRecipe
from gancli.data.loader import BatchSource, Sentences
from gancli.data.shards import Dataset
from gancli.encoders.damsm import load_damsm
from gancli.encoders.sentence import SentenceEncoder, load_sentence_encoder
from gancli.encoders.speech import Speech, load_speech
from gancli.engine.checkpoint import RunFolder, seed_everything
from gancli.engine.events import Events
from gancli.errors import ConfigError
from gancli.figures import grid
from gancli.inference.load import save_fusion_s2igan
from gancli.training.caption_vectors import (
    Conditions,
    refuse_other_encoder,
    sentence_conditions,
    speech_conditions,
)
from gancli.training.run import RunResult, load_initial_weights, share_of, train_model
from gancli.version import __version__
from gancli.weights_folder import read_settings


def train_fusion_s2igan(
    recipe: FusionS2iGanRecipe,
    dataset: Dataset,
    device: torch.device,
    events: Events,
    *,
    runs: Path = Path("runs"),
    resume: Path | None = None,
    init_from: Path | None = None,
) -> RunResult:
    """Trains Fusion-S2iGan on a dataset as a recipe says; further arguments, result and errors as `gancli.train`."""
    encoder = open_encoder(recipe, device)
    judge = image_encoder(recipe, encoder, device)
    conditions: Conditions[SentenceEncoder | Speech]
    if isinstance(encoder, Speech):
        conditions = speech_conditions(encoder, dataset, events)
    else:
        conditions = sentence_conditions(encoder, dataset, events)
    own = None if resume is None else RunFolder.open(resume).model
    if own is not None and own.is_dir():
        refuse_other_encoder(own, read_settings(own), conditions)
    seed_everything(recipe.train.seed)
    arguments = fusion_s2igan_arguments(recipe, encoder.dim)
    model = build_fusion_s2igan(recipe, arguments, judge, device)
    if init_from is not None:
        load_initial_weights(model.networks, init_from, recipe.model.name)
    source = BatchSource(
        dataset.split("train"),
        sizes=[recipe.model.size],
        **share_of(recipe),
        words=0,
        sentences=Sentences(
            conditions.train, wrong="text" if recipe.loader.mismatch == "class-aware" else None
        ),
    )
    random = torch.Generator().manual_seed(recipe.train.seed)
    noise = torch.randn(len(conditions.grid), recipe.model.noise_dim, generator=random).to(device)

    def sample(networks: Mapping[str, nn.Module], step: int) -> Image.Image:
        with torch.no_grad():
            return grid(networks["generator"](noise, conditions.grid))

    def export(networks: Mapping[str, nn.Module], folder: Path, step: int, images: int) -> None:
        settings = {
            "gancli": __version__,
            "dataset": dataset.name,
            "step": step,
            "images_seen": images,
            "generator": arguments,
        }
        save_fusion_s2igan(folder, networks["generator"], encoder, settings)

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


def open_encoder(recipe: FusionS2iGanRecipe, device: torch.device) -> SentenceEncoder | Speech:
    """What makes the condition's vectors.

    Raises:
        ConfigError: The folder's encoder is for the other kind of condition.
        DataError: It is missing, broken or no encoder.
    """
    kind = read_settings(recipe.encoder)["kind"]
    if (kind == "speech") != (recipe.condition == "speech"):
        other = {"speech": "speech", "damsm": "sentence", "char-cnn-rnn": "sentence"}.get(kind)
        raise ConfigError(
            f"condition: received {recipe.condition!r}, but {recipe.encoder} is a folder of kind {kind!r}",
            f"Set condition={other}, or name another encoder folder."
            if other
            else f"Name one of gancli pretrain-encoder {'speech' if recipe.condition == 'speech' else 'damsm'}.",
        )
    if recipe.condition == "speech":
        return load_speech(recipe.encoder, device)
    return load_sentence_encoder(recipe.encoder, device)


def image_encoder(
    recipe: FusionS2iGanRecipe, encoder: SentenceEncoder | Speech, device: torch.device
) -> Callable[[Tensor], Tensor] | None:
    """Images to vectors that the encoder's are compared with in the matching loss; None where it has weight 0.

    Raises:
        ConfigError: The encoder has no image half.
    """
    if recipe.loss.damsm == 0:
        return None
    if isinstance(encoder, Speech):
        return encoder.image
    if encoder.kind != "damsm":
        raise ConfigError(
            f"loss.damsm: received {recipe.loss.damsm}, but {encoder.folder} is a {encoder.kind} encoder, which has no "
            "image half to compare images with",
            "Set loss.damsm=0, or name an encoder of gancli pretrain-encoder damsm.",
        )
    image = load_damsm(encoder.folder, device).image

    def code(images: Tensor) -> Tensor:
        result: Tensor = image(images)[1]
        return result

    return code
