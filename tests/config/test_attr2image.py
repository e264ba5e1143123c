"""The recipe of attr2image: what one stage does not know is refused under its own name."""

from __future__ import annotations

import pytest

from gancli.config import load_recipe
from gancli.config.attr2image import Attr2ImageRecipe
from gancli.errors import ConfigError
from gancli.training.attr2image import build_networks, generator_arguments
from gancli.training.parameters import count_parameters

SHAPE, IMAGE = "attr2image/demo-shape", "attr2image/demo-image"


def mistakes(name: str, *overrides: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load_recipe(name, overrides)
    return [line.strip() for line in str(caught.value).splitlines()[1:]]


def of(name: str, *overrides: str) -> Attr2ImageRecipe:
    recipe = load_recipe(name, overrides)
    assert isinstance(recipe, Attr2ImageRecipe)
    return recipe


@pytest.mark.parametrize(
    ("name", "override", "received", "other"),
    [
        (SHAPE, "model.d_sees_shape=true", "True", "image"),
        (SHAPE, "model.inject=all", "'all'", "image"),
        (SHAPE, "model.dropout=0.1", "0.1", "image"),
        (SHAPE, "model.inference_dropout=true", "True", "image"),
        (SHAPE, "loader.shape_noise=1", "1.0", "image"),
        (SHAPE, "loss.l1=1", "1.0", "image"),
        (IMAGE, "model.conditional=false", "False", "shape"),
        (IMAGE, "model.local=false", "False", "shape"),
        (IMAGE, "model.noise_dim=3", "3", "shape"),
        (IMAGE, "loss.local_weight=2", "2.0", "shape"),
    ],
)
def test_what_the_other_stage_looks_at_is_refused(
    name: str, override: str, received: str, other: str
) -> None:
    key = override.partition("=")[0]
    assert mistakes(name, override) == [
        f"{key}: received {received}: only stage={other} looks at it: leave it out"
    ]


def test_several_mistakes_are_reported_at_once() -> None:
    assert [
        line.split(":")[0] for line in mistakes(SHAPE, "model.inject=all", "model.dropout=0", "loss.l1=0")
    ] == [
        "model.inject",
        "model.dropout",
        "loss.l1",
    ]


def test_a_shape_is_not_put_together_with_a_shape() -> None:
    (line,) = mistakes(SHAPE, "init.shape=runs/x")
    assert line.startswith("init.shape: received 'runs/x': only stage=image")
    assert str(of(IMAGE, "init.shape=runs/x").init.shape) == "runs/x"


@pytest.mark.parametrize("size", [16, 48, 0])
def test_a_side_is_a_power_of_two(size: int) -> None:
    (line,) = mistakes(SHAPE, f"model.size={size}")
    assert line.startswith(f"model.size: received {size}")


def test_someone_judges() -> None:
    (line,) = mistakes(SHAPE, "model.conditional=false", "model.local=false", "loss.global_weight=0")
    assert "no discriminator is left" in line


def test_a_stage_is_named() -> None:
    assert mistakes(SHAPE, "stage=2") == ["stage: received 2, allowed: 'shape', 'image'"]


def networks(recipe: Attr2ImageRecipe) -> set[str]:
    return set(count_parameters(recipe).networks)


def test_the_ablations_of_figure_2() -> None:
    every = {"generator", "discriminator_global", "discriminator_local", "discriminator_conditional"}
    assert networks(of(SHAPE)) == every
    assert networks(of(SHAPE, "model.local=false")) == every - {"discriminator_local"}
    assert networks(of(SHAPE, "model.conditional=false")) == every - {"discriminator_conditional"}


def test_stage_two_has_no_local_discriminator_and_a_global_one_unless_its_weight_is_0() -> None:
    assert networks(of(IMAGE)) == {"generator", "discriminator_global", "discriminator_conditional"}
    assert networks(of(IMAGE, "loss.global_weight=0")) == {"generator", "discriminator_conditional"}


def test_discriminators_that_see_the_silhouette_have_a_channel_for_it() -> None:
    def first_channels(*overrides: str) -> list[int]:
        recipe = of(IMAGE, *overrides)
        _, discriminators, conditional = build_networks(recipe, generator_arguments(recipe, 20))
        assert conditional is not None
        return [next(network.parameters()).shape[1] for network in (discriminators["global"], conditional)]

    assert first_channels() == [3, 3]
    assert first_channels("model.d_sees_shape=true") == [4, 4]
    assert first_channels("model.d_sees_shape=true", "model.pixel=true") == [4, 4]
