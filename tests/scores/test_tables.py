"""The papers' tables: their numbers, ours beside them, and a difference only where the protocols are the same."""

import csv

import pytest

from gancli.errors import DataError, UsageError
from gancli.scores.results import ScoreRow, append_row
from gancli.scores.tables import METRICS, PAPERS, read_paper, score_table

INCEPTION = {"network": "inception", "network_kind": "inception", "network_output": "features"}
IMAGENET = {"network": "imagenet (inception_v3)", "network_kind": "imagenet", "network_output": "features"}
OTHER = {"network": "encoder:a (small)", "network_kind": "damsm", "network_output": "features"}
FID = {
    "metric": "fid",
    "kind": "ffgan",
    "protocol": "Frechet distance",
    "value": 17.13,
    "std": None,
    **INCEPTION,
}
RETRIEVAL = {
    "metric": "r_precision",
    "kind": "ffgan",
    "network": "encoder:damsm (inception_v3)",
    "network_kind": "damsm",
    "backbone": "inception_v3",
    "k": 1,
    "candidates": 100,
    "protocol": "own caption against 99 of other classes",
    "value": 70.0,
    "std": 0.6,
}
REAL = {"images": "real", "method": "real", "kind": "", "n_fake": 0}


def row(base, **changes):
    fields = {
        "dataset": "cub",
        "split": "test",
        "method": "FF-GAN",
        "model": "runs/1/model",
        "model_hash": "a" * 64,
        "n_real": 2933,
        "n_fake": 30000,
        "network_sha256": "b" * 64,
        "resize": "bilinear",
        "image_size": 256,
        "seed": 100,
        **base,
    }
    return ScoreRow(**{**fields, **changes})


@pytest.fixture
def tables(tmp_path):
    def make(*rows, paper="ffgan"):
        for each in rows:
            append_row(tmp_path / "results.csv", each)
        return score_table(paper, tmp_path / "results.csv", tmp_path / "tables")

    return make


def ours(report, number):
    return [line for line in report.rows if line.table == number and line.source == "gancli"]


def test_the_papers_numbers():
    values = {(r.table, r.method, r.dataset, r.metric): (r.value, r.std) for r in read_paper("ffgan")}
    assert values["1", "FF-GAN", "cub", "r_precision"] == (80.49, 0.5)
    assert values["2", "FF-GAN", "coco", "fid"] == (29.44, None)
    assert values["fig7", "baseline+FF-Block", "cub", "fid"] == (17.06, None)
    with pytest.raises(DataError, match="nobody"):
        read_paper("nobody")


def test_same_protocol_gives_a_difference_with_its_caveat(tables):
    report = tables(row(FID), row(RETRIEVAL))
    (fid,) = ours(report, "2")
    (retrieval,) = ours(report, "1")
    assert fid.delta == pytest.approx(2.0)
    assert retrieval.delta == pytest.approx(-10.49)
    assert "DM-GAN's script" in fid.note
    assert "(+2.00)" in report.markdown
    assert "(-10.49)" in report.markdown
    assert {line.method for line in ours(report, "fig7")} == {"FF-GAN"}


@pytest.mark.parametrize(
    ("kind", "changes", "reason"),
    [
        (FID, {"dataset": "demo"}, "dataset demo"),
        (FID, {"split": "train"}, "split train"),
        (FID, {"n_fake": 2933}, "2,933 images"),
        (FID, {"n_fake": None}, "unknown many images"),
        (FID, {"image_size": 64}, "64 pixels"),
        (FID, OTHER, "features of encoder:a"),
        (
            RETRIEVAL,
            {"network": "encoder:a (small)", "backbone": "small"},
            "a (small) is not a DAMSM with inception_v3",
        ),
        (RETRIEVAL, {"candidates": 10}, "R = 1 of 10, not 1 of 100"),
        (RETRIEVAL, REAL, "ceiling"),
    ],
)
def test_another_protocol_gives_a_reason_instead(tables, kind, changes, reason):
    score = row(kind, **changes)
    assert reason in PAPERS["ffgan"].why_not_comparable(score)
    report = tables(score)
    (line,) = ours(report, "1" if kind is RETRIEVAL else "2")
    assert line.delta is None
    assert reason in line.not_comparable
    assert reason in report.markdown


def test_ablations_stand_in_figure_7_and_compare_with_their_own_value(tables):
    report = tables(row(FID, method="baseline+GSR", ablation={"model.ff_block": False}, value=20.0))
    assert ours(report, "2") == []
    (line,) = ours(report, "fig7")
    assert line.delta == pytest.approx(20.0 - 20.42)


