"""Recipe of StackGAN, for either stage."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from gancli.config.sections import (
    BatchSection,
    Conditioning,
    Count,
    Decay,
    DiscriminatorSection,
    GANOptim,
    Link,
    ModelRecipe,
    Positive,
    Section,
    TrainSection,
    Weight,
    power_of_two,
)


class StackGANModel(Section):
    """Generator and discriminator of the stage that is trained."""

    name: Literal["stackgan"] = "stackgan"
    size: Annotated[int, power_of_two(16)]  # side of the images
    generator_width: Positive = 128  # gf_dim
    discriminator_width: Positive = 64  # df_dim: 64 in the public code, 128 in the paper (Stage I)
    noise_dim: Positive = 100  # Stage I; Stage II has no noise of its own
    condition_dim: Positive = 128  # conditioning augmentation, and the sentence in the discriminator
    residual_blocks: Count = 4  # Stage II
    truncate_condition: bool = True  # truncated noise of the condition (TensorFlow code); false: PyTorch code


class StackGANInit(Section):
    """Starting point of the training."""

    stage1: Path | None = None  # run or model folder of Stage I, or latest; Stage II needs it


class StackGANLoader(BatchSection):
    """Contents of a batch."""

    averaged: Positive = 4  # embeddings of an image whose mean is its sentence
    wrong_pair: Literal["image", "text"] = "image"  # public code | paper: which half of a wrong pair is wrong


class StackGANLoss(Section):
    """Weights of the generator's loss."""

    kl: Weight = 2.0  # lambda of the public code, on the mean over dimensions; the paper does not say


class StackGANOptim(GANOptim):
    """Adam for both networks and its decay, and the average of the generator's weights (none in the public code)."""

    lr_decay: Decay = 0.5
    lr_decay_epochs: Positive  # epochs from one decay to the next: 50 in Stage I, 100 in Stage II


class StackGANRecipe(ModelRecipe):
    """Recipe of `gancli train stackgan`, for either stage."""

    stage: Literal[1, 2]
    text: Literal["char-cnn-rnn", "damsm", "precomputed"] = "char-cnn-rnn"
    model: StackGANModel
    data: Path  # dataset folder
    encoder: Path | None = None  # encoder folder of the kind that `text` says; text=precomputed needs none
    embeddings: Path | None = None  # the .npz of text=precomputed
    init: StackGANInit = StackGANInit()
    loader: StackGANLoader
    discriminator: DiscriminatorSection = DiscriminatorSection()
    loss: StackGANLoss = StackGANLoss()
    optim: StackGANOptim
    train: TrainSection

    @field_validator("embeddings")
    @classmethod
    def _one_source_of_text(cls, embeddings: Path | None, info: ValidationInfo) -> Path | None:
        text, encoder = info.data.get("text"), info.data.get("encoder")
        if text == "precomputed" and embeddings is None:
            raise PydanticCustomError("text", "text=precomputed needs embeddings=FILE.npz")
        if text in ("char-cnn-rnn", "damsm") and (encoder is None or embeddings is not None):
            raise PydanticCustomError(
                "text", "only text=precomputed reads embeddings, the others an encoder=DIR"
            )
        return embeddings

    @field_validator("init")
    @classmethod
    def _stage_two_needs_stage_one(cls, init: StackGANInit, info: ValidationInfo) -> StackGANInit:
        stage = info.data.get("stage")
        if stage == 2 and init.stage1 is None:
            raise PydanticCustomError(
                "stage",
                "stage 2 needs init.stage1=RUN, a run or model folder of stage 1, or init.stage1=latest",
            )
        if stage == 1 and init.stage1 is not None:
            raise PydanticCustomError("stage", "stage 1 starts from nothing: leave init.stage1 out")
        return init

    @property
    def variant(self) -> str:
        return f"stage{self.stage}"

    @property
    def conditioning(self) -> Conditioning:
        if self.embeddings is not None:
            return Conditioning("file", self.embeddings)
        assert self.encoder is not None
        kinds = ("char-cnn-rnn", "damsm")
        return Conditioning("sentences", self.encoder, (self.text,), {kind: f"text={kind}" for kind in kinds})

    @property
    def links(self) -> tuple[Link, ...]:
        encoder = () if self.text == "precomputed" else (Link("encoder", (self.text,)),)
        return (*encoder, Link("init.stage1", ("stackgan",), 1, kept=True))
