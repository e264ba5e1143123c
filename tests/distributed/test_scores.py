"""Scores on two processes: the numbers of one, one row, one message."""

from __future__ import annotations

import csv
import dataclasses
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from gancli.data.preparation.options import PrepareOptions
from gancli.data.preparation.prepare import prepare
from gancli.data.sources.demo import dataset as demo
from gancli.encoders.damsm import load_damsm
from gancli.errors import DataError
from gancli.sampling.captions import DatasetCaptions
from gancli.sampling.sample import sample
from gancli.scores.across_ranks import by_parts, own_part
from gancli.scores.agreement import measure_agreement, score_agreement
from gancli.scores.features import load_features
from gancli.scores.fid import score_fid
from gancli.scores.image_retrieval import score_map, score_recall
from gancli.scores.image_sets import open_images
from gancli.scores.inception_score import score_is
from gancli.scores.r_precision import score_r_precision
from gancli.scores.reconstruction import score_psnr, score_ssim
from gancli.scores.results import read_rows
from gancli.scores.shapes import load_silhouette_features, score_shapes
from tests.cli.conftest import call_process
from tests.cli.test_launch import two
from tests.distributed.ranks import environment, free_port, on_ranks
from tests.scores.test_shapes import masks, write_folder

BATCH = 3  # of 20 images: the parts are 9 and 11 long
SUMS = ("fid", "mask_fid", "inception_score")  # whose order of summation differs


@dataclasses.dataclass(frozen=True)
class Places:
    """A folder with everything to score."""

    dataset: Path
    encoder: Path
    samples: Path
    birds: Path
    silhouettes: Path


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GANCLI_HOME", str(tmp_path / "home"))


@pytest.fixture
def samples(tiny_dataset: Path, tiny_model: Path, tmp_path: Path) -> Path:
    sample(tiny_model, out=tmp_path / "samples", source=DatasetCaptions(tiny_dataset, n=20), seed=5)
    return tmp_path / "samples"


@pytest.fixture
def places(tiny_dataset: Path, tiny_encoder: Path, samples: Path, tmp_path: Path) -> Places:
    demo.write_demo(tmp_path / "raw", images=40, image_size=32)
    birds = tmp_path / "birds"
    prepare(demo.read(tmp_path / "raw"), birds, PrepareOptions(image_size=32))
    silhouettes = write_folder(tmp_path / "silhouettes", masks(20, 32), birds)
    return Places(tiny_dataset, tiny_encoder, samples, birds, silhouettes)


def every_score(places: Places) -> tuple[list[Any], ...]:
    """Return metric, method, value, deviation and image counts of every row, and the progress shown."""
    samples, network = str(places.samples), load_features(f"encoder:{places.encoder}")
    seen: list[tuple[int, int]] = []
    rows = [
        score_fid(
            f"{places.dataset}:test",
            samples,
            network,
            batch=BATCH,
            progress=lambda done, count: seen.append((done, count)),
        ),
        *score_is(samples, network, splits=2, batch=BATCH),
        *score_r_precision(samples, load_damsm(places.encoder), candidates=4, batch=BATCH),
        *score_map(samples, network, batch=BATCH),
        *score_recall(samples, network, ranks=(1, 5), batch=BATCH),
        *score_psnr(samples, batch=BATCH),
        *score_ssim(samples, batch=BATCH),
        *score_shapes(str(places.silhouettes), load_silhouette_features("pixels"), batch=BATCH),
        *score_agreement(f"{places.birds}:train"),  # a single batch: one process has no image
    ]
    values = [[row.metric, row.method, row.value, row.std, row.n_real, row.n_fake] for row in rows]
    birds = open_images(f"{places.birds}:train")
    measured = dataclasses.astuple(measure_agreement(birds, batch=BATCH))
    return values, list(measured), seen


def _score(rank: int, _: Path, places: Places) -> Any:
    return every_score(places)


