"""Checkpoints of other codes as tensors by name. Nothing in a file is run."""

from __future__ import annotations

import pickle
import pickletools
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from gancli.errors import DataError
from gancli.hashes import file_hash

_PICKLES = 5  # in a file of torch before 1.6: three of its head, the content, the storages
_TENSOR_CODE = ("torch.", "collections.OrderedDict")  # what every checkpoint asks for
_NAMED = 3  # names that a message lists


@dataclass(frozen=True)
class PublicFile:
    """Checkpoint of another code.

    Attributes:
        path: File.
        sha256: Digest of the file.
        content: Content as torch read it: tensors by name, or these within other mappings.
    """

    path: Path
    sha256: str
    content: Mapping[str, object]

    @classmethod
    def read(cls, path: str | Path) -> PublicFile:
        """Read a checkpoint of torch or a safetensors file.

        Raises:
            DataError: The file is missing, empty, damaged or no checkpoint, or its pickle asks for more than tensors.
        """
        path = Path(path)
        try:
            if path.stat().st_size == 0:
                raise DataError(f"{path}: is empty (0 bytes)", "Copy or download the file again.")
            digest = file_hash(path)
        except OSError as error:
            raise DataError(f"{path}: cannot be read ({error.strerror or error})") from None
        content: object
        try:
            if path.suffix == ".safetensors":
                content = load_file(path)
            else:
                content = torch.load(path, map_location="cpu", weights_only=True)
        except pickle.UnpicklingError as error:
            if foreign := _foreign_names(path):
                raise DataError(
                    f"{path}: refused, nothing of it was run: beside tensors it asks for {_some(foreign)}",
                    "Only files of tensors are imported: save the state_dict() of the networks alone.",
                ) from None
            raise DataError(f"{path}: is no checkpoint of torch") from error
        except (RuntimeError, ValueError, EOFError, KeyError, OSError, SafetensorError) as error:
            first = str(error).partition("\n")[0]
            raise DataError(f"{path}: is damaged or no checkpoint ({first})") from error
        if not isinstance(content, Mapping):
            raise DataError(f"{path}: holds a {type(content).__name__}, not tensors by name")
        return cls(path, digest, content)

    def state_with(self, *names: str) -> dict[str, Tensor]:
        """Return the tensors of the network that has all of these tensors, wherever it lies in the file.

        The prefix "module.", which torch's DataParallel adds, is taken off.

        Raises:
            DataError: There is no such network, or it holds numbers that are not finite.
        """
        states = list(_states(self.content))
        for state in states:
            if all(name in state for name in names):
                broken = [
                    name for name, t in state.items() if t.is_floating_point() and not t.isfinite().all()
                ]
                if broken:
                    raise DataError(f"{self.path}: NaN or infinite numbers in {_some(broken)}")
                return state
        found = _some([name for state in states for name in state]) if states else "no tensors at all"
        raise DataError(f"{self.path}: no network in it has the tensor {names[0]!r}; it has {found}")

    def has(self, name: str) -> bool:
        """Return whether a network in the file has a tensor of this name."""
        return any(name in state for state in _states(self.content))


def _states(content: Mapping[str, object]) -> Iterator[dict[str, Tensor]]:
    """Yield the tensors by name of every mapping in the content that holds some, from the outermost on."""
    own = {str(name): value for name, value in content.items() if isinstance(value, Tensor)}
    if own:
        yield {
            name.removeprefix("module."): t.float() if t.is_floating_point() else t for name, t in own.items()
        }
    for value in content.values():
        if isinstance(value, Mapping):
            yield from _states(value)


def _some(names: list[str]) -> str:
    more = f" and {len(names) - _NAMED:,} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more


def _foreign_names(path: Path) -> list[str]:
    """Return the classes and functions that a file's pickle asks for beside those of tensors, without loading it."""
    names: dict[str, None] = {}
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                member = next(name for name in archive.namelist() if name.endswith("data.pkl"))
                with archive.open(member) as stream:
                    names.update(dict.fromkeys(_globals(stream)))  # type: ignore[arg-type]
        else:
            with path.open("rb") as stream:
                for _ in range(_PICKLES):
                    for name in _globals(stream):
                        names[name] = None
    except (StopIteration, ValueError, OSError, zipfile.BadZipFile):
        pass  # what was found so far is all that can be told
    return [name for name in names if not name.startswith(_TENSOR_CODE)]


def _globals(stream: BinaryIO) -> Iterator[str]:
    """Yield the names that a pickle looks up, as "module.name"."""
    texts: list[str] = []
    for opcode, argument, _ in pickletools.genops(stream):
        if opcode.name in ("GLOBAL", "INST"):
            yield str(argument).replace(" ", ".")
        elif opcode.name == "STACK_GLOBAL":
            yield ".".join(texts[-2:])
        elif isinstance(argument, str):
            texts.append(argument)
