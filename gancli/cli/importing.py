"""`gancli import`: files of public codes as encoder and model folders."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gancli.cli.app import command, import_app
from gancli.cli.console import Output

if TYPE_CHECKING:
    from gancli.importing.origin import Imported

ENCODERS, MODELS = "Encoders", "Models"

Folder = Annotated[Path, typer.Option("--out", "-o", help="Folder to write.", show_default=False)]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace what is in --out.")]
Encoder = Annotated[
    Path,
    typer.Option(
        metavar="DIR",
        help="Encoder folder that it was trained with, as of gancli import damsm.",
        show_default=False,
    ),
]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Value after the recipe, as model.generator_width=32."),
]


def _tell(out: Output, imported: Imported, usage: str) -> None:
    """Write the result of an import."""
    dropped = imported.dropped
    if dropped:
        listed = ", ".join(dropped) if out.verbose else ", ".join(dropped[:3]) + ", …" * (len(dropped) > 3)
        out.note(f"left out {len(dropped)} tensors that the public code never uses: {listed}")
    files = [{"name": str(file.path), "sha256": file.sha256} for file in imported.files]
    text = "\n".join(
        [*(f"{file['name']}  sha256 {file['sha256'][:16]}…" for file in files), f"{imported.folder}", usage]
    )
    out.result(
        {"folder": imported.folder, "files": files, "dropped": list(dropped)},
        text,
        quiet=str(imported.folder),
    )


@command(
    import_app,
    "damsm",
    examples=(
        "gancli import damsm text_encoder200.pth image_encoder200.pth --captions captions.pickle -o encoders/attngan",
        "gancli import damsm text.pth image.pth --captions captions.pickle --recipe damsm/coco -o encoders/coco",
    ),
    panel=ENCODERS,
)
def damsm(
    out: Output,
    text: Annotated[Path, typer.Argument(metavar="TEXT.pth", help="Text encoder.", show_default=False)],
    image: Annotated[Path, typer.Argument(metavar="IMAGE.pth", help="Image encoder.", show_default=False)],
    captions: Annotated[
        Path, typer.Option(help="The captions.pickle that numbers its words.", show_default=False)
    ],
    folder: Folder,
    recipe: Annotated[str, typer.Option(help="Recipe that names the dataset.")] = "damsm/cub",
    overwrite: Overwrite = False,
) -> None:
    """The encoders of AttnGAN's code, which DM-GAN, DF-GAN and FF-GAN use too (LSTM or GRU).

    The words keep the numbers of captions.pickle, which is read without running any of it. Prepare a dataset with them
    to train on: gancli prepare cub … --vocabulary captions.pickle.
    """
    from gancli.importing.attngan import import_damsm

    imported = import_damsm(text, image, captions, folder, recipe=recipe, overwrite=overwrite)
    _tell(out, imported, f"use it: gancli import ffgan netG.pth --encoder {folder} --out models/ffgan")


@command(
    import_app,
    "ffgan",
    examples=(
        "gancli import ffgan netG_epoch_600.pth --encoder encoders/attngan --out models/ffgan-cub",
        "gancli import ffgan netG.pth netD0.pth netD1.pth netD2.pth --encoder encoders/attngan -o models/ffgan-cub",
        "gancli import ffgan netG.pth --encoder encoders/coco --recipe ffgan/coco -o models/ffgan-coco",
    ),
    panel=MODELS,
)
def ffgan(
    out: Output,
    generator: Annotated[Path, typer.Argument(metavar="NETG.pth", help="Generator.", show_default=False)],
    encoder: Encoder,
    folder: Folder,
    discriminators: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="[NETD0.pth …]",
            help="Discriminators, smallest images first, for train --init-from.",
            show_default=False,
        ),
    ] = None,
    recipe: Annotated[str, typer.Option(help="Recipe that describes the networks.")] = "ffgan/cub",
    overrides: Overrides = None,
    overwrite: Overwrite = False,
) -> None:
    """FF-GAN's public files.

    Padding takes no part in the attention, so an image depends on its own caption only. The public code's depends on
    the longest caption of its batch.
    """
    from gancli.importing.ffgan import import_ffgan

    imported = import_ffgan(
        generator,
        encoder,
        folder,
        discriminators=discriminators or (),
        recipe=recipe,
        overrides=overrides or (),
        overwrite=overwrite,
    )
    _tell(out, imported, _sampled(folder))


@command(
    import_app,
    "dfgan",
    examples=(
        "gancli import dfgan state_epoch_1220.pth --encoder encoders/attngan --out models/dfgan-cub",
        "gancli import dfgan netG.pth --encoder encoders/attngan --set model.generator_width=64 -o models/dfgan",
    ),
    panel=MODELS,
)
def dfgan(
    out: Output,
    state: Annotated[
        Path,
        typer.Argument(
            metavar="STATE.pth", help="File with netG, and perhaps netD and netC.", show_default=False
        ),
    ],
    encoder: Encoder,
    folder: Folder,
    recipe: Annotated[str, typer.Option(help="Recipe that describes the networks.")] = "dfgan/cub",
    overrides: Overrides = None,
    overwrite: Overwrite = False,
) -> None:
    """DF-GAN's public file."""
    from gancli.importing.dfgan import import_dfgan

    imported = import_dfgan(
        state, encoder, folder, recipe=recipe, overrides=overrides or (), overwrite=overwrite
    )
    _tell(out, imported, _sampled(folder))


