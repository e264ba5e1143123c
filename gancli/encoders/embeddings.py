"""Caption embeddings: one sentence vector per caption of a split, computed once or brought in from a file.

A frozen encoder gives the same vector for a caption each time, so training reads vectors from a memory-mapped file
instead of running the encoder. The file lies in the dataset folder under the encoder's and the split's hash. Embeddings
that were made elsewhere come as an .npz of their keys and vectors (`gancli pretrain-encoder char-cnn-rnn --export`
writes the same), of any width.
"""

from __future__ import annotations

import hashlib
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gancli.atomic import atomic_file
from gancli.data.shards import Dataset, Split, file_hash
from gancli.encoders.sentence import SentenceEncoder
from gancli.encoders.vectors import VectorFile, open_vectors, split_hash, write_vectors
from gancli.errors import DataError
from gancli.progress import Progress

FOLDER = "embeddings"  # in the dataset folder
_CHUNK = 256  # captions encoded at once


@dataclass(frozen=True)
class CaptionEmbeddings:
    """The vectors of a split's captions, in its order.

    Attributes:
        file: (captions, E) float32.
        starts: (N + 1,) where the captions of each image begin.
        dim: E.
        hash: sha256 of the encoder's weights, or of the file the vectors came from.
        name: For messages and configurations: the encoder's folder or the file.
    """

    file: VectorFile
    starts: NDArray[np.int64]
    dim: int
    hash: str
    name: str

    def __len__(self) -> int:
        """Images."""
        return len(self.starts) - 1

    def of(self, index: int) -> NDArray[np.float32]:
        """The vectors of one image's captions, (K, E)."""
        vectors: NDArray[np.float32] = self.file.vectors[self.starts[index] : self.starts[index + 1]]
        return vectors

    def mean_of(self, index: int, number: int, rng: np.random.Generator) -> NDArray[np.float32]:
        """The mean of `number` vectors of one image drawn without replacement, (E,); of all where it has fewer."""
        vectors = self.of(index)
        if len(vectors) > number:
            vectors = vectors[np.sort(rng.permutation(len(vectors))[:number])]
        mean: NDArray[np.float32] = vectors.mean(axis=0)
        return mean


def embed_split(
    split: Split, encoder: SentenceEncoder, *, progress: Progress | None = None
) -> CaptionEmbeddings:
    """The vectors of all captions of a split, from the dataset's `embeddings/` or computed and kept there.

    Args:
        split: Its captions.
        encoder: Reads them.
        progress: Called after each chunk.

    Raises:
        DataError: The encoder knows no word of a caption.
        RunError: The disk is full.
    """
    starts = _starts(split)
    chunks = _encoded(split, encoder, int(starts[-1]), progress)
    return kept_embeddings(split, starts, encoder.dim, encoder.hash, str(encoder.folder), chunks)


def kept_embeddings(
    split: Split,
    starts: NDArray[np.int64],
    dim: int,
    digest: str,
    name: str,
    chunks: Iterable[NDArray[np.float32]],
) -> CaptionEmbeddings:
    """The vectors of a split's captions, written or spoken, from the dataset's `embeddings/` or kept there now.

    Args:
        split: Whose captions.
        starts: (N + 1,) where the captions of each image begin.
        dim: E.
        digest: sha256 of the encoder's weights.
        name: The encoder's folder.
        chunks: (b, E), all the vectors in order; looked at only if they are not there yet.
    """
    path, shape = _kept(split, digest), (int(starts[-1]), dim)
    if not path.is_file():
        write_vectors(path, shape, np.float32, chunks)
    return CaptionEmbeddings(open_vectors(path, shape), starts, dim, digest, name)


def _kept(split: Split, digest: str) -> Path:
    """Where the vectors of a split are kept; the folder may be prepared anew under the same name."""
    captions = hashlib.sha256(split_hash(split).encode()).hexdigest()
    return split.folder / FOLDER / f"{split.name}-{captions[:8]}-{digest[:16]}.npy"


