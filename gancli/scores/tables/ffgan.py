"""FF-GAN's Tables 1 and 2 and the numbers of its Figure 7."""

from __future__ import annotations

from gancli.scores.results import ScoreRow
from gancli.scores.tables.paper import Model, Paper, PaperTable, Protocol

KIND = "ffgan"

# FF-GAN, section 4.1.2
_SHARED: Protocol = {
    "images": "generated",
    "dataset": ("cub", "coco"),
    "split": "test",
    "n_fake": 30_000,
    "image_size": 256,
}
_METRICS: dict[str, Protocol] = {
    "fid": {"network_kind": "inception"},
    "r_precision": {"backbone": "inception_v3", "k": 1, "candidates": 100},
}


def _protocol(score: ScoreRow) -> Protocol:
    return {**_SHARED, **_METRICS.get(score.metric, {})}


def _is_no_ablation(score: ScoreRow) -> bool:
    return score.kind != KIND or not score.ablation


PAPER = Paper(
    (
        PaperTable(
            "1", "Table 1: R-precision (per cent, higher is better)", ("r_precision",), _is_no_ablation
        ),
        PaperTable("2", "Table 2: FID (lower is better)", ("fid",), _is_no_ablation),
        PaperTable(
            "fig7",
            "Figure 7: the parts of FF-GAN, final values (the text's; the curves are not published as numbers)",
            ("fid", "r_precision"),
            lambda score: score.kind == KIND,
            {
                "baseline": Model(KIND, {"model.ff_block": False, "model.gsr": False}),
                "baseline+GSR": Model(KIND, {"model.ff_block": False}),
                "baseline+FF-Block": Model(KIND, {"model.gsr": False}),
            },
        ),
    ),
    {"FF-GAN": Model(KIND)},
    _protocol,
    {
        "fid": "the published FIDs of this family come from DM-GAN's script with torchvision's ImageNet Inception; "
        "with the standard network DM-GAN's own CUB model scores 11.91 instead of 15.34",
        "r_precision": "the published value was measured with AttnGAN's released encoder, ours with the one named",
    },
)
