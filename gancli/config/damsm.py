"""Recipe of the DAMSM encoders."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from gancli.config.sections import (
    BackboneSection,
    Decay,
    EncoderRecipe,
    LoaderSection,
    Positive,
    Rate,
    Section,
    Share,
    TrainSection,
    Weight,
)


class DamsmModel(BackboneSection):
    """DAMSM's text encoder and image encoder, whose backbone stays as it is where it has ImageNet weights."""

    name: Literal["damsm"] = "damsm"
    dim: Annotated[int, Field(ge=2, multiple_of=2)] = 256  # of the common space; half per reading direction
    embedding_dim: Positive = 300
    dropout: Share = 0.5
    rnn: Literal["lstm", "gru"] = "lstm"
    adapt_batch_norm: bool = True  # frozen layers still follow the batch statistics, as in the public code


class DamsmLoader(LoaderSection):
    """Contents of a batch."""

    # A random window of each image | one of ten, whose features by a frozen backbone are computed once and kept
    views: Literal["random", "ten"] = "random"


class DamsmLoss(Section):
    """The three smoothing factors of the DAMSM loss."""

    gamma1: Rate = 4.0
    gamma2: Rate = 5.0
    gamma3: Rate = 10.0


class DamsmOptim(Section):
    """Adam with an exponential decay per epoch down to a floor."""

    lr: Rate = 0.002
    betas: tuple[Share, Share] = (0.5, 0.999)
    lr_decay: Decay = 0.98  # per epoch
    lr_floor: Weight = 0.0002
    clip_text: Rate = 0.25  # largest gradient norm of the text encoder
    reset_each_epoch: bool = False  # forget Adam's moments at every epoch, as the public code does


class DamsmRecipe(EncoderRecipe):
    """Recipe of `gancli pretrain-encoder damsm`."""

    model: DamsmModel
    data: Path
    loader: DamsmLoader
    loss: DamsmLoss = DamsmLoss()
    optim: DamsmOptim = DamsmOptim()
    train: TrainSection

    @field_validator("loader")
    @classmethod
    def _kept_features_do_not_learn(cls, loader: DamsmLoader, info: ValidationInfo) -> DamsmLoader:
        model = info.data.get("model")
        learns = model is not None and (not model.pretrained or model.adapt_batch_norm)
        if loader.views == "ten" and learns:
            raise PydanticCustomError(
                "views",
                "only features of a backbone that stays as it is are kept: set model.pretrained=true and "
                "model.adapt_batch_norm=false",
            )
        return loader
