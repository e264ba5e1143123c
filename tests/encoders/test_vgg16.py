"""VGG-16 gives torchvision's features, and exactly the same for images of which only a box is computed."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from gancli.encoders import vgg16
from gancli.encoders.backbones import IMAGENET_MEAN, IMAGENET_STD
from gancli.encoders.vgg16 import Vgg16, load_vgg16
from gancli.losses.image import feature_loss
from gancli.ops.boxes import Box, cut, paste


@pytest.mark.parametrize("normalise", [True, False])
def test_vgg16_gives_torchvisions_pooled_features(normalise, monkeypatch, tmp_path):
    from torchvision.models import vgg16 as torchvisions

    torch.manual_seed(0)
    published = torchvisions(weights=None).eval()
    torch.save(published.state_dict(), tmp_path / "vgg16.pth")
    monkeypatch.setattr(vgg16, "find_weights", lambda name, explicit: tmp_path / f"{name}.pth")
    network = load_vgg16(normalise=normalise)
    assert not any(p.requires_grad for p in network.parameters())
    images = torch.rand(2, 3, 32, 32)
    x = 2 * images - 1
    if normalise:
        x = (images - torch.tensor(IMAGENET_MEAN).view(3, 1, 1)) / torch.tensor(IMAGENET_STD).view(3, 1, 1)
    with torch.no_grad():
        features = network(2 * images - 1)
        for layers, ours in zip((5, 10, 17), features, strict=True):
            torch.testing.assert_close(ours, published.features[:layers](x), rtol=1e-3, atol=1e-5)
    assert [tuple(f.shape[1:]) for f in features] == [(64, 16, 16), (128, 8, 8), (256, 4, 4)]


SIDE = 48
ends = st.tuples(st.integers(0, SIDE - 1), st.integers(1, SIDE)).filter(lambda pair: pair[0] < pair[1])


@given(ends, ends)
@settings(max_examples=10, deadline=None)
def test_what_a_change_reaches_is_as_of_whole_images(columns, rows):
    torch.manual_seed(0)
    network = Vgg16().double().eval().requires_grad_(False)
    box = Box(columns[0], rows[0], columns[1], rows[1])
    real = torch.rand(2, 3, SIDE, SIDE, dtype=torch.float64) * 2 - 1
    changed = torch.rand(2, 3, box.bottom - box.top, box.right - box.left, dtype=torch.float64) * 2 - 1

    def copy(part):
        fake = real.clone()
        fake[..., box.top : box.bottom, box.left : box.right] = part
        return fake

    results = []
    for compare in (
        lambda fake: (network(real), network(fake)),
        lambda fake: network.compare(real, fake, box),
    ):
        part = changed.clone().requires_grad_()
        wanted, painted = compare(copy(part))
        (gradient,) = torch.autograd.grad(feature_loss(wanted, painted), part)
        results.append([*wanted, *painted, gradient])
    for expected, ours in zip(*results, strict=True):
        torch.testing.assert_close(ours, expected)


@pytest.mark.parametrize(
    ("box", "part"),
    [
        (Box(64, 57, 73, 66), Box(16, 8, 120, 112)),  # ends that leave every remainder by 8
        (Box(58, 67, 68, 71), Box(8, 24, 112, 120)),
        (Box(59, 61, 69, 63), Box(16, 16, 112, 112)),
        (Box(62, 60, 67, 64), Box(16, 16, 112, 112)),
        (Box(0, 100, 3, 126), Box(0, 56, 48, 128)),
    ],
)
def test_the_surroundings_of_a_change_are_all_that_counts(box, part):
    torch.manual_seed(0)
    network = Vgg16().double().eval().requires_grad_(False)
    for layer in network.modules():
        if isinstance(
            layer, nn.Conv2d
        ):  # the usual weights are so small that biases decide what a ReLU lets pass
            nn.init.kaiming_normal_(layer.weight)
            nn.init.zeros_(layer.bias)
    whole = Box(0, 0, 128, 128)
    assert network.surroundings(box, whole) == part
    real = torch.rand(1, 3, 128, 128, dtype=torch.float64) * 2 - 1
    results = []
    for seen in (whole, part):
        changed = torch.ones_like(cut(real, box)).requires_grad_()
        fake = cut(paste(real, changed, box), seen)
        features = network.compare(cut(real, seen), fake, box.within(seen))
        # In double precision, as `feature_loss` is not
        loss = sum((a - b).abs().mean() for a, b in zip(*features, strict=True)) * seen.area / whole.area
        results.append(
            torch.cat([loss.detach().view(1), *(g.flatten() for g in torch.autograd.grad(loss, changed))])
        )
    torch.testing.assert_close(results[1], results[0], rtol=1e-12, atol=0)