def test_prose_decides_nothing(tables):
    """A score is placed and compared by its fields, whatever its method and its protocol say."""
    report = tables(row(FID, method="baseline of mine", protocol="; holes: center 0.5"))
    (line,) = ours(report, "2")
    assert line.delta == pytest.approx(2.0)


@pytest.mark.parametrize("changes", [{"trained_steps": 0}, {"mismatched": True}])
def test_a_model_that_was_not_trained_or_not_given_its_conditions_is_not_the_papers(tables, changes):
    (line,) = ours(tables(row(FID, **changes)), "2")
    assert line.delta is None
    assert "the paper gives no value of FF-GAN" in line.not_comparable


def test_images_of_an_unknown_model_go_by_the_name_that_the_user_gave(tables):
    (line,) = ours(tables(row(FID, kind="", method="DM-GAN", value=17.0)), "2")
    assert line.delta == pytest.approx(17.0 - 16.09)


def test_other_metrics_do_not_enter(tables):
    report = tables(row(FID, metric="agreement_primary_colour"))
    assert all(line.source == "paper" for line in report.rows)
    assert "No score of ours yet" in report.markdown


def test_the_last_of_several_measures_counts(tables):
    report = tables(row(FID, value=30.0), row(FID, value=20.0), row(FID, value=25.0, seed=1))
    assert [line.value for line in ours(report, "2")] == [20.0, 25.0]


def test_files_hold_paper_notes_and_provenance(tables):
    report = tables(row(FID, note="beware"), row(RETRIEVAL, dataset="demo", n_fake=500))
    assert sorted(path.name for path in report.files) == [
        f"ffgan-{name}.{end}" for name in ("fig7", "table1", "table2") for end in ("csv", "md")
    ]
    by_name = {path.name: path.read_text(encoding="utf-8") for path in report.files}
    lines = list(csv.DictReader(by_name["ffgan-table2.csv"].splitlines()))
    assert len(lines) == 15 + 1
    assert lines[-1]["network_sha256"] == "b" * 64
    assert lines[-1]["n_fake"] == "30000"
    assert lines[-1]["delta"] == "2.0000"
    assert lines[0]["delta"] == ""
    text = by_name["ffgan-table1.md"]
    assert "likely a copy error in the paper" in text
    assert "| DM-GAN | 72.31 ± 0.91 | 88.56 ± 0.28 | – |" in text
    assert "500 generated" in text
    assert "beware" in by_name["ffgan-table2.md"]


def test_markdown_tables_are_rectangular(tables):
    report = tables(row(FID), row(RETRIEVAL, dataset="demo"), row(FID, method="a|b", model="x|y"))
    for path in report.files:
        if path.suffix == ".md":
            lines = [line for line in path.read_text().splitlines() if line.startswith("|")]
            assert len({line.replace("\\|", "").count("|") for line in lines}) == 1


def test_missing_results(tmp_path):
    with pytest.raises(DataError, match="results.csv: no such file"):  # noqa: RUF043
        score_table("ffgan", tmp_path / "results.csv", tmp_path)


def test_unknown_paper(tmp_path):
    with pytest.raises(UsageError, match="'attngan' is not a paper"):
        score_table("attngan", tmp_path / "results.csv", tmp_path)


# --- StackGAN -------------------------------------------------------------------------------------------------

INCEPTION_SCORE = {
    "metric": "inception_score",
    "method": "StackGAN",
    "kind": "stackgan",
    "network": "classifier:encoders/judge (inception_v3)",
    "network_kind": "classifier",
    "network_output": "logits",
    "protocol": "exp of the mean divergence",
    "value": 3.9,
    "std": 0.05,
    "n_real": 0,
}
HUMAN_RANK = {
    "metric": "human_rank",
    "method": "StackGAN",
    "network": "",
    "network_sha256": "",
    "resize": "",
    "protocol": "mean rank",
    "value": 1.4,
    "std": 0.1,
}


def test_stackgans_numbers():
    values = {(r.method, r.dataset, r.metric): (r.value, r.std) for r in read_paper("stackgan")}
    assert values["StackGAN", "cub", "inception_score"] == (3.7, 0.04)
    assert values["GAN-INT-CLS", "oxford102", "inception_score"] == (2.66, 0.03)
    assert values["StackGAN", "oxford102", "human_rank"] == (1.13, 0.03)


