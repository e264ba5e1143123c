"""What one process puts into a slot and another takes out: the same bytes, as far as they fit."""

from __future__ import annotations

import copy
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from gancli.data.preparation.options import PrepareOptions
from gancli.data.preparation.plan import Record
from gancli.data.preparation.shared_memory import SharedSlots
from gancli.data.preparation.workers import Renderer
from gancli.data.source import Sample

SIZE = 50


@pytest.fixture(scope="module")
def slots() -> Iterator[tuple[SharedSlots, SharedSlots]]:
    """The same ones as two processes have them."""
    here = SharedSlots(3, SIZE)
    there = copy.copy(here)  # by what would be pickled
    yield here, there
    there.close()
    here.close()


@given(
    st.lists(
        st.tuples(st.integers(0, 2), st.lists(st.binary(max_size=30), max_size=6)), min_size=1, max_size=5
    )
)
def test_slots_hold_what_fits(
    slots: tuple[SharedSlots, SharedSlots], puts: list[tuple[int, list[bytes]]]
) -> None:
    here, there = slots
    last: dict[int, list[bytes]] = {}
    for slot, content in puts:
        number = there.put(slot, [np.frombuffer(one, np.uint8) for one in content])
        taken = sum(len(one) for one in content[:number])
        assert taken <= SIZE
        assert number == len(content) or taken + len(content[number]) > SIZE
        last[slot] = content[:number]
    for slot, content in last.items():
        arrays = here.take(slot, [len(one) for one in content])
        assert [array.tobytes() for array in arrays] == content


def test_what_is_taken_stays(slots: tuple[SharedSlots, SharedSlots]) -> None:
    here, there = slots
    there.put(1, [np.full(9, 7, np.uint8)])
    (array,) = here.take(1, [9])
    there.put(1, [np.zeros(9, np.uint8)])
    assert array.tolist() == [7] * 9


def refused(*_: object) -> int:
    raise PermissionError("not here")


def test_nothing_fits_where_the_system_has_no_such_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "memfd_create", refused, raising=False)
    slots = SharedSlots(3, SIZE)
    for one in (slots, copy.copy(slots)):
        assert one.put(0, [np.zeros(1, np.uint8)]) == 0
        assert one.take(0, []) == []
        one.close()


def test_nothing_fits_where_a_worker_cannot_reach_it(monkeypatch: pytest.MonkeyPatch) -> None:
    slots = SharedSlots(3, SIZE)
    monkeypatch.setattr(os, "getpid", lambda: 0)  # no process has this number
    assert copy.copy(slots).put(0, [np.zeros(1, np.uint8)]) == 0
    slots.close()


@pytest.mark.parametrize("shared", [True, False])
def test_workers_render_what_this_process_does(
    shared: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also panoramas, few of which fit into a slot, and files that are no images."""
    if not shared:
        monkeypatch.setattr(os, "memfd_create", refused, raising=False)
    records = []
    for number in range(40):
        path = tmp_path / f"{number}.png"
        size = [(20, 24), (300, 20), (16, 250)][number % 3]
        pixels = np.random.default_rng(number).integers(0, 256, (*size, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(path)
        if number % 7 == 3:
            path.write_bytes(b"no image")
        records.append(Record(Sample(path.stem, "train", path, ("a bird",)), ("a bird",), (), number))
    rendered = []
    for jobs in (1, 2):
        with Renderer(PrepareOptions(image_size=16), jobs) as renderer:
            rendered.append(
                [
                    one if isinstance(one, str) else (one.shape, one.image.tobytes())
                    for one in renderer.render(records)
                ]
            )
    assert rendered[0] == rendered[1]
    assert sum(isinstance(one, str) for one in rendered[0]) == 6
