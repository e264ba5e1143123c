"""The Inception score: closed forms, bounds, torch-fidelity's formula, and whose classes are whose."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from gancli.encoders.classifier import Classifier, save_classifier
from gancli.errors import DataError, UsageError
from gancli.sampling.samples_folder import GeneratedImage, Sampling, write_samples
from gancli.scores.features import FeatureNetwork, load_logits
from gancli.scores.inception_score import InceptionScoreAccumulator, inception_score, score_is
from tests.conftest import CLASSES

LOGITS = {"backbone": "small", "size": 16, "width": 4}


def slow(logits: np.ndarray, bounds: list[tuple[int, int]]) -> list[float]:
    """exp(E[KL(p(y|x) || p(y))]) of each part, one image after the other."""
    scores = []
    for first, last in bounds:
        each = [np.exp(row - row.max()) / np.exp(row - row.max()).sum() for row in logits[first:last]]
        mean = sum(each) / len(each)
        divergence = sum(sum(p[c] * np.log(p[c] / mean[c]) for c in range(len(mean))) for p in each)
        scores.append(float(np.exp(divergence / len(each))))
    return scores


def test_certain_and_uniform_predictions_score_the_number_of_classes() -> None:
    logits = 1000.0 * torch.eye(7).repeat(30, 1)
    result = inception_score(logits, splits=1)
    assert result.value == pytest.approx(7, abs=1e-9)
    assert result.std == 0


def test_images_that_all_look_alike_score_one() -> None:
    logits = torch.randn(1, 5).repeat(40, 1)
    result = inception_score(logits)
    assert result.value == pytest.approx(1, abs=1e-12)
    assert result.std == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize(("count", "splits"), [(40, 10), (43, 10), (10, 10), (9, 4), (5, 1)])
def test_against_a_slow_transcription(count: int, splits: int) -> None:
    logits = 4 * torch.randn(count, 6, generator=torch.Generator().manual_seed(count))
    result = inception_score(logits, splits=splits, seed=None)
    bounds = [(i * count // splits, (i + 1) * count // splits) for i in range(splits)]
    expected = slow(logits.double().numpy(), bounds)
    np.testing.assert_allclose(result.scores, expected, rtol=1e-12)
    assert result.value == pytest.approx(np.mean(expected), rel=1e-12)
    assert result.std == pytest.approx(np.std(expected), rel=1e-9, abs=1e-12)


def test_against_torch_fidelity() -> None:
    metric_isc = pytest.importorskip("torch_fidelity.metric_isc")
    logits = 3 * torch.randn(137, 20, generator=torch.Generator().manual_seed(0))
    ours = inception_score(logits, seed=5)
    shuffled = logits[np.random.default_rng(5).permutation(137)]
    theirs = metric_isc.isc_features_to_metric(shuffled, splits=10, shuffle=False)
    assert ours.value == pytest.approx(theirs["inception_score_mean"], rel=1e-12)
    assert ours.std == pytest.approx(theirs["inception_score_std"], rel=1e-9)


@given(
    arrays(
        np.float64,
        st.tuples(st.integers(3, 12), st.integers(2, 6)),
        elements=st.floats(-1e30, 1e30, allow_subnormal=False),
    ),
    st.integers(1, 3),
)
def test_lies_between_one_and_the_number_of_classes(logits: np.ndarray, splits: int) -> None:
    result = inception_score(torch.from_numpy(logits), splits=splits)
    assert ((result.scores >= 1) & (result.scores <= logits.shape[1])).all()


@given(st.lists(st.integers(1, 9), min_size=1, max_size=6), st.integers(0, 3))
def test_batches_do_not_matter(sizes: list[int], seed: int) -> None:
    logits = torch.randn(sum(sizes), 4, generator=torch.Generator().manual_seed(seed))
    accumulator = InceptionScoreAccumulator(len(logits), 4, splits=1, seed=seed)
    for chunk in logits.split(sizes):
        accumulator.update(chunk)
    assert accumulator.result().value == pytest.approx(
        inception_score(logits, splits=1, seed=seed).value, rel=1e-12
    )


def test_the_order_of_the_images_is_shuffled_by_the_seed() -> None:
    logits = 20 * torch.eye(10).repeat_interleave(10, dim=0)  # in order of classes, as datasets are
    assert inception_score(logits, seed=None).value == pytest.approx(1)
    assert inception_score(logits, seed=0).value > 5
    assert inception_score(logits, seed=0).scores.tolist() == inception_score(logits, seed=0).scores.tolist()
    assert inception_score(logits, seed=0).scores.tolist() != inception_score(logits, seed=1).scores.tolist()


def test_too_few_or_broken() -> None:
    with pytest.raises(DataError, match=r"at least 10 images\. Received: 9"):
        inception_score(torch.randn(9, 3))
    with pytest.raises(DataError, match="NaN or infinite"):
        inception_score(torch.full((10, 3), torch.nan))
    accumulator = InceptionScoreAccumulator(12, 3)
    accumulator.update(torch.randn(4, 3))
    with pytest.raises(ValueError, match="4 images were added, 12 were announced"):
        accumulator.result()


# --- images and classifiers ---------------------------------------------------------------------------------


def judge(folder: Path, names: list[str]) -> FeatureNetwork:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = Classifier(**LOGITS, classes=len(names))  # type: ignore[arg-type]
    save_classifier(folder, network, names, {"classifier": LOGITS})
    return load_logits(f"classifier:{folder}")


@pytest.fixture
def own(tmp_path: Path) -> FeatureNetwork:
    """A classifier of the tiny dataset's two test classes."""
    return judge(tmp_path / "own", [CLASSES[0], CLASSES[3]])


