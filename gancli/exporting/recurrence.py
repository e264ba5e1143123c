"""Recurrent layers without packed sequences, which no export format knows."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class PaddedRecurrence(nn.Module):
    """Bidirectional LSTM or GRU on padded sequences, equal to the packed one.

    Forwards, a padded sequence gives the packed one's states up to its end. Backwards, each sequence is turned around
    within its own length first.

    Args:
        rnn: Layer whose weights are taken, bidirectional and batch first, of any depth.
    """

    def __init__(self, rnn: nn.LSTM | nn.GRU) -> None:
        super().__init__()
        self.layers = nn.ModuleList()
        for layer in range(rnn.num_layers):
            for end in ("", "_reverse"):
                weights = [
                    rnn.get_parameter(f"{name}_l{layer}{end}")
                    for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
                ]
                one = type(rnn)(weights[0].shape[1], rnn.hidden_size, batch_first=True)
                for name, weight in zip(
                    ("weight_ih", "weight_hh", "bias_ih", "bias_hh"), weights, strict=True
                ):
                    one.get_parameter(f"{name}_l0").data = weight.data
                self.layers.append(one)

    def forward(self, x: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Return the states (B, L, 2H), zero at padding, and the last ones of both directions (B, 2H).

        Args:
            x: Inputs, (B, L, I).
            lengths: Length of each sequence, (B,) int64, at least 1.
        """
        steps = torch.arange(x.shape[1], device=x.device)[None]  # (1, L)
        inside = steps < lengths[:, None]  # (B, L)
        turned = torch.where(inside, lengths[:, None] - 1 - steps, steps)  # (B, L)
        last = lengths - 1  # (B,)
        ends = [x[:, 0]]
        for forwards, backwards in zip(self.layers[::2], self.layers[1::2], strict=True):
            ahead, _ = forwards(x)  # (B, L, H)
            back, _ = backwards(_taken(x, turned))
            ends = [_taken(states, last[:, None])[:, 0] for states in (ahead, back)]
            x = torch.cat([ahead, _taken(back, turned)], dim=2) * inside[:, :, None]
        return x, torch.cat(ends, dim=1)


def _taken(x: Tensor, places: Tensor) -> Tensor:
    """Return the steps (B, N) of sequences (B, L, C), as (B, N, C)."""
    return x.gather(1, places[:, :, None].expand(-1, -1, x.shape[2]))
