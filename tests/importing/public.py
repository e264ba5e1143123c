"""Networks of public codes, transcribed: names and shapes of their tensors, and functions that read those names.

Nothing here uses gancli. A state is a dict of random tensors under the public names; each function computes in eval
mode what the public code computes from it.
"""

from __future__ import annotations

import itertools
import math

import torch
import torch.nn.functional as F
from torch import Tensor

State = dict[str, Tensor]


def random_state(shapes: dict[str, tuple[int, ...]], seed: int = 0) -> State:
    """Return random tensors of these shapes, of a size at which signals neither vanish nor explode."""
    random = torch.Generator().manual_seed(seed)
    state = {}
    for name, shape in shapes.items():
        if name.endswith("num_batches_tracked"):
            state[name] = torch.tensor(7)
            continue
        values = torch.randn(shape, generator=random)
        if name.endswith("running_var"):
            state[name] = 0.5 + values.square()
        elif len(shape) > 1:
            state[name] = values / math.sqrt(math.prod(shape[1:]))
        else:
            state[name] = 0.3 * values + 1.0 * name.endswith("weight")
    return state


def batch_norm_shapes(name: str, channels: int, *, affine: bool = True) -> dict[str, tuple[int, ...]]:
    names = ("weight", "bias") if affine else ()
    return {f"{name}.{part}": (channels,) for part in (*names, "running_mean", "running_var")} | {
        f"{name}.num_batches_tracked": ()
    }


def batch_norm(state: State, name: str, x: Tensor) -> Tensor:
    weight, bias = (state.get(f"{name}.{part}") for part in ("weight", "bias"))
    return F.batch_norm(x, state[f"{name}.running_mean"], state[f"{name}.running_var"], weight, bias)


def linear_shapes(name: str, into: int, out: int, *, bias: bool = True) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight": (out, into)} | ({f"{name}.bias": (out,)} if bias else {})


def conv_shapes(
    name: str, into: int, out: int, kernel: int, *, bias: bool = True
) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight": (out, into, kernel, kernel)} | ({f"{name}.bias": (out,)} if bias else {})


def linear(state: State, name: str, x: Tensor) -> Tensor:
    return F.linear(x, state[f"{name}.weight"], state.get(f"{name}.bias"))


def conv(state: State, name: str, x: Tensor, **options: int) -> Tensor:
    return F.conv2d(x, state[f"{name}.weight"], state.get(f"{name}.bias"), **options)


def glu(x: Tensor) -> Tensor:
    half = x.shape[1] // 2
    return x[:, :half] * torch.sigmoid(x[:, half:])


# --- FF-GAN ---------------------------------------------------------------------------------------------------

MEMORY = {  # DM-GAN's memory, which FF-GAN's code builds and never calls: 12 tensors a stage
    "A.weight": (1, 256),
    "B.weight": (1, 64),
    "M_r.0.weight": (128, 64, 1),
    "M_r.0.bias": (128,),
    "M_w.0.weight": (128, 256, 1),
    "M_w.0.bias": (128,),
    "key.0.weight": (64, 128, 1),
    "key.0.bias": (64,),
    "value.0.weight": (64, 128, 1),
    "value.0.bias": (64,),
    "response_gate.0.weight": (1, 128, 1, 1),
    "response_gate.0.bias": (1,),
}


