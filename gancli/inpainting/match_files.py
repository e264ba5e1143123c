"""Images, mask files, captions and results of a call, matched and checked before anything is filled."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Literal, get_args

from gancli.data.holes import (
    Hole,
    check_hole,
    grow_hole,
    hole_files_by_image,
    image_name,
    polarity_warning,
    read_hole,
    unmarked,
)
from gancli.data.sources.image_folder import captions_of, list_images
from gancli.errors import DataError, UsageError, check_least
from gancli.inpainting.photo import FORMATS, Header, check_format, read_header

Existing = Literal["refuse", "skip", "overwrite"]  # treatment of results that are there already

_LISTED = 10  # files or problems that a message names
_HINT = (
    "A mask file has its image's name, also with _mask or -mask behind it, and any ending. "
    "Or one mask file is for all images."
)


@dataclass(frozen=True)
class MaskFile:
    """Mask file or folder of mask files, and how holes are made of them.

    Attributes:
        path: Mask file or folder.
        inverted: True where black is the hole.
        dilate: Pixels to grow the holes by.
        feather: Pixels outside the holes to blend over, which then change. 0 changes nothing outside the holes.

    Raises:
        UsageError: A number is negative.
    """

    path: str | Path
    inverted: bool = False
    dilate: int = 0
    feather: int = 0

    def __post_init__(self) -> None:
        check_least(dilate=(self.dilate, 0), feather=(self.feather, 0))

    def read_hole(self, file: Path) -> Hole:
        """Read the hole of one of the mask files, and grow it.

        Raises:
            DataError: The file cannot be read, or its hole is empty or full.
        """
        hole = read_hole(file, inverted=self.inverted)
        check_hole(hole, str(file))
        if self.dilate:
            hole = grow_hole(hole, self.dilate)
            check_hole(hole, f"{file}, grown by {self.dilate} pixels")
        return hole


@dataclass(frozen=True)
class Task:
    """An image to fill.

    Attributes:
        image: Image file.
        mask: Mask file.
        key: Path of the image below its folder, without ending. Seed, caption and key determine the noise.
        caption: Caption for the hole.
        out: File to write.
    """

    image: Path
    mask: Path
    key: str
    caption: str
    out: Path


def find_tasks(
    image: str | Path,
    mask: str | Path,
    texts: Sequence[str] | None,
    captions: str | Path | None,
    out: str | Path | None,
) -> list[Task]:
    """Match images with mask files, captions and results.

    Args:
        image: Image, or folder of images.
        mask: Mask file, or for a folder of images also a folder of mask files, which may be the same folder.
        texts: Texts for the hole. For a folder, at most one, which is used for all images. None needs no captions.
        captions: Captions for a folder, as `gancli.data.sources.image_folder.read` takes them.
        out: Result, or folder of results for a folder of images. None takes a name in the working folder.

    Raises:
        UsageError: Arguments contradict each other.
        DataError: A file is missing, an image has no mask file or caption, or a mask file has no image. All of them
            are listed.
    """
    image, mask = Path(image), Path(mask)
    captions = None if captions is None else Path(captions)
    out = None if out is None else Path(out)
    for path in (image, mask):
        if not path.exists():
            raise DataError(f"{path}: no such file or folder", "Check the path.")
    if not all(text.strip() for text in texts or ()):
        raise UsageError("a text is empty", 'Say what is to be in the hole: --text "a small red bird".')
    if texts and captions is not None:
        raise UsageError("captions come either from texts or from files, not from both")
    if image.is_dir():
        return _of_folder(image, mask, texts, captions, out or Path("images"))
    return _of_file(image, mask, texts, captions, out)


def _of_file(
    image: Path, mask: Path, texts: Sequence[str] | None, captions: Path | None, out: Path | None
) -> list[Task]:
    """Return the tasks of one image, one for each text."""
    if mask.is_dir():
        raise UsageError(f"{mask}: is a folder, and {image} one image", "Name the image's mask file.")
    if captions is not None:
        raise UsageError(
            "files of captions are for folders of images", 'For one image say --text "a small red bird".'
        )
    if texts is not None and not texts:
        raise UsageError("nothing says what is to be in the hole", 'Say --text "a small red bird".')
    if out is None:
        ending = image.suffix if image.suffix.lower() in FORMATS else ".png"
        out = Path(f"{image.stem}-inpainted{ending}")
    elif out.is_dir():
        out = out / image.name
    stripped = [text.strip() for text in texts or [""]]
    files = [out] if len(stripped) == 1 else [beside(out, str(n)) for n in range(1, len(stripped) + 1)]
    return [Task(image, mask, image.stem, text, file) for text, file in zip(stripped, files, strict=True)]


def _of_folder(
    folder: Path, mask: Path, texts: Sequence[str] | None, captions: Path | None, out: Path
) -> list[Task]:
    """Return the tasks of a folder, in the order of the images' names."""
    if texts and len(texts) > 1:
        raise UsageError("several texts are for one image", "Say one text for all images of a folder.")
    if out.exists() and not out.is_dir():
        raise UsageError(f"{out}: is a file", "Name a folder for the images.")
    # Results and mask files may lie in a folder below the images
    images = _outside(folder, list_images(folder), (out, mask))
    mask_files, problems = _mask_files_of(folder, images, mask, out)
    images = sorted(mask_files)
    named: dict[PurePosixPath, list[str]] = {}
    if texts:
        named = {path: [texts[0].strip()] for path in images}
    elif texts is not None and images:
        try:
            named, missing = captions_of(folder, set(images), captions)
        except DataError as error:
            raise DataError(
                str(error), f'{error.hint or ""}; or say one --text "…" for all'.lstrip("; ")
            ) from error
        problems += [f"{path}: {reason}" for path, reason in sorted(missing.items())]
    refuse(f"{folder} and {mask}", problems, _HINT)
    if not images:
        raise DataError(f"{folder}: no image to fill in it, only mask files and results", _HINT)

    def task(path: PurePosixPath) -> Task:
        key, caption = path.with_suffix("").as_posix(), named[path][0] if named else ""
        return Task(folder / path, mask_files[path], key, caption, out / path)

    return list(map(task, images))


