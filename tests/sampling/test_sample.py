"""Sampling: the same seed gives the same image in any company, every row has its file, and bad input is named."""

import itertools
import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from PIL import Image

from gancli.data.shards import Dataset
from gancli.encoders.embeddings import export_embeddings, load_embeddings
from gancli.encoders.sentence import load_sentence_encoder
from gancli.errors import DataError, UsageError
from gancli.figures import to_uint8
from gancli.inference.load import load_model
from gancli.sampling.captions import DatasetCaptions
from gancli.sampling.noise import image_noise
from gancli.sampling.requests import Request
from gancli.sampling.sample import sample
from gancli.sampling.samples_folder import read_samples, read_sampling
from gancli.sampling.sentences import Interpolation, Sentences
from gancli.sampling.speech import Speech
from gancli.scores.image_sets import open_images
from tests.conftest import build_stackgan

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


def test_batch_size_and_order_do_not_matter(any_model, tmp_path):
    runs = {}
    for name, texts, batch in (
        ("a", TEXTS, 32),
        ("b", TEXTS, 1),
        ("c", TEXTS[::-1], 2),
        ("d", TEXTS[1:2], 8),
    ):
        sample(any_model, out=tmp_path / name, texts=texts, variants=2, batch=batch, seed=3)
        runs[name] = by_request(tmp_path / name)
    for other in "bcd":
        for request, image in runs[other].items():
            assert_same(image, runs["a"][request])


def test_seeds_variants_and_captions_differ(any_model, tmp_path):
    for seed in (0, 1):
        sample(any_model, out=tmp_path / str(seed), texts=TEXTS[:2], variants=2, seed=seed)
    images = [*by_request(tmp_path / "0").values(), *by_request(tmp_path / "1").values()]
    assert len(images) == 8
    for i in range(8):
        for j in range(i):
            assert np.abs(images[i] - images[j]).max() > 1


def test_csv_json_and_files_agree(tiny_model, tmp_path):
    report = sample(tiny_model, out=tmp_path / "out", texts=[TEXTS[0]], variants=3, seed=7)
    rows = read_samples(tmp_path / "out")
    assert [tmp_path / "out" / row.file for row in rows] == list(report.files)
    assert [(row.caption, row.key, row.class_id, row.seed, row.variant, row.size) for row in rows] == [
        (TEXTS[0], "", None, 7, variant, 32) for variant in range(3)
    ]
    assert {Image.open(file).format for file in report.files} == {"PNG"}
    assert {Image.open(file).size for file in report.files} == {(32, 32)}
    made = read_sampling(tmp_path / "out")
    assert (made.method, made.images, made.stages) == ("FF-GAN", 3, (8, 16, 32))
    assert len(made.model_hash) == 64
    assert len(list((tmp_path / "out").iterdir())) == 3 + 2


@pytest.mark.parametrize("n", [5, 12, 31])
def test_walk_takes_each_image_once_a_pass(any_model, tiny_dataset, tmp_path, n):
    sample(any_model, out=tmp_path / "out", source=DatasetCaptions(tiny_dataset, n=n), seed=1)
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
    assert len(sample(tiny_model, out=tmp_path / "all", source=DatasetCaptions(tiny_dataset)).files) == 12
    report = sample(
        tiny_model, out=tmp_path / "twice", source=DatasetCaptions(tiny_dataset, n=14), variants=2
    )
    rows = read_samples(tmp_path / "twice")
    assert len(report.files) == 28
    assert len({(row.caption, row.key, row.variant) for row in rows}) == 28


def test_walk_repeats_with_its_seed(tiny_model, tiny_dataset, tmp_path):
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        sample(tiny_model, out=tmp_path / name, source=DatasetCaptions(tiny_dataset, n=6), seed=seed)
    rows = {name: [(r.key, r.caption) for r in read_samples(tmp_path / name)] for name in "abc"}
    assert rows["a"] == rows["b"] != rows["c"]


