"""Recipe of CSF-GAN."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from gancli.config.sections import (
    Conditioning,
    DiscriminatorSection,
    GANOptim,
    HolesSection,
    Link,
    LoaderSection,
    ModelRecipe,
    Positive,
    Rate,
    Section,
    Share,
    TrainSection,
    Weight,
    power_of_two,
)


class CSFGANModel(Section):
    """Generator and both discriminators; the paper's ablations are values here."""

    name: Literal["csfgan"] = "csfgan"
    size: Annotated[int, power_of_two(32)] = 256  # side of the images; the depth follows it
    generator_width: Positive = 64  # channels of the first convolution; at most eight times as many later
    discriminator_width: Positive = 64  # channels of the first layer of both discriminators
    noise_dim: Positive = 100
    condition_dim: Positive = 100  # conditioning augmentation
    fusion: Literal["both", "sentence", "word", "none"] = "both"  # SFM; none is the baseline of Table 3
    word_discriminator: bool = True  # WLD, Table 3
    word_pool: Literal["mean-prob", "mean-feat"] = "mean-prob"  # eq. 5 over its N places | public code
    discriminator_input: Literal["paired", "single"] = "paired"  # public code | paper
    hole_channel: bool = False  # the hole as a fourth channel of the input


class CSFGANLoader(LoaderSection):
    """Contents of a batch."""

    batch: Annotated[int, Field(ge=2)] = 8
    words: Positive = 16
    grayscale: Share = 0.0  # share of the images that lose their colours; 0.1 in the public code
    window: Literal["center", "whole"] = (
        "center"  # a part of each image | all of it, made square (public code)
    )


class CSFGANLoss(Section):
    """Weights of the generator's loss (eqs. 8 and 12); a term of weight 0 is not computed."""

    reconstruction: Weight = 1.0  # lambda_rec
    perceptual: Weight = 0.5  # lambda_per, of VGG-16's features; 0 needs no weights of VGG-16
    variation: Weight = 0.1  # lambda_tv
    edge: Weight = 0.5  # lambda_edge, Table 4
    adversarial: Weight = 0.002  # lambda_G
    damsm: Weight = 0.001  # text matching: named in section 3.1; the weight is the public code's
    style: Weight = 0.0  # Gram matrices, 3 in the public code
    kl: Weight = 0.0  # conditioning augmentation
    edge_operator: Literal["sobel", "laplace8"] = "sobel"  # paper | public code
    gan: Literal["lsgan-ra", "bce"] = "lsgan-ra"  # public code | eqs. 10 and 11
    vgg_input: Literal["imagenet", "raw"] = "imagenet"  # normalised as the weights expect | public code
    word_mismatch: bool = False  # the word discriminator also rejects another caption (TAGAN)
    gamma1: Rate = 5.0  # sharpness of the matching loss over regions
    gamma2: Rate = 5.0  # over words
    gamma3: Rate = 10.0  # over the batch


class CSFGANOptim(GANOptim):
    """Adam for the generator and for both discriminators; no average of the weights, as in the public code."""


class CSFGANRecipe(ModelRecipe):
    """Recipe of `gancli train csfgan`."""

    model: CSFGANModel
    data: Path  # dataset folder
    encoder: Path  # DAMSM encoder folder
    holes: HolesSection = HolesSection()
    loader: CSFGANLoader = CSFGANLoader()
    discriminator: DiscriminatorSection = DiscriminatorSection()
    loss: CSFGANLoss = CSFGANLoss()
    optim: CSFGANOptim = CSFGANOptim()
    train: TrainSection

    @property
    def conditioning(self) -> Conditioning:
        return Conditioning("words", self.encoder, ("damsm",))

    @property
    def links(self) -> tuple[Link, ...]:
        return (Link("encoder", ("damsm",)),)

    @property
    def hole_settings(self) -> HolesSection:
        return self.holes
