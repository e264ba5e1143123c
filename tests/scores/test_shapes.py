"""Scores of silhouettes: against slow transcriptions, and of the right masks of the right split."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from PIL import Image

from gancli.data.loader import evaluation_batches
from gancli.data.preparation.options import PrepareOptions
from gancli.data.preparation.prepare import prepare
from gancli.data.shards import Dataset
from gancli.data.sources.demo import dataset as demo
from gancli.errors import DataError, UsageError
from gancli.sampling.samples_folder import (
    GeneratedImage,
    Sampling,
    Silhouettes,
    write_samples,
    write_sampling,
)
from gancli.scores.features import FeatureNetwork
from gancli.scores.fid import Statistics, frechet_distance
from gancli.scores.results import ScoreRow
from gancli.scores.shapes import (
    PIXELS,
    SIZES,
    Shapes,
    asked_size,
    load_silhouette_features,
    nearest_iou,
    paired_iou,
    pieces,
    rank_correlation,
    score_shapes,
    shares,
)

SIDE = 16
Masks = NDArray[np.bool_]


def masks(count: int, side: int = SIDE, seed: int = 0) -> Masks:
    """Blobs of several pieces, (count, side, side)."""
    coarse = np.random.default_rng(seed).random((count, side // 4, side // 4)) < 0.4
    return coarse.repeat(4, 1).repeat(4, 2)


# --- the definitions, slowly ------------------------------------------------------------------------------------


def slow_iou(first: Masks, second: Masks) -> float:
    both = either = 0
    for row in range(first.shape[0]):
        for column in range(first.shape[1]):
            both += bool(first[row, column] and second[row, column])
            either += bool(first[row, column] or second[row, column])
    return both / either if either else 1.0


def slow_pieces(mask: Masks) -> int:
    """Flood fill over the eight neighbours."""
    left = set(zip(*np.nonzero(mask), strict=True))
    count = 0
    while left:
        count += 1
        front = [left.pop()]
        while front:
            row, column = front.pop()
            around = {(row + down, column + right) for down in (-1, 0, 1) for right in (-1, 0, 1)} & left
            left -= around
            front += around
    return count


@pytest.mark.parametrize("chunk", [1, 3, 100])
def test_nearest_iou_of_masks_and_mirrored_ones(chunk: int) -> None:
    first, second = masks(5, 8, seed=1), masks(7, 8, seed=2)
    first[3] = second[3] = False
    slow = [
        max(max(slow_iou(one, other), slow_iou(one, other[:, ::-1])) for other in second) for one in first
    ]
    found = nearest_iou(Shapes.of("a", [first]), Shapes.of("b", [second]), chunk=chunk)
    np.testing.assert_allclose(found, slow, atol=1e-6)


def test_iou_of_pairs() -> None:
    first, second = masks(6), masks(6, seed=1)
    rows, of = np.array([0, 3, 3, 5]), np.array([2, 3, 0, 1])
    found = paired_iou(Shapes.of("a", [first]), rows, Shapes.of("b", [second]), of)
    expected = [
        max(slow_iou(first[a], second[b]), slow_iou(first[a][:, ::-1], second[b]))
        for a, b in zip(rows, of, strict=True)
    ]
    assert found == pytest.approx(expected)


def test_nearest_iou_by_hand() -> None:
    left = np.zeros((1, 4, 4), bool)
    left[0, :, :2] = True
    right, full, empty = left[:, :, ::-1], np.ones_like(left), np.zeros_like(left)
    for one, others, value in (
        (left, [right], 1.0),  # mirrored
        (left, [full, empty], 0.5),
        (empty, [left], 0.0),
        (empty, [empty], 1.0),
    ):
        found = nearest_iou(Shapes.of("a", [one]), Shapes.of("b", others))
        np.testing.assert_allclose(found, [value])


@given(arrays(np.bool_, (3, 7, 7), elements=st.booleans()))
def test_pieces_are_what_a_flood_reaches(drawn: Masks) -> None:
    shapes = Shapes.of("a", [drawn])
    assert pieces(shapes).tolist() == [slow_pieces(mask) for mask in drawn]
    np.testing.assert_allclose(shares(shapes), [mask.sum() / 49 for mask in drawn])


@given(arrays(np.bool_, (5, 6, 6), elements=st.booleans()), st.integers(1, 6))
def test_packed_silhouettes_come_back_in_any_batch(drawn: Masks, size: int) -> None:
    shapes = Shapes.of("a", [drawn[:2], drawn[2:]])
    assert (len(shapes), shapes.side) == (5, 6)
    np.testing.assert_array_equal(np.concatenate(list(shapes.unpacked(size))), drawn)
    images = np.stack([image for batch in shapes.batches(size) for image in batch])
    np.testing.assert_array_equal(images, np.repeat(drawn[..., None], 3, -1) * np.uint8(255))


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("bill_shape=cone, size=small_(5_-_9_in), primary_color=red", "small"),
        ("size=very_large_(32_-_72_in)", "very_large"),
        ("size=medium", "medium"),
        ("a small bird", None),
        ("", None),
        ("primary_color=red", None),
        ("size=small_(5_-_9_in), size=large_(16_-_32_in)", None),
        ("size=huge", None),
    ],
)
def test_the_size_that_a_text_names(text: str, size: str | None) -> None:
    assert asked_size(text) == (None if size is None else SIZES.index(size))


def test_sizes_are_in_order() -> None:
    assert rank_correlation([0, 1, 2, 4, None], np.array([0.1, 0.2, 0.3, 0.4, 0.0])) == (1.0, 4)
    assert rank_correlation([4, 2, 1, 0], np.array([0.1, 0.2, 0.3, 0.4])) == (pytest.approx(-1), 4)
    assert rank_correlation([1, 1, 1, None], np.array([0.1, 0.2, 0.3, 0.4])) is None
    assert rank_correlation([0, 1, 2], np.full(3, 0.5)) is None
    assert rank_correlation([0, 1, None], np.array([0.1, 0.2, 0.3])) is None


def test_features_without_a_network_are_averages() -> None:
    network = load_silhouette_features(PIXELS)
    drawn = masks(4, 32)
    (images,) = Shapes.of("a", [drawn]).batches(4)
    averages = drawn.reshape(4, 16, 2, 16, 2).mean((2, 4)).reshape(4, 256)
    np.testing.assert_allclose(network(images).numpy(), averages, atol=1e-6)
    assert (network.name, network.sha256, network.dim) == ("pixels 16x16", "", 256)


def test_unknown_features_are_refused() -> None:
    with pytest.raises(UsageError, match="'vgg' are not features") as refused:
        load_silhouette_features("vgg")
    assert "pixels" in str(refused.value.hint)


# --- folders and splits -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo birds, 45 of train and 15 of test, with one mask of each that the filter refuses."""
    folder = tmp_path_factory.mktemp("demo")
    demo.write_demo(folder / "raw", images=60, image_size=32)
    source = demo.read(folder / "raw")
    for key in first_of_each_split(folder / "raw"):
        file = folder / "raw/CUB_200_2011/segmentations" / f"{key}.png"
        Image.new("L", Image.open(file).size).save(file)
    prepare(source, folder / "demo", PrepareOptions(image_size=32))
    return folder / "demo"


