"""Reader of the 102 category flower dataset (Nilsback and Zisserman 2008), with the captions of Reed et al. 2016.

`102flowers.tgz` unpacks to `jpg/`; the labels and the owners' split are MATLAB files beside it. The captions are a
separate folder `text_c10/` of `class_00001/image_06734.txt`. Without them, plain sentences are made from the class
names on request. The dataset has no boxes.
"""

from __future__ import annotations

import io
import os
import re
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import scipy.io
from numpy.typing import NDArray

from gancli.data.source import BadSample, Sample, Source
from gancli.data.sources.reading import (
    check_choice,
    fingerprint,
    open_root,
    read_bytes,
    read_lines,
    required,
    try_captions,
    with_article,
)
from gancli.errors import DataError

CLASS_NAMES = Path(__file__).with_name("oxford102_class_names.txt")
"""The owners' names of the classes, label 1 first. imagelabels.mat holds numbers only."""

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
# Reed et al. number the classes like imagelabels.mat: 1 to 20 test, 21 to 40 validation, 41 to 102 training
_LAST_TEST_LABEL = {"82-20": 20, "62-40": 40}
_SETID = {"trnid": "train", "valid": "train", "tstid": "test"}  # our split for each variable of setid.mat

# The sentences say no more about a flower than its name, with its article ({flower}) or without ({name})
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
_PLURALS = ("canterbury bells", "prince of wales feathers")  # without article


def read(
    root: str | Path,
    *,
    split: Split = "82-20",
    captions_from_class_names: bool = False,
    partial: bool = False,
    name: str = "oxford102",
) -> Source:
    """Open a copy of Oxford-102, whole or in part.

    Args:
        root: Folder that holds `jpg/` and `imagelabels.mat`.
        split: "82-20" puts classes 1 to 20 into test (7,034 / 1,155 images and 82 / 20 classes of the full dataset),
            the split of StackGAN and most others. "62-40" adds the classes that Reed et al. kept for validation (5,878
            / 2,311 images), as Fusion-S2iGan reports it. "official" follows `setid.mat` (2,040 / 6,149 images), with
            all classes in both parts.
        captions_from_class_names: Make ten sentences from the name of each class, the same for all of its images, and
            read no caption files.
        partial: Accept absent images as a `BadSample` each.

    Returns:
        Samples in the order of image numbers, with keys such as `class_00001/image_06734`, and class names in the
        order of labels. There are no boxes or attributes.

    Raises:
        DataError: A file that describes the whole dataset is missing or malformed, there are no captions, an image
            has no label, or a label has no image and `partial` is false.
        UsageError: `split` is unknown.
    """
    check_choice("split", split, get_args(Split), name)
    root = open_root(root, OXFORD_PAGE)
    class_names = tuple(line for _, line in read_lines(CLASS_NAMES))
    labels_file, setid_file = root / "imagelabels.mat", root / "setid.mat"
    labels = _read_vector(labels_file, "labels")
    if not (labels.size and labels.min() >= 1 and labels.max() <= len(class_names)):
        raise DataError(f"{labels_file}: labels from 1 to {len(class_names)} expected", hint=OXFORD_PAGE)
    present = _find_images(root / "jpg", labels_file, labels.size, partial=partial)
    caption_folder = None if captions_from_class_names else _find_captions(root)
    splits = _read_splits(split, setid_file, labels)
    defining = [labels_file]
    defining += [setid_file] if split == "official" else []
    defining += [CLASS_NAMES] if caption_folder is None else []

    def sample(number: int, label: int) -> Sample | BadSample:
        key = f"class_{label:05d}/image_{number:05d}"
        problems = []
        if number not in present:
            problems.append(f"jpg/image_{number:05d}.jpg has a label but is absent")
        if number not in splits:
            problems.append(f"image {number} is not in {setid_file.name}")
        captions: tuple[str, ...] = ()
        if caption_folder is None:
            captions = sentences_of(class_names[label - 1])
        elif number in present:
            captions = try_captions(caption_folder / f"{key}.txt", caption_folder.parent, problems)
        if problems:
            return BadSample(key, "; ".join(problems))
        image = root / "jpg" / f"image_{number:05d}.jpg"
        return Sample(key=key, split=splits[number], image=image, captions=captions, class_id=label - 1)

    return Source(
        name=name,
        samples=(sample(number, label) for number, label in enumerate(labels.tolist(), 1)),
        release="Oxford-102",
        split_rule=SPLIT_RULES[split],
        class_names=class_names,
        fingerprint=fingerprint(defining, root),
    )


