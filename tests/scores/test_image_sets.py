"""Images for scores: every one, once, as RGB, whatever the folder looks like; and no silent loss."""

import dataclasses
import json
import os
import shutil

import numpy as np
import pytest
from PIL import Image

from gancli.data.hole_settings import HoleSettings
from gancli.data.shards import Dataset
from gancli.errors import DataError, UsageError
from gancli.sampling.samples_folder import (
    SAMPLES,
    SAMPLING,
    GeneratedImage,
    Sampling,
    read_samples,
    read_sampling,
    write_samples,
    write_sampling,
)
from gancli.scores.image_sets import open_images, origin_of, remarks_on


def save(path, mode="RGB", size=(6, 4), colour=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, colour if colour is not None else 0).save(path)


def collect(images, size=2):
    batches = list(images.batches(size))
    assert all(len(batch) == size for batch in batches[:-1])
    return [image for batch in batches for image in batch]


def test_nested_folders_and_extensions_in_any_case(tmp_path):
    for name in ("a.PNG", "deep/er/b.JPEG", "c.jpg", "deep/d.WebP", "e.bmp"):
        save(tmp_path / name)
    (tmp_path / "notes.txt").write_text("not an image")
    images = open_images(str(tmp_path))
    assert len(images) == 5
    assert len(collect(images)) == 5


def test_mixed_sizes_grey_and_transparent_become_rgb(tmp_path):
    save(tmp_path / "a.png", "L", (5, 3), 200)
    save(tmp_path / "b.png", "RGBA", (8, 8), (255, 0, 0, 255))
    save(tmp_path / "c.png", "P", (2, 9))
    grey, red, palette = collect(open_images(str(tmp_path)))
    assert (grey.shape, red.shape, palette.shape) == ((3, 5, 3), (8, 8, 3), (9, 2, 3))
    assert grey.dtype == np.uint8
    assert (grey == 200).all()
    assert (red == (255, 0, 0)).all()


@pytest.mark.parametrize("size", [1, 3, 7, 100])
def test_exactly_every_image_in_order(tmp_path, size):
    for number in range(7):
        save(tmp_path / f"{number}.png", "L", (2, 2), number)
    assert [int(image[0, 0, 0]) for image in collect(open_images(str(tmp_path)), size)] == list(range(7))


def test_all_unreadable_files_are_listed(tmp_path):
    for number in range(6):
        save(tmp_path / f"{number}.png")
    (tmp_path / "1.png").write_bytes(b"no image")
    whole = (tmp_path / "5.png").read_bytes()
    (tmp_path / "5.png").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match="2 images cannot be read") as caught:
        collect(open_images(str(tmp_path)))
    assert "1.png" in str(caught.value)
    assert "5.png" in str(caught.value)


def test_empty_folder_and_folder_of_other_files(tmp_path):
    with pytest.raises(DataError, match="it is empty"):
        open_images(str(tmp_path))
    (tmp_path / "image.heix").write_bytes(b"")
    with pytest.raises(DataError, match=r"only files of kind \.heix \(1\)"):
        open_images(str(tmp_path))
    with pytest.raises(DataError, match="no such folder"):
        open_images(str(tmp_path / "absent"))


