"""Splits by a list of test images: which images it moves, and lists of other datasets."""

from __future__ import annotations

import pickle

import pytest

from gancli.data.sources import cub
from gancli.data.sources.test_list import with_test_list
from gancli.errors import DataError


def keys(source):
    return [sample.key for sample in source.samples]


def test_the_listed_images_are_test_and_all_others_train(tiny_raw_cub, tmp_path):
    names = keys(cub.read(tiny_raw_cub))[::3]
    (tmp_path / "filenames.pickle").write_bytes(pickle.dumps(names, protocol=2))
    source = with_test_list(cub.read(tiny_raw_cub), tmp_path / "filenames.pickle")
    assert source.split_rule == "test list"
    assert "filenames.pickle" in source.fingerprint
    splits = {sample.key: sample.split for sample in source.samples}
    assert {key for key, split in splits.items() if split == "test"} == set(names)
    assert set(splits.values()) == {"train", "test"}


def test_names_that_are_not_there_are_refused_unless_the_copy_is_partial(tiny_raw_cub, tmp_path):
    first = keys(cub.read(tiny_raw_cub))[0]
    (tmp_path / "names.txt").write_text(f"{first}\n999.Dodo/Dodo_0001\n")
    source = with_test_list(cub.read(tiny_raw_cub), tmp_path / "names.txt")
    with pytest.raises(DataError, match=r"names\.txt: 1 of its 2 names .* of cub, the first is '999"):
        list(source.samples)
    partial = with_test_list(cub.read(tiny_raw_cub), tmp_path / "names.txt", partial=True)
    assert [sample.key for sample in partial.samples if sample.split == "test"] == [first]


def test_a_list_of_another_dataset_is_refused_even_for_a_part(tiny_raw_cub, tmp_path):
    (tmp_path / "names.txt").write_text("image_00001\n")
    source = with_test_list(cub.read(tiny_raw_cub), tmp_path / "names.txt", partial=True)
    with pytest.raises(DataError, match="1 of its 1 names"):
        list(source.samples)
