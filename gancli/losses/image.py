"""Losses between images: features, texture, smoothness, edges (CSF-GAN, section 3.4)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

EdgeOperator = Literal["sobel", "laplace8"]


def feature_loss(real: Sequence[Tensor], fake: Sequence[Tensor]) -> Tensor:
    """Return the perceptual loss (eq. 7): the mean absolute difference of features, summed over the layers.

    Args:
        real: Features (B, C, H, W) of the original images, per layer.
        fake: Features of the generated images, of the same shapes.
    """
    terms = [F.l1_loss(ours.float(), theirs.float()) for ours, theirs in zip(fake, real, strict=True)]
    return torch.stack(terms).sum()


def style_loss(real: Sequence[Tensor], fake: Sequence[Tensor]) -> Tensor:
    """Return the mean absolute difference of Gram matrices, summed over the layers (CSF-GAN code, not in the paper)."""
    return feature_loss([gram_matrix(layer) for layer in real], [gram_matrix(layer) for layer in fake])


def gram_matrix(features: Tensor) -> Tensor:
    """Return the inner products of all pairs of channels over C * H * W. (B, C, H, W) -> (B, C, C), in float32."""
    with torch.autocast(features.device.type, enabled=False):
        flat = features.float().flatten(2)  # (B, C, HW)
        return flat @ flat.transpose(1, 2) / (flat.shape[1] * flat.shape[2])


def total_variation(images: Tensor, holes: Tensor) -> Tensor:
    """Return the difference of the hole's pixels from their neighbours above and left (L_tv of eq. 8, CSF-GAN code).

    |above + left - 2 * pixel| is summed over pixels in the hole that have both neighbours and divided by the number of
    all pixels.

    Args:
        images: (B, 3, H, W).
        holes: (B, 1, H, W), 1 in the hole.
    """
    images = images.float()
    above, left, pixel = images[..., :-1, 1:], images[..., 1:, :-1], images[..., 1:, 1:]
    return ((above + left - 2 * pixel).abs() * holes[..., 1:, 1:]).sum() / images.numel()


def edge_loss(real: Tensor, fake: Tensor, operator: EdgeOperator) -> Tensor:
    """Return the mean absolute difference of edge maps (eq. 9), without the outermost pixels, in float32.

    Args:
        real: (B, 3, H, W).
        fake: (B, 3, H, W).
        operator: "sobel" takes horizontal and vertical Sobel maps of each channel (the paper). "laplace8" takes 8 at
            the centre and -1 around it, of the channels' mean, and divides by the number of all pixels (its code, which
            has maps of the outermost pixels too; in a filled image they are the original's, so their difference is 0).
    """
    # Both operators are linear: the edges of the difference are the difference of the edges.
    difference = real.float() - fake.float()  # (B, 3, H, W)
    if operator == "laplace8":
        pixel = difference.sum(dim=1) / 3
        return (9 * pixel[:, 1:-1, 1:-1] - _sum_of_3(_sum_of_3(pixel, 1), 2)).abs().sum() / pixel.numel()
    horizontal, vertical = _sum_of_3(difference, 2, middle=2), _sum_of_3(difference, 3, middle=2)
    rise = (horizontal[..., 2:] - horizontal[..., :-2]).abs().mean()
    return (rise + (vertical[:, :, 2:] - vertical[:, :, :-2]).abs().mean()) / 2


def _sum_of_3(maps: Tensor, dim: int, *, middle: int = 1) -> Tensor:
    """Return the sum of each inner value, weighted by `middle`, and its two neighbours along a dimension."""
    count = maps.shape[dim] - 2
    before, here, after = (maps.narrow(dim, start, count) for start in range(3))
    return before + middle * here + after
