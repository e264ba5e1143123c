"""Reads Flickr8k (Hodosh, Young and Hockenmaier 2013), with the spoken captions of Harwath and Glass 2015.

`Flickr8k_text.zip` holds `Flickr8k.token.txt`, five captions an image, and the owners' split lists; the
images unpack to `Flicker8k_Dataset/` (sic). The token file describes 8,092 images and one file that does
not exist (`2258277193_586949ec62.jpg.1`); the lists name the 8,000 that count. The recordings come
separately: `flickr_audio/` with `wavs/` and `wav2capt.txt`, which says what caption of what image each reads.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Literal, get_args

from gancli.data.source import BadSample, Recording, Sample, Source
from gancli.data.sources.reading import fingerprint, inner_path, read_fields, read_names, read_text
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
# The owners' lists: our split by `--split`
_LISTS: dict[str, dict[str, str]] = {
    "Flickr_8k.trainImages.txt": {"7000-1000": "train", "official": "train"},
    "Flickr_8k.devImages.txt": {"7000-1000": "train", "official": "val"},
    "Flickr_8k.testImages.txt": {"7000-1000": "test", "official": "test"},
}
# As the archive unpacks, as S2IGAN and as copies on other sites have it
_IMAGE_FOLDERS = (
    "Flicker8k_Dataset",
    "Flickr8k_Dataset/Flicker8k_Dataset",
    "Flickr8k_Dataset",
    "images",
    "Images",
)

Captions = dict[str, dict[int, str]]  # by name of the image without .jpg, by number


def read(
    root: Path,
    *,
    split: Split = "7000-1000",
    test_list: Path | None = None,
    partial: bool = False,
    name: str = "flickr8k",
) -> Source:
    """Opens a copy of Flickr8k, whole or in part, with its recordings where they are.

    Args:
        root: The folder that holds the text files, or `Flickr8k_text` with them, and the folder of images.
        split: "7000-1000" trains on the owners' training and development images; "official" keeps the
            latter apart as a split "val" (6,000 / 1,000 / 1,000).
        test_list: The images that become "test" (`files.read_names`), for example S2IGAN's
            `test/filenames.pickle`; all others of the 8,000 become "train".
        partial: Take the images that are there and hand over a `BadSample` for every other one listed.
        name: Short name of the dataset.

    Returns:
        Samples in the order of the token file, keys as `1000268201_693b08cb0e`. No classes, boxes or
        attributes.

    Raises:
        DataError: A file is missing or malformed, an image is in two lists, `test_list` names images that
            Flickr8k does not have, or, unless `partial`, a listed image is absent.
        UsageError: `split` is unknown, or "official" is asked for together with `test_list`.
    """
    if split not in get_args(Split):
        raise UsageError(f"unknown split {split!r} of {name}", hint=f"choose {', '.join(get_args(Split))}")
    if test_list and split == "official":
        raise UsageError(
            "a test list replaces the official split", hint="give --test-list or --split official"
        )
    if not root.is_dir():
        raise DataError(f"{root} is not a folder", hint=FLICKR8K_PAGE)
    token_file, lists = _find_text(root)
    captions = _read_tokens(token_file)
    image_splits = _read_splits(lists, split)
    if test_list:
        names = read_names(test_list)
        if unknown := [name for name in names if name not in captions]:
            raise DataError(
                f"{test_list}: {len(unknown):,} of its {len(names):,} names are no images of Flickr8k,"
                f" the first is {unknown[0]!r}"
            )
        image_splits = dict.fromkeys(image_splits, "train") | dict.fromkeys(names, "test")
    images = _find_images(root)
    present = {path.stem for path in images.glob("*.jpg")}
    absent = [image for image in image_splits if image not in present]
    if absent and not partial:
        raise DataError(
            f"the split lists name {len(image_splits):,} images, {images} holds"
            f" {len(image_splits) - len(absent):,} of them: {len(absent):,} are absent, the first is"
            f" {absent[0]}.jpg",
            hint="unpack the images again, or take those that are there with --skip-bad",
        )
    recordings, table = _find_recordings(root)

    def samples() -> Iterator[Sample | BadSample]:
        for image in (*captions, *(image for image in image_splits if image not in captions)):
            if image not in image_splits:
                continue
            missing = []
            if image not in present:
                missing.append(f"{images.relative_to(root)}/{image}.jpg is listed but absent")
            if not captions.get(image):
                missing.append(f"no caption in {token_file.name}")
            if missing:
                yield BadSample(image, "; ".join(missing))
                continue
            numbers = sorted(captions[image])
            spoken = recordings.get(image, {})
            yield Sample(
                key=image,
                split=image_splits[image],
                image=images / f"{image}.jpg",
                captions=tuple(captions[image][number] for number in numbers),
                recordings=tuple(
                    Recording(caption, path)
                    for caption, number in enumerate(numbers)
                    for path in spoken.get(number, ())
                ),
            )

    defining = [token_file, *lists]
    defining += [file for file in (test_list, table) if file]
    return Source(
        name=name,
        samples=samples(),
        release="Flickr8k",
        split_rule="test list" if test_list else SPLIT_RULES[split],
        fingerprint=fingerprint(defining, root),
    )


def _find_text(root: Path) -> tuple[Path, list[Path]]:
    """The token file and the three lists, which lie in one folder."""
    for folder in (root / "Flickr8k_text", root):
        token_file = folder / "Flickr8k.token.txt"
        if token_file.is_file():
            lists = [folder / file for file in _LISTS]
            for file in lists:
                if not file.is_file():
                    raise DataError(f"{file} is missing", hint=FLICKR8K_PAGE)
            return token_file, lists
    hint = FLICKR8K_PAGE
    if (root / "captions.txt").is_file():  # Kaggle's copy, which has no split lists
        hint += "; this copy (captions.txt) lacks the owners' split"
    raise DataError(f"neither {root} nor {root / 'Flickr8k_text'} holds Flickr8k.token.txt", hint=hint)


def _read_tokens(path: Path) -> Captions:
    """The captions of each image; an image whose captions are all empty stays, with none."""
    captions: Captions = {}
    for line_number, line in enumerate(read_text(path).split("\n"), 1):
        if not line.strip():
            continue
        match = re.fullmatch(r"([^\t#]+)#([0-9]+)\t(.*)", line)
        if not match:
            raise DataError(
                f"{path}:{line_number}: <image>.jpg#<number>, a tab and the caption expected, found"
                f" {line[:60]!r}",
                hint=FLICKR8K_PAGE,
            )
        image, number, caption = match[1].removesuffix(".jpg"), int(match[2]), match[3].strip()
        of_image = captions.setdefault(image, {})
        if number in of_image:
            raise DataError(f"{path}:{line_number}: caption {number} of {match[1]} stands twice")
        if caption:
            of_image[number] = caption
    return captions


def _read_splits(lists: list[Path], split: Split) -> dict[str, str]:
    """{image: our split}, in the order of the lists."""
    splits: dict[str, str] = {}
    for path in lists:
        for image in read_names(path):
            if image in splits:
                raise DataError(f"{path} names {image}.jpg, which another list names too", hint=FLICKR8K_PAGE)
            splits[image] = _LISTS[path.name][split]
    return splits


def _find_images(root: Path) -> Path:
    for folder in (root / name for name in _IMAGE_FOLDERS):
        if any(folder.glob("*.jpg")):
            return folder
    raise DataError(
        f"no images: {root} has no folder {', '.join(_IMAGE_FOLDERS[:-1])} with *.jpg in it",
        hint=FLICKR8K_PAGE,
    )


def _find_recordings(root: Path) -> tuple[Mapping[str, Mapping[int, list[Path]]], Path | None]:
    """{image: {number of the caption: recordings}}, and the table that says so, where there is one.

    Without `wav2capt.txt`, as S2IGAN keeps the folder, the name says it: `<image>_<number>.wav`.
    """
    recordings: dict[str, dict[int, list[Path]]] = {}

    def add(image: str, number: int, path: Path) -> None:
        recordings.setdefault(image, {}).setdefault(number, []).append(path)

    for folder in (root / "flickr_audio", root):
        wavs, table = folder / "wavs", folder / "wav2capt.txt"
        if table.is_file():
            for line_number, (wav, image, number) in read_fields(table, 3):
                where = f"{table}:{line_number}"
                if not re.fullmatch(r"#[0-9]+", number):
                    raise DataError(
                        f"{where}: <wav> <image>.jpg #<number> expected, found {number!r} at the end",
                        hint=AUDIO_PAGE,
                    )
                add(image.removesuffix(".jpg"), int(number[1:]), wavs / inner_path(wav, where, "recordings"))
            return recordings, table
        if wavs.is_dir():
            for path in sorted(wavs.glob("*.wav")):
                if match := re.fullmatch(r"(.+)_([0-9]+)", path.stem):
                    add(match[1], int(match[2]), path)
            return recordings, None
    return recordings, None
