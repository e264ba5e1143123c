"""Reader of own images: three forms of captions, classes, splits, boxes, messages about mistakes."""

from __future__ import annotations

import csv
import json
import os
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gancli.data.source import BadSample, BoundingBox, Sample, Source
from gancli.data.sources import image_folder
from gancli.errors import DataError, UsageError
from tests.data.sources.samples import bad, good, touch


def write_texts(root: Path, texts: Mapping[str, str]) -> None:
    for file, text in texts.items():
        path = root / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


def write_jsonl(path: Path, lines: Iterable[Any]) -> None:
    path.write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines), encoding="utf-8")


def by_key(source: Source) -> dict[str, Sample]:
    return {sample.key: sample for sample in good(source)}


# --- the three forms give the same samples -----------------------------------------------------------------------


@dataclass(frozen=True)
class Drawn:
    captions: tuple[str, ...]
    class_name: str | None
    split: str
    box: tuple[float, float, float, float] | None


WORDS = st.text(st.characters(exclude_categories=["C", "Z"], exclude_characters="/"), min_size=1, max_size=8)
# no leading dot (hidden) and short enough for a file system that counts bytes
NAMES = WORDS.filter(lambda name: not name.startswith(".")).map(lambda name: name.replace("\\", "-"))
CAPTIONS = st.lists(
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\n\r"), max_size=40)
    .map(str.strip)
    .filter(bool),
    min_size=1,
    max_size=4,
).map(tuple)
NUMBERS = st.floats(-1e6, 1e6)


@st.composite
def images(draw: st.DrawFn) -> dict[str, Drawn]:
    """{path without extension: image}, one or two folders deep, with classes for all images or for none."""
    keys = draw(
        st.sets(st.tuples(NAMES, NAMES).map("/".join) | NAMES.map("root/{}".format), min_size=2, max_size=5)
    )
    with_classes = draw(st.booleans())
    return {
        key: Drawn(
            captions=draw(CAPTIONS),
            class_name=draw(WORDS) if with_classes else None,
            split=draw(st.sampled_from(["train", "test"])),
            box=draw(st.none() | st.tuples(NUMBERS, NUMBERS, NUMBERS, NUMBERS)),
        )
        for key in keys
    }


def write_table(path: Path, data: Mapping[str, Drawn], suffix: str) -> None:
    if path.suffix == ".jsonl":
        lines = []
        for key, image in data.items():
            line: dict[str, Any] = {"file": key + suffix, "split": image.split}
            line |= (
                {"captions": image.captions} if len(image.captions) > 1 else {"caption": image.captions[0]}
            )
            line |= {"class": image.class_name} if image.class_name is not None else {}
            line |= {"box": image.box} if image.box else {}
            lines.append(line)
        write_jsonl(path, lines)
        return
    with path.open("w", newline="", encoding="utf-8-sig") as stream:
        rows = csv.writer(stream)
        rows.writerow(["file", "caption", "class", "split", "x", "y", "width", "height"])
        for key, image in data.items():
            for caption in image.captions:
                box = image.box or ("",) * 4
                rows.writerow([key + suffix, caption, image.class_name or "", image.split, *map(str, box)])


@settings(max_examples=30)
@given(
    data=images(),
    form=st.sampled_from(["csv", "jsonl", "beside", "text"]),
    suffix=st.sampled_from([".jpg", ".PNG"]),
)
def test_every_form_is_read_back(data: dict[str, Drawn], form: str, suffix: str) -> None:
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        touch(root / "images", *(key + suffix for key in data))
        if form in ("csv", "jsonl"):
            write_table(root / f"captions.{form}", data, suffix)
        else:
            texts = {f"{key}.txt": "\n".join(image.captions) for key, image in data.items()}
            write_texts(root / ("images" if form == "beside" else "text"), texts)
        source = image_folder.read(root)
        samples = by_key(source)
        assert list(samples) == [key.removesuffix(suffix) for key in sorted(key + suffix for key in data)]
        for key, image in data.items():
            sample = samples[key]
            assert sample.captions == image.captions
            assert sample.image.is_file()
            if form in ("csv", "jsonl"):
                assert sample.split == image.split
                assert (
                    None if sample.class_id is None else source.class_names[sample.class_id]
                ) == image.class_name
                assert sample.box == (BoundingBox(*image.box) if image.box else None)
        if form in ("csv", "jsonl"):
            names = {image.class_name for image in data.values()} - {None}
            assert source.class_names == tuple(sorted(name for name in names if name is not None))


