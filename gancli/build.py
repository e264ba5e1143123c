"""From a recipe to networks: the one place where configuration meets modules, which themselves take plain arguments."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from gancli.build_encoders import (
    char_cnn_rnn_arguments,
    classifier_arguments,
    encoder_arguments,
    speech_arguments,
)
from gancli.config import (
    Attr2ImageRecipe,
    CharCnnRnnRecipe,
    ClassifierRecipe,
    CSFGANRecipe,
    DamsmRecipe,
    FFGANModel,
    FFGANRecipe,
    FusionS2iGanRecipe,
    HolesSection,
    Recipe,
    SpeechRecipe,
    StackGANRecipe,
)
from gancli.config.arguments import arguments_of, construct
from gancli.data.audio import MelSettings
from gancli.data.holes import Holes, holes_from_folder
from gancli.encoders.char_cnn_rnn import CharCnnRnn
from gancli.encoders.classifier import Classifier
from gancli.encoders.damsm import Damsm, ImageEncoder, TextEncoder
from gancli.encoders.speech import ImageBranch, SpeechEncoder
from gancli.encoders.vgg16 import Vgg16
from gancli.engine.phases import AdamSettings
from gancli.errors import ConfigError
from gancli.losses.matching import DamsmGammas
from gancli.models import attr2image, csfgan, fusion_s2igan, stackgan
from gancli.models.ffgan import FFGAN, Discriminator, Generator
from gancli.models.layers import MatchingDiscriminator

CUB_VOCABULARY = (
    5450  # entries of the public CUB vocabulary, for counting parameters where no data are at hand
)
CUB_TEST_CLASSES = 50  # likewise, for the size of a classifier
TEXT_DIMS = {
    "char-cnn-rnn": 1024,
    "damsm": 256,
    "precomputed": 1024,
}  # likewise: widths of published sentence vectors
CUB_ATTRIBUTES = {"shape": 42, "image": 270}  # likewise, of the stages of attr2image
CONDITION_DIMS = {"speech": 1024, "sentence": TEXT_DIMS["damsm"]}  # likewise, of Fusion-S2iGan and DF-GAN


def generator_arguments(model: FFGANModel) -> dict[str, object]:
    """The arguments of `Generator`, as they are also kept in a model folder's config.yaml."""
    return arguments_of(Generator, model, stages=list(model.stages))


def build_ffgan(recipe: FFGANRecipe, encoder: Damsm, device: torch.device) -> FFGAN:
    """FF-GAN with fresh weights on a device, ready for the engine.

    Raises:
        ConfigError: The encoder's features have another width than the recipe says.
    """
    model = recipe.model
    dim = encoder.settings["text"]["dim"]
    if dim != model.text_dim:
        raise ConfigError(
            f"model.text_dim: received {model.text_dim}, but the encoder {encoder.folder} gives features of "
            f"width {dim}",
            f"Set model.text_dim={dim}, or train another encoder.",
        )
    return construct(
        FFGAN,
        recipe.loss,
        generator=construct(Generator, **generator_arguments(model)).to(device),
        discriminators={size: construct(Discriminator, model, size=size).to(device) for size in model.stages},
        text_encoder=encoder.text,
        image_encoder=encoder.image,
        gammas=construct(DamsmGammas, recipe.loss),
        adam=construct(AdamSettings, recipe.optim),
    )


def stackgan_arguments(recipe: StackGANRecipe, text_dim: int, input_size: int) -> dict[str, object]:
    """The arguments of the generator that the recipe's stage trains, as they are also kept in a model folder.

    Args:
        recipe: Of either stage.
        text_dim: E, width of the sentence vectors at hand.
        input_size: Side of Stage I's images; Stage I does not look at it.
    """
    if recipe.stage == 1:
        return arguments_of(stackgan.StageOneGenerator, recipe.model, text_dim=text_dim)
    return arguments_of(stackgan.StageTwoGenerator, recipe.model, text_dim=text_dim, input_size=input_size)


def stackgan_networks(
    recipe: StackGANRecipe, arguments: Mapping[str, object]
) -> tuple[stackgan.StageOneGenerator | stackgan.StageTwoGenerator, stackgan.Discriminator]:
    """Generator and discriminator of the recipe's stage with fresh weights.

    Args:
        recipe: Of either stage.
        arguments: From `stackgan_arguments`.

    Raises:
        ConfigError: The sides do not fit each other.
    """
    model, text_dim = recipe.model, arguments["text_dim"]
    try:
        if recipe.stage == 1:
            return (
                construct(stackgan.StageOneGenerator, **arguments),
                construct(stackgan.stage_one_discriminator, model, text_dim=text_dim),
            )
        return (
            construct(stackgan.StageTwoGenerator, **arguments),
            construct(stackgan.stage_two_discriminator, model, text_dim=text_dim),
        )
    except ValueError as error:
        raise ConfigError(f"model.size: received {recipe.model.size}: {error}") from error


