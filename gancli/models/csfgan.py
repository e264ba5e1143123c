"""CSF-GAN: Cross-modal Semantic Fusion-based Generative Adversarial Network for Text-guided Image Inpainting (Zhang et
al., 2025).

A U-Net fills the hole of an image in one pass (section 3.1). Its encoder is modulated by the sentence in the coarse
layers and by the words in the fine ones (SFM, 3.2). One discriminator scores the region of the hole against each word
of the caption (WLD, 3.3), another scores the whole image. docs/csfgan.md lists the choices where the paper is silent or
contradicts its public code.

B is the batch, S the side of the images, D the width of the text features, L the padded caption length, Z the length
of the condition, C the channels of a feature map. A hole map is 1 where the image is to be filled.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

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
from gancli.losses.matching import DamsmGammas, damsm_losses
from gancli.models.layers import (
    ConditionalDiscriminator,
    ConditioningAugmentation,
    ImageEncoder,
    TextEncoder,
    WordAttention,
    augmentation_kl,
    doublings,
    leaky,
    read_captions,
)
from gancli.ops.boxes import Box, cut
from gancli.ops.convolutions import StridedDilatedConv2d, UnfoldConv2d

Fusion = Literal["both", "sentence", "word", "none"]
WordPool = Literal["mean-prob", "mean-feat"]
AdversarialLoss = Literal["lsgan-ra", "bce"]
DiscriminatorInput = Literal["paired", "single"]

# --- semantic fusion module (SFM, section 3.2) ------------------------------------------------------------------

SENTENCE_LAYERS = (1, 3)  # encoder layers, counted after the first convolution ("2" and "4" in the paper)
WORD_SIDES = (8, 2)  # sides of the maps that attend to words: layers 5 and 7 at 256 pixels ("6" and "8")
MAX_MULTIPLE = 8  # most channels of a layer, over those of the first


class SentenceFusion(nn.Module):
    """Scale and shift of each channel, predicted from the condition (eqs. 1 and 2).

    The condition, of length Z, is the augmented sentence and the noise together.
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
    """Scale and shift of each pixel, predicted from its word context (eqs. 3 and 2)."""

    def __init__(self, channels: int, word_dim: int) -> None:
        super().__init__()
        self.attention = WordAttention(channels, word_dim, mask_padding=True)
        self.scale = nn.Conv2d(channels, channels, 1)
        self.shift = nn.Conv2d(channels, channels, 1)
        start_as_identity(self.scale, self.shift)

    def forward(self, x: Tensor, words: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Map features (B, C, H, W), words (B, D, L) and mask (B, L) to features and attention (B, L, H, W)."""
        context, attention = self.attention(x, words, mask)
        return torch.addcmul(self.shift(context), x, self.scale(context)), attention


def start_as_identity(scale: nn.Linear | nn.Conv2d, shift: nn.Linear | nn.Conv2d) -> None:
    """Initialise two layers to predict scale 1 and shift 0 for any text.

    With random weights the features would first be scaled by little more than noise.
    """
    for layer, value in ((scale, 1.0), (shift, 0.0)):
        assert layer.bias is not None
        nn.init.zeros_(layer.weight)
        nn.init.constant_(layer.bias, value)


def start_with_little_noise(augmentation: ConditioningAugmentation) -> None:
    """Initialise the augmented sentence to a deviation of about 0.14 (log-variance -4).

    No KL term pulls it to 1 here. At 1 the noise would hide the sentence, with values around 0.1, for thousands of
    steps.
    """
    _, log_variance, _, _ = augmentation.linear.bias.chunk(4)  # the gates come last and halve at 0
    nn.init.constant_(log_variance, -8.0)


# --- generator (section 3.1) ------------------------------------------------------------------------------------


class EncoderBlock(nn.Module):
    """Dilated convolution that halves the side, 3x3 convolution, fusion of the text.

    This is the public code's order. The paper puts the 3x3 convolution first, which its parameter count contradicts.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the result.
        fusion: Fusion that modulates the normalised features; None for a plain block.
    """

    def __init__(
        self, in_channels: int, out_channels: int, fusion: SentenceFusion | WordFusion | None
    ) -> None:
        super().__init__()
        self.down = StridedDilatedConv2d(in_channels, out_channels)
        self.norm1 = nn.BatchNorm2d(out_channels)
        self.conv = nn.Conv2d(out_channels, out_channels, 3, padding=1)
        self.norm2 = nn.BatchNorm2d(out_channels, affine=fusion is None)  # a fusion scales and shifts itself
        self.fusion = fusion
        self.activation = leaky()

    def forward(
        self, x: Tensor, condition: Tensor, words: Tensor, mask: Tensor
    ) -> tuple[Tensor, Tensor | None]:
        """Map (B, in, H, W) to features (B, out, H/2, W/2) and, with word fusion, the attention (B, L, H/2, W/2)."""
        h = self.norm2(self.conv(self.activation(self.norm1(self.down(x)))))
        attention = None
        if isinstance(self.fusion, SentenceFusion):
            h = self.fusion(h, condition)
        elif isinstance(self.fusion, WordFusion):
            h, attention = self.fusion(h, words, mask)
        return self.activation(h), attention


class DecoderBlock(nn.Sequential):
    """Convolution and transposed convolution. (B, in, H, W) -> (B, out, 2H, 2W)."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(
            nn.ConvTranspose2d(in_channels, out_channels, 3, padding=1),
            nn.BatchNorm2d(out_channels),
            nn.ReLU(),
            *deconv_norm(out_channels, out_channels),
        )


