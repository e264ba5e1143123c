"""Filled photographs change in their hole alone, in every format, and bad input leaves nothing behind."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from gancli.data.hole_settings import HoleSettings
from gancli.data.holes import central_hole
from gancli.errors import DataError, UsageError
from gancli.inference.csfgan import Filling, load_inpainter
from gancli.inpainting import inpaint as module
from gancli.inpainting.inpaint import attention_files, inpaint, preview_holes
from gancli.inpainting.match_files import MaskFile
from tests.conftest import build_csfgan

TEXTS = ["this is a small white bird", "a black bird with a long bill"]
BOX = (60, 40, 130, 90)  # left, top, right, bottom of the hole


def noise(width=200, height=150, channels=3, seed=0):
    shape = (height, width) if channels == 1 else (height, width, channels)
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def pixels(path):
    with Image.open(path) as image:
        return np.asarray(image)


@pytest.fixture
def photo(tmp_path):
    Image.fromarray(noise()).save(tmp_path / "photo.png")
    return tmp_path / "photo.png"


@pytest.fixture
def hole(tmp_path):
    image = Image.new("L", (200, 150))
    image.paste(255, BOX)
    image.save(tmp_path / "hole.png")
    return tmp_path / "hole.png"


INSIDE = np.zeros((150, 200), bool)
INSIDE[BOX[1] : BOX[3], BOX[0] : BOX[2]] = True
# Two of the model's pixels from the edge, where what is enlarged passes over into the known pixels
DEEP = np.zeros((150, 200), bool)
DEEP[BOX[1] + 10 : BOX[3] - 10, BOX[0] + 10 : BOX[2] - 10] = True


@dataclass
class Painter:
    """Stand-in for a model that paints one colour and keeps its inputs."""

    colour: tuple = (200, 100, 50)
    size: int = 32
    holes: HoleSettings = field(default_factory=lambda: HoleSettings("center", 0.5))
    settings: dict = field(default_factory=lambda: {"generator": {"fusion": "both"}})
    hash: str = "0" * 64
    noise_dims: dict = field(default_factory=lambda: {"noise": 3})
    seen: list = field(default_factory=list)
    method = "a painter"
    folder = Path("painter")

    def check(self, captions):
        return []

    def fill(self, images, holes, captions, noises):
        self.seen.append((images, holes, captions, noises))
        raw = torch.tensor(self.colour).view(1, 3, 1, 1).div(127.5).sub(1).expand_as(images)
        return Filling(images * (1 - holes) + raw * holes, ())


@pytest.fixture
def painter(monkeypatch):
    one = Painter()
    monkeypatch.setattr(module, "load_inpainter", lambda folder, device: one)
    return one


def fill(photo, mask, out, texts="a bird", **more):
    return inpaint("model", photo, mask, texts, out=out, **more)


# --- the pixels ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", [".png", ".webp", ".tiff", ".bmp"])
def test_the_hole_and_nothing_else_changes(painter, photo, hole, tmp_path, ending):
    report = fill(photo, hole, tmp_path / f"out{ending}")
    result = pixels(report.out)
    assert (result[~INSIDE] == noise()[~INSIDE]).all()
    assert (result[DEEP] == painter.colour).all()
    assert (result[INSIDE] != noise()[INSIDE]).any(axis=1).mean() > 0.99
    assert (report.files, report.made, report.warnings) == ((report.out,), 1, ())


def test_jpeg_changes_little_outside_and_says_so(painter, hole, tmp_path):
    smooth = Image.fromarray(noise(8, 6)).resize((200, 150), Image.Resampling.BICUBIC)
    smooth.save(tmp_path / "photo.jpg", quality=90)
    report = fill(tmp_path / "photo.jpg", hole, tmp_path / "out.jpg")
    assert "JPEG" in report.warnings[0]
    assert "png" in report.warnings[0]
    difference = np.abs(pixels(report.out).astype(int) - pixels(tmp_path / "photo.jpg"))
    assert difference[~INSIDE].mean() < 1
    exact = fill(tmp_path / "photo.jpg", hole, tmp_path / "out.png")
    assert exact.warnings == ()
    assert (pixels(exact.out)[~INSIDE] == pixels(tmp_path / "photo.jpg")[~INSIDE]).all()


@pytest.mark.parametrize(("channels", "mode"), [(1, "L"), (2, "LA"), (4, "RGBA")])
def test_grey_and_transparent_images_stay_so(painter, hole, tmp_path, channels, mode):
    before = noise(channels=channels)
    Image.fromarray(before).save(tmp_path / "photo.png")
    result = pixels(fill(tmp_path / "photo.png", hole, tmp_path / "out.png").out)
    assert Image.open(tmp_path / "out.png").mode == mode
    assert (result[~INSIDE] == before[~INSIDE]).all()
    luma = Image.new("RGB", (1, 1), painter.colour).convert("L").getpixel((0, 0))
    if channels == 1:
        assert (result[DEEP] == luma).all()
    else:
        assert (result[DEEP][:, :-1] == (luma if mode == "LA" else painter.colour)).all()
        assert (result[..., -1] == before[..., -1]).all()


def test_a_filling_that_cannot_be_seen(painter, hole, tmp_path):
    before = noise(channels=4)
    before[INSIDE, 3] = 0
    Image.fromarray(before).save(tmp_path / "photo.png")
    (warning,) = fill(tmp_path / "photo.png", hole, tmp_path / "out.png").warnings
    assert "does not show" in warning


IRREGULAR = HoleSettings("irregular", least=0.1, most=0.5)


def test_the_model_sees_the_region_around_the_hole(painter, photo, hole, tmp_path):
    """The region is twice the hole's longer side, 70 pixels, around its centre."""
    painter.holes = IRREGULAR
    fill(photo, hole, tmp_path / "out.png")
    ((images, holes, captions, _),) = painter.seen
    assert captions == ["a bird"]
    assert images.shape == (1, 3, 32, 32)
    region = Image.fromarray(noise()[0:140, 25:165]).resize((32, 32), Image.Resampling.BILINEAR)
    seen = (images[0].permute(1, 2, 0) + 1) * 127.5
    known = holes[0, 0].numpy() == 0
    assert np.abs(seen.numpy() - np.asarray(region))[known].max() < 1e-3
    across = ~known[16]
    assert abs(int(across.sum()) - 16) <= 2, "the hole takes half of it"
    assert abs(int((~known[:, 16]).sum()) - 14) <= 2, "and keeps its shape"


