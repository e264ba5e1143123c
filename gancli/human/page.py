"""Page on which people rank images of several models in hidden order.

The page is one HTML file with its script, style and images; its content security policy forbids every connection.
Images have meaningless ids. Only `key.json`, which stays with the researcher, says which model made them.
`gancli.human.tally` reads the key and the answers.
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

import numpy as np
import torch
from PIL import Image

from gancli.atomic import atomic_file
from gancli.data.images import load_image
from gancli.errors import DataError, UsageError
from gancli.human.study import KEY, Study, StudyModel, StudyQuestion, read_key, write_key
from gancli.progress import Progress, reporting
from gancli.registry import DRAWING
from gancli.run_paths import weights_folder_of
from gancli.sampling.captions import DatasetCaptions
from gancli.sampling.conditions import Source
from gancli.sampling.sample import SampleReport, sample
from gancli.sampling.samples_folder import SAMPLES, SAMPLING, read_samples
from gancli.sampling.sentences import Sentences
from gancli.scores.image_sets import FileImages, open_images, origin_of
from gancli.scores.results import RealData
from gancli.version import __version__

PAGE = "index.html"
TASK = "Rank the images. The best one shows what the sentence says, and looks real."
MOST_MODELS = 9  # one digit key for each

_TEMPLATE = Path(__file__).with_name("page.html")
_LEAST_SIDE = 256  # pixels; smaller images are enlarged so far that the browser's smoothing hardly shows
_LETTERS = "bcdfghjklmnpqrstvwxz"  # of ids, which form no words and nothing that looks like a number or date


@dataclass(frozen=True)
class PageReport:
    """Result of `make_ranking_page`.

    Attributes:
        page: HTML file for the judges.
        key: File for the person who tallies the answers, and nobody else.
        study: Contents of the key.
        shared: Number of captions of which every model has an image.
        warnings: Warnings for the user.
    """

    page: Path
    key: Path
    study: Study
    shared: int
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class _Samples:
    """Samples of a model: the first image of each caption, by (caption, key)."""

    model: StudyModel
    dataset: str
    split: str
    files: dict[tuple[str, str], Path]


def make_ranking_page(
    models: Sequence[str | Path],
    *,
    out: str | Path,
    names: Sequence[str] = (),
    n: int = 50,
    seed: int = 0,
    task: str = TASK,
    data: str | None = None,
    captions_file: str | Path | None = None,
    batch: int = 32,
    device: str | torch.device = "cpu",
    overwrite: bool = False,
    progress: Progress | bool = True,
) -> PageReport:
    """Write a page on which people rank images of several models, caption by caption.

    All models show the same captions: those of which every model has an image, matched by caption and key. If a model
    has several images of a caption, its first one is shown. The seed decides the order of the captions, and of the
    models at each caption. The same call writes the same bytes.

    Args:
        models: Two to nine folders of `gancli sample`. Model and run folders first draw the captions of `data` or
            `captions_file`.
        out: Folder for `index.html` and `key.json`.
        names: Names of the models in the tables, in the order of `models`. By default the names of their methods, or
            of their folders where methods do not tell the models apart.
        n: Number of captions.
        seed: Seed of the captions, their order and the ids, and of the images that model folders draw.
        task: Instruction for the judges.
        data: Dataset and split, as "DIR:split", whose captions model folders draw.
        captions_file: Text file of captions that model folders draw, one per line.
        batch: Images drawn at a time; does not affect the images.
        device: Device that draws.
        overwrite: Replace the page of another study in `out`.
        progress: Callback with images drawn by a model and in total, or True for a bar.

    Raises:
        UsageError: There are too few or too many models, their names are not distinct, captions are missing or not
            needed, images lie between two sentences, or `out` holds another study.
        DataError: The models share fewer than `n` captions, or a folder or image is missing or broken.
    """
    folders = [Path(model) for model in ([models] if isinstance(models, (str, Path)) else models)]
    names = [names] if isinstance(names, str) else names
    out = Path(out)
    _check_request(folders, names, n, seed, task)
    sources = [
        None if _is_samples(model) else _caption_source(model, data, captions_file, n) for model in folders
    ]
    if (data is not None or captions_file is not None) and not any(sources):
        raise UsageError(
            "only models draw captions, and these are all folders of images that were drawn before",
            "Leave out --data and --captions.",
        )
    warnings: dict[str, None] = {}
    with ExitStack() as stack:
        samples = []
        for model, source in zip(folders, sources, strict=True):
            folder = model
            if source is not None:
                folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="gancli-human-")))
                with reporting(progress, "drawing", "images") as report:
                    drawn = _draw(model, source, folder, report, seed=seed, batch=batch, device=device)
                warnings |= dict.fromkeys(f"{model}: {warning}" for warning in drawn.warnings)
            samples.append(_open_samples(folder))
        samples = _named(samples, folders, names)
        captions, shared = _choose_captions(samples, n, seed)
        study, fingerprints = _study(samples, captions, seed, task)
        page, key = out / PAGE, out / KEY
        _refuse_another(page, key, study, overwrite)
        out.mkdir(parents=True, exist_ok=True)
        _write_page(page, study, samples)
        write_key(key, study)
    warnings |= dict.fromkeys(_warnings(study, fingerprints))
    return PageReport(page, key, study, shared, tuple(warnings))


# --- models and captions --------------------------------------------------------------------------------------


def _check_request(models: Sequence[Path], names: Sequence[str], n: int, seed: int, task: str) -> None:
    if not 2 <= len(models) <= MOST_MODELS:
        raise UsageError(f"two to {MOST_MODELS} models can be ranked. Received: {len(models)}")
    if names and len(names) != len(models):
        raise UsageError(
            f"{len(models)} models, but {len(names)} names", "Say --name once for each model, in their order."
        )
    if n < 1 or seed < 0:
        raise UsageError(f"n has to be at least 1 and seed at least 0. Received: {n} and {seed}")
    if not task.strip():
        raise UsageError("the task of the judges is empty")


def _is_samples(folder: Path) -> bool:
    return (folder / SAMPLES).is_file() or (folder / SAMPLING).is_file()


def _caption_source(model: Path, data: str | None, captions_file: str | Path | None, n: int) -> Source:
    """Return the captions that a model folder draws; refuse a missing folder, no captions, or two kinds of them."""
    if not weights_folder_of(model, DRAWING).is_dir():
        raise DataError(f"{model}: no such folder", "Name folders of gancli sample, or model or run folders.")
    if data is not None and captions_file is not None:
        raise UsageError("captions come either from a dataset or from a file, not from both")
    if captions_file is not None:
        return Sentences(file=captions_file)
    if data is None:
        raise UsageError(
            f"{model}: has no {SAMPLES}, so it has to draw images first, and no captions are given",
            "Say --data DIR:SPLIT or --captions FILE, or name a folder of gancli sample.",
        )
    folder, colon, split = data.rpartition(":")
    if not colon or not folder or not split:
        raise UsageError(f"{data}: say the dataset's split, too", f"For example {data.rstrip(':')}:test.")
    return DatasetCaptions(folder, split, n)


def _draw(
    model: Path,
    source: Source,
    folder: Path,
    progress: Progress | None,
    *,
    seed: int,
    batch: int,
    device: str | torch.device,
) -> SampleReport:
    try:
        return sample(
            model,
            source=source,
            out=folder,
            seed=seed,
            batch=batch,
            device=device,
            progress=progress or False,
        )
    except UsageError as error:  # its hint would name options of `gancli sample`
        hint = "Draw the images with gancli sample, then give their folder instead of the model."
        raise UsageError(str(error), hint) from error


def _open_samples(folder: Path) -> _Samples:
    images = open_images(str(folder))  # refuses images between two sentences
    assert isinstance(images, FileImages)
    origin = origin_of(images)
    files: dict[tuple[str, str], Path] = {}
    for image in read_samples(folder):
        files.setdefault((image.caption, image.key), folder / image.file)
    model = StudyModel(
        name=origin.method,
        model=origin.model,
        model_hash=origin.model_hash,
        image_size=origin.image_size,
        seed=origin.seed,
        kind=origin.kind,
        settings=origin.settings,
        trained_steps=origin.trained_steps,
    )
    data = images.data or RealData(dataset="")
    return _Samples(model, data.dataset, data.split, files)


def _named(samples: Sequence[_Samples], models: Sequence[Path], names: Sequence[str]) -> list[_Samples]:
    """Return the samples of the models with distinct names; refuse names that do not tell the models apart."""
    given = [name.strip() for name in names]
    folders = [model.resolve().name for model in models]
    methods = [each.model.name for each in samples]
    for candidates in [given] if given else [methods, folders]:
        if all(candidates) and len(set(candidates)) == len(candidates):
            return [
                dataclasses.replace(each, model=dataclasses.replace(each.model, name=name))
                for each, name in zip(samples, candidates, strict=True)
            ]
    raise UsageError(
        f"the models need names that tell them apart, these do not: {', '.join(given or folders)}",
        "Say --name once for each model, in their order.",
    )


def _choose_captions(samples: Sequence[_Samples], n: int, seed: int) -> tuple[list[tuple[str, str]], int]:
    """Return `n` of the captions that all models drew, in random order, and the number of all such captions."""
    shared = sorted(set.intersection(*(set(each.files) for each in samples)))
    if len(shared) < n:
        counts = ", ".join(f"{each.model.name} {len(each.files):,}" for each in samples)
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
    samples: Sequence[_Samples], captions: Sequence[tuple[str, str]], seed: int, task: str
) -> tuple[Study, list[list[str]]]:
    """Return the study, and the sha256 of its images by caption and model.

    Order and ids depend on the images, so a judge cannot work them out from the seed.
    """
    fingerprints = [
        [hashlib.sha256(each.files[caption].read_bytes()).hexdigest() for each in samples]
        for caption in captions
    ]
    content = json.dumps([1, seed, task, captions, fingerprints]).encode()  # 1: version of this rule
    rng = np.random.default_rng(int(hashlib.sha256(content).hexdigest(), 16))
    ids = _ids(rng)
    digits = len(str(len(captions)))
    questions = []
    for number, (caption, key) in enumerate(captions, start=1):
        shown = rng.permutation(len(samples)).tolist()
        images = {next(ids): index for index in shown}
        questions.append(StudyQuestion(f"q{number:0{digits}d}", caption, key, images))
    study = Study(
        study=next(ids) + next(ids),
        dataset=_common([each.dataset for each in samples]),
        split=_common([each.split for each in samples]),
        seed=seed,
        task=task,
        models=tuple(each.model for each in samples),
        questions=tuple(questions),
        gancli_version=__version__,
    )
    return study, fingerprints


def _ids(rng: np.random.Generator) -> Iterator[str]:
    """Yield distinct ids of six letters."""
    drawn: set[str] = set()
    while True:
        word = "".join(_LETTERS[index] for index in rng.integers(len(_LETTERS), size=6))
        if word not in drawn:
            drawn.add(word)
            yield word


def _common(values: Sequence[str]) -> str:
    """Return the value that all non-empty values share; empty where they differ."""
    known = {value for value in values if value}
    return known.pop() if len(known) == 1 else ""


def _refuse_another(page: Path, key: Path, study: Study, overwrite: bool) -> None:
    """Refuse to overwrite another study, whose answers would be lost without its key."""
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


def _write_page(path: Path, study: Study, samples: Sequence[_Samples]) -> None:
    """Write the page question by question, so that memory does not grow with their number."""
    template = _TEMPLATE.read_text(encoding="utf-8")
    before, _, after = template.replace("@POLICY@", _policy(template)).partition("@STUDY@")
    shown = [(question.caption, question.key) for question in study.questions]
    sides = (max(load_image(each.files[caption]).size) for each in samples for caption in shown)
    side = max(_LEAST_SIDE, *sides)
    with atomic_file(path) as temporary, temporary.open("w", encoding="utf-8", newline="\n") as file:
        file.write(before)
        file.write(f'{{"study": {_json(study.study)}, "task": {_json(study.task)}, "questions": [')
        for number, (question, caption) in enumerate(zip(study.questions, shown, strict=True)):
            images = [
                {"id": each, "source": _data_url(samples[index].files[caption], side)}
                for each, index in question.images.items()
            ]
            entry = {"id": question.id, "caption": question.caption, "images": images}
            file.write(",\n" if number else "\n")
            file.write(_json(entry))
        file.write("\n]}")
        file.write(after)


def _policy(template: str) -> str:
    """Return a content security policy that allows only the page's own script and style.

    Both are allowed by their hash, so code in a caption cannot run. Without a connect, form or frame source the page
    cannot send anything.
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
    """Return ASCII JSON for a script element, in which no text can begin or end a tag or comment."""
    text = json.dumps(value)
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def _data_url(path: Path, side: int) -> str:
    """Return the image as a PNG in a data: URL, enlarged to `side` and without the file's metadata."""
    image = load_image(path)
    scale = side / max(image.size)
    if scale > 1:
        size = tuple(max(1, round(length * scale)) for length in image.size)
        image = image.resize((size[0], size[1]), Image.Resampling.NEAREST)
    buffer = io.BytesIO()
    image.save(buffer, format="PNG")
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"
