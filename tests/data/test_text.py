"""The tokenizer's rule, the vocabulary file, and the cropping and padding of captions."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gancli.data.text import END, Vocabulary, clean_caption, crop_tokens, pad_tokens, tokenize
from gancli.errors import DataError


@pytest.mark.parametrize(
    ("caption", "tokens"),
    [
        ("This bird's wing-bars, are WHITE!", ["this", "bird", "s", "wing", "bars", "are", "white"]),
        ("a grey\ufffd\ufffdblack bird", ["a", "grey", "black", "bird"]),
        ("a na\u00efve caf\u00e9", ["a", "nave", "caf"]),
        ("\u9ce5 42 under_score", ["42", "under_score"]),
        ("a \ud800 bird", ["a", "bird"]),
        ("  ...  ", []),
        ("", []),
    ],
)
def test_tokenize(caption: str, tokens: list[str]) -> None:
    assert tokenize(caption) == tokens


@given(st.text())
def test_tokens_are_lower_case_ascii_words_and_stable(caption: str) -> None:
    tokens = tokenize(caption)
    assert all(token and token.isascii() and token == token.lower() for token in tokens)
    assert tokenize(" ".join(tokens)) == tokens
    assert tokenize(clean_caption(caption)) == tokens


def test_vocabulary_of_all_cub_captions_has_the_published_size(shared_data: Path) -> None:
    captions: list[str] = []
    with tarfile.open(shared_data / "cub_captions_full.tar.gz") as archive:
        for member in archive:
            file = archive.extractfile(member)
            if file and member.name.endswith(".txt"):
                captions += file.read().decode("utf-8").split("\n")
    assert len(Vocabulary.build(captions)) == 5450


def test_vocabulary_counts_from_one_in_order_of_appearance() -> None:
    vocabulary = Vocabulary.build(["A red bird", "a blue bird"])
    assert vocabulary.words == (END, "a", "red", "bird", "blue")
    assert vocabulary.encode(["bird", "green", "a"]).tolist() == [3, 1]
    assert vocabulary.encode([]).dtype == np.int32
    assert vocabulary.unknown(["green", "bird", "small", "green"]) == ["green", "small"]


def test_end_of_caption_is_no_word() -> None:
    vocabulary = Vocabulary.build(["a bird"])
    assert vocabulary.encode([END]).tolist() == []
    assert vocabulary.unknown([END]) == [END]


@given(st.lists(st.text(max_size=30), max_size=8))
def test_vocabulary_file_round_trip(tmp_path_factory: pytest.TempPathFactory, captions: list[str]) -> None:
    path = tmp_path_factory.mktemp("vocabulary") / "vocabulary.json"
    vocabulary = Vocabulary.build(captions)
    vocabulary.save(str(path))
    assert Vocabulary.load(path) == vocabulary
    assert Vocabulary.load(str(path)).hash == vocabulary.hash


def test_one_caption_is_not_split_into_letters() -> None:
    assert Vocabulary.build("a red bird").words == (END, "a", "red", "bird")


def test_vocabulary_hash_depends_on_order() -> None:
    assert Vocabulary([END, "a", "b"]).hash != Vocabulary([END, "b", "a"]).hash


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"words": [END, "a", "bird"]}, "do not match their hash"),
        ({"words": ["a"]}, "starts with '<end>'"),
        ({"words": [END, "a", "a"]}, "'a' twice"),
        ({"words": "a bird"}, "list of strings"),
        ({"version": 7}, "version 7, this gancli reads 1"),
    ],
)
def test_damaged_vocabulary_names_file_and_fault(
    tmp_path: Path, change: dict[str, object], message: str
) -> None:
    path = tmp_path / "vocabulary.json"
    Vocabulary.build(["a red bird"]).save(path)
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(DataError, match=message) as caught:
        Vocabulary.load(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("content", [None, b"{", b"[1]", b"\xff\xfe"])
def test_unreadable_vocabulary(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "vocabulary.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DataError, match=r"vocabulary\.json"):
        Vocabulary.load(path)


@given(st.integers(1, 40), st.integers(1, 20), st.integers(0, 1000))
def test_crop_keeps_a_subsequence(length: int, words: int, seed: int) -> None:
    tokens = np.arange(1, length + 1, dtype=np.int32)
    kept = crop_tokens(tokens, words, np.random.default_rng(seed))
    assert len(kept) == min(length, words)
    assert (np.diff(kept) > 0).all()
    assert crop_tokens(tokens, words, None).tolist() == tokens[:words].tolist()


def test_crop_reaches_every_word() -> None:
    tokens = np.arange(6, dtype=np.int32)
    rng = np.random.default_rng(0)
    assert {int(token) for _ in range(60) for token in crop_tokens(tokens, 2, rng)} == set(range(6))


def test_pad() -> None:
    tokens, lengths = pad_tokens([np.array([3, 1], np.int32), np.array([2], np.int32)], 3)
    assert tokens.tolist() == [[3, 1, 0], [2, 0, 0]]
    assert lengths.tolist() == [2, 1]
    assert tokens.dtype == lengths.dtype == np.int64
    assert pad_tokens([np.array([3, 1], np.int32), np.array([], np.int32)])[0].tolist() == [[3, 1], [0, 0]]
    with pytest.raises(ValueError, match="2 tokens does not fit into 1"):
        pad_tokens([np.array([3, 1], np.int32)], 1)
