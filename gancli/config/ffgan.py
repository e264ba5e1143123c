"""Recipe of FF-GAN."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Literal

from pydantic import field_validator
from pydantic_core import PydanticCustomError

from gancli.config.sections import (
    Conditioning,
    Count,
    DiscriminatorSection,
    GANOptim,
    Link,
    LoaderSection,
    ModelRecipe,
    Positive,
    Rate,
    Section,
    Share,
    TrainSection,
    Weight,
)


class FFGANModel(Section):
    """FF-GAN's generator and discriminators (paper section 3)."""

    name: Literal["ffgan"] = "ffgan"
    stages: tuple[int, ...] = (64, 128, 256)  # image side of every stage, each twice the one before
    generator_width: Positive = 64  # channels of the hidden features
    discriminator_width: Positive = 32  # channels after the discriminators' first convolution
    text_dim: Positive = 256  # width of the encoder's word and sentence features
    noise_dim: Positive = 100
    condition_dim: Positive = 100  # conditioning augmentation
    residual_blocks: Count = 2  # per refinement stage
    ff_block: bool = True  # FF-Block: the words modulate the features (ablation)
    gsr: bool = True  # global semantic refinement (ablation)
    gsr_input: Literal["sentence", "augmented"] = "sentence"  # public code | eq. 6
    gsr_attention: Literal["channelwise", "spatial"] = "channelwise"  # public code | eq. 6
    gsr_scale: Literal["none", "positions"] = "none"
    affine_residual: bool = False  # multiply by 1 + gamma instead of gamma
    mask_padding: bool = True  # padded words take no part in the attention; the public code lets them

    @field_validator("stages")
    @classmethod
    def _stages_double(cls, stages: tuple[int, ...]) -> tuple[int, ...]:
        powers = all(side >= 8 and side & (side - 1) == 0 for side in stages)
        if not stages or not powers or any(b != 2 * a for a, b in itertools.pairwise(stages)):
            raise PydanticCustomError(
                "stages",
                "stages must be powers of two, at least 8, each twice the one before, as [64, 128, 256]",
            )
        return stages


class FFGANLoss(Section):
    """Weights of FF-GAN's generator loss (eq. 9-12) and the three smoothing factors of its DAMSM term."""

    kl: Weight = 1.0  # conditioning augmentation
    damsm: Weight = 5.0  # lambda_2
    gamma1: Rate = 4.0  # sharpness of the attention over regions
    gamma2: Rate = 5.0  # sharpness of the sum over words
    gamma3: Rate = 10.0  # sharpness of the softmax over the batch


class FFGANOptim(GANOptim):
    """Adam for the generator and for each discriminator, and the average of the generator's weights."""

    ema_decay: Share = 0.999


class FFGANRecipe(ModelRecipe):
    """Recipe of `gancli train ffgan`."""

    model: FFGANModel
    data: Path  # dataset folder
    encoder: Path  # DAMSM encoder folder
    loader: LoaderSection
    discriminator: DiscriminatorSection = DiscriminatorSection()
    loss: FFGANLoss = FFGANLoss()
    optim: FFGANOptim = FFGANOptim()
    train: TrainSection

    @property
    def image_size(self) -> int:
        return self.model.stages[-1]

    def size_override(self, image_size: int) -> str:
        sides = [image_size // 2**halvings for halvings in reversed(range(len(self.model.stages)))]
        return f"model.stages=[{','.join(map(str, sides))}]"

    @property
    def conditioning(self) -> Conditioning:
        return Conditioning("words", self.encoder, ("damsm",), dim=self.model.text_dim)

    @property
    def links(self) -> tuple[Link, ...]:
        return (Link("encoder", ("damsm",)),)
