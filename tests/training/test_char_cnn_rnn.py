"""Pretraining the character encoder: its batches, its report, what a run leaves, exact resume."""

from __future__ import annotations

import shutil
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file

from gancli.config import load_recipe
from gancli.config.char_cnn_rnn import CharCnnRnnRecipe
from gancli.data.shards import Dataset
from gancli.encoders.char_cnn_rnn import (
    CharCnnRnn,
    CharCnnRnnPretraining,
    encode_characters,
    load_char_cnn_rnn,
)
from gancli.encoders.vectors import VectorFile
from gancli.engine.events import Events
from gancli.errors import DataError
from gancli.training import pretrain_encoder
from gancli.training.char_cnn_rnn import ClassPairs, class_retrieval, count_captions
from tests.defaults import make_model

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def data(tiny_dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny dataset, for features to be kept in."""
    return Path(shutil.copytree(tiny_dataset, tmp_path_factory.mktemp("char") / "cub"))


def recipe(data: Path, encoder: Path, *changes: str) -> CharCnnRnnRecipe:
    small = ["model.dim=16", "model.width=6", "train.minutes=null", "train.log_every=1"]
    loaded = load_recipe(
        "char-cnn-rnn/demo", [f"data={data}", f"features.encoder={encoder}", *small, *changes]
    )
    assert isinstance(loaded, CharCnnRnnRecipe)
    return loaded


@pytest.fixture
def split(data):
    return Dataset.open(data).split("train")


@pytest.fixture
def features(split, tmp_path):
    """Features that name their image and view: (12, 3, 2)."""
    image, view = np.indices((len(split), 3))
    np.save(tmp_path / "features.npy", np.stack([image, view], axis=2).astype(np.float16))
    return VectorFile(tmp_path / "features.npy")


# --- batches --------------------------------------------------------------------------------------------------


def test_a_batch_is_one_image_of_each_class_with_its_own_caption(split, features):
    pairs = ClassPairs(split, features, batch=2, seed=3)
    own = [{tuple(row) for row in encode_characters(split.captions(index))} for index in range(len(split))]
    seen = set()
    for step in range(60):
        batch = pairs[step]
        indices = batch.features[:, 0].long().tolist()
        assert len(set(split.class_ids[indices])) == 2
        for index, row in zip(indices, batch.characters.tolist(), strict=True):
            assert tuple(row) in own[index]
            seen.add((index, tuple(row)))
        assert batch.features[:, 1].max() <= 2
    assert len(seen) == sum(map(len, own)), "every caption of every image is drawn sooner or later"


def test_a_batch_depends_on_seed_and_step_only(split, features):
    pairs = ClassPairs(split, features, batch=2, seed=3)
    later = pairs[7]
    again = ClassPairs(split, features, batch=2, seed=3)[7]
    torch.testing.assert_close(later.features, again.features)
    torch.testing.assert_close(later.characters, again.characters)
    others = [pairs[8], ClassPairs(split, features, batch=2, seed=4)[7]]
    assert not any(torch.equal(later.characters, other.characters) for other in others)


def test_all_classes_where_there_are_fewer_than_a_batch(split, features):
    pairs = ClassPairs(split, features, batch=40, seed=0)
    assert pairs.batch == len(pairs) == len(np.unique(split.class_ids)) == 2
    assert len(pairs[0].features) == 2


def test_one_class_is_refused(split, features):
    split.class_ids[:] = 1
    with pytest.raises(DataError, match="are of one class"):
        ClassPairs(split, features, batch=40, seed=0)


# --- the report -----------------------------------------------------------------------------------------------


def test_class_retrieval_is_the_definition(split, tmp_path):
    rng = np.random.default_rng(0)
    np.save(tmp_path / "features.npy", rng.normal(size=(len(split), 1, 4)).astype(np.float16))
    features = VectorFile(tmp_path / "features.npy")
    split.class_ids[:] = np.arange(len(split)) % 5  # classes of unequal size
    torch.manual_seed(0)
    model = make_model(CharCnnRnnPretraining, CharCnnRnn(dim=3, width=12), torch.nn.Linear(4, 3))
    with torch.no_grad():
        for parameter in model.text.parameters():
            parameter.mul_(5)
        report = class_retrieval(model, split, features, CPU)

        images = model.image(torch.from_numpy(features.vectors[:, 0].astype(np.float32))).double().numpy()
        texts = [
            model.text(torch.from_numpy(encode_characters(split.captions(i)))).double().numpy()
            for i in range(len(split))
        ]
    owners = np.repeat(np.arange(len(split)), [len(each) for each in texts])
    of_text, of_image = split.class_ids[owners], split.class_ids
    flat = np.concatenate(texts)
    by_text = [np.mean([v for v, c in zip(flat, of_text, strict=True) if c == k], axis=0) for k in range(5)]
    by_image = [
        np.mean([v for v, c in zip(images, of_image, strict=True) if c == k], axis=0) for k in range(5)
    ]
    found = [int(np.argmax([image @ mean for mean in by_text])) for image in images]
    named = [int(np.argmax([text @ mean for mean in by_image])) for text in flat]
    assert report == {
        "image_to_class": pytest.approx(100 * np.mean(np.array(found) == of_image)),
        "text_to_class": pytest.approx(100 * np.mean(np.array(named) == of_text)),
        "chance": 20.0,
    }
    part = class_retrieval(model, split, features, CPU, images=6, captions=1)
    assert set(part) == set(report)


class Captions:
    """What `count_captions` needs of a split."""

    def __init__(self, captions):
        self.each = captions

    def __len__(self):
        return len(self.each)

    def captions(self, index):
        return self.each[index]


def test_captions_that_are_not_read_as_written_are_counted():
    captions = Captions([["a" * 201, "a" * 202], ["É" * 300, "A Bird, Red."], ["naïve"]])
    assert count_captions(captions) == (5, 2, 2)


def test_317_captions_of_cub_are_longer_than_what_is_read(shared_data):
    from gancli.data.text import clean_caption

    captions = []
    with tarfile.open(shared_data / "cub_captions_full.tar.gz") as archive:
        for member in archive:
            if member.name.endswith(".txt"):
                file = archive.extractfile(member)
                assert file is not None
                lines = file.read().decode("utf-8").split("\n")
                captions.append([clean_caption(line) for line in lines if line.strip()])
    assert len(captions) == 11_788
    total, cut, _ = count_captions(Captions(captions))
    assert total >= 10 * 11_788 - 100
    assert cut == 317


# --- runs -----------------------------------------------------------------------------------------------------


def test_a_run_leaves_an_encoder_and_its_report(data, tiny_encoder, tmp_path):
    events = []
    result = pretrain_encoder(
        recipe(data, tiny_encoder, "train.epochs=2"),
        out=tmp_path / "encoder",
        runs=tmp_path / "runs",
        events=Events(events.append),
    )
    assert result.run.name == "0001-char-cnn-rnn-cub"
    assert (result.loop.step, result.loop.images) == (4, 8)  # 2 classes: 2 steps an epoch, 2 pairs a step
    header, *rows = (result.run / "metrics.csv").read_text().splitlines()
    assert header == "step,images_seen,image_to_class,text_to_class,chance"
    assert [row.split(",")[0] for row in rows] == ["2", "4"]
    assert all(row.endswith(",50") or row.endswith(",50.0") for row in rows)

    encoder = load_char_cnn_rnn(result.output)
    assert encoder.dim == 16
    settings = yaml.safe_load((result.output / "config.yaml").read_text())
    assert settings["features"]["network"] == "small (damsm)"
    assert len(settings["encoder_hash"]) == 64
    assert settings["retrieval"]["split"] == "test"
    assert settings["retrieval"]["chance"] == 50
    last = [event for event in events if event.kind == "metrics"][-1]
    assert "chance 50.0 %" in last.text
    assert load_char_cnn_rnn(result.run / "model").hash == encoder.hash


@pytest.mark.parametrize("dim", [8, 16])
def test_features_of_another_width_are_mapped(data, tiny_encoder, tmp_path, dim):
    width = 8  # of the tiny encoder's backbone
    changes = ["train.steps=1", f"model.dim={dim}"]
    result = pretrain_encoder(
        recipe(data, tiny_encoder, *changes), out=tmp_path / "encoder", runs=tmp_path / "runs"
    )
    tensors = load_file(result.output / "weights.safetensors")
    if dim == width:
        assert not any(name.startswith("image.") for name in tensors)
    else:
        assert tensors["image.weight"].shape == (dim, width)


def test_a_resumed_run_ends_with_the_same_weights(data, tiny_encoder, tmp_path):
    def train(steps, **options):
        return pretrain_encoder(
            recipe(data, tiny_encoder, f"train.steps={steps}"), out=tmp_path / "encoder", **options
        )

    straight = load_file(train(5, runs=tmp_path / "a").output / "weights.safetensors")
    half = train(3, runs=tmp_path / "b")
    whole = train(5, resume=half.run)
    assert whole.run == half.run
    resumed = load_file(whole.output / "weights.safetensors")
    assert all(torch.equal(tensor, resumed[name]) for name, tensor in straight.items())


def test_the_rate_falls_after_each_epoch(data, tiny_encoder, tmp_path):
    changes = ["train.steps=5", "optim.lr=0.001", "optim.lr_decay=0.5"]
    result = pretrain_encoder(
        recipe(data, tiny_encoder, *changes), out=tmp_path / "encoder", runs=tmp_path / "runs"
    )
    state = torch.load(result.run / "checkpoints/step-00000005/state.pt", weights_only=True)
    (optimizer,) = (
        state["optimizers"].values() if isinstance(state["optimizers"], dict) else state["optimizers"]
    )
    assert optimizer["param_groups"][0]["lr"] == pytest.approx(0.00025)  # two epochs of two steps
