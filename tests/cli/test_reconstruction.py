"""`gancli score psnr`, `ssim` and `cost`, and the table of CSF-GAN that they fill."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.cli.conftest import Gancli


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path, Path]:
    """Filled images, their originals, and the one mask of all."""
    rng = np.random.default_rng(0)
    filled, real = tmp_path / "filled", tmp_path / "real"
    filled.mkdir()
    real.mkdir()
    hole = np.zeros((16, 16), np.bool_)
    hole[4:12, 4:12] = True
    for name in "ab":
        original, fill = rng.integers(0, 256, (2, 16, 16, 3), np.uint8)
        Image.fromarray(original).save(real / f"{name}.bmp")
        Image.fromarray(np.where(hole[..., None], fill, original)).save(filled / f"{name}.png")
    Image.fromarray(hole).save(tmp_path / "hole.png")
    return filled, real, tmp_path / "hole.png"


def test_filled_images_against_their_originals(
    gancli: Gancli, folders: tuple[Path, Path, Path], tmp_path: Path
) -> None:
    filled, real, mask = folders
    common = ("--real", real, "--mask", mask, "--results", tmp_path / "results.csv", "--json")
    answer = gancli("score", "psnr", filled, *common)
    assert answer.code == 0, answer.stderr
    whole, in_hole, fill, _ = answer.json["rows"]
    assert whole["value"] - in_hole["value"] == pytest.approx(6.0206, abs=1e-4)
    assert fill["value"] > whole["value"]  # noise is a worse guess than the mean
    assert "25 % of the pixels are hole" in answer.stderr
    for window, words in (("uniform", "7x7"), ("wang", "Gaussian")):
        answer = gancli("score", "ssim", filled, "--window", window, *common)
        assert answer.code == 0, answer.stderr
        assert words in answer.json["rows"][0]["protocol"]
    rows = list(csv.DictReader((tmp_path / "results.csv").open()))
    assert [row["metric"] for row in rows] == ["psnr", "psnr_hole"] * 2 + ["ssim", "ssim_hole"] * 4


def test_images_of_a_dataset_without_holes(gancli: Gancli, images: Path, tmp_path: Path) -> None:
    answer = gancli("score", "ssim", images, "--results", tmp_path / "results.csv", "-q")
    assert answer.code == 0, answer.stderr
    (value,) = answer.stdout.splitlines()
    assert -1 < float(value) < 1


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        ((), 2, "--real DIR"),
        (("--invert-mask", "--real", "REAL"), 2, "--mask"),
        (("--real", "nowhere"), 3, "nowhere"),
        (("--real", "REAL", "--mask", "nothing.png"), 3, "nothing.png"),
        (("--real", "REAL", "--window", "gauss"), 2, "gauss"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_what_cannot_be_compared(
    gancli: Gancli,
    folders: tuple[Path, Path, Path],
    tmp_path: Path,
    arguments: tuple[str, ...],
    code: int,
    words: str,
) -> None:
    named = [str(folders[1]) if argument == "REAL" else argument for argument in arguments]
    answer = gancli("score", "ssim", folders[0], *named, "--results", tmp_path / "results.csv")
    assert (answer.code, words in answer.stderr) == (code, True), answer.stderr
    assert not (tmp_path / "results.csv").exists()


def test_cost_of_a_run_and_the_table_of_csfgan(gancli: Gancli, run: Path, tmp_path: Path) -> None:
    results = tmp_path / "results.csv"
    answer = gancli("score", "cost", run, "--results", results, "--json")
    assert answer.code == 0, answer.stderr
    parameters, hours = answer.json["rows"]
    assert (parameters["method"].partition(" [")[0], parameters["metric"]) == ("FF-GAN", "parameters_million")
    assert 0 < hours["value"] < 1
    assert "trained on" in answer.stderr
    for path in (run / "model", run / "checkpoints" / "step-00000002"):
        assert gancli("score", "cost", path, "--results", tmp_path / "again.csv").code == 0

    table = gancli("score", "table", "csfgan", "--results", results, "--out", tmp_path / "tables")
    assert table.code == 0, table.stderr
    assert "| CSF-GAN | **82.29** | **35.50** |" in (tmp_path / "tables/csfgan-table2.md").read_text()
