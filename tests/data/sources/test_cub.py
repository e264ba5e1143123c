"""Reader of CUB-200-2011: both splits, partial copies, messages about broken ones."""

from __future__ import annotations

import shutil
import tarfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from gancli.data.source import BadSample, BoundingBox, PartLocations, Sample
from gancli.data.sources import cub
from gancli.errors import DataError, UsageError
from tests.data.sources.samples import bad, good

ALBATROSS = "001.Black_footed_Albatross/Bird_0001"


def edit(path: Path, line: int, text: str | None) -> None:
    """Replace a line, counted from 1; None removes it."""
    lines = path.read_text().splitlines()
    lines[line - 1 : line] = [] if text is None else [text]
    path.write_text("\n".join(lines) + "\n")


def test_sample_has_the_content_of_the_files(tiny_raw_cub: Path) -> None:
    source = cub.read(tiny_raw_cub)
    first = good(source)[0]
    assert source.name == "cub"
    assert source.class_names[:2] == ("001.Black_footed_Albatross", "002.Laysan_Albatross")
    assert source.attribute_names == (
        "has_primary_color::black",
        "has_primary_color::white",
        "has_size::small",
    )
    assert first.key == ALBATROSS
    assert first.image == tiny_raw_cub / "CUB_200_2011" / "images" / f"{ALBATROSS}.jpg"
    assert first.image.is_file()
    assert first.captions[0] == "this is a small black bird, number 1."
    assert len(first.captions) == 3
    assert first.class_id == 0
    x, y, width, height = (tiny_raw_cub / "CUB_200_2011/bounding_boxes.txt").read_text().split()[1:5]
    assert first.box == BoundingBox(float(x), float(y), float(width), float(height))
    assert first.attributes is not None
    assert first.attributes.dtype == np.float32
    np.testing.assert_array_equal(first.attributes, [1, 0, 1])
    assert source.attribute_encoding == "binary"
    assert first.silhouette == tiny_raw_cub / "CUB_200_2011/segmentations" / f"{first.key}.png"


def test_zero_shot_split_sends_whole_classes_to_test(tiny_raw_cub: Path) -> None:
    by_class: dict[int | None, set[str]] = {}
    for sample in good(cub.read(tiny_raw_cub)):
        by_class.setdefault(sample.class_id, set()).add(sample.split)
    assert by_class == {0: {"test"}, 1: {"train"}, 2: {"train"}, 3: {"test"}}


def test_release_and_split_rule(tiny_raw_cub: Path, tmp_path: Path) -> None:
    listed = tmp_path / "mine.txt"
    listed.write_text("002.Laysan_Albatross\n")
    sources = [
        cub.read(tiny_raw_cub),
        cub.read(tiny_raw_cub, split="official"),
        cub.read(tiny_raw_cub, test_classes=listed),
    ]
    assert {source.release for source in sources} == {"CUB-200-2011"}
    assert [source.split_rule for source in sources] == ["zero-shot 150/50", "official", "class list"]


def test_official_split_follows_the_file(tiny_raw_cub: Path) -> None:
    splits = [sample.split for sample in good(cub.read(tiny_raw_cub, split="official"))]
    assert splits == ["train", "test"] * 12


def test_official_split_file_is_only_needed_for_that_split(tiny_raw_cub: Path) -> None:
    (tiny_raw_cub / "CUB_200_2011" / "train_test_split.txt").unlink()
    assert len(good(cub.read(tiny_raw_cub))) == 24
    with pytest.raises(DataError, match=r"train_test_split\.txt is missing"):
        cub.read(tiny_raw_cub, split="official")


def test_own_list_of_test_classes(tiny_raw_cub: Path, tmp_path: Path) -> None:
    listed = tmp_path / "mine.txt"
    listed.write_text("\n002.Laysan_Albatross\n")
    counts = Counter(
        (sample.class_id, sample.split) for sample in good(cub.read(tiny_raw_cub, test_classes=listed))
    )
    assert counts == {(0, "train"): 6, (1, "test"): 6, (2, "train"): 6, (3, "train"): 6}
    with pytest.raises(UsageError):
        cub.read(tiny_raw_cub, split="official", test_classes=listed)
    listed.write_text("002.Laysan_Albatros\n")
    with pytest.raises(DataError, match=r"002\.Laysan_Albatros$"):
        cub.read(tiny_raw_cub, test_classes=listed)


