"""Shared parts of the learning proofs: drawn birds, trainings that report on stderr, figures as one JSON object."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from gancli.config import ModelRecipe, load_recipe
from gancli.data.preparation.options import PrepareOptions
from gancli.data.preparation.prepare import prepare
from gancli.data.sources.demo import dataset as demo
from gancli.engine.events import Event, Events
from gancli.sampling.captions import DatasetCaptions
from gancli.sampling.sample import sample
from gancli.scores.agreement import measure_agreement
from gancli.scores.features import FeatureNetwork
from gancli.scores.fid import score_fid
from gancli.scores.image_sets import open_images
from gancli.training import RunResult, pretrain_encoder, train


def report(event: Event) -> None:
    """Show the progress of a training on stderr."""
    if event.kind in ("progress", "metrics", "warning"):
        print(event.text, file=sys.stderr)


def drawn_birds(folder: Path) -> Path:
    """Write the recipes' demo dataset below a folder and return it."""
    demo.write_demo(folder / "raw", images=2000, image_size=64, seed=0, jobs=2)
    prepare(demo.read(folder / "raw"), folder / "data", PrepareOptions(image_size=64), jobs=2)
    return folder / "data"


def encoder(recipe: str, folder: Path, out: str, *changes: str, events: Events | None = None) -> RunResult:
    """Train an encoder below a folder."""
    found = load_recipe(recipe, changes)
    assert not isinstance(found, ModelRecipe)
    return pretrain_encoder(found, out=folder / out, runs=folder / "runs", events=events or Events(report))


def model(recipe: str, folder: Path, *changes: str) -> RunResult:
    """Train a model below a folder."""
    found = load_recipe(recipe, changes)
    assert isinstance(found, ModelRecipe)
    return train(found, runs=folder / "runs", events=Events(report))


def measured(
    run: RunResult,
    data: Path,
    features: FeatureNetwork,
    draw: Callable[[Path, Path], object] | None = None,
) -> dict[str, float]:
    """Measure a trained model on images drawn into `before` and `after` of its run folder.

    Args:
        run: Result of the training.
        data: Dataset whose test split is drawn.
        features: Feature network of the FID.
        draw: Function that draws images with a model folder into a folder; by default `sample`, with a caption of each
            test image.

    Returns:
        Minutes and steps of the training, agreement of primary and belly colour in per cent, FID before and after.
    """
    draw = draw or (lambda model, out: sample(model, source=DatasetCaptions(data), out=out))
    result = {"minutes": run.loop.seconds / 60, "steps": float(run.loop.step)}
    for name, weights in (("before", run.run / "initial"), ("after", run.output)):
        draw(weights, run.run / name)
        result[f"fid_{name}"] = score_fid(f"{data}:test", str(run.run / name), features).value
    agreement = measure_agreement(open_images(str(run.run / "after")))
    assert agreement.primary is not None
    assert agreement.belly is not None
    return {
        **result,
        "agreement_primary": 100 * agreement.primary,
        "agreement_belly": 100 * agreement.belly,
    }


def run(prove: Callable[..., dict[str, float]], about: str | None, **recipes: str) -> None:
    """Run a proof from the command line, with an option for each recipe and `--out`, and print the figures as JSON.

    Args:
        prove: Function of the recipes, by these names, and `folder`.
        about: Text of the help.
        recipes: Default of each recipe.
    """
    parser = argparse.ArgumentParser(description=about)
    for name, default in recipes.items():
        parser.add_argument(f"--{name}", default=default)
    parser.add_argument("--out", type=Path, help="a new folder; default: a temporary one")
    options = vars(parser.parse_args())
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.pop("out") or Path(temporary)
        result = prove(folder=folder, **options)
    result["minutes_in_all"] = (time.perf_counter() - start) / 60
    print(json.dumps({**options, **{key: round(value, 2) for key, value in result.items()}}))