def test_figures_lie_apart_from_the_images(tiny_model, tmp_path):
    report = sample(tiny_model, out=tmp_path / "out", texts=TEXTS[:1], figures=["attention", "stages"])
    assert len(report.figures) == 2
    for figure in report.figures:
        assert figure.parent.name in ("stages", "attention")
        assert Image.open(figure).size[0] > 300
    assert len(read_samples(tmp_path / "out")) == 1


def test_captions_file(tiny_model, tmp_path):
    path = tmp_path / "captions.txt"
    path.write_bytes("\ufeffa white bird\r\n\r\n  a black bird  \n".encode())
    sample(tiny_model, out=tmp_path / "out", source=Sentences("a brown bird", path))
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


def test_interrupted_sampling_continues(any_model, tmp_path):
    out = tmp_path / "out"
    whole = sample(any_model, out=tmp_path / "whole", texts=TEXTS, variants=2, batch=2, figures="stages")

    def stop(done, total):
        if done == 4:
            raise KeyboardInterrupt

    arguments = {"out": out, "texts": TEXTS, "variants": 2, "batch": 2, "figures": "stages"}
    with pytest.raises(KeyboardInterrupt):
        sample(any_model, **arguments, progress=stop)
    assert not (out / "samples.csv").exists()
    with pytest.raises(UsageError, match="holds images already"):
        sample(any_model, **{**arguments, "seed": 1})
    report = sample(any_model, **arguments)
    assert report.made == 2
    for file, again in zip(whole.files, report.files, strict=True):
        assert_same(pixels(file), pixels(again))


def test_finished_folder_is_only_replaced_when_asked(tiny_model, tmp_path):
    out = tmp_path / "out"
    sample(tiny_model, out=out, texts=TEXTS)
    with pytest.raises(UsageError, match="holds images already") as caught:
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
    ("make", "message"),
    [
        (lambda _: {}, "nothing to draw"),
        (lambda _: {"texts": []}, "nothing to draw"),
        (lambda data: {"texts": "a bird", "source": DatasetCaptions(data)}, "one source"),
        (lambda _: {"texts": "a bird", "variants": 0}, "variants has to be at least 1"),
        (lambda _: {"texts": "a bird", "batch": 0}, "batch"),
        (lambda _: {"texts": "a bird", "seed": -1}, "seed"),
        (lambda data: {"source": DatasetCaptions(data, n=0)}, "n has to be"),
        (lambda _: {"texts": "a bird", "figures": "variants"}, "nothing to compare"),
        (lambda _: {"texts": "a bird", "figures": "same-shape", "variants": 2}, "not for captions"),
        (lambda _: {"texts": "a bird", "figures": "heat"}, "a figure has to be one of stages, attention"),
        (
            lambda _: {"texts": "a bird", "figures": ["variants", "same-shape"], "variants": 2},
            "one figure of many",
        ),
        (lambda _: {"texts": "a bird", "vary": "noise"}, "nothing to compare"),
        (lambda _: {"texts": "a bird", "variants": 2, "vary": "everything"}, "all, condition, noise"),
        (lambda _: {"source": Interpolation("a bird", "a bird", steps=1)}, "steps has to be at least 2"),
        (lambda _: {"source": Interpolation("a bird", " ")}, "two sentences"),
        (lambda _: {"texts": "a bird", "out": None, "overwrite": True}, "what to replace"),
    ],
)
def test_wrong_requests(tiny_model, tiny_dataset, tmp_path, make, message):
    with pytest.raises(UsageError, match=message):
        sample(tiny_model, **{"out": tmp_path / "out", **make(tiny_dataset)})


@pytest.mark.parametrize(
    "model", ["tiny_model", "tiny_stackgan", "tiny_dfgan", "tiny_fusion_s2igan", "tiny_attr2image"]
)
def test_one_sentence_is_one_image_and_paths_may_be_text(request, tmp_path, monkeypatch, model):
    """A str was once drawn letter by letter, and a path had to be a Path."""
    monkeypatch.chdir(tmp_path)
    folder = str(request.getfixturevalue(model))
    if model == "tiny_fusion_s2igan":
        soundfile.write("clip.wav", 0.3 * np.sin(np.arange(6000)), 8000)
        report = sample(folder, source=Speech("clip.wav"), out="out")
    else:
        report = sample(
            folder, "primary_color=black" if model == "tiny_attr2image" else "a white bird", out="out"
        )
    assert len(report.files) == 1
    assert len(read_samples("out")) == 1
    assert read_sampling("out").kind == report.sampling.kind != ""


