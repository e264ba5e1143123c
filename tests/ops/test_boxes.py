"""Boxes against the maps of ones that they cut out."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from gancli.ops.boxes import Box, cut, paste

WIDTH, HEIGHT = 12, 9


def pair(most: int) -> st.SearchStrategy[list[int]]:
    return st.lists(st.integers(0, most), min_size=2, max_size=2, unique=True).map(sorted)


boxes = st.tuples(pair(WIDTH), pair(HEIGHT)).map(
    lambda ends: Box(ends[0][0], ends[1][0], ends[0][1], ends[1][1])
)


@given(boxes)
def test_pasting_what_was_cut_changes_nothing_else(box: Box) -> None:
    maps = torch.randn(2, 3, HEIGHT, WIDTH)
    assert torch.equal(paste(maps, cut(maps, box), box), maps)
    pasted = paste(maps, torch.zeros_like(cut(maps, box)), box)
    assert (cut(pasted, box) == 0).all()
    assert int((pasted != maps).sum()) == cut(maps, box).numel()


@given(boxes)
def test_of_all_is_the_maps_themselves(box: Box) -> None:
    maps = torch.randn(1, 1, HEIGHT, WIDTH)
    assert cut(maps, Box.of(maps)) is maps
    assert cut(cut(maps, box), box.within(box)).shape == cut(maps, box).shape


@given(boxes, st.integers(0, 4))
def test_growing_stops_at_the_limit(box: Box, places: int) -> None:
    mask = paste(
        torch.zeros(1, 1, HEIGHT, WIDTH), torch.ones_like(cut(torch.zeros(1, 1, HEIGHT, WIDTH), box)), box
    )
    grown = torch.nn.functional.max_pool2d(mask, 2 * places + 1, stride=1, padding=places)
    limit = Box.of(mask)
    assert int(grown.sum()) == int(cut(grown, box.grown(places, limit)).numel())
    assert (cut(grown, box.grown(places, limit)) == 1).all()


@given(boxes, st.integers(1, 5))
def test_rounding_is_outwards_and_stops_at_the_limit(box: Box, step: int) -> None:
    limit = Box(0, 0, WIDTH, HEIGHT)
    rounded = box.rounded(step, limit)
    assert rounded.grown(0, box) == box
    assert rounded.area >= box.area
    for near, end in ((box.left, rounded.left), (box.top, rounded.top)):
        assert end % step == 0
        assert near - end < step
    for near, end, last in ((box.right, rounded.right, WIDTH), (box.bottom, rounded.bottom, HEIGHT)):
        assert end % step == 0 or end == last
        assert end - near < step


@given(boxes)
def test_half_covers_and_double_fits(box: Box) -> None:
    around = box.halved().doubled()
    assert around.grown(0, box) == box
    assert box.left - around.left in (0, 1)
    assert around.right - box.right in (0, 1)
    assert box.doubled().halved() == box
