"""StackGAN: Text to Photo-realistic Image Synthesis with Stacked Generative Adversarial Networks (Zhang et al., 2017).

Stage I draws shapes and colours from a sentence at 64 pixels. Stage II reads the sentence again and redraws that image
at 256 pixels. Widths and order of layers are those of the authors' TensorFlow code for CUB and Oxford-102.
docs/stackgan.md lists the differences between paper and code, and the choices made here.

B is the batch, E the length of a sentence vector, C of the augmented condition, Z of the noise, W a network's width
(gf_dim and df_dim of the code).
"""

from __future__ import annotations

import functools
import itertools
import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from gancli.data.loader import Batch
from gancli.engine.phases import AdamSettings, Phase
from gancli.losses.adversarial import bce_fake, bce_real
from gancli.models.layers import (
    SMALLEST_MAP,
    AugmentedImages,
    ConditionalDiscriminator,
    LeakyConditioningAugmentation,
    MatchingDiscriminator,
    Residual,
    augmentation_kl,
    bottleneck,
    conv1x1,
    conv3x3,
    conv4x4,
    doublings,
    first_map,
    leaky,
)
from gancli.ops.convolutions import UpsampleConv2d

INITIAL_STD = 0.02
TRUNCATION = 2.0  # bound of TensorFlow's truncated normal, in standard deviations

# --- blocks ---------------------------------------------------------------------------------------------------


def truncated_normal(noise: Tensor) -> Tensor:
    """Map standard normal noise of any shape to the normal distribution truncated at two standard deviations.

    Each number maps to the one of the same quantile, so the same noise stays comparable between models of both kinds.
    Computed in float32.
    """
    tail = 0.5 * math.erfc(TRUNCATION / math.sqrt(2))
    quantiles = tail + torch.special.ndtr(noise.float()) * (1 - 2 * tail)
    truncated: Tensor = torch.special.ndtri(quantiles)
    return truncated.to(noise.dtype)


def initialise_weights(module: nn.Module) -> None:
    """Set truncated normal convolutions and normal linear layers of deviation 0.02, batch-norm weights N(1, 0.02)."""
    if isinstance(module, nn.Conv2d):
        nn.init.trunc_normal_(
            module.weight, std=INITIAL_STD, a=-TRUNCATION * INITIAL_STD, b=TRUNCATION * INITIAL_STD
        )
    elif isinstance(module, nn.Linear):
        nn.init.normal_(module.weight, std=INITIAL_STD)
        nn.init.zeros_(module.bias)
    elif isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
        nn.init.normal_(module.weight, 1.0, INITIAL_STD)
        nn.init.zeros_(module.bias)