def test_the_default_folder_is_a_new_one_unless_a_call_was_interrupted(tiny_model, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def stop(done, total):
        raise KeyboardInterrupt

    first = sample(tiny_model, TEXTS[0])
    assert first.out == Path("images/0001-ffgan-this-is-a-small-white-bird")
    assert sample(tiny_model, TEXTS[0]).out == Path("images/0002-ffgan-this-is-a-small-white-bird")
    with pytest.raises(KeyboardInterrupt):
        sample(tiny_model, TEXTS, batch=1, progress=stop)
    other = sample(tiny_model, TEXTS, seed=1)  # not what was interrupted
    assert (other.out.name[:4], other.made) == ("0004", 3)
    again = sample(tiny_model, TEXTS)
    assert (again.out.name[:4], again.made) == ("0003", 2)


def test_no_default_folder_can_be_made(tiny_model, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("images").write_text("a file")
    with pytest.raises(UsageError, match="images: no folder can be made") as error:
        sample(tiny_model, TEXTS)
    assert "--out" in error.value.hint


def test_a_dataset_names_the_default_folder(tiny_model, tiny_dataset, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    report = sample(tiny_model, source=DatasetCaptions(str(tiny_dataset), n=2))
    assert report.out == Path("images/0001-ffgan-cub-test")


def test_progress_counts_the_images(tiny_model, tmp_path):
    seen = []
    sample(tiny_model, TEXTS, out=tmp_path / "out", batch=2, progress=lambda *counts: seen.append(counts))
    assert seen == [(2, 3), (3, 3)]


def test_missing_and_broken_inputs(tiny_model, tiny_dataset, tmp_path):
    with pytest.raises(DataError, match="absent"):
        sample(tmp_path / "absent", out=tmp_path / "out", texts=TEXTS)
    with pytest.raises(DataError, match="no such file"):
        sample(tiny_model, out=tmp_path / "out", source=Sentences(file=str(tmp_path / "absent.txt")))
    (tmp_path / "empty.txt").write_text("\n\n")
    with pytest.raises(DataError, match="no caption"):
        sample(tiny_model, out=tmp_path / "out", source=Sentences(file=tmp_path / "empty.txt"))
    (tmp_path / "latin.txt").write_bytes("a näive bird".encode("latin-1"))
    with pytest.raises(DataError, match="UTF-8"):
        sample(tiny_model, out=tmp_path / "out", source=Sentences(file=tmp_path / "latin.txt"))
    with pytest.raises(DataError, match="validation"):
        sample(tiny_model, out=tmp_path / "out", source=DatasetCaptions(tiny_dataset, "validation"))


def test_sampling_json_holds_no_surprises(tiny_model, tiny_dataset, tmp_path):
    sample(tiny_model, out=tmp_path / "out", source=DatasetCaptions(tiny_dataset, n=3))
    content = json.loads((tmp_path / "out" / "sampling.json").read_text())
    assert content["dataset"] == "cub"
    assert content["split"] == "test"
    manifest = Dataset.open(tiny_dataset).manifest
    for field in ("release", "split_rule", "crop_rule"):
        assert content[field] == getattr(manifest, field) != ""
    model = load_model(tiny_model)
    assert (content["kind"], content["method"], content["words"]) == ("ffgan", "FF-GAN", model.words)
    assert content["differences"] == list(model.settings.get("differences", []))
    assert (content["captions_per_image"], content["mismatched"], content["holes"]) == (None, False, None)
    (tmp_path / "out" / "sampling.json").write_text("{}")
    with pytest.raises(DataError, match="sampling.json"):  # noqa: RUF043
        read_sampling(tmp_path / "out")


def test_damaged_sampling_json(tiny_model, tmp_path):
    sample(tiny_model, out=tmp_path / "out", texts=TEXTS)
    path = tmp_path / "out" / "sampling.json"
    whole = json.loads(path.read_text())
    for content in ([], 3, {**whole, "vary": "something"}, {**whole, "unknown": 1}, {**whole, "stages": 5}):
        path.write_text(json.dumps(content))
        with pytest.raises(DataError, match="sampling.json"):  # noqa: RUF043
            read_sampling(tmp_path / "out")


# --- which noise varies -----------------------------------------------------------------------------------------


def test_the_first_variant_is_the_same_whatever_varies(any_model, tmp_path):
    runs = {}
    for vary in ("all", "condition", "noise"):
        sample(any_model, out=tmp_path / vary, texts=TEXTS[:1], variants=3, vary=vary)
        assert read_sampling(tmp_path / vary).vary == vary
        runs[vary] = list(by_request(tmp_path / vary).values())
    for variant in range(3):
        for one, other in (("all", "condition"), ("all", "noise"), ("condition", "noise")):
            difference = np.abs(runs[one][variant] - runs[other][variant]).max()
            assert (difference <= 1) == (variant == 0)


@pytest.mark.parametrize("vary", ["condition", "noise"])
def test_variants_in_a_part_of_the_noise_differ(any_model, tmp_path, vary):
    sample(any_model, out=tmp_path / "out", texts=TEXTS[:1], variants=3, vary=vary, seed=4)
    first, second, third = by_request(tmp_path / "out").values()
    for one, other in ((first, second), (first, third), (second, third)):
        assert np.abs(one - other).max() > 1


@pytest.mark.parametrize(("vary", "fixed"), [("condition", ["noise"]), ("noise", ["condition_noise"])])
def test_the_model_is_given_the_same_noise_where_it_is_fixed(
    any_model, tiny_dataset, tmp_path, monkeypatch, vary, fixed
):
    given = []
    kind = type(load_model(any_model))
    draw = kind.draw

    def spy(self, captions, noises):
        given.extend(
            (caption, {name: rows[i] for name, rows in noises.items()}) for i, caption in enumerate(captions)
        )
        return draw(self, captions, noises)

    monkeypatch.setattr(kind, "draw", spy)
    sample(
        any_model,
        out=tmp_path / "out",
        source=DatasetCaptions(tiny_dataset, n=14),
        variants=2,
        vary=vary,
        batch=5,
    )
    assert len(given) == 28
    if "second_condition_noise" in given[0][1] and vary == "noise":
        fixed = [*fixed, "second_condition_noise"]
    for (caption, one), (same, other) in zip(given[::2], given[1::2], strict=True):
        assert caption == same
        for name in one:
            assert torch.equal(one[name], other[name]) == (name in fixed)
    # Another pass over the split is another image, not a variant of the first
    assert len({tuple(noises[fixed[0]].tolist()) for _, noises in given}) == 14


def test_the_sheet_shows_the_images(any_model, tmp_path):
    report = sample(
        any_model, out=tmp_path / "out", texts=TEXTS, variants=4, figures=["variants", "stages"], batch=5
    )
    assert report.sampling.figures == ("stages", "variants")
    assert report.figures[-1] == tmp_path / "out" / "figures" / "variants.png"
    assert len(report.figures) == 13
    sheet = np.asarray(Image.open(report.figures[-1])).astype(int)
    for number, file in enumerate(report.files):
        left = 2 + (number % 4) * 66
        column = sheet[:, left : left + 64 : 2]  # enlarged twice
        shown = pixels(file)
        assert any((column[top : top + 64 : 2] == shown).all() for top in range(len(column) - 64)), (
            f"{file} is not in its column"
        )


def test_a_large_sheet_says_what_it_leaves_out(tiny_model, tmp_path):
    texts = [f"a white bird {'small ' * (i % 7)} bird {'black ' * (i // 7)}" for i in range(33)]
    report = sample(tiny_model, out=tmp_path / "out", texts=texts, variants=2, figures="variants")
    assert any("shows 32 of 33 rows" in warning for warning in report.warnings)


# --- StackGAN ---------------------------------------------------------------------------------------------------

ENDS = ("a white bird with a long bill", "a small black bird")


def test_stages_stand_side_by_side(tiny_stackgan, tiny_sentence_encoder, tmp_path):
    both = sample(tiny_stackgan, out=tmp_path / "both", texts=TEXTS[:1], figures="stages")
    assert Image.open(both.figures[0]).width == 2 * (128 + 6) + 6
    assert both.sampling.method == "StackGAN"
    assert both.sampling.stages == (16, 32)
    assert both.sampling.words is None
    encoder = load_sentence_encoder(tiny_sentence_encoder)
    small = build_stackgan(encoder, tmp_path / "model", stage=1)
    one = sample(small, out=tmp_path / "one", texts=TEXTS[:1], figures="stages")
    assert one.sampling.method == "StackGAN Stage-I"
    figure = np.asarray(Image.open(one.figures[0]))
    assert figure.shape[1] == 128 + 6 + 6
    # With the same seed, Stage II refines the very image that Stage I alone draws
    first = pixels(one.files[0])
    assert first.shape == (16, 16, 3)
    enlarged = np.asarray(Image.open(both.figures[0])).astype(int)[:, 6 : 6 + 128 : 8]
    assert any(np.abs(enlarged[top : top + 128 : 8] - first).max() <= 1 for top in range(len(enlarged) - 128))


def test_interpolation_ends_in_the_images_of_both_sentences(tiny_stackgan, tmp_path):
    report = sample(tiny_stackgan, out=tmp_path / "way", source=Interpolation(*ENDS, steps=5), seed=2)
    plain = sample(tiny_stackgan, out=tmp_path / "plain", texts=ENDS, seed=2)
    frames = [pixels(file) for file in report.files]
    assert len(frames) == 5
    assert_same(frames[0], pixels(plain.files[0]))
    model = load_model(tiny_stackgan)
    noises = image_noise([Request(ENDS[0])] * 2, model.noise_dims, 2)
    first, second = to_uint8(model.draw(ENDS, noises).images[-1]).astype(int)
    assert_same(frames[0], first)
    assert_same(frames[-1], second)
    for before, after in itertools.pairwise(frames):
        assert np.abs(before - after).max() > 1
    assert np.abs(frames[2] - frames[0]).mean() < np.abs(frames[4] - frames[0]).mean()


def test_interpolation_says_where_each_image_lies(tiny_stackgan, tmp_path):
    report = sample(
        tiny_stackgan,
        out=tmp_path / "way",
        source=Interpolation(*ENDS, steps=3),
        variants=2,
        vary="condition",
    )
    rows = read_samples(tmp_path / "way")
    assert [(row.caption, row.second_caption, row.variant, row.weight) for row in rows] == [
        (*ENDS, variant, weight) for variant in range(2) for weight in (0.0, 0.5, 1.0)
    ]
    made = read_sampling(tmp_path / "way")
    assert made == report.sampling
    assert (made.interpolation, made.steps, made.images, made.figures) == (ENDS, 3, 6, ("interpolation",))
    assert Image.open(report.figures[-1]).width == 3 * (64 + 2) + 2
    with pytest.raises(UsageError, match="between two sentences"):
        open_images(str(tmp_path / "way"))


def test_interrupted_interpolation_continues(tiny_stackgan, tmp_path):
    whole = sample(tiny_stackgan, out=tmp_path / "whole", source=Interpolation(*ENDS))
    assert len(whole.files) == 8

    def stop(done, total):
        raise KeyboardInterrupt

    arguments = {"out": tmp_path / "out", "source": Interpolation(*ENDS), "batch": 3}
    with pytest.raises(KeyboardInterrupt):
        sample(tiny_stackgan, **arguments, progress=stop)
    with pytest.raises(UsageError, match="holds images already"):
        sample(tiny_stackgan, **{**arguments, "source": Interpolation(*ENDS[::-1])})
    report = sample(tiny_stackgan, **arguments)
    assert report.made == 5
    for file, again in zip(whole.files, report.files, strict=True):
        assert_same(pixels(file), pixels(again))
    assert report.figures[-1].is_file()


def test_what_a_model_cannot_do(tiny_model, tiny_stackgan, tmp_path):
    with pytest.raises(UsageError, match="attends to the words"):
        sample(tiny_model, out=tmp_path / "out", source=Interpolation(*ENDS))
    with pytest.raises(UsageError, match="no word attention"):
        sample(tiny_stackgan, out=tmp_path / "out", texts=TEXTS, figures="attention")
    with pytest.raises(DataError, match="'\u4f60\u597d'"):
        sample(tiny_stackgan, out=tmp_path / "out", texts=["\u4f60\u597d"])
    assert not (tmp_path / "out").exists()


def test_the_sentence_vector_of_a_damsm_stands_in(tiny_encoder, tmp_path):
    model = build_stackgan(load_sentence_encoder(tiny_encoder), tmp_path / "model")
    report = sample(model, out=tmp_path / "out", texts=[*TEXTS, "a fluorescent bird"])
    assert "fluorescent" in report.warnings[0]
    assert report.sampling.words == 18
    first = pixels(report.files[0])
    assert all(np.abs(pixels(file) - first).max() > 1 for file in report.files[1:])


# --- vectors from a file ----------------------------------------------------------------------------------------


@pytest.fixture
def exported(tiny_dataset, tiny_sentence_encoder, tmp_path):
    """The tiny dataset's vectors in a file, a model that was trained on it, and the same model with its encoder."""
    encoder = load_sentence_encoder(tiny_sentence_encoder)
    path = tmp_path / "embeddings.npz"
    dataset = Dataset.open(tiny_dataset)
    export_embeddings(dataset, encoder, path)
    blind = build_stackgan(load_embeddings(path, dataset.split("train")), tmp_path / "blind")
    return path, blind, build_stackgan(encoder, tmp_path / "reads")


def test_each_caption_is_drawn_from_its_own_vector(exported, tiny_dataset, tmp_path):
    path, blind, reads = exported
    report = sample(
        blind,
        out=tmp_path / "a",
        source=DatasetCaptions(tiny_dataset, n=15, embeddings=path),
        batch=4,
        seed=3,
    )
    sample(reads, out=tmp_path / "b", source=DatasetCaptions(tiny_dataset, n=15), seed=3)
    assert report.warnings == ()
    looked_up, encoded = by_request(tmp_path / "a"), by_request(tmp_path / "b")
    assert looked_up.keys() == encoded.keys()
    for request, image in looked_up.items():
        assert_same(image, encoded[request])
    made = read_sampling(tmp_path / "a")
    assert made.embeddings == str(path)
    assert len(made.embeddings_hash) == 64


def test_a_model_without_text_encoder_reads_no_sentences(exported, tiny_dataset, tmp_path):
    path, blind, reads = exported
    for source in (Sentences(TEXTS), Interpolation(*ENDS), DatasetCaptions(tiny_dataset)):
        with pytest.raises(UsageError, match="cannot read sentences") as caught:
            sample(blind, out=tmp_path / "out", source=source)
        assert "--embeddings FILE.npz" in caught.value.hint
    with pytest.raises(UsageError, match="is not needed"):
        sample(reads, out=tmp_path / "out", source=DatasetCaptions(tiny_dataset, embeddings=path))


def test_vectors_of_another_file_or_width(exported, tiny_dataset, tmp_path):
    path, blind, _ = exported
    with np.load(path) as file:
        arrays = dict(file)
    other = tmp_path / "other.npz"
    np.savez(other, **{**arrays, "embeddings": arrays["embeddings"] * 2})
    report = sample(blind, out=tmp_path / "out", source=DatasetCaptions(tiny_dataset, embeddings=other))
    assert "another file" in report.warnings[0]
    np.savez(other, **{**arrays, "embeddings": arrays["embeddings"][:, :7]})
    with pytest.raises(DataError, match="have 7 numbers") as caught:
        sample(blind, out=tmp_path / "narrow", source=DatasetCaptions(tiny_dataset, embeddings=other))
    assert "12" in str(caught.value)
    with pytest.raises(DataError, match="no such file"):
        sample(
            blind,
            out=tmp_path / "narrow",
            source=DatasetCaptions(tiny_dataset, embeddings=tmp_path / "absent.npz"),
        )
