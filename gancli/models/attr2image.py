"""Realistic Image Generation via Cross-domain Information (Zhao), here attr2image.

Stage I (attribute2shape, section 3.2) draws a silhouette from the attributes that a silhouette shows. Stage II
(shape2image, section 3.3) paints an image on a silhouette from the other attributes. The paper has no code and no
table of layers. The layers are those of DCGAN, pix2pix and StackGAN, on which it builds. docs/attr2image.md lists the
choices.

B is the batch, S the side of the images, A the number of the stage's own attributes, C the length of the augmented
condition, Z of the noise, W a network's width. A silhouette is +1 on the object and -1 around it.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gancli.data.loader import Batch
from gancli.engine.phases import AdamSettings, Phase
from gancli.losses.adversarial import lsgan_fake, lsgan_real
from gancli.models.layers import (
    LEAKY_SLOPE,
    SMALLEST_MAP,
    AugmentedImages,
    ConditionalDiscriminator,
    LeakyConditioningAugmentation,
    MatchingDiscriminator,
    augmentation_kl,
    bottleneck,
    conv1x1,
    conv4x4,
    doublings,
    leaky,
)

Injection = Literal["bottleneck", "all"]

MAX_MULTIPLE = 8  # most channels of a layer, over those of the first
INITIAL_STD = 0.02
INITIAL_LOG_SIGMA = -2.0  # of the conditioning augmentation


def initialise_weights(module: nn.Module) -> None:
    """Set normal weights of deviation 0.02, zero biases, and batch-norm weights N(1, 0.02) (DCGAN, pix2pix)."""
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
        nn.init.normal_(module.weight, std=INITIAL_STD)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    elif isinstance(module, nn.BatchNorm2d):
        nn.init.normal_(module.weight, 1.0, INITIAL_STD)
        nn.init.zeros_(module.bias)


def start_with_little_noise(augmentation: LeakyConditioningAugmentation) -> None:
    """Initialise a conditioning augmentation to a deviation of 0.14 around distinct means.

    With DCGAN's weights the means of ten attributes differ by 0.06 and the deviation is 1, so noise hides the
    attributes for thousands of steps.
    """
    augmentation.linear.reset_parameters()  # uniform, up to the root of 1 / A
    dim = augmentation.linear.out_features // 2
    with torch.no_grad():
        augmentation.linear.bias[dim:] += INITIAL_LOG_SIGMA / LEAKY_SLOPE


# --- Stage I: generator (section 3.2) ---------------------------------------------------------------------------


@dataclass(frozen=True)
class ShapeOutput:
    """Result of one pass of Stage I's generator.

    Attributes:
        shapes: Silhouettes (B, 1, S, S) in [-1, 1].
        mean: Mean (B, C) of the conditioning augmentation; None without attributes.
        log_sigma: Log standard deviation (B, C) of the conditioning augmentation; None without attributes.
    """

    shapes: Tensor
    mean: Tensor | None
    log_sigma: Tensor | None


class ShapeGenerator(nn.Module):
    """Generator of silhouettes from attributes and noise: DCGAN's transposed convolutions.

    Args:
        size: S, 4 * 2^k with k >= 2.
        attributes: A.
        generator_width: W. The 4x4 map has 8W channels, and each doubling of the side halves them.
        noise_dim: Z.
        condition_dim: C.
        conditional: Take attributes. Otherwise the input is the noise alone (Fig. 2).

    Raises:
        ValueError: `size` is no such side.
    """

    def __init__(
        self,
        *,
        size: int,
        attributes: int,
        generator_width: int,
        noise_dim: int,
        condition_dim: int,
        conditional: bool,
    ) -> None:
        super().__init__()
        steps = doublings(SMALLEST_MAP, size)
        if steps < 2:
            raise ValueError(f"the smallest silhouette has {4 * SMALLEST_MAP} pixels a side, not {size}")
        self.size = size
        self.attributes = attributes
        self.noise_dim = noise_dim
        self.condition_dim = condition_dim
        self.augmentation = LeakyConditioningAugmentation(attributes, condition_dim) if conditional else None
        # 8W, 4W, 2W, W at 64 pixels
        widths = [max(MAX_MULTIPLE * generator_width // 2**i, 1) for i in range(steps)]
        inputs = noise_dim + condition_dim if conditional else noise_dim
        layers: list[nn.Module] = [
            nn.ConvTranspose2d(inputs, widths[0], SMALLEST_MAP, bias=False),
            nn.BatchNorm2d(widths[0]),
            nn.ReLU(),
        ]
        for before, after in itertools.pairwise(widths):
            layers += [deconv4x4(before, after), nn.BatchNorm2d(after), nn.ReLU()]
        self.layers = nn.Sequential(*layers, deconv4x4(widths[-1], 1), nn.Tanh())
        self.apply(initialise_weights)
        if self.augmentation is not None:
            start_with_little_noise(self.augmentation)

    @property
    def conditional(self) -> bool:
        """True if the generator takes attributes."""
        return self.augmentation is not None

    def large_blocks(self) -> list[nn.Module]:
        """Return the modules that train.activation_checkpointing recomputes."""
        return [self.layers]

    def forward(
        self, attributes: Tensor | None, noise: Tensor, condition_noise: Tensor | None
    ) -> ShapeOutput:
        """Generate silhouettes.

        Args:
            attributes: (B, A) in [0, 1]; unused by an unconditional generator.
            noise: (B, Z) standard normal.
            condition_noise: (B, C) standard normal, for the conditioning augmentation; unused by an unconditional
                generator.
        """
        mean, log_sigma = None, None
        if self.augmentation is not None:
            assert attributes is not None
            assert condition_noise is not None
            condition, mean, log_sigma = self.augmentation(attributes, condition_noise)
            noise = torch.cat([condition, noise], dim=1)
        shapes: Tensor = self.layers(noise[:, :, None, None])
        return ShapeOutput(shapes.float(), mean, log_sigma)


def deconv4x4(in_channels: int, out_channels: int) -> nn.ConvTranspose2d:
    """Build a 4x4 transposed convolution without bias that doubles the side."""
    return nn.ConvTranspose2d(in_channels, out_channels, 4, stride=2, padding=1, bias=False)


# --- discriminators (section 3.2; Stage II has the same) --------------------------------------------------------


def trunk(channels: int, size: int, width: int, smallest: int = SMALLEST_MAP) -> tuple[list[nn.Module], int]:
    """Build strided convolutions from an image down to a small feature map.

    The first convolution has a bias, as in pix2pix. Without it (DCGAN) batch norm would scale bright and faint images
    alike, and the generator would learn late that silhouettes are black and white.

    Args:
        channels: Channels of the image.
        size: Side of the image.
        width: Channels of the first layer. Each further layer doubles them, up to eight times as many.
        smallest: Side of the feature map.

    Returns:
        The layers, and the channels of the feature map.

    Raises:
        ValueError: The side is no power of two times `smallest`, or not larger.
    """
    halvings = doublings(smallest, size)
    if halvings < 1:
        raise ValueError(f"a side of {size} leaves nothing to halve before {smallest}")
    layers: list[nn.Module] = [nn.Conv2d(channels, width, 4, stride=2, padding=1), leaky()]
    widths = [width * min(2**i, MAX_MULTIPLE) for i in range(halvings)]
    for before, after in itertools.pairwise(widths):
        layers += [conv4x4(before, after), nn.BatchNorm2d(after), leaky()]
    return layers, widths[-1]


def global_discriminator(*, size: int, channels: int, discriminator_width: int) -> nn.Sequential:
    """Build D_i with N_i = 1: one score for the whole image. (B, channels, S, S) -> (B, 1, 1, 1), unbounded.

    Args:
        size: S.
        channels: 1 for silhouettes, 3 for images, 4 for images with their silhouettes.
        discriminator_width: W.
    """
    layers, features = trunk(channels, size, discriminator_width)
    return _initialised(*layers, nn.Conv2d(features, 1, SMALLEST_MAP, bias=False))


def local_discriminator(*, size: int, channels: int, discriminator_width: int) -> nn.Sequential:
    """Build D_i with N_i = 3: a score for each of 3x3 patches. (B, channels, S, S) -> (B, 1, 3, 3), unbounded.

    At 64 pixels a patch has a side of 46. A padded convolution on the 4x4 map would give as many scores, but each would
    see the whole image.

    Args:
        size: S.
        channels: Channels of the images.
        discriminator_width: W.
    """
    layers, features = trunk(channels, size, discriminator_width, smallest=2 * SMALLEST_MAP)
    return _initialised(*layers, nn.Conv2d(features, 1, 4, stride=2, bias=False))


def pixel_discriminator(*, channels: int, discriminator_width: int) -> nn.Sequential:
    """Build pix2pix's PixelGAN: a score for each pixel. (B, channels, S, S) -> (B, 1, S, S), unbounded.

    An experiment that takes the paper's "1x1 PixelGAN" literally. Its definition of N_i means the whole image.

    Args:
        channels: Channels of the images.
        discriminator_width: W.
    """
    return _initialised(
        conv1x1(channels, discriminator_width),
        leaky(),
        conv1x1(discriminator_width, 2 * discriminator_width),
        nn.BatchNorm2d(2 * discriminator_width),
        leaky(),
        conv1x1(2 * discriminator_width, 1),
    )


def _initialised(*layers: nn.Module) -> nn.Sequential:
    return nn.Sequential(*layers).apply(initialise_weights)


def conditional_discriminator(
    *,
    attributes: int,
    size: int,
    channels: int,
    discriminator_width: int,
    condition_dim: int,
    residual: bool,
) -> MatchingDiscriminator:
    """Build D_cGAN, the discriminator of images with their attributes.

    Args:
        attributes: A.
        size: S.
        channels: Channels of the images.
        discriminator_width: W.
        condition_dim: Length of the compressed attributes in the head.
        residual: Have a residual block before the attributes join, as StackGAN and Dong et al. (2017) do.
    """
    layers, features = trunk(channels, size, discriminator_width)
    if residual:
        # It has the activation of the layer it replaces
        layers[-1] = bottleneck(features, features // 4, nn.LeakyReLU)
    network = MatchingDiscriminator(
        nn.Sequential(*layers), features, text_dim=attributes, compressed_dim=condition_dim
    )
    return network.apply(initialise_weights)


# --- objective and training step (sections 3.2 and 3.3) ---------------------------------------------------------


@dataclass(frozen=True)
class Step:
    """Tensors that all phases of a training step share. Without condition there are no attributes."""

    real: Tensor  # (B, channels, S, S): silhouettes, images, or images with silhouettes, as the discriminators see them
    fake: Tensor  # (B, channels, S, S), generated, with their graph
    attributes: Tensor | None  # (B, A), of both
    wrong_attributes: Tensor | None  # (B, A), of other images
    output: ShapeOutput | AugmentedImages


class Stage:
    """Either stage for the engine: one phase per discriminator, then the generator.

    The generator draws once per step. The discriminators learn from that first, then the generator learns from the
    updated discriminators. Real and generated images pass a discriminator separately, so that they share no batch
    statistics. lambda_i weighs the generator's terms only: a factor on a discriminator's whole loss would change
    nothing, because each has its own Adam.

    Args:
        generator: Generator to train.
        discriminators: The D_i of the image alone to train, by name: "global", "local".
        conditional: D_cGAN to train, or a projected discriminator; None without attributes.
        weights: lambda_i of each of `discriminators`.
        kl: lambda_0, on the mean over dimensions.
        negative_weight: Weight of both negative terms of D_cGAN, 1 in the paper, 0.5 in Dong et al.'s code.
        adam: Learning rates and momenta.

    Raises:
        ValueError: There is no discriminator.
    """

    averaged = ("generator",)

    def __init__(
        self,
        generator: nn.Module,
        discriminators: Mapping[str, nn.Module],
        conditional: MatchingDiscriminator | ConditionalDiscriminator | None,
        *,
        weights: Mapping[str, float],
        kl: float,
        negative_weight: float,
        adam: AdamSettings,
    ) -> None:
        if not discriminators and conditional is None:
            raise ValueError("there is no discriminator")
        self.generator = generator
        self.discriminators = dict(discriminators)
        self.conditional = conditional
        self.weights = dict(weights)
        self.kl = kl
        self.negative_weight = negative_weight
        self.networks: dict[str, nn.Module] = {"generator": generator}
        phase = functools.partial(Phase.adam, betas=adam.betas)
        self.phases: list[Phase[Step]] = []
        for kind, discriminator in self.discriminators.items():
            name = f"discriminator_{kind}"
            self.networks[name] = discriminator
            loss = functools.partial(self.discriminator_terms, discriminator)
            self.phases.append(phase(name, {name: discriminator}, loss, lr=adam.discriminator_lr))
        if conditional is not None:
            name = "discriminator_conditional"
            self.networks[name] = conditional
            self.phases.append(
                phase(name, {name: conditional}, self.conditional_terms, lr=adam.discriminator_lr)
            )
        self.phases.append(
            phase("generator", {"generator": generator}, self.generator_terms, lr=adam.generator_lr)
        )

    def discriminator_terms(self, discriminator: nn.Module, step: Step) -> dict[str, Tensor]:
        """Return one discriminator's terms of L_D_GAN, averaged over the scores of a map."""
        return {
            "real": lsgan_real(discriminator(step.real)),
            "fake": lsgan_fake(discriminator(step.fake.detach())),
        }

    def conditional_terms(self, step: Step) -> dict[str, Tensor]:
        """Return L_D_cGAN: real images with their attributes against real ones with wrong ones and generated ones."""
        discriminator = self.conditional
        assert discriminator is not None
        assert step.attributes is not None
        assert step.wrong_attributes is not None
        if isinstance(discriminator, ConditionalDiscriminator):
            attributes = step.attributes, step.wrong_attributes
            return {"projected": discriminator.loss(step.real, step.fake.detach(), *attributes)}
        real = discriminator(step.real)
        fake = discriminator(step.fake.detach())
        return {
            "match": lsgan_real(discriminator.logits(real, step.attributes)),
            "mismatch": self.negative_weight * lsgan_fake(discriminator.logits(real, step.wrong_attributes)),
            "fake": self.negative_weight * lsgan_fake(discriminator.logits(fake, step.attributes)),
        }

    def generator_terms(self, step: Step) -> dict[str, Tensor]:
        """Return L_G: a term for each discriminator and the KL, each with its weight."""
        terms = {}
        if self.conditional is not None:
            assert step.attributes is not None
            if isinstance(self.conditional, ConditionalDiscriminator):
                terms["conditional"] = self.conditional.generator_loss(step.fake, step.attributes)
            else:
                scores = self.conditional.logits(self.conditional(step.fake), step.attributes)
                terms["conditional"] = lsgan_real(scores)
        for kind, discriminator in self.discriminators.items():
            terms[kind] = self.weights[kind] * lsgan_real(discriminator(step.fake))
        if step.output.mean is not None and step.output.log_sigma is not None:
            terms["kl"] = self.kl * augmentation_kl(step.output.mean, 2 * step.output.log_sigma)
        return terms


