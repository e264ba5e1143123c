"""The recipe of the DAMSM encoders."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from gancli.config.sections import LoaderSection, Positive, Rate, Section, Share, TrainSection, Weight


class DamsmModel(Section):
    """DAMSM's text encoder and image encoder."""

    name: Literal["damsm"] = "damsm"
    backbone: Literal["inception_v3", "resnet18", "small"]
    pretrained: bool  # ImageNet weights, frozen; never for `small`, which is trained from scratch
    dim: Annotated[int, Field(ge=2, multiple_of=2)] = 256  # of the common space; half per reading direction
    embedding_dim: Positive = 300
    dropout: Share = 0.5
    rnn: Literal["lstm", "gru"] = "lstm"
    width: Positive = 32  # first channels of the `small` backbone; the others have their own
    adapt_batch_norm: bool = True  # frozen layers still follow the batch statistics, as in the public code
    size: Annotated[int, Field(ge=8)] | None = None  # side of the input; none: the dataset's image size

    @field_validator("pretrained")
    @classmethod
    def _small_has_no_weights(cls, pretrained: bool, info: ValidationInfo) -> bool:
        if pretrained and info.data.get("backbone") == "small":
            raise PydanticCustomError(
                "pretrained", "backbone `small` has no pretrained weights: set it to false"
            )
        return pretrained


class DamsmLoss(Section):
    """The three smoothing factors of the DAMSM loss."""

    gamma1: Rate = 4.0
    gamma2: Rate = 5.0
    gamma3: Rate = 10.0


class DamsmOptim(Section):
    """Adam with an exponential decay per epoch down to a floor."""

    lr: Rate = 0.002
    betas: tuple[Share, Share] = (0.5, 0.999)
    lr_decay: Annotated[float, Field(gt=0, le=1)] = 0.98  # per epoch
    lr_floor: Weight = 0.0002
    clip_text: Rate = 0.25  # largest gradient norm of the text encoder
    reset_each_epoch: bool = False  # forget Adam's moments at every epoch, as the public code does


class DamsmRecipe(Section):
    """Everything that `gancli pretrain-encoder damsm` needs to know."""

    model: DamsmModel
    data: Path
    loader: LoaderSection
    loss: DamsmLoss = DamsmLoss()
    optim: DamsmOptim = DamsmOptim()
    train: TrainSection