@pytest.fixture
def images(tmp_path: Path, tiny_dataset: Path) -> Path:
    """A folder as gancli sample leaves it, of 12 images for the captions of the tiny test split."""
    folder = tmp_path / "images"
    folder.mkdir()
    rng = np.random.default_rng(0)
    rows = []
    for number in range(12):
        name = f"{number:02d}.png"
        Image.fromarray(rng.integers(0, 256, (16, 16, 3), dtype=np.uint8)).save(folder / name)
        rows.append(GeneratedImage(name, "a bird", "", None, 0, 0, 16))
    write_samples(folder, rows)
    settings = {
        "model": "runs/1/model",
        "model_hash": "a" * 64,
        "method": "StackGAN",
        "data": str(tiny_dataset),
        "dataset": "cub",
        "split": "test",
        "stages": [16],
        "seed": 3,
    }
    empty = {
        "encoder_hash": "",
        "images": 12,
        "variants": 1,
        "words": 18,
        "captions_sha256": "",
        "figures": [],
    }
    known = {field.name for field in dataclasses.fields(Sampling)}
    record = {**settings, **empty, "gancli_version": "0"}
    (folder / "sampling.json").write_text(json.dumps({k: v for k, v in record.items() if k in known}))
    return folder


def test_rows_of_generated_and_real_images(images: Path, own: FeatureNetwork) -> None:
    seen: list[tuple[int, int]] = []
    fake, real = score_is(str(images), own, batch=5, progress=lambda *at: seen.append(at))
    assert (fake.metric, fake.method, fake.model, fake.seed) == (
        "inception_score",
        "StackGAN",
        "runs/1/model",
        3,
    )
    assert (fake.dataset, fake.split, fake.n_real, fake.n_fake) == ("cub", "test", 0, 12)
    assert (real.method, real.n_real, real.n_fake, real.image_size) == ("real", 12, 0, 16)
    assert 1 <= fake.value <= 2
    assert fake.network.startswith("classifier:")
    assert fake.network_sha256 == own.sha256
    assert "10 splits" in fake.protocol
    assert "IS (self-finetuned)" in fake.note
    assert "biased downward" in fake.note
    assert "ceiling" in real.note
    assert seen == [(5, 12), (10, 12), (12, 12)] * 2


def test_the_batch_does_not_change_the_score(images: Path, own: FeatureNetwork) -> None:
    one, other = score_is(str(images), own, batch=3)[0], score_is(str(images), own, batch=12)[0]
    assert one.value == pytest.approx(other.value, rel=1e-6)


def test_real_images_alone(tiny_dataset: Path, own: FeatureNetwork) -> None:
    (row,) = score_is(f"{tiny_dataset}:test", own, splits=1)
    assert row.std is None
    assert "all images at once" in row.protocol
    assert (row.method, row.n_real, row.n_fake) == ("real", 12, 0)
    with pytest.raises(UsageError, match="real images themselves"):
        score_is(f"{tiny_dataset}:test", own, data=f"{tiny_dataset}:test")


def test_a_classifier_of_other_classes_is_refused(images: Path, tiny_dataset: Path, tmp_path: Path) -> None:
    other = judge(tmp_path / "other", [CLASSES[0], CLASSES[1]])
    with pytest.raises(
        DataError, match=f"of other classes: it does not know 1 of the 2.*{CLASSES[3]}"
    ) as caught:
        score_is(str(images), other)
    assert f"pretrain-encoder classifier data={tiny_dataset} split=test" in str(caught.value.hint)


def test_a_classifier_that_knows_more_classes_is_told_of(images: Path, tmp_path: Path) -> None:
    row = score_is(str(images), judge(tmp_path / "all", list(CLASSES)))[0]
    assert "knows 4 classes, the images are of 2" in row.note


def test_images_whose_classes_are_not_known(images: Path, own: FeatureNetwork, tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    plain.mkdir()
    for file in images.glob("*.png"):
        shutil.copy(file, plain)
    (row,) = score_is(str(plain), own)
    assert "classes of the images are unknown" in row.note
    assert row.dataset == str(plain)

    sampling = json.loads((images / "sampling.json").read_text())
    (images / "sampling.json").write_text(json.dumps({**sampling, "data": "moved/away"}))
    (row,) = score_is(str(images), own)
    assert "their dataset moved/away does not exist" in row.note
    assert (row.dataset, row.split) == ("cub", "test")


def test_data_that_are_no_split(images: Path, own: FeatureNetwork) -> None:
    with pytest.raises(UsageError, match="is not a split"):
        score_is(str(images), own, data=str(images))
