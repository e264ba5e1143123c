"""attr2image learns: the figures of docs/results.md, from drawn birds to scores of silhouettes and of images.

Run: python -m tests.learn.attr2image [--shape attr2image/demo-shape] [--image attr2image/demo-image] [--out FOLDER]

The silhouettes are held against real ones, and their area against the size that was asked for. The images are painted
on the silhouettes of test birds: judged by the colours of their attributes, and by how well the bird fills the shape.
"""

from __future__ import annotations

from pathlib import Path

from gancli.sampling.attributes import DatasetAttributes
from gancli.sampling.sample import sample
from gancli.scores.agreement import score_agreement
from gancli.scores.shapes import load_silhouette_features, score_shapes
from tests.learn import _demo


def prove(shape: str, image: str, folder: Path) -> dict[str, float]:
    """Goes the whole way below a folder.

    Returns:
        Minutes and steps of both stages; of the silhouettes their scores, before training the distance; of the images
        agreement and the overlap with the given silhouettes, in per cent.
    """
    data = _demo.drawn_birds(folder)
    features = load_silhouette_features("pixels")
    first = _demo.model(shape, folder, f"data={data}")
    result = {"shape_minutes": first.loop.seconds / 60, "shape_steps": float(first.loop.step)}
    for name, weights in (("before", first.run / "initial"), ("after", first.output)):
        sample(weights, source=DatasetAttributes(data), out=first.run / name)
        rows = score_shapes(str(first.run / name), features)
        result |= {f"{row.metric}_{name}": row.value for row in rows if row.method != "real"}
    second = _demo.model(image, folder, f"data={data}", f"init.shape={first.run}")
    result |= {"image_minutes": second.loop.seconds / 60, "image_steps": float(second.loop.step)}
    sample(second.output, source=DatasetAttributes(data, silhouettes="data"), out=second.run / "given")
    rows = score_agreement(str(second.run / "given"))
    return result | {row.metric: row.value for row in rows if row.method != "real"}


if __name__ == "__main__":
    _demo.run(prove, __doc__, shape="attr2image/demo-shape", image="attr2image/demo-image")
