"""Text and image encoders: shapes, padding, freezing and encoder folder."""

from __future__ import annotations

import pytest
import torch

from gancli.data.loader import Batch
from gancli.data.text import Vocabulary
from gancli.encoders.backbones import build_backbone, fold_batch_norms
from gancli.encoders.damsm import (
    DamsmPretraining,
    ImageEncoder,
    TextEncoder,
    load_damsm,
    save_damsm,
)
from gancli.errors import DataError
from tests.defaults import make_model

TEXT = {"dim": 8, "embedding_dim": 6, "dropout": 0.0, "rnn": "lstm"}
IMAGE = {
    "backbone": "small",
    "dim": 8,
    "size": 16,
    "width": 4,
    "frozen_backbone": False,
    "adapt_batch_norm": True,
}


def parameters(network):
    return sum(p.numel() for p in network.parameters())


def test_published_sizes():
    """Text encoders for CUB and COCO and the projections of the image encoder have AttnGAN's sizes."""
    with torch.device("meta"):
        assert parameters(TextEncoder(5450)) == 2_075_320
        assert parameters(TextEncoder(27297)) == 8_629_420
        image = ImageEncoder("inception_v3", frozen_backbone=True)
    assert parameters(image.local) == 196_608
    assert parameters(image.code) == 524_544


@pytest.mark.parametrize("rnn", ["lstm", "gru"])
def test_text_encoder_ignores_padding_and_order_of_the_batch(rnn):
    encoder = TextEncoder(20, **(TEXT | {"rnn": rnn})).eval()
    tokens = torch.tensor([[1, 2, 3], [4, 0, 0], [5, 6, 0]])
    lengths = torch.tensor([3, 1, 2])
    words, sentence = encoder(tokens, lengths)
    assert words.shape == (3, 8, 3)
    assert sentence.shape == (3, 8)
    assert (words[1, :, 1:] == 0).all()
    alone = encoder(tokens[1:2, :1], lengths[1:2])
    torch.testing.assert_close(words[1, :, :1], alone[0][0])
    torch.testing.assert_close(sentence[1], alone[1][0])
    order = torch.tensor([2, 0, 1])
    torch.testing.assert_close(encoder(tokens[order], lengths[order])[1], sentence[order])


@pytest.mark.parametrize(
    ("name", "size", "side", "channels"), [("small", 64, 8, 8), ("small", 16, 8, 4), ("resnet18", 64, 4, 256)]
)
def test_backbones_follow_the_input_side(name, size, side, channels):
    backbone = build_backbone(name, size=size, width=4).eval()
    local, whole = backbone(torch.rand(2, 3, size, size))
    assert local.shape[2:] == (side, side)
    assert local.shape[1] == backbone.local_channels
    assert whole.shape == (2, backbone.global_channels)
    assert backbone(torch.rand(2, 3, 48, 48))[0].shape == local.shape, "other sides are resized"
    if name == "small":
        assert channels <= local.shape[1] <= 8 * 4


def test_inception_gives_289_regions():
    with torch.device("meta"):
        regions, code = ImageEncoder("inception_v3").eval()(torch.empty(2, 3, 64, 64))
    assert regions.shape == (2, 256, 17, 17)
    assert code.shape == (2, 256)


def batch_of(size: int) -> Batch:
    tokens = torch.tensor([[1, 2, 3], [4, 5, 0], [6, 0, 0], [7, 8, 9]])
    return Batch(
        images=(torch.rand(4, 3, size, size) * 2 - 1,),
        tokens=tokens,
        lengths=(tokens > 0).sum(1),
        class_ids=torch.arange(4),
        indices=torch.arange(4),
    )


def test_every_parameter_learns():
    model = make_model(DamsmPretraining, TextEncoder(20, **TEXT), ImageEncoder(**IMAGE))
    sum(model.terms(batch_of(16)).values()).backward()
    for network in model.networks.values():
        for name, parameter in network.named_parameters():
            assert parameter.grad is not None, name
            assert parameter.grad.abs().sum() > 0, name


