"""Adversarial losses on what a discriminator says: logits, scores, or log-probabilities."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor


def bce_real(logits: Tensor) -> Tensor:
    """Binary cross-entropy against the label "real": mean of -log sigmoid(logits), computed in float32.

    The discriminator's term for real images and the generator's (non-saturating) term for its own
    (FF-GAN eqs. 8 and 11).

    Args:
        logits: Any shape, unbounded.
    """
    return F.softplus(-logits.float()).mean()


def bce_fake(logits: Tensor) -> Tensor:
    """Binary cross-entropy against the label "fake": mean of -log(1 - sigmoid(logits)), in float32.

    The discriminator's term for generated images and for real images under a wrong sentence (FF-GAN eq. 11).

    Args:
        logits: Any shape, unbounded.
    """
    return F.softplus(logits.float()).mean()


def lsgan_real(scores: Tensor) -> Tensor:
    """Least squares against the label "real": mean of (score - 1)^2, in float32 (attr2image, sections 3.2 and 3.3).

    The discriminator's term for real images and the generator's for its own. The paper has no factor 1/2.

    Args:
        scores: Any shape, unbounded.
    """
    return (scores.float() - 1).square().mean()


def lsgan_fake(scores: Tensor) -> Tensor:
    """Least squares against the label "fake": mean of score^2, in float32.

    The discriminator's term for generated images and for real images under wrong attributes.

    Args:
        scores: Any shape, unbounded.
    """
    return scores.float().square().mean()


def hinge_real(scores: Tensor) -> Tensor:
    """The discriminator's hinge term for real images: mean of max(0, 1 - score), in float32 (Fusion-S2iGan eq. 19).

    Args:
        scores: Any shape, unbounded.
    """
    return F.relu(1 - scores.float()).mean()


def hinge_fake(scores: Tensor) -> Tensor:
    """Its term for generated images and mismatched pairs: mean of max(0, 1 + score), in float32.

    Args:
        scores: Any shape, unbounded.
    """
    return F.relu(1 + scores.float()).mean()


def generator_hinge(scores: Tensor) -> Tensor:
    """The generator's term beside a hinge discriminator: mean of -score, in float32.

    Args:
        scores: Of generated images, any shape, unbounded.
    """
    return -scores.float().mean()


def relativistic_discriminator(real: Tensor, fake: Tensor) -> Tensor:
    """The discriminator's relativistic average least-squares loss (CSF-GAN code): real ones score above the average
    generated one by 1, generated ones below the average real one by 1; the mean of both squares, in float32.

    Args:
        real: Scores of real images, any shape, unbounded.
        fake: Of generated images.
    """
    real, fake = real.float(), fake.float()
    return ((real - fake.mean() - 1).square().mean() + (fake - real.mean() + 1).square().mean()) / 2


def relativistic_generator(real: Tensor, fake: Tensor) -> Tensor:
    """The generator's loss beside it: the discriminator's with the sides exchanged.

    Args:
        real: Scores of real images, any shape, unbounded.
        fake: Of generated images.
    """
    return relativistic_discriminator(fake, real)


LEAST_DOUBT = 1e-7  # 1 - D is not taken to be less, or one sure score would cost infinitely much


def log_probability_real(log_probability: Tensor) -> Tensor:
    """-E[log D] of a discriminator that gives log-probabilities, in float32 (CSF-GAN eqs. 10 and 11).

    Args:
        log_probability: log D in [-inf, 0], any shape.
    """
    return -log_probability.float().mean()


def log_probability_fake(log_probability: Tensor) -> Tensor:
    """-E[log(1 - D)] likewise (CSF-GAN eq. 11, with the sign that its second term needs).

    Args:
        log_probability: log D in [-inf, 0], any shape.
    """
    log_probability = log_probability.float().clamp(max=math.log1p(-LEAST_DOUBT))
    # log(1 - exp(x)): each form loses its digits where the other keeps them
    near_one = log_probability > -math.log(2)
    small = torch.where(near_one, -1.0, log_probability)
    large = torch.where(near_one, log_probability, -0.5)
    return -torch.where(near_one, torch.log(-torch.expm1(large)), torch.log1p(-torch.exp(small))).mean()
