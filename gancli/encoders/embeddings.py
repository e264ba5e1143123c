"""Caption embeddings: one sentence vector per caption of a split, computed once or read from a file.

A frozen encoder gives the same vector for a caption each time, so training reads vectors from a memory-mapped file
instead of running the encoder. The file is in the dataset folder, named by the hashes of encoder and split. Embeddings
made elsewhere come as an .npz file of keys and vectors of any width, which `gancli embed` also writes.
"""

from __future__ import annotations

import hashlib
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from gancli.atomic import atomic_file
from gancli.data.shards import Dataset, Split
from gancli.encoders.sentence import SentenceEncoder, load_sentence_encoder
from gancli.encoders.vectors import VectorFile, open_vectors, split_hash, write_vectors
from gancli.errors import DataError
from gancli.hashes import file_hash
from gancli.progress import Progress, reporting

T = TypeVar("T")

FOLDER = "embeddings"  # in the dataset folder
_CHUNK = 256  # captions encoded at once


@dataclass(frozen=True)
class CaptionEmbeddings:
    """Vectors of a split's captions, in its order.

    Attributes:
        file: Vectors, (captions, E) float32.
        starts: First caption of each image, (N + 1,).
        dim: Length E of a vector.
        hash: sha256 of the encoder's weights, or of the file that the vectors came from.
        name: Folder of the encoder or name of the file, for messages and settings.
    """

    file: VectorFile
    starts: NDArray[np.int64]
    dim: int
    hash: str
    name: str

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.starts) - 1

    def of(self, index: int) -> NDArray[np.float32]:
        """Return the vectors of one image's captions, (K, E)."""
        vectors: NDArray[np.float32] = self.file.vectors[self.starts[index] : self.starts[index + 1]]
        return vectors

    def mean_of(self, index: int, number: int, rng: np.random.Generator) -> NDArray[np.float32]:
        """Return the mean of `number` vectors of one image, drawn without replacement, or of all if it has fewer."""
        vectors = self.of(index)
        if len(vectors) > number:
            vectors = vectors[np.sort(rng.permutation(len(vectors))[:number])]
        mean: NDArray[np.float32] = vectors.mean(axis=0)
        return mean


class _Encoder(Protocol):
    @property
    def dim(self) -> int: ...
    @property
    def hash(self) -> str: ...
    @property
    def folder(self) -> Path: ...


def embed_split(
    split: Split, encoder: SentenceEncoder, *, progress: Progress | bool = True
) -> CaptionEmbeddings:
    """Return the vectors of all captions of a split, read from the dataset's `embeddings/` or written there.

    Args:
        split: Split of the captions.
        encoder: Sentence encoder.
        progress: Callback for the number of captions done and in all. True shows a bar where a person watches.

    Raises:
        DataError: The encoder knows no word of a caption.
        RunError: The disk is full.
    """

    def encode(captions: list[str]) -> NDArray[np.float32]:
        encoder.check(captions)
        return encoder.encode(captions).cpu().numpy()

    starts = _starts(split)
    with reporting(progress, "encoding", "captions") as report:
        chunks = in_chunks(split, split.captions, encode, _CHUNK, int(starts[-1]), report)
        return kept_embeddings(split, starts, encoder, chunks)


def kept_embeddings(
    split: Split, starts: NDArray[np.int64], encoder: _Encoder, chunks: Iterable[NDArray[np.float32]]
) -> CaptionEmbeddings:
    """Return the vectors of a split's captions, written or spoken, from the dataset's `embeddings/`.

    Args:
        split: Split of the captions.
        starts: First caption of each image, (N + 1,).
        encoder: Encoder of the captions.
        chunks: All vectors in order, (b, E) each. They are computed only if they are not in the dataset yet.
    """
    path, shape = _kept(split, encoder.hash), (int(starts[-1]), encoder.dim)
    if not path.is_file():
        write_vectors(path, shape, np.float32, chunks)
    return CaptionEmbeddings(
        open_vectors(path, shape), starts, encoder.dim, encoder.hash, str(encoder.folder)
    )


def _kept(split: Split, digest: str) -> Path:
    """Return the file of a split's vectors. The split's hash is in its name, as a dataset may be prepared anew."""
    captions = hashlib.sha256(split_hash(split).encode()).hexdigest()
    return split.folder / FOLDER / f"{split.name}-{captions[:8]}-{digest[:16]}.npy"


def in_chunks(
    split: Split,
    captions_of: Callable[[int], Iterable[T]],
    encode: Callable[[list[T]], NDArray[np.float32]],
    least: int,
    total: int,
    progress: Progress | None,
) -> Iterator[NDArray[np.float32]]:
    """Yield the vectors of a split's written or spoken captions, (b, E) of at least `least` captions at once."""
    done = 0
    waiting: list[T] = []
    for index in range(len(split)):
        waiting += captions_of(index)
        if len(waiting) >= least or index + 1 == len(split):
            yield encode(waiting)
            done += len(waiting)
            waiting = []
            if progress is not None:
                progress(done, total)


