"""A table laid out as papers print it: a row for each method, its columns the metrics of each dataset.

The same layout becomes Markdown, LaTeX and a wide CSV file. The best value of a column is bold; notes stand below.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from gancli.scores.metrics import dataset_label, metric_of, shown, shown_difference
from gancli.scores.tables.placing import REAL, Entry

if TYPE_CHECKING:
    import pandas as pd

    from gancli.scores.results import ScoreRow

Column = tuple[str, str]  # dataset and metric
NOTHING = "No score of ours yet."
_MOST_ROWS = 3  # scores named in the note of a mean


@dataclass
class Notes:
    """Numbered notes below a table."""

    texts: list[str] = field(default_factory=list)

    def numbers(self, *texts: str) -> list[int]:
        """Return the numbers of notes, each of which stands below the table once; none for an empty one."""
        wanted = [text for text in dict.fromkeys(texts) if text]
        self.texts += [text for text in wanted if text not in self.texts]
        return [self.texts.index(text) + 1 for text in wanted]


@dataclass(frozen=True)
class Line:
    """Row of a table.

    Attributes:
        method: Name.
        source: "paper" or "gancli".
        input: Input of the paper's methods.
        cells: Numbers by column.
    """

    method: str
    source: str
    input: str
    cells: dict[Column, Entry]

    @property
    def label(self) -> str:
        """Name in the printed table, where ours are marked."""
        return self.method if self.source == "paper" or self.method == REAL else f"{self.method}, gancli"


@dataclass(frozen=True)
class Layout:
    """A table before it is written in a form.

    Attributes:
        title: Title.
        columns: Datasets and metrics, in order.
        lines: Rows, those of the paper first.
    """

    title: str
    columns: tuple[Column, ...]
    lines: tuple[Line, ...]

    def best(self) -> set[int]:
        """Return the ids of the entries that are the best of their column among those that can be compared."""
        found = set()
        for column in self.columns:
            better = metric_of(column[1]).better
            competing = [line.cells[column] for line in self.lines if column in line.cells]
            competing = [entry for entry in competing if entry.competes]
            if better and len(competing) > 1:
                pick = min if better == "lower" else max
                best = pick(entry.value for entry in competing)
                found |= {id(entry) for entry in competing if entry.value == best}
        return found

    @property
    def groups(self) -> list[tuple[str, list[Line]]]:
        """Rows of the paper by input, where there are several inputs, then ours; a group's name may be empty."""
        ours = [line for line in self.lines if line.source != "paper"]
        published = [line for line in self.lines if line.source == "paper"]
        inputs = list(dict.fromkeys(line.input for line in published if line.input))
        if len(inputs) < 2:
            return [("", [*published, *ours])]
        grouped = [
            (f"{name} input", [line for line in published if line.input in (name, "")]) for name in inputs
        ]
        return [*grouped, ("gancli", ours)] if ours else grouped


def lay_out(
    title: str, entries: Sequence[Entry], columns: Sequence[Column], rows: Sequence[str] = ()
) -> Layout:
    """Lay out a table.

    Args:
        title: Title.
        entries: Numbers, the paper's and ours.
        columns: Columns in order. Those without any number are left out.
        rows: Rows of the paper that stand there without numbers too.
    """
    lines: dict[tuple[str, str, str, int], Line] = {}
    for entry in sorted(entries, key=lambda entry: entry.source != "paper"):
        key = (entry.method, entry.source, entry.input, entry.variant)
        line = lines.setdefault(key, Line(entry.method, entry.source, entry.input, {}))
        line.cells[entry.column] = entry
    known = {line.method for line in lines.values() if line.source == "paper"}
    empty = [Line(name, "paper", "", {}) for name in rows if name not in known]
    present = {column for line in lines.values() for column in line.cells}
    ordered = [line for line in lines.values() if line.source == "paper"]
    ordered += empty + sorted(
        (line for line in lines.values() if line.source != "paper"), key=lambda line: line.method == REAL
    )
    return Layout(title, tuple(column for column in columns if column in present), tuple(ordered))


# --- cells and notes ------------------------------------------------------------------------------------------


def number(entry: Entry) -> str:
    """Return a number with its deviation: "13.09", "80.49 ± 0.50"."""
    return shown(entry.metric, entry.value) + (
        "" if entry.std is None else f" ± {shown(entry.metric, entry.std)}"
    )


def difference(entry: Entry) -> str:
    """Return the difference to the paper in brackets; empty where there is none."""
    return "" if entry.delta is None else f" ({shown_difference(entry.metric, entry.delta)})"


def notes_of(entry: Entry) -> Iterator[str]:
    """Yield the notes on a number."""
    if entry.scores:
        if entry.not_comparable:
            yield f"not comparable with the paper: {entry.not_comparable}"
        if entry.std is not None and entry.spread:
            yield f"± over {entry.spread}"
    yield entry.note
    if entry.scores:
        shown_scores = [provenance(score) for score in entry.scores[:_MOST_ROWS]]
        more = len(entry.scores) - _MOST_ROWS
        yield "; ".join(shown_scores) + (f"; and {more} more" if more > 0 else "")


def provenance(score: ScoreRow) -> str:
    """Return where a score comes from, in a line."""
    network = score.network + (f" ({score.network_sha256[:12]})" if score.network_sha256 else "")
    seeds = [
        f"{name} {seed}"
        for name, seed in (("trained with seed", score.train_seed), ("seed", score.seed))
        if seed is not None
    ]
    images = f"{_count(score.n_fake)} generated and {_count(score.n_real)} real images"
    parts = (
        f"model {score.model} ({score.model_hash[:12]})",
        f"{score.dataset} {score.split}".strip(),
        "a measure of the run" if score.images == "none" else images,
        *seeds,
        score.protocol,
        network,
        score.resize,
        f"gancli {score.gancli_version}, {score.date}",
    )
    return ", ".join(filter(None, parts))


