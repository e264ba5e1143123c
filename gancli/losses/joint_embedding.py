"""The symmetric structured joint embedding loss of images and texts (Reed et al., CVPR 2016, eqs. 3-6; their code)."""

from __future__ import annotations

import torch
from torch import Tensor

MARGIN = 1.0  # the 0/1 loss between two classes


def joint_embedding_losses(images: Tensor, texts: Tensor) -> tuple[Tensor, Tensor]:
    """Return the hinge losses of wrong pairs against the right pairs of a batch, in float32.

    With F[i, j] = <image_i, text_j>, a wrong pair costs max(0, 1 + F[i, j] - F[i, i]) for its image and
    max(0, 1 + F[i, j] - F[j, j]) for its text. Both are summed and divided by B * B (public code). The batch holds
    each class once, so every off-diagonal pair is wrong.

    Args:
        images: Image vectors (B, E), one per class.
        texts: Text vectors (B, E), in the same order of classes.

    Returns:
        Image-to-text and text-to-image loss, scalars.
    """
    with torch.autocast(images.device.type, enabled=False):
        scores = images.float() @ texts.float().T  # (B, B), rows are images
        right = scores.diagonal()
        # The diagonal costs exactly the margin, whatever the scores, and is subtracted.
        count, own = scores.numel(), MARGIN * len(scores)
        by_image = ((MARGIN + scores - right[:, None]).relu().sum() - own) / count
        by_text = ((MARGIN + scores - right[None, :]).relu().sum() - own) / count
        return by_image, by_text