def ffgan_generator_shapes(
    width: int, text: int, stages: int, blocks: int = 2, noise: int = 100
) -> dict[str, tuple[int, ...]]:
    wide = width * 16
    shapes = linear_shapes("ca_net.fc", text, 400)
    shapes |= linear_shapes("h_net1.fc.0", 100 + noise, wide * 32, bias=False)
    shapes |= batch_norm_shapes("h_net1.fc.1", wide * 32)
    for number in range(1, 5):
        shapes |= conv_shapes(f"h_net1.upsample{number}.1", wide, wide, 3, bias=False)
        shapes |= batch_norm_shapes(f"h_net1.upsample{number}.2", wide)
        wide //= 2
    shapes |= conv_shapes("img_net1.img.0", width, 3, 3, bias=False)
    for number in range(2, stages + 1):
        stage = f"h_net{number}"
        shapes |= {f"{stage}.{name}": shape for name, shape in MEMORY.items()}
        for block in range(blocks):
            inner = f"{stage}.residual.{block}.block"
            shapes |= conv_shapes(f"{inner}.0", 2 * width, 4 * width, 3, bias=False)
            shapes |= batch_norm_shapes(f"{inner}.1", 4 * width)
            shapes |= conv_shapes(f"{inner}.3", 2 * width, 2 * width, 3, bias=False)
            shapes |= batch_norm_shapes(f"{inner}.4", 2 * width)
        shapes |= conv_shapes(f"{stage}.upsample.1", 2 * width, 2 * width, 3, bias=False)
        shapes |= batch_norm_shapes(f"{stage}.upsample.2", 2 * width)
        shapes |= conv_shapes(f"{stage}.affine.conv", width, 2 * width, 3, bias=False)
        shapes |= conv_shapes(f"{stage}.affine.conv_weight", 2 * width, width, 3, bias=False)
        shapes |= conv_shapes(f"{stage}.affine.conv_bias", 2 * width, width, 3, bias=False)
        shapes |= conv_shapes(f"{stage}.w_att.conv_context", text, width, 1, bias=False)
        shapes |= conv_shapes(f"{stage}.s_att.conv_context", text, width, 1, bias=False)
        shapes |= conv_shapes(f"img_net{number}.img.0", width, 3, 3, bias=False)
    return shapes


def ffgan_generator(
    state: State, sentence: Tensor, words: Tensor, noise: Tensor, condition_noise: Tensor
) -> list[Tensor]:
    """Return the images of all stages of one caption without padding: sentence (1, D), words (1, D, L)."""

    def up(x: Tensor, name: str) -> Tensor:
        x = F.interpolate(x, scale_factor=2, mode="nearest")
        return glu(batch_norm(state, f"{name}.2", conv(state, f"{name}.1", x, padding=1)))

    def image(x: Tensor, number: int) -> Tensor:
        return torch.tanh(conv(state, f"img_net{number}.img.0", x, padding=1))

    mean, log_variance = glu(linear(state, "ca_net.fc", sentence)).chunk(2, dim=1)
    condition = mean + torch.exp(0.5 * log_variance) * condition_noise
    h = glu(batch_norm(state, "h_net1.fc.1", linear(state, "h_net1.fc.0", torch.cat([condition, noise], 1))))
    h = h.view(len(h), -1, 4, 4)
    for number in range(1, 5):
        h = up(h, f"h_net1.upsample{number}")
    images = [image(h, 1)]
    number = 2
    while f"img_net{number}.img.0.weight" in state:
        stage = f"h_net{number}"
        projected = conv(state, f"{stage}.w_att.conv_context", words[..., None])[0, :, :, 0]  # (C, L)
        pixels = h[0].flatten(1)  # (C, P)
        attention = (pixels.T @ projected).softmax(dim=1)  # (P, L)
        context = (projected @ attention.T).view_as(h)
        shared = conv(state, f"{stage}.affine.conv", context, padding=1)
        fused = h * conv(state, f"{stage}.affine.conv_weight", shared, padding=1)
        fused = fused + conv(state, f"{stage}.affine.conv_bias", shared, padding=1)
        meaning = conv(state, f"{stage}.s_att.conv_context", sentence[..., None, None])[0, :, 0]  # (C, 1)
        everywhere = meaning * (pixels * meaning).softmax(dim=1)  # (C, P)
        x = torch.cat([fused, everywhere.view_as(h)], dim=1)
        block = 0
        while f"{stage}.residual.{block}.block.0.weight" in state:
            inner = f"{stage}.residual.{block}.block"
            y = glu(batch_norm(state, f"{inner}.1", conv(state, f"{inner}.0", x, padding=1)))
            x = x + batch_norm(state, f"{inner}.4", conv(state, f"{inner}.3", y, padding=1))
            block += 1
        h = up(x, f"{stage}.upsample")
        images.append(image(h, number))
        number += 1
    return images


