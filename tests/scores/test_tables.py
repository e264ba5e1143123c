"""The papers' tables: their numbers, ours beside them, and differences of numbers measured in the same way only."""

from __future__ import annotations

import pandas as pd
import pytest

from gancli.errors import DataError, UsageError
from gancli.scores.comparability import disagreements, protocol_of
from gancli.scores.metrics import METRICS, shown, shown_difference
from gancli.scores.results import COLUMNS, ScoreRow, append_rows
from gancli.scores.tables import papers, read_paper, read_published, score_table
from gancli.weights import WEIGHTS

CUB = {
    "dataset": "cub",
    "release": "CUB-200-2011",
    "split_rule": "zero-shot 150/50",
    "crop_rule": "box 1.5×",
    "split": "test",
    "n_real": 2933,
}
OXFORD = {
    **CUB,
    "dataset": "oxford102",
    "release": "Oxford-102",
    "split_rule": "zero-shot 82/20",
    "crop_rule": "none",
}
FLICKR = {**CUB, "dataset": "flickr8k", "release": "Flickr8k", "split_rule": "7000/1000", "crop_rule": "none"}
PLACES = {
    **CUB,
    "dataset": "places",
    "release": "Places-subset",
    "split_rule": "test list",
    "crop_rule": "none",
}
COCO = {
    "dataset": "coco",
    "release": "COCO 2014",
    "split_rule": "train/val",
    "crop_rule": "none",
    "split": "val",
    "n_real": 40504,
}
INCEPTION = {
    "network": "inception",
    "network_kind": "inception",
    "transform": "pytorch-fid",
    "network_sha256": WEIGHTS["fid_inception"].sha256,
}
IMAGENET = {"network": "imagenet (inception_v3)", "network_kind": "imagenet", "transform": "torchvision"}
DMGAN = {**IMAGENET, "transform": "dmgan"}
OTHER = {"network": "encoder:a (small)", "network_kind": "damsm"}
FFGAN = {"kind": "ffgan", "method": "FF-GAN", "caption_words": 18, "n_fake": 30_000}
FID = {**CUB, **FFGAN, **DMGAN, "metric": "fid", "protocol": "Frechet distance", "value": 17.13}
RETRIEVAL = {
    **CUB,
    **FFGAN,
    "metric": "r_precision",
    "network": "encoder:damsm (inception_v3)",
    "network_kind": "damsm",
    "backbone": "inception_v3",
    "k": 1,
    "candidates": 100,
    "encoder_words": 18,
    "r_precision_rule": "official",
    "protocol": "own caption against 99 of other classes",
    "value": 70.0,
    "std": 0.6,
}
SPOKEN = {"kind": "fusion-s2igan", "method": "Fusion-S2iGan"}
MAP = {
    **CUB,
    **SPOKEN,
    **IMAGENET,
    "transform": "s2igan",
    "metric": "map",
    "protocol": "mAP",
    "queries": 100,
    "queries_per_class": 2,
    "n_classes": 50,
    "gallery": 1000,
    "gallery_least": 10,
    "gallery_most": 10,
    "value": 11.12,
    "n_real": 100,
    "n_fake": 1000,
}
RECALL = {
    **MAP,
    **FLICKR,
    "metric": "recall_at_50",
    "protocol": "R@50",
    "queries": 994,
    "queries_per_class": None,
    "n_classes": None,
    "gallery_least": 5,
    "gallery_most": 5,
    "value": 30.0,
    "n_real": 994,
    "n_fake": 4970,
}
SPOKEN_FID = {**FID, **SPOKEN, **INCEPTION, "caption_words": None}
SPOKEN_IS = {
    **SPOKEN_FID,
    **IMAGENET,
    "metric": "inception_score",
    "splits": 10,
    "n_real": 0,
    "value": 4.0,
    "std": 0.1,
}
FILLED = {
    **CUB,
    "method": "CSF-GAN",
    "kind": "csfgan",
    "window": "whole",
    "n_fake": 2933,
    "hole_kind": "center",
    "hole_center": 0.5,
}
PSNR = {**FILLED, "metric": "psnr", "protocol": "PSNR", "value": 21.0, "std": 3.0}
SSIM = {
    **FILLED,
    "metric": "ssim",
    "ssim_window": "uniform",
    "protocol": "SSIM",
    "value": 0.8315,
    "std": 0.04,
}
FILLED_FID = {**FILLED, **INCEPTION, "metric": "fid", "protocol": "Frechet distance", "value": 17.13}
COST = {
    "dataset": "cub",
    "method": "CSF-GAN",
    "kind": "csfgan",
    "images": "none",
    "n_real": 0,
    "n_fake": 0,
    "protocol": "of csfgan",
    "seed": None,
}
REAL = {"images": "real", "method": "real", "kind": "", "n_fake": 0}


