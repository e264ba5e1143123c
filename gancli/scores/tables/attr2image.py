"""What attr2image shows as figures: our numbers for its ablations (Fig. 2) and its images (Fig. 4 and 5)."""

from __future__ import annotations

from gancli.scores.tables.paper import Paper, PaperTable

_PAINTED = ("attr2image", "shape2image", "real")

PAPER = Paper(
    (
        PaperTable(
            "fig2",
            "Figure 2: silhouettes, with and without attributes and the local discriminator (the paper has no numbers; "
            "read them beside those of the real masks)",
            ("mask_fid", "mask_nearest_iou", "foreground_share", "mask_pieces", "size_rank_correlation"),
        ),
        PaperTable(
            "fig4",
            "Figures 4 and 5: images painted on silhouettes (the paper has no numbers)",
            ("fid", "agreement_primary_colour", "agreement_belly_colour", "silhouette_iou"),
            lambda method: method.startswith(_PAINTED),
        ),
    ),
    lambda score: "the paper reports no numbers",
)
