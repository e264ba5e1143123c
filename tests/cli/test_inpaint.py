"""`gancli inpaint`: the user's own images, dataset splits, output and refusals."""

from __future__ import annotations

import csv
import os
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pytest
from PIL import Image

from gancli.inpainting import filling, inpaint
from tests.cli.conftest import Gancli

TEXT = ("--text", "a small black bird")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Working folder with photo.png, hole.png, and photos/ with masks/ and captions.csv."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    hole = np.zeros((60, 80), np.uint8)
    hole[20:40, 30:50] = 255
    Image.fromarray(rng.integers(0, 256, (60, 80, 3), np.uint8)).save("photo.png")
    Image.fromarray(hole).save("hole.png")
    Path("photos").mkdir()
    Path("masks").mkdir()
    for name in ("a", "b", "c"):
        Image.fromarray(rng.integers(0, 256, (60, 80, 3), np.uint8)).save(f"photos/{name}.jpg")
        Image.fromarray(hole).save(f"masks/{name}_mask.png")
    Path("captions.csv").write_text(
        "file,caption\na.jpg,a white bird\nb.jpg,a black bird\nc.jpg,a brown bird\n"
    )
    Path("text.txt").write_text("no image")
    Path("empty").mkdir()
    return tmp_path


def test_one_image(gancli: Gancli, tiny_csfgan: Path, folder: Path) -> None:
    arguments = (
        "inpaint",
        tiny_csfgan,
        "--image",
        "photo.png",
        "--mask",
        "hole.png",
        *TEXT,
        "--device",
        "cpu",
    )
    answer = gancli(*arguments, "--out", "new/out.png", "--attention", "--json")
    assert answer.code == 0, answer.stderr
    assert answer.json["files"] == ["new/out.png"]
    assert answer.json["figures"] == ["new/out-attention.png"]
    assert 0 < answer.json["model_seconds_per_image"] < answer.json["seconds_per_image"]
    assert sorted(os.listdir("new")) == ["inpainted.csv", "out-attention.npz", "out-attention.png", "out.png"]
    table = pandas.read_csv("new/inpainted.csv")
    assert list(table["file"]) == ["out.png"]
    assert list(table["image"]) == ["photo.png"]
    assert 0 < table["hole_share"][0] < 1
    assert gancli(*arguments, "--out", "new/again.png").code == 0
    assert gancli(*arguments, "--out", "new/out.png", "--overwrite").code == 0
    assert list(pandas.read_csv("new/inpainted.csv")["file"]) == ["again.png", "out.png"]

    again = gancli(*arguments, "--out", "new/out.png")
    assert again.code == 2
    assert "--skip-existing" in again.stderr
    answer = gancli(*arguments)
    assert "photo-inpainted.png: 1 image" in answer.stdout
    assert "s an image" in answer.stdout
    answer = gancli(*arguments, "--text", "a white bird", "--out", "two.png", "-q")
    assert answer.stdout == "two-1.png\ntwo-2.png\n"
    assert Path("two-texts.png").is_file()
    answer = gancli(*arguments, "--text", "a white bird", "--out", "both.png")
    assert answer.stdout.startswith("both-1.png, both-2.png: 2 images")


def test_a_folder(gancli: Gancli, tiny_csfgan: Path, folder: Path) -> None:
    arguments = ("inpaint", tiny_csfgan, "--image", "photos", "--mask", "masks", "--captions", "captions.csv")
    answer = gancli(*arguments, "--out", "filled", "-q")
    assert answer.code == 0, answer.stderr
    assert answer.stdout.split() == ["filled/a.jpg", "filled/b.jpg", "filled/c.jpg"]
    assert "JPEG" in answer.stderr
    Path("filled/b.jpg").unlink()
    answer = gancli(*arguments, "--out", "filled", "--skip-existing")
    assert answer.stdout.startswith("filled: 1 made, 2 there already")
    answer = gancli(*arguments, "--out", "filled", "--skip-existing")
    assert answer.code == 0
    assert "filled: 0 made, 3 there already" in answer.stdout


def test_a_preview_needs_no_model(gancli: Gancli, folder: Path) -> None:
    for image, mask, preview in (("photo.png", "hole.png", "seen.png"), ("photos", "masks", "seen")):
        answer = gancli("inpaint", "no-model", "--image", image, "--mask", mask, "--preview", preview)
        assert answer.code == 0, answer.stderr
        assert "in the model" not in answer.stdout
    assert sorted(os.listdir("seen")) == ["a.jpg", "b.jpg", "c.jpg"]


