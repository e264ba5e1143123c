"""R-precision: chance, ties, folds and competitors; and the score of a samples folder."""

import dataclasses
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gancli.data.shards import Dataset
from gancli.encoders.damsm import load_damsm
from gancli.errors import DataError, UsageError
from gancli.inference.sample import sample
from gancli.samples import read_samples
from gancli.scores.retrieval import (
    _draw_rivals,
    batch_accuracy,
    r_precision,
    score_r_precision,
    sentence_codes,
)


def codes(count, dim=8, seed=0):
    return torch.randn(count, dim, generator=torch.Generator().manual_seed(seed))


def test_pictures_equal_to_their_captions_all_hit():
    own = codes(130)
    result = r_precision(own, own, np.arange(130), own, np.arange(130))
    assert (result.value, result.std) == (100, 0)


def test_independent_codes_score_chance():
    n = 20_000
    result = r_precision(
        codes(n, seed=0), codes(n, seed=1), np.arange(n), codes(500, seed=2), -np.arange(500) - 1
    )
    # 1 % with a binomial deviation of 0.07 %
    assert result.value == pytest.approx(1, abs=0.35)


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_constant_codes_score_chance_and_not_everything(value):
    constant = torch.full((200, 4), value)
    result = r_precision(constant, constant, np.arange(200), constant, np.arange(200))
    assert result.value == pytest.approx(1)


def test_a_competitor_with_the_same_words_costs_half():
    own = torch.tensor([[1.0, 0.0]])
    pool = torch.tensor([[2.0, 0.0], [0.0, 1.0], [0.0, -1.0]])
    result = r_precision(own, own, np.array([9]), pool, np.array([0, 1, 2]), candidates=4)
    assert result.hits.tolist() == [0.5]


def test_captions_of_the_own_class_do_not_compete():
    # All captions of class 0 point to the picture, those of class 1 away from it
    towards, away = torch.tensor([1.0, 0.0]), torch.tensor([-1.0, 0.1])
    pool = torch.stack([towards] * 5 + [away] * 5)
    groups = np.array([0] * 5 + [1] * 5)
    own = torch.tensor([[1.0, 0.01]])
    same = r_precision(own, own, np.array([0]), pool, groups, candidates=6)
    other = r_precision(own, 0.5 * own - 0.2, np.array([1]), pool, groups, candidates=6)
    assert same.value == 100
    assert other.value == 0


def test_agrees_with_a_loop():
    n, m = 57, 80
    images, own, pool = codes(n, seed=0), codes(n, seed=1) + codes(n, seed=0), codes(m, seed=2)
    rng = np.random.default_rng(4)
    groups, pool_groups = rng.integers(0, 5, n), rng.integers(0, 5, m)
    result = r_precision(images, own, groups, pool, pool_groups, candidates=10, seed=3)
    rivals = _draw_rivals(groups, pool_groups, 9, np.random.default_rng(3))
    for i in range(n):
        cosine = [torch.cosine_similarity(images[i], each, dim=0) for each in (own[i], *pool[rivals[i]])]
        assert result.hits[i] == float(all(cosine[0] > each for each in cosine[1:]))


@settings(deadline=None)
@given(data=st.data(), classes=st.integers(2, 6), size=st.integers(3, 40))
def test_rivals_are_different_and_of_other_groups(data, classes, size):
    rng = np.random.default_rng(data.draw(st.integers(0, 1000)))
    pool_groups = np.concatenate([np.arange(classes), rng.integers(0, classes, size)])
    groups = rng.integers(0, classes + 1, 20)  # one of them has no caption in the pool
    most = min(int((pool_groups != group).sum()) for group in groups)
    count = data.draw(st.integers(1, most))
    rivals = _draw_rivals(groups, pool_groups, count, rng)
    assert rivals.shape == (20, count)
    for group, row in zip(groups, rivals, strict=True):
        assert len(set(row)) == count
        assert (pool_groups[row] != group).all()


def test_every_rival_is_equally_likely():
    pool_groups = np.array([0, 1, 1, 2, 2, 2, 3, 3])
    rivals = _draw_rivals(np.full(20_000, 1), pool_groups, 3, np.random.default_rng(0))
    shares = np.bincount(rivals.ravel(), minlength=8) / 20_000
    assert shares[pool_groups == 1].tolist() == [0, 0]
    np.testing.assert_allclose(shares[pool_groups != 1], 0.5, atol=0.02)


def test_too_few_captions_of_other_classes():
    pool = codes(60)
    with pytest.raises(DataError, match=r"1 in 100 needs 99 captions of other classes, here are 40"):
        r_precision(codes(1), codes(1), np.array([0]), pool, np.array([0] * 20 + [1] * 40))
    with pytest.raises(DataError, match="at least one"):
        r_precision(codes(0), codes(0), np.array([], np.int64), pool, np.zeros(60, np.int64))


