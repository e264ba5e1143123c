"""Retrieval of generated images by real ones (S2IGAN's protocols): mAP over classes, and recall at k.

A real image ranks the generated ones by the cosine of their features. A hit is an image of its class (mAP, for datasets
with classes) or an image drawn from its own captions (R@k, for datasets without). The gallery is shuffled before it is
ranked, so a generator that draws one image for everything scores at chance.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gancli.data.shards import Split
from gancli.data.sources.reading import read_names
from gancli.errors import DataError, UsageError
from gancli.hashes import file_hash
from gancli.progress import Progress, reporting
from gancli.sampling.requests import first_of_classes
from gancli.sampling.samples_folder import GeneratedImage
from gancli.scores.features import FeatureNetwork, load_features, some_features
from gancli.scores.image_sets import FileImages, SplitImages, learned_from, open_samples, origin_of
from gancli.scores.results import MetricSettings, ScoreRow
from gancli.scores.retrieval import average_precisions, chance_precision, chance_recall, first_hits

IMAGES_PER_CLASS = 2  # querying images of CUB's and Oxford-102's test classes
RANKS = (1, 5, 10, 50)


def score_map(
    samples: str | Path,
    features: FeatureNetwork | str = "imagenet",
    *,
    weights: str | Path | None = None,
    data: str | Path | None = None,
    images_per_class: int = IMAGES_PER_CLASS,
    queries: str | Path | None = None,
    compat_s2igan: bool = False,
    cache: bool = True,
    seed: int = 0,
    batch: int = 50,
    device: str | torch.device = "cpu",
    progress: Progress | bool = True,
) -> tuple[ScoreRow, ...]:
    """Measure the mean average precision of generated images: do real images find those of their class?

    The first images of each class by name query. The gallery consists of the generated images of exactly these images'
    captions, or of all generated images if one of them has none. Real images are taken at the side of the generated
    ones.

    Args:
        samples: Folder of `gancli sample` with captions of a dataset that has classes.
        features: Feature network or its name, see `load_features`.
        weights: File or folder of the network's weights; None for the places where `gancli.weights` looks.
        data: Split of the captions as "DIR:split"; None for the one in sampling.json.
        images_per_class: Querying images of each class.
        queries: List of the querying images in place of the first of each class: a text file with a name on each line,
            or a pickled list of names such as S2IGAN's.
        compat_s2igan: Prepare the generated images as S2IGAN's code does, see `as_s2igan`.
        cache: Keep the features in gancli's own folder for the next time.
        seed: Seed of the gallery's order, which decides among equals.
        batch: Images at a time.
        device: Device of the network.
        progress: Callback after each batch with images done and in all, or True for a bar.

    Returns:
        The row of the generated images and, where classes have images that do not query, that of the real ones: the
        same queries, with the other images of the split as gallery.

    Raises:
        DataError: Images, captions and the split do not fit together, no class of a query was drawn, or the list names
            images that the split does not have.
        UsageError: The dataset has no classes, or the split of the captions is unknown.
    """
    network = load_features(features, weights=weights, device=device)
    fake, records, real = open_samples(samples, data)
    if not real.dataset.class_names:
        raise UsageError(
            f"{real.name}: has no classes, so there is no mAP over classes",
            "gancli score recall is for such datasets.",
        )
    classes = real.split.class_ids
    settings = MetricSettings(queries_per_class=images_per_class, metric_seed=seed)
    if queries is None:
        every = first_of_classes(real.split, images_per_class)
    else:
        every = _listed(Path(queries), real.split)
        counts = np.unique(classes[every], return_counts=True)[1]
        settings = dataclasses.replace(
            settings,
            queries_per_class=int(counts[0]) if (counts == counts[0]).all() else None,
            queries_file=str(queries),
            queries_sha256=file_hash(queries),
        )
    owners = _owners(records, real)
    asking = every[np.isin(classes[every], classes[owners])]
    if len(asking) == 0:
        raise DataError(f"{samples}: has no image of a class of {real.name}")
    notes = learned_from(fake, network.sha256)
    if len(asking) < len(every):
        notes.append(f"{len(every) - len(asking):,} queries left out: nothing was drawn of their classes")
    chosen, drawn, words = _drawn_gallery(every, owners, settings)
    drawing = as_s2igan(network) if compat_s2igan else network
    rest = np.setdiff1d(np.arange(len(classes)), every)
    kept = np.isin(classes[asking], classes[rest])
    with reporting(progress, "features", "images") as report:
        of = partial(some_features, batch=batch, cache=cache, progress=report)
        ranked, asked = of(fake, chosen, drawing), of(real, asking, network)
        gallery = ranked, owners[chosen]
        rows = [_map_row(real, fake, drawing, (asked, asking), gallery, drawn, words, notes)]
        if kept.any():
            ranked = of(real, rest, network)
            settings = dataclasses.replace(settings, gallery_images="real")
            words = f"gallery of the {len(rest):,} other real images"
            notes = ["ceiling: real images find real ones"]
            querying = asked[kept], asking[kept]
            rows.append(_map_row(real, real, network, querying, (ranked, rest), settings, words, notes))
    return tuple(rows)


def _listed(path: Path, split: Split) -> NDArray[np.int64]:
    """Return the indices in a split of the images that a list names, by their keys or the last parts of these."""
    by_name = {name: index for index, key in enumerate(split.keys) for name in (key.rpartition("/")[2], key)}
    names = read_names(path)
    if unknown := [name for name in names if name not in by_name]:
        raise DataError(
            f"{path}: names {len(unknown):,} images that split {split.name!r} does not have: {', '.join(unknown[:10])}",
            "Each line is the key of an image, as samples.csv has it.",
        )
    return np.array([by_name[name] for name in names], np.int64)


def _drawn_gallery(
    queries: NDArray[np.int64], owners: NDArray[np.int64], settings: MetricSettings
) -> tuple[NDArray[np.int64], MetricSettings, str]:
    """Choose the generated images of the querying images; all, where one of these has none.

    Returns the images' indices, the settings of their score, and the gallery in words.
    """
    missing = int((~np.isin(queries, owners)).sum())
    chosen = np.arange(len(owners)) if missing else np.flatnonzero(np.isin(owners, queries))
    least, most = _images_of_each(owners[chosen])
    words = f"{_range(least, most)} of each of these images"
    if missing:
        least = 0
        words = f"all {len(owners):,}, because {missing:,} of these images have none of their own"
    settings = dataclasses.replace(
        settings, gallery_images="generated", gallery_least=least, gallery_most=most
    )
    return chosen, settings, f"gallery of generated images: {words}"


def score_recall(
    samples: str | Path,
    features: FeatureNetwork | str = "imagenet",
    *,
    ranks: Sequence[int] = RANKS,
    weights: str | Path | None = None,
    data: str | Path | None = None,
    compat_s2igan: bool = False,
    cache: bool = True,
    seed: int = 0,
    batch: int = 50,
    device: str | torch.device = "cpu",
    progress: Progress | bool = True,
) -> tuple[ScoreRow, ...]:
    """Measure recall at k: how many real images have one drawn from their own captions among the k nearest?

    Every image of the split that was drawn queries with its real image, at the side of the generated ones. The gallery
    consists of all generated images.

    Args:
        samples: Folder of `gancli sample` with captions of a dataset.
        features: Feature network or its name, see `load_features`.
        ranks: Values of k. One larger than the gallery is taken as its size, and the row says so.
        weights: File or folder of the network's weights; None for the places where `gancli.weights` looks.
        data: Split of the captions as "DIR:split"; None for the one in sampling.json.
        compat_s2igan: Prepare the generated images as S2IGAN's code does, see `as_s2igan`.
        cache: Keep the features in gancli's own folder for the next time.
        seed: Seed of the gallery's order, which decides among equals.
        batch: Images at a time.
        device: Device of the network.
        progress: Callback after each batch with images done and in all, or True for a bar.

    Returns:
        One row for each k, in rising order.

    Raises:
        DataError: Images, captions and the split do not fit together.
        UsageError: A k is below 1, or the split of the captions is unknown.
    """
    if not ranks or min(ranks) < 1:
        raise UsageError(f"k has to be at least 1. Received: {', '.join(map(str, ranks)) or 'none'}")
    network = load_features(features, weights=weights, device=device)
    fake, records, real = open_samples(samples, data)
    owners = _owners(records, real)
    asking = np.unique(owners)
    order = np.random.default_rng(seed).permutation(len(owners))
    drawing = as_s2igan(network) if compat_s2igan else network
    with reporting(progress, "features", "images") as report:
        of = partial(some_features, batch=batch, cache=cache, progress=report)
        ranked, asked = of(fake, np.arange(len(fake)), drawing), of(real, asking, network)
    hits = first_hits(asked, ranked[order], asking, owners[order])
    common = learned_from(fake, network.sha256)
    if len(asking) < len(real):
        common.append(f"{len(real) - len(asking):,} of {len(real):,} images were not drawn and do not query")
    least, most = _images_of_each(owners)
    rows = []
    for k in sorted(set(ranks)):
        taken = min(k, len(owners))
        notes = list(common)
        if taken < k:
            notes.append(f"k = {k:,} is more than the {taken:,} generated images: taken as {taken:,}")
        chance = 100 * chance_recall(asking, owners, taken)
        settings = MetricSettings(
            k=k,
            queries=len(asking),
            gallery=len(owners),
            gallery_images="generated",
            gallery_least=least,
            gallery_most=most,
            chance=chance,
            metric_seed=seed,
        )
        protocol = (
            f"R@{k} of {len(asking):,} real images, gallery of generated images: {_range(least, most)} of each of these"
            f" images; a hit if one of its own is among the {taken:,} nearest, cosine; chance {chance:.3g} %"
        )
        value = 100 * float((hits <= taken).mean())
        counts = len(asking), len(owners)
        rows.append(_row(f"recall_at_{k}", value, counts, settings, protocol, real, fake, drawing, notes))
    return tuple(rows)


def as_s2igan(network: FeatureNetwork) -> FeatureNetwork:
    """Return the network as S2IGAN's code applies it to generated images, which are in [0, 1] instead of [-1, 1]."""

    def prepare(images: Tensor) -> Tensor:
        return (network.prepare(images) + 1) / 2

    return dataclasses.replace(
        network,
        prepare=prepare,
        transform="s2igan",
        resize=f"{network.resize}; generated images in [0, 1] instead of [-1, 1] (S2IGAN's code)",
    )