def test_a_frozen_backbone_gets_no_gradient_but_adapts_its_statistics():
    image = ImageEncoder(**(IMAGE | {"frozen_backbone": True}))
    model = make_model(DamsmPretraining, TextEncoder(20, **TEXT), image)
    before = image.backbone.lower[0][1].running_mean.clone()
    sum(model.terms(batch_of(16)).values()).backward()
    assert all(p.grad is None for p in image.backbone.parameters())
    assert image.local.weight.grad is not None
    assert not torch.equal(before, image.backbone.lower[0][1].running_mean)
    still = ImageEncoder(**(IMAGE | {"frozen_backbone": True, "adapt_batch_norm": False})).train()
    assert not still.backbone.training


def test_gradients_pass_a_frozen_encoder_to_the_images():
    image = ImageEncoder(**(IMAGE | {"frozen_backbone": True})).eval().requires_grad_(False)
    images = torch.rand(2, 3, 32, 32, requires_grad=True)
    regions, code = image(images)
    (regions.sum() + code.sum()).backward()
    assert images.grad.abs().sum() > 0


@pytest.fixture
def folder(tmp_path):
    vocabulary = Vocabulary.build(["a red bird", "a blue bird"])
    torch.manual_seed(0)
    text, image = TextEncoder(len(vocabulary), **TEXT), ImageEncoder(**IMAGE)
    save_damsm(tmp_path / "encoder", text, image, vocabulary, {"text": TEXT, "image": IMAGE})
    return tmp_path / "encoder"


def test_round_trip(folder):
    encoder = load_damsm(folder)
    again = load_damsm(folder)
    assert encoder.hash == again.hash
    assert len(encoder.hash) == 64
    assert not encoder.text.training
    assert not encoder.image.training
    assert not any(p.requires_grad for p in [*encoder.text.parameters(), *encoder.image.parameters()])
    images = torch.rand(2, 3, 16, 16)
    torch.testing.assert_close(encoder.image(images), again.image(images))


@pytest.mark.parametrize("backbone", ["small", "resnet18", "inception_v3", "googlenet"])
def test_folded_batch_norms_change_features_by_rounding_only(backbone):
    torch.manual_seed(0)
    network = build_backbone(backbone, size=32).eval().requires_grad_(False)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(std=0.1)
            module.running_var.uniform_(0.5, 2)
            module.weight.uniform_(0.5, 2)
            module.bias.normal_()
    images = torch.rand(2, 3, 32, 32)
    before = network(images)
    fold_batch_norms(network)
    assert not any(isinstance(module, torch.nn.BatchNorm2d) for module in network.modules())
    for folded, plain in zip(network(images), before, strict=True):
        torch.testing.assert_close(folded, plain, rtol=1e-3, atol=1e-3 * plain.abs().max().item())


def test_folders_that_cannot_be_used_say_why(folder):
    weights = folder / "weights.safetensors"
    content = weights.read_bytes()
    weights.write_bytes(content[:-1])
    with pytest.raises(DataError, match=r"weights\.safetensors: broken or cut short"):
        load_damsm(folder)
    weights.write_bytes(content)
    config = folder / "config.yaml"
    config.write_text(config.read_text().replace("width: 4", "width: 8"))
    with pytest.raises(DataError, match="does not fit"):
        load_damsm(folder)
    config.write_text(config.read_text().replace("kind: damsm", "kind: ffgan"))
    with pytest.raises(DataError, match="kind 'ffgan'"):
        load_damsm(folder)
    config.write_text("kind: damsm\ntext: {}\n")
    with pytest.raises(DataError, match="the key 'image' is missing"):
        load_damsm(folder)
    config.write_text("kind: damsm\ntext: {colour: red}\n")
    with pytest.raises(DataError, match="colour"):
        load_damsm(folder)
    config.write_text("- a list")
    with pytest.raises(DataError, match=r"config\.yaml"):
        load_damsm(folder)


@pytest.mark.parametrize("name", ["config.yaml", "weights.safetensors", "vocabulary.json"])
def test_a_folder_without_one_of_its_files_names_it(folder, name):
    (folder / name).unlink()
    with pytest.raises(DataError, match=name):
        load_damsm(folder)


def test_another_vocabulary_is_refused(folder, tmp_path):
    encoder = load_damsm(folder)
    encoder.check_vocabulary(Vocabulary.build(["a red bird", "a blue bird"]), tmp_path)
    with pytest.raises(DataError, match="vocabulary"):
        encoder.check_vocabulary(Vocabulary.build(["a blue bird", "a red bird"]), tmp_path)
