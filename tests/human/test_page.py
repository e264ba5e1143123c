"""The page: the same captions for every model, a hidden order, nothing that reveals a model, any caption."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re
import tempfile
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from gancli.data.shards import Dataset
from gancli.encoders.embeddings import export_embeddings, load_embeddings
from gancli.encoders.sentence import load_sentence_encoder
from gancli.errors import DataError, UsageError
from gancli.human import page as human
from gancli.human.page import make_ranking_page
from gancli.human.study import read_key
from gancli.sampling.samples_folder import GeneratedImage, write_samples
from tests.conftest import build_stackgan
from tests.human.pages import CAPTIONS, MODELS, write_folder, write_folders


class Elements(HTMLParser):
    """Start tags with their attributes and the text directly inside them."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.open = False
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self.texts.append("")
        self.open = True

    def handle_endtag(self, tag: str) -> None:
        self.open = False

    def handle_data(self, data: str) -> None:
        if self.open:
            self.texts[-1] += data


def content(page: Path) -> dict[str, Any]:
    """Return the data that the page's script reads."""
    elements = Elements(page.read_text(encoding="utf-8"))
    (text,) = [
        text
        for (tag, attributes), text in zip(elements.tags, elements.texts, strict=True)
        if tag == "script" and attributes.get("type") == "application/json"
    ]
    value = json.loads(text)
    assert isinstance(value, dict)
    return value


def pixels(source: str) -> np.ndarray[Any, Any]:
    prefix = "data:image/png;base64,"
    assert source.startswith(prefix)
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(source.removeprefix(prefix)))))


def test_each_question_shows_one_image_of_each_model(tmp_path: Path) -> None:
    folders = write_folders(tmp_path)
    report = make_ranking_page(folders, out=tmp_path / "page", n=4)
    page, study = content(report.page), read_key(report.key)
    assert study == report.study
    assert page["study"] == study.study
    assert sorted(question["caption"] for question in page["questions"]) == sorted(CAPTIONS)
    for shown, question in zip(page["questions"], study.questions, strict=True):
        assert (shown["id"], shown["caption"]) == (question.id, question.caption)
        assert [image["id"] for image in shown["images"]] == list(question.images)
        for image in shown["images"]:
            index = question.images[image["id"]]
            level = 40 * index + CAPTIONS.index(question.caption)  # the grey of that model and caption
            assert (pixels(image["source"]) == level).all()
    assert [(model.name, model.model, model.seed) for model in study.models] == [
        (name, f"runs/{name}", 7) for name in MODELS
    ]
    assert (study.dataset, study.split) == ("cub", "test")


def test_nothing_on_the_page_tells_which_model_made_an_image(tmp_path: Path) -> None:
    report = make_ranking_page(write_folders(tmp_path / "folders"), out=tmp_path / "page", n=4)
    text = report.page.read_text(encoding="utf-8")
    for secret in (*MODELS, "runs/", "folders", "key0", "0.png", str(tmp_path)):
        assert secret not in text
    ids = [id for question in report.study.questions for id in question.images]
    assert len(set(ids)) == len(ids) == 12


def test_what_a_file_says_beside_its_pixels_stays_out(tmp_path: Path) -> None:
    from PIL.PngImagePlugin import PngInfo

    folders = write_folders(tmp_path, MODELS[:2])
    note = PngInfo()
    note.add_text("Software", "made by alpha")
    Image.new("RGB", (4, 4), "red").save(folders[0] / "0.png", pnginfo=note)
    report = make_ranking_page(folders, out=tmp_path / "page", n=4)
    for question in content(report.page)["questions"]:
        for image in question["images"]:
            assert b"alpha" not in base64.b64decode(image["source"].partition(",")[2])


def test_every_order_comes_up(tmp_path: Path) -> None:
    captions = [f"bird {number}" for number in range(60)]
    folders = [
        write_folder(tmp_path / name, captions, method=name, level=level) for level, name in enumerate("abc")
    ]
    study = make_ranking_page(folders, out=tmp_path / "page", n=60).study
    orders = Counter(tuple(question.images.values()) for question in study.questions)
    assert len(orders) == 6
    assert [question.caption for question in study.questions] != captions


