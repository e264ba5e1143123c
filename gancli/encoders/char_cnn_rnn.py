"""Character encoder of Reed et al. 2016: captions as characters, read by convolutions and a recurrent layer.

Its sentence vectors are trained to match frozen image features of the same class (`gancli.losses.joint_embedding`), and
condition StackGAN. There are three published variants: A (the authors' CVPR 2016 code), B (their ICML 2016 code, which
made the embeddings of StackGAN's CUB results) and C (the ICML 2016 encoder of flowers).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from gancli.data.loader import TensorBatch
from gancli.data.text import some_of
from gancli.engine.phases import Phase
from gancli.errors import DataError
from gancli.losses.joint_embedding import joint_embedding_losses
from gancli.run_paths import weights_folder_of
from gancli.weights_folder import load_part, read_folder, reading_settings, write_folder

# In the order of the published code. The hyphen appears twice, and its second position counts, so the first column of
# the hyphen is never used: 69 different characters in 70 positions.
ALPHABET = "abcdefghijklmnopqrstuvwxyz0123456789-,;.!?:'\"/\\|_@#$%^&*~`+-=<>()[]{} "
LENGTH = 201  # characters of a caption that are read
INITIAL_RANGE = 0.08  # initial values of every parameter (CVPR 2016 code)

Variant = Literal["A", "B", "C"]
GRUImplementation = Literal["torch", "reed"]

_NUMBERS = np.zeros(128, dtype=np.int64)  # ASCII code to number in the alphabet, 1 to 70, or 0
for _number, _character in enumerate(ALPHABET, start=1):
    _NUMBERS[ord(_character)] = _number


def encode_characters(captions: Sequence[str]) -> NDArray[np.int64]:
    """Encode captions as numbers of the alphabet.

    Capitals become lower-case, because the alphabet has none. A character outside the alphabet becomes 0 and keeps its
    position. Everything after the first 201 characters is left out.

    Returns:
        (B, 201) in 0 to 70. Shorter captions are filled up with 0.
    """
    numbers = np.zeros((len(captions), LENGTH), dtype=np.int64)
    for row, caption in zip(numbers, captions, strict=True):
        text = caption.lower()[:LENGTH].encode("utf-32-le", "surrogatepass")
        codes = np.frombuffer(text, dtype="<u4").astype(np.int64)  # code points
        row[: len(codes)] = np.where(codes < len(_NUMBERS), _NUMBERS[codes % len(_NUMBERS)], 0)
    return numbers


class CharCnnRnn(nn.Module):
    """Three convolutions over characters, a recurrent layer over their output, and a linear head on its mean.

    Args:
        variant: "A" (CVPR 2016 code: one more pooling, 8 steps of a plain ReLU recurrence, 2/3 of `width` wide), "B"
            (ICML 2016 code: 18 steps of a GRU, 4/3 of `width` wide) or "C" (as A, 4/3 of `width` wide).
        dim: Length E of a sentence vector.
        width: Channels of the first convolution, a multiple of 3, and 384 in all variants. All other layers scale with
            it.
        gru_impl: GRU of variant B: "torch" for `nn.GRU`, or "reed" for that of the public code, `ReedGRU`.
    """

    def __init__(
        self,
        variant: Variant = "B",
        *,
        dim: int = 1024,
        width: int = 384,
        gru_impl: GRUImplementation = "torch",
    ) -> None:
        super().__init__()
        if width % 3:
            raise ValueError(f"width must be a multiple of 3. Received: {width}")
        if variant not in ("A", "B", "C") or gru_impl not in ("torch", "reed"):
            raise ValueError(f"no such network: variant {variant!r}, gru_impl {gru_impl!r}")
        wide = width * 4 // 3
        hidden = width * 2 // 3 if variant == "A" else wide
        self.variant = variant
        self.conv1 = nn.Conv1d(len(ALPHABET), width, 4)
        self.conv2 = nn.Conv1d(width, wide, 4)
        self.conv3 = nn.Conv1d(wide, hidden, 4)
        self.rnn: nn.RNN | nn.GRU | ReedGRU
        if variant != "B":
            self.rnn = nn.RNN(hidden, hidden, nonlinearity="relu", batch_first=True)
        elif gru_impl == "torch":
            self.rnn = nn.GRU(hidden, hidden, batch_first=True)
        else:
            self.rnn = ReedGRU(hidden)
        self.head = nn.Linear(hidden, dim)
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -INITIAL_RANGE, INITIAL_RANGE)

    def forward(self, characters: Tensor) -> Tensor:
        """Map numbers of the alphabet (B, 201) int64 to sentence vectors (B, E)."""
        # Pooling before the ReLU gives the same result with a third of the work
        x = F.relu(F.max_pool1d(self._first_convolution(characters), 3))  # (B, W, 66)
        x = F.relu(F.max_pool1d(self.conv2(x), 3))  # (B, 4W/3, 21)
        x = F.relu(self.conv3(x))  # (B, H, 18)
        if self.variant != "B":
            x = F.max_pool1d(x, 3, stride=2)  # (B, H, 8)
        states = self._recurrence(x.transpose(1, 2))  # (B, T, H)
        vectors: Tensor = self.head(states.mean(dim=1))
        return vectors

    def _first_convolution(self, characters: Tensor) -> Tensor:
        """Apply `conv1` to the characters as one-hot columns, without making these, (B, W, 198).

        A convolution over one-hot columns only picks columns of its kernel and adds them. Four look-ups do that instead
        of products with 69 zeros for each one, which would be a fifth of the encoder's work at full width.
        """
        kernel = F.pad(self.conv1.weight.permute(2, 1, 0), (0, 0, 1, 0))  # (4, 71, W): number 0 adds nothing
        positions = characters.shape[1] - len(kernel) + 1
        total = F.embedding(characters[:, :positions], kernel[0])  # (B, 198, W)
        for shift in range(1, len(kernel)):
            total = total + F.embedding(characters[:, shift : shift + positions], kernel[shift])
        return (total + self.conv1.get_parameter("bias")).transpose(1, 2)

    def _recurrence(self, x: Tensor) -> Tensor:
        """Return the states of all steps, (B, T, H)."""
        states: Tensor
        if not isinstance(self.rnn, nn.RNN):
            states = self.rnn(x)[0] if isinstance(self.rnn, nn.GRU) else self.rnn(x)
            return states
        # The first step of the public code has no hidden part, and so no bias of it. nn.RNN would add one.
        weight, bias = self.rnn.get_parameter("weight_ih_l0"), self.rnn.get_parameter("bias_ih_l0")
        first = F.relu(F.linear(x[:, 0], weight, bias))  # (B, H)
        return torch.cat([first[:, None], self.rnn(x[:, 1:].contiguous(), first[None])[0]], dim=1)


class ReedGRU(nn.Module):
    """GRU of the ICML 2016 code, where every matrix has a bias.

    Unlike `nn.GRU`, it resets the state before the hidden matrix, its update gate weights the candidate, and its first
    step has no gates::

        h_1 = tanh(W x_1)
        u = sigmoid(W_u x + U_u h)    r = sigmoid(W_r x + U_r h)    c = tanh(W x + U (r * h))
        h' = u * c + (1 - u) * h

    Args:
        size: Width H of input and state.
    """

    def __init__(self, size: int) -> None:
        super().__init__()
        self.input = nn.Linear(size, 3 * size)  # W_u, W_r, W
        self.gates = nn.Linear(size, 2 * size)  # U_u, U_r
        self.candidate = nn.Linear(size, size)  # U

    def forward(self, x: Tensor) -> Tensor:
        """Map inputs (B, T, H) to the states of all steps (B, T, H)."""
        update, reset, candidate = (part.unbind(1) for part in self.input(x).chunk(3, dim=2))
        hidden = torch.tanh(candidate[0])  # (B, H)
        states = [hidden]
        for step in range(1, len(candidate)):
            from_update, from_reset = self.gates(hidden).chunk(2, dim=1)
            u, r = torch.sigmoid(update[step] + from_update), torch.sigmoid(reset[step] + from_reset)
            new = torch.tanh(candidate[step] + self.candidate(r * hidden))
            hidden = u * new + (1 - u) * hidden
            states.append(hidden)
        return torch.stack(states, dim=1)


# --- training -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class JointBatch(TensorBatch):
    """One image and one of its captions for each of B different classes.

    Attributes:
        features: Features of one view of each image, (B, F) float32.
        characters: Captions as numbers of the alphabet, (B, 201) int64.
    """

    features: Tensor
    characters: Tensor


class CharCnnRnnPretraining:
    """Training of the character encoder against frozen image features.

    Args:
        text: Character encoder to train.
        image: Linear map from image features to the width of the sentence vectors. None leaves them as they are.
        lr: Learning rate of RMSprop.
        alpha: Decay of RMSprop's running mean.
        clip: Largest gradient norm of each network. None sets no limit.
    """

    averaged: tuple[str, ...] = ()

    def __init__(
        self,
        text: CharCnnRnn,
        image: nn.Linear | None = None,
        *,
        lr: float,
        alpha: float,
        clip: float | None,
    ) -> None:
        self.text = text
        self.image = image
        self.networks: dict[str, nn.Module] = {"text": text}
        if image is not None:
            self.networks["image"] = image
        parameters = [p for network in self.networks.values() for p in network.parameters()]
        self.optimizer = torch.optim.RMSprop(parameters, lr=lr, alpha=alpha)
        limits = {} if clip is None else dict.fromkeys(self.networks, clip)
        self.phases = [Phase("embedding", self.networks, self.optimizer, self.terms, clip=limits)]

    def begin(self, batch: JointBatch) -> JointBatch:
        """Return the batch as it is: a single phase has nothing to share."""
        return batch

    def embed_images(self, features: Tensor) -> Tensor:
        """Map image features (B, F) to the space of the sentence vectors, (B, E)."""
        return features if self.image is None else self.image(features)

    def terms(self, batch: JointBatch) -> dict[str, Tensor]:
        """Return both halves of the structured joint embedding loss."""
        by_image, by_text = joint_embedding_losses(
            self.embed_images(batch.features), self.text(batch.characters)
        )
        return {"image_to_text": by_image, "text_to_image": by_text}


# --- the encoder folder ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class CharCnnRnnEncoder:
    """Trained character encoder, frozen and in eval mode: a `gancli.encoders.sentence.SentenceEncoder`."""

    network: CharCnnRnn
    arguments: Mapping[str, Any]  # of `CharCnnRnn`
    hash: str
    folder: Path
    kind: str = "char-cnn-rnn"

    @property
    def vocabulary(self) -> None:
        """None, because it reads characters."""
        return

    @property
    def dim(self) -> int:
        """Length E of a sentence vector."""
        return self.network.head.out_features

    @torch.no_grad()
    def encode(self, captions: Sequence[str]) -> Tensor:
        """Map captions to vectors (B, E) float32 on the encoder's device."""
        device = self.network.head.weight.device
        vectors: Tensor = self.network(torch.from_numpy(encode_characters(captions)).to(device))
        return vectors

    def check(self, captions: Sequence[str]) -> list[str]:
        """Return warnings of characters outside the alphabet and of captions that are cut.

        Raises:
            DataError: A caption holds nothing of the alphabet but spaces.
        """
        unknown, cut, empty = [], [], []
        for caption in dict.fromkeys(captions):
            text = caption.lower()
            missing = [character for character in dict.fromkeys(text) if character not in ALPHABET]
            if not text[:LENGTH].strip(" " + "".join(missing)):
                empty.append(repr(caption))
            elif missing:
                unknown.append(f"{', '.join(map(repr, missing))} in {caption!r}")
            if len(text) > LENGTH:
                cut.append(f"{caption!r} has {len(text)} characters")
        if empty:
            raise DataError(
                f"no character of {some_of(empty)} is in the alphabet of {self.folder}",
                f"It reads a to z, 0 to 9 and {ALPHABET[36:-1]}",
            )
        found = {
            "characters outside the alphabet are read as blanks": unknown,
            f"only the first {LENGTH} characters are used": cut,
        }
        return [f"{message}: {some_of(captions)}" for message, captions in found.items() if captions]


