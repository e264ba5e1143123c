"""CSF-GAN's four tables."""

from __future__ import annotations

from gancli.scores.results import HOLES, ScoreRow
from gancli.scores.tables.paper import Paper, PaperTable, count

# CSF-GAN, section 4.1: all test images of 256 pixels, a hole of 128 x 128 in the middle
IMAGES = {"cub": 2_933, "oxford102": 1_155}
SIDE = 256
CUT = "center 0.5"

_MODEL = "CSF-GAN"
_COMPONENTS = (
    "baseline",
    f"{_MODEL}, sentence fusion",
    f"{_MODEL}, word fusion",
)  # the last two are ours alone
_EDGE = f"{_MODEL}, lambda_edge"


def _why_not(score: ScoreRow) -> str:
    if score.metric == "training_hours":
        return "hours of another machine: the paper does not name its own, the note names ours"
    reasons = []
    if score.image_size != SIDE:
        reasons.append(f"images of {score.image_size or 'unknown'} pixels, not {SIDE}")
    if score.metric == "parameters_million":
        return "; ".join(reasons)
    if score.dataset not in IMAGES:
        reasons.append(f"dataset {score.dataset}")
    elif score.split != "test":
        reasons.append(f"split {score.split or 'unknown'}")
    elif score.n_fake != IMAGES[score.dataset]:
        reasons.append(f"{count(score.n_fake)} images, not the {IMAGES[score.dataset]:,} test images")
    holes = score.protocol.partition(HOLES)[2]
    if holes.partition(", seed ")[0] != CUT:
        reasons.append(f"holes {holes or 'unknown'}, not {CUT}")
    if score.metric == "fid" and score.network != "inception":
        reasons.append(f"features of {score.network}, not of the Inception network")
    if score.metric == "ssim" and "uniform 7x7 window" not in score.protocol:
        reasons.append("another window than the uniform 7x7 of the authors' code")
    return "; ".join(reasons)


_MEASURES = ("fid", "psnr", "ssim")

PAPER = Paper(
    (
        PaperTable(
            "1",
            "Table 1: filled images, whole (lower is better for FID, higher for PSNR and SSIM)",
            _MEASURES,
            lambda method: not method.startswith((*_COMPONENTS, _EDGE)),
        ),
        PaperTable(
            "2",
            "Table 2: size of the generator and time of training",
            ("parameters_million", "training_hours"),
            lambda method: method.startswith(_MODEL),
        ),
        PaperTable(
            "3",
            "Table 3: the parts of CSF-GAN",
            _MEASURES,
            lambda method: method == _MODEL or method.startswith(_COMPONENTS),
        ),
        PaperTable(
            "4",
            "Table 4: the weight of the edge loss, FID (lower is better)",
            ("fid",),
            lambda method: method == _MODEL or method.startswith(_EDGE),
            {
                _MODEL: "lambda_edge=0.5",
                f"{_EDGE} 0": "no edge loss",
                **{f"{_EDGE} {weight}": f"lambda_edge={weight}" for weight in ("0.1", "0.2", "1")},
            },
        ),
    ),
    _why_not,
    {
        "fid": "the paper does not say which captions and which FID network; its authors' public code has one random "
        "caption of each image, pytorch-fid's network, and leaves out the last batch (2,932 and 1,152 images)",
        "psnr": "the paper does not say how it measures; its authors' public code takes the whole image, with its "
        "known pixels, and the mean over images",
        "ssim": "the paper does not say how it measures; its authors' public code takes the whole image, with its "
        "known pixels, uniform windows of 7x7, and the mean over images",
        "parameters_million": "the paper does not say what it counts; the generator alone comes to its number",
    },
    takes=lambda score: score.metric != "fid" or HOLES in score.protocol,
)