def test_the_same_call_writes_the_same_bytes_and_another_seed_another_study(tmp_path: Path) -> None:
    folders = write_folders(tmp_path)
    first = make_ranking_page(folders, out=tmp_path / "page", n=3)
    before = first.page.read_bytes(), first.key.read_bytes()
    again = make_ranking_page(
        folders, out=tmp_path / "page", n=3
    )  # the page of the same study may be written again
    assert (again.page.read_bytes(), again.key.read_bytes()) == before
    other = make_ranking_page(folders, out=tmp_path / "other", n=3, seed=1)
    assert other.study.study != first.study.study
    with pytest.raises(UsageError, match="another page already"):
        make_ranking_page(folders, out=tmp_path / "page", n=3, seed=1)
    assert first.key.read_bytes() == before[1]
    make_ranking_page(folders, out=tmp_path / "page", n=3, seed=1, overwrite=True)
    assert read_key(first.key) == other.study


def test_new_names_keep_the_answers(tmp_path: Path) -> None:
    folders = write_folders(tmp_path)
    first = make_ranking_page(folders, out=tmp_path / "page", n=3)
    named = make_ranking_page(folders, out=tmp_path / "page", n=3, names=["GAN-INT-CLS", "GAWWN", "StackGAN"])
    assert named.study.study == first.study.study
    assert named.study.models[2].name == "StackGAN"
    assert named.study.questions == first.study.questions


def test_small_images_are_enlarged_pixel_by_pixel(tmp_path: Path) -> None:
    small = write_folder(tmp_path / "small", method="small", side=4)
    large = write_folder(tmp_path / "large", method="large", side=8)
    image = np.random.default_rng(0).integers(0, 256, (4, 4, 3), np.uint8)
    for number in range(len(CAPTIONS)):
        Image.fromarray(image).save(small / f"{number}.png")
    report = make_ranking_page([small, large], out=tmp_path / "page", n=2)
    for shown, question in zip(content(report.page)["questions"], report.study.questions, strict=True):
        for entry in shown["images"]:
            drawn = pixels(entry["source"])
            assert drawn.shape == (256, 256, 3)
            if question.images[entry["id"]] == 0:
                assert (drawn == image.repeat(64, axis=0).repeat(64, axis=1)).all()
    assert any("small 4, large 8 pixels" in warning for warning in report.warnings)


def test_only_captions_that_all_models_drew(tmp_path: Path) -> None:
    first = write_folder(tmp_path / "first", CAPTIONS, method="first")
    second = write_folder(tmp_path / "second", (*CAPTIONS[:2], "something else"), method="second", level=1)
    report = make_ranking_page([first, second], out=tmp_path / "page", n=2)
    assert report.shared == 2
    assert {question.caption for question in report.study.questions} == set(CAPTIONS[:2])
    with pytest.raises(DataError, match=r"share 2 captions, 3 are wanted .*first 4, second 3") as caught:
        make_ranking_page([first, second], out=tmp_path / "none", n=3)
    assert caught.value.hint is not None
    assert "-n 2" in caught.value.hint
    assert not (tmp_path / "none").exists()


def test_the_same_words_for_another_image_are_another_caption(tmp_path: Path) -> None:
    first = write_folder(tmp_path / "first", ("a bird", "a bird"), method="first")
    second = write_folder(tmp_path / "second", ("a bird", "a bird"), method="second", level=1)
    study = make_ranking_page([first, second], out=tmp_path / "page", n=2).study
    assert {(question.caption, question.key) for question in study.questions} == {
        ("a bird", "key0"),
        ("a bird", "key1"),
    }


def test_the_first_of_several_images_of_a_caption_is_shown(tmp_path: Path) -> None:
    folders = write_folders(tmp_path, MODELS[:2])
    for folder in folders:
        rows = [
            GeneratedImage(f"{number}.png", "a bird", "key", 0, 7, number, 4)
            for number in range(len(CAPTIONS))
        ]
        write_samples(folder, rows)
    (question,) = content(make_ranking_page(folders, out=tmp_path / "page", n=1).page)["questions"]
    assert sorted(pixels(image["source"])[0, 0, 0] for image in question["images"]) == [0, 40]


