"""Reader of COCO captions: both releases, common folder layouts, partial copies, broken files."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from gancli.data.source import BadSample, Sample
from gancli.data.sources import coco
from gancli.errors import DataError, UsageError
from tests.data.sources.samples import bad, good


def write_part(root: Path, part: str, images: dict[int, str], folder: Path | None = None) -> Path:
    """Write the annotation file and empty images of a part ("train2017"), two captions an image, ids falling."""
    folder = folder or root / part
    folder.mkdir(parents=True, exist_ok=True)
    (root / "annotations").mkdir(exist_ok=True)
    for file in images.values():
        (folder / file).touch()
    file = root / "annotations" / f"captions_{part}.json"
    content = {
        "info": {"year": 2017},
        "licenses": [],
        "images": [
            {"id": image, "file_name": name, "height": 3, "license": 1} for image, name in images.items()
        ],
        "annotations": [
            {"id": 1000 - 10 * image + order, "image_id": image, "caption": f" {word} caption of {image}\n"}
            for order, word in ((2, "second"), (1, "first"))
            for image in images
        ],
    }
    file.write_text(json.dumps(content))
    return file


def change(file: Path, edit: dict[str, object]) -> None:
    file.write_text(json.dumps(json.loads(file.read_text()) | edit))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write_part(tmp_path, "train2017", {30: "000000000030.jpg", 4: "000000000004.jpg"})
    write_part(tmp_path, "val2017", {7: "000000000007.jpg"})
    return tmp_path


def test_samples_in_order_of_ids(root: Path) -> None:
    source = coco.read(root)
    samples = list(source.samples)
    assert samples == [
        Sample(
            key=f"{image:012d}",
            split=split,
            image=root / part / f"{image:012d}.jpg",
            captions=(f"first caption of {image}", f"second caption of {image}"),
        )
        for image, split, part in (
            (4, "train", "train2017"),
            (30, "train", "train2017"),
            (7, "test", "val2017"),
        )
    ]
    assert source.name == "coco"
    assert (source.release, source.split_rule) == ("COCO 2017", "train/val")
    assert source.class_names == source.attribute_names == ()
    assert set(source.fingerprint) == {
        "annotations/captions_train2017.json",
        "annotations/captions_val2017.json",
    }


@pytest.mark.parametrize("layout", ["{part}", "images/{part}", "images"])
def test_release_2014_in_common_folder_layouts(tmp_path: Path, layout: str) -> None:
    for part, image in (("train2014", 9), ("val2014", 42)):
        folder = tmp_path / layout.format(part=part)
        write_part(tmp_path, part, {image: f"COCO_{part}_{image:012d}.jpg"}, folder)
    samples = good(coco.read(str(tmp_path)))
    assert [(sample.key, sample.split) for sample in samples] == [
        ("COCO_train2014_000000000009", "train"),
        ("COCO_val2014_000000000042", "test"),
    ]
    assert all(sample.image.is_file() for sample in samples)


def test_both_releases_need_a_choice(root: Path) -> None:
    write_part(root, "train2014", {1: "COCO_train2014_1.jpg"})
    write_part(root, "val2014", {2: "COCO_val2014_2.jpg"})
    with pytest.raises(UsageError, match="2014 and of 2017") as caught:
        coco.read(root)
    assert "--year" in str(caught.value.hint)
    assert [sample.key for sample in coco.read(root, year="2014").samples] == [
        "COCO_train2014_1",
        "COCO_val2014_2",
    ]
    with pytest.raises(UsageError, match="'2015'"):
        coco.read(root, year="2015")  # type: ignore[arg-type]


def test_partial_copy_lists_the_absent_images(root: Path) -> None:
    (root / "train2017" / "000000000004.jpg").unlink()
    first, *others = coco.read(root).samples
    reason = "train2017/000000000004.jpg is listed in captions_train2017.json but absent"
    assert first == BadSample("000000000004", reason)
    assert all(isinstance(sample, Sample) for sample in others)


def test_images_without_captions_and_captions_without_images(root: Path) -> None:
    file = root / "annotations" / "captions_val2017.json"
    annotations = [{"id": 1, "image_id": 7, "caption": " \n"}, {"id": 2, "image_id": 8, "caption": "a cat"}]
    change(file, {"annotations": annotations})
    assert bad(coco.read(root)) == {
        "000000000007": "no caption in captions_val2017.json",
        "image 8": "has captions in captions_val2017.json, but is not listed there",
    }


def test_file_name_too_long_is_an_absent_file(root: Path) -> None:
    change(
        root / "annotations" / "captions_val2017.json",
        {"images": [{"id": 7, "file_name": "x" * 5000 + ".jpg"}]},
    )
    assert "absent" in next(iter(bad(coco.read(root)).values()))


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        ({"annotations": [{"id": 1, "image_id": 7, "category_id": 3}]}, r"annotations\.0\.caption"),
        ({"images": [{"id": "seven", "file_name": "a.jpg"}]}, r"images\.0\.id"),
        ({"images": {}}, "images"),
        ({"images": [{"id": 7, "file_name": "a.jpg"}] * 2}, "image 7 is listed twice"),
        ({"images": [{"id": 7, "file_name": "../../a.jpg"}]}, "not a path inside"),
    ],
)
def test_malformed_content_names_file_and_field(root: Path, edit: dict[str, object], message: str) -> None:
    file = root / "annotations" / "captions_val2017.json"
    change(file, edit)
    with pytest.raises(DataError, match=message) as caught:
        coco.read(root)
    assert str(file) in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"[]", b'{"images": [', b'{"images": []}', b"\xff\xfe{}"])
def test_broken_json(root: Path, content: bytes) -> None:
    file = root / "annotations" / "captions_train2017.json"
    file.write_bytes(content)
    with pytest.raises(DataError, match=r"captions_train2017\.json is not a file of COCO captions"):
        coco.read(root)


def test_missing_files_are_named_with_their_source(root: Path) -> None:
    def message(**options: coco.Year) -> str:
        with pytest.raises(DataError) as caught:
            coco.read(root, **options)
        assert "https://cocodataset.org" in str(caught.value.hint)
        return str(caught.value)

    assert "no images of train2014" in message(year="2014")
    (root / "val2017").rename(root / "validation")
    assert "no images of val2017" in message()
    (root / "annotations" / "captions_val2017.json").unlink()
    (root / "validation").rename(root / "val2017")
    assert "captions_val2017.json is missing" in message()
    (root / "annotations" / "captions_train2017.json").unlink()
    assert "neither captions_train2014.json nor captions_train2017.json" in message()
    with pytest.raises(DataError, match="is not a folder"):
        coco.read(root / "nowhere")


def test_real_partial_copy(shared_data: Path) -> None:
    samples = good(coco.read(shared_data / "coco"))
    assert Counter(sample.split for sample in samples) == {"train": 40, "test": 40}
    assert all(len(sample.captions) >= 5 for sample in samples)
