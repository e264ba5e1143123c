"""Silhouettes from the raw data to the batch: cropped and flipped like their images, judged, listed, refused."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from gancli.data.images import load_image
from gancli.data.inspect import contact_sheet, describe
from gancli.data.loader import BatchSource, Rank, evaluation_batches, silhouette_pyramid
from gancli.data.preparation.finish import PrepareReport
from gancli.data.preparation.options import PrepareOptions
from gancli.data.preparation.plan import make_plan, read_silhouette_list
from gancli.data.preparation.prepare import prepare
from gancli.data.shards import Dataset, Split
from gancli.data.silhouette_estimate import METHOD
from gancli.data.silhouettes import Fault
from gancli.data.sources import cub
from gancli.data.verify import verify
from gancli.errors import DataError, UsageError


@pytest.fixture
def split(tiny_dataset: Path) -> Split:
    return Dataset.open(tiny_dataset).split("train")


def prepared(raw: Path, out: Path, **options: Any) -> tuple[PrepareReport, Dataset]:
    report = prepare(cub.read(raw), out, PrepareOptions(image_size=32, **options))
    return report, Dataset.open(out)


def silhouette_file(raw: Path, number: int) -> Path:
    return sorted(raw.glob("CUB_200_2011/segmentations/*/*.png"))[number]


def on_the_bird(split: Split, index: int) -> float:
    """How far the images' colour differs between inside and outside of the silhouette, in grey levels."""
    image, inside = split.image(index).astype(float), split.silhouette(index) >= 128
    colour = image[inside].mean(axis=0)
    return float(np.abs(image[inside] - colour).mean())


def test_a_silhouette_lies_on_its_object(split: Split) -> None:
    for index in range(len(split)):
        assert split.silhouette(index).shape == split.shape(index)
        assert on_the_bird(split, index) < 12  # one colour within, but for JPEG and the rim
        window = split.silhouette_crop(index, 2, 1, 32)
        assert np.array_equal(window, split.silhouette(index)[2:34, 1:33])


def test_the_report_counts_what_is_good(tiny_raw_cub: Path, tmp_path: Path) -> None:
    key = silhouette_file(tiny_raw_cub, 6)
    Image.new("L", Image.open(key).size).save(key)  # empty
    whole = key.with_name("Bird_0008.png")
    Image.new("L", Image.open(whole).size, 255).save(whole)  # all of the image
    key.with_name("Bird_0009.png").unlink()
    report, dataset = prepared(tiny_raw_cub, tmp_path / "out")
    entry = report.silhouettes
    assert entry == dataset.manifest.silhouettes
    assert entry is not None
    assert entry.method == "official"
    assert entry.usable == {"train": 9, "test": 12}
    assert entry.faults["train"] == {"missing": 1, "empty": 1, "large": 1, "border": 1}
    faults = dataset.split("train").silhouette_faults
    assert sorted(faults[faults > 0].tolist()) == sorted(
        [Fault.MISSING, Fault.EMPTY, Fault.LARGE | Fault.BORDER]
    )
    assert verify(tmp_path / "out") == []
    again, _ = prepared(tiny_raw_cub, tmp_path / "out")
    assert again.already_complete
    assert again.silhouettes == entry


def test_a_list_overrules_the_filter(tiny_raw_cub: Path, tmp_path: Path) -> None:
    listed = tmp_path / "good.txt"
    listed.write_text("002.Laysan_Albatross/Bird_0007.jpg\n\n002.Laysan_Albatross/Bird_0008\n")
    report, dataset = prepared(tiny_raw_cub, tmp_path / "out", silhouette_list=read_silhouette_list(listed))
    assert report.silhouettes is not None
    assert report.silhouettes.usable == {"train": 2, "test": 0}
    split = dataset.split("train")
    usable = np.flatnonzero(split.silhouette_faults == 0)
    assert [split.keys[index] for index in usable] == [f"002.Laysan_Albatross/Bird_000{n}" for n in (7, 8)]


def test_lists_that_name_nothing(tiny_raw_cub: Path, tmp_path: Path) -> None:
    empty = tmp_path / "empty.txt"
    empty.write_text("\n")
    with pytest.raises(DataError, match="names no image"):
        read_silhouette_list(empty)
    with pytest.raises(DataError, match="names none of its images"):
        make_plan(cub.read(tiny_raw_cub), PrepareOptions(silhouette_list={"somebody/else"}))
    with pytest.raises(UsageError, match="no silhouettes are asked for"):
        make_plan(
            cub.read(tiny_raw_cub, silhouettes="none"),
            PrepareOptions(silhouette_list={"002.Laysan_Albatross/Bird_0007"}),
        )


