"""All scores that apply to a folder of images, over features that are computed once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypedDict

import torch

from gancli.errors import DataError, UsageError
from gancli.progress import Progress
from gancli.sampling.samples_folder import Sampling, read_samples
from gancli.scores.agreement import score_agreement
from gancli.scores.distribution import score_kid, score_precision_recall
from gancli.scores.features import FeatureNetwork
from gancli.scores.fid import score_fid
from gancli.scores.hole_fid import score_hole_fid
from gancli.scores.image_retrieval import score_map, score_recall
from gancli.scores.image_sets import FileImages, open_images, open_split
from gancli.scores.inception_score import score_is
from gancli.scores.perceptual import score_diversity, score_lpips
from gancli.scores.r_precision import score_r_precision
from gancli.scores.reconstruction import (
    MS_SSIM_SIDE,
    score_l1,
    score_l2,
    score_ms_ssim,
    score_psnr,
    score_ssim,
)
from gancli.scores.results import ScoreRow
from gancli.scores.shapes import score_shapes
from gancli.scores.spectrum import score_spectrum

Score = Callable[[], ScoreRow | tuple[ScoreRow, ...]]
CLASSIFIERS = ("inception", "imagenet", "classifier", "encoder")  # kinds of networks that tell classes apart


class Images(TypedDict):
    """Arguments of a metric that goes through images batch by batch."""

    batch: int
    progress: Progress | bool


class Network(TypedDict):
    """Weights and device of a metric's network."""

    weights: str | Path | None
    device: str | torch.device


class Both(Images, Network):
    """Arguments of a metric that compares the features of images."""


@dataclass(frozen=True)
class AllScores:
    """Scores of a folder.

    Attributes:
        rows: Rows, in the order in which the metrics are listed.
        left_out: Reason why a metric has no row, by its command's name.
    """

    rows: tuple[ScoreRow, ...]
    left_out: Mapping[str, str]


def score_all(
    samples: str | Path,
    features: FeatureNetwork | str = "inception",
    *,
    encoder: str | Path | None = None,
    classifier: str | Path | None = None,
    weights: str | Path | None = None,
    data: str | Path | None = None,
    seed: int = 0,
    batch: int = 50,
    device: str | torch.device = "cpu",
    progress: Progress | bool = True,
) -> AllScores:
    """Measure everything that applies to images of `gancli sample` or `gancli inpaint`.

    Each image goes through the feature network once: its features are kept in gancli's own folder, where all metrics
    take them from.

    Args:
        samples: Folder of images of a dataset's captions, attributes or speech, or of its filled images.
        features: Feature network of FID, KID, precision and recall, mAP and R@k, see `load_features`.
        encoder: DAMSM for R-precision; None leaves it out.
        classifier: Classifier for the Inception score; None takes `features` where these tell classes apart.
        weights: Folder of published weights; None for the places where `gancli.weights` looks.
        data: Real images as "DIR:split"; None for the split in sampling.json.
        seed: Seed of what the metrics draw.
        batch: Images at a time.
        device: Device of the networks.
        progress: Callback of each metric with images done and in all, or True for bars.

    Raises:
        DataError: No metric can be measured. The message has the reason of each.
        UsageError: The folder is none of gancli's, or the real images are unknown.
    """
    images = open_images(samples)
    if not isinstance(images, FileImages) or images.sampling is None:
        raise UsageError(
            f"{samples}: is no folder of gancli sample or gancli inpaint",
            "Score other folders metric by metric: gancli score fid REAL FAKE.",
        )
    sampling = images.sampling
    if data is None and sampling.data is None:
        raise UsageError(
            f"{samples}: does not say which dataset its captions come from", "Name it with --data."
        )
    real = str(data or f"{sampling.data}:{sampling.split}")
    open_split(real)
    common: Images = {"batch": batch, "progress": progress}
    network: Network = {"weights": weights, "device": device}
    two: Both = {**common, **network}
    left_out: dict[str, str] = {}
    many: dict[str, Score] = {
        "fid": partial(score_fid, real, samples, features, **two),
        "kid": partial(score_kid, real, samples, features, seed=seed, **two),
        "precision-recall": partial(score_precision_recall, real, samples, features, **two),
        "spectrum": partial(score_spectrum, real, samples, **common),
    }
    if sampling.holes is not None:
        many |= _of_filled(samples, real, features, images.side or 0, common, network)
    else:
        many |= {
            "map": partial(score_map, samples, features, data=real, seed=seed, **two),
            "recall": partial(score_recall, samples, features, data=real, seed=seed, **two),
        }
        asked = f"classifier:{classifier}" if classifier is not None else features
        if isinstance(asked, str) and asked.partition(":")[0] in CLASSIFIERS:
            many["is"] = partial(score_is, samples, asked, data=real, seed=seed, **two)
        else:
            left_out["is"] = "needs a network that tells classes apart (--classifier)"
    if encoder is not None:
        many["r-precision"] = partial(
            score_r_precision, samples, encoder, data=real, seed=seed, device=device, **common
        )
    else:
        left_out["r-precision"] = "needs a text and image encoder (--encoder)"
    many |= _of_conditions(samples, real, features, sampling, two)
    rows: list[ScoreRow] = []
    for name, score in many.items():
        try:
            found = score()
        except (DataError, UsageError) as error:
            left_out[name] = f"{error}" + (f" {error.hint}" if error.hint else "")
            continue
        rows += found if isinstance(found, tuple) else (found,)
    if not rows:
        raise DataError(
            f"{samples}: nothing can be measured:\n  "
            + "\n  ".join(f"{name}: {reason}" for name, reason in left_out.items())
        )
    return AllScores(tuple(rows), left_out)


def _of_filled(
    samples: str | Path,
    real: str,
    features: FeatureNetwork | str,
    side: int,
    common: Images,
    network: Network,
) -> dict[str, Score]:
    """Return the scores of filled images beside their originals."""
    many: dict[str, Score] = {
        "hole-fid": partial(score_hole_fid, samples, features, data=real, **common, **network),
        "lpips": partial(score_lpips, samples, data=real, **common, **network),
    }
    plain: dict[str, Callable[..., tuple[ScoreRow, ...]]] = {
        "psnr": score_psnr,
        "ssim": score_ssim,
        "l1": score_l1,
        "l2": score_l2,
    }
    if side >= MS_SSIM_SIDE:
        plain["ms-ssim"] = score_ms_ssim
    return many | {name: partial(score, samples, data=real, **common) for name, score in plain.items()}


def _of_conditions(
    samples: str | Path, real: str, features: FeatureNetwork | str, sampling: Sampling, two: Both
) -> dict[str, Score]:
    """Return the scores that depend on what the images were drawn from."""
    records = read_samples(samples)
    many: dict[str, Score] = {}
    if sampling.variants > 1:
        many["diversity"] = partial(
            score_diversity,
            samples,
            weights=two["weights"],
            device=two["device"],
            progress=two["progress"],
        )
    if all(record.silhouette for record in records):
        many["shapes"] = partial(score_shapes, samples, features, data=real, **two)
    if sampling.dataset == "demo" or sampling.release == "demo":
        many["agreement"] = partial(score_agreement, samples, data=real, progress=two["progress"])
    return many
