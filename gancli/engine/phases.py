"""What a model gives the engine: its networks, and an ordered list of phases that step some of them.

Within a phase only the parameters of that phase's optimizer require a gradient, so that none is computed
which nobody uses; a parameter that was frozen before the engine saw it (an ImageNet backbone) stays frozen
throughout.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.optim import Adam, Optimizer


@dataclass
class Phase:
    """One optimizer step within a training step.

    Attributes:
        name: Prefix of its terms in the log ("generator").
        networks: Those stepped, by name.
        optimizer: Over the parameters that the phase trains.
        loss: From what `Trainable.begin` returned to named scalar terms, each with its weight already
            applied. The engine sums them and backpropagates the sum.
        interval: The phase runs in every interval-th step, the first step included.
        clip: Network name to largest L2 norm of its gradient; networks not named are not clipped.
        watched: Names among the terms that are logged only and take no part in the sum.
        differentiated_twice: Names of the networks that the loss takes a gradient of a gradient of, as a gradient
            penalty does.
    """

    name: str
    networks: Mapping[str, nn.Module]
    optimizer: Optimizer
    loss: Callable[[Any], Mapping[str, Tensor]]
    interval: int = 1
    clip: Mapping[str, float] = field(default_factory=dict)
    watched: Collection[str] = ()
    differentiated_twice: Collection[str] = ()

    @classmethod
    def adam(
        cls,
        name: str,
        networks: Mapping[str, nn.Module],
        loss: Callable[[Any], Mapping[str, Tensor]],
        *,
        lr: float,
        betas: tuple[float, float],
        watched: Collection[str] = (),
        differentiated_twice: Collection[str] = (),
    ) -> Phase:
        """A phase that steps all parameters of its networks together by Adam."""
        parameters = [parameter for network in networks.values() for parameter in network.parameters()]
        return cls(
            name,
            networks,
            adam(parameters, lr=lr, betas=betas),
            loss,
            watched=watched,
            differentiated_twice=differentiated_twice,
        )

    def trained(self) -> list[nn.Parameter]:
        """Parameters of the optimizer that require a gradient now."""
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
    """Adam that goes over each parameter once where torch can do that.

    Args:
        parameters: On the device where they will stay.
        weight_decay: Added to the gradient (not AdamW).
    """
    fused = all(parameter.device.type in FUSED_ON for parameter in parameters)
    optimizer = Adam(parameters, lr=lr, betas=betas, weight_decay=weight_decay, fused=fused)
    optimizer.register_step_pre_hook(lay_out_as_parameters)
    return optimizer


def lay_out_as_parameters(optimizer: Optimizer, *_: object) -> None:
    """Brings gradients and averages into the memory layout of their parameters.

    The fused kernel reads all of them in the order in which they lie, and does not ask whether that is the same.
    Autograd sees to it; a checkpoint of parameters that lay otherwise, or whoever sets gradients himself, may not.
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


class Trainable(Protocol):
    """A model as the engine trains it."""

    @property
    def networks(self) -> Mapping[str, nn.Module]:
        """Every network that a checkpoint holds, by name."""

    @property
    def averaged(self) -> Sequence[str]:
        """Names of the networks whose weights are averaged over the steps."""

    @property
    def phases(self) -> Sequence[Phase]:
        """In the order in which a step runs them."""

    def begin(self, batch: Any) -> Any:
        """What all phases of one step share: encodings, noise, generated images with their graph.

        Every trained parameter requires a gradient here. A phase that must not reach another's network
        detaches.
        """


def train_only(parameters: Iterable[nn.Parameter], among: Iterable[nn.Parameter]) -> None:
    """Makes `parameters` require gradients and all others of `among` not."""
    chosen = {id(p) for p in parameters}
    for parameter in among:
        parameter.requires_grad_(id(parameter) in chosen)
