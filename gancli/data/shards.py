"""Writer and reader of shards, the HDF5 files of a dataset folder that the manifest lists.

A shard holds consecutive images of one split. Data whose length differs from image to image is a flat array with
offsets: row i is `data[offsets[i]:offsets[i + 1]]`. Strings are UTF-8 bytes, stored the same way.

    images/data        uint8   pixels (H, W, 3) of one image after the other ("raw"), or JPEG files ("jpeg")
    images/offsets     int64   (N + 1,)
    images/shapes      int32   (N, 2) height and width
    keys/data, keys/offsets               the N names
    captions/data, captions/offsets       M captions
    captions/ranges    int64   (N + 1,) captions of image i: ranges[i] to ranges[i + 1]
    tokens/data, tokens/offsets           int32 word indices of the M captions
    class_ids          int64   (N,)
    attributes         float32 (N, A) in [0, 1], only where the dataset has attributes
    silhouettes/data   uint8   probabilities (H, W) of the object, one image after the other, only where the dataset
                               has silhouettes
    silhouettes/faults uint8  (N,) bits of `gancli.data.silhouettes.Fault`; 0: shapes may be learned from it
    speech/data        float16 log-mel features (T, bands) of U utterances, only where the dataset has speech
    speech/offsets     int64   (U + 1,)
    speech/ranges      int64   (N + 1,) utterances of image i: ranges[i] to ranges[i + 1]
    speech/captions    int32   (U,) the caption each speaks, counted within its image
    audio/data         int16   waveforms of the U utterances, only where the audio is kept
    audio/offsets      int64   (U + 1,)
    audio/rates        int32   (U,) Hz
    rejected           uint8   JSON list of [key, reason]: images of this run that could not be used
"""

from __future__ import annotations

import hashlib
import io
import itertools
import json
import math
import os
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from gancli.atomic import atomic_file
from gancli.data.audio import MelSettings, Utterance
from gancli.data.manifest import (
    MANIFEST,
    SCHEMA_VERSION,
    VOCABULARY,
    Codec,
    Manifest,
    ShardEntry,
    SplitEntry,
    read_manifest,
)
from gancli.data.source import BadSample
from gancli.data.text import Vocabulary
from gancli.errors import DataError
from gancli.hashes import file_hash

FOREGROUND = 128  # least value of the object's pixels in a silhouette, one half of 255
BLOCK = 2**16  # values written at a time, where rows are shorter
OPEN_SHARDS = 64  # per process and split; each costs a file handle and some 100 kB of offsets


