"""From a recipe to the networks of an encoder, as `gancli.build` makes those of a model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from gancli.config import (
    BackboneSection,
    CharCnnRnnModel,
    CharCnnRnnRecipe,
    ClassifierModel,
    ClassifierRecipe,
    DamsmModel,
    DamsmRecipe,
    SpeechModel,
    SpeechRecipe,
)
from gancli.config.arguments import construct
from gancli.encoders.backbones import load_imagenet, load_places365
from gancli.encoders.char_cnn_rnn import CharCnnRnn, CharCnnRnnPretraining
from gancli.encoders.classifier import Classifier, ClassifierTraining
from gancli.encoders.damsm import DamsmPretraining, ImageEncoder, TextEncoder
from gancli.encoders.speech import ImageBranch, SpeechEncoder, SpeechPretraining
from gancli.errors import ConfigError
from gancli.losses.matching import DamsmGammas


def backbone_side(model: BackboneSection, image_size: int) -> int:
    """Side in pixels of the images a backbone is given: the recipe's, or else the dataset's.

    Raises:
        ConfigError: The small backbone cannot work at that side.
    """
    size = model.size or image_size
    if model.backbone == "small" and (size < 16 or size & (size - 1)):
        raise ConfigError(
            f"model.size: received {size}, allowed for the small backbone: a power of two from 16 on"
        )
    return size


def encoder_arguments(model: DamsmModel, image_size: int) -> dict[str, dict[str, Any]]:
    """The arguments of `TextEncoder` and `ImageEncoder`, as they are also kept in an encoder folder's config.yaml.

    Args:
        model: The recipe's section.
        image_size: Of the dataset; the side the backbone works at unless the recipe names another.

    Raises:
        ConfigError: The small backbone cannot work at that side.
    """
    return {
        "text": {
            "dim": model.dim,
            "embedding_dim": model.embedding_dim,
            "dropout": model.dropout,
            "rnn": model.rnn,
        },
        "image": {
            "backbone": model.backbone,
            "dim": model.dim,
            "size": backbone_side(model, image_size),
            "width": model.width,
            "frozen_backbone": model.pretrained,
            "adapt_batch_norm": model.adapt_batch_norm,
        },
    }


def build_damsm(
    recipe: DamsmRecipe,
    arguments: dict[str, dict[str, Any]],
    vocabulary_size: int,
    device: torch.device,
    weights: Path | None = None,
) -> DamsmPretraining:
    """Both encoders, ready for the engine; a pretrained backbone has its ImageNet weights.

    Args:
        recipe: What to build.
        arguments: From `encoder_arguments`.
        vocabulary_size: Entries of the dataset's vocabulary.
        device: Where to.
        weights: File of the ImageNet weights; None looks for it.
    """
    image = ImageEncoder(**arguments["image"])
    if recipe.model.pretrained:
        load_imagenet(image.backbone, weights)
    loss, optim = recipe.loss, recipe.optim
    return DamsmPretraining(
        TextEncoder(vocabulary_size, **arguments["text"]).to(device),
        image.to(device),
        gammas=construct(DamsmGammas, loss),
        lr=optim.lr,
        betas=optim.betas,
        clip_text=optim.clip_text,
    )


def classifier_arguments(model: ClassifierModel, image_size: int) -> dict[str, Any]:
    """The arguments of `Classifier` but for the classes, as they are also kept in its folder's config.yaml.

    Raises:
        ConfigError: The small backbone cannot work at that side.
    """
    return {
        "backbone": model.backbone,
        "size": backbone_side(model, image_size),
        "width": model.width,
        "dropout": model.dropout,
    }


def build_classifier(
    recipe: ClassifierRecipe,
    arguments: dict[str, Any],
    class_ids: NDArray[np.int64],
    device: torch.device,
    weights: Path | None = None,
) -> ClassifierTraining:
    """A classifier, ready for the engine; a pretrained backbone has its ImageNet weights.

    Args:
        recipe: What to build.
        arguments: From `classifier_arguments`.
        class_ids: (C,) ascending, the dataset's number of each class.
        device: Where to.
        weights: File of the ImageNet weights; None looks for it.
    """
    network = Classifier(**arguments, classes=len(class_ids))
    if recipe.model.pretrained:
        load_imagenet(network.backbone, weights)
    return ClassifierTraining(
        network.to(device),
        class_ids,
        lr=recipe.optim.lr,
        weight_decay=recipe.optim.weight_decay,
        label_smoothing=recipe.loss.label_smoothing,
    )


def char_cnn_rnn_arguments(model: CharCnnRnnModel) -> dict[str, Any]:
    """The arguments of `CharCnnRnn`, as they are also kept in an encoder folder's config.yaml."""
    return {
        "variant": model.variant,
        "dim": model.dim,
        "width": model.width,
        "gru_impl": model.gru_impl,
    }


def build_char_cnn_rnn(
    recipe: CharCnnRnnRecipe, arguments: dict[str, Any], feature_dim: int, device: torch.device
) -> CharCnnRnnPretraining:
    """The character encoder with fresh weights on a device, ready for the engine.

    Args:
        recipe: What to build.
        arguments: From `char_cnn_rnn_arguments`.
        feature_dim: F, width of the image features; they are mapped to the sentence vectors' width if it is another.
        device: Where to.
    """
    dim = arguments["dim"]
    return CharCnnRnnPretraining(
        CharCnnRnn(**arguments).to(device),
        None if feature_dim == dim else nn.Linear(feature_dim, dim).to(device),
        lr=recipe.optim.lr,
        alpha=recipe.optim.alpha,
        clip=recipe.optim.clip,
    )


def speech_arguments(model: SpeechModel, image_size: int, bands: int) -> dict[str, dict[str, Any]]:
    """The arguments of `SpeechEncoder` and `ImageBranch`, as they are also kept in an encoder folder's config.yaml.

    Args:
        model: The recipe's section.
        image_size: Of the dataset; the side the backbone works at unless the recipe names another.
        bands: Mel bands of the dataset's speech.

    Raises:
        ConfigError: The small backbone cannot work at that side.
    """
    return {
        "speech": {
            "bands": bands,
            "channels": list(model.channels),
            "hidden": model.hidden,
            "attention_dim": model.attention_dim,
            "convolution_activation": model.convolution_activation,
            "mask_padding": model.mask_padding,
        },
        "image": {
            "backbone": model.backbone,
            "dim": 2 * model.hidden,
            "size": backbone_side(model, image_size),
            "width": model.width,
            "frozen_backbone": model.pretrained,
        },
    }


def build_speech(
    recipe: SpeechRecipe,
    arguments: dict[str, dict[str, Any]],
    class_ids: NDArray[np.int64] | None,
    device: torch.device,
    weights: Path | None = None,
) -> SpeechPretraining:
    """Speech encoder and image branch, ready for the engine; a pretrained backbone has its published weights.

    Args:
        recipe: What to build.
        arguments: From `speech_arguments`.
        class_ids: (C,) ascending, the dataset's number of each class that training shows; None leaves the distinctive
            loss out.
        device: Where to.
        weights: File of the backbone's weights; None looks for it.
    """
    image = ImageBranch(**arguments["image"])
    if recipe.model.pretrained:
        load = load_places365 if recipe.model.pretrained_on == "places365" else load_imagenet
        load(image.backbone, weights)
    return construct(
        SpeechPretraining,
        recipe.loss,
        recipe.optim,
        speech=SpeechEncoder(**arguments["speech"]).to(device),
        image=image.to(device),
        class_ids=class_ids,
    )
