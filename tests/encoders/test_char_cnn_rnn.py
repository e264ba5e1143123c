"""Character encoder: published sizes and arithmetic, coding of characters, encoder folder."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gancli.encoders.char_cnn_rnn import (
    ALPHABET,
    INITIAL_RANGE,
    LENGTH,
    CharCnnRnn,
    CharCnnRnnEncoder,
    CharCnnRnnPretraining,
    JointBatch,
    encode_characters,
    load_char_cnn_rnn,
    save_char_cnn_rnn,
)
from gancli.encoders.sentence import load_sentence_encoder
from gancli.errors import DataError
from tests.defaults import make_model

CAPTIONS = [
    "this bird has wings that are blue",
    "a red bird (small) with a 2-inch bill!",
    "x",
    "a bird " * 40,
]
VARIANTS = [("A", "torch"), ("B", "torch"), ("B", "reed"), ("C", "torch")]


def small(variant="B", gru_impl="torch", dim=5):
    torch.manual_seed(0)
    return CharCnnRnn(variant, dim=dim, width=6, gru_impl=gru_impl)


def parameters(network):
    return sum(p.numel() for p in network.parameters())


def test_published_sizes():
    with torch.device("meta"):
        assert parameters(CharCnnRnn("A")) == 1_814_144
        assert parameters(CharCnnRnn("B", gru_impl="reed")) == 4_045_184
        assert parameters(CharCnnRnn("B", gru_impl="torch")) == 4_045_184
        assert CharCnnRnn("B")(torch.empty(2, LENGTH, dtype=torch.int64)).shape == (2, 1024)


# --- the coding -----------------------------------------------------------------------------------------------


def test_places_in_the_alphabet():
    assert len(ALPHABET) == 70
    row = encode_characters(["Az09-, \n"])[0]
    assert row.dtype == np.int64
    # The hyphen counts at the second of its places, 60, and not at 37; a newline is not in the alphabet.
    assert row[:9].tolist() == [1, 26, 27, 36, 60, 38, 70, 0, 0]
    assert not row[9:].any()


@given(st.lists(st.text(max_size=300), max_size=4))
def test_any_text_is_coded(captions):
    places = encode_characters(captions)
    assert places.shape == (len(captions), LENGTH)
    for row, caption in zip(places, captions, strict=True):
        text = caption.lower()[:LENGTH]
        expected = [ALPHABET.rfind(character) + 1 for character in text]
        assert row.tolist() == expected + [0] * (LENGTH - len(text))


# --- the network ----------------------------------------------------------------------------------------------


def slow_convolution(x, weight, bias):
    """Convolve (C, T) to (O, T - 3) in float64, one position at a time."""
    taps = weight.shape[2]
    columns = [(weight * x[:, t : t + taps]).sum((1, 2)) + bias for t in range(x.shape[1] - taps + 1)]
    return np.stack(columns, axis=1)


def slow_pool(x, stride):
    """Return the maxima of three neighbours."""
    return np.stack([x[:, t : t + 3].max(1) for t in range(0, x.shape[1] - 2, stride)], axis=1)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def slow_forward(network, caption):
    """Compute both published variants in float64 from their definition, one caption and one step at a time."""
    w = {name: tensor.double().numpy() for name, tensor in network.state_dict().items()}
    x = np.zeros((70, 201))
    for position, character in enumerate(caption.lower()[:201]):
        if character in ALPHABET:
            x[ALPHABET.rindex(character), position] = 1
    x = slow_pool(np.maximum(slow_convolution(x, w["conv1.weight"], w["conv1.bias"]), 0), 3)
    assert x.shape[1] == 66
    x = slow_pool(np.maximum(slow_convolution(x, w["conv2.weight"], w["conv2.bias"]), 0), 3)
    assert x.shape[1] == 21
    x = np.maximum(slow_convolution(x, w["conv3.weight"], w["conv3.bias"]), 0)
    states = []
    if network.variant != "B":
        x = slow_pool(x, 2)
        for t in range(8):
            inner = w["rnn.weight_ih_l0"] @ x[:, t] + w["rnn.bias_ih_l0"]
            if t:
                inner = inner + w["rnn.weight_hh_l0"] @ states[-1] + w["rnn.bias_hh_l0"]
            states.append(np.maximum(inner, 0))
        assert x.shape[1] == 8
    else:
        assert x.shape[1] == 18
        size = len(x)
        for t in range(18):
            inputs = w["rnn.input.weight"] @ x[:, t] + w["rnn.input.bias"]
            update, reset, candidate = inputs[:size], inputs[size : 2 * size], inputs[2 * size :]
            if t == 0:
                states.append(np.tanh(candidate))
                continue
            h = states[-1]
            gates = w["rnn.gates.weight"] @ h + w["rnn.gates.bias"]
            u, r = sigmoid(update + gates[:size]), sigmoid(reset + gates[size:])
            hidden = w["rnn.candidate.weight"] @ (r * h) + w["rnn.candidate.bias"]
            states.append(u * np.tanh(candidate + hidden) + (1 - u) * h)
    return w["head.weight"] @ np.mean(states, axis=0) + w["head.bias"]


@pytest.mark.parametrize(("variant", "gru_impl"), [("A", "torch"), ("B", "reed"), ("C", "torch")])
def test_both_variants_are_the_published_arithmetic(variant, gru_impl):
    network = small(variant, gru_impl)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.mul_(6)  # out of the flat middle of tanh and sigmoid
        vectors = network(torch.from_numpy(encode_characters(CAPTIONS)))
    expected = [slow_forward(network, caption) for caption in CAPTIONS]
    np.testing.assert_allclose(vectors.numpy(), expected, rtol=2e-4, atol=1e-4)


def test_torch_gru_reads_the_same_steps():
    network = small("B", "torch")
    places = torch.from_numpy(encode_characters(CAPTIONS))
    one_hot = torch.nn.functional.one_hot(places, 71)[:, :, 1:].transpose(1, 2).float()
    x = torch.nn.functional.max_pool1d(network.conv1(one_hot).relu(), 3)
    x = torch.nn.functional.max_pool1d(network.conv2(x).relu(), 3)
    states = network.rnn(network.conv3(x).relu().transpose(1, 2))[0]
    torch.testing.assert_close(network(places), network.head(states.mean(dim=1)))


@pytest.mark.parametrize(("variant", "gru_impl"), VARIANTS)
def test_initial_weights_and_what_learns(variant, gru_impl):
    network = CharCnnRnn(variant, dim=5, width=12, gru_impl=gru_impl)
    values = torch.cat([p.flatten() for p in network.parameters()])
    assert values.abs().max() <= INITIAL_RANGE
    assert values.std().item() == pytest.approx(INITIAL_RANGE / 3**0.5, rel=0.05)
    network(torch.from_numpy(encode_characters([*CAPTIONS, ALPHABET]))).pow(2).sum().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad.abs().sum() > 0, name
    assert not network.conv1.weight.grad[:, ALPHABET.index("-")].any(), "the first hyphen is never read"
    assert network.conv1.weight.grad[:, ALPHABET.rindex("-")].any()


def test_impossible_networks_are_refused():
    with pytest.raises(ValueError, match="multiple of 3"):
        CharCnnRnn(width=8)
    with pytest.raises(ValueError, match="variant 'D'"):
        CharCnnRnn("D")
    with pytest.raises(ValueError, match="gru_impl 'own'"):
        CharCnnRnn(gru_impl="own")


# --- training -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("projected", [False, True])
def test_training_steps_text_and_projection(projected):
    text = small()  # seeds what is drawn after it
    image = torch.nn.Linear(5, 5) if projected else None
    model = make_model(CharCnnRnnPretraining, text, image, lr=0.01)
    assert list(model.networks) == ["text"] + ["image"] * (image is not None)
    (phase,) = model.phases
    assert phase.clip == dict.fromkeys(model.networks, 5.0)
    torch.manual_seed(0)
    batch = JointBatch(torch.rand(4, 5), torch.from_numpy(encode_characters(CAPTIONS)))
    losses = []
    for _ in range(30):
        phase.optimizer.zero_grad()
        loss = torch.stack(list(phase.loss(model.begin(batch)).values())).sum()
        loss.backward()
        phase.optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]


def test_clipping_can_be_switched_off():
    assert not make_model(CharCnnRnnPretraining, small(), clip=None).phases[0].clip


# --- the encoder folder ---------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path):
    save_char_cnn_rnn(
        tmp_path / "encoder",
        small(),
        {"text": {"variant": "B", "dim": 5, "width": 6, "gru_impl": "torch"}},
        torch.nn.Linear(3, 5),
    )
    return tmp_path / "encoder"


def test_round_trip(folder):
    encoder = load_sentence_encoder(folder)
    assert isinstance(encoder, CharCnnRnnEncoder)
    assert (encoder.kind, encoder.vocabulary, encoder.dim) == ("char-cnn-rnn", None, 5)
    assert len(encoder.hash) == 64
    assert not (folder / "vocabulary.json").exists()
    assert not encoder.network.training
    assert not any(p.requires_grad for p in encoder.network.parameters())
    vectors = encoder.encode(CAPTIONS)
    torch.testing.assert_close(vectors, small()(torch.from_numpy(encode_characters(CAPTIONS))).detach())
    assert vectors.dtype == torch.float32
    assert not vectors.requires_grad


def test_no_vector_depends_on_the_other_captions(folder):
    encoder = load_char_cnn_rnn(folder)
    together = encoder.encode(CAPTIONS)
    for row, caption in zip(together, CAPTIONS, strict=True):
        torch.testing.assert_close(encoder.encode([caption])[0], row)
    torch.testing.assert_close(encoder.encode([CAPTIONS[0].upper()])[0], together[0])


def test_warnings(folder):
    encoder = load_char_cnn_rnn(folder)
    assert encoder.check(["A small bird.", "it's blue & red"]) == []
    unknown, cut = encoder.check(["a cliché", "b" * 202, "c" * 201, "b" * 202])
    assert unknown == "characters outside the alphabet are read as blanks: 'é' in 'a cliché'"
    assert cut.startswith("only the first 201 characters are used")
    assert cut.endswith("has 202 characters")
    assert "ccc" not in cut
    (many,) = encoder.check([f"é {number}" for number in range(9)])
    assert many.endswith("and 4 more captions")


@pytest.mark.parametrize("caption", ["", "   ", "鳥", "é ü", " " * 201 + "late"])
def test_a_caption_of_which_nothing_is_known(folder, caption):
    with pytest.raises(DataError, match="no character of") as caught:
        load_char_cnn_rnn(folder).check(["a bird", caption])
    assert repr(caption) in str(caught.value)
    assert "a bird" not in str(caught.value)


def test_folders_that_cannot_be_used_say_why(folder):
    config = folder / "config.yaml"
    content = config.read_text()
    config.write_text(content.replace("width: 6", "width: 7"))
    with pytest.raises(DataError, match="multiple of 3"):
        load_char_cnn_rnn(folder)
    config.write_text(content.replace("width: 6", "width: 9"))
    with pytest.raises(DataError, match="does not fit"):
        load_char_cnn_rnn(folder)
    config.write_text(content.replace("abc", "bac"))
    with pytest.raises(DataError, match="`alphabet`"):
        load_char_cnn_rnn(folder)
    config.write_text("kind: char-cnn-rnn\n")
    with pytest.raises(DataError, match="the key 'alphabet' is missing"):
        load_char_cnn_rnn(folder)
    config.write_text("kind: damsm\n")
    with pytest.raises(DataError, match="kind 'damsm'"):
        load_char_cnn_rnn(folder)
