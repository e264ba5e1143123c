"""`sample`: images from a model folder and captions, one PNG each, with the figures that go with them.

It knows no model: what a model folder holds draws images from captions and noise (`LoadedModel`). What some models
alone can do is asked of them: word attention (FF-GAN), the way between two sentence vectors (models conditioned on
one), images from speech (Fusion-S2iGan).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from gancli.data.shards import Dataset, Split
from gancli.data.text_to_speech import choose_voices, find_synthesizer
from gancli.encoders.embeddings import CaptionEmbeddings, load_embeddings
from gancli.errors import DataError, UsageError
from gancli.figures import (
    Pixels,
    attention_figure,
    interpolation_figure,
    stages_figure,
    to_uint8,
    variants_figure,
)
from gancli.inference.load import LoadedFFGAN, LoadedFusionS2iGan, LoadedStackGAN, load_model
from gancli.inference.loaded import NOISE, Drawing, LoadedModel
from gancli.progress import Progress
from gancli.sampling.noise import image_noise
from gancli.sampling.requests import (
    Request,
    between,
    captions_hash,
    file_names,
    given,
    of_dataset,
    with_variants,
)
from gancli.sampling.samples_folder import GeneratedImage, Sampling, Vary, write_samples
from gancli.sampling.samples_writer import open_folder, save_image, write_missing
from gancli.sampling.speech import (
    Clip,
    Sentences,
    hear_files,
    hear_texts,
    heard,
    mismatched_speech,
    utterances,
    warn_of,
)
from gancli.version import __version__

STEPS = 8  # of an interpolation unless said otherwise
SHEETS = "figures"  # folder of the figures that show many images
_SHEETS = ("variants", "interpolation", "same-shape", "same-attributes")
_SHEET = 32  # most rows of a sheet, and most images in a row


@dataclass(frozen=True)
class SampleReport:
    """What `sample` made.

    Attributes:
        out: The folder.
        files: Images below it, in order.
        figures: Stage and attention figures below it, in order, and last the sheet of variants or interpolation.
        made: Images made by this call; fewer than `files` where an interrupted one was continued.
        warnings: What the user should know: words outside the vocabulary, captions that were cut.
        sampling: What made them.
    """

    out: Path
    files: tuple[Path, ...]
    figures: tuple[Path, ...]
    made: int
    warnings: tuple[str, ...]
    sampling: Sampling

    @property
    def figure_names(self) -> tuple[str, ...]:
        """The folders of figures below `out`, and the sheet's file."""
        return tuple(f"{SHEETS}/{n}.png" if n in _SHEETS else n for n in self.sampling.figures)


