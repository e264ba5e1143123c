"""The dataset folder: HDF5 shards and the manifest `dataset.json` that names them; writer, reader, `verify`.

A shard holds a run of images of one split. Whatever differs in length from image to image is a flat array
with offsets: row i is `data[offsets[i]:offsets[i + 1]]`. Strings are UTF-8 bytes, stored the same way.

    images/data        uint8   pixels (H, W, 3) of one image after the other ("raw"), or JPEG files ("jpeg")
    images/offsets     int64   (N + 1,)
    images/shapes      int32   (N, 2) height and width
    keys/data, keys/offsets               the N names
    captions/data, captions/offsets       M captions
    captions/ranges    int64   (N + 1,) captions of image i: ranges[i] to ranges[i + 1]
    tokens/data, tokens/offsets           int32 word indices of the M captions
    class_ids          int64   (N,)
    attributes         uint8   (N, A), only where the dataset has attributes
    rejected           uint8   JSON list of [key, reason]: images of this run that could not be used
"""

from __future__ import annotations

import hashlib
import io
import itertools
import json
import os
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import h5py
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydantic import BaseModel, ConfigDict, ValidationError

from gancli.data.sample import BadSample
from gancli.data.text import Vocabulary
from gancli.errors import DataError
from gancli.files import atomic_file

SCHEMA_VERSION = 1
MANIFEST = "dataset.json"
VOCABULARY = "vocabulary.json"
OPEN_SHARDS = 64  # per process and split; each costs a file handle and some 100 kB of offsets

Codec = Literal["raw", "jpeg"]


def stored_side(image_size: int) -> int:
    """Pixels of the stored shorter side: 76/64 of the training size, which is room for random crops."""
    return image_size * 76 // 64


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ShardEntry(_Strict):
    """One shard of a split; `sha256` is of the whole file."""

    file: str
    images: int
    captions: int
    sha256: str


class SplitEntry(_Strict):
    """What a split holds, and its shards in order."""

    images: int
    captions: int
    shards: tuple[ShardEntry, ...]


class TokenizerEntry(_Strict):
    """How captions became numbers; `words` counts the vocabulary's entries with index 0."""

    rule: str
    vocabulary_hash: str
    words: int


