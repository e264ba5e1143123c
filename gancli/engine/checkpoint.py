"""Run folders, and checkpoints that are complete or absent.

A checkpoint is a folder `checkpoints/step-00001000/` with networks.safetensors, averaged.safetensors (averaged
weights), state.pt (optimizers, random number generators and counters, read with weights_only) and checkpoint.json,
which is written last and holds the size and sha256 of the other files. The folder is written under a temporary name
and renamed, so a kill leaves either the old state or the new one. Reading detects a file that was cut short later.
"""

from __future__ import annotations

import fcntl
import json
import pickle
import random
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from gancli.atomic import atomic_file, sync
from gancli.engine.distributed import from_main, world_size
from gancli.engine.environment import describe_environment
from gancli.errors import RunError, UsageError
from gancli.hashes import file_hash

SCHEMA_VERSION = 1

# Keys that a resumed run may change: how long it trains, how often it reports, and where it runs. All others affect
# the weights, so a change of them is another run.
CHANGEABLE = frozenset(
    {
        "train.epochs",
        "train.steps",
        "train.minutes",
        "train.log_every",
        "train.sample_every",
        "train.checkpoint_every",
        "train.keep",
        "train.device",
        "train.activation_checkpointing",
        "loader.workers",
    }
)


def refuse_changes(stored: Mapping[str, object], now: Mapping[str, object]) -> None:
    """Refuse to resume a run with another recipe; both are nested plain values.

    Raises:
        UsageError: The recipes differ in more than `CHANGEABLE`. The message lists every difference.
    """
    left, right, absent = _flatten(stored), _flatten(now), object()
    differences = [
        f"  {key}: {left.get(key, '(absent)')} → {right.get(key, '(absent)')}"
        for key in dict.fromkeys([*left, *right])
        if key not in CHANGEABLE and left.get(key, absent) != right.get(key, absent)
    ]
    if differences:
        raise UsageError(
            "\n".join(["the run was made with another recipe (run → now):", *differences]),
            "resume without these changes, or start a new run from its weights with --init-from",
        )


def _flatten(values: Mapping[str, object], prefix: str = "") -> dict[str, object]:
    flat: dict[str, object] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            flat |= _flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = list(value) if isinstance(value, tuple) else value
    return flat


# --- random numbers -----------------------------------------------------------------------------------------


def seed_everything(seed: int, stream: int = 0, step: int = 0) -> None:
    """Seed the global generators of Python, NumPy and torch.

    Args:
        seed: Seed of the run.
        stream: Independent stream of numbers. Stream 0 builds the networks, where all ranks must agree; the loop
            trains rank r with stream 1 + r.
        step: Step at which a rank joins the run; it draws no numbers that were drawn before.
    """
    words = np.random.SeedSequence([seed, stream, step] if step else [seed, stream]).generate_state(3)
    random.seed(int(words[0]))
    np.random.seed(int(words[1]))
    torch.manual_seed(int(words[2]))


class _NumpyState(TypedDict):
    key: Tensor
    pos: int
    has_gauss: int
    gauss: float


class RandomState(TypedDict):
    """States of all global generators, as values that `torch.load(weights_only=True)` can read."""

    python: tuple[Any, ...]
    numpy: _NumpyState
    torch: Tensor
    cuda: list[Tensor]
    mps: Tensor | None


def random_state() -> RandomState:
    """Return the state of all global generators."""
    state: Any = np.random.get_state(legacy=False)
    return {
        "python": random.getstate(),
        "numpy": {
            "key": torch.from_numpy(state["state"]["key"].astype(np.int64)),
            "pos": int(state["state"]["pos"]),
            "has_gauss": int(state["has_gauss"]),
            "gauss": float(state["gauss"]),
        },
        "torch": torch.get_rng_state(),
        "cuda": _cuda_states(),
        "mps": torch.mps.get_rng_state() if torch.backends.mps.is_available() else None,
    }


def _cuda_states() -> list[Tensor]:
    """Return the states of all GPUs, or of a rank's own GPU: asking the others would start a context on each."""
    if not torch.cuda.is_available():
        return []
    return torch.cuda.get_rng_state_all() if world_size() == 1 else [torch.cuda.get_rng_state()]