def test_split_gives_centre_windows(tiny_dataset):
    images = open_images(f"{tiny_dataset}:test")
    split = Dataset.open(tiny_dataset).split("test")
    assert len(images) == len(split) == 12
    for index, image in enumerate(collect(images, 5)):
        height, width = split.shape(index)
        window = split.crop(index, (height - 32) // 2, (width - 32) // 2, 32)
        np.testing.assert_array_equal(image, window)
    assert {image.shape for image in collect(images.at(16), 5)} == {(16, 16, 3)}
    assert images.fingerprint != images.at(16).fingerprint


def test_whole_images_are_made_square_as_pillow_does(tiny_dataset):
    """Those of Pillow's bilinear resize, which the public codes use, to the last digit of a byte."""
    images = open_images(f"{tiny_dataset}:test")
    split = Dataset.open(tiny_dataset).split("test")
    whole = dataclasses.replace(images, window="whole")
    for index, image in enumerate(collect(whole, 5)):
        pillow = Image.fromarray(split.image(index)).resize((32, 32), Image.Resampling.BILINEAR)
        np.testing.assert_allclose(image.astype(int), np.asarray(pillow), atol=1)
    assert whole.data.window == "whole"
    assert whole.fingerprint != images.fingerprint


def test_dataset_needs_a_split_that_is_there(tiny_dataset):
    with pytest.raises(UsageError, match="which split") as caught:
        open_images(str(tiny_dataset))
    assert f"{tiny_dataset}:test" in caught.value.hint
    with pytest.raises(DataError, match="validation"):
        open_images(f"{tiny_dataset}:validation")


def test_samples_folder_takes_exactly_the_listed_files_of_the_last_stage(tmp_path):
    for name in ("a.png", "a64.png", "b.png", "stages/a.png"):
        save(tmp_path / name)
    rows = [("a.png", 128), ("a64.png", 64), ("b.png", 128)]
    write_samples(tmp_path, [GeneratedImage(file, "a bird", "", None, 0, 0, stage) for file, stage in rows])
    images = open_images(str(tmp_path))
    assert [file.name for file in images.files] == ["a.png", "b.png"]
    assert origin_of(images).image_size == 128


def test_samples_folder_with_a_image_missing(tmp_path):
    save(tmp_path / "a.png")
    write_samples(tmp_path, [GeneratedImage(f"{x}.png", "a bird", "", None, 0, 0, 4) for x in "ab"])
    with pytest.raises(DataError, match=r"1 files that are not there.*b\.png"):
        open_images(str(tmp_path))


def test_interrupted_samples_folder_is_refused(tmp_path):
    save(tmp_path / "a.png")
    (tmp_path / SAMPLING).write_text("{}")
    with pytest.raises(DataError, match=SAMPLES):
        open_images(str(tmp_path))


@pytest.mark.parametrize(
    "text", ["", "file,caption\n", "file,caption,key,class_id,seed,variant,stage\na,b,c,x,0,0,4\n"]
)
def test_broken_samples_csv(tmp_path, text):
    (tmp_path / SAMPLES).write_text(text)
    with pytest.raises(DataError, match="samples.csv"):  # noqa: RUF043
        read_samples(tmp_path)


def test_captions_with_commas_quotes_and_accents_survive(tmp_path):
    save(tmp_path / "a.png")
    image = GeneratedImage("a.png", 'a "small", naïve bird\nwith é', "001/Bird", 3, 7, 2, 4)
    write_samples(tmp_path, [image])
    assert read_samples(tmp_path) == [image]


def test_a_hole_is_part_of_its_row_and_no_image(tmp_path):
    for name in ("a.png", "holes/a.png"):
        save(tmp_path / name)
    image = GeneratedImage("a.png", "a bird", "001/Bird", 3, 7, 0, 4, hole="holes/a.png")
    write_samples(tmp_path, [image])
    assert read_samples(tmp_path) == [image]
    assert [file.name for file in open_images(str(tmp_path)).files] == ["a.png"]
    (tmp_path / "holes/a.png").unlink()
    with pytest.raises(DataError, match=r"1 files that are not there.*holes/a\.png"):
        read_samples(tmp_path)


def test_folders_of_before_inpainting_still_read(tmp_path):
    save(tmp_path / "a.png")
    write_samples(tmp_path, [GeneratedImage("a.png", "a bird", "001/Bird", 3, 7, 0, 4)])
    rows = (tmp_path / SAMPLES).read_text().splitlines()
    assert rows[0].endswith(",hole,silhouette")
    (tmp_path / SAMPLES).write_text("\n".join(row.rsplit(",", 2)[0] for row in rows))
    before = read_samples(tmp_path)[0]
    assert (before.hole, before.silhouette) == ("", "")

    sampling = Sampling(
        "runs/1", "a", "b", "CSF-GAN", "data/cub", "cub", "test", 1, 1, 0, 16, (4,), "c", (), "0",
        holes=HoleSettings("center", 0.5),
    )  # fmt: skip
    write_sampling(tmp_path, sampling)
    assert read_sampling(tmp_path) == sampling
    content = json.loads((tmp_path / SAMPLING).read_text())
    (tmp_path / SAMPLING).write_text(json.dumps({k: v for k, v in content.items() if "hole" not in k}))
    assert read_sampling(tmp_path) == dataclasses.replace(sampling, holes=None)


def test_fingerprint_follows_the_files(tmp_path):
    save(tmp_path / "a.png")
    before = open_images(str(tmp_path)).fingerprint
    assert open_images(str(tmp_path)).fingerprint == before
    save(tmp_path / "b.png")
    assert open_images(str(tmp_path)).fingerprint != before


def test_fingerprint_is_of_the_contents(tmp_path):
    save(tmp_path / "a/a.png", colour=(1, 2, 3))
    before = open_images(str(tmp_path / "a")).fingerprint
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    os.utime(tmp_path / "b/a.png", (0, 0))
    assert open_images(str(tmp_path / "b")).fingerprint == before
    save(tmp_path / "b/a.png", colour=(1, 2, 4))
    assert open_images(str(tmp_path / "b")).fingerprint != before


def test_hidden_files_are_passed_over_and_links_followed_once(tmp_path):
    folder = tmp_path / "images"
    for name in ("a.png", "deep/b.gif", "._a.png", ".hidden/c.png"):
        save(folder / name)
    save(tmp_path / "elsewhere/d.tga")
    (folder / "linked").symlink_to(tmp_path / "elsewhere")
    (folder / "again").symlink_to(folder)
    images = open_images(str(folder))
    assert [file.relative_to(folder).as_posix() for file in images.files] == [
        "a.png",
        "deep/b.gif",
        "linked/d.tga",
    ]
    assert len(collect(images)) == 3


def test_files_that_are_not_taken_are_counted_and_named(tmp_path):
    for name in ("a.png", "b.png"):
        save(tmp_path / name)
    for name in ("notes.txt", "photo.heix"):
        (tmp_path / name).write_text("no image")
    images = open_images(str(tmp_path))
    assert origin_of(images).files_left_out == 2
    (remark,) = remarks_on(images)
    assert "2 files" in remark
    assert "notes.txt, photo.heix" in remark
