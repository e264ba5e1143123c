"""Speech as a source: recordings, texts that are spoken by a machine, utterances of a dataset.

Files and texts are heard before the first image is drawn, so that one bad file does not end a long run. Only the vector
of each is kept.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gancli.data.audio import UnusableSpeech, load_audio, log_mel
from gancli.data.shards import Split
from gancli.data.text_to_speech import Synthesizer, Voice, choose_voices, find_synthesizer
from gancli.encoders.speech import encode_mels
from gancli.errors import DataError, UsageError
from gancli.hashes import file_hash
from gancli.inference.fusion_s2igan import LoadedFusionS2iGan
from gancli.inference.loaded import LoadedModel
from gancli.sampling.conditions import (
    Conditions,
    DrawSettings,
    hears,
    nothing_to_draw,
    one_or_many,
    refuse_attributes,
)
from gancli.sampling.requests import Request, with_variants
from gancli.sampling.sentences import drawn_from, variants_sheet

T = TypeVar("T")

EXTENSIONS = frozenset({".wav", ".flac", ".ogg", ".mp3"})
LONG_SECONDS = 60.0  # a warning beyond it: spoken captions last some seconds
_LISTED = 10  # unusable clips named in the message


@dataclass(frozen=True)
class Speech:
    """Recordings, then texts that are spoken, for a model of spoken captions.

    Attributes:
        wavs: Audio files, or folders of them.
        texts: Sentences for a synthesizer to speak.
        voice: Voice by the synthesizer's name; None for its default.
        speed: Speed in words per minute; None for the default.
        command: Program that speaks, as `gancli prepare --tts-cmd` takes it; None for eSpeak NG.
    """

    wavs: str | Path | Sequence[str | Path] = ()
    texts: str | Sequence[str] = ()
    voice: str | None = None
    speed: int | None = None
    command: str | None = None

    def open(self, model: LoadedModel, settings: DrawSettings) -> Conditions:
        listener = need_listener(model)
        wavs = [Path(path) for path in one_or_many(self.wavs)]
        texts = [text.strip() for text in one_or_many(self.texts)]
        if not wavs and not texts:
            raise nothing_to_draw(model)
        if not all(texts):
            raise UsageError("a text to be spoken is empty")
        if not texts and (self.voice, self.speed, self.command) != (None, None, None):
            raise UsageError(
                "a voice, a speed and a command go with a text to be spoken",
                'Say --speak "a small red bird".',
            )
        clips = hear_files(wavs, listener)
        spoken_by: str | None = None
        if texts:
            synthesizer = find_synthesizer(self.command)
            voices = [] if self.voice is None else [self.voice]
            (voice,) = choose_voices(synthesizer, voices, [] if self.speed is None else [self.speed])
            clips += hear_texts(texts, listener, synthesizer, voice)
            spoken_by = f"{synthesizer.backend} {synthesizer.version}"
        warnings = [
            f"{clip.request.label}: lasts {clip.seconds:,.0f} s, spoken captions some seconds"
            for clip in clips
            if clip.seconds > LONG_SECONDS
        ]
        return Conditions(
            listener,
            with_variants([clip.request for clip in clips], settings.variants),
            drawn_from(listener, _heard(clips)),
            warnings,
            sheet=variants_sheet(settings),
            record={"synthesizer": spoken_by},
        )


@dataclass(frozen=True)
class Clip:
    """A recording or spoken text, heard."""

    request: Request  # the image to be drawn of it
    vector: Tensor  # (1, E)
    seconds: float


def need_listener(model: LoadedModel) -> LoadedFusionS2iGan:
    """Return a model that hears captions.

    Raises:
        UsageError: It reads them, or draws attributes.
    """
    refuse_attributes(model)
    listener = hears(model)
    if listener is None:
        raise UsageError(
            f"{model.folder}: reads captions and hears none: it was trained on text",
            'Say --text "a small red bird", --captions FILE, or --data DIR.',
        )
    return listener


def hear_files(paths: Sequence[Path], model: LoadedFusionS2iGan) -> list[Clip]:
    """Return audio files as clips, those of a folder by name.

    Raises:
        DataError: Files are missing, no audio, empty, cut short or silent (all are named), or a folder has none.
    """

    def hear(path: Path) -> Clip:
        waveform, rate = load_audio(path)
        return _clip(model, waveform, rate, Request("", audio=str(path), audio_sha256=file_hash(path)))

    hint = "Write it as plain wav (ffmpeg -i FILE.any FILE.wav), or leave it out."
    return _each(_expand(paths), hear, hint)


def hear_texts(
    texts: Sequence[str], model: LoadedFusionS2iGan, synthesizer: Synthesizer, voice: Voice
) -> list[Clip]:
    """Return texts as clips, each spoken by a machine.

    Raises:
        DataError: There is nothing in a text to be spoken; all such texts are named.
        RunError: The synthesizer has failed.
    """

    def hear(text: str) -> Clip:
        waveform, rate = synthesizer.speak(text, voice)
        digest = hashlib.sha256(waveform.tobytes()).hexdigest()
        return _clip(model, waveform, rate, Request(text, audio_sha256=digest, voice=str(voice)))

    return _each(texts, hear, "Write a sentence.")


def utterances(split: Split, model: LoadedFusionS2iGan) -> Callable[[Sequence[Request]], Tensor]:
    """Return the vectors of a dataset's spoken captions: the own one of each request, or that of another image."""
    assert model.speech is not None
    network = model.speech

    def look_up(requests: Sequence[Request]) -> Tensor:
        mels = []
        for request in requests:
            index, utterance = request.heard or (request.index, request.position)
            assert index is not None  # a dataset's request
            assert utterance is not None
            mels.append(split.utterance(index, utterance))
        return encode_mels(network, mels)

    return look_up


