"""The tally: numbers against a slow transcription, and answers that must not be counted."""

from __future__ import annotations

import csv
import itertools
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import friedmanchisquare

from gancli.errors import DataError
from gancli.human.page import make_ranking_page
from gancli.human.study import Study
from gancli.human.tally import COLUMNS, kendall_w, tally_rankings
from gancli.scores.results import append_row, read_rows
from gancli.scores.tables import score_table
from tests.human.pages import MODELS, answer_row, write_answers, write_folders


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Study]:
    root = tmp_path_factory.mktemp("human")
    report = make_ranking_page(write_folders(root), out=root / "page", n=4)
    return report.key, report.study


def ranked(*names: str) -> dict[str, int]:
    return {name: rank for rank, name in enumerate(names, start=1)}


ABC, ACB, BAC, CBA = (
    ranked("alpha", "bravo", "charlie"),
    ranked("alpha", "charlie", "bravo"),
    ranked("bravo", "alpha", "charlie"),
    ranked("charlie", "bravo", "alpha"),
)


def test_mean_rank_error_and_first_places(page: tuple[Path, Study], tmp_path: Path) -> None:
    key, study = page
    given_ranks = {"Anna": (ABC, ACB, ABC, BAC), "Ben": (ABC, ABC, CBA, BAC)}
    files = [
        write_answers(
            tmp_path / f"answers-{judge}.csv",
            [answer_row(study, number, ranks, judge) for number, ranks in enumerate(each)],
        )
        for judge, each in given_ranks.items()
    ]
    report = tally_rankings(files, key=key, out=tmp_path / "tables")
    found = report.tally
    assert (found.judges, found.questions, found.rankings) == ({"Anna": 4, "Ben": 4}, 4, 8)
    assert report.warnings == ()
    for model in found.models:
        ranks = [each[model.name] for judge in given_ranks.values() for each in judge]
        mean = sum(ranks) / len(ranks)
        variance = sum((rank - mean) ** 2 for rank in ranks) / (len(ranks) - 1)
        assert model.mean_rank == pytest.approx(mean)
        assert model.standard_error == pytest.approx(math.sqrt(variance) / math.sqrt(len(ranks)))
        assert model.first_places == ranks.count(1) / len(ranks)
        assert model.counts == tuple(ranks.count(rank) for rank in (1, 2, 3))
    assert sum(model.first_places for model in found.models) == pytest.approx(1)
    assert sum(model.mean_rank for model in found.models) == pytest.approx(6)
    assert found.agreement is not None
    each = [
        kendall_w(np.array([list(a.values()), [b[n] for n in a]]))
        for a, b in zip(*given_ranks.values(), strict=True)
    ]
    assert found.agreement.w == pytest.approx(np.mean(each))
    assert (found.agreement.chance, found.agreement.questions) == (0.5, 4)


def test_one_file_of_answers_as_text(page: tuple[Path, Study], tmp_path: Path) -> None:
    key, study = page
    file = write_answers(tmp_path / "answers.csv", [answer_row(study, 0, ABC)])
    expected = tally_rankings([file], key=key, out=tmp_path / "first")
    found = tally_rankings(str(file), key=str(key.parent), out=str(tmp_path / "second"))
    assert (found.tally, found.markdown) == (expected.tally, expected.markdown)
    assert [path.parent for path in found.files] == [tmp_path / "second"] * 2


@given(st.data())
def test_kendalls_w_is_the_friedman_statistic(data: st.DataObject) -> None:
    k = data.draw(st.integers(3, 6))
    ranks = np.array(data.draw(st.lists(st.permutations(range(1, k + 1)), min_size=2, max_size=8)))
    m = len(ranks)
    assert kendall_w(ranks) == pytest.approx(friedmanchisquare(*ranks.T).statistic / (m * (k - 1)))


def test_kendalls_w_from_full_agreement_to_none() -> None:
    assert kendall_w(np.array([[1, 2, 3]] * 5)) == pytest.approx(1)
    assert kendall_w(np.array([[1, 2], [2, 1]])) == 0
    everything = [np.array(pair) for pair in itertools.product(itertools.permutations((1, 2, 3)), repeat=2)]
    assert np.mean([kendall_w(pair) for pair in everything]) == pytest.approx(1 / 2)  # chance: 1/m


