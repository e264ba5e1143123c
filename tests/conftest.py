"""Shared fixtures: real data, a tiny dataset in CUB's layout (raw and prepared), untrained encoders and models.

Fixtures of session scope are read-only: a test that changes one copies it first.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hypothesis
import numpy as np
import pytest
import torch
import yaml
from PIL import Image, ImageDraw

from gancli.data.audio import MelSettings, Utterance
from gancli.data.hole_settings import HoleSettings
from gancli.data.manifest import VOCABULARY, SpeechEntry, SplitEntry, write_manifest
from gancli.data.preparation.options import PrepareOptions
from gancli.data.preparation.prepare import prepare
from gancli.data.shards import Dataset, ShardWriter
from gancli.data.source import BadSample, Sample, Source
from gancli.data.sources import cub
from gancli.data.text import Vocabulary

if TYPE_CHECKING:
    from gancli.encoders.embeddings import CaptionEmbeddings
    from gancli.encoders.sentence import SentenceEncoder
    from gancli.encoders.speech import Speech

# A busy machine is slow, not wrong
hypothesis.settings.register_profile(
    "untimed", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("untimed")

torch.set_num_threads(1)  # pytest -n keeps every core busy already

ROOT = Path(__file__).parents[1]
SHARED_DATA = ROOT.parent / "shared" / "data"

# The first and the last belong to the test split of the zero-shot rule
CLASSES = (
    "001.Black_footed_Albatross",
    "002.Laysan_Albatross",
    "003.Sooty_Albatross",
    "004.Groove_billed_Ani",
)
COLORS = ("black", "white", "brown", "blue")
IMAGES_PER_CLASS = 6
# Fields of config.yaml that say what a model was trained on
PROVENANCE = {
    "dataset": {
        "name": "cub",
        "release": "CUB-200-2011",
        "split_rule": "zero-shot 150/50",
        "crop_rule": "box 1.5×",
        "image_size": 32,
    },
    "paper_recipe": "ffgan/cub",
    "differences": [],
}
ATTRIBUTES = ("has_primary_color::black", "has_primary_color::white", "has_size::small")


@pytest.fixture(autouse=True)
def own_home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder of downloads and kept features for each test: networks of tests share names, not functions."""
    monkeypatch.setenv("GANCLI_HOME", str(tmp_path_factory.mktemp("home")))


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of real datasets, which are not part of the repository."""
    if not SHARED_DATA.is_dir():
        pytest.skip("../shared/data with real datasets is absent")
    return SHARED_DATA


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Build a network from a fixed seed, without gradients and without a trace in torch's random state."""
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(seed)
        yield


