"""Filled splits keep the real pixels, repeat their holes, and are read by scores."""

import filecmp

import numpy as np
import pytest
from PIL import Image

from gancli.data.hole_settings import HoleSettings
from gancli.data.holes import Holes, holes_from_folder, read_hole
from gancli.data.shards import Dataset
from gancli.errors import DataError, UsageError
from gancli.inference.csfgan import load_inpainter
from gancli.inpainting.inpaint_split import SplitHoles, inpaint_split
from gancli.sampling.samples_folder import read_samples, read_sampling
from gancli.scores.image_sets import open_samples
from gancli.scores.reconstruction import score_psnr
from tests.conftest import build_csfgan


def pixels(path):
    with Image.open(path) as image:
        return np.asarray(image)


@pytest.fixture(params=["center", "irregular"])
def filled(tiny_csfgan, tiny_dataset, tmp_path, request):
    inpaint_split(tiny_csfgan, tiny_dataset, out=tmp_path / "out", holes=request.param)
    return tmp_path / "out"


def test_known_pixels_are_the_real_ones(filled, tiny_dataset):
    split = Dataset.open(tiny_dataset).split("test")
    _, records, real = open_samples(str(filled), None)
    assert [record.key for record in records] == split.keys
    (originals,) = real.batches(100)
    for record, original in zip(records, originals, strict=True):
        image, hole = pixels(filled / record.file), read_hole(filled / record.hole)
        index = split.find(record.key)
        assert record.caption == split.captions(index)[0]
        assert record.class_id == split.class_ids[index]
        assert 0 < hole.mean() < 0.6
        assert (image[~hole] == original[~hole]).all()
        assert (image[hole] != original[hole]).any()


def test_scores_read_it(filled):
    rows = score_psnr(str(filled))
    assert [row.metric for row in rows[:2]] == ["psnr", "psnr_hole"]
    assert rows[0].method == "CSF-GAN"
    assert "known pixels" not in rows[0].note


def test_sampling_says_what_was_cut(tiny_csfgan, tiny_dataset, tmp_path):
    model = load_inpainter(tiny_csfgan)
    report = inpaint_split(tiny_csfgan, tiny_dataset, out=str(tmp_path / "a"), n=3, seed=5)
    made = read_sampling(tmp_path / "a")
    assert made == report.sampling
    assert (made.holes, made.hole_seed, made.seed, made.images) == (HoleSettings("center", 0.5), None, 5, 3)
    assert (made.release, made.split_rule, made.crop_rule, made.captions_per_image, made.differences) == (
        "CUB-200-2011", "zero-shot 150/50", "box 1.5×", 1, (),
    )  # fmt: skip
    assert (made.model_hash, made.stages, made.words, made.figures) == (model.hash, (32,), 16, ())
    inpaint_split(
        tiny_csfgan,
        tiny_dataset,
        out=tmp_path / "b",
        n=3,
        holes=SplitHoles("mix", center=0.25, ratio=(0.2, 0.3), seed=4),
    )
    made = read_sampling(tmp_path / "b")
    assert (made.holes, made.hole_seed) == (Holes("mix", 0.25, 0.2, 0.3).settings, 4)


@pytest.mark.parametrize(
    ("trained", "said", "cut"),
    [
        (Holes(center=0.75), SplitHoles(), Holes(center=0.75)),
        (Holes(center=0.75), SplitHoles(center=0.5), Holes()),
        (Holes("irregular"), SplitHoles(), Holes()),
        (Holes(center=0.75), SplitHoles("irregular"), Holes("irregular")),
    ],
)
def test_holes_are_those_of_the_training(tiny_encoder, tiny_dataset, tmp_path, trained, said, cut):
    model = build_csfgan(tiny_encoder, tmp_path / "model", holes=trained.settings)
    report = inpaint_split(model, tiny_dataset, out=tmp_path / "out", n=2, holes=said)
    assert report.sampling.holes == cut.settings


def test_holes_follow_from_the_seed_and_the_image_alone(tiny_csfgan, tiny_dataset, tmp_path):
    for name, more in (("a", {"batch": 1}), ("b", {"n": 5, "seed": 9}), ("c", {})):
        holes = SplitHoles("irregular", seed=int(name == "c"))
        inpaint_split(tiny_csfgan, tiny_dataset, out=tmp_path / name, holes=holes, **more)
    holes = {name: [pixels(path) for path in sorted((tmp_path / name / "holes").iterdir())] for name in "abc"}
    assert len(holes["b"]) == 5
    assert all((one == other).all() for one, other in zip(holes["a"], holes["b"], strict=False))
    assert any((one != other).any() for one, other in zip(holes["a"], holes["c"], strict=True))