class ConditioningAugmentation(LeakyConditioningAugmentation):
    """Gaussian around the sentence, from truncated or plain normal noise (section 3.2).

    Args:
        text_dim: E.
        condition_dim: C.
        truncate: Truncate the noise at two standard deviations, as TensorFlow's truncated normal does.
    """

    def __init__(self, text_dim: int, condition_dim: int, *, truncate: bool) -> None:
        super().__init__(text_dim, condition_dim)
        self.truncate = truncate

    def forward(self, sentence: Tensor, noise: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Map sentence (B, E) and standard normal noise (B, C) to condition, mean and log sigma, each (B, C)."""
        return super().forward(sentence, truncated_normal(noise) if self.truncate else noise)


# --- Stage I --------------------------------------------------------------------------------------------------


class StageOneGenerator(nn.Module):
    """Generator of Stage I, from a sentence and noise to a small image.

    A linear layer makes a 4x4 map. Each doubling of the side halves the channels, and the last one gives the colours.
    The 4x4 and the 8x8 map each pass a bottleneck residual block.

    Args:
        size: Side of the images, 4 * 2^k with k >= 2.
        text_dim: E.
        generator_width: W (gf_dim). At 64 pixels the first map has 8W channels.
        noise_dim: Z.
        condition_dim: C.
        truncate_condition: Truncate the noise of the conditioning augmentation (TensorFlow code).

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
        truncate_condition: bool,
    ) -> None:
        super().__init__()
        self.size = size
        self.noise_dim = noise_dim
        self.condition_dim = condition_dim
        steps = doublings(SMALLEST_MAP, size)
        if steps < 2:
            raise ValueError(f"the smallest Stage-I image has {4 * SMALLEST_MAP} pixels a side, not {size}")
        widths = [generator_width * 2**i for i in range(steps - 1, -1, -1)]  # 8W, 4W, 2W, W at 64 pixels
        self.augmentation = ConditioningAugmentation(text_dim, condition_dim, truncate=truncate_condition)
        self.linear = nn.Linear(condition_dim + noise_dim, widths[0] * SMALLEST_MAP**2)
        self.norm = nn.BatchNorm1d(self.linear.out_features)
        layers: list[nn.Module] = [
            bottleneck(widths[0], widths[0] // 4, nn.ReLU),
            UpsampleConv2d(widths[0], widths[1]),
            nn.BatchNorm2d(widths[1]),
            bottleneck(widths[1], widths[1] // 4, nn.ReLU),
        ]
        for before, after in itertools.pairwise(widths[1:]):
            layers += [UpsampleConv2d(before, after), nn.BatchNorm2d(after), nn.ReLU()]
        layers += [UpsampleConv2d(widths[-1], 3), nn.Tanh()]
        self.layers = nn.Sequential(*layers)
        self.apply(initialise_weights)

    def large_blocks(self) -> list[nn.Module]:
        """Return the modules that train.activation_checkpointing recomputes."""
        return [self.layers]

    def forward(self, sentence: Tensor, noise: Tensor, condition_noise: Tensor) -> AugmentedImages:
        """Map sentences (B, E) and standard normal noise (B, Z) and (B, C) to images (B, 3, S, S)."""
        condition, mean, log_sigma = self.augmentation(sentence, condition_noise)
        x = self.norm(self.linear(torch.cat([condition, noise], dim=1)))
        return AugmentedImages(self.layers(first_map(x)), mean, log_sigma)


class Discriminator(MatchingDiscriminator):
    """Discriminator of either stage, with the public code's initial weights."""

    def __init__(self, encoder: nn.Module, features: int, *, text_dim: int, compressed_dim: int) -> None:
        super().__init__(encoder, features, text_dim=text_dim, compressed_dim=compressed_dim)
        self.apply(initialise_weights)


def stage_one_discriminator(
    *, size: int, text_dim: int, discriminator_width: int, condition_dim: int
) -> Discriminator:
    """Build the discriminator of Stage I: strided convolutions down to 4x4, then a bottleneck residual block.

    The last two strided convolutions have no activation after their batch norm, as in the public code, with which the
    released models were trained.

    Args:
        size: Side of the images, 4 * 2^k with k >= 2.
        text_dim: E.
        discriminator_width: W (df_dim), 64 in the public code, 128 in the paper.
        condition_dim: Length of the compressed sentence.
    """
    layers: list[nn.Module] = [conv4x4(3, discriminator_width), leaky()]
    halvings = doublings(SMALLEST_MAP, size)
    channels = discriminator_width
    for i in range(1, halvings):
        layers += [conv4x4(channels, 2 * channels), nn.BatchNorm2d(2 * channels)]
        channels *= 2
        if i < halvings - 2:
            layers.append(leaky())
    layers.append(bottleneck(channels, channels // 4, nn.LeakyReLU))
    return Discriminator(nn.Sequential(*layers), channels, text_dim=text_dim, compressed_dim=condition_dim)


# --- Stage II -------------------------------------------------------------------------------------------------


class StageTwoGenerator(nn.Module):
    """Generator of Stage II, from Stage I's image and the sentence to a large image.

    The image is encoded to a quarter of its side, joined with the condition at every position, refined by residual
    blocks and upsampled.

    Args:
        size: Side of the images, a power of two times a quarter of `input_size`.
        input_size: Side of Stage I's images.
        text_dim: E.
        generator_width: W (gf_dim).
        condition_dim: C, of an augmentation of Stage II's own.
        residual_blocks: Number of residual blocks, 4 for CUB and Oxford-102.
        truncate_condition: Truncate the noise of the conditioning augmentation (TensorFlow code).

    Raises:
        ValueError: The sides do not fit each other.
    """

    def __init__(
        self,
        *,
        size: int,
        input_size: int,
        text_dim: int,
        generator_width: int,
        condition_dim: int,
        residual_blocks: int,
        truncate_condition: bool,
    ) -> None:
        super().__init__()
        self.size = size
        self.input_size = input_size
        self.condition_dim = condition_dim
        self.augmentation = ConditioningAugmentation(text_dim, condition_dim, truncate=truncate_condition)
        inner = 4 * generator_width
        self.encoder = nn.Sequential(
            conv3x3(3, generator_width),
            nn.ReLU(),
            conv4x4(generator_width, 2 * generator_width),
            nn.BatchNorm2d(2 * generator_width),
            nn.ReLU(),
            conv4x4(2 * generator_width, inner),
            nn.BatchNorm2d(inner),
            nn.ReLU(),
        )
        self.join = nn.Sequential(conv3x3(inner + condition_dim, inner), nn.BatchNorm2d(inner), nn.ReLU())
        self.residual = nn.Sequential(
            *(
                Residual(
                    conv3x3(inner, inner),
                    nn.BatchNorm2d(inner),
                    nn.ReLU(),
                    conv3x3(inner, inner),
                    nn.BatchNorm2d(inner),
                    activation=nn.ReLU(),
                )
                for _ in range(residual_blocks)
            )
        )
        layers: list[nn.Module] = []
        channels = inner
        for _ in range(doublings(input_size // 4, size)):
            layers += [UpsampleConv2d(channels, channels // 2), nn.BatchNorm2d(channels // 2), nn.ReLU()]
            channels //= 2
        self.up = nn.Sequential(*layers, conv3x3(channels, 3), nn.Tanh())
        self.apply(initialise_weights)

    def large_blocks(self) -> list[nn.Module]:
        """Return the modules that train.activation_checkpointing recomputes."""
        return [self.encoder, self.join, self.residual, self.up]

    def forward(self, small: Tensor, sentence: Tensor, condition_noise: Tensor) -> AugmentedImages:
        """Map images (B, 3, s, s), sentences (B, E) and standard normal noise (B, C) to images (B, 3, S, S)."""
        condition, mean, log_sigma = self.augmentation(sentence, condition_noise)
        x = self.encoder(small)  # (B, 4W, s/4, s/4)
        tiled = condition[:, :, None, None].expand(-1, -1, *x.shape[2:]).to(x.dtype)
        x = self.residual(self.join(torch.cat([x, tiled], dim=1)))
        return AugmentedImages(self.up(x), mean, log_sigma)


def stage_two_discriminator(
    *, size: int, text_dim: int, discriminator_width: int, condition_dim: int
) -> Discriminator:
    """Build the discriminator of Stage II.

    Strided convolutions down to 4x4, 1x1 convolutions back to 8W channels, a bottleneck residual block. Images of up to
    64 pixels end with at most 8W channels and have no 1x1 convolutions.

    Args:
        size: Side of the images, 4 * 2^k with k >= 2.
        text_dim: E.
        discriminator_width: W (df_dim), 64 in the public code.
        condition_dim: Length of the compressed sentence.
    """
    layers: list[nn.Module] = [conv4x4(3, discriminator_width), leaky()]
    channels = discriminator_width
    for _ in range(1, doublings(SMALLEST_MAP, size)):
        layers += [conv4x4(channels, 2 * channels), nn.BatchNorm2d(2 * channels), leaky()]
        channels *= 2
    while channels > 8 * discriminator_width:
        layers += [conv1x1(channels, channels // 2), nn.BatchNorm2d(channels // 2), leaky()]
        channels //= 2
    layers.pop()  # the block below activates its sum
    layers.append(bottleneck(channels, channels // 4, nn.LeakyReLU))
    return Discriminator(nn.Sequential(*layers), channels, text_dim=text_dim, compressed_dim=condition_dim)


# --- objective and training step ------------------------------------------------------------------------------


def discriminator_loss(
    discriminator: Discriminator,
    real: Tensor,
    fake: Tensor,
    sentence: Tensor,
    *,
    wrong_images: Tensor | None = None,
    wrong_sentence: Tensor | None = None,
) -> Tensor:
    """Return the matching-aware loss: real pairs against the mean of wrong and generated pairs.

    This is L_D of the paper with both signs reversed. A pair is wrong by its image (public code) or by its sentence
    (paper). Real and generated images pass the network separately, so that they share no batch statistics.

    Args:
        discriminator: Discriminator of the stage.
        real: (B, 3, S, S).
        fake: (B, 3, S, S), detached from the generator.
        sentence: (B, E), of `real` and `fake`.
        wrong_images: (B, 3, S, S), real images of other classes. Exactly one of this and the next is given.
        wrong_sentence: (B, E), sentences of other classes.
    """
    features = discriminator(real)
    if wrong_images is not None:
        wrong = discriminator.logits(discriminator(wrong_images), sentence)
    else:
        assert wrong_sentence is not None
        wrong = discriminator.logits(features, wrong_sentence)
    generated = discriminator.logits(discriminator(fake), sentence)
    return bce_real(discriminator.logits(features, sentence)) + (bce_fake(wrong) + bce_fake(generated)) / 2


@dataclass(frozen=True)
class Step:
    """Tensors that both phases of a training step share."""

    real: Tensor  # (B, 3, S, S)
    wrong_images: Tensor | None  # (B, 3, S, S)
    sentence: Tensor  # (B, E)
    wrong_sentence: Tensor | None  # (B, E)


class StackGAN:
    """One stage of StackGAN for the engine: discriminator, then generator, each with noise of its own.

    Args:
        generator: Generator to train.
        discriminator: Discriminator to train: the stage's, or a projected one.
        stage_one: Trained generator of Stage I, for Stage II only. It is frozen and uses its stored statistics. (The
            public code runs it on batch statistics, as TensorFlow's training phase does.)
        kl: lambda of the paper.
        adam: Learning rates and momenta.

    Raises:
        ValueError: Stage II has no `stage_one`, or Stage I has one.
    """

    averaged = ("generator",)

    def __init__(
        self,
        generator: StageOneGenerator | StageTwoGenerator,
        discriminator: Discriminator | ConditionalDiscriminator,
        *,
        stage_one: StageOneGenerator | None = None,
        kl: float,
        adam: AdamSettings,
    ) -> None:
        if isinstance(generator, StageTwoGenerator) != (stage_one is not None):
            raise ValueError("Stage II, and only Stage II, draws on a Stage-I generator")
        self.generator = generator
        self.discriminator = discriminator
        self.stage_one = None if stage_one is None else stage_one.eval().requires_grad_(False)
        self.kl = kl
        discriminators: dict[str, nn.Module] = {"discriminator": discriminator}
        self.networks: dict[str, nn.Module] = {"generator": generator, **discriminators}
        phase = functools.partial(Phase.adam, betas=adam.betas)
        self.phases = [
            phase("discriminator", discriminators, self.discriminator_terms, lr=adam.discriminator_lr),
            phase("generator", {"generator": generator}, self.generator_terms, lr=adam.generator_lr),
        ]

    def begin(self, batch: Batch) -> Step:
        """Select the tensors of the batch. Each phase generates its own images, as in the public code."""
        assert batch.sentences is not None
        wrong_images = batch.wrong_images[-1] if batch.wrong_images else None
        return Step(batch.images[-1], wrong_images, batch.sentences, batch.wrong_sentences)

    def generate(self, sentence: Tensor) -> AugmentedImages:
        """Generate images of sentences (B, E) with fresh noise, through Stage I first in Stage II."""

        def noise(dim: int) -> Tensor:
            return torch.randn(len(sentence), dim, device=sentence.device)

        if isinstance(self.generator, StageOneGenerator):
            generator = self.generator
            output: AugmentedImages = generator(
                sentence, noise(generator.noise_dim), noise(generator.condition_dim)
            )
            return output
        first = self.stage_one
        assert first is not None
        with torch.no_grad():
            small = first(sentence, noise(first.noise_dim), noise(first.condition_dim)).images
        output = self.generator(small, sentence, noise(self.generator.condition_dim))
        return output

    def discriminator_terms(self, step: Step) -> dict[str, Tensor]:
        """Return the matching-aware loss on fresh images."""
        with torch.no_grad():
            fake = self.generate(step.sentence).images
        if isinstance(self.discriminator, ConditionalDiscriminator):
            loss = self.discriminator.loss(step.real, fake, step.sentence, step.wrong_sentence)
            return {"adversarial": loss}
        wrong = {"wrong_images": step.wrong_images, "wrong_sentence": step.wrong_sentence}
        return {
            "adversarial": discriminator_loss(self.discriminator, step.real, fake, step.sentence, **wrong)
        }

    def generator_terms(self, step: Step) -> dict[str, Tensor]:
        """Return the non-saturating adversarial loss and the KL (L_G, with the public code's weight)."""
        output = self.generate(step.sentence)
        if isinstance(self.discriminator, ConditionalDiscriminator):
            adversarial = self.discriminator.generator_loss(output.images, step.sentence)
        else:
            logits = self.discriminator.logits(self.discriminator(output.images), step.sentence)
            adversarial = bce_real(logits)
        return {
            "adversarial": adversarial,
            "kl": self.kl * augmentation_kl(output.mean, 2 * output.log_sigma),
        }
