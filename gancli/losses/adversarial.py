"""Adversarial losses on discriminator logits."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def bce_real(logits: Tensor) -> Tensor:
    """Binary cross-entropy against the label "real": mean of -log sigmoid(logits), computed in float32.

    The discriminator's term for real pictures and the generator's (non-saturating) term for its own
    (FF-GAN eqs. 8 and 11).

    Args:
        logits: Any shape, unbounded.
    """
    return F.softplus(-logits.float()).mean()


def bce_fake(logits: Tensor) -> Tensor:
    """Binary cross-entropy against the label "fake": mean of -log(1 - sigmoid(logits)), in float32.

    The discriminator's term for generated pictures and for real pictures under a wrong sentence (FF-GAN eq. 11).

    Args:
        logits: Any shape, unbounded.
    """
    return F.softplus(logits.float()).mean()
