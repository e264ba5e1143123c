"""Every model and every encoder: what all trainings refuse, what they write, and the paths by which a run is named."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file

from gancli.config import BaseRecipe, load_recipe
from gancli.errors import ConfigError, DataError, UsageError
from gancli.registry import ENCODERS, MODELS, resolve
from gancli.training import RunResult, pretrain_encoder, train

COMMON = (
    "loader.workers=0",
    "train.minutes=null",
    "train.epochs=null",
    "train.steps=1",
    "train.log_every=1",
    "train.device=cpu",
    "train.keep=9",
)
WIDTHS = ("loader.batch=4", "model.generator_width=4", "model.discriminator_width=4")
NOISE = ("model.noise_dim=6", "model.condition_dim=5")
BACKBONE = ("model.width=4", "model.size=16", "loader.batch=4")


@dataclass(frozen=True)
class Case:
    """A training to be tried.

    Attributes:
        recipe: Shipped recipe.
        changes: Overrides that make it tiny.
        encoder: Fixture of its encoder; "" where it has none.
        data: Fixture of its dataset.
        key: Key of the encoder.
        large: Override that makes it train above the dataset's 32 pixels; "" where no size can be set.
    """

    recipe: str
    changes: tuple[str, ...]
    encoder: str = ""
    data: str = "tiny_dataset"
    key: str = "encoder"
    large: str = "model.size=64"


CASES = {
    "ffgan": Case(
        "ffgan/demo",
        (*WIDTHS, *NOISE, "model.text_dim=16", "model.stages=[8,16]"),
        "tiny_encoder",
        large="model.stages=[16,32,64]",
    ),
    "stackgan": Case(
        "stackgan/demo-stage1", (*WIDTHS, *NOISE, "model.size=16", "text=damsm"), "tiny_encoder"
    ),
    "fusion-s2igan": Case(
        "fusion-s2igan/demo",
        (*WIDTHS, "model.size=16", "model.noise_dim=6"),
        "tiny_speech_encoder",
        "tiny_spoken",
    ),
    "dfgan": Case(
        "dfgan/cub", ("loader.batch=4", "model.generator_width=4", "model.size=16"), "tiny_sentence_encoder"
    ),
    "csfgan": Case("csfgan/demo", (*WIDTHS, *NOISE, "model.size=32"), "tiny_encoder"),
    "attr2image": Case("attr2image/demo-shape", (*WIDTHS, *NOISE, "model.size=32", "loader.filtered=false")),
    "attr2image-image": Case("attr2image/demo-image", (*WIDTHS, "model.size=32")),
    "damsm": Case("damsm/demo", (*BACKBONE, "model.dim=8", "model.embedding_dim=6")),
    "char-cnn-rnn": Case(
        "char-cnn-rnn/demo",
        ("model.dim=8", "model.width=6", "loader.batch=2"),
        "tiny_encoder",
        key="features.encoder",
        large="",
    ),
    "speech": Case("speech/demo", (*BACKBONE, "model.hidden=6"), data="tiny_spoken"),
    "classifier": Case("classifier/demo", (*BACKBONE, "split=test")),
}
EACH = pytest.mark.parametrize("name", CASES)
EACH_MODEL = pytest.mark.parametrize("name", [name for name in CASES if name not in ENCODERS])
WITH_ENCODER = pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.encoder])

Start = Callable[..., RunResult]


@pytest.fixture
def case(name: str) -> Case:
    return CASES[name]


@pytest.fixture
def encoder(case: Case, request: pytest.FixtureRequest, tmp_path: Path) -> Path | None:
    """A copy of the case's encoder folder."""
    if not case.encoder:
        return None
    return Path(shutil.copytree(request.getfixturevalue(case.encoder), tmp_path / "encoder"))


@pytest.fixture
def recipe(
    case: Case, encoder: Path | None, request: pytest.FixtureRequest, tmp_path: Path
) -> Callable[..., BaseRecipe]:
    """Make the case's recipe on a copy of its dataset, with further overrides."""
    data = shutil.copytree(request.getfixturevalue(case.data), tmp_path / "data")

    def make(*changes: str) -> BaseRecipe:
        named = () if encoder is None else (f"{case.key}={encoder}",)
        return load_recipe(case.recipe, [f"data={data}", *named, *COMMON, *case.changes, *changes])

    return make


