"""What tests of several models share: small encoders, counts, gradients, and a training without the engine."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from gancli.data.loader import Batch
from gancli.engine.phases import Trainable, train_only
from gancli.ops.boxes import Box

TEXT_DIM = 12


class TextEncoder(nn.Module):
    """Words by a table of 20, their mean as the sentence."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(20, TEXT_DIM)

    def forward(self, tokens: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        words = self.embedding(tokens).transpose(1, 2)
        return words, words.mean(2)


class ImageEncoder(nn.Module):
    """Regions by one convolution, their mean as the code."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, TEXT_DIM, 4, stride=4)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        regions = self.conv(images)
        return regions, regions.mean((2, 3))


class PerceptualNetwork(nn.Module):
    """One map of features."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 5, 3, stride=2, padding=1)

    def surroundings(self, box: Box, whole: Box) -> Box:
        return box.grown(3, whole).rounded(2, whole)

    def compare(self, real: Tensor, fake: Tensor, box: Box) -> tuple[tuple[Tensor], tuple[Tensor]]:
        """(B, 3, H, W) twice -> (B, 5, H/2, W/2) twice."""
        return (self.conv(real),), (self.conv(fake),)


def parameters(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


def gradient_norms(network: nn.Module) -> dict[str, float]:
    return {name: 0.0 if p.grad is None else p.grad.norm().item() for name, p in network.named_parameters()}


def train(model: Trainable, batch_of: Callable[[torch.Generator], Batch], steps: int) -> None:
    """Steps as the engine takes them; batches are drawn from one random generator."""
    everything = [p for network in model.networks.values() for p in network.parameters()]
    chance = torch.Generator().manual_seed(0)
    for _ in range(steps):
        step = model.begin(batch_of(chance))
        for phase in model.phases:
            train_only([p for n in phase.networks.values() for p in n.parameters()], everything)
            phase.optimizer.zero_grad()
            terms = phase.loss(step)
            sum(term for name, term in terms.items() if name not in phase.watched).backward()
            phase.optimizer.step()
        train_only(everything, everything)
