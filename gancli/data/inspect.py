"""Summary and contact sheet of a dataset folder: `gancli data show`."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from gancli.data.manifest import stored_side
from gancli.data.shards import FOREGROUND, Dataset, Split
from gancli.errors import DataError, UsageError

MARGIN = 6  # pixels around every tile
LINES = 3  # lines of text below a tile
GOOD, FAULTY = (255, 230, 0), (255, 40, 40)  # colours of outlines


@dataclass(frozen=True, slots=True)
class SplitSummary:
    """Numbers of one split.

    Attributes:
        captions_per_image: Fewest and most captions of an image.
        utterances: Number of spoken captions.
        utterance_seconds: Mean length of a spoken caption.
        classes: Number of classes with an image in the split.
    """

    images: int
    captions: int
    captions_per_image: tuple[int, int]
    words_per_caption: float
    utterances: int
    utterance_seconds: float
    classes: int
    shards: int
    bytes: int


@dataclass(frozen=True, slots=True)
class Summary:
    """Numbers of a dataset folder, with sides in pixels.

    Attributes:
        vocabulary: Entries of the vocabulary, index 0 included.
        speech: Speaker of the captions, or "".
        silhouettes: Source of the silhouettes, or "".
        usable_silhouettes: Number of good silhouettes in each split.
    """

    name: str
    release: str
    split_rule: str
    crop_rule: str
    path: str
    image_size: int
    stored_shorter_side: int
    codec: str
    splits: dict[str, SplitSummary]
    classes: int
    attributes: int
    vocabulary: int
    vocabulary_hash: str
    rejected: int
    speech: str
    silhouettes: str
    usable_silhouettes: dict[str, int]
    gancli_version: str


def describe(dataset: Dataset | str | Path) -> Summary:
    """Summarise a dataset, open or by its folder, from the names and offsets in its shards.

    Raises:
        DataError: The dataset or a shard is missing or unreadable.
    """
    dataset = dataset if isinstance(dataset, Dataset) else Dataset.open(dataset)
    manifest = dataset.manifest
    splits = {}
    for name, entry in manifest.splits.items():
        split = dataset.split(name)
        captions, words = split.caption_counts()
        frames = split.speech_lengths() if split.has_speech else np.zeros(0)
        seconds = float(frames.mean()) * split.mel.hop_ms / 1000 if split.mel and len(frames) else 0.0
        splits[name] = SplitSummary(
            images=entry.images,
            captions=entry.captions,
            captions_per_image=(int(captions.min()), int(captions.max())),
            words_per_caption=words / max(1, entry.captions),
            utterances=len(frames),
            utterance_seconds=seconds,
            classes=len(np.unique(split.class_ids)) if dataset.class_names else 0,
            shards=len(entry.shards),
            bytes=sum((dataset.path / shard.file).stat().st_size for shard in entry.shards),
        )
    return Summary(
        name=manifest.name,
        release=manifest.release,
        split_rule=manifest.split_rule,
        crop_rule=manifest.crop_rule,
        path=str(dataset.path),
        image_size=manifest.image_size,
        stored_shorter_side=stored_side(manifest.image_size),
        codec=manifest.codec,
        splits=splits,
        classes=len(dataset.class_names),
        attributes=len(dataset.attribute_names),
        vocabulary=manifest.tokenizer.words,
        vocabulary_hash=manifest.tokenizer.vocabulary_hash,
        rejected=manifest.rejected,
        speech=manifest.speech.speaker if manifest.speech else "",
        silhouettes=manifest.silhouettes.method if manifest.silhouettes else "",
        usable_silhouettes=manifest.silhouettes.usable if manifest.silhouettes else {},
        gancli_version=manifest.gancli_version,
    )


def contact_sheet(
    dataset: Dataset | str | Path,
    *,
    split: str | None = None,
    images: int = 24,
    columns: int = 6,
    tile: int = 160,
    outlines: bool = False,
) -> Image.Image:
    """Draw images spread evenly over a split (RGB), each with its class or name and its first caption.

    Args:
        dataset: Dataset or its folder.
        split: Name of the split. None takes the first one.
        images: Number of images, or all of a smaller split.
        columns: Tiles in a row.
        tile: Side in pixels of the square that an image is fitted into.
        outlines: Outline the silhouettes as well, the good ones in yellow and the faulty ones in red.

    Raises:
        DataError: The dataset or the split is missing, or the split is empty or has no silhouettes to outline.
        UsageError: A number is out of range.
    """
    dataset = dataset if isinstance(dataset, Dataset) else Dataset.open(dataset)
    if images < 1 or columns < 1 or tile < 32:
        raise UsageError("a contact sheet takes at least 1 image, 1 column and tiles of 32 pixels")
    name = split or dataset.split_names[0]
    chosen = dataset.split(name)
    if not len(chosen):
        raise DataError(f"{dataset.path}: split {name!r} is empty")
    indices = np.linspace(0, len(chosen) - 1, min(images, len(chosen))).round().astype(int).tolist()
    columns = min(columns, len(indices))

    font = ImageFont.load_default(size=max(9, tile // 14))
    line = int(font.getbbox("Ag")[3]) + 2
    letters = max(8, int(tile / font.getlength("n")))
    cell_width, cell_height = tile + 2 * MARGIN, tile + (1 + LINES) * line + 2 * MARGIN
    rows = -(-len(indices) // columns)
    sheet = Image.new("RGB", (columns * cell_width, rows * cell_height), "white")
    draw = ImageDraw.Draw(sheet)
    for position, index in enumerate(indices):
        left = position % columns * cell_width + MARGIN
        top = position // columns * cell_height + MARGIN
        image = Image.fromarray(chosen.image(index))
        image.thumbnail((tile, tile))
        if outlines:
            image = _outlined(image, chosen, index)
        sheet.paste(image, (left + (tile - image.width) // 2, top + (tile - image.height) // 2))
        title = dataset.class_names[chosen.class_ids[index]] if dataset.class_names else chosen.keys[index]
        draw.text((left, top + tile), title[:letters], fill="black", font=font)
        caption = textwrap.wrap(chosen.captions(index)[0], letters)[:LINES]
        for number, text in enumerate(caption, start=1):
            draw.text((left, top + tile + number * line), text, fill="dimgray", font=font)
    return sheet


def _outlined(image: Image.Image, split: Split, index: int) -> Image.Image:
    """Draw the outline of the silhouette on an image, which may be a smaller copy."""
    silhouette = Image.fromarray(split.silhouette(index)).resize(image.size, Image.Resampling.BILINEAR)
    object_pixels = np.asarray(silhouette) >= FOREGROUND
    inside = np.pad(object_pixels, 1)
    kept = inside[:-2, 1:-1] & inside[2:, 1:-1] & inside[1:-1, :-2] & inside[1:-1, 2:]
    pixels = np.array(image)
    pixels[object_pixels & ~kept] = FAULTY if split.silhouette_faults[index] else GOOD
    return Image.fromarray(pixels)
