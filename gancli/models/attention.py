"""Attention modules that Fusion-S2iGan's Table 3 compares with its pixel attention.

B is the batch, C the channels of a feature map. All modules keep the shape (B, C, H, W).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gancli.models.layers import conv1x1, conv_norm


class BottleneckAttention(nn.Module):
    """BAM (Park et al., 2018): one gate, 1 + sigmoid, from a channel branch and a spatial branch.

    Args:
        channels: C.
        product: Multiply the two branches, as the authors' code does. Their paper adds them.
    """

    REDUCTION = 16
    DILATION = 4

    def __init__(self, channels: int, *, product: bool = False) -> None:
        super().__init__()
        inner = max(channels // self.REDUCTION, 1)
        self.product = product
        self.channel = nn.Sequential(
            nn.Linear(channels, inner), nn.BatchNorm1d(inner), nn.ReLU(), nn.Linear(inner, channels)
        )

        def dilated() -> nn.Conv2d:
            return nn.Conv2d(inner, inner, 3, padding=self.DILATION, dilation=self.DILATION)

        self.spatial = nn.Sequential(
            *conv_norm(nn.Conv2d(channels, inner, 1), nn.ReLU()),
            *conv_norm(dilated(), nn.ReLU()),
            *conv_norm(dilated(), nn.ReLU()),
            nn.Conv2d(inner, 1, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        channel = self.channel(x.mean(dim=(2, 3)))[:, :, None, None]  # (B, C, 1, 1)
        spatial = self.spatial(x)  # (B, 1, H, W)
        both = channel * spatial if self.product else channel + spatial
        return x * (1 + torch.sigmoid(both))


class PolarizedAttention(nn.Module):
    """Polarized self-attention (Liu et al., 2021), with the softmax and layer norm of the paper.

    Args:
        channels: C.
        sequential: Apply the spatial gate to the result of the channel gate. Otherwise both gate the input and their
            results are added.
    """

    def __init__(self, channels: int, *, sequential: bool = False) -> None:
        super().__init__()
        half = max(channels // 2, 1)
        self.sequential = sequential
        self.channel_query, self.channel_value = nn.Conv2d(channels, 1, 1), nn.Conv2d(channels, half, 1)
        self.channel_out = nn.Sequential(nn.Linear(half, channels), nn.LayerNorm(channels), nn.Sigmoid())
        self.spatial_query, self.spatial_value = nn.Conv2d(channels, half, 1), nn.Conv2d(channels, half, 1)

    def channel_gate(self, x: Tensor) -> Tensor:
        """Return (B, C, 1, 1) in (0, 1)."""
        weights = self.channel_query(x).flatten(1).softmax(dim=1)  # (B, HW)
        context = torch.einsum("bcp,bp->bc", self.channel_value(x).flatten(2), weights)
        gate: Tensor = self.channel_out(context)
        return gate[:, :, None, None]

    def spatial_gate(self, x: Tensor) -> Tensor:
        """Return (B, 1, H, W) in (0, 1)."""
        weights = self.spatial_query(x).mean(dim=(2, 3)).softmax(dim=1)  # (B, C/2)
        return torch.sigmoid(torch.einsum("bchw,bc->bhw", self.spatial_value(x), weights))[:, None]

    def forward(self, x: Tensor) -> Tensor:
        by_channel = x * self.channel_gate(x)
        if self.sequential:
            return by_channel * self.spatial_gate(by_channel)
        return by_channel + x * self.spatial_gate(x)


def static_context(channels: int) -> nn.Sequential:
    """Build CoT's grouped 3x3 convolution.

    Raises:
        ValueError: The channels cannot be grouped.
    """
    groups = 4
    if channels % groups:
        raise ValueError(f"attention cot convolves in {groups} groups, here are {channels} channels")
    return conv_norm(nn.Conv2d(channels, channels, 3, padding=1, groups=groups, bias=False), nn.ReLU())


class ContextualAttention(nn.Module):
    """Contextual transformer attention, CoT (Li et al., 2021).

    The static context is a grouped 3x3 convolution. The dynamic context sums the values of each 3x3 neighbourhood with
    weights predicted from input and static context, shared by groups of eight channels. A split attention joins both.

    Args:
        channels: C, a multiple of eight.

    Raises:
        ValueError: `channels` is no multiple of eight.
    """

    NEIGHBOURS = 9
    SHARED = 8  # channels with the same neighbourhood weights

    def __init__(self, channels: int) -> None:
        super().__init__()
        if channels % self.SHARED:
            raise ValueError(
                f"attention cot shares weights among {self.SHARED} channels, here are {channels}"
            )
        self.groups = channels // self.SHARED
        self.key = static_context(channels)
        self.value = conv_norm(conv1x1(channels, channels))
        self.weights = nn.Sequential(
            *conv_norm(conv1x1(2 * channels, channels // 2), nn.ReLU()),
            nn.Conv2d(channels // 2, self.NEIGHBOURS * self.groups, 1),
            nn.GroupNorm(self.groups, self.NEIGHBOURS * self.groups),
        )
        self.activate = nn.Sequential(nn.BatchNorm2d(channels), nn.SiLU())
        inner = max(channels // 2, 32)
        self.split = nn.Sequential(
            *conv_norm(nn.Conv2d(channels, inner, 1), nn.ReLU()), nn.Conv2d(inner, 2 * channels, 1)
        )

    def forward(self, x: Tensor) -> Tensor:
        batch, channels, height, width = x.shape
        key = self.key(x)
        weights = self.weights(torch.cat([x, key], dim=1))
        weights = weights.view(batch, self.groups, 1, self.NEIGHBOURS, height, width)
        value = F.pad(self.value(x), (1, 1, 1, 1)).view(
            batch, self.groups, self.SHARED, height + 2, width + 2
        )
        dynamic = torch.zeros_like(value[..., 1:-1, 1:-1])  # (B, G, 8, H, W)
        # Unfolding all nine at once would take nine times the memory
        for neighbour in range(self.NEIGHBOURS):
            top, left = divmod(neighbour, 3)
            shifted = value[..., top : top + height, left : left + width]
            dynamic = dynamic + weights[:, :, :, neighbour] * shifted
        dynamic = self.activate(dynamic.reshape(batch, channels, height, width))
        pooled = (dynamic + key).mean(dim=(2, 3), keepdim=True)
        first, second = self.split(pooled).view(batch, channels, 2, 1, 1).softmax(dim=2).unbind(dim=2)
        result: Tensor = dynamic * first + key * second
        return result


class ContextualAttentionLite(nn.Module):
    """CoT as implemented in a popular collection of attention modules.

    The weights of a pixel's neighbourhood are averaged to one. Its softmax over all pixels weighs the values.

    Args:
        channels: C, a multiple of four.

    Raises:
        ValueError: `channels` is no multiple of four.
    """

    NEIGHBOURS = 9

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.key = static_context(channels)
        self.value = conv_norm(conv1x1(channels, channels))
        self.weights = nn.Sequential(
            *conv_norm(conv1x1(2 * channels, channels // 2), nn.ReLU()),
            nn.Conv2d(channels // 2, self.NEIGHBOURS * channels, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        key = self.key(x)
        weights = self.weights(torch.cat([x, key], dim=1)).unflatten(1, (-1, self.NEIGHBOURS)).mean(dim=2)
        result: Tensor = key + weights.flatten(2).softmax(dim=2).view_as(x) * self.value(x)
        return result
