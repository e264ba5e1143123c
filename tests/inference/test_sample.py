"""Sampling: the same seed gives the same picture in any company, every row has its file, and bad input is named."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from gancli.data.shards import Dataset
from gancli.errors import DataError, UsageError
from gancli.inference import sample as sampling_module
from gancli.inference.sample import sample
from gancli.samples import read_samples, read_sampling

TEXTS = [
    "this is a small white bird",
    "a black bird with a long bill",
    "The bird is brown; it has small wings",
]


def pixels(path):
    return np.asarray(Image.open(path)).astype(int)


def by_request(folder):
    return {(r.caption, r.key, r.variant): pixels(folder / r.file) for r in read_samples(folder)}


def assert_same(first, second):
    """Equal but for a rounding of the last level: kernels may add in another order in another batch."""
    assert first.shape == second.shape
    assert np.abs(first - second).max() <= 1


def test_batch_size_and_order_do_not_matter(tiny_model, tmp_path):
    runs = {}
    for name, texts, batch in (
        ("a", TEXTS, 32),
        ("b", TEXTS, 1),
        ("c", TEXTS[::-1], 2),
        ("d", TEXTS[1:2], 8),
    ):
        sample(tiny_model, out=tmp_path / name, texts=texts, variants=2, batch=batch, seed=3)
        runs[name] = by_request(tmp_path / name)
    for other in "bcd":
        for request, picture in runs[other].items():
            assert_same(picture, runs["a"][request])


def test_seeds_variants_and_captions_differ(tiny_model, tmp_path):
    for seed in (0, 1):
        sample(tiny_model, out=tmp_path / str(seed), texts=TEXTS[:2], variants=2, seed=seed)
    pictures = [*by_request(tmp_path / "0").values(), *by_request(tmp_path / "1").values()]
    assert len(pictures) == 8
    for i in range(8):
        for j in range(i):
            assert np.abs(pictures[i] - pictures[j]).max() > 1


def test_csv_json_and_files_agree(tiny_model, tmp_path):
    report = sample(tiny_model, out=tmp_path / "out", texts=[TEXTS[0]], variants=3, seed=7)
    rows = read_samples(tmp_path / "out")
    assert [tmp_path / "out" / row.file for row in rows] == list(report.files)
    assert [(row.caption, row.key, row.class_id, row.seed, row.variant, row.stage) for row in rows] == [
        (TEXTS[0], "", None, 7, variant, 32) for variant in range(3)
    ]
    assert {Image.open(file).format for file in report.files} == {"PNG"}
    assert {Image.open(file).size for file in report.files} == {(32, 32)}
    made = read_sampling(tmp_path / "out")
    assert (made.method, made.pictures, made.stages) == ("FF-GAN", 3, (8, 16, 32))
    assert len(made.model_hash) == 64
    assert len(list((tmp_path / "out").iterdir())) == 3 + 2


@pytest.mark.parametrize("n", [5, 12, 31])
def test_walk_takes_each_image_once_a_pass(tiny_model, tiny_dataset, tmp_path, n):
    sample(tiny_model, out=tmp_path / "out", data=tiny_dataset, n=n, seed=1)
    rows = read_samples(tmp_path / "out")
    split = Dataset.open(tiny_dataset).split("test")
    assert len(rows) == n
    for start in range(0, n, 12):
        one_pass = rows[start : start + 12]
        assert len({row.key for row in one_pass}) == len(one_pass)
        assert {row.variant for row in one_pass} == {start // 12}
    for row in rows:
        index = split.find(row.key)
        assert row.caption in split.captions(index)
        assert row.class_id == split.class_ids[index]
    if n > 12:
        assert len({(row.key, row.caption) for row in rows}) > 12  # other captions in later passes


def test_walk_without_a_number_and_with_variants(tiny_model, tiny_dataset, tmp_path):
    assert len(sample(tiny_model, out=tmp_path / "all", data=tiny_dataset).files) == 12
    report = sample(tiny_model, out=tmp_path / "twice", data=tiny_dataset, n=14, variants=2)
    rows = read_samples(tmp_path / "twice")
    assert len(report.files) == 28
    assert len({(row.caption, row.key, row.variant) for row in rows}) == 28


def test_walk_repeats_with_its_seed(tiny_model, tiny_dataset, tmp_path):
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        sample(tiny_model, out=tmp_path / name, data=tiny_dataset, n=6, seed=seed)
    rows = {name: [(r.key, r.caption) for r in read_samples(tmp_path / name)] for name in "abc"}
    assert rows["a"] == rows["b"] != rows["c"]


def test_figures_lie_apart_from_the_pictures(tiny_model, tmp_path):
    report = sample(tiny_model, out=tmp_path / "out", texts=TEXTS[:1], stages=True, attention=True)
    assert len(report.figures) == 2
    for figure in report.figures:
        assert figure.parent.name in ("stages", "attention")
        assert Image.open(figure).size[0] > 300
    assert len(read_samples(tmp_path / "out")) == 1


def test_captions_file(tiny_model, tmp_path):
    path = tmp_path / "captions.txt"
    path.write_bytes("\ufeffa white bird\r\n\r\n  a black bird  \n".encode())
    sample(tiny_model, out=tmp_path / "out", captions_file=path, texts=["a brown bird"])
    assert [row.caption for row in read_samples(tmp_path / "out")] == [
        "a brown bird",
        "a white bird",
        "a black bird",
    ]


def test_words_outside_the_vocabulary_are_told_and_left_out(tiny_model, tmp_path):
    report = sample(tiny_model, out=tmp_path / "a", texts=["a fluorescent white bird", TEXTS[1]])
    (warning,) = report.warnings
    assert "fluorescent in 'a fluorescent white bird'" in warning
    assert sample(tiny_model, out=tmp_path / "b", texts=TEXTS).warnings == ()


def test_long_captions_are_cut_with_a_warning(tiny_model, tmp_path):
    report = sample(tiny_model, out=tmp_path / "out", texts=["bird " * 25])
    assert "only the first 18 words" in report.warnings[0]
    assert "25 words" in report.warnings[0]


def test_captions_without_any_known_word(tiny_model, tmp_path):
    with pytest.raises(DataError, match="'xyzzy plugh'") as caught:
        sample(tiny_model, out=tmp_path / "out", texts=["a bird", "xyzzy plugh"])
    assert "vocabulary.json" in caught.value.hint
    assert not (tmp_path / "out").exists()


def test_interrupted_sampling_continues(tiny_model, tmp_path, monkeypatch):
    out = tmp_path / "out"
    whole = sample(tiny_model, out=tmp_path / "whole", texts=TEXTS, variants=2, batch=2, stages=True)

    def stop(done, total):
        if done == 4:
            raise KeyboardInterrupt

    arguments = {"out": out, "texts": TEXTS, "variants": 2, "batch": 2, "stages": True}
    with pytest.raises(KeyboardInterrupt):
        sample(tiny_model, **arguments, progress=stop)
    assert not (out / "samples.csv").exists()
    with pytest.raises(UsageError, match="holds pictures already"):
        sample(tiny_model, **{**arguments, "seed": 1})
    report = sample(tiny_model, **arguments)
    assert report.made == 2
    for file, again in zip(whole.files, report.files, strict=True):
        assert_same(pixels(file), pixels(again))


def test_finished_folder_is_only_replaced_when_asked(tiny_model, tmp_path):
    out = tmp_path / "out"
    sample(tiny_model, out=out, texts=TEXTS)
    with pytest.raises(UsageError, match="holds pictures already") as caught:
        sample(tiny_model, out=out, texts=TEXTS)
    assert "--overwrite" in caught.value.hint
    sample(tiny_model, out=out, texts=TEXTS[:1], overwrite=True)
    assert len(list(out.glob("*.png"))) == 1


def test_folder_of_someone_else_is_never_touched(tiny_model, tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    for overwrite in (False, True):
        with pytest.raises(UsageError, match="did not write it"):
            sample(tiny_model, out=tmp_path, texts=TEXTS, overwrite=overwrite)
    with pytest.raises(UsageError, match="is a file"):
        sample(tiny_model, out=tmp_path / "thesis.tex", texts=TEXTS)
    assert (tmp_path / "thesis.tex").read_text() == "years of work"


def test_full_disk_keeps_what_was_drawn(tiny_model, tmp_path, monkeypatch):
    from gancli.errors import RunError

    original = Image.Image.save
    written = []

    def save(self, path, *args, **kwargs):
        if len(written) == 2:
            raise OSError(28, "No space left on device")
        written.append(path)
        original(self, path, *args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(Image.Image, "save", save)
        with pytest.raises(RunError, match="No space left"):
            sample(tiny_model, out=tmp_path / "out", texts=TEXTS, batch=1)
    assert len(list((tmp_path / "out").glob("*.png"))) == 2
    assert not list((tmp_path / "out").glob(".*.tmp"))
    assert sample(tiny_model, out=tmp_path / "out", texts=TEXTS, batch=1).made == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "nothing to draw"),
        ({"texts": ["a bird"], "data": "DATA"}, "not from both"),
        ({"texts": ["a bird"], "n": 3}, "goes with a dataset"),
        ({"texts": ["a bird"], "variants": 0}, "variants has to be at least 1"),
        ({"texts": ["a bird"], "batch": 0}, "batch"),
        ({"texts": ["a bird"], "seed": -1}, "seed"),
        ({"data": "DATA", "n": 0}, "n has to be"),
    ],
)
def test_wrong_requests(tiny_model, tiny_dataset, tmp_path, arguments, message):
    arguments = {key: tiny_dataset if value == "DATA" else value for key, value in arguments.items()}
    with pytest.raises(UsageError, match=message):
        sample(tiny_model, out=tmp_path / "out", **arguments)


def test_missing_and_broken_inputs(tiny_model, tiny_dataset, tmp_path):
    with pytest.raises(DataError, match="absent"):
        sample(tmp_path / "absent", out=tmp_path / "out", texts=TEXTS)
    with pytest.raises(DataError, match="no such file"):
        sample(tiny_model, out=tmp_path / "out", captions_file=tmp_path / "absent.txt")
    (tmp_path / "empty.txt").write_text("\n\n")
    with pytest.raises(DataError, match="no caption"):
        sample(tiny_model, out=tmp_path / "out", captions_file=tmp_path / "empty.txt")
    (tmp_path / "latin.txt").write_bytes("a näive bird".encode("latin-1"))
    with pytest.raises(DataError, match="UTF-8"):
        sample(tiny_model, out=tmp_path / "out", captions_file=tmp_path / "latin.txt")
    with pytest.raises(DataError, match="validation"):
        sample(tiny_model, out=tmp_path / "out", data=tiny_dataset, split="validation")


def test_noise_is_standard_normal_and_tells_requests_apart():
    requests = [sampling_module._Request(f"caption {i}", "", None, 0) for i in range(2000)]
    noise, condition = sampling_module._noise(requests, 0, 7, 3)
    assert (noise.shape, condition.shape) == ((2000, 7), (2000, 3))
    both = torch.cat([noise, condition], dim=1)
    assert abs(both.mean()) < 0.03
    assert abs(both.std() - 1) < 0.03
    assert len(torch.unique(both)) > 19_900
    correlation = torch.corrcoef(both.T) - torch.eye(10)
    assert correlation.abs().max() < 0.1


def test_names_of_the_ablations(tiny_model, tmp_path):
    import dataclasses

    from gancli.inference.model_folder import load_model

    model = load_model(tiny_model)
    names = {}
    for ff_block in (True, False):
        for gsr in (True, False):
            settings = {"generator": {"ff_block": ff_block, "gsr": gsr}}
            names[ff_block, gsr] = sampling_module.method_name(dataclasses.replace(model, settings=settings))
    assert names == {
        (True, True): "FF-GAN",
        (True, False): "baseline+FF-Block",
        (False, True): "baseline+GSR",
        (False, False): "baseline",
    }
    untrained = dataclasses.replace(model, settings={"step": 0, "generator": {}})
    assert sampling_module.method_name(untrained) == "FF-GAN, untrained"


def test_sampling_json_holds_no_surprises(tiny_model, tiny_dataset, tmp_path):
    sample(tiny_model, out=tmp_path / "out", data=tiny_dataset, n=3)
    content = json.loads((tmp_path / "out" / "sampling.json").read_text())
    assert content["dataset"] == "cub"
    assert content["split"] == "test"
    (tmp_path / "out" / "sampling.json").write_text("{}")
    with pytest.raises(DataError, match="sampling.json"):  # noqa: RUF043
        read_sampling(tmp_path / "out")
