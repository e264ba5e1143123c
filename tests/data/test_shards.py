"""Shards give back what was written, damage is found and named, files are there whole or not at all."""

from __future__ import annotations

import json
import pickle
import resource
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from gancli.data import shards
from gancli.data.audio import MelSettings, Utterance
from gancli.data.manifest import (
    MANIFEST,
    SCHEMA_VERSION,
    VOCABULARY,
    Manifest,
    SpeechEntry,
    SplitEntry,
    TokenizerEntry,
    read_manifest,
    write_manifest,
)
from gancli.data.shards import Dataset, ShardWriter, Split
from gancli.data.source import BadSample
from gancli.data.text import RULE, Vocabulary
from gancli.data.verify import verify
from gancli.errors import DataError, RunError

Item = tuple[str, NDArray[np.uint8], list[str], list[NDArray[np.int32]], int, NDArray[np.uint8]]


def write_dataset(folder: Path, items: list[Item], per_shard: int, attributes: int = 2) -> Dataset:
    """A dataset folder by hand, without `prepare`: split "train" of images of any shape."""
    folder.mkdir(parents=True, exist_ok=True)
    entries = []
    for start in range(0, len(items), per_shard):
        writer = ShardWriter("raw", "plan", attributes)
        for key, image, captions, tokens, class_id, row in items[start : start + per_shard]:
            writer.add(key, image.reshape(-1), image.shape[:2], captions, tokens, class_id, row)
        entries.append(writer.write(folder / f"train-{start:05d}.h5").entry)
    vocabulary = Vocabulary.build(["a red bird with a long bill"])
    vocabulary.save(folder / VOCABULARY)
    manifest = Manifest(
        schema_version=SCHEMA_VERSION,
        name="hand",
        release="own images",
        split_rule="folders",
        crop_rule="none",
        image_size=8,
        codec="raw",
        shard_images=per_shard,
        splits={
            "train": SplitEntry(
                images=len(items), captions=sum(len(item[2]) for item in items), shards=tuple(entries)
            )
        },
        class_names=None,
        attribute_names=tuple(f"attribute {number}" for number in range(attributes)),
        tokenizer=TokenizerEntry(rule=RULE, vocabulary_hash=vocabulary.hash, words=len(vocabulary)),
        rejected=0,
        source={},
        plan="plan",
        gancli_version="0",
    )
    write_manifest(folder, manifest)
    return Dataset.open(folder)


@st.composite
def items(draw: st.DrawFn) -> list[Item]:
    text = st.text(st.characters(codec="utf-8"), min_size=1, max_size=12)
    drawn: list[Item] = []
    for key in draw(st.lists(text, min_size=1, max_size=7, unique=True)):
        height, width = draw(st.integers(1, 6)), draw(st.integers(1, 6))
        rng = np.random.default_rng(draw(st.integers(0, 99)))
        captions = draw(st.lists(st.text(st.characters(codec="utf-8"), max_size=12), min_size=1, max_size=4))
        tokens = [rng.integers(1, 6, rng.integers(1, 5)).astype(np.int32) for _ in captions]
        image = rng.integers(0, 256, (height, width, 3)).astype(np.uint8)
        row = rng.integers(0, 2, 2).astype(np.uint8)
        drawn.append((key, image, captions, tokens, int(rng.integers(0, 2**40)), row))
    return drawn


@settings(max_examples=25)
@given(items(), st.integers(1, 4))
def test_round_trip(tmp_path_factory: pytest.TempPathFactory, written: list[Item], per_shard: int) -> None:
    split = write_dataset(tmp_path_factory.mktemp("round"), written, per_shard).split("train")
    assert len(split) == len(written)
    assert split.keys == [item[0] for item in written]
    assert split.class_ids.tolist() == [item[4] for item in written]
    attributes = split.attributes
    assert attributes is not None
    assert np.array_equal(attributes, np.stack([item[5] for item in written]))
    for index, (key, image, captions, tokens, *_) in enumerate(written):
        assert split.find(key) == index
        assert split.shape(index) == image.shape[:2]
        assert np.array_equal(split.image(index), image)
        assert split.captions(index) == captions
        assert [row.tolist() for row in split.tokens(index)] == [row.tolist() for row in tokens]
        side = min(image.shape[:2])
        top, left = image.shape[0] - side, image.shape[1] - side
        assert np.array_equal(split.crop(index, top, left, side), image[top:, left:])