def mismatched_speech(requests: Sequence[Request], split: Split, seed: int) -> list[Request]:
    """Return the requests to be drawn from the speech of another image, of another class where there is one.

    Raises:
        UsageError: There is one image only.
    """
    if len(split) < 2:
        raise UsageError(
            f"{split.folder}: the split {split.name!r} has one image, and so no speech of another one"
        )
    counts = split.speech_counts()
    rng = np.random.default_rng([seed, len(requests)])
    every = np.arange(len(split))
    result = []
    for request in requests:
        others = every[(split.class_ids != request.class_id) & (counts > 0)]
        if len(others) == 0:
            others = every[(every != request.index) & (counts > 0)]
        index = int(rng.choice(others))
        result.append(replace(request, heard=(index, int(rng.integers(counts[index])))))
    return result


def _clip(model: LoadedFusionS2iGan, waveform: NDArray[np.float32], rate: int, request: Request) -> Clip:
    assert model.speech is not None
    assert model.mel is not None
    vector = encode_mels(model.speech, [log_mel(waveform, rate, model.mel)])
    return Clip(request, vector, len(waveform) / rate)


def _heard(clips: Sequence[Clip]) -> Callable[[Sequence[Request]], Tensor]:
    rows = {clip.request.audio_sha256: row for row, clip in enumerate(clips)}
    vectors = torch.cat([clip.vector for clip in clips])
    return lambda requests: vectors[[rows[request.audio_sha256] for request in requests]]


def _each(items: Sequence[T], hear: Callable[[T], Clip], hint: str) -> list[Clip]:
    clips, problems = [], []
    for item in items:
        try:
            clips.append(hear(item))
        except UnusableSpeech as error:
            problems.append(f"{item}: {error}")
    if problems:
        more = [f"… and {len(problems) - _LISTED} more"] if len(problems) > _LISTED else []
        raise DataError("\n".join(problems[:_LISTED] + more), hint)
    return clips


def _expand(paths: Sequence[Path]) -> list[Path]:
    files: list[Path] = []
    for path in paths:
        if not path.is_dir():
            files.append(path)
            continue
        audio = (file for file in path.iterdir() if file.suffix.lower() in EXTENSIONS)
        inside = sorted(file for file in audio if file.is_file())
        if not inside:
            raise DataError(f"{path}: no audio file in it", f"Looked for {', '.join(sorted(EXTENSIONS))}.")
        files += inside
    return files
