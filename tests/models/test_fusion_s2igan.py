"""Fusion-S2iGan: shapes, parameter counts, each module against its equations, substitutes, losses, gradients."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from gancli.data.loader import Batch
from gancli.engine.phases import train_only
from gancli.losses.matching import cosine_similarity_matrix, matching_loss
from gancli.models.fusion_s2igan import (
    DeepFusion,
    Discriminator,
    DualAttentionFusion,
    DualResidualBlock,
    FusionS2iGan,
    Generator,
    PixelAttention,
    SpeechModulation,
    VisualSpeechFusion,
    WeightedFusion,
)
from tests.conftest import SHARED_DATA
from tests.defaults import make_model, make_network
from tests.models.toy import parameters

E, Z, WIDTH = 6, 5, 8
ATTENTIONS = ["pam", "bam", "bam-product", "polarized", "polarized-sequential", "cot", "cot-lite"]
PAPER = {"condition_dim": 1024}
DF_GAN = {
    "block": "dfgan",
    "condition_dim": 256,
    "noise_in_condition": True,
    "first_block": False,
    "modulation_hidden": None,
}


def generator(size: int = 16, **changes: Any) -> Generator:
    return make_network(
        Generator,
        size=size,
        condition_dim=E,
        noise_dim=Z,
        **{"generator_width": WIDTH, "modulation_hidden": 7, **changes},
    )


def discriminator(size: int = 16) -> Discriminator:
    return make_network(Discriminator, size=size, condition_dim=E, discriminator_width=4)


def batch_of(size: int = 16, count: int = 4, *, wrong: bool = True) -> Batch:
    random = torch.Generator().manual_seed(3)
    images = torch.rand(count, 3, size, size, generator=random) * 2 - 1
    nothing, numbers = torch.zeros(count, 0, dtype=torch.long), torch.arange(count)
    vectors = torch.randn(2, count, E, generator=random)
    return Batch((images,), nothing, numbers, numbers, numbers, vectors[0], (), vectors[1] if wrong else None)


def shaken(network: nn.Module) -> nn.Module:
    """No parameter at a special initial value: what starts at zero lets no gradient through."""
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return network


class TestPaperScale:
    """On the meta device: nothing is allocated."""

    @pytest.mark.parametrize(
        ("changes", "count"),
        [
            ({}, 16_414_489),
            ({"modules": 1}, 11_241_914),
            ({"modulation_hidden": None}, 14_514_265),
            ({"generator_width": 64}, 39_957_025),
        ],
    )
    def test_generator(self, changes, count):
        with torch.device("meta"):
            assert parameters(make_network(Generator, **(PAPER | changes))) == count

    def test_discriminator(self):
        with torch.device("meta"):
            network = make_network(Discriminator, **PAPER)
            assert parameters(network) == 51_840_838
            features = network(torch.empty(2, 3, 256, 256))
            assert features.shape == (2, 1024, 4, 4)
            assert network.score(features, torch.empty(2, 1024)).shape == (2,)
            blocks = [block.branch[0] for block in network.encoder[1:]]
        assert [block.out_channels for block in blocks] == [64, 128, 256, 512, 1024, 1024]

    def test_generated_channels(self):
        with torch.device("meta"):
            network = make_network(Generator, **PAPER)
        widths = [(block.conv1.in_channels, block.conv1.out_channels) for block in network.blocks]
        assert widths == [(256, 256)] * 4 + [(256, 128), (128, 64), (64, 32)]
        assert [block.upsample for block in network.blocks] == [False] + [True] * 6

    @pytest.mark.parametrize("size", [64, 128, 256])
    def test_images(self, size):
        with torch.device("meta"):
            images = make_network(Generator, size=size, **PAPER)(torch.empty(2, 100), torch.empty(2, 1024))
            features = make_network(Discriminator, size=size, **PAPER)(images)
        assert images.shape == (2, 3, size, size)
        assert features.shape[2:] == (4, 4)

    def test_the_block_dfgan_gives_the_published_df_gan(self):
        """Every weight of the released checkpoint, but for shortcuts that its code builds and does not use."""
        folder = SHARED_DATA.parent / "checkpoints"
        if not folder.is_dir():
            pytest.skip(
                "no listings of published checkpoints beside the project: ../shared/checkpoints is absent"
            )

        def published(*names: str) -> list[tuple[int, ...]]:
            listings = [json.loads((folder / f"dfgan_{name}.json").read_text()) for name in names]
            unused = tuple(f"DBlocks.{number}.conv_s" for number in (3, 4, 5))
            return sorted(
                tuple(shape)
                for listing in listings
                for name, shape in listing.items()
                if not name.startswith(unused)
            )

        with torch.device("meta"):
            networks = (
                make_network(Generator, **DF_GAN),
                make_network(Discriminator, condition_dim=256, discriminator_max_multiple=8),
            )
        own = [sorted(tuple(p.shape) for p in network.parameters()) for network in networks]
        assert own[0] == published("netG")
        assert own[1] == published("netD", "netC")


@pytest.mark.parametrize("size", [8, 16, 64])
def test_every_side_from_8_works(size):
    images = generator(size)(torch.randn(2, Z), torch.randn(2, E))
    assert images.shape == (2, 3, size, size)
    assert images.abs().max() <= 1
    network = discriminator(size)
    assert network.score(network(images), torch.randn(2, E)).shape == (2,)


@pytest.mark.parametrize("size", [4, 24])
def test_other_sides_are_refused(size):
    with pytest.raises(ValueError, match=str(size)):
        generator(size)


def test_an_unknown_substitute_is_refused():
    with pytest.raises(ValueError, match="attention is 'nam'"):
        generator(attention="nam")


# --- modules --------------------------------------------------------------------------------------------------


class TestSpeechModulation:
    def test_it_is_the_identity_before_training(self):
        x = torch.randn(2, 4, 3, 3)
        torch.testing.assert_close(SpeechModulation(4, E, 7)(x, torch.randn(2, E)), x, rtol=0, atol=0)

    def test_equations_11_to_13(self):
        module = shaken(SpeechModulation(4, E, 7))
        x, condition = torch.randn(2, 4, 3, 3), torch.randn(2, E)

        def predicted(layers: nn.Sequential) -> np.ndarray:
            first, last = (
                [parameter.detach().numpy() for parameter in layers[number].parameters()] for number in (0, 2)
            )
            hidden = np.maximum(condition.numpy() @ first[0].T + first[1], 0)
            return (hidden @ last[0].T + last[1])[:, :, None, None]

        expected = x.numpy() * predicted(module.scale) + predicted(module.shift)
        np.testing.assert_allclose(module(x, condition).detach(), expected, rtol=1e-5, atol=1e-6)


def test_the_pixel_attention_is_one_weight_per_pixel():
    module = PixelAttention(8, 4)
    x = 10 * torch.randn(3, 8, 5, 5)
    weights = module.map(x)
    assert weights.shape == (3, 1, 5, 5)
    assert weights.min() > 0
    assert weights.max() < 1
    torch.testing.assert_close(module.eval()(x), x * module.map(x))


class TestWeightedFusion:
    @given(st.floats(0.01, 50))
    def test_the_two_weights_of_a_channel_sum_to_one(self, spread):
        module = shaken(WeightedFusion(6, 4))
        weights = module.weights(spread * torch.randn(3, 6, 2, 2), torch.randn(3, 6, 2, 2))
        assert weights.shape == (3, 2, 6)
        torch.testing.assert_close(weights.sum(dim=1), torch.ones(3, 6))

    def test_equations_14_to_18(self):
        module = shaken(WeightedFusion(6, 2))
        attended, modulated = torch.randn(3, 6, 4, 4), torch.randn(3, 6, 4, 4)
        first, last = (
            [parameter.detach().numpy() for parameter in module.layers[number].parameters()]
            for number in (0, 2)
        )
        pooled = (attended + modulated).numpy().mean(axis=(2, 3))
        hidden = pooled @ first[0].T + first[1]
        hidden = hidden * 0.5 * (1 + np.vectorize(math.erf)(hidden / math.sqrt(2)))
        logits = np.exp((hidden @ last[0].T + last[1]).reshape(3, 2, 6))
        share = (logits / logits.sum(axis=1, keepdims=True))[:, :, :, None, None]
        expected = share[:, 0] * attended.numpy() + share[:, 1] * modulated.numpy()
        np.testing.assert_allclose(module(attended, modulated).detach(), expected, rtol=1e-4, atol=1e-5)


class TestVisualSpeechFusion:
    @pytest.mark.parametrize("fusion", ["wfm", "add", "mul"])
    def test_equations_7_and_8(self, fusion):
        module = shaken(generator(fusion=fusion)).eval().blocks[0].fuse1
        assert isinstance(module, VisualSpeechFusion)
        x, condition = torch.randn(2, 32, 4, 4), torch.randn(2, E)
        normed = module.norm(x)
        attended, modulated = module.attention(normed), module.modulation(normed, condition)
        if fusion == "wfm":
            joined = module.fusion(attended, modulated)
        else:
            joined = attended + modulated if fusion == "add" else attended * modulated
        torch.testing.assert_close(module(x, condition), normed + joined)

    @pytest.mark.parametrize("attention", ATTENTIONS)
    def test_an_attention_takes_the_place_of_pam_and_nothing_else(self, attention):
        own, other = generator(), generator(attention=attention)

        def rest(network: Generator) -> dict[str, torch.Size]:
            named = network.named_parameters()
            return {name: p.shape for name, p in named if ".attention." not in name}

        assert rest(own) == rest(other)
        images = other(torch.randn(3, Z), torch.randn(3, E))
        assert images.shape == (3, 3, 16, 16)
        assert images.isfinite().all()

    @pytest.mark.parametrize("fusion", ["add", "mul"])
    def test_a_plain_fusion_removes_the_weights_of_wfm_only(self, fusion):
        names = {name for name, _ in generator().named_parameters()}
        plain = {name for name, _ in generator(fusion=fusion).named_parameters()}
        assert plain == {name for name in names if ".fusion." not in name}


def test_a_single_module_removes_exactly_the_second_fusion():
    names = {name for name, _ in generator().named_parameters()}
    single = {name for name, _ in generator(modules=1).named_parameters()}
    assert single == {name for name in names if ".fuse2." not in name}
    assert names != single


def test_the_block_of_df_gan_is_two_modulations_and_leaky_relu():
    network = shaken(generator(block="dfgan")).eval()
    block = network.blocks[1]
    assert not any(isinstance(module, nn.BatchNorm2d) for module in network.modules())
    fuse = block.fuse1
    assert isinstance(fuse, DeepFusion)
    x, condition = torch.randn(2, 32, 4, 4), torch.randn(2, E)

    def leaky(y: torch.Tensor) -> torch.Tensor:
        return torch.where(y > 0, y, 0.2 * y)

    torch.testing.assert_close(fuse(x, condition), fuse.second(leaky(fuse.first(x, condition)), condition))
    large = nn.functional.interpolate(x, scale_factor=2)
    hidden = nn.functional.conv2d(
        leaky(fuse(large, condition)), block.conv1.weight, block.conv1.bias, padding=1
    )
    residual = block.conv2(leaky(block.fuse2(hidden, condition)))
    torch.testing.assert_close(block(x, condition), residual + block.shortcut(large), rtol=1e-4, atol=1e-5)


def test_a_block_is_the_dual_residual_of_the_paper():
    block = shaken(generator()).eval().blocks[2]  # halves the channels, doubles the side
    assert isinstance(block, DualResidualBlock)
    x, condition = torch.randn(2, 16, 4, 4), torch.randn(2, E)
    large = nn.functional.interpolate(x, scale_factor=2)
    hidden = block.conv1(block.fuse1(large, condition).relu())
    residual = block.conv2(block.fuse2(hidden, condition).relu())
    torch.testing.assert_close(block(x, condition), residual + block.shortcut(large), rtol=1e-4, atol=1e-5)


class TestDualAttention:
    def test_the_normalisation_mixes_instance_and_layer_norm(self):
        module = shaken(DualAttentionFusion(4, E, 2))
        x, condition = torch.randn(2, 4, 5, 5), torch.randn(2, E)

        def normed(axes: tuple[int, ...]) -> np.ndarray:
            values = x.numpy()
            return (values - values.mean(axes, keepdims=True)) / np.sqrt(
                values.var(axes, keepdims=True) + 1e-5
            )

        share = module.instance_share.detach().numpy()
        mixed = share * normed((2, 3)) + (1 - share) * normed((1, 2, 3))
        scale, shift = (
            layer(condition).detach().numpy()[:, :, None, None] for layer in (module.scale, module.shift)
        )
        np.testing.assert_allclose(
            module.normalise(x, condition).detach(), mixed * scale + shift, rtol=1e-4, atol=1e-5
        )

    def test_its_share_stays_between_none_and_all(self):
        trained = make_model(
            FusionS2iGan, generator(block="dtgan-approx"), discriminator(), damsm=0, generator_lr=10.0
        )
        step(trained, batch_of())
        shares = [m.instance_share for m in trained.generator.modules() if isinstance(m, DualAttentionFusion)]
        assert all(share.min() >= 0 and share.max() <= 1 for share in shares)
        assert any(((share == 0) | (share == 1)).any() for share in shares)


class TestCondition:
    def test_noise_beside_the_condition_reaches_the_blocks(self):
        network = shaken(generator(noise_in_condition=True)).eval()
        with torch.no_grad():
            network.linear.weight.zero_()
        condition = torch.randn(1, E).expand(2, -1)
        first, second = network(torch.randn(2, Z), condition)
        assert not torch.equal(first, second)

    def test_alone_the_condition_is_what_the_blocks_see(self):
        network = shaken(generator()).eval()
        with torch.no_grad():
            network.linear.weight.zero_()
        first, second = network(torch.randn(2, Z), torch.randn(1, E).expand(2, -1))
        torch.testing.assert_close(first, second)

    def test_the_scale_multiplies_the_condition(self):
        torch.manual_seed(0)
        plain = shaken(generator()).eval()
        scaled = generator(condition_scale=3.0).eval()
        scaled.load_state_dict(plain.state_dict())
        noise, condition = torch.randn(2, Z), torch.randn(2, E)
        torch.testing.assert_close(scaled(noise, condition), plain(noise, 3 * condition))

    def test_images_of_one_condition_differ_with_the_noise_from_the_start(self):
        first, second = generator()(torch.randn(2, Z), torch.randn(1, E).expand(2, -1))
        assert (first - second).abs().max() > 1e-3

    def test_at_sampling_no_image_depends_on_the_others(self):
        network = shaken(generator()).eval()
        noise, condition = torch.randn(4, Z), torch.randn(4, E)
        alone = network(noise[:1], condition[:1])
        torch.testing.assert_close(network(noise, condition)[:1], alone, rtol=1e-3, atol=1e-4)


# --- objective ------------------------------------------------------------------------------------------------


def model(image_encoder: nn.Module | None = None, **changes: Any) -> FusionS2iGan:
    torch.manual_seed(0)
    weight = {} if image_encoder is not None else {"damsm": 0}
    return make_model(
        FusionS2iGan, generator(), discriminator(), image_encoder=image_encoder, **{**weight, **changes}
    )


def step(trained: FusionS2iGan, batch: Batch) -> None:
    everything = [p for network in trained.networks.values() for p in network.parameters()]
    shared = trained.begin(batch)
    for phase in trained.phases:
        train_only([p for group in phase.optimizer.param_groups for p in group["params"]], everything)
        phase.optimizer.zero_grad()
        terms = phase.loss(shared)
        sum(term for name, term in terms.items() if name not in phase.watched).backward()
        phase.optimizer.step()
        train_only(everything, everything)


class ImageEncoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(3 * 16 * 16, E)
        self.requires_grad_(False)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.linear(images.flatten(1))


@pytest.mark.parametrize("wrong", [True, False])
@pytest.mark.parametrize("form", ["concat", "sum"])
def test_the_discriminators_terms_are_equation_19_and_20(wrong, form):
    trained = model(magp_form=form, magp=3.0, magp_power=4.0)
    trained.generator.condition_scale = 2.0
    shaken(trained.discriminator)
    batch = batch_of(wrong=wrong)
    shared = trained.begin(batch)
    terms = trained.discriminator_terms(shared)
    network = trained.discriminator
    real, condition = batch.images[0].clone().requires_grad_(), (2 * batch.sentences).requires_grad_()
    scores = network.score(network(real), condition)
    mismatched = batch.wrong_sentences if wrong else batch.sentences[[3, 0, 1, 2]]
    wrong_scores = network.score(network(real), 2 * mismatched).detach().numpy()
    fake_scores = network.score(network(shared.fake), condition).detach().numpy()
    assert terms["real"].item() == pytest.approx(np.maximum(0, 1 - scores.detach().numpy()).mean(), rel=1e-5)
    assert terms["mismatched"].item() == pytest.approx(np.maximum(0, 1 + wrong_scores).mean() / 2, rel=1e-5)
    assert terms["generated"].item() == pytest.approx(np.maximum(0, 1 + fake_scores).mean() / 2, rel=1e-5)
    gradients = [g.flatten(1).double().numpy() for g in torch.autograd.grad(scores.sum(), (real, condition))]
    norms = [np.sqrt((g**2).sum(1)) for g in gradients]
    joint = np.sqrt(norms[0] ** 2 + norms[1] ** 2) if form == "concat" else norms[0] + norms[1]
    assert terms["penalty"].item() == pytest.approx(3 * np.mean(joint**4), rel=1e-4)
    assert terms["image_gradient"].item() == pytest.approx(norms[0].mean(), rel=1e-4)
    assert terms["condition_gradient"].item() == pytest.approx(norms[1].mean(), rel=1e-4)


def test_a_rolled_caption_is_nobodys_own():
    shared = model().begin(batch_of(wrong=False))
    assert not any(torch.equal(own, other) for own, other in zip(shared.condition, shared.wrong, strict=True))


def test_real_images_pass_the_discriminator_once():
    trained = model()
    calls = []
    trained.discriminator.encoder.register_forward_hook(lambda module, args, out: calls.append(args[0]))
    trained.discriminator_terms(trained.begin(batch_of()))
    assert len(calls) == 2, "real, generated"


def test_the_penalty_is_in_float32_under_autocast_and_reaches_the_discriminator():
    trained = model()
    shaken(trained.discriminator)
    with torch.autocast("cpu", torch.bfloat16):
        shared = trained.begin(batch_of())
        terms = trained.discriminator_terms(shared)
    assert terms["penalty"].dtype == torch.float32
    shared = trained.begin(batch_of())  # without autocast
    assert terms["penalty"].item() == trained.discriminator_terms(shared)["penalty"].item()
    terms["penalty"].backward()
    for name, parameter in trained.discriminator.encoder.named_parameters():
        if "weight" in name:
            assert parameter.grad.abs().sum() > 0, name
        assert parameter.grad is None or parameter.grad.isfinite().all()


def test_without_weight_there_is_no_penalty():
    terms = model(magp=0.0).discriminator_terms(model().begin(batch_of()))
    assert set(terms) == {"real", "mismatched", "generated"}


def test_the_generators_terms():
    encoder = ImageEncoder()
    trained = model(encoder, damsm=0.3, gamma=7.0)
    shaken(trained.discriminator)
    shared = trained.begin(batch_of())
    terms = trained.generator_terms(shared)
    network = trained.discriminator
    scores = network.score(network(shared.fake), shared.condition)
    assert terms["adversarial"].item() == pytest.approx(-scores.mean().item(), rel=1e-5)
    similarity = 7.0 * cosine_similarity_matrix(encoder(shared.fake), shared.condition)
    assert terms["matching"].item() == pytest.approx(
        0.3 * matching_loss(similarity, shared.class_ids).item(), rel=1e-5
    )
    gradient = torch.autograd.grad(terms["matching"], shared.fake)[0]
    assert gradient.abs().sum() > 0, "through the frozen image encoder"


def test_other_images_of_a_class_may_be_negatives_too():
    encoder = ImageEncoder()
    trained = model(encoder, damsm=0.3, gamma=7.0, same_class_negatives=True)
    shared = replace(trained.begin(batch_of()), class_ids=torch.zeros(4, dtype=torch.long))
    similarity = 7.0 * cosine_similarity_matrix(encoder(shared.fake), shared.condition)
    expected = 0.3 * matching_loss(similarity, torch.arange(4)).item()
    assert trained.generator_terms(shared)["matching"].item() == pytest.approx(expected, rel=1e-5)


def test_a_matching_loss_needs_an_image_encoder():
    with pytest.raises(ValueError, match="image encoder"):
        model(damsm=0.05)


@pytest.mark.parametrize("block", ["vsfm", "dfgan", "dtgan-approx"])
def test_gradients_reach_what_a_phase_trains_and_nothing_else(block):
    torch.manual_seed(0)
    trained = make_model(
        FusionS2iGan, shaken(generator(block=block)), shaken(discriminator()), image_encoder=ImageEncoder()
    )
    step(trained, batch_of())  # makes the optimizers' lists of parameters
    everything = [p for network in trained.networks.values() for p in network.parameters()]
    shared = trained.begin(batch_of())
    for phase in trained.phases:
        train_only([p for group in phase.optimizer.param_groups for p in group["params"]], everything)
        for p in everything:
            p.grad = None
        terms = phase.loss(shared)
        sum(term for name, term in terms.items() if name not in phase.watched).backward()
        for name, network in trained.networks.items():
            for label, p in network.named_parameters():
                if name in phase.networks:
                    assert p.grad is not None, label
                    # a bias before batch norm moves nothing
                    assert p.grad.abs().sum() > 0 or label.endswith("bias"), label
                else:
                    assert p.grad is None, label
        train_only(everything, everything)


def test_the_adversarial_term_alone_moves_the_generator_from_the_first_step():
    trained = model()
    trained.generator_terms(trained.begin(batch_of()))["adversarial"].backward()
    assert trained.generator.linear.weight.grad.abs().sum() > 0


def test_both_phases_look_at_the_same_images():
    trained = model()
    calls = []
    trained.generator.register_forward_hook(lambda module, args, out: calls.append(out))
    step(trained, batch_of())
    assert len(calls) == 1
