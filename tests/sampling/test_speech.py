"""Images from speech: audio files, spoken texts, utterances of a dataset and of other images; what is refused."""

import csv
import dataclasses
import sys

import numpy as np
import pytest
import soundfile
import torch

from gancli.data.audio import MelSettings, read_audio, read_mel
from gancli.data.shards import Dataset
from gancli.encoders.speech import encode_mels
from gancli.errors import DataError, UsageError
from gancli.figures import to_uint8
from gancli.hashes import file_hash
from gancli.inference.load import load_model
from gancli.sampling.captions import DatasetCaptions
from gancli.sampling.noise import image_noise
from gancli.sampling.requests import Request
from gancli.sampling.sample import sample
from gancli.sampling.samples_folder import SAMPLES, read_samples, read_sampling
from gancli.sampling.sentences import Interpolation, Sentences
from gancli.sampling.speech import Speech, hear_files, mismatched_speech
from gancli.scores.image_sets import open_images
from gancli.scores.results import ScoreRow
from gancli.scores.tables import read_paper, read_published
from gancli.scores.tables.placing import row_name
from tests.conftest import write_spoken

RATE = 8000


def write_wav(path, seed, seconds=0.6, rate=RATE, **options):
    rng = np.random.default_rng(seed)
    times = np.arange(int(seconds * rate)) / rate
    tones = sum(np.sin(2 * np.pi * tone * times) for tone in rng.uniform(100, 3000, 4))
    soundfile.write(path, 0.2 * tones + rng.normal(0, 0.01, len(times)), rate, **options)
    return path


@pytest.fixture
def wavs(tmp_path):
    return [write_wav(tmp_path / f"clip{number}.wav", number) for number in range(3)]


# A program in the place of a synthesizer: the text is the seed of a tone, "..." is silent
PROGRAM = """
import sys, zlib
import numpy, soundfile
text = open(sys.argv[1], encoding="utf-8").read().strip()
pitch = 200 + zlib.crc32(text.encode()) % 2000
loud = 0.0 if text == "..." else 0.3
tone = loud * numpy.sin(2 * numpy.pi * pitch * numpy.arange(6000) / 8000)
soundfile.write(sys.argv[2], tone, 8000)
"""


@pytest.fixture
def tts_command(tmp_path):
    (tmp_path / "speak.py").write_text(PROGRAM)
    return f"{sys.executable} {tmp_path / 'speak.py'} {{text_file}} {{wav_file}}"


def records(folder):
    return list(csv.DictReader((folder / SAMPLES).open()))


def pixels(folder):
    return [image for batch in open_images(str(folder)).batches(50) for image in batch]


def assert_alike(found, expected):
    """The same images but for the rounding of sums in batches of another size."""
    difference = np.stack(found).astype(int) - np.stack(expected)
    assert np.abs(difference).max() <= 1


# --- audio files ----------------------------------------------------------------------------------------------


def test_a_image_of_each_file_and_where_it_comes_from(tiny_fusion_s2igan, wavs, tmp_path):
    out = tmp_path / "out"
    report = sample(tiny_fusion_s2igan, source=Speech(wavs), out=out, seed=3)
    assert [file.name for file in report.files] == [f"000{n}-clip{n}.png" for n in range(3)]
    rows = records(out)
    assert [row["audio"] for row in rows] == [str(path) for path in wavs]
    assert [row["audio_sha256"] for row in rows] == [file_hash(path) for path in wavs]
    assert {(row["caption"], row["voice"], row["utterance"], row["heard_key"]) for row in rows} == {
        ("", "", "", "")
    }
    sampling = read_sampling(out)
    assert (sampling.method, sampling.synthesizer, sampling.mismatched) == ("Fusion-S2iGan", None, False)
    assert [record.audio for record in read_samples(out)] == [str(path) for path in wavs]


