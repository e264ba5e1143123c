"""Ablations of the papers, as fields of a trained model's config.yaml."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# The papers' own models
FUSION_S2IGAN = {"block": "vsfm", "attention": "pam", "fusion": "wfm", "modules": 2}
CSFGAN_EDGE = 0.5  # lambda_edge


def ablation(settings: Mapping[str, Any]) -> dict[str, object]:
    """Return the settings of the paper's ablations in which a model differs from the paper's own.

    Args:
        settings: Content of a model's config.yaml.

    Returns:
        Values under their recipe keys ({"model.gsr": False}); empty for the paper's own model.
    """
    kind = settings["kind"]
    if kind == "ffgan":
        return {f"model.{part}": False for part in ("ff_block", "gsr") if not settings["generator"][part]}
    if kind == "stackgan":
        return {} if settings["stage"] == 2 else {"stage": settings["stage"]}
    if kind == "fusion-s2igan":
        return _of_fusion_s2igan(settings)
    if kind == "csfgan":
        return _of_csfgan(settings)
    return _of_attr2image(settings)


def _of_fusion_s2igan(settings: Mapping[str, Any]) -> dict[str, object]:
    generator = settings["generator"]
    of_sentences = "speech" not in settings
    if of_sentences and generator["block"] == "dfgan":
        return {"condition": "sentence", "model.block": "dfgan"}  # DF-GAN, a model of its own
    # Another block has neither the attention nor the fusion of the paper's
    parts = ("block", "modules") if generator["block"] != FUSION_S2IGAN["block"] else tuple(FUSION_S2IGAN)
    found = {f"model.{part}": generator[part] for part in parts if generator[part] != FUSION_S2IGAN[part]}
    return {**found, "condition": "sentence"} if of_sentences else found


def _of_csfgan(settings: Mapping[str, Any]) -> dict[str, object]:
    found: dict[str, object] = {}
    if settings["generator"]["fusion"] != "both":
        found["model.fusion"] = settings["generator"]["fusion"]
    if not settings["word_discriminator"]:
        found["model.word_discriminator"] = False
    if settings["edge"] != CSFGAN_EDGE:
        found["loss.edge"] = float(settings["edge"])
    return found


def _of_attr2image(settings: Mapping[str, Any]) -> dict[str, object]:
    if "image" in settings:
        found: dict[str, object] = {} if "shape" in settings else {"stage": "image"}
        return {**found, "model.d_sees_shape": True} if settings["d_sees_shape"] else found
    found = {"stage": "shape"}
    if not settings["shape"]["conditional"]:
        found["model.conditional"] = False
    if "local" not in settings["discriminators"]:
        found["model.local"] = False
    if "global" not in settings["discriminators"]:
        found["loss.global_weight"] = 0.0
    return found