def export_embeddings(
    dataset: Dataset | str | Path,
    encoder: SentenceEncoder | str | Path,
    path: str | Path,
    *,
    progress: Progress | bool = True,
) -> int:
    """Write the vectors of all captions of all splits to an .npz file that `load_embeddings` and NumPy read.

    Its arrays are `keys` (N,), `counts` (N,), the captions of each image, `embeddings` (captions, E) float32 in that
    order, `encoder` and `encoder_hash`. If all images have K captions, `embeddings` reshapes to (N, K, E).

    Args:
        dataset: Dataset or its folder.
        encoder: Sentence encoder or its folder.
        path: File to write, whole or not at all. Missing folders are made.
        progress: Callback for the number of captions done and in all. True shows a bar where a person watches.

    Returns:
        Number of captions written.

    Raises:
        DataError: Dataset or encoder are missing or broken, or the encoder knows no word of a caption.
        RunError: The disk is full.
    """
    path = Path(path)
    dataset = dataset if isinstance(dataset, Dataset) else Dataset.open(dataset)
    encoder = load_sentence_encoder(encoder) if isinstance(encoder, str | Path) else encoder
    splits = [dataset.split(name) for name in dataset.split_names]
    parts = [embed_split(split, encoder, progress=progress) for split in splits]
    path.parent.mkdir(parents=True, exist_ok=True)
    vectors = np.concatenate([part.file.vectors for part in parts])
    with atomic_file(path) as temporary, temporary.open("wb") as file:
        np.savez(
            file,
            keys=np.array([key for split in splits for key in split.keys]),
            counts=np.concatenate([np.diff(part.starts) for part in parts]),
            embeddings=vectors,
            encoder=np.array(encoder.kind),
            encoder_hash=np.array(encoder.hash),
        )
    return len(vectors)


def load_embeddings(path: str | Path, split: Split) -> CaptionEmbeddings:
    """Load the vectors of a split's captions from an .npz file.

    The file holds `keys` (N,) and `embeddings`: (N, K, E), or (captions, E) with `counts` (N,). It may hold more images
    than the split, in any order. The vectors of the split are kept in the dataset's `embeddings/`, so that training
    maps them instead of holding them in memory.

    Args:
        path: The .npz file.
        split: Split of the captions.

    Raises:
        DataError: The file is missing, is no such file, belongs to another dataset, or has another number of captions
            for an image.
    """
    path = Path(path)
    keys, counts, vectors = _read_npz(path)
    starts = np.concatenate([[0], np.cumsum(counts)])
    if starts[-1] != len(vectors):
        raise DataError(f"{path}: holds {len(vectors)} vectors, but its counts add up to {starts[-1]}")
    positions = {str(key): number for number, key in enumerate(keys)}
    missing = [key for key in split.keys if key not in positions]
    if missing:
        raise DataError(
            f"{path}: has no embedding of {len(missing):,} of the {len(split):,} images of split {split.name!r} of "
            f"{split.folder}, the first is {missing[0]!r}",
            f"The file names images as {str(keys[0])!r}. Use the embeddings that were made for this dataset.",
        )
    rows = [positions[key] for key in split.keys]
    expected = np.diff(_starts(split))
    wrong = np.flatnonzero(counts[rows] != expected)
    if len(wrong):
        key = split.keys[wrong[0]]
        raise DataError(
            f"{path}: {len(wrong):,} images have another number of captions than in {split.folder}, the first is "
            f"{key!r}: {counts[rows[wrong[0]]]} vectors, {expected[wrong[0]]} captions",
            "Use the embeddings that were made for this dataset.",
        )
    digest = file_hash(path)
    kept, shape = _kept(split, digest), (int(expected.sum()), int(vectors.shape[1]))
    if not kept.is_file():
        order = np.concatenate([np.arange(starts[row], starts[row + 1]) for row in rows])
        write_vectors(kept, shape, np.float32, [vectors[order]])
    return CaptionEmbeddings(open_vectors(kept, shape), _starts(split), shape[1], digest, str(path))


def _starts(split: Split) -> NDArray[np.int64]:
    counts, _ = split.caption_counts()
    return np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)


_NPZ = "An embeddings file is an .npz with `keys` (N,) and `embeddings` (N, K, E), or (captions, E) with `counts`."


def _read_npz(path: Path) -> tuple[NDArray[np.str_], NDArray[np.int64], NDArray[np.floating]]:
    """Return keys (N,), counts (N,) and vectors (captions, E) of an embeddings file."""
    try:
        opened = np.load(path, allow_pickle=False)
        if not isinstance(opened, np.lib.npyio.NpzFile):
            raise DataError(f"{path}: is a single array, not an .npz", _NPZ)
        with opened as file:
            lacking = {"keys", "embeddings"} - set(file.files)
            if lacking:
                raise DataError(f"{path}: lacks {' and '.join(sorted(lacking))}", _NPZ)
            keys, vectors = file["keys"], file["embeddings"]
            counts = file["counts"] if "counts" in file.files else None
    except FileNotFoundError:
        raise DataError(f"{path}: no such file", _NPZ) from None
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise DataError(f"{path}: cannot be read as an embeddings file ({error})", _NPZ) from error
    if vectors.ndim == 3:
        counts = np.full(len(vectors), vectors.shape[1])
        vectors = vectors.reshape(-1, vectors.shape[2])
    if counts is None or not _fit(keys, counts, vectors):
        shapes = f"keys {keys.dtype} {keys.shape}, embeddings {vectors.dtype} {vectors.shape}"
        raise DataError(f"{path}: its arrays do not fit ({shapes})", _NPZ)
    if len(np.unique(keys)) < len(keys):
        raise DataError(f"{path}: names an image twice", _NPZ)
    if not np.isfinite(vectors).all():
        raise DataError(f"{path}: holds values that are not finite")
    return keys, counts.astype(np.int64), vectors


def _fit(keys: NDArray[np.str_], counts: NDArray[np.int64], vectors: NDArray[np.floating]) -> bool:
    """Return True if types and shapes of the arrays are right."""
    right = keys.ndim == 1 and keys.dtype.kind == "U" and vectors.ndim == 2 and vectors.dtype.kind == "f"
    return right and counts.shape == keys.shape and len(keys) > 0