def _outside(
    folder: Path, paths: Iterable[PurePosixPath], others: Iterable[Path]
) -> Collection[PurePosixPath]:
    """Return the paths below a folder that are not below another folder in it."""
    inner = [
        PurePosixPath(other.resolve().relative_to(folder.resolve()).as_posix())
        for other in others
        if other.is_dir() and folder.resolve() in other.resolve().parents
    ]
    return [path for path in paths if not any(path.is_relative_to(other) for other in inner)]


def _mask_files_of(
    folder: Path, images: Collection[PurePosixPath], mask: Path, out: Path
) -> tuple[dict[PurePosixPath, Path], list[str]]:
    """Return the mask file of each image, and one line for each image and mask file without a single partner."""
    if mask.is_file():
        return dict.fromkeys((path for path in images if not mask.samefile(folder / path)), mask), []
    if mask.samefile(folder):
        files: Collection[PurePosixPath] = {path for path in images if unmarked(path) != image_name(path)}
        images = [path for path in images if path not in files]
    else:
        files = _outside(mask, list_images(mask), (out,))
    by_image, names = hole_files_by_image(files), {image_name(path) for path in images}
    found: dict[PurePosixPath, Path] = {}
    problems = []
    for path in sorted(images):
        fitting = by_image.get(image_name(path), [])
        if len(fitting) == 1:
            found[path] = mask / fitting[0]
        elif fitting:
            problems.append(f"{path}: has several masks, {', '.join(map(str, fitting))}")
        else:
            problems.append(f"{path}: has no mask")
    unused = sorted(path for path in files if not {image_name(path), unmarked(path)} & names)
    problems += [f"{path}: is a mask without image" for path in unused]
    return found, problems


def beside(path: Path, name: str, suffix: str | None = None) -> Path:
    """Return a file with a longer name: out.png and "texts" give out-texts.png."""
    return path.with_name(f"{path.stem}-{name}{path.suffix if suffix is None else suffix}")


def refuse(what: str, problems: Sequence[str], hint: str | None) -> None:
    """Raise DataError if there are problems, with one per line."""
    if len(problems) == 1:
        raise DataError(problems[0], hint)
    if problems:
        more = [f"… and {len(problems) - _LISTED:,} more"] if len(problems) > _LISTED else []
        lines = "".join(f"\n  {line}" for line in [*problems[:_LISTED], *more])
        raise DataError(f"{what}: {len(problems):,} problems:{lines}", hint)


def some(files: Sequence[object]) -> str:
    """Return the first few files of a list, and how many more there are."""
    more = f" and {len(files) - _LISTED:,} more" if len(files) > _LISTED else ""
    return ", ".join(map(str, files[:_LISTED])) + more


