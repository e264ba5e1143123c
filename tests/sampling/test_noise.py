"""Noise: one image's numbers follow from what identifies it, and from nothing else."""

import hashlib
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gancli.sampling.noise import image_noise
from gancli.sampling.requests import Request
from gancli.sampling.samples_folder import Vary

FROZEN = [-0.3710001, -0.6052439, 0.2081234]  # of seed 0, "a small red bird"
DIMS = {"noise": 7, "condition_noise": 3, "second_condition_noise": 2}


def rule(seed, caption, key, variant, total):
    """The rule of every folder sampled so far, written down once more: it must never change."""
    digest = hashlib.sha256(f"{seed}\0{caption}\0{key}\0{variant}".encode()).digest()
    number = int.from_bytes(digest[:16], "big")
    return np.random.Generator(np.random.PCG64(number)).standard_normal(total, dtype=np.float32)


@settings(max_examples=30)
@given(
    st.integers(0, 2**40),
    st.lists(st.tuples(st.text(), st.text(), st.integers(0, 10**6)), min_size=1, max_size=4),
)
def test_noise_follows_the_rule(seed, identities):
    requests = [Request(caption, key, None, variant) for caption, key, variant in identities]
    noises = image_noise(requests, {"noise": 5, "condition_noise": 4}, seed)
    together = torch.cat(list(noises.values()), dim=1).numpy()
    for row, (caption, key, variant) in zip(together, identities, strict=True):
        np.testing.assert_array_equal(row, rule(seed, caption, key, variant, 9))


def test_frozen_numbers():
    noises = image_noise([Request("a small red bird", "", None, 0)], {"noise": 2, "condition_noise": 1}, 0)
    assert list(noises) == ["noise", "condition_noise"]
    numbers = torch.cat(list(noises.values()), dim=1)
    np.testing.assert_allclose(numbers.numpy()[0], FROZEN, rtol=1e-6)


def test_one_more_noise_leaves_those_before_it_alone():
    requests = [Request("a bird", variant=variant) for variant in range(3)]
    short = image_noise(requests, {"noise": 7, "condition_noise": 3}, 5)
    long = image_noise(requests, DIMS, 5)
    for name, numbers in short.items():
        assert torch.equal(numbers, long[name])


def test_noise_is_standard_normal_and_tells_requests_apart():
    requests = [Request(f"caption {i}") for i in range(2000)]
    noises = image_noise(requests, {"noise": 7, "condition_noise": 3}, 0)
    assert (noises["noise"].shape, noises["condition_noise"].shape) == ((2000, 7), (2000, 3))
    both = torch.cat(list(noises.values()), dim=1)
    assert abs(both.mean()) < 0.03
    assert abs(both.std() - 1) < 0.03
    assert len(torch.unique(both)) > 19_900
    correlation = torch.corrcoef(both.T) - torch.eye(10)
    assert correlation.abs().max() < 0.1


@pytest.mark.parametrize(
    ("vary", "fixed"),
    [
        (Vary.ALL, set()),
        (Vary.CONDITION, {"noise"}),
        (Vary.NOISE, {"condition_noise", "second_condition_noise"}),
    ],
)
def test_what_does_not_vary_is_the_held_variants(vary, fixed):
    first = Request("a bird", "key", 0, variant=2, held=2)
    requests = [first, replace(first, variant=5), replace(first, variant=8)]
    noises = image_noise(requests, DIMS, 1, vary)
    alone = image_noise([first], DIMS, 1)
    for name, numbers in noises.items():
        assert torch.equal(numbers[:1], alone[name])
        assert len(torch.unique(numbers, dim=0)) == (1 if name in fixed else 3)