class Attr2Shape(Stage):
    """Stage I for the engine.

    It takes the arguments of `Stage`, with lambda_1 of the global discriminator as `global_weight` and lambda_2 of the
    local one as `local_weight`.

    Raises:
        ValueError: There is no discriminator, or only one of generator and discriminators takes attributes.
    """

    generator: ShapeGenerator

    def __init__(
        self,
        generator: ShapeGenerator,
        discriminators: Mapping[str, nn.Module],
        conditional: MatchingDiscriminator | ConditionalDiscriminator | None,
        *,
        global_weight: float,
        local_weight: float,
        kl: float,
        negative_weight: float,
        adam: AdamSettings,
    ) -> None:
        if generator.conditional != (conditional is not None):
            raise ValueError("a conditional generator, and only one, has a conditional discriminator")
        super().__init__(
            generator,
            discriminators,
            conditional,
            weights={"global": global_weight, "local": local_weight},
            kl=kl,
            negative_weight=negative_weight,
            adam=adam,
        )

    def begin(self, batch: Batch) -> Step:
        """Generate silhouettes with the attributes of the batch."""
        real = batch.silhouettes[-1]
        attributes = batch.attributes if self.generator.conditional else None
        noise = torch.randn(len(real), self.generator.noise_dim, device=real.device)
        condition_noise = torch.randn(len(real), self.generator.condition_dim, device=real.device)
        output = self.generator(attributes, noise, condition_noise)
        return Step(real, output.shapes, attributes, batch.wrong_attributes, output)