def test_stackgans_scores_are_never_compared_and_say_why(tables):
    report = tables(row(INCEPTION_SCORE), row(HUMAN_RANK), row(FID), paper="stackgan")
    score, rank = ours(report, "1")
    assert score.delta is None
    assert "fine-tuned Inception" in score.not_comparable
    assert rank.delta is None
    assert "other judges" in rank.not_comparable
    assert sorted(path.name for path in report.files) == ["stackgan-table1.csv", "stackgan-table1.md"]
    head = next(line for line in report.markdown.splitlines() if line.startswith("| Method"))
    assert "CUB-200 Inception score ↑" in head
    assert "Oxford-102 human rank ↓" in head
    assert "| StackGAN, gancli | **3.90 ± 0.05**" in report.markdown


# --- Fusion-S2iGan --------------------------------------------------------------------------------------------

MAP = {
    "metric": "map",
    "method": "Fusion-S2iGan",
    "kind": "fusion-s2igan",
    **IMAGENET,
    "protocol": "mAP",
    "queries": 100,
    "queries_per_class": 2,
    "gallery": 1000,
    "gallery_least": 10,
    "gallery_most": 10,
    "value": 11.12,
    "std": None,
    "n_real": 100,
    "n_fake": 1000,
}
RECALL = {
    **MAP,
    "metric": "recall_at_50",
    "dataset": "flickr8k",
    "protocol": "R@50",
    "queries_per_class": None,
    "gallery_least": 5,
    "gallery_most": 5,
    "value": 30.0,
    "n_real": 994,
    "n_fake": 4970,
}
SPOKEN_FID = {**FID, "method": "Fusion-S2iGan", "kind": "fusion-s2igan"}


def test_fusion_s2igans_numbers():
    values = {(r.table, r.method, r.input, r.dataset, r.metric): r.value for r in read_paper("fusion-s2igan")}
    assert values["1", "StackGAN++", "text", "cub", "map"] == 7.01
    assert values["1", "StackGAN++", "speech", "cub", "map"] == 8.09
    assert values["2", "Fusion-S2iGan", "speech", "flickr8k", "recall_at_50"] == 34.95
    assert values["4", "Addition", "speech", "cub", "map"] == 2.7
    assert values["6", "single-module", "speech", "places", "fid"] == 41.67
    assert len(values) == 144


def test_its_six_tables_tell_inputs_apart_and_note_the_papers_contradictions(tables):
    report = tables(row(MAP), paper="fusion-s2igan")
    assert [path.name for path in report.files] == [
        f"fusion-s2igan-table{number}.{end}" for number in range(1, 7) for end in ("csv", "md")
    ]
    texts = {path.stem[-1]: path.read_text() for path in report.files if path.suffix == ".md"}
    assert "| StackGAN++ (text) | 4.04 ± 0.05 | 26.07 | 7.01 |" in texts["1"]
    assert "| StackGAN++ (speech) | 4.14 ± 0.04 | 18.94 | 8.09 |" in texts["1"]
    assert "| BAM | 4.35 ± 0.04 |" in texts["3"]
    for number in "1345":
        assert "running text (5.2.1, 5.4.1 to 5.4.3) says IS 4.82, FID 13.74, mAP 11.49" in texts[number]
    assert "5,878 training and 2,311 test images" in texts["1"]
    assert "holds among methods of speech only" in texts["2"]
    assert "fewer than the 2,048 features" in texts["2"]
    assert "says 30.95" in texts["4"]
    assert "dtgan-approx is not it" in texts["5"]
    assert "headed mAP in the paper; the values are R@50" in texts["6"]


def test_the_whole_model_stands_in_every_table_of_its_dataset_under_the_name_there(tables):
    report = tables(row(MAP), row(RECALL), paper="fusion-s2igan")
    for number in "1345":
        (line,) = [line for line in ours(report, number) if line.metric == "map"]
        assert line.delta == pytest.approx(-1.0)
        assert "is not published" in line.note
    for number in "246":
        (line,) = [line for line in ours(report, number) if line.metric == "recall_at_50"]
        assert line.delta == pytest.approx(-4.95)
    assert {line.dataset for number in "26" for line in ours(report, number)} == {"flickr8k"}