@pytest.mark.parametrize("share", [0.5, 0.75])
def test_a_model_of_central_holes_sees_its_own(painter, photo, hole, tmp_path, share):
    """This holds for a hole of any shape, also where the region reaches beyond the image."""
    painter.holes = HoleSettings("center", share)
    corner = Image.new("L", (200, 150))
    corner.paste(255, (150, 0, 200, 30))
    corner.save(tmp_path / "corner.png")
    for number, mask in enumerate((hole, tmp_path / "corner.png")):
        result = pixels(fill(photo, mask, tmp_path / f"{number}.png").out)
        (_, holes, _, _) = painter.seen[-1]
        assert (holes[0, 0].numpy() == central_hole(32, share)).all()
        outside = np.asarray(Image.open(mask)) == 0
        assert (result[outside] == noise()[outside]).all()
        assert (result[~outside] != noise()[~outside]).mean() > 0.9


def test_dilate_and_feather(painter, photo, hole, tmp_path):
    result = pixels(fill(photo, MaskFile(hole, dilate=5), tmp_path / "dilated.png").out)
    assert (result[65, 66:124] == painter.colour).all()
    assert (result[65, 55:60] != noise()[65, 55:60]).any(axis=1).all()
    assert (result[65, :55] == noise()[65, :55]).all()
    assert (result[65, 135:] == noise()[65, 135:]).all()
    result = pixels(fill(photo, MaskFile(hole, feather=4), tmp_path / "feathered.png").out)
    assert (result[DEEP] == painter.colour).all()
    assert (result[65, :57] == noise()[65, :57]).all()
    assert (result[65, 57:60] != noise()[65, 57:60]).any(axis=1).all()


def test_inverted_masks(painter, photo, hole, tmp_path):
    Image.fromarray(255 - pixels(hole)).save(tmp_path / "inverted.png")
    first = fill(photo, hole, tmp_path / "a.png").out
    report = fill(photo, MaskFile(tmp_path / "inverted.png", inverted=True), tmp_path / "b.png")
    assert (pixels(first) == pixels(report.out)).all()
    assert report.warnings == ()
    report = fill(photo, tmp_path / "inverted.png", tmp_path / "c.png")
    assert "may be swapped" in report.warnings[0]


