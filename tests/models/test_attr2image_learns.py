"""attr2image is seen to learn in seconds: a shape as wide as its attribute says, painted in the colour it says."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from gancli.data.loader import Batch
from gancli.models.attr2image import (
    Attr2Shape,
    ImageGenerator,
    Shape2Image,
    ShapeGenerator,
    conditional_discriminator,
    global_discriminator,
    local_discriminator,
)
from tests.defaults import make_model, make_network
from tests.models.toy import train

COLOURS = torch.tensor([[0.8, -0.8, -0.8], [-0.8, 0.8, -0.8], [-0.8, -0.8, 0.8], [0.8, 0.8, -0.8]])
BACKGROUND = -0.2
BATCH = 16
SIZE = 16


def squares(wide: Tensor, generator: torch.Generator) -> Tensor:
    """Squares somewhere in the image, 4 or 10 pixels a side. (B,) bool -> (B, 1, S, S)"""
    shapes = torch.full((len(wide), 1, SIZE, SIZE), -1.0)
    for shape, large in zip(shapes, wide.tolist(), strict=True):
        side = 10 if large else 4
        top, left = torch.randint(2, SIZE - side - 1, (2,), generator=generator).tolist()
        shape[:, top : top + side, left : left + side] = 1
    return shapes


def batch_of(generator: torch.Generator, *, shape_stage: bool) -> Batch:
    wide = torch.rand(BATCH, generator=generator) < 0.5
    shapes = squares(wide, generator)
    nothing = torch.zeros(BATCH, 0, dtype=torch.long)
    if shape_stage:
        attributes = torch.stack([wide, ~wide], dim=1).float()
        labels = wide.long()
        return Batch(
            (), nothing, labels, labels, labels, silhouettes=(shapes,), attributes=attributes,
            wrong_attributes=1 - attributes,
        )  # fmt: skip
    labels = torch.randint(len(COLOURS), (BATCH,), generator=generator)
    others = (labels + torch.randint(1, len(COLOURS), (BATCH,), generator=generator)) % len(COLOURS)
    images = torch.where(shapes > 0, COLOURS[labels][:, :, None, None], BACKGROUND)
    one_hot = torch.eye(len(COLOURS))
    return Batch(
        (images,), nothing, labels, labels, labels, silhouettes=(shapes,), attributes=one_hot[labels],
        wrong_attributes=one_hot[others],
    )  # fmt: skip


@pytest.mark.slow
def test_shapes_are_as_large_as_asked() -> None:
    torch.manual_seed(0)
    model = make_model(
        Attr2Shape,
        make_network(
            ShapeGenerator, size=SIZE, attributes=2, generator_width=8, noise_dim=8, condition_dim=8
        ),
        {
            "global": make_network(global_discriminator, size=SIZE, channels=1, discriminator_width=8),
            "local": make_network(local_discriminator, size=SIZE, channels=1, discriminator_width=8),
        },
        make_network(
            conditional_discriminator,
            attributes=2,
            size=SIZE,
            channels=1,
            discriminator_width=8,
            condition_dim=8,
        ),
        generator_lr=1e-3,
        discriminator_lr=1e-3,
    )

    def shares() -> tuple[float, float]:
        """How much of the image is shape, where a small and where a large one is asked for."""
        noise = torch.randn(100, 16)
        model.generator.eval()  # a batch of one kind has other statistics than those that it learned in
        with torch.no_grad():
            small, large = (
                model.generator(attributes.expand(100, -1), noise[:, :8], noise[:, 8:]).shapes
                for attributes in torch.tensor([[0.0, 1.0], [1.0, 0.0]])
            )
        model.generator.train()
        return (small > 0).float().mean().item(), (large > 0).float().mean().item()

    train(model, lambda chance: batch_of(chance, shape_stage=True), 300)
    small, large = shares()
    assert small == pytest.approx(16 / 256, abs=0.1)
    assert large == pytest.approx(100 / 256, abs=0.15)
    assert large > 2 * small


@pytest.mark.slow
def test_images_have_the_colour_and_the_shape_that_were_given() -> None:
    torch.manual_seed(0)
    model = make_model(
        Shape2Image,
        make_network(ImageGenerator, size=SIZE, attributes=len(COLOURS), generator_width=8, condition_dim=8),
        {"global": make_network(global_discriminator, size=SIZE, channels=3, discriminator_width=8)},
        make_network(
            conditional_discriminator,
            attributes=len(COLOURS),
            size=SIZE,
            channels=3,
            discriminator_width=8,
            condition_dim=8,
        ),
        d_sees_shape=False,
        shape_noise=0.0,
        generator_lr=2e-3,
        discriminator_lr=5e-4,
    )
    chance = torch.Generator().manual_seed(1)
    labels = torch.arange(len(COLOURS)).repeat(16)
    shapes = squares(labels % 2 == 0, chance)

    def paint() -> tuple[float, float]:
        """Share of the right colours inside the shapes, and how well the painted squares cover the given ones."""
        with torch.no_grad():
            images = model.generator(
                shapes, torch.eye(len(COLOURS))[labels], torch.randn(len(labels), 8)
            ).images
        inside = shapes > 0
        mean = (images * inside).sum(dim=(2, 3)) / inside.sum(dim=(2, 3))  # (N, 3)
        right = (torch.cdist(mean, COLOURS).argmin(dim=1) == labels).float().mean().item()
        painted = (images - BACKGROUND).abs().amax(dim=1, keepdim=True) > 0.4
        overlap = (painted & inside).sum() / (painted | inside).sum()
        return right, overlap.item()

    assert paint()[0] < 0.6, "at the start the colours are chance"
    train(model, lambda chance: batch_of(chance, shape_stage=False), 250)
    right, overlap = paint()
    assert right > 0.9
    assert overlap > 0.8
