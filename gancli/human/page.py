"""Ranking by people: a page with images of several models in hidden order, and the key that says whose they are.

The page is one HTML file: script, style and images are in it, and its content security policy forbids every
connection. It knows images by ids that mean nothing; which model made them stands in `key.json` alone, which stays
with the researcher. `gancli.human.tally` reads that key and the answers.
"""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import io
import json
import re
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from gancli.atomic import atomic_file
from gancli.data.images import load_image
from gancli.errors import DataError, UsageError
from gancli.progress import Progress
from gancli.sampling.sample import sample
from gancli.sampling.samples_folder import SAMPLES, SAMPLING, GeneratedImage, read_samples
from gancli.scores.image_sets import FileImages, open_images, origin_of
from gancli.version import __version__

PAGE = "index.html"
KEY = "key.json"
QUESTION = "Rank the images. The best one shows what the sentence says, and looks real."
MOST_MODELS = 9  # a digit key for each

_SCHEMA = 1
_TEMPLATE = Path(__file__).with_name("page.html")
_LEAST_SIDE = (
    256  # pixels to which smaller images are enlarged, so that the browser's own smoothing hardly shows
)
_LETTERS = (
    "bcdfghjklmnpqrstvwxz"  # of ids: no words, and nothing that a spreadsheet takes for a number or a date
)


@dataclass(frozen=True)
class StudyModel:
    """A model whose images are ranked.

    Attributes:
        name: In the tables.
        model: The model folder, or the samples folder where no model is known.
        model_hash: sha256 of its weights, or of the list of images.
        image_size: Side of its images in pixels, where it is one.
        seed: Of the sampling, where it is known.
    """

    name: str
    model: str
    model_hash: str
    image_size: int | None
    seed: int | None


@dataclass(frozen=True)
class StudyQuestion:
    """A caption and its images.

    Attributes:
        id: "q01" …, in the page's order.
        caption: What the images should show.
        key: The image the caption belongs to; empty for a text of one's own.
        images: Their ids in the order shown, each with the place of its model among the study's models.
    """

    id: str
    caption: str
    key: str
    images: dict[str, int]


@dataclass(frozen=True)
class Study:
    """key.json: whose images a page shows.

    Attributes:
        study: Id of everything the judges see; answers carry it.
        dataset: Short name; empty where the captions are no dataset's.
        split: Of it, likewise.
        seed: Of captions, order and ids.
        asked: What the judges are asked to do.
        models: As they were given.
        questions: In the page's order.
        gancli_version: That made the page.
    """

    study: str
    dataset: str
    split: str
    seed: int
    asked: str
    models: tuple[StudyModel, ...]
    questions: tuple[StudyQuestion, ...]
    gancli_version: str


@dataclass(frozen=True)
class PageReport:
    """What `make_page` wrote.

    Attributes:
        page: For the judges.
        key: For whoever tallies their answers, and nobody else.
        study: What the key holds.
        shared: Captions of which every model has an image.
        warnings: What the user should know.
    """

    page: Path
    key: Path
    study: Study
    shared: int
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class _Entrant:
    """A model's samples: the first image of each caption, by (caption, key)."""

    model: StudyModel
    dataset: str
    split: str
    files: dict[tuple[str, str], Path]