@pytest.mark.parametrize(
    ("width", "height", "box"),
    [(1, 90, (0, 40, 1, 50)), (90, 1, (40, 0, 50, 1)), (5, 4, (1, 1, 3, 3)), (500, 20, (0, 0, 440, 20))],
)
def test_odd_sizes(painter, tmp_path, width, height, box):
    Image.fromarray(noise(width, height)).save(tmp_path / "photo.png")
    mask = Image.new("1", (width, height))
    mask.paste(1, box)
    mask.save(tmp_path / "hole.png")
    result = pixels(fill(tmp_path / "photo.png", tmp_path / "hole.png", tmp_path / "out.png").out)
    inside = np.asarray(mask)
    assert (result[inside] != noise(width, height)[inside]).any()
    assert (result[~inside] == noise(width, height)[~inside]).all()


def test_a_hole_mixed_too_finely_with_the_image(painter, photo, tmp_path):
    painter.holes = IRREGULAR
    checkers = (np.indices((150, 200)).sum(axis=0) % 2 * 255).astype(np.uint8)
    Image.fromarray(checkers).save(tmp_path / "checkers.png")
    with pytest.raises(DataError, match="nothing is left beside the hole at the model's 32 pixels"):
        fill(photo, tmp_path / "checkers.png", tmp_path / "out.png")
    assert not (tmp_path / "out.png").exists()


def test_twelve_megapixels(painter, tmp_path):
    width, height, box = 4000, 3000, (1500, 1000, 2500, 1800)
    before = np.kron(noise(40, 30), np.ones((100, 100, 1), np.uint8))
    Image.fromarray(before).save(tmp_path / "photo.bmp")
    mask = Image.new("1", (width, height))
    mask.paste(1, box)
    mask.save(tmp_path / "hole.png")
    mask_file = MaskFile(tmp_path / "hole.png", dilate=8, feather=16)
    report = fill(tmp_path / "photo.bmp", mask_file, tmp_path / "out.bmp")
    result = pixels(report.out)
    assert (result[:900] == before[:900]).all()
    assert (result[1150:1650, 1650:2350] == painter.colour).all()


def test_a_turned_photograph_stays_as_it_is_shown(painter, tmp_path):
    exif = Image.Exif()
    exif[274] = 6  # shown as 150 x 200
    Image.fromarray(noise()).save(tmp_path / "photo.png", exif=exif)
    mask = Image.new("L", (150, 200))
    mask.paste(255, (20, 30, 80, 90))
    mask.save(tmp_path / "hole.png")
    report = fill(tmp_path / "photo.png", tmp_path / "hole.png", tmp_path / "out.png")
    inside = np.asarray(mask) > 0
    shown = np.rot90(noise(), -1)
    assert (pixels(report.out)[~inside] == shown[~inside]).all()
    with Image.open(report.out) as image:
        assert image.getexif().get(274, 1) == 1


# --- the model ----------------------------------------------------------------------------------------------------


def test_texts_and_seeds_change_the_hole_alone(tiny_csfgan, photo, hole, tmp_path):
    report = inpaint(tiny_csfgan, photo, hole, texts=TEXTS, out=tmp_path / "out.png")
    first, second = (pixels(file) for file in report.files)
    other = pixels(inpaint(tiny_csfgan, photo, hole, texts=TEXTS[:1], out=tmp_path / "other.png", seed=1).out)
    for one, another in ((first, second), (first, other)):
        assert (one[~INSIDE] == noise()[~INSIDE]).all()
        assert (one[INSIDE] != another[INSIDE]).mean() > 0.5
    assert [file.name for file in report.files] == ["out-1.png", "out-2.png"]
    assert report.figures == (tmp_path / "out-texts.png",)
    assert Image.open(report.figures[0]).width == 3 * 256 + 4 * 6
    assert report.model_hash == load_inpainter(tiny_csfgan).hash
    assert 0 < report.model_seconds < report.seconds


def test_what_is_in_the_hole_does_not_matter(tiny_csfgan, photo, hole, tmp_path):
    first = inpaint(tiny_csfgan, photo, hole, texts=TEXTS[:1], out=tmp_path / "a.png").out
    changed = noise()
    changed[INSIDE] = 0
    Image.fromarray(changed).save(photo)
    second = inpaint(tiny_csfgan, photo, hole, texts=TEXTS[:1], out=tmp_path / "b.png").out
    assert (pixels(first) == pixels(second)).all()