# --- Stage II: generator (section 3.3) --------------------------------------------------------------------------


class EncoderLevel(nn.Module):
    """Leaky ReLU, strided convolution, batch norm.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the result.
        activate: Have the activation; not at the input of the network.
        norm: Have the batch norm; not at the input and at the innermost pixel. Without it the convolution has a bias.
    """

    def __init__(self, in_channels: int, out_channels: int, *, activate: bool, norm: bool) -> None:
        super().__init__()
        self.activation = leaky() if activate else nn.Identity()
        self.conv = nn.Conv2d(in_channels, out_channels, 4, stride=2, padding=1, bias=not norm)
        self.norm = nn.BatchNorm2d(out_channels) if norm else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """(B, in, H, W) -> (B, out, H/2, W/2)."""
        result: Tensor = self.norm(self.conv(self.activation(x)))
        return result


class DecoderLevel(nn.Module):
    """ReLU, concatenation of the condition, transposed convolution, batch norm, dropout.

    The condition joins after the ReLU, which would remove its negative values.

    Args:
        in_channels: Channels of the features, with those of the skip connection.
        out_channels: Channels of the result.
        condition_dim: C of a condition that is repeated at every position; 0 for none.
        norm: Have the batch norm; not at the output of the network, where the convolution has a bias instead.
        dropout: Share of the features that is dropped.
        inference_dropout: Drop in eval mode too.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        condition_dim: int,
        norm: bool,
        dropout: float,
        inference_dropout: bool,
    ) -> None:
        super().__init__()
        self.conditional = condition_dim > 0
        self.conv = nn.ConvTranspose2d(
            in_channels + condition_dim, out_channels, 4, stride=2, padding=1, bias=not norm
        )
        self.norm = nn.BatchNorm2d(out_channels) if norm else nn.Identity()
        self.dropout = dropout
        self.inference_dropout = inference_dropout

    def forward(self, features: Sequence[Tensor], condition: Tensor) -> Tensor:
        """Map features (B, ., H, W) of `in` channels together and condition (B, C) to (B, out, 2H, 2W)."""
        # ReLU before the concatenation, whose gradient would reach batch norm in slices, which is slow
        parts = [F.relu(part) for part in features]
        if self.conditional:
            side = parts[0].shape[2:]
            parts.append(condition[:, :, None, None].expand(-1, -1, *side).to(parts[0].dtype))
        h = self.norm(self.conv(torch.cat(parts, dim=1)))
        return F.dropout(h, self.dropout, training=self.training or self.inference_dropout)


class ImageGenerator(nn.Module):
    """Generator of images from a silhouette and attributes: pix2pix's U-Net, as deep as the side allows.

    A skip connection joins layer i of the encoder to layer n - i of the decoder (section 3.3). The only noise is that
    of the augmentation and of dropout.

    Args:
        size: S, a power of two of at least 16.
        attributes: A.
        generator_width: W, channels of the first layer. Each further layer doubles them, up to eight times as many.
        condition_dim: C.
        dropout: Dropout of the innermost decoder layers with 8W channels, three at most.
        inject: Decoder layers that the condition joins: the innermost one, or all.
        inference_dropout: Drop in eval mode too, as pix2pix does.

    Raises:
        ValueError: `size` is no such side.
    """

    def __init__(
        self,
        *,
        size: int,
        attributes: int,
        generator_width: int,
        condition_dim: int,
        dropout: float,
        inject: Injection,
        inference_dropout: bool,
    ) -> None:
        super().__init__()
        if size < 16:
            raise ValueError(f"a side of {size} is less than 16")
        self.size = size
        self.attributes = attributes
        self.condition_dim = condition_dim
        depth = doublings(1, size)
        widths = [generator_width * min(2**i, MAX_MULTIPLE) for i in range(depth)]
        self.augmentation = LeakyConditioningAugmentation(attributes, condition_dim)
        self.encoder = nn.ModuleList(
            EncoderLevel(1 if i == 0 else widths[i - 1], widths[i], activate=i > 0, norm=0 < i < depth - 1)
            for i in range(depth)
        )
        full = [i for i in range(depth - 1, 0, -1) if widths[i - 1] == MAX_MULTIPLE * generator_width]
        self.decoder = nn.ModuleList(  # numbered like the mirrored encoder layer, innermost first
            DecoderLevel(
                widths[i] if i == depth - 1 else 2 * widths[i],
                widths[i - 1] if i > 0 else 3,
                condition_dim=condition_dim if i == depth - 1 or inject == "all" else 0,
                norm=i > 0,
                dropout=dropout if i in full[:3] else 0.0,
                inference_dropout=inference_dropout,
            )
            for i in range(depth - 1, -1, -1)
        )
        self.apply(initialise_weights)
        start_with_little_noise(self.augmentation)

    def large_blocks(self) -> list[nn.Module]:
        """Return the modules that train.activation_checkpointing recomputes."""
        return [*self.encoder, *self.decoder]

    def forward(self, shapes: Tensor, attributes: Tensor, condition_noise: Tensor) -> AugmentedImages:
        """Generate images.

        Args:
            shapes: Silhouettes (B, 1, S, S) in [-1, 1].
            attributes: (B, A) in [0, 1].
            condition_noise: (B, C) standard normal, for the conditioning augmentation.
        """
        condition, mean, log_sigma = self.augmentation(attributes, condition_noise)
        skips = []
        h = shapes
        for level in self.encoder:
            h = level(h)
            skips.append(h)
        innermost, *outer = self.decoder
        h = innermost([skips.pop()], condition)
        for level in outer:
            h = level([h, skips.pop()], condition)
        return AugmentedImages(torch.tanh(h).float(), mean, log_sigma)


# --- Stage II: silhouettes and training step --------------------------------------------------------------------

STAGE_ONE_SIZE = 64


def enlarge_shapes(shapes: Tensor, size: int, *, soft: bool = False) -> Tensor:
    """Resize silhouettes of Stage I bilinearly to the side of Stage II and threshold them at 0.

    Args:
        shapes: (B, 1, s, s) in [-1, 1].
        size: S.
        soft: Leave out the threshold.

    Returns:
        (B, 1, S, S), -1 or +1 unless `soft`.
    """
    enlarged = F.interpolate(shapes, size=(size, size), mode="bilinear", align_corners=False)
    return enlarged if soft else torch.where(enlarged >= 0, 1.0, -1.0).to(shapes.dtype)


def coarsen_shapes(shapes: Tensor) -> Tensor:
    """Reduce silhouettes (B, 1, S, S) to the detail of Stage I: through 64 pixels, or S/4 if S is at most 64."""
    size = shapes.shape[-1]
    small = STAGE_ONE_SIZE if size > STAGE_ONE_SIZE else size // 4
    return enlarge_shapes(F.interpolate(shapes, size=(small, small), mode="area"), size)


class Shape2Image(Stage):
    """Stage II for the engine, on silhouettes of the data, which have an image to compare with.

    Args:
        generator: Generator to train.
        discriminators: {"global": D} to train. It may be empty: the paper's equations leave D out, its Fig. 1 shows it.
        conditional: D_cGAN to train, or a projected discriminator.
        global_weight: lambda_1 of the global discriminator.
        l1: Weight of the mean absolute difference from the image. The paper writes a sum.
        d_sees_shape: Concatenate the silhouette to the images of the discriminators, as pix2pix does.
        shape_noise: Probability of reducing a silhouette to the detail of Stage I.
        kl: lambda_0.
        negative_weight: Weight of both negative terms of D_cGAN.
        adam: Learning rates and momenta.
    """

    generator: ImageGenerator

    def __init__(
        self,
        generator: ImageGenerator,
        discriminators: Mapping[str, nn.Module],
        conditional: MatchingDiscriminator | ConditionalDiscriminator,
        *,
        global_weight: float,
        l1: float,
        d_sees_shape: bool,
        shape_noise: float,
        kl: float,
        negative_weight: float,
        adam: AdamSettings,
    ) -> None:
        super().__init__(
            generator,
            discriminators,
            conditional,
            weights={"global": global_weight},
            kl=kl,
            negative_weight=negative_weight,
            adam=adam,
        )
        self.l1 = l1
        self.d_sees_shape = d_sees_shape
        self.shape_noise = shape_noise

    def begin(self, batch: Batch) -> Step:
        """Generate images on the silhouettes of the batch with its attributes."""
        images, shapes = batch.images[-1], batch.silhouettes[-1]
        assert batch.attributes is not None
        if self.shape_noise > 0:
            coarse = torch.rand(len(shapes), 1, 1, 1, device=shapes.device) < self.shape_noise
            shapes = torch.where(coarse, coarsen_shapes(shapes), shapes)
        condition_noise = torch.randn(len(images), self.generator.condition_dim, device=images.device)
        output = self.generator(shapes, batch.attributes, condition_noise)
        real, fake = images, output.images
        if self.d_sees_shape:
            real, fake = (torch.cat([part, shapes], dim=1) for part in (real, fake))
        return Step(real, fake, batch.attributes, batch.wrong_attributes, output)

    def generator_terms(self, step: Step) -> dict[str, Tensor]:
        """Return L_G of section 3.3: the terms of `Stage`, and L_sup with its weight."""
        assert isinstance(step.output, AugmentedImages)
        terms = super().generator_terms(step)
        terms["l1"] = self.l1 * F.l1_loss(step.output.images, step.real[:, :3].float())
        return terms
