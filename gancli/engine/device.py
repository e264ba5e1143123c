"""The device that a name stands for."""

from __future__ import annotations

import torch

from gancli.errors import ConfigError


def pick_device(name: str | torch.device) -> torch.device:
    """Return the device of that name; `auto` is a GPU where there is one.

    Raises:
        ConfigError: This machine has no such device.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError:
        raise ConfigError(f"{name!r} is not a device", "Use auto, cpu, cuda, cuda:1 or mps.") from None
    missing = (device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count()) or (
        device.type == "mps" and not torch.backends.mps.is_available()
    )
    if missing:
        raise ConfigError(f"device {name} is not available on this machine", "Use auto or cpu.")
    return device