def test_classes_of_another_dataset_are_not_silently_all_train(tiny_raw_cub: Path) -> None:
    (tiny_raw_cub / "CUB_200_2011" / "classes.txt").write_text("1 cat\n2 dog\n3 cow\n4 pig\n")
    with pytest.raises(DataError, match="none of the 4 classes") as caught:
        cub.read(tiny_raw_cub)
    assert "official" in str(caught.value.hint)


def test_unknown_split(tiny_raw_cub: Path) -> None:
    with pytest.raises(UsageError, match="'validation'"):
        cub.read(tiny_raw_cub, split="validation")  # type: ignore[arg-type]


def test_root_may_be_the_inner_folder_and_captions_inside_it(tiny_raw_cub: Path) -> None:
    inner = tiny_raw_cub / "CUB_200_2011"
    expected = [(sample.key, sample.captions) for sample in good(cub.read(tiny_raw_cub))]
    beside = good(cub.read(inner))
    assert [(sample.key, sample.captions) for sample in beside] == expected
    assert beside[0].attributes is not None
    (tiny_raw_cub / "text").rename(inner / "text_c10")
    (tiny_raw_cub / "attributes.txt").rename(inner / "attributes" / "attributes.txt")
    inside = good(cub.read(tiny_raw_cub))
    assert [(sample.key, sample.captions) for sample in inside] == expected
    assert inside[0].attributes is not None


def test_inner_folder_as_relative_root(tiny_raw_cub: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tiny_raw_cub / "CUB_200_2011")
    assert len(good(cub.read("."))) == 24


def test_partial_copy_with_gaps_in_the_ids(tiny_raw_cub: Path) -> None:
    whole = {sample.key: sample for sample in good(cub.read(tiny_raw_cub))}
    images = tiny_raw_cub / "CUB_200_2011" / "images.txt"
    kept = images.read_text().splitlines()[3::5]
    images.write_text("\n".join(kept) + "\n")
    part = good(cub.read(tiny_raw_cub))
    assert [sample.key for sample in part] == [line.split()[1].removesuffix(".jpg") for line in kept]
    for sample in part:
        assert sample.box == whole[sample.key].box
        np.testing.assert_array_equal(sample.attributes, whole[sample.key].attributes)


def test_classes_without_images_keep_their_names(tiny_raw_cub: Path) -> None:
    classes = tiny_raw_cub / "CUB_200_2011" / "classes.txt"
    classes.write_text("200 200.Common_Yellowthroat\n" + classes.read_text())
    source = cub.read(tiny_raw_cub)
    assert source.class_names[-1] == "200.Common_Yellowthroat"
    assert good(source)[0].class_id == 0


def test_captions_are_not_changed(tiny_raw_cub: Path) -> None:
    file = tiny_raw_cub / "text" / f"{ALBATROSS}.txt"
    file.write_bytes("\ufeffa bird\ufffd\ufffdwith wings\r\n\r\n  \nline\u2028separator \nno end".encode())
    sample = next(cub.read(tiny_raw_cub).samples)
    assert isinstance(sample, Sample)
    assert sample.captions == ("a bird\ufffd\ufffdwith wings", "line\u2028separator", "no end")


def test_samples_are_read_lazily(tiny_raw_cub: Path) -> None:
    samples = cub.read(tiny_raw_cub).samples
    assert isinstance(next(samples), Sample)
    (tiny_raw_cub / "text/001.Black_footed_Albatross/Bird_0002.txt").unlink()
    assert isinstance(next(samples), BadSample)


