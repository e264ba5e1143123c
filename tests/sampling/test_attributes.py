"""Sampling attributes: silhouettes drawn, given or a dataset's; the same seed gives the same image; bad requests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from gancli.data.shards import Dataset
from gancli.errors import DataError, UsageError
from gancli.inference.attr2image import load_attr2image, save_attr2image
from gancli.sampling.attributes import Attributes, DatasetAttributes
from gancli.sampling.captions import DatasetCaptions
from gancli.sampling.conditions import Source
from gancli.sampling.sample import sample
from gancli.sampling.samples_folder import read_samples, read_sampling
from gancli.sampling.sentences import Interpolation, Sentences
from gancli.sampling.speech import Speech
from gancli.scores.image_sets import open_images

BLACK, WHITE = "primary_color=black", "primary_color=white"


def pixels(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path)).astype(int)


@pytest.fixture
def shape_model(tiny_attr2image: Path, tmp_path: Path) -> Path:
    """Stage I of the tiny model alone."""
    loaded = load_attr2image(tiny_attr2image)
    settings = {key: value for key, value in loaded.settings.items() if not key.startswith(("kind", "image"))}
    save_attr2image(tmp_path / "shape-model", loaded.shape, None, settings)
    return tmp_path / "shape-model"


@pytest.fixture
def image_model(tiny_attr2image: Path, tmp_path: Path) -> Path:
    """Stage II of the tiny model alone."""
    loaded = load_attr2image(tiny_attr2image)
    settings = {key: value for key, value in loaded.settings.items() if not key.startswith(("kind", "shape"))}
    save_attr2image(tmp_path / "image-model", None, loaded.image, settings)
    return tmp_path / "image-model"


def silhouette(path: Path, *, side: int = 40, left: bool = False) -> Path:
    image = np.zeros((side, side), np.uint8)
    image[side // 4 : -side // 4, (0 if left else side // 4) : -side // 4] = 255
    Image.fromarray(image).save(path)
    return path


def test_the_pipeline_in_one_call(tiny_attr2image: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    report = sample(tiny_attr2image, f"{BLACK}, size=small", out=out, variants=3, figures="stages", seed=2)
    assert len(report.files) == 3
    rows = read_samples(out)
    assert {row.caption for row in rows} == {"primary_color=black, size=small"}
    for row in rows:
        assert Image.open(out / row.file).size == (32, 32)
        shape = Image.open(out / row.silhouette)
        assert (shape.mode, shape.size) == ("L", (16, 16))
        assert set(np.unique(np.asarray(shape))) <= {0, 255}
        assert (out / "stages" / row.file).is_file()
    assert not np.array_equal(pixels(out / rows[0].file), pixels(out / rows[1].file))
    sampling = read_sampling(out)
    assert sampling is not None
    assert sampling == report.sampling
    assert sampling.stages == (16, 32)
    assert (sampling.silhouettes, sampling.silhouette_source) == ("drawn", str(tiny_attr2image))
    assert len(open_images(str(out))) == 3  # the silhouettes are no images of their own


def test_batch_size_and_company_do_not_matter(tiny_attr2image: Path, tmp_path: Path) -> None:
    file = tmp_path / "attributes.txt"
    file.write_text(f"# colours\n{BLACK}\n{WHITE}, size=small\n\n")
    together = sample(
        tiny_attr2image, source=Attributes(file=str(file)), out=tmp_path / "a", variants=2, seed=5
    )
    alone = sample(tiny_attr2image, f"{WHITE}, size=small", out=tmp_path / "b", variants=2, seed=5, batch=1)
    for theirs, ours in zip(together.files[2:], alone.files, strict=True):
        assert np.abs(pixels(theirs) - pixels(ours)).max() <= 1


def test_an_interrupted_call_is_continued(tiny_attr2image: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"

    def stop(done: int, total: int) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sample(tiny_attr2image, BLACK, out=out, variants=4, batch=1, progress=stop)
    report = sample(tiny_attr2image, BLACK, out=out, variants=4, batch=1)
    assert report.made == 2
    with pytest.raises(UsageError, match="holds images already"):
        sample(tiny_attr2image, BLACK, out=out, variants=4, batch=1)


def test_attributes_of_a_dataset(tiny_attr2image: Path, tiny_dataset: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    sample(tiny_attr2image, source=DatasetAttributes(tiny_dataset), out=out)
    rows = read_samples(out)
    split = Dataset.open(tiny_dataset).split("test")
    assert sorted(row.key for row in rows) == sorted(split.keys)
    (one,) = sample(
        tiny_attr2image, source=DatasetAttributes(tiny_dataset, key=rows[3].key), out=tmp_path / "one"
    ).files
    assert np.abs(pixels(one) - pixels(out / rows[3].file)).max() <= 1
    source = DatasetAttributes(tiny_dataset, images_per_class=2)
    assert len(sample(tiny_attr2image, source=source, out=tmp_path / "few").files) == 4
    many = sample(tiny_attr2image, source=DatasetAttributes(tiny_dataset, n=20), out=tmp_path / "many")
    assert len({(row.key, row.variant) for row in read_samples(tmp_path / "many")}) == len(many.files) == 20


def test_the_datasets_own_silhouettes(tiny_attr2image: Path, tiny_dataset: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    report = sample(tiny_attr2image, source=DatasetAttributes(tiny_dataset, silhouettes="data"), out=out)
    assert (report.sampling.silhouettes, report.sampling.silhouette_source) == ("dataset", None)
    split = Dataset.open(tiny_dataset).split("test")
    for row in read_samples(out):
        whole = split.silhouette(split.find(row.key))
        height, width = whole.shape
        centre = whole[(height - 32) // 2 :, (width - 32) // 2 :][:32, :32]
        assert np.array_equal(pixels(out / row.silhouette) > 0, centre >= 128)


def test_silhouettes_of_ones_own(image_model: Path, tmp_path: Path) -> None:
    shapes = tmp_path / "shapes"
    shapes.mkdir()
    silhouette(shapes / "a.png")
    silhouette(shapes / "b.png", left=True)
    out = tmp_path / "out"
    report = sample(
        image_model,
        source=Attributes(BLACK, silhouettes=str(shapes)),
        out=out,
        figures="same-attributes",
        seed=1,
    )
    rows = read_samples(out)
    assert len(rows) == 2
    assert [pixels(out / row.silhouette)[:, 0].any() for row in rows] == [False, True]
    assert report.figures[-1] == out / "figures/same-attributes.png"
    assert (report.sampling.silhouettes, report.sampling.variants) == ("files", 2)
    source = Attributes(BLACK, silhouettes=shapes / "a.png")
    (alone,) = sample(image_model, source=source, out=tmp_path / "alone", seed=1).files
    assert np.abs(pixels(alone) - pixels(out / rows[0].file)).max() <= 1


def test_one_shape_under_many_attributes(tiny_attr2image: Path, tmp_path: Path) -> None:
    file = tmp_path / "attributes.txt"
    file.write_text(f"{BLACK}, size=small\n{WHITE}\n{BLACK}\n")
    out = tmp_path / "out"
    report = sample(tiny_attr2image, source=Attributes(file=file), out=out, figures="same-shape", variants=2)
    rows = read_samples(out)
    for variant in (0, 1):
        own = [pixels(out / row.silhouette) for row in rows if row.variant == variant]
        assert all(np.array_equal(own[0], other) for other in own)
    different = {(row.variant, pixels(out / row.file).tobytes()) for row in rows}
    assert len(different) == 6
    sheet = Image.open(report.figures[-1])
    assert sheet.width == 4 * (128 + 2) + 2  # the shape, then an image for each set of attributes


def test_one_set_of_attributes_on_many_shapes(tiny_attr2image: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    report = sample(tiny_attr2image, BLACK, out=out, figures="same-attributes", variants=5)
    assert len({pixels(out / row.silhouette).tobytes() for row in read_samples(out)}) > 1
    assert Image.open(report.figures[-1]).width == 5 * (128 + 2) + 2


def test_a_model_of_shapes_draws_silhouettes(
    shape_model: Path, image_model: Path, tiny_attr2image: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    small = f"{BLACK}, size=small"
    sample(shape_model, small, out=out, seed=4)
    (row,) = read_samples(out)
    assert row.silhouette == row.file
    assert set(np.unique(pixels(out / row.file))) <= {0, 255}
    both = sample(tiny_attr2image, small, out=tmp_path / "both", seed=4)
    assert np.array_equal(
        pixels(out / row.file)[:, :, 0], pixels(both.out / read_samples(both.out)[0].silhouette)
    )
    source = Attributes(small, shape_model=str(shape_model))
    joined = sample(image_model, source=source, out=tmp_path / "joined", seed=4)
    assert np.array_equal(pixels(joined.files[0]), pixels(both.files[0]))


def test_what_contradicts_itself_is_told(tiny_attr2image: Path, tmp_path: Path) -> None:
    loaded = load_attr2image(tiny_attr2image)
    names = ["has_size::small_(5_-_9_in)", "has_size::large_(16_-_32_in)", "has_primary_color::red"]
    settings = {key: value for key, value in loaded.settings.items() if key != "kind"}
    save_attr2image(tmp_path / "model", loaded.shape, loaded.image, {**settings, "attribute_names": names})
    report = sample(tmp_path / "model", "size=small, size=large", out=tmp_path / "out")
    assert "contradicts itself: size: small_(5_-_9_in) and large_(16_-_32_in)" in report.warnings[0]


@pytest.mark.parametrize(
    ("source", "settings", "message"),
    [
        (Attributes(), {}, "nothing to draw"),
        (Attributes("primary_color=blak"), {}, "blak"),
        (Attributes("primry_color=black"), {}, "primry_color"),
        (Attributes("black"), {}, "black"),
        (Attributes(BLACK), {"variants": 0}, "variants has to be at least 1"),
        (Attributes(BLACK, silhouettes="data"), {}, "go with its attributes"),
        (Attributes(BLACK), {"figures": "same-shape"}, "needs several sets"),
        (Attributes(BLACK), {"figures": "same-attributes"}, "needs several shapes"),
        (Attributes(BLACK), {"figures": "variants"}, "same-shape, same-attributes"),
        (Attributes(BLACK), {"figures": "attention"}, "no word attention"),
        (Attributes(BLACK), {"variants": 2, "vary": "noise"}, "all of its noise"),
        (Sentences("a black bird"), {}, "is a model of attributes"),
        (DatasetCaptions("data"), {}, "is a model of attributes"),
        (Speech("clip.wav"), {}, "is a model of attributes"),
        (Interpolation("a black bird", "a white bird"), {}, "is a model of attributes"),
    ],
)
def test_requests_that_make_no_sense(
    tiny_attr2image: Path, tmp_path: Path, source: Source, settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        sample(tiny_attr2image, source=source, out=tmp_path / "out", **settings)
    assert not (tmp_path / "out").exists()


def test_each_pass_over_a_dataset_is_painted_on_each_silhouette(
    image_model: Path, tiny_dataset: Path, tmp_path: Path
) -> None:
    shapes = tmp_path / "shapes"
    shapes.mkdir()
    silhouette(shapes / "a.png")
    silhouette(shapes / "b.png", left=True)
    source = DatasetAttributes(tiny_dataset, n=14, silhouettes=shapes)
    rows = read_samples(sample(image_model, source=source, out=tmp_path / "out").out)
    assert len(rows) == 28
    touching = [bool(pixels(tmp_path / "out" / row.silhouette)[:, 0].any()) for row in rows]
    assert touching == [False, True] * 14


def test_silhouettes_that_are_none(
    tiny_attr2image: Path, image_model: Path, shape_model: Path, tmp_path: Path
) -> None:
    def draw(model: Path, **asked: Path) -> None:
        sample(model, source=Attributes(BLACK, **asked), out=tmp_path / "out")

    Image.new("L", (8, 8)).save(tmp_path / "black.png")
    Image.new("L", (8, 6), 255).save(tmp_path / "wide.png")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="is all black"):
        draw(tiny_attr2image, silhouettes=tmp_path / "black.png")
    with pytest.raises(DataError, match="8 x 6 pixels, a silhouette is square"):
        draw(tiny_attr2image, silhouettes=tmp_path / "wide.png")
    with pytest.raises(DataError, match=r"no \.png file"):
        draw(tiny_attr2image, silhouettes=tmp_path / "empty")
    with pytest.raises(UsageError, match="without one of shapes"):
        draw(image_model)
    with pytest.raises(UsageError, match="paints none"):
        draw(shape_model, silhouettes=silhouette(tmp_path / "a.png"))
    with pytest.raises(UsageError, match="draws shapes itself"):
        draw(shape_model, shape_model=tiny_attr2image)
    with pytest.raises(UsageError, match="holds no model of shapes"):
        draw(image_model, shape_model=image_model)


def test_other_models_and_other_datasets(
    tiny_attr2image: Path, tiny_model: Path, tiny_dataset: Path, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match="is no model of attributes"):
        sample(tiny_model, source=Attributes(BLACK), out=tmp_path / "out")
    loaded = load_attr2image(tiny_attr2image)
    settings = {key: value for key, value in loaded.settings.items() if key != "kind"}
    names = list(reversed(loaded.names))
    save_attr2image(tmp_path / "model", loaded.shape, loaded.image, {**settings, "attribute_names": names})
    with pytest.raises(DataError, match="3 attributes, which are not the 3"):
        sample(tmp_path / "model", source=DatasetAttributes(tiny_dataset), out=tmp_path / "out")
