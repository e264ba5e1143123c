"""Export of every model: files that other programs run give PyTorch's images, and say what they take."""

from __future__ import annotations

import json

import pytest
import torch

from gancli.data.text import pad_tokens, tokenize
from gancli.encoders.damsm import TextEncoder
from gancli.errors import RunError, UsageError
from gancli.exporting import export as exporting
from gancli.exporting.export import export
from gancli.exporting.recurrence import PaddedRecurrence
from gancli.inference.ffgan import load_ffgan

MODELS = (
    "tiny_model",
    "tiny_stackgan",
    "tiny_attr2image",
    "tiny_fusion_s2igan",
    "tiny_dfgan",
    "tiny_csfgan",
)


@pytest.mark.parametrize("kind", [torch.nn.LSTM, torch.nn.GRU])
@pytest.mark.parametrize("layers", [1, 2])
def test_padded_recurrence_equals_the_packed_one(kind, layers):
    torch.manual_seed(0)
    rnn = kind(5, 4, num_layers=layers, batch_first=True, bidirectional=True).eval()
    x, lengths = torch.randn(4, 7, 5), torch.tensor([7, 1, 4, 6])
    packed = torch.nn.utils.rnn.pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
    states, last = rnn(packed)
    expected, _ = torch.nn.utils.rnn.pad_packed_sequence(states, batch_first=True)
    hidden = last[0] if isinstance(last, tuple) else last
    found, ends = PaddedRecurrence(rnn)(x, lengths)
    assert torch.allclose(found, expected, atol=1e-6)
    assert torch.allclose(ends, torch.cat([hidden[-2], hidden[-1]], dim=1), atol=1e-6)


@pytest.mark.parametrize("format", ["onnx", "torchscript"])
@pytest.mark.parametrize("name", MODELS)
def test_every_model_is_exported(name, format, tmp_path, request):
    model = request.getfixturevalue(name)
    exported = export(model, tmp_path / f"model{exporting.SUFFIXES[format]}", format=format)
    assert exported.difference < 2e-2  # the untrained networks amplify rounding; the mean is below 1e-4
    content = json.loads(exported.description.read_text())
    assert content["inputs"][0]["shape"][0] == "batch"
    assert content["outputs"][-1]["shape"][1] == 3
    assert len(content["sha256"]) == 64
    assert content["largest_difference_from_pytorch"] == exported.difference


def test_a_sentence_gives_the_same_image_in_onnxruntime(tiny_model, tmp_path):
    """As another program would: the JSON and the file, nothing of gancli."""
    import onnxruntime

    exported = export(tiny_model, tmp_path / "bird.onnx")
    content = json.loads(exported.description.read_text())
    words = content["reading"]["vocabulary"]
    caption = " ".join(words[1:4])
    tokens = torch.tensor([[words.index(word) for word in caption.split()]])
    model = load_ffgan(tiny_model)
    noises = {name: torch.randn(1, dim) for name, dim in model.noise_dims.items()}
    session = onnxruntime.InferenceSession(str(exported.file), providers=["CPUExecutionProvider"])
    inputs = {"tokens": tokens.numpy(), **{name: noise.numpy() for name, noise in noises.items()}}
    images = session.run(None, inputs)
    for found, expected in zip(images, model.draw([caption], noises).images, strict=True):
        assert abs(torch.from_numpy(found) - expected).max() < 1e-5


def test_safetensors_are_the_tensors_of_the_folder(tiny_model, tmp_path):
    exported = export(tiny_model, tmp_path / "bird.safetensors", format="safetensors")
    assert exported.file.read_bytes() == (tiny_model / "weights.safetensors").read_bytes()
    assert exported.difference is None
    assert json.loads(exported.description.read_text())["reading"]["kind"] == "words"


def test_an_existing_file_stays(tiny_model, tmp_path):
    (tmp_path / "bird.onnx").write_text("mine")
    with pytest.raises(UsageError, match=r"bird\.onnx: exists"):
        export(tiny_model, tmp_path / "bird.onnx")
    assert (tmp_path / "bird.onnx").read_text() == "mine"


def test_an_unknown_format_is_refused(tiny_model, tmp_path):
    with pytest.raises(UsageError, match="allowed: onnx, torchscript, safetensors"):
        export(tiny_model, tmp_path / "bird.pb", format="pb")


def test_a_missing_package_is_named(tiny_model, tmp_path, monkeypatch):
    monkeypatch.setattr(exporting, "find_spec", lambda name: None if name == "onnxruntime" else name)
    with pytest.raises(UsageError, match="needs the packages onnxruntime") as caught:
        export(tiny_model, tmp_path / "bird.onnx")
    assert "pip install onnxruntime" in caught.value.hint


def test_a_file_with_other_images_is_not_kept(tiny_model, tmp_path, monkeypatch):
    monkeypatch.setattr(exporting, "_differences", lambda found, expected: (0.9, 0.5))
    with pytest.raises(RunError, match=r"not kept, its images differ from PyTorch's by 0\.5 in the mean"):
        export(tiny_model, tmp_path / "bird.pt", format="torchscript")
    assert list(tmp_path.iterdir()) == []


def test_an_opset_that_onnxruntime_lacks_is_named(tiny_dfgan, tmp_path, monkeypatch):
    import onnxruntime

    def refuse(*_, **__):
        raise RuntimeError("Opset 99 is under development")

    monkeypatch.setattr(onnxruntime, "InferenceSession", refuse)
    with pytest.raises(RunError, match=r"opset 17: this onnxruntime .* cannot run the file \(Opset 99"):
        export(tiny_dfgan, tmp_path / "bird.onnx")
    assert list(tmp_path.iterdir()) == []


def test_text_of_one_word_is_enough():
    """The shortest caption takes part like any other."""
    encoder = TextEncoder(10, dim=8, embedding_dim=4).eval()
    tokens, lengths = pad_tokens([[3], [1, 2, 3]], 4)
    tokens, lengths = torch.from_numpy(tokens), torch.from_numpy(lengths)
    words, sentence = encoder(tokens, lengths)
    states, ends = PaddedRecurrence(encoder.rnn)(encoder.embedding(tokens), lengths)
    assert torch.allclose(states.transpose(1, 2), words, atol=1e-6)
    assert torch.allclose(ends, sentence, atol=1e-6)
    assert tokenize("One word") == ["one", "word"]
