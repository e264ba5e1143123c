"""Ablations of every model: fields of its settings, and the paper's names made of them."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from gancli.inference.csfgan import load_inpainter
from gancli.inference.load import load_model


@pytest.mark.parametrize(
    ("fixture", "changes", "name", "ablation"),
    [
        ("tiny_model", {}, "FF-GAN", {}),
        ("tiny_model", {"generator": {"gsr": False}}, "baseline+FF-Block", {"model.gsr": False}),
        ("tiny_model", {"generator": {"ff_block": False}}, "baseline+GSR", {"model.ff_block": False}),
        (
            "tiny_model",
            {"generator": {"ff_block": False, "gsr": False}},
            "baseline",
            {"model.ff_block": False, "model.gsr": False},
        ),
        ("tiny_model", {"step": 0}, "FF-GAN, untrained", {}),
        ("tiny_stackgan", {}, "StackGAN", {}),
        ("tiny_fusion_s2igan", {}, "Fusion-S2iGan", {}),
        (
            "tiny_fusion_s2igan",
            {"generator": {"attention": "bam", "modules": 1}},
            "Fusion-S2iGan, attention bam, modules 1",
            {"model.attention": "bam", "model.modules": 1},
        ),
        (
            "tiny_fusion_s2igan",
            {"generator": {"block": "dfgan", "attention": "bam"}},
            "Fusion-S2iGan, block dfgan",
            {"model.block": "dfgan"},
        ),
        ("tiny_dfgan", {}, "DF-GAN", {"condition": "sentence", "model.block": "dfgan"}),
        ("tiny_dfgan", {"generator": {"block": "vsfm"}}, "Fusion-S2iGan, text", {"condition": "sentence"}),
        ("tiny_csfgan", {}, "CSF-GAN", {}),
        ("tiny_csfgan", {"generator": {"fusion": "none"}}, "baseline+WLD", {"model.fusion": "none"}),
        (
            "tiny_csfgan",
            {"word_discriminator": False},
            "baseline+SFM",
            {"model.word_discriminator": False},
        ),
        (
            "tiny_csfgan",
            {"generator": {"fusion": "none"}, "word_discriminator": False},
            "baseline",
            {"model.fusion": "none", "model.word_discriminator": False},
        ),
        (
            "tiny_csfgan",
            {"generator": {"fusion": "sentence"}, "word_discriminator": False, "edge": 1},
            "CSF-GAN, sentence fusion, no WLD, lambda_edge 1",
            {"model.fusion": "sentence", "model.word_discriminator": False, "loss.edge": 1.0},
        ),
        ("tiny_csfgan", {"edge": 0, "step": 0}, "CSF-GAN, lambda_edge 0, untrained", {"loss.edge": 0.0}),
        ("tiny_attr2image", {}, "attr2image", {}),
        (
            "tiny_attr2image",
            {"d_sees_shape": True},
            "attr2image, D sees the shape",
            {"model.d_sees_shape": True},
        ),
    ],
)
def test_the_papers_names_are_made_of_fields(
    fixture: str,
    changes: dict[str, Any],
    name: str,
    ablation: dict[str, object],
    request: pytest.FixtureRequest,
) -> None:
    folder = request.getfixturevalue(fixture)
    model = load_inpainter(folder) if fixture == "tiny_csfgan" else load_model(folder)
    settings = dict(model.settings)
    for key, value in changes.items():
        settings[key] = {**settings[key], **value} if isinstance(value, dict) else value
    model = dataclasses.replace(model, settings=settings)
    assert model.ablation == ablation
    assert model.method == name


def test_stage_one_of_stackgan_is_an_ablation(tiny_stackgan):
    model = dataclasses.replace(load_model(tiny_stackgan), stage2=None)
    assert (model.ablation, model.method) == ({"stage": 1}, "StackGAN Stage-I")


@pytest.mark.parametrize(
    ("conditional", "discriminators", "name", "ablation"),
    [
        (True, ["global", "local"], "attribute2shape", {}),
        (True, ["global"], "attribute2shape, global D", {"model.local": False}),
        (True, ["local"], "attribute2shape, local D", {"loss.global_weight": 0.0}),
        (
            False,
            [],
            "unconditional shapes, no D",
            {"model.conditional": False, "loss.global_weight": 0.0, "model.local": False},
        ),
    ],
)
def test_ablations_of_attr2images_shapes(tiny_attr2image, conditional, discriminators, name, ablation):
    both = load_model(tiny_attr2image)
    shape = {**both.settings["shape"], "conditional": conditional}
    settings = {**both.settings, "shape": shape, "discriminators": discriminators}
    model = dataclasses.replace(both, image=None, settings=settings)
    assert (model.ablation, model.method) == ({"stage": "shape", **ablation}, name)


@pytest.mark.parametrize("sees", [False, True])
def test_stage_two_of_attr2image_is_whole_with_a_stage_one(tiny_attr2image, sees):
    both = load_model(tiny_attr2image)
    found = {"model.d_sees_shape": True} if sees else {}
    suffix = ", D sees the shape" if sees else ""
    alone = dataclasses.replace(both, shape=None, settings={**both.settings, "d_sees_shape": sees})
    assert (alone.ablation, alone.method) == ({"stage": "image", **found}, "shape2image" + suffix)
    whole = alone.with_shape(both)
    assert (whole.ablation, whole.method) == (found, "attr2image" + suffix)