def test_a_silhouette_of_another_size_than_its_image(tiny_raw_cub: Path, tmp_path: Path) -> None:
    Image.new("L", (9, 9), 255).save(silhouette_file(tiny_raw_cub, 0))
    with pytest.raises(DataError, match=r"Bird_0001\.png is 9 x 9 pixels"):
        prepared(tiny_raw_cub, tmp_path / "out")


def test_other_segmentations_are_other_settings(tiny_raw_cub: Path, tmp_path: Path) -> None:
    prepared(tiny_raw_cub, tmp_path / "out")
    with pytest.raises(UsageError, match="silhouettes: official there, none asked for"):
        prepare(cub.read(tiny_raw_cub, silhouettes="none"), tmp_path / "out", PrepareOptions(image_size=32))
    with pytest.raises(UsageError, match=r"crop_rule: box 1\.5× there, ratio75 asked for"):
        prepare(cub.read(tiny_raw_cub), tmp_path / "out", PrepareOptions(image_size=32, crop="ratio75"))


def test_estimated_from_parts(tiny_raw_cub: Path, tmp_path: Path) -> None:
    base = tiny_raw_cub / "CUB_200_2011"
    boxes = [line.split() for line in (base / "bounding_boxes.txt").read_text().splitlines()]
    (base / "parts").mkdir()
    (base / "parts/part_locs.txt").write_text(
        "".join(
            f"{image} 1 {float(x) + float(w) / 2:.1f} {float(y) + float(h) / 2:.1f} 1\n{image} 2 0.0 0.0 0\n"
            for image, x, y, w, h in boxes
        )
    )
    report = prepare(
        cub.read(tiny_raw_cub, silhouettes="estimate"),
        tmp_path / "estimate",
        PrepareOptions(image_size=32),
        jobs=2,
    )
    assert report.silhouettes is not None
    assert report.silhouettes.method == METHOD
    _, true = prepared(tiny_raw_cub, tmp_path / "official")
    estimated = Dataset.open(tmp_path / "estimate").split("train")
    overlaps = []
    for index in range(len(estimated)):
        ours, theirs = (s.silhouette(index) >= 128 for s in (estimated, true.split("train")))
        overlaps.append((ours & theirs).sum() / (ours | theirs).sum())
    assert np.mean(overlaps) > 0.8


def test_three_quarters_crop_is_square_and_closer(tiny_raw_cub: Path, tmp_path: Path) -> None:
    _, near = prepared(tiny_raw_cub, tmp_path / "near", crop="ratio75")
    _, far = prepared(tiny_raw_cub, tmp_path / "far")
    for name in near.split_names:
        ours, theirs = near.split(name), far.split(name)
        for index in range(len(ours)):
            assert ours.shape(index) == (38, 38)
            assert on_the_bird(ours, index) < 12
        shares = [
            np.mean([(split.silhouette(index) >= 128).mean() for index in range(len(split))])
            for split in (ours, theirs)
        ]
        assert shares[0] > shares[1]


def test_masks_follow_their_images(split: Split) -> None:
    source = BatchSource(split, sizes=(32,), batch=4, words=0, seed=3, silhouette_sizes=(32, 16))
    flipped = 0
    for step in range(6):
        batch = source[step]
        whole, small = batch.silhouettes
        assert (whole.shape, small.shape) == ((4, 1, 32, 32), (4, 1, 16, 16))
        assert set(whole.unique().tolist()) == {-1.0, 1.0}
        for image, mask in zip(batch.images[0], whole, strict=True):
            inside = image[:, mask[0] > 0]  # (3, n)
            assert (inside - inside.mean(dim=1, keepdim=True)).abs().mean() < 0.1
            flipped += int(not torch.equal(mask, mask.flip(-1)))
        alone = BatchSource(split, sizes=(), batch=4, words=0, seed=3, silhouette_sizes=(32, 16))[step]
        assert alone.images == ()
        assert torch.equal(alone.silhouettes[0], whole)
    assert flipped > 0


def test_a_mask_is_decided_after_it_is_resized() -> None:
    probabilities = torch.zeros(1, 1, 4, 4, dtype=torch.uint8)
    probabilities[..., :2, :2] = torch.tensor([[255, 255], [255, 0]], dtype=torch.uint8)
    probabilities[..., 3, 3] = 255
    (small,) = silhouette_pyramid(probabilities, (2,))
    assert small[0, 0].tolist() == [[1.0, -1.0], [-1.0, -1.0]]


