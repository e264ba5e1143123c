"""Recipe of Fusion-S2iGan, and of DF-GAN, which is the same network with another block."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from gancli.config.sections import (
    BatchSection,
    Conditioning,
    DiscriminatorSection,
    GANOptim,
    Link,
    ModelRecipe,
    Need,
    Positive,
    Rate,
    Section,
    Share,
    TrainSection,
    Weight,
    power_of_two,
)


class FusionS2iGanModel(Section):
    """Generator and discriminator; the substitutes of the paper's Tables 3 to 6 are values here."""

    name: Literal["fusion-s2igan"] = "fusion-s2igan"
    size: Annotated[int, power_of_two(8)] = 256  # side of the images
    generator_width: Positive = 32  # channels of the last block; the first ones have eight times as many
    discriminator_width: Positive = 32  # channels of the first convolution; each block doubles them
    discriminator_max_multiple: Positive = 32  # most channels over the width: 1024 / 32 in the paper
    noise_dim: Positive = 100
    noise_in_condition: bool = False  # the blocks see the noise beside the condition (DF-GAN, CVPR version)
    condition_scale: Rate = 1.0  # times the condition; 32 brings a unit vector of 1024 numbers to deviation 1
    block: Literal["vsfm", "dfgan", "dtgan-approx"] = "vsfm"  # Table 5; of DTGAN's there is no public code
    attention: Literal[
        "pam", "bam", "bam-product", "polarized", "polarized-sequential", "cot", "cot-lite"
    ] = "pam"  # Table 3
    fusion: Literal["wfm", "add", "mul"] = "wfm"  # Table 4
    modules: Literal[1, 2] = 2  # fusion modules in a block, Table 6
    first_block: bool = True  # a block at 4x4, before the first doubling; DF-GAN's CVPR version has none
    modulation_hidden: Positive | None = 256  # of the speech modulation; null: as many as channels
    attention_reduction: Positive = 4  # r: channels of the pixel attention are divided by it
    fusion_reduction: Positive = 4  # channels of the weighted fusion are divided by it


class FusionS2iGanLoader(BatchSection):
    """Contents of a batch."""

    batch: Annotated[int, Field(ge=2)] = 32
    mismatch: Literal["class-aware", "roll"] = "class-aware"  # another class's caption | the batch's next


class FusionS2iGanLoss(Section):
    """Matching-aware gradient penalty of the discriminator and matching loss of the generator."""

    magp: Weight = 2.0  # k of DF-GAN's code; the paper gives none
    magp_power: Annotated[float, Field(ge=2)] = 6.0  # p
    magp_form: Literal["concat", "sum"] = "concat"  # norm of both gradients at once (DF-GAN code) | eq. 20
    damsm: Weight = 0.05  # lambda; the paper gives none
    gamma: Rate = 10.0  # sharpness of the matching loss within the batch
    same_class_negatives: bool = False  # other images of a class are wrong pairs too, as without classes


class FusionS2iGanOptim(GANOptim):
    """Adam for both networks; no average of the generator's weights, as in DF-GAN's code."""

    generator_lr: Rate = 1e-4
    discriminator_lr: Rate = 4e-4
    betas: tuple[Share, Share] = (0.0, 0.9)


class FusionS2iGanRecipe(ModelRecipe):
    """Recipe of `gancli train fusion-s2igan`."""

    condition: Literal["speech", "sentence"] = "speech"
    model: FusionS2iGanModel
    data: Path  # dataset folder
    encoder: Path  # folder of a speech encoder; of a damsm or char-cnn-rnn encoder for condition=sentence
    loader: FusionS2iGanLoader = FusionS2iGanLoader()
    discriminator: DiscriminatorSection = DiscriminatorSection()
    loss: FusionS2iGanLoss = FusionS2iGanLoss()
    optim: FusionS2iGanOptim = FusionS2iGanOptim()
    train: TrainSection

    @field_validator("loss")
    @classmethod
    def _penalty_of_the_papers_discriminator(
        cls, loss: FusionS2iGanLoss, info: ValidationInfo
    ) -> FusionS2iGanLoss:
        discriminator = info.data.get("discriminator")
        if discriminator is not None and discriminator.kind == "projected" and loss.magp > 0:
            raise PydanticCustomError(
                "penalty",
                "a projected discriminator has no gradient penalty: set loss.magp=0",
            )
        return loss

    @property
    def paper(self) -> str:
        return "dfgan" if (self.model.block, self.condition) == ("dfgan", "sentence") else self.kind

    @property
    def conditioning(self) -> Conditioning:
        if self.condition == "speech":
            instead = dict.fromkeys(("damsm", "char-cnn-rnn"), "condition=sentence")
            return Conditioning("speech", self.encoder, self._kinds, instead)
        return Conditioning("sentences", self.encoder, self._kinds, {"speech": "condition=speech"})

    @property
    def links(self) -> tuple[Link, ...]:
        return (Link("encoder", self._kinds),)

    @property
    def needs(self) -> Mapping[Need, str]:
        hint = "Prepare it again with --speech tts, or train on sentences with condition=sentence."
        return {"speech": hint} if self.condition == "speech" else {}

    @property
    def _kinds(self) -> tuple[str, ...]:
        return ("speech",) if self.condition == "speech" else ("damsm", "char-cnn-rnn")
