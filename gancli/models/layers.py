"""Blocks that more than one paper uses."""

from __future__ import annotations

import math

import torch
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
    return FewPlacesConv2d(in_channels, out_channels, 4, stride=2, padding=1, bias=False)


class FewPlacesConv2d(nn.Conv2d):
    """A square convolution of square steps, on small maps by `convolve_few_places`."""

    def forward(self, x: Tensor) -> Tensor:
        """(B, in, H, W) -> (B, out, H', W')."""
        assert not isinstance(self.padding, str)
        kernel, stride, padding = self.kernel_size[0], self.stride[0], self.padding[0]
        rows, columns = ((side + 2 * padding - kernel) // stride + 1 for side in x.shape[2:])
        if has_few_places(x, rows * columns, self.out_channels):
            return convolve_few_places(x, self.weight, self.bias, stride, padding)
        return super().forward(x)


def has_few_places(x: Tensor, places: int, out_channels: int) -> bool:
    """Whether `convolve_few_places` is the faster way for a batch with so many places in each result."""
    return x.device.type == "cpu" and len(x) * places <= out_channels


def convolve_few_places(x: Tensor, weight: Tensor, bias: Tensor | None, stride: int, padding: int) -> Tensor:
    """`F.conv2d` as one product of the places' patches with the kernels. Same result to rounding.

    Where there are fewer patches than kernels, reading the kernels is most of the work, and oneDNN brings them into
    another order first, at every call: three times the time in float32, five times in bf16 (docs/benchmarks.md).
    Gradients of gradients take longer this way.

    Args:
        x: (B, in, H, W).
        weight: (out, in, K, K).
        bias: (out,).
        stride, padding: Of both sides.

    Returns:
        (B, out, H', W'), channels_last.
    """
    side = weight.shape[2]
    padded = F.pad(x.permute(0, 2, 3, 1), (0, 0, padding, padding, padding, padding))
    patches = padded.unfold(1, side, stride).unfold(2, side, stride)  # (B, H', W', in, K, K)
    if weight.is_contiguous():
        kernels = weight.flatten(1)
    else:  # channels_last: in its order, so that the kernels need not be copied
        patches, kernels = patches.permute(0, 1, 2, 4, 5, 3), weight.permute(0, 2, 3, 1).flatten(1)
    return F.linear(patches.flatten(3), kernels, bias).permute(0, 3, 1, 2)


def conv_norm(convolution: nn.Conv2d, activation: nn.Module | None = None) -> nn.Sequential:
    """A convolution, its batch norm, an activation."""
    layers = [convolution, nn.BatchNorm2d(convolution.out_channels)]
    return nn.Sequential(*layers) if activation is None else nn.Sequential(*layers, activation)


def leaky() -> nn.LeakyReLU:
    """The activation of the discriminators."""
    return nn.LeakyReLU(LEAKY_SLOPE)


def glu(x: Tensor) -> Tensor:
    """Gated linear unit over channels: (B, 2C, ...) -> (B, C, ...).

    Written out because `F.glu` returns a contiguous tensor and so drops channels_last.
    """
    value, gate = x.chunk(2, dim=1)
    return value * torch.sigmoid(gate)


def first_map(x: Tensor) -> Tensor:
    """(B, C * 4 * 4) as a generator's first feature map (B, C, 4, 4), channels_last like all that follow it."""
    x = x.unflatten(1, (-1, SMALLEST_MAP, SMALLEST_MAP))
    return x.contiguous(memory_format=torch.channels_last)


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

    fold: Tensor

    def __init__(self, in_channels: int, out_channels: int, *, bias: bool = False) -> None:
        super().__init__(in_channels, out_channels, 3, padding=1, bias=bias)
        # (16, 9): entry (i, j) of the 4x4 kernel is the sum of the mirrored 3x3 kernel's entries (i or i-1, j or j-1).
        axis = torch.tensor([[0.0, 0, 1], [0, 1, 1], [1, 1, 0], [1, 0, 0]])
        self.register_buffer("fold", torch.kron(axis, axis), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, in, H, W) -> (B, out, 2H, 2W)."""
        out_channels, in_channels = self.weight.shape[:2]
        # Transposed as one matrix, which is several times as fast as over four dimensions.
        kernel = self.weight.permute(0, 2, 3, 1).reshape(out_channels, -1).t()  # (9 * in, out)
        folded = self.fold @ kernel.reshape(9, -1)  # (16, in * out)
        folded = folded.view(4, 4, in_channels, out_channels).permute(2, 3, 0, 1)  # (in, out, 4, 4)
        folded = folded.contiguous(memory_format=torch.channels_last)
        return F.conv_transpose2d(x, folded, self.bias, stride=2, padding=1)


class Residual(nn.Module):
    """A stack of layers added to its input, then an activation. (B, C, H, W) -> same."""

    def __init__(self, *layers: nn.Module, activation: nn.Module) -> None:
        super().__init__()
        self.layers = nn.Sequential(*layers)
        self.activation = activation

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.activation(x + self.layers(x))
        return result


def bottleneck(channels: int, inner: int, activation: type[nn.ReLU] | type[nn.LeakyReLU]) -> Residual:
    """1x1 to fewer channels, 3x3, 3x3 back to all, added to the input."""

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
    """Draws the augmented sentence from a Gaussian that the sentence predicts, through a gate (FF-GAN eq. 2)."""

    def __init__(self, sentence_dim: int, condition_dim: int) -> None:
        super().__init__()
        self.linear = nn.Linear(sentence_dim, 4 * condition_dim)

    def forward(self, sentence: Tensor, noise: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Sentence (B, D) and standard normal noise (B, Z) to the sample, mean and log-variance, each (B, Z)."""
        mean, log_variance = glu(self.linear(sentence)).chunk(2, dim=1)
        return mean + torch.exp(0.5 * log_variance) * noise, mean, log_variance


class LeakyConditioningAugmentation(nn.Module):
    """Draws the condition from a Gaussian that a text or attributes predict, through a leaky ReLU (StackGAN, 3.2).

    The second half of the output is the logarithm of the standard deviation, as in StackGAN's public code:
    `augmentation_kl` takes twice it.

    Args:
        text_dim: E, width of what is given.
        condition_dim: C.
    """

    def __init__(self, text_dim: int, condition_dim: int) -> None:
        super().__init__()
        self.linear = nn.Linear(text_dim, 2 * condition_dim)
        self.activation = leaky()

    def forward(self, text: Tensor, noise: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """What is given (B, E) and standard normal noise (B, C) to the condition, mean and log sigma, each (B, C)."""
        mean, log_sigma = self.activation(self.linear(text)).chunk(2, dim=1)
        return mean + torch.exp(log_sigma) * noise, mean, log_sigma


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


class WordAttention(nn.Module):
    """The word context of each pixel (f_att of FF-GAN eq. 4, CSF-GAN eq. 3)."""

    def __init__(self, channels: int, word_dim: int, *, mask_padding: bool) -> None:
        super().__init__()
        self.project = nn.Conv1d(word_dim, channels, 1, bias=False)  # U_w of FF-GAN
        self.mask_padding = mask_padding

    def forward(self, h: Tensor, words: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Word context and attention of every pixel.

        Args:
            h: (B, C, H, W).
            words: (B, D, L).
            mask: (B, L) bool, True at words.

        Returns:
            The context (B, C, H, W) and the attention (B, L, H, W), whose words sum to 1.
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
    """Judges from a 4x4 map whether an image is real and belongs to its text or attributes (StackGAN's layout).

    The text, compressed by a layer that is not the generator's, is repeated at all 4x4 places beside the image's
    features.

    Args:
        encoder: Images (B, C, S, S) to features (B, F, 4, 4).
        features: F.
        text_dim: E, width of the sentence vectors or number of attributes.
        compressed_dim: Of the text in the head.
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
        """Those that train.activation_checkpointing recomputes."""
        return [self.encoder]

    def forward(self, images: Tensor) -> Tensor:
        """Images (B, C, S, S) in [-1, 1] to features (B, F, 4, 4)."""
        features: Tensor = self.encoder(images)
        return features

    def logits(self, features: Tensor, text: Tensor) -> Tensor:
        """Features (B, F, 4, 4) and texts (B, E) to the unbounded score that they are real and belong together, (B,).

        It is a logit where the loss is a cross-entropy.
        """
        compressed = self.compress(text)[:, :, None, None]
        tiled = compressed.expand(-1, -1, SMALLEST_MAP, SMALLEST_MAP).to(features.dtype)
        logits: Tensor = self.head(torch.cat([features, tiled], dim=1))
        return logits.flatten()