class ShardWriter:
    """Collects the images of a shard in memory and writes them at once: `add` each, then `write`.

    A shard is a few hundred MB at most (`prepare` chooses its length). It is stored contiguously: the pixels lie in
    the file in order, and a reader takes a window of rows with one read.

    Args:
        codec: Form of the images: pixels ("raw") or JPEG files ("jpeg").
        plan: Hash of everything that determines the shard's content, stored to recognize the shard later.
        attributes: Number of attributes of each image; 0 for none.
        speech, audio, silhouettes: True where captions are spoken, have waveforms, and images have silhouettes.
    """

    def __init__(
        self,
        codec: Codec,
        plan: str,
        attributes: int = 0,
        *,
        speech: bool = False,
        audio: bool = False,
        silhouettes: bool = False,
    ) -> None:
        self.codec: Codec = codec
        self.plan = plan
        self.attribute_count = attributes
        self.has_speech = speech
        self.has_audio = audio
        self.has_silhouettes = silhouettes
        self.rejected: list[BadSample] = []
        self._keys: list[bytes] = []
        self._images: list[NDArray[np.uint8]] = []
        self._shapes: list[tuple[int, int]] = []
        self._captions: list[bytes] = []
        self._caption_counts: list[int] = []
        self._tokens: list[NDArray[np.int32]] = []
        self._class_ids: list[int] = []
        self._attributes: list[NDArray[np.float32]] = []
        self._silhouettes: list[NDArray[np.uint8]] = []
        self._faults: list[int] = []
        self._utterances: list[Utterance] = []
        self._utterance_counts: list[int] = []

    def __len__(self) -> int:
        return len(self._keys)

    def add(
        self,
        key: str,
        image: NDArray[np.uint8],
        shape: tuple[int, int],
        captions: Sequence[str],
        tokens: Sequence[NDArray[np.int32]],
        class_id: int,
        attributes: NDArray[np.float32] | None = None,
        utterances: Sequence[Utterance] = (),
        silhouette: tuple[NDArray[np.uint8], int] | None = None,
    ) -> None:
        """Append an image.

        Args:
            key: Name of the image.
            image: Stored bytes as a flat uint8 array: H * W * 3 pixels, or a JPEG file.
            shape: Height and width in pixels.
            captions: Sentences, as many as `tokens`.
            tokens: Word indices of each caption, (T,) int32.
            class_id: Index of the class.
            attributes: (A,) float32 in [0, 1], where the shard has attributes.
            utterances: Spoken captions, where the shard has speech.
            silhouette: Probabilities (H, W) and bits of `Fault`, where the shard has silhouettes.
        """
        self._keys.append(key.encode())
        self._images.append(image)
        self._shapes.append(shape)
        self._captions.extend(caption.encode() for caption in captions)
        self._caption_counts.append(len(captions))
        self._tokens.extend(tokens)
        self._class_ids.append(class_id)
        if self.attribute_count:
            assert attributes is not None
            self._attributes.append(attributes)
        self._utterances.extend(utterances)
        self._utterance_counts.append(len(utterances))
        if self.has_silhouettes:
            assert silhouette is not None
            self._silhouettes.append(silhouette[0])
            self._faults.append(silhouette[1])

    def write(self, path: Path) -> ShardSummary:
        """Write the shard atomically. Raise RunError if the disk is full or not writable."""
        buffer = io.BytesIO()  # not a file: libhdf5 2.0 crashes when the disk is full
        with h5py.File(buffer, "w", libver=("v110", "v110")) as file:
            self._fill(file)
        content = buffer.getbuffer()
        with atomic_file(path) as temporary:
            temporary.write_bytes(content)
        sha256 = hashlib.sha256(content).hexdigest()
        entry = ShardEntry(file=path.name, images=len(self), captions=len(self._captions), sha256=sha256)
        return ShardSummary(entry, len(self._utterances), self._faults, self.rejected)

    def _fill(self, file: h5py.File) -> None:
        file.attrs["schema_version"] = SCHEMA_VERSION
        file.attrs["codec"] = self.codec
        file.attrs["plan"] = self.plan
        _write_ragged(file.create_group("images"), self._images, np.uint8)
        file["images/shapes"] = np.array(self._shapes, dtype=np.int32).reshape(-1, 2)
        for name, texts in (("keys", self._keys), ("captions", self._captions)):
            _write_ragged(
                file.create_group(name), [np.frombuffer(text, np.uint8) for text in texts], np.uint8
            )
        file["captions/ranges"] = _offsets(self._caption_counts)
        _write_ragged(file.create_group("tokens"), self._tokens, np.int32)
        file["class_ids"] = np.array(self._class_ids, dtype=np.int64)
        if self.attribute_count:
            file["attributes"] = np.array(self._attributes, np.float32).reshape(-1, self.attribute_count)
        if self.has_silhouettes:
            _write_ragged(file.create_group("silhouettes"), self._silhouettes, np.uint8)
            file["silhouettes/faults"] = np.array(self._faults, dtype=np.uint8)
        if self.has_speech:
            mels = [spoken.mel for spoken in self._utterances]
            _write_ragged(file.create_group("speech"), mels, np.float16)
            file["speech/ranges"] = _offsets(self._utterance_counts)
            file["speech/captions"] = np.array([spoken.caption for spoken in self._utterances], np.int32)
        if self.has_audio:
            waveforms = [spoken.waveform for spoken in self._utterances if spoken.waveform is not None]
            _write_ragged(file.create_group("audio"), waveforms, np.int16)
            file["audio/rates"] = np.array([spoken.rate for spoken in self._utterances], np.int32)
        rejected = json.dumps([[bad.key, bad.reason] for bad in self.rejected])
        file["rejected"] = np.frombuffer(rejected.encode(), np.uint8)


def _offsets(lengths: Sequence[int]) -> NDArray[np.int64]:
    return np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)]).astype(np.int64)


def _write_ragged(group: h5py.Group, rows: Sequence[NDArray[Any]], dtype: type[np.generic]) -> None:
    offsets = _offsets([row.size for row in rows])
    group["offsets"] = offsets
    data = group.create_dataset("data", shape=(int(offsets[-1]),), dtype=dtype)  # contiguous
    first = 0
    while first < len(rows):  # short rows together: a write takes 0.1 ms, and a caption is a few bytes
        last = max(first + 1, int(np.searchsorted(offsets, offsets[first] + BLOCK, side="right")) - 1)
        if offsets[last] > offsets[first]:
            block = [row.reshape(-1) for row in rows[first:last]]
            data[offsets[first] : offsets[last]] = np.concatenate(block) if len(block) > 1 else block[0]
        first = last


