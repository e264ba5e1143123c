"""Description of the machine and software of a run, for environment.json."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TypedDict

import torch

from gancli.engine.precision import bf16_cost, has_bf16
from gancli.version import __version__

_PACKAGES = ("torch", "torchvision", "numpy", "h5py", "pillow", "pydantic", "safetensors")


class Environment(TypedDict):
    """Machine and software of a run, as plain values."""

    started: str
    command: list[str]
    gancli: str
    commit: str | None
    python: str
    platform: str
    packages: dict[str, str | None]
    cpu: str
    threads: int
    cuda: str | None
    gpus: list[str]
    bf16: bool
    bf16_cost: float


def describe_environment() -> Environment:
    """Return versions, machine, commit and command line as plain values; `commit` is None outside a git checkout.

    `bf16` says whether the best device computes in bfloat16, `bf16_cost` is its time over float32's.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return {
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": sys.argv,
        "gancli": __version__,
        "commit": _commit(Path(__file__).resolve().parents[2]),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {name: _version(name) for name in _PACKAGES},
        "cpu": _processor(),
        "threads": torch.get_num_threads(),
        "cuda": torch.version.cuda,
        "gpus": [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())],
        "bf16": has_bf16(device),
        "bf16_cost": round(bf16_cost(device), 2),
    }


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _processor() -> str:
    """Return the name of the CPU model, which platform.processor() does not give on Linux."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _commit(checkout: Path) -> str | None:
    """Return the hash of the checked-out commit, with "-dirty" where tracked files were changed."""
    if not (checkout / ".git").exists():
        return None
    command = ["git", "-C", str(checkout), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    # Without optional locks, so that this does not disturb someone who is committing.
    environment = {**os.environ, "GIT_OPTIONAL_LOCKS": "0"}
    try:
        return subprocess.check_output(
            command, env=environment, stderr=subprocess.DEVNULL, text=True, timeout=10
        ).strip()
    except (OSError, subprocess.SubprocessError):
        return None
