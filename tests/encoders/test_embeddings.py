"""Caption embeddings are computed once, exported and loaded, and refused if they do not fit."""

from __future__ import annotations

import pickle
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from gancli.data.shards import Dataset
from gancli.encoders.embeddings import embed_split, export_embeddings, load_embeddings
from gancli.encoders.sentence import SentenceEncoder, load_sentence_encoder
from gancli.errors import DataError


@pytest.fixture
def dataset(tiny_dataset: Path, tmp_path: Path) -> Dataset:
    """Copy of the tiny dataset without the embeddings that other tests left in it."""
    none = shutil.ignore_patterns("embeddings")
    return Dataset.open(shutil.copytree(tiny_dataset, tmp_path / "data", ignore=none))


@pytest.fixture
def encoder(tiny_encoder: Path) -> SentenceEncoder:
    return load_sentence_encoder(tiny_encoder)


def arrays(path: Path) -> dict[str, np.ndarray]:
    with np.load(path, allow_pickle=False) as file:
        return dict(file)


def test_each_caption_has_the_encoders_vector(dataset: Dataset, encoder: SentenceEncoder) -> None:
    split = dataset.split("test")
    embeddings = embed_split(split, encoder)
    assert len(embeddings) == len(split)
    assert embeddings.dim == encoder.dim
    for index in (0, 5, len(split) - 1):
        expected = encoder.encode(split.captions(index)).numpy()
        np.testing.assert_allclose(embeddings.of(index), expected, rtol=1e-5, atol=1e-6)


def test_folders_in_place_of_dataset_and_encoder(
    dataset: Dataset, encoder: SentenceEncoder, tiny_encoder: Path, tmp_path: Path
) -> None:
    count = export_embeddings(dataset, encoder, tmp_path / "a.npz")
    assert export_embeddings(str(dataset.path), str(tiny_encoder), str(tmp_path / "new/b.npz")) == count
    first, second = arrays(tmp_path / "a.npz"), arrays(tmp_path / "new/b.npz")
    assert all(np.array_equal(first[name], second[name]) for name in first)
    split = dataset.split("test")
    loaded = [load_embeddings(path, split).hash for path in (tmp_path / "a.npz", str(tmp_path / "a.npz"))]
    assert len(set(loaded)) == 1