def test_every_defect_of_an_image_is_named(tiny_raw_cub: Path) -> None:
    base, text = tiny_raw_cub / "CUB_200_2011", tiny_raw_cub / "text" / "001.Black_footed_Albatross"
    edit(base / "bounding_boxes.txt", 6, None)
    edit(base / "image_class_labels.txt", 5, None)
    (text / "Bird_0001.txt").unlink()
    (text / "Bird_0002.txt").write_text(" \n\n")
    (text / "Bird_0003.txt").write_bytes(b"first\na caf\xe9 bird\n")
    (base / "images/001.Black_footed_Albatross/Bird_0004.jpg").unlink()
    (text / "Bird_0004.txt").unlink()
    source = cub.read(tiny_raw_cub)
    reasons = bad(source)
    assert {key.rpartition("_")[2] for key in reasons} == {f"000{number}" for number in range(1, 7)}
    parts = {key.rpartition("_")[2]: reason for key, reason in reasons.items()}
    assert "text/001.Black_footed_Albatross/Bird_0001.txt cannot be read" in parts["0001"]
    assert "text/001.Black_footed_Albatross/Bird_0002.txt holds no caption" in parts["0002"]
    assert "Bird_0003.txt:2: not UTF-8" in parts["0003"]
    assert "Bird_0004.jpg is listed in images.txt but absent" in parts["0004"]
    assert "Bird_0004.txt cannot be read" in parts["0004"]
    assert parts["0005"] == "image 5 is not in image_class_labels.txt"
    assert parts["0006"] == "image 6 is not in bounding_boxes.txt"
    assert not any(str(tiny_raw_cub) in reason for reason in reasons.values())


def test_image_missing_from_the_official_split_is_bad_there_only(tiny_raw_cub: Path) -> None:
    edit(tiny_raw_cub / "CUB_200_2011" / "train_test_split.txt", 1, None)
    assert bad(cub.read(tiny_raw_cub)) == {}
    assert bad(cub.read(tiny_raw_cub, split="official")) == {
        ALBATROSS: "image 1 is not in train_test_split.txt"
    }


def test_boxes_are_not_changed(tiny_raw_cub: Path) -> None:
    edit(tiny_raw_cub / "CUB_200_2011" / "bounding_boxes.txt", 1, "1 -5.0 1e3 0.0 7")
    assert good(cub.read(tiny_raw_cub))[0].box == BoundingBox(-5.0, 1000.0, 0.0, 7.0)


@pytest.mark.parametrize("name", ["images", "classes", "image_class_labels", "bounding_boxes"])
def test_missing_table_names_the_file_and_where_to_get_it(tiny_raw_cub: Path, name: str) -> None:
    file = tiny_raw_cub / "CUB_200_2011" / f"{name}.txt"
    file.unlink()
    with pytest.raises(DataError) as caught:
        cub.read(tiny_raw_cub)
    assert str(file) in str(caught.value)
    assert "https://data.caltech.edu/records/65de6-vp158" in str(caught.value.hint)