def row(base, **changes):
    fields = {
        "model": "runs/1/model",
        "model_hash": "a" * 64,
        "window": "center",
        "image_size": 256,
        "seed": 100,
        **base,
    }
    return ScoreRow(**{**fields, **changes})


def changed(**settings):
    """Differences from the paper's recipe, as a model folder records them."""
    return tuple(
        {"key": key.replace("__", "."), "paper": None, "here": value} for key, value in settings.items()
    )


@pytest.fixture
def tables(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def make(*rows, paper="ffgan"):
        if rows:
            append_rows("results.csv", rows)
        return score_table(paper)

    return make


def ours(report, stem):
    return [entry for entry in report.entries[stem] if entry.source == "gancli"]


# --- the published numbers and their protocols ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("paper", "count", "cell", "value"),
    [
        ("ffgan", 41, ("1", "FF-GAN", "text", "cub", "r_precision"), 80.49),
        ("ffgan", 41, ("fig7", "baseline+FF-Block", "text", "cub", "fid"), 17.06),
        ("stackgan", 10, ("1", "GAN-INT-CLS", "text", "oxford102", "inception_score"), 2.66),
        ("fusion-s2igan", 144, ("1", "StackGAN++", "speech", "cub", "map"), 8.09),
        ("fusion-s2igan", 144, ("6", "single-module", "speech", "places", "fid"), 41.67),
        ("csfgan", 83, ("3", "baseline+WLD", "text", "cub", "fid"), 19.56),
        ("csfgan", 83, ("4", "no edge loss", "text", "cub", "fid"), 30.23),
    ],
)
def test_the_papers_numbers(paper, count, cell, value):
    values = {(r.table, r.method, r.input, r.dataset, r.metric): r.value for r in read_published(paper)}
    assert values[cell] == value
    assert len(values) == count


@pytest.mark.parametrize("name", papers())
def test_every_published_number_has_a_table_and_a_protocol(name):
    paper = read_paper(name)
    tables = {table.number: table for table in paper.tables}
    for number in read_published(name):
        table = tables[number.table]
        assert number.metric in table.metrics
        assert not table.datasets or number.dataset in table.datasets
        assert number.metric in paper.metrics
        assert paper.metrics[number.metric].alone or number.dataset in paper.datasets
        paper.protocol(number.metric, number.dataset)
    for table in paper.tables:
        assert set(table.metrics) <= METRICS.keys()
        named = {number.method for number in read_published(name) if number.table == table.number}
        models = {each for each, settings in table.rows.items() if settings is not None}
        assert named & models or not named or not models


def test_unknown_paper():
    with pytest.raises(UsageError, match="'attngan' is not a paper"):
        score_table("attngan")


