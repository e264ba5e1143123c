"""Tiny samples folders and answers, shared by the tests of human evaluation."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from gancli.human.study import Study
from gancli.human.tally import COLUMNS
from gancli.sampling.samples_folder import GeneratedImage, Sampling, write_samples, write_sampling

CAPTIONS = ("a small red bird", "a blue bird with a long bill", "the bird is brown", "a white bird")
MODELS = ("alpha", "bravo", "charlie")


def write_folder(
    folder: Path,
    captions: Sequence[str] = CAPTIONS,
    *,
    method: str | None = None,
    side: int = 4,
    level: int = 0,
    dataset: str = "cub",
) -> Path:
    """Write a folder like `gancli sample` with one grey image per caption; without `method` its origin is unknown."""
    folder.mkdir(parents=True)
    images = []
    for number, caption in enumerate(captions):
        pixels = np.full((side, side, 3), 40 * level + number, np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
        images.append(GeneratedImage(f"{number}.png", caption, f"key{number}", 0, 7, 0, side))
    if method is not None:
        sampling = Sampling(
            model=f"runs/{method}",
            model_hash=method.encode().hex() * 4,
            encoder_hash="",
            method=method,
            data=f"data/{dataset}",
            dataset=dataset,
            split="test",
            images=len(images),
            variants=1,
            seed=7,
            words=None,
            stages=(side,),
            captions_sha256="0",
            figures=(),
            gancli_version="0",
        )
        write_sampling(folder, sampling)
    write_samples(folder, images)
    return folder


def write_folders(root: Path, names: Sequence[str] = MODELS) -> list[Path]:
    """Write one folder per model, with the same captions and different images."""
    return [write_folder(root / name, method=name, level=level) for level, name in enumerate(names)]


def answer_row(
    study: Study, number: int, ranks: Mapping[str, int], judge: str = "Anna", date: str = ""
) -> dict[str, str]:
    """Return a line of answers to a question, with ranks by model name."""
    question = study.questions[number]
    names = [model.name for model in study.models]
    return {
        "study": study.study,
        "question": question.id,
        "judge": judge,
        "order": " ".join(question.images),
        "ranks": " ".join(f"{id}:{ranks[names[index]]}" for id, index in question.images.items()),
        "seconds": "3.5",
        "date": date or f"2026-11-01T10:00:{number:02d}.000Z",
    }


def write_answers(path: Path, rows: Sequence[Mapping[str, str]], delimiter: str = ",") -> Path:
    """Write a file like the page saves it."""
    with path.open("w", encoding="utf-8-sig", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, delimiter=delimiter)
        writer.writeheader()
        writer.writerows(rows)
    return path