def ffgan_discriminator_shapes(width: int, text: int, side: int) -> dict[str, tuple[int, ...]]:
    def spectral(name: str, into: int, out: int, kernel: int) -> dict[str, tuple[int, ...]]:
        return {
            f"{name}.module.bias": (out,),
            f"{name}.module.weight_u": (out,),
            f"{name}.module.weight_v": (into * kernel**2,),
            f"{name}.module.weight_bar": (out, into, kernel, kernel),
        }

    shapes: dict[str, tuple[int, ...]] = {}
    for name, into, out, kernel, *_ in ffgan_discriminator_layers(width, side):
        shapes |= spectral(name, into, out, kernel)
    shapes |= conv_shapes("UNCOND_DNET.outlogits.0", 8 * width, 1, 4)
    shapes |= spectral("COND_DNET.jointConv.0", 8 * width + text, 8 * width, 3)
    return shapes | conv_shapes("COND_DNET.outlogits.0", 8 * width, 1, 4)


def ffgan_discriminator_layers(width: int, side: int) -> list[tuple[str, int, int, int, int]]:
    """Return name, channels in and out, kernel and stride of the convolutions before the heads."""
    layers = [
        (f"img_code_s16.{place}", into, out, 4, 2)
        for place, into, out in (
            (0, 3, width),
            (2, width, 2 * width),
            (4, 2 * width, 4 * width),
            (6, 4 * width, 8 * width),
        )
    ]
    if side >= 128:
        layers.append(("img_code_s32.0", 8 * width, 16 * width, 4, 2))
    if side == 128:
        layers.append(("img_code_s32_1.0", 16 * width, 8 * width, 3, 1))
    if side == 256:
        layers.append(("img_code_s64.0", 16 * width, 32 * width, 4, 2))
        layers.append(("img_code_s64_1.0", 32 * width, 16 * width, 3, 1))
        layers.append(("img_code_s64_2.0", 16 * width, 8 * width, 3, 1))
    return layers


def ffgan_discriminator(state: State, images: Tensor, sentence: Tensor, width: int) -> tuple[Tensor, Tensor]:
    """Return the unconditional and the conditional logits, with spectral norms at their limit."""

    def spectral(name: str, x: Tensor, **options: int) -> Tensor:
        weight = state[f"{name}.module.weight_bar"]
        largest = torch.linalg.svdvals(weight.flatten(1).double())[0].float()
        return F.conv2d(x, weight / largest, state[f"{name}.module.bias"], **options)

    x = images
    for name, _, _, kernel, stride in ffgan_discriminator_layers(width, images.shape[-1]):
        x = F.leaky_relu(spectral(name, x, stride=stride, padding=1), 0.2)
        assert kernel in (3, 4)
    unconditional = conv(state, "UNCOND_DNET.outlogits.0", x, stride=4)
    tiled = sentence[..., None, None].expand(-1, -1, 4, 4)
    joint = F.leaky_relu(spectral("COND_DNET.jointConv.0", torch.cat([x, tiled], 1), padding=1), 0.2)
    return unconditional.flatten(), conv(state, "COND_DNET.outlogits.0", joint, stride=4).flatten()


# --- DF-GAN ---------------------------------------------------------------------------------------------------


def dfgan_channels(width: int, side: int) -> list[int]:
    layers = int(math.log2(side)) - 1
    return [width * min(2**index, 8) for index in range(layers)]


def dfgan_generator_shapes(width: int, text: int, side: int) -> dict[str, tuple[int, ...]]:
    channels = dfgan_channels(width, side)[::-1]
    shapes = linear_shapes("fc", 100, channels[0] * 16)
    for block, (into, out) in enumerate(itertools.pairwise(channels)):
        name = f"GBlocks.{block}"
        shapes |= conv_shapes(f"{name}.c1", into, out, 3) | conv_shapes(f"{name}.c2", out, out, 3)
        for fuse, wide in ((1, into), (2, out)):
            for affine in (0, 1):
                for kind in ("gamma", "beta"):
                    inner = f"{name}.fuse{fuse}.affine{affine}.fc_{kind}"
                    shapes |= linear_shapes(f"{inner}.linear1", 100 + text, wide)
                    shapes |= linear_shapes(f"{inner}.linear2", wide, wide)
        if into != out:
            shapes |= conv_shapes(f"{name}.c_sc", into, out, 1)
    return shapes | conv_shapes("to_rgb.1", channels[-1], 3, 3)


