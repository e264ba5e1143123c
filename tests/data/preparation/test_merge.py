"""Parts of a dataset and their merge: the bytes of a single `prepare`, whatever the division, and what may go wrong."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from gancli.data.audio import MelSettings
from gancli.data.manifest import read_manifest
from gancli.data.preparation.finish import PrepareReport
from gancli.data.preparation.merge import merge_parts
from gancli.data.preparation.options import Part, PrepareOptions, SpeechOptions
from gancli.data.preparation.plan import make_plan
from gancli.data.preparation.prepare import prepare
from gancli.data.shards import Dataset
from gancli.data.source import BadSample, Sample, Source
from gancli.data.sources import cub
from gancli.data.verify import verify
from gancli.errors import DataError, UsageError
from tests.conftest import source_of
from tests.data.preparation.test_prepare import Stop, contents, damage, image
from tests.data.preparation.test_workers import VOICES, Whistle


def make(raw: Path, out: Path, part: str | None = None, **options: Any) -> PrepareReport:
    """Prepare the tiny birds, or a part of them: six shards of four images, three of each split."""
    run = {name: options.pop(name) for name in ("skip_bad", "progress") if name in options}
    shorter = PrepareOptions(**{"image_size": 16, "shard_images": 4} | options)
    return prepare(cub.read(raw), out, shorter, part=Part.parse(part) if part else None, **run)


# -------------------------------------------------------------------------------------------------- the division


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0/16", "counted from 1"),
        ("0-3/16", "counted from 1"),
        ("17/16", "no part 17 of 16"),
        ("3-17/16", "no part 17 of 16"),
        ("1/0", "no part 1 of 0"),
        ("5-3/16", "first part comes after the last"),
        ("x/16", "cannot be read"),
        ("3", "cannot be read"),
        ("3/", "cannot be read"),
        ("-3/16", "cannot be read"),
        ("3-/16", "cannot be read"),
        ("3/16/2", "cannot be read"),
        ("", "cannot be read"),
        ("9" * 5000 + "/1", "cannot be read"),
    ],
)
def test_parts_that_there_are_not(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Part.parse(text)


def test_parts_are_written_as_they_are_read() -> None:
    assert Part.parse("3-5/16") == Part(3, 5, 16)
    assert [str(Part.parse(text)) for text in ("3/16", "3-5/16", "3-3/16")] == ["3/16", "3-5/16", "3/16"]


@given(st.integers(0, 40), st.integers(1, 60))
def test_every_shard_is_in_one_part_and_parts_are_equal(shards: int, number: int) -> None:
    chosen = [Part(part, part, number).choose(range(shards)) for part in range(1, number + 1)]
    assert [shard for part in chosen for shard in part] == list(range(shards))
    lengths = {len(part) for part in chosen}
    assert max(lengths) - min(lengths) <= 1
    assert list(Part(1, number, number).choose(range(shards))) == list(range(shards))


def samples(folder: Path, train: int, test: int) -> list[Sample]:
    path = folder / "image.png"
    Image.fromarray(np.arange(20 * 16 * 3, dtype=np.uint8).reshape(16, 20, 3)).save(path)
    return [
        Sample(f"image {n}", "train" if n < train else "test", path, (f"caption {n}", "a bird"))
        for n in range(train + test)
    ]


@settings(max_examples=30)
@given(st.integers(1, 12), st.integers(1, 12), st.integers(1, 12), st.integers(1, 40))
def test_there_are_as_many_shards_as_parts(
    tmp_path_factory: pytest.TempPathFactory, train: int, test: int, longest: int, number: int
) -> None:
    images = samples(tmp_path_factory.mktemp("images"), train, test)
    plain = make_plan(source_of(images), PrepareOptions(image_size=16, shard_images=longest))
    plan = make_plan(
        source_of(images), PrepareOptions(image_size=16, shard_images=longest), fewest_shards=number
    )
    assert len(plan.shards) >= min(number, train + test)
    assert plan.counts == {"train": train, "test": test}
    assert all(shard.records for shard in plan.shards)
    if len(plain.shards) >= number:
        assert (plan.hash, plan.shard_images) == (plain.hash, plain.shard_images)
    else:  # no shorter than they have to be
        longer = make_plan(
            source_of(images), PrepareOptions(image_size=16, shard_images=plan.shard_images + 1)
        )
        assert len(longer.shards) < number


# ------------------------------------------------------------------------------------------------ the same bytes


@settings(max_examples=12)
@given(data=st.data())
def test_parts_and_merge_give_the_bytes_of_one_call(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    base = tmp_path_factory.mktemp("parts")
    listed: list[Sample | BadSample] = [*samples(base, 7, 4), BadSample("spoilt", "has no caption")]
    broken = base / "broken.png"
    broken.write_bytes(b"no image")
    listed[3] = replace(listed[3], image=broken)  # type: ignore[type-var]

    def read() -> Source:
        return source_of(listed)

    number = data.draw(st.integers(1, 14), "parts")
    cuts = sorted(data.draw(st.sets(st.integers(1, number - 1)), "cuts") if number > 1 else ())
    ranges = [Part(first + 1, last, number) for first, last in zip([0, *cuts], [*cuts, number], strict=True)]
    several = data.draw(st.booleans(), "several folders")
    folders = []
    for part in data.draw(st.permutations(ranges), "order"):
        folder = base / f"part-{part.first}" if several else base / "out"
        prepare(read(), folder, PrepareOptions(image_size=16, shard_images=3), part=part)
        assert not (folder / "dataset.json").exists()
        folders.append(folder)
    report = merge_parts(base / "out", folders if several else (), skip_bad=True)
    assert report.counts == {"train": 6, "test": 4}
    assert {bad.key for bad in report.bad} == {"image 3", "spoilt"}

    length = read_manifest(base / "out").shard_images
    prepare(read(), base / "whole", PrepareOptions(image_size=16, shard_images=length), skip_bad=True)
    assert contents(base / "out") == contents(base / "whole")
    # also for whoever knows nothing of the parts
    assert prepare(read(), base / "out", PrepareOptions(image_size=16), skip_bad=True).already_complete


def test_everything_that_a_shard_may_hold(tiny_raw_cub: Path, tmp_path: Path) -> None:
    damage(tiny_raw_cub)
    speech = SpeechOptions(Whistle(), VOICES, MelSettings(sample_rate=16000), keep_audio=True)
    options: dict[str, Any] = {"speech": speech, "codec": "jpeg", "crop": "ratio75", "skip_bad": True}
    whole = make(tiny_raw_cub, tmp_path / "whole", **options)
    reports = [make(tiny_raw_cub, tmp_path / "out", f"{part}/3", **options) for part in (3, 1, 2)]
    shutil.rmtree(tiny_raw_cub)  # the merge needs none of it
    merged = merge_parts(tmp_path / "out", skip_bad=True)
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")
    assert verify(tmp_path / "out") == []
    assert replace(merged, out=whole.out, images_per_second=whole.images_per_second, reused_shards=0) == whole

    def total(name: str) -> dict[str, int]:
        splits = [getattr(report, name) for report in reports]
        return {key: sum(split.get(key, 0) for split in splits) for key in whole.counts}

    assert [str(report.part) for report in reports] == ["3/3", "1/3", "2/3"]
    assert [total(name) for name in ("counts", "captions", "utterances")] == [
        whole.counts,
        whole.captions,
        whole.utterances,
    ]
    assert {bad.key for report in reports for bad in report.bad} == {bad.key for bad in whole.bad}
    assert sum(len(report.bad) for report in reports) == len(whole.bad)


def test_one_folder_of_parts_may_be_text(tiny_raw_cub: Path, tmp_path: Path) -> None:
    make(tiny_raw_cub, tmp_path / "parts", "1-2/2")
    report = merge_parts(str(tmp_path / "out"), str(tmp_path / "parts"))
    assert report.counts == {"train": 12, "test": 12}
    assert report.out == tmp_path / "out"


def test_parts_of_several_folders_are_linked_and_stay(tiny_raw_cub: Path, tmp_path: Path) -> None:
    folders = [tmp_path / f"part-{number}" for number in (1, 2)]
    for number, folder in enumerate(folders, start=1):
        make(tiny_raw_cub, folder, f"{number}/2")
    before = [contents(folder) for folder in folders]
    calls: list[tuple[int, int]] = []
    merge_parts(tmp_path / "out", folders, progress=lambda done, total: calls.append((done, total)))
    assert calls == [(number, 6) for number in range(1, 7)]
    assert [contents(folder) for folder in folders] == before
    name = "test-00002-of-00003.h5"
    assert (tmp_path / "out" / name).samefile(folders[1] / name)
    assert verify(tmp_path / "out") == []


def test_parts_on_another_disk_are_copied(
    tiny_raw_cub: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))

    make(tiny_raw_cub, tmp_path / "part", "1/1")
    monkeypatch.setattr(os, "link", refuse)
    merge_parts(tmp_path / "out", [tmp_path / "part"])
    make(tiny_raw_cub, tmp_path / "whole")
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


def test_the_folder_itself_may_be_named_among_its_parts(tiny_raw_cub: Path, tmp_path: Path) -> None:
    make(tiny_raw_cub, tmp_path / "out", "1/2")
    make(tiny_raw_cub, tmp_path / "other", "2/2")
    merge_parts(tmp_path / "out", [tmp_path / "other" / ".." / "out", tmp_path / "other"])
    make(tiny_raw_cub, tmp_path / "whole")
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


def test_more_parts_than_images(tiny_raw_cub: Path, tmp_path: Path) -> None:
    for part in ("1-29/30", "30/30"):
        make(tiny_raw_cub, tmp_path / "out", part)
    report = merge_parts(tmp_path / "out")
    assert (report.counts, report.reused_shards) == ({"train": 12, "test": 12}, 24)
    empty = make(tiny_raw_cub, tmp_path / "empty", "1/30")
    assert (empty.counts, list((tmp_path / "empty").glob("*.h5"))) == ({}, [])


# --------------------------------------------------------------------------------- at the same time, and interrupted


def test_a_part_inside_another_part(tiny_raw_cub: Path, tmp_path: Path) -> None:
    """While one part is on the way, another begins and ends in the same folder, and what is half written stays."""
    out = tmp_path / "out"
    half = out / ".test-00000-of-00003.h5.4711.tmp"

    def begin_another(done: int, _: int) -> None:
        if done == 5:
            half.write_bytes(b"of a third part that is still writing")
            make(tiny_raw_cub, out, "2/2")

    make(tiny_raw_cub, out, "1/2", progress=begin_another)
    assert half.exists()
    merge_parts(out)
    make(tiny_raw_cub, tmp_path / "whole")
    assert contents(out) == contents(tmp_path / "whole")


def test_an_interrupted_part_continues(tiny_raw_cub: Path, tmp_path: Path) -> None:
    def stop(done: int, _: int) -> None:
        if done == 7:
            raise Stop

    out = tmp_path / "out"
    with pytest.raises(Stop):
        make(tiny_raw_cub, out, "2-3/3", progress=stop)
    (out / ".train-00002-of-00003.h5.4711.tmp").write_bytes(b"half")  # as if it had been killed
    (first,) = out.glob("*.h5")
    stamp = first.stat().st_mtime_ns
    with pytest.raises(DataError, match="5 of 6 shards are not there"):
        merge_parts(out)
    assert make(tiny_raw_cub, out, "2-3/3").reused_shards == 1
    assert make(tiny_raw_cub, out, "1/3").reused_shards == 0
    assert first.stat().st_mtime_ns == stamp
    merge_parts(out)
    make(tiny_raw_cub, tmp_path / "whole")
    assert contents(out) == contents(tmp_path / "whole")


def test_prepare_without_parts_finishes_them(tiny_raw_cub: Path, tmp_path: Path) -> None:
    """Also where parts have made the shards shorter than it would by itself."""
    for part in ("1-7/10", "10/10"):
        prepare(
            cub.read(tiny_raw_cub), tmp_path / "out", PrepareOptions(image_size=16), part=Part.parse(part)
        )
    made = len(list((tmp_path / "out").glob("*.h5")))
    report = prepare(cub.read(tiny_raw_cub), tmp_path / "out", PrepareOptions(image_size=16))
    manifest = read_manifest(tmp_path / "out")
    assert sum(len(split.shards) for split in manifest.splits.values()) == 12  # 10 do not come out even
    assert (report.reused_shards, report.already_complete) == (made, False)
    assert verify(tmp_path / "out") == []
    prepare(
        cub.read(tiny_raw_cub),
        tmp_path / "whole",
        PrepareOptions(image_size=16, shard_images=manifest.shard_images),
    )
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


def test_a_single_prepare_that_was_stopped_is_a_part_too(tiny_raw_cub: Path, tmp_path: Path) -> None:
    def stop(done: int, _: int) -> None:
        if done == 9:
            raise Stop

    with pytest.raises(Stop):
        make(tiny_raw_cub, tmp_path / "out", progress=stop)
    with pytest.raises(DataError, match=r"4 of 6 .*\n.*train-00002-of-00003.h5: missing") as caught:
        merge_parts(tmp_path / "out")
    assert "same gancli prepare" in str(caught.value.hint)
    make(tiny_raw_cub, tmp_path / "out", "2-3/3")
    merge_parts(tmp_path / "out")
    make(tiny_raw_cub, tmp_path / "whole")
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


def test_whoever_comes_again_finds_it_complete(tiny_raw_cub: Path, tmp_path: Path) -> None:
    for part in ("1/2", "2/2"):
        make(tiny_raw_cub, tmp_path / part[0], part)
    merged = merge_parts(tmp_path / "out", [tmp_path / "1", tmp_path / "2"])
    assert not merged.already_complete
    before = {file: file.stat().st_mtime_ns for file in (tmp_path / "out").iterdir()}
    again = [
        merge_parts(tmp_path / "out", [tmp_path / "1", tmp_path / "2"]),
        merge_parts(tmp_path / "out"),
        make(tiny_raw_cub, tmp_path / "out", "2/2"),
        make(tiny_raw_cub, tmp_path / "out"),
    ]
    assert all(report.already_complete for report in again)
    assert all(report.counts == merged.counts for report in again)
    assert before == {file: file.stat().st_mtime_ns for file in (tmp_path / "out").iterdir()}


# --------------------------------------------------------------------------------------------------------- what is bad


def test_what_is_missing_is_named_with_what_makes_it(tiny_raw_cub: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    for part in ("1-2/6", "4/6"):
        make(tiny_raw_cub, out, part)
    before = contents(out)
    with pytest.raises(DataError, match="3 of 6 shards are not there") as caught:
        merge_parts(out)
    lines = str(caught.value).splitlines()[1:]
    assert lines == [
        "  part 3/6: gancli prepare … --shards 3/6  (train-00002-of-00003.h5: missing)",
        "  part 5/6: gancli prepare … --shards 5/6  (test-00001-of-00003.h5: missing)",
        "  part 6/6: gancli prepare … --shards 6/6  (test-00002-of-00003.h5: missing)",
    ]
    assert contents(out) == before
    with pytest.raises(DataError, match="not a dataset folder") as caught:
        Dataset.open(out)
    assert "gancli data merge" in str(caught.value.hint)


def test_shards_of_a_part_are_named_together(tiny_raw_cub: Path, tmp_path: Path) -> None:
    make(tiny_raw_cub, tmp_path / "out", "1/2")
    with pytest.raises(DataError) as caught:
        merge_parts(tmp_path / "out")
    (line,) = str(caught.value).splitlines()[1:]
    assert line.startswith("  part 2/2: ")
    assert line.count("missing") == 3


def test_a_long_list_is_cut(tiny_raw_cub: Path, tmp_path: Path) -> None:
    make(tiny_raw_cub, tmp_path / "out", "1/24")
    with pytest.raises(DataError, match=r"23 of 24 [\s\S]*--shards 21/24[\s\S]*and 3 more parts"):
        merge_parts(tmp_path / "out")


def test_a_damaged_shard(tiny_raw_cub: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    make(tiny_raw_cub, out, "1-3/3")
    make(tiny_raw_cub, tmp_path / "whole")
    shard = out / "train-00002-of-00003.h5"
    shard.write_bytes(shard.read_bytes()[:-100])
    before = contents(out)
    with pytest.raises(DataError, match=r"--shards 2/3  \(\S*train-00002-of-00003.h5: damaged\)"):
        merge_parts(out)
    assert contents(out) == before
    assert make(tiny_raw_cub, out, "2/3").reused_shards == 1
    merge_parts(out)
    assert contents(out) == contents(tmp_path / "whole")


def test_a_sound_copy_is_taken_for_a_damaged_one(tiny_raw_cub: Path, tmp_path: Path) -> None:
    make(tiny_raw_cub, tmp_path / "out", "1-3/3")
    make(tiny_raw_cub, tmp_path / "copy", "2/3")
    make(tiny_raw_cub, tmp_path / "whole")
    (tmp_path / "out" / "train-00002-of-00003.h5").write_bytes(b"")
    merge_parts(tmp_path / "out", [tmp_path / "copy"])
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


def test_parts_of_other_settings(tiny_raw_cub: Path, tmp_path: Path) -> None:
    make(tiny_raw_cub, tmp_path / "1", "1/2")
    with pytest.raises(UsageError, match=r"other settings\n  codec: raw there, jpeg asked for"):
        make(tiny_raw_cub, tmp_path / "1", "2/2", codec="jpeg")
    make(tiny_raw_cub, tmp_path / "2", "2/2", codec="jpeg", image_size=32)
    before = [contents(tmp_path / name) for name in ("1", "2")]
    with pytest.raises(UsageError, match="2: not of the same dataset as") as caught:
        merge_parts(tmp_path / "out", [tmp_path / "1", tmp_path / "2"])
    assert f"codec: jpeg there, raw in {tmp_path / '1'}" in str(caught.value)
    assert f"image_size: 32 there, 16 in {tmp_path / '1'}" in str(caught.value)
    with pytest.raises(UsageError, match="1: not of the same dataset as"):
        merge_parts(tmp_path / "1", [tmp_path / "2"])
    assert before == [contents(tmp_path / name) for name in ("1", "2")]
    assert not (tmp_path / "out").exists()


def test_another_number_of_parts(tiny_raw_cub: Path, tmp_path: Path) -> None:
    """It is the same as long as the shards are; where they would be shorter it is refused."""
    make(tiny_raw_cub, tmp_path / "out", "1/3")
    with pytest.raises(UsageError, match="--shards: …/3 there, …/8 asked for"):
        make(tiny_raw_cub, tmp_path / "out", "3-8/8")
    make(tiny_raw_cub, tmp_path / "out", "2/2")
    make(tiny_raw_cub, tmp_path / "out", "3/6")
    merge_parts(tmp_path / "out")
    assert verify(tmp_path / "out") == []


def test_parts_of_other_raw_data(tiny_raw_cub: Path, tmp_path: Path) -> None:
    make(tiny_raw_cub, tmp_path / "1", "1/2")
    boxes = tiny_raw_cub / "CUB_200_2011" / "bounding_boxes.txt"
    boxes.write_text("\n".join(["1 0 0 10 10", *boxes.read_text().splitlines()[1:]]) + "\n")
    make(tiny_raw_cub, tmp_path / "2", "2/2")
    with pytest.raises(UsageError, match=r"source: .*bounding_boxes\.txt"):
        merge_parts(tmp_path / "out", [tmp_path / "1", tmp_path / "2"])

    caption = next((tiny_raw_cub / "text").glob("*/*.txt"))
    caption.write_text(caption.read_text() + "an entirely unheard sentence\n")
    make(tiny_raw_cub, tmp_path / "3", "2/2")
    with pytest.raises(UsageError, match=r"vocabulary: \d+ words"):
        merge_parts(tmp_path / "out", [tmp_path / "1", tmp_path / "3"])

    # the same, copied together by hand: the outline of one dataset and shards of both
    for name in ("3", "1"):
        shutil.copytree(tmp_path / name, tmp_path / "mixed", dirs_exist_ok=True)
    with pytest.raises(DataError, match=r"--shards 2/2  \(.*of another plan") as caught:
        merge_parts(tmp_path / "mixed")
    assert "3 of 6" in str(caught.value)


def test_shards_of_another_division_copied_in(tiny_raw_cub: Path, tmp_path: Path) -> None:
    make(tiny_raw_cub, tmp_path / "short", "1/1", shard_images=2)
    make(tiny_raw_cub, tmp_path / "out", "1/1")
    stray = tmp_path / "out" / "train-00000-of-00006.h5"
    shutil.copy(tmp_path / "short" / stray.name, stray)
    with pytest.raises(DataError, match=r"train-00000-of-00006\.h5: no shards of this dataset"):
        merge_parts(tmp_path / "out")
    assert stray.exists()
    stray.unlink()
    merge_parts(tmp_path / "out")


def test_a_finished_folder_takes_no_other_parts(tiny_raw_cub: Path, tmp_path: Path) -> None:
    make(tiny_raw_cub, tmp_path / "out")
    make(tiny_raw_cub, tmp_path / "part", "1/2", image_size=32)
    with pytest.raises(UsageError, match="image_size: 16 there, 32 in"):
        merge_parts(tmp_path / "out", [tmp_path / "part"])
    with pytest.raises(UsageError, match="out: is a finished dataset, not a part"):
        merge_parts(tmp_path / "new", [tmp_path / "part", tmp_path / "out"])


def test_folders_without_parts(tiny_raw_cub: Path, tmp_path: Path) -> None:
    make(tiny_raw_cub, tmp_path / "part", "1/2")
    with pytest.raises(DataError, match="absent: there is no such folder"):
        merge_parts(tmp_path / "absent")
    with pytest.raises(DataError, match="absent: there is no such folder"):
        merge_parts(tmp_path / "out", [tmp_path / "part", tmp_path / "absent"])
    (tmp_path / "shards-only").mkdir()
    shutil.copy(next((tmp_path / "part").glob("*.h5")), tmp_path / "shards-only")
    with pytest.raises(DataError, match=r"there is no plan\.json") as caught:
        merge_parts(tmp_path / "shards-only")
    assert "plan.json and all .h5 files" in str(caught.value.hint)
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters" / "dear.txt").write_text("dear")
    with pytest.raises(UsageError, match="not empty and not a dataset folder"):
        merge_parts(tmp_path / "letters", [tmp_path / "part"])
    (tmp_path / "part" / "plan.json").write_text('{"name": "cub"')
    with pytest.raises(DataError, match=r"plan\.json: cannot be read"):
        merge_parts(tmp_path / "part")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("several", [False, True])
def test_images_that_cannot_be_used(tiny_raw_cub: Path, tmp_path: Path, several: bool) -> None:
    expected = damage(tiny_raw_cub)
    out = tmp_path / "out"
    folders = [tmp_path / "a", tmp_path / "b"] if several else [out, out]
    for number, folder in enumerate(folders, start=1):
        make(tiny_raw_cub, folder, f"{number}/2")  # no part fails, the merge speaks for all
    with pytest.raises(DataError, match="6 of 24 images cannot be used") as caught:
        merge_parts(out, folders)
    assert all(key in str(caught.value) for key in expected)
    assert "every part again" in str(caught.value.hint)
    assert not (out / "dataset.json").exists()
    report = merge_parts(out, folders, skip_bad=True)
    assert {bad.key for bad in report.bad} == expected.keys()
    make(tiny_raw_cub, tmp_path / "whole", skip_bad=True)
    assert contents(out) == contents(tmp_path / "whole")
    assert {bad.key for bad in merge_parts(out).bad} == expected.keys()


@pytest.mark.parametrize("several", [False, True])
def test_a_mended_image_is_taken(tiny_raw_cub: Path, tmp_path: Path, several: bool) -> None:
    broken = image(tiny_raw_cub, 0)  # of a test class
    content = broken.read_bytes()
    broken.write_bytes(content[:200])
    out = tmp_path / "out"
    folders = [tmp_path / "a", tmp_path / "b"] if several else [out, out]

    def parts() -> Iterator[PrepareReport]:
        for number, folder in enumerate(folders, start=1):
            yield make(tiny_raw_cub, folder, f"{number}/2")

    assert [len(report.bad) for report in parts()] == [0, 1]
    with pytest.raises(DataError, match="1 of 24"):
        merge_parts(out, folders)
    broken.write_bytes(content)
    assert [report.reused_shards for report in parts()] == [3, 2]
    merge_parts(out, folders)
    make(tiny_raw_cub, tmp_path / "whole")
    assert contents(out) == contents(tmp_path / "whole")


def test_names_that_are_no_text(tmp_path: Path) -> None:
    listed: list[Sample | BadSample] = [*samples(tmp_path, 2, 1)]
    listed[0] = replace(listed[0], key="caf\udce9")  # type: ignore[type-var]
    prepare(source_of(listed), tmp_path / "out", PrepareOptions(image_size=16), part=Part(1, 1, 1))
    merge_parts(tmp_path / "out", skip_bad=True)
    prepare(source_of(listed), tmp_path / "whole", PrepareOptions(image_size=16), skip_bad=True)
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")
    assert b"caf\\udce9" in contents(tmp_path / "out")["rejected.csv"]
