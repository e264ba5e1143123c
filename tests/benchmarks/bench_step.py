"""One training step of every full-size recipe, in units that do not depend on the machine.

Normalised cost = seconds per step x the GFLOP/s that a 3x3 convolution 64 -> 128 at 128x128 (batch 8, float32,
forward) reaches right before and after the step. The process keeps its memory, as gancli's commands do: where each
convolution gets its output from the operating system anew, half of the yardstick's time is the kernel's.
Public code at full size on a CPU of 2 cores, float32: FF-GAN (256 pixels, batch 4, Inception-v3 in the matching loss)
costs 1,975, DF-GAN (batch 8) 3,934, CSF-GAN (batch 4, no adversarial gradient to its generator) 2,105.

Run: python -m tests.benchmarks.bench_step [RECIPE …] [--compile] [--steps N]
"""

from __future__ import annotations

import argparse
import itertools
import multiprocessing
import resource
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from gancli.config import load_recipe
from gancli.config.arguments import construct
from gancli.config.attr2image import Attr2ImageRecipe
from gancli.config.csfgan import CSFGANRecipe
from gancli.config.ffgan import FFGANRecipe
from gancli.config.fusion_s2igan import FusionS2iGanRecipe
from gancli.config.stackgan import StackGANRecipe
from gancli.data.holes import central_hole
from gancli.data.loader import Batch
from gancli.data.text import Vocabulary
from gancli.encoders.backbones import fold_batch_norms
from gancli.encoders.damsm import Damsm, ImageEncoder, TextEncoder
from gancli.encoders.vgg16 import Vgg16
from gancli.engine.compiling import compile_networks, compiled_networks_run
from gancli.engine.phases import Trainable, train_only
from gancli.ops.memory import keep_freed_memory
from gancli.training import attr2image, csfgan, ffgan, fusion_s2igan, stackgan

CPU = torch.device("cpu")
WORDS = 5450  # entries of the full CUB vocabulary
WARM_UP = 4  # steps until the process has all the memory that it needs


@dataclass(frozen=True)
class Case:
    """A recipe to be timed.

    Attributes:
        batch: Images.
        public: Cost of the public code; None where there is none that was measured.
    """

    batch: int
    public: float | None = None


CASES = {
    "ffgan/cub": Case(4, 1975),
    "stackgan/cub-stage2": Case(4),
    "attr2image/cub-shape": Case(64),
    "attr2image/cub-image": Case(4),
    "fusion-s2igan/cub": Case(8),
    "dfgan/cub": Case(8, 3934),
    "csfgan/cub": Case(4, 2105),
}


def convolution_gflops(repeats: int = 10) -> float:
    """The yardstick: median of several forward passes, in GFLOP/s."""
    conv = nn.Conv2d(64, 128, 3, padding=1, bias=False)
    x = torch.randn(8, 64, 128, 128)
    seconds = []
    with torch.no_grad():
        for _ in range(repeats):
            start = time.perf_counter()
            conv(x)
            seconds.append(time.perf_counter() - start)
    return 2 * 8 * 128 * 128 * 9 * 64 * 128 / statistics.median(seconds) / 1e9


def damsm(dim: int = 256) -> Damsm:
    """A DAMSM on Inception-v3, of random weights: time does not depend on them."""
    encoder = Damsm(
        TextEncoder(WORDS, dim=dim).eval().requires_grad_(False),
        ImageEncoder("inception_v3", dim=dim).eval().requires_grad_(False),
        Vocabulary.build(["bird"]),
        {"text": {"dim": dim}},
        "",
        Path(),
    )
    fold_batch_norms(encoder.image.backbone)
    encoder.image.to(memory_format=torch.channels_last)
    return encoder