def dfgan_generator(state: State, noise: Tensor, sentence: Tensor) -> Tensor:
    condition = torch.cat([noise, sentence], dim=1)

    def affine(x: Tensor, name: str) -> Tensor:
        scale, shift = (
            linear(
                state,
                f"{name}.fc_{kind}.linear2",
                F.relu(linear(state, f"{name}.fc_{kind}.linear1", condition)),
            )
            for kind in ("gamma", "beta")
        )
        return x * scale[..., None, None] + shift[..., None, None]

    def fuse(x: Tensor, name: str) -> Tensor:
        x = F.leaky_relu(affine(x, f"{name}.affine0"), 0.2)
        return F.leaky_relu(affine(x, f"{name}.affine1"), 0.2)

    x = linear(state, "fc", noise).view(len(noise), -1, 4, 4)
    block = 0
    while f"GBlocks.{block}.c1.weight" in state:
        name = f"GBlocks.{block}"
        x = F.interpolate(x, scale_factor=2)
        branch = conv(state, f"{name}.c1", fuse(x, f"{name}.fuse1"), padding=1)
        branch = conv(state, f"{name}.c2", fuse(branch, f"{name}.fuse2"), padding=1)
        x = (conv(state, f"{name}.c_sc", x) if f"{name}.c_sc.weight" in state else x) + branch
        block += 1
    return torch.tanh(conv(state, "to_rgb.1", F.leaky_relu(x, 0.2), padding=1))


def dfgan_discriminator_shapes(
    width: int, text: int, side: int
) -> tuple[dict[str, tuple[int, ...]], dict[str, tuple[int, ...]]]:
    """Return the shapes of netD, whose every block has a shortcut, and of netC."""
    channels = dfgan_channels(width, side)
    shapes = conv_shapes("conv_img", 3, width, 3)
    for block, (into, out) in enumerate(itertools.pairwise(channels)):
        name = f"DBlocks.{block}"
        shapes |= {f"{name}.gamma": (1,)}
        shapes |= conv_shapes(f"{name}.conv_r.0", into, out, 4, bias=False)
        shapes |= conv_shapes(f"{name}.conv_r.2", out, out, 3, bias=False)
        shapes |= conv_shapes(f"{name}.conv_s", into, out, 1)
    joint = conv_shapes("joint_conv.0", 8 * width + text, 2 * width, 3, bias=False)
    return shapes, joint | conv_shapes("joint_conv.2", 2 * width, 1, 4, bias=False)


def dfgan_discriminator(net_d: State, net_c: State, images: Tensor, sentence: Tensor) -> Tensor:
    x = conv(net_d, "conv_img", images, padding=1)
    block = 0
    while f"DBlocks.{block}.gamma" in net_d:
        name = f"DBlocks.{block}"
        branch = F.leaky_relu(conv(net_d, f"{name}.conv_r.0", x, stride=2, padding=1), 0.2)
        branch = F.leaky_relu(conv(net_d, f"{name}.conv_r.2", branch, padding=1), 0.2)
        shortcut = x if x.shape[1] == branch.shape[1] else conv(net_d, f"{name}.conv_s", x)
        x = F.avg_pool2d(shortcut, 2) + net_d[f"{name}.gamma"] * branch
        block += 1
    joint = torch.cat([x, sentence[..., None, None].expand(-1, -1, 4, 4)], dim=1)
    joint = F.leaky_relu(conv(net_c, "joint_conv.0", joint, padding=1), 0.2)
    return conv(net_c, "joint_conv.2", joint).flatten()


# --- CSF-GAN --------------------------------------------------------------------------------------------------


def csfgan_channels(width: int) -> list[int]:
    """Return the channels after en_1 to en_9."""
    return [width * min(2**level, 8) for level in range(9)]


