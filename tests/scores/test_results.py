"""The score row and results.csv: nothing lost, nothing half-written, nothing without its provenance."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gancli.errors import DataError, UsageError
from gancli.scores.results import COLUMNS, ScoreRow, append_row, named, read_rows


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
    with ThreadPoolExecutor(40) as pool:
        list(pool.map(lambda seed: append_row(path, row(seed=seed)), range(160)))
    assert sorted(each.seed for each in read_rows(path)) == list(range(160))


def test_another_csv_is_not_touched(tmp_path):
    path = tmp_path / "results.csv"
    path.write_text("name,value\nx,1\n")
    with pytest.raises(DataError, match="lacks the columns dataset, method"):
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


# --- files that passed through other programs ------------------------------------------------------------------


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "results.csv"
    for each in ROWS:
        append_row(path, each)
    return path


ROWS = [
    row(ablation={"model.gsr": False}, differences=({"key": "loss.damsm", "paper": 5.0, "here": 1.0},)),
    row(std=0.25, n_real=None, hole_inverted=True, seed=None, dataset="NA", note="a, b; c\nd"),
]


def test_a_file_survives_pandas(path):
    pd.read_csv(path, keep_default_na=False).to_csv(path)
    assert read_rows(path) == ROWS
    append_row(path, ROWS[0])
    assert read_rows(path) == [*ROWS, ROWS[0]]


def test_a_file_survives_pandas_with_its_own_idea_of_what_is_missing(path):
    pd.read_csv(path).to_csv(path, index=False)
    assert [each.n_fake for each in read_rows(path)] == [30000, 30000]
    assert [each.n_real for each in read_rows(path)] == [2933, None]


def test_a_file_survives_a_spreadsheet(path):
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    table["n_fake"] = [f"{cell}.0" for cell in table["n_fake"]]
    table["std"] = [cell.replace(".", ",") for cell in table["std"]]
    table["hole_inverted"] = [cell.upper() for cell in table["hole_inverted"]]
    table.to_csv(path, index=False, sep=";", encoding="utf-8-sig", lineterminator="\r\n")
    assert read_rows(path) == ROWS


def test_columns_may_be_missing_added_and_in_another_order(path):
    table = pd.read_csv(path, dtype=str, keep_default_na=False).drop(
        columns=["seed", "ssim_window", "hole_kind"]
    )
    table["mine"] = ["good", "bad"]
    table[reversed(table.columns)].to_csv(path, index=False)
    append_row(path, ROWS[0])
    assert [each.seed for each in read_rows(path)] == [None, None, 100]
    assert list(pd.read_csv(path, dtype=str, keep_default_na=False)["mine"]) == ["good", "bad", ""]


def test_an_empty_file_has_no_rows(path):
    path.write_text("")
    assert read_rows(path) == []
    append_row(path, ROWS[0])
    assert read_rows(path) == [ROWS[0]]


def test_the_target_of_a_link_is_written(tmp_path, path):
    link = tmp_path / "link.csv"
    link.symlink_to(path)
    append_row(link, ROWS[0])
    assert link.is_symlink()
    assert read_rows(path) == [*ROWS, ROWS[0]]


def test_the_null_device_takes_everything():
    append_row("/dev/null", ROWS[0])
    assert not Path("/dev/null").is_file()


def test_images_of_other_peoples_models_get_a_name():
    foreign, real, own = row(), row(images="real", method="real"), row(kind="ffgan")
    assert [each.method for each in named([foreign, real], "DM-GAN")] == ["DM-GAN", "real"]
    with pytest.raises(UsageError, match="were made by FF-GAN"):
        named([own], "DM-GAN")
