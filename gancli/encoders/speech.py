"""Speech encoder: spoken captions and images in one space (S2IGAN's speech embedding network).

Convolutions, two bidirectional GRUs and attention over time turn a spoken caption into a unit vector. A frozen backbone
and one linear layer do the same for an image. They are trained together on matching pairs, then frozen. The vectors of
spoken captions condition a generator, and the image branch measures how well its images fit. An encoder folder holds
both, with the settings of the log-mel features that the network was trained on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from gancli.data.audio import FEWEST_FRAMES, MelSettings
from gancli.data.loader import TensorBatch
from gancli.data.shards import Split
from gancli.encoders.backbones import BackboneName, build_backbone
from gancli.encoders.embeddings import CaptionEmbeddings, in_chunks, kept_embeddings
from gancli.engine.phases import Phase, adam
from gancli.errors import DataError
from gancli.losses.matching import distinct_classes, global_matching_loss, padding_mask
from gancli.progress import Progress, reporting
from gancli.run_paths import weights_folder_of
from gancli.weights_folder import load_part, read_folder, reading_settings, write_folder

KERNEL = 6  # frames
STRIDE = 2
_FRAMES_AT_ONCE = 32_768  # frames of a batch with its padding, about five minutes of speech
_SORTED = 1024  # spoken captions that are sorted by length together


class SpeechEncoder(nn.Module):
    """Network from log-mel features to one unit vector (S2IGAN code).

    It has two strided convolutions with batch norm, two bidirectional GRU layers, and attention that weights the steps
    of each channel separately. The public code has no non-linearity between the convolutions, and its softmax also runs
    over the padding of the batch, so a vector depends on the other clips. Here the padding is masked.

    Args:
        bands: Number of mel bands.
        channels: Channels of the two convolutions.
        hidden: Width of each direction of the GRU. The vector is twice as long.
        attention_dim: Width between the attention's two layers.
        convolution_activation: Non-linearity after each batch norm.
        mask_padding: Exclude padded steps from the attention, unlike the public code.
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
        """Map spoken captions to unit vectors.

        Args:
            mels: Log-mel features, (B, T, bands), zero after each clip's end.
            lengths: Frames of each clip, (B,) int64, from `FEWEST_FRAMES` to T.

        Returns:
            Vectors of length 1, (B, 2 * hidden).

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
    """Return the number of steps after a convolution."""
    return (lengths - KERNEL) // STRIDE + 1


class ImageBranch(nn.Module):
    """Network from images to unit vectors in the space of speech: a backbone's global features and one linear layer.

    Args:
        backbone: Name of the backbone.
        dim: Length of the vectors, the same as the speech encoder's.
        size: Side in pixels of the images that the backbone works on (Inception-v3: always 299).
        width: Channels of the first layers of the small backbone.
        frozen_backbone: Train only the linear layer, as with ImageNet weights. Batch statistics stay, too.
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
        """Set train mode, except for a frozen backbone."""
        super().train(mode)
        if self.frozen_backbone:
            self.backbone.eval()
        return self

    def forward(self, images: Tensor) -> Tensor:
        """Map images (B, 3, S, S) in [-1, 1] to unit vectors (B, dim). In eval mode, the images get a gradient."""
        size = self.backbone.size
        if images.shape[-1] != size:  # unlike AttnGAN's code, which aligns the corners
            images = F.interpolate(images, size=(size, size), mode="bilinear", align_corners=False)
        # A frozen backbone needs no graph in training
        learns = not (self.frozen_backbone and self.training)
        with torch.set_grad_enabled(torch.is_grad_enabled() and learns):
            features = self.backbone(images)[1]
        return F.normalize(self.linear(features).float(), dim=1)


@dataclass(frozen=True)
class SpeechBatch(TensorBatch):
    """Images with one spoken caption each.

    Attributes:
        images: Images, (B, 3, S, S) in [-1, 1].
        mels: Log-mel features, (B, T, bands) float32, zero after each clip's end.
        lengths: Frames of each clip, (B,) int64. Stays on the CPU, where packing needs it.
        class_ids: Classes, (B,) int64.
    """

    images: Tensor
    mels: Tensor
    lengths: Tensor
    class_ids: Tensor

    def __len__(self) -> int:
        return len(self.lengths)

    def to(self, device: torch.device | str) -> SpeechBatch:
        """Return the batch on a device, except for the lengths."""
        return replace(super().to(device), lengths=self.lengths)


