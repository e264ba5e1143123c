"""A paper's tables, and the fields in which a score of gancli must agree with a published number to be compared."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from gancli.scores.results import ScoreRow

# The values of score fields that a paper's numbers were measured with: one value, several, or a range of counts
Protocol = Mapping[str, object]
# The network of published Inception scores on birds and flowers, whose checkpoint is not available
STACKGAN_INCEPTION = "stackgan-inception"


@dataclass(frozen=True)
class Model:
    """A model as a row of a table: its kind, and the settings in which it differs from the paper's own model."""

    kind: str
    ablation: Mapping[str, object] = field(default_factory=dict)

    def made(self, score: ScoreRow) -> bool:
        """Return whether a score is of this model, trained and drawing from its own conditions."""
        return score.kind == self.kind and dict(score.ablation) == dict(self.ablation) and score.as_trained


@dataclass(frozen=True)
class PaperTable:
    """One table of a paper.

    Attributes:
        number: "1", "2" or "fig7", as in recipes/tables.
        title: Title of the Markdown file.
        metrics: Its metrics.
        takes: Function that selects the scores of gancli that belong here.
        models: Models under the names that this table gives them, where these are not their papers'.
    """

    number: str
    title: str
    metrics: tuple[str, ...]
    takes: Callable[[ScoreRow], bool] = lambda score: True
    models: Mapping[str, Model] = field(default_factory=dict)

    @property
    def stem(self) -> str:
        """Name of its files after the paper's name."""
        return self.number if self.number.startswith("fig") else f"table{self.number}"

    def published_name(self, score: ScoreRow, models: Mapping[str, Model]) -> str | None:
        """Return the name that the table gives to the model of a score; None for a model that it does not have.

        `models` are those of all papers. Images of unknown models go by the name that the user gave them.
        """
        if not score.kind:
            return score.method
        every = (*self.models.items(), *models.items())
        return next((name for name, model in every if model.made(score)), None)


@dataclass(frozen=True)
class Paper:
    """A paper whose tables can be written.

    Attributes:
        tables: Tables in order.
        models: Its own models, under the names that every paper's tables give them.
        protocol: Function from a score to the fields in which it must agree with the published numbers; a string
            instead says why there is no number to compare with.
        caveats: Remarks on a difference by metric.
        takes: Function that selects scores of the kind of images it is about: images drawn whole, unless set otherwise.
            FID and others are measured of filled images too, which have nothing in common with these.
    """

    tables: tuple[PaperTable, ...]
    models: Mapping[str, Model]
    protocol: Callable[[ScoreRow], Protocol | str]
    caveats: Mapping[str, str] = field(default_factory=dict)
    takes: Callable[[ScoreRow], bool] = lambda score: not score.filled

    def why_not_comparable(self, score: ScoreRow) -> str:
        """Return what keeps a score from being compared with the published one; empty where nothing does."""
        wanted = self.protocol(score)
        return wanted if isinstance(wanted, str) else differences(score, wanted)


def differences(score: ScoreRow, wanted: Protocol) -> str:
    """Return the fields of a score that are not as wanted, in words; empty where all are."""
    reasons: dict[str, None] = {}
    for name, allowed in wanted.items():
        if score.images == "real" and name in _OF_GENERATED:
            continue
        if getattr(score, name) not in (allowed if isinstance(allowed, (tuple, range)) else (allowed,)):
            reasons[_REASONS[name](score, wanted)] = None
    return "; ".join(reasons)


def count(number: int | None) -> str:
    """Return a number of images in words."""
    return "unknown many" if number is None else f"{number:,}"


def _images(score: ScoreRow, wanted: Protocol) -> str:
    allowed = wanted["n_fake"]
    many = f"{allowed.start:,} to {allowed.stop - 1:,}" if isinstance(allowed, range) else f"{allowed:,}"
    return f"{count(score.n_fake)} images, not {many}"


def _network(score: ScoreRow, wanted: Protocol) -> str:
    what = "classes" if score.network_output == "logits" else "features"
    return f"{what} of {score.network or 'no network'}, {_NETWORKS[wanted['network_kind']]}"


def _candidates(score: ScoreRow, wanted: Protocol) -> str:
    return f"R = {score.k} of {score.candidates}, not {wanted['k']} of {wanted['candidates']}"


def _gallery(score: ScoreRow, wanted: Protocol) -> str:
    return f"another gallery than {wanted['gallery_least']} generated images of each querying image"


def _holes(score: ScoreRow, wanted: Protocol) -> str:
    return f"holes {score.holes or 'unknown'}, not {wanted['hole_kind']} {wanted['hole_center']}"


_NETWORKS: Mapping[object, str] = {
    "inception": "not of the Inception network",
    "imagenet": "not of ImageNet's Inception-v3",
    STACKGAN_INCEPTION: "published scores are of StackGAN's own fine-tuned Inception, which is not available",
}

# The reason that each field gives where it is not as wanted
_REASONS: Mapping[str, Callable[[ScoreRow, Protocol], str]] = {
    "images": lambda score, wanted: "real images: the ceiling of this network",
    "dataset": lambda score, wanted: f"dataset {score.dataset}",
    "split": lambda score, wanted: f"split {score.split or 'unknown'}",
    "n_fake": _images,
    "image_size": lambda score, wanted: (
        f"images of {score.image_size or 'unknown'} pixels, not {wanted['image_size']}"
    ),
    "network_kind": _network,
    "backbone": lambda score, wanted: f"{score.network} is not a DAMSM with {wanted['backbone']}",
    "k": _candidates,
    "candidates": _candidates,
    "queries_per_class": lambda score, wanted: (
        f"other queries than {wanted['queries_per_class']} real images per class"
    ),
    "gallery_least": _gallery,
    "gallery_most": _gallery,
    "hole_kind": _holes,
    "hole_center": _holes,
    "ssim_window": lambda score, wanted: (
        f"another window than the {wanted['ssim_window']} one of the authors' code"
    ),
}
_OF_GENERATED = ("n_fake", "queries_per_class", "gallery_least", "gallery_most")
