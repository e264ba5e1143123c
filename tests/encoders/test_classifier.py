"""Classifier: shapes, loss, trained parameters and folder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from gancli.data.loader import Batch
from gancli.encoders.classifier import Classifier, ClassifierTraining, load_classifier, save_classifier
from gancli.errors import DataError
from tests.defaults import make_model

ARGUMENTS = {"backbone": "small", "size": 16, "width": 4, "dropout": 0.0}
CLASS_IDS = np.array([2, 5, 9])


def batch_of(class_ids: list[int]) -> Batch:
    count = len(class_ids)
    return Batch(
        images=(torch.rand(count, 3, 16, 16) * 2 - 1,),
        tokens=torch.zeros(count, 0, dtype=torch.int64),
        lengths=torch.zeros(count, dtype=torch.int64),
        class_ids=torch.tensor(class_ids),
        indices=torch.arange(count),
    )


def test_logits_are_linear_in_the_features_of_images_of_any_side() -> None:
    network = Classifier("small", classes=7, size=16, width=4, dropout=0.5).eval()
    images = torch.rand(2, 3, 40, 40)
    features, logits = network.features(images), network(images)
    assert features.shape == (2, network.backbone.global_channels)
    assert logits.shape == (2, 7)
    torch.testing.assert_close(logits, features @ network.head.weight.T + network.head.bias)
    with pytest.raises(ValueError, match="2 classes"):
        Classifier("small", classes=1, size=16)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_loss_is_cross_entropy_over_the_classes_own_numbers(smoothing: float) -> None:
    network = Classifier(**ARGUMENTS, classes=3).eval()
    training = make_model(ClassifierTraining, network, CLASS_IDS, label_smoothing=smoothing)
    batch = batch_of([9, 2, 5, 9])
    assert training.targets(batch).tolist() == [2, 0, 1, 2]
    loss = training.terms(batch)["cross_entropy"].item()

    logits = network(batch.images[0]).detach().double().numpy()
    expected = 0.0
    for row, right in zip(logits, [2, 0, 1, 2], strict=True):
        log_p = row - np.log(np.exp(row).sum())
        target = np.full(3, smoothing / 3)
        target[right] += 1 - smoothing
        expected -= (target * log_p).sum() / 4
    assert loss == pytest.approx(expected, rel=1e-5)


def test_every_parameter_learns_and_only_matrices_decay() -> None:
    training = make_model(ClassifierTraining, Classifier(**ARGUMENTS, classes=3), CLASS_IDS, weight_decay=0.1)
    training.terms(batch_of([2, 5, 9, 2]))["cross_entropy"].backward()
    for name, parameter in training.network.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name
    groups = training.optimizer.param_groups
    assert sum(len(group["params"]) for group in groups) == len(list(training.network.parameters()))
    assert all((p.ndim > 1) == (group["weight_decay"] > 0) for group in groups for p in group["params"])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    network = Classifier(**ARGUMENTS, classes=3)
    save_classifier(tmp_path / "judge", network, ["a", "b", "c"], {"dataset": "toy", "classifier": ARGUMENTS})
    return tmp_path / "judge"


def test_round_trip(folder: Path) -> None:
    one, other = load_classifier(folder), load_classifier(folder)
    assert one.class_names == ("a", "b", "c")
    assert one.settings["dataset"] == "toy"
    assert one.hash == other.hash
    assert not one.network.training
    assert not any(p.requires_grad for p in one.network.parameters())
    images = torch.rand(2, 3, 16, 16)
    assert torch.equal(one.network(images), other.network(images))
    assert sorted(path.name for path in folder.iterdir()) == [
        "README.md",
        "config.yaml",
        "weights.safetensors",
    ]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("kind: classifier", "kind: damsm", "not 'classifier'"),
        ("- c\n", "", "does not fit"),
        ("- c\n", "- 3\n", "class_names"),
        ("  width: 4", "  width: 8", "does not fit"),
        ("  width: 4", "  colour: red", "colour"),
        ("class_names:", "names:", "class_names"),
    ],
)
def test_a_damaged_folder_says_why(folder: Path, old: str, new: str, message: str) -> None:
    config = folder / "config.yaml"
    assert old in config.read_text()
    config.write_text(config.read_text().replace(old, new))
    with pytest.raises(DataError, match=message):
        load_classifier(folder)


@pytest.mark.parametrize("name", ["config.yaml", "weights.safetensors"])
def test_a_folder_without_one_of_its_files_names_it(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(DataError, match=name):
        load_classifier(folder)
