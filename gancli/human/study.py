"""Study: the captions and images that judges rank, and the key that says which model made which image."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gancli.atomic import atomic_file
from gancli.errors import DataError

KEY = "key.json"
_SCHEMA = 3


@dataclass(frozen=True)
class StudyModel:
    """Model whose images are ranked.

    Attributes:
        name: Name in the tables.
        model: Model folder, or the samples folder where no model is known.
        model_hash: sha256 of the model's weights, or of the list of images.
        image_size: Side of the images in pixels, where they all have one.
        seed: Seed of the sampling, where it is known.
        kind: Kind of model ("ffgan"); empty where it is unknown.
        settings: Settings in which it differs from the paper's own model, by recipe key.
        trained_steps: Training steps of the model, where they are known.
    """

    name: str
    model: str
    model_hash: str
    image_size: int | None
    seed: int | None
    kind: str
    settings: dict[str, object]
    trained_steps: int | None


@dataclass(frozen=True)
class StudyQuestion:
    """Caption and the images that are ranked for it.

    Attributes:
        id: Id of the question: "q01", "q02", … in the order of the page.
        caption: Caption of the images.
        key: Dataset image that the caption belongs to; empty for a sentence of the user's.
        images: Index of the study's model for each image id, in the order shown.
    """

    id: str
    caption: str
    key: str
    images: dict[str, int]


@dataclass(frozen=True)
class Study:
    """Contents of key.json.

    Attributes:
        study: Id of everything that the judges see. Their answers carry it.
        dataset: Short name of the captions' dataset; empty where they come from none.
        split: Split of the captions; empty where they come from no dataset.
        seed: Seed of the captions, their order and the ids.
        task: Instruction for the judges.
        models: Models in the order given by the user.
        questions: Questions in the order of the page.
        gancli_version: Version that wrote the page.
    """

    study: str
    dataset: str
    split: str
    seed: int
    task: str
    models: tuple[StudyModel, ...]
    questions: tuple[StudyQuestion, ...]
    gancli_version: str


def write_key(path: str | Path, study: Study) -> None:
    """Write key.json."""
    with atomic_file(path) as temporary:
        content = {"schema": _SCHEMA, **dataclasses.asdict(study)}
        temporary.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def read_key(path: str | Path) -> Study:
    """Read key.json.

    Args:
        path: File, or the folder that holds it.

    Raises:
        DataError: The file is missing or not a key.
    """
    path = Path(path)
    path = path / KEY if path.is_dir() else path
    hint = f"{KEY} is written beside the page by gancli score human make."
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if content.pop("schema") != _SCHEMA:
            raise DataError(f"{path}: was written by another version of gancli", hint)
        content["models"] = tuple(StudyModel(**model) for model in content["models"])
        content["questions"] = tuple(StudyQuestion(**question) for question in content["questions"])
        study = Study(**content)
        indices = list(range(len(study.models)))
        if not indices or not study.questions:
            raise ValueError("it has no models or no questions")
        for question in study.questions:
            if sorted(question.images.values()) != indices:
                raise ValueError(f"question {question.id} does not show one image of each model")
    except FileNotFoundError:
        raise DataError(f"{path}: no such file", hint) from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{path}: is no key of a page ({error})", hint) from error
    return study