def test_holes_from_a_folder(tiny_csfgan, tiny_dataset, tmp_path):
    (tmp_path / "masks").mkdir()
    for number in range(3):
        mask = np.full((50, 60), 255, np.uint8)
        mask[10 : 20 + 10 * number, 10:40] = 0
        Image.fromarray(mask).save(tmp_path / f"masks/m{number}.png")
    report = inpaint_split(
        tiny_csfgan,
        tiny_dataset,
        out=tmp_path / "out",
        holes=SplitHoles(folder=tmp_path / "masks", inverted=True, seed=2),
    )
    expected = holes_from_folder(tmp_path / "masks", inverted=True)
    assert (report.sampling.holes, report.sampling.hole_seed) == (expected.settings, 2)
    for record in read_samples(tmp_path / "out"):
        hole = read_hole(tmp_path / "out" / record.hole)
        assert (hole == expected.for_image(32, 2, record.key)).all()


def test_an_interrupted_call_continues(tiny_csfgan, tiny_dataset, tmp_path):
    whole = inpaint_split(tiny_csfgan, tiny_dataset, out=tmp_path / "whole", attention=True, batch=3)

    def stop(done, total):
        if done == 6:
            raise KeyboardInterrupt

    arguments = {"out": tmp_path / "out", "attention": True, "batch": 3}
    with pytest.raises(KeyboardInterrupt):
        inpaint_split(tiny_csfgan, tiny_dataset, **arguments, progress=stop)
    assert not (tmp_path / "out/samples.csv").exists()
    with pytest.raises(UsageError, match="holds images already"):
        inpaint_split(tiny_csfgan, tiny_dataset, **{**arguments, "seed": 1})
    (tmp_path / "out/holes/0001-Bird-0002.png").unlink()
    report = inpaint_split(tiny_csfgan, tiny_dataset, **arguments)
    assert report.made == 7
    names = [file.name for file in whole.files]
    for folder in ("", "holes"):
        first, second = tmp_path / "whole" / folder, tmp_path / "out" / folder
        different = [
            name
            for name in names
            if np.abs(pixels(first / name).astype(int) - pixels(second / name)).max() > 1
        ]
        assert different == []
    assert filecmp.cmp(tmp_path / "whole/samples.csv", tmp_path / "out/samples.csv", shallow=False)
    with pytest.raises(UsageError, match="holds images already"):
        inpaint_split(tiny_csfgan, tiny_dataset, **arguments)
    assert inpaint_split(tiny_csfgan, tiny_dataset, out=tmp_path / "out", n=2, overwrite=True).made == 2
    assert len(list((tmp_path / "out").glob("*.png"))) == 2


def test_attention_lies_apart(tiny_csfgan, tiny_dataset, tmp_path):
    report = inpaint_split(tiny_csfgan, tiny_dataset, out=tmp_path / "out", n=2, attention=True)
    assert [figure.parent.name for figure in report.figures] == ["attention"] * 2
    assert all(figure.is_file() and figure.with_suffix(".npz").is_file() for figure in report.figures)
    assert len(read_samples(tmp_path / "out")) == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n": 0}, "n has to be"),
        ({"holes": SplitHoles("center", ratio=(0.1, 0.2))}, "a central hole has one size"),
        ({"holes": SplitHoles(ratio=(0.1, 0.2))}, "a central hole has one size"),
        ({"holes": SplitHoles("irregular", center=0.3)}, "no central share"),
        ({"holes": SplitHoles("irregular", ratio=(0.5, 0.2))}, "cover from 0.5 to 0.2"),
        ({"holes": SplitHoles(center=1.5)}, "1.5 of the image's side"),
        ({"holes": "everything"}, "'everything' is not a kind of hole"),
        ({"holes": SplitHoles(inverted=True)}, "no masks to invert"),
        ({"holes": SplitHoles("irregular", folder="masks")}, "not both"),
        ({"holes": SplitHoles(seed=-1)}, "hole_seed has to be"),
    ],
)
def test_wrong_requests(tiny_csfgan, tiny_dataset, tmp_path, arguments, message):
    with pytest.raises(UsageError, match=message):
        inpaint_split(tiny_csfgan, tiny_dataset, out=tmp_path / "out", **arguments)
    assert not (tmp_path / "out").exists()


def test_data_that_do_not_fit(tiny_csfgan, tiny_encoder, tiny_dataset, tmp_path):
    out = tmp_path / "out"
    with pytest.raises(DataError, match="validation"):
        inpaint_split(tiny_csfgan, tiny_dataset, out=out, split="validation")
    with pytest.raises(DataError, match="absent: is missing"):
        inpaint_split(tiny_csfgan, tiny_dataset, out=out, holes=SplitHoles(folder=tmp_path / "absent"))
    large = build_csfgan(tiny_encoder, tmp_path / "large", size=64)
    with pytest.raises(DataError, match=r"prepared at 32 pixels, .* of 64") as caught:
        inpaint_split(large, tiny_dataset, out=out)
    assert "--image-size 64" in caught.value.hint
    assert not out.exists()


def test_folders_of_someone_else_are_never_touched(tiny_csfgan, tiny_dataset, tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    for overwrite in (False, True):
        with pytest.raises(UsageError, match="did not write it"):
            inpaint_split(tiny_csfgan, tiny_dataset, out=tmp_path, overwrite=overwrite)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]
