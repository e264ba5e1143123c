"""Recipes: typing, inheritance, overrides, and messages that name every mistake."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from gancli.config import (
    BaseRecipe,
    choose_recipe,
    diff_recipes,
    differences_from_paper,
    dump_recipe,
    load_recipe,
    paper_recipe,
    recipe_names,
)
from gancli.config.damsm import DamsmRecipe
from gancli.config.ffgan import FFGANRecipe
from gancli.errors import ConfigError
from gancli.registry import ROWS

MINIMAL: dict[str, Any] = {
    "model": {"name": "ffgan"},
    "data": "data/x",
    "encoder": "encoders/x",
    "loader": {"batch": 8},
    "train": {"steps": 5},
}


def write(folder: Path, content: dict[str, Any] | str, name: str = "mine.yaml") -> Path:
    path = folder / name
    path.write_text(content if isinstance(content, str) else yaml.safe_dump(content), encoding="utf-8")
    return path


def mistakes(name: str | Path, *overrides: str) -> list[str]:
    """The lines of the error below its heading."""
    with pytest.raises(ConfigError) as caught:
        load_recipe(name, overrides)
    return [line.strip() for line in str(caught.value).splitlines()[1:]]


def test_a_recipe_is_typed_and_immutable(tmp_path: Path) -> None:
    recipe = load_recipe(write(tmp_path, MINIMAL))
    assert isinstance(recipe, FFGANRecipe)
    assert recipe.model.stages == (64, 128, 256)
    assert recipe.data == Path("data/x")
    with pytest.raises(ValueError, match="frozen"):
        recipe.loader.batch = 3  # type: ignore[misc]


def test_overrides_are_typed_as_yaml_and_exponents_without_a_dot_are_numbers() -> None:
    recipe = load_recipe(
        "ffgan/cub",
        [
            "optim.generator_lr=1e-4",
            "optim.betas=[0, 0.9]",
            "model.stages=[16, 32]",
            "train.epochs=",
            "train.minutes=3",
        ],
    )
    assert isinstance(recipe, FFGANRecipe)
    assert recipe.optim.generator_lr == 1e-4
    assert recipe.optim.betas == (0.0, 0.9)
    assert all(isinstance(beta, float) for beta in recipe.optim.betas)  # Adam refuses an int beside a float
    assert recipe.model.stages == (16, 32)
    assert recipe.train.epochs is None


def test_an_override_makes_the_section_it_needs(tmp_path: Path) -> None:
    recipe = load_recipe(write(tmp_path, MINIMAL), ["loss.damsm=7"])
    assert isinstance(recipe, FFGANRecipe)
    assert recipe.loss.damsm == 7


def test_every_mistake_is_reported_at_once() -> None:
    lines = mistakes(
        "ffgan/cub",
        "train.precision=fp16",
        "loader.batch=1",
        "model.stages=[64, 100]",
        "optim.batch=4",
        "data.root=x",
        "nonsense",
        "train.epochs=null",
    )
    assert lines == [
        "data.root: data is a value, not a section",
        "'nonsense': an override is written key=value, as train.seed=1",
        "model.stages: received [64, 100]: stages must be powers of two, at least 8, each twice the one before, "
        "as [64, 128, 256]",
        "loader.batch: received 1, allowed: whole number >= 2",
        "optim.batch: unknown key; did you mean loader.batch?",
        "train: set at least one of train.epochs, train.steps and train.minutes",
        "train.precision: received 'fp16', allowed: 'float32', 'tf32', 'bf16', 'auto'",
    ]


@pytest.mark.parametrize(
    ("unknown", "near"),
    [
        ("optim.batch", "loader.batch"),  # another section
        ("train.log_evry", "train.log_every"),  # a typo
        ("optim.lr", "optim.generator_lr or optim.discriminator_lr"),  # a part of the name
        ("modle", "model"),
        ("seed", "train.seed"),
    ],
)
def test_an_unknown_key_names_the_nearest_one(unknown: str, near: str) -> None:
    assert mistakes("ffgan/cub", f"{unknown}=1") == [f"{unknown}: unknown key; did you mean {near}?"]


def test_a_key_that_resembles_none_gets_no_suggestion() -> None:
    assert mistakes("ffgan/cub", "train.zzz=1") == ["train.zzz: unknown key"]


@pytest.mark.parametrize(
    ("override", "line"),
    [
        ("optim.ema_decay=1", "optim.ema_decay: received 1, allowed: number < 1.0"),
        ("optim.generator_lr=.nan", "optim.generator_lr: received nan, allowed: number"),
        ("optim.betas=[0.5, x]", "optim.betas.1: received 'x', allowed: number"),
        ("model.gsr=perhaps", "model.gsr: received 'perhaps', allowed: true or false"),
        ("loss=3", "loss: received 3, allowed: a section with the keys kl, damsm, gamma1, gamma2, gamma3"),
        ("loader.words=0", "loader.words: received 0, allowed: whole number >= 1"),
        ("model.stages=[4, 8]", None),
        ("model.stages=[]", None),
        ("model.stages=[64, 64]", None),
        ("model.stages=[16, 64]", None),
    ],
)
def test_a_bad_value_is_shown_with_what_is_allowed(override: str, line: str | None) -> None:
    (found,) = mistakes("ffgan/cub", override)
    assert found == line if line else found.startswith("model.stages: received [")


def test_a_missing_key_is_named(tmp_path: Path) -> None:
    path = write(tmp_path, {key: value for key, value in MINIMAL.items() if key != "encoder"})
    assert mistakes(path) == ["encoder: missing, allowed: path"]


def test_a_small_backbone_has_no_pretrained_weights() -> None:
    (line,) = mistakes("damsm/demo", "model.pretrained=true")
    assert line.startswith("model.pretrained: received True")


def test_base_merges_sections_and_replaces_values(tmp_path: Path) -> None:
    write(tmp_path, MINIMAL, "parent.yaml")
    child = write(tmp_path, {"base": "parent", "loader": {"words": 12}, "train": {"seed": 3}}, "child.yaml")
    recipe = load_recipe(child)
    assert (recipe.loader.batch, recipe.loader.words) == (8, 12)
    assert (recipe.train.steps, recipe.train.seed) == (5, 3)


def test_base_may_be_a_shipped_recipe(tmp_path: Path) -> None:
    recipe = load_recipe(write(tmp_path, {"base": "ffgan/cub", "train": {"seed": 3}}))
    assert diff_recipes(load_recipe("ffgan/cub"), recipe) == ["train.seed: 0 → 3"]


def test_a_base_may_have_a_base(tmp_path: Path) -> None:
    write(tmp_path, MINIMAL, "a.yaml")
    write(tmp_path, {"base": "a", "train": {"seed": 3}, "loader": {"words": 12}}, "b.yaml")
    recipe = load_recipe(write(tmp_path, {"base": "b", "train": {"seed": 4}}, "c.yaml"))
    assert (recipe.train.seed, recipe.loader.words, recipe.train.steps) == (4, 12, 5)


def test_recipes_that_inherit_from_each_other_are_refused(tmp_path: Path) -> None:
    write(tmp_path, {"base": "b"}, "a.yaml")
    path = write(tmp_path, {"base": "a"}, "b.yaml")
    with pytest.raises(ConfigError, match=r"a\.yaml: base: 'b' inherits from this recipe itself"):
        load_recipe(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("train: {seed: 1\n", "line 2: not valid YAML"),
        ("- a\n", "a recipe is a mapping"),
        ("", "a recipe is a mapping"),
        ("train:\n  seed: 1\n  seed: 2\n", "line 3: .*'seed' is given twice"),
        ("model: !!python/object:os.system {}\n", "not valid YAML"),
        ("base: [a]\n", "allowed: the name of one recipe"),
    ],
)
def test_a_file_that_is_no_recipe_is_named(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        load_recipe(write(tmp_path, text))
    assert "mine.yaml" in str(caught.value)


def test_unknown_names_suggest_and_missing_files_are_named() -> None:
    with pytest.raises(ConfigError) as caught:
        load_recipe("ffgan/cubb")
    assert "ffgan/cub" in (caught.value.hint or "")
    with pytest.raises(ConfigError, match=r"nowhere\.yaml: no such recipe file"):
        load_recipe("nowhere.yaml")


def test_the_kind_asked_for_must_be_the_recipes(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="recipe of 'ffgan', but one of 'damsm'"):
        load_recipe("ffgan/cub", kind="damsm")
    nameless = {**MINIMAL, "model": {}}
    assert load_recipe(write(tmp_path, nameless), kind="ffgan").model.name == "ffgan"
    allowed = ", ".join(repr(name) for name in ROWS)
    assert mistakes(write(tmp_path, nameless)) == [f"model.name: received None, allowed: {allowed}"]


@pytest.mark.parametrize(
    ("kind", "dataset", "size", "overrides", "name"),
    [
        ("ffgan", "cub", 256, (), "ffgan/cub"),
        ("ffgan", "cub", 64, (), "ffgan/cub-64"),
        ("ffgan", "cub", 300, (), "ffgan/cub"),
        ("ffgan", "cub", 128, ("model.stages=[32,64,128]",), "ffgan/cub"),
        ("ffgan", "demo", 64, (), "ffgan/demo"),
        ("csfgan", "cub", 64, (), "csfgan/cub-64"),
        ("stackgan", "cub", 64, (), "stackgan/cub-stage1"),
        ("stackgan", "cub", 256, ("stage=2", "init.stage1=latest"), "stackgan/cub-stage2"),
        ("attr2image", "cub", 64, ("stage=image",), "attr2image/cub-64-image"),
        ("fusion-s2igan", "cub", 256, (), "fusion-s2igan/cub"),
        ("damsm", "cub", 256, (), "damsm/cub"),
        ("damsm", "cub", 64, (), "damsm/cub-small"),
        ("damsm", "oxford102", 64, (), "damsm/oxford102"),  # a published backbone enlarges by design
        ("speech", "cub", 64, (), "speech/cub"),
        ("char-cnn-rnn", "cub", 64, (), "char-cnn-rnn/cub"),
        ("classifier", "cub", 64, (), "classifier/cub-small"),
    ],
)
def test_recipes_are_chosen_by_dataset_and_image_size(
    kind: str, dataset: str, size: int, overrides: tuple[str, ...], name: str
) -> None:
    assert choose_recipe(kind, dataset, size, overrides)[0] == name


def test_where_no_recipe_fits_it_says_which_to_take() -> None:
    with pytest.raises(
        ConfigError, match=r"no recipe of ffgan is for the 128 pixels .*ffgan/cub \(256 pixels\)"
    ) as caught:
        choose_recipe("ffgan", "cub", 128)
    assert "model.stages=[32,64,128]" in (caught.value.hint or "")
    assert "--recipe ffgan/cub-64" in (caught.value.hint or "")
    with pytest.raises(ConfigError, match="no recipe for ffgan on a dataset named 'mine'") as caught:
        choose_recipe("ffgan", "mine", 64)
    assert "ffgan/cub" in (caught.value.hint or "")
    with pytest.raises(ConfigError, match="stage: received '3', allowed: 1, 2"):
        choose_recipe("stackgan", "cub", 64, ("stage=3",))


def test_the_papers_recipe_of_a_dataset() -> None:
    def found(name: str, dataset: str) -> str | None:
        recipe = load_recipe(name)
        assert isinstance(recipe, BaseRecipe)
        return paper_recipe(recipe, dataset)

    assert found("ffgan/cub-64", "cub") == "ffgan/cub"
    assert found("stackgan/demo-stage2", "cub") == "stackgan/cub-stage2"
    assert found("attr2image/demo-shape", "cub") == "attr2image/cub-shape"
    assert found("dfgan/cub", "cub") == "dfgan/cub"
    assert found("ffgan/demo", "demo") is None
    assert found("ffgan/cub", "mine") is None


@pytest.mark.parametrize("name", ["ffgan/cub", "stackgan/cub-stage2", "csfgan/oxford102", "dfgan/cub"])
def test_the_papers_recipe_differs_in_nothing_from_itself(name: str) -> None:
    dataset = load_recipe(name).data.name
    changed = load_recipe(name, ["data=elsewhere", "train.epochs=1", "loader.batch=4", "loader.workers=0"])
    assert differences_from_paper(changed, dataset) == []


def test_differences_from_the_paper_are_entries() -> None:
    recipe = load_recipe("ffgan/cub", ["loss.damsm=2", "loader.words=12"])
    assert differences_from_paper(recipe, "cub") == [
        {"key": "loader.words", "paper": 18, "here": 12},
        {"key": "loss.damsm", "paper": 5.0, "here": 2.0},
    ]
    assert differences_from_paper(recipe, "mine") == []


@pytest.mark.parametrize(
    "override", ["discriminator.kind=projected", "optim.ema_warmup=true", "model.gsr=false"]
)
def test_another_model_than_the_papers_is_told_apart(override: str) -> None:
    key = override.partition("=")[0]
    assert [each["key"] for each in differences_from_paper(load_recipe("ffgan/cub", [override]), "cub")] == [
        key
    ]


def test_diff_names_every_changed_value() -> None:
    changed = load_recipe("ffgan/cub", ["loss.damsm=1", "data=elsewhere"])
    assert diff_recipes(load_recipe("ffgan/cub"), changed) == [
        "data: data/cub → elsewhere",
        "loss.damsm: 5.0 → 1.0",
    ]


@given(
    rate=st.floats(1e-12, 1e3),
    batch=st.integers(2, 10_000),
    folder=st.text(st.characters(exclude_categories=["C"]), min_size=1).filter(lambda t: t == t.strip()),
    first=st.integers(3, 9),
    count=st.integers(1, 4),
)
def test_a_dumped_recipe_reads_back_the_same(
    tmp_path_factory: pytest.TempPathFactory, rate: float, batch: int, folder: str, first: int, count: int
) -> None:
    content = MINIMAL | {
        "model": {"name": "ffgan", "stages": [2 ** (first + i) for i in range(count)]},
        "data": folder,
        "loader": {"batch": batch},
        "optim": {"generator_lr": rate},
    }
    recipe = FFGANRecipe.model_validate(content)
    path = tmp_path_factory.mktemp("recipe") / "dumped.yaml"
    path.write_text(dump_recipe(recipe), encoding="utf-8")
    assert load_recipe(path) == recipe


def test_listing_recipes_loads_no_torch() -> None:
    code = "import sys, gancli.config as c; assert c.recipe_names(); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_names_are_sorted_and_without_suffix() -> None:
    names = recipe_names()
    assert names == sorted(names)
    assert {"ffgan/cub", "damsm/cub"} <= set(names)
    assert isinstance(load_recipe("damsm/cub"), DamsmRecipe)


@pytest.mark.parametrize("name", recipe_names())
def test_no_shipped_recipe_ends_by_the_clock(name: str) -> None:
    """The result of one that did would depend on the machine's other work."""
    assert load_recipe(name).train.minutes is None