def make_page(
    models: Sequence[Path],
    *,
    out: Path,
    names: Sequence[str] = (),
    n: int = 50,
    seed: int = 0,
    asked: str = QUESTION,
    data: str | None = None,
    captions_file: Path | None = None,
    batch: int = 32,
    device: str | torch.device = "cpu",
    overwrite: bool = False,
    progress: Progress | None = None,
) -> PageReport:
    """Writes a page on which people rank images of several models, caption by caption.

    Every model shows the same captions: those of which each has an image, matched by caption and key. Of several
    images of a caption the first one is taken, so nobody chooses. The order of the captions, and of the models at
    each caption, is random by the seed; the same call writes the same bytes.

    Args:
        models: Two to nine folders of `gancli sample`, or model or run folders, which then draw captions of `data`
            or `captions_file`.
        out: Folder for `index.html` and `key.json`.
        names: Of the models in the tables, in the order of `models`; none: what their method is called where that
            tells them apart, else their folders' names.
        n: Captions.
        seed: Of captions, order and ids, and of the images that model folders draw.
        asked: What the judges are asked to do.
        data: A dataset's captions as "DIR:split", for model folders.
        captions_file: A text file of captions, one a line, for model folders.
        batch: Images drawn at a time; it does not change them.
        device: Where to draw.
        overwrite: Replace the page of another study in `out`.
        progress: Called while model folders draw, with images of that model done and in all.

    Raises:
        UsageError: Too few or too many models, names that are not one for each, captions for models alone or models
            without captions, images between two sentences, or `out` holds another study.
        DataError: The models share fewer than `n` captions, or a folder or image is missing or broken.
    """
    _check_request(models, names, n, seed, asked)
    models = [Path(model) for model in models]
    sources = [
        None if _is_samples(model) else _caption_source(model, data, captions_file, n) for model in models
    ]
    if (data is not None or captions_file is not None) and not any(sources):
        raise UsageError(
            "only models draw captions, and these are all folders of images that were drawn before",
            "Leave out --data and --captions.",
        )
    warnings: dict[str, None] = {}
    with ExitStack() as stack:
        entrants = []
        for model, source in zip(models, sources, strict=True):
            folder = model
            if source is not None:
                folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="gancli-human-")))
                try:
                    report = sample(
                        model, out=folder, **source, seed=seed, batch=batch, device=device, progress=progress
                    )
                except UsageError as error:  # its hint would name options of `gancli sample`
                    hint = "Draw the images with gancli sample, then name their folder in the model's place."
                    raise UsageError(str(error), hint) from error
                warnings |= dict.fromkeys(f"{model}: {warning}" for warning in report.warnings)
            entrants.append(_open_entrant(folder))
        entrants = _named(entrants, models, names)
        captions, shared = _choose_captions(entrants, n, seed)
        study, fingerprints = _study(entrants, captions, seed, asked)
        page, key = out / PAGE, out / KEY
        _refuse_another(page, key, study, overwrite)
        out.mkdir(parents=True, exist_ok=True)
        _write_page(page, study, entrants)
        write_key(key, study)
    warnings |= dict.fromkeys(_warnings(study, fingerprints))
    return PageReport(page, key, study, shared, tuple(warnings))


def write_key(path: Path, study: Study) -> None:
    """Writes key.json, whole or not at all."""
    with atomic_file(path) as temporary:
        content = {"schema": _SCHEMA, **dataclasses.asdict(study)}
        temporary.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def read_key(path: Path) -> Study:
    """The key of a page.

    Raises:
        DataError: It is missing or none.
    """
    again = f"{KEY} is written beside the page by gancli score human make."
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if content.pop("schema") != _SCHEMA:
            raise DataError(f"{path}: was written by another version of gancli", again)
        content["models"] = tuple(StudyModel(**model) for model in content["models"])
        content["questions"] = tuple(StudyQuestion(**question) for question in content["questions"])
        study = Study(**content)
        places = list(range(len(study.models)))
        if not places or not study.questions:
            raise ValueError("it names no models or no questions")
        for question in study.questions:
            if sorted(question.images.values()) != places:
                raise ValueError(f"question {question.id} does not show one image of each model")
    except FileNotFoundError:
        raise DataError(f"{path}: no such file", again) from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{path}: is no key of a page ({error})", again) from error
    return study


# --- models and captions --------------------------------------------------------------------------------------


def _check_request(models: Sequence[Path], names: Sequence[str], n: int, seed: int, asked: str) -> None:
    if not 2 <= len(models) <= MOST_MODELS:
        raise UsageError(f"two to {MOST_MODELS} models can be ranked. Received: {len(models)}")
    if names and len(names) != len(models):
        raise UsageError(
            f"{len(models)} models, but {len(names)} names", "Say --name once for each model, in their order."
        )
    if n < 1 or seed < 0:
        raise UsageError(f"n has to be at least 1 and seed at least 0. Received: {n} and {seed}")
    if not asked.strip():
        raise UsageError("what the judges are asked to do is empty")


def _is_samples(folder: Path) -> bool:
    return (folder / SAMPLES).is_file() or (folder / SAMPLING).is_file()


