"""`train.activation_checkpointing`: large blocks keep their inputs alone and are run once more in the backward pass.

A network names its blocks by a method `large_blocks`; one that is a plain `nn.Sequential` is a block itself. The second
run gives the bits of the first: the same random numbers, the same precision, and batch norm by the statistics of the
same batch, without adding that batch to the stored ones again. Spectral norm changes its vectors whenever it runs, so a
block that has it is none of these.
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

from gancli.engine.phases import Trainable


@runtime_checkable
class HasLargeBlocks(Protocol):
    """A network with blocks whose activations take more memory than they are worth."""

    def large_blocks(self) -> Iterable[nn.Module]:
        """Submodules, none within another; each is called with positional arguments in the network's `forward`."""


def recompute_large_blocks(model: Trainable) -> None:
    """Has the large blocks of a model's networks recomputed, in place; in eval mode and without gradients they are not.

    Copies of a network that were made before stay as they are; a copy made afterwards would run the original's blocks.
    A network that a phase differentiates twice is left out: the first derivative's own graph would keep all that is
    recomputed for it.

    Raises:
        ValueError: A block's weights are computed in its forward pass (spectral norm).
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
    """Each layer with weights and the norm and activation behind it: as one, all maps would be there at once again."""
    parts: list[list[nn.Module]] = []
    for layer in sequence:
        starts = not isinstance(layer, _BatchNorm) and any(True for _ in layer.parameters())
        if starts or not parts:
            parts.append([])
        parts[-1].append(layer)
    return [nn.Sequential(*part) for part in parts]


def _recomputed(owner: nn.Module, forward: Callable[..., Any], part: nn.Module) -> Callable[..., Any]:
    """`forward`, of a part of `owner`, so that only its arguments are kept for the backward pass."""
    norms = [module for module in part.modules() if isinstance(module, _BatchNorm)]

    def contexts() -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
        return nullcontext(), _StatisticsKept(norms)

    def run(*arguments: Any) -> Any:
        if not (owner.training and torch.is_grad_enabled()):
            return forward(*arguments)
        return checkpoint(forward, *arguments, use_reentrant=False, context_fn=contexts)

    return run


class _StatisticsKept:
    """While active, batch norms write their running statistics into copies; as often as a graph is gone through.

    Copies and not nothing: the second run has to save the same tensors as the first.
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