@pytest.fixture
def start(recipe: Callable[..., BaseRecipe], tmp_path: Path) -> Start:
    """Train the case with further overrides and arguments."""

    def begin(*changes: str, **arguments: object) -> RunResult:
        made = recipe(*changes)
        runs = tmp_path / "runs"
        if made.kind in MODELS:
            return train(made, runs=runs, **arguments)  # type: ignore[arg-type]
        return pretrain_encoder(made, out=tmp_path / "out", runs=runs, **arguments)  # type: ignore[arg-type]

    return begin


def train_anew(encoder: Path) -> None:
    """Give an encoder folder other weights."""
    weights = load_file(encoder / "weights.safetensors")
    first = next(
        name for name, tensor in weights.items() if tensor.is_floating_point() and tensor.numel() > 1
    )
    weights[first] += 1
    save_file(weights, encoder / "weights.safetensors")


def test_every_model_and_encoder_is_tried() -> None:
    kinds = {load_recipe(case.recipe).kind for case in CASES.values()}
    assert kinds == {*MODELS, *ENCODERS}


def test_the_rows_name_code_that_is_there() -> None:
    for row in (*MODELS.values(), *ENCODERS.values()):
        for reference in (row.recipe, row.train, row.networks, row.load):
            assert reference is None or resolve(reference) is not None


@WITH_ENCODER
def test_a_run_is_not_resumed_with_an_encoder_that_was_trained_anew(
    start: Start, encoder: Path, tmp_path: Path
) -> None:
    run = start().run
    train_anew(encoder)
    with pytest.raises(ConfigError, match="was trained with another encoder"):
        start("train.steps=2", resume=run)
    assert [path.name for path in (tmp_path / "runs").iterdir()] == [run.name]


@EACH
def test_no_training_enlarges_the_images(case: Case, start: Start, tmp_path: Path) -> None:
    if not case.large:
        pytest.skip("no size can be set")
    key = case.large.partition("=")[0]
    with pytest.raises(ConfigError, match=rf"{key}: received .*64.* was prepared at 32 pixels") as caught:
        start(case.large)
    assert "or less, or prepare the data with --image-size 64" in str(caught.value.hint)
    assert not (tmp_path / "runs").exists()


@EACH
def test_a_batch_larger_than_the_split_is_refused(case: Case, start: Start, tmp_path: Path) -> None:
    if case.recipe.startswith("char-cnn-rnn"):
        pytest.skip("takes all classes where there are fewer")
    with pytest.raises(DataError, match="a batch takes 400"):
        start("loader.batch=400")
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("name", ["ffgan", "csfgan"])
def test_an_encoder_of_another_vocabulary_is_refused(start: Start, encoder: Path, tmp_path: Path) -> None:
    vocabulary = encoder / "vocabulary.json"
    vocabulary.write_text(
        vocabulary.read_text(encoding="utf-8").replace('"bird"', '"fowl"'), encoding="utf-8"
    )
    with pytest.raises(DataError, match="vocabulary"):
        start()
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("attr2image", "where on its images the object is"),
        ("attr2image-image", "where on its images the object is"),
        ("fusion-s2igan", "captions are not spoken"),
        ("speech", "captions are not spoken"),
    ],
)
def test_a_dataset_that_lacks_something_is_refused(
    case: Case, start: Start, request: pytest.FixtureRequest, tmp_path: Path, message: str
) -> None:
    other = request.getfixturevalue("tiny_dataset" if case.data == "tiny_spoken" else "tiny_spoken")
    with pytest.raises(DataError, match=message):
        start(f"data={other}")
    assert not (tmp_path / "runs").exists()


