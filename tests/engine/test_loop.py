"""The loop: exact resume, signals, limits, NaN, failing grids and metrics, what it writes."""

from __future__ import annotations

import csv
import functools
import math
import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import toy
from PIL import Image
from torch import Tensor, nn
from toy import Toy, ToyBatch, toy_batch, toy_batches, toy_loop

from gancli.engine.checkpoint import RunFolder, checkpoints_in, read_checkpoint, step_of
from gancli.engine.events import Event, Events
from gancli.engine.phases import Phase
from gancli.errors import RunError


def weights(run: RunFolder, step: int) -> list[bytes]:
    folder = run.checkpoints / f"step-{step:08d}"
    return [(folder / f"{name}.safetensors").read_bytes() for name in ("networks", "averaged")]


def log(run: RunFolder) -> list[dict[str, str]]:
    """Return the rows of log.csv without the columns that depend on the clock and the machine."""
    with run.log.open(newline="") as file:
        rows = list(csv.DictReader(file))
    varying = ("seconds", "images_per_second", "memory_mb")
    return [{key: value for key, value in row.items() if key not in varying} for row in rows]


def run_script(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, toy.__file__, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[2])


@pytest.fixture
def two_runs(tmp_path: Path) -> tuple[RunFolder, RunFolder]:
    return RunFolder.create(tmp_path, "straight"), RunFolder.create(tmp_path, "broken")


# --- exact resume


@pytest.mark.slow
@pytest.mark.parametrize("killed_at", [10, 13])
def test_20_steps_are_10_kill_and_10(two_runs: tuple[RunFolder, RunFolder], killed_at: int) -> None:
    """SIGKILL another process, so that its random numbers, weights and threads are gone."""
    straight, broken = two_runs
    assert run_script(straight.path, "straight").returncode == 0
    assert run_script(broken.path, "kill", killed_at).returncode == -signal.SIGKILL
    assert [step_of(path) for path in checkpoints_in(broken.checkpoints)] == [10]
    assert run_script(broken.path, "straight").returncode == 0
    assert weights(broken, 20) == weights(straight, 20)
    assert log(broken) == log(straight)
    states = [read_checkpoint(run.checkpoints / "step-00000020").state for run in two_runs]
    for name in ("discriminator", "generator"):
        ours, theirs = (state["optimizers"][name]["state"] for state in states)
        assert all(torch.equal(ours[i][key], theirs[i][key]) for i in theirs for key in theirs[i])


def test_another_seed_takes_another_course(two_runs: tuple[RunFolder, RunFolder]) -> None:
    first, second = two_runs
    toy_loop(first).run()
    toy_loop(second, seed=1).run()
    assert weights(first, 20) != weights(second, 20)


def test_an_interrupted_interval_is_logged_as_if_it_had_not_been(
    two_runs: tuple[RunFolder, RunFolder],
) -> None:
    straight, broken = two_runs
    toy_loop(straight, log_every=7).run()
    toy_loop(broken, log_every=7, batches=lambda start: toy_batches(start, 13), checkpoint_every=13).run()
    toy_loop(broken, log_every=7).run()
    rows = log(broken)
    assert [row["step"] for row in rows] == ["7", "13", "14", "20"]
    assert weights(broken, 20) == weights(straight, 20)


def test_looking_at_the_networks_changes_nothing(two_runs: tuple[RunFolder, RunFolder]) -> None:
    straight, watched = two_runs

    def sample(networks: Mapping[str, nn.Module], step: int) -> Image.Image:
        assert not any(network.training for network in networks.values())
        random.random(), np.random.normal()
        networks["generator"](torch.randn(3, 5))
        return Image.new("RGB", (4, 4))

    def evaluate(networks: Mapping[str, nn.Module], step: int) -> dict[str, float]:
        return {"value": float(networks["discriminator"](torch.randn(3, 3, 8, 8)).sum())}

    toy_loop(straight).run()
    model = Toy()
    toy_loop(watched, model, sample=sample, sample_every=3, evaluate=evaluate, evaluate_every=4).run()
    assert all(module.training for network in model.networks.values() for module in network.modules())
    assert log(watched) == log(straight)
    # Eval mode runs no power iteration of the spectral norm.
    assert weights(watched, 20) == weights(straight, 20)


