"""Names of datasets and metrics in tables, and which values are good."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

DATASETS = {
    "cub": "CUB-200",
    "coco": "COCO",
    "oxford102": "Oxford-102",
    "flickr8k": "Flickr8k",
    "places": "Places-subset",
}


@dataclass(frozen=True)
class Metric:
    """Appearance of a metric in a table.

    Attributes:
        label: Name, with its unit.
        better: "lower" or "higher"; empty where neither is.
        spread: The things over which a score's own standard deviation is taken; empty where it has none.
        digits: Decimals.
    """

    label: str
    better: Literal["lower", "higher", ""] = ""
    spread: str = ""
    digits: int = 2

    @property
    def head(self) -> str:
        """Head of its column: the name, and an arrow towards better values."""
        return self.label + {"lower": " ↓", "higher": " ↑", "": ""}[self.better]


METRICS = {
    "r_precision": Metric("R-precision", "higher", "folds"),
    "fid": Metric("FID", "lower"),
    "kid": Metric("KID", "lower", "subsets", 4),
    "precision": Metric("precision (%)", "higher"),
    "recall": Metric("recall (%)", "higher"),
    "hole_fid": Metric("FID of the holes", "lower"),
    "spectrum": Metric("fine detail over real"),
    "inception_score": Metric("Inception score", "higher", "splits"),
    "map": Metric("mAP", "higher"),
    **{f"recall_at_{rank}": Metric(f"R@{rank}", "higher") for rank in (1, 5, 10, 50)},
    "human_rank": Metric("human rank", "lower", "rankings (standard error)"),
    "human_first_places": Metric("first places (%)", "higher", "rankings (standard error)"),
    "psnr": Metric("PSNR", "higher", "images"),
    "psnr_hole": Metric("PSNR of the hole", "higher", "images"),
    "ssim": Metric("SSIM", "higher", "images", 3),
    "ssim_hole": Metric("SSIM of the hole", "higher", "images", 3),
    "ms_ssim": Metric("MS-SSIM", "higher", "images", 3),
    "lpips": Metric("LPIPS", "lower", "images", 3),
    "diversity": Metric("diversity (LPIPS)", "higher", "captions", 3),
    **{
        name: Metric(f"{name[:2].upper()}{' of the hole' * name.endswith('hole')} (%)", "lower", "images")
        for name in ("l1", "l1_hole", "l2", "l2_hole")
    },
    "parameters_million": Metric("parameters (million)", "lower"),
    "training_hours": Metric("training (hours)", "lower"),
    "mask_fid": Metric("silhouette FID", "lower", digits=3),
    "mask_iou": Metric("IoU to the image's own silhouette (%)", "higher", "silhouettes"),
    "mask_nearest_iou": Metric("IoU to nearest training silhouette (%)"),
    "foreground_share": Metric("foreground (%)"),
    "mask_pieces": Metric("pieces"),
    "size_rank_correlation": Metric("size correlation", "higher", digits=3),
    "agreement_primary_colour": Metric("primary colour (%)", "higher"),
    "agreement_belly_colour": Metric("belly colour (%)", "higher"),
    "silhouette_iou": Metric("IoU with the silhouette (%)", "higher"),
}


def metric_of(name: str) -> Metric:
    """Return the appearance of a metric in a table; under its own name where it has no entry."""
    return METRICS.get(name, Metric(name))


def dataset_label(name: str) -> str:
    """Return the name of a dataset in a table."""
    return DATASETS.get(name, name)


def shown(name: str, value: float) -> str:
    """Return a value of a metric with its decimals, or in scientific notation where they would all be zero."""
    text = f"{value:.{metric_of(name).digits}f}"
    return f"{value:.1e}" if value and float(text) == 0 else text


def shown_difference(name: str, difference: float) -> str:
    """Return a difference of a metric with its sign and its decimals; without a sign where they are all zero."""
    digits = metric_of(name).digits
    text = f"{difference:+.{digits}f}"
    return text if float(text) else f"{0:.{digits}f}"
