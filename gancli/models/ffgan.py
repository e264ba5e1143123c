"""FF-GAN: Fine-grained Cross-modal Fusion based Refinement for Text-to-Image Synthesis (Sun et al., 2022).

A sentence vector makes a small image (section 3.1). Each refinement stage fuses word features into the feature map
(FF-Block, 3.2.1), adds a global semantic map (GSR, 3.2.2) and doubles the side. One discriminator per stage scores the
image alone and together with its sentence (3.3). docs/ffgan.md lists the choices where the paper is silent or
contradicts its public code.

B is the batch, D the width of the text features, L the padded caption length, C the generator's width (ngf).
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from gancli.data.loader import Batch
from gancli.engine.phases import AdamSettings, Phase
from gancli.losses.adversarial import bce_fake, bce_real
from gancli.losses.matching import DamsmGammas, damsm_losses
from gancli.models.layers import (
    SMALLEST_MAP,
    ConditionalDiscriminator,
    ConditioningAugmentation,
    ImageEncoder,
    TextEncoder,
    WordAttention,
    augmentation_kl,
    conv3x3,
    doublings,
    first_map,
    glu,
    leaky,
    read_captions,
)
from gancli.ops.convolutions import UpsampleConv2d

# --- blocks ---------------------------------------------------------------------------------------------------


def initialise_weights(module: nn.Module) -> None:
    """Set orthogonal weights, zero biases of linear layers, and batch-norm weights N(1, 0.02) (AttnGAN code)."""
    if isinstance(module, nn.Conv1d | nn.Conv2d | nn.Linear):
        if not module.weight.is_meta:
            nn.init.orthogonal_(module.weight)
        if isinstance(module, nn.Linear) and module.bias is not None:
            nn.init.zeros_(module.bias)
    elif isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
        nn.init.normal_(module.weight, 1.0, 0.02)
        nn.init.zeros_(module.bias)


class UpBlock(nn.Module):
    """Upsampling, convolution, batch norm and gate. (B, in, H, W) -> (B, out, 2H, 2W)."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv = UpsampleConv2d(in_channels, 2 * out_channels)
        self.norm = nn.BatchNorm2d(2 * out_channels)

    def forward(self, x: Tensor) -> Tensor:
        return glu(self.norm(self.conv(x)))


class ResidualBlock(nn.Module):
    """Two gated 3x3 convolutions added to the input, without final activation. (B, C, H, W) -> same."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = conv3x3(channels, 2 * channels)
        self.norm1 = nn.BatchNorm2d(2 * channels)
        self.conv2 = conv3x3(channels, channels)
        self.norm2 = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        gated = glu(self.norm1(self.conv1(x)))
        result: Tensor = x + self.norm2(self.conv2(gated))
        return result


class ImageHead(nn.Module):
    """Convolution from a feature map to an image. (B, C, H, W) -> (B, 3, H, W) in [-1, 1]."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = conv3x3(channels, 3)

    def forward(self, x: Tensor) -> Tensor:
        return torch.tanh(self.conv(x))


# --- generator: initial image (section 3.1) --------------------------------------------------------------------


class InitialStage(nn.Module):
    """G_0 (eq. 3), from condition and noise to the first feature map.

    Args:
        condition_dim: Z, length of the augmented sentence.
        noise_dim: N, length of the noise.
        channels: C.
        size: Side of the first image, which sets the depth.
    """

    def __init__(self, condition_dim: int, noise_dim: int, channels: int, size: int) -> None:
        super().__init__()
        depth = doublings(SMALLEST_MAP, size)
        gated = 2 * channels * 2**depth * SMALLEST_MAP**2
        self.linear = nn.Linear(condition_dim + noise_dim, gated, bias=False)
        self.norm = nn.BatchNorm1d(self.linear.out_features)
        self.up = nn.Sequential(
            *(UpBlock(channels * 2**i, channels * 2 ** (i - 1)) for i in range(depth, 0, -1))
        )

    def forward(self, condition: Tensor, noise: Tensor) -> Tensor:
        """Map condition (B, Z) and noise (B, N) to (B, C, S, S)."""
        x = glu(self.norm(self.linear(torch.cat([condition, noise], dim=1))))
        result: Tensor = self.up(first_map(x))
        return result


