"""FF-GAN: Fine-grained Cross-modal Fusion based Refinement for Text-to-Image Synthesis (Sun et al., 2022).

A sentence vector makes a small image (section 3.1); each refinement stage fuses word features into the feature
map (FF-Block, 3.2.1), adds a global semantic map (GSR, 3.2.2) and doubles the side; one discriminator per stage
judges the image alone and together with its sentence (3.3). Where the paper is silent or contradicts its public
code, docs/ffgan.md lists the choice.

B is the batch, D the width of the text features, L the padded caption length, C the generator's width (ngf).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from gancli.data.loader import Batch
from gancli.engine.phases import AdamSettings, Phase
from gancli.losses.adversarial import bce_fake, bce_real
from gancli.losses.matching import DamsmGammas, damsm_losses, padding_mask
from gancli.models.layers import (
    LEAKY_SLOPE,
    SMALLEST_MAP,
    ConditioningAugmentation,
    UpsampleConv2d,
    WordAttention,
    augmentation_kl,
    conv3x3,
    first_map,
    glu,
)

# --- blocks ---------------------------------------------------------------------------------------------------


def initialise_weights(module: nn.Module) -> None:
    """Orthogonal convolutions and linear layers, zero linear biases, batch-norm weights N(1, 0.02) (AttnGAN code)."""
    if isinstance(module, nn.Conv1d | nn.Conv2d | nn.Linear):
        if not module.weight.is_meta:
            nn.init.orthogonal_(module.weight)
        if isinstance(module, nn.Linear) and module.bias is not None:
            nn.init.zeros_(module.bias)
    elif isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
        nn.init.normal_(module.weight, 1.0, 0.02)
        nn.init.zeros_(module.bias)


class UpBlock(nn.Module):
    """Doubles the side: upsample, convolve, normalise, gate. (B, in, H, W) -> (B, out, 2H, 2W)."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv = UpsampleConv2d(in_channels, 2 * out_channels)
        self.norm = nn.BatchNorm2d(2 * out_channels)

    def forward(self, x: Tensor) -> Tensor:
        return glu(self.norm(self.conv(x)))


class ResidualBlock(nn.Module):
    """Two gated 3x3 convolutions added to the input; no activation afterwards. (B, C, H, W) -> same."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = conv3x3(channels, 2 * channels)
        self.norm1 = nn.BatchNorm2d(2 * channels)
        self.conv2 = conv3x3(channels, channels)
        self.norm2 = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.norm2(self.conv2(glu(self.norm1(self.conv1(x)))))


class ImageHead(nn.Module):
    """Feature map to image: (B, C, H, W) -> (B, 3, H, W) in [-1, 1]."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = conv3x3(channels, 3)

    def forward(self, x: Tensor) -> Tensor:
        return torch.tanh(self.conv(x))


# --- generator: initial image (section 3.1) --------------------------------------------------------------------


