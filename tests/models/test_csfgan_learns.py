"""CSF-GAN is seen to learn in seconds: it must paint the hole in the colour that the caption names."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from gancli.data.loader import Batch
from gancli.losses.matching import padding_mask
from gancli.models.csfgan import CSFGAN, Discriminator, Generator, WordLocalDiscriminator
from tests.defaults import make_model, make_network
from tests.models.toy import train

COLOURS = torch.tensor([[0.8, -0.8, -0.8], [-0.8, 0.8, -0.8], [-0.8, -0.8, 0.8]])
BATCH, SIZE, TEXT_DIM, NOISE = 16, 32, 32, 4


class OneWord(nn.Module):
    """Each colour is a word; a second word, the same in all captions, says nothing."""

    def __init__(self) -> None:
        super().__init__()
        # as far from each other as the features of a trained encoder are
        codes = torch.randn(8, TEXT_DIM, generator=torch.Generator().manual_seed(0))
        self.table = nn.Embedding.from_pretrained(codes)

    def forward(self, tokens: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        words = self.table(tokens).transpose(1, 2)
        return words, words[:, :, 0]


def hole(batch: int) -> Tensor:
    holes = torch.zeros(batch, 1, SIZE, SIZE)
    holes[:, :, 8:24, 8:24] = 1
    return holes


def batch_of(generator: torch.Generator, labels: Tensor | None = None) -> Batch:
    """A square of the named colour on a ground of any grey."""
    if labels is None:
        labels = torch.randint(len(COLOURS), (BATCH,), generator=generator)
    ground = torch.rand(len(labels), 1, 1, 1, generator=generator).sub(0.5).expand(-1, 3, SIZE, SIZE).clone()
    images = torch.where(hole(len(labels)) > 0, COLOURS[labels][:, :, None, None], ground)
    tokens = torch.stack([labels, torch.full_like(labels, 7)], dim=1)
    lengths = torch.full_like(labels, 2)
    return Batch((images,), tokens, lengths, labels, labels, holes=hole(len(labels)))


@torch.no_grad()
def share_right(generator: Generator) -> float:
    """Of holes filled in the colour asked for, in images whose own square had another."""
    labels = torch.arange(len(COLOURS)).repeat(10)
    shown = batch_of(torch.Generator().manual_seed(1), labels.roll(1))
    words, sentence = OneWord()(torch.stack([labels, torch.full_like(labels, 7)], dim=1), shown.lengths)
    noise = torch.randn(len(labels), 2 * NOISE).split(NOISE, dim=1)
    generator.eval()
    filled = generator(
        shown.images[0], hole(len(labels)), sentence, words, padding_mask(shown.lengths, 2), *noise
    )
    generator.train()
    colours = filled.raw[:, :, 8:24, 8:24].mean(dim=(2, 3))
    return (torch.cdist(colours, COLOURS).argmin(dim=1) == labels).float().mean().item()


@pytest.mark.slow
def test_it_fills_in_the_colour_that_the_text_names():
    torch.manual_seed(1)
    model = make_model(
        CSFGAN,
        make_network(
            Generator, size=SIZE, text_dim=TEXT_DIM, generator_width=8, noise_dim=NOISE, condition_dim=NOISE
        ),
        make_network(Discriminator, discriminator_width=4),
        make_network(WordLocalDiscriminator, text_dim=TEXT_DIM, discriminator_width=4),
        OneWord(),
        perceptual=0,
        damsm=0,
        generator_lr=2e-3,
        discriminator_lr=1e-3,
    )
    assert share_right(model.generator) < 0.5, "at the start the colours are chance"
    train(model, batch_of, 120)
    assert share_right(model.generator) > 0.8
