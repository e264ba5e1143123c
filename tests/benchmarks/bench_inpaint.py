"""Time that CSF-GAN at full size takes for one image of 256 pixels in `gancli inpaint`.

Run: python -m tests.benchmarks.bench_inpaint [--repeats N]

The weights are random, because the time does not depend on them. The public code took 0.35 s on two cores.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import torch
from torch.utils.flop_counter import FlopCounterMode

from gancli.data.hole_settings import HoleSettings
from gancli.data.holes import central_hole
from gancli.data.text import Vocabulary
from gancli.encoders.damsm import TextEncoder
from gancli.inference.csfgan import Inpainter
from gancli.models.csfgan import Generator
from gancli.ops.memory import keep_freed_memory
from tests.defaults import arguments_with_defaults

WARM_UP = 3  # calls until the process has all the memory that it needs
CAPTION = "a small red bird with blue wings and a white belly"


def bench_inpaint(repeats: int = 20) -> dict[str, float]:
    """Return best and median seconds of an image, and the GFLOP/s reached."""
    torch.manual_seed(0)
    vocabulary = Vocabulary.build(CAPTION.split())
    inpainter = Inpainter(
        Generator(**arguments_with_defaults(Generator, text_dim=256)),
        HoleSettings("center", 0.5),
        text_encoder=TextEncoder(len(vocabulary)),
        vocabulary=vocabulary,
        words=16,
        settings={},
        hash="",
        folder=Path(),
    )
    size = inpainter.size
    images = torch.rand(1, 3, size, size) * 2 - 1
    holes = torch.from_numpy(central_hole(size))[None, None].float()
    noises = {name: torch.randn(1, dim) for name, dim in inpainter.noise_dims.items()}
    with FlopCounterMode(display=False) as counter:
        inpainter.fill(images, holes, [CAPTION], noises)
    for _ in range(WARM_UP):
        inpainter.fill(images, holes, [CAPTION], noises)
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        inpainter.fill(images, holes, [CAPTION], noises)
        seconds.append(time.perf_counter() - start)
    best, middle = min(seconds), sorted(seconds)[len(seconds) // 2]
    flop = counter.get_total_flops() / 1e9
    return {"best seconds": best, "median seconds": middle, "GFLOP": flop, "GFLOP/s": flop / best}


def main(arguments: list[str] | None = None) -> None:
    """Print the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=20)
    options = parser.parse_args(arguments or [])
    keep_freed_memory()
    result = bench_inpaint(options.repeats)
    print(f"csfgan/cub, one image of 256 pixels, float32, {torch.get_num_threads()} threads")
    print("  " + ", ".join(f"{key} {value:.3g}" for key, value in result.items()))


if __name__ == "__main__":
    import sys

    main(sys.argv[1:])
