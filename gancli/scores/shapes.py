"""Scores of silhouettes: how near they are to real ones, whether they are copies, how large, and of how many pieces.

A silhouette is white on the bird. The reference are the masks of a dataset that pass its quality filter, which a
model of shapes learns from, of the centre window at the side of the generated ones. They have the same scores
themselves, which stand beside: what a perfect model would have.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from scipy.stats import spearmanr
from skimage.measure import label
from torch import Tensor

from gancli.data.attributes import attributes_text
from gancli.data.loader import evaluation_batches
from gancli.data.shards import FOREGROUND, Dataset, Split
from gancli.errors import DataError, UsageError
from gancli.progress import Progress
from gancli.sampling.samples_folder import GeneratedImage, Silhouettes
from gancli.scores.across_ranks import by_parts
from gancli.scores.features import FeatureNetwork, load_features
from gancli.scores.fid import Statistics, cached_statistics, frechet_distance, image_statistics
from gancli.scores.image_sets import FileImages, Origin, Pixels, SplitImages, open_samples, origin_of
from gancli.scores.results import ScoreRow

Mask = NDArray[np.bool_]

SIZE_METRIC = "size_rank_correlation"
PIXELS = "pixels"  # the features that need no network
SIZES = ("very_small", "small", "medium", "large", "very_large")

_GRID = 16  # masks are averaged to this side for the features without a network
_CHUNK = 512  # masks of each side of a matrix product
_TRAIN = "train"


@dataclass(frozen=True)
class Shapes:
    """Silhouettes of one side, eight points in a byte: 100,000 of 64 pixels take 51 MB.

    Attributes:
        name: What messages call them.
        side: S.
        bits: (N, ⌈S²/8⌉) uint8.
    """

    name: str
    side: int
    bits: NDArray[np.uint8]

    @classmethod
    def of(cls, name: str, masks: Iterable[Mask]) -> Shapes:
        """From masks (n, S, S), however many at a time; at least one."""
        return cls._packed(name, [_pack(part) for part in masks])

    @classmethod
    def of_parts(
        cls,
        name: str,
        count: int,
        batch: int,
        masks: Callable[[slice], Iterable[Mask]],
        progress: Progress | None = None,
    ) -> Shapes:
        """From masks that each process reads a part of.

        Args:
            name: As above.
            count: N, at least one.
            batch: At a time.
            masks: The masks (n, S, S) of a part, batch by batch.
            progress: As in `by_parts`.
        """
        return cls._packed(name, by_parts(count, batch, lambda rows: map(_pack, masks(rows)), progress))

    @classmethod
    def _packed(cls, name: str, parts: Sequence[tuple[int, NDArray[np.uint8]]]) -> Shapes:
        return cls(name, parts[0][0], np.concatenate([bits for _, bits in parts]))

    def __len__(self) -> int:
        return len(self.bits)

    def part(self, rows: slice) -> Shapes:
        """Some of them alone."""
        return dataclasses.replace(self, bits=self.bits[rows])

    @property
    def fingerprint(self) -> str:
        """sha256 over the silhouettes."""
        return hashlib.sha256(f"{self.side}:".encode() + self.bits.tobytes()).hexdigest()

    def masks(self, size: int = _CHUNK) -> Iterator[Mask]:
        """All of them in order, (n, S, S) with n at most `size`."""
        for start in range(0, len(self), size):
            rows = np.unpackbits(self.bits[start : start + size], axis=1, count=self.side**2)
            yield rows.reshape(-1, self.side, self.side).astype(bool)

    def batches(self, size: int) -> Iterator[list[Pixels]]:
        """As images, white on black, (S, S, 3) uint8; so networks can look at them."""
        for masks in self.masks(size):
            images = np.where(masks, np.uint8(255), np.uint8(0))
            yield list(np.repeat(images[..., None], 3, axis=-1))


def _pack(masks: Mask) -> tuple[int, NDArray[np.uint8]]:
    """Side and bits of masks."""
    return masks.shape[1], np.packbits(masks.reshape(len(masks), -1), axis=1)


# --- scores of silhouettes --------------------------------------------------------------------------------------


def nearest_iou(shapes: Shapes, others: Shapes, *, chunk: int = _CHUNK) -> NDArray[np.float64]:
    """How alike each silhouette is to the one it is most alike among others, mirrored ones included.

    Alike is the intersection over the union, in [0, 1]; that of two empty ones is 1. Memory beyond the silhouettes'
    own does not depend on their numbers.

    Args:
        shapes: N of side S.
        others: M of the same side, at least one.
        chunk: How many of each are compared at once; changes no number.

    Returns:
        (N,)
    """

    def work(rows: slice) -> Iterator[NDArray[np.float64]]:
        for masks in shapes.part(rows).masks(chunk):
            yield _nearest(masks, others.masks(chunk))

    return np.concatenate(by_parts(len(shapes), chunk, work))


def _nearest(masks: Mask, others: Iterable[Mask]) -> NDArray[np.float64]:
    """`nearest_iou` of masks (n, S, S) among others, however many at a time."""
    best = np.zeros(len(masks))
    sides = [
        part.reshape(len(masks), -1).astype(np.float32) for part in (masks, masks[:, :, ::-1])
    ]  # (n, S²)
    area = sides[0].sum(1)
    for other_masks in others:
        other = other_masks.reshape(len(other_masks), -1).astype(np.float32)  # (m, S²)
        both = area[:, None] + other.sum(1)
        for side in sides:
            common = side @ other.T  # (n, m), whole numbers: float32 has them exactly
            union = both - common
            alike = np.divide(common, union, out=np.ones_like(common), where=union > 0)
            best = np.maximum(best, alike.max(1))
    return best


def shares(shapes: Shapes) -> NDArray[np.float64]:
    """Which share of the image each silhouette covers, (N,) in [0, 1]."""
    return np.concatenate([masks.mean((1, 2)) for masks in shapes.masks()])


def pieces(shapes: Shapes) -> NDArray[np.int64]:
    """Of how many pieces each silhouette is, (N,); points that touch at a corner belong together."""
    return np.array([label(mask).max() for masks in shapes.masks() for mask in masks], np.int64)


def asked_size(text: str) -> int | None:
    """The place in `SIZES` of the size that a text of attributes names; None where it names none or several.

    "bill_shape=cone, size=small_(5_-_9_in)" names 1.
    """
    pairs = (pair.strip().partition("=") for pair in text.split(","))
    named = {value.partition("_(")[0] for group, _, value in pairs if group == "size"}
    (size,) = named if len(named) == 1 else (None,)
    return SIZES.index(size) if size in SIZES else None


def rank_correlation(sizes: Sequence[int | None], area: NDArray[np.float64]) -> tuple[float, int] | None:
    """Spearman's rank correlation of the sizes asked for with areas, and how many silhouettes it is of.

    Args:
        sizes: As `asked_size` finds them; those without one are left out.
        area: (N,)

    Returns:
        None where there is no order: fewer than three silhouettes, one size, or one area.
    """
    pairs = [(size, value) for size, value in zip(sizes, area.tolist(), strict=True) if size is not None]
    if len(pairs) < 3:
        return None
    asked, areas = np.array(pairs).T
    if len(np.unique(asked)) < 2 or len(np.unique(areas)) < 2:
        return None
    return float(spearmanr(asked, areas).statistic), len(pairs)


# --- features of masks ------------------------------------------------------------------------------------------


def load_mask_features(
    name: str, *, weights: Path | None = None, device: str | torch.device = "cpu"
) -> FeatureNetwork:
    """What a Fréchet distance of masks compares.

    Args:
        name: "pixels", the mask averaged to 16 x 16, or a network as `features.load_features` knows it, which sees
            the mask in all three channels.
        weights: As `load_features`.
        device: Likewise.

    Raises:
        UsageError: There is no such network.
        DataError: Its weights are not to be had or are broken.
    """
    if name in ("inception", "imagenet") or ":" in name:
        return load_features(name, weights=weights, device=device)
    if name != PIXELS:
        raise UsageError(
            f"{name!r} is no features of silhouettes",
            f"Say inception, imagenet, {PIXELS}, or encoder:DIR with a folder of gancli pretrain-encoder.",
        )

    def prepare(images: Tensor) -> Tensor:
        return F.adaptive_avg_pool2d(images.mean(1, keepdim=True) / 255, _GRID)

    return FeatureNetwork(
        name=f"{PIXELS} {_GRID}x{_GRID}",
        sha256="",
        dim=_GRID**2,
        resize=f"area to {_GRID}x{_GRID}",
        prepare=prepare,
        network=lambda averages: averages.flatten(1),
        device=torch.device(device),
    )


# --- rows -------------------------------------------------------------------------------------------------------


def score_shapes(
    samples: str,
    features: FeatureNetwork,
    *,
    data: str | None = None,
    batch: int = 50,
    cache: bool = True,
    progress: Progress | None = None,
) -> list[ScoreRow]:
    """All scores of the silhouettes of a folder, with those of the real masks beside them.

    Args:
        samples: A folder of `gancli sample` whose samples.csv names silhouettes.
        features: From `load_mask_features`.
        data: "DIR:split" of the real masks; None: where sampling.json says.
        batch: Images at a time; changes no number.
        cache: Keep the statistics of the real masks for the next time.
        progress: Called with silhouettes done and in all, for each set of them.

    Returns:
        `mask_fid` against the masks of the split; `mask_nearest_iou` against those of the training split;
        `foreground_share`, `mask_pieces`; `size_rank_correlation` where captions name sizes. After each one the real
        masks' own, of method "real". The first two have none where the split is the training split itself.

    Raises:
        DataError: Files are missing or broken, or folder or dataset have no silhouettes.
        UsageError: It is not known which masks are the reference.
    """
    images, records, split_images = open_samples(samples, data)
    fake = read_shapes(images, records, batch, progress)
    reference = split_images.split
    real, kept = split_shapes(reference, fake.side, batch, progress)
    train = real
    if reference.name != _TRAIN:
        dataset = Dataset.open(reference.folder)
        train, _ = split_shapes(dataset.split(_TRAIN), fake.side, batch, progress)
    report = _Report(images, split_images, fake, real, train)

    statistics = cached_statistics(real, features, batch, cache, progress)
    report.frechet(
        fake, image_statistics(fake, features, batch=batch, progress=progress), statistics, features
    )
    if train is not real:
        report.frechet(
            train, cached_statistics(train, features, batch, cache, progress), statistics, features
        )
    report.nearest(fake)
    if train is not real:
        report.nearest(real)

    texts = _attribute_texts(reference, kept)
    for shapes, captions in ((fake, [record.caption for record in records]), (real, texts)):
        report.areas(shapes)
        report.pieces(shapes)
        report.sizes(shapes, captions)
    order = list(dict.fromkeys(row.metric for row in report.rows))
    return sorted(report.rows, key=lambda row: order.index(row.metric))


def read_shapes(
    images: FileImages,
    records: Sequence[GeneratedImage],
    batch: int = 50,
    progress: Progress | None = None,
) -> Shapes:
    """The silhouettes that samples.csv names, in its order.

    A point is white from half of full brightness on.

    Raises:
        DataError: It names none, or of some images only; a file cannot be read, is not square, or of another side
            than the first.
    """
    table = images.folder / "samples.csv"
    if not all(record.silhouette for record in records):
        some = any(record.silhouette for record in records)
        raise DataError(
            f"{table}: names {'the silhouettes of some images only' if some else 'no silhouettes'}",
            "Silhouettes are of models of attributes: gancli train attr2image, then gancli sample.",
        )
    silhouettes = dataclasses.replace(
        images, files=tuple(images.folder / record.silhouette for record in records)
    )

    def masks(rows: slice) -> Iterator[Mask]:
        part = silhouettes.part(rows)
        # That of the first one of all, which may be in another process's part
        side = 0
        if len(part):
            ((first,),) = silhouettes.part(slice(1)).batches(1)
            side = len(first)
        files = iter(part.files)
        for chunk in part.batches(batch):
            for image in chunk:
                file = next(files)
                height, width = image.shape[:2]
                if (height, width) != (side, side):
                    first_one = file == silhouettes.files[0]
                    others = "a silhouette is square" if first_one else f"others {side} x {side}"
                    raise DataError(f"{file}: has {width} x {height} pixels, {others}")
            yield np.stack(chunk).mean(-1) >= FOREGROUND

    return Shapes.of_parts(images.name, len(silhouettes), batch, masks, progress)


def split_shapes(
    split: Split, side: int, batch: int = 50, progress: Progress | None = None
) -> tuple[Shapes, NDArray[np.int64]]:
    """The masks of a split that pass the quality filter, of the centre window, and the images they are of.

    Raises:
        DataError: The dataset has no masks, or none of the split passes.
    """
    kept = np.flatnonzero(split.silhouette_faults == 0).astype(np.int64)
    if not len(kept):
        raise DataError(
            f"{split.folder}: none of the masks of split {split.name!r} passes the quality filter"
        )

    def masks(rows: slice) -> Iterator[Mask]:
        for taken in evaluation_batches(
            split, sizes=(), batch=batch, words=0, images=kept[rows], silhouette_sizes=(side,)
        ):
            yield taken.silhouettes[0][:, 0].numpy() > 0

    return Shapes.of_parts(f"{split.folder}:{split.name}", len(kept), batch, masks, progress), kept


def _attribute_texts(split: Split, images: NDArray[np.int64]) -> list[str]:
    """What `gancli sample` would write as the captions of these images; "" each where there are no attributes."""
    table = split.attributes
    if table is None:
        return [""] * len(images)
    names = Dataset.open(split.folder).attribute_names
    return [attributes_text(table[index], names) for index in images.tolist()]


@dataclass
class _Report:
    """Measures sets of silhouettes and collects the rows.

    Attributes:
        images: The folder.
        reference: The split of the real masks.
        fake, real, train: The generated ones, those of the split, those of the training split (the same object as
            `real` where it is that split).
        rows: So far.
    """

    images: FileImages
    reference: SplitImages
    fake: Shapes
    real: Shapes
    train: Shapes
    rows: list[ScoreRow] = dataclasses.field(default_factory=list)

    def frechet(
        self, shapes: Shapes, statistics: Statistics, reference: Statistics, features: FeatureNetwork
    ) -> None:
        real = shapes is not self.fake
        few = [
            f"only {count:,} {what} for {features.dim:,} features: biased upward"
            for count, what in (
                (len(self.real), f"masks of {self.reference.split.name}"),
                (len(shapes), f"masks of {_TRAIN}" if real else "generated silhouettes"),
            )
            if count < features.dim
        ]
        if real:
            few.insert(
                0, f"the masks of {_TRAIN} in place of generated ones: what a model of them would have"
            )
        self._add(
            shapes,
            "mask_fid",
            frechet_distance(reference, statistics),
            protocol="Frechet distance of feature means and covariances (n - 1), float64, of silhouettes white on black"
            + ("" if features.sha256 else " without a network: features are the mask's averages")
            + f", against {self._masks(self.reference.split.name)}",
            n_real=len(self.real),
            note=few,
            network=features.name,
            network_sha256=features.sha256,
            resize=features.resize,
        )

    def nearest(self, shapes: Shapes) -> None:
        values = nearest_iou(shapes, self.train)
        if shapes is self.fake:
            note = [f"the most alike has {100 * values.max():.1f}; {int((values == 1).sum()):,} are copies"]
        else:
            note = [f"new real masks, those of {self.reference.split.name}: what no copies have"]
        self._add(
            shapes,
            "mask_nearest_iou",
            100 * float(values.mean()),
            100 * float(values.std()),
            protocol="intersection over union of each silhouette, mirrored or not, with the one it is most alike among "
            f"{self._masks(_TRAIN)}; per cent, mean and std over silhouettes",
            n_real=len(self.train),
            note=note,
        )

    def areas(self, shapes: Shapes) -> None:
        values = shares(shapes)
        empty = int((values == 0).sum())
        self._add(
            shapes,
            "foreground_share",
            100 * float(values.mean()),
            100 * float(values.std()),
            protocol="share of the image that is silhouette, per cent; mean and std over silhouettes",
            note=[f"{empty:,} are empty"] if empty else [],
        )

    def pieces(self, shapes: Shapes) -> None:
        values = pieces(shapes)
        self._add(
            shapes,
            "mask_pieces",
            float(values.mean()),
            float(values.std()),
            protocol="connected pieces of a silhouette, over corners too; mean and std over silhouettes",
            note=[f"{100 * float((values > 1).mean()):.1f} % are of several pieces"],
        )

    def sizes(self, shapes: Shapes, texts: Sequence[str]) -> None:
        found = rank_correlation([asked_size(text) for text in texts], shares(shapes))
        if found is None or (shapes is self.real and all(row.metric != SIZE_METRIC for row in self.rows)):
            return
        value, count = found
        self._add(
            shapes,
            SIZE_METRIC,
            value,
            protocol="Spearman's rank correlation of the size that the attributes name with the area of the silhouette",
            count=count,
            note=[]
            if count == len(shapes)
            else [f"the attributes of {len(shapes) - count:,} others name none"],
        )

    def _masks(self, split: str) -> str:
        count = len(self.real if split == self.reference.split.name else self.train)
        return f"{count:,} masks of {split} that pass the filter (centre windows, {self.fake.side} pixels)"

    def _add(
        self,
        shapes: Shapes,
        metric: str,
        value: float,
        std: float | None = None,
        *,
        protocol: str,
        note: Sequence[str],
        n_real: int = 0,
        count: int | None = None,
        network: str = "",
        network_sha256: str = "",
        resize: str = "",
    ) -> None:
        fake = shapes is self.fake
        count = len(shapes) if count is None else count
        origin = origin_of(self.images) if fake else Origin("real", shapes.name, shapes.fingerprint)
        fields: dict[str, Any] = dataclasses.asdict(origin) | {"image_size": shapes.side}
        self.rows.append(
            ScoreRow(
                dataset=self.reference.dataset,
                split=self.reference.split.name,
                metric=metric,
                value=value,
                std=std,
                n_real=n_real if fake else count,
                n_fake=count if fake else 0,
                protocol=protocol,
                network=network,
                network_sha256=network_sha256,
                resize=resize,
                note="; ".join([*note, *(self._warnings if fake else ())]),
                **fields,
            )
        )

    @cached_property
    def _warnings(self) -> list[str]:
        """What to know of all scores of these silhouettes."""
        sampling = self.images.sampling
        notes = []
        if sampling is not None and sampling.silhouettes not in (None, Silhouettes.DRAWN):
            notes.append(
                f"the silhouettes were given ({sampling.silhouette_source or sampling.silhouettes}), no model drew them"
            )
        different = len(np.unique(self.fake.bits, axis=0))
        if different < len(self.fake):
            notes.append(f"{different:,} of the {len(self.fake):,} silhouettes are different")
        if self.fake.side > self.reference.split.image_size:
            notes.append(f"the dataset's masks were enlarged from {self.reference.split.image_size} pixels")
        return notes