def build_stackgan(
    recipe: StackGANRecipe,
    arguments: Mapping[str, object],
    stage_one: stackgan.StageOneGenerator | None,
    device: torch.device,
) -> stackgan.StackGAN:
    """A stage of StackGAN with fresh weights on a device, ready for the engine.

    Args:
        recipe: Of either stage.
        arguments: From `stackgan_arguments`.
        stage_one: The trained generator that Stage II draws on.
        device: Where to.
    """
    generator, discriminator = stackgan_networks(recipe, arguments)
    return construct(
        stackgan.StackGAN,
        recipe.loss,
        generator=generator.to(device),
        discriminator=discriminator.to(device),
        stage_one=stage_one,
        adam=construct(AdamSettings, recipe.optim),
    )


def fusion_s2igan_arguments(recipe: FusionS2iGanRecipe, condition_dim: int) -> dict[str, object]:
    """The arguments of Fusion-S2iGan's generator, as they are also kept in a model folder's config.yaml.

    Args:
        recipe: What to build.
        condition_dim: E, width of the speech or sentence vectors at hand.
    """
    return arguments_of(fusion_s2igan.Generator, recipe.model, condition_dim=condition_dim)


def fusion_s2igan_networks(
    recipe: FusionS2iGanRecipe, arguments: Mapping[str, object]
) -> tuple[fusion_s2igan.Generator, fusion_s2igan.Discriminator]:
    """Generator and discriminator with fresh weights.

    Args:
        recipe: What to build.
        arguments: From `fusion_s2igan_arguments`.

    Raises:
        ConfigError: The width does not suit the attention module.
    """
    try:
        generator = construct(fusion_s2igan.Generator, **arguments)
    except ValueError as error:
        raise ConfigError(
            f"model.generator_width: received {recipe.model.generator_width}: {error}",
            "Choose a multiple of 8, or another model.attention.",
        ) from error
    return generator, construct(
        fusion_s2igan.Discriminator, recipe.model, condition_dim=arguments["condition_dim"]
    )


def build_fusion_s2igan(
    recipe: FusionS2iGanRecipe,
    arguments: Mapping[str, object],
    image_encoder: Callable[[Tensor], Tensor] | None,
    device: torch.device,
) -> fusion_s2igan.FusionS2iGan:
    """Fusion-S2iGan with fresh weights on a device, ready for the engine.

    Args:
        recipe: What to build.
        arguments: From `fusion_s2igan_arguments`.
        image_encoder: Of the matching loss; None where its weight is 0.
        device: Where to.
    """
    generator, discriminator = fusion_s2igan_networks(recipe, arguments)
    return construct(
        fusion_s2igan.FusionS2iGan,
        recipe.loss,
        generator=generator.to(device),
        discriminator=discriminator.to(device),
        image_encoder=image_encoder,
        adam=construct(AdamSettings, recipe.optim),
    )


def csfgan_arguments(recipe: CSFGANRecipe, text_dim: int) -> dict[str, object]:
    """The arguments of CSF-GAN's generator, as they are also kept in a model folder's config.yaml.

    Args:
        recipe: What to build.
        text_dim: D, width of the encoder's word and sentence features.
    """
    return arguments_of(csfgan.Generator, recipe.model, text_dim=text_dim)


def csfgan_networks(
    recipe: CSFGANRecipe, arguments: Mapping[str, object]
) -> tuple[csfgan.Generator, csfgan.Discriminator, csfgan.WordLocalDiscriminator | None]:
    """Generator, discriminator and, unless the recipe leaves it out, word discriminator with fresh weights.

    Args:
        recipe: What to build.
        arguments: From `csfgan_arguments`.
    """
    model, text_dim = recipe.model, arguments["text_dim"]
    return (
        construct(csfgan.Generator, **arguments),
        construct(csfgan.Discriminator, model),
        construct(csfgan.WordLocalDiscriminator, model, text_dim=text_dim)
        if model.word_discriminator
        else None,
    )


