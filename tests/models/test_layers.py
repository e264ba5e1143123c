"""Convolutions of few places against torch's own."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from gancli.models import layers
from gancli.models.layers import FewPlacesConv2d, convolve_few_places


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
def test_few_places_are_convolved_as_by_torch(
    side: int, stride: int, padding: int, height: int, width: int, bias: bool, last: bool
) -> None:
    layout = torch.channels_last if last else torch.contiguous_format
    inputs = [
        torch.randn(2, 3, height, width, dtype=torch.float64).to(memory_format=layout),
        torch.randn(5, 3, side, side, dtype=torch.float64).to(memory_format=layout),
        torch.randn(5, dtype=torch.float64) if bias else None,
    ]
    given_ones = [tensor.requires_grad_() for tensor in inputs if tensor is not None]
    ours = convolve_few_places(*inputs, stride, padding)  # type: ignore[arg-type]
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
def test_a_layer_takes_the_way_for_few_places_where_there_are_fewer_than_kernels(
    batch: int, few: bool, bf16: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken = []

    def watch(*arguments: object) -> torch.Tensor:
        taken.append(True)
        return convolve_few_places(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(layers, "convolve_few_places", watch)
    layer = FewPlacesConv2d(3, 32, 4, stride=2, padding=1)
    x = torch.randn(batch, 3, 8, 8)
    with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        ours, expected = layer(x), torch.nn.Conv2d.forward(layer, x)
    assert bool(taken) == few
    assert ours.dtype == expected.dtype
    tolerance = 2e-2 if bf16 else 1e-5
    torch.testing.assert_close(ours, expected, rtol=tolerance, atol=tolerance)