class Manifest(_Strict):
    """`dataset.json`: everything about a dataset folder that is not pixels. No dates and no absolute paths.

    Attributes:
        image_size: Side of the largest crop in pixels; the stored shorter side is `stored_side(image_size)`.
        class_names: None where the dataset has no classes; class ids then are a running index.
        rejected: Images left out because they could not be used (rejected.csv lists them).
        source: Hashes of the files that define the raw dataset, {relative path: sha256}.
        plan: sha256 of everything that went into the shards; the same plan gives the same bytes.
    """

    schema_version: int
    name: str
    image_size: int
    crop: str
    codec: Codec
    shard_images: int
    splits: dict[str, SplitEntry]
    class_names: tuple[str, ...] | None
    attribute_names: tuple[str, ...]
    tokenizer: TokenizerEntry
    rejected: int
    source: dict[str, str]
    plan: str
    gancli_version: str


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write `dataset.json`, the last file of a dataset folder: where it stands, the folder is complete."""
    with atomic_file(folder / MANIFEST) as temporary:
        temporary.write_text(manifest.model_dump_json(indent=1) + "\n", encoding="utf-8")


def read_manifest(folder: Path) -> Manifest:
    """Read and check `dataset.json`.

    Raises:
        DataError: It is missing, of another schema version, or not a manifest.
    """
    path = Path(folder) / MANIFEST
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        raise DataError(
            f"{folder}: not a dataset folder, there is no {MANIFEST}",
            hint="`gancli prepare` makes one; if it was interrupted there, the same command continues",
        ) from None
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot be read ({error})") from error
    version = content.get("schema_version") if isinstance(content, dict) else None
    if version != SCHEMA_VERSION:
        raise DataError(
            f"{path}: schema version {version!r}, this gancli reads version {SCHEMA_VERSION}",
            hint="prepare the dataset again with this gancli, or use the gancli that wrote it",
        )
    try:
        return Manifest.model_validate(content)
    except ValidationError as error:
        lines = [f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors()]
        raise DataError(f"{path}: not a valid manifest\n  " + "\n  ".join(lines)) from None


def file_hash(path: Path) -> str:
    """sha256 (hex) of a file's bytes."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class ShardWriter:
    """Collects the images of one shard in memory and writes them in one go: `add` each, then `write`.

    A shard is a few hundred MB at most (`prepare` chooses its length), which buys contiguous storage: the
    pixels lie in the file in order, and a reader takes a window of rows with one read.

    Args:
        codec: What `add` gets: (H, W, 3) pixels ("raw") or JPEG bytes ("jpeg").
        plan: Hash of all that determines the shard's content, stored to recognise the shard later.
        attributes: A, the number of attributes of each image; 0 for none.
    """

    def __init__(self, codec: Codec, plan: str, attributes: int = 0) -> None:
        self.codec: Codec = codec
        self.plan = plan
        self.attribute_count = attributes
        self.rejected: list[BadSample] = []
        self._keys: list[bytes] = []
        self._images: list[NDArray[np.uint8]] = []
        self._shapes: list[tuple[int, int]] = []
        self._captions: list[bytes] = []
        self._caption_counts: list[int] = []
        self._tokens: list[NDArray[np.int32]] = []
        self._class_ids: list[int] = []
        self._attributes: list[NDArray[np.uint8]] = []

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
        attributes: NDArray[np.uint8] | None = None,
    ) -> None:
        """Append one image.

        Args:
            image: The stored bytes as a flat uint8 array: H * W * 3 pixels, or a JPEG file.
            shape: (H, W).
            captions: The sentences, as many as `tokens`.
            tokens: Per caption (T,) int32.
            attributes: (A,) uint8 where the shard has attributes.
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

    def write(self, path: Path) -> ShardEntry:
        """Write the shard under its name, whole or not at all.

        Raises:
            RunError: The disk is full or not writable.
        """
        buffer = io.BytesIO()  # libhdf5 crashes when the disk fills up under it (seen with 2.0): it gets none
        with h5py.File(buffer, "w", libver=("v110", "v110")) as file:
            self._fill(file)
        content = buffer.getbuffer()
        with atomic_file(path) as temporary:
            temporary.write_bytes(content)
        sha256 = hashlib.sha256(content).hexdigest()
        return ShardEntry(file=path.name, images=len(self), captions=len(self._captions), sha256=sha256)

    def _fill(self, file: h5py.File) -> None:
        file.attrs["schema_version"] = SCHEMA_VERSION
        file.attrs["codec"] = self.codec
        file.attrs["plan"] = self.plan
        _write_ragged(file.create_group("images"), self._images, np.uint8)
        file["images/shapes"] = np.array(self._shapes, dtype=np.int32).reshape(-1, 2)
        _write_ragged(
            file.create_group("keys"), [np.frombuffer(key, np.uint8) for key in self._keys], np.uint8
        )
        captions = [np.frombuffer(caption, np.uint8) for caption in self._captions]
        _write_ragged(file.create_group("captions"), captions, np.uint8)
        file["captions/ranges"] = _offsets(self._caption_counts)
        _write_ragged(file.create_group("tokens"), self._tokens, np.int32)
        file["class_ids"] = np.array(self._class_ids, dtype=np.int64)
        if self.attribute_count:
            rows = np.array(self._attributes, dtype=np.uint8).reshape(-1, self.attribute_count)
            file["attributes"] = rows
        rejected = json.dumps([[bad.key, bad.reason] for bad in self.rejected])
        file["rejected"] = np.frombuffer(rejected.encode(), np.uint8)


def _offsets(lengths: Sequence[int]) -> NDArray[np.int64]:
    return np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)]).astype(np.int64)


def _write_ragged(group: h5py.Group, rows: Sequence[NDArray[Any]], dtype: type[np.generic]) -> None:
    offsets = _offsets([row.size for row in rows])
    group["offsets"] = offsets
    data = group.create_dataset("data", shape=(int(offsets[-1]),), dtype=dtype)  # contiguous
    for row, start, stop in zip(rows, offsets[:-1], offsets[1:], strict=True):
        if stop > start:
            data[start:stop] = row.reshape(-1)


def shard_summary(path: Path, plan: str) -> tuple[ShardEntry, list[BadSample]] | None:
    """The entry of a finished shard and its rejected images; None if it is absent or of another plan."""
    try:
        with h5py.File(path, "r") as file:
            if file.attrs.get("plan") != plan or file.attrs.get("schema_version") != SCHEMA_VERSION:
                return None
            images, captions = len(file["keys/offsets"]) - 1, len(file["captions/offsets"]) - 1
            rejected = [BadSample(key, reason) for key, reason in json.loads(file["rejected"][()].tobytes())]
    except (OSError, KeyError, ValueError):  # absent or damaged: it is written again
        return None
    return ShardEntry(file=path.name, images=images, captions=captions, sha256=file_hash(path)), rejected


class _OpenShard:
    """An open shard file and the offsets of its rows, which are small and asked for all the time."""

    def __init__(self, path: Path) -> None:
        try:
            self.file = h5py.File(path, "r")
        except FileNotFoundError:
            raise DataError(
                f"{path}: the shard is missing", hint="copy it again, or prepare the dataset anew"
            ) from None
        except OSError as error:
            raise DataError(
                f"{path}: the shard cannot be read ({error})",
                hint="copy the file again or prepare anew; `gancli data check` says what else is damaged",
            ) from error
        self.pixels: h5py.Dataset = self.file["images/data"]
        self.image_offsets: NDArray[np.int64] = self.file["images/offsets"][()]
        self.shapes: NDArray[np.int32] = self.file["images/shapes"][()]
        self.caption_ranges: NDArray[np.int64] = self.file["captions/ranges"][()]
        self._ragged: dict[str, tuple[NDArray[np.int64], h5py.Dataset]] = {}

    def image_bytes(self, row: int) -> NDArray[np.uint8]:
        data: NDArray[np.uint8] = self.pixels[self.image_offsets[row] : self.image_offsets[row + 1]]
        return data

    def captions_of(self, row: int, name: str) -> list[NDArray[Any]]:
        """The `name` rows (captions, tokens) of an image: one read, whatever their number."""
        if name not in self._ragged:
            self._ragged[name] = self.file[f"{name}/offsets"][()], self.file[f"{name}/data"]
        all_offsets, data = self._ragged[name]
        first, last = self.caption_ranges[row : row + 2]
        offsets = all_offsets[first : last + 1]
        flat = data[offsets[0] : offsets[-1]]
        starts = (offsets - offsets[0]).tolist()
        return [flat[start:stop] for start, stop in itertools.pairwise(starts)]


class Split:
    """The images of one split, by index; made by `Dataset.split`.

    Files are opened when they are first needed, separately in every process, and at most `OPEN_SHARDS` at a
    time, so a split can be pickled to loader workers and memory stays the same however large the dataset is
    (only names and class ids, some bytes an image, are read at once, when they are asked for).
    """

    def __init__(self, folder: Path, name: str, manifest: Manifest) -> None:
        self.folder = folder
        self.name = name
        self.image_size = manifest.image_size
        self.codec: Codec = manifest.codec
        self._files = tuple(entry.file for entry in manifest.splits[name].shards)
        self._starts = _offsets([entry.images for entry in manifest.splits[name].shards])
        self._has_attributes = bool(manifest.attribute_names)
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
        """A whole dataset of every shard, one array a shard."""
        return [self._shard(number).file[name][()] for number in range(len(self._files))]

    @cached_property
    def keys(self) -> list[str]:
        """The images' names, in order."""
        return [
            row.tobytes().decode()
            for data, offsets in zip(self._collect("keys/data"), self._collect("keys/offsets"), strict=True)
            for row in np.split(data, offsets[1:-1])[: len(offsets) - 1]
        ]

    @cached_property
    def class_ids(self) -> NDArray[np.int64]:
        """(N,) class of each image; a running index where the dataset has no classes."""
        return np.concatenate(self._collect("class_ids"))

    @property
    def attributes(self) -> NDArray[np.uint8] | None:
        """(N, A) in {0, 1}, in the order of `Dataset.attribute_names`; None where there are none."""
        return np.concatenate(self._collect("attributes")) if self._has_attributes else None

    @cached_property
    def _positions(self) -> dict[str, int]:
        return {key: index for index, key in enumerate(self.keys)}

    def caption_counts(self) -> tuple[NDArray[np.int64], int]:
        """Captions of each image (N,), and the words of all of them together."""
        ranges = self._collect("captions/ranges")
        words = sum(int(offsets[-1]) for offsets in self._collect("tokens/offsets"))
        return np.concatenate([np.diff(row) for row in ranges]), words

    def find(self, key: str) -> int:
        """Index of the image of that name.

        Raises:
            DataError: The split has no such image.
        """
        try:
            return self._positions[key]
        except KeyError:
            raise DataError(f"{self.folder}: split {self.name!r} has no image {key!r}") from None

    def shape(self, index: int) -> tuple[int, int]:
        """Height and width of the stored image."""
        shard, row = self._locate(index)
        height, width = shard.shapes[row]
        return int(height), int(width)

    def image(self, index: int) -> NDArray[np.uint8]:
        """The stored image, (H, W, 3) uint8 RGB; its shorter side is `stored_side(image_size)`."""
        shard, row = self._locate(index)
        data = shard.image_bytes(row)
        if self.codec == "raw":
            height, width = shard.shapes[row]
            return data.reshape(height, width, 3)
        try:
            with Image.open(io.BytesIO(data.tobytes())) as image:
                return np.array(image.convert("RGB"))
        except OSError as error:
            raise DataError(
                f"image {self.keys[index]!r}: its stored JPEG cannot be decoded ({error})"
            ) from error

    def crop(self, index: int, top: int, left: int, size: int) -> NDArray[np.uint8]:
        """A square window of the stored image, (size, size, 3) uint8; of raw shards only its rows are read.

        Raises:
            ValueError: The window leaves the image.
        """
        shard, row = self._locate(index)
        height, width = map(int, shard.shapes[row])
        if top < 0 or left < 0 or top + size > height or left + size > width:
            raise ValueError(f"a window of {size} at ({top}, {left}) leaves an image of {height} x {width}")
        if self.codec == "jpeg":
            return self.image(index)[top : top + size, left : left + size]
        stride = width * 3
        start = int(shard.image_offsets[row]) + top * stride
        rows = shard.pixels[start : start + size * stride].reshape(size, width, 3)
        window: NDArray[np.uint8] = rows[:, left : left + size]
        return window

    def captions(self, index: int) -> list[str]:
        """The image's captions, in file order."""
        shard, row = self._locate(index)
        return [caption.tobytes().decode() for caption in shard.captions_of(row, "captions")]

    def tokens(self, index: int) -> list[NDArray[np.int32]]:
        """Word indices of each caption, (T,) int32 with T >= 1."""
        shard, row = self._locate(index)
        return shard.captions_of(row, "tokens")


