"""`gancli pretrain-encoder` and `gancli train`: the plan, the run, its interruption, and what they refuse."""

from __future__ import annotations

import json
import shutil
import signal
from pathlib import Path

import pytest

from tests.cli.conftest import ENCODER, MODEL, Gancli, signalled_training


def test_a_run_leaves_its_folders(run: Path, encoder: Path) -> None:
    for name in ("config.yaml", "weights.safetensors", "vocabulary.json"):
        assert (encoder / name).is_file()
        assert (run / "model" / name).is_file()
        assert (run / "initial" / name).is_file()
    assert run.name == "0001-ffgan-cub"
    assert (run / "log.csv").read_text().count("\n") == 3
    assert (run / "recipe.yaml").is_file()


def test_dry_run_shows_the_plan_and_touches_nothing(
    gancli: Gancli, large_cub: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    answer = gancli("train", "ffgan", f"data={large_cub}", "--dry-run", "--json")
    assert answer.code == 0, answer.stderr
    assert answer.json["name"] == "ffgan/cub"  # by the dataset's name and image size
    assert answer.json["parameters"]["generator"] == 21_840_592
    answer = gancli("pretrain-encoder", "damsm", f"data={large_cub}", "-n", "--seed", "7", "train.minutes=3")
    assert answer.code == 0, answer.stderr
    assert "seed: 7" in answer.stdout
    assert "minutes: 3.0" in answer.stdout
    assert "would write encoder: encoders/damsm-cub" in answer.stdout
    assert list(here.iterdir()) == []


def test_all_mistakes_of_a_recipe_at_once(gancli: Gancli, tiny_dataset: Path) -> None:
    answer = gancli(
        "train", "ffgan", f"data={tiny_dataset}", "loader.batch=1", "optim.batch=16", "train.precision=fp8"
    )
    assert answer.code == 2
    for part in (
        "3 mistakes",
        "loader.batch: received 1, allowed: whole number >= 2",
        "optim.batch: unknown key; did you mean loader.batch?",
        "train.precision: received 'fp8'",
    ):
        assert part in answer.stderr


def test_more_images_in_a_batch_than_in_the_dataset(
    gancli: Gancli, tiny_dataset: Path, encoder: Path, tmp_path: Path
) -> None:
    answer = gancli(
        "train", "ffgan", "--recipe", "ffgan/demo", f"data={tiny_dataset}", f"encoder={encoder}", *MODEL,
        "loader.batch=50", "--runs", tmp_path / "runs",
    )  # fmt: skip
    assert answer.code == 3
    assert "50" in answer.stderr
    assert not (tmp_path / "runs").exists()


def test_an_encoder_of_another_vocabulary(gancli: Gancli, encoder: Path, tmp_path: Path) -> None:
    demo = tmp_path / "demo"
    prepared = gancli("prepare", "demo", "--out", demo, "--images", "12", "--image-size", "32", "--jobs", "1")
    assert prepared.code == 0
    answer = gancli(
        "train", "ffgan", f"data={demo}", f"encoder={encoder}", *MODEL, "--runs", tmp_path / "runs"
    )
    assert answer.code == 3
    assert "vocabulary" in answer.stderr
    assert not (tmp_path / "runs").exists()


def test_an_encoder_of_another_width(
    gancli: Gancli, tiny_dataset: Path, encoder: Path, tmp_path: Path
) -> None:
    answer = gancli(
        "train", "ffgan", "--recipe", "ffgan/demo", f"data={tiny_dataset}", f"encoder={encoder}", *MODEL,
        "model.text_dim=32", "--runs", tmp_path / "runs",
    )  # fmt: skip
    assert answer.code == 2
    assert "model.text_dim=16" in answer.stderr


def test_resume_continues_and_refuses_another_recipe(gancli: Gancli, run: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(run, tmp_path / run.name))
    answer = gancli("train", "ffgan", "--resume", copy, "model.gsr=false", "optim.generator_lr=0.1")
    assert answer.code == 2
    assert "model.gsr: True → False" in answer.stderr
    assert "optim.generator_lr" in answer.stderr
    assert "--init-from" in answer.stderr

    answer = gancli("train", "ffgan", "--resume", copy, "train.steps=3", "--json")
    assert answer.code == 0, answer.stderr
    assert answer.json["step"] == 3
    assert Path(answer.json["run"]) == copy


def test_resume_goes_with_neither_recipe_nor_other_weights(gancli: Gancli, run: Path) -> None:
    assert gancli("train", "ffgan", "--resume", run, "--recipe", "ffgan/demo").code == 2
    assert gancli("train", "ffgan", "--resume", run, "--init-from", run).code == 2


def test_a_checkpoint_cut_short_by_one_byte(gancli: Gancli, run: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(run, tmp_path / run.name))
    newest = copy / "checkpoints/step-00000002/networks.safetensors"
    newest.write_bytes(newest.read_bytes()[:-1])
    answer = gancli("train", "ffgan", "--resume", copy, "train.steps=3")
    assert answer.code == 1
    assert "networks.safetensors" in answer.stderr
    assert "step-00000001" in answer.stderr  # the good one before it
    assert newest.is_file()


def test_weights_of_another_run(
    gancli: Gancli, tiny_dataset: Path, encoder: Path, run: Path, tmp_path: Path
) -> None:
    common = ("--recipe", "ffgan/demo", f"data={tiny_dataset}", f"encoder={encoder}", *MODEL, "train.steps=1")
    for source in (run, run / "model"):
        answer = gancli("train", "ffgan", *common, "--init-from", source, "--runs", tmp_path / "runs", "-q")
        assert answer.code == 0, answer.stderr
    assert len(list((tmp_path / "runs").iterdir())) == 2


def test_json_is_one_object_a_line_and_the_result_last(
    gancli: Gancli, tiny_dataset: Path, encoder: Path, tmp_path: Path
) -> None:
    answer = gancli(
        "pretrain-encoder", "damsm", "--recipe", "damsm/demo", f"data={tiny_dataset}", *ENCODER,
        "--out", tmp_path / "damsm", "--runs", tmp_path / "runs", "--json",
    )  # fmt: skip
    assert answer.code == 0, answer.stderr
    lines = [json.loads(line) for line in answer.stdout.splitlines()]
    assert {"start", "progress", "metrics", "end"} <= {line.get("event") for line in lines}
    assert lines[-1]["output"] == str(tmp_path / "damsm")


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_run_saves_and_says_how_to_continue(
    tiny_dataset: Path, encoder: Path, tmp_path: Path, number: signal.Signals, code: int
) -> None:
    arguments = [
        "train", "ffgan", "--recipe", "ffgan/demo", f"data={tiny_dataset}", f"encoder={encoder}", *MODEL,
        "train.steps=100000", "train.checkpoint_every=100000", "--runs", tmp_path / "runs", "--progress", "plain",
    ]  # fmt: skip
    answer = signalled_training(arguments, number)
    assert answer.code == code, answer.stderr
    run = tmp_path / "runs/0001-ffgan-cub"
    assert f"stopped by {number.name}" in answer.stdout
    assert f"gancli train ffgan --resume {run}" in answer.stderr
    assert len(list((run / "checkpoints").iterdir())) == 1
