"""Held-out figures of an encoder as score rows: what its training measured and wrote into its folder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from gancli.hashes import file_hash
from gancli.run_paths import weights_folder_of
from gancli.scores.results import ScoreRow
from gancli.weights_folder import read_settings

# Figures by kind of encoder, each with its chance; those of the last two stand in a section of config.yaml
_FIGURES = {
    "damsm": (("accuracy", "chance"),),
    "classifier": (("accuracy", "chance"),),
    "char-cnn-rnn": (("image_to_class", "chance"), ("text_to_class", "chance")),
    "speech": (("map", "map_chance"), ("recall_10", "chance_10")),
}


def encoder_rows(folder: str | Path) -> tuple[ScoreRow, ...]:
    """Return what an encoder reached on held-out images, a row for each figure; none where its folder does not say.

    Args:
        folder: Encoder folder of gancli, a run, a checkpoint, or "latest".

    Raises:
        DataError: The folder is incomplete or broken.
    """
    folder = weights_folder_of(folder, tuple(_FIGURES))
    settings = read_settings(folder)
    kind = str(settings["kind"])
    section = settings.get("retrieval")
    found: Mapping[str, object] = section if isinstance(section, Mapping) else settings
    dataset = settings["dataset"]
    rows = []
    for name, chance in _FIGURES.get(kind, ()):
        value, guessed = found.get(name), found.get(chance)
        if isinstance(value, int | float) and isinstance(guessed, int | float):
            count = settings.get("held_out", found.get("images"))
            rows.append(
                ScoreRow(
                    dataset=dataset["name"],
                    release=dataset["release"],
                    split_rule=dataset["split_rule"],
                    crop_rule=dataset["crop_rule"],
                    split=str(found.get("split", "")),
                    images="none",
                    method=kind,
                    model=str(folder),
                    model_hash=file_hash(folder / "weights.safetensors"),
                    kind=kind,
                    trained_steps=settings.get("step"),
                    train_seed=settings.get("seed"),
                    image_size=dataset["image_size"],
                    metric=f"encoder_{name}",
                    value=float(value),
                    n_real=count if isinstance(count, int) else None,
                    n_fake=0,
                    chance=float(guessed),
                    protocol=f"{name.replace('_', ' ')} of held-out images in per cent; chance {guessed:.3g} %",
                )
            )
    return tuple(rows)
