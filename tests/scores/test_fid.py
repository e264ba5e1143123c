"""FID: closed forms, pytorch-fid's distance, streaming statistics, files of statistics, and the score as a whole."""

import math

import hypothesis.extra.numpy as arrays
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from pytorch_fid import fid_score
from scipy import linalg

from gancli.errors import DataError, UsageError
from gancli.scores.features import load_features
from gancli.scores.fid import Statistics, StatisticsAccumulator, frechet_distance, score_fid


def statistics(features, batch=64):
    accumulator = StatisticsAccumulator(features.shape[1])
    for start in range(0, len(features), batch):
        accumulator.update(features[start : start + batch])
    return accumulator.result()


def correlated(n, dim, seed):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, dim)) @ rng.normal(size=(dim, dim)) / math.sqrt(dim) + rng.normal(size=dim)


@pytest.fixture(autouse=True)
def own_home(tmp_path, monkeypatch):
    monkeypatch.setenv("GANCLI_HOME", str(tmp_path / "home"))


SCIPY_ROOT = linalg.sqrtm


def pytorch_fid(first, second):
    # pytorch-fid asks scipy's root for an error estimate with an argument that SciPy 1.18 no longer has
    def root(matrix, disp=True):
        return SCIPY_ROOT(matrix), 0.0

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fid_score.linalg, "sqrtm", root)
        return fid_score.calculate_frechet_distance(
            first.mean, first.covariance, second.mean, second.covariance
        )


@pytest.mark.parametrize("dim", [1, 7, 64])
def test_agrees_with_pytorch_fid(dim):
    first, second = statistics(correlated(500, dim, 0)), statistics(correlated(400, dim, 1))
    assert frechet_distance(first, second) == pytest.approx(pytorch_fid(first, second), abs=1e-7)


def test_fewer_images_than_features_agrees_with_the_centred_data_itself():
    dim = 96
    first, second = correlated(20, dim, 0), correlated(30, dim, 1)
    a, b = ((x - x.mean(0)) / math.sqrt(len(x) - 1) for x in (first, second))
    shift = first.mean(0) - second.mean(0)
    nuclear = np.linalg.svd(a @ b.T, compute_uv=False).sum()
    exact = shift @ shift + np.square(a).sum() + np.square(b).sum() - 2 * nuclear
    assert frechet_distance(statistics(first), statistics(second)) == pytest.approx(exact, abs=1e-9)


@given(
    arrays.arrays(np.float64, (2, 5), elements=st.floats(0, 100)),
    # A variance below the rounding of the largest one counts as zero, so between the two there is nothing to test.
    arrays.arrays(np.float64, (2, 5), elements=st.just(0.0) | st.floats(1e-3, 100)),
)
def test_diagonal_gaussians(means, deviations):
    first, second = (Statistics(m, np.diag(s**2), 10) for m, s in zip(means, deviations, strict=True))
    expected = np.square(means[0] - means[1]).sum() + np.square(deviations[0] - deviations[1]).sum()
    assert frechet_distance(first, second) == pytest.approx(expected, rel=1e-9, abs=1e-6)


@pytest.mark.parametrize("smallest", [0.1, 1e-3, 1e-5, 1e-9])
def test_steep_spectra_lose_no_digits(smallest):
    # In one basis the distance is that of the deviations; the roots of rounded squares would be off by 1e-5
    basis = np.linalg.qr(np.random.default_rng(0).normal(size=(300, 300)))[0]
    deviations = np.geomspace(3, smallest, 300), np.geomspace(2, smallest, 300)
    first, second = (Statistics(np.zeros(300), basis * s**2 @ basis.T, 500) for s in deviations)
    expected = np.square(deviations[0] - deviations[1]).sum()
    assert frechet_distance(first, second) == pytest.approx(expected, abs=2e-7)


