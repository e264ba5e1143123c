"""Adversarial losses against float64 NumPy."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from gancli.losses.adversarial import bce_fake, bce_real, generator_hinge, hinge_fake, hinge_real


def test_they_are_binary_cross_entropy():
    logits = np.array([-3.0, -0.5, 0.0, 2.0])
    probability = 1 / (1 + np.exp(-logits))
    assert bce_real(torch.tensor(logits)).item() == pytest.approx(-np.log(probability).mean(), rel=1e-6)
    assert bce_fake(torch.tensor(logits)).item() == pytest.approx(-np.log(1 - probability).mean(), rel=1e-6)


def test_extreme_logits_stay_finite():
    logits = torch.tensor([-1e4, 1e4])
    assert bce_real(logits).item() == pytest.approx(5e3)
    assert bce_fake(logits).item() == pytest.approx(5e3)


def test_the_hinge_terms():
    scores = np.array([-3.0, -1.0, -0.5, 0.0, 0.5, 1.0, 4.0])
    tensor = torch.tensor(scores)
    assert hinge_real(tensor).item() == pytest.approx(np.maximum(0, 1 - scores).mean(), rel=1e-6)
    assert hinge_fake(tensor).item() == pytest.approx(np.maximum(0, 1 + scores).mean(), rel=1e-6)
    assert generator_hinge(tensor).item() == pytest.approx(-scores.mean(), rel=1e-6)


def test_the_hinge_leaves_scores_beyond_the_margin_alone():
    beyond = torch.tensor([1.5, 3.0], requires_grad=True)
    hinge_real(beyond).backward()
    assert not beyond.grad.any()
    beyond.grad = None
    hinge_fake(-beyond).backward()
    assert not beyond.grad.any()
    beyond.grad = None
    generator_hinge(beyond).backward()
    assert beyond.grad.tolist() == [-0.5, -0.5]