def deconv_norm(in_channels: int, out_channels: int) -> list[nn.Module]:
    """Build a transposed convolution that doubles the side, batch norm and ReLU."""
    return [
        nn.ConvTranspose2d(in_channels, out_channels, 4, stride=2, padding=1),
        nn.BatchNorm2d(out_channels),
        nn.ReLU(),
    ]


@dataclass(frozen=True)
class GeneratorOutput:
    """Result of one pass of the generator.

    Attributes:
        raw: Generated image (B, 3, S, S) in [-1, 1], undefined outside a window.
        composite: Given image with the generated one in the hole, (B, 3, S, S).
        attention: Attention (B, L, H, W) of each layer with word fusion, outermost first.
        mean: Mean (B, Z) of the conditioning augmentation; None without sentence.
        log_variance: Log-variance (B, Z) of the conditioning augmentation; None without sentence.
    """

    raw: Tensor
    composite: Tensor
    attention: tuple[Tensor, ...]
    mean: Tensor | None
    log_variance: Tensor | None


class Generator(nn.Module):
    """U-Net of Fig. 2, as deep as the side allows: the innermost feature map is a single pixel.

    Args:
        size: S, a power of two of at least 16; 256 in the paper.
        text_dim: D.
        generator_width: Channels of the first convolution. Each layer doubles them, up to eight times as many.
        noise_dim: Length of z.
        condition_dim: Length of the augmented sentence.
        fusion: Text that modulates the encoder (ablation). "none" is the paper's baseline: plain blocks, with the
            condition concatenated to the innermost features.
        hole_channel: Give the hole as a fourth input channel. The paper gives the image only, grey in the hole.

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
        channels = [width * min(2**level, MAX_MULTIPLE) for level in range(depth + 1)]  # 0: first convolution
        joined_dim = condition_dim + noise_dim  # length of c-bar of eq. 1
        word_layers = [doublings(side, size) for side in WORD_SIDES]

        def fusion_of(level: int) -> SentenceFusion | WordFusion | None:
            if level in word_layers:
                return WordFusion(channels[level], text_dim) if fusion in ("both", "word") else None
            if level in SENTENCE_LAYERS and fusion in ("both", "sentence"):
                return SentenceFusion(channels[level], joined_dim)
            return None

        self.augmentation = ConditioningAugmentation(text_dim, condition_dim) if fusion != "word" else None
        if self.augmentation is not None:
            start_with_little_noise(self.augmentation)
        self.first = nn.Conv2d(3 + hole_channel, width, 3, padding=1)
        self.encoder = nn.ModuleList(
            EncoderBlock(channels[level - 1], channels[level], fusion_of(level)) for level in range(1, depth)
        )
        self.innermost = nn.Sequential(
            UnfoldConv2d(channels[depth - 1], channels[depth], 4, stride=2, padding=1), leaky()
        )
        self.condition_at_bottleneck = fusion == "none"
        inner = channels[depth] + (joined_dim if self.condition_at_bottleneck else 0)
        self.outermost = nn.Sequential(*deconv_norm(inner, channels[depth - 1]))
        self.decoder = nn.ModuleList(
            DecoderBlock(2 * channels[level], channels[level - 1]) for level in range(depth - 1, 0, -1)
        )
        self.last = nn.ConvTranspose2d(2 * width, 3, 3, padding=1)

    def large_blocks(self) -> list[nn.Module]:
        """Return the modules that train.activation_checkpointing recomputes."""
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
        """Fill the holes.

        Args:
            images: (B, 3, S, S) in [-1, 1]. The content of the hole does not matter.
            holes: (B, 1, S, S), 1 in the hole and 0 elsewhere.
            sentence: (B, D).
            words: (B, D, L).
            mask: (B, L) bool, True at words.
            noise: (B, N) standard normal.
            condition_noise: (B, Z) standard normal, for the conditioning augmentation.
            window: Box that holds all holes. Only this part is decoded, which saves time. For eval mode only, because
                batch norms would see less of the maps.
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
        decoded = Box.of(h)
        for block in self.decoder:
            skip, part = skips.pop(), parts.pop()
            h = block(torch.cat([cut(h, part.within(decoded)), cut(skip, part)], dim=1))
            decoded = part.doubled()
        skip, part = skips.pop(), parts.pop()
        h = self.last(torch.cat([cut(h, part.within(decoded)), cut(skip, part)], dim=1))
        raw = torch.tanh(h).float()
        if part != whole:
            raw = F.pad(raw, (part.left, whole.right - part.right, part.top, whole.bottom - part.bottom))
        return GeneratorOutput(raw, known + raw * holes, tuple(attentions), mean, log_variance)


