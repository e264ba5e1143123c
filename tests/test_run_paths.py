"""One run by any of its paths: the folder, the model in it, a checkpoint, a file, or the word latest."""

from __future__ import annotations

from pathlib import Path

import pytest

from gancli.errors import DataError, UsageError
from gancli.run_paths import found_below, newest_run, resume_path_of, run_folder_of, weights_folder_of


def write_run(
    runs: Path, name: str, kind: str, *, data: str = "data/cub", stage: str | None = None, step: int = 2
) -> Path:
    run = runs / name
    for folder in ("model", "checkpoints/step-00000001", "checkpoints/step-00000002"):
        (run / folder).mkdir(parents=True)
    stage_line = "" if stage is None else f"stage: {stage}\n"
    (run / "recipe.yaml").write_text(f"{stage_line}model:\n  name: {kind}\ndata: {data}\n")
    (run / "model" / "config.yaml").write_text(f"kind: {kind}\nrun: {name}\nstep: {step}\n")
    (run / "model" / "weights.safetensors").write_bytes(b"")
    (run / "checkpoints" / "step-00000002" / "networks.safetensors").write_bytes(b"")
    return run


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    root = tmp_path / "runs"
    write_run(root, "0001-stackgan-cub-stage1", "stackgan", stage="1")
    write_run(root, "0002-damsm-cub", "damsm")
    write_run(root, "0003-mine", "ffgan")
    write_run(root, "0004-stackgan-demo-stage1", "stackgan", data="data/demo", stage="1")
    write_run(root, "10005-stackgan-cub-stage2", "stackgan", stage="2")
    (root / "0006-nothing").mkdir()
    return root


PATHS = (
    ".",
    "model",
    "model/weights.safetensors",
    "checkpoints/step-00000002",
    "checkpoints/step-00000002/networks.safetensors",
)


@pytest.mark.parametrize("inside", PATHS)
@pytest.mark.parametrize("as_text", [False, True])
def test_any_path_of_a_run_names_its_model(runs: Path, inside: str, as_text: bool) -> None:
    run = runs / "0003-mine"
    path = run / inside
    assert weights_folder_of(str(path) if as_text else path) == run / "model"
    assert run_folder_of(path) == run


@pytest.mark.parametrize("inside", PATHS)
def test_any_path_of_a_run_resumes_it(runs: Path, inside: str) -> None:
    run = runs / "0003-mine"
    expected = run / "checkpoints/step-00000002" if inside.startswith("checkpoints") else run
    assert resume_path_of(run / inside) == expected


def test_an_encoder_folder_resumes_the_run_that_wrote_it(runs: Path, tmp_path: Path) -> None:
    encoder = tmp_path / "encoders" / "damsm"
    encoder.mkdir(parents=True)
    (encoder / "config.yaml").write_text("kind: damsm\nrun: 0002-damsm-cub\n")
    assert resume_path_of(encoder, runs=runs) == runs / "0002-damsm-cub"
    with pytest.raises(DataError, match="is no run folder"):
        resume_path_of(encoder, runs=tmp_path)


def test_latest_is_the_newest_run_of_a_model_a_stage_and_a_dataset(runs: Path) -> None:
    assert newest_run(runs, ("ffgan",)).name == "0003-mine"
    assert newest_run(runs, ("stackgan",)).name == "10005-stackgan-cub-stage2"
    assert newest_run(runs, ("stackgan",), stage=1).name == "0004-stackgan-demo-stage1"
    assert newest_run(runs, ("stackgan",), stage=1, data="data/cub").name == "0001-stackgan-cub-stage1"
    assert newest_run(runs, ("ffgan", "damsm"), data=Path("data/../data/cub")).name == "0003-mine"
    assert weights_folder_of("latest", ("damsm",), runs=runs) == runs / "0002-damsm-cub" / "model"
    assert resume_path_of("latest", ("ffgan",), runs=runs) == runs / "0003-mine"
    with pytest.raises(UsageError, match="no run of csfgan on data/cub below"):
        newest_run(runs, ("csfgan",), data="data/cub")
    with pytest.raises(UsageError, match="latest: there is no run"):
        newest_run(runs / "nowhere")


def test_the_best_encoder_of_a_run_is_taken(runs: Path) -> None:
    best = runs / "0002-damsm-cub" / "model-best"
    best.mkdir()
    (best / "config.yaml").write_text("kind: damsm\nstep: 1\n")
    assert weights_folder_of(best.parent) == best
    assert weights_folder_of(best.parent / "checkpoints" / "step-00000001") == best
    assert weights_folder_of(best.parent / "checkpoints" / "step-00000002") == best.parent / "model"


def test_a_model_is_not_taken_for_an_earlier_checkpoint(runs: Path) -> None:
    with pytest.raises(UsageError, match="is of step 2, not of this checkpoint"):
        weights_folder_of(runs / "0003-mine" / "checkpoints" / "step-00000001")


def test_a_run_without_a_model_says_so(runs: Path) -> None:
    (runs / "0003-mine" / "model" / "config.yaml").unlink()
    with pytest.raises(UsageError, match="has no model/ in it yet"):
        weights_folder_of(runs / "0003-mine")


def test_other_folders_are_left_to_their_reader(tmp_path: Path) -> None:
    assert weights_folder_of(tmp_path) == tmp_path
    assert run_folder_of(tmp_path) is None
    with pytest.raises(DataError, match=r"no recipe\.yaml"):
        resume_path_of(tmp_path)


def test_what_lies_in_a_folder_is_found(tmp_path):
    (tmp_path / "data" / "cub").mkdir(parents=True)
    (tmp_path / "data" / "cub" / "dataset.json").write_text('{"name": "cub"}')
    (tmp_path / "runs" / "0001-ffgan-cub" / "model").mkdir(parents=True)
    (tmp_path / "runs" / "0001-ffgan-cub" / "recipe.yaml").write_text("model:\n  name: ffgan\n")
    (tmp_path / "runs" / "0001-ffgan-cub" / "model" / "config.yaml").write_text("kind: ffgan\n")
    (tmp_path / "encoders" / "mine").mkdir(parents=True)
    (tmp_path / "encoders" / "mine" / "config.yaml").write_text("kind: damsm\n")
    (tmp_path / "others" / ".hidden").mkdir(parents=True)
    (tmp_path / "others" / "config.yaml").write_text("kind: something\n")
    (tmp_path / "others" / ".hidden" / "config.yaml").write_text("kind: damsm\n")
    found = [
        (each.what, each.kind, each.path.relative_to(tmp_path).as_posix()) for each in found_below(tmp_path)
    ]
    assert found == [
        ("dataset", "cub", "data/cub"),
        ("encoder", "damsm", "encoders/mine"),
        ("run", "ffgan", "runs/0001-ffgan-cub"),
    ]
    assert found_below(tmp_path / "nothing") == []
