"""Scores against what they are usually computed with: FID's features, the Fréchet distance, R-precision.

Run: python -m tests.benchmarks.bench_scores [--images N] [--rounds N]

Both sides get the same folder of images, the same random weights and the same batch, and take turns; the best round
of each counts. Seconds are CPU time, of helping processes too, so other work on the machine does not count.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import numpy as np
import torch
from PIL import Image
from pytorch_fid import fid_score
from pytorch_fid import inception as reference
from scipy import linalg

from gancli.scores import features as features_module
from gancli.scores.features import load_features
from gancli.scores.fid import Statistics, frechet_distance, image_statistics
from gancli.scores.image_sets import open_images
from gancli.scores.retrieval import r_precision
from tests.scores.test_features import random_state

BATCH = 50
SIDE = 256
DIM = 2048


def write_images(folder: Path, count: int, seed: int) -> None:
    """PNG files with structure at all scales, as a generator's."""
    rng = np.random.default_rng(seed)
    folder.mkdir()
    for number in range(count):
        image = np.zeros((SIDE, SIDE, 3))
        for side in (4, 16, 64):
            layer = Image.fromarray(rng.integers(0, 256, (side, side, 3)).astype(np.uint8))
            image += np.asarray(layer.resize((SIDE, SIDE), Image.Resampling.BICUBIC)) / 3
        Image.fromarray(image.astype(np.uint8)).save(folder / f"{number:05d}.png")


def seconds(work: Callable[[], object]) -> float:
    """The CPU time that it takes, that of processes which it started and waited for included."""
    started = os.times()
    work()
    return sum(os.times()[:4]) - sum(started[:4])


def bench_features(images: int = 50, rounds: int = 2) -> dict[str, float]:
    """Images per CPU second of pytorch-fid's and of our statistics of a folder, from files on, and both FIDs."""
    state = random_state()
    with (
        tempfile.TemporaryDirectory() as name,
        mock.patch.object(reference, "load_state_dict_from_url", return_value=state),
        mock.patch.object(features_module, "load_weights", return_value=(state, "0" * 64)),
    ):
        theirs = reference.InceptionV3([reference.InceptionV3.BLOCK_INDEX_BY_DIM[DIM]])
        ours = load_features("inception")
        folders = [Path(name, which) for which in ("real", "fake")]
        found: dict[str, list[Statistics]] = {"theirs": [], "ours": []}
        took: dict[str, list[float]] = {"theirs": [], "ours": []}

        def their_statistics(folder: Path) -> None:
            mean, covariance = fid_score.compute_statistics_of_path(
                str(folder), theirs, BATCH, DIM, "cpu", num_workers=torch.get_num_threads()
            )
            found["theirs"].append(Statistics(mean, covariance, images))

        def our_statistics(folder: Path) -> None:
            found["ours"].append(image_statistics(open_images(str(folder)), ours, batch=BATCH))

        for seed, folder in enumerate(folders):
            write_images(folder, images, seed)
        for number in range(max(2, rounds)):
            for side, statistics in (("theirs", their_statistics), ("ours", our_statistics)):
                folder = folders[number % 2]
                took[side].append(seconds(lambda run=statistics, on=folder: run(on)))
    rates = {side: images / min(times) for side, times in took.items()}
    fids = {side: frechet_distance(*statistics[:2]) for side, statistics in found.items()}
    return {
        "pytorch-fid": rates["theirs"],
        "gancli": rates["ours"],
        "ratio": rates["ours"] / rates["theirs"],
        "FID differs by": abs(fids["ours"] / fids["theirs"] - 1),
    }


def bench_distance(images: int = 4096) -> dict[str, float]:
    """Seconds of the Fréchet distance of two sets of 2048 features of full rank, with scipy's root and with ours."""
    rng = np.random.default_rng(0)
    spread = rng.normal(size=(DIM, DIM)) / DIM**0.5 * np.geomspace(1, 0.01, DIM)
    sets = [rng.normal(size=(images, DIM)) @ spread + shift for shift in (0.0, 0.01)]
    first, second = (Statistics(x.mean(0), np.cov(x, rowvar=False), images) for x in sets)
    values = []

    def theirs() -> None:
        root = linalg.sqrtm(first.covariance @ second.covariance)
        shift = first.mean - second.mean
        traces = np.trace(first.covariance) + np.trace(second.covariance)
        values.append(float(shift @ shift + traces - 2 * np.trace(root).real))

    def ours() -> None:
        values.append(frechet_distance(first, second))

    took = {"scipy.linalg.sqrtm": seconds(theirs), "gancli": seconds(ours)}
    return {
        **took,
        "ratio": took["scipy.linalg.sqrtm"] / took["gancli"],
        "differs by": abs(values[1] / values[0] - 1),
    }


def bench_r_precision(count: int = 30_000, candidates: int = 100, dim: int = 256) -> dict[str, float]:
    """Seconds of R-precision from codes on, image by image on a part of them and ours on all; memory of ours."""
    generator = torch.Generator().manual_seed(0)
    images, captions = (torch.randn(count, dim, generator=generator) for _ in range(2))
    groups = np.arange(count) % 200
    part = max(1, count // 30)
    rng = np.random.default_rng(0)

    def one_by_one() -> None:
        for number in range(part):
            others = np.flatnonzero(groups != groups[number])
            rivals = rng.choice(others, candidates - 1, replace=False)
            each = torch.cat([captions[number : number + 1], captions[rivals]])
            torch.cosine_similarity(images[number : number + 1], each).argmax()

    def ours() -> None:
        r_precision(images, captions, groups, captions, groups, candidates=candidates)

    usual = seconds(one_by_one) / part * count
    took = seconds(ours)
    return {"one by one": usual, "gancli": took, "ratio": usual / took}


def main(arguments: list[str] | None = None) -> None:
    """Prints a line per score."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=50, help="images of each of two folders")
    parser.add_argument("--rounds", type=int, default=2, help="folders that each side looks at")
    options = parser.parse_args(arguments or [])
    print(f"scores, {torch.get_num_threads()} threads, float32, {SIDE} pixels, batch {BATCH}")
    for what, result in (
        ("FID features, images/s of CPU time", bench_features(options.images, options.rounds)),
        (f"Frechet distance of {DIM} features, CPU seconds", bench_distance()),
        ("R-precision, 30,000 images x 100 candidates, CPU seconds", bench_r_precision()),
    ):
        print(f"  {what}: " + ", ".join(f"{key} {value:.3g}" for key, value in result.items()), flush=True)


if __name__ == "__main__":
    import sys

    main(sys.argv[1:])
