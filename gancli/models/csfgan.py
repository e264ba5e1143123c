"""CSF-GAN: Cross-modal Semantic Fusion-based Generative Adversarial Network for Text-guided Image Inpainting (Zhang et
al., 2025).

A U-Net fills the hole of an image in one pass (section 3.1); its encoder is modulated by the sentence in the coarse
layers and by the words in the fine ones (SFM, 3.2). One discriminator judges the region of the hole against each word
of the caption (WLD, 3.3), another the whole image. Where the paper is silent or contradicts its public code,
docs/csfgan.md lists the choice.

B is the batch, S the side of the images, D the width of the text features, L the padded caption length, Z the length
of the condition, C the channels of a feature map. A hole is 1 where the image is to be filled.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gancli.data.loader import Batch
from gancli.engine.phases import AdamSettings, Phase
from gancli.losses.adversarial import (
    bce_fake,
    bce_real,
    log_probability_fake,
    log_probability_real,
    relativistic_discriminator,
    relativistic_generator,
)
from gancli.losses.image import EdgeOperator, edge_loss, feature_loss, style_loss, total_variation
from gancli.losses.matching import DamsmGammas, damsm_losses, padding_mask
from gancli.models.layers import (
    ConditioningAugmentation,
    FewPlacesConv2d,
    WordAttention,
    augmentation_kl,
    convolve_few_places,
    doublings,
    has_few_places,
    leaky,
)
from gancli.ops.boxes import Box, cut

Fusion = Literal["both", "sentence", "word", "none"]
WordPool = Literal["mean-prob", "mean-feat"]
AdversarialLoss = Literal["lsgan-ra", "bce"]
DiscriminatorInput = Literal["paired", "single"]

# --- semantic fusion module (SFM, section 3.2) ------------------------------------------------------------------

SENTENCE_LAYERS = (1, 3)  # of the encoder, counted after the first convolution ("2" and "4" in the paper)
WORD_SIDES = (8, 2)  # of the feature maps that attend to words: layers 5 and 7 at 256 pixels ("6" and "8")
MOST = 8  # times the first channels: no layer has more


class SentenceFusion(nn.Module):
    """Scales and shifts normalised features by what the condition says (eqs. 1 and 2).

    Args:
        channels: C.
        condition_dim: Z, of the augmented sentence and the noise together.
    """

    def __init__(self, channels: int, condition_dim: int) -> None:
        super().__init__()
        self.scale = nn.Linear(condition_dim, channels)
        self.shift = nn.Linear(condition_dim, channels)
        start_as_identity(self.scale, self.shift)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """(B, C, H, W) and (B, Z) -> (B, C, H, W)."""
        scale, shift = (layer(condition)[:, :, None, None] for layer in (self.scale, self.shift))
        return torch.addcmul(shift.to(x.dtype), x, scale.to(x.dtype))


class WordFusion(nn.Module):
    """Scales and shifts each place of normalised features by its word context (eqs. 3 and 2).

    Args:
        channels: C.
        word_dim: D.
    """

    def __init__(self, channels: int, word_dim: int) -> None:
        super().__init__()
        self.attention = WordAttention(channels, word_dim, mask_padding=True)
        self.scale = nn.Conv2d(channels, channels, 1)
        self.shift = nn.Conv2d(channels, channels, 1)
        start_as_identity(self.scale, self.shift)

    def forward(self, x: Tensor, words: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Features (B, C, H, W), words (B, D, L) and their mask (B, L) -> features and attention (B, L, H, W)."""
        context, attention = self.attention(x, words, mask)
        return torch.addcmul(self.shift(context), x, self.scale(context)), attention


def start_as_identity(scale: nn.Linear | nn.Conv2d, shift: nn.Linear | nn.Conv2d) -> None:
    """Scale 1 and shift 0 whatever the text, until they are trained.

    With the usual random weights the features would first be scaled by what is almost only noise.
    """
    for layer, value in ((scale, 1.0), (shift, 0.0)):
        assert layer.bias is not None
        nn.init.zeros_(layer.weight)
        nn.init.constant_(layer.bias, value)


