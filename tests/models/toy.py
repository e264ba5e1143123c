"""Shared parts of the models' tests: small encoders, counts, gradients, a training without the engine."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from gancli.data.loader import Batch
from gancli.engine.phases import Trainable, train_only
from gancli.ops.boxes import Box

TEXT_DIM = 12


class TextEncoder(nn.Module):
    """An encoder of 20 words, with their mean as the sentence vector."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(20, TEXT_DIM)

    def forward(self, tokens: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        words = self.embedding(tokens).transpose(1, 2)
        return words, words.mean(2)


class ImageEncoder(nn.Module):
    """An encoder of regions by one convolution, with their mean as the image vector."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, TEXT_DIM, 4, stride=4)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        regions = self.conv(images)
        return regions, regions.mean((2, 3))


class PerceptualNetwork(nn.Module):
    """A network with one feature map."""

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
    """Take steps like the engine, with batches from one random generator."""
    everything = [p for network in model.networks.values() for p in network.parameters()]
    generator = torch.Generator().manual_seed(0)
    for _ in range(steps):
        step = model.begin(batch_of(generator))
        for phase in model.phases:
            train_only([p for n in phase.networks.values() for p in n.parameters()], everything)
            phase.optimizer.zero_grad()
            terms = phase.loss(step)
            sum(term for name, term in terms.items() if name not in phase.watched).backward()
            phase.optimizer.step()
        train_only(everything, everything)
