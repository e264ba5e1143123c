"""Blocks shared by several papers."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

from gancli.data.loader import Batch
from gancli.losses.matching import padding_mask
from gancli.ops.convolutions import UnfoldConv2d

LEAKY_SLOPE = 0.2
SMALLEST_MAP = 4  # side of the generators' first and the discriminators' last feature map


def conv1x1(in_channels: int, out_channels: int) -> nn.Conv2d:
    """Build a 1x1 convolution without bias."""
    return nn.Conv2d(in_channels, out_channels, 1, bias=False)


def conv3x3(in_channels: int, out_channels: int) -> nn.Conv2d:
    """Build a 3x3 convolution without bias that keeps the side."""
    return nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=False)


def conv4x4(in_channels: int, out_channels: int) -> nn.Conv2d:
    """Build a 4x4 convolution without bias that halves the side."""
    return UnfoldConv2d(in_channels, out_channels, 4, stride=2, padding=1, bias=False)


def conv_norm(convolution: nn.Conv2d, activation: nn.Module | None = None) -> nn.Sequential:
    """Join a convolution, a batch norm and an activation."""
    layers = [convolution, nn.BatchNorm2d(convolution.out_channels)]
    return nn.Sequential(*layers) if activation is None else nn.Sequential(*layers, activation)


def leaky() -> nn.LeakyReLU:
    """Build the leaky ReLU of the discriminators."""
    return nn.LeakyReLU(LEAKY_SLOPE)


def glu(x: Tensor) -> Tensor:
    """Apply the gated linear unit over channels: (B, 2C, ...) -> (B, C, ...)."""
    # F.glu would return a contiguous tensor and so drop channels_last.
    value, gate = x.chunk(2, dim=1)
    return value * torch.sigmoid(gate)


def first_map(x: Tensor) -> Tensor:
    """Reshape (B, C * 4 * 4) to a generator's first feature map (B, C, 4, 4) in channels_last."""
    x = x.view(x.shape[0], -1, SMALLEST_MAP, SMALLEST_MAP)
    return x.contiguous(memory_format=torch.channels_last)


