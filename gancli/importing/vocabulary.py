"""Vocabularies of public codes: the captions.pickle of AttnGAN and its successors."""

from __future__ import annotations

from pathlib import Path

from gancli.data.text import Vocabulary
from gancli.errors import DataError
from gancli.pickles import read_plain_pickle

PICKLES = (".pickle", ".pkl")


def read_vocabulary(path: str | Path) -> Vocabulary:
    """Read a vocabulary.json of gancli, or a captions.pickle of AttnGAN, whose order of words it keeps.

    A captions.pickle holds a list of four: captions of both splits as numbers, {number: word}, and {word: number}.

    Raises:
        DataError: The file is neither, or its numbers have gaps.
    """
    path = Path(path)
    if path.suffix not in PICKLES:
        return Vocabulary.load(path)
    content = read_plain_pickle(path, "AttnGAN's captions.pickle")
    if not isinstance(content, list) or len(content) != 4 or not isinstance(content[2], dict):
        raise DataError(
            f"{path} is not AttnGAN's captions.pickle: that is a list of four, with the words third"
        )
    words = content[2]
    if sorted(words, key=str) != sorted(range(len(words)), key=str):
        raise DataError(f"{path}: the words are not numbered from 0 to {len(words) - 1:,} without gaps")
    if not all(isinstance(word, str) for word in words.values()):
        raise DataError(f"{path}: not every word is a text")
    try:
        return Vocabulary([words[number] for number in range(len(words))])
    except DataError as error:
        raise DataError(f"{path}: {error}") from None