def to_do(files: Sequence[Sequence[Path]], inputs: Collection[Path], existing: Existing) -> list[int]:
    """Return the numbers of the results that are still to be written.

    Args:
        files: Files that are written for each result.
        inputs: Files that are read.
        existing: Treatment of results that are there already: "refuse", "skip" or "overwrite".

    Raises:
        UsageError: Two results have the same file, a file is there already, or a file is where a folder is needed.
    """
    if existing not in get_args(Existing):
        raise UsageError(f"existing has to be one of {', '.join(get_args(Existing))}. Received: {existing!r}")
    every = [file for each in files for file in each]
    if twice := sorted(file for file, count in Counter(every).items() if count > 1):
        raise UsageError(f"several results have one name: {some(twice)}", "Rename an image.")
    for folder in {file.parent for file in every}:
        above = next((path for path in (folder, *folder.parents) if path.exists()), folder)
        if above.exists() and not above.is_dir():
            raise UsageError(f"{above}: is a file", "Name a folder for the results.")
    there = {file for file in every if file.exists()}
    if existing != "overwrite":
        _refuse_replacing(there, inputs, existing)
    return [n for n, each in enumerate(files) if existing != "skip" or not there.issuperset(each)]


def _refuse_replacing(there: Collection[Path], inputs: Collection[Path], existing: Existing) -> None:
    """Refuse results that are inputs, and unless they are skipped, all that are there already."""
    read = {path.resolve() for path in inputs}
    if own := sorted(file for file in there if file.resolve() in read):
        raise UsageError(
            f"{some(own)}: is read, and would be replaced", "Name another --out, or say --overwrite."
        )
    if there and existing == "refuse":
        raise UsageError(
            f"{some(sorted(there))}: there already",
            "--skip-existing leaves what is there, --overwrite replaces it; or name another --out.",
        )


@dataclass
class _Findings:
    """Findings about mask files and their images."""

    problems: list[DataError] = field(default_factory=list)
    suspected: list[str] = field(default_factory=list)  # warnings of swapped black and white
    # Images by loss of content
    changes: dict[str, set[Path]] = field(default_factory=lambda: defaultdict(set))


def check_inputs(tasks: Sequence[Task], mask: MaskFile, *, transparent: bool = True) -> list[str]:
    """Check every mask file, and the header of every image file.

    Args:
        tasks: Images to fill.
        mask: Mask files.
        transparent: Keep transparency in the results.

    Returns:
        Warnings.

    Raises:
        DataError: Mask files or images cannot be used. All of them are listed.
        UsageError: The format of a result cannot be written, or cannot keep its image's transparency.
    """
    for task in tasks:
        check_format(task.out)
    by_file: dict[Path, dict[Path, Path]] = defaultdict(dict)
    for task in tasks:
        by_file[task.mask][task.image] = task.out
    found = _Findings()

    def look(file: Path) -> None:
        try:
            hole = mask.read_hole(file)
        except DataError as error:
            found.problems.append(error)
            return
        if warning := polarity_warning(hole, str(file)):
            found.suspected.append(warning)
        for image, out in by_file[file].items():
            try:
                header = _check_image(image, file, hole)
            except DataError as error:
                found.problems.append(error)
                continue
            check_format(out, transparent=transparent and header.transparent)
            if header.change is not None:
                found.changes[header.change].add(image)

    with ThreadPoolExecutor() as pool:
        list(pool.map(look, by_file))
    hints = {problem.hint for problem in found.problems}
    problems = sorted(str(problem) for problem in found.problems)
    refuse("images and mask files", problems, hints.pop() if len(hints) == 1 else None)
    suspected = sorted(found.suspected)
    if len(suspected) > 1:
        suspected[1:] = [f"{len(suspected) - 1:,} more masks look like that"]
    return suspected + [
        f"{some(sorted(images))}: {change}" for change, images in sorted(found.changes.items())
    ]


def _check_image(image: Path, file: Path, hole: Hole) -> Header:
    """Read the header of an image, and compare its size with that of its hole."""
    header = read_header(image)
    if (header.height, header.width) != hole.shape:
        upright = " upright, as its EXIF orientation says" if header.turned else ""
        raise DataError(
            f"{image}: has {header.width} x {header.height} pixels{upright}, "
            f"its mask {file} {hole.shape[1]} x {hole.shape[0]}",
            "A mask has the size of its image; nothing is resized.",
        )
    return header
