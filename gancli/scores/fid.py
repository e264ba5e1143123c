"""Fréchet inception distance (Heusel et al., 2017): the distance of two sets of images in feature space.

Statistics are accumulated in float64 batch by batch, so neither memory nor the result depends on the batch size. The
distance is computed from roots of both covariances, which can be neither complex nor NaN.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.linalg import lapack

from gancli.atomic import atomic_file
from gancli.engine import distributed
from gancli.errors import DataError, UsageError
from gancli.hashes import file_hash
from gancli.progress import Progress, reporting
from gancli.scores.across_ranks import by_parts
from gancli.scores.features import FeatureNetwork, all_features, load_features
from gancli.scores.image_sets import FileImages, Images, SplitImages, open_images, origin_of, remarks_on
from gancli.scores.results import Origin, RealData, ScoreRow

Float64 = NDArray[np.float64]

_CHUNK = 4096  # kept features accumulated at a time
_TOLERANCE = 1e-9  # error of the faster root as a share of the traces
ENOUGH = 2048  # images; with fewer than the Inception features' length the covariance lacks full rank


@dataclass(frozen=True)
class Statistics:
    """Mean and covariance of features.

    Attributes:
        mean: (F,).
        covariance: (F, F), divided by n - 1.
        n: Number of images; None where a file of statistics does not say.
        network_sha256: sha256 of the network's weights; None where a file does not say.
        resize: Preparation of the network's input; None where a file does not say.
    """

    mean: Float64
    covariance: Float64
    n: int | None
    network_sha256: str | None = None
    resize: str | None = None

    def save(self, path: str | Path) -> None:
        """Write an .npz with `mu` and `sigma`, the names of pytorch-fid, and with n and the network."""
        arrays: dict[str, NDArray[Any]] = {"mu": self.mean, "sigma": self.covariance}
        for name in ("n", "network_sha256", "resize"):
            if (value := getattr(self, name)) is not None:
                arrays[name] = np.array(value)
        with atomic_file(Path(path)) as temporary, temporary.open("wb") as file:
            np.savez(file, allow_pickle=False, **arrays)

    @classmethod
    def load(cls, path: str | Path) -> Statistics:
        """Read an .npz with `mu` and `sigma`, written by gancli or by pytorch-fid and its relatives.

        Raises:
            DataError: The file is missing, broken, or holds no statistics.
        """
        try:
            with np.load(path, allow_pickle=False) as file:
                content = {name: file[name] for name in file.files}
        except FileNotFoundError:
            raise DataError(f"{path}: no such file") from None
        except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
            raise DataError(f"{path}: cannot be read as .npz ({error})") from error
        if not {"mu", "sigma"} <= content.keys():
            raise DataError(
                f"{path}: holds {', '.join(content) or 'nothing'}, but not mu and sigma",
                "Statistics are written with --save-stats, or by pytorch-fid.",
            )
        mean = np.asarray(content["mu"], np.float64)
        covariance = np.asarray(content["sigma"], np.float64)
        if mean.ndim != 1 or covariance.shape != (len(mean), len(mean)):
            raise DataError(f"{path}: mu {mean.shape} and sigma {covariance.shape} do not fit together")
        if not (np.isfinite(mean).all() and np.isfinite(covariance).all()):
            raise DataError(f"{path}: holds NaN or infinite numbers")
        n = int(content["n"]) if "n" in content else None
        sha256, resize = (
            str(content[key]) if key in content else None for key in ("network_sha256", "resize")
        )
        return cls(mean, covariance, n, sha256, resize)


class StatisticsAccumulator:
    """Mean and covariance of features, accumulated batch by batch (Chan, Golub, LeVeque, 1979)."""

    def __init__(self, dim: int) -> None:
        self.n = 0
        self._mean: Float64 = np.zeros(dim)
        self._scatter: Float64 = np.zeros((dim, dim))  # sum of outer products around the mean

    def update(self, features: NDArray[np.floating]) -> None:
        """Add features (B, F). B may differ from call to call."""
        batch = np.asarray(features, np.float64)
        count = len(batch)
        if count == 0:
            return
        mean = batch.mean(axis=0)
        centred = batch - mean
        shift = mean - self._mean
        total = self.n + count
        self._scatter += centred.T @ centred
        self._scatter += np.outer(shift, shift) * (self.n * count / total)
        self._mean = self._mean + shift * (count / total)
        self.n = total

    def combine(self) -> None:
        """Merge the features of all processes, in each of them."""
        if distributed.world_size() == 1:
            return
        sums = torch.from_numpy(self.n * np.array([1.0, *self._mean]))
        total, *means = distributed.total(sums).tolist()
        mean = np.array(means) / max(total, 1)
        # Shifted to the common mean before summing: sums around zero would lose digits to large means
        shift = self._mean - mean
        self._scatter += np.outer(shift, shift) * self.n
        self._scatter = distributed.total(torch.from_numpy(self._scatter)).numpy()
        self._mean, self.n = mean, int(total)

    def result(self) -> Statistics:
        """Return the statistics so far.

        Raises:
            DataError: Fewer than two images, or features that are not finite.
        """
        if self.n < 2:
            raise DataError(f"FID needs at least 2 images on each side. Received: {self.n}")
        covariance = self._scatter / (self.n - 1)
        if not np.isfinite(covariance).all():
            raise DataError("the feature network gave NaN or infinite features", "Its weights may be broken.")
        return Statistics(self._mean.copy(), covariance, self.n)


def frechet_distance(first: Statistics, second: Statistics) -> float:
    """Return the squared Fréchet distance of two Gaussians: |m1 - m2|^2 + Tr(S1 + S2 - 2 (S1 S2)^(1/2)).

    With S1 = R1 R1^T and S2 = R2 R2^T, the trace of the root is the sum of the singular values of R1^T R2, so it is
    neither complex nor NaN. Directions in which a covariance is zero up to rounding are left out. With fewer images
    than features the computation is therefore smaller and no less accurate.

    Raises:
        ValueError: The statistics have different lengths.
    """
    if first.mean.shape != second.mean.shape:
        raise ValueError(f"statistics of {len(first.mean)} and of {len(second.mean)} features")
    shift = first.mean - second.mean
    product = _root(first.covariance).T @ _root(second.covariance)  # (r1, r2)
    traces = float(np.trace(first.covariance) + np.trace(second.covariance))
    root_trace = _singular_sum(product, _TOLERANCE * traces) if product.size else 0.0
    return max(0.0, float(shift @ shift + traces - 2 * root_trace))


def _root(covariance: Float64) -> Float64:
    """Return R (F, r) with R R^T the covariance of rank r, by a Cholesky factorisation with pivots."""
    factor, pivots, rank, _ = lapack.dpstrf(covariance, lower=1)
    root: Float64 = np.zeros((len(covariance), rank))
    root[pivots - 1] = np.tril(factor[:, :rank])
    return root


def _singular_sum(matrix: Float64, tolerance: float) -> float:
    """Return the sum of the singular values.

    The roots of the eigenvalues of the matrix's square take half the time. They are used where rounding, about that of
    the largest one, moves the sum by less than the tolerance.
    """
    square = matrix.T @ matrix if matrix.shape[0] >= matrix.shape[1] else matrix @ matrix.T
    squares = np.linalg.eigvalsh(square)
    rounding = squares[-1] * np.finfo(np.float64).eps
    if rounding > 0 and (rounding / np.sqrt(squares.clip(min=rounding))).sum() < tolerance:
        return float(np.sqrt(squares.clip(min=0)).sum())
    return float(np.linalg.svd(matrix, compute_uv=False).sum())


def image_statistics(
    images: Images,
    network: FeatureNetwork,
    *,
    batch: int = 50,
    cache: bool = False,
    progress: Progress | None = None,
) -> Statistics:
    """Return the statistics of all images.

    Args:
        images: Images.
        network: Feature network.
        batch: Images at a time, which does not change the statistics.
        cache: Keep the features for the next time, see `all_features`. Without it they are not held in memory.
        progress: Callback after each batch with images done and in all.
    """
    accumulator = StatisticsAccumulator(network.dim)
    if cache:
        for chunk in all_features(images, network, batch=batch, cache=True, progress=progress).split(_CHUNK):
            accumulator.update(chunk.numpy())
    else:

        def work(rows: slice) -> Iterator[None]:
            for chunk in images.part(rows).batches(batch):
                accumulator.update(network(chunk).numpy())
                yield

        by_parts(len(images), batch, work, progress)
        accumulator.combine()
    result = accumulator.result()
    return Statistics(result.mean, result.covariance, result.n, network.sha256, network.resize)


def score_fid(
    real: str | Path,
    fake: str | Path,
    features: FeatureNetwork | str = "inception",
    *,
    weights: str | Path | None = None,
    size: int | None = None,
    save_stats: str | Path | None = None,
    cache: bool = True,
    batch: int = 50,
    device: str | torch.device = "cpu",
    progress: Progress | bool = True,
) -> ScoreRow:
    """Measure the FID of generated images.

    Args:
        real: Reference: "DIR:split" of a dataset, a folder of images, or an .npz of statistics.
        fake: Generated images, in any of the same three forms.
        features: Feature network or its name, see `load_features`.
        weights: File or folder of the network's weights; None for the places where `gancli.weights` looks.
        size: Side at which the images of a split are taken; None for the side of the generated images where that is
            known and not above the dataset's, else the dataset's.
        save_stats: File to write the statistics of the reference to.
        cache: Keep the features of both sides in gancli's own folder for the next time.
        batch: Images at a time, which does not change the result.
        device: Device of the network.
        progress: Callback after each batch with images done and in all, or True for a bar.

    Raises:
        DataError: Images are missing or broken, or the statistics come from another network.
        UsageError: A dataset is named without its split, or `size` is above the dataset's.
    """
    fake_images = None if _is_statistics(fake) else open_images(fake)
    real_images = None if _is_statistics(real) else open_images(real)
    # Weights may be downloaded, so only once the images are there
    network = load_features(features, weights=weights, device=device)
    if isinstance(real_images, SplitImages):
        real_images = real_images.at(real_side(real_images, size, fake_images)).beside(fake_images)
    with reporting(progress, "features", "images") as report:
        if real_images is None:
            reference = _load_checked(Path(real), network)
        else:
            reference = image_statistics(real_images, network, batch=batch, cache=cache, progress=report)
        if save_stats is not None:
            distributed.from_main(partial(reference.save, save_stats))
        if fake_images is None:
            generated = _load_checked(Path(fake), network)
            origin = Origin(method=Path(fake).stem, model=str(fake), model_hash=file_hash(Path(fake)))
        else:
            generated = image_statistics(fake_images, network, batch=batch, cache=cache, progress=report)
            origin = origin_of(fake_images)
    data = real_images.data if isinstance(real_images, SplitImages) else RealData(dataset=str(real))
    return ScoreRow(
        **vars(data),
        **vars(origin),
        **vars(network.fields),
        metric="fid",
        value=frechet_distance(reference, generated),
        n_real=reference.n,
        n_fake=generated.n,
        protocol="Frechet distance of feature means and covariances (n - 1), float64, every image once"
        + origin.holes_clause,
        note="; ".join(_notes(reference, generated, real_images, fake_images, origin)),
    )


def real_side(real: SplitImages, size: int | None, fake: SplitImages | FileImages | None) -> int:
    """Return the side at which the real images are taken."""
    if size is not None and not 0 < size <= real.side:
        raise UsageError(f"{real.name}: its images can be taken at 1 to {real.side} pixels. Received: {size}")
    return min(size or (fake.side if fake is not None else None) or real.side, real.side)


def _is_statistics(name: str | Path) -> bool:
    return str(name).lower().endswith(".npz")


def _load_checked(path: Path, features: FeatureNetwork) -> Statistics:
    statistics = Statistics.load(path)
    length, sha256 = len(statistics.mean), statistics.network_sha256
    if length != features.dim:
        problem = f"statistics of {length} features, {features.name} gives {features.dim}"
    elif sha256 not in (None, features.sha256):
        problem = (
            f"made with a network of sha256 {str(sha256)[:12]}, {features.name} has {features.sha256[:12]}"
        )
    else:
        return statistics
    hint = "Name the network they were made with, or make them anew with --save-stats."
    raise DataError(f"{path}: {problem}", hint)


def _notes(
    reference: Statistics,
    generated: Statistics,
    real: Images | None,
    fake: SplitImages | FileImages | None,
    origin: Origin,
) -> list[str]:
    notes = [note for images in (real, fake) if images is not None for note in remarks_on(images)]
    if origin.filled:
        notes.append(
            "filled images: all pixels but those of their holes are real, so the FID is far below that of images drawn "
            "whole"
        )
    for name, statistics in (("real", reference), ("generated", generated)):
        if statistics.n is None:
            notes.append(f"number of {name} images unknown: the statistics file does not say")
        elif statistics.n < ENOUGH:
            notes.append(f"only {statistics.n} {name} images (< {ENOUGH}): biased upward")
        if statistics.network_sha256 is None:
            notes.append(f"network of the {name} statistics unknown: the file does not say")
    if real is not None and fake is not None and real.side and fake.side and real.side != fake.side:
        notes.append(f"real images have {real.side} pixels, generated ones {fake.side}")
    return notes
