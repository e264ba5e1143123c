"""Adversarial losses on what a discriminator says: logits, or scores of a hinge loss."""

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


def hinge_real(scores: Tensor) -> Tensor:
    """The discriminator's hinge term for real pictures: mean of max(0, 1 - score), in float32 (Fusion-S2iGan eq. 19).

    Args:
        scores: Any shape, unbounded.
    """
    return F.relu(1 - scores.float()).mean()


def hinge_fake(scores: Tensor) -> Tensor:
    """Its term for generated pictures and mismatched pairs: mean of max(0, 1 + score), in float32.

    Args:
        scores: Any shape, unbounded.
    """
    return F.relu(1 + scores.float()).mean()


def generator_hinge(scores: Tensor) -> Tensor:
    """The generator's term beside a hinge discriminator: mean of -score, in float32.

    Args:
        scores: Of generated pictures, any shape, unbounded.
    """
    return -scores.float().mean()
