"""CSF-GAN: shapes, parameter counts, fusion, local scores against the equations, gradient flow."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from gancli.data.holes import Holes
from gancli.data.loader import Batch
from gancli.losses.matching import padding_mask
from gancli.models.csfgan import (
    CSFGAN,
    Discriminator,
    Generator,
    SentenceFusion,
    WordFusion,
    WordLocalDiscriminator,
    box_of_all,
    crop_boxes,
    hole_boxes,
    word_importance,
)
from gancli.ops.boxes import Box, cut
from tests.defaults import make_model, make_network
from tests.models.toy import (
    TEXT_DIM,
    ImageEncoder,
    PerceptualNetwork,
    TextEncoder,
    gradient_norms,
    parameters,
)

SIZE = 32
PAPER = {"text_dim": 256}
LISTING = Path(__file__).parents[2].parent / "shared" / "checkpoints" / "csfgan_InpaintNet.json"


def small_generator(size: int = SIZE, **changes) -> Generator:
    """One whose fusion has left the identity, where it starts and hears nothing."""
    arguments = {"text_dim": TEXT_DIM, "generator_width": 4, "noise_dim": 5, "condition_dim": 6}
    generator = make_network(Generator, size=size, **(arguments | changes))
    for block in generator.encoder:
        if block.fusion is not None:
            for layer in (block.fusion.scale, block.fusion.shift):
                nn.init.normal_(layer.weight, std=0.3)
    return generator


def center(size: int = SIZE, batch: int = 3) -> torch.Tensor:
    holes = torch.zeros(batch, 1, size, size)
    holes[:, :, size // 4 : -size // 4, size // 4 : -size // 4] = 1
    return holes


def inputs(size: int = SIZE, words: int = 5):
    generator = torch.Generator().manual_seed(1)
    lengths = torch.tensor([5, 2, 3])
    mask = padding_mask(lengths, words)
    return {
        "images": torch.rand(3, 3, size, size, generator=generator) * 2 - 1,
        "holes": center(size),
        "sentence": torch.randn(3, TEXT_DIM, generator=generator),
        "words": torch.randn(3, TEXT_DIM, words, generator=generator) * mask[:, None],
        "mask": mask,
        "noise": torch.randn(3, 5, generator=generator),
        "condition_noise": torch.randn(3, 6, generator=generator),
    }


class TestPaperScale:
    """On the meta device: nothing is allocated."""

    def test_parameters(self):
        with torch.device("meta"):
            assert parameters(make_network(Generator, **PAPER)) == 82_285_971, "the 82.29 M of Table 2"
            assert parameters(make_network(Discriminator)) == 2_767_809
            assert parameters(make_network(WordLocalDiscriminator, **PAPER)) == 2_756_544 + 131_841

    def test_parameters_of_each_layer(self):
        with torch.device("meta"):
            generator = make_network(Generator, **PAPER)
        assert parameters(generator.first) == 1_792
        assert [parameters(block) for block in generator.encoder] == [
            330_496, 1_115_648, 4_664_320, 6_556_672, 7_212_032, 6_556_672, 7_212_032,
        ]  # fmt: skip
        assert parameters(generator.innermost) == 4_194_816
        assert parameters(generator.outermost) == 4_195_840
        assert [parameters(block) for block in generator.decoder] == [
            *[8_915_968] * 4,
            3_409_408,
            852_736,
            213_376,
        ]
        assert parameters(generator.last) == 3_459
        assert parameters(generator.augmentation) == 102_800

    def test_shapes_are_those_of_the_public_listing(self):
        if not LISTING.is_file():
            pytest.skip("no listing of the public network beside the project")
        public = json.loads(LISTING.read_text())
        with torch.device("meta"):
            own = make_network(Generator, **PAPER).state_dict()
        ours, theirs = (
            sorted(tuple(shape) for shape in shapes)
            for shapes in ((t.shape for t in own.values()), public.values())
        )
        # Conv1d in place of the 1x1 Conv2d that projects the words
        assert ours == sorted(shape[:3] if shape == (512, 256, 1, 1) else shape for shape in theirs)

    @pytest.mark.parametrize(
        ("size", "attention"), [(64, [8, 2]), (128, [8, 2]), (256, [8, 2]), (512, [8, 2])]
    )
    def test_the_depth_follows_the_side(self, size, attention):
        with torch.device("meta"):
            output = make_network(Generator, size=size, **PAPER)(
                torch.empty(2, 3, size, size),
                torch.empty(2, 1, size, size),
                torch.empty(2, 256),
                torch.empty(2, 256, 16),
                torch.ones(2, 16, dtype=torch.bool),
                torch.empty(2, 100),
                torch.empty(2, 100),
            )
        assert output.composite.shape == output.raw.shape == (2, 3, size, size)
        assert [tuple(a.shape) for a in output.attention] == [(2, 16, side, side) for side in attention]

    def test_layers_that_fuse(self):
        with torch.device("meta"):
            kinds = [type(block.fusion) for block in make_network(Generator, **PAPER).encoder]
        none = type(None)
        assert kinds == [SentenceFusion, none, SentenceFusion, none, WordFusion, none, WordFusion]

    def test_the_discriminators_outputs(self):
        with torch.device("meta"):
            real, fake = make_network(Discriminator)(torch.empty(2, 3, 256, 256), torch.empty(2, 3, 256, 256))
            features = make_network(WordLocalDiscriminator, **PAPER).encoder(torch.empty(2, 3, 128, 128))
        assert real.shape == fake.shape == (2, 1, 30, 30)
        assert features.shape == (2, 512, 8, 8)


@pytest.mark.parametrize(
    "changes",
    [
        {"fusion": fusion, "hole_channel": mask}
        for fusion in ("both", "sentence", "word", "none")
        for mask in (0, 1)
    ],
)
@pytest.mark.parametrize("size", [16, 32, 64])
def test_every_variant_fills(changes, size):
    generator = small_generator(size, **changes)
    c = inputs(size)
    output = generator(**c)
    assert output.raw.abs().max() <= 1
    known = (c["holes"] == 0).expand_as(output.composite)
    assert torch.equal(output.composite[known], c["images"][known]), "known pixels are untouched"
    assert torch.equal(output.composite[~known], output.raw[~known])
    assert (output.mean is None) == (changes["fusion"] == "word")


@pytest.mark.parametrize("size", [8, 48])
def test_other_sides_are_refused(size):
    with pytest.raises(ValueError, match=str(size)):
        make_network(Generator, size=size, **PAPER)


def test_what_is_in_the_hole_does_not_matter():
    generator = small_generator().eval()
    c = inputs()
    other = c | {"images": torch.where(c["holes"] > 0, torch.tensor(0.7), c["images"])}
    assert torch.equal(generator(**c).raw, generator(**other).raw)


def test_permuting_the_batch_permutes_the_images():
    """A repeated mask of the public code pairs captions with the lengths of others."""
    generator = small_generator().eval()
    c = inputs()
    order = torch.tensor([2, 0, 1])
    straight = generator(**c)
    permuted = generator(**{name: value[order] for name, value in c.items()})
    torch.testing.assert_close(permuted.raw, straight.raw[order], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(permuted.attention[0], straight.attention[0][order], atol=1e-5, rtol=1e-5)


ends = (
    st.tuples(st.integers(0, SIZE), st.integers(0, SIZE)).map(sorted).filter(lambda pair: pair[0] < pair[1])
)


@given(ends, ends)
@settings(max_examples=20, deadline=None)
def test_a_window_is_painted_as_in_the_whole_image(columns, rows):
    torch.manual_seed(0)
    generator, c = small_generator().eval(), inputs()
    window = Box(columns[0], rows[0], columns[1], rows[1])
    whole, part = generator(**c), generator(**c, window=window)
    torch.testing.assert_close(cut(part.raw, window), cut(whole.raw, window), atol=1e-5, rtol=1e-5)
    assert part.raw.shape == whole.raw.shape


def test_more_padding_changes_nothing():
    generator = small_generator().eval()
    c = inputs()
    longer = c | {"words": F.pad(c["words"], (0, 4), value=7.0), "mask": F.pad(c["mask"], (0, 4))}
    torch.testing.assert_close(generator(**c).raw, generator(**longer).raw)


@pytest.mark.parametrize(
    ("fusion", "heard"),
    [("both", "sentence words"), ("sentence", "sentence"), ("word", "words"), ("none", "sentence")],
)
def test_the_ablations_hear_what_they_should(fusion, heard):
    torch.manual_seed(0)
    generator = small_generator(fusion=fusion).eval()
    c = inputs()
    before = generator(**c).raw
    for what in ("sentence", "words"):
        after = generator(**(c | {what: c[what] + 1.0})).raw
        assert torch.equal(before, after) == (what not in heard.split())


def test_the_box_of_all_holes_grows_to_steps_that_stay_in_the_image():
    boxes = torch.tensor([[40, 70, 80, 96], [33, 128, 60, 200]])
    assert box_of_all(boxes, 256) == (32, 64, 96, 224)
    assert box_of_all(boxes, 208) == (32, 64, 96, 208)


@pytest.mark.parametrize("fusion", [SentenceFusion(4, 11), WordFusion(4, TEXT_DIM)], ids=["sentence", "word"])
def test_fusion_starts_as_the_identity_and_learns_at_once(fusion):
    c = inputs()
    x = torch.randn(3, 4, 5, 5)
    if isinstance(fusion, SentenceFusion):
        fused = fusion(x, torch.randn(3, 11))
    else:
        fused = fusion(x, c["words"], c["mask"])[0]
    torch.testing.assert_close(fused, x)
    fused.square().sum().backward()
    assert fusion.scale.weight.grad.abs().sum() > 0
    assert fusion.shift.weight.grad.abs().sum() > 0


def test_the_augmented_sentence_starts_with_little_noise():
    augmentation = make_network(Generator, size=SIZE, text_dim=256).augmentation
    _, mean, log_variance = augmentation(0.1 * torch.randn(64, 256), torch.randn(64, 100))
    assert log_variance.mean().item() == pytest.approx(-4, abs=0.3)
    assert mean.abs().mean() < 0.1, "as before"


def test_the_sentence_scales_and_shifts_each_channel():
    fusion = SentenceFusion(4, 11)
    nn.init.normal_(fusion.scale.weight)
    nn.init.normal_(fusion.shift.weight)
    x, condition = torch.randn(3, 4, 5, 5), torch.randn(3, 11)
    scale, shift = fusion.scale(condition), fusion.shift(condition)
    expected = x * scale[:, :, None, None] + shift[:, :, None, None]
    torch.testing.assert_close(fusion(x, condition), expected)


def test_each_pixel_has_its_own_word_context():
    """Eqs. 3 and 2 in float64, pixel by pixel."""
    fusion = WordFusion(4, TEXT_DIM)
    nn.init.normal_(fusion.scale.weight)
    nn.init.normal_(fusion.shift.weight)
    c = inputs()
    x = torch.randn(3, 4, 2, 3)
    fused, attention = fusion(x, c["words"], c["mask"])
    keys = np.einsum(
        "cd,bdl->bcl", fusion.attention.project.weight[:, :, 0].detach().double(), c["words"].double()
    )
    scale, shift = ((m.weight[:, :, 0, 0].detach().double().numpy(), m.bias.detach().double().numpy())
                    for m in (fusion.scale, fusion.shift))  # fmt: skip
    for i, (y, z) in itertools.product(range(3), itertools.product(range(2), range(3))):
        length = int(c["mask"][i].sum())
        v = x[i, :, y, z].double().numpy()
        p = np.exp(v @ keys[i, :, :length])
        p /= p.sum()
        context = keys[i, :, :length] @ p
        expected = (scale[0] @ context + scale[1]) * v + shift[0] @ context + shift[1]
        np.testing.assert_allclose(attention[i, :length, y, z].detach(), p, atol=1e-5)
        np.testing.assert_allclose(fused[i, :, y, z].detach(), expected, atol=1e-4)


# --- regions of the holes ---------------------------------------------------------------------------------------


def test_the_central_region_comes_out_as_it_is():
    images = inputs()["images"]
    boxes = hole_boxes(center())
    assert boxes.tolist() == [[8, 8, 24, 24]] * 3
    torch.testing.assert_close(crop_boxes(images, boxes, 16), images[:, :, 8:24, 8:24], atol=1e-6, rtol=0)


def test_a_larger_region_is_averaged():
    images = inputs()["images"]
    whole = torch.tensor([[0, 0, 32, 32]] * 3)
    torch.testing.assert_close(crop_boxes(images, whole, 16), F.avg_pool2d(images, 2), atol=1e-6, rtol=0)


@settings(max_examples=50)
@given(st.integers(0, 2**32 - 1), st.sampled_from([16, 32, 48]))
def test_boxes_hold_their_holes(seed, side):
    hole = Holes("irregular", least=0.05, most=0.6).draw(side, np.random.default_rng(seed))
    left, top, right, bottom = hole_boxes(torch.from_numpy(hole)[None, None].float())[0].tolist()
    inside = np.zeros_like(hole)
    inside[top:bottom, left:right] = True
    assert hole.sum() == (hole & inside).sum()
    for line in (hole[top, :], hole[bottom - 1, :], hole[:, left], hole[:, right - 1]):
        assert line.any()


# --- word discriminator -----------------------------------------------------------------------------------------


def slow_log_score(discriminator: WordLocalDiscriminator, regions, words, mask) -> np.ndarray:
    """Eqs. 4 and 5 as written, in float64, with the mean over the positions in place of the sum."""
    features = discriminator.encoder(regions).flatten(2).detach().double().numpy()  # (B, F, N)
    weight, bias = (p.detach().double().numpy() for p in discriminator.weights.parameters())
    result = np.empty(len(regions))
    for i in range(len(regions)):
        length = int(mask[i].sum())
        w = words[i, :, :length].double().numpy()
        scores = w.T @ w.mean(axis=1)
        alpha = np.exp(scores - scores.max())
        alpha /= alpha.sum()
        score = 1.0
        for t in range(length):
            mapped = weight @ w[:, t] + bias
            v = (
                features[i]
                if discriminator.word_pool == "mean-prob"
                else features[i].mean(axis=1, keepdims=True)
            )
            beta = 1 / (1 + np.exp(-(mapped[:-1] @ v + mapped[-1])))
            score *= beta.mean() ** alpha[t]
        result[i] = np.log(score)
    return result


@pytest.mark.parametrize("pool", ["mean-prob", "mean-feat"])
def test_the_local_score_is_the_equation(pool):
    torch.manual_seed(0)
    discriminator = make_network(
        WordLocalDiscriminator, text_dim=TEXT_DIM, discriminator_width=4, word_pool=pool
    )
    c = inputs()
    regions = torch.rand(3, 3, 16, 16)
    expected = slow_log_score(discriminator, regions, c["words"], c["mask"])
    np.testing.assert_allclose(discriminator(regions, c["words"], c["mask"]).detach(), expected, atol=1e-5)


def test_sure_words_keep_a_gradient():
    """In the product of eq. 5 probabilities of 1e-40 would be zero, and stay so."""
    discriminator = make_network(WordLocalDiscriminator, text_dim=TEXT_DIM, discriminator_width=4)
    nn.init.constant_(discriminator.weights.bias, -90.0)
    c = inputs()
    regions = torch.rand(3, 3, 16, 16, requires_grad=True)
    score = discriminator(regions, c["words"], c["mask"])
    score.sum().backward()
    assert torch.isfinite(score).all()
    assert regions.grad.abs().sum() > 0


def test_importance_leaves_padding_out():
    c = inputs()
    alpha = word_importance(c["words"], c["mask"])
    torch.testing.assert_close(alpha.sum(dim=1), torch.ones(3))
    assert (alpha[~c["mask"]] == 0).all()
    padded = word_importance(F.pad(c["words"], (0, 2), value=3.0), F.pad(c["mask"], (0, 2)))
    torch.testing.assert_close(padded[:, :5], alpha)


# --- training ---------------------------------------------------------------------------------------------------


def build(**changes) -> CSFGAN:
    torch.manual_seed(0)
    word_discriminator = make_network(WordLocalDiscriminator, text_dim=TEXT_DIM, discriminator_width=4)
    return make_model(
        CSFGAN,
        small_generator(fusion=changes.pop("fusion", "both")),
        make_network(
            Discriminator,
            discriminator_width=4,
            discriminator_input=changes.pop("discriminator_input", "paired"),
        ),
        word_discriminator if changes.pop("local", True) else None,
        TextEncoder().requires_grad_(False),
        ImageEncoder().requires_grad_(False),
        PerceptualNetwork().requires_grad_(False),
        **changes,
    )


def batch() -> Batch:
    tokens = torch.tensor([[3, 4, 5, 0, 0], [6, 7, 0, 0, 0], [8, 9, 1, 2, 0]])
    return Batch(
        images=(inputs()["images"],),
        tokens=tokens,
        lengths=(tokens > 0).sum(1),
        class_ids=torch.tensor([0, 1, 2]),
        indices=torch.arange(3),
        holes=center(),
    )


@pytest.mark.parametrize("gan", ["lsgan-ra", "bce"])
@pytest.mark.parametrize("term", ["adversarial", "local"])
def test_each_adversarial_gradient_alone_reaches_the_generator(gan, term):
    """The public code detaches the filled image in both: its generator never learns from a discriminator."""
    model = build(gan=gan)
    model.generator_adversarial_terms(model.begin(batch()))[term].backward()
    weights = {
        name: norm for name, norm in gradient_norms(model.generator).items() if name.endswith("weight")
    }
    assert all(norm > 0 for norm in weights.values()), [name for name, norm in weights.items() if norm == 0]


@pytest.mark.parametrize("gan", ["lsgan-ra", "bce"])
def test_one_pass_of_the_discriminators_gives_both_phases_their_gradients(gan):
    """The gradients of scoring the images twice: with the generator's graph for its phase, without it for the other."""

    def scored_twice(model, step):
        real, painted = step.images, step.output.composite
        captions = (step.words, step.mask)

        def local(images):
            return model.word_discriminator(crop_boxes(images, step.boxes, 16), *captions)

        by_real, by_fake = model.discriminator(real, painted)
        first, second = model.discriminator(real, painted.detach())
        if gan == "bce":
            generator = -F.logsigmoid(by_fake).mean()
            discriminator = -F.logsigmoid(first).mean() - F.logsigmoid(-second).mean()
        else:
            generator = (by_fake - by_real.mean() - 1).square().mean() / 2
            generator = generator + (by_real - by_fake.mean() + 1).square().mean() / 2
            discriminator = (first - second.mean() - 1).square().mean() / 2
            discriminator = discriminator + (second - first.mean() + 1).square().mean() / 2
        generator = generator - local(painted).mean()
        wrong = torch.log1p(-local(painted.detach()).exp()).mean()
        return generator, discriminator - (local(real).mean() + wrong) / 2

    model = build(gan=gan)
    step = model.begin(batch())
    losses = scored_twice(model, step)
    terms = model.generator_adversarial_terms(step), model.discriminator_terms(step)
    discriminators = nn.ModuleList([model.discriminator, model.word_discriminator])
    trained = [list(networks.parameters()) for networks in (model.generator, discriminators)]
    for loss, named, weights in zip(losses, terms, trained, strict=True):
        ours = torch.stack(list(named.values())).sum()
        torch.testing.assert_close(ours, loss)
        gradients = [
            torch.cat([g.flatten() for g in torch.autograd.grad(one, weights, retain_graph=True)])
            for one in (ours, loss)
        ]
        largest = float(gradients[1].abs().max())
        torch.testing.assert_close(*gradients, rtol=1e-4, atol=1e-5 * largest)


