"""Tally of people's rankings: mean rank ± standard error and share of first places of each model.

Answers are CSV files that judges saved from a page of `gancli.human.page`. The page's key says which model made which
image.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gancli.atomic import atomic_file
from gancli.csv_files import lines_of, read_csv, write_csv
from gancli.errors import DataError
from gancli.human.study import KEY, Study, StudyQuestion, read_key
from gancli.scores.metrics import dataset_label
from gancli.scores.results import ScoreRow

Ranks = NDArray[np.int64]

COLUMNS = ("study", "question", "judge", "order", "ranks", "seconds", "date")
OWN_CAPTIONS = "captions"  # dataset name of a study whose captions come from no dataset
_SAVED = "Judges save them with the page's button Save answers."
_FORMULA = ("=", "+", "-", "@", "\t", "\r")  # first characters of a spreadsheet's formulas


@dataclass(frozen=True)
class Ranking:
    """Answer of a judge to a question.

    Attributes:
        question: Id of the question.
        judge: Name of the judge.
        ranks: Rank of each model, 1 for the best.
        date: Date of the answer, ISO 8601 in UTC; empty where the file has none.
    """

    question: str
    judge: str
    ranks: tuple[int, ...]
    date: str


@dataclass(frozen=True)
class ModelTally:
    """Result of a model.

    Attributes:
        name: Name in the tables.
        mean_rank: Mean rank, from 1 (the best) to the number of models.
        standard_error: Standard error of the mean rank; None for a single ranking.
        first_places: Share of the rankings in which the model is the best, in [0, 1].
        counts: Number of times that the model has each rank, from the first.
    """

    name: str
    mean_rank: float
    standard_error: float | None
    first_places: float
    counts: tuple[int, ...]


@dataclass(frozen=True)
class Agreement:
    """Agreement of the judges.

    Attributes:
        w: Kendall's coefficient of concordance, averaged over questions; 1 if all judges rank alike.
        chance: Mean coefficient of judges who rank at random.
        questions: Number of questions that more than one judge ranked.
    """

    w: float
    chance: float
    questions: int


@dataclass(frozen=True)
class Tally:
    """Results of all judges.

    Attributes:
        study: Study that was answered.
        models: Results of the models, in the study's order.
        judges: Number of questions that each judge ranked.
        questions: Number of questions ranked by at least one judge.
        rankings: Number of rankings of all judges.
        agreement: Agreement of the judges; None where no question was ranked by two.
    """

    study: Study
    models: tuple[ModelTally, ...]
    judges: dict[str, int]
    questions: int
    rankings: int
    agreement: Agreement | None

    @property
    def dataset(self) -> str:
        """Dataset of the captions."""
        return self.study.dataset or OWN_CAPTIONS

    @property
    def judges_text(self) -> str:
        """Number of judges, in words."""
        return "1 judge" if len(self.judges) == 1 else f"{len(self.judges)} judges"

    @property
    def agreement_text(self) -> str:
        """Agreement of the judges, in words."""
        if len(self.judges) == 1:
            return "one judge only: a second one would show whether people agree"
        if self.agreement is None:
            return "no caption was ranked by two judges, so their agreement is unknown"
        return (
            f"Kendall's W {self.agreement.w:.2f} over {self.agreement.questions} captions "
            f"(1 if all judges agree, {self.agreement.chance:.2f} by chance)"
        )


@dataclass(frozen=True)
class TallyReport:
    """Result of `tally_rankings`.

    Attributes:
        tally: Results of all judges.
        rows: Rows for results.csv: "human_rank" and "human_first_places" of each model.
        files: CSV and Markdown files of the table.
        markdown: Text of the Markdown file.
        warnings: Warnings about repeated and missing answers.
    """

    tally: Tally
    rows: tuple[ScoreRow, ...]
    files: tuple[Path, ...]
    markdown: str
    warnings: tuple[str, ...]


def tally_rankings(
    answers: str | Path | Sequence[str | Path], *, key: str | Path, out: str | Path
) -> TallyReport:
    """Tally the answers of all judges and write the table.

    The standard error of a mean rank is s / √N over all N rankings (captions × judges), with the sample standard
    deviation s (divisor N − 1). It treats the rankings of one judge as independent, so the table also shows the number
    and the agreement of the judges.

    Args:
        answers: CSV files that the page saved.
        key: The page's key.json, or its folder.
        out: Folder for `human-DATASET.csv` and `human-DATASET.md`.

    Raises:
        DataError: A file is missing, broken or of another study, or a ranking is incomplete.
    """
    study = read_key(key)
    paths = [answers] if isinstance(answers, (str, Path)) else answers
    rankings, warnings = _latest([ranking for path in paths for ranking in read_answers(path, study)])
    if not rankings:
        raise DataError(f"no answers in {', '.join(map(str, paths)) or 'no files'}", _SAVED)
    judges = Counter(ranking.judge for ranking in rankings)
    warnings += [
        f"{judge} ranked {count} of {len(study.questions)} captions"
        for judge, count in judges.items()
        if count < len(study.questions)
    ]
    ranks = np.array([ranking.ranks for ranking in rankings])  # (N rankings, K models)
    result = Tally(
        study,
        tuple(
            _tally_model(model.name, column, len(study.models))
            for model, column in zip(study.models, ranks.T, strict=True)
        ),
        dict(judges),
        len({ranking.question for ranking in rankings}),
        len(rankings),
        _agreement(rankings),
    )
    files, markdown = _write_table(Path(out), result)
    return TallyReport(result, tuple(_rows(result)), files, markdown, tuple(warnings))


def kendall_w(ranks: Ranks) -> float:
    """Return Kendall's coefficient of concordance of rankings without ties, W = 12 S / (m² (k³ − k)).

    It is 1 where all judges rank alike, 0 where the sums of ranks are equal, and 1/m on average for random rankings.
    The ranks are 1 to k by each judge, (m judges, k models).
    """
    m, k = ranks.shape
    sums = ranks.sum(axis=0)
    s = ((sums - sums.mean()) ** 2).sum()
    return float(12 * s / (m**2 * (k**3 - k)))


# --- reading --------------------------------------------------------------------------------------------------


def read_answers(path: str | Path, study: Study) -> list[Ranking]:
    """Read the answers in a file. A spreadsheet may have saved it again with semicolons or tabs.

    Raises:
        DataError: The file is missing, broken or of another study, or a ranking is incomplete. The line is named.
    """
    path, hint = Path(path), "Use the file as the page saved it."
    questions = {question.id: question for question in study.questions}
    frame = read_csv(path, hint if path.exists() else _SAVED)
    missing = [name for name in COLUMNS if name not in frame]
    if missing:
        raise DataError(f"{path}: is no file of answers, the column {', '.join(missing)} is missing", hint)
    rankings = []
    for line, record in zip(lines_of(frame), frame[[*COLUMNS]].fillna("").to_dict("records"), strict=True):
        values = {str(name): str(text).strip() for name, text in record.items()}
        other = values["study"]
        if other != study.study:
            raise DataError(
                f"{path}: line {line}: an answer of another study ({other or 'none'}; the key is of {study.study})",
                f"Give the {KEY} of the page that these answers were saved from.",
            )
        try:
            rankings.append(_parse(values, questions))
        except ValueError as error:
            raise DataError(f"{path}: line {line}: {error}", hint) from None
    return rankings


def _parse(values: Mapping[str, str], questions: Mapping[str, StudyQuestion]) -> Ranking:
    """Parse a line; ValueError: it is no ranking of the study."""
    question = questions.get(values["question"])
    if question is None:
        raise ValueError(f"there is no question {values['question']!r} in this study")
    judge = values["judge"]
    if judge[:1] == "'" and judge[1:].startswith(_FORMULA):
        judge = judge[1:]  # the page added the apostrophe so that spreadsheets do not run a formula
    if not judge:
        raise ValueError("it does not say which judge")
    return Ranking(question.id, judge, _parse_ranks(values["ranks"], question), values["date"])


def _parse_ranks(text: str, question: StudyQuestion) -> tuple[int, ...]:
    """Parse the ranks of the models; ValueError: they are not 1 to the number of models, each once."""
    ranks: dict[str, int] = {}
    for entry in text.split():
        image, colon, rank = entry.partition(":")
        if not colon or not rank.isdecimal():
            raise ValueError(f"{entry!r} is no image with its rank")
        if image not in question.images:
            raise ValueError(f"question {question.id} has no image {image!r}")
        if image in ranks:
            raise ValueError(f"image {image} has two ranks")
        ranks[image] = int(rank)
    count = len(question.images)
    if len(ranks) < count:
        raise ValueError(f"an incomplete ranking, {len(ranks)} of {count} images have a rank")
    if sorted(ranks.values()) != list(range(1, count + 1)):
        raise ValueError(f"the ranks have to be 1 to {count}, each once. Received: {text}")
    by_model = {index: ranks[image] for image, index in question.images.items()}
    return tuple(by_model[index] for index in range(count))


def _latest(rankings: Sequence[Ranking]) -> tuple[list[Ranking], list[str]]:
    """Return the last answer of each judge to each question, by date and then by order, and warnings."""
    kept: dict[tuple[str, str], Ranking] = {}
    changed = 0
    for ranking in sorted(rankings, key=lambda each: each.date):  # ISO 8601 sorts as text; the sort is stable
        name = ranking.judge, ranking.question
        changed += name in kept and kept[name].ranks != ranking.ranks
        kept[name] = ranking
    warnings = []
    if repeated := len(rankings) - len(kept):
        warnings.append(
            f"{repeated} answers are there again from the same judge, {changed} of them with other ranks: the last one "
            "counts. If two people used the same name, change it in one of the files"
        )
    return list(kept.values()), warnings


# --- numbers --------------------------------------------------------------------------------------------------


def _tally_model(name: str, ranks: Ranks, models: int) -> ModelTally:
    """Summarize a model's ranks (N,), which are from 1 to `models`."""
    n = len(ranks)
    error = float(ranks.std(ddof=1)) / math.sqrt(n) if n > 1 else None
    counts = np.bincount(ranks, minlength=models + 1)[1:]
    return ModelTally(name, float(ranks.mean()), error, float(counts[0] / n), tuple(counts.tolist()))