def doublings(small: int, large: int) -> int:
    """Return the number of doublings from one side to another.

    Raises:
        ValueError: The large side is no power of two times the small one.
    """
    count = int(math.log2(large // small)) if large >= small else -1
    if count < 0 or small * 2**count != large:
        raise ValueError(f"a side of {large} is no power of two times {small}")
    return count


class Residual(nn.Module):
    """Layers added to their input, then an activation. (B, C, H, W) -> same."""

    def __init__(self, *layers: nn.Module, activation: nn.Module) -> None:
        super().__init__()
        self.layers = nn.Sequential(*layers)
        self.activation = activation

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.activation(x + self.layers(x))
        return result


def bottleneck(channels: int, inner: int, activation: type[nn.ReLU] | type[nn.LeakyReLU]) -> Residual:
    """Build a residual block of a 1x1 convolution to `inner` channels, a 3x3 one, and a 3x3 one back to `channels`."""

    def activate() -> nn.Module:
        return leaky() if activation is nn.LeakyReLU else nn.ReLU()

    return Residual(
        conv1x1(channels, inner),
        nn.BatchNorm2d(inner),
        activate(),
        conv3x3(inner, inner),
        nn.BatchNorm2d(inner),
        activate(),
        conv3x3(inner, channels),
        nn.BatchNorm2d(channels),
        activation=activate(),
    )


class ConditioningAugmentation(nn.Module):
    """Gaussian around the sentence, predicted through a gated linear unit (FF-GAN eq. 2)."""

    def __init__(self, sentence_dim: int, condition_dim: int) -> None:
        super().__init__()
        self.linear = nn.Linear(sentence_dim, 4 * condition_dim)

    def forward(self, sentence: Tensor, noise: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Map sentence (B, D) and standard normal noise (B, Z) to sample, mean and log-variance, each (B, Z)."""
        mean, log_variance = glu(self.linear(sentence)).chunk(2, dim=1)
        return mean + torch.exp(0.5 * log_variance) * noise, mean, log_variance


class LeakyConditioningAugmentation(nn.Module):
    """Gaussian around a text or attribute vector, predicted through a leaky ReLU (StackGAN, section 3.2).

    It predicts the logarithm of the standard deviation, as StackGAN's public code does. Pass twice that to
    `augmentation_kl`.

    Args:
        text_dim: E, length of the text or attribute vector.
        condition_dim: C, length of the sample.
    """

    def __init__(self, text_dim: int, condition_dim: int) -> None:
        super().__init__()
        self.linear = nn.Linear(text_dim, 2 * condition_dim)
        self.activation = leaky()

    def forward(self, text: Tensor, noise: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Map text (B, E) and standard normal noise (B, C) to sample, mean and log sigma, each (B, C)."""
        mean, log_sigma = self.activation(self.linear(text)).chunk(2, dim=1)
        return mean + torch.exp(log_sigma) * noise, mean, log_sigma


@dataclass(frozen=True)
class AugmentedImages:
    """Result of one pass of a generator with a leaky conditioning augmentation.

    Attributes:
        images: Images (B, 3, S, S) in [-1, 1].
        mean: Mean (B, C) of the conditioning augmentation.
        log_sigma: Log standard deviation (B, C) of the conditioning augmentation.
    """

    images: Tensor
    mean: Tensor
    log_sigma: Tensor


def augmentation_kl(mean: Tensor, log_variance: Tensor) -> Tensor:
    """Return the KL divergence of a conditioning augmentation from N(0, I), averaged over batch and dimensions.

    The papers sum over dimensions (FF-GAN eq. 9, StackGAN eq. 4). Both public codes train with the mean. Both
    arguments are (B, C).
    """
    mean, log_variance = mean.float(), log_variance.float()
    return -0.5 * (1 + log_variance - mean.square() - log_variance.exp()).mean()


class WordAttention(nn.Module):
    """Attention of each pixel over the words of a caption (f_att of FF-GAN eq. 4, CSF-GAN eq. 3).

    Args:
        channels: C, channels of the feature map and of the word context.
        word_dim: D, length of a word vector.
        mask_padding: Give padding no attention.
    """

    def __init__(self, channels: int, word_dim: int, *, mask_padding: bool) -> None:
        super().__init__()
        self.project = nn.Conv1d(word_dim, channels, 1, bias=False)  # U_w of FF-GAN
        self.mask_padding = mask_padding

    def forward(self, h: Tensor, words: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Return word context and attention of every pixel.

        Args:
            h: (B, C, H, W).
            words: (B, D, L).
            mask: (B, L) bool, True at words.

        Returns:
            Context (B, C, H, W) and attention (B, L, H, W), which sums to 1 over the words.
        """
        batch, channels, height, width = h.shape
        projected = self.project(words)  # (B, C, L)
        pixels = h.permute(0, 2, 3, 1).reshape(batch, height * width, channels)  # a view in channels_last
        scores = pixels @ projected  # (B, H*W, L)
        if self.mask_padding:
            scores = scores.masked_fill(~mask[:, None, :], -torch.inf)
        attention = scores.softmax(dim=2)
        context = attention @ projected.transpose(1, 2)  # (B, H*W, C)
        context = context.view(batch, height, width, channels).permute(0, 3, 1, 2)  # (B, C, H, W)
        return context, attention.transpose(1, 2).unflatten(2, (height, width))


class MatchingDiscriminator(nn.Module):
    """Discriminator of images together with a text or attributes, from one 4x4 feature map (StackGAN's layout).

    A layer of its own compresses the text, which is repeated at all 4x4 positions beside the image's features.

    Args:
        encoder: Network from images (B, C, S, S) to features (B, F, 4, 4).
        features: F, channels of the features.
        text_dim: E, length of the sentence vectors or number of attributes.
        compressed_dim: Length of the compressed text.
    """

    def __init__(self, encoder: nn.Module, features: int, *, text_dim: int, compressed_dim: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.compress = nn.Sequential(nn.Linear(text_dim, compressed_dim), leaky())
        self.head = nn.Sequential(
            conv1x1(features + compressed_dim, features),
            nn.BatchNorm2d(features),
            leaky(),
            nn.Conv2d(features, 1, SMALLEST_MAP, bias=False),
        )

    def large_blocks(self) -> list[nn.Module]:
        """Return the modules that train.activation_checkpointing recomputes."""
        return [self.encoder]

    def forward(self, images: Tensor) -> Tensor:
        """Map images (B, C, S, S) in [-1, 1] to features (B, F, 4, 4)."""
        features: Tensor = self.encoder(images)
        return features

    def logits(self, features: Tensor, text: Tensor) -> Tensor:
        """Map features (B, F, 4, 4) and texts (B, E) to unbounded scores (B,), high for real and matching pairs."""
        compressed = self.compress(text)[:, :, None, None]
        tiled = compressed.expand(-1, -1, SMALLEST_MAP, SMALLEST_MAP).to(features.dtype)
        logits: Tensor = self.head(torch.cat([features, tiled], dim=1))
        return logits.flatten()


class ConditionalDiscriminator(nn.Module):
    """Discriminator that brings its own losses, so that a model can be trained against another one than its paper's."""

    def loss(self, real: Tensor, fake: Tensor, condition: Tensor, wrong: Tensor | None = None) -> Tensor:
        """Return the loss to train it with.

        Args:
            real: (B, 3, S, S), B >= 2.
            fake: (B, 3, S, S), detached from the generator.
            condition: (B, D), of both.
            wrong: (B, D), of other images than `real`; None for the next condition of the batch.
        """
        raise TypeError(f"{type(self).__name__} does not define loss()")

    def generator_loss(self, fake: Tensor, condition: Tensor) -> Tensor:
        """Return the generator's loss against it, of images (B, 3, S, S) and conditions (B, D)."""
        raise TypeError(f"{type(self).__name__} does not define generator_loss()")


class TextEncoder(Protocol):
    """Frozen text encoder, from tokens (B, L) and lengths (B,) to words (B, D, L) and sentence (B, D)."""

    def __call__(self, tokens: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]: ...


def read_captions(encoder: TextEncoder, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
    """Return words (B, D, L), sentences (B, D) and padding mask (B, L) of a batch's captions, without gradient."""
    longest = int(batch.lengths.max())
    with torch.no_grad():
        words, sentence = encoder(batch.tokens[:, :longest], batch.lengths)
    return words, sentence, padding_mask(batch.lengths, longest)


class ImageEncoder(Protocol):
    """Frozen image encoder, from images (B, 3, S, S) in [-1, 1] to regions (B, D, H, W) and code (B, D)."""

    def __call__(self, images: Tensor) -> tuple[Tensor, Tensor]: ...