def _encoded(
    split: Split, encoder: SentenceEncoder, total: int, progress: Progress | None
) -> Iterator[NDArray[np.float32]]:
    """(b, E) for some captions after the other."""
    done = 0
    waiting: list[str] = []
    for index in range(len(split)):
        waiting += split.captions(index)
        if len(waiting) >= _CHUNK or index + 1 == len(split):
            encoder.check(waiting)
            yield encoder.encode(waiting).cpu().numpy()
            done += len(waiting)
            waiting = []
            if progress is not None:
                progress(done, total)


def export_embeddings(
    dataset: Dataset, encoder: SentenceEncoder, path: Path, *, progress: Progress | None = None
) -> int:
    """Writes the vectors of all captions of all splits to an .npz file that `load_embeddings` and NumPy read.

    The arrays: `keys` (N,) of text, `counts` (N,) captions of each image, `embeddings` (captions, E) float32 in that
    order, `encoder` and `encoder_hash`. Where all images have K captions, `embeddings` reshapes to (N, K, E).

    Args:
        dataset: Its captions.
        encoder: Reads them.
        path: The file to write, whole or not at all.
        progress: Called after each chunk.

    Returns:
        Captions written.
    """
    splits = [dataset.split(name) for name in dataset.split_names]
    parts = [embed_split(split, encoder, progress=progress) for split in splits]
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


def load_embeddings(path: Path, split: Split) -> CaptionEmbeddings:
    """The vectors of a split's captions from an .npz file.

    The file holds `keys` (N,) and `embeddings`: (N, K, E), or (captions, E) with `counts` (N,). It may hold more
    images than the split, in any order. The part of the split is kept in the dataset's `embeddings/`, so that
    training maps it instead of holding it.

    Raises:
        DataError: The file is missing, not such an .npz, belongs to another dataset (keys are missing), or an image has
            another number of captions in it.
    """
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


def _read_npz(path: Path) -> tuple[NDArray[np.str_], NDArray[np.int64], NDArray[np.floating]]:
    """Keys (N,), counts (N,) and vectors (captions, E) of an embeddings file."""
    hint = "An embeddings file is an .npz with `keys` (N,) and `embeddings` (N, K, E), or (captions, E) with `counts`."
    try:
        opened = np.load(path, allow_pickle=False)
        if not isinstance(opened, np.lib.npyio.NpzFile):
            raise DataError(f"{path}: is a single array, not an .npz", hint)
        with opened as file:
            lacking = {"keys", "embeddings"} - set(file.files)
            if lacking:
                raise DataError(f"{path}: lacks {' and '.join(sorted(lacking))}", hint)
            keys, vectors = file["keys"], file["embeddings"]
            counts = file["counts"] if "counts" in file.files else None
    except FileNotFoundError:
        raise DataError(f"{path}: no such file", hint) from None
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise DataError(f"{path}: cannot be read as an embeddings file ({error})", hint) from error
    if vectors.ndim == 3:
        counts = np.full(len(vectors), vectors.shape[1])
        vectors = vectors.reshape(-1, vectors.shape[2])
    shapes = f"keys {keys.dtype} {keys.shape}, embeddings {vectors.dtype} {vectors.shape}"
    if keys.ndim != 1 or keys.dtype.kind != "U" or vectors.ndim != 2 or vectors.dtype.kind != "f":
        raise DataError(f"{path}: its arrays do not fit ({shapes})", hint)
    if counts is None or counts.shape != keys.shape or len(keys) == 0:
        raise DataError(f"{path}: its arrays do not fit ({shapes})", hint)
    if len(np.unique(keys)) < len(keys):
        raise DataError(f"{path}: names an image twice", hint)
    if not np.isfinite(vectors).all():
        raise DataError(f"{path}: holds values that are not finite")
    return keys, counts.astype(np.int64), vectors
