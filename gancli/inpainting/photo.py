"""A photograph in a file: read upright, with all that is to outlive the filling, and written again.

What a format can keep is kept: grey stays grey, transparency stays, and so do EXIF, colour profile and resolution. Only
JPEG cannot give the known pixels back as they were.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import ExifTags, Image, ImageOps, JpegImagePlugin

from gancli.atomic import atomic_file
from gancli.data.images import JPEG_QUALITY, UnusableImage, eight_bit, opened, to_rgb
from gancli.errors import DataError, UsageError
from gancli.figures import Pixels

FORMATS = {
    ".png": "PNG",
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".webp": "WEBP",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".bmp": "BMP",
}
_TRANSPARENT = ("PNG", "WEBP", "TIFF")  # formats that keep transparency
_LOSSLESS_TIFF = ("raw", "packbits", "tiff_lzw", "tiff_adobe_deflate", "tiff_deflate")
_SIDEWAYS = (5, 6, 7, 8)  # EXIF orientations that swap width and height
# What of EXIF describes the photograph. Lower numbers else say how a file stores its pixels, higher ones are kept but
# for what is written by other means: IPTC and Photoshop blocks, and the colour profile.
_DESCRIPTIONS = (270, 271, 272, 282, 283, 285, 296, 305, 306, 315, 316)
_STORAGE = 700
_ELSEWHERE = (33723, 34377, 34675)


@dataclass(frozen=True)
class Header:
    """What a file says of its image before it is decoded.

    Attributes:
        width: In pixels, upright.
        height: Likewise.
        turned: Whether the stored image lies on its side.
        transparent: Whether it has an alpha channel or a transparent colour.
        change: What cannot be kept of it, in a few words; else None.
    """

    width: int
    height: int
    turned: bool
    transparent: bool
    change: str | None


@dataclass(frozen=True)
class Photo:
    """A decoded photograph.

    Attributes:
        pixels: (H, W, C) uint8, upright; C is 1 for grey, 2 for grey and alpha, 3 for RGB, 4 for RGB and alpha.
        metadata: EXIF without orientation and thumbnail, colour profile and resolution, as `Image.save` takes them.
        jpeg: Quantisation tables and subsampling, where it was a JPEG of as many channels.
        compression: Of a TIFF file, where it loses nothing.
    """

    pixels: Pixels
    metadata: Mapping[str, Any]
    jpeg: Mapping[str, Any]
    compression: str | None

    @property
    def colours(self) -> Pixels:
        """(H, W, 1 or 3), a view of the pixels without alpha."""
        return self.pixels[..., : 1 if self.pixels.shape[2] < 3 else 3]

    @property
    def alpha(self) -> Pixels | None:
        """(H, W), a view; None where there is no alpha channel."""
        return self.pixels[..., -1] if self.pixels.shape[2] in (2, 4) else None


def read_header(path: Path) -> Header:
    """What an image file says of itself; but for TIFF it is not decoded.

    Raises:
        DataError: It is missing, no image, too large or of a mode without defined range.
    """
    try:
        with opened(path) as file:
            if file.mode in ("I", "F"):
                eight_bit(file, path.name)  # refuses it
            if file.format == "TIFF":
                file.load()  # turns itself, and its size in some versions of Pillow not before
            turned = file.getexif().get(ExifTags.Base.Orientation, 1) in _SIDEWAYS
            width, height = file.size[::-1] if turned else file.size
            return Header(width, height, turned, file.has_transparency_data, _change(file))
    except UnusableImage as error:
        raise DataError(f"{path}: {error}") from None


def read_photo(path: Path) -> Photo:
    """A photograph with all that is to be kept of it.

    Palettes become RGB (with alpha where a colour is transparent), CMYK and other colour spaces RGB without their
    profile, black and white grey, 16-bit grey 8-bit; of an animation the first frame is taken.

    Raises:
        DataError: As `read_header`, or the file is cut short.
    """
    try:
        with opened(path) as file:
            exif, compression = _exif_of(file), file.info.get("compression")
            image = eight_bit(ImageOps.exif_transpose(file), path.name)
            jpeg = {}
            if isinstance(file, JpegImagePlugin.JpegImageFile) and file.mode in ("L", "RGB"):
                jpeg = {
                    "qtables": file.quantization,
                    "subsampling": JpegImagePlugin.get_sampling(file),
                    "progressive": bool(file.info.get("progressive")),
                }
            dpi = tuple(map(float, file.info.get("dpi", (0, 0))))
            profile = file.info.get("icc_profile") if _keeps_profile(file) else None
            metadata = {"exif": exif, "icc_profile": profile, "dpi": dpi if min(dpi) > 0 else None}
    except UnusableImage as error:
        raise DataError(f"{path}: {error}") from None
    mode = ("L" if image.mode in ("1", "L", "LA", "La") else "RGB") + "A" * image.has_transparency_data
    pixels = np.asarray(image.convert(mode))
    return Photo(
        pixels[..., None] if pixels.ndim == 2 else pixels,
        {name: value for name, value in metadata.items() if value},
        jpeg,
        compression if compression in _LOSSLESS_TIFF else None,
    )


def rgb(pixels: Pixels) -> Pixels:
    """Pixels (H, W, C) of a `Photo` as (H, W, 3) RGB; what is transparent is laid over white."""
    return np.asarray(to_rgb(_image(pixels)))


def like(colours: Pixels, pixels: Pixels) -> Pixels:
    """Colours (H, W, 3) as grey (H, W, 1) where `pixels` (H, W, C) are grey, else as they are."""
    return colours if pixels.shape[2] >= 3 else np.asarray(Image.fromarray(colours).convert("L"))[..., None]


def check_format(path: Path, *, transparent: bool = False) -> None:
    """Refuses a file name whose format cannot be written, or cannot hold what there is.

    Raises:
        UsageError: The ending is none of `FORMATS`, or the image is transparent and the format has no alpha.
    """
    name = FORMATS.get(path.suffix.lower())
    if name is None:
        raise UsageError(
            f"{path}: {f'files of kind {path.suffix}' if path.suffix else 'files without an ending'} are not written",
            f"End the name in one of {', '.join(FORMATS)}.",
        )
    if transparent and name not in _TRANSPARENT:
        raise UsageError(
            f"{path}: {name} has no transparency, and the image does", "Name a file that ends in .png."
        )


def write_photo(photo: Photo, pixels: Pixels, path: Path) -> None:
    """Writes a photograph with other pixels, whole or not at all, in the format that its name ends in.

    JPEG gets the tables and the subsampling of the photograph's own file if that was one, else the quality of
    `gancli.data.images.JPEG_QUALITY`; WebP is written without loss.

    Args:
        photo: What else it is made of.
        pixels: (H, W, C) as in `Photo`.
        path: Folders above it are made if need be.

    Raises:
        UsageError: As `check_format`.
        RunError: The system refuses to write.
    """
    check_format(path, transparent=photo.alpha is not None)
    name = FORMATS[path.suffix.lower()]
    options = dict(photo.metadata)
    if name == "JPEG":
        options |= photo.jpeg or {"quality": JPEG_QUALITY, "subsampling": 0}
    elif name == "PNG":
        # Of a large photograph half the time of the usual 6, and a tenth more bytes
        options["compress_level"] = 3
    elif name == "WEBP":
        options |= {"lossless": True, "exact": True}  # exact: colours that transparency hides stay, too
    elif name == "TIFF" and photo.compression:
        options["compression"] = photo.compression
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_file(path) as temporary:
        _image(pixels).save(temporary, format=name, **options)


def _image(pixels: Pixels) -> Image.Image:
    return Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)


def _keeps_profile(file: Image.Image) -> bool:
    """Whether the colour profile still fits: one of CMYK says nothing of RGB."""
    return file.mode in ("1", "L", "LA", "P", "PA", "RGB", "RGBA")


def _change(file: Image.Image) -> str | None:
    if file.mode.startswith("I;16"):
        return "16 bits a pixel become 8"
    if file.mode in ("P", "PA"):
        return "a palette becomes RGB"
    if not _keeps_profile(file):
        return f"{file.mode} becomes RGB"
    # A phone's JPEG (MPO) carries a second image that nobody sees
    if getattr(file, "n_frames", 1) > 1 and file.format != "MPO":
        return "of several frames the first is filled and written"
    return None


def _exif_of(file: Image.Image) -> bytes | None:
    """EXIF for an upright image; without the thumbnail, which would show what was in the hole."""
    exif, kept = file.getexif(), Image.Exif()
    blocks = {block: exif.get_ifd(block) for block in (ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo)}
    for tag, value in exif.items():
        described = tag in _DESCRIPTIONS or (tag > _STORAGE and tag not in _ELSEWHERE)
        if described and tag not in set(ExifTags.IFD):
            kept[tag] = value
    for block, content in blocks.items():
        if content:
            kept[block] = dict(content)
    try:
        return kept.tobytes() if len(kept) else None
    except (
        Exception
    ):  # cameras write malformed EXIF, which Pillow reads and cannot write: the image matters more
        return None
