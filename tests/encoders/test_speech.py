"""Speech encoder: shapes, padding, losses and folder."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from gancli.data.audio import MelSettings
from gancli.encoders.speech import (
    ImageBranch,
    Speech,
    SpeechBatch,
    SpeechEncoder,
    SpeechPretraining,
    encode_mels,
    load_speech,
    pad_mels,
    save_speech,
)
from gancli.errors import DataError
from tests.defaults import make_model

SMALL = {"bands": 6, "channels": [5, 7], "hidden": 4, "attention_dim": 3}
IMAGE = {"backbone": "small", "dim": 8, "size": 16, "width": 4}

# Tensors of S2IGAN's released audio encoder
PUBLISHED = {
    "Conv1.weight": [64, 40, 6],
    "Conv1.bias": [64],
    "Conv2.weight": [128, 64, 6],
    "Conv2.bias": [128],
    **{f"bnorm1.{name}": [64] for name in ("weight", "bias", "running_mean", "running_var")},
    **{f"bnorm2.{name}": [128] for name in ("weight", "bias", "running_mean", "running_var")},
    "bnorm1.num_batches_tracked": [],
    "bnorm2.num_batches_tracked": [],
    **{
        f"rnn.{name}_l{layer}{direction}": shape
        for layer, inputs in ((0, 128), (1, 1024))
        for direction in ("", "_reverse")
        for name, shape in (
            ("weight_ih", [1536, inputs]),
            ("weight_hh", [1536, 512]),
            ("bias_ih", [1536]),
            ("bias_hh", [1536]),
        )
    },
    "att.att_heads.0.hidden.weight": [128, 1024],
    "att.att_heads.0.hidden.bias": [128],
    "att.att_heads.0.out.weight": [1024, 128],
    "att.att_heads.0.out.bias": [1024],
}
RENAMED = (
    ("Conv", "convolution"),
    ("bnorm", "norm"),
    ("att.att_heads.0.hidden", "attention_hidden"),
    ("att.att_heads.0.out", "attention_out"),
)


def ours(name: str) -> str:
    for published, own in RENAMED:
        name = name.replace(published, own)
    return name


def clips(lengths, bands=6, seed=0):
    rng = np.random.default_rng(seed)
    return [rng.normal(size=(length, bands)).astype(np.float16) for length in lengths]


@pytest.fixture
def network():
    """Build a small encoder in eval mode whose batch norms and attention are not the initial ones."""
    torch.manual_seed(0)
    network = SpeechEncoder(**SMALL)
    for norm in (network.norm1, network.norm2):
        nn.init.normal_(norm.running_mean)
        nn.init.uniform_(norm.running_var, 0.5, 2)
    nn.init.normal_(network.attention_out.weight, std=3)
    return network.eval().requires_grad_(False)


def test_it_has_the_tensors_of_the_published_encoder():
    with torch.device("meta"):
        network = SpeechEncoder()
    state = {name: list(tensor.shape) for name, tensor in network.state_dict().items()}
    assert state == {ours(name): shape for name, shape in PUBLISHED.items()}
    assert sum(parameter.numel() for parameter in network.parameters()) == 7_025_344


@pytest.mark.parametrize("activation", ["none", "relu"])
def test_it_computes_what_the_public_code_describes(network, activation):
    """Encode clip by clip without padding, with the attention written out in NumPy."""
    network.activation = nn.ReLU() if activation == "relu" else nn.Identity()
    mels = clips([40, 16, 23])
    found = encode_mels(network, mels).numpy()
    for mel, vector in zip(mels, found, strict=True):
        features = torch.from_numpy(mel.astype(np.float32).T)[None]
        for convolution, norm in (
            (network.convolution1, network.norm1),
            (network.convolution2, network.norm2),
        ):
            features = norm(convolution(features))
            features = features.relu() if activation == "relu" else features
        states = network.rnn(features.transpose(1, 2))[0][0].double().numpy()  # (S, 2 * hidden)
        assert len(states) == ((len(mel) - 4) // 2 - 4) // 2
        weights = {name: value.double().numpy() for name, value in network.state_dict().items()}
        hidden = np.tanh(states @ weights["attention_hidden.weight"].T + weights["attention_hidden.bias"])
        scores = hidden @ weights["attention_out.weight"].T + weights["attention_out.bias"]
        expected = np.zeros(8)
        for channel in range(8):
            share = np.exp(scores[:, channel])
            expected[channel] = (share / share.sum() * states[:, channel]).sum()
        np.testing.assert_allclose(vector, expected / np.linalg.norm(expected), rtol=1e-4, atol=1e-6)


def test_a_vector_does_not_depend_on_the_other_clips(network):
    mels = clips([70, 16, 33, 200, 17])
    together = encode_mels(network, mels)
    alone = torch.cat([encode_mels(network, [mel]) for mel in mels])
    reverse = encode_mels(network, mels[::-1]).flip(0)
    torch.testing.assert_close(together, alone, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(together, reverse, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(together.norm(dim=1), torch.ones(5))


def test_without_the_mask_it_does_as_in_the_public_code(network):
    network.mask_padding = False
    short, long = clips([20, 200])
    alone = encode_mels(network, [short])[0]
    padded, lengths = pad_mels([short, long])
    assert (network(padded, lengths)[0] - alone).norm() > 0.05


def test_many_clips_go_through_in_parts(network, monkeypatch):
    mels = clips([30, 50, 20, 40, 16, 60, 25])
    expected = encode_mels(network, mels)
    monkeypatch.setattr("gancli.encoders.speech._FRAMES_AT_ONCE", 80)
    torch.testing.assert_close(encode_mels(network, mels), expected, rtol=1e-5, atol=1e-6)


def test_a_clip_too_short_for_the_convolutions_is_refused(network):
    encode_mels(network, clips([16]))
    with pytest.raises(ValueError, match="16 frames"):
        encode_mels(network, clips([30, 15]))


def test_no_gradient_is_lost_to_padding():
    torch.manual_seed(0)
    network = SpeechEncoder(**SMALL)
    padded, lengths = pad_mels(clips([16, 90]))
    network(padded, lengths)[:, 0].sum().backward()
    assert all(parameter.grad.isfinite().all() for parameter in network.parameters())


def test_the_image_branch_passes_a_gradient_to_the_image():
    torch.manual_seed(0)
    branch = ImageBranch(**IMAGE).eval().requires_grad_(False)
    image = torch.rand(2, 3, 24, 24).requires_grad_()
    vectors = branch(image)
    assert vectors.shape == (2, 8)
    torch.testing.assert_close(vectors.norm(dim=1), torch.ones(2))
    vectors[:, 0].sum().backward()
    assert image.grad.abs().sum() > 0


def test_a_frozen_backbone_stays_as_it_is():
    branch = ImageBranch(**IMAGE, frozen_backbone=True).train()
    before = {name: tensor.clone() for name, tensor in branch.backbone.state_dict().items()}
    branch(torch.rand(4, 3, 16, 16))[:, 0].sum().backward()
    assert all(torch.equal(before[name], tensor) for name, tensor in branch.backbone.state_dict().items())
    assert all(parameter.grad is None for parameter in branch.backbone.parameters())
    assert branch.linear.weight.grad is not None
    trained = make_model(SpeechPretraining, SpeechEncoder(**SMALL), branch).phases[0].trained()
    assert not {id(p) for p in branch.backbone.parameters()} & {id(p) for p in trained}


def batch_of(class_ids):
    mels, lengths = pad_mels(clips([16 + 3 * row for row in range(len(class_ids))]))
    images = torch.randn(len(class_ids), 3, 16, 16, generator=torch.Generator().manual_seed(5))
    return SpeechBatch(images, mels, lengths, torch.tensor(class_ids))


def test_both_losses_are_the_equations():
    torch.manual_seed(0)
    image, speech = ImageBranch(**IMAGE).eval(), SpeechEncoder(**SMALL).eval()
    training = make_model(SpeechPretraining, speech, image, np.array([3, 5, 9]), gamma=7.0, distinctive=0.5)
    batch = batch_of([9, 3, 9, 5])
    terms = training.terms(batch)

    v = image(batch.images).detach().double().numpy()
    s = speech(batch.mels, batch.lengths).detach().double().numpy()
    weight = training.classifier.weight.detach().double().numpy()
    bias = training.classifier.bias.detach().double().numpy()
    matching = distinctive = 0.0
    for i, target in enumerate([2, 0, 2, 1]):
        for rows, columns in ((v, s), (s, v)):
            logits = {
                j: 7.0 * rows[i] @ columns[j]
                for j in range(4)
                if j == i or batch.class_ids[j] != batch.class_ids[i]
            }
            matching += (np.log(sum(np.exp(list(logits.values())))) - logits[i]) / 4
        for vectors in (v, s):
            scores = weight @ vectors[i] + bias
            distinctive += (np.log(np.exp(scores).sum()) - scores[target]) / 4
    assert terms["matching"].item() == pytest.approx(matching, rel=1e-5)
    assert terms["distinctive"].item() == pytest.approx(0.5 * distinctive, rel=1e-5)


def test_other_images_of_a_class_may_be_negatives_too():
    torch.manual_seed(0)
    image, speech = ImageBranch(**IMAGE).eval(), SpeechEncoder(**SMALL).eval()
    heeded, passed_over = (
        make_model(SpeechPretraining, speech, image, same_class_negatives=negatives)
        for negatives in (False, True)
    )
    apart = heeded.terms(batch_of([0, 1, 2, 3]))["matching"]
    assert torch.equal(passed_over.terms(batch_of([7, 7, 2, 7]))["matching"], apart)
    assert heeded.terms(batch_of([7, 7, 2, 7]))["matching"] < apart


def test_without_classes_there_is_no_distinctive_loss():
    training = make_model(SpeechPretraining, SpeechEncoder(**SMALL), ImageBranch(**IMAGE))
    assert set(training.networks) == {"speech", "image"}
    assert set(training.terms(batch_of([0, 1, 2]))) == {"matching"}


def test_the_optimizer_is_the_public_codes():
    training = make_model(SpeechPretraining, SpeechEncoder(**SMALL), ImageBranch(**IMAGE), np.array([0, 1]))
    assert type(training.optimizer) is torch.optim.Adam  # coupled decay
    (group,) = training.optimizer.param_groups
    assert (group["betas"], group["weight_decay"]) == ((0.95, 0.999), 1e-3)
    assert not training.classifier.weight.detach().abs().max() > (6 / (8 + 2)) ** 0.5


# --- the encoder folder


@pytest.fixture
def folder(network, tmp_path):
    torch.manual_seed(1)
    settings = {"dataset": "cub", "speech": SMALL, "image": IMAGE}
    save_speech(tmp_path / "speech", network, ImageBranch(**IMAGE), MelSettings(bands=6), settings)
    return tmp_path / "speech"


def test_a_folder_holds_all_that_is_needed(folder, network):
    loaded = load_speech(folder)
    assert isinstance(loaded, Speech)
    assert loaded.dim == 8
    assert loaded.mel == MelSettings(bands=6)
    mels = clips([20, 30])
    assert torch.equal(loaded.encode_mels(mels), encode_mels(network, mels))
    assert not any(p.requires_grad for p in (*loaded.network.parameters(), *loaded.image.parameters()))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("bands: 6", "bands: 7"), "does not fit"),
        (("cmvn: true", "cmvn: maybe"), "no network can be built"),
        (("hidden: 4", "width: 4"), "no network can be built"),
        (("kind: speech", "kind: damsm"), "is a folder of kind 'damsm'"),
    ],
)
def test_a_damaged_folder_is_refused(folder, change, message):
    config = folder / "config.yaml"
    config.write_text(config.read_text().replace(*change, 1))
    with pytest.raises(DataError, match=message):
        load_speech(folder)