@dataclass(frozen=True)
class ShardSummary:
    """Summary of a written shard.

    Attributes:
        utterances: Number of spoken captions.
        faults: Bits of `Fault` of each silhouette; empty without silhouettes.
        rejected: Planned images of the shard that could not be used.
    """

    entry: ShardEntry
    utterances: int
    faults: Sequence[int]
    rejected: list[BadSample]


def shard_summary(path: Path, plan: str) -> ShardSummary | None:
    """Return the summary of a finished shard; None if it is missing, damaged or of another plan."""
    try:
        with h5py.File(path, "r") as file:
            if file.attrs.get("plan") != plan or file.attrs.get("schema_version") != SCHEMA_VERSION:
                return None
            images, captions = len(file["keys/offsets"]) - 1, len(file["captions/offsets"]) - 1
            utterances = len(file["speech/captions"]) if "speech" in file else 0
            faults = file["silhouettes/faults"][()].tolist() if "silhouettes" in file else []
            rejected = [BadSample(key, reason) for key, reason in json.loads(file["rejected"][()].tobytes())]
    except (OSError, KeyError, ValueError):  # missing or damaged: `prepare` writes it again
        return None
    entry = ShardEntry(file=path.name, images=images, captions=captions, sha256=file_hash(path))
    return ShardSummary(entry, utterances, faults, rejected)


def shard_fault(path: Path, plan: str) -> str:
    """Return the reason why `shard_summary` returns None for a file."""
    if not path.exists():
        return "missing"
    try:
        with h5py.File(path, "r") as file:
            same = file.attrs.get("plan") == plan and file.attrs.get("schema_version") == SCHEMA_VERSION
    except OSError:
        return "damaged"
    return "damaged" if same else "of another plan: other raw data or other settings"


class _OpenShard:
    """An open shard file and the offsets of its rows, which are small and often needed."""

    def __init__(self, path: Path) -> None:
        try:
            self.file = h5py.File(path, "r")
        except FileNotFoundError:
            hint = "copy it again, or prepare the dataset anew"
            raise DataError(f"{path}: the shard is missing", hint=hint) from None
        except OSError as error:
            raise DataError(
                f"{path}: the shard cannot be read ({error})",
                hint="copy the file again or prepare anew; `gancli data check` says what else is damaged",
            ) from error
        self.pixels: h5py.Dataset = self.file["images/data"]
        self.image_offsets: NDArray[np.int64] = self.file["images/offsets"][()]
        self.shapes: NDArray[np.int32] = self.file["images/shapes"][()]
        self.caption_ranges: NDArray[np.int64] = self.file["captions/ranges"][()]
        self.utterance_ranges: NDArray[np.int64] | None = (
            self.file["speech/ranges"][()] if "speech" in self.file else None
        )
        self._ragged: dict[str, tuple[NDArray[np.int64], h5py.Dataset]] = {}

    def image_bytes(self, row: int) -> NDArray[np.uint8]:
        data: NDArray[np.uint8] = self.pixels[self.image_offsets[row] : self.image_offsets[row + 1]]
        return data

    def captions_of(self, row: int, name: str) -> list[NDArray[Any]]:
        """Return the rows of an image in `name` (captions, tokens)."""
        return self.rows(name, *self.caption_ranges[row : row + 2])

    def utterances_of(self, row: int, name: str) -> list[NDArray[Any]]:
        """Return the rows of an image in `name` (speech, audio)."""
        return self.rows(name, *self.utterance_range(row))

    def utterance_range(self, row: int) -> tuple[int, int]:
        """Return the range of an image's utterances: the first, and one past the last."""
        assert self.utterance_ranges is not None
        first, last = self.utterance_ranges[row : row + 2]
        return int(first), int(last)

    def ragged(self, name: str) -> tuple[NDArray[np.int64], h5py.Dataset]:
        """Return the offsets of a ragged array, and its data in the file."""
        if name not in self._ragged:
            self._ragged[name] = self.file[f"{name}/offsets"][()], self.file[f"{name}/data"]
        return self._ragged[name]

    def rows(self, name: str, first: int, last: int) -> list[NDArray[Any]]:
        """Return rows `first` to `last` (exclusive) of a ragged array in one read."""
        all_offsets, data = self.ragged(name)
        offsets = all_offsets[first : last + 1]
        flat = data[offsets[0] : offsets[-1]]
        starts = (offsets - offsets[0]).tolist()
        return [flat[start:stop] for start, stop in itertools.pairwise(starts)]


