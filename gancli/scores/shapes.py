"""Scores of silhouettes: distance to real ones, copies, area, pieces and order of sizes.

A silhouette is white on the bird. The reference are the silhouettes of a dataset that pass its quality filter, in the
centre window and at the side of the generated ones. Their own scores are reported with them: the values of a perfect
model.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from scipy.stats import spearmanr
from skimage.measure import label

from gancli.data.attributes import attributes_text
from gancli.data.loader import evaluation_batches
from gancli.data.shards import FOREGROUND, Split
from gancli.errors import DataError, UsageError
from gancli.progress import Progress, reporting
from gancli.sampling.samples_folder import GeneratedImage, Silhouettes
from gancli.scores.across_ranks import by_parts
from gancli.scores.features import FeatureNetwork, load_features
from gancli.scores.fid import Statistics, frechet_distance, image_statistics
from gancli.scores.image_sets import FileImages, Pixels, SplitImages, open_samples, origin_of
from gancli.scores.results import NetworkFields, Origin, ScoreRow

Bits = NDArray[np.bool_]  # (S, S) or (n, S, S), True on the bird

SIZE_METRIC = "size_rank_correlation"
PIXELS = "pixels"  # features without a network
SIZES = ("very_small", "small", "medium", "large", "very_large")

_GRID = 16  # side that silhouettes are averaged to for the features without a network
_CHUNK = 512  # silhouettes of each side of a matrix product
_TRAIN = "train"


@dataclass(frozen=True)
class Shapes:
    """Silhouettes of one side, eight points in a byte: 100,000 of 64 pixels take 51 MB.

    Attributes:
        name: Name in messages.
        side: Side S in pixels.
        bits: Packed points (N, ⌈S²/8⌉) uint8.
    """

    name: str
    side: int
    bits: NDArray[np.uint8]

    @classmethod
    def of(cls, name: str, silhouettes: Iterable[Bits]) -> Shapes:
        """Pack silhouettes (n, S, S), any number at a time and at least one in all."""
        return cls._packed(name, [_pack(part) for part in silhouettes])

    @classmethod
    def of_parts(
        cls,
        name: str,
        count: int,
        batch: int,
        silhouettes: Callable[[slice], Iterable[Bits]],
        progress: Progress | None = None,
    ) -> Shapes:
        """Pack `count` silhouettes that each process reads a part of.

        Args:
            name: Name in messages.
            count: Number N of silhouettes, at least one.
            batch: Silhouettes at a time.
            silhouettes: Function from a part to its silhouettes (n, S, S), batch by batch.
            progress: Callback after each batch with silhouettes done and in all.
        """
        return cls._packed(name, by_parts(count, batch, lambda rows: map(_pack, silhouettes(rows)), progress))

    @classmethod
    def _packed(cls, name: str, parts: Sequence[tuple[int, NDArray[np.uint8]]]) -> Shapes:
        return cls(name, parts[0][0], np.concatenate([bits for _, bits in parts]))

    def __len__(self) -> int:
        return len(self.bits)

    def part(self, rows: slice) -> Shapes:
        """Return some of them alone."""
        return dataclasses.replace(self, bits=self.bits[rows])

    @property
    def fingerprint(self) -> str:
        """sha256 over the silhouettes."""
        return hashlib.sha256(f"{self.side}:".encode() + self.bits.tobytes()).hexdigest()

    def unpacked(self, size: int = _CHUNK) -> Iterator[Bits]:
        """Yield all silhouettes in order, (n, S, S) with n at most `size`."""
        for start in range(0, len(self), size):
            rows = np.unpackbits(self.bits[start : start + size], axis=1, count=self.side**2)
            yield rows.reshape(-1, self.side, self.side).astype(bool)

    def batches(self, size: int) -> Iterator[list[Pixels]]:
        """Yield the silhouettes as images for networks, white on black, (S, S, 3) uint8."""
        for silhouettes in self.unpacked(size):
            images = np.where(silhouettes, np.uint8(255), np.uint8(0))
            yield list(np.repeat(images[..., None], 3, axis=-1))


def _pack(silhouettes: Bits) -> tuple[int, NDArray[np.uint8]]:
    """Return side and packed points of silhouettes."""
    return silhouettes.shape[1], np.packbits(silhouettes.reshape(len(silhouettes), -1), axis=1)


# --- measures ---------------------------------------------------------------------------------------------------


def nearest_iou(shapes: Shapes, others: Shapes, *, chunk: int = _CHUNK) -> NDArray[np.float64]:
    """Return the intersection over union of each silhouette with the most similar of others, mirrored ones included.

    Two empty silhouettes have 1. Memory beyond the silhouettes' own does not depend on their number.

    Args:
        shapes: N silhouettes of side S.
        others: M silhouettes of the same side, at least one.
        chunk: Silhouettes of each that are compared at once, which changes no number.

    Returns:
        Values (N,) in [0, 1].
    """

    def work(rows: slice) -> Iterator[NDArray[np.float64]]:
        for silhouettes in shapes.part(rows).unpacked(chunk):
            yield _nearest(silhouettes, others.unpacked(chunk))

    return np.concatenate(by_parts(len(shapes), chunk, work))


def paired_iou(
    shapes: Shapes, rows: NDArray[np.int64], others: Shapes, of: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Return the intersection over union of silhouettes `rows` (P,) with others `of` (P,), mirrored or not, (P,).

    Two empty silhouettes have 1.
    """
    values = []
    for start in range(0, len(rows), _CHUNK):
        chosen = slice(start, start + _CHUNK)
        first, second = (
            np.unpackbits(each.bits[numbers[chosen]], axis=1, count=each.side**2)
            .reshape(-1, each.side, each.side)
            .astype(bool)
            for each, numbers in ((shapes, rows), (others, of))
        )
        best = np.zeros(len(first))
        for side in (first, first[:, :, ::-1]):
            common, union = (kind(side, second).sum(axis=(1, 2)) for kind in (np.logical_and, np.logical_or))
            best = np.maximum(best, np.divide(common, union, out=np.ones(len(first)), where=union > 0))
        values.append(best)
    return np.concatenate(values)


