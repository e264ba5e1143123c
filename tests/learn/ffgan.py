"""FF-GAN learns: the figures of docs/results.md, from drawn birds to scores, by the library's own functions.

Run: python -m tests.learn.ffgan [--recipe ffgan/demo] [--encoder damsm/demo] [--out FOLDER]

The images are judged by an encoder of another seed than the one in the loss, and by the colours of their pixels.
"""

from __future__ import annotations

from pathlib import Path

from gancli.encoders.damsm import load_damsm
from gancli.scores.features import load_features
from gancli.scores.r_precision import score_r_precision
from tests.learn import _demo


def prove(recipe: str, encoder: str, folder: Path) -> dict[str, float]:
    """Goes the whole way below a folder.

    Returns:
        The figures of `measured`, and R-precision of generated and of real images in per cent.
    """
    data = _demo.drawn_birds(folder)
    for seed in (0, 1):
        _demo.encoder(encoder, folder, f"encoder-{seed}", f"data={data}", f"train.seed={seed}")
    trained = _demo.model(recipe, folder, f"data={data}", f"encoder={folder / 'encoder-0'}")
    judge = folder / "encoder-1"
    result = _demo.measured(trained, data, load_features(f"encoder:{judge}"))
    generated, real = score_r_precision(str(trained.run / "after"), load_damsm(judge))
    return {**result, "r_precision": generated.value, "r_precision_real": real.value}


if __name__ == "__main__":
    _demo.run(prove, __doc__, recipe="ffgan/demo", encoder="damsm/demo")
