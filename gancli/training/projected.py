"""Projected discriminators from a recipe's section."""

from __future__ import annotations

from gancli.config.arguments import construct
from gancli.config.sections import DiscriminatorSection
from gancli.encoders.backbones import fold_batch_norms, load_imagenet
from gancli.encoders.efficientnet_lite import EfficientNetLite
from gancli.models.projected import ProjectedDiscriminator


def projected_discriminator(
    section: DiscriminatorSection, condition_dim: int, *, pretrained: bool = True
) -> ProjectedDiscriminator | None:
    """Return projected discriminators with fresh weights on a network with ImageNet weights; None for the paper's.

    Args:
        section: Section of the recipe.
        condition_dim: Length of the condition.
        pretrained: Load the ImageNet weights; False is for counting parameters only.

    Raises:
        DataError: The weights are not installed.
    """
    if section.kind == "paper":
        return None
    features = EfficientNetLite(section.backbone, section.size)
    if pretrained:
        load_imagenet(features)
    fold_batch_norms(features.eval())
    features.requires_grad_(False)
    return construct(ProjectedDiscriminator, section, features=features, condition_dim=condition_dim)