class Dataset:
    """A prepared dataset folder, opened for reading.

    Attributes:
        path: The folder.
        manifest: What `dataset.json` says.
        vocabulary: What the stored tokens index.
    """

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
            DataError: It is no finished dataset folder, is of another schema version, or its vocabulary is
                not the one its captions were encoded with.
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
        """The split of that name.

        Raises:
            DataError: There is none; the message names those there are.
        """
        if name not in self.manifest.splits:
            raise DataError(
                f"{self.path}: there is no split {name!r}", hint=f"it has {', '.join(self.split_names)}"
            )
        return Split(self.path, name, self.manifest)

    def whole(self) -> Split:
        """All splits one after the other, as one split named "all"."""
        splits = self.manifest.splits.values()
        everything = SplitEntry(
            images=sum(split.images for split in splits),
            captions=sum(split.captions for split in splits),
            shards=tuple(shard for split in splits for shard in split.shards),
        )
        return Split(self.path, "all", self.manifest.model_copy(update={"splits": {"all": everything}}))


def verify(path: Path | str, progress: Callable[[int, int], None] | None = None) -> list[str]:
    """Check a dataset folder against its manifest, file by file: every hash, count, offset, token and name.

    Args:
        progress: Called with (shards done, shards in all).

    Returns:
        One line per problem; empty if the folder is sound.

    Raises:
        DataError: The folder has no readable manifest or vocabulary at all.
    """
    dataset = Dataset.open(path)
    manifest = dataset.manifest
    problems: list[str] = []
    seen: dict[str, str] = {}
    listed = [(name, entry) for name, split in manifest.splits.items() for entry in split.shards]
    for done, (split_name, entry) in enumerate(listed, start=1):
        problems += [f"{entry.file}: {text}" for text in _shard_problems(dataset, split_name, entry, seen)]
        if progress:
            progress(done, len(listed))
    for name, split in manifest.splits.items():
        for what in ("images", "captions"):
            total = sum(getattr(entry, what) for entry in split.shards)
            if total != getattr(split, what):
                problems.append(
                    f"{MANIFEST}: split {name} says {getattr(split, what)} {what}, its shards {total}"
                )
    names = {entry.file for _, entry in listed}
    stray = sorted(file.name for file in dataset.path.glob("*.h5") if file.name not in names)
    return problems + [f"{name}: not listed in {MANIFEST}" for name in stray]


