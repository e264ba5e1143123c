"""Pictures for scores: every one, once, as RGB, whatever the folder looks like; and no silent loss."""

import dataclasses
import json

import numpy as np
import pytest
from PIL import Image

from gancli.data.shards import Dataset
from gancli.errors import DataError, UsageError
from gancli.samples import (
    SAMPLES,
    SAMPLING,
    GeneratedPicture,
    Sampling,
    read_samples,
    read_sampling,
    write_samples,
    write_sampling,
)
from gancli.scores.pictures import open_pictures, origin_of


def save(path, mode="RGB", size=(6, 4), colour=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, colour if colour is not None else 0).save(path)


def collect(pictures, size=2):
    batches = list(pictures.batches(size))
    assert all(len(batch) == size for batch in batches[:-1])
    return [picture for batch in batches for picture in batch]


def test_nested_folders_and_extensions_in_any_case(tmp_path):
    for name in ("a.PNG", "deep/er/b.JPEG", "c.jpg", "deep/d.WebP", "e.bmp"):
        save(tmp_path / name)
    (tmp_path / "notes.txt").write_text("not a picture")
    pictures = open_pictures(str(tmp_path))
    assert len(pictures) == 5
    assert len(collect(pictures)) == 5


def test_mixed_sizes_grey_and_transparent_become_rgb(tmp_path):
    save(tmp_path / "a.png", "L", (5, 3), 200)
    save(tmp_path / "b.png", "RGBA", (8, 8), (255, 0, 0, 255))
    save(tmp_path / "c.png", "P", (2, 9))
    grey, red, palette = collect(open_pictures(str(tmp_path)))
    assert (grey.shape, red.shape, palette.shape) == ((3, 5, 3), (8, 8, 3), (9, 2, 3))
    assert grey.dtype == np.uint8
    assert (grey == 200).all()
    assert (red == (255, 0, 0)).all()


@pytest.mark.parametrize("size", [1, 3, 7, 100])
def test_exactly_every_picture_in_order(tmp_path, size):
    for number in range(7):
        save(tmp_path / f"{number}.png", "L", (2, 2), number)
    assert [int(picture[0, 0, 0]) for picture in collect(open_pictures(str(tmp_path)), size)] == list(
        range(7)
    )


def test_all_unreadable_files_are_listed(tmp_path):
    for number in range(6):
        save(tmp_path / f"{number}.png")
    (tmp_path / "1.png").write_bytes(b"no picture")
    whole = (tmp_path / "5.png").read_bytes()
    (tmp_path / "5.png").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match="2 pictures cannot be read") as caught:
        collect(open_pictures(str(tmp_path)))
    assert "1.png" in str(caught.value)
    assert "5.png" in str(caught.value)


def test_empty_folder_and_folder_of_other_files(tmp_path):
    with pytest.raises(DataError, match="it is empty"):
        open_pictures(str(tmp_path))
    (tmp_path / "image.gif").write_bytes(b"")
    with pytest.raises(DataError, match=r"only files of kind \.gif"):
        open_pictures(str(tmp_path))
    with pytest.raises(DataError, match="no such folder"):
        open_pictures(str(tmp_path / "absent"))


