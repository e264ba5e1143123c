"""The demo dataset: birds drawn from known attributes, written in the raw layout of CUB-200-2011 and read back by
the reader of CUB.

Its species are class-disjoint between train and test: the test species are combinations that training never shows,
of colours and shapes that it shows often.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from gancli.atomic import temporary_name
from gancli.data.source import Source
from gancli.data.sources import cub
from gancli.data.sources.demo.captions import asked_colors, write_captions
from gancli.data.sources.demo.drawing import BACKGROUNDS, COLORS, Plumage, draw_bird
from gancli.errors import DataError, RunError, UsageError

__all__ = ["ATTRIBUTES", "Species", "asked_colors", "read", "species", "write_demo"]

VERSION = 2  # of the drawing and the captions; a folder of another version is not taken for the same
SETTINGS_FILE = "demo.json"
TEST_CLASSES_FILE = "test_classes.txt"

# Groups and values in the order and with the names of CUB's attributes.txt; `has_background` is ours.
_VALUES: dict[str, tuple[str, ...]] = {
    "bill_shape": ("curved_(up_or_down)", "dagger", "hooked", "needle", "cone"),
    "wing_color": COLORS,
    "tail_shape": ("forked_tail", "rounded_tail", "fan-shaped_tail", "pointed_tail", "squared_tail"),
    "bill_length": ("about_the_same_as_head", "longer_than_head", "shorter_than_head"),
    "belly_color": COLORS,
    "size": ("large_(16_-_32_in)", "small_(5_-_9_in)", "medium_(9_-_16_in)"),
    "primary_color": COLORS,
    "crown_color": COLORS,
    "wing_pattern": ("solid", "spotted", "striped", "multi-colored"),
    "background": BACKGROUNDS,
}
ATTRIBUTES = tuple(f"has_{group}::{value}" for group, values in _VALUES.items() for value in values)
_CERTAINTIES = ("not visible", "guessing", "probably", "definitely")
PARTS = (
    "back", "beak", "belly", "breast", "crown", "forehead", "left eye", "left leg", "left wing", "nape", "right eye",
    "right leg", "right wing", "tail", "throat",
)  # fmt: skip
_NOUNS = {
    "curved_(up_or_down)": "Thrasher",
    "dagger": "Kingfisher",
    "hooked": "Shrike",
    "needle": "Warbler",
    "cone": "Finch",
}

# First number of the seed of each independent random stream
_SPECIES_STREAM, _TEST_STREAM, _IMAGE_STREAM = range(3)


@dataclass(frozen=True)
class Species:
    """A class of the dataset: its name as in classes.txt ("001.White_bellied_Red_Finch"), its look, its split."""

    name: str
    plumage: Plumage
    test: bool


def read(
    root: Path,
    *,
    attributes: cub.Encoding | None = None,
    silhouettes: cub.Silhouettes | None = None,
) -> Source:
    """The demo dataset below `root`, which `write_demo` wrote, through the reader of CUB.

    Args:
        attributes: As `cub.read` takes it. The images' own are certain: "soft" is the same as "binary".
        silhouettes: As `cub.read` takes it. There are official ones.

    Raises:
        DataError: `root` holds no complete demo dataset.
    """
    if not (root / SETTINGS_FILE).is_file():
        raise DataError(
            f"{root / SETTINGS_FILE}: no such file", "write_demo makes the folder whole, or not at all."
        )
    return cub.read(
        root,
        name="demo",
        test_classes=root / TEST_CLASSES_FILE,
        attributes=attributes,
        silhouettes=silhouettes,
    )


def species(count: int, seed: int) -> list[Species]:
    """The dataset's species: distinct combinations with every primary colour equally often, a quarter for testing."""
    rng = np.random.default_rng([_SPECIES_STREAM, seed])
    plumages: dict[Plumage, None] = {}  # a set that keeps its order
    while len(plumages) < count:
        for primary in rng.permutation(COLORS):
            others = rng.permutation([color for color in COLORS if color != primary])
            belly, wing = str(others[0]), str(others[1])
            drawn = {group: str(rng.choice(_VALUES[group])) for group in _SHAPE_GROUPS}
            plumages[Plumage(str(primary), belly, wing, str(rng.choice(others)), **drawn)] = None
    order = np.random.default_rng([_TEST_STREAM, seed]).permutation(count)
    test = set(order[: max(1, round(count / 4))].tolist())
    digits = max(3, len(str(count)))
    return [
        Species(f"{index + 1:0{digits}d}.{_species_name(plumage)}", plumage, index in test)
        for index, plumage in enumerate(list(plumages)[:count])
    ]