def first_of_each_split(raw: Path) -> list[str]:
    firsts: dict[str, str] = {}
    for sample in demo.read(raw).samples:
        firsts.setdefault(sample.split, sample.key)
    return list(firsts.values())


def real_masks(dataset: Path, split: str) -> Masks:
    """Those that pass the filter."""
    opened = Dataset.open(dataset).split(split)
    (batch,) = evaluation_batches(opened, sizes=(), batch=100, words=0, silhouette_sizes=(32,))
    kept = np.array([bool(opened.silhouette(index).any()) for index in range(len(opened))])
    assert (~kept).sum() == 1
    return (batch.silhouettes[0][:, 0].numpy() > 0)[kept]


def write_folder(
    folder: Path,
    drawn: Masks,
    data: Path | None,
    captions: list[str] | None = None,
    given: Silhouettes | None = None,
) -> Path:
    """A folder of `gancli sample` of a model of shapes."""
    folder.mkdir()
    rows = []
    for number, mask in enumerate(drawn):
        Image.fromarray(mask).convert("RGB").save(folder / f"{number}.png")
        caption = captions[number] if captions else "bill_shape=cone"
        rows.append(
            GeneratedImage(
                f"{number}.png", caption, "", None, 5, number, len(mask), silhouette=f"{number}.png"
            )
        )
    method, count, side = "attribute2shape", len(drawn), len(drawn[0])
    sampling = Sampling(
        "runs/1", "a" * 64, "", method, str(data) if data else None, "demo" if data else None,
        "test" if data else None, count, 1, 5, None, (side,), "c", (), "0", silhouettes=given,
    )  # fmt: skip
    write_sampling(folder, sampling)
    write_samples(folder, rows)
    return folder


