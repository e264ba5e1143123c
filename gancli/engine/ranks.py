"""Rank of this process among those that train together, read from what torchrun or srun set. Loads no torch."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass

from gancli.errors import UsageError


@dataclass(frozen=True)
class ProcessRank:
    """A process and the group it trains in.

    Attributes:
        rank: Number of the process in the group, from 0. Rank 0 reports and writes files.
        world_size: Number of processes, on all machines.
        local_rank: Number of the process on its machine, from 0.
        main_address: Host name or address of rank 0; "" for a single process.
        main_port: Port on which rank 0 listens; 0 for a single process.
    """

    rank: int = 0
    world_size: int = 1
    local_rank: int = 0
    main_address: str = ""
    main_port: int = 0

    def variables(self) -> dict[str, str]:
        """Return the environment variables that torch.distributed reads."""
        return {
            "RANK": str(self.rank),
            "WORLD_SIZE": str(self.world_size),
            "LOCAL_RANK": str(self.local_rank),
            "MASTER_ADDR": self.main_address,
            "MASTER_PORT": str(self.main_port),
        }


def process_rank(environment: Mapping[str, str] = os.environ) -> ProcessRank:
    """Return the rank that torchrun (RANK, WORLD_SIZE, …) or srun (SLURM_…) gave this process.

    Of Slurm's variables, only those of a job step count: a batch script has the others too, but runs once.

    Raises:
        UsageError: The variables contradict each other, or one is missing.
    """
    if "WORLD_SIZE" in environment:
        names = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_PORT")
        if environment["WORLD_SIZE"] == "1":
            return ProcessRank()
        address = environment.get("MASTER_ADDR", "")
    elif int(environment.get("SLURM_STEP_NUM_TASKS", "1")) > 1:
        names = ("SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "SLURM_LOCALID", "MASTER_PORT")
        job = int(environment.get("SLURM_JOB_ID", "0"))
        # Enough ports to keep two jobs on one machine apart, below those that the system assigns itself.
        environment = {"MASTER_PORT": str(12000 + job % 20000), **environment}
        address = environment.get("MASTER_ADDR") or _first_host(environment.get("SLURM_STEP_NODELIST", ""))
    else:
        return ProcessRank()
    try:
        rank, world_size, local_rank, port = (int(environment[name]) for name in names)
    except KeyError as error:
        raise UsageError(
            f"{error.args[0]} is not set, though there are several processes",
            "start them with --nproc, torchrun or srun, which set it",
        ) from None
    except ValueError as error:
        raise UsageError(f"{', '.join(names)}: not whole numbers ({error})") from None
    if not (0 <= local_rank <= rank < world_size and address):
        raise UsageError(
            f"rank {rank} of {world_size}, local rank {local_rank}, rank 0 at {address!r}: these cannot be right",
            "start the processes with --nproc, torchrun or srun",
        )
    return ProcessRank(rank, world_size, local_rank, address, port)


def is_local_main_process() -> bool:
    """Return whether this process reports what concerns its whole machine, before any group exists."""
    return os.environ.get("WORLD_SIZE", "1") == "1" or os.environ.get("LOCAL_RANK", "0") == "0"


def _first_host(nodes: str) -> str:
    """Return the first host of a Slurm node list such as gpu-[007-009,012] or a1,a2."""
    match = re.match(r"([^,\[]*)(?:\[(\w+))?", nodes)
    return match[1] + (match[2] or "") if match else ""