# --- numbers that must not be compared ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("paper", "base", "changes", "reason"),
    [
        # Other test sets
        (
            "ffgan",
            FID,
            {"split_rule": "official", "n_real": 5794},
            "split rule official, not zero-shot 150/50",
        ),
        ("ffgan", FID, {"n_real": 5794}, "real images 5,794, not 2,933"),
        ("fusion-s2igan", SPOKEN_FID, {"split_rule": "official", "n_real": 5794}, "split rule official"),
        ("ffgan", FID, {"n_real": 983}, "real images 983, not 2,933"),
        ("ffgan", FID, {**COCO, "release": "COCO 2017", "n_real": 5000}, "release COCO 2017, not COCO 2014"),
        (
            "fusion-s2igan",
            SPOKEN_FID,
            {**OXFORD, "split_rule": "official", "n_real": 6149},
            "split rule official",
        ),
        ("fusion-s2igan", RECALL, {"queries": 55}, "querying images 55, not 994 or 1,000"),
        ("fusion-s2igan", MAP, {"n_classes": 17, "queries": 34}, "classes 17, not 50"),
        ("ffgan", FID, {"dataset": "demo"}, "no numbers on demo"),
        ("ffgan", FID, {"split": "train"}, "split train"),
        ("ffgan", FID, {"crop_rule": "ratio75"}, "crop ratio75"),
        # Another network, or other images
        ("ffgan", FID, INCEPTION, "network inception, not imagenet"),
        ("ffgan", FID, IMAGENET, "preparation of the network's input torchvision, not dmgan"),
        ("ffgan", FID, OTHER, "network damsm"),
        ("ffgan", FID, {"n_fake": 2933}, "generated images 2,933, not 30,000"),
        ("ffgan", FID, {"n_fake": None}, "generated images unknown"),
        ("ffgan", FID, {"image_size": 64}, "side in pixels 64"),
        ("ffgan", FID, {"caption_words": 12}, "words that the model reads 12"),
        ("ffgan", RETRIEVAL, {"backbone": "small"}, "architecture of the network small, not inception_v3"),
        ("ffgan", RETRIEVAL, {"candidates": 10}, "captions to choose from 10, not 100"),
        ("ffgan", RETRIEVAL, {"encoder_words": 15}, "words that the encoder reads 15, not 18"),
        ("ffgan", RETRIEVAL, REAL, "ceiling"),
        (
            "fusion-s2igan",
            MAP,
            {"transform": "torchvision"},
            "preparation of the network's input torchvision, not s2igan",
        ),
        ("fusion-s2igan", SPOKEN_IS, {**PLACES, "n_fake": 2779, "splits": 1}, "splits 1, not 10"),
        (
            "fusion-s2igan",
            SPOKEN_FID,
            {**PLACES, "split_rule": "drawn", "n_real": 2779, "n_fake": 2779},
            "split rule drawn",
        ),
        ("fusion-s2igan", MAP, OTHER, "network damsm, not imagenet"),
        ("fusion-s2igan", MAP, {"queries_per_class": 3}, "querying images of each class 3, not 2"),
        ("fusion-s2igan", MAP, {"gallery_least": 0}, "fewest images of a querying one 0, not 10"),
        ("fusion-s2igan", RECALL, {"gallery_least": 1, "gallery_most": 1}, "not 5"),
        ("fusion-s2igan", SPOKEN_FID, {"n_fake": 2933}, "2,933, not 29,330 to 30,000"),
        ("fusion-s2igan", SPOKEN_FID, IMAGENET, "network imagenet, not inception"),
        (
            "fusion-s2igan",
            SPOKEN_FID,
            {"network_sha256": "b" * 64},
            "weights of the network bbbbbbbbbbbb, not 6726825d0af5",
        ),
        ("fusion-s2igan", SPOKEN_FID, {**PLACES, "n_real": 2779, "n_fake": 10}, "10, not 2,779 or 2,870"),
        ("fusion-s2igan", SPOKEN_IS, {}, "fine-tuned Inception"),
        ("stackgan", SPOKEN_IS, {"kind": "stackgan"}, "fine-tuned Inception, which is not available"),
        ("csfgan", PSNR, {"window": "center"}, "part of the stored images center, not whole"),
        ("csfgan", PSNR, {"n_fake": 2000}, "generated images 2,000"),
        ("csfgan", PSNR, {"hole_center": 0.25}, "side of the hole 0.25, not 0.5"),
        ("csfgan", PSNR, {"hole_kind": "irregular", "hole_center": None}, "holes irregular, not center"),
        ("csfgan", SSIM, {"ssim_window": "wang"}, "window wang, not uniform"),
        (
            "csfgan",
            {**COST, "metric": "parameters_million", "value": 82.3},
            {"image_size": 128},
            "pixels 128",
        ),
        ("csfgan", {**COST, "metric": "training_hours", "value": 30.0}, {}, "another machine"),
    ],
)
def test_a_number_measured_in_another_way_is_not_compared_and_says_why(paper, base, changes, reason, tables):
    score = row(base, **changes)
    assert reason in read_paper(paper).why_not_comparable(score)
    report = tables(score, paper=paper)
    entries = [entry for found in report.entries.values() for entry in found if entry.scores]
    assert entries
    assert all(entry.delta is None for entry in entries)
    assert any(reason in entry.not_comparable for entry in entries)


