"""Which of the processes of one training this one is, from what torchrun or srun set; loads no torch."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass

from gancli.errors import UsageError


@dataclass(frozen=True)
class Place:
    """The place of this process among those that train together.

    Attributes:
        rank: Its number, from 0; process 0 speaks and writes.
        world: How many there are, on all machines.
        local_rank: Its number among those of its machine, from 0.
        address: Where process 0 is met, a host's name or address; "" where there is one process.
        port: Of that address; 0 where there is one process.
    """

    rank: int = 0
    world: int = 1
    local_rank: int = 0
    address: str = ""
    port: int = 0

    def variables(self) -> dict[str, str]:
        """The environment variables by which torch.distributed knows the place."""
        return {
            "RANK": str(self.rank),
            "WORLD_SIZE": str(self.world),
            "LOCAL_RANK": str(self.local_rank),
            "MASTER_ADDR": self.address,
            "MASTER_PORT": str(self.port),
        }


def place(environment: Mapping[str, str] = os.environ) -> Place:
    """This process's place: as torchrun says (RANK, WORLD_SIZE, …), else as srun does (SLURM_…), else alone.

    Of Slurm's variables only those count that a job step has: a batch script, which runs once, has the others too.

    Raises:
        UsageError: The variables contradict each other, or one is missing.
    """
    if "WORLD_SIZE" in environment:
        names = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_PORT")
        if environment["WORLD_SIZE"] == "1":
            return Place()
        address = environment.get("MASTER_ADDR", "")
    elif int(environment.get("SLURM_STEP_NUM_TASKS", "1")) > 1:
        names = ("SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "SLURM_LOCALID", "MASTER_PORT")
        job = int(environment.get("SLURM_JOB_ID", "0"))
        # as many ports as keep two jobs of one machine apart, below those that the system hands out itself
        environment = {"MASTER_PORT": str(12000 + job % 20000), **environment}
        address = environment.get("MASTER_ADDR") or _first_host(environment.get("SLURM_STEP_NODELIST", ""))
    else:
        return Place()
    try:
        rank, world, local_rank, port = (int(environment[name]) for name in names)
    except KeyError as error:
        raise UsageError(
            f"{error.args[0]} is not set, though there are several processes",
            "start them with --nproc, torchrun or srun, which set it",
        ) from None
    except ValueError as error:
        raise UsageError(f"{', '.join(names)}: not whole numbers ({error})") from None
    if not (0 <= local_rank <= rank < world and address):
        raise UsageError(
            f"process {rank} of {world}, number {local_rank} on its machine, led by {address!r}: this cannot be",
            "start the processes with --nproc, torchrun or srun",
        )
    return Place(rank, world, local_rank, address, port)


def speaks_for_machine() -> bool:
    """Whether this process says what all processes of its machine would say that know nothing of each other yet."""
    return os.environ.get("WORLD_SIZE", "1") == "1" or os.environ.get("LOCAL_RANK", "0") == "0"


def _first_host(nodes: str) -> str:
    """The first host of a Slurm node list, as gpu-[007-009,012] or a1,a2."""
    match = re.match(r"([^,\[]*)(?:\[(\w+))?", nodes)
    return match[1] + (match[2] or "") if match else ""
