"""MA-GP against numerical gradients in float64, and what must not break it."""

from __future__ import annotations

from contextlib import nullcontext

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from gancli.losses.penalty import (
    TwiceDifferentiableLayers,
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


@given(
    side=st.integers(4, 9),
    kernel=st.integers(1, 4),
    stride=st.integers(1, 2),
    padding=st.integers(0, 2),
    bias=st.booleans(),
)
@settings(max_examples=30, deadline=None)
def test_convolutions_made_for_the_penalty_are_torchs(side, kernel, stride, padding, bias):
    torch.manual_seed(side + 10 * kernel)
    conv = torch.nn.Conv2d(2, 3, kernel, stride=stride, padding=padding, bias=bias).double()
    originals = torch.randn(2, 2, side, side, dtype=torch.double)

    def penalised(mode):
        images = originals.clone().requires_grad_()
        condition = torch.ones(2, 1, dtype=torch.double, requires_grad=True)
        with mode:
            scores = conv(images).sigmoid().square().sum(dim=(1, 2, 3)) * condition[:, 0]
        penalty = matching_aware_penalty(*gradient_norms(scores, images, condition), power=6, form="concat")
        conv.zero_grad()
        (scores.sum() + penalty).backward()
        return [penalty, images.grad, condition.grad, *(p.grad.clone() for p in conv.parameters())]

    for ours, torchs in zip(penalised(TwiceDifferentiableLayers()), penalised(nullcontext()), strict=True):
        torch.testing.assert_close(ours, torchs)


@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format])
def test_halving_has_torchs_first_and_second_gradients(layout):
    x = torch.randn(2, 3, 6, 8, dtype=torch.float64).to(memory_format=layout)

    def gradients(mode):
        images = x.clone().requires_grad_()
        with mode:
            halved = F.avg_pool2d(images.tanh(), 2)
        (first,) = torch.autograd.grad(halved.square().sum(), images, create_graph=True)
        (second,) = torch.autograd.grad(first.square().sum(), images)
        return halved, first, second

    for ours, torchs in zip(gradients(TwiceDifferentiableLayers()), gradients(nullcontext()), strict=True):
        torch.testing.assert_close(ours, torchs)
        assert ours.is_contiguous(memory_format=layout)


def test_other_layers_are_left_to_torch():
    x = torch.randn(1, 4, 8, 8)
    grouped = torch.nn.Conv2d(4, 4, 3, groups=2)
    same = torch.nn.Conv2d(4, 4, 3, padding="same", dilation=2)
    with TwiceDifferentiableLayers():
        results = grouped(x), same(x), F.avg_pool2d(x[..., 1:], 2), F.avg_pool2d(x, 4)
    assert torch.equal(results[0], grouped(x))
    assert torch.equal(results[1], same(x))
    assert torch.equal(results[2], F.avg_pool2d(x[..., 1:], 2))
    assert torch.equal(results[3], F.avg_pool2d(x, 4))
