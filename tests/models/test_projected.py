"""Projected discriminators: shapes, what learns, gradients, and the loss against a slow transcription."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from gancli.models.projected import ProjectedDiscriminator, augment

CONDITION = 6


class Features(nn.Module):
    """Averages of the image's blocks, mixed to more channels at random: 1/4 of the side, and each half the last."""

    level_channels = (4, 6, 8, 10)

    def __init__(self):
        super().__init__()
        self.mixing = nn.ModuleList(nn.Conv2d(3, channels, 1) for channels in self.level_channels)

    def pyramid(self, images):
        return [mixing(F.avg_pool2d(images, 4 * 2**depth)) for depth, mixing in enumerate(self.mixing)]


@pytest.fixture
def discriminator():
    torch.manual_seed(0)
    features = Features().requires_grad_(False)
    return ProjectedDiscriminator(
        features, size=32, condition_dim=CONDITION, channels=8, width=8, augmented=False
    )


def test_one_head_for_each_depth(discriminator):
    maps = discriminator(torch.rand(2, 3, 16, 16))
    assert [tuple(each.shape) for each in maps] == [(2, 8, side, side) for side in (8, 4, 2, 1)]
    scores = [
        head(level, torch.randn(2, CONDITION)) for head, level in zip(discriminator.heads, maps, strict=True)
    ]
    assert [tuple(each.shape) for each in scores] == [(2,)] * 4


def test_only_the_heads_learn(discriminator):
    learned = {name.split(".")[0] for name, each in discriminator.named_parameters() if each.requires_grad}
    assert learned == {"heads"}


def test_loss_is_the_hinge_of_three_pairs(discriminator):
    """Three separate passes in place of one. In eval mode, spectral norm does not move between them."""
    discriminator.eval()
    real, fake = torch.rand(3, 3, 32, 32) * 2 - 1, torch.rand(3, 3, 32, 32) * 2 - 1
    condition = torch.randn(3, CONDITION)
    expected = torch.zeros(())
    for head, of_real, of_fake in zip(
        discriminator.heads, discriminator(real), discriminator(fake), strict=True
    ):
        expected += F.relu(1 - head(of_real, condition)).mean()
        expected += F.relu(1 + head(of_fake, condition)).mean() / 2
        expected += F.relu(1 + head(of_real, condition[[1, 2, 0]])).mean() / 2
    torch.testing.assert_close(discriminator.loss(real, fake, condition), expected)


def test_the_generator_gets_a_gradient_and_the_features_none(discriminator):
    fake = (torch.rand(2, 3, 16, 16) * 2 - 1).requires_grad_()
    discriminator.generator_loss(fake, torch.randn(2, CONDITION)).backward()
    assert fake.grad.abs().sum() > 0
    assert all(each.grad is None for each in discriminator.features.parameters())


def test_the_discriminator_sends_no_gradient_to_the_generator(discriminator):
    fake = torch.rand(2, 3, 32, 32).requires_grad_()
    discriminator.loss(torch.rand(2, 3, 32, 32), fake, torch.randn(2, CONDITION)).backward()
    assert fake.grad is None
    for name, each in discriminator.heads.named_parameters():
        # At the start all margins are active, and the three pairs pull these biases equally up and down
        assert each.grad is not None
        assert each.grad.abs().sum() > 0 or name.endswith(("score.bias", "condition.bias")), name


def test_heads_learn_to_tell_real_from_generated_and_pairs_from_wrong_pairs(discriminator):
    condition = F.one_hot(torch.tensor([0, 1, 2, 3]), CONDITION).float()
    real, fake = F.interpolate(torch.rand(8, 3, 4, 4) * 2 - 1, size=32).chunk(2)
    optimizer = torch.optim.Adam(discriminator.heads.parameters(), lr=1e-2, betas=(0.0, 0.99))
    before = discriminator.loss(real, fake, condition).item()
    for _ in range(60):
        optimizer.zero_grad()
        discriminator.loss(real, fake, condition).backward()
        optimizer.step()
    assert discriminator.loss(real, fake, condition).item() < before / 2


@settings(max_examples=20, deadline=None)
@given(side=st.integers(4, 40), batch=st.integers(1, 5), shift=st.floats(0, 0.5))
def test_augmentation_keeps_the_shape_and_shifts_whole_pixels(side, batch, shift):
    images = torch.rand(batch, 3, side, side) * 2 - 1
    changed = augment(images, shift=shift)
    assert changed.shape == images.shape
    assert torch.isfinite(changed).all()


def test_a_shift_moves_all_channels_alike():
    torch.manual_seed(3)
    image = torch.arange(64.0).view(1, 1, 8, 8).expand(6, 3, 8, 8) / 64
    grey = augment(image)  # a grey image has no saturation to change
    torch.testing.assert_close(grey[:, 0], grey[:, 2])
    steps = (grey[:, 0, :, 1:] - grey[:, 0, :, :-1]).abs()
    contrast = steps.amax(dim=(1, 2), keepdim=True)
    assert (contrast > 0).all()
    assert math.isclose(float(steps[0].amax()), float(steps[0].median()), rel_tol=1e-3)