def score(folder: Path, **options: str) -> dict[tuple[str, bool], ScoreRow]:
    """{(metric, whether of the real masks): row}"""
    rows = score_shapes(str(folder), load_silhouette_features(PIXELS), cache=False, **options)
    found = {(row.metric, row.method == "real"): row for row in rows}
    assert len(found) == len(rows)
    return found


def test_real_masks_score_as_the_real_ones_beside_them(dataset: Path, tmp_path: Path) -> None:
    test = real_masks(dataset, "test")
    rows = score(write_folder(tmp_path / "shapes", test, dataset))
    metrics = ("mask_fid", "mask_nearest_iou", "foreground_share", "mask_pieces")
    assert list(rows) == [(metric, real) for metric in metrics for real in (False, True)]
    for metric in metrics[1:]:
        fake, real = rows[metric, False], rows[metric, True]
        assert (fake.value, fake.std) == (real.value, real.std)
        assert fake.protocol == real.protocol
    assert rows["mask_fid", False].value == pytest.approx(0, abs=1e-9)
    for row in rows.values():
        assert (row.dataset, row.split, row.image_size) == ("demo", "test", 32)
    fake = rows["mask_fid", False]
    assert (fake.method, fake.model, fake.seed) == ("attribute2shape", "runs/1", 5)
    assert (fake.n_fake, fake.n_real) == (14, 14)
    assert (rows["mask_fid", True].n_fake, rows["mask_fid", True].n_real) == (0, 44)
    assert (rows["mask_nearest_iou", False].n_fake, rows["mask_nearest_iou", False].n_real) == (14, 44)
    assert "44 silhouettes of train that pass the filter" in rows["mask_nearest_iou", False].protocol
    assert "14 silhouettes of test that pass the filter" in fake.protocol
    assert (fake.network, fake.network_sha256) == ("pixels 16x16", "")
    assert "without a network" in fake.protocol
    assert "biased upward" in fake.note


def test_values_are_those_of_the_definitions(dataset: Path, tmp_path: Path) -> None:
    drawn = masks(6, 32)
    train, test = real_masks(dataset, "train"), real_masks(dataset, "test")
    rows = score(write_folder(tmp_path / "shapes", drawn, dataset))
    assert rows["foreground_share", False].value == pytest.approx(100 * drawn.mean())
    assert rows["foreground_share", True].value == pytest.approx(100 * test.mean())
    assert rows["mask_pieces", False].value == pytest.approx(np.mean([slow_pieces(mask) for mask in drawn]))
    nearest = [max(max(slow_iou(m, t), slow_iou(m, t[:, ::-1])) for t in train) for m in drawn[:2]]
    first = score(write_folder(tmp_path / "two", drawn[:2], dataset))["mask_nearest_iou", False]
    assert first.value == pytest.approx(100 * np.mean(nearest))
    network = load_silhouette_features(PIXELS)
    floor, fid = rows["mask_fid", True].value, rows["mask_fid", False].value
    assert floor == pytest.approx(frechet(train, test, network), rel=1e-6)
    assert fid == pytest.approx(frechet(drawn, test, network), rel=1e-6)
    assert fid > 3 * floor


def frechet(first: Masks, second: Masks, network: FeatureNetwork) -> float:
    statistics = []
    for drawn in (first, second):
        (images,) = Shapes.of("a", [drawn]).batches(len(drawn))
        features = network(images).numpy().astype(np.float64)
        statistics.append(Statistics(features.mean(0), np.cov(features.T), len(drawn)))
    return frechet_distance(*statistics)


def test_copies_of_training_masks_are_told(dataset: Path, tmp_path: Path) -> None:
    train = real_masks(dataset, "train")
    copies = np.concatenate([train[:3], train[3:4, :, ::-1], masks(1, 32)])
    row = score(write_folder(tmp_path / "shapes", copies, dataset))["mask_nearest_iou", False]
    assert "the most similar has 100.0; 4 are copies" in row.note
    assert (
        row.value
        > score(write_folder(tmp_path / "others", masks(5, 32), dataset))["mask_nearest_iou", False].value
    )


