"""The symmetric structured joint embedding loss of images and texts (Reed et al., CVPR 2016, eqs. 3-6; their code)."""

from __future__ import annotations

import torch
from torch import Tensor

MARGIN = 1.0  # the 0/1 loss between two classes


def joint_embedding_losses(images: Tensor, texts: Tensor) -> tuple[Tensor, Tensor]:
    """How far the right pairs of a batch are from standing out against the wrong ones, by plain dot product.

    With F[i, j] = <image_i, text_j>, a wrong pair costs what it lacks to the margin: for each image
    max(0, 1 + F[i, j] - F[i, i]) over the texts j of other classes, for each text max(0, 1 + F[i, j] - F[j, j]) over
    the images i, both summed and divided by B * B (public code). All pairs are of different classes, so each
    off-diagonal pair is a wrong one. Computed in float32.

    Args:
        images: (B, E), one of each class.
        texts: (B, E), in the same order of classes.

    Returns:
        Image-to-text and text-to-image loss, scalars.
    """
    with torch.autocast(images.device.type, enabled=False):
        scores = images.float() @ texts.float().T  # (B, B), rows are images
        right = scores.diagonal()
        # A right pair against itself costs exactly the margin, whatever the scores, and is subtracted.
        count, own = scores.numel(), MARGIN * len(scores)
        by_image = ((MARGIN + scores - right[:, None]).relu().sum() - own) / count
        by_text = ((MARGIN + scores - right[None, :]).relu().sum() - own) / count
        return by_image, by_text
