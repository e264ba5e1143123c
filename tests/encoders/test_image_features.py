"""Frozen image features: views, kept files, renewed computation and refusals."""

from __future__ import annotations

import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from gancli.data.shards import Dataset
from gancli.encoders.classifier import Classifier, save_classifier
from gancli.encoders.damsm import load_damsm
from gancli.encoders.image_features import FrozenNetwork, extract_features, frozen_encoder
from gancli.errors import DataError

CPU = torch.device("cpu")


@pytest.fixture
def dataset(tiny_dataset: Path, tmp_path: Path) -> Dataset:
    """Copy of the tiny dataset to write into."""
    return Dataset.open(shutil.copytree(tiny_dataset, tmp_path / "cub"))


class Pixels:
    """Network whose features are the levels of the corner pixels, and which counts its images."""

    def __init__(self):
        self.seen = 0

    def __call__(self, images):
        self.seen += len(images)
        return torch.cat([images[:, 0, :1, 0], images[:, 1, -1:, -1]], dim=1)

    def frozen(self, digest="0" * 64):
        return FrozenNetwork("pixels", digest, 2, self, CPU)


def test_ten_views_are_corners_and_centre_and_their_mirror_images(dataset):
    split = dataset.split("train")
    features = extract_features(split, Pixels().frozen(), "ten")
    assert features.vectors.shape == (12, 10, 2)
    assert features.vectors.dtype == np.float16
    size = split.image_size
    for index in range(len(split)):
        image = split.image(index) / 127.5 - 1
        down, right = image.shape[0] - size, image.shape[1] - size
        tops = [(0, 0), (0, right), (down, 0), (down, right), (down // 2, right // 2)]
        for view, (top, left) in enumerate(tops):
            window = image[top : top + size, left : left + size]
            assert window.shape == (size, size, 3)
            for offset, seen in ((0, window), (5, window[:, ::-1])):
                expected = [seen[0, 0, 0], seen[-1, -1, 1]]
                np.testing.assert_allclose(features.vectors[index, view + offset], expected, atol=1e-3)
    centre = extract_features(split, Pixels().frozen(), "centre")
    np.testing.assert_array_equal(centre.vectors[:, 0], features.vectors[:, 4])


def test_features_are_computed_once_for_a_network_and_a_dataset(dataset):
    network, split = Pixels(), dataset.split("train")
    done = []
    first = extract_features(split, network.frozen(), "ten", progress=lambda *counts: done.append(counts))
    assert network.seen == 120
    assert done[-1] == (12, 12)
    again = extract_features(split, network.frozen(), "ten")
    assert network.seen == 120
    assert again.path == first.path
    assert first.path.parent == dataset.path / "features"
    others = {
        extract_features(split, network.frozen("1" * 64), "ten").path,
        extract_features(split, network.frozen(), "centre").path,
        extract_features(dataset.split("test"), network.frozen(), "ten").path,
    }
    assert len(others | {first.path}) == 4
    manifest = dataset.path / "dataset.json"
    manifest.write_text(manifest.read_text().replace('"name": "cub"', '"name": "cub2"'))
    assert extract_features(split, network.frozen(), "ten").path != first.path
    assert not [path for path in first.path.parent.iterdir() if path.suffix != ".npy"]


def test_what_is_pickled_is_the_path(dataset):
    features = extract_features(dataset.split("train"), Pixels().frozen(), "ten")
    assert features.vectors.shape[0] == 12  # mapped before it is pickled
    content = pickle.dumps(features)
    assert len(content) < 1000
    np.testing.assert_array_equal(pickle.loads(content).vectors, features.vectors)  # noqa: S301 - our own


def test_a_damaged_file_is_named(dataset):
    split = dataset.split("train")
    path = extract_features(split, Pixels().frozen(), "ten").path
    content = path.read_bytes()
    path.write_bytes(content[:-1])
    with pytest.raises(DataError, match=path.name) as caught:
        extract_features(split, Pixels().frozen(), "ten")
    assert "Delete it" in str(caught.value.hint)
    np.save(path, np.zeros((12, 10, 3), np.float16))
    with pytest.raises(DataError, match=r"shape \(12, 10, 3\) instead of \(12, 10, 2\)"):
        extract_features(split, Pixels().frozen(), "ten")


def test_nothing_is_kept_of_a_network_that_fails(dataset):
    network = FrozenNetwork("loud", "0" * 64, 1, lambda images: 1e6 + images[:, 0, 0, :1], CPU)
    with pytest.raises(DataError, match="loud"):
        extract_features(dataset.split("train"), network, "ten")
    assert list((dataset.path / "features").iterdir()) == []


def test_features_of_encoder_folders(dataset, tiny_encoder, tmp_path):
    split = dataset.split("test")
    damsm = load_damsm(tiny_encoder)
    source = frozen_encoder(tiny_encoder, CPU)
    assert source.hash == damsm.hash
    assert source.name == "small (damsm)"
    vectors = extract_features(split, source, "centre").vectors
    assert vectors.shape == (12, 1, damsm.image.backbone.global_channels)
    margins = [((height - 32) // 2, (width - 32) // 2) for height, width in map(split.shape, range(12))]
    crops = np.stack([split.crop(index, *margin, 32) for index, margin in enumerate(margins)])
    images = torch.from_numpy(crops).permute(0, 3, 1, 2).float() / 127.5 - 1
    expected = damsm.image.features(images).numpy()
    np.testing.assert_allclose(vectors[:, 0], expected, rtol=2e-3, atol=1e-3)

    arguments = {"backbone": "small", "size": 16, "width": 4}
    save_classifier(
        tmp_path / "judge", Classifier(**arguments, classes=2), ["a", "b"], {"classifier": arguments}
    )
    source = frozen_encoder(tmp_path / "judge", CPU)
    assert source.name == "small (classifier)"
    assert extract_features(split, source, "centre").vectors.shape == (12, 1, source.dim)


def test_other_folders_have_no_image_features(tiny_model, tmp_path):
    with pytest.raises(DataError, match="kind 'ffgan'"):
        frozen_encoder(tiny_model, CPU)
    with pytest.raises(DataError, match=r"config\.yaml: no such file"):
        frozen_encoder(tmp_path, CPU)
