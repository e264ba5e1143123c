"""Gradient penalties of discriminators."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from gancli.ops.convolutions import input_gradients_only

PenaltyForm = Literal["concat", "sum"]


def gradient_norms(scores: Tensor, images: Tensor, condition: Tensor) -> tuple[Tensor, Tensor]:
    """Return the norm of each score's gradient by its image and by its condition, differentiable once more.

    Call it in float32, outside autocast, on scores computed there: a penalty takes powers that overflow half
    precision. Compute scores of convolutions within `TwiceDifferentiableLayers` to save time.

    Args:
        scores: (B,), each a function of its own row of the two others only.
        images: (B, ...), requiring a gradient.
        condition: (B, E), requiring a gradient.

    Returns:
        L2 norms of both gradients, (B,) and (B,).
    """
    with input_gradients_only():
        by_image, by_condition = torch.autograd.grad(scores.sum(), (images, condition), create_graph=True)
    # Unlike the root of a sum of squares, vector_norm has the gradient 0 at 0.
    return torch.linalg.vector_norm(by_image.flatten(1), dim=1), torch.linalg.vector_norm(by_condition, dim=1)


def matching_aware_penalty(
    by_image: Tensor, by_condition: Tensor, *, power: float, form: PenaltyForm
) -> Tensor:
    """Return the unweighted matching-aware zero-centred gradient penalty (MA-GP; DF-GAN, Fusion-S2iGan eq. 20).

    Taken at real images with their own condition, it makes the discriminator flat there.

    Args:
        by_image: (B,) norms of the scores' gradients by the images.
        by_condition: (B,) norms of the scores' gradients by the conditions.
        power: p, at least 2.
        form: "concat" takes the norm of both gradients as one vector (DF-GAN code), "sum" adds the norms (eq. 20).

    Returns:
        Scalar: the batch mean of the joint norm to the power p.
    """
    if form == "concat":
        return (by_image.square() + by_condition.square()).pow(power / 2).mean()
    return (by_image + by_condition).pow(power).mean()
