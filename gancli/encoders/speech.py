"""The speech encoder: spoken captions and images in one space (S2IGAN's speech embedding network).

Convolutions, two bidirectional GRUs and attention over time make one unit vector of a spoken caption; a frozen backbone
and one linear layer make one of an image. They are trained together on matching pairs, then frozen: the vectors of the
spoken captions condition a generator, the image branch tells how well its images fit. An encoder folder holds both
with the settings of the log-mel features, because the network understands no others.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from gancli.data.audio import FEWEST_FRAMES, MelSettings
from gancli.data.shards import Split
from gancli.encoders.backbones import BackboneName, build_backbone
from gancli.encoders.embeddings import CaptionEmbeddings, kept_embeddings
from gancli.engine.phases import Phase, adam
from gancli.errors import DataError
from gancli.losses.matching import distinct_classes, global_matching_loss, padding_mask
from gancli.progress import Progress
from gancli.run_paths import weights_folder_of
from gancli.weights_folder import load_part, read_folder, reading_settings, write_folder

KERNEL = 6  # frames under a convolution
STRIDE = 2
_FRAMES_AT_ONCE = 32_768  # of a batch with its padding, about five minutes of speech
_SORTED = 1024  # spoken captions that are sorted by length among each other


class SpeechEncoder(nn.Module):
    """Log-mel features to one unit vector (S2IGAN code).

    Two strided convolutions with batch norm, two bidirectional GRU layers, and attention that weights the steps of
    each channel separately. The public code has no non-linearity between the convolutions, and its softmax runs over
    the padding of the batch too, so that a vector depends on the other clips; here the padding is masked.

    Args:
        bands: Mel bands.
        channels: Of the two convolutions.
        hidden: Of each direction of the GRU; the vector is twice as long.
        attention_dim: Between the attention's two layers.
        convolution_activation: After each batch norm.
        mask_padding: False lets padded steps take part in the attention, as the public code does.
    """

    def __init__(
        self,
        *,
        bands: int = 40,
        channels: Sequence[int] = (64, 128),
        hidden: int = 512,
        attention_dim: int = 128,
        convolution_activation: Literal["none", "relu"] = "none",
        mask_padding: bool = True,
    ) -> None:
        super().__init__()
        first, second = channels
        self.convolution1 = nn.Conv1d(bands, first, KERNEL, stride=STRIDE)
        self.norm1 = nn.BatchNorm1d(first)
        self.convolution2 = nn.Conv1d(first, second, KERNEL, stride=STRIDE)
        self.norm2 = nn.BatchNorm1d(second)
        self.activation = nn.ReLU() if convolution_activation == "relu" else nn.Identity()
        self.rnn = nn.GRU(second, hidden, num_layers=2, batch_first=True, bidirectional=True)
        self.attention_hidden = nn.Linear(2 * hidden, attention_dim)
        self.attention_out = nn.Linear(attention_dim, 2 * hidden)
        for layer in (self.attention_hidden, self.attention_out):
            nn.init.orthogonal_(layer.weight)
        self.mask_padding = mask_padding
        self.dim = 2 * hidden

    def forward(self, mels: Tensor, lengths: Tensor) -> Tensor:
        """Spoken captions to unit vectors.

        Args:
            mels: (B, T, bands), zero after each clip's end.
            lengths: (B,) int64 frames of each clip, from `FEWEST_FRAMES` to T.

        Returns:
            (B, 2 * hidden) of length 1.

        Raises:
            ValueError: A clip is too short for the convolutions.
        """
        if int(lengths.min()) < FEWEST_FRAMES:
            raise ValueError(f"a clip needs {FEWEST_FRAMES} frames or more. Received: {int(lengths.min())}")
        features = mels.transpose(1, 2)  # (B, bands, T)
        features = self.activation(self.norm1(self.convolution1(features)))  # (B, C1, T')
        features = self.activation(self.norm2(self.convolution2(features)))  # (B, C2, T'')
        steps = _convolved(_convolved(lengths))
        packed = pack_padded_sequence(
            features.transpose(1, 2), steps.cpu(), batch_first=True, enforce_sorted=False
        )
        states, _ = pad_packed_sequence(self.rnn(packed)[0], batch_first=True)  # (B, S, 2 * hidden)
        scores = self.attention_out(self.attention_hidden(states).tanh())  # (B, S, 2 * hidden)
        if self.mask_padding:
            outside = ~padding_mask(steps.to(scores.device), scores.shape[1])  # (B, S)
            scores = scores.masked_fill(outside[:, :, None], -torch.inf)
        vectors = (scores.softmax(dim=1) * states).sum(dim=1)  # (B, 2 * hidden)
        return F.normalize(vectors.float(), dim=1)


def _convolved(lengths: Tensor) -> Tensor:
    """Steps that a convolution makes of so many."""
    return (lengths - KERNEL) // STRIDE + 1


class ImageBranch(nn.Module):
    """Images to unit vectors beside those of speech: a backbone's global features and one linear layer.

    Args:
        backbone: Which network.
        dim: Of the vectors, as the speech encoder's.
        size: Side of the images the backbone works on (Inception-v3: always 299).
        width: Of the small backbone.
        frozen_backbone: Only the linear layer learns, as with ImageNet weights; batch statistics stay too.
    """

    def __init__(
        self,
        backbone: BackboneName,
        *,
        dim: int = 1024,
        size: int = 299,
        width: int = 32,
        frozen_backbone: bool = False,
    ) -> None:
        super().__init__()
        self.backbone = build_backbone(backbone, size=size, width=width)
        self.linear = nn.Linear(self.backbone.global_channels, dim)
        self.frozen_backbone = frozen_backbone

    def train(self, mode: bool = True) -> ImageBranch:
        """Train mode, but for a frozen backbone."""
        super().train(mode)
        if self.frozen_backbone:
            self.backbone.eval()
        return self

    def forward(self, images: Tensor) -> Tensor:
        """Images (B, 3, S, S) in [-1, 1] to (B, dim) of length 1; in eval mode with a gradient for the images."""
        size = self.backbone.size
        if images.shape[-1] != size:  # not as AttnGAN's code, which aligns the corners
            images = F.interpolate(images, size=(size, size), mode="bilinear", align_corners=False)
        # Nothing below the linear layer learns: no graph is kept for it
        learns = not (self.frozen_backbone and self.training)
        with torch.set_grad_enabled(torch.is_grad_enabled() and learns):
            features = self.backbone(images)[1]
        return F.normalize(self.linear(features).float(), dim=1)


@dataclass(frozen=True)
class SpeechBatch:
    """Images with one spoken caption each.

    Attributes:
        images: (B, 3, S, S) in [-1, 1].
        mels: (B, T, bands) float32, zero after each clip's end.
        lengths: (B,) int64 frames of each clip; stays on the CPU, where packing wants it.
        class_ids: (B,) int64.
    """

    images: Tensor
    mels: Tensor
    lengths: Tensor
    class_ids: Tensor

    def __len__(self) -> int:
        return len(self.lengths)

    def to(self, device: torch.device | str) -> SpeechBatch:
        """The batch on that device."""
        images, mels, class_ids = (
            tensor.to(device, non_blocking=True) for tensor in (self.images, self.mels, self.class_ids)
        )
        return SpeechBatch(images, mels, self.lengths, class_ids)

    def pin_memory(self) -> SpeechBatch:
        """The batch in page-locked memory; the name is the one torch's DataLoader looks for."""
        return SpeechBatch(
            self.images.pin_memory(), self.mels.pin_memory(), self.lengths, self.class_ids.pin_memory()
        )