def csfgan_generator_shapes(width: int, text: int) -> dict[str, tuple[int, ...]]:
    channels = csfgan_channels(width)
    shapes = conv_shapes("refine_t.en_1", 3, width, 3)
    for level in range(2, 9):
        into, out = channels[level - 2], channels[level - 1]
        name = f"refine_t.en_{level}"
        shapes |= conv_shapes(f"{name}.encode.0", into, out, 4)
        shapes |= batch_norm_shapes(f"{name}.encode.1", out)
        shapes |= conv_shapes(f"{name}.encode.3", out, out, 3)
        shapes |= batch_norm_shapes(f"{name}.encode.4", out, affine=level % 2 == 1)
        if level in (2, 4):
            shapes |= linear_shapes(f"{name}.weight", 200, out) | linear_shapes(f"{name}.bias", 200, out)
        if level in (6, 8):
            shapes |= conv_shapes(f"{name}.attn.conv_context", text, out, 1, bias=False)
            shapes |= conv_shapes(f"{name}.weight", out, out, 1) | conv_shapes(f"{name}.bias", out, out, 1)
    shapes |= conv_shapes("refine_t.en_9.0", channels[7], channels[8], 4)
    shapes |= conv_shapes("refine_t.de_9.0", channels[8], channels[8], 4)
    shapes |= batch_norm_shapes("refine_t.de_9.1", channels[8])
    for level in range(8, 1, -1):
        into, out = 2 * channels[level - 1], channels[level - 2]
        name = f"refine_t.de_{level}.decode"
        shapes |= {f"{name}.0.weight": (into, out, 3, 3), f"{name}.0.bias": (out,)}
        shapes |= batch_norm_shapes(f"{name}.1", out)
        shapes |= {f"{name}.3.weight": (out, out, 4, 4), f"{name}.3.bias": (out,)}
        shapes |= batch_norm_shapes(f"{name}.4", out)
    shapes |= {"refine_t.de_1.0.weight": (2 * width, 3, 3, 3), "refine_t.de_1.0.bias": (3,)}
    return shapes | linear_shapes("refine_t.ca_net.fc", text, 400)


def csfgan_generator(
    state: State,
    images: Tensor,
    holes: Tensor,
    sentence: Tensor,
    words: Tensor,
    noise: Tensor,
    condition_noise: Tensor,
) -> Tensor:
    """Return the filled image of one caption without padding."""
    net = {name.removeprefix("refine_t."): tensor for name, tensor in state.items()}

    def transposed(name: str, x: Tensor, **options: int) -> Tensor:
        return F.conv_transpose2d(x, net[f"{name}.weight"], net[f"{name}.bias"], **options)

    mean, log_variance = glu(linear(net, "ca_net.fc", sentence)).chunk(2, dim=1)
    condition = torch.cat([mean + torch.exp(0.5 * log_variance) * condition_noise, noise], dim=1)
    masked = images * (1 - holes)
    skips = [conv(net, "en_1", masked, padding=1)]
    for level in range(2, 9):
        name = f"en_{level}"
        x = conv(net, f"{name}.encode.0", skips[-1], stride=2, dilation=2, padding=3)
        x = F.leaky_relu(batch_norm(net, f"{name}.encode.1", x), 0.2)
        x = batch_norm(net, f"{name}.encode.4", conv(net, f"{name}.encode.3", x, padding=1))
        if level in (2, 4):
            scale, shift = linear(net, f"{name}.weight", condition), linear(net, f"{name}.bias", condition)
            x = x * scale[..., None, None] + shift[..., None, None]
        if level in (6, 8):
            projected = conv(net, f"{name}.attn.conv_context", words[..., None])[0, :, :, 0]  # (C, L)
            attention = (x[0].flatten(1).T @ projected).softmax(dim=1)
            context = (projected @ attention.T).view_as(x)
            x = x * conv(net, f"{name}.weight", context) + conv(net, f"{name}.bias", context)
        skips.append(F.leaky_relu(x, 0.2))
    innermost = F.leaky_relu(conv(net, "en_9.0", skips[-1], stride=2, padding=1), 0.2)
    x = F.relu(batch_norm(net, "de_9.1", transposed("de_9.0", innermost, stride=2, padding=1)))
    for level in range(8, 1, -1):
        name = f"de_{level}.decode"
        x = torch.cat([x, skips[level - 1]], dim=1)
        x = F.relu(batch_norm(net, f"{name}.1", transposed(f"{name}.0", x, padding=1)))
        x = F.relu(batch_norm(net, f"{name}.4", transposed(f"{name}.3", x, stride=2, padding=1)))
    painted = torch.tanh(transposed("de_1.0", torch.cat([x, skips[0]], dim=1), padding=1))
    return masked + painted * holes


