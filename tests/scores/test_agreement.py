"""The agreement oracle: right on drawn birds however they are cropped, right by chance only on anything else."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from gancli.data.images import crop_to_box
from gancli.data.preparation.options import PrepareOptions
from gancli.data.preparation.prepare import prepare
from gancli.data.source import BoundingBox
from gancli.data.sources.demo import dataset as demo
from gancli.data.sources.demo.drawing import BACKGROUNDS, COLORS, PALETTE, draw_bird
from gancli.errors import DataError
from gancli.sampling.samples_folder import GeneratedImage, Sampling, write_samples, write_sampling
from gancli.scores.agreement import (
    CHANCE,
    NONE,
    _asked,
    _lab,
    agreement,
    measure_agreement,
    measure_colors,
    measure_foreground,
    score_agreement,
)
from gancli.scores.image_sets import open_images

BIRDS = 160
Images = NDArray[np.uint8]
Asked = list[dict[str, str]]


@cache
def birds(size: int, augment: bool) -> tuple[Images, Asked]:
    """Drawn birds as the loader hands them out, (N, size, size, 3), and their colours."""
    rng = np.random.default_rng(7)
    images, asked = [], []
    for index, one in enumerate(demo.species(BIRDS, seed=11)):
        background = BACKGROUNDS[index % len(BACKGROUNDS)]
        drawing = draw_bird(one.plumage, background, size, np.random.default_rng([11, index]))
        side = size * 76 // 64
        image = crop_to_box(drawing.image, BoundingBox(*drawing.box))
        stored = np.asarray(image.resize((side, side), Image.Resampling.BILINEAR))
        top, left = rng.integers(0, side - size + 1, 2) if augment else [(side - size) // 2] * 2
        window = stored[top : top + size, left : left + size]
        images.append(window[:, ::-1] if augment and rng.random() < 0.5 else window)
        asked.append({"primary": one.plumage.primary, "belly": one.plumage.belly})
    return np.stack(images), asked


@pytest.mark.parametrize("augment", [False, True], ids=["centre", "random"])
@pytest.mark.parametrize("size", [32, 64, 96])
def test_rendered_birds(size: int, augment: bool) -> None:
    result = agreement(*birds(size, augment))
    assert result.primary is not None
    assert result.belly is not None
    assert result.primary >= 0.99
    assert result.belly >= 0.98
    assert (result.primary_n, result.belly_n, result.without_bird) == (BIRDS, BIRDS, 0)


def test_blurred_and_noisy_birds() -> None:
    images, asked = birds(64, True)
    blur = ImageFilter.GaussianBlur(1.5)
    blurred = agreement([np.asarray(Image.fromarray(image).filter(blur)) for image in images], asked)
    noise = np.random.default_rng(0).normal(0, 20, images.shape)
    noisy = agreement(np.clip(images + noise, 0, 255).astype(np.uint8), asked)
    for result in (blurred, noisy):
        assert result.primary is not None
        assert result.belly is not None
        assert min(result.primary, result.belly) >= 0.95


def test_mirrored_images_measure_the_same() -> None:
    images, _ = birds(64, True)
    assert measure_colors(images[:, :, ::-1]) == measure_colors(images)


def test_images_of_several_sizes_at_once() -> None:
    small, large = birds(32, False)[0], birds(96, False)[0]
    mixed = measure_colors([small[0], large[1], small[2]])
    alone = [measure_colors(image[None]) for image in (small[0], large[1], small[2])]
    assert mixed == {part: [one[part][0] for one in alone] for part in ("primary", "belly")}


def test_each_colour_is_recognised() -> None:
    images, asked = birds(64, False)
    measured = measure_colors(images)
    for part in ("primary", "belly"):
        for color in COLORS:
            own = [m for m, a in zip(measured[part], asked, strict=True) if a[part] == color]
            assert np.mean([m == color for m in own]) >= 0.9, (part, color)


@pytest.mark.parametrize("level", [110, 128, 150])
def test_grey_images_hold_no_bird(level: int) -> None:
    _, asked = birds(64, False)
    grey = np.full((BIRDS, 64, 64, 3), level, np.uint8)
    assert set(measure_colors(grey)["primary"]) == {NONE}
    result = agreement(grey, asked)
    assert (result.primary, result.belly, result.without_bird) == (0.0, 0.0, BIRDS)


@pytest.mark.parametrize("side", [64, 5])
def test_noise_is_no_better_than_chance(side: int) -> None:
    _, asked = birds(64, False)
    noise = np.random.default_rng(3).integers(0, 256, (BIRDS, side, side, 3), dtype=np.uint8)
    smooth = [np.asarray(Image.fromarray(one).resize((64, 64), Image.Resampling.BICUBIC)) for one in noise]
    result = agreement(smooth, asked)
    for value in (result.primary, result.belly):
        assert value is not None
        assert value <= CHANCE + 3 * np.sqrt(CHANCE * (1 - CHANCE) / BIRDS)


@pytest.mark.parametrize("color", COLORS)
def test_one_flat_colour_has_chance_level(color: str) -> None:
    _, asked = birds(64, False)
    result = agreement(np.full((BIRDS, 64, 64, 3), PALETTE[color], np.uint8), asked)
    assert result.primary is not None
    assert result.primary <= 0.2


def test_shuffled_is_the_mean_over_permutations() -> None:
    images, asked = birds(32, False)
    result = agreement(images, asked)
    measured = np.array(measure_colors(images)["primary"])
    named = np.array([one["primary"] for one in asked])
    rng = np.random.default_rng(0)
    drawn = np.mean([(measured == rng.permutation(named)).mean() for _ in range(400)])
    assert result.primary_shuffled == pytest.approx(drawn, abs=0.01)
    assert result.primary_shuffled == pytest.approx(CHANCE, abs=0.02)


def test_only_named_colours_count() -> None:
    images, asked = birds(32, False)
    wrong = "red" if asked[1]["primary"] != "red" else "blue"
    result = agreement(images[:3], [{"primary": asked[0]["primary"]}, {"primary": wrong}, {}])
    assert (result.primary, result.primary_n) == (0.5, 2)
    assert (result.belly, result.belly_n, result.belly_shuffled) == (None, 0, None)


def test_lab_of_known_colours() -> None:
    rgb = np.array([(255, 255, 255), (0, 0, 0), (255, 0, 0), (0, 0, 255)], dtype=np.float32)
    expected = [(100, 0, 0), (0, 0, 0), (53.24, 80.09, 67.20), (32.30, 79.19, -107.86)]
    np.testing.assert_allclose(_lab(rgb), expected, atol=0.05)


def test_the_palette_is_well_separated() -> None:
    lab = _lab(np.array(list(PALETTE.values()), dtype=np.float32))
    distance = np.linalg.norm(lab[:, None] - lab[None], axis=-1)
    assert distance[~np.eye(len(lab), dtype=bool)].min() > 40


# ----------------------------------------------------------------------------------------------------------
# From folders and splits


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("demo")
    demo.write_demo(folder / "raw", images=60, image_size=32)
    prepare(demo.read(folder / "raw"), folder / "demo", PrepareOptions(image_size=32))
    return folder / "demo"


def samples(folder: Path, captions: list[str]) -> Path:
    """A folder of `gancli sample` with the first birds as its images."""
    folder.mkdir()
    rows = []
    for number, caption in enumerate(captions):
        Image.fromarray(birds(32, False)[0][number]).save(folder / f"{number}.png")
        rows.append(GeneratedImage(f"{number}.png", caption, "", None, 0, 0, 32))
    write_samples(folder, rows)
    return folder


def test_a_split_is_its_own_ceiling(dataset: Path) -> None:
    done: list[tuple[int, int]] = []
    result = measure_agreement(open_images(f"{dataset}:train"), batch=20, progress=lambda *p: done.append(p))
    assert result.primary == 1.0
    assert result.primary_n == 45
    assert result.belly is not None
    assert result.belly >= 0.95
    assert 0 < result.belly_n < 45
    assert done == [(20, 45), (40, 45), (45, 45)]


def test_a_folder_of_samples(tmp_path: Path) -> None:
    _, asked = birds(32, False)
    right = f"a {asked[0]['primary']} bird with a {asked[0]['belly']} belly"
    wrong = f"a bird that is {asked[2]['belly']}"  # the belly's colour is never the primary one
    folder = samples(tmp_path / "images", [right, "a small bird", wrong])
    result = measure_agreement(open_images(str(folder)))
    assert (result.primary, result.primary_n, result.belly, result.belly_n) == (0.5, 2, 1.0, 1)


def test_captions_without_colours_are_refused(tmp_path: Path) -> None:
    folder = samples(tmp_path / "images", ["a small bird", "a bus on a street"])
    with pytest.raises(DataError, match="no caption names the colour"):
        measure_agreement(open_images(str(folder)))


def test_a_folder_without_captions_is_refused(tmp_path: Path) -> None:
    Image.new("RGB", (32, 32)).save(tmp_path / "a.png")
    with pytest.raises(DataError, match=r"samples\.csv"):
        measure_agreement(open_images(str(tmp_path)))


def test_rows_of_images_and_of_the_real_ones(dataset: Path, tmp_path: Path) -> None:
    folder = samples(tmp_path / "images", [f"a {one['primary']} bird" for one in birds(32, False)[1][:4]])
    rows = score_agreement(str(folder), data=f"{dataset}:test")
    assert [(row.metric, row.method, row.n_fake, row.n_real) for row in rows[:2]] == [
        ("agreement_primary_colour", "images", 4, 0),
        ("agreement_primary_colour", "real", 0, 15),
    ]
    assert [row.value for row in rows[:2]] == [100.0, 100.0]
    assert all("12.5" in row.protocol for row in rows)


# ----------------------------------------------------------------------------------------------------------
# Attributes and silhouettes


@cache
def birds_and_masks(size: int) -> tuple[Images, NDArray[np.bool_]]:
    """As `birds`, with the birds' silhouettes (N, size, size)."""
    pair: tuple[list[Images], list[NDArray[np.bool_]]] = ([], [])
    for index, one in enumerate(demo.species(BIRDS, seed=11)):
        background = BACKGROUNDS[index % len(BACKGROUNDS)]
        drawing = draw_bird(one.plumage, background, size, np.random.default_rng([11, index]))
        side = size * 76 // 64
        start = (side - size) // 2
        for part, kept in zip((drawing.image, drawing.silhouette.convert("RGB")), pair, strict=True):
            image = crop_to_box(part, BoundingBox(*drawing.box)).resize(
                (side, side), Image.Resampling.BILINEAR
            )
            window = np.asarray(image)[start : start + size, start : start + size]
            kept.append(window if part is drawing.image else window[..., 0] >= 128)
    return np.stack(pair[0]), np.stack(pair[1])