class SpeechPretraining:
    """Speech encoder and image branch as the engine trains them: one phase.

    Args:
        speech: To be trained.
        image: To be trained, or its linear layer only.
        class_ids: (C,) ascending, the dataset's number of each class that training shows; None trains without the
            distinctive loss.
        gamma: Sharpness of the matching loss.
        same_class_negatives: In it, other images of a class are wrong pairs too (public code on Places).
        distinctive_weight: Of the distinctive loss.
        lr: Of Adam.
        betas: Of Adam.
        weight_decay: Of Adam, added to the gradient (not AdamW).
    """

    averaged: tuple[str, ...] = ()

    def __init__(
        self,
        speech: SpeechEncoder,
        image: ImageBranch,
        class_ids: NDArray[np.int64] | None = None,
        *,
        gamma: float = 10.0,
        same_class_negatives: bool = False,
        distinctive_weight: float = 1.0,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.95, 0.999),
        weight_decay: float = 1e-3,
    ) -> None:
        self.speech = speech
        self.image = image
        self.gamma = gamma
        self.same_class_negatives = same_class_negatives
        self.distinctive_weight = distinctive_weight
        self.networks: dict[str, nn.Module] = {"speech": speech, "image": image}
        learned: list[nn.Module] = [speech, image.linear if image.frozen_backbone else image]
        if class_ids is not None:
            device = image.linear.weight.device
            self.class_ids = torch.from_numpy(class_ids).to(device)
            # One for both modalities: what it tells classes apart by, both vectors have to hold
            self.classifier = nn.Linear(speech.dim, len(class_ids), device=device)
            nn.init.xavier_uniform_(self.classifier.weight)
            self.networks["classifier"] = self.classifier
            learned.append(self.classifier)
        parameters = [p for module in learned for p in module.parameters()]
        self.optimizer = adam(parameters, lr=lr, betas=betas, weight_decay=weight_decay)
        self.phases = [Phase("speech", self.networks, self.optimizer, self.terms)]

    def begin(self, batch: SpeechBatch) -> SpeechBatch:
        """Nothing is shared between phases: there is one."""
        return batch

    def terms(self, batch: SpeechBatch) -> dict[str, Tensor]:
        """The matching loss, and the distinctive loss where there are classes (S2IGAN code)."""
        images = self.image(batch.images)
        speech = self.speech(batch.mels, batch.lengths)
        alike = distinct_classes(batch.class_ids) if self.same_class_negatives else batch.class_ids
        terms = {"matching": global_matching_loss(images, speech, alike, gamma=self.gamma)}
        if "classifier" in self.networks:
            targets = torch.searchsorted(self.class_ids, batch.class_ids)
            logits = self.classifier(torch.cat([images, speech])).float()
            losses = [F.cross_entropy(each, targets) for each in logits.chunk(2)]
            terms["distinctive"] = self.distinctive_weight * (losses[0] + losses[1])
        return terms