def test_same_input_gives_the_same_bytes(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    item: Item = (
        "key", rng.integers(0, 256, (9, 12, 3)).astype(np.uint8), ["a"], [np.ones(1, np.int32)], 0, np.ones(2, np.uint8)
    )  # fmt: skip
    write_dataset(tmp_path / "one", [item], 1)
    write_dataset(tmp_path / "two", [item], 1)
    for file in (tmp_path / "one").iterdir():
        assert file.read_bytes() == (tmp_path / "two" / file.name).read_bytes()


def test_open_dataset(tiny_dataset: Path) -> None:
    dataset = Dataset.open(tiny_dataset)
    assert (dataset.name, dataset.image_size, dataset.split_names) == ("cub", 32, ["train", "test"])
    assert len(dataset.class_names) == 4
    assert len(dataset.attribute_names) == 3
    split = dataset.split("train")
    assert len(split) == 12
    assert all(min(split.shape(index)) == 38 for index in range(12))
    assert split.captions(0)[0].startswith("this is a ")
    assert dataset.vocabulary.encode(["bird"])[0] in split.tokens(0)[0]


def test_all_splits_as_one(tiny_dataset: Path) -> None:
    dataset = Dataset.open(tiny_dataset)
    whole, parts = dataset.whole(), [dataset.split(name) for name in dataset.split_names]
    assert whole.name == "all"
    assert whole.keys == [key for part in parts for key in part.keys]
    assert whole.class_ids.tolist() == [number for part in parts for number in part.class_ids]
    last = len(parts[-1]) - 1
    assert np.array_equal(whole.image(len(whole) - 1), parts[-1].image(last))


def test_split_travels_to_another_process(tiny_dataset: Path) -> None:
    split = Dataset.open(tiny_dataset).split("train")
    before = split.image(3)
    copy: Split = pickle.loads(pickle.dumps(split))  # noqa: S301
    assert np.array_equal(copy.image(3), before)


def test_few_files_are_open_at_a_time(tiny_dataset: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shards, "OPEN_SHARDS", 2)
    split = Dataset.open(tiny_dataset).split("train")
    images = [split.image(index) for index in range(len(split))]
    assert len(split._open) == 2
    assert all(np.array_equal(split.image(index), image) for index, image in enumerate(images))


@pytest.mark.parametrize("index", [-1, 12])
def test_index_outside(tiny_dataset: Path, index: int) -> None:
    with pytest.raises(IndexError, match="which holds 12"):
        Dataset.open(tiny_dataset).split("train").image(index)


@pytest.mark.parametrize("window", [(-1, 0, 4), (0, 0, 99), (36, 0, 8)])
def test_window_outside(tiny_dataset: Path, window: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError, match="leaves an image"):
        Dataset.open(tiny_dataset).split("train").crop(0, *window)


def test_unknown_split_and_key_are_named(tiny_dataset: Path) -> None:
    dataset = Dataset.open(tiny_dataset)
    with pytest.raises(DataError, match="no split 'val'") as caught:
        dataset.split("val")
    assert "train, test" in str(caught.value.hint)
    with pytest.raises(DataError, match="no image 'Mallard'"):
        dataset.split("test").find("Mallard")


def edit_manifest(folder: Path, **changes: object) -> None:
    path = folder / MANIFEST
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


@pytest.fixture
def copied(tiny_dataset: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_dataset, tmp_path / "copy"))


def test_folder_without_manifest(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"there is no dataset\.json"):
        Dataset.open(tmp_path)


def test_other_schema_version_names_both(copied: Path) -> None:
    edit_manifest(copied, schema_version=99)
    with pytest.raises(DataError, match=r"schema version 99, this gancli reads version 2"):
        Dataset.open(copied)


def test_invalid_manifest_lists_every_fault(copied: Path) -> None:
    edit_manifest(copied, codec="gif", colour="red")
    with pytest.raises(DataError, match=r"(?s)codec: .*colour: "):
        Dataset.open(copied)


def test_vocabulary_of_another_dataset(copied: Path) -> None:
    Vocabulary.build(["something else"]).save(copied / VOCABULARY)
    with pytest.raises(DataError, match="not the vocabulary of this dataset"):
        Dataset.open(copied)


def test_verify_finds_nothing_in_a_sound_folder(tiny_dataset: Path) -> None:
    calls: list[tuple[int, int]] = []
    assert verify(tiny_dataset, progress=lambda done, total: calls.append((done, total))) == []
    assert calls == [(number, 6) for number in range(1, 7)]


