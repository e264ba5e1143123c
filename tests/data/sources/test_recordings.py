"""Recordings found by their names, in both layouts, and messages about missing ones."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

import pytest

from gancli.data.source import BadSample, Sample, Source
from gancli.data.sources.recordings import with_recordings
from gancli.errors import DataError
from tests.conftest import source_of
from tests.data.sources.samples import touch

KEYS = ("001.Albatross/Bird_01", "002.Ani/Bird_02")


def source(captions: int = 3, keys: tuple[str, ...] = KEYS) -> Source:
    sentences = tuple(f"a bird {number}" for number in range(captions))
    return source_of(Sample(key, "train", Path(f"{key}.jpg"), sentences) for key in keys)


def found(folder: Path, captions: int = 3, keys: tuple[str, ...] = KEYS) -> list[list[str] | str]:
    """Paths of each sample's recordings, or the reason why there are none."""
    listed: list[list[str] | str] = []
    for sample in with_recordings(source(captions, keys), str(folder)).samples:
        if isinstance(sample, BadSample):
            listed.append(sample.reason)
        else:
            assert [recording.caption for recording in sample.recordings] == list(range(captions))
            listed.append([each.path.relative_to(folder).as_posix() for each in sample.recordings])
    return listed


@pytest.mark.parametrize("inner", ["", "audio/", "wavs/"])
@pytest.mark.parametrize("first", [0, 1])
@pytest.mark.parametrize(
    "layout", ["{key}/{n}.wav", "{key}_{n}.wav", "{name}_{n}.WAV", "{name}_{n:02d}.flac"]
)
def test_layouts(tmp_path: Path, layout: str, first: int, inner: str) -> None:
    numbers = range(first, first + 12)  # natural order: 10 behind 9
    expected = [
        [inner + layout.format(key=key, name=PurePosixPath(key).name, n=number) for number in numbers]
        for key in KEYS
    ]
    touch(
        tmp_path, *(name for names in expected for name in names), f"{inner}notes.txt", f"{inner}.hidden.wav"
    )
    assert found(tmp_path, captions=12) == expected


def test_one_caption_needs_no_number(tmp_path: Path) -> None:
    touch(tmp_path, "one.wav", "red/2.wav")
    assert found(tmp_path, captions=1, keys=("one", "red/2")) == [["one.wav"], ["red/2.wav"]]


def test_names_that_end_in_numbers(tmp_path: Path) -> None:
    touch(tmp_path, *(f"image_0673_{number}.wav" for number in range(3)))
    assert found(tmp_path, keys=("class_1/image_0673",)) == [
        ["image_0673_0.wav", "image_0673_1.wav", "image_0673_2.wav"]
    ]


@pytest.mark.parametrize(
    ("numbers", "message"),
    [
        ([0, 2], "2 of 3 captions are recorded: Bird_01 has no recording with number 1"),
        ([1, 3], "2 of 3 captions are recorded: Bird_01 has no recording with number 2"),
        ([2], "1 of 3 captions are recorded: Bird_01 has no recording with numbers 1, 3"),
        ([0, 1, 2, 3], "4 recordings for 3 captions: Bird_01_3.wav is one too many"),
        ([], "no caption is recorded: there is no audio file of that name"),
    ],
)
def test_a_caption_without_its_recording(tmp_path: Path, numbers: list[int], message: str) -> None:
    touch(tmp_path, *(f"Bird_01_{number}.wav" for number in numbers), *(f"Bird_02_{n}.wav" for n in range(3)))
    first, second = found(tmp_path)
    assert first == message
    assert isinstance(second, list)


def test_bad_samples_pass(tmp_path: Path) -> None:
    bad = source_of([BadSample("a", "no image")])
    assert list(with_recordings(bad, touch(tmp_path, "a_0.wav")).samples) == [BadSample("a", "no image")]


def test_two_images_of_one_name(tmp_path: Path) -> None:
    touch(tmp_path, *(f"bird_{number}.wav" for number in range(3)))
    first, second = found(tmp_path, keys=("red/bird", "blue/bird"))
    assert isinstance(first, list)
    assert second == "its recordings bird_… are also those of red/bird"


def test_two_files_of_one_caption(tmp_path: Path) -> None:
    touch(tmp_path, "a_0.wav", "a_00.wav")
    with pytest.raises(DataError, match=r"a_0\.wav and a_00\.wav are the same caption"):
        with_recordings(source(), tmp_path)


def test_no_audio_at_all(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is not a folder"):
        with_recordings(source(), tmp_path / "absent")
    with pytest.raises(DataError, match="holds no audio file") as caught:
        with_recordings(source(), touch(tmp_path, "a.txt"))
    assert "<image>_<n>.wav" in str(caught.value.hint)
