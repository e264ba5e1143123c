"""The lines of a table as CSV and Markdown."""

from __future__ import annotations

import csv
import dataclasses
import io
from collections.abc import Sequence
from dataclasses import dataclass

from gancli.scores.results import ScoreRow
from gancli.scores.tables.paper import count

DATASETS = {
    "cub": "CUB-200",
    "coco": "COCO",
    "oxford102": "Oxford-102",
    "flickr8k": "Flickr8k",
    "places": "Places-subset",
}
METRICS = {
    "r_precision": "R-precision ↑",
    "fid": "FID ↓",
    "inception_score": "Inception score ↑",
    "map": "mAP ↑",
    "recall_at_50": "R@50 ↑",
    "human_rank": "human rank ↓",
    "psnr": "PSNR ↑",
    "ssim": "SSIM ↑",
    "parameters_million": "parameters (million) ↓",
    "training_hours": "training (hours) ↓",
    "mask_fid": "mask FID ↓",
    "mask_nearest_iou": "IoU to nearest training mask (%)",
    "foreground_share": "foreground (%)",
    "mask_pieces": "pieces",
    "size_rank_correlation": "size correlation ↑",
    "agreement_primary_colour": "primary colour (%) ↑",
    "agreement_belly_colour": "belly colour (%) ↑",
    "silhouette_iou": "IoU with the silhouette (%) ↑",
}
_DIGITS = {"ssim": 3, "size_rank_correlation": 3, "mask_fid": 3}  # after the point, where it is not 2
_SCORE_COLUMNS = (
    "model",
    "model_hash",
    "split",
    "n_real",
    "n_fake",
    "image_size",
    "seed",
    "protocol",
    "network",
    "network_sha256",
    "resize",
    "gancli_version",
    "date",
)


@dataclass(frozen=True)
class TableRow:
    """A line of a table, the paper's or ours.

    Attributes:
        table: Its number in the paper: "1", "2" or "fig7".
        method: Name in the table.
        dataset: Short name.
        metric: One of `METRICS`.
        value: As published, or as measured.
        std: Likewise; None where there is none.
        source: "paper" or "gancli".
        delta: Ours minus the paper's value of the same method; None where the two cannot be compared.
        not_comparable: Why there is no delta; empty for the paper's rows and where there is one.
        note: The note of the paper's table, or of the score.
        input: What the paper's method draws from, "text", "speech" or "image"; empty for ours.
        score: Where our number comes from; None for the paper's rows.
    """

    table: str
    method: str
    dataset: str
    metric: str
    value: float
    std: float | None
    source: str
    delta: float | None = None
    not_comparable: str = ""
    note: str = ""
    input: str = ""
    score: ScoreRow | None = None


def csv_text(rows: Sequence[TableRow]) -> str:
    """A table as CSV: a line for each number, with the provenance of ours."""
    own = [field.name for field in dataclasses.fields(TableRow) if field.name != "score"]
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow([*own, *_SCORE_COLUMNS])
    for row in rows:
        cells = [getattr(row, name) for name in own]
        if row.delta is not None:
            cells[own.index("delta")] = f"{row.delta:.4f}"
        cells += ["" if row.score is None else getattr(row.score, name) for name in _SCORE_COLUMNS]
        writer.writerow(["" if cell is None else cell for cell in cells])
    return buffer.getvalue()


def markdown(title: str, rows: Sequence[TableRow]) -> str:
    """A table as Markdown: a line for each method, a column for each dataset and metric, notes below."""
    columns = list(dict.fromkeys((row.dataset, row.metric) for row in rows))
    if not columns:
        return f"## {title}\n\nNo score of ours yet.\n"
    several = len({metric for _, metric in columns}) > 1
    heads = [
        DATASETS.get(dataset, dataset) + (f" {METRICS[metric]}" if several else "")
        for dataset, metric in columns
    ]
    lines = [f"## {title}", "", f"| Method | {' | '.join(heads)} |", f"|---|{'---:|' * len(columns)}"]
    notes: list[str] = []

    def mark(text: str) -> str:
        if not text:
            return ""
        if text not in notes:
            notes.append(text)
        return f" [{notes.index(text) + 1}]"

    inputs = {row.input for row in rows if row.source == "paper"}
    methods = dict.fromkeys((row.method, row.input) for row in rows if row.source == "paper")
    for method, source in methods:
        cells = {
            (row.dataset, row.metric): _value(row) + mark(row.note)
            for row in rows
            if row.source == "paper" and (row.method, row.input) == (method, source)
        }
        label = f"{method} ({source})" if len(inputs) > 1 else method
        lines.append(f"| {_cell(label)} | {' | '.join(cells.get(column, '–') for column in columns)} |")
    for row in rows:
        if row.score is None:
            continue
        value = f"**{_value(row)}**"
        if row.delta is not None:
            value += f" ({row.delta:+.{_digits(row)}f})" + mark(row.note)
        else:
            value += mark(f"not comparable with the paper: {row.not_comparable}") + mark(row.note)
        cells = {(row.dataset, row.metric): value + mark(_provenance(row.score))}
        label = "real images" if row.method == "real" else f"{row.method}, gancli"
        lines.append(f"| {_cell(label)} | {' | '.join(cells.get(column, '–') for column in columns)} |")
    if all(row.score is None for row in rows):
        lines += ["", "No score of ours yet."]
    if notes:
        lines += ["", *(f"{number}. {_cell(note)}" for number, note in enumerate(notes, start=1))]
    return "\n".join(lines) + "\n"


def _digits(row: TableRow) -> int:
    return _DIGITS.get(row.metric, 2)


def _value(row: TableRow) -> str:
    digits = _digits(row)
    return f"{row.value:.{digits}f}" + ("" if row.std is None else f" ± {row.std:.{digits}f}")


def _provenance(score: ScoreRow) -> str:
    network = score.network + (f" ({score.network_sha256[:12]})" if score.network_sha256 else "")
    seed = "unknown" if score.seed is None else score.seed
    images = f"{count(score.n_fake)} generated and {count(score.n_real)} real images, seed {seed}"
    if (score.n_fake, score.n_real) == (0, 0):
        images = "a measure of the run"
    parts = (
        f"model {score.model} ({score.model_hash[:12]}), {score.dataset} {score.split}, {images}",
        score.protocol,
        ", ".join(filter(None, (network, score.resize))),
        f"gancli {score.gancli_version}, {score.date}",
    )
    return "; ".join(filter(None, parts))


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
