"""Ablations of every model: fields of its settings, and the paper's names made of them."""

from __future__ import annotations

from typing import Any

import pytest

from gancli.inference.ablations import ablation_of, method_of

SPEECH: dict[str, Any] = {"kind": "fusion-s2igan", "speech": {}}
OWN = {"block": "vsfm", "attention": "pam", "fusion": "wfm", "modules": 2}


def ffgan(ff_block: bool, gsr: bool) -> dict[str, Any]:
    return {"kind": "ffgan", "generator": {"ff_block": ff_block, "gsr": gsr}}


def csfgan(fusion: str = "both", local: bool = True, edge: float = 0.5) -> dict[str, Any]:
    return {
        "kind": "csfgan",
        "generator": {"fusion": fusion},
        "word_discriminator": local,
        "edge_weight": edge,
    }


def shape(*discriminators: str, conditional: bool = True) -> dict[str, Any]:
    return {
        "kind": "attr2image",
        "shape": {"conditional": conditional},
        "discriminators": list(discriminators),
        "d_sees_shape": False,
    }


def image(sees: bool = False, **others: Any) -> dict[str, Any]:
    return {"kind": "attr2image", "image": {}, "d_sees_shape": sees, "discriminators": [], **others}


@pytest.mark.parametrize(
    ("settings", "name", "ablation"),
    [
        (ffgan(True, True), "FF-GAN", {}),
        (ffgan(True, False), "baseline+FF-Block", {"model.gsr": False}),
        (ffgan(False, True), "baseline+GSR", {"model.ff_block": False}),
        (ffgan(False, False), "baseline", {"model.ff_block": False, "model.gsr": False}),
        ({**ffgan(True, True), "step": 0}, "FF-GAN, untrained", {}),
        ({"kind": "stackgan", "stage": 2}, "StackGAN", {}),
        ({"kind": "stackgan", "stage": 1, "step": 5}, "StackGAN Stage-I", {"stage": 1}),
        ({**SPEECH, "generator": OWN}, "Fusion-S2iGan", {}),
        (
            {**SPEECH, "generator": {**OWN, "attention": "bam", "modules": 1}},
            "Fusion-S2iGan, attention bam, modules 1",
            {"model.attention": "bam", "model.modules": 1},
        ),
        (
            {**SPEECH, "generator": {**OWN, "block": "dfgan", "attention": "bam"}},
            "Fusion-S2iGan, block dfgan",
            {"model.block": "dfgan"},
        ),
        ({"kind": "fusion-s2igan", "generator": OWN}, "Fusion-S2iGan, text", {"condition": "sentence"}),
        (
            {"kind": "fusion-s2igan", "generator": {**OWN, "block": "dfgan"}},
            "DF-GAN",
            {"condition": "sentence", "model.block": "dfgan"},
        ),
        (csfgan(), "CSF-GAN", {}),
        (csfgan("none"), "baseline+WLD", {"model.fusion": "none"}),
        (csfgan("both", False), "baseline+SFM", {"model.word_discriminator": False}),
        (csfgan("none", False), "baseline", {"model.fusion": "none", "model.word_discriminator": False}),
        (
            csfgan("sentence", False, 1),
            "CSF-GAN, sentence fusion, no WLD, lambda_edge 1",
            {"model.fusion": "sentence", "model.word_discriminator": False, "loss.edge": 1.0},
        ),
        (csfgan(edge=0), "CSF-GAN, lambda_edge 0", {"loss.edge": 0.0}),
        (shape("global", "local"), "attribute2shape", {"stage": "shape"}),
        (shape("global"), "attribute2shape, global D", {"stage": "shape", "model.local": False}),
        (shape("local"), "attribute2shape, local D", {"stage": "shape", "loss.global_weight": 0.0}),
        (
            shape(conditional=False),
            "unconditional shapes, no D",
            {
                "stage": "shape",
                "model.conditional": False,
                "loss.global_weight": 0.0,
                "model.local": False,
            },
        ),
        (image(), "shape2image", {"stage": "image"}),
        (image(True), "shape2image, D sees the shape", {"stage": "image", "model.d_sees_shape": True}),
        (image(shape={"conditional": True}), "attr2image", {}),
    ],
)
def test_the_papers_names_are_made_of_fields(
    settings: dict[str, Any], name: str, ablation: dict[str, object]
) -> None:
    assert ablation_of(settings) == ablation
    assert method_of(settings) == name
