"""Convolutions against torch's own."""

from __future__ import annotations

from contextlib import nullcontext

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from gancli.losses.penalty import gradient_norms, matching_aware_penalty
from gancli.ops import convolutions
from gancli.ops.convolutions import (
    StridedDilatedConv2d,
    TwiceDifferentiableLayers,
    UnfoldConv2d,
    UpsampleConv2d,
    unfold_conv2d,
)


@given(
    side=st.integers(1, 4),
    stride=st.integers(1, 3),
    padding=st.integers(0, 2),
    height=st.integers(4, 9),
    width=st.integers(4, 9),
    bias=st.booleans(),
    last=st.booleans(),
)
@settings(deadline=None)
def test_the_product_of_unfolded_patches_is_torchs_convolution(
    side: int, stride: int, padding: int, height: int, width: int, bias: bool, last: bool
) -> None:
    layout = torch.channels_last if last else torch.contiguous_format
    inputs = [
        torch.randn(2, 3, height, width, dtype=torch.float64).to(memory_format=layout),
        torch.randn(5, 3, side, side, dtype=torch.float64).to(memory_format=layout),
        torch.randn(5, dtype=torch.float64) if bias else None,
    ]
    given_ones = [tensor.requires_grad_() for tensor in inputs if tensor is not None]
    ours = unfold_conv2d(*inputs, stride, padding)  # type: ignore[arg-type]
    expected = F.conv2d(*inputs, stride, padding)  # type: ignore[arg-type]
    torch.testing.assert_close(ours, expected)
    assert ours.is_contiguous(memory_format=torch.channels_last)
    arriving = torch.randn_like(expected)
    for result, wanted in zip(
        torch.autograd.grad(ours, given_ones, arriving),
        torch.autograd.grad(expected, given_ones, arriving),
        strict=True,
    ):
        torch.testing.assert_close(result, wanted)


@pytest.mark.parametrize(("batch", "few"), [(1, True), (2, True), (3, False)])
@pytest.mark.parametrize("bf16", [False, True])
def test_a_layer_unfolds_where_there_are_no_more_patches_than_kernels(
    batch: int, few: bool, bf16: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken = []

    def watch(*arguments: object) -> torch.Tensor:
        taken.append(True)
        return unfold_conv2d(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(convolutions, "unfold_conv2d", watch)
    layer = UnfoldConv2d(3, 32, 4, stride=2, padding=1)
    x = torch.randn(batch, 3, 8, 8)
    with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        ours, expected = layer(x), torch.nn.Conv2d.forward(layer, x)
    assert bool(taken) == few
    assert ours.dtype == expected.dtype
    tolerance = 2e-2 if bf16 else 1e-5
    torch.testing.assert_close(ours, expected, rtol=tolerance, atol=tolerance)


def test_upsampling_convolution_equals_its_definition():
    layer = UpsampleConv2d(5, 7)
    x = torch.randn(2, 5, 6, 4)
    expected = F.conv2d(F.interpolate(x, scale_factor=2, mode="nearest"), layer.weight, padding=1)
    torch.testing.assert_close(layer(x), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format])
@pytest.mark.parametrize("features", [5, 60])  # fewer and more than output positions
def test_the_dilated_convolution_is_one(layout, features):
    """The test of torch's own layer, which the rewrite replaces."""
    layer = StridedDilatedConv2d(3, features)
    x = torch.randn(2, 3, 12, 8).to(memory_format=layout).requires_grad_()
    ours, expected = layer(x), nn.Conv2d.forward(layer, x)
    torch.testing.assert_close(ours, expected, atol=1e-5, rtol=1e-5)
    arriving = torch.randn_like(expected)
    (gradient,) = torch.autograd.grad(ours, x, arriving)
    torch.testing.assert_close(gradient, torch.autograd.grad(expected, x, arriving)[0], atol=1e-5, rtol=1e-5)
    assert gradient.is_contiguous(memory_format=layout)


# --- layers under a gradient penalty ----------------------------------------------------------------------------


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
