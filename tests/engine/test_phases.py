"""Parameters that require gradients in each phase; Adam in any memory layout."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from toy import Toy, ToyBatch, toy_loop

from gancli.engine.checkpoint import RunFolder
from gancli.engine.events import Event, Events
from gancli.engine.phases import adam


def grads_required(toy: Toy) -> dict[str, bool]:
    return {
        name: any(p.requires_grad for p in network.parameters()) for name, network in toy.networks.items()
    }


def test_only_the_phases_networks_require_gradients(run: RunFolder) -> None:
    toy, seen = Toy(), {}
    begin = toy.begin

    def spy(name: str, function: Callable[[Any], Any]) -> Callable[[Any], Any]:
        def wrapped(argument: Any) -> Any:
            seen[name] = grads_required(toy)
            return function(argument)

        return wrapped

    toy.begin = spy("begin", begin)  # type: ignore[method-assign]
    for phase in toy.phases:
        phase.loss = spy(phase.name, phase.loss)
    toy_loop(run, toy, steps=1).run()
    assert seen == {
        "begin": {"generator": True, "discriminator": True},
        "discriminator": {"generator": False, "discriminator": True},
        "generator": {"generator": True, "discriminator": False},
    }


def test_what_no_phase_trains_gets_no_gradient(run: RunFolder) -> None:
    """It requires a gradient nevertheless, because a model may differentiate by it."""
    toy = Toy()
    begin = toy.begin

    def judged(batch: ToyBatch) -> tuple[Tensor, Tensor]:
        real, fake = begin(batch)
        seen.append(real.requires_grad_())
        return real, fake

    seen: list[Tensor] = []
    toy.begin = judged  # type: ignore[method-assign]
    toy_loop(run, toy, steps=1).run()
    assert [real.grad for real in seen] == [None]


def test_every_trained_network_moves_and_a_frozen_parameter_never_does(run: RunFolder) -> None:
    toy = Toy()
    frozen = toy.generator[0].weight.requires_grad_(False)  # in the optimizer, as a frozen backbone may be
    before = {name: p.detach().clone() for name, p in toy.generator.named_parameters()}
    judge = [p.detach().clone() for p in toy.discriminator.parameters()]
    toy_loop(run, toy, steps=3).run()
    assert torch.equal(frozen, before["0.weight"])
    assert not frozen.requires_grad
    assert all(
        not torch.equal(p, before[name]) for name, p in toy.generator.named_parameters() if name != "0.weight"
    )
    assert all(not torch.equal(p, old) for p, old in zip(toy.discriminator.parameters(), judge, strict=True))


def test_the_generator_learns_from_the_discriminator_just_updated(run: RunFolder) -> None:
    """The generator's graph is built in begin(), before the discriminator's step, and stays usable after it."""
    toy, values = Toy(), []

    def terms(shared: tuple[Tensor, Tensor]) -> dict[str, Tensor]:
        values.append([p.detach().clone() for p in toy.discriminator.parameters()])
        return toy.generator_terms(shared)

    before = [p.detach().clone() for p in toy.discriminator.parameters()]
    toy.phases[1].loss = terms
    toy_loop(run, toy, steps=1).run()
    assert any(not torch.equal(a, b) for a, b in zip(before, values[0], strict=True))


def test_a_phase_runs_at_its_interval(run: RunFolder) -> None:
    toy, steps = Toy(), []
    toy.phases[0].interval = 3
    toy.phases[0].loss = lambda shared: steps.append(loop.step) or toy.discriminator_terms(shared)
    loop = toy_loop(run, toy, steps=8, log_every=1)
    loop.run()
    assert steps == [0, 3, 6]
    header, *rows = run.log.read_text().splitlines()
    assert "discriminator.real" in header
    empty = [row.split(",")[header.split(",").index("discriminator.real")] == "" for row in rows]
    assert empty == [False, True, True, False, True, True, False, True]


@pytest.mark.parametrize("limit", [1e-3, 1e3])
def test_gradients_are_clipped_by_network(run: RunFolder, limit: float) -> None:
    toy = Toy()
    toy.phases[1].clip = {"generator": limit}
    norms: list[float] = []
    step = toy.phases[1].optimizer.step

    def watch(*_: Any) -> None:
        norms.append(float(torch.nn.utils.get_total_norm([p.grad for p in toy.generator.parameters()])))
        step()

    toy.phases[1].optimizer.step = watch  # type: ignore[method-assign]
    toy_loop(run, toy, steps=2).run()
    assert all((norm <= limit * 1.001) for norm in norms)
    assert all(norm > 1e-4 for norm in norms)


def test_a_watched_term_is_logged_and_takes_no_part_in_the_sum(tmp_path: Path) -> None:
    weights, losses, lines = [], [], []
    for watched in ((), ("watched",)):
        toy = Toy()
        if watched:
            own = toy.phases[1].loss

            def loss(shared: Any, own: Callable[[Any], Any] = own) -> dict[str, Tensor]:
                terms = dict(own(shared))
                return {**terms, "watched": 1e6 * torch.stack(list(terms.values())).sum()}

            toy.phases[1].loss, toy.phases[1].watched = loss, watched
        shown: list[Event] = []
        run = RunFolder.create(tmp_path / "runs", "toy")
        loop = toy_loop(run, toy, steps=2, log_every=2, events=Events(shown.append))
        losses.append(dict(loop.run().last))
        weights.append([p.detach().clone() for p in toy.generator.parameters()])
        lines.append(next(event.text for event in shown if event.kind == "progress").split(" img/s")[0])
    assert all(torch.equal(plain, other) for plain, other in zip(*weights, strict=True))
    assert abs(losses[1].pop("generator.watched")) > 1e4
    assert losses[0] == losses[1]
    assert len({line.rpartition(" · ")[0] for line in lines}) == 1, "all but the speed"


@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format])
@pytest.mark.parametrize("loaded", [False, True])
def test_adam_is_torchs_in_any_memory_layout(layout: torch.memory_format, loaded: bool) -> None:
    torch.manual_seed(0)
    start = torch.randn(4, 3, 3, 3).to(memory_format=layout)
    ours, plain = (nn.Parameter(start.clone()) for _ in range(2))
    settings: dict[str, Any] = {"lr": 0.01, "betas": (0.5, 0.999), "weight_decay": 0.1}
    optimizers = adam([ours], **settings), torch.optim.Adam([plain], foreach=False, **settings)
    for step in range(4):
        if step == 2 and loaded:
            state = optimizers[0].state_dict()
            for name, value in state["state"][0].items():
                state["state"][0][name] = value.clone(memory_format=torch.contiguous_format)
            optimizers[0].load_state_dict(state)
        gradient = torch.randn(4, 3, 3, 3)  # contiguous
        ours.grad, plain.grad = gradient.clone(), gradient.clone()
        for optimizer in optimizers:
            optimizer.step()
    torch.testing.assert_close(ours, plain)