def test_the_second_time_nothing_is_encoded(
    dataset: Dataset, encoder: SentenceEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    split = dataset.split("train")
    first = np.array(embed_split(split, encoder).file.vectors)

    def refuse(self: object, captions: Sequence[str]) -> torch.Tensor:
        raise AssertionError("encoded again")

    monkeypatch.setattr(type(encoder), "encode", refuse)
    np.testing.assert_array_equal(embed_split(split, encoder).file.vectors, first)


def test_an_interrupted_computation_leaves_nothing(
    dataset: Dataset, encoder: SentenceEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    split = dataset.split("train")

    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        embed_split(split, encoder, progress=stop)
    assert list((dataset.path / "embeddings").iterdir()) == []
    assert len(embed_split(split, encoder)) == len(split)


def test_a_loader_process_gets_the_path_not_the_vectors(dataset: Dataset, encoder: SentenceEncoder) -> None:
    embeddings = embed_split(dataset.split("train"), encoder)
    first = np.array(embeddings.of(0))
    copy = pickle.loads(pickle.dumps(embeddings))  # noqa: S301 - what torch's loader does
    assert len(pickle.dumps(embeddings)) < 4000
    np.testing.assert_array_equal(copy.of(0), first)


def test_the_mean_is_of_different_captions(dataset: Dataset, encoder: SentenceEncoder) -> None:
    embeddings = embed_split(dataset.split("train"), encoder)
    vectors = embeddings.of(2)  # three captions
    pairs = [(vectors[a] + vectors[b]) / 2 for a, b in ((0, 1), (0, 2), (1, 2))]
    seen = set()
    for seed in range(30):
        mean = embeddings.mean_of(2, 2, np.random.default_rng(seed))
        seen.add(int(np.argmin([np.abs(mean - pair).max() for pair in pairs])))
        assert min(np.abs(mean - pair).max() for pair in pairs) < 1e-6
    assert seen == {0, 1, 2}
    np.testing.assert_allclose(
        embeddings.mean_of(2, 4, np.random.default_rng(0)), vectors.mean(axis=0), rtol=1e-5, atol=1e-7
    )


def test_what_is_exported_comes_back(dataset: Dataset, encoder: SentenceEncoder, tmp_path: Path) -> None:
    path = tmp_path / "embeddings.npz"
    assert export_embeddings(dataset, encoder, path) == 72
    content = arrays(path)
    assert content["embeddings"].shape == (72, encoder.dim)
    assert str(content["encoder_hash"]) == encoder.hash
    shutil.rmtree(dataset.path / "embeddings")
    for name in dataset.split_names:
        split = dataset.split(name)
        brought = np.array(load_embeddings(path, split).file.vectors)
        np.testing.assert_array_equal(brought, embed_split(split, encoder).file.vectors)


def test_a_file_of_another_width_order_and_shape_is_taken(dataset: Dataset, tmp_path: Path) -> None:
    split = dataset.split("test")
    keys = [*reversed(split.keys), "another/image"]
    vectors = np.random.default_rng(0).standard_normal((len(keys), 3, 7))
    np.savez(tmp_path / "own.npz", keys=np.array(keys), embeddings=vectors)
    embeddings = load_embeddings(tmp_path / "own.npz", split)
    assert embeddings.dim == 7
    for index, key in enumerate(split.keys):
        np.testing.assert_allclose(embeddings.of(index), vectors[keys.index(key)], rtol=1e-6)


def write(path: Path, **changes: object) -> Path:
    content: dict[str, object] = {
        "keys": np.array(["a", "b"]),
        "embeddings": np.zeros((2, 3, 4), np.float32),
    }
    np.savez(path, **{name: value for name, value in (content | changes).items() if value is not None})  # type: ignore[arg-type]
    return path


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({}, "has no embedding of 12 of the 12 images"),
        ({"keys": None}, "lacks keys"),
        ({"embeddings": np.zeros((2, 4))}, "do not fit"),
        ({"embeddings": np.zeros((5, 4)), "counts": np.array([2, 2])}, "add up to 4"),
        ({"embeddings": np.full((2, 3, 4), np.nan)}, "not finite"),
        ({"keys": np.array([1, 2])}, "do not fit"),
        ({"keys": np.array([b"a", b"b"])}, r"do not fit \(keys \|S1 "),
        ({"keys": np.array(["a", "a"])}, "names an image twice"),
        ({"keys": np.array(["a", None], dtype=object)}, "cannot be read"),
    ],
)
def test_files_that_do_not_fit_say_why(
    dataset: Dataset, tmp_path: Path, changes: dict[str, object], message: str
) -> None:
    path = write(tmp_path / "own.npz", **changes)
    with pytest.raises(DataError, match=message) as caught:
        load_embeddings(path, dataset.split("train"))
    assert "own.npz" in str(caught.value)


def test_another_number_of_captions_is_refused(dataset: Dataset, tmp_path: Path) -> None:
    split = dataset.split("train")
    path = write(tmp_path / "own.npz", keys=np.array(split.keys), embeddings=np.zeros((len(split), 2, 4)))
    with pytest.raises(DataError, match=r"2 vectors, 3 captions"):
        load_embeddings(path, split)


@pytest.mark.parametrize("content", [b"", b"not a zip", b"PK\x03\x04 cut"])
def test_a_file_that_is_no_npz_is_refused(dataset: Dataset, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "own.npz").write_bytes(content)
    with pytest.raises(DataError, match=r"own\.npz"):
        load_embeddings(tmp_path / "own.npz", dataset.split("train"))
    with pytest.raises(DataError, match="no such file"):
        load_embeddings(tmp_path / "absent.npz", dataset.split("train"))


def test_an_array_alone_is_no_embeddings_file(dataset: Dataset, tmp_path: Path) -> None:
    np.save(tmp_path / "own.npy", np.zeros((12, 3, 4), np.float32))
    with pytest.raises(DataError, match="is a single array"):
        load_embeddings(tmp_path / "own.npy", dataset.split("train"))
