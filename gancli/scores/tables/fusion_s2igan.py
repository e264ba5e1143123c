"""Fusion-S2iGan's six tables."""

from __future__ import annotations

from collections.abc import Callable

from gancli.scores.results import ScoreRow
from gancli.scores.tables.paper import STACKGAN_INCEPTION, Model, Paper, PaperTable, Protocol

KIND = "fusion-s2igan"

_MODELS = {
    "Fusion-S2iGan": Model(KIND),
    "DF-GAN": Model(KIND, {"condition": "sentence", "model.block": "dfgan"}),
}

# Fusion-S2iGan, section 5.1: one image per test caption, "30k" for CUB and "10k" for Oxford-102
IMAGES = {
    "cub": range(29_330, 30_001),
    "oxford102": range(10_000, 11_551),
    "flickr8k": range(4_970, 5_001),
    "places": 2_779,
}
_SHARED: Protocol = {
    "images": "generated",
    "dataset": tuple(IMAGES),
    "split": "test",
    "image_size": 256,
}
# S2IGAN code: images of each querying image
_MAP_GALLERY = 10
_RECALL_GALLERY = {"flickr8k": 5, "places": 1}


def _protocol(score: ScoreRow) -> Protocol:
    wanted = dict(_SHARED)
    scene = score.dataset in _RECALL_GALLERY
    network = "inception" if score.metric == "fid" else "imagenet"
    if score.metric == "inception_score" and not scene:
        network = STACKGAN_INCEPTION
    wanted["network_kind"] = network
    if score.metric in ("fid", "inception_score") and score.dataset in IMAGES:
        wanted["n_fake"] = IMAGES[score.dataset]
    each = _MAP_GALLERY if score.metric == "map" else _RECALL_GALLERY.get(score.dataset)
    if score.metric == "map":
        wanted["queries_per_class"] = 2
    if score.metric in ("map", "recall_at_50") and each is not None:
        wanted |= {"gallery_least": each, "gallery_most": each}
    return wanted


# Parts of the generator that Tables 3 to 6 replace, the first one deciding where several are
_PARTS = ("model.block", "model.attention", "model.fusion", "model.modules")


def _replaced(score: ScoreRow) -> str:
    """Return the part that a model replaces; empty for the whole model, for DF-GAN and for other models."""
    if score.kind != KIND or score.ablation == _MODELS["DF-GAN"].ablation:
        return ""
    return next((part for part in _PARTS if part in score.ablation), "")


def _takes(part: str) -> Callable[[ScoreRow], bool]:
    return lambda score: _replaced(score) == part or _MODELS["Fusion-S2iGan"].made(score)


def _models(part: str, full: str, **others: object) -> dict[str, Model]:
    """Return the names that a table gives to the whole model and to those that replace a part."""
    return {full: Model(KIND), **{name: Model(KIND, {part: value}) for name, value in others.items()}}


_BIRDS_AND_FLOWERS = ("inception_score", "fid", "map")
_SCENES = ("inception_score", "fid", "recall_at_50")

PAPER = Paper(
    (
        PaperTable(
            "1", "Table 1: synthesised speech", _BIRDS_AND_FLOWERS, lambda score: not _replaced(score)
        ),
        PaperTable("2", "Table 2: recorded speech", _SCENES, lambda score: not _replaced(score)),
        PaperTable(
            "3",
            "Table 3: substitutes of the pixel attention",
            _BIRDS_AND_FLOWERS,
            _takes("model.attention"),
            _models("model.attention", "PAM", BAM="bam", PolarizedAttn="polarized", CoTAttn="cot"),
        ),
        PaperTable(
            "4",
            "Table 4: substitutes of the weighted fusion",
            ("inception_score", "fid", "map", "recall_at_50"),
            _takes("model.fusion"),
            _models("model.fusion", "WFM", Addition="add", Product="mul"),
        ),
        PaperTable(
            "5",
            "Table 5: substitutes of the visual+speech fusion module (there is no public code of DTGAN's: "
            "dtgan-approx is not it, and not compared)",
            _BIRDS_AND_FLOWERS,
            _takes("model.block"),
            _models("model.block", "VSFM", **{"DF-GAN": "dfgan"}),
        ),
        PaperTable(
            "6",
            "Table 6: fusion modules in a block",
            _SCENES,
            _takes("model.modules"),
            _models("model.modules", "dual-module", **{"single-module": 1}),
        ),
    ),
    _MODELS,
    _protocol,
    {
        "fid": "the paper does not say which FID network and which crops of the real images it used",
        "inception_score": "torchvision's Inception-v3, as in S2IGAN's code",
        "map": "which two images of each class query, and how real images were prepared, is not published",
        "recall_at_50": "how real images were prepared is not published",
    },
)