def build_csfgan(
    recipe: CSFGANRecipe,
    arguments: Mapping[str, object],
    encoder: Damsm,
    perceptual: Vgg16 | None,
    device: torch.device,
) -> csfgan.CSFGAN:
    """CSF-GAN with fresh weights on a device, ready for the engine.

    Args:
        recipe: What to build.
        arguments: From `csfgan_arguments`.
        encoder: Its text half conditions, its image half judges in the matching loss.
        perceptual: Network of the perceptual and the style loss; None where both weights are 0.
        device: Where to.
    """
    generator, discriminator, word_discriminator = csfgan_networks(recipe, arguments)
    return construct(
        csfgan.CSFGAN,
        recipe.loss,
        generator=generator.to(device),
        discriminator=discriminator.to(device),
        word_discriminator=None if word_discriminator is None else word_discriminator.to(device),
        text_encoder=encoder.text,
        image_encoder=encoder.image,
        perceptual_network=None if perceptual is None else perceptual.to(device),
        weights=construct(csfgan.LossWeights, recipe.loss),
        gammas=construct(DamsmGammas, recipe.loss),
        adam=construct(AdamSettings, recipe.optim),
    )


def attr2image_arguments(recipe: Attr2ImageRecipe, attributes: int) -> dict[str, object]:
    """The arguments of the generator that the recipe's stage trains, as they are also kept in a model folder.

    Args:
        recipe: Of either stage.
        attributes: A, number of the stage's own attributes.
    """
    generator = attr2image.ShapeGenerator if recipe.stage == "shape" else attr2image.ImageGenerator
    return arguments_of(generator, recipe.model, attributes=attributes)


def attr2image_networks(
    recipe: Attr2ImageRecipe, arguments: Mapping[str, object]
) -> tuple[
    attr2image.ShapeGenerator | attr2image.ImageGenerator,
    dict[str, nn.Module],
    MatchingDiscriminator | None,
]:
    """Generator, discriminators of the image alone by name, and conditional discriminator, with fresh weights.

    Args:
        recipe: Of either stage.
        arguments: From `attr2image_arguments`.
    """
    model, loss = recipe.model, recipe.loss
    shape = recipe.stage == "shape"
    generator: attr2image.ShapeGenerator | attr2image.ImageGenerator
    if shape:
        generator = construct(attr2image.ShapeGenerator, **arguments)
    else:
        generator = construct(attr2image.ImageGenerator, **arguments)
    channels = 1 if shape else 3 + model.d_sees_shape
    discriminators: dict[str, nn.Module] = {}
    if loss.global_weight > 0:
        whole = attr2image.pixel_discriminator if model.pixel else attr2image.global_discriminator
        discriminators["global"] = construct(whole, model, channels=channels)
    if shape and model.local:
        discriminators["local"] = construct(attr2image.local_discriminator, model, channels=channels)
    conditional = None
    if model.conditional:
        conditional = construct(
            attr2image.conditional_discriminator,
            model,
            attributes=arguments["attributes"],
            channels=channels,
        )
    return generator, discriminators, conditional


def build_attr2shape(
    recipe: Attr2ImageRecipe, arguments: Mapping[str, object], device: torch.device
) -> attr2image.Attr2Shape:
    """Stage I of attr2image with fresh weights on a device, ready for the engine.

    Args:
        recipe: Of stage "shape".
        arguments: From `attr2image_arguments`.
        device: Where to.
    """
    generator, discriminators, conditional = attr2image_networks(recipe, arguments)
    assert isinstance(generator, attr2image.ShapeGenerator)
    return construct(
        attr2image.Attr2Shape,
        recipe.loss,
        generator=generator.to(device),
        discriminators={name: discriminator.to(device) for name, discriminator in discriminators.items()},
        conditional=None if conditional is None else conditional.to(device),
        adam=construct(AdamSettings, recipe.optim),
    )


def build_shape2image(
    recipe: Attr2ImageRecipe, arguments: Mapping[str, object], device: torch.device
) -> attr2image.Shape2Image:
    """Stage II of attr2image with fresh weights on a device, ready for the engine.

    Args:
        recipe: Of stage "image".
        arguments: From `attr2image_arguments`.
        device: Where to.
    """
    generator, discriminators, conditional = attr2image_networks(recipe, arguments)
    assert isinstance(generator, attr2image.ImageGenerator)
    assert conditional is not None
    return construct(
        attr2image.Shape2Image,
        recipe.loss,
        generator=generator.to(device),
        discriminators={name: discriminator.to(device) for name, discriminator in discriminators.items()},
        conditional=conditional.to(device),
        d_sees_shape=recipe.model.d_sees_shape,
        shape_noise=recipe.loader.shape_noise,
        adam=construct(AdamSettings, recipe.optim),
    )