def sample(
    model: Path,
    *,
    out: Path,
    texts: Sequence[str] = (),
    captions_file: Path | None = None,
    wavs: Sequence[Path] = (),
    speak: Sequence[str] = (),
    voice: str | None = None,
    speed: int | None = None,
    tts_command: str | None = None,
    data: Path | None = None,
    split: str = "test",
    mismatched: bool = False,
    n: int | None = None,
    images_per_class: int | None = None,
    captions_per_image: int | None = None,
    embeddings: Path | None = None,
    interpolate: tuple[str, str] | None = None,
    steps: int | None = None,
    variants: int = 1,
    vary: Vary | str = Vary.ALL,
    seed: int = 0,
    stages: bool = False,
    attention: bool = False,
    grid: bool = False,
    batch: int = 32,
    device: str | torch.device = "cpu",
    overwrite: bool = False,
    progress: Progress | None = None,
) -> SampleReport:
    """Draws captions.

    Captions are either given (`texts`, `captions_file`; for a model of spoken captions `wavs`, `speak`), or two between
    which to go (`interpolate`), or those of a dataset: then the split is walked in a random order of the seed, one
    random caption of each image, again and again until there are `n` (the protocol of the AttnGAN family, whose scores
    use 30,000 images); or, with `captions_per_image`, image by image (the protocol of mAP and R@k in S2IGAN).

    Args:
        model: A model folder, or a run folder with one.
        out: Folder for the images, `samples.csv`, `sampling.json`, and the folders `stages/`, `attention/` and
            `figures/` where asked for. Made if need be. The same call again continues where an interrupted one
            stopped.
        texts: Sentences.
        captions_file: A UTF-8 text file with one sentence per line; empty lines are skipped.
        wavs: Audio files, or folders of them, for a model of spoken captions.
        speak: Sentences that a machine speaks for such a model.
        voice: Who speaks them, by the synthesizer's name; None: its default.
        speed: How fast, in words per minute; None: the default.
        tts_command: A program that speaks, as `gancli prepare --tts-cmd` takes it; None: eSpeak NG.
        data: A prepared dataset; of speech, for a model of spoken captions.
        split: Of the dataset.
        mismatched: Each image is drawn from the speech of another image, as a control: whatever then still agrees
            with the caption does so by chance.
        n: Captions to take from the dataset; None: one per image.
        images_per_class: Only the first images of each class by name; None: all of the split.
        captions_per_image: The first captions of each image, in order; None: random ones.
        embeddings: A file of sentence vectors for the dataset's captions, for a model that was trained on such a file
            and cannot read captions itself.
        interpolate: Two sentences: images of the vectors on the straight line between theirs, all with the noise
            that the first sentence's image has. Of StackGAN, which is conditioned on one vector.
        steps: Images of the interpolation, both ends included; None: 8.
        variants: Images per caption, each with noise of its own.
        vary: Which noise that is: all, only the conditioning augmentation's ("condition"; StackGAN's figure), or only
            z ("noise"); the other is the first variant's. The first variant is the same image in all three cases.
        seed: Of everything random.
        stages: A figure per image with the images of all stages side by side (FF-GAN Fig. 5, StackGAN).
        attention: A figure per image with the word attention of each refinement stage (FF-GAN Fig. 6).
        grid: One figure with a row per caption, its variants along the row: `figures/variants.png`.
        batch: Images at a time; it does not change them.
        device: Where to run.
        overwrite: Replace what an earlier `sample` wrote to `out`.
        progress: Called after each batch.

    Returns:
        The files and what to warn of.

    Raises:
        UsageError: No captions, or two kinds; a number below 1; something that this model does not do; `out` holds
            something else.
        DataError: Model, dataset, captions or embeddings are missing or broken, or nothing of a caption is known.
    """
    grid = grid and interpolate is None  # an interpolation brings its own figure
    vary = _check_request(
        n=n,
        images_per_class=images_per_class,
        captions_per_image=captions_per_image,
        steps=steps,
        variants=variants,
        batch=batch,
        seed=seed,
        vary=vary,
        grid=grid,
    )
    if steps is not None and interpolate is None:
        raise UsageError("steps are those of an interpolation", 'Say --interpolate "text A" "text B".')
    loaded = load_model(Path(model), device)
    listener = loaded if isinstance(loaded, LoadedFusionS2iGan) and loaded.speech is not None else None
    _check_senses(
        loaded,
        listener,
        written=bool(texts) or captions_file is not None or interpolate is not None,
        spoken=bool(wavs or speak),
        mismatched=mismatched,
    )
    if not speak and (voice, speed, tts_command) != (None, None, None):
        raise UsageError(
            "a voice, a speed and a command go with a text to be spoken", 'Say --speak "a small red bird".'
        )
    if mismatched and data is None:
        raise UsageError("the speech of other images is that of a dataset", "Say --data DIR with it.")
    if attention and not isinstance(loaded, LoadedFFGAN):
        raise UsageError(
            f"{model}: {loaded.method} has no word attention to show: one vector of the whole sentence conditions it",
            "Leave out --attention; --stages and --grid show its images.",
        )
    if vary == Vary.CONDITION and set(loaded.noise_dims) == {NOISE}:
        raise UsageError(
            f"{model}: {loaded.method} draws no conditioning augmentation: only its noise z varies",
            "Leave out --vary.",
        )
    dataset = None if data is None else Dataset.open(data)
    opened = None if dataset is None else dataset.split(split)
    clips: list[Clip] = []
    synthesizer: str | None = None
    if listener is not None and opened is not None:
        listener.check_speech(opened)
    if interpolate is not None:
        if texts or captions_file is not None or dataset is not None:
            raise UsageError(
                "an interpolation brings its own two sentences: name no other captions beside it"
            )
        steps = steps or STEPS
        requests = between(*interpolate, steps, variants)
    elif dataset is not None and opened is not None:
        if texts or captions_file is not None or wavs or speak:
            raise UsageError("captions come either from a dataset or from texts and files, not from both")
        if images_per_class is not None and not dataset.class_names:
            raise UsageError(f"{data}: has no classes to take images of", "Leave out the images per class.")
        drawn = of_dataset(
            opened,
            n=n,
            seed=seed,
            images_per_class=images_per_class,
            captions_per_image=captions_per_image,
            spoken=listener is not None,
        )
        if mismatched:
            drawn = mismatched_speech(drawn, opened, seed)
        requests = with_variants(drawn, variants)
    elif listener is not None:
        clips, synthesizer = _hear(listener, wavs, speak, voice, speed, tts_command)
        requests = with_variants([clip.request for clip in clips], variants)
    else:
        requests = with_variants(given(texts, captions_file), variants)
    if dataset is None and (n, images_per_class, captions_per_image) != (None, None, None):
        raise UsageError(
            "a number of captions or images goes with a dataset's captions; for texts say how many variants"
        )
    sentences: Sentences | None = None
    vectors: CaptionEmbeddings | None = None
    if embeddings is not None:
        if opened is None:
            raise UsageError(
                f"{embeddings}: has vectors for the captions of a dataset, not for texts",
                "Say --data DIR with it.",
            )
        vectors, warnings = _open_embeddings(loaded, embeddings, opened)
        sentences = _looked_up(vectors)
    elif listener is not None:
        sentences = heard(clips) if opened is None else utterances(opened, listener)
        warnings = warn_of(clips)
    else:
        warnings = loaded.check([text for r in requests for text in (r.caption, r.second_caption) if text])
        if interpolate is not None:
            sentences = _mixed(loaded, interpolate)
    per_image = tuple(name for name, wanted in (("stages", stages), ("attention", attention)) if wanted)
    sheet = "interpolation" if interpolate is not None else "variants" if grid else None
    sampling = Sampling(
        model=str(model),
        model_hash=loaded.hash,
        encoder_hash=str(loaded.settings.get("encoder_hash", "")),
        method=f"{loaded.method}, speech of other images" if mismatched else loaded.method,
        data=None if data is None else str(data),
        dataset=None if dataset is None else dataset.name,
        split=None if dataset is None else split,
        images=len(requests),
        variants=variants,
        seed=seed,
        words=loaded.words,
        stages=loaded.stages,
        captions_sha256=captions_hash(requests),
        figures=per_image if sheet is None else (*per_image, sheet),
        gancli_version=__version__,
        vary=vary,
        interpolation=interpolate,
        steps=steps,
        embeddings=None if embeddings is None else str(embeddings),
        embeddings_hash=None if vectors is None else vectors.hash,
        images_per_class=images_per_class,
        captions_per_image=captions_per_image,
        synthesizer=synthesizer,
        mismatched=mismatched,
    )
    open_folder(out, sampling, overwrite)
    files = file_names(requests)

    def draw(indices: Sequence[int]) -> list[dict[str, Image.Image]]:
        drawing = _draw(loaded, [requests[index] for index in indices], seed, vary, sentences)
        by_stage = [to_uint8(images) for images in drawing.images]  # per stage (B, S, S, 3)
        return [
            {
                "": Image.fromarray(by_stage[-1][row]),
                **dict(_figures(per_image, by_stage, drawing, row, requests[index], loaded)),
            }
            for row, index in enumerate(indices)
        ]

    made = write_missing(out, files, per_image, batch, draw, progress)
    figures = [out / name / file for file in files for name in per_image]
    if sheet is not None:
        warnings += _save_sheet(out, f"{sheet}.png", files, requests, steps or variants)
        figures.append(out / SHEETS / f"{sheet}.png")
    write_samples(
        out,
        [
            _row(file, request, seed, loaded.stages[-1], None if listener is None else opened)
            for file, request in zip(files, requests, strict=True)
        ],
    )
    return SampleReport(
        out, tuple(out / file for file in files), tuple(figures), made, tuple(warnings), sampling
    )


