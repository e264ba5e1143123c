"""The demo dataset: birds drawn from known attributes, in the raw layout of CUB-200-2011 and read by its reader.

Train and test share no species. A test species is a new combination of colours and shapes that are frequent in train.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from gancli.atomic import temporary_name
from gancli.data.source import Source
from gancli.data.sources import cub
from gancli.data.sources.demo.captions import asked_colors, write_captions
from gancli.data.sources.demo.drawing import BACKGROUNDS, COLORS, Plumage, draw_bird
from gancli.errors import DataError, RunError, UsageError
from gancli.progress import Progress, reporting

__all__ = ["ATTRIBUTES", "Species", "asked_colors", "read", "species", "write_demo"]

VERSION = 2  # version of drawing and captions; `write_demo` refuses a folder of another version
SETTINGS_FILE = "demo.json"
TEST_CLASSES_FILE = "test_classes.txt"

# Groups and values with the names and in the order of CUB's attributes.txt, plus our own `has_background`
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
_NON_COLOR_GROUPS = ("wing_pattern", "bill_shape", "bill_length", "tail_shape", "size")

# First number in the seed of each random stream, which makes the streams independent
_SPECIES_STREAM, _TEST_STREAM, _IMAGE_STREAM = range(3)


@dataclass(frozen=True)
class Species:
    """A class of the dataset, by its name as in classes.txt ("001.White_bellied_Red_Finch"); `test` is its split."""

    name: str
    plumage: Plumage
    test: bool


def read(
    root: str | Path, *, attributes: cub.Encoding | None = None, silhouettes: cub.Silhouettes | None = None
) -> Source:
    """Open a demo dataset that `write_demo` wrote.

    Args:
        root: Folder that `write_demo` wrote.
        attributes: Meaning of an attribute's number, see `cub.read`. "soft" equals "binary" here: all are certain.
        silhouettes: "official", "estimate" or "none", see `cub.read`; by default the official ones, which are drawn.

    Raises:
        DataError: `root` holds no complete demo dataset.
    """
    root = Path(root)
    if not (root / SETTINGS_FILE).is_file():
        raise DataError(
            f"{root / SETTINGS_FILE}: no such file", "write_demo writes the folder whole, or not at all."
        )
    test_classes = root / TEST_CLASSES_FILE
    source = cub.read(
        root, name="demo", test_classes=test_classes, attributes=attributes, silhouettes=silhouettes
    )
    return replace(source, release="demo")


def species(count: int, seed: int) -> list[Species]:
    """Return distinct species, every primary colour equally often, a quarter of them for testing."""
    rng = np.random.default_rng([_SPECIES_STREAM, seed])
    plumages: dict[Plumage, None] = {}  # a set that keeps its order
    while len(plumages) < count:
        for primary in rng.permutation(COLORS):
            others = rng.permutation([color for color in COLORS if color != primary])
            belly, wing = str(others[0]), str(others[1])
            drawn = {group: str(rng.choice(_VALUES[group])) for group in _NON_COLOR_GROUPS}
            plumages[Plumage(str(primary), belly, wing, str(rng.choice(others)), **drawn)] = None
    order = np.random.default_rng([_TEST_STREAM, seed]).permutation(count)
    test = set(order[: max(1, round(count / 4))].tolist())
    digits = max(3, len(str(count)))
    return [
        Species(f"{index + 1:0{digits}d}.{_species_name(plumage)}", plumage, index in test)
        for index, plumage in enumerate(list(plumages)[:count])
    ]


def _species_name(plumage: Plumage) -> str:
    return f"{plumage.belly.title()}_bellied_{plumage.primary.title()}_{_NOUNS[plumage.bill_shape]}"


def _present(plumage: Plumage, background: str) -> list[bool]:
    """Return the truth of each of `ATTRIBUTES`."""
    values = {group: getattr(plumage, group) for group in _NON_COLOR_GROUPS}
    values |= {f"{part}_color": getattr(plumage, part) for part in ("primary", "belly", "wing", "crown")}
    values["background"] = background
    return [values[group] == value for group, group_values in _VALUES.items() for value in group_values]


# ----------------------------------------------------------------------------------------------------------
# Writing


@dataclass(frozen=True)
class _Record:
    """One image as the index files describe it."""

    file: str  # "001.White_bellied_Red_Finch/White_bellied_Red_Finch_0003_0011.png"
    class_index: int
    background: str
    box: tuple[int, int, int, int]
    parts: dict[str, tuple[float, float] | None]


def write_demo(
    root: str | Path,
    *,
    images: int = 2000,
    image_size: int = 64,
    seed: int = 0,
    images_per_class: int = 5,
    jobs: int = 1,
    progress: Progress | bool = True,
) -> None:
    """Draw the demo dataset in the raw layout of CUB-200-2011.

    The folder appears under its name only when it is complete. The same settings give the same bytes with any `jobs`.
    A folder that already holds the dataset of these settings is kept as it is.

    Args:
        root: Folder to write: CUB_200_2011/, attributes.txt, text/, test_classes.txt and demo.json.
        images: Number of images, at least 2: one to train on, one to test on.
        image_size: Side of the images that `prepare` and the loader will make, in pixels, at least 16. The files are
            larger, so that the crop to the bird's box never enlarges.
        seed: Seed of the species, drawings and captions, at least 0.
        images_per_class: Images of a species. There are at least 2 species.
        jobs: Processes that draw.
        progress: Callback or progress bar, see `gancli.progress.reporting`.

    Raises:
        UsageError: A setting is out of range, or `root` holds something else.
        RunError: The system refuses to write.
    """
    settings = {
        "images": images,
        "image_size": image_size,
        "seed": seed,
        "images_per_class": images_per_class,
    }
    for (name, value), least in zip((*settings.items(), ("jobs", jobs)), (2, 16, 0, 1, 1), strict=True):
        if value < least:
            raise UsageError(f"demo: {name} is {value}, it has to be at least {least}")
    settings = {"version": VERSION, **settings}
    root = Path(root)
    if _holds(root, settings):
        return
    try:
        with _new_folder(root) as folder, reporting(progress, "drawing", "images") as report:
            _write(folder, settings, jobs, report)
    except RunError:
        if not _holds(root, settings):  # unless another process has just drawn the same
            raise


def _holds(root: Path, settings: dict[str, int]) -> bool:
    """Return True if `root` holds the dataset of these settings, False if absent or empty. Else raise UsageError."""
    if not root.exists() or (root.is_dir() and not any(root.iterdir())):
        return False
    hint = "choose another folder, or remove this one"
    try:
        found = json.loads((root / SETTINGS_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        found = None
    if not isinstance(found, dict):
        raise UsageError(f"{root}: exists and is not a demo dataset", hint)
    changed = [key for key, value in settings.items() if found.get(key) != value]
    changes = [f"{key} {found.get(key)} -> {settings[key]}" for key in changed]
    if changes:
        raise UsageError(f"{root}: holds a demo dataset of other settings ({', '.join(changes)})", hint)
    return True


@contextmanager
def _new_folder(root: Path) -> Iterator[Path]:
    """Yield a temporary folder beside `root`, renamed to `root` if the block ends well and removed otherwise."""
    temporary = temporary_name(root)
    try:
        temporary.mkdir(parents=True)
        yield temporary
        if root.exists():
            root.rmdir()  # `_holds` has checked that it is empty
        os.replace(temporary, root)
    except OSError as error:
        problem = f"{root}: cannot be written ({error.strerror or error})"
        raise RunError(problem, "free some space or choose another folder") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _write(folder: Path, settings: dict[str, int], jobs: int, report: Progress | None) -> None:
    images = settings["images"]
    classes = species(max(2, -(-images // settings["images_per_class"])), settings["seed"])
    for kind in ("CUB_200_2011/images", "CUB_200_2011/segmentations", "text"):
        for one in classes:
            (folder / kind / one.name).mkdir(parents=True)
    # Images of a class are contiguous, as in CUB
    class_of = [index * len(classes) // images for index in range(images)]
    work = [(index, class_index, classes[class_index]) for index, class_index in enumerate(class_of)]
    draw = partial(_write_image, folder, settings["image_size"], settings["seed"])
    records: list[_Record] = []
    for record in _map(draw, work, jobs):
        records.append(record)
        if report is not None:
            report(len(records), images)
    _write_indices(folder, classes, records)
    (folder / SETTINGS_FILE).write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")


def _map(
    function: Callable[[tuple[int, int, Species]], _Record], work: list[tuple[int, int, Species]], jobs: int
) -> Iterable[_Record]:
    if jobs == 1:
        yield from map(function, work)
        return
    # Not fork: a fork of a process that has loaded torch may hang
    with ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("spawn")) as pool:
        yield from pool.map(function, work, chunksize=16)


def _write_image(folder: Path, image_size: int, seed: int, work: tuple[int, int, Species]) -> _Record:
    """Draw one image; write it with its silhouette and captions."""
    index, class_index, one = work
    rng = np.random.default_rng([_IMAGE_STREAM, seed, index])
    background = BACKGROUNDS[rng.integers(len(BACKGROUNDS))]
    drawing = draw_bird(one.plumage, background, image_size, rng)
    number, _, name = one.name.partition(".")
    stem = f"{one.name}/{name}_{number}_{index + 1:04d}"
    for kind, image in (("images", drawing.image), ("segmentations", drawing.silhouette)):
        image.save(folder / "CUB_200_2011" / kind / f"{stem}.png", compress_level=4)
    captions = write_captions(one.plumage, background, rng)
    (folder / "text" / f"{stem}.txt").write_text("".join(f"{c.text}\n" for c in captions), encoding="utf-8")
    return _Record(f"{stem}.png", class_index, background, drawing.box, drawing.parts)


def _write_indices(folder: Path, classes: list[Species], records: list[_Record]) -> None:
    """Write the text files of the layout. Every id counts from 1."""
    base = folder / "CUB_200_2011"
    _write_lines(folder / TEST_CLASSES_FILE, (one.name for one in classes if one.test))
    _write_numbered(base / "classes.txt", (one.name for one in classes))
    _write_numbered(base / "images.txt", (record.file for record in records))
    _write_numbered(base / "image_class_labels.txt", (record.class_index + 1 for record in records))
    in_train = (int(not classes[record.class_index].test) for record in records)
    _write_numbered(base / "train_test_split.txt", in_train)
    boxes = (" ".join(f"{value:.1f}" for value in record.box) for record in records)
    _write_numbered(base / "bounding_boxes.txt", boxes)
    _write_numbered(base / "parts/parts.txt", PARTS)
    locations = ((record.parts[name] for name in PARTS) for record in records)
    points = (
        [f"{point[0]:.1f} {point[1]:.1f} 1" if point else "0.0 0.0 0" for point in row] for row in locations
    )
    _write_lines(base / "parts/part_locs.txt", _cells(points))
    _write_attributes(folder, classes, records)


def _write_attributes(folder: Path, classes: list[Species], records: list[_Record]) -> None:
    attributes = folder / "CUB_200_2011/attributes"
    rows = [_present(classes[record.class_index].plumage, record.background) for record in records]
    _write_numbered(folder / "attributes.txt", ATTRIBUTES)
    _write_numbered(attributes / "certainties.txt", _CERTAINTIES)
    # Image, attribute, present, certainty 4 "definitely", seconds that the annotator took
    labels = _cells([f"{int(holds)} 4 0.0" for holds in row] for row in rows)
    _write_lines(attributes / "image_attribute_labels.txt", labels)
    of_class: list[list[list[bool]]] = [[] for _ in classes]
    for record, row in zip(records, rows, strict=True):
        of_class[record.class_index].append(row)
    percentages = (" ".join(f"{share:g}" for share in 100 * np.mean(group, axis=0)) for group in of_class)
    _write_lines(attributes / "class_attribute_labels_continuous.txt", percentages)


def _cells(rows: Iterable[Iterable[str]]) -> Iterator[str]:
    """Yield every cell of a table behind its row and column number."""
    for row, cells in enumerate(rows, 1):
        for column, cell in enumerate(cells, 1):
            yield f"{row} {column} {cell}"


def _write_numbered(path: Path, values: Iterable[object]) -> None:
    _write_lines(path, (f"{number} {value}" for number, value in enumerate(values, 1)))


def _write_lines(path: Path, lines: Iterable[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="\n") as file:
        file.writelines(f"{line}\n" for line in lines)
