"""Reader of Flickr8k: splits, recordings, the token file's false name, partial copies, broken files."""

from __future__ import annotations

import pickle
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from gancli.data.preparation.options import PrepareOptions
from gancli.data.preparation.prepare import prepare
from gancli.data.source import Recording, Sample
from gancli.data.sources import flickr8k
from gancli.errors import DataError, UsageError
from tests.data.sources.samples import bad, good

LISTS = {"train": ("4_d", "1_a", "3_c"), "dev": ("2_b",), "test": ("6_f", "5_e")}


def write_raw_flickr8k(root: Path) -> Path:
    """Write six listed images (empty files) with two captions each, an unlisted one, and the real file's false name."""
    text, image_folder, audio = root / "Flickr8k_text", root / "Flicker8k_Dataset", root / "flickr_audio"
    for folder in (text, image_folder, audio / "wavs"):
        folder.mkdir(parents=True)
    images = ("1_a.jpg", "2_b.jpg", "3_c.jpg", "3_c.jpg.1", "4_d.jpg", "5_e.jpg", "6_f.jpg", "7_g.jpg")
    tokens = [
        f"{image}#{number}\tcaption {number} of {image.partition('.')[0]} ."
        for image in images
        for number in (0, 1)
    ]
    (text / "Flickr8k.token.txt").write_text("\n".join(tokens) + "\n")
    for part, names in LISTS.items():
        (text / f"Flickr_8k.{part}Images.txt").write_text("".join(f"{name}.jpg\n" for name in names))
    table = []
    for image in images:
        if image != "3_c.jpg.1":
            (image_folder / image).touch()
        for number in (1, 0):
            wav = f"{image.partition('.')[0]}_{number}.wav"
            (audio / "wavs" / wav).touch()
            table.append(f"{wav} {image} #{number}")
    (audio / "wav2capt.txt").write_text("\n".join(table) + "\n")
    return root


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_raw_flickr8k(tmp_path / "flickr8k")


def splits(root: Path, **options: Any) -> dict[str, str]:
    return {sample.key: sample.split for sample in good(flickr8k.read(root, **options))}


def test_samples_in_the_order_of_the_token_file(root: Path) -> None:
    source = flickr8k.read(root)
    samples = list(source.samples)
    wavs = root / "flickr_audio/wavs"
    assert samples[0] == Sample(
        key="1_a",
        split="train",
        image=root / "Flicker8k_Dataset/1_a.jpg",
        captions=("caption 0 of 1_a .", "caption 1 of 1_a ."),
        recordings=(Recording(0, wavs / "1_a_0.wav"), Recording(1, wavs / "1_a_1.wav")),
    )
    assert [sample.key for sample in samples] == ["1_a", "2_b", "3_c", "4_d", "5_e", "6_f"]
    assert source.name == "flickr8k"
    assert (source.release, source.split_rule) == ("Flickr8k", "7000/1000")
    assert flickr8k.read(root, split="official").split_rule == "official"
    assert source.class_names == source.attribute_names == ()
    assert set(source.fingerprint) == {
        "Flickr8k_text/Flickr8k.token.txt",
        "Flickr8k_text/Flickr_8k.trainImages.txt",
        "Flickr8k_text/Flickr_8k.devImages.txt",
        "Flickr8k_text/Flickr_8k.testImages.txt",
        "flickr_audio/wav2capt.txt",
    }


def test_unlisted_names_are_ignored(root: Path) -> None:
    """The real token file describes `2258277193_586949ec62.jpg.1`, and 92 images that no list names."""
    third = next(sample for sample in good(flickr8k.read(root)) if sample.key == "3_c")
    assert third.captions == ("caption 0 of 3_c .", "caption 1 of 3_c .")
    assert len(third.recordings) == 2  # none of 3_c.jpg.1


def test_splits(root: Path) -> None:
    assert splits(root) == {
        **dict.fromkeys(("1_a", "2_b", "3_c", "4_d"), "train"),
        **dict.fromkeys(("5_e", "6_f"), "test"),
    }
    assert splits(root, split="official")["2_b"] == "val"
    with pytest.raises(UsageError, match="'82-20'") as caught:
        flickr8k.read(root, split="82-20")  # type: ignore[arg-type]
    assert "7000-1000 or official" in str(caught.value.hint)