def test_names_have_to_tell_the_models_apart(tmp_path: Path) -> None:
    same = [write_folder(tmp_path / name, method="StackGAN", level=level) for level, name in enumerate("ab")]
    study = make_ranking_page(same, out=tmp_path / "page", n=1).study
    assert [model.name for model in study.models] == ["a", "b"]
    unknown = [write_folder(tmp_path / name / "images", level=level) for level, name in enumerate("cd")]
    with pytest.raises(UsageError, match="tell them apart"):
        make_ranking_page(unknown, out=tmp_path / "other", n=1)
    for names in (["x"], ["x", "x"], ["x", " "]):
        with pytest.raises(UsageError):
            make_ranking_page(unknown, out=tmp_path / "other", n=1, names=names)
    study = make_ranking_page(unknown, out=tmp_path / "other", n=1, names=["x", "y"]).study
    assert [model.name for model in study.models] == ["x", "y"]


def test_model_folders_draw_the_same_captions(tmp_path: Path, tiny_model: Path, tiny_dataset: Path) -> None:
    drawn: list[tuple[int, int]] = []
    report = make_ranking_page(
        [tiny_model, tiny_model],
        out=tmp_path / "page",
        names=["one", "two"],
        n=3,
        data=f"{tiny_dataset}:test",
        progress=lambda done, total: drawn.append((done, total)),
    )
    assert (3, 3) in drawn
    assert report.study.dataset == "cub"
    assert {model.model for model in report.study.models} == {str(tiny_model)}
    assert all(question.key for question in report.study.questions)
    assert any("3 of 3 captions show the same image" in warning for warning in report.warnings)
    assert sorted(path.name for path in (tmp_path / "page").iterdir()) == ["index.html", "key.json"]


def test_model_folders_need_captions(tmp_path: Path, tiny_model: Path, tiny_dataset: Path) -> None:
    models = [tiny_model, tiny_model]
    out = tmp_path / "page"
    with pytest.raises(UsageError, match="no captions are given"):
        make_ranking_page(models, out=out, n=1)
    with pytest.raises(UsageError, match="split, too"):
        make_ranking_page(models, out=out, n=1, data=str(tiny_dataset))
    with pytest.raises(UsageError, match="not from both"):
        make_ranking_page(
            models, out=out, n=1, data=f"{tiny_dataset}:test", captions_file=tmp_path / "captions.txt"
        )
    with pytest.raises(DataError, match="absent: no such folder"):
        make_ranking_page([tiny_model, tmp_path / "absent"], out=out, n=1, data=f"{tiny_dataset}:test")
    assert not out.exists()


def test_captions_are_not_ignored_where_nothing_draws_them(tmp_path: Path, tiny_dataset: Path) -> None:
    with pytest.raises(UsageError, match="only models draw captions"):
        make_ranking_page(write_folders(tmp_path), out=tmp_path / "page", n=1, data=f"{tiny_dataset}:test")


def test_what_drawing_warns_of_is_passed_on(tmp_path: Path, tiny_model: Path) -> None:
    captions = tmp_path / "captions.txt"
    captions.write_text("a white xylophone\n", encoding="utf-8")
    report = make_ranking_page(
        [tiny_model] * 2, out=tmp_path / "page", names=["a", "b"], n=1, captions_file=captions
    )
    assert sum("xylophone" in warning for warning in report.warnings) == 1


def test_a_model_that_reads_no_sentences(
    tmp_path: Path, tiny_dataset: Path, tiny_sentence_encoder: Path
) -> None:
    dataset, path = Dataset.open(tiny_dataset), tmp_path / "embeddings.npz"
    export_embeddings(dataset, load_sentence_encoder(tiny_sentence_encoder), path)
    model = build_stackgan(load_embeddings(path, dataset.split("train")), tmp_path / "model")
    with pytest.raises(UsageError, match="cannot read sentences") as caught:
        make_ranking_page(
            [model, model], out=tmp_path / "page", names=["a", "b"], n=1, data=f"{tiny_dataset}:test"
        )
    assert "gancli sample" in str(caught.value.hint)


def test_images_between_two_sentences_are_not_ranked(tmp_path: Path) -> None:
    folders = write_folders(tmp_path, MODELS[:2])
    write_samples(folders[0], [GeneratedImage("0.png", "a bird", "", None, 7, 0, 4, "a flower", 0.5)])
    with pytest.raises(UsageError, match="between two sentences"):
        make_ranking_page(folders, out=tmp_path / "page", n=1)


