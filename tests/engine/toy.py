"""Conditional GAN of a few hundred parameters with all that makes resuming hard.

It has spectral norm, batch norm, dropout, noise drawn in the step, two optimizers and an average. As a script, it
trains until it is killed.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.parametrizations import spectral_norm

from gancli.engine.checkpoint import RunFolder
from gancli.engine.events import Event, Events
from gancli.engine.loop import Loop, LoopSettings
from gancli.engine.phases import Phase


@dataclass
class ToyBatch:
    images: Tensor  # (B, 3, 8, 8)

    def to(self, device: torch.device) -> ToyBatch:
        return ToyBatch(self.images.to(device))


def toy_batch(step: int, rank: int = 0) -> ToyBatch:
    generator = torch.Generator().manual_seed(1000 * rank + step)
    return ToyBatch(torch.rand(4, 3, 8, 8, generator=generator) * 2 - 1)


def toy_batches(start: int, stop: int | None = None) -> Iterator[ToyBatch]:
    step = start
    while stop is None or step < stop:
        yield toy_batch(step)
        step += 1


class Toy:
    averaged = ("generator",)

    def __init__(self, seed: int = 0) -> None:
        torch.manual_seed(seed)
        self.generator = nn.Sequential(
            nn.Linear(5, 4 * 16),
            nn.Unflatten(1, (4, 4, 4)),
            nn.BatchNorm2d(4),
            nn.Upsample(scale_factor=2),
            nn.Dropout(0.2),
            nn.Conv2d(4, 3, 3, padding=1),
            nn.Tanh(),
        )
        self.discriminator = nn.Sequential(
            spectral_norm(nn.Conv2d(3, 4, 4, 2, 1)),
            nn.LeakyReLU(0.2),
            nn.Dropout(0.2),
            nn.Flatten(),
            nn.Linear(64, 1),
        )
        self.networks: dict[str, nn.Module] = {
            "generator": self.generator,
            "discriminator": self.discriminator,
        }
        self.phases = [
            Phase(
                "discriminator",
                {"discriminator": self.discriminator},
                torch.optim.Adam(self.discriminator.parameters(), lr=1e-3, betas=(0.5, 0.999)),
                self.discriminator_terms,
            ),
            Phase(
                "generator",
                {"generator": self.generator},
                torch.optim.Adam(self.generator.parameters(), lr=1e-3, betas=(0.5, 0.999)),
                self.generator_terms,
            ),
        ]

    def begin(self, batch: ToyBatch) -> tuple[Tensor, Tensor]:
        noise = torch.randn(len(batch.images), 5, device=batch.images.device)
        return batch.images, self.generator(noise)

    def discriminator_terms(self, shared: tuple[Tensor, Tensor]) -> dict[str, Tensor]:
        real, fake = shared
        return {
            "real": functional.softplus(-self.discriminator(real)).mean(),
            "fake": functional.softplus(self.discriminator(fake.detach())).mean(),
        }

    def generator_terms(self, shared: tuple[Tensor, Tensor]) -> dict[str, Tensor]:
        return {"adversarial": functional.softplus(-self.discriminator(shared[1])).mean()}


def settings(**changes: Any) -> LoopSettings:
    values: dict[str, Any] = {"steps": 20, "log_every": 4, "sample_every": 1000, "checkpoint_every": 10}
    values |= {"ema_decay": 0.9, "steps_per_epoch": 5, "batch": 4}
    return LoopSettings(**(values | changes))


def toy_loop(run: RunFolder, toy: Toy | None = None, **options: Any) -> Loop:
    """Return a loop on the CPU with options of LoopSettings and of Loop."""
    loop_options = ("sample", "evaluate", "evaluate_every", "best", "export", "on_epoch", "events", "batches")
    chosen = {name: options.pop(name) for name in loop_options if name in options}
    batches = chosen.pop("batches", toy_batches)
    return Loop(toy or Toy(), batches, run, settings(**options), torch.device("cpu"), **chosen)


def kill_at(step: int) -> Any:
    """Return batches that SIGKILL this process instead of yielding batch `step`."""

    def batches(start: int) -> Iterator[ToyBatch]:
        yield from toy_batches(start, step)
        os.kill(os.getpid(), signal.SIGKILL)

    return batches


if __name__ == "__main__":
    torch.set_num_threads(1)

    def show(event: Event) -> None:
        print(event.kind, event.text, flush=True)

    folder, what = Path(sys.argv[1]), sys.argv[2]
    if what == "kill":
        toy_loop(RunFolder(folder), batches=kill_at(int(sys.argv[3])), events=Events(show)).run()
    elif what == "straight":
        toy_loop(RunFolder(folder), events=Events(show)).run()
    else:  # endless, for signals
        result = toy_loop(RunFolder(folder), steps=None, log_every=1, events=Events(show)).run()
        sys.exit(result.exit_code)