def test_verify_names_every_damaged_file(copied: Path) -> None:
    first, second, third, *_ = sorted(copied.glob("*.h5"))
    first.unlink()
    content = bytearray(second.read_bytes())
    content[len(content) // 2] ^= 1
    second.write_bytes(content)
    third.write_bytes(third.read_bytes()[:-1])
    (copied / "left-over.h5").write_bytes(b"")
    problems = verify(copied)
    assert [line.split(":")[0] for line in problems] == [first.name, second.name, third.name, "left-over.h5"]
    assert "missing" in problems[0]
    assert "sha256" in problems[1]
    assert "sha256" in problems[2]


def rehash(folder: Path, file: Path) -> None:
    """Make the manifest agree with a shard that was changed on purpose, so that only its content is wrong."""
    manifest = read_manifest(folder).model_dump()
    for split in manifest["splits"].values():
        for entry in split["shards"]:
            if entry["file"] == file.name:
                entry["sha256"] = shards.file_hash(file)
    write_manifest(folder, Manifest.model_validate(manifest))


@pytest.mark.parametrize(
    ("table", "value", "message"),
    [
        ("tokens/data", 10**6, "outside the vocabulary"),
        ("tokens/data", 0, "outside the vocabulary"),
        ("class_ids", 4, "class id is outside the 4 classes"),
        ("images/shapes", 7, "do not agree"),
        ("captions/ranges", 0, "has no caption"),
        ("keys/data", ord("x"), "is also in"),
    ],
)
def test_verify_looks_into_shards(copied: Path, table: str, value: int, message: str) -> None:
    file = sorted(copied.glob("train*.h5"))[0]
    with h5py.File(file, "r+") as shard:
        shard[table][...] = value
    rehash(copied, file)
    assert any(message in line for line in verify(copied)), verify(copied)


def test_verify_survives_a_missing_table(copied: Path) -> None:
    file = sorted(copied.glob("train*.h5"))[0]
    with h5py.File(file, "r+") as shard:
        del shard["class_ids"]
    rehash(copied, file)
    assert any("does not follow the schema" in line for line in verify(copied))


def test_truncated_shard_is_named(copied: Path) -> None:
    file = sorted(copied.glob("train*.h5"))[0]
    file.write_bytes(file.read_bytes()[:1000])
    with pytest.raises(DataError, match=file.name):
        Dataset.open(copied).split("train").image(0)


def test_missing_shard_is_named(copied: Path) -> None:
    file = sorted(copied.glob("train*.h5"))[0]
    file.unlink()
    with pytest.raises(DataError, match=f"{file.name}: the shard is missing"):
        Dataset.open(copied).split("train").image(0)


def test_full_disk_leaves_nothing_half_written(tmp_path: Path) -> None:
    writer = ShardWriter("raw", "plan")
    writer.add("key", np.zeros(300_000, np.uint8), (250, 400), ["a"], [np.ones(1, np.int32)], 0)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        with pytest.raises(RunError, match=r"train\.h5: cannot be written \(File too large\)"):
            writer.write(tmp_path / "train.h5")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list(tmp_path.iterdir()) == []
    assert writer.write(tmp_path / "train.h5").entry.images == 1


def test_summary_recognises_only_its_plan(tmp_path: Path) -> None:
    writer = ShardWriter("raw", "plan")
    writer.rejected.append(BadSample("broken", "cut short"))
    path = tmp_path / "train.h5"
    summary = writer.write(path)
    assert shards.shard_summary(path, "plan") == summary
    assert (summary.utterances, summary.rejected) == (0, [BadSample("broken", "cut short")])
    assert shards.shard_summary(path, "another plan") is None
    assert shards.shard_summary(tmp_path / "absent.h5", "plan") is None
    path.write_bytes(path.read_bytes()[:-20])
    assert shards.shard_summary(path, "plan") is None


# ------------------------------------------------------------------------------------------------------ speech

MEL = MelSettings(bands=4)


def write_spoken(
    folder: Path, per_image: list[list[int]], *, audio: bool = True
) -> tuple[Dataset, list[list[Utterance]]]:
    """A dataset of two captions an image, and its utterances; `per_image` lists which caption each speaks."""
    written = []
    rng = np.random.default_rng(0)
    writer = ShardWriter("raw", "plan", 0, speech=True, audio=audio)
    for number, captions in enumerate(per_image):
        utterances = [
            Utterance(
                caption,
                rng.standard_normal((16 + int(rng.integers(9)), 4)).astype(np.float16),
                rng.integers(-32768, 32768, 50 + number).astype(np.int16) if audio else None,
                8000 + number if audio else 0,
            )
            for caption in captions
        ]
        pixels = np.zeros((9, 9, 3), np.uint8)
        words = [np.ones(1, np.int32)] * 2
        writer.add(f"image {number}", pixels.reshape(-1), (9, 9), ["a", "b"], words, 0, None, utterances)
        written.append(utterances)
    folder.mkdir()
    entry = writer.write(folder / "train-00000.h5").entry
    vocabulary = Vocabulary.build(["a b"])
    vocabulary.save(folder / VOCABULARY)
    manifest = Manifest(
        schema_version=SCHEMA_VERSION,
        name="spoken",
        release="own images",
        split_rule="folders",
        crop_rule="none",
        image_size=8,
        codec="raw",
        shard_images=len(per_image),
        splits={"train": SplitEntry(images=entry.images, captions=entry.captions, shards=(entry,))},
        class_names=None,
        attribute_names=(),
        tokenizer=TokenizerEntry(rule=RULE, vocabulary_hash=vocabulary.hash, words=len(vocabulary)),
        rejected=0,
        source={},
        plan="plan",
        gancli_version="0",
        speech=SpeechEntry(
            mel=MEL,
            backend="recorded",
            version="",
            voices=(),
            speeds=(),
            audio=audio,
            utterances={"train": sum(map(len, per_image))},
        ),
    )
    write_manifest(folder, manifest)
    return Dataset.open(folder), written


def test_speech_round_trip(tmp_path: Path) -> None:
    dataset, written = write_spoken(tmp_path / "spoken", [[0, 1], [0, 0, 1, 1], [1, 0]])
    assert verify(tmp_path / "spoken") == []
    split: Split = pickle.loads(pickle.dumps(dataset.split("train")))  # noqa: S301
    assert split.has_speech
    assert split.has_audio
    assert split.mel == MEL
    assert split.speech_counts().tolist() == [2, 4, 2]
    assert split.speech_lengths().tolist() == [len(spoken.mel) for each in written for spoken in each]
    for index, utterances in enumerate(written):
        assert split.speech_captions(index).tolist() == [spoken.caption for spoken in utterances]
        for mel, (waveform, rate), spoken in zip(
            split.speech(index), split.audio(index), utterances, strict=True
        ):
            assert mel.dtype == np.float16
            assert np.array_equal(mel, spoken.mel)
            assert spoken.waveform is not None
            assert (waveform.dtype, rate) == (np.float32, spoken.rate)
            assert np.array_equal(waveform * 32768, spoken.waveform)
    assert dataset.whole().speech_counts().tolist() == [2, 4, 2]


def test_speech_without_audio(tmp_path: Path) -> None:
    split = write_spoken(tmp_path / "spoken", [[0, 1]], audio=False)[0].split("train")
    assert len(split.speech(0)) == 2
    with pytest.raises(DataError, match="not kept") as caught:
        split.audio(0)
    assert "--keep-audio" in str(caught.value.hint)


def test_a_dataset_without_speech_says_so(tiny_dataset: Path) -> None:
    split = Dataset.open(tiny_dataset).split("train")
    assert not split.has_speech
    assert "speech" not in json.loads((tiny_dataset / "dataset.json").read_text())
    for ask in (split.speech_counts, lambda: split.speech(0), lambda: split.audio(0)):
        with pytest.raises(DataError, match="captions are not spoken"):
            ask()


@pytest.mark.parametrize(
    ("table", "index", "value", "message"),
    [
        ("speech/captions", 1, 2, "a caption that its image does not have"),
        ("speech/captions", 1, 0, "a caption is not spoken"),
        ("speech/offsets", 1, 7, "is not 16 or more frames of 4 bands"),
        ("speech/ranges", -1, 5, "offsets and ranges say otherwise"),
    ],
)
def test_verify_looks_at_speech(tmp_path: Path, table: str, index: int, value: int, message: str) -> None:
    write_spoken(tmp_path / "spoken", [[0, 1], [0, 1]])
    path = tmp_path / "spoken" / "train-00000.h5"
    with h5py.File(path, "r+") as file:
        file[table][index] = value
    manifest = read_manifest(tmp_path / "spoken")
    train = manifest.splits["train"]
    entry = train.shards[0].model_copy(update={"sha256": shards.file_hash(path)})
    damaged = train.model_copy(update={"shards": (entry,)})
    write_manifest(tmp_path / "spoken", manifest.model_copy(update={"splits": {"train": damaged}}))
    assert any(message in line for line in verify(tmp_path / "spoken")), verify(tmp_path / "spoken")