def decoded_parts(window: Box, whole: Box, levels: int) -> list[Box]:
    """Return the parts that the decoder reads to paint a window exactly, one per skip connection, outermost first."""
    parts = [window.grown(1, whole)]  # the last convolution reads one pixel more on every side
    for _ in range(levels - 1):
        whole = whole.halved()
        part = parts[-1].halved()
        parts.append(part.grown(2, whole))  # one pixel for the upsampling, one for the convolution
    return parts


# --- word-level local discriminator (WLD, section 3.3) ----------------------------------------------------------


def hole_boxes(holes: Tensor) -> Tensor:
    """Return each hole's bounding box. (B, 1, S, S) -> (B, 4): left, top, right, bottom in pixels, ends excluded."""
    ends = []
    for dim in (2, 3):  # over the rows, which leaves columns, then the reverse
        line = (holes > 0.5).any(dim=dim)[:, 0].to(torch.uint8)  # (B, S)
        first = line.argmax(dim=1)
        ends.append((first, line.shape[1] - line.flip(1).argmax(dim=1)))
    (left, right), (top, bottom) = ends
    return torch.stack([left, top, right, bottom], dim=1)


def box_of_all(boxes: Tensor, side: int) -> Box:
    """Return the box that holds all boxes (B, 4) of images of a side, rounded outwards to steps of 32 pixels."""
    # Few shapes, because cuDNN tunes itself to each new one
    left, top = boxes[:, :2].amin(dim=0).tolist()
    right, bottom = boxes[:, 2:].amax(dim=0).tolist()
    return Box(left, top, right, bottom).rounded(32, Box(0, 0, side, side))


