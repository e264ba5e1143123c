"""The papers' tables with our numbers beside the published ones, as CSV and Markdown.

A published number and ours stand side by side with what separates them: the difference is only computed where the
stated protocol is the same, and where it is not, the reason stands in its place.
"""

from __future__ import annotations

import csv
import dataclasses
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from gancli.config import recipes_folder
from gancli.errors import DataError, UsageError
from gancli.files import atomic_file
from gancli.scores.results import ScoreRow, read_rows

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
}


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
        input: What the paper's method draws from, "text" or "speech"; empty for ours.
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


@dataclass(frozen=True)
class TableReport:
    """What `table` wrote.

    Attributes:
        files: CSV and Markdown files.
        rows: All lines of all tables.
        markdown: The text of all Markdown files.
    """

    files: tuple[Path, ...]
    rows: tuple[TableRow, ...]
    markdown: str


@dataclass(frozen=True)
class PaperTable:
    """One table of a paper.

    Attributes:
        number: "1", "2" or "fig7", as in recipes/tables.
        title: Of the Markdown file.
        metrics: That stand in it.
        takes: Whether a method of ours belongs here.
        names: What the table calls a method of ours, where it is not our name.
    """

    number: str
    title: str
    metrics: tuple[str, ...]
    takes: Callable[[str], bool] = lambda method: True
    names: Mapping[str, str] = field(default_factory=dict)

    @property
    def stem(self) -> str:
        """Of its files, after the paper's name."""
        return self.number if self.number.startswith("fig") else f"table{self.number}"


@dataclass(frozen=True)
class Paper:
    """A paper whose tables can be written.

    Attributes:
        tables: In order.
        why_not_comparable: What keeps a score from being compared with the published one; empty where nothing does.
        caveats: By metric, what to know of a difference where there is one.
    """

    tables: tuple[PaperTable, ...]
    why_not_comparable: Callable[[ScoreRow], str]
    caveats: Mapping[str, str] = field(default_factory=dict)


# What FF-GAN, section 4.1.2, says of its scores
FFGAN_PICTURES = 30_000
FFGAN_SIDE = 256
FFGAN_DATASETS = ("cub", "coco")


def _why_not_ffgan(score: ScoreRow) -> str:
    reasons = []
    if score.method == "real":
        reasons.append("real pictures: the ceiling of this encoder")
    if score.dataset not in FFGAN_DATASETS:
        reasons.append(f"dataset {score.dataset}")
    elif score.split != "test":
        reasons.append(f"split {score.split or 'unknown'}")
    if score.method != "real" and score.n_fake != FFGAN_PICTURES:
        reasons.append(f"{_count(score.n_fake)} pictures, not {FFGAN_PICTURES:,}")
    if score.picture_size != FFGAN_SIDE:
        reasons.append(f"pictures of {score.picture_size or 'unknown'} pixels, not {FFGAN_SIDE}")
    if score.metric == "fid" and score.network != "inception":
        reasons.append(f"features of {score.network}, not of the Inception network")
    if score.metric == "r_precision":
        if "(inception_v3)" not in score.network:
            reasons.append(f"{score.network} is no Inception-v3 DAMSM")
        if not score.protocol.startswith("R = 1 of 100:"):
            reasons.append(f"protocol {score.protocol.partition(':')[0]}")
    return "; ".join(reasons)


def _why_not_stackgan(score: ScoreRow) -> str:
    if score.metric == "human_rank":
        return "other judges, who ranked other models against each other"
    reasons = [_other_classes(score)]
    if score.method == "real":
        reasons.insert(0, "real pictures: the ceiling of this network")
    return "; ".join(reasons)


def _other_classes(score: ScoreRow) -> str:
    return (
        f"classes of {score.network}, published scores are of StackGAN's own fine-tuned Inception, "
        "whose checkpoint is not to be had"
    )


# Fusion-S2iGan, section 5.1: one picture per test caption, "30k" for CUB and "10k" for Oxford-102; from and to
FUSION_PICTURES = {
    "cub": (29_330, 30_000),
    "oxford102": (10_000, 11_550),
    "flickr8k": (4_970, 5_000),
    "places": (2_779, 2_779),
}
FUSION_SIDE = 256
# S2IGAN code: pictures of each querying image
_MAP_GALLERY = 10
_RECALL_GALLERY = {"flickr8k": 5, "places": 1}
_FUSION = "Fusion-S2iGan"


def _why_not_fusion_s2igan(score: ScoreRow) -> str:
    reasons = []
    if score.method == "real":
        reasons.append("real pictures: the ceiling of this network")
    if score.dataset not in FUSION_PICTURES:
        reasons.append(f"dataset {score.dataset}")
    elif score.split != "test":
        reasons.append(f"split {score.split or 'unknown'}")
    if score.picture_size != FUSION_SIDE:
        reasons.append(f"pictures of {score.picture_size or 'unknown'} pixels, not {FUSION_SIDE}")
    least, most = FUSION_PICTURES.get(score.dataset, (0, 0))
    many = score.metric in ("fid", "inception_score") and score.method != "real" and most > 0
    if many and (score.n_fake is None or not least <= score.n_fake <= most):
        wanted = f"{least:,}" if least == most else f"{least:,} to {most:,}"
        reasons.append(f"{_count(score.n_fake)} pictures, not {wanted}")
    if score.metric == "fid":
        if score.network != "inception":
            reasons.append(f"features of {score.network}, not of the Inception network")
    elif score.metric == "inception_score" and score.dataset not in _RECALL_GALLERY:
        reasons.append(_other_classes(score))
    elif not score.network.startswith("imagenet"):
        what = "classes" if score.metric == "inception_score" else "features"
        reasons.append(f"{what} of {score.network}, not of ImageNet's Inception-v3")
    each = _MAP_GALLERY if score.metric == "map" else _RECALL_GALLERY.get(score.dataset)
    if score.metric in ("map", "recall_at_50") and score.method != "real" and each is not None:
        gallery = f"gallery of generated pictures: {each} of each of these images;"
        if score.metric == "map" and not score.protocol.startswith("mAP of 2 real pictures per class,"):
            reasons.append("other queries than 2 real pictures per class")
        if gallery not in score.protocol:
            reasons.append(f"another gallery than {each} generated pictures of each querying image")
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

