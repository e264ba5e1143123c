"""Tensors of a public code under the names of our networks."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gancli.errors import DataError

Rule = tuple[str, str]  # regular expression of public names, and the template of our name

ITERATIONS = 1000  # most power iterations of a spectral norm
TOLERANCE = 1e-7  # of its relative change, in float64
_LISTED = 3  # differences of each kind in a message


@dataclass(frozen=True)
class Layout:
    """Names of a network in a public code.

    Attributes:
        network: Name of the network for messages ("FF-GAN's generator").
        key: Name of a tensor by which a file of it is known.
        rules: Rules from public names to ours. The first that matches a whole name counts.
        dead: Regular expression of tensors that the public code holds and never uses; empty where it has none.
    """

    network: str
    key: str
    rules: Sequence[Rule]
    dead: str = ""

    def load(self, module: nn.Module, state: Mapping[str, Tensor], path: Path) -> list[str]:
        """Load public tensors into a network.

        Tensors of one number of values are reshaped: some public codes hold linear layers as 1x1 convolutions. The
        vectors of spectral norms are iterated to their end, because torch's norm and the public ones run their single
        iteration in another order; so the first pass agrees with the public code's.

        Args:
            module: Network of ours with the arguments of the public one.
            state: Public tensors by name.
            path: File they come from, for messages.

        Returns:
            Names of the dead tensors, which are dropped.

        Raises:
            DataError: Names or shapes do not fit; the first differences are in the message.
        """
        own = module.state_dict()
        dropped, unexpected, shapes = [], [], []
        tensors: dict[str, Tensor] = {}
        for name, tensor in state.items():
            if self.dead and re.fullmatch(self.dead, name):
                dropped.append(name)
                continue
            ours = self.rename(name)
            if ours not in own:
                unexpected.append(name)
            elif not _same_but_for_ones(tensor.shape, own[ours].shape):
                shapes.append(f"{name} {list(tensor.shape)} instead of {list(own[ours].shape)}")
            else:
                tensors[ours] = tensor.reshape(own[ours].shape)
        taken = {self.rename(name) for name in state}
        counters = [
            name for name in own if name.endswith("num_batches_tracked")
        ]  # torch before 0.4.1 has none
        missing = [name for name in own if name not in taken and name not in counters]
        problems = [
            f"{kind}: {', '.join(names[:_LISTED])}"
            + (f" and {len(names) - _LISTED:,} more" * (len(names) > _LISTED))
            for kind, names in (("missing", missing), ("unexpected", unexpected), ("other shapes", shapes))
            if names
        ]
        if problems:
            raise DataError(
                f"{path}: does not hold {self.network} of this recipe: {'; '.join(problems)}",
                "Another recipe may fit (--recipe, gancli recipes ls), or values after it (model.generator_width=32).",
            )
        module.load_state_dict({**{name: own[name] for name in counters}, **tensors})
        settle_spectral_norms(module)
        return dropped

    def rename(self, name: str) -> str:
        """Return our name of a public tensor; the public one where no rule knows it."""
        for pattern, template in self.rules:
            if match := re.fullmatch(pattern, name):
                return match.expand(template)
        return name


def _same_but_for_ones(a: Sequence[int], b: Sequence[int]) -> bool:
    """Return whether two shapes differ by sides of 1 only."""
    return [side for side in a if side != 1] == [side for side in b if side != 1]


@torch.no_grad()
def settle_spectral_norms(module: nn.Module) -> None:
    """Iterate the vectors of all spectral norms until the norm stands still."""
    for each in module.modules():
        weights = getattr(each, "parametrizations", {})
        for name in weights:
            original, norm = weights[name].original, weights[name][0]
            matrix = original.flatten(1).double()  # (O, I)
            u = F.normalize(norm._u.double(), dim=0)
            before = 0.0
            for _ in range(ITERATIONS):
                v = F.normalize(matrix.T @ u, dim=0)
                u = matrix @ v
                size = float(u.norm())
                u = F.normalize(u, dim=0)
                if abs(size - before) <= TOLERANCE * size:
                    break
                before = size
            norm._u.copy_(u)
            norm._v.copy_(v)


def shifted(pattern: str, template: str, numbers: range, by: int) -> list[Rule]:
    """Return a rule for each number in the place of `{}` in the pattern, with the number moved by `by` in the template.

    Other braces than `{}` may stand in neither.
    """
    return [
        (pattern.replace("{}", str(number)), template.replace("{}", str(number + by))) for number in numbers
    ]