class SpeechPretraining:
    """Training of speech encoder and image branch in one phase.

    Args:
        speech: Speech encoder to train.
        image: Image branch to train. Of a frozen backbone, only the linear layer is trained.
        class_ids: The dataset's number of each class in training, (C,) ascending. None trains without the distinctive
            loss.
        gamma: Sharpness of the matching loss.
        same_class_negatives: Treat other images of a class as wrong pairs in the matching loss, too (public code on
            Places).
        distinctive: Weight of the distinctive loss.
        lr: Learning rate of Adam.
        betas: Betas of Adam.
        weight_decay: Weight decay of Adam, added to the gradient (not AdamW).
    """

    averaged: tuple[str, ...] = ()

    def __init__(
        self,
        speech: SpeechEncoder,
        image: ImageBranch,
        class_ids: NDArray[np.int64] | None = None,
        *,
        gamma: float,
        same_class_negatives: bool,
        distinctive: float,
        lr: float,
        betas: tuple[float, float],
        weight_decay: float,
    ) -> None:
        self.speech = speech
        self.image = image
        self.gamma = gamma
        self.same_class_negatives = same_class_negatives
        self.distinctive = distinctive
        self.networks: dict[str, nn.Module] = {"speech": speech, "image": image}
        learned: list[nn.Module] = [speech, image.linear if image.frozen_backbone else image]
        if class_ids is not None:
            device = image.linear.weight.device
            self.class_ids = torch.from_numpy(class_ids).to(device)
            # One classifier for both modalities, so both vectors learn what tells the classes apart
            self.classifier = nn.Linear(speech.dim, len(class_ids), device=device)
            nn.init.xavier_uniform_(self.classifier.weight)
            self.networks["classifier"] = self.classifier
            learned.append(self.classifier)
        parameters = [p for module in learned for p in module.parameters()]
        self.optimizer = adam(parameters, lr=lr, betas=betas, weight_decay=weight_decay)
        self.phases = [Phase("speech", self.networks, self.optimizer, self.terms)]

    def begin(self, batch: SpeechBatch) -> SpeechBatch:
        """Return the batch as it is: a single phase has nothing to share."""
        return batch

    def terms(self, batch: SpeechBatch) -> dict[str, Tensor]:
        """Return the matching loss and, if there are classes, the distinctive loss (S2IGAN code)."""
        images = self.image(batch.images)
        speech = self.speech(batch.mels, batch.lengths)
        alike = distinct_classes(batch.class_ids) if self.same_class_negatives else batch.class_ids
        terms = {"matching": global_matching_loss(images, speech, alike, gamma=self.gamma)}
        if "classifier" in self.networks:
            targets = torch.searchsorted(self.class_ids, batch.class_ids)
            logits = self.classifier(torch.cat([images, speech])).float()
            losses = [F.cross_entropy(each, targets) for each in logits.chunk(2)]
            terms["distinctive"] = self.distinctive * (losses[0] + losses[1])
        return terms


# --- spoken captions as batches -------------------------------------------------------------------------------


def pad_mels(mels: Sequence[NDArray[np.floating]]) -> tuple[Tensor, Tensor]:
    """Stack clips (T_i, bands) to (B, T, bands) float32 with zeros after their ends, and return their lengths (B,)."""
    lengths = [len(mel) for mel in mels]
    padded = np.zeros((len(mels), max(lengths), mels[0].shape[1]), np.float32)
    for row, mel in enumerate(mels):
        padded[row, : len(mel)] = mel
    return torch.from_numpy(padded), torch.tensor(lengths)


