"""Training Fusion-S2iGan as a notebook calls it: speech and sentences, ablations, exact resume, what is refused."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from gancli.config import load_recipe
from gancli.config.fusion_s2igan import FusionS2iGanRecipe
from gancli.data.shards import Dataset
from gancli.encoders.speech import ImageBranch, SpeechEncoder, load_speech, save_speech
from gancli.errors import ConfigError, DataError
from gancli.inference.fusion_s2igan import LoadedFusionS2iGan
from gancli.inference.load import load_model
from gancli.training import train

SMALL = (
    "model.size=16",
    "model.generator_width=2",
    "model.discriminator_width=2",
    "model.noise_dim=6",
    "model.modulation_hidden=4",
    "loader.batch=4",
    "loader.workers=0",
    "train.minutes=null",
    "train.log_every=1",
    "train.sample_every=1",
)


def kept_apart(dataset: Path, folder: Path) -> Path:
    """A copy: vectors are kept in the dataset folder."""
    return Path(shutil.copytree(dataset, folder, ignore=shutil.ignore_patterns("embeddings")))


@pytest.fixture
def data(tiny_dataset: Path, tmp_path: Path) -> Path:
    return kept_apart(tiny_dataset, tmp_path / "data")


@pytest.fixture
def spoken(tiny_spoken: Path, tmp_path: Path) -> Path:
    return kept_apart(tiny_spoken, tmp_path / "spoken")


@pytest.fixture
def speech_encoder(tiny_spoken: Path, tmp_path: Path) -> Path:
    """An untrained speech encoder folder for the tiny spoken dataset."""
    speech = {"bands": 8, "channels": [4, 4], "hidden": 5, "attention_dim": 3}
    image = {"backbone": "small", "dim": 10, "size": 16, "width": 4}
    torch.manual_seed(4)
    mel = Dataset.open(tiny_spoken).split("train").need_speech()
    networks = SpeechEncoder(**speech), ImageBranch(**image)
    save_speech(tmp_path / "speech", *networks, mel, {"speech": speech, "image": image})
    return tmp_path / "speech"


def recipe(data: Path, encoder: Path, *changes: str, name: str = "fusion-s2igan/demo") -> FusionS2iGanRecipe:
    found = load_recipe(name, [f"data={data}", f"encoder={encoder}", *SMALL, "train.steps=2", *changes])
    assert isinstance(found, FusionS2iGanRecipe)
    return found


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "weights.safetensors")


def test_from_speech(spoken: Path, speech_encoder: Path, tmp_path: Path) -> None:
    result = train(recipe(spoken, speech_encoder), runs=tmp_path / "runs")
    assert result.run.name == "0001-fusion-s2igan-cub"
    assert (result.run / "samples" / "step-0000002.png").is_file()
    encoder = load_speech(speech_encoder)
    model = load_model(result.run)
    assert isinstance(model, LoadedFusionS2iGan)
    assert model.paper_name == "Fusion-S2iGan"
    assert model.stages == (16,)
    assert model.mel == encoder.mel
    assert model.settings["encoder_hash"] == encoder.hash
    assert model.settings["step"] == 2
    model.check_speech(Dataset.open(spoken).split("test"))
    assert not any(name.startswith("image.") for name in weights(result.output))
    images = model.draw_sentences(torch.randn(3, encoder.dim), {"noise": torch.randn(3, 6)}).images
    assert [image.shape for image in images] == [(3, 3, 16, 16)]
    before, after = weights(result.run / "initial"), weights(result.output)
    assert any(not torch.equal(before[name], after[name]) for name in before if name.startswith("generator."))
    assert all(torch.equal(before[name], after[name]) for name in before if name.startswith("speech."))
    with (result.run / "log.csv").open() as file:
        row = list(csv.DictReader(file))[-1]
    terms = ("real", "mismatched", "generated", "penalty", "image_gradient", "condition_gradient")
    assert {f"discriminator.{term}" for term in terms} < set(row)
    assert {"generator.adversarial", "generator.matching"} < set(row)


def test_from_sentences(data: Path, tiny_encoder: Path, tmp_path: Path) -> None:
    result = train(recipe(data, tiny_encoder, "condition=sentence"), runs=tmp_path / "runs")
    model = load_model(result.run)
    assert isinstance(model, LoadedFusionS2iGan)
    assert model.paper_name == "Fusion-S2iGan, text"
    captions = ["a black bird", "a small white bird"]
    noise = torch.randn(2, 6)
    together = model.draw(captions, {"noise": noise}).images[0]
    alone = model.draw(captions[:1], {"noise": noise[:1]}).images[0]
    torch.testing.assert_close(together[:1], alone, rtol=1e-3, atol=1e-4)
    assert model.check(["a purple bird"])


def test_df_gan_is_a_recipe(data: Path, tiny_encoder: Path, tmp_path: Path) -> None:
    result = train(recipe(data, tiny_encoder, name="dfgan/cub"), runs=tmp_path / "runs")
    model = load_model(result.run)
    assert model.paper_name == "DF-GAN"
    with (result.run / "log.csv").open() as file:
        assert "generator.matching" not in next(csv.reader(file))


def test_a_character_encoder_has_no_image_half(
    data: Path, tiny_sentence_encoder: Path, tmp_path: Path
) -> None:
    options = ("condition=sentence",)
    with pytest.raises(ConfigError, match=r"loss\.damsm: .* char-cnn-rnn"):
        train(recipe(data, tiny_sentence_encoder, *options), runs=tmp_path / "runs")
    result = train(recipe(data, tiny_sentence_encoder, *options, "loss.damsm=0"), runs=tmp_path / "runs")
    assert load_model(result.run).words is None


@pytest.mark.parametrize(
    "change",
    [
        "model.attention=bam",
        "model.attention=polarized",
        "model.fusion=add",
        "model.fusion=mul",
        "model.block=dfgan",
        "model.block=dtgan-approx",
        "model.modules=1",
    ],
)
def test_every_substitute_trains_and_is_told_apart(
    spoken: Path, speech_encoder: Path, tmp_path: Path, change: str
) -> None:
    result = train(recipe(spoken, speech_encoder, change, "train.steps=1"), runs=tmp_path / "runs")
    method = "Fusion-S2iGan, " + change.removeprefix("model.").replace("=", " ")
    assert load_model(result.run).paper_name == method
    assert load_model(result.run / "initial").method.endswith(", untrained")


@pytest.mark.parametrize("mismatch", ["class-aware", "roll"])
def test_a_resumed_run_ends_with_the_same_weights(
    spoken: Path, speech_encoder: Path, tmp_path: Path, mismatch: str
) -> None:
    options = (
        f"loader.mismatch={mismatch}",
        "model.block=dtgan-approx" if mismatch == "roll" else "model.modules=2",
    )
    straight = train(recipe(spoken, speech_encoder, *options, "train.steps=4"), runs=tmp_path / "a")
    half = train(recipe(spoken, speech_encoder, *options, "train.steps=2"), runs=tmp_path / "b")
    whole = train(recipe(spoken, speech_encoder, *options, "train.steps=4"), resume=half.run)
    resumed = weights(whole.output)
    assert all(torch.equal(tensor, resumed[name]) for name, tensor in weights(straight.output).items())


def test_init_from_takes_the_generator(spoken: Path, speech_encoder: Path, tmp_path: Path) -> None:
    first = train(recipe(spoken, speech_encoder), runs=tmp_path / "runs")
    second = train(
        recipe(spoken, speech_encoder, "train.seed=5"), runs=tmp_path / "runs", init_from=first.output
    )
    initial = weights(second.run / "initial")
    assert all(torch.equal(initial[name], tensor) for name, tensor in weights(first.output).items())
    with pytest.raises(DataError, match="generator is not the recipe's"):
        train(
            recipe(spoken, speech_encoder, "model.modules=1"), runs=tmp_path / "runs", init_from=first.output
        )


def test_the_condition_has_to_be_the_encoders(
    data: Path, tiny_encoder: Path, spoken: Path, speech_encoder: Path, tiny_model: Path, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match="kind 'damsm'") as caught:
        train(recipe(data, tiny_encoder), runs=tmp_path / "runs")
    assert "condition=sentence" in str(caught.value.hint)
    with pytest.raises(ConfigError, match="kind 'speech'"):
        train(recipe(spoken, speech_encoder, "condition=sentence"), runs=tmp_path / "runs")
    with pytest.raises(ConfigError, match="kind 'ffgan'") as caught:
        train(recipe(spoken, tiny_model), runs=tmp_path / "runs")
    assert caught.value.hint == "Name one of gancli pretrain-encoder speech."
    with pytest.raises(DataError, match="not spoken"):
        train(recipe(data, speech_encoder), runs=tmp_path / "runs")


def test_another_encoder_cannot_continue_a_run(spoken: Path, speech_encoder: Path, tmp_path: Path) -> None:
    first = train(recipe(spoken, speech_encoder), runs=tmp_path / "runs")
    encoder = load_speech(speech_encoder)
    with torch.no_grad():
        encoder.network.norm1.bias.add_(1)
    save_speech(speech_encoder, encoder.network, encoder.image, encoder.mel, dict(encoder.settings))
    with pytest.raises(ConfigError, match="another encoder"):
        train(recipe(spoken, speech_encoder, "train.steps=3"), resume=first.run)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (("model.size=24",), "power of two"),
        (("model.attention=nam",), "'pam', 'bam'"),
        (("model.modules=3",), "allowed: 1, 2"),
        (("loader.batch=1",), ">= 2"),
        (("loss.magp_form=product",), "'concat', 'sum'"),
    ],
)
def test_recipes_that_cannot_be_trained_say_so(changes: tuple[str, ...], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_recipe("fusion-s2igan/demo", list(changes))


def test_a_width_that_the_attention_cannot_take_is_named(
    spoken: Path, speech_encoder: Path, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=r"model\.generator_width: received 2: attention cot"):
        train(recipe(spoken, speech_encoder, "model.attention=cot"), runs=tmp_path / "runs")
