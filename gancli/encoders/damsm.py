"""DAMSM: a text encoder and an image encoder that share one space (AttnGAN, section 3.2).

They are trained together on matching pairs, then frozen. The text encoder conditions the generator, and the image
encoder measures in the matching loss how well its images fit. An encoder folder holds both with their vocabulary.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from gancli.data.loader import Batch
from gancli.data.text import Vocabulary
from gancli.encoders.backbones import Backbone, BackboneName, build_backbone, fold_batch_norms
from gancli.engine.phases import Phase, adam
from gancli.errors import DataError
from gancli.losses.matching import DamsmGammas, damsm_losses, padding_mask
from gancli.run_paths import weights_folder_of
from gancli.weights_folder import load_part, read_folder, reading_settings, write_folder

INITIAL_RANGE = 0.1  # initial weights of the embedding and of both projections (AttnGAN code)


class TextEncoder(nn.Module):
    """Bidirectional recurrent encoder of words and sentence (FF-GAN eq. 1).

    Args:
        vocabulary_size: Entries of the vocabulary, including index 0, the padding.
        dim: Width D of word and sentence features. Each direction has half of it.
        embedding_dim: Width of the word embedding.
        dropout: Dropout on the embedding.
        rnn: Kind of the recurrent layer.
    """

    def __init__(
        self,
        vocabulary_size: int,
        *,
        dim: int = 256,
        embedding_dim: int = 300,
        dropout: float = 0.5,
        rnn: Literal["lstm", "gru"] = "lstm",
    ) -> None:
        super().__init__()
        if dim % 2:
            raise ValueError(f"dim must be even, it is split over two directions. Received: {dim}")
        self.embedding = nn.Embedding(vocabulary_size, embedding_dim)
        self.dropout = nn.Dropout(dropout)
        layer = nn.LSTM if rnn == "lstm" else nn.GRU
        self.rnn = layer(embedding_dim, dim // 2, batch_first=True, bidirectional=True)
        nn.init.uniform_(self.embedding.weight, -INITIAL_RANGE, INITIAL_RANGE)

    def forward(self, tokens: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Return word features and sentence vectors.

        Args:
            tokens: Word indices, (B, L) int64, zero at padding.
            lengths: Words of each caption, (B,) int64, from 1 to L.

        Returns:
            Words (B, D, L), zero at padding, and sentences (B, D), the last states of both directions.
        """
        embedded = self.dropout(self.embedding(tokens))  # (B, L, E)
        packed = pack_padded_sequence(embedded, lengths.cpu(), batch_first=True, enforce_sorted=False)
        # In float32: torch has no bf16 LSTM on CPUs that would emulate it
        with torch.autocast(tokens.device.type, enabled=False):
            states, last = self.rnn(packed)
        words, _ = pad_packed_sequence(states, batch_first=True, total_length=tokens.shape[1])  # (B, L, D)
        hidden = last[0] if isinstance(last, tuple) else last  # (2, B, D/2)
        return words.transpose(1, 2), torch.cat([hidden[0], hidden[1]], dim=1)


