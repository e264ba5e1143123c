"""Fusion-S2iGan: an efficient and effective single-stage framework for speech-to-image generation (Zhang and Schomaker,
2024).

One generator draws an image from noise and one vector, that of a spoken caption or of a written one; at every
resolution the vector is fused with the visual features. The modules stand in the paper's order, each beside what its
substitution studies put in its place (Tables 3 to 6); the block `dfgan` makes the same network DF-GAN. The paper gives
few numbers and there is no public code: docs/fusion-s2igan.md lists what is from where.

B is the batch, E the length of the condition (speech or sentence vector), Z of the noise, C the channels of a feature
map, W a network's width.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gancli.data.loader import Batch
from gancli.engine.phases import AdamSettings, Phase
from gancli.losses.adversarial import generator_hinge, hinge_fake, hinge_real
from gancli.losses.matching import distinct_classes, global_matching_loss
from gancli.losses.penalty import (
    PenaltyForm,
    TwiceDifferentiableLayers,
    gradient_norms,
    matching_aware_penalty,
)
from gancli.models.attention import (
    BottleneckAttention,
    ContextualAttention,
    ContextualAttentionLite,
    PolarizedAttention,
)
from gancli.models.layers import (
    SMALLEST_MAP,
    UpsampleConv2d,
    conv3x3,
    conv_norm,
    doublings,
    first_map,
    leaky,
)

Attention = Literal["pam", "bam", "bam-product", "polarized", "polarized-sequential", "cot", "cot-lite"]
Fusion = Literal["wfm", "add", "mul"]
Block = Literal["vsfm", "dfgan", "dtgan-approx"]

# --- speech-modulation module (SMM, section 4.2.3) ------------------------------------------------------------


def predictor(*dims: int, start: float) -> nn.Sequential:
    """Linear layers with ReLU between them whose output is `start`, whatever the input, until they are trained."""
    layers: list[nn.Module] = []
    for before, after in itertools.pairwise(dims):
        layers += [nn.Linear(before, after), nn.ReLU()]
    layers.pop()
    last = layers[-1]
    assert isinstance(last, nn.Linear)
    nn.init.zeros_(last.weight)
    nn.init.constant_(last.bias, start)
    return nn.Sequential(*layers)


class SpeechModulation(nn.Module):
    """Scales and shifts each channel by what the condition says (eqs. 11-13); the identity before training.

    Args:
        channels: C.
        condition_dim: E.
        hidden: Width of the hidden layers; 256 in DF-GAN's first version, which the paper cites.
    """

    def __init__(self, channels: int, condition_dim: int, hidden: int) -> None:
        super().__init__()
        self.scale = predictor(condition_dim, hidden, channels, start=1.0)
        self.shift = predictor(condition_dim, hidden, channels, start=0.0)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """(B, C, H, W) and (B, E) -> (B, C, H, W)."""
        scale, shift = (
            layers(condition)[:, :, None, None].to(x.dtype) for layers in (self.scale, self.shift)
        )
        return torch.addcmul(shift, x, scale)


# --- pixel-attention module (PAM, section 4.2.2) and its substitutes ------------------------------------------


class PixelAttention(nn.Module):
    """Weighs each pixel by one number in (0, 1) (eqs. 9-10). (B, C, H, W) -> same.

    Args:
        channels: C.
        reduction: r, by which the 3x3 convolution divides the channels.
    """

    def __init__(self, channels: int, reduction: int) -> None:
        super().__init__()
        inner = max(channels // reduction, 1)
        self.layers = nn.Sequential(
            *conv_norm(nn.Conv2d(channels, inner, 3, padding=1), nn.ReLU()), nn.Conv2d(inner, 1, 1)
        )

    def map(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, 1, H, W) in (0, 1)."""
        return torch.sigmoid(self.layers(x))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.map(x)


def attention_module(name: Attention, channels: int, reduction: int) -> nn.Module:
    """PAM or what Table 3 puts in its place; `reduction` is PAM's.

    Raises:
        ValueError: The module does not take that many channels.
    """
    match name:
        case "pam":
            return PixelAttention(channels, reduction)
        case "bam" | "bam-product":
            return BottleneckAttention(channels, product=name == "bam-product")
        case "polarized" | "polarized-sequential":
            return PolarizedAttention(channels, sequential=name == "polarized-sequential")
        case "cot":
            return ContextualAttention(channels)
        case "cot-lite":
            return ContextualAttentionLite(channels)