# --- generator: fine-grained semantic fusion based refinement (section 3.2) -------------------------------------


class AffineFusion(nn.Module):
    """Scale and shift of the feature map, predicted per pixel from the word context (eq. 5).

    Args:
        channels: C.
        residual: Multiply by 1 + scale instead of scale.
    """

    def __init__(self, channels: int, *, residual: bool) -> None:
        super().__init__()
        self.shared = conv3x3(channels, 2 * channels)
        self.scale = conv3x3(2 * channels, channels)
        self.shift = conv3x3(2 * channels, channels)
        self.residual = residual

    def forward(self, h: Tensor, context: Tensor) -> Tensor:
        """Fuse a feature map (B, C, H, W) with a word context of the same shape."""
        # One convolution of twice the width in place of two over the same input
        weight = torch.cat([self.scale.weight, self.shift.weight])
        scale, shift = F.conv2d(self.shared(context), weight, padding=1).chunk(2, dim=1)
        return h * (1 + scale if self.residual else scale) + shift


class GlobalSemanticRefinement(nn.Module):
    """Sentence-context map f_att^S of eq. 6: the projected sentence, weighted by its similarity to each pixel.

    Args:
        channels: C.
        sentence_dim: Length of the sentence vector.
        attention: "channelwise" takes a softmax over pixels for each channel (public code), "spatial" one softmax of
            the inner product over channels (eq. 6).
        scale: "positions" multiplies by the number of pixels, which brings the mean attention from near 0 to 1.
    """

    def __init__(
        self,
        channels: int,
        sentence_dim: int,
        *,
        attention: Literal["channelwise", "spatial"],
        scale: Literal["none", "positions"],
    ) -> None:
        super().__init__()
        self.project = nn.Linear(sentence_dim, channels, bias=False)  # U_s
        self.attention = attention
        self.scale = scale

    def forward(self, h: Tensor, sentence: Tensor) -> Tensor:
        """Map feature map (B, C, H, W) and sentence (B, D) to (B, C, H, W)."""
        batch, channels, height, width = h.shape
        projected = self.project(sentence)[:, None]  # (B, 1, C)
        pixels = h.permute(0, 2, 3, 1).reshape(batch, height * width, channels)  # a view in channels_last
        scores = pixels * projected  # (B, H*W, C)
        if self.attention == "spatial":
            scores = scores.sum(dim=2, keepdim=True)  # (B, H*W, 1)
        attention = scores.softmax(dim=1)
        if self.scale == "positions":
            attention = attention * (height * width)
        context: Tensor = projected * attention  # (B, H*W, C)
        return context.view(batch, height, width, channels).permute(0, 3, 1, 2)