@pytest.mark.parametrize(
    ("paper", "base", "changes"),
    [
        ("ffgan", FID, {}),
        ("ffgan", FID, COCO),
        ("ffgan", FID, {**COCO, "n_real": 40470}),
        ("ffgan", RETRIEVAL, {}),
        ("fusion-s2igan", MAP, {}),
        ("fusion-s2igan", MAP, {**OXFORD, "n_real": 40, "queries": 40, "n_classes": 20}),
        ("fusion-s2igan", RECALL, {}),
        ("fusion-s2igan", SPOKEN_FID, {}),
        ("fusion-s2igan", SPOKEN_FID, {"n_fake": 29_330}),
        ("fusion-s2igan", SPOKEN_FID, {**PLACES, "n_real": 2779, "n_fake": 2779}),
        ("fusion-s2igan", SPOKEN_FID, {**PLACES, "n_real": 2870, "n_fake": 2870}),
        ("fusion-s2igan", SPOKEN_IS, {**PLACES, "n_real": 0, "n_fake": 2779}),
        ("csfgan", PSNR, {}),
        ("csfgan", SSIM, {**OXFORD, "n_real": 1155, "n_fake": 1155}),
        ("csfgan", FILLED_FID, {}),
        ("csfgan", {**COST, "metric": "parameters_million", "value": 82.3}, {}),
    ],
)
def test_a_number_of_the_papers_protocol_is_compared(paper, base, changes):
    assert read_paper(paper).why_not_comparable(row(base, **changes)) == ""


def test_two_scores_are_compared_field_by_field():
    one = row(FID)
    assert disagreements(row(FID, value=3.0, seed=7, model="other"), protocol_of(one)) == []
    assert disagreements(row(FID, n_fake=10, transform="clean"), protocol_of(one)) == [
        "generated images 10, not 30,000",
        "preparation of the network's input clean, not dmgan",
    ]


# --- which row ------------------------------------------------------------------------------------------------


def test_same_protocol_gives_a_difference_with_its_caveat(tables):
    report = tables(row(FID), row(RETRIEVAL))
    (fid,), (retrieval,) = ours(report, "table2"), ours(report, "table1")
    assert fid.delta == pytest.approx(2.0)
    assert retrieval.delta == pytest.approx(-10.49)
    assert "preparation is not published" in fid.note
    assert "17.13 (+2.00)" in report.markdown
    assert {entry.method for entry in ours(report, "fig7")} == {"FF-GAN"}
    assert {entry.method for entry in ours(report, "fig8")} == {"λ₂ = 5"}
    assert "others" not in report.entries


@pytest.mark.parametrize(
    ("paper", "base", "changes", "stem", "name", "delta"),
    [
        ("ffgan", FID, {"ablation": {"model.ff_block": False}}, "fig7", "baseline+GSR", 17.13 - 20.42),
        ("ffgan", FID, {"differences": changed(loss__damsm=1.0)}, "fig8", "λ₂ = 1", None),
        ("ffgan", FID, {"differences": changed(loss__damsm=10.0)}, "fig8", "λ₂ = 10", None),
        ("fusion-s2igan", MAP, {"ablation": {"model.attention": "bam"}}, "table3", "BAM", 11.12 - 10.32),
        ("fusion-s2igan", MAP, {"ablation": {"model.attention": "cot"}}, "table3", "CoTAttn", 11.12 - 10.53),
        ("fusion-s2igan", MAP, {"ablation": {"model.fusion": "add"}}, "table4", "Addition", 11.12 - 2.7),
        ("fusion-s2igan", MAP, {"ablation": {"model.block": "dfgan"}}, "table5", "DF-GAN", 11.12 - 8.2),
        ("fusion-s2igan", RECALL, {"ablation": {"model.modules": 1}}, "table6", "single-module", 30 - 32.37),
        (
            "csfgan",
            FILLED_FID,
            {"ablation": {"model.fusion": "none", "model.word_discriminator": False}},
            "table3",
            "baseline",
            17.13 - 32.39,
        ),
        ("csfgan", FILLED_FID, {"ablation": {"loss.edge": 0.1}}, "table4", "lambda_edge=0.1", 17.13 - 15.87),
        ("csfgan", FILLED_FID, {"ablation": {"loss.edge": 0.0}}, "table4", "no edge loss", 17.13 - 30.23),
    ],
)
def test_an_ablation_stands_in_its_own_row_only(paper, base, changes, stem, name, delta, tables):
    report = tables(row(base, **changes), paper=paper)
    found = {each: [entry.method for entry in ours(report, each)] for each in report.entries}
    assert {each: methods for each, methods in found.items() if methods} == {stem: [name]}
    assert ours(report, stem)[0].delta == (None if delta is None else pytest.approx(delta))


