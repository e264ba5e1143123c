"""`gancli sample` and `gancli score`: from a run folder to images, numbers and tables."""

from __future__ import annotations

import csv
import filecmp
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile
from PIL import Image

from tests.cli.conftest import Gancli


def test_own_sentences_with_figures(gancli: Gancli, run: Path, tmp_path: Path) -> None:
    answer = gancli(
        "sample", run, "--text", "a small black bird", "--text", "a white xylophone", "--variants", "2", "--stages",
        "--attention", "--out", tmp_path / "out", "--json",
    )  # fmt: skip
    assert answer.code == 0, answer.stderr
    assert answer.json["images"] == 4
    assert "xylophone" in answer.stderr
    rows = list(csv.DictReader((tmp_path / "out/samples.csv").open()))
    assert [row["caption"] for row in rows] == ["a small black bird"] * 2 + ["a white xylophone"] * 2
    assert Image.open(tmp_path / "out" / rows[0]["file"]).size == (32, 32)
    assert len(list((tmp_path / "out/stages").iterdir())) == 4
    assert len(list((tmp_path / "out/attention").iterdir())) == 4


def test_the_newest_run_and_a_new_folder_for_each_call(
    gancli: Gancli, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "runs").symlink_to(run.parent)
    monkeypatch.chdir(tmp_path)
    made = []
    for number in (1, 2):
        answer = gancli("sample", "latest", "--text", "a small black bird", "--device", "cpu", "--json")
        assert answer.code == 0, answer.stderr
        assert answer.json["out"] == f"images/000{number}-ffgan-a-small-black-bird"
        made.append(Path(answer.json["files"][0]).read_bytes())
    assert made[0] == made[1]
    refused = gancli("sample", "latest", "--text", "a small black bird", "--overwrite")
    assert refused.code == 2
    assert "--out" in refused.stderr


@pytest.mark.parametrize("path", [".", "model", "model/config.yaml"])
def test_any_path_of_a_run(gancli: Gancli, run: Path, tmp_path: Path, path: str) -> None:
    answer = gancli("sample", run / path, "--text", "a small black bird", "--out", tmp_path / "out", "-q")
    assert answer.code == 0, answer.stderr


def test_variants_of_the_condition_on_one_sheet(gancli: Gancli, run: Path, tmp_path: Path) -> None:
    answer = gancli(
        "sample", run, "--text", "a small black bird", "--text", "a white bird", "--variants", "3",
        "--vary", "condition", "--grid", "variants", "--out", tmp_path / "out",
    )  # fmt: skip
    assert answer.code == 0, answer.stderr
    sheet = tmp_path / "out/figures/variants.png"
    assert str(sheet) in answer.stdout
    assert Image.open(sheet).width == 3 * (64 + 2) + 2


def test_from_one_sentence_to_another(gancli: Gancli, tiny_stackgan: Path, tmp_path: Path) -> None:
    answer = gancli(
        "sample", tiny_stackgan, "--interpolate", "a white bird", "a small black bird", "--steps", "4", "--stages",
        "--out", tmp_path / "out", "--json",
    )  # fmt: skip
    assert answer.code == 0, answer.stderr
    assert answer.json["images"] == 4
    assert answer.json["figures"][-1] == str(tmp_path / "out/figures/interpolation.png")
    rows = list(csv.DictReader((tmp_path / "out/samples.csv").open()))
    assert {(row["caption"], row["second_caption"]) for row in rows} == {
        ("a white bird", "a small black bird")
    }
    assert [round(float(row["weight"]), 3) for row in rows] == [0, 0.333, 0.667, 1]
    again = gancli("score", "agreement", tmp_path / "out", "--results", tmp_path / "results.csv")
    assert again.code == 2
    assert "between two sentences" in again.stderr


def test_stackgan_attends_to_no_words(gancli: Gancli, tiny_stackgan: Path, tmp_path: Path) -> None:
    arguments = ("--text", "a white bird", "--attention", "--out", tmp_path / "out")
    answer = gancli("sample", tiny_stackgan, *arguments)
    assert answer.code == 2
    assert "no word attention" in answer.stderr


