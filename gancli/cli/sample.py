"""`gancli sample`: images from a trained model."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gancli.cli.app import USE, app, command
from gancli.cli.console import Output
from gancli.cli.options import given, options
from gancli.errors import UsageError
from gancli.registry import DRAWING, MODELS
from gancli.sampling.samples_folder import Vary

if TYPE_CHECKING:
    from gancli.sampling.conditions import Source
    from gancli.sampling.sample import SampleReport


class Grid(StrEnum):
    """Figures of many images."""

    VARIANTS = "variants"
    SAME_SHAPE = "same-shape"
    SAME_ATTRIBUTES = "same-attributes"


@options("Captions")
class CaptionOptions:
    """Written captions, and the dataset that captions or attributes come from."""

    text: Annotated[list[str] | None, typer.Option("--text", "-t", help="A sentence; may repeat.")] = None
    captions: Annotated[Path | None, typer.Option(help="Text file, one sentence a line.")] = None
    data: Annotated[Path | None, typer.Option(help="Dataset folder whose captions to draw.")] = None
    split: Annotated[str, typer.Option(help="Split of the dataset.")] = "test"
    n: Annotated[
        int | None,
        typer.Option(
            "-n", min=1, help="Random captions to take from the dataset.", show_default="one per image"
        ),
    ] = None
    images_per_class: Annotated[
        int | None,
        typer.Option(
            min=1, help="First images of each class by name to take.", show_default="all images of the split"
        ),
    ] = None
    captions_per_image: Annotated[
        int | None,
        typer.Option(
            min=1, help="First captions of each image to take, image by image.", show_default="random ones"
        ),
    ] = None
    embeddings: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.npz",
            help="Sentence vectors of the dataset's captions, for a model trained on such a file.",
        ),
    ] = None
    interpolate: Annotated[
        tuple[str, str] | None,
        typer.Option(
            metavar="TEXT TEXT",
            help="Go from one sentence to another with the same noise (StackGAN, DF-GAN).",
        ),
    ] = None
    steps: Annotated[
        int | None,
        typer.Option(min=2, help="Images of the interpolation, both ends included.", show_default="8"),
    ] = None


@options("Speech")
class SpeechOptions:
    """Recorded and spoken captions, for a model of speech."""

    wav: Annotated[
        list[Path] | None,
        typer.Option(metavar="FILE", help="Audio file, or a folder of them; may repeat."),
    ] = None
    speak: Annotated[
        list[str] | None, typer.Option(help="A sentence for a machine to speak; may repeat.")
    ] = None
    voice: Annotated[str | None, typer.Option(help="Voice of the machine.", show_default="en-us")] = None
    speed: Annotated[int | None, typer.Option(help="Words per minute.", show_default="175")] = None
    tts_cmd: Annotated[
        str | None,
        typer.Option(
            metavar="COMMAND",
            help="Program that speaks, with {text_file} and {wav_file}.",
            show_default="eSpeak NG",
        ),
    ] = None
    mismatched: Annotated[
        bool,
        typer.Option(
            "--mismatched", help="With --data: draw from the speech of another image, as a control."
        ),
    ] = False


@options("Attributes")
class AttributeOptions:
    """Attributes and silhouettes, for a model of attributes."""

    attr: Annotated[
        list[str] | None,
        typer.Option(metavar="GROUP=VALUE", help="An attribute; repeat for more of the same bird."),
    ] = None
    attr_file: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Text file, the attributes of one image a line, with commas."),
    ] = None
    key: Annotated[
        str | None,
        typer.Option(help="With --data: the one image to take.", show_default="all images of the split"),
    ] = None
    shape: Annotated[
        str | None,
        typer.Option(
            metavar="FILE|DIR|data",
            help="Paint these silhouettes, white on the bird, or with --data those of its images.",
            show_default="the model draws them",
        ),
    ] = None
    shape_model: Annotated[
        Path | None,
        typer.Option(
            metavar="MODEL",
            help="Model of stage=shape that draws the silhouettes.",
            show_default="MODEL itself",
        ),
    ] = None


@options("Variants and figures")
class VariantOptions:
    """Images per caption, and figures beside them."""

    variants: Annotated[int, typer.Option(min=1, help="Images per caption, each with other noise.")] = 1
    vary: Annotated[
        Vary | None,
        typer.Option(
            help="Noise that differs: all of it, the conditioning augmentation's alone, or z alone.",
            show_default="all",
        ),
    ] = None
    grid: Annotated[
        Grid | None,
        typer.Option(
            help="Figure of many images: a row of variants per caption; for attributes, one shape under many sets of "
            "them, or each set on many shapes.",
            show_default=False,
        ),
    ] = None
    stages: Annotated[
        bool, typer.Option("--stages", help="Figure per image with all stages side by side.")
    ] = False
    attention: Annotated[
        bool,
        typer.Option("--attention", help="Figure per image with the attention to each word (FF-GAN)."),
    ] = False

    @property
    def figures(self) -> list[str]:
        """Names of the figures."""
        chosen = {"stages": self.stages, "attention": self.attention}
        return [name for name, wanted in chosen.items() if wanted] + ([self.grid.value] if self.grid else [])


@command(
    app,
    "sample",
    examples=(
        'gancli sample latest --text "a small red bird with blue wings" --variants 4',
        "gancli sample runs/0001-ffgan-cub --data data/cub --split test -n 30000 --out images/cub",
        'gancli sample runs/0003-fusion-s2igan-cub --wav caption.wav --speak "a small red bird"',
        'gancli sample runs/0002-stackgan-cub-stage2 --interpolate "a red bird" "a small yellow bird"',
        "gancli sample runs/0004-attr2image-cub-image --attr primary_color=red --attr bill_shape=cone --variants 8 "
        "--grid same-attributes",
    ),
    panel=USE,
    progress=True,
)
def sample(
    out: Output,
    model: Annotated[
        Path,
        typer.Argument(
            help="Run, its model/ folder or a checkpoint; latest: the newest.", show_default=False
        ),
    ],
    captions: CaptionOptions,
    speech: SpeechOptions,
    attributes: AttributeOptions,
    variants: VariantOptions,
    folder: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            help="Folder for PNG files and samples.csv.",
            show_default="a new one below images/",
        ),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same images, in any batch.")] = 0,
    batch: Annotated[int, typer.Option(min=1, help="Images at a time.")] = 32,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1 or mps.")] = "auto",
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the images of an earlier call in --out.")
    ] = False,
) -> None:
    """Draw sentences, speech, the captions of a dataset, an interpolation between two sentences, or attributes.

    Words that the model does not know are left out, with a warning. The same call again continues one that was
    interrupted; without --out it otherwise begins a new folder below images/.
    """
    from gancli.run_paths import weights_folder_of
    from gancli.sampling.sample import sample as draw
    from gancli.weights_folder import read_settings

    model = weights_folder_of(model, DRAWING)
    kind = str(read_settings(model)["kind"])
    source = _source(model, kind, captions, speech, attributes, variants)
    with out.progress("drawing", "images") as advance:
        report = draw(
            model,
            source=source,
            out=folder,
            variants=variants.variants,
            vary=variants.vary or Vary.ALL,
            seed=seed,
            figures=variants.figures,
            batch=batch,
            device=device,
            overwrite=overwrite,
            progress=advance,
        )
    _show(out, report)


def _source(
    model: Path,
    kind: str,
    captions: CaptionOptions,
    speech: SpeechOptions,
    attributes: AttributeOptions,
    variants: VariantOptions,
) -> Source:
    """Return the source that the options ask for; refuse those that do not go together, or not with the model."""
    _check_together(captions, speech, attributes)
    if kind in MODELS and MODELS[kind].attributes:
        foreign = given(
            captions, "text", "captions", "captions_per_image", "embeddings", "interpolate", "steps"
        )
        foreign += given(speech) + given(variants, "vary", "attention")
        _refuse(foreign, f"{model}: is a model of attributes", "Say --attr primary_color=red, or --data DIR.")
        return _attributes(captions, attributes)
    hint = 'Say --text "a small red bird", or --data DIR.'
    _refuse(given(attributes), f"{model}: is no model of attributes", hint)

    from gancli.sampling.captions import DatasetCaptions
    from gancli.sampling.sentences import Interpolation, Sentences
    from gancli.sampling.speech import Speech

    if captions.interpolate is not None:
        return Interpolation(*captions.interpolate, captions.steps or Interpolation.steps)
    if captions.data is not None:
        return DatasetCaptions(
            captions.data,
            captions.split,
            n=captions.n,
            images_per_class=captions.images_per_class,
            captions_per_image=captions.captions_per_image,
            embeddings=captions.embeddings,
            mismatched=speech.mismatched,
        )
    if speech.wav or speech.speak:
        return Speech(speech.wav or (), speech.speak or (), speech.voice, speech.speed, speech.tts_cmd)
    return Sentences(captions.text or (), captions.captions)


def _attributes(captions: CaptionOptions, attributes: AttributeOptions) -> Source:
    from gancli.sampling.attributes import Attributes, DatasetAttributes

    if captions.data is None:
        texts = [", ".join(attributes.attr)] if attributes.attr else []
        return Attributes(texts, attributes.attr_file, attributes.shape, attributes.shape_model)
    return DatasetAttributes(
        captions.data,
        captions.split,
        key=attributes.key,
        n=captions.n,
        images_per_class=captions.images_per_class,
        silhouettes=attributes.shape,
        shape_model=attributes.shape_model,
    )


def _check_together(captions: CaptionOptions, speech: SpeechOptions, attributes: AttributeOptions) -> None:
    """Refuse two sources at once, and options that need another one."""
    if captions.interpolate is not None and captions.interpolate[1].startswith("--"):
        # Click takes whatever comes second, so a forgotten sentence would swallow the next option
        raise UsageError(
            f"--interpolate takes two sentences, {captions.interpolate[1]} is an option",
            'Say --interpolate "a red bird" "a small yellow bird".',
        )
    sources = [
        given(captions, "interpolate"),
        given(captions, "data"),
        given(captions, "text", "captions"),
        given(speech, "wav", "speak"),
        given(attributes, "attr", "attr_file"),
    ]
    several = [" and ".join(names) for names in sources if names]
    _refuse(several if len(several) > 1 else [], "captions come from one place", "Name one of them.")
    if captions.data is None:
        of_data = given(captions, "split", "n", "images_per_class", "captions_per_image", "embeddings")
        of_data += given(speech, "mismatched") + given(attributes, "key")
        _refuse(of_data, "goes with the captions or images of a dataset", "Say --data DIR with it.")
    if captions.interpolate is None:
        _refuse(
            given(captions, "steps"), "goes with an interpolation", 'Say --interpolate "text A" "text B".'
        )
    if not speech.speak:
        hint = 'Say --speak "a small red bird".'
        _refuse(given(speech, "voice", "speed", "tts_cmd"), "goes with a text to be spoken", hint)


def _refuse(names: list[str], why: str, hint: str) -> None:
    if names:
        raise UsageError(f"{', '.join(names)}: {why}", hint)


def _show(out: Output, report: SampleReport) -> None:
    for warning in report.warnings:
        out.warn(warning)
    lines = [
        f"{report.out}: {len(report.files):,} images of {report.sampling.stages[-1]} pixels, samples.csv"
    ]
    if report.figures:
        lines.append(f"figures: {', '.join(str(report.out / name) for name in report.figure_names)}")
    out.result(
        {
            "out": report.out,
            "images": len(report.files),
            "made": report.made,
            "files": report.files[:100],
            "figures": report.figures[:100],
            "samples": report.out / "samples.csv",
            "model_hash": report.sampling.model_hash,
            "seed": report.sampling.seed,
            "warnings": report.warnings,
        },
        "\n".join(lines),
        quiet="\n".join(str(file) for file in report.files),
    )
