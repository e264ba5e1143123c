"""The demo dataset: its files, that they are always the same, its captions and their parser."""

from __future__ import annotations

import errno
import json
from collections import Counter
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFilter

from gancli.data.preparation.options import PrepareOptions
from gancli.data.preparation.prepare import prepare
from gancli.data.shards import Dataset
from gancli.data.source import PartLocations, Sample
from gancli.data.sources import cub
from gancli.data.sources.demo import dataset as demo
from gancli.data.sources.demo.captions import BELLY_SHARE, MAX_WORDS, write_captions
from gancli.data.sources.demo.drawing import BACKGROUNDS, COLORS, draw_bird
from gancli.data.text import tokenize
from gancli.errors import DataError, RunError, UsageError
from tests.data.sources.samples import good

IMAGES = 40


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("demo") / "raw"
    demo.write_demo(root, images=IMAGES, image_size=32)
    return root


def contents(root: Path) -> dict[str, bytes]:
    return {str(p.relative_to(root)): p.read_bytes() for p in sorted(root.rglob("*")) if p.is_file()}


def lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines()


# ----------------------------------------------------------------------------------------------------------
# The raw layout


def test_read_through_the_reader_of_cub(raw: Path) -> None:
    source = demo.read(raw)
    samples = good(demo.read(raw))
    assert source.name == "demo"
    assert (source.release, source.split_rule) == ("demo", "class list")
    assert source.attribute_names == demo.ATTRIBUTES
    assert len(samples) == IMAGES
    assert len(source.class_names) == IMAGES // 5
    assert all(len(sample.captions) == 10 for sample in samples)
    assert Counter(sample.class_id for sample in samples) == dict.fromkeys(range(IMAGES // 5), 5)


def test_the_test_split_is_a_quarter_of_the_classes(raw: Path) -> None:
    classes: dict[str, set[int | None]] = {"train": set(), "test": set()}
    for sample in good(demo.read(raw)):
        classes[sample.split].add(sample.class_id)
    assert not classes["train"] & classes["test"]
    assert len(classes["test"]) == 2
    assert len(classes["train"]) == 6


def test_the_official_split_is_the_same_one(raw: Path) -> None:
    names = dict(line.split() for line in lines(raw / "CUB_200_2011/images.txt"))
    training = dict(line.split() for line in lines(raw / "CUB_200_2011/train_test_split.txt"))
    split_of = {sample.key: sample.split for sample in good(demo.read(raw))}
    assert {split_of[name.removesuffix(".png")] for id_, name in names.items() if training[id_] == "1"} == {
        "train"
    }


def test_every_record_of_the_layout(raw: Path) -> None:
    base = raw / "CUB_200_2011"
    for name in ("images", "image_class_labels", "bounding_boxes", "train_test_split"):
        assert [line.split()[0] for line in lines(base / f"{name}.txt")] == [
            str(n) for n in range(1, IMAGES + 1)
        ]
    assert len(lines(base / "parts/part_locs.txt")) == IMAGES * len(lines(base / "parts/parts.txt"))
    labels = lines(base / "attributes/image_attribute_labels.txt")
    assert len(labels) == IMAGES * len(demo.ATTRIBUTES)
    assert {line.split()[3] for line in labels} == {"4"}
    shares = np.loadtxt(base / "attributes/class_attribute_labels_continuous.txt")
    assert shares.shape == (IMAGES // 5, len(demo.ATTRIBUTES))
    assert set(np.unique(shares)) <= {0.0, 20.0, 40.0, 60.0, 80.0, 100.0}


def test_one_value_of_each_attribute_group_holds(raw: Path) -> None:
    groups = [name.split("::")[0] for name in demo.ATTRIBUTES]
    for sample in good(demo.read(raw)):
        assert sample.attributes is not None
        present = [group for group, holds in zip(groups, sample.attributes, strict=True) if holds]
        assert sorted(present) == sorted(set(groups))


def test_the_choices_of_the_reader_of_cub(raw: Path) -> None:
    binary, soft, shares = (list(demo.read(raw, attributes=e).samples) for e in get_args(cub.Encoding))
    for one, same, of_class in zip(binary, soft, shares, strict=True):
        assert isinstance(one, Sample)
        assert isinstance(same, Sample)
        assert isinstance(of_class, Sample)
        assert one.attributes is not None
        assert of_class.attributes is not None
        np.testing.assert_array_equal(one.attributes, same.attributes)
        background = [name.startswith("has_background") for name in demo.ATTRIBUTES]
        differ = one.attributes != of_class.attributes  # images of a class differ in their background alone
        assert not differ[np.logical_not(background)].any()
    assert demo.read(raw).attribute_encoding == "binary"
    assert demo.read(raw, attributes="class").attribute_encoding == "class"


def test_silhouettes_are_official_or_estimated(raw: Path) -> None:
    for official in good(demo.read(raw)):
        assert isinstance(official.silhouette, Path)
        assert official.silhouette.is_file()
    for estimated in demo.read(raw, silhouettes="estimate").samples:
        assert isinstance(estimated, Sample)
        assert isinstance(estimated.silhouette, PartLocations)
        assert len(estimated.silhouette.points) > 3
    for plain in demo.read(raw, silhouettes="none").samples:
        assert isinstance(plain, Sample)
        assert plain.silhouette is None


def test_attributes_agree_with_the_captions(raw: Path) -> None:
    for sample in good(demo.read(raw)):
        assert sample.attributes is not None
        present = {n for n, holds in zip(demo.ATTRIBUTES, sample.attributes, strict=True) if holds}
        for caption in sample.captions:
            named = demo.asked_colors(caption)
            assert {f"has_{part}_color::{color}" for part, color in named.items()} <= present


def test_names_are_cubs_own(shared_data: Path) -> None:
    cubs = {line.split()[1] for line in lines(shared_data / "cub/attributes.txt")}
    assert {name for name in demo.ATTRIBUTES if "background" not in name} <= cubs
    cub_parts = lines(shared_data / "cub/CUB_200_2011/parts/parts.txt")
    assert [f"{n} {name}" for n, name in enumerate(demo.PARTS, 1)] == [line.strip() for line in cub_parts]


def test_silhouette_fits_the_box_and_holds_the_parts(raw: Path) -> None:
    base = raw / "CUB_200_2011"
    places = np.loadtxt(base / "parts/part_locs.txt").reshape(IMAGES, -1, 5)
    for sample, parts in zip(good(demo.read(raw)), places, strict=True):
        assert sample.box is not None
        silhouette = Image.open(base / "segmentations" / f"{sample.key}.png")
        coverage = np.asarray(silhouette)
        image = Image.open(sample.image)
        assert image.size == silhouette.size
        rows, columns = np.nonzero(coverage >= 128)
        box = (columns.min(), rows.min(), np.ptp(columns) + 1, np.ptp(rows) + 1)
        assert box == (sample.box.x, sample.box.y, sample.box.width, sample.box.height)
        seen = parts[parts[:, 4] == 1]
        assert len(seen) == 12  # of 15: one eye, one leg and one wing are on the other side
        around = np.asarray(
            silhouette.filter(ImageFilter.MaxFilter(3))
        )  # thin legs and bills may end beside the very pixel
        assert (around[seen[:, 3].astype(int), seen[:, 2].astype(int)] > 0).all()


def test_prepare_takes_all_of_it(raw: Path, tmp_path: Path) -> None:
    report = prepare(demo.read(raw), tmp_path / "demo", PrepareOptions(image_size=32))
    assert report.bad == []
    dataset = Dataset.open(tmp_path / "demo")
    assert {name: len(dataset.split(name)) for name in dataset.split_names} == {"train": 30, "test": 10}
    assert all(dataset.split("test").shape(index) == (38, 38) for index in range(10))


@given(seed=st.integers(0, 2**31), image_size=st.integers(16, 96), background=st.sampled_from(BACKGROUNDS))
@settings(max_examples=25)
def test_the_crop_is_whole_and_never_enlarged(seed: int, image_size: int, background: str) -> None:
    plumage = demo.species(1, seed)[0].plumage
    drawing = draw_bird(plumage, background, image_size, np.random.default_rng(seed))
    x, y, width, height = drawing.box
    half = int(0.75 * max(width, height))
    middle_x, middle_y = int((2 * x + width) / 2), int((2 * y + height) / 2)
    assert min(middle_x, middle_y) >= half
    assert middle_x + half <= drawing.image.width
    assert middle_y + half <= drawing.image.height
    assert 2 * half >= int(image_size * 76 / 64)


# ----------------------------------------------------------------------------------------------------------
# Determinism, and folders that exist already


def test_the_same_bytes_whatever_the_jobs(tmp_path: Path) -> None:
    done: list[tuple[int, int]] = []
    for name, jobs in (("one", 1), ("two", 2)):
        demo.write_demo(
            tmp_path / name, images=7, image_size=16, seed=3, jobs=jobs, progress=lambda *p: done.append(p)
        )
    first, second = contents(tmp_path / "one"), contents(tmp_path / "two")
    assert first == second
    assert done == [(n, 7) for n in range(1, 8)] * 2


def test_paths_may_be_strings(tmp_path: Path) -> None:
    demo.write_demo(str(tmp_path / "raw"), images=2, image_size=16, progress=False)
    assert len(list(demo.read(str(tmp_path / "raw")).samples)) == 2


def test_another_seed_gives_other_birds(raw: Path, tmp_path: Path) -> None:
    demo.write_demo(tmp_path / "raw", images=IMAGES, image_size=32, seed=1)
    classes = [lines(root / "CUB_200_2011/classes.txt") for root in (raw, tmp_path / "raw")]
    assert classes[0] != classes[1]


def test_the_second_run_keeps_what_is_there(raw: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in raw.rglob("*")}
    demo.write_demo(raw, images=IMAGES, image_size=32)
    assert before == {path: path.stat().st_mtime_ns for path in raw.rglob("*")}


def test_other_settings_are_refused_by_name(raw: Path) -> None:
    with pytest.raises(UsageError, match=r"raw: .*image_size 32 -> 64, seed 0 -> 1") as error:
        demo.write_demo(raw, images=IMAGES, image_size=64, seed=1)
    assert error.value.exit_code == 2


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw/mine.txt").write_text("mine")
    with pytest.raises(UsageError, match="is not a demo dataset"):
        demo.write_demo(tmp_path / "raw", images=4, image_size=16)
    assert contents(tmp_path / "raw") == {"mine.txt": b"mine"}


def test_an_empty_folder_is_used(tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()
    demo.write_demo(tmp_path / "raw", images=2, image_size=16)
    assert {sample.split for sample in good(demo.read(tmp_path / "raw"))} == {"train", "test"}


@pytest.mark.parametrize(
    ("name", "value"), [("images", 1), ("image_size", 15), ("seed", -1), ("images_per_class", 0), ("jobs", 0)]
)
def test_settings_out_of_range(tmp_path: Path, name: str, value: int) -> None:
    options: dict[str, Any] = {"images": 4, "image_size": 16, name: value}
    with pytest.raises(UsageError, match=f"{name} is {value}"):
        demo.write_demo(tmp_path / "raw", **options)
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", full)
    with pytest.raises(RunError, match="No space left on device"):
        demo.write_demo(tmp_path / "raw", images=4, image_size=16)
    assert list(tmp_path.iterdir()) == []


def test_reading_a_folder_without_the_dataset(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"demo\.json"):
        demo.read(tmp_path)


def test_the_settings_are_kept(raw: Path) -> None:
    kept = json.loads((raw / "demo.json").read_text())
    assert kept == {
        "version": demo.VERSION, "images": IMAGES, "image_size": 32, "seed": 0, "images_per_class": 5
    }  # fmt: skip


# ----------------------------------------------------------------------------------------------------------
# Species


def test_species_are_distinct_and_balanced() -> None:
    species = demo.species(400, seed=0)
    assert len({one.plumage for one in species}) == 400
    assert len({one.name for one in species}) == 400
    assert Counter(one.plumage.primary for one in species) == dict.fromkeys(COLORS, 50)
    train = [one.plumage for one in species if not one.test]
    assert len(train) == 300
    for part in ("primary", "belly", "wing", "crown"):
        assert min(Counter(getattr(plumage, part) for plumage in train)[color] for color in COLORS) >= 20
    for plumage in train:
        assert len({plumage.primary, plumage.belly, plumage.wing}) == 3
        assert plumage.crown != plumage.primary


# ----------------------------------------------------------------------------------------------------------
# Captions


@given(seed=st.integers(0, 2**31), background=st.sampled_from(BACKGROUNDS))
@settings(max_examples=60)
def test_captions_say_what_is_drawn_and_are_understood(seed: int, background: str) -> None:
    plumage = demo.species(1, seed)[0].plumage
    captions = write_captions(plumage, background, np.random.default_rng(seed))
    assert len({caption.text for caption in captions}) == 10
    assert sum("belly" in caption.named for caption in captions) == round(10 * BELLY_SHARE)
    for caption in captions:
        assert len(tokenize(caption.text)) <= MAX_WORDS
        assert caption.named["primary"] == plumage.primary
        assert demo.asked_colors(caption.text) == caption.named
        assert all(getattr(plumage, part) == color for part, color in caption.named.items())


def test_the_vocabulary_is_small(raw: Path) -> None:
    words = {word for sample in good(demo.read(raw)) for text in sample.captions for word in tokenize(text)}
    assert 60 <= len(words) <= 120
    assert not any("a orange" in text for sample in good(demo.read(raw)) for text in sample.captions)


@pytest.mark.parametrize(
    ("caption", "asked"),
    [
        ("a red bird with a blue belly", {"primary": "red", "belly": "blue"}),
        ("Red-bellied black bird.", {"belly": "red", "primary": "black"}),
        ("its belly is red and its body is white", {"belly": "red", "primary": "white"}),
        ("the belly of the small bird is red", {"belly": "red"}),
        ("a belly that is white and a body that is pink", {"belly": "white", "primary": "pink"}),
        ("a body of green and yellow underparts", {"primary": "green", "belly": "yellow"}),
        ("a red body and belly", {"primary": "red", "belly": "red"}),
        ("black and white bird with red wings", {"primary": "black", "wing": "red"}),
        ("a bird, red with a white belly", {"primary": "red", "belly": "white"}),
        ("a bird that has red wings and is small and blue", {"wing": "red", "primary": "blue"}),
        ("a bird with a black back, white belly and orange body", {"belly": "white", "primary": "orange"}),
        ("a yellow bird with a red bill, black spots and a white breast", {"primary": "yellow"}),
        ("a bird in green grass with a red body", {"primary": "red"}),
        ("it is red all over", {"primary": "red"}),
        ("a grey bird with a pink cap", {"crown": "pink"}),
        ("orange", {"primary": "orange"}),
        ("a small bird on a branch", {}),
        ("", {}),
    ],
)
def test_asked_colors_of_free_text(caption: str, asked: dict[str, str]) -> None:
    assert demo.asked_colors(caption) == asked


@given(
    st.text(max_size=80)
    | st.lists(st.sampled_from([*COLORS, "and", "of", "is", "bird", "belly", "a"])).map(" ".join)
)
@settings(max_examples=100)
def test_asked_colors_takes_any_text(text: str) -> None:
    assert set(demo.asked_colors(text).values()) <= set(COLORS)