# --- text files ---------------------------------------------------------------------------------------------------


def test_texts_beside_images(tmp_path: Path) -> None:
    touch(
        tmp_path, "b.JPG", "a/deep/nested.Tiff", "c.webp", ".hidden.jpg", "__MACOSX/._b.jpg", ".cache/d.jpg"
    )
    texts = {
        "b.txt": "\ufeffone\n\n two \r\n",
        "a/deep/nested.txt": "x\ufffd\ufffdy",
        "c.txt": "c",
        "LICENCE.txt": "MIT",
    }
    write_texts(tmp_path, texts)
    source = image_folder.read(tmp_path)
    samples = by_key(source)
    assert {key: sample.captions for key, sample in samples.items()} == {
        "a/deep/nested": ("x\ufffd\ufffdy",),
        "b": ("one", "two"),
        "c": ("c",),
    }
    assert list(samples) == ["a/deep/nested", "b", "c"]
    assert source.name == tmp_path.name
    assert source.class_names == ()
    assert source.fingerprint == {}
    assert image_folder.read(tmp_path, name="mine").name == "mine"


def test_parallel_folder_of_texts(tmp_path: Path) -> None:
    touch(tmp_path, "red/a.jpg", "b.jpg")
    write_texts(
        tmp_path,
        {"text/red/a.txt": "red", "text/b.txt": "blue", "text/gone.txt": "nothing", "b.txt": "beside"},
    )
    samples = {sample.key: sample for sample in image_folder.read(tmp_path).samples}
    assert isinstance(samples["red/a"], Sample)
    assert samples["b"].captions == ("blue",)  # type: ignore[union-attr]
    assert samples["gone"] == BadSample("gone", "a caption file without an image of that name")


def test_folders_may_be_strings(tmp_path: Path) -> None:
    touch(tmp_path, "red/a.jpg")
    write_texts(tmp_path, {"red/a.txt": "red"})
    path = PurePosixPath("red/a.jpg")
    assert good(image_folder.read(str(tmp_path)))[0].key == "red/a"
    assert image_folder.list_images(str(tmp_path)) == {path}
    assert image_folder.captions_of(str(tmp_path), {path}, str(tmp_path)) == ({path: ["red"]}, {})


def test_folder_of_texts_elsewhere(tmp_path: Path) -> None:
    touch(tmp_path / "images", "a.jpg")
    write_texts(tmp_path / "sentences", {"a.txt": "red"})
    assert by_key(image_folder.read(tmp_path / "images", captions=tmp_path / "sentences"))["a"].captions == (
        "red",
    )


def test_images_behind_a_link(tmp_path: Path) -> None:
    touch(tmp_path / "elsewhere", "a.jpg")
    write_texts(tmp_path / "elsewhere", {"a.txt": "red"})
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "part").symlink_to(tmp_path / "elsewhere")
    assert list(by_key(image_folder.read(tmp_path / "mine"))) == ["part/a"]


def test_bad_text_files(tmp_path: Path) -> None:
    touch(tmp_path, "a.jpg", "b.jpg", "c.jpg", "d.jpg")
    write_texts(tmp_path, {"b.txt": "\n \n", "d.txt": "fine"})
    (tmp_path / "c.txt").write_bytes(b"a caf\xe9")
    reasons = bad(image_folder.read(tmp_path))
    assert reasons["a"] == "no caption file a.txt"
    assert reasons["b"] == "b.txt holds no caption"
    assert reasons["c"].startswith("c.txt:1: not UTF-8")
    assert "d" not in reasons