def crop_boxes(images: Tensor, boxes: Tensor, side: int) -> Tensor:
    """Crop each image to its box and resize it bilinearly to a square. A box of that size keeps its pixels.

    Args:
        images: (B, 3, S, S).
        boxes: (B, 4) from `hole_boxes`.
        side: Side of the result.

    Returns:
        (B, 3, side, side) float32, differentiable in the images.
    """
    size = images.shape[-1]
    left, top, right, bottom = boxes.float().unbind(dim=1)
    # Pixel centres of the result, in [0, 1]
    middles = (torch.arange(side, device=images.device) + 0.5) / side

    def coordinates(start: Tensor, stop: Tensor) -> Tensor:
        return 2 * (start[:, None] + middles * (stop - start)[:, None]) / size - 1  # (B, side) in [-1, 1]

    x, y = coordinates(left, right), coordinates(top, bottom)
    # (B, side, side, 2)
    grid = torch.stack([x[:, None, :].expand(-1, side, -1), y[:, :, None].expand(-1, -1, side)], dim=3)
    with torch.autocast(images.device.type, enabled=False):
        return F.grid_sample(images.float(), grid, padding_mode="border", align_corners=False)


class InstanceNorm(nn.InstanceNorm2d):
    """Instance norm that keeps channels_last, which torch's makes contiguous. The layers after it are faster so."""

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        normalised = super().forward(x)
        channels_last = x.is_contiguous(memory_format=torch.channels_last)
        return normalised.contiguous(memory_format=torch.channels_last) if channels_last else normalised


def norm_convolutions(channels: Sequence[int], strides: Sequence[int]) -> list[nn.Module]:
    """Build 4x4 convolutions with leaky ReLU between them and instance norm after all but the first and the last."""
    layers: list[nn.Module] = []
    for number, stride in enumerate(strides):
        layers.append(nn.Conv2d(channels[number], channels[number + 1], 4, stride=stride, padding=1))
        if 0 < number < len(strides) - 1:
            layers.append(InstanceNorm(channels[number + 1]))
        if number < len(strides) - 1:
            layers.append(leaky())
    return layers


class WordLocalDiscriminator(nn.Module):
    """Discriminator of the hole's region against each word of the caption, in log space.

    Args:
        text_dim: D.
        discriminator_width: Channels of the first convolution.
        word_pool: "mean-prob": mean of a word's probabilities over the positions, eq. 5 but for a constant (its sum
            over the N positions, as printed, is no probability). "mean-feat": one probability of the mean features
            (public code).
    """

    def __init__(self, *, text_dim: int, discriminator_width: int, word_pool: WordPool) -> None:
        super().__init__()
        width, features = discriminator_width, MAX_MULTIPLE * discriminator_width
        self.word_pool = word_pool
        self.encoder = nn.Sequential(
            *norm_convolutions([3, width, 2 * width, 4 * width, features], [2, 2, 2, 2])
        )
        self.weights = nn.Linear(text_dim, features + 1)  # W_i and b_i of eq. 4, of each word

    def large_blocks(self) -> list[nn.Module]:
        """Return the modules that train.activation_checkpointing recomputes."""
        return [self.encoder]

    def forward(self, regions: Tensor, words: Tensor, mask: Tensor) -> Tensor:
        """Return the log-probability that the regions are real and show the words (log of eq. 5).

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
            positions = torch.tensor(float(logits.shape[2]))
            # Log of the mean probability, without a product or a sum of small numbers
            by_word: Tensor = F.logsigmoid(logits).logsumexp(dim=2) - positions.log()  # (B, L)
            return (word_importance(words, mask) * by_word).sum(dim=1)


def word_importance(words: Tensor, mask: Tensor) -> Tensor:
    """Return the similarity of each word to the caption's mean word, alpha of eq. 5.

    Args:
        words: (B, D, L).
        mask: (B, L) bool, True at words.

    Returns:
        (B, L). The values of a caption sum to 1, padding has 0.
    """
    words = words * mask[:, None]
    mean = words.sum(dim=2) / mask.sum(dim=1, keepdim=True)  # (B, D)
    scores = torch.einsum("bdl,bd->bl", words, mean)
    return scores.masked_fill(~mask, -torch.inf).softmax(dim=1)


# --- global discriminator (section 3.4; its public code) --------------------------------------------------------


class Discriminator(nn.Module):
    """Discriminator of overlapping patches of an image, compared with another image.

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
        """Return the modules that train.activation_checkpointing recomputes."""
        return [self.layers]

    def forward(self, real: Tensor, fake: Tensor) -> tuple[Tensor, Tensor]:
        """Score original and filled images in one pass. No statistics run over the batch.

        Args:
            real: Original images (B, 3, S, S) in [-1, 1].
            fake: Filled images (B, 3, S, S).

        Returns:
            Unbounded scores of original and of filled images, each (B, 1, P, P).
        """
        images = torch.cat([real, fake])
        if self.paired:
            images = torch.cat([images, torch.cat([fake, real])], dim=1)
        by_real, by_fake = self.layers(images).chunk(2)
        return by_real, by_fake


