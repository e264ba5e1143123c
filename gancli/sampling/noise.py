"""Noise of an image, drawn from (seed, caption, key, variant) alone.

So the same seed gives the same image whatever else is sampled with it, in any order and batch size.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gancli.inference.loaded import NOISE
from gancli.sampling.requests import Request, identity
from gancli.sampling.samples_folder import Vary


def image_noise(
    requests: Sequence[Request], dims: Mapping[str, int], seed: int, vary: Vary = Vary.ALL
) -> dict[str, Tensor]:
    """Return standard normal noise for each request, drawn from its identity and the seed alone.

    All numbers of an image are drawn in one go and split over the noises in their order.

    Args:
        requests: B requests.
        dims: Length of each noise; z has the name "noise".
        seed: Seed of the sampling.
        vary: Noises that are a variant's own; the others are those of the variant that it holds on to.

    Returns:
        (B, dim) float32 for each noise.
    """
    total = sum(dims.values())
    varied = _draw(requests, [request.variant for request in requests], seed, total)
    held = [request.held for request in requests]
    fixed = varied if vary == Vary.ALL else _draw(requests, held, seed, total)
    noises = {}
    start = 0
    for name, dim in dims.items():
        varies = vary == Vary.ALL or (vary == Vary.NOISE) == (name == NOISE)
        part = (varied if varies else fixed)[:, start : start + dim]
        noises[name] = torch.from_numpy(part)
        start += dim
    return noises


def _draw(requests: Sequence[Request], variants: Sequence[int], seed: int, total: int) -> NDArray[np.float32]:
    """Return (B, total) standard normal numbers."""
    rows = np.empty((len(requests), total), np.float32)
    for row, request, variant in zip(rows, requests, variants, strict=True):
        text = f"{seed}\0{identity(request, variant)}"
        number = int.from_bytes(hashlib.sha256(text.encode()).digest()[:16])
        row[:] = np.random.default_rng(number).standard_normal(total, dtype=np.float32)
    return rows
