"""Features and published weights of the backbones, against torchvision's own networks."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from gancli.encoders import backbones
from gancli.encoders.backbones import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    build_backbone,
    load_imagenet,
    load_places365,
)


def test_googlenet_gives_1024_features_of_any_image():
    with torch.device("meta"):
        network = build_backbone("googlenet", size=64).eval()
        local, whole = network(torch.empty(2, 3, 64, 64))
    assert local.shape == (2, 832, 14, 14)
    assert whole.shape == (2, 1024)
    assert (network.local_channels, network.global_channels) == (832, 1024)


def test_googlenet_with_its_weights_is_torchvisions(monkeypatch):
    """The published network takes normalised images and transforms them back to [-1, 1], where ours begins."""
    from torchvision.models import googlenet

    torch.manual_seed(0)
    published = googlenet(weights=None, transform_input=True, aux_logits=True, init_weights=False).eval()
    monkeypatch.setattr(torch, "load", lambda *args, **options: published.state_dict())
    monkeypatch.setattr(backbones, "find_weights", lambda name, explicit: Path(f"{name}.pth"))
    network = build_backbone("googlenet", size=224).eval()
    assert load_imagenet(network) == Path("googlenet.pth")

    images = torch.rand(1, 3, 224, 224)
    published.fc = torch.nn.Identity()
    normalised = (images - torch.tensor(IMAGENET_MEAN).view(3, 1, 1)) / torch.tensor(IMAGENET_STD).view(
        3, 1, 1
    )
    with torch.no_grad():
        torch.testing.assert_close(network(2 * images - 1)[1], published(normalised), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(("name", "local", "whole"), [("resnet18", 256, 512), ("resnet50", 1024, 2048)])
def test_a_resnet_with_its_weights_is_torchvisions(name, local, whole, monkeypatch):
    from torchvision import models

    torch.manual_seed(0)
    published = getattr(models, name)(weights=None).eval()
    monkeypatch.setattr(torch, "load", lambda *args, **options: published.state_dict())
    monkeypatch.setattr(backbones, "find_weights", lambda name, explicit: Path(f"{name}.pth"))
    network = build_backbone(name, size=64).eval()
    assert load_imagenet(network) == Path(f"{name}.pth")
    assert (network.local_channels, network.global_channels) == (local, whole)

    images = torch.rand(1, 3, 64, 64)
    published.fc = torch.nn.Identity()
    normalised = (images - torch.tensor(IMAGENET_MEAN).view(3, 1, 1)) / torch.tensor(IMAGENET_STD).view(
        3, 1, 1
    )
    with torch.no_grad():
        features, pooled = network(2 * images - 1)
        assert features.shape == (1, local, 4, 4)
        torch.testing.assert_close(pooled, published(normalised), rtol=1e-3, atol=1e-4)


def test_places365_weights_lie_in_the_wrapper_that_trained_them(tmp_path):
    from torchvision.models import resnet50

    torch.manual_seed(0)
    state = resnet50(weights=None, num_classes=365).state_dict()
    path = tmp_path / "resnet50_places365.pth.tar"
    torch.save({"state_dict": {f"module.{key}": value for key, value in state.items()}}, path)
    network = build_backbone("resnet50", size=64)
    assert load_places365(network, path) == path
    assert torch.equal(network.lower[0].weight, state["conv1.weight"])
    assert torch.equal(network.upper[2].conv3.weight, state["layer4.2.conv3.weight"])
    with pytest.raises(ValueError, match="only ResNet-50"):
        load_places365(build_backbone("resnet18", size=64), path)


def test_the_small_backbone_has_no_imagenet_weights():
    with pytest.raises(ValueError, match="no ImageNet weights"):
        load_imagenet(build_backbone("small", size=16))
