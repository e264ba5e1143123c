"""MA-GP against numerical gradients in float64, and what must not break it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from gancli.losses.penalty import (
    gradient_norms,
    matching_aware_penalty,
)

SIDE, DIM = 4, 3
STEP = 1e-5


class TinyDiscriminator(nn.Module):
    """Smooth, so that differences approach its derivatives."""

    def __init__(self) -> None:
        super().__init__()
        self.image = nn.Conv2d(3, 2, 3)
        self.joint = nn.Linear(2 * (SIDE - 2) ** 2 + DIM, 5)
        self.out = nn.Linear(5, 1)

    def forward(self, images: torch.Tensor, condition: torch.Tensor) -> torch.Tensor:
        features = torch.tanh(self.image(images)).flatten(1)
        return self.out(torch.tanh(self.joint(torch.cat([features, condition], dim=1))))[:, 0]


def inputs(dtype: torch.dtype = torch.float64) -> tuple[TinyDiscriminator, torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    network = TinyDiscriminator().to(dtype)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.mul_(3)  # gradients of about 1: none of the powers below vanishes
    images, condition = torch.randn(4, 3, SIDE, SIDE, dtype=dtype), torch.randn(4, DIM, dtype=dtype)
    return network, images.requires_grad_(), condition.requires_grad_()


def differences(network: TinyDiscriminator, images: torch.Tensor, condition: torch.Tensor) -> np.ndarray:
    """Central differences of each score by each number of its row: (B, pixels + E)."""
    rows = []
    with torch.no_grad():
        for image, vector in zip(images, condition, strict=True):
            point = torch.cat([image.flatten(), vector])
            gradient = []
            for number in range(len(point)):
                scores = []
                for sign in (1, -1):
                    moved = point.clone()
                    moved[number] += sign * STEP
                    scores.append(
                        network(moved[: image.numel()].view_as(image)[None], moved[None, image.numel() :])
                    )
                gradient.append(((scores[0] - scores[1]) / (2 * STEP)).item())
            rows.append(gradient)
    return np.array(rows)


@pytest.mark.parametrize("form", ["concat", "sum"])
def test_it_is_the_joint_norm_of_numerical_gradients_to_the_power(form):
    network, images, condition = inputs()
    slow = differences(network, images, condition)
    by_image = np.sqrt((slow[:, :-DIM] ** 2).sum(axis=1))
    by_condition = np.sqrt((slow[:, -DIM:] ** 2).sum(axis=1))
    joint = np.sqrt((slow**2).sum(axis=1)) if form == "concat" else by_image + by_condition
    norms = gradient_norms(network(images, condition), images, condition)
    np.testing.assert_allclose(norms[0].detach(), by_image, rtol=1e-6)
    np.testing.assert_allclose(norms[1].detach(), by_condition, rtol=1e-6)
    penalty = matching_aware_penalty(*norms, power=6, form=form)
    assert penalty.item() == pytest.approx(np.mean(joint**6), rel=1e-5)


@pytest.mark.parametrize("form", ["concat", "sum"])
def test_its_gradient_is_that_of_differences_in_a_weight(form):
    network, images, condition = inputs()

    def value() -> torch.Tensor:
        norms = gradient_norms(network(images, condition), images, condition)
        return matching_aware_penalty(*norms, power=6, form=form)

    value().backward()
    weight = network.joint.weight
    analytic = weight.grad[0, 0].item()
    ends = []
    for sign in (1, -1):
        with torch.no_grad():
            weight[0, 0] += sign * STEP
        ends.append(value().item())
        with torch.no_grad():
            weight[0, 0] -= sign * STEP
    assert analytic == pytest.approx((ends[0] - ends[1]) / (2 * STEP), rel=1e-4)


@pytest.mark.parametrize("form", ["concat", "sum"])
def test_a_flat_discriminator_costs_nothing_and_gives_no_nan(form):
    network, images, condition = inputs(torch.float32)
    with torch.no_grad():
        network.out.weight.zero_()
    norms = gradient_norms(network(images, condition), images, condition)
    penalty = matching_aware_penalty(*norms, power=6, form=form)
    penalty.backward()
    assert penalty.item() == 0
    assert all(p.grad is None or p.grad.isfinite().all() for p in network.parameters())
