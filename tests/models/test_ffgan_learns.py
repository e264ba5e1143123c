"""FF-GAN is seen to learn in seconds: from one word it must paint the field in the colour the word names."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from gancli.data.loader import Batch
from gancli.losses.matching import padding_mask
from gancli.models.ffgan import FFGAN, Discriminator, Generator
from tests.defaults import make_model, make_network
from tests.models.toy import train

COLOURS = torch.tensor([[0.8, -0.8, -0.8], [-0.8, 0.8, -0.8], [-0.8, -0.8, 0.8], [0.8, 0.8, -0.8]])
STAGES = (8, 16)
BATCH = 16


class OneHotText(nn.Module):
    """Word n is unit vector n."""

    def forward(self, tokens, lengths):
        words = torch.eye(len(COLOURS))[tokens[:, :1] - 1].transpose(1, 2)  # (B, D, 1)
        return words, words[:, :, 0]


def batch_of(generator: torch.Generator) -> Batch:
    labels = torch.randint(len(COLOURS), (BATCH,), generator=generator)
    shade = 0.1 * torch.randn(BATCH, 1, 1, 1, generator=generator)
    images = tuple(
        (COLOURS[labels][:, :, None, None] + shade).clamp(-1, 1).expand(-1, -1, s, s) for s in STAGES
    )
    return Batch(
        images, labels[:, None] + 1, torch.ones(BATCH, dtype=torch.long), labels, torch.arange(BATCH)
    )


@pytest.mark.slow
def test_adversarial_training_alone_teaches_the_condition():
    torch.manual_seed(0)
    text = OneHotText()
    generator = make_network(
        Generator, stages=STAGES, text_dim=len(COLOURS), generator_width=8, noise_dim=8, condition_dim=8
    )
    discriminators = {
        s: make_network(Discriminator, size=s, discriminator_width=8, text_dim=len(COLOURS)) for s in STAGES
    }
    model = make_model(
        FFGAN,
        generator,
        discriminators,
        text,
        nn.Identity(),
        damsm=0,
        generator_lr=1e-3,
        discriminator_lr=1e-3,
    )

    def share_right() -> float:
        tokens = torch.arange(len(COLOURS)).repeat(25)[:, None] + 1
        words, sentence = text(tokens, torch.ones(len(tokens)))
        with torch.no_grad():
            mask = padding_mask(torch.ones(len(tokens)), 1)
            images = generator(sentence, words, mask, torch.randn(100, 8), torch.randn(100, 8)).images[-1]
        nearest = torch.cdist(images.mean(dim=(2, 3)), COLOURS).argmin(dim=1)
        return (nearest == tokens[:, 0] - 1).float().mean().item()

    assert share_right() < 0.6, "at the start the colours are chance"
    train(model, batch_of, 250)
    assert share_right() > 0.9