@pytest.mark.parametrize("n", [2, 30, 300])
def test_of_itself_is_zero_and_it_is_symmetric(n):
    first, second = statistics(correlated(n, 64, 0)), statistics(correlated(n, 64, 1))
    assert frechet_distance(first, first) < 1e-6
    assert frechet_distance(first, second) == pytest.approx(frechet_distance(second, first), rel=1e-12)
    assert frechet_distance(first, second) > 1


def test_images_without_any_variance():
    same = Statistics(np.zeros(3), np.zeros((3, 3)), 5)
    moved = Statistics(np.ones(3), np.zeros((3, 3)), 5)
    assert frechet_distance(same, moved) == pytest.approx(3)


def test_features_of_different_length_are_refused():
    with pytest.raises(ValueError, match="3 and of 4"):
        frechet_distance(statistics(correlated(9, 3, 0)), statistics(correlated(9, 4, 0)))


@given(
    features=arrays.arrays(
        np.float32, st.tuples(st.integers(2, 40), st.integers(1, 6)), elements=st.floats(-1e3, 1e3, width=32)
    ),
    batch=st.integers(1, 50),
)
def test_streaming_gives_numpys_mean_and_covariance(features, batch):
    result = statistics(features, batch)
    exact = features.astype(np.float64)
    assert result.n == len(features)
    np.testing.assert_allclose(result.mean, exact.mean(0), atol=1e-9)
    np.testing.assert_allclose(result.covariance, np.atleast_2d(np.cov(exact, rowvar=False)), atol=1e-6)


def test_features_far_from_zero_lose_no_digits():
    features = correlated(200, 5, 0)
    near, far = statistics(features), statistics(features + 1e6)
    np.testing.assert_allclose(far.covariance, near.covariance, rtol=1e-6)


@pytest.mark.parametrize("count", [0, 1])
def test_too_few_images(count):
    accumulator = StatisticsAccumulator(3)
    accumulator.update(np.zeros((count, 3)))
    with pytest.raises(DataError, match=f"at least 2 .* {count}"):
        accumulator.result()


# --- files of statistics --------------------------------------------------------------------------------------


def test_statistics_round_trip(tmp_path):
    original = statistics(correlated(50, 4, 0))
    original = Statistics(original.mean, original.covariance, original.n, "abc", "bilinear to 8x8")
    original.save(tmp_path / "stats.npz")
    loaded = Statistics.load(tmp_path / "stats.npz")
    np.testing.assert_array_equal(loaded.covariance, original.covariance)
    assert (loaded.n, loaded.network_sha256, loaded.resize) == (50, "abc", "bilinear to 8x8")


def test_statistics_of_pytorch_fid_load_without_a_count(tmp_path):
    np.savez(tmp_path / "theirs.npz", mu=np.zeros(3), sigma=np.eye(3))
    loaded = Statistics.load(tmp_path / "theirs.npz")
    assert (loaded.n, loaded.network_sha256) == (None, None)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"mean": np.zeros(3)}, "mu and sigma"),
        ({"mu": np.zeros(3), "sigma": np.eye(4)}, "do not fit"),
        ({"mu": np.array([1, np.nan]), "sigma": np.eye(2)}, "NaN"),
        ({"mu": np.array([object()]), "sigma": np.eye(1)}, "cannot be read"),  # a pickle
    ],
)
def test_files_that_are_no_statistics(tmp_path, content, message):
    np.savez(tmp_path / "bad.npz", **content)
    with pytest.raises(DataError, match=message):
        Statistics.load(tmp_path / "bad.npz")


def test_files_that_are_no_archives(tmp_path):
    (tmp_path / "text.npz").write_text("hello")
    with pytest.raises(DataError, match="cannot be read"):
        Statistics.load(tmp_path / "text.npz")
    with pytest.raises(DataError, match="no such file"):
        Statistics.load(tmp_path / "absent.npz")


# --- the score ------------------------------------------------------------------------------------------------


@pytest.fixture
def network(tiny_encoder):
    return load_features(f"encoder:{tiny_encoder}")


