"""`prepare`: what it writes, that it writes the same whatever happens on the way, and what it says of bad data."""

from __future__ import annotations

import csv
import json
import os
import resource
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pytest
from PIL import Image

from gancli.data.images import load_image
from gancli.data.preparation import workers
from gancli.data.preparation.options import PrepareOptions
from gancli.data.preparation.plan import make_plan
from gancli.data.preparation.prepare import prepare
from gancli.data.shards import Dataset
from gancli.data.source import BadSample, BoundingBox, Sample
from gancli.data.sources import cub
from gancli.data.text import Vocabulary
from gancli.data.verify import verify
from gancli.errors import DataError, RunError, UsageError
from tests.conftest import ROOT, source_of


def contents(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def image(raw: Path, number: int) -> Path:
    return sorted(raw.glob("CUB_200_2011/images/*/*.jpg"))[number]


def test_writes_what_the_source_says(tiny_raw_cub: Path, tmp_path: Path) -> None:
    calls: list[tuple[int, int]] = []
    report = prepare(
        cub.read(tiny_raw_cub),
        tmp_path / "out",
        PrepareOptions(image_size=32, shard_images=5),
        progress=lambda done, total: calls.append((done, total)),
    )
    assert report.counts == {"train": 12, "test": 12}
    assert report.captions == {"train": 36, "test": 36}
    assert (report.bad, report.reused_shards, report.already_complete) == ([], 0, False)
    assert report.images_per_second > 0
    assert calls == [(number, 24) for number in range(1, 25)]
    assert verify(tmp_path / "out") == []

    dataset = Dataset.open(tmp_path / "out")
    manifest = dataset.manifest
    assert (manifest.release, manifest.split_rule) == ("CUB-200-2011", "zero-shot 150/50")
    assert manifest.crop_rule == "box 1.5×"
    assert len(dataset.vocabulary) == report.vocabulary
    assert [len(entry.shards) for entry in dataset.manifest.splits.values()] == [3, 3]
    for sample in cub.read(tiny_raw_cub).samples:
        assert isinstance(sample, Sample)
        split = dataset.split(sample.split)
        index = split.find(sample.key)
        assert split.class_ids[index] == sample.class_id
        assert split.attributes is not None
        assert sample.attributes is not None
        assert split.attributes[index].tolist() == sample.attributes.tolist()
        assert split.captions(index) == list(sample.captions)
        # the bird's colour is in the middle of the crop
        middle = split.image(index)[15:23, 15:23].mean(axis=(0, 1))
        assert sample.box is not None
        x, y = int(sample.box.x + sample.box.width / 2), int(sample.box.y + sample.box.height / 2)
        assert np.allclose(middle, load_image(sample.image).getpixel((x, y)), atol=12)


def test_nothing_tells_the_machine_or_the_day(tiny_raw_cub: Path, tmp_path: Path) -> None:
    prepare(cub.read(tiny_raw_cub), tmp_path / "out", PrepareOptions(image_size=16))
    manifest = (tmp_path / "out" / "dataset.json").read_text()
    assert str(tmp_path) not in manifest
    assert "20" + "26" not in manifest
    assert str(tmp_path) not in (tmp_path / "out" / "README.md").read_text()
    assert sorted(contents(tmp_path / "out")) == [
        "README.md",
        "dataset.json",
        "splits.csv",
        "test-00000-of-00001.h5",
        "train-00000-of-00001.h5",
        "vocabulary.json",
    ]
    table = pandas.read_csv(tmp_path / "out" / "splits.csv").set_index("split")
    assert table["images"].to_dict() == {"train": 12, "test": 12}
    assert (table["captions"] >= table["images"]).all()


@pytest.mark.parametrize("codec", ["raw", "jpeg"])
def test_any_number_of_jobs_gives_the_same_bytes(tiny_raw_cub: Path, tmp_path: Path, codec: str) -> None:
    for jobs in (1, 2):
        prepare(
            cub.read(tiny_raw_cub),
            tmp_path / str(jobs),
            PrepareOptions(image_size=16, codec=codec, shard_images=7),
            jobs=jobs,
        )  # type: ignore[arg-type]
    assert contents(tmp_path / "1") == contents(tmp_path / "2")


def test_jpeg_folder_is_sound(tiny_raw_cub: Path, tmp_path: Path) -> None:
    prepare(cub.read(tiny_raw_cub), tmp_path / "as-jpeg", PrepareOptions(image_size=32, codec="jpeg"))
    prepare(cub.read(tiny_raw_cub), tmp_path / "as-raw", PrepareOptions(image_size=32))
    assert verify(tmp_path / "as-jpeg") == []
    jpeg, raw = (Dataset.open(tmp_path / name).split("train") for name in ("as-jpeg", "as-raw"))
    assert jpeg.image(2).shape == raw.image(2).shape
    assert np.abs(jpeg.image(2).astype(int) - raw.image(2)).mean() < 3
    assert np.array_equal(jpeg.crop(2, 1, 2, 30), jpeg.image(2)[1:31, 2:32])


def test_second_run_does_nothing(tiny_raw_cub: Path, tmp_path: Path) -> None:
    prepare(cub.read(tiny_raw_cub), tmp_path / "out", PrepareOptions(image_size=16))
    stamps = {file: file.stat().st_mtime_ns for file in (tmp_path / "out").iterdir()}
    report = prepare(cub.read(tiny_raw_cub), tmp_path / "out", PrepareOptions(image_size=16))
    assert report.already_complete
    assert report.counts == {"train": 12, "test": 12}
    assert stamps == {file: file.stat().st_mtime_ns for file in (tmp_path / "out").iterdir()}


def test_other_settings_are_refused_and_named(tiny_raw_cub: Path, tmp_path: Path) -> None:
    prepare(cub.read(tiny_raw_cub), tmp_path / "out", PrepareOptions(image_size=16))
    with pytest.raises(UsageError) as caught:
        prepare(cub.read(tiny_raw_cub), tmp_path / "out", PrepareOptions(image_size=32, codec="jpeg"))
    assert "image_size: 16 there, 32 asked for" in str(caught.value)
    assert "codec: raw there, jpeg asked for" in str(caught.value)
    with pytest.raises(UsageError, match="vocabulary: "):
        prepare(
            cub.read(tiny_raw_cub),
            tmp_path / "out",
            PrepareOptions(image_size=16, vocabulary=Vocabulary.build(["a bird"])),
        )
    with pytest.raises(UsageError, match="split_rule: zero-shot 150/50 there, official asked for"):
        prepare(cub.read(tiny_raw_cub, split="official"), tmp_path / "out", PrepareOptions(image_size=16))


def test_changed_source_is_refused(tiny_raw_cub: Path, tmp_path: Path) -> None:
    prepare(cub.read(tiny_raw_cub), tmp_path / "out", PrepareOptions(image_size=16))
    boxes = tiny_raw_cub / "CUB_200_2011" / "bounding_boxes.txt"
    lines = boxes.read_text().splitlines()
    boxes.write_text("\n".join(["1 0 0 10 10", *lines[1:]]) + "\n")
    with pytest.raises(UsageError, match=r"source: .* changed since"):
        prepare(cub.read(tiny_raw_cub), tmp_path / "out", PrepareOptions(image_size=16))


def test_folder_of_something_else_is_left_alone(tiny_raw_cub: Path, tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("precious")
    with pytest.raises(UsageError, match="not empty and not a dataset folder"):
        prepare(cub.read(tiny_raw_cub), tmp_path, PrepareOptions(image_size=16))
    with pytest.raises(UsageError, match="is a file"):
        prepare(cub.read(tiny_raw_cub), tmp_path / "thesis.tex", PrepareOptions(image_size=16))


class Stop(BaseException):
    """Ends a run without any handler, as Ctrl-C does."""


def test_interrupted_run_continues(tiny_raw_cub: Path, tmp_path: Path) -> None:
    def stop(done: int, _: int) -> None:
        if done == 9:
            raise Stop

    prepare(cub.read(tiny_raw_cub), tmp_path / "whole", PrepareOptions(image_size=16, shard_images=4))
    with pytest.raises(Stop):
        prepare(
            cub.read(tiny_raw_cub),
            tmp_path / "out",
            PrepareOptions(image_size=16, shard_images=4),
            progress=stop,
        )
    finished = sorted((tmp_path / "out").glob("*.h5"))
    assert [file.name for file in finished] == ["train-00000-of-00003.h5", "train-00001-of-00003.h5"]
    with pytest.raises(DataError, match="not a dataset folder"):
        Dataset.open(tmp_path / "out")
    with pytest.raises(UsageError, match="image_size: 16 there, 32 asked for"):
        prepare(cub.read(tiny_raw_cub), tmp_path / "out", PrepareOptions(image_size=32, shard_images=4))

    stamps = [file.stat().st_mtime_ns for file in finished]
    (tmp_path / "out" / ".train-00002-of-00003.h5.77.tmp").write_bytes(b"half")
    report = prepare(cub.read(tiny_raw_cub), tmp_path / "out", PrepareOptions(image_size=16, shard_images=4))
    assert report.reused_shards == 2
    assert stamps == [file.stat().st_mtime_ns for file in finished]
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


KILLED = """
import os, signal, sys
from pathlib import Path
from gancli.data.preparation.options import PrepareOptions
from gancli.data.preparation.prepare import prepare
from gancli.data.sources import cub

def kill(done, total):
    if done == 13:
        os.kill(os.getpid(), signal.SIGKILL)

if __name__ == "__main__":
    options = PrepareOptions(image_size=16, shard_images=4)
    prepare(cub.read(Path(sys.argv[1])), Path(sys.argv[2]), options, jobs=2, progress=kill)
"""


def test_killed_run_continues(tiny_raw_cub: Path, tmp_path: Path) -> None:
    script = tmp_path / "killed.py"
    script.write_text(KILLED)
    out = tmp_path / "out"
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    # its workers keep the pipe open until they notice that the parent is gone: this call returning shows they do
    run = subprocess.run(
        [sys.executable, str(script), str(tiny_raw_cub), str(out)],
        env=environment,
        capture_output=True,
        timeout=120,
        check=False,
    )
    assert run.returncode == -signal.SIGKILL
    kept = len(list(out.glob("*.h5")))
    assert kept in (2, 3)  # the last one may have been on its way to the disk
    assert not (out / "dataset.json").exists()
    report = prepare(cub.read(tiny_raw_cub), out, PrepareOptions(image_size=16, shard_images=4))
    assert report.reused_shards == kept
    prepare(cub.read(tiny_raw_cub), tmp_path / "whole", PrepareOptions(image_size=16, shard_images=4))
    assert contents(out) == contents(tmp_path / "whole")


def test_full_disk(tiny_raw_cub: Path, tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
    try:
        with pytest.raises(
            RunError, match=r"train-00000-of-00001\.h5: cannot be written \(File too large\)"
        ) as caught:
            prepare(cub.read(tiny_raw_cub), tmp_path / "out", PrepareOptions(image_size=32))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert "same command again" in str(caught.value.hint)
    assert sorted(contents(tmp_path / "out")) == ["plan.json"]
    prepare(cub.read(tiny_raw_cub), tmp_path / "out", PrepareOptions(image_size=32))
    assert verify(tmp_path / "out") == []


def test_out_that_cannot_be_made(tiny_raw_cub: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="cannot be made"):
        prepare(cub.read(tiny_raw_cub), tmp_path / "file" / "out", PrepareOptions(image_size=16))


def damage(raw: Path) -> dict[str, str]:
    """Break six of the images in as many ways; returns {key: part of the reason}."""
    base = raw / "CUB_200_2011"
    keys = [line.split()[1].removesuffix(".jpg") for line in (base / "images.txt").read_text().splitlines()]
    content = image(raw, 0).read_bytes()
    image(raw, 0).write_bytes(content[: len(content) // 2])
    image(raw, 1).unlink()
    (raw / "text" / f"{keys[2]}.txt").write_text("\n\n")
    boxes = (base / "bounding_boxes.txt").read_text().splitlines()
    boxes[3] = "4 10.0 10.0 0.0 10.0"
    boxes[4] = "5 500.0 10.0 10.0 10.0"
    (base / "bounding_boxes.txt").write_text("\n".join(boxes) + "\n")
    (raw / "text" / f"{keys[5]}.txt").write_text("\u9ce5 ...\n", encoding="utf-8")
    reasons = ["cannot be decoded", "absent", "no caption", "no area", "outside the image", "no known word"]
    return dict(zip(keys, reasons, strict=False))


@pytest.mark.parametrize("jobs", [1, 2])
def test_all_bad_images_are_listed(tiny_raw_cub: Path, tmp_path: Path, jobs: int) -> None:
    expected = damage(tiny_raw_cub)
    out = tmp_path / "out"
    with pytest.raises(DataError, match="6 of 24 images cannot be used") as caught:
        prepare(cub.read(tiny_raw_cub), out, PrepareOptions(image_size=16), jobs=jobs)
    assert all(key in str(caught.value) for key in expected)
    assert "--skip-bad" in str(caught.value.hint)
    with open(out / "rejected.csv", newline="") as file:
        rejected = {row["key"]: row["reason"] for row in csv.DictReader(file)}
    assert rejected.keys() == expected.keys()
    assert all(part in rejected[key] for key, part in expected.items()), rejected
    assert str(tmp_path) not in (out / "rejected.csv").read_text()
    assert not (out / "dataset.json").exists()

    report = prepare(cub.read(tiny_raw_cub), out, PrepareOptions(image_size=16), jobs=jobs, skip_bad=True)
    assert report.reused_shards == 2
    assert report.counts == {"train": 12, "test": 6}
    assert {bad.key for bad in report.bad} == expected.keys()
    assert verify(out) == []
    assert Dataset.open(out).manifest.rejected == 6
    again = prepare(cub.read(tiny_raw_cub), out, PrepareOptions(image_size=16), skip_bad=True)
    assert again.already_complete
    assert {bad.key for bad in again.bad} == expected.keys()


def test_mended_image_is_taken_on_the_second_run(tiny_raw_cub: Path, tmp_path: Path) -> None:
    broken = image(tiny_raw_cub, 8)
    content = broken.read_bytes()
    broken.write_bytes(content[:200])
    with pytest.raises(DataError, match="1 of 24"):
        prepare(cub.read(tiny_raw_cub), tmp_path / "out", PrepareOptions(image_size=16, shard_images=4))
    broken.write_bytes(content)
    report = prepare(cub.read(tiny_raw_cub), tmp_path / "out", PrepareOptions(image_size=16, shard_images=4))
    assert report.reused_shards == 5
    assert report.counts == {"train": 12, "test": 12}
    assert not (tmp_path / "out" / "rejected.csv").exists()


def test_long_list_of_bad_images_is_cut_in_the_message(tiny_raw_cub: Path, tmp_path: Path) -> None:
    for number in range(12):
        image(tiny_raw_cub, number).write_bytes(b"")
    with pytest.raises(DataError, match="12 of 24") as caught:
        prepare(cub.read(tiny_raw_cub), tmp_path / "out", PrepareOptions(image_size=16))
    assert "and 2 more" in str(caught.value)


@pytest.fixture
def samples(tmp_path: Path) -> list[Sample]:
    path = tmp_path / "image.png"
    Image.new("RGB", (20, 16), "red").save(path)
    return [Sample(f"image {n}", "train", path, (f"caption {n}", "a bird")) for n in range(4)]


def test_without_classes_every_image_is_its_own(samples: list[Sample], tmp_path: Path) -> None:
    prepare(source_of(samples), tmp_path / "out", PrepareOptions(image_size=16))
    dataset = Dataset.open(tmp_path / "out")
    assert dataset.manifest.class_names is None
    assert dataset.class_names == []
    assert dataset.split("train").class_ids.tolist() == [0, 1, 2, 3]
    assert dataset.split("train").attributes is None


def test_captions_are_ragged_and_cleaned(samples: list[Sample], tmp_path: Path) -> None:
    samples[0] = replace(samples[0], captions=("one  bird", "...", "two\ufffd\ufffdbirds"))
    samples[1] = replace(samples[1], captions=tuple(f"bird {n}" for n in range(12)))
    prepare(source_of(samples), tmp_path / "out", PrepareOptions(image_size=16))
    dataset = Dataset.open(tmp_path / "out")
    split = dataset.split("train")
    assert split.captions(0) == ["one bird", "two birds"]
    assert [len(split.tokens(index)) for index in range(4)] == [2, 12, 2, 2]
    assert dataset.vocabulary.words[:5] == ("<end>", "one", "bird", "two", "birds")


def test_given_vocabulary_drops_other_words(samples: list[Sample], tmp_path: Path) -> None:
    vocabulary = Vocabulary.build(["a bird flies"])
    samples[2] = replace(samples[2], captions=("nothing known",))
    report = prepare(
        source_of(samples),
        tmp_path / "out",
        PrepareOptions(image_size=16, vocabulary=vocabulary),
        skip_bad=True,
    )
    assert [bad.key for bad in report.bad] == ["image 2"]
    split = Dataset.open(tmp_path / "out").split("train")
    assert split.captions(0) == ["a bird"]
    assert split.tokens(0)[0].tolist() == [1, 2]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"key": "image 0"}, "stands twice"),
        ({"key": "caf\udce9"}, "not UTF-8"),
        ({"split": "../train"}, "split '../train'"),
        ({"split": ""}, "split ''"),
        ({"class_id": 2}, "class 2 is none of the 2 classes"),
        ({"class_id": None}, "class None"),
        ({"attributes": np.zeros(3, np.uint8)}, "3 attributes, the dataset has 1"),
        ({"attributes": None}, "0 attributes"),
        ({"box": BoundingBox(0, 0, -5, 5)}, "no area"),
    ],
)
def test_inconsistent_samples_are_bad(
    samples: list[Sample], tmp_path: Path, change: dict[str, object], message: str
) -> None:
    row = np.ones(1, np.uint8)
    complete: list[Sample | BadSample] = [replace(sample, class_id=1, attributes=row) for sample in samples]
    complete[3] = replace(complete[3], **change)  # type: ignore[type-var, arg-type]
    source = source_of(complete, class_names=("a", "b"), attribute_names=("small",))
    report = prepare(source, tmp_path / "out", PrepareOptions(image_size=16), skip_bad=True)
    assert [message in bad.reason for bad in report.bad] == [True], report.bad
    assert report.counts == {"train": 3}


def test_nothing_usable(samples: list[Sample], tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no usable image among 1 records; the first: x: why"):
        prepare(source_of([BadSample("x", "why")]), tmp_path / "out", skip_bad=True)
    with pytest.raises(DataError, match="no usable image among 0"):
        prepare(source_of([]), tmp_path / "out")
    samples[0].image.write_bytes(b"")
    with pytest.raises(DataError, match="none of its 4 images"):
        prepare(source_of(list(samples)), tmp_path / "out", skip_bad=True)


@pytest.mark.parametrize(
    "options", [{"image_size": 3}, {"codec": "png"}, {"crop": "box"}, {"jobs": 0}, {"shard_images": 0}]
)
def test_settings_out_of_range(samples: list[Sample], tmp_path: Path, options: dict[str, Any]) -> None:
    jobs = options.pop("jobs", 1)
    with pytest.raises(UsageError):
        prepare(source_of(samples), tmp_path / "out", PrepareOptions(**options), jobs=jobs)


def test_plan_writes_nothing(tiny_raw_cub: Path, tmp_path: Path) -> None:
    before = sorted(tmp_path.rglob("*"))
    plan = make_plan(cub.read(tiny_raw_cub), PrepareOptions(image_size=32, shard_images=5))
    assert plan.counts == {"train": 12, "test": 12}
    assert [len(shard.records) for shard in plan.shards] == [4, 4, 4, 4, 4, 4]
    assert plan.bytes > 24 * 38 * 38 * 3
    assert sorted(tmp_path.rglob("*")) == before


def die(*_: object) -> None:
    os._exit(1)


def test_worker_that_dies_is_reported(
    tiny_raw_cub: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "_render_chunk", die)
    with pytest.raises(RunError, match="worker process of prepare died") as caught:
        prepare(cub.read(tiny_raw_cub), tmp_path / "out", PrepareOptions(image_size=16), jobs=2)
    assert "fewer --jobs" in str(caught.value.hint)


def test_unreadable_plan(tiny_raw_cub: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "plan.json").write_text("{")
    with pytest.raises(DataError, match=r"plan\.json: cannot be read"):
        prepare(cub.read(tiny_raw_cub), tmp_path / "out", PrepareOptions(image_size=16))


def test_real_cub(shared_data: Path, tmp_path: Path) -> None:
    report = prepare(cub.read(shared_data / "cub"), tmp_path / "cub", PrepareOptions(image_size=64))
    assert report.counts == {"train": 132, "test": 68}
    assert report.bad == []
    assert verify(tmp_path / "cub") == []
    manifest = json.loads((tmp_path / "cub" / "dataset.json").read_text())
    assert len(manifest["class_names"]) == 200
    assert manifest["splits"]["train"]["captions"] == 1320


@pytest.mark.parametrize(("boxed", "rule"), [(True, "ratio75"), (False, "none")])
def test_the_crop_rule_needs_a_box(samples: list[Sample], tmp_path: Path, boxed: bool, rule: str) -> None:
    box = BoundingBox(2, 2, 10, 10) if boxed else None
    prepare(
        source_of(replace(sample, box=box) for sample in samples),
        tmp_path / "out",
        PrepareOptions(image_size=16, crop="ratio75"),
    )
    assert Dataset.open(tmp_path / "out").manifest.crop_rule == rule


def test_paths_may_be_text(tiny_raw_cub: Path, tmp_path: Path) -> None:
    report = prepare(cub.read(tiny_raw_cub), str(tmp_path / "out"), PrepareOptions(image_size=16))
    assert report.out == tmp_path / "out"
    assert verify(str(tmp_path / "out")) == []


def test_things_of_another_kind_are_named(tiny_raw_cub: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"source 'raw/birds': has to be a Source") as caught:
        prepare("raw/birds", tmp_path / "out")  # type: ignore[arg-type]
    assert "cub.read" in str(caught.value.hint)
    with pytest.raises(UsageError, match=r"options 64: have to be PrepareOptions"):
        prepare(cub.read(tiny_raw_cub), tmp_path / "out", 64)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="has to be a Vocabulary"):
        PrepareOptions(vocabulary="encoders/birds")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="has to be a collection of keys"):
        PrepareOptions(silhouette_list="good.txt")
    assert not (tmp_path / "out").exists()


def test_progress_may_be_silenced(
    tiny_raw_cub: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for progress in (True, False):  # nobody watches a test
        prepare(
            cub.read(tiny_raw_cub),
            tmp_path / str(progress),
            PrepareOptions(image_size=16),
            progress=progress,
        )
    assert capsys.readouterr().err == ""