@command(
    import_app,
    "csfgan",
    examples=(
        "gancli import csfgan G.pth --encoder encoders/attngan --out models/csfgan-cub",
        "gancli import csfgan G.pth D.pth --encoder encoders/attngan --recipe csfgan/oxford102 -o models/csfgan",
    ),
    panel=MODELS,
)
def csfgan(
    out: Output,
    generator: Annotated[Path, typer.Argument(metavar="G.pth", help="Generator.", show_default=False)],
    encoder: Encoder,
    folder: Folder,
    discriminator: Annotated[
        Path | None,
        typer.Argument(
            metavar="[D.pth]", help="Both discriminators, for train --init-from.", show_default=False
        ),
    ] = None,
    recipe: Annotated[str, typer.Option(help="Recipe that describes the networks.")] = "csfgan/cub",
    overrides: Overrides = None,
    overwrite: Overwrite = False,
) -> None:
    """CSF-GAN's public files."""
    from gancli.importing.csfgan import import_csfgan

    imported = import_csfgan(
        generator,
        encoder,
        folder,
        discriminator=discriminator,
        recipe=recipe,
        overrides=overrides or (),
        overwrite=overwrite,
    )
    _tell(out, imported, f"use it: gancli inpaint {folder} photo.jpg --box 80,80,96,96 --text …")


@command(
    import_app,
    "speech-encoder",
    examples=(
        "gancli import speech-encoder audio_model.pth --out encoders/s2igan-cub",
        "gancli import speech-encoder audio_model.pth --image image_model.pth -o encoders/s2igan-cub",
    ),
    panel=ENCODERS,
)
def speech_encoder(
    out: Output,
    audio: Annotated[Path, typer.Argument(metavar="AUDIO.pth", help="Speech encoder.", show_default=False)],
    folder: Folder,
    image: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Linear layer of the image half, for the matching loss."),
    ] = None,
    weights: Annotated[
        Path | None, typer.Option(metavar="FILE|DIR", help="ImageNet weights below the image half.")
    ] = None,
    recipe: Annotated[str, typer.Option(help="Recipe that describes the networks.")] = "speech/cub",
    overrides: Overrides = None,
    overwrite: Overwrite = False,
) -> None:
    """S2IGAN's speech encoder, which Fusion-S2iGan uses too."""
    from gancli.importing.s2igan import import_speech_encoder

    imported = import_speech_encoder(
        audio,
        folder,
        image=image,
        weights=weights,
        recipe=recipe,
        overrides=overrides or (),
        overwrite=overwrite,
    )
    _tell(out, imported, f"use it: gancli train fusion-s2igan data=DATA encoder={folder}")


@command(
    import_app,
    "char-cnn-rnn",
    examples=(
        "gancli import char-cnn-rnn char_cnn_rnn_birds_icml.pth --out encoders/char-cnn-rnn-cub",
        "gancli import char-cnn-rnn flowers.pth --recipe char-cnn-rnn/oxford102 -o encoders/char-cnn-rnn-flowers",
    ),
    panel=ENCODERS,
)
def char_cnn_rnn(
    out: Output,
    encoder: Annotated[Path, typer.Argument(metavar="FILE", help="Character encoder.", show_default=False)],
    folder: Folder,
    recipe: Annotated[str, typer.Option(help="Recipe that names the dataset.")] = "char-cnn-rnn/cub",
    overwrite: Overwrite = False,
) -> None:
    """Reed's character encoders in the files of their PyTorch port; its variant is that of the tensors."""
    from gancli.importing.char_cnn_rnn import import_char_cnn_rnn

    imported = import_char_cnn_rnn(encoder, folder, recipe=recipe, overwrite=overwrite)
    _tell(out, imported, f"use it: gancli train stackgan stage=1 data=DATA encoder={folder}")


@command(
    import_app,
    "inception",
    examples=(
        "gancli import inception pt_inception-my-port.pth --out encoders/my-inception",
        "gancli import inception weights.safetensors -o encoders/my-inception --json",
    ),
    panel=ENCODERS,
)
def inception(
    out: Output,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Weights of the network.", show_default=False)],
    folder: Folder,
    overwrite: Overwrite = False,
) -> None:
    """An Inception network of Fréchet distances with weights other than the published ones.

    Every row that it scores names it, and no such row stands beside a published number.
    """
    from gancli.importing.inception import import_inception

    imported = import_inception(file, folder, overwrite=overwrite)
    _tell(out, imported, f"use it: gancli score fid DATA:test IMAGES --features inception:{folder}")


@command(
    import_app,
    "weights",
    examples=(
        "gancli import weights pt_inception-2015-12-05-6726825d.pth",
        "gancli import weights ~/Downloads/vgg16-397923af.pth ~/Downloads/inception_v3_google-0cc3c7bd.pth",
    ),
)
def weights(
    out: Output,
    files: Annotated[list[Path], typer.Argument(metavar="FILE…", help="Weight files.", show_default=False)],
) -> None:
    """Published weight files (torchvision, pytorch-fid, EfficientNet-Lite) that you have: put where gancli looks.

    A file is known by its sha256, whatever its name is. gancli doctor lists the names and what is there.
    """
    from gancli.importing.weights import import_weights

    copies = import_weights(files)
    lines = "\n".join(f"{name}: {path}" for name, path in copies.items())
    out.result(dict(copies), lines, quiet="\n".join(map(str, copies.values())))


def _sampled(folder: Path) -> str:
    return f'use it: gancli sample {folder} --text "this bird is red with white and has a very short beak"'
