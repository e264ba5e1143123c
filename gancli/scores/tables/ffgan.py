"""FF-GAN's Tables 1 and 2 and the numbers of its Figure 7."""

from __future__ import annotations

from gancli.scores.results import ScoreRow
from gancli.scores.tables.paper import Paper, PaperTable, count

# What FF-GAN, section 4.1.2, says of its scores
IMAGES = 30_000
SIDE = 256
DATASETS = ("cub", "coco")


def _why_not(score: ScoreRow) -> str:
    reasons = []
    if score.method == "real":
        reasons.append("real images: the ceiling of this encoder")
    if score.dataset not in DATASETS:
        reasons.append(f"dataset {score.dataset}")
    elif score.split != "test":
        reasons.append(f"split {score.split or 'unknown'}")
    if score.method != "real" and score.n_fake != IMAGES:
        reasons.append(f"{count(score.n_fake)} images, not {IMAGES:,}")
    if score.image_size != SIDE:
        reasons.append(f"images of {score.image_size or 'unknown'} pixels, not {SIDE}")
    if score.metric == "fid" and score.network != "inception":
        reasons.append(f"features of {score.network}, not of the Inception network")
    if score.metric == "r_precision":
        if "(inception_v3)" not in score.network:
            reasons.append(f"{score.network} is no Inception-v3 DAMSM")
        if not score.protocol.startswith("R = 1 of 100:"):
            reasons.append(f"protocol {score.protocol.partition(':')[0]}")
    return "; ".join(reasons)


PAPER = Paper(
    (
        PaperTable(
            "1",
            "Table 1: R-precision (per cent, higher is better)",
            ("r_precision",),
            lambda method: not method.startswith("baseline"),
        ),
        PaperTable(
            "2",
            "Table 2: FID (lower is better)",
            ("fid",),
            lambda method: not method.startswith("baseline"),
        ),
        PaperTable(
            "fig7",
            "Figure 7: the parts of FF-GAN, final values (the text's; the curves are not published as numbers)",
            ("fid", "r_precision"),
            lambda method: method.startswith(("baseline", "FF-GAN")),
        ),
    ),
    _why_not,
    {
        "fid": "the published FIDs of this family come from DM-GAN's script with torchvision's ImageNet Inception; "
        "with the standard network DM-GAN's own CUB model scores 11.91 instead of 15.34",
        "r_precision": "the published value was measured with AttnGAN's released encoder, ours with the one named",
    },
)
