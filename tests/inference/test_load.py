"""Model folders: both models behind one interface, names as in the tables, and broken folders named."""

import dataclasses
import shutil

import pytest
import torch
import yaml

from gancli.encoders.sentence import load_sentence_encoder
from gancli.errors import DataError, UsageError
from gancli.inference.load import load_model
from gancli.sampling.noise import image_noise
from gancli.sampling.requests import Request
from tests.conftest import build_stackgan


def test_one_interface(any_model):
    model = load_model(any_model)
    assert model.folder == any_model
    assert len(model.hash) == 64
    assert model.settings["kind"] == model.name
    assert list(model.noise_dims)[:2] == ["noise", "condition_noise"]
    assert len(model.stage_names) == len(model.stages)
    captions = ["this is a small white bird", "a black bird"]
    assert model.check(captions) == []
    noises = image_noise([Request(caption) for caption in captions], model.noise_dims, 0)
    drawing = model.draw(captions, noises)
    assert [tuple(images.shape) for images in drawing.images] == [(2, 3, side, side) for side in model.stages]
    for images in drawing.images:
        assert images.abs().max() <= 1
        assert not images.requires_grad
    assert len(drawing.attention) == (2 if model.name == "ffgan" else 0)


def test_a_run_folder_stands_for_the_model_in_it(any_model, tmp_path):
    shutil.copytree(any_model, tmp_path / "run" / "model")
    assert load_model(tmp_path / "run").folder == tmp_path / "run" / "model"


def test_stackgan_comes_back_as_it_was_saved(tiny_stackgan, tiny_sentence_encoder):
    model = load_model(tiny_stackgan)
    encoder = load_sentence_encoder(tiny_sentence_encoder)
    assert model.noise_dims == {"noise": 6, "condition_noise": 5, "second_condition_noise": 4}
    assert model.stage_names == ("Stage-I", "Stage-II")
    assert model.settings["encoder_hash"] == encoder.hash == model.encoder.hash
    captions = ["a white bird", "the bird is blue and has a long bill"]
    vectors = encoder.encode(captions)
    assert torch.equal(model.encode(captions), vectors)
    noises = image_noise([Request(caption) for caption in captions], model.noise_dims, 0)
    by_caption, by_vector = model.draw(captions, noises), model.draw_sentences(vectors, noises)
    for one, other in zip(by_caption.images, by_vector.images, strict=True):
        assert torch.equal(one, other)
    small = model.stage1(vectors, noises["noise"], noises["condition_noise"]).images
    assert torch.equal(by_caption.images[0], small)
    large = model.stage2(small, vectors, noises["second_condition_noise"]).images
    assert torch.equal(by_caption.images[1], large)
    for network in (model.stage1, model.stage2, model.encoder.network):
        assert not network.training
        assert not any(parameter.requires_grad for parameter in network.parameters())


def test_only_an_encoder_of_words_brings_a_vocabulary(tiny_stackgan, tiny_encoder, tmp_path):
    assert not (tiny_stackgan / "vocabulary.json").exists()
    folder = build_stackgan(load_sentence_encoder(tiny_encoder), tmp_path / "model")
    model = load_model(folder)
    assert model.words == 18
    assert model.encoder.vocabulary == load_sentence_encoder(tiny_encoder).vocabulary
    (folder / "vocabulary.json").unlink()
    with pytest.raises(DataError, match="vocabulary"):
        load_model(folder)


def test_names_of_the_stages(tiny_stackgan):
    model = load_model(tiny_stackgan)
    first = dataclasses.replace(model, stage2=None)
    assert (model.method, first.method) == ("StackGAN", "StackGAN Stage-I")
    assert (first.stages, first.stage_names) == ((16,), ("Stage-I",))
    assert list(first.noise_dims) == ["noise", "condition_noise"]
    settings = {**model.settings, "step": 0}
    assert dataclasses.replace(model, settings=settings).method == "StackGAN, untrained"
    assert dataclasses.replace(first, settings=settings).method == "StackGAN Stage-I, untrained"


def edit(folder, change):
    settings = yaml.safe_load((folder / "config.yaml").read_text())
    change(settings)
    (folder / "config.yaml").write_text(yaml.safe_dump(settings))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.pop("stage"), "'stage' is missing"),
        (lambda s: s.pop("stage2"), "'stage2' is missing"),
        (lambda s: s.pop("text"), "'text' is missing"),
        (lambda s: s["text"].update(kind="bert"), "text.kind is 'bert'"),
        (lambda s: s["stage1"].update(depth=3), "depth"),
        (lambda s: s["stage1"].update(generator_width=12), "does not fit"),
        (lambda s: s["text"]["arguments"].update(dim=24), "does not fit"),
        (lambda s: s.update(kind="damsm"), "draws no images"),
    ],
)
def test_settings_that_do_not_fit(tiny_stackgan, tmp_path, change, message):
    folder = tmp_path / "model"
    shutil.copytree(tiny_stackgan, folder)
    edit(folder, change)
    with pytest.raises(DataError, match=message) as caught:
        load_model(folder)
    assert str(folder) in str(caught.value)


def test_an_encoder_draws_no_images(tiny_encoder, tiny_sentence_encoder, tmp_path):
    for folder in (tiny_encoder, tiny_sentence_encoder):
        with pytest.raises(DataError, match="draws no images"):
            load_model(folder)
    with pytest.raises(DataError, match="no such file"):
        load_model(tmp_path / "absent")


def test_a_model_without_text_encoder(tiny_stackgan):
    blind = dataclasses.replace(load_model(tiny_stackgan), encoder=None)
    assert blind.words is None
    noises = image_noise([Request("a bird")], blind.noise_dims, 0)
    for ask in (blind.check, blind.encode, lambda captions: blind.draw(captions, noises)):
        with pytest.raises(UsageError, match="cannot read sentences"):
            ask(["a bird"])
    assert blind.draw_sentences(torch.zeros(1, 12), noises).images[-1].shape == (1, 3, 32, 32)
