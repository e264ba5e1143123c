"""A species' size survives the crop to the bird's box."""

from __future__ import annotations

import numpy as np
from scipy.stats import spearmanr

from gancli.data.images import crop_to_box
from gancli.data.source import BoundingBox
from gancli.data.sources.demo.dataset import species
from gancli.data.sources.demo.drawing import draw_bird

ORDER = ("small", "medium", "large")


def test_larger_birds_fill_more_of_the_crop() -> None:
    birds = species(120, seed=3)
    sizes, shares = [], []
    for number, bird in enumerate(birds):
        drawing = draw_bird(bird.plumage, "water", 32, np.random.default_rng(number))
        cropped = np.asarray(crop_to_box(drawing.silhouette, BoundingBox(*drawing.box)))
        sizes.append(ORDER.index(bird.plumage.size.split("_")[0]))
        shares.append((cropped >= 128).mean())
    assert spearmanr(sizes, shares).statistic > 0.7
