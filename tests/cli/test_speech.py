"""`gancli pretrain-encoder speech`: from data to a folder, and what it refuses."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from gancli.encoders.speech import load_speech
from tests.cli.conftest import Gancli

SMALL = (
    "model.width=4", "model.size=16", "model.hidden=8", "model.attention_dim=4", "loader.batch=3",
    "train.minutes=null", "train.steps=2",
)  # fmt: skip


def test_an_encoder_from_spoken_captions(gancli: Gancli, tiny_spoken: Path, tmp_path: Path) -> None:
    data = shutil.copytree(tiny_spoken, tmp_path / "data", ignore=shutil.ignore_patterns("embeddings"))
    answer = gancli(
        "pretrain-encoder", "speech", "--recipe", "speech/demo", f"data={data}", *SMALL,
        "--out", tmp_path / "speech", "--runs", tmp_path / "runs", "--device", "cpu",
    )  # fmt: skip
    assert answer.code == 0, answer.stderr
    assert "12 images of split 'test': mAP" in answer.stderr
    assert "vectors of split 'train': 36 of 36 spoken captions" in answer.stderr
    report = load_speech(tmp_path / "speech").settings["retrieval"]
    assert f"mAP {report['map']:.1f}"[:-1] in answer.stderr


def test_default_output_names_the_recipe(
    gancli: Gancli, tiny_spoken: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    answer = gancli("pretrain-encoder", "speech", f"data={tiny_spoken}", "--dry-run", "--json")
    assert answer.code == 0, answer.stderr
    assert answer.json["name"] == "speech/cub"
    assert answer.json["paths"]["encoder"] == "encoders/speech-cub"


def test_a_dataset_without_speech_says_what_to_do(gancli: Gancli, tiny_dataset: Path, tmp_path: Path) -> None:
    answer = gancli(
        "pretrain-encoder", "speech", "--recipe", "speech/demo", f"data={tiny_dataset}", *SMALL,
        "--out", tmp_path / "speech", "--runs", tmp_path / "runs", "--device", "cpu",
    )  # fmt: skip
    assert answer.code == 3
    assert "not spoken" in answer.stderr
    assert "--speech tts" in answer.stderr
    assert not (tmp_path / "runs").exists()
