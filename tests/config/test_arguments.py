"""Fields of recipes and arguments of constructors: one name for one value."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence

import pytest

from gancli.config.arguments import arguments_of, construct
from gancli.config.load import recipe_type
from gancli.config.sections import Section
from gancli.engine.phases import AdamSettings
from gancli.losses.matching import DamsmGammas
from gancli.models import attr2image, csfgan, ffgan, fusion_s2igan, stackgan


class First(Section):
    width: int = 4
    noise: float = 0.5


class Second(Section):
    width: int = 8
    depth: int = 2


def network(*, depth: int, width: int, dim: int) -> tuple[int, int, int]:
    return depth, width, dim


def test_sections_give_the_arguments_that_have_their_fields_names() -> None:
    assert arguments_of(network, First(), dim=3) == {"width": 4, "dim": 3}
    assert list(arguments_of(network, Second(depth=5), dim=3)) == ["depth", "width", "dim"], (
        "as they are declared"
    )
    assert construct(network, Second(depth=5), dim=3) == (5, 8, 3)


def test_known_arguments_replace_fields() -> None:
    assert arguments_of(network, First(), width=16) == {"width": 16}
    assert construct(network, First(), Second(), width=16, dim=1) == (2, 16, 1)


def test_an_argument_that_the_constructor_has_not_is_refused() -> None:
    with pytest.raises(TypeError, match="network takes no argument widht, noise"):
        arguments_of(network, widht=3, noise=1, dim=2)


def test_two_sections_with_the_same_argument_are_refused() -> None:
    with pytest.raises(TypeError, match="two sections hold a value for width"):
        arguments_of(network, First(), Second())


def test_a_missing_argument_is_refused() -> None:
    with pytest.raises(TypeError, match="dim"):
        construct(network, Second())


# --- every model and stage ------------------------------------------------------------------------------------

Constructors = Sequence[Callable[..., object]]
NETWORKS: dict[str, Constructors] = {
    "ffgan": (ffgan.Generator, ffgan.Discriminator),
    "stackgan 1": (stackgan.StageOneGenerator, stackgan.stage_one_discriminator),
    "stackgan 2": (stackgan.StageTwoGenerator, stackgan.stage_two_discriminator),
    "fusion-s2igan": (fusion_s2igan.Generator, fusion_s2igan.Discriminator),
    "csfgan": (csfgan.Generator, csfgan.Discriminator, csfgan.WordLocalDiscriminator),
    "attr2image shape": (
        attr2image.ShapeGenerator,
        attr2image.global_discriminator,
        attr2image.local_discriminator,
        attr2image.conditional_discriminator,
    ),
    "attr2image image": (
        attr2image.ImageGenerator,
        attr2image.Shape2Image,
        attr2image.global_discriminator,
        attr2image.conditional_discriminator,
    ),
}
OBJECTIVES: dict[str, Constructors] = {
    "ffgan": (ffgan.FFGAN, DamsmGammas, AdamSettings),
    "stackgan 1": (stackgan.StackGAN, AdamSettings),
    "stackgan 2": (stackgan.StackGAN, AdamSettings),
    "fusion-s2igan": (fusion_s2igan.FusionS2iGan, AdamSettings),
    "csfgan": (csfgan.CSFGAN, csfgan.LossWeights, DamsmGammas, AdamSettings),
    "attr2image shape": (attr2image.Attr2Shape, AdamSettings),
    "attr2image image": (attr2image.Shape2Image, AdamSettings),
}
SCHEDULE = {"lr_decay", "lr_decay_epochs"}
# Fields that training itself reads: the name of the recipe, schedules and averages, and which networks there are
READ_BY_TRAINING = {
    "ffgan": {"name", "ema_decay", "ema_warmup"},
    "stackgan 1": {"name", "ema_decay", "ema_warmup", *SCHEDULE},
    "stackgan 2": {"name", "ema_decay", "ema_warmup", *SCHEDULE},
    "fusion-s2igan": {"name", "ema_decay", "ema_warmup"},
    "csfgan": {"name", "ema_decay", "ema_warmup", "word_discriminator", "vgg_input"},
    "attr2image shape": {"name", "ema_decay", "ema_warmup", *SCHEDULE, "pixel", "local"},
    "attr2image image": {"name", "ema_decay", "ema_warmup", *SCHEDULE, "pixel"},
}
# Fields that only the other stage of a model has a use for
OTHER_STAGE = {
    "stackgan 1": {"residual_blocks"},
    "stackgan 2": {"noise_dim"},
    "attr2image shape": {"d_sees_shape", "inject", "dropout", "inference_dropout", "l1"},
    "attr2image image": {"noise_dim", "conditional", "local", "local_weight"},
}


def names_of(constructors: Constructors) -> set[str]:
    return {name for constructor in constructors for name in inspect.signature(constructor).parameters}


def fields_of(model: str, *sections: str) -> set[str]:
    recipe = recipe_type(model.split()[0])
    annotations = [recipe.model_fields[section].annotation for section in sections]
    return {
        name
        for section in annotations
        if isinstance(section, type) and issubclass(section, Section)
        for name in section.model_fields
    }


@pytest.mark.parametrize("model", NETWORKS)
def test_every_field_is_an_argument_of_the_same_name(model: str) -> None:
    networks, objectives = names_of(NETWORKS[model]), names_of(OBJECTIVES[model])
    others = READ_BY_TRAINING[model] | OTHER_STAGE.get(model, set())
    for taken, sections in ((networks, ("model",)), (objectives, ("loss", "optim"))):
        fields = fields_of(model, *sections)
        assert fields, model
        assert fields - taken - others == set()
    assert others <= fields_of(model, "model", "loss", "optim"), "the list names fields that there are"


@pytest.mark.parametrize("model", NETWORKS)
def test_a_default_stands_in_the_recipe_alone(model: str) -> None:
    for constructors, sections in ((NETWORKS[model], ("model",)), (OBJECTIVES[model], ("loss", "optim"))):
        fields = fields_of(model, *sections)
        for constructor in constructors:
            parameters = inspect.signature(constructor).parameters.values()
            assert len(parameters) <= 14, constructor
            assert not [p.name for p in parameters if p.name in fields and p.default is not p.empty]
