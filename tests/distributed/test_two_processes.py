"""Two gloo processes: averaged gradients, equal replicas, decisions taken together."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.multiprocessing
from torch import nn

from gancli.engine import distributed
from gancli.engine.checkpoint import RunFolder, checkpoints_in, read_checkpoint
from gancli.engine.loop import Loop
from gancli.errors import RunError

ENGINE_TESTS = Path(__file__).parents[1] / "engine"


def _start(rank: int, task: Callable[[int, Path], Any], folder: Path, port: int) -> None:
    torch.set_num_threads(1)
    sys.path.insert(0, str(ENGINE_TESTS))
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2"}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    with distributed.process_group(torch.device("cpu")):
        torch.save(task(rank, folder), folder / f"{rank}.pt")


def both(task: Callable[[int, Path], Any], folder: Path) -> tuple[Any, Any]:
    """What each of two processes got from `task`."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    torch.multiprocessing.start_processes(_start, (task, folder, port), nprocs=2, start_method="fork")
    first, second = (torch.load(folder / f"{rank}.pt", weights_only=True) for rank in (0, 1))
    return first, second


def _gradients(rank: int, _: Path) -> Any:
    torch.manual_seed(rank)
    shared, head, unused = (
        nn.Conv2d(2, 3, 3).to(memory_format=torch.channels_last),
        nn.Linear(2, 1),
        nn.Linear(1, 1),
    )
    networks = [shared, head, unused]
    distributed.broadcast(networks)
    weights = [p.detach().clone() for network in networks for p in network.parameters()]
    # Rank 1 does not use the head, nobody uses the last network.
    loss = shared(torch.full((1, 2, 4, 4), 1.0 + rank)).square().sum()
    if rank == 0:
        loss = loss + head(torch.ones(1, 2)).sum()
    parameters = [p for network in networks for p in network.parameters()]
    loss.backward()
    own = [torch.zeros_like(p) if p.grad is None else p.grad.clone() for p in parameters]
    values = distributed.average_gradients(parameters, torch.tensor([float(rank), 5.0]))
    return weights, own, [p.grad for p in parameters], values


def test_gradients_are_the_mean_of_both_with_missing_ones_as_zero(tmp_path: Path) -> None:
    first, second = both(_gradients, tmp_path)
    for ours, theirs in zip(first[0], second[0], strict=True):
        assert torch.equal(ours, theirs)  # broadcast
    for own, other, mean, same in zip(first[1], second[1], first[2], second[2], strict=True):
        torch.testing.assert_close(mean, (own + other) / 2)
        assert torch.equal(mean, same)
        assert mean.stride() == own.stride()
    assert first[3].tolist() == second[3].tolist() == [0.5, 5.0]


def _decisions(rank: int, _: Path) -> Any:
    def fail() -> None:
        raise RunError("only here", "a hint")

    try:
        distributed.from_main(fail)
    except RunError as error:
        raised = f"{error} {error.hint}"
    network = nn.BatchNorm1d(1)
    with torch.no_grad():
        network.weight.fill_(rank + 1.0)
        network.running_mean.fill_(rank + 1.0)  # type: ignore[union-attr]
    distributed.broadcast([network], buffers_only=True)
    return {
        "main": distributed.from_main(lambda: rank + 7),
        "gather": distributed.gather(rank * 10),
        "maximum": distributed.maximum(rank * 2, torch.device("cpu")),
        "raised": raised,
        "weight": network.weight.item(),
        "mean": float(network.running_mean),  # type: ignore[arg-type]
    }


def test_processes_decide_together(tmp_path: Path) -> None:
    first, second = both(_decisions, tmp_path)
    same = {"main": 7, "gather": [0, 10], "maximum": 2, "raised": "only here a hint", "mean": 1.0}
    assert first == {**same, "weight": 1.0}
    assert second == {**same, "weight": 2.0}


def _train(rank: int, folder: Path) -> Any:
    from toy import Toy, settings, toy_batch

    model = Toy(seed=rank)  # different weights, which the loop must make equal
    steps = 6 if (folder / "resume").exists() else 4
    name = (folder / "run").read_text() if (folder / "run").exists() else None
    run = RunFolder(folder / name) if name else RunFolder.create(folder, "toy")
    loop = Loop(
        model,
        lambda start: (toy_batch(i, rank) for i in range(start, 100)),
        run,
        settings(steps=steps, log_every=2, checkpoint_every=2),
        torch.device("cpu"),
    )
    result = loop.run()
    state = {
        name: [p.detach() for p in network.parameters()]
        for name, network in {**model.networks, "averaged": loop.averages.networks["generator"]}.items()
    }
    return {"weights": state, "run": run.path.name, "images": result.images, "last": dict(result.last)}


def equal(first: dict[str, Any], second: dict[str, Any]) -> bool:
    return all(
        torch.equal(a, b)
        for name in first["weights"]
        for a, b in zip(first["weights"][name], second["weights"][name], strict=True)
    )


@pytest.mark.slow
@pytest.mark.parametrize("break_at_4", [False, True])
def test_replicas_stay_equal_and_resume_exactly(tmp_path: Path, break_at_4: bool) -> None:
    """Spectral norm, batch norm and dropout, different batches and noise in each process."""
    straight, broken = tmp_path / "straight", tmp_path / "broken"
    straight.mkdir()
    (straight / "resume").touch()
    first, second = both(_train, straight)
    assert equal(first, second)
    assert first["run"] == second["run"] == "0001-toy"
    assert first["images"] == 6 * 4 * 2
    assert first["last"] == second["last"]
    if break_at_4:
        broken.mkdir()
        stopped, _ = both(_train, broken)
        assert not equal(stopped, first)
        (broken / "run").write_text("0001-toy")
        (broken / "resume").touch()
        resumed, resumed_second = both(_train, broken)
        assert equal(resumed, resumed_second)
        assert equal(resumed, first)
        (newest,) = checkpoints_in(broken / "0001-toy" / "checkpoints")[-1:]
        assert len(read_checkpoint(newest).state["random"]) == 2
