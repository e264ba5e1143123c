"""The Inception network of the Fréchet inception distance: TensorFlow's inception-2015-12-05 in PyTorch.

It is torchvision's Inception-v3 except for its pooling branches and its 1008 outputs. The parameter names are
torchvision's, so the weight file that pytorch-fid publishes loads without changes. The module imports torchvision, so
import it only where the network is used.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models.inception import Inception3, InceptionA, InceptionC, InceptionE

from gancli.encoders.backbones import fold_batch_norms

DIM = 2048  # of the global average after the last block
SIDE = 299  # pixels of the input
CLASSES = 1008  # outputs of TensorFlow's graph: ImageNet's 1000, a background and seven that nothing uses


def _mean_pool(x: Tensor) -> Tensor:
    # TensorFlow excludes padding from the mean, torchvision counts it as zeros
    return F.avg_pool2d(x, 3, stride=1, padding=1, count_include_pad=False)


class BlockA(InceptionA):
    """35x35 block: (B, C, H, W) -> (B, 224 + pool_features, H, W)."""

    def forward(self, x: Tensor) -> Tensor:
        five = self.branch5x5_2(self.branch5x5_1(x))
        three = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x)))
        return torch.cat([self.branch1x1(x), five, three, self.branch_pool(_mean_pool(x))], dim=1)


class BlockC(InceptionC):
    """17x17 block with factorised 7x7 convolutions: (B, 768, H, W) -> same."""

    def forward(self, x: Tensor) -> Tensor:
        once = self.branch7x7_3(self.branch7x7_2(self.branch7x7_1(x)))
        twice = self.branch7x7dbl_3(self.branch7x7dbl_2(self.branch7x7dbl_1(x)))
        twice = self.branch7x7dbl_5(self.branch7x7dbl_4(twice))
        return torch.cat([self.branch1x1(x), once, twice, self.branch_pool(_mean_pool(x))], dim=1)


class BlockE(InceptionE):
    """8x8 block: (B, C, H, W) -> (B, 2048, H, W)."""

    def pool(self, x: Tensor) -> Tensor:
        """Return the input of the pooling branch's convolution."""
        return _mean_pool(x)

    def forward(self, x: Tensor) -> Tensor:
        three = self.branch3x3_1(x)
        double = self.branch3x3dbl_2(self.branch3x3dbl_1(x))
        branches = [
            self.branch1x1(x),
            self.branch3x3_2a(three),
            self.branch3x3_2b(three),
            self.branch3x3dbl_3a(double),
            self.branch3x3dbl_3b(double),
            self.branch_pool(self.pool(x)),
        ]
        return torch.cat(branches, dim=1)


class LastBlockE(BlockE):
    """The last block pools by maximum, an oddity of the 2015 graph that every published FID contains."""

    def pool(self, x: Tensor) -> Tensor:
        return F.max_pool2d(x, 3, stride=1, padding=1)


def build_fid_inception() -> Inception3:
    """Build the network with its classifier, uninitialised.

    After loading, `features_only` or `without_bias` chooses its output.
    """
    network = Inception3(num_classes=CLASSES, aux_logits=False, transform_input=False, init_weights=False)
    network.Mixed_5b = BlockA(192, pool_features=32)
    network.Mixed_5c = BlockA(256, pool_features=64)
    network.Mixed_5d = BlockA(288, pool_features=64)
    for name, width in (("Mixed_6b", 128), ("Mixed_6c", 160), ("Mixed_6d", 160), ("Mixed_6e", 192)):
        setattr(network, name, BlockC(768, channels_7x7=width))
    network.Mixed_7b = BlockE(1280)
    network.Mixed_7c = LastBlockE(2048)
    return network


def features_only(network: Inception3) -> Inception3:
    """Return the network, frozen and in eval mode, from (B, 3, 299, 299) in [-1, 1] to pooled features (B, 2048)."""
    network.fc = nn.Identity()
    return frozen(network)


def without_bias(network: Inception3) -> Inception3:
    """Return the network, frozen and in eval mode, from (B, 3, 299, 299) in [-1, 1] to logits (B, 1008).

    The Inception score uses them without the bias of the last layer, like torch-fidelity and the original code.
    """
    torch.nn.init.zeros_(network.fc.bias)
    return frozen(network)


def frozen(network: Inception3) -> Inception3:
    """Return the network, frozen and in eval mode, with batch norms folded into its convolutions."""
    network.eval().requires_grad_(False)
    fold_batch_norms(network)
    return network


def tf1_bilinear(images: Tensor, side: int) -> Tensor:
    """Resize (B, C, H, W) to (B, C, side, side) like TensorFlow 1 inside the published graph.

    Output pixel i samples i * H / side. No other library uses this convention: neither is half a pixel shifted nor are
    the corners aligned, which moves every image by up to half a pixel.
    """
    for axis in (2, 3):
        length = images.shape[axis]
        position = torch.arange(side, device=images.device, dtype=images.dtype) * (length / side)
        left = position.floor().long()
        share = (position - left).view(-1, *[1] * (3 - axis))
        first = images.index_select(axis, left)
        second = images.index_select(axis, (left + 1).clamp(max=length - 1))
        images = first + (second - first) * share
    return images
