"""Every score takes names and paths, as str or as Path, and gives the same rows."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from PIL import Image

import gancli
from gancli.data.preparation.options import PrepareOptions
from gancli.data.preparation.prepare import prepare
from gancli.data.sources.demo import dataset as demo
from gancli.sampling.captions import DatasetCaptions
from gancli.sampling.sample import sample
from gancli.scores.features import FeatureNetwork
from gancli.scores.results import ScoreRow, append_row, read_rows
from tests.scores.test_shapes import masks, write_folder

Score = Callable[..., ScoreRow | tuple[ScoreRow, ...]]

NETWORK = FeatureNetwork(
    name="pixels",
    sha256="c" * 64,
    dim=12,
    resize="area",
    prepare=lambda images: torch.nn.functional.adaptive_avg_pool2d(images, 2),
    network=lambda images: images.flatten(1),
    device=torch.device("cpu"),
)


@pytest.fixture(scope="module")
def samples(tiny_model: Path, tiny_dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images of every caption of the tiny test split."""
    folder = tmp_path_factory.mktemp("samples")
    sample(tiny_model, out=folder, source=DatasetCaptions(tiny_dataset))
    return folder


@pytest.fixture(scope="module")
def birds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small demo dataset."""
    folder = tmp_path_factory.mktemp("demo")
    demo.write_demo(folder / "raw", images=16, image_size=32)
    prepare(demo.read(folder / "raw"), folder / "demo", PrepareOptions(image_size=32))
    return folder / "demo"


def same(score: Score, *paths: object, **options: object) -> None:
    """Score with all paths as str and as Path, and compare."""
    found = []
    for kind in (str, Path):
        arguments = [kind(path) if isinstance(path, (str, Path)) else path for path in paths]
        keywords = {key: kind(value) if isinstance(value, Path) else value for key, value in options.items()}
        rows = score(*arguments, **keywords)
        rows = rows if isinstance(rows, tuple) else (rows,)
        assert rows
        found.append([dataclasses.replace(row, date="") for row in rows])
    assert found[0] == found[1]


def test_scores_of_generated_images(
    samples: Path, tiny_dataset: Path, tiny_encoder: Path, tmp_path: Path
) -> None:
    test = Path(f"{tiny_dataset}:test")
    same(gancli.score_fid, test, samples, NETWORK, cache=False, save_stats=tmp_path / "real.npz")
    same(gancli.score_fid, tmp_path / "real.npz", samples, NETWORK)
    same(gancli.score_is, samples, NETWORK, splits=1, data=test)
    same(gancli.score_r_precision, samples, tiny_encoder, candidates=3, data=test)
    same(gancli.score_map, samples, NETWORK, data=test)
    same(gancli.score_recall, samples, NETWORK, ranks=[1], data=test)


def test_networks_by_name(samples: Path, tiny_dataset: Path, tiny_encoder: Path) -> None:
    name = f"encoder:{tiny_encoder}"
    row = gancli.score_fid(f"{tiny_dataset}:test", samples, name, cache=False)
    assert (row.network_kind, row.backbone, row.network_output) == ("damsm", "small", "features")
    assert gancli.score_map(samples, name)[0].network_kind == "damsm"
    assert gancli.score_recall(samples, name, ranks=[1])[0].network_kind == "damsm"


def test_scores_of_filled_images(tmp_path: Path) -> None:
    for folder, color in (("filled", "red"), ("real", "blue")):
        (tmp_path / folder).mkdir()
        Image.new("RGB", (12, 12), color).save(tmp_path / folder / "a.png")
    hole = Image.new("L", (12, 12))
    hole.paste(255, (3, 3, 9, 9))
    hole.save(tmp_path / "hole.png")
    for score in (gancli.score_psnr, gancli.score_ssim):
        same(score, tmp_path / "filled", real=tmp_path / "real", mask=tmp_path / "hole.png")


def test_scores_of_the_demo_dataset(birds: Path, tmp_path: Path) -> None:
    same(gancli.score_agreement, f"{birds}:train")
    shapes = write_folder(tmp_path / "shapes", masks(4, 32), birds)
    for kind in (str, Path):
        assert gancli.score_shapes(kind(shapes), "pixels", cache=False, data=kind(f"{birds}:test"))


def test_results_and_tables(samples: Path, tiny_dataset: Path, tmp_path: Path) -> None:
    row = gancli.score_fid(f"{tiny_dataset}:test", samples, NETWORK, cache=False)
    append_row(str(tmp_path / "results.csv"), row)
    assert read_rows(str(tmp_path / "results.csv")) == [row]
    first = gancli.score_table("ffgan", tmp_path / "results.csv", tmp_path / "tables")
    second = gancli.score_table("ffgan", str(tmp_path / "results.csv"), str(tmp_path / "tables"))
    assert first == second
