"""Images are matched with mask files, captions and results, and everything without a partner is named first."""

import pytest
from PIL import Image

from gancli.errors import DataError, UsageError
from gancli.inpainting.match_files import MaskFile, check_inputs, find_tasks, to_do

MASK = MaskFile("hole.png")


def write_image(path, size=(40, 30), mode="RGB"):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, 0).save(path)


def mask(path, size=(40, 30), hole=(10, 10, 20, 20)):
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.new("L", size, 0)
    image.paste(255, hole)
    image.save(path)


def pairs(image, masks, **more):
    tasks = find_tasks(
        image, masks, more.pop("texts", ["a bird"]), more.pop("captions", None), more.pop("out", None)
    )
    return [(task.image.relative_to(image).as_posix(), task.mask.name) for task in tasks]


def test_names_match_whatever_they_end_in(tmp_path):
    photos, masks = tmp_path / "photos", tmp_path / "masks"
    for name in ("a.jpg", "B.JPEG", "c.png", "d.webp", "in/e.bmp"):
        write_image(photos / name)
    for name in ("a.png", "b_mask.PNG", "C-mask.tif", "d_mask001.png", "in/e.png"):
        mask(masks / name)
    (photos / "notes.md").write_text("no image")
    assert pairs(photos, masks) == [
        ("B.JPEG", "b_mask.PNG"), ("a.jpg", "a.png"), ("c.png", "C-mask.tif"), ("d.webp", "d_mask001.png"),
        ("in/e.bmp", "e.png"),
    ]  # fmt: skip


def test_masks_beside_the_images(tmp_path):
    for name in ("a.png", "b.jpg"):
        write_image(tmp_path / name)
    for name in ("a_mask001.png", "b_mask.png"):
        mask(tmp_path / name)
    assert pairs(tmp_path, tmp_path) == [("a.png", "a_mask001.png"), ("b.jpg", "b_mask.png")]
    write_image(tmp_path / "c.png")
    with pytest.raises(DataError, match=r"c\.png: has no mask"):
        pairs(tmp_path, tmp_path)


def test_a_marked_mask_goes_before_one_of_the_same_name(tmp_path):
    """Some tools leave the images in the folder of mask files."""
    write_image(tmp_path / "photos/a.png")
    write_image(tmp_path / "both/a.png")
    mask(tmp_path / "both/a_mask.png")
    assert pairs(tmp_path / "photos", tmp_path / "both") == [("a.png", "a_mask.png")]


def test_results_and_masks_below_the_images_are_none_of_them(tmp_path):
    write_image(tmp_path / "a.png")
    mask(tmp_path / "masks/a.png")
    write_image(tmp_path / "out/a.png")
    assert pairs(tmp_path, tmp_path / "masks", out=tmp_path / "out") == [("a.png", "a.png")]


def test_one_mask_for_all(tmp_path):
    for name in ("a.png", "b.png", "hole.png"):
        mask(tmp_path / name)
    assert pairs(tmp_path, tmp_path / "hole.png") == [("a.png", "hole.png"), ("b.png", "hole.png")]


def test_what_has_no_partner_is_listed(tmp_path):
    photos, masks = tmp_path / "photos", tmp_path / "masks"
    for name in ("a.jpg", "b.jpg", "c.jpg"):
        write_image(photos / name)
    (photos / "a.txt").write_text("a bird\n")
    for name in ("a.png", "c.png", "c.bmp", "z.png"):
        mask(masks / name)
    with pytest.raises(DataError) as caught:
        find_tasks(photos, masks, (), None, None)
    for line in (
        "b.jpg: has no mask",
        "c.jpg: has several masks, c.bmp, c.png",
        "z.png: is a mask without image",
    ):
        assert line in str(caught.value)
    for name in ("c.bmp", "z.png"):
        (masks / name).unlink()
    mask(masks / "b.png")
    with pytest.raises(DataError) as caught:
        find_tasks(photos, masks, (), None, None)
    assert "b.jpg: no caption file b.txt" in str(caught.value)
    assert "c.jpg: no caption file c.txt" in str(caught.value)


def test_long_lists_are_cut(tmp_path):
    write_image(tmp_path / "photos/a.png")
    for number in range(30):
        mask(tmp_path / f"masks/m{number:02}.png")
    with pytest.raises(DataError, match="31 problems") as caught:
        pairs(tmp_path / "photos", tmp_path / "masks")
    assert str(caught.value).count("\n") == 11
    assert "and 21 more" in str(caught.value)


