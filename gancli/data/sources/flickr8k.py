"""Reader of Flickr8k (Hodosh, Young and Hockenmaier 2013), with the spoken captions of Harwath and Glass 2015.

`Flickr8k_text.zip` holds `Flickr8k.token.txt`, five captions an image, and the owners' split lists. The images unpack
to `Flicker8k_Dataset/` (sic). The token file describes 8,092 images and one file that does not exist
(`2258277193_586949ec62.jpg.1`); the lists name the 8,000 images in use. The recordings are a separate folder
`flickr_audio/` with `wavs/` and `wav2capt.txt`, which assigns each recording to a caption.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Literal, get_args

from gancli.data.source import BadSample, Recording, Sample, Source
from gancli.data.sources.reading import (
    check_choice,
    fingerprint,
    inner_path,
    open_root,
    read_fields,
    read_lines,
    read_names,
    required,
)
from gancli.errors import DataError, UsageError

FLICKR8K_PAGE = (
    "put Flickr8k_text/ (Flickr8k.token.txt, Flickr_8k.trainImages.txt, .devImages.txt, .testImages.txt) and"
    " Flicker8k_Dataset/ (the images) into this folder: both archives are at"
    " https://github.com/jbrownlee/Datasets/releases/tag/Flickr8k"
)
AUDIO_PAGE = (
    "the spoken captions are flickr_audio.tar.gz of https://groups.csail.mit.edu/sls/downloads/flickraudio/;"
    " unpack it into this folder"
)

Split = Literal["7000-1000", "official"]

# The manifest's name of each split
SPLIT_RULES: dict[Split, str] = {"7000-1000": "7000/1000", "official": "official"}
# Our split of the images in each of the owners' lists, by the option `split`
_LISTS: dict[str, dict[Split, str]] = {
    "Flickr_8k.trainImages.txt": {"7000-1000": "train", "official": "train"},
    "Flickr_8k.devImages.txt": {"7000-1000": "train", "official": "val"},
    "Flickr_8k.testImages.txt": {"7000-1000": "test", "official": "test"},
}
# As in the archive, in S2IGAN and in copies on other sites
_IMAGE_FOLDERS = (
    "Flicker8k_Dataset",
    "Flickr8k_Dataset/Flicker8k_Dataset",
    "Flickr8k_Dataset",
    "images",
    "Images",
)

Captions = dict[str, dict[int, str]]  # by name of the image without .jpg, by number
_Recordings = dict[str, dict[int, list[Path]]]  # by name of the image, by number of the caption


def read(
    root: str | Path,
    *,
    split: Split = "7000-1000",
    test_list: str | Path | None = None,
    partial: bool = False,
    name: str = "flickr8k",
) -> Source:
    """Open a copy of Flickr8k, whole or in part, with its recordings if there are any.

    Args:
        root: Folder that holds `Flickr8k_text` or the files in it, and the folder of images.
        split: "7000-1000" trains on the owners' training and development images. "official" keeps the development
            images apart as a split "val" (6,000 / 1,000 / 1,000).
        test_list: List of the images that become "test" (see `reading.read_names`), for example S2IGAN's
            `test/filenames.pickle`. All others of the 8,000 become "train".
        partial: Accept absent images as a `BadSample` each.

    Returns:
        Samples in the order of the token file, with keys such as `1000268201_693b08cb0e`. There are no classes, boxes
        or attributes.

    Raises:
        DataError: A file is missing or malformed, an image is in two lists, `test_list` names images that Flickr8k
            does not have, or a listed image is absent and `partial` is false.
        UsageError: `split` is unknown, or "official" is combined with `test_list`.
    """
    check_choice("split", split, get_args(Split), name)
    if test_list and split == "official":
        hint = "give --test-list or --split official"
        raise UsageError("a test list replaces the official split", hint=hint)
    root = open_root(root, FLICKR8K_PAGE)
    token_file, lists = _find_text(root)
    captions = _read_tokens(token_file)
    splits = _read_splits(lists, split)
    defining = [token_file, *lists]
    if test_list:
        defining.append(Path(test_list))
        splits = dict.fromkeys(splits, "train") | _read_test_list(Path(test_list), captions)
    images, present = _find_images(root, splits, partial=partial)
    recordings, table = _find_recordings(root)
    defining += [table] if table else []

    def sample(image: str) -> Sample | BadSample:
        problems = []
        if image not in present:
            problems.append(f"{images.relative_to(root)}/{image}.jpg is listed but absent")
        if not captions.get(image):
            problems.append(f"no caption in {token_file.name}")
        if problems:
            return BadSample(image, "; ".join(problems))
        numbers = sorted(captions[image])
        spoken = recordings.get(image, {})
        return Sample(
            key=image,
            split=splits[image],
            image=images / f"{image}.jpg",
            captions=tuple(captions[image][number] for number in numbers),
            recordings=tuple(
                Recording(caption, path)
                for caption, number in enumerate(numbers)
                for path in spoken.get(number, ())
            ),
        )

    ordered = dict.fromkeys((*captions, *splits))
    return Source(
        name=name,
        samples=map(sample, (image for image in ordered if image in splits)),
        release="Flickr8k",
        split_rule="test list" if test_list else SPLIT_RULES[split],
        fingerprint=fingerprint(defining, root),
    )


def _find_text(root: Path) -> tuple[Path, list[Path]]:
    """Return the token file and the three lists beside it."""
    for folder in (root / "Flickr8k_text", root):
        token_file = folder / "Flickr8k.token.txt"
        if token_file.is_file():
            return token_file, [required(folder / file, FLICKR8K_PAGE) for file in _LISTS]
    hint = FLICKR8K_PAGE
    if (root / "captions.txt").is_file():  # Kaggle's copy
        hint += "; this copy (captions.txt) lacks the owners' split"
    raise DataError(f"neither {root} nor {root / 'Flickr8k_text'} holds Flickr8k.token.txt", hint=hint)


def _read_tokens(path: Path) -> Captions:
    """Read the captions of each image. An image whose captions are all empty has none."""
    captions: Captions = {}
    for line_number, line in read_lines(path):
        match = re.fullmatch(r"([^\t#]+)#([0-9]+)\t(.*)", line)
        if not match:
            form = "<image>.jpg#<number>, a tab and the caption expected"
            raise DataError(f"{path}:{line_number}: {form}, found {line[:60]!r}", hint=FLICKR8K_PAGE)
        image, number, caption = match[1].removesuffix(".jpg"), int(match[2]), match[3].strip()
        of_image = captions.setdefault(image, {})
        if number in of_image:
            raise DataError(f"{path}:{line_number}: caption {number} of {match[1]} is listed twice")
        if caption:
            of_image[number] = caption
    return captions


def _read_splits(lists: list[Path], split: Split) -> dict[str, str]:
    """Return {image: our split}, in the order of the lists."""
    splits: dict[str, str] = {}
    for path in lists:
        for image in read_names(path):
            if image in splits:
                raise DataError(f"{path} names {image}.jpg, which another list names too", hint=FLICKR8K_PAGE)
            splits[image] = _LISTS[path.name][split]
    return splits


def _read_test_list(path: Path, captions: Captions) -> dict[str, str]:
    """Return {image: "test"} for the images that a list names."""
    names = read_names(path)
    if unknown := [name for name in names if name not in captions]:
        many = f"{len(unknown):,} of its {len(names):,} names"
        raise DataError(f"{path}: {many} are no images of Flickr8k, the first is {unknown[0]!r}")
    return dict.fromkeys(names, "test")


def _find_images(root: Path, listed: Mapping[str, str], *, partial: bool) -> tuple[Path, set[str]]:
    """Return the folder of images and the names of those in it, which must be all that are listed unless `partial`."""
    images = next((folder for name in _IMAGE_FOLDERS if any((folder := root / name).glob("*.jpg"))), None)
    if images is None:
        folders = ", ".join(_IMAGE_FOLDERS[:-1])
        raise DataError(f"no images: {root} has no folder {folders} with *.jpg in it", hint=FLICKR8K_PAGE)
    present = {path.stem for path in images.glob("*.jpg")}
    absent = [image for image in listed if image not in present]
    if absent and not partial:
        raise DataError(
            f"the split lists name {len(listed):,} images, {images} holds {len(listed) - len(absent):,} of them:"
            f" {len(absent):,} are absent, the first is {absent[0]}.jpg",
            hint="unpack the images again, or take those that are there with --skip-bad",
        )
    return images, present


def _find_recordings(root: Path) -> tuple[_Recordings, Path | None]:
    """Return the recordings and the table that lists them, if there is one.

    Without `wav2capt.txt`, as in S2IGAN's copy, recordings go by their names: `<image>_<number>.wav`.
    """
    for folder in (root / "flickr_audio", root):
        wavs, table = folder / "wavs", folder / "wav2capt.txt"
        if table.is_file():
            return _group(_read_recordings(table, wavs)), table
        if wavs.is_dir():
            named = ((re.fullmatch(r"(.+)_([0-9]+)", path.stem), path) for path in sorted(wavs.glob("*.wav")))
            return _group((match[1], int(match[2]), path) for match, path in named if match), None
    return {}, None


def _group(recordings: Iterator[tuple[str, int, Path]]) -> _Recordings:
    grouped: _Recordings = {}
    for image, number, path in recordings:
        grouped.setdefault(image, {}).setdefault(number, []).append(path)
    return grouped


def _read_recordings(table: Path, wavs: Path) -> Iterator[tuple[str, int, Path]]:
    """Yield image, number of the caption and recording of each line of `wav2capt.txt`."""
    for line_number, (wav, image, number) in read_fields(table, 3):
        where = f"{table}:{line_number}"
        if not re.fullmatch(r"#[0-9]+", number):
            found = f"found {number!r} at the end"
            raise DataError(f"{where}: <wav> <image>.jpg #<number> expected, {found}", hint=AUDIO_PAGE)
        yield image.removesuffix(".jpg"), int(number[1:]), wavs / inner_path(wav, where, "recordings")
