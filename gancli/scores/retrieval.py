"""Retrieval among vectors by cosine.

R-precision (AttnGAN, section 4) compares pairs. Average precision and recall (S2IGAN) are of queries that rank a whole
gallery. These functions see vectors and group numbers only; callers know what they stand for.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from gancli.errors import DataError

RPrecisionRule = Literal["fixed", "official"]
CANDIDATES = 100
FOLDS = 10
TIE = 1e-6  # cosines closer than this are equal: float32 rounding in products of different shape
_CHUNK = 256  # rows at a time: images with their candidates (256 x 100 x D floats), or queries
_DECIMALS = 10  # decimals of a cosine that count; float64 rounding beyond them would separate equal vectors


@dataclass(frozen=True)
class RPrecision:
    """The result for one set of images.

    Attributes:
        value: Images whose own caption ranked first, per cent.
        std: Population standard deviation over the folds, in per cent.
        hits: (N,) 1, 0, or 1/k for each image where k captions share the first rank.
    """

    value: float
    std: float
    hits: NDArray[np.float64]


def r_precision(
    image_codes: Tensor,
    caption_codes: Tensor,
    groups: NDArray[np.int64],
    pool_codes: Tensor,
    pool_groups: NDArray[np.int64],
    *,
    candidates: int = CANDIDATES,
    folds: int = FOLDS,
    rule: RPrecisionRule = "fixed",
    seed: int = 0,
) -> RPrecision:
    """Measure R-precision with R = 1: the share of images nearest to their own caption.

    The rule "official" is that of the public code (AttnGAN, DM-GAN): competitors may be drawn twice, of equals the
    image's own caption is first, and each fold loses its last image, whose hit is not counted. "fixed" is as follows.

    The competitors of an image are drawn without replacement from the captions of the pool that belong to another
    group. Captions at the same cosine share the first rank: where k captions tie with the image's own one, it counts
    1 / (1 + k), the expected value of a fair draw. Codes that are all equal therefore score 1 / candidates and not 100
    % (the public code takes the first of equals, which is the image's own), and a competitor with the same words as the
    own caption costs half.

    Args:
        image_codes: Codes of the images (N, D).
        caption_codes: Codes of each image's own caption (N, D).
        groups: Class of each image (N,), or a running number where the dataset has no classes.
        pool_codes: Codes of the captions to draw competitors from (M, D).
        pool_groups: Their classes (M,).
        candidates: Captions that an image chooses from, its own included.
        folds: Parts of the shuffled hits for the standard deviation.
        rule: "fixed" or "official".
        seed: Seed of the draw and of the folds.

    Raises:
        DataError: There are no images, or the pool has too few captions of other groups for one of them.
    """
    count = len(image_codes)
    if count == 0:
        raise DataError("R-precision needs at least one image")
    rng = np.random.default_rng(seed)
    official = rule == "official"
    draw = _draw_with_repetition if official else _draw_rivals
    rivals = torch.from_numpy(draw(groups, pool_groups, candidates - 1, rng))  # (N, candidates - 1)
    images = F.normalize(image_codes.float(), dim=1)
    captions = F.normalize(caption_codes.float(), dim=1)
    pool = F.normalize(pool_codes.float(), dim=1)
    hits = []
    for start in range(0, count, _CHUNK):
        rows = slice(start, start + _CHUNK)
        competing = pool[rivals[rows].to(pool.device)]
        each = torch.cat([captions[rows, None], competing], dim=1)  # (b, candidates, D)
        cosines = torch.einsum("bd,bcd->bc", images[rows], each)
        lead = cosines[:, 1:] - cosines[:, :1]  # of each competitor over the own caption
        beaten = (lead > TIE).any(dim=1)
        ties = (lead.abs() <= TIE).sum(dim=1) * (not official)
        hits.append(torch.where(beaten, 0.0, 1.0 / (1.0 + ties.double())).cpu().numpy())
    every = np.concatenate(hits)
    shuffled = rng.permutation(every)
    if official and count >= 2 * folds:
        size = count // folds
        means = shuffled[: size * folds].reshape(folds, size)[:, :-1].mean(axis=1)
        return RPrecision(100 * float(means.mean()), 100 * float(means.std()), every)
    parts = np.array_split(shuffled, min(folds, count))
    return RPrecision(100 * float(every.mean()), 100 * float(np.std([part.mean() for part in parts])), every)


def _draw_with_repetition(
    groups: NDArray[np.int64], pool_groups: NDArray[np.int64], count: int, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Draw for each image `count` positions of the pool outside its group, (N, count); one may come up again."""
    order, first, block = _blocks(groups, pool_groups)
    others = len(pool_groups) - block
    if others.min() < 1:
        raise DataError("R-precision needs captions of another class than each image's. Received: one class")
    drawn = rng.integers(0, others[:, None], (len(groups), count))
    drawn += (drawn >= first[:, None]) * block[:, None]
    rivals: NDArray[np.int64] = order[drawn]
    return rivals


def _blocks(
    groups: NDArray[np.int64], pool_groups: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Return the order (M,) that sorts the pool by group, and where each image's group begins in it and its length."""
    order = np.argsort(pool_groups, kind="stable")
    in_order = pool_groups[order]
    first = np.searchsorted(in_order, groups, side="left")  # (N,)
    return order, first, np.searchsorted(in_order, groups, side="right") - first


def _draw_rivals(
    groups: NDArray[np.int64], pool_groups: NDArray[np.int64], count: int, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Draw for each image `count` different positions of the pool outside its group: (N, count).

    With the pool sorted by group, the members of a group are a block, so the others are numbered by skipping it. The
    draw is Floyd's: step k takes a number up to `limit`, or `limit` itself where that number was drawn before. It runs
    over all images at once.
    """
    order, first, block = _blocks(groups, pool_groups)
    others = len(pool_groups) - block  # (N,)
    if others.min() < count:
        raise DataError(
            f"R-precision of 1 in {count + 1} needs {count} captions of other classes. Received: {others.min()}",
            "Use a split with more images, or fewer candidates.",
        )
    drawn = np.empty((len(groups), count), np.int64)
    for k in range(count):
        limit = others - count + k
        number = rng.integers(0, limit + 1)
        again = (drawn[:, :k] == number[:, None]).any(axis=1)
        drawn[:, k] = np.where(again, limit, number)
    drawn += (drawn >= first[:, None]) * block[:, None]
    rivals: NDArray[np.int64] = order[drawn]
    return rivals


# --- queries that rank a gallery ------------------------------------------------------------------------------


def average_precisions(
    queries: Tensor, gallery: Tensor, query_groups: NDArray[np.int64], gallery_groups: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Return the average precision of each query (S2IGAN code, over all ranks), (Q,) in (0, 1]. Its mean is the mAP.

    It is the mean, over the gallery's vectors of the query's group, of that group's share of all vectors up to each of
    them. Vectors at the same cosine keep the gallery's order.

    Args:
        queries: Vectors (Q, F).
        gallery: Vectors (M, F).
        query_groups: Class of each query (Q,).
        gallery_groups: Class of each vector of the gallery (M,).

    Raises:
        DataError: There is no query, or the gallery has nothing of the group of one.
    """
    _check_groups(query_groups, gallery_groups)
    ranks = torch.arange(1, len(gallery) + 1, dtype=torch.float64)
    values = [
        (relevant * relevant.cumsum(dim=1) / ranks).sum(dim=1) / relevant.sum(dim=1)
        for relevant in _ranked(queries, gallery, query_groups, gallery_groups)
    ]
    return torch.cat(values).numpy()


def first_hits(
    queries: Tensor, gallery: Tensor, query_groups: NDArray[np.int64], gallery_groups: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Return the rank, from 1, of the nearest vector of each query's own group: (Q,).

    The share of queries whose rank is at most k is the recall at k (R@k). Arguments, ties and errors are those of
    `average_precisions`.
    """
    _check_groups(query_groups, gallery_groups)
    ranked = _ranked(queries, gallery, query_groups, gallery_groups)
    return torch.cat([relevant.int().argmax(dim=1) + 1 for relevant in ranked]).numpy()


def chance_precision(query_groups: NDArray[np.int64], gallery_groups: NDArray[np.int64]) -> float:
    """Return the expected mAP of a gallery in random order, in [0, 1]."""
    count = len(gallery_groups)
    if count == 1:
        return 1.0
    harmonic = float((1 / np.arange(1, count + 1)).sum())
    # Vectors of a query's group, without the one at the rank in question
    others = _sizes(query_groups, gallery_groups) - 1
    return float((harmonic + others / (count - 1) * (count - harmonic)).mean() / count)


def chance_recall(query_groups: NDArray[np.int64], gallery_groups: NDArray[np.int64], k: int) -> float:
    """Return the expected recall at k of a gallery in random order, in [0, 1]."""
    count = len(gallery_groups)
    sizes, queries = np.unique(_sizes(query_groups, gallery_groups), return_counts=True)
    missed = [math.comb(count - size, k) / math.comb(count, k) for size in sizes.tolist()]
    return 1 - float(np.dot(missed, queries)) / len(query_groups)


def _ranked(
    queries: Tensor, gallery: Tensor, query_groups: NDArray[np.int64], gallery_groups: NDArray[np.int64]
) -> Iterator[Tensor]:
    """Yield which of the gallery is of a query's group, nearest first: (q, M) bool for each chunk of queries."""
    vectors = F.normalize(gallery.double(), dim=1)
    groups = torch.from_numpy(gallery_groups)
    for start in range(0, len(queries), _CHUNK):
        rows = slice(start, start + _CHUNK)
        cosines = F.normalize(queries[rows].double(), dim=1) @ vectors.T  # (q, M)
        order = torch.argsort(cosines.round(decimals=_DECIMALS), dim=1, descending=True, stable=True)
        yield groups[order] == torch.from_numpy(query_groups[rows])[:, None]


def _sizes(query_groups: NDArray[np.int64], gallery_groups: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return how many of the gallery are of each query's group, (Q,)."""
    in_order = np.sort(gallery_groups)
    ends = (np.searchsorted(in_order, query_groups, side=side) for side in ("right", "left"))
    sizes: NDArray[np.int64] = np.subtract(*ends)
    return sizes


def _check_groups(query_groups: NDArray[np.int64], gallery_groups: NDArray[np.int64]) -> None:
    if len(query_groups) == 0:
        raise DataError("retrieval needs at least one query")
    lonely = query_groups[_sizes(query_groups, gallery_groups) == 0]
    if len(lonely):
        raise DataError(
            f"the gallery has nothing of the group of {len(lonely)} of {len(query_groups)} queries, the first of group "
            f"{lonely[0]}"
        )
