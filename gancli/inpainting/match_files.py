"""Which image is filled in which hole, with which caption, into which file: found and checked before all else."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

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
from gancli.errors import DataError, UsageError
from gancli.inpainting.photo import FORMATS, check_format, read_header

_LISTED = 10  # of a list of files
_HINT = (
    "A mask has its image's name, or that with _mask or -mask behind it, whatever both end in; "
    "or one mask file is for all images."
)


@dataclass(frozen=True)
class Task:
    """An image to be filled.

    Attributes:
        image: Its file.
        mask: File of its hole.
        key: What its noise is drawn from, beside seed and caption: its path below its folder, without ending.
        caption: What is to be in the hole.
        out: File to write.
    """

    image: Path
    mask: Path
    key: str
    caption: str
    out: Path


def find_tasks(
    image: Path, mask: Path, texts: Sequence[str] | None, captions: Path | None, out: Path | None
) -> list[Task]:
    """Images with masks, captions and names.

    Args:
        image: An image, or a folder of images.
        mask: A mask, or for a folder of images a folder of masks; it may be the same folder.
        texts: For a folder at most one, which then is that of all images; None where no captions are needed.
        captions: For a folder: where captions are, as `gancli.data.sources.image_folder.read` takes it.
        out: File, or folder for images of a folder; None: a name of its own in the working folder.

    Raises:
        UsageError: What is named does not go together.
        DataError: A file is missing, or an image has no mask or caption, or a mask no image; all are listed.
    """
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
    """One image, with one text or several."""
    if mask.is_dir():
        raise UsageError(f"{mask}: is a folder, and {image} one image", "Name the image's mask.")
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
    """All images of a folder, in the order of their names."""
    if texts and len(texts) > 1:
        raise UsageError("several texts are for one image", "Say one text for all images of a folder.")
    if out.exists() and not out.is_dir():
        raise UsageError(f"{out}: is a file", "Name a folder for the images.")
    # Results and masks may lie in a folder below the images, and are none of them
    images = _outside(folder, list_images(folder), (out, mask))
    masks, problems = _masks_of(folder, images, mask, out)
    images = sorted(masks)
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
        raise DataError(f"{folder}: no image to fill in it, only masks and results", _HINT)
    return [
        Task(
            folder / path,
            masks[path],
            path.with_suffix("").as_posix(),
            named[path][0] if named else "",
            out / path,
        )
        for path in images
    ]


def _outside(
    folder: Path, paths: Iterable[PurePosixPath], others: Iterable[Path]
) -> Collection[PurePosixPath]:
    """The paths below a folder that are not below another folder in it."""
    inner = [
        PurePosixPath(other.resolve().relative_to(folder.resolve()).as_posix())
        for other in others
        if other.is_dir() and folder.resolve() in other.resolve().parents
    ]
    return [path for path in paths if not any(path.is_relative_to(other) for other in inner)]


def _masks_of(
    folder: Path, images: Collection[PurePosixPath], mask: Path, out: Path
) -> tuple[dict[PurePosixPath, Path], list[str]]:
    """The mask of each image, and which images and masks have no or no single partner."""
    if mask.is_file():
        return dict.fromkeys((path for path in images if not mask.samefile(folder / path)), mask), []
    if mask.samefile(folder):
        masks: Collection[PurePosixPath] = {path for path in images if unmarked(path) != image_name(path)}
        images = [path for path in images if path not in masks]
    else:
        masks = _outside(mask, list_images(mask), (out,))
    by_image, names = hole_files_by_image(masks), {image_name(path) for path in images}
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
    unused = sorted(path for path in masks if not {image_name(path), unmarked(path)} & names)
    problems += [f"{path}: is a mask without image" for path in unused]
    return found, problems


def beside(path: Path, name: str, suffix: str | None = None) -> Path:
    """A file beside another whose name goes on: out.png and "texts" give out-texts.png."""
    return path.with_name(f"{path.stem}-{name}{path.suffix if suffix is None else suffix}")


def refuse(what: str, problems: Sequence[str], hint: str | None) -> None:
    """Raises DataError where there are problems, with one a line."""
    if len(problems) == 1:
        raise DataError(problems[0], hint)
    if problems:
        more = [f"… and {len(problems) - _LISTED:,} more"] if len(problems) > _LISTED else []
        lines = "".join(f"\n  {line}" for line in [*problems[:_LISTED], *more])
        raise DataError(f"{what}: {len(problems):,} problems:{lines}", hint)


def some(files: Sequence[object]) -> str:
    """The first few files of a list, and how many more there are."""
    more = f" and {len(files) - _LISTED:,} more" if len(files) > _LISTED else ""
    return ", ".join(map(str, files[:_LISTED])) + more


# --- checks -----------------------------------------------------------------------------------------------------


def to_do(
    files: Sequence[Sequence[Path]], inputs: Collection[Path], *, skip_existing: bool, overwrite: bool
) -> list[int]:
    """Which results are still to be written.

    Args:
        files: Of each result, all that is written for it.
        inputs: What is read.
        skip_existing: Leave out those whose files are all there.
        overwrite: Replace what is there.

    Raises:
        UsageError: Two results have one name, something is there already, or a file is where a folder is needed.
    """
    if skip_existing and overwrite:
        raise UsageError("existing images are either left or replaced", "Say --skip-existing or --overwrite.")
    every = [file for each in files for file in each]
    if twice := sorted(file for file, count in Counter(every).items() if count > 1):
        raise UsageError(f"several results have one name: {some(twice)}", "Rename an image.")
    for folder in {file.parent for file in every}:
        above = next((path for path in (folder, *folder.parents) if path.exists()), folder)
        if above.exists() and not above.is_dir():
            raise UsageError(f"{above}: is a file", "Name a folder for the results.")
    existing = {file for file in every if file.exists()}
    read = {path.resolve() for path in inputs}
    own = [file for file in every if file in existing and file.resolve() in read]
    if own and not overwrite:
        raise UsageError(
            f"{some(own)}: is read, and would be replaced", "Name another --out, or say --overwrite."
        )
    if existing and not overwrite and not skip_existing:
        raise UsageError(
            f"{some(sorted(existing))}: there already",
            "--skip-existing leaves what is there, --overwrite replaces it; or name another --out.",
        )
    return [n for n, each in enumerate(files) if not (skip_existing and existing.issuperset(each))]


def open_hole(mask: Path, inverted: bool, dilate: int) -> Hole:
    """The hole of a mask file, grown by some pixels.

    Raises:
        DataError: It cannot be read, or there is no hole in it, or nothing else.
    """
    hole = read_hole(mask, inverted=inverted)
    check_hole(hole, str(mask))
    if dilate:
        hole = grow_hole(hole, dilate)
        check_hole(hole, f"{mask}, grown by {dilate} pixels")
    return hole


def check_inputs(
    tasks: Sequence[Task], inverted: bool, dilate: int, *, transparent: bool = True
) -> list[str]:
    """Looks at every mask and at what every image file says of itself; gives back what to warn of.

    Args:
        tasks: What is to be done.
        inverted: Black is the hole in the masks.
        dilate: Pixels that holes grow by.
        transparent: Whether transparency is to be kept in the results.

    Raises:
        DataError: Masks or images cannot be used; all are listed.
        UsageError: The format of a result cannot be written, or cannot keep its image's transparency.
    """
    for task in tasks:
        check_format(task.out)
    by_mask: dict[Path, list[Task]] = defaultdict(list)
    for task in tasks:
        by_mask[task.mask].append(task)
    problems: list[tuple[str, str | None]] = []  # message and hint
    suspected: list[str] = []
    changes: dict[str, set[Path]] = defaultdict(set)

    def look(mask: Path) -> None:
        try:
            hole = open_hole(mask, inverted, dilate)
        except DataError as error:
            problems.append((str(error), error.hint))
            return
        if warning := polarity_warning(hole, str(mask)):
            suspected.append(warning)
        for image, out in {task.image: task.out for task in by_mask[mask]}.items():
            try:
                header = read_header(image)
            except DataError as error:
                problems.append((str(error), error.hint))
                continue
            check_format(out, transparent=transparent and header.transparent)
            if (header.height, header.width) != hole.shape:
                upright = " upright, as its EXIF orientation says" if header.turned else ""
                sizes = (
                    f"{image}: has {header.width} x {header.height} pixels{upright}, "
                    f"its mask {mask} {hole.shape[1]} x {hole.shape[0]}"
                )
                problems.append((sizes, "A mask has the size of its image; nothing is resized."))
            if header.change is not None:
                changes[header.change].add(image)

    with ThreadPoolExecutor() as pool:
        list(pool.map(look, by_mask))
    hints = {hint for _, hint in problems}
    refuse(
        "what is to be filled", sorted(text for text, _ in problems), hints.pop() if len(hints) == 1 else None
    )
    suspected.sort()
    if len(suspected) > 1:
        suspected[1:] = [f"{len(suspected) - 1:,} more masks look like that"]
    return suspected + [f"{some(sorted(images))}: {change}" for change, images in sorted(changes.items())]