PAPERS = {
    "ffgan": Paper(
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
        _why_not_ffgan,
        {
            "fid": "the published FIDs of this family come from DM-GAN's script with torchvision's ImageNet Inception; "
            "with the standard network DM-GAN's own CUB model scores 11.91 instead of 15.34",
            "r_precision": "the published value was measured with AttnGAN's released encoder, ours with the one named",
        },
    ),
    "stackgan": Paper(
        (
            PaperTable(
                "1",
                "Table 1: Inception score (higher is better) and human rank (1 is best)",
                ("inception_score", "human_rank"),
            ),
        ),
        _why_not_stackgan,
    ),
    "fusion-s2igan": Paper(
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
        _why_not_fusion_s2igan,
        {
            "fid": "the paper does not say which FID network and which crops of the real pictures it used",
            "inception_score": "torchvision's Inception-v3, as in S2IGAN's code",
            "map": "which two images of each class query, and how real pictures were prepared, is not published",
            "recall_at_50": "how real pictures were prepared is not published",
        },
    ),
}
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


def table(paper: str, results: Path, out: Path) -> TableReport:
    """Writes the tables of a paper with our scores.

    Args:
        paper: A key of `PAPERS`: "ffgan" for its Tables 1 and 2 and the numbers of its Fig. 7, "stackgan" for the
            table of Inception scores and human ranks, "fusion-s2igan" for its six tables.
        results: A results.csv; of several scores of the same thing the last one counts.
        out: Folder for a CSV and a Markdown file of each table; made if need be.

    Raises:
        DataError: results.csv is missing or broken.
        UsageError: There is no such paper.
    """
    if paper not in PAPERS:
        raise UsageError(f"{paper!r} is no paper whose tables are known", f"One of: {', '.join(PAPERS)}.")
    published = read_paper(paper)
    scores = _latest(read_rows(results))
    out.mkdir(parents=True, exist_ok=True)
    rows: list[TableRow] = []
    files, texts = [], []
    everywhere = {row.dataset for row in published}
    for each in PAPERS[paper].tables:
        lines = [row for row in published if row.table == each.number]
        elsewhere = everywhere - {row.dataset for row in lines}  # a score of such a dataset has its own table
        wanted = [
            score
            for score in scores
            if score.metric in each.metrics and each.takes(score.method) and score.dataset not in elsewhere
        ]
        lines += [_ours(each, score, lines, PAPERS[paper]) for score in wanted]
        rows += lines
        texts.append(_markdown(each.title, lines))
        stem = out / f"{paper}-{each.stem}"
        for path, text in ((stem.with_suffix(".csv"), _csv(lines)), (stem.with_suffix(".md"), texts[-1])):
            with atomic_file(path) as temporary:
                temporary.write_text(text, encoding="utf-8")
            files.append(path)
    return TableReport(tuple(files), tuple(rows), "\n".join(texts))


def read_paper(name: str) -> list[TableRow]:
    """The published numbers of a paper, from recipes/tables.

    Raises:
        DataError: There are none for that paper, or the file is broken.
    """
    path = recipes_folder() / "tables" / f"{name.replace('-', '_')}.csv"
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
                    input=record["input"],
                )
                for record in csv.DictReader(file)
            ]
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise DataError(
            f"{path}: the paper's numbers cannot be read ({error})", "Install gancli again."
        ) from error


def _latest(scores: Sequence[ScoreRow]) -> list[ScoreRow]:
    passing = {"value", "std", "date", "note", "gancli_version"}
    kept: dict[tuple[object, ...], ScoreRow] = {}
    for score in scores:
        key = tuple(value for name, value in dataclasses.asdict(score).items() if name not in passing)
        kept.pop(key, None)  # so that a repeated score stands where its last one does
        kept[key] = score
    return list(kept.values())


def _ours(table: PaperTable, score: ScoreRow, published: Sequence[TableRow], paper: Paper) -> TableRow:
    reason = paper.why_not_comparable(score)
    delta, note = None, score.note
    if not reason:
        same = (table.names.get(score.method, score.method), score.dataset, score.metric)
        value = next((row.value for row in published if (row.method, row.dataset, row.metric) == same), None)
        if value is None:
            reason = f"the paper gives no value of {score.method} on {score.dataset}"
        else:
            delta = score.value - value
            note = "; ".join(filter(None, (note, paper.caveats.get(score.metric))))
    return TableRow(
        table.number,
        score.method,
        score.dataset,
        score.metric,
        score.value,
        score.std,
        "gancli",
        delta,
        reason,
        note,
        score=score,
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
    network = f"{score.network} ({score.network_sha256[:12]}), " if score.network else ""
    return (
        f"model {score.model} ({score.model_hash[:12]}), {score.dataset} {score.split}, "
        f"{_count(score.n_fake)} generated and {_count(score.n_real)} real pictures, "
        f"seed {'unknown' if score.seed is None else score.seed}; {score.protocol}; "
        f"{network}{score.resize}; "
        f"gancli {score.gancli_version}, {score.date}"
    )


def _count(number: int | None) -> str:
    return "unknown many" if number is None else f"{number:,}"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
