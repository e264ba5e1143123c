"""`gancli recipes`: what it lists, prints, accepts and refuses."""

from __future__ import annotations

from pathlib import Path

import yaml

from gancli.config import load_recipe, recipe_names
from tests.cli.conftest import Gancli


def test_every_shipped_recipe_is_listed_with_what_it_is_for(gancli: Gancli) -> None:
    listed = gancli("recipes", "ls", "--json").json["recipes"]
    assert [recipe["name"] for recipe in listed] == recipe_names()
    assert len(listed) >= 5
    assert all(recipe["about"] for recipe in listed)


def test_every_shipped_recipe_is_valid(gancli: Gancli) -> None:
    assert gancli("recipes", "validate", "-q").stdout.split() == recipe_names()


def test_what_show_prints_is_a_recipe(gancli: Gancli, tmp_path: Path) -> None:
    answer = gancli("recipes", "show", "ffgan/cub", "model.stages=[16,32]", "loader.batch=3")
    assert answer.code == 0
    (tmp_path / "mine.yaml").write_text(answer.stdout)
    assert load_recipe(tmp_path / "mine.yaml") == load_recipe(
        "ffgan/cub", ["model.stages=[16,32]", "loader.batch=3"]
    )
    assert gancli("recipes", "validate", tmp_path / "mine.yaml").code == 0


def test_show_counts_parameters_at_paper_scale(gancli: Gancli) -> None:
    assert gancli("recipes", "show", "ffgan/cub", "--json").json["parameters"] == {
        "generator": 21_840_592,
        "discriminator_64": 1_878_242,
        "discriminator_128": 5_155_810,
        "discriminator_256": 18_264_546,
    }
    assert gancli("recipes", "show", "ffgan/coco", "--json").json["parameters"]["generator"] == 22_726_864
    assert yaml.safe_load(gancli("recipes", "show", "damsm/cub", "-q").stdout)["model"]["name"] == "damsm"


def test_validate_reports_every_wrong_recipe(gancli: Gancli, tmp_path: Path) -> None:
    (tmp_path / "typo.yaml").write_text("base: ffgan/demo\nmodel: {generator_widht: 8}\n")
    (tmp_path / "broken.yaml").write_text("model: [\n")
    answer = gancli("recipes", "validate", tmp_path / "typo.yaml", "ffgan/cub", tmp_path / "broken.yaml")
    assert answer.code == 2
    assert "2 of 3 recipes are wrong" in answer.stderr
    assert "did you mean model.generator_width?" in answer.stderr
    assert "broken.yaml" in answer.stderr


def test_diff(gancli: Gancli) -> None:
    lines = gancli("recipes", "diff", "ffgan/cub", "ffgan/coco").stdout.splitlines()
    assert "loss.damsm: 5.0 → 50.0" in lines
    assert gancli("recipes", "diff", "ffgan/cub", "ffgan/cub").stdout == "no difference\n"
    assert gancli("recipes", "diff", "ffgan/cub", "ffgan/cup").code == 2
