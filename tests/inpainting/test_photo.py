"""Photographs come back upright with everything that a format can hold, and losses are reported."""

import io

import numpy as np
import pytest
from PIL import ExifTags, Image, ImageCms

from gancli.errors import DataError, RunError, UsageError
from gancli.inpainting.photo import FORMATS, check_format, read_header, read_photo, rgb, write_photo

PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
LOSSLESS = (".png", ".webp", ".tif", ".bmp")


def noise(*shape):
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def camera_exif(orientation=6):
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    exif[ExifTags.Base.Make] = "ACME"
    exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.DateTimeOriginal] = "2020:01:02 03:04:05"
    exif.get_ifd(ExifTags.IFD.GPSInfo)[ExifTags.GPS.GPSLatitudeRef] = "N"
    return exif


@pytest.fixture
def turned(tmp_path):
    """Write a JPEG of 60 x 40 that is shown as 40 x 60."""
    path, exif = tmp_path / "turned.jpg", camera_exif()
    exif[ExifTags.Base.ImageWidth] = 9  # which would break a TIFF that carried it on
    Image.fromarray(noise(40, 60, 3)).save(path, exif=exif, icc_profile=PROFILE, dpi=(300, 300), quality=80)
    return path


@pytest.mark.parametrize("ending", FORMATS)
def test_what_a_file_says_of_itself_is_kept(turned, tmp_path, ending):
    header, photo = read_header(turned), read_photo(turned)
    assert (header.width, header.height, header.turned) == (40, 60, True)
    assert photo.pixels.shape == (60, 40, 3)
    write_photo(photo, photo.pixels, tmp_path / f"out{ending}")
    with Image.open(tmp_path / f"out{ending}") as image:
        assert image.size == (40, 60)
        exif = image.getexif()
        assert exif.get(ExifTags.Base.Orientation, 1) == 1
        if ending != ".bmp":
            assert image.info["icc_profile"] == PROFILE
            assert exif[ExifTags.Base.Make] == "ACME"
            assert exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.DateTimeOriginal] == "2020:01:02 03:04:05"
            assert exif.get_ifd(ExifTags.IFD.GPSInfo)[ExifTags.GPS.GPSLatitudeRef] == "N"
        if ending != ".webp":
            assert [round(float(each)) for each in image.info["dpi"]] == [300, 300]
        if ending in LOSSLESS:
            assert (np.asarray(image) == photo.pixels).all()
    again = read_photo(tmp_path / f"out{ending}")
    assert again.pixels.shape == photo.pixels.shape


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("ending", [".jpg", ".png", ".webp", ".tif"])
def test_upright_in_every_orientation(tmp_path, orientation, ending):
    path = tmp_path / f"in{ending}"
    Image.fromarray(noise(40, 60, 3)).save(path, exif=camera_exif(orientation))
    header, photo = read_header(path), read_photo(path)
    assert photo.pixels.shape == (header.height, header.width, 3)
    assert photo.pixels.shape[0] == (60 if orientation >= 5 else 40)


def test_a_jpeg_is_written_with_its_own_tables(tmp_path):
    smooth = np.kron(noise(6, 8, 3), np.ones((10, 10, 1), np.uint8))
    for subsampling in (0, 2):
        path, out = tmp_path / "in.jpg", tmp_path / "out.jpg"
        Image.fromarray(smooth).save(path, quality=61, subsampling=subsampling, progressive=True)
        photo = read_photo(path)
        write_photo(photo, photo.pixels, out)
        with Image.open(path) as before, Image.open(out) as after:
            assert after.quantization == before.quantization
            assert after.layer == before.layer
            assert after.info["progressive"]


def test_the_thumbnail_does_not_show_what_was_removed(tmp_path):
    small = io.BytesIO()
    Image.fromarray(noise(8, 8, 3)).save(small, "JPEG")
    thumbnail, path = small.getvalue(), tmp_path / "in.jpg"
    Image.fromarray(noise(40, 60, 3)).save(path, exif=camera_exif(1).tobytes() + thumbnail)
    photo = read_photo(path)
    write_photo(photo, photo.pixels, tmp_path / "out.jpg")
    assert thumbnail in path.read_bytes()
    assert thumbnail not in (tmp_path / "out.jpg").read_bytes()


@pytest.mark.parametrize(
    ("mode", "channels"),
    [("1", 1), ("L", 1), ("LA", 2), ("RGB", 3), ("RGBA", 4), ("P", 3), ("CMYK", 3), ("I;16", 1)],
)
def test_modes(tmp_path, mode, channels):
    path = tmp_path / ("in.tif" if mode == "CMYK" else "in.png")
    if mode == "I;16":
        image = Image.fromarray((noise(20, 30).astype(np.uint16) << 8) + 7)
    else:
        image = (
            Image.fromarray(noise(20, 30, 4)).convert("RGB" if mode in ("P", "CMYK") else mode).convert(mode)
        )
    image.save(path, icc_profile=PROFILE)
    header, photo = read_header(path), read_photo(path)
    assert photo.pixels.shape == (20, 30, channels)
    assert rgb(photo.pixels).shape == (20, 30, 3)
    assert header.transparent == (channels in (2, 4)) == (photo.alpha is not None)
    assert (header.change is not None) == (mode in ("P", "CMYK", "I;16"))
    assert ("icc_profile" in photo.metadata) == (mode not in ("CMYK", "I;16"))
    write_photo(photo, photo.pixels, tmp_path / "out.png")
    with Image.open(tmp_path / "out.png") as after:
        assert after.mode == ("L", "LA", "RGB", "RGBA")[channels - 1]
        assert (np.asarray(after).reshape(photo.pixels.shape) == photo.pixels).all()