def test_rows_say_among_how_many_models_and_find_their_table(
    page: tuple[Path, Study], tmp_path: Path
) -> None:
    key, study = page
    file = write_answers(tmp_path / "answers.csv", [answer_row(study, n, ABC) for n in range(4)])
    report = tally_rankings([file], key=key, out=tmp_path / "tables")
    for row in report.rows:
        append_row(tmp_path / "results.csv", row)
    assert tuple(read_rows(tmp_path / "results.csv")) == report.rows
    ranks = {row.method: row for row in report.rows if row.metric == "human_rank"}
    shares = {row.method: row for row in report.rows if row.metric == "human_first_places"}
    assert [ranks[name].value for name in MODELS] == [1, 2, 3]
    assert [shares[name].value for name in MODELS] == [100, 0, 0]
    assert ranks["bravo"].std == 0
    assert (ranks["bravo"].dataset, ranks["bravo"].split, ranks["bravo"].n_fake) == ("cub", "test", 4)
    assert ranks["bravo"].model == "runs/bravo"
    for part in ("3 models (alpha, bravo, charlie)", "1 judge", "4 captions", "s/√N"):
        assert part in ranks["bravo"].protocol
    assert "one judge only" in ranks["bravo"].note
    entries = score_table("stackgan", tmp_path / "results.csv", tmp_path / "papers").entries["others"]
    assert {entry.method: entry.value for entry in entries if entry.metric == "human_rank"} == {
        "alpha": 1,
        "bravo": 2,
        "charlie": 3,
    }


def test_the_table_as_csv_and_markdown(page: tuple[Path, Study], tmp_path: Path) -> None:
    key, study = page
    rows = [answer_row(study, 0, ABC), answer_row(study, 1, ABC), answer_row(study, 2, BAC)]
    report = tally_rankings([write_answers(tmp_path / "a.csv", rows)], key=key, out=tmp_path / "tables")
    assert report.files == (tmp_path / "tables/human-cub.csv", tmp_path / "tables/human-cub.md")
    lines = list(csv.DictReader(report.files[0].open(encoding="utf-8")))
    assert [line["method"] for line in lines] == list(MODELS)
    assert lines[0]["human_rank"] == "1.3333"
    assert lines[0]["first_places"] == "0.6667"
    assert [lines[0][f"rank_{rank}"] for rank in (1, 2, 3)] == ["2", "1", "0"]
    assert (lines[0]["judges"], lines[0]["questions"], lines[0]["models"]) == ("1", "3", "3")
    assert "| alpha | 1.33 ± 0.33 | 67 % |" in report.markdown
    assert report.files[1].read_text(encoding="utf-8") == report.markdown
    assert report.warnings == ("Anna ranked 3 of 4 captions",)


def test_one_ranking_has_no_error(page: tuple[Path, Study], tmp_path: Path) -> None:
    key, study = page
    report = tally_rankings(
        [write_answers(tmp_path / "a.csv", [answer_row(study, 0, ABC)])], key=key, out=tmp_path
    )
    assert report.tally.models[0].standard_error is None
    assert report.tally.agreement is None
    assert report.rows[0].std is None
    assert "| alpha | 1.00 | 100 % |" in report.markdown


def test_the_last_answer_counts_by_date_not_by_file(page: tuple[Path, Study], tmp_path: Path) -> None:
    key, study = page
    late, early = "2026-11-02T09:00:00.000Z", "2026-11-01T09:00:00.000Z"
    # What a browser calls the second download comes before the first one's name
    second = write_answers(tmp_path / "answers-Anna (1).csv", [answer_row(study, 0, CBA, date=late)])
    first = write_answers(
        tmp_path / "answers-Anna.csv", [answer_row(study, 0, ABC, date=early), answer_row(study, 1, ABC)]
    )
    report = tally_rankings([second, first], key=key, out=tmp_path)
    assert report.tally.rankings == 2
    assert report.tally.models[2].mean_rank == 2  # charlie: first where Anna changed her mind, last elsewhere
    assert "1 answers are there again from the same judge, 1 of them with other ranks" in report.warnings[0]
    assert tally_rankings([first, first], key=key, out=tmp_path).tally.rankings == 2