class InitialStage(nn.Module):
    """G_0 (eq. 3): condition and noise to the first feature map; its depth follows the first image's side."""

    def __init__(self, condition_dim: int, noise_dim: int, channels: int, size: int) -> None:
        super().__init__()
        doublings = int(math.log2(size // SMALLEST_MAP))
        gated = 2 * channels * 2**doublings * SMALLEST_MAP**2
        self.linear = nn.Linear(condition_dim + noise_dim, gated, bias=False)
        self.norm = nn.BatchNorm1d(self.linear.out_features)
        self.up = nn.Sequential(
            *(UpBlock(channels * 2**i, channels * 2 ** (i - 1)) for i in range(doublings, 0, -1))
        )

    def forward(self, condition: Tensor, noise: Tensor) -> Tensor:
        """(B, Z) condition and (B, N) noise to (B, C, S, S)."""
        x = glu(self.norm(self.linear(torch.cat([condition, noise], dim=1))))
        return self.up(first_map(x))


# --- generator: fine-grained semantic fusion based refinement (section 3.2) -------------------------------------


class AffineFusion(nn.Module):
    """Scales and shifts the feature map by maps predicted from the word context (eq. 5)."""

    def __init__(self, channels: int, *, residual: bool) -> None:
        super().__init__()
        self.shared = conv3x3(channels, 2 * channels)
        self.scale = conv3x3(2 * channels, channels)
        self.shift = conv3x3(2 * channels, channels)
        self.residual = residual

    def forward(self, h: Tensor, context: Tensor) -> Tensor:
        """(B, C, H, W) twice -> (B, C, H, W)."""
        # One convolution of twice the width instead of two over the same input.
        weight = torch.cat([self.scale.weight, self.shift.weight])
        scale, shift = F.conv2d(self.shared(context), weight, padding=1).chunk(2, dim=1)
        return h * (1 + scale if self.residual else scale) + shift


class GlobalSemanticRefinement(nn.Module):
    """The sentence-context map f_att^S of eq. 6, placed by the likeness of pixels and sentence.

    `channelwise` takes the softmax over positions for each channel by itself, as the public code does; `spatial`
    is the inner product of the equation, one softmax over positions.
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
        """Feature map (B, C, H, W) and sentence (B, D) -> (B, C, H, W)."""
        batch, channels, height, width = h.shape
        projected = self.project(sentence)[:, None]  # (B, 1, C)
        pixels = h.permute(0, 2, 3, 1).reshape(batch, height * width, channels)  # a view in channels_last
        scores = pixels * projected  # (B, H*W, C)
        if self.attention == "spatial":
            scores = scores.sum(dim=2, keepdim=True)  # (B, H*W, 1)
        attention = scores.softmax(dim=1)
        if self.scale == "positions":
            # The softmax averages to 1/(H*W), which leaves the map near zero; this brings its mean to 1.
            attention = attention * (height * width)
        return (projected * attention).view(batch, height, width, channels).permute(0, 3, 1, 2)


class RefinementStage(nn.Module):
    """G_i (eq. 7): fuse words, add the global map, refine, double the side.

    Without the FF-Block the word context is concatenated to the feature map, as in AttnGAN: the paper's baseline.
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
        """(B, C, H, W) -> (B, C, 2H, 2W), and the word attention (B, L, H, W)."""
        context, attention = self.word_attention(h, words, mask)
        parts = [h, context] if self.fusion is None else [self.fusion(h, context)]
        if self.gsr is not None:
            parts.append(self.gsr(h, global_condition))
        return self.up(self.residual(torch.cat(parts, dim=1))), attention


@dataclass(frozen=True)
class GeneratorOutput:
    """What one pass of the generator gives.

    Attributes:
        images: One (B, 3, S, S) in [-1, 1] per stage, smallest first.
        attention: One (B, L, S, S) per refinement stage, S the side of its input map.
        mean: (B, Z) of the conditioning augmentation.
        log_variance: (B, Z) of the conditioning augmentation.
    """

    images: tuple[Tensor, ...]
    attention: tuple[Tensor, ...]
    mean: Tensor
    log_variance: Tensor


class Generator(nn.Module):
    """The whole generator of FF-GAN's Fig. 2.

    Args:
        stages: Image sides, each twice the one before; the first is 4 * 2^k.
        text_dim: D, the width of word and sentence features.
        generator_width: C, channels of every stage's feature map (ngf).
        noise_dim: Length of z.
        condition_dim: Length of the augmented sentence.
        residual_blocks: Per refinement stage; 2 for CUB, 3 for COCO in the public code.
        ff_block: The paper's ablation; off concatenates the word context.
        gsr: The paper's ablation of the global semantic refinement.
        gsr_input: The sentence vector (public code) or its augmentation (eq. 6).
        gsr_attention: See `GlobalSemanticRefinement`.
        gsr_scale: See `GlobalSemanticRefinement`.
        affine_residual: Multiply by 1 + scale instead of scale (eq. 5).
        mask_padding: Keep the attention off padding; the public code does not.
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
        """Those that train.activation_checkpointing recomputes."""
        return [
            self.initial.up,
            *self.heads,
            *(part for stage in self.refinements for part in stage.children()),
        ]

    def forward(
        self, sentence: Tensor, words: Tensor, mask: Tensor, noise: Tensor, condition_noise: Tensor
    ) -> GeneratorOutput:
        """Text features to images of every stage.

        Args:
            sentence: (B, D).
            words: (B, D, L).
            mask: (B, L) bool, True at words; every caption has at least one.
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
    """Convolution under spectral norm, initialised first: the norm's vectors start from the weight they meet."""
    conv = nn.Conv2d(in_channels, out_channels, kernel, stride=stride, padding=padding)
    initialise_weights(conv)
    return spectral_norm(conv)


class Discriminator(nn.Module):
    """D_i: discriminators an image alone and with its sentence, from one 4x4 feature map.

    Spectral norm on every convolution but the two that give the logits; one power iteration per forward pass.

    Args:
        size: Side of the images, 4 * 2^k.
        discriminator_width: Channels of the first convolution (ndf).
        text_dim: D of the sentence vector.
    """

    def __init__(self, *, size: int, discriminator_width: int, text_dim: int) -> None:
        super().__init__()
        halvings = int(math.log2(size // SMALLEST_MAP))
        layers: list[nn.Module] = []
        channels = 3
        for i in range(halvings):
            layers += [
                spectral_conv(channels, discriminator_width * 2**i, 4, stride=2, padding=1),
                nn.LeakyReLU(LEAKY_SLOPE),
            ]
            channels = discriminator_width * 2**i
        while channels > 8 * discriminator_width:
            layers += [
                spectral_conv(channels, channels // 2, 3, padding=1),
                nn.LeakyReLU(LEAKY_SLOPE),
            ]
            channels //= 2
        self.encoder = nn.Sequential(*layers)
        self.unconditional_logit = nn.Conv2d(channels, 1, SMALLEST_MAP)
        self.joint = nn.Sequential(
            spectral_conv(channels + text_dim, channels, 3, padding=1),
            nn.LeakyReLU(LEAKY_SLOPE),
        )
        self.conditional_logit = nn.Conv2d(channels, 1, SMALLEST_MAP)
        initialise_weights(self.unconditional_logit)
        initialise_weights(self.conditional_logit)

    def forward(self, images: Tensor) -> Tensor:
        """Images (B, 3, S, S) in [-1, 1] to features (B, F, 4, 4)."""
        return self.encoder(images)

    def unconditional(self, features: Tensor) -> Tensor:
        """Features (B, F, 4, 4) to the logit that the image is real, (B,)."""
        return self.unconditional_logit(features).flatten()

    def conditional(self, features: Tensor, sentence: Tensor) -> Tensor:
        """Features (B, F, 4, 4) and sentences (B, D) to the logit that they are real and belong together, (B,)."""
        tiled = sentence[:, :, None, None].expand(-1, -1, SMALLEST_MAP, SMALLEST_MAP).to(features.dtype)
        return self.conditional_logit(self.joint(torch.cat([features, tiled], dim=1))).flatten()


# --- objective and training step (section 3.3) -------------------------------------------------------------------


class TextEncoder(Protocol):
    """Tokens (B, L) and lengths (B,) to words (B, D, L) and sentence (B, D)."""

    def __call__(self, tokens: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]: ...


class ImageEncoder(Protocol):
    """Images (B, 3, S, S) in [-1, 1] to regions (B, D, H, W) and code (B, D), differentiably."""

    def __call__(self, images: Tensor) -> tuple[Tensor, Tensor]: ...


def discriminator_loss(discriminator: Discriminator, real: Tensor, fake: Tensor, sentence: Tensor) -> Tensor:
    """Loss of one discriminator (eq. 11, with the weights and the wrong pair of the public code).

    Real and generated images go through the network together: it has no batch statistics. The wrong pair is a
    real image with the next sentence of the batch.

    Args:
        discriminator: D_i.
        real: (B, 3, S, S), B >= 2.
        fake: (B, 3, S, S), detached from the generator.
        sentence: (B, D).
    """
    batch = len(real)
    features = discriminator(torch.cat([real, fake]))  # (2B, F, 4, 4)
    unconditional = discriminator.unconditional(features)
    conditional = discriminator.conditional(
        torch.cat([features, features[:batch]]),
        torch.cat([sentence, sentence, sentence.roll(-1, dims=0)]),
    )
    unconditional_real, unconditional_fake = unconditional.split(batch)
    conditional_real, conditional_fake, conditional_wrong = conditional.split(batch)
    accept = bce_real(unconditional_real) + bce_real(conditional_real)
    reject = bce_fake(unconditional_fake) + bce_fake(conditional_fake) + bce_fake(conditional_wrong)
    return accept / 2 + reject / 3


def generator_adversarial_loss(discriminator: Discriminator, fake: Tensor, sentence: Tensor) -> Tensor:
    """The generator's adversarial loss of one stage (eq. 8, without the 1/2 as in the public code)."""
    features = discriminator(fake)
    return bce_real(discriminator.unconditional(features)) + bce_real(
        discriminator.conditional(features, sentence)
    )


@dataclass(frozen=True)
class Step:
    """What both phases of one training step share."""

    batch: Batch
    sentence: Tensor  # (B, D)
    words: Tensor  # (B, D, L)
    mask: Tensor  # (B, L)
    output: GeneratorOutput


class FFGAN:
    """FF-GAN as the engine trains it: text is encoded and images are generated once per step, the
    discriminators learn from them detached, then the generator learns from the discriminators just updated.

    Args:
        generator: To be trained.
        discriminators: One per stage, by image side.
        text_encoder: Frozen.
        image_encoder: Frozen; gradients pass through it to the images.
        kl: lambda_1 of eq. 10.
        damsm: lambda_2 of eq. 10, applied to the largest image; 0 leaves the image encoder unused.
        gammas: Smoothing factors of the DAMSM loss.
        adam: Learning rates and momenta.
    """

    averaged = ("generator",)

    def __init__(
        self,
        generator: Generator,
        discriminators: Mapping[int, Discriminator],
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
        self.phases = [
            Phase.adam(
                "discriminator",
                by_name,
                self.discriminator_terms,
                lr=adam.discriminator_lr,
                betas=adam.betas,
            ),
            Phase.adam(
                "generator",
                {"generator": generator},
                self.generator_terms,
                lr=adam.generator_lr,
                betas=adam.betas,
            ),
        ]

    def begin(self, batch: Batch) -> Step:
        """Encodes the captions and generates the images, once for all phases."""
        longest = int(batch.lengths.max())
        with torch.no_grad():
            words, sentence = self.text_encoder(batch.tokens[:, :longest], batch.lengths)
        mask = padding_mask(batch.lengths, longest)
        noise = torch.randn(len(sentence), self.generator.noise_dim, device=sentence.device)
        condition_noise = torch.randn(len(sentence), self.generator.condition_dim, device=sentence.device)
        output = self.generator(sentence, words, mask, noise, condition_noise)
        return Step(batch, sentence, words, mask, output)

    def discriminator_terms(self, step: Step) -> dict[str, Tensor]:
        """One term per stage (eq. 12)."""
        return {
            str(size): discriminator_loss(discriminator, real, fake.detach(), step.sentence)
            for (size, discriminator), real, fake in zip(
                self.discriminators.items(), step.batch.images, step.output.images, strict=True
            )
        }

    def generator_terms(self, step: Step) -> dict[str, Tensor]:
        """One adversarial term per stage, KL and DAMSM, each with its weight (eq. 10)."""
        terms = {
            str(size): generator_adversarial_loss(discriminator, fake, step.sentence)
            for (size, discriminator), fake in zip(
                self.discriminators.items(), step.output.images, strict=True
            )
        }
        terms["kl"] = self.kl * augmentation_kl(step.output.mean, step.output.log_variance)
        if self.damsm > 0:
            regions, code = self.image_encoder(step.output.images[-1])
            by_words, by_sentence = damsm_losses(
                regions,
                code,
                step.words,
                step.sentence,
                step.mask,
                step.batch.class_ids,
                self.gammas,
            )
            terms["words"] = self.damsm * by_words
            terms["sentence"] = self.damsm * by_sentence
        return terms
