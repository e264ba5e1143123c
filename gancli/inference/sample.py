"""`sample`: pictures from a model folder and captions, one PNG each, with the figures that go with them.

The noise of a picture is drawn from (seed, caption, key, variant) alone, and captions are padded to one length, so
the same seed gives the same picture whatever else is sampled with it, in whatever order and batch size.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from gancli import __version__
from gancli.data.shards import Dataset, Split
from gancli.data.text import crop_tokens, pad_tokens, tokenize
from gancli.errors import DataError, RunError, UsageError
from gancli.inference.figures import Pixels, attention_figure, stages_figure, to_uint8
from gancli.inference.model_folder import LoadedModel, load_model
from gancli.losses.matching import word_mask
from gancli.models.ffgan import GeneratorOutput
from gancli.samples import (
    SAMPLES,
    GeneratedPicture,
    Sampling,
    read_sampling,
    write_samples,
    write_sampling,
)

Progress = Callable[[int, int], None]  # pictures done, pictures in all

_LISTED = 5  # captions named in a message
_SLUG = re.compile(r"[^A-Za-z0-9]+")


@dataclass(frozen=True)
class SampleReport:
    """What `sample` made.

    Attributes:
        out: The folder.
        files: Pictures below it, in order.
        figures: Stage and attention figures below it, in order.
        made: Pictures made by this call; fewer than `files` where an interrupted one was continued.
        warnings: What the user should know: words outside the vocabulary, captions that were cut.
        sampling: What made them.
    """

    out: Path
    files: tuple[Path, ...]
    figures: tuple[Path, ...]
    made: int
    warnings: tuple[str, ...]
    sampling: Sampling


@dataclass(frozen=True)
class _Request:
    """A caption to be drawn, and where it comes from."""

    caption: str
    key: str
    class_id: int | None
    variant: int


def sample(
    model: Path,
    *,
    out: Path,
    texts: Sequence[str] = (),
    captions_file: Path | None = None,
    data: Path | None = None,
    split: str = "test",
    n: int | None = None,
    variants: int = 1,
    seed: int = 0,
    stages: bool = False,
    attention: bool = False,
    batch: int = 32,
    device: str | torch.device = "cpu",
    overwrite: bool = False,
    progress: Progress | None = None,
) -> SampleReport:
    """Draws captions.

    Captions are either given (`texts`, `captions_file`) or those of a dataset: then the split is walked in a random
    order of the seed, one random caption of each image, again and again until there are `n` (the protocol of the
    AttnGAN family, whose scores use 30,000 pictures).

    Args:
        model: A model folder, or a run folder with one.
        out: Folder for the pictures, `samples.csv`, `sampling.json`, and `stages/` and `attention/` where asked for.
            Made if need be. The same call again continues where an interrupted one stopped.
        texts: Sentences.
        captions_file: A UTF-8 text file with one sentence per line; empty lines are skipped.
        data: A prepared dataset.
        split: Of the dataset.
        n: Captions to take from the dataset; None: one per image.
        variants: Pictures per caption, each with noise of its own.
        seed: Of everything random.
        stages: A figure per picture with the pictures of all stages side by side (FF-GAN Fig. 5).
        attention: A figure per picture with the word attention of each refinement stage (FF-GAN Fig. 6).
        batch: Pictures at a time; it does not change them.
        device: Where to run.
        overwrite: Replace what an earlier `sample` wrote to `out`.
        progress: Called after each batch.

    Returns:
        The files and what to warn of.

    Raises:
        UsageError: No captions, or two kinds; a number below 1; `out` holds something else.
        DataError: Model, dataset or captions file are missing or broken, or a caption has no known word.
    """
    _check_numbers(n=n, variants=variants, batch=batch)
    if seed < 0:
        raise UsageError(f"seed has to be 0 or more. Received: {seed}")
    loaded = load_model(Path(model), device)
    dataset: Dataset | None = None
    if data is not None:
        if texts or captions_file is not None:
            raise UsageError("captions come either from a dataset or from texts, not from both")
        dataset = Dataset.open(data)
        captions = _walk(dataset.split(split), n, seed)
    else:
        if n is not None:
            raise UsageError(
                "a number of pictures goes with a dataset's captions; for texts say how many variants"
            )
        captions = [_Request(text, "", None, 0) for text in _given(texts, captions_file)]
    # A dataset's request carries its pass as variant already; further variants are numbered on from there
    passes = 1 + max(request.variant for request in captions)
    requests = [
        _Request(request.caption, request.key, request.class_id, request.variant + passes * number)
        for request in captions
        for number in range(variants)
    ]
    tokens, warnings = _encode(requests, loaded)
    figures = tuple(name for name, wanted in (("stages", stages), ("attention", attention)) if wanted)
    sampling = Sampling(
        model=str(model),
        model_hash=loaded.hash,
        encoder_hash=str(loaded.settings.get("encoder_hash", "")),
        method=method_name(loaded),
        data=None if data is None else str(data),
        dataset=None if dataset is None else dataset.name,
        split=None if dataset is None else split,
        pictures=len(requests),
        variants=variants,
        seed=seed,
        words=loaded.words,
        stages=loaded.stages,
        captions_sha256=_captions_hash(requests),
        figures=figures,
        gancli_version=__version__,
    )
    _open_folder(out, sampling, overwrite)
    files = _file_names(requests)
    todo = [
        index
        for index, file in enumerate(files)
        if not all((out / folder / file).is_file() for folder in ("", *figures))
    ]
    with ThreadPoolExecutor() as pool:
        done = len(files) - len(todo)
        for indices, output in _draw(loaded, requests, tokens, todo, seed, batch, torch.device(device)):
            pictures = [to_uint8(images) for images in output.images]  # per stage (B, S, S, 3)
            for name in figures:
                draw = _stages_of if name == "stages" else _attention_of
                for row, index in enumerate(indices):
                    figure = draw(pictures, output, row, requests[index].caption, loaded)
                    _save(figure, out / name / files[index])
            list(pool.map(_save_pixels, pictures[-1], (out / files[index] for index in indices)))
            done += len(indices)
            if progress is not None:
                progress(done, len(files))
    write_samples(
        out,
        [
            GeneratedPicture(
                file, request.caption, request.key, request.class_id, seed, request.variant, loaded.stages[-1]
            )
            for file, request in zip(files, requests, strict=True)
        ],
    )
    return SampleReport(
        out,
        tuple(out / file for file in files),
        tuple(out / name / file for file in files for name in figures),
        len(todo),
        tuple(warnings),
        sampling,
    )


def method_name(model: LoadedModel) -> str:
    """What the paper's tables call a model: FF-GAN, or its ablation (FF-GAN Fig. 7); untrained ones are told apart."""
    generator = model.settings["generator"]
    names = {
        (True, True): "FF-GAN",
        (True, False): "baseline+FF-Block",
        (False, True): "baseline+GSR",
        (False, False): "baseline",
    }
    name = names[bool(generator.get("ff_block", True)), bool(generator.get("gsr", True))]
    return f"{name}, untrained" if model.settings.get("step") == 0 else name


