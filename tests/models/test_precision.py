"""Every model in bf16: the losses of float32, and gradients that point the same way.

With the same weights, batches and random numbers, of small networks.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from gancli.engine.checkpoint import RunFolder
from gancli.engine.phases import Phase
from tests.models.every import MODELS, build, loop_of

# bf16 has 8 bits, so each operation rounds by up to 0.4 %; the square of a score doubles its error (1.5 % seen, 3.9 %
# where bf16 is emulated), and a term that is almost 0 is a difference of larger numbers.
RELATIVE, ABSOLUTE = 5e-2, 1e-3
COSINE = (
    0.9  # of a network's whole gradient; 0.95 is the least that was seen (the generators behind batch norms)
)


def step(name: str, folder: Path, precision: str) -> tuple[Mapping[str, float], dict[str, Tensor]]:
    """Loss terms, and the gradient of each network, of a step that moves no weight."""
    model = build(name)
    gradients: dict[str, Tensor] = {}

    def keep(phase: Phase, *_: Any) -> None:
        for network, module in phase.networks.items():
            found = [p.grad.flatten() for p in module.parameters() if p.grad is not None]
            gradients[network] = torch.cat(found).double()

    for phase in model.phases:
        phase.optimizer.param_groups[0]["lr"] = 0.0
        phase.optimizer.register_step_pre_hook(partial(keep, phase))
    torch.set_num_threads(1)
    loop = loop_of(name, RunFolder.create(folder, precision), model, steps=1, precision=precision)
    return loop.run().last, gradients


@pytest.mark.parametrize("name", MODELS)
def test_bf16_has_the_losses_and_the_gradients_of_float32(name: str, tmp_path: Path) -> None:
    losses, gradients = step(name, tmp_path, "float32")
    ours, directions = step(name, tmp_path, "bf16")
    assert ours != losses
    assert ours == pytest.approx(losses, rel=RELATIVE, abs=ABSOLUTE)
    assert gradients.keys() == directions.keys() == build(name).networks.keys()
    for network, gradient in gradients.items():
        assert torch.cosine_similarity(gradient, directions[network], dim=0) > COSINE, network
        assert float(directions[network].norm() / gradient.norm()) == pytest.approx(1, abs=0.1), network
