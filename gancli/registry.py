"""Every model and encoder: one row each, with the places of its code.

Plain data below all other rooms, so that recipes, training, inference, tables and the command line can all read it.
A row names its code as "module:attribute"; nothing is imported before one of them is asked for, so that
`gancli --help` stays fast.

To add a model, write its files (see CONTRIBUTING.md) and add a row to `MODELS`.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import Any


@dataclass(frozen=True)
class Row:
    """A model or an encoder.

    Attributes:
        name: Name on the command line and in recipes (`model.name`).
        recipe: Class of its recipe.
        train: Function from a `gancli.training.run.Request` to a `RunResult`.
        networks: Function from a recipe to its networks, for counting parameters.
        load: Function that loads its folder.
        help: Help text of its training command; the first paragraph is the summary.
        examples: Command lines of the help.
        options: Options of its command beyond the shared ones ("weights", "export").
        weights_help: Help text of `--weights`.
        fills: Whether it fills holes instead of drawing whole images.
        attributes: Whether it draws attributes instead of captions.
        names_split: Whether the name of its encoder folder ends with the split that it learns from.
        pipeline: Task by the names of model hubs; empty where they have none.
        usage: Command line that uses its folder, called "." there.
    """

    name: str
    recipe: str
    train: str
    networks: str
    load: str
    help: str
    examples: tuple[str, ...]
    options: tuple[str, ...] = ()
    weights_help: str = "File or folder of the backbone's ImageNet weights."
    fills: bool = False
    attributes: bool = False
    names_split: bool = False
    pipeline: str = ""
    usage: str = ""

    @property
    def draws(self) -> bool:
        """True for a model, which draws or fills images, false for an encoder."""
        return self.name in MODELS


def resolve(reference: str) -> Any:
    """Import what "module:attribute" names."""
    module, _, attribute = reference.partition(":")
    return getattr(import_module(module), attribute)


_MODELS = (
    Row(
        name="ffgan",
        recipe="gancli.config.ffgan:FFGANRecipe",
        train="gancli.training.ffgan:train_ffgan",
        networks="gancli.training.ffgan:networks",
        load="gancli.inference.ffgan:load_ffgan",
        help="FF-GAN: text to image in stages, with words fused into the features.",
        examples=(
            "gancli train ffgan data=data/demo encoder=encoders/damsm-demo",
            "gancli train ffgan --resume latest",
        ),
        pipeline="text-to-image",
        usage='gancli sample . --text "a small red bird with a white belly"',
    ),
    Row(
        name="stackgan",
        recipe="gancli.config.stackgan:StackGANRecipe",
        train="gancli.training.stackgan:train_stackgan",
        networks="gancli.training.stackgan:networks",
        load="gancli.inference.stackgan:load_stackgan",
        help="""StackGAN: Stage I sketches a sentence, Stage II redraws the sketch at four times the size.

        text=damsm reads the sentence vectors of a DAMSM encoder, text=precomputed those of a file
        (embeddings=FILE.npz).""",
        examples=(
            "gancli train stackgan stage=1 data=data/demo encoder=encoders/char-cnn-rnn-demo",
            "gancli train stackgan stage=2 init.stage1=latest data=data/demo encoder=encoders/char-cnn-rnn-demo",
        ),
        pipeline="text-to-image",
        usage='gancli sample . --text "a small red bird with a white belly"',
    ),
    Row(
        name="attr2image",
        recipe="gancli.config.attr2image:Attr2ImageRecipe",
        train="gancli.training.attr2image:train_attr2image",
        networks="gancli.training.attr2image:networks",
        load="gancli.inference.attr2image:load_attr2image",
        help="""attr2image: attributes to a silhouette (stage=shape), both to an image (stage=image).

        Needs a dataset with attributes and silhouettes: gancli prepare cub --silhouettes …, or gancli prepare demo.
        With init.shape the model folder of stage=image holds both stages.""",
        examples=(
            "gancli train attr2image stage=shape data=data/demo",
            "gancli train attr2image stage=image init.shape=latest data=data/demo",
            "gancli train attr2image stage=shape data=data/cub model.conditional=false model.local=false",
        ),
        attributes=True,
        pipeline="unconditional-image-generation",
        usage="gancli sample . --attr primary_color=red --attr size=small",
    ),
    Row(
        name="fusion-s2igan",
        recipe="gancli.config.fusion_s2igan:FusionS2iGanRecipe",
        train="gancli.training.fusion_s2igan:train_fusion_s2igan",
        networks="gancli.training.fusion_s2igan:networks",
        load="gancli.inference.fusion_s2igan:load_fusion_s2igan",
        help="""Fusion-S2iGan: speech to image in one stage. With the recipe dfgan/cub it is DF-GAN, text to image.

        condition=sentence reads the sentence vectors of a DAMSM or char-CNN-RNN encoder instead of speech.""",
        examples=(
            "gancli train fusion-s2igan data=data/demo encoder=encoders/speech-demo",
            "gancli train fusion-s2igan condition=sentence data=data/demo encoder=encoders/damsm-demo",
            "gancli train fusion-s2igan --recipe dfgan/cub data=data/cub encoder=encoders/damsm-cub",
        ),
        pipeline="text-to-image",
        usage='gancli sample . --speak "a small red bird with a white belly"',
    ),
    Row(
        name="csfgan",
        recipe="gancli.config.csfgan:CSFGANRecipe",
        train="gancli.training.csfgan:train_csfgan",
        networks="gancli.training.csfgan:networks",
        load="gancli.inference.csfgan:load_inpainter",
        help="""CSF-GAN: fill the hole of an image as a sentence says. gancli inpaint uses it.

        The perceptual loss compares features of VGG-16; loss.perceptual=0 trains without it and its weights.""",
        examples=(
            "gancli train csfgan data=data/demo encoder=encoders/damsm-demo",
            "gancli train csfgan data=data/cub encoder=encoders/damsm-cub holes.kind=mix",
            "gancli train csfgan data=data/cub encoder=encoders/damsm-cub loss.perceptual=0",
        ),
        options=("weights",),
        weights_help="File or folder of the VGG-16 weights of the perceptual loss.",
        fills=True,
        pipeline="image-to-image",
        usage='gancli inpaint . --image photo.jpg --mask hole.png --text "a small red bird"',
    ),
)

_ENCODERS = (
    Row(
        name="damsm",
        recipe="gancli.config.damsm:DamsmRecipe",
        train="gancli.training.damsm:pretrain_damsm",
        networks="gancli.training.damsm:networks",
        load="gancli.encoders.damsm:load_damsm",
        help="""DAMSM (AttnGAN): words and sentences beside image regions and images in one space.

        Reports after every epoch how often held-out images and captions find each other.""",
        examples=(
            "gancli pretrain-encoder damsm data=data/demo --out encoders/damsm-demo",
            "gancli pretrain-encoder damsm data=data/cub-64 train.minutes=20",
        ),
        options=("weights",),
        usage="gancli train ffgan data=DATA encoder=.",
    ),
    Row(
        name="char-cnn-rnn",
        recipe="gancli.config.char_cnn_rnn:CharCnnRnnRecipe",
        train="gancli.training.char_cnn_rnn:pretrain_char_cnn_rnn",
        networks="gancli.training.char_cnn_rnn:networks",
        load="gancli.encoders.char_cnn_rnn:load_char_cnn_rnn",
        help="""The character encoder (Reed et al. 2016) that StackGAN reads captions with.

        Learns beside frozen image features, which are computed once and kept in the dataset folder. Reports after
        every epoch how often held-out images and captions find their class, with chance beside. `gancli embed` writes
        the vectors of another dataset's captions.""",
        examples=(
            "gancli pretrain-encoder char-cnn-rnn data=data/demo features.encoder=encoders/damsm-demo",
            "gancli pretrain-encoder char-cnn-rnn data=data/cub --export cub.npz",
        ),
        options=("export", "weights"),
        usage="gancli train stackgan stage=1 data=DATA encoder=.",
    ),
    Row(
        name="speech",
        recipe="gancli.config.speech:SpeechRecipe",
        train="gancli.training.speech:pretrain_speech",
        networks="gancli.training.speech:networks",
        load="gancli.encoders.speech:load_speech",
        help="""The speech encoder (S2IGAN, Fusion-S2iGan): spoken captions beside images in one space.

        Needs a dataset prepared with speech. Reports every few epochs how well held-out images and spoken captions
        find each other, with chance beside, and keeps the vectors of all spoken captions in the dataset folder.""",
        examples=(
            "gancli pretrain-encoder speech data=data/demo --out encoders/speech-demo",
            "gancli pretrain-encoder speech data=data/cub",
            "gancli pretrain-encoder speech data=data/cub validation.select_on=test model.mask_padding=false",
        ),
        options=("weights",),
        usage="gancli train fusion-s2igan data=DATA encoder=.",
    ),
    Row(
        name="classifier",
        recipe="gancli.config.classifier:ClassifierRecipe",
        train="gancli.training.classifier:pretrain_classifier",
        networks="gancli.training.classifier:networks",
        load="gancli.encoders.classifier:load_classifier",
        help="""A classifier of a split's classes, for the Inception score and for image features.

        Reports after every epoch how many held-out images it gets right, in per cent, with chance beside.""",
        examples=(
            "gancli pretrain-encoder classifier data=data/demo split=test --out encoders/judge-demo",
            "gancli pretrain-encoder classifier data=data/cub",
            "gancli pretrain-encoder classifier data=data/cub-64 train.minutes=20",
        ),
        options=("weights",),
        names_split=True,
        pipeline="image-classification",
        usage="gancli score is IMAGES --network classifier:.",
    ),
)

MODELS = {row.name: row for row in _MODELS}
ENCODERS = {row.name: row for row in _ENCODERS}
ROWS = {**MODELS, **ENCODERS}
DRAWING = tuple(row.name for row in _MODELS if not row.fills)
FILLING = tuple(row.name for row in _MODELS if row.fills)