def folder_of(tmp_path, count=5):
    for number in range(count):
        for name in ("photos", "masks"):
            (tmp_path / name).mkdir(exist_ok=True)
        size = (150 + 20 * number, 100)
        Image.fromarray(noise(*size, seed=number)).save(tmp_path / f"photos/p{number}.png")
        mask = Image.new("L", size)
        mask.paste(255, (30 + number, 20, 70, 60))
        mask.save(tmp_path / f"masks/p{number}.png")
    return tmp_path / "photos", tmp_path / "masks"


def test_an_image_is_the_same_in_any_batch_and_alone(tiny_csfgan, tmp_path):
    photos, masks = folder_of(tmp_path)
    for batch in (1, 3, 8):
        report = inpaint(tiny_csfgan, photos, masks, texts=TEXTS[:1], out=tmp_path / str(batch), batch=batch)
        assert [file.name for file in report.files] == [f"p{number}.png" for number in range(5)]
    alone = inpaint(
        tiny_csfgan, photos / "p2.png", masks / "p2.png", texts=TEXTS[:1], out=tmp_path / "alone.png"
    )
    for number in range(5):
        first, *others = (pixels(tmp_path / f"{batch}/p{number}.png").astype(int) for batch in (1, 3, 8))
        others += [pixels(alone.out).astype(int)] if number == 2 else []
        assert all(np.abs(first - other).max() <= 1 for other in others)


def test_attention(tiny_csfgan, photo, hole, tmp_path):
    report = inpaint(
        tiny_csfgan, photo, hole, texts=["a white bird"], out=tmp_path / "out.jpg", attention=True
    )
    assert report.figures == (tmp_path / "out-attention.png",)
    assert Image.open(report.figures[0]).width == 4 * 128 + 5 * 4  # the image and three words
    arrays = np.load(attention_files(report.out)[1])
    assert arrays["words"].tolist() == ["a", "white", "bird"]
    assert {name: arrays[name].shape for name in arrays.files if "_" in name} == {
        "attention_8": (3, 8, 8), "attention_2": (3, 2, 2),
    }  # fmt: skip
    np.testing.assert_allclose(arrays["attention_8"].sum(axis=0), 1, atol=1e-5)
    assert arrays["hole"].shape == (32, 32)


def test_an_ablation_without_attention(tiny_encoder, photo, hole, tmp_path):
    model = build_csfgan(tiny_encoder, tmp_path / "model", fusion="sentence")
    with pytest.raises(UsageError, match="sentence fusion has no word attention"):
        inpaint(model, photo, hole, texts=TEXTS[:1], out=tmp_path / "out.png", attention=True)
    assert inpaint(model, photo, hole, texts=TEXTS[:1], out=tmp_path / "out.png").made == 1


def test_unknown_words(tiny_csfgan, photo, hole, tmp_path):
    report = inpaint(tiny_csfgan, photo, hole, texts=["a fluorescent white bird"], out=tmp_path / "a.png")
    assert "fluorescent" in report.warnings[0]
    with pytest.raises(DataError, match="'xyzzy plugh'"):
        inpaint(tiny_csfgan, photo, hole, texts=["xyzzy plugh"], out=tmp_path / "new/b.png")
    assert not (tmp_path / "new").exists()


def test_another_kind_of_model(tiny_model, photo, hole, tmp_path):
    with pytest.raises(DataError, match="'ffgan', which fills no holes"):
        inpaint(tiny_model, photo, hole, texts=TEXTS[:1], out=tmp_path / "out.png")


# --- many files ---------------------------------------------------------------------------------------------------


def test_an_interrupted_folder_goes_on(painter, tmp_path):
    photos, masks = folder_of(tmp_path)

    def stop(done, total):
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fill(photos, masks, tmp_path / "out", batch=1, progress=stop)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["p0.png", "p1.png"]
    with pytest.raises(UsageError, match=r"p0\.png, .*p1\.png: there already"):
        fill(photos, masks, tmp_path / "out")
    report = fill(photos, masks, tmp_path / "out", existing="skip")
    assert (report.made, len(report.files)) == (3, 5)
    report = fill(photos, masks, tmp_path / "out", existing="skip")
    assert (report.made, len(report.files), report.model_hash) == (0, 5, "")
    assert fill(photos, masks, tmp_path / "out", existing="overwrite").made == 5