def test_split_gives_centre_windows(tiny_dataset):
    pictures = open_pictures(f"{tiny_dataset}:test")
    split = Dataset.open(tiny_dataset).split("test")
    assert len(pictures) == len(split) == 12
    for index, picture in enumerate(collect(pictures, 5)):
        height, width = split.shape(index)
        window = split.crop(index, (height - 32) // 2, (width - 32) // 2, 32)
        np.testing.assert_array_equal(picture, window)
    assert {picture.shape for picture in collect(pictures.at(16), 5)} == {(16, 16, 3)}
    assert pictures.fingerprint != pictures.at(16).fingerprint


def test_dataset_needs_a_split_that_is_there(tiny_dataset):
    with pytest.raises(UsageError, match="which split") as caught:
        open_pictures(str(tiny_dataset))
    assert f"{tiny_dataset}:test" in caught.value.hint
    with pytest.raises(DataError, match="validation"):
        open_pictures(f"{tiny_dataset}:validation")


def test_samples_folder_takes_exactly_the_listed_files_of_the_last_stage(tmp_path):
    for name in ("a.png", "a64.png", "b.png", "stages/a.png"):
        save(tmp_path / name)
    rows = [("a.png", 128), ("a64.png", 64), ("b.png", 128)]
    write_samples(tmp_path, [GeneratedPicture(file, "a bird", "", None, 0, 0, stage) for file, stage in rows])
    pictures = open_pictures(str(tmp_path))
    assert [file.name for file in pictures.files] == ["a.png", "b.png"]
    assert origin_of(pictures).picture_size == 128


def test_samples_folder_with_a_picture_missing(tmp_path):
    save(tmp_path / "a.png")
    write_samples(tmp_path, [GeneratedPicture(f"{x}.png", "a bird", "", None, 0, 0, 4) for x in "ab"])
    with pytest.raises(DataError, match=r"1 files that are not there.*b\.png"):
        open_pictures(str(tmp_path))


def test_interrupted_samples_folder_is_refused(tmp_path):
    save(tmp_path / "a.png")
    (tmp_path / SAMPLING).write_text("{}")
    with pytest.raises(DataError, match=SAMPLES):
        open_pictures(str(tmp_path))


@pytest.mark.parametrize(
    "text", ["", "file,caption\n", "file,caption,key,class_id,seed,variant,stage\na,b,c,x,0,0,4\n"]
)
def test_broken_samples_csv(tmp_path, text):
    (tmp_path / SAMPLES).write_text(text)
    with pytest.raises(DataError, match="samples.csv"):  # noqa: RUF043
        read_samples(tmp_path)


def test_captions_with_commas_quotes_and_accents_survive(tmp_path):
    save(tmp_path / "a.png")
    picture = GeneratedPicture("a.png", 'a "small", naïve bird\nwith é', "001/Bird", 3, 7, 2, 4)
    write_samples(tmp_path, [picture])
    assert read_samples(tmp_path) == [picture]


def test_a_hole_is_part_of_its_row_and_no_picture(tmp_path):
    for name in ("a.png", "holes/a.png"):
        save(tmp_path / name)
    picture = GeneratedPicture("a.png", "a bird", "001/Bird", 3, 7, 0, 4, hole="holes/a.png")
    write_samples(tmp_path, [picture])
    assert read_samples(tmp_path) == [picture]
    assert [file.name for file in open_pictures(str(tmp_path)).files] == ["a.png"]
    (tmp_path / "holes/a.png").unlink()
    with pytest.raises(DataError, match=r"1 files that are not there.*holes/a\.png"):
        read_samples(tmp_path)


def test_folders_of_before_inpainting_still_read(tmp_path):
    save(tmp_path / "a.png")
    write_samples(tmp_path, [GeneratedPicture("a.png", "a bird", "001/Bird", 3, 7, 0, 4)])
    rows = (tmp_path / SAMPLES).read_text().splitlines()
    assert rows[0].endswith(",hole,shape")
    (tmp_path / SAMPLES).write_text("\n".join(row.rsplit(",", 2)[0] for row in rows))
    before = read_samples(tmp_path)[0]
    assert (before.hole, before.shape) == ("", "")

    sampling = Sampling(
        "runs/1", "a", "b", "CSF-GAN", "data/cub", "cub", "test", 1, 1, 0, 16, (4,), "c", (), "0",
        holes="center 0.5",
    )  # fmt: skip
    write_sampling(tmp_path, sampling)
    assert read_sampling(tmp_path) == sampling
    content = json.loads((tmp_path / SAMPLING).read_text())
    (tmp_path / SAMPLING).write_text(json.dumps({k: v for k, v in content.items() if "hole" not in k}))
    assert read_sampling(tmp_path) == dataclasses.replace(sampling, holes="")


def test_fingerprint_follows_the_files(tmp_path):
    save(tmp_path / "a.png")
    before = open_pictures(str(tmp_path)).fingerprint
    assert open_pictures(str(tmp_path)).fingerprint == before
    save(tmp_path / "b.png")
    assert open_pictures(str(tmp_path)).fingerprint != before
