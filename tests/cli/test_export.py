"""`gancli export`: files, messages and exit codes."""

from __future__ import annotations

import json


def test_a_model_becomes_a_file_and_its_description(gancli, tiny_model, tmp_path):
    answer = gancli("export", tiny_model, "--out", tmp_path / "bird.onnx", "--json")
    assert answer.code == 0, answer.stderr
    assert answer.json["file"] == str(tmp_path / "bird.onnx")
    assert json.loads((tmp_path / "bird.json").read_text())["inputs"][0]["name"] == "tokens"
    again = gancli("export", tiny_model, "--out", tmp_path / "bird.onnx")
    assert again.code == 2
    assert "bird.onnx: exists" in again.stderr
    shown = gancli("export", tiny_model, "-f", "torchscript", "-o", tmp_path / "bird.pt")
    assert "largest difference from PyTorch" in shown.stdout


def test_an_encoder_is_no_model(gancli, tiny_encoder, tmp_path):
    answer = gancli("export", tiny_encoder, "--out", tmp_path / "bird.onnx")
    assert answer.code == 3
    assert "draws no images" in answer.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_missing_folder_is_named(gancli, tmp_path):
    answer = gancli("export", tmp_path / "nothing", "--out", tmp_path / "bird.onnx")
    assert answer.code == 3
    assert "nothing" in answer.stderr