class RefinementStage(nn.Module):
    """G_i (eq. 7): fusion of the words, global semantic map, residual blocks, upsampling.

    Args:
        channels: C.
        word_dim: D.
        global_dim: Length of the vector that GSR takes.
        residual_blocks: Number of residual blocks.
        ff_block: Without it the word context is concatenated, as in AttnGAN (the paper's baseline).
        gsr: Add the global semantic map, with `gsr_attention` and `gsr_scale` of `GlobalSemanticRefinement`.
        affine_residual: See `AffineFusion`.
        mask_padding: Give padding no attention.
    """

    def __init__(
        self,
        channels: int,
        word_dim: int,
        global_dim: int,
        *,
        residual_blocks: int,
        ff_block: bool,
        gsr: bool,
        gsr_attention: Literal["channelwise", "spatial"],
        gsr_scale: Literal["none", "positions"],
        affine_residual: bool,
        mask_padding: bool,
    ) -> None:
        super().__init__()
        self.word_attention = WordAttention(channels, word_dim, mask_padding=mask_padding)
        self.fusion = AffineFusion(channels, residual=affine_residual) if ff_block else None
        self.gsr = (
            GlobalSemanticRefinement(channels, global_dim, attention=gsr_attention, scale=gsr_scale)
            if gsr
            else None
        )
        joined = channels * (1 if ff_block else 2) + channels * gsr
        self.residual = nn.Sequential(*(ResidualBlock(joined) for _ in range(residual_blocks)))
        self.up = UpBlock(joined, channels)

    def forward(
        self, h: Tensor, words: Tensor, mask: Tensor, global_condition: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return the feature map (B, C, 2H, 2W) and the word attention (B, L, H, W)."""
        context, attention = self.word_attention(h, words, mask)
        parts = [h, context] if self.fusion is None else [self.fusion(h, context)]
        if self.gsr is not None:
            parts.append(self.gsr(h, global_condition))
        return self.up(self.residual(torch.cat(parts, dim=1))), attention


@dataclass(frozen=True)
class GeneratorOutput:
    """Result of one pass of the generator.

    Attributes:
        images: Images (B, 3, S, S) in [-1, 1] of each stage, smallest first.
        attention: Word attention (B, L, S, S) of each refinement stage, S being the side of its input.
        mean: Mean (B, Z) of the conditioning augmentation.
        log_variance: Log-variance (B, Z) of the conditioning augmentation.
    """

    images: tuple[Tensor, ...]
    attention: tuple[Tensor, ...]
    mean: Tensor
    log_variance: Tensor


class Generator(nn.Module):
    """Generator of Fig. 2.

    Args:
        stages: Image sides, each twice the one before. The first is 4 * 2^k.
        text_dim: D, width of word and sentence features.
        generator_width: C, channels of every stage's feature map (ngf).
        noise_dim: Length of z.
        condition_dim: Z, length of the augmented sentence.
        residual_blocks: Residual blocks per refinement stage: 2 for CUB, 3 for COCO in the public code.
        ff_block: Fuse words by the FF-Block (ablation). Otherwise their context is concatenated.
        gsr: Add the global semantic refinement (ablation).
        gsr_input: Vector that GSR takes: the sentence (public code) or its augmentation (eq. 6).
        gsr_attention: See `GlobalSemanticRefinement`.
        gsr_scale: See `GlobalSemanticRefinement`.
        affine_residual: Multiply by 1 + scale instead of scale (eq. 5).
        mask_padding: Give padding no attention. The public code does give it some.
    """

    def __init__(
        self,
        *,
        stages: Sequence[int],
        text_dim: int,
        generator_width: int,
        noise_dim: int,
        condition_dim: int,
        residual_blocks: int,
        ff_block: bool,
        gsr: bool,
        gsr_input: Literal["sentence", "augmented"],
        gsr_attention: Literal["channelwise", "spatial"],
        gsr_scale: Literal["none", "positions"],
        affine_residual: bool,
        mask_padding: bool,
    ) -> None:
        super().__init__()
        self.stages = tuple(stages)
        self.noise_dim = noise_dim
        self.condition_dim = condition_dim
        self.gsr_input = gsr_input
        self.augmentation = ConditioningAugmentation(text_dim, condition_dim)
        self.initial = InitialStage(condition_dim, noise_dim, generator_width, self.stages[0])
        self.refinements = nn.ModuleList(
            RefinementStage(
                generator_width,
                text_dim,
                text_dim if gsr_input == "sentence" else condition_dim,
                residual_blocks=residual_blocks,
                ff_block=ff_block,
                gsr=gsr,
                gsr_attention=gsr_attention,
                gsr_scale=gsr_scale,
                affine_residual=affine_residual,
                mask_padding=mask_padding,
            )
            for _ in self.stages[1:]
        )
        self.heads = nn.ModuleList(ImageHead(generator_width) for _ in self.stages)
        self.apply(initialise_weights)

    def large_blocks(self) -> list[nn.Module]:
        """Return the modules that train.activation_checkpointing recomputes."""
        refining = (part for stage in self.refinements for part in stage.children())
        return [self.initial.up, *self.heads, *refining]

    def forward(
        self, sentence: Tensor, words: Tensor, mask: Tensor, noise: Tensor, condition_noise: Tensor
    ) -> GeneratorOutput:
        """Generate the images of every stage.

        Args:
            sentence: (B, D).
            words: (B, D, L).
            mask: (B, L) bool, True at words. Every caption has at least one.
            noise: z, (B, noise_dim) standard normal.
            condition_noise: (B, condition_dim) standard normal, for the conditioning augmentation.
        """
        condition, mean, log_variance = self.augmentation(sentence, condition_noise)
        global_condition = sentence if self.gsr_input == "sentence" else condition
        h = self.initial(condition, noise)  # (B, C, S0, S0)
        images = [self.heads[0](h)]
        attentions = []
        for stage, head in zip(self.refinements, self.heads[1:], strict=True):
            h, attention = stage(h, words, mask, global_condition)
            images.append(head(h))
            attentions.append(attention)
        return GeneratorOutput(tuple(images), tuple(attentions), mean, log_variance)


# --- discriminators (section 3.3) -------------------------------------------------------------------------------


def spectral_conv(
    in_channels: int, out_channels: int, kernel: int, *, stride: int = 1, padding: int = 0
) -> nn.Module:
    """Build a convolution under spectral norm."""
    conv = nn.Conv2d(in_channels, out_channels, kernel, stride=stride, padding=padding)
    initialise_weights(conv)  # before spectral norm, whose vectors start from the weight
    return spectral_norm(conv)


class Discriminator(ConditionalDiscriminator):
    """D_i, which scores an image alone and with its sentence, from one 4x4 feature map.

    Every convolution but those of the logits is under spectral norm, with one power iteration per forward pass.

    Args:
        size: Side of the images, 4 * 2^k.
        discriminator_width: Channels of the first convolution (ndf).
        text_dim: D, length of the sentence vector.
    """

    def __init__(self, *, size: int, discriminator_width: int, text_dim: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels = 3
        for i in range(doublings(SMALLEST_MAP, size)):
            width = discriminator_width * 2**i
            layers += [spectral_conv(channels, width, 4, stride=2, padding=1), leaky()]
            channels = width
        while channels > 8 * discriminator_width:
            layers += [spectral_conv(channels, channels // 2, 3, padding=1), leaky()]
            channels //= 2
        self.encoder = nn.Sequential(*layers)
        self.unconditional_logit = nn.Conv2d(channels, 1, SMALLEST_MAP)
        self.joint = nn.Sequential(spectral_conv(channels + text_dim, channels, 3, padding=1), leaky())
        self.conditional_logit = nn.Conv2d(channels, 1, SMALLEST_MAP)
        initialise_weights(self.unconditional_logit)
        initialise_weights(self.conditional_logit)

    def forward(self, images: Tensor) -> Tensor:
        """Map images (B, 3, S, S) in [-1, 1] to features (B, F, 4, 4)."""
        features: Tensor = self.encoder(images)
        return features

    def unconditional(self, features: Tensor) -> Tensor:
        """Map features (B, F, 4, 4) to logits (B,) of the images being real."""
        logits: Tensor = self.unconditional_logit(features)
        return logits.flatten()

    def conditional(self, features: Tensor, sentence: Tensor) -> Tensor:
        """Map features (B, F, 4, 4) and sentences (B, D) to logits (B,) of real and matching pairs."""
        tiled = sentence[:, :, None, None].expand(-1, -1, SMALLEST_MAP, SMALLEST_MAP).to(features.dtype)
        logits: Tensor = self.conditional_logit(self.joint(torch.cat([features, tiled], dim=1)))
        return logits.flatten()

    def loss(self, real: Tensor, fake: Tensor, condition: Tensor, wrong: Tensor | None = None) -> Tensor:
        """Return the discriminator's loss (eq. 11, with the weights and the wrong pair of the public code).

        Real and generated images pass the network together, which has no batch statistics. The condition is the
        sentence. The wrong pair is a real image with another one's sentence.
        """
        if wrong is None:
            wrong = condition.roll(-1, dims=0)
        batch = len(real)
        features = self(torch.cat([real, fake]))  # (2B, F, 4, 4)
        unconditional = self.unconditional(features)
        conditional = self.conditional(
            torch.cat([features, features[:batch]]),
            torch.cat([condition, condition, wrong]),
        )
        unconditional_real, unconditional_fake = unconditional.chunk(2)
        conditional_real, conditional_fake, conditional_wrong = conditional.chunk(3)
        accept = bce_real(unconditional_real) + bce_real(conditional_real)
        reject = bce_fake(unconditional_fake) + bce_fake(conditional_fake) + bce_fake(conditional_wrong)
        return accept / 2 + reject / 3

    def generator_loss(self, fake: Tensor, condition: Tensor) -> Tensor:
        """Return the generator's loss (eq. 8, without the 1/2, as in the public code)."""
        features = self(fake)
        return bce_real(self.unconditional(features)) + bce_real(self.conditional(features, condition))


# --- objective and training step (section 3.3) -------------------------------------------------------------------


@dataclass(frozen=True)
class Step:
    """Tensors that both phases of a training step share."""

    batch: Batch
    sentence: Tensor  # (B, D)
    words: Tensor  # (B, D, L)
    mask: Tensor  # (B, L)
    output: GeneratorOutput


class FFGAN:
    """FF-GAN for the engine.

    Each step encodes the text and generates the images once. The discriminators learn from them first, then the
    generator learns from the updated discriminators.

    Args:
        generator: Generator to train.
        discriminators: Discriminators to train, by the side of the stage's images. Stages without one are not judged.
        text_encoder: Frozen text encoder.
        image_encoder: Frozen image encoder that passes gradients to the images.
        kl: lambda_1 of eq. 10.
        damsm: lambda_2 of eq. 10, applied to the largest image. At 0 the image encoder is not used.
        gammas: Smoothing factors of the DAMSM loss.
        adam: Learning rates and momenta.
    """

    averaged = ("generator",)

    def __init__(
        self,
        generator: Generator,
        discriminators: Mapping[int, ConditionalDiscriminator],
        text_encoder: TextEncoder,
        image_encoder: ImageEncoder,
        *,
        kl: float,
        damsm: float,
        gammas: DamsmGammas,
        adam: AdamSettings,
    ) -> None:
        self.generator = generator
        self.discriminators = dict(discriminators)
        self.text_encoder = text_encoder
        self.image_encoder = image_encoder
        self.kl = kl
        self.damsm = damsm
        self.gammas = gammas
        by_name: dict[str, nn.Module] = {
            f"discriminator_{size}": network for size, network in self.discriminators.items()
        }
        self.networks: dict[str, nn.Module] = {"generator": generator, **by_name}
        phase = functools.partial(Phase.adam, betas=adam.betas)
        self.phases = [
            phase("discriminator", by_name, self.discriminator_terms, lr=adam.discriminator_lr),
            phase("generator", {"generator": generator}, self.generator_terms, lr=adam.generator_lr),
        ]

    def begin(self, batch: Batch) -> Step:
        """Encode the captions and generate the images."""
        words, sentence, mask = read_captions(self.text_encoder, batch)
        noise = torch.randn(len(sentence), self.generator.noise_dim, device=sentence.device)
        condition_noise = torch.randn(len(sentence), self.generator.condition_dim, device=sentence.device)
        output = self.generator(sentence, words, mask, noise, condition_noise)
        return Step(batch, sentence, words, mask, output)

    def discriminator_terms(self, step: Step) -> dict[str, Tensor]:
        """Return the loss of each stage's discriminator (eq. 12)."""
        real = dict(zip(self.generator.stages, step.batch.images, strict=True))
        fake = dict(zip(self.generator.stages, step.output.images, strict=True))
        return {
            str(size): discriminator.loss(real[size], fake[size].detach(), step.sentence)
            for size, discriminator in self.discriminators.items()
        }

    def generator_terms(self, step: Step) -> dict[str, Tensor]:
        """Return the adversarial term of each stage, KL and DAMSM, each with its weight (eq. 10)."""
        fake = dict(zip(self.generator.stages, step.output.images, strict=True))
        terms = {
            str(size): discriminator.generator_loss(fake[size], step.sentence)
            for size, discriminator in self.discriminators.items()
        }
        terms["kl"] = self.kl * augmentation_kl(step.output.mean, step.output.log_variance)
        if self.damsm > 0:
            regions, code = self.image_encoder(step.output.images[-1])
            texts = step.words, step.sentence, step.mask
            by_words, by_sentence = damsm_losses(regions, code, *texts, step.batch.class_ids, self.gammas)
            terms["words"] = self.damsm * by_words
            terms["sentence"] = self.damsm * by_sentence
        return terms