def test_a_split_and_its_scores(
    gancli: Gancli, tiny_csfgan: Path, tiny_dataset: Path, encoder: Path, folder: Path
) -> None:
    answer = gancli("inpaint", tiny_csfgan, "--data", tiny_dataset, "--out", "filled", "--device", "cpu")
    assert answer.code == 0, answer.stderr
    assert answer.stdout.startswith("filled: 12 images of 32 pixels, holes center 0.5, samples.csv")
    irregular = ("--hole", "irregular", "--hole-ratio", "0.2", "0.3", "--hole-seed", "3", "-n", "4")
    answer = gancli(
        "inpaint", tiny_csfgan, "--data", tiny_dataset, *irregular, "--out", "irregular", "--json"
    )
    assert answer.json["holes"] == {"kind": "irregular", "least": 0.2, "most": 0.3}
    assert answer.json["made"] == 4
    common = ("--results", "results.csv")
    for metric in ("psnr", "ssim"):
        score = gancli("score", metric, "filled", *common)
        assert score.code == 0, score.stderr
    features = ("--features", f"encoder:{encoder}", "--no-cache", "--device", "cpu")
    score = gancli("score", "fid", f"{tiny_dataset}:test", "filled", *features, *common)
    assert score.code == 0, score.stderr
    rows = list(csv.DictReader(Path("results.csv").read_text().splitlines()))
    assert all("holes: center 0.5" in row["protocol"] for row in rows)


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        ((), 2, "--image photo.jpg"),
        (("--image", "photo.png"), 2, "--mask hole.png"),
        (("--image", "photo.png", "--mask", "hole.png"), 2, '--text "a small red bird"'),
        (("--image", "photo.png", "--mask", "hole.png", "--text", ""), 2, "a text is empty"),
        (("--image", "photo.png", "--mask", "hole.png", "--text", "xylophone"), 3, "xylophone"),
        (("--image", "phot.png", "--mask", "hole.png", *TEXT), 3, "phot.png: no such file"),
        (("--image", "photo.png", "--mask", "hol.png", *TEXT), 3, "hol.png: no such file"),
        (("--image", "text.txt", "--mask", "hole.png", *TEXT), 3, "text.txt is not an image"),
        (("--image", "photo.png", "--mask", "text.txt", *TEXT), 3, "text.txt is not an image"),
        (("--image", "empty", "--mask", "hole.png", *TEXT), 3, "empty holds no image"),
        (("--image", "photos", "--mask", "masks"), 3, "one --text"),
        (("--image", "photos", "--mask", "empty", *TEXT), 3, "empty holds no image"),
        (
            ("--image", "photo.png", "--mask", "hole.png", *TEXT, "--skip-existing", "--overwrite"),
            2,
            "either left",
        ),
        (("--image", "photo.png", "--data", "DATA"), 2, "Say --image or --data"),
        (("--data", "DATA", *TEXT), 2, "--text: of no use with --data"),
        (("--data", "DATA", "--feather", "3", "--dilate", "2"), 2, "--dilate, --feather"),
        (("--data", "DATA", "--center", "0.2", "--hole", "irregular"), 2, "--hole mix"),
        (("--data", "DATA", "--hole", "round"), 2, "irregular"),
        (("--data", "DATA", "--split", "validation"), 3, "validation"),
        (("--data", "nowhere"), 3, "nowhere"),
        (("--image", "photo.png", "--mask", "hole.png", *TEXT, "-n", "3"), 2, "-n: of no use with --image"),
        (("--image", "photo.png", "--mask", "hole.png", *TEXT, "--preview", "p.png"), 2, "--preview"),
        (("--image", "photo.png", "--mask", "hole.png", *TEXT, "--device", "gpu"), 2, "gpu"),
        (("--image", "photo.png", "--maks", "hole.png", *TEXT), 2, "--mask"),
        (("--image", "photo.png", "--mask", "hole.png", *TEXT, "--out", "photo.png"), 2, "--overwrite"),
        (("--image", "photo.png", "--mask", "hole.png", *TEXT, "--out", "out/x.gif"), 2, ".png"),
        (("--image", "photos", "--mask", "masks", *TEXT, "--out", "text.txt"), 2, "text.txt: is a file"),
        (
            ("--image", "photo.png", "--mask", "hole.png", *TEXT, "--out", "text.txt/a.png"),
            2,
            "text.txt: is a file",
        ),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_what_it_refuses(
    gancli: Gancli,
    tiny_csfgan: Path,
    tiny_dataset: Path,
    folder: Path,
    arguments: tuple[str, ...],
    code: int,
    words: str,
) -> None:
    before = sorted(folder.rglob("*"))
    named = [str(tiny_dataset) if argument == "DATA" else argument for argument in arguments]
    out = () if "--out" in named or "--preview" in named else ("--out", "out.png")
    answer = gancli("inpaint", tiny_csfgan, *named, *out)
    assert (answer.code, words in answer.stderr) == (code, True), answer.stderr
    assert answer.stderr.startswith("error: ")
    assert sorted(folder.rglob("*")) == before


def test_help_says_which_way_round_a_mask_is(gancli: Gancli) -> None:
    assert "In a mask file white is the hole" in gancli("inpaint", "--help").stdout


def test_ctrl_c_keeps_what_is_finished(
    gancli: Gancli, tiny_csfgan: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    filled_before = inpaint.fill
    batches = []

    def interrupted(*arguments: Any) -> filling.Filled:
        batches.append(arguments)
        if len(batches) == 3:
            raise KeyboardInterrupt
        return filled_before(*arguments)

    monkeypatch.setattr(inpaint, "fill", interrupted)
    arguments = (
        "inpaint", tiny_csfgan, "--image", "photos", "--mask", "hole.png", *TEXT, "--batch", "1",
        "--out", "filled", "--device", "cpu",
    )  # fmt: skip
    answer = gancli(*arguments)
    assert answer.code == 130
    assert "2 of 3 images are finished; --skip-existing goes on" in answer.stderr
    assert "error: interrupted" in answer.stderr
    finished = sorted(path.name for path in folder.glob("filled/*"))
    assert finished == ["a.jpg", "b.jpg"], "and nothing half-written beside them"
    again = gancli(*arguments, "--skip-existing")
    assert again.code == 0
    assert len(batches) == 4, "only the third is made"
