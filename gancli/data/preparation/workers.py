"""The slow work of `prepare`, image by image in worker processes: images are decoded, captions are spoken."""

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
from functools import partial
from itertools import islice

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from gancli.data.audio import UnusableSpeech, Utterance, load_audio, log_mel
from gancli.data.images import Frame, UnusableImage, decode, encode
from gancli.data.manifest import stored_side
from gancli.data.preparation.options import PrepareOptions, SpeechOptions
from gancli.data.preparation.plan import Record
from gancli.data.preparation.shared_memory import SharedSlots
from gancli.data.silhouettes import Fault, faults, read_silhouette
from gancli.data.source import BoundingBox, PartLocations, Sample
from gancli.errors import RunError
from gancli.ops.memory import keep_freed_memory

CHUNK = 8  # images a worker gets at a time; with speech one, which takes as long
WAITING = 8  # chunks per worker that are rendered or waiting: what a worker does while a shard is written
ROOM = 2  # in the memory for images: for those that are on average up to twice as long as wide


@dataclass(frozen=True, slots=True)
class Rendered:
    """An image as its shard holds it.

    Attributes:
        image: Stored bytes, a flat uint8 array.
        shape: Height and width in pixels.
        utterances: Spoken captions.
        silhouette: Probabilities (H, W) and bits of `Fault`; None without a silhouette.
    """

    image: NDArray[np.uint8]
    shape: tuple[int, int]
    utterances: list[Utterance]
    silhouette: tuple[NDArray[np.uint8], int] | None = None


def _render(options: PrepareOptions, record: Record) -> Rendered | str:
    """Return the rendered image, or the reason why it cannot be used."""
    sample = record.sample
    try:
        image = decode(sample.image)
        side = stored_side(options.image_size)
        frame = Frame.of(sample.image.name, image.size, sample.box, side, options.crop)
        stored = frame.apply(image)
        return Rendered(
            encode(stored, options.codec),
            (stored.height, stored.width),
            [] if options.speech is None else _speak(record, options.speech),
            _silhouette(sample, image, frame, record.listed),
        )
    except (UnusableImage, UnusableSpeech) as error:
        return str(error)


def _speak(record: Record, speech: SpeechOptions) -> list[Utterance]:
    if speech.synthesizer is None:
        return [
            _utterance(recording.caption, *load_audio(recording.path), recording.path.name, speech)
            for recording in record.recordings
        ]
    utterances = []
    for number, caption in enumerate(record.captions):
        for voice in speech.voices:
            name = f"caption {number + 1} ({caption[:60]!r}), spoken by {voice},"
            try:
                waveform, rate = speech.synthesizer.speak(caption, voice)
            except UnusableSpeech as error:
                raise UnusableSpeech(f"{name} {error}") from None
            utterances.append(_utterance(number, waveform, rate, name, speech))
    return utterances


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


def _silhouette(
    sample: Sample, image: Image.Image, frame: Frame, listed: bool | None
) -> tuple[NDArray[np.uint8], int] | None:
    """Return probabilities of the stored part of an image and their faults; None where the sample asks for none."""
    if sample.silhouette is None:
        return None
    if isinstance(sample.silhouette, PartLocations):
        from gancli.data.silhouette_estimate import estimate_silhouette  # imports scipy for half a second

        box = sample.box or BoundingBox(0, 0, image.width, image.height)
        whole = estimate_silhouette(np.asarray(image), box, sample.silhouette.points)
    elif sample.silhouette.exists():
        whole = read_silhouette(sample.silhouette, image.size)
    else:
        return np.zeros(frame.size[::-1], np.uint8), int(Fault.MISSING)
    stored = np.asarray(frame.apply(Image.fromarray(whole)))
    found = faults(stored)
    if listed is not None:  # the user's list replaces the filter; only an empty silhouette stays useless
        found = (found & Fault.EMPTY) | (Fault(0) if listed else Fault.UNLISTED)
    return stored, int(found)


# State of a worker process, set when it starts
_options: PrepareOptions
_slots: SharedSlots


def _start_worker(options: PrepareOptions, slots: SharedSlots) -> None:
    """Leave Ctrl-C to the parent, and end with the parent even when it is killed."""
    global _options, _slots
    _options, _slots = options, slots
    keep_freed_memory()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    assert parent is not None

    def end_with_parent() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=end_with_parent, daemon=True).start()


# Results of a chunk, and the sizes of the first images among them, which lie in the chunk's slot instead
_Chunk = tuple[list[Rendered | str], list[int]]
_ELSEWHERE = np.zeros(0, np.uint8)


def _render_chunk(records: list[Record], slot: int) -> _Chunk:
    """Render a chunk in a worker process."""
    results = [_render(_options, record) for record in records]
    images = [result.image for result in results if isinstance(result, Rendered)]
    sizes = [image.size for image in images[: _slots.put(slot, images)]]
    return _with_images(results, [_ELSEWHERE] * len(sizes)), sizes


def _with_images(results: list[Rendered | str], first: Iterable[NDArray[np.uint8]]) -> list[Rendered | str]:
    """Return the results with the images of the first rendered ones replaced."""
    others = iter(first)
    return [
        replace(result, image=next(others, result.image)) if isinstance(result, Rendered) else result
        for result in results
    ]


class Renderer:
    """Renders records in order, in this process (`jobs` 1) or in worker processes with a bounded queue."""

    def __init__(self, options: PrepareOptions, jobs: int) -> None:
        # Rendering needs neither words nor lists, which are long
        self._options = replace(options, vocabulary=None, silhouette_list=None)
        self._workers: tuple[ProcessPoolExecutor, SharedSlots] | None = None
        self._waiting = jobs * WAITING
        self._chunk = CHUNK if options.speech is None else 1
        if jobs > 1:
            side = stored_side(options.image_size)
            slots = SharedSlots(self._waiting, self._chunk * ROOM * 3 * side * side)
            # spawn: the parent may hold threads and open HDF5 files, which a fork would copy half-alive
            context = multiprocessing.get_context("spawn")
            start = partial(_start_worker, self._options, slots)
            self._workers = ProcessPoolExecutor(jobs, mp_context=context, initializer=start), slots

    def __enter__(self) -> Renderer:
        return self

    def __exit__(self, *_: object) -> None:
        if self._workers:
            pool, slots = self._workers
            pool.shutdown(wait=True, cancel_futures=True)
            slots.close()

    def render(self, records: Iterable[Record]) -> Iterator[Rendered | str]:
        """Yield the rendered image of each record, in order, or the reason why it cannot be used.

        Raises:
            RunError: A worker or the synthesizer died.
        """
        if self._workers is None:
            yield from map(partial(_render, self._options), records)
            return
        pool, slots = self._workers
        work = iter(records)
        queue: deque[tuple[int, Future[_Chunk]]] = deque()

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