def test_training_masks_as_the_reference_have_no_floor(dataset: Path, tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "shapes", masks(4, 32), None)
    rows = score(folder, data=f"{dataset}:train")
    assert ("mask_fid", True) not in rows
    assert ("mask_nearest_iou", True) not in rows
    assert rows["mask_fid", False].n_real == 44
    assert rows["foreground_share", True].n_real == 44


def test_sizes_that_captions_name(dataset: Path, tmp_path: Path) -> None:
    areas = np.arange(1, 7)
    drawn = np.zeros((6, 32, 32), bool)
    for mask, area in zip(drawn, areas, strict=True):
        mask[: 4 * area] = True
    captions = [f"size={size}" for size in ("small_(5_-_9_in)", "medium", "large")] + ["bill_shape=cone"] * 3
    rows = score(write_folder(tmp_path / "shapes", drawn, dataset, captions))
    fake, real = rows["size_rank_correlation", False], rows["size_rank_correlation", True]
    assert (fake.value, fake.n_fake) == (1.0, 3)
    assert "3 others name none" in fake.note
    assert real.value > 0.5  # small birds of the demo are slender
    assert (real.n_real, real.n_fake) == (14, 0)


def test_the_side_is_that_of_the_silhouettes(dataset: Path, tmp_path: Path) -> None:
    rows = score(write_folder(tmp_path / "small", masks(4, 16), dataset))
    assert {row.image_size for row in rows.values()} == {16}
    rows = score(write_folder(tmp_path / "large", masks(4, 64), dataset))
    assert {row.image_size for row in rows.values()} == {64}
    assert "enlarged from 32 pixels" in rows["mask_fid", False].note


def test_given_and_repeated_silhouettes_are_told(dataset: Path, tmp_path: Path) -> None:
    drawn = masks(2, 32)[[0, 1, 0, 0]]
    note = score(write_folder(tmp_path / "a", drawn, dataset, given=Silhouettes.DATASET))[
        "mask_pieces", False
    ].note
    assert "were given (dataset)" in note
    assert "2 of the 4 silhouettes are different" in note
    drawn_by = write_folder(tmp_path / "b", drawn[:2], dataset, given=Silhouettes.DRAWN)
    assert "were given" not in score(drawn_by)["mask_pieces", False].note


def test_features_are_kept(dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GANCLI_HOME", str(tmp_path / "home"))
    folder = write_folder(tmp_path / "shapes", masks(4, 32), dataset)
    first = score_shapes(str(folder), load_silhouette_features(PIXELS))
    assert len(list((tmp_path / "home").rglob("*.npy"))) == 3  # drawn, test and train
    again = score_shapes(str(folder), load_silhouette_features(PIXELS))
    assert [row.value for row in again] == [row.value for row in first]


def test_folders_without_silhouettes_are_refused(dataset: Path, tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "shapes", masks(3, 32), dataset)
    prepare(
        demo.read(dataset.parent / "raw", silhouettes="none"),
        tmp_path / "without",
        PrepareOptions(image_size=32),
    )
    with pytest.raises(DataError, match="does not say where on its images the object is"):
        score(folder, data=f"{tmp_path / 'without'}:test")
    row = GeneratedImage("0.png", "a bird", "", None, 0, 0, 32)
    write_samples(folder, [row])
    with pytest.raises(DataError, match="names no silhouettes"):
        score(folder)
    write_samples(folder, [row, GeneratedImage("1.png", "a bird", "", None, 0, 0, 32, silhouette="1.png")])
    with pytest.raises(DataError, match="of some images only"):
        score(folder)


def test_silhouettes_have_one_side(dataset: Path, tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "shapes", masks(3, 32), dataset)
    Image.new("RGB", (16, 16)).save(folder / "1.png")
    with pytest.raises(DataError, match=r"1\.png: has 16 x 16 pixels, others 32 x 32"):
        score(folder)
    Image.new("RGB", (16, 32)).save(folder / "0.png")
    with pytest.raises(DataError, match=r"0\.png: has 16 x 32 pixels, a silhouette is square"):
        score(folder)