def csfgan_discriminator_shapes(width: int, text: int) -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {}
    for name, into in (("discriminator", 6), ("local_discriminator", 3)):
        for place, out in ((0, width), (2, 2 * width), (5, 4 * width), (8, 8 * width)):
            shapes |= conv_shapes(f"{name}.{place}", into, out, 4)
            into = out
    shapes |= conv_shapes("discriminator.11", 8 * width, 1, 4)
    return shapes | linear_shapes("gen_weight", text, 8 * width + 1)


def csfgan_discriminator(state: State, images: Tensor, other: Tensor) -> Tensor:
    x = torch.cat([images, other], dim=1)
    x = F.leaky_relu(conv(state, "discriminator.0", x, stride=2, padding=1), 0.2)
    for place, stride in ((2, 2), (5, 2), (8, 1)):
        x = conv(state, f"discriminator.{place}", x, stride=stride, padding=1)
        x = F.leaky_relu(F.instance_norm(x), 0.2)
    return conv(state, "discriminator.11", x, padding=1)


# --- encoders -------------------------------------------------------------------------------------------------


def damsm_text_shapes(
    entries: int, dim: int, *, gates: int, embedding: int = 24
) -> dict[str, tuple[int, ...]]:
    """Return the shapes of a text encoder: an LSTM has 4 gates, a GRU 3."""
    half = dim // 2
    shapes: dict[str, tuple[int, ...]] = {"encoder.weight": (entries, embedding)}
    for end in ("", "_reverse"):
        shapes |= {
            f"rnn.weight_ih_l0{end}": (gates * half, embedding),
            f"rnn.weight_hh_l0{end}": (gates * half, half),
            f"rnn.bias_ih_l0{end}": (gates * half,),
            f"rnn.bias_hh_l0{end}": (gates * half,),
        }
    return shapes


def damsm_text(state: State, tokens: Tensor) -> tuple[Tensor, Tensor]:
    """Return words (1, D, L) and sentence (1, D) of one caption (L,), one step at a time."""
    half = state["rnn.weight_hh_l0"].shape[1]
    gates = len(state["rnn.weight_hh_l0"]) // half
    embedded = state["encoder.weight"][tokens]  # (L, E)
    outputs = []
    for end in ("", "_reverse"):
        h = c = torch.zeros(half)
        states = []
        for x in embedded if not end else embedded.flip(0):
            from_input = state[f"rnn.weight_ih_l0{end}"] @ x + state[f"rnn.bias_ih_l0{end}"]
            from_state = state[f"rnn.weight_hh_l0{end}"] @ h + state[f"rnn.bias_hh_l0{end}"]
            if gates == 4:
                i, f, g, o = (from_input + from_state).chunk(4)
                c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
                h = torch.sigmoid(o) * torch.tanh(c)
            else:
                r, z = torch.sigmoid((from_input + from_state)[: 2 * half]).chunk(2)
                n = torch.tanh(from_input[2 * half :] + r * from_state[2 * half :])
                h = (1 - z) * n + z * h
            states.append(h)
        outputs.append((torch.stack(states if not end else states[::-1]), h))
    words = torch.cat([outputs[0][0], outputs[1][0]], dim=1).T[None]
    return words, torch.cat([outputs[0][1], outputs[1][1]])[None]