def _window(
    data: h5py.Dataset, start: int, shape: tuple[int, ...], top: int, left: int, size: int
) -> NDArray[np.uint8]:
    """Read a square window of an image (H, W, …) whose pixels begin at `start` in flat data; only its rows are read."""
    stride = math.prod(shape[1:])
    first = start + top * stride
    rows = data[first : first + size * stride].reshape(size, *shape[1:])
    window: NDArray[np.uint8] = rows[:, left : left + size]
    return window


class Split:
    """Images of a dataset split, by index; made by `Dataset.split`.

    Files are opened when they are first needed, separately in every process, at most `OPEN_SHARDS` at a time. So a
    split can be pickled to loader workers, and memory does not grow with the dataset. Only names and class ids, some
    bytes per image, are read all at once, when first used. Without silhouettes, speech or kept waveforms, the members
    about them raise a `DataError`.

    Attributes:
        image_size: Side of the largest crop in pixels.
        codec: Form of the stored images.
        mel: Settings of the speech features; None without speech.
        has_audio: True where the waveforms of the speech are kept.
    """

    def __init__(self, folder: Path, name: str, manifest: Manifest) -> None:
        self.folder = folder
        self.name = name
        self.image_size = manifest.image_size
        self.codec: Codec = manifest.codec
        self._files = tuple(entry.file for entry in manifest.splits[name].shards)
        self._starts = _offsets([entry.images for entry in manifest.splits[name].shards])
        self._has_attributes = bool(manifest.attribute_names)
        self.has_silhouettes = manifest.silhouettes is not None
        self.mel = manifest.speech.mel if manifest.speech else None
        self.has_audio = manifest.speech is not None and manifest.speech.audio
        self._open: OrderedDict[int, _OpenShard] = OrderedDict()
        self._process = os.getpid()

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_open": OrderedDict()}

    def __len__(self) -> int:
        return int(self._starts[-1])

    def __repr__(self) -> str:
        return f"Split({str(self.folder)!r}, {self.name!r}, {len(self)} images)"

    def _shard(self, number: int) -> _OpenShard:
        if self._process != os.getpid():  # forked: the parent's handles share its file position
            self._open, self._process = OrderedDict(), os.getpid()
        shard = self._open.get(number)
        if shard is None:
            while len(self._open) >= OPEN_SHARDS:
                self._open.popitem(last=False)[1].file.close()
            shard = self._open[number] = _OpenShard(self.folder / self._files[number])
        self._open.move_to_end(number)
        return shard

    def _locate(self, index: int) -> tuple[_OpenShard, int]:
        if not 0 <= index < len(self):
            raise IndexError(f"image {index} of split {self.name!r}, which holds {len(self)}")
        number = int(np.searchsorted(self._starts, index, side="right")) - 1
        return self._shard(number), index - int(self._starts[number])

    def _collect(self, name: str) -> list[NDArray[Any]]:
        """Return an array of every shard, whole."""
        return [self._shard(number).file[name][()] for number in range(len(self._files))]

    @cached_property
    def keys(self) -> list[str]:
        """Names of the images, in order."""
        return [
            row.tobytes().decode()
            for data, offsets in zip(self._collect("keys/data"), self._collect("keys/offsets"), strict=True)
            for row in np.split(data, offsets[1:-1])[: len(offsets) - 1]
        ]

    @cached_property
    def class_ids(self) -> NDArray[np.int64]:
        """Classes of the images, (N,) int64; a running index where the dataset has no classes."""
        return np.concatenate(self._collect("class_ids"))

    @property
    def attributes(self) -> NDArray[np.float32] | None:
        """Attributes (N, A) in [0, 1], in the order of `Dataset.attribute_names`; None without attributes."""
        if not self._has_attributes:
            return None
        return np.concatenate(self._collect("attributes")).astype(np.float32, copy=False)

    @cached_property
    def silhouette_faults(self) -> NDArray[np.uint8]:
        """Faults of the silhouettes, (N,) bits of `Fault`; shapes may be learned from those without any."""
        self.need_silhouettes()
        return np.concatenate(self._collect("silhouettes/faults"))

    @cached_property
    def _positions(self) -> dict[str, int]:
        return {key: index for index, key in enumerate(self.keys)}

    def caption_counts(self) -> tuple[NDArray[np.int64], int]:
        """Return the number of captions of each image (N,), and the number of words of all captions."""
        ranges = self._collect("captions/ranges")
        words = sum(int(offsets[-1]) for offsets in self._collect("tokens/offsets"))
        return np.concatenate([np.diff(row) for row in ranges]), words

    def find(self, key: str) -> int:
        """Return the index of the image of that name. Raise DataError if the split has no such image."""
        try:
            return self._positions[key]
        except KeyError:
            raise DataError(f"{self.folder}: split {self.name!r} has no image {key!r}") from None

    def shape(self, index: int) -> tuple[int, int]:
        """Return height and width of the stored image in pixels."""
        shard, row = self._locate(index)
        height, width = shard.shapes[row]
        return int(height), int(width)

    def image(self, index: int) -> NDArray[np.uint8]:
        """Return the stored image, (H, W, 3) uint8 RGB; its shorter side is `stored_side(image_size)`."""
        shard, row = self._locate(index)
        data = shard.image_bytes(row)
        if self.codec == "raw":
            height, width = shard.shapes[row]
            return data.reshape(height, width, 3)
        try:
            with Image.open(io.BytesIO(data.tobytes())) as image:
                return np.array(image.convert("RGB"))
        except OSError as error:
            raise DataError(f"image {self.keys[index]!r}: its JPEG cannot be decoded ({error})") from error

    def crop(self, index: int, top: int, left: int, size: int) -> NDArray[np.uint8]:
        """Return a square window of the stored image, (size, size, 3) uint8; raw shards read only its rows.

        Raises:
            ValueError: The window leaves the image.
        """
        shard, row = self._locate(index)
        height, width = map(int, shard.shapes[row])
        if top < 0 or left < 0 or top + size > height or left + size > width:
            raise ValueError(f"a window of {size} at ({top}, {left}) leaves an image of {height} x {width}")
        if self.codec == "jpeg":
            return self.image(index)[top : top + size, left : left + size]
        start = int(shard.image_offsets[row])
        return _window(shard.pixels, start, (height, width, 3), top, left, size)

    def silhouette(self, index: int) -> NDArray[np.uint8]:
        """Return the silhouette of the stored image: probabilities (H, W) uint8, 255 for certain."""
        self.need_silhouettes()
        shard, row = self._locate(index)
        (probabilities,) = shard.rows("silhouettes", row, row + 1)
        return probabilities.reshape(shard.shapes[row])

    def silhouette_crop(self, index: int, top: int, left: int, size: int) -> NDArray[np.uint8]:
        """Return the silhouette in a square window, (size, size) uint8."""
        self.need_silhouettes()
        shard, row = self._locate(index)
        height, width = map(int, shard.shapes[row])
        offsets, data = shard.ragged("silhouettes")
        return _window(data, int(offsets[row]), (height, width), top, left, size)

    def need_silhouettes(self) -> None:
        """Raise DataError in a dataset without silhouettes."""
        if not self.has_silhouettes:
            raise DataError(
                f"{self.folder}: does not say where on its images the object is",
                hint="prepare it again with --silhouettes official or --silhouettes estimate",
            )

    def captions(self, index: int) -> list[str]:
        """Return the captions of an image, in file order."""
        shard, row = self._locate(index)
        return [caption.tobytes().decode() for caption in shard.captions_of(row, "captions")]

    def tokens(self, index: int) -> list[NDArray[np.int32]]:
        """Return the word indices of each caption of an image, (T,) int32 with T >= 1."""
        shard, row = self._locate(index)
        return shard.captions_of(row, "tokens")

    @property
    def has_speech(self) -> bool:
        """True where the captions are spoken."""
        return self.mel is not None

    def speech_counts(self) -> NDArray[np.int64]:
        """Return the number of utterances of each image, (N,)."""
        self.need_speech()
        return np.concatenate([np.diff(row) for row in self._collect("speech/ranges")])

    def speech_lengths(self) -> NDArray[np.int64]:
        """Return the frames of each utterance of the split (U,), image by image."""
        bands = self.need_speech().bands
        return np.concatenate([np.diff(row) for row in self._collect("speech/offsets")]) // bands

    def speech(self, index: int) -> list[NDArray[np.float16]]:
        """Return the log-mel features of each utterance of an image, (T, bands) float16, T >= 16, in caption order."""
        bands = self.need_speech().bands
        shard, row = self._locate(index)
        return [mel.reshape(-1, bands) for mel in shard.utterances_of(row, "speech")]

    def utterance(self, index: int, number: int) -> NDArray[np.float16]:
        """Return the log-mel features (T, bands) of a single utterance of an image, counted as in `speech`."""
        bands = self.need_speech().bands
        shard, row = self._locate(index)
        first, last = shard.utterance_range(row)
        if not 0 <= number < last - first:
            raise IndexError(f"utterance {number} of image {index}, which has {last - first}")
        (mel,) = shard.rows("speech", first + number, first + number + 1)
        return mel.reshape(-1, bands)

    def speech_captions(self, index: int) -> NDArray[np.int32]:
        """Return the number of the caption that each utterance of an image speaks, (U,)."""
        self.need_speech()
        shard, row = self._locate(index)
        first, last = shard.utterance_range(row)
        captions: NDArray[np.int32] = shard.file["speech/captions"][first:last]
        return captions

    def audio(self, index: int) -> list[tuple[NDArray[np.float32], int]]:
        """Return waveform (L,) in [-1, 1] and rate in Hz of each utterance of an image."""
        self.need_speech()
        if not self.has_audio:
            hint = "prepare it again with --keep-audio"
            raise DataError(f"{self.folder}: the waveforms of its speech were not kept", hint=hint)
        shard, row = self._locate(index)
        first, last = shard.utterance_range(row)
        rates = shard.file["audio/rates"][first:last].tolist()
        waveforms = shard.utterances_of(row, "audio")
        return [
            (np.divide(samples, 32768, dtype=np.float32), rate)
            for samples, rate in zip(waveforms, rates, strict=True)
        ]

    def need_speech(self) -> MelSettings:
        """Return the settings of the speech features. Raise DataError in a dataset without speech."""
        if self.mel is None:
            raise DataError(
                f"{self.folder}: its captions are not spoken",
                hint="prepare it again with --speech tts, or --speech wav for recordings",
            )
        return self.mel


