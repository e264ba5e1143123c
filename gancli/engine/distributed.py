"""Training on several processes with torch.distributed, launched by torchrun or srun.

With a single process every function here does nothing.

Modules are never wrapped. All ranks start from the weights of rank 0, and each phase averages its gradients with
one all-reduce over a flat buffer. Replicas therefore stay equal whatever the graph of a phase looks like (double
backward, unused heads, several forward passes). Wrappers that hook into the backward pass do not guarantee that.
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
from torch.distributed.distributed_c10d import PrefixStore, Store
from torch.distributed.rendezvous import rendezvous

from gancli.engine.ranks import process_rank
from gancli.errors import ConfigError, RunError

T = TypeVar("T")

# Time that ranks wait for a live one. Rank 0 writes checkpoints and embeds captions meanwhile. A rank that has died
# is noticed at once, by gloo or by torchrun.
PATIENCE = timedelta(hours=2)
LAST_WORDS = timedelta(seconds=10)  # for the rank that failed first to report its error


class LostProcess(RunError):
    """Another process of the run has ended, so this one cannot continue."""


_store: Store | None = None  # shared by the ranks; outlives the group, so that errors can be reported
_groups = 0  # number of groups joined so far; each has its own part of the store
_alone = False  # inside `from_main`


@contextmanager
def process_group(device: torch.device) -> Iterator[torch.device]:
    """Join the group that the environment describes (see `process_rank`), unless it is joined already.

    Yields the device of this process: `device` itself for a single process; "cuda" becomes the GPU of this rank.

    Raises:
        ConfigError: The processes cannot share this device, or there are fewer GPUs than processes.
    """
    global _store, _groups
    here = process_rank()
    if here.world_size == 1:
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
        store=PrefixStore(str(_groups), _store),
        rank=here.rank,
        world_size=here.world_size,
        timeout=PATIENCE,
    )
    try:
        yield device
    finally:
        dist.destroy_process_group()


def own_device(device: torch.device, local_rank: int) -> torch.device:
    """Return the device of one of several ranks.

    Raises:
        ConfigError: The processes cannot share this device, or there is no GPU for this rank.
    """
    if device.type == "mps":
        raise ConfigError("device mps cannot be shared by several processes", "use cpu")
    if device.type != "cuda":
        return device
    if str(device) != "cuda":
        problem = f"device {device} is one GPU, but there are several processes"
        raise ConfigError(problem, "use cuda: each takes its own")
    count = torch.cuda.device_count()
    if count == 1 and "SLURM_STEP_NUM_TASKS" in os.environ:
        local_rank = 0  # with --gpus-per-task each task sees only its own GPU, as number 0
    if local_rank >= count:
        problem = f"there are more processes than GPUs on this machine: {count}"
        raise ConfigError(problem, f"start {count} of them (--nproc {count})")
    return torch.device("cuda", local_rank)


@contextmanager
def _collective() -> Iterator[None]:
    """Turn the failure of a collective operation into LostProcess."""
    try:
        yield
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as error:  # DistError among them; gloo raises the plain one
        # gloo: "[…/pair.cc:561] Connection closed by peer [127.0.0.1]:61574. This is typically …"
        what = re.sub(r"^\[\S*\] ", "", str(error)).partition("\n")[0].partition(". ")[0]
        raise LostProcess(f"another process of this run has ended ({what})") from error


def world_size() -> int:
    """Return the number of processes."""
    return dist.get_world_size() if dist.is_initialized() and not _alone else 1


def rank() -> int:
    """Return the rank of this process."""
    return dist.get_rank() if dist.is_initialized() else 0


def joined() -> bool:
    """Return whether this process has ever joined a group."""
    return _store is not None


def report_once(exit_code: int, report: Callable[[], None]) -> int:
    """Let the first rank that failed report its error, while the others wait, and return the exit code of its failure.

    The first failure is the cause. The others follow from it, or have the same cause.
    """
    if _store is None:
        report()
        return exit_code
    here = process_rank()
    key, mine = f"failure/{_groups}", f"{here.rank}:{exit_code}"
    try:
        first = _store.compare_set(key, "", mine).decode()
        if first != mine:
            _store.wait([f"{key}/reported"], LAST_WORDS)
    except RuntimeError:  # the store died with rank 0, or the first to fail died while it reported
        report()
        return exit_code
    if first == mine:
        report()
    with suppress(RuntimeError):
        if first == mine:
            _store.set(f"{key}/reported", "")
        _store.set(f"{key}/seen/{here.rank}", "")
        if here.rank == 0:  # rank 0 holds the store, so it ends last
            _store.wait([f"{key}/seen/{rank}" for rank in range(here.world_size)], LAST_WORDS)
    return int(first.partition(":")[2])


def from_main(function: Callable[[], T]) -> T:
    """Call `function` on rank 0 only, as if it were alone, and return its result on every rank.

    An exception on rank 0 is raised on all ranks, so that none of them waits for the others.
    """
    global _alone
    if world_size() == 1:
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
    with _collective():
        dist.broadcast_object_list(outcome)
    result: T
    result, error_of_main = outcome
    if error_of_main is not None:
        raise error_of_main
    return result


def main_first(function: Callable[[], T]) -> T:
    """Call `function` on rank 0, then on the other ranks, which find the files that rank 0 wrote."""
    first: list[T] = []
    from_main(lambda: first.append(function()))
    return first[0] if first else function()


def gather(value: T) -> list[T]:
    """Return the values of all ranks, in their order, on every rank."""
    if world_size() == 1:
        return [value]
    values: list[Any] = [None] * world_size()
    with _collective():
        dist.all_gather_object(values, value)
    return values


def maximum(value: int, device: torch.device) -> int:
    """Return the largest value of all ranks, so that they decide alike."""
    if world_size() == 1:
        return value
    tensor = torch.tensor(value, device=device)
    with _collective():
        dist.all_reduce(tensor, dist.ReduceOp.MAX)
        return int(tensor)


def total(values: Tensor) -> Tensor:
    """Return the sum of the values of all ranks, on the device of `values`."""
    if world_size() == 1:
        return values
    on_gpu = dist.get_backend() == "nccl"  # sums on GPUs only
    total = values.to(torch.device("cuda", torch.cuda.current_device()) if on_gpu else "cpu", copy=True)
    with _collective():
        dist.all_reduce(total)
    return total.to(values.device)


def broadcast(networks: Iterable[nn.Module], *, buffers_only: bool = False) -> None:
    """Copy the parameters and buffers of rank 0, or its buffers alone, to every rank."""
    if world_size() == 1:
        return
    for network in networks:
        parameters = [] if buffers_only else list(network.parameters())
        for tensor in (*parameters, *network.buffers()):
            dense = tensor.detach().contiguous()  # sends a channels_last tensor in its logical order
            with _collective():
                dist.broadcast(dense, 0)
            tensor.detach().copy_(dense)


def average_gradients(parameters: Sequence[nn.Parameter], values: Tensor) -> Tensor:
    """Average the gradients over all ranks, in place, and return the averaged `values`.

    A gradient that one rank lacks (of a head that its batch did not use) counts as zero, because all ranks must send
    tensors of the same shapes.

    Args:
        parameters: Parameters, the same on every rank.
        values: Further values (N,) to average in the same all-reduce, such as the loss terms.
    """
    if world_size() == 1:
        return values
    parts = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
    flat = torch.cat([*(part.reshape(-1) for part in parts), values])
    with _collective():
        dist.all_reduce(flat)
    flat /= world_size()
    *averaged, values = flat.split([*(part.numel() for part in parts), len(values)])
    for parameter, part, mean in zip(parameters, parts, averaged, strict=True):
        parameter.grad = part.copy_(mean.view(part.shape))
    return values
