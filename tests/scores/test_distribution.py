"""KID, precision and recall: torch-fidelity's values on the same features, and the scores as a whole."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from gancli.errors import DataError, UsageError
from gancli.scores import features as features_module
from gancli.scores.distribution import (
    kernel_distance,
    precision_recall,
    score_kid,
    score_precision_recall,
)
from gancli.scores.features import all_features, load_features
from gancli.scores.fid import score_fid
from gancli.scores.image_sets import open_images


def features(count, seed, shift=0.0, dim=24):
    return torch.randn(count, dim, generator=torch.Generator().manual_seed(seed)) + shift


def test_the_kernel_distance_of_all_images_is_torch_fidelitys():
    reference = pytest.importorskip("torch_fidelity.metric_kid")
    real, fake = features(60, 0), features(60, 1, 0.3)
    theirs = reference.kid_features_to_metric(
        real,
        fake,
        kid_subsets=3,
        kid_subset_size=60,
        kid_degree=3,
        kid_gamma=None,
        kid_coef0=1,
        rng_seed=0,
        verbose=False,
    )
    ours, std = kernel_distance(real, fake, subsets=3, subset_size=60)
    assert ours == pytest.approx(theirs["kernel_inception_distance_mean"], rel=1e-6)
    assert std == pytest.approx(0, abs=1e-12)


def test_the_kernel_distance_has_no_bias():
    values = [
        kernel_distance(features(40, seed), features(40, 1000 + seed), subsets=1, subset_size=40)[0]
        for seed in range(200)
    ]
    assert abs(np.mean(values)) < 3 * np.std(values) / np.sqrt(len(values))
    assert min(values) < 0 < max(values)


@pytest.mark.parametrize("k", [1, 3, 5])
def test_precision_and_recall_are_torch_fidelitys(k):
    reference = pytest.importorskip("torch_fidelity.metric_prc")
    real, fake = features(70, 0), 0.8 * features(50, 1, 0.4)
    theirs = reference.prc_features_to_metric(
        fake, real, prc_neighborhood=k, prc_batch_size=16, verbose=False
    )
    assert precision_recall(real, fake, k=k) == pytest.approx(
        (theirs["precision"], theirs["recall"]), abs=1e-6
    )


def test_few_real_images_again_and_again_have_precision_without_recall():
    real = features(200, 0)
    precision, recall = precision_recall(real, real[:5].repeat(10, 1) + 1e-4 * features(50, 1))
    assert precision == 1
    assert recall < 0.1


@pytest.fixture
def encoder(tiny_encoder, tmp_path, monkeypatch):
    monkeypatch.setenv("GANCLI_HOME", str(tmp_path / "home"))
    return load_features(f"encoder:{tiny_encoder}")


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "images").mkdir()
    for number in range(6):
        pixels = np.random.default_rng(number).integers(0, 256, (32, 32, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"images/{number}.png")
    return tmp_path / "images"


def test_the_scores(encoder, folder, tiny_dataset):
    kid = score_kid(f"{tiny_dataset}:test", folder, encoder)
    assert (kid.metric, kid.n_real, kid.n_fake, kid.split) == ("kid", 12, 6, "test")
    assert "subsets of 6 images: there are no more" in kid.note
    precision, recall = score_precision_recall(f"{tiny_dataset}:test", folder, encoder)
    assert [row.metric for row in (precision, recall)] == ["precision", "recall"]
    assert "12 real and 6 generated images" in precision.note
    (real, _) = score_precision_recall(f"{tiny_dataset}:test", f"{tiny_dataset}:test", encoder)
    assert real.value == 100


def test_too_few_images_and_files_of_statistics_are_refused(encoder, folder, tiny_dataset):
    with pytest.raises(DataError, match="more than k = 6"):
        score_precision_recall(f"{tiny_dataset}:test", folder, encoder, k=6)
    with pytest.raises(UsageError, match="has no images"):
        score_kid("statistics.npz", folder, encoder)


def test_images_pass_the_network_once_for_all_scores(encoder, folder, tiny_dataset, monkeypatch):
    score_fid(f"{tiny_dataset}:test", folder, encoder)
    before = score_kid(f"{tiny_dataset}:test", folder, encoder, cache=False).value
    monkeypatch.setattr(features_module.FeatureNetwork, "__call__", lambda *_: pytest.fail("looks again"))
    assert score_kid(f"{tiny_dataset}:test", folder, encoder).value == before
    score_precision_recall(f"{tiny_dataset}:test", folder, encoder)
    score_fid(f"{tiny_dataset}:test", folder, encoder)


def test_a_changed_image_is_seen_and_a_broken_file_replaced(encoder, folder, tmp_path):
    before = all_features(open_images(folder), encoder, cache=True)
    (kept,) = (tmp_path / "home/features").iterdir()
    kept.write_bytes(b"broken")
    assert torch.equal(all_features(open_images(folder), encoder, cache=True), before)
    Image.new("RGB", (32, 32), "red").save(folder / "0.png")
    assert not torch.equal(all_features(open_images(folder), encoder, cache=True), before)


def test_the_cache_does_not_grow_without_bound(encoder, folder, tmp_path, monkeypatch):
    monkeypatch.setattr(features_module, "CACHE_LIMIT", 0)
    for colour in ("red", "green", "blue"):
        Image.new("RGB", (32, 32), colour).save(folder / "0.png")
        all_features(open_images(folder), encoder, cache=True)
    assert len(list((tmp_path / "home/features").iterdir())) == 1


def test_a_home_that_cannot_be_written_does_not_stop_a_score(encoder, folder, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("GANCLI_HOME", str(tmp_path / "file/home"))
    assert all_features(open_images(folder), encoder, cache=True).shape[0] == 6
