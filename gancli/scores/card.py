"""Scores of a model in the card of its folder."""

from __future__ import annotations

from pathlib import Path

from gancli.cards import CARD, model_card, write_card
from gancli.errors import DataError
from gancli.registry import ROWS
from gancli.run_paths import weights_folder_of
from gancli.scores.results import read_rows
from gancli.weights_folder import read_folder


def card(model: str | Path, results: str | Path) -> tuple[Path, int]:
    """Write the card of a model or encoder folder anew, with its scores.

    Only scores of the very weights in the folder are taken, which the rows name by their sha256.

    Args:
        model: Model or encoder folder, run, checkpoint, or `latest`.
        results: Scores (results.csv).

    Returns:
        The card, and the number of scores in it.

    Raises:
        DataError: The folder or the scores cannot be read, or none of them is of these weights.
    """
    folder = weights_folder_of(model, ROWS)
    settings, _, digest = read_folder(folder, *ROWS)
    rows = [row for row in read_rows(results) if row.model_hash == digest]
    if not rows:
        raise DataError(
            f"{results}: has no score of the weights in {folder} (sha256 {digest[:16]}…)",
            "Score its images first (gancli score all IMAGES), or name the results.csv that holds them.",
        )
    write_card(folder, model_card(settings, [vars(row) for row in rows]))
    return folder / CARD, len(rows)
