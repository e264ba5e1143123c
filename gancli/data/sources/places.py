"""Reader of the Places audio captions (Harwath, Torralba and Glass 2016), all of them or those of seven classes.

A JSON file lists utterances: the recording, the image it describes, and the text from a speech recognizer, the only
text there is. The images are those of Places205 (Zhou et al. 2014), in folders by the first letter of their class:
`b/bedroom/gsun_0a1b….jpg`. Speech-to-image papers use seven classes of indoor scenes, the "Places-subset" (13,803
pairs, 10,933 / 2,870).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
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
    is_file,
    key_of,
    nearest,
    open_root,
    read_json,
    read_names,
    with_article,
)
from gancli.errors import DataError, UsageError

SUBSET = ("bedroom", "dinette", "dining_room", "home_office", "hotel_room", "kitchenette", "living_room")
"""The classes of the Places-subset, from the code of Li et al. 2020. S2IGAN and Fusion-S2iGan use the same."""

PLACES_PAGE = (
    "the Places audio captions (PlacesAudio_400k_distro) are at"
    " https://groups.csail.mit.edu/sls/downloads/placesaudio/, the images (Places205) at"
    " http://places.csail.mit.edu/"
)
_FORM = 'it should hold {"image_base_path": …, "audio_base_path": …, "data": [{"wav": …, "image": …, "asr_text": …}]}'
_TRAIN_FILES = ("train.json", "metadata/train.json")
_TEST_FILES = ("test.json", "metadata/test.json", "val.json", "metadata/val.json")


def read(
    root: str | Path,
    *,
    train: str | Path | None = None,
    test: str | Path | None = None,
    images: str | Path | None = None,
    audio: str | Path | None = None,
    classes: str | Sequence[str] | None = SUBSET,
    test_list: str | Path | None = None,
    test_share: float | None = None,
    seed: int = 0,
    captions_from_class_names: bool = False,
    partial: bool = False,
    name: str = "places",
) -> Source:
    """Open a copy of the Places audio captions, whole or in part.

    Args:
        root: Folder of the audio captions.
        train: JSON file of training utterances; by default `train.json` in `root` or `root/metadata`.
        test: JSON file of test utterances; by default `test.json` or else `val.json` in `root` or `root/metadata`.
        images: Folder that holds `b/bedroom/…`, `bedroom/…` or the images themselves; by default the file's
            `image_base_path` if it is a folder, else `root/images`.
        audio: Folder that the names of recordings are relative to; by default the file's `audio_base_path` if it is a
            folder, else `root`.
        classes: Classes to keep; "church" takes `church/indoor` and `church/outdoor` together. None keeps all.
        test_list: List of the images that become "test" (see `reading.read_names`), with or without their folders. All
            others of both JSON files become "train".
        test_share: Share of the images of both JSON files that is drawn as "test".
        seed: Seed of the drawn split.
        captions_from_class_names: Caption each image with the name of its class instead of the recognized text, for a
            language without a writing system.
        partial: Accept absent images as a `BadSample` each.

    Returns:
        A sample for each image with all utterances about it, in the order of the files, with keys such as
        `b/bedroom/gsun_0a1b`. The captions are the recognized texts. Utterances without text are left out.

    Raises:
        DataError: A file or folder is missing or malformed, no image is of one of the default classes, or an image is
            absent and `partial` is false.
        UsageError: No image is of one of `classes`, or `test_list` is combined with `test_share`.
    """
    if test_list and test_share is not None:
        raise UsageError("a test list and a test share exclude each other", hint="give one of them")
    if test_share is not None:
        check_share(test_share)
    root = open_root(root, PLACES_PAGE)
    files = _find_files(root, train, test, needs_test=not test_list and test_share is None)
    records: _Records = {}
    for split, path in files.items():
        _read_utterances(path, split, root, images, audio, records)
    class_names = _choose_classes(records, classes)
    split_rule = _assign_splits(records, test_list, test_share, seed)
    _refuse_absent(records, files, partial)
    class_ids = {class_name: index for index, class_name in enumerate(class_names)}
    return Source(
        name=name,
        samples=(each.sample(path, class_ids, captions_from_class_names) for path, each in records.items()),
        release="Places-subset" if set(class_names) == set(SUBSET) else "Places audio captions",
        split_rule=split_rule,
        class_names=class_names,
        fingerprint=fingerprint([*files.values(), *([Path(test_list)] if test_list else [])], root),
    )


def sentence_of(class_name: str) -> str:
    """Return the caption made from a class name: "a home office" for "home_office"."""
    return with_article(class_name.replace("_", " ").replace("/", " "))


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
    """An image and the utterances about it: the recognized text, possibly empty, and the recording of each.

    Attributes:
        folder: Folder where the image was looked for.
        image: The file, None if it is absent.
        class_name: At first the folders of its class, later the name of the class it counts for.
    """

    split: str
    folder: Path
    image: Path | None
    class_name: str | None
    utterances: list[tuple[str, Path]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def sample(
        self, path: PurePosixPath, class_ids: Mapping[str, int], captions_from_class_names: bool
    ) -> Sample | BadSample:
        """Return the image with its captions and recordings."""
        problems = list(self.problems)
        if self.image is None:
            problems.append(f"{path} is listed but absent from {self.folder}")
        spoken = [(text, wav) for text, wav in self.utterances if text]
        captions = tuple(text for text, _ in spoken)
        recordings = tuple(Recording(caption, wav) for caption, (_, wav) in enumerate(spoken))
        if captions_from_class_names:
            if self.class_name is None:
                problems.append("lies in no folder of a class, whose name could be its caption")
            else:
                captions = (sentence_of(self.class_name),)
                recordings = tuple(Recording(0, wav) for _, wav in self.utterances)
        elif not captions:
            problems.append("none of its utterances has an asr_text")
        if problems or self.image is None:
            return BadSample(key_of(path), "; ".join(problems))
        return Sample(
            key=key_of(path),
            split=self.split,
            image=self.image,
            captions=captions,
            class_id=None if self.class_name is None else class_ids[self.class_name],
            recordings=recordings,
        )


_Records = dict[PurePosixPath, _Record]  # by the path that the JSON files give the image


# ----------------------------------------------------------------------------------------------------------
# Files


def _find_files(
    root: Path, train: str | Path | None, test: str | Path | None, *, needs_test: bool
) -> dict[str, Path]:
    """Return the JSON file of each split. "test" may be missing unless `needs_test`."""

    def found(given: str | Path | None, names: Sequence[str]) -> Path | None:
        if given is not None:
            return Path(given)
        return next((root / name for name in names if (root / name).is_file()), None)

    train, test = found(train, _TRAIN_FILES), found(test, _TEST_FILES)
    if train is None:
        hint = f"name the JSON file with --train; {PLACES_PAGE}"
        raise DataError(f"{root} holds neither {' nor '.join(_TRAIN_FILES)}", hint=hint)
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
    path: Path, split: str, root: Path, images: str | Path | None, audio: str | Path | None, records: _Records
) -> None:
    """Add the content of a JSON file to `records`."""
    content = read_json(path, _UTTERANCES, "Places audio captions", f"{_FORM}; {PLACES_PAGE}")
    if not content.data:
        raise DataError(f"{path} lists no utterance", hint=_FORM)
    folder = _find_images(path, content.image_base_path, root, images)
    recordings = Path(audio) if audio else _base(path, content.audio_base_path) or root
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
            record.problems.append("is in the training file and in the test file")
        record.utterances.append(((utterance.asr_text or "").strip(), recordings / wav))


def _base(path: Path, base: str) -> Path | None:
    """Return the folder that a JSON file names as the base of its paths, if it exists; relative to the file."""
    folder = path.parent / base  # `base` itself if it is absolute
    return folder if base and folder.is_dir() else None


def _find_images(path: Path, base: str, root: Path, images: str | Path | None) -> Path:
    folder = Path(images) if images else _base(path, base) or root / "images"
    if folder.is_dir():
        return folder
    if images:
        raise DataError(f"{images} is not a folder", hint=PLACES_PAGE)
    named = f"its image_base_path {base} is not a folder" if base else "it names no image_base_path"
    hint = f"name the folder that holds b/bedroom/… with --images; {PLACES_PAGE}"
    raise DataError(f"{path}: no images: {named}, and {folder} does not exist", hint=hint)


def _class_folders(image: PurePosixPath) -> tuple[str, ...]:
    """Return the folders of an image without the letter they are sorted under: ("church", "outdoor")."""
    folders = image.parts[:-1]
    if len(folders) > 1 and len(folders[0]) == 1 and folders[1].startswith(folders[0]):
        return folders[1:]
    return folders


def _find_image(folder: Path, image: PurePosixPath) -> Path | None:
    """Return the file of an image: sorted by letter and class, by class, or all in one folder as in S2IGAN."""
    for relative in (image, PurePosixPath(*_class_folders(image), image.name), PurePosixPath(image.name)):
        if is_file(folder / relative):
            return folder / relative
    return None


def _refuse_absent(records: _Records, files: dict[str, Path], partial: bool) -> None:
    absent = [path for path, record in records.items() if record.image is None]
    if absent and not partial:
        raise DataError(
            f"{' and '.join(map(str, files.values()))}: {len(absent):,} of {len(records):,} images are absent"
            f" from {records[absent[0]].folder}, the first is {absent[0]}",
            hint="name the folder that holds b/bedroom/… with --images, or take those there with --skip-bad",
        )


# ----------------------------------------------------------------------------------------------------------
# Classes and splits


def _choose_classes(records: _Records, classes: str | Sequence[str] | None) -> tuple[str, ...]:
    """Drop the images of other classes, set the class of each record and return the class names."""
    found = sorted({record.class_name for record in records.values() if record.class_name})
    if classes is None:
        return tuple(found)
    chosen = [classes] if isinstance(classes, str) else classes
    names = tuple(dict.fromkeys(name.strip().replace(" ", "_") for name in chosen))
    counted = {folders: _class_of(folders, names) for folders in found}
    if classes is not SUBSET:
        _refuse_unknown(names, counted.values(), found)
    for path, record in list(records.items()):
        record.class_name = counted.get(record.class_name or "")
        if record.class_name is None:
            del records[path]
    if not records:
        raise DataError(
            f"no image is of one of the classes {', '.join(names)}; there are {_some(found) or 'no classes'}",
            hint="choose with --classes NAME,NAME; --classes all takes every image",
        )
    return names


def _class_of(folders: str, names: Sequence[str]) -> str | None:
    """Return the class that images in these folders count for, the folders' name or the beginning of it."""
    return next((name for name in names if f"{folders}/".startswith(f"{name}/")), None)