@pytest.mark.parametrize("delimiter", [";", "\t"])
def test_a_spreadsheet_may_have_saved_it_anew(
    page: tuple[Path, Study], tmp_path: Path, delimiter: str
) -> None:
    key, study = page
    rows = [answer_row(study, 0, ABC, "Ängström, Éva")]
    report = tally_rankings([write_answers(tmp_path / "a.csv", rows, delimiter)], key=key, out=tmp_path)
    assert report.tally.judges == {"Ängström, Éva": 1}


def test_formulas_stay_text(tmp_path: Path) -> None:
    folders = write_folders(tmp_path, MODELS[:2])
    names = ["=cmd()", "+1"]
    made = make_ranking_page(folders, out=tmp_path / "page", n=1, names=names)
    row = answer_row(made.study, 0, {"=cmd()": 1, "+1": 2}, judge="'=Anna")
    report = tally_rankings(
        [write_answers(tmp_path / "a.csv", [row])], key=tmp_path / "page", out=tmp_path / "tables"
    )
    assert report.tally.judges == {"=Anna": 1}
    cells = [cell for line in csv.reader(report.files[0].open(encoding="utf-8")) for cell in line]
    assert "'=cmd()" in cells
    assert not any(cell.startswith(("=", "+", "-", "@")) for cell in cells)


# --- invalid answers ----------------------------------------------------------------------------------------------


def refused(page: tuple[Path, Study], tmp_path: Path, **changes: str) -> str:
    key, study = page
    rows = [answer_row(study, 0, ABC), {**answer_row(study, 1, ABC), **changes}]
    path = write_answers(tmp_path / "answers-x.csv", rows)
    with pytest.raises(DataError) as caught:
        tally_rankings([path], key=key, out=tmp_path / "tables")
    assert not (tmp_path / "tables").exists()
    message = str(caught.value)
    assert message.startswith(f"{path}: line 3: ")
    return message


def test_another_study(page: tuple[Path, Study], tmp_path: Path) -> None:
    assert "another study (bcdfghbcdfgh" in refused(page, tmp_path, study="bcdfghbcdfgh")


def test_incomplete_and_impossible_rankings(page: tuple[Path, Study], tmp_path: Path) -> None:
    first, second, third = page[1].questions[1].images
    foreign = next(iter(page[1].questions[2].images))
    for ranks, reason in (
        ("", "incomplete ranking, 0 of 3"),
        (f"{first}:1 {second}:2", "incomplete ranking, 2 of 3"),
        (f"{first}:1 {second}:1 {third}:2", "1 to 3, each once"),
        (f"{first}:1 {second}:2 {third}:4", "1 to 3, each once"),
        (f"{first}:1 {first}:2 {third}:3", "two ranks"),
        (f"{first}:1 {second}:2 {foreign}:3", f"no image '{foreign}'"),
        (f"{first}:1 {second}:best {third}:3", "no image with its rank"),
        (f"{first} {second} {third}", "no image with its rank"),
    ):
        assert reason in refused(page, tmp_path, ranks=ranks)


def test_unknown_question_and_nobody(page: tuple[Path, Study], tmp_path: Path) -> None:
    assert "no question 'q99'" in refused(page, tmp_path, question="q99")
    assert "which judge" in refused(page, tmp_path, judge="  ")


def test_files_that_are_no_answers(page: tuple[Path, Study], tmp_path: Path) -> None:
    key, _ = page

    def message(content: bytes | None) -> str:
        path = tmp_path / "x.csv"
        path.unlink(missing_ok=True)
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(DataError) as caught:
            tally_rankings([path], key=key, out=tmp_path / "tables")
        assert str(path) in str(caught.value)
        return str(caught.value)

    assert "no such file" in message(None)
    assert "column study" in message(b"")
    assert "column ranks" in message(",".join(name for name in COLUMNS if name != "ranks").encode())
    assert "cannot be read" in message(b"\xff\xfe\x00")
    assert "no answers" in message(",".join(COLUMNS).encode())
    assert "line 2" in message(",".join(COLUMNS).encode() + b"\nbcd")


def test_a_missing_key(page: tuple[Path, Study], tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"key\.json: no such file"):
        tally_rankings([], key=tmp_path / "key.json", out=tmp_path)