@pytest.mark.parametrize(
    ("ablation", "number", "delta"),
    [
        ({"model.attention": "bam"}, "3", 11.12 - 10.32),
        ({"model.attention": "polarized"}, "3", 11.12 - 10.74),
        ({"model.attention": "cot"}, "3", 11.12 - 10.53),
        ({"model.attention": "cot-lite"}, "3", None),
        ({"model.attention": "bam", "model.modules": 1}, "3", None),
        ({"model.fusion": "add"}, "4", 11.12 - 2.7),
        ({"model.fusion": "mul"}, "4", 11.12 - 11.11),
        ({"model.block": "dfgan"}, "5", 11.12 - 8.2),
        ({"model.block": "dtgan-approx"}, "5", None),
        ({"model.modules": 1}, "6", None),
        ({"condition": "sentence"}, "1", None),
        ({"condition": "sentence", "model.block": "dfgan"}, "1", None),
    ],
)
def test_a_substitute_stands_in_its_own_table(tables, ablation, number, delta):
    report = tables(row(MAP, ablation=ablation), row(MAP, dataset="demo"), paper="fusion-s2igan")
    lines = {each: [line for line in ours(report, each) if line.dataset == "cub"] for each in "123456"}
    assert [each for each in "123456" if lines[each]] == ([number] if number != "6" else [])
    if lines[number]:
        assert lines[number][0].delta == (None if delta is None else pytest.approx(delta))


def test_a_block_with_one_module_stands_in_table_6(tables):
    report = tables(row(RECALL, ablation={"model.modules": 1}), paper="fusion-s2igan")
    (line,) = [line for line in report.rows if line.source == "gancli"]
    assert (line.table, line.delta) == ("6", pytest.approx(30 - 32.37))


@pytest.mark.parametrize(
    ("kind", "changes", "reason"),
    [
        (MAP, {"dataset": "demo"}, "dataset demo"),
        (MAP, {"split": "train"}, "split train"),
        (MAP, {"image_size": 64}, "64 pixels"),
        (MAP, OTHER, "features of encoder:a"),
        (MAP, {"queries_per_class": 3}, "other queries than 2"),
        (MAP, {"gallery_least": 1}, "gallery than 10"),
        (MAP, {"gallery_least": 0}, "gallery than 10"),
        (MAP, REAL, "ceiling"),
        (RECALL, {"gallery_least": 1, "gallery_most": 1}, "gallery than 5"),
        (RECALL, {"dataset": "places"}, "gallery than 1 "),
        (SPOKEN_FID, {"n_fake": 2933}, "2,933 images, not 29,330 to 30,000"),
        (SPOKEN_FID, IMAGENET, "not of the Inception network"),
        (SPOKEN_FID, {"dataset": "places", "n_fake": 10}, "10 images, not 2,779"),
        (INCEPTION_SCORE, {"n_fake": 30_000}, "which is not available"),
        (INCEPTION_SCORE, {"dataset": "places", "n_fake": 2779}, "not of ImageNet's Inception-v3"),
    ],
)
def test_a_spoken_score_that_cannot_be_compared_says_why(kind, changes, reason):
    assert reason in PAPERS["fusion-s2igan"].why_not_comparable(row(kind, **changes))


@pytest.mark.parametrize(
    "score",
    [
        row(MAP),
        row(RECALL),
        row(SPOKEN_FID),
        row(SPOKEN_FID, n_fake=29_330),
        row({**INCEPTION_SCORE, **IMAGENET}, dataset="places", n_fake=2779),
    ],
)
def test_a_spoken_score_of_the_papers_protocol_is_compared(score):
    assert PAPERS["fusion-s2igan"].why_not_comparable(score) == ""


# --- CSF-GAN --------------------------------------------------------------------------------------------------

