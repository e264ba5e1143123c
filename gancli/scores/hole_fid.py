"""FID of the holes alone: filled images and their originals, both cut to the bounding boxes of the holes.

The known pixels of a filled image are real, so its FID is low whatever fills the hole. Here they count only where a
hole does not fill its bounding box.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch

from gancli.data.holes import read_hole
from gancli.errors import UsageError
from gancli.hashes import file_hash
from gancli.progress import Progress, reporting
from gancli.scores.features import FeatureNetwork, load_features
from gancli.scores.fid import ENOUGH, frechet_distance, image_statistics
from gancli.scores.image_sets import FileImages, Pixels, SplitImages, origin_of
from gancli.scores.pairs import pair_images
from gancli.scores.results import ScoreRow


@dataclass(frozen=True)
class HoleCrops:
    """Images cut to the bounding boxes of holes.

    Attributes:
        images: Images.
        holes: File of each image's hole.
        inverted: The files are white where the image is known.
    """

    images: FileImages | SplitImages
    holes: Sequence[Path]
    inverted: bool

    @property
    def name(self) -> str:
        """Name of the images."""
        return self.images.name

    @property
    def side(self) -> None:
        """Nothing: sides differ as the holes do."""
        return

    @cached_property
    def fingerprint(self) -> str:
        """sha256 over the images and the holes."""
        text = "\n".join([self.images.fingerprint, str(self.inverted), *map(file_hash, self.holes)])
        return hashlib.sha256(text.encode()).hexdigest()

    def __len__(self) -> int:
        return len(self.images)

    def part(self, rows: slice) -> HoleCrops:
        """Return some of them alone."""
        return HoleCrops(self.images.part(rows), self.holes[rows], self.inverted)

    def batches(self, size: int) -> Iterator[list[Pixels]]:
        """Yield the crops in order, `size` at a time."""
        holes = iter(self.holes)
        for batch in self.images.batches(size):
            yield [self._crop(image, next(holes)) for image in batch]

    def _crop(self, image: Pixels, file: Path) -> Pixels:
        hole = read_hole(file, inverted=self.inverted)
        rows, columns = (np.flatnonzero(hole.any(axis=axis)) for axis in (1, 0))
        return image[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def score_hole_fid(
    images: str | Path,
    features: FeatureNetwork | str = "inception",
    *,
    weights: str | Path | None = None,
    data: str | Path | None = None,
    real: str | Path | None = None,
    mask: str | Path | None = None,
    invert_mask: bool = False,
    cache: bool = True,
    batch: int = 50,
    device: str | torch.device = "cpu",
    progress: Progress | bool = True,
) -> ScoreRow:
    """Measure the FID of filled holes: of their bounding boxes in the filled images against those in the originals.

    Images, originals and holes are named as for `score_psnr`.

    Args:
        images: Filled images.
        features: Feature network or its name, see `load_features`.
        weights: File or folder of the network's weights; None for the places where `gancli.weights` looks.
        data: Split of the originals as "DIR:split"; None for the one in sampling.json.
        real: Folder of the originals.
        mask: Image of the hole of all, or a folder with one for each; None for the holes of samples.csv.
        invert_mask: The masks are white where the image is known.
        cache: Keep the features in gancli's own folder for the next time.
        batch: Images at a time, which does not change the result.
        device: Device of the network.
        progress: Callback after each batch with images done and in all, or True for a bar.

    Raises:
        DataError: Images, originals or masks are missing, broken, or of different sizes.
        UsageError: The originals or the holes are unknown, or the holes are given twice.
    """
    pairs = pair_images(images, data, real, mask, invert_mask)
    if pairs.holes is None:
        raise UsageError(f"{images}: does not say where its holes are", "Name them with --mask.")
    network = load_features(features, weights=weights, device=device)
    with reporting(progress, "features", "images") as report:
        reference, filled = (
            image_statistics(
                HoleCrops(each, pairs.holes, pairs.inverted),
                network,
                batch=batch,
                cache=cache,
                progress=report,
            )
            for each in (pairs.originals, pairs.images)
        )
    few = len(pairs.images) < ENOUGH
    origin = dataclasses.replace(origin_of(pairs.images), **vars(pairs.cut))
    return ScoreRow(
        **vars(pairs.data),
        **vars(origin),
        **vars(network.fields),
        metric="hole_fid",
        value=frechet_distance(reference, filled),
        n_real=reference.n,
        n_fake=filled.n,
        protocol="Frechet distance of the bounding boxes of the holes, of the originals and of the filled images"
        + origin.holes_clause,
        note=f"only {len(pairs.images)} images (< {ENOUGH}): biased upward" if few else "",
    )
