"""Projected discriminators: "Projected GANs Converge Faster" (Sauer et al., 2021), with a condition.

Images are seen through a fixed ImageNet network. Its maps of four depths are mixed across channels and scales by fixed
random convolutions (section 3.2), and a small discriminator judges each of the mixed maps (section 3.1). The condition
enters each by projection (Miyato and Koyama, 2018). Images are augmented before, differentiably and alike for real and
generated ones (Zhao et al., 2020), so that few photographs last for long.

B is the batch, D the length of the condition.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from gancli.losses.adversarial import generator_hinge, hinge_fake, hinge_real
from gancli.models.layers import SMALLEST_MAP, ConditionalDiscriminator, leaky

GROUPS = 8  # of the group norms, which do not depend on the other images of a batch


class FeatureNetwork(Protocol):
    """Fixed network that maps images to feature maps of several depths."""

    level_channels: tuple[int, ...]

    def pyramid(self, images: Tensor) -> list[Tensor]:
        """Map images (B, 3, S, S) in [-1, 1] to maps of `level_channels`: 1/4 of the side, and each half the last."""


# --- augmentation ---------------------------------------------------------------------------------------------


def augment(images: Tensor, *, shift: float = 0.125) -> Tensor:
    """Change brightness, saturation, contrast and position of images at random (Zhao et al., section 4.1).

    Args:
        images: (B, 3, S, S) in [-1, 1].
        shift: Largest shift as a share of the side. The border is reflected.
    """
    batch, _, side, _ = images.shape
    brightness, saturation, contrast = torch.rand(3, batch, 1, 1, 1, device=images.device, dtype=images.dtype)
    images = images + (0.4 * brightness - 0.2)
    grey = images.mean(dim=1, keepdim=True)
    images = grey + (images - grey) * (saturation + 0.5)
    mean = images.mean(dim=(1, 2, 3), keepdim=True)
    images = mean + (images - mean) * (0.6 * contrast + 0.7)
    most = int(side * shift)
    if most == 0:
        return images
    padded = F.pad(images, (most,) * 4, mode="reflect")
    rows, columns = torch.randint(0, 2 * most + 1, (2, batch, 1), device=images.device)
    steps = torch.arange(side, device=images.device)
    number = torch.arange(batch, device=images.device)[:, None, None]
    shifted = padded.permute(0, 2, 3, 1)[number, (rows + steps)[:, :, None], (columns + steps)[:, None]]
    return shifted.permute(0, 3, 1, 2)  # (B, 3, S, S) in channels_last


# --- features (section 3.2) -----------------------------------------------------------------------------------


class FeatureMixing(nn.Module):
    """Fixed random mixing of feature maps across channels (CCM) and, from the deepest on, across scales (CSM).

    Args:
        level_channels: Channels of the maps.
        channels: Channels of each mixed map.
    """

    def __init__(self, level_channels: Sequence[int], channels: int) -> None:
        super().__init__()
        self.across_channels = nn.ModuleList(
            nn.Conv2d(each, channels, 1, bias=False) for each in level_channels
        )
        self.across_scales = nn.ModuleList(
            nn.Conv2d(channels, channels, 3, padding=1, bias=False) for _ in level_channels
        )
        for parameter in self.parameters():
            nn.init.kaiming_normal_(parameter, nonlinearity="linear")
        self.requires_grad_(False)

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """Map features (B, C, S, S) of falling side to mixed features (B, `channels`, S, S)."""
        mixed: list[Tensor] = []
        levels = zip(maps, self.across_channels, self.across_scales, strict=True)
        for level, across_channels, across_scales in reversed(list(levels)):
            features = across_channels(level)
            if mixed:
                above = F.interpolate(mixed[-1], size=features.shape[2:], mode="bilinear")
                features = (features + above) / math.sqrt(2)
            mixed.append(across_scales(features))
        return mixed[::-1]


# --- discriminators (section 3.1) -----------------------------------------------------------------------------


class Head(nn.Module):
    """Discriminator of one mixed map: halvings to a map of about 4x4, a score, and a vector to compare.

    Args:
        side: Side of the map.
        channels: Channels of the map.
        width: Channels after the first halving, twice as many after the next ones.
        condition_dim: D.
    """

    def __init__(self, side: int, channels: int, width: int, condition_dim: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        while side >= 2 * SMALLEST_MAP:
            layers += [spectral_norm(nn.Conv2d(channels, width, 4, stride=2, padding=1, bias=False))]
            layers += [nn.GroupNorm(GROUPS, width), leaky()]
            channels, width, side = width, 2 * width, side // 2
        layers += [spectral_norm(nn.Conv2d(channels, channels, 3, padding=1)), leaky()]
        layers += [nn.AdaptiveAvgPool2d(SMALLEST_MAP)]
        self.body = nn.Sequential(*layers)
        self.score = spectral_norm(nn.Conv2d(channels, 1, SMALLEST_MAP))
        self.compared = spectral_norm(nn.Conv2d(channels, channels, SMALLEST_MAP))
        self.condition = spectral_norm(nn.Linear(condition_dim, channels))

    def forward(self, maps: Tensor, condition: Tensor, pairs: Tensor | None = None) -> Tensor:
        """Return scores (N,) of maps (B, C, S, S) and conditions (N, D).

        Args:
            maps: Mixed maps.
            condition: Conditions.
            pairs: Index of each condition's map, (N,); None where there is one condition for each map.
        """
        features = self.body(maps)
        score = self.score(features).flatten()
        compared = self.compared(features).flatten(1)  # (B, C)
        if pairs is not None:
            score, compared = score[pairs], compared[pairs]
        match = (compared * self.condition(condition)).sum(dim=1) / math.sqrt(compared.shape[1])
        scores: Tensor = score + match
        return scores


class ProjectedDiscriminator(ConditionalDiscriminator):
    """Discriminators on the features of a fixed network.

    Args:
        features: Feature network, frozen and without batch norms.
        size: Side at which the network sees images, in pixels. Others are resized.
        condition_dim: D.
        channels: Channels of the mixed maps.
        width: Channels of the discriminators' first layer.
        augmented: Augment the images.
    """

    def __init__(
        self,
        features: FeatureNetwork,
        *,
        size: int,
        condition_dim: int,
        channels: int,
        width: int,
        augmented: bool,
    ) -> None:
        super().__init__()
        self.features = features
        self.size = size
        self.augmented = augmented
        self.mixing = FeatureMixing(features.level_channels, channels)
        sides = [size // 4 // 2**level for level in range(len(features.level_channels))]
        self.heads = nn.ModuleList(Head(side, channels, width, condition_dim) for side in sides)

    def forward(self, images: Tensor) -> list[Tensor]:
        """Map images (B, 3, S, S) or silhouettes (B, 1, S, S), in [-1, 1], to mixed maps, one for each head."""
        images = images.expand(-1, 3, -1, -1)
        if self.augmented:
            images = augment(images)
        if images.shape[-1] != self.size:
            images = F.interpolate(images, size=(self.size, self.size), mode="bilinear", antialias=True)
        mixed: list[Tensor] = self.mixing(self.features.pyramid(images))
        return mixed

    def loss(self, real: Tensor, fake: Tensor, condition: Tensor, wrong: Tensor | None = None) -> Tensor:
        """Return the discriminators' hinge loss, summed over the heads.

        The wrong pair is a real image with another one's condition. It shares the weight of what is not real with the
        generated images. Arguments are those of the base class, images with 3 channels or 1.
        """
        if wrong is None:
            wrong = condition.roll(-1, dims=0)
        with torch.no_grad():  # nothing below the heads learns
            maps = self(torch.cat([real, fake.detach()]))
        batch = len(real)
        pairs = torch.arange(3 * batch, device=real.device) % (2 * batch)  # real, generated, real again
        conditions = torch.cat([condition, condition, wrong])
        loss = real.new_zeros(())
        for head, level in zip(self.heads, maps, strict=True):
            right, generated, mismatched = head(level, conditions, pairs).chunk(3)
            loss = loss + hinge_real(right) + (hinge_fake(generated) + hinge_fake(mismatched)) / 2
        return loss

    def generator_loss(self, fake: Tensor, condition: Tensor) -> Tensor:
        """Return the generator's loss against all heads, of images (B, 3 or 1, S, S) and conditions (B, D)."""
        maps = self(fake)
        losses = [
            generator_hinge(head(level, condition)) for head, level in zip(self.heads, maps, strict=True)
        ]
        return torch.stack(losses).sum()
