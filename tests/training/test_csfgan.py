"""Training CSF-GAN as a notebook calls it: holes, ablations, the perceptual network, exact resume, what is refused."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from gancli.config import load_recipe
from gancli.config.csfgan import CSFGANRecipe
from gancli.data.hole_settings import HoleSettings
from gancli.encoders import vgg16
from gancli.encoders.damsm import load_damsm
from gancli.errors import ConfigError, DataError, UsageError
from gancli.inference.csfgan import load_inpainter
from gancli.inference.load import load_model
from gancli.inpainting.inpaint_split import inpaint_split
from gancli.scores.image_sets import SplitImages, open_images
from gancli.scores.reconstruction import score_psnr
from gancli.training import train

SMALL = (
    "model.size=32",
    "model.generator_width=2",
    "model.discriminator_width=2",
    "model.noise_dim=6",
    "model.condition_dim=5",
    "loader.batch=4",
    "loader.workers=0",
    "train.minutes=null",
    "train.log_every=1",
)


def csfgan(data: Path, encoder: Path, *changes: str) -> CSFGANRecipe:
    recipe = load_recipe("csfgan/demo", [f"data={data}", f"encoder={encoder}", *SMALL, *changes])
    assert isinstance(recipe, CSFGANRecipe)
    return recipe


def logged(run: Path) -> list[dict[str, str]]:
    with (run / "log.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_run_leaves_a_model_that_fills(tiny_dataset: Path, tiny_encoder: Path, tmp_path: Path) -> None:
    result = train(csfgan(tiny_dataset, tiny_encoder, "train.steps=2"), runs=tmp_path)
    assert result.run.name == "0001-csfgan-cub"
    before, after = load_inpainter(result.run / "initial"), load_inpainter(result.run)
    assert (before.paper_name, after.paper_name) == ("CSF-GAN", "CSF-GAN")
    assert (before.method[-11:], after.method[-1:]) == (", untrained", "]")
    assert after.hash != before.hash
    assert after.settings["encoder_hash"] == load_damsm(tiny_encoder).hash
    assert after.holes == HoleSettings("center", 0.75)
    grid = Image.open(result.run / "samples" / "step-0000002.png")
    assert grid.width > 6 * 32, "each image three times"
    images = torch.rand(2, 3, 32, 32) * 2 - 1
    holes = torch.zeros(2, 1, 32, 32)
    holes[:, :, 8:24, 8:24] = 1
    noises = {name: torch.randn(2, dim) for name, dim in after.noise_dims.items()}
    captions = ["a black bird", "a blue bird with a long bill"]
    both = after.fill(images, holes, captions, noises)
    one = after.fill(images[1:], holes[1:], captions[1:], {name: noise[1:] for name, noise in noises.items()})
    torch.testing.assert_close(one.composite, both.composite[1:], atol=1e-5, rtol=1e-5)
    assert torch.equal(both.composite[:, :, 0], images[:, :, 0])
    assert after.tokens("a blue bird") == ["a", "blue", "bird"]
    assert both.attention[0].shape == (2, after.words, 8, 8)


def test_a_resumed_run_ends_with_the_same_weights(
    tiny_dataset: Path, tiny_encoder: Path, tmp_path: Path
) -> None:
    changes = ("holes.kind=mix",)
    straight = train(csfgan(tiny_dataset, tiny_encoder, "train.steps=4", *changes), runs=tmp_path / "a")
    half = train(csfgan(tiny_dataset, tiny_encoder, "train.steps=2", *changes), runs=tmp_path / "b")
    whole = train(csfgan(tiny_dataset, tiny_encoder, "train.steps=4", *changes), resume=half.run)
    expected = load_file(straight.output / "weights.safetensors")
    resumed = load_file(whole.output / "weights.safetensors")
    assert all(torch.equal(tensor, resumed[name]) for name, tensor in expected.items())


@pytest.mark.parametrize(
    ("changes", "method"),
    [
        (("model.fusion=none", "model.word_discriminator=false"), "baseline"),
        (("model.word_discriminator=false",), "baseline+SFM"),
        (("model.fusion=none",), "baseline+WLD"),
        (("model.fusion=sentence",), "CSF-GAN, sentence fusion"),
        (("model.fusion=word", "model.word_discriminator=false"), "CSF-GAN, word fusion, no WLD"),
        (("loss.edge=0",), "CSF-GAN, lambda_edge 0"),
        (("loss.edge=0.1", "loss.edge_operator=laplace8"), "CSF-GAN, lambda_edge 0.1"),
        (("loss.gan=bce", "model.discriminator_input=single", "model.word_pool=mean-feat"), "CSF-GAN"),
        (
            ("model.hole_channel=true", "holes.kind=irregular", "loss.word_mismatch=true", "loss.kl=1"),
            "CSF-GAN",
        ),
    ],
)
def test_every_ablation_trains_and_is_told_apart(
    changes: tuple[str, ...], method: str, tiny_dataset: Path, tiny_encoder: Path, tmp_path: Path
) -> None:
    result = train(csfgan(tiny_dataset, tiny_encoder, "train.steps=1", *changes), runs=tmp_path)
    assert load_inpainter(result.run).paper_name == method


def test_the_perceptual_loss_needs_vgg16(
    tiny_dataset: Path, tiny_encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from torchvision.models import vgg16 as torchvisions

    recipe = csfgan(tiny_dataset, tiny_encoder, "train.steps=1", "loss.perceptual=0.5", "loss.style=3")
    monkeypatch.setenv("GANCLI_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("GANCLI_OFFLINE", "1")
    with pytest.raises(DataError, match=r"vgg16-397923af\.pth") as error:
        train(recipe, runs=tmp_path / "runs")
    assert "loss.perceptual=0" in str(error.value.hint)
    assert not (tmp_path / "runs").exists()
    (tmp_path / "other.pth").write_bytes(b"no weights")
    with pytest.raises(DataError, match="not vgg16"):
        train(recipe, runs=tmp_path / "runs", weights=tmp_path / "other.pth")

    torch.manual_seed(0)
    torch.save(torchvisions(weights=None).state_dict(), tmp_path / "vgg16.pth")
    monkeypatch.setattr(vgg16, "find_weights", lambda name, explicit: explicit)
    result = train(recipe, runs=tmp_path / "runs", weights=tmp_path / "vgg16.pth")
    (row,) = logged(result.run)
    assert float(row["generator.perceptual"]) > 0
    assert float(row["generator.style"]) > 0


def test_holes_from_a_folder(tiny_dataset: Path, tiny_encoder: Path, tmp_path: Path) -> None:
    (tmp_path / "masks").mkdir()
    hole = np.zeros((64, 64), np.uint8)
    hole[:20] = 255
    Image.fromarray(hole).save(tmp_path / "masks" / "top.png")
    changes = ("holes.kind=folder", f"holes.folder={tmp_path / 'masks'}")
    result = train(csfgan(tiny_dataset, tiny_encoder, "train.steps=1", *changes), runs=tmp_path / "runs")
    assert load_inpainter(result.run).holes.folder == "masks"
    missing = ("train.steps=1", "holes.kind=folder", f"holes.folder={tmp_path / 'elsewhere'}")
    with pytest.raises(DataError, match="elsewhere"):
        train(csfgan(tiny_dataset, tiny_encoder, *missing))


def test_init_from_takes_the_generator(tiny_dataset: Path, tiny_encoder: Path, tmp_path: Path) -> None:
    first = train(csfgan(tiny_dataset, tiny_encoder, "train.steps=1"), runs=tmp_path)
    recipe = csfgan(tiny_dataset, tiny_encoder, "train.steps=1", "train.seed=5")
    second = train(recipe, runs=tmp_path, init_from=first.output)
    given, taken = (
        load_file(folder / "weights.safetensors") for folder in (first.output, second.run / "initial")
    )
    assert all(torch.equal(tensor, taken[name]) for name, tensor in given.items())


def test_a_model_larger_than_the_data_is_refused(tiny_dataset: Path, tiny_encoder: Path) -> None:
    with pytest.raises(ConfigError, match=r"model\.size: received 64.* 32 pixels"):
        train(csfgan(tiny_dataset, tiny_encoder, "train.steps=1", "model.size=64"))


def test_a_model_that_fills_draws_no_images_of_its_own(
    tiny_dataset: Path, tiny_encoder: Path, tiny_model: Path, tmp_path: Path
) -> None:
    result = train(csfgan(tiny_dataset, tiny_encoder, "train.steps=1"), runs=tmp_path)
    with pytest.raises(UsageError, match="fills holes") as error:
        load_model(result.run)
    assert "gancli inpaint" in str(error.value.hint)
    with pytest.raises(DataError, match="fills no holes"):
        load_inpainter(tiny_model)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (("model.size=48",), "power of two"),
        (("model.size=16",), "model.size"),
        (("model.fusion=words",), "model.fusion"),
        (("holes.most=0.05",), "below holes.least"),
        (("holes.kind=folder",), "go together"),
        (("holes.folder=masks",), "go together"),
        (("holes.center=1",), "holes.center"),
        (("loader.batch=1",), "loader.batch"),
        (("loss.tv=1",), "loss.tv"),
    ],
)
def test_recipes_that_contradict_themselves_say_so(changes: tuple[str, ...], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        csfgan(Path("data"), Path("encoder"), *changes)


def test_whole_images_from_training_to_scores(tiny_dataset: Path, tiny_encoder: Path, tmp_path: Path) -> None:
    """Known pixels are those of the whole original, made square, and every score says so."""
    recipe = csfgan(tiny_dataset, tiny_encoder, "train.steps=1", "loader.window=whole")
    model = train(recipe, runs=tmp_path / "runs").output
    report = inpaint_split(model, tiny_dataset, out=tmp_path / "filled")
    assert report.sampling is not None
    assert report.sampling.window == "whole"
    filled, *_ = score_psnr(tmp_path / "filled", progress=False)
    assert filled.window == "whole"
    assert "differ from the original" not in filled.note
    photographs = open_images(f"{tiny_dataset}:test")
    assert isinstance(photographs, SplitImages)
    assert photographs.beside(open_images(tmp_path / "filled")).data.window == "whole"