def test_the_images_are_those_of_the_networks(tiny_fusion_s2igan, wavs, tmp_path):
    sample(tiny_fusion_s2igan, source=Speech(wavs), out=tmp_path / "out", seed=3, batch=2)
    model = load_model(tiny_fusion_s2igan)
    requests = [clip.request for clip in hear_files(wavs, model)]
    mels = [read_mel(path, MelSettings(bands=8)) for path in wavs]
    drawing = model.draw_sentences(
        encode_mels(model.speech, mels), image_noise(requests, model.noise_dims, 3)
    )
    expected = to_uint8(drawing.images[-1])
    assert_alike(pixels(tmp_path / "out"), expected)
    assert len({image.tobytes() for image in expected}) == 3


def test_a_file_gives_the_same_image_whatever_it_is_called_and_drawn_with(tiny_fusion_s2igan, wavs, tmp_path):
    sample(tiny_fusion_s2igan, source=Speech(wavs), out=tmp_path / "all")
    moved = wavs[2].rename(tmp_path / "moved.wav")
    sample(tiny_fusion_s2igan, source=Speech([moved]), out=tmp_path / "one", batch=1)
    assert_alike(pixels(tmp_path / "one"), pixels(tmp_path / "all")[2:])


def test_a_folder_of_files_and_variants(tiny_fusion_s2igan, wavs, tmp_path):
    (tmp_path / "notes.txt").write_text("not audio")
    out = tmp_path / "images"
    report = sample(tiny_fusion_s2igan, source=Speech([tmp_path]), out=out, variants=2, figures="variants")
    assert [row["audio"] for row in records(out)] == [str(path) for path in wavs for _ in range(2)]
    assert report.figure_names == ("figures/variants.png",)
    assert len({image.tobytes() for image in pixels(out)}) == 6
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="no audio file in it"):
        sample(tiny_fusion_s2igan, source=Speech([tmp_path / "empty"]), out=tmp_path / "none")


def test_any_rate_width_and_number_of_channels(tiny_fusion_s2igan, tmp_path):
    write_wav(tmp_path / "low.wav", 1, rate=8000, subtype="PCM_U8")
    write_wav(tmp_path / "high.wav", 1, rate=48000, subtype="FLOAT")
    waveform, rate = read_audio(write_wav(tmp_path / "mono.wav", 1))
    soundfile.write(tmp_path / "stereo.wav", np.stack([waveform, waveform], axis=1), rate, subtype="PCM_24")
    names = ("low", "high", "mono", "stereo")
    source = Speech([tmp_path / f"{name}.wav" for name in names])
    report = sample(tiny_fusion_s2igan, source=source, out=tmp_path / "out")
    assert len(report.files) == 4


def test_a_long_file_is_drawn_with_a_warning(tiny_fusion_s2igan, tmp_path):
    long = write_wav(tmp_path / "long.wav", 1, seconds=62)
    report = sample(tiny_fusion_s2igan, source=Speech([long]), out=tmp_path / "out")
    assert any("long.wav: lasts 62 s" in warning for warning in report.warnings)


