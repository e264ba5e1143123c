"""FF-GAN's public code."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from gancli.config.ffgan import FFGANRecipe
from gancli.config.load import load_recipe
from gancli.encoders.damsm import load_damsm
from gancli.errors import UsageError
from gancli.importing.naming import Layout, Rule, shifted
from gancli.importing.origin import Imported, origin, refuse_existing
from gancli.importing.reading import PublicFile
from gancli.inference.ffgan import save_ffgan
from gancli.training.ffgan import generator_arguments, networks
from gancli.weights_folder import write_discriminators

STAGES = range(2, 6)  # numbers of refinement stages that rules are made for


def _stage(rules: Sequence[Rule]) -> list[Rule]:
    return [
        rule
        for pattern, template in rules
        for rule in shifted(rf"h_net{{}}\.{pattern}", f"refinements.{{}}.{template}", STAGES, by=-2)
    ]


GENERATOR = Layout(
    "FF-GAN's generator",
    "h_net1.fc.0.weight",
    [
        (r"ca_net\.fc\.(\w+)", r"augmentation.linear.\1"),
        (r"h_net1\.fc\.0\.weight", "initial.linear.weight"),
        (r"h_net1\.fc\.1\.(\w+)", r"initial.norm.\1"),
        *shifted(r"h_net1\.upsample{}\.1\.weight", "initial.up.{}.conv.weight", range(1, 8), by=-1),
        *shifted(r"h_net1\.upsample{}\.2\.(\w+)", r"initial.up.{}.norm.\1", range(1, 8), by=-1),
        *shifted(r"img_net{}\.img\.0\.weight", "heads.{}.conv.weight", range(1, 6), by=-1),
        *_stage(
            [
                (r"residual\.(\d+)\.block\.0\.weight", r"residual.\1.conv1.weight"),
                (r"residual\.(\d+)\.block\.1\.(\w+)", r"residual.\1.norm1.\2"),
                (r"residual\.(\d+)\.block\.3\.weight", r"residual.\1.conv2.weight"),
                (r"residual\.(\d+)\.block\.4\.(\w+)", r"residual.\1.norm2.\2"),
                (r"upsample\.1\.weight", "up.conv.weight"),
                (r"upsample\.2\.(\w+)", r"up.norm.\1"),
                (r"affine\.conv\.weight", "fusion.shared.weight"),
                (r"affine\.conv_weight\.weight", "fusion.scale.weight"),
                (r"affine\.conv_bias\.weight", "fusion.shift.weight"),
                (r"w_att\.conv_context\.weight", "word_attention.project.weight"),
                (r"s_att\.conv_context\.weight", "gsr.project.weight"),
            ]
        ),
    ],
    # A memory of DM-GAN's that FF-GAN's code builds and never calls
    dead=r"h_net\d\.(A|B|M_r|M_w|key|value|response_gate)\..*",
)

# Places of the layers in the one sequence that ours is: every second one is an activation
_LAYERS = {"s32.0": 8, "s32_1.0": 10, "s64.0": 10, "s64_1.0": 12, "s64_2.0": 14} | {
    f"s16.{place}": place for place in (0, 2, 4, 6)
}


def _spectral(pattern: str, template: str) -> list[Rule]:
    """Return the rules of a convolution under spectral norm."""
    weight = f"{template}.parametrizations.weight"
    return [
        (rf"{pattern}\.module\.bias", f"{template}.bias"),
        (rf"{pattern}\.module\.weight_bar", f"{weight}.original"),
        (rf"{pattern}\.module\.weight_([uv])", rf"{weight}.0._\1"),
    ]


DISCRIMINATOR = Layout(
    "FF-GAN's discriminator",
    "img_code_s16.0.module.weight_bar",
    [
        *(
            rule
            for name, place in _LAYERS.items()
            for rule in _spectral(rf"img_code_{name}".replace(".", r"\."), f"encoder.{place}")
        ),
        *_spectral(r"COND_DNET\.jointConv\.0", "joint.0"),
        (r"UNCOND_DNET\.outlogits\.0\.(\w+)", r"unconditional_logit.\1"),
        (r"COND_DNET\.outlogits\.0\.(\w+)", r"conditional_logit.\1"),
    ],
)


def import_ffgan(
    generator: str | Path,
    encoder: str | Path,
    out: str | Path,
    *,
    discriminators: Sequence[str | Path] = (),
    recipe: str | Path = "ffgan/cub",
    overrides: Sequence[str] = (),
    overwrite: bool = False,
) -> Imported:
    """Write a model folder from FF-GAN's public files.

    The attention leaves out padding, unlike the public code, whose results depend on the longest caption of a batch. It
    equals the public code on batches of one caption.

    Args:
        generator: Generator ("netG_epoch_600.pth").
        encoder: Encoder folder of `import_damsm`, or another that it was trained with.
        out: Folder to write.
        discriminators: Files of the discriminators, smallest images first ("netD0.pth"). The folder then holds them
            for `train --init-from`.
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
    described = load_recipe(recipe, overrides, kind="ffgan")
    assert isinstance(described, FFGANRecipe)
    damsm = load_damsm(encoder)
    files = [PublicFile.read(path) for path in (generator, *discriminators)]
    built = networks(described).networks
    dropped = GENERATOR.load(built["generator"], files[0].state_with(GENERATOR.key), files[0].path)
    if len(files) - 1 > len(described.model.stages):
        raise UsageError(f"{len(files) - 1} discriminators for {len(described.model.stages)} stages")
    judges = {}
    for side, file in zip(described.model.stages, files[1:], strict=False):
        judge = judges[f"discriminator_{side}"] = built[f"discriminator_{side}"]
        DISCRIMINATOR.load(judge, file.state_with(DISCRIMINATOR.key), file.path)
    settings = {
        **origin(described, "FF-GAN", files, dropped),
        "words": described.loader.words,
        "generator": generator_arguments(described),
    }
    save_ffgan(out, built["generator"], damsm, settings)
    write_discriminators(out, judges)
    return Imported(out, tuple(files), tuple(dropped))