# --- losses and training step (section 3.4) ---------------------------------------------------------------------


class PerceptualNetwork(Protocol):
    """Frozen network whose features are compared, of images (B, 3, H, W) in [-1, 1] that differ in a box only."""

    def surroundings(self, box: Box, whole: Box) -> Box:
        """Return the part of the images that the features depending on a box need."""

    def compare(self, real: Tensor, fake: Tensor, box: Box) -> tuple[Sequence[Tensor], Sequence[Tensor]]:
        """Return the features of both, differentiable in `fake`. All differences lie in the box."""


@dataclass(frozen=True)
class LossWeights:
    """Weights of the terms of the generator's loss (eqs. 8 and 12). A term of weight 0 is not computed.

    Attributes:
        reconstruction: lambda_rec.
        perceptual: lambda_per.
        variation: lambda_tv.
        edge: lambda_edge.
        adversarial: lambda_G, for the terms of both discriminators.
        damsm: Weight of the text-matching loss, which the paper only names (section 3.1; public code).
        style: Weight of the Gram matrices (an earlier public code, not in the paper).
        kl: Weight of the conditioning augmentation's KL (not in the paper).
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
class Scores:
    """Outputs of both discriminators for one batch, shared by both phases.

    Attributes:
        real: Scores of the originals, (B, 1, P, P).
        fake: Scores of the filled images, (B, 1, P, P).
        local_real: Log-probabilities of the originals' regions with their words, (B,); None without word discriminator.
        local_fake: Log-probabilities of the filled regions with their words, (B,).
        local_wrong: Log-probabilities of the originals' regions with other captions' words, (B,); None unless trained.
    """

    real: Tensor
    fake: Tensor
    local_real: Tensor | None = None
    local_fake: Tensor | None = None
    local_wrong: Tensor | None = None


@dataclass(frozen=True)
class Step:
    """Tensors that both phases of a training step share."""

    batch: Batch
    images: Tensor  # (B, 3, S, S)
    holes: Tensor  # (B, 1, S, S)
    boxes: Tensor  # (B, 4)
    sentence: Tensor  # (B, D)
    words: Tensor  # (B, D, L)
    mask: Tensor  # (B, L)
    output: GeneratorOutput
    detached: Tensor  # (B, 3, S, S), the filled images without the generator's graph, which were scored
    scores: Scores | None  # None of projected discriminators


def hole_regions(images: Tensor, boxes: Tensor) -> Tensor:
    """Cut the boxes (B, 4) of the holes out of images (B, 3, S, S): (B, 3, S/2, S/2), as the paper's central hole."""
    return crop_boxes(images, boxes, images.shape[-1] // 2)


def hole_surroundings(images: Tensor, boxes: Tensor) -> Tensor:
    """Cut the boxes (B, 4) of the holes out of images (B, 3, S, S) with S/8 pixels around them: (B, 3, 3S/4, 3S/4).

    What fills a hole is judged beside what is known: without its surroundings, any piece of a bird would do.
    """
    side = images.shape[-1]
    grown = boxes + torch.tensor([-1, -1, 1, 1], device=boxes.device) * (side // 8)
    return crop_boxes(images, grown.clamp(0, side), 3 * side // 4)


def as_term_of(original: Tensor, term: Tensor, copy: Tensor) -> Tensor:
    """Turn a term of a detached copy into a term of the original with the same value and gradient.

    The gradient by the copy is taken at once. The term's graph stays for another phase.
    """
    # Under autocast, products of the gradient would be in bf16. torch cannot count the FLOP of torch.autograd.grad.
    with torch.autocast(copy.device.type, enabled=False):
        torch.autograd.backward(term, inputs=[copy], retain_graph=True)
    gradient, copy.grad = copy.grad, None
    assert gradient is not None
    return term.detach() + (gradient * (original - copy.detach())).sum()  # the last is 0


class CSFGAN:
    """CSF-GAN for the engine.

    Each step fills the holes and scores the result once. First the generator learns from the scores of the previous
    step's discriminators, then the discriminators learn from the same scores. Projected discriminators see other
    augmentations in each phase, so they score twice.

    Args:
        generator: Generator to train.
        discriminator: Discriminator of whole images to train: the paper's, or a projected one.
        word_discriminator: Discriminator of regions and words to train; None for the ablation without it. Projected, it
            compares regions and what is around them with the sentence.
        text_encoder: Frozen text encoder.
        image_encoder: Frozen image encoder of the matching loss; None if its weight is 0.
        perceptual_network: Frozen network of the perceptual and the style loss; None if both weights are 0.
        weights: Weights of the generator's terms.
        edge_operator: Operator of the edge loss.
        gan: "lsgan-ra" for relativistic least squares on the whole image (public code), "bce" for eqs. 10 and 11.
        word_mismatch: Train the word discriminator to reject a real region with the next caption's words (TAGAN,
            neither the paper nor its code).
        gammas: Smoothing factors of the matching loss.
        adam: Learning rates and momenta.

    Raises:
        ValueError: A loss with a weight lacks its network, or one discriminator is projected and the other is not.
    """

    averaged = ("generator",)

    def __init__(
        self,
        generator: Generator,
        discriminator: Discriminator | ConditionalDiscriminator,
        word_discriminator: WordLocalDiscriminator | ConditionalDiscriminator | None,
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
        kinds = {
            isinstance(each, ConditionalDiscriminator) for each in (discriminator, word_discriminator) if each
        }
        if len(kinds) > 1:
            raise ValueError("both discriminators are projected, or neither is")
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
        phase = functools.partial(Phase.adam, betas=adam.betas)
        self.phases = [
            phase("generator", {"generator": generator}, self.generator_terms, lr=adam.generator_lr),
            phase("discriminator", discriminators, self.discriminator_terms, lr=adam.discriminator_lr),
        ]

    def begin(self, batch: Batch) -> Step:
        """Encode the captions, fill the holes and score the result."""
        images, holes = batch.images[-1], batch.holes
        assert holes is not None, "an inpainting batch has holes"
        words, sentence, mask = read_captions(self.text_encoder, batch)
        noise = torch.randn(len(images), self.generator.noise_dim, device=images.device)
        condition_noise = torch.randn(len(images), self.generator.condition_dim, device=images.device)
        output = self.generator(images, holes, sentence, words, mask, noise, condition_noise)
        boxes = hole_boxes(holes)
        detached = output.composite.detach().requires_grad_(self.weights.adversarial > 0)
        projected = isinstance(self.discriminator, ConditionalDiscriminator)
        scores = None if projected else self.score(images, detached, boxes, words, mask)
        return Step(batch, images, holes, boxes, sentence, words, mask, output, detached, scores)

    def score(self, real: Tensor, fake: Tensor, boxes: Tensor, words: Tensor, mask: Tensor) -> Scores:
        """Score originals and filled images (B, 3, S, S) with holes in `boxes` (B, 4) by both discriminators."""
        by_real, by_fake = self.discriminator(real, fake)
        if self.word_discriminator is None:
            return Scores(by_real, by_fake)
        regions = [hole_regions(images, boxes) for images in (real, fake)]
        captions, masks = [words] * 2, [mask] * 2
        if self.word_mismatch:
            regions.append(regions[0])
            captions.append(words.roll(-1, dims=0))
            masks.append(mask.roll(-1, dims=0))
        scores = self.word_discriminator(torch.cat(regions), torch.cat(captions), torch.cat(masks))
        return Scores(by_real, by_fake, *scores.chunk(len(regions)))

    def projected(self, step: Step, images: Tensor) -> dict[str, tuple[ConditionalDiscriminator, Tensor]]:
        """Return the projected discriminators by the name of their term, each with its view of images (B, 3, S, S)."""
        found = {}
        if isinstance(self.discriminator, ConditionalDiscriminator):
            found["adversarial"] = self.discriminator, images
        if isinstance(self.word_discriminator, ConditionalDiscriminator):
            found["local"] = self.word_discriminator, hole_surroundings(images, step.boxes)
        return found

    def generator_terms(self, step: Step) -> dict[str, Tensor]:
        """Return the terms of eq. 12, each with its weight."""
        weights, real, fake = self.weights, step.images, step.output.composite
        terms = {"reconstruction": weights.reconstruction * F.l1_loss(fake, real)}
        if weights.perceptual + weights.style > 0:
            assert self.perceptual_network is not None
            box, whole = box_of_all(step.boxes, real.shape[-1]), Box.of(real)
            # Equal features add nothing to a mean of differences, but Gram matrices take all features.
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
            texts = step.words, step.sentence, step.mask
            by_words, by_sentence = damsm_losses(
                *self.image_encoder(fake), *texts, step.batch.class_ids, self.gammas
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
        """Return L_G of eq. 10, a term for each discriminator, without weight."""
        scores = step.scores
        if scores is None:
            views = self.projected(step, step.output.composite)
            return {name: judge.generator_loss(view, step.sentence) for name, (judge, view) in views.items()}
        bce = self.gan == "bce"
        whole = bce_real(scores.fake) if bce else relativistic_generator(scores.real, scores.fake)
        terms = {"adversarial": whole}
        if scores.local_fake is not None:
            terms["local"] = log_probability_real(scores.local_fake)
        return {name: as_term_of(step.output.composite, term, step.detached) for name, term in terms.items()}

    def discriminator_terms(self, step: Step) -> dict[str, Tensor]:
        """Return L_D of eq. 11, a term for each discriminator."""
        scores = step.scores
        if scores is None:
            real, fake = self.projected(step, step.images), self.projected(step, step.detached.detach())
            return {
                name: judge.loss(view, fake[name][1], step.sentence) for name, (judge, view) in real.items()
            }
        if self.gan == "bce":
            terms = {"adversarial": bce_real(scores.real) + bce_fake(scores.fake)}
        else:
            terms = {"adversarial": relativistic_discriminator(scores.real, scores.fake)}
        if scores.local_real is not None and scores.local_fake is not None:
            wrong = [part for part in (scores.local_fake, scores.local_wrong) if part is not None]
            reject = torch.stack([log_probability_fake(part) for part in wrong]).mean()
            terms["local"] = (log_probability_real(scores.local_real) + reject) / 2
        return terms