@pytest.mark.parametrize(
    ("paper", "base", "changes"),
    [
        ("ffgan", FID, {"method": "FF-GAN [loss.damsm=0.5]", "differences": changed(loss__damsm=0.5)}),
        ("ffgan", FID, {"differences": changed(model__affine_residual=True, model__gsr_attention="spatial")}),
        ("ffgan", FID, {"trained_steps": 0}),
        ("ffgan", FID, {"mismatched": True}),
        ("ffgan", FID, {"dataset": "demo"}),
        ("csfgan", PSNR, {"differences": changed(loss__gan="bce")}),
        ("csfgan", PSNR, {"differences": changed(loss__adversarial=0.0)}),
        ("csfgan", FILLED_FID, {"ablation": {"loss.edge": 2.0}}),
        ("csfgan", FILLED_FID, {"ablation": {"model.fusion": "word"}}),
        ("csfgan", FILLED_FID, {"images": "mean_fill", "kind": "", "method": "mean fill"}),
        ("attr2image", FID, {"kind": "attr2image", "differences": changed(loss__pixel=True)}),
        # Ablations on datasets for which the paper has no such row
        ("fusion-s2igan", MAP, {**OXFORD, "ablation": {"model.fusion": "add"}}),
        ("fusion-s2igan", RECALL, {"ablation": {"model.attention": "bam"}}),
        ("fusion-s2igan", SPOKEN_FID, {"ablation": {"model.modules": 1}}),
        ("fusion-s2igan", SPOKEN_FID, {**PLACES, "ablation": {"model.block": "dfgan"}}),
    ],
)
def test_what_is_no_row_of_the_paper_has_a_table_of_its_own(paper, base, changes, tables):
    report = tables(row(base, **changes), paper=paper)
    assert all(not ours(report, stem) for stem in report.entries if stem != "others")
    (entry,) = ours(report, "others")
    assert entry.delta is None
    assert "belong to no row of the paper" in report.markdown


def test_no_score_is_lost(tables):
    scores = [row(FID, seed=seed, ablation={"model.gsr": bool(seed % 2)}) for seed in range(4)]
    scores += [row(FID, metric="psnr", value=1.0), row(RETRIEVAL, dataset="demo"), row(FID, **REAL)]
    report = tables(*scores)
    placed = [score for entries in report.entries.values() for entry in entries for score in entry.scores]
    assert {str(score.to_json()) for score in placed} == {str(score.to_json()) for score in scores}


def test_prose_decides_nothing(tables):
    """A score is placed and compared by its fields, whatever its method and its protocol say."""
    report = tables(row(FID, method="baseline of mine", protocol="; holes: center 0.5"))
    (entry,) = ours(report, "table2")
    assert (entry.method, entry.delta) == ("FF-GAN", pytest.approx(2.0))


def test_images_of_an_unknown_model_go_by_the_name_that_the_user_gave(tables):
    report = tables(row(FID, kind="", method="DM-GAN", value=17.0), row(FID, kind="", method="Nobody"))
    (entry,) = ours(report, "table2")
    assert entry.delta == pytest.approx(17.0 - 16.09)
    assert [entry.method for entry in ours(report, "others")] == ["Nobody"]


