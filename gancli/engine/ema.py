"""Exponential moving averages (EMA) of network weights, on the bare modules.

Parameters are averaged. Buffers (batch norm statistics, spectral norm vectors) are copied from the live network, as
in the public code of the AttnGAN family. The average starts from the initial weights.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

Tensors = tuple[Tensor, ...] | list[Tensor]


class Averages:
    """Averaged copies of some networks.

    Args:
        networks: Live networks by name. Each is copied in its present state.
        decay: Weight of the old average in each update, in [0, 1).
        warmup: Let the decay rise with the steps, (1 + step) / (10 + step), up to `decay`. A short training then
            forgets its initial weights, and the average is one of the last tenth of its steps.
    """

    def __init__(self, networks: Mapping[str, nn.Module], decay: float, *, warmup: bool = False) -> None:
        self._live = dict(networks)
        self._decay = decay
        self._warmup = warmup
        self._now = decay
        self._models: dict[str, AveragedModel] = {}
        for name, network in self._live.items():
            model = AveragedModel(network, multi_avg_fn=self._average)
            # The first update of AveragedModel copies instead of averaging: use it on the initial weights.
            model.update_parameters(network)
            self._models[name] = model.requires_grad_(False)

    @property
    def networks(self) -> dict[str, nn.Module]:
        """Averaged networks, under the names of the live ones."""
        return {name: model.module for name, model in self._models.items()}

    def _average(self, averaged: Tensors, live: Tensors, updates: int | Tensor) -> None:
        get_ema_multi_avg_fn(self._now)(averaged, live, updates)

    def update(self, stepped: Collection[str], step: int = 0) -> None:
        """Add the present weights of the networks that an optimizer has just stepped to their averages.

        `step`, the number of steps before this one, counts for the warm-up.
        """
        if self._warmup:
            self._now = min(self._decay, (1 + step) / (10 + step))
        for name, model in self._models.items():
            if name in stepped:
                model.update_parameters(self._live[name])
