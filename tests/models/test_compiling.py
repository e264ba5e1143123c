"""Every model compiled: the losses and weights of uncompiled steps.

All go through what torch does before its own backend writes C++ ("aot_eager": the traced forward, its derived backward,
plain kernels), which must change nothing; two also through that backend, which takes a minute a model and rounds
differently.
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import pytest
import torch
import torch._dynamo
from torch import nn

from tests.compiler import needs_compiler
from tests.models.every import MODELS, build, trained

pytestmark = pytest.mark.slow

STEPS = 2  # with captions of two lengths
UNCOMPILED = {"fusion-s2igan": ["discriminator"], "dfgan": ["discriminator"]}  # under a gradient penalty


@pytest.fixture(autouse=True)
def fresh_graphs() -> None:
    torch.set_num_threads(1)
    torch._dynamo.reset()


def compiled(name: str, folder: Path, monkeypatch: pytest.MonkeyPatch, backend: str) -> Any:
    compile_network = nn.Module.compile
    monkeypatch.setattr(nn.Module, "compile", functools.partialmethod(compile_network, backend=backend))
    model = build(name)
    with torch._dynamo.config.patch(fail_on_recompile_limit_hit=True):
        results = trained(name, folder, model=model, steps=STEPS, compile=True)
    uncompiled = [key for key, network in model.networks.items() if network._compiled_call_impl is None]
    assert uncompiled == UNCOMPILED.get(name, [])
    return results


@pytest.mark.parametrize("name", MODELS)
def test_compiled_steps_are_the_plain_ones(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To 1e-5 of each number: only sums that the traced graph takes in another order may differ."""
    losses, state = trained(name, tmp_path, steps=STEPS)
    ours, weights = compiled(name, tmp_path, monkeypatch, "aot_eager")
    assert ours == pytest.approx(losses, rel=1e-5, abs=1e-7)
    torch.testing.assert_close(weights, state, rtol=1e-5, atol=1e-7)


@needs_compiler
@pytest.mark.parametrize("name", ["ffgan", "dfgan"])
def test_steps_of_torchs_own_backend_are_the_plain_ones(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To 1e-4 of a loss, 1e-3 of the way that a network's weights have gone: fused kernels round and sum otherwise."""
    before = build(name).networks
    losses, state = trained(name, tmp_path, steps=STEPS)
    ours, weights = compiled(name, tmp_path, monkeypatch, "inductor")
    assert ours == pytest.approx(losses, rel=1e-4, abs=1e-6)
    for network, module in before.items():
        first = {f"{network}.{key}": p.detach().double() for key, p in module.named_parameters()}
        way = sum((state[key].double() - weight).square().sum() for key, weight in first.items())
        error = sum((state[key].double() - weights[key].double()).square().sum() for key in first)
        assert error <= 1e-6 * way, network
        for key in module.state_dict().keys() - dict(module.named_parameters()).keys():
            name = f"{network}.{key}"
            torch.testing.assert_close(weights[name], state[name], rtol=1e-4, atol=1e-5)