def write_raw_cub(root: Path, images_per_class: int = IMAGES_PER_CLASS) -> Path:
    """Write a dataset of coloured ellipses in the layout of CUB-200-2011. Its bytes are always the same."""
    base = root / "CUB_200_2011"
    (base / "attributes").mkdir(parents=True)
    rng = np.random.default_rng(0)
    tables: dict[str, list[str]] = {
        name: [] for name in ("images", "image_class_labels", "bounding_boxes", "train_test_split")
    }
    labels: list[str] = []
    identity = 0
    for class_number, (name, color) in enumerate(zip(CLASSES, COLORS, strict=True), start=1):
        (base / "images" / name).mkdir(parents=True)
        (base / "segmentations" / name).mkdir(parents=True)
        (root / "text" / name).mkdir(parents=True)
        for number in range(images_per_class):
            identity += 1
            stem = f"Bird_{identity:04d}"
            width, height = (int(side) for side in rng.integers(50, 90, 2))
            box = (width // 5, height // 4, width // 2, height // 2)
            image = Image.new("RGB", (width, height), tuple(int(level) for level in rng.integers(90, 200, 3)))
            silhouette = Image.new("L", image.size)
            corners = (box[0], box[1], box[0] + box[2], box[1] + box[3])
            ImageDraw.Draw(image).ellipse(corners, fill=color)
            ImageDraw.Draw(silhouette).ellipse(corners, fill=255)
            image.save(base / "images" / name / f"{stem}.jpg", quality=95)
            silhouette.save(base / "segmentations" / name / f"{stem}.png")
            size = ("small", "large")[number % 2]
            sentences = [
                f"this is a {size} {color} bird, number {identity}.",
                f"a {color} bird with a {('short', 'long', 'curved')[number % 3]} bill and a {color} belly",
                f"The bird is {color}; it has {size} wings",
            ]
            (root / "text" / name / f"{stem}.txt").write_text("\n".join(sentences) + "\n", encoding="utf-8")
            tables["images"].append(f"{identity} {name}/{stem}.jpg")
            tables["image_class_labels"].append(f"{identity} {class_number}")
            tables["bounding_boxes"].append(f"{identity} {' '.join(f'{value:.1f}' for value in box)}")
            tables["train_test_split"].append(f"{identity} {int(number % 2 == 0)}")
            present = (color == "black", color == "white", size == "small")
            labels += [f"{identity} {a} {int(value)} 4 1.5" for a, value in enumerate(present, start=1)]
    for file, lines in tables.items():
        (base / f"{file}.txt").write_text("\n".join(lines) + "\n")
    (base / "classes.txt").write_text("".join(f"{n} {name}\n" for n, name in enumerate(CLASSES, start=1)))
    (base / "attributes" / "image_attribute_labels.txt").write_text("\n".join(labels) + "\n")
    (root / "attributes.txt").write_text(
        "".join(f"{n} {name}\n" for n, name in enumerate(ATTRIBUTES, start=1))
    )
    return root


@pytest.fixture
def tiny_raw_cub(tmp_path: Path) -> Path:
    """24 images of 4 classes in CUB's raw layout, 12 for training and 12 for testing. The test may damage them."""
    return write_raw_cub(tmp_path / "raw")


@pytest.fixture(scope="session")
def tiny_dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny dataset prepared at 32 pixels with codec raw and at most five images in a shard."""
    folder = tmp_path_factory.mktemp("tiny")
    prepare(
        cub.read(write_raw_cub(folder / "raw")), folder / "cub", PrepareOptions(image_size=32, shard_images=5)
    )
    return folder / "cub"


def source_of(samples: Iterable[Sample | BadSample], name: str = "mine", **options: Any) -> Source:
    """Return a source of samples that a test made."""
    return Source(name, iter(samples), release="own images", split_rule="folders", **options)


def write_spoken(dataset: Path, folder: Path, settings: MelSettings | None = None) -> Path:
    """Write a prepared dataset again with an utterance of each caption: a chord for each class, and noise."""
    mel = settings or MelSettings(bands=8)
    manifest = Dataset.open(dataset).manifest
    splits: dict[str, SplitEntry] = {}
    utterances: dict[str, int] = {}
    for name, entry in manifest.splits.items():
        split = Dataset.open(dataset).split(name)
        attributes = split.attributes
        assert attributes is not None
        rng = np.random.default_rng(0)
        writer = ShardWriter("raw", "spoken", len(ATTRIBUTES), speech=True)
        for index in range(len(split)):
            image, captions = split.image(index), split.captions(index)
            class_id = int(split.class_ids[index])
            chord = np.cos(np.pi * class_id * np.arange(mel.bands) / 2 + class_id)
            spoken = []
            for number in range(len(captions)):
                noise = rng.normal(0, 0.3, (16 + 4 * number + int(rng.integers(6)), mel.bands))
                spoken.append(Utterance(number, (chord + noise).astype(np.float16)))
            shape = image.shape[0], image.shape[1]
            writer.add(
                split.keys[index], image.reshape(-1), shape, captions, split.tokens(index), class_id,
                attributes[index], spoken,
            )  # fmt: skip
        folder.mkdir(exist_ok=True)
        shard = writer.write(folder / f"{name}-00000-of-00001.h5").entry
        splits[name] = entry.model_copy(update={"shards": (shard,)})
        utterances[name] = shard.captions
    shutil.copy(dataset / VOCABULARY, folder / VOCABULARY)
    speech = SpeechEntry(
        mel=mel, backend="recorded", version="", voices=(), speeds=(), audio=False, utterances=utterances
    )
    update = {"splits": splits, "speech": speech, "silhouettes": None}
    write_manifest(folder, manifest.model_copy(update=update))
    return folder


@pytest.fixture(scope="session")
def tiny_spoken(tiny_dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny dataset with an utterance of 8 mel bands for every caption. Tests may add embeddings."""
    return write_spoken(tiny_dataset, tmp_path_factory.mktemp("tiny") / "spoken")


@pytest.fixture(scope="session")
def tiny_encoder(tiny_dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained DAMSM encoder with the tiny dataset's vocabulary."""
    from gancli.encoders.damsm import ImageEncoder, TextEncoder, save_damsm

    vocabulary = Vocabulary.load(tiny_dataset / "vocabulary.json")
    text = {"dim": 16, "embedding_dim": 12}
    image = {"backbone": "small", "dim": 16, "size": 16, "width": 4}
    with seeded(0):
        networks = TextEncoder(len(vocabulary), **text), ImageEncoder(**image)
    folder = tmp_path_factory.mktemp("tiny") / "encoder"
    settings = {**PROVENANCE, "words": 18, "seed": 0, "text": text, "image": image}
    save_damsm(folder, *networks, vocabulary, settings)
    return folder


@pytest.fixture(scope="session")
def tiny_model(tiny_encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained FF-GAN of stages 8, 16 and 32 that reads with `tiny_encoder`."""
    from gancli.encoders.damsm import load_damsm
    from gancli.inference.ffgan import save_ffgan
    from gancli.models.ffgan import Generator
    from tests.defaults import arguments_with_defaults

    encoder = load_damsm(tiny_encoder)
    arguments = arguments_with_defaults(
        Generator,
        stages=[8, 16, 32],
        text_dim=16,
        generator_width=4,
        noise_dim=6,
        condition_dim=5,
        affine_residual=True,
    )
    with seeded(1):
        generator = Generator(**arguments)
        for _ in range(20):  # without batch statistics an untrained network ignores its noise
            words, padding_mask = torch.randn(32, 16, 18), torch.ones(32, 18, dtype=torch.bool)
            generator(torch.randn(32, 16), words, padding_mask, torch.randn(32, 6), torch.randn(32, 5))
    settings = {
        "kind": "ffgan",
        **PROVENANCE,
        "words": 18,
        "encoder_hash": encoder.hash,
        "generator": arguments,
        "text": encoder.settings["text"],
    }
    folder = tmp_path_factory.mktemp("tiny") / "model"
    save_ffgan(folder, generator, encoder, settings)
    return folder


def build_stackgan(encoder: SentenceEncoder | CaptionEmbeddings, folder: Path, *, stage: int = 2) -> Path:
    """Write an untrained StackGAN of stages 16 and 32 that reads `encoder`'s vectors."""
    from gancli.inference.stackgan import save_stackgan
    from gancli.models.stackgan import ConditioningAugmentation, StageOneGenerator, StageTwoGenerator
    from tests.defaults import arguments_with_defaults

    shared = {"text_dim": encoder.dim, "generator_width": 8}
    first = arguments_with_defaults(StageOneGenerator, size=16, noise_dim=6, condition_dim=5, **shared)
    second = arguments_with_defaults(
        StageTwoGenerator, size=32, input_size=16, condition_dim=4, residual_blocks=1, **shared
    )
    with seeded(2):
        stage1, stage2 = StageOneGenerator(**first), StageTwoGenerator(**second)
        # Initial weights hardly depend on the sentence and draw grey: enlarge them, then take one batch's statistics
        for module in (*stage1.modules(), *stage2.modules()):
            if isinstance(module, ConditioningAugmentation):
                module.linear.weight.mul_(20)
            elif isinstance(module, torch.nn.BatchNorm1d | torch.nn.BatchNorm2d):
                module.momentum = None
        sentence = torch.randn(128, encoder.dim)
        inputs = sentence, torch.randn(128, 6), torch.randn(128, 5)
        stage1.layers[-2].weight.mul_(0.5 / stage1(*inputs).images.std())
        inputs = stage1(*inputs).images, sentence, torch.randn(128, 4)
        stage2.up[-2].weight.mul_(0.5 / stage2(*inputs).images.std())
    settings = {**PROVENANCE, "step": 7, "stage1": first}
    if stage == 2:
        save_stackgan(folder, stage1, stage2, encoder, {**settings, "stage2": second})
    else:
        save_stackgan(folder, stage1, None, encoder, settings)
    return folder


@pytest.fixture(scope="session")
def tiny_attr2image(tiny_dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained attr2image of both stages, 16 and 32 pixels, whose images depend on the attributes."""
    from gancli.inference.attr2image import save_attr2image
    from gancli.models.attr2image import ImageGenerator, ShapeGenerator
    from tests.defaults import arguments_with_defaults

    shape = arguments_with_defaults(
        ShapeGenerator, size=16, attributes=1, generator_width=2, noise_dim=6, condition_dim=5
    )
    image = arguments_with_defaults(ImageGenerator, size=32, attributes=2, generator_width=4, condition_dim=5)
    with seeded(8):
        networks = ShapeGenerator(**shape), ImageGenerator(**image)
        for network in networks:
            for parameter in network.parameters():
                parameter.add_(0.2 * torch.randn_like(parameter))
    folder = tmp_path_factory.mktemp("tiny") / "attr2image"
    settings = {
        **PROVENANCE,
        "step": 7,
        "discriminators": ["global", "local"],
        "shape": shape,
        "image": image,
        "attribute_names": list(Dataset.open(tiny_dataset).attribute_names),
        "shape_columns": [2],
        "image_columns": [0, 1],
    }
    save_attr2image(folder, *networks, settings)
    return folder


@pytest.fixture(scope="session")
def tiny_sentence_encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained char-CNN-RNN encoder whose vectors differ from caption to caption."""
    from gancli.encoders.char_cnn_rnn import CharCnnRnn, encode_characters, save_char_cnn_rnn

    arguments = {"variant": "B", "dim": 12, "width": 6}
    with seeded(3):
        network = CharCnnRnn(**arguments)
        for parameter in network.parameters():
            parameter.mul_(8)
        captions = [f"a {color} bird{rest}" for color in COLORS for rest in ("", " with a long bill" * 3)]
        spread, mean = torch.std_mean(network(torch.from_numpy(encode_characters(captions))), dim=0)
        network.head.weight.div_(spread[:, None])
        network.head.bias.sub_(mean).div_(spread)
    folder = tmp_path_factory.mktemp("tiny") / "char-cnn-rnn"
    save_char_cnn_rnn(folder, network, {**PROVENANCE, "text": arguments})
    return folder


@pytest.fixture(scope="session")
def tiny_stackgan(tiny_sentence_encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained StackGAN of both stages, 16 and 32 pixels, with its text encoder."""
    from gancli.encoders.sentence import load_sentence_encoder

    return build_stackgan(
        load_sentence_encoder(tiny_sentence_encoder), tmp_path_factory.mktemp("tiny") / "stackgan"
    )


@pytest.fixture(scope="session")
def tiny_speech_encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained speech encoder of 8 mel bands whose vectors differ from clip to clip."""
    from gancli.encoders.speech import ImageBranch, SpeechEncoder, save_speech

    mel = MelSettings(bands=8)
    speech = {"bands": 8, "channels": [6, 8], "hidden": 6, "attention_dim": 5}
    image = {"backbone": "small", "dim": 12, "size": 16, "width": 4}
    with seeded(4):
        networks = SpeechEncoder(**speech), ImageBranch(**image)
        for parameter in networks[0].rnn.parameters():
            parameter.mul_(3)
    folder = tmp_path_factory.mktemp("tiny") / "speech"
    save_speech(folder, *networks, mel, {**PROVENANCE, "speech": speech, "image": image})
    return folder


def build_fusion_s2igan(encoder: SentenceEncoder | Speech, folder: Path, **arguments: object) -> Path:
    """Write an untrained Fusion-S2iGan of 16 pixels for captions or speech, whichever `encoder` takes."""
    from gancli.inference.fusion_s2igan import save_fusion_s2igan
    from gancli.models.fusion_s2igan import Generator
    from tests.defaults import arguments_with_defaults

    small = {"size": 16, "condition_dim": encoder.dim, "generator_width": 4, "noise_dim": 6}
    arguments = arguments_with_defaults(Generator, **(small | arguments))
    with seeded(5):
        generator = Generator(**arguments)
        for parameter in generator.parameters():  # initial ones hardly depend on the condition
            parameter.add_(0.2 * torch.randn_like(parameter))
    save_fusion_s2igan(folder, generator, encoder, {**PROVENANCE, "step": 7, "generator": arguments})
    return folder


@pytest.fixture(scope="session")
def tiny_fusion_s2igan(tiny_speech_encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained Fusion-S2iGan for speech."""
    from gancli.encoders.speech import load_speech

    return build_fusion_s2igan(load_speech(tiny_speech_encoder), tmp_path_factory.mktemp("tiny") / "fusion")


@pytest.fixture(scope="session")
def tiny_dfgan(tiny_sentence_encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained DF-GAN for captions: Fusion-S2iGan with DF-GAN's blocks."""
    from gancli.encoders.sentence import load_sentence_encoder

    encoder = load_sentence_encoder(tiny_sentence_encoder)
    return build_fusion_s2igan(encoder, tmp_path_factory.mktemp("tiny") / "dfgan", block="dfgan")


def build_csfgan(
    encoder: Path, folder: Path, *, holes: HoleSettings | None = None, **arguments: object
) -> Path:
    """Write an untrained CSF-GAN of 32 pixels that reads captions with the text half of a DAMSM."""
    from gancli.encoders.damsm import load_damsm
    from gancli.models.csfgan import Generator
    from gancli.weights_folder import write_folder
    from tests.defaults import arguments_with_defaults

    damsm = load_damsm(encoder)
    dim = int(damsm.settings["text"]["dim"])
    small = {"size": 32, "text_dim": dim, "generator_width": 4, "noise_dim": 6, "condition_dim": 5}
    arguments = arguments_with_defaults(Generator, **(small | arguments))
    with seeded(6):
        generator = Generator(**arguments)
        for parameter in generator.parameters():  # initial ones hardly depend on the condition
            parameter.add_(0.1 * torch.randn_like(parameter))
        words, padding_mask = torch.randn(8, dim, 16), torch.ones(8, 16, dtype=torch.bool)
        side = generator.size
        hole = torch.zeros(8, 1, side, side)
        hole[:, :, side // 4 : -side // 4, side // 4 : -side // 4] = 1
        for _ in range(20):  # batch statistics
            images, noise = torch.rand(8, 3, side, side) * 2 - 1, torch.randn(8, 11)
            generator(images, hole, torch.randn(8, dim), words, padding_mask, noise[:, :6], noise[:, 6:])
    settings = {
        "kind": "csfgan",
        **PROVENANCE,
        "words": 16,
        "step": 7,
        "encoder_hash": damsm.hash,
        "holes": (holes or HoleSettings("center", 0.5)).to_dict(),
        "window": "center",
        "word_discriminator": True,
        "edge": 0.5,
        "generator": arguments,
        "text": dict(damsm.settings["text"]),
    }
    write_folder(folder, {"generator": generator, "text_encoder": damsm.text}, damsm.vocabulary, settings)
    return folder


@pytest.fixture(scope="session")
def tiny_csfgan(tiny_encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained CSF-GAN of 32 pixels."""
    return build_csfgan(tiny_encoder, tmp_path_factory.mktemp("tiny") / "csfgan")


@pytest.fixture(params=["tiny_model", "tiny_stackgan"])
def any_model(request: pytest.FixtureRequest) -> Path:
    """A model that draws from captions, of each kind."""
    folder: Path = request.getfixturevalue(request.param)
    return folder


def forget_accuracy(encoder: Path) -> Path:
    """Let an encoder of two training steps score: without its accuracy, which is that of guessing."""
    settings = yaml.safe_load((encoder / "config.yaml").read_text(encoding="utf-8"))
    kept = {key: value for key, value in settings.items() if key not in ("accuracy", "chance", "held_out")}
    (encoder / "config.yaml").write_text(yaml.safe_dump(kept, sort_keys=False), encoding="utf-8")
    return encoder


@pytest.fixture
def judges_at_chance(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let encoders of two training steps score, which are no better than guessing."""
    from gancli.scores import features

    monkeypatch.setattr(features, "_learned", lambda settings, folder: (None, None))