def test_root_that_is_absent_or_something_else(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is not a folder"):
        cub.read(tmp_path / "nowhere")
    with pytest.raises(DataError, match=r"neither CUB_200_2011/images\.txt nor images\.txt"):
        cub.read(tmp_path)


def test_missing_captions_list_the_folders_looked_for(tiny_raw_cub: Path) -> None:
    (tiny_raw_cub / "text").rename(tiny_raw_cub / "captions")
    with pytest.raises(DataError) as caught:
        cub.read(tiny_raw_cub)
    for folder in ("CUB_200_2011/text", "CUB_200_2011/text_c10", "raw/text", "raw/text_c10"):
        assert folder in str(caught.value)
    assert "reedscot" in str(caught.value.hint)


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("images.txt", "2", "2 fields expected"),
        ("images.txt", "two 001.A/b.jpg", "the image id should be a whole number, not 'two'"),
        ("images.txt", "1 001.A/b.jpg", "image 1 .* is listed twice"),
        ("images.txt", f"2 {ALBATROSS}.jpg", "is listed twice"),
        ("images.txt", "2 ../../secret.jpg", "not a path inside the folder of images"),
        ("images.txt", "2 /etc/secret.jpg", "not a path inside the folder of images"),
        ("classes.txt", "2", "2 fields expected"),
        ("classes.txt", "1 002.Laysan_Albatross", "class 1 .* is listed twice"),
        ("image_class_labels.txt", "2 77", "class 77 is not in classes.txt"),
        ("image_class_labels.txt", "2 x", "whole number, not 'x'"),
        ("bounding_boxes.txt", "2 1.0 2.0 3.0", "5 fields expected"),
        ("bounding_boxes.txt", "2 1.0 2.0 3.0 4.0px", "x, y, width and height expected"),
        ("bounding_boxes.txt", "2 1.0 2.0 3.0 nan", "not finite"),
        ("train_test_split.txt", "2 2", "expected, found '2'"),
        ("attributes/image_attribute_labels.txt", "1 2 1", "found '1 2 1'"),
        ("attributes/image_attribute_labels.txt", "1 2 yes 4 1.0", "found '1 2 yes 4 1.0'"),
        ("attributes/image_attribute_labels.txt", "1 2 2 4 1.0", "0 or 1"),
        ("attributes/image_attribute_labels.txt", "1 2 1 5 1.0", "certainty 1 to 4"),
        ("attributes/image_attribute_labels.txt", "1 9 1 4 1.0", "attribute id"),
        ("attributes/image_attribute_labels.txt", "1 2 14 1.0", "certainty 1 to 4"),
        ("attributes/image_attribute_labels.txt", "x 2 1 4 1.0", "image id"),
        ("attributes/image_attribute_labels.txt", "999 9 1 4 1.0", "attribute id"),
    ],
)
def test_malformed_line_is_named(tiny_raw_cub: Path, file: str, text: str, message: str) -> None:
    path = tiny_raw_cub / "CUB_200_2011" / file
    edit(path, 2, text)
    with pytest.raises(DataError, match=message) as caught:
        cub.read(tiny_raw_cub, split="official")
    assert f"{path}:2" in str(caught.value)


def test_empty_lines_in_tables_are_no_fault(tiny_raw_cub: Path) -> None:
    base = tiny_raw_cub / "CUB_200_2011"
    for file in [*base.glob("*.txt"), *base.glob("attributes/*.txt")]:
        file.write_text("\n" + file.read_text().replace("\n", "\r\n\r\n"))
    assert len(good(cub.read(tiny_raw_cub))) == 24


@pytest.mark.parametrize("name", ["images", "classes"])
def test_empty_table(tiny_raw_cub: Path, name: str) -> None:
    (tiny_raw_cub / "CUB_200_2011" / f"{name}.txt").write_text("\n")
    with pytest.raises(DataError, match="lists no"):
        cub.read(tiny_raw_cub)


def test_attributes_count_where_they_were_seen(tiny_raw_cub: Path) -> None:
    labels = tiny_raw_cub / "CUB_200_2011" / "attributes" / "image_attribute_labels.txt"
    edit(labels, 1, "1 1 1 1 3.5")  # present, but not visible
    edit(labels, 2, "1 2 1 2 0 1.509")  # a guess, with the extra column that some lines of CUB have
    edit(labels, 3, "1 3 0 4")
    with labels.open("a") as stream:
        stream.write("999 1 1 4 1.0\n")  # of an image that a partial copy lacks
    np.testing.assert_array_equal(good(cub.read(tiny_raw_cub))[0].attributes, [0, 1, 0])


def test_image_without_all_its_attributes_is_bad(tiny_raw_cub: Path) -> None:
    edit(tiny_raw_cub / "CUB_200_2011" / "attributes" / "image_attribute_labels.txt", 2, None)
    reasons = bad(cub.read(tiny_raw_cub))
    assert reasons == {ALBATROSS: "1 of its 3 attributes are not in image_attribute_labels.txt"}


def test_copy_without_attribute_labels_has_no_attributes(tiny_raw_cub: Path) -> None:
    (tiny_raw_cub / "CUB_200_2011" / "attributes" / "image_attribute_labels.txt").unlink()
    source = cub.read(tiny_raw_cub)
    assert source.attribute_names == ()
    assert all(sample.attributes is None for sample in good(source))


def test_labels_without_names_are_an_error(tiny_raw_cub: Path) -> None:
    (tiny_raw_cub / "attributes.txt").unlink()
    with pytest.raises(DataError, match=r"without the attributes' names"):
        cub.read(tiny_raw_cub)


