"""Parts that the recipes of all models share: the base of every section and recipe, and common sections."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

Positive = Annotated[int, Field(ge=1)]
Count = Annotated[int, Field(ge=0)]
Weight = Annotated[float, Field(ge=0)]
Rate = Annotated[float, Field(gt=0)]
Share = Annotated[float, Field(ge=0, lt=1)]
Fraction = Annotated[float, Field(gt=0, lt=1)]
Decay = Annotated[float, Field(gt=0, le=1)]  # factor of a learning rate


def power_of_two(least: int) -> AfterValidator:
    """Return a validator of an image side: a power of two, at least `least`."""

    def check(size: int) -> int:
        if size < least or size & (size - 1):
            raise PydanticCustomError("side", f"a side is a power of two, at least {least}")
        return size

    return AfterValidator(check)


Need = Literal["silhouettes", "attributes", "speech", "classes"]


class Section(BaseModel):
    """One block of a recipe. It is immutable, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True, allow_inf_nan=False)


class TrainSection(Section):
    """Length and manner of a run. It stops at whichever of epochs, steps and minutes comes first."""

    epochs: Positive | None = None  # passes over the training split
    steps: Positive | None = None  # optimizer steps of the generator (or of the encoder)
    minutes: Rate | None = None  # wall-clock minutes of training, summed over resumed sessions
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    device: Annotated[str, Field(pattern=r"^(auto|cpu|mps|cuda(:\d+)?)$")] = "auto"
    precision: Literal["float32", "tf32", "bf16", "auto"] = (
        "float32"  # auto: bf16 where the device has it and gains by it
    )
    grad_accumulation: Positive = 1  # batches whose gradients a step averages, to save memory
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

    backbone: Literal[
        "inception_v3",
        "googlenet",
        "resnet18",
        "resnet50",
        "efficientnet_lite0",
        "efficientnet_lite1",
        "efficientnet_lite2",
        "small",
    ]
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


class BatchSection(Section):
    """Contents of a batch."""

    batch: Annotated[int, Field(ge=2)]  # images per step and process; mismatched pairs and negatives need two
    workers: Count = 1  # loader processes; 0 loads in the training process


class LoaderSection(BatchSection):
    """Contents of a batch with written captions."""

    words: Positive = 18  # longest caption in words; longer ones lose random words


class DiscriminatorSection(Section):
    """Discriminators of a GAN: its paper's, or projected ones on fixed ImageNet features, for the largest images."""

    kind: Literal["paper", "projected"] = "paper"
    # The rest is of projected ones
    backbone: Literal["efficientnet_lite0", "efficientnet_lite1", "efficientnet_lite2"] = "efficientnet_lite0"
    size: Annotated[int, Field(ge=32, multiple_of=32)] = (
        96  # side in pixels at which the features are computed
    )
    channels: Positive = 64  # of the mixed features
    width: Annotated[int, Field(ge=8, multiple_of=8)] = 128  # channels of the first layer
    augmented: bool = True  # change colours and position of what it sees


class GANOptim(Section):
    """Adam for the generator and for every discriminator, and the average of the generator's weights."""

    generator_lr: Rate = 2e-4
    discriminator_lr: Rate = 2e-4
    betas: tuple[Share, Share] = (0.5, 0.999)
    ema_decay: Share = 0.0  # 0: the trained weights themselves
    ema_warmup: bool = (
        False  # let the decay rise with the steps, so that a short training forgets its first weights
    )