def save_char_cnn_rnn(
    folder: str | Path, network: nn.Module, settings: Mapping[str, object], image: nn.Module | None = None
) -> None:
    """Write an encoder folder.

    Args:
        folder: Folder to write.
        network: Text network.
        settings: Settings with a section `text`, the arguments of `CharCnnRnn`.
        image: Learned map of the image features, if there is one. Retrieval is measured with it.
    """
    networks = {"text": network} if image is None else {"text": network, "image": image}
    write_folder(folder, networks, None, {"kind": "char-cnn-rnn", "alphabet": ALPHABET, **settings})


def load_char_cnn_rnn(folder: str | Path, device: str | torch.device = "cpu") -> CharCnnRnnEncoder:
    """Load a character encoder from its folder, a run, a checkpoint or "latest", frozen and in eval mode.

    Raises:
        DataError: The folder is incomplete or broken, or has another alphabet.
    """
    folder = weights_folder_of(folder, ("char-cnn-rnn",))
    settings, tensors, digest = read_folder(folder, "char-cnn-rnn")
    with reading_settings(folder):
        if settings["alphabet"] != ALPHABET:
            raise ValueError("`alphabet` is not the one that captions are read with")
        arguments = settings["text"]
        network = CharCnnRnn(**arguments)
    load_part(network, tensors, "text.", folder)
    network.to(device).eval().requires_grad_(False)
    return CharCnnRnnEncoder(network, arguments, digest, folder)
