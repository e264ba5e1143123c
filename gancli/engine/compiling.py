"""Compilation of networks by torch (`train.compile`).

`nn.Module.compile` replaces the call of a network and leaves the network itself as it is, so checkpoints, averages
and exported folders do not change. Other methods (`logits`, `score`, `conditional`) stay uncompiled.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from gancli.engine.phases import Batch, Shared, Trainable
from gancli.errors import ConfigError, RunError

# Number of graphs that torch keeps per `forward`; calls that need more run uncompiled. All networks of a class share
# them, also those of an earlier training in the process, and each network needs one graph with and one without
# gradients of its weights. torch's default of 8 is too low for FF-GAN's three discriminators in float32 and bf16.
GRAPHS = 64


def compile_networks(model: Trainable[Batch, Shared]) -> None:
    """Compile the networks of a model in place.

    Networks that a phase differentiates twice stay uncompiled: torch cannot differentiate a compiled graph twice.
    """
    uncompiled = {name for phase in model.phases for name in phase.differentiated_twice}
    for name, network in model.networks.items():
        if name not in uncompiled:
            network.compile()


def check_compiler(device: torch.device) -> None:
    """Compile and differentiate a small sum, to find out early whether the machine has all that torch needs.

    Takes a few seconds the first time.

    Raises:
        ConfigError: torch cannot compile for this device on this machine.
    """
    x = torch.zeros(8, device=device, requires_grad=True)
    try:
        torch.compile(lambda x: (x.sin() + 1).sum())(x).backward()
    except Exception as error:  # many kinds: no compiler, no Triton, a Python or a platform that is too new
        compiler = "a C++ compiler (g++ or clang++; another one is named by the variable CXX)"
        if device.type == "cuda":
            compiler = "Triton on a GPU"
        raise ConfigError(
            f"train.compile: torch cannot compile on this machine for the device {device.type}: {_first_line(error)}",
            f"Leave train.compile out, or install what is missing: torch compiles with {compiler}.",
        ) from error


@contextmanager
def compiled_networks_run() -> Iterator[None]:
    """Set torch's compiler options that the networks need.

    torch keeps `GRAPHS` graphs and does not reuse the buffers of a forward pass in its backward pass: CSF-GAN goes
    backward through the graph of its discriminators twice.

    Raises:
        RunError: torch cannot compile a network.
    """
    from torch._dynamo import config
    from torch._dynamo.exc import TorchDynamoException
    from torch._functorch import config as graph_config

    try:
        with config.patch(recompile_limit=GRAPHS), graph_config.patch(donated_buffer=False):
            yield
    except TorchDynamoException as error:
        raise RunError(
            f"train.compile: torch cannot compile a network: {_first_line(error)}",
            "start a new run without train.compile; --init-from takes over the weights of this one",
        ) from error


def _first_line(error: Exception) -> str:
    """Return the first line of torch's message, with the second where the first ends in a colon."""
    first, _, rest = str(error).strip().partition("\n")
    second = rest.strip().partition("\n")[0] if first.endswith(":") else ""
    return f"{first} {second}".strip() or type(error).__name__
