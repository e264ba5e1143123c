"""What the recipes of all models share: the base of every section, and the sections `train` and `loader`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

Positive = Annotated[int, Field(ge=1)]
Count = Annotated[int, Field(ge=0)]
Weight = Annotated[float, Field(ge=0)]
Rate = Annotated[float, Field(gt=0)]
Share = Annotated[float, Field(ge=0, lt=1)]


class Section(BaseModel):
    """One block of a recipe: immutable, and a key it does not know is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True, allow_inf_nan=False)


class TrainSection(Section):
    """How long and how a run trains. It stops at whichever of epochs, steps and minutes comes first."""

    epochs: Positive | None = None  # passes over the training split
    steps: Positive | None = None  # optimizer steps of the generator (or of the encoder)
    minutes: Rate | None = None  # wall-clock minutes of training, summed over resumed sessions
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    device: Annotated[str, Field(pattern=r"^(auto|cpu|mps|cuda(:\d+)?)$")] = "auto"
    precision: Literal["float32", "tf32", "bf16"] = "float32"
    grad_accumulation: Positive = (
        1  # batches whose gradients a step averages, one after the other, to save memory
    )
    channels_last: bool = True  # memory format of the convolutions' weights
    compile: bool = False  # torch.compile of every network that is not differentiated twice
    sync_batch_norm: bool = False  # of several processes: statistics over the images of all, on CUDA only
    activation_checkpointing: bool = False  # large blocks run again in the backward pass: saves memory
    deterministic: bool = False  # only deterministic kernels: slower, repeatable on a GPU
    log_every: Positive = 50  # steps between two rows of log.csv
    sample_every: Positive = 1000  # steps between two sample grids
    checkpoint_every: Positive = 1000  # steps between two checkpoints
    keep: Positive = 3  # checkpoints kept beside the best one

    @field_validator("minutes")
    @classmethod
    def _needs_a_limit(cls, minutes: float | None, info: ValidationInfo) -> float | None:
        # A field validator, because pydantic skips whole-section checks while any field is wrong.
        if minutes is None and info.data.get("epochs", 0) is None and info.data.get("steps", 0) is None:
            raise PydanticCustomError(
                "no_limit", "set at least one of train.epochs, train.steps and train.minutes"
            )
        return minutes

    @field_validator("activation_checkpointing")
    @classmethod
    def _recomputed_alone(cls, activation_checkpointing: bool, info: ValidationInfo) -> bool:
        if activation_checkpointing and info.data.get("compile"):
            raise PydanticCustomError(
                "recompute_compiled",
                "a compiled network decides by itself what it computes again: leave out this or train.compile",
            )
        if activation_checkpointing and info.data.get("sync_batch_norm"):
            raise PydanticCustomError(
                "recompute_synced",
                "a synchronised batch norm that is computed again would talk to the other processes in the midst of "
                "their backward pass: leave out this or train.sync_batch_norm",
            )
        return activation_checkpointing


class BackboneSection(Section):
    """An image backbone, as part of an encoder's `model` section."""

    backbone: Literal["inception_v3", "googlenet", "resnet18", "resnet50", "small"]
    pretrained: bool  # published weights, of ImageNet unless said otherwise; `small` has none
    width: Positive = 32  # first channels of the `small` backbone; the others have their own
    size: Annotated[int, Field(ge=8)] | None = None  # side of the input; none: the dataset's image size

    @field_validator("pretrained")
    @classmethod
    def _small_has_no_weights(cls, pretrained: bool, info: ValidationInfo) -> bool:
        if pretrained and info.data.get("backbone") == "small":
            raise PydanticCustomError(
                "pretrained", "backbone `small` has no pretrained weights: set it to false"
            )
        return pretrained


class LoaderSection(Section):
    """What a batch holds."""

    batch: Annotated[int, Field(ge=2)]  # images per step and process; mismatched pairs and negatives need two
    words: Positive = 18  # longest caption in words; longer ones lose random words
    workers: Count = 1  # loader processes; 0 loads in the training process
