"""`sample`: images of a trained model and one source of conditions, with the figures that go with them.

One loop draws for all models and all sources: what a source asks for is in its `Conditions`, what a model is stays
behind `LoadedModel`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from gancli.engine.device import pick_device
from gancli.errors import UsageError
from gancli.figures import Pixels, attention_figure, stages_figure, to_uint8
from gancli.inference.ffgan import LoadedFFGAN
from gancli.inference.load import load_model
from gancli.inference.loaded import NOISE, Drawing, LoadedModel
from gancli.progress import Progress, reporting
from gancli.sampling.attributes import SILHOUETTES, Attributes
from gancli.sampling.conditions import (
    PER_IMAGE,
    Conditions,
    DrawSettings,
    Sheet,
    Source,
    Table,
    named,
    one_or_many,
)
from gancli.sampling.noise import image_noise
from gancli.sampling.requests import Request, file_names, slug
from gancli.sampling.samples_folder import Figure, GeneratedImage, Sampling, Vary, write_samples
from gancli.sampling.samples_writer import new_folder, open_folder, save_image, settings_of, write_missing
from gancli.sampling.sentences import Sentences

IMAGES = "images"  # default folder of the numbered folders
SHEETS = "figures"  # folder of the figures of many images
_SHEET_NAMES = set(Figure) - set(PER_IMAGE)


@dataclass(frozen=True)
class SampleReport:
    """Result of `sample`.

    Attributes:
        out: Folder of the images.
        files: Images, in order.
        figures: Figures of each image, in order, then the figure of many images.
        made: Number of images that this call drew; fewer than `files` where it continued an interrupted one.
        warnings: Messages for the user: words outside the vocabulary, captions that were cut.
        sampling: Settings that made them.
    """

    out: Path
    files: tuple[Path, ...]
    figures: tuple[Path, ...]
    made: int
    warnings: tuple[str, ...]
    sampling: Sampling

    @property
    def figure_names(self) -> tuple[str, ...]:
        """Folders of figures below `out`, and the file of the figure of many images."""
        return tuple(
            f"{SHEETS}/{name}.png" if name in _SHEET_NAMES else name for name in self.sampling.figures
        )


def sample(
    model: str | Path,
    texts: str | Sequence[str] | None = None,
    *,
    source: Source | None = None,
    out: str | Path | None = None,
    variants: int = 1,
    vary: Vary | str = Vary.ALL,
    seed: int = 0,
    figures: str | Sequence[str] = (),
    batch: int = 32,
    device: str | torch.device = "cpu",
    overwrite: bool = False,
    progress: Progress | bool = True,
) -> SampleReport:
    """Draw sentences, or another source: speech, captions or attributes of a dataset, an interpolation.

    Args:
        model: Model folder, run folder or checkpoint; "latest" for the newest run.
        texts: Sentences; for a model of attributes sets of them, such as "primary_color=red, size=small".
        source: Anything else to draw, in place of `texts`: `Sentences` of a file, `Speech`, `DatasetCaptions`,
            `Interpolation`, `Attributes` or `DatasetAttributes`.
        out: Folder for the images, `samples.csv`, `sampling.json` and folders of figures. Made if need be. The same
            call again continues where an interrupted one stopped. None makes a numbered folder below `images`.
        variants: Images per caption, each with noise of its own.
        vary: Noise that differs between variants: all, only the conditioning augmentation's ("condition"; StackGAN's
            figure), or only z ("noise"). The first variant is the same image in all three cases.
        seed: Seed of captions, order and noise.
        figures: Figures beside the images: "stages" (all stages of an image side by side), "attention" (word attention
            of FF-GAN), and one of "variants" (a row per caption), "same-shape" and "same-attributes" (attr2image).
        batch: Images at a time; it does not change them.
        device: Device of the networks; "auto" for a GPU where there is one.
        overwrite: Whether to replace the images of an earlier call in `out`.
        progress: Callback after each batch, True for a bar where a person watches, or False.

    Raises:
        UsageError: There is nothing to draw, a number is too small, the model cannot do it, or `out` holds something
            else.
        DataError: Model, dataset or files are missing or broken, or no word of a caption is known.
    """
    settings = DrawSettings(
        variants=variants,
        vary=named(Vary, "vary", vary),
        seed=seed,
        batch=batch,
        figures=tuple(named(Figure, "a figure", name) for name in one_or_many(figures)),
        device=pick_device(device),
    )
    if overwrite and out is None:
        raise UsageError("nothing says what to replace", "Name the folder with --out.")
    if texts is not None and source is not None:
        raise UsageError("texts are one source, and another one is named", "Name texts or a source.")
    loaded = load_model(model, settings.device)
    _check_model(loaded, settings)
    if source is None:
        source = (Attributes if loaded.name == "attr2image" else Sentences)(() if texts is None else texts)
    conditions = source.open(loaded, settings)
    sampling = _sampling(conditions, settings)
    if out is None:
        first = conditions.requests[0]
        label = f"{sampling.dataset}-{sampling.split}" if first.key else first.label
        folder = new_folder(Path(IMAGES), f"{loaded.name}-{slug(label, 32)}", sampling)
    else:
        folder = open_folder(Path(out), sampling, overwrite)
    with reporting(progress, "drawing", "images") as report:
        return _draw_all(conditions, settings, sampling, folder, report)


def _check_model(model: LoadedModel, settings: DrawSettings) -> None:
    """Refuse settings that the model cannot draw with."""
    if Figure.ATTENTION in settings.figures and not isinstance(model, LoadedFFGAN):
        raise UsageError(
            f"{model.folder}: {model.method} has no word attention to show: one vector of the whole sentence "
            "conditions it",
            "Leave out --attention; --stages and --grid show its images.",
        )
    if settings.vary == Vary.CONDITION and set(model.noise_dims) == {NOISE}:
        raise UsageError(
            f"{model.folder}: {model.method} draws no conditioning augmentation: only its noise z varies",
            "Leave out --vary.",
        )


def _sampling(conditions: Conditions, settings: DrawSettings) -> Sampling:
    """Return the content of sampling.json."""
    extra = (SILHOUETTES,) if conditions.painted else ()
    sheet = () if conditions.sheet is None else (conditions.sheet.figure.value,)
    model, requests = conditions.model, conditions.requests
    sampling = settings_of(model, requests, conditions.dataset, conditions.split, settings.seed)
    fields: Mapping[str, Any] = {
        "stages": model.stages,
        "variants": settings.variants,
        "vary": settings.vary,
        "figures": (*extra, *(figure.value for figure in settings.per_image), *sheet),
        **conditions.record,
    }
    return dataclasses.replace(sampling, **fields)


def _draw_all(
    conditions: Conditions, settings: DrawSettings, sampling: Sampling, out: Path, report: Progress | None
) -> SampleReport:
    """Draw the images that are not there yet, then the figure of many images and samples.csv."""
    model, requests = conditions.model, conditions.requests
    files = file_names(requests)
    names = [name for name in sampling.figures if conditions.sheet is None or name != conditions.sheet.figure]

    def draw(indices: Sequence[int]) -> list[dict[str, Image.Image]]:
        chosen = [requests[index] for index in indices]
        noises = image_noise(chosen, model.noise_dims, settings.seed, settings.vary)
        drawing = conditions.draw(chosen, noises)
        by_stage = [to_uint8(images) for images in drawing.images]  # per stage (B, S, S, 3)
        return [
            {
                "": Image.fromarray(by_stage[-1][row]),
                **dict(_beside(names, conditions, request, drawing, by_stage, row)),
            }
            for row, request in enumerate(chosen)
        ]

    made = write_missing(out, files, names, settings.batch, draw, report)
    figures = [out / name / file for file in files for name in names]
    warnings = list(conditions.warnings)
    if conditions.sheet is not None:
        figures.append(out / SHEETS / f"{conditions.sheet.figure}.png")
        warnings += _save_sheet(figures[-1], conditions.sheet, out, files, requests)
    write_samples(out, [_row(file, r, conditions, sampling) for file, r in zip(files, requests, strict=True)])
    return SampleReport(
        out, tuple(out / file for file in files), tuple(figures), made, tuple(warnings), sampling
    )


def _beside(
    names: Sequence[str],
    conditions: Conditions,
    request: Request,
    drawing: Drawing,
    by_stage: Sequence[Pixels],
    row: int,
) -> Iterator[tuple[str, Image.Image]]:
    """Yield what lies beside one image of a batch, each with the name of its folder."""
    stages = [images[row] for images in by_stage]
    caption = request.label
    if request.second_caption:
        caption = f"{1 - request.weight:.2f} {caption} + {request.weight:.2f} {request.second_caption}"
    if SILHOUETTES in names:
        yield SILHOUETTES, Image.fromarray(stages[0][:, :, 0])
    if Figure.STAGES in names:
        yield (
            Figure.STAGES,
            stages_figure(stages, caption, names=conditions.stage_names or conditions.model.stage_names),
        )
    if Figure.ATTENTION in names:
        model = conditions.model
        assert isinstance(model, LoadedFFGAN)
        maps = [attention[row].float().cpu().numpy() for attention in drawing.attention]
        yield Figure.ATTENTION, attention_figure(stages, maps, model.tokens(caption), caption)


def _save_sheet(
    path: Path, sheet: Sheet, out: Path, files: Sequence[str], requests: Sequence[Request]
) -> list[str]:
    """Write the figure of many images from their files; return warnings."""
    table = Table(out, files, requests, sheet.width, sheet.most)
    save_image(sheet.draw(table), path)
    rows, columns = len(table.rows), len(table.columns)
    if (rows, columns) == (table.height, table.width):
        return []
    return [f"{path}: shows {rows:,} of {table.height:,} rows with {columns} of {table.width:,} images each"]


def _row(file: str, request: Request, conditions: Conditions, sampling: Sampling) -> GeneratedImage:
    """Return the row of samples.csv."""
    utterance, heard_key, silhouette = None, "", ""
    if conditions.heard is not None:
        utterance = request.position
        if request.heard is not None:
            heard_key, utterance = conditions.heard.keys[request.heard[0]], request.heard[1]
    if conditions.painted:
        silhouette = f"{SILHOUETTES}/{file}"
    elif sampling.kind == "attr2image":  # the image is one
        silhouette = file
    return GeneratedImage(
        file,
        request.caption,
        request.key,
        request.class_id,
        sampling.seed,
        request.variant,
        sampling.stages[-1],
        second_caption=request.second_caption,
        weight=request.weight if request.second_caption else None,
        audio=request.audio,
        audio_sha256=request.audio_sha256,
        voice=request.voice,
        utterance=utterance,
        heard_key=heard_key,
        silhouette=silhouette,
    )
