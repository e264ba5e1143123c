"""Networks and trainable models with the defaults of their recipes."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, TypeVar

from gancli.config import (
    attr2image,
    char_cnn_rnn,
    classifier,
    csfgan,
    damsm,
    ffgan,
    fusion_s2igan,
    speech,
    stackgan,
)
from gancli.engine.phases import AdamSettings
from gancli.losses.matching import DamsmGammas
from gancli.models.csfgan import LossWeights

Built = TypeVar("Built")

# The sections `model` | `loss` and `optim`, by the last part of the name of a constructor's module
MODELS = {
    "attr2image": (attr2image.Attr2ImageModel,),
    "char_cnn_rnn": (char_cnn_rnn.CharCnnRnnModel,),
    "classifier": (classifier.ClassifierModel,),
    "csfgan": (csfgan.CSFGANModel,),
    "damsm": (damsm.DamsmModel,),
    "ffgan": (ffgan.FFGANModel,),
    "fusion_s2igan": (fusion_s2igan.FusionS2iGanModel,),
    "speech": (speech.SpeechModel,),
    "stackgan": (stackgan.StackGANModel,),
}
OBJECTIVES = {
    "attr2image": (attr2image.Attr2ImageLoss, attr2image.Attr2ImageOptim),
    "char_cnn_rnn": (char_cnn_rnn.CharCnnRnnOptim,),
    "classifier": (classifier.ClassifierLoss, classifier.ClassifierOptim),
    "csfgan": (csfgan.CSFGANLoss, csfgan.CSFGANOptim),
    "damsm": (damsm.DamsmLoss, damsm.DamsmOptim),
    "ffgan": (ffgan.FFGANLoss, ffgan.FFGANOptim),
    "fusion_s2igan": (fusion_s2igan.FusionS2iGanLoss, fusion_s2igan.FusionS2iGanOptim),
    "speech": (speech.SpeechLoss, speech.SpeechOptim),
    "stackgan": (stackgan.StackGANLoss, stackgan.StackGANOptim),
}
GROUPS: dict[str, Callable[..., object]] = {
    "adam": AdamSettings,
    "gammas": DamsmGammas,
    "weights": LossWeights,
}


def arguments_with_defaults(constructor: Callable[..., object], **changes: Any) -> dict[str, Any]:
    """Return the arguments of a network, as a model folder keeps them: the recipe's defaults with changes."""
    found = _arguments(constructor, MODELS, changes)
    return {name: list(value) if isinstance(value, tuple) else value for name, value in found.items()}


def make_network(constructor: Callable[..., Built], **changes: Any) -> Built:
    """Build a network from `arguments_with_defaults`."""
    return constructor(**arguments_with_defaults(constructor, **changes))


def make_model(constructor: Callable[..., Built], *networks: Any, **changes: Any) -> Built:
    """Build a trainable model from the defaults of its recipe's loss and optimizer.

    Args:
        constructor: Class to build.
        networks: Its first arguments.
        changes: Further arguments, and values in place of the defaults, also of those within `adam`, `gammas` and
            `weights`.
    """
    known = inspect.signature(constructor).parameters
    for group, settings in GROUPS.items():
        if group in known and group not in changes:
            inner = {
                key: changes.pop(key) for key in inspect.signature(settings).parameters if key in changes
            }
            changes[group] = settings(**_arguments(settings, OBJECTIVES, inner, constructor.__module__))
    return constructor(*networks, **_arguments(constructor, OBJECTIVES, changes))


def _arguments(
    constructor: Callable[..., object],
    sections: dict[str, Any],
    changes: dict[str, Any],
    module: str | None = None,
) -> dict[str, Any]:
    defaults = {
        name: field.default
        for section in sections[(module or constructor.__module__).rpartition(".")[2]]
        for name, field in section.model_fields.items()
        if not field.is_required()
    }
    known = inspect.signature(constructor).parameters
    return {name: defaults[name] for name in known if name in defaults} | changes
