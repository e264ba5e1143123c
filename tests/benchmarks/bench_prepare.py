"""Images per second of `gancli prepare` with one job, with two, and of two independent commands beside each other.

`python -m tests.benchmarks.bench_prepare` prints a table. The independent commands share nothing but the disk, each
makes half of the shards (`--shards 1/2`, `2/2`): what they reach is what the machine has for two jobs.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from gancli.data.manifest import Codec
from tests.benchmarks.bench_loader import write_images

DIFFERENT = 100  # images; each is there several times under other names


def write_folder(root: Path, images: int) -> None:
    """Images of 500 x 375 pixels with a caption each, as `prepare folder` takes them."""
    files = root / "files"
    files.mkdir(parents=True)
    samples = write_images(files, DIFFERENT)
    for number in range(images):
        sample = samples[number % DIFFERENT]
        os.link(sample.image, root / f"{number:06d}.jpg")
        (root / f"{number:06d}.txt").write_text(sample.captions[0])
    for sample in samples:
        sample.image.unlink()


def seconds(root: Path, out: Path, codec: Codec, *commands: tuple[str, ...]) -> float:
    """Wall time of `prepare` commands that run at the same time with these options."""
    common = [sys.executable, "-m", "gancli", "prepare", "folder", "--root", str(root), "--codec", codec]
    started = time.perf_counter()
    running = [
        subprocess.Popen(
            [*common, "--out", str(out), *options], stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL
        )
        for options in commands
    ]
    codes = [process.wait() for process in running]
    assert not any(codes)
    return time.perf_counter() - started


def bench_prepare(codec: Codec, images: int, rounds: int) -> dict[str, float]:
    """Measure the three ways in turns.

    Returns:
        Images per second (medians, start of processes included) with `one` job, with `two`, and of two
        `independent` commands; and the ratios of the latter to the first.
    """
    ways: dict[str, list[tuple[str, ...]]] = {
        "one": [("--jobs", "1")],
        "two": [("--jobs", "2")],
        "independent": [("--jobs", "1", "--shards", f"{half}/2") for half in (1, 2)],
    }
    rates: dict[str, list[float]] = {way: [] for way in ways}
    with tempfile.TemporaryDirectory() as name:
        root = Path(name) / "raw"
        write_folder(root, images)
        for _ in range(rounds):
            for way, commands in ways.items():
                with tempfile.TemporaryDirectory(dir=name) as out:
                    rates[way].append(images / seconds(root, Path(out), codec, *commands))
    result = {way: statistics.median(rate) for way, rate in rates.items()}
    result["two_ratio"] = result["two"] / result["one"]
    result["independent_ratio"] = result["independent"] / result["one"]
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("--images", type=int, default=6000, help="images to prepare")
    parser.add_argument("--rounds", type=int, default=3, help="times to measure each way")
    parser.add_argument("--json", action="store_true", help="print the figures as one JSON object")
    arguments = parser.parse_args()
    codecs: tuple[Codec, ...] = ("raw", "jpeg")
    results = {codec: bench_prepare(codec, arguments.images, arguments.rounds) for codec in codecs}
    if arguments.json:
        print(json.dumps(results))
        return
    print(f"images per second of prepare, {arguments.images} photographs, 256 pixels")
    for codec, result in results.items():
        print(f"  {codec:4}  one job                    {result['one']:5.0f}")
        print(
            f"  {codec:4}  two jobs                   {result['two']:5.0f}   {result['two_ratio']:.2f} times"
        )
        print(
            f"  {codec:4}  two independent commands   {result['independent']:5.0f}   "
            f"{result['independent_ratio']:.2f} times"
        )


if __name__ == "__main__":
    main()