def test_several_texts_are_made_together(painter, photo, hole, tmp_path):
    fill(photo, hole, tmp_path / "out.png", texts=["a bird", "two birds"])
    assert fill(photo, hole, tmp_path / "out.png", texts=["a bird", "two birds"], existing="skip").made == 0
    (tmp_path / "out-2.png").unlink()
    assert fill(photo, hole, tmp_path / "out.png", texts=["a bird", "two birds"], existing="skip").made == 2
    assert len(painter.seen) == 2


def test_the_image_itself_is_only_replaced_when_asked(painter, photo, hole):
    for more in ({}, {"existing": "skip"}):
        with pytest.raises(UsageError, match="is read, and would be replaced"):
            fill(photo, hole, photo, **more)
    assert (pixels(photo) == noise()).all()
    assert fill(photo, hole, photo, existing="overwrite").made == 1
    assert (pixels(photo)[DEEP] == painter.colour).all()


def test_nothing_is_written_where_a_mask_does_not_fit(painter, tmp_path):
    photos, masks = folder_of(tmp_path)
    Image.new("L", (9, 9), 255).save(masks / "p4.png")
    with pytest.raises(DataError, match=r"p4\.png"):
        fill(photos, masks, tmp_path / "out", batch=1)
    assert not (tmp_path / "out").exists()


def test_one_mask_for_images_of_other_sizes(painter, tmp_path):
    photos, masks = folder_of(tmp_path)
    with pytest.raises(DataError, match="4 problems") as caught:
        fill(photos, masks / "p0.png", tmp_path / "out")
    assert "170 x 100" in str(caught.value)
    assert "150 x 100" in str(caught.value)


@pytest.mark.parametrize("number", ["seed", "batch"])
def test_numbers_out_of_range(painter, photo, hole, tmp_path, number):
    with pytest.raises(UsageError, match=number):
        fill(photo, hole, tmp_path / "out.png", **{number: -1})


@pytest.mark.parametrize("number", ["dilate", "feather"])
def test_distances_out_of_range(number):
    with pytest.raises(UsageError, match=number):
        MaskFile("hole.png", **{number: -1})


def test_paths_as_text_and_one_text(painter, photo, hole, tmp_path):
    first = fill(photo, hole, tmp_path / "a.png")
    second = inpaint(
        model="model", image=str(photo), mask=str(hole), texts=["a bird"], out=str(tmp_path / "b.png")
    )
    assert (pixels(first.out) == pixels(second.out)).all()
    assert [seen[2] for seen in painter.seen] == [["a bird"], ["a bird"]]
    report = preview_holes(str(photo), str(hole), str(tmp_path / "preview.png"))
    assert report.out == tmp_path / "preview.png"


def test_existing_results_are_refused_skipped_or_overwritten_and_nothing_else(painter, photo, hole, tmp_path):
    with pytest.raises(UsageError, match="refuse, skip, overwrite"):
        fill(photo, hole, tmp_path / "a.png", existing="replace")


# --- preview ------------------------------------------------------------------------------------------------------


def test_a_preview_shows_the_hole(photo, hole, tmp_path):
    report = preview_holes(photo, MaskFile(hole, dilate=3), tmp_path / "preview.png")
    shown = pixels(report.out)
    changed = (shown != noise()).any(axis=2)
    assert changed[INSIDE].all()
    assert changed[65, 57]
    assert not changed[65, :55].any()
    with pytest.raises(UsageError, match="there already"):
        preview_holes(photo, hole, tmp_path / "preview.png")


def test_previews_of_a_folder_need_neither_model_nor_captions(tmp_path):
    photos, masks = folder_of(tmp_path)
    Image.fromarray(noise(150, 100, 4)).save(photos / "p0.png")
    seen = []
    report = preview_holes(photos, masks, tmp_path / "previews", progress=lambda *each: seen.append(each))
    assert [file.name for file in report.files] == [f"p{number}.png" for number in range(5)]
    assert seen[-1] == (5, 5)
    assert Image.open(report.files[0]).mode == "RGB"