def test_a_transparent_colour_becomes_alpha(tmp_path):
    for mode, transparent in (("P", 0), ("L", 0), ("RGB", (0, 0, 0))):
        image = Image.new("L", (20, 10)).convert(mode)
        image.save(tmp_path / "in.png", transparency=transparent)
        assert read_header(tmp_path / "in.png").transparent
        photo = read_photo(tmp_path / "in.png")
        assert photo.alpha is not None
        assert (photo.alpha == 0).all()
        assert (rgb(photo.pixels) == 255).all()


@pytest.mark.parametrize("ending", [".png", ".webp", ".tiff"])
def test_colours_under_transparency_survive(tmp_path, ending):
    path = tmp_path / "in.png"
    Image.fromarray(noise(20, 30, 4)).save(path)
    photo = read_photo(path)
    write_photo(photo, photo.pixels, tmp_path / f"out{ending}")
    assert (np.asarray(Image.open(tmp_path / f"out{ending}")) == photo.pixels).all()


@pytest.mark.parametrize("compression", ["tiff_lzw", "tiff_adobe_deflate", "jpeg"])
def test_tiff_keeps_a_compression_that_loses_nothing(tmp_path, compression):
    Image.fromarray(noise(20, 30, 3)).save(tmp_path / "in.tif", compression=compression)
    photo = read_photo(tmp_path / "in.tif")
    write_photo(photo, photo.pixels, tmp_path / "out.tif")
    with Image.open(tmp_path / "out.tif") as image:
        assert image.info["compression"] == ("raw" if compression == "jpeg" else compression)
        assert (np.asarray(image) == photo.pixels).all()


def test_the_first_frame_of_an_animation(tmp_path):
    frames = [Image.fromarray(noise(20, 30)), Image.fromarray(255 - noise(20, 30))]
    frames[0].save(tmp_path / "in.webp", save_all=True, append_images=frames[1:], lossless=True)
    assert "first" in str(read_header(tmp_path / "in.webp").change)
    assert (read_photo(tmp_path / "in.webp").pixels[..., 0] == noise(20, 30)).all()


def test_malformed_exif_is_left_out(tmp_path, monkeypatch):
    path = tmp_path / "in.jpg"
    Image.fromarray(noise(20, 30, 3)).save(path, exif=camera_exif(1))

    def fail(self, offset=8):
        raise TypeError("a rational of a string")

    monkeypatch.setattr(Image.Exif, "tobytes", fail)
    photo = read_photo(path)
    assert "exif" not in photo.metadata
    write_photo(photo, photo.pixels, tmp_path / "out.jpg")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("absent.png", None, "missing"),
        ("text.png", b"hello", "not an image"),
        ("float.tif", "F", "32-bit"),
    ],
)
def test_what_is_no_photograph(tmp_path, name, content, message):
    path = tmp_path / name
    if content == "F":
        Image.new("F", (3, 3)).save(path)
    elif content is not None:
        path.write_bytes(content)
    for read in (read_header, read_photo):
        with pytest.raises(DataError, match=message) as caught:
            read(path)
        assert str(path) in str(caught.value)


def test_a_file_cut_short(tmp_path):
    path = tmp_path / "in.png"
    Image.fromarray(noise(60, 60, 3)).save(path)
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(DataError, match="cannot be decoded"):
        read_photo(path)


def test_formats_that_cannot_be_written(tmp_path):
    for name in ("out.gif", "out", "out.pdf"):
        with pytest.raises(UsageError, match="not written") as caught:
            check_format(tmp_path / name)
        assert ".png" in str(caught.value.hint)
    for name in ("out.jpg", "out.bmp"):
        with pytest.raises(UsageError, match="no transparency"):
            check_format(tmp_path / name, transparent=True)


def test_a_disk_that_is_full_leaves_what_was_there(tmp_path, monkeypatch):
    path = tmp_path / "out.png"
    path.write_bytes(b"before")
    Image.fromarray(noise(20, 30, 3)).save(tmp_path / "in.png")
    photo = read_photo(tmp_path / "in.png")

    def fail(self, path, *args, **kwargs):
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", fail)
    with pytest.raises(RunError, match="No space left"):
        write_photo(photo, photo.pixels, path)
    assert path.read_bytes() == b"before"
    assert sorted(each.name for each in tmp_path.iterdir()) == ["in.png", "out.png"]