_SHAPE_GROUPS = ("wing_pattern", "bill_shape", "bill_length", "tail_shape", "size")


def _species_name(plumage: Plumage) -> str:
    return f"{plumage.belly.title()}_bellied_{plumage.primary.title()}_{_NOUNS[plumage.bill_shape]}"


def _present(plumage: Plumage, background: str) -> list[bool]:
    """Whether each of `ATTRIBUTES` holds."""
    values = {group: getattr(plumage, group) for group in _SHAPE_GROUPS}
    values |= {f"{part}_color": getattr(plumage, part) for part in ("primary", "belly", "wing", "crown")}
    values["background"] = background
    return [values[group] == value for group, group_values in _VALUES.items() for value in group_values]


# ----------------------------------------------------------------------------------------------------------
# Writing


@dataclass(frozen=True)
class _Record:
    """What the index files say about one image."""

    file: str  # "001.White_bellied_Red_Finch/White_bellied_Red_Finch_0003_0011.png"
    class_index: int
    background: str
    box: tuple[int, int, int, int]
    parts: dict[str, tuple[float, float] | None]


def write_demo(
    root: Path,
    *,
    images: int = 2000,
    image_size: int = 64,
    seed: int = 0,
    images_per_class: int = 5,
    jobs: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Draw the demo dataset in the raw layout of CUB-200-2011.

    The folder appears whole under its name or not at all. The same settings give the same bytes whatever `jobs` is.
    Called again for a folder that holds the same settings, it returns at once.

    Args:
        root: Gets CUB_200_2011/, attributes.txt, text/, test_classes.txt and demo.json.
        images: At least 2, so that there is something to train on and something to test on.
        image_size: Side of the images that `prepare` and the loader will make of it, in pixels, at least 16. The
            files themselves are larger, so that cropping to the bird's box never enlarges.
        seed: Not negative.
        images_per_class: Species are as many as it takes, at least 2.
        jobs: Processes that draw.
        progress: Called with the images done and `images`.

    Raises:
        UsageError: A setting is out of range, or `root` holds something else.
        RunError: The system refuses to write.
    """
    settings = {
        "version": VERSION,
        "images": images,
        "image_size": image_size,
        "seed": seed,
        "images_per_class": images_per_class,
    }
    for name, value, least in (
        ("images", images, 2),
        ("image_size", image_size, 16),
        ("seed", seed, 0),
        ("images_per_class", images_per_class, 1),
        ("jobs", jobs, 1),
    ):
        if value < least:
            raise UsageError(f"demo: {name} is {value}, it has to be at least {least}")
    root = Path(root)
    if _holds(root, settings):
        return
    try:
        with _new_folder(root) as folder:
            _write(folder, settings, jobs, progress)
    except RunError:
        if not _holds(root, settings):  # another process drew the same meanwhile, which is as good
            raise


def _holds(root: Path, settings: dict[str, int]) -> bool:
    """Whether the same dataset is there already.

    Raises:
        UsageError: Something else is there.
    """
    if not root.exists() or (root.is_dir() and not any(root.iterdir())):
        return False
    hint = "choose another folder, or remove this one"
    try:
        found = json.loads((root / SETTINGS_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise UsageError(f"{root}: is there already and is no demo dataset", hint) from None
    different = [
        key for key, value in settings.items() if not isinstance(found, dict) or found.get(key) != value
    ]
    if different:
        changes = ", ".join(
            f"{key} {found.get(key) if isinstance(found, dict) else None} -> {settings[key]}"
            for key in different
        )
        raise UsageError(f"{root}: holds a demo dataset of other settings ({changes})", hint)
    return True


@contextmanager
def _new_folder(root: Path) -> Iterator[Path]:
    """A temporary folder beside `root` that gets its name when the block ends well, and is removed otherwise."""
    temporary = temporary_name(root)
    try:
        temporary.mkdir(parents=True)
        yield temporary
        if root.exists():
            root.rmdir()  # empty, `_holds` has seen to it
        os.replace(temporary, root)
    except OSError as error:
        raise RunError(
            f"{root}: cannot be written ({error.strerror or error})",
            "free some space or choose another folder",
        ) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _write(
    folder: Path, settings: dict[str, int], jobs: int, progress: Callable[[int, int], None] | None
) -> None:
    images = settings["images"]
    classes = species(max(2, -(-images // settings["images_per_class"])), settings["seed"])
    for kind in ("CUB_200_2011/images", "CUB_200_2011/segmentations", "text"):
        for one in classes:
            (folder / kind / one.name).mkdir(parents=True)
    # images of a class stand together, as in CUB
    class_of = [index * len(classes) // images for index in range(images)]
    work = [(index, class_index, classes[class_index]) for index, class_index in enumerate(class_of)]
    draw = partial(_write_image, folder, settings["image_size"], settings["seed"])
    records: list[_Record] = []
    for record in _map(draw, work, jobs):
        records.append(record)
        if progress is not None:
            progress(len(records), images)
    _write_indices(folder, classes, records)
    (folder / SETTINGS_FILE).write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")


def _map(
    function: Callable[[tuple[int, int, Species]], _Record], work: list[tuple[int, int, Species]], jobs: int
) -> Iterable[_Record]:
    if jobs == 1:
        yield from map(function, work)
        return
    # spawn: a fork of a process that has loaded torch may hang
    with ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("spawn")) as pool:
        yield from pool.map(function, work, chunksize=16)


def _write_image(folder: Path, image_size: int, seed: int, work: tuple[int, int, Species]) -> _Record:
    """Draw one image and write it, its silhouette and its captions."""
    index, class_index, one = work
    rng = np.random.default_rng([_IMAGE_STREAM, seed, index])
    background = BACKGROUNDS[rng.integers(len(BACKGROUNDS))]
    drawing = draw_bird(one.plumage, background, image_size, rng)
    number, _, name = one.name.partition(".")
    stem = f"{one.name}/{name}_{number}_{index + 1:04d}"
    _save_png(drawing.image, folder / "CUB_200_2011/images" / f"{stem}.png")
    _save_png(drawing.mask, folder / "CUB_200_2011/segmentations" / f"{stem}.png")
    captions = write_captions(one.plumage, background, rng)
    (folder / "text" / f"{stem}.txt").write_text("".join(f"{c.text}\n" for c in captions), encoding="utf-8")
    return _Record(f"{stem}.png", class_index, background, drawing.box, drawing.parts)


def _save_png(image: Image.Image, path: Path) -> None:
    image.save(path, compress_level=4)


def _write_indices(folder: Path, classes: list[Species], records: list[_Record]) -> None:
    """The text files of the layout; every id counts from 1."""
    cub_folder = folder / "CUB_200_2011"
    present = [_present(classes[r.class_index].plumage, r.background) for r in records]
    _write_lines(folder / TEST_CLASSES_FILE, (one.name for one in classes if one.test))
    _write_numbered(folder / "attributes.txt", ATTRIBUTES)
    _write_numbered(cub_folder / "classes.txt", (one.name for one in classes))
    _write_numbered(cub_folder / "images.txt", (r.file for r in records))
    _write_numbered(cub_folder / "image_class_labels.txt", (r.class_index + 1 for r in records))
    _write_numbered(
        cub_folder / "train_test_split.txt", (int(not classes[r.class_index].test) for r in records)
    )
    _write_numbered(cub_folder / "bounding_boxes.txt", (" ".join(f"{v:.1f}" for v in r.box) for r in records))
    _write_numbered(cub_folder / "parts/parts.txt", PARTS)
    _write_lines(
        cub_folder / "parts/part_locs.txt",
        (
            f"{image} {part} {place[0]:.1f} {place[1]:.1f} 1" if place else f"{image} {part} 0.0 0.0 0"
            for image, record in enumerate(records, 1)
            for part, place in enumerate((record.parts[name] for name in PARTS), 1)
        ),
    )
    _write_numbered(cub_folder / "attributes/certainties.txt", _CERTAINTIES)
    _write_lines(  # image, attribute, present, certainty 4 "definitely", seconds the annotator took
        cub_folder / "attributes/image_attribute_labels.txt",
        (
            f"{image} {attribute} {int(holds)} 4 0.0"
            for image, row in enumerate(present, 1)
            for attribute, holds in enumerate(row, 1)
        ),
    )
    rows: list[list[list[bool]]] = [[] for _ in classes]
    for record, row in zip(records, present, strict=True):
        rows[record.class_index].append(row)
    _write_lines(  # percentages per class
        cub_folder / "attributes/class_attribute_labels_continuous.txt",
        (" ".join(f"{share:g}" for share in 100 * np.mean(of_class, axis=0)) for of_class in rows),
    )


def _write_numbered(path: Path, values: Iterable[object]) -> None:
    _write_lines(path, (f"{number} {value}" for number, value in enumerate(values, 1)))


def _write_lines(path: Path, lines: Iterable[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="\n") as file:
        file.writelines(f"{line}\n" for line in lines)