@pytest.mark.parametrize("form", ["names.txt", "filenames.pickle"])
def test_a_list_of_test_images(root: Path, tmp_path: Path, form: str) -> None:
    file = tmp_path / form
    if form.endswith(".txt"):
        file.write_text("1_a.jpg\n\n7_g\n")
    else:
        file.write_bytes(pickle.dumps(["1_a", "7_g"]))
    found = splits(root, test_list=str(file))
    assert [key for key, split in found.items() if split == "test"] == ["1_a", "7_g"]
    assert Counter(found.values()) == {"train": 5, "test": 2}
    source = flickr8k.read(root, test_list=file)
    assert source.split_rule == "test list"
    assert form in source.fingerprint
    with pytest.raises(UsageError, match="replaces the official split"):
        flickr8k.read(root, test_list=file, split="official")


def test_a_list_of_other_images(root: Path, tmp_path: Path) -> None:
    file = tmp_path / "birds.txt"
    file.write_text("1_a\nbird\n")
    with pytest.raises(DataError, match=r"birds\.txt: 1 of its 2 names .* the first is 'bird'"):
        flickr8k.read(root, test_list=file)


@pytest.mark.parametrize("place", [".", "Flickr8k_Dataset/Flicker8k_Dataset", "Flickr8k_Dataset", "images"])
def test_common_folders_of_images(root: Path, place: str) -> None:
    if place == ".":
        for file in (root / "Flickr8k_text").iterdir():  # and the text, beside the images
            file.rename(root / file.name)
    else:
        (root / place).parent.mkdir(exist_ok=True)
        (root / "Flicker8k_Dataset").rename(root / place)
    assert len(splits(root)) == 6


# --------------------------------------------------------------------------------------------------------- recordings


def test_no_recordings(root: Path) -> None:
    (root / "flickr_audio").rename(root / "audio")
    assert all(sample.recordings == () for sample in good(flickr8k.read(root)))


@pytest.mark.parametrize("place", ["flickr_audio", "."])
def test_recordings_without_the_table_go_by_their_names(root: Path, place: str) -> None:
    expected = good(flickr8k.read(root))
    (root / "flickr_audio/wav2capt.txt").unlink()
    (root / "flickr_audio/wavs/readme.wav").touch()
    if place == ".":
        (root / "flickr_audio/wavs").rename(root / "wavs")
    for sample, known in zip(good(flickr8k.read(root)), expected, strict=True):
        assert [(one.caption, one.path.name) for one in sample.recordings] == [
            (one.caption, one.path.name) for one in known.recordings
        ]


def test_the_table_overrides_the_names_of_recordings(root: Path) -> None:
    table = root / "flickr_audio/wav2capt.txt"
    table.write_text("1_a_1.wav 1_a.jpg #0\n1_a_0.wav 1_a.jpg #0\n5_e_0.wav 5_e.jpg #9\n")
    by_key = {sample.key: sample.recordings for sample in good(flickr8k.read(root))}
    assert [(one.caption, one.path.name) for one in by_key["1_a"]] == [(0, "1_a_1.wav"), (0, "1_a_0.wav")]
    assert by_key["5_e"] == ()  # of a caption that the token file does not have


def test_recordings_follow_their_captions_where_one_is_empty(root: Path) -> None:
    tokens = root / "Flickr8k_text/Flickr8k.token.txt"
    tokens.write_text(tokens.read_text().replace("caption 0 of 1_a .", " "))
    (first, *_) = good(flickr8k.read(root))
    assert first.captions == ("caption 1 of 1_a .",)
    assert [(one.caption, one.path.name) for one in first.recordings] == [(0, "1_a_1.wav")]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("1_a_0.wav 1_a.jpg 0", r"wav2capt\.txt:1: .*'0' at the end"),
        ("1_a_0.wav 1_a.jpg", r"wav2capt\.txt:1: 3 fields expected, found 2"),
        ("../1_a_0.wav 1_a.jpg #0", r"wav2capt\.txt:1: .* folder of recordings"),
    ],
)
def test_a_malformed_table_of_recordings(root: Path, line: str, message: str) -> None:
    (root / "flickr_audio/wav2capt.txt").write_text(f"{line}\n")
    with pytest.raises(DataError, match=message):
        flickr8k.read(root)


# ----------------------------------------------------------------------------------------------------- broken copies