class HolesSection(Section):
    """Holes that training cuts."""

    kind: Literal["center", "irregular", "mix", "folder"] = "center"
    center: Fraction = 0.5  # side of the central hole over the image's
    least: Fraction = 0.1  # share of the image that irregular holes cover, from and to
    most: Fraction = 0.5
    folder: Path | None = None  # of mask images, for kind=folder; white is the hole
    invert: bool = False  # in those black is the hole

    @field_validator("most")
    @classmethod
    def _above_least(cls, most: float, info: ValidationInfo) -> float:
        if most < info.data.get("least", 0):
            raise PydanticCustomError("holes", "holes.most is below holes.least")
        return most

    @field_validator("folder")
    @classmethod
    def _only_for_its_kind(cls, folder: Path | None, info: ValidationInfo) -> Path | None:
        if (folder is not None) != (info.data.get("kind") == "folder"):
            raise PydanticCustomError(
                "holes", "holes.kind=folder and holes.folder=DIR go together; give both, or neither"
            )
        return folder


@dataclass(frozen=True)
class Conditioning:
    """Source of the vectors that a model is conditioned on.

    Attributes:
        form: "words" for word and sentence features, "sentences" and "speech" for one vector per caption, "file" for
            vectors from a file.
        path: Encoder folder or file; a backbone's name for features of published weights.
        kinds: Encoders that will do.
        instead: Override that would suit an encoder of another kind, by kind.
        dim: Width of the vectors that the recipe expects; None takes the encoder's.
    """

    form: Literal["words", "sentences", "speech", "file", "features"]
    path: Path | str
    kinds: tuple[str, ...] = ()
    instead: Mapping[str, str] = field(default_factory=dict)
    dim: int | None = None


@dataclass(frozen=True)
class Link:
    """A key of a recipe that names a run, a model or an encoder.

    Attributes:
        key: Dotted key.
        kinds: Models or encoders that it may be.
        stage: Stage that it has to be; None for any.
        kept: Whether the model folder holds it, so that a resumed run no longer looks for it.
    """

    key: str
    kinds: tuple[str, ...]
    stage: str | int | None = None
    kept: bool = False


class BaseRecipe(Section):
    """Properties by which a recipe is chosen and its training is checked, the same for models and encoders."""

    if TYPE_CHECKING:  # sections that every recipe has, each of its own type
        model: Any
        loader: Any
        optim: Any
        data: Path
        train: TrainSection

    @property
    def kind(self) -> str:
        """Name of the model or encoder."""
        return str(self.model.name)

    @property
    def paper(self) -> str:
        """Folder of its paper's shipped recipes."""
        return self.kind

    @property
    def variant(self) -> str:
        """Part of the recipe's and the run's name after the dataset's; empty where one recipe a dataset is enough."""
        return ""

    @property
    def image_size(self) -> int | None:
        """Side in pixels of the largest images that it trains on; None takes the dataset's."""
        size: int | None = getattr(self.model, "size", None)
        return size

    @property
    def resizes(self) -> bool:
        """True where smaller images are enlarged by design."""
        return False

    def size_override(self, image_size: int) -> str:
        """Return the override by which it trains at a size."""
        return f"model.size={image_size}"

    @property
    def training_split(self) -> str:
        """Split that it trains on; "all" for every one."""
        return "train"

    @property
    def smallest_split(self) -> int:
        """Images that the training split holds at least, for one process."""
        return int(self.loader.batch)

    @property
    def conditioning(self) -> Conditioning | None:
        """Source of the vectors that it conditions on."""
        return None

    @property
    def hole_settings(self) -> HolesSection | None:
        """Holes that it cuts."""
        return None

    @property
    def links(self) -> tuple[Link, ...]:
        """Keys that name a run, a model or an encoder: there `latest` may stand."""
        return ()

    @property
    def needs(self) -> Mapping[Need, str]:
        """Things that its dataset has to hold besides images and captions, each with a hint for where it is missing."""
        return {}


class ModelRecipe(BaseRecipe):
    """Recipe of `gancli train`."""


class EncoderRecipe(BaseRecipe):
    """Recipe of `gancli pretrain-encoder`."""

    @property
    def resizes(self) -> bool:
        """Published backbones bring an input size of their own."""
        return bool(getattr(self.model, "backbone", "small") != "small")