def _map_row(
    real: SplitImages,
    scored: SplitImages | FileImages,
    network: FeatureNetwork,
    queries: tuple[Tensor, NDArray[np.int64]],
    gallery: tuple[Tensor, NDArray[np.int64]],
    settings: MetricSettings,
    words: str,
    notes: Sequence[str],
) -> ScoreRow:
    """Return the mAP of queries in a gallery, each of which has features (N, F) and its images' indices (N,)."""
    asked, ranked = queries[0], gallery[0]
    wanted, present = (real.split.class_ids[indices] for _, indices in (queries, gallery))
    order = np.random.default_rng(settings.metric_seed).permutation(len(ranked))
    value = 100 * float(average_precisions(asked, ranked[order], wanted, present[order]).mean())
    chance = 100 * chance_precision(wanted, present)
    counts = (len(wanted) + len(present), 0) if scored is real else (len(wanted), len(present))
    settings = dataclasses.replace(
        settings,
        queries=len(wanted),
        gallery=len(present),
        n_classes=len(np.unique(wanted)),
        chance=chance,
    )
    asking = (
        f"{settings.queries} listed real images"
        if settings.queries_file
        else f"{settings.queries_per_class} real images per class"
    )
    protocol = (
        f"mAP of {asking}, {words}; relevant = same class, AP over all ranks, cosine; chance {chance:.3g} %"
    )
    return _row("map", value, counts, settings, protocol, real, scored, network, notes)


def _row(
    metric: str,
    value: float,
    counts: tuple[int, int],
    settings: MetricSettings,
    protocol: str,
    real: SplitImages,
    scored: SplitImages | FileImages,
    network: FeatureNetwork,
    notes: Sequence[str],
) -> ScoreRow:
    """Return a row; `counts` are the real and the generated images."""
    origin = origin_of(scored)
    return ScoreRow(
        **vars(real.data),
        **vars(origin),
        **vars(network.fields),
        **vars(settings),
        metric=metric,
        value=value,
        n_real=counts[0],
        n_fake=counts[1],
        protocol=protocol + origin.holes_clause,
        note="; ".join(notes),
    )


def _owners(records: Sequence[GeneratedImage], real: SplitImages) -> NDArray[np.int64]:
    """Return the index in the split of the image whose caption each image was drawn from, (M,)."""
    return np.array([real.split.find(record.key) for record in records])


def _images_of_each(owners: NDArray[np.int64]) -> tuple[int, int]:
    """Return the fewest and the most images of one owner."""
    counts = np.unique(owners, return_counts=True)[1]
    return int(counts.min()), int(counts.max())


def _range(least: int, most: int) -> str:
    return str(least) if least == most else f"{least} to {most}"
