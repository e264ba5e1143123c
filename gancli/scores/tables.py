"""The papers' tables with our numbers beside the published ones, as CSV and Markdown.

A published number and ours stand side by side with what separates them: the difference is only computed where the
stated protocol is the same, and where it is not, the reason stands in its place.
"""

from __future__ import annotations

import csv
import dataclasses
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from gancli.config import recipes_folder
from gancli.errors import DataError
from gancli.files import atomic_file
from gancli.scores.results import ScoreRow, read_rows

# What FF-GAN, section 4.1.2, says of its scores
PAPER_PICTURES = 30_000
PAPER_SIDE = 256
PAPER_DATASETS = {"cub": "CUB-200", "coco": "COCO"}
METRICS = {"r_precision": "R-precision ↑", "fid": "FID ↓"}
CAVEATS = {
    "fid": "the published FIDs of this family come from DM-GAN's script with torchvision's ImageNet Inception; "
    "with the standard network DM-GAN's own CUB model scores 11.91 instead of 15.34",
    "r_precision": "the published value was measured with AttnGAN's released encoder, ours with the one named",
}


@dataclass(frozen=True)
class TableRow:
    """A line of a table, the paper's or ours.

    Attributes:
        table: "1", "2" or "fig7".
        method: Name in the table.
        dataset: Short name.
        metric: "fid" or "r_precision".
        value: As published, or as measured.
        std: Likewise; None where there is none.
        source: "paper" or "gancli".
        delta: Ours minus the paper's value of the same method; None where the two cannot be compared.
        not_comparable: Why there is no delta; empty for the paper's rows and where there is one.
        note: The note of the paper's table, or of the score.
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
    score: ScoreRow | None = None


@dataclass(frozen=True)
class TableReport:
    """What `table_ffgan` wrote.

    Attributes:
        files: CSV and Markdown files.
        rows: All lines of all tables.
        markdown: The text of all Markdown files.
    """

    files: tuple[Path, ...]
    rows: tuple[TableRow, ...]
    markdown: str


_TITLES = {
    "1": "Table 1: R-precision (per cent, higher is better)",
    "2": "Table 2: FID (lower is better)",
    "fig7": "Figure 7: the parts of FF-GAN, final values (the text's; the curves are not published as numbers)",
}
_FILES = {"1": "ffgan-table1", "2": "ffgan-table2", "fig7": "ffgan-fig7"}
_SCORE_COLUMNS = (
    "model",
    "model_hash",
    "split",
    "n_real",
    "n_fake",
    "picture_size",
    "seed",
    "protocol",
    "network",
    "network_sha256",
    "resize",
    "gancli_version",
    "date",
)


def table_ffgan(results: Path, out: Path) -> TableReport:
    """Writes Tables 1 and 2 and the numbers of Fig. 7 of FF-GAN with our scores.

    Args:
        results: A results.csv; of several scores of the same thing the last one counts.
        out: Folder for three CSV and three Markdown files; made if need be.

    Raises:
        DataError: results.csv is missing or broken.
    """
    paper = read_paper("ffgan")
    scores = _latest(read_rows(results))
    rows: list[TableRow] = []
    for table, metrics in (("1", ("r_precision",)), ("2", ("fid",)), ("fig7", ("fid", "r_precision"))):
        published = [row for row in paper if row.table == table]
        rows += published
        wanted = [score for score in scores if score.metric in metrics]
        if table == "fig7":
            wanted = [score for score in wanted if score.method.startswith(("baseline", "FF-GAN"))]
        else:
            wanted = [score for score in wanted if not score.method.startswith("baseline")]
        rows += [_ours(table, score, published) for score in wanted]
    out.mkdir(parents=True, exist_ok=True)
    files, texts = [], []
    for table, stem in _FILES.items():
        lines = [row for row in rows if row.table == table]
        texts.append(_markdown(_TITLES[table], lines))
        for path, text in ((out / f"{stem}.csv", _csv(lines)), (out / f"{stem}.md", texts[-1])):
            with atomic_file(path) as temporary:
                temporary.write_text(text, encoding="utf-8")
            files.append(path)
    return TableReport(tuple(files), tuple(rows), "\n".join(texts))


def read_paper(name: str) -> list[TableRow]:
    """The published numbers of a paper, from recipes/tables.

    Raises:
        DataError: There are none for that paper, or the file is broken.
    """
    path = recipes_folder() / "tables" / f"{name}.csv"
    try:
        with path.open(encoding="utf-8", newline="") as file:
            return [
                TableRow(
                    record["table"],
                    record["method"],
                    record["dataset"],
                    record["metric"],
                    float(record["value"]),
                    float(record["std"]) if record["std"] else None,
                    "paper",
                    note=record["note"],
                )
                for record in csv.DictReader(file)
            ]
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise DataError(
            f"{path}: the paper's numbers cannot be read ({error})", "Install gancli again."
        ) from error


def why_not_comparable(score: ScoreRow) -> str:
    """What keeps a score from being compared with FF-GAN's published one; empty where nothing does."""
    reasons = []
    if score.method == "real":
        reasons.append("real pictures: the ceiling of this encoder")
    if score.dataset not in PAPER_DATASETS:
        reasons.append(f"dataset {score.dataset}")
    elif score.split != "test":
        reasons.append(f"split {score.split or 'unknown'}")
    if score.method != "real" and score.n_fake != PAPER_PICTURES:
        reasons.append(f"{_count(score.n_fake)} pictures, not {PAPER_PICTURES:,}")
    if score.picture_size != PAPER_SIDE:
        reasons.append(f"pictures of {score.picture_size or 'unknown'} pixels, not {PAPER_SIDE}")
    if score.metric == "fid" and score.network != "inception":
        reasons.append(f"features of {score.network}, not of the Inception network")
    if score.metric == "r_precision":
        if "(inception_v3)" not in score.network:
            reasons.append(f"{score.network} is no Inception-v3 DAMSM")
        if not score.protocol.startswith("R = 1 of 100:"):
            reasons.append(f"protocol {score.protocol.partition(':')[0]}")
    return "; ".join(reasons)


