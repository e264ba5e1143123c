"""Tables as CSV and Markdown text."""

from __future__ import annotations

import csv
import dataclasses
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from gancli.scores.results import COLUMNS, ScoreRow, cells
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
    "mask_fid": "silhouette FID ↓",
    "mask_nearest_iou": "IoU to nearest training silhouette (%)",
    "foreground_share": "foreground (%)",
    "mask_pieces": "pieces",
    "size_rank_correlation": "size correlation ↑",
    "agreement_primary_colour": "primary colour (%) ↑",
    "agreement_belly_colour": "belly colour (%) ↑",
    "silhouette_iou": "IoU with the silhouette (%) ↑",
}
_DIGITS = {"ssim": 3, "size_rank_correlation": 3, "mask_fid": 3}  # decimals, where they are not 2


@dataclass(frozen=True)
class TableRow:
    """A number of a table, the paper's or ours.

    Attributes:
        table: Number of the table in the paper: "1", "2" or "fig7".
        method: Name in the table.
        dataset: Short name.
        metric: One of `METRICS`.
        value: Published or measured value.
        std: Its standard deviation; None where there is none.
        source: "paper" or "gancli".
        delta: Our value minus the paper's for the same method; None where the two cannot be compared.
        not_comparable: Reason why there is no delta; empty for the paper's rows and where there is one.
        note: Note of the paper's table, or of the score.
        input: Input of the paper's method, "text", "speech" or "image"; empty for ours.
        score: Our score; None for the paper's rows.
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

    @property
    def column(self) -> tuple[str, str]:
        """Dataset and metric, which share a column."""
        return self.dataset, self.metric


_OWN_COLUMNS = tuple(field.name for field in dataclasses.fields(TableRow) if field.name != "score")
_SCORE_COLUMNS = tuple(name for name in COLUMNS if name not in _OWN_COLUMNS)


def csv_text(rows: Sequence[TableRow]) -> str:
    """Return a table as CSV: a line for each number, with all fields of our scores."""
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow([*_OWN_COLUMNS, *_SCORE_COLUMNS])
    for row in rows:
        own = [getattr(row, name) for name in _OWN_COLUMNS]
        if row.delta is not None:
            own[_OWN_COLUMNS.index("delta")] = f"{row.delta:.4f}"
        fields = {} if row.score is None else cells(row.score)
        writer.writerow([*("" if cell is None else cell for cell in own), *map(fields.get, _SCORE_COLUMNS)])
    return buffer.getvalue()


class _Notes:
    """Numbered notes below a table."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def mark(self, *texts: str) -> str:
        """Return the marks of notes, each of which stands below the table once; none for an empty one."""
        marks = ""
        for text in filter(None, texts):
            if text not in self.texts:
                self.texts.append(text)
            marks += f" [{self.texts.index(text) + 1}]"
        return marks


def markdown(title: str, rows: Sequence[TableRow]) -> str:
    """Return a table as Markdown: a line for each method, a column for each dataset and metric, notes below."""
    columns = list(dict.fromkeys(row.column for row in rows))
    if not columns:
        return f"## {title}\n\n{_NOTHING}\n"
    several = len({metric for _, metric in columns}) > 1
    heads = [
        DATASETS.get(dataset, dataset) + (f" {METRICS[metric]}" if several else "")
        for dataset, metric in columns
    ]
    notes = _Notes()
    lines = [f"## {title}", "", f"| Method | {' | '.join(heads)} |", f"|---|{'---:|' * len(columns)}"]
    for label, cells_of in (*_published_lines(rows, notes), *_our_lines(rows, notes)):
        lines.append(f"| {_cell(label)} | {' | '.join(cells_of.get(column, '–') for column in columns)} |")
    if all(row.score is None for row in rows):
        lines += ["", _NOTHING]
    if notes.texts:
        lines += ["", *(f"{number}. {_cell(note)}" for number, note in enumerate(notes.texts, start=1))]
    return "\n".join(lines) + "\n"


_NOTHING = "No score of ours yet."
_Line = tuple[str, dict[tuple[str, str], str]]  # label, and cell of each column


def _published_lines(rows: Sequence[TableRow], notes: _Notes) -> Iterator[_Line]:
    """Yield a line for each method of the paper and its input."""
    published = [row for row in rows if row.source == "paper"]
    several_inputs = len({row.input for row in published}) > 1
    for method, source in dict.fromkeys((row.method, row.input) for row in published):
        own = [row for row in published if (row.method, row.input) == (method, source)]
        label = f"{method} ({source})" if several_inputs else method
        yield label, {row.column: _value(row) + notes.mark(row.note) for row in own}


def _our_lines(rows: Sequence[TableRow], notes: _Notes) -> Iterator[_Line]:
    """Yield a line for each of our scores."""
    for row in rows:
        if row.score is None:
            continue
        if row.delta is None:
            beside = notes.mark(f"not comparable with the paper: {row.not_comparable}", row.note)
        else:
            beside = f" ({row.delta:+.{_digits(row)}f})" + notes.mark(row.note)
        label = "real images" if row.score.images == "real" else f"{row.method}, gancli"
        yield label, {row.column: f"**{_value(row)}**{beside}{notes.mark(_provenance(row.score))}"}


def _digits(row: TableRow) -> int:
    return _DIGITS.get(row.metric, 2)


def _value(row: TableRow) -> str:
    digits = _digits(row)
    return f"{row.value:.{digits}f}" + ("" if row.std is None else f" ± {row.std:.{digits}f}")


def _provenance(score: ScoreRow) -> str:
    network = score.network + (f" ({score.network_sha256[:12]})" if score.network_sha256 else "")
    seed = "unknown" if score.seed is None else score.seed
    images = f"{count(score.n_fake)} generated and {count(score.n_real)} real images, seed {seed}"
    if score.images == "none":
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