def _nearest(silhouettes: Bits, others: Iterable[Bits]) -> NDArray[np.float64]:
    """Return `nearest_iou` of silhouettes (n, S, S) among others, any number at a time."""
    count = len(silhouettes)
    best = np.zeros(count)
    mirrored = silhouettes[:, :, ::-1]
    sides = [part.reshape(count, -1).astype(np.float32) for part in (silhouettes, mirrored)]  # (n, S²)
    area = sides[0].sum(1)
    for others_part in others:
        other = others_part.reshape(len(others_part), -1).astype(np.float32)  # (m, S²)
        both = area[:, None] + other.sum(1)
        for side in sides:
            common = side @ other.T  # (n, m), whole numbers, which float32 holds exactly
            union = both - common
            alike = np.divide(common, union, out=np.ones_like(common), where=union > 0)
            best = np.maximum(best, alike.max(1))
    return best


def shares(shapes: Shapes) -> NDArray[np.float64]:
    """Return the share of the image that each silhouette covers, (N,) in [0, 1]."""
    return np.concatenate([silhouettes.mean((1, 2)) for silhouettes in shapes.unpacked()])


def pieces(shapes: Shapes) -> NDArray[np.int64]:
    """Return the number of connected pieces of each silhouette, (N,). Points that touch at a corner are connected."""
    return np.array([label(one).max() for silhouettes in shapes.unpacked() for one in silhouettes], np.int64)


def asked_size(text: str) -> int | None:
    """Return the index in `SIZES` of the size that a text of attributes names; None where it names none or several.

    "bill_shape=cone, size=small_(5_-_9_in)" gives 1.
    """
    pairs = (pair.strip().partition("=") for pair in text.split(","))
    named = {value.partition("_(")[0] for group, _, value in pairs if group == "size"}
    (size,) = named if len(named) == 1 else (None,)
    return SIZES.index(size) if size in SIZES else None


def rank_correlation(sizes: Sequence[int | None], area: NDArray[np.float64]) -> tuple[float, int] | None:
    """Return Spearman's rank correlation of the sizes asked for with areas (N,), and the number of silhouettes used.

    Silhouettes without a size (see `asked_size`) are left out. None where there is no order: fewer than three
    silhouettes, one size, or one area.
    """
    pairs = [(size, value) for size, value in zip(sizes, area.tolist(), strict=True) if size is not None]
    if len(pairs) < 3:
        return None
    asked, areas = np.array(pairs).T
    if len(np.unique(asked)) < 2 or len(np.unique(areas)) < 2:
        return None
    return float(spearmanr(asked, areas).statistic), len(pairs)