def test_numbers_of_labels_may_have_signs_and_zeros(tiny_raw_cub: Path) -> None:
    labels = tiny_raw_cub / "CUB_200_2011" / "attributes" / "image_attribute_labels.txt"
    edit(labels, 1, "01 +1 00 04 3.5")
    edit(labels, 2, "1\t2  1 04")
    np.testing.assert_array_equal(good(cub.read(tiny_raw_cub))[0].attributes, [0, 1, 1])


def test_soft_attributes_depend_on_the_certainty(tiny_raw_cub: Path) -> None:
    labels = tiny_raw_cub / "CUB_200_2011" / "attributes" / "image_attribute_labels.txt"
    for line, (present, certainty) in enumerate([(p, c) for p in (1, 0) for c in (4, 3, 2, 1, 4, 3)], 1):
        image, attribute = (line - 1) // 3 + 1, (line - 1) % 3 + 1
        edit(labels, line, f"{image} {attribute} {present} {certainty} 2.0")
    source = cub.read(tiny_raw_cub, attributes="soft")
    rows = [sample.attributes for sample in good(source)[:4]]
    assert source.attribute_encoding == "soft"
    assert all(row is not None and row.dtype == np.float32 for row in rows)
    np.testing.assert_array_equal(rows, [[1, 0.75, 0.5], [0, 1, 0.75], [0, 0.25, 0.5], [0, 0, 0.25]])
    binary = [sample.attributes for sample in good(cub.read(tiny_raw_cub, attributes="binary"))[:4]]
    np.testing.assert_array_equal(binary, [[1, 1, 1], [0, 1, 1], [0, 0, 0], [0, 0, 0]])


@pytest.fixture
def raw_with_shares(tiny_raw_cub: Path) -> Path:
    """The tiny dataset with percentages of its classes in addition to the labels of its images."""
    shares = "0.0 100.0 25\n12.5 50 1e2\n0 0 0\n33.333333 2 3\n"
    (tiny_raw_cub / SHARES).write_text(shares)
    return tiny_raw_cub


SHARES = "CUB_200_2011/attributes/class_attribute_labels_continuous.txt"


def test_class_attributes_are_shares_of_the_class(raw_with_shares: Path) -> None:
    assert cub.read(raw_with_shares).attribute_encoding == "binary"
    classes = raw_with_shares / "CUB_200_2011" / "classes.txt"
    classes.write_text("\n".join(reversed(classes.read_text().split("\n"))))  # the rows go by id
    source = cub.read(raw_with_shares, attributes="class")
    assert source.attribute_encoding == "class"
    expected = np.float32([[0, 1, 0.25], [0.125, 0.5, 1], [0, 0, 0], [0.33333333, 0.02, 0.03]])
    for sample in good(source):
        assert sample.attributes is not None
        assert sample.class_id is not None
        assert sample.attributes.dtype == np.float32
        np.testing.assert_array_equal(sample.attributes, expected[sample.class_id])


def test_class_attributes_replace_missing_labels_of_images(raw_with_shares: Path) -> None:
    (raw_with_shares / "CUB_200_2011" / "attributes" / "image_attribute_labels.txt").unlink()
    source = cub.read(raw_with_shares)
    assert source.attribute_encoding == "class"
    assert len(source.attribute_names) == 3
    assert good(source)[0].attributes is not None
    (raw_with_shares / "attributes.txt").unlink()  # read without attributes
    source = cub.read(raw_with_shares)
    assert (source.attribute_encoding, source.attribute_names) == ("", ())
    with pytest.raises(DataError, match="without the attributes' names"):
        cub.read(raw_with_shares, attributes="class")


def test_class_attributes_of_an_image_without_class(raw_with_shares: Path) -> None:
    edit(raw_with_shares / "CUB_200_2011" / "image_class_labels.txt", 1, None)
    reasons = bad(cub.read(raw_with_shares, attributes="class"))
    assert reasons == {ALBATROSS: "image 1 is not in image_class_labels.txt"}


