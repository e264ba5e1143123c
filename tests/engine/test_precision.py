"""The choice of the precision: by what the device has, and by what it gains."""

from __future__ import annotations

import pytest
import torch

from gancli.engine import precision

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("there", "cost", "chosen"),
    [(True, 0.5, "bf16"), (True, 1.2, "float32"), (False, 0.5, "float32")],
    ids=["gains", "loses", "emulated"],
)
def test_auto_takes_bf16_where_the_device_has_it_and_gains(monkeypatch, there, cost, chosen):
    monkeypatch.setattr(precision, "has_bf16", lambda _: there)
    monkeypatch.setattr(precision, "bf16_cost", lambda _: cost)
    assert precision.choose_precision(CPU) == chosen


def test_the_cost_is_a_ratio():
    assert 0 < precision.bf16_cost(CPU) < 1000


def test_cpus_are_asked_for_their_instructions(monkeypatch):
    monkeypatch.setattr(precision.platform, "machine", lambda: "x86_64")
    for found, there in [({}, False), ({"avx512_bf16": True}, True), ({"amx_bf16": True}, True)]:
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda found=found: found)
        assert precision.has_bf16(CPU) is there


def test_other_devices_have_none():
    assert not precision.has_bf16(torch.device("mps"))
