"""The speech encoder of S2IGAN's public code, which Fusion-S2iGan uses too."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from torch import nn

from gancli.config.load import load_recipe
from gancli.config.speech import SpeechRecipe
from gancli.data.audio import MelSettings
from gancli.encoders.backbones import load_imagenet
from gancli.encoders.speech import ImageBranch, SpeechEncoder, save_speech
from gancli.importing.naming import Layout
from gancli.importing.origin import Imported, origin, refuse_existing
from gancli.importing.reading import PublicFile
from gancli.training.parameters import PUBLISHED_SIDE
from gancli.training.speech import speech_arguments

SPEECH = Layout(
    "S2IGAN's speech encoder",
    "Conv1.weight",
    [
        (r"Conv([12])\.(\w+)", r"convolution\1.\2"),
        (r"bnorm([12])\.(\w+)", r"norm\1.\2"),
        (r"att\.att_heads\.0\.(hidden|out)\.(\w+)", r"attention_\1.\2"),
    ],
)
IMAGE = Layout("S2IGAN's image layer", "L1.weight", [(r"L1\.(\w+)", r"\1")])


def import_speech_encoder(
    audio: str | Path,
    out: str | Path,
    *,
    image: str | Path | None = None,
    weights: str | Path | None = None,
    recipe: str | Path = "speech/cub",
    overrides: Sequence[str] = (),
    overwrite: bool = False,
) -> Imported:
    """Write an encoder folder from S2IGAN's public speech encoder.

    Its log-mel features are those of `gancli.data.audio.MelSettings`. A vector does not depend on the padding, unlike
    the public code's; both agree on a clip alone.

    Args:
        audio: Speech encoder.
        out: Folder to write.
        image: Linear layer of the image half ("L1"). Without it the encoder conditions a generator, but there is no
            matching loss.
        weights: File or folder of the ImageNet weights below the image half, as for training.
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
    described = load_recipe(recipe, overrides, kind="speech")
    assert isinstance(described, SpeechRecipe)
    mel = MelSettings()
    arguments = speech_arguments(described, PUBLISHED_SIDE, mel.bands)
    files = [PublicFile.read(path) for path in (audio, image) if path is not None]
    speech = SpeechEncoder(**arguments["speech"])  # type: ignore[arg-type]
    dropped = SPEECH.load(speech, files[0].state_with(SPEECH.key), files[0].path)
    branch: nn.Module | None = None
    if image is None:
        del arguments["image"]
    else:
        branch = ImageBranch(**arguments["image"])  # type: ignore[arg-type]
        IMAGE.load(branch.linear, files[1].state_with(IMAGE.key), files[1].path)
        load_imagenet(branch.backbone, weights)
    save_speech(out, speech, branch, mel, {**origin(described, "S2IGAN", files, dropped), **arguments})
    return Imported(out, tuple(files), tuple(dropped))
