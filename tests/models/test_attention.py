"""Attention modules of other papers: each against its equations, written out slowly in NumPy."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from gancli.models.attention import (
    BottleneckAttention,
    ContextualAttention,
    ContextualAttentionLite,
    PolarizedAttention,
)

CHANNELS = 16
MODULES = {
    "bam": lambda: BottleneckAttention(CHANNELS),
    "bam-product": lambda: BottleneckAttention(CHANNELS, product=True),
    "polarized": lambda: PolarizedAttention(CHANNELS),
    "polarized-sequential": lambda: PolarizedAttention(CHANNELS, sequential=True),
    "cot": lambda: ContextualAttention(CHANNELS),
    "cot-lite": lambda: ContextualAttentionLite(CHANNELS),
}


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def softmax(x, axis):
    shifted = np.exp(x - x.max(axis=axis, keepdims=True))
    return shifted / shifted.sum(axis=axis, keepdims=True)


@pytest.fixture
def features():
    torch.manual_seed(0)
    return torch.randn(3, CHANNELS, 6, 5)


@pytest.mark.parametrize("name", MODULES)
def test_the_shape_stays_and_everything_is_trained(name, features):
    torch.manual_seed(1)
    module = MODULES[name]()
    output = module(features)
    assert output.shape == features.shape
    output.square().sum().backward()
    for label, parameter in module.named_parameters():
        assert parameter.grad is not None, label


@pytest.mark.parametrize("name", MODULES)
def test_at_sampling_no_image_depends_on_the_others(name, features):
    module = MODULES[name]()
    module(features)
    module.eval()
    torch.testing.assert_close(module(features)[:1], module(features[:1]))


@pytest.mark.parametrize("product", [False, True])
def test_bam_is_one_gate_of_both_branches(product, features):
    module = BottleneckAttention(CHANNELS, product=product).eval()
    channel = module.channel(features.mean(dim=(2, 3))).detach().numpy()[:, :, None, None]
    spatial = module.spatial(features).detach().numpy()
    gate = 1 + sigmoid(channel * spatial if product else channel + spatial)
    np.testing.assert_allclose(module(features).detach(), features.numpy() * gate, rtol=1e-5, atol=1e-6)
    kernels = [layer for layer in module.spatial if getattr(layer, "kernel_size", None) == (3, 3)]
    assert [layer.dilation for layer in kernels] == [(4, 4), (4, 4)]


def test_polarized_attention_is_its_two_gates(features):
    module = PolarizedAttention(CHANNELS).eval()
    x = features.numpy()

    def one_by_one(layer):
        weight = layer.weight.detach().numpy()[:, :, 0, 0]
        return np.einsum("oc,bchw->bohw", weight, x) + layer.bias.detach().numpy()[:, None, None]

    over_places = softmax(one_by_one(module.channel_query).reshape(3, -1), axis=1)
    context = np.einsum(
        "bcp,bp->bc", one_by_one(module.channel_value).reshape(3, CHANNELS // 2, -1), over_places
    )
    linear, norm = module.channel_out[0], module.channel_out[1]
    logits = context @ linear.weight.detach().numpy().T + linear.bias.detach().numpy()
    mean, deviation = logits.mean(1, keepdims=True), np.sqrt(logits.var(1, keepdims=True) + norm.eps)
    by_channel = sigmoid((logits - mean) / deviation)[:, :, None, None]

    over_channels = softmax(one_by_one(module.spatial_query).mean(axis=(2, 3)), axis=1)
    by_place = sigmoid(np.einsum("bchw,bc->bhw", one_by_one(module.spatial_value), over_channels))[:, None]
    np.testing.assert_allclose(module(features).detach(), x * by_channel + x * by_place, rtol=1e-4, atol=1e-5)


def test_sequential_polarized_attention_gates_the_gated(features):
    module = PolarizedAttention(CHANNELS, sequential=True).eval()
    first = features * module.channel_gate(features)
    torch.testing.assert_close(module(features), first * module.spatial_gate(first))


def test_cot_sums_each_neighbourhood_with_weights_shared_by_eight_channels(features):
    module = ContextualAttention(CHANNELS).eval()
    key = module.key(features)
    weights = module.weights(torch.cat([features, key], dim=1)).detach().numpy()
    weights = weights.reshape(3, CHANNELS // 8, 9, 6, 5)
    value = np.pad(module.value(features).detach().numpy(), ((0, 0), (0, 0), (1, 1), (1, 1)))
    dynamic = np.zeros((3, CHANNELS, 6, 5), np.float32)
    for channel in range(CHANNELS):
        for row in range(6):
            for column in range(5):
                patch = value[:, channel, row : row + 3, column : column + 3].reshape(3, 9)
                dynamic[:, channel, row, column] = (patch * weights[:, channel // 8, :, row, column]).sum(1)
    dynamic = module.activate(torch.from_numpy(dynamic)).detach()
    pooled = (dynamic + key).mean(dim=(2, 3), keepdim=True)
    shares = softmax(module.split(pooled).detach().numpy().reshape(3, CHANNELS, 2), axis=2)[..., None, None]
    expected = dynamic.numpy() * shares[:, :, 0] + key.detach().numpy() * shares[:, :, 1]
    np.testing.assert_allclose(module(features).detach(), expected, rtol=1e-4, atol=1e-5)


def test_light_cot_weighs_all_places_at_once(features):
    module = ContextualAttentionLite(CHANNELS).eval()
    key = module.key(features)
    maps = module.weights(torch.cat([features, key], dim=1)).detach().numpy().reshape(3, CHANNELS, 9, 30)
    weights = softmax(maps.mean(axis=2), axis=2).reshape(3, CHANNELS, 6, 5)
    expected = key.detach().numpy() + weights * module.value(features).detach().numpy()
    np.testing.assert_allclose(module(features).detach(), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("module", "channels"), [(ContextualAttention, 12), (ContextualAttentionLite, 6)])
def test_cot_refuses_channels_that_its_groups_do_not_divide(module, channels):
    with pytest.raises(ValueError, match=str(channels)):
        module(channels)
