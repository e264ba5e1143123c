"""A paper whose tables can be written: what stands in them, and what keeps a score of ours from being compared."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from gancli.scores.results import HOLES, ScoreRow


@dataclass(frozen=True)
class PaperTable:
    """One table of a paper.

    Attributes:
        number: "1", "2" or "fig7", as in recipes/tables.
        title: Of the Markdown file.
        metrics: That stand in it.
        takes: Whether a method of ours belongs here.
        names: What the table calls a method of ours, where it is not our name.
    """

    number: str
    title: str
    metrics: tuple[str, ...]
    takes: Callable[[str], bool] = lambda method: True
    names: Mapping[str, str] = field(default_factory=dict)

    @property
    def stem(self) -> str:
        """Of its files, after the paper's name."""
        return self.number if self.number.startswith("fig") else f"table{self.number}"


@dataclass(frozen=True)
class Paper:
    """A paper whose tables can be written.

    Attributes:
        tables: In order.
        why_not_comparable: What keeps a score from being compared with the published one; empty where nothing does.
        caveats: By metric, what to know of a difference where there is one.
        takes: Whether a score is of the kind of images it is about: drawn whole, unless said otherwise. FID and the
            others are measured of filled images, too, and the two have nothing to do with each other.
    """

    tables: tuple[PaperTable, ...]
    why_not_comparable: Callable[[ScoreRow], str]
    caveats: Mapping[str, str] = field(default_factory=dict)
    takes: Callable[[ScoreRow], bool] = lambda score: HOLES not in score.protocol


def other_classes(score: ScoreRow) -> str:
    """Why the Inception score of another network than StackGAN's own cannot be compared with published ones."""
    return (
        f"classes of {score.network}, published scores are of StackGAN's own fine-tuned Inception, "
        "whose checkpoint is not to be had"
    )


def count(number: int | None) -> str:
    """How many images, in words."""
    return "unknown many" if number is None else f"{number:,}"
