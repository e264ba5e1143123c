"""Rectangles of images and feature maps."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor


class Box(NamedTuple):
    """Rectangle of pixels of an image or feature map. Right and bottom are excluded."""

    left: int
    top: int
    right: int
    bottom: int

    @classmethod
    def of(cls, maps: Tensor) -> Box:
        """Return the box that covers all of maps (..., H, W)."""
        return cls(0, 0, maps.shape[-1], maps.shape[-2])

    @property
    def area(self) -> int:
        """Number of pixels."""
        return (self.right - self.left) * (self.bottom - self.top)

    def within(self, other: Box) -> Box:
        """Return the box in coordinates relative to another box's corner."""
        return Box(
            self.left - other.left, self.top - other.top, self.right - other.left, self.bottom - other.top
        )

    def grown(self, pixels: int, limit: Box) -> Box:
        """Return the box with a margin on every side, clipped to `limit`."""
        return Box(
            max(self.left - pixels, limit.left),
            max(self.top - pixels, limit.top),
            min(self.right + pixels, limit.right),
            min(self.bottom + pixels, limit.bottom),
        )

    def rounded(self, step: int, limit: Box) -> Box:
        """Return the box with its ends moved outwards to multiples of a step, clipped to `limit`."""
        return Box(
            max(self.left // step * step, limit.left),
            max(self.top // step * step, limit.top),
            min(-(-self.right // step) * step, limit.right),
            min(-(-self.bottom // step) * step, limit.bottom),
        )

    def halved(self) -> Box:
        """Return the smallest box that covers this one on a map of half the side."""
        return Box(self.left // 2, self.top // 2, -(-self.right // 2), -(-self.bottom // 2))

    def doubled(self) -> Box:
        """Return the box on a map of twice the side."""
        return Box(*(2 * end for end in self))


def cut(maps: Tensor, box: Box) -> Tensor:
    """Return the part of maps (..., H, W) in a box: a view, or the maps themselves where the box covers them."""
    if box == Box.of(maps):
        return maps
    return maps[..., box.top : box.bottom, box.left : box.right]


def paste(maps: Tensor, part: Tensor, box: Box) -> Tensor:
    """Return a copy of maps (..., H, W) with the part in a box replaced. The gradient reaches the part only."""
    if box == Box.of(maps):
        return part
    pasted: Tensor = _Paste.apply(maps, part, box)
    return pasted


class _Paste(torch.autograd.Function):
    """Assignment to a slice. torch's own copies the gradient twice, once for the maps."""

    @staticmethod
    def forward(ctx: Any, maps: Tensor, part: Tensor, box: Box) -> Tensor:
        ctx.box = box
        pasted = maps.clone()
        pasted[..., box.top : box.bottom, box.left : box.right] = part
        return pasted

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[None, Tensor, None]:
        return None, cut(gradient, ctx.box), None
