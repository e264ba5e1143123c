"""Recipe of the character encoder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from gancli.config.sections import (
    BatchSection,
    Conditioning,
    Decay,
    EncoderRecipe,
    Link,
    Positive,
    Rate,
    Section,
    Share,
    TrainSection,
)


class CharCnnRnnModel(Section):
    """The text network."""

    name: Literal["char-cnn-rnn"] = "char-cnn-rnn"
    variant: Literal["A", "B", "C"] = (
        "B"  # CVPR 2016 code | ICML 2016 code of birds, behind StackGAN's | of flowers
    )
    dim: Positive = 1024  # of a sentence vector; image features of another width are mapped to it
    width: Annotated[int, Field(ge=3, multiple_of=3)] = 384  # first convolution; the others scale with it
    gru_impl: Literal["torch", "reed"] = "torch"  # of variant B: torch's GRU | the public code's


class FeaturesSection(Section):
    """Source of the frozen image features: a backbone with ImageNet weights, or an encoder folder."""

    backbone: (
        Literal["googlenet", "inception_v3", "resnet18", "efficientnet_lite0", "efficientnet_lite1"] | None
    ) = None
    encoder: Path | None = None  # folder of gancli pretrain-encoder damsm or classifier

    @field_validator("encoder")
    @classmethod
    def _one_of_two(cls, encoder: Path | None, info: ValidationInfo) -> Path | None:
        if (encoder is None) == (info.data.get("backbone", "") is None):
            raise PydanticCustomError(
                "features",
                "image features come from one network: set either features.backbone or features.encoder, and the "
                "other to null",
            )
        return encoder


class CharCnnRnnLoader(BatchSection):
    """Contents of a batch."""

    batch: Annotated[int, Field(ge=2)] = 40  # different classes per step, one image and caption of each


class CharCnnRnnOptim(Section):
    """RMSprop with an exponential decay per epoch, which is as many steps as there are classes to train on."""

    lr: Rate = 7e-4
    alpha: Share = 0.99  # of the running mean of squares
    lr_decay: Decay = 0.98  # per epoch
    clip: Rate | None = 5.0  # largest gradient norm; null for none, as in the public code


class CharCnnRnnRecipe(EncoderRecipe):
    """Recipe of `gancli pretrain-encoder char-cnn-rnn`."""

    model: CharCnnRnnModel
    data: Path
    features: FeaturesSection
    loader: CharCnnRnnLoader = CharCnnRnnLoader()
    optim: CharCnnRnnOptim = CharCnnRnnOptim()
    train: TrainSection

    @property
    def links(self) -> tuple[Link, ...]:
        return (Link("features.encoder", ("damsm", "classifier")),)

    @property
    def smallest_split(self) -> int:
        return 2  # a batch takes all classes where there are fewer than it asks for

    @property
    def conditioning(self) -> Conditioning:
        if self.features.encoder is not None:
            return Conditioning("features", self.features.encoder, ("damsm", "classifier"))
        assert self.features.backbone is not None  # the recipe has one of the two
        return Conditioning("features", self.features.backbone)