def test_captions_beside_the_images_and_from_a_table(tmp_path):
    for name in ("a.png", "b.png"):
        write_image(tmp_path / "photos" / name)
        mask(tmp_path / "masks" / name)
    table = tmp_path / "captions.csv"
    table.write_text(
        'file,caption\nb.png,"a blue bird, with wings"\nb.png,another\na.png,a white bird\nz.png,a third\n'
    )

    def captions(*texts, table=None):
        tasks = find_tasks(tmp_path / "photos", tmp_path / "masks", texts, table, tmp_path / "out")
        return [task.caption for task in tasks]

    assert captions(table=table) == ["a white bird", "a blue bird, with wings"]
    with pytest.raises(DataError, match="no captions beside them") as caught:
        captions()
    assert "--text" in caught.value.hint
    (tmp_path / "photos/a.txt").write_text("\ufeffa red bird\na second one\n")
    (tmp_path / "photos/b.txt").write_text("a brown bird")
    assert captions() == ["a red bird", "a brown bird"]
    assert captions(" a green bird ") == ["a green bird"] * 2
    with pytest.raises(UsageError, match="not from both"):
        captions("a bird", table=table)
    with pytest.raises(UsageError, match="several texts"):
        captions("a bird", "another")
    with pytest.raises(UsageError, match="no such file"):
        captions(table=tmp_path / "absent.csv")


