"""Spoken captions through `prepare`: what lands in the shards, the same bytes every time, and clips that are bad."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from gancli.data.audio import MelSettings, UnusableSpeech, log_mel
from gancli.data.preparation.options import PrepareOptions, SpeechOptions
from gancli.data.preparation.plan import make_plan
from gancli.data.preparation.prepare import prepare
from gancli.data.shards import Dataset
from gancli.data.source import BadSample, Recording, Sample, Source
from gancli.data.sources import cub
from gancli.data.text import Vocabulary
from gancli.data.text_to_speech import Voice
from gancli.data.verify import verify
from gancli.errors import DataError, UsageError

VOICES = Voice("low", 120), Voice("high", 240)


class Whistle:
    """A synthesizer that whistles: higher for another voice, shorter when faster, longer for longer texts."""

    backend = "whistle"
    version = "1"
    fields = frozenset(("voice", "speed"))

    def __init__(self, refuses: str = "\n") -> None:
        self.refuses = refuses

    def speak(self, text: str, voice: Voice) -> tuple[NDArray[np.float32], int]:
        if self.refuses in text:
            raise UnusableSpeech("cannot be said")
        time = np.arange(len(text) * 100_000 // voice.speed) / 16000
        pitch = {"low": 300, "high": 700}[voice.name]
        tone: NDArray[np.float32] = (0.3 * np.sin(2 * np.pi * pitch * time) * (time % 0.2 < 0.1)).astype(
            np.float32
        )
        return tone, 16000


def with_wavs(source: Source, folder: Path, skip: tuple[int, int] = (-1, -1)) -> Source:
    """The source with a wav of every caption, but one of one image."""
    folder.mkdir(exist_ok=True)

    def samples() -> Iterator[Sample | BadSample]:
        for number, sample in enumerate(source.samples):
            assert isinstance(sample, Sample)
            recordings = []
            for caption in range(len(sample.captions)):
                path = folder / f"{sample.key.replace('/', '_')}_{caption}.wav"
                noise = np.random.default_rng((number, caption)).uniform(-0.5, 0.5, 5000 + 100 * caption)
                soundfile.write(path, noise, 16000)
                if (number, caption) != skip:
                    recordings.append(Recording(caption, path))
            yield replace(sample, recordings=tuple(recordings))

    return replace(source, samples=samples())


def contents(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def test_every_voice_speaks_every_caption(tiny_raw_cub: Path, tmp_path: Path) -> None:
    speech = SpeechOptions(Whistle(), VOICES, MelSettings(sample_rate=16000), keep_audio=True)
    report = prepare(cub.read(tiny_raw_cub), tmp_path / "out", PrepareOptions(image_size=16, speech=speech))
    assert report.utterances == {"train": 72, "test": 72}
    assert verify(tmp_path / "out") == []
    dataset = Dataset.open(tmp_path / "out")
    entry = dataset.manifest.speech
    assert entry is not None
    assert (entry.backend, entry.version, entry.audio) == ("whistle", "1", True)
    assert (entry.voices, entry.speeds) == (("low", "high"), (120, 240))
    assert entry.utterances == report.utterances
    split = dataset.split("train")
    assert split.speech_counts().tolist() == [6] * 12
    assert split.speech_captions(3).tolist() == [0, 0, 1, 1, 2, 2]
    spoken = [Whistle().speak(caption, voice) for caption in split.captions(3) for voice in VOICES]
    for mel, (kept, rate), (waveform, _) in zip(split.speech(3), split.audio(3), spoken, strict=True):
        assert rate == 16000
        assert np.abs(kept - waveform).max() <= 0.5 / 32768
        assert np.array_equal(mel, log_mel(waveform, rate, entry.mel).astype(np.float16))


def test_images_are_the_same_with_speech_and_without(tiny_raw_cub: Path, tmp_path: Path) -> None:
    prepare(cub.read(tiny_raw_cub), tmp_path / "plain", PrepareOptions(image_size=16))
    speech = SpeechOptions(Whistle(), VOICES[:1])
    prepare(cub.read(tiny_raw_cub), tmp_path / "spoken", PrepareOptions(image_size=16, speech=speech))
    plain, spoken = (Dataset.open(tmp_path / name).split("test") for name in ("plain", "spoken"))
    assert plain.keys == spoken.keys
    for index in range(len(plain)):
        assert np.array_equal(plain.image(index), spoken.image(index))
        assert plain.captions(index) == spoken.captions(index)


@pytest.mark.parametrize("recorded", [False, True])
def test_any_number_of_jobs_gives_the_same_bytes(tiny_raw_cub: Path, tmp_path: Path, recorded: bool) -> None:
    for jobs in (1, 2):
        source = cub.read(tiny_raw_cub)
        if recorded:
            source, speech = with_wavs(source, tmp_path / "wavs"), SpeechOptions(keep_audio=True)
        else:
            speech = SpeechOptions(Whistle(), VOICES)
        prepare(
            source,
            tmp_path / str(jobs),
            PrepareOptions(image_size=16, shard_images=7, speech=speech),
            jobs=jobs,
        )
    assert contents(tmp_path / "1") == contents(tmp_path / "2")


def test_a_stopped_run_is_continued(tiny_raw_cub: Path, tmp_path: Path) -> None:
    speech = SpeechOptions(Whistle(), VOICES)
    prepare(
        cub.read(tiny_raw_cub),
        tmp_path / "whole",
        PrepareOptions(image_size=16, shard_images=5, speech=speech),
    )

    class Stop(Exception):
        pass

    def stop(done: int, total: int) -> None:
        if done == 14:
            raise Stop

    with pytest.raises(Stop):
        prepare(
            cub.read(tiny_raw_cub),
            tmp_path / "out",
            PrepareOptions(image_size=16, shard_images=5, speech=speech),
            progress=stop,
        )
    other = replace(speech, voices=VOICES[:1])
    with pytest.raises(UsageError, match=r"voices: .*'low', 'high'.* there, .*'low'.* asked for"):
        prepare(
            cub.read(tiny_raw_cub),
            tmp_path / "out",
            PrepareOptions(image_size=16, shard_images=5, speech=other),
        )
    report = prepare(
        cub.read(tiny_raw_cub), tmp_path / "out", PrepareOptions(image_size=16, shard_images=5, speech=speech)
    )
    assert report.reused_shards == 3
    assert report.utterances == {"train": 72, "test": 72}
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")
    again = prepare(
        cub.read(tiny_raw_cub), tmp_path / "out", PrepareOptions(image_size=16, shard_images=5, speech=speech)
    )
    assert again.already_complete
    assert again.utterances == report.utterances


def test_other_settings_of_speech_are_refused_and_named(tiny_raw_cub: Path, tmp_path: Path) -> None:
    def run(speech: SpeechOptions | None) -> None:
        prepare(cub.read(tiny_raw_cub), tmp_path / "out", PrepareOptions(image_size=16, speech=speech))

    run(SpeechOptions(Whistle(), VOICES))
    with pytest.raises(UsageError, match=r"settings\n  speech: whistle 1 there, none asked for$"):
        run(None)
    with pytest.raises(UsageError, match=r"settings\n  cmvn: True there, False asked for$"):
        run(SpeechOptions(Whistle(), VOICES, MelSettings(cmvn=False)))
    with pytest.raises(UsageError, match=r"keep_audio: False there, True asked for"):
        run(SpeechOptions(Whistle(), VOICES, keep_audio=True))


def test_speech_cannot_be_added_to_a_finished_folder(tiny_raw_cub: Path, tmp_path: Path) -> None:
    prepare(cub.read(tiny_raw_cub), tmp_path / "out", PrepareOptions(image_size=16))
    speech = SpeechOptions(Whistle(), VOICES)
    with pytest.raises(UsageError, match=r"settings\n  speech: none there, whistle 1 asked for$"):
        prepare(cub.read(tiny_raw_cub), tmp_path / "out", PrepareOptions(image_size=16, speech=speech))


def test_a_caption_that_cannot_be_spoken(tiny_raw_cub: Path, tmp_path: Path) -> None:
    speech = SpeechOptions(Whistle(refuses="number 3."), VOICES)
    with pytest.raises(DataError, match="1 of 24 images") as caught:
        prepare(cub.read(tiny_raw_cub), tmp_path / "out", PrepareOptions(image_size=16, speech=speech))
    reason = "caption 1 ('this is a small black bird, number 3.'), spoken by low at 120, cannot be said"
    assert f"Bird_0003: {reason}" in str(caught.value)
    report = prepare(
        cub.read(tiny_raw_cub), tmp_path / "out", PrepareOptions(image_size=16, speech=speech), skip_bad=True
    )
    assert sum(report.utterances.values()) == 23 * 6
    assert verify(tmp_path / "out") == []


def test_recordings(tiny_raw_cub: Path, tmp_path: Path) -> None:
    source = with_wavs(cub.read(tiny_raw_cub), tmp_path / "wavs")
    prepare(source, tmp_path / "out", PrepareOptions(image_size=16, speech=SpeechOptions()))
    dataset = Dataset.open(tmp_path / "out")
    entry = dataset.manifest.speech
    assert entry is not None
    assert (entry.backend, entry.version, entry.voices, entry.speeds) == ("recorded", "", (), ())
    split = dataset.split("train")
    assert split.speech_captions(0).tolist() == [0, 1, 2]
    path = tmp_path / "wavs" / f"{split.keys[0].replace('/', '_')}_2.wav"
    expected = log_mel(*soundfile.read(path, dtype="float32"), MelSettings())
    assert np.array_equal(split.speech(0)[2], expected.astype(np.float16))


def test_a_caption_without_a_recording(tiny_raw_cub: Path, tmp_path: Path) -> None:
    source = with_wavs(cub.read(tiny_raw_cub), tmp_path / "wavs", skip=(4, 1))
    plan = make_plan(source, PrepareOptions(image_size=16, speech=SpeechOptions()))
    assert [bad.key.split("/")[1] for bad in plan.bad] == ["Bird_0005"]
    assert plan.bad[0].reason.startswith("caption 2 of 3 ('a black bird with a long bill")
    assert plan.bad[0].reason.endswith("is not recorded")
    with pytest.raises(DataError, match="no usable image") as caught:
        make_plan(cub.read(tiny_raw_cub), PrepareOptions(image_size=16, speech=SpeechOptions()))
    assert "is not recorded, nor are 2 others" in str(caught.value)


def test_recordings_follow_their_captions_when_one_is_left_out(tiny_raw_cub: Path, tmp_path: Path) -> None:
    """A caption without a known word is dropped, with its recording; the others keep theirs."""
    words = Vocabulary.build(["a bird with a bill and belly", "the bird is it has wings"])
    source = with_wavs(cub.read(tiny_raw_cub), tmp_path / "wavs")

    def first_is_foreign() -> Iterator[Sample | BadSample]:
        for sample in source.samples:
            assert isinstance(sample, Sample)
            yield replace(sample, captions=("zzz qqq", *sample.captions[1:]))

    prepare(
        replace(source, samples=first_is_foreign()),
        tmp_path / "out",
        PrepareOptions(image_size=16, vocabulary=words, speech=SpeechOptions(keep_audio=True)),
    )
    split = Dataset.open(tmp_path / "out").split("train")
    assert len(split.captions(0)) == 2
    assert split.speech_captions(0).tolist() == [0, 1]
    assert [len(waveform) for waveform, _ in split.audio(0)] == [5100, 5200]


def test_bad_recordings_are_listed_without_their_folder(tiny_raw_cub: Path, tmp_path: Path) -> None:
    source = with_wavs(cub.read(tiny_raw_cub), tmp_path / "wavs")
    plan = make_plan(source, PrepareOptions(image_size=16, speech=SpeechOptions()))
    wavs = sorted((tmp_path / "wavs").iterdir())
    wavs[0].write_bytes(b"")
    wavs[4].write_bytes(wavs[4].read_bytes()[:3000])
    soundfile.write(wavs[8], np.zeros(9000), 16000)
    wavs[11].unlink()
    source = replace(
        source, samples=iter([record.sample for shard in plan.shards for record in shard.records])
    )
    report = prepare(
        source, tmp_path / "out", PrepareOptions(image_size=16, speech=SpeechOptions()), skip_bad=True
    )
    assert len(report.bad) == 4
    for words in ("is an empty file", "is cut short", "is silent", "is missing"):
        assert sum(words in bad.reason for bad in report.bad) == 1
    assert all(str(tmp_path) not in bad.reason for bad in report.bad)


def test_shards_shrink_with_speech(tiny_raw_cub: Path) -> None:
    plain = make_plan(cub.read(tiny_raw_cub), PrepareOptions(image_size=16))
    spoken = make_plan(
        cub.read(tiny_raw_cub), PrepareOptions(image_size=16, speech=SpeechOptions(Whistle(), VOICES))
    )
    kept = SpeechOptions(Whistle(), VOICES, keep_audio=True)
    heard = make_plan(cub.read(tiny_raw_cub), PrepareOptions(image_size=16, speech=kept))
    assert plain.shard_images > spoken.shard_images > heard.shard_images
    assert plain.bytes < spoken.bytes < heard.bytes
    assert spoken.utterances == {"train": 72, "test": 72}
    assert plain.utterances == {"train": 0, "test": 0}