def sentences_of(name: str) -> tuple[str, ...]:
    """Return ten plain sentences that name a flower, by its class, and say nothing else about it."""
    flower = name if name in _PLURALS else with_article(name)
    return tuple(sentence.format(flower=flower, name=name) for sentence in _SENTENCES)


def _find_images(folder: Path, labels_file: Path, count: int, *, partial: bool) -> set[int]:
    """Return the numbers of the images in `folder`, which must be all of the `count` labels unless `partial`."""
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
        hint = "unpack 102flowers.tgz again, or take the images that are there with --skip-bad"
        raise DataError(
            f"{counts}: {len(absent):,} are absent, the first is image_{absent[0]:05d}.jpg", hint=hint
        )
    return present


def _find_captions(root: Path) -> Path:
    """Return the folder of captions, inside `root` or beside it, alone or in the folder that the archive makes."""
    outer = root.absolute().parent
    parents = [folder / archive for folder in (root, outer) for archive in ("", "cvpr2016_flowers")]
    for candidate in (parent / folder for parent in parents for folder in ("text_c10", "text")):
        if any(candidate.glob("class_*")):  # a folder "text" beside the root may belong to another dataset
            return candidate
    places = f"neither {root} nor {outer} holds text_c10/class_00001, …"
    raise DataError(f"no captions: {places}", hint=CAPTIONS_PAGE)


def _read_vector(path: Path, variable: str) -> NDArray[np.int64]:
    """Read a variable of a MATLAB file that holds whole numbers, (N,)."""
    content = read_bytes(required(path, OXFORD_PAGE))
    if content.startswith(b"MATLAB 7.3"):  # HDF5, which SciPy does not read
        raise DataError(
            f"{path} is a file of MATLAB 7.3, not of the format that Oxford-102 is published in",
            hint=f"download it again, or in MATLAB: save('{path.name}', '{variable}', '-v7')",
        )
    try:
        variables = scipy.io.loadmat(io.BytesIO(content), variable_names=[variable])
    except Exception as error:  # SciPy's parser may raise anything on damaged bytes
        problem = f"{path} is not a MATLAB file, or a damaged one ({error})"
        raise DataError(problem, hint=OXFORD_PAGE) from None
    if variable not in variables:
        raise DataError(f"{path} has no variable {variable!r}", hint=OXFORD_PAGE)
    values = np.asarray(variables[variable])
    if values.dtype.kind in "iuf" and values.ndim == 2 and min(values.shape) <= 1:
        with np.errstate(invalid="ignore"):  # NaN and infinity differ from every result
            numbers = values.astype(np.int64)
        if np.array_equal(numbers, values):
            return numbers.reshape(-1)
    form = f"{values.dtype} of shape {values.shape}"
    raise DataError(f"{path}: {variable!r} should be a row of whole numbers, not {form}", hint=OXFORD_PAGE)


def _read_splits(split: Split, path: Path, labels: NDArray[np.int64]) -> dict[int, str]:
    """Return {image number: "train" or "test"}, for the official split from `setid.mat` at `path`."""
    if split != "official":
        in_test = labels <= _LAST_TEST_LABEL[split]  # (N,)
        return {number: "test" if test else "train" for number, test in enumerate(in_test, 1)}
    count = labels.size
    splits: dict[int, str] = {}
    for variable, part in _SETID.items():
        for number in _read_vector(path, variable).tolist():
            if not 1 <= number <= count:
                raise DataError(f"{path}: {variable} names image {number}, there are {count:,} labels")
            if number in splits:
                raise DataError(f"{path}: image {number} is listed twice")
            splits[number] = part
    return splits