def test_where_results_go(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    photo, hole = tmp_path / "a.photo.JPG", tmp_path / "hole.png"
    write_image(photo)
    mask(hole)

    def files(texts, out=None):
        return [task.out.as_posix() for task in find_tasks(photo, hole, texts, None, out and tmp_path / out)]

    assert files(["a bird"]) == ["a.photo-inpainted.JPG"]
    assert files(["a bird"], "new/out.png") == [f"{tmp_path}/new/out.png"]
    assert files(["a", "b"], "out.png") == [f"{tmp_path}/out-1.png", f"{tmp_path}/out-2.png"]
    (tmp_path / "there").mkdir()
    assert files(["a bird"], "there") == [f"{tmp_path}/there/a.photo.JPG"]
    (tmp_path / "a.gif").write_bytes(photo.read_bytes())
    assert find_tasks(tmp_path / "a.gif", hole, ["a"], None, None)[0].out.name == "a-inpainted.png"


@pytest.mark.parametrize(
    ("image", "masked", "texts", "error", "message"),
    [
        ("absent.png", "hole.png", ["a bird"], DataError, r"absent\.png: no such file"),
        ("photo.png", "absent.png", ["a bird"], DataError, r"absent\.png: no such file"),
        ("photo.png", "masks", ["a bird"], UsageError, "masks: is a folder"),
        ("photo.png", "hole.png", [], UsageError, "nothing says what is to be in the hole"),
        ("photo.png", "hole.png", ["a bird", " "], UsageError, "a text is empty"),
        ("empty", "hole.png", ["a bird"], DataError, "no file at all"),
        ("texts", "hole.png", ["a bird"], DataError, r"1 \.txt"),
        ("masks", "empty", ["a bird"], DataError, "empty holds no image"),
        ("only", "only/hole.png", ["a bird"], DataError, "no image to fill"),
    ],
)
def test_wrong_requests(tmp_path, image, masked, texts, error, message):
    write_image(tmp_path / "photo.png")
    for name in ("hole.png", "masks/a.png", "only/hole.png"):
        mask(tmp_path / name)
    (tmp_path / "empty").mkdir()
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts/a.txt").write_text("a bird")
    with pytest.raises(error, match=message):
        find_tasks(tmp_path / image, tmp_path / masked, texts, None, tmp_path / "out")


# --- what is there already ----------------------------------------------------------------------------------------


def test_results_that_are_there(tmp_path):
    files = [[tmp_path / "a.png"], [tmp_path / "b.png", tmp_path / "b-attention.png"]]
    assert to_do(files, [], "refuse") == [0, 1]
    for name in ("a.png", "b.png"):
        (tmp_path / name).write_bytes(b"")
    with pytest.raises(UsageError, match="there already") as caught:
        to_do(files, [], "refuse")
    assert "--skip-existing" in caught.value.hint
    assert to_do(files, [], "skip") == [1], "half of it is not all of it"
    assert to_do(files, [], "overwrite") == [0, 1]
    with pytest.raises(UsageError, match="one name"):
        to_do([[tmp_path / "x.png"], [tmp_path / "x.png"]], [], "refuse")


def test_what_is_read_is_not_skipped_as_if_it_were_finished(tmp_path):
    (tmp_path / "a.png").write_bytes(b"")
    (tmp_path / "link.png").symlink_to(tmp_path / "a.png")
    for existing in ("refuse", "skip"):
        with pytest.raises(UsageError, match="is read, and would be replaced"):
            to_do([[tmp_path / "link.png"]], [tmp_path / "a.png"], existing)
    assert to_do([[tmp_path / "a.png"]], [tmp_path / "a.png"], "overwrite") == [0]


# --- looking at every file ----------------------------------------------------------------------------------------


def one(tmp_path, out="out.png"):
    return find_tasks(tmp_path / "photo.png", tmp_path / "hole.png", ["a bird"], None, tmp_path / out)


@pytest.mark.parametrize(
    ("size", "hole", "message"),
    [
        ((40, 31), (10, 10, 20, 20), "has 40 x 30 pixels, its mask .*hole.png 40 x 31"),
        ((40, 30), (0, 0, 0, 0), "no hole in it"),
        ((40, 30), (0, 0, 40, 30), "all of it is hole"),
        ((40, 30), (2, 2, 38, 28), "grown by 9 pixels: all of it is hole"),
    ],
)
def test_masks_that_do_not_fit(tmp_path, size, hole, message):
    write_image(tmp_path / "photo.png")
    mask(tmp_path / "hole.png", size, hole)
    with pytest.raises(DataError, match=message) as caught:
        check_inputs(one(tmp_path), MaskFile("hole.png", dilate=9 if "grown" in message else 0))
    assert caught.value.hint


def test_all_that_cannot_be_used_is_listed(tmp_path):
    photos, masks = tmp_path / "photos", tmp_path / "masks"
    for name in ("a.png", "b.png", "c.png", "d.png"):
        write_image(photos / name)
        mask(masks / name)
    mask(masks / "a.png", (50, 50))
    mask(masks / "b.png", hole=(0, 0, 0, 0))
    (photos / "c.png").write_text("no image")
    with pytest.raises(DataError, match="3 problems") as caught:
        check_inputs(find_tasks(photos, masks, ["a bird"], None, tmp_path / "out"), MASK)
    for name, what in (("a", "50 x 50"), ("b", "no hole"), ("c", "not an image")):
        assert any(f"{name}.png" in line and what in line for line in str(caught.value).splitlines())


def test_a_turned_photograph_is_compared_upright(tmp_path):
    exif = Image.Exif()
    exif[274] = 6
    Image.new("RGB", (40, 30)).save(tmp_path / "photo.png", exif=exif)
    mask(tmp_path / "hole.png", (30, 40))
    assert check_inputs(one(tmp_path), MASK) == []
    mask(tmp_path / "hole.png", (40, 30))
    with pytest.raises(DataError, match="30 x 40 pixels upright"):
        check_inputs(one(tmp_path), MASK)


def test_warnings(tmp_path):
    for name in ("a.png", "b.png", "c.png"):
        write_image(tmp_path / "photos" / name, mode="P")
        inverted = Image.new("L", (40, 30), 255)
        inverted.paste(0, (10, 10, 20, 20))
        (tmp_path / "masks").mkdir(exist_ok=True)
        inverted.save(tmp_path / "masks" / name)
    tasks = find_tasks(tmp_path / "photos", tmp_path / "masks", ["a bird"], None, tmp_path / "out")
    first, more, changed = check_inputs(tasks, MASK)
    assert "may be swapped" in first
    assert "--invert-mask" in first
    assert more.startswith("2 more masks")
    assert changed.endswith("c.png: a palette becomes RGB")
    assert check_inputs(tasks, MaskFile("masks", inverted=True)) == [changed]


def test_transparency_needs_a_format_that_has_it(tmp_path):
    write_image(tmp_path / "photo.png", mode="RGBA")
    mask(tmp_path / "hole.png")
    with pytest.raises(UsageError, match="JPEG has no transparency"):
        check_inputs(one(tmp_path, "out.jpg"), MASK)
    assert check_inputs(one(tmp_path, "out.jpg"), MASK, transparent=False) == []
    with pytest.raises(UsageError, match="not written"):
        check_inputs(one(tmp_path, "out.xyz"), MASK)
