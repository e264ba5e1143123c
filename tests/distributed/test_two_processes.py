"""The toy model on two gloo processes: averaged gradients, equal replicas, common decisions, stops and resumes."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from gancli.engine import distributed
from gancli.engine.checkpoint import RunFolder, checkpoints_in, read_checkpoint
from gancli.engine.events import Event, Events
from gancli.engine.loop import Loop
from gancli.errors import RunError
from tests.compiler import needs_compiler
from tests.distributed.ranks import ENGINE_TESTS, METHOD, environment, free_port, on_ranks


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
    first, second = on_ranks(_gradients, tmp_path)
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
    first, second = on_ranks(_decisions, tmp_path)
    same = {"main": 7, "gather": [0, 10], "maximum": 2, "raised": "only here a hint", "mean": 1.0}
    assert first == {**same, "weight": 1.0}
    assert second == {**same, "weight": 2.0}


def _train(rank: int, folder: Path) -> Any:
    from toy import Toy, settings, toy_batch

    model = Toy(seed=rank)  # different weights, which the loop must make equal
    steps = 6 if (folder / "resume").exists() else 4
    name = (folder / "run").read_text() if (folder / "run").exists() else None
    run = RunFolder(folder / name) if name else RunFolder.create(folder, "toy")
    events: list[Event] = []
    loop = Loop(
        model,
        lambda start: (toy_batch(i, rank) for i in range(start, 100)),
        run,
        settings(steps=steps, log_every=2, checkpoint_every=2),
        torch.device("cpu"),
        events=Events(events.append),
    )
    result = loop.run()
    state = {
        name: [p.detach() for p in network.parameters()]
        for name, network in {**model.networks, "averaged": loop.averages.networks["generator"]}.items()
    }
    return {"weights": state, "run": run.path.name, "images": result.images, "last": dict(result.last)} | {
        "warnings": [event.text for event in events if event.kind == "warning"]
    }


def equal(first: dict[str, Any], second: dict[str, Any]) -> bool:
    return all(
        torch.equal(a, b)
        for name in first["weights"]
        for a, b in zip(first["weights"][name], second["weights"][name], strict=True)
    )


@pytest.mark.slow
@pytest.mark.parametrize("break_at_4", [False, True])
def test_replicas_stay_equal_and_resume_exactly(tmp_path: Path, break_at_4: bool) -> None:
    """The toy has spectral norm, batch norm and dropout; each rank has other batches and noise."""
    straight, broken = tmp_path / "straight", tmp_path / "broken"
    straight.mkdir()
    (straight / "resume").touch()
    first, second = on_ranks(_train, straight)
    assert equal(first, second)
    assert first["run"] == second["run"] == "0001-toy"
    assert first["images"] == 6 * 4 * 2
    assert first["last"] == second["last"]
    if break_at_4:
        broken.mkdir()
        stopped, _ = on_ranks(_train, broken)
        assert not equal(stopped, first)
        (broken / "run").write_text("0001-toy")
        (broken / "resume").touch()
        resumed, resumed_second = on_ranks(_train, broken)
        assert equal(resumed, resumed_second)
        assert equal(resumed, first)
        (newest,) = checkpoints_in(broken / "0001-toy" / "checkpoints")[-1:]
        assert len(read_checkpoint(newest).state["random"]) == 2


@pytest.mark.slow
def test_a_checkpoint_of_two_processes_is_continued_by_one_and_by_three(tmp_path: Path) -> None:
    start = tmp_path / "two"
    on_ranks(_train, start)
    for world in (1, 3):
        folder = tmp_path / str(world)
        shutil.copytree(start, folder)
        (folder / "run").write_text("0001-toy")
        (folder / "resume").touch()
        results = on_ranks(_train, folder, world=world)
        assert all(equal(result, results[0]) for result in results)
        assert not equal(results[0], torch.load(start / "0.pt", weights_only=True))
        assert results[0]["images"] == 4 * 4 * 2 + 2 * 4 * world
        (warning,) = results[0]["warnings"]
        assert f"2 until step 4, {world} from here on" in warning
        newest = checkpoints_in(folder / "0001-toy" / "checkpoints")[-1]
        states = [state["torch"] for state in read_checkpoint(newest).state["random"]]
        assert len({bytes(state.tolist()) for state in states}) == world, "each draws numbers of its own"


def _compiled(rank: int, folder: Path) -> Any:
    import torch._inductor.config
    from toy import Toy, settings, toy_batch

    states = []
    for compile in (False, True):
        model = Toy(seed=rank)
        loop = Loop(
            model,
            lambda start: (toy_batch(i, rank) for i in range(start, 100)),
            RunFolder.create(folder, "toy"),
            settings(steps=3, compile=compile),
            torch.device("cpu"),
        )
        with torch._inductor.config.patch(fallback_random=True):  # dropout as in uncompiled networks
            loop.run()
        states.append([p.detach() for network in model.networks.values() for p in network.parameters()])
    return states


@pytest.mark.slow
@needs_compiler
def test_compiled_networks_average_their_gradients_too(tmp_path: Path) -> None:
    first, second = on_ranks(_compiled, tmp_path)
    for plain, compiled, other in zip(*first, second[1], strict=True):
        torch.testing.assert_close(compiled, plain, rtol=1e-4, atol=1e-6)
        assert torch.equal(compiled, other)


def _killed(rank: int, folder: Path, port: int) -> None:
    sys.path.insert(0, str(ENGINE_TESTS))
    from toy import Toy, settings, toy_batch

    class Fatal(Toy):
        """Loop in which rank 1 dies in the middle of step 3."""

        steps = 0

        def generator_terms(self, shared: tuple[Tensor, Tensor]) -> dict[str, Tensor]:
            self.steps += 1
            if rank == 1 and self.steps == 4:
                os.kill(os.getpid(), signal.SIGKILL)
            return super().generator_terms(shared)

    def batches(start: int) -> Iterator[Any]:
        return (toy_batch(i, rank) for i in range(start, 100))

    os.environ |= environment(rank, 2, port)
    try:
        with distributed.process_group(torch.device("cpu")):
            run = RunFolder.create(folder, "toy")
            Loop(Fatal(), batches, run, settings(steps=50, checkpoint_every=2), torch.device("cpu")).run()
    except distributed.LostProcess as error:
        (folder / f"{rank}.txt").write_text(f"{error}\n{error.hint}")


def exit_codes(task: Callable[[int, Path, int], None], folder: Path) -> list[int | None]:
    """Return the exit codes of two processes that run the task with their rank, the folder and a port."""
    context = multiprocessing.get_context(METHOD)
    port = free_port()
    processes = [context.Process(target=task, args=(rank, folder, port)) for rank in (0, 1)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    return [process.exitcode for process in processes]


def test_a_process_that_dies_takes_the_run_down_and_the_last_checkpoint_is_good(tmp_path: Path) -> None:
    assert exit_codes(_killed, tmp_path) == [0, -signal.SIGKILL]
    message, hint = (tmp_path / "0.txt").read_text().splitlines()
    assert "0001-toy: another process of this run has ended" in message
    assert message.endswith("after step 3")
    (good,) = checkpoints_in(tmp_path / "0001-toy" / "checkpoints")
    assert str(good) in hint
    assert read_checkpoint(good).step == 2


def _tells(rank: int, folder: Path, port: int) -> None:
    os.environ |= environment(rank, 2, port)
    with distributed.process_group(torch.device("cpu")):
        pass
    told = folder / f"told-{rank}"
    (folder / f"code-{rank}").write_text(str(distributed.report_once(rank + 2, told.touch)))


def test_one_process_says_why_and_all_end_with_its_exit_code(tmp_path: Path) -> None:
    assert exit_codes(_tells, tmp_path) == [0, 0]
    (told,) = tmp_path.glob("told-*")
    expected = str(int(told.name[-1]) + 2)
    assert [(tmp_path / f"code-{rank}").read_text() for rank in (0, 1)] == [expected, expected]