def start_with_little_noise(augmentation: ConditioningAugmentation) -> None:
    """The augmented sentence starts with a deviation of about 0.14 (log-variance -4).

    Nothing asks it to be 1, as the KL term of other papers does, and at 1 the noise hides the sentence, whose own
    numbers are about 0.1, for thousands of steps.
    """
    _, log_variance, _, _ = augmentation.linear.bias.chunk(4)  # the gates come last; at 0 they halve
    nn.init.constant_(log_variance, -8.0)


# --- generator (section 3.1) ------------------------------------------------------------------------------------


class DilatedHalving(nn.Conv2d):
    """4x4 convolution with stride 2 and dilation 2, as the plain convolution that it is.

    At these steps every tap falls on an odd row and an odd column: it is a convolution of stride 1 over a quarter of
    the pixels. Same result to rounding, in less time: above all its gradient (docs/benchmarks.md).
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(in_channels, out_channels, 4, stride=2, padding=3, dilation=2)

    def forward(self, x: Tensor) -> Tensor:
        """(B, in, H, W) -> (B, out, H/2, W/2)."""
        odd = _OddPlaces.apply(x)
        if has_few_places(x, x[0, 0].numel() // 4, self.out_channels):
            return convolve_few_places(odd, self.weight, self.bias, 1, 0)
        return F.conv2d(odd, self.weight, self.bias)


class _OddPlaces(torch.autograd.Function):
    """Every second row and column, from the second ones on, in a frame of zeros.

    Slicing and padding would do, but torch makes the gradient of a slice contiguous, and adding that to a channels_last
    one takes five times as long as all of this.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.shape = x.shape
        ctx.format = (
            torch.channels_last
            if x.is_contiguous(memory_format=torch.channels_last)
            else torch.contiguous_format
        )
        return F.pad(x[:, :, 1::2, 1::2], (2, 1, 2, 1))

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        whole = torch.empty(
            ctx.shape, dtype=gradient.dtype, device=gradient.device, memory_format=ctx.format
        ).zero_()
        whole[:, :, 1::2, 1::2] = gradient[:, :, 2:-1, 2:-1]
        return whole


class EncoderBlock(nn.Module):
    """Halves the side by a dilated convolution, convolves, fuses the text. (B, in, H, W) -> (B, out, H/2, W/2).

    The public code's order; the paper says the 3x3 convolution comes first, which its parameter count contradicts.

    Args:
        in_channels, out_channels: Of the features.
        fusion: What modulates the normalised features; None for a plain block.
    """

    def __init__(
        self, in_channels: int, out_channels: int, fusion: SentenceFusion | WordFusion | None
    ) -> None:
        super().__init__()
        self.down = DilatedHalving(in_channels, out_channels)
        self.norm1 = nn.BatchNorm2d(out_channels)
        self.conv = nn.Conv2d(out_channels, out_channels, 3, padding=1)
        # The normalisation of eq. 2, which the fusion scales and shifts
        self.norm2 = nn.BatchNorm2d(out_channels, affine=fusion is None)
        self.fusion = fusion
        self.activation = leaky()

    def forward(
        self, x: Tensor, condition: Tensor, words: Tensor, mask: Tensor
    ) -> tuple[Tensor, Tensor | None]:
        """Features and, of a block that attends to words, the attention (B, L, H/2, W/2)."""
        h = self.norm2(self.conv(self.activation(self.norm1(self.down(x)))))
        attention = None
        if isinstance(self.fusion, SentenceFusion):
            h = self.fusion(h, condition)
        elif isinstance(self.fusion, WordFusion):
            h, attention = self.fusion(h, words, mask)
        return self.activation(h), attention


