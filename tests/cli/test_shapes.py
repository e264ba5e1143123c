"""`gancli score shapes`, and the table of attr2image that it fills."""

from __future__ import annotations

from pathlib import Path

import pytest

from gancli.data.preparation.options import PrepareOptions
from gancli.data.preparation.prepare import prepare
from gancli.data.sources.demo import dataset as demo
from tests.cli.conftest import Gancli
from tests.scores.test_shapes import masks, write_folder


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("demo")
    demo.write_demo(folder / "raw", images=16, image_size=32)
    prepare(demo.read(folder / "raw"), folder / "demo", PrepareOptions(image_size=32))
    return folder / "demo"


def test_from_silhouettes_to_the_table(gancli: Gancli, dataset: Path, tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "shapes", masks(4, 32), dataset)
    results = tmp_path / "results.csv"
    answer = gancli(
        "score", "shapes", folder, "--features", "pixels", "--no-cache", "--results", results, "--json"
    )
    assert answer.code == 0, answer.stderr
    assert [row["metric"] for row in answer.json["rows"]][::2] == [
        "mask_fid", "mask_nearest_iou", "foreground_share", "mask_pieces",
    ]  # fmt: skip
    table = gancli("score", "table", "attr2image", "--results", results, "--out", tmp_path / "tables")
    assert table.code == 0, table.stderr
    assert "| attribute2shape, gancli | " in table.stdout
    assert "the paper reports no numbers" in table.stdout


def test_what_the_command_refuses(gancli: Gancli, dataset: Path, tmp_path: Path) -> None:
    results = ("--results", tmp_path / "results.csv")
    assert gancli("score", "shapes", "nowhere", "--features", "pixels", *results).code == 3
    unknown = gancli("score", "shapes", "nowhere", "--features", "vgg", *results)
    assert unknown.code == 2
    assert "pixels" in unknown.stderr
    answer = gancli("score", "shapes", f"{dataset}:test", "--features", "pixels", *results)
    assert answer.code == 2
    assert not (tmp_path / "results.csv").exists()