def set_random_state(state: RandomState) -> None:
    """Restore the result of `random_state`, as far as this machine has the same devices."""
    random.setstate(state["python"])
    numpy_state = state["numpy"]
    np.random.set_state(
        {
            "bit_generator": "MT19937",
            "state": {"key": numpy_state["key"].numpy().astype(np.uint32), "pos": numpy_state["pos"]},
            "has_gauss": numpy_state["has_gauss"],
            "gauss": numpy_state["gauss"],
        }
    )
    torch.set_rng_state(state["torch"])
    if torch.cuda.is_available():
        devices = range(torch.cuda.device_count()) if world_size() == 1 else [torch.cuda.current_device()]
        for device, cuda_state in zip(devices, state["cuda"], strict=False):
            torch.cuda.set_rng_state(cuda_state, device)
    if state["mps"] is not None and torch.backends.mps.is_available():
        torch.mps.set_rng_state(state["mps"])


# --- checkpoints --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Checkpoint:
    """Contents of a checkpoint folder.

    Attributes:
        step: Number of steps done.
        networks: Tensors of every network, with the prefix "name.".
        averaged: Tensors of the averaged networks, with the prefix "name."; empty where none is averaged.
        state: Optimizers, random number generators and counters.
    """

    step: int
    networks: Mapping[str, Tensor]
    averaged: Mapping[str, Tensor]
    state: Mapping[str, Any]


def tensors_of(networks: Mapping[str, nn.Module]) -> dict[str, Tensor]:
    """Return the states of several networks as one dict of dense CPU tensors, with the prefix "name."."""
    return {
        f"{name}.{key}": tensor.detach().cpu().contiguous()
        for name, network in networks.items()
        for key, tensor in network.state_dict().items()
    }


def load_tensors(networks: Mapping[str, nn.Module], tensors: Mapping[str, Tensor], where: Path) -> None:
    """Load tensors with the prefix "name." into the networks.

    Raises:
        RunError: Names or shapes do not fit.
    """
    for name, network in networks.items():
        prefix = f"{name}."
        part = {key.removeprefix(prefix): t for key, t in tensors.items() if key.startswith(prefix)}
        try:
            network.load_state_dict(part)
        except RuntimeError as error:
            raise RunError(f"{where}: network {name!r} does not fit: {error}") from error


