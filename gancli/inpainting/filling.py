"""Filling of images of the model's size, with the word attention that goes with it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from gancli.atomic import atomic_file
from gancli.data.holes import Hole
from gancli.errors import UsageError
from gancli.figures import Pixels, filling_figure, to_uint8
from gancli.inference.csfgan import Inpainter
from gancli.sampling.noise import image_noise
from gancli.sampling.requests import Request
from gancli.sampling.samples_folder import Sampling
from gancli.sampling.samples_writer import save_image

CENTER = 0.5  # side of the hole over the image's side, unless a model was trained with another central hole


@dataclass(frozen=True)
class InpaintReport:
    """Result of a call that fills images.

    Attributes:
        out: File or folder that was written.
        files: Filled images in order, including those that were there already.
        figures: Attention figures in order, then the figure of several texts.
        made: Number of images filled by this call.
        model_seconds: Seconds spent in the model.
        seconds: Seconds of the whole call.
        warnings: Warnings for the user.
        model_hash: sha256 of the model's weights. Empty if the model was not needed.
        sampling: Settings of a samples folder.
    """

    out: Path
    files: tuple[Path, ...]
    figures: tuple[Path, ...]
    made: int
    model_seconds: float
    seconds: float
    warnings: tuple[str, ...]
    model_hash: str = ""
    sampling: Sampling | None = None


@dataclass(frozen=True)
class Filled:
    """Batch of filled squares.

    Attributes:
        squares: Images painted in the hole only, (B, S, S, 3). Every other pixel is the one that was given.
        attention: One map per layer that attends to words, the finest first, (B, L, H, W) each.
        seconds: Seconds spent in the model.
    """

    squares: Pixels
    attention: tuple[NDArray[np.float32], ...]
    seconds: float


def fill(
    inpainter: Inpainter, squares: Pixels, holes: NDArray[np.bool_], requests: Sequence[Request], seed: int
) -> Filled:
    """Fill a batch.

    Args:
        inpainter: Model of side S.
        squares: Images, (B, S, S, 3).
        holes: Holes, (B, S, S).
        requests: Captions and identities of the B images.
        seed: Seed of the noise.
    """
    noises = image_noise(requests, inpainter.noise_dims, seed)
    images = torch.from_numpy(squares).permute(0, 3, 1, 2).float().div_(127.5).sub_(1.0)
    started = time.perf_counter()
    captions = [request.caption for request in requests]
    filling = inpainter.fill(images, torch.from_numpy(holes[:, None]).float(), captions, noises)
    painted = to_uint8(filling.composite)  # waits for the device, too
    seconds = time.perf_counter() - started
    attention = tuple(maps.float().cpu().numpy() for maps in filling.attention)
    # Joined as bytes, so that known pixels are not rounded by the network's precision
    return Filled(np.where(holes[..., None], painted, squares), attention, seconds)


def check_attention(inpainter: Inpainter) -> None:
    """Refuse to show the attention of an ablation that attends to no words, with a UsageError."""
    fusion = inpainter.settings["generator"]["fusion"]
    if fusion not in ("both", "word"):
        raise UsageError(
            f"{inpainter.folder}: {inpainter.method} has no word attention to show: it was trained with "
            f"model.fusion={fusion}",
            "Leave out --attention.",
        )


def save_attention(
    inpainter: Inpainter, filled: Filled, row: int, hole: Hole, caption: str, files: tuple[Path, Path]
) -> None:
    """Write the attention of one image of a batch: a figure of its finest layer, and the maps of all layers.

    Args:
        inpainter: Model that filled the batch.
        filled: Filled batch.
        row: Row of the image in the batch.
        hole: Hole of the image, (S, S).
        caption: Caption of the image.
        files: PNG file of the figure, and .npz file with `words` (L,), `hole` (S, S) and `attention_H` (L, H, W) for
            each layer.
    """
    figure, arrays = files
    words = inpainter.tokens(caption)
    maps = [attention[row, : len(words)] for attention in filled.attention]
    save_image(filling_figure(filled.squares[row], hole, maps[0], words, caption), figure)
    named = {"words": np.array(words), "hole": hole, **{f"attention_{each.shape[-1]}": each for each in maps}}
    with atomic_file(arrays) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, **named)  # type: ignore[arg-type]  # NumPy types the keyword allow_pickle
