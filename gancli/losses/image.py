"""Losses between images: features, texture, smoothness, edges (CSF-GAN, section 3.4)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

EdgeOperator = Literal["sobel", "laplace8"]


def feature_loss(real: Sequence[Tensor], fake: Sequence[Tensor]) -> Tensor:
    """The perceptual loss (eq. 7): the mean absolute difference of each layer's features, summed over the layers.

    Args:
        real: (B, C, H, W) per layer, of the original images.
        fake: The same of the generated ones.
    """
    terms = [F.l1_loss(ours.float(), theirs.float()) for ours, theirs in zip(fake, real, strict=True)]
    return torch.stack(terms).sum()


def style_loss(real: Sequence[Tensor], fake: Sequence[Tensor]) -> Tensor:
    """The same of the layers' Gram matrices (CSF-GAN code; the paper has no such term).

    Args:
        real: (B, C, H, W) per layer, of the original images.
        fake: The same of the generated ones.
    """
    return feature_loss([gram_matrix(layer) for layer in real], [gram_matrix(layer) for layer in fake])


def gram_matrix(features: Tensor) -> Tensor:
    """Inner products of all pairs of channels over C * H * W. (B, C, H, W) -> (B, C, C), in float32."""
    with torch.autocast(features.device.type, enabled=False):
        flat = features.float().flatten(2)  # (B, C, HW)
        return flat @ flat.transpose(1, 2) / (flat.shape[1] * flat.shape[2])


def total_variation(images: Tensor, holes: Tensor) -> Tensor:
    """How far each pixel of the hole is from its neighbours above and to the left (L_tv of eq. 8, CSF-GAN code).

    |above + left - 2 * pixel|, summed over the pixels that lie in the hole and have both neighbours, over all pixels.

    Args:
        images: (B, 3, H, W).
        holes: (B, 1, H, W), 1 in the hole.
    """
    images = images.float()
    above, left, pixel = images[..., :-1, 1:], images[..., 1:, :-1], images[..., 1:, 1:]
    return ((above + left - 2 * pixel).abs() * holes[..., 1:, 1:]).sum() / images.numel()


def edge_loss(real: Tensor, fake: Tensor, operator: EdgeOperator) -> Tensor:
    """The mean absolute difference of edge maps (eq. 9), without the outermost pixels, in float32.

    Both operators are linear, so one map of the difference serves in place of the difference of two maps.

    Args:
        real: (B, 3, H, W).
        fake: The same.
        operator: "sobel": horizontal and vertical Sobel maps of each channel (the paper); "laplace8": 8 at the centre
            and -1 around it, a third of the sum over the channels (its code).
    """
    difference = real.float() - fake.float()  # (B, 3, H, W)
    if operator == "laplace8":
        pixel = difference.sum(dim=1) / 3
        return (
            (9 * pixel[:, 1:-1, 1:-1] - _three(_three(pixel, 1), 2)).abs().mean()
        )  # 8 at the centre, -1 around it
    horizontal, vertical = _three(difference, 2, middle=2), _three(difference, 3, middle=2)
    rise = (horizontal[..., 2:] - horizontal[..., :-2]).abs().mean()
    return (rise + (vertical[:, :, 2:] - vertical[:, :, :-2]).abs().mean()) / 2


def _three(maps: Tensor, dim: int, *, middle: int = 1) -> Tensor:
    """Sum of each value and its two neighbours along a dimension, itself weighted by `middle`; two fewer of them."""
    count = maps.shape[dim] - 2
    before, here, after = (maps.narrow(dim, start, count) for start in range(3))
    return before + middle * here + after
