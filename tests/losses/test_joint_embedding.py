"""The joint embedding loss against a slow float64 transcription of its definition."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from gancli.losses.joint_embedding import joint_embedding_losses


def slow_losses(images, texts):
    """One pair at a time, in float64."""
    count = len(images)
    by_image = by_text = 0.0
    for i in range(count):
        for j in range(count):
            if i != j:
                by_image += max(0.0, 1 + images[i] @ texts[j] - images[i] @ texts[i])
                by_text += max(0.0, 1 + images[j] @ texts[i] - images[i] @ texts[i])
    return by_image / count**2, by_text / count**2


@pytest.mark.parametrize("scale", [0.1, 1.0, 5.0])
def test_both_halves_are_the_definition(scale):
    rng = np.random.default_rng(0)
    images, texts = scale * rng.normal(size=(2, 7, 5))
    ours = joint_embedding_losses(torch.tensor(images).float(), torch.tensor(texts).float())
    np.testing.assert_allclose([half.item() for half in ours], slow_losses(images, texts), rtol=1e-5)


def test_right_pairs_that_stand_out_cost_nothing():
    codes = 3 * torch.eye(4)
    assert [half.item() for half in joint_embedding_losses(codes, codes)] == [0, 0]


def test_the_gradient_is_that_of_the_definition():
    rng = np.random.default_rng(1)
    images, texts = rng.normal(size=(2, 4, 3))
    tensor = torch.tensor(texts).float().requires_grad_()
    sum(joint_embedding_losses(torch.tensor(images).float(), tensor)).backward()
    step = 1e-6
    for i, j in np.ndindex(texts.shape):
        moved = texts.copy()
        moved[i, j] += step
        slope = (sum(slow_losses(images, moved)) - sum(slow_losses(images, texts))) / step
        assert tensor.grad[i, j].item() == pytest.approx(slope, abs=1e-4)


def test_half_precision_features_are_compared_in_float32():
    codes = torch.full((2, 3), 200.0).half()
    assert all(half.isfinite() for half in joint_embedding_losses(codes, codes))
