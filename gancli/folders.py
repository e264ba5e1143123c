"""Portable folders: weights.safetensors, config.yaml and vocabulary.json, which is all an encoder or a model needs.

Each file is written whole under a temporary name and renamed. No pickle is written or read.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from gancli.data.text import Vocabulary
from gancli.errors import DataError
from gancli.files import atomic_file


def write_folder(
    folder: Path, networks: Mapping[str, nn.Module], vocabulary: Vocabulary, settings: Mapping[str, Any]
) -> None:
    """Writes an encoder or model folder.

    Args:
        folder: Made if need be; its files are replaced one by one, each whole.
        networks: Saved under their name as prefix ("generator.").
        vocabulary: Without it token numbers mean nothing.
        settings: config.yaml, with `kind`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {
        f"{prefix}.{name}": tensor.detach().cpu().contiguous()
        for prefix, network in networks.items()
        for name, tensor in network.state_dict().items()
    }
    with atomic_file(folder / "weights.safetensors") as temporary:
        save_file(tensors, temporary)
    vocabulary.save(folder / "vocabulary.json")
    with atomic_file(folder / "config.yaml") as temporary:
        temporary.write_text(yaml.safe_dump(dict(settings), sort_keys=False, allow_unicode=True), "utf-8")


def read_folder(folder: Path, kind: str) -> tuple[dict[str, Any], dict[str, Tensor], str]:
    """The parts that encoder and model folders share.

    Args:
        folder: With config.yaml and weights.safetensors.
        kind: What config.yaml must say it is ("damsm", "ffgan").

    Returns:
        The settings, the tensors by name, and the sha256 of the weights file.

    Raises:
        DataError: A file is missing, cut short or of another kind.
    """
    hint = "An encoder folder comes from gancli pretrain-encoder, a model folder from gancli train."
    for name in ("config.yaml", "weights.safetensors", "vocabulary.json"):
        if not (folder / name).is_file():
            raise DataError(f"{folder / name}: no such file", hint)
    try:
        settings = yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8"))
        found = settings["kind"]
    except (yaml.YAMLError, UnicodeDecodeError, KeyError, TypeError) as error:
        raise DataError(
            f"{folder / 'config.yaml'}: cannot be read as a folder's settings ({error!r})", hint
        ) from error
    if found != kind:
        raise DataError(f"{folder}: is a folder of kind {found!r}, asked for was {kind!r}", hint)
    path = folder / "weights.safetensors"
    try:
        tensors = load_file(path)
    except Exception as error:  # safetensors raises its own SafetensorError, not exported as a stable name
        raise DataError(f"{path}: broken or cut short ({error})", "Copy the folder again.") from error
    with path.open("rb") as file:
        return settings, tensors, hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def reading_settings(folder: Path) -> Iterator[None]:
    """Around the code that builds networks from config.yaml: what the file lacks or says wrongly becomes a message.

    Raises:
        DataError: A key is missing, unknown or has an impossible value.
    """
    try:
        yield
    except (KeyError, TypeError, ValueError) as error:
        what = f"the key {error} is missing" if isinstance(error, KeyError) else str(error)
        raise DataError(
            f"{folder / 'config.yaml'}: no network can be built from it: {what}",
            "It was edited, or another version of gancli wrote it; `gancli: …` in the file names that version.",
        ) from error


def load_part(module: nn.Module, tensors: Mapping[str, Tensor], prefix: str, folder: Path) -> None:
    """Loads the tensors below a prefix into a module.

    Raises:
        DataError: Names or shapes are not the module's.
    """
    part = {name.removeprefix(prefix): t for name, t in tensors.items() if name.startswith(prefix)}
    try:
        module.load_state_dict(part)
    except RuntimeError as error:
        raise DataError(
            f"{folder}: weights.safetensors does not fit config.yaml: {error}",
            "The two files come from different folders; copy the whole folder again.",
        ) from error