def test_every_unusable_file_is_named_before_anything_is_drawn(tiny_fusion_s2igan, wavs, tmp_path):
    def bad(name, content):
        (tmp_path / name).write_bytes(content)
        return tmp_path / name

    whole = wavs[0].read_bytes()
    files = [
        bad("empty.wav", b""),
        bad("cut.wav", whole[: len(whole) // 2]),
        bad("text.wav", b"this is no audio at all, whatever its name says"),
        tmp_path / "absent.wav",
    ]
    soundfile.write(tmp_path / "silent.wav", np.zeros(8000), RATE)
    soundfile.write(tmp_path / "nothing.wav", np.zeros(0), RATE)
    files += [tmp_path / "silent.wav", tmp_path / "nothing.wav"]
    with pytest.raises(DataError) as error:
        sample(tiny_fusion_s2igan, source=Speech([wavs[0], *files]), out=tmp_path / "out")
    lines = str(error.value).splitlines()
    assert [line.partition(": ")[0] for line in lines] == [str(path) for path in files]
    for line, words in zip(
        lines, ("empty", "cut short", "not an audio file", "missing", "silent", "no sound"), strict=True
    ):
        assert words in line
    assert "ffmpeg" in str(error.value.hint)
    assert not (tmp_path / "out").exists()
    with pytest.raises(DataError, match="and 2 more"):
        sample(tiny_fusion_s2igan, out=tmp_path / "out", source=Speech(files * 2))


# --- texts that are spoken ------------------------------------------------------------------------------------


def test_a_text_is_spoken_and_drawn(tiny_fusion_s2igan, wavs, tts_command, tmp_path):
    out = tmp_path / "out"
    texts = ["a small red bird", " the bird is blue "]
    report = sample(tiny_fusion_s2igan, source=Speech(wavs[:1], texts, command=tts_command), out=out)
    assert [file.name for file in report.files[1:]] == [
        "0001-a-small-red-bird.png",
        "0002-the-bird-is-blue.png",
    ]
    rows = records(out)
    assert [row["caption"] for row in rows] == ["", "a small red bird", "the bird is blue"]
    assert [bool(row["voice"]) for row in rows] == [False, True, True]
    assert len({row["audio_sha256"] for row in rows}) == 3
    assert read_sampling(out).synthesizer.startswith("command ")
    assert len({image.tobytes() for image in pixels(out)}) == 3


def test_an_interrupted_call_is_not_continued_in_another_voice(tiny_fusion_s2igan, tts_command, tmp_path):
    command = f"{tts_command} {{voice}}"
    (tmp_path / "speak.py").write_text(PROGRAM.replace("200 + ", "20 * len(sys.argv[3]) + "))

    def draw(voice):
        source = Speech(texts=["a bird", "a red bird"], voice=voice, command=command)
        return sample(tiny_fusion_s2igan, source=source, out=tmp_path / "out")

    files = draw("low").files
    (tmp_path / "out" / SAMPLES).unlink()
    files[1].unlink()
    with pytest.raises(UsageError, match="holds images already"):
        draw("higher")
    assert draw("low").made == 1


def test_texts_that_cannot_be_spoken(tiny_fusion_s2igan, tts_command, tmp_path):
    def draw(*texts, **options):
        source = Speech(texts=texts, command=tts_command, **options)
        sample(tiny_fusion_s2igan, source=source, out=tmp_path / "out")

    with pytest.raises(DataError, match=r"^\.\.\.: is silent"):
        draw("a bird", "...")
    with pytest.raises(UsageError, match="is empty"):
        draw("a bird", " ")
    with pytest.raises(UsageError, match=r"no field \{voice\}"):
        draw("a bird", voice="en-gb")
    assert not (tmp_path / "out").exists()


# --- datasets -------------------------------------------------------------------------------------------------


def test_the_utterances_of_a_dataset(tiny_fusion_s2igan, tiny_spoken, tmp_path):
    out = tmp_path / "out"
    sample(tiny_fusion_s2igan, out=out, source=DatasetCaptions(tiny_spoken), seed=1)
    split = Dataset.open(tiny_spoken).split("test")
    rows = records(out)
    assert sorted(row["key"] for row in rows) == sorted(split.keys)
    for row in rows:
        index = split.find(row["key"])
        number = split.speech_captions(index)[int(row["utterance"])]
        assert row["caption"] == split.captions(index)[number]
        assert row["heard_key"] == ""


def test_each_image_is_of_the_speech_of_its_own_image_or_of_another(
    tiny_fusion_s2igan, tiny_spoken, tmp_path
):
    split = Dataset.open(tiny_spoken).split("test")
    model = load_model(tiny_fusion_s2igan)
    images = {}
    for mismatched in (False, True):
        out = tmp_path / str(mismatched)
        source = DatasetCaptions(tiny_spoken, captions_per_image=2, mismatched=mismatched)
        sample(tiny_fusion_s2igan, source=source, out=out)
        requests = source.choose(Dataset.open(tiny_spoken), 0, spoken=True)
        rows = records(out)
        heard = [row["heard_key"] or row["key"] for row in rows]
        mels = [
            split.speech(split.find(key))[int(row["utterance"])] for key, row in zip(heard, rows, strict=True)
        ]
        vectors = torch.cat([encode_mels(model.speech, [mel]) for mel in mels])
        drawing = model.draw_sentences(vectors, image_noise(requests, model.noise_dims, 0))
        images[mismatched] = np.stack(pixels(out))
        assert_alike(images[mismatched], to_uint8(drawing.images[-1]))
        assert [row["caption"] for row in rows] == [request.caption for request in requests]
        for row in rows:
            assert bool(row["heard_key"]) == mismatched
            if mismatched:  # of another class
                own, other = (split.class_ids[split.find(row[name])] for name in ("key", "heard_key"))
                assert own != other
    assert (images[False] != images[True]).any(axis=(1, 2, 3)).all()
    sampling = read_sampling(tmp_path / "True")
    assert sampling.mismatched
    assert (sampling.method, sampling.captions_per_image) == ("Fusion-S2iGan", 2)
    assert sampling.described_method == "Fusion-S2iGan, speech of other images"


class OneClass:
    """A split of three images of one class, the second without speech."""

    folder, name = "data", "test"
    class_ids = np.array([0, 0, 0])

    def __len__(self):
        return 3

    def speech_counts(self):
        return np.array([2, 0, 5])


def test_in_one_class_another_image_is_heard():
    requests = [Request("a bird", "a", 0, index=0, position=0)] * 20
    heard = {request.heard for request in mismatched_speech(requests, OneClass(), 0)}
    assert {index for index, _ in heard} == {2}
    assert {utterance for _, utterance in heard} <= set(range(5))
    assert mismatched_speech(requests, OneClass(), 0) == mismatched_speech(requests, OneClass(), 0)


def test_several_voices_of_one_caption_count_once_in_turn_and_may_all_be_drawn_at_random():
    class TwoVoices:
        folder, name, keys = "data", "test", ("a",)
        class_ids = np.array([0])

        def __len__(self):
            return 1

        def captions(self, index):
            return ["first", "second"]

        def speech_captions(self, index):
            return np.array([0, 0, 1, 1])

    class Spoken:
        def split(self, name):
            return TwoVoices()

    def requests(**options):
        return DatasetCaptions("data", **options).choose(Spoken(), 0, spoken=True)

    assert [(r.caption, r.position) for r in requests(captions_per_image=5)] == [("first", 0), ("second", 2)]
    assert {(r.caption, r.position) for r in requests(n=60)} == {
        ("first", 0),
        ("first", 1),
        ("second", 2),
        ("second", 3),
    }


def test_datasets_that_cannot_be_heard(tiny_fusion_s2igan, tiny_dataset, tmp_path):
    out = tmp_path / "out"
    with pytest.raises(DataError, match="its captions are not spoken"):
        sample(tiny_fusion_s2igan, out=out, source=DatasetCaptions(tiny_dataset))
    other = write_spoken(tiny_dataset, tmp_path / "other", MelSettings(bands=8, hop_ms=20))
    with pytest.raises(DataError, match="hop_ms 20 instead of 10"):
        sample(tiny_fusion_s2igan, out=out, source=DatasetCaptions(other))
    assert not out.exists()


# --- models that read and models that hear --------------------------------------------------------------------


@pytest.mark.parametrize("source", [Sentences("a bird"), Interpolation("a bird", "a red bird")])
def test_a_model_that_hears_reads_no_text(tiny_fusion_s2igan, tmp_path, source):
    with pytest.raises(UsageError, match="hears captions and reads none") as error:
        sample(tiny_fusion_s2igan, source=source, out=tmp_path / "out")
    assert "--speak" in error.value.hint


@pytest.mark.parametrize(
    "source", [Speech(texts="a bird"), Speech("a.wav"), DatasetCaptions("data", mismatched=True)]
)
@pytest.mark.parametrize("model", ["tiny_model", "tiny_stackgan", "tiny_dfgan"])
def test_a_model_that_reads_hears_nothing(model, tmp_path, source, request):
    with pytest.raises(UsageError, match="reads captions and hears none") as error:
        sample(request.getfixturevalue(model), source=source, out=tmp_path / "out")
    assert "--text" in error.value.hint


def test_what_does_not_go_together(tiny_fusion_s2igan, tiny_spoken, tmp_path):
    def refused(source=None, **given):
        with pytest.raises(UsageError) as error:
            sample(tiny_fusion_s2igan, source=source, out=tmp_path / "out", **given)
        return str(error.value)

    assert "nothing to draw" in refused()
    assert "nothing to draw" in refused(Speech())
    assert "with a text to be spoken" in refused(Speech("a.wav", voice="en-us"))
    assert "no word attention" in refused(DatasetCaptions(tiny_spoken), figures="attention")
    assert "is not needed" in refused(DatasetCaptions(tiny_spoken, embeddings="a.npz"))
    assert not (tmp_path / "out").exists()


def test_dfgan_reads_captions_and_varies_in_its_noise(tiny_dfgan, tiny_dataset, tmp_path):
    report = sample(
        tiny_dfgan, out=tmp_path / "out", source=DatasetCaptions(tiny_dataset), variants=2, vary="noise"
    )
    assert len(report.files) == 24
    assert len({image.tobytes() for image in pixels(tmp_path / "out")}) == 24
    with pytest.raises(UsageError, match="no conditioning augmentation"):
        sample(tiny_dfgan, out=tmp_path / "other", texts=["a bird"], variants=2, vary="condition")


def test_dfgan_goes_from_one_sentence_to_another(tiny_dfgan, tmp_path):
    source = Interpolation("a white bird", "a black bird", steps=3)
    report = sample(tiny_dfgan, source=source, out=tmp_path / "out")
    assert len(report.files) == 3
    assert report.sampling.method == "DF-GAN"


@pytest.mark.parametrize(
    ("arguments", "method", "table", "name"),
    [
        ({}, "Fusion-S2iGan", "3", "PAM"),
        ({"attention": "bam"}, "Fusion-S2iGan, attention bam", "3", "BAM"),
        ({"fusion": "mul"}, "Fusion-S2iGan, fusion mul", "4", "Product"),
        ({"block": "dfgan", "attention": "bam"}, "Fusion-S2iGan, block dfgan", "5", "DF-GAN"),
        ({"modules": 1}, "Fusion-S2iGan, modules 1", "6", "single-module"),
        ({"modules": 1, "block": "dtgan-approx"}, "Fusion-S2iGan, block dtgan-approx, modules 1", "5", None),
    ],
)
def test_a_substitute_has_the_name_that_the_papers_tables_know(
    tiny_fusion_s2igan, arguments, method, table, name
):
    model = load_model(tiny_fusion_s2igan)
    settings = {**model.settings, "generator": {**model.settings["generator"], **arguments}}
    substitute = dataclasses.replace(model, settings=settings)
    assert substitute.method == method
    paper = read_paper("fusion-s2igan")
    (each,) = [each for each in paper.tables if each.number == table]
    score = ScoreRow(
        dataset="cub",
        method=method,
        model="runs/1",
        model_hash="a",
        kind="fusion-s2igan",
        ablation=substitute.ablation,
        metric="fid",
        value=1.0,
        n_real=1,
        n_fake=1,
        protocol="-",
    )
    names = {number.method for number in read_published("fusion-s2igan") if number.table == table}
    assert row_name(score, paper, each, names) == name