@EACH
def test_a_name_latest_and_every_path_of_a_run(start: Start) -> None:
    first = start(name="mine")
    assert first.run.name == "0001-mine"
    checkpoint = first.run / "checkpoints" / "step-00000001"
    for steps, path in enumerate(("latest", first.run, first.output, checkpoint), start=2):
        again = start(f"train.steps={steps}", resume=path)
        assert again.run == first.run
        assert again.loop.step == steps
    assert start().run.name.startswith("0002-")
    with pytest.raises(UsageError, match=r"there is no run of .* on elsewhere"):
        start("data=elsewhere", resume="latest")


@EACH_MODEL
def test_a_model_says_what_it_was_trained_on_and_how(start: Start, recipe: Callable[..., BaseRecipe]) -> None:
    result = start()
    made = recipe()
    loaded = resolve(MODELS[made.kind].load)(result.run)
    assert loaded.dataset["name"] == "cub"
    assert set(loaded.dataset) == {"name", "release", "split_rule", "crop_rule", "image_size"}
    variant = f"-{made.variant}" if made.variant else ""
    assert loaded.paper_recipe == f"{made.paper}/cub{variant}"
    keys = {entry["key"] for entry in loaded.differences}
    assert "model.generator_width" in keys
    assert not keys & {"data", "encoder", "loader.batch", "loader.workers", "train.steps"}
    settings = yaml.safe_load((result.output / "config.yaml").read_text(encoding="utf-8"))
    assert (settings["kind"], settings["run"], settings["step"]) == (made.kind, result.run.name, 1)
    assert ("encoder_hash" in settings) == (made.conditioning is not None)


@pytest.mark.parametrize("name", ["stackgan", "attr2image"])
def test_a_second_stage_stands_on_the_latest_first(
    case: Case, start: Start, encoder: Path | None, tmp_path: Path
) -> None:
    first = start().run
    data = tmp_path / "data"
    key, second_stage, small = {
        "stackgan": ("init.stage1", "stackgan/demo-stage2", (*WIDTHS, "text=damsm", f"encoder={encoder}")),
        "attr2image": ("init.shape", "attr2image/demo-image", WIDTHS),
    }[case.recipe.partition("/")[0]]
    changes = [f"data={data}", *COMMON, *small, "model.size=32", f"{key}=latest"]
    second = train(load_recipe(second_stage, changes), runs=tmp_path / "runs")
    stored = load_recipe(second.run / "recipe.yaml")
    section, _, leaf = key.partition(".")
    assert getattr(getattr(stored, section), leaf) == first
    again = train(
        load_recipe(second_stage, [*changes, "train.steps=2"]), runs=tmp_path / "runs", resume="latest"
    )
    assert again.run == second.run


def test_recipes_are_taken_by_name_and_by_path(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="encoders/damsm-demo: no such"):
        train("ffgan/demo", runs=str(tmp_path / "runs"))
    with pytest.raises(UsageError, match=r"gancli\.pretrain_encoder"):
        train("damsm/demo")
    with pytest.raises(UsageError, match=r"gancli\.train"):
        pretrain_encoder("ffgan/demo", out=tmp_path / "out")


PROJECTED = ("kind=projected", "size=32", "channels=8", "width=8")


@EACH_MODEL
def test_every_model_learns_from_projected_discriminators(
    case: Case, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gancli.training.projected.load_imagenet", lambda _: None)  # random features will do
    changes = [f"discriminator.{each}" for each in PROJECTED]
    if case.recipe.startswith(("fusion", "dfgan")):
        with pytest.raises(ConfigError, match=r"set loss\.magp=0"):
            start(*changes)
        changes.append("loss.magp=0")
    first = start(*changes)
    again = start(*changes, "train.steps=2", resume=first.run)
    assert all(math.isfinite(value) for value in again.loop.last.values())
    before = load_file(first.run / "initial" / "weights.safetensors")
    after = load_file(again.output / "weights.safetensors")
    assert any(not torch.equal(before[name], after[name]) for name in before if name in after)


@EACH
def test_a_run_keeps_the_precision_that_was_chosen(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gancli.training.run.choose_precision", lambda _: "bf16")
    run = start("train.precision=auto").run
    monkeypatch.setattr("gancli.training.run.choose_precision", lambda _: "float32")
    start("train.precision=auto", "train.steps=2", resume=run)
    assert load_recipe(run / "recipe.yaml").train.precision == "bf16"
