"""StackGAN's table of Inception scores and human ranks."""

from __future__ import annotations

from gancli.scores.results import ScoreRow
from gancli.scores.tables.paper import Paper, PaperTable, other_classes


def _why_not(score: ScoreRow) -> str:
    if score.metric == "human_rank":
        return "other judges, who ranked other models against each other"
    reasons = [other_classes(score)]
    if score.method == "real":
        reasons.insert(0, "real images: the ceiling of this network")
    return "; ".join(reasons)


PAPER = Paper(
    (
        PaperTable(
            "1",
            "Table 1: Inception score (higher is better) and human rank (1 is best)",
            ("inception_score", "human_rank"),
        ),
    ),
    _why_not,
)