def test_the_matching_gradient_passes_the_frozen_encoder():
    model = build()
    terms = model.generator_terms(model.begin(batch()))
    (terms["words"] + terms["sentence"]).backward()
    assert gradient_norms(model.generator)["last.weight"] > 0
    assert all(p.grad is None for p in model.image_encoder.parameters())


@pytest.mark.parametrize(
    "changes", [{}, {"discriminator_input": "single", "gan": "bce"}, {"word_mismatch": True}]
)
def test_the_discriminator_step_leaves_the_generator_alone(changes):
    model = build(**changes)
    sum(model.discriminator_terms(model.begin(batch())).values()).backward()
    for network in (model.discriminator, model.word_discriminator):
        norms = gradient_norms(network)
        assert all(norm > 0 for name, norm in norms.items() if name.endswith("weight")), norms
    assert all(p.grad is None for p in model.generator.parameters())


def test_only_the_hole_is_compared_by_pixels():
    """Known pixels are copied, so they give the reconstruction neither loss nor gradient."""
    model = build()
    step = model.begin(batch())
    expected = (step.output.raw - step.images).abs()[
        step.holes.expand(-1, 3, -1, -1) > 0
    ].sum() / step.images.numel()
    torch.testing.assert_close(model.generator_terms(step)["reconstruction"], expected)