def write_checkpoint(folder: Path, checkpoint: Checkpoint) -> None:
    """Write a checkpoint folder, replacing one of the same name.

    Raises:
        RunError: The disk is full or not writable. Existing checkpoints are left untouched.
    """
    temporary = folder.with_name(f".{folder.name}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        temporary.mkdir(parents=True)
        save_file(dict(checkpoint.networks), temporary / "networks.safetensors")
        save_file(dict(checkpoint.averaged), temporary / "averaged.safetensors")
        with (temporary / "state.pt").open("wb") as file:
            torch.save(dict(checkpoint.state), file)
        files = {path.name: _fingerprint(path) for path in sorted(temporary.iterdir())}
        manifest = {"schema_version": SCHEMA_VERSION, "step": checkpoint.step, "files": files}
        # No newline at the end: without its last byte it is not JSON any more.
        (temporary / "checkpoint.json").write_text(json.dumps(manifest, indent=2), encoding="utf-8")
        replace_folder(temporary, folder)
    except (OSError, RuntimeError, SafetensorError) as error:
        shutil.rmtree(temporary, ignore_errors=True)
        # torch.save hides the system's error behind its own.
        cause = error.__context__ if isinstance(error.__context__, OSError) else error
        raise RunError(
            f"{folder}: the checkpoint cannot be written ({cause}); earlier ones are untouched",
            "free some space (train.keep is the number of checkpoints kept), then resume the run",
        ) from error


def _fingerprint(path: Path) -> dict[str, object]:
    return {"bytes": path.stat().st_size, "sha256": file_hash(path)}


def replace_folder(new: Path, folder: Path) -> None:
    """Rename `new` to `folder` once all its bytes are on disk, then remove the folder that it replaces."""
    for path in (*new.rglob("*"), new):
        sync(path)
    old = folder.with_name(f".{folder.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if folder.exists():
        folder.rename(old)
    new.rename(folder)
    sync(folder.parent)
    shutil.rmtree(old, ignore_errors=True)


def damage(folder: Path) -> str | None:
    """Describe the damage to a checkpoint, naming the file. None: every byte is as it was written."""
    path = folder / "checkpoint.json"
    try:
        files = json.loads(path.read_text(encoding="utf-8"))["files"]
        for name, written in files.items():
            path = folder / name
            size = path.stat().st_size
            if size != written["bytes"]:
                return f"{path}: {size} bytes, but {written['bytes']} were written"
            if _fingerprint(path) != written:
                return f"{path}: its sha256 is not the one written"
    except OSError as error:
        return f"{path}: cannot be read ({error.strerror})"
    except (ValueError, KeyError, TypeError, AttributeError):
        return f"{path}: is no checkpoint manifest"
    return None


def read_checkpoint(folder: Path) -> Checkpoint:
    """Read a checkpoint after verifying every byte of it.

    Raises:
        RunError: A file is missing or damaged. The hint names the newest good checkpoint beside it.
    """
    if problem := damage(folder):
        good = [other for other in checkpoints_in(folder.parent) if other != folder and not damage(other)]
        advice = "no other checkpoint is good; start a new run"
        if good:
            advice = f"resume from the newest good one: {good[-1]}"
        raise RunError(f"{problem}: the checkpoint is damaged", advice)
    try:
        state = torch.load(folder / "state.pt", map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise RunError(
            f"{folder / 'state.pt'}: holds more than plain values and tensors, so it is not read (it could run code)",
            "do not trust this folder; resume only from runs of your own",
        ) from error
    step = json.loads((folder / "checkpoint.json").read_text(encoding="utf-8"))["step"]
    networks = load_file(folder / "networks.safetensors")
    return Checkpoint(step, networks, load_file(folder / "averaged.safetensors"), state)


_STEP = re.compile(r"step-(\d{8,})")


def checkpoints_in(folder: Path) -> list[Path]:
    """Return the complete checkpoints in a `checkpoints/` folder, ordered by step."""
    if not folder.is_dir():
        return []
    found = [path for path in folder.iterdir() if _STEP.fullmatch(path.name)]
    return sorted(found, key=step_of)


def step_of(checkpoint: Path) -> int:
    """Return the step in the name of a checkpoint folder."""
    return int(checkpoint.name.removeprefix("step-"))


def prune(folder: Path, *, newest: int, keep: int, best: int | None) -> None:
    """Remove old checkpoints.

    Args:
        folder: The run's `checkpoints/` folder.
        newest: Step just written. Later checkpoints were abandoned when the run resumed before them.
        keep: Number of checkpoints to keep, including the newest.
        best: Step of the best checkpoint, which is kept in addition.
    """
    saved = checkpoints_in(folder)
    current = [path for path in saved if step_of(path) <= newest]
    kept = {*current[-keep:], *(path for path in current if step_of(path) == best)}
    for path in saved:
        if path not in kept:
            # Renamed first, so that a kill does not leave a half-removed folder that looks like a checkpoint.
            doomed = path.with_name(f".{path.name}.old")
            shutil.rmtree(doomed, ignore_errors=True)
            path.rename(doomed)
            shutil.rmtree(doomed, ignore_errors=True)


# --- the run folder -----------------------------------------------------------------------------------------

_NUMBERED = re.compile(r"(\d{4,})-")


@dataclass(frozen=True)
class RunFolder:
    """Folder that a run writes.

    Attributes:
        path: Path of the folder, such as `runs/0003-ffgan-cub`.
        start: Checkpoint to resume from, where it is not the newest.
    """

    path: Path
    start: Path | None = None

    @classmethod
    def create(cls, root: str | Path, label: str) -> RunFolder:
        """Make the next numbered folder of `root`, NUMBER-label ("0003-ffgan-cub"), with `root` where it is missing.

        No other process gets the same number, and no run is overwritten.

        Raises:
            UsageError: The folder cannot be created.
        """

        def make() -> Path:
            try:
                return make_numbered(Path(root), label)
            except OSError as error:
                raise UsageError(f"{root}: no run folder can be made here ({error.strerror})") from error

        return cls(from_main(make))

    @classmethod
    def open(cls, path: str | Path) -> RunFolder:
        """Open an existing run, given its folder or one of its checkpoints.

        Raises:
            UsageError: The path is neither.
        """
        path = Path(path)
        if path.parent.name == "checkpoints" and _STEP.fullmatch(path.name) and path.is_dir():
            return cls(path.parent.parent, path)
        if not (path / "recipe.yaml").is_file():
            problem = f"{path}: is no run folder (it has no recipe.yaml)"
            raise UsageError(problem, "give a folder such as runs/0001-ffgan-cub")
        return cls(path)

    @property
    def recipe(self) -> Path:
        """Resolved recipe."""
        return self.path / "recipe.yaml"

    @property
    def log(self) -> Path:
        """CSV file of losses, one row per interval."""
        return self.path / "log.csv"

    @property
    def metrics(self) -> Path:
        """CSV file of metrics, one row per evaluation."""
        return self.path / "metrics.csv"

    @property
    def samples(self) -> Path:
        """Folder of the sample grids."""
        return self.path / "samples"

    @property
    def checkpoints(self) -> Path:
        """Folder of the checkpoints."""
        return self.path / "checkpoints"

    @property
    def model(self) -> Path:
        """Model folder exported last."""
        return self.path / "model"

    @property
    def best_model(self) -> Path:
        """Model folder of the best evaluation, in runs that evaluate."""
        return self.path / "model-best"

    def write_recipe(self, text: str) -> None:
        """Write the resolved recipe."""
        with atomic_file(self.recipe) as temporary:
            temporary.write_text(text, encoding="utf-8")

    def record_environment(self, step: int) -> None:
        """Append this session to environment.json, which lists the sessions of the run."""
        path = self.path / "environment.json"
        sessions = json.loads(path.read_text(encoding="utf-8"))["sessions"] if path.exists() else []
        sessions.append({"from_step": step, "processes": world_size(), **describe_environment()})
        with atomic_file(path) as temporary:
            temporary.write_text(json.dumps({"sessions": sessions}, indent=2) + "\n", encoding="utf-8")

    def resume_point(self) -> Path | None:
        """Return the checkpoint to resume from: `start`, else the newest, else None."""
        saved = checkpoints_in(self.checkpoints)
        return self.start or (saved[-1] if saved else None)

    def export(self, folder: Path, write: Callable[[Path], None]) -> None:
        """Replace a folder of the run by a new one that `write` fills."""
        temporary = folder.with_name(f".{folder.name}.tmp")
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir()
        try:
            write(temporary)
            replace_folder(temporary, folder)
        except OSError as error:
            problem = f"{folder}: cannot be written ({error.strerror})"
            raise RunError(problem, "free some space, then resume") from error
        finally:
            shutil.rmtree(temporary, ignore_errors=True)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Lock the run for this process, and remove what a killed process left half-written.

        Raises:
            UsageError: Another process is training this run.
        """
        # A record lock ends with its process, and loader workers do not inherit it.
        with (self.path / ".lock").open("w") as lock:
            try:
                fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise UsageError(f"{self.path}: another process is training this run") from error
            if self.checkpoints.is_dir():
                for leftover in self.checkpoints.glob(".step-*"):
                    shutil.rmtree(leftover, ignore_errors=True)
            yield


def make_numbered(root: Path, label: str) -> Path:
    """Claim the next number with a lock folder, which mkdir creates atomically, then make the folder."""
    root.mkdir(parents=True, exist_ok=True)
    number = _last_number(root) + 1
    while True:
        claim = root / f".{number:04d}.claim"
        try:
            claim.mkdir()
        except FileExistsError:
            number += 1
            continue
        try:
            if _last_number(root) >= number:  # created between our look and our claim
                number = _last_number(root) + 1
                continue
            path = root / f"{number:04d}-{label}"
            path.mkdir()
            return path
        finally:
            claim.rmdir()


def _last_number(root: Path) -> int:
    numbers = [int(match[1]) for path in root.iterdir() if (match := _NUMBERED.match(path.name))]
    return max(numbers, default=0)
