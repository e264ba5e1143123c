"""Reader of Oxford-102 flowers: splits, captions from files or class names, partial copies, broken .mat files."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, get_args

import h5py
import numpy as np
import pytest
import scipy.io
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from gancli.data.source import Sample
from gancli.data.sources import oxford102
from gancli.errors import DataError, UsageError
from tests.data.sources.samples import bad, good

LABELS = (77, 1, 20, 21, 40, 41, 102, 1)


def write_raw_oxford102(root: Path, labels: Sequence[int] = LABELS) -> Path:
    """Write one small image and two captions per label in the layout of Oxford-102."""
    (root / "jpg").mkdir(parents=True)
    for number, label in enumerate(labels, 1):
        Image.new("RGB", (30, 24), (2 * label, 10 * number, 90)).save(root / f"jpg/image_{number:05d}.jpg")
        caption = root / f"text_c10/class_{label:05d}/image_{number:05d}.txt"
        caption.parent.mkdir(parents=True, exist_ok=True)
        caption.write_text(f"the flower number {number} has petals\n\n this one is of kind {label}\n")
    save(root / "imagelabels.mat", labels=np.array([labels], np.uint8))
    numbers = np.arange(1, len(labels) + 1, dtype=np.uint16)[None]
    save(
        root / "setid.mat",
        trnid=numbers[:, 3:5],
        valid=numbers[:, 5:6],
        tstid=np.delete(numbers, (3, 4, 5))[None],
    )
    return root


def save(path: Path, **variables: Any) -> None:
    scipy.io.savemat(path, variables)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_raw_oxford102(tmp_path / "flowers")


def splits(root: Path, **options: Any) -> list[str]:
    return [sample.split for sample in oxford102.read(root, **options).samples if isinstance(sample, Sample)]


def test_samples_in_order_of_image_numbers(root: Path) -> None:
    source = oxford102.read(root)
    samples = list(source.samples)
    assert samples == [
        Sample(
            key=f"class_{label:05d}/image_{number:05d}",
            split="test" if label <= 20 else "train",
            image=root / f"jpg/image_{number:05d}.jpg",
            captions=(f"the flower number {number} has petals", f"this one is of kind {label}"),
            class_id=label - 1,
        )
        for number, label in enumerate(LABELS, 1)
    ]
    assert source.name == "oxford102"
    assert source.release == "Oxford-102"
    assert source.attribute_names == ()
    assert set(source.fingerprint) == {"imagelabels.mat"}
    assert len(source.class_names) == len(set(source.class_names)) == 102
    assert [source.class_names[label - 1] for label in (1, 77, 102)] == [
        "pink primrose",
        "passion flower",
        "blackberry lily",
    ]


def test_splits_by_class_and_the_official_one(root: Path) -> None:
    assert splits(root) == ["train", "test", "test", "train", "train", "train", "train", "test"]
    assert splits(root, split="62-40") == ["train", "test", "test", "test", "test", "train", "train", "test"]
    assert splits(root, split="official") == ["test"] * 3 + ["train"] * 3 + ["test"] * 2
    rules = [oxford102.read(root, split=split).split_rule for split in get_args(oxford102.Split)]
    assert rules == ["zero-shot 82/20", "zero-shot 62/40", "official"]
    assert set(oxford102.read(root, split="official").fingerprint) == {"imagelabels.mat", "setid.mat"}
    with pytest.raises(UsageError, match="'zero-shot'") as caught:
        oxford102.read(root, split="zero-shot")  # type: ignore[arg-type]
    assert "82-20, 62-40 or official" in str(caught.value.hint)


def test_setid_is_needed_for_the_official_split_only(root: Path) -> None:
    (root / "setid.mat").unlink()
    assert len(splits(root)) == len(splits(root, split="62-40")) == len(LABELS)
    with pytest.raises(DataError, match=r"setid\.mat is missing"):
        oxford102.read(root, split="official")


@pytest.mark.parametrize(
    ("trnid", "message"),
    [
        ([5, 9], "trnid names image 9, there are 8 labels"),
        ([0], "image 0"),
        ([4, 1], "image 1 is listed twice"),
    ],
)
def test_setid_of_other_images(root: Path, trnid: list[int], message: str) -> None:
    save(root / "setid.mat", trnid=[trnid], valid=[[6]], tstid=[[1, 2, 3]])
    with pytest.raises(DataError, match=message):
        oxford102.read(root, split="official")


def test_image_that_setid_forgets_is_a_bad_sample(root: Path) -> None:
    save(root / "setid.mat", trnid=[[4, 5]], valid=[[6]], tstid=[[1, 2, 3, 7]])
    assert bad(oxford102.read(root, split="official")) == {
        "class_00001/image_00008": "image 8 is not in setid.mat"
    }


@pytest.mark.parametrize(
    "place", ["text", "../text_c10", "../text", "cvpr2016_flowers/text_c10", "../cvpr2016_flowers/text_c10"]
)
def test_common_folders_of_captions(root: Path, place: str) -> None:
    folder = root / place
    folder.parent.mkdir(exist_ok=True)
    (root / "text_c10").rename(folder)
    assert not bad(oxford102.read(root))


def test_no_captions(root: Path) -> None:
    (root / "text_c10").rename(root / "captions")
    birds = root.parent / "text" / "001.Black_footed_Albatross"  # another dataset's captions, not ours
    birds.mkdir(parents=True)
    with pytest.raises(
        DataError, match=r"no captions: neither .*flowers nor .* holds text_c10/class_00001"
    ) as caught:
        oxford102.read(root)
    assert "--captions-from-class-names" in str(caught.value.hint)
    assert "https://github.com/reedscot/cvpr2016" in str(caught.value.hint)


def test_some_captions_are_missing(root: Path) -> None:
    (root / "text_c10/class_00077/image_00001.txt").unlink()
    (root / "text_c10/class_00020/image_00003.txt").write_text(" \n\n")
    (root / "text_c10/class_00021/image_00004.txt").write_bytes(b"a p\xe2le flower\n")
    reasons = bad(oxford102.read(root))
    assert list(reasons) == [
        "class_00077/image_00001",
        "class_00020/image_00003",
        "class_00021/image_00004",
    ]
    for reason, end in zip(
        reasons.values(), ("cannot be read", "holds no caption", "not UTF-8"), strict=True
    ):
        assert reason.startswith("text_c10/class_")
        assert end in reason


def test_captions_from_class_names(root: Path) -> None:
    (root / "text_c10").rename(root / "captions")
    source = oxford102.read(root, captions_from_class_names=True)
    samples = good(source)
    assert len(samples) == len(LABELS)
    for sample in samples:
        assert sample.class_id is not None
        assert len(set(sample.captions)) == 10
        assert all(source.class_names[sample.class_id] in caption for caption in sample.captions)
    assert samples[1].captions == samples[7].captions  # of one class
    assert "oxford102_class_names.txt" in source.fingerprint  # says that the captions were made


def test_sentences_from_names_have_the_right_article(root: Path) -> None:
    names = oxford102.read(root).class_names
    first = {name: oxford102.sentences_of(name)[0] for name in names}
    assert first["rose"] == "this flower is a rose."
    assert first["orange dahlia"] == "this flower is an orange dahlia."
    assert first["hippeastrum"] == "this flower is a hippeastrum."
    assert first["canterbury bells"] == "this flower is canterbury bells."
    vowel = {name for name in names if f"an {name}" in first[name]}
    assert vowel == {
        "english marigold", "alpine sea holly", "artichoke", "oxeye daisy", "orange dahlia", "osteospermum", "azalea",
        "anthurium",
    }  # fmt: skip


# ------------------------------------------------------------------------------------- labels and files do not agree


def test_partial_copy(root: Path) -> None:
    for number in (2, 8):
        (root / f"jpg/image_{number:05d}.jpg").unlink()
    with pytest.raises(
        DataError, match=r"8 labels, .*jpg 6 images: 2 are absent, .* image_00002\.jpg"
    ) as caught:
        oxford102.read(root)
    assert "--skip-bad" in str(caught.value.hint)
    assert bad(oxford102.read(root, partial=True)) == {
        "class_00001/image_00002": "jpg/image_00002.jpg has a label but is absent",
        "class_00001/image_00008": "jpg/image_00008.jpg has a label but is absent",
    }
    assert len(splits(root, partial=True)) == 6


@pytest.mark.parametrize("partial", [False, True])
def test_more_images_than_labels(root: Path, partial: bool) -> None:
    save(root / "imagelabels.mat", labels=[LABELS[:5]])
    with pytest.raises(DataError, match=r"5 labels, .* 8 images: image_00006\.jpg has no label"):
        oxford102.read(root, partial=partial)


def test_other_files_among_the_images_are_ignored(root: Path) -> None:
    for name in ("Thumbs.db", "._image_00001.jpg", "image_00001.txt", "image_1.jpg"):
        (root / "jpg" / name).touch()
    assert len(splits(root)) == len(LABELS)


def test_missing_files_are_named_with_their_source(root: Path, tmp_path: Path) -> None:
    def message(folder: Path) -> str:
        with pytest.raises(DataError) as caught:
            oxford102.read(folder)
        assert "https://www.robots.ox.ac.uk/~vgg/data/flowers/102/" in str(caught.value.hint)
        return str(caught.value)

    assert "is not a folder" in message(tmp_path / "nowhere")
    (root / "jpg").rename(root / "images")
    assert f"{root / 'jpg'} cannot be read" in message(root)
    (root / "jpg").mkdir()
    assert "holds no image_00001.jpg" in message(root)
    (root / "imagelabels.mat").unlink()
    assert "imagelabels.mat is missing" in message(root)


# ------------------------------------------------------------------------------------------------------- broken .mat


def _text(path: Path) -> None:
    path.write_text("1 2 3\n")


def _empty(path: Path) -> None:
    path.write_bytes(b"")


def _web_page(path: Path) -> None:
    path.write_text("<!DOCTYPE html><html><title>404 Not Found</title></html>" * 20)


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-20])


@pytest.mark.parametrize("damage", [_text, _empty, _web_page, _cut], ids=lambda f: f.__name__)
def test_not_a_mat_file(root: Path, damage: Callable[[Path], None]) -> None:
    damage(root / "imagelabels.mat")
    with pytest.raises(DataError, match=r"imagelabels\.mat is not a MATLAB file, or a damaged one"):
        oxford102.read(root)


def test_a_mat_file_of_matlab_73(root: Path) -> None:
    path = root / "imagelabels.mat"
    with h5py.File(path, "w", userblock_size=512) as file:
        file["labels"] = np.array([LABELS])
    header = b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM"
    with path.open("r+b") as stream:
        stream.write(header)
    with pytest.raises(DataError, match=r"imagelabels\.mat is a file of MATLAB 7\.3") as caught:
        oxford102.read(root)
    assert "save('imagelabels.mat', 'labels', '-v7')" in str(caught.value.hint)


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"label": [LABELS]}, "no variable 'labels'"),
        ({"labels": "roses"}, "row of whole numbers"),
        ({"labels": [[1.5] * 8]}, "row of whole numbers"),
        ({"labels": [[np.nan] * 8]}, "row of whole numbers"),
        ({"labels": [[np.inf] * 8]}, "row of whole numbers"),
        ({"labels": np.ones((2, 4))}, "row of whole numbers"),
        ({"labels": {"a": 1}}, "row of whole numbers"),
        ({"labels": np.zeros((1, 0))}, "labels from 1 to 102"),
        ({"labels": [[*LABELS[:7], 103]]}, "labels from 1 to 102"),
        ({"labels": [[*LABELS[:7], 0]]}, "labels from 1 to 102"),
    ],
)
def test_a_mat_file_with_other_content(root: Path, variables: dict[str, Any], message: str) -> None:
    save(root / "imagelabels.mat", **variables)
    with pytest.raises(DataError, match=message):
        oxford102.read(root)


def test_labels_as_a_column_of_floating_point_numbers(root: Path) -> None:
    save(root / "imagelabels.mat", labels=np.array(LABELS, float)[:, None])
    assert len(splits(root)) == len(LABELS)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    changes=st.lists(st.tuples(st.integers(132, 10_000), st.integers(0, 255)), max_size=4),
    end=st.integers(0, 10_000),
)
def test_any_damage_gives_a_message(root: Path, changes: list[tuple[int, int]], end: int) -> None:
    """Damage compressed files, the published form, behind the first bytes, which only say how to read the others."""
    stream = io.BytesIO()
    scipy.io.savemat(stream, {"labels": np.array([LABELS], np.uint8)}, do_compression=True)
    content = bytearray(stream.getvalue())
    for place, value in changes:
        content[132 + place % (len(content) - 132)] = value
    (root / "imagelabels.mat").write_bytes(content[:end])
    try:
        samples = list(oxford102.read(root).samples)
    except DataError as error:
        assert str(root / "imagelabels.mat") in str(error)  # noqa: PT017 - a change may also do no harm
    else:
        assert len(samples) == len(LABELS)


# ---------------------------------------------------------------------------------------------------------- real data


@pytest.mark.parametrize(
    ("split", "images", "classes"),
    [
        ("82-20", (7034, 1155), (82, 20)),
        ("62-40", (5878, 2311), (62, 40)),
        ("official", (2040, 6149), (102, 102)),
    ],
)
def test_published_counts(
    shared_data: Path,
    tmp_path: Path,
    split: oxford102.Split,
    images: tuple[int, int],
    classes: tuple[int, int],
) -> None:
    """All labels, with empty files in place of the images."""
    for name in ("imagelabels.mat", "setid.mat"):
        (tmp_path / name).write_bytes((shared_data / "oxford102" / name).read_bytes())
    (tmp_path / "jpg").mkdir()
    for number in range(1, 8190):
        (tmp_path / f"jpg/image_{number:05d}.jpg").touch()
    samples = good(oxford102.read(str(tmp_path), split=split, captions_from_class_names=True))
    assert Counter(sample.split for sample in samples) == dict(zip(("train", "test"), images, strict=True))
    found = [
        len({sample.class_id for sample in samples if sample.split == part}) for part in ("train", "test")
    ]
    assert tuple(found) == classes


def test_real_partial_copy(shared_data: Path) -> None:
    folder = shared_data / "oxford102"
    with pytest.raises(DataError, match=r"8,189 labels, .* 204 images"):
        oxford102.read(folder, captions_from_class_names=True)
    samples = list(oxford102.read(folder, captions_from_class_names=True, partial=True).samples)
    usable = [sample for sample in samples if isinstance(sample, Sample)]
    assert len(samples) == 8189
    assert Counter(sample.split for sample in usable) == {"train": 164, "test": 40}
    assert set(Counter(sample.class_id for sample in usable).values()) == {2}
