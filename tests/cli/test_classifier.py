"""`gancli pretrain-encoder classifier` and `gancli score is`, from data to a row, and what they refuse."""

from __future__ import annotations

from pathlib import Path

import pytest

from gancli.encoders.classifier import load_classifier
from gancli.scores.results import read_rows
from tests.cli.conftest import Gancli, call
from tests.conftest import forget_accuracy

SMALL = ("model.width=4", "model.size=16", "loader.batch=4", "train.minutes=null", "train.steps=4")


@pytest.fixture(scope="module")
def judge(tiny_dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A classifier of the test classes; not to be changed."""
    folder = tmp_path_factory.mktemp("judge")
    answer = call(
        "pretrain-encoder", "classifier", "--recipe", "classifier/demo", f"data={tiny_dataset}", "split=test", *SMALL,
        "--out", folder / "judge", "--runs", folder / "runs", "--device", "cpu",
    )  # fmt: skip
    assert answer.code == 0, answer.stderr
    assert "held-out images right, chance 50.0 %" in answer.stderr
    return forget_accuracy(folder / "judge")


def test_default_output_names_recipe_and_split(
    gancli: Gancli, large_cub: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    answer = gancli("pretrain-encoder", "classifier", f"data={large_cub}", "--dry-run", "--json")
    assert answer.code == 0, answer.stderr
    assert answer.json["name"] == "classifier/cub"
    assert answer.json["paths"]["encoder"] == "encoders/classifier-cub-test"
    assert not list(here.iterdir())


def test_score_of_images_and_of_the_real_ones(
    gancli: Gancli, judge: Path, images: Path, tmp_path: Path
) -> None:
    answer = gancli(
        "score", "is", images, "--network", f"classifier:{judge}", "--splits", 3,
        "--results", tmp_path / "results.csv", "--json",
    )  # fmt: skip
    assert answer.code == 0, answer.stderr
    fake, real = answer.json["rows"]
    assert (fake["method"].partition(" [")[0], real["method"]) == ("FF-GAN", "real")
    assert fake["network_sha256"] == load_classifier(judge).hash
    assert 1 <= fake["value"] <= 2
    assert "self-finetuned" in answer.stderr

    answer = gancli(
        "score", "table", "stackgan", "--results", tmp_path / "results.csv", "--out", tmp_path / "t"
    )
    assert answer.code == 0, answer.stderr
    assert "FF-GAN [" in answer.stdout
    assert "not comparable" in answer.stdout


def test_distances_in_a_classifiers_features(
    gancli: Gancli, judge: Path, images: Path, tiny_dataset: Path, tmp_path: Path
) -> None:
    answer = gancli(
        "score", "fid", f"{tiny_dataset}:test", images, "--features", f"encoder:{judge}", "--no-cache",
        "--results", tmp_path / "results.csv", "--json",
    )  # fmt: skip
    assert answer.code == 0, answer.stderr
    assert answer.json["rows"][0]["network"] == f"classifier:{judge} (small)"


def test_what_score_is_refuses(
    gancli: Gancli, judge: Path, encoder: Path, images: Path, tiny_dataset: Path, tmp_path: Path
) -> None:
    def refused(code: int, *arguments: str | Path) -> str:
        answer = gancli("score", "is", *arguments, "--results", tmp_path / "results.csv")
        assert answer.code == code, answer.stderr
        assert not (tmp_path / "results.csv").exists()
        return answer.stderr

    assert "--network" in refused(2, images)
    assert "tells classes apart" in refused(2, images, "--network", "clasifier")
    assert "no such file" in refused(3, images, "--network", f"classifier:{tmp_path / 'absent'}")
    assert "not 'classifier'" in refused(3, images, "--network", f"classifier:{encoder}")
    assert "say which split" in refused(2, tiny_dataset, "--network", f"classifier:{judge}")
    train = refused(3, f"{tiny_dataset}:train", "--network", f"classifier:{judge}")
    assert "classifier of other classes" in train
    assert "split=train" in train
    assert "at least 50 images" in refused(3, images, "--network", f"classifier:{judge}", "--splits", "50")


def test_held_out_figures_are_rows(judge: Path) -> None:
    (row,) = read_rows(judge / "results.csv")
    assert (row.metric, row.kind, row.split, row.chance) == ("encoder_accuracy", "classifier", "test", 50)
    assert row.model_hash == load_classifier(judge).hash
