"""Averaged weights."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.utils.parametrizations import spectral_norm

from gancli.engine.ema import Averages


def test_the_average_starts_from_the_initial_weights_and_buffers_are_copied() -> None:
    live = nn.BatchNorm1d(2)
    averages = Averages({"net": live}, decay=0.9)
    with torch.no_grad():
        live.weight.fill_(3.0)  # from 1
        live.running_mean.fill_(5.0)  # type: ignore[union-attr]  # from 0
    averages.update({"net"})
    averaged = averages.networks["net"]
    torch.testing.assert_close(averaged.weight, torch.full((2,), 0.9 * 1 + 0.1 * 3))
    torch.testing.assert_close(averaged.running_mean, torch.full((2,), 5.0))


def test_a_warm_up_forgets_the_initial_weights() -> None:
    live = nn.Linear(1, 1)
    averages = {warmup: Averages({"net": live}, decay=0.999, warmup=warmup) for warmup in (False, True)}
    initial = live.weight.item()
    with torch.no_grad():
        live.weight += 1
    for step in range(100):
        for each in averages.values():
            each.update({"net"}, step)
    moved = {warmup: each.networks["net"].weight.item() - initial for warmup, each in averages.items()}
    assert moved[False] < 0.1
    assert moved[True] > 0.999


def test_a_warm_up_ends_at_the_decay() -> None:
    live = nn.Linear(1, 1)
    averages = Averages({"net": live}, decay=0.5, warmup=True)
    before = live.weight.item()
    with torch.no_grad():
        live.weight += 1
    averages.update({"net"}, 10**6)
    assert abs(averages.networks["net"].weight.item() - before - 0.5) < 1e-6


def test_only_stepped_networks_are_averaged_in() -> None:
    live = nn.Linear(1, 1)
    averages = Averages({"net": live}, decay=0.5)
    before = averages.networks["net"].weight.clone()
    with torch.no_grad():
        live.weight += 1
    averages.update({"other"})
    assert torch.equal(averages.networks["net"].weight, before)


def test_the_average_is_a_frozen_bare_module_with_the_same_names() -> None:
    live = nn.Sequential(spectral_norm(nn.Conv2d(3, 4, 3)), nn.BatchNorm2d(4))
    averaged = Averages({"net": live}, decay=0.5).networks["net"]
    assert averaged.state_dict().keys() == live.state_dict().keys()
    assert not any(p.requires_grad for p in averaged.parameters())
    assert all(p.requires_grad for p in live.parameters())
