"""mAP and R@k of folders of images: what queries, what the gallery is, and what a collapsed generator gets."""

import csv

import numpy as np
import pytest
import torch
from PIL import Image

from gancli.data.shards import Dataset
from gancli.errors import DataError, UsageError
from gancli.sampling.captions import DatasetCaptions
from gancli.sampling.sample import sample
from gancli.sampling.samples_folder import SAMPLES, GeneratedImage, write_samples
from gancli.scores.features import FeatureNetwork
from gancli.scores.image_retrieval import score_map, score_recall
from gancli.scores.image_sets import open_images


@pytest.fixture
def network():
    """An image shrunk to 4 x 4: equal images have equal features."""
    return FeatureNetwork(
        name="pixels",
        sha256="c" * 64,
        dim=48,
        resize="area",
        prepare=lambda images: torch.nn.functional.adaptive_avg_pool2d(images, 4),
        network=lambda images: images.flatten(1) - 128,
        device=torch.device("cpu"),
    )


@pytest.fixture
def split(tiny_dataset):
    return Dataset.open(tiny_dataset).split("test")


@pytest.fixture
def copies(tiny_dataset, split, tmp_path):
    """Writes a folder of images: for each place of the split named, the real image of another place."""

    def make(of, shown, name="copies"):
        folder = tmp_path / name
        folder.mkdir()
        real = [image for batch in open_images(f"{tiny_dataset}:test").batches(50) for image in batch]
        records = []
        for number, (place, image) in enumerate(zip(of, shown, strict=True)):
            file = f"{number}.png"
            Image.fromarray(real[image]).save(folder / file)
            class_id = int(split.class_ids[place])
            records.append(GeneratedImage(file, "a bird", split.keys[place], class_id, 0, number, 32))
        write_samples(folder, records)
        return str(folder)

    return make


def first_two(split):
    return [
        place
        for class_id in sorted(set(split.class_ids.tolist()))
        for place in sorted(np.flatnonzero(split.class_ids == class_id), key=lambda at: split.keys[at])[:2]
    ]


def test_map_of_the_protocols_samples(tiny_model, tiny_dataset, split, network, tmp_path):
    folder = str(tmp_path / "samples")
    sample(
        tiny_model,
        out=tmp_path / "samples",
        source=DatasetCaptions(tiny_dataset, images_per_class=2, captions_per_image=3),
    )
    generated, real = score_map(folder, network)
    classes = len(set(split.class_ids.tolist()))
    assert (generated.n_real, generated.n_fake) == (2 * classes, 6 * classes)
    assert generated.protocol.startswith(
        "mAP of 2 real images per class, gallery of generated images: 3 of each of these images;"
    )
    assert (generated.queries, generated.queries_per_class, generated.gallery) == (
        2 * classes,
        2,
        6 * classes,
    )
    assert (generated.gallery_images, generated.gallery_least, generated.gallery_most) == ("generated", 3, 3)
    assert (real.gallery_images, real.gallery) == ("real", len(split) - 2 * classes)
    assert (generated.images, real.images, real.release) == ("generated", "real", "CUB-200-2011")
    assert (generated.metric, generated.method.partition(" [")[0], generated.split) == (
        "map",
        "FF-GAN",
        "test",
    )
    assert (generated.network, generated.network_sha256) == ("pixels", "c" * 64)
    assert 0 < generated.value <= 100
    assert generated.note == ""
    assert (real.method, real.n_real, real.n_fake) == ("real", len(split), 0)
    assert "other real images" in real.protocol


def test_map_of_the_real_images_themselves_agrees_with_a_loop(copies, split, network, tiny_dataset):
    queries = first_two(split)
    folder = copies(queries, queries)
    row = score_map(folder, network, data=f"{tiny_dataset}:test")[0]
    images = [p for batch in open_images(f"{tiny_dataset}:test").batches(50) for p in batch]
    vectors = network([images[place] for place in queries]).double().numpy()
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    values = []
    for number, place in enumerate(queries):
        ranking = sorted(range(len(queries)), key=lambda at: -float(vectors[number] @ vectors[at]))
        relevant = [split.class_ids[queries[at]] == split.class_ids[place] for at in ranking]
        shares = [sum(relevant[: rank + 1]) / (rank + 1) for rank in range(len(relevant)) if relevant[rank]]
        values.append(np.mean(shares))
    assert row.value == pytest.approx(100 * np.mean(values))
    assert "1 of each of these images" in row.protocol