class ImageEncoder(nn.Module):
    """Backbone with one projection of its regions and one of its global features.

    Args:
        backbone: Name of the backbone.
        dim: Width D, shared with the text encoder.
        size: Side in pixels of the images that the backbone works on (Inception-v3: always 299).
        width: Channels of the first layers of the small backbone.
        frozen_backbone: Train only the projections, as AttnGAN does with ImageNet weights.
        adapt_batch_norm: Let a frozen backbone's batch statistics follow the data in training, as AttnGAN's code does
            (its whole network is in train mode).
    """

    def __init__(
        self,
        backbone: BackboneName,
        *,
        dim: int = 256,
        size: int = 299,
        width: int = 32,
        frozen_backbone: bool = False,
        adapt_batch_norm: bool = True,
    ) -> None:
        super().__init__()
        self.backbone = build_backbone(backbone, size=size, width=width)
        self.local = nn.Conv2d(self.backbone.local_channels, dim, 1, bias=False)
        self.code = nn.Linear(self.backbone.global_channels, dim)
        self.frozen_backbone = frozen_backbone
        self.adapt_batch_norm = adapt_batch_norm
        for projection in (self.local, self.code):
            nn.init.uniform_(projection.weight, -INITIAL_RANGE, INITIAL_RANGE)

    def train(self, mode: bool = True) -> ImageEncoder:
        """Set train mode, except for a frozen backbone whose statistics are to stay."""
        super().train(mode)
        if self.frozen_backbone and not self.adapt_batch_norm:
            self.backbone.eval()
        return self

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Map images (B, 3, S, S) in [-1, 1] to regions (B, D, H, W) and code (B, D)."""
        # A frozen backbone needs no graph in training
        learns = not (self.frozen_backbone and self.training)
        with torch.set_grad_enabled(torch.is_grad_enabled() and learns):
            local, whole = self.backbone(images)
        return self.local(local), self.code(whole)

    def from_backbone(self, output: Tensor) -> tuple[Tensor, Tensor]:
        """Map the backbone's output as `flat_output` gives it, (B, F), to regions (B, D, H, W) and code (B, D)."""
        local, whole = output.split([output.shape[1] - self.code.in_features, self.code.in_features], dim=1)
        side = math.isqrt(local.shape[1] // self.local.in_channels)
        return self.local(local.unflatten(1, (-1, side, side))), self.code(whole)

    def features(self, images: Tensor) -> Tensor:
        """Map images (B, 3, S, S) in [-1, 1] to the backbone's global features (B, F), for Fréchet distances."""
        whole: Tensor = self.backbone(images)[1]
        return whole


def flat_output(backbone: Backbone, images: Tensor) -> Tensor:
    """Return local and global features of images in one vector each, (B, C * H * W + G)."""
    local, whole = backbone(images)
    return torch.cat([local.flatten(1), whole], dim=1)


class DamsmPretraining:
    """Training of DAMSM: both encoders in one phase.

    Args:
        text: Text encoder to train.
        image: Image encoder to train. Of a frozen backbone, only the projections are trained.
        gammas: Smoothing factors of the matching losses.
        lr: Learning rate of Adam.
        betas: Betas of Adam.
        clip_text: Largest gradient norm of the text encoder.
    """

    averaged: tuple[str, ...] = ()

    def __init__(
        self,
        text: TextEncoder,
        image: ImageEncoder,
        *,
        gammas: DamsmGammas,
        lr: float,
        betas: tuple[float, float],
        clip_text: float,
    ) -> None:
        self.text = text
        self.image = image
        self.gammas = gammas
        self.networks: dict[str, nn.Module] = {"text": text, "image": image}
        learned = [image.local, image.code] if image.frozen_backbone else [image]
        parameters = [*text.parameters(), *(p for module in learned for p in module.parameters())]
        self.optimizer = adam(parameters, lr=lr, betas=betas)
        self.phases = [Phase("damsm", self.networks, self.optimizer, self.terms, clip={"text": clip_text})]

    def begin(self, batch: Batch) -> Batch:
        """Return the batch as it is: a single phase has nothing to share."""
        return batch

    def terms(self, batch: Batch) -> dict[str, Tensor]:
        """Return the word and the sentence loss (AttnGAN eq. 14)."""
        longest = int(batch.lengths.max())
        words, sentence = self.text(batch.tokens[:, :longest], batch.lengths)
        if batch.features is None:
            regions, code = self.image(batch.images[-1])
        else:
            regions, code = self.image.from_backbone(batch.features)
        mask = padding_mask(batch.lengths, longest)
        by_words, by_sentence = damsm_losses(
            regions, code, words, sentence, mask, batch.class_ids, self.gammas
        )
        return {"words": by_words, "sentence": by_sentence}


# --- the encoder folder ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Damsm:
    """Trained pair of encoders, frozen and in eval mode.

    Attributes:
        text: Text encoder.
        image: Image encoder.
        vocabulary: Words that it was trained with.
        settings: Content of `config.yaml`: arguments of both encoders, dataset and training.
        hash: sha256 of the weights file.
        folder: Folder of the encoder.
    """

    text: TextEncoder
    image: ImageEncoder
    vocabulary: Vocabulary
    settings: Mapping[str, Any]
    hash: str
    folder: Path

    def check_vocabulary(self, other: Vocabulary, where: Path) -> None:
        """Refuse a dataset (in the folder `where`) whose words have other numbers.

        Raises:
            DataError: The vocabularies differ.
        """
        if other.hash != self.vocabulary.hash:
            raise DataError(
                f"{where}: its vocabulary ({len(other)} entries, {other.hash[:12]}) is not the one of the encoder "
                f"{self.folder} ({len(self.vocabulary)} entries, {self.vocabulary.hash[:12]})",
                f"Train an encoder on it (gancli pretrain-encoder damsm data={where}), or prepare the data with "
                f"the encoder's words (gancli prepare … --vocabulary {self.folder / 'vocabulary.json'}).",
            )


def save_damsm(
    folder: str | Path,
    text: nn.Module,
    image: nn.Module,
    vocabulary: Vocabulary,
    settings: Mapping[str, object],
) -> None:
    """Write an encoder folder.

    Args:
        folder: Folder to write.
        text: Text encoder.
        image: Image encoder in training. One from `load_damsm` has lost its batch norms.
        vocabulary: Vocabulary that numbers the words.
        settings: Settings with sections `text` and `image`, the arguments of both encoders.
    """
    write_folder(folder, {"text": text, "image": image}, vocabulary, {"kind": "damsm", **settings})


def load_damsm(folder: str | Path, device: str | torch.device = "cpu") -> Damsm:
    """Load a DAMSM from its folder, a run, a checkpoint or "latest", frozen, with the batch norms folded.

    Raises:
        DataError: The folder is incomplete or broken.
    """
    folder = weights_folder_of(folder, ("damsm",))
    settings, tensors, digest = read_folder(folder, "damsm")
    vocabulary = Vocabulary.load(folder / "vocabulary.json")
    with reading_settings(folder):
        text = TextEncoder(len(vocabulary), **settings["text"])
        image = ImageEncoder(**settings["image"])
    load_part(text, tensors, "text.", folder)
    load_part(image, tensors, "image.", folder)
    for encoder in (text, image):
        encoder.to(device).eval().requires_grad_(False)
    fold_batch_norms(image.backbone)
    image.to(memory_format=torch.channels_last)
    return Damsm(text, image, vocabulary, settings, digest, folder)