def _count(images: int | None) -> str:
    return "unknown many" if images is None else f"{images:,}"


# --- forms ----------------------------------------------------------------------------------------------------


def heads(layout: Layout) -> list[str]:
    """Return the heads of the columns: dataset, metric and direction."""
    return [f"{dataset_label(dataset)} {metric_of(metric).head}" for dataset, metric in layout.columns]


def markdown(layout: Layout) -> str:
    """Return a table as Markdown."""
    if not layout.columns:
        return f"## {layout.title}\n\n{NOTHING}\n"
    notes, best = Notes(), layout.best()

    def cell(entry: Entry | None) -> str:
        if entry is None:
            return "–"
        text = f"**{number(entry)}**" if id(entry) in best else number(entry)
        marks = "".join(f" [{mark}]" for mark in notes.numbers(*notes_of(entry)))
        return text + difference(entry) + marks

    lines = [f"## {layout.title}", "", f"| Method | {' | '.join(heads(layout))} |"]
    lines.append(f"|---|{'---:|' * len(layout.columns)}")
    for group, rows in layout.groups:
        if group:
            lines.append(f"| *{group}* |{' |' * len(layout.columns)}")
        for line in rows:
            values = [cell(line.cells.get(column)) for column in layout.columns]
            lines.append(f"| {_escaped(line.label)} | {' | '.join(values)} |")
    if all(line.source == "paper" for line in layout.lines):
        lines += ["", NOTHING]
    if notes.texts:
        lines += ["", *(f"{index}. {_escaped(note)}" for index, note in enumerate(notes.texts, start=1))]
    return "\n".join(lines) + "\n"


def _escaped(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


_LATEX = {
    **{character: f"\\{character}" for character in "&%$#_{}"},
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "\\": r"\textbackslash{}",
    "↑": r"$\uparrow$",
    "↓": r"$\downarrow$",
    "±": r"$\pm$",
    "×": r"$\times$",
    "λ": r"$\lambda$",
    "₂": "$_2$",
    "Δ": r"$\Delta$",
    "–": "--",
    "…": r"\dots{}",
}


def latex(layout: Layout) -> str:
    """Return a table as LaTeX with the rules of the package booktabs, notes in small print below."""
    notes, best = Notes(), layout.best()

    def cell(entry: Entry | None) -> str:
        if entry is None:
            return "--"
        text = _tex(number(entry))
        text = rf"\textbf{{{text}}}" if id(entry) in best else text
        marks = ",".join(str(mark) for mark in notes.numbers(*notes_of(entry)))
        return text + _tex(difference(entry)) + (f"$^{{{marks}}}$" if marks else "")

    width = len(layout.columns)
    spans = _spans(layout.columns)
    over = [
        rf"\multicolumn{{{last - first + 1}}}{{c}}{{{_tex(dataset_label(name))}}}"
        for name, first, last in spans
    ]
    rules = "".join(rf"\cmidrule(lr){{{first + 2}-{last + 2}}}" for _, first, last in spans)
    under = [_tex(metric_of(metric).head) for _, metric in layout.columns]
    lines = [
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{_tex(layout.title)}}}",
        rf"\begin{{tabular}}{{l{'r' * width}}}",
        r"\toprule",
        " & ".join(["", *over]) + r" \\",
        rules,
        " & ".join(["Method", *under]) + r" \\",
    ]
    for group, rows in layout.groups:
        lines.append(r"\midrule")
        if group:
            lines.append(rf"\multicolumn{{{width + 1}}}{{l}}{{\emph{{{_tex(group)}}}}} \\")
        for line in rows:
            values = [cell(line.cells.get(column)) for column in layout.columns]
            lines.append(" & ".join([_tex(line.label), *values]) + r" \\")
    lines += [r"\bottomrule", r"\end{tabular}"]
    if notes.texts:
        text = " ".join(f"$^{{{index}}}$ {_tex(note)}." for index, note in enumerate(notes.texts, start=1))
        lines.append(rf"\par\footnotesize {text}")
    return "\n".join([*lines, r"\end{table}"]) + "\n"


def _spans(columns: Sequence[Column]) -> list[tuple[str, int, int]]:
    """Return each run of columns of one dataset with the indices of its first and last column."""
    spans: list[tuple[str, int, int]] = []
    for index, (dataset, _) in enumerate(columns):
        if spans and spans[-1][0] == dataset:
            spans[-1] = (dataset, spans[-1][1], index)
        else:
            spans.append((dataset, index, index))
    return spans


def _tex(text: str) -> str:
    return "".join(_LATEX.get(character, character) for character in text)


def wide(layout: Layout) -> pd.DataFrame:
    """Return a table as the paper prints it, a line for each method; `n` is the number of our scores in a mean."""
    import pandas as pd

    parts: dict[str, Callable[[Entry], object]] = {
        "": lambda entry: entry.value,
        " ±": lambda entry: entry.std,
        " n": lambda entry: len(entry.scores) or None,
        " Δ": lambda entry: entry.delta,
    }
    records = [
        {
            "method": line.method,
            "source": line.source,
            "input": line.input,
            **{
                f"{dataset} {metric}{end}": value(line.cells[dataset, metric])
                for dataset, metric in layout.columns
                if (dataset, metric) in line.cells
                for end, value in parts.items()
            },
        }
        for line in layout.lines
    ]
    order = [f"{dataset} {metric}{end}" for dataset, metric in layout.columns for end in parts]
    table = pd.DataFrame(records, columns=["method", "source", "input", *order])
    return table.dropna(axis="columns", how="all")
