"""StackGAN is seen to learn in seconds: either stage must paint the field in the colour the sentence names."""

from __future__ import annotations

from functools import partial

import pytest
import torch

from gancli.data.loader import Batch
from gancli.models.stackgan import (
    StackGAN,
    StageOneGenerator,
    StageTwoGenerator,
    stage_one_discriminator,
    stage_two_discriminator,
)
from tests.defaults import make_model, make_network
from tests.models.toy import train

COLOURS = torch.tensor([[0.8, -0.8, -0.8], [-0.8, 0.8, -0.8], [-0.8, -0.8, 0.8], [0.8, 0.8, -0.8]])
SENTENCES = 10 * torch.eye(len(COLOURS))  # as long as trained embeddings are; the layers start at 0.02
BATCH = 16


def batch_of(generator: torch.Generator, size: int) -> Batch:
    labels = torch.randint(len(COLOURS), (BATCH,), generator=generator)
    others = (labels + torch.randint(1, len(COLOURS), (BATCH,), generator=generator)) % len(COLOURS)
    shade = 0.1 * torch.randn(BATCH, 1, 1, 1, generator=generator)
    images = (COLOURS[labels][:, :, None, None] + shade).clamp(-1, 1).expand(-1, -1, size, size)
    nothing = torch.zeros(BATCH, 0, dtype=torch.long)
    return Batch((images,), nothing, labels, labels, labels, SENTENCES[labels], (), SENTENCES[others])


def share_right(model: StackGAN) -> float:
    labels = torch.arange(len(COLOURS)).repeat(25)
    with torch.no_grad():
        images = model.generate(SENTENCES[labels]).images
    nearest = torch.cdist(images.mean(dim=(2, 3)), COLOURS).argmin(dim=1)
    return (nearest == labels).float().mean().item()


@pytest.mark.slow
def test_both_stages_learn_the_condition():
    torch.manual_seed(0)
    dims = {"text_dim": len(COLOURS), "condition_dim": 8}
    rates = {"generator_lr": 1e-3, "discriminator_lr": 1e-3, "kl": 0.1}
    first = make_model(
        StackGAN,
        make_network(StageOneGenerator, size=16, generator_width=8, noise_dim=8, **dims),
        make_network(
            stage_one_discriminator, size=16, discriminator_width=8, text_dim=len(COLOURS), condition_dim=8
        ),
        **rates,
    )
    assert share_right(first) < 0.6, "at the start the colours are chance"
    train(first, partial(batch_of, size=16), 250)
    assert share_right(first) > 0.9

    second = make_model(
        StackGAN,
        make_network(StageTwoGenerator, size=32, input_size=16, generator_width=8, residual_blocks=1, **dims),
        make_network(
            stage_two_discriminator, size=32, discriminator_width=8, text_dim=len(COLOURS), condition_dim=8
        ),
        stage_one=first.generator,
        **rates,
    )
    assert share_right(second) < 0.6
    train(second, partial(batch_of, size=32), 150)
    assert share_right(second) > 0.9
