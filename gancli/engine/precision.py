"""Choice of the arithmetic of a training: bfloat16 where the device computes in it and gains by it."""

from __future__ import annotations

import functools
import platform
import time
from typing import Literal

import torch
import torch.nn.functional as F

Precision = Literal["float32", "tf32", "bf16"]

PAYS = 0.9  # most time in bf16 over that in float32 at which `auto` takes it: it is less exact


def has_bf16(device: torch.device) -> bool:
    """Say whether a device multiplies in bfloat16. Other CPUs emulate it, several times slower than float32."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device.type != "cpu":
        return False
    found = torch.cpu.get_capabilities()
    if platform.machine().lower() in ("arm64", "aarch64"):
        return bool(found.get("bf16") or found.get("arm_bf16"))
    return bool(found.get("avx512_bf16") or found.get("amx_bf16"))


@functools.cache
def bf16_cost(device: torch.device) -> float:
    """Measure the time of a convolution's forward and backward pass in bfloat16, over that in float32.

    The convolution is one as in the generators: 64 channels at 16 pixels. The best of three counts, because other
    work on the machine only ever makes a pass slower.
    """
    images = torch.zeros(4, 64, 16, 16, device=device).to(memory_format=torch.channels_last).requires_grad_()
    weight = torch.zeros(64, 64, 3, 3, device=device).requires_grad_()

    def seconds(*, bf16: bool) -> float:
        start = time.perf_counter()
        with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
            F.conv2d(images, weight, padding=1).float().sum().backward()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return time.perf_counter() - start

    for bf16 in (False, True):  # the first passes prepare kernels and memory
        seconds(bf16=bf16)
    pairs = [(seconds(bf16=True), seconds(bf16=False)) for _ in range(3)]
    return min(bf16 for bf16, _ in pairs) / min(float32 for _, float32 in pairs)


def choose_precision(device: torch.device) -> Precision:
    """Return bf16 where the device has it and gains by it, else float32, with TF32 products on CUDA."""
    if has_bf16(device) and bf16_cost(device) <= PAYS:
        return "bf16"
    return "tf32" if device.type == "cuda" else "float32"