def build_holes(section: HolesSection) -> Holes:
    """The holes that a recipe's section describes.

    Raises:
        DataError: Its folder is missing or holds no mask.
    """
    if section.folder is not None:
        return holes_from_folder(section.folder, inverted=section.invert)
    return Holes(section.kind, section.center, section.least, section.most)


def parameter_table(recipe: Recipe) -> list[tuple[str, int]]:
    """Parameters of each network that a recipe trains, counted on the meta device: nothing is allocated.

    Nor is anything read: what only data and trained folders would say is assumed, see `assumptions`.
    """
    networks: dict[str, nn.Module] = {}
    with torch.device("meta"):
        if isinstance(recipe, FFGANRecipe):
            model = recipe.model
            networks["generator"] = construct(Generator, **generator_arguments(model))
            for size in model.stages:
                networks[f"discriminator_{size}"] = construct(Discriminator, model, size=size)
        elif isinstance(recipe, StackGANRecipe):
            arguments = stackgan_arguments(recipe, TEXT_DIMS[recipe.text], recipe.model.size // 4)
            networks["generator"], networks["discriminator"] = stackgan_networks(recipe, arguments)
        elif isinstance(recipe, FusionS2iGanRecipe):
            arguments = fusion_s2igan_arguments(recipe, CONDITION_DIMS[recipe.condition])
            networks["generator"], networks["discriminator"] = fusion_s2igan_networks(recipe, arguments)
        elif isinstance(recipe, CSFGANRecipe):
            arguments = csfgan_arguments(recipe, TEXT_DIMS["damsm"])
            networks["generator"], networks["discriminator"], words = csfgan_networks(recipe, arguments)
            if words is not None:
                networks["word_discriminator"] = words
        elif isinstance(recipe, Attr2ImageRecipe):
            arguments = attr2image_arguments(recipe, CUB_ATTRIBUTES[recipe.stage])
            networks["generator"], discriminators, conditional = attr2image_networks(recipe, arguments)
            networks |= {
                f"discriminator_{name}": discriminator for name, discriminator in discriminators.items()
            }
            if conditional is not None:
                networks["discriminator_conditional"] = conditional
        elif isinstance(recipe, CharCnnRnnRecipe):
            networks["text"] = CharCnnRnn(**char_cnn_rnn_arguments(recipe.model))
        elif isinstance(recipe, SpeechRecipe):
            speech = speech_arguments(recipe.model, 256, MelSettings().bands)
            networks["speech"] = SpeechEncoder(**speech["speech"])
            networks["image"] = ImageBranch(**speech["image"])
        elif isinstance(recipe, ClassifierRecipe):
            classifier = classifier_arguments(recipe.model, 256)
            networks["classifier"] = Classifier(**classifier, classes=CUB_TEST_CLASSES)
        else:
            encoders = encoder_arguments(recipe.model, 256)
            networks["text"] = TextEncoder(CUB_VOCABULARY, **encoders["text"])
            networks["image"] = ImageEncoder(**encoders["image"])
    return [(name, sum(p.numel() for p in network.parameters())) for name, network in networks.items()]


def assumptions(recipe: Recipe) -> str:
    """What `parameter_table` counts a recipe's networks with, in words; empty where the recipe says everything."""
    if isinstance(recipe, StackGANRecipe):
        vectors = f"sentence vectors of {TEXT_DIMS[recipe.text]:,} numbers"
        small = f" and Stage-I images of {recipe.model.size // 4} pixels" if recipe.stage == 2 else ""
        return vectors + small
    if isinstance(recipe, FusionS2iGanRecipe):
        return f"{recipe.condition} vectors of {CONDITION_DIMS[recipe.condition]:,} numbers"
    if isinstance(recipe, CSFGANRecipe):
        return f"word and sentence features of {TEXT_DIMS['damsm']:,} numbers"
    if isinstance(recipe, Attr2ImageRecipe):
        kind = "of shape" if recipe.stage == "shape" else "other than shape"
        return f"{CUB_ATTRIBUTES[recipe.stage]} attributes {kind}" if recipe.model.conditional else ""
    if isinstance(recipe, SpeechRecipe):
        return f"{MelSettings().bands} mel bands"
    if isinstance(recipe, DamsmRecipe):
        return f"a vocabulary of {CUB_VOCABULARY:,} entries"
    if isinstance(recipe, ClassifierRecipe):
        return f"{CUB_TEST_CLASSES} classes"
    return ""