def build_model(name: str) -> tuple[Trainable, tuple[int, ...]]:
    """A shipped recipe's model with whatever judges it, of random weights, and the sides of the images it takes."""
    torch.manual_seed(0)
    recipe = load_recipe(name)
    size: int = getattr(recipe.model, "size", 0)
    if isinstance(recipe, FFGANRecipe):
        return ffgan.build_ffgan(recipe, damsm(recipe.model.text_dim), CPU), recipe.model.stages
    if isinstance(recipe, StackGANRecipe):
        arguments = stackgan.generator_arguments(recipe, 1024, size // 4)
        stage_one = load_recipe(name.replace("stage2", "stage1"))
        assert isinstance(stage_one, StackGANRecipe)
        first = construct(stackgan.StageOneGenerator, stage_one.model, text_dim=1024)
        return stackgan.build_stackgan(recipe, arguments, first.eval().requires_grad_(False), CPU), (size,)
    if isinstance(recipe, Attr2ImageRecipe):
        arguments = attr2image.generator_arguments(recipe, attr2image.CUB_ATTRIBUTES[recipe.stage])
        return attr2image.build_attr2image(recipe, arguments, CPU), (size,)
    if isinstance(recipe, FusionS2iGanRecipe):
        arguments = fusion_s2igan.generator_arguments(recipe, fusion_s2igan.CONDITION_DIMS[recipe.condition])
        judge = None
        if recipe.loss.damsm > 0:
            regions = (
                ImageEncoder("inception_v3", dim=arguments["condition_dim"]).eval().requires_grad_(False)
            )
            fold_batch_norms(regions.backbone)
            regions.to(memory_format=torch.channels_last)
            judge = lambda images: regions(images)[1]  # noqa: E731
        return fusion_s2igan.build_fusion_s2igan(recipe, arguments, judge, CPU), (size,)
    assert isinstance(recipe, CSFGANRecipe)
    arguments = csfgan.generator_arguments(recipe, 256)
    perceptual = Vgg16(normalise=True).eval().requires_grad_(False).to(memory_format=torch.channels_last)
    return csfgan.build_csfgan(recipe, arguments, damsm(), perceptual, CPU), (size,)


def random_batch(name: str, sizes: tuple[int, ...], batch: int) -> Batch:
    """Everything that a batch of any model may hold."""
    recipe = load_recipe(name)

    def images() -> tuple[torch.Tensor, ...]:
        return tuple(
            torch.rand(batch, 3, side, side).mul(2).sub(1).contiguous(memory_format=torch.channels_last)
            for side in sizes
        )

    words = getattr(recipe.loader, "words", 18)
    sentences, attributes = 1024, 1
    if isinstance(recipe, FusionS2iGanRecipe):
        sentences = fusion_s2igan.CONDITION_DIMS[recipe.condition]
    if isinstance(recipe, Attr2ImageRecipe):
        attributes = attr2image.CUB_ATTRIBUTES[recipe.stage]
    hole = torch.from_numpy(central_hole(sizes[-1])).float()
    return Batch(
        images=images(),
        tokens=torch.randint(1, WORDS, (batch, words)),
        lengths=torch.randint(8, words + 1, (batch,)),
        class_ids=torch.arange(batch),
        indices=torch.arange(batch),
        sentences=torch.randn(batch, sentences),
        wrong_images=images(),
        holes=hole.expand(batch, 1, *hole.shape).contiguous(),
        silhouettes=(torch.where(torch.rand(batch, 1, sizes[-1], sizes[-1]) < 0.3, 1.0, -1.0),),
        attributes=(torch.rand(batch, attributes) < 0.1).float(),
        wrong_attributes=(torch.rand(batch, attributes) < 0.1).float(),
    )


def step(model: Trainable, batch: Batch, *, bf16: bool) -> dict[str, float]:
    """One step as the engine runs it; the loss terms by phase and name."""
    everything = [p for network in model.networks.values() for p in network.parameters()]
    train_only(everything, everything)
    with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        shared = model.begin(batch)
    values = {}
    for phase in model.phases:
        trained = [p for network in phase.networks.values() for p in network.parameters()]
        train_only(trained, everything)
        phase.optimizer.zero_grad(set_to_none=True)
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            terms = phase.loss(shared)
        torch.stack(
            [term.float() for name, term in terms.items() if name not in phase.watched]
        ).sum().backward(inputs=trained)
        phase.optimizer.step()
        values |= {f"{phase.name}.{name}": term.item() for name, term in terms.items()}
    return values


def bench_step(
    name: str = "ffgan/cub",
    *,
    batch: int | None = None,
    steps: int = 5,
    compiled: bool = False,
    bf16: bool = False,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, float]:
    """Seconds, images/s, FLOP, memory and normalised cost of a recipe's step, after some to warm up.

    Seconds are the best of `steps`, the cost is the median of theirs.

    torch cannot count the FLOP of a gradient penalty: those of Fusion-S2iGan and DF-GAN are left out.
    """
    case = CASES[name]
    batch = batch or case.batch
    model, sizes = build_model(name)
    for network in model.networks.values():
        network.to(memory_format=torch.channels_last)
        network.train()
    data = random_batch(name, sizes, batch)
    counter = FlopCounterMode(display=False)
    countable = not isinstance(load_recipe(name), FusionS2iGanRecipe)
    with counter if countable else nullcontext():
        step(model, data, bf16=bf16)
    if compiled:
        compile_networks(model)
    for _ in range(WARM_UP):
        step(model, data, bf16=bf16)
    convolution_gflops()
    seconds, yardsticks = [], [convolution_gflops()]
    for _ in range(steps):
        start = clock()
        step(model, data, bf16=bf16)
        seconds.append(clock() - start)
        yardsticks.append(convolution_gflops())
    # A neighbour of a shared machine slows the step and the two yardsticks beside it alike.
    around = [statistics.fmean(pair) for pair in itertools.pairwise(yardsticks)]
    cost = statistics.median(a * b for a, b in zip(seconds, around, strict=True))
    result = {"seconds": min(seconds), "images/s": batch / min(seconds)}
    if countable:
        flop = counter.get_total_flops() / 1e9
        result |= {"GFLOP": flop, "share of the yardstick": flop / cost}
    result |= {
        "peak memory MB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "yardstick GFLOP/s": statistics.median(yardsticks),
        "cost": cost,
    }
    if case.public is not None:
        result["of the public code"] = cost / case.public
    return result


def _alone(name: str, steps: int, compiled: bool, bf16: bool) -> dict[str, float]:
    """In a process of its own, whose peak memory is this case's."""
    keep_freed_memory()
    with compiled_networks_run():
        return bench_step(name, steps=steps, compiled=compiled, bf16=bf16)


def main(arguments: list[str] | None = None) -> None:
    """Prints a line for each recipe and precision."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("recipes", nargs="*", metavar="RECIPE", help=f"of {', '.join(CASES)}; default: all")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--steps", type=int, default=5)
    options = parser.parse_args(arguments or [])
    if unknown := set(options.recipes) - CASES.keys():
        parser.error(f"{', '.join(sorted(unknown))}: not among {', '.join(CASES)}")
    for name in options.recipes or CASES:
        public = CASES[name].public
        print(
            f"{name}, batch {CASES[name].batch}, {torch.get_num_threads()} threads"
            + (f"; the public code, float32, costs {public:,.0f}" if public else "")
        )
        for bf16 in (False, True):
            with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as process:
                result = process.submit(_alone, name, options.steps, options.compile, bf16).result()
            label = ("bf16" if bf16 else "float32") + (" compiled" if options.compile else "")
            print(
                f"  {label}: " + ", ".join(f"{key} {value:.4g}" for key, value in result.items()), flush=True
            )


if __name__ == "__main__":
    import sys

    main(sys.argv[1:])
