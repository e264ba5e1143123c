"""Training a classifier: which images and classes it takes, what it reports, and that it learns."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from safetensors.torch import load_file

from gancli.config import load_recipe
from gancli.config.classifier import ClassifierRecipe
from gancli.data.preparation.options import PrepareOptions
from gancli.data.preparation.prepare import prepare
from gancli.data.shards import Dataset
from gancli.data.sources import image_folder as folder_source
from gancli.encoders.classifier import load_classifier
from gancli.errors import DataError
from gancli.training import pretrain_encoder
from gancli.training.classifier import classification_report, hold_out
from tests.conftest import CLASSES

SMALL = ("model.width=4", "model.size=16", "loader.batch=4", "train.minutes=null", "train.steps=1")


def recipe(data: Path, *changes: str) -> ClassifierRecipe:
    loaded = load_recipe("classifier/demo", [f"data={data}", *SMALL, *changes])
    assert isinstance(loaded, ClassifierRecipe)
    return loaded


def test_it_learns_the_classes_of_a_split(tiny_dataset: Path, tmp_path: Path) -> None:
    result = pretrain_encoder(
        recipe(
            tiny_dataset,
            "split=test",
            "held_out=0.34",
            "train.steps=null",
            "train.epochs=30",
            "optim.lr=0.01",
            "optim.ema_decay=0.8",
        ),
        out=tmp_path / "judge",
        runs=tmp_path / "runs",
    )
    assert result.run.name == "0001-classifier-cub"
    classifier = load_classifier(result.output)
    assert classifier.class_names == (CLASSES[0], CLASSES[3])  # black and blue birds
    settings = classifier.settings
    assert (settings["dataset"]["name"], settings["split"]) == ("cub", "test")
    assert (settings["images"], settings["held_out"]) == (8, 4)
    assert settings["chance"] == 50
    assert settings["accuracy"] >= 75
    with (result.run / "metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 30, "after every epoch"
    best = min(rows, key=lambda row: float(row["cross_entropy"]))
    assert settings["cross_entropy"] == pytest.approx(float(best["cross_entropy"]), rel=1e-4)
    assert str(settings["step"]) == best["step"]


def test_all_splits_together_and_nothing_held_out(tiny_dataset: Path, tmp_path: Path) -> None:
    result = pretrain_encoder(
        recipe(tiny_dataset, "split=all", "held_out=0", "train.steps=1"),
        out=tmp_path / "judge",
        runs=tmp_path / "runs",
    )
    classifier = load_classifier(result.output)
    assert classifier.class_names == CLASSES
    assert (classifier.settings["images"], classifier.settings["held_out"]) == (24, 0)
    assert "accuracy" not in classifier.settings


def test_a_resumed_run_ends_with_the_same_weights(tiny_dataset: Path, tmp_path: Path) -> None:
    straight = pretrain_encoder(
        recipe(tiny_dataset, "train.steps=4"), out=tmp_path / "one", runs=tmp_path / "a"
    )
    half = pretrain_encoder(recipe(tiny_dataset, "train.steps=2"), out=tmp_path / "two", runs=tmp_path / "b")
    pretrain_encoder(recipe(tiny_dataset, "train.steps=4"), out=tmp_path / "two", resume=half.run)
    expected = load_file(straight.run / "model" / "weights.safetensors")
    resumed = load_file(half.run / "model" / "weights.safetensors")
    assert all(torch.equal(tensor, resumed[name]) for name, tensor in expected.items())


@given(
    st.lists(st.integers(0, 6), min_size=1, max_size=60),
    st.floats(0, 0.99, exclude_max=True),
    st.integers(0, 5),
)
def test_each_class_gives_its_share_and_keeps_an_image(numbers: list[int], share: float, seed: int) -> None:
    class_ids = np.array(numbers)
    training, held_out = hold_out(class_ids, share, seed)
    assert sorted([*training, *held_out]) == list(range(len(class_ids)))
    for number in set(numbers):
        count = numbers.count(number)
        aside = int((class_ids[held_out] == number).sum())
        expected = min(max(round(share * count), 1), count - 1) if share else 0
        assert aside == expected
        assert count - aside >= 1
    again = hold_out(class_ids, share, seed)
    assert again[0].tolist() == training.tolist()


def test_another_seed_holds_out_other_images() -> None:
    class_ids = np.repeat(np.arange(5), 20)
    assert hold_out(class_ids, 0.2, 0)[1].tolist() != hold_out(class_ids, 0.2, 1)[1].tolist()


def test_report_counts_right_answers(tiny_dataset: Path) -> None:
    split = Dataset.open(tiny_dataset).split("test")

    class Always(torch.nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return torch.tensor([[0.0, np.log(3.0)]]).repeat(len(images), 1)

    images = (
        np.flatnonzero(split.class_ids == 3)[:3].tolist() + np.flatnonzero(split.class_ids == 0)[:1].tolist()
    )
    report = classification_report(
        Always(), split, np.array(images), np.array([0, 3]), 16, 3, torch.device("cpu")
    )
    assert report["accuracy"] == 75
    assert report["chance"] == 50
    expected = (3 * np.log(4 / 3) + np.log(4)) / 4  # the right class has 3/4, or 1/4
    assert report["cross_entropy"] == pytest.approx(expected)


def test_a_dataset_without_classes_is_refused(tiny_dataset: Path, tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    raw.mkdir()
    for number in range(4):
        Image.new("RGB", (20, 20), (number, 0, 0)).save(raw / f"{number}.png")
        (raw / f"{number}.txt").write_text("an image\n")
    prepare(folder_source.read(raw), tmp_path / "plain", PrepareOptions(image_size=16))
    with pytest.raises(DataError, match="no classes"):
        pretrain_encoder(recipe(tmp_path / "plain"), out=tmp_path / "judge", runs=tmp_path / "runs")
    assert not (tmp_path / "runs").exists()


def test_a_split_that_is_not_there_and_a_batch_too_large(tiny_dataset: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no split 'tets'"):
        pretrain_encoder(recipe(tiny_dataset, "split=tets"), out=tmp_path / "judge", runs=tmp_path / "runs")
    with pytest.raises(DataError, match="holds 12 images, 10 of them to train on, a batch takes 11"):
        pretrain_encoder(
            recipe(tiny_dataset, "loader.batch=11"), out=tmp_path / "judge", runs=tmp_path / "runs"
        )
