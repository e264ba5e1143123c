"""Several processes on torch.distributed, launched by torchrun; with one process every function here is an identity.

Modules are never wrapped. All processes start from the weights of process 0, and each phase averages its
gradients by one all-reduce over one flat buffer, so replicas stay equal whatever the phase's graph looks like
(double backward, unused heads, several forwards), which wrappers that hook into the backward pass do not
guarantee.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

T = TypeVar("T")


@contextmanager
def process_group(device: torch.device) -> Iterator[torch.device]:
    """Joins the group that torchrun's environment (WORLD_SIZE, RANK, LOCAL_RANK, MASTER_ADDR) describes.

    Args:
        device: What the recipe asks for; "cuda" becomes this process's own GPU.

    Yields:
        The device of this process. Outside torchrun that is `device`.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1 or dist.is_initialized():
        yield device
        return
    if device.type == "cuda":
        device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield device
    finally:
        dist.destroy_process_group()


def world() -> int:
    """Number of processes."""
    return dist.get_world_size() if dist.is_initialized() else 1


def rank() -> int:
    """Number of this process, from 0."""
    return dist.get_rank() if dist.is_initialized() else 0


def from_main(function: Callable[[], T]) -> T:
    """Calls `function` in process 0 only and gives its result to every process.

    An exception of process 0 is raised in all of them, so that none waits for the others.
    """
    if world() == 1:
        return function()
    outcome: list[Any] = [None, None]
    if rank() == 0:
        try:
            outcome[0] = function()
        except Exception as error:
            outcome[1] = error
    dist.broadcast_object_list(outcome)
    if outcome[1] is not None:
        raise outcome[1]
    return outcome[0]


def gather(value: T) -> list[T]:
    """The value of every process, by rank, in every process."""
    if world() == 1:
        return [value]
    values: list[Any] = [None] * world()
    dist.all_gather_object(values, value)
    return values


def maximum(value: int, device: torch.device) -> int:
    """The largest value of all processes, so that they all decide the same."""
    if world() == 1:
        return value
    tensor = torch.tensor(value, device=device)
    dist.all_reduce(tensor, dist.ReduceOp.MAX)
    return int(tensor)


def broadcast(networks: Iterable[nn.Module], *, buffers_only: bool = False) -> None:
    """Gives every process the parameters and buffers (or the buffers alone) of process 0."""
    if world() == 1:
        return
    for network in networks:
        parameters = [] if buffers_only else list(network.parameters())
        for tensor in (*parameters, *network.buffers()):
            dense = tensor.detach().contiguous()  # a channels_last tensor is sent in its logical order
            dist.broadcast(dense, 0)
            tensor.detach().copy_(dense)


def average_gradients(parameters: Sequence[nn.Parameter], values: Tensor) -> Tensor:
    """Averages the gradients over all processes, in place.

    A gradient missing in one process (a head that its batch did not use) counts as zero: the processes must
    agree on what they send.

    Args:
        parameters: The same in every process.
        values: Anything else to average on the same trip, shape (N,), such as the loss terms.

    Returns:
        The averaged values, shape (N,).
    """
    if world() == 1:
        return values
    parts = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
    flat = torch.cat([*(part.reshape(-1) for part in parts), values])
    dist.all_reduce(flat)
    flat /= world()
    *averaged, values = flat.split([*(part.numel() for part in parts), len(values)])
    for parameter, part, mean in zip(parameters, parts, averaged, strict=True):
        parameter.grad = part.copy_(mean.view(part.shape))
    return values
