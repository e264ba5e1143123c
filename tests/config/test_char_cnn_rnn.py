"""The recipe of the character encoder: published values, and one source of image features."""

from __future__ import annotations

import pytest

from gancli.config import load_recipe
from gancli.config.char_cnn_rnn import CharCnnRnnRecipe
from gancli.errors import ConfigError
from gancli.training.parameters import count_parameters


@pytest.mark.parametrize(
    ("name", "variant", "parameters"),
    [("cub", "B", 4_045_184), ("cub-a", "A", 1_814_144), ("oxford102", "A", 1_814_144)],
)
def test_published_values(name, variant, parameters):
    recipe = load_recipe(f"char-cnn-rnn/{name}")
    assert isinstance(recipe, CharCnnRnnRecipe)
    assert (recipe.model.variant, recipe.model.dim, recipe.features.backbone) == (variant, 1024, "googlenet")
    assert (recipe.loader.batch, recipe.train.epochs) == (40, 200)
    assert (recipe.optim.lr, recipe.optim.alpha, recipe.optim.lr_decay, recipe.optim.clip) == (
        7e-4,
        0.99,
        0.98,
        5,
    )
    assert count_parameters(recipe).networks == {"text": parameters}


@pytest.mark.parametrize(
    "change", ["features.encoder=encoders/damsm-cub", "features.backbone=null"], ids=["both", "neither"]
)
def test_features_come_from_one_network(change):
    with pytest.raises(ConfigError, match=r"set either features\.backbone or features\.encoder"):
        load_recipe("char-cnn-rnn/cub", [change])
    both = ["features.encoder=encoders/damsm-cub", "features.backbone=null"]
    recipe = load_recipe("char-cnn-rnn/cub", both)
    assert isinstance(recipe, CharCnnRnnRecipe)
    assert recipe.features.backbone is None


def test_what_a_recipe_may_say():
    recipe = load_recipe("char-cnn-rnn/cub", ["optim.clip=null", "model.gru_impl=reed"])
    assert isinstance(recipe, CharCnnRnnRecipe)
    assert recipe.optim.clip is None
    with pytest.raises(
        ConfigError, match=r"model\.width: received 100, allowed: whole number a multiple of 3"
    ):
        load_recipe("char-cnn-rnn/cub", ["model.width=100"])
    with pytest.raises(ConfigError, match=r"model\.gru: unknown key; did you mean model\.gru_impl"):
        load_recipe("char-cnn-rnn/cub", ["model.gru=reed"])
    with pytest.raises(ConfigError, match=r"features\.backbone: received 'vgg16'"):
        load_recipe("char-cnn-rnn/cub", ["features.backbone=vgg16"])
