"""Loading of a model folder, whichever model it holds.

Each model is loaded as a class of its own with one interface, `LoadedModel`, so that sampling knows none of them.
"""

from __future__ import annotations

from pathlib import Path

import torch

from gancli.errors import DataError, UsageError
from gancli.inference.loaded import LoadedModel
from gancli.registry import DRAWING, MODELS, resolve
from gancli.run_paths import weights_folder_of
from gancli.weights_folder import read_settings


def load_model(folder: str | Path, device: str | torch.device = "cpu") -> LoadedModel:
    """Load a model that draws images.

    Args:
        folder: Model folder, run, checkpoint, or `latest`.
        device: Device of the networks.

    Raises:
        DataError: The folder is incomplete, broken or holds no model.
        UsageError: It holds a model that fills holes.
    """
    folder = weights_folder_of(folder, DRAWING)
    kind = read_settings(folder)["kind"]
    if kind not in MODELS:
        raise DataError(
            f"{folder}: is a folder of kind {kind!r}, which draws no images",
            "Name a run folder of gancli train, or the model/ in it.",
        )
    if MODELS[kind].fills:
        raise UsageError(
            f"{folder}: fills holes of images and draws none of its own",
            'gancli inpaint MODEL --image photo.jpg --mask hole.png --text "a small red bird"',
        )
    model: LoadedModel = resolve(MODELS[kind].load)(folder, device)
    return model
