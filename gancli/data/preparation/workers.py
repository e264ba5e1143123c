"""The work of `prepare` that takes time, image by image, in worker processes: images decoded, captions spoken."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from itertools import islice

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from gancli.data.audio import MelSettings, UnusableSpeech, Utterance, load_audio, log_mel
from gancli.data.images import Crop, Frame, UnusableImage, decode, encode
from gancli.data.manifest import Codec, SpeechEntry
from gancli.data.preparation.shared_memory import SharedSlots
from gancli.data.silhouettes import Fault, faults, read_silhouette
from gancli.data.source import BoundingBox, PartLocations, Recording, Sample
from gancli.data.text_to_speech import Synthesizer, Voice
from gancli.errors import RunError
from gancli.ops.memory import keep_freed_memory

CHUNK = 8  # images a worker gets at a time; with speech one, which takes as long
WAITING = 8  # chunks per worker that are rendered or waiting: what a worker does while a shard is written
ROOM = 2  # in the memory for images: for those that are on average up to twice as long as wide


@dataclass(frozen=True, slots=True)
class SpeechOptions:
    """How captions are spoken, and what is kept of it.

    Attributes:
        synthesizer: Speaks every caption; None where the source brings recordings.
        voices: Each speaks every caption (`text_to_speech.choose_voices`); empty for recordings.
        mel: What waveforms become.
        keep_audio: Keep the waveforms too, with 16 bits, at the rate they come in.
    """

    synthesizer: Synthesizer | None = None
    voices: tuple[Voice, ...] = ()
    mel: MelSettings = MelSettings()  # noqa: RUF009  (frozen)
    keep_audio: bool = False

    def entry(self, utterances: dict[str, int]) -> SpeechEntry:
        """What the manifest says of it; `utterances` are those of each split."""
        fields = self.synthesizer.fields if self.synthesizer else frozenset()
        return SpeechEntry(
            mel=self.mel,
            backend=self.synthesizer.backend if self.synthesizer else "recorded",
            version=self.synthesizer.version if self.synthesizer else "",
            voices=tuple(dict.fromkeys(voice.name for voice in self.voices)) if "voice" in fields else (),
            speeds=tuple(dict.fromkeys(voice.speed for voice in self.voices)) if "speed" in fields else (),
            audio=self.keep_audio,
            utterances=utterances,
        )


@dataclass(frozen=True, slots=True)
class Work:
    """An image to be rendered: its image, and the captions to be spoken or the recordings of them.

    Attributes:
        listed: Whether a list of good silhouettes names it; None where there is no such list.
    """

    sample: Sample
    captions: tuple[str, ...]
    recordings: tuple[Recording, ...]
    listed: bool | None = None


@dataclass(frozen=True, slots=True)
class Result:
    """An image as its shard holds it.

    Attributes:
        image: The stored bytes.
        shape: (H, W).
        utterances: Of its captions.
        silhouette: Probabilities (H, W) and their faults; None where there is none.
    """

    image: NDArray[np.uint8]
    shape: tuple[int, int]
    utterances: list[Utterance]
    silhouette: tuple[NDArray[np.uint8], int] | None = None


class _RecordRenderer:
    """Renders one image after the other."""

    def __init__(self, side: int, codec: Codec, crop: Crop, speech: SpeechOptions | None) -> None:
        self._side = side
        self._codec: Codec = codec
        self._crop: Crop = crop
        self._speech = speech

    def __call__(self, work: Work) -> Result | str:
        """Image and utterances, or the reason why there are none."""
        try:
            sample = work.sample
            image = decode(sample.image)
            frame = Frame.of(sample.image.name, image.size, sample.box, self._side, self._crop)
            stored = frame.apply(image)
            return Result(
                encode(stored, self._codec),
                (stored.height, stored.width),
                [] if self._speech is None else self._speak(work, self._speech),
                _segment(sample, image, frame, work.listed),
            )
        except (UnusableImage, UnusableSpeech) as error:
            return str(error)

    def _speak(self, work: Work, speech: SpeechOptions) -> list[Utterance]:
        if speech.synthesizer is None:
            return [
                _utterance(recording.caption, *load_audio(recording.path), recording.path.name, speech)
                for recording in work.recordings
            ]
        utterances = []
        for number, caption in enumerate(work.captions):
            for voice in speech.voices:
                name = f"caption {number + 1} ({caption[:60]!r}), spoken by {voice},"
                try:
                    waveform, rate = speech.synthesizer.speak(caption, voice)
                except UnusableSpeech as error:
                    raise UnusableSpeech(f"{name} {error}") from None
                utterances.append(_utterance(number, waveform, rate, name, speech))
        return utterances


def _segment(
    sample: Sample, image: Image.Image, frame: Frame, listed: bool | None
) -> tuple[NDArray[np.uint8], int] | None:
    """Probabilities of the stored part of an image and their faults; None where the sample asks for none."""
    if sample.silhouette is None:
        return None
    if isinstance(sample.silhouette, PartLocations):
        from gancli.data.silhouette_estimate import (
            estimate_silhouette,
        )  # half a second that no other worker needs

        box = sample.box or BoundingBox(0, 0, image.width, image.height)
        whole = estimate_silhouette(np.asarray(image), box, sample.silhouette.points)
    elif sample.silhouette.exists():
        whole = read_silhouette(sample.silhouette, image.size)
    else:
        return np.zeros(frame.size[::-1], np.uint8), int(Fault.MISSING)
    stored = np.asarray(frame.apply(Image.fromarray(whole)))
    found = faults(stored)
    if listed is not None:  # somebody has looked: what he took is taken, as far as it shows anything
        found = (found & Fault.EMPTY) | (Fault(0) if listed else Fault.UNLISTED)
    return stored, int(found)


def _utterance(
    caption: int, waveform: NDArray[np.float32], rate: int, name: str, speech: SpeechOptions
) -> Utterance:
    try:
        mel = log_mel(waveform, rate, speech.mel).astype(np.float16)
    except UnusableSpeech as error:
        raise UnusableSpeech(f"{name} {error}") from None
    if not speech.keep_audio:
        return Utterance(caption, mel)
    return Utterance(caption, mel, np.rint(waveform * 32768).clip(-32768, 32767).astype(np.int16), rate)


# Of a worker process, set when it starts
_renderer: _RecordRenderer
_slots: SharedSlots


def _start_worker(renderer: _RecordRenderer, slots: SharedSlots) -> None:
    """Workers leave Ctrl-C to the parent, and end with it even when it is killed and cannot tell them."""
    global _renderer, _slots
    _renderer, _slots = renderer, slots
    keep_freed_memory()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    assert parent is not None

    def end_with_parent() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=end_with_parent, daemon=True).start()


# Results of a chunk, and the sizes of the first images among them, which are in the chunk's slot instead
_Rendered = tuple[list[Result | str], list[int]]
_ELSEWHERE = np.zeros(0, np.uint8)


def _render_chunk(chunk: list[Work], slot: int) -> _Rendered:
    """What a worker does."""
    results = [_renderer(work) for work in chunk]
    images = [result.image for result in results if isinstance(result, Result)]
    sizes = [image.size for image in images[: _slots.put(slot, images)]]
    return _with_images(results, [_ELSEWHERE] * len(sizes)), sizes


def _with_images(results: list[Result | str], first: Iterable[NDArray[np.uint8]]) -> list[Result | str]:
    """The same results, the first of those that have an image with these instead."""
    others = iter(first)
    return [
        replace(result, image=next(others, result.image)) if isinstance(result, Result) else result
        for result in results
    ]


class Renderer:
    """Renders images in order, in this process (`jobs` 1) or in worker processes with a bounded queue.

    Args:
        side: Pixels of the stored shorter side.
        codec: How images are stored.
        jobs: Processes.
        crop: What is cut out around a box.
        speech: None where captions are not spoken.
    """

    def __init__(
        self,
        side: int,
        codec: Codec,
        jobs: int,
        crop: Crop = "stackgan",
        speech: SpeechOptions | None = None,
    ) -> None:
        self._render = _RecordRenderer(side, codec, crop, speech)
        self._workers: tuple[ProcessPoolExecutor, SharedSlots] | None = None
        self._waiting = jobs * WAITING
        self._chunk = CHUNK if speech is None else 1
        if jobs > 1:
            slots = SharedSlots(self._waiting, self._chunk * ROOM * 3 * side * side)
            # spawn: the parent may hold threads and open HDF5 files, which a fork would copy half-alive
            context = multiprocessing.get_context("spawn")
            pool = ProcessPoolExecutor(
                jobs, mp_context=context, initializer=_start_worker, initargs=(self._render, slots)
            )
            self._workers = pool, slots

    def __enter__(self) -> Renderer:
        return self

    def __exit__(self, *_: object) -> None:
        if self._workers:
            pool, slots = self._workers
            pool.shutdown(wait=True, cancel_futures=True)
            slots.close()

    def render(self, images: Iterable[Work]) -> Iterator[Result | str]:
        """The result of each image, in order: image and utterances, or the reason why it cannot be used.

        Raises:
            RunError: A worker or the synthesizer died.
        """
        if self._workers is None:
            yield from map(self._render, images)
            return
        pool, slots = self._workers
        work = iter(images)
        queue: deque[tuple[int, Future[_Rendered]]] = deque()

        def submit(slot: int) -> None:
            if chunk := list(islice(work, self._chunk)):
                queue.append((slot, pool.submit(_render_chunk, chunk, slot)))

        try:
            for slot in range(self._waiting):
                submit(slot)
            while queue:
                slot, rendered = queue.popleft()
                results, sizes = rendered.result()
                results = _with_images(results, slots.take(slot, sizes))
                submit(slot)  # which is free now
                yield from results
        except BrokenProcessPool as error:
            raise RunError(
                "a worker process of prepare died, which is what the system does to it when memory runs out",
                hint="run the same command again with fewer --jobs: it continues",
            ) from error
