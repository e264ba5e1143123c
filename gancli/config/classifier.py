"""Recipe of a classifier of a dataset's classes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from gancli.config.sections import (
    BackboneSection,
    BatchSection,
    Decay,
    EncoderRecipe,
    Need,
    Positive,
    Rate,
    Section,
    Share,
    TrainSection,
    Weight,
)


class ClassifierModel(BackboneSection):
    """A backbone, all of which learns, and one linear layer on its global features."""

    name: Literal["classifier"] = "classifier"
    dropout: Share = 0.0  # on the global features


class ClassifierLoader(BatchSection):
    """Contents of a batch."""

    batch: Positive  # images per step and process


class ClassifierLoss(Section):
    """Cross entropy."""

    label_smoothing: Share = 0.1  # share of the target that is spread over all classes


class ClassifierOptim(Section):
    """AdamW with an exponential decay per epoch, and the average of the weights."""

    lr: Rate = 1e-3
    lr_decay: Decay = 1.0  # per epoch
    weight_decay: Weight = 0.01
    ema_decay: Share = 0.99


class ClassifierRecipe(EncoderRecipe):
    """Recipe of `gancli pretrain-encoder classifier`."""

    model: ClassifierModel
    data: Path  # dataset folder
    split: str = "test"  # the split whose classes it learns, from that split's images; `all`: every split
    held_out: Share = 0.1  # of each class's images, for the accuracy that is reported; 0 trains on all
    loader: ClassifierLoader
    loss: ClassifierLoss = ClassifierLoss()
    optim: ClassifierOptim = ClassifierOptim()
    train: TrainSection

    @property
    def needs(self) -> Mapping[Need, str]:
        return {"classes": "Take cub, oxford102, demo, or a folder prepared with one subfolder per class."}

    @property
    def training_split(self) -> str:
        return self.split
