"""StackGAN: shapes, parameter counts, the truncated condition, the losses transcribed slowly, gradient flow."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gancli.data.loader import Batch
from gancli.engine.phases import train_only
from gancli.models.layers import augmentation_kl
from gancli.models.stackgan import (
    ConditioningAugmentation,
    Discriminator,
    StackGAN,
    StageOneGenerator,
    StageTwoGenerator,
    discriminator_loss,
    stage_one_discriminator,
    stage_two_discriminator,
    truncated_normal,
)
from tests.defaults import make_model, make_network
from tests.models.toy import parameters

TEXT_DIM, NOISE_DIM, CONDITION_DIM = 12, 5, 6
PAPER_ONE, PAPER_TWO = {"size": 64, "text_dim": 1024}, {"size": 256, "text_dim": 1024}


def stage_one(size: int = 16) -> StageOneGenerator:
    return make_network(
        StageOneGenerator,
        size=size,
        text_dim=TEXT_DIM,
        generator_width=4,
        noise_dim=NOISE_DIM,
        condition_dim=CONDITION_DIM,
    )


def stage_two() -> StageTwoGenerator:
    return make_network(
        StageTwoGenerator,
        size=64,
        input_size=16,
        text_dim=TEXT_DIM,
        generator_width=8,
        condition_dim=CONDITION_DIM,
        residual_blocks=1,
    )


def model(stage: int) -> StackGAN:
    if stage == 1:
        return make_model(
            StackGAN,
            stage_one(),
            make_network(
                stage_one_discriminator, size=16, text_dim=TEXT_DIM, discriminator_width=4, condition_dim=3
            ),
        )
    return make_model(
        StackGAN,
        stage_two(),
        make_network(
            stage_two_discriminator, size=64, text_dim=TEXT_DIM, discriminator_width=4, condition_dim=3
        ),
        stage_one=stage_one(),
    )


def batch_of(size: int, wrong: str, count: int = 4) -> Batch:
    random = torch.Generator().manual_seed(3)

    def images() -> torch.Tensor:
        return torch.rand(count, 3, size, size, generator=random) * 2 - 1

    def sentences() -> torch.Tensor:
        return torch.randn(count, TEXT_DIM, generator=random)

    nothing = torch.zeros(count, 0, dtype=torch.long)
    numbers = torch.arange(count)
    return Batch(
        (images(),),
        nothing,
        numbers,
        numbers,
        numbers,
        sentences(),
        (images(),) if wrong == "image" else (),
        sentences() if wrong == "text" else None,
    )


class TestPaperScale:
    """On the meta device: nothing is allocated."""

    def test_generators(self):
        with torch.device("meta"):
            assert parameters(make_network(StageOneGenerator, **PAPER_ONE)) == 14_264_192
            assert parameters(make_network(StageTwoGenerator, **PAPER_TWO, input_size=64)) == 26_290_080

    @pytest.mark.parametrize(("width", "count"), [(64, 4_029_824), (128, 15_563_392)])
    def test_stage_one_discriminator(self, width, count):
        with torch.device("meta"):
            network = make_network(stage_one_discriminator, **PAPER_ONE, discriminator_width=width)
            assert parameters(network) == count
            assert network(torch.empty(2, 3, 64, 64)).shape == (2, 8 * width, 4, 4)

    def test_stage_two_discriminator(self):
        with torch.device("meta"):
            network = make_network(stage_two_discriminator, **PAPER_TWO)
            assert parameters(network) == 48_603_520
            features = network(torch.empty(2, 3, 256, 256))
            assert features.shape == (2, 512, 4, 4)
            assert network.logits(features, torch.empty(2, 1024)).shape == (2,)

    def test_images(self):
        with torch.device("meta"):
            sentence, noise, condition = torch.empty(2, 1024), torch.empty(2, 100), torch.empty(2, 128)
            small = make_network(StageOneGenerator, **PAPER_ONE)(sentence, noise, condition)
            large = make_network(StageTwoGenerator, **PAPER_TWO, input_size=64)(
                small.images, sentence, condition
            )
        assert small.images.shape == (2, 3, 64, 64)
        assert large.images.shape == (2, 3, 256, 256)
        assert large.mean.shape == large.log_sigma.shape == (2, 128)


@pytest.mark.parametrize("size", [16, 32, 128])
def test_every_side_from_16_works(size):
    output = stage_one(size)(
        torch.randn(2, TEXT_DIM), torch.randn(2, NOISE_DIM), torch.randn(2, CONDITION_DIM)
    )
    assert output.images.shape == (2, 3, size, size)
    assert output.images.abs().max() <= 1
    network = make_network(
        stage_one_discriminator, size=size, text_dim=TEXT_DIM, discriminator_width=4, condition_dim=3
    )
    assert network.logits(network(output.images), torch.randn(2, TEXT_DIM)).shape == (2,)


@pytest.mark.parametrize("size", [8, 24])
def test_other_sides_are_refused(size):
    with pytest.raises(ValueError, match=str(size)):
        stage_one(size)


def test_the_released_discriminator_has_no_activation_after_its_last_two_halvings():
    kinds = [
        "Conv2d" if isinstance(layer, torch.nn.Conv2d) else type(layer).__name__
        for layer in make_network(stage_one_discriminator, size=64, text_dim=TEXT_DIM).encoder
    ]
    halvings = ["Conv2d", "LeakyReLU", "Conv2d", "BatchNorm2d", "LeakyReLU"]
    assert kinds == [*halvings, "Conv2d", "BatchNorm2d", "Conv2d", "BatchNorm2d", "Residual"]


class TestCondition:
    @given(st.lists(st.floats(-8, 8), min_size=1, max_size=20))
    def test_truncation_keeps_order_and_sign_within_two_deviations(self, numbers):
        noise = torch.tensor(sorted(numbers))
        truncated = truncated_normal(noise)
        assert truncated.abs().max() <= 2 + 1e-4
        assert (truncated.diff() >= -1e-6).all()
        assert (truncated * noise >= -1e-6).all()

    def test_truncation_gives_the_truncated_normal(self):
        random = torch.Generator().manual_seed(0)
        mapped = truncated_normal(torch.randn(200_000, generator=random)).numpy()
        drawn = np.random.default_rng(0).standard_normal(400_000)
        drawn = drawn[np.abs(drawn) <= 2]  # rejection, as TensorFlow draws
        shares = np.linspace(0.01, 0.99, 50)
        np.testing.assert_allclose(np.quantile(mapped, shares), np.quantile(drawn, shares), atol=0.02)

    def test_the_condition_is_mean_and_deviation_of_the_sentence(self):
        layer = ConditioningAugmentation(TEXT_DIM, CONDITION_DIM, truncate=False)
        sentence, noise = torch.randn(3, TEXT_DIM), torch.randn(3, CONDITION_DIM)
        condition, mean, log_sigma = layer(sentence, noise)
        weight, bias = layer.linear.weight.detach().numpy(), layer.linear.bias.detach().numpy()
        linear = sentence.numpy() @ weight.T + bias
        activated = np.where(linear > 0, linear, 0.2 * linear)
        np.testing.assert_allclose(mean.detach(), activated[:, :CONDITION_DIM], rtol=1e-5, atol=1e-6)
        expected = activated[:, :CONDITION_DIM] + np.exp(activated[:, CONDITION_DIM:]) * noise.numpy()
        np.testing.assert_allclose(condition.detach(), expected, rtol=1e-5, atol=1e-6)
        assert log_sigma.shape == (3, CONDITION_DIM)

    def test_divergence_is_the_public_codes(self):
        mean, log_sigma = torch.randn(4, 7), torch.randn(4, 7)
        m, s = mean.double().numpy(), log_sigma.double().numpy()
        expected = np.mean(-s + 0.5 * (np.exp(2 * s) + m**2 - 1))
        assert augmentation_kl(mean, 2 * log_sigma).item() == pytest.approx(expected, rel=1e-5)


def log_sigmoid(x: np.ndarray) -> np.ndarray:
    return -np.log1p(np.exp(-x))


@pytest.mark.parametrize("wrong", ["image", "text"])
def test_discriminator_loss_is_the_papers(wrong):
    discriminator = (
        make_network(
            stage_one_discriminator, size=16, text_dim=TEXT_DIM, discriminator_width=4, condition_dim=3
        )
        .double()
        .eval()
    )
    batch = batch_of(16, wrong)
    real, sentence = batch.images[0].double(), batch.sentences.double()
    fake = torch.rand_like(real)

    def score(images: torch.Tensor, texts: torch.Tensor) -> np.ndarray:
        return discriminator.logits(discriminator(images), texts).detach().numpy()

    if wrong == "image":
        pair = {"wrong_images": batch.wrong_images[0].double()}
        mismatched = score(pair["wrong_images"], sentence)
    else:
        pair = {"wrong_sentence": batch.wrong_sentences.double()}
        mismatched = score(real, pair["wrong_sentence"])
    # log s_r + (log(1 - s_w) + log(1 - s_f)) / 2, which D makes large
    objective = np.mean(log_sigmoid(score(real, sentence))) + 0.5 * (
        np.mean(log_sigmoid(-mismatched)) + np.mean(log_sigmoid(-score(fake, sentence)))
    )
    loss = discriminator_loss(discriminator, real, fake, sentence, **pair)
    assert loss.item() == pytest.approx(-objective, rel=1e-5)


def test_real_and_generated_images_share_no_batch_statistics():
    discriminator: Discriminator = make_network(
        stage_one_discriminator, size=16, text_dim=TEXT_DIM, discriminator_width=4, condition_dim=3
    )
    batch = batch_of(16, "text")
    real = discriminator(batch.images[0])
    calls = []
    discriminator.encoder.register_forward_hook(lambda module, args, out: calls.append(args[0]))
    discriminator_loss(
        discriminator,
        batch.images[0],
        -batch.images[0],
        batch.sentences,
        wrong_sentence=batch.wrong_sentences,
    )
    assert len(calls) == 2
    torch.testing.assert_close(calls[0], batch.images[0])
    torch.testing.assert_close(discriminator(batch.images[0]), real)


@pytest.mark.parametrize("wrong", ["image", "text"])
@pytest.mark.parametrize("stage", [1, 2])
def test_gradients_reach_what_a_phase_trains_and_nothing_else(stage, wrong):
    trained = model(stage)
    step = trained.begin(batch_of(16 if stage == 1 else 64, wrong))
    everything = [p for network in trained.networks.values() for p in network.parameters()]
    for phase in trained.phases:
        train_only(phase.trained(), everything)
        for p in everything:
            p.grad = None
        sum(phase.loss(step).values()).backward()
        for name, network in trained.networks.items():
            for label, p in network.named_parameters():
                if name in phase.networks:
                    assert p.grad is not None, label
                    assert p.grad.abs().sum() > 0, label
                else:
                    assert p.grad is None
        train_only(everything, everything)


def test_the_adversarial_term_alone_moves_the_generator():
    trained = model(1)
    terms = trained.phases[1].loss(trained.begin(batch_of(16, "text")))
    terms["adversarial"].backward()
    first = next(iter(trained.generator.layers[0].parameters()))
    assert first.grad.abs().sum() > 0


def test_stage_two_leaves_stage_one_as_it_is():
    trained = model(2)
    before = {name: tensor.clone() for name, tensor in trained.stage_one.state_dict().items()}
    step = trained.begin(batch_of(64, "image"))
    for phase in trained.phases:
        sum(phase.loss(step).values()).backward()
        phase.optimizer.step()
    after = trained.stage_one.state_dict()
    assert all(torch.equal(tensor, after[name]) for name, tensor in before.items())
    assert all(p.grad is None for p in trained.stage_one.parameters())


def test_a_stage_two_without_stage_one_is_a_mistake():
    with pytest.raises(ValueError, match="Stage II"):
        make_model(
            StackGAN,
            stage_two(),
            make_network(stage_two_discriminator, size=64, text_dim=TEXT_DIM, discriminator_width=4),
        )
