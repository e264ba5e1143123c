"""FF-GAN learns: the figures of docs/results.md, from drawn birds to scores, by the library's own functions.

Run: python -m tests.learn.ffgan [--recipe ffgan/demo] [--encoder damsm/demo] [--out FOLDER]

The pictures are judged by an encoder of another seed than the one in the loss, and by the colours of their pixels.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

from gancli.config import DamsmRecipe, FFGANRecipe, load_recipe
from gancli.data.prepare import prepare
from gancli.data.sources import demo
from gancli.encoders.damsm import load_damsm
from gancli.engine.events import Event, Events
from gancli.inference.sample import sample
from gancli.scores.agreement import score_agreement
from gancli.scores.features import load_features
from gancli.scores.fid import score_fid
from gancli.scores.pictures import open_pictures
from gancli.scores.retrieval import score_r_precision
from gancli.training import pretrain_encoder, train


def prove(recipe_name: str, encoder_name: str, folder: Path) -> dict[str, float]:
    """Goes the whole way below a folder.

    Returns:
        Minutes of training, agreement of primary and belly colour, R-precision of generated and of real pictures (all
        in per cent), and FID before and after training.
    """

    def report(event: Event) -> None:
        if event.kind in ("progress", "metrics", "warning"):
            print(event.text, file=sys.stderr)

    events = Events(report)
    raw, data = folder / "raw", folder / "data"
    demo.write_demo(raw, images=2000, image_size=64, seed=0, jobs=2)
    prepare(demo.read(raw), data, image_size=64, jobs=2)
    for seed in (0, 1):
        recipe = load_recipe(encoder_name, [f"data={data}", f"train.seed={seed}"], "damsm")
        assert isinstance(recipe, DamsmRecipe)
        pretrain_encoder(recipe, out=folder / f"encoder-{seed}", runs=folder / "runs", events=events)
    recipe = load_recipe(recipe_name, [f"data={data}", f"encoder={folder / 'encoder-0'}"], "ffgan")
    assert isinstance(recipe, FFGANRecipe)
    run = train(recipe, runs=folder / "runs", events=events)

    judge = load_damsm(folder / "encoder-1")
    features = load_features(f"encoder:{folder / 'encoder-1'}")
    result = {"minutes": run.loop.seconds / 60, "steps": float(run.loop.step)}
    for name, model in (("before", run.run / "initial"), ("after", run.output)):
        sample(model, data=data, out=folder / name)
        result[f"fid_{name}"] = score_fid(f"{data}:test", str(folder / name), features).value
    generated, real = score_r_precision(str(folder / "after"), judge)
    agreement = score_agreement(open_pictures(str(folder / "after")))
    result |= {
        "r_precision": generated.value,
        "r_precision_real": real.value,
        "agreement_primary": 100 * agreement.primary,
        "agreement_belly": 100 * agreement.belly,
    }
    return result


def main() -> None:
    """Prints the figures as one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--recipe", default="ffgan/demo")
    parser.add_argument("--encoder", default="damsm/demo")
    parser.add_argument("--out", type=Path, help="a new folder; default: a temporary one")
    options = parser.parse_args()
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as temporary:
        result = prove(options.recipe, options.encoder, options.out or Path(temporary))
    result["minutes_in_all"] = (time.perf_counter() - start) / 60
    print(json.dumps({"recipe": options.recipe, **{key: round(value, 2) for key, value in result.items()}}))


if __name__ == "__main__":
    main()
