"""LPIPS and diversity: the package's numbers with the same weights, and what is refused."""

from __future__ import annotations

import dataclasses
import itertools
import warnings
from pathlib import Path

import lpips
import numpy as np
import pytest
import torch
import torchvision
from PIL import Image

from gancli.errors import DataError
from gancli.sampling.samples_folder import GeneratedImage, Sampling, write_samples, write_sampling
from gancli.scores.perceptual import load_lpips, score_diversity, score_lpips
from gancli.weights import WEIGHTS

SIDE = 48


@pytest.fixture(scope="module")
def alexnet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A weights file of torchvision's AlexNet with random weights."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / WEIGHTS["alexnet"].file
    torch.save(torchvision.models.alexnet(weights=None).state_dict(), path)
    return path


@pytest.fixture(autouse=True)
def any_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(WEIGHTS, "alexnet", dataclasses.replace(WEIGHTS["alexnet"], sha256=""))


@pytest.fixture(scope="module")
def published(alexnet: Path) -> lpips.LPIPS:
    """The package's own network, whose layers are AlexNet's one after the other."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        network = lpips.LPIPS(net="alex", pnet_rand=True, verbose=False)
    trunk = torchvision.models.alexnet(weights=None)
    trunk.load_state_dict(torch.load(alexnet, weights_only=True))
    network.net.slice1, network.net.slice2 = trunk.features[:2], trunk.features[2:5]
    network.net.slice3, network.net.slice4 = trunk.features[5:8], trunk.features[8:10]
    network.net.slice5 = trunk.features[10:12]
    return network.eval().requires_grad_(False)


def picture(seed: int, side: int = SIDE) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8)


def distance(network: lpips.LPIPS, first: np.ndarray, second: np.ndarray) -> float:
    return float(network(lpips.im2tensor(first), lpips.im2tensor(second)))


def test_distances_are_the_packages(alexnet: Path, published: lpips.LPIPS) -> None:
    ours = load_lpips(alexnet)
    first, second = np.stack([picture(0), picture(1)]), np.stack([picture(2), picture(1)])
    expected = [distance(published, *pair) for pair in zip(first, second, strict=True)]
    assert ours(first, second) == pytest.approx(expected, abs=1e-6)
    assert expected[0] > 0
    assert expected[1] == 0


def test_filled_images_beside_their_originals(alexnet: Path, published: lpips.LPIPS, tmp_path: Path) -> None:
    for folder, seeds in (("real", (0, 1)), ("filled", (2, 3))):
        (tmp_path / folder).mkdir()
        for number, seed in enumerate(seeds):
            Image.fromarray(picture(seed)).save(tmp_path / folder / f"{number}.png")
    (row,) = score_lpips(tmp_path / "filled", real=tmp_path / "real", weights=alexnet, progress=False)
    expected = [distance(published, picture(2), picture(0)), distance(published, picture(3), picture(1))]
    assert row.value == pytest.approx(np.mean(expected), abs=1e-6)
    assert (row.metric, row.network_kind, row.n_fake) == ("lpips", "lpips", 2)


@pytest.fixture
def samples(tmp_path: Path) -> Path:
    """Two captions with three images each, and a third with one."""
    records = []
    for caption, variants in (("a", 3), ("b", 3), ("c", 1)):
        for variant in range(variants):
            file = f"{caption}{variant}.png"
            Image.fromarray(picture(len(records))).save(tmp_path / file)
            records.append(GeneratedImage(file, caption, "", None, 0, variant, SIDE))
    sampling = Sampling(
        "model", "a" * 64, "b" * 64, "FF-GAN", None, None, None, 7, 3, 0, 18, (SIDE,), "c" * 64, (), "0"
    )
    write_sampling(tmp_path, sampling)
    write_samples(tmp_path, records)
    return tmp_path


def test_diversity_is_the_mean_over_pairs_of_one_caption(
    samples: Path, alexnet: Path, published: lpips.LPIPS
) -> None:
    row = score_diversity(samples, weights=alexnet, progress=False)
    groups = ([0, 1, 2], [3, 4, 5])
    means = [
        np.mean([distance(published, picture(a), picture(b)) for a, b in itertools.combinations(group, 2)])
        for group in groups
    ]
    assert row.value == pytest.approx(np.mean(means), abs=1e-6)
    assert row.std == pytest.approx(np.std(means), abs=1e-6)
    assert row.n_fake == 6


def test_single_images_have_no_diversity(samples: Path, alexnet: Path) -> None:
    write_samples(samples, [GeneratedImage("a0.png", "a", "", None, 0, 0, SIDE)])
    with pytest.raises(DataError, match="one image of each caption"):
        score_diversity(samples, weights=alexnet, progress=False)


def test_images_that_are_too_small(alexnet: Path, tmp_path: Path) -> None:
    for folder in ("real", "filled"):
        (tmp_path / folder).mkdir()
        Image.fromarray(picture(0, 24)).save(tmp_path / folder / "0.png")
    with pytest.raises(DataError, match="lpips needs 32"):
        score_lpips(tmp_path / "filled", real=tmp_path / "real", weights=alexnet, progress=False)