def test_recorded_and_spoken_captions(gancli: Gancli, tiny_fusion_s2igan: Path, tmp_path: Path) -> None:
    times = np.arange(6000) / 8000
    for number in (1, 2):
        soundfile.write(tmp_path / f"clip{number}.wav", 0.3 * np.sin(2000 * number * times), 8000)
    answer = gancli(
        "sample", tiny_fusion_s2igan, "--wav", tmp_path / "clip1.wav", "--wav", tmp_path / "clip2.wav",
        "--out", tmp_path / "out", "--json",
    )  # fmt: skip
    assert answer.code == 0, answer.stderr
    rows = list(csv.DictReader((tmp_path / "out/samples.csv").open()))
    assert [Path(row["audio"]).name for row in rows] == ["clip1.wav", "clip2.wav"]

    pytest.importorskip("espeakng_loader", reason="no eSpeak NG: the extra gancli[speech] is not installed")
    spoken = (tiny_fusion_s2igan, "--speak", "a small red bird", "--voice", "en-gb", "--speed", "160")
    answer = gancli("sample", *spoken, "--out", tmp_path / "spoken", "--json")
    assert answer.code == 0, answer.stderr
    (row,) = csv.DictReader((tmp_path / "spoken/samples.csv").open())
    assert (row["caption"], row["voice"]) == ("a small red bird", "en-gb at 160")
    for wrong, code, words in (
        (("--voice", "nobody"), 2, "nobody"),
        (("--speed", "5"), 2, "from 80 to 450"),
        (("--speak", "?!"), 3, "?!: "),
    ):
        answer = gancli("sample", *spoken[:3], *wrong, "--out", tmp_path / "wrong")
        assert (answer.code, words in answer.stderr) == (code, True), answer.stderr
    assert not (tmp_path / "wrong").exists()


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("--text", "a bird"), 2, '--speak "a small red bird"'),
        (("--captions", "captions.txt"), 2, "hears captions and reads none"),
        (("--wav", "nothing.wav"), 3, "nothing.wav is missing"),
        (("--data", "DATA"), 3, "its captions are not spoken"),
        (("--wav", "a.wav", "--voice", "en-gb"), 2, "--speak"),
        (("--mismatched",), 2, "--data DIR"),
        ((), 2, "--wav FILE"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_what_a_model_that_hears_refuses(
    gancli: Gancli,
    tiny_fusion_s2igan: Path,
    tiny_dataset: Path,
    tmp_path: Path,
    arguments: tuple[str, ...],
    code: int,
    words: str,
) -> None:
    named = [str(tiny_dataset) if argument == "DATA" else argument for argument in arguments]
    answer = gancli("sample", tiny_fusion_s2igan, *named, "--out", tmp_path / "out")
    assert (answer.code, words in answer.stderr) == (code, True), answer.stderr
    assert not (tmp_path / "out").exists()


def test_quiet_names_the_files(gancli: Gancli, run: Path, tmp_path: Path) -> None:
    answer = gancli("sample", run, "-t", "a black bird", "--out", tmp_path / "out", "-q")
    (name,) = answer.stdout.splitlines()
    assert Path(name).is_file()


def test_the_same_seed_gives_the_same_images_in_any_batch(gancli: Gancli, run: Path, tmp_path: Path) -> None:
    captions = tmp_path / "captions.txt"
    captions.write_text("a small black bird\na white bird with large wings\nthe bird is brown\n")
    for batch in ("1", "3"):
        arguments = ("--captions", captions, "--batch", batch, "--out", tmp_path / batch, "--device", "cpu")
        assert gancli("sample", run, *arguments).code == 0
    names = [path.name for path in (tmp_path / "1").glob("*.png")]
    assert len(names) == 3
    assert filecmp.cmpfiles(tmp_path / "1", tmp_path / "3", names, shallow=False)[0] == names


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        ((), 2, "nothing to draw"),
        (("--text", "a bird", "--data", "DATA"), 2, "--data, --text: captions come from one place"),
        (("--text", "xylophone"), 3, "xylophone"),
        (("--captions", "nothing.txt"), 3, "nothing.txt"),
        (("--data", "DATA", "--split", "validation"), 3, "validation"),
        (("--text", "a bird", "--variants", "0"), 2, "--variants"),
        (("--text", "a bird", "--device", "cuda:99"), 2, "cuda:99"),
        (("--text", "a bird", "--device", "gpu"), 2, "gpu"),
        (("--text", "a bird", "--vary", "z", "--variants", "2"), 2, "condition"),
        (("--text", "a bird", "--grid", "variants"), 2, "--variants 8"),
        (("--text", "a bird", "--steps", "5"), 2, "--interpolate"),
        (("--interpolate", "a bird", "--stages"), 2, "--stages is an option"),
        (("--interpolate", "a bird", "a black bird"), 2, "attends to the words"),
        (("--text", "a bird", "--embeddings", "vectors.npz"), 2, "--data"),
        (("--text", "a bird", "--images-per-class", "2"), 2, "--images-per-class: goes with the captions"),
        (("--data", "DATA", "-n", "3", "--captions-per-image", "2"), 2, "Say -n or --captions-per-image"),
        (("--speak", "a bird"), 2, '--text "a small red bird"'),
        (("--data", "DATA", "--mismatched"), 2, "hears none"),
        (("--interpolate", "a bird", "a black bird", "-n", "3"), 2, "-n: goes with the captions"),
        (("--data", "DATA", "--embeddings", "vectors.npz"), 2, "is not needed"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_what_sample_refuses(
    gancli: Gancli,
    run: Path,
    tiny_dataset: Path,
    tmp_path: Path,
    arguments: tuple[str, ...],
    code: int,
    words: str,
) -> None:
    named = [str(tiny_dataset) if argument == "DATA" else argument for argument in arguments]
    answer = gancli("sample", run, *named, "--out", tmp_path / "out")
    assert answer.code == code
    assert words in answer.stderr
    assert not (tmp_path / "out").exists()


def test_an_empty_captions_file(gancli: Gancli, run: Path, tmp_path: Path) -> None:
    (tmp_path / "empty.txt").write_text("\n\n")
    answer = gancli("sample", run, "--captions", tmp_path / "empty.txt", "--out", tmp_path / "out")
    assert answer.code == 3
    assert "empty.txt" in answer.stderr


def test_a_folder_that_holds_something_else(gancli: Gancli, run: Path, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    for more in ((), ("--overwrite",)):
        answer = gancli("sample", run, "--text", "a black bird", "--out", tmp_path, *more)
        assert answer.code == 2
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_model_folder_cut_short(gancli: Gancli, run: Path, tmp_path: Path) -> None:
    model = Path(shutil.copytree(run / "model", tmp_path / "model"))
    weights = model / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    answer = gancli("sample", model, "--text", "a black bird", "--out", tmp_path / "out")
    assert answer.code == 3
    assert "weights.safetensors" in answer.stderr
    weights.unlink()
    assert gancli("sample", model, "--text", "a black bird", "--out", tmp_path / "out").code == 3


def test_scores_are_rows_and_become_tables(
    gancli: Gancli, images: Path, tiny_dataset: Path, encoder: Path, tmp_path: Path
) -> None:
    results = tmp_path / "results.csv"
    common = ("--results", results, "--device", "cpu", "--json")
    features = ("--features", f"encoder:{encoder}", "--no-cache")
    fid_arguments = ("score", "fid", f"{tiny_dataset}:test", images, *features)
    fid = gancli(*fid_arguments, *common)
    assert fid.code == 0, fid.stderr
    assert fid.json["rows"][0]["value"] > 0
    broken = gancli(*fid_arguments, "--check", "fid>1e9", "--results", "/dev/null")
    assert broken.code == 4
    assert "check failed: fid is" in broken.stderr
    assert gancli(*fid_arguments, "--check", "fid=1", "--results", "/dev/null").code == 2
    retrieval = gancli("score", "r-precision", images, "--encoder", encoder, "--candidates", "5", *common)
    assert retrieval.code == 0, retrieval.stderr
    generated, real = retrieval.json["rows"]
    assert generated["method"].startswith("FF-GAN [model.stages=[16, 32]")
    assert real["method"] == "real"
    assert "this very encoder" in retrieval.stderr

    rows = list(csv.DictReader(results.open()))
    assert [row["metric"] for row in rows] == ["fid", "r_precision", "r_precision"]
    table = gancli("score", "table", "ffgan", "--results", results, "--out", tmp_path / "tables")
    assert table.code == 0, table.stderr
    assert "FF-GAN [model.stages=[16, 32]" in (tmp_path / "tables/ffgan-others.md").read_text()


def test_real_images_look_for_generated_ones(
    gancli: Gancli, run: Path, tiny_dataset: Path, encoder: Path, tmp_path: Path
) -> None:
    folder, results = tmp_path / "out", tmp_path / "results.csv"
    protocol = ("--images-per-class", "2", "--captions-per-image", "3")
    drawn = gancli("sample", run, "--data", tiny_dataset, *protocol, "--out", folder, "--json")
    assert drawn.code == 0, drawn.stderr
    common = ("--features", f"encoder:{encoder}", "--results", results, "--device", "cpu", "--json")
    answer = gancli("score", "map", folder, *common)
    assert answer.code == 0, answer.stderr
    generated, real = answer.json["rows"]
    assert generated["n_fake"] == drawn.json["images"]
    assert "3 of each of these images" in generated["protocol"]
    assert "chance" in generated["protocol"]
    assert real["method"] == "real"

    answer = gancli("score", "recall", folder, "-k", "1", "-k", "999", *common)
    assert answer.code == 0, answer.stderr
    assert [row["metric"] for row in answer.json["rows"]] == ["recall_at_1", "recall_at_999"]
    assert answer.json["rows"][1]["value"] == 100
    assert "k = 999 is more than" in answer.stderr
    assert gancli("score", "recall", folder, "-k", "0", *common).code == 2
    assert len(list(csv.DictReader(results.open()))) == 4


def test_statistics_in_and_out(
    gancli: Gancli, images: Path, tiny_dataset: Path, encoder: Path, tmp_path: Path
) -> None:
    common = ("--features", f"encoder:{encoder}", "--results", tmp_path / "results.csv", "--no-cache", "-q")
    saved = tmp_path / "real.npz"
    direct = gancli("score", "fid", f"{tiny_dataset}:test", images, *common, "--save-stats", saved)
    stored = gancli("score", "fid", saved, images, *common)
    assert direct.code == stored.code == 0, stored.stderr
    assert float(direct.stdout) == pytest.approx(float(stored.stdout))


def test_the_inception_network_is_named_where_it_is_missing(
    gancli: Gancli, images: Path, tiny_dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GANCLI_HOME", str(tmp_path))
    monkeypatch.setenv("GANCLI_OFFLINE", "1")
    answer = gancli("score", "fid", f"{tiny_dataset}:test", images, "--results", tmp_path / "results.csv")
    assert answer.code == 3
    for part in (
        "pt_inception-2015-12-05-6726825d.pth",
        "https://",
        "6726825d0af5f729",
        str(tmp_path / "weights"),
    ):
        assert part in answer.stderr
    assert not (tmp_path / "results.csv").exists()


def test_too_few_captions_to_choose_from(gancli: Gancli, images: Path, encoder: Path, tmp_path: Path) -> None:
    answer = gancli(
        "score", "r-precision", images, "--encoder", encoder, "--results", tmp_path / "results.csv"
    )
    assert answer.code == 3
    assert "candidates" in answer.stderr


def test_agreement_is_for_the_demo_birds(gancli: Gancli, run: Path, tmp_path: Path) -> None:
    assert gancli("sample", run, "--text", "a small bird with wings", "--out", tmp_path / "out").code == 0
    answer = gancli("score", "agreement", tmp_path / "out", "--results", tmp_path / "results.csv")
    assert answer.code == 3
    assert "demo" in answer.stderr


def test_attributes_and_the_figures_of_their_paper(
    gancli: Gancli, tiny_attr2image: Path, tiny_dataset: Path, tmp_path: Path
) -> None:
    answer = gancli(
        "sample", tiny_attr2image, "--attr", "primary_color=black", "--attr", "size=small", "--variants", "3",
        "--grid", "same-attributes", "--out", tmp_path / "out", "--json",
    )  # fmt: skip
    assert answer.code == 0, answer.stderr
    assert answer.json["images"] == 3
    assert answer.json["figures"][-1] == str(tmp_path / "out/figures/same-attributes.png")
    answer = gancli(
        "sample", tiny_attr2image, "--data", tiny_dataset, "-n", "4", "--grid", "same-shape", "--out",
        tmp_path / "data",
    )  # fmt: skip
    assert answer.code == 0, answer.stderr
    assert (tmp_path / "data/figures/same-shape.png").is_file()


def test_attributes_that_there_are_not(gancli: Gancli, tiny_attr2image: Path, tmp_path: Path) -> None:
    out = ("--out", tmp_path / "out")
    answer = gancli("sample", tiny_attr2image, "--attr", "primary_color=blak", *out)
    assert answer.code == 2
    assert "black" in answer.stderr
    answer = gancli("sample", tiny_attr2image, "--text", "a black bird", "--attention", *out)
    assert answer.code == 2
    assert "--text, --attention" in answer.stderr


def test_sentences_only_for_models_that_read_them(gancli: Gancli, run: Path, tmp_path: Path) -> None:
    answer = gancli("sample", run, "--attr", "primary_color=red", "--out", tmp_path / "out")
    assert answer.code == 2
    assert "--attr: " in answer.stderr
    answer = gancli(
        "sample",
        run,
        "--text",
        "a bird",
        "--variants",
        "2",
        "--grid",
        "same-shape",
        "--out",
        tmp_path / "out",
    )
    assert answer.code == 2
    assert "--grid variants" in answer.stderr
