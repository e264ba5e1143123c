"""Every shipped recipe is valid, can be built, and names its data and encoder the way the others do."""

from __future__ import annotations

from pathlib import Path

import pytest

from gancli.config import dump_recipe, load_recipe, recipe_names, recipes_folder
from gancli.config.attr2image import Attr2ImageRecipe
from gancli.config.csfgan import CSFGANRecipe
from gancli.config.damsm import DamsmRecipe
from gancli.config.ffgan import FFGANRecipe
from gancli.config.fusion_s2igan import FusionS2iGanRecipe
from gancli.config.stackgan import StackGANRecipe
from gancli.training.parameters import count_parameters

NAMES = recipe_names()
VARIANTS = {"dfgan": "fusion-s2igan"}  # a paper that is another paper's network with other values


def test_every_yaml_file_under_recipes_is_found() -> None:
    files = [path for path in recipes_folder().rglob("*.y*ml") if path.parent.name != "tables"]
    assert len(files) == len(NAMES) >= 9


@pytest.mark.parametrize("name", NAMES)
def test_recipe_is_valid_and_its_folder_is_its_model(name: str) -> None:
    folder = name.split("/")[0]
    assert load_recipe(name).model.name == VARIANTS.get(folder, folder)


@pytest.mark.parametrize("name", NAMES)
def test_recipe_survives_being_resolved(name: str, tmp_path: Path) -> None:
    path = tmp_path / "resolved.yaml"
    path.write_text(dump_recipe(load_recipe(name)), encoding="utf-8")
    assert load_recipe(path) == load_recipe(name)


@pytest.mark.parametrize("name", NAMES)
def test_recipe_builds_on_the_meta_device(name: str) -> None:
    assert all(count > 0 for count in count_parameters(load_recipe(name)).networks.values())


@pytest.mark.parametrize("name", NAMES)
def test_recipe_says_where_its_values_come_from(name: str) -> None:
    text = (recipes_folder() / f"{name}.yaml").read_text(encoding="utf-8")
    assert any(source in text for source in ("paper", "public code", "chosen", "base:"))


@pytest.mark.parametrize("dataset", ["cub", "coco", "demo"])
def test_the_gan_recipe_fits_the_encoder_recipe(dataset: str) -> None:
    gan, encoder = load_recipe(f"ffgan/{dataset}"), load_recipe(f"damsm/{dataset}")
    assert isinstance(gan, FFGANRecipe)
    assert isinstance(encoder, DamsmRecipe)
    assert gan.data == encoder.data
    assert gan.model.text_dim == encoder.model.dim


def test_the_papers_values() -> None:
    cub, coco = load_recipe("ffgan/cub"), load_recipe("ffgan/coco")
    assert isinstance(cub, FFGANRecipe)
    assert isinstance(coco, FFGANRecipe)
    assert cub.model.stages == coco.model.stages == (64, 128, 256)
    assert (cub.train.epochs, coco.train.epochs) == (600, 120)
    assert (cub.loss.damsm, coco.loss.damsm) == (5.0, 50.0)
    assert cub.loader.words == coco.loader.words == 18
    assert cub.optim.generator_lr == cub.optim.discriminator_lr == 2e-4


def test_parameters_at_paper_scale() -> None:
    cub, coco = (
        count_parameters(load_recipe("ffgan/cub")).networks,
        count_parameters(load_recipe("ffgan/coco")).networks,
    )
    assert cub == {
        "generator": 21_840_592,
        "discriminator_64": 1_878_242,
        "discriminator_128": 5_155_810,
        "discriminator_256": 18_264_546,
    }
    assert coco["generator"] == 22_726_864


@pytest.mark.parametrize("dataset", ["cub", "oxford102", "coco", "demo"])
def test_both_stages_of_stackgan_read_the_same_text(dataset: str) -> None:
    first, second = (load_recipe(f"stackgan/{dataset}-stage{stage}") for stage in (1, 2))
    assert isinstance(first, StackGANRecipe)
    assert isinstance(second, StackGANRecipe)
    assert (first.stage, second.stage) == (1, 2)
    assert (first.data, first.text, first.encoder) == (second.data, second.text, second.encoder)
    assert second.init.stage1 == Path("latest")
    encoder = load_recipe(f"{first.text}/{dataset}")
    assert encoder.data == first.data
    assert first.encoder == Path(f"encoders/{first.text}-{dataset}"), "where pretrain-encoder writes it"


def test_stackgans_published_values() -> None:
    for dataset in ("cub", "oxford102"):
        for stage, size, every in ((1, 64, 50), (2, 256, 100)):
            recipe = load_recipe(f"stackgan/{dataset}-stage{stage}")
            assert isinstance(recipe, StackGANRecipe)
            assert recipe.model.size == size
            assert (recipe.loader.batch, recipe.loader.averaged, recipe.loss.kl) == (64, 4, 2.0)
            assert (recipe.train.epochs, recipe.optim.lr_decay_epochs, recipe.optim.ema_decay) == (
                600,
                every,
                0,
            )
    count = {stage: count_parameters(load_recipe(f"stackgan/cub-stage{stage}")).networks for stage in (1, 2)}
    assert count[1] == {"generator": 14_264_192, "discriminator": 4_029_824}
    assert count[2] == {"generator": 26_290_080, "discriminator": 48_603_520}


