"""One training step of every full-size recipe, in units that do not depend on the machine.

Normalised cost = seconds per step x the GFLOP/s that a 3x3 convolution 64 -> 128 at 128x128 (batch 8, float32,
forward) reaches in the same run. The public FF-GAN code at full CUB size (256 pixels, batch 4, float32, Inception-v3
in the matching loss, 2 cores) costs 1,975.

Run: python -m tests.benchmarks.bench_step [--compile] [--steps N]
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from gancli.build import build_ffgan
from gancli.config import FFGANRecipe, load_recipe
from gancli.data.loader import Batch
from gancli.data.text import Vocabulary
from gancli.encoders.damsm import Damsm, ImageEncoder, TextEncoder
from gancli.engine.phases import train_only
from gancli.models.ffgan import FFGAN

PUBLIC_COST = 1975
PUBLIC_CODE = "public FF-GAN code, float32"


def convolution_gflops(repeats: int = 10) -> float:
    """The yardstick: best of several forward passes, in GFLOP/s."""
    conv = nn.Conv2d(64, 128, 3, padding=1, bias=False)
    x = torch.randn(8, 64, 128, 128)
    seconds = []
    with torch.no_grad():
        for _ in range(repeats):
            start = time.perf_counter()
            conv(x)
            seconds.append(time.perf_counter() - start)
    return 2 * 8 * 128 * 128 * 9 * 64 * 128 / min(seconds) / 1e9


def build(recipe: FFGANRecipe) -> FFGAN:
    """The recipe's model with an Inception-v3 DAMSM of random weights: time does not depend on them."""
    torch.manual_seed(0)
    dim = recipe.model.text_dim
    encoder = Damsm(
        TextEncoder(5450, dim=dim).eval().requires_grad_(False),
        ImageEncoder("inception_v3", dim=dim).eval().requires_grad_(False),
        Vocabulary.build(["bird"]),
        {"text": {"dim": dim}},
        "",
        Path(),
    )
    model = build_ffgan(recipe, encoder, torch.device("cpu"))
    for network in (*model.networks.values(), encoder.image):
        network.to(memory_format=torch.channels_last)
    return model


def random_batch(recipe: FFGANRecipe, batch: int) -> Batch:
    """Pictures and captions as the loader gives them."""
    lengths = torch.randint(8, recipe.loader.words + 1, (batch,))
    return Batch(
        images=tuple(
            torch.rand(batch, 3, size, size).mul(2).sub(1).contiguous(memory_format=torch.channels_last)
            for size in recipe.model.stages
        ),
        tokens=torch.randint(1, 5450, (batch, recipe.loader.words)),
        lengths=lengths,
        class_ids=torch.arange(batch),
        indices=torch.arange(batch),
    )


def step(model: FFGAN, batch: Batch, *, bf16: bool) -> dict[str, float]:
    """One step as the engine runs it; the loss terms by phase and name."""
    everything = [p for network in model.networks.values() for p in network.parameters()]
    train_only(everything, everything)
    with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        shared = model.begin(batch)
    values = {}
    for phase in model.phases:
        train_only([p for network in phase.networks.values() for p in network.parameters()], everything)
        phase.optimizer.zero_grad(set_to_none=True)
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            terms = phase.loss(shared)
        sum(terms.values()).backward()
        phase.optimizer.step()
        values |= {f"{phase.name}.{name}": term.item() for name, term in terms.items()}
    return values


def bench_step(
    *, name: str = "ffgan/cub", batch: int = 4, steps: int = 3, compiled: bool = False, bf16: bool = False
) -> dict[str, float]:
    """Seconds, images/s, FLOP and normalised cost of a recipe's step; the best of `steps` after one to warm up."""
    recipe = load_recipe(name)
    assert isinstance(recipe, FFGANRecipe)
    model, data = build(recipe), random_batch(recipe, batch)
    with FlopCounterMode(display=False) as counter:
        step(model, data, bf16=bf16)
    if compiled:
        for network in model.networks.values():
            network.compile()
        step(model, data, bf16=bf16)
    gflops = convolution_gflops()
    seconds = []
    for _ in range(steps):
        start = time.perf_counter()
        step(model, data, bf16=bf16)
        seconds.append(time.perf_counter() - start)
    best = min(seconds)
    return {
        "seconds": best,
        "images/s": batch / best,
        "GFLOP": counter.get_total_flops() / 1e9,
        "yardstick GFLOP/s": gflops,
        "cost": best * gflops,
        "of the public code": best * gflops / PUBLIC_COST,
    }


def main(arguments: list[str] | None = None) -> None:
    """Prints one line per precision."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--steps", type=int, default=3)
    options = parser.parse_args(arguments or [])
    print(
        f"ffgan/cub, 256 pixels, batch 4, {torch.get_num_threads()} threads; {PUBLIC_CODE} costs {PUBLIC_COST}"
    )
    for bf16 in (False, True):
        result = bench_step(steps=options.steps, compiled=options.compile, bf16=bf16)
        label = ("bf16" if bf16 else "float32") + (" compiled" if options.compile else "")
        print(f"  {label}: " + ", ".join(f"{key} {value:.4g}" for key, value in result.items()))


if __name__ == "__main__":
    import sys

    main(sys.argv[1:])