def test_the_whole_model_stands_in_every_table_of_its_dataset_under_the_name_there(tables):
    report = tables(row(MAP), row(RECALL), paper="fusion-s2igan")
    names = {stem: [(e.method, e.dataset) for e in ours(report, stem)] for stem in report.entries}
    assert names == {
        "table1": [("Fusion-S2iGan", "cub")],
        "table2": [("Fusion-S2iGan", "flickr8k")],
        "table3": [("PAM", "cub")],
        "table4": [("WFM", "cub"), ("WFM", "flickr8k")],
        "table5": [("VSFM", "cub")],
        "table6": [("dual-module", "flickr8k")],
        "fig6": [],
        "fig8": [],
    }


def test_first_places_of_people_stand_in_the_figures(tables):
    places = {
        **CUB,
        **SPOKEN,
        "metric": "human_first_places",
        "protocol": "people",
        "value": 60.0,
        "n_fake": 100,
    }
    report = tables(row(places), row(places, **FLICKR), paper="fusion-s2igan")
    assert [entry.dataset for stem in ("fig6", "fig8") for entry in ours(report, stem)] == ["cub", "flickr8k"]
    assert "| S2IGAN | – |" in report.markdown


def test_filled_images_and_images_drawn_whole_share_no_table(tables):
    drawn, filled = row(FID, method="drawn"), row(FILLED_FID, method="filled")
    for paper, wanted in (("ffgan", False), ("fusion-s2igan", False), ("csfgan", True)):
        report = tables(drawn, filled, paper=paper)
        scores = [score for entries in report.entries.values() for entry in entries for score in entry.scores]
        assert {score.filled for score in scores} == {wanted}


# --- means over seeds -----------------------------------------------------------------------------------------


def test_scores_of_several_seeds_become_their_mean_and_deviation(tables):
    scores = [
        row(FID, value=value, model_hash=hash * 64, train_seed=n)
        for n, (value, hash) in enumerate([(14.0, "a"), (16.0, "b"), (18.0, "c")])
    ]
    report = tables(*scores, row(FID, value=99.0, n_fake=500))
    first, other = ours(report, "table2")
    assert (first.value, first.std, first.delta) == (16.0, 2.0, pytest.approx(0.87))
    assert first.spread == "3 trainings"
    assert (other.value, other.variant, other.delta) == (99.0, 1, None)
    assert "16.00 ± 2.00 (+0.87)" in report.markdown
    assert "± over 3 trainings" in report.markdown


def test_the_last_of_several_measures_counts(tables):
    (entry,) = ours(tables(row(FID, value=30.0), row(FID, value=20.0)), "table2")
    assert (entry.value, entry.std, len(entry.scores)) == (20.0, None, 1)


def test_a_spread_over_images_is_not_called_a_deviation_over_seeds(tables):
    report = tables(row(PSNR), paper="csfgan")
    assert "21.00 ± 3.00 (+0.25)" in report.markdown
    assert "± over images" in report.markdown


# --- the four forms -------------------------------------------------------------------------------------------


def test_without_scores_the_papers_tables_are_printed(tables):
    report = tables(paper="fusion-s2igan")
    assert report.markdown.count("No score of ours yet") == 8
    assert "| StackGAN++ | 4.04 ± 0.05 | 26.07 | 7.01 | 3.26 ± 0.01 | 48.68 | – |" in report.markdown
    assert "| StackGAN++ | 4.14 ± 0.04 | 18.94 | 8.09 |" in report.markdown
    with pytest.raises(DataError, match="nowhere.csv: no such file"):  # noqa: RUF043
        score_table("ffgan", "nowhere.csv")


def test_the_files(tables):
    report = tables(row(FID, note="beware"))
    assert [path.name for path in report.files] == [
        f"ffgan-{stem}{end}"
        for stem in ("table1", "table2", "fig7", "fig8")
        for end in (".csv", "-scores.csv", ".md", ".tex")
    ]
    wide = pd.read_csv("tables/ffgan-table2.csv").set_index(["method", "source"])
    assert wide.loc[("FF-GAN", "gancli"), "cub fid Δ"] == pytest.approx(2.0)
    assert wide.loc[("FF-GAN", "paper"), "coco fid"] == 29.44
    scores = pd.read_csv("tables/ffgan-table2-scores.csv")
    assert set(COLUMNS) <= set(scores.columns)
    assert len(scores) == 16
    assert scores["n_fake"].iloc[-1] == 30000
    assert "beware" in report.markdown


