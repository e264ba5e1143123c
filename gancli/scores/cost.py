"""The cost of a model: parameters of its generator and hours of training, as in CSF-GAN's Table 2."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from safetensors import safe_open

from gancli.csv_files import read_csv
from gancli.engine.checkpoint import RunFolder
from gancli.errors import DataError, UsageError
from gancli.inference.load import load_model
from gancli.registry import FILLING, MODELS, resolve
from gancli.run_paths import resume_path_of
from gancli.scores.image_sets import origin_of_model
from gancli.scores.results import RealData, ScoreRow
from gancli.weights_folder import read_settings

# Networks in a model folder that draw, and the entries of its weights that are batch norm's statistics
_GENERATORS = ("generator.", "stage1.", "stage2.")
_STATISTICS = (".running_mean", ".running_var", ".num_batches_tracked")


def score_cost(run: str | Path) -> tuple[ScoreRow, ScoreRow]:
    """Measure the parameters and the training time of a run.

    Args:
        run: Run of `gancli train`, of any model: its folder, the model/ or a checkpoint in it, or `latest`.

    Returns:
        `parameters_million`, the trainable parameters of the generator in millions (of both generators where there are
        two stages), without discriminators and encoders; and `training_hours`, the hours of the training loop in all
        sessions of the run, on the machine named in the note.

    Raises:
        DataError: The run has no model or no row in log.csv yet, or a file is broken.
        UsageError: The folder is not a run.
    """
    folder = RunFolder.open(resume_path_of(run, tuple(MODELS)))
    if not folder.model.is_dir():
        raise UsageError(
            f"{run}: has no model/ in it yet", "Name a run folder of gancli train after its first checkpoint."
        )
    kind = read_settings(folder.model)["kind"]
    model = (resolve(MODELS[kind].load) if kind in FILLING else load_model)(folder.model)
    data = RealData(dataset=str(model.dataset["name"]))
    origin = origin_of_model(model, str(folder.path))
    step, seconds = _last_row(folder.log)
    return (
        ScoreRow(
            **vars(data),
            **vars(origin),
            metric="parameters_million",
            value=generator_parameters(folder.model) / 1e6,
            n_real=0,
            n_fake=0,
            protocol=f"trainable parameters of {model.name}'s generator in millions, with its conditioning "
            "augmentation, without discriminators and encoders",
        ),
        ScoreRow(
            **vars(data),
            **vars(origin),
            metric="training_hours",
            value=seconds / 3600,
            n_real=0,
            n_fake=0,
            protocol=f"hours of {model.name}'s training loop to step {step:,}, all sessions, with checkpoints and "
            "sample images; without earlier training of encoders, an earlier stage or initial weights",
            note=_machines(folder.path / "environment.json"),
        ),
    )


def generator_parameters(folder: str | Path) -> int:
    """Count the trainable parameters of the generators in a model folder, in its weights file.

    Raises:
        DataError: The file is missing or broken.
    """
    path = Path(folder) / "weights.safetensors"
    try:
        with safe_open(path, framework="numpy") as file:
            return sum(
                math.prod(file.get_slice(name).get_shape())
                for name in file.keys()  # noqa: SIM118 - no mapping
                if name.startswith(_GENERATORS) and not name.endswith(_STATISTICS)
            )
    except Exception as error:  # safetensors raises its own SafetensorError, not exported as a stable name
        raise DataError(f"{path}: broken or cut short ({error})", "Copy the folder again.") from error


def _last_row(log: Path) -> tuple[int, float]:
    """Return step and seconds of the last whole row of log.csv."""
    try:
        rows = read_csv(log, finished=False) if log.is_file() else None
        if rows is None or rows.empty:
            raise DataError(f"{log}: has no row yet", "One is written every train.log_every steps.")
        last = rows.iloc[-1]
        return int(last["step"]), float(last["seconds"])
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"{log}: cannot be read ({error!r})") from error


def _machines(path: Path) -> str:
    """Name the machines that a run was trained on, from environment.json."""
    try:
        sessions = json.loads(path.read_text(encoding="utf-8"))["sessions"]
        names = dict.fromkeys(_machine(session) for session in sessions)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return "machine unknown: environment.json is missing or broken"
    again = f", {len(sessions)} sessions" if len(sessions) > 1 else ""
    return f"trained on {' and on '.join(names)}{again}"


def _machine(session: dict[str, Any]) -> str:
    gpus = ", ".join(dict.fromkeys(session["gpus"]))
    beside = f"{len(session['gpus'])} GPU ({gpus})" if gpus else "no GPU"
    return f"{session['cpu']}, {session['threads']} threads, {beside}"
