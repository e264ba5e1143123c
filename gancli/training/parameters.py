"""Parameters of the networks that a recipe trains, counted without data and without memory."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import nn

from gancli.config import BaseRecipe
from gancli.registry import ROWS, resolve

CUB_VOCABULARY = 5450  # entries of the public CUB vocabulary, for encoders without data at hand
CUB_TEST_CLASSES = 50  # classes of a classifier without data at hand
PUBLISHED_SIDE = 256  # side of the images of encoders without data at hand
TEXT_DIMS = {"char-cnn-rnn": 1024, "damsm": 256, "precomputed": 1024}  # widths of published sentence vectors


@dataclass(frozen=True)
class CountedNetworks:
    """Networks of a recipe as they are before any data are known.

    Attributes:
        networks: Networks by name.
        assumed: Sizes that only data or trained folders tell, in words; empty where the recipe tells everything.
    """

    networks: dict[str, nn.Module]
    assumed: str = ""


@dataclass(frozen=True)
class ParameterCount:
    """Parameters of each network of a recipe.

    Attributes:
        networks: Parameters by network.
        assumed: Assumed sizes, as in `CountedNetworks`.
    """

    networks: dict[str, int] = field(default_factory=dict)
    assumed: str = ""


def count_parameters(recipe: BaseRecipe) -> ParameterCount:
    """Count the parameters of each network on the meta device. Nothing is allocated or read."""
    with torch.device("meta"):
        built: CountedNetworks = resolve(ROWS[recipe.kind].networks)(recipe)
    counts = {
        name: sum(parameter.numel() for parameter in network.parameters())
        for name, network in built.networks.items()
    }
    return ParameterCount(counts, built.assumed)