def test_images_of_other_images_are_left_out_of_the_gallery(copies, split, network, tiny_dataset):
    queries = first_two(split)
    alone = score_map(copies(queries, queries, "alone"), network, data=f"{tiny_dataset}:test")[0]
    every = list(range(len(split)))
    more = score_map(copies(every, every, "all"), network, data=f"{tiny_dataset}:test")[0]
    assert (more.value, more.n_fake, more.protocol) == (alone.value, alone.n_fake, alone.protocol)


def test_samples_of_another_shape_are_all_taken_and_say_so(copies, split, network, tiny_dataset):
    queries = first_two(split)
    others = [place for place in range(len(split)) if place != queries[0]]
    row = score_map(copies(others, others), network, data=f"{tiny_dataset}:test")[0]
    assert row.n_fake == len(others)
    assert f"all {len(others)}, because 1 of these images have none of their own" in row.protocol
    assert (row.gallery, row.gallery_least) == (len(others), 0)


def test_classes_that_were_not_drawn_do_not_query(copies, split, network, tiny_dataset):
    one = [place for place in range(len(split)) if split.class_ids[place] == split.class_ids[0]]
    row = score_map(copies(one, one), network, data=f"{tiny_dataset}:test")[0]
    assert row.n_real == 2
    assert "queries left out" in row.note
    assert row.value == 100  # nothing else is in the gallery


def test_a_collapsed_generator_comes_out_at_chance(copies, split, network, tiny_dataset):
    of = np.repeat(first_two(split), 10).tolist()
    folder = copies(of, [0] * len(of))
    values = [score_map(folder, network, data=f"{tiny_dataset}:test", seed=seed)[0] for seed in range(40)]
    assert np.mean([row.value for row in values]) == pytest.approx(values[0].chance, rel=0.1)
    recalls = [
        score_recall(folder, network, ranks=[5], data=f"{tiny_dataset}:test", seed=seed)[0]
        for seed in range(40)
    ]
    assert np.mean([row.value for row in recalls]) == pytest.approx(recalls[0].chance, rel=0.1)


def test_recall_of_the_real_images_themselves(copies, split, network, tiny_dataset):
    every = list(range(len(split)))
    rows = score_recall(copies(every, every), network, data=f"{tiny_dataset}:test", ranks=[5, 1, 5])
    assert [(row.metric, row.value, row.n_real, row.n_fake) for row in rows] == [
        ("recall_at_1", 100, 12, 12),
        ("recall_at_5", 100, 12, 12),
    ]
    assert "chance 8.33 %" in rows[0].protocol


def test_recall_of_shifted_images_agrees_with_a_loop(copies, split, network, tiny_dataset):
    of = [place for place in range(len(split)) for _ in range(2)]
    shown = [(place * 5 + 1) % len(split) for place in of]
    rows = score_recall(copies(of, shown), network, data=f"{tiny_dataset}:test", ranks=[2, 4, 8])
    images = [p for batch in open_images(f"{tiny_dataset}:test").batches(50) for p in batch]
    vectors = network(images).double().numpy()
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    for row, k in zip(rows, (2, 4, 8), strict=True):
        hits = 0
        for place in range(len(split)):
            ranking = sorted(
                range(len(of)), key=lambda at: -round(float(vectors[place] @ vectors[shown[at]]), 10)
            )
            hits += any(of[at] == place for at in ranking[:k])
        assert row.value == pytest.approx(100 * hits / len(split))


def test_recall_of_a_part_of_the_split_and_of_a_k_that_is_too_large(copies, network, tiny_dataset):
    rows = score_recall(copies([0, 1, 2], [3, 3, 3]), network, data=f"{tiny_dataset}:test", ranks=[2, 50])
    assert [row.metric for row in rows] == ["recall_at_2", "recall_at_50"]
    assert rows[1].value == 100
    assert "k = 50 is more than the 3 generated images" in rows[1].note
    assert all("9 of 12 images were not drawn" in row.note for row in rows)


