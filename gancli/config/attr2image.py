"""Recipe of attr2image, for either stage."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Literal, TypeVar

from pydantic import Field, ValidationError, ValidationInfo, field_validator
from pydantic_core import InitErrorDetails, PydanticCustomError

from gancli.config.sections import (
    BatchSection,
    Decay,
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

Probability = Annotated[float, Field(ge=0, le=1)]


class Attr2ImageModel(Section):
    """Generator and discriminators of the stage that is trained."""

    name: Literal["attr2image"] = "attr2image"
    size: Annotated[int, power_of_two(32)]  # side of the silhouettes or images; the depth follows it
    generator_width: Positive = 64  # channels of Stage I's last but one layer, of Stage II's first
    discriminator_width: Positive = 64  # channels of the first layer; none has more than eight times as many
    condition_dim: Positive = 128  # conditioning augmentation, and the attributes in the discriminator
    residual: bool = False  # a residual block in the conditional discriminator (Dong et al. 2017)
    pixel: bool = False  # experiment: pix2pix's PixelGAN in place of the global discriminator
    noise_dim: Positive = 100  # Stage I, as the next two; Stage II has no noise of its own
    conditional: bool = True  # false: no attributes, Fig. 2
    local: bool = True  # the discriminator of 3x3 patches, Fig. 2
    d_sees_shape: bool = False  # Stage II, as the next three: the silhouette beside the image (pix2pix)
    inject: Literal["bottleneck", "all"] = "bottleneck"  # condition joins there | at every decoder layer
    dropout: Share = 0.5  # of the innermost decoder layers
    inference_dropout: bool = False  # when images are drawn too (pix2pix): they are no longer repeatable


class Attr2ImageAttributes(Section):
    """Attributes of Stage I; Stage II has all others."""

    shape_groups: tuple[str, ...] | None = None  # none: what a silhouette shows of the dataset's own groups
    crest_is_shape: bool = False  # CUB: a crested head too
    drop_size: bool = False  # CUB: without the bird's size, which its crop does not show


class Attr2ImageInit(Section):
    """Stage I that a Stage II draws on."""

    shape: Path | None = None  # run or model folder of Stage I, or latest: the model folder then holds both


class Attr2ImageLoader(BatchSection):
    """Contents of a batch."""

    filtered: bool  # only images whose silhouette passes the quality filter
    shape_noise: Probability = 0.0  # Stage II: of a silhouette being coarsened to what Stage I draws


class Attr2ImageLoss(Section):
    """Weights of the losses."""

    kl: Weight = 1.0  # lambda_0, on the mean over dimensions
    global_weight: Weight = 1.0  # lambda_1 of the global discriminator; at 0 there is none
    negative_weight: Rate = 1.0  # conditional discriminator's two negatives; 0.5 in Dong et al.'s code
    local_weight: Rate = 1.0  # Stage I: lambda_2 of the local discriminator
    l1: Weight = 100.0  # Stage II: of the mean difference from the image


class Attr2ImageOptim(GANOptim):
    """Adam for all networks and its decay, and the average of the generator's weights."""

    lr_decay: Decay = 0.5
    lr_decay_epochs: Positive = 100  # epochs from one decay to the next


ONE_STAGE_ONLY = {  # section -> keys that one stage alone looks at
    "shape": {"model": ("noise_dim", "conditional", "local"), "loader": (), "loss": ("local_weight",)},
    "image": {
        "model": ("d_sees_shape", "inject", "dropout", "inference_dropout"),
        "loader": ("shape_noise",),
        "loss": ("l1",),
    },
}

AnySection = TypeVar("AnySection", Attr2ImageModel, Attr2ImageLoader, Attr2ImageLoss)


class Attr2ImageRecipe(ModelRecipe):
    """Recipe of `gancli train attr2image`, for either stage."""

    stage: Literal["shape", "image"]
    model: Attr2ImageModel
    attributes: Attr2ImageAttributes = Attr2ImageAttributes()
    data: Path  # dataset folder
    init: Attr2ImageInit = Attr2ImageInit()
    loader: Attr2ImageLoader
    discriminator: DiscriminatorSection = DiscriminatorSection()
    loss: Attr2ImageLoss = Attr2ImageLoss()
    optim: Attr2ImageOptim = Attr2ImageOptim()
    train: TrainSection

    @property
    def variant(self) -> str:
        return self.stage

    @property
    def links(self) -> tuple[Link, ...]:
        return (Link("init.shape", ("attr2image",), "shape", kept=True),)

    @property
    def needs(self) -> Mapping[Need, str]:
        return {
            "silhouettes": "Prepare it again with --silhouettes official or --silhouettes estimate.",
            "attributes": "attr2image learns from attributes: those of CUB-200-2011, or of gancli prepare demo.",
        }

    @field_validator("model", "loader", "loss")
    @classmethod
    def _only_of_this_stage(cls, section: AnySection, info: ValidationInfo) -> AnySection:
        stage = info.data.get("stage")
        if stage is None:
            return section
        other = "image" if stage == "shape" else "shape"
        assert info.field_name is not None
        _refuse(
            section, ONE_STAGE_ONLY[other][info.field_name], f"only stage={other} looks at it: leave it out"
        )
        return section

    @field_validator("discriminator")
    @classmethod
    def _projected_sees_images_with_attributes(
        cls, discriminator: DiscriminatorSection, info: ValidationInfo
    ) -> DiscriminatorSection:
        model = info.data.get("model")
        if discriminator.kind == "projected" and model is not None:
            if not model.conditional:
                raise PydanticCustomError(
                    "projected",
                    "a projected discriminator compares with attributes: leave out model.conditional",
                )
            if model.d_sees_shape:
                raise PydanticCustomError(
                    "projected", "a projected discriminator sees images alone: leave out model.d_sees_shape"
                )
        return discriminator

    @field_validator("init")
    @classmethod
    def _stage_one_starts_from_nothing(cls, init: Attr2ImageInit, info: ValidationInfo) -> Attr2ImageInit:
        if info.data.get("stage") == "shape":
            _refuse(init, ("shape",), "only stage=image is put together with a stage=shape: leave it out")
        return init

    @field_validator("loss")
    @classmethod
    def _a_discriminator_is_left(cls, loss: Attr2ImageLoss, info: ValidationInfo) -> Attr2ImageLoss:
        model = info.data.get("model")
        if model is not None and not (model.conditional or model.local) and loss.global_weight == 0:
            raise PydanticCustomError(
                "discriminators",
                "no discriminator is left: model.conditional and model.local are false, loss.global_weight is 0",
            )
        return loss


def _refuse(section: Section, keys: Sequence[str], message: str) -> None:
    """Report each key whose value is not its default, under the key's own name."""
    changed = [key for key in keys if getattr(section, key) != type(section).model_fields[key].default]
    if changed:
        raise ValidationError.from_exception_data(
            type(section).__name__,
            [
                InitErrorDetails(
                    type=PydanticCustomError("stage", message),
                    loc=(key,),
                    input=str(value) if isinstance(value := getattr(section, key), Path) else value,
                )
                for key in changed
            ],
        )