def test_resuming_from_an_earlier_checkpoint_abandons_the_later_ones(run: RunFolder) -> None:
    toy_loop(run, checkpoint_every=5).run()
    run.write_recipe("")
    earlier = RunFolder.open(run.checkpoints / "step-00000010")
    toy_loop(earlier, steps=15, checkpoint_every=15).run()
    assert [step_of(path) for path in checkpoints_in(run.checkpoints)] == [10, 15]
    assert [row["step"] for row in log(run)] == ["4", "8", "12", "15"]


def test_a_finished_run_resumed_does_nothing_but_restore_a_missing_export(run: RunFolder) -> None:
    exported: list[int] = []
    options: dict[str, Any] = {"export": lambda networks, folder, step: exported.append(step)}
    toy_loop(run, **options).run()
    before = run.log.read_bytes(), weights(run, 20)
    exported.clear()
    assert toy_loop(run, evaluate=lambda *_: {"a": 1.0}, evaluate_every=7, **options).run().step == 20
    assert (run.log.read_bytes(), weights(run, 20)) == before
    assert exported == []
    run.model.rmdir()
    toy_loop(run, **options).run()
    assert exported == [20]


def test_a_damaged_checkpoint_stops_the_resume_and_names_a_good_one(run: RunFolder) -> None:
    toy_loop(run).run()
    broken = run.checkpoints / "step-00000020" / "state.pt"
    broken.write_bytes(broken.read_bytes()[:-1])
    with pytest.raises(RunError) as caught:
        toy_loop(run).run()
    assert str(broken) in str(caught.value)
    assert "step-00000010" in (caught.value.hint or "")


def test_networks_of_another_shape_are_refused_by_name(run: RunFolder) -> None:
    toy_loop(run, steps=1).run()
    model = Toy()
    model.generator[0] = nn.Linear(4, 64)
    with pytest.raises(RunError, match="network 'generator' does not fit"):
        toy_loop(run, model, steps=2).run()


def test_a_run_of_two_processes_is_continued_by_one_with_a_warning(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr("gancli.engine.distributed.gather", lambda value: [value, value])
        toy_loop(run, steps=1).run()
    events: list[Event] = []
    result = toy_loop(run, steps=2, events=Events(events.append)).run()
    assert result.step == 2
    (warning,) = (event for event in events if event.kind == "warning")
    assert "2 until step 1, 1 from here on" in warning.text
    assert (warning.data["processes_before"], warning.data["processes"]) == (2, 1)
    events.clear()
    toy_loop(run, steps=3, events=Events(events.append)).run()
    assert not [event for event in events if event.kind == "warning"]


# --- stopping


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGUSR1, 143)]
)
def test_a_signal_saves_at_the_step_boundary(run: RunFolder, number: signal.Signals, code: int) -> None:
    command = [sys.executable, toy.__file__, str(run.path), "endless"]
    root = Path(__file__).parents[2]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=root) as process:
        assert process.stdout is not None
        for line in process.stdout:  # the handlers are in place before the first line is printed
            if "step 3 " in line:
                process.send_signal(number)
                break
        rest = process.stdout.read()
        assert process.wait() == code
    (newest,) = checkpoints_in(run.checkpoints)[-1:]
    assert f"stopped by {number.name} at step {step_of(newest)}" in rest
    assert read_checkpoint(newest).step == step_of(newest)
    assert log(run)[-1]["step"] == str(step_of(newest))


def signals_in_batch(step: int, *numbers: signal.Signals) -> Any:
    def batches(start: int) -> Iterator[ToyBatch]:
        for i, batch in enumerate(toy_batches(start), start):
            if i == step:
                for number in numbers:
                    os.kill(os.getpid(), number)
            yield batch

    return batches


def test_the_step_under_way_is_finished_and_handlers_are_put_back(run: RunFolder) -> None:
    before = signal.getsignal(signal.SIGINT)
    result = toy_loop(run, batches=signals_in_batch(4, signal.SIGINT)).run()
    assert (result.step, result.interrupted, result.exit_code) == (5, "SIGINT", 130)
    assert signal.getsignal(signal.SIGINT) is before


def test_a_second_interrupt_quits_at_once(run: RunFolder) -> None:
    with pytest.raises(KeyboardInterrupt):
        toy_loop(run, batches=signals_in_batch(4, signal.SIGINT, signal.SIGINT)).run()
    assert checkpoints_in(run.checkpoints) == []


