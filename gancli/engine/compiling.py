"""`train.compile`: what of a model torch compiles, whether this machine can, and what is said when it fails.

`nn.Module.compile` replaces what calling a network does and leaves the network itself as it was, so checkpoints,
averages and exported folders know nothing of it. Only calls are compiled: a method of its own (`logits`, `score`,
`conditional`) runs as ever.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from gancli.engine.phases import Trainable
from gancli.errors import ConfigError, RunError

# Of the graphs that torch keeps of one `forward`, before it leaves what needs another one uncompiled. Networks of one
# class share it, also those of an earlier training in the process, and each has a graph with and one without a gradient
# by its weights: torch's 8 are too few for FF-GAN's three discriminators in float32 and then in bf16.
GRAPHS = 64


def compile_networks(model: Trainable) -> None:
    """Compiles every network of a model in place that torch can compile.

    Those that a phase differentiates twice stay as they are: torch cannot differentiate a compiled graph again.
    """
    uncompiled = {name for phase in model.phases for name in phase.differentiated_twice}
    for name, network in model.networks.items():
        if name not in uncompiled:
            network.compile()


def check_compiler(device: torch.device) -> None:
    """Compiles and differentiates a sum, which takes all that networks need and some seconds where it was never done.

    Raises:
        ConfigError: torch cannot compile for this device on this machine.
    """
    x = torch.zeros(8, device=device, requires_grad=True)
    try:
        torch.compile(lambda x: (x.sin() + 1).sum())(x).backward()
    except (
        Exception
    ) as error:  # of many kinds: no compiler, no Triton, a Python or a platform that is too new
        raise ConfigError(
            f"train.compile: torch cannot compile on this machine for the device {device.type}: {_first_line(error)}",
            "Leave train.compile out, or install what is missing: "
            + (
                "torch compiles with Triton on a GPU."
                if device.type == "cuda"
                else "torch compiles with a C++ compiler (g++ or clang++; another one is named by the variable CXX)."
            ),
        ) from error


@contextmanager
def compiled_networks_run() -> Iterator[None]:
    """While active, torch keeps as many graphs as our networks need, and what a graph's gradient reads.

    The latter since CSF-GAN goes through its discriminators' graph twice; torch would lend the gradient's kernels the
    memory of what the forward pass has left, and refuse a second time.

    Raises:
        RunError: torch failed to compile a network.
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
    """What torch says, without its hints; "backend='inductor' raised:" and the line that it announces."""
    first, _, rest = str(error).strip().partition("\n")
    second = rest.strip().partition("\n")[0] if first.endswith(":") else ""
    return f"{first} {second}".strip() or type(error).__name__
