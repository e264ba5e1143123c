"""CSF-GAN learns: the figures of docs/results.md, from drawn birds behind a hole to scores.

Run: python -m tests.learn.csfgan [--recipe csfgan/demo] [--encoder damsm/demo] [--out FOLDER]

The hole covers the bird, so what is filled in follows from the caption. It is judged by the pixels of the original, by
the colours that the caption names, and by a classifier of the test species.
"""

from __future__ import annotations

from pathlib import Path

from gancli.inpainting.inpaint_split import inpaint_split
from gancli.scores.features import load_features
from gancli.scores.reconstruction import score_psnr, score_ssim
from tests.learn import _demo


def prove(recipe: str, encoder: str, folder: Path) -> dict[str, float]:
    """Goes the whole way below a folder.

    Returns:
        The figures of `measured`, and PSNR and SSIM of the holes, those of the mean fill beside them.
    """
    data = _demo.drawn_birds(folder)
    _demo.encoder(encoder, folder, "damsm", f"data={data}")
    _demo.encoder("classifier/demo", folder, "judge", f"data={data}", "split=test", "train.seed=1")
    trained = _demo.model(recipe, folder, f"data={data}", f"encoder={folder / 'damsm'}")
    judge = load_features(f"encoder:{folder / 'judge'}")
    result = _demo.measured(trained, data, judge, lambda model, out: inpaint_split(model, data, out=out))
    for score in (score_psnr, score_ssim):
        _, hole, _, mean_fill = score(str(trained.run / "after"))
        result |= {hole.metric: hole.value, f"{hole.metric}_mean_fill": mean_fill.value}
    return result


if __name__ == "__main__":
    _demo.run(prove, __doc__, recipe="csfgan/demo", encoder="damsm/demo")