# --- features ---------------------------------------------------------------------------------------------------


def load_silhouette_features(
    name: FeatureNetwork | str, *, weights: str | Path | None = None, device: str | torch.device = "cpu"
) -> FeatureNetwork:
    """Load the features that a Fréchet distance of silhouettes compares.

    Args:
        name: "pixels", the silhouette averaged to 16 x 16, or a network as `features.load_features` knows it, which
            sees the silhouette in all three channels. Loaded features are returned as they are.
        weights: File or folder of the Inception weights; None for the places where `gancli.weights` looks.
        device: Device to run on.

    Raises:
        UsageError: There are no such features.
        DataError: The network's weights are missing or broken.
    """
    if isinstance(name, FeatureNetwork):
        return name
    if name in ("inception", "imagenet") or ":" in name:
        return load_features(name, weights=weights, device=device)
    if name != PIXELS:
        raise UsageError(
            f"{name!r} are not features of silhouettes",
            f"Use inception, imagenet, {PIXELS}, or encoder:DIR with a folder of gancli pretrain-encoder.",
        )

    return FeatureNetwork(
        name=f"{PIXELS} {_GRID}x{_GRID}",
        sha256="",
        dim=_GRID**2,
        resize=f"area to {_GRID}x{_GRID}",
        prepare=lambda images: F.adaptive_avg_pool2d(images.mean(1, keepdim=True) / 255, _GRID),
        network=lambda averages: averages.flatten(1),
        device=torch.device(device),
        kind=PIXELS,
        transform="area",
    )


# --- rows -------------------------------------------------------------------------------------------------------


def score_shapes(
    samples: str | Path,
    features: FeatureNetwork | str = "inception",
    *,
    weights: str | Path | None = None,
    data: str | Path | None = None,
    cache: bool = True,
    batch: int = 50,
    device: str | torch.device = "cpu",
    progress: Progress | bool = True,
) -> tuple[ScoreRow, ...]:
    """Measure the silhouettes of a folder, and the real silhouettes.

    Args:
        samples: Folder of `gancli sample` whose samples.csv names silhouettes.
        features: Features or their name, see `load_silhouette_features`.
        weights: File or folder of the Inception weights; None for the places where `gancli.weights` looks.
        data: Split of the real silhouettes as "DIR:split"; None for the one in sampling.json.
        cache: Keep the statistics of the real silhouettes for the next time.
        batch: Silhouettes at a time, which changes no number.
        device: Device of the network.
        progress: Callback with silhouettes done and in all for each set of them, or True for a bar.

    Returns:
        `mask_fid` against the silhouettes of the split; `mask_iou` with those of the same images; `mask_nearest_iou`
        against those of the training split; `foreground_share`, `mask_pieces`; `size_rank_correlation` where captions
        name sizes. Each is followed by the real silhouettes' own, with the method "real". `mask_fid` and
        `mask_nearest_iou` have none where the split is the training split.

    Raises:
        DataError: Files are missing or broken, or folder or dataset have no silhouettes.
        UsageError: The reference silhouettes are unknown.
    """
    network = load_silhouette_features(features, weights=weights, device=device)
    images, records, split_images = open_samples(samples, data)
    reference = split_images.split
    with reporting(progress, "measuring", "silhouettes") as report:
        fake = read_shapes(images, records, batch, report)
        real, kept = split_shapes(reference, fake.side, batch, report)
        train = real
        if reference.name != _TRAIN:
            train, _ = split_shapes(split_images.dataset.split(_TRAIN), fake.side, batch, report)
        table = _Report(images, split_images, fake, real, train)

        statistics = image_statistics(real, network, batch=batch, cache=cache, progress=report)
        drawn = image_statistics(fake, network, batch=batch, cache=cache, progress=report)
        table.frechet(fake, drawn, statistics, network)
        if train is not real:
            table.frechet(
                train,
                image_statistics(train, network, batch=batch, cache=cache, progress=report),
                statistics,
                network,
            )
    table.nearest(fake)
    if train is not real:
        table.nearest(real)

    places = {reference.keys[index]: place for place, index in enumerate(kept.tolist())}
    table.own([(row, places[each.key]) for row, each in enumerate(records) if each.key in places])
    texts = _attribute_texts(split_images, kept)
    for shapes, captions in ((fake, [record.caption for record in records]), (real, texts)):
        table.areas(shapes)
        table.pieces(shapes)
        table.sizes(shapes, captions)
    order = list(dict.fromkeys(row.metric for row in table.rows))
    return tuple(sorted(table.rows, key=lambda row: order.index(row.metric)))


