"""Cards of model, encoder and dataset folders: a head that hubs can read, the facts of the folder, and its scores."""

from __future__ import annotations

import pytest
import yaml

import gancli
from gancli.cards import dataset_card, model_card
from gancli.errors import DataError
from gancli.registry import ROWS
from gancli.scores.results import append_row
from gancli.weights_folder import read_folder
from tests.scores.test_results import row as make_row


def parts(text):
    """Return the YAML head and the body of a card."""
    _, head, body = text.split("---\n", 2)
    return yaml.safe_load(head), body


@pytest.mark.parametrize("kind", ROWS)
def test_every_kind_of_folder_has_a_card(kind):
    settings = {
        "kind": kind,
        "dataset": {"name": "cub", "release": "CUB-200-2011", "split_rule": "zero-shot 150/50"},
        "paper_recipe": f"{kind}/cub",
        "differences": [{"key": "loss.damsm", "paper": 5.0, "here": 1.0}],
        "step": 12,
    }
    head, body = parts(model_card(settings))
    assert head["library_name"] == "gancli"
    assert head["license"] == "other"
    assert head["datasets"] == ["cub"]
    assert f"# {kind} on cub" in body
    assert "loss.damsm=1.0 (paper: 5.0)" in body
    assert ROWS[kind].usage in body
    assert "gancli card . --results" in body


def test_a_trained_model_says_what_it_is(tiny_model):
    head, body = parts((tiny_model / "README.md").read_text())
    assert head["pipeline_tag"] == "text-to-image"
    assert "CUB-200-2011, zero-shot 150/50" in body


def test_a_dataset_has_a_card(tiny_dataset):
    head, body = parts((tiny_dataset / "README.md").read_text())
    assert head["pretty_name"] == "cub"
    assert "| images, train | " in body
    assert "gancli data check ." in body


def test_drawn_birds_are_free():
    text = dataset_card(
        name="demo", release="demo", split_rule="", crop_rule="", image_size=64, images={"train": 3}, words=9
    )
    assert parts(text)[0]["license"] == "apache-2.0"


def test_scores_of_these_weights_go_into_the_card(tiny_model, tmp_path):
    digest = read_folder(tiny_model, "ffgan")[2]
    append_row(tmp_path / "results.csv", make_row(metric="fid", value=21.5, model_hash=digest))
    append_row(tmp_path / "results.csv", make_row(metric="fid", value=99.0, model_hash="0" * 64))
    before = (tiny_model / "README.md").read_text()
    file, number = gancli.card(tiny_model, tmp_path / "results.csv")
    try:
        assert number == 1
        head, body = parts(file.read_text())
        (result,) = head["model-index"][0]["results"]
        assert result["metrics"][0]["value"] == 21.5
        assert "| fid | 21.5 |" in body
        assert "99" not in body
    finally:
        file.write_text(before)


def test_scores_of_other_weights_are_refused(tiny_model, tmp_path):
    append_row(tmp_path / "results.csv", make_row(model_hash="0" * 64))
    with pytest.raises(DataError, match="has no score of the weights"):
        gancli.card(tiny_model, tmp_path / "results.csv")
