"""Which captions of a dataset are drawn: random ones, or the first ones of each image, of all images or some."""

import numpy as np
import pytest

from gancli.data.shards import Dataset
from gancli.errors import DataError, UsageError
from gancli.sampling.captions import DatasetCaptions
from gancli.sampling.requests import first_of_classes, in_turn
from gancli.sampling.sample import sample
from gancli.sampling.samples_folder import read_sampling


@pytest.fixture
def split(tiny_dataset):
    return Dataset.open(tiny_dataset).split("test")


@pytest.mark.parametrize("count", [1, 2, 5, 100])
def test_first_of_classes_are_the_first_by_name(split, count):
    expected = []
    for class_id in set(split.class_ids.tolist()):
        keys = sorted(key for key, each in zip(split.keys, split.class_ids, strict=True) if each == class_id)
        expected += keys[:count]
    assert sorted(split.keys[place] for place in first_of_classes(split, count)) == sorted(expected)


class Repeated:
    """A split of one image whose captions say the same twice."""

    keys = ("a",)
    class_ids = np.array([3])

    def captions(self, index):
        return ["a bird", "a red bird", "a bird"]


def test_a_sentence_that_an_image_has_twice_gets_two_images():
    requests = in_turn(Repeated(), np.array([0]), 10)
    assert [(r.caption, r.variant, r.position, r.class_id) for r in requests] == [
        ("a bird", 0, 0, 3),
        ("a red bird", 0, 1, 3),
        ("a bird", 1, 2, 3),
    ]


def test_random_captions_of_the_first_images(split, tiny_dataset):
    requests = DatasetCaptions(tiny_dataset, n=9, images_per_class=1).choose(Dataset.open(tiny_dataset), 1)
    assert len(requests) == 9
    first = first_of_classes(split, 1).tolist()
    assert {request.index for request in requests} == set(first)
    for start in range(0, 9 - len(first) + 1, len(first)):  # a pass takes each image once
        assert sorted(request.index for request in requests[start : start + len(first)]) == first


def test_random_captions_of_all_images_are_those_they_always_were(split, tiny_dataset):
    rng = np.random.default_rng([4, 0])
    order, chances = rng.permutation(len(split)), rng.random(len(split))
    expected = [
        split.captions(place)[int(chance * len(split.captions(place)))]
        for place, chance in zip(order, chances, strict=True)
    ]
    requests = DatasetCaptions(tiny_dataset).choose(Dataset.open(tiny_dataset), 4)
    assert [request.caption for request in requests] == expected


def test_the_choice_is_kept_with_the_images(tiny_model, tiny_dataset, split, tmp_path):
    source = DatasetCaptions(tiny_dataset, images_per_class=1, captions_per_image=2)
    report = sample(tiny_model, source=source, out=tmp_path / "out")
    classes = len(set(split.class_ids.tolist()))
    assert len(report.files) == 2 * classes
    sampling = read_sampling(tmp_path / "out")
    assert (sampling.images_per_class, sampling.captions_per_image) == (1, 2)


def test_choices_that_do_not_go_together(tiny_model, tiny_dataset, tmp_path, monkeypatch):
    with pytest.raises(UsageError, match="two ways to choose"):
        DatasetCaptions(tiny_dataset, n=3, captions_per_image=2)
    with pytest.raises(UsageError, match="images_per_class has to be at least 1"):
        DatasetCaptions(tiny_dataset, images_per_class=0)
    monkeypatch.setattr(Dataset, "split", lambda self, name: Empty())
    with pytest.raises(DataError, match="is empty"):
        sample(tiny_model, out=tmp_path / "out", source=DatasetCaptions(tiny_dataset))
    assert not (tmp_path / "out").exists()


class Empty:
    """A split without images."""

    folder, name = "data", "test"

    def __len__(self):
        return 0
