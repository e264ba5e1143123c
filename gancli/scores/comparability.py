"""Fields in which two numbers must agree to be compared, and the reasons where they do not.

A protocol is a record of fields of a score row with the values that they must have. It may come from a paper
(recipes/tables) or from another score.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields

from gancli.scores.results import HoleFields, MetricSettings, NetworkFields, RealData, ScoreRow

Wanted = Mapping[str, object]

# What a field is called in a reason
_LABELS = {
    "metric": "metric",
    "images": "images",
    "dataset": "dataset",
    "release": "release",
    "split_rule": "split rule",
    "crop_rule": "crop",
    "split": "split",
    "window": "part of the stored images",
    "n_real": "real images",
    "n_fake": "generated images",
    "n_classes": "classes",
    "image_size": "side in pixels",
    "caption_words": "words that the model reads",
    "captions_per_image": "captions of each image",
    "network_kind": "network",
    "network_output": "output of the network",
    "network_sha256": "weights of the network",
    "backbone": "architecture of the network",
    "transform": "preparation of the network's input",
    "k": "R or k",
    "candidates": "captions to choose from",
    "encoder_words": "words that the encoder reads",
    "r_precision_rule": "rule of R-precision",
    "queries_per_class": "querying images of each class",
    "queries": "querying images",
    "gallery_least": "fewest images of a querying one",
    "gallery_most": "most images of a querying one",
    "hole_kind": "holes",
    "hole_center": "side of the hole",
    "ssim_window": "window",
}
_UNSEEN = (
    "queries_file",
    "chance",
    "metric_seed",
    "network",
    "resize",
    "encoder_accuracy",
    "encoder_chance",
)  # of no account: expectations, seeds, and prose
# All fields that say how a score was measured
MEASURED = (
    "metric",
    "images",
    *(each.name for each in fields(RealData)),
    *(each.name for each in fields(HoleFields)),
    *("image_size", "captions_per_image", "mismatched", "n_real", "n_fake"),
    *(each.name for each in (*fields(MetricSettings), *fields(NetworkFields)) if each.name not in _UNSEEN),
)


def label_of(name: str) -> str:
    """Return what a field is called in a reason."""
    return _LABELS.get(name, name.replace("_", " "))


def disagreements(score: ScoreRow, wanted: Wanted) -> list[str]:
    """Return the fields in which a score is not as wanted, in words: "classes 17, not 50".

    Args:
        score: Score to look at.
        wanted: Value of each field; a list of values that are all right; or a mapping with `least` and `most`.
    """
    return [
        f"{label_of(name)} {_words(getattr(score, name))}, not {_words(value)}"
        for name, value in wanted.items()
        if not _agrees(getattr(score, name), value)
    ]


def protocol_of(score: ScoreRow) -> dict[str, object]:
    """Return how a score was measured, as a protocol for other scores."""
    return {name: getattr(score, name) for name in MEASURED}


def _agrees(found: object, wanted: object) -> bool:
    if isinstance(wanted, Mapping):
        return isinstance(found, int | float) and wanted["least"] <= found <= wanted["most"]
    return found in wanted if isinstance(wanted, list | tuple) else found == wanted


def _words(value: object) -> str:
    if isinstance(value, Mapping):
        return f"{_words(value['least'])} to {_words(value['most'])}"
    if isinstance(value, list | tuple):
        return " or ".join(map(_words, value))
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    text = str(value)
    if len(text) == 64:  # a sha256
        return text[:12]
    return "unknown" if value is None or not text else text
