"""FF-GAN: shapes, parameter counts, exact rewrites, attention, gradient flow."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from gancli.data.loader import Batch
from gancli.losses.matching import padding_mask
from gancli.models.ffgan import (
    FFGAN,
    AffineFusion,
    Discriminator,
    Generator,
    GlobalSemanticRefinement,
)
from gancli.models.layers import WordAttention, augmentation_kl, glu
from tests.defaults import make_model, make_network
from tests.models.toy import TEXT_DIM, ImageEncoder, TextEncoder, gradient_norms, parameters


def small_generator(**changes) -> Generator:
    arguments = {
        "stages": (8, 16),
        "text_dim": TEXT_DIM,
        "generator_width": 4,
        "noise_dim": 5,
        "condition_dim": 6,
    }
    return make_network(Generator, **(arguments | changes))


def condition(batch: int = 3, words: int = 5):
    generator = torch.Generator().manual_seed(1)
    lengths = torch.tensor([5, 2, 3, 1])[:batch]
    mask = padding_mask(lengths, words)
    features = torch.randn(batch, TEXT_DIM, words, generator=generator) * mask[:, None]
    return {
        "sentence": torch.randn(batch, TEXT_DIM, generator=generator),
        "words": features,
        "mask": mask,
        "noise": torch.randn(batch, 5, generator=generator),
        "condition_noise": torch.randn(batch, 6, generator=generator),
    }


class TestPaperScale:
    """On the meta device: nothing is allocated."""

    @pytest.mark.parametrize(("residual_blocks", "count"), [(2, 21_840_592), (3, 22_726_864)])
    def test_generator_parameters(self, residual_blocks, count):
        with torch.device("meta"):
            assert parameters(make_network(Generator, residual_blocks=residual_blocks)) == count

    @pytest.mark.parametrize(("size", "count"), [(64, 1_878_242), (128, 5_155_810), (256, 18_264_546)])
    def test_discriminator_parameters(self, size, count):
        with torch.device("meta"):
            assert parameters(make_network(Discriminator, size=size)) == count

    def test_shapes(self):
        with torch.device("meta"):
            output = make_network(Generator)(
                torch.empty(2, 256),
                torch.empty(2, 256, 18),
                torch.ones(2, 18, dtype=torch.bool),
                torch.empty(2, 100),
                torch.empty(2, 100),
            )
        assert [tuple(image.shape) for image in output.images] == [(2, 3, s, s) for s in (64, 128, 256)]
        assert [tuple(a.shape) for a in output.attention] == [(2, 18, 64, 64), (2, 18, 128, 128)]


@pytest.mark.parametrize(
    "changes",
    [
        {"ff_block": ff, "gsr": gsr, "gsr_input": source, "gsr_attention": attention}
        for ff, gsr, source, attention in itertools.product(
            (True, False), (True, False), ("sentence", "augmented"), ("channelwise", "spatial")
        )
    ]
    + [{"gsr_scale": "positions", "affine_residual": True}, {"stages": (16,)}, {"stages": (4, 8, 16)}],
)
def test_every_variant_gives_images(changes):
    generator = small_generator(**changes)
    output = generator(**condition())
    assert [image.shape[-1] for image in output.images] == list(generator.stages)
    assert all(image.abs().max() <= 1 for image in output.images)


def test_gated_linear_unit_keeps_channels_last():
    x = torch.randn(2, 6, 5, 4).contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(glu(x), F.glu(x, dim=1))
    assert glu(x).is_contiguous(memory_format=torch.channels_last)


def test_affine_fusion_equals_two_convolutions():
    fusion = AffineFusion(4, residual=False)
    h, context = torch.randn(2, 4, 5, 5), torch.randn(2, 4, 5, 5)
    shared = fusion.shared(context)
    torch.testing.assert_close(fusion(h, context), h * fusion.scale(shared) + fusion.shift(shared))


def test_word_attention_is_the_equation():
    attention = WordAttention(4, TEXT_DIM, mask_padding=True)
    c = condition()
    h = torch.randn(3, 4, 2, 3)
    context, weights = attention(h, c["words"], c["mask"])
    for i, length in enumerate(c["mask"].sum(1).tolist()):
        projected = (
            attention.project.weight[:, :, 0].detach().double().numpy() @ c["words"][i].double().numpy()
        )
        for y, x in itertools.product(range(2), range(3)):
            scores = h[i, :, y, x].double().numpy() @ projected[:, :length]
            p = np.exp(scores - scores.max())
            p /= p.sum()
            np.testing.assert_allclose(weights[i, :length, y, x].detach(), p, atol=1e-5)
            np.testing.assert_allclose(context[i, :, y, x].detach(), projected[:, :length] @ p, atol=1e-5)
    assert (weights.permute(0, 2, 3, 1)[~c["mask"][:, None, None].expand(-1, 2, 3, -1)] == 0).all()


def test_unmasked_attention_gives_padding_its_share():
    attention = WordAttention(4, TEXT_DIM, mask_padding=False)
    c = condition()
    weights = attention(torch.randn(3, 4, 2, 2), c["words"], c["mask"])[1]
    assert (weights[2, 3:] > 0).all()


@pytest.mark.parametrize("kind", ["channelwise", "spatial"])
def test_gsr_attends_over_positions(kind):
    gsr = GlobalSemanticRefinement(4, TEXT_DIM, attention=kind, scale="none")
    sentence = condition()["sentence"]
    projected = gsr.project(sentence)
    torch.testing.assert_close(gsr(torch.randn(3, 4, 5, 5), sentence).sum(dim=(2, 3)), projected)
    scaled = GlobalSemanticRefinement(4, TEXT_DIM, attention=kind, scale="positions")
    scaled.load_state_dict(gsr.state_dict())
    torch.testing.assert_close(scaled(torch.randn(3, 4, 5, 5), sentence).mean(dim=(2, 3)), projected)


def test_permuting_the_batch_permutes_the_images():
    generator = small_generator().eval()
    c = condition()
    order = torch.tensor([2, 0, 1])
    straight = generator(**c).images[-1]
    permuted = generator(**{name: value[order] for name, value in c.items()}).images[-1]
    torch.testing.assert_close(permuted, straight[order], atol=1e-5, rtol=1e-5)


def test_more_padding_changes_nothing():
    generator = small_generator().eval()
    c = condition()
    longer = c | {"words": F.pad(c["words"], (0, 4), value=7.0), "mask": F.pad(c["mask"], (0, 4))}
    torch.testing.assert_close(generator(**c).images[-1], generator(**longer).images[-1])


def test_augmentation_kl_is_the_mean_divergence():
    mean, log_variance = torch.tensor([[0.5, -1.0]]), torch.tensor([[0.2, -0.3]])
    expected = np.mean([0.5 * (np.exp(v) + m**2 - 1 - v) for m, v in [(0.5, 0.2), (-1.0, -0.3)]])
    assert augmentation_kl(mean, log_variance).item() == pytest.approx(expected, rel=1e-6)


def test_discriminator_loss_is_the_public_weighting():
    """Three separate passes, as the public code writes it, in place of one."""
    discriminator = make_network(Discriminator, size=16, discriminator_width=4, text_dim=TEXT_DIM).eval()
    real, fake = torch.rand(3, 3, 16, 16), torch.rand(3, 3, 16, 16)
    sentence = condition()["sentence"]

    def bce(logits, label):
        return F.binary_cross_entropy(torch.sigmoid(logits), torch.full_like(logits, label))

    def heads(images, condition):
        features = discriminator(images)
        return discriminator.unconditional(features), discriminator.conditional(features, condition)

    (ur, cr), (uf, cf) = heads(real, sentence), heads(fake, sentence)
    wrong = heads(real, sentence[[1, 2, 0]])[1]
    expected = (bce(ur, 1.0) + bce(cr, 1.0)) / 2 + (bce(uf, 0.0) + bce(cf, 0.0) + bce(wrong, 0.0)) / 3
    torch.testing.assert_close(discriminator.loss(real, fake, sentence), expected)


def test_spectral_norm_everywhere_but_the_logits():
    discriminator = make_network(Discriminator, size=64)
    for name, module in discriminator.named_modules():
        if isinstance(module, nn.Conv2d):
            assert hasattr(module, "parametrizations") != name.endswith("logit"), name


@pytest.fixture
def model_and_batch():
    torch.manual_seed(0)
    model = make_model(
        FFGAN,
        small_generator(),
        {
            size: make_network(Discriminator, size=size, discriminator_width=4, text_dim=TEXT_DIM)
            for size in (8, 16)
        },
        TextEncoder().requires_grad_(False),
        ImageEncoder().requires_grad_(False),
    )
    tokens = torch.tensor([[3, 4, 5, 0], [6, 7, 0, 0], [8, 9, 1, 2]])
    batch = Batch(
        images=tuple(torch.rand(3, 3, size, size) * 2 - 1 for size in (8, 16)),
        tokens=tokens,
        lengths=(tokens > 0).sum(1),
        class_ids=torch.tensor([0, 1, 2]),
        indices=torch.arange(3),
    )
    return model, batch


def test_adversarial_gradient_reaches_the_whole_generator(model_and_batch):
    model, batch = model_and_batch
    step = model.begin(batch)
    terms = model.generator_terms(step)
    (terms["8"] + terms["16"]).backward()
    assert all(norm > 0 for norm in gradient_norms(model.generator).values())


def test_matching_gradient_passes_the_frozen_encoder(model_and_batch):
    model, batch = model_and_batch
    terms = model.generator_terms(model.begin(batch))
    (terms["words"] + terms["sentence"]).backward()
    norms = gradient_norms(model.generator)
    assert all(norm > 0 for name, norm in norms.items() if not name.startswith("heads.0"))
    assert norms["heads.0.conv.weight"] == 0, "DAMSM sees the largest image only"
    assert all(p.grad is None for p in model.image_encoder.parameters())


def test_discriminator_step_leaves_the_generator_alone(model_and_batch):
    model, batch = model_and_batch
    step = model.begin(batch)
    sum(model.discriminator_terms(step).values()).backward()
    for discriminator in model.discriminators.values():
        assert all(norm > 0 for norm in gradient_norms(discriminator).values())
    assert all(p.grad is None for p in model.generator.parameters())


def test_without_matching_the_image_encoder_is_not_called(model_and_batch):
    model, batch = model_and_batch
    model.damsm = 0.0
    model.image_encoder = None
    assert set(model.generator_terms(model.begin(batch))) == {"8", "16", "kl"}
