"""`gancli sample`: images from a trained model."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from gancli.cli.app import USE, app, command
from gancli.cli.console import Output
from gancli.errors import UsageError
from gancli.sampling.samples_folder import Grid, Vary

CAPTIONS, SPEECH, ATTRIBUTES, VARIANTS, FIGURES = "Captions", "Speech", "Attributes", "Variants", "Figures"


@command(
    app,
    "sample",
    examples=(
        'gancli sample runs/0001-ffgan-demo --text "a small red bird with blue wings" --variants 4',
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
        Path, typer.Argument(help="Model folder, or a run folder with one.", show_default=False)
    ],
    text: Annotated[
        list[str] | None,
        typer.Option("--text", "-t", help="A sentence; say it again for more.", rich_help_panel=CAPTIONS),
    ] = None,
    captions: Annotated[
        Path | None,
        typer.Option("--captions", help="Text file, one sentence a line.", rich_help_panel=CAPTIONS),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option("--data", help="Captions of this dataset folder.", rich_help_panel=CAPTIONS),
    ] = None,
    split: Annotated[
        str, typer.Option("--split", help="Split of the dataset.", rich_help_panel=CAPTIONS)
    ] = "test",
    count: Annotated[
        int | None,
        typer.Option(
            "-n",
            min=1,
            help="Random captions to take from the dataset.",
            show_default="one per image",
            rich_help_panel=CAPTIONS,
        ),
    ] = None,
    images_per_class: Annotated[
        int | None,
        typer.Option(
            "--images-per-class",
            min=1,
            help="Only the first images of each class by name.",
            show_default="all images of the split",
            rich_help_panel=CAPTIONS,
        ),
    ] = None,
    captions_per_image: Annotated[
        int | None,
        typer.Option(
            "--captions-per-image",
            min=1,
            help="The first captions of each image, image by image.",
            show_default="random ones",
            rich_help_panel=CAPTIONS,
        ),
    ] = None,
    embeddings: Annotated[
        Path | None,
        typer.Option(
            "--embeddings",
            metavar="FILE.npz",
            help="Sentence vectors of the dataset's captions, for a model trained on such a file.",
            rich_help_panel=CAPTIONS,
        ),
    ] = None,
    interpolate: Annotated[
        tuple[str, str] | None,
        typer.Option(
            "--interpolate",
            metavar="TEXT TEXT",
            help="Go from one sentence to another with the same noise (StackGAN, DF-GAN).",
            rich_help_panel=CAPTIONS,
        ),
    ] = None,
    steps: Annotated[
        int | None,
        typer.Option(
            "--steps",
            min=2,
            help="Images of the interpolation, both sentences' own included.",
            show_default="8",
            rich_help_panel=CAPTIONS,
        ),
    ] = None,
    wav: Annotated[
        list[Path] | None,
        typer.Option(
            "--wav",
            metavar="FILE",
            help="Recorded speech, for a model of spoken captions: an audio file or a folder; again for more.",
            rich_help_panel=SPEECH,
        ),
    ] = None,
    speak: Annotated[
        list[str] | None,
        typer.Option(
            "--speak",
            help="A sentence to be spoken for such a model; again for more.",
            rich_help_panel=SPEECH,
        ),
    ] = None,
    voice: Annotated[
        str | None,
        typer.Option("--voice", help="Who speaks.", show_default="en-us", rich_help_panel=SPEECH),
    ] = None,
    speed: Annotated[
        int | None,
        typer.Option(
            "--speed",
            help="How fast, in words per minute.",
            show_default="175",
            rich_help_panel=SPEECH,
        ),
    ] = None,
    tts_command: Annotated[
        str | None,
        typer.Option(
            "--tts-cmd",
            metavar="COMMAND",
            help="A program that speaks, with {text_file} and {wav_file}.",
            show_default="eSpeak NG",
            rich_help_panel=SPEECH,
        ),
    ] = None,
    mismatched: Annotated[
        bool,
        typer.Option(
            "--mismatched",
            help="With --data: draw from the speech of another image, as a control.",
            rich_help_panel=SPEECH,
        ),
    ] = False,
    attr: Annotated[
        list[str] | None,
        typer.Option(
            "--attr",
            metavar="GROUP=VALUE",
            help="An attribute, for a model of attributes; again for more of the same bird.",
            rich_help_panel=ATTRIBUTES,
        ),
    ] = None,
    attr_file: Annotated[
        Path | None,
        typer.Option(
            "--attr-file",
            metavar="FILE",
            help="Text file, the attributes of one image a line, with commas between.",
            rich_help_panel=ATTRIBUTES,
        ),
    ] = None,
    key: Annotated[
        str | None,
        typer.Option(
            "--key",
            help="With --data: the attributes of this image alone.",
            show_default="all images of the split",
            rich_help_panel=ATTRIBUTES,
        ),
    ] = None,
    shape: Annotated[
        str | None,
        typer.Option(
            "--shape",
            metavar="FILE|DIR|data",
            help="Paint silhouettes of your own, white on the bird, or with --data those of its images.",
            show_default="the model draws them",
            rich_help_panel=ATTRIBUTES,
        ),
    ] = None,
    shape_model: Annotated[
        Path | None,
        typer.Option(
            "--shape-model",
            metavar="MODEL",
            help="Let this model of stage=shape draw the silhouettes.",
            show_default="MODEL itself",
            rich_help_panel=ATTRIBUTES,
        ),
    ] = None,
    folder: Annotated[Path, typer.Option("--out", "-o", help="Folder for PNG files and samples.csv.")] = Path(
        "images"
    ),
    variants: Annotated[
        int,
        typer.Option(
            "--variants",
            min=1,
            help="Images per caption, each with other noise.",
            rich_help_panel=VARIANTS,
        ),
    ] = 1,
    vary: Annotated[
        Vary | None,
        typer.Option(
            "--vary",
            help="Which noise that is: all of it, the conditioning augmentation's alone, or z alone.",
            show_default="all",
            rich_help_panel=VARIANTS,
        ),
    ] = None,
    grid: Annotated[
        Grid | None,
        typer.Option(
            "--grid",
            help="Also one figure: variants of each caption along its row; of attributes, one shape under many sets of "
            "them, or each set on many shapes.",
            show_default=False,
            rich_help_panel=VARIANTS,
        ),
    ] = None,
    seed: Annotated[
        int, typer.Option("--seed", min=0, help="The same seed gives the same images, in any batch.")
    ] = 0,
    stages: Annotated[
        bool,
        typer.Option("--stages", help="Also the images of all stages side by side.", rich_help_panel=FIGURES),
    ] = False,
    attention: Annotated[
        bool,
        typer.Option(
            "--attention",
            help="Also where each stage looks for each word (FF-GAN).",
            rich_help_panel=FIGURES,
        ),
    ] = False,
    batch: Annotated[int, typer.Option("--batch", min=1, help="Images at a time.")] = 32,
    device: Annotated[str, typer.Option("--device", help="auto, cpu, cuda, cuda:1 or mps.")] = "auto",
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the images of an earlier call.")
    ] = False,
) -> None:
    """Draw sentences, spoken or written, the captions of a dataset, or the way from one sentence to another; of a model
    of attributes, attributes.

    Words that the model has never seen are left out, with a warning. The same call again continues one that was
    interrupted.
    """
    if interpolate is not None and interpolate[1].startswith("--"):
        # Click takes whatever comes second, so a forgotten sentence would swallow the next option
        raise UsageError(
            f"--interpolate takes two sentences, {interpolate[1]} is an option",
            'Say --interpolate "a red bird" "a small yellow bird".',
        )
    from gancli.engine.device import pick_device
    from gancli.registry import DRAWING
    from gancli.run_paths import weights_folder_of
    from gancli.weights_folder import read_settings

    of_attributes = read_settings(weights_folder_of(model, DRAWING))["kind"] == "attr2image"
    own = {
        "--attr": attr,
        "--attr-file": attr_file,
        "--key": key,
        "--shape": shape,
        "--shape-model": shape_model,
    }
    others = {
        "--text": text,
        "--captions": captions,
        "--captions-per-image": captions_per_image,
        "--embeddings": embeddings,
        "--interpolate": interpolate,
        "--steps": steps,
        "--wav": wav,
        "--speak": speak,
        "--voice": voice,
        "--speed": speed,
        "--tts-cmd": tts_command,
        "--mismatched": mismatched or None,
        "--vary": vary,
        "--attention": attention or None,
    }
    if of_attributes:
        _refuse(others, f"{model}: is a model of attributes", "Say --attr primary_color=red, or --data DIR.")
        if grid == Grid.VARIANTS:
            raise UsageError(
                f"{model}: is a model of attributes", "Say --grid same-shape or --grid same-attributes."
            )
    else:
        _refuse(own, f"{model}: is no model of attributes", 'Say --text "a small red bird", or --data DIR.')
        if grid not in (None, Grid.VARIANTS):
            raise UsageError(
                f"{model}: is no model of attributes, of which --grid {grid} is", "Say --grid variants."
            )
    with out.progress("drawing", "images") as advance:
        if of_attributes:
            from gancli.sampling.attributes import sample_attributes

            report = sample_attributes(
                model,
                out=folder,
                attributes=attr or (),
                attribute_file=attr_file,
                data=data,
                split=split,
                key=key,
                n=count,
                images_per_class=images_per_class,
                shape=shape,
                shape_model=shape_model,
                variants=variants,
                seed=seed,
                stages=stages,
                grid=grid,
                batch=batch,
                device=pick_device(device),
                overwrite=overwrite,
                progress=advance,
            )
        else:
            from gancli.sampling.sample import sample as draw

            report = draw(
                model,
                out=folder,
                texts=text or (),
                captions_file=captions,
                wavs=wav or (),
                speak=speak or (),
                voice=voice,
                speed=speed,
                tts_command=tts_command,
                data=data,
                split=split,
                mismatched=mismatched,
                n=count,
                images_per_class=images_per_class,
                captions_per_image=captions_per_image,
                embeddings=embeddings,
                interpolate=interpolate,
                steps=steps,
                variants=variants,
                vary=vary or Vary.ALL,
                seed=seed,
                stages=stages,
                attention=attention,
                grid=grid is not None,
                batch=batch,
                device=pick_device(device),
                overwrite=overwrite,
                progress=advance,
            )
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
            "seed": seed,
            "warnings": report.warnings,
        },
        "\n".join(lines),
        quiet="\n".join(str(file) for file in report.files),
    )


def _refuse(options: Mapping[str, object], why: str, hint: str) -> None:
    """Refuses options that are given though the model has no use for them."""
    given = [name for name, value in options.items() if value not in (None, [])]
    if given:
        raise UsageError(f"{', '.join(given)}: {why}", hint)
