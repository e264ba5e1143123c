"""DF-GAN's public code."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from gancli.config.fusion_s2igan import FusionS2iGanRecipe
from gancli.config.load import load_recipe
from gancli.encoders.sentence import load_sentence_encoder
from gancli.importing.naming import Layout, shifted
from gancli.importing.origin import Imported, origin, refuse_existing
from gancli.importing.reading import PublicFile
from gancli.inference.fusion_s2igan import save_fusion_s2igan
from gancli.training.fusion_s2igan import build_networks, generator_arguments
from gancli.weights_folder import write_discriminators

BLOCKS = range(12)  # numbers of blocks that rules are made for

_AFFINES = [
    (
        rf"GBlocks\.(\d+)\.fuse{fuse}\.affine{place}\.fc_{public}\.linear{number}\.(\w+)",
        rf"blocks.\1.fuse{fuse}.{ours}.{kind}.{2 * (number - 1)}.\2",
    )
    for fuse in (1, 2)
    for place, ours in enumerate(("first", "second"))
    for public, kind in (("gamma", "scale"), ("beta", "shift"))
    for number in (1, 2)
]

GENERATOR = Layout(
    "DF-GAN's generator",
    "GBlocks.0.c1.weight",
    [
        (r"fc\.(\w+)", r"linear.\1"),
        (r"GBlocks\.(\d+)\.c([12])\.(\w+)", r"blocks.\1.conv\2.\3"),
        (r"GBlocks\.(\d+)\.c_sc\.(\w+)", r"blocks.\1.shortcut.\2"),
        *_AFFINES,
        (r"to_rgb\.1\.(\w+)", r"out.1.\1"),
    ],
)

DISCRIMINATOR = Layout(
    "DF-GAN's discriminator (netD and netC)",
    "DBlocks.0.gamma",
    [
        (r"conv_img\.(\w+)", r"encoder.0.\1"),
        *shifted(r"DBlocks\.{}\.gamma", "encoder.{}.branch_scale", BLOCKS, by=1),
        *shifted(r"DBlocks\.{}\.conv_r\.(\d)\.(\w+)", r"encoder.{}.branch.\1.\2", BLOCKS, by=1),
        *shifted(r"DBlocks\.{}\.conv_s\.(\w+)", r"encoder.{}.shortcut.\1", BLOCKS, by=1),
        (r"joint_conv\.(\d)\.(\w+)", r"head.\1.\2"),
    ],
)
_HEAD = "joint_conv.0.weight"


def import_dfgan(
    state: str | Path,
    encoder: str | Path,
    out: str | Path,
    *,
    recipe: str | Path = "dfgan/cub",
    overrides: Sequence[str] = (),
    overwrite: bool = False,
) -> Imported:
    """Write a model folder from a public file of DF-GAN.

    Args:
        state: File of the public code with netG, and perhaps netD and netC ("state_epoch_1220.pth"), or of netG alone.
        encoder: Encoder folder of `import_damsm`, or another that it was trained with.
        out: Folder to write. It holds the discriminator for `train --init-from` where the file does.
        recipe: Recipe that describes the networks.
        overrides: Values after it, as "dotted.key=value".
        overwrite: Replace what is in the folder.

    Raises:
        ConfigError: The recipe does not exist or has mistakes.
        DataError: The file is missing, damaged or holds other networks.
        UsageError: The folder is not empty.
    """
    out = Path(out)
    refuse_existing(out, overwrite=overwrite)
    described = load_recipe(recipe, overrides, kind="fusion-s2igan")
    assert isinstance(described, FusionS2iGanRecipe)
    sentences = load_sentence_encoder(encoder)
    file = PublicFile.read(state)
    arguments = generator_arguments(described, sentences.dim)
    built = build_networks(described, arguments, pretrained=False)
    dropped = GENERATOR.load(built["generator"], file.state_with(GENERATOR.key), file.path)
    judges = {}
    if file.has(DISCRIMINATOR.key) and file.has(_HEAD):
        judges["discriminator"] = discriminator = built["discriminator"]
        merged = file.state_with(DISCRIMINATOR.key) | file.state_with(_HEAD)
        # A block that keeps its channels has a shortcut in the public code and never uses it
        own = discriminator.state_dict()
        unused = [name for name in merged if ".conv_s." in name and DISCRIMINATOR.rename(name) not in own]
        dropped += unused
        used = {name: tensor for name, tensor in merged.items() if name not in unused}
        DISCRIMINATOR.load(discriminator, used, file.path)
    settings = {**origin(described, "DF-GAN", [file], dropped), "generator": arguments}
    save_fusion_s2igan(out, built["generator"], sentences, settings)
    write_discriminators(out, judges)
    return Imported(out, (file,), tuple(dropped))