def _caption_source(model: Path, data: str | None, captions_file: Path | None, n: int) -> dict[str, Any]:
    """The arguments of `sample` that say which captions a model folder draws.

    Raises:
        DataError: There is no such folder.
        UsageError: There are no captions, or two kinds.
    """
    if not model.is_dir():
        raise DataError(f"{model}: no such folder", "Name folders of gancli sample, or model or run folders.")
    if data is not None and captions_file is not None:
        raise UsageError("captions come either from a dataset or from a file, not from both")
    if captions_file is not None:
        return {"captions_file": captions_file}
    if data is None:
        raise UsageError(
            f"{model}: has no {SAMPLES}, so it has to draw images first, and no captions are given",
            "Say --data DIR:SPLIT or --captions FILE, or name a folder of gancli sample.",
        )
    folder, colon, split = data.rpartition(":")
    if not colon or not folder or not split:
        raise UsageError(f"{data}: say the dataset's split, too", f"For example {data.rstrip(':')}:test.")
    return {"data": Path(folder), "split": split, "n": n}


def _open_entrant(folder: Path) -> _Entrant:
    images = open_images(str(folder))  # refuses images between two sentences
    assert isinstance(images, FileImages)
    origin = origin_of(images)
    files: dict[tuple[str, str], Path] = {}
    for image in read_samples(folder):
        files.setdefault(_identity(image), folder / image.file)
    sampling = images.sampling
    model = StudyModel(origin.method, origin.model, origin.model_hash, origin.image_size, origin.seed)
    dataset = (sampling.dataset or "") if sampling is not None else ""
    split = (sampling.split or "") if sampling is not None else ""
    return _Entrant(model, dataset, split, files)


def _identity(image: GeneratedImage) -> tuple[str, str]:
    return image.caption, image.key


def _named(entrants: Sequence[_Entrant], models: Sequence[Path], names: Sequence[str]) -> list[_Entrant]:
    """The entrants under names that tell them apart.

    Raises:
        UsageError: Two have the same name, or one has none.
    """
    given = [name.strip() for name in names]
    folders = [model.resolve().name for model in models]
    methods = [entrant.model.name for entrant in entrants]
    for candidates in [given] if given else [methods, folders]:
        if all(candidates) and len(set(candidates)) == len(candidates):
            return [
                dataclasses.replace(entrant, model=dataclasses.replace(entrant.model, name=name))
                for entrant, name in zip(entrants, candidates, strict=True)
            ]
    raise UsageError(
        f"the models need names that tell them apart, these do not: {', '.join(given or folders)}",
        "Say --name once for each model, in their order.",
    )


def _choose_captions(entrants: Sequence[_Entrant], n: int, seed: int) -> tuple[list[tuple[str, str]], int]:
    """`n` of the captions that all models drew, in random order, and how many there are.

    Raises:
        DataError: There are fewer.
    """
    shared = sorted(set.intersection(*(set(entrant.files) for entrant in entrants)))
    if len(shared) < n:
        counts = ", ".join(f"{entrant.model.name} {len(entrant.files):,}" for entrant in entrants)
        same = (
            "Draw the same captions with every model: "
            f"gancli sample MODEL --data DIR --split SPLIT -n {n} --seed {seed}"
        )
        raise DataError(
            f"the models share {len(shared):,} captions, {n:,} are wanted (captions drawn: {counts})",
            f"{same}, or take fewer: -n {len(shared)}." if shared else f"{same}.",
        )
    order = np.random.default_rng(seed).permutation(len(shared))[:n]
    return [shared[index] for index in order.tolist()], len(shared)


# --- the hidden assignment ------------------------------------------------------------------------------------


def _study(
    entrants: Sequence[_Entrant], captions: Sequence[tuple[str, str]], seed: int, asked: str
) -> tuple[Study, list[list[str]]]:
    """The study, and sha256 of its images by caption and model.

    Order and ids follow from the images themselves, so a judge who knows the seed still cannot work them out.
    """
    fingerprints = [
        [hashlib.sha256(entrant.files[each].read_bytes()).hexdigest() for entrant in entrants]
        for each in captions
    ]
    content = json.dumps([_SCHEMA, seed, asked, captions, fingerprints]).encode()
    rng = np.random.default_rng(int(hashlib.sha256(content).hexdigest(), 16))
    ids = _ids(rng)
    digits = len(str(len(captions)))
    questions = []
    for number, (caption, key) in enumerate(captions, start=1):
        shown = rng.permutation(len(entrants)).tolist()
        images = {next(ids): place for place in shown}
        questions.append(StudyQuestion(f"q{number:0{digits}d}", caption, key, images))
    study = Study(
        study=next(ids) + next(ids),
        dataset=_common([entrant.dataset for entrant in entrants]),
        split=_common([entrant.split for entrant in entrants]),
        seed=seed,
        asked=asked,
        models=tuple(entrant.model for entrant in entrants),
        questions=tuple(questions),
        gancli_version=__version__,
    )
    return study, fingerprints