def slow_iou(first: NDArray[np.bool_], second: NDArray[np.bool_]) -> float:
    pairs = list(zip(first.ravel().tolist(), second.ravel().tolist(), strict=True))
    return sum(a and b for a, b in pairs) / sum(a or b for a, b in pairs)


def mean_iou(images: Images, masks: NDArray[np.bool_]) -> float:
    found = measure_foreground(images)
    return float(np.mean([slow_iou(one, mask) for one, mask in zip(found, masks, strict=True)]))


@pytest.mark.parametrize(("size", "least"), [(32, 0.93), (64, 0.94), (128, 0.94)])
def test_the_foreground_of_drawn_birds(size: int, least: float) -> None:
    images, masks = birds_and_masks(size)
    assert mean_iou(images, masks) >= least
    assert mean_iou(images, masks[::-1]) < 0.75  # those of other birds


def test_the_foreground_of_blurred_and_of_noisy_birds() -> None:
    images, masks = birds_and_masks(64)
    blur = ImageFilter.GaussianBlur(1)
    assert mean_iou(np.stack([np.asarray(Image.fromarray(one).filter(blur)) for one in images]), masks) > 0.9
    noise = np.random.default_rng(0).normal(0, 8, images.shape)
    assert mean_iou(np.clip(images + noise, 0, 255).astype(np.uint8), masks) > 0.92