def _row(file: str, request: Request, seed: int, side: int, spoken: Split | None) -> GeneratedImage:
    """The row of samples.csv; `spoken` is the split whose speech was heard."""
    utterance, heard_key = None, ""
    if request.heard is not None and spoken is not None:
        heard_key, utterance = spoken.keys[request.heard[0]], request.heard[1]
    elif spoken is not None:
        utterance = request.position
    return GeneratedImage(
        file,
        request.caption,
        request.key,
        request.class_id,
        seed,
        request.variant,
        side,
        second_caption=request.second_caption,
        weight=request.weight if request.second_caption else None,
        audio=request.audio,
        audio_sha256=request.audio_sha256,
        voice=request.voice,
        utterance=utterance,
        heard_key=heard_key,
    )


def _check_senses(
    model: LoadedModel, listener: LoadedFusionS2iGan | None, *, written: bool, spoken: bool, mismatched: bool
) -> None:
    """Refuses text for a model that hears, and speech for one that reads."""
    if listener is not None and written:
        raise UsageError(
            f"{model.folder}: hears captions and reads none: it was trained on speech",
            'Say --speak "a small red bird" to have a text spoken for it, --wav FILE, or --data DIR.',
        )
    if listener is None and (spoken or mismatched):
        raise UsageError(
            f"{model.folder}: reads captions and hears none: it was trained on text",
            'Say --text "a small red bird", --captions FILE, or --data DIR.',
        )


