"""Rectangles of images and feature maps."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor


class Box(NamedTuple):
    """A rectangle of pixels or of a feature map's places, ends excluded."""

    left: int
    top: int
    right: int
    bottom: int

    @classmethod
    def of(cls, maps: Tensor) -> Box:
        """All of maps (..., H, W)."""
        return cls(0, 0, maps.shape[-1], maps.shape[-2])

    @property
    def area(self) -> int:
        """How many places it holds."""
        return (self.right - self.left) * (self.bottom - self.top)

    def within(self, other: Box) -> Box:
        """The same part, counted from another box's corner."""
        return Box(
            self.left - other.left, self.top - other.top, self.right - other.left, self.bottom - other.top
        )

    def grown(self, places: int, limit: Box) -> Box:
        """With so many more places on every side, as far as the other box reaches."""
        return Box(
            max(self.left - places, limit.left),
            max(self.top - places, limit.top),
            min(self.right + places, limit.right),
            min(self.bottom + places, limit.bottom),
        )

    def rounded(self, step: int, limit: Box) -> Box:
        """With its ends moved outwards to multiples of a step, as far as the other box reaches."""
        return Box(
            max(self.left // step * step, limit.left),
            max(self.top // step * step, limit.top),
            min(-(-self.right // step) * step, limit.right),
            min(-(-self.bottom // step) * step, limit.bottom),
        )

    def halved(self) -> Box:
        """The part of a map of half the side that lies, even in part, under this one."""
        return Box(self.left // 2, self.top // 2, -(-self.right // 2), -(-self.bottom // 2))

    def doubled(self) -> Box:
        """The same part of a map of twice the side."""
        return Box(*(2 * end for end in self))


def cut(maps: Tensor, box: Box) -> Tensor:
    """The part of maps (..., H, W) that lies in a box: a view, or the maps themselves where it holds all of them."""
    if box == Box.of(maps):
        return maps
    return maps[..., box.top : box.bottom, box.left : box.right]


def paste(maps: Tensor, part: Tensor, box: Box) -> Tensor:
    """A copy of maps (..., H, W) with the part in a box replaced. Differentiable in the part, not in the maps."""
    if box == Box.of(maps):
        return part
    pasted: Tensor = _Paste.apply(maps, part, box)
    return pasted


class _Paste(torch.autograd.Function):
    """What an assignment to a slice does; that copies the gradient twice, to have one for the maps as well."""

    @staticmethod
    def forward(ctx: Any, maps: Tensor, part: Tensor, box: Box) -> Tensor:
        ctx.box = box
        pasted = maps.clone()
        pasted[..., box.top : box.bottom, box.left : box.right] = part
        return pasted

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[None, Tensor, None]:
        return None, cut(gradient, ctx.box), None
