"""Pretraining the speech encoder: what it holds out, its batches, its report, that it learns, exact resume."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file
from torch import nn

from gancli.config import load_recipe
from gancli.config.speech import SpeechRecipe
from gancli.data.audio import MelSettings
from gancli.data.loader import BatchSource, batches
from gancli.data.shards import Dataset
from gancli.encoders.speech import embed_speech, load_speech
from gancli.engine.events import Event, Events
from gancli.errors import DataError
from gancli.training import pretrain_encoder
from gancli.training.speech import SpokenPairs, retrieval_report, set_aside
from tests.conftest import write_spoken

SMALL = (
    "model.width=4", "model.size=16", "model.hidden=8", "model.attention_dim=4", "model.channels=[8,8]",
    "loader.batch=3", "train.minutes=null", "train.steps=2", "validation.every=1",
)  # fmt: skip


def recipe(data: Path, *changes: str) -> SpeechRecipe:
    loaded = load_recipe("speech/demo", [f"data={data}", *SMALL, *changes])
    assert isinstance(loaded, SpeechRecipe)
    return loaded


@pytest.fixture
def data(tiny_spoken: Path, tmp_path: Path) -> Path:
    """The tiny spoken dataset, for vectors to be kept in."""
    return Path(shutil.copytree(tiny_spoken, tmp_path / "cub", ignore=shutil.ignore_patterns("embeddings")))


def test_it_learns_and_says_what_it_reaches(data: Path, tmp_path: Path) -> None:
    result = pretrain_encoder(
        recipe(
            data, "validation.by=image", "validation.share=0.25", "train.steps=null", "train.epochs=20",
            "optim.lr=0.01", "optim.decay_every=50",
        ),
        out=tmp_path / "speech",
        runs=tmp_path / "runs",
    )  # fmt: skip
    assert result.run.name == "0001-speech-cub"
    encoder = load_speech(result.output)
    assert encoder.mel == MelSettings(bands=8)
    settings = encoder.settings
    assert (settings["dataset"]["name"], settings["images"], settings["held_out"]) == ("cub", 9, 3)
    report = settings["retrieval"]
    assert (report["split"], report["images"]) == ("test", 12)
    assert 0 <= report["map"] <= 100
    with (result.run / "metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 20, "after every epoch"
    best = max(rows, key=lambda row: float(row["map"]))
    assert float(best["map"]) > 90, "both training classes are known"
    assert str(settings["step"]) == best["step"]
    with (result.run / "log.csv").open(newline="") as file:
        last = list(csv.DictReader(file))[-1]
    assert float(last["speech.distinctive"]) < 0.5 < 2 * np.log(2)


def test_it_leaves_the_vectors_of_every_spoken_caption(data: Path, tmp_path: Path) -> None:
    result = pretrain_encoder(recipe(data), out=tmp_path / "speech", runs=tmp_path / "runs")
    kept = sorted(path.name for path in (data / "embeddings").iterdir())
    assert [name.partition("-")[0] for name in kept] == ["test", "train"]
    encoder = load_speech(result.output)
    split = Dataset.open(data).split("train")
    vectors = embed_speech(split, encoder)
    assert sorted(path.name for path in (data / "embeddings").iterdir()) == kept, "found, not computed again"
    assert (len(vectors), vectors.dim) == (len(split), 16)
    for index in (0, 7):
        expected = encoder.encode_mels(split.speech(index)).numpy()
        np.testing.assert_allclose(vectors.of(index), expected, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(vectors.file.vectors, axis=1), 1, rtol=1e-5)


def test_speech_with_other_settings_is_refused(data: Path, tiny_dataset: Path, tmp_path: Path) -> None:
    result = pretrain_encoder(recipe(data), out=tmp_path / "speech", runs=tmp_path / "runs")
    encoder = load_speech(result.output)
    other = write_spoken(tiny_dataset, tmp_path / "other", MelSettings(bands=8, hop_ms=20, cmvn=False))
    with pytest.raises(DataError, match=r"hop_ms 20 instead of 10; cmvn False instead of True"):
        embed_speech(Dataset.open(other).split("train"), encoder)
    with pytest.raises(DataError, match="not spoken"):
        embed_speech(Dataset.open(tiny_dataset).split("train"), encoder)


def test_a_dataset_without_speech_is_refused(tiny_dataset: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="not spoken"):
        pretrain_encoder(recipe(tiny_dataset), out=tmp_path / "speech", runs=tmp_path / "runs")
    assert not (tmp_path / "runs").exists()


def test_the_distinctive_loss_needs_classes(data: Path, tmp_path: Path) -> None:
    manifest = data / "dataset.json"
    text = manifest.read_text()
    start = text.index('"class_names"')
    manifest.write_text(text[:start] + '"class_names": null' + text[text.index("]", start) + 1 :])
    with pytest.raises(DataError, match="no classes") as caught:
        pretrain_encoder(recipe(data), out=tmp_path / "speech", runs=tmp_path / "runs")
    assert "loss.distinctive=0" in str(caught.value.hint)
    result = pretrain_encoder(
        recipe(data, "loss.distinctive=0", "validation.metric=recall"),
        out=tmp_path / "speech",
        runs=tmp_path / "runs",
    )
    assert set(result.loop.last) == {"speech.matching"}


@pytest.mark.parametrize("changes", [["validation.by=class"], ["validation.metric=recall"]])
def test_where_every_checkpoint_does_as_well_the_last_is_kept(
    data: Path, tmp_path: Path, changes: list[str]
) -> None:
    """One of two classes is held out, or fewer images than are counted as found: the first look would be the best."""
    seen: list[Event] = []
    result = pretrain_encoder(
        recipe(data, "train.steps=6", *changes),
        out=tmp_path / "speech",
        runs=tmp_path / "runs",
        events=Events(seen.append),
    )
    assert load_speech(result.output).settings["step"] == 6
    assert any(event.kind == "warning" and "the last one is kept" in event.text for event in seen)


def test_selecting_on_test_trains_on_everything(data: Path, tmp_path: Path) -> None:
    result = pretrain_encoder(
        recipe(data, "validation.select_on=test"), out=tmp_path / "speech", runs=tmp_path / "runs"
    )
    settings = load_speech(result.output).settings
    assert (settings["images"], settings["held_out"]) == (12, 0)


def test_a_resumed_run_ends_with_the_same_weights(data: Path, tmp_path: Path) -> None:
    straight = pretrain_encoder(recipe(data, "train.steps=4"), out=tmp_path / "one", runs=tmp_path / "a")
    half = pretrain_encoder(recipe(data), out=tmp_path / "two", runs=tmp_path / "b")
    pretrain_encoder(recipe(data, "train.steps=4"), out=tmp_path / "two", resume=half.run)
    expected = load_file(straight.run / "model" / "weights.safetensors")
    resumed = load_file(half.run / "model" / "weights.safetensors")
    assert all(torch.equal(tensor, resumed[name]) for name, tensor in expected.items())


# --- what it is made of


@given(
    st.lists(st.integers(0, 6), min_size=2, max_size=60).filter(lambda groups: len(set(groups)) > 1),
    st.floats(0.01, 0.99),
    st.integers(0, 5),
)
def test_no_group_is_on_both_sides(numbers: list[int], share: float, seed: int) -> None:
    groups = np.array(numbers)
    training, aside = set_aside(groups, share, seed)
    assert sorted([*training, *aside]) == list(range(len(groups)))
    assert not set(groups[training]) & set(groups[aside])
    count = len(set(numbers))
    assert len(set(groups[aside])) == min(max(2, round(share * count)), count - 1)
    again = set_aside(groups, share, seed)
    assert again[1].tolist() == aside.tolist()


def source(data: Path, **options) -> SpokenPairs:
    images = BatchSource(Dataset.open(data).split("train"), sizes=[16], batch=4, words=0, seed=3)
    return SpokenPairs(images, **options)


def test_a_batch_is_a_function_of_its_step(data: Path) -> None:
    pairs = source(data)
    for step in (0, 5):
        one, two = pairs[step], next(batches(source(data), step, step + 1, 1))
        for name in ("images", "mels", "lengths", "class_ids"):
            assert torch.equal(getattr(one, name), getattr(two, name))
    assert not torch.equal(pairs[0].mels[:, :16], pairs[3].mels[:, :16])


def test_each_image_comes_with_one_of_its_own_spoken_captions(data: Path) -> None:
    pairs = source(data)
    split = pairs.images.split
    heard = set()
    for step in range(12):
        batch = pairs[step]
        assert batch.mels.dtype == torch.float32
        assert batch.mels.shape[1] == batch.lengths.max()
        indices = pairs.images[step].indices.tolist()
        for index, mel, length in zip(indices, batch.mels, batch.lengths.tolist(), strict=True):
            own = [number for number, spoken in enumerate(split.speech(index)) if len(spoken) == length]
            (number,) = [n for n in own if np.array_equal(split.speech(index)[n], mel[:length].numpy())]
            assert (mel[length:] == 0).all()
            heard.add(number)
    assert heard == {0, 1, 2}


def test_one_utterance_is_read_alone(data: Path) -> None:
    split = Dataset.open(data).split("train")
    for number, spoken in enumerate(split.speech(7)):
        assert np.array_equal(split.utterance(7, number), spoken)
    with pytest.raises(IndexError, match="utterance 3 of image 7, which has 3"):
        split.utterance(7, 3)


def test_long_captions_give_windows(data: Path) -> None:
    cut, whole = source(data, max_frames=20)[0], source(data)[0]
    assert cut.lengths.tolist() == whole.lengths.clamp(max=20).tolist()
    for row, length in enumerate(cut.lengths.tolist()):
        windows = whole.mels[row, : whole.lengths[row]].unfold(0, length, 1).transpose(1, 2)
        assert any(torch.equal(window, cut.mels[row, :length]) for window in windows)


class Lookup(nn.Module):
    """Gives the next vectors of a list instead of looking at images."""

    def __init__(self, vectors: torch.Tensor) -> None:
        super().__init__()
        self.vectors = vectors
        self.given = 0

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        self.given += len(images)
        return self.vectors[self.given - len(images) : self.given]


def test_the_report_is_what_its_definitions_say(data: Path) -> None:
    """One query, one rank, one image at a time."""
    split = Dataset.open(data).split("test")
    indices = np.arange(len(split))[::-1][:10].copy()
    rng = np.random.default_rng(1)
    spoken, images = (rng.normal(size=(10, 5)) for _ in range(2))
    found = retrieval_report(
        torch.from_numpy(spoken).float(), Lookup(torch.from_numpy(images).float()), split, indices, 16, 4
    )

    def ranking(query: np.ndarray, gallery: np.ndarray) -> list[int]:
        cosines = gallery @ query / np.linalg.norm(gallery, axis=1)
        return sorted(range(10), key=lambda item: -cosines[item])

    classes = split.class_ids[indices].tolist()
    precisions = []
    for name in sorted(set(classes)):
        hits, shares = 0, []
        for rank, item in enumerate(ranking(spoken[classes.index(name)], images), start=1):
            if classes[item] == name:
                hits += 1
                shares.append(hits / rank)
        precisions.append(sum(shares) / len(shares))
    assert found["map"] == pytest.approx(100 * sum(precisions) / len(precisions))
    ranks = {
        "speech_to_image": [ranking(spoken[item], images).index(item) + 1 for item in range(10)],
        "image_to_speech": [ranking(images[item], spoken).index(item) + 1 for item in range(10)],
    }
    for direction, own in ranks.items():
        for k in (1, 5, 10):
            assert found[f"{direction}_{k}"] == pytest.approx(10 * sum(rank <= k for rank in own))
        assert found[f"{direction}_median"] == np.median(own)
    assert [found[f"chance_{k}"] for k in (1, 5, 10)] == [10, 50, 100]
    assert found["chance_median"] == 5.5


def test_vectors_that_tell_nothing_apart_reach_chance(data: Path) -> None:
    split = Dataset.open(data).split("test")
    indices = np.arange(len(split))
    found = retrieval_report(torch.ones(12, 4), Lookup(torch.ones(12, 4)), split, indices, 16, 5)
    assert found["speech_to_image_1"] == pytest.approx(found["chance_1"])
    assert found["image_to_speech_median"] == found["chance_median"]
