"""Every encoder with `train.compile`: the losses of uncompiled steps (traced, without torch's own backend)."""

from __future__ import annotations

import functools
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch._dynamo
from torch import nn

from gancli.config import load_recipe
from gancli.training import pretrain_encoder
from tests.training.test_classifier import SMALL as CLASSIFIER
from tests.training.test_speech import SMALL as SPEECH

SMALL = {
    "damsm": ("model.width=4", "model.dim=16", "model.size=16", "loader.batch=4", "train.minutes=null"),
    "classifier": tuple(CLASSIFIER),
    "speech": tuple(SPEECH),
    "char-cnn-rnn": ("model.dim=16", "model.width=6", "train.minutes=null"),
}
STEPS = ("train.epochs=null", "train.steps=2", "train.log_every=1")


@pytest.mark.slow
@pytest.mark.parametrize("name", SMALL)
def test_compiled_steps_are_the_plain_ones(
    name: str, tiny_spoken: Path, tiny_encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch._dynamo.reset()
    compile_network: Any = nn.Module.compile
    monkeypatch.setattr(nn.Module, "compile", functools.partialmethod(compile_network, backend="aot_eager"))
    monkeypatch.setattr("gancli.training.check_compiler", lambda device: None)
    data = shutil.copytree(tiny_spoken, tmp_path / "cub", ignore=shutil.ignore_patterns("embeddings"))
    changes = [f"data={data}", *SMALL[name], *STEPS]
    if name == "char-cnn-rnn":
        changes.append(f"features.encoder={tiny_encoder}")
    plain, compiled = (
        pretrain_encoder(
            load_recipe(f"{name}/demo", [*changes, f"train.compile={compile}"]),  # type: ignore[arg-type]
            out=tmp_path / compile,
            runs=tmp_path / "runs",
        ).loop.last
        for compile in ("false", "true")
    )
    assert compiled == pytest.approx(plain, rel=1e-4)