def test_no_images_lists_expected_and_found(tmp_path: Path) -> None:
    touch(tmp_path, "a.gif", "b.gif", "c.txt", "Makefile")
    with pytest.raises(DataError) as caught:
        image_folder.read(tmp_path)
    assert "*.jpg" in str(caught.value)
    assert "2 .gif, 1 .txt, 1 without extension" in str(caught.value)
    with pytest.raises(DataError, match="no file at all"):
        image_folder.read((tmp_path / "empty").mkdir() or tmp_path / "empty")
    with pytest.raises(DataError, match="is not a folder"):
        image_folder.read(tmp_path / "nowhere")


def test_no_captions_lists_expected(tmp_path: Path) -> None:
    touch(tmp_path, "a.jpg", "b.jpg", "metadata.csv")
    with pytest.raises(
        DataError, match=r"2 images, but no captions beside them.*no caption file a\.txt"
    ) as caught:
        image_folder.read(tmp_path)
    assert "captions.jsonl" in str(caught.value.hint)
    (tmp_path / "text").mkdir()
    with pytest.raises(DataError, match=r"no captions below .*text"):
        image_folder.read(tmp_path)


def test_file_name_that_is_not_utf8(tmp_path: Path) -> None:
    touch(tmp_path, "a.jpg")
    write_texts(tmp_path, {"a.txt": "red"})
    try:
        Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.jpg")).touch()
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    with pytest.raises(DataError, match=r"caf\\udce9\.jpg' is not UTF-8"):
        image_folder.read(tmp_path)


# --- tables -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["csv", "jsonl"])
def test_lines_of_a_file_add_up(tmp_path: Path, form: str) -> None:
    touch(tmp_path, "images/a.jpg", "images/images/b.jpg")
    if form == "csv":
        rows = [
            "Caption, FILE ,class",
            '"red, bright",a.jpg,bird',
            "",
            "second,images/a.jpg,",
            '" ",./a.jpg,bird',
        ]
        write_texts(tmp_path, {"captions.csv": "\n".join([*rows, "b,images/b.jpg,x"])})
    else:
        lines = [
            {"file": "a.jpg", "caption": "red, bright", "class": "bird"},
            {"file": "images/a.jpg", "captions": ["second", " "]},
            {
                "file": "images/b.jpg",
                "caption": "b",
                "captions": [],
                "class": "x",
                "split": None,
                "box": None,
            },
        ]
        write_jsonl(tmp_path / "captions.jsonl", lines)
    source = image_folder.read(tmp_path)
    samples = by_key(source)
    assert samples["a"].captions == ("red, bright", "second")
    assert samples["images/b"].captions == ("b",)
    assert source.class_names == ("bird", "x")
    assert list(source.fingerprint) == [f"captions.{form}"]


def test_table_elsewhere_and_of_any_case(tmp_path: Path) -> None:
    touch(tmp_path / "images", "a.jpg")
    write_texts(tmp_path, {"Mine.CSV": "file,caption\na.jpg,red\n"})
    source = image_folder.read(tmp_path / "images", captions=tmp_path / "Mine.CSV")
    assert by_key(source)["a"].captions == ("red",)
    assert list(source.fingerprint) == ["Mine.CSV"]


def test_numbers_are_fine_as_classes(tmp_path: Path) -> None:
    touch(tmp_path, "a.jpg", "b.jpg")
    lines = [{"file": "a.jpg", "caption": "x", "class": 3}, {"file": "b.jpg", "caption": "x", "class": "3"}]
    write_jsonl(tmp_path / "captions.jsonl", lines)
    assert image_folder.read(tmp_path).class_names == ("3",)


