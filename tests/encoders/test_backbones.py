"""GoogLeNet's features and ImageNet weights, against torchvision's own network."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from gancli.encoders import backbones
from gancli.encoders.backbones import IMAGENET_MEAN, IMAGENET_STD, build_backbone, load_imagenet


def test_googlenet_gives_1024_features_of_any_picture():
    with torch.device("meta"):
        network = build_backbone("googlenet", size=64).eval()
        local, whole = network(torch.empty(2, 3, 64, 64))
    assert local.shape == (2, 832, 14, 14)
    assert whole.shape == (2, 1024)
    assert (network.local_channels, network.global_channels) == (832, 1024)


def test_googlenet_with_its_weights_is_torchvisions(monkeypatch):
    """The published network takes normalised pictures and transforms them back to [-1, 1], what ours begins with."""
    from torchvision.models import googlenet

    torch.manual_seed(0)
    published = googlenet(weights=None, transform_input=True, aux_logits=True, init_weights=False).eval()
    monkeypatch.setattr(torch, "load", lambda *args, **options: published.state_dict())
    monkeypatch.setattr(backbones, "find_weights", lambda name, explicit: Path(f"{name}.pth"))
    network = build_backbone("googlenet", size=224).eval()
    assert load_imagenet(network) == Path("googlenet.pth")

    pictures = torch.rand(1, 3, 224, 224)
    published.fc = torch.nn.Identity()
    normalised = (pictures - torch.tensor(IMAGENET_MEAN).view(3, 1, 1)) / torch.tensor(IMAGENET_STD).view(
        3, 1, 1
    )
    with torch.no_grad():
        torch.testing.assert_close(network(2 * pictures - 1)[1], published(normalised), rtol=1e-3, atol=1e-4)


def test_the_small_backbone_has_no_imagenet_weights():
    with pytest.raises(ValueError, match="no ImageNet weights"):
        load_imagenet(build_backbone("small", size=16))
