"""Exponential moving averages of network weights, on the bare modules.

Parameters are averaged, buffers (batch norm statistics, spectral norm vectors) are copied from the live
network, as the public code of the AttnGAN family does. The average starts from the initial weights.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn


class Averages:
    """The averaged copies of some networks.

    Args:
        networks: Name to live network; each is copied, in its present state.
        decay: Weight of the old average at each update, in [0, 1).
    """

    def __init__(self, networks: Mapping[str, nn.Module], decay: float) -> None:
        self._live = dict(networks)
        self._models: dict[str, AveragedModel] = {}
        for name, network in self._live.items():
            model = AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(decay))
            # AveragedModel's first update copies instead of averaging: spend it on the initial weights.
            model.update_parameters(network)
            self._models[name] = model.requires_grad_(False)

    @property
    def networks(self) -> dict[str, nn.Module]:
        """The averaged networks, under the live ones' names."""
        return {name: model.module for name, model in self._models.items()}

    def update(self, stepped: Collection[str]) -> None:
        """Averages in the present weights of those networks that an optimizer has just stepped."""
        for name, model in self._models.items():
            if name in stepped:
                model.update_parameters(self._live[name])
