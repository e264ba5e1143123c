"""Shared parts of the readers: lists of images, also in pickles from untrusted sources."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gancli.data.sources.reading import read_names
from gancli.errors import DataError


class _Attack:
    def __reduce__(self) -> Any:
        return os.mkdir, ("attacked",)


def test_a_pickle_can_run_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "filenames.pickle"
    path.write_bytes(pickle.dumps(["one", _Attack()]))
    with pytest.raises(DataError, match=r"filenames\.pickle is not a pickled list .*it asks for \w+\.mkdir"):
        read_names(path)
    assert not (tmp_path / "attacked").exists()


@pytest.mark.parametrize(
    ("listed", "message"),
    [
        ({"one": 1}, "is not a list of image names"),
        (["one", 2], "is not a list of image names"),
        ([], "names no image"),
        (["one", "two", "one.jpg"], "names 'one' twice"),
    ],
)
def test_a_pickle_of_something_else(tmp_path: Path, listed: Any, message: str) -> None:
    path = tmp_path / "filenames.pickle"
    path.write_bytes(pickle.dumps(listed))
    with pytest.raises(DataError, match=message):
        read_names(path)


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.integers(0, 100), value=st.integers(0, 255), end=st.integers(0, 200))
def test_any_damage_gives_a_message(tmp_path: Path, place: int, value: int, end: int) -> None:
    content = bytearray(pickle.dumps(["one", "two", "three"], protocol=2))
    content[place % len(content)] = value
    path = tmp_path / "filenames.pickle"
    path.write_bytes(content[:end])
    try:
        assert read_names(path)
    except DataError as error:
        assert str(path) in str(error)  # noqa: PT017 - a change may also do no harm


def test_real_lists(shared_data: Path) -> None:
    """Read AttnGAN's lists, pickled by Python 2."""
    folder = shared_data / "attngan_splits"
    counts = [len(read_names(folder / part / "filenames.pickle")) for part in ("train", "test")]
    assert counts == [8855, 2933]