def read_shapes(
    images: FileImages,
    records: Sequence[GeneratedImage],
    batch: int = 50,
    progress: Progress | None = None,
) -> Shapes:
    """Read the silhouettes that samples.csv names, in its order. A point is white from half of full brightness on.

    Raises:
        DataError: It names none, or those of some images only; or a file cannot be read, is not square, or has another
            side than the first.
    """
    table = images.folder / "samples.csv"
    if not all(record.silhouette for record in records):
        some = any(record.silhouette for record in records)
        raise DataError(
            f"{table}: names {'the silhouettes of some images only' if some else 'no silhouettes'}",
            "Models of attributes draw silhouettes: gancli train attr2image, then gancli sample.",
        )
    files = dataclasses.replace(images, files=tuple(images.folder / record.silhouette for record in records))

    def silhouettes(rows: slice) -> Iterator[Bits]:
        part = files.part(rows)
        # The side of the first file of all, which may be in another process's part
        side = 0
        if len(part):
            ((first,),) = files.part(slice(1)).batches(1)
            side = len(first)
        names = iter(part.files)
        for chunk in part.batches(batch):
            for image in chunk:
                file = next(names)
                height, width = image.shape[:2]
                if (height, width) != (side, side):
                    is_first = file == files.files[0]
                    others = "a silhouette is square" if is_first else f"others {side} x {side}"
                    raise DataError(f"{file}: has {width} x {height} pixels, {others}")
            yield np.stack(chunk).mean(-1) >= FOREGROUND

    return Shapes.of_parts(images.name, len(files), batch, silhouettes, progress)


def split_shapes(
    split: Split, side: int, batch: int = 50, progress: Progress | None = None
) -> tuple[Shapes, NDArray[np.int64]]:
    """Read the silhouettes of a split that pass the quality filter, in the centre window, and their images' indices.

    Raises:
        DataError: The dataset has no silhouettes, or none of the split passes.
    """
    kept = np.flatnonzero(split.silhouette_faults == 0).astype(np.int64)
    if not len(kept):
        raise DataError(
            f"{split.folder}: none of the silhouettes of split {split.name!r} passes the quality filter"
        )

    def silhouettes(rows: slice) -> Iterator[Bits]:
        for taken in evaluation_batches(
            split, sizes=(), batch=batch, words=0, images=kept[rows], silhouette_sizes=(side,)
        ):
            yield taken.silhouettes[0][:, 0].numpy() > 0

    name = f"{split.folder}:{split.name}"
    return Shapes.of_parts(name, len(kept), batch, silhouettes, progress), kept


def _attribute_texts(reference: SplitImages, images: NDArray[np.int64]) -> list[str]:
    """Return the captions that `gancli sample` would write for images; "" for each where there are no attributes."""
    table = reference.split.attributes
    if table is None:
        return [""] * len(images)
    return [attributes_text(table[index], reference.dataset.attribute_names) for index in images.tolist()]


