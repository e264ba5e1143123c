"""Reads the 102 category flower dataset (Nilsback and Zisserman 2008), with the captions of Reed et al. 2016.

`102flowers.tgz` unpacks to `jpg/`; the labels, and the owners' own split, are MATLAB files beside it. The
captions come separately, as a folder `text_c10/` of `class_00001/image_06734.txt`, and can be left out: plain
sentences are made from the class names on request. Nothing says where in its image a flower is, so the
samples have no boxes.
"""

from __future__ import annotations

import io
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import scipy.io
from numpy.typing import NDArray

from gancli.data.source import BadSample, Sample, Source
from gancli.data.sources.reading import fingerprint, read_bytes, read_captions, read_text, reason
from gancli.errors import DataError, UsageError

CLASS_NAMES = Path(__file__).with_name("oxford102_class_names.txt")
"""The owners' name of each class, label 1 first: imagelabels.mat holds numbers only."""

OXFORD_PAGE = (
    "Oxford-102: https://www.robots.ox.ac.uk/~vgg/data/flowers/102/; unpack 102flowers.tgz, which makes jpg/,"
    " into this folder and put imagelabels.mat and setid.mat beside jpg"
)
CAPTIONS_PAGE = (
    "the captions are the flowers data of Reed et al. 2016 (https://github.com/reedscot/cvpr2016): put their"
    " folder text_c10 (class_00001/image_06734.txt, one caption per line) beside jpg; or start with the"
    " images alone: the same command with --captions-from-class-names"
)

Split = Literal["82-20", "62-40", "official"]

# The manifest's name of each split
SPLIT_RULES: dict[Split, str] = {
    "82-20": "zero-shot 82/20",
    "62-40": "zero-shot 62/40",
    "official": "official",
}
# Reed et al. number the classes as imagelabels.mat does: 1 to 20 test, 21 to 40 validate, 41 to 102 train.
_LAST_TEST_LABEL = {"82-20": 20, "62-40": 40}
_SETID = {"trnid": "train", "valid": "train", "tstid": "test"}  # variable of setid.mat: our split

# Nothing is said about a flower that its name does not say. {flower}: the name with its article.
_SENTENCES = (
    "this flower is {flower}.",
    "a photo of {flower}.",
    "the image shows {flower}.",
    "this is {flower}, a kind of flower.",
    "here one can see {flower}.",
    "the flower in this image is {flower}.",
    "an image of a flower called {name}.",
    "the petals of this flower are those of {flower}.",
    "{flower} in bloom.",
    "the blossom in the photo belongs to {flower}.",
)
_PLURALS = ("canterbury bells", "prince of wales feathers")  # take no article


def read(
    root: Path,
    *,
    split: Split = "82-20",
    captions_from_class_names: bool = False,
    partial: bool = False,
    name: str = "oxford102",
) -> Source:
    """Opens a copy of Oxford-102, whole or in part.

    Args:
        root: The folder that holds `jpg/` and `imagelabels.mat`.
        split: "82-20" sends classes 1 to 20 to test (of the full dataset 7,034 / 1,155 images, 82 / 20
            classes), the split of StackGAN and most others; "62-40" also the classes that Reed et al. kept
            for validation (5,878 / 2,311 images), as Fusion-S2iGan reports it; "official" follows `setid.mat`
            (2,040 / 6,149 images), where both parts show the same classes.
        captions_from_class_names: Make ten sentences from the name of each class, the same for all of its
            images, and look at no caption file.
        partial: Take the images that are there and hand over a `BadSample` for every other label.
        name: Short name of the dataset.

    Returns:
        Samples in the order of image numbers, `class_00001/image_06734` as keys, the class names in the order
        of labels. No boxes or attributes.

    Raises:
        DataError: A file that describes the whole dataset is missing or malformed, there are no captions, a
            image has no label, or, unless `partial`, a label has no image.
        UsageError: `split` is unknown.
    """
    if split not in get_args(Split):
        raise UsageError(f"unknown split {split!r} of {name}", hint=f"choose {', '.join(get_args(Split))}")
    if not root.is_dir():
        raise DataError(f"{root} is not a folder", hint=OXFORD_PAGE)
    class_names = tuple(read_text(CLASS_NAMES).split("\n")[:-1])
    labels_file, setid_file = root / "imagelabels.mat", root / "setid.mat"
    labels = _read_vector(labels_file, "labels")
    if not (labels.size and labels.min() >= 1 and labels.max() <= len(class_names)):
        raise DataError(f"{labels_file}: labels from 1 to {len(class_names)} expected", hint=OXFORD_PAGE)
    present = _find_images(root / "jpg", labels_file, labels.size, partial=partial)
    captions = None if captions_from_class_names else _find_captions(root)
    image_splits: dict[int, str]
    if split == "official":
        image_splits = _read_image_splits(setid_file, labels.size)
    else:
        in_test = labels <= _LAST_TEST_LABEL[split]  # (N,)
        image_splits = {image: "test" if test else "train" for image, test in enumerate(in_test, 1)}

    def samples() -> Iterator[Sample | BadSample]:
        for number, label in enumerate(labels.tolist(), 1):
            key = f"class_{label:05d}/image_{number:05d}"
            missing = []
            if number not in present:
                missing.append(f"jpg/image_{number:05d}.jpg has a label but is absent")
            if number not in image_splits:
                missing.append(f"image {number} is not in {setid_file.name}")
            sentences: tuple[str, ...] = ()
            if captions is None:
                sentences = sentences_of(class_names[label - 1])
            elif number in present:
                try:
                    sentences = read_captions(captions / f"{key}.txt")
                except DataError as error:
                    missing.append(reason(error, captions.parent))
            if missing:
                yield BadSample(key, "; ".join(missing))
                continue
            yield Sample(
                key=key,
                split=image_splits[number],
                image=root / "jpg" / f"image_{number:05d}.jpg",
                captions=sentences,
                class_id=label - 1,
            )

    defining = [labels_file]
    if split == "official":
        defining.append(setid_file)
    if captions is None:
        defining.append(CLASS_NAMES)
    return Source(
        name=name,
        samples=samples(),
        release="Oxford-102",
        split_rule=SPLIT_RULES[split],
        class_names=class_names,
        fingerprint=fingerprint(defining, root),
    )


