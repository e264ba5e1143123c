"""`gancli train stackgan`: the recipe of a stage, both stages one after the other, what is refused."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.cli.conftest import Gancli

SMALL = (
    "text=damsm",
    "model.generator_width=4",
    "model.discriminator_width=4",
    "model.condition_dim=5",
    "loader.batch=4",
    "train.steps=2",
    "train.minutes=null",
    "train.log_every=1",
)


@pytest.fixture
def data(tiny_dataset: Path, tmp_path: Path) -> Path:
    """A copy: embeddings are kept in the dataset folder."""
    return Path(shutil.copytree(tiny_dataset, tmp_path / "data"))


@pytest.mark.parametrize(("stage", "generator"), [("1", 14_264_192), ("2", 26_290_080)])
def test_the_stage_picks_the_recipe(gancli: Gancli, large_cub: Path, stage: str, generator: int) -> None:
    answer = gancli("train", "stackgan", f"stage={stage}", f"data={large_cub}", "--dry-run", "--json")
    assert answer.code == 0, answer.stderr
    assert answer.json["name"] == f"stackgan/cub-stage{stage}"
    assert answer.json["parameters"]["generator"] == generator
    assert answer.json["counted_with"].startswith("sentence vectors of 1,024 numbers")


def test_stage_one_is_where_one_begins(gancli: Gancli, large_cub: Path) -> None:
    answer = gancli("train", "stackgan", f"data={large_cub}", "--dry-run", "--json")
    assert answer.json["name"] == "stackgan/cub-stage1"


def test_both_stages(gancli: Gancli, data: Path, tiny_encoder: Path, tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    shared = (f"data={data}", f"encoder={tiny_encoder}", *SMALL, "--runs", str(runs), "--json")
    first = gancli("train", "stackgan", "--recipe", "stackgan/demo-stage1", "model.size=16", *shared)
    assert first.code == 0, first.stderr
    second = gancli(
        "train",
        "stackgan",
        "--recipe",
        "stackgan/demo-stage2",
        "model.size=32",
        f"init.stage1={first.json['run']}",
        *shared,
    )
    assert second.code == 0, second.stderr
    images = tmp_path / "images"
    answer = gancli("sample", second.json["run"], "--text", "a black bird", "--stages", "--out", str(images))
    assert answer.code == 0, answer.stderr
    assert len(list(images.glob("*.png"))) == len(list((images / "stages").glob("*.png"))) == 1
    again = gancli("train", "stackgan", "--resume", second.json["run"], "train.steps=3", "--json")
    assert again.code == 0, again.stderr
    assert again.json["step"] == 3


def test_what_is_missing_is_named(gancli: Gancli, data: Path, tiny_encoder: Path, tmp_path: Path) -> None:
    answer = gancli(
        "train",
        "stackgan",
        "stage=2",
        f"data={data}",
        f"encoder={tiny_encoder}",
        "text=damsm",
        "init.stage1=no/run",
        "model.size=32",
        "loader.batch=4",
    )
    assert answer.code == 3
    assert "init.stage1: no/run: no such run" in answer.stderr
    assert "stage=1" in answer.stderr
    answer = gancli("train", "stackgan", "stage=3", f"data={data}")
    assert answer.code == 2
    assert "stage: received '3', allowed: 1, 2" in answer.stderr
    answer = gancli("train", "stackgan", f"data={data}", "text=precomputed", "model.widht=3")
    assert answer.code == 2
    for part in ("2 mistakes", "needs embeddings=FILE.npz", "model.widht: unknown key"):
        assert part in answer.stderr