@dataclass
class _Report:
    """Measures sets of silhouettes and collects the rows. Where the split is the training split, `train` is `real`."""

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
                (len(self.real), f"silhouettes of {self.reference.split.name}"),
                (len(shapes), f"silhouettes of {_TRAIN}" if real else "generated silhouettes"),
            )
            if count < features.dim
        ]
        if real:
            what = f"the silhouettes of {_TRAIN} in place of generated ones: the value of a model that draws those"
            few.insert(0, what)
        self._add(
            shapes,
            "mask_fid",
            frechet_distance(reference, statistics),
            protocol="Frechet distance of feature means and covariances (n - 1), float64, of silhouettes white on black"
            + ("" if features.sha256 else " without a network: features are the silhouette's averages")
            + f", against {self._silhouettes(self.reference.split.name)}",
            n_real=len(self.real),
            note=few,
            network=features.fields,
        )

    def nearest(self, shapes: Shapes) -> None:
        values = nearest_iou(shapes, self.train)
        if shapes is self.fake:
            note = [f"the most similar has {100 * values.max():.1f}; {int((values == 1).sum()):,} are copies"]
        else:
            note = [f"new real silhouettes, those of {self.reference.split.name}: the value without copies"]
        self._add(
            shapes,
            "mask_nearest_iou",
            100 * float(values.mean()),
            100 * float(values.std()),
            protocol="intersection over union of each silhouette, mirrored or not, with the most similar of "
            f"{self._silhouettes(_TRAIN)}; per cent, mean and std over silhouettes",
            n_real=len(self.train),
            note=note,
        )

    def own(self, pairs: Sequence[tuple[int, int]]) -> None:
        """Compare silhouettes with those of the images whose attributes they were drawn for, by their numbers."""
        if not pairs:
            return
        drawn, real = (np.array(numbers) for numbers in zip(*pairs, strict=True))
        others = np.arange(len(self.real))
        unpaired = len(self.fake) - len(pairs)
        for shapes, rows, of, note in (
            (self.fake, drawn, real, [f"{unpaired:,} others have no such silhouette"] if unpaired else []),
            (self.real, others, np.roll(others, 1), ["each with that of another image: the value of chance"]),
        ):
            values = paired_iou(shapes, rows, self.real, of)
            self._add(
                shapes,
                "mask_iou",
                100 * float(values.mean()),
                100 * float(values.std()),
                protocol="intersection over union of each silhouette, mirrored or not, with that of the image whose "
                "attributes it was drawn for; per cent, mean and std over silhouettes",
                n_real=len(np.unique(of)),
                count=len(rows),
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
            note=[f"{100 * float((values > 1).mean()):.1f} % have several pieces"],
        )

    def sizes(self, shapes: Shapes, texts: Sequence[str]) -> None:
        found = rank_correlation([asked_size(text) for text in texts], shares(shapes))
        if found is None or (shapes is self.real and all(row.metric != SIZE_METRIC for row in self.rows)):
            return
        value, count = found
        unnamed = len(shapes) - count
        self._add(
            shapes,
            SIZE_METRIC,
            value,
            protocol="Spearman's rank correlation of the size that the attributes name with the area of the silhouette",
            count=count,
            note=[f"the attributes of {unnamed:,} others name none"] if unnamed else [],
        )

    def _silhouettes(self, split: str) -> str:
        count = len(self.real if split == self.reference.split.name else self.train)
        return (
            f"{count:,} silhouettes of {split} that pass the filter (centre windows, {self.fake.side} pixels)"
        )

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
        network: NetworkFields | None = None,
    ) -> None:
        fake = shapes is self.fake
        count = len(shapes) if count is None else count
        origin = origin_of(self.images)
        if not fake:
            origin = Origin(images="real", method="real", model=shapes.name, model_hash=shapes.fingerprint)
        self.rows.append(
            ScoreRow(
                **vars(self.reference.data),
                **vars(dataclasses.replace(origin, image_size=shapes.side)),
                **vars(network or NetworkFields()),
                metric=metric,
                value=value,
                std=std,
                n_real=n_real if fake else count,
                n_fake=count if fake else 0,
                protocol=protocol,
                note="; ".join([*note, *(self._warnings if fake else ())]),
            )
        )

    @cached_property
    def _warnings(self) -> list[str]:
        """Notes on all scores of these silhouettes."""
        sampling = self.images.sampling
        notes = []
        if sampling is not None and sampling.silhouettes not in (None, Silhouettes.DRAWN):
            source = sampling.silhouette_source or sampling.silhouettes
            notes.append(f"the silhouettes were given ({source}), no model drew them")
        different = len(np.unique(self.fake.bits, axis=0))
        if different < len(self.fake):
            notes.append(f"{different:,} of the {len(self.fake):,} silhouettes are different")
        stored = self.reference.dataset.image_size
        if self.fake.side > stored:
            notes.append(f"the dataset's silhouettes were enlarged from {stored} pixels")
        return notes
