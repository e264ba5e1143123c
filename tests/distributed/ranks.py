"""Processes of a test in a gloo group."""

from __future__ import annotations

import multiprocessing
import os
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.multiprocessing

from gancli.engine import distributed

ENGINE_TESTS = Path(__file__).parents[1] / "engine"
# A forked process cannot use CUDA, nor autograd once the parent has threads for it (as after compiling a network)
METHOD = "forkserver"
multiprocessing.set_forkserver_preload(
    [
        "gancli.training.ffgan",
        "gancli.training.stackgan",
        "gancli.training.fusion_s2igan",
        "gancli.training.csfgan",
        "gancli.training.attr2image",
        "torch._dynamo",
        "hypothesis",
        "pytest",
    ]
)  # torch is imported once, not by every process


def environment(rank: int, world: int, port: int) -> dict[str, str]:
    """Return the variables that torchrun sets."""
    return {
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": str(world),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
    }


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def _start(
    rank: int,
    task: Callable[..., Any],
    folder: Path,
    variables: dict[str, str],
    world: int,
    port: int,
    arguments: tuple[Any, ...],
) -> None:
    torch.set_num_threads(1)
    sys.path.insert(0, str(ENGINE_TESTS))
    os.environ |= variables | environment(rank, world, port)
    with distributed.process_group(torch.device("cpu")):
        torch.save(task(rank, folder, *arguments), folder / f"{rank}.pt")


def on_ranks(task: Callable[..., Any], folder: Path, *arguments: Any, world: int = 2) -> list[Any]:
    """Run `task(rank, folder, *arguments)` on every rank and return the results, which are tensors or plain values."""
    folder.mkdir(exist_ok=True)
    variables = dict(os.environ)  # the fork server has those of the time when it was started
    torch.multiprocessing.start_processes(
        _start, (task, folder, variables, world, free_port(), arguments), nprocs=world, start_method=METHOD
    )
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(world)]
