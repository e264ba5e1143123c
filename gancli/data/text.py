"""Captions as numbers: tokenizer, vocabulary and padding, as in AttnGAN and its successors.

The tokenizer follows AttnGAN's public code (datasets.py): lower-case, maximal runs of word characters, everything
outside ASCII dropped. The rule gives the same words on the same captions, but not the same numbers: a published encoder
belongs to the captions.pickle it was trained with (`gancli.importing.vocabulary`).
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gancli.atomic import atomic_file
from gancli.errors import DataError

END = "<end>"  # index 0: padding of a batch, never a word of a caption
_LISTED = 5  # captions that a message names
RULE = r"lower-case, runs of \w, ASCII only"
VOCABULARY_VERSION = 1

_WORD = re.compile(r"\w+")


def clean_caption(caption: str) -> str:
    """Return the caption as stored: pairs of U+FFFD (lost characters) and runs of white space become one space."""
    text = caption.encode("utf-8", "replace").decode()  # turns lone surrogates, which JSON may hold, into "?"
    return " ".join(text.replace("\ufffd\ufffd", " ").split())


def tokenize(caption: str) -> list[str]:
    """Split a caption, any Unicode text, into lower-case ASCII words by the rule of AttnGAN's code, possibly none."""
    words = _WORD.findall(clean_caption(caption).lower())
    ascii_words = (word.encode("ascii", "ignore").decode("ascii") for word in words)
    return [word for word in ascii_words if word]


class Vocabulary:
    """Words that a text encoder knows, by index. Index 0 is `<end>`, the padding. There is no entry for unknown words.

    Raises:
        DataError: The first entry is not `<end>`, or a word is listed twice.
    """

    def __init__(self, words: Sequence[str]) -> None:
        self.words = tuple(words)
        if not self.words or self.words[0] != END:
            raise DataError(f"a vocabulary starts with {END!r}, this one with {self.words[:1]}")
        self._index = {word: index for index, word in enumerate(self.words)}
        if len(self._index) != len(self.words):
            twice = next(word for index, word in enumerate(self.words) if self._index[word] != index)
            raise DataError(f"the vocabulary lists the word {twice!r} twice")

    @classmethod
    def build(cls, captions: str | Iterable[str]) -> Vocabulary:
        """Return a vocabulary of all words of the captions, in the order of first appearance."""
        captions = [captions] if isinstance(captions, str) else captions
        words = dict.fromkeys(word for caption in captions for word in tokenize(caption))
        return cls((END, *words))

    def __len__(self) -> int:
        return len(self.words)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Vocabulary) and self.words == other.words

    def __hash__(self) -> int:
        return hash(self.words)

    def __repr__(self) -> str:
        return f"Vocabulary({len(self)} entries, {self.hash[:12]})"

    @cached_property
    def hash(self) -> str:
        """Hexadecimal sha256 of the words as canonical JSON, which ties an encoder to its vocabulary."""
        text = json.dumps(self.words, ensure_ascii=False, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()

    def encode(self, tokens: Iterable[str]) -> NDArray[np.int32]:
        """Return the indices of the tokens, (T,) int32 in [1, len(self)) without unknown words, as AttnGAN does."""
        known = (self._index.get(token, 0) for token in tokens)
        return np.array([index for index in known if index], dtype=np.int32)

    def unknown(self, tokens: Iterable[str]) -> list[str]:
        """Return the distinct tokens outside the vocabulary, in order."""
        return list(dict.fromkeys(token for token in tokens if not self._index.get(token)))

    def save(self, path: str | Path) -> None:
        """Write the vocabulary as JSON, atomically."""
        content = {"version": VOCABULARY_VERSION, "rule": RULE, "hash": self.hash, "words": self.words}
        with atomic_file(Path(path)) as temporary:
            temporary.write_text(json.dumps(content, ensure_ascii=False, indent=0) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: str | Path) -> Vocabulary:
        """Read a vocabulary that `save` wrote.

        Raises:
            DataError: The file is missing, is not a vocabulary, or its words do not match its hash.
        """
        path = Path(path)
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise DataError(f"{path}: there is no vocabulary file here") from None
        except (OSError, ValueError) as error:
            raise DataError(f"{path}: cannot be read as a vocabulary ({error})") from error
        if not isinstance(content, dict) or content.get("version") != VOCABULARY_VERSION:
            found = content.get("version") if isinstance(content, dict) else type(content).__name__
            raise DataError(f"{path}: vocabulary version {found!r}, this gancli reads {VOCABULARY_VERSION}")
        words = content.get("words")
        if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
            raise DataError(f"{path}: `words` is not a list of strings")
        try:
            vocabulary = cls(words)
        except DataError as error:
            raise DataError(f"{path}: {error}") from None
        if vocabulary.hash != content.get("hash"):
            problem = "the words do not match their hash, the file was changed or damaged"
            raise DataError(f"{path}: {problem}", hint="copy the file again, or prepare the dataset again")
        return vocabulary


def crop_tokens(tokens: NDArray[np.int32], words: int, rng: np.random.Generator | None) -> NDArray[np.int32]:
    """Shorten a caption (T,) to at most `words` tokens, at least 1.

    With `rng` draw a subsequence, as AttnGAN's training does; without it keep the first tokens.
    """
    if len(tokens) <= words:
        return tokens
    if rng is None:
        return tokens[:words]
    return tokens[np.sort(rng.permutation(len(tokens))[:words])]


def pad_tokens(
    captions: Sequence[NDArray[np.int32]], width: int | None = None
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Stack B token sequences (T_b,), padded on the right with index 0 to `width`, or to the longest.

    Returns:
        Tokens (B, L) and lengths (B,), both int64.

    Raises:
        ValueError: A caption is longer than `width`.
    """
    lengths = np.array([len(caption) for caption in captions], dtype=np.int64)  # (B,)
    longest = int(lengths.max(initial=0))
    width = longest if width is None else width
    if longest > width:
        raise ValueError(f"a caption of {longest} tokens does not fit into {width}")
    tokens = np.zeros((len(captions), width), dtype=np.int64)  # (B, L)
    if longest:
        tokens[np.arange(width) < lengths[:, None]] = np.concatenate(captions)
    return tokens, lengths


def some_of(captions: Sequence[str]) -> str:
    """Return the first few captions, for a message, and the number of the others."""
    more = f"; and {len(captions) - _LISTED} more captions" if len(captions) > _LISTED else ""
    return "; ".join(captions[:_LISTED]) + more
