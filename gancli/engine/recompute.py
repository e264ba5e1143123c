"""Activation checkpointing (`train.activation_checkpointing`): large blocks run again in the backward pass.

Only the inputs of a block are kept. A network names its blocks with a method `large_blocks`; a plain `nn.Sequential`
is a block itself. The second run gives the same bits as the first: it uses the same random numbers and precision, and
batch norm uses the statistics of the same batch without updating its running statistics again. Blocks with spectral
norm are excluded, because it changes its vectors in every run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils.parametrize import is_parametrized
from torch.utils.checkpoint import checkpoint

from gancli.engine.phases import Batch, Shared, Trainable


@runtime_checkable
class HasLargeBlocks(Protocol):
    """Network with blocks whose activations are cheaper to compute again than to keep."""

    def large_blocks(self) -> Iterable[nn.Module]:
        """Return submodules, none within another, that `forward` calls with positional arguments."""


def recompute_large_blocks(model: Trainable[Batch, Shared]) -> None:
    """Make the large blocks of a model's networks run again in the backward pass, in place.

    Nothing changes in eval mode or without gradients. Copy networks before this call: later copies would run the
    blocks of the original. Networks that a phase differentiates twice are left out, because the graph of the first
    derivative would keep everything that was computed again.

    Raises:
        ValueError: A block computes its weights in the forward pass (spectral norm).
    """
    twice = {name for phase in model.phases for name in phase.differentiated_twice}
    for name, network in model.networks.items():
        if name in twice:
            continue
        if isinstance(network, HasLargeBlocks):
            for block in network.large_blocks():
                _recompute(block)
        elif isinstance(network, nn.Sequential):
            _recompute(network)


def _recompute(block: nn.Module) -> None:
    if any(is_parametrized(module) for module in block.modules()):
        raise ValueError(f"{type(block).__name__} computes weights in its forward pass: it cannot run twice")
    if isinstance(block, nn.Sequential):
        parts = [_recomputed(block, part.forward, part) for part in _parts(block)]

        def forward(x: Tensor) -> Tensor:
            for part in parts:
                x = part(x)
            return x

        block.forward = forward  # type: ignore[method-assign]
    else:
        block.forward = _recomputed(block, block.forward, block)


def _parts(sequence: nn.Sequential) -> list[nn.Sequential]:
    """Return each layer with weights with the norm and activation behind it.

    The parts are run again one by one. As a single block, all their activations would be in memory at once.
    """
    parts: list[list[nn.Module]] = []
    for layer in sequence:
        starts = not isinstance(layer, _BatchNorm) and any(True for _ in layer.parameters())
        if starts or not parts:
            parts.append([])
        parts[-1].append(layer)
    return [nn.Sequential(*part) for part in parts]


def _recomputed(owner: nn.Module, forward: Callable[..., Any], part: nn.Module) -> Callable[..., Any]:
    """Return `forward` of a part of `owner`, changed so that only its arguments are kept for the backward pass."""
    norms = [module for module in part.modules() if isinstance(module, _BatchNorm)]

    def contexts() -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
        return nullcontext(), _StatisticsKept(norms)

    def run(*arguments: Any) -> Any:
        if not (owner.training and torch.is_grad_enabled()):
            return forward(*arguments)
        return checkpoint(forward, *arguments, use_reentrant=False, context_fn=contexts)

    return run


class _StatisticsKept:
    """Context in which batch norms write their running statistics into copies.

    The statistics cannot simply be left out: the second run has to save the same tensors as the first. The context is
    entered once per backward pass through the graph.
    """

    def __init__(self, norms: Sequence[_BatchNorm]) -> None:
        self.norms = norms
        self.kept: list[dict[str, Tensor | None]] = []

    def __enter__(self) -> None:
        self.kept = [dict(norm._buffers) for norm in self.norms]
        for norm, buffers in zip(self.norms, self.kept, strict=True):
            norm._buffers.update({name: None if b is None else b.clone() for name, b in buffers.items()})

    def __exit__(self, *_: object) -> None:
        for norm, buffers in zip(self.norms, self.kept, strict=True):
            norm._buffers.update(buffers)