@pytest.fixture
def images(tmp_path):
    folder = tmp_path / "fake"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for number in range(7):
        Image.fromarray(rng.integers(0, 255, (32, 32, 3), dtype=np.uint8)).save(folder / f"{number}.png")
    return folder


def test_a_split_against_itself_is_zero(tiny_dataset, network):
    row = score_fid(f"{tiny_dataset}:test", f"{tiny_dataset}:test", network)
    assert row.value < 1e-6
    assert (row.n_real, row.n_fake, row.dataset, row.split, row.method) == (12, 12, "cub", "test", "real")


def test_row_names_what_the_number_depends_on(tiny_dataset, network, images):
    row = score_fid(f"{tiny_dataset}:test", str(images), network)
    assert row.value > 0
    assert (row.n_real, row.n_fake) == (12, 7)
    assert row.network.startswith("encoder:")
    assert row.network_sha256 == network.sha256
    assert "16x16" in row.resize
    assert "7 generated images" in row.note
    assert "12 real images" in row.note


def test_batch_size_does_not_matter(tiny_dataset, network, images):
    values = [
        score_fid(f"{tiny_dataset}:test", str(images), network, batch=batch, cache=False).value
        for batch in (1, 5, 64)
    ]
    assert values == pytest.approx([values[0]] * 3, abs=1e-3)


def test_features_are_kept_by_content(tiny_dataset, network, images, tmp_path):
    first = score_fid(f"{tiny_dataset}:test", str(images), network)
    kept = list((tmp_path / "home/features").glob("*.npy"))
    assert len(kept) == 2
    seen = []
    watched = {"progress": lambda done, total: seen.append(total)}
    assert score_fid(f"{tiny_dataset}:test", str(images), network, **watched).value == first.value
    assert seen == []
    score_fid(f"{tiny_dataset}:test", str(images), network, size=16)
    assert len(list((tmp_path / "home/features").glob("*.npy"))) == 3
    for each in kept:
        each.write_bytes(b"cut short")
    assert score_fid(f"{tiny_dataset}:test", str(images), network).value == first.value


def test_saved_statistics_stand_for_the_images(tiny_dataset, network, images, tmp_path):
    saved = tmp_path / "real.npz"
    first = score_fid(f"{tiny_dataset}:test", str(images), network, save_stats=saved)
    again = score_fid(str(saved), str(images), network)
    assert again.value == pytest.approx(first.value, rel=1e-12)
    assert again.n_real == 12


def test_statistics_of_another_network_are_refused(network, images, tmp_path):
    np.savez(tmp_path / "short.npz", mu=np.zeros(3), sigma=np.eye(3))
    with pytest.raises(DataError, match="3 features"):
        score_fid(str(tmp_path / "short.npz"), str(images), network)
    dim = network.dim
    Statistics(np.zeros(dim), np.eye(dim), 9, "0" * 64, "").save(tmp_path / "other.npz")
    with pytest.raises(DataError, match="sha256 0000"):
        score_fid(str(tmp_path / "other.npz"), str(images), network)


def test_foreign_statistics_say_that_their_count_is_unknown(network, images, tmp_path):
    np.savez(tmp_path / "theirs.npz", mu=np.zeros(network.dim), sigma=np.eye(network.dim))
    row = score_fid(str(tmp_path / "theirs.npz"), str(images), network)
    assert row.n_real is None
    assert "number of real images unknown" in row.note


def test_sizes_that_differ_are_said(tiny_dataset, network, images):
    assert "pixels" not in score_fid(f"{tiny_dataset}:test", f"{tiny_dataset}:test", network).note
    with pytest.raises(UsageError, match="1 to 32"):
        score_fid(f"{tiny_dataset}:test", str(images), network, size=64)


def test_features_that_are_not_finite(tiny_dataset, network):
    import dataclasses

    broken = dataclasses.replace(network, network=lambda x: torch.full((len(x), network.dim), torch.nan))
    with pytest.raises(DataError, match="NaN"):
        score_fid(f"{tiny_dataset}:test", f"{tiny_dataset}:test", broken, cache=False)
