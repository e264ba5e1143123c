"""StackGAN learns, and Stage II keeps what Stage I has learned: the figures of docs/results.md on drawn birds.

Run: python -m tests.learn.stackgan [--stage1 stackgan/demo-stage1] [--stage2 stackgan/demo-stage2] [--out FOLDER]

The images are judged by a classifier of the test species and by the colours of their pixels.
"""

from __future__ import annotations

from pathlib import Path

from gancli.scores.features import load_features
from tests.learn import _demo


def prove(stage1: str, stage2: str, folder: Path) -> dict[str, float]:
    """Goes the whole way below a folder.

    Returns:
        The figures of `measured` for each stage.
    """
    data = _demo.drawn_birds(folder)
    _demo.encoder("damsm/demo", folder, "damsm", f"data={data}")
    features = f"features.encoder={folder / 'damsm'}"
    _demo.encoder("char-cnn-rnn/demo", folder, "text", f"data={data}", features)
    _demo.encoder("classifier/demo", folder, "judge", f"data={data}", "split=test", "train.seed=1")
    judge = load_features(f"encoder:{folder / 'judge'}")
    shared = (f"data={data}", f"encoder={folder / 'text'}")
    first = _demo.model(stage1, folder, *shared)
    second = _demo.model(stage2, folder, *shared, f"init.stage1={first.run}")
    return {
        f"stage{number}_{name}": value
        for number, trained in ((1, first), (2, second))
        for name, value in _demo.measured(trained, data, judge).items()
    }


if __name__ == "__main__":
    _demo.run(prove, __doc__, stage1="stackgan/demo-stage1", stage2="stackgan/demo-stage2")