def speech_shapes(bands: int = 40, hidden: int = 512) -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {
        "Conv1.weight": (64, bands, 6),
        "Conv1.bias": (64,),
        "Conv2.weight": (128, 64, 6),
        "Conv2.bias": (128,),
    }
    shapes |= batch_norm_shapes("bnorm1", 64) | batch_norm_shapes("bnorm2", 128)
    for layer, into in ((0, 128), (1, 2 * hidden)):
        for end in ("", "_reverse"):
            shapes |= {
                f"rnn.weight_ih_l{layer}{end}": (3 * hidden, into),
                f"rnn.weight_hh_l{layer}{end}": (3 * hidden, hidden),
                f"rnn.bias_ih_l{layer}{end}": (3 * hidden,),
                f"rnn.bias_hh_l{layer}{end}": (3 * hidden,),
            }
    shapes |= linear_shapes("att.att_heads.0.hidden", 2 * hidden, 128)
    return shapes | linear_shapes("att.att_heads.0.out", 128, 2 * hidden)


def speech_vector(state: State, mel: Tensor) -> Tensor:
    """Return the vector of one clip, log-mel features (T, bands)."""
    x = mel.T[None]
    for number in (1, 2):
        x = F.conv1d(x, state[f"Conv{number}.weight"], state[f"Conv{number}.bias"], stride=2)
        x = batch_norm(state, f"bnorm{number}", x)
    states = x[0].T  # (T, C)
    hidden = state["rnn.weight_hh_l0"].shape[1]
    for layer in (0, 1):
        directions = []
        for end in ("", "_reverse"):
            h, collected = torch.zeros(hidden), []
            for step in states if not end else states.flip(0):
                a = state[f"rnn.weight_ih_l{layer}{end}"] @ step + state[f"rnn.bias_ih_l{layer}{end}"]
                b = state[f"rnn.weight_hh_l{layer}{end}"] @ h + state[f"rnn.bias_hh_l{layer}{end}"]
                r, z = torch.sigmoid((a + b)[: 2 * hidden]).chunk(2)
                h = (1 - z) * torch.tanh(a[2 * hidden :] + r * b[2 * hidden :]) + z * h
                collected.append(h)
            directions.append(torch.stack(collected if not end else collected[::-1]))
        states = torch.cat(directions, dim=1)
    scores = linear(state, "att.att_heads.0.out", linear(state, "att.att_heads.0.hidden", states).tanh())
    return F.normalize((scores.softmax(dim=0) * states).sum(dim=0), dim=0)


def char_cnn_rnn_shapes(hidden: int, *, gated: bool, dim: int = 32) -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {}
    for number, (into, out) in enumerate(((70, 384), (384, 512), (512, hidden)), start=1):
        shapes |= {f"conv{number}.weight": (out, into, 4), f"conv{number}.bias": (out,)}
    for gate in ("", "_update", "_reset") if gated else ("",):
        shapes |= linear_shapes(f"rnn.i2h{gate}", hidden, hidden)
        shapes |= linear_shapes(f"rnn.h2h{gate}", hidden, hidden)
    return shapes | linear_shapes("emb_proj", hidden, dim)


def char_cnn_rnn(state: State, one_hot: Tensor, *, third_pool: bool) -> Tensor:
    """Return the vector of one caption as one-hot columns (70, 201)."""
    x = one_hot[None]
    for number in (1, 2, 3):
        x = F.relu(F.conv1d(x, state[f"conv{number}.weight"], state[f"conv{number}.bias"]))
        if number < 3:
            x = F.max_pool1d(x, 3, 3)
    if third_pool:
        x = F.max_pool1d(x, 3, 2)
    states: list[Tensor] = []
    for step in x[0].T:
        inputs = linear(state, "rnn.i2h", step)
        if "rnn.i2h_update.weight" not in state:
            states.append(F.relu(inputs + linear(state, "rnn.h2h", states[-1]) if states else inputs))
        elif not states:
            states.append(torch.tanh(inputs))
        else:
            u, r = (
                torch.sigmoid(linear(state, f"rnn.i2h_{g}", step) + linear(state, f"rnn.h2h_{g}", states[-1]))
                for g in ("update", "reset")
            )
            candidate = torch.tanh(inputs + linear(state, "rnn.h2h", r * states[-1]))
            states.append(u * candidate + (1 - u) * states[-1])
    return linear(state, "emb_proj", torch.stack(states).mean(dim=0))
