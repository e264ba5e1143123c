"""Fusion-S2iGan's six tables."""

from __future__ import annotations

from collections.abc import Callable

from gancli.scores.results import ScoreRow
from gancli.scores.tables.paper import Paper, PaperTable, count, other_classes

# Fusion-S2iGan, section 5.1: one image per test caption, "30k" for CUB and "10k" for Oxford-102; from and to
IMAGES = {
    "cub": (29_330, 30_000),
    "oxford102": (10_000, 11_550),
    "flickr8k": (4_970, 5_000),
    "places": (2_779, 2_779),
}
SIDE = 256
# S2IGAN code: images of each querying image
_MAP_GALLERY = 10
_RECALL_GALLERY = {"flickr8k": 5, "places": 1}
_FUSION = "Fusion-S2iGan"


def _why_not(score: ScoreRow) -> str:
    reasons = []
    if score.method == "real":
        reasons.append("real images: the ceiling of this network")
    if score.dataset not in IMAGES:
        reasons.append(f"dataset {score.dataset}")
    elif score.split != "test":
        reasons.append(f"split {score.split or 'unknown'}")
    if score.image_size != SIDE:
        reasons.append(f"images of {score.image_size or 'unknown'} pixels, not {SIDE}")
    least, most = IMAGES.get(score.dataset, (0, 0))
    many = score.metric in ("fid", "inception_score") and score.method != "real" and most > 0
    if many and (score.n_fake is None or not least <= score.n_fake <= most):
        wanted = f"{least:,}" if least == most else f"{least:,} to {most:,}"
        reasons.append(f"{count(score.n_fake)} images, not {wanted}")
    if score.metric == "fid":
        if score.network != "inception":
            reasons.append(f"features of {score.network}, not of the Inception network")
    elif score.metric == "inception_score" and score.dataset not in _RECALL_GALLERY:
        reasons.append(other_classes(score))
    elif not score.network.startswith("imagenet"):
        what = "classes" if score.metric == "inception_score" else "features"
        reasons.append(f"{what} of {score.network}, not of ImageNet's Inception-v3")
    each = _MAP_GALLERY if score.metric == "map" else _RECALL_GALLERY.get(score.dataset)
    if score.metric in ("map", "recall_at_50") and score.method != "real" and each is not None:
        gallery = f"gallery of generated images: {each} of each of these images;"
        if score.metric == "map" and not score.protocol.startswith("mAP of 2 real images per class,"):
            reasons.append("other queries than 2 real images per class")
        if gallery not in score.protocol:
            reasons.append(f"another gallery than {each} generated images of each querying image")
    return "; ".join(reasons)


def _substitutes(part: str, full: str, **others: str) -> tuple[Callable[[str], bool], dict[str, str]]:
    """Which methods belong to a table of Fusion-S2iGan's substitutes of a part, and what it calls them."""
    names = {_FUSION: full, **{f"{_FUSION}, {part} {value}": name for value, name in others.items()}}
    return lambda method: method == _FUSION or method.startswith(f"{_FUSION}, {part} "), names


def _whole(method: str) -> bool:
    """Whether it is no substitute of Tables 3 to 6."""
    parts = tuple(f"{_FUSION}, {part} " for part in ("attention", "fusion", "block", "modules"))
    return not method.startswith(parts)


_BIRDS_AND_FLOWERS = ("inception_score", "fid", "map")
_SCENES = ("inception_score", "fid", "recall_at_50")

PAPER = Paper(
    (
        PaperTable("1", "Table 1: synthesised speech", _BIRDS_AND_FLOWERS, _whole),
        PaperTable("2", "Table 2: recorded speech", _SCENES, _whole),
        PaperTable(
            "3",
            "Table 3: substitutes of the pixel attention",
            _BIRDS_AND_FLOWERS,
            *_substitutes("attention", "PAM", bam="BAM", polarized="PolarizedAttn", cot="CoTAttn"),
        ),
        PaperTable(
            "4",
            "Table 4: substitutes of the weighted fusion",
            ("inception_score", "fid", "map", "recall_at_50"),
            *_substitutes("fusion", "WFM", add="Addition", mul="Product"),
        ),
        PaperTable(
            "5",
            "Table 5: substitutes of the visual+speech fusion module (there is no public code of DTGAN's: "
            "dtgan-approx is not it, and not compared)",
            _BIRDS_AND_FLOWERS,
            *_substitutes("block", "VSFM", dfgan="DF-GAN"),
        ),
        PaperTable(
            "6",
            "Table 6: fusion modules in a block",
            _SCENES,
            *_substitutes("modules", "dual-module", **{"1": "single-module"}),
        ),
    ),
    _why_not,
    {
        "fid": "the paper does not say which FID network and which crops of the real images it used",
        "inception_score": "torchvision's Inception-v3, as in S2IGAN's code",
        "map": "which two images of each class query, and how real images were prepared, is not published",
        "recall_at_50": "how real images were prepared is not published",
    },
)
