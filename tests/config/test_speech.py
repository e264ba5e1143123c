"""The recipes of the speech encoder: published values, and which weights a backbone may have."""

from __future__ import annotations

import pytest

from gancli.config import load_recipe
from gancli.config.speech import SpeechRecipe
from gancli.errors import ConfigError
from gancli.training.parameters import count_parameters


@pytest.mark.parametrize(
    ("name", "batch", "lr", "epochs", "distinctive", "metric"),
    [
        ("cub", 128, 1e-3, 150, 1, "map"),
        ("oxford102", 128, 1e-3, 150, 1, "map"),
        ("flickr8k", 32, 1e-4, 120, 0, "recall"),
        ("places", 32, 1e-4, 120, 0, "recall"),
    ],
)
def test_published_values(name, batch, lr, epochs, distinctive, metric):
    recipe = load_recipe(f"speech/{name}")
    assert isinstance(recipe, SpeechRecipe)
    assert (recipe.loader.batch, recipe.optim.lr, recipe.train.epochs) == (batch, lr, epochs)
    assert (recipe.loss.gamma, recipe.loss.distinctive) == (10, distinctive)
    assert recipe.loss.same_class_negatives == (name == "places"), "its images count one by one"
    assert (recipe.optim.betas, recipe.optim.weight_decay) == ((0.95, 0.999), 1e-3)
    assert (recipe.optim.lr_decay, recipe.optim.decay_every) == (0.1, 50)
    assert (recipe.validation.metric, recipe.validation.share, recipe.validation.every) == (metric, 0.1, 5)
    assert recipe.validation.select_on == "val"
    assert count_parameters(recipe).networks["speech"] == 7_025_344


def test_places_has_a_backbone_that_knows_scenes():
    recipe = load_recipe("speech/places")
    assert isinstance(recipe, SpeechRecipe)
    assert (recipe.model.backbone, recipe.model.pretrained_on) == ("resnet50", "places365")
    with pytest.raises(ConfigError, match="only backbone `resnet50` has weights of Places365"):
        load_recipe("speech/places", ["model.backbone=resnet18"])