def _latest(scores: Sequence[ScoreRow]) -> list[ScoreRow]:
    passing = {"value", "std", "date", "note", "gancli_version"}
    kept: dict[tuple[object, ...], ScoreRow] = {}
    for score in scores:
        key = tuple(value for name, value in dataclasses.asdict(score).items() if name not in passing)
        kept.pop(key, None)  # so that a repeated score stands where its last one does
        kept[key] = score
    return list(kept.values())


def _ours(table: str, score: ScoreRow, published: Sequence[TableRow]) -> TableRow:
    reason = why_not_comparable(score)
    delta, note = None, score.note
    if not reason:
        same = (score.method, score.dataset, score.metric)
        value = next((row.value for row in published if (row.method, row.dataset, row.metric) == same), None)
        if value is None:
            reason = f"the paper gives no value of {score.method} on {score.dataset}"
        else:
            delta = score.value - value
            note = "; ".join(filter(None, (note, CAVEATS[score.metric])))
    return TableRow(
        table,
        score.method,
        score.dataset,
        score.metric,
        score.value,
        score.std,
        "gancli",
        delta,
        reason,
        note,
        score,
    )


# --- writing --------------------------------------------------------------------------------------------------


def _csv(rows: Sequence[TableRow]) -> str:
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


def _markdown(title: str, rows: Sequence[TableRow]) -> str:
    columns = list(dict.fromkeys((row.dataset, row.metric) for row in rows))
    several = len({metric for _, metric in columns}) > 1
    heads = [
        PAPER_DATASETS.get(dataset, dataset) + (f" {METRICS[metric]}" if several else "")
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

    methods = dict.fromkeys(row.method for row in rows if row.source == "paper")
    for method in methods:
        cells = {
            (row.dataset, row.metric): _value(row) + mark(row.note)
            for row in rows
            if row.source == "paper" and row.method == method
        }
        lines.append(f"| {_cell(method)} | {' | '.join(cells.get(column, '–') for column in columns)} |")
    for row in rows:
        if row.score is None:
            continue
        value = f"**{_value(row)}**"
        if row.delta is not None:
            value += f" ({row.delta:+.2f})" + mark(row.note)
        else:
            value += mark(f"not comparable with the paper: {row.not_comparable}") + mark(row.note)
        cells = {(row.dataset, row.metric): value + mark(_provenance(row.score))}
        label = "real pictures" if row.method == "real" else f"{row.method}, gancli"
        lines.append(f"| {_cell(label)} | {' | '.join(cells.get(column, '–') for column in columns)} |")
    if all(row.score is None for row in rows):
        lines += ["", "No score of ours yet."]
    if notes:
        lines += ["", *(f"{number}. {_cell(note)}" for number, note in enumerate(notes, start=1))]
    return "\n".join(lines) + "\n"


def _value(row: TableRow) -> str:
    return f"{row.value:.2f}" + ("" if row.std is None else f" ± {row.std:.2f}")


def _provenance(score: ScoreRow) -> str:
    return (
        f"model {score.model} ({score.model_hash[:12]}), {score.dataset} {score.split}, "
        f"{_count(score.n_fake)} generated and {_count(score.n_real)} real pictures, "
        f"seed {'unknown' if score.seed is None else score.seed}; {score.protocol}; "
        f"{score.network} ({score.network_sha256[:12]}), {score.resize}; "
        f"gancli {score.gancli_version}, {score.date}"
    )


def _count(number: int | None) -> str:
    return "unknown many" if number is None else f"{number:,}"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