def _shard_problems(
    dataset: Dataset, split_name: str, entry: ShardEntry, seen: dict[str, str]
) -> Iterable[str]:
    path = dataset.path / entry.file
    if not path.is_file():
        return ["missing"]
    if file_hash(path) != entry.sha256:
        return ["its content is not what was written (sha256 differs)"]
    alone = SplitEntry(images=entry.images, captions=entry.captions, shards=(entry,))
    split = Split(
        dataset.path, split_name, dataset.manifest.model_copy(update={"splits": {split_name: alone}})
    )
    try:
        return list(_content_problems(dataset, split, entry, seen))
    except (DataError, OSError, KeyError, ValueError, IndexError) as error:
        return [f"its content does not follow the schema ({error})"]


def _content_problems(
    dataset: Dataset, split: Split, entry: ShardEntry, seen: dict[str, str]
) -> Iterable[str]:
    shard = split._shard(0)
    file = shard.file
    counts: Mapping[str, int] = {
        "images": len(shard.shapes),
        "image offsets": len(shard.image_offsets) - 1,
        "names": len(file["keys/offsets"]) - 1,
        "caption ranges": len(shard.caption_ranges) - 1,
        "class ids": len(file["class_ids"]),
    }
    wrong = {what: count for what, count in counts.items() if count != entry.images}
    if wrong:
        yield f"{MANIFEST} says {entry.images} images, the shard holds {wrong}"
        return
    if dataset.manifest.codec == "raw":
        sizes = shard.shapes.astype(np.int64).prod(axis=1) * 3
        if not np.array_equal(np.diff(shard.image_offsets), sizes):
            yield "images and their shapes do not agree"
    if len(shard.shapes) and shard.shapes.min() != stored_side(dataset.image_size):
        yield f"an image's shorter side is {shard.shapes.min()}, not {stored_side(dataset.image_size)}"
    tokens = file["tokens/data"][()]
    if len(tokens) and not (tokens.min() >= 1 and tokens.max() < len(dataset.vocabulary)):
        yield "a caption has tokens outside the vocabulary"
    if entry.images and np.diff(shard.caption_ranges).min() < 1:
        yield "an image has no caption"
    if dataset.class_names and len(file["class_ids"]):
        class_ids = split.class_ids
        if class_ids.min() < 0 or class_ids.max() >= len(dataset.class_names):
            yield f"a class id is outside the {len(dataset.class_names)} classes"
    if dataset.attribute_names and file["attributes"].shape != (entry.images, len(dataset.attribute_names)):
        yield f"attributes are {file['attributes'].shape}, not {(entry.images, len(dataset.attribute_names))}"
    for key in split.keys:
        if key in seen:
            yield f"the name {key!r} is also in {seen[key]}"
        seen[key] = entry.file
