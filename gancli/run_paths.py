"""Paths that a user gives for a run, a model or an encoder.

All of these name the same thing: the run folder, the `model/` in it, a checkpoint in it, a file in one of them, or the
word `latest` for the newest run of a kind. Every command and library function resolves them here. Loads no torch.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from gancli.errors import DataError, UsageError
from gancli.registry import MODELS, ROWS

LATEST = "latest"
_NUMBERED = re.compile(r"(\d{4,})-")
_DEPTH = 3  # levels below the current folder that `found_below` looks into
_STEP = re.compile(r"step-(\d{8,})")


def run_folder_of(path: str | Path) -> Path | None:
    """Return the run folder that a path names or lies in; None where there is none."""
    path = Path(path)
    near = (path, *list(path.parents)[:3])  # a checkpoint's file lies three levels deep
    return next((folder for folder in near if (folder / "recipe.yaml").is_file()), None)


def newest_run(
    runs: str | Path = "runs",
    kinds: Collection[str] = (),
    *,
    data: str | Path | None = None,
    stage: str | int | None = None,
) -> Path:
    """Return the run folder with the highest number among those of a kind.

    Args:
        runs: Folder of the numbered runs.
        kinds: Allowed models or encoders (`model.name` of the recipe); empty allows all.
        data: Dataset folder of the run; None allows all.
        stage: Stage of the run; None allows all.

    Raises:
        UsageError: There is no such run.
    """
    root = Path(runs)
    numbered = [(int(match[1]), path) for path in _folders(root) if (match := _NUMBERED.match(path.name))]
    for _, path in sorted(numbered, reverse=True):
        recipe = _read_yaml(path / "recipe.yaml")
        model = recipe.get("model")
        name = model.get("name") if isinstance(model, dict) else None
        if (
            (name in kinds if kinds else name is not None)
            and (stage is None or str(recipe.get("stage")) == str(stage))
            and (data is None or _same_folder(recipe.get("data"), data))
        ):
            return path
    wanted = "".join(
        (
            f" of {' or '.join(kinds)}" if kinds else "",
            f", stage {stage}," if stage is not None else "",
            f" on {data}" if data is not None else "",
        )
    )
    raise UsageError(f"latest: there is no run{wanted} below {root}", "Name a run folder, or say --runs DIR.")


def weights_folder_of(
    path: str | Path,
    kinds: Collection[str] = (),
    *,
    runs: str | Path = "runs",
    data: str | Path | None = None,
    stage: str | int | None = None,
) -> Path:
    """Return the model or encoder folder that a user means.

    Args:
        path: A model or encoder folder, a run folder, a checkpoint, a file in one of them, or `latest`. A path that is
            none of them is returned as it is, for the reader of the folder to say what is missing.
        kinds, runs, data, stage: Choice of `latest`, as in `newest_run`.

    Raises:
        UsageError: The run has no model yet, its model is of another step than the checkpoint named, or there is no run
            that `latest` could mean.
    """
    if str(path) == LATEST:
        folder = newest_run(runs, kinds, data=data, stage=stage)
    else:
        folder = Path(path)
        if folder.is_file():
            folder = folder.parent
    if (folder / "config.yaml").is_file():
        return folder
    run = run_folder_of(folder) or folder
    written = [run / name for name in ("model-best", "model") if (run / name / "config.yaml").is_file()]
    if not written and not (run / "recipe.yaml").is_file():
        return folder
    if not written:
        raise UsageError(f"{run}: has no model/ in it yet", "One is written with the run's first checkpoint.")
    match = _STEP.fullmatch(folder.name)
    if match is None:
        return written[0]
    steps = {_read_yaml(each / "config.yaml").get("step"): each for each in written}
    if int(match[1]) not in steps:
        raise UsageError(
            f"{folder}: the run's model is of step {next(iter(steps))}, not of this checkpoint",
            f"Name {run} for that model; gancli train … --resume {folder} goes on from this checkpoint.",
        )
    return steps[int(match[1])]


def resume_path_of(
    path: str | Path,
    kinds: Collection[str] = (),
    *,
    runs: str | Path = "runs",
    data: str | Path | None = None,
    stage: str | int | None = None,
) -> Path:
    """Return the run folder to continue, or the checkpoint folder where one is named.

    Args:
        path: A run folder, a checkpoint, the model or encoder folder that a run wrote, a file in one of them, or
            `latest`.
        kinds, data, stage: Choice of `latest`, as in `newest_run`.
        runs: Folder in which `latest` and the runs of encoder folders are looked up.

    Raises:
        DataError: The path names no run.
        UsageError: There is no run that `latest` could mean.
    """
    if str(path) == LATEST:
        return newest_run(runs, kinds, data=data, stage=stage)
    path = Path(path)
    folder = path.parent if path.is_file() else path
    if run := run_folder_of(folder):
        return folder if _STEP.fullmatch(folder.name) else run
    written_by = _read_yaml(folder / "config.yaml").get("run")
    if isinstance(written_by, str) and (run := run_folder_of(Path(runs) / written_by)):
        return run
    raise DataError(
        f"{path}: is no run folder (it has no recipe.yaml)",
        "Name a folder such as runs/0001-ffgan-cub, the model/ in it, one of its checkpoints, or say latest.",
    )


def _folders(root: Path) -> list[Path]:
    return [path for path in root.iterdir() if (path / "recipe.yaml").is_file()] if root.is_dir() else []


def _read_yaml(path: Path) -> dict[str, Any]:
    """Return a YAML file as a mapping, an empty one where it is none."""
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        return {}
    return content if isinstance(content, dict) else {}


def _same_folder(stored: object, asked: str | Path) -> bool:
    return isinstance(stored, str) and Path(stored).resolve() == Path(asked).resolve()


@dataclass(frozen=True)
class Found:
    """Folder of gancli's.

    Attributes:
        path: Folder.
        what: "dataset", "run", "model" or "encoder".
        kind: Name of its model or encoder; of a dataset its name.
    """

    path: Path
    what: str
    kind: str


def found_below(root: str | Path = ".") -> list[Found]:
    """Return the datasets, runs, models and encoders in a folder and up to three levels below it, in order of path.

    The folders inside a run or a dataset are not listed; hidden ones are passed over.
    """
    found: list[Found] = []
    _find(Path(root), _DEPTH, found)
    return found


def _find(folder: Path, depth: int, found: list[Found]) -> None:
    manifest, settings, recipe = (folder / name for name in ("dataset.json", "config.yaml", "recipe.yaml"))
    if manifest.is_file():
        name = _read_yaml(manifest).get("name")  # JSON is YAML
        found.append(Found(folder, "dataset", str(name)))
        return
    if recipe.is_file():
        model = _read_yaml(recipe).get("model")
        found.append(Found(folder, "run", str(model.get("name")) if isinstance(model, dict) else ""))
        return
    kind = _read_yaml(settings).get("kind") if settings.is_file() else None
    if kind in ROWS:
        found.append(Found(folder, "model" if kind in MODELS else "encoder", str(kind)))
        return
    if depth == 0:
        return
    try:
        below = sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    except OSError:  # missing, or not ours to read
        return
    for path in below:
        _find(path, depth - 1, found)
