"""Retrieval of generated images by real ones (S2IGAN's protocols): mAP over classes, and recall at k.

A real image ranks the generated ones by the cosine of their features. What it should find is its class (mAP, for
datasets with classes) or an image that was drawn from its own captions (R@k, for datasets without). The gallery is
shuffled before it is ranked, so that a generator that draws one image for everything comes out at chance.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from gancli.data.shards import Dataset
from gancli.errors import DataError, UsageError
from gancli.progress import Progress
from gancli.sampling.requests import first_of_classes
from gancli.sampling.samples_folder import GeneratedImage
from gancli.scores.features import FeatureNetwork, all_features
from gancli.scores.image_sets import FileImages, SplitImages, holes_of, note_on, open_samples, origin_of
from gancli.scores.results import ScoreRow
from gancli.scores.retrieval import average_precisions, chance_precision, chance_recall, first_hits

IMAGES_PER_CLASS = 2  # that query, of CUB's and Oxford-102's test classes
RANKS = (1, 5, 10, 50)


def score_map(
    samples: str,
    network: FeatureNetwork,
    *,
    data: str | None = None,
    images_per_class: int = IMAGES_PER_CLASS,
    compat_s2igan: bool = False,
    seed: int = 0,
    batch: int = 50,
    progress: Progress | None = None,
) -> tuple[ScoreRow, ...]:
    """Mean average precision of generated images: do real images find those of their class?

    The first images of each class by name query. The gallery is the generated images of the captions of exactly
    these images; where one of them has no image, it is all generated images. Real images are taken at the side
    of the generated ones.

    Args:
        samples: Folder of `gancli sample` with captions of a dataset that has classes.
        network: From `load_features`.
        data: "DIR:split" the captions come from; None: where sampling.json says.
        images_per_class: Queries of each class.
        compat_s2igan: See `as_s2igan`; for the generated images alone.
        seed: Of the order of equals.
        batch: Images at a time.
        progress: Called after each batch with images done and in all, first for the generated ones.

    Returns:
        The row of the generated images and, where classes have images that do not query, that of the real ones: the
        same queries, the other images of the split as gallery.

    Raises:
        DataError: Images, captions and the split do not fit together, or no class of a query was drawn.
        UsageError: The dataset has no classes, or it is not known which split the captions come from.
    """
    fake, records, real = open_samples(samples, data)
    if not Dataset.open(real.split.folder).class_names:
        raise UsageError(
            f"{real.name}: has no classes, so there is no mAP over classes",
            "gancli score recall is for such datasets.",
        )
    split = real.split
    queries = first_of_classes(split, images_per_class)
    places = _places(records, real)
    drawn = np.isin(queries, places)
    chosen = np.flatnonzero(np.isin(places, queries)) if drawn.all() else np.arange(len(places))
    each = f"{_each(places[chosen])} of each of these images"
    if not drawn.all():
        each = f"all {len(places):,}, for {(~drawn).sum():,} of these images have none of their own"
    asking = queries[np.isin(split.class_ids[queries], split.class_ids[places])]
    notes = [note_on(fake, network.sha256)]
    if len(asking) == 0:
        raise DataError(f"{samples}: has no image of a class of {real.name}")
    if len(asking) < len(queries):
        notes.append(f"{len(queries) - len(asking):,} queries left out: nothing was drawn of their classes")
    drawing = as_s2igan(network) if compat_s2igan else network
    gallery = all_features(_some(fake, chosen), drawing, batch=batch, progress=progress)
    features = all_features(real.only(asking.tolist()), network, batch=batch, progress=progress)
    protocol = f"mAP of {images_per_class} real images per class, gallery of generated images: {each}"
    rows = [
        _map_row(
            (features, split.class_ids[asking]),
            (gallery, split.class_ids[places[chosen]]),
            protocol,
            real,
            fake,
            drawing,
            seed,
            notes,
        )
    ]
    rest = np.setdiff1d(np.arange(len(split)), queries)
    kept = np.isin(split.class_ids[asking], split.class_ids[rest])
    if kept.any():
        others = all_features(real.only(rest.tolist()), network, batch=batch, progress=progress)
        rows.append(
            _map_row(
                (features[kept], split.class_ids[asking[kept]]),
                (others, split.class_ids[rest]),
                f"mAP of {images_per_class} real images per class, gallery of the {len(rest):,} other real images",
                real,
                real,
                network,
                seed,
                ["ceiling: real images find real ones"],
            )
        )
    return tuple(rows)


def score_recall(
    samples: str,
    network: FeatureNetwork,
    *,
    ranks: Sequence[int] = RANKS,
    data: str | None = None,
    compat_s2igan: bool = False,
    seed: int = 0,
    batch: int = 50,
    progress: Progress | None = None,
) -> tuple[ScoreRow, ...]:
    """Recall at k: how many real images have one drawn from their own captions among the k nearest?

    Every image of the split that was drawn queries with its real image, at the side of the generated ones; all
    generated images are the gallery.

    Args:
        samples: Folder of `gancli sample` with captions of a dataset.
        network: From `load_features`.
        ranks: Each k; one that is larger than the gallery is taken as its size, and the row says so.
        data: "DIR:split" the captions come from; None: where sampling.json says.
        compat_s2igan: See `as_s2igan`; for the generated images alone.
        seed: Of the order of equals.
        batch: Images at a time.
        progress: Called after each batch with images done and in all, first for the generated ones.

    Returns:
        One row for each k, in rising order.

    Raises:
        DataError: Images, captions and the split do not fit together.
        UsageError: A k is below 1, or it is not known which split the captions come from.
    """
    if not ranks or min(ranks) < 1:
        raise UsageError(f"k has to be at least 1. Received: {', '.join(map(str, ranks)) or 'none'}")
    fake, records, real = open_samples(samples, data)
    places = _places(records, real)
    asking = np.unique(places)
    order = np.random.default_rng(seed).permutation(len(places))
    drawing = as_s2igan(network) if compat_s2igan else network
    gallery = all_features(fake, drawing, batch=batch, progress=progress)
    features = all_features(real.only(asking.tolist()), network, batch=batch, progress=progress)
    hits = first_hits(features, gallery[order], asking, places[order])
    common = [note_on(fake, network.sha256)]
    if len(asking) < len(real):
        common.append(f"{len(real) - len(asking):,} of {len(real):,} images were not drawn and do not query")
    rows = []
    for k in sorted(set(ranks)):
        taken = min(k, len(places))
        notes = list(common)
        if taken < k:
            notes.append(f"k = {k:,} is more than the {taken:,} generated images: taken as {taken:,}")
        chance = 100 * chance_recall(asking, places, taken)
        rows.append(
            _row(
                f"recall_at_{k}",
                100 * float((hits <= taken).mean()),
                f"R@{k} of {len(asking):,} real images, gallery of generated images: {_each(places)} of each of "
                f"these images; a hit if one of its own is among the {taken:,} nearest, cosine; chance {chance:.3g} %",
                real,
                fake,
                drawing,
                len(asking),
                len(places),
                notes,
            )
        )
    return tuple(rows)


def as_s2igan(network: FeatureNetwork) -> FeatureNetwork:
    """The network as S2IGAN's code uses it on generated images: it hands them over in [0, 1] instead of [-1, 1]."""

    def prepare(images: Tensor) -> Tensor:
        return (network.prepare(images) + 1) / 2

    return dataclasses.replace(
        network,
        prepare=prepare,
        resize=f"{network.resize}; generated images in [0, 1] instead of [-1, 1] (S2IGAN's code)",
    )


