"""The rank of a process, read from what torchrun or srun set."""

from __future__ import annotations

import pytest

from gancli.engine.ranks import ProcessRank, process_rank
from gancli.errors import UsageError

TORCHRUN = {
    "RANK": "5",
    "WORLD_SIZE": "8",
    "LOCAL_RANK": "1",
    "MASTER_ADDR": "node1",
    "MASTER_PORT": "29500",
}
SRUN = {
    "SLURM_JOB_ID": "123456",
    "SLURM_PROCID": "3",
    "SLURM_LOCALID": "1",
    "SLURM_STEP_NUM_TASKS": "4",
    "SLURM_STEP_NODELIST": "gpu-[007-008,012],cpu1",
}


def test_torchrun_says_where_this_process_is() -> None:
    here = process_rank(TORCHRUN)
    assert here == ProcessRank(5, 8, 1, "node1", 29500)
    assert here.variables() == TORCHRUN
    assert process_rank({**TORCHRUN, **SRUN}) == here  # torchrun within a job


def test_one_process_is_alone() -> None:
    batch_script = {"SLURM_JOB_ID": "1", "SLURM_NTASKS": "4", "SLURM_PROCID": "0", "SLURM_LOCALID": "0"}
    for environment in ({}, {"WORLD_SIZE": "1", "RANK": "0"}, {"SLURM_STEP_NUM_TASKS": "1"}, batch_script):
        assert process_rank(environment) == ProcessRank()


@pytest.mark.parametrize(
    ("nodes", "host"),
    [
        ("gpu-[007-008,012],cpu1", "gpu-007"),
        ("gpu-[3,5]", "gpu-3"),
        ("alone", "alone"),
        ("a1,b[2-3]", "a1"),
        ("n7.cluster.example", "n7.cluster.example"),
    ],
)
def test_tasks_of_srun_meet_on_the_first_host(nodes: str, host: str) -> None:
    here = process_rank({**SRUN, "SLURM_STEP_NODELIST": nodes})
    assert (here.rank, here.world_size, here.local_rank, here.main_address) == (3, 4, 1, host)
    assert 12000 <= here.main_port < 32000
    elsewhere = process_rank({**SRUN, "MASTER_ADDR": "10.0.0.1", "MASTER_PORT": "4000"})
    assert (elsewhere.main_address, elsewhere.main_port) == ("10.0.0.1", 4000)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"RANK": None}, "RANK is not set"),
        ({"MASTER_PORT": "often"}, "not whole numbers"),
        ({"RANK": "8"}, "rank 8 of 8"),
        ({"MASTER_ADDR": ""}, "rank 0 at ''"),
    ],
)
def test_variables_that_do_not_fit_are_named(change: dict[str, str | None], message: str) -> None:
    changed = {name: value for name, value in {**TORCHRUN, **change}.items() if value is not None}
    with pytest.raises(UsageError, match=message):
        process_rank(changed)
