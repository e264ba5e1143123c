"""`gancli train fusion-s2igan`: the recipe of a dataset, DF-GAN, what is refused."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.cli.conftest import Gancli


@pytest.fixture
def data(tiny_dataset: Path, tmp_path: Path) -> Path:
    """A copy: vectors are kept in the dataset folder."""
    return Path(shutil.copytree(tiny_dataset, tmp_path / "data"))


def test_the_dataset_picks_the_recipe(gancli: Gancli, large_cub: Path) -> None:
    answer = gancli("train", "fusion-s2igan", f"data={large_cub}", "--dry-run", "--json")
    assert answer.code == 0, answer.stderr
    assert answer.json["name"] == "fusion-s2igan/cub"
    assert answer.json["parameters"] == {"generator": 16_414_489, "discriminator": 51_840_838}
    assert answer.json["counted_with"] == "speech vectors of 1,024 numbers"


def test_df_gan_from_sentences_to_images(
    gancli: Gancli, data: Path, tiny_encoder: Path, tmp_path: Path
) -> None:
    answer = gancli(
        "train", "fusion-s2igan", "--recipe", "dfgan/cub", f"data={data}", f"encoder={tiny_encoder}",
        "model.size=16", "model.generator_width=2", "model.discriminator_width=2", "loader.batch=4", "loader.workers=0",
        "train.steps=2", "train.epochs=null", "--runs", str(tmp_path / "runs"), "--json",
    )  # fmt: skip
    assert answer.code == 0, answer.stderr
    images = tmp_path / "images"
    drawn = gancli("sample", answer.json["run"], "--text", "a black bird", "--out", str(images))
    assert drawn.code == 0, drawn.stderr
    assert len(list(images.glob("*.png"))) == 1
    again = gancli("train", "fusion-s2igan", "--resume", answer.json["run"], "train.steps=3", "--json")
    assert again.code == 0, again.stderr
    assert again.json["step"] == 3


def test_what_is_wrong_is_named(gancli: Gancli, data: Path, tiny_encoder: Path) -> None:
    small = (f"data={data}", "model.size=32", "loader.batch=4")
    answer = gancli("train", "fusion-s2igan", *small, f"encoder={tiny_encoder}")
    assert answer.code == 2
    assert "is a folder of kind 'damsm'" in answer.stderr
    assert "condition=sentence" in answer.stderr
    answer = gancli("train", "fusion-s2igan", *small, "encoder=no/encoder")
    assert answer.code == 3
    assert "no/encoder" in answer.stderr
    answer = gancli("train", "fusion-s2igan", f"data={data}", "model.attention=pan", "loss.damsn=1")
    assert answer.code == 2
    for part in ("2 mistakes", "model.attention: received 'pan'", "did you mean loss.damsm?"):
        assert part in answer.stderr
