"""Training StackGAN as a notebook calls it: both stages, every source of text, exact resume, what is refused."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from gancli.config import load_recipe
from gancli.config.stackgan import StackGANRecipe
from gancli.data.shards import Dataset
from gancli.encoders.damsm import load_damsm
from gancli.engine.events import Events
from gancli.errors import ConfigError, DataError
from gancli.inference.load import load_model
from gancli.training import train

SMALL = (
    "model.generator_width=4",
    "model.discriminator_width=4",
    "model.condition_dim=5",
    "model.noise_dim=6",
    "loader.batch=4",
    "train.minutes=null",
    "train.log_every=1",
    "train.sample_every=1",
)


@pytest.fixture
def data(tiny_dataset: Path, tmp_path: Path) -> Path:
    """A copy: embeddings are kept in the dataset folder."""
    return Path(shutil.copytree(tiny_dataset, tmp_path / "data"))


def recipe(stage: int, data: Path, *changes: str) -> StackGANRecipe:
    size = {1: "model.size=16", 2: "model.size=32"}[stage]
    found = load_recipe(
        f"stackgan/demo-stage{stage}", [f"data={data}", "text=damsm", size, *SMALL, "train.steps=2", *changes]
    )
    assert isinstance(found, StackGANRecipe)
    return found


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "weights.safetensors")


def test_stage_two_stands_on_stage_one(data: Path, tiny_encoder: Path, tmp_path: Path) -> None:
    encoder = f"encoder={tiny_encoder}"
    first = train(recipe(1, data, encoder), runs=tmp_path / "runs")
    assert first.run.name == "0001-stackgan-cub-stage1"
    second = train(recipe(2, data, encoder, f"init.stage1={first.run}"), runs=tmp_path / "runs")
    small, large = load_model(first.run), load_model(second.run)
    assert (small.stages, large.stages) == ((16,), (16, 32))
    assert large.settings["step"] == 2
    assert large.settings["encoder_hash"] == load_damsm(tiny_encoder).hash
    one, both = weights(first.output), weights(second.output)
    assert all(torch.equal(both[name], tensor) for name, tensor in one.items() if name.startswith("stage1."))
    assert (second.run / "samples" / "step-0000002.png").is_file()
    before, after = weights(second.run / "initial"), both
    assert any(not torch.equal(before[name], after[name]) for name in before if name.startswith("stage2."))


@pytest.mark.parametrize("wrong", ["image", "text"])
def test_a_resumed_run_ends_with_the_same_weights(
    data: Path, tiny_encoder: Path, tmp_path: Path, wrong: str
) -> None:
    options = (f"encoder={tiny_encoder}", f"loader.wrong_pair={wrong}", "optim.lr_decay_epochs=1")
    straight = train(recipe(1, data, *options, "train.steps=4"), runs=tmp_path / "a")
    half = train(recipe(1, data, *options, "train.steps=2"), runs=tmp_path / "b")
    whole = train(recipe(1, data, *options, "train.steps=4"), resume=half.run)
    resumed = weights(whole.output)
    assert all(torch.equal(tensor, resumed[name]) for name, tensor in weights(straight.output).items())


def test_a_resumed_stage_two_keeps_the_stage_one_it_began_with(
    data: Path, tiny_encoder: Path, tmp_path: Path
) -> None:
    encoder = f"encoder={tiny_encoder}"
    first = train(recipe(1, data, encoder), runs=tmp_path / "runs")
    options = (encoder, f"init.stage1={first.run}")
    straight = train(recipe(2, data, *options, "train.steps=4"), runs=tmp_path / "a")
    half = train(recipe(2, data, *options), runs=tmp_path / "b")
    train(recipe(1, data, encoder, "train.steps=4"), resume=first.run)  # another Stage I now
    whole = train(recipe(2, data, *options, "train.steps=4"), resume=half.run)
    resumed = weights(whole.output)
    assert all(torch.equal(tensor, resumed[name]) for name, tensor in weights(straight.output).items())
    shutil.rmtree(first.run)
    train(recipe(2, data, *options, "train.steps=5"), resume=half.run)


def retrain(encoder: Path) -> None:
    """Other weights in the same folder."""
    weights = load_file(encoder / "weights.safetensors")
    weights["text.embedding.weight"] += 1
    save_file(weights, encoder / "weights.safetensors")


def test_a_run_is_not_resumed_with_another_encoder(data: Path, tiny_encoder: Path, tmp_path: Path) -> None:
    encoder = shutil.copytree(tiny_encoder, tmp_path / "encoder")
    run = train(recipe(1, data, f"encoder={encoder}"), runs=tmp_path / "runs").run
    retrain(encoder)
    with pytest.raises(ConfigError, match="another encoder"):
        train(recipe(1, data, f"encoder={encoder}", "train.steps=4"), resume=run)


def test_vectors_that_are_computed_first_are_reported(data: Path, tiny_encoder: Path, tmp_path: Path) -> None:
    seen: list[str] = []
    own = recipe(1, data, f"encoder={tiny_encoder}")
    train(own, runs=tmp_path / "runs", events=Events(lambda event: seen.append(event.text)))
    assert "sentence vectors: 36 of 36 captions" in seen


def test_the_rates_halve_after_the_epochs_of_the_recipe(
    data: Path, tiny_encoder: Path, tmp_path: Path
) -> None:
    from gancli.training.stackgan import StepDecay, build_stackgan, generator_arguments

    own = recipe(1, data, f"encoder={tiny_encoder}", "optim.lr_decay_epochs=50", "optim.generator_lr=8e-4")
    model = build_stackgan(own, generator_arguments(own, 16, 0), None, torch.device("cpu"))
    schedule = StepDecay(model.phases, own.optim.lr_decay, own.optim.lr_decay_epochs)
    rates = {}
    for epoch in (0, 49, 50, 99, 100, 599):
        schedule(epoch)
        rates[epoch] = [phase.optimizer.param_groups[0]["lr"] for phase in model.phases]
    assert rates[0] == rates[49] == [own.optim.discriminator_lr, 8e-4]
    assert rates[50] == rates[99] == [own.optim.discriminator_lr / 2, 4e-4]
    assert rates[100][1] == 2e-4
    assert rates[599][1] == pytest.approx(8e-4 / 2**11)


def test_init_from_takes_the_weights_of_the_same_stage(
    data: Path, tiny_encoder: Path, tmp_path: Path
) -> None:
    encoder = f"encoder={tiny_encoder}"
    first = train(recipe(1, data, encoder), runs=tmp_path / "runs")
    second = train(
        recipe(1, data, encoder, "train.seed=5"), runs=tmp_path / "runs", init_from=first.run / "model"
    )
    initial = weights(second.run / "initial")
    assert all(torch.equal(initial[name], tensor) for name, tensor in weights(first.output).items())
    with pytest.raises(DataError, match="generator is not the recipe's"):
        train(recipe(1, data, encoder, "model.size=32"), runs=tmp_path / "runs", init_from=first.output)


def write_embeddings(data: Path, path: Path, width: int) -> Path:
    dataset = Dataset.open(data)
    splits = [dataset.split(name) for name in dataset.split_names]
    keys = [key for split in splits for key in split.keys]
    vectors = np.random.default_rng(0).standard_normal((len(keys), 3, width)).astype(np.float32)
    np.savez(path, keys=np.array(keys), embeddings=vectors)
    return path


def test_precomputed_embeddings_of_any_width(data: Path, tmp_path: Path) -> None:
    file = write_embeddings(data, tmp_path / "own.npz", 11)
    options = ("text=precomputed", "encoder=null", f"embeddings={file}")
    first = train(recipe(1, data, *options), runs=tmp_path / "runs")
    second = train(recipe(2, data, *options, f"init.stage1={first.run}"), runs=tmp_path / "runs")
    assert not any(name.startswith("text_encoder.") for name in weights(second.output))
    other = write_embeddings(data, tmp_path / "other.npz", 12)
    with pytest.raises(ConfigError, match="another encoder"):
        train(
            recipe(2, data, *options[:2], f"embeddings={other}", f"init.stage1={first.run}"),
            runs=tmp_path / "runs",
        )


def test_embeddings_of_another_dataset_are_refused(data: Path, tmp_path: Path) -> None:
    np.savez(tmp_path / "own.npz", keys=np.array(["a"]), embeddings=np.zeros((1, 3, 4), np.float32))
    with pytest.raises(DataError, match="no embedding of 12 of the 12 images"):
        train(
            recipe(1, data, "text=precomputed", f"embeddings={tmp_path / 'own.npz'}"), runs=tmp_path / "runs"
        )


def test_a_stage_one_that_is_none_is_refused(
    data: Path, tiny_encoder: Path, tiny_model: Path, tmp_path: Path
) -> None:
    encoder = f"encoder={tiny_encoder}"
    with pytest.raises(DataError, match=r"init\.stage1: .*nowhere: no such run") as caught:
        train(recipe(2, data, encoder, f"init.stage1={tmp_path / 'nowhere'}"), runs=tmp_path / "runs")
    assert "stage=1" in str(caught.value.hint)
    with pytest.raises(DataError, match="kind 'ffgan'"):
        train(recipe(2, data, encoder, f"init.stage1={tiny_model}"), runs=tmp_path / "runs")
    first = train(recipe(1, data, encoder), runs=tmp_path / "runs")
    second = train(recipe(2, data, encoder, f"init.stage1={first.run}"), runs=tmp_path / "runs")
    with pytest.raises(ConfigError, match="stage 2, not of stage 1"):
        train(recipe(2, data, encoder, f"init.stage1={second.run}"), runs=tmp_path / "runs")


def test_stages_of_different_encoders_do_not_mix(data: Path, tiny_encoder: Path, tmp_path: Path) -> None:
    first = train(recipe(1, data, f"encoder={tiny_encoder}"), runs=tmp_path / "runs")
    retrain(shutil.copytree(tiny_encoder, tmp_path / "other"))
    with pytest.raises(ConfigError, match="another encoder"):
        train(
            recipe(2, data, f"encoder={tmp_path / 'other'}", f"init.stage1={first.run}"),
            runs=tmp_path / "runs",
        )


def test_an_encoder_of_another_kind_is_refused(data: Path, tiny_encoder: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="kind 'damsm'"):
        train(recipe(1, data, f"encoder={tiny_encoder}", "text=char-cnn-rnn"), runs=tmp_path / "runs")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (("stage=2", "init.stage1=null"), "stage 2 needs init.stage1=RUN"),
        (("init.stage1=runs/0001",), "leave init.stage1 out"),
        (("text=precomputed",), "needs embeddings=FILE.npz"),
        (("embeddings=own.npz",), "only text=precomputed reads embeddings"),
        (("encoder=null",), "an encoder=DIR"),
        (("model.size=24",), "power of two"),
        (("stage=3",), "allowed: 1, 2"),
    ],
)
def test_recipes_that_contradict_themselves_say_so(changes: tuple[str, ...], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_recipe("stackgan/demo-stage1", ["text=damsm", *changes])
