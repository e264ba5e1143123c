"""`train.activation_checkpointing` in the engine: blocks that run again, batch norm statistics, and refusals."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm
from toy import Toy, toy_loop

from gancli.config import load_recipe
from gancli.engine.checkpoint import RunFolder
from gancli.engine.recompute import recompute_large_blocks
from gancli.errors import ConfigError


class Counted(nn.Module):
    """Block with batch norm, dropout and a counter of its runs."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3), nn.Dropout(0.5), nn.Tanh())
        self.runs = 0

    def forward(self, x: Tensor) -> Tensor:
        self.runs += 1
        result: Tensor = self.layers(x)
        return result


class Network(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.block = Counted()

    def large_blocks(self) -> list[nn.Module]:
        return [self.block]

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.block(x)
        return result


class Model(Toy):
    """Toy model with one network and no phase."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.networks = {"generator": network}


def test_a_block_runs_again_and_counts_once() -> None:
    torch.manual_seed(0)
    plain, network = Network(), Network()
    network.load_state_dict(plain.state_dict())
    recompute_large_blocks(Model(network))
    x = torch.randn(4, 3, 5, 5)
    for one in (plain, network):
        torch.manual_seed(1)
        one(x).square().sum().backward()
    assert (plain.block.runs, network.block.runs) == (1, 2)
    assert network.block.layers[1].num_batches_tracked == 1
    for key, tensor in plain.state_dict().items():
        assert torch.equal(network.state_dict()[key], tensor), key
    for ours, theirs in zip(network.parameters(), plain.parameters(), strict=True):
        assert torch.equal(ours.grad, theirs.grad)  # type: ignore[arg-type]


def test_random_numbers_go_on_as_if_nothing_had_run_again() -> None:
    network = Network()
    drawn = []
    for again in (False, True):
        if again:
            recompute_large_blocks(Model(network))
        torch.manual_seed(1)
        network(torch.ones(4, 3, 5, 5)).sum().backward()
        drawn.append(torch.rand(3))
    assert torch.equal(*drawn)


@pytest.mark.parametrize("look", ["eval", "no_grad"])
def test_where_nothing_is_learned_nothing_runs_again(look: str) -> None:
    network = Network()
    recompute_large_blocks(Model(network))
    network.train(look != "eval")
    kept: list[Tensor] = []

    def keep(tensor: Tensor) -> Tensor:
        kept.append(tensor)
        return tensor

    x = torch.randn(4, 3, 5, 5)
    with torch.set_grad_enabled(look == "eval"), torch.autograd.graph.saved_tensors_hooks(keep, lambda t: t):
        result = network(x)
    if look == "eval":
        assert any(tensor is not x for tensor in kept)  # as ever, where somebody wants a gradient
        result.sum().backward()
    assert network.block.runs == 1


def test_a_sequence_keeps_the_inputs_of_its_layers_only() -> None:
    network = nn.Sequential(
        nn.Conv2d(3, 4, 3),
        nn.BatchNorm2d(4),
        nn.LeakyReLU(),
        nn.Conv2d(4, 5, 3),
        nn.BatchNorm2d(5),
        nn.Tanh(),
    )
    recompute_large_blocks(Model(network))
    kept: list[tuple[int, ...]] = []
    x = torch.randn(2, 3, 9, 9)
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(tuple(t.shape)) or t, lambda t: t):
        network(x)
    assert [shape for shape in kept if len(shape) == 4] == [(2, 3, 9, 9), (2, 4, 7, 7)]
    assert list(network.state_dict()) == list(nn.Sequential(*network).state_dict())


def test_an_error_in_the_second_run_leaves_the_statistics_where_they_were() -> None:
    network = Network()
    recompute_large_blocks(Model(network))
    result = network(torch.randn(4, 3, 5, 5))
    buffers = dict(network.block.layers[1].named_buffers())
    network.block.layers[3] = nn.Linear(7, 7)  # which does not fit
    with pytest.raises(RuntimeError):
        result.sum().backward()
    assert all(buffer is buffers[name] for name, buffer in network.block.layers[1].named_buffers())


def test_a_graph_that_is_gone_through_twice_counts_once_too() -> None:
    """The engine leaves out networks that are differentiated twice, in which nothing would be saved."""
    torch.manual_seed(0)
    plain, network = Network(), Network()
    network.load_state_dict(plain.state_dict())
    recompute_large_blocks(Model(network))
    x = torch.randn(4, 3, 5, 5, requires_grad=True)
    for one in (plain, network):
        torch.manual_seed(1)
        (slope,) = torch.autograd.grad(one(x).sum(), x, create_graph=True)
        slope.square().sum().backward()
    for ours, theirs in zip(network.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad)
    for key, tensor in plain.state_dict().items():
        assert torch.equal(network.state_dict()[key], tensor), key


def test_spectral_norm_is_refused() -> None:
    with pytest.raises(ValueError, match="computes weights in its forward pass"):
        recompute_large_blocks(Model(nn.Sequential(spectral_norm(nn.Conv2d(3, 3, 1)))))


def test_a_network_that_is_differentiated_twice_is_left_out() -> None:
    network = Network()
    model = Model(network)
    model.phases[0].differentiated_twice = ("generator",)
    recompute_large_blocks(model)
    network(torch.randn(4, 3, 5, 5)).sum().backward()
    assert network.block.runs == 1


def test_averages_are_of_the_network_and_run_by_themselves(run: RunFolder) -> None:
    """Copies are made before: a later copy would run the blocks of the original."""
    images: list[Tensor] = []
    weights: list[Tensor] = []

    def evaluate(networks: Mapping[str, nn.Module], step: int) -> dict[str, float]:
        noise = torch.ones(2, 5)
        images.append(networks["generator"](noise))
        weights.append(networks["generator"][0].weight.clone())
        return {}

    for on in (False, True):
        folder = RunFolder.create(run.path.parent, str(on))
        model = Toy()
        model.networks["discriminator"] = model.discriminator = nn.Sequential(nn.Flatten(), nn.Linear(192, 1))
        parameters = list(model.discriminator.parameters())
        model.phases[0].networks = {"discriminator": model.discriminator}
        model.phases[0].optimizer = torch.optim.SGD(parameters, lr=0.1)
        toy_loop(folder, model, activation_checkpointing=on, evaluate=evaluate, evaluate_every=20).run()
    assert torch.equal(*images)
    assert torch.equal(*weights)


@pytest.mark.parametrize(
    ("other", "reason"),
    [
        ("compile", "decides by itself what it computes again"),
        ("sync_batch_norm", "in the midst of their backward"),
    ],
)
def test_what_it_does_not_go_with_is_refused(other: str, reason: str) -> None:
    changes = ["train.activation_checkpointing=true", f"train.{other}=true"]
    with pytest.raises(ConfigError, match=rf"train\.activation_checkpointing: .*{reason}") as caught:
        load_recipe("ffgan/demo", changes)
    assert caught.value.exit_code == 2