# --- spoken captions as batches -------------------------------------------------------------------------------


def pad_mels(mels: Sequence[NDArray[np.floating]]) -> tuple[Tensor, Tensor]:
    """Clips (T_i, bands) of any length to (B, T, bands) float32 with zeros after their ends, and (B,) int64 lengths."""
    lengths = [len(mel) for mel in mels]
    padded = np.zeros((len(mels), max(lengths), mels[0].shape[1]), np.float32)
    for row, mel in enumerate(mels):
        padded[row, : len(mel)] = mel
    return torch.from_numpy(padded), torch.tensor(lengths)


@torch.no_grad()
def encode_mels(network: SpeechEncoder, mels: Sequence[NDArray[np.floating]]) -> Tensor:
    """Unit vectors of spoken captions; none depends on the others.

    Clips of like length go through the network together, a few minutes of speech at once.

    Args:
        network: In eval mode.
        mels: Log-mel features (T_i, bands) of each, T_i >= `FEWEST_FRAMES`.

    Returns:
        (B, dim) float32 on the network's device, in the order of `mels`.
    """
    device = network.attention_out.weight.device
    order = np.argsort([len(mel) for mel in mels], kind="stable")[::-1]
    vectors = torch.empty(len(mels), network.dim, device=device)
    start = 0
    while start < len(order):
        longest = len(mels[order[start]])
        rows = order[start : start + max(1, _FRAMES_AT_ONCE // longest)]
        padded, lengths = pad_mels([mels[row] for row in rows])
        vectors[torch.from_numpy(rows.copy()).to(device)] = network(padded.to(device), lengths)
        start += len(rows)
    return vectors


def embed_speech(split: Split, encoder: Speech, *, progress: Progress | None = None) -> CaptionEmbeddings:
    """The vectors of all spoken captions of a split, from the dataset's `embeddings/` or computed and kept there.

    Args:
        split: Its speech.
        encoder: Hears it.
        progress: Called after each chunk.

    Returns:
        One vector per spoken caption, in the order of `Split.speech`.

    Raises:
        DataError: The split has no speech, or its features have other settings than the encoder was trained with.
        RunError: The disk is full.
    """
    encoder.check(split)
    starts = np.concatenate([[0], np.cumsum(split.speech_counts())]).astype(np.int64)
    chunks = _encoded(split, encoder.network, int(starts[-1]), progress)
    return kept_embeddings(split, starts, encoder.dim, encoder.hash, str(encoder.folder), chunks)


def _encoded(
    split: Split, network: SpeechEncoder, total: int, progress: Progress | None
) -> Iterator[NDArray[np.float32]]:
    """(b, dim) for some spoken captions after the other."""
    done = 0
    waiting: list[NDArray[np.float16]] = []
    for index in range(len(split)):
        waiting += split.speech(index)
        if len(waiting) >= _SORTED or index + 1 == len(split):
            yield encode_mels(network, waiting).cpu().numpy()
            done += len(waiting)
            waiting = []
            if progress is not None:
                progress(done, total)


# --- the encoder folder ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Speech:
    """A trained speech encoder with its image branch, frozen and in eval mode.

    Attributes:
        network: The speech encoder.
        image: The image branch.
        mel: Settings of the features it hears.
        settings: `config.yaml`: arguments of both networks, the mel settings, dataset, how it was trained.
        hash: sha256 of the weights file.
        folder: Where it lies.
    """

    network: SpeechEncoder
    image: ImageBranch
    mel: MelSettings
    settings: Mapping[str, Any]
    hash: str
    folder: Path

    @property
    def dim(self) -> int:
        """Length of a vector."""
        return self.network.dim

    def encode_mels(self, mels: Sequence[NDArray[np.floating]]) -> Tensor:
        """Spoken captions, log-mel features (T_i, bands) each, to (B, dim); none depends on the others."""
        return encode_mels(self.network, mels)

    def check(self, split: Split) -> None:
        """Refuses a split that it cannot hear.

        Raises:
            DataError: The split has no speech, or its features have other settings than the encoder was trained with.
        """
        refuse_other_features(self.mel, split, self.folder)


def refuse_other_features(mel: MelSettings, split: Split, folder: Path) -> None:
    """Refuses a split that an encoder cannot hear.

    Args:
        mel: Settings of the features that the encoder was trained on.
        split: Its speech.
        folder: Of the encoder, or of the model that holds it, for the message.

    Raises:
        DataError: The split has no speech, or its features have other settings.
    """
    own, other = mel.model_dump(), split.need_speech().model_dump()
    if differing := [name for name, value in own.items() if other[name] != value]:
        listed = "; ".join(f"{name} {other[name]} instead of {own[name]}" for name in differing)
        raise DataError(
            f"{split.folder}: its speech features are not those that the encoder {folder} was trained on: {listed}",
            f"Prepare the dataset again with the encoder's settings, or train an encoder on it (gancli "
            f"pretrain-encoder speech data={split.folder}).",
        )


def save_speech(
    folder: Path, speech: nn.Module, image: nn.Module, mel: MelSettings, settings: Mapping[str, Any]
) -> None:
    """Writes an encoder folder.

    Args:
        folder: Made if need be; its files are replaced one by one, each whole.
        speech: The speech encoder.
        image: The image branch.
        mel: Settings of the features it was trained on.
        settings: With sections `speech` and `image`, the arguments of both networks.
    """
    everything = {"kind": "speech", **settings, "mel": mel.model_dump()}
    write_folder(folder, {"speech": speech, "image": image}, None, everything)


def load_speech(folder: str | Path, device: str | torch.device = "cpu") -> Speech:
    """Reads an encoder folder; both networks come frozen and in eval mode.

    Raises:
        DataError: The folder is incomplete, broken, or of another kind.
    """
    folder = weights_folder_of(folder, ("speech",))
    settings, tensors, digest = read_folder(folder, "speech")
    with reading_settings(folder):
        mel = MelSettings(**settings["mel"])
        speech = SpeechEncoder(**settings["speech"])
        image = ImageBranch(**settings["image"])
    load_part(speech, tensors, "speech.", folder)
    load_part(image, tensors, "image.", folder)
    for network in (speech, image):
        network.to(device).eval().requires_grad_(False)
    return Speech(speech, image, mel, settings, digest, folder)
