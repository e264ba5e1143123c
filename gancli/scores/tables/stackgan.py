"""StackGAN's table of Inception scores and human ranks."""

from __future__ import annotations

from gancli.scores.results import ScoreRow
from gancli.scores.tables.paper import STACKGAN_INCEPTION, Model, Paper, PaperTable, Protocol


def _protocol(score: ScoreRow) -> Protocol | str:
    if score.metric == "human_rank":
        return "other judges, who ranked other models against each other"
    return {"images": "generated", "network_kind": STACKGAN_INCEPTION}


PAPER = Paper(
    (
        PaperTable(
            "1",
            "Table 1: Inception score (higher is better) and human rank (1 is best)",
            ("inception_score", "human_rank"),
        ),
    ),
    {"StackGAN": Model("stackgan")},
    _protocol,
)