# --- captions -------------------------------------------------------------------------------------------------


def _check_numbers(**numbers: int | None) -> None:
    for name, number in numbers.items():
        if number is not None and number < 1:
            raise UsageError(f"{name} has to be at least 1. Received: {number}")


def _given(texts: Sequence[str], captions_file: Path | None) -> list[str]:
    captions = [text.strip() for text in texts]
    if captions_file is not None:
        try:
            lines = captions_file.read_text(encoding="utf-8-sig").splitlines()
        except FileNotFoundError:
            raise DataError(f"{captions_file}: no such file") from None
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(f"{captions_file}: cannot be read as UTF-8 text ({error})") from error
        lines = [line.strip() for line in lines if line.strip()]
        if not lines:
            raise DataError(f"{captions_file}: holds no caption", "Write one sentence per line.")
        captions += lines
    if not captions:
        raise UsageError(
            "nothing to draw", 'Say --text "a small red bird", --captions FILE, or --data DIR --split test.'
        )
    return captions


def _walk(split: Split, n: int | None, seed: int) -> list[_Request]:
    """`n` captions of a split: pass by pass over all images in random order, one random caption each time."""
    if len(split) == 0:
        raise DataError(f"{split.folder}: the split {split.name!r} is empty")
    n = len(split) if n is None else n
    keys, class_ids = split.keys, split.class_ids
    requests = []
    for start in range(0, n, len(split)):
        number = start // len(split)
        rng = np.random.default_rng([seed, number])
        order = rng.permutation(len(split))[: n - start]
        for index, chance in zip(order.tolist(), rng.random(len(order)), strict=True):
            captions = split.captions(index)
            caption = captions[int(chance * len(captions))]
            requests.append(_Request(caption, keys[index], int(class_ids[index]), number))
    return requests


def _encode(requests: Sequence[_Request], model: LoadedModel) -> tuple[list[np.ndarray], list[str]]:
    """Word numbers of each caption, and what to warn of; each caption is looked at once."""
    known: dict[str, np.ndarray] = {}
    unknown: list[str] = []
    cut: list[str] = []
    empty: list[str] = []
    for request in requests:
        if request.caption in known:
            continue
        words = tokenize(request.caption)
        numbers = model.vocabulary.encode(words)
        known[request.caption] = crop_tokens(numbers, model.words, None)
        if len(numbers) == 0:
            empty.append(f"{request.caption!r}" + (f" of {request.key}" if request.key else ""))
        elif missing := model.vocabulary.unknown(words):
            unknown.append(f"{', '.join(missing)} in {request.caption!r}")
        if len(numbers) > model.words:
            cut.append(f"{request.caption!r} has {len(numbers)} words")
    if empty:
        raise DataError(
            f"no word of {_some(empty)} is in the vocabulary of {model.folder}",
            f"It was trained with {len(model.vocabulary) - 1} words, listed in {model.folder / 'vocabulary.json'}.",
        )
    warnings = []
    if unknown:
        warnings.append(f"words outside the vocabulary are left out: {_some(unknown)}")
    if cut:
        warnings.append(f"only the first {model.words} words are used: {_some(cut)}")
    return [known[request.caption] for request in requests], warnings


