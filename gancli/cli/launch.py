"""Training on several processes of this machine (`--nproc`), under torchrun's agent."""

from __future__ import annotations

import os
import signal
import sys
import threading
import uuid
from collections.abc import Sequence
from contextlib import suppress
from tempfile import TemporaryDirectory
from types import FrameType
from typing import TYPE_CHECKING, Annotated

import typer

from gancli.cli.console import Output
from gancli.cli.errors import FAILED, INTERRUPTED, MEMORY_HINT, TERMINATED
from gancli.engine.ranks import process_rank
from gancli.errors import UsageError

if TYPE_CHECKING:
    from torch.distributed.elastic.agent.server.api import WorkerSpec
    from torch.distributed.elastic.agent.server.local_elastic_agent import LocalElasticAgent

    from gancli.config import BaseRecipe

Processes = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        min=1,
        help="Train on N processes of this machine, each with a GPU of its own where there are GPUs.",
        show_default="1",
    ),
]

_DELIVERY = 0.2  # seconds between attempts to pass on a signal that came before the processes started


def set_rank(out: Output, processes: int | None = None) -> None:
    """Set the rank of a command's output, so that only rank 0 writes; refuse `--nproc` under torchrun and srun."""
    out.process = process_rank()
    if processes is not None and (out.process.world_size > 1 or "TORCHELASTIC_RUN_ID" in os.environ):
        raise UsageError(
            f"--nproc {processes}: torchrun or srun has already started this process",
            "leave --nproc out: torchrun or srun decides how many processes there are",
        )


def launch(out: Output, recipe: BaseRecipe, processes: int) -> int:
    """Run this process's command line on several processes, wait for them, and return the training's exit code.

    SIGINT, SIGTERM and SIGUSR1 are passed on to each process once. The processes report for themselves; `out` is for
    those that are killed before any of them could.

    Raises:
        ConfigError: There are fewer GPUs than processes, or the processes cannot share the device.
    """
    import logging

    from torch.distributed.elastic.agent.server.api import RunResult
    from torch.distributed.elastic.agent.server.local_elastic_agent import LocalElasticAgent
    from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs

    from gancli.engine.device import pick_device
    from gancli.engine.distributed import own_device

    own_device(pick_device(recipe.train.device), processes - 1)
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, _cores() // processes)))
    logging.disable(logging.CRITICAL)  # the processes report their own errors better than the agent
    specification = _workers(processes)
    agents: list[LocalElasticAgent] = []
    outcome: list[RunResult | BaseException] = []

    def work() -> None:
        try:
            with TemporaryDirectory() as folder:
                agents.append(LocalElasticAgent(specification, DefaultLogsSpecs(log_dir=folder)))
                outcome.append(agents[0].run())
        except BaseException as error:
            outcome.append(error)
        finally:
            specification.rdzv_handler.shutdown()

    # The agent runs in a thread. In the main thread it would handle the signals itself, and kill processes that have
    # not saved in time.
    received = _wait(threading.Thread(target=work), agents)
    (result,) = outcome
    if isinstance(result, BaseException):
        raise result
    codes = {rank: failure.exitcode for rank, failure in sorted(result.failures.items())}
    return _exit_code(out, codes, processes, received)


def _workers(processes: int) -> WorkerSpec:
    """Return the specification of the processes, which run this command line without `--nproc`."""
    from torch.distributed.elastic.agent.server.api import WorkerSpec
    from torch.distributed.elastic.rendezvous import RendezvousParameters
    from torch.distributed.elastic.rendezvous.registry import get_rendezvous_handler

    # As in torchrun --standalone: port 0 is replaced by a free one when it is opened.
    rendezvous = RendezvousParameters("c10d", "localhost:0", uuid.uuid4().hex, 1, 1, local_addr="localhost")
    return WorkerSpec(
        role="train",
        local_world_size=processes,
        rdzv_handler=get_rendezvous_handler(rendezvous),
        entrypoint=sys.executable,
        # "$" is escaped because the agent substitutes variables
        args=("-m", "gancli", *(argument.replace("$", "$$") for argument in _without_nproc(sys.argv[1:]))),
        max_restarts=0,
        monitor_interval=0.1,
    )


def _wait(thread: threading.Thread, agents: Sequence[LocalElasticAgent]) -> list[signal.Signals]:
    """Run the thread of an agent to its end, passing on signals to the agent's processes, and return the signals."""
    received: list[signal.Signals] = []
    waiting: list[signal.Signals] = []

    def pass_on() -> None:
        workers = agents[0].get_worker_group().workers if agents else []
        if not workers or any(worker.id is None for worker in workers):
            return  # the processes are just starting
        while waiting:
            number = waiting.pop(0)
            for worker in workers:
                with suppress(ProcessLookupError):
                    os.kill(worker.id, number)

    def receive(number: int, _: FrameType | None) -> None:
        # A closed terminal sends SIGHUP; the processes must not go on unseen.
        received.append(signal.SIGTERM if number == signal.SIGHUP else signal.Signals(number))
        waiting.append(received[-1])
        pass_on()

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP):
        signal.signal(number, receive)
    thread.start()
    while thread.is_alive():
        thread.join(_DELIVERY)
        pass_on()
    return received


def _exit_code(out: Output, codes: dict[int, int], processes: int, received: Sequence[signal.Signals]) -> int:
    """Return the exit code of the training, and report processes that were killed.

    `codes` are those of the processes that failed, by rank, negative where a signal killed one; `received` are the
    signals that were passed on.
    """
    if not codes:
        return 0
    reported = [code for code in codes.values() if code > 0]
    if not reported and received:
        return INTERRUPTED if signal.SIGINT in received else TERMINATED
    # The agent ends the other processes with SIGTERM.
    killed = {rank: code for rank, code in codes.items() if code < 0 and code != -signal.SIGTERM}
    texts = [
        f"process {rank} of {processes} was ended by {signal.Signals(-code).name}"
        for rank, code in killed.items()
    ]
    hint = f"if the memory ran out: {MEMORY_HINT}" if -signal.SIGKILL in killed.values() else None
    if reported:
        for text in texts:
            out.note(f"{text}; {hint}" if hint else text)
        return reported[0]
    checkpoint = "the last checkpoint is good: --resume continues from it"
    out.fail(
        "; ".join(texts) or "the processes were ended",
        f"{checkpoint}; {hint}" if hint else checkpoint,
        FAILED,
    )
    return FAILED


def _without_nproc(arguments: Sequence[str]) -> list[str]:
    """Return a command line without `--nproc N` or `--nproc=N`."""
    rest = list(arguments)
    for index, argument in enumerate(arguments):
        if argument == "--nproc":
            del rest[index : index + 2]
            return _without_nproc(rest)
        if argument.startswith("--nproc="):
            del rest[index]
            return _without_nproc(rest)
    return rest


def _cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