def test_partial_copy(root: Path) -> None:
    (root / "Flicker8k_Dataset/2_b.jpg").unlink()
    (root / "Flicker8k_Dataset/6_f.jpg").unlink()
    with pytest.raises(
        DataError, match=r"name 6 images, .* holds 4 of them: 2 are absent, .* 2_b\.jpg"
    ) as caught:
        flickr8k.read(root)
    assert "--skip-bad" in str(caught.value.hint)
    assert bad(flickr8k.read(root, partial=True)) == {
        key: f"Flicker8k_Dataset/{key}.jpg is listed but absent" for key in ("2_b", "6_f")
    }


def test_images_without_captions(root: Path) -> None:
    tokens = root / "Flickr8k_text/Flickr8k.token.txt"
    lines = tokens.read_text().replace("caption 0 of 1_a .", "").replace("caption 1 of 1_a .", "").split("\n")
    tokens.write_text("\n".join(line for line in lines if not line.startswith("6_f")))
    assert bad(flickr8k.read(root)) == dict.fromkeys(("1_a", "6_f"), "no caption in Flickr8k.token.txt")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("1_a.jpg,a caption", r"token\.txt:1: <image>\.jpg#<number>, a tab and the caption expected"),
        ("1_a.jpg#x\ta caption", r"token\.txt:1: "),
        ("1_a.jpg#0\tone\n\n1_a.jpg#0\ttwo", r"token\.txt:3: caption 0 of 1_a\.jpg is listed twice"),
    ],
)
def test_a_malformed_token_file(root: Path, line: str, message: str) -> None:
    (root / "Flickr8k_text/Flickr8k.token.txt").write_text(f"{line}\n")
    with pytest.raises(DataError, match=message):
        flickr8k.read(root)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("1_a.jpg\n", r"devImages\.txt names 1_a\.jpg, which another list names too"),
        ("2_b.jpg\n2_b.jpg\n", r"devImages\.txt names '2_b' twice"),
        ("\n", r"devImages\.txt names no image"),
    ],
)
def test_a_malformed_list(root: Path, content: str, message: str) -> None:
    (root / "Flickr8k_text/Flickr_8k.devImages.txt").write_text(content)
    with pytest.raises(DataError, match=message):
        flickr8k.read(root)


def test_missing_files_are_named_with_their_source(root: Path, tmp_path: Path) -> None:
    def message(folder: Path) -> str:
        with pytest.raises(DataError) as caught:
            flickr8k.read(folder)
        assert "https://github.com/jbrownlee/Datasets" in str(caught.value.hint)
        return str(caught.value)

    assert "is not a folder" in message(tmp_path / "nowhere")
    (root / "Flicker8k_Dataset").rename(root / "photographs")
    assert "has no folder Flicker8k_Dataset, " in message(root)
    (root / "Flickr8k_text/Flickr_8k.devImages.txt").unlink()
    assert "devImages.txt is missing" in message(root)
    (root / "Flickr8k_text/Flickr8k.token.txt").unlink()
    assert "holds Flickr8k.token.txt" in message(root)


# ---------------------------------------------------------------------------------------------------------- real data


@pytest.mark.parametrize(
    ("split", "images"),
    [
        ("7000-1000", {"train": 7000, "test": 1000}),
        ("official", {"train": 6000, "val": 1000, "test": 1000}),
    ],
)
def test_published_counts(
    shared_data: Path, tmp_path: Path, split: flickr8k.Split, images: dict[str, int]
) -> None:
    """The complete text, with empty files in place of the images."""
    text = tmp_path / "Flickr8k_text"
    text.symlink_to(shared_data / "flickr8k/Flickr8k_text")
    image_folder = tmp_path / "Flicker8k_Dataset"
    image_folder.mkdir()
    for part in ("train", "dev", "test"):
        for name in (text / f"Flickr_8k.{part}Images.txt").read_text().split():
            (image_folder / name).touch()
    samples = good(flickr8k.read(tmp_path, split=split))
    assert Counter(sample.split for sample in samples) == images
    assert {len(sample.captions) for sample in samples} == {5}
    assert all(sample.recordings == () for sample in samples)


def test_real_partial_copy(shared_data: Path, tmp_path: Path) -> None:
    raw = shared_data / "flickr8k"
    with pytest.raises(DataError, match=r"name 8,000 images, .* holds 59 of them: 7,941 are absent"):
        flickr8k.read(raw)
    report = prepare(
        flickr8k.read(raw, partial=True), tmp_path / "out", PrepareOptions(image_size=16), skip_bad=True
    )
    assert report.counts == {"train": 53, "test": 6}
    assert report.captions == {"train": 265, "test": 30}
    assert len(report.bad) == 7941
