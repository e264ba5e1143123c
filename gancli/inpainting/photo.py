"""Photographs read from and written to files, with everything that is to outlive the filling.

Everything that a format can hold is kept: grey, transparency, EXIF, colour profile and resolution. Only JPEG cannot
give the known pixels back unchanged.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

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
# EXIF tags that describe the photograph. Other tags up to _STORAGE say how a file stores its pixels and are dropped.
# Higher ones are kept, except for those written by other means: IPTC and Photoshop blocks, and the colour profile.
_DESCRIPTIONS = (270, 271, 272, 282, 283, 285, 296, 305, 306, 315, 316)
_STORAGE = 700
_ELSEWHERE = (33723, 34377, 34675)


@dataclass(frozen=True)
class Header:
    """Header of an image file, read without decoding the image.

    Attributes:
        width: Width of the upright image in pixels.
        height: Height of the upright image in pixels.
        turned: True if the stored image lies on its side.
        transparent: True if it has an alpha channel or a transparent colour.
        change: Loss when it is written again, in a few words, or None.
    """

    width: int
    height: int
    turned: bool
    transparent: bool
    change: str | None


@dataclass(frozen=True)
class Photo:
    """Decoded photograph.

    Attributes:
        pixels: Upright pixels, (H, W, C) uint8: grey, grey and alpha, RGB, or RGB and alpha.
        metadata: EXIF without orientation and thumbnail, colour profile and resolution, as `Image.save` takes them.
        jpeg: Quantisation tables and subsampling of a JPEG with as many channels. Empty for other files.
        compression: Lossless compression of a TIFF file, or None.
    """

    pixels: Pixels
    metadata: Mapping[str, object]
    jpeg: Mapping[str, object]
    compression: str | None

    @property
    def alpha(self) -> Pixels | None:
        """View of the alpha channel, (H, W), or None."""
        return self.pixels[..., -1] if self.pixels.shape[2] in (2, 4) else None


def read_header(path: Path) -> Header:
    """Read the header of an image file. Only TIFF files are decoded for it.

    Raises:
        DataError: The file is missing, no image, too large or of an unsupported mode.
    """
    try:
        with opened(path) as file:
            if file.mode in ("I", "F"):
                eight_bit(file, path.name)  # refuses it
            if file.format == "TIFF":
                file.load()  # some versions of Pillow turn the size of an image only when they load it
            turned = file.getexif().get(ExifTags.Base.Orientation, 1) in _SIDEWAYS
            width, height = file.size[::-1] if turned else file.size
            return Header(width, height, turned, file.has_transparency_data, _change(file))
    except UnusableImage as error:
        raise DataError(f"{path}: {error}") from None


def read_photo(path: Path) -> Photo:
    """Read a photograph with everything that is to be kept of it.

    Palettes become RGB, with alpha if a colour is transparent. CMYK and other colour spaces become RGB without their
    profile, black and white becomes grey, and 16-bit grey becomes 8-bit. Of an animation the first frame is taken.

    Raises:
        DataError: The file is missing, no image, cut short, too large or of an unsupported mode.
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
    """Convert pixels (H, W, C) of a `Photo` to RGB (H, W, 3), with transparency laid over white."""
    return np.asarray(to_rgb(_image(pixels)))


def like(colours: Pixels, pixels: Pixels) -> Pixels:
    """Convert colours (H, W, 3) to grey (H, W, 1) if `pixels` (H, W, C) are grey."""
    return colours if pixels.shape[2] >= 3 else np.asarray(Image.fromarray(colours).convert("L"))[..., None]


def check_format(path: Path, *, transparent: bool = False) -> None:
    """Refuse a file name whose format cannot be written, or cannot hold the image's transparency.

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
    """Write a photograph with other pixels, whole or not at all, in the format of the file's ending.

    JPEG gets the tables and the subsampling of the photograph's own file if that was a JPEG, else the quality
    `gancli.data.images.JPEG_QUALITY`. WebP is written without loss.

    Args:
        photo: Photograph whose metadata and compression are kept.
        pixels: Pixels to write, (H, W, C) as in `Photo`.
        path: File to write. Missing folders are made.

    Raises:
        UsageError: The format cannot be written, or cannot hold the image's transparency.
        RunError: The system refuses to write.
    """
    check_format(path, transparent=photo.alpha is not None)
    name = FORMATS[path.suffix.lower()]
    options = dict(photo.metadata)
    if name == "JPEG":
        options |= photo.jpeg or {"quality": JPEG_QUALITY, "subsampling": 0}
    elif name == "PNG":
        # A large photograph takes half the time of the default 6, and a tenth more bytes
        options["compress_level"] = 3
    elif name == "WEBP":
        options |= {"lossless": True, "exact": True}  # exact keeps colours that transparency hides
    elif name == "TIFF" and photo.compression:
        options["compression"] = photo.compression
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_file(path) as temporary:
        _image(pixels).save(temporary, format=name, **options)


def _image(pixels: Pixels) -> Image.Image:
    return Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)


def _keeps_profile(file: Image.Image) -> bool:
    """Return True if the colour profile still fits. A profile of CMYK does not fit RGB."""
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
        return "only the first of several frames is filled and written"
    return None


def _exif_of(file: Image.Image) -> bytes | None:
    """Return EXIF for an upright image, without the thumbnail, which would show the content of the hole."""
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
    ):  # cameras write malformed EXIF that Pillow reads but cannot write: the image matters more
        return None
