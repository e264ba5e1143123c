"""Models that read captions word by word, with the text half of the DAMSM they were trained with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gancli.data.text import Vocabulary, crop_tokens, pad_tokens, tokenize
from gancli.encoders.damsm import TextEncoder
from gancli.encoders.sentence import check_words
from gancli.inference.loaded import Provenance
from gancli.losses.matching import padding_mask


@dataclass(frozen=True, kw_only=True)
class WordReader(Provenance):
    """Text side of FF-GAN and CSF-GAN.

    Attributes:
        text_encoder: Text encoder it was trained with.
        vocabulary: Words of the text encoder.
        words: Most words of a caption that it was trained with; of longer ones the first words are read.
    """

    text_encoder: TextEncoder
    vocabulary: Vocabulary
    words: int

    def check(self, captions: Sequence[str]) -> list[str]:
        """Return warnings for a user: unknown words, captions that are cut.

        Raises:
            DataError: No word of a caption is known.
        """
        return check_words(captions, self.vocabulary, self.words, self.folder)

    def numbers(self, caption: str) -> NDArray[np.int32]:
        """Return the numbers of the words of a caption that the model reads, in order."""
        return crop_tokens(self.vocabulary.encode(tokenize(caption)), self.words, None)

    def tokens(self, caption: str) -> list[str]:
        """Return the words of a caption that the model reads and attends to, in order."""
        return [self.vocabulary.words[number] for number in self.numbers(caption)]

    def read(self, captions: Sequence[str], device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
        """Return words (B, D, L), sentences (B, D) and padding mask (B, L) of captions."""
        # Padded to one length whatever the batch: the same sums in the same order
        tokens, lengths = pad_tokens([self.numbers(caption) for caption in captions], self.words)
        lengths_tensor = torch.from_numpy(lengths).to(device)
        words, sentence = self.text_encoder(torch.from_numpy(tokens).to(device), lengths_tensor)
        return words, sentence, padding_mask(lengths_tensor, self.words)