def test_inputs_are_groups_and_the_best_number_is_bold(tables):
    report = tables(row(SPOKEN_FID, value=12.0), paper="fusion-s2igan")
    table = report.markdown.partition("## Table 2")[0].splitlines()
    assert [line for line in table if line.startswith("| *")] == [
        "| *text input* | | | | | | |",
        "| *speech input* | | | | | | |",
        "| *gancli* | | | | | | |",
    ]
    assert sum("**12.00**" in line for line in table) == 1
    assert sum("**5.06 ± 0.09**" in line for line in table) == 1
    assert not any("**13.09**" in line for line in table)


def test_a_number_that_cannot_be_compared_is_not_the_best(tables):
    report = tables(row(SPOKEN_FID, value=1.0, n_fake=10), paper="fusion-s2igan")
    assert "**1.00**" not in report.markdown
    assert "**13.09**" in report.markdown


def test_markdown_tables_are_rectangular(tables):
    report = tables(row(FID), row(RETRIEVAL, dataset="demo"), row(FID, kind="", method="a|b", model="x|y"))
    for block in report.markdown.split("## "):
        lines = [line for line in block.splitlines() if line.startswith("|")]
        assert len({line.replace("\\|", "").count("|") for line in lines}) <= 1


def test_latex_is_balanced_and_escaped(tables):
    report = tables(row(FID, kind="", method="50% & more_"), row(FID), row(SPOKEN_FID))
    for path in report.files:
        if path.suffix == ".tex":
            text = path.read_text(encoding="utf-8")
            assert text.count("{") - text.count(r"\{") == text.count("}") - text.count(r"\}")
            rows = [line for line in text.splitlines() if line.endswith(r"\\") and "multicolumn" not in line]
            assert len({line.count("&") - line.count(r"\&") for line in rows}) <= 1
            assert r"\toprule" in text
    assert r"50\% \& more\_" in (report.files[0].parent / "ffgan-others.tex").read_text(encoding="utf-8")


def test_small_numbers_are_not_shown_as_zero():
    assert shown("fid", 3.6e-06) == "3.6e-06"
    assert shown("fid", 0.0) == "0.00"
    assert shown("ssim", 0.8315) == "0.832"
    assert shown_difference("fid", -0.001) == "0.00"
    assert shown_difference("fid", -0.01) == "-0.01"
    assert shown_difference("ssim", 0.0025) == "+0.003"


def test_the_papers_misprints_and_contradictions_stand_in_notes(tables):
    csfgan, spoken, ffgan = (tables(paper=paper).markdown for paper in ("csfgan", "fusion-s2igan", "ffgan"))
    assert "misprint in the paper" in csfgan
    assert "a modified MMFL that the paper does not describe" in csfgan
    assert "running text (5.2.1, 5.4.1 to 5.4.3) says IS 4.82, FID 13.74, mAP 11.49" in spoken
    assert "headed mAP in the paper; the values are R@50" in spoken
    assert "dtgan-approx is not it" in spoken
    assert "likely a copy error in the paper" in ffgan


# --- attr2image -----------------------------------------------------------------------------------------------


def test_silhouettes_of_ablations_and_images_have_tables_of_their_own(tables):
    shape = {**FID, "kind": "attr2image", "metric": "mask_fid", "dataset": "demo"}
    rows = [
        row(shape, method="attribute2shape", ablation={"stage": "shape"}),
        row(shape, method="unconditional", ablation={"stage": "shape", "model.conditional": False}),
        row(shape, **REAL),
        row(FID, kind="attr2image", method="attr2image", dataset="demo"),
        row(FID, kind="attr2image", method="x", ablation={"stage": "image", "model.d_sees_shape": True}),
    ]
    report = tables(*rows, paper="attr2image")
    names = {stem: [entry.method for entry in ours(report, stem)] for stem in report.entries}
    assert names == {
        "fig2": ["attribute2shape", "unconditional shapes", "real images"],
        "fig4": ["attr2image"],
        "others": ["x"],
    }
    assert "the paper reports no numbers" in report.markdown