def test_every_mask_once_in_evaluation(split: Split) -> None:
    batches = list(evaluation_batches(split, sizes=(), batch=5, words=0, silhouette_sizes=(32,)))
    assert [len(batch) for batch in batches] == [5, 5, 2]
    assert [index for batch in batches for index in batch.indices.tolist()] == list(range(12))
    first = split.silhouette(0)
    height, width = first.shape
    centre = first[(height - 32) // 2 :, (width - 32) // 2 :][:32, :32] >= 128
    assert torch.equal(batches[0].silhouettes[0][0, 0] > 0, torch.from_numpy(centre))


def test_wrong_attributes_always_differ(split: Split) -> None:
    attributes = split.attributes
    assert attributes is not None
    source = BatchSource(
        split, sizes=(), batch=4, words=0, seed=0, silhouette_sizes=(16,), attributes=attributes
    )
    drawn = set()
    for step in range(12):
        batch = source[step]
        assert batch.attributes is not None
        assert batch.wrong_attributes is not None
        assert np.array_equal(batch.attributes.numpy(), attributes[batch.indices.numpy()])
        assert (batch.attributes != batch.wrong_attributes).any(dim=1).all()
        drawn |= {tuple(row) for row in batch.wrong_attributes.tolist()}
    assert drawn == {tuple(row) for row in attributes.tolist()}  # every kind of bird is somebody's wrong one
    parts = [
        BatchSource(
            split,
            sizes=(),
            batch=2,
            words=0,
            seed=0,
            silhouette_sizes=(16,),
            attributes=attributes,
            rank=Rank(rank, 2),
        )[3].wrong_attributes
        for rank in (0, 1)
    ]
    whole = source[3].wrong_attributes
    assert whole is not None
    assert torch.equal(torch.cat([part for part in parts if part is not None]), whole)


def test_attributes_that_are_all_the_same_are_refused(split: Split) -> None:
    attributes = split.attributes
    assert attributes is not None
    with pytest.raises(DataError, match="have the same attributes"):
        BatchSource(split, sizes=(), batch=4, words=0, seed=0, attributes=np.zeros_like(attributes))


def test_a_dataset_without_silhouettes(tiny_raw_cub: Path, tmp_path: Path) -> None:
    prepare(cub.read(tiny_raw_cub, silhouettes="none"), tmp_path / "out", PrepareOptions(image_size=32))
    dataset = Dataset.open(tmp_path / "out")
    split = dataset.split("train")
    assert not split.has_silhouettes
    for ask in (
        lambda: split.silhouette(0),
        lambda: split.silhouette_faults,
        lambda: BatchSource(split, sizes=(32,), batch=4, words=0, seed=0, silhouette_sizes=(32,)),
        lambda: contact_sheet(dataset, outlines=True),
    ):
        with pytest.raises(DataError, match="where on its images the object is"):
            ask()
    assert describe(dataset).silhouettes == ""
    assert "silhouettes" not in (tmp_path / "out/dataset.json").read_text()


def test_outlines_on_the_contact_sheet(tiny_dataset: Path) -> None:
    dataset = Dataset.open(tiny_dataset)
    plain, outlined = (
        np.asarray(contact_sheet(dataset, images=4, outlines=outlines)).astype(int)
        for outlines in (False, True)
    )
    changed = (plain != outlined).any(axis=-1)
    assert changed.any()
    assert (outlined[changed] == (255, 230, 0)).all()
    assert describe(dataset).usable_silhouettes == {"train": 12, "test": 12}


def test_damage_is_found(tiny_raw_cub: Path, tmp_path: Path) -> None:
    prepared(tiny_raw_cub, tmp_path / "out")
    manifest = tmp_path / "out/dataset.json"
    manifest.write_text(manifest.read_text().replace('"test": 12\n', '"test": 11\n'))
    assert any("11 silhouettes of test are good, the shards 12" in line for line in verify(tmp_path / "out"))


def test_contradictory_attributes_are_told(tiny_raw_cub: Path) -> None:
    source = cub.read(tiny_raw_cub)
    assert make_plan(source).warnings == ()
    names = ("has_size::small_(5_-_9_in)", "has_size::large_(16_-_32_in)", "has_primary_color::red")
    rows = np.array([[1, 1, 1], [1, 0, 0]], np.float32)
    samples = [
        dataclasses.replace(sample, attributes=rows[number % 2])  # type: ignore[type-var]
        for number, sample in enumerate(cub.read(tiny_raw_cub).samples)
    ]
    plan = make_plan(dataclasses.replace(source, samples=iter(samples), attribute_names=names))
    assert plan.warnings == ("images with two values of an attribute that has one: size (12)",)


def test_the_image_is_what_it_was(tiny_raw_cub: Path, tmp_path: Path) -> None:
    """Silhouettes change nothing about the images beside them."""
    _, with_silhouettes = prepared(tiny_raw_cub, tmp_path / "with")
    prepare(cub.read(tiny_raw_cub, silhouettes="none"), tmp_path / "without", PrepareOptions(image_size=32))
    without = Dataset.open(tmp_path / "without").split("train")
    for index in range(len(without)):
        assert np.array_equal(with_silhouettes.split("train").image(index), without.image(index))
    assert (
        load_image(silhouette_file(tiny_raw_cub, 0)).size
        == load_image(sorted(tiny_raw_cub.glob("CUB_200_2011/images/*/*.jpg"))[0]).size
    )