def test_a_foreground_is_one_piece_without_holes() -> None:
    image = np.full((64, 64, 3), 128, np.uint8)
    image[10:40, 10:40] = PALETTE["red"]
    image[20:25, 20:25] = 128  # inside of it
    image[50:60, 50:60] = PALETTE["blue"]  # a smaller piece
    (found,) = measure_foreground([image])
    expected = np.zeros((64, 64), bool)
    expected[10:40, 10:40] = True
    np.testing.assert_array_equal(found, expected)
    assert not measure_foreground([np.full((64, 64, 3), 128, np.uint8)])[0].any()


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("primary_color=red, belly_color=blue", {"primary": "red", "belly": "blue"}),
        ("wing_color=white, primary_color=black", {"primary": "black"}),
        ("primary_color=red, primary_color=blue, belly_color=pink", {"belly": "pink"}),
        ("primary_color=red, primary_color=brown", {}),
        ("primary_color=brown", {}),
        ("size=small_(5_-_9_in)", {}),
        ("a red bird with a blue belly", {"primary": "red", "belly": "blue"}),
    ],
)
def test_colours_that_attributes_ask_for(text: str, named: dict[str, str]) -> None:
    assert _asked(text) == named


def painted(folder: Path, dataset: Path | None, masks: NDArray[np.bool_], name: str = "demo") -> Path:
    """A folder of `gancli sample` of a model of attributes: the first birds, painted on `masks`."""
    (folder / "shapes").mkdir(parents=True)
    rows = []
    for number, mask in enumerate(masks):
        Image.fromarray(birds_and_masks(64)[0][number]).save(folder / f"{number}.png")
        Image.fromarray(mask).save(folder / f"shapes/{number}.png")
        caption = f"size=small, primary_color={birds(64, False)[1][number]['primary']}"
        rows.append(
            GeneratedImage(f"{number}.png", caption, "", None, 0, 0, 64, silhouette=f"shapes/{number}.png")
        )
    sampling = Sampling(
        "runs/1", "a" * 64, "", "attr2image", str(dataset) if dataset else None, name, "test", len(rows), 1, 0, None,
        (64,), "c", (), "0",
    )  # fmt: skip
    write_sampling(folder, sampling)
    write_samples(folder, rows)
    return folder