def _agreement(rankings: Sequence[Ranking]) -> Agreement | None:
    """Return Kendall's W, averaged over the questions that several judges ranked."""
    by_question: dict[str, list[tuple[int, ...]]] = {}
    for ranking in rankings:
        by_question.setdefault(ranking.question, []).append(ranking.ranks)
    several = [np.array(ranks) for ranks in by_question.values() if len(ranks) > 1]
    if not several:
        return None
    w = float(np.mean([kendall_w(ranks) for ranks in several]))
    return Agreement(w, float(np.mean([1 / len(ranks) for ranks in several])), len(several))


def _rows(result: Tally) -> Iterator[ScoreRow]:
    basis = (
        f"{len(result.models)} models ({', '.join(model.name for model in result.models)}) ranked by "
        f"{result.judges_text} on {result.questions} captions, {result.rankings} rankings without ties; "
        f"± is the standard error s/√N over rankings; study {result.study.study}"
    )
    for model, origin in zip(result.models, result.study.models, strict=True):
        share, share_error = model.first_places, None
        if result.rankings > 1:
            share_error = 100 * math.sqrt(share * (1 - share) / (result.rankings - 1))
        for metric, value, std, what in (
            ("human_rank", model.mean_rank, model.standard_error, "mean rank, 1 is best"),
            ("human_first_places", 100 * share, share_error, "share of first places, per cent"),
        ):
            yield ScoreRow(
                dataset=result.dataset,
                split=result.study.split,
                method=model.name,
                model=origin.model,
                model_hash=origin.model_hash,
                metric=metric,
                value=value,
                std=std,
                n_real=0,
                n_fake=result.questions,
                protocol=f"{what}: {basis}",
                resize="shown at one size, smaller images enlarged pixel by pixel",
                image_size=origin.image_size,
                seed=origin.seed,
                kind=origin.kind,
                ablation=origin.settings,
                trained_steps=origin.trained_steps,
                note=result.agreement_text,
            )


