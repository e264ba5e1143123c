"""The tally of people's rankings: mean rank ± standard error and share of first places of each model.

The answers are CSV files that judges saved from a page of `gancli.human.page`; the page's key says which model made
which image.
"""

from __future__ import annotations

import csv
import io
import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gancli.atomic import atomic_file
from gancli.errors import DataError
from gancli.human.page import KEY, Study, StudyQuestion, read_key
from gancli.scores.results import ScoreRow
from gancli.scores.tables import DATASETS

Ranks = NDArray[np.int64]

COLUMNS = ("study", "question", "judge", "order", "ranks", "seconds", "date")
OWN_CAPTIONS = "captions"  # the dataset of a study whose captions are no dataset's
_FORMULA = ("=", "+", "-", "@", "\t", "\r")  # with which a spreadsheet begins a formula


@dataclass(frozen=True)
class Ranking:
    """One judge's answer to one question.

    Attributes:
        question: Its id.
        judge: Their name.
        ranks: By model, 1 for the best.
        date: When, ISO 8601 in UTC; empty where the file does not say.
    """

    question: str
    judge: str
    ranks: tuple[int, ...]
    date: str


@dataclass(frozen=True)
class ModelTally:
    """What the judges think of a model.

    Attributes:
        name: In the tables.
        mean_rank: From 1, the best, to the number of models.
        standard_error: Of it; None for a single ranking.
        first_places: Share of the rankings in which it is the best, in [0, 1].
        counts: How often it has each rank, from the first.
    """

    name: str
    mean_rank: float
    standard_error: float | None
    first_places: float
    counts: tuple[int, ...]


@dataclass(frozen=True)
class Agreement:
    """Whether the judges agree.

    Attributes:
        w: Kendall's coefficient of concordance, the mean over questions: 1 if all rank alike.
        chance: What judges who rank at random reach on average.
        questions: That more than one judge ranked.
    """

    w: float
    chance: float
    questions: int


@dataclass(frozen=True)
class Tally:
    """The answers of all judges in numbers.

    Attributes:
        study: Whose answers these are.
        models: In the study's order.
        judges: Questions ranked, by judge.
        questions: Ranked by at least one judge.
        rankings: Of all judges together.
        agreement: None with one judge, or where no question has two.
    """

    study: Study
    models: tuple[ModelTally, ...]
    judges: dict[str, int]
    questions: int
    rankings: int
    agreement: Agreement | None

    @property
    def dataset(self) -> str:
        """The captions' dataset."""
        return self.study.dataset or OWN_CAPTIONS

    @property
    def said_judges(self) -> str:
        """How many there are, in words."""
        return "1 judge" if len(self.judges) == 1 else f"{len(self.judges)} judges"

    @property
    def said_agreement(self) -> str:
        """What is known of the judges' agreement, in words."""
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
    """What `tally` found and wrote.

    Attributes:
        tally: The numbers.
        rows: For results.csv: "human_rank" and "human_first_places" of each model.
        files: CSV and Markdown table.
        markdown: The text of the latter.
        warnings: Repeated and missing answers.
    """

    tally: Tally
    rows: tuple[ScoreRow, ...]
    files: tuple[Path, ...]
    markdown: str
    warnings: tuple[str, ...]


def tally(answers: Sequence[Path], *, key: Path, out: Path) -> TallyReport:
    """Tallies the answers of all judges, and writes the table.

    The standard error of a mean rank is s / √N over the N rankings (captions × judges) together, s being their sample
    standard deviation (divisor N − 1). It treats the rankings of one judge as independent; the judges' number and
    agreement stand beside it.

    Args:
        answers: CSV files that the page saved.
        key: The page's key.json, or its folder.
        out: Folder for `human-DATASET.csv` and `human-DATASET.md`.

    Raises:
        DataError: A file is missing, broken, of another study, or holds an incomplete ranking.
    """
    study = read_key(key / KEY if key.is_dir() else key)
    rankings, warnings = _latest([ranking for path in answers for ranking in read_answers(path, study)])
    if not rankings:
        raise DataError(
            f"no answers in {', '.join(map(str, answers)) or 'no files'}",
            "Judges save them with the page's button Save answers.",
        )
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
    files, markdown = _write_table(out, result)
    return TallyReport(result, tuple(_rows(result)), files, markdown, tuple(warnings))


def kendall_w(ranks: Ranks) -> float:
    """Kendall's coefficient of concordance of rankings without ties: W = 12 S / (m² (k³ − k)).

    Args:
        ranks: (m judges, k models), each row the ranks 1 to k.

    Returns:
        1 where all judges rank alike, 0 where the sums of ranks are equal; 1/m is expected of judges who rank
        at random.
    """
    m, k = ranks.shape
    sums = ranks.sum(axis=0)
    s = ((sums - sums.mean()) ** 2).sum()
    return float(12 * s / (m**2 * (k**3 - k)))


# --- reading --------------------------------------------------------------------------------------------------


def read_answers(path: Path, study: Study) -> list[Ranking]:
    """The answers in a file, in its order. A spreadsheet may have saved it anew with semicolons or tabs.

    Raises:
        DataError: It is missing or none, of another study, or a ranking is incomplete; the line is named.
    """
    hint = "Use the file as the page saved it."
    questions = {question.id: question for question in study.questions}
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
        header = text.partition("\n")[0]
        delimiter = max(",;\t", key=header.count)
        reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
        missing = [name for name in COLUMNS if name not in (reader.fieldnames or ())]
        if missing:
            raise DataError(
                f"{path}: is no file of answers, the column {', '.join(missing)} is missing", hint
            )
        rankings = []
        for record in reader:
            other = (record["study"] or "").strip()
            if other != study.study:
                raise DataError(
                    f"{path}: line {reader.line_num}: an answer of another study ({other or 'none'}; the key is of "
                    f"{study.study})",
                    f"Give the {KEY} of the page that these answers were saved from.",
                )
            try:
                rankings.append(_parse(record, questions))
            except ValueError as error:
                raise DataError(f"{path}: line {reader.line_num}: {error}", hint) from None
    except FileNotFoundError:
        raise DataError(
            f"{path}: no such file", "Judges save it with the page's button Save answers."
        ) from None
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: cannot be read as CSV ({error})", hint) from error
    return rankings


