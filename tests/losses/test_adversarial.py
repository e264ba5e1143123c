"""Adversarial losses against float64 NumPy."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from gancli.losses.adversarial import (
    bce_fake,
    bce_real,
    generator_hinge,
    hinge_fake,
    hinge_real,
    log_probability_fake,
    log_probability_real,
    lsgan_fake,
    lsgan_real,
    relativistic_discriminator,
    relativistic_generator,
)


def test_they_are_binary_cross_entropy():
    logits = np.array([-3.0, -0.5, 0.0, 2.0])
    probability = 1 / (1 + np.exp(-logits))
    assert bce_real(torch.tensor(logits)).item() == pytest.approx(-np.log(probability).mean(), rel=1e-6)
    assert bce_fake(torch.tensor(logits)).item() == pytest.approx(-np.log(1 - probability).mean(), rel=1e-6)


def test_extreme_logits_stay_finite():
    logits = torch.tensor([-1e4, 1e4])
    assert bce_real(logits).item() == pytest.approx(5e3)
    assert bce_fake(logits).item() == pytest.approx(5e3)


def test_least_squares():
    scores = np.array([[-3.0, -0.5], [0.0, 2.0]])
    tensor = torch.tensor(scores)
    assert lsgan_real(tensor).item() == pytest.approx(((scores - 1) ** 2).mean(), rel=1e-6)
    assert lsgan_fake(tensor).item() == pytest.approx((scores**2).mean(), rel=1e-6)


def test_least_squares_of_half_precision_scores_do_not_overflow():
    scores = torch.tensor([400.0, -400.0], dtype=torch.float16)  # the square is beyond float16
    assert lsgan_real(scores).item() == pytest.approx((399**2 + 401**2) / 2)
    assert lsgan_fake(scores).item() == pytest.approx(400**2)


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


def test_relativistic_least_squares():
    real, fake = np.array([[0.3, -1.2], [2.0, 0.1]]), np.array([[0.5, 0.7], [-0.4, 1.5]])
    tensors = torch.tensor(real), torch.tensor(fake)
    discriminator = (((real - fake.mean() - 1) ** 2).mean() + ((fake - real.mean() + 1) ** 2).mean()) / 2
    generator = (((real - fake.mean() + 1) ** 2).mean() + ((fake - real.mean() - 1) ** 2).mean()) / 2
    assert relativistic_discriminator(*tensors).item() == pytest.approx(discriminator, rel=1e-6)
    assert relativistic_generator(*tensors).item() == pytest.approx(generator, rel=1e-6)


def test_log_probabilities():
    probability = np.array([1e-6, 0.1, 0.4999, 0.5001, 0.9, 0.999])
    logs = torch.tensor(np.log(probability))
    assert log_probability_real(logs).item() == pytest.approx(-np.log(probability).mean(), rel=1e-6)
    assert log_probability_fake(logs).item() == pytest.approx(-np.log(1 - probability).mean(), rel=1e-4)


def test_sure_log_probabilities_stay_finite():
    logs = torch.tensor([0.0, -1e-9, -200.0], requires_grad=True)
    loss = log_probability_fake(logs)
    loss.backward()
    assert loss.item() == pytest.approx(-2 * np.log(1e-7) / 3, rel=1e-2)
    assert torch.isfinite(logs.grad).all()
