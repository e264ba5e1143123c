"""The score row and results.csv: nothing lost, nothing half-written, nothing without its provenance."""

import dataclasses
import json
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gancli.errors import DataError
from gancli.scores.results import COLUMNS, ScoreRow, append_row, read_rows, write_json


def row(**changes):
    fields = {
        "dataset": "cub",
        "split": "test",
        "method": "FF-GAN",
        "model": "runs/1/model",
        "model_hash": "a" * 64,
        "metric": "fid",
        "value": 12.5,
        "std": None,
        "n_real": 2933,
        "n_fake": 30000,
        "protocol": "all, once",
        "network": "inception",
        "network_sha256": "b" * 64,
        "resize": "bilinear",
        "image_size": 256,
        "seed": 100,
        "note": "",
    }
    return ScoreRow(**{**fields, **changes})


text = st.text(st.characters(blacklist_categories=("Cs",), blacklist_characters="\0\r"))
number = st.none() | st.integers(0, 10**9)


@settings(max_examples=30)
@given(
    rows=st.lists(
        st.builds(
            row,
            value=st.floats(allow_nan=False, allow_infinity=False),
            std=st.none() | st.floats(0, 100),
            note=text,
            dataset=text,
            n_fake=number,
            seed=number,
        ),
        min_size=1,
        max_size=3,
    )
)
def test_rows_survive(tmp_path_factory, rows):
    path = tmp_path_factory.mktemp("results") / "new" / "results.csv"
    for each in rows:
        append_row(path, each)
    assert read_rows(path) == rows


def test_version_and_date_are_filled_in():
    from gancli.version import __version__

    assert row().gancli_version == __version__
    assert row().date.endswith("+00:00")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_number_that_is_none_is_not_written(value):
    with pytest.raises(ValueError, match="not a finite number"):
        row(value=value)


@pytest.mark.parametrize("name", ["model", "model_hash", "metric", "protocol"])
def test_a_number_without_provenance_is_not_written(name):
    with pytest.raises(ValueError, match=name):
        row(**{name: ""})


def test_several_writers_lose_nothing(tmp_path):
    path = tmp_path / "results.csv"
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda seed: append_row(path, row(seed=seed)), range(20)))
    assert sorted(each.seed for each in read_rows(path)) == list(range(20))


def test_another_csv_is_not_touched(tmp_path):
    path = tmp_path / "results.csv"
    path.write_text("name,value\nx,1\n")
    with pytest.raises(DataError, match="columns"):
        append_row(path, row())
    assert path.read_text() == "name,value\nx,1\n"


def test_broken_lines_are_named(tmp_path):
    path = tmp_path / "results.csv"
    append_row(path, row())
    path.write_text(path.read_text().replace("12.5", "twelve"))
    with pytest.raises(DataError, match="line 2"):
        read_rows(path)
    path.write_text(",".join(COLUMNS) + "\ncub,test\n")
    with pytest.raises(DataError, match="line 2"):
        read_rows(path)


def test_missing_file(tmp_path):
    with pytest.raises(DataError, match="no such file"):
        read_rows(tmp_path / "results.csv")


def test_json_holds_the_same(tmp_path):
    write_json(tmp_path / "rows.json", [row(), row(seed=None)])
    content = json.loads((tmp_path / "rows.json").read_text())
    assert [ScoreRow(**{**each, "differences": ()}) for each in content] == [
        dataclasses.replace(row(seed=seed), date=each["date"])
        for seed, each in zip((100, None), content, strict=True)
    ]