def test_terms_of_weight_zero_are_not_computed():
    none = {"reconstruction": 0.7, "perceptual": 0, "variation": 0, "edge": 0, "adversarial": 0, "damsm": 0}
    model = build(**none, local=False)
    model.image_encoder = model.perceptual_network = None
    assert set(model.generator_terms(model.begin(batch()))) == {"reconstruction"}
    everything = build(style=3.0, kl=1.0)
    assert set(everything.generator_terms(everything.begin(batch()))) == {
        "reconstruction", "perceptual", "style", "variation", "edge", "words", "sentence", "kl", "adversarial", "local",
    }  # fmt: skip


def test_the_generators_adversarial_terms_have_the_weight():
    model = build()
    step = model.begin(batch())
    terms, bare = model.generator_terms(step), model.generator_adversarial_terms(step)
    for name, term in bare.items():
        torch.testing.assert_close(terms[name], 0.002 * term)


def test_networks_that_a_weight_needs():
    for missing in ({"image_encoder": None}, {"perceptual_network": None}):
        arguments = {"image_encoder": ImageEncoder(), "perceptual_network": PerceptualNetwork()} | missing
        with pytest.raises(ValueError, match="here is n"):
            make_model(
                CSFGAN,
                small_generator(),
                make_network(Discriminator, discriminator_width=4),
                None,
                TextEncoder(),
                **arguments,
            )
