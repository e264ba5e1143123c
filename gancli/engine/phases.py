"""Phases of a training step: a model gives the engine its networks and an ordered list of phases that step them.

Within a phase only the parameters of its optimizer require gradients, so no unused gradient is computed. A parameter
that was frozen before the engine saw it (of an ImageNet backbone) stays frozen throughout.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Generic, Protocol, Self, TypeVar

import torch
from torch import Tensor, nn
from torch.optim import Adam, Optimizer


class OnDevice(Protocol):
    """Batch that can be brought to a device."""

    def to(self, device: torch.device | str) -> Self: ...


Batch = TypeVar("Batch", bound=OnDevice)
BatchIn = TypeVar("BatchIn", bound=OnDevice, contravariant=True)
Shared = TypeVar("Shared")  # result of `Trainable.begin`


@dataclass
class Phase(Generic[Shared]):
    """Optimizer step within a training step.

    Attributes:
        name: Prefix of the phase's terms in the log ("generator").
        networks: Networks that the phase steps, by name.
        optimizer: Optimizer of the parameters that the phase trains.
        loss: Function from the result of `Trainable.begin` to named scalar terms, each already weighted. The engine
            backpropagates their sum.
        interval: Steps between two runs of the phase, which also runs in the first step.
        clip: Largest L2 norm of a network's gradient, by network name. Other networks are not clipped.
        watched: Names of terms that are logged but not part of the sum.
        differentiated_twice: Names of the networks whose gradient is differentiated again, as by a gradient penalty.
    """

    name: str
    networks: Mapping[str, nn.Module]
    optimizer: Optimizer
    loss: Callable[[Shared], Mapping[str, Tensor]]
    interval: int = 1
    clip: Mapping[str, float] = field(default_factory=dict)
    watched: Collection[str] = ()
    differentiated_twice: Collection[str] = ()

    @classmethod
    def adam(
        cls,
        name: str,
        networks: Mapping[str, nn.Module],
        loss: Callable[[Shared], Mapping[str, Tensor]],
        *,
        lr: float,
        betas: tuple[float, float],
        watched: Collection[str] = (),
        differentiated_twice: Collection[str] = (),
    ) -> Phase[Shared]:
        """Return a phase that steps all parameters of its networks with one Adam optimizer."""
        optimizer = adam(
            [p for network in networks.values() for p in network.parameters()], lr=lr, betas=betas
        )
        return cls(
            name, networks, optimizer, loss, watched=watched, differentiated_twice=differentiated_twice
        )

    def trained(self) -> list[nn.Parameter]:
        """Return the parameters of the optimizer that require a gradient now."""
        return [p for group in self.optimizer.param_groups for p in group["params"] if p.requires_grad]


@dataclass(frozen=True)
class AdamSettings:
    """Learning rates and momenta of Adam, as the `optim` section of a GAN's recipe holds them.

    Attributes:
        generator_lr: Learning rate of the generator.
        discriminator_lr: Learning rate of the discriminators.
        betas: Decay rates of both running averages, for all networks.
    """

    generator_lr: float
    discriminator_lr: float
    betas: tuple[float, float]


FUSED_ON = ("cpu", "cuda")


def adam(
    parameters: Sequence[nn.Parameter], *, lr: float, betas: tuple[float, float], weight_decay: float = 0.0
) -> Adam:
    """Return an Adam optimizer, with torch's fused kernel where the device has one.

    Args:
        parameters: Parameters to train, already on the device where they will stay.
        lr: Learning rate.
        betas: Decay rates of the two moment averages.
        weight_decay: L2 penalty, added to the gradient (unlike AdamW).
    """
    fused = all(parameter.device.type in FUSED_ON for parameter in parameters)
    optimizer = Adam(parameters, lr=lr, betas=betas, weight_decay=weight_decay, fused=fused)
    optimizer.register_step_pre_hook(lay_out_as_parameters)
    return optimizer


def lay_out_as_parameters(optimizer: Optimizer, *_: object) -> None:
    """Bring gradients and moment averages into the memory layout of their parameters.

    The fused kernel reads all of them in storage order without checking that the orders agree. Autograd makes them
    agree. A checkpoint of parameters in another layout, or code that sets gradients itself, may not.
    """
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            if parameter.grad is None:
                continue
            if parameter.grad.stride() != parameter.stride():
                parameter.grad = torch.empty_like(parameter).copy_(parameter.grad)
            state = optimizer.state[parameter]
            for name, value in state.items():
                if value.shape == parameter.shape and value.stride() != parameter.stride():
                    state[name] = torch.empty_like(parameter).copy_(value)


class Trainable(Protocol[BatchIn, Shared]):
    """Model that the engine can train."""

    @property
    def networks(self) -> Mapping[str, nn.Module]:
        """Networks in a checkpoint, by name."""

    @property
    def averaged(self) -> Sequence[str]:
        """Names of the networks with an exponential moving average."""

    @property
    def phases(self) -> Sequence[Phase[Shared]]:
        """Phases of a step, in order."""

    def begin(self, batch: BatchIn) -> Shared:
        """Return what all phases of a step share: encodings, noise, generated images with their graph.

        All trained parameters require gradients here. A phase that must not reach another phase's network detaches.
        """


def train_only(parameters: Iterable[nn.Parameter], among: Iterable[nn.Parameter]) -> None:
    """Make `parameters` require gradients, and all other parameters of `among` not."""
    chosen = {id(p) for p in parameters}
    for parameter in among:
        parameter.requires_grad_(id(parameter) in chosen)