def _some(items: Sequence[str]) -> str:
    more = f"; and {len(items) - _LISTED} more captions" if len(items) > _LISTED else ""
    return "; ".join(items[:_LISTED]) + more


def _captions_hash(requests: Sequence[_Request]) -> str:
    digest = hashlib.sha256()
    for request in requests:
        digest.update(f"{request.caption}\0{request.key}\0{request.variant}\n".encode())
    return digest.hexdigest()


# --- pictures -------------------------------------------------------------------------------------------------


def _draw(
    model: LoadedModel,
    requests: Sequence[_Request],
    tokens: Sequence[np.ndarray],
    todo: Sequence[int],
    seed: int,
    batch: int,
    device: torch.device,
) -> Iterator[tuple[Sequence[int], GeneratorOutput]]:
    for start in range(0, len(todo), batch):
        indices = todo[start : start + batch]
        padded, lengths = pad_tokens([tokens[index] for index in indices], model.words)
        noise = _noise(
            [requests[index] for index in indices],
            seed,
            model.generator.noise_dim,
            model.generator.condition_dim,
        )
        with torch.no_grad():
            lengths_tensor = torch.from_numpy(lengths).to(device)
            words, sentence = model.text_encoder(torch.from_numpy(padded).to(device), lengths_tensor)
            mask = word_mask(lengths_tensor, model.words)
            yield indices, model.generator(sentence, words, mask, *(part.to(device) for part in noise))


def _noise(requests: Sequence[_Request], seed: int, *dims: int) -> tuple[Tensor, ...]:
    """Standard normal noise of each length, (B, dim), from what identifies each request and nothing else."""
    rows = np.empty((len(requests), sum(dims)), np.float32)
    for row, request in zip(rows, requests, strict=True):
        text = f"{seed}\0{request.caption}\0{request.key}\0{request.variant}"
        number = int.from_bytes(hashlib.sha256(text.encode()).digest()[:16])
        row[:] = np.random.default_rng(number).standard_normal(len(row), dtype=np.float32)
    return torch.from_numpy(rows).split(list(dims), dim=1)


def _stages_of(
    pictures: Sequence[Pixels], output: GeneratorOutput, row: int, caption: str, model: LoadedModel
) -> Image.Image:
    return stages_figure([stage[row] for stage in pictures], caption)


def _attention_of(
    pictures: Sequence[Pixels], output: GeneratorOutput, row: int, caption: str, model: LoadedModel
) -> Image.Image:
    numbers = crop_tokens(model.vocabulary.encode(tokenize(caption)), model.words, None)
    words = [model.vocabulary.words[number] for number in numbers]
    maps = [attention[row].float().cpu().numpy() for attention in output.attention]
    return attention_figure([stage[row] for stage in pictures], maps, words, caption)


# --- files ----------------------------------------------------------------------------------------------------


def _file_names(requests: Sequence[_Request]) -> list[str]:
    """Numbered, so that no two are the same, with the key or the caption's first words to recognise them by."""
    digits = max(4, len(str(len(requests) - 1)))
    names = []
    for number, request in enumerate(requests):
        slug = _SLUG.sub("-", request.key.rpartition("/")[2] or request.caption).strip("-")[:48]
        names.append(f"{number:0{digits}d}-{slug or 'picture'}.png")
    return names


def _open_folder(out: Path, sampling: Sampling, overwrite: bool) -> None:
    """Makes the folder, or finds in it what an interrupted call with the same settings left."""
    if out.exists() and not out.is_dir():
        raise UsageError(f"{out}: is a file", "Name a folder for the pictures.")
    if out.is_dir() and any(out.iterdir()):
        earlier = read_sampling(out)
        if earlier is None:
            raise UsageError(f"{out}: is not empty, and gancli sample did not write it", "Name a new folder.")
        if overwrite:
            shutil.rmtree(out)
        elif earlier != sampling or (out / SAMPLES).exists():
            raise UsageError(
                f"{out}: holds pictures already ({earlier.pictures} of {earlier.model}, seed {earlier.seed})",
                "Name a new folder, or say --overwrite.",
            )
    for name in ("", *sampling.figures):
        (out / name).mkdir(parents=True, exist_ok=True)
    write_sampling(out, sampling)


def _save_pixels(pixels: Pixels, path: Path) -> None:
    _save(Image.fromarray(pixels), path)


def _save(image: Image.Image, path: Path) -> None:
    # Whole or not at all, but not synced: of many thousand files one lost to a power cut is made again
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        image.save(temporary, format="PNG")
        os.replace(temporary, path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise RunError(
            f"{path}: cannot be written ({error.strerror or error}); the pictures before it are kept",
            "Free some space, then run the same command again: it continues.",
        ) from error