def test_bad_records_of_a_table(tmp_path: Path) -> None:
    touch(tmp_path, "a.jpg", "b.jpg", "c.jpg", "d.jpg", "odd.jfif")
    long = "a whole caption where the file should be " * 20
    rows = [
        "file,caption,class,split,x,y,width,height",
        "a.jpg,red,bird,train,1,2,3,4",
        "a.jpg,red,fish,test,1,2,3,5",
        "b.jpg,,bird,train,,,,",
        "gone.jpg,red,bird,train,,,,",
        f"{long},red,bird,train,,,,",
        "d.jpg,red,,,,,,",
        "odd.jfif,red,bird,train,,,,",
    ]
    write_texts(tmp_path, {"captions.csv": "\n".join(rows)})
    samples = {sample.key: sample for sample in image_folder.read(tmp_path).samples}
    reasons = {key: sample.reason for key, sample in samples.items() if isinstance(sample, BadSample)}
    assert reasons["a"] == (
        "captions.csv:3 gives another class than a line before; captions.csv:3 gives another split than a line"
        " before; captions.csv:3 gives another box than a line before"
    )
    assert reasons["b"] == "no caption in captions.csv"
    assert reasons["c"].startswith("no caption in captions.csv")
    assert reasons["gone"] == "captions.csv names gone.jpg, but there is no such image"
    assert "no such image" in reasons[long]
    assert reasons["d"] == "no split, though other images have one; no class, though other images have one"
    assert isinstance(samples["odd"], Sample)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", r":1: there is no column 'file'"),
        ("a.jpg,red\n", r":1: unknown column 'a\.jpg'; known are file, caption"),
        ("file;caption\na.jpg;red\n", r":1: unknown column 'file;caption'"),
        ("file,captoin\na.jpg,red\n", r":1: unknown column 'captoin'; did you mean 'caption'\?"),
        ("file,class\na.jpg,red\n", r":1: there is no column 'caption'"),
        ("file,caption,file\n", r":1: the column 'file' is listed twice"),
        ("file,caption,x,y\n", r":1: there is no column 'width'"),
        ("file,caption\n", "holds no line"),
        ("file,caption\na.jpg,red, with wings\n", r":2: 2 fields expected, found 3"),
        ("file,caption\na.jpg\n", r":2: 2 fields expected, found 1"),
        ('file,caption\na.jpg,"red\n', "not CSV"),
        ('file,caption\na.jpg,"red"dish\n', "not CSV"),
        ("file,caption\n,red\n", r":2: 'file' is missing"),
        ("file,caption,split\na.jpg,red,val\n", r":2: split: Input should be 'train' or 'test', found 'val'"),
        ("file,caption,x,y,width,height\na.jpg,red,1,2,3px,4\n", r":2: box\.2: .*found '3px'"),
        ("file,caption,x,y,width,height\na.jpg,red,1,2,nan,4\n", r":2: box\.2: .*finite"),
        ("file,caption,x,y,width,height\na.jpg,red,1,2,3,\n", r":2: a box needs all of"),
        ('file,caption\nb.jpg,"two\nlines"\n../a.jpg,red\n', r":4: '\.\./a\.jpg' is not a path inside"),
        ("file,caption\n/a.jpg,red\n", r":2: '/a\.jpg' is not a path inside"),
    ],
)
def test_malformed_csv_is_named(tmp_path: Path, content: str, message: str) -> None:
    touch(tmp_path, "a.jpg")
    write_texts(tmp_path, {"captions.csv": content})
    with pytest.raises(DataError, match=message) as caught:
        image_folder.read(tmp_path)
    assert str(tmp_path / "captions.csv") in str(caught.value)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"file": "a.jpg", "caption": "red"', r":2: Invalid JSON"),
        ('["a.jpg", "red"]', r":2: .*object"),
        ('{"caption": "red"}', r":2: 'file' is missing"),
        ('{"file": "", "caption": "red"}', r":2: file: .*at least 1 character"),
        ('{"file": "a.jpg", "captons": ["red"]}', r":2: unknown key 'captons'; did you mean 'captions'\?"),
        (
            '{"file": "a.jpg", "text": "red"}',
            r":2: unknown key 'text'; known are file, caption, captions, class",
        ),
        ('{"file": "a.jpg", "captions": "red"}', r":2: captions: .*array, found 'red'"),
        ('{"file": "a.jpg", "caption": "red", "box": [1, 2, 3]}', r":2: 'box\.3' is missing"),
        ('{"file": "a.jpg", "caption": "red", "box": [1, 2, 3, 4, 5]}', r":2: box: .*at most 4"),
        ('{"file": "a.jpg", "caption": "red", "split": "dev"}', r":2: split: .*'train' or 'test'"),
        ('{"file": "a\\u0000.jpg", "caption": "red"}', r":2: 'a\\x00\.jpg' is not a path inside"),
    ],
)
def test_malformed_jsonl_is_named(tmp_path: Path, line: str, message: str) -> None:
    touch(tmp_path, "a.jpg")
    write_texts(tmp_path, {"captions.jsonl": '{"file": "a.jpg", "caption": "fine"}\n' + line + "\n"})
    with pytest.raises(DataError, match=message) as caught:
        image_folder.read(tmp_path)
    assert str(tmp_path / "captions.jsonl") in str(caught.value)


