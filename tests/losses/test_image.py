"""Losses between images against float64 NumPy, pixel by pixel."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from gancli.losses.image import edge_loss, feature_loss, gram_matrix, style_loss, total_variation

SOBEL = np.array([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]])
LAPLACE = np.where(np.arange(9).reshape(3, 3) == 4, 8, -1)


def random_images(seed: int, height: int = 6, width: int = 7) -> torch.Tensor:
    return torch.rand(2, 3, height, width, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def filtered(image: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """(H, W) -> (H - 2, W - 2)."""
    height, width = image.shape
    result = np.empty((height - 2, width - 2))
    for y, x in itertools.product(range(height - 2), range(width - 2)):
        result[y, x] = (image[y : y + 3, x : x + 3] * kernel).sum()
    return result


def test_sobel_compares_both_maps_of_each_channel():
    real, fake = random_images(0), random_images(1)
    differences = [
        np.abs(filtered(a, kernel) - filtered(b, kernel))
        for ours, theirs in zip(real.double().numpy(), fake.double().numpy(), strict=True)
        for a, b in zip(ours, theirs, strict=True)
        for kernel in (SOBEL, SOBEL.T)
    ]
    assert edge_loss(real, fake, "sobel").item() == pytest.approx(np.mean(differences), rel=1e-5)


def test_laplace_sums_the_channels():
    real, fake = random_images(0), random_images(1)

    def edges(image: np.ndarray) -> np.ndarray:
        return sum(filtered(channel, LAPLACE) / 3 for channel in image)

    differences = [
        np.abs(edges(ours) - edges(theirs))
        for ours, theirs in zip(real.double().numpy(), fake.double().numpy(), strict=True)
    ]
    pixels = real[:, 0].numel()  # all of them, as the public code's padded maps have
    assert edge_loss(real, fake, "laplace8").item() == pytest.approx(np.sum(differences) / pixels, rel=1e-5)


def test_laplace_has_the_scale_of_the_public_code():
    """Padded maps of all pixels, where the border of a filled image is the original's."""
    real = random_images(0)
    fake = real.clone()
    fake[..., 2:-2, 2:-2] = random_images(1)[..., 2:-2, 2:-2]
    kernel = torch.from_numpy(LAPLACE).float().expand(1, 3, 3, 3) / 3
    maps = [torch.nn.functional.conv2d(images, kernel, padding=1) for images in (real, fake)]
    expected = (maps[0] - maps[1]).abs().mean().item()
    assert edge_loss(real, fake, "laplace8").item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("operator", ["sobel", "laplace8"])
def test_a_brighter_image_has_the_same_edges(operator):
    real = random_images(0)
    assert edge_loss(real, real + 0.25, operator).item() == pytest.approx(0, abs=1e-6)


def test_total_variation_of_the_hole():
    images = random_images(2)
    holes = torch.zeros(2, 1, 6, 7)
    holes[0, :, 2:5, 1:4] = 1
    holes[1, :, :3, :3] = 1  # touches the corner: pixels without both neighbours do not count
    total = 0.0
    for pixels, hole in zip(images.double().numpy(), holes.numpy(), strict=True):
        for c, y, x in itertools.product(range(3), range(1, 6), range(1, 7)):
            if hole[0, y, x]:
                total += abs(pixels[c, y - 1, x] + pixels[c, y, x - 1] - 2 * pixels[c, y, x])
    assert total_variation(images, holes).item() == pytest.approx(total / images.numel(), rel=1e-5)
    assert total_variation(images, torch.zeros_like(holes)).item() == 0


def test_features_are_compared_layer_by_layer():
    real = [torch.zeros(2, 3, 4, 4), torch.ones(2, 5, 2, 2)]
    fake = [torch.full((2, 3, 4, 4), 0.5), torch.full((2, 5, 2, 2), -1.0)]
    assert feature_loss(real, fake).item() == pytest.approx(0.5 + 2.0)


def test_gram_matrices():
    features = random_images(3)
    expected = np.einsum("bchw,bdhw->bcd", *[features.double().numpy()] * 2) / (3 * 6 * 7)
    np.testing.assert_allclose(gram_matrix(features), expected, rtol=1e-5)
    mirrored = features.flip(-1)  # texture is the same wherever it lies
    assert style_loss([features], [mirrored]).item() == pytest.approx(0, abs=1e-7)
    assert style_loss([features], [2 * features]).item() == pytest.approx(
        3 * np.abs(expected).mean(), rel=1e-5
    )
