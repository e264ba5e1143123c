"""PSNR and SSIM: against slow transcriptions of their equations, and of the right image, original and hole."""

import dataclasses
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from gancli.data.hole_settings import HoleSettings
from gancli.data.holes import central_hole
from gancli.data.shards import Dataset
from gancli.encoders.damsm import load_damsm
from gancli.errors import DataError, UsageError
from gancli.sampling.samples_folder import (
    GeneratedImage,
    Sampling,
    read_samples,
    read_sampling,
    write_samples,
    write_sampling,
)
from gancli.scores.every import score_all
from gancli.scores.features import FeatureNetwork
from gancli.scores.fid import score_fid
from gancli.scores.hole_fid import score_hole_fid
from gancli.scores.image_retrieval import score_map, score_recall
from gancli.scores.image_sets import open_images
from gancli.scores.inception_score import score_is
from gancli.scores.pairs import CAP, MEAN_FILL, mean_fill
from gancli.scores.r_precision import score_r_precision
from gancli.scores.reconstruction import (
    Window,
    ms_ssim,
    psnr,
    score_l1,
    score_l2,
    score_ms_ssim,
    score_psnr,
    score_ssim,
    ssim,
    ssim_map,
)

SIDE = 32


def image(height=12, width=14, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def images(height, width):
    return arrays(np.uint8, (height, width, 3), elements=st.integers(0, 255))


# --- the equations, slowly ------------------------------------------------------------------------------------


def slow_psnr(first, second, hole=None):
    total, count = 0.0, 0
    for row in range(first.shape[0]):
        for column in range(first.shape[1]):
            if hole is None or hole[row, column]:
                for channel in range(3):
                    total += (float(first[row, column, channel]) - float(second[row, column, channel])) ** 2
                    count += 1
    return math.inf if total == 0 else 10 * math.log10(255**2 / (total / count))


def slow_ssim_map(first, second, weights, unbiased):
    """Wang et al. (2004), eq. 13, of each pixel's window; weights (n, n) sum to 1, the image is mirrored."""
    n = len(weights)
    edge = n // 2
    factor = n * n / (n * n - 1) if unbiased else 1.0
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    height, width = first.shape[:2]
    result = np.zeros((height, width))
    for channel in range(3):
        x, y = (
            np.pad(each[..., channel].astype(np.float64), edge, mode="symmetric") for each in (first, second)
        )
        for row in range(height):
            for column in range(width):
                a, b = (each[row : row + n, column : column + n] for each in (x, y))
                mean_a, mean_b = (weights * a).sum(), (weights * b).sum()
                variance_a = factor * (weights * (a - mean_a) ** 2).sum()
                variance_b = factor * (weights * (b - mean_b) ** 2).sum()
                covariance = factor * (weights * (a - mean_a) * (b - mean_b)).sum()
                result[row, column] += (
                    (2 * mean_a * mean_b + c1)
                    * (2 * covariance + c2)
                    / ((mean_a**2 + mean_b**2 + c1) * (variance_a + variance_b + c2))
                ) / 3
    return result


def slow_window(window):
    if window is Window.UNIFORM:
        return np.full((7, 7), 1 / 49), True
    line = np.array([math.exp(-(k**2) / (2 * 1.5**2)) for k in range(-5, 6)])
    return np.outer(line, line) / line.sum() ** 2, False


@settings(max_examples=30)
@given(first=images(7, 9), second=images(7, 9), hole=arrays(np.bool_, (7, 9)))
def test_psnr_is_its_equation(first, second, hole):
    hole[0, 0] = True
    for region in (None, hole):
        assert psnr(first, second, region) == pytest.approx(min(CAP, slow_psnr(first, second, region)))


@pytest.mark.parametrize("window", Window)
@settings(max_examples=10)
@given(first=images(12, 13), second=images(12, 13), nearly=st.booleans())
def test_ssim_is_its_equation_in_every_window(window, first, second, nearly):
    if nearly:
        second = np.clip(first.astype(int) + second % 8, 0, 255).astype(np.uint8)
    expected = slow_ssim_map(first, second, *slow_window(window))
    assert ssim_map(first, second, window) == pytest.approx(expected, abs=1e-9)
    edge = 3 if window is Window.UNIFORM else 5
    inside = expected[edge:-edge, edge:-edge].mean()
    assert ssim(first, second, window=window) == pytest.approx(inside, abs=1e-9)
    hole = np.zeros((12, 13), np.bool_)
    hole[2:6, 1:9] = True
    in_hole = expected[hole].mean()
    assert ssim(first, second, hole, window) == pytest.approx(in_hole, abs=1e-9)


def test_identical_images_get_the_cap_and_nothing_gets_more():
    first = image(256, 256)
    assert psnr(first, first) == CAP
    assert ssim(first, first) == 1
    second = first.copy()
    second[0, 0, 0] ^= 1  # 101 dB
    assert psnr(first, second) == CAP


@settings(max_examples=30)
@given(original=images(16, 16), filled=images(16, 16), seed=st.integers(0, 100))
def test_a_hole_scores_lower_than_the_image_by_its_share(original, filled, seed):
    hole = np.random.default_rng(seed).random((16, 16)) < 0.25
    hole[:2, :2] = True
    composite = np.where(hole[..., None], filled, original)
    if not np.array_equal(composite, original):
        in_hole = psnr(composite, original, hole)
        assert psnr(composite, original) == pytest.approx(min(CAP, in_hole - 10 * math.log10(hole.mean())))


def test_a_hole_of_a_quarter_is_6_decibels():
    original, hole = image(16, 16), central_hole(16)
    composite = np.where(hole[..., None], image(16, 16, 1), original)
    difference = psnr(composite, original) - psnr(composite, original, hole)
    assert difference == pytest.approx(6.0206, abs=1e-4)


@pytest.mark.parametrize(("side", "reach"), [(12, 1), (31, 1), (48, 3)])
def test_mean_fill_is_the_mean_of_the_known_pixels_nearby(side, reach):
    original = image(side, side + 5)
    hole = np.zeros((side, side + 5), np.bool_)
    hole[4:7, 5:9] = hole[0, 0] = True
    near = []
    for row, column in np.ndindex(hole.shape):
        distances = [math.dist((row, column), place) for place in np.argwhere(hole)]
        if not hole[row, column] and min(distances) <= reach:
            near.append(original[row, column].astype(float))
    filled = mean_fill(original, hole)
    assert np.array_equal(filled[~hole], original[~hole])
    assert (filled[hole] == np.round(np.mean(near, axis=0))).all()


# --- folders of gancli inpaint --------------------------------------------------------------------------------


@pytest.fixture
def split(tiny_dataset):
    return Dataset.open(tiny_dataset).split("test")


@pytest.fixture
def real(tiny_dataset):
    return [each for batch in open_images(f"{tiny_dataset}:test").batches(50) for each in batch]


@pytest.fixture
def inpainted(tiny_dataset, split, real, tmp_path):
    """Writes a folder as `gancli inpaint` does: for each place of the split named, its image with noise in a hole."""

    def make(places, name="filled", hole=None, exact=True, **changes):
        folder = tmp_path / name
        (folder / "holes").mkdir(parents=True)
        cut = central_hole(SIDE) if hole is None else hole
        records, composites = [], []
        for number, place in enumerate(places):
            file = f"{number:04d}-{split.keys[place].rpartition('/')[2]}.png"
            noise = image(SIDE, SIDE, seed=number)
            composite = np.where(cut[..., None], noise, real[place] if exact else real[place] // 2)
            composites.append(composite)
            Image.fromarray(composite).save(folder / file)
            Image.fromarray(cut).save(folder / "holes" / file)
            class_id = int(split.class_ids[place])
            records.append(
                GeneratedImage(file, "a bird", split.keys[place], class_id, 0, 0, SIDE, hole=f"holes/{file}")
            )
        sampling = Sampling(
            "runs/1/model", "a" * 64, "b" * 64, "CSF-GAN", str(tiny_dataset), "cub", "test", len(records), 1, 4, 16,
            (SIDE,), "c" * 64, (), "0", holes=HoleSettings("center", 0.5),
        )  # fmt: skip
        write_sampling(folder, dataclasses.replace(sampling, **changes))
        write_samples(folder, records)
        return str(folder), composites

    return make


def test_originals_are_matched_by_key_and_not_by_order(inpainted, real, split):
    places = list(reversed(range(len(split))))
    folder, composites = inpainted(places)
    hole = central_hole(SIDE)
    for score, measure in ((score_psnr, psnr), (score_ssim, ssim)):
        whole, in_hole, fill, fill_hole = score(folder)
        metric = measure.__name__
        assert [row.metric for row in (whole, in_hole, fill, fill_hole)] == [metric, f"{metric}_hole"] * 2
        originals = [real[place] for place in places]
        fills = [mean_fill(original, hole) for original in originals]
        for row, shown, region in (
            (whole, composites, None),
            (in_hole, composites, hole),
            (fill, fills, None),
            (fill_hole, fills, hole),
        ):
            values = [measure(a, b, region) for a, b in zip(shown, originals, strict=True)]
            assert row.value == pytest.approx(np.mean(values))
            assert row.std == pytest.approx(np.std(values))
            assert (row.n_real, row.n_fake, row.dataset, row.split) == (12, 12, "cub", "test")
            assert row.image_size == SIDE
            assert row.protocol.endswith("; holes: center 0.5")
            assert "25 % of the pixels are hole" in row.note
            assert "not the original's" not in row.note
        assert {whole.method, in_hole.method} == {"CSF-GAN"}
        assert (whole.model, whole.model_hash, whole.seed) == ("runs/1/model", "a" * 64, 4)
        assert {fill.method, fill_hole.method} == {MEAN_FILL}
        assert "whole image" in whole.protocol
        assert "hole alone" in in_hole.protocol


def test_the_whole_is_6_decibels_above_the_hole_in_the_rows_too(inpainted):
    whole, in_hole, *_ = score_psnr(inpainted([3, 1, 4])[0])
    assert whole.value - in_hole.value == pytest.approx(20 * math.log10(2))
    assert whole.n_fake == 3
    assert "9 of 12 originals have no image" in whole.note


def test_the_batch_changes_nothing_and_progress_is_told(inpainted):
    folder, _ = inpainted([3, 1, 4, 1, 5, 9, 2])
    seen = []
    rows = {
        batch: score_ssim(folder, batch=batch, progress=lambda *each: seen.append(each))
        for batch in (1, 3, 50)
    }
    assert [row.value for row in rows[1]] == [row.value for row in rows[3]] == [row.value for row in rows[50]]
    assert seen[-4:] == [(3, 7), (6, 7), (7, 7), (7, 7)]
    assert rows[1][0].n_real == 6
    assert rows[1][0].n_fake == 7


def test_windows_are_different_quantities_and_say_so(inpainted):
    folder, _ = inpainted([0, 1])
    uniform, wang = (score_ssim(folder, window=window)[0] for window in ("uniform", "wang"))
    assert uniform.value != wang.value
    assert "uniform 7x7" in uniform.protocol
    assert "Gaussian 11x11" in wang.protocol


def test_identical_images_are_counted(inpainted, real):
    folder, _ = inpainted([0, 1, 2])
    Image.fromarray(real[1]).save(f"{folder}/{open_images(folder).files[1].name}")
    whole, in_hole, *_ = score_psnr(folder)
    assert "1 at the cap of 100 dB" in whole.note
    assert "1 at the cap of 100 dB" in in_hole.note
    assert "cap" not in score_ssim(folder)[0].note


def test_known_pixels_of_another_image_are_noted(inpainted):
    rows = score_psnr(inpainted([0, 1], exact=False)[0])
    assert "known pixels of 2 images differ from the original's" in rows[0].note
    assert "not the original's" not in rows[2].note


def test_random_holes_say_their_seed(inpainted):
    row = score_psnr(inpainted([0], holes=HoleSettings("irregular", least=0.1, most=0.5), hole_seed=7)[0])[0]
    assert row.protocol.endswith("; holes: irregular 0.1 to 0.5, seed 7")


def test_images_without_holes_are_scored_whole(inpainted, split):
    folder, _ = inpainted([0, 1])
    rows = [dataclasses.replace(each, hole="") for each in read_samples(Path(folder))]
    write_samples(Path(folder), rows)
    (row,) = score_psnr(folder)
    assert row.metric == "psnr"
    assert "hole" not in row.note
    write_samples(Path(folder), [rows[0], dataclasses.replace(rows[1], hole="holes/" + rows[1].file)])
    with pytest.raises(DataError, match="holes of some images only"):
        score_psnr(folder)


def test_a_larger_image_than_the_datasets_is_refused(inpainted, tiny_dataset):
    folder, _ = inpainted([0])
    record = read_samples(Path(folder))[0]
    path = Path(folder) / record.file
    Image.open(path).resize((64, 64)).save(path)
    write_samples(Path(folder), [dataclasses.replace(record, size=64)])
    with pytest.raises(DataError, match=r"64 x 64 pixels, its original .*:test .* 32 x 32"):
        score_psnr(folder)


def test_holes_that_are_none(inpainted):
    for name, cut, words in (("none", np.zeros, "no hole in it"), ("all", np.ones, "all of it is hole")):
        folder, _ = inpainted([0], name=name, hole=cut((SIDE, SIDE), np.bool_))
        with pytest.raises(DataError, match=words):
            score_ssim(folder)


def test_what_the_images_are_of_has_to_be_known(inpainted, tiny_dataset, tmp_path):
    folder, _ = inpainted([0], data=None)
    with pytest.raises(UsageError, match="does not name the originals of its images") as caught:
        score_psnr(folder)
    assert "--real DIR" in str(caught.value.hint)
    assert len(score_psnr(folder, data=f"{tiny_dataset}:test")) == 4
    with pytest.raises(DataError, match="has no image"):
        score_psnr(folder, data=f"{tiny_dataset}:train")
    with pytest.raises(UsageError, match="both are named"):
        score_psnr(folder, data=f"{tiny_dataset}:test", real=str(tmp_path))
    with pytest.raises(UsageError, match="no mask to invert"):
        score_psnr(folder, invert_mask=True)
    with pytest.raises(UsageError, match="names the holes already"):
        score_psnr(folder, data=f"{tiny_dataset}:test", mask=folder)


def test_every_score_of_filled_images_says_which_holes_were_cut(inpainted, tiny_dataset, tiny_encoder):
    folder, _ = inpainted(range(12))
    network = FeatureNetwork(
        name="pixels",
        sha256="d" * 64,
        dim=48,
        resize="area",
        prepare=lambda shown: torch.nn.functional.adaptive_avg_pool2d(shown, 4),
        network=lambda shown: shown.flatten(1) / 255,
        device=torch.device("cpu"),
    )
    fid = score_fid(f"{tiny_dataset}:test", folder, network, cache=False)
    assert fid.n_fake == 12  # no hole is taken for an image
    assert "far below that of images drawn whole" in fid.note
    assert (fid.hole_kind, fid.hole_center, fid.filled) == ("center", 0.5, True)
    rows = [
        (fid,),
        score_is(folder, network, splits=1),
        score_r_precision(folder, load_damsm(tiny_encoder), candidates=3),
        score_map(folder, network),
        score_recall(folder, network, ranks=[1]),
    ]
    for generated, *real in rows:
        assert generated.protocol.endswith("; holes: center 0.5")
        assert all("holes" not in row.protocol for row in real)
    whole = score_fid(f"{tiny_dataset}:test", f"{tiny_dataset}:test", network, cache=False)
    assert "holes" not in whole.protocol + whole.note


# --- any folders ----------------------------------------------------------------------------------------------


@pytest.fixture
def folders(tmp_path):
    """Three images of different sizes, their originals in another order of names, and a mask of each."""
    hole = np.zeros((20, 24), np.bool_)
    hole[5:15, 6:18] = True
    for number, name in enumerate(("c", "a", "b")):
        height, width = 20 + number, 24 - number
        original = image(height, width, number)
        cut = hole[:height, :width]
        cut = np.pad(cut, [(0, height - cut.shape[0]), (0, width - cut.shape[1])])
        filled = np.where(cut[..., None], image(height, width, 10 + number), original)
        for folder, pixels, end in (
            ("filled", filled, "png"),
            ("real", original, "bmp"),
            ("masks", cut, "PNG"),
        ):
            (tmp_path / folder).mkdir(exist_ok=True)
            Image.fromarray(pixels).save(tmp_path / folder / f"{name}.{end}")
    return tmp_path


def load(path):
    return np.asarray(Image.open(path))


def test_files_belong_together_by_their_names(folders):
    rows = score_psnr(str(folders / "filled"), real=str(folders / "real"), mask=str(folders / "masks"))
    assert [row.metric for row in rows] == ["psnr", "psnr_hole"] * 2
    values = [psnr(load(folders / f"filled/{x}.png"), load(folders / f"real/{x}.bmp")) for x in "abc"]
    assert rows[0].value == pytest.approx(np.mean(values))
    holes = [load(folders / f"masks/{x}.PNG") for x in "abc"]
    values = [
        psnr(load(folders / f"filled/{x}.png"), load(folders / f"real/{x}.bmp"), hole)
        for x, hole in zip("abc", holes, strict=True)
    ]
    assert rows[1].value == pytest.approx(np.mean(values))
    assert rows[0].dataset == str(folders / "real")
    assert rows[0].protocol.endswith(f"; holes: {folders / 'masks'}")
    assert rows[0].method == "filled"
    assert "not the original's" not in rows[0].note
    (row,) = score_ssim(str(folders / "filled"), real=str(folders / "real"))
    assert "holes" not in row.protocol


def test_names_are_those_below_the_folders_and_masks_may_be_marked(folders):
    for folder, end in (("filled", "png"), ("real", "bmp"), ("masks", "PNG")):
        (folders / folder / "more").mkdir()
        mark = "_mask" if folder == "masks" else ""
        (folders / folder / f"c.{end}").rename(folders / folder / f"more/a{mark}.{end}")
    arguments = {"images": str(folders / "filled"), "real": str(folders / "real")}
    rows = score_psnr(mask=str(folders / "masks"), **arguments)
    assert rows[0].n_real == 3
    assert "not the original's" not in rows[0].note
    # masks among the originals, as gancli inpaint takes them too
    for file in (folders / "masks").rglob("*.PNG"):
        place = folders / "real" / file.relative_to(folders / "masks")
        file.rename(place.with_name(f"{file.stem.removesuffix('_mask')}-mask.png"))
    beside = score_psnr(mask=str(folders / "real"), **arguments)
    assert [row.value for row in beside] == [row.value for row in rows]


def test_an_inverted_mask_is_the_same_hole(folders):
    (folders / "inverted").mkdir()
    for file in (folders / "masks").iterdir():
        Image.fromarray(~load(file)).save(folders / "inverted" / file.name)
    arguments = {"images": str(folders / "filled"), "real": str(folders / "real")}
    straight = score_psnr(mask=str(folders / "masks"), **arguments)
    swapped = score_psnr(mask=str(folders / "inverted"), invert_mask=True, **arguments)
    assert [row.value for row in straight] == [row.value for row in swapped]
    assert "inverted" in swapped[0].protocol
    wrong = score_psnr(mask=str(folders / "inverted"), **arguments)
    assert "known pixels of 3 images differ from the original's" in wrong[0].note


def test_one_mask_for_all_has_to_have_the_size_of_all(folders):
    for name in "ab":
        (folders / f"filled/{name}.png").unlink()
    arguments = {"images": str(folders / "filled"), "real": str(folders / "real")}
    rows = score_psnr(mask=str(folders / "masks/c.PNG"), **arguments)
    assert len(rows) == 4
    assert "2 of 3 originals have no image" in rows[0].note
    with pytest.raises(DataError, match=r"filled/c\.png: has 24 x 20 pixels, its hole .*b\.PNG 22 x 22"):
        score_psnr(mask=str(folders / "masks/b.PNG"), **arguments)
    with pytest.raises(DataError, match="missing"):
        score_psnr(mask=str(folders / "masks/d.png"), **arguments)


def test_what_does_not_match_is_listed(folders):
    (folders / "real/a.bmp").unlink()
    arguments = {"images": str(folders / "filled"), "real": str(folders / "real")}
    with pytest.raises(DataError, match=r"real: has no file for 1 of the 3 images of .*filled: a$"):
        score_psnr(**arguments)
    (folders / "masks/c.PNG").unlink()
    Image.new("RGB", (23, 21)).save(folders / "real/a.jpg")
    with pytest.raises(DataError, match=r"masks: has no file for 1 .*: c$"):
        score_psnr(mask=str(folders / "masks"), **arguments)
    Image.new("RGB", (23, 21)).save(folders / "real/a.png")
    with pytest.raises(DataError, match="several files for 1 of the 3"):
        score_psnr(**arguments)


def test_sizes_that_differ_name_both_files(folders):
    Image.new("RGB", (5, 6)).save(folders / "real/b.bmp")
    with pytest.raises(DataError, match=r"filled/b\.png: has 22 x 22 pixels, its original .*b\.bmp 5 x 6"):
        score_ssim(str(folders / "filled"), real=str(folders / "real"))


def test_a_image_smaller_than_the_window(tmp_path):
    for folder in ("filled", "real"):
        (tmp_path / folder).mkdir()
        Image.new("RGB", (9, 8)).save(tmp_path / folder / "a.png")
    arguments = {"images": str(tmp_path / "filled"), "real": str(tmp_path / "real")}
    assert score_ssim(**arguments)[0].value == 1
    with pytest.raises(DataError, match=r"a\.png: has 9 x 8 pixels, ssim needs 11"):
        score_ssim(window="wang", **arguments)


def test_datasets_and_files_do_not_mix(folders, tiny_dataset):
    test = f"{tiny_dataset}:test"
    for arguments in (
        {"images": test, "real": str(folders / "real")},
        {"images": str(folders / "filled"), "real": test},
    ):
        with pytest.raises(UsageError, match="is a dataset"):
            score_psnr(**arguments)


def test_unreadable_files_are_named(folders):
    (folders / "real/a.bmp").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"a\.bmp"):
        score_psnr(str(folders / "filled"), real=str(folders / "real"))


# --- L1, L2 and MS-SSIM -----------------------------------------------------------------------------------------


def test_l1_and_l2_are_means_over_pixels_in_per_cent(inpainted, real):
    folder, composites = inpainted([3, 1])
    pairs = [(a / 255.0, real[place] / 255.0) for a, place in zip(composites, (3, 1), strict=True)]
    for score, power in ((score_l1, 1), (score_l2, 2)):
        whole, in_hole, fill, _ = score(folder)
        assert whole.value == pytest.approx(
            100 * np.mean([np.mean(np.abs(a - b) ** power) for a, b in pairs])
        )
        assert in_hole.value == pytest.approx(4 * whole.value)
        assert fill.images == "mean_fill"


@pytest.mark.parametrize("shape", [(161, 161), (176, 208), (190, 201)])
def test_ms_ssim_is_the_public_ones(shape):
    reference = pytest.importorskip("pytorch_msssim")
    first = image(*shape)
    second = (0.7 * first + 0.3 * image(*shape, seed=1)).astype(np.uint8)
    tensors = [torch.from_numpy(each).permute(2, 0, 1)[None].double() for each in (first, second)]
    expected = reference.ms_ssim(*tensors, data_range=255, size_average=True).item()
    assert 0.3 < expected < 1
    assert ms_ssim(second, first) == pytest.approx(expected, abs=1e-6)
    assert ms_ssim(first, first) == pytest.approx(1)


def test_ms_ssim_needs_large_images(inpainted):
    with pytest.raises(DataError, match="ms_ssim needs 161 on a side"):
        score_ms_ssim(inpainted([0])[0])


def test_fid_of_the_holes_is_that_of_their_crops(inpainted, real, split, tmp_path):
    """Cropped by hand and scored as two folders of images."""
    folder, composites = inpainted([0, 3, 5, 7])
    network = pixel_features()
    row = score_hole_fid(folder, network, progress=False)
    middle = slice(SIDE // 4, -SIDE // 4)
    for name, images in (
        ("filled-crops", composites),
        ("real-crops", [real[place] for place in (0, 3, 5, 7)]),
    ):
        (tmp_path / name).mkdir()
        for number, crop in enumerate(images):
            Image.fromarray(np.ascontiguousarray(crop[middle, middle])).save(
                tmp_path / name / f"{number}.png"
            )
    by_hand = score_fid(
        tmp_path / "real-crops", tmp_path / "filled-crops", network, cache=False, progress=False
    )
    assert row.value == pytest.approx(by_hand.value, rel=1e-6)
    assert (row.metric, row.n_real, row.n_fake, row.hole_center) == ("hole_fid", 4, 4, 0.5)
    whole = score_fid(open_samples_split(folder), folder, network, cache=False, progress=False)
    assert row.value > whole.value, "the known pixels are real"


def test_all_scores_of_filled_images(inpainted, monkeypatch, tmp_path):
    monkeypatch.setenv("GANCLI_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("GANCLI_OFFLINE", "1")
    folder, _ = inpainted([0, 3, 5, 7, 9, 2])
    scores = score_all(folder, pixel_features(), progress=False)
    metrics = [row.metric for row in scores.rows if row.method != MEAN_FILL]
    assert metrics == [
        "fid", "kid", "precision", "recall", "spectrum", "hole_fid", "psnr", "psnr_hole", "ssim", "ssim_hole",
        "l1", "l1_hole", "l2", "l2_hole",
    ]  # fmt: skip
    assert set(scores.left_out) == {"r-precision", "lpips"}
    assert "alexnet" in scores.left_out["lpips"]


def open_samples_split(folder):
    sampling = read_sampling(folder)
    return f"{sampling.data}:{sampling.split}"


def pixel_features():
    """Averages of 8 x 8 blocks of each channel, as a feature network."""

    def averages(images):
        return torch.nn.functional.adaptive_avg_pool2d(images, 4).flatten(1)

    return FeatureNetwork(
        "averages", "f" * 64, 48, "none", lambda images: images, averages, torch.device("cpu")
    )