def _parse(record: Mapping[str, str | None], questions: Mapping[str, StudyQuestion]) -> Ranking:
    """One line; ValueError says what is wrong with it."""
    values = {name: (record[name] or "").strip() for name in COLUMNS}
    question = questions.get(values["question"])
    if question is None:
        raise ValueError(f"there is no question {values['question']!r} in this study")
    judge = values["judge"]
    if judge[:1] == "'" and judge[1:].startswith(_FORMULA):
        judge = judge[1:]  # the page wrote it so that a spreadsheet takes it for text
    if not judge:
        raise ValueError("it does not say which judge")
    return Ranking(question.id, judge, _parse_ranks(values["ranks"], question), values["date"])


def _parse_ranks(text: str, question: StudyQuestion) -> tuple[int, ...]:
    """Ranks by model; ValueError says why they are none."""
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
    by_model = {place: ranks[image] for image, place in question.images.items()}
    return tuple(by_model[place] for place in range(count))


def _latest(rankings: Sequence[Ranking]) -> tuple[list[Ranking], list[str]]:
    """The last answer of each judge to each question by date, where that is equal by order; and what to warn of."""
    kept: dict[tuple[str, str], Ranking] = {}
    changed = 0
    for ranking in sorted(rankings, key=lambda each: each.date):  # ISO 8601 sorts as text; the sort is stable
        name = ranking.judge, ranking.question
        changed += name in kept and kept[name].ranks != ranking.ranks
        kept[name] = ranking
    repeated = len(rankings) - len(kept)
    if not repeated:
        return list(kept.values()), []
    return list(kept.values()), [
        f"{repeated} answers are there again from the same judge, {changed} of them with other ranks: the last one "
        "counts. If two people used the same name, change it in one of the files"
    ]


# --- numbers --------------------------------------------------------------------------------------------------


def _tally_model(name: str, ranks: Ranks, places: int) -> ModelTally:
    """A model's ranks (N,), from 1 to `places`, summed up."""
    n = len(ranks)
    error = float(ranks.std(ddof=1)) / math.sqrt(n) if n > 1 else None
    counts = np.bincount(ranks, minlength=places + 1)[1:]
    return ModelTally(name, float(ranks.mean()), error, float(counts[0] / n), tuple(counts.tolist()))


def _agreement(rankings: Sequence[Ranking]) -> Agreement | None:
    """Kendall's W of each question that several judges ranked, averaged over these questions."""
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
        f"{result.said_judges} on {result.questions} captions, {result.rankings} rankings without ties; "
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
                network="",
                network_sha256="",
                resize="shown at one size, smaller images enlarged pixel by pixel",
                image_size=origin.image_size,
                seed=origin.seed,
                note=result.said_agreement,
            )


# --- the table ------------------------------------------------------------------------------------------------


def _write_table(out: Path, result: Tally) -> tuple[tuple[Path, ...], str]:
    """The table as in the papers, as CSV and Markdown."""
    places = len(result.models)
    title = DATASETS.get(result.dataset, result.dataset)
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer, lineterminator="\n")
    counts = [f"rank_{place}" for place in range(1, places + 1)]
    basis = {
        "models": places,
        "judges": len(result.judges),
        "questions": result.questions,
        "rankings": result.rankings,
        "study": result.study.study,
    }
    writer.writerow(["method", "dataset", "human_rank", "standard_error", "first_places", *counts, *basis])
    lines = [
        f"## Human rank on {title} (1 is best of {places})",
        "",
        f"| Method | {title} human rank ↓ | first places ↑ |",
        "|---|---:|---:|",
    ]
    for model in result.models:
        error, spread = "", ""
        if model.standard_error is not None:
            error, spread = f"{model.standard_error:.4f}", f" ± {model.standard_error:.2f}"
        numbers = [f"{model.mean_rank:.4f}", error, f"{model.first_places:.4f}", *model.counts]
        writer.writerow([_as_text(model.name), _as_text(result.dataset), *numbers, *basis.values()])
        name = model.name.replace("|", "\\|").replace("\n", " ")
        lines.append(f"| {name} | {model.mean_rank:.2f}{spread} | {100 * model.first_places:.0f} % |")
    lines += [
        "",
        f"{places} models, {result.said_judges}, {result.questions} captions, {result.rankings} rankings; ± is the "
        f"standard error s/√N over rankings. {result.said_agreement}. A mean rank holds among these models only.",
    ]
    markdown = "\n".join(lines) + "\n"
    out.mkdir(parents=True, exist_ok=True)
    stem = f"human-{re.sub(r'[^A-Za-z0-9]+', '-', result.dataset).strip('-') or OWN_CAPTIONS}"
    files = out / f"{stem}.csv", out / f"{stem}.md"
    for path, text in zip(files, (buffer.getvalue(), markdown), strict=True):
        with atomic_file(path) as temporary:
            temporary.write_text(text, encoding="utf-8")
    return files, markdown


def _as_text(text: str) -> str:
    """A cell that no spreadsheet takes for a formula."""
    return f"'{text}" if text.startswith(_FORMULA) else text
