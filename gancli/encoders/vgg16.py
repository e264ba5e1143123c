"""VGG-16, whose pooled features are compared by perceptual losses."""

from __future__ import annotations

import itertools
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gancli.encoders.backbones import IMAGENET_MEAN, IMAGENET_STD
from gancli.ops.boxes import Box, cut, paste
from gancli.weights import find_weights


class Vgg16(nn.Module):
    """First three blocks of torchvision's VGG-16.

    Args:
        normalise: Bring images to the mean and deviation that the weights were trained with. The public code of
            CSF-GAN does not.
    """

    POOLS = (5, 10, 17)  # layers of `features` up to and including pool1, pool2 and pool3
    REACH = 43  # pixels beyond a box that enter the features which change with the box
    mean: Tensor
    std: Tensor

    def __init__(self, *, normalise: bool = True) -> None:
        super().__init__()
        from torchvision.models import vgg16

        self.normalise = normalise
        layers = vgg16(weights=None, init_weights=False).features
        self.blocks = nn.ModuleList(layers[start:end] for start, end in itertools.pairwise((0, *self.POOLS)))
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(IMAGENET_STD).view(3, 1, 1), persistent=False)

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Map images (B, 3, S, S) in [-1, 1] to (B, 64, S/2, S/2), (B, 128, S/4, S/4) and (B, 256, S/8, S/8)."""
        h = self.scaled(images)
        features = []
        for block in self.blocks:
            h = block(h)
            features.append(h)
        return tuple(features)

    def scaled(self, images: Tensor) -> Tensor:
        """Scale images in [-1, 1] as the weights expect them."""
        return ((images + 1) / 2 - self.mean) / self.std if self.normalise else images

    def surroundings(self, box: Box, whole: Box) -> Box:
        """Return the box of all pixels that enter the features which change with a box.

        Images cut to it have the same features there. It has the shape that `compare` needs.
        """
        return box.grown(self.REACH, whole).rounded(2 ** len(self.blocks), whole)

    def compare(self, real: Tensor, fake: Tensor, box: Box) -> tuple[list[Tensor], list[Tensor]]:
        """Return the features of images and of copies that differ in a box only, in less time than two calls.

        Of the copies, only the part that the difference reaches is computed, forward and backward. It grows by a pixel
        on every side per convolution.

        Args:
            real: Images (B, 3, H, W) in [-1, 1], with sides that are multiples of 8. They get no gradient.
            fake: Images that differ in the box only.
            box: Box in all images.

        Returns:
            Features of `real` and of `fake`, as `forward` returns them.
        """
        with torch.no_grad():
            whole = self.scaled(real)
        part = self.scaled(cut(fake, box))
        wanted, painted = [], []
        for block in self.blocks:
            for layer in block.children():
                part, box = follow(layer, whole, part, box)
                with torch.no_grad():
                    whole = layer(whole)
            wanted.append(whole)
            painted.append(paste(whole, part, box))
        return wanted, painted

    def load_imagenet(self, path: Path) -> None:
        """Load torchvision's ImageNet weights, without the later blocks and the classifier."""
        state = torch.load(path, map_location="cpu", weights_only=True)
        for block in self.blocks:  # their layers keep the numbers of the whole network
            block.load_state_dict({name: state[f"features.{name}"] for name in block.state_dict()})


def follow(layer: nn.Module, whole: Tensor, part: Tensor, box: Box) -> tuple[Tensor, Box]:
    """Apply a layer to a map that differs from a known one in a box only.

    Args:
        layer: 3x3 convolution that keeps the side, ReLU, or pooling of 2x2.
        whole: Known map, (B, C, H, W).
        part: Other map inside the box, (B, C, h, w).
        box: Box of the part in the whole.

    Returns:
        The part of the result that differs, and its box.
    """
    if isinstance(layer, nn.ReLU):
        return F.relu(part), box  # not in place: the part may be a view
    if isinstance(layer, nn.MaxPool2d):
        around = box.halved().doubled()
        return layer(paste(cut(whole, around), part, box.within(around))), box.halved()
    read, changed = (box.grown(pixels, Box.of(whole)) for pixels in (2, 1))
    # The padding is wrong where the part ends inside the map, which affects the outermost pixels only
    return cut(layer(paste(cut(whole, read), part, box.within(read))), changed.within(read)), changed


def load_vgg16(weights: str | Path | None = None, *, normalise: bool = True) -> Vgg16:
    """Load VGG-16 with its ImageNet weights, from a file or folder or where `gancli.weights` looks, frozen.

    Raises:
        DataError: The file cannot be found or downloaded.
    """
    network = Vgg16(normalise=normalise)
    network.load_imagenet(find_weights("vgg16", weights))
    network.to(memory_format=torch.channels_last)
    return network.eval().requires_grad_(False)