# --- the table ------------------------------------------------------------------------------------------------


def _write_table(out: Path, result: Tally) -> tuple[tuple[Path, ...], str]:
    """Write the table as CSV and Markdown; return the files and the Markdown text."""
    import pandas as pd

    models = len(result.models)
    title = dataset_label(result.dataset)
    counts = [f"rank_{rank}" for rank in range(1, models + 1)]
    basis = {
        "models": models,
        "judges": len(result.judges),
        "questions": result.questions,
        "rankings": result.rankings,
        "study": result.study.study,
    }
    columns = ["method", "dataset", "human_rank", "standard_error", "first_places", *counts, *basis]
    rows: list[list[object]] = []
    lines = [
        f"## Human rank on {title} (1 is best of {models})",
        "",
        f"| Method | {title} human rank ↓ | first places ↑ |",
        "|---|---:|---:|",
    ]
    for model in result.models:
        error, spread = "", ""
        if model.standard_error is not None:
            error, spread = f"{model.standard_error:.4f}", f" ± {model.standard_error:.2f}"
        numbers = [f"{model.mean_rank:.4f}", error, f"{model.first_places:.4f}", *model.counts]
        rows.append([_as_text(model.name), _as_text(result.dataset), *numbers, *basis.values()])
        name = model.name.replace("|", "\\|").replace("\n", " ")
        lines.append(f"| {name} | {model.mean_rank:.2f}{spread} | {100 * model.first_places:.0f} % |")
    lines += [
        "",
        f"{models} models, {result.judges_text}, {result.questions} captions, {result.rankings} rankings; ± is the "
        f"standard error s/√N over rankings. {result.agreement_text}. A mean rank holds among these models only.",
    ]
    markdown = "\n".join(lines) + "\n"
    out.mkdir(parents=True, exist_ok=True)
    stem = f"human-{re.sub(r'[^A-Za-z0-9]+', '-', result.dataset).strip('-') or OWN_CAPTIONS}"
    files = out / f"{stem}.csv", out / f"{stem}.md"
    write_csv(files[0], pd.DataFrame(rows, columns=columns, dtype=object))
    with atomic_file(files[1]) as temporary:
        temporary.write_text(markdown, encoding="utf-8")
    return files, markdown


def _as_text(text: str) -> str:
    """Return a cell that a spreadsheet does not run as a formula."""
    return f"'{text}" if text.startswith(_FORMULA) else text