def test_table_in_another_encoding(tmp_path: Path) -> None:
    touch(tmp_path, "a.jpg")
    (tmp_path / "captions.csv").write_bytes(b"file,caption\na.jpg,caf\xe9\n")
    with pytest.raises(DataError, match=r"captions\.csv:2: not UTF-8 text \(byte 0xe9\)") as caught:
        image_folder.read(tmp_path)
    assert "iconv" in str(caught.value.hint)


def test_the_order_of_caption_sources(tmp_path: Path) -> None:
    touch(tmp_path, "a.jpg", "captions.txt")
    write_texts(
        tmp_path,
        {"captions.csv": "file,caption\na.jpg,from csv\n", "text/a.txt": "from text", "a.txt": "beside"},
    )
    assert by_key(image_folder.read(tmp_path))["a"].captions == ("from csv",)
    assert by_key(image_folder.read(tmp_path, captions=tmp_path / "text"))["a"].captions == ("from text",)
    assert by_key(image_folder.read(tmp_path, captions=tmp_path))["a"].captions == ("beside",)
    write_jsonl(tmp_path / "captions.jsonl", [{"file": "a.jpg", "caption": "from jsonl"}])
    with pytest.raises(UsageError, match=r"captions\.csv and captions\.jsonl") as caught:
        image_folder.read(tmp_path)
    assert "--captions" in str(caught.value.hint)
    assert by_key(image_folder.read(tmp_path, captions=tmp_path / "captions.jsonl"))["a"].captions == (
        "from jsonl",
    )
    assert by_key(image_folder.read(tmp_path, captions="captions.jsonl"))["a"].captions == ("from jsonl",)
    with pytest.raises(UsageError, match="no such file or folder"):
        image_folder.read(tmp_path, captions=tmp_path / "none.csv")
    with pytest.raises(UsageError, match=r"neither a \.csv nor a \.jsonl"):
        image_folder.read(tmp_path, captions=tmp_path / "captions.txt")


# --- splits and classes -------------------------------------------------------------------------------------------


def write_many(root: Path, count: int) -> None:
    for number in range(count):
        touch(root, f"{number:03d}.jpg")
        write_texts(root, {f"{number:03d}.txt": "an image"})


def keys_of(source: Source, split: Literal["train", "test"] = "test") -> set[str]:
    return {key for key, sample in by_key(source).items() if sample.split == split}


def test_drawn_split_has_the_share_and_depends_on_the_seed_alone(tmp_path: Path) -> None:
    write_many(tmp_path, 60)
    drawn = keys_of(image_folder.read(tmp_path))
    assert len(drawn) == 6
    assert keys_of(image_folder.read(tmp_path)) == drawn
    assert keys_of(image_folder.read(tmp_path, seed=1)) != drawn
    assert image_folder.read(tmp_path, seed=1).split_rule == "drawn 0.1, seed 1"
    assert drawn < keys_of(image_folder.read(tmp_path, test_share=0.5))
    assert keys_of(image_folder.read(tmp_path, test_share=0)) == set()
    assert len(keys_of(image_folder.read(tmp_path, test_share=0.001))) == 1
    assert len(keys_of(image_folder.read(tmp_path, test_share=0.999), "train")) == 1