@pytest.mark.parametrize(
    ("encoding", "absent", "present"),
    [
        (
            "binary",
            "image_attribute_labels",
            "class_attribute_labels_continuous.txt: choose --attributes class",
        ),
        (
            "soft",
            "image_attribute_labels",
            "class_attribute_labels_continuous.txt: choose --attributes class",
        ),
        (
            "class",
            "class_attribute_labels_continuous",
            "image_attribute_labels.txt: choose --attributes binary (or soft)",
        ),
    ],
)
def test_an_encoding_without_its_file_names_the_other(
    raw_with_shares: Path, encoding: cub.Encoding, absent: str, present: str
) -> None:
    folder = raw_with_shares / "CUB_200_2011" / "attributes"
    (folder / f"{absent}.txt").unlink()
    with pytest.raises(
        DataError, match=f"{absent}.txt is missing, the file of {encoding} attributes"
    ) as caught:
        cub.read(raw_with_shares, attributes=encoding)
    assert present in str(caught.value.hint)
    for file in folder.iterdir():
        file.unlink()
    with pytest.raises(DataError, match="is missing") as caught:
        cub.read(raw_with_shares, attributes=encoding)
    assert "data.caltech.edu" in str(caught.value.hint)


@pytest.mark.parametrize(
    ("line", "text", "message"),
    [
        (2, "12.5 50", ":2: holds 2 attributes, .*attributes.txt names 3"),
        (2, "12.5 50 1 2", ":2: holds 4 attributes"),
        (3, "0 0 100.5", ":3: percentages of 0 to 100 expected, found 100.5"),
        (3, "0 -1 0", ":3: .* found -1"),
        (3, "0 nan 0", ":3: .* found nan"),
        (3, "0 0 inf", ":3: .* found inf"),
        (3, "0 0 half", ":3: percentages expected .*'half'"),
        (4, None, " holds 3 classes, classes.txt lists 4"),
        (4, "0 0 0\n0 0 0", " holds 5 classes, classes.txt lists 4"),
    ],
)
def test_malformed_percentages(raw_with_shares: Path, line: int, text: str | None, message: str) -> None:
    edit(raw_with_shares / SHARES, line, text)
    assert len(good(cub.read(raw_with_shares))) == 24
    with pytest.raises(DataError, match=f"class_attribute_labels_continuous.txt{message}"):
        cub.read(raw_with_shares, attributes="class")


def test_labels_of_another_version_are_named_once(tiny_raw_cub: Path) -> None:
    names = tiny_raw_cub / "attributes.txt"
    names.write_text(names.read_text() + "4 has_size::large\n5 has_size::medium\n")
    with pytest.raises(
        DataError, match=r"labels\.txt holds 3 attributes, .*attributes\.txt names 5"
    ) as caught:
        cub.read(tiny_raw_cub)
    assert "different versions" in str(caught.value.hint)


def test_images_that_the_labels_do_not_know_are_bad(tiny_raw_cub: Path) -> None:
    labels = tiny_raw_cub / "CUB_200_2011" / "attributes" / "image_attribute_labels.txt"
    labels.write_text("".join(labels.read_text().splitlines(keepends=True)[3:]))
    reason = "3 of its 3 attributes are not in image_attribute_labels.txt"
    assert bad(cub.read(tiny_raw_cub)) == {ALBATROSS: reason}
    labels.write_text("")
    assert set(bad(cub.read(tiny_raw_cub)).values()) == {reason}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1 has_a::b\n1 has_a::c\n", r"attributes\.txt:2: attribute 1 \(has_a::c\) is listed twice"),
        ("1 has_a::b\n2 has_a::b\n", r"attributes\.txt:2: attribute 2 \(has_a::b\) is listed twice"),
        ("one has_a::b\n", r"attributes\.txt:1: the attribute id should be a whole number, not 'one'"),
        ("1\n", r"attributes\.txt:1: 2 fields expected"),
        ("\n", r"attributes\.txt lists no attribute"),
    ],
)
def test_malformed_names_of_attributes(tiny_raw_cub: Path, text: str, message: str) -> None:
    (tiny_raw_cub / "attributes.txt").write_text(text)
    with pytest.raises(DataError, match=message):
        cub.read(tiny_raw_cub)