def sentences_of(name: str) -> tuple[str, ...]:
    """Ten plain sentences that name a flower and say nothing else about it.

    Args:
        name: A class name, in the singular unless it is one of the two plurals among the 102 names.
    """
    if name in _PLURALS:
        flower = name
    else:
        flower = f"{'an' if name[0] in 'aeiou' else 'a'} {name}"
    return tuple(sentence.format(flower=flower, name=name) for sentence in _SENTENCES)


def _find_images(folder: Path, labels_file: Path, count: int, *, partial: bool) -> set[int]:
    """The numbers of the images in `folder`, where `count` labels are known."""
    try:
        names = os.listdir(folder)
    except OSError as error:
        raise DataError(f"{folder} cannot be read: {error.strerror}", hint=OXFORD_PAGE) from None
    present = {int(match[1]) for name in names if (match := re.fullmatch(r"image_(\d{5})\.jpg", name))}
    if not present:
        raise DataError(f"{folder} holds no image_00001.jpg, image_00002.jpg, …", hint=OXFORD_PAGE)
    expected = set(range(1, count + 1))
    counts = f"{labels_file} has {count:,} labels, {folder} {len(present):,} images"
    if unknown := sorted(present - expected):
        raise DataError(f"{counts}: image_{unknown[0]:05d}.jpg has no label", hint=OXFORD_PAGE)
    if (absent := sorted(expected - present)) and not partial:
        raise DataError(
            f"{counts}: {len(absent):,} are absent, the first is image_{absent[0]:05d}.jpg",
            hint="unpack 102flowers.tgz again, or take the images that are there with --skip-bad",
        )
    return present


def _find_captions(root: Path) -> Path:
    """The folder of captions, inside `root` or beside it, alone or in the folder their archive makes."""
    places = (root, root.absolute().parent)
    parents = [place / archive for place in places for archive in ("", "cvpr2016_flowers")]
    for candidate in (parent / folder for parent in parents for folder in ("text_c10", "text")):
        if any(candidate.glob("class_*")):  # a folder text beside the root may be that of another dataset
            return candidate
    raise DataError(
        f"no captions: neither {places[0]} nor {places[1]} holds text_c10/class_00001, …", hint=CAPTIONS_PAGE
    )


def _read_vector(path: Path, variable: str) -> NDArray[np.int64]:
    """The whole numbers (N,) of a variable of a MATLAB file."""
    if not path.is_file():
        raise DataError(f"{path} is missing", hint=OXFORD_PAGE)
    content = read_bytes(path)
    if content.startswith(b"MATLAB 7.3"):  # which is HDF5, and nothing SciPy reads
        raise DataError(
            f"{path} is a file of MATLAB 7.3, which is another format than Oxford-102 is published in",
            hint=f"download it again, or in MATLAB: save('{path.name}', '{variable}', '-v7')",
        )
    try:
        variables = scipy.io.loadmat(io.BytesIO(content), variable_names=[variable])
    except Exception as error:  # SciPy passes on whatever its parser meets in the damaged bytes
        raise DataError(
            f"{path} is not a MATLAB file, or a damaged one ({error})", hint=OXFORD_PAGE
        ) from None
    if variable not in variables:
        raise DataError(f"{path} has no variable {variable!r}", hint=OXFORD_PAGE)
    values = np.asarray(variables[variable])
    if values.dtype.kind in "iuf" and values.ndim == 2 and min(values.shape) <= 1:
        with np.errstate(invalid="ignore"):  # of NaN and infinity; they differ from whatever comes out
            numbers = values.astype(np.int64)
        if np.array_equal(numbers, values):
            return numbers.reshape(-1)
    raise DataError(
        f"{path}: {variable!r} should be a row of whole numbers, not {values.dtype} of shape {values.shape}",
        hint=OXFORD_PAGE,
    )


def _read_image_splits(path: Path, count: int) -> dict[int, str]:
    """{image number: "train" or "test"} of `setid.mat`, where `count` images exist."""
    splits: dict[int, str] = {}
    for variable, split in _SETID.items():
        for number in _read_vector(path, variable).tolist():
            if not 1 <= number <= count:
                raise DataError(f"{path}: {variable} names image {number}, there are {count:,} labels")
            if number in splits:
                raise DataError(f"{path}: image {number} is listed twice")
            splits[number] = split
    return splits
