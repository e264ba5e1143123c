"""Recipe of the speech encoder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from gancli.config.sections import (
    BackboneSection,
    BatchSection,
    Decay,
    EncoderRecipe,
    Fraction,
    Need,
    Positive,
    Rate,
    Section,
    Share,
    TrainSection,
    Weight,
)


class SpeechModel(BackboneSection):
    """The speech network, and an image backbone, which stays as it is where it has published weights."""

    name: Literal["speech"] = "speech"
    pretrained_on: Literal["imagenet", "places365"] = "imagenet"  # what the published weights know
    channels: tuple[Positive, Positive] = (64, 128)  # of the two convolutions
    hidden: Positive = 512  # of each direction of the GRU; a vector is twice as long
    attention_dim: Positive = 128
    convolution_activation: Literal["none", "relu"] = "none"  # the public code has none
    mask_padding: bool = True  # false: attention runs over the padding too, as in the public code

    @field_validator("pretrained_on")
    @classmethod
    def _only_resnet50_knows_places(cls, pretrained_on: str, info: ValidationInfo) -> str:
        if pretrained_on == "places365" and info.data.get("backbone") != "resnet50":
            raise PydanticCustomError("pretrained_on", "only backbone `resnet50` has weights of Places365")
        return pretrained_on


class ValidationSection(Section):
    """Choice of the best checkpoint."""

    share: Fraction = 0.1  # of the training split, held out; not if select_on is test
    by: Literal["class", "image"] = "class"  # hold out whole classes | images; the same without classes
    select_on: Literal["val", "test"] = "val"  # test: all of train is trained on, as in the public code
    metric: Literal["map", "recall"] = "map"  # speech to images of its class | mean R@10 of both directions
    every: Positive = 5  # epochs between two looks


class SpeechLoader(BatchSection):
    """Contents of a batch."""

    batch: Annotated[int, Field(ge=2)]  # images per step, with one spoken caption each; negatives need two
    max_frames: Annotated[int, Field(ge=16)] | None = None  # longer captions give a random window


class SpeechLoss(Section):
    """The matching loss, and the distinctive loss of datasets with classes."""

    gamma: Rate = 10.0
    same_class_negatives: bool = False  # other images of a class are wrong pairs too, as without classes
    distinctive: Weight = 1.0  # 0 leaves it out


class SpeechOptim(Section):
    """Adam with a decay in steps."""

    lr: Rate = 1e-3
    betas: tuple[Share, Share] = (0.95, 0.999)
    weight_decay: Weight = 1e-3  # added to the gradient, as in Adam before AdamW
    lr_decay: Decay = 0.1
    decay_every: Positive = 50  # epochs


class SpeechRecipe(EncoderRecipe):
    """Recipe of `gancli pretrain-encoder speech`."""

    model: SpeechModel
    data: Path  # dataset folder, prepared with speech
    validation: ValidationSection = ValidationSection()
    loader: SpeechLoader
    loss: SpeechLoss = SpeechLoss()
    optim: SpeechOptim = SpeechOptim()
    train: TrainSection

    @property
    def needs(self) -> Mapping[Need, str]:
        needs: dict[Need, str] = {
            "speech": "Prepare it again with --speech tts, or --speech wav for recordings."
        }
        if self.loss.distinctive:
            needs["classes"] = "Set loss.distinctive=0, as for Flickr8k and Places."
        return needs