@torch.no_grad()
def encode_mels(network: SpeechEncoder, mels: Sequence[NDArray[np.floating]]) -> Tensor:
    """Map spoken captions to unit vectors, each independent of the others.

    Clips of similar length go through the network together, a few minutes of speech at a time.

    Args:
        network: Speech encoder in eval mode.
        mels: Log-mel features of each clip, (T_i, bands) with T_i >= `FEWEST_FRAMES`.

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


def embed_speech(split: Split, encoder: Speech, *, progress: Progress | bool = True) -> CaptionEmbeddings:
    """Return the vectors of all spoken captions of a split, read from the dataset's `embeddings/` or written there.

    Args:
        split: Split with speech.
        encoder: Speech encoder.
        progress: Callback for the number of spoken captions done and in all. True shows a bar where a person watches.

    Returns:
        One vector per spoken caption, in the order of `Split.speech`.

    Raises:
        DataError: The split has no speech, or its features have other settings than the encoder was trained with.
        RunError: The disk is full.
    """

    def encode(mels: list[NDArray[np.float16]]) -> NDArray[np.float32]:
        return encode_mels(encoder.network, mels).cpu().numpy()

    encoder.check(split)
    starts = np.concatenate([[0], np.cumsum(split.speech_counts())]).astype(np.int64)
    with reporting(progress, "encoding", "spoken captions") as report:
        chunks = in_chunks(split, split.speech, encode, _SORTED, int(starts[-1]), report)
        return kept_embeddings(split, starts, encoder, chunks)


# --- the encoder folder ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Speech:
    """Trained speech encoder with its image branch, frozen and in eval mode.

    Attributes:
        network: Speech encoder.
        image: Image branch; None for an imported encoder that came without one.
        mel: Settings of the log-mel features that it was trained on.
        settings: Content of `config.yaml`: arguments of both networks, the mel settings, dataset and training.
        hash: sha256 of the weights file.
        folder: Folder of the encoder.
    """

    network: SpeechEncoder
    image: ImageBranch | None
    mel: MelSettings
    settings: Mapping[str, Any]
    hash: str
    folder: Path

    @property
    def dim(self) -> int:
        """Length of a vector."""
        return self.network.dim

    def encode_mels(self, mels: Sequence[NDArray[np.floating]]) -> Tensor:
        """Map spoken captions, log-mel features (T_i, bands) each, to vectors (B, dim)."""
        return encode_mels(self.network, mels)

    def check(self, split: Split) -> None:
        """Refuse a split whose speech the encoder was not trained for.

        Raises:
            DataError: The split has no speech, or its features have other settings than the encoder was trained with.
        """
        refuse_other_features(self.mel, split, self.folder)


def refuse_other_features(mel: MelSettings, split: Split, folder: Path) -> None:
    """Refuse a split whose speech features are not those that an encoder was trained on.

    Args:
        mel: Settings of the features that the encoder was trained on.
        split: Split with speech.
        folder: Folder of the encoder or of the model that holds it, for the message.

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
    folder: str | Path,
    speech: nn.Module,
    image: nn.Module | None,
    mel: MelSettings,
    settings: Mapping[str, object],
) -> None:
    """Write an encoder folder.

    Args:
        folder: Folder to write.
        speech: Speech encoder.
        image: Image branch, if there is one.
        mel: Settings of the log-mel features that it was trained on.
        settings: Settings with a section `speech`, and `image` where there is a branch: arguments of the networks.
    """
    everything = {"kind": "speech", **settings, "mel": mel.model_dump()}
    networks = {"speech": speech} if image is None else {"speech": speech, "image": image}
    write_folder(folder, networks, None, everything)


def load_speech(folder: str | Path, device: str | torch.device = "cpu") -> Speech:
    """Load a speech encoder and its image branch from their folder, a run, a checkpoint or "latest", frozen.

    Raises:
        DataError: The folder is incomplete, broken, or of another kind.
    """
    folder = weights_folder_of(folder, ("speech",))
    settings, tensors, digest = read_folder(folder, "speech")
    with reading_settings(folder):
        mel = MelSettings(**settings["mel"])
        speech = SpeechEncoder(**settings["speech"])
        image = ImageBranch(**settings["image"]) if "image" in settings else None
    load_part(speech, tensors, "speech.", folder)
    speech.to(device).eval().requires_grad_(False)
    if image is not None:
        load_part(image, tensors, "image.", folder)
        image.to(device).eval().requires_grad_(False)
    return Speech(speech, image, mel, settings, digest, folder)
