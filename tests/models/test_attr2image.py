"""attr2image: shapes, parameter counts, receptive fields, the losses transcribed slowly, gradient flow."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from torch import nn

from gancli.data.loader import Batch
from gancli.engine.phases import train_only
from gancli.models.attr2image import (
    Attr2Shape,
    ImageGenerator,
    Shape2Image,
    ShapeGenerator,
    coarsen_shapes,
    conditional_discriminator,
    enlarge_shapes,
    global_discriminator,
    local_discriminator,
    pixel_discriminator,
)
from tests.defaults import make_model, make_network
from tests.models.toy import gradient_norms, parameters

SIZE, ATTRIBUTES, CONDITION_DIM, NOISE_DIM, COUNT = 32, 7, 6, 5, 4
SHAPE = {"size": 64, "attributes": 42}


# --- paper scale, on the meta device ------------------------------------------------------------------------------


def convolutions(channels: list[tuple[int, int]], kernel: int = 4) -> int:
    return sum(a * b * kernel**2 for a, b in channels)


def augmentation(attributes: int, condition_dim: int = 128) -> int:
    return (attributes + 1) * 2 * condition_dim


def head(attributes: int) -> int:
    """Compression, 1x1 convolution, its norm, the score."""
    return (attributes + 1) * 128 + 640 * 512 + 2 * 512 + 512 * 16


class TestPaperScale:
    def test_stage_one(self):
        deconvolutions = [(228, 512), (512, 256), (256, 128), (128, 64), (64, 1)]
        norms = 2 * (512 + 256 + 128 + 64)
        with torch.device("meta"):
            assert (
                parameters(make_network(ShapeGenerator, **SHAPE))
                == augmentation(42) + convolutions(deconvolutions) + norms
            )
            unconditional = parameters(make_network(ShapeGenerator, **SHAPE, conditional=False))
        assert unconditional == convolutions([(100, 512), *deconvolutions[1:]]) + norms

    def test_discriminators_of_stage_one(self):
        halvings = [(1, 64), (64, 128), (128, 256), (256, 512)]
        trunk = convolutions(halvings) + 64 + 2 * (128 + 256 + 512)  # 64: the first one's biases
        block = 512 * 128 + convolutions([(128, 128), (128, 512)], 3) + 2 * (128 + 128 + 512)
        with torch.device("meta"):
            assert parameters(make_network(global_discriminator, size=64, channels=1)) == trunk + 512 * 16
            local = convolutions([*halvings[:3], (256, 1)]) + 64 + 2 * (128 + 256)
            assert parameters(make_network(local_discriminator, size=64, channels=1)) == local
            assert parameters(make_network(conditional_discriminator, **SHAPE, channels=1)) == trunk + head(
                42
            )
            residual = make_network(conditional_discriminator, **SHAPE, channels=1, residual=True)
            assert parameters(residual) == trunk + head(42) + block
            assert parameters(make_network(pixel_discriminator, channels=1)) == 64 + 64 * 128 + 2 * 128 + 128

    def test_stage_two(self):
        encoder = [(1, 64), (64, 128), (128, 256), (256, 512), *[(512, 512)] * 4]
        decoder = [(640, 512), *[(1024, 512)] * 3, (1024, 256), (512, 128), (256, 64), (128, 3)]
        norms = 2 * (128 + 256 + 512 * 4) + 2 * (512 * 4 + 256 + 128 + 64)
        biases = 64 + 512 + 3
        with torch.device("meta"):
            generator = make_network(ImageGenerator, size=256, attributes=270)
        assert [(level.conv.in_channels, level.conv.out_channels) for level in generator.encoder] == encoder
        assert [(level.conv.in_channels, level.conv.out_channels) for level in generator.decoder] == decoder
        expected = augmentation(270) + convolutions(encoder + decoder) + norms + biases
        assert parameters(generator) == expected

    def test_where_stage_two_normalises_and_drops(self):
        with torch.device("meta"):
            generator = make_network(ImageGenerator, size=256, attributes=270)
        has_norm = [isinstance(level.norm, nn.BatchNorm2d) for level in generator.encoder]
        assert has_norm == [False, *[True] * 6, False]
        assert [isinstance(level.norm, nn.BatchNorm2d) for level in generator.decoder] == [*[True] * 7, False]
        assert [level.dropout for level in generator.decoder] == [0.5, 0.5, 0.5, 0, 0, 0, 0, 0]

    def test_discriminators_of_stage_two(self):
        halvings = [(3, 64), (64, 128), (128, 256), (256, 512), (512, 512), (512, 512)]
        trunk = convolutions(halvings) + 64 + 2 * (128 + 256 + 3 * 512)
        with torch.device("meta"):
            whole = make_network(global_discriminator, size=256, channels=3)
            matching = make_network(conditional_discriminator, attributes=270, size=256, channels=3)
            assert parameters(whole) == trunk + 512 * 16
            assert parameters(matching) == trunk + head(270)
            images = torch.empty(2, 3, 256, 256)
            assert whole(images).shape == (2, 1, 1, 1)
            assert matching(images).shape == (2, 512, 4, 4)
            assert matching.logits(matching(images), torch.empty(2, 270)).shape == (2,)

    @pytest.mark.parametrize("size", [32, 64, 128, 256])
    def test_every_side_works(self, size):
        with torch.device("meta"):
            attributes, noise, condition = torch.empty(2, 42), torch.empty(2, 100), torch.empty(2, 128)
            shapes = make_network(ShapeGenerator, size=size, attributes=42)(
                attributes, noise, condition
            ).shapes
            output = make_network(ImageGenerator, size=size, attributes=270)(
                shapes, torch.empty(2, 270), condition
            )
            assert make_network(global_discriminator, size=size, channels=1)(shapes).shape == (2, 1, 1, 1)
            assert make_network(local_discriminator, size=size, channels=1)(shapes).shape == (2, 1, 3, 3)
            assert make_network(pixel_discriminator, channels=1)(shapes).shape == (2, 1, size, size)
            matching = make_network(conditional_discriminator, attributes=42, size=size, channels=1)
            assert matching.logits(matching(shapes), attributes).shape == (2,)
        assert shapes.shape == (2, 1, size, size)
        assert output.images.shape == (2, 3, size, size)
        assert output.mean.shape == output.log_sigma.shape == (2, 128)

    @pytest.mark.parametrize(
        ("size", "inputs", "dropped"),
        [
            (64, [640, 1024, 1024, 512, 256, 128], 2),
            (128, [640, 1024, 1024, 1024, 512, 256, 128], 3),
        ],
    )
    def test_the_depth_follows_the_side(self, size, inputs, dropped):
        with torch.device("meta"):
            decoder = make_network(ImageGenerator, size=size, attributes=270).decoder
            everywhere = make_network(ImageGenerator, size=size, attributes=270, inject="all").decoder
        assert [level.conv.in_channels for level in decoder] == inputs
        assert [level.conv.in_channels for level in everywhere] == [640, *(i + 128 for i in inputs[1:])]
        assert sum(level.dropout > 0 for level in decoder) == dropped


@pytest.mark.parametrize("size", [8, 48])
@pytest.mark.parametrize("generator", [ShapeGenerator, ImageGenerator])
def test_other_sides_are_refused(generator, size):
    with pytest.raises(ValueError, match=str(size)):
        make_network(generator, size=size, attributes=7)


@pytest.mark.parametrize("build", [global_discriminator, local_discriminator])
def test_discriminators_refuse_other_sides(build):
    with pytest.raises(ValueError, match="48"):
        make_network(build, size=48, channels=1)


# --- networks -----------------------------------------------------------------------------------------------------


def shape_generator(**changes) -> ShapeGenerator:
    arguments = {
        "size": SIZE,
        "attributes": ATTRIBUTES,
        "generator_width": 4,
        "noise_dim": NOISE_DIM,
        "condition_dim": CONDITION_DIM,
    }
    return make_network(ShapeGenerator, **(arguments | changes))


def image_generator(**changes) -> ImageGenerator:
    arguments = {"size": SIZE, "attributes": ATTRIBUTES, "generator_width": 4, "condition_dim": CONDITION_DIM}
    return make_network(ImageGenerator, **(arguments | changes))


def batch_of(count: int = COUNT, size: int = SIZE) -> Batch:
    random = torch.Generator().manual_seed(3)
    numbers = torch.arange(count)
    coordinates = torch.linspace(-1, 1, size)
    radius = 0.3 + 0.4 * torch.rand(count, 1, 1, 1, generator=random)
    distance = (coordinates[:, None] ** 2 + coordinates[None] ** 2).sqrt()
    return Batch(
        (torch.rand(count, 3, size, size, generator=random) * 2 - 1,),
        torch.zeros(count, 0, dtype=torch.long),
        numbers,
        numbers,
        numbers,
        silhouettes=(torch.where(distance < radius, 1.0, -1.0),),
        attributes=(torch.rand(count, ATTRIBUTES, generator=random) < 0.4).float(),
        wrong_attributes=(torch.rand(count, ATTRIBUTES, generator=random) < 0.4).float(),
    )


def shape_stage(conditional: bool = True, **changes) -> Attr2Shape:
    torch.manual_seed(0)
    return make_model(
        Attr2Shape,
        shape_generator(conditional=conditional),
        {
            "global": make_network(global_discriminator, size=SIZE, channels=1, discriminator_width=4),
            "local": make_network(local_discriminator, size=SIZE, channels=1, discriminator_width=4),
        },
        make_network(
            conditional_discriminator,
            attributes=ATTRIBUTES,
            size=SIZE,
            channels=1,
            discriminator_width=4,
            condition_dim=3,
        )
        if conditional
        else None,
        **changes,
    )


def image_stage(d_sees_shape: bool = False, **changes) -> Shape2Image:
    torch.manual_seed(0)
    channels = 4 if d_sees_shape else 3
    return make_model(
        Shape2Image,
        image_generator(),
        {"global": make_network(global_discriminator, size=SIZE, channels=channels, discriminator_width=4)},
        make_network(
            conditional_discriminator,
            attributes=ATTRIBUTES,
            size=SIZE,
            channels=channels,
            discriminator_width=4,
            condition_dim=3,
        ),
        d_sees_shape=d_sees_shape,
        **({"shape_noise": 0.0} | changes),
    )


def noises(count: int = COUNT) -> tuple[torch.Tensor, torch.Tensor]:
    random = torch.Generator().manual_seed(5)
    return (
        torch.randn(count, NOISE_DIM, generator=random),
        torch.randn(count, CONDITION_DIM, generator=random),
    )


def test_initial_weights():
    torch.manual_seed(0)
    generator = image_generator(generator_width=32)
    for module in [*generator.encoder.modules(), *generator.decoder.modules()]:
        if isinstance(module, nn.BatchNorm2d):
            assert module.weight.mean().item() == pytest.approx(1, abs=0.02)
            assert not module.bias.any()
        elif isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            assert module.weight.std().item() == pytest.approx(0.02, rel=0.15)
            assert module.bias is None or not module.bias.any()


@pytest.mark.parametrize("build", [ShapeGenerator, ImageGenerator])
def test_at_first_the_noise_of_the_condition_leaves_the_attributes_apart(build):
    torch.manual_seed(0)
    generator = make_network(build, size=32, attributes=100, generator_width=4)
    attributes = (torch.rand(64, 100) < 0.1).float()
    _, mean, log_sigma = generator.augmentation(attributes, torch.randn(64, 128))
    assert log_sigma.exp().mean().item() == pytest.approx(0.14, abs=0.02)
    assert mean.std(dim=0).mean() > 0.5 * log_sigma.exp().mean()


def test_the_patch_of_a_local_score_has_46_pixels():
    discriminator = (
        make_network(local_discriminator, size=64, channels=1, discriminator_width=4).eval().double()
    )
    nn.init.normal_(discriminator[-1].weight)
    images = torch.randn(1, 1, 64, 64, dtype=torch.float64)
    before = discriminator(images)[0, 0]

    def changed(row: int, column: int) -> bool:
        other = images.clone()
        other[0, 0, row, column] += 1
        return bool(discriminator(other)[0, 0, 1, 1] != before[1, 1])

    seen = [x for x in range(64) if changed(30, x)]
    assert seen == list(range(9, 55)), "46 pixels around the middle"
    assert [y for y in range(64) if changed(y, 30)] == seen


def test_a_global_score_sees_all_pixels():
    discriminator = (
        make_network(global_discriminator, size=64, channels=1, discriminator_width=4).eval().double()
    )
    images = torch.randn(1, 1, 64, 64, dtype=torch.float64, requires_grad=True)
    discriminator(images).sum().backward()
    assert (images.grad != 0).all()


def test_a_pixel_score_sees_its_pixel():
    discriminator = make_network(pixel_discriminator, channels=1, discriminator_width=4).eval()
    images = torch.randn(1, 1, 8, 8, requires_grad=True)
    discriminator(images)[0, 0, 3, 5].backward()
    assert images.grad.nonzero().tolist() == [[0, 0, 3, 5]]


def test_no_silhouette_depends_on_the_others():
    generator = shape_generator().eval()
    attributes, (noise, condition_noise) = batch_of().attributes, noises()
    together = generator(attributes, noise, condition_noise).shapes
    for i in range(COUNT):
        alone = generator(attributes[i : i + 1], noise[i : i + 1], condition_noise[i : i + 1]).shapes
        torch.testing.assert_close(alone[0], together[i], atol=1e-5, rtol=1e-5)


def test_no_image_depends_on_the_others():
    generator = image_generator().eval()
    batch, (_, condition_noise) = batch_of(), noises()
    together = generator(batch.silhouettes[0], batch.attributes, condition_noise).images
    order = torch.tensor([2, 0, 3, 1])
    permuted = generator(batch.silhouettes[0][order], batch.attributes[order], condition_noise[order]).images
    torch.testing.assert_close(permuted, together[order], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("inject", ["bottleneck", "all"])
def test_both_stages_hear_their_attributes(inject):
    batch, (noise, condition_noise) = batch_of(), noises()
    first, second = shape_generator().eval(), image_generator(inject=inject).eval()
    shapes = [first(a, noise, condition_noise).shapes for a in (batch.attributes, 1 - batch.attributes)]
    assert not torch.equal(*shapes)
    images = [
        second(batch.silhouettes[0], a, condition_noise).images
        for a in (batch.attributes, 1 - batch.attributes)
    ]
    assert not torch.equal(*images)


def test_a_negative_condition_passes_the_bottleneck():
    """Behind the ReLU of the first decoder layer: before it, half of the numbers would be lost."""
    generator = image_generator().eval()
    level = generator.decoder[0]
    features = torch.zeros(2, level.conv.in_channels - CONDITION_DIM, 1, 1)
    condition = torch.full((2, CONDITION_DIM), -1.0, requires_grad=True)
    level([features], condition).square().sum().backward()
    assert (condition.grad != 0).all()


def test_without_attributes_there_is_only_noise():
    generator = shape_generator(conditional=False).eval()
    noise, condition_noise = noises()
    output = generator(None, noise, None)
    assert output.mean is None
    assert output.log_sigma is None
    assert torch.equal(output.shapes, generator(batch_of().attributes, noise, condition_noise).shapes)
    assert not torch.equal(output.shapes, generator(None, -noise, None).shapes)


def test_dropout_is_of_training_unless_asked_for():
    batch, (_, condition_noise) = batch_of(), noises()

    def repeatable(generator: ImageGenerator) -> bool:
        passes = [generator(batch.silhouettes[0], batch.attributes, condition_noise).images for _ in range(2)]
        return torch.equal(*passes)

    assert not repeatable(image_generator(size=SIZE).train())
    assert repeatable(image_generator().eval())
    assert not repeatable(image_generator(inference_dropout=True).eval())
    assert repeatable(image_generator(inference_dropout=True, dropout=0.0).eval())


# --- silhouettes between the stages -------------------------------------------------------------------------------


def test_silhouettes_are_enlarged_and_cut_at_0():
    shapes = torch.tanh(torch.randn(2, 1, 16, 16))
    soft = enlarge_shapes(shapes, 64, soft=True)
    hard = enlarge_shapes(shapes, 64)
    assert soft.shape == hard.shape == (2, 1, 64, 64)
    assert torch.equal(hard, torch.where(soft >= 0, 1.0, -1.0))
    assert set(hard.unique().tolist()) == {-1.0, 1.0}
    assert torch.equal(enlarge_shapes(shapes, 16, soft=True), shapes)


@pytest.mark.parametrize("size", [32, 64, 128, 256])
def test_coarse_silhouettes_have_lost_what_stage_one_cannot_draw(size):
    shapes = torch.full((1, 1, size, size), -1.0)
    shapes[..., size // 4 : size // 2, size // 4 : size // 2] = 1
    whole = coarsen_shapes(shapes)
    assert (whole != shapes).float().mean() < 0.01
    shapes[..., -3, 3] = 1  # a pixel is less than half of a coarse one
    assert torch.equal(coarsen_shapes(shapes), whole)


def test_an_even_mixture_counts_as_bird():
    assert (enlarge_shapes(torch.zeros(1, 1, 4, 4), 8) == 1).all(), "as a probability of 0.5 does in the data"


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_shape_noise_coarsens_some_of_the_silhouettes(share):
    model = image_stage(shape_noise=share)
    batch = batch_of(16)
    given = []
    model.generator.register_forward_pre_hook(lambda module, args: given.append(args[0]))
    torch.manual_seed(1)
    model.begin(batch)
    coarse = coarsen_shapes(batch.silhouettes[0])
    is_coarse = [torch.equal(a, b) for a, b in zip(given[0], coarse, strict=True)]
    is_exact = [torch.equal(a, b) for a, b in zip(given[0], batch.silhouettes[0], strict=True)]
    assert all(a != b for a, b in zip(is_coarse, is_exact, strict=True))
    assert 0.2 <= np.mean(is_coarse) <= 0.8 if share == 0.5 else np.mean(is_coarse) == share


# --- losses -------------------------------------------------------------------------------------------------------


def mean_square(scores: torch.Tensor, label: float) -> float:
    values = scores.detach().double().numpy().ravel()
    return sum((value - label) ** 2 for value in values) / len(values)


def kl(mean: torch.Tensor, log_sigma: torch.Tensor) -> float:
    m, s = mean.detach().double().numpy(), log_sigma.detach().double().numpy()
    return float(np.mean(-s + 0.5 * (np.exp(2 * s) + m**2 - 1)))


def frozen_statistics(model: Attr2Shape | Shape2Image) -> None:
    """Batch norm by stored statistics, so that a score does not depend on who else is scored."""
    for name, network in model.networks.items():
        if name != "generator":
            network.eval()


@pytest.mark.parametrize("negative_weight", [1.0, 0.5])
@pytest.mark.parametrize("stage", ["shape", "image"])
def test_discriminator_losses_are_the_papers(stage, negative_weight):
    build = shape_stage if stage == "shape" else image_stage
    model = build(negative_weight=negative_weight)
    frozen_statistics(model)
    batch = batch_of()
    step = model.begin(batch)
    x = batch.silhouettes[0] if stage == "shape" else batch.images[0]
    drawn = step.output.shapes if stage == "shape" else step.output.images
    total = sum(sum(phase.loss(step).values()).item() for phase in model.phases[:-1])

    def d_c(images: torch.Tensor, attributes: torch.Tensor) -> torch.Tensor:
        return model.conditional.logits(model.conditional(images), attributes)

    expected = mean_square(d_c(x, batch.attributes), 1)
    expected += negative_weight * mean_square(d_c(x, batch.wrong_attributes), 0)
    expected += negative_weight * mean_square(d_c(drawn, batch.attributes), 0)
    for d_i in model.discriminators.values():
        expected += mean_square(d_i(x), 1) + mean_square(d_i(drawn), 0)
    assert total == pytest.approx(expected, rel=1e-5)


def test_stage_ones_objective_is_the_papers():
    model = shape_stage(global_weight=0.7, local_weight=0.3, kl=2.0)
    frozen_statistics(model)
    step = model.begin(batch_of())
    x_g = step.output.shapes
    scores = model.conditional.logits(model.conditional(x_g), step.attributes)
    expected = mean_square(scores, 1)
    expected += 0.7 * mean_square(model.discriminators["global"](x_g), 1)
    expected += 0.3 * mean_square(model.discriminators["local"](x_g), 1)
    expected += 2.0 * kl(step.output.mean, step.output.log_sigma)
    terms = model.generator_terms(step)
    assert set(terms) == {"conditional", "global", "local", "kl"}
    assert sum(terms.values()).item() == pytest.approx(expected, rel=1e-5)


def test_stage_twos_objective_is_the_papers():
    model = image_stage(global_weight=0.7, kl=2.0, l1=10.0)
    frozen_statistics(model)
    batch = batch_of()
    step = model.begin(batch)
    x_g, y = step.output.images, batch.images[0]
    expected = mean_square(model.conditional.logits(model.conditional(x_g), batch.attributes), 1)
    expected += 0.7 * mean_square(model.discriminators["global"](x_g), 1)
    expected += 10.0 * np.abs(x_g.detach().double().numpy() - y.double().numpy()).mean()
    expected += 2.0 * kl(step.output.mean, step.output.log_sigma)
    terms = model.generator_terms(step)
    assert set(terms) == {"conditional", "global", "l1", "kl"}
    assert sum(terms.values()).item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("sees", [False, True])
def test_what_stage_twos_discriminators_see(sees):
    model = image_stage(d_sees_shape=sees, shape_noise=1.0)
    batch = batch_of()
    seen = []
    for network in (model.discriminators["global"], model.conditional):
        network.register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    step = model.begin(batch)
    for phase in model.phases:
        phase.loss(step)
    assert len(seen) == 6, "real and generated, then generated, of each"
    for images in seen:
        assert images.shape[1] == 3 + sees
        if sees:
            assert torch.equal(images[:, 3:], coarsen_shapes(batch.silhouettes[0])), (
                "what the generator was given"
            )
    expected = (step.output.images - batch.images[0]).abs().mean().item() * model.l1
    assert model.generator_terms(step)["l1"].item() == pytest.approx(expected, rel=1e-5)


def test_real_and_generated_images_share_no_batch_statistics():
    model = shape_stage()
    step = model.begin(batch_of())
    for phase, network in zip(
        model.phases, [*model.discriminators.values(), model.conditional], strict=False
    ):
        seen = []
        network.register_forward_pre_hook(lambda module, args, seen=seen: seen.append(args[0]))
        phase.loss(step)
        assert [torch.equal(images, step.real) for images in seen] == [True, False]


# --- gradients ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("stage", "term"), [*itertools.product(["shape"], ["conditional", "global", "local"]),
                        *itertools.product(["image"], ["conditional", "global", "l1"])],
)  # fmt: skip
def test_each_term_alone_reaches_every_weight_of_the_generator(stage, term):
    model = shape_stage() if stage == "shape" else image_stage()
    model.generator_terms(model.begin(batch_of()))[term].backward()
    norms = gradient_norms(model.generator)
    assert all(norm > 0 for norm in norms.values()), [name for name, norm in norms.items() if norm == 0]


@pytest.mark.parametrize("build", [shape_stage, image_stage])
def test_the_divergence_reaches_the_augmentation_alone(build):
    model = build()
    model.generator_terms(model.begin(batch_of()))["kl"].backward()
    for name, norm in gradient_norms(model.generator).items():
        assert (norm > 0) == name.startswith("augmentation."), name


@pytest.mark.parametrize("build", [shape_stage, image_stage, lambda: shape_stage(conditional=False)])
def test_gradients_reach_what_a_phase_trains_and_nothing_else(build):
    model = build()
    step = model.begin(batch_of())
    everything = [p for network in model.networks.values() for p in network.parameters()]
    assert len({id(p) for p in everything}) == len(everything), "no weight is shared"
    for phase in model.phases:
        train_only(phase.trained(), everything)
        for p in everything:
            p.grad = None
        sum(phase.loss(step).values()).backward()
        for name, network in model.networks.items():
            for label, norm in gradient_norms(network).items():
                assert (norm > 0) == (name in phase.networks), f"{phase.name}: {name}.{label}"
        train_only(everything, everything)


def test_the_phases():
    assert [phase.name for phase in shape_stage().phases] == [
        "discriminator_global",
        "discriminator_local",
        "discriminator_conditional",
        "generator",
    ]
    unconditional = shape_stage(conditional=False)
    assert set(unconditional.networks) == {"generator", "discriminator_global", "discriminator_local"}
    terms = unconditional.phases[-1].loss(unconditional.begin(batch_of()))
    assert set(terms) == {"global", "local"}


def test_an_unconditional_stage_needs_no_attributes():
    batch = batch_of()
    bare = Batch(
        batch.images,
        batch.tokens,
        batch.lengths,
        batch.class_ids,
        batch.indices,
        silhouettes=batch.silhouettes,
    )
    model = shape_stage(conditional=False)
    step = model.begin(bare)
    assert all(torch.isfinite(sum(phase.loss(step).values())) for phase in model.phases)


def test_impossible_stages_are_refused():
    with pytest.raises(ValueError, match="no discriminator"):
        make_model(Attr2Shape, shape_generator(conditional=False), {}, None)
    with pytest.raises(ValueError, match="conditional"):
        make_model(
            Attr2Shape,
            shape_generator(),
            {"global": make_network(global_discriminator, size=SIZE, channels=1)},
            None,
        )