def test_an_encoder_that_the_generator_learned_from_is_noted(
    tiny_model, tiny_dataset, tiny_encoder, tmp_path
):
    from gancli.scores.features import load_features

    sample(tiny_model, out=tmp_path / "samples", source=DatasetCaptions(tiny_dataset))
    row = score_recall(str(tmp_path / "samples"), load_features(f"encoder:{tiny_encoder}"))[0]
    assert "this very encoder" in row.note


def test_what_cannot_be_scored(copies, split, network, tiny_dataset, tiny_model, tmp_path):
    sample(tiny_model, out=tmp_path / "own", texts=["a white bird"])
    for score in (score_map, score_recall):
        with pytest.raises(UsageError, match="which dataset"):
            score(str(tmp_path / "own"), network)
        with pytest.raises(UsageError, match="is a dataset"):
            score(f"{tiny_dataset}:test", network)
        with pytest.raises(DataError, match="has no image"):
            score(copies([0], [0], score.__name__), network, data=f"{tiny_dataset}:train")
    with pytest.raises(UsageError, match=r"at least 1\. Received: 0"):
        score_recall(str(tmp_path / "own"), network, ranks=[0])


def test_without_classes_there_is_no_map(copies, network, tiny_dataset, monkeypatch):
    folder = copies([0], [0])
    monkeypatch.setattr(Dataset, "open", without_classes(Dataset.open))
    with pytest.raises(UsageError, match="has no classes") as error:
        score_map(folder, network, data=f"{tiny_dataset}:test")
    assert "recall" in str(error.value.hint)
    assert score_recall(folder, network, data=f"{tiny_dataset}:test")[0].n_real == 1


def without_classes(opened):
    def open_without(folder):
        dataset = opened(folder)
        dataset.class_names = []
        return dataset

    return open_without


def test_samples_csv_lists_captions_in_turn(tiny_model, tiny_dataset, split, tmp_path):
    sample(
        tiny_model, out=tmp_path, source=DatasetCaptions(tiny_dataset, captions_per_image=2), overwrite=True
    )
    rows = list(csv.DictReader((tmp_path / SAMPLES).open()))
    assert [(row["key"], row["caption"]) for row in rows] == [
        (key, caption) for place, key in enumerate(split.keys) for caption in split.captions(place)[:2]
    ]


@pytest.mark.parametrize("score", [score_map, score_recall])
def test_s2igans_range_is_for_generated_images_alone_and_stands_in_the_row(
    score, copies, split, tiny_dataset
):
    seen = []

    def look(images):
        seen.append((float(images.min()), float(images.max())))
        return images.flatten(1)

    network = FeatureNetwork(
        name="pixels",
        sha256="c" * 64,
        dim=48,
        resize="area",
        prepare=lambda images: torch.nn.functional.adaptive_avg_pool2d(images, 4) / 127.5 - 1,
        network=look,
        device=torch.device("cpu"),
    )
    every = list(range(len(split)))
    rows = score(copies(every, every), network, data=f"{tiny_dataset}:test", compat_s2igan=True)
    (generated, *_), real = seen[0], seen[1]
    assert generated >= 0
    assert real[0] < 0
    assert "[0, 1]" in rows[0].resize
    assert all("[0, 1]" not in row.resize for row in rows if row.method == "real")


def test_map_with_listed_queries(copies, split, network, tiny_dataset, tmp_path):
    places = first_two(split)
    folder = copies(places, places)
    listed = tmp_path / "queries.txt"
    data = f"{tiny_dataset}:test"
    listed.write_text("".join(f"{split.keys[place]}\n" for place in places))
    row, usual = (score_map(folder, network, data=data, queries=queries)[0] for queries in (listed, None))
    assert row.value == pytest.approx(usual.value)
    assert (row.queries_file, row.queries_per_class) == (str(listed), 2)
    assert len(row.queries_sha256) == 64
    listed.write_text(f"{split.keys[places[0]].rpartition('/')[2]}.jpg\n")
    alone = score_map(folder, network, data=data, queries=listed)[0]
    assert (alone.queries, alone.n_real) == (1, 1)
    listed.write_text("nobody\n")
    with pytest.raises(DataError, match="1 images that split 'test' does not have: nobody"):
        score_map(folder, network, data=data, queries=listed)
