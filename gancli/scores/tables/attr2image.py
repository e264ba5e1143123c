"""attr2image shows figures: tables of our numbers for its ablations (Fig. 2) and its images (Figs. 4 and 5)."""

from __future__ import annotations

from gancli.scores.results import ScoreRow
from gancli.scores.tables.paper import Paper, PaperTable


def _shows_images(score: ScoreRow) -> bool:
    return score.images == "real" or (score.kind == "attr2image" and score.ablation.get("stage") != "shape")


PAPER = Paper(
    (
        PaperTable(
            "fig2",
            "Figure 2: silhouettes, with and without attributes and the local discriminator (the paper has no numbers; "
            "compare them with those of the real silhouettes)",
            ("mask_fid", "mask_nearest_iou", "foreground_share", "mask_pieces", "size_rank_correlation"),
        ),
        PaperTable(
            "fig4",
            "Figures 4 and 5: images painted on silhouettes (the paper has no numbers)",
            ("fid", "agreement_primary_colour", "agreement_belly_colour", "silhouette_iou"),
            _shows_images,
        ),
    ),
    {},
    lambda score: "the paper reports no numbers",
)
