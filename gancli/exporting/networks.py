"""Networks of a trained model joined to one, from plain numbers to images, as an export needs them."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gancli.encoders.char_cnn_rnn import ALPHABET, LENGTH, CharCnnRnn
from gancli.encoders.damsm import TextEncoder
from gancli.encoders.sentence import SentenceEncoder
from gancli.encoders.speech import KERNEL, STRIDE, SpeechEncoder
from gancli.errors import UsageError
from gancli.exporting.recurrence import PaddedRecurrence
from gancli.inference.attr2image import LoadedAttr2Image
from gancli.inference.csfgan import Inpainter
from gancli.inference.ffgan import LoadedFFGAN
from gancli.inference.fusion_s2igan import LoadedFusionS2iGan
from gancli.inference.loaded import LoadedModel
from gancli.inference.stackgan import LoadedStackGAN
from gancli.losses.matching import padding_mask
from gancli.models.attr2image import enlarge_shapes
from gancli.models.stackgan import TRUNCATION, StageOneGenerator, StageTwoGenerator, truncated_normal

BATCH, WORDS, FRAMES = "batch", "words", "frames"  # sides that an exported file leaves open
SHORTEST_CLIP = 16  # frames that the speech encoder's convolutions need


@dataclass(frozen=True)
class Input:
    """Input of an exported network.

    Attributes:
        name: Name in the file.
        shape: Sides; a text is one that the file leaves open.
        dtype: "int64" or "float32".
        values: Its numbers, for people ("standard normal").
        lowest, highest: Smallest and largest value of numbers for a test.
        drawn: Distribution of numbers for a test: whole numbers, or a normal distribution, perhaps truncated.
    """

    name: str
    shape: tuple[int | str, ...]
    dtype: Literal["int64", "float32"]
    values: str
    drawn: Literal["whole", "uniform", "normal", "truncated", "hole"]
    lowest: float = 0.0
    highest: float = 1.0

    def example(self, sides: Mapping[str, int], random: torch.Generator) -> Tensor:
        """Draw numbers for a test, with these lengths of the open sides."""
        shape = [side if isinstance(side, int) else sides[side] for side in self.shape]
        if self.drawn == "whole":
            return torch.randint(int(self.lowest), int(self.highest) + 1, shape, generator=random)
        if self.drawn == "uniform":
            return self.lowest + (self.highest - self.lowest) * torch.rand(shape, generator=random)
        if self.drawn == "hole":
            hole = torch.zeros(shape)
            side = shape[-1]
            hole[..., side // 4 : side // 2, side // 4 : 3 * side // 4] = 1
            return hole
        numbers = torch.randn(shape, generator=random)
        return truncated_normal(numbers) if self.drawn == "truncated" else numbers


@dataclass(frozen=True)
class Exportable:
    """Network to export, with names for its inputs and outputs.

    Attributes:
        network: Network in eval mode, on the CPU. It takes the inputs in order and returns the outputs.
        inputs: Inputs.
        outputs: Names of the images, smallest first. All are (B, 3, S, S) in [-1, 1].
        reading: Rules of the text side, for the JSON: what turns a sentence into the inputs.
    """

    network: nn.Module
    inputs: tuple[Input, ...]
    outputs: tuple[str, ...]
    reading: Mapping[str, object] = field(default_factory=dict)


def exportable(model: LoadedModel | Inpainter) -> Exportable:
    """Return the networks of a model joined to one.

    Raises:
        UsageError: The model has no part that reads its condition.
    """
    if isinstance(model, Inpainter):
        filler = _Filler(model)
        images = _uniform("image", model.size, "pixels in [-1, 1]; those in the hole do not matter", 3, -1.0)
        hole = Input(
            "hole", (BATCH, 1, model.size, model.size), "float32", "1 in the hole, 0 elsewhere", "hole"
        )
        inputs = (images, hole, _tokens(len(model.vocabulary)), *_noises(model.noise_dims))
        return Exportable(filler, inputs, ("filled",), _words(model.vocabulary.words, model.words))
    if isinstance(model, LoadedFFGAN):
        words = _words(model.vocabulary.words, model.words)
        inputs = (_tokens(len(model.vocabulary)), *_noises(model.noise_dims))
        return Exportable(_WordGenerator(model), inputs, _names(model), words)
    if isinstance(model, LoadedAttr2Image):
        attributes = _uniform_vector("attributes", len(model.names))
        reading = {"kind": "attributes", "attributes": list(model.names)}
        return Exportable(
            _AttributeGenerator(model), (attributes, *_noises(model.noise_dims)), _names(model), reading
        )
    if isinstance(model, LoadedFusionS2iGan):
        if model.speech is not None:
            assert model.mel is not None
            bands = model.mel.bands
            mels = Input(
                "mels", (BATCH, FRAMES, bands), "float32", "log-mel features, 0 after a clip's end", "normal"
            )
            frames = Input(
                "frames", (BATCH,), "int64", "frames of each clip", "whole", SHORTEST_CLIP, SHORTEST_CLIP + 4
            )
            spoken = {"kind": "speech", "mel": model.mel.model_dump(mode="json")}
            network = _SpeechGenerator(model.speech, model.generator)
            return Exportable(network, (mels, frames, *_noises(model.noise_dims)), _names(model), spoken)
        return _of_sentences(model, model.encoder, _SentenceImage(model.generator))
    if isinstance(model, LoadedStackGAN):
        truncated = [name for name, stage in _stages(model).items() if stage.augmentation.truncate]
        return _of_sentences(model, model.encoder, _Stages(model), truncated)
    raise UsageError(f"{model.folder}: a model of kind {model.name!r} cannot be exported")


def _of_sentences(
    model: LoadedModel,
    encoder: SentenceEncoder | None,
    generator: nn.Module,
    truncated: list[str] | None = None,
) -> Exportable:
    """Return a generator of sentence vectors behind its sentence encoder, or of the vectors where it has none."""
    noises = _noises(model.noise_dims, truncated or [])
    if encoder is None:
        dim = int(model.settings["text"]["dim"])
        vectors = Input("sentence", (BATCH, dim), "float32", "vectors as the model was trained on", "normal")
        network = _Joined(nn.Identity(), generator)
        return Exportable(network, (vectors, *noises), _names(model), {"kind": "vectors"})
    if isinstance(encoder.network, CharCnnRnn):
        values = "numbers of the alphabet from 1, 0 at the end"
        characters = Input("characters", (BATCH, LENGTH), "int64", values, "whole", 0, len(ALPHABET))
        reading = {"kind": "characters", "alphabet": ALPHABET, "length": LENGTH}
        network = _Joined(encoder.network, generator)
        return Exportable(network, (characters, *noises), _names(model), reading)
    assert encoder.vocabulary is not None
    assert isinstance(encoder.network, TextEncoder)
    words = _words(encoder.vocabulary.words, int(encoder.arguments["words"]))
    network = _Joined(_Sentences(encoder.network), generator)
    return Exportable(network, (_tokens(len(encoder.vocabulary)), *noises), _names(model), words)


def _names(model: LoadedModel) -> tuple[str, ...]:
    return tuple(name.replace(" ", "_") for name in model.stage_names)


def _words(vocabulary: tuple[str, ...], most: int) -> dict[str, object]:
    return {
        "kind": "words",
        "vocabulary": list(vocabulary),
        "most_words": most,
        "rule": "lower-case, runs of letters, digits and _, ASCII only; words outside the vocabulary are left out",
    }


def _tokens(entries: int) -> Input:
    values = "numbers of the words from 1, 0 at the end"
    return Input("tokens", (BATCH, WORDS), "int64", values, "whole", 1, entries - 1)


def _uniform(name: str, side: int, values: str, channels: int, lowest: float) -> Input:
    return Input(name, (BATCH, channels, side, side), "float32", values, "uniform", lowest)


def _uniform_vector(name: str, length: int) -> Input:
    return Input(name, (BATCH, length), "float32", "numbers in [0, 1], one for each attribute", "uniform")


def _noises(dims: Mapping[str, int], truncated: list[str] | tuple[()] = ()) -> tuple[Input, ...]:
    return tuple(
        Input(name, (BATCH, dim), "float32", f"standard normal, truncated at {TRUNCATION:g}", "truncated")
        if name in truncated
        else Input(name, (BATCH, dim), "float32", "standard normal", "normal")
        for name, dim in dims.items()
    )


# --- text and speech -------------------------------------------------------------------------------------------


class _WordEncoder(nn.Module):
    """DAMSM's text encoder without packed sequences, from words alone: index 0 is padding."""

    def __init__(self, encoder: TextEncoder) -> None:
        super().__init__()
        self.embedding = encoder.embedding
        self.rnn = PaddedRecurrence(encoder.rnn)

    def forward(self, tokens: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Map words (B, L) to word features (B, D, L), sentences (B, D) and padding mask (B, L)."""
        lengths = (tokens > 0).sum(dim=1)
        states, sentence = self.rnn(self.embedding(tokens), lengths)
        return states.transpose(1, 2), sentence, padding_mask(lengths, tokens.shape[1])


class _Sentences(nn.Module):
    """Sentence half of `_WordEncoder`."""

    def __init__(self, encoder: TextEncoder) -> None:
        super().__init__()
        self.encoder = _WordEncoder(encoder)

    def forward(self, tokens: Tensor) -> Tensor:
        """Map words (B, L) to sentences (B, D)."""
        sentence: Tensor = self.encoder(tokens)[1]
        return sentence


class _SpeechVectors(nn.Module):
    """Speech encoder without packed sequences."""

    def __init__(self, encoder: SpeechEncoder) -> None:
        super().__init__()
        self.encoder = copy.deepcopy(encoder)
        self.rnn = PaddedRecurrence(encoder.rnn)

    def forward(self, mels: Tensor, frames: Tensor) -> Tensor:
        """Map spoken captions (B, T, bands) of these frames (B,) to unit vectors (B, E)."""
        own = self.encoder
        features = own.activation(own.norm1(own.convolution1(mels.transpose(1, 2))))
        features = own.activation(own.norm2(own.convolution2(features)))
        steps = frames
        for _ in range(2):
            steps = torch.div(steps - KERNEL, STRIDE, rounding_mode="floor") + 1
        states, _ = self.rnn(features.transpose(1, 2), steps)
        scores = own.attention_out(own.attention_hidden(states).tanh())
        if own.mask_padding:
            outside = ~padding_mask(steps, states.shape[1])
            scores = scores.masked_fill(outside[:, :, None], -torch.inf)
        return F.normalize((scores.softmax(dim=1) * states).sum(dim=1), dim=1)


# --- whole models ----------------------------------------------------------------------------------------------


class _WordGenerator(nn.Module):
    """FF-GAN with its text encoder."""

    def __init__(self, model: LoadedFFGAN) -> None:
        super().__init__()
        self.text = _WordEncoder(model.text_encoder)
        self.generator = model.generator

    def forward(self, tokens: Tensor, noise: Tensor, condition_noise: Tensor) -> tuple[Tensor, ...]:
        words, sentence, mask = self.text(tokens)
        images: tuple[Tensor, ...] = self.generator(sentence, words, mask, noise, condition_noise).images
        return images


class _Filler(nn.Module):
    """CSF-GAN with its text encoder."""

    def __init__(self, model: Inpainter) -> None:
        super().__init__()
        self.text = _WordEncoder(model.text_encoder)
        self.generator = model.generator

    def forward(
        self, image: Tensor, hole: Tensor, tokens: Tensor, noise: Tensor, condition_noise: Tensor
    ) -> tuple[Tensor, ...]:
        words, sentence, mask = self.text(tokens)
        return (self.generator(image, hole, sentence, words, mask, noise, condition_noise).composite,)


class _Joined(nn.Module):
    """Encoder of a condition before a generator."""

    def __init__(self, encoder: nn.Module, generator: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder
        self.generator = generator

    def forward(self, condition: Tensor, *noises: Tensor) -> tuple[Tensor, ...]:
        images: tuple[Tensor, ...] = self.generator(self.encoder(condition), *noises)
        return images


class _SentenceImage(nn.Module):
    """Generator of Fusion-S2iGan or DF-GAN."""

    def __init__(self, generator: nn.Module) -> None:
        super().__init__()
        self.generator = generator

    def forward(self, sentence: Tensor, noise: Tensor) -> tuple[Tensor, ...]:
        return (self.generator(noise, sentence),)


class _SpeechGenerator(nn.Module):
    """Fusion-S2iGan with its speech encoder."""

    def __init__(self, speech: SpeechEncoder, generator: nn.Module) -> None:
        super().__init__()
        self.speech = _SpeechVectors(speech)
        self.generator = generator

    def forward(self, mels: Tensor, frames: Tensor, noise: Tensor) -> tuple[Tensor, ...]:
        return (self.generator(noise, self.speech(mels, frames)),)


def _stages(model: LoadedStackGAN) -> dict[str, StageOneGenerator | StageTwoGenerator]:
    """Return the stages by the name of their condition noise."""
    stages: dict[str, StageOneGenerator | StageTwoGenerator] = {"condition_noise": model.stage1}
    return stages if model.stage2 is None else {**stages, "second_condition_noise": model.stage2}


class _Stages(nn.Module):
    """StackGAN's stages. Noise that is to be truncated comes truncated: no runtime has the inverse normal."""

    def __init__(self, model: LoadedStackGAN) -> None:
        super().__init__()
        stages = [copy.deepcopy(stage) for stage in _stages(model).values()]
        for stage in stages:
            stage.augmentation.truncate = False
        self.stages = nn.ModuleList(stages)

    def forward(self, sentence: Tensor, noise: Tensor, *condition_noises: Tensor) -> tuple[Tensor, ...]:
        images = [self.stages[0](sentence, noise, condition_noises[0]).images]
        for stage, condition_noise in zip(list(self.stages)[1:], condition_noises[1:], strict=True):
            images.append(stage(images[-1], sentence, condition_noise).images)
        return tuple(images)


class _AttributeGenerator(nn.Module):
    """Stages of attr2image."""

    def __init__(self, model: LoadedAttr2Image) -> None:
        super().__init__()
        if model.shape is None:
            raise UsageError(
                f"{model.folder}: holds a model of images without one of shapes, so its images have no beginning",
                "Export a run of stage=image with init.shape, whose model folder holds both.",
            )
        self.shape = model.shape
        self.image = model.image
        self.shape_columns: Tensor
        self.image_columns: Tensor
        self.register_buffer("shape_columns", torch.tensor(model.shape_columns), persistent=False)
        self.register_buffer("image_columns", torch.tensor(model.image_columns), persistent=False)

    def forward(self, attributes: Tensor, *noises: Tensor) -> tuple[Tensor, ...]:
        first, condition, *second = noises
        shapes = self.shape(attributes.index_select(1, self.shape_columns), first, condition).shapes
        grey = torch.where(shapes >= 0, 1.0, -1.0).expand(-1, 3, -1, -1)
        if self.image is None:
            return (grey,)
        enlarged = enlarge_shapes(shapes, self.image.size)
        return grey, self.image(enlarged, attributes.index_select(1, self.image_columns), *second).images
