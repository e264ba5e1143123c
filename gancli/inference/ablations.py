"""Ablations of the papers, as fields of a trained model's config.yaml, and the names that the papers give them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Ablation = dict[str, object]

# The papers' own models
_FUSION_S2IGAN = {"block": "vsfm", "attention": "pam", "fusion": "wfm", "modules": 2}
_CSFGAN_EDGE = 0.5  # lambda_edge

DFGAN: Ablation = {"condition": "sentence", "model.block": "dfgan"}  # Fusion-S2iGan's networks as DF-GAN


def ablation_of(settings: Mapping[str, Any]) -> Ablation:
    """Return the settings of the paper's ablations in which a model differs from the paper's own.

    Args:
        settings: Content of a model's config.yaml.

    Returns:
        Values under their recipe keys ({"model.gsr": False}); empty for the paper's own model.

    Raises:
        KeyError: A setting is missing.
    """
    kind = settings["kind"]
    if kind == "ffgan":
        return {
            f"model.{part}": False
            for part in ("ff_block", "gsr")
            if not settings["generator"].get(part, True)
        }
    if kind == "stackgan":
        return {} if settings["stage"] == 2 else {"stage": settings["stage"]}
    if kind == "fusion-s2igan":
        return _of_fusion_s2igan(settings)
    return _of_csfgan(settings) if kind == "csfgan" else _of_attr2image(settings)


def method_of(settings: Mapping[str, Any]) -> str:
    """Return the name of a model in tables: the paper's name of the ablation; untrained models are marked.

    Args:
        settings: Content of a model's config.yaml.

    Raises:
        KeyError: A setting is missing.
    """
    names = {
        "ffgan": _name_ffgan,
        "stackgan": _name_stackgan,
        "fusion-s2igan": _name_fusion_s2igan,
        "csfgan": _name_csfgan,
        "attr2image": _name_attr2image,
    }
    name = names[settings["kind"]](ablation_of(settings))
    return f"{name}, untrained" if settings.get("step") == 0 else name


def _name_ffgan(found: Ablation) -> str:
    parts = [name for key, name in (("model.gsr", "GSR"), ("model.ff_block", "FF-Block")) if key not in found]
    return "FF-GAN" if len(parts) == 2 else "+".join(["baseline", *parts])


def _name_stackgan(found: Ablation) -> str:
    return "StackGAN Stage-I" if found else "StackGAN"


def _of_fusion_s2igan(settings: Mapping[str, Any]) -> Ablation:
    generator = {**_FUSION_S2IGAN, **settings["generator"]}
    of_sentences = "speech" not in settings
    if of_sentences and generator["block"] == "dfgan":
        return dict(DFGAN)
    # Another block has neither the attention nor the fusion of the paper's
    parts = tuple(_FUSION_S2IGAN) if generator["block"] == _FUSION_S2IGAN["block"] else ("block", "modules")
    found = {f"model.{part}": generator[part] for part in parts if generator[part] != _FUSION_S2IGAN[part]}
    return {**found, "condition": "sentence"} if of_sentences else found


def _name_fusion_s2igan(found: Ablation) -> str:
    if found == DFGAN:
        return "DF-GAN"
    parts = [
        "text" if key == "condition" else f"{key.removeprefix('model.')} {value}"
        for key, value in found.items()
    ]
    return ", ".join(["Fusion-S2iGan", *parts])


def _of_csfgan(settings: Mapping[str, Any]) -> Ablation:
    found: Ablation = {}
    if settings["generator"]["fusion"] != "both":
        found["model.fusion"] = settings["generator"]["fusion"]
    if not settings["word_discriminator"]:
        found["model.word_discriminator"] = False
    edge = float(settings["edge"] if "edge" in settings else settings["edge_weight"])
    if edge != _CSFGAN_EDGE:
        found["loss.edge"] = edge
    return found


def _name_csfgan(found: Ablation) -> str:
    fusion, local = str(found.get("model.fusion", "both")), "model.word_discriminator" not in found
    names = {
        ("both", True): "CSF-GAN",
        ("both", False): "baseline+SFM",
        ("none", True): "baseline+WLD",
        ("none", False): "baseline",
    }
    name = names.get((fusion, local), f"CSF-GAN, {fusion} fusion" + ("" if local else ", no WLD"))
    return f"{name}, lambda_edge {found['loss.edge']:g}" if "loss.edge" in found else name


def _of_attr2image(settings: Mapping[str, Any]) -> Ablation:
    if "image" in settings:
        found: Ablation = {} if "shape" in settings else {"stage": "image"}
        return {**found, "model.d_sees_shape": True} if settings.get("d_sees_shape") else found
    found = {"stage": "shape"}
    if not settings["shape"].get("conditional", True):
        found["model.conditional"] = False
    if "global" not in settings.get("discriminators", ()):
        found["loss.global_weight"] = 0.0
    if "local" not in settings.get("discriminators", ()):
        found["model.local"] = False
    return found


def _name_attr2image(found: Ablation) -> str:
    if found.get("stage") != "shape":
        name = "shape2image" if "stage" in found else "attr2image"
        return f"{name}, D sees the shape" if "model.d_sees_shape" in found else name
    name = "unconditional shapes" if "model.conditional" in found else "attribute2shape"
    kept = [
        name for name, key in (("global", "loss.global_weight"), ("local", "model.local")) if key not in found
    ]
    return name if len(kept) == 2 else f"{name}, {' + '.join(kept) or 'no'} D"