def test_few_images_change_sides_when_images_are_added(tmp_path: Path) -> None:
    write_many(tmp_path, 60)
    before = keys_of(image_folder.read(tmp_path))
    write_many(tmp_path, 66)
    after = keys_of(image_folder.read(tmp_path))
    assert len(before - after) <= 1


@pytest.mark.parametrize("share", [-0.1, 1.0, float("nan")])
def test_share_out_of_range(tmp_path: Path, share: float) -> None:
    with pytest.raises(UsageError, match="test share"):
        image_folder.read(tmp_path, test_share=share)


def test_train_and_test_folders_are_the_split(tmp_path: Path) -> None:
    files = ["train/x/a.jpg", "train/b.jpg", "test/x/a.jpg", "test/y/z/c.jpg"]
    touch(tmp_path, *files)
    write_texts(tmp_path, {file.replace(".jpg", ".txt"): "red" for file in files})
    samples = by_key(image_folder.read(tmp_path))
    assert {key: sample.split for key, sample in samples.items()} == {
        "test/x/a": "test",
        "test/y/z/c": "test",
        "train/b": "train",
        "train/x/a": "train",
    }
    source = image_folder.read(tmp_path, folder_classes=True)
    samples_or_bad = {sample.key: sample for sample in source.samples}
    assert source.split_rule == "folders"
    assert source.class_names == ("x", "y/z")
    assert {key: s.class_id for key, s in samples_or_bad.items() if isinstance(s, Sample)} == {
        "test/x/a": 0,
        "test/y/z/c": 1,
        "train/x/a": 0,
    }
    assert samples_or_bad["train/b"] == BadSample("train/b", "no class, though other images have one")
    touch(tmp_path, "stray.jpg")
    write_texts(tmp_path, {"stray.txt": "red"})
    assert bad(image_folder.read(tmp_path)) == {"stray": "lies neither in train/ nor in test/"}


def test_a_class_called_train_is_no_split(tmp_path: Path) -> None:
    touch(tmp_path, "train/a.jpg", "plane/b.jpg")
    write_texts(tmp_path, {"train/a.txt": "a train", "plane/b.txt": "a plane"})
    source = image_folder.read(tmp_path, folder_classes=True, test_share=0.5)
    assert source.class_names == ("plane", "train")
    assert sorted(sample.split for sample in by_key(source).values()) == ["test", "train"]


def test_table_overrides_folders(tmp_path: Path) -> None:
    touch(tmp_path, "train/x/a.jpg", "test/x/b.jpg")
    lines = [
        {"file": "train/x/a.jpg", "caption": "red", "split": "test", "class": "bird"},
        {"file": "test/x/b.jpg", "caption": "red", "split": "train"},
    ]
    write_jsonl(tmp_path / "captions.jsonl", lines)
    source = image_folder.read(tmp_path, folder_classes=True)
    samples = by_key(source)
    assert [samples["train/x/a"].split, samples["test/x/b"].split] == ["test", "train"]
    assert (source.release, source.split_rule) == ("own images", "table")
    assert source.class_names == ("bird", "x")


# --- any content of a table gives a dataset or one clear message ------------------------------------------

TABLES = st.lists(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
    | st.sampled_from(
        (
            '"',
            ",",
            "\n",
            "{",
            "../",
            "a.jpg",
            "\\u0000",
            "split",
            "1e999",
            '{"file": "a.jpg", "caption": "red"}\n',
        )
    ),
    max_size=12,
).map(lambda pieces: "".join(pieces).encode())


@settings(max_examples=80)
@given(
    content=TABLES | st.binary(max_size=30),
    header=st.booleans(),
    form=st.sampled_from(["csv", "jsonl"]),
)
def test_any_content_gives_samples_or_a_data_error(content: bytes, header: bool, form: str) -> None:
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        touch(root, "a.jpg")
        (root / f"captions.{form}").write_bytes(
            (b"file,caption\n" if header and form == "csv" else b"") + content
        )
        try:
            samples = list(image_folder.read(root).samples)
        except DataError as error:
            assert f"captions.{form}" in str(error)  # noqa: PT017 - most contents raise, some do not
        else:
            assert samples
