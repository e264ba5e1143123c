"""Adversarial losses, computed in float32.

All take logits, unbounded scores or log-probabilities (in [-inf, 0]) of any shape and return their mean loss.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor


def bce_real(logits: Tensor) -> Tensor:
    """Return the binary cross-entropy against the label "real": mean of -log sigmoid(logits).

    The discriminator's term of real images and the generator's non-saturating term (FF-GAN eqs. 8 and 11).
    """
    return F.softplus(-logits.float()).mean()


def bce_fake(logits: Tensor) -> Tensor:
    """Return the binary cross-entropy against the label "fake": mean of -log(1 - sigmoid(logits)).

    The discriminator's term of generated images and of real images with a wrong sentence (FF-GAN eq. 11).
    """
    return F.softplus(logits.float()).mean()


def lsgan_real(scores: Tensor) -> Tensor:
    """Return the least squares against the label "real": mean of (score - 1)^2 (attr2image, sections 3.2 and 3.3).

    The discriminator's term of real images and the generator's term. The paper has no factor 1/2.
    """
    return (scores.float() - 1).square().mean()


def lsgan_fake(scores: Tensor) -> Tensor:
    """Return the least squares against the label "fake": mean of score^2.

    The discriminator's term of generated images and of real images with wrong attributes.
    """
    return scores.float().square().mean()


def hinge_real(scores: Tensor) -> Tensor:
    """Return the discriminator's hinge term of real images: mean of max(0, 1 - score) (Fusion-S2iGan eq. 19)."""
    return F.relu(1 - scores.float()).mean()


def hinge_fake(scores: Tensor) -> Tensor:
    """Return the discriminator's hinge term of generated images and mismatched pairs: mean of max(0, 1 + score)."""
    return F.relu(1 + scores.float()).mean()


def generator_hinge(scores: Tensor) -> Tensor:
    """Return the generator's term against a hinge discriminator: mean of -score."""
    return -scores.float().mean()


def relativistic_discriminator(real: Tensor, fake: Tensor) -> Tensor:
    """Return the discriminator's relativistic average least-squares loss (CSF-GAN code).

    Real images shall score above the average generated image by 1, generated images below the average real one by 1.
    The two squares are averaged.
    """
    real, fake = real.float(), fake.float()
    return ((real - fake.mean() - 1).square().mean() + (fake - real.mean() + 1).square().mean()) / 2


def relativistic_generator(real: Tensor, fake: Tensor) -> Tensor:
    """Return the generator's relativistic loss: the discriminator's with real and fake exchanged."""
    return relativistic_discriminator(fake, real)


SMALLEST_COMPLEMENT = 1e-7  # lower bound of 1 - D, so that a certain score has a finite loss


def log_probability_real(log_probability: Tensor) -> Tensor:
    """Return -E[log D] of log-probabilities (CSF-GAN eqs. 10 and 11)."""
    return -log_probability.float().mean()


def log_probability_fake(log_probability: Tensor) -> Tensor:
    """Return -E[log(1 - D)] of log-probabilities (CSF-GAN eq. 11, with the sign of its second term corrected)."""
    log_probability = log_probability.float().clamp(max=math.log1p(-SMALLEST_COMPLEMENT))
    # log(1 - exp(x)): each of the two forms is exact where the other loses digits
    near_one = log_probability > -math.log(2)
    small = torch.where(near_one, -1.0, log_probability)
    large = torch.where(near_one, log_probability, -0.5)
    return -torch.where(near_one, torch.log(-torch.expm1(large)), torch.log1p(-torch.exp(small))).mean()
