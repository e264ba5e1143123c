"""Gradient penalties of discriminators."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

PenaltyForm = Literal["concat", "sum"]


def gradient_norms(scores: Tensor, images: Tensor, condition: Tensor) -> tuple[Tensor, Tensor]:
    """How fast each score changes with its picture and with its condition.

    The norms can be differentiated once more. To be called in float32, outside autocast, on scores that were computed
    there: the powers that a penalty takes of them overflow half precision.

    Args:
        scores: (B,), each a function of its own row of the two others only.
        images: (B, ...) that require a gradient.
        condition: (B, E) that requires a gradient.

    Returns:
        L2 norms of both gradients, (B,) and (B,).
    """
    by_image, by_condition = torch.autograd.grad(scores.sum(), (images, condition), create_graph=True)
    # vector_norm, unlike the root of a sum of squares, has a gradient of 0 at 0 instead of none
    return torch.linalg.vector_norm(by_image.flatten(1), dim=1), torch.linalg.vector_norm(by_condition, dim=1)


def matching_aware_penalty(
    by_image: Tensor, by_condition: Tensor, *, power: float = 6.0, form: PenaltyForm = "concat"
) -> Tensor:
    """Matching-aware zero-centred gradient penalty, MA-GP, without its weight (DF-GAN; Fusion-S2iGan eq. 20).

    Taken at real pictures with their own condition, it makes the discriminator flat there.

    Args:
        by_image: (B,) norms of the scores' gradients by the pictures.
        by_condition: (B,) norms of those by the conditions.
        power: p, at least 2.
        form: "concat" takes the norm of both gradients as one vector (DF-GAN code), "sum" adds the two norms (eq. 20).

    Returns:
        Scalar: the mean over the batch of the joint norm to the power p.
    """
    if form == "concat":
        return (by_image.square() + by_condition.square()).pow(power / 2).mean()
    return (by_image + by_condition).pow(power).mean()
