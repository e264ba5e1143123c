"""Every model with recomputed activations: the same bits, and less to keep."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from gancli.data.loader import Batch
from gancli.engine.phases import Phase, Trainable, train_only
from gancli.engine.recompute import HasLargeBlocks, recompute_large_blocks
from gancli.models import ffgan
from tests.defaults import make_network
from tests.models.every import COUNT, MODELS, batch_of, build, trained


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.mark.parametrize(
    "options", [{}, {"precision": "bf16"}, {"grad_accumulation": 2}], ids=["float32", "bf16", "two batches"]
)
@pytest.mark.parametrize("name", MODELS)
def test_three_steps_have_the_same_bits(name: str, options: dict[str, Any], tmp_path: Path) -> None:
    """Losses, weights, averages, running statistics and their counts, spectral norm's vectors."""
    losses, state = trained(name, tmp_path, **options)
    ours, weights = trained(name, tmp_path, activation_checkpointing=True, **options)
    assert ours == losses
    assert weights.keys() == state.keys()
    for key, tensor in state.items():
        assert torch.equal(weights[key], tensor), key


def kept_bytes(model: Trainable, batch: Batch) -> dict[str, int]:
    """What the graphs of a step keep for the backward pass besides weights, by the phase at whose end it is counted."""
    everything = [p for network in model.networks.values() for p in network.parameters()]
    weights = {p.untyped_storage().data_ptr() for p in everything}
    kept: dict[
        int, torch.UntypedStorage
    ] = {}  # alive, so that no memory is counted that another tensor had before

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage
        return tensor

    result = {}
    train_only(everything, everything)
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        shared = model.begin(batch)
        drawn = dict(kept)
        for phase in model.phases:
            train_only([p for network in phase.networks.values() for p in network.parameters()], everything)
            phase.loss(shared)
            result[phase.name] = sum(storage.nbytes() for storage in kept.values())
            kept = dict(drawn)
    return result


def both(build_model: Callable[[], Trainable], batch: Batch) -> tuple[dict[str, int], dict[str, int]]:
    """Bytes as ever and with large blocks recomputed."""
    plain, model = build_model(), build_model()
    recompute_large_blocks(model)
    return kept_bytes(plain, batch), kept_bytes(model, batch)


@pytest.mark.parametrize("name", MODELS)
def test_less_is_kept(name: str) -> None:
    before, after = both(lambda: build(name), batch_of(name, 0))
    assert after["generator"] < 0.8 * before["generator"]
    assert all(after[phase] <= before[phase] for phase in before)


def test_ffgans_generator_keeps_a_third() -> None:
    """The paper's architecture at a quarter of its width and an eighth of its side, without discriminators."""

    class Alone:
        phases = (Phase("generator", {}, torch.optim.SGD([torch.zeros(1)], lr=0.1), lambda shared: {}),)

        def __init__(self) -> None:
            self.networks = {
                "generator": make_network(
                    ffgan.Generator, stages=(8, 16, 32), text_dim=16, generator_width=16
                )
            }

        def begin(self, batch: Batch) -> Any:
            words, mask = torch.randn(COUNT, 16, 6), torch.ones(COUNT, 6, dtype=torch.bool)
            noise = torch.randn(COUNT, 100)
            return self.networks["generator"](torch.randn(COUNT, 16), words, mask, noise, noise)

    before, after = both(Alone, batch_of("ffgan", 0))  # type: ignore[arg-type]
    assert after["generator"] < before["generator"] / 3


@pytest.mark.parametrize("name", MODELS)
def test_no_block_is_within_another(name: str) -> None:
    for network in build(name).networks.values():
        if isinstance(network, HasLargeBlocks):
            blocks = list(network.large_blocks())
            assert len(blocks) == len(set(blocks))
            within = {inner for block in blocks for inner in block.modules() if inner is not block}
            assert not within & set(blocks)
            assert set(blocks) <= set(network.modules())