def test_workers_killed_by_the_same_signal_do_not_spoil_the_stop(run: RunFolder) -> None:
    def batches(start: int) -> Iterator[ToyBatch]:
        yield from toy_batches(start, 3)
        os.kill(os.getpid(), signal.SIGTERM)
        raise RuntimeError("DataLoader worker (pid 1) is killed by signal: Terminated")

    result = toy_loop(run, batches=batches).run()
    assert (result.step, result.exit_code) == (3, 143)
    assert checkpoints_in(run.checkpoints)


def test_a_loader_that_fails_by_itself_is_not_hidden(run: RunFolder) -> None:
    def batches(start: int) -> Iterator[ToyBatch]:
        yield from toy_batches(start, 3)
        raise RuntimeError("broken")

    with pytest.raises(RuntimeError, match="broken"):
        toy_loop(run, batches=batches).run()


def test_minutes_count_over_resumed_sessions(run: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    """Clock that advances by a second whenever it is read."""
    now = iter(range(100_000))
    monkeypatch.setattr("gancli.engine.loop.time.monotonic", lambda: float(next(now)))
    first = toy_loop(run, steps=None, minutes=0.5).run()
    assert first.seconds >= 30
    assert toy_loop(run, steps=None, minutes=0.5).run().step == first.step
    second = toy_loop(run, steps=None, minutes=1.0).run()
    assert 60 <= second.seconds < 70
    assert second.step > first.step


def test_batches_that_run_out_end_the_run(run: RunFolder) -> None:
    result = toy_loop(run, steps=None, batches=lambda start: toy_batches(start, 7)).run()
    assert (result.step, result.images, result.interrupted, result.exit_code) == (7, 28, None, 0)
    assert step_of(checkpoints_in(run.checkpoints)[-1]) == 7


# --- NaN and infinity


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_loss_that_is_no_number_names_phase_term_and_step(run: RunFolder, bad: float) -> None:
    model = Toy()
    terms = model.phases[0].loss

    def poisoned(shared: Any) -> dict[str, Tensor]:
        values = dict(terms(shared))
        return values | {"fake": values["fake"] * bad} if loop.step == 12 else values

    model.phases[0].loss = poisoned
    loop = toy_loop(run, model)
    with pytest.raises(
        RunError, match=rf"loss term 'fake' of phase 'discriminator' is {bad} at step 13"
    ) as caught:
        loop.run()
    assert "step-00000010" in (caught.value.hint or "")
    assert read_checkpoint(run.checkpoints / "step-00000010").step == 10
    assert all(p.isfinite().all() for network in model.networks.values() for p in network.parameters())


def test_a_gradient_that_is_no_number_never_reaches_the_weights(run: RunFolder) -> None:
    model = Toy()
    terms = model.phases[1].loss

    def poisoned(shared: Any) -> dict[str, Tensor]:
        # The slope of the root at 0 is infinite, and 0 * inf is NaN; the value itself is 0.
        return {**terms(shared), "root": (shared[1] * 0).sum().abs().sqrt()}

    model.phases[1].loss = poisoned
    with pytest.raises(RunError, match="the gradient of phase 'generator' is nan at step 1"):
        toy_loop(run, model).run()
    assert all(p.isfinite().all() for p in model.generator.parameters())


# --- grids, metrics, exports


def test_a_failing_grid_or_metric_is_a_warning(run: RunFolder) -> None:
    def fail(*_: object) -> Any:
        raise ValueError("no fonts")

    seen: list[Event] = []
    options: dict[str, Any] = {"sample": fail, "sample_every": 10, "evaluate": fail, "evaluate_every": 10}
    assert toy_loop(run, events=Events(seen.append), **options).run().step == 20
    warnings = [event for event in seen if event.kind == "warning"]
    assert [event.data["step"] for event in warnings] == [0, 10, 10, 20, 20]
    assert all("no fonts" in event.text for event in warnings)


def test_grids_are_drawn_from_the_averaged_generator(run: RunFolder) -> None:
    model, drawn = Toy(), []

    def sample(networks: Mapping[str, nn.Module], step: int) -> Image.Image:
        drawn.append(
            (step, networks["generator"] is model.generator, networks["discriminator"] is model.discriminator)
        )
        return Image.new("RGB", (4, 4))

    toy_loop(run, model, sample=sample, sample_every=8).run()
    assert drawn == [(0, False, True), (8, False, True), (16, False, True), (20, False, True)]
    names = sorted(path.name for path in run.samples.iterdir())
    assert names == ["step-0000000.png", "step-0000008.png", "step-0000016.png", "step-0000020.png"]


@pytest.mark.parametrize(("direction", "best"), [("max", 9), ("min", 6)])
def test_the_best_checkpoint_is_kept_and_exported_also_after_a_resume(
    run: RunFolder, direction: Any, best: int
) -> None:
    values = {3: 2.0, 6: 1.0, 9: 4.0, 12: 3.0, 15: 2.0, 18: 2.0, 20: math.nan}
    options: dict[str, Any] = {
        "evaluate": lambda networks, step: {"score": values[step]},
        "evaluate_every": 3,
        "best": ("score", direction),
        "export": lambda networks, folder, step: (folder / "step").write_text(str(step)),
        "keep": 1,
    }
    toy_loop(run, steps=12, **options).run()
    toy_loop(run, **options).run()
    assert [step_of(path) for path in checkpoints_in(run.checkpoints)] == [best, 20]
    assert (run.model / "step").read_text() == "20"
    assert (run.best_model / "step").read_text() == str(best)
    with run.metrics.open(newline="") as file:
        assert {int(row["step"]): float(row["score"]) for row in csv.DictReader(file)}[9] == 4.0


def test_epochs_are_announced_once_before_the_checkpoint(run: RunFolder) -> None:
    seen: list[int] = []
    model = Toy()

    def halve(epoch: int) -> None:
        seen.append(epoch)
        for group in model.phases[0].optimizer.param_groups:
            group["lr"] = 1e-3 * 0.5**epoch

    toy_loop(run, model, steps=10, on_epoch=halve).run()
    model = Toy()
    toy_loop(run, model, on_epoch=halve).run()
    assert seen == [1, 2, 3, 4]
    state = read_checkpoint(run.checkpoints / "step-00000010").state
    assert state["optimizers"]["discriminator"]["param_groups"][0]["lr"] == 1e-3 / 4


def test_a_row_holds_the_means_over_its_interval(run: RunFolder) -> None:
    events: list[Event] = []
    each: list[float] = []
    model = Toy()

    def terms(shared: Any) -> dict[str, Tensor]:
        values = model.generator_terms(shared)
        each.append(values["adversarial"].item())
        return values

    model.phases[1].loss = terms
    toy_loop(run, model, steps=8, events=Events(events.append)).run()
    rows = log(run)
    assert [float(row["generator.adversarial"]) for row in rows] == pytest.approx(
        [sum(each[:4]) / 4, sum(each[4:]) / 4], rel=1e-5
    )
    assert [row["images_seen"] for row in rows] == ["16", "32"]
    progress = [event for event in events if event.kind == "progress"]
    assert progress[0].text.startswith("step 4 · 0.8 epochs · discriminator ")
    assert progress[0].text.endswith(" left")


# --- settings


def test_bf16_runs_forwards_under_autocast_and_keeps_float32_weights(run: RunFolder) -> None:
    model, seen = Toy(), []
    begin = model.begin
    model.begin = lambda batch: seen.append(torch.is_autocast_enabled("cpu")) or begin(batch)  # type: ignore[method-assign]
    toy_loop(run, model, steps=2, precision="bf16").run()
    assert seen == [True, True]
    assert not torch.is_autocast_enabled("cpu")
    assert {p.dtype for p in model.generator.parameters()} == {torch.float32}


def test_channels_last_and_global_switches(run: RunFolder) -> None:
    model, seen = Toy(), []
    begin = model.begin

    def look(batch: ToyBatch) -> Any:
        seen.append((torch.are_deterministic_algorithms_enabled(), torch.backends.cudnn.allow_tf32))
        return begin(batch)

    model.begin = look  # type: ignore[method-assign]
    before = torch.backends.cudnn.allow_tf32
    loop = toy_loop(run, model, steps=1, deterministic=True)
    assert model.generator[5].weight.is_contiguous(memory_format=torch.channels_last)
    loop.run()
    assert seen == [(True, False)]
    assert not torch.are_deterministic_algorithms_enabled()
    assert torch.backends.cudnn.allow_tf32 == before


def test_no_average_without_a_decay(run: RunFolder) -> None:
    seen: list[bool] = []
    model = Toy()

    def export(networks: Mapping[str, nn.Module], folder: Path, step: int) -> None:
        seen.append(networks["generator"] is model.generator)

    toy_loop(run, model, steps=2, ema_decay=None, export=export).run()
    assert seen == [True]


def test_batches_start_at_the_step_of_the_run(run: RunFolder) -> None:
    starts: list[int] = []

    def batches(start: int) -> Iterator[ToyBatch]:
        starts.append(start)
        return iter([toy_batch(i) for i in range(start, 30)])

    toy_loop(run, steps=6, batches=batches).run()
    toy_loop(run, steps=8, batches=batches).run()
    assert starts == [0, 6]


class Linear:
    """Model without batch norm or dropout that records the input of each phase."""

    averaged: tuple[str, ...] = ()

    def __init__(self) -> None:
        torch.manual_seed(0)
        self.generator, self.discriminator = torch.nn.Linear(3, 3), torch.nn.Linear(3, 1)
        self.networks = {"generator": self.generator, "discriminator": self.discriminator}
        self.seen: dict[str, list[torch.Tensor]] = {"discriminator": [], "generator": []}
        self.graphs: list[bool] = []
        self.phases = [
            Phase(
                name,
                {name: network},
                torch.optim.SGD(network.parameters(), lr=0.1),
                functools.partial(self.terms, name),
            )
            for name, network in (("discriminator", self.discriminator), ("generator", self.generator))
        ]

    def begin(self, batch: ToyBatch) -> torch.Tensor:
        noise = torch.randn(len(batch.images), 3)
        fake: torch.Tensor = self.generator(batch.images.mean(dim=(2, 3)) + noise)
        return fake

    def terms(self, name: str, fake: torch.Tensor) -> dict[str, torch.Tensor]:
        self.seen[name].append(fake.detach().clone())
        self.graphs.append(fake.requires_grad)
        if name == "discriminator":
            fake = fake.detach()
        sign = 1 if name == "discriminator" else -1
        return {"score": (sign * self.discriminator(fake)).square().mean() + 0.1 * torch.rand(())}


def test_gradients_of_several_batches_are_averaged(run: RunFolder) -> None:
    accumulated = Linear()
    toy_loop(
        run, accumulated, batches=toy_batches, steps=1, batch=12, grad_accumulation=3, ema_decay=None
    ).run()  # type: ignore[arg-type]
    seen = accumulated.seen
    assert len(seen["discriminator"]) == len(seen["generator"]) == 3
    for one, other in zip(seen["discriminator"], seen["generator"], strict=True):
        assert torch.equal(one, other)  # each batch the same noise in either phase
    assert len({tuple(fake.flatten().tolist()) for fake in seen["generator"]}) == 3
    assert accumulated.graphs == [False] * 3 + [True] * 3  # no graph that the phase does not use

    whole = Linear()
    before = whole.discriminator.weight.detach().clone()
    loss = whole.discriminator(torch.cat(seen["discriminator"])).square().mean()
    (gradient,) = torch.autograd.grad(loss, whole.discriminator.weight)
    torch.testing.assert_close(accumulated.discriminator.weight.detach(), before - 0.1 * gradient)


def test_a_step_of_several_batches_takes_the_next_ones_also_after_a_resume(
    two_runs: tuple[RunFolder, RunFolder],
) -> None:
    first, second = two_runs
    asked: list[int] = []

    def batches(start: int) -> Iterator[ToyBatch]:
        asked.append(start)
        return toy_batches(start)

    options: dict[str, Any] = {"grad_accumulation": 2, "batch": 8, "batches": batches}
    straight = toy_loop(first, steps=6, **options)
    straight.run()
    toy_loop(second, steps=4, **options).run()
    resumed = toy_loop(second, steps=6, **options)
    result = resumed.run()
    assert asked == [0, 0, 8]
    assert result.images == 6 * 8
    for name, network in straight.trainable.networks.items():
        theirs = resumed.trainable.networks[name].state_dict()
        assert all(torch.equal(tensor, theirs[key]) for key, tensor in network.state_dict().items())


def test_a_step_that_lacks_a_batch_is_not_taken(run: RunFolder) -> None:
    result = toy_loop(
        run, batches=lambda start: toy_batches(start, 5), steps=None, grad_accumulation=2, batch=8
    ).run()
    assert result.step == 2