class DecoderBlock(nn.Sequential):
    """Convolves and doubles the side. (B, in, H, W) -> (B, out, 2H, 2W)."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(
            nn.ConvTranspose2d(in_channels, out_channels, 3, padding=1),
            nn.BatchNorm2d(out_channels),
            nn.ReLU(),
            *doubling(out_channels, out_channels),
        )


def doubling(in_channels: int, out_channels: int) -> list[nn.Module]:
    """Layers that double the side."""
    return [
        nn.ConvTranspose2d(in_channels, out_channels, 4, stride=2, padding=1),
        nn.BatchNorm2d(out_channels),
        nn.ReLU(),
    ]


@dataclass(frozen=True)
class GeneratorOutput:
    """What one pass of the generator gives.

    Attributes:
        raw: (B, 3, S, S) in [-1, 1], the whole image as the network paints it; outside a window it means nothing.
        composite: (B, 3, S, S), painted in the hole and the given image around it.
        attention: (B, L, H, W) per layer that attends to words, outermost first.
        mean: (B, Z) of the conditioning augmentation; None where the sentence takes no part.
        log_variance: Likewise.
    """

    raw: Tensor
    composite: Tensor
    attention: tuple[Tensor, ...]
    mean: Tensor | None
    log_variance: Tensor | None


class Generator(nn.Module):
    """The U-Net of Fig. 2, as deep as the side allows: the innermost feature map is a single place.

    Args:
        size: S, a power of two from 16 on; 256 in the paper.
        text_dim: D.
        generator_width: Channels of the first convolution; each layer doubles them, up to eight times as many.
        noise_dim: Length of z.
        condition_dim: Length of the augmented sentence.
        fusion: Which of the text the encoder is modulated by (ablation). "none" is the paper's baseline: plain blocks,
            and the condition is put beside the innermost features.
        hole_channel: The hole is a fourth channel of the input; the paper's network is only given the image, grey
            in the hole.

    Raises:
        ValueError: `size` is no such side.
    """

    def __init__(
        self,
        *,
        size: int,
        text_dim: int,
        generator_width: int,
        noise_dim: int,
        condition_dim: int,
        fusion: Fusion,
        hole_channel: bool,
    ) -> None:
        super().__init__()
        if size < 16:
            raise ValueError(f"a side of {size} is less than 16")
        self.size = size
        self.noise_dim = noise_dim
        self.condition_dim = condition_dim
        self.hole_channel = hole_channel
        depth = doublings(1, size)
        width = generator_width
        channels = [
            width * min(2**level, MOST) for level in range(depth + 1)
        ]  # of level 0, the first convolution
        condition = condition_dim + noise_dim
        word_layers = [doublings(side, size) for side in WORD_SIDES]

        def fuses(level: int) -> SentenceFusion | WordFusion | None:
            if level in word_layers:
                return WordFusion(channels[level], text_dim) if fusion in ("both", "word") else None
            if level in SENTENCE_LAYERS and fusion in ("both", "sentence"):
                return SentenceFusion(channels[level], condition)
            return None

        self.augmentation = ConditioningAugmentation(text_dim, condition_dim) if fusion != "word" else None
        if self.augmentation is not None:
            start_with_little_noise(self.augmentation)
        self.first = nn.Conv2d(3 + hole_channel, width, 3, padding=1)
        self.encoder = nn.ModuleList(
            EncoderBlock(channels[level - 1], channels[level], fuses(level)) for level in range(1, depth)
        )
        self.innermost = nn.Sequential(
            FewPlacesConv2d(channels[depth - 1], channels[depth], 4, stride=2, padding=1), leaky()
        )
        self.condition_at_bottleneck = fusion == "none"
        beside = condition if self.condition_at_bottleneck else 0
        self.outermost = nn.Sequential(*doubling(channels[depth] + beside, channels[depth - 1]))
        self.decoder = nn.ModuleList(
            DecoderBlock(2 * channels[level], channels[level - 1]) for level in range(depth - 1, 0, -1)
        )
        self.last = nn.ConvTranspose2d(2 * width, 3, 3, padding=1)

    def large_blocks(self) -> list[nn.Module]:
        """Those that train.activation_checkpointing recomputes."""
        return [*self.encoder, self.outermost, *self.decoder]

    def forward(
        self,
        images: Tensor,
        holes: Tensor,
        sentence: Tensor,
        words: Tensor,
        mask: Tensor,
        noise: Tensor,
        condition_noise: Tensor,
        window: Box | None = None,
    ) -> GeneratorOutput:
        """Fills the holes.

        Args:
            images: (B, 3, S, S) in [-1, 1]; what is in the hole does not matter.
            holes: (B, 1, S, S), 1 in the hole and 0 elsewhere.
            sentence: (B, D).
            words: (B, D, L).
            mask: (B, L) bool, True at words.
            noise: (B, N) standard normal.
            condition_noise: (B, Z) standard normal, of the conditioning augmentation.
            window: Paint this part only, which holds all holes, and decode what it takes. For eval mode: batch norms
                would see less of the maps.
        """
        known = images * (1 - holes)
        condition, mean, log_variance = sentence, None, None
        if self.augmentation is not None:
            augmented, mean, log_variance = self.augmentation(sentence, condition_noise)
            condition = torch.cat([augmented, noise], dim=1)  # c-bar of eq. 1
        h = self.first(torch.cat([known, holes], dim=1) if self.hole_channel else known)  # (B, C, S, S)
        skips = [h]
        attentions = []
        for block in self.encoder:
            h, attention = block(h, condition, words, mask)
            skips.append(h)
            if attention is not None:
                attentions.append(attention)
        h = self.innermost(h)  # (B, 8C, 1, 1)
        if self.condition_at_bottleneck:
            h = torch.cat([h, condition[:, :, None, None].to(h.dtype)], dim=1)
        h = self.outermost(h)
        whole = Box.of(images)
        parts = decoded_parts(window or whole, whole, len(skips))
        has = Box.of(h)
        for block in self.decoder:
            skip, part = skips.pop(), parts.pop()
            h = block(torch.cat([cut(h, part.within(has)), cut(skip, part)], dim=1))
            has = part.doubled()
        skip, part = skips.pop(), parts.pop()
        h = self.last(torch.cat([cut(h, part.within(has)), cut(skip, part)], dim=1))
        raw = torch.tanh(h).float()
        if part != whole:
            raw = F.pad(raw, (part.left, whole.right - part.right, part.top, whole.bottom - part.bottom))
        return GeneratorOutput(raw, known + raw * holes, tuple(attentions), mean, log_variance)


def decoded_parts(window: Box, whole: Box, levels: int) -> list[Box]:
    """What the decoder has to read at each level to paint a window right, the outermost level first.

    Args:
        window: Of the image.
        whole: The image.
        levels: Of the U-Net that have a skip connection.
    """
    parts = [window.grown(1, whole)]  # the last convolution reads a place more on every side
    for _ in range(levels - 1):
        whole = whole.halved()
        part = parts[-1].halved()
        parts.append(part.grown(2, whole))  # a place for the doubling, one for the convolution before it
    return parts


# --- word-level local discriminator (WLD, section 3.3) ----------------------------------------------------------


def hole_boxes(holes: Tensor) -> Tensor:
    """The bounding box of each hole. (B, 1, S, S) -> (B, 4): left, top, right, bottom, in pixels, ends excluded."""
    ends = []
    for dim in (2, 3):  # over the rows, which leaves columns, then the reverse
        line = (holes > 0.5).any(dim=dim)[:, 0].to(torch.uint8)  # (B, S)
        first = line.argmax(dim=1)
        ends.append((first, line.shape[1] - line.flip(1).argmax(dim=1)))
    (left, right), (top, bottom) = ends
    return torch.stack([left, top, right, bottom], dim=1)


def box_of_all(boxes: Tensor, side: int) -> Box:
    """The box that holds all boxes (B, 4) of images of that side, in steps of 32 pixels.

    The steps are for cuDNN, which tunes itself to each new shape.
    """
    left, top = boxes[:, :2].amin(dim=0).tolist()
    right, bottom = boxes[:, 2:].amax(dim=0).tolist()
    return Box(left, top, right, bottom).rounded(32, Box(0, 0, side, side))


def crop_boxes(images: Tensor, boxes: Tensor, side: int) -> Tensor:
    """Each image's box, resized bilinearly to a square of `side` pixels; a box of that size comes out as it is.

    Args:
        images: (B, 3, S, S).
        boxes: (B, 4) as `hole_boxes` gives them.
        side: Of the result.

    Returns:
        (B, 3, side, side) float32, differentiable in the images.
    """
    size = images.shape[-1]
    left, top, right, bottom = boxes.float().unbind(dim=1)
    middles = (torch.arange(side, device=images.device) + 0.5) / side  # of the result's pixels, in [0, 1]

    def places(start: Tensor, stop: Tensor) -> Tensor:
        return 2 * (start[:, None] + middles * (stop - start)[:, None]) / size - 1  # (B, side) in [-1, 1]

    x, y = places(left, right), places(top, bottom)
    grid = torch.stack(
        [x[:, None, :].expand(-1, side, -1), y[:, :, None].expand(-1, -1, side)], dim=3
    )  # (B, side, side, 2)
    with torch.autocast(images.device.type, enabled=False):
        return F.grid_sample(images.float(), grid, padding_mode="border", align_corners=False)


class InstanceNorm(nn.InstanceNorm2d):
    """Torch's own, which returns contiguous maps, brought back to channels_last where they came so.

    Activation and convolution are faster on that, and so are their gradients.
    """

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        normalised = super().forward(x)
        channels_last = x.is_contiguous(memory_format=torch.channels_last)
        return normalised.contiguous(memory_format=torch.channels_last) if channels_last else normalised


def norm_convolutions(channels: Sequence[int], strides: Sequence[int]) -> list[nn.Module]:
    """4x4 convolutions with leaky ReLU between them, all inner ones after instance norm; the last one is bare."""
    layers: list[nn.Module] = []
    for number, stride in enumerate(strides):
        layers.append(nn.Conv2d(channels[number], channels[number + 1], 4, stride=stride, padding=1))
        if 0 < number < len(strides) - 1:
            layers.append(InstanceNorm(channels[number + 1]))
        if number < len(strides) - 1:
            layers.append(leaky())
    return layers


class WordLocalDiscriminator(nn.Module):
    """Judges the region of the hole against each word of its caption; all in log space.

    Args:
        text_dim: D.
        discriminator_width: Channels of the first convolution.
        word_pool: "mean-prob": mean of a word's probabilities over the positions, eq. 5 but for a constant (its sum
            over the N positions, as printed, is no probability). "mean-feat": one probability of the mean features
            (public code).
    """

    def __init__(self, *, text_dim: int, discriminator_width: int, word_pool: WordPool) -> None:
        super().__init__()
        width, features = discriminator_width, MOST * discriminator_width
        self.word_pool = word_pool
        self.encoder = nn.Sequential(
            *norm_convolutions([3, width, 2 * width, 4 * width, features], [2, 2, 2, 2])
        )
        self.weights = nn.Linear(text_dim, features + 1)  # W_i and b_i of eq. 4, the bias of a word its own

    def large_blocks(self) -> list[nn.Module]:
        """Those that train.activation_checkpointing recomputes."""
        return [self.encoder]

    def forward(self, regions: Tensor, words: Tensor, mask: Tensor) -> Tensor:
        """The log-probability that the regions are real and show the words (log of eq. 5).

        Args:
            regions: (B, 3, R, R) in [-1, 1], R at least 16.
            words: (B, D, L).
            mask: (B, L) bool, True at words.

        Returns:
            (B,) float32 in [-inf, 0].
        """
        features = self.encoder(regions).flatten(2)  # (B, F, N)
        if self.word_pool == "mean-feat":
            features = features.mean(dim=2, keepdim=True)
        with torch.autocast(regions.device.type, enabled=False):
            words, features = words.float(), features.float()
            weights = self.weights(words.transpose(1, 2))  # (B, L, F + 1)
            logits = weights[..., :-1] @ features + weights[..., -1:]  # (B, L, N)
            places = logits.shape[2]
            # log of the mean probability, without a product or a sum of small numbers
            by_word = F.logsigmoid(logits).logsumexp(dim=2) - torch.tensor(float(places)).log()  # (B, L)
            return (word_importance(words, mask) * by_word).sum(dim=1)


def word_importance(words: Tensor, mask: Tensor) -> Tensor:
    """How close each word is to the caption's mean word, alpha of eq. 5.

    Args:
        words: (B, D, L).
        mask: (B, L) bool, True at words.

    Returns:
        (B, L); each caption's sum to 1, padding has 0.
    """
    words = words * mask[:, None]
    mean = words.sum(dim=2) / mask.sum(dim=1, keepdim=True)  # (B, D)
    scores = torch.einsum("bdl,bd->bl", words, mean)
    return scores.masked_fill(~mask, -torch.inf).softmax(dim=1)


# --- global discriminator (section 3.4; its public code) --------------------------------------------------------


class Discriminator(nn.Module):
    """Judges overlapping patches of an image, given another one to compare it with.

    Args:
        discriminator_width: Channels of the first convolution.
        discriminator_input: "paired" shows the other image in three more channels: the original beside a filled one,
            and the filled one beside the original (public code). "single" shows the image alone (the paper's D(I)).
    """

    def __init__(self, *, discriminator_width: int, discriminator_input: DiscriminatorInput) -> None:
        super().__init__()
        self.paired = discriminator_input == "paired"
        width = discriminator_width
        self.layers = nn.Sequential(
            *norm_convolutions(
                [6 if self.paired else 3, width, 2 * width, 4 * width, 8 * width, 1], [2, 2, 2, 1, 1]
            )
        )

    def large_blocks(self) -> list[nn.Module]:
        """Those that train.activation_checkpointing recomputes."""
        return [self.layers]

    def forward(self, real: Tensor, fake: Tensor) -> tuple[Tensor, Tensor]:
        """Scores of original and filled images, in one pass: no statistics run over the batch.

        Args:
            real: (B, 3, S, S) in [-1, 1].
            fake: The same, filled.

        Returns:
            Of the original and of the filled images, each (B, 1, P, P), unbounded.
        """
        images = torch.cat([real, fake])
        if self.paired:
            images = torch.cat([images, torch.cat([fake, real])], dim=1)
        by_real, by_fake = self.layers(images).chunk(2)
        return by_real, by_fake


# --- losses and training step (section 3.4) ---------------------------------------------------------------------


class TextEncoder(Protocol):
    """Tokens (B, L) and lengths (B,) to words (B, D, L) and sentence (B, D)."""

    def __call__(self, tokens: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]: ...


class ImageEncoder(Protocol):
    """Images (B, 3, S, S) in [-1, 1] to regions (B, D, H, W) and code (B, D), differentiably."""

    def __call__(self, images: Tensor) -> tuple[Tensor, Tensor]: ...


class PerceptualNetwork(Protocol):
    """The features of some layers, of images (B, 3, H, W) in [-1, 1] and of copies that differ in a box only."""

    def surroundings(self, box: Box, whole: Box) -> Box:
        """What of images decides all features that change where the images change in a box."""

    def compare(self, real: Tensor, fake: Tensor, box: Box) -> tuple[Sequence[Tensor], Sequence[Tensor]]:
        """Of both, differentiable in the copies. The box holds all images' differences."""


@dataclass(frozen=True)
class LossWeights:
    """Weights of the terms of the generator's loss (eqs. 8 and 12); a term of weight 0 is not computed.

    Attributes:
        reconstruction: lambda_rec.
        perceptual: lambda_per.
        variation: lambda_tv.
        edge: lambda_edge.
        adversarial: lambda_G, of both discriminators' terms.
        damsm: Of the text-matching loss, which the paper names in section 3.1 only (public code).
        style: Of the Gram matrices (public code of an earlier state); not in the paper.
        kl: Of the conditioning augmentation; not in the paper.
    """

    reconstruction: float
    perceptual: float
    variation: float
    edge: float
    adversarial: float
    damsm: float
    style: float
    kl: float


@dataclass(frozen=True)
class Verdict:
    """What the discriminators say of one batch, in one pass for both phases.

    Attributes:
        real: Scores of the originals, (B, 1, P, P).
        fake: Scores of the filled images.
        local_real: Log-probabilities of the originals' regions and words, (B,); None without word discriminator.
        local_fake: Of the filled images' ones.
        local_wrong: Of the originals' regions and other captions' words; None where these are not asked for.
    """

    real: Tensor
    fake: Tensor
    local_real: Tensor | None = None
    local_fake: Tensor | None = None
    local_wrong: Tensor | None = None


@dataclass(frozen=True)
class Step:
    """What both phases of one training step share."""

    batch: Batch
    images: Tensor  # (B, 3, S, S)
    holes: Tensor  # (B, 1, S, S)
    boxes: Tensor  # (B, 4)
    sentence: Tensor  # (B, D)
    words: Tensor  # (B, D, L)
    mask: Tensor  # (B, L)
    output: GeneratorOutput
    judged: Tensor  # (B, 3, S, S), the filled images cut off the generator: what the verdict was given on
    verdict: Verdict


def as_term_of(original: Tensor, term: Tensor, copy: Tensor) -> Tensor:
    """A term of a detached copy, as a term of the original: same value, same gradient by the original.

    The gradient is taken at once, by the copy alone; the term's graph stays, for another phase.
    """
    # Under autocast products of the gradient would be taken in bf16 too. torch.autograd.grad would do, but torch cannot
    # count its FLOP.
    with torch.autocast(copy.device.type, enabled=False):
        term.backward(inputs=[copy], retain_graph=True)
    gradient, copy.grad = copy.grad, None
    assert gradient is not None
    return term.detach() + (gradient * (original - copy.detach())).sum()  # the last is 0


class CSFGAN:
    """CSF-GAN as the engine trains it: holes are filled and judged once per step, the generator learns from what the
    discriminators of the step before say, then they learn from the same.

    Args:
        generator: To be trained.
        discriminator: Of whole images.
        word_discriminator: Of the holes' regions and words; None trains without (ablation).
        text_encoder: Frozen.
        image_encoder: Of the matching loss, frozen; None where its weight is 0.
        perceptual_network: Frozen network of the perceptual and the style loss; None where their weights are 0.
        weights: Of the generator's terms.
        edge_operator: Operator of the edge loss.
        gan: "lsgan-ra": relativistic least squares on the whole image (public code); "bce": eqs. 10 and 11.
        word_mismatch: The word discriminator also learns that a real region does not show the next caption's words
            (TAGAN; neither the paper nor its code).
        gammas: Smoothing factors of the matching loss.
        adam: Learning rates and momenta.
    """

    averaged = ("generator",)

    def __init__(
        self,
        generator: Generator,
        discriminator: Discriminator,
        word_discriminator: WordLocalDiscriminator | None,
        text_encoder: TextEncoder,
        image_encoder: ImageEncoder | None = None,
        perceptual_network: PerceptualNetwork | None = None,
        *,
        weights: LossWeights,
        edge_operator: EdgeOperator,
        gan: AdversarialLoss,
        word_mismatch: bool,
        gammas: DamsmGammas,
        adam: AdamSettings,
    ) -> None:
        if weights.damsm > 0 and image_encoder is None:
            raise ValueError("the matching loss compares with an image encoder, here is none")
        if weights.perceptual + weights.style > 0 and perceptual_network is None:
            raise ValueError("the perceptual and the style loss compare features, here is no network of them")
        self.generator = generator
        self.discriminator = discriminator
        self.word_discriminator = word_discriminator
        self.text_encoder = text_encoder
        self.image_encoder = image_encoder
        self.perceptual_network = perceptual_network
        self.weights = weights
        self.edge_operator: EdgeOperator = edge_operator
        self.gan = gan
        self.word_mismatch = word_mismatch
        self.gammas = gammas
        discriminators: dict[str, nn.Module] = {"discriminator": discriminator}
        if word_discriminator is not None:
            discriminators["word_discriminator"] = word_discriminator
        self.networks: dict[str, nn.Module] = {"generator": generator, **discriminators}
        self.phases = [
            Phase.adam(
                "generator",
                {"generator": generator},
                self.generator_terms,
                lr=adam.generator_lr,
                betas=adam.betas,
            ),
            Phase.adam(
                "discriminator",
                discriminators,
                self.discriminator_terms,
                lr=adam.discriminator_lr,
                betas=adam.betas,
            ),
        ]

    def begin(self, batch: Batch) -> Step:
        """Encodes the captions, fills the holes and has them judged, once for both phases."""
        images, holes = batch.images[-1], batch.holes
        assert holes is not None, "an inpainting batch has holes"
        longest = int(batch.lengths.max())
        with torch.no_grad():
            words, sentence = self.text_encoder(batch.tokens[:, :longest], batch.lengths)
        mask = padding_mask(batch.lengths, longest)
        noise = torch.randn(len(images), self.generator.noise_dim, device=images.device)
        condition_noise = torch.randn(len(images), self.generator.condition_dim, device=images.device)
        output = self.generator(images, holes, sentence, words, mask, noise, condition_noise)
        boxes = hole_boxes(holes)
        judged = output.composite.detach().requires_grad_(self.weights.adversarial > 0)
        verdict = self.judge(images, judged, boxes, words, mask)
        return Step(batch, images, holes, boxes, sentence, words, mask, output, judged, verdict)

    def judge(self, real: Tensor, fake: Tensor, boxes: Tensor, words: Tensor, mask: Tensor) -> Verdict:
        """Both discriminators' opinion of originals and filled images (B, 3, S, S) with holes in `boxes` (B, 4)."""
        by_real, by_fake = self.discriminator(real, fake)
        if self.word_discriminator is None:
            return Verdict(by_real, by_fake)
        # The holes' regions at half the side, as the paper's central hole has it
        regions = [crop_boxes(images, boxes, real.shape[-1] // 2) for images in (real, fake)]
        captions, masks = [words] * 2, [mask] * 2
        if self.word_mismatch:
            regions.append(regions[0])
            captions.append(words.roll(-1, dims=0))
            masks.append(mask.roll(-1, dims=0))
        scores = self.word_discriminator(torch.cat(regions), torch.cat(captions), torch.cat(masks))
        return Verdict(by_real, by_fake, *scores.chunk(len(regions)))

    def generator_terms(self, step: Step) -> dict[str, Tensor]:
        """The terms of eq. 12, each with its weight."""
        weights, real, fake = self.weights, step.images, step.output.composite
        terms = {"reconstruction": weights.reconstruction * F.l1_loss(fake, real)}
        if weights.perceptual + weights.style > 0:
            assert self.perceptual_network is not None
            box, whole = box_of_all(step.boxes, real.shape[-1]), Box.of(real)
            # What differs nowhere adds nothing to a mean of differences; Gram matrices are of all features
            part = whole if weights.style > 0 else self.perceptual_network.surroundings(box, whole)
            wanted, painted = self.perceptual_network.compare(
                cut(real, part), cut(fake, part), box.within(part)
            )
            if weights.perceptual > 0:
                share = part.area / whole.area
                terms["perceptual"] = weights.perceptual * share * feature_loss(wanted, painted)
            if weights.style > 0:
                terms["style"] = weights.style * style_loss(wanted, painted)
        if weights.variation > 0:
            terms["variation"] = weights.variation * total_variation(fake, step.holes)
        if weights.edge > 0:
            terms["edge"] = weights.edge * edge_loss(real, fake, self.edge_operator)
        if weights.damsm > 0:
            assert self.image_encoder is not None
            by_words, by_sentence = damsm_losses(
                *self.image_encoder(fake),
                step.words,
                step.sentence,
                step.mask,
                step.batch.class_ids,
                self.gammas,
            )
            terms["words"] = weights.damsm * by_words
            terms["sentence"] = weights.damsm * by_sentence
        if weights.kl > 0 and step.output.mean is not None and step.output.log_variance is not None:
            terms["kl"] = weights.kl * augmentation_kl(step.output.mean, step.output.log_variance)
        if weights.adversarial > 0:
            by_image = self.generator_adversarial_terms(step)
            terms |= {name: weights.adversarial * term for name, term in by_image.items()}
        return terms

    def generator_adversarial_terms(self, step: Step) -> dict[str, Tensor]:
        """L_G of eq. 10, a term for each discriminator, without weight."""
        verdict = step.verdict
        if self.gan == "bce":
            terms = {"adversarial": bce_real(verdict.fake)}
        else:
            terms = {"adversarial": relativistic_generator(verdict.real, verdict.fake)}
        if verdict.local_fake is not None:
            terms["local"] = log_probability_real(verdict.local_fake)
        return {name: as_term_of(step.output.composite, term, step.judged) for name, term in terms.items()}

    def discriminator_terms(self, step: Step) -> dict[str, Tensor]:
        """L_D of eq. 11, a term for each discriminator."""
        verdict = step.verdict
        if self.gan == "bce":
            terms = {"adversarial": bce_real(verdict.real) + bce_fake(verdict.fake)}
        else:
            terms = {"adversarial": relativistic_discriminator(verdict.real, verdict.fake)}
        if verdict.local_real is not None and verdict.local_fake is not None:
            wrong = [verdict.local_fake]
            if verdict.local_wrong is not None:
                wrong.append(verdict.local_wrong)
            reject = torch.stack([log_probability_fake(score) for score in wrong]).mean()
            terms["local"] = (log_probability_real(verdict.local_real) + reject) / 2
        return terms