def _ids(rng: np.random.Generator) -> Iterator[str]:
    """Ids of six letters, no two the same."""
    drawn: set[str] = set()
    while True:
        word = "".join(_LETTERS[index] for index in rng.integers(len(_LETTERS), size=6))
        if word not in drawn:
            drawn.add(word)
            yield word


def _common(values: Sequence[str]) -> str:
    """The value of all that have one; empty where they differ."""
    known = {value for value in values if value}
    return known.pop() if len(known) == 1 else ""


def _refuse_another(page: Path, key: Path, study: Study, overwrite: bool) -> None:
    """The same study may be written again; answers to another one would be lost without its key.

    Raises:
        UsageError: There is a page or a key of another study.
    """
    if overwrite or not (page.exists() or key.exists()):
        return
    try:
        same = read_key(key).study == study.study
    except DataError:
        same = False
    if not same:
        raise UsageError(
            f"{page.parent}: holds another page already; without its {KEY} the answers to it cannot be tallied",
            "Name a new folder, or say --overwrite.",
        )


def _warnings(study: Study, fingerprints: Sequence[Sequence[str]]) -> Iterator[str]:
    sizes = Counter(model.image_size for model in study.models)
    if len(sizes) > 1:
        sides = ", ".join(f"{model.name} {model.image_size or 'unknown'}" for model in study.models)
        yield f"images of different sides ({sides} pixels) are shown at one size: judges see which are coarser"
    twice = sum(len(set(each)) < len(each) for each in fingerprints)
    if twice:
        yield f"{twice} of {len(fingerprints)} captions show the same image more than once"


# --- the page -------------------------------------------------------------------------------------------------


def _write_page(path: Path, study: Study, entrants: Sequence[_Entrant]) -> None:
    """Writes the page question by question, so memory does not grow with their number."""
    template = _TEMPLATE.read_text(encoding="utf-8")
    before, _, after = template.replace("@POLICY@", _policy(template)).partition("@STUDY@")
    sides = [
        max(load_image(entrant.files[question.caption, question.key]).size)
        for entrant in entrants
        for question in study.questions
    ]
    side = max(_LEAST_SIDE, *sides)
    with atomic_file(path) as temporary, temporary.open("w", encoding="utf-8", newline="\n") as file:
        file.write(before)
        file.write(f'{{"study": {_json(study.study)}, "question": {_json(study.asked)}, "questions": [')
        for number, question in enumerate(study.questions):
            identity = question.caption, question.key
            images = [
                {"id": each, "source": _data_url(entrants[place].files[identity], side)}
                for each, place in question.images.items()
            ]
            entry = {"id": question.id, "caption": question.caption, "images": images}
            file.write(",\n" if number else "\n")
            file.write(_json(entry))
        file.write("\n]}")
        file.write(after)


def _policy(template: str) -> str:
    """A content security policy under which the page's own script and style run, and nothing else.

    Both are allowed by their hash, so nothing that a caption might smuggle in would run; without a connect, form or
    frame source the page can send nothing to anyone.
    """
    hashes = {}
    for tag in ("script", "style"):
        found = re.search(rf"<{tag}>(.*?)</{tag}>", template, re.DOTALL)
        assert found is not None
        digest = hashlib.sha256(found[1].encode()).digest()
        hashes[tag] = f"'sha256-{base64.b64encode(digest).decode()}'"
    return (
        f"default-src 'none'; script-src {hashes['script']}; style-src {hashes['style']}; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )


def _json(value: object) -> str:
    """JSON in ASCII for a script element: whatever text it holds, no tag or comment begins or ends in it."""
    text = json.dumps(value)
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def _data_url(path: Path, side: int) -> str:
    """The image as a PNG in a data: URL, brought to `side` and without whatever else the file says."""
    image = load_image(path)
    scale = side / max(image.size)
    if scale > 1:
        size = tuple(max(1, round(length * scale)) for length in image.size)
        image = image.resize((size[0], size[1]), Image.Resampling.NEAREST)
    buffer = io.BytesIO()
    image.save(buffer, format="PNG")
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"