def test_unknown_choices_name_the_known(tiny_raw_cub: Path) -> None:
    with pytest.raises(UsageError, match="unknown attributes 'hard'") as caught:
        cub.read(tiny_raw_cub, attributes="hard")  # type: ignore[arg-type]
    assert caught.value.hint == "choose binary, soft or class"
    with pytest.raises(UsageError, match="unknown silhouettes 'own'") as caught:
        cub.read(tiny_raw_cub, silhouettes="own")  # type: ignore[arg-type]
    assert caught.value.hint == "choose official, estimate or none"


@pytest.mark.parametrize("location", ["CUB_200_2011/segmentations", "segmentations"])
@pytest.mark.parametrize("root", ["", "CUB_200_2011"])
def test_official_silhouettes_are_inside_or_beside(tiny_raw_cub: Path, location: str, root: str) -> None:
    folder = tiny_raw_cub / location
    if not folder.is_dir():
        (tiny_raw_cub / SEGMENTATIONS).rename(folder)
    choices: tuple[cub.Silhouettes | None, ...] = (None, "official")
    for choice in choices:
        samples = good(cub.read(tiny_raw_cub / root, silhouettes=choice))
        # `prepare` checks the files
        assert [sample.silhouette for sample in samples] == [folder / f"{s.key}.png" for s in samples]
    assert {s.silhouette for s in good(cub.read(tiny_raw_cub / root, silhouettes="none"))} == {None}


def test_absent_official_silhouettes(tiny_raw_cub: Path) -> None:
    shutil.rmtree(tiny_raw_cub / SEGMENTATIONS)
    assert {sample.silhouette for sample in good(cub.read(tiny_raw_cub))} == {None}
    with pytest.raises(DataError, match=r"CUB_200_2011/segmentations nor .*raw/segmentations") as caught:
        cub.read(tiny_raw_cub, silhouettes="official")
    assert "https://data.caltech.edu/records/w9d68-gec53" in str(caught.value.hint)
    assert "estimate" in str(caught.value.hint)


@pytest.fixture
def raw_with_parts(tiny_raw_cub: Path) -> Path:
    """The tiny dataset with two parts of each image. None is visible in the first image, one in the second."""
    shutil.rmtree(tiny_raw_cub / SEGMENTATIONS)
    lines = ["1 1 0.0 0.0 0", "1 2 0.0 0.0 0", "2 1 12.0 7.5 1", "2 2 0.0 0.0 0"]
    lines += [f"{image} {part} {image} {part}.5 1" for image in (*range(3, 25), 999) for part in (1, 2)]
    (tiny_raw_cub / PARTS).parent.mkdir()
    (tiny_raw_cub / PARTS).write_text("\n".join(lines) + "\n")
    return tiny_raw_cub


PARTS = "CUB_200_2011/parts/part_locs.txt"
SEGMENTATIONS = "CUB_200_2011/segmentations"


def test_estimates_are_made_of_the_visible_parts(raw_with_parts: Path) -> None:
    source = cub.read(raw_with_parts, silhouettes="estimate")
    first, second, third = (sample.silhouette for sample in good(source)[:3])
    assert first == PartLocations(())
    assert second == PartLocations(((12.0, 7.5),))
    assert third == PartLocations(((3.0, 1.5), (3.0, 2.5)))
    assert "parts/part_locs.txt" in source.fingerprint
    plain = cub.read(raw_with_parts)
    assert "parts/part_locs.txt" not in plain.fingerprint
    assert good(plain)[1].silhouette is None


def test_images_without_parts_are_bad_where_parts_are_needed(raw_with_parts: Path) -> None:
    edit(raw_with_parts / PARTS, 1, None)
    edit(raw_with_parts / PARTS, 1, None)
    assert bad(cub.read(raw_with_parts, silhouettes="estimate")) == {
        ALBATROSS: "image 1 is not in parts/part_locs.txt"
    }
    assert bad(cub.read(raw_with_parts)) == {}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1 2 3.0 1", "5 fields expected"),
        ("one 2 3.0 4.0 1", "the image id should be a whole number, not 'one'"),
        ("1 two 3.0 4.0 1", "the part id should be a whole number, not 'two'"),
        ("1 2 3.0 y 1", "x and y expected, found '3.0 y'"),
        ("1 2 3.0 nan 1", "not finite"),
        ("1 2 3.0 4.0 2", r"1 \(visible\) or 0 expected, found '2'"),
    ],
)
def test_malformed_parts(raw_with_parts: Path, text: str, message: str) -> None:
    edit(raw_with_parts / PARTS, 2, text)
    with pytest.raises(DataError, match=rf"part_locs\.txt:2: .*{message}"):
        cub.read(raw_with_parts, silhouettes="estimate")
    assert len(good(cub.read(raw_with_parts))) == 24


