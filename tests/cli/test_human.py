"""`gancli score human`: from folders of images or models to the page, and from the answers to the table."""

from __future__ import annotations

import csv
from pathlib import Path

from gancli.human.study import read_key
from tests.cli.conftest import Gancli
from tests.human.pages import MODELS, answer_row, write_answers, write_folders


def test_from_folders_to_the_papers_table(gancli: Gancli, tmp_path: Path) -> None:
    folders = write_folders(tmp_path)
    page, results = tmp_path / "page", tmp_path / "results.csv"
    names = ("--name", "GAN-INT-CLS", "--name", "GAWWN", "--name", "StackGAN")
    made = gancli("score", "human", "make", *folders, "--out", page, "-n", "4", *names, "--json")
    assert made.code == 0, made.stderr
    assert made.json["models"] == ["GAN-INT-CLS", "GAWWN", "StackGAN"]
    assert made.json["captions"] == made.json["shared"] == 4
    study = read_key(page / "key.json")
    ranks = {"StackGAN": 1, "GAWWN": 2, "GAN-INT-CLS": 3}
    files = [
        write_answers(
            tmp_path / f"answers-{judge}.csv", [answer_row(study, n, ranks, judge) for n in range(4)]
        )
        for judge in ("Anna", "Ben")
    ]
    arguments = ("--key", page / "key.json", "--results", results, "--out", tmp_path / "tables")
    told = gancli("score", "human", "tally", *files, *arguments, "--json")
    assert told.code == 0, told.stderr
    assert told.json["judges"] == {"Anna": 4, "Ben": 4}
    assert told.json["kendall_w"] == 1
    assert told.json["warnings"] == []
    assert gancli("score", "human", "tally", *files, *arguments, "-q").stdout.split() == ["3", "2", "1"]
    readable = gancli("score", "human", "tally", *files, *arguments)
    assert "| StackGAN | 1.00 ± 0.00 | 100 % |" in readable.stdout
    table = gancli("score", "table", "stackgan", "--results", results, "--out", tmp_path / "papers")
    assert table.code == 0, table.stderr
    files = (tmp_path / "papers").glob("*-scores.csv")
    lines = [line for file in files for line in csv.DictReader(file.open(encoding="utf-8"))]
    ours = [line for line in lines if line["source"] == "gancli"]
    assert {
        (line["method"], line["dataset"], line["metric"]): float(line["value"])
        for line in ours
        if line["metric"] == "human_rank"
    } == {(method, "cub", "human_rank"): rank for method, rank in ranks.items()}
    assert all(line["not_comparable"] for line in ours)


def test_models_draw_first(gancli: Gancli, run: Path, tiny_dataset: Path, tmp_path: Path) -> None:
    models = (run, run / "model")
    arguments = ("--data", f"{tiny_dataset}:test", "-n", "2", "--device", "cpu", "--name", "a", "--name", "b")
    made = gancli("score", "human", "make", *models, "--out", tmp_path / "page", *arguments)
    assert made.code == 0, made.stderr
    assert "give it to the judges" in made.stdout
    assert f"--key {tmp_path / 'page/key.json'}" in made.stdout
    assert "same image" in made.stderr
    study = read_key(tmp_path / "page/key.json")
    assert study.models[0].model_hash == study.models[1].model_hash
    assert (study.dataset, study.split) == ("cub", "test")


def test_own_sentences(gancli: Gancli, run: Path, tmp_path: Path) -> None:
    captions = tmp_path / "captions.txt"
    captions.write_text("a small black bird\na white bird\n", encoding="utf-8")
    arguments = ("--captions", captions, "-n", "2", "--device", "cpu", "--name", "a", "--name", "b")
    page = tmp_path / "page"
    assert gancli("score", "human", "make", run, run, "--out", page, *arguments).code == 0
    study = read_key(page / "key.json")
    answers = write_answers(tmp_path / "a.csv", [answer_row(study, n, {"a": 1, "b": 2}) for n in range(2)])
    told = gancli(
        "score", "human", "tally", answers, "--key", page, "--results", tmp_path / "r.csv", "--out", tmp_path, "--json"
    )  # fmt: skip
    assert told.code == 0, told.stderr
    assert {row["dataset"] for row in told.json["rows"]} == {"captions"}


def test_what_goes_wrong_is_said(gancli: Gancli, tmp_path: Path) -> None:
    folders = write_folders(tmp_path, MODELS[:2])
    page = tmp_path / "page"
    too_few = gancli("score", "human", "make", *folders, "--out", page)
    assert too_few.code == 3
    assert "share 4 captions, 50 are wanted" in too_few.stderr
    assert "-n 4" in too_few.stderr
    assert gancli("score", "human", "make", folders[0], "--out", page, "-n", "1").code == 2
    assert gancli("score", "human", "make", *folders, tmp_path / "absent", "--out", page).code == 3
    assert gancli("score", "human", "make", *folders, "--out", page, "-n", "2").code == 0
    another = gancli("score", "human", "make", *folders, "--out", page, "-n", "3")
    assert another.code == 2
    assert "another page already" in another.stderr
    study = read_key(page / "key.json")
    foreign = write_answers(
        tmp_path / "foreign.csv", [{**answer_row(study, 0, {"alpha": 1, "bravo": 2}), "study": "other"}]
    )
    results = tmp_path / "results.csv"
    answer = gancli("score", "human", "tally", foreign, "--key", page, "--results", results)
    assert answer.code == 3
    assert str(foreign) in answer.stderr
    assert not results.exists()
    typo = gancli("score", "human", "taly", foreign)
    assert typo.code == 2
    assert "tally" in typo.stderr