@pytest.mark.slow
def test_every_score_is_that_of_one_process(places: Places, tmp_path: Path) -> None:
    first, second = on_ranks(_score, tmp_path / "two", places)
    kept = list((tmp_path / "home" / "features").iterdir())
    for file in kept:
        file.unlink()
    alone = every_score(places)
    assert {row[0] for row in alone[0]} >= {*SUMS, "r_precision", "map", "psnr", "ssim", "mask_nearest_iou"}
    for ours, theirs, expected in zip(first[0], second[0], alone[0], strict=True):
        assert ours == theirs
        if expected[0] in SUMS:
            assert ours[2] == pytest.approx(expected[2], rel=1e-6, abs=1e-9)
            assert [*ours[:2], *ours[4:]] == [*expected[:2], *expected[4:]]
        else:
            assert ours == expected
    assert first[1] == second[1] == alone[1]
    assert first[2][-1] == alone[2][-1] == (20, 20)
    assert {file.name for file in kept} == {file.name for file in (tmp_path / "home" / "features").iterdir()}


def _divide(rank: int, folder: Path) -> Any:
    parts = [own_part(count, 4) for count in (1, 4, 5, 8, 21)]
    everything = by_parts(21, 4, lambda rows: ([number] for number in range(21)[rows]))
    bad = open_images(str(folder / "images"))

    def fail(rows: slice) -> Any:
        return (len(chunk) for chunk in bad.part(rows).batches(2))

    try:
        by_parts(len(bad), 2, fail)
    except DataError as error:
        raised = str(error)
    return [[part.start, part.stop] for part in parts], everything, raised


def test_parts_are_whole_batches_and_failures_everyones(tmp_path: Path) -> None:
    images = tmp_path / "two" / "images"
    images.mkdir(parents=True)
    for number in range(6):
        Image.new("RGB", (4, 4)).save(images / f"{number}.png")
    for number in (1, 5):  # one in either part
        (images / f"{number}.png").write_bytes(b"cut short")
    first, second = on_ranks(_divide, tmp_path / "two")
    assert first[0] == [[0, 0], [0, 0], [0, 4], [0, 4], [0, 12]]
    assert second[0] == [[0, 1], [0, 4], [4, 5], [4, 8], [12, 21]]
    assert first[1] == second[1] == [[number] for number in range(21)]
    assert first[2] == second[2]
    assert "1.png" in first[2]
    assert "5.png" in first[2]


# --- the command ------------------------------------------------------------------------------------------------


@pytest.fixture
def command(tiny_dataset: Path, tiny_encoder: Path, samples: Path, tmp_path: Path) -> list[str | Path]:
    return [
        "score", "fid", f"{tiny_dataset}:test", samples, "--features", f"encoder:{tiny_encoder}", "--batch", "4",
        "--no-cache", "--results", tmp_path / "results.csv",
    ]  # fmt: skip


def torchrun() -> list[dict[str, str]]:
    port = free_port()
    return [environment(rank, 2, port) for rank in (0, 1)]


@pytest.mark.slow
def test_one_row_and_one_voice(command: list[str | Path], tmp_path: Path) -> None:
    assert call_process(command).code == 0
    first, second = two(command, torchrun())
    assert first[0] == second[0] == 0, first[2] + second[2]
    assert "fid" in first[1]
    assert second[1] == second[2] == ""
    alone, together = read_rows(tmp_path / "results.csv")
    assert together.value == pytest.approx(alone.value, rel=1e-6)
    assert dataclasses.replace(together, value=0, date="") == dataclasses.replace(alone, value=0, date="")


@pytest.mark.slow
def test_a_bad_image_of_the_second_part_is_reported_once(
    command: list[str | Path], samples: Path, tmp_path: Path
) -> None:
    with (samples / "samples.csv").open(encoding="utf-8", newline="") as file:
        last = list(csv.DictReader(file))[-1]["file"]
    (samples / last).write_bytes(b"cut short")
    first, second = two(command, torchrun())
    assert first[0] == second[0] == 3
    said = first[2] + second[2]
    assert said.count("error: ") == 1
    assert said.count("1 images cannot be read") == 1
    assert last in said
    assert "Traceback" not in said
    assert not (tmp_path / "results.csv").exists()
