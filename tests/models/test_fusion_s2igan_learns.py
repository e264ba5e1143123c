"""Fusion-S2iGan is seen to learn in seconds: it must paint the field in the colour that the condition names."""

from __future__ import annotations

import pytest
import torch

from gancli.data.loader import Batch
from gancli.models.fusion_s2igan import Discriminator, FusionS2iGan, Generator
from tests.defaults import make_model, make_network
from tests.models.toy import train

COLOURS = torch.tensor([[0.8, -0.8, -0.8], [-0.8, 0.8, -0.8], [-0.8, -0.8, 0.8], [0.8, 0.8, -0.8]])
CONDITIONS = torch.eye(len(COLOURS))  # unit vectors, as those of speech
BATCH, SIZE, NOISE = 16, 16, 8


def batch_of(generator: torch.Generator) -> Batch:
    labels = torch.randint(len(COLOURS), (BATCH,), generator=generator)
    others = (labels + torch.randint(1, len(COLOURS), (BATCH,), generator=generator)) % len(COLOURS)
    shade = 0.1 * torch.randn(BATCH, 1, 1, 1, generator=generator)
    images = (COLOURS[labels][:, :, None, None] + shade).clamp(-1, 1).expand(-1, -1, SIZE, SIZE)
    nothing = torch.zeros(BATCH, 0, dtype=torch.long)
    return Batch((images,), nothing, labels, labels, labels, CONDITIONS[labels], (), CONDITIONS[others])


def share_right(generator: Generator) -> float:
    labels = torch.arange(len(COLOURS)).repeat(25)
    generator.eval()
    with torch.no_grad():
        images = generator(torch.randn(len(labels), NOISE), CONDITIONS[labels])
    generator.train()
    nearest = torch.cdist(images.mean(dim=(2, 3)), COLOURS).argmin(dim=1)
    return (nearest == labels).float().mean().item()


@pytest.mark.slow
@pytest.mark.parametrize("block", ["vsfm", "dfgan"])
def test_it_learns_the_condition(block):
    torch.manual_seed(0)
    dims = {"size": SIZE, "condition_dim": len(COLOURS)}
    model = make_model(
        FusionS2iGan,
        # the scale brings the numbers of a unit vector to about 1
        make_network(
            Generator,
            **dims,
            generator_width=8,
            noise_dim=NOISE,
            modulation_hidden=16,
            block=block,
            condition_scale=2.0,
        ),
        make_network(Discriminator, **dims, discriminator_width=8, discriminator_max_multiple=4),
        damsm=0,
        generator_lr=2e-3,
        discriminator_lr=1e-3,
        betas=(0.5, 0.999),
    )
    assert share_right(model.generator) < 0.6, "at the start the colours are chance"
    train(model, batch_of, 120)
    assert share_right(model.generator) > 0.9
