"""Encoder and model folders: weights.safetensors, config.yaml, README.md, and vocabulary.json where words are read.

A folder holds all that its encoder or model needs. Files are written atomically. No pickle is written or read.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from gancli.atomic import atomic_file
from gancli.cards import model_card, write_card
from gancli.data.text import Vocabulary
from gancli.errors import DataError
from gancli.hashes import file_hash

DISCRIMINATORS = "discriminators.safetensors"
_HINT = (
    "An encoder folder comes from gancli pretrain-encoder, a model folder from gancli train; gancli import makes both "
    "from the files of public codes."
)


def write_folder(
    folder: str | Path,
    networks: Mapping[str, nn.Module],
    vocabulary: Vocabulary | None,
    settings: Mapping[str, object],
) -> None:
    """Write an encoder or model folder.

    Args:
        folder: Folder, created where it is missing. Its files are replaced one by one.
        networks: Networks by name, which is the prefix of their tensors ("generator.").
        vocabulary: Vocabulary of the token numbers; None for networks that read no words.
        settings: Contents of config.yaml, with `kind`.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    _write_tensors(folder / "weights.safetensors", networks)
    if vocabulary is not None:
        vocabulary.save(folder / "vocabulary.json")
    with atomic_file(folder / "config.yaml") as temporary:
        temporary.write_text(yaml.safe_dump(dict(settings), sort_keys=False, allow_unicode=True), "utf-8")
    write_card(folder, model_card(settings))


def _write_tensors(path: Path, networks: Mapping[str, nn.Module]) -> None:
    tensors = {
        f"{prefix}.{name}": tensor.detach().cpu().contiguous()
        for prefix, network in networks.items()
        for name, tensor in network.state_dict().items()
    }
    with atomic_file(path) as temporary:
        save_file(tensors, temporary)


def write_discriminators(folder: Path, networks: Mapping[str, nn.Module]) -> None:
    """Write discriminators beside a generator, for a training that starts from both; nothing where there are none.

    They have a file of their own, so that the hash of the weights names the generator alone.
    """
    (folder / DISCRIMINATORS).unlink(missing_ok=True)  # those of an earlier import
    if networks:
        _write_tensors(folder / DISCRIMINATORS, networks)


def read_discriminators(folder: Path) -> dict[str, Tensor]:
    """Read the tensors that `write_discriminators` wrote, by name; empty where a folder has none.

    Raises:
        DataError: The file is broken.
    """
    path = folder / DISCRIMINATORS
    return _read_tensors(path) if path.is_file() else {}


def read_settings(folder: str | Path) -> dict[str, Any]:
    """Return config.yaml of an encoder or model folder; `kind` is the name of the encoder or model.

    Raises:
        DataError: The file is missing or cannot be read.
    """
    path = Path(folder) / "config.yaml"
    try:
        settings = yaml.safe_load(path.read_text(encoding="utf-8"))
        if not isinstance(settings["kind"], str):
            raise TypeError("`kind` is no text")
    except (FileNotFoundError, NotADirectoryError):
        raise DataError(f"{path}: no such file", _HINT) from None
    except (yaml.YAMLError, UnicodeDecodeError, KeyError, TypeError) as error:
        raise DataError(f"{path}: cannot be read as a folder's settings ({error!r})", _HINT) from error
    return dict(settings)


def read_folder(folder: str | Path, *kinds: str) -> tuple[dict[str, Any], dict[str, Tensor], str]:
    """Read the settings and tensors of an encoder or model folder.

    Args:
        folder: Folder with config.yaml and weights.safetensors.
        kinds: Names of encoders or models that the folder may hold ("damsm", "ffgan").

    Returns:
        The settings, the tensors by name, and the sha256 of the weights file.

    Raises:
        DataError: A file is missing or cut short, or the folder holds something else.
    """
    folder = Path(folder)
    settings = read_settings(folder)
    if settings["kind"] not in kinds:
        asked = " or ".join(map(repr, kinds))
        raise DataError(f"{folder}: is a folder of kind {settings['kind']!r}, not {asked}", _HINT)
    path = folder / "weights.safetensors"
    if not path.is_file():
        raise DataError(f"{path}: no such file", _HINT)
    return settings, _read_tensors(path), file_hash(path)


def _read_tensors(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except Exception as error:  # safetensors raises its own SafetensorError, not exported as a stable name
        raise DataError(f"{path}: broken or cut short ({error})", "Copy the folder again.") from error


@contextmanager
def reading_settings(folder: Path) -> Iterator[None]:
    """Turn errors of the code that builds networks from config.yaml into messages about the file.

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
    """Load the tensors with a prefix into a module.

    Raises:
        DataError: Names or shapes do not fit the module.
    """
    part = {name.removeprefix(prefix): t for name, t in tensors.items() if name.startswith(prefix)}
    try:
        module.load_state_dict(part)
    except RuntimeError as error:
        raise DataError(
            f"{folder}: weights.safetensors does not fit config.yaml: {error}",
            "The two files come from different folders; copy the whole folder again.",
        ) from error
