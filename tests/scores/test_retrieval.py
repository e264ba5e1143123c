"""Measures of retrieval: chance, ties, folds and competitors; rankings against a loop and closed forms."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gancli.errors import DataError
from gancli.scores.retrieval import (
    _draw_rivals,
    average_precisions,
    chance_precision,
    chance_recall,
    first_hits,
    r_precision,
)


def codes(count, dim=8, seed=0):
    return torch.randn(count, dim, generator=torch.Generator().manual_seed(seed))


def test_images_equal_to_their_captions_all_hit():
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
    # All captions of class 0 point to the image, those of class 1 away from it
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
    with pytest.raises(DataError, match=r"1 in 100 needs 99 captions of other classes\. Received: 40"):
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


# --- queries that rank a gallery ------------------------------------------------------------------------------


def slow_ranking(query, gallery):
    """Positions of the gallery, nearest first, equals in order: one cosine at a time."""
    cosines = []
    for vector in gallery:
        norms = math.sqrt(sum(x * x for x in query)) * math.sqrt(sum(x * x for x in vector))
        cosines.append(sum(a * b for a, b in zip(query, vector, strict=True)) / norms if norms else 0.0)
    return sorted(range(len(gallery)), key=lambda position: -round(cosines[position], 10))


def slow_average_precision(ranking, group, groups):
    found, total = 0, 0.0
    for rank, position in enumerate(ranking, start=1):
        if groups[position] == group:
            found += 1
            total += found / rank
    return total / found


@settings(max_examples=40)
@given(seed=st.integers(0, 10_000), size=st.integers(1, 40), asking=st.integers(1, 9), coarse=st.booleans())
def test_rankings_agree_with_a_loop(seed, size, asking, coarse):
    rng = np.random.default_rng(seed)
    gallery, queries = rng.standard_normal((size, 3)), rng.standard_normal((asking, 3))
    if coarse:  # such vectors often point the same way, so that there are ties
        gallery, queries = gallery.round(), queries.round()
    groups = rng.integers(0, 4, size)
    query_groups = rng.choice(groups, asking)
    arguments = (torch.from_numpy(queries), torch.from_numpy(gallery), query_groups, groups)
    precisions, hits = average_precisions(*arguments), first_hits(*arguments)
    for number in range(asking):
        ranking = slow_ranking(queries[number], gallery)
        group = query_groups[number]
        assert precisions[number] == pytest.approx(slow_average_precision(ranking, group, groups), rel=1e-12)
        assert hits[number] == 1 + [groups[position] for position in ranking].index(group)


def test_average_precision_of_known_orders():
    gallery = torch.tensor([[1.0, 0.0], [1.0, 0.1], [1.0, 0.2], [1.0, 0.3]])
    query, mine = torch.tensor([[1.0, 0.0]]), np.array([1])

    def precision(*groups):
        return average_precisions(query, gallery, mine, np.array(groups))[0]

    assert precision(1, 1, 0, 0) == 1  # all of them first
    assert precision(0, 0, 1, 1) == pytest.approx((1 / 3 + 2 / 4) / 2)  # all of them last
    assert precision(0, 1, 0, 1) == pytest.approx((1 / 2 + 2 / 4) / 2)


def test_many_queries_are_ranked_in_chunks():
    queries, gallery = codes(700, seed=0), codes(30, seed=1)
    groups, gallery_groups = np.arange(700) % 10, np.arange(30) % 10
    together = average_precisions(queries, gallery, groups, gallery_groups)
    apart = [
        average_precisions(queries[i : i + 1], gallery, groups[i : i + 1], gallery_groups)[0]
        for i in (0, 300, 699)
    ]
    assert together.shape == (700,)
    assert together[[0, 300, 699]].tolist() == apart


def test_equal_vectors_keep_the_gallerys_order():
    queries, gallery = torch.ones(1, 300), torch.ones(50, 300) * torch.arange(1, 51)[:, None] / 7
    for position in range(50):
        groups = np.zeros(50, np.int64)
        groups[position] = 1
        assert first_hits(queries, gallery, np.array([1]), groups).tolist() == [position + 1]


def test_chance_is_the_mean_over_random_orders():
    rng = np.random.default_rng(0)
    groups = np.repeat([0, 1, 2], [2, 5, 9])
    query_groups = np.array([0, 0, 1, 2])
    precisions, hits = [], []
    for _ in range(4000):
        ranking = rng.permutation(len(groups))
        precisions.append([slow_average_precision(ranking, group, groups) for group in query_groups])
        hits.append([1 + [groups[position] for position in ranking].index(group) for group in query_groups])
    assert chance_precision(query_groups, groups) == pytest.approx(np.mean(precisions), abs=0.005)
    for k in (1, 3, 7, 16):
        assert chance_recall(query_groups, groups, k) == pytest.approx(np.mean(np.array(hits) <= k), abs=0.01)


def test_chance_of_extreme_galleries():
    one = np.array([3])
    assert chance_precision(one, one) == 1
    assert chance_precision(one, np.array([3, 3, 3])) == pytest.approx(1)
    assert chance_recall(one, np.arange(100), 1) == pytest.approx(0.01)
    assert chance_recall(one, np.arange(100), 100) == 1


def test_queries_that_can_find_nothing():
    with pytest.raises(DataError, match="at least one query"):
        first_hits(codes(0), codes(3), np.array([], np.int64), np.arange(3))
    with pytest.raises(DataError, match="1 of 2 queries, the first of group 7"):
        average_precisions(codes(2), codes(3), np.array([0, 7]), np.arange(3))


def test_the_official_rule_is_the_public_codes():
    """A loop as in the public evaluation: 99 draws that may repeat, the first of equals, folds without their last."""
    rng = np.random.default_rng(3)
    count, classes = 200, 10
    images, own = torch.randn(count, 6), torch.randn(count, 6)
    groups = rng.integers(0, classes, count)
    ours = r_precision(images, own, groups, own, groups, candidates=100, rule="official", seed=5)
    replay = np.random.default_rng(5)
    order = np.argsort(groups, kind="stable")
    others = [order[groups[order] != group] for group in groups]
    numbers = replay.integers(0, np.array([len(each) for each in others])[:, None], (count, 99))
    hits = np.zeros(count)
    for row in range(count):
        captions = torch.cat([own[row : row + 1], own[others[row][numbers[row]]]])
        cosines = torch.cosine_similarity(images[row : row + 1], captions)
        hits[row] = int(cosines.argmax()) == 0
    shuffled = replay.permutation(hits)
    folds = [shuffled[20 * fold : 20 * (fold + 1) - 1].mean() for fold in range(10)]
    assert ours.value == pytest.approx(100 * np.mean(folds))
    assert ours.std == pytest.approx(100 * np.std(folds))


def test_under_the_official_rule_ties_are_won():
    codes = torch.ones(40, 3)
    groups = np.arange(40) % 4
    assert r_precision(codes, codes, groups, codes, groups, candidates=5, rule="official").value == 100
