"""`gancli pretrain-encoder char-cnn-rnn` and `gancli embed`: the run, its file of vectors, and what they refuse."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from gancli.encoders.char_cnn_rnn import load_char_cnn_rnn
from tests.cli.conftest import Gancli

SMALL = (
    "model.dim=16",
    "model.width=6",
    "train.minutes=null",
    "train.steps=2",
    "train.log_every=1",
    "--device",
    "cpu",
)


@pytest.fixture
def data(tiny_dataset: Path, tmp_path: Path) -> Path:
    """The tiny dataset, for features and vectors to be kept in."""
    return Path(shutil.copytree(tiny_dataset, tmp_path / "cub"))


def test_from_training_to_a_file_of_vectors(
    gancli: Gancli, data: Path, tiny_encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    answer = gancli(
        "pretrain-encoder", "char-cnn-rnn", "--recipe", "char-cnn-rnn/demo", f"data={data}",
        f"features.encoder={tiny_encoder}", *SMALL, "--export", "vectors/cub.npz",
    )  # fmt: skip
    assert answer.code == 0, answer.stderr
    assert "encoder: encoders/char-cnn-rnn-demo" in answer.stdout
    assert "chance 50.0 %" in answer.stderr
    assert "vectors of 72 captions: vectors/cub.npz" in answer.stderr
    encoder = load_char_cnn_rnn(Path("encoders/char-cnn-rnn-demo"))
    with np.load("vectors/cub.npz") as exported:
        assert exported["embeddings"].shape == (72, 16)
        assert len(exported["keys"]) == 24
        assert str(exported["encoder_hash"]) == encoder.hash

    answer = gancli("embed", data, "--encoder", "encoders/char-cnn-rnn-demo", "--json")
    assert answer.code == 0, answer.stderr
    assert answer.json["captions"] == 72
    assert Path("embeddings.npz").read_bytes() == Path("vectors/cub.npz").read_bytes()

    answer = gancli(
        "pretrain-encoder",
        "char-cnn-rnn",
        "--resume",
        "runs/0001-char-cnn-rnn-cub",
        "train.steps=3",
        "--json",
    )
    assert answer.code == 0, answer.stderr
    assert answer.json["step"] == 3
    assert answer.json["output"] == "encoders/char-cnn-rnn-cub"


def test_vectors_of_a_damsm(gancli: Gancli, data: Path, tiny_encoder: Path, tmp_path: Path) -> None:
    answer = gancli("embed", data, "--encoder", tiny_encoder, "--out", tmp_path / "damsm.npz", "-q")
    assert answer.code == 0, answer.stderr
    assert answer.stdout.strip() == str(tmp_path / "damsm.npz")
    with np.load(tmp_path / "damsm.npz") as exported:
        assert str(exported["encoder"]) == "damsm"


def test_dry_run_touches_nothing(
    gancli: Gancli, tiny_dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    answer = gancli(
        "pretrain-encoder", "char-cnn-rnn", f"data={tiny_dataset}", "--export", "v.npz", "-n", "--json"
    )
    assert answer.code == 0, answer.stderr
    assert answer.json["name"] == "char-cnn-rnn/cub"
    assert answer.json["parameters"] == {"text": 4_045_184}
    assert answer.json["paths"] == {
        "run": "runs",
        "encoder": "encoders/char-cnn-rnn-cub",
        "embeddings": "v.npz",
    }
    assert list(tmp_path.iterdir()) == []


def test_what_is_missing_is_named(
    gancli: Gancli,
    data: Path,
    tiny_encoder: Path,
    tiny_model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GANCLI_OFFLINE", "1")
    monkeypatch.setenv("GANCLI_HOME", str(tmp_path / "home"))
    train = ("pretrain-encoder", "char-cnn-rnn", f"data={data}")
    answer = gancli(*train)
    assert answer.code == 3
    assert "googlenet-1378be20.pth" in answer.stderr
    assert "--weights" in answer.stderr
    answer = gancli(*train, f"features.encoder={tiny_encoder}")
    assert answer.code == 2
    assert "features.encoder" in answer.stderr
    assert "the other to null" in answer.stderr
    answer = gancli(*train, "features.backbone=null", "features.encoder=nowhere")
    assert answer.code == 3
    assert "features.encoder: nowhere: no such run, model or encoder folder" in answer.stderr
    answer = gancli("embed", data, "--encoder", tiny_model)
    assert answer.code == 3
    assert "reads no captions" in answer.stderr
    assert gancli("embed", data).code == 2
    assert not (tmp_path / "runs").exists()
    assert not (tmp_path / "embeddings.npz").exists()
