"""Every model on two gloo processes: equal replicas, the gradients of one process, batches, files written once."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
import torch
from torch import Tensor

from gancli.config import ModelRecipe, load_recipe
from gancli.data.loader import Batch, BatchSource, Rank
from gancli.data.shards import Dataset
from gancli.encoders import embeddings
from gancli.encoders.sentence import load_sentence_encoder
from gancli.engine.checkpoint import checkpoints_in, read_checkpoint
from gancli.engine.events import Event, Events
from gancli.engine.loop import Loop, LoopResult
from gancli.errors import ConfigError, DataError
from gancli.training import train
from gancli.training.run import with_synced_norms
from tests.conftest import build_stackgan
from tests.distributed.ranks import on_ranks

COMMON = (
    "loader.workers=0",
    "train.minutes=null",
    "train.steps=3",
    "train.log_every=1",
    "train.checkpoint_every=100",
    "train.device=cpu",
    "model.generator_width=2",
    "model.discriminator_width=2",
)
SMALL = (*COMMON, "model.noise_dim=6", "model.condition_dim=5")
STACKGAN = (
    "model.generator_width=4",
    "model.discriminator_width=4",
    "model.condition_dim=5",
    "text=char-cnn-rnn",
)
FUSION = ("model.size=16", "model.noise_dim=6", "model.modulation_hidden=4")


@dataclasses.dataclass(frozen=True)
class Case:
    """A model to train.

    Attributes:
        recipe: Name of a shipped recipe.
        changes: Overrides that make it tiny.
        by_image: Further overrides, without which a loss compares the images of a rank's batch with each other: the
            matching loss, and the averages of relativistic scores.
    """

    recipe: str
    changes: tuple[str, ...] = ()
    by_image: tuple[str, ...] = ()


CASES = {
    "ffgan": Case("ffgan/demo", (*SMALL, "model.text_dim=16", "model.stages=[8, 16]"), ("loss.damsm=0",)),
    "stackgan-1": Case("stackgan/demo-stage1", (*COMMON, *STACKGAN, "model.size=16", "model.noise_dim=6")),
    "stackgan-2": Case(
        "stackgan/demo-stage2", (*COMMON, *STACKGAN, "model.size=32", "loader.wrong_pair=image")
    ),
    "attr2image-shape": Case("attr2image/demo-shape", (*SMALL, "model.size=32")),
    "attr2image-image": Case("attr2image/demo-image", (*COMMON, "model.condition_dim=5", "model.size=32")),
    "fusion-s2igan": Case("fusion-s2igan/demo", (*COMMON, *FUSION), ("loss.damsm=0",)),
    "dfgan": Case("dfgan/cub", (*COMMON, *FUSION, "train.epochs=null", "optim.ema_decay=0.9")),
    "csfgan": Case("csfgan/demo", (*SMALL, "model.size=32"), ("loss.damsm=0", "loss.gan=bce")),
}
EACH = pytest.mark.parametrize("name", CASES)

Recipes = Callable[..., ModelRecipe]


@pytest.fixture(scope="module")
def recipes(
    tiny_dataset: Path,
    tiny_encoder: Path,
    tiny_sentence_encoder: Path,
    tiny_spoken: Path,
    tiny_speech_encoder: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Recipes:
    """Return the recipe of a case, with its data: `recipes(name, *changes)`."""
    folder = tmp_path_factory.mktemp("sources")
    leave = shutil.ignore_patterns("embeddings")
    data = shutil.copytree(tiny_dataset, folder / "data", ignore=leave)
    spoken = shutil.copytree(tiny_spoken, folder / "spoken", ignore=leave)
    stage1 = build_stackgan(load_sentence_encoder(tiny_sentence_encoder), folder / "stage1", stage=1)

    def recipe(name: str, *changes: str) -> ModelRecipe:
        case = CASES[name]
        sources = {
            "ffgan": (f"encoder={tiny_encoder}",),
            "csfgan": (f"encoder={tiny_encoder}",),
            "stackgan-1": (f"encoder={tiny_sentence_encoder}",),
            "stackgan-2": (f"encoder={tiny_sentence_encoder}", f"init.stage1={stage1}"),
            "fusion-s2igan": (f"data={spoken}", f"encoder={tiny_speech_encoder}"),
            "dfgan": (f"encoder={tiny_sentence_encoder}",),
        }.get(name, ())
        found = load_recipe(case.recipe, [f"data={data}", *sources, *case.changes, *changes])
        return found  # type: ignore[return-value]

    return recipe


# --- replicas ---------------------------------------------------------------------------------------------------


def _trained(rank: int, folder: Path, recipe: ModelRecipe, resume: Path | None = None) -> Any:
    """Train three steps and return the results on this rank."""
    loops: list[Loop] = []
    lengths: list[int] = []
    written: list[str] = []
    events: list[Event] = []

    class Watched(Loop):
        def run(self) -> LoopResult:
            loops.append(self)
            made = self.batches

            def batches(start: int) -> Iterator[Batch]:
                for batch in made(start):
                    lengths.append(len(batch))
                    yield batch

            self.batches = batches
            return super().run()

    def write_vectors(path: Path, *arguments: Any) -> None:
        written.append(path.name)
        real_write(path, *arguments)

    real_write = embeddings.write_vectors
    with (
        patch("gancli.training.run.Loop", Watched),
        patch("gancli.encoders.embeddings.write_vectors", write_vectors),
    ):
        result = train(recipe, runs=folder / "runs", resume=resume, events=Events(events.append))
    networks = loops[0].trainable.networks
    return {
        "parameters": {
            name: torch.cat([p.detach().flatten() for p in n.parameters()]) for name, n in networks.items()
        },
        "run": result.run.name,
        "images": result.loop.images,
        "losses": dict(result.loop.last),
        "steps_per_epoch": loops[0].settings.steps_per_epoch,
        "lengths": lengths,
        "written": written,
        "events": [event.kind for event in events],
    }


def equal(first: dict[str, Any], second: dict[str, Any]) -> bool:
    names = first["parameters"]
    return all(torch.equal(names[name], second["parameters"][name]) for name in names)


@EACH
def test_replicas_are_bit_identical_after_three_steps(name: str, recipes: Recipes, tmp_path: Path) -> None:
    """A step takes ten of twelve images, so an epoch of one step leaves two of them out."""
    recipe = recipes(name, "loader.batch=5")
    first, second = on_ranks(_trained, tmp_path, recipe)
    assert equal(first, second)
    assert first["losses"] == second["losses"]
    assert all(np.isfinite(value) for value in first["losses"].values())
    assert first["images"] == 3 * 2 * 5
    assert first["steps_per_epoch"] == second["steps_per_epoch"] == 1
    assert first["lengths"] == second["lengths"] == [5, 5, 5]
    assert first["run"] == second["run"]
    assert len(list((tmp_path / "runs").iterdir())) == 1
    run = tmp_path / "runs" / first["run"]
    assert {path.name for path in run.iterdir()} >= {
        "recipe.yaml",
        "initial",
        "model",
        "log.csv",
        "samples",
        "checkpoints",
    }
    assert "images_seen: 30" in (run / "model" / "config.yaml").read_text()
    assert len(first["written"]) <= 1
    assert second["written"] == []
    assert {"start", "progress", "sample", "checkpoint", "end"} <= set(first["events"])
    assert second["events"] == []


# --- gradients --------------------------------------------------------------------------------------------------


class Noise:
    """Random numbers of a step, divided among its images regardless of the rank that has them.

    Args:
        part: Index of the part of the images.
        parts: Number of equal parts.
    """

    def __init__(self, part: int, parts: int) -> None:
        self.part = part
        self.parts = parts
        self.calls = 0

    def draw(self, real: Callable[..., Tensor], *shape: int, **_: Any) -> Tensor:
        self.calls += 1
        mine = slice(self.part * shape[0], (self.part + 1) * shape[0])
        chance = torch.Generator().manual_seed(self.calls)
        return real(shape[0] * self.parts, *shape[1:], generator=chance)[mine]


@contextmanager
def dealt(noise: Noise, neighbours: int) -> Iterator[None]:
    """Make torch draw from `noise`, and take the next caption of a batch from its own part of `neighbours` parts."""
    randn, rand, roll = torch.randn, torch.rand, Tensor.roll

    def rolled(tensor: Tensor, shifts: int, dims: int) -> Tensor:
        return torch.cat([roll(half, shifts, dims) for half in tensor.chunk(neighbours)])

    with (
        patch("torch.randn", lambda *shape, **options: noise.draw(randn, *shape)),
        patch("torch.rand", lambda *shape, **options: noise.draw(rand, *shape)),
        patch.object(Tensor, "roll", rolled),
    ):
        yield


def step_of(loop: Loop, batch: Batch, noise: Noise, neighbours: int = 1) -> dict[str, Any]:
    """Return loss terms and gradients of one step by phase, with fixed batch norm statistics and unchanged weights."""
    for network in loop.trainable.networks.values():
        network.eval()
    gradients: dict[str, list[Tensor]] = {}

    def recorder(phase: str) -> Callable[[], None]:
        def record() -> None:
            gradients[phase] = [
                torch.zeros_like(p) if p.grad is None else p.grad.clone() for p in loop.trained[phase]
            ]

        return record

    for phase in loop.trainable.phases:
        phase.optimizer.step = recorder(phase.name)  # type: ignore[method-assign]
    with dealt(noise, neighbours):
        terms = loop._train_step([batch])
    return {"terms": terms, "gradients": gradients}


def probed(recipe: ModelRecipe, folder: Path, probe: Callable[[Loop, Batch], Any]) -> Any:
    """Return the result of `probe` for a loop and its first batch, without training."""
    found = []

    class Probed(Loop):
        def run(self) -> LoopResult:
            found.append(probe(self, next(self.batches(0))))
            return LoopResult(0, 0, 0.0, None, {})

    with patch("gancli.training.run.Loop", Probed):
        train(recipe, runs=folder / "runs")
    return found[0]


def _stepped(rank: int, folder: Path, recipe: ModelRecipe) -> Any:
    return probed(recipe, folder, lambda loop, batch: step_of(loop, batch, Noise(rank, 2)))


def half(batch: Batch, part: int) -> Batch:
    size = len(batch) // 2
    return batch._each(lambda tensor: tensor[part * size : (part + 1) * size])


def assert_same(found: dict[str, Any], expected: dict[str, Any]) -> None:
    """Check that loss terms and gradients are equal to float tolerance."""
    assert found["terms"] == pytest.approx(expected["terms"], rel=1e-4, abs=1e-6)
    assert found["gradients"].keys() == expected["gradients"].keys()
    for phase, gradients in expected["gradients"].items():
        largest = max(float(gradient.abs().max()) for gradient in gradients)
        assert largest > 0, phase
        for ours, theirs in zip(found["gradients"][phase], gradients, strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-4 * largest)


@EACH
def test_gradients_are_those_of_one_process_on_the_global_batch(
    name: str, recipes: Recipes, tmp_path: Path
) -> None:
    """This includes the gradient penalty of both Fusion models, with two backward passes."""
    by_image = CASES[name].by_image
    first, second = on_ranks(_stepped, tmp_path / "two", recipes(name, "loader.batch=3", *by_image))
    whole = probed(
        recipes(name, "loader.batch=6", *by_image),
        tmp_path / "one",
        lambda loop, batch: step_of(loop, batch, Noise(0, 1), neighbours=2),
    )
    assert_same(first, whole)
    for phase, gradients in first["gradients"].items():
        assert all(map(torch.equal, gradients, second["gradients"][phase])), phase
    if name in ("fusion-s2igan", "dfgan"):
        assert first["terms"]["discriminator.penalty"] > 0


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.by_image])
def test_losses_within_the_batch_are_averaged_over_the_processes(
    name: str, recipes: Recipes, tmp_path: Path
) -> None:
    """The matching and the relativistic losses compare the images of one process with each other."""
    first, _ = on_ranks(_stepped, tmp_path / "two", recipes(name, "loader.batch=3"))

    def halves(loop: Loop, batch: Batch) -> Any:
        return [step_of(loop, half(batch, part), Noise(part, 2)) for part in (0, 1)]

    one, other = probed(recipes(name, "loader.batch=6"), tmp_path / "one", halves)
    mean = {
        "terms": {term: (value + other["terms"][term]) / 2 for term, value in one["terms"].items()},
        "gradients": {
            phase: [(a + b) / 2 for a, b in zip(gradients, other["gradients"][phase], strict=True)]
            for phase, gradients in one["gradients"].items()
        },
    }
    assert_same(first, mean)
    assert any(term in first["terms"] for term in ("generator.sentence", "generator.matching"))


# --- resuming ---------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_two_processes_resume_exactly_and_others_continue(recipes: Recipes, tmp_path: Path) -> None:
    def recipe(steps: int) -> ModelRecipe:
        return recipes("ffgan", f"train.steps={steps}", "train.checkpoint_every=2", "loader.batch=3")

    straight, _ = on_ranks(_trained, tmp_path / "straight", recipe(4))
    on_ranks(_trained, tmp_path / "broken", recipe(2))
    run = tmp_path / "broken" / "runs" / straight["run"]
    copies = {world: shutil.copytree(run, tmp_path / f"copy-{world}" / run.name) for world in (1, 3)}
    first, second = on_ranks(_trained, tmp_path / "broken", recipe(4), run)
    assert equal(first, straight)
    assert equal(second, straight)
    for world, copy in copies.items():
        results = on_ranks(_trained, tmp_path / f"copy-{world}", recipe(4), copy, world=world)
        assert all(equal(result, results[0]) for result in results)
        assert not equal(results[0], straight)
        assert "warning" in results[0]["events"]
        assert results[0]["images"] == 2 * 3 * (2 + world)
        assert read_checkpoint(checkpoints_in(copy / "checkpoints")[-1]).step == 4


# --- refusals -----------------------------------------------------------------------------------------------


def _refused(rank: int, folder: Path, recipe: ModelRecipe) -> Any:
    with pytest.raises(DataError) as error:
        train(recipe, runs=folder / "runs")
    return [str(error.value), error.value.hint]


def test_a_split_too_small_for_both_is_refused_before_anything_is_made(
    recipes: Recipes, tmp_path: Path
) -> None:
    first, second = on_ranks(_refused, tmp_path, recipes("ffgan", "loader.batch=7"))
    assert "holds 12 images, a batch takes 7 on each of 2 processes" in first[0]
    assert first[1] == "set loader.batch to 6 or less"
    assert first == second
    assert not (tmp_path / "runs").exists()


def test_no_process_has_more_steps_or_a_shorter_batch(tiny_dataset: Path) -> None:
    split = Dataset.open(tiny_dataset).split("train")
    sources = [
        BatchSource(split, sizes=[8], batch=2, words=4, seed=1, rank=Rank(rank, 5)) for rank in range(5)
    ]
    assert [len(source) for source in sources] == [1] * 5  # of 12 images two are left out
    for step in range(3):
        shares = [source[step] for source in sources]
        assert [len(share) for share in shares] == [2] * 5
        assert len({int(index) for share in shares for index in share.indices}) == 10


def test_synchronised_batch_norm_needs_cuda(recipes: Recipes, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"train\.sync_batch_norm: .* on CUDA only, this training on cpu"):
        train(recipes("ffgan", "train.sync_batch_norm=true", "loader.batch=4"), runs=tmp_path / "runs")
    assert not (tmp_path / "runs").exists()


def test_synchronised_batch_norm_keeps_weights_and_names() -> None:
    network = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4))
    parameters, names = list(network.parameters()), list(network.state_dict())
    with_synced_norms({"generator": network}, torch.device("cuda"))
    assert isinstance(network[1], torch.nn.SyncBatchNorm)
    assert all(map(lambda old, new: old is new, parameters, network.parameters()))
    assert list(network.state_dict()) == names
