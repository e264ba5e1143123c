"""Figures from images: grids, stages side by side, word attention maps. Pillow and NumPy only.

Generators return images in [-1, 1]; everything here is uint8. All images that gancli writes are rounded by
`round((x + 1) * 127.5)` and clipped to [0, 255]. (AttnGAN's code truncates, which darkens by half a level.)
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont, ImageOps
from torch import Tensor

Pixels = NDArray[np.uint8]

BACKGROUND = (255, 255, 255)
INK = (20, 20, 20)
MARGIN = 3  # pixels between an image and its label
SMALLEST_PANEL = 64  # side in figures of many images; smaller ones are enlarged
SMALLEST_FILLING = 128  # side of a filled image beside its attention
COLUMN_LINES = 12  # most lines of a column's attributes
PANELS = 6  # most images in a row of a figure of several texts
HOLE = (128, 128, 128)  # colour of a hole, which is grey to the network too
# Dark violet over red to pale yellow for attention 0, 0.25, 0.5, 0.75, 1. Brightness rises throughout, so the map
# still reads in grey.
HEAT = np.array([(12, 8, 38), (101, 21, 110), (203, 65, 73), (249, 155, 21), (252, 255, 164)], np.float32)


def to_uint8(images: Tensor) -> Pixels:
    """Return images (B, 3, H, W) in [-1, 1] as (B, H, W, 3) uint8, rounded as above; NaN becomes 0."""
    levels = images.detach().float().add(1).mul(127.5).nan_to_num(0.0).round().clamp(0, 255)
    result: Pixels = levels.permute(0, 2, 3, 1).cpu().numpy().astype(np.uint8)
    return result


def grid(
    images: Tensor | Sequence[Pixels],
    columns: int | None = None,
    *,
    pad: int = 2,
    labels: Sequence[str] | None = None,
    label_lines: int = 3,
) -> Image.Image:
    """Return images in rows and columns, in reading order.

    Args:
        images: (B, 3, H, W) in [-1, 1], or uint8 arrays (H, W, 3) of any sizes. Cells have the size of the largest
            image, with smaller images in the centre.
        columns: Images in a row; None for a shape close to a square.
        pad: Pixels between cells and around them.
        labels: Text below each image, wrapped to the cell's width.
        label_lines: Most lines of a label; a longer one ends in "…".

    Raises:
        ValueError: There are no images, or not one label for each.
    """
    cells = list(to_uint8(images)) if isinstance(images, Tensor) else list(images)
    if not cells:
        raise ValueError("a grid needs at least one image")
    if labels is not None and len(labels) != len(cells):
        raise ValueError(f"{len(labels)} labels for {len(cells)} images")
    columns = min(columns or math.ceil(math.sqrt(len(cells))), len(cells))
    rows = math.ceil(len(cells) / columns)
    height = max(image.shape[0] for image in cells)
    width = max(image.shape[1] for image in cells)
    texts: list[list[str]] = [[] for _ in cells]
    font = _font(width)
    if labels is not None:
        texts = [_wrap(label, font, width, label_lines) for label in labels]
    line = _line_height(font)
    most = max(len(text) for text in texts)
    cell = height + (MARGIN + most * line if most else 0)
    sheet = Image.new("RGB", (columns * (width + pad) + pad, rows * (cell + pad) + pad), BACKGROUND)
    draw = ImageDraw.Draw(sheet)
    for index, (image, text) in enumerate(zip(cells, texts, strict=True)):
        row, column = divmod(index, columns)
        left, top = pad + column * (width + pad), pad + row * (cell + pad)
        offset = ((width - image.shape[1]) // 2, (height - image.shape[0]) // 2)
        sheet.paste(Image.fromarray(image), (left + offset[0], top + offset[1]))
        for number, words in enumerate(text):
            draw.text((left, top + height + MARGIN + number * line), words, fill=INK, font=font)
    return sheet


def stages_figure(
    images: Sequence[Pixels], caption: str, *, names: Sequence[str], size: int | None = None
) -> Image.Image:
    """Return the stages of an image side by side, enlarged to one size, with its caption (FF-GAN Fig. 5, StackGAN).

    Args:
        images: (S, S, 3) per stage, smallest first.
        caption: Text of the image.
        names: Names of the stages.
        size: Side of every panel in pixels; None for the last stage's, but at least 128.
    """
    side = size or max(128, images[-1].shape[0])
    panels = [_enlarge(image, side) for image in images]
    labels = [f"{name}: {image.shape[1]}x{image.shape[0]}" for name, image in zip(names, images, strict=True)]
    return _captioned(grid(panels, len(panels), pad=6, labels=labels, label_lines=1), caption)


def attention_figure(
    images: Sequence[Pixels],
    attention: Sequence[NDArray[np.float32]],
    words: Sequence[str],
    caption: str,
    *,
    size: int = 128,
) -> Image.Image:
    """Return the attention of each refinement stage to each word, one row per stage (FF-GAN Fig. 6).

    A row starts with the stage's image. Each panel after it shows one word's attention over that image; the stage's
    strongest attention to any word is the brightest.

    Args:
        images: (S, S, 3) per stage, smallest first; the first has no attention.
        attention: (L, H, W) per refinement stage; each pixel's weights sum to 1 over the L words.
        words: The L words, without padding.
        caption: Text of the image.
        size: Side of a panel in pixels.
    """
    panels: list[Pixels] = []
    labels: list[str] = []
    for stage, (image, maps) in enumerate(zip(images[1:], attention, strict=True), start=1):
        enlarged = _enlarge(image, size)
        panels.append(enlarged)
        labels.append(f"stage {stage}")
        brightest = max(float(maps[: len(words)].max()), 1e-12)
        for word, weights in zip(words, maps, strict=False):
            panels.append(heat_overlay(enlarged, weights / brightest))
            labels.append(f"{word} {float(weights.max()):.2f}")
    sheet = grid(panels, len(words) + 1, pad=4, labels=labels, label_lines=2)
    return _captioned(sheet, f"{caption}  (number: the word's largest weight)")


def variants_figure(rows: Sequence[Sequence[Pixels]], captions: Sequence[str]) -> Image.Image:
    """Return one row of variants (S, S, 3) per caption, which stands above it (StackGAN, conditioning augmentation)."""
    side = max(SMALLEST_PANEL, rows[0][0].shape[0])
    strips = [grid([_enlarge(image, side) for image in row], len(row)) for row in rows]
    return _stacked([_captioned(strip, caption) for strip, caption in zip(strips, captions, strict=True)])


def shapes_figure(
    rows: Sequence[Sequence[Pixels]],
    *,
    columns: Sequence[str] | None = None,
    lines: Sequence[str] | None = None,
) -> Image.Image:
    """Return silhouettes and the images painted on them (attr2image Figs. 4 and 5).

    Args:
        rows: Images (S, S, 3) of any sizes; the smaller ones are enlarged.
        columns: Text below each image of the first row, for its column.
        lines: Text above each row.
    """
    side = max(SMALLEST_FILLING, *(image.shape[0] for row in rows for image in row))
    strips = []
    for number, row in enumerate(rows):
        panels = [_enlarge(image, side) for image in row]
        named = columns if number == 0 else None
        strip = grid(panels, len(panels), labels=named, label_lines=COLUMN_LINES)
        strips.append(strip if lines is None else _captioned(strip, lines[number]))
    return _stacked(strips)


def _stacked(strips: Sequence[Image.Image]) -> Image.Image:
    """Return figures of one width, one below the other."""
    sheet = Image.new("RGB", (strips[0].width, sum(strip.height for strip in strips)), BACKGROUND)
    top = 0
    for strip in strips:
        sheet.paste(strip, (0, top))
        top += strip.height
    return sheet


def interpolation_figure(
    rows: Sequence[Sequence[Pixels]], weights: Sequence[float], first: str, second: str
) -> Image.Image:
    """Return images on the way from one sentence to another, from left to right.

    Args:
        rows: Images (S, S, 3); each row has noise of its own.
        weights: Weight of the second sentence in each column.
        first: Sentence of the first column.
        second: Sentence of the last column.
    """
    side = max(SMALLEST_PANEL, rows[0][0].shape[0])
    labels = [f"{weight:.2f}" for weight in weights] * len(rows)
    images = [_enlarge(image, side) for row in rows for image in row]
    sheet = grid(images, len(weights), labels=labels, label_lines=1)
    return _captioned(_captioned(sheet, f"1.00: {second}"), f"0.00: {first}")


def texts_figure(
    image: Pixels,
    hole: NDArray[np.bool_],
    results: Sequence[Pixels],
    texts: Sequence[str],
    *,
    size: int = 256,
) -> Image.Image:
    """Return an image with its hole in grey, and its fillings for several texts (CSF-GAN Fig. 1).

    Args:
        image: (H, W, 3).
        hole: (H, W), True in the hole.
        results: (H, W, 3) per text.
        texts: Text below each result.
        size: Longer side of a panel in pixels.
    """
    empty = np.where(hole[..., None], np.array(HOLE, np.uint8), image)
    fitted = (ImageOps.contain(Image.fromarray(panel), (size, size)) for panel in (empty, *results))
    panels = [np.asarray(panel) for panel in fitted]
    return grid(panels, min(len(panels), PANELS), pad=6, labels=["", *texts])


def filling_figure(
    image: Pixels,
    hole: NDArray[np.bool_],
    attention: NDArray[np.float32],
    words: Sequence[str],
    caption: str,
    *,
    most: int = 4,
) -> Image.Image:
    """Return a filled image and the attention to its most attended words (CSF-GAN Fig. 8).

    The number of a word is its mean weight over the hole. Each map is stretched from its smallest to its largest
    weight: it shows where a word counts more, not how much it counts.

    Args:
        image: (S, S, 3), filled.
        hole: (S, S), True in the hole.
        attention: (L, H, W), H and W divide S; each position's weights sum to 1 over the L words.
        words: The L words, without padding.
        caption: Text of the image.
        most: Number of words to show.
    """
    side = max(SMALLEST_FILLING, image.shape[0])
    large = _enlarge(image, side)
    scores = attention_in_hole(attention[: len(words)], hole)
    panels, labels = [large], ["filled"]
    for index in np.argsort(-scores, kind="stable")[:most]:
        weights = attention[index] - attention[index].min()
        panels.append(heat_overlay(large, weights / max(float(weights.max()), 1e-12)))
        labels.append(f"{words[index]} {scores[index]:.2f}")
    sheet = grid(panels, len(panels), pad=4, labels=labels, label_lines=2)
    return _captioned(sheet, f"{caption}  (number: the word's mean weight in the hole)")


def attention_in_hole(attention: NDArray[np.float32], hole: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Return the mean weight of each word over the hole; a position counts by the share of it that is hole.

    Args:
        attention: (L, H, W).
        hole: (S, S), True in the hole, which is not empty; H and W divide S.

    Returns:
        (L,).
    """
    _, height, width = attention.shape
    cells = hole.reshape(height, hole.shape[0] // height, width, hole.shape[1] // width)
    share = cells.mean(axis=(1, 3), dtype=np.float32)
    mean: NDArray[np.float32] = (attention * share).sum(axis=(1, 2)) / share.sum()
    return mean


def heat_overlay(image: Pixels, weights: NDArray[np.float32]) -> Pixels:
    """Return an image (H, W, 3) in grey, coloured by attention (h, w) in [0, 1] that is enlarged bilinearly."""
    height, width = image.shape[:2]
    small = Image.fromarray(np.ascontiguousarray(weights, dtype=np.float32))
    strength = np.asarray(small.resize((width, height), Image.Resampling.BILINEAR)).clip(0, 1)  # (H, W)
    steps = np.linspace(0, 1, len(HEAT))
    colour = np.stack([np.interp(strength, steps, HEAT[:, c]) for c in range(3)], axis=-1)  # (H, W, 3)
    grey = image.mean(axis=-1, keepdims=True)
    mixed: Pixels = (0.45 * grey + 0.55 * colour).round().clip(0, 255).astype(np.uint8)
    return mixed


def _enlarge(image: Pixels, side: int) -> Pixels:
    # Nearest neighbour, so that a small stage looks as coarse as it is
    return np.asarray(Image.fromarray(image).resize((side, side), Image.Resampling.NEAREST))


def _captioned(sheet: Image.Image, caption: str) -> Image.Image:
    font = _font(sheet.width)
    lines = _wrap(caption, font, sheet.width - 12, 4)
    line = _line_height(font)
    framed = Image.new("RGB", (sheet.width, sheet.height + len(lines) * line + 6), BACKGROUND)
    draw = ImageDraw.Draw(framed)
    for number, words in enumerate(lines):
        draw.text((6, 3 + number * line), words, fill=INK, font=font)
    framed.paste(sheet, (0, len(lines) * line + 6))
    return framed


def _font(width: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size=int(np.clip(width / 10, 10, 15)))


def _line_height(font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> int:
    _, top, _, bottom = font.getbbox("Ag|")
    return math.ceil(bottom - min(top, 0)) + 2


def _wrap(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: int, most: int) -> list[str]:
    """Return at most `most` lines of at most `width` pixels; a word wider than a line is cut."""
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if lines[-1] and font.getlength(longer) > width:
            lines.append(word)
        else:
            lines[-1] = longer
    kept = lines[:most]
    if len(lines) > most:
        kept[-1] += "…"
    return [_cut(line, font, width) for line in kept]


def _cut(line: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: int) -> str:
    if font.getlength(line) <= width:
        return line
    line = line.removesuffix("…")
    while line and font.getlength(f"{line}…") > width:
        line = line[:-1]
    return f"{line}…"
