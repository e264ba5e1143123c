"""Images per second and core of the loader, from raw and JPEG shards, against the usual Pillow pipeline.

`python tests/benchmarks/bench_loader.py` prints a table. The usual pipeline is that of datasets.py in AttnGAN and its
successors: decode the JPEG, crop to the box, resize to 304, random crop of 256, flip, resize to 128 and 64, convert to
tensors, normalise, stack. Both get the same images of CUB's usual size and make the same batches of three resolutions.
CPU time is measured on one thread.
"""

from __future__ import annotations

import argparse
import json
import random
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torchvision import transforms
from torchvision.transforms import functional

from gancli.data.images import crop_to_box
from gancli.data.loader import BatchSource
from gancli.data.preparation.options import PrepareOptions
from gancli.data.preparation.prepare import prepare
from gancli.data.shards import Dataset
from gancli.data.source import BoundingBox, Sample, Source

SIZES = (64, 128, 256)
BATCH = 10  # batch size of DM-GAN on CUB


def write_images(folder: Path, images: int) -> list[Sample]:
    """Write JPEGs of 500 x 375 pixels with structure at all scales, and return them with boxes of the usual size."""
    rng = np.random.default_rng(0)
    samples = []
    for number in range(images):
        image = np.zeros((375, 500, 3))
        for side in (4, 16, 64):
            layer = Image.fromarray(rng.integers(0, 256, (side, side, 3)).astype(np.uint8))
            image += np.asarray(layer.resize((500, 375), Image.Resampling.BICUBIC)) / 3
        path = folder / f"{number:05d}.jpg"
        Image.fromarray(image.astype(np.uint8)).save(path, quality=90)
        box = BoundingBox(100, 80, 240, 200)
        samples.append(
            Sample(path.stem, "train", path, ("a bird with a long bill and a red belly",), box=box)
        )
    return samples


class PillowPipeline:
    """Batches made image by image, like those of the public code of the AttnGAN family."""

    def __init__(self, samples: list[Sample]) -> None:
        self.samples = samples
        self.view = transforms.Compose(
            [transforms.Resize(304), transforms.RandomCrop(256), transforms.RandomHorizontalFlip()]
        )

    def one(self, sample: Sample) -> list[torch.Tensor]:
        with Image.open(sample.image) as file:
            image = file.convert("RGB")
        assert sample.box is not None
        image = self.view(crop_to_box(image, sample.box))
        sizes = [image if size == 256 else functional.resize(image, [size]) for size in SIZES]
        return [functional.normalize(functional.to_tensor(sized), [0.5] * 3, [0.5] * 3) for sized in sizes]

    def batch(self) -> list[torch.Tensor]:
        rows = [self.one(sample) for sample in random.choices(self.samples, k=BATCH)]
        return [torch.stack(level) for level in zip(*rows, strict=True)]


def rate(make: Callable[[int], object], steps: int) -> float:
    """Return images per second of CPU time, after one batch that opens files and warms caches."""
    make(0)
    started = time.process_time()
    for step in range(1, steps + 1):
        make(step)
    return steps * BATCH / (time.process_time() - started)


def bench_loader(images: int = 60, steps: int = 20) -> dict[str, float]:
    """Measure raw shards, JPEG shards and the Pillow pipeline.

    Args:
        images: Number of images to make and draw from.
        steps: Batches of 10 to time for each.

    Returns:
        Images per second and core of `raw`, `jpeg` and `pillow`, and the ratios to `pillow`.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    random.seed(0)
    try:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            samples = write_images(folder, images)
            result = {}
            for codec in ("raw", "jpeg"):
                images_source = Source("bench", iter(samples), release="drawn", split_rule="folders")
                prepare(images_source, folder / codec, PrepareOptions(codec=codec))  # type: ignore[arg-type]
                split = Dataset.open(folder / codec).split("train")
                source = BatchSource(split, sizes=SIZES, batch=BATCH, words=18, seed=0)
                result[codec] = rate(source.__getitem__, steps)
            pipeline = PillowPipeline(samples)
            result["pillow"] = rate(lambda _: pipeline.batch(), steps)
    finally:
        torch.set_num_threads(threads)
    result["raw_ratio"] = result["raw"] / result["pillow"]
    result["jpeg_ratio"] = result["jpeg"] / result["pillow"]
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("--images", type=int, default=60, help="images to make and draw from")
    parser.add_argument("--steps", type=int, default=20, help="batches of 10 to time for each way")
    parser.add_argument("--json", action="store_true", help="print the figures as one JSON object")
    arguments = parser.parse_args()
    result = bench_loader(arguments.images, arguments.steps)
    if arguments.json:
        print(json.dumps(result))
        return
    print("images per second and core, 256 pixels, pyramid 64/128/256, batch 10")
    print(f"  Pillow pipeline from JPEG files  {result['pillow']:7.0f}")
    print(f"  gancli, raw shards               {result['raw']:7.0f}   {result['raw_ratio']:.1f} times")
    print(f"  gancli, JPEG shards              {result['jpeg']:7.0f}   {result['jpeg_ratio']:.1f} times")


if __name__ == "__main__":
    main()