@pytest.mark.parametrize("count", [3, 10, 103])
def test_folds_leave_nothing_out(count):
    images = codes(count)
    own = torch.where(torch.arange(count)[:, None] % 3 == 0, images, -images)
    result = r_precision(
        images, own, np.arange(count), codes(50, seed=1), -np.ones(50, np.int64), candidates=20
    )
    assert result.value == pytest.approx(100 * math.ceil(count / 3) / count)
    assert len(result.hits) == count
    assert result.std >= 0


def test_seed_repeats_the_draw():
    arguments = (codes(50), codes(50, seed=1), np.arange(50), codes(300, seed=2), -np.arange(300) - 1)
    values = [r_precision(*arguments, candidates=5, seed=seed).hits.tolist() for seed in (0, 0, 1)]
    assert values[0] == values[1] != values[2]


def test_batch_accuracy_of_right_wrong_and_equal_pairs():
    own = torch.eye(6)
    assert batch_accuracy(own, own, 4) == (100, 100)
    assert batch_accuracy(own, own.roll(1, 0), 3) == (0, 0)
    assert batch_accuracy(torch.ones(4, 2), torch.ones(4, 2), 4) == (0, 0)


# --- a samples folder -----------------------------------------------------------------------------------------


@pytest.fixture
def encoder(tiny_encoder):
    return load_damsm(tiny_encoder)


@pytest.fixture
def samples(tiny_model, tiny_dataset, tmp_path):
    sample(tiny_model, out=tmp_path / "samples", data=tiny_dataset, n=20, seed=5)
    return str(tmp_path / "samples")


def test_score_of_a_samples_folder_and_its_ceiling(samples, encoder, tiny_dataset):
    generated, real = score_r_precision(samples, encoder, candidates=4)
    assert (generated.method, real.method) == ("FF-GAN", "real")
    assert (generated.n_fake, generated.n_real, generated.seed) == (20, 12, 5)
    assert (real.n_fake, real.n_real) == (0, 12)
    for row in (generated, real):
        assert 0 <= row.value <= 100
        assert row.std is not None
        assert row.protocol.startswith("R = 1 of 4:")
        assert (row.dataset, row.split, row.network_sha256) == ("cub", "test", encoder.hash)
    assert "this very encoder" in generated.note
    other = dataclasses.replace(encoder, hash="0" * 64)
    assert "this very encoder" not in score_r_precision(samples, other, candidates=4)[0].note
    assert (
        score_r_precision(samples, encoder, data=f"{tiny_dataset}:test", candidates=4)[0].value
        == generated.value
    )


def test_batch_size_does_not_matter(samples, encoder):
    values = [
        [row.value for row in score_r_precision(samples, encoder, candidates=4, batch=b)] for b in (1, 64)
    ]
    assert values[0] == values[1]


def test_captions_that_are_no_datasets(tiny_model, tiny_dataset, encoder, tmp_path):
    sample(tiny_model, out=tmp_path / "own", texts=["a white bird"])
    with pytest.raises(UsageError, match="which dataset"):
        score_r_precision(str(tmp_path / "own"), encoder)
    with pytest.raises(DataError, match="no image ''"):
        score_r_precision(str(tmp_path / "own"), encoder, data=f"{tiny_dataset}:test")
    with pytest.raises(UsageError, match="is a dataset"):
        score_r_precision(f"{tiny_dataset}:test", encoder)


def test_captions_of_another_split(samples, encoder, tiny_dataset):
    key = read_samples_keys(samples)[0]
    with pytest.raises(DataError, match=key):
        score_r_precision(samples, encoder, data=f"{tiny_dataset}:train", candidates=4)


def read_samples_keys(folder):
    from pathlib import Path

    return [record.key for record in read_samples(Path(folder))]


def test_sentences_are_encoded_by_the_encoders_own_words(encoder, tiny_dataset):
    split = Dataset.open(tiny_dataset).split("test")
    captions = [split.captions(0)[0], split.captions(1)[0], split.captions(0)[0]]
    result = sentence_codes(captions, encoder, 18)
    assert result.shape == (3, 16)
    assert torch.equal(result[0], result[2])
    tokens = torch.from_numpy(split.tokens(1)[0]).long()[None]
    expected = encoder.text(tokens, torch.tensor([tokens.shape[1]]))[1]
    torch.testing.assert_close(result[1:2], expected, atol=1e-6, rtol=1e-5)
    with pytest.raises(DataError, match="xyzzy"):
        sentence_codes(["a bird", "xyzzy"], encoder, 18)
