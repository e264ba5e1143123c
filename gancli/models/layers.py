"""Blocks that more than one paper uses."""

from __future__ import annotations

import math

import torch.nn.functional as F
from torch import Tensor, nn

LEAKY_SLOPE = 0.2
SMALLEST_MAP = 4  # the side of the generators' first and the discriminators' last feature map


def conv1x1(in_channels: int, out_channels: int) -> nn.Conv2d:
    """1x1 convolution without bias."""
    return nn.Conv2d(in_channels, out_channels, 1, bias=False)


def conv3x3(in_channels: int, out_channels: int) -> nn.Conv2d:
    """3x3 convolution that keeps the side, without bias."""
    return nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=False)


def conv4x4(in_channels: int, out_channels: int) -> nn.Conv2d:
    """4x4 convolution that halves the side, without bias."""
    return nn.Conv2d(in_channels, out_channels, 4, stride=2, padding=1, bias=False)


def conv_norm(convolution: nn.Conv2d, activation: nn.Module | None = None) -> nn.Sequential:
    """A convolution, its batch norm, an activation."""
    layers = [convolution, nn.BatchNorm2d(convolution.out_channels)]
    return nn.Sequential(*layers) if activation is None else nn.Sequential(*layers, activation)


def leaky() -> nn.LeakyReLU:
    """The activation of the discriminators."""
    return nn.LeakyReLU(LEAKY_SLOPE)


def doublings(small: int, large: int) -> int:
    """How often a side has to be doubled to become another.

    Raises:
        ValueError: It never does.
    """
    count = int(math.log2(large // small)) if large >= small else -1
    if count < 0 or small * 2**count != large:
        raise ValueError(f"a side of {large} is no power of two times {small}")
    return count


class UpsampleConv2d(nn.Conv2d):
    """Nearest x2 upsampling followed by a 3x3 convolution, as one transposed convolution.

    An output pixel of the pair sees only 2x2 distinct inputs, so the 3x3 kernel folds into a 4x4 one with stride
    2: the sum of its four shifted copies. Same result to rounding with 16/36 of the multiplications; the parameter
    stays the 3x3 kernel.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(in_channels, out_channels, 3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, in, H, W) -> (B, out, 2H, 2W)."""
        kernel = self.weight.transpose(0, 1).flip(2, 3)  # (in, out, 3, 3)
        rows = F.pad(kernel, (0, 0, 0, 1)) + F.pad(kernel, (0, 0, 1, 0))
        folded = F.pad(rows, (0, 1)) + F.pad(rows, (1, 0))  # (in, out, 4, 4)
        return F.conv_transpose2d(x, folded, stride=2, padding=1)


def augmentation_kl(mean: Tensor, log_variance: Tensor) -> Tensor:
    """KL divergence of a conditioning augmentation from N(0, I), averaged over batch and dimensions.

    The papers' equation sums over dimensions (FF-GAN eq. 9, StackGAN eq. 4); the mean is what both public codes train
    with.

    Args:
        mean: (B, C).
        log_variance: (B, C).
    """
    mean, log_variance = mean.float(), log_variance.float()
    return -0.5 * (1 + log_variance - mean.square() - log_variance.exp()).mean()
