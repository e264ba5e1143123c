"""The summary agrees with the prepared dataset, and the contact sheet shows its images."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from gancli.data.inspect import contact_sheet, describe
from gancli.data.shards import Dataset
from gancli.data.verify import verify
from gancli.errors import DataError, UsageError


def test_describe(tiny_dataset: Path) -> None:
    summary = describe(Dataset.open(tiny_dataset))
    train = summary.splits["train"]
    assert (summary.name, summary.image_size, summary.stored_shorter_side) == ("cub", 32, 38)
    assert (summary.classes, summary.attributes, summary.rejected) == (4, 3, 0)
    assert (train.images, train.captions, train.captions_per_image, train.classes) == (12, 36, (3, 3), 2)
    assert 5 < train.words_per_caption < 12
    assert train.bytes == sum(file.stat().st_size for file in tiny_dataset.glob("train-*.h5"))
    assert json.loads(json.dumps(dataclasses.asdict(summary)))["splits"]["test"]["shards"] == 3


def test_contact_sheet(tiny_dataset: Path) -> None:
    dataset = Dataset.open(tiny_dataset)
    sheet = contact_sheet(dataset, split="test", images=5, columns=3, tile=64)
    assert sheet.mode == "RGB"
    assert sheet.width == 3 * (64 + 12)
    # every stored image is smaller than its tile here, so it stands on the sheet pixel by pixel
    first = dataset.split("test").image(0)
    pixels = np.asarray(sheet)
    left, top = 6 + (64 - first.shape[1]) // 2, 6 + (64 - first.shape[0]) // 2
    assert np.array_equal(pixels[top : top + first.shape[0], left : left + first.shape[1]], first)
    below = pixels[6 + 64 : 6 + 64 + 30, 6 : 6 + 64]
    assert (below < 200).any()  # text


def test_a_path_of_either_type_is_welcome(tiny_dataset: Path) -> None:
    dataset = Dataset.open(tiny_dataset)
    sheets = [contact_sheet(each, images=2, tile=32) for each in (dataset, tiny_dataset, str(tiny_dataset))]
    assert len({sheet.tobytes() for sheet in sheets}) == 1
    assert describe(str(tiny_dataset)) == describe(tiny_dataset) == describe(dataset)
    assert verify(str(tiny_dataset)) == verify(tiny_dataset) == []


def test_contact_sheet_of_fewer_images_than_asked(tiny_dataset: Path) -> None:
    sheet = contact_sheet(Dataset.open(tiny_dataset), images=100, columns=4, tile=32)
    assert sheet.width == 4 * 44
    assert sheet.height == 3 * contact_sheet(Dataset.open(tiny_dataset), images=1, tile=32).height


@pytest.mark.parametrize("options", [{"images": 0}, {"columns": 0}, {"tile": 1}])
def test_contact_sheet_out_of_range(tiny_dataset: Path, options: dict[str, int]) -> None:
    with pytest.raises(UsageError):
        contact_sheet(Dataset.open(tiny_dataset), **options)


def test_contact_sheet_of_unknown_split(tiny_dataset: Path) -> None:
    with pytest.raises(DataError, match="no split 'val'"):
        contact_sheet(Dataset.open(tiny_dataset), split="val")