def test_parts_that_are_absent(tiny_raw_cub: Path) -> None:
    with pytest.raises(DataError, match=r"part_locs\.txt is missing") as caught:
        cub.read(tiny_raw_cub, silhouettes="estimate")
    assert "data.caltech.edu" in str(caught.value.hint)


def test_fingerprint_tells_splits_and_files_apart(tiny_raw_cub: Path) -> None:
    zero_shot = cub.read(tiny_raw_cub).fingerprint
    assert zero_shot == cub.read(tiny_raw_cub).fingerprint
    assert set(zero_shot) == {
        "images.txt",
        "classes.txt",
        "image_class_labels.txt",
        "bounding_boxes.txt",
        "cub_test_classes.txt",
        "attributes/image_attribute_labels.txt",
        "attributes.txt",
    }
    assert "train_test_split.txt" in cub.read(tiny_raw_cub, split="official").fingerprint
    edit(tiny_raw_cub / "CUB_200_2011" / "bounding_boxes.txt", 1, "1 1 1 9 9")
    changed = cub.read(tiny_raw_cub).fingerprint
    assert {name for name in zero_shot if zero_shot[name] != changed[name]} == {"bounding_boxes.txt"}
    (tiny_raw_cub / SHARES).write_text("1 2 3\n" * 4)
    shares = cub.read(tiny_raw_cub, attributes="class").fingerprint
    assert zero_shot.keys() ^ shares.keys() == {
        "attributes/image_attribute_labels.txt",
        "attributes/class_attribute_labels_continuous.txt",
    }


def test_shipped_list_gives_the_published_split(shared_data: Path) -> None:
    held_out = set(cub.ZERO_SHOT_TEST_CLASSES.read_text().split())
    assert len(held_out) == 50
    with tarfile.open(shared_data / "cub_captions_full.tar.gz") as archive:
        classes = Counter(Path(member.name).parent.name for member in archive if member.isfile())
    assert held_out <= classes.keys()
    assert len(classes) == 200
    assert sum(count for name, count in classes.items() if name in held_out) == 2933
    assert sum(count for name, count in classes.items() if name not in held_out) == 8855


def test_real_partial_copies(shared_data: Path) -> None:
    for folder, images, test_images in (("cub", 200, 68), ("cub50", 2889, 983)):
        source = cub.read(shared_data / folder)
        samples = good(source)
        assert len(samples) == images
        assert len(source.class_names) == 200
        assert all(len(sample.captions) == 10 for sample in samples)
        assert sum(sample.split == "test" for sample in samples) == test_images
        test_classes = {sample.class_id for sample in samples if sample.split == "test"}
        assert len(test_classes) == 17
        assert not test_classes & {sample.class_id for sample in samples if sample.split == "train"}
        assert source.attribute_encoding == "class"
        assert len(source.attribute_names) == 312
        rows = np.stack([sample.attributes for sample in samples if sample.attributes is not None])
        assert len(rows) == images
        assert (rows.min(), rows.max()) == (0, 1)
        for sample in good(cub.read(shared_data / folder, silhouettes="estimate")):
            parts, box = sample.silhouette, sample.box
            assert isinstance(parts, PartLocations)
            assert box is not None
            assert parts.points
            assert all(
                -1 <= x - box.x <= box.width + 1 and -1 <= y - box.y <= box.height + 1
                for x, y in parts.points
            )
    official = good(cub.read(shared_data / "cub", split="official"))
    assert Counter(sample.split for sample in official) == {"train": 100, "test": 100}