class Dataset:
    """A prepared dataset folder, opened for reading, with its manifest and the vocabulary of the stored tokens."""

    def __init__(self, path: Path, manifest: Manifest, vocabulary: Vocabulary) -> None:
        self.path = path
        self.manifest = manifest
        self.vocabulary = vocabulary
        self.name = manifest.name
        self.image_size = manifest.image_size
        self.class_names = list(manifest.class_names or ())
        self.attribute_names = list(manifest.attribute_names)
        self.split_names = list(manifest.splits)

    @classmethod
    def open(cls, path: Path | str) -> Dataset:
        """Open a dataset folder; shards are opened later, when images are asked for.

        Raises:
            DataError: The folder is no finished dataset, is of another schema version, or its vocabulary is not the
                one that its captions were encoded with.
        """
        path = Path(path)
        manifest = read_manifest(path)
        vocabulary = Vocabulary.load(path / VOCABULARY)
        if vocabulary.hash != manifest.tokenizer.vocabulary_hash:
            raise DataError(
                f"{path / VOCABULARY}: not the vocabulary of this dataset "
                f"(hash {vocabulary.hash[:12]}, {MANIFEST} says {manifest.tokenizer.vocabulary_hash[:12]})",
                hint="copy the whole folder again, or prepare the dataset anew",
            )
        return cls(path, manifest, vocabulary)

    def __repr__(self) -> str:
        return f"Dataset({str(self.path)!r})"

    def split(self, name: str) -> Split:
        """Return the split of that name. Raise DataError, which names the splits there are, if there is none."""
        if name not in self.manifest.splits:
            known = ", ".join(self.split_names)
            raise DataError(f"{self.path}: there is no split {name!r}", hint=f"it has {known}")
        return Split(self.path, name, self.manifest)

    def whole(self) -> Split:
        """Return all splits, one after the other, as one split named "all"."""
        splits = self.manifest.splits.values()
        everything = SplitEntry(
            images=sum(split.images for split in splits),
            captions=sum(split.captions for split in splits),
            shards=tuple(shard for split in splits for shard in split.shards),
        )
        return Split(self.path, "all", self.manifest.model_copy(update={"splits": {"all": everything}}))