def _refuse_unknown(names: Sequence[str], used: Collection[str | None], found: Sequence[str]) -> None:
    for name in names:
        if name not in used:
            near = nearest(name, found)
            hint = f"did you mean {near!r}?" if near else f"there are {_some(found)}"
            raise UsageError(f"no image is of the class {name!r}", hint=hint)


def _some(names: Sequence[str]) -> str:
    """Return the first few names, for a message."""
    listed = ", ".join(names[:10])
    return f"{listed} and {len(names) - 10:,} more" if len(names) > 10 else listed


def _assign_splits(
    records: _Records, test_list: str | Path | None, test_share: float | None, seed: int
) -> str:
    """Give every record another split than that of its file if one is asked for. Return the split rule."""
    if test_list is None and test_share is None:
        return "official"
    if test_list is not None:
        names = set(read_names(Path(test_list)))

        def names_of(path: PurePosixPath) -> set[str]:
            return {key_of(path), path.stem, "/".join((*_class_folders(path), path.stem))}

        test = {path for path in records if names & names_of(path)}
        if not test:
            raise DataError(
                f"{test_list}: none of its {len(names):,} names is an image of the chosen classes"
            )
    else:
        drawn = draw_test([key_of(path) for path in records], test_share or 0.0, seed)
        test = {path for path in records if key_of(path) in drawn}
    for path, record in records.items():
        record.split = "test" if path in test else "train"
        record.problems.clear()  # being in both files no longer matters
    return "test list" if test_share is None else drawn_rule(test_share, seed)
