"""Feature networks: the FID Inception against pytorch-fid's, and how pictures of any size reach a network."""

import numpy as np
import pytest
import torch
from torch import nn

from gancli.errors import DataError, UsageError
from gancli.scores import features as features_module
from gancli.scores.features import load_features
from gancli.scores.inception import build_fid_inception


def random_state():
    """The tensors of an Inception network whose activations neither vanish nor explode."""
    generator = torch.Generator().manual_seed(0)
    state = {}
    for name, tensor in build_fid_inception().state_dict().items():
        if name.endswith("num_batches_tracked"):
            state[name] = tensor
        elif name.endswith(("running_var", "bn.weight")):
            state[name] = torch.rand(tensor.shape, generator=generator) + 0.5
        elif tensor.ndim > 1:
            fan_in = tensor[0].numel()
            state[name] = torch.randn(tensor.shape, generator=generator) * (2 / fan_in) ** 0.5
        else:
            state[name] = torch.randn(tensor.shape, generator=generator) * 0.1
    return state


@pytest.fixture(scope="module")
def state():
    return random_state()


@pytest.fixture
def inception(state, monkeypatch):
    monkeypatch.setattr(features_module, "load_weights", lambda name, path: (state, "f" * 64))
    return load_features("inception")


def test_inception_is_pytorch_fids_network(state, inception, monkeypatch):
    from pytorch_fid import inception as reference

    monkeypatch.setattr(reference, "load_state_dict_from_url", lambda *_, **__: state)
    theirs = reference.InceptionV3([reference.InceptionV3.BLOCK_INDEX_BY_DIM[2048]]).eval()
    pictures = np.random.default_rng(0).integers(0, 256, (2, 40, 60, 3), dtype=np.uint8)
    with torch.no_grad():
        tensor = torch.from_numpy(pictures).permute(0, 3, 1, 2) / 255
        expected = theirs(tensor)[0].flatten(1)
    ours = inception(list(pictures))
    assert ours.shape == (2, 2048)
    assert expected.abs().mean() > 0.1
    torch.testing.assert_close(ours, expected, atol=1e-4, rtol=1e-4)


def test_inception_differs_from_torchvisions(state, inception):
    from torchvision.models.inception import Inception3

    plain = Inception3(num_classes=1008, aux_logits=False, init_weights=False)
    plain.load_state_dict(state)
    plain.fc = nn.Identity()
    picture = np.random.default_rng(0).integers(0, 256, (299, 299, 3), dtype=np.uint8)
    with torch.no_grad():
        theirs = plain.eval()(torch.from_numpy(picture).permute(2, 0, 1)[None] / 127.5 - 1)
    assert (inception([picture]) - theirs).abs().max() > 1e-2


def test_inception_without_weights_is_an_error(tmp_path, monkeypatch):
    monkeypatch.setenv("GANCLI_HOME", str(tmp_path))
    monkeypatch.setenv("GANCLI_OFFLINE", "1")
    with pytest.raises(DataError, match="pt_inception-2015-12-05-6726825d.pth"):  # noqa: RUF043
        load_features("inception")


@pytest.fixture
def encoder(tiny_encoder):
    return load_features(f"encoder:{tiny_encoder}")


def test_encoder_is_named_with_its_backbone_and_hash(encoder, tiny_encoder):
    from gancli.encoders.damsm import load_damsm

    assert encoder.name == f"encoder:{tiny_encoder} (small)"
    assert encoder.sha256 == load_damsm(tiny_encoder).hash
    assert encoder([np.zeros((16, 16, 3), np.uint8)]).shape == (1, encoder.dim)


def test_each_picture_is_resized_on_its_own(encoder):
    rng = np.random.default_rng(0)
    shapes = [(16, 16), (40, 30), (16, 16), (9, 20), (40, 30), (1, 1)]
    pictures = [rng.integers(0, 256, (*shape, 3), dtype=np.uint8) for shape in shapes]
    together = encoder(pictures)
    alone = torch.cat([encoder([picture]) for picture in pictures])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-5)


def test_shrinking_is_antialiased(encoder):
    # Stripes finer than the input's pixels must become grey, not aliases
    stripes = np.zeros((64, 64, 3), np.uint8)
    stripes[:, ::2] = 255
    inputs = encoder.prepare(torch.from_numpy(stripes).permute(2, 0, 1)[None].float())
    assert inputs.shape == (1, 3, 16, 16)
    assert inputs[..., 1:-1].abs().max() < 0.1


@pytest.mark.parametrize("name", ["vgg", "encoder", "encoder:", "inception_v3"])
def test_unknown_networks(name):
    with pytest.raises(UsageError, match="not a feature network"):
        load_features(name)


def test_encoder_that_is_not_there(tmp_path):
    with pytest.raises(DataError, match="absent"):
        load_features(f"encoder:{tmp_path / 'absent'}")