def test_images_and_the_silhouettes_they_were_painted_on(dataset: Path, tmp_path: Path) -> None:
    images, masks = birds_and_masks(64)
    rows = score_agreement(str(painted(tmp_path / "images", dataset, masks[:6])))
    values = {(row.metric, row.method): row for row in rows}
    fake, real = values["silhouette_iou", "attr2image"], values["silhouette_iou", "real"]
    assert fake.value == pytest.approx(100 * mean_iou(images[:6], masks[:6]))
    assert (fake.n_fake, fake.n_real, real.n_fake, real.n_real) == (6, 0, 0, 15)
    assert real.value > 93
    assert "own accuracy" in real.note
    assert values["agreement_primary_colour", "attr2image"].value == 100
    others = score_agreement(str(painted(tmp_path / "others", None, masks[6:12])))
    assert [(row.metric, row.n_fake) for row in others] == [
        ("agreement_primary_colour", 6),
        ("silhouette_iou", 6),
    ]
    assert others[1].value == pytest.approx(100 * mean_iou(images[:6], masks[6:12]))
    assert others[1].value < 80


def test_silhouettes_of_another_side_are_brought_to_the_images(tmp_path: Path) -> None:
    large = score_agreement(str(painted(tmp_path / "a", None, birds_and_masks(128)[1][:6])))[1]
    same = score_agreement(str(painted(tmp_path / "b", None, birds_and_masks(64)[1][:6])))[1]
    assert large.value == pytest.approx(same.value, abs=6)


def test_a_split_with_masks_is_the_oracles_accuracy(dataset: Path) -> None:
    rows = score_agreement(f"{dataset}:train")
    assert [row.metric for row in rows] == [
        "agreement_primary_colour",
        "agreement_belly_colour",
        "silhouette_iou",
    ]
    assert (rows[2].n_real, rows[2].method) == (45, "real")


def test_silhouettes_have_no_colours(tmp_path: Path) -> None:
    folder = painted(tmp_path / "images", None, birds_and_masks(64)[1][:2])
    write_samples(
        folder,
        [
            GeneratedImage(f"{n}.png", "primary_color=red", "", None, 0, 0, 64, silhouette=f"{n}.png")
            for n in range(2)
        ],
    )
    with pytest.raises(DataError, match="holds silhouettes") as refused:
        score_agreement(str(folder))
    assert "gancli score shapes" in str(refused.value.hint)


def test_birds_of_other_datasets_are_refused(tiny_dataset: Path, tmp_path: Path) -> None:
    folder = painted(tmp_path / "images", None, birds_and_masks(64)[1][:2], name="cub")
    for name in (str(folder), f"{tiny_dataset}:test"):
        with pytest.raises(DataError, match="its captions are of cub"):
            score_agreement(name)
