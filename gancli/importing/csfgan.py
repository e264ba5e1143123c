"""CSF-GAN's public code."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from gancli.config.csfgan import CSFGANRecipe
from gancli.config.load import load_recipe
from gancli.encoders.damsm import load_damsm
from gancli.importing.naming import Layout, shifted
from gancli.importing.origin import Imported, origin, refuse_existing
from gancli.importing.reading import PublicFile
from gancli.inference.csfgan import save_csfgan
from gancli.training.csfgan import build_networks, generator_arguments, model_settings
from gancli.training.run import build_holes
from gancli.weights_folder import write_discriminators

LEVELS = 8  # blocks of the encoder and of the decoder at 256 pixels, numbered from 2 and from 8

_ENCODER = range(2, LEVELS + 1)
_DECODER = [
    (rf"refine_t\.de_{level}\.decode\.(\d)\.(\w+)", rf"decoder.{LEVELS - level}.\1.\2") for level in _ENCODER
]

GENERATOR = Layout(
    "CSF-GAN's generator",
    "refine_t.en_1.weight",
    [
        (r"refine_t\.ca_net\.fc\.(\w+)", r"augmentation.linear.\1"),
        (r"refine_t\.en_1\.(\w+)", r"first.\1"),
        *shifted(r"refine_t\.en_{}\.encode\.0\.(\w+)", r"encoder.{}.down.\1", _ENCODER, by=-2),
        *shifted(r"refine_t\.en_{}\.encode\.1\.(\w+)", r"encoder.{}.norm1.\1", _ENCODER, by=-2),
        *shifted(r"refine_t\.en_{}\.encode\.3\.(\w+)", r"encoder.{}.conv.\1", _ENCODER, by=-2),
        *shifted(r"refine_t\.en_{}\.encode\.4\.(\w+)", r"encoder.{}.norm2.\1", _ENCODER, by=-2),
        *shifted(r"refine_t\.en_{}\.weight\.(\w+)", r"encoder.{}.fusion.scale.\1", _ENCODER, by=-2),
        *shifted(r"refine_t\.en_{}\.bias\.(\w+)", r"encoder.{}.fusion.shift.\1", _ENCODER, by=-2),
        *shifted(
            r"refine_t\.en_{}\.attn\.conv_context\.weight",
            "encoder.{}.fusion.attention.project.weight",
            _ENCODER,
            by=-2,
        ),
        (rf"refine_t\.en_{LEVELS + 1}\.0\.(\w+)", r"innermost.0.\1"),
        (rf"refine_t\.de_{LEVELS + 1}\.(\d)\.(\w+)", r"outermost.\1.\2"),
        *_DECODER,
        (r"refine_t\.de_1\.0\.(\w+)", r"last.\1"),
    ],
)

DISCRIMINATOR = Layout(
    "CSF-GAN's discriminator",
    "discriminator.0.weight",
    [(r"discriminator\.(\d+)\.(\w+)", r"layers.\1.\2")],
)

WORD_DISCRIMINATOR = Layout(
    "CSF-GAN's word discriminator",
    "gen_weight.weight",
    [
        (r"local_discriminator\.(\d+)\.(\w+)", r"encoder.\1.\2"),
        (r"gen_weight\.(\w+)", r"weights.\1"),
    ],
)


def import_csfgan(
    generator: str | Path,
    encoder: str | Path,
    out: str | Path,
    *,
    discriminator: str | Path | None = None,
    recipe: str | Path = "csfgan/cub",
    overrides: Sequence[str] = (),
    overwrite: bool = False,
) -> Imported:
    """Write a model folder from CSF-GAN's public files.

    Args:
        generator: Generator ("InpaintNet").
        encoder: Encoder folder of `import_damsm`, or another that it was trained with.
        out: Folder to write.
        discriminator: File of both discriminators ("PatchDiscriminator"). The folder then holds them for
            `train --init-from`.
        recipe: Recipe that describes the networks.
        overrides: Values after it, as "dotted.key=value".
        overwrite: Replace what is in the folder.

    Raises:
        ConfigError: The recipe does not exist or has mistakes.
        DataError: A file is missing, damaged or holds other networks.
        UsageError: The folder is not empty.
    """
    out = Path(out)
    refuse_existing(out, overwrite=overwrite)
    described = load_recipe(recipe, overrides, kind="csfgan")
    assert isinstance(described, CSFGANRecipe)
    damsm = load_damsm(encoder)
    files = [PublicFile.read(path) for path in (generator, discriminator) if path is not None]
    arguments = generator_arguments(described, int(damsm.settings["text"]["dim"]))
    settings = model_settings(described, arguments, build_holes(described.holes))
    built = build_networks(described, arguments, pretrained=False)
    dropped = GENERATOR.load(built["generator"], files[0].state_with(GENERATOR.key), files[0].path)
    judges = {}
    for file in files[1:]:
        state = file.state_with(DISCRIMINATOR.key)
        parts = {
            "discriminator": (DISCRIMINATOR, ("discriminator.",)),
            "word_discriminator": (WORD_DISCRIMINATOR, ("local_discriminator.", "gen_weight.")),
        }
        for name, (layout, prefixes) in parts.items():
            if name in built:
                part = {key: tensor for key, tensor in state.items() if key.startswith(prefixes)}
                layout.load(built[name], part, file.path)
                judges[name] = built[name]
    save_csfgan(out, built["generator"], damsm, {**origin(described, "CSF-GAN", files, dropped), **settings})
    write_discriminators(out, judges)
    return Imported(out, tuple(files), tuple(dropped))
