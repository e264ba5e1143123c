"""Fusion-S2iGan: an efficient and effective single-stage framework for speech-to-image generation (Zhang and Schomaker,
2024).

One generator draws an image from noise and the vector of a spoken or written caption, which is fused with the visual
features at every resolution. The modules follow the paper's order, each with its substitutes of Tables 3 to 6. With
the block `dfgan` the network is DF-GAN. The paper gives few numbers and there is no public code:
docs/fusion-s2igan.md lists the sources.

B is the batch, E the length of the condition (speech or sentence vector), Z of the noise, C the channels of a feature
map, W a network's width.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gancli.data.loader import Batch
from gancli.engine.phases import AdamSettings, Phase
from gancli.losses.adversarial import generator_hinge, hinge_fake, hinge_real
from gancli.losses.matching import distinct_classes, global_matching_loss
from gancli.losses.penalty import PenaltyForm, gradient_norms, matching_aware_penalty
from gancli.models.attention import (
    BottleneckAttention,
    ContextualAttention,
    ContextualAttentionLite,
    PolarizedAttention,
)
from gancli.models.layers import (
    SMALLEST_MAP,
    ConditionalDiscriminator,
    conv3x3,
    conv_norm,
    doublings,
    first_map,
    leaky,
)
from gancli.ops.convolutions import TwiceDifferentiableLayers, UpsampleConv2d

Attention = Literal["pam", "bam", "bam-product", "polarized", "polarized-sequential", "cot", "cot-lite"]
Fusion = Literal["wfm", "add", "mul"]
Block = Literal["vsfm", "dfgan", "dtgan-approx"]

# --- speech-modulation module (SMM, section 4.2.3) ------------------------------------------------------------


def predictor(*dims: int, start: float) -> nn.Sequential:
    """Build linear layers with ReLU between them, whose output before training is `start` for any input."""
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
    """Scale and shift of each channel, predicted from the condition (eqs. 11-13); the identity before training.

    Args:
        channels: C.
        condition_dim: E.
        hidden: Width of the hidden layers, 256 in DF-GAN's first version, which the paper cites.
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
    """Weighting of each pixel by one number in (0, 1) (eqs. 9-10). (B, C, H, W) -> same.

    Args:
        channels: C.
        reduction: r, factor by which the 3x3 convolution reduces the channels.
    """

    def __init__(self, channels: int, reduction: int) -> None:
        super().__init__()
        inner = max(channels // reduction, 1)
        self.layers = nn.Sequential(
            *conv_norm(nn.Conv2d(channels, inner, 3, padding=1), nn.ReLU()), nn.Conv2d(inner, 1, 1)
        )

    def map(self, x: Tensor) -> Tensor:
        """Map (B, C, H, W) to weights (B, 1, H, W) in (0, 1)."""
        return torch.sigmoid(self.layers(x))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.map(x)


def attention_module(name: Attention, channels: int, reduction: int) -> nn.Module:
    """Build PAM, with its reduction, or one of its substitutes in Table 3.

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
    """Sum of two feature maps with weights per channel that sum to 1 (eqs. 14-18).

    The softmax is over the two maps. Over the channels, as the paper words it, each weight would be about 1/C and the
    branch would vanish.

    Args:
        channels: C.
        reduction: Factor by which the hidden layer reduces the channels, to four at least.
    """

    SMALLEST_HIDDEN = 4

    def __init__(self, channels: int, reduction: int) -> None:
        super().__init__()
        hidden = max(channels // reduction, self.SMALLEST_HIDDEN)
        self.layers = nn.Sequential(nn.Linear(channels, hidden), nn.GELU(), nn.Linear(hidden, 2 * channels))

    def weights(self, attended: Tensor, modulated: Tensor) -> Tensor:
        """Map two feature maps (B, C, H, W) to their weights (B, 2, C)."""
        # Channels come last, so that the gradients of the means are channels_last like all others
        first, second = (x.permute(0, 2, 3, 1).mean(dim=(1, 2)) for x in (attended, modulated))  # (B, C) each
        logits: Tensor = self.layers(first + second)  # (B, 2C)
        return logits.view(logits.shape[0], 2, -1).softmax(dim=1)

    def forward(self, attended: Tensor, modulated: Tensor) -> Tensor:
        """Map two feature maps (B, C, H, W) to one."""
        first = self.weights(attended, modulated)[:, 0, :, None, None]
        return torch.lerp(modulated, attended, first.to(attended.dtype))  # the two weights sum to 1


def fusion_module(name: Fusion, channels: int, reduction: int) -> Callable[[Tensor, Tensor], Tensor]:
    """Build WFM, with its reduction, or one of its substitutes in Table 4."""
    match name:
        case "wfm":
            return WeightedFusion(channels, reduction)
        case "add":
            return torch.add
        case "mul":
            return torch.mul


# --- visual+speech fusion module (VSFM, section 4.2.1) and its substitutes ------------------------------------


class VisualSpeechFusion(nn.Module):
    """Batch norm, to whose result the fusion of its attended and its modulated version is added (eqs. 7-8)."""

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
    """DF-GAN's fusion (Tao et al., 2020): two modulations with a leaky ReLU between them, without batch norm."""

    def __init__(self, first: SpeechModulation, second: SpeechModulation) -> None:
        super().__init__()
        self.first, self.second, self.activation = first, second, leaky()

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """(B, C, H, W) and (B, E) -> (B, C, H, W)."""
        result: Tensor = self.second(self.activation(self.first(x, condition)), condition)
        return result


class DualAttentionFusion(nn.Module):
    """Approximation of DTGAN's fusion (Zhang and Schomaker, 2021), which has no public code.

    Attention over channels, attention over pixels, then conditional adaptive instance-layer normalisation. The results
    are not DTGAN's.

    Args:
        channels: C.
        condition_dim: E.
        reduction: Factor by which the channel attention's hidden layer reduces the channels.
    """

    EPSILON = 1e-5
    INITIAL_SHARE = 0.9  # share of the instance norm

    def __init__(self, channels: int, condition_dim: int, reduction: int) -> None:
        super().__init__()
        self.channel_condition = nn.Linear(condition_dim, channels)
        hidden = max(channels // reduction, 1)
        self.channel = nn.Sequential(nn.Linear(2 * channels, hidden), nn.ReLU(), nn.Linear(hidden, channels))
        self.pixel_condition = nn.Linear(condition_dim, 1)
        self.pixel = nn.Conv2d(3, 1, 7, padding=3)
        self.instance_share = nn.Parameter(torch.full((channels, 1, 1), self.INITIAL_SHARE))  # rho
        self.scale = predictor(condition_dim, channels, start=1.0)
        self.shift = predictor(condition_dim, channels, start=0.0)

    def attend_channels(self, x: Tensor, condition: Tensor) -> Tensor:
        """Weigh the channels of (B, C, H, W)."""
        projected = self.channel_condition(condition)
        mean, most = x.mean(dim=(2, 3)), x.amax(dim=(2, 3))
        gate = self.channel(torch.cat([mean, projected], 1)) + self.channel(torch.cat([most, projected], 1))
        return x * torch.sigmoid(gate)[:, :, None, None]

    def attend_pixels(self, x: Tensor, condition: Tensor) -> Tensor:
        """Weigh the pixels of (B, C, H, W)."""
        mean, most = x.mean(dim=1, keepdim=True), x.amax(dim=1, keepdim=True)
        tiled = self.pixel_condition(condition)[:, :, None, None].expand_as(mean)
        return x * torch.sigmoid(self.pixel(torch.cat([mean, most, tiled.to(x.dtype)], dim=1)))

    def normalise(self, x: Tensor, condition: Tensor) -> Tensor:
        """Normalise, scale and shift (B, C, H, W)."""
        instance = F.instance_norm(x, eps=self.EPSILON)
        layer = F.layer_norm(x, x.shape[1:], eps=self.EPSILON)
        mixed = self.instance_share * instance + (1 - self.instance_share) * layer
        scale, shift = (layers(condition)[:, :, None, None] for layers in (self.scale, self.shift))
        result: Tensor = mixed * scale + shift
        return result

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """(B, C, H, W) and (B, E) -> (B, C, H, W)."""
        return self.normalise(self.attend_pixels(self.attend_channels(x, condition), condition), condition)

    @torch.no_grad()
    def clamp(self) -> None:
        """Clamp the share of the instance norm to [0, 1], after an optimizer step."""
        self.instance_share.clamp_(0, 1)


# --- generator (section 4.1.1) --------------------------------------------------------------------------------


class DualResidualBlock(nn.Module):
    """Fusion, activation and convolution, twice, added to the input (Fig. 2c).

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the result. If they differ, the shortcut has a 1x1 convolution.
        fusion: Constructor of a fusion module, from its number of channels.
        modules: Number of fusion modules, 2 or 1 (Table 6). Both convolutions stay.
        activation: Activation after each fusion module.
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
        # A fusion of single pixels gives the same before the upsampling, which then joins the convolution.
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
        """(B, in, H, W) and (B, E) -> (B, out, H, W), or (B, out, 2H, 2W) with upsampling."""
        shortcut = self.shortcut(x)
        if self.upsample:  # after the shortcut, whose 1x1 convolution then runs on a quarter of the pixels
            shortcut = F.interpolate(shortcut, scale_factor=2.0, mode="nearest")
            if not self.upsample_last:
                x = F.interpolate(x, scale_factor=2.0, mode="nearest")
        x = self.conv1(self.activation(self.fuse1(x, condition)))
        if self.fuse2 is not None:
            x = self.fuse2(x, condition)
        result: Tensor = shortcut + self.conv2(self.activation(x))
        return result


@dataclass(frozen=True)
class FusionBuilder:
    """Constructor of a block's fusion modules, VSFM or a substitute of Table 5, from arguments of `Generator`.

    Raises:
        ValueError: A name is unknown.
    """

    block: Block
    attention: Attention
    fusion: Fusion
    condition_dim: int  # with the noise where the blocks see it
    modulation_hidden: int | None
    attention_reduction: int
    fusion_reduction: int

    def __post_init__(self) -> None:
        for name, kind in (("block", Block), ("attention", Attention), ("fusion", Fusion)):
            if (value := getattr(self, name)) not in get_args(kind):
                raise ValueError(f"{name} is {value!r}, not one of {', '.join(get_args(kind))}")

    def __call__(self, channels: int) -> nn.Module:
        """Build a fusion module of C channels."""
        match self.block:
            case "vsfm":
                return VisualSpeechFusion(
                    channels,
                    self._modulation(channels),
                    attention_module(self.attention, channels, self.attention_reduction),
                    fusion_module(self.fusion, channels, self.fusion_reduction),
                )
            case "dfgan":
                return DeepFusion(self._modulation(channels), self._modulation(channels))
            case "dtgan-approx":
                return DualAttentionFusion(channels, self.condition_dim, self.attention_reduction)

    def _modulation(self, channels: int) -> SpeechModulation:
        return SpeechModulation(channels, self.condition_dim, self.modulation_hidden or channels)


class Generator(nn.Module):
    """Generator of Fig. 2: a linear layer, a block per resolution, a convolution (eqs. 3-6).

    The last block has W channels and each block before it twice as many, up to 8W: at 256 pixels 8, 8, 8, 8, 4, 2, 1
    times W.

    Args:
        size: Side of the images, 4 * 2^k with k >= 1.
        condition_dim: E.
        generator_width: W.
        noise_dim: Z.
        noise_in_condition: Concatenate the noise to the condition of the blocks (DF-GAN's CVPR version).
        condition_scale: Factor of the condition.
        block: VSFM or a substitute.
        attention: PAM or a substitute, in VSFM.
        fusion: WFM or a substitute, in VSFM.
        modules: Fusion modules in a block, 2 or 1.
        first_block: Have a block at 4x4, before the first upsampling. DF-GAN's CVPR version has none.
        modulation_hidden: Width of the modulations' hidden layers; None for the number of channels (DF-GAN's CVPR
            version).
        attention_reduction: Reduction of PAM and of the channel attention of `dtgan-approx`.
        fusion_reduction: Reduction of WFM.

    Raises:
        ValueError: A name is unknown, or size or channels fit no network.
    """

    MAX_MULTIPLE = 8  # most channels, over W

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
        steps = doublings(SMALLEST_MAP, size)
        if steps < 1:
            raise ValueError(f"the smallest image has {2 * SMALLEST_MAP} pixels a side, not {size}")
        self.size = size
        self.noise_dim = noise_dim
        self.condition_dim = condition_dim
        self.condition_scale = condition_scale
        self.noise_in_condition = noise_in_condition
        fusion_of = FusionBuilder(
            block,
            attention,
            fusion,
            condition_dim + noise_dim if noise_in_condition else condition_dim,
            modulation_hidden,
            attention_reduction,
            fusion_reduction,
        )
        activation = leaky() if block == "dfgan" else nn.ReLU()
        # At 4, 8, ... size
        widths = [generator_width * min(2**i, self.MAX_MULTIPLE) for i in range(steps, -1, -1)]
        self.linear = nn.Linear(noise_dim, widths[0] * SMALLEST_MAP**2)
        self.blocks = nn.ModuleList(
            DualResidualBlock(
                widths[max(i - 1, 0)],
                widths[i],
                fusion_of,
                modules=modules,
                activation=activation,
                upsample=i > 0,
            )
            for i in range(0 if first_block else 1, steps + 1)
        )
        self.out = nn.Sequential(activation, nn.Conv2d(generator_width, 3, 3, padding=1), nn.Tanh())

    def large_blocks(self) -> list[nn.Module]:
        """Return the modules that train.activation_checkpointing recomputes."""
        return [*self.blocks, self.out]

    def forward(self, noise: Tensor, condition: Tensor) -> Tensor:
        """Map standard normal noise (B, Z) and conditions (B, E) to images (B, 3, S, S) in [-1, 1]."""
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
    """Average pooling and, scaled by a learned number that starts at 0, two convolutions. Halves the side.

    (B, in, H, W) -> (B, out, H/2, W/2).
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.branch = nn.Sequential(
            # Not conv4x4, which is slow under a gradient penalty
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
    """Discriminator of images with their condition, from one 4x4 feature map, without normalisation.

    Args:
        size: Side of the images, 4 * 2^k with k >= 1.
        condition_dim: E.
        discriminator_width: W, channels of the first convolution. Each block doubles them.
        discriminator_max_multiple: Largest number of channels, as a multiple of W: 32 in the paper (1024), 8 in
            DF-GAN's CVPR version.
    """

    def __init__(
        self, *, size: int, condition_dim: int, discriminator_width: int, discriminator_max_multiple: int
    ) -> None:
        super().__init__()
        width = discriminator_width
        multiples = [2**i for i in range(doublings(SMALLEST_MAP, size) + 1)]
        widths = [width * min(multiple, discriminator_max_multiple) for multiple in multiples]
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
        """Return the modules that train.activation_checkpointing recomputes."""
        return [self.encoder]

    def forward(self, images: Tensor) -> Tensor:
        """Map images (B, 3, S, S) in [-1, 1] to features (B, F, 4, 4)."""
        features: Tensor = self.encoder(images)
        return features

    def score(self, features: Tensor, condition: Tensor) -> Tensor:
        """Map features (B, F, 4, 4) and scaled conditions (B, E) to scores (B,), high for real and matching pairs."""
        tiled = condition[:, :, None, None].expand(-1, -1, SMALLEST_MAP, SMALLEST_MAP).to(features.dtype)
        scores: Tensor = self.head(torch.cat([features, tiled], dim=1))
        return scores.flatten()


# --- objective and training step (section 4.3) ----------------------------------------------------------------


@dataclass(frozen=True)
class Step:
    """Tensors that both phases of a training step share."""

    real: Tensor  # (B, 3, S, S)
    fake: Tensor  # (B, 3, S, S), with the generator's graph
    condition: Tensor  # (B, E), of `real` and `fake`
    wrong: Tensor  # (B, E), of other images
    class_ids: Tensor  # (B,)


class FusionS2iGan:
    """Fusion-S2iGan for the engine: discriminator, then generator, on the same generated images.

    Args:
        generator: Generator to train.
        discriminator: Discriminator to train: the paper's, or a projected one, which has no gradient penalty.
        image_encoder: Frozen encoder from images (B, 3, S, S) to vectors (B, E), which the matching loss compares with
            the condition; None if its weight is 0.
        damsm: lambda, weight of the matching loss, the global half of DAMSM. 0 leaves it out.
        gamma: Sharpness of the matching loss within the batch.
        same_class_negatives: Count other images of a class as wrong pairs in the matching loss.
        magp: k, weight of the matching-aware gradient penalty. 0 leaves it out.
        magp_power: p, exponent of the penalty.
        magp_form: "concat" for the joint norm of both gradients, "sum" for the sum of their norms.
        adam: Learning rates and momenta.

    Raises:
        ValueError: The matching loss has a weight but no image encoder, or the reverse, or the gradient penalty of a
            projected discriminator has a weight.
    """

    averaged = ("generator",)

    def __init__(
        self,
        generator: Generator,
        discriminator: Discriminator | ConditionalDiscriminator,
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
        if magp > 0 and isinstance(discriminator, ConditionalDiscriminator):
            raise ValueError("a projected discriminator has no gradient penalty")
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
        phase = functools.partial(Phase.adam, betas=adam.betas)
        self.phases = [
            phase(
                "discriminator",
                {"discriminator": discriminator},
                self.discriminator_terms,
                lr=adam.discriminator_lr,
                watched=("image_gradient", "condition_gradient"),
                differentiated_twice=("discriminator",) if magp > 0 else (),
            ),
            phase("generator", {"generator": generator}, self.generator_terms, lr=adam.generator_lr),
        ]
        clamped = [module for module in generator.modules() if isinstance(module, DualAttentionFusion)]

        def clamp(*_: object) -> None:
            for module in clamped:
                module.clamp()

        self.phases[1].optimizer.register_step_post_hook(clamp)

    def begin(self, batch: Batch) -> Step:
        """Generate the images of both phases."""
        condition = batch.sentences
        assert condition is not None
        wrong = condition.roll(1, dims=0) if batch.wrong_sentences is None else batch.wrong_sentences
        noise = torch.randn(len(condition), self.generator.noise_dim, device=condition.device)
        fake = self.generator(noise, condition)
        return Step(batch.images[-1], fake, condition, wrong, batch.class_ids)

    def discriminator_terms(self, step: Step) -> dict[str, Tensor]:
        """Return the hinge loss (eq. 19) and MA-GP (eq. 20). All terms of real images share their features."""
        scale = self.generator.condition_scale
        if isinstance(self.discriminator, ConditionalDiscriminator):
            conditions = scale * step.condition, scale * step.wrong
            return {"adversarial": self.discriminator.loss(step.real, step.fake.detach(), *conditions)}
        # In float32, because the penalty's sixth power overflows half precision
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
                norms = by_image, by_condition
                penalty = matching_aware_penalty(*norms, power=self.magp_power, form=self.magp_form)
                terms["penalty"] = self.magp * penalty
                terms["image_gradient"] = by_image.detach().mean()
                terms["condition_gradient"] = by_condition.detach().mean()
        generated = self.discriminator.score(self.discriminator(step.fake.detach()), condition.detach())
        return {**terms, "generated": hinge_fake(generated) / 2}

    def generator_terms(self, step: Step) -> dict[str, Tensor]:
        """Return the generator's hinge loss and the matching loss of images and conditions."""
        condition = self.generator.condition_scale * step.condition
        if isinstance(self.discriminator, ConditionalDiscriminator):
            terms = {"adversarial": self.discriminator.generator_loss(step.fake, condition)}
        else:
            scores = self.discriminator.score(self.discriminator(step.fake), condition)
            terms = {"adversarial": generator_hinge(scores)}
        if self.image_encoder is not None:
            class_ids = distinct_classes(step.class_ids) if self.same_class_negatives else step.class_ids
            vectors = self.image_encoder(step.fake)
            loss = global_matching_loss(vectors, step.condition, class_ids, gamma=self.gamma)
            terms["matching"] = self.damsm * loss
        return terms