@pytest.mark.parametrize("dataset", ["cub", "oxford102", "flickr8k", "places", "demo"])
def test_fusion_s2igan_hears_with_the_encoder_of_its_dataset(dataset: str) -> None:
    gan, encoder = load_recipe(f"fusion-s2igan/{dataset}"), load_recipe(f"speech/{dataset}")
    assert isinstance(gan, FusionS2iGanRecipe)
    assert gan.condition == "speech"
    assert gan.data == encoder.data
    assert gan.encoder == Path(f"encoders/speech-{dataset}"), "where pretrain-encoder writes it"


def test_fusion_s2igans_published_values() -> None:
    for dataset in ("cub", "oxford102", "flickr8k", "places"):
        recipe = load_recipe(f"fusion-s2igan/{dataset}")
        assert isinstance(recipe, FusionS2iGanRecipe)
        assert (recipe.loader.batch, recipe.model.size) == (32, 256)
        optim = recipe.optim
        assert (optim.generator_lr, optim.discriminator_lr, optim.betas) == (1e-4, 4e-4, (0, 0.9))
        assert recipe.train.epochs == (300 if dataset == "places" else 600)
        assert recipe.loss.same_class_negatives == (dataset == "places")
        assert count_parameters(recipe).networks == {"generator": 16_414_489, "discriminator": 51_840_838}
    assert count_parameters(load_recipe("dfgan/cub")).networks == {
        "generator": 9_744_131,
        "discriminator": 6_717_766,
    }


@pytest.mark.parametrize("dataset", ["cub", "oxford102", "demo"])
def test_csfgan_reads_with_the_encoder_of_its_dataset(dataset: str) -> None:
    gan, encoder = load_recipe(f"csfgan/{dataset}"), load_recipe(f"damsm/{dataset}")
    assert isinstance(gan, CSFGANRecipe)
    assert gan.data == encoder.data
    assert gan.encoder == Path(f"encoders/damsm-{dataset}"), "where pretrain-encoder writes it"


def test_csfgans_published_values() -> None:
    for dataset in ("cub", "oxford102"):
        recipe = load_recipe(f"csfgan/{dataset}")
        assert isinstance(recipe, CSFGANRecipe)
        loss, optim = recipe.loss, recipe.optim
        assert (loss.reconstruction, loss.perceptual, loss.variation) == (1.0, 0.5, 0.1)
        assert (loss.edge, loss.adversarial) == (0.5, 0.002)
        assert (optim.generator_lr, optim.discriminator_lr, optim.betas) == (2e-4, 2e-4, (0.5, 0.999))
        assert (recipe.model.size, recipe.holes.kind, recipe.holes.center) == (256, "center", 0.5)
        counts = count_parameters(recipe).networks
        assert counts.pop("generator") == 82_285_971
        assert sum(counts.values()) == 2_767_809 + 2_888_385


@pytest.mark.parametrize(
    ("shape", "image"),
    [("cub-shape", "cub-image"), ("cub-small-shape", "cub-64-image"), ("demo-shape", "demo-image")],
)
def test_both_stages_of_attr2image_share_data_and_attributes(shape: str, image: str) -> None:
    first, second = load_recipe(f"attr2image/{shape}"), load_recipe(f"attr2image/{image}")
    assert isinstance(first, Attr2ImageRecipe)
    assert isinstance(second, Attr2ImageRecipe)
    assert (first.stage, second.stage) == ("shape", "image")
    assert (first.data, first.attributes) == (second.data, second.attributes)
    assert (first.loader.filtered, second.loader.filtered) == (True, False)
    assert (first.loader.shape_noise, second.loader.shape_noise) == (0, 0.25)


def test_attr2images_chosen_values() -> None:
    for stage, size, batch, epochs in (("shape", 64, 64, 600), ("image", 256, 16, 200)):
        recipe = load_recipe(f"attr2image/cub-{stage}")
        assert isinstance(recipe, Attr2ImageRecipe)
        loss, optim = recipe.loss, recipe.optim
        assert (recipe.model.size, recipe.loader.batch, recipe.train.epochs) == (size, batch, epochs)
        assert (loss.kl, loss.global_weight, loss.local_weight, loss.negative_weight) == (1, 1, 1, 1)
        assert loss.l1 == 100
        assert (optim.generator_lr, optim.discriminator_lr, optim.betas) == (2e-4, 2e-4, (0.5, 0.999))
        assert (optim.lr_decay, optim.lr_decay_epochs, optim.ema_decay) == (0.5, 100, 0)
    count = {
        stage: count_parameters(load_recipe(f"attr2image/cub-{stage}")).networks
        for stage in ("shape", "image")
    }
    assert count["shape"] == {
        "generator": 4_634_240,
        "discriminator_global": 2_763_584,
        "discriminator_local": 661_312,
        "discriminator_conditional": 3_097_792,
    }
    assert count["image"] == {
        "generator": 55_530_435,
        "discriminator_global": 11_156_288,
        "discriminator_conditional": 11_519_680,
    }