# --- weighted-fusion module (WFM, section 4.2.4) and its substitutes ------------------------------------------


class WeightedFusion(nn.Module):
    """Adds two feature maps with weights per channel that sum to 1 (eqs. 14-18).

    The softmax is over the two maps. Over the channels, as the paper's words have it, each weight would be about 1/C
    and the branch would vanish.

    Args:
        channels: C.
        reduction: By which the hidden layer divides the channels, of which four stay at least.
    """

    SMALLEST_HIDDEN = 4

    def __init__(self, channels: int, reduction: int) -> None:
        super().__init__()
        hidden = max(channels // reduction, self.SMALLEST_HIDDEN)
        self.layers = nn.Sequential(nn.Linear(channels, hidden), nn.GELU(), nn.Linear(hidden, 2 * channels))

    def weights(self, attended: Tensor, modulated: Tensor) -> Tensor:
        """Two maps (B, C, H, W) -> (B, 2, C), of the first and of the second map."""
        # Channels come last so that the means' gradients do: contiguous, they would not lie as all other gradients
        first, second = (x.permute(0, 2, 3, 1).mean(dim=(1, 2)) for x in (attended, modulated))  # (B, C) each
        logits: Tensor = self.layers(first + second)
        return logits.unflatten(1, (2, -1)).softmax(dim=1)

    def forward(self, attended: Tensor, modulated: Tensor) -> Tensor:
        """Two maps (B, C, H, W) -> one."""
        first = self.weights(attended, modulated)[:, 0, :, None, None]
        return torch.lerp(modulated, attended, first.to(attended.dtype))  # the second weight is the rest to 1


def fusion_module(name: Fusion, channels: int, reduction: int) -> Callable[[Tensor, Tensor], Tensor]:
    """WFM or what Table 4 puts in its place; `reduction` is WFM's."""
    match name:
        case "wfm":
            return WeightedFusion(channels, reduction)
        case "add":
            return torch.add
        case "mul":
            return torch.mul


# --- visual+speech fusion module (VSFM, section 4.2.1) and its substitutes ------------------------------------


class VisualSpeechFusion(nn.Module):
    """Normalises a feature map and adds to it what attention and condition make of it (eqs. 7-8).

    Args:
        channels: C.
        modulation: SMM.
        attention: PAM or a substitute.
        fusion: WFM or a substitute.
    """

    def __init__(
        self,
        channels: int,
        modulation: SpeechModulation,
        attention: nn.Module,
        fusion: Callable[[Tensor, Tensor], Tensor],
    ) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(channels)
        self.attention = attention
        self.modulation = modulation
        self.fusion = fusion

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """(B, C, H, W) and (B, E) -> (B, C, H, W)."""
        x = self.norm(x)
        return x + self.fusion(self.attention(x), self.modulation(x, condition))


class DeepFusion(nn.Module):
    """DF-GAN's fusion (Tao et al., 2020): two modulations with a leaky ReLU between them, and no batch norm.

    Args:
        first: Of the two modulations.
        second: Of the two.
    """

    def __init__(self, first: SpeechModulation, second: SpeechModulation) -> None:
        super().__init__()
        self.first, self.second, self.activation = first, second, leaky()

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """(B, C, H, W) and (B, E) -> (B, C, H, W)."""
        result: Tensor = self.second(self.activation(self.first(x, condition)), condition)
        return result


class DualAttentionFusion(nn.Module):
    """An approximation of DTGAN's fusion (Zhang and Schomaker, 2021), of which there is no public code.

    Attention over channels, attention over pixels, then conditional adaptive instance-layer normalisation. Its results
    are not DTGAN's.

    Args:
        channels: C.
        condition_dim: E.
        reduction: By which the channel attention's hidden layer divides its channels.
    """

    EPSILON = 1e-5
    START = 0.9  # share of the instance norm

    def __init__(self, channels: int, condition_dim: int, reduction: int) -> None:
        super().__init__()
        self.channel_condition = nn.Linear(condition_dim, channels)
        hidden = max(channels // reduction, 1)
        self.channel = nn.Sequential(nn.Linear(2 * channels, hidden), nn.ReLU(), nn.Linear(hidden, channels))
        self.pixel_condition = nn.Linear(condition_dim, 1)
        self.pixel = nn.Conv2d(3, 1, 7, padding=3)
        self.instance_share = nn.Parameter(torch.full((channels, 1, 1), self.START))  # rho
        self.scale = predictor(condition_dim, channels, start=1.0)
        self.shift = predictor(condition_dim, channels, start=0.0)

    def attend_channels(self, x: Tensor, condition: Tensor) -> Tensor:
        """(B, C, H, W) -> same."""
        projected = self.channel_condition(condition)
        mean, most = x.mean(dim=(2, 3)), x.amax(dim=(2, 3))
        gate = self.channel(torch.cat([mean, projected], 1)) + self.channel(torch.cat([most, projected], 1))
        return x * torch.sigmoid(gate)[:, :, None, None]

    def attend_pixels(self, x: Tensor, condition: Tensor) -> Tensor:
        """(B, C, H, W) -> same."""
        mean, most = x.mean(dim=1, keepdim=True), x.amax(dim=1, keepdim=True)
        tiled = self.pixel_condition(condition)[:, :, None, None].expand_as(mean)
        return x * torch.sigmoid(self.pixel(torch.cat([mean, most, tiled.to(x.dtype)], dim=1)))

    def normalise(self, x: Tensor, condition: Tensor) -> Tensor:
        """(B, C, H, W) -> same."""
        instance = F.instance_norm(x, eps=self.EPSILON)
        layer = F.layer_norm(x, x.shape[1:], eps=self.EPSILON)
        mixed = self.instance_share * instance + (1 - self.instance_share) * layer
        return mixed * self.scale(condition)[:, :, None, None] + self.shift(condition)[:, :, None, None]

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """(B, C, H, W) and (B, E) -> (B, C, H, W)."""
        return self.normalise(self.attend_pixels(self.attend_channels(x, condition), condition), condition)

    @torch.no_grad()
    def clamp(self) -> None:
        """Brings the share of the instance norm back into [0, 1]; for after an optimizer's step."""
        self.instance_share.clamp_(0, 1)


# --- generator (section 4.1.1) --------------------------------------------------------------------------------


class DualResidualBlock(nn.Module):
    """Fusion, activation, convolution, twice, added to the input (Fig. 2c).

    Args:
        in_channels: Of the input.
        out_channels: Of the result; another number brings a 1x1 convolution into the shortcut.
        fusion: Makes a fusion module of a number of channels.
        modules: 2, or 1 to leave the second fusion module out (Table 6); both convolutions stay.
        activation: After each fusion module.
        upsample: Double the sides first, by nearest neighbour.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        fusion: Callable[[int], nn.Module],
        *,
        modules: int,
        activation: nn.Module,
        upsample: bool,
    ) -> None:
        super().__init__()
        self.fuse1 = fusion(in_channels)
        # What looks at each pixel by itself gives the same before the upsampling, which the convolution then contains.
        self.upsample_last = upsample and isinstance(self.fuse1, DeepFusion)
        self.conv1 = (
            UpsampleConv2d(in_channels, out_channels, bias=True)
            if self.upsample_last
            else nn.Conv2d(in_channels, out_channels, 3, padding=1)
        )
        self.fuse2 = fusion(out_channels) if modules == 2 else None
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1)
        self.shortcut = (
            nn.Identity() if in_channels == out_channels else nn.Conv2d(in_channels, out_channels, 1)
        )
        self.activation = activation
        self.upsample = upsample

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """(B, in, H, W) and (B, E) -> (B, out, H, W), or twice the sides."""
        shortcut = self.shortcut(x)
        if self.upsample:  # a 1x1 convolution gives the same before it, on a quarter of the pixels
            shortcut = F.interpolate(shortcut, scale_factor=2.0, mode="nearest")
            if not self.upsample_last:
                x = F.interpolate(x, scale_factor=2.0, mode="nearest")
        x = self.conv1(self.activation(self.fuse1(x, condition)))
        if self.fuse2 is not None:
            x = self.fuse2(x, condition)
        result: Tensor = shortcut + self.conv2(self.activation(x))
        return result


class Generator(nn.Module):
    """Noise and a condition to an image: a linear layer, a block per resolution, a convolution (eqs. 3-6).

    The last block has W channels, each one before it twice as many, at most 8W: at 256 pixels 8, 8, 8, 8, 4, 2, 1
    times W.

    Args:
        size: Side of the images, 4 * 2^k with k >= 1.
        condition_dim: E.
        generator_width: W.
        noise_dim: Z.
        noise_in_condition: The blocks see the noise beside the condition (DF-GAN's CVPR version).
        condition_scale: The condition is multiplied by it.
        block: VSFM or a substitute.
        attention: In VSFM: PAM or a substitute.
        fusion: In VSFM: WFM or a substitute.
        modules: Fusion modules in a block, 2 or 1.
        first_block: There is a block at 4x4, before the first doubling; DF-GAN's CVPR version has none.
        modulation_hidden: Width of the modulations' hidden layers; None: as many as channels (DF-GAN's CVPR version).
        attention_reduction: Of PAM, and of the channel attention of `dtgan-approx`.
        fusion_reduction: Of WFM.

    Raises:
        ValueError: Size or channels fit no network.
    """

    MOST_CHANNELS = 8  # times W

    def __init__(
        self,
        *,
        size: int,
        condition_dim: int,
        generator_width: int,
        noise_dim: int,
        noise_in_condition: bool,
        condition_scale: float,
        block: Block,
        attention: Attention,
        fusion: Fusion,
        modules: int,
        first_block: bool,
        modulation_hidden: int | None,
        attention_reduction: int,
        fusion_reduction: int,
    ) -> None:
        super().__init__()
        for name, value, kind in (
            ("block", block, Block),
            ("attention", attention, Attention),
            ("fusion", fusion, Fusion),
        ):
            if value not in get_args(kind):
                raise ValueError(f"{name} is {value!r}, not one of {', '.join(get_args(kind))}")
        steps = doublings(SMALLEST_MAP, size)
        if steps < 1:
            raise ValueError(f"the smallest image has {2 * SMALLEST_MAP} pixels a side, not {size}")
        self.size = size
        self.noise_dim = noise_dim
        self.condition_dim = condition_dim
        self.condition_scale = condition_scale
        self.noise_in_condition = noise_in_condition
        block_dim = condition_dim + noise_dim if noise_in_condition else condition_dim

        def modulation(channels: int) -> SpeechModulation:
            return SpeechModulation(channels, block_dim, modulation_hidden or channels)

        def fuse(channels: int) -> nn.Module:
            match block:
                case "vsfm":
                    return VisualSpeechFusion(
                        channels,
                        modulation(channels),
                        attention_module(attention, channels, attention_reduction),
                        fusion_module(fusion, channels, fusion_reduction),
                    )
                case "dfgan":
                    return DeepFusion(modulation(channels), modulation(channels))
                case "dtgan-approx":
                    return DualAttentionFusion(channels, block_dim, attention_reduction)

        activation = leaky() if block == "dfgan" else nn.ReLU()
        widths = [
            generator_width * min(2**i, self.MOST_CHANNELS) for i in range(steps, -1, -1)
        ]  # at 4, 8, ... size
        self.linear = nn.Linear(noise_dim, widths[0] * SMALLEST_MAP**2)
        self.blocks = nn.ModuleList(
            DualResidualBlock(
                widths[max(i - 1, 0)],
                widths[i],
                fuse,
                modules=modules,
                activation=activation,
                upsample=i > 0,
            )
            for i in range(0 if first_block else 1, steps + 1)
        )
        self.out = nn.Sequential(activation, nn.Conv2d(generator_width, 3, 3, padding=1), nn.Tanh())

    def large_blocks(self) -> list[nn.Module]:
        """Those that train.activation_checkpointing recomputes."""
        return [*self.blocks, self.out]

    def forward(self, noise: Tensor, condition: Tensor) -> Tensor:
        """Standard normal noise (B, Z) and conditions (B, E) to images (B, 3, S, S) in [-1, 1]."""
        condition = self.condition_scale * condition
        if self.noise_in_condition:
            condition = torch.cat([noise, condition], dim=1)
        x = first_map(self.linear(noise))
        for block in self.blocks:
            x = block(x, condition)
        result: Tensor = self.out(x)
        return result


# --- discriminator (section 4.1.2) ----------------------------------------------------------------------------


class DownBlock(nn.Module):
    """Two convolutions that halve the side, times a number that starts at 0, added to the average-pooled input.

    (B, in, H, W) -> (B, out, H/2, W/2).
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.branch = nn.Sequential(
            # Not conv4x4, whose way over small maps is slow under a gradient penalty
            nn.Conv2d(in_channels, out_channels, 4, stride=2, padding=1, bias=False),
            leaky(),
            conv3x3(out_channels, out_channels),
            leaky(),
        )
        self.branch_scale = nn.Parameter(torch.zeros(1))
        self.shortcut = (
            nn.Identity() if in_channels == out_channels else nn.Conv2d(in_channels, out_channels, 1)
        )

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.shortcut(F.avg_pool2d(x, 2)) + self.branch_scale * self.branch(x)
        return result


class Discriminator(nn.Module):
    """Judges from a 4x4 map whether an image is real and belongs to its condition. It has no normalisation.

    Args:
        size: Side of the images, 4 * 2^k with k >= 1.
        condition_dim: E.
        discriminator_width: W, channels of the first convolution; each block doubles them.
        discriminator_max_multiple: Largest number of channels, as a multiple of W: 32 in the paper (1024), 8 in
            DF-GAN's CVPR version.
    """

    def __init__(
        self, *, size: int, condition_dim: int, discriminator_width: int, discriminator_max_multiple: int
    ) -> None:
        super().__init__()
        width, most = discriminator_width, discriminator_max_multiple
        widths = [width * min(2**i, most) for i in range(doublings(SMALLEST_MAP, size) + 1)]
        self.encoder = nn.Sequential(
            nn.Conv2d(3, width, 3, padding=1),
            *(DownBlock(before, after) for before, after in itertools.pairwise(widths)),
        )
        self.head = nn.Sequential(
            conv3x3(widths[-1] + condition_dim, 2 * width),
            leaky(),
            nn.Conv2d(2 * width, 1, SMALLEST_MAP, bias=False),
        )

    def large_blocks(self) -> list[nn.Module]:
        """Those that train.activation_checkpointing recomputes."""
        return [self.encoder]

    def forward(self, images: Tensor) -> Tensor:
        """Images (B, 3, S, S) in [-1, 1] to features (B, F, 4, 4)."""
        features: Tensor = self.encoder(images)
        return features

    def score(self, features: Tensor, condition: Tensor) -> Tensor:
        """Features (B, F, 4, 4) and scaled conditions (B, E) to a score (B,), high for a real and matching pair."""
        tiled = condition[:, :, None, None].expand(-1, -1, SMALLEST_MAP, SMALLEST_MAP).to(features.dtype)
        scores: Tensor = self.head(torch.cat([features, tiled], dim=1))
        return scores.flatten()


# --- objective and training step (section 4.3) ----------------------------------------------------------------


@dataclass(frozen=True)
class Step:
    """What both phases of one training step share.

    Attributes:
        real: (B, 3, S, S).
        fake: (B, 3, S, S), with the generator's graph.
        condition: (B, E), of `real` and `fake`.
        wrong: (B, E), of other images.
        class_ids: (B,).
    """

    real: Tensor
    fake: Tensor
    condition: Tensor
    wrong: Tensor
    class_ids: Tensor


class FusionS2iGan:
    """Fusion-S2iGan as the engine trains it: discriminator, then generator, on the same generated images.

    Args:
        generator: To be trained.
        discriminator: To be trained.
        image_encoder: Images (B, 3, S, S) to vectors (B, E) that are compared with the condition; frozen. None where
            the matching loss has weight 0.
        damsm: lambda, weight of the matching loss, the global half of DAMSM; 0 leaves it out.
        gamma: Sharpness of the matching loss.
        same_class_negatives: Count other images of a class as wrong pairs in the matching loss.
        magp: k, weight of the matching-aware gradient penalty; 0 leaves it out.
        magp_power: p, exponent of the penalty.
        magp_form: Joint norm of both gradients, or the sum of their norms.
        adam: Learning rates and momenta.
    """

    averaged = ("generator",)

    def __init__(
        self,
        generator: Generator,
        discriminator: Discriminator,
        *,
        image_encoder: Callable[[Tensor], Tensor] | None = None,
        damsm: float,
        gamma: float,
        same_class_negatives: bool,
        magp: float,
        magp_power: float,
        magp_form: PenaltyForm,
        adam: AdamSettings,
    ) -> None:
        if (damsm > 0) != (image_encoder is not None):
            raise ValueError("a matching loss, and only it, needs an image encoder")
        self.generator = generator
        self.discriminator = discriminator
        self.image_encoder = image_encoder
        self.damsm = damsm
        self.gamma = gamma
        self.same_class_negatives = same_class_negatives
        self.magp = magp
        self.magp_power = magp_power
        self.magp_form: PenaltyForm = magp_form
        self.networks: dict[str, nn.Module] = {"generator": generator, "discriminator": discriminator}
        self.phases = [
            Phase.adam(
                "discriminator",
                {"discriminator": discriminator},
                self.discriminator_terms,
                lr=adam.discriminator_lr,
                betas=adam.betas,
                watched=("image_gradient", "condition_gradient"),
                differentiated_twice=("discriminator",) if magp > 0 else (),
            ),
            Phase.adam(
                "generator",
                {"generator": generator},
                self.generator_terms,
                lr=adam.generator_lr,
                betas=adam.betas,
            ),
        ]
        clamped = [module for module in generator.modules() if isinstance(module, DualAttentionFusion)]

        def clamp(*_: Any) -> None:
            for module in clamped:
                module.clamp()

        self.phases[1].optimizer.register_step_post_hook(clamp)

    def begin(self, batch: Batch) -> Step:
        """Draws the images that both phases look at."""
        condition = batch.sentences
        assert condition is not None
        wrong = batch.wrong_sentences
        if wrong is None:
            wrong = condition.roll(1, dims=0)
        noise = torch.randn(len(condition), self.generator.noise_dim, device=condition.device)
        fake = self.generator(noise, condition)
        return Step(batch.images[-1], fake, condition, wrong, batch.class_ids)

    def discriminator_terms(self, step: Step) -> dict[str, Tensor]:
        """The hinge loss (eq. 19) and MA-GP (eq. 20); the real images' features serve all three terms on them."""
        scale = self.generator.condition_scale
        # The penalty's sixth power overflows half precision, so its whole graph is in float32
        with torch.autocast(step.real.device.type, enabled=False):
            real = step.real.float().detach().requires_grad_()
            condition = (scale * step.condition).detach().requires_grad_()
            with TwiceDifferentiableLayers() if self.magp > 0 else nullcontext():
                features = self.discriminator(real)
                scores = self.discriminator.score(features, condition)
            mismatched = self.discriminator.score(features, scale * step.wrong)
            terms = {"real": hinge_real(scores), "mismatched": hinge_fake(mismatched) / 2}
            if self.magp > 0:
                by_image, by_condition = gradient_norms(scores, real, condition)
                penalty = matching_aware_penalty(
                    by_image, by_condition, power=self.magp_power, form=self.magp_form
                )
                terms["penalty"] = self.magp * penalty
                terms["image_gradient"] = by_image.detach().mean()
                terms["condition_gradient"] = by_condition.detach().mean()
        generated = self.discriminator.score(self.discriminator(step.fake.detach()), condition.detach())
        return {**terms, "generated": hinge_fake(generated) / 2}

    def generator_terms(self, step: Step) -> dict[str, Tensor]:
        """The generator's hinge loss and the matching loss of its images with their condition."""
        condition = self.generator.condition_scale * step.condition
        scores = self.discriminator.score(self.discriminator(step.fake), condition)
        terms = {"adversarial": generator_hinge(scores)}
        if self.image_encoder is not None:
            alike = distinct_classes(step.class_ids) if self.same_class_negatives else step.class_ids
            loss = global_matching_loss(
                self.image_encoder(step.fake), step.condition, alike, gamma=self.gamma
            )
            terms["matching"] = self.damsm * loss
        return terms