def _hear(
    model: LoadedFusionS2iGan,
    wavs: Sequence[Path],
    texts: Sequence[str],
    voice: str | None,
    speed: int | None,
    command: str | None,
) -> tuple[list[Clip], str | None]:
    """Files and spoken texts, and what spoke the texts."""
    if not wavs and not texts:
        raise UsageError("nothing to draw", 'Say --wav FILE, --speak "a small red bird", or --data DIR.')
    if not all(text.strip() for text in texts):
        raise UsageError("a text to be spoken is empty")
    clips = hear_files(wavs, model)
    if not texts:
        return clips, None
    synthesizer = find_synthesizer(command)
    (who,) = choose_voices(synthesizer, [] if voice is None else [voice], [] if speed is None else [speed])
    return clips + hear_texts(texts, model, synthesizer, who), f"{synthesizer.backend} {synthesizer.version}"


def _check_request(
    *,
    n: int | None,
    images_per_class: int | None,
    captions_per_image: int | None,
    steps: int | None,
    variants: int,
    batch: int,
    seed: int,
    vary: Vary | str,
    grid: bool,
) -> Vary:
    """What can be refused before anything is read; gives back the checked `vary`."""
    least = {
        "n": (n, 1),
        "images_per_class": (images_per_class, 1),
        "captions_per_image": (captions_per_image, 1),
        "steps": (steps, 2),
        "variants": (variants, 1),
        "batch": (batch, 1),
        "seed": (seed, 0),
    }
    for name, (number, lowest) in least.items():
        if number is not None and number < lowest:
            raise UsageError(f"{name} has to be at least {lowest}. Received: {number}")
    if n is not None and captions_per_image is not None:
        raise UsageError(
            "a number of random captions and the first captions of each image are two ways to choose",
            "Say -n or --captions-per-image.",
        )
    if vary not in set(Vary):
        raise UsageError(f"vary has to be one of {', '.join(Vary)}. Received: {vary}")
    if variants == 1 and (grid or vary != Vary.ALL):
        raise UsageError(
            "there is one image per caption, and nothing to compare it with",
            "Say how many variants of each caption to draw: --variants 8.",
        )
    return Vary(vary)


# --- sentence vectors that do not come from captions alone ------------------------------------------------------


def _open_embeddings(model: LoadedModel, path: Path, split: Split) -> tuple[CaptionEmbeddings, list[str]]:
    """The vectors of a split's captions, and what to warn of.

    Raises:
        UsageError: The model reads captions itself.
        DataError: The file is not of this split, or its vectors are of another width than the model's.
    """
    if not isinstance(model, LoadedStackGAN) or model.encoder is not None:
        raise UsageError(
            f"{path}: is not needed: {model.folder} has the encoder it was trained with",
            "Leave out --embeddings.",
        )
    vectors = load_embeddings(path, split)
    if vectors.dim != model.text_dim:
        raise DataError(
            f"{path}: its vectors have {vectors.dim} numbers, {model.folder} was trained on vectors of "
            f"{model.text_dim}",
            "Use vectors of the encoder that made those of its training.",
        )
    if vectors.hash != model.settings["encoder_hash"]:
        return vectors, [
            f"{path} is another file than the model was trained on; the same encoder has to have made both"
        ]
    return vectors, []