FILLED = {
    "method": "CSF-GAN",
    "kind": "csfgan",
    "network": "",
    "network_sha256": "",
    "resize": "",
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
FILLED_FID = {**FILLED, **FID, "kind": "csfgan"}
COST = {
    **FILLED,
    "images": "none",
    "hole_kind": "",
    "hole_center": None,
    "split": "",
    "n_fake": 0,
    "n_real": 0,
    "protocol": "of csfgan",
    "std": None,
    "seed": None,
}
PARAMETERS = {**COST, "metric": "parameters_million", "value": 82.285971}
IRREGULAR = {
    "hole_kind": "irregular",
    "hole_center": None,
    "hole_least": 0.1,
    "hole_most": 0.5,
    "hole_seed": 3,
}
HOURS = {**COST, "metric": "training_hours", "value": 30.0, "note": "trained on a CPU"}


def test_csfgans_numbers():
    values = {(r.table, r.method, r.dataset, r.metric): r.value for r in read_paper("csfgan")}
    assert values["1", "CSF-GAN", "oxford102", "ssim"] == 0.834
    assert values["2", "ALMR", "cub", "parameters_million"] == 175.87
    assert values["3", "baseline+WLD", "cub", "fid"] == 19.56
    assert values["4", "no edge loss", "cub", "fid"] == 30.23
    assert len(values) == 83


def test_csfgans_tables_keep_the_papers_misprint_and_contradiction_in_notes(tables):
    report = tables(row(PSNR), paper="csfgan")
    texts = {path.stem[-1]: path.read_text() for path in report.files if path.suffix == ".md"}
    assert sorted(texts) == ["1", "2", "3", "4"]
    assert "misprint in the paper" in texts["1"]
    assert "| MMFL (text) | 31.82 | 20.49 | 0.826 |" in texts["1"]
    assert "| RFR (image) |" in texts["1"]
    assert "a modified MMFL that the paper does not describe" in texts["3"]
    assert "taken to include the edge loss" in texts["3"] + texts["4"]


def test_filled_images_of_the_papers_protocol_are_compared_in_their_units(tables):
    report = tables(row(PSNR), row(SSIM), row(FILLED_FID), row(PARAMETERS), row(HOURS), paper="csfgan")
    deltas = {line.metric: line.delta for line in ours(report, "1")}
    assert deltas == {
        "psnr": pytest.approx(0.25),
        "ssim": pytest.approx(0.0025),
        "fid": pytest.approx(17.13 - 13.5),
    }
    assert "**0.832 ± 0.040** (+0.003)" in report.markdown
    assert "**21.00 ± 3.00** (+0.25)" in report.markdown
    parameters, hours = ours(report, "2")
    assert parameters.delta == pytest.approx(-0.004029)
    assert hours.delta is None
    assert "another machine" in hours.not_comparable
    assert hours.note == "trained on a CPU"
    assert {line.metric for line in ours(report, "3")} == {"psnr", "ssim", "fid"}
    (edge,) = ours(report, "4")
    assert edge.delta == pytest.approx(17.13 - 13.5)


@pytest.mark.parametrize(
    ("changes", "number", "published"),
    [
        ({"ablation": {"model.fusion": "none", "model.word_discriminator": False}}, "3", 32.39),
        ({"ablation": {"model.word_discriminator": False}}, "3", 18.23),
        ({"ablation": {"model.fusion": "none"}}, "3", 19.56),
        ({"ablation": {"model.fusion": "sentence"}}, "3", None),
        ({"ablation": {"model.fusion": "word"}}, "3", None),
        ({"ablation": {"model.fusion": "none", "loss.edge": 0.1}}, "3", None),
        ({"ablation": {"loss.edge": 0.0}}, "4", 30.23),
        ({"ablation": {"loss.edge": 0.1}}, "4", 15.87),
        ({"ablation": {"loss.edge": 0.2}}, "4", 19.23),
        ({"ablation": {"loss.edge": 1.0}}, "4", 16.31),
        ({"ablation": {"loss.edge": 2.0}}, "4", None),
        ({"trained_steps": 0}, "1", None),
        ({"images": "mean_fill", "kind": "", "method": "mean fill"}, "1", None),
    ],
)
def test_an_ablation_stands_in_its_own_table(tables, changes, number, published):
    report = tables(row(FILLED_FID, **changes), paper="csfgan")
    (line,) = [line for line in report.rows if line.source == "gancli"]
    assert line.table == number
    assert line.delta == (None if published is None else pytest.approx(17.13 - published))
    if published is None:
        assert "the paper gives no value" in line.not_comparable


@pytest.mark.parametrize(
    ("kind", "changes", "reason"),
    [
        (PSNR, {"dataset": "demo"}, "dataset demo"),
        (PSNR, {"split": "train"}, "split train"),
        (PSNR, {"n_fake": 2932}, "2,932 images, not 2,933"),
        (PSNR, {"dataset": "oxford102"}, "not 1,155"),
        (PSNR, {"image_size": 64}, "64 pixels"),
        (PSNR, {"hole_center": 0.25}, "holes center 0.25, not center 0.5"),
        (PSNR, IRREGULAR, "holes irregular 0.1 to 0.5, seed 3, not center 0.5"),
        (PSNR, {"hole_kind": "", "hole_center": None}, "holes unknown"),
        (SSIM, {"ssim_window": "wang"}, "another window than the uniform one"),
        (FILLED_FID, OTHER, "features of encoder:a"),
        (PARAMETERS, {"image_size": 128}, "128 pixels"),
        (HOURS, {}, "another machine"),
    ],
)
def test_a_score_of_filled_images_that_cannot_be_compared_says_why(kind, changes, reason):
    assert reason in PAPERS["csfgan"].why_not_comparable(row(kind, **changes))


def test_filled_images_and_images_drawn_whole_share_no_table(tables):
    drawn = row(FID, method="baseline")
    filled = row(FILLED_FID, method="baseline", n_fake=30_000)
    for paper, wanted in (("ffgan", False), ("fusion-s2igan", False), ("csfgan", True)):
        lines = [line for line in tables(drawn, filled, paper=paper).rows if line.source == "gancli"]
        assert {line.score.filled for line in lines} == {wanted}


def test_scores_of_holes_alone_are_in_no_table(tables):
    report = tables(row(PSNR, metric="psnr_hole"), row(SSIM, metric="ssim_hole"), paper="csfgan")
    assert all(line.source == "paper" for line in report.rows)


def test_every_paper_with_tables_has_its_numbers_and_metrics_have_names():
    for name, paper in PAPERS.items():
        numbers = {each.number: set(each.metrics) for each in paper.tables}
        for published in read_paper(name):
            assert published.metric in numbers[published.table]
        assert {metric for metrics in numbers.values() for metric in metrics} <= METRICS.keys()


# --- attr2image -----------------------------------------------------------------------------------------------

MASK_FID = {
    "metric": "mask_fid",
    "method": "attribute2shape",
    "kind": "attr2image",
    "ablation": {"stage": "shape"},
    **INCEPTION,
    "protocol": "Frechet distance of silhouettes",
    "value": 20.0,
    "std": None,
}
SHAPES = {**MASK_FID, "network": "", "network_sha256": "", "resize": ""}


def test_attr2image_reports_no_numbers(tables):
    assert read_paper("attr2image") == []
    report = tables(row(FID), paper="attr2image")
    assert report.rows == ()
    assert report.markdown.count("No score of ours yet") == 2
    assert "|" not in report.markdown
    assert [path.name for path in report.files] == [
        f"attr2image-{name}.{end}" for name in ("fig2", "fig4") for end in ("csv", "md")
    ]


def test_silhouettes_of_ablations_and_images_have_tables_of_their_own(tables):
    methods = ("attribute2shape", "attribute2shape, global D", "unconditional shapes", "real")
    shapes = [row(MASK_FID, **(REAL if method == "real" else {"method": method})) for method in methods]
    shapes += [row(SHAPES, metric="size_rank_correlation", value=0.8526), row(SHAPES, metric="mask_pieces")]
    whole = {"method": "attr2image", "kind": "attr2image", "ablation": {}}
    painted = {
        "method": "shape2image, D sees the shape",
        "kind": "attr2image",
        "ablation": {"stage": "image", "model.d_sees_shape": True},
    }
    images = [row(FID, **whole), row(FID, **painted), row(FID)]
    images += [row(SHAPES, **whole, metric="silhouette_iou", value=90.0)]
    report = tables(*shapes, *images, paper="attr2image")
    assert [line.method for line in ours(report, "fig2")][:4] == list(methods)
    assert [(line.method, line.metric) for line in ours(report, "fig4")] == [
        ("attr2image", "fid"),
        ("shape2image, D sees the shape", "fid"),
        ("attr2image", "silhouette_iou"),
    ]
    assert {(line.delta, line.not_comparable) for line in report.rows} == {
        (None, "the paper reports no numbers")
    }
    assert "| attribute2shape, gancli | – | **0.853** [1]" in report.markdown
    assert "CUB-200 IoU with the silhouette (%) ↑" in report.markdown


def test_mask_fids_of_other_features_stand_on_lines_of_their_own(tables):
    report = tables(
        row(MASK_FID),
        row(MASK_FID, network="pixels 16x16", network_sha256="", value=0.15),
        row(SHAPES, metric="mask_pieces", value=1.2),
        paper="attr2image",
    )
    lines = [line for line in report.markdown.splitlines() if line.startswith("| attribute2shape, gancli")]
    assert [line.count("**") for line in lines] == [2, 2, 2]
    notes = [lines[0].partition("**20.000** ")[2][:7], lines[1].partition("**0.150** ")[2][:7]]
    assert notes == ["[1] [2]", "[1] [3]"]
    for number, network in (("2", "inception (bbbbbbbbbbbb)"), ("3", "pixels 16x16")):
        (note,) = [line for line in report.markdown.splitlines() if line.startswith(f"{number}. model")]
        assert network in note
