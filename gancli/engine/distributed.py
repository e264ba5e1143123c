"""Several processes on torch.distributed, launched by torchrun or srun.

With one process every function here is an identity.

Modules are never wrapped. All processes start from the weights of process 0, and each phase averages its
gradients by one all-reduce over one flat buffer, so replicas stay equal whatever the phase's graph looks like
(double backward, unused heads, several forwards), which wrappers that hook into the backward pass do not
guarantee.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.rendezvous import rendezvous

from gancli.engine.ranks import place
from gancli.errors import ConfigError, RunError

T = TypeVar("T")

# How long the others wait for a process that is still there. Process 0 writes checkpoints and embeds captions while
# they do; one that has gone is noticed at once (gloo), or by torchrun.
PATIENCE = timedelta(hours=2)
LAST_WORDS = timedelta(seconds=10)  # for the process that failed first to say why


class LostProcess(RunError):
    """Another process of the run has ended, so this one cannot go on."""


_store: dist.Store | None = (
    None  # what the processes share besides tensors; outlives the group, for last words
)
_groups = 0  # joined so far: each has its own part of the store
_alone = False  # inside `from_main`


@contextmanager
def process_group(device: torch.device) -> Iterator[torch.device]:
    """Joins the group that the environment describes (`gancli.engine.ranks.place`), if it is not joined yet.

    Args:
        device: What the recipe asks for; "cuda" becomes this process's own GPU.

    Yields:
        The device of this process. Where there is one process that is `device`.

    Raises:
        ConfigError: Processes cannot share that device, or there are more of them than GPUs.
    """
    global _store, _groups
    here = place()
    if here.world == 1:
        yield device
        return
    device = own_device(device, here.local_rank)
    if dist.is_initialized():
        yield device
        return
    if device.type == "cuda":
        torch.cuda.set_device(device)
    if _store is None:
        os.environ.update(here.variables())
        _store, _, _ = next(rendezvous("env://", timeout=PATIENCE))
    _groups += 1
    dist.init_process_group(
        "nccl" if device.type == "cuda" else "gloo",
        store=dist.PrefixStore(str(_groups), _store),
        rank=here.rank,
        world_size=here.world,
        timeout=PATIENCE,
    )
    try:
        yield device
    finally:
        dist.destroy_process_group()


def own_device(device: torch.device, local_rank: int) -> torch.device:
    """The device of the process with that number on its machine, one of several.

    Raises:
        ConfigError: Processes cannot share that device, or there is no GPU for this one.
    """
    if device.type == "mps":
        raise ConfigError("device mps cannot be shared by several processes", "use cpu")
    if device.type != "cuda":
        return device
    if str(device) != "cuda":
        raise ConfigError(
            f"device {device} is one GPU, but there are several processes", "use cuda: each takes its own"
        )
    count = torch.cuda.device_count()
    if (
        count == 1 and "SLURM_STEP_NUM_TASKS" in os.environ
    ):  # --gpus-per-task: each task sees its own as number 0
        local_rank = 0
    if local_rank >= count:
        raise ConfigError(
            f"there are more processes than GPUs on this machine: {count}",
            f"start {count} of them (--nproc {count})",
        )
    return torch.device("cuda", local_rank)


@contextmanager
def _together() -> Iterator[None]:
    """Around whatever all processes have to do together."""
    try:
        yield
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as error:  # DistError among them; gloo raises the plain one
        # gloo: "[…/pair.cc:561] Connection closed by peer [127.0.0.1]:61574. This is typically …"
        what = re.sub(r"^\[\S*\] ", "", str(error)).partition("\n")[0].partition(". ")[0]
        raise LostProcess(f"another process of this run has ended ({what})") from error


def world() -> int:
    """Number of processes."""
    return dist.get_world_size() if dist.is_initialized() and not _alone else 1


def rank() -> int:
    """Number of this process, from 0."""
    return dist.get_rank() if dist.is_initialized() else 0


def joined() -> bool:
    """Whether this process has ever joined others."""
    return _store is not None


def told_once(exit_code: int, tell: Callable[[], None]) -> int:
    """Lets one process, the first to fail, say why the run ends; the others wait until it has.

    The first is the one with the cause: the others fail because it is gone, or for the same reason.

    Args:
        exit_code: Of this process's failure.
        tell: Says why.

    Returns:
        The exit code of the failure that was told.
    """
    if _store is None:
        tell()
        return exit_code
    here = place()
    key, mine = f"failure/{_groups}", f"{here.rank}:{exit_code}"
    try:
        first = _store.compare_set(key, "", mine).decode()
        if first != mine:
            _store.wait([f"{key}/told"], LAST_WORDS)
    except RuntimeError:  # the store went with process 0, or the first died while it spoke
        tell()
        return exit_code
    if first == mine:
        tell()
    with suppress(RuntimeError):
        if first == mine:
            _store.set(f"{key}/told", "")
        _store.set(f"{key}/heard/{here.rank}", "")
        if here.rank == 0:  # the store lives here: the others must have heard before it goes
            _store.wait([f"{key}/heard/{rank}" for rank in range(here.world)], LAST_WORDS)
    return int(first.partition(":")[2])


def from_main(function: Callable[[], T]) -> T:
    """Calls `function` in process 0 only, as if it were alone, and gives its result to every process.

    An exception of process 0 is raised in all of them, so that none waits for the others.
    """
    global _alone
    if world() == 1:
        return function()
    outcome: list[Any] = [None, None]
    if rank() == 0:
        _alone = True
        try:
            outcome[0] = function()
        except Exception as error:
            outcome[1] = error
        finally:
            _alone = False
    with _together():
        dist.broadcast_object_list(outcome)
    if outcome[1] is not None:
        raise outcome[1]
    return outcome[0]


def main_first(function: Callable[[], T]) -> T:
    """Calls `function` in process 0, then in the others: what the first keeps in a file, they find there."""
    first: list[T] = []
    from_main(lambda: first.append(function()))
    return first[0] if first else function()


def gather(value: T) -> list[T]:
    """The value of every process, by rank, in every process."""
    if world() == 1:
        return [value]
    values: list[Any] = [None] * world()
    with _together():
        dist.all_gather_object(values, value)
    return values


def maximum(value: int, device: torch.device) -> int:
    """The largest value of all processes, so that they all decide the same."""
    if world() == 1:
        return value
    tensor = torch.tensor(value, device=device)
    with _together():
        dist.all_reduce(tensor, dist.ReduceOp.MAX)
        return int(tensor)


def total(values: Tensor) -> Tensor:
    """The sum of the values of all processes, the same in every one of them; on the device of `values`."""
    if world() == 1:
        return values
    on_gpu = dist.get_backend() == "nccl"  # which sums on GPUs only
    total = values.to(torch.device("cuda", torch.cuda.current_device()) if on_gpu else "cpu", copy=True)
    with _together():
        dist.all_reduce(total)
    return total.to(values.device)


def broadcast(networks: Iterable[nn.Module], *, buffers_only: bool = False) -> None:
    """Gives every process the parameters and buffers (or the buffers alone) of process 0."""
    if world() == 1:
        return
    for network in networks:
        parameters = [] if buffers_only else list(network.parameters())
        for tensor in (*parameters, *network.buffers()):
            dense = tensor.detach().contiguous()  # a channels_last tensor is sent in its logical order
            with _together():
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
    with _together():
        dist.all_reduce(flat)
    flat /= world()
    *averaged, values = flat.split([*(part.numel() for part in parts), len(values)])
    for parameter, part, mean in zip(parameters, parts, averaged, strict=True):
        parameter.grad = part.copy_(mean.view(part.shape))
    return values