def test_paths_may_be_text(tmp_path: Path, tiny_model: Path) -> None:
    folders = [*map(str, write_folders(tmp_path)), tmp_path / "alpha"]
    report = make_ranking_page(folders, out=str(tmp_path / "page"), n=1, names=["a", "b", "c", "d"])
    assert read_key(str(tmp_path / "page")) == read_key(str(report.key)) == report.study
    captions = tmp_path / "captions.txt"
    captions.write_text("a white bird\n", encoding="utf-8")
    models = [str(tiny_model)] * 2
    out = str(tmp_path / "drawn")
    report = make_ranking_page(models, out=out, names=["a", "b"], n=1, captions_file=str(captions))
    assert [question.caption for question in report.study.questions] == ["a white bird"]


def test_one_model_is_not_a_list_of_letters(tmp_path: Path) -> None:
    (folder,) = write_folders(tmp_path, MODELS[:1])
    for model in (folder, str(folder)):
        with pytest.raises(UsageError, match="Received: 1"):
            make_ranking_page(model, out=tmp_path / "page")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="2 models, but 1 names"):
        make_ranking_page([folder, folder], out=tmp_path / "page", names="ab")


def test_impossible_requests(tmp_path: Path) -> None:
    folders = write_folders(tmp_path)
    for arguments in (
        {"models": folders[:1]},
        {"models": folders * 4},
        {"n": 0},
        {"seed": -1},
        {"task": " "},
    ):
        with pytest.raises(UsageError):
            make_ranking_page(**{"models": folders, "out": tmp_path / "page", "n": 1, **arguments})


def test_a_broken_image_is_named(tmp_path: Path) -> None:
    folders = write_folders(tmp_path)
    (folders[1] / "2.png").write_bytes(b"no image")
    with pytest.raises(DataError, match=re.escape(str(folders[1] / "2.png"))):
        make_ranking_page(folders, out=tmp_path / "page", n=4)
    assert not list((tmp_path / "page").iterdir())


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", '{"schema": 1}', '{"schema": 2, "models": 3}', '{"schema": 2, "study": "x"}', "\xff"],
)
def test_what_is_no_key(tmp_path: Path, text: str) -> None:
    path = tmp_path / "key.json"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(DataError, match=r"key\.json"):
        read_key(path)


# --- hostile captions ---------------------------------------------------------------------------------------------


def test_the_page_forbids_everything_but_itself(tmp_path: Path) -> None:
    report = make_ranking_page(write_folders(tmp_path), out=tmp_path / "page", n=2)
    elements = Elements(report.page.read_text(encoding="utf-8"))
    (policy,) = [
        str(attributes["content"])
        for _, attributes in elements.tags
        if attributes.get("http-equiv") == "Content-Security-Policy"
    ]
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules["default-src"] == "'none'"
    assert rules["img-src"] == "data:"
    assert "unsafe-inline" not in policy
    for name in ("script", "style"):
        (text,) = [
            text
            for (tag, attributes), text in zip(elements.tags, elements.texts, strict=True)
            if tag == name and "type" not in attributes
        ]
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert rules[f"{name}-src"] == f"'sha256-{digest}'"
    for tag, attributes in elements.tags:
        assert not {"src", "href", "action"} & set(attributes), (tag, attributes)
        assert not any(name.startswith("on") for name in attributes), (tag, attributes)


TEMPLATE = Path(human.__file__).with_name("page.html").read_text(encoding="utf-8")
texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40)
hostile = st.sampled_from(
    [
        "</script><script>alert(1)</script>",
        "<!-- <script>",
        "]]>",
        '"\\',
        "\u2028\u2029",
        "&lt;",
        "@STUDY@",
        "'",
    ]
)


@settings(max_examples=40)
@given(caption=st.lists(texts | hostile, min_size=1, max_size=4).map("".join), task=texts | hostile)
def test_any_text_survives_and_breaks_nothing(caption: str, task: str) -> None:
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        caption = caption.replace("\r", " ").replace("\0", " ")  # which samples.csv does not keep
        folders = [
            write_folder(root / name, (caption,), method=name, side=1, level=level)
            for level, name in enumerate("ab")
        ]
        report = make_ranking_page(folders, out=root / "page", n=1, task=task if task.strip() else "Rank")
        page = content(report.page)
        assert page["questions"][0]["caption"] == caption
        assert page["task"] == report.study.task
        assert read_key(report.key) == report.study
        elements = Elements(report.page.read_text(encoding="utf-8"))
        assert [tag for tag, _ in elements.tags] == [tag for tag, _ in Elements(TEMPLATE).tags]
