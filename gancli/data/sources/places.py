"""Reads the Places audio captions (Harwath, Torralba and Glass 2016), all or those of seven classes.

A JSON file lists utterances: the recording, the image it describes, and what a speech recognizer
understood, which is the only text there is. The images are those of Places205 (Zhou et al. 2014), in
folders by the first letter of their class: `b/bedroom/gsun_0a1b….jpg`. Speech-to-image papers use seven
classes of indoor scenes, the "Places-subset" (13,803 pairs, 10,933 / 2,870).
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Annotated

from pydantic import FailFast, TypeAdapter

from gancli.data.source import BadSample, Recording, Sample, Source
from gancli.data.sources.reading import (
    check_share,
    draw_test,
    drawn_rule,
    fingerprint,
    inner_path,
    read_json,
    read_names,
)
from gancli.errors import DataError, UsageError

SUBSET = ("bedroom", "dinette", "dining_room", "home_office", "hotel_room", "kitchenette", "living_room")
"""The classes of the Places-subset, as the code of Li et al. 2020 lists them; S2IGAN and Fusion-S2iGan took it over."""

PLACES_PAGE = (
    "the Places audio captions (PlacesAudio_400k_distro) are at"
    " https://groups.csail.mit.edu/sls/downloads/placesaudio/, the images (Places205) at"
    " http://places.csail.mit.edu/"
)
_FORM = 'it should hold {"image_base_path": …, "audio_base_path": …, "data": [{"wav": …, "image": …, "asr_text": …}]}'
_TRAIN_FILES = ("train.json", "metadata/train.json")
_TEST_FILES = ("test.json", "metadata/test.json", "val.json", "metadata/val.json")


def read(
    root: Path,
    *,
    train: Path | None = None,
    test: Path | None = None,
    images: Path | None = None,
    audio: Path | None = None,
    classes: Sequence[str] | None = SUBSET,
    test_list: Path | None = None,
    test_share: float | None = None,
    seed: int = 0,
    captions_from_class_names: bool = False,
    partial: bool = False,
    name: str = "places",
) -> Source:
    """Opens a copy of the Places audio captions, whole or in part.

    Args:
        root: The folder of the audio captions.
        train, test: The JSON files; by default `train.json`, and `test.json` or else `val.json`, in `root` or
            `root/metadata`.
        images: The folder that holds `b/bedroom/…`, `bedroom/…` or the images themselves; by default the
            file's `image_base_path` where that is a folder, else `root/images`.
        audio: The folder that recordings are named relative to; by default the file's `audio_base_path`
            where that is a folder, else `root`.
        classes: Only images of these; "church" takes `church/indoor` and `church/outdoor` together. None
            takes all.
        test_list: The images that become "test" (`files.read_names`), with or without their folders; the
            others of both JSON files become "train".
        test_share: The share of the images of both JSON files that is drawn as "test".
        seed: Another seed draws another test split.
        captions_from_class_names: Put a sentence with the name of the class in the place of the recognized
            text, which a language without a writing does not have.
        partial: Take the images that are there and hand over a `BadSample` for every other one listed.
        name: Short name of the dataset.

    Returns:
        An image for all utterances about it, in the order of the files; keys as `b/bedroom/gsun_0a1b`. The
        captions are the recognized texts; an utterance without any is left out.

    Raises:
        DataError: A file or folder is missing or malformed, no image is of one of the default classes, or,
            unless `partial`, an image is absent.
        UsageError: A class that no image has, or `test_list` together with `test_share`.
    """
    if test_list and test_share is not None:
        raise UsageError("a test list and a test share exclude each other", hint="give one of them")
    if test_share is not None:
        check_share(test_share)
    if not root.is_dir():
        raise DataError(f"{root} is not a folder", hint=PLACES_PAGE)
    files = _find_files(root, train, test, needs_test=not test_list and test_share is None)
    records: dict[PurePosixPath, _Record] = {}
    for split, path in files.items():
        _read_utterances(path, split, root, images, audio, records)
    class_names = _choose_classes(records, classes)
    _assign_splits(records, test_list, test_share, seed)
    absent = [path for path, record in records.items() if record.image is None]
    if absent and not partial:
        first = records[absent[0]]
        raise DataError(
            f"{' and '.join(map(str, files.values()))}: {len(absent):,} of {len(records):,} images are absent"
            f" from {first.folder}, the first is {absent[0]}",
            hint="name the folder that holds b/bedroom/… with --images, or take those that are there with"
            " --skip-bad",
        )

    class_ids = {class_name: index for index, class_name in enumerate(class_names)}

    def samples() -> Iterator[Sample | BadSample]:
        for path, record in records.items():
            problems = list(record.problems)
            if record.image is None:
                problems.append(f"{path} is listed but absent from {record.folder}")
            spoken = [(text, wav) for text, wav in record.utterances if text]
            captions = tuple(text for text, _ in spoken)
            recordings = tuple(Recording(caption, wav) for caption, (_, wav) in enumerate(spoken))
            if captions_from_class_names:
                if record.class_name is None:
                    problems.append("lies in no folder of a class, whose name could be its caption")
                else:
                    captions = (sentence_of(record.class_name),)
                    recordings = tuple(Recording(0, wav) for _, wav in record.utterances)
            elif not captions:
                problems.append("none of its utterances has an asr_text")
            if problems or record.image is None:
                yield BadSample(_key(path), "; ".join(problems))
                continue
            yield Sample(
                key=_key(path),
                split=record.split,
                image=record.image,
                captions=captions,
                class_id=None if record.class_name is None else class_ids[record.class_name],
                recordings=recordings,
            )

    defining = [*files.values(), *([test_list] if test_list else [])]
    if test_list:
        split_rule = "test list"
    else:
        split_rule = "official" if test_share is None else drawn_rule(test_share, seed)
    return Source(
        name=name,
        samples=samples(),
        release="Places-subset" if set(class_names) == set(SUBSET) else "Places audio captions",
        split_rule=split_rule,
        class_names=class_names,
        fingerprint=fingerprint(defining, root),
    )


def sentence_of(class_name: str) -> str:
    """The caption that a class name makes: "a home office" of "home_office"."""
    words = class_name.replace("_", " ").replace("/", " ")
    return f"{'an' if words[0] in 'aeiou' else 'a'} {words}"


@dataclass(slots=True)
class _Utterance:
    wav: str
    image: str
    asr_text: str | None = None


@dataclass(slots=True)
class _Utterances:
    data: Annotated[list[_Utterance], FailFast()]
    image_base_path: str = ""
    audio_base_path: str = ""


_UTTERANCES = TypeAdapter(_Utterances)


@dataclass(slots=True)
class _Record:
    """An image and what is said about it.

    Attributes:
        folder: Where images are looked for.
        image: The file; None where it is absent.
        class_name: First the folders of its class, then the name of the class it is counted with.
        utterances: The recognized text, which may be empty, and the recording of each.
    """

    split: str
    folder: Path
    image: Path | None
    class_name: str | None
    utterances: list[tuple[str, Path]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


_Records = dict[PurePosixPath, _Record]  # by the path that the JSON files give the image


def _key(path: PurePosixPath) -> str:
    return path.with_suffix("").as_posix()


def _find_files(root: Path, train: Path | None, test: Path | None, *, needs_test: bool) -> dict[str, Path]:
    """{split: JSON file}; "test" may be missing where the split is made otherwise."""

    def found(names: Iterable[str]) -> Path | None:
        return next((root / name for name in names if (root / name).is_file()), None)

    train, test = train or found(_TRAIN_FILES), test or found(_TEST_FILES)
    if train is None:
        raise DataError(
            f"{root} holds neither {' nor '.join(_TRAIN_FILES)}",
            hint=f"name the JSON file with --train; {PLACES_PAGE}",
        )
    if test is not None:
        return {"train": train, "test": test}
    if needs_test:
        raise DataError(
            f"{root} holds none of {', '.join(_TEST_FILES)}",
            hint="name the test images' JSON file with --test or a list of them with --test-list, or draw them"
            " with --test-share",
        )
    return {"train": train}


def _read_utterances(
    path: Path, split: str, root: Path, images: Path | None, audio: Path | None, records: _Records
) -> None:
    """Adds what a JSON file lists to `records`."""
    content = read_json(path, _UTTERANCES, "Places audio captions", f"{_FORM}; {PLACES_PAGE}")
    if not content.data:
        raise DataError(f"{path} lists no utterance", hint=_FORM)
    folder = _find_images(path, content.image_base_path, root, images)
    recordings = audio or _base(path, content.audio_base_path) or root
    for number, utterance in enumerate(content.data):
        where = f"{path}: utterance {number}"
        image = inner_path(utterance.image, where)
        wav = inner_path(utterance.wav, where, "recordings")
        record = records.get(image)
        if record is None:
            folders = _class_folders(image)
            record = _Record(split, folder, _find_image(folder, image), "/".join(folders) or None)
            records[image] = record
        elif record.split != split and not record.problems:
            record.problems.append("stands in the training file and in the test file")
        record.utterances.append(((utterance.asr_text or "").strip(), recordings / wav))


def _base(path: Path, base: str) -> Path | None:
    """The folder that a JSON file names as the base of its paths, if there is one; relative to the file."""
    folder = path.parent / base  # `base` itself where it is absolute
    return folder if base and folder.is_dir() else None


def _find_images(path: Path, base: str, root: Path, images: Path | None) -> Path:
    folder = images or _base(path, base) or root / "images"
    if folder.is_dir():
        return folder
    if images:
        raise DataError(f"{images} is not a folder", hint=PLACES_PAGE)
    named = f"{base}, its image_base_path, is no folder" if base else "it names no image_base_path"
    raise DataError(
        f"{path}: no images: {named}, and {folder} is not there",
        hint=f"name the folder that holds b/bedroom/… with --images; {PLACES_PAGE}",
    )


def _class_folders(image: PurePosixPath) -> tuple[str, ...]:
    """The folders of an image without the letter they are sorted under: ("church", "outdoor")."""
    folders = image.parts[:-1]
    if len(folders) > 1 and len(folders[0]) == 1 and folders[1].startswith(folders[0]):
        return folders[1:]
    return folders


def _find_image(folder: Path, image: PurePosixPath) -> Path | None:
    """The file of an image: sorted by letter and class, by class, or all in one folder as S2IGAN has them."""
    for relative in (image, PurePosixPath(*_class_folders(image), image.name), PurePosixPath(image.name)):
        if os.path.isfile(folder / relative):  # unlike Path.is_file, False for a name too long
            return folder / relative
    return None


def _choose_classes(records: _Records, classes: Sequence[str] | None) -> tuple[str, ...]:
    """Drops the images of other classes; gives each record the name of its class and returns the names."""
    found = {record.class_name for record in records.values() if record.class_name}
    if classes is None:
        return tuple(sorted(found))
    names = tuple(dict.fromkeys(name.strip().replace(" ", "_") for name in classes))
    counted = {
        path: next((name for name in names if name == path or path.startswith(f"{name}/")), None)
        for path in found
    }
    known = sorted(found)
    for name in names:
        if classes is not SUBSET and name not in counted.values():
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"there are {_some(known)}"
            raise UsageError(f"no image is of the class {name!r}", hint=hint)
    for path, record in list(records.items()):
        record.class_name = counted.get(record.class_name or "")
        if record.class_name is None:
            del records[path]
    if not records:
        raise DataError(
            f"no image is of one of the classes {', '.join(names)}; there are {_some(known) or 'no classes'}",
            hint="choose with --classes NAME,NAME; --classes all takes every image",
        )
    return names


def _some(names: Sequence[str]) -> str:
    """A few names, for a message."""
    listed = ", ".join(names[:10])
    return f"{listed} and {len(names) - 10:,} more" if len(names) > 10 else listed


def _assign_splits(records: _Records, test_list: Path | None, test_share: float | None, seed: int) -> None:
    """Gives every record another split than that of its file, where one is asked for."""
    if test_list is None and test_share is None:
        return
    if test_list is not None:
        names = set(read_names(test_list))
        test = {
            path
            for path in records
            if names & {_key(path), path.stem, "/".join((*_class_folders(path), path.stem))}
        }
        if not test:
            raise DataError(
                f"{test_list}: none of its {len(names):,} names is an image of the chosen classes"
            )
    else:
        drawn = draw_test([_key(path) for path in records], test_share or 0.0, seed)
        test = {path for path in records if _key(path) in drawn}
    for path, record in records.items():
        record.split = "test" if path in test else "train"
        record.problems.clear()  # of standing in both files
