"""CSF-GAN's four tables."""

from __future__ import annotations

from gancli.scores.results import ScoreRow
from gancli.scores.tables.paper import Model, Paper, PaperTable, Protocol

KIND = "csfgan"
IMAGES = {"cub": 2_933, "oxford102": 1_155}  # test images, section 4.1

# CSF-GAN, section 4.1: images of 256 pixels with a hole of 128 x 128 in the middle
_SHARED: Protocol = {
    "image_size": 256,
    "dataset": tuple(IMAGES),
    "split": "test",
    "hole_kind": "center",
    "hole_center": 0.5,
}
_METRICS: dict[str, Protocol] = {
    "fid": {"network_kind": "inception"},
    "ssim": {"ssim_window": "uniform"},
    "psnr": {},
}
_COMPONENTS = {"model.fusion", "model.word_discriminator"}
_BASELINES = {
    "baseline": Model(KIND, {"model.fusion": "none", "model.word_discriminator": False}),
    "baseline+SFM": Model(KIND, {"model.word_discriminator": False}),
    "baseline+WLD": Model(KIND, {"model.fusion": "none"}),
}
_EDGE = "loss.edge"


def _protocol(score: ScoreRow) -> Protocol | str:
    if score.metric == "training_hours":
        return "hours of another machine: the paper does not name its own, the note names ours"
    if score.metric == "parameters_million":
        return {"image_size": _SHARED["image_size"]}
    wanted = {**_SHARED, **_METRICS.get(score.metric, {})}
    if score.dataset in IMAGES:
        wanted["n_fake"] = IMAGES[score.dataset]
    return wanted


def _is_whole(score: ScoreRow) -> bool:
    return score.kind == KIND and not score.ablation and score.as_trained


def _has_components(score: ScoreRow) -> bool:
    return score.kind == KIND and bool(_COMPONENTS & score.ablation.keys())


def _has_edge(score: ScoreRow) -> bool:
    return score.kind == KIND and score.ablation.keys() == {_EDGE}


PAPER = Paper(
    (
        PaperTable(
            "1",
            "Table 1: filled images, whole (lower is better for FID, higher for PSNR and SSIM)",
            tuple(_METRICS),
            lambda score: score.kind != KIND or not score.ablation,
        ),
        PaperTable(
            "2",
            "Table 2: size of the generator and time of training",
            ("parameters_million", "training_hours"),
            lambda score: score.kind == KIND,
        ),
        PaperTable(
            "3",
            "Table 3: the parts of CSF-GAN",
            tuple(_METRICS),
            lambda score: _is_whole(score) or _has_components(score),
            _BASELINES,
        ),
        PaperTable(
            "4",
            "Table 4: the weight of the edge loss, FID (lower is better)",
            ("fid",),
            lambda score: _is_whole(score) or _has_edge(score),
            {
                "lambda_edge=0.5": Model(KIND),
                "no edge loss": Model(KIND, {_EDGE: 0.0}),
                **{f"lambda_edge={weight:g}": Model(KIND, {_EDGE: weight}) for weight in (0.1, 0.2, 1.0)},
            },
        ),
    ),
    {"CSF-GAN": Model(KIND)},
    _protocol,
    {
        "fid": "the paper does not say which captions and which FID network; its authors' public code has one random "
        "caption of each image, pytorch-fid's network, and leaves out the last batch (2,932 and 1,152 images)",
        "psnr": "the paper does not say how it measures; its authors' public code takes the whole image, with its "
        "known pixels, and the mean over images",
        "ssim": "the paper does not say how it measures; its authors' public code takes the whole image, with its "
        "known pixels, uniform windows of 7x7, and the mean over images",
        "parameters_million": "the paper does not say what it counts; the generator alone gives its number",
    },
    takes=lambda score: score.metric != "fid" or score.filled,
)