def _looked_up(vectors: CaptionEmbeddings) -> Sentences:
    """Each caption's own vector."""

    def look_up(requests: Sequence[Request]) -> Tensor:
        rows = []
        for request in requests:
            assert request.index is not None  # a dataset's request
            rows.append(vectors.of(request.index)[request.position])
        return torch.from_numpy(np.stack(rows))

    return look_up


def _mixed(model: LoadedModel, ends: tuple[str, str]) -> Sentences:
    """Vectors on the straight line between those of two sentences.

    Raises:
        UsageError: The model is conditioned on more than one vector.
    """
    if not isinstance(model, LoadedStackGAN | LoadedFusionS2iGan):
        raise UsageError(
            f"{model.folder}: {model.method} cannot go from one sentence to another: it attends to the words of a "
            "sentence, and the words of two sentences have no line between them",
            "Interpolate with StackGAN, or Fusion-S2iGan with sentences, which one vector conditions.",
        )
    first, second = model.encode([text.strip() for text in ends]).split(1)  # (1, E) each

    def mix(requests: Sequence[Request]) -> Tensor:
        weights = torch.tensor([request.weight for request in requests], device=first.device)
        return torch.lerp(first, second, weights[:, None])  # exact at both ends

    return mix


# --- images and figures ---------------------------------------------------------------------------------------


def _draw(
    model: LoadedModel, requests: Sequence[Request], seed: int, vary: Vary, sentences: Sentences | None
) -> Drawing:
    noises = image_noise(requests, model.noise_dims, seed, vary)
    if sentences is None:
        return model.draw([request.caption for request in requests], noises)
    assert isinstance(model, LoadedStackGAN | LoadedFusionS2iGan)
    return model.draw_sentences(sentences(requests), noises)


def _figures(
    names: Sequence[str],
    images: Sequence[Pixels],
    drawing: Drawing,
    row: int,
    request: Request,
    model: LoadedModel,
) -> Iterator[tuple[str, Image.Image]]:
    """The figures of one image of a batch, each with the name of its folder."""
    stages = [stage[row] for stage in images]
    caption = request.label
    if request.second_caption:
        caption = f"{1 - request.weight:.2f} {caption} + {request.weight:.2f} {request.second_caption}"
    if "stages" in names:
        yield "stages", stages_figure(stages, caption, names=model.stage_names)
    if "attention" in names:
        assert isinstance(model, LoadedFFGAN)
        maps = [attention[row].float().cpu().numpy() for attention in drawing.attention]
        yield "attention", attention_figure(stages, maps, model.tokens(caption), caption)


def _save_sheet(
    out: Path, name: str, files: Sequence[str], requests: Sequence[Request], columns: int
) -> list[str]:
    """The figure of all variants, or of an interpolation, from the files; gives back what to warn of."""
    starts = range(0, len(files), columns)
    chosen = np.linspace(0, columns - 1, min(columns, _SHEET)).round().astype(int)
    rows = [[start + int(column) for column in chosen] for start in starts[:_SHEET]]
    images = [[np.asarray(Image.open(out / files[index]).convert("RGB")) for index in row] for row in rows]
    first = requests[0]
    if first.second_caption:
        weights = [requests[index].weight for index in rows[0]]
        figure = interpolation_figure(images, weights, first.caption, first.second_caption)
    else:
        figure = variants_figure(images, [requests[row[0]].label for row in rows])
    save_image(figure, out / SHEETS / name)
    if len(rows) == len(starts) and len(chosen) == columns:
        return []
    return [
        f"{out / SHEETS / name}: shows {len(rows):,} of {len(starts):,} rows with {len(chosen)} of {columns:,} "
        "images each"
    ]