def _map_row(
    queries: tuple[Tensor, NDArray[np.int64]],
    gallery: tuple[Tensor, NDArray[np.int64]],
    protocol: str,
    real: SplitImages,
    scored: SplitImages | FileImages,
    network: FeatureNetwork,
    seed: int,
    notes: Sequence[str],
) -> ScoreRow:
    """The mAP of queries, each (N, F) features with (N,) classes, in a gallery of the same."""
    features, classes = gallery
    order = np.random.default_rng(seed).permutation(len(features))
    value = average_precisions(queries[0], features[order], queries[1], classes[order]).mean()
    chance = 100 * chance_precision(queries[1], classes)
    return _row(
        "map",
        100 * float(value),
        f"{protocol}; relevant = same class, AP over all ranks, cosine; chance {chance:.3g} %",
        real,
        scored,
        network,
        len(queries[1]) + (len(classes) if scored is real else 0),
        0 if scored is real else len(classes),
        notes,
    )


def _row(
    metric: str,
    value: float,
    protocol: str,
    real: SplitImages,
    scored: SplitImages | FileImages,
    network: FeatureNetwork,
    n_real: int,
    n_fake: int,
    notes: Sequence[str],
) -> ScoreRow:
    return ScoreRow(
        dataset=real.dataset,
        split=real.split.name,
        metric=metric,
        value=value,
        n_real=n_real,
        n_fake=n_fake,
        protocol=protocol + holes_of(scored),
        network=network.name,
        network_sha256=network.sha256,
        resize=network.resize,
        note="; ".join(filter(None, notes)),
        **dataclasses.asdict(origin_of(scored)),
    )


def _places(records: Sequence[GeneratedImage], real: SplitImages) -> NDArray[np.int64]:
    """(M,) place in the split of the image whose caption each image was drawn from."""
    return np.array([real.split.find(record.key) for record in records])


def _some(images: FileImages, chosen: NDArray[np.int64]) -> FileImages:
    return dataclasses.replace(images, files=tuple(images.files[number] for number in chosen.tolist()))


def _each(places: NDArray[np.int64]) -> str:
    """How many images there are of each image, in words: "10" or "9 to 10"."""
    counts = np.unique(places, return_counts=True)[1]
    least, most = int(counts.min()), int(counts.max())
    return str(least) if least == most else f"{least} to {most}"
