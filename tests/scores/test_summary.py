"""Means over seeds, comparisons of two methods, and bounds on scores."""

from __future__ import annotations

import pandas as pd
import pytest

from gancli.errors import CheckError, DataError, UsageError
from gancli.scores.results import append_rows
from gancli.scores.summary import Bound, check_bounds, compare_scores, score_summary
from tests.scores.test_tables import FID, PSNR, REAL, RETRIEVAL, row

SEEDS = [
    row(FID, value=value, model_hash=str(seed) * 64, train_seed=seed)
    for seed, value in enumerate((10.0, 12.0, 17.0))
]


@pytest.fixture
def results(tmp_path):
    append_rows(tmp_path / "results.csv", [*SEEDS, row(FID, value=20.0, method="other"), row(RETRIEVAL)])
    return tmp_path / "results.csv"


def test_seeds_are_put_together_and_other_protocols_are_not(results, tmp_path):
    append_rows(results, [row(FID, value=99.0, n_fake=500)])
    table = score_summary(results, tmp_path / "summary.csv")
    assert [tuple(line) for line in table[["method", "metric", "mean", "n", "seeds"]].to_numpy()] == [
        ("FF-GAN", "fid", 13.0, 3, "0 1 2"),
        ("other", "fid", 20.0, 1, "100"),
        ("FF-GAN", "r_precision", 70.0, 1, "100"),
        ("FF-GAN", "fid", 99.0, 1, "100"),
    ]
    assert table["std"][0] == pytest.approx(pd.Series([10.0, 12.0, 17.0]).std())
    assert pd.read_csv(tmp_path / "summary.csv")["mean"].tolist() == table["mean"].tolist()


def test_two_methods_are_compared_where_they_can_be(results):
    (found,) = compare_scores("FF-GAN", "other", results)
    assert (found.metric, found.difference) == ("fid", 7.0)


def test_another_protocol_is_refused_and_the_fields_are_named(results, tmp_path):
    append_rows(tmp_path / "b.csv", [row(FID, method="B", n_fake=10, transform="clean")])
    with pytest.raises(DataError, match="measured in different ways") as caught:
        compare_scores("FF-GAN", tmp_path / "b.csv", results)
    assert (
        "fid on cub: generated images 10, not 30,000; preparation of the network's input clean, not dmgan"
        in str(caught.value)
    )


def test_what_is_not_there_is_named(results, tmp_path):
    with pytest.raises(DataError, match="no score of 'nobody'") as caught:
        compare_scores("FF-GAN", "nobody", results)
    assert "FF-GAN, other" in caught.value.hint
    append_rows(tmp_path / "b.csv", [row(PSNR)])
    with pytest.raises(DataError, match="no metric in common"):
        compare_scores("FF-GAN", tmp_path / "b.csv", results)


@pytest.mark.parametrize("text", ["fid<20", "fid <= 17.13", " fid>1e-3 ", "fid>=17.13"])
def test_a_bound_that_is_kept(text):
    check_bounds([Bound.parse(text)], [row(FID), row(FID, **REAL, value=1000.0)])


@pytest.mark.parametrize("text", ["fid<17.13", "fid<=17", "fid>20", "fid >= 18"])
def test_a_bound_that_is_broken(text):
    with pytest.raises(CheckError, match="fid is 17.13, not") as caught:  # noqa: RUF043
        check_bounds([Bound.parse(text)], [row(FID)])
    assert caught.value.exit_code == 4


@pytest.mark.parametrize("text", ["fid", "fid<", "<20", "fid<twenty", "fid=20", "fid<20;rm", ""])
def test_what_is_no_bound_is_refused(text):
    with pytest.raises(UsageError, match="is not a bound"):
        Bound.parse(text)


def test_a_bound_of_another_metric_is_refused():
    with pytest.raises(UsageError, match="this score has no psnr"):
        check_bounds([Bound.parse("psnr>20")], [row(FID)])
