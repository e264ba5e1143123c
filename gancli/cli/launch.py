"""`--nproc`: a training on several processes of this machine, under torchrun's agent; and who of several speaks."""

from __future__ import annotations

import os
import signal
import sys
import threading
import uuid
from collections.abc import Sequence
from contextlib import suppress
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gancli.cli.console import Output
from gancli.cli.errors import FAILED, INTERRUPTED, MEMORY_HINT, TERMINATED
from gancli.engine.ranks import place
from gancli.errors import UsageError

if TYPE_CHECKING:
    from gancli.config import ModelRecipe

Processes = Annotated[
    int | None,
    typer.Option(
        "--nproc",
        metavar="N",
        min=1,
        help="Train on N processes of this machine, each with a GPU of its own where there are GPUs.",
        show_default="1",
    ),
]

_DELIVERY = 0.2  # seconds after which a signal that came before there were processes is passed on


def take_place(out: Output, processes: int | None = None) -> None:
    """Lets only process 0 speak, where torchrun or srun started several.

    Args:
        out: Of this process.
        processes: What `--nproc` says.

    Raises:
        UsageError: `--nproc` is given to processes that torchrun or srun started.
    """
    out.place = place()
    if processes is not None and (out.place.world > 1 or "TORCHELASTIC_RUN_ID" in os.environ):
        raise UsageError(
            f"--nproc {processes}: torchrun or srun has already started this process",
            "leave --nproc out: how many there are is torchrun's or srun's to say",
        )


def launch(out: Output, recipe: ModelRecipe, processes: int) -> int:
    """Runs this process's command line on several processes and waits for them.

    SIGINT, SIGTERM and SIGUSR1 are passed on to each process once; what the processes say they say themselves.

    Args:
        out: To report a process that was killed before it, or any other, could say a word.
        recipe: What is trained.
        processes: How many.

    Returns:
        The exit code of the training.

    Raises:
        ConfigError: There are not so many GPUs, or the device cannot be shared.
    """
    import logging

    from torch.distributed.elastic.agent.server.api import RunResult, WorkerSpec
    from torch.distributed.elastic.agent.server.local_elastic_agent import LocalElasticAgent
    from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs
    from torch.distributed.elastic.rendezvous import RendezvousParameters
    from torch.distributed.elastic.rendezvous.registry import get_rendezvous_handler

    from gancli.engine.device import pick_device
    from gancli.engine.distributed import own_device

    own_device(pick_device(recipe.train.device), processes - 1)
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, _cores() // processes)))
    logging.disable(logging.CRITICAL)  # the agent would log what the processes have said better
    # as torchrun --standalone has it: no port is chosen before it is taken
    meeting = RendezvousParameters("c10d", "localhost:0", uuid.uuid4().hex, 1, 1, local_addr="localhost")
    specification = WorkerSpec(
        role="train",
        local_world_size=processes,
        rdzv_handler=get_rendezvous_handler(meeting),
        entrypoint=sys.executable,
        # the agent fills in what looks like a variable
        args=("-m", "gancli", *(argument.replace("$", "$$") for argument in _without_nproc(sys.argv[1:]))),
        max_restarts=0,
        monitor_interval=0.1,
    )
    outcome: list[RunResult | BaseException] = []
    received: list[signal.Signals] = []
    waiting: list[signal.Signals] = []

    def work() -> None:
        try:
            with TemporaryDirectory() as folder:
                agent.append(LocalElasticAgent(specification, DefaultLogsSpecs(log_dir=folder)))
                outcome.append(agent[0].run())
        except BaseException as error:
            outcome.append(error)
        finally:
            specification.rdzv_handler.shutdown()

    agent: list[LocalElasticAgent] = []

    def pass_on() -> None:
        workers = agent[0].get_worker_group().workers if agent else []
        if not workers or any(worker.id is None for worker in workers):
            return  # they are just being started
        while waiting:
            number = waiting.pop(0)
            for worker in workers:
                with suppress(ProcessLookupError):
                    os.kill(worker.id, number)

    def note(number: int, _: Any) -> None:
        # a closed terminal would leave processes that nobody sees
        number = signal.SIGTERM if number == signal.SIGHUP else number
        received.append(signal.Signals(number))
        waiting.append(signal.Signals(number))
        pass_on()

    # The agent lives in a thread: in the main thread it would take the signals, and kill what has not saved in time.
    thread = threading.Thread(target=work)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP):
        signal.signal(number, note)
    thread.start()
    while thread.is_alive():
        thread.join(_DELIVERY)
        pass_on()
    (result,) = outcome
    if isinstance(result, BaseException):
        raise result
    codes = {rank: failure.exitcode for rank, failure in sorted(result.failures.items())}
    return _exit_code(out, codes, processes, received)


def _exit_code(out: Output, codes: dict[int, int], processes: int, received: Sequence[signal.Signals]) -> int:
    """The exit code of the whole; processes that were killed are reported.

    Args:
        out: Where to.
        codes: Exit code of each process that failed, by rank, negative where a signal killed it.
        processes: How many there were.
        received: Signals that were passed on.
    """
    if not codes:
        return 0
    said = [code for code in codes.values() if code > 0]
    if not said and received:
        return INTERRUPTED if signal.SIGINT in received else TERMINATED
    # the agent ends the others by SIGTERM
    killed = {rank: code for rank, code in codes.items() if code < 0 and code != -signal.SIGTERM}
    texts = [
        f"process {rank} of {processes} was ended by {signal.Signals(-code).name}"
        for rank, code in killed.items()
    ]
    hint = f"if the memory ran out: {MEMORY_HINT}" if -signal.SIGKILL in killed.values() else None
    if said:
        for text in texts:
            out.note(f"{text}; {hint}" if hint else text)
        return said[0]
    checkpoint = "the last checkpoint is good: --resume continues from it"
    out.fail(
        "; ".join(texts) or "the processes were ended",
        f"{checkpoint}; {hint}" if hint else checkpoint,
        FAILED,
    )
    return FAILED


def _without_nproc(arguments: Sequence[str]) -> list[str]:
    """A command line without `--nproc N` or `--nproc=N`."""
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
    """Those that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
