"""Reader of the Places audio captions: classes, splits, common folder layouts, missing text, broken files."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gancli.data.source import Recording, Sample
from gancli.data.sources import places
from gancli.errors import DataError, UsageError
from tests.data.sources.samples import bad, good

TRAIN = {  # image: recognized texts of its utterances
    "b/bedroom/one.jpg": ["a bed with a red blanket", "this is a bedroom"],
    "h/home_office/two.jpg": ["a desk and a lamp"],
    "d/dinette/home/three.jpg": ["a small table"],
    "c/church/outdoor/four.jpg": ["a white church"],
}
TEST = {"l/living_room/five.jpg": ["a sofa"], "a/abbey/six.jpg": ["ruins on a hill"]}


def write_utterances(file: Path, images: dict[str, list[str]], **bases: str) -> None:
    data = [
        {
            "uttid": f"speaker-{image}-{number}",
            "speaker": "speaker",
            "asr_text": text,
            "wav": f"wavs/7/{Path(image).stem}_{number}.wav",
            "image": image,
        }
        for image, texts in images.items()
        for number, text in enumerate(texts)
    ]
    file.write_text(json.dumps({"image_base_path": "", "audio_base_path": "", **bases, "data": data}))


def write_raw_places(root: Path) -> Path:
    """Write six images (empty files), four of them of the seven classes."""
    (root / "metadata").mkdir(parents=True)
    for image in TRAIN | TEST:
        file = root / "images" / image
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    write_utterances(root / "metadata/train.json", TRAIN)
    write_utterances(root / "metadata/val.json", TEST)
    return root


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_raw_places(tmp_path / "PlacesAudio_400k_distro")


def splits(root: Path, **options: Any) -> dict[str, str]:
    return {sample.image.stem: sample.split for sample in good(places.read(root, **options))}


def test_utterances_of_an_image_come_together(root: Path) -> None:
    source = places.read(root)
    first, *others = source.samples
    assert first == Sample(
        key="b/bedroom/one",
        split="train",
        image=root / "images/b/bedroom/one.jpg",
        captions=("a bed with a red blanket", "this is a bedroom"),
        class_id=0,
        recordings=(Recording(0, root / "wavs/7/one_0.wav"), Recording(1, root / "wavs/7/one_1.wav")),
    )
    assert [other.key for other in others] == [
        "h/home_office/two",
        "d/dinette/home/three",
        "l/living_room/five",
    ]
    assert source.name == "places"
    assert (source.release, source.split_rule) == ("Places-subset", "official")
    assert source.class_names == places.SUBSET
    assert set(source.fingerprint) == {"metadata/train.json", "metadata/val.json"}


def test_classes(root: Path) -> None:
    everything = places.read(root, classes=None)
    assert everything.release == "Places audio captions"
    assert len(list(everything.samples)) == 6
    assert everything.class_names == (
        "abbey",
        "bedroom",
        "church/outdoor",
        "dinette/home",
        "home_office",
        "living_room",
    )
    chosen = places.read(root, classes=["church", " home office"])
    assert chosen.class_names == ("church", "home_office")
    assert [(sample.key, sample.class_id) for sample in chosen.samples if isinstance(sample, Sample)] == [
        ("h/home_office/two", 1),
        ("c/church/outdoor/four", 0),
    ]
    assert places.read(root, classes="church").class_names == ("church",)
    with pytest.raises(UsageError, match="no image is of the class 'bedrooms'") as caught:
        places.read(root, classes=["bedrooms"])
    assert caught.value.hint == "did you mean 'bedroom'?"
    with pytest.raises(UsageError) as caught:
        places.read(root, classes=["qqq"])
    assert "there are abbey, bedroom, " in str(caught.value.hint)


def test_none_of_the_seven_classes(root: Path) -> None:
    for part in ("train", "val"):
        write_utterances(root / f"metadata/{part}.json", {"a/abbey/six.jpg": ["ruins"]})
    with pytest.raises(DataError, match="living_room; there are abbey") as caught:
        places.read(root)
    assert "--classes all" in str(caught.value.hint)


def test_splits(root: Path) -> None:
    by_files = splits(root)
    assert by_files == {**dict.fromkeys(("one", "two", "three"), "train"), "five": "test"}
    drawn = splits(root, test_share=0.5)
    assert places.read(root, test_share=0.5).split_rule == "drawn 0.5, seed 0"
    assert sorted(drawn.values()) == ["test", "test", "train", "train"]
    assert drawn == splits(root, test_share=0.5)
    assert any(drawn != splits(root, test_share=0.5, seed=seed) for seed in range(1, 6))
    with pytest.raises(UsageError, match="test share"):
        places.read(root, test_share=1.0)


@pytest.mark.parametrize(
    "names", [["one", "five"], ["b/bedroom/one", "living_room/five"], ["one.jpg", "five.jpg"]]
)
def test_a_list_of_test_images(root: Path, tmp_path: Path, names: list[str]) -> None:
    (tmp_path / "filenames.pickle").write_bytes(pickle.dumps(names, protocol=2))
    found = splits(root, test_list=tmp_path / "filenames.pickle")
    assert places.read(root, test_list=tmp_path / "filenames.pickle").split_rule == "test list"
    assert {name for name, split in found.items() if split == "test"} == {"one", "five"}
    with pytest.raises(UsageError, match="exclude each other"):
        places.read(root, test_list=tmp_path / "filenames.pickle", test_share=0.1)
    (tmp_path / "birds.txt").write_text("bird\n")
    with pytest.raises(DataError, match=r"birds\.txt: none of its 1 names"):
        places.read(root, test_list=tmp_path / "birds.txt")


def test_an_image_of_both_files(root: Path) -> None:
    write_utterances(root / "metadata/val.json", TEST | {"b/bedroom/one.jpg": ["again"]})
    assert bad(places.read(root)) == {"b/bedroom/one": "is in the training file and in the test file"}
    assert splits(root, test_share=0.5)["one"] in ("train", "test")


def test_common_locations_of_the_files(root: Path, tmp_path: Path) -> None:
    (root / "metadata/train.json").rename(root / "train.json")
    (root / "metadata/val.json").rename(root / "test.json")
    assert len(splits(root)) == 4
    (root / "test.json").rename(tmp_path / "mine.json")
    assert len(splits(root, test=tmp_path / "mine.json")) == 4
    with pytest.raises(DataError, match=r"holds none of test\.json, ") as caught:
        places.read(root)
    assert "--test-share" in str(caught.value.hint)
    assert set(splits(root, test_share=0).values()) == {"train"}  # without a file of test images
    (root / "train.json").unlink()
    with pytest.raises(DataError, match=r"neither train\.json nor metadata/train\.json"):
        places.read(root)


# ---------------------------------------------------------------------------------------------- images, recordings


def test_common_locations_of_images(root: Path, tmp_path: Path) -> None:
    images = tmp_path / "images256"
    (root / "images").rename(images)
    with pytest.raises(
        DataError, match=r"train\.json: no images: it names no image_base_path, and .*images does not exist"
    ) as caught:
        places.read(root)
    assert "--images" in str(caught.value.hint)
    write_utterances(root / "metadata/train.json", TRAIN, image_base_path="/data/places")
    with pytest.raises(DataError, match="its image_base_path /data/places is not a folder"):
        places.read(root)
    with pytest.raises(DataError, match="nowhere is not a folder"):
        places.read(root, images=tmp_path / "nowhere")
    assert len(splits(root, images=images)) == 4
    for part, entries in (("train", TRAIN), ("val", TEST)):
        write_utterances(
            root / f"metadata/{part}.json",
            entries,
            image_base_path=str(images),
            audio_base_path=str(tmp_path),
        )
    (first, *_) = good(places.read(root))
    assert first.image == images / "b/bedroom/one.jpg"
    assert first.recordings[0].path == tmp_path / "wavs/7/one_0.wav"
    (first, *_) = good(places.read(root, audio=str(root / "audio")))
    assert first.recordings[0].path == root / "audio/wavs/7/one_0.wav"


@pytest.mark.parametrize("flat", [False, True])
def test_images_without_the_letter_or_in_one_folder(root: Path, flat: bool) -> None:
    for image in TRAIN | TEST:
        target = root / "images" / (Path(image).name if flat else Path(*Path(image).parts[1:]))
        target.parent.mkdir(parents=True, exist_ok=True)
        (root / "images" / image).rename(target)
    assert len(splits(root)) == 4


def test_absent_images(root: Path) -> None:
    (root / "images/h/home_office/two.jpg").unlink()
    (root / "images/c/church/outdoor/four.jpg").unlink()  # its class is not chosen
    with pytest.raises(
        DataError, match=r"train\.json and .*: 1 of 4 images are absent .* h/home_office/two\.jpg"
    ) as caught:
        places.read(root)
    assert "--skip-bad" in str(caught.value.hint)
    assert bad(places.read(root, partial=True)) == {
        "h/home_office/two": f"h/home_office/two.jpg is listed but absent from {root / 'images'}"
    }


# ------------------------------------------------------------------------------------------------------ missing text


def test_utterances_without_text(root: Path) -> None:
    texts: dict[str, list[Any]] = {
        **TRAIN,
        "b/bedroom/one.jpg": ["", " a bed "],
        "h/home_office/two.jpg": [None],
    }
    write_utterances(root / "metadata/train.json", texts)
    assert bad(places.read(root)) == {"h/home_office/two": "none of its utterances has an asr_text"}
    first = next(iter(places.read(root).samples))
    assert isinstance(first, Sample)
    assert first.captions == ("a bed",)
    assert first.recordings == (Recording(0, root / "wavs/7/one_1.wav"),)


def test_speech_of_a_language_without_writing(root: Path) -> None:
    content = json.loads((root / "metadata/train.json").read_text())
    for utterance in content["data"]:
        del utterance["asr_text"]
    (root / "metadata/train.json").write_text(json.dumps(content))
    first, second, *_ = good(places.read(root, captions_from_class_names=True))
    assert first.captions == ("a bedroom",)
    assert first.recordings == (
        Recording(0, root / "wavs/7/one_0.wav"),
        Recording(0, root / "wavs/7/one_1.wav"),
    )
    assert second.captions == ("a home office",)
    assert places.sentence_of("airport/terminal") == "an airport terminal"


# ------------------------------------------------------------------------------------------------------ broken files


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", r"train\.json is not a file of Places audio captions: Invalid JSON"),
        ("[]", r"train\.json is not a file of Places audio captions"),
        ('{"data": []}', r"train\.json lists no utterance"),
        ('{"data": [{"image": "a.jpg"}]}', r"audio captions: data\.0\.wav: Field required"),
        ('{"data": [{"wav": "a.wav", "image": "../a.jpg"}]}', r"utterance 0: .* folder of images"),
        ('{"data": [{"wav": "/a.wav", "image": "a.jpg"}]}', r"utterance 0: .* folder of recordings"),
    ],
)
def test_a_malformed_file(root: Path, content: str, message: str) -> None:
    (root / "metadata/train.json").write_text(content)
    with pytest.raises(DataError, match=message):
        places.read(root)


def test_missing_files(root: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is not a folder") as caught:
        places.read(tmp_path / "nowhere")
    assert "https://groups.csail.mit.edu/sls/downloads/placesaudio/" in str(caught.value.hint)
    with pytest.raises(DataError, match=r"nothing\.json is missing"):
        places.read(root, train=root / "nothing.json")


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.text(max_size=20), image=st.text(max_size=20), wav=st.text(max_size=20))
def test_any_names_give_a_sample_or_a_message(root: Path, text: str, image: str, wav: str) -> None:
    entry = {"asr_text": text, "image": image, "wav": wav}
    (root / "metadata/train.json").write_text(json.dumps({"data": [entry]}))
    try:
        samples = list(places.read(root, classes=None, partial=True).samples)
    except DataError as error:
        assert str(root / "metadata/train.json") in str(error)  # noqa: PT017 - most names are fine
    else:
        assert len(samples) in (2, 3)
